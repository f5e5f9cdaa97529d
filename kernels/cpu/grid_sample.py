"""Sampling of images and volumes at the places of a grid on the CPU, forward and backward.

All arrays are C-contiguous. `input` is (N, C, D, H, W), `grid` (N, oD, oH, oW, rank), coordinates of the innermost
axis first, `output` (N, C, oD, oH, oW); images have D = 1 and rank 2. Modes are numbers of `nbtorch.kernels.grid`.

Along an axis a sample is a sum of one, two or four taps; its elements are their products. The taps of a block of
samples are found together, in vectors, and serve all channels. Nearly always all of them exist and lie side by side:
then the first one's place says where the others are, and no list of elements is read. Samples at the edges walk
through their taps one by one.

The gradient of the input is summed plane by plane, that of the grid sample by sample: nothing is written by two
threads.
"""

import math

import numpy as np
from nbtorch.kernels import grid as places
from nbtorch.kernels.cpu.ranges import RangeKernel
from nbtorch.kernels.elementary import number, select
from nbtorch.kernels.jit import njit

BLOCK = 256
"""Samples whose taps are found together: the tables of a block take 20 KiB."""

PARALLEL_WORK = 1 << 13
"""Elements read above which sampling takes longer than waking the threads."""

TAPS = (2, 1, 4)
"""How many taps a mode has along an axis."""

MOST = 4
"""The most taps along an axis."""

START, EDGES = 3 * MOST, 3 * MOST + 1
"""Rows of the table of taps after those of the axes: the first element of each sample whose taps all exist and lie side
by side, else -1; and a list of the other samples."""

SLOPES, PRODUCTS, DOTS = 3 * MOST, 6 * MOST, 6 * MOST + 8
"""Rows of the table of weights after those of the axes: slopes, the products of linear weights, sums over channels."""

AT, ROWS = DOTS, DOTS + MOST * MOST
"""Where the places of the samples are as long as no sums are; all rows."""

