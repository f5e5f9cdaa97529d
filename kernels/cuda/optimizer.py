"""Steps of optimizers on CUDA: the functions of `nbtorch.kernels.cpu.optimizer`."""

import functools
import inspect
from typing import Any

import numpy as np
from nbtorch.kernels import optimizer
from nbtorch.kernels.cuda import elementary, target
from nbtorch.kernels.cuda.target import cuda
from nbtorch.kernels.optimizer import MOST_OPTIONS, RUNNING_VALUES

elementary.install()
direction = target.scalar(optimizer.direction)


def step(formula: str, rows: list[tuple[Any, ...]], numbers: list[tuple[float, ...]]) -> None:
    """Take a step of all parameters, one launch for each."""
    for index, row in enumerate(rows):
        size, given = row[0].size, numbers[min(index, len(numbers) - 1)]
        if size:
            padding = [0.0] * (3 + MOST_OPTIONS - len(given))
            kernel = _kernel(formula, np.dtype(row[0].dtype))
            kernel(target.blocks_for(size, target.THREADS), *row, size, *[float(n) for n in given], *padding)


@functools.cache
def _kernel(name: str, dtype: np.dtype) -> target.Kernel:
    """Make the kernel of a formula: parameter, gradient and running values, the size, and the numbers."""
    function, states = getattr(optimizer, name), RUNNING_VALUES[name]
    count = len(inspect.signature(getattr(function, "py_func", function)).parameters) - 2 - states
    formula = target.scalar(function)

    def without(p, g, size, sign, decay, shrink, n0, n1, n2, n3, n4, n5):
        i, step = cuda.grid(1), cuda.gridsize(1)
        options = (n0, n1, n2, n3, n4, n5)
        while i < size:
            (p[i],) = formula(p[i] * shrink, direction(p[i], g[i], sign, decay), *options[:count])
            i += step

    def with_one(p, g, a, size, sign, decay, shrink, n0, n1, n2, n3, n4, n5):
        i, step = cuda.grid(1), cuda.gridsize(1)
        options = (n0, n1, n2, n3, n4, n5)
        while i < size:
            p[i], a[i] = formula(p[i] * shrink, direction(p[i], g[i], sign, decay), a[i], *options[:count])
            i += step

    def with_two(p, g, a, b, size, sign, decay, shrink, n0, n1, n2, n3, n4, n5):
        i, step = cuda.grid(1), cuda.gridsize(1)
        options = (n0, n1, n2, n3, n4, n5)
        while i < size:
            d = direction(p[i], g[i], sign, decay)
            p[i], a[i], b[i] = formula(p[i] * shrink, d, a[i], b[i], *options[:count])
            i += step

    def with_three(p, g, a, b, c, size, sign, decay, shrink, n0, n1, n2, n3, n4, n5):
        i, step = cuda.grid(1), cuda.gridsize(1)
        options = (n0, n1, n2, n3, n4, n5)
        while i < size:
            d = direction(p[i], g[i], sign, decay)
            p[i], a[i], b[i], c[i] = formula(p[i] * shrink, d, a[i], b[i], c[i], *options[:count])
            i += step

    kernel: Any = (without, with_one, with_two, with_three)[states]
    numbers = [dtype.name] * (3 + MOST_OPTIONS)
    return target.Kernel(kernel, (*[dtype] * (2 + states), "int64", *numbers), target.THREADS)


def catalogue(dtype: np.dtype) -> dict[str, target.Kernel]:
    """Return every kernel of this module for one dtype, by name: what the compile gate walks."""
    return {name: _kernel(name, dtype) for name in RUNNING_VALUES}
