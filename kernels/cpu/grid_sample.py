"""Sampling of images and volumes at the places of a grid on the CPU, forward and backward.

All arrays are C-contiguous. `input` is (N, C, D, H, W), `grid` (N, oD, oH, oW, rank), coordinates of the innermost
axis first, `output` (N, C, oD, oH, oW); images have D = 1 and rank 2. Modes are numbers of `nbtorch.kernels.grid`.

Along an axis a sample is a sum of one, two or four taps; its elements are their products. These are found once for a
block of samples, and used for all channels. The gradient of the input is summed plane by plane, that of the grid sample
by sample: nothing is written by two threads.
"""

import math

import numpy as np
from nbtorch.kernels import grid as places
from nbtorch.kernels.cpu.ranges import RangeKernel
from nbtorch.kernels.elementary import number
from nbtorch.kernels.jit import njit

BLOCK = 128
"""Samples whose taps are found together: 16 taps of them take 32 KiB."""

PARALLEL_WORK = 1 << 13
"""Elements read above which sampling takes longer than waking the threads."""

TAPS = (2, 1, 4)
"""How many taps a mode has along an axis."""


def grid_sample_forward(input, grid, mode: int, padding_mode: int, align_corners: bool, output) -> None:
    """Write to `output` what `input` is at the places of `grid`."""
    numbers, blocks = _plan(input, grid, mode, padding_mode, align_corners)
    work = output.size * TAPS[mode] ** grid.shape[-1]
    _forward(input.shape[0] * blocks, work, _flat(input), _flat(grid), numbers, _flat(output))


def grid_sample_grad_input(grad_output, grid, mode: int, padding_mode: int, align_corners: bool, grad_input) -> None:
    """Write to `grad_input` the sum over the samples that each element takes part in."""
    numbers, _ = _plan(grad_input, grid, mode, padding_mode, align_corners)
    work = grad_output.size * TAPS[mode] ** grid.shape[-1] + grad_input.size
    count = grad_input.shape[0] * grad_input.shape[1]
    _grad_input(count, work, _flat(grad_output), _flat(grid), numbers, _flat(grad_input))


def grid_sample_grad_grid(
    grad_output, input, grid, mode: int, padding_mode: int, align_corners: bool, grad_grid
) -> None:
    """Write to `grad_grid` how the outputs change as the places do."""
    if mode == places.NEAREST:
        grad_grid.fill(0)
        return
    numbers, blocks = _plan(input, grid, mode, padding_mode, align_corners)
    work = grad_output.size * TAPS[mode] ** grid.shape[-1]
    arrays = _flat(grad_output), _flat(input), _flat(grid), numbers, _flat(grad_grid)
    _grad_grid(input.shape[0] * blocks, work, *arrays)


def _flat(array: np.ndarray) -> np.ndarray:
    return array.reshape(-1)


