"""Softmax and log-softmax on the CPU, forward and backward.

Arrays are (outer, classes, inner), C-contiguous, float32 or float64; the sums run over the classes. With `inner` 1 a
thread works through blocks of whole rows, otherwise through strips of `STRIP` neighbours, whose running maxima and sums
stay in the first cache.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from nbtorch.kernels.cpu.norm import SUMS
from nbtorch.kernels.cpu.ranges import RangeKernel
from nbtorch.kernels.elementary import exp_below, log
from nbtorch.kernels.jit import njit
from numba import types
from numba.core import config
from numba.extending import intrinsic

PARALLEL_SIZE, PARALLEL_GRADIENT = 1 << 14, 1 << 16
"""Elements above which a pass over them takes longer than waking the threads, with exponentials and without."""

STRIP, STRIP_SIZE = 64, 1 << 15
"""Neighbours that a strip has at least, and how many elements it should not exceed."""

BLOCK, LONG = 1024, 48
"""Elements of the rows that are taken together, and of those of which each fills vectors well enough by itself."""


def softmax_forward(x: np.ndarray, logarithm: bool, y: np.ndarray) -> None:
    """Write the softmax over the classes, or its logarithm."""
    outer, classes, inner = x.shape
    if inner == 1:
        shape = outer, classes
        _forward_rows(_blocks(outer, classes), x.size, x.reshape(shape), logarithm, y.reshape(shape))
    else:
        _forward_strips(outer * _strips(x), x.size, x, logarithm, y)


def softmax_backward(grad: np.ndarray, y: np.ndarray, logarithm: bool, grad_x: np.ndarray) -> None:
    """Write the gradient of `softmax_forward` by its input, given its result."""
    outer, classes, inner = y.shape
    if inner == 1:
        arrays = [array.reshape(outer, classes) for array in (grad, y, grad_x)]
        _backward_rows(_blocks(outer, classes), y.size, *arrays[:2], logarithm, arrays[2])
    else:
        _backward_strips(outer * _strips(y), y.size, grad, y, logarithm, grad_x)


def _strips(x: np.ndarray) -> int:
    return -(-x.shape[2] // _strip(x.shape[1]))


@njit
def _strip(classes):
    """Return how many neighbours make a strip that the second cache holds; longer runs are prefetched better."""
    return min(max(STRIP_SIZE // classes // STRIP, 1), 8) * STRIP


def _blocks(rows: int, length: int) -> int:
    return -(-rows // max(1, BLOCK // length))


def _order(typing_context: Any, x: types.Float) -> Any:
    """Emit the bits of a number as an integer of the same order; NaN lies beyond the infinities."""

    def emit(context, builder, signature, arguments):
        word = ir.IntType(x.bitwidth)
        bits = builder.bitcast(arguments[0], word)
        negative = builder.ashr(bits, word(x.bitwidth - 1))
        return builder.xor(bits, builder.lshr(negative, word(1)))

    return (types.int32 if x.bitwidth == 32 else types.int64)(x), emit


def _of_order(typing_context: Any, place: types.Integer) -> Any:
    """Emit the number that `_order` gave a place."""

    def emit(context, builder, signature, arguments):
        word, kind = ir.IntType(place.bitwidth), context.get_value_type(signature.return_type)
        negative = builder.ashr(arguments[0], word(place.bitwidth - 1))
        return builder.bitcast(builder.xor(arguments[0], builder.lshr(negative, word(1))), kind)

    return (types.float32 if place.bitwidth == 32 else types.float64)(place), emit


if config.DISABLE_JIT:

    def highest(row: np.ndarray) -> Any:
        """Return a row's greatest element."""
        return row.max()

else:
    order, of_order = intrinsic(_order), intrinsic(_of_order)

    @njit
    def highest(row):
        """Return a row's greatest element; NaN, which it may miss, comes back in sums of exp(element - greatest).

        Integers are compared, because of comparisons of numbers, which may be NaN, the compiler makes no vectors.
        """
        top = order(row[0])
        for i in range(row.size):
            top = max(top, order(row[i]))
        return of_order(top)


@njit(fastmath=SUMS)
def exp_sum(row, top):
    """Return the sum of exp(element - top), where `top` is the greatest."""
    total = row.dtype.type(0)
    for i in range(row.size):
        total += exp_below(row[i] - top)
    return total


@njit(fastmath=SUMS)
def _exponentials(row, top, target):
    """Write exp(element - top), and return their sum."""
    total = row.dtype.type(0)
    for i in range(row.size):
        value = exp_below(row[i] - top)
        target[i] = value
        total += value
    return total


@njit
def _short_exponentials(x, tops, target, totals):
    """Write exp(element - top) of each row, and their sums: the exponentials as if all rows were one."""
    rows, length = x.shape
    for r in range(rows):
        for i in range(length):
            target[r, i] = x[r, i] - tops[r]
    flat = target.reshape(rows * length)
    for i in range(flat.size):
        flat[i] = exp_below(flat[i])
    for r in range(rows):
        totals[r] = _sum(target[r])


