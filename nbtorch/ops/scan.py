"""Running sums, products and extremes along a dimension; differences and integrals."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.graph import Node
from ..autograd.half import widen
from ..device import array_module
from ..tensor import Tensor, method, normalize_dim
from .arithmetic import bitwise_xor, install_in_place
from .binary import log_of_sum
from .indexing import Gather
from .operands import (
    normalize_dims,
    not_implemented,
    refuse_complex,
    require_number,
    require_tensor,
    scalar_tensor,
    to_dtype,
    to_floating_point,
)
from .reduction import return_type, summable
from .shape import cat, narrow

cummax_result = return_type("cummax", "values", "indices")
cummin_result = return_type("cummin", "values", "indices")


def accumulated(xp: Any, function: Any, a: Any, axis: int) -> Any:
    """Return the running result of a function of two arguments, or a NumPy function's name, along an axis.

    NumPy's ufuncs do it themselves. CuPy's do not: there each step combines results twice as far apart (Hillis and
    Steele, "Data parallel algorithms", 1986).
    """
    ufunc = getattr(xp, function) if isinstance(function, str) else function
    if hasattr(ufunc, "accumulate"):
        return ufunc.accumulate(a, axis, a.dtype)
    result = xp.moveaxis(a.copy(), axis, 0)
    step = 1
    while step < result.shape[0]:
        result[step:] = ufunc(result[:-step].copy(), result[step:])
        step *= 2
    return xp.moveaxis(result, 0, axis)


class Cumsum(Node):
    """Running sums; with `backwards` from the end."""

    in_float32 = True

    def __init__(self, axis: int, backwards: bool = False) -> None:
        self.axis, self.backwards = axis, backwards

    def forward(self, a: Any) -> Any:
        xp = array_module(self.where)
        if not self.backwards:
            return xp.cumsum(a, self.axis, a.dtype)
        return xp.flip(xp.cumsum(xp.flip(a, self.axis), self.axis, a.dtype), self.axis).copy()

    def backward(self, grad: Tensor) -> Tensor:
        return Cumsum(self.axis, not self.backwards)(grad)


def _summable(operation: str, input: Tensor, dtype: Any) -> Tensor:
    """Return the input in the type to sum in: the one asked for, or int64 for integers."""
    require_tensor(operation, "input", input)
    input = summable(input, dtype)
    require_number(f"{operation}_out_cpu", input)
    return input


@method
def cumsum(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """Return the running sums along a dimension; integers and booleans sum to int64."""
    input = _summable("cumsum", input, dtype)
    axis = normalize_dim(dim, input.ndim)
    return Cumsum(axis)(input) if input.ndim else input.clone()


class Cumprod(Node):
    saves_inputs = (0,)
    saves_outputs = (0,)
    in_float32 = True
    holomorphic = True

    def __init__(self, axis: int) -> None:
        self.axis = axis

    def forward(self, a: Any) -> Any:
        return array_module(self.where).cumprod(a, self.axis, a.dtype)

    def backward(self, grad: Tensor) -> Tensor:
        a, result = self.saved_tensors
        if not (a._array == 0).any():
            return Cumsum(self.axis, True)(grad * result) / a
        return _cumprod_gradient_at_zeros(a, grad, self.axis)


def _cumprod_gradient_at_zeros(a: Tensor, grad: Tensor, axis: int) -> Tensor:
    """Return the gradient of running products where division by the factors would fail.

    Row i of a matrix holds the factors with the i-th one replaced by 1; of its running products those from i on are
    the derivatives with respect to factor i.
    """
    factors, weights = a.movedim(axis, -1), grad.movedim(axis, -1)
    one = a._wrap_like(a._xp.eye(factors._array.shape[-1], dtype=bool))
    rows = factors.unsqueeze(-2).masked_fill(one, 1)
    derivatives = Cumprod(rows.ndim - 1)(rows).triu()
    return (derivatives * weights.unsqueeze(-2)).sum(-1).movedim(-1, axis)


@method
def cumprod(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """Return the running products along a dimension; integers and booleans multiply to int64."""
    input = _summable("cumprod", input, dtype)
    axis = normalize_dim(dim, input.ndim)
    return Cumprod(axis)(input) if input.ndim else input.clone()


install_in_place("cumsum_", cumsum)
install_in_place("cumprod_", cumprod)


class LogCumSumExp(Node):
    name = "LogcumsumexpBackward0"
    saves_inputs = (0,)
    saves_outputs = (0,)
    in_float32 = True
    holomorphic = True

    def __init__(self, axis: int) -> None:
        self.axis = axis

    def forward(self, a: Any) -> Any:
        xp = array_module(self.where)
        function = functools.partial(log_of_sum, xp) if a.dtype.kind == "c" else "logaddexp"
        return accumulated(xp, function, a, self.axis)

    def backward(self, grad: Tensor) -> Tensor:
        """Return g with g[i] = sum over k >= i of grad[k] · exp(a[i] - result[k]), without a large exponential.

        r[i] = grad[i] + exp(result[i] - result[i + 1]) · r[i + 1] is a recurrence whose factors are at most 1, because
        `result` grows; it is solved by doubling. Then g[i] = r[i] · exp(a[i] - result[i]).
        """
        a, result = self.saved_tensors
        axis, extent = self.axis, grad._array.shape[self.axis]
        if grad._array.size == 0:
            return grad * 0
        level = result.masked_fill(result.detach() == -float("inf"), 0)
        steps = narrow(level, axis, 0, extent - 1) - narrow(level, axis, 1, extent - 1)
        decay = (steps if steps.is_complex() else steps.clamp(max=0)).exp()
        decay = cat([decay, _zeros(grad, axis, 1)], axis)
        total, step = grad, 1
        while step < extent:
            total = total + decay * _advanced(total, axis, step)
            decay = decay * _advanced(decay, axis, step)
            step *= 2
        return total * (a - level).exp()


def _zeros(like: Tensor, axis: int, extent: int) -> Tensor:
    shape = list(like._array.shape)
    shape[axis] = extent
    return Tensor._filled(tuple(shape), 0, like.dtype, like._device)


def _advanced(a: Tensor, axis: int, step: int) -> Tensor:
    """Return the elements `step` positions further on, zeros beyond the end."""
    extent = a._array.shape[axis]
    return cat([narrow(a, axis, step, extent - step), _zeros(a, axis, step)], axis)


@method
def logcumsumexp(input: Tensor, dim: int) -> Tensor:
    """Return the logarithms of the running sums of exponentials along a dimension, without overflow."""
    require_tensor("logcumsumexp", "input", input)
    axis = normalize_dim(dim, input.ndim)
    if input.dtype.category < 2:
        raise not_implemented("logcumsumexp_out_cpu", input.dtype, "a floating-point or complex type")
    return LogCumSumExp(axis)(input) if input.ndim else input.clone()


class Cummax(Gather):
    """The running maxima, gathered at their indices."""


class Cummin(Gather):
    """The running minima, gathered at their indices."""


def _running_extreme(input: Tensor, dim: int, function: str, node: type[Gather], result: Any) -> Any:
    require_tensor(node.__name__.lower(), "input", input)
    refuse_complex(node.__name__.lower(), input)
    axis = normalize_dim(dim, input.ndim)
    if input.ndim == 0:
        return result(input.clone(), scalar_tensor(0, dtypes.int64, input._device))
    xp, a = input._xp, widen(input._array)
    hit = (a == accumulated(xp, function, a, axis)) | (a != a)
    positions = xp.arange(a.shape[axis]).reshape((-1,) + (1,) * (a.ndim - axis - 1))
    indices = accumulated(xp, "maximum", xp.where(hit, positions, 0), axis)
    return result(node(axis, indices)(input), input._wrap_like(indices))


@method
def cummax(input: Tensor, dim: int) -> Any:
    """Return the running maxima along a dimension and their indices, the last of several; NaN wins and stays."""
    return _running_extreme(input, dim, "maximum", Cummax, cummax_result)


@method
def cummin(input: Tensor, dim: int) -> Any:
    """Return the running minima along a dimension and their indices, the last of several; NaN wins and stays."""
    return _running_extreme(input, dim, "minimum", Cummin, cummin_result)


@method
def diff(
    input: Tensor, n: int = 1, dim: int = -1, prepend: Tensor | None = None, append: Tensor | None = None
) -> Tensor:
    """Return the n-th differences of neighbours along a dimension.

    Args:
        input: the values.
        n: how often to take differences.
        dim: the dimension.
        prepend: values to put in front first.
        append: values to put behind first.
    """
    require_tensor("diff", "input", input)
    if input.ndim == 0:
        raise RuntimeError("diff expects input to be at least one-dimensional")
    if n < 0:
        raise RuntimeError(f"order must be non-negative but got {n}")
    axis = normalize_dim(dim, input.ndim)
    parts = [part for part in (prepend, input, append) if part is not None]
    result = cat(parts, axis) if len(parts) > 1 and n else input
    if n == 0:
        return result.clone()
    for _ in range(min(n, result._array.shape[axis])):
        extent = result._array.shape[axis] - 1
        later, earlier = narrow(result, axis, 1, extent), narrow(result, axis, 0, extent)
        result = bitwise_xor(later, earlier) if result.dtype is dtypes.bool else later - earlier
    return result


def _areas(y: Tensor, x: Tensor | None, dx: float, dim: int) -> tuple[Tensor, int]:
    """Return the areas of the trapezia between neighbours along a dimension."""
    require_tensor("trapezoid", "y", y)
    if y.ndim == 0:
        raise IndexError("Dimension specified as -1 but tensor has no dimensions")
    axis = normalize_dim(dim, y.ndim)
    if y.dtype is dtypes.bool or (x is not None and x.dtype is dtypes.bool):
        raise RuntimeError("trapezoid: received a bool input for `x` or `y`, but bool is not supported")
    extent = y._array.shape[axis]
    if extent == 0:
        return y.new_zeros(y.shape), axis
    both = narrow(y, axis, 0, extent - 1) + narrow(y, axis, 1, extent - 1)
    if x is None:
        return both * dx / 2.0, axis
    if x.ndim == 1:
        if x.numel() != extent:
            raise RuntimeError(
                f"trapezoid: There must be one `x` value for each sample point, got {x.numel()} for {extent} points"
            )
        x = x.reshape((-1,) + (1,) * (y.ndim - axis - 1))
        steps = diff(x, dim=0)
    else:
        steps = diff(x, dim=dim)
    return both * steps / 2.0, axis


def trapezoid(y: Tensor, x: Tensor | None = None, *, dx: float = 1, dim: int = -1) -> Tensor:
    """Return the integral of `y` over `x` (or points `dx` apart) along a dimension, by the trapezoidal rule."""
    areas, axis = _areas(y, x, dx, dim)
    return areas.sum(axis)


def cumulative_trapezoid(y: Tensor, x: Tensor | None = None, *, dx: float = 1, dim: int = -1) -> Tensor:
    """Return the running integrals of `y` over `x` along a dimension, by the trapezoidal rule."""
    areas, axis = _areas(y, x, dx, dim)
    return cumsum(to_floating_point(areas), axis)


trapz = trapezoid


def vander(x: Tensor, N: int | None = None, increasing: bool = False) -> Tensor:
    """Return `N` powers of a vector's elements, a row each, from the highest down unless `increasing`."""
    require_tensor("vander", "x", x)
    if x.ndim != 1:
        raise RuntimeError("x must be a one-dimensional tensor.")
    count = x.numel() if N is None else N
    if count < 0:
        raise RuntimeError("N must be non-negative.")
    rows = x if x.dtype.category > 1 else to_dtype(x, dtypes.int64)
    powers = rows.new_ones((x.numel(), min(count, 1)))
    if count > 1:
        powers = cat([powers, cumprod(rows.unsqueeze(1).expand(-1, count - 1), 1)], 1)
    return powers if increasing else powers.flip(1)


