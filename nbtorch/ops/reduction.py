"""Reductions: sums, means, extremes, norms."""

from __future__ import annotations

import builtins
import math
import warnings
from collections import namedtuple
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.grad_mode import state
from ..autograd.graph import Node
from ..autograd.half import widen
from ..device import CPU, allocate, array_module, kernels_for
from ..tensor import Tensor, method, normalize_dim
from .arithmetic import Where, maximum, minimum
from .operands import (
    broadcast_shape,
    named,
    normalize_dims,
    refuse_complex,
    require_tensor,
    scalar_tensor,
    sizes,
    to_dtype,
    to_floating_point,
)


def return_type(name: str, *fields: str) -> Any:
    """Return a named tuple that prints as PyTorch's return types."""

    def show(self: Any) -> str:
        parts = ",\n".join(f"{field}={getattr(self, field)!r}" for field in fields)
        return f"torch.return_types.{name}(\n{parts})"

    return type(name, (namedtuple(name, fields),), {"__slots__": (), "__repr__": show})


max_result = return_type("max", "values", "indices")
min_result = return_type("min", "values", "indices")


def _kept_shape(shape: tuple[int, ...], dims: tuple[int, ...]) -> tuple[int, ...]:
    return tuple([1 if axis in dims else n for axis, n in enumerate(shape)])


LARGE = 1 << 15
"""Elements from which on a kernel of ours sums contiguous rows faster than NumPy."""


class Sum(Node):
    in_float32 = True

    def __init__(self, dims: tuple[int, ...], keepdim: bool) -> None:
        self.dims, self.keepdim = dims, keepdim

    def forward(self, a: Any) -> Any:
        self.shape = a.shape
        if a.size >= LARGE and self.where is CPU and a.dtype.char in "fd" and a.flags.c_contiguous:
            kept = a.ndim - len(self.dims)
            if sorted(self.dims) == list(range(kept, a.ndim)):
                shape = a.shape[:kept] + (1,) * (len(self.dims) * self.keepdim)
                output = allocate(shape, a.dtype, CPU)
                rows = a.reshape(math.prod(a.shape[:kept]), -1)
                kernels_for(CPU, "reduction").row_sums(rows, output.reshape(-1))
                return output
        return a.sum(self.dims, a.dtype, None, self.keepdim)

    def backward(self, grad: Tensor) -> Tensor:
        return grad.reshape(_kept_shape(self.shape, self.dims)).expand(self.shape)


class Mean(Sum):
    def forward(self, a: Any) -> Any:
        self.count = math.prod(a.shape[d] for d in self.dims)
        total = super().forward(a)
        return total / a.dtype.type(self.count) if self.count else total * math.nan

    def backward(self, grad: Tensor) -> Tensor:
        return super().backward(grad) / builtins.max(self.count, 1)


class SumAlong(Sum):
    name = "SumBackward1"


class MeanAlong(Mean):
    name = "MeanBackward1"


