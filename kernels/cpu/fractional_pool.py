"""Fractional max pooling on the CPU, for any rank and dtype: windows that begin where tables say, plane by plane.

All arrays are C-contiguous: `input` (N, C, D, H, W), `output` and `indices` (N, C, oD, oH, oW); a problem of fewer
dimensions has unit extents in front. `starts` holds, for each dimension, where the windows of each plane begin,
(N·C, oD), (N·C, oH) and (N·C, oW), int64; all windows lie inside the input. Maxima follow the rules of `pool`.

Graham, "Fractional max-pooling", 2014, https://arxiv.org/abs/1412.6071.
"""

import math

import numpy as np
from nbtorch.kernels import scalar
from nbtorch.kernels.cpu.rows import blocks, choose, following, locate, planes
from nbtorch.kernels.cpu.unpool import max_unpool_add
from nbtorch.kernels.jit import njit
from numba import prange

Triple = tuple[int, int, int]
Starts = tuple[np.ndarray, np.ndarray, np.ndarray]


def fractional_max_pool_forward(
    input: np.ndarray, kernel_size: Triple, starts: Starts, output: np.ndarray, indices: np.ndarray
) -> None:
    """Write the maximum of every window of `input` to `output` and its flat position to `indices` (int64)."""
    if output.size == 0:
        return
    rows = math.prod(output.shape[:4])
    count = blocks(rows, output.size * math.prod(kernel_size))
    arrays = planes(output), planes(indices)
    if count:
        _parallel(planes(input), kernel_size, starts, count, *arrays)
    else:
        _rows(planes(input), kernel_size, starts, 0, rows, *arrays)


def fractional_max_pool_backward(
    grad_output: np.ndarray, indices: np.ndarray, kernel_size: Triple, starts: Starts, grad_input: np.ndarray
) -> None:
    """Write to `grad_input` the sum of `grad_output` over the windows whose maximum an element is."""
    max_unpool_add(grad_output, indices, grad_input)


@njit(parallel=True)
def _parallel(x, kernel_size, starts, count, maxima, positions):
    rows = maxima.shape[0] * maxima.shape[1] * maxima.shape[2]
    for block in prange(count):
        _rows(x, kernel_size, starts, rows * block // count, rows * (block + 1) // count, maxima, positions)


@njit
def _rows(x, kernel_size, starts, begin, end, maxima, positions):
    """Pool the output rows `begin` to `end`, counted through all planes."""
    kD, kH, kW = kernel_size
    _, D, H, W = x.shape
    _, oD, oH, oW = maxima.shape
    elements, out, indices = x.reshape(x.size), maxima.reshape(maxima.size), positions.reshape(positions.size)
    position = locate(begin, oD, oH)
    for row in range(begin, end):
        plane, out_d, out_h = position
        position = following(position, oD, oH)
        first = (starts[0][plane, out_d] * H + starts[1][plane, out_h]) * W
        for i in range(oW):
            corner = plane * D * H * W + first + starts[2][plane, i]
            best, best_index = elements[corner], corner
            for tap_d in range(kD):
                for tap_h in range(kH):
                    index = np.uint64(corner + (tap_d * H + tap_h) * W)
                    for tap_w in range(kW):
                        place = index + np.uint64(tap_w)
                        wins = scalar.wins(elements[place], best)
                        best_index = choose(wins, np.int64(place), best_index)
                        best = choose(wins, elements[place], best)
            out[row * oW + i], indices[row * oW + i] = best, best_index - plane * D * H * W
