"""Functions of single elements on CUDA: arrays of any shape, C-contiguous, the result written into the last one.

`function` names one of `nbtorch.kernels.activation`, `options` are its numbers beside x (two at most).
"""

import functools
import inspect
from typing import Any

import numpy as np
from nbtorch.kernels import activation
from nbtorch.kernels.cuda import elementary, target
from nbtorch.kernels.cuda.target import cuda

elementary.install()


def activation_forward(function: str, options: tuple[float, ...], input: Any, output: Any) -> None:
    """Write function(x, *options) for every element x; `output` may be `input` itself."""
    if output.size:
        kernel = unary(getattr(activation, function), np.dtype(output.dtype), len(options))
        kernel(target.blocks_for(output.size, target.THREADS), input, output, output.size, *options)


def activation_backward(
    function: str, options: tuple[float, ...], grad_output: Any, saved: Any, grad_input: Any
) -> None:
    """Write function(grad, x, *options), a derivative times grad, for all pairs of elements of the two arrays."""
    if grad_input.size:
        kernel = binary(getattr(activation, function), np.dtype(grad_input.dtype), len(options))
        blocks = target.blocks_for(grad_input.size, target.THREADS)
        kernel(blocks, grad_output, saved, grad_input, grad_input.size, *options)


@functools.cache
def unary(function: Any, dtype: np.dtype, options: int = 0) -> target.Kernel:
    """Make the kernel that writes function(x) for every element x; options come after the size."""
    function = target.scalar(function)

    def plain(x, y, size):
        i, step = cuda.grid(1), cuda.gridsize(1)
        while i < size:
            y[i] = function(x[i])
            i += step

    def with_one(x, y, size, first):
        i, step = cuda.grid(1), cuda.gridsize(1)
        while i < size:
            y[i] = function(x[i], first)
            i += step

    def with_two(x, y, size, first, second):
        i, step = cuda.grid(1), cuda.gridsize(1)
        while i < size:
            y[i] = function(x[i], first, second)
            i += step

    kernel: Any = (plain, with_one, with_two)[options]
    return target.Kernel(kernel, (dtype, dtype, "int64", *[dtype.name] * options), target.THREADS)


@functools.cache
def binary(function: Any, dtype: np.dtype, options: int = 0) -> target.Kernel:
    """Make the kernel that writes function(x, y) for every pair of elements; options come after the size."""
    function = target.scalar(function)

    def plain(x, y, z, size):
        i, step = cuda.grid(1), cuda.gridsize(1)
        while i < size:
            z[i] = function(x[i], y[i])
            i += step

    def with_one(x, y, z, size, first):
        i, step = cuda.grid(1), cuda.gridsize(1)
        while i < size:
            z[i] = function(x[i], y[i], first)
            i += step

    def with_two(x, y, z, size, first, second):
        i, step = cuda.grid(1), cuda.gridsize(1)
        while i < size:
            z[i] = function(x[i], y[i], first, second)
            i += step

    kernel: Any = (plain, with_one, with_two)[options]
    return target.Kernel(kernel, (dtype, dtype, dtype, "int64", *[dtype.name] * options), target.THREADS)


def catalogue(dtype: np.dtype) -> dict[str, target.Kernel]:
    """Return every kernel of this module for one dtype, by name: what the compile gate walks."""
    kernels = {}
    for name, function in vars(activation).items():
        plain = getattr(function, "py_func", None)
        if plain is not None and plain.__module__ == activation.__name__:
            count = len(inspect.signature(plain).parameters)
            kernels[name] = (
                binary(function, dtype, count - 2) if name.endswith("_grad") else unary(function, dtype, count - 1)
            )
    return kernels
