"""Losses of pairs of elements and their derivatives as functions of numbers, which CPU and CUDA kernels share.

`NAME(a, b, option)` is the loss of the input a and the target b, `NAME_grad(grad, a, b, option)` its derivative by a
times `grad`; losses without an option ignore it. Derivatives are called on tensors as well: see `kernels.elementary`.
"""

from nbtorch.kernels.elementary import exp, log, log1p, number, select, sigmoid
from nbtorch.kernels.jit import njit


@njit
def l1(a, b, option):
    """Return |a - b|."""
    return abs(a - b)


@njit
def l1_grad(grad, a, b, option):
    """Return the derivative of `l1` times `grad`."""
    return select(a > b, grad, select(a < b, -grad, number(0, grad)))


@njit
def mse(a, b, option):
    """Return (a - b)²."""
    return (a - b) * (a - b)


@njit
def mse_grad(grad, a, b, option):
    """Return the derivative of `mse` times `grad`."""
    return (a - b) * (number(2, grad) * grad)


@njit
def smooth_l1(a, b, beta):
    """Return a parabola of d = a - b within ±beta, |d| - beta / 2 outside."""
    size = abs(a - b)
    return select(size < beta, size * size * (number(0.5, a) / beta), size - number(0.5, a) * beta)


@njit
def smooth_l1_grad(grad, a, b, beta):
    """Return the derivative of `smooth_l1` times `grad`."""
    slope = (a - b) / beta
    return select(slope > 1, grad, select(slope < -1, -grad, slope * grad))


@njit
def huber(a, b, delta):
    """Return d² / 2 for d = a - b within ±delta, delta·(|d| - delta / 2) outside."""
    size = abs(a - b)
    return select(size < delta, size * size * number(0.5, a), (size - number(0.5, a) * delta) * delta)


@njit
def huber_grad(grad, a, b, delta):
    """Return the derivative of `huber` times `grad`."""
    slope = a - b
    return select(slope > delta, grad * delta, select(slope < -delta, -grad * delta, slope * grad))


@njit
def bce(a, b, option):
    """Return the cross entropy of two probabilities; logarithms are cut off at -100."""
    yes, no, least = log(a), log1p(-a), number(-100, a)
    return (b - number(1, b)) * select(no < least, least, no) - b * select(yes < least, least, yes)


@njit
def bce_grad(grad, a, b, option):
    """Return the derivative of `bce` times `grad`."""
    spread = (number(1, a) - a) * a
    return (a - b) / select(spread < number(1e-12, a), number(1e-12, a), spread) * grad


@njit
def bce_with_logits(a, b, option):
    """Return the cross entropy of the sigmoid of a and the probability b, without overflow."""
    return log1p(exp(-abs(a))) - select(a < 0, a, number(0, a)) + (number(1, b) - b) * a


@njit
def bce_with_logits_grad(grad, a, b, option):
    """Return the derivative of `bce_with_logits` times `grad`."""
    return (sigmoid(a) - b) * grad


@njit
def soft_margin(a, b, option):
    """Return log(1 + exp(-b·a)); as in PyTorch, large negative products overflow."""
    return log1p(exp(-b * a))


@njit
def soft_margin_grad(grad, a, b, option):
    """Return the derivative of `soft_margin` times `grad`."""
    power = exp(-b * a)
    return -b * power / (power + number(1, a)) * grad


@njit
def kl_div(a, b, option):
    """Return b·(log b - a), the divergence of a distribution with logarithms a from one of b; 0·log 0 is 0."""
    return select(b == 0, number(0, b), b * log(b)) - b * a


@njit
def kl_div_grad(grad, a, b, option):
    """Return the derivative of `kl_div` times `grad`."""
    return -b * grad


@njit
def kl_div_of_logarithms(a, b, option):
    """Return exp(b)·(b - a): `kl_div` with the logarithm of the target."""
    return exp(b) * (b - a)


@njit
def kl_div_of_logarithms_grad(grad, a, b, option):
    """Return the derivative of `kl_div_of_logarithms` times `grad`."""
    return -exp(b) * grad
