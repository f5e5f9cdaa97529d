"""Max pooling on the CPU, forward and backward, for any rank and dtype.

All arrays are C-contiguous. `input` is (N, C, D, H, W) and `output`, `choices` are (N, C, oD, oH, oW), where those of
a problem of fewer dimensions may lack D, or D and H. `choices` tells which element of each window was the largest. As
int64 it is PyTorch's index, the flat position d·H·W + h·W + w. As uint8, which is an eighth of the memory to move, it
is the tap, the element's number (tap_d·kH + tap_h)·kW + tap_w in the window, for windows of at most `MOST_TAPS`.

As in PyTorch ties go to the first element, of NaN the last one wins, and padding never does. A window that meets no
element at all (a dilated one at the border can) gives -inf (an integer: the lowest value) and the choice -1 or 255.
"""

import functools
import math

import numpy as np
from nbtorch.kernels import scalar
from nbtorch.kernels.cpu.pool_simd import LANES, best_taps, lowest
from nbtorch.kernels.cpu.ranges import RangeKernel
from nbtorch.kernels.cpu.rows import PARALLEL_WORK, as_tuple, borrowed, choose, fill, following, keep, locate
from nbtorch.kernels.cpu.streaming import LARGE, finish, prefetch, stream
from nbtorch.kernels.geometry import volume
from nbtorch.kernels.jit import njit

Triple = tuple[int, int, int]

MOST_TAPS = 255
"""Elements of a window whose taps fit into uint8, together with the number that stands for none."""

PLANE_LIMIT = 1 << 31
"""Positions in a plane are kept in 32 bits while a row is pooled: as many fit into a vector as there are values."""

CHUNK = 1024
"""Columns that are pooled at a time."""

FEW_TAPS = 9
"""Elements of a window for which it does not pay to pool along the rows first, and then across them."""

NO_ELEMENT = -(1 << 30)
"""The label of a window of a row that meets no element; whatever is added to it, it stays negative."""

SCATTER_BLOCK = 1 << 12
"""Elements of the input's gradient that are filled at a time, so that they are still in a cache when added to."""


def max_pool_forward(
    input: np.ndarray,
    kernel_size: Triple,
    stride: Triple,
    padding: Triple,
    dilation: Triple,
    output: np.ndarray,
    choices: np.ndarray,
) -> None:
    """Write the maximum of every window of `input` to `output`, and which element it is to `choices`.

    Where nobody wants to know, `choices` is of extents 0.
    """
    size = output.size
    if size == 0:
        return
    shapes = input.shape, output.shape
    geometry, rows, taps = _geometry(*shapes, kernel_size, stride, padding, dilation, input.itemsize, False)
    _forward(rows, size * taps, input.reshape(-1), output.reshape(-1), choices.reshape(-1), geometry)


def max_pool_backward(
    grad_output: np.ndarray,
    choices: np.ndarray,
    kernel_size: Triple,
    stride: Triple,
    padding: Triple,
    dilation: Triple,
    grad_input: np.ndarray,
) -> None:
    """Write to `grad_input` the sum of `grad_output` over the windows whose maximum an element is.

    The sum runs in the order of the windows, whatever the number of threads.
    """
    if grad_input.size == 0:
        return
    shapes = grad_input.shape, grad_output.shape
    geometry, blocks, _ = _geometry(*shapes, kernel_size, stride, padding, dilation, grad_input.itemsize, True)
    arrays = grad_output.reshape(-1), grad_input.reshape(-1), choices.reshape(-1), geometry
    _backward(blocks, grad_output.size + grad_input.size, *arrays)


