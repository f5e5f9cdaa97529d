"""Max pooling on the CPU, forward and backward, for any rank and dtype.

All arrays are C-contiguous. `input` is (N, C, D, H, W) and `output`, `indices` are (N, C, oD, oH, oW); a problem of
fewer dimensions has unit extents in front. An entry of `indices` is the flat position d·H·W + h·W + w of the window's
maximum. As in PyTorch ties go to the first element, of NaN the last one wins, and padding never does. A window that
meets no element at all (a dilated one at the border can) gives -inf (an integer: the lowest value) and the index -1.
"""

import math

import numpy as np
from nbtorch.kernels import scalar
from nbtorch.kernels.cpu.rows import blocks, choose, copy_row, following, locate, planes
from nbtorch.kernels.jit import njit
from numba import prange

Triple = tuple[int, int, int]

PLANE_LIMIT = 1 << 31
"""Positions in a plane are kept in 32 bits while a row is pooled: twice as many fit into a vector."""

CHUNK = 1024
"""Columns that are pooled at a time, so that what is read and written once for each tap stays in the first cache."""

LANES = 32
"""A number of windows that fills the vectors of a loop, however often the compiler unrolls it; divides CHUNK.

A loop along a row that knows no more of its length has no vectors for so few windows.
"""

FEW_COLUMNS = 4
"""In a shorter row, windows one by one are quicker than a loop along the row for every tap."""

BLOCK = 1 << 14
"""Elements of the input's gradient that are filled at a time, so that they are still in a cache when added to."""


def max_pool_forward(
    input: np.ndarray,
    kernel_size: Triple,
    stride: Triple,
    padding: Triple,
    dilation: Triple,
    output: np.ndarray,
    indices: np.ndarray,
) -> None:
    """Write the maximum of every window of `input` to `output` and its position to `indices` (int64).

    Where nobody wants positions, `indices` is (0, 0, 0, 0, 0).
    """
    if output.size == 0:
        return
    if math.prod(input.shape[2:]) > PLANE_LIMIT:
        raise OverflowError(f"max_pool: a plane must have at most 2**31 elements, got extents {input.shape[2:]}")
    rows = math.prod(output.shape[:4])
    lowest = input.dtype.type(-np.inf if input.dtype.kind == "f" else np.iinfo(input.dtype).min)
    window = (*kernel_size, *stride, *padding, *dilation)
    count = blocks(rows, output.size * math.prod(kernel_size))
    arrays = planes(output), planes(indices)
    if count:
        _forward_parallel(planes(input), window, lowest, count, *arrays)
    else:
        _forward_rows(planes(input), window, lowest, 0, rows, *arrays)


