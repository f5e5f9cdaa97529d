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
from nbtorch.kernels.elementary import number, select
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
def _axis(grid, first, count, axis, numbers, taps, weights, slopes):
    """Fill in the taps of some samples along an axis, their weights, and how these change with the place."""
    rank, mode, padding_mode, align_corners = numbers[5], numbers[6], numbers[7], numbers[8] != 0
    if mode == places.CUBIC:
        _cubic_axis(grid, first, count, axis, numbers, taps, weights, slopes)
    elif mode == places.NEAREST:
        extent, otherwise = numbers[axis], 0 if rank == 2 else numbers[axis] - 1
        for i in range(count):
            at = places.position(grid[np.uint64((first + i) * rank + axis)], extent, align_corners)
            at = places.padded(at, extent, padding_mode, align_corners, otherwise)[0]
            taps[0, i] = places.tap(places.nearest_even(at), extent)
            weights[0, i] = number(1, at)
    elif padding_mode == places.ZEROS:
        _linear_axis(_bounded, grid, first, count, axis, numbers, taps, weights, slopes)
    elif padding_mode == places.BORDER:
        _linear_axis(_clipped, grid, first, count, axis, numbers, taps, weights, slopes)
    else:
        _linear_axis(places.reflected, grid, first, count, axis, numbers, taps, weights, slopes)


@njit
def _bounded(at, extent, align_corners, otherwise):
    """As `places.reflected`, of a position that stays."""
    return places.bounded(at, extent)


@njit
def _clipped(at, extent, align_corners, otherwise):
    """As `places.reflected`, of a position moved to the edge."""
    return places.clipped(at, extent, otherwise)


@njit
def _linear_axis(pad, grid, first, count, axis, numbers, taps, weights, slopes):
    """Fill in the two taps of some samples along an axis."""
    rank, align_corners, extent = numbers[5], numbers[8] != 0, numbers[axis]
    otherwise, plain = 0 if rank == 2 else extent - 1, rank == 2 and numbers[7] == places.ZEROS
    step = places.slope(extent, align_corners, weights[0, 0])
    for i in range(count):
        place = grid[np.uint64((first + i) * rank + axis)]
        at, factor = pad(places.position(place, extent, align_corners), extent, align_corners, otherwise)
        low = places.floor(at)
        one, undefined = number(1, at), place - place if plain else number(0, at)
        taps[0, i] = places.tap(low, extent)
        taps[1, i] = places.tap(low + one, extent)
        weights[0, i], weights[1, i] = low + one - at + undefined, at - low + undefined
        slopes[0, i], slopes[1, i] = -factor * step, factor * step


@njit
def _cubic_axis(grid, first, count, axis, numbers, taps, weights, slopes):
    """Fill in the four taps of some samples along an axis."""
    rank, padding_mode, align_corners, extent = numbers[5], numbers[7], numbers[8] != 0, numbers[axis]
    step = places.slope(extent, align_corners, weights[0, 0])
    for i in range(count):
        place = grid[np.uint64((first + i) * rank + axis)]
        at, undefined = places.position(place, extent, align_corners), place - place
        limit = number(1 << 28, at)
        at = select(at > -limit, select(at < limit, at, limit), -limit)
        low = places.floor(at)
        t, a = at - low + undefined, number(-0.75, at)
        weights[0, i], weights[1, i], weights[2, i], weights[3, i] = places.cubic_weights(t, a)
        w, x, y, z = places.cubic_slopes(t, a)
        slopes[0, i], slopes[1, i], slopes[2, i], slopes[3, i] = w * step, x * step, y * step, z * step
        for k in range(4):
            taps[k, i] = places.cubic_tap(low + number(k - 1, at), extent, padding_mode, align_corners)


@njit
def _block(grid, first, count, numbers, axes, elements, weights):
    """Find the taps of a block of samples: `elements` of a plane, -1 where there is none, and their weights."""
    rank, W, H = numbers[5], np.int32(numbers[0]), np.int32(numbers[1])
    taps, values, changes = axes
    for axis in range(rank):
        _axis(grid, first, count, axis, numbers, taps[axis], values[axis], changes[axis])
    per_axis = taps.shape[1]
    for k in range(elements.shape[0]):
        d, h, w = k // (per_axis * per_axis), k // per_axis % per_axis, k % per_axis
        x, y, found, product = taps[0, w], taps[1, h], elements[k], weights[k]
        x_weights, y_weights = values[0, w], values[1, h]
        if rank == 2:
            for i in range(count):
                found[i] = select((x[i] | y[i]) < np.int32(0), np.int32(-1), np.int32(y[i] * W + x[i]))
                product[i] = x_weights[i] * y_weights[i]
        else:
            z, z_weights = taps[2, d], values[2, d]
            for i in range(count):
                element = np.int32((z[i] * H + y[i]) * W + x[i])
                found[i] = select((x[i] | y[i] | z[i]) < np.int32(0), np.int32(-1), element)
                product[i] = x_weights[i] * y_weights[i] * z_weights[i]


@njit
def _scratch(numbers, dtype):
    """Return room for the taps of a block along its axes, and for their products."""
    per_axis = 2 if numbers[6] == 0 else (1 if numbers[6] == 1 else 4)
    many, one_axis = per_axis ** numbers[5], (3, per_axis, BLOCK)
    axes = np.empty(one_axis, np.int32), np.empty(one_axis, dtype), np.empty(one_axis, dtype)
    return axes, np.empty((many, BLOCK), np.int32), np.empty((many, BLOCK), dtype)


