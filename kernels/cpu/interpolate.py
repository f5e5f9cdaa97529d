"""Interpolation on the CPU, of any rank and mode: tables of weights along the axes.

The tables are those of `nbtorch.kernels.resampling`.

All arrays are C-contiguous. `input` is (N, C, D, H, W) and `output` (N, C, oD, oH, oW), with a table for each of D, H
and W; a problem of fewer dimensions has unit extents in front. The gradient is the same function with the transposed
tables.

An output row is a weighted sum of input rows, and along a row columns are summed. Which comes first depends on cost:
where rows become fewer they are brought together first; where they become more, the columns of the rows that some
output rows need are interpolated into scratch that fits a cache. Slices of a volume come last, some rows of all of them
at once. Only sums along a row gather.
"""

import functools

import numpy as np
from nbtorch.kernels.cpu.pad import moved_as
from nbtorch.kernels.cpu.ranges import RangeKernel
from nbtorch.kernels.cpu.rows import copy, fill
from nbtorch.kernels.elementary import select
from nbtorch.kernels.jit import njit
from nbtorch.kernels.resampling import Axes, Table, fixed_point

PARALLEL_WORK = 1 << 15
"""Elements read and written above which an interpolation takes longer than waking the threads."""

SCRATCH = 1 << 15
"""Elements of rows whose columns are interpolated ahead: with the rows that they go to they fit a cache of 512 KiB."""

ZERO = np.int64(0)
"""Written as a literal, it would be a type of its own, and what it is given to be compiled twice."""

GATHER = 4
"""How much longer an element takes that is gathered than one that lies in a row."""


def interpolate(input: np.ndarray, axes: Axes, output: np.ndarray) -> None:
    """Write to `output` what the tables of the three axes make of `input`.

    Both have one floating-point type, that of the weights; where all tables copy, any type.
    """
    if output.size == 0:
        return
    kernel, windows, rows = _launch(axes)
    x, y, work = input.reshape(-1), output.reshape(-1), input.size + output.size
    if kernel is _copies:
        bits = moved_as(output.dtype)
        x, y = x.view(bits), y.view(bits)
    kernel(output.shape[0] * output.shape[1] * rows, work, x, *windows, y)


def interpolate_bytes(input: np.ndarray, axes: Axes, output: np.ndarray) -> None:
    """Interpolate images of uint8 along the columns and then along the rows, each rounded to bytes."""
    if output.size:
        arrays = _launch_bytes(axes)
        count, work = output.shape[0] * output.shape[1] * output.shape[3], input.size + output.size
        _bytes(count, work, input.reshape(-1), *arrays, output.reshape(-1))


@functools.lru_cache(maxsize=512)
def _launch(axes: Axes) -> tuple[RangeKernel, tuple[np.ndarray, ...], int]:
    """Return the kernel for some tables, its arguments between input and output, and the rows of a plane it counts."""
    depth, height, width = axes.tables
    sizes = [table.extent for table in axes.tables] + [table.size for table in axes.tables]
    if axes.copy:
        return (
            _copies,
            (np.array([*sizes, width.keeps]), *[table.windows for table in axes.tables]),
            depth.size * height.size,
        )
    choices = [_rows_first(height, width), height.copies, width.copies, width.keeps, *width.full]
    arrays = [array for table in axes.tables for array in (table.windows, table.weights)]
    kernel, rows = (_rows, depth.size * height.size) if depth.copies else (_stacks, height.size)
    return kernel, (np.array(sizes + choices), *arrays), rows


@functools.lru_cache(maxsize=512)
def _launch_bytes(axes: Axes) -> tuple[np.ndarray, ...]:
    """Return the arguments of the kernel for bytes between input and output."""
    _, height, width = axes.tables
    (rows, row_bits), (columns, column_bits) = fixed_point(height.weights), fixed_point(width.weights)
    sizes = np.array([height.extent, width.extent, height.size, width.size, row_bits, column_bits])
    return sizes, height.windows, rows, width.windows, columns


