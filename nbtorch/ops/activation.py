"""Activations: one entry each, from which the function, the module, the kernels and the test rows follow.

An entry is a function with the decorator `entry`. Its formula and derivative are those of the same name in
`kernels/activation.py`; its signature is that of the function in `nn.functional` and, without `input`, of the module.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from .. import dtypes
from ..autograd.grad_mode import observers, state
from ..autograd.graph import Node
from ..device import CPU, allocate, array_module, contiguous, kernels_for, pool
from ..tensor import Tensor, method, normalize_dim
from .operands import (
    is_scalar,
    not_implemented,
    refuse_complex,
    require_number,
    require_same_device,
    require_tensor,
    to_floating_point,
)
from .pointwise import complex_sigmoid, complex_tanh
from .shape import cat

_F = TypeVar("_F", bound=Callable[..., Tensor])
_new = Tensor.__new__


class Activation(Node):
    """A function of one element and of numbers; subclasses are made by `_node`."""

    function: str  # the formula's name in `kernels/activation.py`
    derivative: str  # and the derivative's
    fresh_gradients = True
    in_float32 = True

    def __init__(self, *options: float) -> None:
        self.options = options

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Compute the result; dense CPU arrays of float32 and float64 take a short way, as small ones are the rule."""
        (x,) = inputs
        array = x._array
        if x._device is not CPU or array.dtype.char not in "fd" or not array.flags.c_contiguous:
            return super().__call__(x)
        result = _new(Tensor)
        result._array = self._write(array, pool.empty(array.shape, array.dtype))
        if state.enabled and (x._requires_grad or (x._base is not None and x._tracked())):
            self.record(inputs, (result,))
        elif observers.count and state.inference:
            result._mark_inference()
        return result

    def forward(self, x: Any) -> Any:
        if x.flags.c_contiguous:
            return self._write(x, allocate(x.shape, x.dtype, self.where))
        order = memory_order(x)
        dense = contiguous(x.transpose(order), self.where)
        return self._write(dense, allocate(dense.shape, x.dtype, self.where)).transpose(np.argsort(order))

    def _write(self, x: Any, output: Any) -> Any:
        kernels_for(self.where, "elementwise").activation_forward(self.function, self.options, x, output)
        return output

    def backward(self, grad: Tensor) -> Tensor:
        saved = self.saved_tensor
        if state.enabled:
            return self._formula()(grad, saved, *self.options)
        return grad._wrap_like(self._slope(grad._array, saved._array))

    def _formula(self) -> Callable[..., Tensor]:
        """Return the derivative as a function of tensors, which is recorded as it runs."""
        from nbtorch.kernels import activation

        compiled = getattr(activation, self.derivative)
        return getattr(compiled, "py_func", compiled)

    def _slope(self, grad: Any, saved: Any) -> Any:
        """Return the derivative at the saved elements times the gradient, in the memory layout of what was saved."""
        order = None if saved.flags.c_contiguous else memory_order(saved)
        if order is not None:
            grad, saved = grad.transpose(order), contiguous(saved.transpose(order), self.where)
        result = allocate(grad.shape, grad.dtype, self.where)
        grad = contiguous(grad, self.where)
        kernels_for(self.where, "elementwise").activation_backward(self.derivative, self.options, grad, saved, result)
        return result if order is None else result.transpose(np.argsort(order))


def memory_order(array: Any) -> list[int]:
    """Return the axes of an array in the order in which they lie in memory, the outermost first."""
    return sorted(range(array.ndim), key=lambda axis: -array.strides[axis])


NODES: list[type[Activation]] = []
"""The nodes of all formulas."""


def _node(function: str, derivative: str = "", name: str = "", from_output: bool = False) -> type[Activation]:
    """Make the node of a formula."""
    members = {
        "function": function,
        "derivative": derivative or f"{function}_grad",
        "name": name or "".join(part.title() for part in function.split("_")) + "Backward0",
        "saves_inputs": () if from_output else (0,),
        "saves_outputs": (0,) if from_output else (),
    }
    NODES.append(type(function, (Activation,), members))
    return NODES[-1]


