"""Scalar arithmetic that CPU and CUDA kernels share: one number in, one number out.

Each function is compiled into the kernel that calls it and stays callable from Python, so that a test can walk it
without a device. Index arithmetic works on any integer type.
"""

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
    return 0 if start >= 0 else ceil_div(-start, dilation)


@njit
def end_tap(start, extent, kernel_size, dilation):
    """Return the end of the taps t of a window at `start` with t < kernel_size and start + t·dilation < extent."""
    return 0 if start >= extent else min(kernel_size, ceil_div(extent - start, dilation))


@njit
def first_window(position, reach, stride):
    """Return the first window that may cover `position`, counted in the padded input; a window spans `reach`."""
    return 0 if position < reach else (position - reach) // stride + 1


@njit
def end_window(position, stride, windows):
    """Return the end of the windows (of so many) that start at or before `position`, counted in the padded input."""
    return min(windows, position // stride + 1)
