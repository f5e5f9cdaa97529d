"""Functions of single elements on CUDA: arrays of any shape, C-contiguous, the result written into the last one."""

import functools
from typing import Any

import numpy as np
from nbtorch.kernels import scalar
from nbtorch.kernels.cuda import target
from nbtorch.kernels.cuda.target import cuda


def relu_forward(input: Any, output: Any) -> None:
    """Write max(input, 0) to `output`; NaN passes through."""
    if output.size:
        kernel = unary(scalar.relu, np.dtype(output.dtype))
        kernel(target.blocks_for(output.size, target.THREADS), input, output, output.size)


def relu_backward(grad_output: Any, output: Any, grad_input: Any) -> None:
    """Write `grad_output` to `grad_input` where relu's `output` is positive or NaN, and 0 elsewhere."""
    if output.size:
        kernel = binary(scalar.relu_grad, np.dtype(output.dtype))
        kernel(target.blocks_for(output.size, target.THREADS), grad_output, output, grad_input, output.size)


@functools.cache
def unary(function: Any, dtype: np.dtype) -> target.Kernel:
    """Make the kernel that writes function(x) for every element x."""
    function = target.scalar(function)

    def kernel(x, y, size):
        i, step = cuda.grid(1), cuda.gridsize(1)
        while i < size:
            y[i] = function(x[i])
            i += step

    return target.Kernel(kernel, (dtype, dtype, "int64"), target.THREADS)


@functools.cache
def binary(function: Any, dtype: np.dtype) -> target.Kernel:
    """Make the kernel that writes function(x, y) for every pair of elements."""
    function = target.scalar(function)

    def kernel(x, y, z, size):
        i, step = cuda.grid(1), cuda.gridsize(1)
        while i < size:
            z[i] = function(x[i], y[i])
            i += step

    return target.Kernel(kernel, (dtype, dtype, dtype, "int64"), target.THREADS)


def catalogue(dtype: np.dtype) -> dict[str, target.Kernel]:
    """Return every kernel of this module for one dtype, by name: what the compile gate walks."""
    return {"relu_forward": unary(scalar.relu, dtype), "relu_backward": binary(scalar.relu_grad, dtype)}
