"""Where a sample of a grid lies along one axis: scalar arithmetic that CPU and CUDA kernels share.

A grid runs from -1 to 1 over an axis: from edge to edge, or with aligned corners from the centre of the first element
to that of the last one. Positions are in elements, the first at 0.
"""

import numpy as np
from nbtorch.kernels.elementary import number, select
from nbtorch.kernels.geometry import GRID_MODES, GRID_PADDING_MODES
from nbtorch.kernels.jit import njit

LINEAR, NEAREST, CUBIC = GRID_MODES.values()
ZEROS, BORDER, REFLECTION = GRID_PADDING_MODES.values()


@njit
def slope(extent, align_corners, like):
    """Return how many elements one step of the grid is."""
    return number(extent - 1 if align_corners else extent, like) / number(2, like)


@njit
def position(place, extent, align_corners):
    """Return the position of a place on the grid."""
    from_edge = (place + number(1, place)) * slope(extent, align_corners, place)
    return from_edge if align_corners else from_edge - number(0.5, place)


@njit
def clipped(at, extent, otherwise):
    """Return a position moved to the edge if it lies outside, and the slope of that; NaN goes to `otherwise`."""
    zero, last = number(0, at), number(extent - 1, at)
    place = select(at > zero, select(at < last, at, last), zero)
    return select(at == at, place, number(otherwise, at)), number((at > zero) & (at < last), at)


@njit
def reflected(at, extent, align_corners, otherwise):
    """Return a position reflected at the edges until it lies inside, and the slope of that."""
    zero = number(0, at)
    low = zero if align_corners else number(-0.5, at)
    span = number(extent - 1 if align_corners else extent, at)
    if span == zero:
        return zero, zero
    beyond = at - low
    distance = select(beyond < zero, -beyond, beyond)
    flips = distance / span
    finite = flips < number(1 << 30, at)
    whole = np.int32(select(finite, flips, zero))
    rest = distance - number(whole, at) * span
    odd = (whole & 1) == 1
    inside = select(finite, select(odd, span - rest, rest), flips - flips)
    place, factor = clipped(inside + low, extent, otherwise)
    return place, select(odd != (beyond < zero), -factor, factor)


@njit
def bounded(at, extent):
    """Return a position that lies not far outside if it did lie outside, or was NaN, and how it depends on it: as 1."""
    low, high = number(-4, at), number(extent + 4, at)
    return select(at > low, select(at < high, at, high), low), number(1, at)


@njit
def padded(at, extent, padding_mode, align_corners, otherwise):
    """Return a position after padding, and the slope of that; zeros leave it where it is, but not far outside."""
    if padding_mode == BORDER:
        return clipped(at, extent, otherwise)
    if padding_mode == REFLECTION:
        return reflected(at, extent, align_corners, otherwise)
    return bounded(at, extent)


@njit
def floor(at):
    """Return the largest whole number below a position of moderate size."""
    low = number(np.int32(at), at)
    return low - number(low > at, at)


@njit
def nearest_even(at):
    """Return the nearest whole number, of two the even one."""
    low = floor(at)
    twice = (at - low) + (at - low)
    up = (twice > number(1, at)) | ((twice == number(1, at)) & ((np.int32(low) & 1) == 1))
    return low + number(up, at)


@njit
def tap(place, extent):
    """Return the number of an element, -1 if there is none; int32."""
    element = np.int32(place)
    return select((element >= np.int32(0)) & (element < np.int32(extent)), element, np.int32(-1))


@njit
def cubic_tap(place, extent, padding_mode, align_corners):
    """Return the number of the element that stands for a neighbour in cubic interpolation, -1 if none does."""
    return tap(padded(place, extent, padding_mode, align_corners, 0)[0], extent)


@njit
def cubic_weights(t, a):
    """Return the weights of four neighbours at a place t after the second: Keys' kernel with the parameter a."""
    one, two, three, five, eight = number(1, a), number(2, a), number(3, a), number(5, a), number(8, a)
    x, z, w = t + one, one - t, two - t
    return (
        ((a * x - five * a) * x + eight * a) * x - (two + two) * a,
        ((a + two) * t - (a + three)) * t * t + one,
        ((a + two) * z - (a + three)) * z * z + one,
        ((a * w - five * a) * w + eight * a) * w - (two + two) * a,
    )


@njit
def cubic_slopes(t, a):
    """Return the derivatives of `cubic_weights` by t."""
    one, two, three, eight, ten = number(1, a), number(2, a), number(3, a), number(8, a), number(10, a)
    x, z, w = t + one, one - t, two - t
    return (
        (three * a * x - ten * a) * x + eight * a,
        (three * (a + two) * t - two * (a + three)) * t,
        -(three * (a + two) * z - two * (a + three)) * z,
        -((three * a * w - ten * a) * w + eight * a),
    )
