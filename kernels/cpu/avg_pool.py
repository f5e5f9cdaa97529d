"""Average pooling on the CPU, forward and backward, for any rank and dtype.

All arrays are C-contiguous. `input` is (N, C, D, H, W) and `output` (N, C, oD, oH, oW); a problem of fewer dimensions
has unit extents in front. A window's sum is divided by its number of elements, those in the padding included if
`count_include_pad` says so, or by `divisor` where that is not 0. Integers are divided towards zero.

Sums are separable: the rows of a window are added element by element into a row of scratch that has zeros for the
padding, along which the windows' sums are taken. Neither loop has a branch.
"""

import functools
import math

import numpy as np
from nbtorch.kernels import scalar
from nbtorch.kernels.cpu.ranges import RangeKernel
from nbtorch.kernels.cpu.rows import PARALLEL_WORK, add_row, as_tuple, planes, spread, window_sums
from nbtorch.kernels.jit import njit

Triple = tuple[int, int, int]


def avg_pool_forward(
    input: np.ndarray,
    kernel_size: Triple,
    stride: Triple,
    padding: Triple,
    count_include_pad: bool,
    divisor: int,
    output: np.ndarray,
) -> None:
    """Write the mean of every window of `input` to `output`."""
    if output.size == 0:
        return
    rows = math.prod(output.shape[:4])
    window = _window(kernel_size, stride, padding, count_include_pad, divisor)
    _forward(rows, input.size + output.size, planes(input), planes(output), window)


def avg_pool_backward(
    grad_output: np.ndarray,
    kernel_size: Triple,
    stride: Triple,
    padding: Triple,
    count_include_pad: bool,
    divisor: int,
    grad_input: np.ndarray,
) -> None:
    """Write to `grad_input` (N, C, D, H, W) the sum of `grad_output` over the windows of each element, each divided."""
    if grad_input.size == 0:
        return
    rows = math.prod(grad_input.shape[:4])
    window = _window(kernel_size, stride, padding, count_include_pad, divisor)
    _backward(rows, grad_input.size + grad_output.size, planes(grad_output), planes(grad_input), window)


@functools.lru_cache(maxsize=1024)
def _window(kernel_size: Triple, stride: Triple, padding: Triple, include_pad: bool, divisor: int) -> np.ndarray:
    """Return what the kernels need to know of the windows as one array."""
    return np.array((*kernel_size, *stride, *padding, int(include_pad), divisor))


@njit
def clipped(position, stride, padding, kernel_size, extent, include_pad):
    """Return (begin, end, size) of a window: where it lies in the input, and how many elements it counts."""
    start = position * stride - padding
    stop = min(start + kernel_size, extent + padding)
    begin, end = max(start, 0), min(stop, extent)
    return begin, end, stop - start if include_pad else end - begin


@njit
def window_widths(window, extent, widths):
    """Fill in how many elements each window of a row counts."""
    for i in range(widths.size):
        widths[i] = clipped(i, window[5], window[8], window[2], extent, window[9])[2]


def _forward_rows(x, y, window, begin, end):
    """Pool the output rows `begin` to `end`, counted through all planes."""
    kD, kH, kW, sD, sH, sW, pD, pH, pW, include_pad, divisor = as_tuple(window, 11)
    _, D, H, W = x.shape
    _, oD, oH, oW = y.shape
    length = (oW - 1) * sW + kW
    columns, widths = np.zeros(max(length, pW + W), x.dtype), np.ones(oW, x.dtype)
    if divisor == 0:
        window_widths(window, W, widths)
    for row in range(begin, end):
        plane, out_d, out_h = row // (oD * oH), row // oH % oD, row % oH
        d_begin, d_end, size_d = clipped(out_d, sD, pD, kD, D, include_pad)
        h_begin, h_end, size_h = clipped(out_h, sH, pH, kH, H, include_pad)
        means = y[plane, out_d, out_h]
        if pW == 0 and length <= W and (d_end - d_begin) * (h_end - h_begin) == 1:
            window_sums(x[plane, d_begin, h_begin], kW, sW, means)
        else:
            for d in range(d_begin, d_end):
                for h in range(h_begin, h_end):
                    add_row(x[plane, d, h], pW, d == d_begin and h == h_begin, columns)
            window_sums(columns, kW, sW, means)
        size = means.dtype.type(divisor if divisor != 0 else size_d * size_h)
        for i in range(oW):
            means[i] = means[i] / (size * widths[i])


def _backward_rows(grads, grad_x, window, begin, end):
    """Fill the rows `begin` to `end` of the input's gradient, counted through all planes.

    Rows that the same windows cover are equal and copied.
    """
    kD, kH, kW, sD, sH, sW, pD, pH, pW, include_pad, divisor = as_tuple(window, 11)
    _, D, H, W = grad_x.shape
    _, oD, oH, oW = grads.shape
    columns, widths = np.empty(oW, grad_x.dtype), np.ones(oW, grad_x.dtype)
    padded = np.zeros(max((oW - 1) * sW + kW, pW + W), grad_x.dtype)
    if divisor == 0:
        window_widths(window, W, widths)
    flat = grad_x.reshape(grad_x.shape[0] * D * H, W)
    covering = (-1, -1, -1, -1, -1)
    for row in range(begin, end):
        plane, d, h = row // (D * H), row // H % D, row % H
        first_d, end_d = scalar.first_window(d + pD, kD, sD), scalar.end_window(d + pD, sD, oD)
        first_h, end_h = scalar.first_window(h + pH, kH, sH), scalar.end_window(h + pH, sH, oH)
        previous, covering = covering, (plane, first_d, end_d, first_h, end_h)
        grad = flat[row]
        if covering == previous:
            grad[:] = flat[row - 1]
        elif first_d >= end_d or first_h >= end_h:
            grad[:] = 0
        else:
            for out_d in range(first_d, end_d):
                for out_h in range(first_h, end_h):
                    size = divisor
                    if divisor == 0:
                        size_d = clipped(out_d, sD, pD, kD, D, include_pad)[2]
                        size = size_d * clipped(out_h, sH, pH, kH, H, include_pad)[2]
                    _add_shares(
                        grads[plane, out_d, out_h], size, widths, out_d == first_d and out_h == first_h, columns
                    )
            spread(columns, kW, sW, padded)
            inner = padded[pW : pW + W]
            for w in range(W):
                grad[w] = inner[w]


@njit(forceinline=True)
def _add_shares(grads, size, widths, first, columns):
    """Add to the columns what each window of a row gives to one of its elements."""
    height = columns.dtype.type(size)
    if first:
        for i in range(columns.size):
            columns[i] = grads[i] / (height * widths[i])
    else:
        for i in range(columns.size):
            columns[i] += grads[i] / (height * widths[i])


_forward = RangeKernel(_forward_rows, PARALLEL_WORK)
_backward = RangeKernel(_backward_rows, PARALLEL_WORK)
