"""Max pooling on the CPU, forward and backward, for any rank and dtype.

All arrays are C-contiguous. `input` is (N, C, D, H, W) and `output`, `choices` are (N, C, oD, oH, oW); a problem of
fewer dimensions has unit extents in front. `choices` tells which element of each window was the largest. As int64 it
is PyTorch's index, the flat position d·H·W + h·W + w. As uint8, which is an eighth of the memory to move, it is the
tap, the element's number (tap_d·kH + tap_h)·kW + tap_w in the window, for windows of at most `MOST_TAPS` elements.

As in PyTorch ties go to the first element, of NaN the last one wins, and padding never does. A window that meets no
element at all (a dilated one at the border can) gives -inf (an integer: the lowest value) and the choice -1 or 255.
"""

import functools
import math

import numpy as np
from nbtorch.kernels import scalar
from nbtorch.kernels.cpu.pool_simd import LANES, best_taps, lowest, pool_windows
from nbtorch.kernels.cpu.ranges import RangeKernel
from nbtorch.kernels.cpu.rows import PARALLEL_WORK, as_tuple, fill, following, locate
from nbtorch.kernels.jit import njit

Triple = tuple[int, int, int]

MOST_TAPS = 255
"""Elements of a window whose taps fit into uint8, together with the number that stands for none."""

PLANE_LIMIT = 1 << 31
"""Positions in a plane are kept in 32 bits while a row is pooled: as many fit into a vector as there are values."""

CHUNK = 1024
"""Columns that are pooled at a time."""

