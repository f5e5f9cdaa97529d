"""Elements put, added or combined at given indices. Every index is checked before an array is touched."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.graph import Node
from ..device import array_module
from ..tensor import Tensor, method, normalize_dim
from .arithmetic import Where, install_in_place
from .indexing import Embed, Index, IndexPut, gather
from .operands import (
    refuse_complex,
    require_floating_point,
    require_same_device,
    require_tensor,
    scalar_tensor,
    to_dtype,
)

_INDICES = (dtypes.int32, dtypes.int64)


def _require_range(indices: Any, extent: int, dim: int, error: type[Exception], wraps: bool = False) -> None:
    """Refuse indices outside of a dimension; with `wraps` negative ones count from the end."""
    if indices.size:
        lowest, highest = int(indices.min()), int(indices.max())
        if lowest < (-extent if wraps else 0) or highest >= extent:
            wrong = highest if highest >= extent else lowest
            raise error(f"index {wrong} is out of bounds for dimension {dim} with size {extent}")


def _require_indices(operation: str, index: Any, types: tuple[dtypes.dtype, ...] = _INDICES) -> None:
    require_tensor(operation, "index", index)
    if index.dtype not in types:
        expected = "/".join(t.name for t in types)
        raise RuntimeError(f"{operation}(): Expected dtype {expected} for index, got {index.dtype}")


def _grid(xp: Any, axis: int, indices: Any) -> tuple[Any, ...]:
    """Return the index that pairs `indices` along an axis with their own places along the others."""
    grids = list(xp.ogrid[tuple(slice(n) for n in indices.shape)])
    grids[axis] = indices
    return tuple(grids)


class Scatter(IndexPut):
    """A copy with elements replaced at indices along a dimension."""

    name = "ScatterBackward0"


class ScatterAdd(IndexPut):
    """A copy with elements added at indices along a dimension."""


class IndexAdd(IndexPut):
    """A copy with slices added."""


class IndexCopy(IndexPut):
    """A copy with slices replaced."""


class IndexFill(IndexPut):
    """A copy with slices set to one value."""

    name = "IndexFillBackward1"


class Take(Index):
    """Elements of the flattened tensor."""


class Put(IndexPut):
    """A copy with elements of the flattened tensor replaced."""


_UFUNCS = {"sum": "add", "mean": "add", "prod": "multiply", "amax": "maximum", "amin": "minimum"}


def _combine_at(xp: Any, function: str, target: Any, index: Any, values: Any) -> None:
    """Combine elements of `target` in place with values, one after the other where an index repeats.

    NumPy's ufuncs do it themselves. For those that CuPy's lack, values whose index repeats are taken in rounds, in each
    of which every index occurs once.
    """
    ufunc = getattr(xp, function)
    if xp is np or function != "multiply":
        ufunc.at(target, index, values)
        return
    combine_in_rounds(xp, ufunc, target, index, values)


def combine_in_rounds(xp: Any, ufunc: Any, target: Any, index: Any, values: Any) -> None:
    """Do what `ufunc.at` does with ordinary assignments: the n-th round takes every place's n-th value."""
    places = xp.arange(target.size).reshape(target.shape)[index]
    values = xp.broadcast_to(values, places.shape).reshape(-1)
    places = places.reshape(-1)
    order = xp.argsort(places)
    ranked = places[order]
    first = xp.searchsorted(ranked, ranked)
    rounds = xp.empty(places.shape, np.int64)
    rounds[order] = xp.arange(places.size) - first
    flat = target.reshape(-1)
    for number in range(int(rounds.max()) + 1 if rounds.size else 0):
        now = rounds == number
        flat[places[now]] = ufunc(flat[places[now]], values[now])


def _identity(reduce: str, dtype: np.dtype) -> Any:
    """Return what leaves the other operand of a reduction as it is."""
    if reduce in ("sum", "mean"):
        return 0
    if reduce == "prod":
        return 1
    if dtype.kind in dtypes.FLOATING:
        return -np.inf if reduce == "amax" else np.inf
    if dtype.kind == "b":
        return reduce == "amin"
    limits = np.iinfo(dtype)
    return limits.min if reduce == "amax" else limits.max


