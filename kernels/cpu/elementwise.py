"""Functions of single elements on the CPU: arrays of any shape, C-contiguous, the result written into the last one.

`function` names one of `nbtorch.kernels.activation`, `options` are its numbers beside x (two at most).
"""

import functools

import numpy as np
from nbtorch.kernels import activation
from nbtorch.kernels.cpu.ranges import GRAIN, RangeKernel

PARALLEL_SIZE = 1 << 15
"""Elements above which a pass over them takes longer than waking the threads."""


def activation_forward(function: str, options: tuple[float, ...], input: np.ndarray, output: np.ndarray) -> None:
    """Write function(x, *options) for every element x; `output` may be `input` itself."""
    size = output.size
    _forward(function, len(options))(size, size, input.reshape(-1), output.reshape(-1), *_pair(options), grain=GRAIN)


def activation_backward(
    function: str, options: tuple[float, ...], grad_output: np.ndarray, saved: np.ndarray, grad_input: np.ndarray
) -> None:
    """Write function(grad, x, *options), a derivative times grad, for all pairs of elements of the two arrays."""
    size, arrays = grad_input.size, [array.reshape(-1) for array in (grad_output, saved, grad_input)]
    _backward(function, len(options))(size, size, *arrays, *_pair(options), grain=GRAIN)


def _pair(options: tuple[float, ...]) -> tuple[float, float]:
    """Return two numbers for any number of options, so that all functions share the types of their arguments."""
    if not options:
        return 0.0, 0.0
    first, second = (*options, 0.0)[:2]
    return float(first), float(second)


@functools.cache
def _forward(name: str, count: int) -> RangeKernel:
    function = getattr(activation, name)

    def kernel(x, y, first, second, begin, end):
        options = (x.dtype.type(first), x.dtype.type(second))
        # indices from 0 on need no test for their sign, which would keep the loop from being vectorised
        part, result = x[begin:end], y[begin:end]
        for i in range(part.size):
            result[i] = function(part[i], *options[:count])

    return _named(kernel, name)


@functools.cache
def _backward(name: str, count: int) -> RangeKernel:
    function = getattr(activation, name)

    def kernel(grad_output, x, grad_input, first, second, begin, end):
        options = (x.dtype.type(first), x.dtype.type(second))
        grad, part, result = grad_output[begin:end], x[begin:end], grad_input[begin:end]
        for i in range(part.size):
            result[i] = function(grad[i], part[i], *options[:count])

    return _named(kernel, name)


def _named(kernel, name: str) -> RangeKernel:
    """Give a kernel the name of its function, which is what a user sees while it compiles."""
    kernel.__name__ = kernel.__qualname__ = name
    return RangeKernel(kernel, PARALLEL_SIZE)
