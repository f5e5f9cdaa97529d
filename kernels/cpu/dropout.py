"""Dropout on the CPU: random numbers made of two keys and an element's place drop it, forward and backward."""

import numpy as np
from nbtorch.kernels.cpu.ranges import GRAIN, RangeKernel
from nbtorch.kernels.scalar import mixed

PARALLEL_SIZE = 1 << 14
"""Elements above which a pass over them takes longer than waking the threads."""


def dropout(x: np.ndarray, keys: tuple[int, int], bound: int, growth: float, y: np.ndarray) -> None:
    """Write x times `growth`, or times 0 where the 32 random bits of an element are below `bound`.

    Both arrays are C-contiguous, float32 or float64.
    """
    _drop(x.size, x.size, x.reshape(-1), y.reshape(-1), *keys, bound, float(growth), grain=GRAIN)


def _drop_range(x, y, first, second, bound, growth, begin, end):
    part, result, limit, factor = x[begin:end], y[begin:end], np.uint64(bound), x.dtype.type(growth)
    for i in range(part.size):
        result[i] = part[i] * (factor * (mixed(first, second, begin + i) >= limit))


_drop = RangeKernel(_drop_range, PARALLEL_SIZE)
