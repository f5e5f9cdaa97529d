"""Sliding blocks of images as columns, and columns summed up to images, on the CPU.

`image` is (P, H, W) and `columns` (P, kH, kW, oH, oW), both C-contiguous: P planes, one for each channel of each image,
and oH · oW blocks of kH · kW elements. The options are pairs, for rows and columns. A thread owns the rows it fills.
"""

import numpy as np
from nbtorch.kernels.cpu.pad import moved_as
from nbtorch.kernels.cpu.ranges import RangeKernel
from nbtorch.kernels.cpu.rows import as_tuple, copy, fill
from nbtorch.kernels.jit import njit

Pair = tuple[int, int]

PARALLEL_WORK = 1 << 15
"""Elements of the columns above which a pass takes longer than waking the threads."""


def unfold(image: np.ndarray, dilation: Pair, padding: Pair, stride: Pair, columns: np.ndarray) -> None:
    """Write the elements of the blocks, zeros where they lie in the padding; bits are moved, of any type."""
    planes, _, _, rows, _ = columns.shape
    bits = moved_as(columns.dtype)
    source, target = image.reshape(-1).view(bits), columns.reshape(-1).view(bits)
    _unfold(planes * rows, columns.size, source, _numbers(image, columns, dilation, padding, stride), target)


def fold(columns: np.ndarray, dilation: Pair, padding: Pair, stride: Pair, image: np.ndarray) -> None:
    """Write to each element of the images the sum of what the blocks that it belongs to have for it."""
    planes, rows, _ = image.shape
    _fold(
        planes * rows,
        columns.size,
        columns.reshape(-1),
        _numbers(image, columns, dilation, padding, stride),
        image.reshape(-1),
    )


def _numbers(image: np.ndarray, columns: np.ndarray, *options: Pair) -> np.ndarray:
    """Return the extents and options as kernels take them: of the rows, then of the columns."""
    pairs = zip(image.shape[1:], columns.shape[1:3], columns.shape[3:], *options, strict=True)
    return np.array([number for axis in pairs for number in axis])


@njit
def _inside(offset, stride, count, extent):
    """Return from which to which of `count` steps offset + step · stride lies within an extent."""
    begin = (stride - 1 - offset) // stride if offset < 0 else 0
    end = (extent - 1 - offset) // stride + 1 if offset < extent else 0
    begin = min(begin, count)
    return begin, max(min(end, count), begin)


def _fill_columns(image, numbers, columns, begin, end):
    """Fill in the columns what belongs to the rows `begin` to `end` of blocks, counted through all planes."""
    H, kH, oH, dilation_h, padding_h, stride_h = as_tuple(numbers, 6)
    W, kW, oW, dilation_w, padding_w, stride_w = (
        numbers[6],
        numbers[7],
        numbers[8],
        numbers[9],
        numbers[10],
        numbers[11],
    )
    zero, step = columns.dtype.type(0), np.uint64(stride_w)
    for unit in range(begin, end):
        plane, out_h = unit // oH, unit % oH
        for kernel_h in range(kH):
            h = out_h * stride_h + kernel_h * dilation_h - padding_h
            for kernel_w in range(kW):
                target, offset = (((plane * kH + kernel_h) * kW + kernel_w) * oH + out_h) * oW, kernel_w * dilation_w
                offset -= padding_w
                first, last = _inside(offset, stride_w, oW, W if 0 <= h < H else 0)
                fill(zero, columns, target, first)
                start = (plane * H + h) * W + offset + first * stride_w
                if stride_w == 1:
                    copy(image, start, columns, target + first, last - first)
                else:
                    source, place = np.uint64(start), np.uint64(target + first)
                    for w in range(last - first):
                        columns[place + np.uint64(w)] = image[source + np.uint64(w) * step]
                fill(zero, columns, target + last, oW - last)


def _fill_image(columns, numbers, image, begin, end):
    """Fill the rows `begin` to `end` of the images, counted through all planes."""
    H, kH, oH, dilation_h, padding_h, stride_h = as_tuple(numbers, 6)
    W, kW, oW, dilation_w, padding_w, stride_w = (
        numbers[6],
        numbers[7],
        numbers[8],
        numbers[9],
        numbers[10],
        numbers[11],
    )
    step, row = np.uint64(stride_w), np.empty(W, image.dtype)
    for unit in range(begin, end):
        plane, h = unit // H, unit % H
        row[:] = 0
        for kernel_h in range(kH):
            offset = h + padding_h - kernel_h * dilation_h
            out_h = offset // stride_h
            if offset < 0 or out_h >= oH or out_h * stride_h != offset:
                continue
            for kernel_w in range(kW):
                source, offset = (((plane * kH + kernel_h) * kW + kernel_w) * oH + out_h) * oW, kernel_w * dilation_w
                offset -= padding_w
                first, last = _inside(offset, stride_w, oW, W)
                start, place = np.uint64(source + first), np.uint64(offset + first * stride_w)
                if stride_w == 1:
                    for w in range(last - first):
                        row[place + np.uint64(w)] += columns[start + np.uint64(w)]
                else:
                    for w in range(last - first):
                        row[place + np.uint64(w) * step] += columns[start + np.uint64(w)]
        copy(row, np.int64(0), image, unit * W, W)


_unfold = RangeKernel(_fill_columns, PARALLEL_WORK)
_fold = RangeKernel(_fill_image, PARALLEL_WORK)
