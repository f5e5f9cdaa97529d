"""Average pooling on CUDA, forward and backward, for any rank and dtype.

The rules are those of `nbtorch.kernels.cpu.avg_pool`. A thread computes an element by itself, in the backward pass too,
where it looks at all windows that cover the element, in order.
"""

import functools
from typing import Any

import numpy as np
from nbtorch.kernels.cuda import target
from nbtorch.kernels.cuda.pool import (
    Geometry,
    chunks,
    end_window,
    first_window,
    geometry,
    locate_input,
    locate_output,
    window_start,
)
from nbtorch.kernels.cuda.target import cuda, int32, int64

Triple = tuple[int, int, int]
ONES = (1, 1, 1)


def avg_pool_forward(
    input: Any,
    kernel_size: Triple,
    stride: Triple,
    padding: Triple,
    count_include_pad: bool,
    divisor: int,
    output: Any,
) -> None:
    """Write the mean of every window of `input` to `output`."""
    g = geometry(tuple(input.shape[2:]), tuple(output.shape[2:]), kernel_size, stride, padding, ONES)
    kernel = forward(np.dtype(input.dtype))
    for x, y in chunks(input, output):
        kernel(target.blocks_for(y.size, target.THREADS), x, y, int(count_include_pad), divisor, y.size, g)


def avg_pool_backward(
    grad_output: Any,
    kernel_size: Triple,
    stride: Triple,
    padding: Triple,
    count_include_pad: bool,
    divisor: int,
    grad_input: Any,
) -> None:
    """Write to `grad_input` (N, C, *) the sum of `grad_output` over the windows of each element, each divided."""
    g = geometry(tuple(grad_input.shape[2:]), tuple(grad_output.shape[2:]), kernel_size, stride, padding, ONES)
    kernel = backward(np.dtype(grad_input.dtype))
    for grads, grad in chunks(grad_output, grad_input):
        blocks = target.blocks_for(grad.size, target.THREADS)
        kernel(blocks, grads, grad, int(count_include_pad), divisor, grad.size, g)


@target.device
def counted(out_position, stride, padding, kernel_size, extent, include_pad):
    """Return how many elements of one dimension a window counts."""
    start = window_start(out_position, stride, padding)
    stop = min(start + kernel_size, extent + padding)
    return int32(stop - start if include_pad else min(stop, extent) - max(start, 0))


@target.device
def window_size(out_d, out_h, out_w, include_pad, divisor, g):
    """Return what the sum of a window is divided by."""
    if divisor != 0:
        return int32(divisor)
    depth = counted(out_d, g.sD, g.pD, g.kD, g.D, include_pad)
    height = counted(out_h, g.sH, g.pH, g.kH, g.H, include_pad)
    return int32(depth * height * counted(out_w, g.sW, g.pW, g.kW, g.W, include_pad))


@functools.cache
def forward(dtype: np.dtype) -> target.Kernel:
    """Make the kernel in which a thread averages a window."""
    zero, cast = dtype.type(0), dtype.type

    def kernel(input, output, include_pad, divisor, size, g):
        i, step = int32(cuda.grid(1)), int32(cuda.gridsize(1))
        while i < size:
            plane, out_d, out_h, out_w = locate_output(i, g)
            d_start, h_start = window_start(out_d, g.sD, g.pD), window_start(out_h, g.sH, g.pH)
            w_start = window_start(out_w, g.sW, g.pW)
            start = int64(plane) * g.in_plane
            total = zero
            for d in range(max(d_start, 0), min(d_start + g.kD, g.D)):
                for h in range(max(h_start, 0), min(h_start + g.kH, g.H)):
                    row = start + int32((d * g.H + h) * g.W)
                    for w in range(max(w_start, 0), min(w_start + g.kW, g.W)):
                        total += input[row + w]
            output[i] = cast(total / cast(window_size(out_d, out_h, out_w, include_pad, divisor, g)))
            i = int32(i + step)

    return target.Kernel(kernel, (dtype, dtype, "int32", "int32", "int32", Geometry), target.THREADS)


@functools.cache
def backward(dtype: np.dtype) -> target.Kernel:
    """Make the kernel in which a thread sums its element's shares of the windows' gradients."""
    zero, cast = dtype.type(0), dtype.type

    def kernel(grad_output, grad_input, include_pad, divisor, size, g):
        i, step = int32(cuda.grid(1)), int32(cuda.gridsize(1))
        while i < size:
            plane, d, h, w = locate_input(i, g)
            d, h, w = int32(d + g.pD), int32(h + g.pH), int32(w + g.pW)
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
                        count = window_size(out_d, out_h, out_w, include_pad, divisor, g)
                        total += cast(grad_output[row + out_w] / cast(count))
            grad_input[i] = total
            i = int32(i + step)

    return target.Kernel(kernel, (dtype, dtype, "int32", "int32", "int32", Geometry), target.THREADS, blocks=3)


def catalogue(dtype: np.dtype) -> dict[str, target.Kernel]:
    """Return every kernel of this module for one dtype, by name: what the compile gate walks."""
    return {"avg_pool_forward": forward(dtype), "avg_pool_backward": backward(dtype)}
