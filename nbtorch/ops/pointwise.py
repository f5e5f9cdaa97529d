"""Functions of one element at a time: one row of a table each, with formula and derivative."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.graph import Node
from ..device import array_module
from ..limits import finfo, iinfo
from ..tensor import Tensor, method
from .arithmetic import Where, install_in_place, unbroadcast
from .operands import (
    broadcast_shape,
    is_scalar,
    not_implemented,
    refuse_complex,
    require_number,
    require_tensor,
    scalar_tensor,
    to_device,
    to_dtype,
    to_floating_point,
)
from .reduction import return_type


class Pointwise(Node):
    """A function `y = f(x)`; subclasses are made by `declare`."""

    formula: Any
    derivative: Callable[..., Any]
    in_float32 = True
    holomorphic = True

    def forward(self, x: Any) -> Any:
        return self.formula(array_module(self.where), x)

    def backward(self, grad: Tensor) -> Tensor:
        return grad * self.derivative(*self.saved_tensors)


def declare(
    name: str,
    doc: str,
    formula: Callable[[Any, Any], Any] | str,
    *,
    from_input: Callable[[Tensor], Any] | None = None,
    from_output: Callable[[Tensor], Any] | None = None,
    keeps_integers: bool = False,
    complex_error: type[Exception] | None = None,
    refuses: tuple[dtypes.dtype, ...] = (),
    base: type[Pointwise] = Pointwise,
    methods: bool = True,
) -> Callable[[Tensor], Tensor]:
    """Declare a function by its formula on arrays and its derivative on tensors, as a function and as two methods.

    The derivative is given in terms of the input or, where that is cheaper, of the output. Complex numbers raise
    `complex_error` if one is given; `refuses` lists further types for which there is no such function. A `base` other
    than Pointwise may take something else than a formula.
    """
    derivative: Any = from_input or from_output
    members = {
        "name": f"{name.title()}Backward0",
        "formula": staticmethod(formula) if callable(formula) else formula,
        "derivative": staticmethod(derivative),
        "saves_inputs": (0,) if from_input else (),
        "saves_outputs": (0,) if from_output else (),
    }
    node: Any = type(name.capitalize(), (base,), members)

    def function(input: Tensor) -> Tensor:
        require_tensor(name, "input", input)
        if complex_error is not None:
            refuse_complex(name, input, error=complex_error)
        if refuses and input.dtype in refuses:
            raise not_implemented(f"{name}_cpu", input.dtype, "another type")
        return node()(input if keeps_integers else to_floating_point(input))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    if not methods:
        return function
    method(function)

    def in_place(self: Tensor) -> Tensor:
        if name == "abs":
            refuse_complex("abs_", self, error=RuntimeError)  # the result is real
        return self._assign(function(self))

    in_place.__name__ = f"{name}_"
    in_place.__doc__ = f"In-place form of `{name}`."
    method(in_place)
    return function


def _zeros(x: Tensor) -> Tensor:
    return x._filled_like(0)


exp = declare("exp", "Return e to the power of the elements.", lambda xp, x: xp.exp(x), from_output=lambda y: y)
expm1 = declare(
    "expm1", "Return `exp(x) - 1`, accurate near 0.", lambda xp, x: xp.expm1(x), from_output=lambda y: y + 1
)
log = declare("log", "Return the natural logarithm.", lambda xp, x: xp.log(x), from_input=lambda x: 1 / x)
log2 = declare(
    "log2", "Return the logarithm to base 2.", lambda xp, x: xp.log2(x), from_input=lambda x: 1 / (x * math.log(2))
)
log10 = declare(
    "log10", "Return the logarithm to base 10.", lambda xp, x: xp.log10(x), from_input=lambda x: 1 / (x * math.log(10))
)
log1p = declare(
    "log1p", "Return `log(1 + x)`, accurate near 0.", lambda xp, x: xp.log1p(x), from_input=lambda x: 1 / (x + 1)
)
sqrt = declare("sqrt", "Return the square root.", lambda xp, x: xp.sqrt(x), from_output=lambda y: 0.5 / y)
rsqrt = declare(
    "rsqrt", "Return one over the square root.", lambda xp, x: 1 / xp.sqrt(x), from_output=lambda y: -0.5 * y * y * y
)
reciprocal = declare(
    "reciprocal", "Return one over the elements.", lambda xp, x: xp.reciprocal(x), from_output=lambda y: -y * y
)
sin = declare("sin", "Return the sine.", lambda xp, x: xp.sin(x), from_input=lambda x: x.cos())
cos = declare("cos", "Return the cosine.", lambda xp, x: xp.cos(x), from_input=lambda x: -sin(x))
tan = declare("tan", "Return the tangent.", lambda xp, x: xp.tan(x), from_output=lambda y: y * y + 1)
abs = declare(
    "abs",
    "Return the absolute value.",
    lambda xp, x: xp.abs(x),
    from_input=lambda x: x.sgn(),
    keeps_integers=True,
    refuses=(dtypes.bool,),
)


def _sign(xp: Any, x: Any) -> Any:
    """Return -1, 0 or 1; NaN has the sign 0, as in PyTorch."""
    return ((x > 0).astype(np.int8) - (x < 0)).astype(x.dtype)


sign = declare(
    "sign",
    "Return -1, 0 or 1, and 0 for NaN.",
    _sign,
    from_input=_zeros,
    keeps_integers=True,
    complex_error=NotImplementedError,
)
floor = declare(
    "floor",
    "Return the elements rounded down.",
    lambda xp, x: xp.floor(x),
    from_input=_zeros,
    keeps_integers=True,
    complex_error=NotImplementedError,
    refuses=(dtypes.bool,),
)
ceil = declare(
    "ceil",
    "Return the elements rounded up.",
    lambda xp, x: xp.ceil(x),
    from_input=_zeros,
    keeps_integers=True,
    complex_error=NotImplementedError,
    refuses=(dtypes.bool,),
)
trunc = declare(
    "trunc",
    "Return the elements rounded towards zero.",
    lambda xp, x: xp.trunc(x),
    from_input=_zeros,
    keeps_integers=True,
    complex_error=NotImplementedError,
    refuses=(dtypes.bool,),
)


def _ones(x: Tensor) -> Tensor:
    return x._filled_like(1)


sinh = declare("sinh", "Return the hyperbolic sine.", lambda xp, x: xp.sinh(x), from_input=lambda x: cosh(x))
cosh = declare("cosh", "Return the hyperbolic cosine.", lambda xp, x: xp.cosh(x), from_input=lambda x: sinh(x))
asin = declare("asin", "Return the arc sine.", lambda xp, x: xp.arcsin(x), from_input=lambda x: rsqrt(1 - x * x))
acos = declare("acos", "Return the arc cosine.", lambda xp, x: xp.arccos(x), from_input=lambda x: -rsqrt(1 - x * x))
atan = declare("atan", "Return the arc tangent.", lambda xp, x: xp.arctan(x), from_input=lambda x: 1 / (x * x + 1))
asinh = declare(
    "asinh", "Return the inverse hyperbolic sine.", lambda xp, x: xp.arcsinh(x), from_input=lambda x: rsqrt(x * x + 1)
)


def _acosh_derivative(x: Tensor) -> Tensor:
    return rsqrt(x - 1) * rsqrt(x + 1) if x.is_complex() else rsqrt(x * x - 1)  # the product has acosh's branch cut


acosh = declare(
    "acosh",
    "Return the inverse hyperbolic cosine.",
    lambda xp, x: xp.arccosh(x),
    from_input=lambda x: _acosh_derivative(x),
)
atanh = declare(
    "atanh", "Return the inverse hyperbolic tangent.", lambda xp, x: xp.arctanh(x), from_input=lambda x: 1 / (1 - x * x)
)
exp2 = declare(
    "exp2", "Return 2 to the power of the elements.", lambda xp, x: xp.exp2(x), from_output=lambda y: y * math.log(2)
)
frac = declare(
    "frac",
    "Return the part after the decimal point.",
    lambda xp, x: x - xp.trunc(x),
    from_input=_ones,
    complex_error=NotImplementedError,
    refuses=tuple(d for d in dtypes.ALL if d.category < 2),
)
deg2rad = declare(
    "deg2rad",
    "Return degrees as radians.",
    lambda xp, x: x * x.dtype.type(math.pi / 180),
    from_input=lambda x: _ones(x) * (math.pi / 180),
    complex_error=RuntimeError,
)
rad2deg = declare(
    "rad2deg",
    "Return radians as degrees.",
    lambda xp, x: x * x.dtype.type(180 / math.pi),
    from_input=lambda x: _ones(x) * (180 / math.pi),
    complex_error=RuntimeError,
)


class Sgn(Node):
    """x / |x|, 0 at 0: of real numbers the sign."""

    saves_inputs = (0,)
    in_float32 = True

    def forward(self, x: Any) -> Any:
        return array_module(self.where).sign(x) if x.dtype.kind == "c" else _sign(array_module(self.where), x)

    def backward(self, grad: Tensor) -> Tensor:
        x = self.saved_tensor
        if not x.is_complex():
            return grad._filled_like(0)
        size = abs(x)
        zero = size.detach() == 0
        direction = x / size.masked_fill(zero, 1)
        along = (grad * direction.conj()).real
        return ((grad - direction * along) / size.masked_fill(zero, 1)).masked_fill(zero, 0)


@method
def sgn(input: Tensor) -> Tensor:
    """Return -1, 0 or 1; for complex numbers `x / |x|`, 0 at 0."""
    require_tensor("sgn", "input", input)
    return Sgn()(input)


install_in_place("sgn_", sgn)


def _complex_sigmoid(xp: Any, x: Any) -> Any:
    return (1 / (1 + xp.exp(-x))).astype(x.dtype)


# of real numbers these are activations
complex_sigmoid = declare(
    "sigmoid",
    "Return `1 / (1 + exp(-x))` of complex numbers.",
    _complex_sigmoid,
    from_output=lambda y: y * (1 - y),
    methods=False,
)
complex_tanh = declare(
    "tanh",
    "Return the hyperbolic tangent of complex numbers.",
    lambda xp, x: xp.tanh(x),
    from_output=lambda y: 1 - y * y,
    methods=False,
)
absolute = abs


@method
def clamp(input: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """Return the elements limited to `[min, max]`, each a number, a tensor or None."""
    require_tensor("clamp", "input", input)
    if min is None and max is None:
        raise RuntimeError("clamp: At least one of 'min' or 'max' must not be None")
    common, bounds = input.dtype, [bound for bound in (min, max) if bound is not None]
    for bound in bounds:
        if isinstance(bound, Tensor):
            common = dtypes.common_dtype(common, input.ndim, bound.dtype, bound.ndim)
        elif is_scalar(bound):
            common = dtypes.common_dtype(common, input.ndim, dtypes.scalar_dtype(bound), -1)
        else:
            raise TypeError(
                f"clamp(): arguments 'min' and 'max' must be Tensor or a number, not {type(bound).__name__}"
            )
    input = to_dtype(input, common)
    if len(bounds) == 2 or not isinstance(bounds[0], Tensor):
        require_number("clamp", input)
    refuse_complex("clamp", input)
    if not any(isinstance(bound, Tensor) for bound in bounds):
        return Clamp(min, max)(input)
    lowest, highest = -math.inf, math.inf
    if common is dtypes.bool:
        lowest, highest = False, True
    elif not common.is_floating_point:
        limits = iinfo(common)
        lowest, highest = limits.min, limits.max
    return ClampTensor()(input, _as_bound(input, min, lowest), _as_bound(input, max, highest))


def _as_bound(input: Tensor, bound: Any, absent: Any) -> Tensor:
    """Return a bound as a tensor of the input's type and device; `absent` in the place of None."""
    if isinstance(bound, Tensor):
        return (
            to_device(to_dtype(bound, input.dtype), input._device) if bound.ndim == 0 else to_dtype(bound, input.dtype)
        )
    return scalar_tensor(absent if bound is None else bound, input.dtype, input._device)


