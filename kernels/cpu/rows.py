"""Rows of planes: how pooling and padding divide their work, and the sums along a row that several poolings share.

A plane is one channel of one image. Work is cut into runs of rows (of the output in a forward pass, of the input in a
backward pass); a run writes its own rows only, so results do not depend on the cut.
"""

import functools
from typing import Any

import numpy as np
from nbtorch.kernels.geometry import volume
from nbtorch.kernels.jit import njit
from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic
from numba.np.unsafe.ndarray import to_fixed_tuple

PARALLEL_WORK = 1 << 16
"""Elements visited above which a pass takes longer than waking the threads."""


def planes(array: np.ndarray) -> np.ndarray:
    """View (N, C, *) as (N·C, D, H, W)."""
    return array.reshape(_planes_shape(array.shape))


@functools.lru_cache(maxsize=1024)
def _planes_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape[0] * shape[1], *volume(shape[2:])


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


def _borrowed_model(array: np.ndarray) -> np.ndarray:
    """Return an array without a share in its memory, for `NUMBA_DISABLE_JIT=1` itself."""
    return array


def _borrowed_intrinsic(typing_context, array):
    """Return an array without a share in its memory, which somebody else must own meanwhile.

    Numba counts references to arrays that are handed to functions with loops, atomically, inlined or not: several
    hundred cycles for a row.
    """

    def emit(context, builder, signature, arguments):
        view = context.make_array(array)(context, builder, arguments[0])
        view.meminfo, view.parent = (cgutils.get_null_value(field.type) for field in (view.meminfo, view.parent))
        return view._getvalue()

    return array(array), emit


def _keep_model(arrays: tuple[np.ndarray, ...]) -> None:
    """Do nothing, for `NUMBA_DISABLE_JIT=1`."""


def _keep_intrinsic(typing_context, arrays):
    """Own arrays up to here that were borrowed from."""
    return types.none(arrays), lambda context, builder, signature, arguments: context.get_dummy_value()


borrowed = _borrowed_model if config.DISABLE_JIT else intrinsic(_borrowed_intrinsic)
keep = _keep_model if config.DISABLE_JIT else intrinsic(_keep_intrinsic)


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
def sum_rows(source, start, count, step, width, first, target, offset):
    """Write the sum of rows that begin `step` apart to `target`, or add it there unless they are the first."""
    place, done = np.uint64(offset), 0
    while done < count:
        a = np.uint64(start + done * step)
        b, c = a + np.uint64(step), a + np.uint64(2 * step)
        if first and done == 0:
            if count == 1:
                copy(source, start, target, offset, width)
                done = 1
            elif count == 2:
                for i in range(width):
                    target[place + np.uint64(i)] = source[a + np.uint64(i)] + source[b + np.uint64(i)]
                done = 2
            else:
                for i in range(width):
                    both = source[a + np.uint64(i)] + source[b + np.uint64(i)]
                    target[place + np.uint64(i)] = both + source[c + np.uint64(i)]
                done = 3
        elif count - done == 1:
            add(source, start + done * step, target, offset, width)
            done += 1
        else:
            for i in range(width):
                sums = target[place + np.uint64(i)] + source[a + np.uint64(i)]
                target[place + np.uint64(i)] = sums + source[b + np.uint64(i)]
            done += 2


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
def _sum_taps(columns, begin, kernel_size, stride, sums, start, count):
    """Sum windows of a size and stride that are constants where this is called, so that all is unrolled."""
    step, first, place = np.uint64(stride), np.uint64(begin), np.uint64(start)
    for window in range(count):
        column, result = first + np.uint64(window) * step, sums.dtype.type(0)
        for tap in range(kernel_size):
            result += columns[column + np.uint64(tap)]
        sums[place + np.uint64(window)] = result


@njit
def window_sums(columns, begin, kernel_size, stride, sums, start, count):
    """Write sums[start + i] = the sum of `kernel_size` columns from begin + i·stride on, for `count` windows."""
    if stride == 1:
        copy(columns, begin, sums, start, count)
        for tap in range(1, kernel_size):
            add(columns, begin + tap, sums, start, count)
    elif kernel_size == 2 and stride == 2:
        _sum_taps(columns, begin, 2, 2, sums, start, count)
    elif kernel_size == 3 and stride == 2:
        _sum_taps(columns, begin, 3, 2, sums, start, count)
    elif kernel_size == 3 and stride == 3:
        _sum_taps(columns, begin, 3, 3, sums, start, count)
    elif kernel_size == 4 and stride == 4:
        _sum_taps(columns, begin, 4, 4, sums, start, count)
    elif kernel_size >= 16:
        for i in range(count):
            sums[start + i] = total(columns, begin + i * stride, begin + i * stride + kernel_size)
    else:
        _sum_taps(columns, begin, kernel_size, stride, sums, start, count)


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
    if kernel_size == 3 and stride == 2:
        target[0], target[1], target[2 * count] = columns[0], columns[0], columns[count - 1]
        for window in range(1, count):
            place = np.uint64(window)
            start, value = place + place, columns[place]
            target[start], target[start + np.uint64(1)] = value + columns[place - np.uint64(1)], value
        return
    target[: (count - 1) * stride + kernel_size] = 0
    if stride == 1:
        for tap in range(kernel_size):
            row = target[tap : tap + count]
            for i in range(count):
                row[i] += columns[i]
    else:
        for window in range(count):
            for place in range(window * stride, window * stride + kernel_size):
                target[place] += columns[window]