@method
def sum(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Return the sum over all elements or over dimensions; integers and booleans sum to int64."""
    require_tensor("sum", "input", input)
    if dtype is not None or input._array.dtype.kind not in "fc":
        input = summable(input, dtype)
    return (Sum if dim is None else SumAlong)(_reduced(dim, input.ndim), keepdim)(input)


def summable(input: Tensor, dtype: Any) -> Tensor:
    """Return a tensor in the type in which its elements are summed: `dtype`, else int64 for integers and booleans."""
    if dtype is None:
        return to_dtype(input, dtypes.int64) if input.dtype.category < 2 else input
    wanted = dtypes.as_dtype(dtype)
    if input.requires_grad and state.enabled and wanted.category < 2:
        raise RuntimeError(f"Autograd not support dtype: {wanted.title}")
    return to_dtype(input, wanted)


def _reduced(dim: Any, ndim: int) -> tuple[int, ...]:
    """Return the dimensions to reduce: all for None or an empty sequence; a 0-d tensor has one nominal dimension."""
    dims = normalize_dims(None if isinstance(dim, (tuple, list)) and not dim else dim, ndim)
    return dims if ndim else ()


@method
def mean(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Return the mean over all elements or over dimensions."""
    require_tensor("mean", "input", input)
    dims = _reduced(dim, input.ndim)
    if dtype is not None:
        input = to_dtype(input, dtypes.as_dtype(dtype))
    if input.dtype.category < 2:
        raise RuntimeError(
            "mean(): could not infer output dtype. Input dtype must be either a floating point or complex dtype. Got:"
            f" {input.dtype}"
        )
    return (Mean if dim is None else MeanAlong)(dims, keepdim)(input)


@method
def sum_to_size(self: Tensor, *extents: Any, size: Any = None) -> Tensor:
    """Return the sum over the dimensions that broadcasting `size` to this shape would repeat."""
    target = sizes(named(extents, size))
    shape = self._array.shape
    if shape == target:
        return self if target else summable(self, None)
    try:
        fits = broadcast_shape("sum_to_size", target, shape) == shape
    except RuntimeError:
        fits = False
    if not fits:
        raise RuntimeError(f"size {{{list(target)}}} is not expandable to size {{{list(shape)}}}.")
    lead = len(shape) - len(target)
    dims = tuple(range(lead)) + tuple(d for d in range(lead, len(shape)) if target[d - lead] == 1 != shape[d])
    return Sum(dims, True)(summable(self, None)).reshape(target)


def _squared(a: Any) -> Any:
    """Return the squares of absolute values."""
    return (a * a.conj()).real if a.dtype.kind == "c" else a * a


class Var(Node):
    """The mean squared deviation from the mean, the sum divided by the count less `correction`."""

    saves_inputs = (0,)
    in_float32 = True

    def __init__(self, dims: tuple[int, ...], keepdim: bool, correction: float) -> None:
        self.dims, self.keepdim, self.correction = dims, keepdim, correction

    def forward(self, a: Any) -> Any:
        self.shape = a.shape
        count = math.prod(a.shape[d] for d in self.dims)
        self.freedom = count - self.correction
        xp = array_module(self.where)
        centred = a - xp.sum(a, self.dims, a.dtype, keepdims=True) / a.dtype.type(count)
        total = xp.sum(_squared(centred), self.dims, a.real.dtype, keepdims=self.keepdim)
        return total / total.dtype.type(builtins.max(self.freedom, 0))

    def backward(self, grad: Tensor) -> Tensor:
        a = self.saved_tensors[0]
        centred = a - Mean(self.dims, True)(a)
        scale = 2 / self.freedom if self.freedom else math.inf
        return grad.reshape(_kept_shape(self.shape, self.dims)) * centred * scale


class Std(Var):
    """The root of the variance; its gradient is zero where it is zero."""

    saves_outputs = (0,)

    def forward(self, a: Any) -> Any:
        return array_module(self.where).sqrt(super().forward(a))

    def backward(self, grad: Tensor) -> Tensor:
        result = self.saved_tensors[1]
        return super().backward((grad / (2 * result)).masked_fill(result == 0, 0))


def deviations(
    operation: str, input: Tensor, dim: Any, unbiased: Any, correction: Any
) -> tuple[tuple[int, ...], float]:
    """Return the dimensions and the correction that the several forms of `var` and `std` name; refuse integers."""
    require_tensor(operation, "input", input)
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    dims = _reduced(dim, input.ndim)
    if input.dtype.category < 2:
        raise RuntimeError(
            f"{operation}: std and var only support floating point and complex dtypes, got {input.dtype}"
        )
    if unbiased is not None:
        if correction is not None:
            raise TypeError(f"{operation}(): unbiased and correction say the same: give one of them")
        correction = int(unbiased)
    elif correction is None:
        correction = 1
    count = math.prod([input._array.shape[d] for d in dims])
    if count <= correction:
        warnings.warn(
            f"{operation}(): degrees of freedom is <= 0. Correction should be strictly less than the reduction factor"
            f" (input numel divided by output numel), got {correction} and {count}.",
            UserWarning,
            stacklevel=3,
        )
    return dims, correction


@method
def var(
    input: Tensor, dim: Any = None, unbiased: bool | None = None, keepdim: bool = False, *, correction: Any = None
) -> Tensor:
    """Return the variance over all elements or over dimensions.

    Args:
        input: the values, floating point.
        dim: one dimension or several; all of them for None. A bool in its place is taken for `unbiased`.
        unbiased: an older form of `correction`: True for 1, False for 0.
        keepdim: keep the dimensions with extent 1.
        correction: what the count is reduced by before the sum of squares is divided by it; 1 by default.
    """
    dims, correction = deviations("var", input, dim, unbiased, correction)
    return Var(dims, keepdim, correction)(input)


@method
def std(
    input: Tensor, dim: Any = None, unbiased: bool | None = None, keepdim: bool = False, *, correction: Any = None
) -> Tensor:
    """Return the standard deviation; the arguments are those of `var`."""
    dims, correction = deviations("std", input, dim, unbiased, correction)
    return Std(dims, keepdim, correction)(input)


class Prod(Node):
    saves_inputs = (0,)
    in_float32 = True
    holomorphic = True

    def __init__(self, dims: tuple[int, ...], keepdim: bool) -> None:
        self.dims, self.keepdim = dims, keepdim

    def forward(self, a: Any) -> Any:
        return array_module(self.where).prod(a, self.dims, a.dtype, keepdims=self.keepdim)

    def backward(self, grad: Tensor) -> Tensor:
        a = self.saved_tensor
        grad = grad.reshape(_kept_shape(a._array.shape, self.dims))
        if not (a._array == 0).any():
            return grad * Prod(self.dims, True)(a) / a
        return grad * _product_of_others(a, self.dims)


class ProdAlong(Prod):
    name = "ProdBackward1"


def _product_of_others(a: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Return for every element the product of the others, where division by zero would fail."""
    rest = tuple(d for d in range(a.ndim) if d not in dims)
    order = (*rest, *dims)
    rows = a.permute(order).reshape([a._array.shape[d] for d in rest] + [-1])
    count = rows._array.shape[-1]
    others = []
    for i in range(count):
        kept = [j for j in range(count) if j != i]
        others.append(Prod((rows.ndim - 1,), False)(rows[..., kept]))
    stacked = a._stack(others, -1).reshape([a._array.shape[d] for d in order])
    return stacked.permute(tuple(sorted(range(a.ndim), key=order.__getitem__)))


@method
def prod(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Return the product over all elements or over one dimension."""
    require_tensor("prod", "input", input)
    if (dim is None and keepdim) or isinstance(dim, (tuple, list)):
        raise TypeError(f"prod(): argument 'dim' must be int, not {type(dim).__name__}")
    input = summable(input, dtype)
    return (Prod if dim is None else ProdAlong)(_reduced(dim, input.ndim), keepdim)(input)


class _Extreme(Node):
    """The largest or smallest element over dimensions; elements that tie share the gradient."""

    saves_inputs = (0,)
    saves_outputs = (0,)
    function = ""
    in_float32 = True

    def __init__(self, dims: tuple[int, ...], keepdim: bool) -> None:
        self.dims, self.keepdim = dims, keepdim

    def forward(self, a: Any) -> Any:
        return getattr(array_module(self.where), self.function)(a, self.dims, keepdims=self.keepdim)

    def backward(self, grad: Tensor) -> Tensor:
        a, result = self.saved_tensors
        kept = _kept_shape(a._array.shape, self.dims)
        hit = self.hits(a.detach(), result.detach().reshape(kept))
        share = Sum(self.dims, True)(to_dtype(hit, grad.dtype))
        return Where()(hit, grad.reshape(kept), scalar_tensor(0, grad.dtype, grad._device)) / share

    def hits(self, a: Tensor, result: Tensor) -> Tensor:
        """Return where the extreme stands."""
        return a.eq(result)


class Amax(_Extreme):
    function = "max"


class Amin(_Extreme):
    function = "min"


class _ExtremeOfAll(_Extreme):
    """The extreme of all elements: NaN, if there are any, share the gradient."""

    def hits(self, a: Tensor, result: Tensor) -> Tensor:
        return (a == result) | a.isnan()


class MaxAll(_ExtremeOfAll, Amax):
    name = "MaxBackward1"


class MinAll(_ExtremeOfAll, Amin):
    name = "MinBackward1"


class _Gathered(Node):
    """The elements along a dimension at given indices, one for each position of the others."""

    saves_inputs = (1,)

    def __init__(self, axis: int, keepdim: bool) -> None:
        self.axis, self.keepdim = axis, keepdim

    def forward(self, a: Any, indices: Any) -> Any:
        self.shape = a.shape
        values = array_module(self.where).take_along_axis(a, indices, self.axis)
        return values if self.keepdim else values.squeeze(self.axis)

    def backward(self, grad: Tensor) -> Any:
        if not self.keepdim:
            grad = grad.unsqueeze(self.axis)
        return _Placed(self.axis, self.shape)(grad, self.saved_tensor), None


class _Placed(Node):
    """Zeros with elements put at given indices along a dimension; the mirror of `_Gathered`."""

    saves_inputs = (1,)

    def __init__(self, axis: int, shape: tuple[int, ...]) -> None:
        self.axis, self.shape = axis, shape

    def forward(self, values: Any, indices: Any) -> Any:
        xp = array_module(self.where)
        result = xp.zeros(self.shape, values.dtype)
        xp.put_along_axis(result, indices, values, self.axis)
        return result

    def backward(self, grad: Tensor) -> Any:
        return _Gathered(self.axis, True)(grad, self.saved_tensor), None


class MaxAlong(_Gathered):
    name = "MaxBackward0"


class MinAlong(_Gathered):
    name = "MinBackward0"


def _extreme_along(input: Tensor, dim: int, keepdim: bool, arg: Any, node: type[_Gathered], result: Any) -> Any:
    axis = normalize_dim(dim, input.ndim)
    if input.ndim == 0:
        return result(input.clone(), scalar_tensor(0, dtypes.int64, input._device))
    if input._array.shape[axis] == 0:
        raise _no_elements_along(arg.__name__.removeprefix("arg"), axis)
    indices = arg(to_dtype(input, dtypes.uint8) if input.dtype is dtypes.bool else input, axis, True)
    values = node(axis, keepdim)(input, indices)
    return result(values, indices if keepdim else indices.squeeze(axis))


@method
def max(input: Tensor, dim: Any = None, keepdim: bool = False) -> Any:
    """Return the largest element; with `dim` the largest along it and where; with a tensor the larger of two."""
    if isinstance(dim, Tensor):
        return maximum(input, dim)
    if dim is not None:
        return _extreme_along(input, dim, keepdim, argmax, MaxAlong, max_result)
    if keepdim:
        raise TypeError("max(): argument 'dim' must be int, not NoneType")
    _require_elements("max", input)
    refuse_complex("max", input)
    return MaxAll(tuple(range(input.ndim)), False)(input)


@method
def min(input: Tensor, dim: Any = None, keepdim: bool = False) -> Any:
    """Return the smallest element; with `dim` the smallest along it and where; with a tensor the smaller of two."""
    if isinstance(dim, Tensor):
        return minimum(input, dim)
    if dim is not None:
        return _extreme_along(input, dim, keepdim, argmin, MinAlong, min_result)
    if keepdim:
        raise TypeError("min(): argument 'dim' must be int, not NoneType")
    _require_elements("min", input)
    refuse_complex("min", input)
    return MinAll(tuple(range(input.ndim)), False)(input)


def _no_elements_along(operation: str, axis: int) -> IndexError:
    return IndexError(f"{operation}(): Expected reduction dim {axis} to have non-zero size.")


def _require_elements(operation: str, input: Tensor, error: type[Exception] = RuntimeError) -> None:
    require_tensor(operation, "input", input)
    if input._array.size == 0:
        raise error(
            f"{operation}(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim"
            " with the 'dim' argument."
        )


def _nonempty(operation: str, input: Tensor, dim: Any) -> tuple[int, ...]:
    """Return the dimensions to reduce; refuse those without elements, because an extreme of nothing does not exist."""
    require_tensor(operation, "input", input)
    if input._array.size == 0:
        if dim is None or dim == () or dim == []:
            _require_elements(operation, input)
        for d in dim if isinstance(dim, (tuple, list)) else (dim,):
            axis = normalize_dim(d, input.ndim)
            if input._array.shape[axis] == 0:
                raise _no_elements_along(operation, axis)
    return _reduced(dim, input.ndim)


@method
def amax(input: Tensor, dim: Any = (), keepdim: bool = False) -> Tensor:
    """Return the largest element over dimensions; elements that tie share the gradient."""
    refuse_complex("amax", input)
    return Amax(_nonempty("amax", input, dim), keepdim)(input)


@method
def amin(input: Tensor, dim: Any = (), keepdim: bool = False) -> Tensor:
    """Return the smallest element over dimensions; elements that tie share the gradient."""
    refuse_complex("amin", input)
    return Amin(_nonempty("amin", input, dim), keepdim)(input)


def _arg(name: str, input: Tensor, dim: int | None, keepdim: bool) -> Tensor:
    axis = None if dim is None else normalize_dim(dim, input.ndim)
    if input.dtype is dtypes.bool:
        raise RuntimeError(f"{name}(): does not support bool input")
    refuse_complex(name, input, error=RuntimeError)
    if dim is None:
        _require_elements(name, input, IndexError)
    function, array = getattr(input._xp, name), widen(input._array)
    if axis is None:
        found = np.asarray(function(array)) if isinstance(array, np.ndarray) else function(array)
        return input._wrap_like(found.reshape((1,) * input.ndim) if keepdim else found)
    if input.ndim == 0:
        return scalar_tensor(0, dtypes.int64, input._device)
    if input._array.shape[axis] == 0:
        raise _no_elements_along(name, axis)
    return input._wrap_like(function(array, axis, keepdims=keepdim))


@method
def argmax(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Return the index of the largest element, in the flattened tensor or along `dim`; the first of several."""
    return _arg("argmax", input, dim, keepdim)


@method
def argmin(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Return the index of the smallest element, in the flattened tensor or along `dim`; the first of several."""
    return _arg("argmin", input, dim, keepdim)


def _truth(operation: str, input: Tensor, dim: Any, keepdim: bool) -> Tensor:
    require_tensor(operation, "input", input)
    dims = () if isinstance(dim, (tuple, list)) and not dim else _reduced(dim, input.ndim)
    truth = input._wrap_like(getattr(input._xp, operation)(input._array, dims, keepdims=keepdim))
    return to_dtype(truth, dtypes.uint8) if input.dtype is dtypes.uint8 else truth


@method
def any(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """Return whether any element is true: booleans, or 0 and 1 for uint8."""
    return _truth("any", input, dim, keepdim)


@method
def all(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """Return whether all elements are true: booleans, or 0 and 1 for uint8."""
    return _truth("all", input, dim, keepdim)


@method
def count_nonzero(input: Tensor, dim: Any = None) -> Tensor:
    """Return how many elements are not zero."""
    return sum(input.ne(0), dim)


class LogSumExp(Node):
    name = "LogsumexpBackward0"
    saves_inputs = (0,)
    saves_outputs = (0,)
    in_float32 = True
    holomorphic = True

    def __init__(self, dims: tuple[int, ...], keepdim: bool) -> None:
        self.dims, self.keepdim = dims, keepdim

    def forward(self, a: Any) -> Any:
        xp = array_module(self.where)
        top = xp.max(a, self.dims, keepdims=True, initial=-math.inf)
        top = xp.where(xp.isfinite(top), top, a.dtype.type(0))
        result = xp.log(xp.exp(a - top).sum(self.dims, keepdims=True)) + top
        return result if self.keepdim else result.squeeze(self.dims)

    def backward(self, grad: Tensor) -> Tensor:
        a, result = self.saved_tensors
        kept = _kept_shape(a._array.shape, self.dims)
        return grad.reshape(kept) * (a - result.reshape(kept)).exp()


@method
def logsumexp(input: Tensor, dim: Any, keepdim: bool = False) -> Tensor:
    """Return the logarithm of the sum of exponentials over dimensions, without overflow."""
    require_tensor("logsumexp", "input", input)
    if dim is None:
        raise TypeError("logsumexp(): argument 'dim' must be tuple of ints, not NoneType")
    return LogSumExp(_reduced(dim, input.ndim), keepdim)(to_floating_point(input))


@method
def norm(input: Tensor, p: Any = "fro", dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Tensor:
    """Return the p-norm of all elements or over dimensions; `"fro"` and 2 are the Euclidean norm."""
    require_tensor("norm", "input", input)
    if isinstance(p, str) and p != "fro":
        if p == "nuc":
            return input._nuclear_norm(dim, keepdim)
        raise RuntimeError(f"linalg.matrix_norm: Order {p} not supported.")
    if input.dtype.category < 2:
        raise RuntimeError(
            f"linalg.vector_norm: Expected a floating point or complex tensor as input. Got {input.dtype}"
        )
    dims = _reduced(dim, input.ndim)
    power = 2.0 if p in ("fro", None) else float(p)
    if math.isinf(power) or power < 0:
        _require_identity(input, dims, power)
    if power == math.inf:
        return Amax(dims, keepdim)(input.abs())
    if power == -math.inf:
        return Amin(dims, keepdim)(input.abs())
    if power == 0:
        return Norm0(dims, keepdim)(input)
    return (Norm2 if power == 2 else Norm)(dims, keepdim, power)(input)


def _require_identity(input: Tensor, dims: tuple[int, ...], power: float) -> None:
    """Refuse norms of nothing where these do not exist."""
    for axis in dims:
        if input._array.shape[axis] == 0:
            where = "an empty tensor" if len(dims) == input.ndim else f"the dimension {axis}, which is empty"
            raise RuntimeError(
                f"linalg.vector_norm cannot compute the {power:g} norm on {where}, because the operation does not have"
                " an identity"
            )


class Norm0(Sum):
    """The number of elements that are not zero: its gradient is zero."""

    name = "LinalgVectorNormBackward0"

    def forward(self, a: Any) -> Any:
        self.origin = dtypes.from_numpy_dtype(a.dtype)
        return super().forward((a != 0).astype(a.real.dtype))

    def backward(self, grad: Tensor) -> Tensor:
        return Tensor._filled(self.shape, 0, self.origin, grad._device)


class Norm(Node):
    """The root of the sum of powers of absolute values (not 0, not infinity); its gradient at zero is zero."""

    name = "LinalgVectorNormBackward0"
    saves_inputs = (0,)
    saves_outputs = (0,)
    in_float32 = True

    def __init__(self, dims: tuple[int, ...], keepdim: bool, power: float) -> None:
        self.dims, self.keepdim, self.power = dims, keepdim, power

    def forward(self, a: Any) -> Any:
        xp = array_module(self.where)
        sizes = xp.abs(a)
        real = sizes.dtype.type
        return xp.sum(sizes ** real(self.power), self.dims, real, keepdims=self.keepdim) ** real(1 / self.power)

    def backward(self, grad: Tensor) -> Tensor:
        a, result = self.saved_tensors
        kept = _kept_shape(a._array.shape, self.dims)
        grad, result = grad.reshape(kept), result.reshape(kept)
        if self.power == 1:
            return a.sgn() * grad
        slope = a.sgn() * a.abs() ** (self.power - 1) * (grad / result ** (self.power - 1))
        return slope.masked_fill((result == 0) | (a == 0), 0)


class Norm2(Norm):
    """The Euclidean norm."""

    name = "LinalgVectorNormBackward0"

    def forward(self, a: Any) -> Any:
        xp = array_module(self.where)
        return xp.sqrt(xp.sum(_squared(a), self.dims, a.real.dtype, keepdims=self.keepdim))

    def backward(self, grad: Tensor) -> Tensor:
        a, result = self.saved_tensors
        kept = _kept_shape(a._array.shape, self.dims)
        result = result.reshape(kept)
        return (a * (grad.reshape(kept) / result)).masked_fill(result == 0, 0)