def gradient(input: Tensor, *, spacing: Any = 1, dim: Any = None, edge_order: int = 1) -> tuple[Tensor, ...]:
    """Return the gradients along dimensions, by central differences inside and one-sided ones at the ends.

    Args:
        input: values of a function on a grid.
        spacing: the distance of points, a number for all dimensions or one for each; or the coordinates, a vector for
            each.
        dim: the dimensions; all of them by default.
        edge_order: 1 or 2, the order of the differences at the ends.
    """
    require_tensor("gradient", "input", input)
    if edge_order not in (1, 2):
        raise RuntimeError(f"torch.gradient only supports edge_order=1 and edge_order=2, got {edge_order}")
    if input.dtype in (dtypes.uint8, dtypes.bool):
        raise RuntimeError(f"torch.gradient does not support {input.dtype} input.")
    dims = normalize_dims(dim, input.ndim)
    spacing = 1 if spacing is None else spacing
    several = isinstance(spacing, (tuple, list))
    steps = list(spacing) if several else [spacing] * len(dims)
    if len(steps) != len(dims):
        raise RuntimeError(
            f"torch.gradient expected spacing to be unspecified, a scalar, or a list of length {len(dims)}, but got"
            f" {len(steps)} values"
        )
    for axis in dims:
        if input.shape[axis] < edge_order + 1:
            raise RuntimeError("torch.gradient expected each dimension size to be at least edge_order+1")
    values = to_floating_point(input)
    return tuple([_slope(values, axis, step, edge_order) for axis, step in zip(dims, steps, strict=True)])


