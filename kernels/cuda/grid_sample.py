"""Sampling of images and volumes at the places of a grid on CUDA, forward and backward.

The rules are those of `nbtorch.kernels.cpu.grid_sample`. A thread computes a sample of one channel, or a coordinate of
the gradient of one place, by itself. For the gradient of the input a thread takes a plane and adds its samples up in
order, so that nothing is added by atomics.
"""

import functools
import math
from typing import Any, NamedTuple

import numpy as np
from nbtorch.kernels import grid as places
from nbtorch.kernels.cuda import elementary, target
from nbtorch.kernels.cuda.target import cuda, int32, int64
from nbtorch.kernels.elementary import number, select

position, slope = target.scalar(places.position), target.scalar(places.slope)
padded, floor, tap = target.scalar(places.padded), target.scalar(places.floor), target.scalar(places.tap)
nearest_even, cubic_tap = target.scalar(places.nearest_even), target.scalar(places.cubic_tap)
cubic_weights, cubic_slopes = target.scalar(places.cubic_weights), target.scalar(places.cubic_slopes)
elementary.install()


class Numbers(NamedTuple):
    """The extents of input and output and the options of sampling, as int32."""

    W: int
    H: int
    D: int
    C: int
    samples: int
    rank: int
    mode: int
    padding_mode: int
    align_corners: int
    taps: int


def grid_sample_forward(input: Any, grid: Any, mode: int, padding_mode: int, align_corners: bool, output: Any) -> None:
    """Write to `output` what `input` is at the places of `grid`."""
    numbers = _numbers(input, grid, mode, padding_mode, align_corners)
    if output.size:
        kernel = forward(np.dtype(output.dtype))
        kernel(target.blocks_for(output.size, target.THREADS), input, grid, output, output.size, numbers)


def grid_sample_grad_input(
    grad_output: Any, grid: Any, mode: int, padding_mode: int, align_corners: bool, grad_input: Any
) -> None:
    """Write to `grad_input` the sum over the samples that each element takes part in."""
    numbers = _numbers(grad_input, grid, mode, padding_mode, align_corners)
    grad_input.fill(0)
    planes = grad_input.shape[0] * grad_input.shape[1]
    if planes:
        kernel = backward_input(np.dtype(grad_input.dtype))
        kernel(target.blocks_for(planes, target.THREADS), grad_output, grid, grad_input, planes, numbers)


def grid_sample_grad_grid(
    grad_output: Any, input: Any, grid: Any, mode: int, padding_mode: int, align_corners: bool, grad_grid: Any
) -> None:
    """Write to `grad_grid` how the outputs change as the places do."""
    numbers = _numbers(input, grid, mode, padding_mode, align_corners)
    if grad_grid.size:
        kernel = backward_grid(np.dtype(grad_grid.dtype))
        blocks = target.blocks_for(grad_grid.size, target.THREADS)
        kernel(blocks, grad_output, input, grid, grad_grid, grad_grid.size, numbers)


def _numbers(input: Any, grid: Any, mode: int, padding_mode: int, align_corners: bool) -> Numbers:
    extents = input.shape[4], input.shape[3], input.shape[2], input.shape[1]
    options = grid.shape[-1], mode, padding_mode, int(align_corners), (2, 1, 4)[mode]
    return Numbers(*extents, math.prod(grid.shape[1:-1]), *options)


@target.device
def weight_of(place, extent, k, n):
    """Return (element, weight, change of the weight) of tap k along an axis; -1 for an element that does not exist."""
    at, step = position(place, extent, n.align_corners != 0), slope(extent, n.align_corners != 0, place)
    zero = place - place
    if n.mode == places.CUBIC:
        limit = number(1 << 28, at)
        at = select(at > -limit, select(at < limit, at, limit), -limit)
        low = floor(at)
        a, b, c, d = cubic_weights(at - low + zero, number(-0.75, at))
        e, f, g, h = cubic_slopes(at - low + zero, number(-0.75, at))
        weight = a if k == 0 else (b if k == 1 else (c if k == 2 else d))
        change = e if k == 0 else (f if k == 1 else (g if k == 2 else h))
        element = cubic_tap(low + number(k - 1, at), extent, n.padding_mode, n.align_corners != 0)
        return int32(element), weight, change * step
    inside, factor = padded(at, extent, n.padding_mode, n.align_corners != 0, int32(0 if n.rank == 2 else extent - 1))
    if n.mode == places.NEAREST:
        return int32(tap(nearest_even(inside), extent)), number(1, at), number(0, at)
    low = floor(inside)
    right = inside - low
    if n.rank == 2 and n.padding_mode == places.ZEROS:
        right += zero
    element = int32(tap(low + number(k, at), extent))
    return element, right if k == 1 else number(1, at) - right, factor * step if k == 1 else -factor * step