def _rows_first(height: Table, width: Table) -> bool:
    """Whether to bring rows together before their columns are interpolated."""
    columns = width.size * (GATHER * width.taps if width.taps <= 4 else 2 * GATHER * width.taps)
    before = height.size * (height.taps * width.extent + columns)
    after = min(height.extent, height.size * height.taps) * columns + height.size * height.taps * width.size
    return before <= after


@njit
def _combine(source, start, stride, count, weights, i, target, place, length):
    """Write the weighted sum of `count` stretches of one array to another: column i of the weights."""
    first, step, out = np.uint64(start), np.uint64(stride), np.uint64(place)
    if count == 0:
        fill(target.dtype.type(0), target, place, length)
        return
    w0 = weights[0, i]
    if count == 1:
        for j in range(length):
            k = np.uint64(j)
            target[out + k] = w0 * source[first + k]
        return
    tap = ZERO
    while tap + 4 <= count:
        _add_four(source, first, step, weights, tap, i, target, out, length)
        first += step * np.uint64(4)
        tap += 4
    if tap == 0:
        w1, second = weights[1, i], first + step
        for j in range(length):
            k = np.uint64(j)
            target[out + k] = w0 * source[first + k] + w1 * source[second + k]
        first += step * np.uint64(2)
        tap += 2
    while tap < count:
        w0 = weights[tap, i]
        for j in range(length):
            k = np.uint64(j)
            target[out + k] += w0 * source[first + k]
        first += step
        tap += 1


@njit
def _add_four(source, first, step, weights, tap, i, target, out, length):
    """Write four weighted stretches to the target, or add them unless they are the first."""
    w0, w1, w2, w3 = weights[tap, i], weights[tap + 1, i], weights[tap + 2, i], weights[tap + 3, i]
    second = first + step
    third = second + step
    fourth = third + step
    if tap == 0:
        for j in range(length):
            k = np.uint64(j)
            a = w0 * source[first + k] + w1 * source[second + k]
            target[out + k] = a + w2 * source[third + k] + w3 * source[fourth + k]
    else:
        for j in range(length):
            k = np.uint64(j)
            a = w0 * source[first + k] + w1 * source[second + k]
            target[out + k] += a + w2 * source[third + k] + w3 * source[fourth + k]


@njit
def _one_by_one(source, base, windows, weights, begin, end, target, out):
    """Sum the columns of some outputs one by one."""
    first, count = windows[0], windows[1]
    for i in range(begin, end):
        place = base + np.uint64(first[i])
        total = target.dtype.type(0)
        for tap in range(count[i]):
            total += weights[tap, i] * source[place + np.uint64(tap)]
        target[out + np.uint64(i)] = total


@njit
def _tap(source, place, weights, tap, i, count):
    """Return a weighted element of a window; 0, whatever lies there, where the window has fewer elements."""
    inside = tap < count
    value = weights[min(tap, weights.shape[0] - 1), i] * source[place + np.uint64(select(inside, tap, ZERO))]
    return select(inside, value, source.dtype.type(0))


@njit
def _few_by_few(source, base, windows, weights, begin, end, target, out):
    """Sum the columns of some outputs whose windows have four elements at the most, some none; without branches."""
    first, count = windows[0], windows[1]
    one, two, three = np.int64(1), np.int64(2), np.int64(3)
    if weights.shape[0] <= 2:
        for i in range(begin, end):
            j, most = np.uint64(i), count[i]
            p = base + np.uint64(first[j])
            a = _tap(source, p, weights, ZERO, j, most) + _tap(source, p, weights, one, j, most)
            target[out + j] = a
        return
    for i in range(begin, end):
        j, most = np.uint64(i), count[i]
        p = base + np.uint64(first[j])
        a = _tap(source, p, weights, ZERO, j, most) + _tap(source, p, weights, one, j, most)
        target[out + j] = a + _tap(source, p, weights, two, j, most) + _tap(source, p, weights, three, j, most)


