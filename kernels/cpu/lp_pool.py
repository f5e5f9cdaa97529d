"""Power-average pooling on the CPU, forward and backward, for any rank and dtype.

All arrays are C-contiguous: `input` (N, C, D, H, W), `output` (N, C, oD, oH, oW), where those of a problem of fewer
dimensions may lack D, or D and H. With m the number of elements that a window has inside the input, K its full number,

    output = (K/m · Σ x^p)^(1/p),

where K ≠ m only for windows that hang over the end. As in PyTorch powers are taken of the elements themselves, so
negative ones give NaN for fractional p, and a negative sum for odd p; where the sum is 0 so is the gradient.

One pass each way: powers are taken while the rows of a window are added up (see `avg_pool`).
"""

import functools
import math

import numpy as np
from nbtorch.kernels import scalar
from nbtorch.kernels.cpu.avg_pool import clipped, windows_of_rows
from nbtorch.kernels.cpu.ranges import RangeKernel
from nbtorch.kernels.cpu.rows import (
    PARALLEL_WORK,
    add,
    as_tuple,
    borrowed,
    choose,
    following,
    keep,
    locate,
    spread,
    window_sums,
)
from nbtorch.kernels.cpu.streaming import BLOCK, LARGE, finish, stream
from nbtorch.kernels.geometry import volume
from nbtorch.kernels.jit import njit

Triple = tuple[int, int, int]


