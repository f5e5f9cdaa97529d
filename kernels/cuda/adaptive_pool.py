"""Adaptive pooling on CUDA, average and maximum, forward and backward, for any rank and dtype.

The rules are those of `nbtorch.kernels.cpu.adaptive_pool`. A thread computes an element by itself, in the backward
passes too, where it looks at all regions that hold the element: they are the element's own region among theirs.
"""

import functools
from typing import Any

import numpy as np
from nbtorch.kernels import scalar
from nbtorch.kernels.cuda import target
from nbtorch.kernels.cuda.avg_pool import ONES
from nbtorch.kernels.cuda.pool import Geometry, chunks, geometry, locate_input, locate_output, wins
from nbtorch.kernels.cuda.target import cuda, int32, int64

region_start, region_end = target.scalar(scalar.region_start), target.scalar(scalar.region_end)


def _regions(input: Any, output: Any) -> Geometry:
    return geometry(tuple(input.shape[2:]), tuple(output.shape[2:]), ONES, ONES, (0, 0, 0), ONES)


def adaptive_avg_pool_forward(input: Any, output: Any) -> None:
    """Write the mean of every region of `input` to `output`."""
    g, kernel = _regions(input, output), avg_forward(np.dtype(input.dtype))
    for x, y in chunks(input, output):
        kernel(target.blocks_for(y.size, target.THREADS), x, y, y.size, g)


def adaptive_avg_pool_backward(grad_output: Any, grad_input: Any) -> None:
    """Write to `grad_input` the sum of `grad_output` over the regions of each element, each divided by its size."""
    if grad_output.size == 0:
        grad_input.fill(0)
        return
    g, kernel = _regions(grad_input, grad_output), avg_backward(np.dtype(grad_input.dtype))
    for grads, grad in chunks(grad_output, grad_input):
        kernel(target.blocks_for(grad.size, target.THREADS), grads, grad, grad.size, g)


def adaptive_max_pool_forward(input: Any, output: Any, indices: Any) -> None:
    """Write the maximum of every region of `input` to `output` and its flat position to `indices` (int64)."""
    g, kernel = _regions(input, output), max_forward(np.dtype(input.dtype))
    for x, y, positions in chunks(input, output, indices):
        kernel(target.blocks_for(y.size, target.THREADS), x, y, positions, y.size, g)


def adaptive_max_pool_backward(grad_output: Any, indices: Any, grad_input: Any) -> None:
    """Write to `grad_input` the sum of `grad_output` over the regions whose maximum an element is."""
    if grad_output.size == 0:
        grad_input.fill(0)
        return
    g, kernel = _regions(grad_input, grad_output), max_backward(np.dtype(grad_input.dtype))
    for grads, positions, grad in chunks(grad_output, indices, grad_input):
        kernel(target.blocks_for(grad.size, target.THREADS), grads, positions, grad, grad.size, g)


@target.device
def region(position, extent, regions):
    """Return (begin, end) of a region; the products need 64 bits."""
    wide = int64(position)
    return int32(region_start(wide, extent, regions)), int32(region_end(wide, extent, regions))


@functools.cache
def avg_forward(dtype: np.dtype) -> target.Kernel:
    """Make the kernel in which a thread averages a region."""
    zero, cast = dtype.type(0), dtype.type

    def kernel(input, output, size, g):
        i, step = int32(cuda.grid(1)), int32(cuda.gridsize(1))
        while i < size:
            plane, out_d, out_h, out_w = locate_output(i, g)
            d_begin, d_end = region(out_d, g.D, g.oD)
            h_begin, h_end = region(out_h, g.H, g.oH)
            w_begin, w_end = region(out_w, g.W, g.oW)
            start = int64(plane) * g.in_plane
            total = zero
            for d in range(d_begin, d_end):
                for h in range(h_begin, h_end):
                    row = start + int32((d * g.H + h) * g.W)
                    for w in range(w_begin, w_end):
                        total += input[row + w]
            output[i] = total / cast((d_end - d_begin) * (h_end - h_begin) * (w_end - w_begin))
            i = int32(i + step)

    return target.Kernel(kernel, (dtype, dtype, "int32", Geometry), target.THREADS)