@njit
def _along(source, start, numbers, windows, weights, target, place):
    """Interpolate one row, that begins at `start` of an array, along its columns."""
    base, out, length, first = np.uint64(start), np.uint64(place), numbers[5], windows[0]
    copies, keeps, begin, end = numbers[8], numbers[9], numbers[10], numbers[11]
    if keeps:
        copy(source, start, target, place, length)
        return
    if copies:
        for i in range(length):
            j = np.uint64(i)
            target[out + j] = source[base + np.uint64(first[j])]
        return
    taps = weights.shape[0]
    if taps <= 4 and end - begin < length // 2 and numbers[2] > 0:
        _few_by_few(source, base, windows, weights, ZERO, length, target, out)
        return
    _one_by_one(source, base, windows, weights, ZERO, begin, target, out)
    _one_by_one(source, base, windows, weights, end, length, target, out)
    w0, w1 = weights[0], weights[min(1, taps - 1)]
    one, two, three = np.uint64(1), np.uint64(2), np.uint64(3)
    if taps == 1:
        for i in range(begin, end):
            j = np.uint64(i)
            target[out + j] = w0[j] * source[base + np.uint64(first[j])]
    elif taps == 2:
        for i in range(begin, end):
            j = np.uint64(i)
            p = base + np.uint64(first[j])
            target[out + j] = w0[j] * source[p] + w1[j] * source[p + one]
    elif taps == 4:
        w2, w3 = weights[2], weights[3]
        for i in range(begin, end):
            j = np.uint64(i)
            p = base + np.uint64(first[j])
            a = w0[j] * source[p] + w1[j] * source[p + one]
            target[out + j] = a + w2[j] * source[p + two] + w3[j] * source[p + three]
    else:
        _one_by_one(source, base, windows, weights, begin, end, target, out)