@njit
def _value(x, base, element, zero):
    """Return an element of a plane, or zero if its number is -1."""
    return select(element >= np.int32(0), x[base + np.uint64(max(element, np.int32(0)))], zero)


@njit
def _gather(x, plane, elements, weights, count, y, out):
    """Write the weighted sums of a plane's elements."""
    base, target, taps, zero = np.uint64(plane), y[out : out + count], elements.shape[0], y.dtype.type(0)
    if taps == 1:
        only = elements[0]
        for i in range(count):
            target[i] = _value(x, base, only[i], zero)
        return
    for k in range(0, taps, 4):
        a, b, c, d = elements[k], elements[k + 1], elements[k + 2], elements[k + 3]
        e, f, g, h = weights[k], weights[k + 1], weights[k + 2], weights[k + 3]
        for i in range(count):
            total = e[i] * _value(x, base, a[i], zero) + f[i] * _value(x, base, b[i], zero)
            total += g[i] * _value(x, base, c[i], zero) + h[i] * _value(x, base, d[i], zero)
            target[i] = total if k == 0 else target[i] + total


def _fill_output(x, grid, numbers, y, begin, end):
    """Fill the blocks `begin` to `end` of samples, counted through all images, in all channels."""
    C, samples, plane = numbers[3], numbers[4], numbers[0] * numbers[1] * numbers[2]
    axes, elements, weights = _scratch(numbers, x.dtype)
    blocks = (samples + BLOCK - 1) // BLOCK
    for block in range(begin, end):
        n, first = block // blocks, block % blocks * BLOCK
        count = min(BLOCK, samples - first)
        _block(grid, n * samples + first, count, numbers, axes, elements, weights)
        for c in range(n * C, (n + 1) * C):
            _gather(x, c * plane, elements, weights, count, y, c * samples + first)


def _sum_planes(grads, grid, numbers, grad_x, begin, end):
    """Fill the planes `begin` to `end` of the input's gradient, counted through all images."""
    C, samples, plane = numbers[3], numbers[4], numbers[0] * numbers[1] * numbers[2]
    axes, elements, weights = _scratch(numbers, grads.dtype)
    grad_x[begin * plane : end * plane] = 0
    while begin < end:
        n, stop = begin // C, min(end, (begin // C + 1) * C)
        for first in range(0, samples, BLOCK):
            count = min(BLOCK, samples - first)
            _block(grid, n * samples + first, count, numbers, axes, elements, weights)
            for p in range(begin, stop):
                source = grads[p * samples + first : p * samples + first + count]
                _scatter(source, elements, weights, count, grad_x, p * plane)
        begin = stop


@njit
def _scatter(grads, elements, weights, count, grad_x, plane):
    """Add the gradients of some samples to the elements of a plane."""
    base = np.uint64(plane)
    for i in range(count):
        j = np.uint64(i)
        grad = grads[j]
        for k in range(elements.shape[0]):
            element = elements[k, j]
            if element >= 0:
                grad_x[base + np.uint64(element)] += weights[k, j] * grad


def _fill_grad_grid(grads, x, grid, numbers, grad_grid, begin, end):
    """Fill the gradients of the blocks `begin` to `end` of samples: channels are summed for each tap first."""
    C, samples, plane = numbers[3], numbers[4], numbers[0] * numbers[1] * numbers[2]
    axes, elements, weights = _scratch(numbers, x.dtype)
    blocks, zero = (samples + BLOCK - 1) // BLOCK, x.dtype.type(0)
    for block in range(begin, end):
        n, first = block // blocks, block % blocks * BLOCK
        count = min(BLOCK, samples - first)
        _block(grid, n * samples + first, count, numbers, axes, elements, weights)
        dots = weights
        dots[:] = 0
        for c in range(n * C, (n + 1) * C):
            base, source = np.uint64(c * plane), grads[c * samples + first : c * samples + first + count]
            for k in range(elements.shape[0]):
                element, sums = elements[k], dots[k]
                for i in range(count):
                    sums[i] += source[i] * _value(x, base, element[i], zero)
        _combine_slopes(dots, axes, numbers, count, (n * samples + first) * numbers[5], grad_grid)


@njit
def _combine_slopes(dots, axes, numbers, count, start, grad_grid):
    """Write for some samples the sums over the taps of a dot product times the change of the tap's weight."""
    rank, (_, values, changes) = numbers[5], axes
    per_axis = values.shape[1]
    for i in range(count):
        for axis in range(rank):
            total = dots.dtype.type(0)
            for k in range(dots.shape[0]):
                d, h, w = k // (per_axis * per_axis), k // per_axis % per_axis, k % per_axis
                change = changes[0, w, i] if axis == 0 else values[0, w, i]
                change *= changes[1, h, i] if axis == 1 else values[1, h, i]
                if rank == 3:
                    change *= changes[2, d, i] if axis == 2 else values[2, d, i]
                total += dots[k, i] * change
            grad_grid[start + i * rank + axis] = total


_forward = RangeKernel(_fill_output, PARALLEL_WORK)
_grad_input = RangeKernel(_sum_planes, PARALLEL_WORK)
_grad_grid = RangeKernel(_fill_grad_grid, PARALLEL_WORK)