@functools.cache
def avg_backward(dtype: np.dtype) -> target.Kernel:
    """Make the kernel in which a thread sums its element's shares of the regions' gradients."""
    zero, cast = dtype.type(0), dtype.type

    def kernel(grad_output, grad_input, size, g):
        i, step = int32(cuda.grid(1)), int32(cuda.gridsize(1))
        while i < size:
            plane, d, h, w = locate_input(i, g)
            first_d, end_d = region(d, g.oD, g.D)
            first_h, end_h = region(h, g.oH, g.H)
            first_w, end_w = region(w, g.oW, g.W)
            start = int64(plane) * g.out_plane
            total = zero
            for out_d in range(first_d, end_d):
                d_begin, d_stop = region(out_d, g.D, g.oD)
                for out_h in range(first_h, end_h):
                    h_begin, h_stop = region(out_h, g.H, g.oH)
                    row = start + int32((out_d * g.oH + out_h) * g.oW)
                    for out_w in range(first_w, end_w):
                        w_begin, w_stop = region(out_w, g.W, g.oW)
                        count = (d_stop - d_begin) * (h_stop - h_begin) * (w_stop - w_begin)
                        total += grad_output[row + out_w] / cast(count)
            grad_input[i] = total
            i = int32(i + step)

    return target.Kernel(kernel, (dtype, dtype, "int32", Geometry), target.THREADS, blocks=3)


@functools.cache
def max_forward(dtype: np.dtype) -> target.Kernel:
    """Make the kernel in which a thread finds the maximum of a region."""

    def kernel(input, output, indices, size, g):
        i, step = int32(cuda.grid(1)), int32(cuda.gridsize(1))
        while i < size:
            plane, out_d, out_h, out_w = locate_output(i, g)
            d_begin, d_end = region(out_d, g.D, g.oD)
            h_begin, h_end = region(out_h, g.H, g.oH)
            w_begin, w_end = region(out_w, g.W, g.oW)
            start = int64(plane) * g.in_plane
            best_index = int32((d_begin * g.H + h_begin) * g.W + w_begin)
            best = input[start + best_index]
            for d in range(d_begin, d_end):
                for h in range(h_begin, h_end):
                    row = int32((d * g.H + h) * g.W)
                    for w in range(w_begin, w_end):
                        value = input[start + row + w]
                        if wins(value, best):
                            best, best_index = value, int32(row + w)
            output[i], indices[i] = best, best_index
            i = int32(i + step)

    return target.Kernel(kernel, (dtype, dtype, np.dtype("int64"), "int32", Geometry), target.THREADS)


@functools.cache
def max_backward(dtype: np.dtype) -> target.Kernel:
    """Make the kernel in which a thread sums the gradients of the regions that chose its element."""
    zero = dtype.type(0)

    def kernel(grad_output, indices, grad_input, size, g):
        i, step = int32(cuda.grid(1)), int32(cuda.gridsize(1))
        while i < size:
            plane, d, h, w = locate_input(i, g)
            pixel = int32((d * g.H + h) * g.W + w)
            first_d, end_d = region(d, g.oD, g.D)
            first_h, end_h = region(h, g.oH, g.H)
            first_w, end_w = region(w, g.oW, g.W)
            start = int64(plane) * g.out_plane
            total = zero
            for out_d in range(first_d, end_d):
                for out_h in range(first_h, end_h):
                    row = start + int32((out_d * g.oH + out_h) * g.oW)
                    for out_w in range(first_w, end_w):
                        if indices[row + out_w] == pixel:
                            total += grad_output[row + out_w]
            grad_input[i] = total
            i = int32(i + step)

    return target.Kernel(kernel, (dtype, np.dtype("int64"), dtype, "int32", Geometry), target.THREADS)


def catalogue(dtype: np.dtype) -> dict[str, target.Kernel]:
    """Return every kernel of this module for one dtype, by name: what the compile gate walks."""
    return {
        "adaptive_avg_pool_forward": avg_forward(dtype),
        "adaptive_avg_pool_backward": avg_backward(dtype),
        "adaptive_max_pool_forward": max_forward(dtype),
        "adaptive_max_pool_backward": max_backward(dtype),
    }