def lp_pool_forward(
    input: np.ndarray, norm_type: float, kernel_size: Triple, stride: Triple, output: np.ndarray
) -> None:
    """Write the power average of every window of `input` to `output`."""
    size = output.size
    if size == 0:
        return
    geometry = _geometry(input.shape, output.shape, kernel_size, stride, input.itemsize)
    arrays = input.reshape(-1), output.reshape(-1), geometry
    _forward(size // output.shape[-1], input.size + size, *arrays, float(norm_type))


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
    size = grad_input.size
    if size == 0:
        return
    geometry = _geometry(input.shape, output.shape, kernel_size, stride, input.itemsize)
    arrays = [array.reshape(-1) for array in (grad_output, grad_input, input, output)]
    _backward(size // input.shape[-1], size + grad_output.size, *arrays, geometry, float(norm_type))


@functools.lru_cache(maxsize=1024)
def _geometry(
    shape: tuple[int, ...], out_shape: tuple[int, ...], kernel_size: Triple, stride: Triple, itemsize: int
) -> np.ndarray:
    """Return what the kernels need to know of a pooling as one array."""
    streamed = (math.prod(shape) + math.prod(out_shape)) * itemsize >= LARGE
    return np.array((*volume(shape[2:]), *volume(out_shape[2:]), *kernel_size, *stride, int(streamed)))


@njit
def _powers(x, start, count, p, result, place):
    """Write x^p to `result`, with multiplications and square roots where they do; both are flat."""
    i, o = np.uint64(start), np.uint64(place)
    if p == 1:
        for k in range(count):
            result[o + np.uint64(k)] = x[i + np.uint64(k)]
    elif p == 2:
        for k in range(count):
            result[o + np.uint64(k)] = x[i + np.uint64(k)] * x[i + np.uint64(k)]
    elif p == 3:
        for k in range(count):
            value = x[i + np.uint64(k)]
            result[o + np.uint64(k)] = value * value * value
    elif p == 0.5:
        for k in range(count):
            result[o + np.uint64(k)] = np.sqrt(x[i + np.uint64(k)])
    elif p == 1.5:
        for k in range(count):
            value = x[i + np.uint64(k)]
            result[o + np.uint64(k)] = choose(value == -math.inf, x.dtype.type(math.inf), value * np.sqrt(value))
    elif p == 4:
        for k in range(count):
            square = x[i + np.uint64(k)] * x[i + np.uint64(k)]
            result[o + np.uint64(k)] = square * square
    elif p == -1:
        for k in range(count):
            result[o + np.uint64(k)] = 1 / x[i + np.uint64(k)]
    elif p == -2:
        for k in range(count):
            result[o + np.uint64(k)] = 1 / (x[i + np.uint64(k)] * x[i + np.uint64(k)])
    elif p == -0.5:
        for k in range(count):
            result[o + np.uint64(k)] = 1 / np.sqrt(x[i + np.uint64(k)])
    elif p == 0:
        for k in range(count):
            result[o + np.uint64(k)] = 1
    else:
        exponent = x.dtype.type(p)
        for k in range(count):
            result[o + np.uint64(k)] = x[i + np.uint64(k)] ** exponent


@njit
def _row_scales(geometry, dtype):
    """Return by how much the sum of each window of a row is scaled up because the window hangs over the end."""
    W, kW, sW = geometry[2], geometry[8], geometry[11]
    scales = np.empty(geometry[5], dtype)
    for i in range(scales.size):
        scales[i] = dtype.type(kW) / dtype.type(min(i * sW + kW, W) - i * sW)
    return scales


def _forward_rows(elements, norms, geometry, p, begin, end):
    """Pool the output rows `begin` to `end`, counted through all planes; rows are offsets in flat arrays.

    `geometry` holds the extents of input, output and kernel, and the stride.
    """
    elements, norms, geometry = borrowed(elements), borrowed(norms), borrowed(geometry)
    D, H, W, oD, oH, oW, kD, kH, kW, sD, sH, sW, _ = as_tuple(geometry, 13)
    scratch = np.zeros(max((oW - 1) * sW + kW, W), norms.dtype), np.empty(W, norms.dtype), np.empty(oW, norms.dtype)
    columns, powers, sums = borrowed(scratch[0]), borrowed(scratch[1]), borrowed(scratch[2])
    row_scales = _row_scales(geometry, norms.dtype)
    scales, position = borrowed(row_scales), locate(begin, oD, oH)
    for row in range(begin, end):
        plane, out_d, out_h = position
        position = following(position, oD, oH)
        d_begin, d_end, size_d = clipped(out_d, sD, 0, kD, D, False)
        h_begin, h_end, size_h = clipped(out_h, sH, 0, kH, H, False)
        for d in range(d_begin, d_end):
            for h in range(h_begin, h_end):
                start = ((plane * D + d) * H + h) * W
                if d == d_begin and h == h_begin:
                    _powers(elements, start, W, p, columns, 0)
                else:
                    _powers(elements, start, W, p, powers, 0)
                    add(powers, 0, columns, 0, W)
        window_sums(columns, 0, kW, sW, sums, 0, oW)
        scale = norms.dtype.type(kD * kH) / (size_d * size_h)
        for i in range(oW):
            sums[i] *= scale * scales[i]
        _powers(sums, 0, oW, 1 / p, norms, row * oW)
    keep((scratch, row_scales))


@njit
def _shares(grads, norms, start, scale, scales, p, shares):
    """Turn `shares`, powers 1 - p of the norms of a row, into what the windows give to their elements.

    A window gets no gradient if its sum is 0, or NaN where no power makes a NaN of the gradient.
    """
    first, zero = np.uint64(start), shares.dtype.type(0)
    for i in range(shares.size):
        norm = norms[first + np.uint64(i)]
        share = grads[first + np.uint64(i)] * shares[i] * (scale * scales[i])
        shares[i] = choose(norm == 0 if p > 0 else abs(norm) == math.inf, zero, share)
    if p == 1:
        for i in range(shares.size):
            norm = norms[first + np.uint64(i)]
            shares[i] = choose(norm != norm, zero, shares[i])


def _backward_rows(grads, grad_x, elements, norms, geometry, p, begin, end):
    """Fill the rows `begin` to `end` of the input's gradient, counted through all planes."""
    grads, grad_x, elements, norms = borrowed(grads), borrowed(grad_x), borrowed(elements), borrowed(norms)
    geometry = borrowed(geometry)
    D, H, W, oD, oH, oW, kD, kH, kW, sD, sH, sW, streamed = as_tuple(geometry, 13)
    run = max(1, BLOCK // W) if streamed else end - begin
    length, size = max((oW - 1) * sW + kW, W), run * W if streamed else 0
    scratch = np.empty(oW, norms.dtype), np.empty(oW, norms.dtype), np.zeros(length, norms.dtype)
    results, row_scales, row_powers = (
        np.empty(size, norms.dtype),
        _row_scales(geometry, norms.dtype),
        np.empty(W, norms.dtype),
    )
    columns, shares, spread_out = borrowed(scratch[0]), borrowed(scratch[1]), borrowed(scratch[2])
    block, scales, powers = borrowed(results) if streamed else grad_x, borrowed(row_scales), borrowed(row_powers)
    firsts, ends = windows_of_rows(H, kH, sH, 0, oH)
    position, covering, first_d, end_d = locate(begin, D, H), (-1, -1, -1, -1, -1), 0, 0
    for first in range(begin, end, run):
        last = min(first + run, end)
        origin = first * W if streamed else 0
        for row in range(first, last):
            plane, d, h = position
            position = following(position, D, H)
            if h == 0 or row == begin:
                first_d, end_d = scalar.first_window(d, kD, sD), scalar.end_window(d, sD, oD)
            previous, covering = covering, (plane, first_d, end_d, firsts[h], ends[h])
            if covering != previous:
                columns[:] = 0
                for out_d in range(first_d, end_d):
                    for out_h in range(firsts[h], ends[h]):
                        size_d = clipped(out_d, sD, 0, kD, D, False)[2]
                        size_h = clipped(out_h, sH, 0, kH, H, False)[2]
                        start = ((plane * oD + out_d) * oH + out_h) * oW
                        _powers(norms, start, oW, 1 - p, shares, 0)
                        scale = shares.dtype.type(kD * kH) / (size_d * size_h)
                        _shares(grads, norms, start, scale, scales, p, shares)
                        add(shares, 0, columns, 0, oW)
                spread(columns, kW, sW, spread_out)
            _powers(elements, row * W, W, p - 1, powers, 0)
            place = np.uint64(row * W - origin)
            for w in range(W):
                block[place + np.uint64(w)] = spread_out[w] * powers[w]
        if streamed:
            stream(block, 0, grad_x, origin, (last - first) * W)
    if streamed:
        finish()
    keep((scratch, results, row_scales, row_powers, firsts, ends))


_forward = RangeKernel(_forward_rows, PARALLEL_WORK)
_backward = RangeKernel(_backward_rows, PARALLEL_WORK)