def max_pool_backward(
    grad_output: np.ndarray,
    indices: np.ndarray,
    kernel_size: Triple,
    stride: Triple,
    padding: Triple,
    dilation: Triple,
    grad_input: np.ndarray,
) -> None:
    """Write to `grad_input` (N, C, D, H, W) the sum of `grad_output` over the windows whose maximum an element is.

    The sum runs in the order of the windows, whatever the number of threads.
    """
    if grad_input.size == 0:
        return
    arrays, grad_planes = (planes(grad_output), planes(indices)), planes(grad_input)
    window = (*kernel_size, *stride, *padding, *dilation)
    count, rows = grad_planes.shape[0], grad_planes.shape[1] * grad_planes.shape[2]
    parts = min(rows, -(-rows * grad_planes.shape[3] // BLOCK))
    threads = blocks(count * parts, grad_output.size + grad_input.size)
    if threads:
        _backward_parallel(*arrays, window, threads, parts, grad_planes)
    else:
        _backward_blocks(*arrays, window, 0, count * parts, parts, grad_planes)


@njit(parallel=True)
def _forward_parallel(x, window, lowest, count, maxima, positions):
    rows = maxima.shape[0] * maxima.shape[1] * maxima.shape[2]
    for block in prange(count):
        _forward_rows(x, window, lowest, rows * block // count, rows * (block + 1) // count, maxima, positions)


@njit
def _forward_rows(x, window, lowest, begin, end, maxima, positions):
    """Pool the output rows `begin` to `end`, counted through all planes.

    From here on arrays are flat and rows are offsets in them: making a view of every row takes longer than short rows.
    """
    kW, sW, pW, dW = window[2], window[5], window[8], window[11]
    extents = x.shape[1:]
    W = extents[2]
    _, oD, oH, oW = maxima.shape
    left = min(oW, scalar.ceil_div(pW, sW))
    right = max(left, min(oW, (W + pW - (kW - 1) * dW - 1) // sW + 1))
    few = LANES // 2 < right - left <= LANES
    indexed = positions.size > 0
    indices = positions.reshape(positions.size) if indexed else np.empty(oW, np.int64)
    elements, out = x.reshape(x.size), maxima.reshape(maxima.size)
    best, numbers = np.empty((2, CHUNK), x.dtype), np.empty((2, CHUNK), np.int32)
    position = locate(begin, oD, oH)
    for row in range(begin, end):
        plane = position[0] * extents[0] * extents[1] * W
        starts, taps = _rows_of_window(position, window, extents)
        arrays, places = (elements, out, indices), (plane, row * oW, row * oW if indexed else 0)
        middle = left, right
        if right - left < FEW_COLUMNS:
            middle = 0, 0
        elif few or not _pool_inside(arrays, places, starts, taps, extents, window, left, right):
            for first in range(left, right, CHUNK):
                last = min(right, first + CHUNK)
                _pool_chunk(arrays, places, starts, taps, extents, window, lowest, first, last, best, numbers)
        if middle != (0, oW):
            _pool_columns(arrays, places, starts, taps, extents, window, lowest, middle, oW)
        position = following(position, oD, oH)


@njit
def _rows_of_window(position, window, extents):
    """Return where (d, h) the windows of an output row begin, and the ranges of their taps inside the input there."""
    kD, kH, _, sD, sH, _, pD, pH, _, dD, dH, _ = window
    d, h = position[1] * sD - pD, position[2] * sH - pH
    d_taps = scalar.first_tap(d, dD), scalar.end_tap(d, extents[0], kD, dD)
    return (d, h), (*d_taps, scalar.first_tap(h, dH), scalar.end_tap(h, extents[1], kH, dH))


@njit
def _pool_columns(arrays, places, starts, taps, extents, window, lowest, middle, width):
    """Pool the columns of an output row but for the `middle` ones, window by window."""
    kW, sW, pW, dD, dH, dW = window[2], window[5], window[8], window[9], window[10], window[11]
    elements, out, indices = arrays
    plane, out_row, index_row = places
    first_d, end_d, first_h, end_h = taps
    _, H, W = extents
    begin, end = middle
    for column in range(width - (end - begin)):
        out_w = column if column < begin else column + end - begin
        w_start = out_w * sW - pW
        first, last = scalar.first_tap(w_start, dW), scalar.end_tap(w_start, W, kW, dW)
        best, best_index = lowest, -1
        for tap_d in range(first_d, end_d):
            for tap_h in range(first_h, end_h):
                index = ((starts[0] + tap_d * dD) * H + starts[1] + tap_h * dH) * W + w_start + first * dW
                for _ in range(first, last):
                    value = elements[plane + index]
                    if best_index < 0 or scalar.wins(value, best):
                        best, best_index = value, index
                    index += dW
        out[out_row + out_w], indices[index_row + out_w] = best, best_index


@njit
def _pool_inside(arrays, places, starts, taps, extents, window, begin, end):
    """Pool the columns `begin` to `end` of an output row, whose windows all lie inside; say whether that was done.

    The common windows have calls of their own: with constants the compiler unrolls the taps and works on several
    windows at once.
    """
    kD, kH, kW, _, _, sW, _, _, pW, dD, dH, dW = window
    _, H, W = extents
    if kD * dD * dH * dW != 1 or taps[2] != 0 or taps[3] != kH:
        return False
    local = (starts[0] * H + starts[1]) * W + begin * sW - pW
    place = places[0] + local, local, places[1] + begin, places[2] + begin, end - begin
    if kH == 2 and kW == 2 and sW == 2:
        _pool_windows(arrays, place, 2, 2, 2, W)
    elif kH == 3 and kW == 3 and sW == 2:
        _pool_windows(arrays, place, 3, 3, 2, W)
    elif kH == 3 and kW == 3 and sW == 1:
        _pool_windows(arrays, place, 3, 3, 1, W)
    elif kH == 3 and kW == 3 and sW == 3:
        _pool_windows(arrays, place, 3, 3, 3, W)
    elif kH == 1 and kW == 2 and sW == 2:
        _pool_windows(arrays, place, 1, 2, 2, W)
    else:
        return False
    return True


@njit(forceinline=True)
def _pool_windows(arrays, place, kH, kW, stride, pitch):
    """Pool windows; `place` = (where the first begins among all elements, in its plane, in both outputs, their number).

    Indices are unsigned, because signed ones would be tested for their sign and the loop not be vectorised; positions
    relative to the window have 32 bits, so that as many fit into a vector as there are values.
    """
    elements, out, indices = arrays
    start, step, local = np.uint64(place[0]), np.uint64(stride), place[1]
    out_start, index_start = np.uint64(place[2]), np.uint64(place[3])
    for window in range(place[4]):
        first = start + np.uint64(window) * step
        best, best_offset = elements[first], np.int32(0)
        for tap_h in range(kH):
            for tap_w in range(kW):
                offset = tap_h * pitch + tap_w
                value = elements[first + np.uint64(offset)]
                wins = scalar.wins(value, best)
                best_offset, best = choose(wins, np.int32(offset), best_offset), choose(wins, value, best)
        out[out_start + np.uint64(window)] = best
        indices[index_start + np.uint64(window)] = np.int64(best_offset) + (local + window * stride)


@njit
def _pool_chunk(arrays, places, starts, ranges, extents, window, lowest, first, last, best, numbers):
    """Pool the columns `first` to `last` of an output row, whose windows lie inside the input's width, tap by tap.

    The best elements so far go to and fro between the two rows of `best`: if a loop wrote where it reads, the compiler
    would store one by one what changes. `numbers` keeps their flat positions less where the window begins in its row.
    Loops run on past the last column to a multiple of LANES, on whatever follows in memory, where the input goes on:
    the windows that vectors of several leave over would take longer than all others.
    """
    kW, sW, pW, dD, dH, dW = window[2], window[5], window[8], window[9], window[10], window[11]
    elements, out, indices = arrays
    plane, out_row, index_row = places
    first_d, end_d, first_h, end_h = ranges
    _, H, W = extents
    count, start = last - first, first * sW - pW
    out_here, indices_here = out[out_row + first : out_row + last], indices[index_row + first : index_row + last]
    if first_d >= end_d or first_h >= end_h:
        out_here[:], indices_here[:] = lowest, -1
        return
    size = scalar.ceil_div(count, LANES) * LANES
    reach = ((starts[0] + (end_d - 1) * dD) * H + starts[1] + (end_h - 1) * dH) * W + (kW - 1) * dW + 1
    if plane + reach + start + (size - 1) * sW > elements.size:
        size = count
    values, offsets = (best[0, :size], best[1, :size]), (numbers[0, :size], numbers[1, :size])
    new = -1
    for tap_d in range(first_d, end_d):
        for tap_h in range(first_h, end_h):
            number = ((starts[0] + tap_d * dD) * H + starts[1] + tap_h * dH) * W
            tap = 0
            while tap < kW:
                here, tap_number, taps = plane + number + start + tap * dW, np.int32(number + tap * dW), 1
                if new < 0:
                    _begin(elements, here, sW, values[0])
                    offsets[0][:] = tap_number
                else:
                    if dW == 1 and sW <= 2 and tap + 3 <= kW:
                        taps = 3
                    if new == 0:
                        _take((elements, values[0], offsets[0], values[1], offsets[1]), here, sW, taps, tap_number)
                    else:
                        _take((elements, values[1], offsets[1], values[0], offsets[0]), here, sW, taps, tap_number)
                new, tap = 1 if new == 0 else 0, tap + taps
    copy_row(values[new][:count], out_here)
    chosen = offsets[new]
    for i in range(count):
        indices_here[i] = np.int64(chosen[i]) + (start + i * sW)


@njit
def _begin(elements, start, stride, best):
    """Let the first element of each window be the best so far."""
    place, step = np.uint64(start), np.uint64(stride)
    for i in range(best.size):
        best[i] = elements[place + step * np.uint64(i)]


@njit
def _take(arrays, start, stride, taps, number):
    """Let one tap, or three neighbouring ones, of each window take the place of the best so far where they win."""
    if stride == 1 and taps == 3:
        _take_grid(arrays, start, 1, 3, number)
    elif stride == 1:
        _take_grid(arrays, start, 1, 1, number)
    elif stride == 2 and taps == 3:
        _take_grid(arrays, start, 2, 3, number)
    elif stride == 2:
        _take_grid(arrays, start, 2, 1, number)
    elif stride == 3:
        _take_grid(arrays, start, 3, 1, number)
    else:
        _take_grid(arrays, start, stride, 1, number)


@njit(forceinline=True)
def _take_grid(arrays, start, stride, taps, number):
    elements, old, old_numbers, new, new_numbers = arrays
    place, step = np.uint64(start), np.uint64(stride)
    for i in range(new.size):
        first, best, best_number = place + np.uint64(i) * step, old[i], old_numbers[i]
        for tap in range(taps):
            value = elements[first + np.uint64(tap)]
            wins = scalar.wins(value, best)
            best_number = choose(wins, np.int32(number + np.int32(tap)), best_number)
            best = choose(wins, value, best)
        new[i], new_numbers[i] = best, best_number


@njit(parallel=True)
def _backward_parallel(grads, positions, window, count, parts, grad_x):
    total = grad_x.shape[0] * parts
    for block in prange(count):
        _backward_blocks(grads, positions, window, total * block // count, total * (block + 1) // count, parts, grad_x)


@njit
def _backward_blocks(grads, positions, window, begin, end, parts, grad_x):
    """Fill the blocks `begin` to `end` of the input's gradient; a block is a run of rows (d, h) of one plane.

    A block looks at all windows that may reach its rows and takes what falls into it: blocks never write to each other.
    """
    kD, kH, kW, sD, sH, sW, pD, pH, _, dD, dH, dW = window
    _, oD, oH, _ = grads.shape
    _, D, H, W = grad_x.shape
    reach_d, reach_h, reach_w = (kD - 1) * dD + 1, (kH - 1) * dH + 1, (kW - 1) * dW + 1
    apart = (reach_d <= sD or oD == 1) and (reach_h <= sH or oH == 1) and reach_w <= sW
    flat = grad_x.reshape(grad_x.shape[0], D * H * W)
    for block in range(begin, end):
        plane, part = block // parts, block % parts
        first_row, end_row = D * H * part // parts, D * H * (part + 1) // parts
        first_d, last_d = first_row // H, (end_row - 1) // H
        first_h, last_h = (first_row % H, (end_row - 1) % H) if first_d == last_d else (0, H - 1)
        grad = flat[plane, first_row * W : end_row * W]
        grad[:] = 0
        for out_d in range(scalar.first_window(first_d + pD, reach_d, sD), scalar.end_window(last_d + pD, sD, oD)):
            for out_h in range(scalar.first_window(first_h + pH, reach_h, sH), scalar.end_window(last_h + pH, sH, oH)):
                row, places = grads[plane, out_d, out_h], positions[plane, out_d, out_h]
                if apart:
                    _store_row(row, places, first_row * W, grad)
                else:
                    _add_row(row, places, first_row * W, grad)


@njit
def _store_row(row, places, first, grad):
    """Write the gradients of windows that share no element to their places, less those outside of a block."""
    size = np.uint64(grad.size)
    for i in range(row.size):
        place = np.uint64(places[i] - first)
        if place < size:
            grad[place] = row[i]


@njit
def _add_row(row, places, first, grad):
    """Like `_store_row`, for windows that may share elements."""
    size = np.uint64(grad.size)
    for i in range(row.size):
        place = np.uint64(places[i] - first)
        if place < size:
            grad[place] += row[i]
