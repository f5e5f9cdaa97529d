"""Softmax and log-softmax on CUDA: the functions of `nbtorch.kernels.cpu.softmax`.

A block works on one row of classes at a time; sums are in float64 and in an order of their own, the same in every run.
"""

import functools
import math
from typing import Any

import numpy as np
from nbtorch.kernels.cuda import target
from nbtorch.kernels.cuda.target import block_reduce, cuda

THREADS = target.THREADS


def softmax_forward(x: Any, logarithm: bool, y: Any) -> None:
    """Write the softmax over the classes, or its logarithm."""
    outer, classes, inner = x.shape
    if x.size:
        blocks = target.blocks_for_rows(outer * inner)
        forward(np.dtype(x.dtype), bool(logarithm))(blocks, x, y, outer * inner, classes, inner)


def softmax_backward(grad: Any, y: Any, logarithm: bool, grad_x: Any) -> None:
    """Write the gradient of `softmax_forward` by its input, given its result."""
    outer, classes, inner = y.shape
    if y.size:
        kernel = backward(np.dtype(y.dtype), bool(logarithm))
        kernel(target.blocks_for_rows(outer * inner), grad, y, grad_x, outer * inner, classes, inner)


@functools.cache
def forward(dtype: np.dtype, logarithm: bool) -> target.Kernel:
    """Make the kernel in which a block finds a row's softmax."""

    def kernel(x, y, rows, classes, inner):
        shared = cuda.shared.array(THREADS, "float64")
        row = cuda.blockIdx.x
        while row < rows:
            start = row // inner * classes * inner + row % inner
            top = -math.inf
            c = cuda.threadIdx.x
            while c < classes:
                top = max(top, x[start + c * inner])
                c += THREADS
            top = block_reduce(top, shared, True)
            total = 0.0
            c = cuda.threadIdx.x
            while c < classes:
                total += math.exp(x[start + c * inner] - top)
                c += THREADS
            total = block_reduce(total, shared, False)
            c = cuda.threadIdx.x
            while c < classes:
                place = start + c * inner
                if logarithm:
                    y[place] = x[place] - top - math.log(total)
                else:
                    y[place] = math.exp(x[place] - top) / total
                c += THREADS
            row += cuda.gridDim.x

    return target.Kernel(kernel, (dtype, dtype, "int64", "int64", "int64"), THREADS)


@functools.cache
def backward(dtype: np.dtype, logarithm: bool) -> target.Kernel:
    """Make the kernel in which a block finds the gradient of a row."""

    def kernel(grad, y, grad_x, rows, classes, inner):
        shared = cuda.shared.array(THREADS, "float64")
        row = cuda.blockIdx.x
        while row < rows:
            start = row // inner * classes * inner + row % inner
            total = 0.0
            c = cuda.threadIdx.x
            while c < classes:
                place = start + c * inner
                total += grad[place] if logarithm else grad[place] * y[place]
                c += THREADS
            total = block_reduce(total, shared, False)
            c = cuda.threadIdx.x
            while c < classes:
                place = start + c * inner
                if logarithm:
                    grad_x[place] = grad[place] - math.exp(y[place]) * total
                else:
                    grad_x[place] = y[place] * (grad[place] - total)
                c += THREADS
            row += cuda.gridDim.x

    return target.Kernel(kernel, (dtype, dtype, dtype, "int64", "int64", "int64"), THREADS)


def catalogue(dtype: np.dtype) -> dict[str, target.Kernel]:
    """Return every kernel of this module for one dtype, by name: what the compile gate walks."""
    return {
        f"{name}{'_log' if logarithm else ''}": make(dtype, logarithm)
        for name, make in (("forward", forward), ("backward", backward))
        for logarithm in (False, True)
    }
