"""Sums of contiguous rows on the CPU, float32 or float64."""

import numpy as np
from nbtorch.kernels.cpu.norm import SUMS
from nbtorch.kernels.cpu.ranges import RangeKernel
from nbtorch.kernels.jit import njit

PARALLEL_SIZE = 1 << 16
"""Elements above which a pass over them takes longer than waking the threads."""

BLOCK = 4096
"""Elements are summed in blocks of so many in their own type, the blocks of a row in float64."""


def row_sums(x: np.ndarray, output: np.ndarray) -> None:
    """Write the sum of each row of x, (rows, length) with elements; `output` is (rows,)."""
    blocks = -(-x.shape[1] // BLOCK)
    partial = np.empty((len(x), blocks))
    _sums(partial.size, x.size, x, partial)
    _add_up(partial, output)


def _block_sums(x, partial, begin, end):
    length, blocks, flat = x.shape[1], partial.shape[1], partial.reshape(partial.size)
    for number in range(begin, end):
        row, block = number // blocks, number % blocks
        part, total = x[row, block * BLOCK : min((block + 1) * BLOCK, length)], x.dtype.type(0)
        for i in range(part.size):
            total += part[i]
        flat[number] = total


@njit
def _add_up(partial, output):
    for row in range(partial.shape[0]):
        total = 0.0
        for block in range(partial.shape[1]):
            total += partial[row, block]
        output[row] = total


_sums = RangeKernel(_block_sums, PARALLEL_SIZE, fastmath=SUMS)