@functools.cache
def forward(dtype: np.dtype) -> target.Kernel:
    """Make the kernel in which a thread computes a sample of one channel."""
    zero, one = dtype.type(0), dtype.type(1)

    def kernel(x, grid, y, size, n):
        i, step = int64(cuda.grid(1)), int64(cuda.gridsize(1))
        while i < size:
            plane, sample = i // n.samples, i % n.samples
            first = (plane // n.C * n.samples + sample) * n.rank
            total = zero
            for d in range(n.taps if n.rank == 3 else 1):
                z, z_weight = int32(0), one
                if n.rank == 3:
                    z, z_weight, _ = weight_of(grid[first + 2], n.D, d, n)
                for h in range(n.taps):
                    yy, y_weight, _ = weight_of(grid[first + 1], n.H, h, n)
                    for w in range(n.taps):
                        xx, x_weight, _ = weight_of(grid[first], n.W, w, n)
                        value = zero
                        if xx >= 0 and yy >= 0 and z >= 0:
                            value = x[((plane * n.D + z) * n.H + yy) * n.W + xx]
                        if n.mode == 1:
                            total = value
                        else:
                            total += x_weight * y_weight * z_weight * value
            y[i] = total
            i += step

    return target.Kernel(kernel, (dtype, dtype, dtype, "int64", Numbers), target.THREADS, blocks=1)


@functools.cache
def backward_input(dtype: np.dtype) -> target.Kernel:
    """Make the kernel in which a thread adds up the samples of a plane."""
    one = dtype.type(1)

    def kernel(grads, grid, grad_x, planes, n):
        plane, step = int64(cuda.grid(1)), int64(cuda.gridsize(1))
        while plane < planes:
            for sample in range(n.samples):
                first = (plane // n.C * n.samples + sample) * n.rank
                grad = grads[plane * n.samples + sample]
                for d in range(n.taps if n.rank == 3 else 1):
                    z, z_weight = int32(0), one
                    if n.rank == 3:
                        z, z_weight, _ = weight_of(grid[first + 2], n.D, d, n)
                    for h in range(n.taps):
                        yy, y_weight, _ = weight_of(grid[first + 1], n.H, h, n)
                        for w in range(n.taps):
                            xx, x_weight, _ = weight_of(grid[first], n.W, w, n)
                            if xx >= 0 and yy >= 0 and z >= 0:
                                element = ((plane * n.D + z) * n.H + yy) * n.W + xx
                                grad_x[element] += x_weight * y_weight * z_weight * grad
            plane += step

    return target.Kernel(kernel, (dtype, dtype, dtype, "int64", Numbers), target.THREADS, blocks=1)


@functools.cache
def backward_grid(dtype: np.dtype) -> target.Kernel:
    """Make the kernel in which a thread computes one coordinate of the gradient of a place."""
    zero, one = dtype.type(0), dtype.type(1)

    def kernel(grads, x, grid, grad_grid, size, n):
        i, step = int64(cuda.grid(1)), int64(cuda.gridsize(1))
        while i < size:
            place, axis = i // n.rank, i % n.rank
            image, sample, first = place // n.samples, place % n.samples, place * n.rank
            total = zero
            for d in range(n.taps if n.rank == 3 else 1):
                z, z_weight, z_change = int32(0), one, zero
                if n.rank == 3:
                    z, z_weight, z_change = weight_of(grid[first + 2], n.D, d, n)
                for h in range(n.taps):
                    yy, y_weight, y_change = weight_of(grid[first + 1], n.H, h, n)
                    for w in range(n.taps):
                        xx, x_weight, x_change = weight_of(grid[first], n.W, w, n)
                        change = x_change if axis == 0 else x_weight
                        change *= y_change if axis == 1 else y_weight
                        change *= z_change if axis == 2 else z_weight
                        if xx >= 0 and yy >= 0 and z >= 0:
                            dot = zero
                            for c in range(n.C):
                                plane = image * n.C + c
                                value = x[((plane * n.D + z) * n.H + yy) * n.W + xx]
                                dot += grads[plane * n.samples + sample] * value
                            total += dot * change
            grad_grid[i] = total
            i += step

    return target.Kernel(kernel, (dtype, dtype, dtype, dtype, "int64", Numbers), target.THREADS, blocks=1)


def catalogue(dtype: np.dtype) -> dict[str, target.Kernel]:
    """Return every kernel of this module for one dtype, by name: what the compile gate walks."""
    return {
        "grid_sample_forward": forward(dtype),
        "grid_sample_grad_input": backward_input(dtype),
        "grid_sample_grad_grid": backward_grid(dtype),
    }
