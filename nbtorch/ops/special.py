"""Special functions (kernels in `kernels/special.py`) and the rest of the elementary ones, with derivatives."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.graph import Node
from ..device import allocate, array_module, contiguous, kernels_for
from ..tensor import Tensor, method, normalize_dim
from .arithmetic import Where, install_in_place, square
from .loss import LogSoftmax, Softmax
from .operands import (
    broadcast_shape,
    floating_operands,
    not_implemented,
    operands,
    refuse_complex,
    require_floating_point,
    require_tensor,
    scalar_tensor,
    to_dtype,
    to_floating_point,
)
from .pointwise import Pointwise, cos, declare, exp, log, sign, sin

_ROOT_PI = math.sqrt(math.pi)


class SpecialFunction(Pointwise):
    """A function that a kernel computes, whose name `formula` is."""

    in_float32 = True

    def forward(self, x: Any) -> Any:
        x = contiguous(x, self.where)
        result = allocate(x.shape, x.dtype, self.where)
        kernels_for(self.where, "special").unary(self.formula, x, result)
        return result


def _special(name: str, doc: str, *, methods: bool = False, **derivative: Any) -> Callable[[Tensor], Tensor]:
    """Declare a function that the kernel of the same name computes."""
    return declare(
        name, doc, name, base=SpecialFunction, methods=methods, complex_error=NotImplementedError, **derivative
    )


erf = _special(
    "erf", methods=True, doc="Return the error function.", from_input=lambda x: exp(-square(x)) * (2 / _ROOT_PI)
)
erfc = _special(
    "erfc",
    methods=True,
    doc="Return one minus the error function.",
    from_input=lambda x: exp(-square(x)) * (-2 / _ROOT_PI),
)
erfcx = _special(
    "erfcx",
    "Return `exp(x * x) * erfc(x)`.",
    from_input=lambda x: 2 * x * erfcx(x) - 2 / _ROOT_PI,
)
erfinv = _special(
    "erfinv",
    methods=True,
    doc="Return the inverse of the error function.",
    from_output=lambda y: exp(square(y)) * (_ROOT_PI / 2),
)
ndtr = _special(
    "ndtr",
    "Return the share of the normal distribution below the elements.",
    from_input=lambda x: exp(-square(x) / 2) / math.sqrt(2 * math.pi),
)
ndtri = _special(
    "ndtri",
    "Return the points below which given shares of the normal distribution lie.",
    from_output=lambda y: exp(square(y) / 2) * math.sqrt(2 * math.pi),
)
log_ndtr = _special(
    "log_ndtr",
    "Return the logarithm of the share of the normal distribution below the elements.",
    from_input=lambda x: math.sqrt(2 / math.pi) / erfcx(x * -math.sqrt(0.5)),
)
lgamma = _special(
    "lgamma", methods=True, doc="Return the logarithm of the absolute gamma function.", from_input=lambda x: digamma(x)
)
digamma = _special(
    "digamma",
    methods=True,
    doc="Return the derivative of the log-gamma function.",
    from_input=lambda x: polygamma(1, x),
)
i0 = _special(
    "i0",
    methods=True,
    doc="Return the modified Bessel function of the first kind, order 0.",
    from_input=lambda x: i1(x),
)
i0e = _special("i0e", "Return `exp(-|x|) * i0(x)`.", from_input=lambda x: i1e(x) - sign(x) * i0e(x))
i1 = _special(
    "i1",
    "Return the modified Bessel function of the first kind, order 1.",
    from_input=lambda x: _at_zero(x, lambda x: i0(x) - i1(x) / x),
)
i1e = _special(
    "i1e",
    "Return `exp(-|x|) * i1(x)`.",
    from_input=lambda x: _at_zero(x, lambda x: i0e(x) - i1e(x) * (sign(x) + 1 / x)),
)


_HALF = (dtypes.float16, dtypes.bfloat16)


def _underived(name: str, doc: str, kernel: str = "") -> Callable[[Tensor], Tensor]:
    """Declare a function that PyTorch does not differentiate: its result needs no gradient."""
    compute = declare(name, doc, kernel or name, base=SpecialFunction, methods=False, refuses=_HALF)

    def function(input: Tensor) -> Tensor:
        require_tensor(name, "input", input)
        return compute(input.detach())

    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return function


airy_ai = _underived("airy_ai", "Return the Airy function Ai.")
bessel_j0 = _underived("bessel_j0", "Return the Bessel function of the first kind, order 0.")
bessel_j1 = _underived("bessel_j1", "Return the Bessel function of the first kind, order 1.")
bessel_y0 = _underived("bessel_y0", "Return the Bessel function of the second kind, order 0.")
bessel_y1 = _underived("bessel_y1", "Return the Bessel function of the second kind, order 1.")
modified_bessel_k0 = _underived("modified_bessel_k0", "Return the modified Bessel function K of order 0.")
modified_bessel_k1 = _underived("modified_bessel_k1", "Return the modified Bessel function K of order 1.")
scaled_modified_bessel_k0 = _underived("scaled_modified_bessel_k0", "Return `exp(x)` times K of order 0.")
scaled_modified_bessel_k1 = _underived("scaled_modified_bessel_k1", "Return `exp(x)` times K of order 1.")


modified_bessel_i0 = _underived("modified_bessel_i0", "Return the modified Bessel function I of order 0.", "i0")
modified_bessel_i1 = _underived("modified_bessel_i1", "Return the modified Bessel function I of order 1.", "i1")


class SphericalBessel(Pointwise):
    """sin(x) / x, 1 at 0 and 0 at infinity."""

    def forward(self, x: Any) -> Any:
        xp = array_module(self.where)
        return xp.where(xp.isinf(x), x.dtype.type(0), xp.where(x == 0, x.dtype.type(1), xp.sin(x) / x))


def spherical_bessel_j0(input: Tensor) -> Tensor:
    """Return the spherical Bessel function of order 0, `sin(x) / x`."""
    require_tensor("spherical_bessel_j0", "input", input)
    if input.dtype in _HALF:
        raise not_implemented("spherical_bessel_j0_cpu", input.dtype, "float32 or float64")
    return SphericalBessel()(to_floating_point(input.detach()))


def _at_zero(x: Tensor, derivative: Callable[[Tensor], Tensor]) -> Tensor:
    """Return a derivative whose formula divides by x, and its limit ½ at zero."""
    zero = x.detach() == 0
    return derivative(x.masked_fill(zero, 1)).masked_fill(zero, 0.5)


class Polygamma(Node):
    """The n-th derivative of digamma: (-1)ⁿ⁺¹ n! ζ(n + 1, x)."""

    saves_inputs = (0,)
    in_float32 = True

    def __init__(self, n: int) -> None:
        self.n = n

    def forward(self, x: Any) -> Any:
        x = contiguous(x, self.where)
        result = allocate(x.shape, x.dtype, self.where)
        order = array_module(self.where).full(x.shape, self.n + 1, x.dtype)
        kernels_for(self.where, "special").binary("zeta", order, x, result)
        result *= x.dtype.type((-1) ** (self.n + 1) * math.factorial(self.n))
        return result

    def backward(self, grad: Tensor) -> Tensor:
        return grad * polygamma(self.n + 1, self.saved_tensor)


def polygamma(n: int, input: Tensor) -> Tensor:
    """Return the n-th derivative of the digamma function."""
    require_tensor("polygamma", "input", input)
    if n < 0:
        raise RuntimeError("polygamma(n, x) does not support negative n.")
    refuse_complex("polygamma", input)
    return digamma(input) if n == 0 else Polygamma(n)(to_floating_point(input))


@method(name="polygamma")
def _polygamma_method(self: Tensor, n: int) -> Tensor:
    """Return the n-th derivative of the digamma function."""
    return polygamma(n, self)


install_in_place("polygamma_", _polygamma_method)


class SpecialPair(Node):
    """A function of two numbers that a kernel computes, without a derivative by the first, as in PyTorch."""

    saves_inputs = (0, 1)
    in_float32 = True
    function = ""

    def forward(self, a: Any, b: Any) -> Any:
        broadcast_shape(self.function, a.shape, b.shape)
        first, second = (contiguous(x, self.where) for x in array_module(self.where).broadcast_arrays(a, b))
        result = allocate(first.shape, first.dtype, self.where)
        kernels_for(self.where, "special").binary(self.function, first, second, result)
        return result

    def slope(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the derivative by the second number."""
        raise NotImplementedError(f"the derivative for '{self.function}' is not implemented.")

    def backward(self, grad: Tensor) -> Any:
        a, b = self.saved_tensors
        if self.needs_input_grad[0]:
            raise NotImplementedError(f"the derivative for '{self.function}' is not implemented.")
        return None, (grad * self.slope(a, b)).sum_to_size(b.shape)