def _plan(input, grid, mode: int, padding_mode: int, align_corners: bool) -> tuple[np.ndarray, int]:
    """Return the numbers that kernels need, and into how many blocks the samples of an image fall."""
    rank, samples = grid.shape[-1], math.prod(grid.shape[1:-1])
    extents = input.shape[4], input.shape[3], input.shape[2]
    return np.array([*extents, input.shape[1], samples, rank, mode, padding_mode, align_corners]), -(-samples // BLOCK)


@njit
def _axis(place, extent, numbers, taps, weights, slopes):
    """Fill in the taps of a sample along one axis, their weights, and how the weights change with the place."""
    rank, mode, padding_mode, align_corners = numbers[5], numbers[6], numbers[7], numbers[8] != 0
    at, step = places.position(place, extent, align_corners), places.slope(extent, align_corners, place)
    one = number(1, place)
    if mode == places.CUBIC:
        at = min(max(at, number(-1e8, at)), number(1e8, at)) if at == at else number(-1e8, at)
        low = places.floor(at)
        values, changes = (
            places.cubic_weights(at - low, number(-0.75, at)),
            places.cubic_slopes(at - low, number(-0.75, at)),
        )
        low -= one
        for t in range(4):
            taps[t] = places.cubic_tap(low, extent, padding_mode, align_corners)
            weights[t], slopes[t] = values[t], changes[t] * step
            low += one
        return
    at, factor = places.padded(at, extent, padding_mode, align_corners, 0 if rank == 2 else extent - 1)
    if mode == places.NEAREST:
        taps[0], weights[0], slopes[0] = places.tap(places.nearest_even(at), extent), one, one - one
        return
    low = places.floor(at)
    taps[0], taps[1] = places.tap(low, extent), places.tap(low + one, extent)
    weights[0], weights[1] = low + one - at, at - low
    slopes[0], slopes[1] = -factor * step, factor * step


@njit
def _block(grid, first, count, numbers, one, axes, elements, weights, slopes):
    """Find the taps of a block of samples: `elements` of a plane, -1 where there is none, and their weights.

    `slopes` (rank, taps, samples), where it is not empty, takes how the weights change with each coordinate. Returns
    whether all elements exist.
    """
    rank = numbers[5]
    taps, values, changes = axes
    per_axis, inside = taps.shape[1], True
    for i in range(count):
        undefined = one - one
        for axis in range(rank):
            place = grid[(first + i) * rank + axis]
            _axis(place, numbers[axis], numbers, taps[axis], values[axis], changes[axis])
            undefined += place - place
        k = 0
        for d in range(per_axis if rank == 3 else 1):
            for h in range(per_axis):
                for w in range(per_axis):
                    x, y, z = taps[0, w], taps[1, h], np.int64(0)
                    weight = values[0, w] * values[1, h]
                    if rank == 3:
                        z = taps[2, d]
                        weight *= values[2, d]
                    missing = x < 0 or y < 0 or z < 0
                    elements[k, i] = -1 if missing else (z * numbers[1] + y) * numbers[0] + x
                    weights[k, i] = weight
                    inside = inside and not missing
                    if slopes.size:
                        depth, depth_change = one, one
                        if rank == 3:
                            depth, depth_change = values[2, d], changes[2, d]
                            slopes[2, k, i] = values[0, w] * values[1, h] * depth_change
                        slopes[0, k, i] = changes[0, w] * values[1, h] * depth
                        slopes[1, k, i] = values[0, w] * changes[1, h] * depth
                    k += 1
        if rank == 2 and numbers[7] == 0 and numbers[6] != 1:
            weights[0, i] += undefined
            if undefined != undefined and elements[0, i] < 0:
                elements[0, i] = 0
    return inside


@njit
def _scratch(numbers, dtype, with_slopes):
    """Return room for the taps along the axes of a sample, and for those of a block."""
    rank = numbers[5]
    per_axis = 2 if numbers[6] == 0 else (1 if numbers[6] == 1 else 4)
    many = per_axis**rank
    axes = (np.empty((3, per_axis), np.int64), np.empty((3, per_axis), dtype), np.empty((3, per_axis), dtype))
    slopes = np.empty((3 if with_slopes else 0, many, BLOCK), dtype)
    return axes, np.empty((many, BLOCK), np.int64), np.empty((many, BLOCK), dtype), slopes


@njit
def _gather(x, base, elements, weights, count, inside, y, out):
    """Write the weighted sums of a plane's elements."""
    start, target, taps = np.uint64(base), np.uint64(out), elements.shape[0]
    if not inside:
        for i in range(count):
            total = y.dtype.type(0)
            for k in range(taps):
                if elements[k, i] >= 0:
                    total += weights[k, i] * x[base + elements[k, i]]
            y[out + i] = total
    elif taps == 4:
        e0, e1, e2, e3 = elements[0], elements[1], elements[2], elements[3]
        w0, w1, w2, w3 = weights[0], weights[1], weights[2], weights[3]
        for i in range(count):
            j = np.uint64(i)
            total = w0[j] * x[start + np.uint64(e0[j])] + w1[j] * x[start + np.uint64(e1[j])]
            total += w2[j] * x[start + np.uint64(e2[j])] + w3[j] * x[start + np.uint64(e3[j])]
            y[target + j] = total
    else:
        for i in range(count):
            j = np.uint64(i)
            total = y.dtype.type(0)
            for k in range(taps):
                total += weights[k, j] * x[start + np.uint64(elements[k, j])]
            y[target + j] = total


def _fill_output(x, grid, numbers, y, begin, end):
    """Fill the blocks `begin` to `end` of samples, counted through all images, in all channels."""
    C, samples, plane = numbers[3], numbers[4], numbers[0] * numbers[1] * numbers[2]
    axes, elements, weights, slopes = _scratch(numbers, x.dtype, False)
    blocks, one = (samples + BLOCK - 1) // BLOCK, x.dtype.type(1)
    for block in range(begin, end):
        n, first = block // blocks, block % blocks * BLOCK
        count = min(BLOCK, samples - first)
        inside = _block(grid, n * samples + first, count, numbers, one, axes, elements, weights, slopes)
        for c in range(C):
            base = (n * C + c) * plane
            _gather(x, base, elements, weights, count, inside, y, (n * C + c) * samples + first)


def _sum_planes(grads, grid, numbers, grad_x, begin, end):
    """Fill the planes `begin` to `end` of the input's gradient, counted through all images."""
    C, samples, plane = numbers[3], numbers[4], numbers[0] * numbers[1] * numbers[2]
    axes, elements, weights, slopes = _scratch(numbers, grads.dtype, False)
    one, taps = grads.dtype.type(1), elements.shape[0]
    for i in range(begin * plane, end * plane):
        grad_x[i] = 0
    while begin < end:
        n, stop = begin // C, min(end, (begin // C + 1) * C)
        for first in range(0, samples, BLOCK):
            count = min(BLOCK, samples - first)
            _block(grid, n * samples + first, count, numbers, one, axes, elements, weights, slopes)
            for p in range(begin, stop):
                base, source = p * plane, p * samples + first
                for i in range(count):
                    grad = grads[source + i]
                    for k in range(taps):
                        if elements[k, i] >= 0:
                            grad_x[base + elements[k, i]] += weights[k, i] * grad
        begin = stop


def _fill_grad_grid(grads, x, grid, numbers, grad_grid, begin, end):
    """Fill the gradients of the blocks `begin` to `end` of samples: channels are summed for each tap first."""
    C, samples, plane, rank = numbers[3], numbers[4], numbers[0] * numbers[1] * numbers[2], numbers[5]
    axes, elements, weights, slopes = _scratch(numbers, x.dtype, True)
    blocks, one, taps = (samples + BLOCK - 1) // BLOCK, x.dtype.type(1), elements.shape[0]
    dots = np.empty((taps, BLOCK), x.dtype)
    for block in range(begin, end):
        n, first = block // blocks, block % blocks * BLOCK
        count = min(BLOCK, samples - first)
        _block(grid, n * samples + first, count, numbers, one, axes, elements, weights, slopes)
        for k in range(taps):
            for i in range(count):
                dots[k, i] = 0
        for c in range(C):
            base, source = (n * C + c) * plane, (n * C + c) * samples + first
            for k in range(taps):
                for i in range(count):
                    if elements[k, i] >= 0:
                        dots[k, i] += grads[source + i] * x[base + elements[k, i]]
        for i in range(count):
            for axis in range(rank):
                total = one - one
                for k in range(taps):
                    total += dots[k, i] * slopes[axis, k, i]
                grad_grid[(n * samples + first + i) * rank + axis] = total


_forward = RangeKernel(_fill_output, PARALLEL_WORK)
_grad_input = RangeKernel(_sum_planes, PARALLEL_WORK)
_grad_grid = RangeKernel(_fill_grad_grid, PARALLEL_WORK)