class ScatterReduce(Node):
    """Elements combined at indices: sums, means, products, extremes; with or without what was there."""

    saves_inputs = (0, 1)
    saves_outputs = (0,)
    keeps_state = True
    in_float32 = True

    def __init__(self, index: tuple[Any, ...], reduce: str, include_self: bool) -> None:
        self.index, self.reduce, self.include_self = index, reduce, include_self

    def forward(self, a: Any, values: Any) -> Any:
        xp = array_module(self.where)
        result = a.copy()
        if not self.include_self:
            result[self.index] = _identity(self.reduce, a.dtype)
        _combine_at(xp, _UFUNCS[self.reduce], result, self.index, values)
        if self.reduce == "mean":
            counts = self._counts(xp, a, values)
            result = result // counts if a.dtype.kind in "iu" else (result / counts).astype(a.dtype)
        return result

    def _counts(self, xp: Any, a: Any, values: Any) -> Any:
        """Return how many numbers each mean is over; 1 where nothing was put."""
        counts = xp.full(a.shape, 1 if self.include_self else 0, a.dtype if a.dtype.kind != "b" else np.int64)
        xp.add.at(counts, self.index, xp.ones(values.shape, counts.dtype))
        return xp.maximum(counts, 1)

    def _picked(self, a: Tensor) -> Tensor:
        return Index(self.index)(a)

    def _placed(self, values: Tensor, shape: tuple[int, ...]) -> Tensor:
        return Embed(self.index, shape)(values)

    def backward(self, grad: Tensor) -> Any:
        a, values, result = self.saved_tensors
        to_a, to_values = getattr(self, f"_through_{self.reduce}")(grad, a, values, result)
        if not self.include_self and to_a is not None:
            to_a = IndexPut(self.index)(to_a, scalar_tensor(0, grad.dtype, grad._device))
        return to_a, to_values

    def _through_sum(self, grad: Tensor, a: Tensor, values: Tensor, result: Tensor) -> Any:
        return grad, self._picked(grad)

    def _through_mean(self, grad: Tensor, a: Tensor, values: Tensor, result: Tensor) -> Any:
        share = grad / grad._wrap_like(self._counts(grad._xp, a._array, values._array))
        return share, self._picked(share)

    def _through_prod(self, grad: Tensor, a: Tensor, values: Tensor, result: Tensor) -> Any:
        """Divide by the factors; where exactly one factor is zero, multiply the others instead."""
        with_ones = ScatterReduce(self.index, "prod", self.include_self)
        zero = values.detach().eq(0)
        own_zero = a.detach().eq(0)
        of_others = with_ones(a.masked_fill(own_zero, 1), values)
        to_a = grad * of_others / a.masked_fill(own_zero, 1)
        zeros = self._placed(to_dtype(zero, grad.dtype), a._array.shape)
        single = zero & self._picked(zeros).eq(1)
        without = with_ones(a, values.masked_fill(single, 1))
        at_zeros = self._picked(grad * without)
        elsewhere = self._picked(grad * result) / values.masked_fill(zero, 1)
        return to_a, Where()(single, at_zeros, elsewhere)

    def _through_extreme(self, grad: Tensor, a: Tensor, values: Tensor, result: Tensor) -> Any:
        """Share the gradient evenly among the elements that are the extreme."""
        chosen = to_dtype(a.detach().eq(result.detach()), grad.dtype)
        if not self.include_self:
            chosen = IndexPut(self.index)(chosen, scalar_tensor(0, grad.dtype, grad._device))
        chosen_values = to_dtype(values.detach().eq(self._picked(result.detach())), grad.dtype)
        count = chosen + self._placed(chosen_values, a._array.shape)
        share = grad / count.clamp(min=1)
        return (share * chosen if self.include_self else share), chosen_values * self._picked(share)

    _through_amax = _through_amin = _through_extreme