class Clamp(Node):
    """The elements limited to an interval of numbers; a NaN bound makes everything NaN."""

    name = "ClampBackward1"
    saves_inputs = (0,)
    in_float32 = True

    def __init__(self, low: Any, high: Any) -> None:
        self.low, self.high = low, high

    def forward(self, x: Any) -> Any:
        xp = array_module(self.where)
        for limit, bound in ((xp.maximum, self.low), (xp.minimum, self.high)):
            if bound is not None:
                x = limit(x, xp.asarray(bound).astype(x.dtype))
        return x

    def backward(self, grad: Tensor) -> Tensor:
        x = self.saved_tensor.detach()
        inside = x == x
        if self.low is not None:
            inside = inside & (x >= self.low)
        if self.high is not None:
            inside = inside & (x <= self.high)
        return Where()(inside, grad, scalar_tensor(0, grad.dtype, grad._device))


class ClampTensor(Node):
    """The elements limited to intervals of tensors; at a bound the gradient is the input's."""

    name = "ClampBackward0"
    saves_inputs = (0, 1, 2)
    in_float32 = True

    def forward(self, x: Any, low: Any, high: Any) -> Any:
        broadcast_shape("clamp", x.shape, low.shape, high.shape)
        xp = array_module(self.where)
        return xp.minimum(xp.maximum(x, low), high)

    def backward(self, grad: Tensor) -> Any:
        x, low, high = (t.detach() for t in self.saved_tensors)
        masks = (x >= low) & (x <= high), (x < low) & (low < high), (x > high) | (high < low)
        return tuple(
            unbroadcast(grad.masked_fill(~mask, 0), t._array.shape) if wanted else None
            for mask, t, wanted in zip(masks, (x, low, high), self.needs_input_grad, strict=True)
        )


