"""Arithmetic, comparison and logic, element by element with broadcasting."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.grad_mode import observers, state
from ..autograd.graph import Node, edge_of, next_in_sequence
from ..device import CPU, array_module, kernels_for, pool
from ..layout import allocate_strided, element_strides, format_strides, require_memory_format
from ..layout import memory_format as MemoryFormat
from ..quiet import local, quietly
from ..spelling import respelled
from ..tensor import Tensor, method
from .operands import (
    broadcast_shape,
    cast,
    fitting_scalar,
    floating_operands,
    is_scalar,
    not_implemented,
    operands,
    refuse_complex,
    require_number,
    require_tensor,
    scalar_tensor,
    to_dtype,
)


def unbroadcast(grad: Tensor, shape: tuple[int, ...] | None) -> Tensor:
    """Sum a gradient over the dimensions along which its input was broadcast; None tells that it was not."""
    return grad if shape is None or grad._array.shape == shape else grad.sum_to_size(shape)


class Binary(Node):
    """An operation on two tensors that broadcast; `apply` computes it with an array module."""

    def forward(self, a: Any, b: Any) -> Any:
        if a.shape != b.shape:
            broadcast_shape(self.name.removesuffix("Backward0").lower(), a.shape, b.shape)
        self.shapes = a.shape, b.shape
        return self.apply(array_module(self.where), a, b)

    def apply(self, xp: Any, a: Any, b: Any) -> Any:
        """Compute the result."""
        raise TypeError(f"{self.name} defines no result")


_new, _ndarray = Tensor.__new__, np.ndarray

_LARGE = 1 << 18
"""Elements from which on arithmetic is shared out among threads."""


def _shares_out(ufunc: str, x: Any, y: Any) -> bool:
    """Return whether there is a kernel for an operation on two arrays."""
    return (
        ufunc in ("add", "subtract", "multiply", "true_divide")
        and x.dtype.char in "fd"
        and x.dtype is y.dtype
        and x.shape == y.shape
        and x.flags.c_contiguous
        and y.flags.c_contiguous
    )


class Ufunc(Binary):
    """A binary operation that is one ufunc of the array module.

    The smallest operations are the commonest, so these take the shortest way: what `Node.__call__` does step by step
    for any number of inputs and outputs, `__call__` does here at once for two inputs and one output.
    """

    ufunc: str
    _on_cpu: Any  # NumPy's ufunc of that name
    shapes: Any = (None, None)  # those of the inputs, where they were broadcast

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._on_cpu = getattr(np, cls.ufunc)

    def __call__(self, a: Tensor, b: Tensor) -> Tensor:  # type: ignore[override]
        """Compute the result; record the operation if an input requires a gradient."""
        x, y, where = a._array, b._array, a._device
        if where is CPU:
            function = self._on_cpu
        else:
            self.where = where
            function = getattr(array_module(where), self.ufunc)
        try:
            if x.size >= _LARGE and where is CPU and _shares_out(self.ufunc, x, y):
                output = pool.empty(x.shape, x.dtype)
                kernels_for(where, "arithmetic").combine(self.ufunc, x, y, output)
            else:
                output = local.run(function, x, y)
        except (RuntimeError, ValueError):
            broadcast_shape(self.ufunc, x.shape, y.shape)
            output = quietly(function, x, y)
        result = _new(Tensor)
        if where is CPU and type(output) is _ndarray:
            result._array = output
        else:
            result = a._wrap_like(output)
        if (a._requires_grad or b._requires_grad or a._base is not None or b._base is not None) and state.enabled:
            edge, other_edge = edge_of(a), edge_of(b)
            if edge is not None or other_edge is not None:
                self.edges, self.needs_input_grad = (edge, other_edge), (edge is not None, other_edge is not None)
                self.sequence = next_in_sequence()
                if x.shape != y.shape:
                    self.shapes = x.shape, y.shape
                if self.saves_inputs:
                    self._save((a, b), (result,))
                result._requires_grad, result._grad_fn = True, self
                if observers.count:
                    self.reveal((result,))
        elif observers.count and state.inference:
            result._mark_inference()
        return result


class Add(Ufunc):
    ufunc = "add"

    def backward(self, grad: Tensor) -> Any:
        to_a, to_b = self.needs_input_grad
        shape_a, shape_b = self.shapes
        return unbroadcast(grad, shape_a) if to_a else None, unbroadcast(grad, shape_b) if to_b else None


class Sub(Ufunc):
    ufunc = "subtract"

    def backward(self, grad: Tensor) -> Any:
        to_a, to_b = self.needs_input_grad
        return (
            unbroadcast(grad, self.shapes[0]) if to_a else None,
            unbroadcast(neg(grad), self.shapes[1]) if to_b else None,
        )


class Rsub(Sub):
    """A difference written the other way round: a number minus a tensor."""

    name = "RsubBackward1"


class Mul(Ufunc):
    ufunc = "multiply"
    saves_inputs = (0, 1)
    saved_for = (1, 0)
    holomorphic = True

    def backward(self, grad: Tensor) -> Any:
        a, b = self.saved_tensors
        to_a, to_b = self.needs_input_grad
        return (
            unbroadcast(grad * b, self.shapes[0]) if to_a else None,
            unbroadcast(grad * a, self.shapes[1]) if to_b else None,
        )


class Div(Ufunc):
    ufunc = "true_divide"
    saves_inputs = (0, 1)
    saved_for = (1,)
    in_float32 = True
    holomorphic = True

    def backward(self, grad: Tensor) -> Any:
        a, b = self.saved_tensors
        to_a, to_b = self.needs_input_grad
        return (
            unbroadcast(grad / b, self.shapes[0]) if to_a else None,
            unbroadcast(-grad * (a / b / b), self.shapes[1]) if to_b else None,
        )


def refuse_zero_divisor(a: Any, b: Any) -> None:
    """Raise where integers would be divided by zero."""
    if a.dtype.kind in "iu" and a.size and (b == 0).any():
        raise RuntimeError("ZeroDivisionError")


class DivRounded(Binary):
    """Division rounded to an integer: its gradient is zero wherever it exists."""

    name = "DivBackward2"
    in_float32 = True

    def __init__(self, rounding: str) -> None:
        self.rounding = rounding

    def apply(self, xp: Any, a: Any, b: Any) -> Any:
        refuse_zero_divisor(a, b)
        if self.rounding == "floor":
            return xp.floor_divide(a, b)
        if a.dtype.kind in "iu":
            return _truncated_quotient(xp, a, b)
        return xp.trunc(xp.true_divide(a, b))

    def backward(self, grad: Tensor) -> Any:
        zero = grad * 0
        return unbroadcast(zero, self.shapes[0]), unbroadcast(zero, self.shapes[1])


class FloorDivide(DivRounded):
    """The quotient rounded down, which PyTorch does not differentiate."""

    name = "NotImplemented"

    def backward(self, grad: Tensor) -> Any:
        raise RuntimeError("derivative for floor_divide is not implemented; use div with rounding_mode='floor'")


def _truncated_quotient(xp: Any, a: Any, b: Any) -> Any:
    quotient = xp.floor_divide(a, b)
    return quotient + ((quotient < 0) & (quotient * b != a)).astype(a.dtype)


class Remainder(Binary):
    saves_inputs = (0, 1)
    saved_for = (1, 1)
    in_float32 = True

    def apply(self, xp: Any, a: Any, b: Any) -> Any:
        refuse_zero_divisor(a, b)
        return xp.remainder(a, b)

    def backward(self, grad: Tensor) -> Any:
        a, b = self.saved_tensors
        to_a, to_b = self.needs_input_grad
        return (
            unbroadcast(grad, self.shapes[0]) if to_a else None,
            unbroadcast(-grad * div(a, b, rounding_mode="floor"), self.shapes[1]) if to_b else None,
        )


class Pow(Binary):
    saves_inputs = (0, 1)
    saves_outputs = (0,)
    in_float32 = True
    holomorphic = True

    def apply(self, xp: Any, a: Any, b: Any) -> Any:
        if a.dtype.kind == "i" and (b < 0).any():
            return _integer_power(xp, a, b)
        return xp.power(a, b).astype(a.dtype, copy=False)  # NumPy has no power of booleans

    def backward(self, grad: Tensor) -> Any:
        a, b, result = self.saved_tensors
        to_a, to_b = self.needs_input_grad
        grad_a = grad_b = None
        if to_a:
            # 0 ** 0 is 1 whatever the base does: its derivative is 0, not 0 * inf
            grad_a = unbroadcast((grad * b * a.pow(b - 1)).masked_fill(b == 0, 0), self.shapes[0])
        if to_b:
            flat = (a == 0) & ((b.real >= 0) & (b.imag == 0) if b.is_complex() else b >= 0)
            grad_b = unbroadcast((grad * result * a.log()).masked_fill(flat, 0), self.shapes[1])
        return grad_a, grad_b


def _integer_power(xp: Any, a: Any, b: Any) -> Any:
    """Return powers of integers: those with negative exponents are 1 and -1 for these bases, and 0 for the others."""
    parity = xp.where(b % 2 == 0, 1, a).astype(a.dtype)
    return xp.where(b >= 0, xp.power(a, xp.maximum(b, 0)), xp.where(abs(a) == 1, parity, a.dtype.type(0)))


class PowNumber(Node):
    """A power whose exponent is a number."""

    name = "PowBackward0"
    saves_inputs = (0,)
    in_float32 = True
    holomorphic = True

    def __init__(self, exponent: Any) -> None:
        self.exponent = exponent

    def forward(self, a: Any) -> Any:
        xp, exponent = array_module(self.where), self.exponent
        if exponent == 1:
            return a.copy()
        if exponent == 2:
            return a * a
        if exponent == 3:
            return a * a * a
        if a.dtype.kind in "fc":
            if exponent == 0.5:
                return xp.sqrt(a)
            if exponent == -0.5:
                return 1 / xp.sqrt(a)
            if exponent == -1:
                return 1 / a
            if exponent == -2:
                return 1 / (a * a)
        power = xp.power(a, xp.asarray(exponent).astype(a.dtype))
        return power.astype(a.dtype, copy=False)  # NumPy has no power of booleans

    def backward(self, grad: Tensor) -> Tensor:
        if self.exponent == 0:
            return grad._filled_like(0)
        return grad * (PowNumber(self.exponent - 1)(self.saved_tensor) * self.exponent)


class Maximum(Binary):
    saves_inputs = (0, 1)
    in_float32 = True

    def apply(self, xp: Any, a: Any, b: Any) -> Any:
        return xp.maximum(a, b)

    def loses(self, a: Tensor, b: Tensor) -> Tensor:
        """Return where `a` is passed over, or just as good."""
        return a <= b

    def backward(self, grad: Tensor) -> Any:
        a, b = self.saved_tensors
        half = (grad / 2).masked_fill(a != b, 0)  # equal values share the gradient
        return tuple(
            unbroadcast(half + grad.masked_fill(self.loses(mine, other), 0), shape) if wanted else None
            for mine, other, shape, wanted in zip((a, b), (b, a), self.shapes, self.needs_input_grad, strict=True)
        )


class Minimum(Maximum):
    def apply(self, xp: Any, a: Any, b: Any) -> Any:
        return xp.minimum(a, b)

    def loses(self, a: Tensor, b: Tensor) -> Tensor:
        return a >= b


class Neg(Node):
    def forward(self, a: Any) -> Any:
        return array_module(self.where).negative(a)

    def backward(self, grad: Tensor) -> Tensor:
        return neg(grad)


@method
def add(input: Tensor, other: Any, *, alpha: Any = 1) -> Tensor:
    """Return `input + alpha * other`, broadcast."""
    a, b = operands("add", input, other)
    return Add()(a, b if _is_one(alpha) else _scaled(b, alpha))


@method
def sub(input: Tensor, other: Any, *, alpha: Any = 1) -> Tensor:
    """Return `input - alpha * other`, broadcast."""
    a, b = operands("sub", input, other)
    if any(isinstance(x, bool) or (isinstance(x, Tensor) and x.dtype is dtypes.bool) for x in (input, other)):
        raise RuntimeError(
            "Subtraction, the `-` operator, with a bool tensor is not supported. If you are trying to invert a mask,"
            " use the `~` or `logical_not()` operator instead."
        )
    node = Sub if isinstance(input, Tensor) else Rsub
    return node()(a, b if _is_one(alpha) else _scaled(b, alpha))


def _is_one(alpha: Any) -> bool:
    return type(alpha) is int and alpha == 1


def _scaled(b: Tensor, alpha: Any) -> Tensor:
    """Return `alpha * b`, in the type of `b`."""
    if isinstance(alpha, bool) and b.dtype is not dtypes.bool:
        raise RuntimeError(f"Boolean alpha only supported for Boolean results, got alpha={alpha} for {b.dtype}")
    if isinstance(alpha, complex) and not b.is_complex():
        raise RuntimeError(
            f"For non-complex input tensors, argument alpha must not be a complex number, got {alpha} for {b.dtype}"
        )
    if isinstance(alpha, float) and b.dtype.category < 2:
        raise RuntimeError(
            f"For integral input tensors, argument alpha must not be a floating point number, got {alpha} for {b.dtype}"
        )
    return Mul()(b, alpha if isinstance(alpha, Tensor) else scalar_tensor(alpha, b.dtype, b._device))


@method
def mul(input: Any, other: Any) -> Tensor:
    """Return `input * other`, broadcast."""
    a, b = operands("mul", input, other)
    return Mul()(a, b)


@method
def div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    """Return `input / other`, broadcast; integers divide to floating point.

    Args:
        input: the dividend.
        other: the divisor.
        rounding_mode: None, `"trunc"` (towards zero) or `"floor"`; with a mode integers stay integers.
    """
    if rounding_mode is None:
        return Div()(*floating_operands("div", input, other))
    if rounding_mode not in ("trunc", "floor"):
        raise RuntimeError(
            f"div expected rounding_mode to be one of None, 'trunc', or 'floor' but found '{rounding_mode}'"
        )
    return _rounded_quotient("div", DivRounded(rounding_mode), input, other)


def _rounded_quotient(operation: str, node: DivRounded, input: Any, other: Any) -> Tensor:
    a, b = operands(operation, input, other)
    require_number(operation, a)
    refuse_complex(operation, a)
    return node(a, b)


@method
def floor_divide(input: Any, other: Any) -> Tensor:
    """Return the quotient rounded down."""
    return _rounded_quotient("floor_divide", FloorDivide("floor"), input, other)


@method
def remainder(input: Any, other: Any) -> Tensor:
    """Return the remainder of floor division, with the sign of the divisor."""
    a, b = operands("remainder", input, other)
    require_number("remainder", a)
    refuse_complex("remainder", a)
    return Remainder()(a, b)


@method
def pow(input: Any, exponent: Any) -> Tensor:
    """Return `input ** exponent`, broadcast."""
    a, b = operands("pow", input, exponent)
    if is_scalar(exponent):
        if a.dtype.category < 2 and exponent < 0:
            raise RuntimeError(
                f"Integers to negative integer powers are not allowed, got {a.dtype} to the power {exponent}"
            )
        return PowNumber(
            fitting_scalar(exponent, a.dtype, CPU).item() if a._array.dtype.char in dtypes.HALF_CHARS else exponent
        )(a)
    if a.dtype is dtypes.bool:
        raise not_implemented("pow", a.dtype, "a type of numbers")
    node = Pow()
    node.name = f"PowBackward{1 if isinstance(input, Tensor) else 2}"
    return node(a, b)


@method
def square(input: Tensor) -> Tensor:
    """Return the square of the elements."""
    return pow(input, 2)


def _require_two_tensors(operation: str, input: Any, other: Any) -> None:
    require_tensor(operation, "input", input)
    require_tensor(operation, "other", other)


@method
def maximum(input: Tensor, other: Tensor) -> Tensor:
    """Return the larger of two elements; NaN wins."""
    _require_two_tensors("maximum", input, other)
    refuse_complex("maximum", input, other, error=RuntimeError)
    return Maximum()(*operands("maximum", input, other))


@method
def minimum(input: Tensor, other: Tensor) -> Tensor:
    """Return the smaller of two elements; NaN wins."""
    _require_two_tensors("minimum", input, other)
    refuse_complex("minimum", input, other, error=RuntimeError)
    return Minimum()(*operands("minimum", input, other))


@method
def neg(input: Tensor) -> Tensor:
    """Return `-input`."""
    require_tensor("neg", "input", input)
    if input.dtype is dtypes.bool:
        raise RuntimeError(
            "Negation, the `-` operator, on a bool tensor is not supported. If you are trying to invert a mask,"
            " use the `~` or `logical_not()` operator instead."
        )
    return Neg()(input)


def rsub(input: Tensor, other: Any, *, alpha: Any = 1) -> Tensor:
    """Return `other - alpha * input`."""
    require_tensor("rsub", "input", input)
    return sub(other, input, alpha=alpha)


def _without_gradient(ufunc: str, a: Tensor, b: Tensor) -> Tensor:
    """Return a ufunc of two tensors whose result has no gradient: nothing is recorded."""
    function, x, y = getattr(array_module(a._device), ufunc), a._array, b._array
    try:
        output = local.run(function, x, y)
    except (RuntimeError, ValueError):
        broadcast_shape(ufunc, x.shape, y.shape)
        output = quietly(function, x, y)
    result = a._wrap_like(output)
    if observers.count and state.inference:
        result._mark_inference()
    return result


def _comparison(name: str, ufunc: str, doc: str, numbers: bool = True, ordering: bool = False) -> Callable[..., Tensor]:
    """Install a comparison; `numbers` tells whether an operand may be a Python number, `ordering` if it needs order."""

    def compare(input: Any, other: Any) -> Tensor:
        if not numbers:
            _require_two_tensors(name, input, other)
        require_tensor(name, "input", input)
        a, b = operands(name, input, other)
        if ordering:
            refuse_complex(name, a)
        return _without_gradient(ufunc, a, b)

    compare.__name__ = name
    compare.__doc__ = doc
    return method(compare)


eq = _comparison("eq", "equal", "Return where two elements are equal.")
ne = _comparison("ne", "not_equal", "Return where two elements differ.")
lt = _comparison("lt", "less", "Return where `input < other`.", ordering=True)
le = _comparison("le", "less_equal", "Return where `input <= other`.", ordering=True)
gt = _comparison("gt", "greater", "Return where `input > other`.", ordering=True)
ge = _comparison("ge", "greater_equal", "Return where `input >= other`.", ordering=True)
logical_and = _comparison("logical_and", "logical_and", "Return where both are true.", False)
logical_or = _comparison("logical_or", "logical_or", "Return where one or both are true.", False)
logical_xor = _comparison("logical_xor", "logical_xor", "Return where just one is true.", False)


def _bitwise(name: str, ufunc: str, doc: str) -> Callable[..., Tensor]:
    def combine(input: Any, other: Any) -> Tensor:
        a, b = operands(name, input, other)
        if a.dtype.category > 1:
            raise not_implemented(name, a.dtype, "integers or booleans")
        return _without_gradient(ufunc, a, b)

    combine.__name__ = name
    combine.__doc__ = doc
    return method(combine)


bitwise_and = _bitwise("bitwise_and", "bitwise_and", "Return the bits set in both.")
bitwise_or = _bitwise("bitwise_or", "bitwise_or", "Return the bits set in one or both.")
bitwise_xor = _bitwise("bitwise_xor", "bitwise_xor", "Return the bits set in just one.")


@method
def logical_not(input: Tensor) -> Tensor:
    """Return where the elements are zero or false."""
    return input._wrap_like(input._xp.logical_not(input._array))


@method
def bitwise_not(input: Tensor) -> Tensor:
    """Return the bits inverted, or booleans negated."""
    if input.dtype.category > 1:
        raise not_implemented("bitwise_not", input.dtype, "integers or booleans")
    return input._wrap_like(input._xp.invert(input._array))


def _invert(self: Tensor) -> Tensor:
    """Return the bits inverted, or booleans negated, as the operator `~` does."""
    if self.dtype.category > 1:
        raise TypeError("~ (operator.invert) is only implemented on integer and Boolean-type tensors")
    return bitwise_not(self)


@method
def equal(input: Tensor, other: Tensor) -> bool:
    """Return whether two tensors have the same shape and elements."""
    _require_two_tensors("equal", input, other)
    return input.shape == other.shape and bool((input._array == other._array).all())


@method
def isnan(input: Tensor) -> Tensor:
    """Return where the elements are NaN."""
    return input._wrap_like(input._xp.isnan(input._array))


@method
def isinf(input: Tensor) -> Tensor:
    """Return where the elements are infinite."""
    return input._wrap_like(input._xp.isinf(input._array))


@method
def isfinite(input: Tensor) -> Tensor:
    """Return where the elements are neither NaN nor infinite."""
    return input._wrap_like(input._xp.isfinite(input._array))


@method
def isclose(input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Tensor:
    """Return where `|input - other| <= atol + rtol * |other|`."""
    _require_two_tensors("isclose", input, other)
    if input.dtype is not other.dtype:
        raise RuntimeError(f"isclose: {input.dtype} did not match {other.dtype}")
    for name, tolerance in (("rtol", rtol), ("atol", atol)):
        if tolerance < 0:
            raise RuntimeError(f"isclose: {name} must be greater than or equal to zero, but got {tolerance}")
    return input._wrap_like(input._xp.isclose(input._array, other._array, rtol, atol, equal_nan))


@method
def allclose(input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
    """Return whether all elements are close; see `isclose`."""
    return bool(isclose(input, other, rtol, atol, equal_nan)._array.all())


class Where(Node):
    """Elements of `a` where the condition holds, of `b` elsewhere."""

    saves_inputs = (0,)

    def forward(self, condition: Any, a: Any, b: Any) -> Any:
        broadcast_shape("where", condition.shape, a.shape, b.shape)
        self.shapes = a.shape, b.shape
        return array_module(self.where).where(condition, a, b)

    def backward(self, grad: Tensor) -> Any:
        condition = self.saved_tensor
        zero = scalar_tensor(0, grad.dtype, grad._device)
        return (
            None,
            unbroadcast(Where()(condition, grad, zero), self.shapes[0]),
            unbroadcast(Where()(condition, zero, grad), self.shapes[1]),
        )


def where(condition: Tensor, input: Any = None, other: Any = None) -> Any:
    """Return `input` where `condition` holds, `other` elsewhere; given a condition alone, where it is true."""
    require_tensor("where", "condition", condition)
    if input is None and other is None:
        return condition.nonzero(as_tuple=True)
    if condition.dtype is dtypes.uint8:
        warnings.warn("where received a uint8 condition tensor: use a boolean one instead.", UserWarning, stacklevel=2)
        condition = to_dtype(condition, dtypes.bool)
    if condition.dtype is not dtypes.bool:
        raise RuntimeError(
            f"where expected condition to be a boolean tensor, but got a tensor with dtype {condition.dtype}"
        )
    if not isinstance(input, Tensor) and not isinstance(other, Tensor):
        common = dtypes.promote_types(dtypes.scalar_dtype(input), dtypes.scalar_dtype(other))
        a, b = (fitting_scalar(v, common, condition._device) for v in (input, other))
    else:
        for branch, tensor in ((input, other), (other, input)):
            if is_scalar(branch):
                fitting_scalar(
                    branch, dtypes.common_dtype(tensor.dtype, tensor.ndim, dtypes.scalar_dtype(branch), -1), CPU
                )
        a, b = operands("where", input, other)
    return Where()(condition, a, b)


@method(name="where")
def _where_method(self: Tensor, condition: Tensor, other: Any) -> Tensor:
    """Return the elements where `condition` holds, those of `other` elsewhere."""
    return where(condition, self, other)


class MaskedFill(Node):
    saves_inputs = (1,)

    def forward(self, a: Any, mask: Any, value: Any) -> Any:
        broadcast_shape("masked_fill", a.shape, mask.shape)
        self.shape = a.shape
        return array_module(self.where).where(mask, value, a)

    def backward(self, grad: Tensor) -> Any:
        mask = self.saved_tensor
        zero = scalar_tensor(0, grad.dtype, grad._device)
        to_value = None
        if self.needs_input_grad[2]:
            to_value = Where()(mask, grad, zero).sum()
        return unbroadcast(MaskedFill()(grad, mask, zero), self.shape), None, to_value


@method
def masked_fill(input: Tensor, mask: Tensor, value: Any) -> Tensor:
    """Return `input` with `value` (a number or 0-d tensor) where `mask` is true."""
    require_tensor("masked_fill", "mask", mask)
    if mask.dtype is not dtypes.bool:
        raise RuntimeError(f"masked_fill only supports boolean masks, but got mask with dtype {mask.dtype}")
    if isinstance(value, Tensor):
        if value.ndim:
            raise RuntimeError(
                "masked_fill only supports a 0-dimensional value tensor, but got tensor with"
                f" {value.ndim} dimension(s)."
            )
        filling = to_dtype(value, input.dtype)
    else:
        filling = fitting_scalar(value, input.dtype, input._device)
    return MaskedFill()(input, mask, filling)


class Clone(Node):
    """A copy, of a dense tensor with its strides unless another memory format is wanted."""

    def __init__(self, wanted: MemoryFormat | None = None) -> None:
        self.wanted = wanted

    def forward(self, a: Any) -> Any:
        if self.wanted is None and a.flags.c_contiguous and 1 not in a.shape:
            return a.copy()
        strides = format_strides("clone", a.shape, element_strides(a), self.wanted)
        result = allocate_strided(a.shape, strides, a.dtype, self.where)
        result[...] = a
        return result

    def backward(self, grad: Tensor) -> Tensor:
        return grad


@method
def clone(input: Tensor, *, memory_format: Any = None) -> Tensor:
    """Return a copy, by default with the strides of a dense tensor; gradients flow through it."""
    require_memory_format("clone", memory_format)
    return Clone(memory_format)(input)


class Fill(Node):
    """All elements set to one value; nothing flows back to what was there."""

    name = "FillBackward2"

    def __init__(self, value: Any) -> None:
        self.value = value

    def forward(self, a: Any) -> Any:
        return array_module(self.where).full(a.shape, self.value, a.dtype)

    def backward(self, grad: Tensor) -> Tensor:
        return grad._filled_like(0)


class Copy(Node):
    """Elements replaced by those of a source, which is cast and broadcast."""

    name = "CopyBackwards"

    def forward(self, a: Any, source: Any) -> Any:
        xp = array_module(self.where)
        self.source_shape, self.source_dtype = source.shape, dtypes.from_numpy_dtype(source.dtype)
        if broadcast_shape("copy_", a.shape, source.shape) != a.shape:
            raise RuntimeError(
                f"output with shape {list(a.shape)} doesn't match the broadcast shape"
                f" {list(broadcast_shape('copy_', a.shape, source.shape))}"
            )
        return cast(xp.broadcast_to(source, a.shape), a.dtype)

    def backward(self, grad: Tensor) -> Any:
        to_source = None
        if self.needs_input_grad[1]:
            real = grad.is_complex() and not self.source_dtype.is_complex
            to_source = to_dtype(unbroadcast(grad.real if real else grad, self.source_shape), self.source_dtype)
        return grad._filled_like(0) if self.needs_input_grad[0] else None, to_source


@method
def fill_(self: Tensor, value: Any) -> Tensor:
    """Set all elements to a number or 0-d tensor, in place."""
    if isinstance(value, Tensor):
        if value.ndim:
            raise RuntimeError(
                f"fill_ only supports 0-dimension value tensor but got tensor with {value.ndim} dimensions."
            )
        return copy_(self, value)
    if not is_scalar(value):
        raise TypeError(f"fill_(): argument 'value' must be a number or a 0-d tensor, not {type(value).__name__}")
    return self._assign(Fill(fitting_scalar(value, self.dtype, self._device)._array)(self))


def fill(input: Tensor, value: Any) -> Tensor:
    """Return a tensor of the input's shape and type whose elements are all `value`, a number or 0-d tensor."""
    require_tensor("fill", "input", input)
    return fill_(input.clone(), value)