ZERO, ONE, NEXT = np.uint64(0), np.uint64(1), np.uint64(BLOCK)


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
    numbers = [*extents, input.shape[1], samples, rank, mode, padding_mode, align_corners, TAPS[mode]]
    return np.array(numbers), -(-samples // BLOCK)


@njit(forceinline=True)
def _row(axis, k):
    """Return where in a table the row of a tap along an axis begins."""
    return np.uint64((MOST * axis + k) * BLOCK)


@njit
def _scratch(dtype):
    """Return room for the tables of a block: taps along the axes, and weights."""
    return np.empty((EDGES + 1) * BLOCK, np.int32), np.empty(ROWS * BLOCK, dtype)


@njit
def _positions(grid, first, count, axis, numbers, weights):
    """Write the positions of some samples along an axis, in elements, where the table has places."""
    extent, rank, align_corners = numbers[axis], numbers[5], numbers[8] != 0
    source, target = np.uint64(first * rank + axis), np.uint64(AT * BLOCK)
    if rank == 2:
        for i in range(count):
            j = np.uint64(i)
            weights[target + j] = places.position(grid[source + j * np.uint64(2)], extent, align_corners)
    else:
        for i in range(count):
            j = np.uint64(i)
            weights[target + j] = places.position(grid[source + j * np.uint64(3)], extent, align_corners)


@njit
def _axis(axis, count, numbers, taps, weights):
    """Fill in the taps of some samples along an axis, their weights, and how these change with the place."""
    mode, padding_mode = numbers[6], numbers[7]
    if mode == places.CUBIC:
        _cubic_axis(axis, count, numbers, taps, weights)
    elif mode == places.NEAREST:
        _nearest_axis(axis, count, numbers, taps, weights)
    elif padding_mode == places.ZEROS:
        _linear_axis(_bounded, axis, count, numbers, taps, weights)
    elif padding_mode == places.BORDER:
        _linear_axis(_clipped, axis, count, numbers, taps, weights)
    else:
        _linear_axis(places.reflected, axis, count, numbers, taps, weights)


@njit
def _bounded(at, extent, align_corners, otherwise):
    """As `places.reflected`, of a position that stays."""
    return places.bounded(at, extent)


@njit
def _clipped(at, extent, align_corners, otherwise):
    """As `places.reflected`, of a position moved to the edge."""
    return places.clipped(at, extent, otherwise)


@njit
def _nearest_axis(axis, count, numbers, taps, weights):
    """Fill in the one tap of some samples along an axis."""
    extent, padding_mode, align_corners = numbers[axis], numbers[7], numbers[8] != 0
    otherwise, source, target = 0 if numbers[5] == 2 else extent - 1, np.uint64(AT * BLOCK), _row(axis, 0)
    for i in range(count):
        j = np.uint64(i)
        at = places.padded(weights[source + j], extent, padding_mode, align_corners, otherwise)[0]
        taps[target + j] = places.tap(places.nearest_even(at), extent)


@njit
def _linear_axis(pad, axis, count, numbers, taps, weights):
    """Fill in the two taps of some samples along an axis."""
    extent, align_corners, one = numbers[axis], numbers[8] != 0, number(1, weights[0])
    otherwise, plain = 0 if numbers[5] == 2 else extent - 1, numbers[5] == 2 and numbers[7] == places.ZEROS
    step, at_row = places.slope(extent, align_corners, one), np.uint64(AT * BLOCK)
    left, right = _row(axis, 0), _row(axis, 1)
    slope_left, slope_right = _row(axis, SLOPES), _row(axis, SLOPES + 1)
    for i in range(count):
        j = np.uint64(i)
        position = weights[at_row + j]
        at, factor = pad(position, extent, align_corners, otherwise)
        low = places.floor(at)
        undefined = select(plain, position - position, one - one)
        taps[left + j] = places.tap(low, extent)
        taps[right + j] = places.tap(low + one, extent)
        weights[left + j], weights[right + j] = low + one - at + undefined, at - low + undefined
        weights[slope_left + j], weights[slope_right + j] = -factor * step, factor * step


@njit
def _cubic_axis(axis, count, numbers, taps, weights):
    """Fill in the four taps of some samples along an axis."""
    extent, padding_mode, align_corners, one = numbers[axis], numbers[7], numbers[8] != 0, number(1, weights[0])
    step, at_row = places.slope(extent, align_corners, one), np.uint64(AT * BLOCK)
    row, slopes, limit = _row(axis, 0), _row(axis, SLOPES), number(1 << 28, one)
    for i in range(count):
        j = np.uint64(i)
        at = weights[at_row + j]
        undefined = at - at
        at = select(at > -limit, select(at < limit, at, limit), -limit)
        low = places.floor(at)
        t, a = at - low + undefined, number(-0.75, at)
        w, x, y, z = places.cubic_weights(t, a)
        _write_four(weights, row + j, w, x, y, z)
        w, x, y, z = places.cubic_slopes(t, a)
        _write_four(weights, slopes + j, w * step, x * step, y * step, z * step)
        weights[at_row + j] = low
    for k in range(4):
        target, shift = _row(axis, k), number(k - 1, one)
        for i in range(count):
            j = np.uint64(i)
            taps[target + j] = places.cubic_tap(weights[at_row + j] + shift, extent, padding_mode, align_corners)


@njit(forceinline=True)
def _four(table, place):
    """Return what four rows in a row of a table have at a place of the first."""
    return table[place], table[place + NEXT], table[place + NEXT + NEXT], table[place + NEXT + NEXT + NEXT]


@njit(forceinline=True)
def _write_four(table, place, a, b, c, d):
    """Write to a place of a table's row, and to the same of the three rows behind it."""
    table[place], table[place + NEXT] = a, b
    table[place + NEXT + NEXT], table[place + NEXT + NEXT + NEXT] = c, d


@njit
def _block(grid, first, count, numbers, taps, weights):
    """Fill the tables for a block of samples; return how many of them are at the edges."""
    rank, mode = numbers[5], numbers[6]
    for axis in range(rank):
        _positions(grid, first, count, axis, numbers, weights)
        _axis(axis, count, numbers, taps, weights)
    if mode == places.LINEAR:
        for k in range(1 << rank):
            _products(k, count, rank, weights)
    return _starts(count, numbers, taps)


@njit
def _starts(count, numbers, taps):
    """Fill in the first elements of the samples; list those whose taps do not lie side by side, and count them."""
    W, H, apart = np.int32(numbers[0]), np.int32(numbers[1]), np.int32(numbers[9] - 1)
    start, x, y, z, none, zero = np.uint64(START * BLOCK), _row(0, 0), _row(1, 0), _row(2, 0), np.int32(-1), np.int32(0)
    x_last, y_last, z_last = _row(0, numbers[9] - 1), _row(1, numbers[9] - 1), _row(2, numbers[9] - 1)
    missing = np.int32(0)
    for i in range(count):
        j = np.uint64(i)
        left, top = taps[x + j], taps[y + j]
        whole = (left >= zero) & (top >= zero)
        whole = whole & (taps[x_last + j] - left == apart) & (taps[y_last + j] - top == apart)
        element = select(whole, np.int32(top * W + left), none)
        taps[start + j] = element
        missing |= element
    if numbers[5] == 3:
        for i in range(count):
            j = np.uint64(i)
            front, place = taps[z + j], taps[start + j]
            whole = (place >= zero) & (front >= zero) & (taps[z_last + j] - front == apart)
            element = select(whole, np.int32(front * H * W + place), none)
            taps[start + j] = element
            missing |= element
    found = ZERO
    if missing < zero:
        for i in range(count):
            taps[np.uint64(EDGES * BLOCK) + found] = i
            found += np.uint64(taps[start + np.uint64(i)] < zero)
    return np.int64(found)


@njit
def _products(k, count, rank, weights):
    """Fill in the product of the weights of a linear tap: its bits say which it is along the axes."""
    target = np.uint64((PRODUCTS + k) * BLOCK)
    x, y, z = _row(0, k & 1), _row(1, k >> 1 & 1), _row(2, k >> 2)
    if rank == 2:
        for i in range(count):
            j = np.uint64(i)
            weights[target + j] = weights[x + j] * weights[y + j]
    else:
        for i in range(count):
            j = np.uint64(i)
            weights[target + j] = weights[x + j] * weights[y + j] * weights[z + j]


@njit(forceinline=True)
def _times(row, weight):
    a, b, c, d = row
    return a * weight, b * weight, c * weight, d * weight


@njit(forceinline=True)
def _plus(sums, row, weight):
    """Return four sums, each with a weighted element added."""
    a, b, c, d = sums
    e, f, g, h = row
    return a + e * weight, b + f * weight, c + g * weight, d + h * weight


@njit(forceinline=True)
def _elements(x, p):
    """Return four elements in a row."""
    return x[p], x[p + np.uint64(1)], x[p + np.uint64(2)], x[p + np.uint64(3)]


@njit(forceinline=True)
def _square(x, p, W):
    """Return four elements that form a square."""
    below = p + W
    return x[p], x[p + ONE], x[below], x[below + ONE]


@njit(forceinline=True)
def _tap(d, h, w, j, numbers, taps):
    """Return the element of a plane that is a tap of a sample, -1 if there is none."""
    z = np.int64(taps[_row(2, d) + j]) if numbers[5] == 3 else np.int64(0)
    row, column = np.int64(taps[_row(1, h) + j]), np.int64(taps[_row(0, w) + j])
    return select((z | row | column) < 0, np.int64(-1), (z * numbers[1] + row) * numbers[0] + column)


@njit(forceinline=True)
def _value(x, origin, element):
    """Return an element of a plane, or zero if its number is -1."""
    exists = element >= 0
    return select(exists, x[origin + np.uint64(select(exists, element, np.int64(0)))], x.dtype.type(0))


@njit(forceinline=True)
def _weight(d, h, w, j, numbers, weights):
    """Return the weight of a tap of a sample."""
    weight = weights[_row(0, w) + j] * weights[_row(1, h) + j]
    return weight * weights[_row(2, d) + j] if numbers[5] == 3 else weight


def _fill_output(x, grid, numbers, y, begin, end):
    """Fill the blocks `begin` to `end` of samples, counted through all images, in all channels."""
    C, samples, plane = numbers[3], numbers[4], numbers[0] * numbers[1] * numbers[2]
    taps, weights = _scratch(x.dtype)
    blocks = (samples + BLOCK - 1) // BLOCK
    for block in range(begin, end):
        n, first = block // blocks, block % blocks * BLOCK
        count = min(BLOCK, samples - first)
        edges = _block(grid, n * samples + first, count, numbers, taps, weights)
        for c in range(n * C, (n + 1) * C):
            _gather(x, c * plane, count, edges, numbers, taps, weights, y, c * samples + first)


@njit
def _gather(x, base, count, edges, numbers, taps, weights, y, out):
    """Write some samples of a plane that begins at `base`."""
    origin, target, mode = np.uint64(base), np.uint64(out), numbers[6]
    if mode == places.NEAREST:
        _gather_nearest(x, origin, count, taps, y, target)
        return
    if mode == places.CUBIC:
        _gather_cubic(x, origin, count, numbers, taps, weights, y, target)
    else:
        _gather_linear(x, origin, count, numbers, taps, weights, y, target)
    if edges:
        _gather_edges(x, origin, edges, numbers, taps, weights, y, target)


@njit(forceinline=True)
def _gather_nearest(x, origin, count, taps, y, target):
    """Write some samples of a plane, of one element each."""
    start, zero, none = np.uint64(START * BLOCK), x.dtype.type(0), np.int32(0)
    for i in range(count):
        j = np.uint64(i)
        element = taps[start + j]
        value = x[origin + np.uint64(max(element, none))]
        y[target + j] = select(element >= none, value, zero)


@njit(forceinline=True)
def _gather_linear(x, origin, count, numbers, taps, weights, y, target):
    """Write those of some samples of a plane whose taps form a square, or a cube."""
    W, start, row = np.uint64(numbers[0]), np.uint64(START * BLOCK), np.uint64(PRODUCTS * BLOCK)
    for i in range(count):
        j = np.uint64(i)
        element = taps[start + j]
        if element >= np.int32(0):
            (a, b, c, d), (e, f, g, h) = _square(x, origin + np.uint64(element), W), _four(weights, row + j)
            y[target + j] = (a * e + b * f) + (c * g + d * h)
    if numbers[5] == 3:
        behind, row = origin + W * np.uint64(numbers[1]), row + NEXT * np.uint64(4)
        for i in range(count):
            j = np.uint64(i)
            element = taps[start + j]
            if element >= np.int32(0):
                (a, b, c, d), (e, f, g, h) = _square(x, behind + np.uint64(element), W), _four(weights, row + j)
                y[target + j] += (a * e + b * f) + (c * g + d * h)


@njit(forceinline=True)
def _gather_cubic(x, origin, count, numbers, taps, weights, y, target):
    """Write those of some samples of a plane whose taps are four rows of four."""
    W, start = np.uint64(numbers[0]), np.uint64(START * BLOCK)
    for i in range(count):
        j = np.uint64(i)
        element = taps[start + j]
        if element >= np.int32(0):
            p, (e, f, g, h) = origin + np.uint64(element), _four(weights, _row(1, 0) + j)
            sums = _plus(_times(_elements(x, p), e), _elements(x, p + W), f)
            p += W + W
            sums = _plus(_plus(sums, _elements(x, p), g), _elements(x, p + W), h)
            (a, b, c, d), (e, f, g, h) = sums, _four(weights, _row(0, 0) + j)
            y[target + j] = (a * e + b * f) + (c * g + d * h)


@njit
def _gather_edges(x, origin, edges, numbers, taps, weights, y, target):
    """Write the samples of a plane that are at the edges, tap by tap."""
    per_axis, deep = numbers[9], numbers[9] if numbers[5] == 3 else 1
    for i in range(edges):
        j, total = np.uint64(taps[np.uint64(EDGES * BLOCK) + np.uint64(i)]), x.dtype.type(0)
        for d in range(deep):
            for h in range(per_axis):
                for w in range(per_axis):
                    value = _value(x, origin, _tap(d, h, w, j, numbers, taps))
                    total += _weight(d, h, w, j, numbers, weights) * value
        y[target + j] = total


def _sum_planes(grads, grid, numbers, grad_x, begin, end):
    """Fill the planes `begin` to `end` of the input's gradient, counted through all images."""
    C, samples, plane = numbers[3], numbers[4], numbers[0] * numbers[1] * numbers[2]
    taps, weights = _scratch(grads.dtype)
    grad_x[begin * plane : end * plane] = 0
    while begin < end:
        n, stop = begin // C, min(end, (begin // C + 1) * C)
        for first in range(0, samples, BLOCK):
            count = min(BLOCK, samples - first)
            edges = _block(grid, n * samples + first, count, numbers, taps, weights)
            for p in range(begin, stop):
                _scatter(grads, p * samples + first, count, edges, numbers, taps, weights, grad_x, p * plane)
        begin = stop


@njit
def _scatter(grads, source, count, edges, numbers, taps, weights, grad_x, base):
    """Add the gradients of some samples to the elements of a plane."""
    origin, first, mode = np.uint64(base), np.uint64(source), numbers[6]
    if mode == places.NEAREST:
        _scatter_nearest(grads, first, count, taps, grad_x, origin)
        return
    if mode == places.CUBIC:
        _scatter_cubic(grads, first, count, numbers, taps, weights, grad_x, origin)
    else:
        row = np.uint64(PRODUCTS * BLOCK)
        _scatter_linear(grads, first, count, numbers, taps, weights, row, grad_x, origin)
        if numbers[5] == 3:
            behind, row = origin + np.uint64(numbers[0] * numbers[1]), row + NEXT * np.uint64(4)
            _scatter_linear(grads, first, count, numbers, taps, weights, row, grad_x, behind)
    if edges:
        _scatter_edges(grads, first, edges, numbers, taps, weights, grad_x, origin)


@njit(forceinline=True)
def _scatter_nearest(grads, first, count, taps, grad_x, origin):
    """Add the gradients of some samples to one element each."""
    start = np.uint64(START * BLOCK)
    for i in range(count):
        j = np.uint64(i)
        element = taps[start + j]
        if element >= np.int32(0):
            grad_x[origin + np.uint64(element)] += grads[first + j]


@njit(forceinline=True)
def _scatter_linear(grads, first, count, numbers, taps, weights, row, grad_x, origin):
    """Add the gradients of those of some samples whose taps form a square to the elements of one slice."""
    W, start = np.uint64(numbers[0]), np.uint64(START * BLOCK)
    for i in range(count):
        j = np.uint64(i)
        element = taps[start + j]
        if element >= np.int32(0):
            p, grad, (a, b, c, d) = origin + np.uint64(element), grads[first + j], _four(weights, row + j)
            below = p + W
            grad_x[p] += a * grad
            grad_x[p + ONE] += b * grad
            grad_x[below] += c * grad
            grad_x[below + ONE] += d * grad


@njit(forceinline=True)
def _scatter_cubic(grads, first, count, numbers, taps, weights, grad_x, origin):
    """Add the gradients of those of some samples whose taps are four rows of four."""
    W, start = np.uint64(numbers[0]), np.uint64(START * BLOCK)
    for i in range(count):
        j = np.uint64(i)
        element = taps[start + j]
        if element >= np.int32(0):
            across = _times(_four(weights, _row(0, 0) + j), grads[first + j])
            p, (e, f, g, h) = origin + np.uint64(element), _four(weights, _row(1, 0) + j)
            _add_row(grad_x, p, across, e)
            _add_row(grad_x, p + W, across, f)
            p += W + W
            _add_row(grad_x, p, across, g)
            _add_row(grad_x, p + W, across, h)


@njit(forceinline=True)
def _add_row(target, p, row, weight):
    """Add four weighted numbers to four elements in a row."""
    a, b, c, d = _plus(_elements(target, p), row, weight)
    target[p], target[p + np.uint64(1)], target[p + np.uint64(2)], target[p + np.uint64(3)] = a, b, c, d


@njit
def _scatter_edges(grads, first, edges, numbers, taps, weights, grad_x, origin):
    """Add the gradients of the samples that are at the edges, tap by tap."""
    per_axis, deep = numbers[9], numbers[9] if numbers[5] == 3 else 1
    for i in range(edges):
        j = np.uint64(taps[np.uint64(EDGES * BLOCK) + np.uint64(i)])
        grad = grads[first + j]
        for d in range(deep):
            for h in range(per_axis):
                for w in range(per_axis):
                    element = _tap(d, h, w, j, numbers, taps)
                    if element >= 0:
                        grad_x[origin + np.uint64(element)] += _weight(d, h, w, j, numbers, weights) * grad


def _fill_grad_grid(grads, x, grid, numbers, grad_grid, begin, end):
    """Fill the gradients of the blocks `begin` to `end` of samples: channels are summed for each tap first."""
    C, samples, plane, rank = numbers[3], numbers[4], numbers[0] * numbers[1] * numbers[2], numbers[5]
    taps, weights = _scratch(x.dtype)
    blocks = (samples + BLOCK - 1) // BLOCK
    for block in range(begin, end):
        n, first = block // blocks, block % blocks * BLOCK
        count = min(BLOCK, samples - first)
        edges = _block(grid, n * samples + first, count, numbers, taps, weights)
        weights[DOTS * BLOCK :] = 0
        for c in range(n * C, (n + 1) * C):
            _add_dots(grads, c * samples + first, x, c * plane, count, edges, numbers, taps, weights)
        _combine_slopes(weights, numbers, count, (n * samples + first) * rank, grad_grid)


@njit
def _add_dots(grads, source, x, base, count, edges, numbers, taps, weights):
    """Add for every tap of some samples the products of gradients and elements of a plane."""
    W, start, row = np.uint64(numbers[0]), np.uint64(START * BLOCK), np.uint64(DOTS * BLOCK)
    origin, first = np.uint64(base), np.uint64(source)
    if numbers[6] == places.CUBIC:
        for i in range(count):
            j = np.uint64(i)
            element = taps[start + j]
            if element >= np.int32(0):
                p, grad, target = origin + np.uint64(element), grads[first + j], row + j
                for _ in range(4):
                    a, b, c, d = _plus(_four(weights, target), _elements(x, p), grad)
                    _write_four(weights, target, a, b, c, d)
                    p += W
                    target += NEXT * np.uint64(4)
    else:
        _linear_dots(grads, first, x, origin, count, W, taps, row, weights)
        if numbers[5] == 3:
            behind = origin + W * np.uint64(numbers[1])
            _linear_dots(grads, first, x, behind, count, W, taps, row + NEXT * np.uint64(4), weights)
    if edges:
        _dots_of_edges(grads, first, x, origin, edges, numbers, taps, weights)


@njit(forceinline=True)
def _linear_dots(grads, first, x, origin, count, W, taps, row, weights):
    """Add the products for those of some samples whose taps form a square."""
    start = np.uint64(START * BLOCK)
    for i in range(count):
        j = np.uint64(i)
        element = taps[start + j]
        if element >= np.int32(0):
            square = _square(x, origin + np.uint64(element), W)
            a, b, c, d = _plus(_four(weights, row + j), square, grads[first + j])
            _write_four(weights, row + j, a, b, c, d)


@njit
def _dots_of_edges(grads, first, x, origin, edges, numbers, taps, weights):
    """Add the products for the samples at the edges, tap by tap."""
    per_axis, deep = numbers[9], numbers[9] if numbers[5] == 3 else 1
    for i in range(edges):
        j = np.uint64(taps[np.uint64(EDGES * BLOCK) + np.uint64(i)])
        grad, target = grads[first + j], np.uint64(DOTS * BLOCK) + j
        for d in range(deep):
            for h in range(per_axis):
                for w in range(per_axis):
                    weights[target] += grad * _value(x, origin, _tap(d, h, w, j, numbers, taps))
                    target += NEXT


@njit
def _combine_slopes(weights, numbers, count, start, grad_grid):
    """Write for some samples the sums over the taps of a dot product times the change of the tap's weight."""
    rank, per_axis = numbers[5], numbers[9]
    deep = per_axis if rank == 3 else 1
    for i in range(count):
        j, zero = np.uint64(i), weights.dtype.type(0)
        k, x_total, y_total, z_total = np.uint64(DOTS * BLOCK) + j, zero, zero, zero
        for d in range(deep):
            x_slice, y_slice, z_slice = zero, zero, zero
            for h in range(per_axis):
                value, slope = zero, zero
                for w in range(per_axis):
                    value += weights[_row(0, w) + j] * weights[k]
                    slope += weights[_row(0, SLOPES + w) + j] * weights[k]
                    k += NEXT
                x_slice += weights[_row(1, h) + j] * slope
                y_slice += weights[_row(1, SLOPES + h) + j] * value
                z_slice += weights[_row(1, h) + j] * value
            if rank == 3:
                x_slice *= weights[_row(2, d) + j]
                y_slice *= weights[_row(2, d) + j]
                z_total += weights[_row(2, SLOPES + d) + j] * z_slice
            x_total += x_slice
            y_total += y_slice
        place = np.uint64(start + i * rank)
        grad_grid[place], grad_grid[place + ONE] = x_total, y_total
        if rank == 3:
            grad_grid[place + ONE + ONE] = z_total


_forward = RangeKernel(_fill_output, PARALLEL_WORK)
_grad_input = RangeKernel(_sum_planes, PARALLEL_WORK)
_grad_grid = RangeKernel(_fill_grad_grid, PARALLEL_WORK)