def _scattered(operation: str, input: Tensor, dim: int, index: Tensor, src: Any) -> tuple[int, Tensor, Tensor]:
    """Check the arguments of a scatter; return the axis, the indices and the part of `src` that they take."""
    require_tensor(operation, "input", input)
    _require_indices(operation, index)
    axis = normalize_dim(dim, input.ndim)
    if isinstance(src, Tensor):
        if src.dtype is not input.dtype:
            raise RuntimeError(f"{operation}(): Expected self.dtype to be equal to src.dtype")
        require_same_device(operation, input, index, src)
    else:
        require_same_device(operation, input, index)
        src = scalar_tensor(src, input.dtype, input._device)
    if index.numel() == 0:
        return axis, index, src
    if index.ndim != input.ndim and max(index.ndim, 1) != max(input.ndim, 1):
        raise RuntimeError("Index tensor must have the same number of dimensions as self tensor")
    own = input._array.shape or (1,)
    shape = index._array.shape or (1,)
    if src.ndim or index.ndim == 0:
        source = src._array.shape or (1,)
        if len(source) != len(shape):
            raise RuntimeError("Index tensor must have the same number of dimensions as src tensor")
        fits = all(i <= n for i, n in zip(shape, source, strict=True))
    else:
        source, fits = (), True
    if not fits or any(i > n for d, (i, n) in enumerate(zip(shape, own, strict=True)) if d != axis):
        raise RuntimeError(
            f"Expected index {list(shape)} to be no larger than self {list(own)} apart from dimension {axis}"
            + (f" and to be no larger size than src {list(source)}" if source else "")
        )
    _require_range(index._array, own[axis], axis, RuntimeError)
    if source and source != shape:
        src = src[tuple(slice(n) for n in shape)]
    return axis, index, src


def _positions(input: Tensor, axis: int, index: Tensor) -> tuple[Any, ...]:
    if input.ndim == 0:
        return (...,)
    return _grid(input._xp, axis, index._array if index.ndim else index._array.reshape(1))


def _scatter_with(operation: str, node: Any, input: Tensor, dim: int, index: Tensor, src: Any) -> Tensor:
    """Run a node that `node(positions)` makes; nothing happens without indices."""
    axis, index, src = _scattered(operation, input, dim, index, src)
    if index.numel() == 0:
        return input.clone()
    if input.ndim == 0 and src.ndim:
        src = src.reshape(())
    return node(_positions(input, axis, index))(input, src)


@method
def scatter(
    input: Tensor, dim: int, index: Tensor, src: Any = None, value: Any = None, *, reduce: str | None = None
) -> Tensor:
    """Return a copy with elements replaced: for `dim` 0, `out[index[i][j]][j] = src[i][j]`.

    Args:
        input: where to put elements.
        dim: the dimension that the indices count.
        index: int32 or int64, no larger than `src`, and than `input` apart from `dim`.
        src: the elements, a tensor of `input`'s type or a number.
        value: a number, under its own name.
        reduce: `"add"` or `"multiply"` to combine instead of to replace.
    """
    src = value if src is None else src
    if src is None:
        raise TypeError("scatter(): expected a tensor 'src' or a number 'value'")
    if reduce is None:
        return _scatter_with("scatter", Scatter, input, dim, index, src)
    if reduce not in ("add", "multiply"):
        raise RuntimeError("reduce argument must be either add or multiply.")
    combined = "sum" if reduce == "add" else "prod"
    return _scatter_with("scatter", lambda at: ScatterReduce(at, combined, True), input, dim, index, src)


@method
def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """Return a copy with elements added: for `dim` 0, `out[index[i][j]][j] += src[i][j]`."""
    require_tensor("scatter_add", "src", src)
    return _scatter_with("scatter_add", lambda at: ScatterAdd(at, True), input, dim, index, src)


def _require_reduction(operation: str, reduce: str, choices: tuple[str, ...]) -> None:
    if reduce not in choices:
        raise RuntimeError(f"{operation}: reduce argument must be one of {', '.join(choices)}, got {reduce}")