@method
def is_same_size(input: Tensor, other: Tensor) -> bool:
    """Return whether two tensors have the same shape."""
    _require_two_tensors("is_same_size", input, other)
    return input._array.shape == other._array.shape


class Zero(Fill):
    """All elements set to zero."""

    name = "ZeroBackward0"


@method
def zero_(self: Tensor) -> Tensor:
    """Set all elements to zero, in place."""
    return self._assign(Zero(0)(self))


@method
def copy_(self: Tensor, src: Any, non_blocking: bool = False) -> Tensor:
    """Copy the elements of `src` (a tensor, cast and broadcast, or a number) into this tensor."""
    if is_scalar(src):
        src = scalar_tensor(src, self.dtype, self._device)
    require_tensor("copy_", "src", src)
    source = src if src._device == self._device else src.to(self._device)
    return self._assign(Copy()(self, source))


def install_in_place(name: str, operation: Callable[..., Tensor]) -> None:
    """Install `name`, which assigns the result of an operation to its first operand."""
    operation = respelled(operation, operands=False)

    def assign(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return self._assign(operation(self, *args, **kwargs))

    assign.__name__ = name
    assign.__doc__ = f"In-place form of `{operation.__name__}`."
    method(assign)


def _operator(name: str, operation: Callable[..., Any], node: type[Ufunc] | None = None, arrays: bool = False) -> None:
    """Install an operator; an operand of a foreign type gives NotImplemented, so that it may have its say.

    The commonest cases, two floating-point tensors of one type or one such tensor and a number, go straight to `node`,
    where one is given. `arrays` tells whether NumPy arrays are taken, too: without it, NumPy computes with the tensor,
    as in PyTorch.
    """
    reflected = name.startswith("__r")

    def operate(self: Tensor, other: Any) -> Any:
        if node is not None and self._array.dtype.kind == "f":
            if isinstance(other, Tensor):
                if self._array.dtype is other._array.dtype and self._device is other._device:
                    return node()(other, self) if reflected else node()(self, other)
            elif type(other) is float or type(other) is int:
                number = scalar_tensor(other, self.dtype, self._device)
                return node()(number, self) if reflected else node()(self, number)
        if isinstance(other, Tensor) or is_scalar(other):
            return operation(other, self) if reflected else operation(self, other)
        if arrays and isinstance(other, np.ndarray):
            other = Tensor._wrap(other)
            return operation(other, self) if reflected else operation(self, other)
        return NotImplemented

    method(operate, name=name)


def _install_in_place_test(name: str, operation: Callable[..., Tensor]) -> None:
    """Install `name`, which writes zeros and ones to its first operand; nothing flows back to what was there."""
    operation = respelled(operation, operands=False)

    def assign(self: Tensor, *args: Any) -> Tensor:
        return self._assign(Copy()(self, operation(self, *args)))

    assign.__name__ = name
    assign.__doc__ = f"In-place form of `{operation.__name__}`."
    method(assign)


def _install_operators() -> None:
    both = {"add": add, "sub": sub, "mul": mul, "truediv": div, "floordiv": floor_divide, "mod": remainder, "pow": pow}
    logic = {"and": bitwise_and, "or": bitwise_or, "xor": bitwise_xor}
    nodes = {"add": Add, "sub": Sub, "mul": Mul, "truediv": Div}
    reflected_nodes = nodes | {"sub": Rsub}
    for name, operation in (both | logic).items():
        _operator(f"__{name}__", operation, nodes.get(name))
        _operator(f"__r{name}__", operation, reflected_nodes.get(name), arrays=name == "truediv")  # as PyTorch
        in_place = f"{operation.__name__}_"
        install_in_place(in_place, operation)
        _operator(f"__i{name}__", getattr(Tensor, in_place))
    _operator("__rdiv__", div, Div, arrays=True)  # what `__rtruediv__` was called in Python 2
    for name, operation in {"eq": eq, "ne": ne, "lt": lt, "le": le, "gt": gt, "ge": ge}.items():
        _operator(f"__{name}__", operation, arrays=name in ("eq", "ne"))
        _install_in_place_test(f"{name}_", operation)
    for operation in (neg, masked_fill, square, bitwise_not, logical_and, logical_or, logical_xor, logical_not):
        install_in_place(f"{operation.__name__}_", operation)
    method(neg, name="__neg__")
    method(_invert, name="__invert__")
    for alias, operation in {
        "multiply": mul,
        "subtract": sub,
        "divide": div,
        "true_divide": div,
        "negative": neg,
    }.items():
        method(operation, name=alias)
        method(getattr(Tensor, f"{operation.__name__}_"), name=f"{alias}_")


_install_operators()
multiply, subtract, divide, true_divide, negative = mul, sub, div, div, neg
