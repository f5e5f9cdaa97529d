"""Special functions on the CPU: arrays of any shape, C-contiguous, the result written into the last one.

`function` names one of `nbtorch.kernels.special`.
"""

import functools
from typing import Any

import numpy as np
from nbtorch.kernels import special
from nbtorch.kernels.jit import njit
from numba import prange

PARALLEL_SIZE = 1 << 13
"""Elements above which a pass over them, at some 20 ns each, takes longer than waking the threads."""


def unary(function: str, input: np.ndarray, output: np.ndarray) -> None:
    """Write function(x) for every element x; float32 or float64."""
    _unary_kernel(function, output.size >= PARALLEL_SIZE)(input.reshape(-1), output.reshape(-1))


def binary(function: str, first: np.ndarray, second: np.ndarray, output: np.ndarray) -> None:
    """Write function(x, y) for every pair of elements; float32 or float64."""
    kernel = _binary_kernel(function, output.size >= PARALLEL_SIZE)
    kernel(first.reshape(-1), second.reshape(-1), output.reshape(-1))


@functools.cache
def _unary_kernel(name: str, parallel: bool) -> Any:
    function = getattr(special, name)

    def kernel(x, y):
        for i in prange(x.size):
            y[i] = function(x[i])

    return _compiled(kernel, name, parallel)


@functools.cache
def _binary_kernel(name: str, parallel: bool) -> Any:
    function = getattr(special, name)

    def kernel(x, y, z):
        for i in prange(x.size):
            z[i] = function(x[i], y[i])

    return _compiled(kernel, name, parallel)


def _compiled(kernel: Any, name: str, parallel: bool) -> Any:
    """Compile a kernel under the name of its function, which is what a user sees while it compiles."""
    kernel.__name__ = kernel.__qualname__ = f"{name}{'_parallel' if parallel else ''}"
    return njit(kernel, parallel=parallel)