def _apply(node: type[Activation], input: Tensor, options: tuple[Any, ...] = (), inplace: bool = False) -> Tensor:
    """Run an activation on floating point numbers."""
    name = node.function
    if not isinstance(input, Tensor):
        require_tensor(name, "input", input)
    for option in options:
        if type(option) is not float and not is_scalar(option) and not isinstance(option, Tensor):
            raise TypeError(f"{name}(): the options must be numbers, got {type(option).__name__}")
    if input._array.dtype.char not in "fd" and not input.is_floating_point():
        raise not_implemented(f"{name}_cpu", input.dtype, "a floating-point type")
    operation = node(*[float(option) for option in options]) if options else node()
    if not inplace:
        return operation(input)
    array = input._array
    if (state.enabled and input._tracked()) or not array.flags.c_contiguous or array.dtype.itemsize < 4:
        return input._assign(operation(input))
    operation.where = input._device
    operation._write(array, array)
    input._bump_version()
    return input


@dataclass(frozen=True)
class Entry:
    """What is known about an activation beside its function."""

    function: Callable[..., Tensor]
    module: str  # the class of `nn` that applies it
    shown: str  # how the module prints: a format of its options
    in_place: str  # the name of the in-place function, or nothing
    shows_inplace: bool = True  # whether the module prints `inplace=True`

    @functools.cached_property
    def signature(self) -> inspect.Signature:
        """The module's arguments: the function's without the input."""
        parameters = list(inspect.signature(self.function).parameters.values())
        by_position = inspect.Parameter.POSITIONAL_OR_KEYWORD
        return inspect.Signature([p.replace(kind=by_position) for p in parameters[1:] if p.name != "training"])

    @functools.cached_property
    def arguments(self) -> tuple[str, ...]:
        """The names of the module's arguments."""
        return tuple(self.signature.parameters)

    @property
    def sample_arguments(self) -> str:
        """Values for the arguments that have no default, as one writes them."""
        required = [p for p in self.signature.parameters.values() if p.default is p.empty]
        return ", ".join([str(0.1 * (place + 1)) for place, _ in enumerate(required)])


TABLE: dict[str, Entry] = {}
"""All entries by name."""


def entry(module: str, shown: str = "", in_place: bool = False, shows_inplace: bool = True) -> Callable[[_F], _F]:
    """Enter a function into the table.

    Args:
        module: the name of the module that applies it.
        shown: what the module prints, as a format of its options; `inplace=True` is added.
        in_place: whether there is also a function with an underscore after its name.
        shows_inplace: whether the module prints `inplace=True` where it is set.
    """

    def register(function: _F) -> _F:
        name = function.__name__
        TABLE[name] = Entry(function, module, shown, f"{name}_" if in_place else "", shows_inplace)
        return function

    return register


Relu = _node("relu", from_output=True)
Threshold = _node("threshold")
Hardtanh = _node("hardtanh")
LeakyRelu = _node("leaky_relu")
Elu = _node("elu")
Celu = _node("celu")
Selu = _node("selu", name="EluBackward0")
Hardshrink = _node("hardshrink", "shrink_grad")
Softshrink = _node("softshrink", "shrink_grad")
Hardsigmoid = _node("hardsigmoid")
Hardswish = _node("hardswish")
Sigmoid = _node("sigmoid", from_output=True)
Tanh = _node("tanh", from_output=True)
Tanhshrink = _node("tanhshrink", name="SubBackward0")
Softsign = _node("softsign", name="DivBackward0")
Softplus = _node("softplus")
LogSigmoid = _node("logsigmoid", name="LogSigmoidBackward0")
Silu = _node("silu")
Mish = _node("mish")
Gelu = _node("gelu")
GeluTanh = _node("gelu_tanh", name="GeluBackward0")


def _of_integers(function: Any, input: Tensor, *limits: Any, inplace: bool = False) -> Tensor:
    """Apply an array function to integers, and limits converted to their type as PyTorch does."""
    array = function(input._array, *[input._array.dtype.type(int(limit)) for limit in limits])
    result = input._wrap_like(array)
    return input._assign(result) if inplace else result


