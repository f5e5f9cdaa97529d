"""Sorting and searching: order, ranks, quantiles, sets. NaN counts as larger than every number, as in PyTorch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.graph import Node
from ..autograd.half import widen
from ..tensor import Tensor, method, normalize_dim
from .indexing import Gather
from .operands import (
    is_scalar,
    not_implemented,
    operands,
    refuse_complex,
    require_number,
    require_same_device,
    require_tensor,
    scalar_tensor,
)
from .reduction import return_type

sort_result = return_type("sort", "values", "indices")
topk_result = return_type("topk", "values", "indices")
kthvalue_result = return_type("kthvalue", "values", "indices")
median_result = return_type("median", "values", "indices")
nanmedian_result = return_type("nanmedian", "values", "indices")
mode_result = return_type("mode", "values", "indices")


class Sort(Gather):
    """Elements gathered in their order."""


class Topk(Gather):
    """The extreme elements of a dimension."""


class Kthvalue(Gather):
    """The element of one rank."""


class Median(Gather):
    """The elements in the middle."""

    name = "MedianBackward1"


class Nanmedian(Gather):
    """The elements in the middle of those that are numbers."""

    name = "NanmedianBackward1"


class Mode(Gather):
    """The most frequent elements."""


def _order(xp: Any, a: Any, axis: int, descending: bool) -> Any:
    """Return the indices that sort an array, equal elements in the order in which they stand."""
    a = widen(a)  # ml_dtypes' order has no place for NaN
    if not descending:
        return _argsort(xp, a, axis)
    backwards = xp.flip(_argsort(xp, xp.flip(a, axis), axis), axis)
    return a.shape[axis] - 1 - backwards


def _argsort(xp: Any, a: Any, axis: int) -> Any:
    return xp.argsort(a, axis, kind="stable") if xp is np else xp.argsort(a, axis)  # CuPy's is always stable


def _sorted(input: Tensor, dim: int, descending: bool) -> tuple[int, Any]:
    require_tensor("sort", "input", input)
    refuse_complex("sort", input, error=RuntimeError)
    axis = normalize_dim(dim, input.ndim)
    array = input._array if input.ndim else input._array.reshape(1)
    return axis, _order(input._xp, array, axis, descending).astype(np.int64, copy=False)


def _gathered(input: Tensor, axis: int, indices: Any, node: type[Gather], result: Any) -> Any:
    if input.ndim == 0:
        return result(input.clone(), scalar_tensor(0, dtypes.int64, input._device))
    return result(node(axis, indices)(input), input._wrap_like(indices))


@method
def sort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool | None = False) -> Any:
    """Return the elements of a dimension in order, and where they stood; equal ones keep their order.

    Args:
        input: the values.
        dim: the dimension to sort.
        descending: largest first.
        stable: accepted for PyTorch's signature; the order is always stable.
    """
    axis, indices = _sorted(input, dim, descending)
    return _gathered(input, axis, indices, Sort, sort_result)


@method
def argsort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Tensor:
    """Return the indices that sort a dimension; equal elements keep their order."""
    _, indices = _sorted(input, dim, descending)
    return input._wrap_like(indices.reshape(input._array.shape))


@method
def msort(input: Tensor) -> Tensor:
    """Return the elements in order along the first dimension."""
    return sort(input, 0)[0]


@method
def topk(input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    """Return the `k` largest (or smallest) elements of a dimension, extreme ones first, and their indices."""
    require_tensor("topk", "input", input)
    refuse_complex("topk", input, error=RuntimeError)
    axis = normalize_dim(dim, input.ndim)
    array = widen(input._array) if input.ndim else input._array.reshape(1)
    extent = array.shape[axis]
    if not 0 <= k <= extent:
        raise RuntimeError(f"selected index k out of range: topk needs k in [0, {extent}], got {k}")
    if input.dtype is dtypes.bool:
        raise RuntimeError("topk does not support bool dtype")
    xp, before = input._xp, (slice(None),) * axis
    if 0 < k < extent // 2:
        cut = extent - k if largest else k - 1
        parted = xp.argpartition(array, cut, axis)
        chosen = xp.sort(parted[(*before, slice(cut, None) if largest else slice(k))], axis)
        order = _order(xp, xp.take_along_axis(array, chosen, axis), axis, largest)
        indices = xp.take_along_axis(chosen, order, axis)
    else:
        indices = _order(xp, array, axis, largest)[(*before, slice(k))]
    if input.ndim == 0 and k == 0:
        return topk_result(input.new_empty((0,)), input._wrap_like(indices))
    return _gathered(input, axis, indices.astype(np.int64, copy=False), Topk, topk_result)


def _one_of_each(input: Tensor, axis: int, keepdim: bool, indices: Any, node: type[Gather], result: Any) -> Any:
    """Return one element for each position of the other dimensions; `indices` have extent 1 along `axis`."""
    values, places = _gathered(input, axis, indices, node, result)
    return result(values, places) if keepdim or input.ndim == 0 else result(values.squeeze(axis), places.squeeze(axis))


def _searched(operation: str, input: Tensor, dim: int) -> tuple[int, Any]:
    require_tensor(operation, "input", input)
    refuse_complex(operation, input)
    axis = normalize_dim(dim, input.ndim)
    array = input._array if input.ndim else input._array.reshape(1)
    if array.shape[axis] == 0:
        raise IndexError(f"{operation}(): Expected reduction dim {axis} to have non-zero size.")
    return axis, array


@method
def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> Any:
    """Return the `k`-th smallest element of a dimension (counted from 1) and its index."""
    axis, array = _searched("kthvalue", input, dim)
    if not 1 <= k <= array.shape[axis]:
        raise RuntimeError(
            f"selected number k out of range for dimension {axis}: kthvalue needs k in"
            f" [1, {array.shape[axis]}], got {k}"
        )
    require_number("kthvalue_cpu", input)
    order = _order(input._xp, array, axis, False)
    indices = order[(slice(None),) * axis + (slice(k - 1, k),)]
    return _one_of_each(input, axis, keepdim, indices, Kthvalue, kthvalue_result)


def _middle(xp: Any, a: Any, axis: int, skip_nan: bool) -> Any:
    """Return the index of the median, with extent 1 along `axis`: the lower of two; a NaN where there is one."""
    order = _order(xp, a, axis, False)
    missing = (a != a).sum(axis, keepdims=True)
    extent = a.shape[axis]
    if skip_nan:
        rank = xp.maximum(extent - missing - 1, 0) // 2
    else:
        rank = xp.where(missing > 0, extent - missing, (extent - 1) // 2)
    return xp.take_along_axis(order, rank, axis).astype(np.int64, copy=False)


def _median(input: Tensor, dim: int | None, keepdim: bool, skip_nan: bool) -> Any:
    name, node, result = ("nanmedian", Nanmedian, nanmedian_result) if skip_nan else ("median", Median, median_result)
    require_tensor(name, "input", input)
    refuse_complex(name, input)
    if dim is None and keepdim:
        raise TypeError(f"{name}(): argument 'dim' must be int, not NoneType")
    if dim is not None:
        axis, array = _searched(name, input, dim)
    require_number(f"{name}_cpu", input)
    if dim is not None:
        return _one_of_each(input, axis, keepdim, _middle(input._xp, array, axis, skip_nan), node, result)
    flat = input.reshape(-1)
    if flat.numel() == 0:
        return scalar_tensor(math.nan if input.is_floating_point() else 0, input.dtype, input._device)
    return node(0, _middle(input._xp, flat._array, 0, skip_nan))(flat).reshape(())


@method
def median(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """Return the element in the middle, the lower of two; with `dim` those of a dimension and their indices."""
    return _median(input, dim, keepdim, False)


@method
def nanmedian(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """Return the element in the middle of those that are not NaN; see `median`."""
    return _median(input, dim, keepdim, True)


@method
def mode(input: Tensor, dim: int = -1, keepdim: bool = False) -> Any:
    """Return the most frequent element of a dimension (the smallest of several) and the index where it stands last."""
    axis, array = _searched("mode", input, dim)
    xp = input._xp
    order = _order(xp, array, axis, False)
    ranked = xp.moveaxis(xp.take_along_axis(array, order, axis), axis, -1)
    position = xp.arange(ranked.shape[-1])
    new = xp.ones(ranked.shape, bool)
    new[..., 1:] = ranked[..., 1:] != ranked[..., :-1]
    run_start = xp.where(new, position, 0)
    step = 1
    while step < run_start.shape[-1]:  # the running maximum, by doubling
        run_start[..., step:] = xp.maximum(run_start[..., step:], run_start[..., :-step].copy())
        step *= 2
    lengths = position - run_start
    best = xp.argmax(lengths, -1, keepdims=True)
    indices = xp.take_along_axis(order, xp.moveaxis(best, -1, axis), axis)
    return _one_of_each(input, axis, keepdim, indices, Mode, mode_result)


_INTERPOLATIONS = ("linear", "lower", "higher", "midpoint", "nearest")


def _quantile(operation: str, input: Tensor, q: Any, dim: int | None, keepdim: bool, interpolation: str) -> Tensor:
    """Return quantiles by sorting: `operation` tells whether NaN are skipped or make the result NaN."""
    require_tensor(operation, "input", input)
    if input.numel() == 0:
        raise RuntimeError(f"{operation}() input tensor must be non-empty")
    if input.dtype not in (dtypes.float32, dtypes.float64):
        raise RuntimeError(f"{operation}() input tensor must be either float or double dtype")
    if interpolation not in _INTERPOLATIONS:
        raise RuntimeError(
            f"{operation}() interpolation must be one of linear, lower, higher, midpoint or nearest, but got"
            f" {interpolation}"
        )
    shares = q if isinstance(q, Tensor) else scalar_tensor(q, input.dtype, input._device)
    if shares.ndim > 1:
        raise RuntimeError(f"{operation}() q must be a scalar or 1D tensor")
    if shares.dtype is not input.dtype:
        raise RuntimeError(f"{operation}() q tensor must be same dtype as the input tensor")
    if not ((shares._array >= 0) & (shares._array <= 1)).all():
        raise RuntimeError(f"{operation}() q must be in the range [0, 1] but got {shares.tolist()}")
    axis = 0 if dim is None else normalize_dim(dim, input.ndim)
    rows = input.reshape(-1) if dim is None or input.ndim == 0 else input.movedim(axis, -1)
    result = _ranked(rows, shares.reshape(-1), interpolation, operation == "nanquantile")
    if keepdim:
        result = (
            result.unsqueeze(-1).movedim(-1, axis + 1)
            if dim is not None and input.ndim
            else result.reshape((-1,) + (1,) * input.ndim)
        )
    return result if shares.ndim else result.squeeze(0)


def _ranked(rows: Tensor, shares: Tensor, interpolation: str, skip_nan: bool) -> Tensor:
    """Return for each share the value of that rank in the last dimension, (shares, ...)."""
    xp = rows._xp
    missing = (rows._array != rows._array).sum(-1, keepdims=True)
    extent = rows._array.shape[-1]
    counts = extent - missing if skip_nan else xp.full_like(missing, extent)
    rank = shares._array * xp.maximum(counts - 1, 0).astype(rows._array.dtype)
    if not skip_nan:
        rank = xp.where(missing > 0, rank.dtype.type(extent - 1), rank)  # NaN stand last
    rounding = {"lower": xp.floor, "higher": xp.ceil, "nearest": xp.round}.get(interpolation)
    if rounding is not None:
        rank = rounding(rank)
    below = rank.astype(np.int64)
    values = sort(rows, -1)[0]
    low = Gather(rows.ndim - 1, below)(values)
    if interpolation in ("linear", "midpoint"):
        above = xp.ceil(rank).astype(np.int64)
        high = Gather(rows.ndim - 1, above)(values)
        weight = xp.full_like(rank, 0.5) if interpolation == "midpoint" else rank - below
        low = low.lerp(high, rows._wrap_like(weight.astype(rows._array.dtype, copy=False)))
    return low.movedim(-1, 0)


@method
def quantile(
    input: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Tensor:
    """Return the values below which given shares of the elements lie; NaN where there is a NaN.

    Args:
        input: float32 or float64.
        q: a share in [0, 1], or a vector of shares, which leads the result's shape.
        dim: the dimension; without it all elements count.
        keepdim: keep the dimension with extent 1.
        interpolation: between two elements: `"linear"`, `"lower"`, `"higher"`, `"midpoint"` or `"nearest"`.
    """
    return _quantile("quantile", input, q, dim, keepdim, interpolation)


@method
def nanquantile(
    input: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Tensor:
    """Return the values below which given shares of the elements that are not NaN lie; see `quantile`."""
    return _quantile("nanquantile", input, q, dim, keepdim, interpolation)


class Unique(Node):
    """Elements picked out by comparing them, which has no derivative."""

    name = "Unique2Backward0"

    def __init__(self, values: Any) -> None:
        self.values = values

    def forward(self, a: Any) -> Any:
        return self.values

    def backward(self, grad: Tensor) -> Any:
        raise RuntimeError("the derivative for 'unique' is not implemented.")


def _results(input: Tensor, values: Any, inverse: Any, counts: Any, with_inverse: bool, with_counts: bool) -> Any:
    parts = [values, *([inverse] if with_inverse else []), *([counts] if with_counts else [])]
    tensors = [Unique(parts[0])(input), *(input._wrap_like(p.astype(np.int64, copy=False)) for p in parts[1:])]
    return tuple(tensors) if len(tensors) > 1 else tensors[0]


@method
def unique(
    input: Tensor,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """Return the different elements in order; with `dim` the different slices of that dimension.

    Args:
        input: the values.
        sorted: accepted for PyTorch's signature; the result is always sorted.
        return_inverse: return also where each element went.
        return_counts: return also how often each occurs.
        dim: the dimension whose slices are compared as wholes.
    """
    require_tensor("unique", "input", input)
    refuse_complex("unique", input)
    axis = None if dim is None else normalize_dim(dim, input.ndim)
    xp, array = input._xp, widen(input._array)
    if axis is not None and input.ndim and 0 in array.shape[:axis] + array.shape[axis + 1 :]:
        raise RuntimeError("There are 0 sized dimensions, and they aren't selected, so unique cannot be applied")
    values, inverse, counts = xp.unique(
        array if input.ndim else array.reshape(1),
        return_inverse=True,
        return_counts=True,
        axis=axis,
        equal_nan=False,
    )
    shape = array.shape if axis is None else (-1,)
    values = values.astype(input._array.dtype, copy=False)
    return _results(input, values, inverse.reshape(shape), counts, return_inverse, return_counts)


@method
def unique_consecutive(
    input: Tensor, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """Return the elements without those that equal their predecessor; with `dim` slices of that dimension."""
    require_tensor("unique_consecutive", "input", input)
    xp = input._xp
    axis = 0 if dim is None else normalize_dim(dim, input.ndim)
    slices = input._array.reshape(-1) if dim is None or input.ndim == 0 else xp.moveaxis(input._array, axis, 0)
    new = xp.ones(slices.shape[:1], bool)
    if slices.shape[0]:
        differs = slices[1:] != slices[:-1]
        new[1:] = differs.reshape(differs.shape[0], -1).any(1) if slices.ndim > 1 else differs
    starts = xp.nonzero(new)[0]
    inverse = xp.cumsum(new) - 1
    counts = xp.diff(starts, append=xp.asarray([slices.shape[0]]))
    if dim is None:
        inverse = inverse.reshape(input._array.shape)
    values = xp.moveaxis(slices[new], 0, axis) if slices.ndim > 1 else slices[new]
    return _results(input, values, inverse, counts, return_inverse, return_counts)


def searchsorted(
    sorted_sequence: Tensor,
    input: Any,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Tensor | None = None,
) -> Tensor:
    """Return where elements would have to be inserted so that a sorted sequence stays sorted.

    Args:
        sorted_sequence: values in order along the last dimension.
        input: a number, or a tensor whose leading dimensions equal the sequence's, unless that is 1-d.
        out_int32: return int32 instead of int64.
        right: insert after equal elements rather than before.
        side: the same as a word, `"left"` or `"right"`.
        sorter: the indices that sort `sorted_sequence`, where it is not in order itself.
    """
    require_tensor("searchsorted", "sorted_sequence", sorted_sequence)
    if side not in (None, "left", "right"):
        raise RuntimeError(f"torch.searchsorted(): side can only be 'left' or 'right' but got {side}")
    if side == "left" and right:
        raise RuntimeError(
            "torch.searchsorted(): side and right can't be set to opposites, got side of left while right was True"
        )
    if not isinstance(input, Tensor):
        if not is_scalar(input):
            raise TypeError(f"searchsorted(): argument 'input' must be Tensor or a number, not {type(input).__name__}")
        input = scalar_tensor(input, sorted_sequence.dtype, sorted_sequence._device)
    require_same_device("searchsorted", sorted_sequence, input)
    if sorted_sequence.ndim == 0:
        raise RuntimeError(
            "torch.searchsorted(): input value can be a scalar only when boundaries tensor dimension is 1"
        )
    if sorted_sequence.dtype is not input.dtype:
        raise RuntimeError(
            "torch.searchsorted(): boundary tensor and input value tensor should have same dtype, but got boundary"
            f" tensor dtype {sorted_sequence.dtype} and input value tensor dtype {input.dtype}"
        )
    if sorted_sequence.ndim > 1 and sorted_sequence.shape[:-1] != input.shape[:-1]:
        raise RuntimeError(
            "torch.searchsorted(): boundaries tensor should be 1 dimension or the first N-1 dimensions of boundaries"
            f" tensor and input value tensor must match, but we got boundaries tensor {list(sorted_sequence.shape)} and"
            f" input value tensor {list(input.shape)}"
        )
    refuse_complex("searchsorted", input)
    xp, sequence = input._xp, sorted_sequence._array
    if sorter is not None:
        if sorter.shape != sorted_sequence.shape:
            raise RuntimeError(
                "torch.searchsorted(): boundary and sorter must have the same size, but got boundary tensor"
                f" {list(sorted_sequence.shape)}and got sorter tensor {list(sorter.shape)}"
            )
        if sorter.dtype is not dtypes.int64:
            raise RuntimeError(
                f"torch.searchsorted(): sorter must be a tensor of long dtype but got dtype {sorter.dtype}"
            )
        if sorter.numel() and (sorter._array.min() < 0 or sorter._array.max() >= sequence.shape[-1]):
            raise RuntimeError("torch.searchsorted(): sorter index out of range")
        sequence = xp.take_along_axis(sequence, sorter._array, -1)
    found = _bisected(xp, sequence, input._array, right or side == "right")
    return input._wrap_like(found.astype(np.int32 if out_int32 else np.int64, copy=False))


def _bisected(xp: Any, sequence: Any, values: Any, right: bool) -> Any:
    """Return the places of all values by bisection, in all rows at once; the sequence's rows are sorted."""
    extent = sequence.shape[-1]
    low, high = xp.zeros(values.shape, np.int64), xp.full(values.shape, extent, np.int64)
    if extent == 0:
        return low
    for _ in range(extent.bit_length()):
        middle = (low + high) // 2
        place = xp.minimum(middle, extent - 1)
        probe = sequence[place] if sequence.ndim == 1 else xp.take_along_axis(sequence, place, -1)
        beyond = ~(probe > values) if right else ~(probe >= values)
        beyond = beyond & (low < high)
        low, high = xp.where(beyond, middle + 1, low), xp.where(beyond, high, middle)
    return low


