"""Arithmetic on large arrays of one shape on the CPU, C-contiguous, the result written into the last one.

NumPy's own loops take one thread. Who calls these has found the arrays large enough for several.
"""

import functools

import numpy as np
from nbtorch.kernels.cpu.ranges import GRAIN, RangeKernel


def combine(function: str, a: np.ndarray, b: np.ndarray, output: np.ndarray) -> None:
    """Write `a + b`, `a - b`, `a * b` or `a / b`, for the `function` that is NumPy's name of it."""
    _KERNELS[function](output.size, output.size, a.reshape(-1), b.reshape(-1), output.reshape(-1), grain=GRAIN)


def _add(a, b, output, begin, end):
    left, right, result = a[begin:end], b[begin:end], output[begin:end]
    for i in range(result.size):
        result[i] = left[i] + right[i]


def _subtract(a, b, output, begin, end):
    left, right, result = a[begin:end], b[begin:end], output[begin:end]
    for i in range(result.size):
        result[i] = left[i] - right[i]


def _multiply(a, b, output, begin, end):
    left, right, result = a[begin:end], b[begin:end], output[begin:end]
    for i in range(result.size):
        result[i] = left[i] * right[i]


def _divide(a, b, output, begin, end):
    left, right, result = a[begin:end], b[begin:end], output[begin:end]
    for i in range(result.size):
        result[i] = left[i] / right[i]


_parallel = functools.partial(RangeKernel, parallel_work=1)
_KERNELS = {
    "add": _parallel(_add),
    "subtract": _parallel(_subtract),
    "multiply": _parallel(_multiply),
    "true_divide": _parallel(_divide),
}