@method
def clamp_(self: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """In-place form of `clamp`."""
    return self._assign(clamp(self, min, max))


@method
def round(input: Tensor, *, decimals: int = 0) -> Tensor:
    """Return the elements rounded, halves to the even neighbour."""
    require_tensor("round", "input", input)
    refuse_complex("round", input)
    require_number("round_cpu", input)
    if decimals and not input.is_floating_point():
        raise not_implemented("round_cpu", input.dtype, "a floating-point type if there are decimals")
    return Round(decimals)(input)


class Round(Node):
    in_float32 = True

    def __init__(self, decimals: int) -> None:
        self.decimals = decimals

    def forward(self, x: Any) -> Any:
        return array_module(self.where).round(x, self.decimals)

    def backward(self, grad: Tensor) -> Tensor:
        return grad._filled_like(0)


def _test(
    name: str,
    doc: str,
    formula: Callable[[Any, Any], Any],
    complex_error: type[Exception] | None = None,
) -> Callable[[Tensor], Tensor]:
    """Declare a question about each element; complex numbers raise `complex_error` if one is given."""

    def function(input: Tensor) -> Tensor:
        require_tensor(name, "input", input)
        if complex_error is not None:
            refuse_complex(name, input, error=complex_error)
        return input._wrap_like(formula(input._xp, input._array))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return method(function)


signbit = _test(
    "signbit",
    "Return where the sign is negative, that of -0.0 included.",
    lambda xp, x: xp.signbit(x) if x.dtype.kind in dtypes.FLOATING else x < 0,
    NotImplementedError,
)
isposinf = _test("isposinf", "Return where the elements are plus infinity.", lambda xp, x: x == math.inf, RuntimeError)
isneginf = _test(
    "isneginf", "Return where the elements are minus infinity.", lambda xp, x: x == -math.inf, RuntimeError
)
isreal = _test(
    "isreal",
    "Return where the elements have no imaginary part.",
    lambda xp, x: x.imag == 0 if x.dtype.kind == "c" else xp.ones(x.shape, bool),
)


@method(name="__pos__")
@method
def positive(input: Tensor) -> Tensor:
    """Return the tensor itself; booleans have no sign."""
    if input.dtype is dtypes.bool:
        raise RuntimeError("The `+` operator, on a bool tensor is not supported.")
    return input


class NanToNum(Node):
    saves_inputs = (0,)
    in_float32 = True

    def __init__(self, nan: float, posinf: float, neginf: float) -> None:
        self.replacements = {"nan": nan, "posinf": posinf, "neginf": neginf}

    def forward(self, x: Any) -> Any:
        return array_module(self.where).nan_to_num(x, **self.replacements)

    def backward(self, grad: Tensor) -> Tensor:
        return grad.masked_fill(~self.saved_tensor.isfinite(), 0)


@method
def nan_to_num(
    input: Tensor, nan: float | None = None, posinf: float | None = None, neginf: float | None = None
) -> Tensor:
    """Return the elements with NaN (by default 0) and infinities (the extreme numbers of the type) replaced."""
    require_tensor("nan_to_num", "input", input)
    if input.is_complex():
        parts = [nan_to_num(part, nan, posinf, neginf) for part in (input.real, input.imag)]
        return parts[0] + parts[1] * 1j
    if not input.is_floating_point():
        return input.clone()
    limits = finfo(input.dtype)
    high = limits.max if posinf is None else posinf
    low = limits.min if neginf is None else neginf
    return NanToNum(0.0 if nan is None else nan, high, low)(input)


@method
def nan_to_num_(
    self: Tensor, nan: float | None = None, posinf: float | None = None, neginf: float | None = None
) -> Tensor:
    """In-place form of `nan_to_num`."""
    return self._assign(nan_to_num(self, nan, posinf, neginf))


@method
def clamp_min(input: Tensor, min: Any) -> Tensor:
    """Return the elements, or `min` where they are smaller."""
    return clamp(input, min=min)


@method
def clamp_max(input: Tensor, max: Any) -> Tensor:
    """Return the elements, or `max` where they are larger."""
    return clamp(input, max=max)


@method
def clamp_min_(self: Tensor, min: Any) -> Tensor:
    """In-place form of `clamp_min`."""
    return self._assign(clamp(self, min=min))


@method
def clamp_max_(self: Tensor, max: Any) -> Tensor:
    """In-place form of `clamp_max`."""
    return self._assign(clamp(self, max=max))


@method
def round_(self: Tensor, *, decimals: int = 0) -> Tensor:
    """In-place form of `round`."""
    return self._assign(round(self, decimals=decimals))


_ALIASES = {
    "absolute": "abs",
    "arcsin": "asin",
    "arccos": "acos",
    "arctan": "atan",
    "arcsinh": "asinh",
    "arccosh": "acosh",
    "arctanh": "atanh",
    "fix": "trunc",
}
for _alias, _name in _ALIASES.items():
    method(getattr(Tensor, _name), name=_alias)
    method(getattr(Tensor, f"{_name}_"), name=f"{_alias}_")
arcsin, arccos, arctan, arcsinh, arccosh, arctanh, fix = asin, acos, atan, asinh, acosh, atanh, trunc
method(abs, name="__abs__")
method(clamp, name="clip")
method(clamp_, name="clip_")
clip = clamp


frexp_result = return_type("frexp", "mantissa", "exponent")


class Frexp(Node):
    """Mantissas in [0.5, 1) and exponents of 2."""

    in_float32 = True

    saves_outputs = (1,)

    def forward(self, x: Any) -> Any:
        mantissa, exponent = array_module(self.where).frexp(x)
        return mantissa, exponent.astype(np.int32, copy=False)

    def backward(self, grad: Tensor | None, unused: Any) -> Any:
        return None if grad is None else grad * exp2(to_dtype(-self.saved_tensor, grad.dtype))


@method
def frexp(input: Tensor) -> Any:
    """Return mantissas with absolute values in [0.5, 1) and int32 exponents: `input = mantissa * 2 ** exponent`."""
    require_tensor("frexp", "input", input)
    if not input.is_floating_point():
        raise RuntimeError(f"torch.frexp() only supports floating-point dtypes, got {input.dtype}")
    return frexp_result(*Frexp()(input))