def bucketize(input: Any, boundaries: Tensor, *, out_int32: bool = False, right: bool = False) -> Tensor:
    """Return for each element between which boundaries it lies; `right` puts an element on a boundary above it."""
    require_tensor("bucketize", "boundaries", boundaries)
    if boundaries.ndim != 1:
        raise RuntimeError(f"bucketize(): boundaries tensor must be 1 dimension, but got dim({boundaries.ndim})")
    if isinstance(input, Tensor):
        boundaries, input = operands("bucketize", boundaries, input)
    return searchsorted(boundaries, input, out_int32=out_int32, right=right)


@method(name="bucketize")
def _bucketize_method(self: Tensor, boundaries: Tensor, *, out_int32: bool = False, right: bool = False) -> Tensor:
    """Return for each element between which boundaries it lies; see `nbtorch.bucketize`."""
    return bucketize(self, boundaries, out_int32=out_int32, right=right)


def isin(elements: Any, test_elements: Any, *, assume_unique: bool = False, invert: bool = False) -> Tensor:
    """Return which elements are among others (with `invert` which are not); one of the two may be a number."""
    if not isinstance(elements, Tensor) and not isinstance(test_elements, Tensor):
        raise TypeError("isin(): at least one of elements and test_elements must be Tensor, got two numbers")
    a, b = operands("isin", elements, test_elements)
    refuse_complex("isin", a, error=RuntimeError)
    if a.dtype is dtypes.bool:
        raise RuntimeError("Unsupported input type encountered for isin(): Bool")
    return a._wrap_like(a._xp.isin(a._array, b._array, assume_unique=assume_unique, invert=invert))


