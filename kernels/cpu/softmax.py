"""Softmax and log-softmax on the CPU, forward and backward.

Arrays are (outer, classes, inner), C-contiguous, float32 or float64; the sums run over the classes. With `inner` 1 a
thread works through whole rows, otherwise through strips of `STRIP` neighbours, whose running maxima and sums stay in
the first cache.
"""

import math

import numpy as np
from nbtorch.kernels.cpu.norm import SUMS
from nbtorch.kernels.cpu.ranges import RangeKernel
from nbtorch.kernels.elementary import exp
from nbtorch.kernels.jit import njit

PARALLEL_SIZE = 1 << 14
"""Elements above which a pass over them takes longer than waking the threads."""

STRIP = 64

LANES = 32
"""Numbers that are compared at a time while a row's greatest element is looked for."""


def softmax_forward(x: np.ndarray, logarithm: bool, y: np.ndarray) -> None:
    """Write the softmax over the classes, or its logarithm."""
    if x.shape[2] == 1:
        _forward_rows(x.shape[0], x.size, x.reshape(x.shape[:2]), logarithm, y.reshape(x.shape[:2]))
    else:
        _forward_strips(x.shape[0] * _strips(x), x.size, x, logarithm, y)


def softmax_backward(grad: np.ndarray, y: np.ndarray, logarithm: bool, grad_x: np.ndarray) -> None:
    """Write the gradient of `softmax_forward` by its input, given its result."""
    if y.shape[2] == 1:
        shape = y.shape[:2]
        _backward_rows(shape[0], y.size, grad.reshape(shape), y.reshape(shape), logarithm, grad_x.reshape(shape))
    else:
        _backward_strips(y.shape[0] * _strips(y), y.size, grad, y, logarithm, grad_x)


def _strips(x: np.ndarray) -> int:
    return -(-x.shape[2] // STRIP)


@njit
def highest(row, lanes):
    """Return a row's greatest element; NaN, which it may miss, comes back in sums of exp(element - greatest)."""
    top = row[0]
    whole = row.size // LANES * LANES
    if whole:
        lanes[:] = row[:LANES]
        for start in range(LANES, whole, LANES):
            part = row[start : start + LANES]
            for i in range(LANES):
                lanes[i] = part[i] if part[i] > lanes[i] else lanes[i]
        width = LANES // 2
        while width >= 8:
            for i in range(width):
                lanes[i] = lanes[i + width] if lanes[i + width] > lanes[i] else lanes[i]
            width //= 2
        for i in range(8):
            top = lanes[i] if lanes[i] > top else top
    for i in range(whole, row.size):
        top = row[i] if row[i] > top else top
    return top


@njit(fastmath=SUMS)
def exp_sum(row, top):
    """Return the sum of exp(element - top)."""
    total = row.dtype.type(0)
    for i in range(row.size):
        total += exp(row[i] - top)
    return total


def _forward_row_range(x, logarithm, y, begin, end):
    lanes = np.empty(LANES, x.dtype)
    for row in range(begin, end):
        source, target = x[row], y[row]
        top = highest(source, lanes)
        if logarithm:
            shift = x.dtype.type(math.log(exp_sum(source, top)))
            for i in range(source.size):
                target[i] = (source[i] - top) - shift
        else:
            total = x.dtype.type(0)
            for i in range(source.size):
                value = exp(source[i] - top)
                target[i] = value
                total += value
            scale = x.dtype.type(1) / total
            for i in range(source.size):
                target[i] *= scale


def _backward_row_range(grad, y, logarithm, grad_x, begin, end):
    for row in range(begin, end):
        g, result, target = grad[row], y[row], grad_x[row]
        total = y.dtype.type(0)
        if logarithm:
            for i in range(g.size):
                total += g[i]
            for i in range(g.size):
                target[i] = g[i] - exp(result[i]) * total
        else:
            for i in range(g.size):
                total += g[i] * result[i]
            for i in range(g.size):
                target[i] = result[i] * (g[i] - total)


def _forward_strip_range(x, logarithm, y, begin, end):
    strips = (x.shape[2] + STRIP - 1) // STRIP
    tops, totals = np.empty(STRIP, x.dtype), np.empty(STRIP, x.dtype)
    for number in range(begin, end):
        outer, first = number // strips, number % strips * STRIP
        width = min(STRIP, x.shape[2] - first)
        tops[:width] = x[outer, 0, first : first + width]
        totals[:width] = 0
        for c in range(1, x.shape[1]):
            source = x[outer, c, first : first + width]
            for i in range(width):
                tops[i] = source[i] if source[i] > tops[i] else tops[i]
        for c in range(x.shape[1]):
            source, target = x[outer, c, first : first + width], y[outer, c, first : first + width]
            for i in range(width):
                target[i] = exp(source[i] - tops[i])
                totals[i] += target[i]
        for i in range(width):
            totals[i] = tops[i] + math.log(totals[i]) if logarithm else 1 / totals[i]
        for c in range(x.shape[1]):
            source, target = x[outer, c, first : first + width], y[outer, c, first : first + width]
            for i in range(width):
                target[i] = source[i] - totals[i] if logarithm else target[i] * totals[i]


def _backward_strip_range(grad, y, logarithm, grad_x, begin, end):
    strips = (y.shape[2] + STRIP - 1) // STRIP
    totals = np.empty(STRIP, y.dtype)
    for number in range(begin, end):
        outer, first = number // strips, number % strips * STRIP
        width = min(STRIP, y.shape[2] - first)
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
                    target[i] = g[i] - exp(result[i]) * totals[i]
            else:
                for i in range(width):
                    target[i] = result[i] * (g[i] - totals[i])


_forward_rows = RangeKernel(_forward_row_range, PARALLEL_SIZE, fastmath=SUMS)
_backward_rows = RangeKernel(_backward_row_range, PARALLEL_SIZE, fastmath=SUMS)
_forward_strips = RangeKernel(_forward_strip_range, PARALLEL_SIZE)
_backward_strips = RangeKernel(_backward_strip_range, PARALLEL_SIZE)
