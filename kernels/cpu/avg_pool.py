"""Average pooling on the CPU, forward and backward, for any rank and dtype.

All arrays are C-contiguous. `input` is (N, C, D, H, W) and `output` (N, C, oD, oH, oW), where those of a problem of
fewer dimensions may lack D, or D and H. A window's sum is divided by its number of elements, those in the
padding included if `count_include_pad` says so, or by `divisor` where that is not 0; integers towards zero.

Sums are separable: the rows of a window are added element by element into a row of scratch that has zeros for the
padding, along which the windows' sums are taken. Neither loop has a branch.
"""

import functools
import math

import numpy as np
from nbtorch.kernels import scalar
from nbtorch.kernels.cpu.ranges import RangeKernel
from nbtorch.kernels.cpu.rows import (
    PARALLEL_WORK,
    as_tuple,
    borrowed,
    copy,
    fill,
    following,
    keep,
    locate,
    spread,
    sum_rows,
    window_sums,
)
from nbtorch.kernels.cpu.streaming import BLOCK, LARGE, finish, prefetch, stream
from nbtorch.kernels.geometry import volume
from nbtorch.kernels.jit import njit

Triple = tuple[int, int, int]


def avg_pool_forward(
    input: np.ndarray,
    kernel_size: Triple,
    stride: Triple,
    padding: Triple,
    count_include_pad: bool,
    divisor: int,
    output: np.ndarray,
) -> None:
    """Write the mean of every window of `input` to `output`."""
    size = output.size
    if size == 0:
        return
    window = kernel_size, stride, padding, count_include_pad, divisor
    geometry = _geometry(input.shape, output.shape, *window, input.itemsize)
    _forward(size // output.shape[-1], input.size + size, input.reshape(-1), output.reshape(-1), geometry)


def avg_pool_backward(
    grad_output: np.ndarray,
    kernel_size: Triple,
    stride: Triple,
    padding: Triple,
    count_include_pad: bool,
    divisor: int,
    grad_input: np.ndarray,
) -> None:
    """Write to `grad_input` the sum of `grad_output` over the windows of each element, each divided."""
    size = grad_input.size
    if size == 0:
        return
    window = kernel_size, stride, padding, count_include_pad, divisor
    geometry = _geometry(grad_input.shape, grad_output.shape, *window, grad_input.itemsize)
    arrays = grad_output.reshape(-1), grad_input.reshape(-1), geometry
    _backward(size // grad_input.shape[-1], size + grad_output.size, *arrays)


@functools.lru_cache(maxsize=1024)
def _geometry(
    shape: tuple[int, ...],
    out_shape: tuple[int, ...],
    kernel_size: Triple,
    stride: Triple,
    padding: Triple,
    include_pad: bool,
    divisor: int,
    itemsize: int,
) -> np.ndarray:
    """Return what the kernels need to know of a pooling as one array."""
    window = *kernel_size, *stride, *padding, int(include_pad), divisor
    streamed = (math.prod(shape) + math.prod(out_shape)) * itemsize >= LARGE
    return np.array((*volume(shape[2:]), *volume(out_shape[2:]), *window, int(streamed)))


@njit
def clipped(position, stride, padding, kernel_size, extent, include_pad):
    """Return (begin, end, size) of a window: where it lies in the input, and how many elements it counts."""
    start = position * stride - padding
    stop = min(start + kernel_size, extent + padding)
    begin, end = max(start, 0), min(stop, extent)
    return begin, end, stop - start if include_pad else end - begin


@njit
def _window_widths(geometry, dtype):
    """Return how many elements each window of a row counts; 1 if all sums are divided by the same number."""
    widths = np.ones(geometry[5], dtype)
    if geometry[16] == 0:
        for i in range(widths.size):
            widths[i] = clipped(i, geometry[11], geometry[14], geometry[8], geometry[2], geometry[15])[2]
    return widths


def _forward_rows(elements, means, geometry, begin, end):
    """Pool the output rows `begin` to `end`, counted through all planes; rows are offsets in flat arrays.

    `geometry` holds the extents of input, output and kernel, stride and padding, whether that counts, and the divisor.
    """
    elements, means, geometry = borrowed(elements), borrowed(means), borrowed(geometry)
    D, H, W, oD, oH, oW, kD, kH, kW, sD, sH, sW, pD, pH, pW, include_pad, divisor, _ = as_tuple(geometry, 18)
    length = (oW - 1) * sW + kW
    scratch, row_widths = np.zeros(max(length, pW + W), means.dtype), _window_widths(geometry, means.dtype)
    columns, widths = borrowed(scratch), borrowed(row_widths)
    position = locate(begin, oD, oH)
    for row in range(begin, end):
        plane, out_d, out_h = position
        position = following(position, oD, oH)
        d_begin, d_end, size_d = clipped(out_d, sD, pD, kD, D, include_pad)
        h_begin, h_end, size_h = clipped(out_h, sH, pH, kH, H, include_pad)
        start, place = ((plane * D + d_begin) * H + h_begin) * W, row * oW
        prefetch(elements, start + 4 * sH * W, sH * W)
        if pW == 0 and length <= W and (d_end - d_begin) * (h_end - h_begin) == 1:
            window_sums(elements, start, kW, sW, means, place, oW)
        else:
            for d in range(d_end - d_begin):
                sum_rows(elements, start + d * H * W, h_end - h_begin, W, W, d == 0, columns, pW)
            window_sums(columns, 0, kW, sW, means, place, oW)
        size, target = means.dtype.type(divisor if divisor != 0 else size_d * size_h), np.uint64(place)
        for i in range(oW):
            means[target + np.uint64(i)] = means[target + np.uint64(i)] / (size * widths[i])
    keep((scratch, row_widths))


def _backward_rows(grads, grad_x, geometry, begin, end):
    """Fill the rows `begin` to `end` of the input's gradient, counted through all planes.

    Rows that the same windows cover are equal, and computed once.
    """
    grads, grad_x, geometry = borrowed(grads), borrowed(grad_x), borrowed(geometry)
    D, H, W, oD, oH, oW, kD, kH, kW, sD, sH, sW, pD, pH, pW, include_pad, divisor, streamed = as_tuple(geometry, 18)
    run, origin = max(1, BLOCK // W) if streamed else end - begin, 0
    scratch = np.zeros(max((oW - 1) * sW + kW, pW + W), grad_x.dtype), np.empty(oW, grad_x.dtype)
    results, row_widths = np.empty(run * W if streamed else 0, grad_x.dtype), _window_widths(geometry, grad_x.dtype)
    padded, columns, widths = borrowed(scratch[0]), borrowed(scratch[1]), borrowed(row_widths)
    block = borrowed(results) if streamed else grad_x
    firsts, ends = windows_of_rows(H, kH, sH, pH, oH)
    position, covering, first_d, end_d = locate(begin, D, H), (-1, -1, -1, -1, -1), 0, 0
    for first in range(begin, end, run):
        last = min(first + run, end)
        if streamed:
            origin = first * W
        for row in range(first, last):
            plane, d, h = position
            position = following(position, D, H)
            if h == 0 or row == begin:
                first_d, end_d = scalar.first_window(d + pD, kD, sD), scalar.end_window(d + pD, sD, oD)
            previous, covering, place = covering, (plane, first_d, end_d, firsts[h], ends[h]), row * W - origin
            if first_d >= end_d or firsts[h] >= ends[h]:
                fill(grad_x.dtype.type(0), block, place, W)
                continue
            if covering != previous:
                for out_d in range(first_d, end_d):
                    for out_h in range(firsts[h], ends[h]):
                        size = divisor
                        if divisor == 0:
                            size = clipped(out_d, sD, pD, kD, D, include_pad)[2]
                            size *= clipped(out_h, sH, pH, kH, H, include_pad)[2]
                        start = ((plane * oD + out_d) * oH + out_h) * oW
                        _add_shares(grads, start, size, widths, out_d == first_d and out_h == firsts[h], columns)
                spread(columns, kW, sW, padded)
            copy(padded, pW, block, place, W)
        if streamed:
            stream(block, 0, grad_x, origin, (last - first) * W)
    if streamed:
        finish()
    keep((scratch, results, row_widths))


@njit
def windows_of_rows(extent, kernel_size, stride, padding, windows):
    """Return the first window that covers each row, and the end of those that do."""
    firsts, ends = np.empty(extent, np.int64), np.empty(extent, np.int64)
    for row in range(extent):
        firsts[row] = scalar.first_window(row + padding, kernel_size, stride)
        ends[row] = scalar.end_window(row + padding, stride, windows)
    return firsts, ends


@njit(forceinline=True)
def _add_shares(grads, start, size, widths, first, columns):
    """Add to the columns what each window of a row gives to one of its elements."""
    height, place = columns.dtype.type(size), np.uint64(start)
    if first:
        for i in range(columns.size):
            columns[i] = grads[place + np.uint64(i)] / (height * widths[i])
    else:
        for i in range(columns.size):
            columns[i] += grads[place + np.uint64(i)] / (height * widths[i])


_forward = RangeKernel(_forward_rows, PARALLEL_WORK)
_backward = RangeKernel(_backward_rows, PARALLEL_WORK)
