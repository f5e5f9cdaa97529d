"""Power-average pooling on the CPU, forward and backward, for any rank and dtype.

All arrays are C-contiguous: `input` (N, C, D, H, W), `output` (N, C, oD, oH, oW); a problem of fewer dimensions has
unit extents in front. With m the number of elements that a window has inside the input and K its full number,

    output = (K/m · Σ x^p)^(1/p),

where K ≠ m only for windows that hang over the end. As in PyTorch powers are taken of the elements themselves, so
negative ones give NaN for fractional p, and a negative sum for odd p; where the sum is 0 so is the gradient.

One pass each way: powers are taken while the rows of a window are added up (see `avg_pool`).
"""

import math

import numpy as np
from nbtorch.kernels import scalar
from nbtorch.kernels.cpu.avg_pool import clipped
from nbtorch.kernels.cpu.ranges import RangeKernel
from nbtorch.kernels.cpu.rows import PARALLEL_WORK, as_tuple, planes, spread, window_sums
from nbtorch.kernels.jit import njit

Triple = tuple[int, int, int]


def lp_pool_forward(
    input: np.ndarray, norm_type: float, kernel_size: Triple, stride: Triple, output: np.ndarray
) -> None:
    """Write the power average of every window of `input` to `output`."""
    if output.size == 0:
        return
    rows = math.prod(output.shape[:4])
    window = np.array((*kernel_size, *stride))
    _forward(rows, input.size + output.size, planes(input), planes(output), window, float(norm_type))


def lp_pool_backward(
    grad_output: np.ndarray,
    input: np.ndarray,
    output: np.ndarray,
    norm_type: float,
    kernel_size: Triple,
    stride: Triple,
    grad_input: np.ndarray,
) -> None:
    """Write the gradient of `input`: x^(p-1) · Σ K/m · grad_output · output^(1-p) over the windows of each element."""
    if grad_input.size == 0:
        return
    rows = math.prod(grad_input.shape[:4])
    arrays = planes(grad_output), planes(grad_input), planes(input), planes(output)
    window = np.array((*kernel_size, *stride))
    _backward(rows, grad_input.size + grad_output.size, *arrays, window, float(norm_type))


@njit
def _powers(x, p, result):
    """Write x^p to `result`, with multiplications and square roots where they do."""
    if p == 1:
        for i in range(x.size):
            result[i] = x[i]
    elif p == 2:
        for i in range(x.size):
            result[i] = x[i] * x[i]
    elif p == 3:
        for i in range(x.size):
            result[i] = x[i] * x[i] * x[i]
    elif p == 0.5:
        for i in range(x.size):
            result[i] = np.sqrt(x[i])
    elif p == 1.5:
        for i in range(x.size):
            power = x[i] * np.sqrt(x[i])
            result[i] = math.inf if x[i] == -math.inf else power
    elif p == 4:
        for i in range(x.size):
            square = x[i] * x[i]
            result[i] = square * square
    elif p == -1:
        for i in range(x.size):
            result[i] = 1 / x[i]
    elif p == -2:
        for i in range(x.size):
            result[i] = 1 / (x[i] * x[i])
    elif p == -0.5:
        for i in range(x.size):
            result[i] = 1 / np.sqrt(x[i])
    elif p == 0:
        result[:] = 1
    else:
        exponent = x.dtype.type(p)
        for i in range(x.size):
            result[i] = x[i] ** exponent


def _forward_rows(x, y, window, p, begin, end):
    """Pool the output rows `begin` to `end`, counted through all planes."""
    kD, kH, kW, sD, sH, sW = as_tuple(window, 6)
    _, D, H, W = x.shape
    _, oD, oH, oW = y.shape
    columns = np.zeros(max((oW - 1) * sW + kW, W), x.dtype)
    inside, powers, scales = columns[:W], np.empty(W, x.dtype), np.empty(oW, x.dtype)
    for i in range(oW):
        scales[i] = y.dtype.type(kW) / (min(i * sW + kW, W) - i * sW)
    for row in range(begin, end):
        plane, out_d, out_h = row // (oD * oH), row // oH % oD, row % oH
        d_begin, d_end, size_d = clipped(out_d, sD, 0, kD, D, False)
        h_begin, h_end, size_h = clipped(out_h, sH, 0, kH, H, False)
        for d in range(d_begin, d_end):
            for h in range(h_begin, h_end):
                if d == d_begin and h == h_begin:
                    _powers(x[plane, d, h], p, inside)
                else:
                    _powers(x[plane, d, h], p, powers)
                    for w in range(W):
                        inside[w] += powers[w]
        norms = y[plane, out_d, out_h]
        window_sums(columns, kW, sW, norms)
        scale = norms.dtype.type(kD * kH) / (size_d * size_h)
        for i in range(oW):
            norms[i] *= scale * scales[i]
        _powers(norms, 1 / p, norms)


@njit(forceinline=True)
def _is_flat(norm, p):
    """Say whether a window gets no gradient: its sum is 0, or NaN where no power makes a NaN of the gradient."""
    return (norm == 0 if p > 0 else abs(norm) == math.inf) or (p == 1 and norm != norm)


def _backward_rows(grads, grad_x, x, y, window, p, begin, end):
    """Fill the rows `begin` to `end` of the input's gradient, counted through all planes."""
    kD, kH, kW, sD, sH, sW = as_tuple(window, 6)
    _, D, H, W = grad_x.shape
    _, oD, oH, oW = grads.shape
    columns, scales, shares = np.empty(oW, x.dtype), np.empty(oW, x.dtype), np.empty(oW, x.dtype)
    spread_out = np.zeros(max((oW - 1) * sW + kW, W), x.dtype)
    inside, powers = spread_out[:W], np.empty(W, x.dtype)
    for i in range(oW):
        scales[i] = x.dtype.type(kW) / (min(i * sW + kW, W) - i * sW)
    covering = (-1, -1, -1, -1, -1)
    for row in range(begin, end):
        plane, d, h = row // (D * H), row // H % D, row % H
        first_d, end_d = scalar.first_window(d, kD, sD), scalar.end_window(d, sD, oD)
        first_h, end_h = scalar.first_window(h, kH, sH), scalar.end_window(h, sH, oH)
        grad = grad_x[plane, d, h]
        previous, covering = covering, (plane, first_d, end_d, first_h, end_h)
        if covering != previous:
            columns[:] = 0
            for out_d in range(first_d, end_d):
                for out_h in range(first_h, end_h):
                    size_d = clipped(out_d, sD, 0, kD, D, False)[2]
                    size_h = clipped(out_h, sH, 0, kH, H, False)[2]
                    scale = shares.dtype.type(kD * kH) / (size_d * size_h)
                    norms, row_grads = y[plane, out_d, out_h], grads[plane, out_d, out_h]
                    _powers(norms, 1 - p, shares)
                    for i in range(oW):
                        share = row_grads[i] * shares[i] * (scale * scales[i])
                        columns[i] += 0 if _is_flat(norms[i], p) else share
            spread(columns, kW, sW, spread_out)
        _powers(x[plane, d, h], p - 1, powers)
        for w in range(W):
            grad[w] = inside[w] * powers[w]


_forward = RangeKernel(_forward_rows, PARALLEL_WORK)
_backward = RangeKernel(_backward_rows, PARALLEL_WORK)