class Zeta(SpecialPair):
    """The Hurwitz zeta function."""

    name = "SpecialZetaBackward0"
    function = "zeta"

    def slope(self, a: Tensor, b: Tensor) -> Tensor:
        return -a * zeta(a + 1, b)


def zeta(input: Any, other: Any) -> Tensor:
    """Return the Hurwitz zeta function Σ (other + k)^-input over k >= 0."""
    a, b = floating_operands("zeta", input, other)
    refuse_complex("zeta", a)
    if a.dtype.itemsize < 4:
        raise not_implemented("zeta_cpu", a.dtype, "float32 or float64")
    return Zeta()(a, b)


class Igamma(SpecialPair):
    """The lower incomplete gamma function P(a, x)."""

    function = "igamma"

    def slope(self, a: Tensor, b: Tensor) -> Tensor:
        return exp((a - 1) * log(b) - b - lgamma(a))


class Igammac(Igamma):
    """The upper incomplete gamma function 1 - P(a, x)."""

    function = "igammac"

    def slope(self, a: Tensor, b: Tensor) -> Tensor:
        return -super().slope(a, b)


def _incomplete_gamma(node: SpecialPair, input: Any, other: Any) -> Tensor:
    require_tensor(node.function, "input", input)
    require_tensor(node.function, "other", other)
    a, b = operands(node.function, input, other)
    require_floating_point(f"{node.function}_cpu", a)
    return node(a, b)