@functools.lru_cache(maxsize=1024)
def _geometry(
    shape: tuple[int, ...],
    out_shape: tuple[int, ...],
    kernel_size: Triple,
    stride: Triple,
    padding: Triple,
    dilation: Triple,
    itemsize: int,
    backward: bool,
) -> tuple[np.ndarray, int, int]:
    """Return what the kernels need to know of a pooling as one array, how many rows of the output there are, or in a
    backward pass blocks of the input's gradient, and the number of a window's elements."""
    extents, out_extents = volume(shape[2:]), volume(out_shape[2:])
    if math.prod(extents) > PLANE_LIMIT:
        raise OverflowError(f"max_pool: a plane must have at most 2**31 elements, got extents {extents}")
    rows = extents[0] * extents[1]
    parts = min(rows, -(-rows * extents[2] // SCATTER_BLOCK))
    streamed = (math.prod(shape) + math.prod(out_shape)) * itemsize >= LARGE
    numbers = (*extents, *out_extents, *kernel_size, *stride, *padding, *dilation, parts, int(streamed))
    count = parts if backward else out_extents[0] * out_extents[1]
    return np.array(numbers), shape[0] * shape[1] * count, math.prod(kernel_size)


def _forward_rows(elements, out, choices, geometry, begin, end):
    """Pool the output rows `begin` to `end`, counted through all planes; rows are offsets in flat arrays.

    `geometry` holds the extents of input, output and kernel, stride, padding and dilation.
    """
    elements, out, choices, geometry = borrowed(elements), borrowed(out), borrowed(choices), borrowed(geometry)
    _, _, W, _, _, oW, kD, kH, kW, _, _, sW, _, _, pW, _, _, dW, _, _ = as_tuple(geometry, 20)
    left = min(oW, scalar.ceil_div(pW, sW))
    right = max(left, min(oW, (W + pW - (kW - 1) * dW - 1) // sW + 1))
    if right - left >= LANES // 2 and (kD * kH == 1 or kD * kH * kW <= FEW_TAPS):
        _pool_directly(elements, out, choices, geometry, left, right, begin, end)
    else:
        _pool_separably(elements, out, choices, geometry, left, right, begin, end)


@njit
def _pool_directly(elements, out, choices, geometry, left, right, begin, end):
    """Pool rows of windows; those before `left` and from `right` on hang over the sides of the input's rows."""
    D, H, W, oD, oH, oW, kD, kH, kW, sD, sH, sW, pD, pH, pW, _, _, dW, _, _ = as_tuple(geometry, 20)
    tables = np.empty(kD * kH * kW, np.int64), np.empty(kD * kH * kW, np.int32)
    offsets, labels, flat = borrowed(tables[0]), borrowed(tables[1]), choices.itemsize == 8
    position, taps, known = locate(begin, oD, oH), 0, (-1, -1, -1, -1)
    for row in range(begin, end):
        d, h = position[1] * sD - pD, position[2] * sH - pH
        ranges = _tap_ranges(d, h, geometry)
        if ranges != known:
            taps, known = _list_taps(geometry, ranges, flat, kW, offsets, labels), ranges
        local, place = (d * H + h) * W - pW, row * oW
        start = position[0] * D * H * W + local
        position = following(position, oD, oH)
        if taps == 0:
            _fill_row(elements, out, choices, place, oW)
            continue
        # Vectors may run on past the row: in the input into whatever lies there, but not past the ends of the array,
        # and in the output into what this thread fills next.
        count, at, first = right - left, place + left, start + left * sW
        prefetch(elements, first + 4 * sH * W, sH * W)
        vectors = scalar.ceil_div(count, LANES) * LANES
        if at + vectors > end * oW or first + (vectors - 1) * sW + offsets[taps - 1] >= elements.size:
            vectors = count
        if choices.size > 0:
            here = local + left * sW
            # fmt: off
            best_taps(
                elements, first, sW, offsets, labels, taps, None, out, at, choices, at, here, sW, count, vectors
            )
            # fmt: on
        else:
            best_taps(elements, first, sW, offsets, labels, taps, None, out, at, None, 0, 0, 0, count, vectors)
        window = 0 if left > 0 else right
        while window < oW:
            column = window * sW - pW
            value, label = _pool_hanging(elements, start + window * sW, column, W, kW, dW, offsets, labels, taps)
            out[place + window] = value
            if choices.size > 0:
                choices[place + window] = label + local + window * sW if flat and label >= 0 else label
            window += 1
            if window == left:
                window = right
    keep(tables)


@njit(forceinline=True)
def _pool_hanging(elements, start, column, W, kW, dW, offsets, labels, taps):
    """Return the largest element of a window that hangs over a side of the row, and its label."""
    begin, end = scalar.first_tap(column, dW), scalar.end_tap(column, W, kW, dW)
    if begin >= end:
        return lowest(elements), np.int64(-1)
    value, label = elements[start + offsets[begin]], np.int64(labels[begin])
    for row in range(0, taps, kW):
        for tap in range(row + begin, row + end):
            new = elements[start + offsets[tap]]
            wins = (tap > begin) & ((new > value) | (new != new))
            value, label = choose(wins, new, value), choose(wins, np.int64(labels[tap]), label)
    return value, label


@njit
def _pool_separably(elements, out, choices, geometry, left, right, begin, end):
    """Pool rows of windows along the input's rows first, each once, and then across those.

    Windows before `left` and from `right` on hang over the sides of the rows. Pooled rows are kept, with the tap or the
    column that each maximum has in its window, while windows need them.
    """
    D, H, W, oD, oH, oW, kD, kH, kW, sD, sH, sW, pD, pH, pW, dD, dH, dW, _, _ = as_tuple(geometry, 20)
    wanted, flat, reach = choices.size > 0, choices.itemsize == 8, (kH - 1) * dH + 1
    width = min(oW, CHUNK) + LANES
    scratch = np.empty(kD * reach * width, elements.dtype), np.empty(kD * reach * width, np.int32)
    tables = np.empty((2, kD * kH + kW), np.int64), np.empty((2, kD * kH + kW), np.int32)
    best, names, kept = borrowed(scratch[0]), borrowed(scratch[1]), np.full(kD * reach, -1)
    offsets, labels = borrowed(tables[0][0]), borrowed(tables[1][0])
    columns, numbers = borrowed(tables[0][1]), borrowed(tables[1][1])
    for tap in range(kW):
        columns[tap], numbers[tap] = tap * dW, tap * dW if flat else tap
    for first in range(0, oW, CHUNK):
        count, position = min(CHUNK, oW - first), locate(begin, oD, oH)
        kept[:] = -1
        for row in range(begin, end):
            plane, d, h = position[0], position[1] * sD - pD, position[2] * sH - pH
            position = following(position, oD, oH)
            d_begin, d_end, h_begin, h_end = _tap_ranges(d, h, geometry)
            taps = 0
            for tap_d in range(d_begin, d_end):
                for tap_h in range(h_begin, h_end):
                    in_h = h + tap_h * dH
                    slot, source = tap_d * reach + in_h % reach, (plane * D + d + tap_d * dD) * H + in_h
                    if kept[slot] != source:
                        kept[slot], part = source, (first, count, slot * width, left, right)
                        _pool_row(elements, source * W, geometry, columns, numbers, part, best, names, wanted)
                    offsets[taps] = slot * width
                    labels[taps] = (tap_d * dD * H + tap_h * dH) * W if flat else (tap_d * kH + tap_h) * kW
                    taps += 1
            place = row * oW + first
            if taps == 0:
                _fill_row(elements, out, choices, place, count)
                continue
            vectors = scalar.ceil_div(count, LANES) * LANES
            if place + vectors > end * oW or first + count < oW:
                vectors = count
            if wanted:
                local = (d * H + h) * W - pW + first * sW
                # fmt: off
                best_taps(
                    best, 0, None, offsets, labels, taps, names, out, place, choices, place, local, sW, count,
                    vectors,
                )
                # fmt: on
            else:
                best_taps(best, 0, None, offsets, labels, taps, None, out, place, None, 0, 0, 0, count, vectors)


@njit(forceinline=True)
def _pool_row(elements, row, geometry, columns, numbers, part, best, names, wanted):
    """Pool a part of a row that begins at `row`: (first window, how many, where to write them, `left`, `right`)."""
    W, kW, sW, pW, dW = geometry[2], geometry[8], geometry[11], geometry[14], geometry[17]
    first, count, place, left, right = part
    inner, outer = min(max(left, first), first + count), min(max(right, first), first + count)
    if inner < outer:
        # Vectors begin with the windows at the edge, if that stays in the memory, so as to lie where they are read.
        vector = first if row + first * sW >= pW else inner
        start, at, inside = row + vector * sW - pW, place + vector - first, outer - vector
        vectors = scalar.ceil_div(inside, LANES) * LANES
        if start + (vectors - 1) * sW + columns[kW - 1] >= elements.size:
            vectors = inside
        if wanted:
            best_taps(elements, start, sW, columns, numbers, kW, None, best, at, names, at, 0, 0, inside, vectors)
        else:
            best_taps(elements, start, sW, columns, numbers, kW, None, best, at, None, 0, 0, 0, inside, vectors)
    for i in range(first, inner):
        best[place + i - first], names[place + i - first] = _pool_edge(elements, row, i * sW - pW, W, kW, dW, numbers)
    for i in range(outer, first + count):
        best[place + i - first], names[place + i - first] = _pool_edge(elements, row, i * sW - pW, W, kW, dW, numbers)


@njit(forceinline=True)
def _pool_edge(elements, row, position, W, kW, dW, numbers):
    """Return the largest element, and its label, of a row's window that begins at `position` and may hang over it."""
    begin, end = scalar.first_tap(position, dW), scalar.end_tap(position, W, kW, dW)
    if begin >= end:
        return lowest(elements), np.int32(NO_ELEMENT)
    value, label = elements[row + position + begin * dW], numbers[begin]
    for tap in range(begin + 1, end):
        new = elements[row + position + tap * dW]
        if scalar.wins(new, value):
            value, label = new, numbers[tap]
    return value, label


@njit(forceinline=True)
def _tap_ranges(d, h, geometry):
    """Return (begin, end, begin, end) of the taps in depth and height of windows at (d, h) that lie in the input."""
    D, H, kD, kH, dD, dH = geometry[0], geometry[1], geometry[6], geometry[7], geometry[15], geometry[16]
    depth = scalar.first_tap(d, dD), scalar.end_tap(d, D, kD, dD)
    return (*depth, scalar.first_tap(h, dH), scalar.end_tap(h, H, kH, dH))


@njit
def _fill_row(elements, out, choices, place, count):
    """Fill in windows that meet no element."""
    fill(lowest(elements), out, place, count)
    if choices.size > 0:
        fill(choices.dtype.type(~choices.dtype.type(0)), choices, place, count)  # -1, or the largest without signs


@njit
def _list_taps(geometry, ranges, flat, kW, offsets, labels):
    """List where taps are relative to the first one, and their labels; return how many."""
    H, W, kH = geometry[1], geometry[2], geometry[7]
    dD, dH, dW = geometry[15], geometry[16], geometry[17]
    count = 0
    for tap_d in range(ranges[0], ranges[1]):
        for tap_h in range(ranges[2], ranges[3]):
            for tap_w in range(kW):
                offsets[count] = (tap_d * dD * H + tap_h * dH) * W + tap_w * dW
                labels[count] = offsets[count] if flat else (tap_d * kH + tap_h) * kW + tap_w
                count += 1
    return count


def _backward_blocks(grads, grad_x, choices, geometry, begin, end):
    """Fill the blocks `begin` to `end` of the input's gradient; a block is a run of rows (d, h) of one plane.

    A block looks at all windows that may reach its rows and takes what falls into it: blocks never write to each other.
    `geometry` tells how many blocks make up a plane, and whether they are streamed.
    """
    D, H, W, oD, oH, oW, kD, kH, kW, sD, sH, sW, pD, pH, pW, dD, dH, dW, parts, streamed = as_tuple(geometry, 20)
    grads, grad_x, choices, geometry = borrowed(grads), borrowed(grad_x), borrowed(choices), borrowed(geometry)
    reach_d, reach_h, reach_w = (kD - 1) * dD + 1, (kH - 1) * dH + 1, (kW - 1) * dW + 1
    apart = (reach_d <= sD or oD == 1) and (reach_h <= sH or oH == 1) and reach_w <= sW
    pairs = apart and choices.itemsize == 1 and D == kD == dH == dW == 1 and kW == sW == 2 and pD + pH + pW == 0
    table = _offsets_of_taps(geometry)
    scratch = np.empty((D * H // parts + 1) * W if streamed else 0, grad_x.dtype)
    offsets, buffer = borrowed(table), borrowed(scratch)
    for block in range(begin, end):
        plane, part = block // parts, block % parts
        first_row, end_row = D * H * part // parts, D * H * (part + 1) // parts
        first_d, last_d = first_row // H, (end_row - 1) // H
        first_h, last_h = (first_row % H, (end_row - 1) % H) if first_d == last_d else (0, H - 1)
        place, size = (plane * D * H + first_row) * W, (end_row - first_row) * W
        grad = buffer[:size] if streamed else grad_x[place : place + size]
        grad[:] = 0
        for out_d in range(scalar.first_window(first_d + pD, reach_d, sD), scalar.end_window(last_d + pD, sD, oD)):
            for out_h in range(scalar.first_window(first_h + pH, reach_h, sH), scalar.end_window(last_h + pH, sH, oH)):
                row = ((plane * oD + out_d) * oH + out_h) * oW
                start = ((out_d * sD - pD) * H + out_h * sH - pH) * W - pW - first_row * W
                if pairs:
                    for tap in range(max(0, first_row - out_h * sH), min(kH, end_row - out_h * sH)):
                        _store_pairs(grads, choices, row, oW, 2 * tap, grad, (out_h * sH + tap - first_row) * W)
                elif choices.itemsize == 8:
                    _add_at_positions(grads, choices, row, oW, first_row * W, grad)
                elif apart:
                    _store_at_taps(grads, choices, row, oW, start, sW, offsets, grad)
                else:
                    _add_at_taps(grads, choices, row, oW, start, sW, offsets, grad)
        if streamed:
            stream(buffer, 0, grad_x, place, size)
    if streamed:
        finish()
    keep((table, scratch))


@njit
def _offsets_of_taps(geometry):
    """Return where each tap is in the plane, relative to the first one; what stands for none is far outside."""
    H, W, kD, kH, kW = geometry[1], geometry[2], geometry[6], geometry[7], geometry[8]
    dD, dH, dW = geometry[15], geometry[16], geometry[17]
    offsets = np.empty(MOST_TAPS + 1, np.int64)
    for tap in range(MOST_TAPS + 1):
        offsets[tap] = -PLANE_LIMIT * PLANE_LIMIT
    for tap in range(min(kD * kH * kW, MOST_TAPS)):
        offsets[tap] = (tap // (kH * kW) * dD * H + tap // kW % kH * dH) * W + tap % kW * dW
    return offsets


@njit
def _add_at_positions(shares, positions, row, count, first, grad):
    """Add the gradients of a row of windows where their elements are in a block that begins at `first`."""
    start, size = np.uint64(row), np.uint64(grad.size)
    for i in range(count):
        place = np.uint64(np.int64(positions[start + np.uint64(i)]) - first)
        if place < size:
            grad[place] += shares[start + np.uint64(i)]


@njit
def _add_at_taps(shares, taps, row, count, start, stride, offsets, grad):
    """Like `_add_at_positions`; the first window begins at `start` in the block."""
    first, size = np.uint64(row), np.uint64(grad.size)
    for i in range(count):
        place = np.uint64(start + i * stride + offsets[taps[first + np.uint64(i)]])
        if place < size:
            grad[place] += shares[first + np.uint64(i)]


@njit
def _store_at_taps(shares, taps, row, count, start, stride, offsets, grad):
    """Like `_add_at_taps`, for windows that share no elements."""
    first, size = np.uint64(row), np.uint64(grad.size)
    for i in range(count):
        place = np.uint64(start + i * stride + offsets[taps[first + np.uint64(i)]])
        if place < size:
            grad[place] = shares[first + np.uint64(i)]


@njit
def _store_pairs(shares, taps, row, count, tap, grad, place):
    """Store what the row `tap // 2` of windows of width and stride 2 gets, at every place of it: this fills vectors."""
    first, target, zero = np.uint64(row), np.uint64(place), shares.dtype.type(0)
    for i in range(count):
        chosen, share, start = taps[first + np.uint64(i)], shares[first + np.uint64(i)], target + np.uint64(2 * i)
        grad[start] = choose(chosen == tap, share, zero)
        grad[start + np.uint64(1)] = choose(chosen == tap + 1, share, zero)


_forward = RangeKernel(_forward_rows, PARALLEL_WORK)
_backward = RangeKernel(_backward_blocks, PARALLEL_WORK)