BLOCK = 1 << 14
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
    if output.size == 0:
        return
    geometry, taps = _geometry(input.shape[2:], output.shape[2:], kernel_size, stride, padding, dilation, 0)
    arrays = input.reshape(-1), output.reshape(-1), choices.reshape(-1), geometry
    _forward(output.size // output.shape[4], output.size * taps, *arrays)


def max_pool_backward(
    grad_output: np.ndarray,
    choices: np.ndarray,
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
    rows = grad_input.shape[2] * grad_input.shape[3]
    parts = min(rows, -(-rows * grad_input.shape[4] // BLOCK))
    extents = grad_input.shape[2:], grad_output.shape[2:]
    geometry, _ = _geometry(*extents, kernel_size, stride, padding, dilation, parts)
    arrays = grad_output.reshape(-1), grad_input.reshape(-1), choices.reshape(-1), geometry
    count = grad_input.shape[0] * grad_input.shape[1] * parts
    _backward(count, grad_output.size + grad_input.size, *arrays)


@functools.lru_cache(maxsize=1024)
def _geometry(
    extents: Triple,
    out_extents: Triple,
    kernel_size: Triple,
    stride: Triple,
    padding: Triple,
    dilation: Triple,
    parts: int,
) -> tuple[np.ndarray, int]:
    """Return what the kernels need to know of a pooling as one array, and the number of a window's elements."""
    if math.prod(extents) > PLANE_LIMIT:
        raise OverflowError(f"max_pool: a plane must have at most 2**31 elements, got extents {extents}")
    numbers = (*extents, *out_extents, *kernel_size, *stride, *padding, *dilation, parts)
    return np.array(numbers), math.prod(kernel_size)


def _forward_rows(elements, out, choices, geometry, begin, end):
    """Pool the output rows `begin` to `end`, counted through all planes; rows are offsets in flat arrays.

    `geometry` holds the extents of input, output and kernel, stride, padding and dilation.
    """
    D, H, W, oD, oH, oW, kD, kH, kW, sD, sH, sW, pD, pH, pW, dD, dH, dW, _ = as_tuple(geometry, 19)
    wanted, flat = choices.size > 0, choices.itemsize == 8
    left = min(oW, scalar.ceil_div(pW, sW))
    right = max(left, min(oW, (W + pW - (kW - 1) * dW - 1) // sW + 1))
    offsets, columns = np.empty(kD * kH * kW, np.int64), np.empty(kD * kH * kW, np.int64)
    labels, narrow = np.empty(kD * kH * kW, np.int32), oW <= LANES and right - left < oW
    names = choices if wanted else np.empty(CHUNK, choices.dtype)
    position, taps, known = locate(begin, oD, oH), 0, (-1, -1, -1, -1)
    for row in range(begin, end):
        d, h = position[1] * sD - pD, position[2] * sH - pH
        d_taps = scalar.first_tap(d, dD), scalar.end_tap(d, D, kD, dD)
        ranges = (*d_taps, scalar.first_tap(h, dH), scalar.end_tap(h, H, kH, dH))
        if ranges != known:
            taps, known = _list_taps(geometry, ranges, flat, offsets, columns, labels), ranges
        local, place = (d * H + h) * W - pW, row * oW
        start = position[0] * D * H * W + local
        position = following(position, oD, oH)
        if taps == 0:
            fill(lowest(elements), out, place, oW)
            if wanted:
                fill(choices.dtype.type(-1), choices, place, oW)
            continue
        first = 0
        while first < oW:
            at_edge = narrow or not left <= first < right
            count = min(CHUNK, oW - first if at_edge else right - first)
            if first < left and not narrow:
                count = min(count, scalar.ceil_div(left, LANES) * LANES)
            # Vectors may run on past the row: in the input into whatever lies there, but not past the ends of the
            # array, and in the output into what this thread fills next.
            vectors, here = scalar.ceil_div(count, LANES) * LANES, start + first * sW
            at, at_name, local_here = place + first, place + first if wanted else 0, local + first * sW
            inside = here + offsets[0] >= 0 and here + (vectors - 1) * sW + offsets[taps - 1] < elements.size
            if not inside or at + vectors > end * oW:
                vectors = 0 if at_edge and not inside else count
            if at_edge:
                edge = first * sW - pW
                windows = (here, sW, taps, local_here, count, vectors, edge, W)
                _pool_at_edge(elements, offsets, columns, labels, out, at, names, at_name, windows)
            else:
                pool_windows(
                    elements, here, sW, offsets, labels, taps, out, at, names, at_name, local_here, count, vectors
                )
            first += count


@njit
def _pool_at_edge(elements, offsets, columns, labels, out, at, names, at_name, windows):
    """Pool neighbouring windows, some of which hang over a side of the row; see `best_taps`."""
    start, stride, taps, position, count, vectors, edge, width = windows
    # fmt: off
    best_taps(
        elements, start, stride, offsets, labels, taps, out, at, names, at_name, position, count, vectors, edge,
        columns, width,
    )
    # fmt: on


@njit
def _list_taps(geometry, ranges, flat, offsets, columns, labels):
    """List where taps are, relative to the first one, in the plane and in the row, and their labels; return how many.

    `ranges` are those of the taps in depth and height that lie inside the input.
    """
    H, W, kH, kW = geometry[1], geometry[2], geometry[7], geometry[8]
    dD, dH, dW = geometry[15], geometry[16], geometry[17]
    count = 0
    for tap_d in range(ranges[0], ranges[1]):
        for tap_h in range(ranges[2], ranges[3]):
            for tap_w in range(kW):
                columns[count] = tap_w * dW
                offsets[count] = (tap_d * dD * H + tap_h * dH) * W + tap_w * dW
                labels[count] = offsets[count] if flat else (tap_d * kH + tap_h) * kW + tap_w
                count += 1
    return count


def _backward_blocks(grads, grad_x, choices, geometry, begin, end):
    """Fill the blocks `begin` to `end` of the input's gradient; a block is a run of rows (d, h) of one plane.

    A block looks at all windows that may reach its rows and takes what falls into it: blocks never write to each other.
    The last number of `geometry` is how many blocks make up a plane.
    """
    D, H, W, oD, oH, oW, kD, kH, kW, sD, sH, sW, pD, pH, pW, dD, dH, dW, parts = as_tuple(geometry, 19)
    reach_d, reach_h, reach_w = (kD - 1) * dD + 1, (kH - 1) * dH + 1, (kW - 1) * dW + 1
    apart = (reach_d <= sD or oD == 1) and (reach_h <= sH or oH == 1) and reach_w <= sW
    offsets = _offsets_of_taps(geometry)
    for block in range(begin, end):
        plane, part = block // parts, block % parts
        first_row, end_row = D * H * part // parts, D * H * (part + 1) // parts
        first_d, last_d = first_row // H, (end_row - 1) // H
        first_h, last_h = (first_row % H, (end_row - 1) % H) if first_d == last_d else (0, H - 1)
        grad = grad_x[(plane * D * H + first_row) * W : (plane * D * H + end_row) * W]
        grad[:] = 0
        for out_d in range(scalar.first_window(first_d + pD, reach_d, sD), scalar.end_window(last_d + pD, sD, oD)):
            for out_h in range(scalar.first_window(first_h + pH, reach_h, sH), scalar.end_window(last_h + pH, sH, oH)):
                row = ((plane * oD + out_d) * oH + out_h) * oW
                start = ((out_d * sD - pD) * H + out_h * sH - pH) * W - pW - first_row * W
                if choices.itemsize == 8:
                    _add_at_positions(grads, choices, row, oW, first_row * W, grad)
                elif apart:
                    _store_at_taps(grads, choices, row, oW, start, sW, offsets, grad)
                else:
                    _add_at_taps(grads, choices, row, oW, start, sW, offsets, grad)


@njit
def _offsets_of_taps(geometry):
    """Return where each tap is in the plane, relative to the first one; what stands for none is far outside."""
    H, W, kD, kH, kW = geometry[1], geometry[2], geometry[6], geometry[7], geometry[8]
    dD, dH, dW = geometry[15], geometry[16], geometry[17]
    offsets = np.full(MOST_TAPS + 1, -PLANE_LIMIT * PLANE_LIMIT)
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


_forward = RangeKernel(_forward_rows, PARALLEL_WORK)
_backward = RangeKernel(_backward_blocks, PARALLEL_WORK)