@method
def scatter_reduce(
    input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """Return a copy with elements combined at indices; see `scatter`.

    Args:
        input: what is there.
        dim: the dimension that the indices count.
        index: int64 or int32, as for `scatter`.
        src: what comes to it.
        reduce: `"sum"`, `"prod"`, `"mean"`, `"amax"` or `"amin"`.
        include_self: whether what is there counts where something comes to it.
    """
    require_tensor("scatter_reduce", "src", src)
    _require_reduction("scatter_reduce", reduce, ("sum", "prod", "mean", "amax", "amin"))
    if reduce in ("amax", "amin"):
        refuse_complex("scatter_reduce", input)
    return _scatter_with("scatter_reduce", lambda at: ScatterReduce(at, reduce, include_self), input, dim, index, src)


def _sliced(
    operation: str, input: Tensor, dim: int, index: Tensor, source: Tensor
) -> tuple[Tensor, tuple[Any, ...], Tensor]:
    """Check the arguments of `index_add` and its like; return the input and source with a dimension, and the index."""
    require_tensor(operation, "source", source)
    _require_indices(operation, index, (dtypes.int64,) if operation == "index_copy" else _INDICES)
    axis = normalize_dim(dim, input.ndim)
    require_same_device(operation, input, index, source)
    if index.ndim > 1:
        raise IndexError(f"{operation}(): Index is supposed to be a vector, but got dim: {index.ndim}")
    if input.dtype is not source.dtype:
        raise RuntimeError(
            f"{operation}(): self ({input.dtype}) and source ({source.dtype}) must have the same scalar type"
        )
    count = index.numel()
    own = input._array.shape or (1,)
    given = source._array.shape or (1,)
    if input.ndim == 0 or source.ndim == 0:
        if len(own) != len(given) or given[0] != count:
            raise IndexError(
                f"{operation}(): Number of indices ({count}) should be equal to source.size(dim): ({given[0]}), for"
                f" dim: {axis}"
            )
    elif given[axis : axis + 1] != (count,):
        raise IndexError(
            f"{operation}(): Number of indices ({count}) should be equal to source.size(dim): ({given[axis]}), for dim:"
            f" {axis}"
            if axis < len(given)
            else f"{operation}(): source has no dimension {axis}"
        )
    if own[:axis] + own[axis + 1 :] != given[:axis] + given[axis + 1 :]:
        raise RuntimeError(
            f"{operation}(): Source and destination tensor slices must have the same shape apart from dimension {axis},"
            f" got {list(given)} and {list(own)}"
        )
    indices = index._array.reshape(-1)
    _require_range(indices, own[axis], axis, IndexError if operation != "index_add" else RuntimeError)
    return input.reshape(own), (slice(None),) * axis + (indices,), source.reshape(given)


@method
def index_add(input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Any = 1) -> Tensor:
    """Return a copy with `alpha` times the slices of `source` added at the positions `index` of a dimension."""
    widened, at, slices = _sliced("index_add", input, dim, index, source)
    result = IndexAdd(at, True)(widened, slices if alpha == 1 else slices * alpha)
    return result.reshape(input._array.shape)


@method
def index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """Return a copy with the positions `index` of a dimension replaced by the slices of `source`."""
    widened, at, slices = _sliced("index_copy", input, dim, index, source)
    return IndexCopy(at)(widened, slices).reshape(input._array.shape)


@method
def index_reduce(
    input: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """Return a copy with slices of `source` combined at the positions `index` of a dimension.

    Args:
        input: what is there.
        dim: the dimension that the indices count.
        index: a vector of int32 or int64.
        source: as many slices as indices.
        reduce: `"prod"`, `"mean"`, `"amax"` or `"amin"`.
        include_self: whether what is there counts where something comes to it.
    """
    _require_reduction("index_reduce", reduce, ("prod", "mean", "amax", "amin"))
    if reduce in ("amax", "amin"):
        refuse_complex("index_reduce", input)
    widened, at, slices = _sliced("index_reduce", input, dim, index, source)
    return ScatterReduce(at, reduce, include_self)(widened, slices).reshape(input._array.shape)


@method
def index_fill(input: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    """Return a copy with the positions `index` of a dimension set to a number or 0-d tensor."""
    require_tensor("index_fill", "index", index)
    if index.dtype not in _INDICES:
        raise IndexError(f"index_fill_(): Expected dtype int64 for index, got {index.dtype}")
    if index.ndim > 1:
        raise RuntimeError(f"Index has to be a vector/scalar, got {index.ndim} dimensions")
    if isinstance(value, Tensor):
        if value.ndim:
            raise RuntimeError(
                f"Only supports 0-dimension value tensor, but got a value tensor with {value.ndim} dimension(s)"
            )
        value = to_dtype(value, input.dtype)
    else:
        value = scalar_tensor(value, input.dtype, input._device)
    axis = normalize_dim(dim, input.ndim)
    own = input._array.shape or (1,)
    indices = index._array.reshape(-1)
    _require_range(indices, own[axis], axis, IndexError, wraps=True)
    at = (slice(None),) * axis + (_once(input._xp, indices % max(own[axis], 1)),)
    return IndexFill(at)(input.reshape(own), value).reshape(input._array.shape)


def _once(xp: Any, indices: Any) -> Any:
    """Return indices without repetition, so that the value's gradient counts no place twice."""
    return xp.unique(indices)


@method
def masked_scatter(input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """Return a copy with the elements where `mask` is true replaced by those of `source`, in order."""
    require_tensor("masked_scatter", "source", source)
    if mask.dtype is not dtypes.bool:
        raise RuntimeError(f"masked_scatter_ only supports boolean masks, but got mask with dtype {mask.dtype}")
    if source.dtype is not input.dtype:
        raise RuntimeError(
            f"masked_scatter: expected self and source to have same dtypes but got {input.dtype} and {source.dtype}"
        )
    require_same_device("masked_scatter", input, mask, source)
    shape = np.broadcast_shapes(input._array.shape, mask._array.shape)
    where = input._xp.broadcast_to(mask._array, shape)
    count = int(where.sum())
    if count > source.numel():
        raise RuntimeError("Number of elements of source < number of ones in mask")
    target = input.expand(shape) if input._array.shape != shape else input
    return _MaskedScatter((where,))(target, source.reshape(-1)[:count])


class _MaskedScatter(IndexPut):
    name = "MaskedScatterBackward0"


@method
def take(input: Tensor, index: Tensor) -> Tensor:
    """Return the elements of the flattened tensor at given indices, in the indices' shape."""
    require_tensor("take", "index", index)
    if index.dtype is not dtypes.int64:
        raise RuntimeError(f"take(): Expected a long tensor for index, but got {index.dtype}")
    require_same_device("take", input, index)
    if input.numel() == 0 and index.numel():
        raise IndexError("take(): tried to take from an empty tensor")
    _require_flat("take", index._array, input.numel())
    return Take((index._array,))(input.reshape(-1))


def _require_flat(operation: str, indices: Any, count: int) -> None:
    if indices.size and (int(indices.min()) < -count or int(indices.max()) >= count):
        raise IndexError(
            f"{operation}(): out of range: indices must be in [{-count}, {count}), got {indices.tolist()!s:.60}"
        )


@method
def put(input: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """Return a copy with the elements of the flattened tensor at `index` replaced by (or increased by) `source`."""
    require_tensor("put", "index", index)
    require_tensor("put", "source", source)
    if index.dtype is not dtypes.int64:
        raise RuntimeError(f"put_(): Expected a long tensor for index, but got {index.dtype}")
    if source.dtype is not input.dtype:
        raise RuntimeError(
            f"put_(): self and source expected to have the same dtype, but got {input.dtype} and {source.dtype}"
        )
    if index.numel() != source.numel():
        raise RuntimeError(
            f"put_(): Expected source and index to have the same number of elements, but got {source.numel()} and"
            f" {index.numel()}"
        )
    _require_flat("put_", index._array, input.numel())
    flat = Put((index._array.reshape(-1),), accumulate)(input.reshape(-1), source.reshape(-1))
    return flat.reshape(input._array.shape)


@method
def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """Return elements along a dimension at given indices, which broadcast; without `dim` of the flattened tensor."""
    require_tensor("take_along_dim", "input", input)
    if not isinstance(indices, Tensor) or indices.dtype is not dtypes.int64:
        raise RuntimeError("torch.take_along_dim(): dtype of indices should be Long but got something else")
    if dim is None:
        return gather(input.reshape(-1), 0, indices.reshape(-1))
    if input.ndim != indices.ndim:
        raise RuntimeError(
            "torch.take_along_dim(): input and indices should have the same number of dimensions, but got"
            f" {input.ndim} dimensions for input, and {indices.ndim} dimensions for indices"
        )
    axis = normalize_dim(dim, input.ndim)
    own, wanted = list(input._array.shape), list(indices._array.shape)
    shape = list(np.broadcast_shapes(tuple(own[:axis] + own[axis + 1 :]), tuple(wanted[:axis] + wanted[axis + 1 :])))
    return gather(
        input.expand(*shape[:axis], own[axis], *shape[axis:]),
        axis,
        indices.expand(*shape[:axis], wanted[axis], *shape[axis:]) % max(own[axis], 1),
    )


@method
def argwhere(input: Tensor) -> Tensor:
    """Return the indices of the elements that are not zero, one row each."""
    return input.nonzero()


for _operation in (
    scatter,
    scatter_add,
    scatter_reduce,
    index_add,
    index_copy,
    index_reduce,
    index_fill,
    masked_scatter,
    put,
):
    install_in_place(f"{_operation.__name__}_", _operation)


# The reduction of a segment and what it gives for an empty one.
_SEGMENT_REDUCTIONS = {
    "sum": ("sum", 0.0),
    "mean": ("mean", math.nan),
    "max": ("amax", -math.inf),
    "min": ("amin", math.inf),
    "prod": ("prod", 1.0),
}


def segment_reduce(
    data: Tensor,
    reduce: str,
    *,
    lengths: Tensor | None = None,
    indices: Tensor | None = None,
    offsets: Tensor | None = None,
    axis: int = 0,
    unsafe: bool = False,
    initial: Any = None,
) -> Tensor:
    """Return reductions of consecutive segments of a dimension.

    Args:
        data: the values, floating point.
        reduce: `"sum"`, `"mean"`, `"max"`, `"min"` or `"prod"`.
        lengths: the lengths of the segments, (…, S), with the leading dimensions of `data` before `axis`.
        indices: not supported, as in PyTorch.
        offsets: where the segments begin and the last one ends, (…, S + 1), instead of `lengths`.
        axis: the dimension, the last one of `lengths`.
        unsafe: do not check the lengths.
        initial: what a segment begins with; an empty one of a mean is NaN without it.
    """
    require_tensor("segment_reduce", "data", data)
    if reduce not in _SEGMENT_REDUCTIONS:
        raise RuntimeError(f"segment_reduce(): reduce must be one of {', '.join(_SEGMENT_REDUCTIONS)}, got {reduce}")
    if indices is not None:
        raise RuntimeError("segment_reduce(): indices based reduction is not supported yet.")
    if lengths is None and offsets is None:
        raise RuntimeError("segment_reduce(): Either lengths or offsets must be defined.")
    require_floating_point("_segment_reduce_cpu", data)
    if data.ndim == 0:
        raise RuntimeError("segment_reduce(): Expected data to have at least one dimension.")
    if lengths is None:
        assert offsets is not None
        ends = offsets._array[..., 1:]
        starts = offsets._array[..., :-1]
    else:
        ends = lengths._array.cumsum(-1)
        starts = ends - lengths._array
        if not unsafe and ((lengths._array < 0).any() or (ends[..., -1:] != data.shape[axis]).any()):
            raise RuntimeError(
                f"segment_reduce(): Expected all lengths along axis {axis} to be non-negative and to sum to data's size"
                f" {data.shape[axis]}."
            )
    function, identity = _SEGMENT_REDUCTIONS[reduce]
    rows = []
    for place in np.ndindex(*starts.shape[:-1]):
        segments = [
            _segment(data[place], int(start), int(end), function, identity, initial)
            for start, end in zip(starts[place], ends[place], strict=True)
        ]
        rows.append(data._stack(segments) if segments else data[place][:0])
    if starts.ndim == 1:
        return rows[0]
    return data._stack(rows).reshape((*starts.shape, *data.shape[starts.ndim :]))


def _segment(data: Tensor, start: int, end: int, function: str, identity: float, initial: Any) -> Tensor:
    """Reduce the rows `start:end`, together with an initial value."""
    rows = data[start:end]
    if start == end:
        filling = identity if initial is None else initial
        return rows.sum(0) + filling
    if initial is None:
        return getattr(rows, function)(0)
    if function == "mean":
        return (rows.sum(0) + initial) / (end - start)
    if function in ("sum", "prod"):
        total = getattr(rows, function)(0)
        return total + initial if function == "sum" else total * initial
    return rows.clamp(min=initial).amax(0) if function == "amax" else rows.clamp(max=initial).amin(0)
