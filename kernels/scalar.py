"""Scalar arithmetic that CPU and CUDA kernels share: one number in, one number out.

Each function is compiled into the kernel that calls it and stays callable from Python, so that a test can walk it
without a device. Index arithmetic works on any integer type.
"""

import numpy as np
from nbtorch.kernels.geometry import PAD_MODES
from nbtorch.kernels.jit import njit


@njit
def wins(value, best):
    """Say whether `value` takes the place of `best` in a maximum: it is larger, or it is NaN.

    Ties keep the first, and of several NaN the last one stands, as in PyTorch.
    """
    return (value > best) | (value != value)


@njit
def ceil_div(dividend, divisor):
    """Return dividend / divisor rounded up, for a dividend that is not negative."""
    return (dividend + divisor - 1) // divisor


@njit
def first_tap(start, dilation):
    """Return the first tap t of a window at `start` with start + t·dilation >= 0."""
    if start >= 0:
        return 0
    return -start if dilation == 1 else ceil_div(-start, dilation)


@njit
def end_tap(start, extent, kernel_size, dilation):
    """Return the end of the taps t of a window at `start` with t < kernel_size and start + t·dilation < extent."""
    if start >= extent:
        return 0
    return min(kernel_size, extent - start if dilation == 1 else ceil_div(extent - start, dilation))


@njit
def first_window(position, reach, stride):
    """Return the first window that may cover `position`, counted in the padded input; a window spans `reach`."""
    return 0 if position < reach else (position - reach) // stride + 1


@njit
def end_window(position, stride, windows):
    """Return the end of the windows (of so many) that start at or before `position`, counted in the padded input."""
    return min(windows, position // stride + 1)


@njit
def region_start(position, extent, regions):
    """Return where one of so many adaptive regions of an extent begins: floor(position · extent / regions).

    The regions that hold a given element are, with the two numbers exchanged, the element's own region among them.
    """
    return position * extent // regions


@njit
def region_end(position, extent, regions):
    """Return where one of so many adaptive regions of an extent ends: ceil((position + 1) · extent / regions)."""
    return ceil_div((position + 1) * extent, regions)


CONSTANT, REFLECT, REPLICATE, CIRCULAR = PAD_MODES.values()
"""What a border is made of."""


@njit
def pad_source(mode, position, extent):
    """Return the element of a padded dimension that `position` repeats, or -1 in a border of one value.

    Positions are counted from the first element, so they are negative in the border before it. Reflection and
    wrapping reach to the neighbouring copy and no further.
    """
    if 0 <= position < extent:
        return position
    if mode == CONSTANT:
        return -1
    if mode == REFLECT:
        return -position if position < 0 else 2 * (extent - 1) - position
    if mode == REPLICATE:
        return 0 if position < 0 else extent - 1
    return position + extent if position < 0 else position - extent


@njit
def pad_images(mode, element, extent, before, padded):
    """Return how many calls of `pad_image` find all positions of the padded dimension that repeat an element."""
    if mode == CONSTANT:
        return 1
    if mode != REPLICATE:
        return 3
    if extent == 1:
        return padded
    if element == 0:
        return min(before + 1, padded)
    return padded - max(0, element + before) if element == extent - 1 else 1


@njit
def pad_image(mode, number, element, extent, before, padded):
    """Return the position in the output (of so many) of an element's image of this number, or -1 where it has none."""
    if mode == REPLICATE:
        if extent == 1 or element == 0:
            return number
        position = max(0, element + before) + number if element == extent - 1 else element + before
        return position if 0 <= position < padded else -1
    if mode == CONSTANT or number == 1:
        position = element
    elif mode == REFLECT:
        if (element == 0 and number == 0) or (element == extent - 1 and number == 2):
            return -1  # the edge itself is not repeated
        position = -element if number == 0 else 2 * (extent - 1) - element
    else:
        position = element - extent if number == 0 else element + extent
    position += before
    return position if 0 <= position < padded else -1


WORD = np.uint64(0xFFFFFFFF)
GOLDEN, FIRST_FACTOR, SECOND_FACTOR = np.uint64(0x9E3779B1), np.uint64(0x7FEB352D), np.uint64(0x846CA68B)
FIFTEEN, SIXTEEN = np.uint64(15), np.uint64(16)


@njit
def mixed(first, second, number):
    """Return 32 random bits, as uint64, for a number and the two 32-bit keys of a sequence; also of arrays.

    Multiplications and shifts as in the finalisers of hash functions (the factors are those of C. Wellons' lowbias32);
    the second key comes in half way, so that sequences whose first keys are near each other do not resemble.
    """
    x = ((np.uint64(number) * GOLDEN) & WORD) ^ np.uint64(first)
    x = ((x ^ (x >> SIXTEEN)) * FIRST_FACTOR) & WORD
    x = ((x ^ (x >> FIFTEEN)) + np.uint64(second)) & WORD
    x = ((x ^ (x >> SIXTEEN)) * SECOND_FACTOR) & WORD
    return x ^ (x >> FIFTEEN)