@njit(fastmath=SUMS)
def _sum(row):
    total = row.dtype.type(0)
    for i in range(row.size):
        total += row[i]
    return total


@njit(fastmath=SUMS)
def _dot(a, b):
    total = a.dtype.type(0)
    for i in range(a.size):
        total += a[i] * b[i]
    return total


def _forward_row_range(x, logarithm, y, begin, end):
    rows, length = x.shape
    together = max(1, BLOCK // length)
    tops, totals = np.empty(together, x.dtype), np.empty(together, x.dtype)
    for block in range(begin, end):
        first = block * together
        count = min(together, rows - first)
        for r in range(count):
            tops[r] = highest(x[first + r])
        if length < LONG:
            _short_exponentials(x[first : first + count], tops, y[first : first + count], totals)
        else:
            for r in range(count):
                totals[r] = _exponentials(x[first + r], tops[r], y[first + r])
        if logarithm:
            for r in range(count):
                totals[r] = log(totals[r])
            for r in range(count):
                source, target = x[first + r], y[first + r]
                top, shift = tops[r], totals[r]
                for i in range(length):
                    target[i] = (source[i] - top) - shift
        else:
            for r in range(count):
                target, scale = y[first + r], x.dtype.type(1) / totals[r]
                for i in range(length):
                    target[i] *= scale


def _backward_row_range(grad, y, logarithm, grad_x, begin, end):
    rows, length = y.shape
    together = max(1, BLOCK // length)
    for block in range(begin, end):
        first = block * together
        last = min(first + together, rows)
        if logarithm:
            result = y[first:last].reshape((last - first) * length)
            target = grad_x[first:last].reshape((last - first) * length)
            for i in range(result.size):
                target[i] = exp_below(result[i])
            for row in range(first, last):
                g, target = grad[row], grad_x[row]
                total = _sum(g)
                for i in range(length):
                    target[i] = g[i] - target[i] * total
        else:
            for row in range(first, last):
                g, result, target = grad[row], y[row], grad_x[row]
                total = _dot(g, result)
                for i in range(length):
                    target[i] = result[i] * (g[i] - total)


def _forward_strip_range(x, logarithm, y, begin, end):
    longest = _strip(x.shape[1])
    strips = (x.shape[2] + longest - 1) // longest
    tops, totals = np.empty(longest, x.dtype), np.empty(longest, x.dtype)
    for number in range(begin, end):
        outer, first = number // strips, number % strips * longest
        width = min(longest, x.shape[2] - first)
        tops[:width] = x[outer, 0, first : first + width]
        totals[:width] = 0
        for c in range(1, x.shape[1]):
            source = x[outer, c, first : first + width]
            for i in range(width):
                tops[i] = source[i] if source[i] > tops[i] else tops[i]
        for c in range(x.shape[1]):
            source, target = x[outer, c, first : first + width], y[outer, c, first : first + width]
            for i in range(width):
                target[i] = exp_below(source[i] - tops[i])
                totals[i] += target[i]
        for i in range(width):
            totals[i] = tops[i] + log(totals[i]) if logarithm else 1 / totals[i]
        for c in range(x.shape[1]):
            source, target = x[outer, c, first : first + width], y[outer, c, first : first + width]
            for i in range(width):
                target[i] = source[i] - totals[i] if logarithm else target[i] * totals[i]


def _backward_strip_range(grad, y, logarithm, grad_x, begin, end):
    longest = _strip(y.shape[1])
    strips = (y.shape[2] + longest - 1) // longest
    totals = np.empty(longest, y.dtype)
    for number in range(begin, end):
        outer, first = number // strips, number % strips * longest
        width = min(longest, y.shape[2] - first)
        totals[:width] = 0
        for c in range(y.shape[1]):
            g, result = grad[outer, c, first : first + width], y[outer, c, first : first + width]
            for i in range(width):
                totals[i] += g[i] if logarithm else g[i] * result[i]
        for c in range(y.shape[1]):
            g, result = grad[outer, c, first : first + width], y[outer, c, first : first + width]
            target = grad_x[outer, c, first : first + width]
            if logarithm:
                for i in range(width):
                    target[i] = g[i] - exp_below(result[i]) * totals[i]
            else:
                for i in range(width):
                    target[i] = result[i] * (g[i] - totals[i])


_forward_rows = RangeKernel(_forward_row_range, PARALLEL_SIZE)
_backward_rows = RangeKernel(_backward_row_range, PARALLEL_GRADIENT)
_forward_strips = RangeKernel(_forward_strip_range, PARALLEL_SIZE)
_backward_strips = RangeKernel(_backward_strip_range, PARALLEL_GRADIENT)
