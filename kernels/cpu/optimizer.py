"""Steps of optimizers on the CPU, each one pass over a parameter, its gradient and its running values.

Arrays are flat or of any shape, C-contiguous, all of one type, float32 or float64. The gradient is taken as it is or
with the opposite sign (`maximize`), plus `decay` times the parameter.
"""

import numpy as np
from nbtorch.kernels.cpu.ranges import GRAIN, RangeKernel
from nbtorch.kernels.elementary import select

PARALLEL_SIZE = 1 << 17
"""Elements above which a pass over them takes longer than waking the threads: 40 to 50 µs on one of two cores."""


def sgd_step(p: np.ndarray, g: np.ndarray, lr: float, decay: float, maximize: bool) -> None:
    """Take a step p -= lr·d."""
    size = p.size
    _sgd(size, size, p.reshape(-1), g.reshape(-1), lr, decay, maximize, grain=GRAIN)


def momentum_step(
    p: np.ndarray,
    g: np.ndarray,
    buffer: np.ndarray,
    lr: float,
    decay: float,
    maximize: bool,
    kept: float,
    taken: float,
    momentum: float,
) -> None:
    """Take a step b = kept·b + taken·d; p -= lr·b, or p -= lr·(d + momentum·b) where `momentum` is not 0 (Nesterov)."""
    size, arrays = p.size, (p.reshape(-1), g.reshape(-1), buffer.reshape(-1))
    _momentum(size, size, *arrays, lr, decay, maximize, kept, taken, momentum, grain=GRAIN)


def adam_step(
    p: np.ndarray,
    g: np.ndarray,
    mean: np.ndarray,
    square: np.ndarray,
    greatest: np.ndarray | None,
    beta1: float,
    beta2: float,
    eps: float,
    size: float,
    shrink: float,
    decay: float,
    maximize: bool,
) -> None:
    """Take a step of Adam: p = shrink·p - size·m / (sqrt(v) + eps), with the greatest v so far where it is kept."""
    count, arrays = p.size, [p.reshape(-1), g.reshape(-1), mean.reshape(-1), square.reshape(-1)]
    numbers = beta1, beta2, eps, size, shrink, decay, maximize
    if greatest is None:
        _adam(count, count, *arrays, *numbers, grain=GRAIN)
    else:
        _amsgrad(count, count, *arrays, greatest.reshape(-1), *numbers, grain=GRAIN)


def _sgd_range(p, g, lr, decay, maximize, begin, end):
    kind = p.dtype.type
    rate, share, sign, decays = kind(lr), kind(decay), kind(-1 if maximize else 1), decay != 0
    x, slope = p[begin:end], g[begin:end]
    for i in range(x.size):
        d = sign * slope[i]
        d = select(decays, d + share * x[i], d)
        x[i] -= rate * d


def _momentum_range(p, g, buffer, lr, decay, maximize, kept, taken, momentum, begin, end):
    kind = p.dtype.type
    rate, share, sign, decays = kind(lr), kind(decay), kind(-1 if maximize else 1), decay != 0
    old, new, ahead = kind(kept), kind(taken), kind(momentum)
    x, slope, b = p[begin:end], g[begin:end], buffer[begin:end]
    if momentum != 0:
        for i in range(x.size):
            d = sign * slope[i]
            d = select(decays, d + share * x[i], d)
            b[i] = old * b[i] + new * d
            x[i] -= rate * (d + ahead * b[i])
    else:
        for i in range(x.size):
            d = sign * slope[i]
            d = select(decays, d + share * x[i], d)
            b[i] = old * b[i] + new * d
            x[i] -= rate * b[i]


def _adam_range(p, g, mean, square, beta1, beta2, eps, size, shrink, decay, maximize, begin, end):
    kind = p.dtype.type
    share, sign, decays, rest = kind(decay), kind(-1 if maximize else 1), decay != 0, kind(shrink)
    new1, old2, new2 = kind(1 - beta1), kind(beta2), kind(1 - beta2)
    least, step = kind(eps), kind(size)
    x, slope, m, v = p[begin:end], g[begin:end], mean[begin:end], square[begin:end]
    for i in range(x.size):
        d = sign * slope[i]
        d = select(decays, d + share * x[i], d)
        first = m[i] + (d - m[i]) * new1
        second = v[i] * old2 + d * d * new2
        m[i] = first
        v[i] = second
        x[i] = x[i] * rest - first / (np.sqrt(second) + least) * step


def _amsgrad_range(p, g, mean, square, greatest, beta1, beta2, eps, size, shrink, decay, maximize, begin, end):
    kind = p.dtype.type
    share, sign, decays, rest = kind(decay), kind(-1 if maximize else 1), decay != 0, kind(shrink)
    new1, old2, new2 = kind(1 - beta1), kind(beta2), kind(1 - beta2)
    least, step = kind(eps), kind(size)
    x, slope, m, v, top = p[begin:end], g[begin:end], mean[begin:end], square[begin:end], greatest[begin:end]
    for i in range(x.size):
        d = sign * slope[i]
        d = select(decays, d + share * x[i], d)
        first = m[i] + (d - m[i]) * new1
        second = v[i] * old2 + d * d * new2
        m[i] = first
        v[i] = second
        # NaN, which fails every comparison, is kept as the greatest
        top[i] = select(top[i] >= second, top[i], select(top[i] != top[i], top[i], second))
        x[i] = x[i] * rest - first / (np.sqrt(top[i]) + least) * step


_sgd = RangeKernel(_sgd_range, PARALLEL_SIZE)
_momentum = RangeKernel(_momentum_range, PARALLEL_SIZE)
_adam = RangeKernel(_adam_range, PARALLEL_SIZE)
_amsgrad = RangeKernel(_amsgrad_range, PARALLEL_SIZE)
