"""Activations and their derivatives as functions of one number, which CPU and CUDA kernels share.

`NAME(x, …)` is the function and `NAME_grad(grad, x, …)` its derivative times `grad`; the dots are options.
The derivatives of `relu`, `sigmoid` and `tanh` take the function's result in the place of x. Derivatives are called on
tensors as well, which is how second derivatives come about: see `kernels.elementary`.
"""

from nbtorch.kernels import elementary
from nbtorch.kernels.elementary import exp, expm1, log1p, normal_cdf, normal_density, number, select
from nbtorch.kernels.jit import njit

SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946
"""Klambauer et al., "Self-normalizing neural networks", 2017."""

GELU_SCALE = 0.7978845608028654
GELU_CUBIC = 0.044715
"""√(2/π) and a fitted constant: Hendrycks and Gimpel, "Gaussian error linear units", 2016."""


@njit
def relu(x):
    """Return max(x, 0); NaN and -0.0 pass through, as in PyTorch."""
    return select(x < 0, number(0, x), x)


@njit
def relu_grad(grad, y):
    """Let the gradient through where the result is positive or NaN."""
    return select(y <= 0, number(0, grad), grad)


@njit
def threshold(x, limit, value):
    """Return x where it exceeds the limit, else the value."""
    return select(x <= limit, value, x)


@njit
def threshold_grad(grad, x, limit, value):
    """Return the derivative of `threshold` times `grad`."""
    return select(x <= limit, number(0, grad), grad)


@njit
def hardtanh(x, low, high):
    """Return x limited to [low, high]."""
    return select(x < low, low, select(x > high, high, x))


@njit
def hardtanh_grad(grad, x, low, high):
    """Return the derivative of `hardtanh` times `grad`."""
    return select((x <= low) | (x >= high), number(0, grad), grad)


@njit
def leaky_relu(x, slope):
    """Return x where it is positive, else slope·x."""
    return select(x > 0, x, x * slope)


@njit
def leaky_relu_grad(grad, x, slope):
    """Return the derivative of `leaky_relu` times `grad`."""
    return select(x > 0, grad, grad * slope)


@njit
def elu(x, alpha):
    """Return x where it is positive, else alpha·(exp(x) - 1)."""
    return select(x < 0, alpha * expm1(x), x)


@njit
def elu_grad(grad, x, alpha):
    """Return the derivative of `elu` times `grad`."""
    return select(x <= 0, grad * alpha * exp(x), grad)


@njit
def celu(x, alpha):
    """Return x where it is positive, else alpha·(exp(x / alpha) - 1)."""
    return select(x < 0, alpha * expm1(x * (number(1, x) / alpha)), x)


@njit
def celu_grad(grad, x, alpha):
    """Return the derivative of `celu` times `grad`."""
    return select(x <= 0, grad * exp(x * (number(1, x) / alpha)), grad)


@njit
def selu(x):
    """Return ELU with the alpha and the scale that keep mean 0 and variance 1."""
    return select(x < 0, number(SELU_SCALE * SELU_ALPHA, x) * expm1(x), number(SELU_SCALE, x) * x)


@njit
def selu_grad(grad, x):
    """Return the derivative of `selu` times `grad`."""
    return select(x <= 0, number(SELU_SCALE * SELU_ALPHA, x) * grad * exp(x), number(SELU_SCALE, x) * grad)


@njit
def hardshrink(x, limit):
    """Return x, and 0 where |x| <= limit."""
    return select((x >= -limit) & (x <= limit), number(0, x), x)


@njit
def softshrink(x, limit):
    """Return x moved by the limit towards 0, and 0 where |x| <= limit."""
    return select(x > limit, x - limit, select(x < -limit, x + limit, x * number(0, x)))


@njit
def shrink_grad(grad, x, limit):
    """Return the derivative of `hardshrink` and `softshrink` times `grad`."""
    return select((x >= -limit) & (x <= limit), number(0, grad), grad)


@njit
def hardsigmoid(x):
    """Return (x + 3) / 6 limited to [0, 1]."""
    return select(x < -3, number(0, x), select(x > 3, number(1, x), (x + number(3, x)) / number(6, x)))


@njit
def hardsigmoid_grad(grad, x):
    """Return the derivative of `hardsigmoid` times `grad`."""
    return select((x > -3) & (x < 3), grad / number(6, x), number(0, grad))


