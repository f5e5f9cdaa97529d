"""Fractional max pooling on CUDA, for any rank and dtype: windows that begin where tables say, plane by plane.

The rules are those of `nbtorch.kernels.cpu.fractional_pool`. A thread computes an element by itself, in the backward
pass too, where it looks the windows that cover the element up in the tables, which are sorted.
"""

import functools
from typing import Any

import numpy as np
from nbtorch.kernels.cuda import target
from nbtorch.kernels.cuda.avg_pool import ONES, Triple
from nbtorch.kernels.cuda.pool import Geometry, chunks, geometry, locate_input, locate_output, wins
from nbtorch.kernels.cuda.target import cuda, int32, int64

Starts = tuple[Any, Any, Any]
INDEX = np.dtype("int64")


def fractional_max_pool_forward(input: Any, kernel_size: Triple, starts: Starts, output: Any, indices: Any) -> None:
    """Write the maximum of every window of `input` to `output` and its flat position to `indices` (int64)."""
    g = geometry(tuple(input.shape[2:]), tuple(output.shape[2:]), kernel_size, ONES, (0, 0, 0), ONES)
    kernel = forward(np.dtype(input.dtype))
    tables = [table.reshape(*input.shape[:2], -1) for table in starts]
    for x, y, positions, *chunk in chunks(input, output, indices, *tables):
        kernel(target.blocks_for(y.size, target.THREADS), x, y, positions, *chunk, y.size, g)


def fractional_max_pool_backward(
    grad_output: Any, indices: Any, kernel_size: Triple, starts: Starts, grad_input: Any
) -> None:
    """Write to `grad_input` the sum of `grad_output` over the windows whose maximum an element is."""
    g = geometry(tuple(grad_input.shape[2:]), tuple(grad_output.shape[2:]), kernel_size, ONES, (0, 0, 0), ONES)
    kernel = backward(np.dtype(grad_input.dtype))
    tables = [table.reshape(*grad_input.shape[:2], -1) for table in starts]
    for grads, positions, *chunk, grad in chunks(grad_output, indices, *tables, grad_input):
        kernel(target.blocks_for(grad.size, target.THREADS), grads, positions, grad, *chunk, grad.size, g)


@functools.cache
def forward(dtype: np.dtype) -> target.Kernel:
    """Make the kernel in which a thread finds the maximum of a window."""

    def kernel(input, output, indices, d_starts, h_starts, w_starts, size, g):
        i, step = int32(cuda.grid(1)), int32(cuda.gridsize(1))
        while i < size:
            plane, out_d, out_h, out_w = locate_output(i, g)
            start = int64(plane) * g.in_plane
            d, h = d_starts[plane * g.oD + out_d], h_starts[plane * g.oH + out_h]
            corner = int32((d * g.H + h) * g.W + w_starts[plane * g.oW + out_w])
            best, best_index = input[start + corner], corner
            for tap_d in range(g.kD):
                for tap_h in range(g.kH):
                    row = int32(corner + (tap_d * g.H + tap_h) * g.W)
                    for index in range(row, row + g.kW):
                        value = input[start + index]
                        if wins(value, best):
                            best, best_index = value, int32(index)
            output[i], indices[i] = best, best_index
            i = int32(i + step)

    return target.Kernel(kernel, (dtype, dtype, INDEX, INDEX, INDEX, INDEX, "int32", Geometry), target.THREADS)


@target.device
def first_beyond(table, begin, count, position):
    """Return how many of `count` sorted entries of a table, from `begin` on, are at most `position`."""
    low, high = int32(0), int32(count)
    while low < high:
        middle = int32((low + high) >> 1)
        if table[begin + middle] <= position:
            low = int32(middle + 1)
        else:
            high = middle
    return low


@functools.cache
def backward(dtype: np.dtype) -> target.Kernel:
    """Make the kernel in which a thread sums the gradients of the windows that chose its element."""
    zero = dtype.type(0)

    def kernel(grad_output, indices, grad_input, d_starts, h_starts, w_starts, size, g):
        i, step = int32(cuda.grid(1)), int32(cuda.gridsize(1))
        while i < size:
            plane, d, h, w = locate_input(i, g)
            pixel = int32((d * g.H + h) * g.W + w)
            d_table, h_table, w_table = plane * g.oD, plane * g.oH, plane * g.oW
            first_h, end_h = (
                first_beyond(h_starts, h_table, g.oH, h - g.kH),
                first_beyond(h_starts, h_table, g.oH, h),
            )
            first_w, end_w = (
                first_beyond(w_starts, w_table, g.oW, w - g.kW),
                first_beyond(w_starts, w_table, g.oW, w),
            )
            start = int64(plane) * g.out_plane
            total = zero
            for out_d in range(
                first_beyond(d_starts, d_table, g.oD, d - g.kD), first_beyond(d_starts, d_table, g.oD, d)
            ):
                for out_h in range(first_h, end_h):
                    row = start + int32((out_d * g.oH + out_h) * g.oW)
                    for out_w in range(first_w, end_w):
                        if indices[row + out_w] == pixel:
                            total += grad_output[row + out_w]
            grad_input[i] = total
            i = int32(i + step)

    return target.Kernel(kernel, (dtype, INDEX, dtype, INDEX, INDEX, INDEX, "int32", Geometry), target.THREADS)


def catalogue(dtype: np.dtype) -> dict[str, target.Kernel]:
    """Return every kernel of this module for one dtype, by name: what the compile gate walks."""
    return {"fractional_max_pool_forward": forward(dtype), "fractional_max_pool_backward": backward(dtype)}
