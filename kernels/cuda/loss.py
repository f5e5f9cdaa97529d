"""Losses of pairs of elements on CUDA: the functions of `nbtorch.kernels.cpu.loss`."""

import functools
from typing import Any

import numpy as np
from nbtorch.kernels import loss
from nbtorch.kernels.cuda import elementary, target
from nbtorch.kernels.cuda.target import cuda

elementary.install()

FORMULAS = (
    "l1",
    "mse",
    "smooth_l1",
    "huber",
    "bce",
    "bce_with_logits",
    "soft_margin",
    "kl_div",
    "kl_div_of_logarithms",
)


def pair_each(function: str, option: float, a: Any, b: Any, output: Any) -> None:
    """Write the loss of every pair."""
    if output.size:
        blocks = target.blocks_for(output.size, target.THREADS)
        each(function, np.dtype(a.dtype))(blocks, a, b, output, output.size, option)


def pair_total(function: str, option: float, a: Any, b: Any, scale: float) -> Any:
    """Return the sum of the losses times `scale`, an array of rank 0."""
    values = target.empty(a, a.size)
    pair_each(function, option, a, b, values)
    return (values.sum(dtype=np.float64) * scale).astype(a.dtype)


def pair_backward(function: str, option: float, grad: Any, scale: float, a: Any, b: Any, grad_a: Any) -> None:
    """Write the derivatives by a, times `grad` (of one element or one for each pair) and `scale`."""
    if a.size:
        blocks, step = target.blocks_for(a.size, target.THREADS), int(grad.size == a.size)
        backward(function, np.dtype(a.dtype))(blocks, grad, a, b, grad_a, a.size, step, scale, option)


@functools.cache
def each(name: str, dtype: np.dtype) -> target.Kernel:
    """Make the kernel that writes the loss of every pair."""
    function = target.scalar(getattr(loss, name))

    def kernel(a, b, output, size, option):
        i, step = cuda.grid(1), cuda.gridsize(1)
        while i < size:
            output[i] = function(a[i], b[i], option)
            i += step

    return target.Kernel(kernel, (dtype, dtype, dtype, "int64", dtype.name), target.THREADS)


@functools.cache
def backward(name: str, dtype: np.dtype) -> target.Kernel:
    """Make the kernel that writes derivatives; `each` is 1 where every pair has a gradient of its own, else 0."""
    function = target.scalar(getattr(loss, f"{name}_grad"))

    def kernel(grad, a, b, grad_a, size, each, scale, option):
        i, step = cuda.grid(1), cuda.gridsize(1)
        while i < size:
            grad_a[i] = function(grad[i * each] * scale, a[i], b[i], option)
            i += step

    return target.Kernel(kernel, (*[dtype] * 4, "int64", "int64", dtype.name, dtype.name), target.THREADS)


def catalogue(dtype: np.dtype) -> dict[str, target.Kernel]:
    """Return every kernel of this module for one dtype, by name: what the compile gate walks."""
    return {
        f"{name}{suffix}": make(name, dtype) for name in FORMULAS for suffix, make in (("", each), ("_grad", backward))
    }