@method
def igamma(input: Tensor, other: Tensor) -> Tensor:
    """Return the regularized lower incomplete gamma function of `input` (the order) at `other`."""
    return _incomplete_gamma(Igamma(), input, other)


@method
def igammac(input: Tensor, other: Tensor) -> Tensor:
    """Return the regularized upper incomplete gamma function of `input` (the order) at `other`."""
    return _incomplete_gamma(Igammac(), input, other)


install_in_place("igamma_", igamma)
install_in_place("igammac_", igammac)
gammainc, gammaincc = igamma, igammac


def mvlgamma(input: Tensor, p: int) -> Tensor:
    """Return the logarithm of the multivariate gamma function of dimension `p`."""
    require_tensor("mvlgamma", "input", input)
    if input.dtype is dtypes.bool:
        raise RuntimeError("mvlgamma: The input tensor may not be a boolean tensor.")
    if p < 1:
        raise RuntimeError("p has to be greater than or equal to 1")
    x = to_floating_point(input)
    halves = scalar_tensor(0, x.dtype, x._device)._like_array(np.arange(p) / 2)
    return lgamma(x.unsqueeze(-1) - halves).sum(-1) + p * (p - 1) / 4 * math.log(math.pi)


method(mvlgamma)
install_in_place("mvlgamma_", mvlgamma)
multigammaln = mvlgamma


def entr(input: Tensor) -> Tensor:
    """Return `-x * log(x)`: 0 at 0, minus infinity below."""
    require_tensor("entr", "input", input)
    x = to_floating_point(input)
    return (-xlogy(x, x)).masked_fill(x.detach() < 0, -math.inf)


class Xlogy(Node):
    """`x * f(y)` for a logarithm f; 0 where x is 0, unless y is NaN."""

    saves_inputs = (0, 1)
    in_float32 = True

    def __init__(self, shifted: bool) -> None:
        self.shifted = shifted

    def forward(self, x: Any, y: Any) -> Any:
        xp = array_module(self.where)
        self.shapes = x.shape, y.shape
        product = x * (xp.log1p(y) if self.shifted else xp.log(y))
        return xp.where((x == 0) & (y == y), x.dtype.type(0), product)

    def backward(self, grad: Tensor) -> Any:
        x, y = self.saved_tensors
        to_x, to_y = self.needs_input_grad
        inner = y + 1 if self.shifted else y
        if to_x:
            impossible = (x.detach() == 0) & (inner.detach() <= 0)
            through_x = (grad * log(inner)).masked_fill(impossible, 0).sum_to_size(self.shapes[0])
        return through_x if to_x else None, (grad * x / inner).sum_to_size(self.shapes[1]) if to_y else None


