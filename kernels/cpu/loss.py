"""Losses of pairs of elements on the CPU: C-contiguous arrays of one shape, float32 or float64.

`function` names one of `nbtorch.kernels.loss`, `option` is its number beside the pair.
"""

import functools

import numpy as np
from nbtorch.kernels import loss
from nbtorch.kernels.cpu.norm import SUMS
from nbtorch.kernels.cpu.ranges import GRAIN, RangeKernel
from nbtorch.kernels.jit import njit

PARALLEL_SIZE = 1 << 15
"""Pairs above which a pass over them takes longer than waking the threads."""

BLOCK = 2048
"""Losses are summed in blocks of so many in the type of the elements, the blocks in float64."""


def pair_each(function: str, option: float, a: np.ndarray, b: np.ndarray, output: np.ndarray) -> None:
    """Write the loss of every pair."""
    size = output.size
    _each(function)(size, size, a.ravel(), b.ravel(), option, output.ravel(), grain=GRAIN)


def pair_total(function: str, option: float, a: np.ndarray, b: np.ndarray, scale: float) -> np.ndarray:
    """Return the sum of the losses times `scale`, an array of rank 0."""
    output, partial = np.empty((), a.dtype), np.empty(-(-a.size // BLOCK))
    _totals(function)(partial.size, a.size, a.ravel(), b.ravel(), option, scale, partial, output.ravel())
    if partial.size != 1:
        add_up(partial, scale, output)
    return output


def pair_total_and_slope(
    function: str, option: float, a: np.ndarray, b: np.ndarray, scale: float, grad_a: np.ndarray
) -> np.ndarray:
    """Return what `pair_total` does, and write what `pair_backward` does for a gradient of 1, in one pass."""
    output, partial = np.empty((), a.dtype), np.empty(-(-a.size // BLOCK))
    arrays = a.ravel(), b.ravel(), option, scale, partial, output.ravel(), grad_a.ravel()
    _totals_and_slopes(function)(partial.size, a.size, *arrays)
    if partial.size != 1:
        add_up(partial, scale, output)
    return output


def pair_backward(
    function: str, option: float, grad: np.ndarray, scale: float, a: np.ndarray, b: np.ndarray, grad_a: np.ndarray
) -> None:
    """Write the derivatives by a, times `grad` (of one element or one for each pair) and `scale`."""
    size = a.size
    grad = grad.ravel()
    arrays = a.ravel(), b.ravel(), option, grad_a.ravel()
    _backward(function)(size, size, grad, grad.size == size, scale, *arrays, grain=GRAIN)


@njit
def add_up(partial, scale, output):
    """Write the sum of all elements times `scale`."""
    total = 0.0
    for i in range(partial.size):
        total += partial[i]
    output[()] = total * scale


@functools.cache
def _each(name: str) -> RangeKernel:
    function = getattr(loss, name)

    def kernel(a, b, option, output, begin, end):
        x, y, result, number = a[begin:end], b[begin:end], output[begin:end], a.dtype.type(option)
        for i in range(x.size):
            result[i] = function(x[i], y[i], number)

    return _named(kernel, name, PARALLEL_SIZE)


@functools.cache
def _totals(name: str) -> RangeKernel:
    function = getattr(loss, name)

    def kernel(a, b, option, scale, partial, output, begin, end):
        number = a.dtype.type(option)
        for block in range(begin, end):
            first, last = block * BLOCK, min((block + 1) * BLOCK, a.size)
            x, y, total = a[first:last], b[first:last], a.dtype.type(0)
            for i in range(x.size):
                total += function(x[i], y[i], number)
            partial[block] = total
        if partial.size == 1:
            output[0] = partial[0] * scale

    return _named(kernel, f"{name}_total", PARALLEL_SIZE, fastmath=SUMS)


@functools.cache
def _totals_and_slopes(name: str) -> RangeKernel:
    function, derivative = getattr(loss, name), getattr(loss, f"{name}_grad")

    def kernel(a, b, option, scale, partial, output, grad_a, begin, end):
        number, factor = a.dtype.type(option), a.dtype.type(scale)
        for block in range(begin, end):
            first, last = block * BLOCK, min((block + 1) * BLOCK, a.size)
            x, y, slope, total = a[first:last], b[first:last], grad_a[first:last], a.dtype.type(0)
            for i in range(x.size):
                total += function(x[i], y[i], number)
                slope[i] = derivative(factor, x[i], y[i], number)
            partial[block] = total
        if partial.size == 1:
            output[0] = partial[0] * scale

    return _named(kernel, f"{name}_total_and_slope", PARALLEL_SIZE, fastmath=SUMS)


@functools.cache
def _backward(name: str) -> RangeKernel:
    function = getattr(loss, f"{name}_grad")

    def kernel(grad, each, scale, a, b, option, grad_a, begin, end):
        number, factor = a.dtype.type(option), a.dtype.type(scale)
        x, y, result = a[begin:end], b[begin:end], grad_a[begin:end]
        if each:
            g = grad[begin:end]
            for i in range(x.size):
                result[i] = function(g[i] * factor, x[i], y[i], number)
        else:
            factor *= grad[0]
            for i in range(x.size):
                result[i] = function(factor, x[i], y[i], number)

    return _named(kernel, f"{name}_backward", PARALLEL_SIZE)


def _named(kernel, name: str, *args, **options) -> RangeKernel:
    """Give a kernel the name of its function, which is what a user sees while it compiles."""
    kernel.__name__ = kernel.__qualname__ = name
    return RangeKernel(kernel, *args, **options)
