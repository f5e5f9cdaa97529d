"""Where a sample of a grid lies along one axis: scalar arithmetic that CPU and CUDA kernels share.

A grid runs from -1 to 1 over an axis: from edge to edge, or with aligned corners from the centre of the first element
to that of the last one. Positions are in elements, the first at 0.
"""

from nbtorch.kernels.elementary import number
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
    if at != at:
        return number(otherwise, at), zero
    if at <= zero:
        return zero, zero
    if at >= last:
        return last, zero
    return at, number(1, at)


@njit
def reflected(at, extent, align_corners, otherwise):
    """Return a position reflected at the edges until it lies inside, and the slope of that."""
    low = number(0, at) if align_corners else number(-0.5, at)
    span = number(extent - 1 if align_corners else extent, at)
    if span == number(0, at):
        return number(0, at), number(0, at)
    distance, sign = at - low, number(1, at)
    if distance < number(0, at):
        distance, sign = -distance, -sign
    flips = distance / span
    if not flips < number(1 << 30, at):
        return clipped(flips - flips, extent, otherwise)
    whole = int(flips)
    inside = distance - number(whole, at) * span
    if whole % 2 == 1:
        inside, sign = span - inside, -sign
    place, factor = clipped(inside + low, extent, otherwise)
    return place, factor * sign


@njit
def padded(at, extent, padding_mode, align_corners, otherwise):
    """Return a position after padding, and the slope of that; zeros leave it where it is, but not far outside."""
    if padding_mode == BORDER:
        return clipped(at, extent, otherwise)
    if padding_mode == REFLECTION:
        return reflected(at, extent, align_corners, otherwise)
    if not at > number(-4, at):
        return number(-4, at), number(1, at)
    return min(at, number(extent + 4, at)), number(1, at)


@njit
def floor(at):
    """Return the largest whole number below a position of moderate size."""
    low = number(int(at), at)
    return low - number(1, at) if low > at else low


@njit
def nearest_even(at):
    """Return the nearest whole number, of two the even one."""
    low = floor(at)
    twice = (at - low) + (at - low)
    if twice < number(1, at) or (twice == number(1, at) and int(low) % 2 == 0):
        return low
    return low + number(1, at)


@njit
def tap(place, extent):
    """Return the number of an element, -1 if there is none."""
    element = int(place)
    return element if 0 <= element < extent else -1


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
