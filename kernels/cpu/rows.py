"""Rows of planes: how pooling and padding divide their work, and the sums along a row that several poolings share.

A plane is one channel of one image. Work is cut into runs of rows (of the output in a forward pass, of the input in a
backward pass); a run writes its own rows only, so results do not depend on the cut.
"""

from typing import Any

import numpy as np
from nbtorch.kernels.jit import njit
from numba.core import config
from numba.extending import intrinsic
from numba.np.unsafe.ndarray import to_fixed_tuple

PARALLEL_WORK = 1 << 16
"""Elements visited above which a pass takes longer than waking the threads."""


def planes(array: np.ndarray) -> np.ndarray:
    """View (N, C, D, H, W) as (N·C, D, H, W)."""
    shape = array.shape
    return array.reshape(shape[0] * shape[1], *shape[2:])


def _as_tuple_model(numbers: np.ndarray, count: int) -> tuple[int, ...]:
    """Return the numbers of an array as a tuple of known length; for `NUMBA_DISABLE_JIT=1`."""
    return tuple(map(int, numbers[:count]))


as_tuple = _as_tuple_model if config.DISABLE_JIT else to_fixed_tuple


def _choose_model(condition: Any, chosen: Any, other: Any) -> Any:
    """Return `chosen` where the condition holds, else `other`; for `NUMBA_DISABLE_JIT=1`."""
    return chosen if condition else other


def _choose_intrinsic(typing_context, condition, chosen, other):
    """Emit a selection. Of a conditional expression the compiler makes branches, which it may fail to undo."""

    def emit(context, builder, signature, arguments):
        return builder.select(*arguments)

    return chosen(condition, chosen, chosen), emit


choose = _choose_model if config.DISABLE_JIT else intrinsic(_choose_intrinsic)


@njit
def locate(row, D, H):
    """Return (plane, d, h) of a row counted through all planes."""
    return row // (D * H), row // H % D, row % H


@njit(forceinline=True)
def following(position, D, H):
    """Return where the row after (plane, d, h) is; divisions take longer than some rows."""
    plane, d, h = position
    if h + 1 < H:
        return plane, d, h + 1
    if d + 1 < D:
        return plane, d + 1, 0
    return plane + 1, 0, 0


@njit(forceinline=True)
def fill(value, target, start, count):
    """Write a value to so many places of a flat array."""
    first = np.uint64(start)
    for i in range(count):
        target[first + np.uint64(i)] = value


@njit(forceinline=True)
def copy(source, source_start, target, start, count):
    """Copy so many elements of one flat array to another."""
    first, source_first = np.uint64(start), np.uint64(source_start)
    for i in range(count):
        target[first + np.uint64(i)] = source[source_first + np.uint64(i)]


@njit(forceinline=True)
def add(source, source_start, target, start, count):
    """Add so many elements of one flat array to those of another."""
    first, source_first = np.uint64(start), np.uint64(source_start)
    for i in range(count):
        target[first + np.uint64(i)] += source[source_first + np.uint64(i)]


@njit(forceinline=True)
def add_row(row, offset, first, target):
    """Write `row` to `target` from `offset` on, or, unless it is the first, add it there."""
    place = target[offset : offset + row.size]
    if first:
        for i in range(row.size):
            place[i] = row[i]
    else:
        for i in range(row.size):
            place[i] += row[i]


@njit(forceinline=True)
def _plus(sums, values, i):
    """Return eight sums, each with the next value added: a vector, in the compiler's eyes."""
    return (
        sums[0] + values[i],
        sums[1] + values[i + np.uint64(1)],
        sums[2] + values[i + np.uint64(2)],
        sums[3] + values[i + np.uint64(3)],
        sums[4] + values[i + np.uint64(4)],
        sums[5] + values[i + np.uint64(5)],
        sums[6] + values[i + np.uint64(6)],
        sums[7] + values[i + np.uint64(7)],
    )


