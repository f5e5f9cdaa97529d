"""Adaptive pooling on the CPU, average and maximum, forward and backward, for any rank and dtype.

All arrays are C-contiguous: `input` (N, C, D, H, W), `output` and `indices` (N, C, oD, oH, oW); a problem of fewer
dimensions has unit extents in front. Region o of an extent n split into m is [floor(o·n/m), ceil((o+1)·n/m)); regions
overlap where m does not divide n. Maxima follow the rules of `pool`, and so do their indices.

Both poolings are separable: the rows of a region are first reduced to one row of scratch, which vectorises, and the
regions of a row then along it.
"""

import numpy as np
from nbtorch.kernels import scalar
from nbtorch.kernels.cpu.pool_simd import LANES, best_column, pool_windows
from nbtorch.kernels.cpu.ranges import RangeKernel
from nbtorch.kernels.cpu.rows import (
    PARALLEL_WORK,
    add_row,
    borrowed,
    copy,
    fill,
    following,
    keep,
    locate,
    planes,
    total,
)
from nbtorch.kernels.cpu.streaming import prefetch
from nbtorch.kernels.cpu.unpool import max_unpool_add
from nbtorch.kernels.jit import njit

RUN = 64
"""Vectors that are compared with one another before their lanes are."""


def adaptive_avg_pool_forward(input: np.ndarray, output: np.ndarray) -> None:
    """Write the mean of every region of `input` to `output`."""
    if output.size == 0:
        return
    rows = output.size // output.shape[-1]
    _avg(rows, input.size + output.size, planes(input), planes(output))


def adaptive_avg_pool_backward(grad_output: np.ndarray, grad_input: np.ndarray) -> None:
    """Write to `grad_input` the sum of `grad_output` over the regions of each element, each divided by its size."""
    if grad_input.size == 0 or grad_output.size == 0:
        grad_input.fill(0)
        return
    rows = grad_input.size // grad_input.shape[-1]
    _spread(rows, grad_input.size + grad_output.size, planes(grad_output), planes(grad_input))


def adaptive_max_pool_forward(input: np.ndarray, output: np.ndarray, indices: np.ndarray) -> None:
    """Write the maximum of every region of `input` to `output` and its flat position to `indices` (int64)."""
    if output.size == 0:
        return
    rows = output.size // output.shape[-1]
    _max(rows, input.size + output.size, planes(input), planes(output), planes(indices))


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


def _avg_rows(x, y, begin, end):
    """Pool the output rows `begin` to `end`, counted through all planes; whole rows are summed as they lie."""
    _, D, H, W = x.shape
    _, oD, oH, oW = y.shape
    x, scratch, regions = borrowed(x), np.empty(W, x.dtype), _regions(W, oW)
    flat, means, columns = x.reshape(x.size), borrowed(y).reshape(y.size), borrowed(scratch)
    begins, ends = borrowed(regions[0]), borrowed(regions[1])
    if oD * oH * oW == 1:
        for plane in range(begin, end):
            means[plane] = total(flat, plane * D * H * W, (plane + 1) * D * H * W) / y.dtype.type(D * H * W)
        keep((scratch, regions))
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
    keep((scratch, regions))