@njit
def _plane(source, start, numbers, height, width, scratch, begin, end, target, place):
    """Fill the rows `begin` to `end` of a plane of the output from one of the input, that begins at `start`.

    The first of these rows is written at `place`.
    """
    W, oW = numbers[2], numbers[5]
    rows_first, copies, keeps = numbers[6], numbers[7], numbers[9]
    (windows, weights), (row, ahead) = height, scratch
    first, count = windows[0], windows[1]
    out, previous = place, np.int64(-1)
    if copies or keeps or rows_first:
        for i in range(begin, end):
            h = first[i]
            if copies:
                if h == previous:
                    copy(target, out - oW, target, out, oW)
                else:
                    _along(source, start + h * W, numbers, width[0], width[1], target, out)
                previous = h
            elif keeps:
                _combine(source, start + h * W, W, count[i], weights, i, target, out, oW)
            elif count[i] == 0:
                fill(target.dtype.type(0), target, out, oW)
            else:
                _combine(source, start + h * W, W, count[i], weights, i, row, ZERO, W)
                _along(row, ZERO, numbers, width[0], width[1], target, out)
            out += oW
        return
    i = begin
    while i < end:
        low, high, stop = _span(first, count, i, end, ahead.size // oW)
        for h in range(low, high):
            _along(source, start + h * W, numbers, width[0], width[1], ahead, (h - low) * oW)
        while i < stop:
            _combine(ahead, (first[i] - low) * oW, oW, count[i], weights, i, target, out, oW)
            i += 1
            out += oW


@njit
def _span(first, count, begin, end, rows):
    """Return (low, high, stop): the outputs from `begin` to `stop` need the inputs `low` to `high`, so many at most."""
    low, high = np.int64(-1), np.int64(0)
    for i in range(begin, end):
        if count[i] > 0:
            if low < 0:
                low = first[i]
            elif first[i] + count[i] - low > rows:
                return low, high, i
            high = first[i] + count[i]
    return max(low, 0), high, end


@njit
def _scratch(x, numbers, taps):
    """Return scratch for a row of the input, and for rows of the output."""
    oW = numbers[5]
    return np.empty(numbers[2], x.dtype), np.empty(max(taps, SCRATCH // oW) * oW, x.dtype)


def _fill_rows(x, numbers, depth, depth_weights, height, height_weights, width, width_weights, y, begin, end):
    """Fill the output rows `begin` to `end`, counted through all planes, where slices are copied."""
    D, H, W, oD, oH, oW = numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5]
    scratch = _scratch(x, numbers, height_weights.shape[0])
    rows, columns = (height, height_weights), (width, width_weights)
    while begin < end:
        plane, d, h = begin // (oD * oH), begin // oH % oD, begin % oH
        stop = min(oH, h + end - begin)
        start = (plane * D + depth[0, d]) * H * W
        _plane(x, start, numbers, rows, columns, scratch, h, stop, y, begin * oW)
        begin += stop - h


def _fill_stacks(x, numbers, depth, depth_weights, height, height_weights, width, width_weights, y, begin, end):
    """Fill some rows of all slices of the output: those from `begin` to `end` when a plane counts as one slice."""
    D, H, W, oD, oH, oW = numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5]
    scratch = _scratch(x, numbers, height_weights.shape[0])
    rows, columns = (height, height_weights), (width, width_weights)
    first, count = depth[0], depth[1]
    many = max(1, min(oH, 2 * SCRATCH // (D * oW)))
    stack, ready = np.empty(D * many * oW, x.dtype), np.empty(D, np.uint8)
    while begin < end:
        plane, h = begin // oH, begin % oH
        stop = min(oH, h + min(end - begin, many))
        length = (stop - h) * oW
        ready[:] = 0
        for d in range(oD):
            for s in range(first[d], first[d] + count[d]):
                if not ready[s]:
                    start = (plane * D + s) * H * W
                    _plane(x, start, numbers, rows, columns, scratch, h, stop, stack, s * length)
                    ready[s] = 1
            out = ((plane * oD + d) * oH + h) * oW
            _combine(stack, first[d] * length, length, count[d], depth_weights, d, y, out, length)
        begin += stop - h


def _fill_copies(x, sizes, depth, height, width, y, begin, end):
    """Fill the output rows `begin` to `end`, counted through all planes, with copies of elements."""
    D, H, W, oD, oH, oW = sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5]
    previous = np.int64(-1)
    for row in range(begin, end):
        plane, d, h = row // (oD * oH), row // oH % oD, row % oH
        source, out = (plane * D + depth[0, d]) * H + height[0, h], row * oW
        if source == previous:
            copy(y, out - oW, y, out, oW)
        elif sizes[6]:
            copy(x, source * W, y, out, oW)
        else:
            first, target = np.uint64(source * W), np.uint64(out)
            for i in range(oW):
                j = np.uint64(i)
                y[target + j] = x[first + np.uint64(width[0, j])]
        previous = source


@njit
def _byte(total, bits):
    """Round a sum of bytes times fixed-point weights to a byte."""
    return np.uint8(min(max((total + (1 << (bits - 1))) >> bits, 0), 255))


def _fill_bytes(x, sizes, height, height_weights, width, width_weights, y, begin, end):
    """Fill the output rows `begin` to `end`, counted through all planes, of images of bytes."""
    H, W, oH, oW, height_bits, width_bits = sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5]
    rows = max(height_weights.shape[0], SCRATCH // oW)
    ahead, sums = np.empty((rows, oW), np.uint8), np.empty(oW, np.int32)
    while begin < end:
        plane, h = begin // oH, begin % oH
        low, high, stop = _span(height[0], height[1], h, min(oH, h + end - begin), rows)
        for row in range(low, high):
            source, target = x[(plane * H + row) * W : (plane * H + row + 1) * W], ahead[row - low]
            for i in range(oW):
                total = np.int32(0)
                for tap in range(width[1, i]):
                    total += width_weights[tap, i] * np.int32(source[width[0, i] + tap])
                target[i] = _byte(total, width_bits)
        for i in range(h, stop):
            sums[:] = 0
            for tap in range(height[1, i]):
                row, weight = ahead[height[0, i] - low + tap], height_weights[tap, i]
                for j in range(oW):
                    sums[j] += weight * np.int32(row[j])
            target = y[(plane * oH + i) * oW : (plane * oH + i + 1) * oW]
            for j in range(oW):
                target[j] = _byte(sums[j], height_bits)
        begin += stop - h


_bytes = RangeKernel(_fill_bytes, PARALLEL_WORK)
_copies = RangeKernel(_fill_copies, PARALLEL_WORK)
_rows = RangeKernel(_fill_rows, PARALLEL_WORK)
_stacks = RangeKernel(_fill_stacks, PARALLEL_WORK)
