"""Fractional max pooling on the CPU, for any rank and dtype: windows that begin where tables say, plane by plane.

All arrays are C-contiguous: `input` (N, C, D, H, W), `output` and `indices` (N, C, oD, oH, oW); a problem of fewer
dimensions has unit extents in front. `starts` holds, for each dimension, where the windows of each plane begin,
(N·C, oD), (N·C, oH) and (N·C, oW), int64; all windows lie inside the input. Maxima follow the rules of `pool`.

Graham, "Fractional max-pooling", 2014, https://arxiv.org/abs/1412.6071.
"""

import math

import numpy as np
from nbtorch.kernels import scalar
from nbtorch.kernels.cpu.pool_simd import LANES, best_column, pool_windows
from nbtorch.kernels.cpu.ranges import RangeKernel
from nbtorch.kernels.cpu.rows import PARALLEL_WORK, as_tuple, borrowed, following, keep, locate, planes
from nbtorch.kernels.cpu.unpool import max_unpool_add

Triple = tuple[int, int, int]
Starts = tuple[np.ndarray, np.ndarray, np.ndarray]


def fractional_max_pool_forward(
    input: np.ndarray, kernel_size: Triple, starts: Starts, output: np.ndarray, indices: np.ndarray
) -> None:
    """Write the maximum of every window of `input` to `output` and its flat position to `indices` (int64)."""
    if output.size == 0:
        return
    rows = output.size // output.shape[-1]
    arrays = planes(input), planes(output), planes(indices), *starts, np.array(kernel_size)
    _forward(rows, output.size * math.prod(kernel_size), *arrays)


def fractional_max_pool_backward(
    grad_output: np.ndarray, indices: np.ndarray, kernel_size: Triple, starts: Starts, grad_input: np.ndarray
) -> None:
    """Write to `grad_input` the sum of `grad_output` over the windows whose maximum an element is."""
    max_unpool_add(grad_output, indices, grad_input)


def _forward_rows(x, maxima, positions, d_starts, h_starts, w_starts, kernel_size, begin, end):
    """Pool the output rows `begin` to `end`, counted through all planes: first down the columns, then along the row."""
    kD, kH, kW = as_tuple(kernel_size, 3)
    _, D, H, W = x.shape
    _, oD, oH, oW = maxima.shape
    elements, out = borrowed(x).reshape(x.size), borrowed(maxima).reshape(maxima.size)
    indices = borrowed(positions).reshape(positions.size)
    tables = np.empty(kD * kH, np.int64), np.empty(kD * kH, np.int32)
    scratch = np.empty(W + LANES, x.dtype), np.empty(W + LANES, np.int32)
    offsets, relative = borrowed(tables[0]), borrowed(tables[1])
    best, labels = borrowed(scratch[0]), borrowed(scratch[1])
    for tap in range(kD * kH):
        offsets[tap] = relative[tap] = (tap // kH * H + tap % kH) * W
    position = locate(begin, oD, oH)
    for row in range(begin, end):
        plane, out_d, out_h = position
        position = following(position, oD, oH)
        first = (d_starts[plane, out_d] * H + h_starts[plane, out_h]) * W
        start, vectors = plane * D * H * W + first, scalar.ceil_div(W, LANES) * LANES
        if start + offsets[kD * kH - 1] + vectors > x.size:
            vectors = W
        pool_windows(elements, start, offsets, relative, kD * kH, best, labels, W, vectors)
        for i in range(oW):
            column = w_starts[plane, i]
            out[row * oW + i], best_position = best_column(best, labels, column, column + kW)
            indices[row * oW + i] = first + best_position
    keep((tables, scratch))


_forward = RangeKernel(_forward_rows, PARALLEL_WORK)
