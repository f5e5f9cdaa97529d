"""Functions of two or three elements beyond arithmetic, broadcast: one row of a table each."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from .. import dtypes
from ..autograd.grad_mode import no_grad
from ..autograd.graph import Node
from ..device import array_module
from ..tensor import Tensor, method
from .activation import sigmoid
from .arithmetic import (
    Binary,
    Where,
    add,
    div,
    ge,
    gt,
    install_in_place,
    le,
    lt,
    mul,
    ne,
    pow,
    refuse_zero_divisor,
    sub,
    unbroadcast,
)
from .operands import (
    broadcast_shape,
    floating_operands,
    is_scalar,
    not_implemented,
    operands,
    refuse_complex,
    require_number,
    require_same_device,
    require_tensor,
    scalar_tensor,
    to_dtype,
)


class Pair(Binary):
    """A function `f(a, b)` with its two derivatives; subclasses are made by `_declare_pair`."""

    saves_inputs = (0, 1)
    formula: Callable[..., Any]
    gradients: Callable[..., Any]
    in_float32 = True
    holomorphic = True

    def apply(self, xp: Any, a: Any, b: Any) -> Any:
        return self.formula(xp, a, b)

    def backward(self, grad: Tensor) -> Any:
        to_a, to_b = self.gradients(grad, *self.saved_tensors)
        wants_a, wants_b = self.needs_input_grad
        return (
            unbroadcast(to_a, self.shapes[0]) if wants_a else None,
            unbroadcast(to_b, self.shapes[1]) if wants_b else None,
        )


def _declare_pair(
    name: str,
    doc: str,
    formula: Callable[[Any, Any, Any], Any],
    gradients: Callable[[Tensor, Tensor, Tensor], tuple[Any, Any]],
    prepare: Callable[..., tuple[Tensor, Tensor]] = operands,
    in_place: bool = True,
    complex_error: type[Exception] | None = NotImplementedError,
) -> Callable[[Any, Any], Tensor]:
    """Declare a function of two tensors by its formula on arrays and its gradients on tensors.

    Complex operands raise `complex_error` unless it is None.
    """
    members = {"formula": staticmethod(formula), "gradients": staticmethod(gradients)}
    node: Any = type(name.capitalize(), (Pair,), members)

    def function(input: Any, other: Any) -> Tensor:
        a, b = prepare(name, input, other)
        if complex_error is not None:
            refuse_complex(name, a, error=complex_error)
        return node()(a, b)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    method(function)
    if in_place:
        install_in_place(f"{name}_", function)
    return function


def _require_tensors(operation: str, a: Any, b: Any) -> tuple[Tensor, Tensor]:
    """Return two tensors in their common type; numbers are refused."""
    require_tensor(operation, "input", a)
    require_tensor(operation, "other", b)
    return operands(operation, a, b)


def _require_floating(operation: str, a: Any, b: Any) -> tuple[Tensor, Tensor]:
    """Return two tensors in their common type, which must be floating point or complex."""
    a, b = _require_tensors(operation, a, b)
    if a.dtype.category < 2:
        raise not_implemented(f"{operation}_cpu", a.dtype, "a floating-point type")
    return a, b


def _require_inexact(operation: str, a: Any, b: Any) -> tuple[Tensor, Tensor]:
    """Return two tensors in their common type, which must be floating point or complex."""
    a, b = _require_tensors(operation, a, b)
    if a.dtype.category < 2:
        raise not_implemented(f"{operation}_cpu", a.dtype, "a floating-point or complex type")
    return a, b


def _numbers(operation: str, a: Any, b: Any) -> tuple[Tensor, Tensor]:
    a, b = operands(operation, a, b)
    require_number(f"{operation}_cpu", a)
    return a, b


def _masked(grad: Tensor, keep: Tensor) -> Tensor:
    return Where()(keep, grad, scalar_tensor(0, grad.dtype, grad._device))


def _atan2_gradients(grad: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    square = a * a + b * b
    scaled = grad / square.masked_fill(square == 0, 1)
    return scaled * b, scaled * -a


def _hypot_gradients(grad: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    scaled = grad / hypot(a, b)
    return scaled * a, scaled * b


def _extreme_gradients(better: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., tuple[Tensor, Tensor]]:
    """Return the gradients of `fmax` or `fmin`: all of it goes to the operand taken, of equals to the first."""

    def gradients(grad: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        from_a = better(a.detach(), b.detach()) | b.isnan()
        return _masked(grad, from_a), _masked(grad, ~from_a)

    return gradients


def _copysign_gradients(grad: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    with no_grad():
        ratio = (copysign(a, b) / a).masked_fill(a == 0, 0)
    return grad * ratio, grad * 0


def _fmod(xp: Any, a: Any, b: Any) -> Any:
    refuse_zero_divisor(a, b)
    return xp.fmod(a, b)


def log_of_sum(xp: Any, a: Any, b: Any) -> Any:
    """Return log(exp(a) + exp(b)) of arrays, without overflow."""
    if a.dtype.kind != "c":
        return xp.logaddexp(a, b)
    swapped = a.real < b.real
    high, low = xp.where(swapped, b, a), xp.where(swapped, a, b)
    return high + xp.log1p(xp.exp(low - high))


def _no_gradients(grad: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    raise RuntimeError("the derivative of this function is not implemented")


def _same_type(operation: str, a: Any, b: Any) -> tuple[Tensor, Tensor]:
    require_tensor(operation, "input", a)
    require_tensor(operation, "values", b)
    if a.dtype is not b.dtype:
        raise RuntimeError(f"{operation} is not yet implemented for tensors with different dtypes.")
    return operands(operation, a, b)


def _integers(operation: str, a: Any, b: Any) -> tuple[Tensor, Tensor]:
    a, b = operands(operation, a, b)
    if a.dtype.category != 1:
        raise not_implemented(f"{operation}_cpu", a.dtype, "integers")
    return a, b


def _tensors_floating(operation: str, a: Any, b: Any) -> tuple[Tensor, Tensor]:
    require_tensor(operation, "input", a)
    require_tensor(operation, "other", b)
    return floating_operands(operation, a, b)


atan2 = _declare_pair(
    "atan2",
    "Return the angle of the point (other, input), in (-π, π].",
    lambda xp, a, b: xp.arctan2(a, b),
    _atan2_gradients,
    _tensors_floating,
)
hypot = _declare_pair(
    "hypot",
    "Return the hypotenuse of two sides.",
    lambda xp, a, b: xp.hypot(a, b),
    _hypot_gradients,
    _require_floating,
)
logaddexp = _declare_pair(
    "logaddexp",
    "Return `log(exp(input) + exp(other))` without overflow.",
    log_of_sum,
    lambda grad, a, b: (grad * sigmoid(a - b), grad * sigmoid(b - a)),
    _require_inexact,
    in_place=False,
    complex_error=None,
)
logaddexp2 = _declare_pair(
    "logaddexp2",
    "Return `log2(2 ** input + 2 ** other)` without overflow.",
    lambda xp, a, b: xp.logaddexp2(a, b),
    lambda grad, a, b: (grad * sigmoid((a - b) * math.log(2)), grad * sigmoid((b - a) * math.log(2))),
    _require_floating,
    in_place=False,
)
fmod = _declare_pair(
    "fmod",
    "Return the remainder of division, with the sign of the dividend.",
    _fmod,
    lambda grad, a, b: (grad, -grad * div(a, b, rounding_mode="trunc")),
    _numbers,
)
fmax = _declare_pair(
    "fmax",
    "Return the larger of two elements; a number wins over NaN.",
    lambda xp, a, b: xp.fmax(a, b),
    _extreme_gradients(ge),
    _require_tensors,
    in_place=False,
    complex_error=RuntimeError,
)
fmin = _declare_pair(
    "fmin",
    "Return the smaller of two elements; a number wins over NaN.",
    lambda xp, a, b: xp.fmin(a, b),
    _extreme_gradients(le),
    _require_tensors,
    in_place=False,
    complex_error=RuntimeError,
)
copysign = _declare_pair(
    "copysign",
    "Return the size of one element with the sign of the other.",
    lambda xp, a, b: xp.copysign(a, b),
    _copysign_gradients,
    floating_operands,
)
heaviside = _declare_pair(
    "heaviside",
    "Return 0 for negative elements, 1 for positive ones, and the other element for 0.",
    lambda xp, a, b: xp.where(a == 0, b, a > 0).astype(a.dtype),
    _no_gradients,
    _same_type,
    complex_error=RuntimeError,
)
nextafter = _declare_pair(
    "nextafter",
    "Return the floating-point number next to one element, towards the other.",
    lambda xp, a, b: xp.nextafter(a, b),
    lambda grad, a, b: (grad.masked_fill(a == b, 0), grad * 0),
    _require_floating,
)
gcd = _declare_pair(
    "gcd", "Return the greatest common divisor.", lambda xp, a, b: xp.gcd(a, b), _no_gradients, _integers
)
lcm = _declare_pair("lcm", "Return the least common multiple.", lambda xp, a, b: xp.lcm(a, b), _no_gradients, _integers)
bitwise_left_shift = _declare_pair(
    "bitwise_left_shift",
    "Return the bits moved up.",
    lambda xp, a, b: xp.left_shift(a, b),
    _no_gradients,
    _integers,
)
bitwise_right_shift = _declare_pair(
    "bitwise_right_shift",
    "Return the bits moved down, the sign kept.",
    lambda xp, a, b: xp.right_shift(a, b),
    _no_gradients,
    _integers,
)


def ldexp(input: Tensor, other: Tensor) -> Tensor:
    """Return `input * 2 ** other`."""
    require_tensor("ldexp", "input", input)
    require_tensor("ldexp", "other", other)
    return mul(input, pow(2.0, other))


def float_power(input: Any, exponent: Any) -> Tensor:
    """Return `input ** exponent`, computed in float64, or in complex128 where one of them is complex."""
    if not isinstance(input, Tensor) and not isinstance(exponent, Tensor):
        raise TypeError("float_power(): at least one argument must be Tensor, got two numbers")
    has_complex = any(x.is_complex() if isinstance(x, Tensor) else isinstance(x, complex) for x in (input, exponent))
    wide = dtypes.complex128 if has_complex else dtypes.float64
    a, b = (to_dtype(x, wide) if isinstance(x, Tensor) else x for x in (input, exponent))
    return pow(a, b)


method(ldexp)
method(float_power)
install_in_place("ldexp_", ldexp)


@method
def float_power_(self: Tensor, exponent: Any) -> Tensor:
    """In-place form of `float_power`, for float64 only."""
    if self.dtype is not dtypes.float64:
        raise RuntimeError(
            f"the base given to float_power_ has dtype {self.dtype} but the operation's result requires"
            " dtype torch.float64"
        )
    return self._assign(float_power(self, exponent))


@method
def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Any = 1) -> Tensor:
    """Return `input + value * tensor1 * tensor2`."""
    product = mul(tensor1, tensor2)
    require_number("addcmul_cpu_out", product)
    return add(input, product if value == 1 else mul(product, scalar_tensor(value, product.dtype, product._device)))


@method
def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Any = 1) -> Tensor:
    """Return `input + value * tensor1 / tensor2`."""
    if tensor1.dtype.category < 2 and tensor2.dtype.category < 2:
        raise RuntimeError(
            "Integer division with addcdiv is no longer supported, and in a future release addcdiv will perform a true"
            " division of tensor1 and tensor2. Use (input + value * torch.trunc(tensor1 / tensor2)).to(input.dtype) for"
            " the historic addcdiv behavior or (input + value * tensor1 / tensor2) for the present one."
        )
    quotient = div(tensor1, tensor2)
    return add(input, quotient if value == 1 else mul(quotient, value))


class Lerp(Node):
    """`start + weight * (end - start)`, computed from the nearer end."""

    name = "LerpBackward1"
    saves_inputs = (0, 1, 2)
    in_float32 = True
    holomorphic = True

    def forward(self, start: Any, end: Any, weight: Any) -> Any:
        xp = array_module(self.where)
        broadcast_shape("lerp", start.shape, end.shape, weight.shape)
        self.shapes = start.shape, end.shape, weight.shape
        difference = end - start
        return xp.where(xp.abs(weight) < 0.5, start + weight * difference, end - difference * (1 - weight))

    def backward(self, grad: Tensor) -> Any:
        start, end, weight = self.saved_tensors
        wanted = self.needs_input_grad
        ways = (lambda: grad * (1 - weight), lambda: grad * weight, lambda: grad * sub(end, start))
        return tuple(
            unbroadcast(way(), shape) if want else None
            for way, shape, want in zip(ways, self.shapes, wanted, strict=True)
        )


@method
def lerp(input: Tensor, end: Tensor, weight: Any) -> Tensor:
    """Return the point between `input` and `end` at a share `weight` (a number or a tensor) of the way."""
    require_tensor("lerp", "input", input)
    require_tensor("lerp", "end", end)
    if input.dtype.category < 2:
        raise not_implemented("lerp_kernel_scalar", input.dtype, "a floating-point type")
    if is_scalar(weight):
        weight = scalar_tensor(weight, input.dtype, input._device)
    require_tensor("lerp", "weight", weight)
    require_same_device("lerp", input, end, weight)
    for name, tensor in (("end", end), ("weight", weight)):
        if tensor.dtype is not input.dtype:
            raise RuntimeError(f"expected dtype {input.dtype.name} for `{name}` but got dtype {tensor.dtype.name}")
    return Lerp()(input, end, weight)


for _operation in (addcmul, addcdiv, lerp):
    install_in_place(f"{_operation.__name__}_", _operation)
for _alias, _name in {
    "greater": "gt",
    "greater_equal": "ge",
    "less": "lt",
    "less_equal": "le",
    "not_equal": "ne",
    "arctan2": "atan2",
}.items():
    method(getattr(Tensor, _name), name=_alias)
    method(getattr(Tensor, f"{_name}_"), name=f"{_alias}_")
for _name, _operation in (("lshift", bitwise_left_shift), ("rshift", bitwise_right_shift)):
    method(_operation, name=f"__{_name}__")
    method(lambda self, other, _operation=_operation: _operation(other, self), name=f"__r{_name}__")
    method(getattr(Tensor, f"{_operation.__name__}_"), name=f"__i{_name}__")
arctan2 = atan2
greater, greater_equal, less, less_equal, not_equal = gt, ge, lt, le, ne
