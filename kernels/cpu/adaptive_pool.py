"""Adaptive pooling on the CPU, average and maximum, forward and backward, for any rank and dtype.

All arrays are C-contiguous: `input` (N, C, D, H, W), `output` and `indices` (N, C, oD, oH, oW); a problem of fewer
dimensions has unit extents in front. Region o of an extent n split into m is [floor(o·n/m), ceil((o+1)·n/m)); regions
overlap where m does not divide n. Maxima follow the rules of `pool`, and so do their indices.

Both poolings are separable: the rows of a region are first reduced to one row of scratch, which vectorises, and the
regions of a row then along it.
"""

import math

import numpy as np
from nbtorch.kernels import scalar
from nbtorch.kernels.cpu.rows import add_row, blocks, choose, copy, fill, following, locate, planes, total
from nbtorch.kernels.cpu.unpool import max_unpool_add
from nbtorch.kernels.jit import njit
from numba import prange

LANES = 32
"""A number of columns that fills the vectors of a loop, however often the compiler unrolls it."""


def adaptive_avg_pool_forward(input: np.ndarray, output: np.ndarray) -> None:
    """Write the mean of every region of `input` to `output`."""
    if output.size == 0:
        return
    rows = math.prod(output.shape[:4])
    count = blocks(rows, input.size + output.size)
    if count:
        _avg_parallel(planes(input), count, planes(output))
    else:
        _avg_rows(planes(input), 0, rows, planes(output))


def adaptive_avg_pool_backward(grad_output: np.ndarray, grad_input: np.ndarray) -> None:
    """Write to `grad_input` the sum of `grad_output` over the regions of each element, each divided by its size."""
    if grad_input.size == 0 or grad_output.size == 0:
        grad_input.fill(0)
        return
    rows = math.prod(grad_input.shape[:4])
    count = blocks(rows, grad_input.size + grad_output.size)
    if count:
        _spread_parallel(planes(grad_output), count, planes(grad_input))
    else:
        _spread_rows(planes(grad_output), 0, rows, planes(grad_input))


def adaptive_max_pool_forward(input: np.ndarray, output: np.ndarray, indices: np.ndarray) -> None:
    """Write the maximum of every region of `input` to `output` and its flat position to `indices` (int64)."""
    if output.size == 0:
        return
    rows = math.prod(output.shape[:4])
    count = blocks(rows, input.size + output.size)
    arrays = planes(output), planes(indices)
    if count:
        _max_parallel(planes(input), count, *arrays)
    else:
        _max_rows(planes(input), 0, rows, *arrays)


def adaptive_max_pool_backward(grad_output: np.ndarray, indices: np.ndarray, grad_input: np.ndarray) -> None:
    """Write to `grad_input` the sum of `grad_output` over the regions whose maximum an element is."""
    max_unpool_add(grad_output, indices, grad_input)


@njit
def _regions(extent, count):
    """Return where the regions of an extent begin and end."""
    begins, ends = np.empty(count, np.int64), np.empty(count, np.int64)
    for i in range(count):
        begins[i], ends[i] = scalar.region_start(i, extent, count), scalar.region_end(i, extent, count)
    return begins, ends