def _slope(y: Tensor, axis: int, spacing: Any, edge_order: int) -> Tensor:
    """Return the gradient along one dimension (Fornberg, "Generation of finite difference formulas", 1988)."""
    n = y.shape[axis]
    if isinstance(spacing, Tensor) and spacing.ndim:
        if spacing.ndim != 1 or spacing.shape[0] != n:
            raise RuntimeError(
                f"torch.gradient expected each coordinate tensor to be a vector of the dimension's size {n}, but got"
                f" shape {list(spacing.shape)}"
            )
        shape = [1] * y.ndim
        shape[axis] = -1
        gaps = diff(to_dtype(spacing, y.dtype)).reshape(shape)
    else:
        gaps = spacing * y._wrap_like(y._xp.ones([n - 1 if d == axis else 1 for d in range(y.ndim)], y._array.dtype))

    def at(x: Tensor, start: int, count: int) -> Tensor:
        return narrow(x, axis, start, count)

    rises = diff(y, dim=axis) / gaps
    left, right = at(gaps, 0, n - 2), at(gaps, 1, n - 2)
    inside = (at(rises, 0, n - 2) * right + at(rises, 1, n - 2) * left) / (left + right)
    first, last = at(rises, 0, 1), at(rises, n - 2, 1)
    if edge_order == 2:
        begin, end = at(gaps, 0, 1), at(gaps, n - 2, 1)
        first = first + (first - at(rises, 1, 1)) * begin / (begin + at(gaps, 1, 1))
        last = last + (last - at(rises, n - 3, 1)) * end / (end + at(gaps, n - 3, 1))
    return cat([first, inside, last], axis)


def linalg_vander(x: Tensor, *, N: int | None = None) -> Tensor:
    """Return the powers 0 to N - 1 of the elements of vectors: (…, n) gives (…, n, N), with N = n by default."""
    require_tensor("linalg.vander", "x", x)
    if x.dtype in (dtypes.bool, dtypes.float16):
        raise RuntimeError(
            f"linalg.vander supports floating point, complex, and integer tensors, but got {x.dtype.title}"
        )
    x = x.reshape(1) if x.ndim == 0 else x
    count = x.shape[-1] if N is None else N
    if count <= 1:
        raise RuntimeError(f"N must be greater than 1, got {count}")
    rows = to_dtype(x, dtypes.int64) if x.dtype.category < 2 else x
    ones = rows._like_array(np.ones((*rows.shape, 1)))
    return cumprod(cat([ones, rows.unsqueeze(-1).expand(*rows.shape, count - 1)], -1), -1)