@entry("ReLU", in_place=True)
def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """Return max(0, x) for each element; NaN passes through."""
    require_tensor("relu", "input", input)
    if input._array.dtype.char in "fd" and not inplace:
        return Relu()(input)
    refuse_complex("relu", input)
    if input.is_floating_point():
        return _apply(Relu, input, (), inplace)
    if input.dtype is dtypes.bool:
        raise RuntimeError("Boolean inputs not supported for relu")
    return _of_integers(input._xp.maximum, input, 0, inplace=inplace)


@entry("ReLU6")
def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """Return min(max(0, x), 6) for each element."""
    return hardtanh(input, 0.0, 6.0, inplace)


@entry("Hardtanh", "min_val={min_val}, max_val={max_val}", in_place=True)
def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """Return the elements limited to [`min_val`, `max_val`]; the gradient is 0 at and beyond the limits."""
    if min_val > max_val:
        raise ValueError(f"hardtanh: min_val cannot be greater than max_val, got {min_val} and {max_val}")
    require_tensor("hardtanh", "input", input)
    refuse_complex("hardtanh", input)
    if input.is_floating_point():
        return _apply(Hardtanh, input, (min_val, max_val), inplace)
    if input.dtype is dtypes.bool:
        raise RuntimeError("Bool inputs not supported for hardtanh")
    if not input.dtype.is_signed and min_val < 0:
        raise RuntimeError("cannot do hardtanh on an unsigned type with negative limits")
    return _of_integers(input._xp.clip, input, min_val, max_val, inplace=inplace)


@entry("Threshold", "threshold={threshold}, value={value}", in_place=True)
def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """Return the elements above `threshold`, and `value` in the place of the others."""
    require_tensor("threshold", "input", input)
    refuse_complex("threshold", input)
    if input.is_floating_point():
        return _apply(Threshold, input, (threshold, value), inplace)
    require_number("threshold_cpu", input)
    xp = input._xp
    return _of_integers(
        lambda x, limit, other: xp.where(x <= limit, other, x), input, threshold, value, inplace=inplace
    )


@entry("LeakyReLU", "negative_slope={negative_slope}", in_place=True)
def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """Return x where it is positive, else `negative_slope`·x."""
    return _apply(LeakyRelu, input, (negative_slope,), inplace)


@entry("ELU", "alpha={alpha}", in_place=True)
def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """Return x where it is positive, else `alpha`·(exp(x) - 1)."""
    return _apply(Elu, input, (alpha,), inplace)


@entry("CELU", "alpha={alpha}", in_place=True)
def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """Return x where it is positive, else `alpha`·(exp(x / `alpha`) - 1)."""
    if alpha == 0:
        raise RuntimeError("ZeroDivisionError: alpha cannot be 0 for CELU")
    return _apply(Celu, input, (alpha,), inplace)


@entry("SELU", in_place=True)
def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """Return ELU scaled so that mean 0 and variance 1 persist from layer to layer."""
    return _apply(Selu, input, (), inplace)


@entry("Hardshrink", "{lambd}")
def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """Return x, and 0 where |x| <= `lambd`."""
    return _apply(Hardshrink, input, (lambd,))


@entry("Softshrink", "{lambd}")
def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """Return x moved by `lambd` towards 0, and 0 where |x| <= `lambd`."""
    require_tensor("softshrink", "input", input)
    if input.is_floating_point() and not 0 <= lambd <= float(np.finfo(np.float64).max):
        raise RuntimeError(f"softshrink: lambda must be in range [0, {input.dtype}'s maximum], but found {lambd}")
    return _apply(Softshrink, input, (lambd,))


@entry("Hardsigmoid", shows_inplace=False)
def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """Return (x + 3) / 6 limited to [0, 1]."""
    return _apply(Hardsigmoid, input, (), inplace)