@njit(parallel=True)
def _avg_parallel(x, count, y):
    rows = y.shape[0] * y.shape[1] * y.shape[2]
    for block in prange(count):
        _avg_rows(x, rows * block // count, rows * (block + 1) // count, y)


@njit
def _avg_rows(x, begin, end, y):
    """Pool the output rows `begin` to `end`, counted through all planes; whole rows are summed as they lie."""
    _, D, H, W = x.shape
    _, oD, oH, oW = y.shape
    flat, means, columns = x.reshape(x.size), y.reshape(y.size), np.empty(W, x.dtype)
    begins, ends = _regions(W, oW)
    if oD * oH * oW == 1:
        for plane in range(begin, end):
            means[plane] = total(flat, plane * D * H * W, (plane + 1) * D * H * W) / y.dtype.type(D * H * W)
        return
    position = locate(begin, oD, oH)
    for row in range(begin, end):
        plane, out_d, out_h = position
        position = following(position, oD, oH)
        d_begin, d_end = scalar.region_start(out_d, D, oD), scalar.region_end(out_d, D, oD)
        h_begin, h_end = scalar.region_start(out_h, H, oH), scalar.region_end(out_h, H, oH)
        height = y.dtype.type((d_end - d_begin) * (h_end - h_begin))
        if oW == 1:
            result = y.dtype.type(0)
            for d in range(d_begin, d_end):
                start = ((plane * D + d) * H + h_begin) * W
                result += total(flat, start, start + (h_end - h_begin) * W)
            means[row] = result / (height * y.dtype.type(W))
            continue
        source = columns
        if (d_end - d_begin) * (h_end - h_begin) == 1:
            source = x[plane, d_begin, h_begin]
        else:
            for d in range(d_begin, d_end):
                for h in range(h_begin, h_end):
                    add_row(x[plane, d, h], 0, d == d_begin and h == h_begin, columns)
        for i in range(oW):
            if ends[i] - begins[i] >= 8:
                result = total(source, begins[i], ends[i])
            else:
                result = y.dtype.type(0)
                for w in range(begins[i], ends[i]):
                    result += source[w]
            means[row * oW + i] = result / (height * y.dtype.type(ends[i] - begins[i]))


@njit(parallel=True)
def _spread_parallel(grads, count, grad_x):
    rows = grad_x.shape[0] * grad_x.shape[1] * grad_x.shape[2]
    for block in prange(count):
        _spread_rows(grads, rows * block // count, rows * (block + 1) // count, grad_x)


@njit
def _spread_rows(grads, begin, end, grad_x):
    """Fill the rows `begin` to `end` of the input's gradient, counted through all planes.

    Rows that lie in the same regions are equal and copied.
    """
    _, D, H, W = grad_x.shape
    _, oD, oH, oW = grads.shape
    shares, flat = grads.reshape(grads.size), grad_x.reshape(grad_x.size)
    columns, widths = np.empty(oW, grads.dtype), np.empty(oW, grads.dtype)
    begins, ends = _regions(W, oW)
    for i in range(oW):
        widths[i] = ends[i] - begins[i]
    covering, position = (-1, -1, -1, -1, -1), locate(begin, D, H)
    for row in range(begin, end):
        plane, d, h = position
        position = following(position, D, H)
        previous, start = covering, row * W
        if oD * oH == 1:
            covering = (plane, 0, 1, 0, 1)
        else:
            first_d, end_d = scalar.region_start(d, oD, D), scalar.region_end(d, oD, D)
            covering = (plane, first_d, end_d, scalar.region_start(h, oH, H), scalar.region_end(h, oH, H))
        if covering == previous:
            copy(flat, start - W, flat, start, W)
            continue
        columns[:] = 0
        for out_d in range(covering[1], covering[2]):
            for out_h in range(covering[3], covering[4]):
                depth = scalar.region_end(out_d, D, oD) - scalar.region_start(out_d, D, oD)
                height = scalar.region_end(out_h, H, oH) - scalar.region_start(out_h, H, oH)
                size, first = grads.dtype.type(depth * height), ((plane * oD + out_d) * oH + out_h) * oW
                for i in range(oW):
                    columns[i] += shares[first + i] / (size * widths[i])
        _spread_columns(columns, begins, ends, flat, start)


@njit(forceinline=True)
def _spread_columns(columns, begins, ends, target, start):
    """Write to a row, for each element, the sum over the regions that hold it: neighbours may overlap."""
    filled = 0
    for i in range(columns.size):
        for w in range(begins[i], min(filled, ends[i])):
            target[start + w] += columns[i]
        if ends[i] > filled:
            fill(columns[i], target, start + filled, ends[i] - filled)
            filled = ends[i]


@njit(parallel=True)
def _max_parallel(x, count, maxima, positions):
    rows = maxima.shape[0] * maxima.shape[1] * maxima.shape[2]
    for block in prange(count):
        _max_rows(x, rows * block // count, rows * (block + 1) // count, maxima, positions)


@njit
def _max_rows(x, begin, end, maxima, positions):
    """Pool the output rows `begin` to `end`, counted through all planes.

    The best elements of the columns so far go to and fro between two arrays, as in `pool`.
    """
    _, D, H, W = x.shape
    _, oD, oH, oW = maxima.shape
    elements = x.reshape(x.size)
    size = scalar.ceil_div(W, LANES) * LANES
    best, rows = np.empty((2, size), x.dtype), np.empty((2, size), np.int32)
    begins, ends = _regions(W, oW)
    position = locate(begin, oD, oH)
    for _ in range(begin, end):
        plane, out_d, out_h = position
        position = following(position, oD, oH)
        d_begin, d_end = scalar.region_start(out_d, D, oD), scalar.region_end(out_d, D, oD)
        h_begin, h_end = scalar.region_start(out_h, H, oH), scalar.region_end(out_h, H, oH)
        out, indices = maxima[plane, out_d, out_h], positions[plane, out_d, out_h]
        if oW == 1 and (d_end - d_begin == 1 or (h_begin == 0 and h_end == H)):
            first, last = (d_begin * H + h_begin) * W, ((d_end - 1) * H + h_end) * W
            place = _first_largest(elements, plane * D * H * W + first, plane * D * H * W + last)
            out[0], indices[0] = elements[place], place - plane * D * H * W
            continue
        if (d_end - d_begin) * (h_end - h_begin) == 1:
            start = ((plane * D + d_begin) * H + h_begin) * W
            for i in range(oW):
                place = _first_largest(elements, start + begins[i], start + ends[i])
                out[i], indices[i] = elements[place], place - plane * D * H * W
            continue
        new, fresh = 0, True
        for d in range(d_begin, d_end):
            for h in range(h_begin, h_end):
                number = np.int32(d * H + h)
                start = (plane * D * H + number) * W
                count = size if start + size <= x.size else W
                if fresh:
                    copy(elements, start, best[0], 0, count)
                    rows[0, :count] = number
                    fresh = False
                else:
                    old, new = new, 1 - new
                    arrays = best[old, :count], rows[old, :count], best[new, :count], rows[new, :count]
                    _take_row(elements, start, number, arrays)
        for i in range(oW):
            column = _best_column(best[new], rows[new], begins[i], ends[i])
            out[i], indices[i] = best[new, column], np.int64(rows[new, column]) * W + column


@njit
def _first_largest(values, begin, end):
    """Return the place of the largest of values[begin:end], the first of equal ones; or of the last NaN.

    Eight at a time are compared with the largest so far; only where one wins its place is looked for.
    """
    best, place = values[begin], begin
    i = begin
    while i < end:
        stop = min(i + 8, end)
        if stop - i == 8:
            wins = False
            for k in range(8):
                value = values[np.uint64(i) + np.uint64(k)]
                wins |= (value > best) | (value != value)
            if not wins:
                i = stop
                continue
        for k in range(i, stop):
            if scalar.wins(values[k], best):
                best, place = values[k], k
        i = stop
    return place


@njit(forceinline=True)
def _take_row(elements, start, number, arrays):
    """Let the elements of a row take the places of the best ones of their columns where they win."""
    old, old_rows, new, new_rows = arrays
    for w in range(new.size):
        value = elements[np.uint64(start) + np.uint64(w)]
        wins = scalar.wins(value, old[w])
        new[w], new_rows[w] = choose(wins, value, old[w]), choose(wins, number, old_rows[w])


@njit
def _best_column(best, rows, begin, end):
    """Return the column of a region whose best element the walk through the region, row by row, would stop at.

    Of equal ones it is that of the first row, of NaN that of the last row.
    """
    column = begin
    for w in range(begin + 1, end):
        value, largest = best[w], best[column]
        if value > largest or value != value:
            if value == value or largest == largest or rows[w] >= rows[column]:
                column = w
        elif value == largest and rows[w] < rows[column]:
            column = w
    return column