def xlogy(input: Any, other: Any) -> Tensor:
    """Return `input * log(other)`, 0 where `input` is 0 and `other` no NaN."""
    a, b = floating_operands("xlogy", input, other)
    refuse_complex("xlogy", a)
    return Xlogy(False)(a, b)


def xlog1py(input: Any, other: Any) -> Tensor:
    """Return `input * log1p(other)`, 0 where `input` is 0 and `other` no NaN."""
    a, b = floating_operands("xlog1py", input, other)
    refuse_complex("xlog1py", a)
    return Xlogy(True)(a, b)


method(xlogy)
install_in_place("xlogy_", xlogy)


class Sinc(Node):
    """sin(πx) / (πx), 1 at 0."""

    saves_inputs = (0,)
    in_float32 = True
    holomorphic = True

    def forward(self, x: Any) -> Any:
        return array_module(self.where).sinc(x).astype(x.dtype, copy=False)

    def backward(self, grad: Tensor) -> Tensor:
        x = self.saved_tensor
        zero = x.detach() == 0
        apart = x.masked_fill(zero, 1)
        angle = apart * math.pi
        slope = (angle * cos(angle) - sin(angle)) / (angle * apart)
        # at 0 the slope is 0 and the curvature -π²/3: keep both orders
        return grad * Where()(zero, x * (-math.pi * math.pi / 3), slope)


@method
def sinc(input: Tensor) -> Tensor:
    """Return `sin(πx) / (πx)`, 1 at 0."""
    require_tensor("sinc", "input", input)
    return Sinc()(to_floating_point(input))


install_in_place("sinc_", sinc)


class Logit(Node):
    """log(x / (1 - x)), with x limited to [eps, 1 - eps] if eps is given."""

    saves_inputs = (0,)
    in_float32 = True

    def __init__(self, eps: float | None) -> None:
        self.eps = eps

    def forward(self, x: Any) -> Any:
        xp = array_module(self.where)
        if self.eps is not None:
            x = xp.clip(x, x.dtype.type(self.eps), x.dtype.type(1 - self.eps))
        return xp.log(x / (1 - x))

    def backward(self, grad: Tensor) -> Tensor:
        x = self.saved_tensor
        slope = grad / (x * (1 - x))
        raw = x.detach()
        if self.eps is None:
            return slope.masked_fill((raw < 0) | (raw > 1), math.nan)
        return slope.masked_fill((raw < self.eps) | (raw > 1 - self.eps), 0)


@method
def logit(input: Tensor, eps: float | None = None) -> Tensor:
    """Return `log(x / (1 - x))`; with `eps` x is limited to `[eps, 1 - eps]` first."""
    require_tensor("logit", "input", input)
    refuse_complex("logit", input)
    return Logit(eps)(to_floating_point(input))


install_in_place("logit_", logit)


def expit(input: Tensor) -> Tensor:
    """Return `1 / (1 + exp(-x))`."""
    return input.sigmoid()


gammaln, psi = lgamma, digamma


def _normalized(name: str, node: Any, input: Tensor, dim: int, dtype: Any) -> Tensor:
    require_tensor(name, "input", input)
    if dtype is not None:
        input = to_dtype(input, dtypes.as_dtype(dtype))
    require_floating_point(f"{name}_lastdim_kernel_impl", input)
    axis = normalize_dim(dim, input.ndim)
    return node(axis)(input) if input.ndim else node(0)(input.reshape(1)).reshape(())


@method
def softmax(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """Return exponentials scaled to sum to 1 along `dim`; `dtype` is taken on first."""
    return _normalized("softmax", Softmax, input, dim, dtype)


@method
def log_softmax(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """Return the logarithm of `softmax`, computed without overflow."""
    return _normalized("log_softmax", LogSoftmax, input, dim, dtype)
