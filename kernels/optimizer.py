"""Steps of optimizers as functions of the numbers that belong to one element, which CPU and CUDA kernels share.

`NAME(p, d, …, options)` takes a parameter, the direction of its descent (`direction`), its running values and the
step's options, and returns the new parameter and running values. Called on tensors the same lines record a step, so
that it can be differentiated: see `kernels.elementary`. Constants such as 1 - β come as options of their own, computed
in double precision.
"""

from nbtorch.kernels.elementary import maximum, number, select, sqrt
from nbtorch.kernels.jit import njit

RUNNING_VALUES = {
    "sgd": 0,
    "momentum": 1,
    "adagrad": 1,
    "rmsprop": 1,
    "asgd": 1,
    "adam": 2,
    "adamax": 2,
    "nadam": 2,
    "radam": 2,
    "adadelta": 2,
    "rprop": 2,
    "rmsprop_momentum": 2,
    "rmsprop_centered": 2,
    "amsgrad": 3,
    "rmsprop_centered_momentum": 3,
}
"""How many running values each formula has."""

MOST_OPTIONS = 6


@njit
def direction(p, g, sign, decay):
    """Return the gradient with a sign, plus the derivative of an L2 penalty."""
    d = sign * g
    return select(decay != 0, d + decay * p, d)


@njit
def sgd(p, d, lr):
    """Take a step against the direction."""
    return (p - lr * d,)


@njit
def momentum(p, d, buffer, lr, kept, taken, ahead):
    """Keep and take shares in a buffer; `ahead` is 0, or the share that Nesterov's step keeps once more."""
    buffer = kept * buffer + taken * d
    return p - lr * select(ahead != 0, d + ahead * buffer, buffer), buffer


@njit
def adagrad(p, d, total, size, eps):
    """Scale by the sum of all squares."""
    total = total + d * d
    return p - size * (d / (sqrt(total) + eps)), total


@njit
def adam(p, d, mean, square, size, eps, to_mean, kept, to_square):
    """Scale a running mean by the mean square; size and eps hold the corrections of both."""
    mean = mean + (d - mean) * to_mean
    square = kept * square + to_square * d * d
    return p - size * (mean / (sqrt(square) + eps)), mean, square


@njit
def amsgrad(p, d, mean, square, greatest, size, eps, to_mean, kept, to_square):
    """Do as `adam`, with the greatest mean square so far."""
    mean = mean + (d - mean) * to_mean
    square = kept * square + to_square * d * d
    greatest = maximum(greatest, square)
    return p - size * (mean / (sqrt(greatest) + eps)), mean, square, greatest


@njit
def adamax(p, d, mean, largest, size, eps, to_mean, kept):
    """Scale by the largest size of a gradient, which is forgotten with time."""
    mean = mean + (d - mean) * to_mean
    largest = maximum(kept * largest, abs(d) + eps)
    return p - size * (mean / largest), mean, largest


@njit
def nadam(p, d, mean, square, of_direction, of_mean, eps, to_mean, kept, to_square):
    """Do as `adam` with a mean of which the next step's share is there already (Nesterov)."""
    mean = mean + (d - mean) * to_mean
    square = kept * square + to_square * d * d
    return p - (of_direction * d + of_mean * mean) / (sqrt(square) + eps), mean, square


@njit
def radam(p, d, mean, square, size, eps, rectified, to_mean, kept, to_square):
    """Do as `adam` where `rectified` is not 0; else leave the mean as it is: the mean square still varies too much."""
    mean = mean + (d - mean) * to_mean
    square = kept * square + to_square * d * d
    return p - size * select(rectified != 0, mean / (sqrt(square) + eps), mean), mean, square


@njit
def adadelta(p, d, square, steps, lr, eps, kept, taken):
    """Scale by the running sizes of gradients and of earlier steps."""
    square = kept * square + taken * d * d
    change = sqrt((steps + eps) / (square + eps)) * d
    return p - lr * change, square, kept * steps + taken * change * change


@njit
def rmsprop(p, d, square, lr, eps, kept, taken):
    """Scale by the running mean square."""
    square = kept * square + taken * d * d
    return p - lr * (d / (sqrt(square) + eps)), square


@njit
def rmsprop_momentum(p, d, square, buffer, lr, eps, kept, taken, momentum):
    """Do as `rmsprop`, with momentum."""
    square = kept * square + taken * d * d
    buffer = momentum * buffer + d / (sqrt(square) + eps)
    return p - lr * buffer, square, buffer


@njit
def rmsprop_centered(p, d, square, mean, lr, eps, kept, taken):
    """Scale by the running standard deviation."""
    square = kept * square + taken * d * d
    mean = mean + (d - mean) * taken
    return p - lr * (d / (sqrt(square - mean * mean) + eps)), square, mean


@njit
def rmsprop_centered_momentum(p, d, square, buffer, mean, lr, eps, kept, taken, momentum):
    """Do as `rmsprop_centered`, with momentum."""
    square = kept * square + taken * d * d
    mean = mean + (d - mean) * taken
    buffer = momentum * buffer + d / (sqrt(square - mean * mean) + eps)
    return p - lr * buffer, square, buffer, mean


@njit
def rprop(p, d, before, size, down, up, least, most):
    """Step by a size that grows while the sign stays, and shrinks where it turned, which then counts as no slope."""
    agreement = d * before
    turned = agreement < 0
    size = select(agreement > 0, size * up, select(turned, size * down, size))
    size = select(size < least, least, select(size > most, most, size))
    d = select(turned, number(0, d), d)
    return p - select(d > 0, size, select(d < 0, -size, number(0, d))), d, size


@njit
def asgd(p, d, mean, shrink, rate, share):
    """Step from a parameter that shrinks, and move the mean of all parameters by its share of the way."""
    p = p * shrink - rate * d
    return p, select(share == 1, p, mean + (p - mean) * share)