@njit(fastmath={"contract", "reassoc"})
def _sum_whole(values, begin, count):
    """Return the sum of a multiple of 32 values, in an order that the compiler chose once and for all."""
    result, first = values.dtype.type(0), np.uint64(begin)
    for i in range(count):
        result += values[first + np.uint64(i)]
    return result


@njit
def total(values, begin, end):
    """Return the sum of values[begin:end]: most of them in vectors, and the rest eight by eight and one by one."""
    whole = (end - begin) // 32 * 32
    result = _sum_whole(values, begin, whole) if whole else values.dtype.type(0)
    i, stop = np.uint64(begin + whole), np.uint64(end)
    if i + np.uint64(8) <= stop:
        zero = values.dtype.type(0)
        sums = (zero, zero, zero, zero, zero, zero, zero, zero)
        while i + np.uint64(8) <= stop:
            sums = _plus(sums, values, i)
            i += np.uint64(8)
        result += ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]))
    while i < stop:
        result += values[i]
        i += np.uint64(1)
    return result


@njit(forceinline=True)
def _sum_taps(columns, kernel_size, stride, sums):
    """Sum windows of a size and stride that are constants where this is called, so that all is unrolled."""
    step = np.uint64(stride)
    for window in range(sums.size):
        start, result = np.uint64(window) * step, sums.dtype.type(0)
        for tap in range(kernel_size):
            result += columns[start + np.uint64(tap)]
        sums[window] = result


@njit
def window_sums(columns, kernel_size, stride, sums):
    """Write sums[i] = columns[i·stride] + … + columns[i·stride + kernel_size - 1]; `columns` holds all of them."""
    if stride == 1:
        sums[:] = 0
        for tap in range(kernel_size):
            row = columns[tap : tap + sums.size]
            for i in range(sums.size):
                sums[i] += row[i]
    elif kernel_size == 2 and stride == 2:
        _sum_taps(columns, 2, 2, sums)
    elif kernel_size == 3 and stride == 2:
        _sum_taps(columns, 3, 2, sums)
    elif kernel_size == 3 and stride == 3:
        _sum_taps(columns, 3, 3, sums)
    elif kernel_size == 4 and stride == 4:
        _sum_taps(columns, 4, 4, sums)
    elif kernel_size >= 16:
        for i in range(sums.size):
            sums[i] = total(columns, i * stride, i * stride + kernel_size)
    else:
        _sum_taps(columns, kernel_size, stride, sums)


@njit(forceinline=True)
def _repeat(columns, stride, target):
    """Write every element so many times; a constant where this is called."""
    step = np.uint64(stride)
    for window in range(columns.size):
        start = np.uint64(window) * step
        for tap in range(stride):
            target[start + np.uint64(tap)] = columns[window]


@njit
def spread(columns, kernel_size, stride, target):
    """Add columns[i] to target[i·stride], …, target[i·stride + kernel_size - 1], after filling it with zeros.

    The transpose of `window_sums`. Where the windows leave nothing out and do not overlap, no zeros are written.
    """
    count = columns.size
    if kernel_size == stride:
        if stride == 2:
            _repeat(columns, 2, target)
        elif stride == 3:
            _repeat(columns, 3, target)
        elif stride == 4:
            _repeat(columns, 4, target)
        else:
            for window in range(count):
                target[window * stride : (window + 1) * stride] = columns[window]
        return
    target[: (count - 1) * stride + kernel_size] = 0
    if stride == 1:
        for tap in range(kernel_size):
            row = target[tap : tap + count]
            for i in range(count):
                row[i] += columns[i]
    elif kernel_size == 3 and stride == 2:
        previous = columns.dtype.type(0)
        for window in range(count):
            start, value = np.uint64(2 * window), columns[window]
            target[start], target[start + np.uint64(1)] = value + previous, value
            previous = value
        target[2 * count] = previous
    else:
        for window in range(count):
            for place in range(window * stride, window * stride + kernel_size):
                target[place] += columns[window]
