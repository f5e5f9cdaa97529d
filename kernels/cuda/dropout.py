"""Dropout on CUDA: the function of `nbtorch.kernels.cpu.dropout`."""

import functools
from typing import Any

import numpy as np
from nbtorch.kernels import scalar
from nbtorch.kernels.cuda import target
from nbtorch.kernels.cuda.target import cuda

mixed = target.scalar(scalar.mixed)


def dropout(x: Any, keys: tuple[int, int], bound: int, growth: float, y: Any) -> None:
    """Write x times `growth`, or times 0 where the 32 random bits of an element are below `bound`."""
    if x.size:
        dtype = np.dtype(x.dtype)
        drop(dtype)(target.blocks_for(x.size, target.THREADS), x, y, *keys, bound, dtype.type(growth), x.size)


@functools.cache
def drop(dtype: np.dtype) -> target.Kernel:
    """Make the kernel in which threads walk through the elements."""

    def kernel(x, y, first, second, bound, growth, size):
        i, step = cuda.grid(1), cuda.gridsize(1)
        while i < size:
            kept = growth if mixed(first, second, i) >= bound else growth - growth
            y[i] = x[i] * kept
            i += step

    keys = "uint64", "uint64", "uint64"
    return target.Kernel(kernel, (dtype, dtype, *keys, dtype.name, "int64"), target.THREADS)


def catalogue(dtype: np.dtype) -> dict[str, target.Kernel]:
    """Return every kernel of this module for one dtype, by name: what the compile gate walks."""
    return {"drop": drop(dtype)}
