"""Elements and planes moved to other places on the CPU: channels to pixels, pixels to channels, channels among groups.

All arrays are C-contiguous, of one type. Elements are moved as bits, so that one kernel does for all types of a size.
"""

import numpy as np
from nbtorch.kernels.cpu.pad import moved_as
from nbtorch.kernels.cpu.ranges import RangeKernel
from nbtorch.kernels.cpu.rows import copy
from nbtorch.kernels.jit import njit

PARALLEL_WORK = 1 << 15
"""Elements moved above which it takes longer than waking the threads."""


def pixel_shuffle(channels: np.ndarray, factor: int, image: np.ndarray) -> None:
    """Write image[p, h·r + i, w·r + j] = channels[p, i, j, h, w]: `channels` (P, r, r, H, W), `image` (P, H·r, W·r)."""
    planes, _, _, height, width = channels.shape
    _to_pixels(planes * height, image.size, _bits(channels), height, width, factor, _bits(image))


def pixel_unshuffle(image: np.ndarray, factor: int, channels: np.ndarray) -> None:
    """Write channels[p, i, j, h, w] = image[p, h·r + i, w·r + j], the inverse of `pixel_shuffle`."""
    planes, _, _, height, width = channels.shape
    _to_channels(planes * height, image.size, _bits(image), height, width, factor, _bits(channels))


def channel_shuffle(input: np.ndarray, output: np.ndarray) -> None:
    """Write output[n, k, g] = input[n, g, k]: `input` (N, groups, C / groups, size)."""
    batch, groups, each, size = input.shape
    _planes(batch * groups * each, output.size, _bits(input), groups, each, size, _bits(output))


def _bits(array: np.ndarray) -> np.ndarray:
    return array.reshape(-1).view(moved_as(array.dtype))


def _fill_pixels(x, height, width, factor, y, begin, end):
    """Fill the rows of the image that come from the rows `begin` to `end` of a channel, counted through all planes."""
    for row in range(begin, end):
        plane, h = row // height, row % height
        for i in range(factor):
            source = ((plane * factor + i) * factor * height + h) * width
            _interleave(x, source, height * width, width, factor, y, (row * factor + i) * width * factor)


def _fill_channels(x, height, width, factor, y, begin, end):
    """Fill the rows `begin` to `end` of a channel, counted through all planes, of all channels."""
    for row in range(begin, end):
        plane, h = row // height, row % height
        for i in range(factor):
            target = ((plane * factor + i) * factor * height + h) * width
            _part(x, (row * factor + i) * width * factor, width, factor, y, target, height * width)


@njit
def _interleave(x, start, apart, count, factor, y, place):
    """Write the elements of `factor` rows that lie `apart` in turns, `count` of each."""
    first, step, target = np.uint64(start), np.uint64(apart), np.uint64(place)
    if factor == 2:
        second, two = first + step, np.uint64(2)
        for w in range(count):
            j = np.uint64(w)
            y[target + two * j], y[target + two * j + np.uint64(1)] = x[first + j], x[second + j]
    elif factor == 4:
        second, third, fourth, four = first + step, first + step + step, first + step + step + step, np.uint64(4)
        for w in range(count):
            j = np.uint64(w)
            k = target + four * j
            y[k], y[k + np.uint64(1)] = x[first + j], x[second + j]
            y[k + np.uint64(2)], y[k + np.uint64(3)] = x[third + j], x[fourth + j]
    else:
        for _ in range(factor):
            for w in range(count):
                y[target + np.uint64(w * factor)] = x[first + np.uint64(w)]
            first += step
            target += np.uint64(1)


@njit
def _part(x, start, count, factor, y, place, apart):
    """Write the elements of one row in turns to `factor` rows that lie `apart`."""
    source, first, step = np.uint64(start), np.uint64(place), np.uint64(apart)
    if factor == 2:
        second, two = first + step, np.uint64(2)
        for w in range(count):
            j = np.uint64(w)
            y[first + j], y[second + j] = x[source + two * j], x[source + two * j + np.uint64(1)]
    elif factor == 4:
        second, third, fourth, four = first + step, first + step + step, first + step + step + step, np.uint64(4)
        for w in range(count):
            j = np.uint64(w)
            k = source + four * j
            y[first + j], y[second + j] = x[k], x[k + np.uint64(1)]
            y[third + j], y[fourth + j] = x[k + np.uint64(2)], x[k + np.uint64(3)]
    else:
        for _ in range(factor):
            for w in range(count):
                y[first + np.uint64(w)] = x[source + np.uint64(w * factor)]
            first += step
            source += np.uint64(1)


def _fill_planes(x, groups, each, size, y, begin, end):
    """Fill the channels `begin` to `end` of the output, counted through all images."""
    for channel in range(begin, end):
        n, k, g = channel // (groups * each), channel // groups % each, channel % groups
        copy(x, ((n * groups + g) * each + k) * size, y, channel * size, size)


_to_pixels = RangeKernel(_fill_pixels, PARALLEL_WORK)
_to_channels = RangeKernel(_fill_channels, PARALLEL_WORK)
_planes = RangeKernel(_fill_planes, PARALLEL_WORK)
