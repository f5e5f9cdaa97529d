"""Power-average pooling on CUDA, forward and backward, for any rank and dtype.

The rules are those of `nbtorch.kernels.cpu.lp_pool`. A thread computes an element by itself, in the backward pass too.
"""

import functools
import math
from typing import Any

import numpy as np
from nbtorch.kernels.cuda import target
from nbtorch.kernels.cuda.avg_pool import ONES, Triple, window_size
from nbtorch.kernels.cuda.pool import Geometry, chunks, end_window, first_window, geometry, locate_input, locate_output
from nbtorch.kernels.cuda.target import cuda, int32, int64


def lp_pool_forward(input: Any, norm_type: float, kernel_size: Triple, stride: Triple, output: Any) -> None:
    """Write the power average of every window of `input` to `output`."""
    g = geometry(tuple(input.shape[2:]), tuple(output.shape[2:]), kernel_size, stride, (0, 0, 0), ONES)
    dtype = np.dtype(input.dtype)
    p, root = dtype.type(norm_type), dtype.type(1 / norm_type)
    for x, y in chunks(input, output):
        forward(dtype)(target.blocks_for(y.size, target.THREADS), x, y, p, root, y.size, g)


def lp_pool_backward(
    grad_output: Any, input: Any, output: Any, norm_type: float, kernel_size: Triple, stride: Triple, grad_input: Any
) -> None:
    """Write the gradient of `input`: x^(p-1) · Σ K/m · grad_output · output^(1-p) over the windows of each element."""
    g = geometry(tuple(input.shape[2:]), tuple(output.shape[2:]), kernel_size, stride, (0, 0, 0), ONES)
    dtype = np.dtype(input.dtype)
    kernel, p = backward(dtype), dtype.type(norm_type)
    for grads, x, y, grad in chunks(grad_output, input, output, grad_input):
        kernel(target.blocks_for(grad.size, target.THREADS), grads, x, y, grad, p, grad.size, g)


@target.device
def power(x, p):
    """Return x^p, without a call for the common powers."""
    if p == 1:
        return x
    if p == 2:
        return x * x
    if p == 3:
        return x * x * x
    if p == 0.5:
        return math.sqrt(x)
    return math.pow(x, p)


@functools.cache
def forward(dtype: np.dtype) -> target.Kernel:
    """Make the kernel in which a thread takes the norm of a window."""
    zero, cast = dtype.type(0), dtype.type

    def kernel(input, output, p, root, size, g):
        i, step = int32(cuda.grid(1)), int32(cuda.gridsize(1))
        while i < size:
            plane, out_d, out_h, out_w = locate_output(i, g)
            start = int64(plane) * g.in_plane
            total = zero
            for d in range(out_d * g.sD, min(out_d * g.sD + g.kD, g.D)):
                for h in range(out_h * g.sH, min(out_h * g.sH + g.kH, g.H)):
                    row = start + int32((d * g.H + h) * g.W)
                    for w in range(out_w * g.sW, min(out_w * g.sW + g.kW, g.W)):
                        total += power(input[row + w], p)
            scale = cast(g.kD * g.kH * g.kW) / cast(window_size(out_d, out_h, out_w, 0, 0, g))
            output[i] = power(total * scale, root)
            i = int32(i + step)

    return target.Kernel(kernel, (dtype, dtype, dtype.name, dtype.name, "int32", Geometry), target.THREADS, blocks=3)


@functools.cache
def backward(dtype: np.dtype) -> target.Kernel:
    """Make the kernel in which a thread sums its element's shares of the windows' gradients."""
    zero, one, cast, infinity = dtype.type(0), dtype.type(1), dtype.type, dtype.type(np.inf)

    def kernel(grad_output, input, output, grad_input, p, size, g):
        i, step = int32(cuda.grid(1)), int32(cuda.gridsize(1))
        while i < size:
            plane, d, h, w = locate_input(i, g)
            first_h = first_window(h, g.kH, g.sH, g.sH_multiplier, g.sH_shift)
            first_w = first_window(w, g.kW, g.sW, g.sW_multiplier, g.sW_shift)
            end_h = end_window(h, g.sH_multiplier, g.sH_shift, g.oH)
            end_w = end_window(w, g.sW_multiplier, g.sW_shift, g.oW)
            start = int64(plane) * g.out_plane
            total = zero
            for out_d in range(
                first_window(d, g.kD, g.sD, g.sD_multiplier, g.sD_shift),
                end_window(d, g.sD_multiplier, g.sD_shift, g.oD),
            ):
                for out_h in range(first_h, end_h):
                    row = start + int32((out_d * g.oH + out_h) * g.oW)
                    for out_w in range(first_w, end_w):
                        norm = output[row + out_w]
                        flat = norm == zero if p > zero else abs(norm) == infinity
                        if not (flat or (p == one and norm != norm)):
                            count = window_size(out_d, out_h, out_w, 0, 0, g)
                            scale = cast(g.kD * g.kH * g.kW) / cast(count)
                            total += grad_output[row + out_w] * power(norm, one - p) * scale
            grad_input[i] = total * (one if p == one else power(input[i], p - one))
            i = int32(i + step)

    return target.Kernel(kernel, (dtype, dtype, dtype, dtype, dtype.name, "int32", Geometry), target.THREADS, blocks=3)


def catalogue(dtype: np.dtype) -> dict[str, target.Kernel]:
    """Return every kernel of this module for one dtype, by name: what the compile gate walks."""
    return {"lp_pool_forward": forward(dtype), "lp_pool_backward": backward(dtype)}