@method
def histc(input: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """Return how many elements fall into each of `bins` equal intervals of `[min, max]`; others are ignored.

    Args:
        input: floating point.
        bins: how many intervals.
        min: where they begin; with `min == max` at the smallest element.
        max: where they end.
    """
    require_tensor("histc", "input", input)
    refuse_complex("histc", input)
    if not input.is_floating_point():
        raise not_implemented("histogram_cpu", input.dtype, "a floating-point type")
    if bins <= 0:
        raise RuntimeError(f"bins must be > 0, but got {bins}")
    xp, a = input._xp, widen(input._array).reshape(-1)
    low, high = float(min), float(max)
    if low == high and a.size:
        low, high = float(a.min()), float(a.max())
    if low == high:
        low, high = low - 1, high + 1
    if not (math.isfinite(low) and math.isfinite(high)):
        raise RuntimeError(f"range of [{low}, {high}] is not finite")
    if low > high:
        raise RuntimeError("max must be larger than min")
    inside = a[(a >= low) & (a <= high)]
    scaled = (inside - a.dtype.type(low)) * bins / a.dtype.type(high - low)
    places = xp.minimum(scaled.astype(np.int64), bins - 1)
    return input._wrap_like(xp.bincount(places, minlength=bins).astype(input._array.dtype))


@method
def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """Return how often each number 0, 1, … occurs in a vector, or the sums of its weights."""
    require_tensor("bincount", "input", input)
    if minlength < 0:
        raise RuntimeError("minlength should be >= 0")
    if input.ndim != 1 or (input.numel() and int(input._array.min()) < 0):
        raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
    if input.dtype.category != 1:
        raise not_implemented("bincount_cpu", input.dtype, "integers")
    if weights is not None and weights.shape != input.shape:
        raise RuntimeError("weights should be 1-d and have the same length as input")
    xp = input._xp
    numbers = input._array.astype(np.int64, copy=False)
    if weights is None:
        return input._wrap_like(xp.bincount(numbers, minlength=minlength).astype(np.int64, copy=False))
    sums = xp.bincount(numbers, weights._array.astype(np.float64), minlength)
    return input._wrap_like(sums.astype(np.float32 if weights.dtype is dtypes.float32 else np.float64, copy=False))