@entry("Hardswish", shows_inplace=False)
def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """Return x times its hardsigmoid."""
    return _apply(Hardswish, input, (), inplace)


@entry("Sigmoid")
def sigmoid(input: Tensor) -> Tensor:
    """Return 1 / (1 + exp(-x))."""
    require_tensor("sigmoid", "input", input)
    if input.is_complex():
        return complex_sigmoid(input)
    return _apply(Sigmoid, to_floating_point(input))


@entry("Tanh")
def tanh(input: Tensor) -> Tensor:
    """Return the hyperbolic tangent."""
    require_tensor("tanh", "input", input)
    if input.is_complex():
        return complex_tanh(input)
    return _apply(Tanh, to_floating_point(input))


@entry("Tanhshrink")
def tanhshrink(input: Tensor) -> Tensor:
    """Return x - tanh(x)."""
    require_tensor("tanhshrink", "input", input)
    if input.dtype is dtypes.bool:
        raise RuntimeError("tanhshrink: Subtraction, the `-` operator, with a bool tensor is not supported.")
    if input.is_complex():
        return input - tanh(input)
    return _apply(Tanhshrink, to_floating_point(input))


@entry("Softsign")
def softsign(input: Tensor) -> Tensor:
    """Return x / (1 + |x|)."""
    require_tensor("softsign", "input", input)
    if input.dtype is dtypes.bool:
        raise not_implemented("abs_cpu", input.dtype, "a type of numbers")
    if input.is_complex():
        return input / (input.abs() + 1)
    return _apply(Softsign, to_floating_point(input))


@entry("Softplus", "beta={beta}, threshold={threshold}")
def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """Return log(1 + exp(`beta`·x)) / `beta`, and x where `beta`·x exceeds `threshold`."""
    return _apply(Softplus, input, (beta, threshold))


@entry("LogSigmoid")
def logsigmoid(input: Tensor) -> Tensor:
    """Return the logarithm of the sigmoid, without overflow."""
    return _apply(LogSigmoid, input)


@entry("SiLU")
def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """Return x·sigmoid(x)."""
    if isinstance(input, Tensor) and input.is_complex():
        result = input * sigmoid(input)
        return input._assign(result) if inplace else result
    return _apply(Silu, input, (), inplace)


@entry("Mish")
def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """Return x·tanh(softplus(x))."""
    return _apply(Mish, input, (), inplace)


@entry("GELU", "approximate={approximate!r}")
def gelu(input: Tensor, *, approximate: str = "none") -> Tensor:
    """Return x times the share of the normal distribution below x; `approximate="tanh"` takes a formula near it."""
    if approximate not in ("none", "tanh"):
        raise RuntimeError(f"gelu: approximate argument must be either none or tanh, got {approximate!r}")
    return _apply(GeluTanh if approximate == "tanh" else Gelu, input)