@njit
def hardswish(x):
    """Return x·hardsigmoid(x)."""
    return x * select(x < -3, number(0, x), select(x > 3, number(6, x), x + number(3, x))) / number(6, x)


@njit
def hardswish_grad(grad, x):
    """Return the derivative of `hardswish` times `grad`."""
    inside = grad * (x / number(3, x) + number(0.5, x))
    return select(x <= -3, number(0, grad), select(x < 3, inside, grad))


@njit
def sigmoid(x):
    """Return 1 / (1 + exp(-x))."""
    return elementary.sigmoid(x)


@njit
def sigmoid_grad(grad, y):
    """Return the derivative of `sigmoid` times `grad`."""
    return grad * ((number(1, y) - y) * y)


@njit
def tanh(x):
    """Return the hyperbolic tangent."""
    return elementary.tanh(x)


@njit
def tanh_grad(grad, y):
    """Return the derivative of `tanh` times `grad`."""
    return grad * (number(1, y) - y * y)


@njit
def tanhshrink(x):
    """Return x - tanh(x)."""
    return x - elementary.tanh(x)


@njit
def tanhshrink_grad(grad, x):
    """Return the derivative of `tanhshrink` times `grad`."""
    y = elementary.tanh(x)
    return grad * (y * y)


@njit
def softsign(x):
    """Return x / (1 + |x|)."""
    return x / (number(1, x) + abs(x))


@njit
def softsign_grad(grad, x):
    """Return the derivative of `softsign` times `grad`."""
    size = number(1, x) + abs(x)
    return grad / (size * size)


@njit
def softplus(x, beta, threshold):
    """Return log(1 + exp(beta·x)) / beta, and x where beta·x exceeds the threshold."""
    return select(x * beta > threshold, x, log1p(exp(x * beta)) * (number(1, x) / beta))


@njit
def softplus_grad(grad, x, beta, threshold):
    """Return the derivative of `softplus` times `grad`."""
    return select(x * beta > threshold, grad, grad * elementary.sigmoid(x * beta))


@njit
def logsigmoid(x):
    """Return log(sigmoid(x)) without overflow."""
    return select(x < 0, x, number(0, x)) - log1p(exp(-abs(x)))


@njit
def logsigmoid_grad(grad, x):
    """Return the derivative of `logsigmoid` times `grad`."""
    return grad * elementary.sigmoid(-x)


@njit
def silu(x):
    """Return x·sigmoid(x)."""
    return x * elementary.sigmoid(x)


@njit
def silu_grad(grad, x):
    """Return the derivative of `silu` times `grad`."""
    y = elementary.sigmoid(x)
    return grad * (y * (number(1, x) + x * (number(1, x) - y)))


@njit
def mish(x):
    """Return x·tanh(log(1 + eˣ)) = x·n / (n + 2) with n = eˣ·(eˣ + 2); beyond 20 the factor is 1."""
    power = exp(select(x > 20, number(20, x), x))
    n = power * (power + number(2, x))
    return x * (n / (n + number(2, x)))


@njit
def mish_grad(grad, x):
    """Return the derivative of `mish` times `grad`."""
    power = exp(select(x > 20, number(20, x), x))
    n = power * (power + number(2, x))
    factor = n / (n + number(2, x))
    return grad * (factor + x * (power / (number(1, x) + power)) * (number(1, x) - factor * factor))


@njit
def gelu(x):
    """Return x times the share of the normal distribution below x."""
    return x * normal_cdf(x)


@njit
def gelu_grad(grad, x):
    """Return the derivative of `gelu` times `grad`."""
    return grad * (normal_cdf(x) + x * normal_density(x))


@njit
def gelu_tanh(x):
    """Return Hendrycks and Gimpel's approximation of `gelu`."""
    inner = number(GELU_SCALE, x) * (x + number(GELU_CUBIC, x) * (x * x * x))
    return number(0.5, x) * x * (number(1, x) + elementary.tanh(inner))


@njit
def gelu_tanh_grad(grad, x):
    """Return the derivative of `gelu_tanh` times `grad`."""
    square = x * x
    y = elementary.tanh(number(GELU_SCALE, x) * (x + number(GELU_CUBIC, x) * (square * x)))
    slope = number(GELU_SCALE, x) * (number(1, x) + number(3 * GELU_CUBIC, x) * square)
    return grad * (number(0.5, x) * (number(1, x) + y + x * (number(1, x) - y * y) * slope))
