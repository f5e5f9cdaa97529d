"""Functions of one element at a time: one row of a table each, with formula and derivative."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..autograd.graph import Node
from ..device import allocate, array_module, contiguous, kernels_for
from ..tensor import Tensor, method
from .arithmetic import Where, maximum, minimum
from .operands import require_tensor, scalar_tensor, to_floating_point


class Pointwise(Node):
    """A function `y = f(x)`; subclasses are made by `declare`."""

    formula: Callable[..., Any]
    derivative: Callable[..., Any]

    def forward(self, x: Any) -> Any:
        return self.formula(array_module(self.where), x)

    def backward(self, grad: Tensor) -> Tensor:
        return grad * self.derivative(*self.saved_tensors)


def declare(
    name: str,
    doc: str,
    formula: Callable[[Any, Any], Any],
    *,
    from_input: Callable[[Tensor], Any] | None = None,
    from_output: Callable[[Tensor], Any] | None = None,
    keeps_integers: bool = False,
) -> Callable[[Tensor], Tensor]:
    """Declare a function by its formula on arrays and its derivative on tensors, as a function and as two methods.

    The derivative is given in terms of the input or, where that is cheaper, of the output.
    """
    derivative = from_input or from_output
    assert derivative is not None
    members = {
        "name": f"{name.capitalize()}Backward0",
        "formula": staticmethod(formula),
        "derivative": staticmethod(derivative),
        "saves_inputs": (0,) if from_input else (),
        "saves_outputs": (0,) if from_output else (),
    }
    node: Any = type(name.capitalize(), (Pointwise,), members)

    def function(input: Tensor) -> Tensor:
        require_tensor(name, "input", input)
        return node()(input if keeps_integers else to_floating_point(input))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    method(function)

    def in_place(self: Tensor) -> Tensor:
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
tanh = declare("tanh", "Return the hyperbolic tangent.", lambda xp, x: xp.tanh(x), from_output=lambda y: 1 - y * y)
square = declare(
    "square", "Return the square.", lambda xp, x: xp.multiply(x, x), from_input=lambda x: 2 * x, keeps_integers=True
)
abs = declare(
    "abs", "Return the absolute value.", lambda xp, x: xp.abs(x), from_input=lambda x: x.sign(), keeps_integers=True
)
sign = declare("sign", "Return -1, 0 or 1.", lambda xp, x: xp.sign(x), from_input=_zeros, keeps_integers=True)
floor = declare(
    "floor", "Return the elements rounded down.", lambda xp, x: xp.floor(x), from_input=_zeros, keeps_integers=True
)
ceil = declare(
    "ceil", "Return the elements rounded up.", lambda xp, x: xp.ceil(x), from_input=_zeros, keeps_integers=True
)
trunc = declare(
    "trunc",
    "Return the elements rounded towards zero.",
    lambda xp, x: xp.trunc(x),
    from_input=_zeros,
    keeps_integers=True,
)


def _sigmoid(xp: Any, x: Any) -> Any:
    # exp of a non-positive number cannot overflow
    decay = xp.exp(-xp.abs(x))
    return xp.where(x >= 0, 1 / (1 + decay), decay / (1 + decay)) + 0 * x


sigmoid = declare(
    "sigmoid",
    "Return `1 / (1 + exp(-x))`.",
    lambda xp, x: _sigmoid(xp, x).astype(x.dtype),
    from_output=lambda y: y * (1 - y),
)
absolute = abs


class Relu(Node):
    """max(x, 0), a kernel; NaN passes through."""

    saves_outputs = (0,)

    def forward(self, x: Any) -> Any:
        if x.dtype.kind != "f" or x.dtype.itemsize < 4:
            return array_module(self.where).maximum(x, x.dtype.type(0))
        x = contiguous(x, self.where)
        output = allocate(x.shape, x.dtype, self.where)
        kernels_for(self.where, "elementwise").relu_forward(x, output)
        return output

    def backward(self, grad: Tensor) -> Tensor:
        return ReluGrad()(grad, self.saved_tensor.detach())


class ReluGrad(Node):
    """The gradient where the output is positive, else 0."""

    name = "ThresholdBackwardBackward0"
    saves_inputs = (1,)

    def forward(self, grad: Any, output: Any) -> Any:
        xp = array_module(self.where)
        if grad.dtype.itemsize < 4:
            return xp.where(output > 0, grad, grad.dtype.type(0))
        grad, output = contiguous(grad, self.where), contiguous(output, self.where)
        grad_input = allocate(grad.shape, grad.dtype, self.where)
        kernels_for(self.where, "elementwise").relu_backward(grad, output, grad_input)
        return grad_input

    def backward(self, grad: Tensor) -> Any:
        return ReluGrad()(grad, self.saved_tensor), None


@method
def relu(input: Tensor) -> Tensor:
    """Return `max(input, 0)`; NaN passes through."""
    require_tensor("relu", "input", input)
    return Relu()(input)


@method
def relu_(self: Tensor) -> Tensor:
    """In-place form of `relu`."""
    return self._assign(relu(self))


@method
def clamp(input: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """Return the elements limited to `[min, max]`, each a number, a tensor or None."""
    require_tensor("clamp", "input", input)
    if min is None and max is None:
        raise RuntimeError("clamp: At least one of 'min' or 'max' must not be None")
    if isinstance(min, Tensor) or isinstance(max, Tensor):
        result = input if min is None else maximum(input, _as_operand(input, min))
        return result if max is None else minimum(result, _as_operand(input, max))
    return Clamp(min, max)(input)


def _as_operand(input: Tensor, bound: Any) -> Tensor:
    return bound if isinstance(bound, Tensor) else scalar_tensor(bound, input.dtype, input._device)


class Clamp(Node):
    saves_inputs = (0,)

    def __init__(self, low: Any, high: Any) -> None:
        self.low, self.high = low, high

    def forward(self, x: Any) -> Any:
        return array_module(self.where).clip(x, self.low, self.high).astype(x.dtype, copy=False)

    def backward(self, grad: Tensor) -> Tensor:
        x = self.saved_tensor.detach()
        inside = x == x
        if self.low is not None:
            inside = inside & (x >= self.low)
        if self.high is not None:
            inside = inside & (x <= self.high)
        return Where()(inside, grad, scalar_tensor(0, grad.dtype, grad._device))


@method
def clamp_(self: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """In-place form of `clamp`."""
    return self._assign(clamp(self, min, max))


@method
def round(input: Tensor, *, decimals: int = 0) -> Tensor:
    """Return the elements rounded, halves to the even neighbour."""
    return Round(decimals)(input)


class Round(Node):
    def __init__(self, decimals: int) -> None:
        self.decimals = decimals

    def forward(self, x: Any) -> Any:
        return array_module(self.where).round(x, self.decimals)

    def backward(self, grad: Tensor) -> Tensor:
        return grad._filled_like(0)


method(abs, name="__abs__")
method(abs, name="absolute")
method(clamp, name="clip")
clip = clamp