def in_place_form(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return the function that writes the result of another into its input."""
    name = function.__name__
    has_switch = "inplace" in inspect.signature(function).parameters

    def changed(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if has_switch:
            return function(input, *args, inplace=True, **kwargs)
        return input._assign(function(input, *args, **kwargs))

    changed.__name__ = changed.__qualname__ = f"{name}_"
    changed.__doc__ = f"In-place form of `{name}`."
    signature = inspect.signature(function)
    kept = [parameter for parameter in signature.parameters.values() if parameter.name != "inplace"]
    changed.__signature__ = signature.replace(parameters=kept)  # type: ignore[attr-defined]
    return changed


class RreluWithNoise(Node):
    """x times slopes that were drawn."""

    saves_inputs = (1,)

    def forward(self, x: Any, slopes: Any) -> Any:
        return x * slopes

    def backward(self, grad: Tensor) -> Any:
        return grad * self.saved_tensor, None


class Glu(Node):
    """The first half along an axis times the sigmoid of the second."""

    saves_inputs = (0,)
    in_float32 = True

    def __init__(self, axis: int) -> None:
        self.axis = axis

    def forward(self, x: Any) -> Any:
        first, second = array_module(self.where).split(x, 2, self.axis)
        node = Sigmoid()
        node.where = self.where
        return first * node.forward(second)

    def backward(self, grad: Tensor) -> Tensor:
        first, second = self.saved_tensor.chunk(2, self.axis)
        gate = sigmoid(second)
        to_first = grad * gate
        return cat((to_first, to_first * first * (1 - gate)), self.axis)


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """Return the first half along `dim` times the sigmoid of the second half.

    Dauphin et al., "Language modeling with gated convolutional networks", 2016.
    """
    require_tensor("glu", "input", input)
    if input.ndim == 0:
        raise RuntimeError("glu does not support scalars because halving size must be even")
    axis = normalize_dim(dim, input.ndim)
    if input.shape[axis] % 2:
        raise RuntimeError(f"Halving dimension must be even, but dimension {axis} is size {input.shape[axis]}")
    if not input.is_floating_point():
        raise not_implemented("glu_cpu", input.dtype, "a floating-point type")
    return Glu(axis)(input)


class Prelu(Node):
    """x where it is positive, else weight·x; the weight has been shaped to be broadcast."""

    name = "PreluKernelBackward0"
    saves_inputs = (0, 1)
    in_float32 = True

    def forward(self, x: Any, weight: Any) -> Any:
        if weight.size == 1:
            return self._leaky(weight).forward(x)
        return array_module(self.where).where(x > 0, x, x * weight)

    def backward(self, grad: Tensor) -> Any:
        x, weight = self.saved_tensors
        to_x, to_weight = self.needs_input_grad
        positive = x.detach() > 0
        grad_x = grad_weight = None
        if to_x and weight.numel() == 1 and not state.enabled:
            grad_x = grad._wrap_like(self._leaky(weight._array)._slope(grad._array, x._array))
        elif to_x:
            grad_x = grad.where(positive, grad * weight)
        if to_weight:
            grad_weight = (grad * x).masked_fill(positive, 0).sum_to_size(weight.shape)
        return grad_x, grad_weight

    def _leaky(self, weight: Any) -> Activation:
        node = LeakyRelu(float(weight.reshape(())))
        node.where = self.where
        return node


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """Return x where it is positive, else `weight`·x, with one weight for all or one for each channel (dimension 1).

    He et al., "Delving deep into rectifiers", 2015.
    """
    require_tensor("prelu", "input", input)
    require_tensor("prelu", "weight", weight)
    if input.dtype is not weight.dtype:
        raise RuntimeError(f"prelu: Type promoting not supported. Got {input.dtype.title} and {weight.dtype.title}")
    if not input.is_floating_point():
        raise not_implemented("prelu_cpu", input.dtype, "a floating-point type")
    require_same_device("prelu", input, weight)
    if weight.numel() != 1:
        if input.ndim == 0:
            raise RuntimeError("prelu: Not allow zero-dim input tensor.")
        channels = input.shape[1] if input.ndim > 1 else 1
        if weight.numel() != channels:
            raise RuntimeError(
                "prelu: Mismatch of parameter numbers and input channel size. Found parameter numbers ="
                f" {weight.numel()} and channel size = {channels}."
            )
    if weight.ndim > 1:
        raise RuntimeError(f"prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = {weight.ndim}")
    shape = (1, -1) + (1,) * (input.ndim - 2) if input.ndim > 1 else (-1,) * input.ndim
    return Prelu()(input, weight.reshape(shape))


def functions() -> dict[str, Callable[..., Tensor]]:
    """Return the functions of the table and their in-place forms by name."""
    found = {name: entry.function for name, entry in TABLE.items()}
    return found | {entry.in_place: in_place_form(entry.function) for entry in TABLE.values() if entry.in_place}


relu_, sigmoid_, tanh_ = (in_place_form(function) for function in (relu, sigmoid, tanh))
threshold_, selu_, celu_ = (in_place_form(function) for function in (threshold, selu, celu))
for _function in (relu, relu_, sigmoid, sigmoid_, tanh, tanh_, hardshrink, prelu):
    method(_function)
