"""Max pooling on the CPU, forward and backward, for any rank and dtype.

All arrays are C-contiguous. `input` is (N, C, D, H, W) and `output`, `indices` are (N, C, oD, oH, oW); a problem of
fewer dimensions has unit extents in front. An entry of `indices` is the flat position d·H·W + h·W + w of the window's
maximum. As in PyTorch ties go to the first element, of NaN the last one wins, and padding never does. A window that
meets no element at all (a dilated one at the border can) gives -inf (an integer: the lowest value) and the index -1.
"""

import math

import numba
import numpy as np
from nbtorch.kernels import scalar
from nbtorch.kernels.jit import njit
from numba import prange

Triple = tuple[int, int, int]

PARALLEL_WORK = 1 << 16
"""Elements visited above which a pass takes longer than waking the threads."""

BLOCKS_PER_THREAD = 4
"""Pieces of work for each thread, so that a thread that is held up does not hold up the others."""


def max_pool_forward(
    input: np.ndarray,
    kernel_size: Triple,
    stride: Triple,
    padding: Triple,
    dilation: Triple,
    output: np.ndarray,
    indices: np.ndarray,
) -> None:
    """Write the maximum of every window of `input` to `output` and its position to `indices` (int64)."""
    if output.size == 0:
        return
    planes, maxima, positions = _planes(input), _planes(output), _planes(indices)
    rows = maxima.shape[0] * maxima.shape[1] * maxima.shape[2]
    lowest = input.dtype.type(-np.inf if input.dtype.kind == "f" else np.iinfo(input.dtype).min)
    window = (*kernel_size, *stride, *padding, *dilation)
    if output.size * math.prod(kernel_size) < PARALLEL_WORK:
        _forward_rows(planes, window, lowest, 0, rows, maxima, positions)
    else:
        blocks = min(rows, BLOCKS_PER_THREAD * numba.get_num_threads())
        _forward_parallel(planes, window, lowest, blocks, maxima, positions)


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
    grads, positions, planes = _planes(grad_output), _planes(indices), _planes(grad_input)
    window = (*kernel_size, *stride, *padding, *dilation)
    if grad_output.size + grad_input.size < PARALLEL_WORK:
        _backward_blocks(grads, positions, window, 0, planes.shape[0], 1, planes)
    else:
        rows = planes.shape[1] * planes.shape[2]
        blocks_per_plane = min(rows, -(-BLOCKS_PER_THREAD * numba.get_num_threads() // planes.shape[0]))
        _backward_parallel(grads, positions, window, blocks_per_plane, planes)


def max_pool_gather(input: np.ndarray, indices: np.ndarray, output: np.ndarray) -> None:
    """Write `output[n, c, o] = input[n, c].flat[indices[n, c, o]]`, or 0 where the index is -1."""
    if output.size == 0:
        return
    planes = input.shape[0] * input.shape[1]
    kernel = _gather if output.size < PARALLEL_WORK else _gather_parallel
    kernel(input.reshape(planes, -1), indices.reshape(planes, -1), output.reshape(planes, -1))


def _planes(array: np.ndarray) -> np.ndarray:
    """View (N, C, D, H, W) as (N·C, D, H, W)."""
    return array.reshape(-1, *array.shape[2:]) if array.size else array.reshape(0, *array.shape[2:])


@njit(parallel=True)
def _forward_parallel(planes, window, lowest, blocks, maxima, positions):
    rows = maxima.shape[0] * maxima.shape[1] * maxima.shape[2]
    for block in prange(blocks):
        _forward_rows(planes, window, lowest, rows * block // blocks, rows * (block + 1) // blocks, maxima, positions)


@njit
def _forward_rows(planes, window, lowest, begin, end, maxima, positions):
    """Pool the output rows `begin` to `end`, counted through all planes."""
    _, _, kW, _, _, sW, _, _, pW, _, _, dW = window
    _, D, H, W = planes.shape
    _, oD, oH, oW = maxima.shape
    extents, flat = (D, H, W), planes.reshape(planes.size)
    out, out_indices = maxima.reshape(maxima.size), positions.reshape(positions.size)
    left = min(oW, scalar.ceil_div(pW, sW))
    right = max(left, min(oW, (W + pW - (kW - 1) * dW - 1) // sW + 1))
    plane, out_d, out_h = begin // (oD * oH), begin // oH % oD, begin % oH
    for row in range(begin, end):
        corner = (plane * D * H * W, out_d, out_h)
        _forward_row(flat, corner, extents, window, lowest, (left, right, oW), row * oW, out, out_indices)
        out_h += 1
        if out_h == oH:
            out_h, out_d = 0, out_d + 1
        if out_d == oD:
            out_d, plane = 0, plane + 1


@njit
def _forward_row(flat, corner, extents, window, lowest, columns, offset, out, out_indices):
    """Pool the output row (out_d, out_h) of a plane, `corner` = (the plane's start in `flat`, out_d, out_h).

    The row begins at `offset` in `out`. Of its `columns` = (left, right, oW) those from `left` to `right` have windows
    inside the input's width. The common windows have calls of their own: with constants the compiler unrolls the
    taps and works on several columns at once, which is four times as fast.
    """
    kD, kH, kW, sD, sH, sW, pD, pH, pW, dD, dH, dW = window
    D, H, W = extents
    left, right, oW = columns
    d, h, w = corner[1] * sD - pD, corner[2] * sH - pH, left * sW - pW
    if left == right or d < 0 or h < 0 or d + (kD - 1) * dD >= D or h + (kH - 1) * dH >= H:
        _any_columns(flat, corner, extents, window, lowest, 0, oW, offset, out, out_indices)
        return
    if left > 0:
        _any_columns(flat, corner, extents, window, lowest, 0, left, offset, out, out_indices)
    if right < oW:
        _any_columns(flat, corner, extents, window, lowest, right, oW, offset, out, out_indices)
    count, dense = right - left, dD == 1 and dH == 1 and dW == 1
    origin, local, inner = corner[0] + (d * H + h) * W + w, (d * H + h) * W + w, offset + left
    if dense and kD == 1 and kH == 2 and kW == 2 and sW == 2:
        ordered = _inner_columns(flat, origin, local, count, (1, 2, 2), 2, (0, W, 1), inner, out, out_indices)
    elif dense and kD == 1 and kH == 3 and kW == 3 and sW == 2:
        ordered = _inner_columns(flat, origin, local, count, (1, 3, 3), 2, (0, W, 1), inner, out, out_indices)
    elif dense and kD == 1 and kH == 3 and kW == 3 and sW == 1:
        ordered = _inner_columns(flat, origin, local, count, (1, 3, 3), 1, (0, W, 1), inner, out, out_indices)
    elif dense and kD == 1 and kH == 1 and kW == 2 and sW == 2:
        ordered = _inner_columns(flat, origin, local, count, (1, 1, 2), 2, (0, 0, 1), inner, out, out_indices)
    elif dense and kD == 2 and kH == 2 and kW == 2 and sW == 2:
        ordered = _inner_columns(flat, origin, local, count, (2, 2, 2), 2, (H * W, W, 1), inner, out, out_indices)
    else:
        steps = (dD * H * W, dH * W, dW)
        ordered = _inner_columns(flat, origin, local, count, (kD, kH, kW), sW, steps, inner, out, out_indices)
    if not ordered:
        _any_columns(flat, corner, extents, window, lowest, left, right, offset, out, out_indices)


@njit
def _any_columns(flat, corner, extents, window, lowest, left, right, offset, out, out_indices):
    """Pool the columns `left` to `right` of one output row; their windows may hang over any edge and hold NaN."""
    kD, kH, kW, sD, sH, sW, pD, pH, pW, dD, dH, dW = window
    D, H, W = extents
    d_start, h_start = corner[1] * sD - pD, corner[2] * sH - pH
    d_range = scalar.first_tap(d_start, dD), scalar.end_tap(d_start, D, kD, dD)
    h_range = scalar.first_tap(h_start, dH), scalar.end_tap(h_start, H, kH, dH)
    for out_w in range(left, right):
        w_start = out_w * sW - pW
        w_range = scalar.first_tap(w_start, dW), scalar.end_tap(w_start, W, kW, dW)
        best, best_index = lowest, -1
        for tap_d in range(d_range[0], d_range[1]):
            for tap_h in range(h_range[0], h_range[1]):
                for tap_w in range(w_range[0], w_range[1]):
                    d, h, w = d_start + tap_d * dD, h_start + tap_h * dH, w_start + tap_w * dW
                    index = (d * H + h) * W + w
                    value = flat[corner[0] + index]
                    if best_index < 0 or scalar.wins(value, best):
                        best, best_index = value, index
        out[offset + out_w], out_indices[offset + out_w] = best, best_index


@njit(forceinline=True)
def _inner_columns(flat, origin, local, count, kernel_size, stride, steps, offset, out, out_indices):
    """Pool `count` windows that lie inside the input; return False if one of them holds a NaN.

    The first one begins at `origin` in `flat`, `local` in its plane; a tap moves by `steps`, a window by `stride`.
    Without the test for NaN the comparison is one machine instruction; the caller repeats the rare row that holds
    one. Indices are unsigned, because signed ones would be tested for their sign and the loop not be vectorised.
    """
    start, out_start = np.uint64(origin), np.uint64(offset)
    ordered = True
    for out_w in range(count):
        first, place = np.uint64(out_w * stride), out_start + np.uint64(out_w)
        best, best_position = flat[start + first], first
        for tap_d in range(kernel_size[0]):
            for tap_h in range(kernel_size[1]):
                for tap_w in range(kernel_size[2]):
                    position = first + np.uint64(tap_d * steps[0] + tap_h * steps[1] + tap_w * steps[2])
                    value = flat[start + position]
                    ordered &= value == value
                    best_position = position if value > best else best_position
                    best = value if value > best else best
        out[place], out_indices[place] = best, local + np.int64(best_position)
    return ordered


@njit(parallel=True)
def _backward_parallel(grads, positions, window, blocks_per_plane, planes):
    for block in prange(planes.shape[0] * blocks_per_plane):
        _backward_blocks(grads, positions, window, block, block + 1, blocks_per_plane, planes)


@njit
def _backward_blocks(grads, positions, window, begin, end, blocks_per_plane, planes):
    """Fill the blocks `begin` to `end` of the input's gradient; a block is a run of rows (d, h) of one plane.

    A block looks at all windows that may reach its rows and takes what falls into it: blocks never write to each other.
    """
    kD, kH, _, sD, sH, _, pD, pH, _, dD, dH, _ = window
    _, oD, oH, oW = grads.shape
    plane_count, D, H, W = planes.shape
    reach_d, reach_h = (kD - 1) * dD + 1, (kH - 1) * dH + 1
    flat = planes.reshape(plane_count, D * H * W)
    for block in range(begin, end):
        plane, part = divmod(block, blocks_per_plane)
        first_row, end_row = D * H * part // blocks_per_plane, D * H * (part + 1) // blocks_per_plane
        first_d, last_d = first_row // H, (end_row - 1) // H
        first_h, last_h = (first_row % H, (end_row - 1) % H) if first_d == last_d else (0, H - 1)
        grad = flat[plane, first_row * W : end_row * W]
        grad[:] = 0
        for out_d in range(scalar.first_window(first_d + pD, reach_d, sD), scalar.end_window(last_d + pD, sD, oD)):
            for out_h in range(scalar.first_window(first_h + pH, reach_h, sH), scalar.end_window(last_h + pH, sH, oH)):
                for out_w in range(oW):
                    i = positions[plane, out_d, out_h, out_w] - first_row * W
                    if 0 <= i < grad.size:
                        grad[i] += grads[plane, out_d, out_h, out_w]


@njit
def _gather(planes, positions, output):
    for plane in range(output.shape[0]):
        _gather_plane(planes, positions, plane, output)


@njit(parallel=True)
def _gather_parallel(planes, positions, output):
    for plane in prange(output.shape[0]):
        _gather_plane(planes, positions, plane, output)


@njit
def _gather_plane(planes, positions, plane, output):
    for i in range(output.shape[1]):
        position = positions[plane, i]
        output[plane, i] = planes[plane, position] if position >= 0 else 0