def _spread_rows(grads, grad_x, begin, end):
    """Fill the rows `begin` to `end` of the input's gradient, counted through all planes.

    Rows that lie in the same regions are equal and copied.
    """
    _, D, H, W = grad_x.shape
    _, oD, oH, oW = grads.shape
    shares, flat = borrowed(grads).reshape(grads.size), borrowed(grad_x).reshape(grad_x.size)
    if oD * oH * oW == 1:
        for plane in range(begin // (D * H), -(-end // (D * H))):
            first, last = max(begin, plane * D * H), min(end, (plane + 1) * D * H)
            fill(shares[plane] / grads.dtype.type(D * H * W), flat, first * W, (last - first) * W)
        return
    scratch, regions = (np.empty(oW, grads.dtype), np.empty(oW, grads.dtype)), _regions(W, oW)
    columns, widths = borrowed(scratch[0]), borrowed(scratch[1])
    begins, ends = borrowed(regions[0]), borrowed(regions[1])
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
    keep((scratch, regions))


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


def _max_rows(x, maxima, positions, begin, end):
    """Pool the output rows `begin` to `end`, counted through all planes: first down the columns, then along the row."""
    _, D, H, W = x.shape
    _, oD, oH, oW = maxima.shape
    elements, out = borrowed(x).reshape(x.size), borrowed(maxima).reshape(maxima.size)
    indices, rows = borrowed(positions).reshape(positions.size), (-(-D // oD) + 1) * (-(-H // oH) + 1)
    scratch = np.empty(W + LANES, x.dtype), np.empty(W + LANES, np.int32)
    lists, regions = (np.empty(max(rows, RUN), np.int64), np.empty(max(rows, RUN), np.int32)), _regions(W, oW)
    best, labels, tables = borrowed(scratch[0]), borrowed(scratch[1]), (borrowed(lists[0]), borrowed(lists[1]))
    begins, ends = borrowed(regions[0]), borrowed(regions[1])
    position = locate(begin, oD, oH)
    for row in range(begin, end):
        plane, out_d, out_h = position
        position = following(position, oD, oH)
        start = plane * D * H * W
        d_begin, d_end = scalar.region_start(out_d, D, oD), scalar.region_end(out_d, D, oD)
        h_begin, h_end = scalar.region_start(out_h, H, oH), scalar.region_end(out_h, H, oH)
        if oW == 1 and (d_end - d_begin == 1 or (h_begin == 0 and h_end == H)):
            first, last = (d_begin * H + h_begin) * W, ((d_end - 1) * H + h_end) * W
            place = _best_of_run(elements, start + first, start + last, tables, best, labels)
            out[row], indices[row] = elements[place], place - start
        elif (d_end - d_begin) * (h_end - h_begin) == 1:
            first = start + (d_begin * H + h_begin) * W
            for i in range(oW):
                place = _best_of_run(elements, first + begins[i], first + ends[i], tables, best, labels)
                out[row * oW + i], indices[row * oW + i] = elements[place], place - start
        else:
            taps = 0
            for d in range(d_begin, d_end):
                for h in range(h_begin, h_end):
                    tables[0][taps], tables[1][taps] = (d * H + h) * W, (d * H + h) * W
                    taps += 1
            prefetch(elements, start + (d_begin * H + h_end) * W, (h_end - h_begin) * W)
            vectors = scalar.ceil_div(W, LANES) * LANES
            if start + tables[0][taps - 1] + vectors > x.size:
                vectors = W
            pool_windows(elements, start, tables[0], tables[1], taps, best, labels, W, vectors)
            for i in range(oW):
                out[row * oW + i], indices[row * oW + i] = best_column(best, labels, begins[i], ends[i])
    keep((scratch, lists, regions))


@njit
def _best_of_run(elements, begin, end, tables, best, labels):
    """Return the place of the largest of elements[begin:end], the first of equal ones; or of the last NaN.

    Neighbouring elements go into lanes of their own, and the largest of each lane are compared in the end.
    """
    place = begin
    first = begin
    while first < end:
        count = min(end - first, RUN * LANES)
        if count < 2 * LANES:
            for i in range(first, first + count):
                if scalar.wins(elements[i], elements[place]):
                    place = i
        else:
            taps = scalar.ceil_div(count, LANES)
            for tap in range(taps):
                offset = min(tap * LANES, count - LANES)
                tables[0][tap], tables[1][tap] = offset, offset
            pool_windows(elements, first, tables[0], tables[1], taps, best, labels, LANES, LANES)
            value, position = best_column(best, labels, 0, LANES)
            if first == begin or scalar.wins(value, elements[place]):
                place = first + position
        first += count
    return place


_avg = RangeKernel(_avg_rows, PARALLEL_WORK)
_spread = RangeKernel(_spread_rows, PARALLEL_WORK)
_max = RangeKernel(_max_rows, PARALLEL_WORK)
