"""Steps of optimizers on the CPU, each one pass over the parameters, their gradients and their running values.

Parameters are walked through as if they lay one after another, so that a step is one call, however many there are.
"""

import functools
from itertools import accumulate, chain

import numpy as np
from nbtorch.kernels import optimizer
from nbtorch.kernels.cpu.objects import address, elements
from nbtorch.kernels.cpu.ranges import GRAIN, RangeKernel
from nbtorch.kernels.jit import njit
from nbtorch.kernels.optimizer import MOST_OPTIONS, direction

PARALLEL_SIZE = 1 << 16
"""Elements above which a pass over them takes longer than waking the threads."""


def step(formula: str, rows: list[tuple[np.ndarray, ...]], numbers: list[tuple[float, ...]]) -> None:
    """Take a step of all parameters.

    Args:
        formula: the name of one in `nbtorch.kernels.optimizer`.
        rows: for each parameter its array, its gradient and its running values; C-contiguous, all of one type, float32
            or float64.
        numbers: sign and penalty of the gradient (`direction`), the factor that the parameter shrinks by, and the
            formula's options: for each parameter, or once for all.
    """
    width = optimizer.RUNNING_VALUES[formula] + 2
    objects = np.fromiter(map(id, chain.from_iterable(rows)), np.int64, len(rows) * width).reshape(-1, width)
    starts = np.fromiter(accumulate([row[0].size for row in rows], initial=0), np.int64, len(rows) + 1)
    options = len(numbers[0]) - 3
    table = np.array([(*given, *[0.0] * (MOST_OPTIONS - options)) for given in numbers], np.float64)
    count, sample = int(starts[-1]), np.empty(0, rows[0][0].dtype)
    work = count if count < PARALLEL_SIZE or _lie_apart(objects, starts, sample.itemsize) else 0
    _kernel(formula, options)(count, work, objects, starts, table, sample, grain=GRAIN)


@njit
def _lie_apart(objects, starts, width):
    """Whether no two parameters share memory; those that do are not for several threads."""
    places = np.empty(len(objects), np.int64)
    for item in range(len(objects)):
        places[item] = address(objects[item, 0])
    order = np.argsort(places)
    for k in range(1, len(order)):
        before = order[k - 1]
        if places[before] + (starts[before + 1] - starts[before]) * width > places[order[k]]:
            return False
    return True


def _without(formula, count):
    """Make the pass over a part of one parameter, for a formula without running values; the others are alike."""

    @njit
    def pass_over(row, start, size, numbers, sample):
        sign, decay, shrink, options = _options(numbers, sample)
        p, g = elements(row[0], start, size, sample), elements(row[1], start, size, sample)
        for i in range(size):
            (p[i],) = formula(p[i] * shrink, direction(p[i], g[i], sign, decay), *options[:count])

    return pass_over


def _with_one(formula, count):
    @njit
    def pass_over(row, start, size, numbers, sample):
        sign, decay, shrink, options = _options(numbers, sample)
        p, g, a = (
            elements(row[0], start, size, sample),
            elements(row[1], start, size, sample),
            elements(row[2], start, size, sample),
        )
        for i in range(size):
            p[i], a[i] = formula(p[i] * shrink, direction(p[i], g[i], sign, decay), a[i], *options[:count])

    return pass_over


def _with_two(formula, count):
    @njit
    def pass_over(row, start, size, numbers, sample):
        sign, decay, shrink, options = _options(numbers, sample)
        p, g = elements(row[0], start, size, sample), elements(row[1], start, size, sample)
        a, b = elements(row[2], start, size, sample), elements(row[3], start, size, sample)
        for i in range(size):
            d = direction(p[i], g[i], sign, decay)
            p[i], a[i], b[i] = formula(p[i] * shrink, d, a[i], b[i], *options[:count])

    return pass_over


def _with_three(formula, count):
    @njit
    def pass_over(row, start, size, numbers, sample):
        sign, decay, shrink, options = _options(numbers, sample)
        p, g, a = (
            elements(row[0], start, size, sample),
            elements(row[1], start, size, sample),
            elements(row[2], start, size, sample),
        )
        b, c = elements(row[3], start, size, sample), elements(row[4], start, size, sample)
        for i in range(size):
            d = direction(p[i], g[i], sign, decay)
            p[i], a[i], b[i], c[i] = formula(p[i] * shrink, d, a[i], b[i], c[i], *options[:count])

    return pass_over


@njit
def _options(numbers, sample):
    """Return sign, penalty, factor and options in the elements' type."""
    kind = sample.dtype.type
    n = numbers
    return (
        *(kind(n[0]), kind(n[1]), kind(n[2])),
        (kind(n[3]), kind(n[4]), kind(n[5]), kind(n[6]), kind(n[7]), kind(n[8])),
    )


@functools.cache
def _kernel(name: str, count: int) -> RangeKernel:
    """Make the kernel of a formula with so many options."""
    pass_over = (_without, _with_one, _with_two, _with_three)[optimizer.RUNNING_VALUES[name]](
        getattr(optimizer, name), count
    )

    def kernel(objects, starts, numbers, sample, begin, end):
        item, place = 0, begin
        while item + 1 < starts.size and starts[item + 1] <= begin:
            item += 1
        while place < end:
            stop = min(end, starts[item + 1])
            pass_over(objects[item], place - starts[item], stop - place, numbers[min(item, len(numbers) - 1)], sample)
            place, item = stop, item + 1

    kernel.__name__ = kernel.__qualname__ = f"{name}_step"
    return RangeKernel(kernel, PARALLEL_SIZE)
