"""Indexing, gathering and scattering."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.grad_mode import state
from ..autograd.graph import Node
from ..device import CPU, array_module
from ..tensor import Tensor, method, normalize_dim
from .operands import require_tensor, scalar_tensor, to_dtype
from .shape import View, stack

_BASIC = (int, slice, type(None), type(Ellipsis), np.integer)


class Slice(View):
    """Basic indexing: ints, slices, None and Ellipsis give a view."""

    def __init__(self, index: tuple[Any, ...], name: str = "") -> None:
        self.index, self._name = index, name

    @property
    def name(self) -> str:  # type: ignore[override]
        """The last operation that PyTorch takes this index apart into."""
        return self._name or _last_step(self.index, self.shape)

    def forward(self, a: Any) -> Any:
        self.shape = a.shape
        return a[(*self.index, ...)] if Ellipsis not in self.index else a[self.index]

    def backward(self, grad: Tensor) -> Tensor:
        return Embed(self.index, self.shape)(grad)


def _last_step(index: tuple[Any, ...], shape: tuple[int, ...]) -> str:
    name, axis = "AliasBackward0", 0
    for part in index:
        if part is None:
            name = "UnsqueezeBackward0"
            continue
        if part is Ellipsis:
            axis = len(shape) - sum(p is not None and p is not Ellipsis for p in index) + axis
            continue
        if not isinstance(part, slice):
            name = "SelectBackward0"
        elif part.indices(shape[axis]) != (0, shape[axis], 1):
            name = "SliceBackward0"
        axis += 1
    return name


@method
def _view_at(self: Tensor, index: tuple[Any, ...], name: str) -> Tensor:
    """Return the view at an index of ints and slices, made by an operation that prints as `name`."""
    return Slice(index, name)(self)


class Embed(Node):
    """Zeros with a tensor put where an index points; repeated positions add up. The mirror of indexing."""

    def __init__(self, index: tuple[Any, ...], shape: tuple[int, ...]) -> None:
        self.index, self.shape = index, shape

    def forward(self, values: Any) -> Any:
        xp = array_module(self.where)
        result = xp.zeros(self.shape, values.dtype)
        if all(isinstance(i, _BASIC) for i in self.index):
            result[self.index] = values
        else:
            xp.add.at(result, self.index, values)
        return result

    def backward(self, grad: Tensor) -> Tensor:
        return _picked(grad, self.index)


class Index(Node):
    """Indexing with integer or boolean arrays gives a copy."""

    keeps_state = True

    def __init__(self, index: tuple[Any, ...], name: str = "IndexBackward0") -> None:
        self.index, self.name = index, name

    def forward(self, a: Any) -> Any:
        self.shape = a.shape
        return a[self.index]

    def backward(self, grad: Tensor) -> Tensor:
        return Embed(self.index, self.shape)(grad)


class IndexPut(Node):
    """A copy in which the elements an index points to are replaced by, or increased by, others."""

    def __init__(self, index: tuple[Any, ...], accumulate: bool = False) -> None:
        self.index, self.accumulate = index, accumulate

    def forward(self, a: Any, values: Any) -> Any:
        xp = array_module(self.where)
        self.values_shape = values.shape
        result = a.copy()
        if self.accumulate:
            xp.add.at(result, self.index, values)
        else:
            result[self.index] = values
        return result

    def backward(self, grad: Tensor) -> Any:
        to_values = _picked(grad, self.index)
        if to_values._array.ndim < len(self.values_shape):
            to_values = to_values.reshape(
                (1,) * (len(self.values_shape) - to_values._array.ndim) + to_values._array.shape
            )
        to_values = to_values.sum_to_size(self.values_shape)
        if self.accumulate:
            return grad, to_values
        return IndexPut(self.index)(grad, scalar_tensor(0, grad.dtype, grad._device)), to_values


def _picked(a: Tensor, index: tuple[Any, ...]) -> Tensor:
    return Slice(index)(a) if all(isinstance(i, _BASIC) for i in index) else Index(index)(a)


def _prepared(a: Tensor, index: Any) -> tuple[Any, ...]:
    """Return an index as a tuple that the array module understands; refuse what PyTorch refuses."""
    parts = index if type(index) is tuple else (index,)
    return tuple([_part(a, part) for part in parts])


def _part(a: Tensor, part: Any) -> Any:
    if type(part) is int or part is None or part is Ellipsis:
        return part
    if isinstance(part, slice):
        if part.step is not None and int(part.step) <= 0:
            raise ValueError("step must be greater than zero")
        if part.start.__class__ is Tensor or part.stop.__class__ is Tensor or part.step.__class__ is Tensor:
            return slice(*[None if v is None else int(v) for v in (part.start, part.stop, part.step)])
        return part
    if isinstance(part, Tensor):
        return _index_array(a, part)
    if isinstance(part, (bool, np.bool_)):
        return a._xp.asarray(part)
    if isinstance(part, np.integer):
        return int(part)
    if isinstance(part, (list, tuple, range, np.ndarray)):
        if isinstance(part, (list, tuple)) and any(isinstance(p, Tensor) for p in part):
            return _index_array(a, stack(list(part)))
        array = np.asarray(part)
        if array.size == 0 and array.dtype.kind == "f":
            array = array.astype(np.int64)
        return _index_array(a, Tensor._wrap(array))
    if isinstance(part, str):
        raise TypeError(f"an index must not be a string, got {part!r}")
    raise IndexError(
        "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices"
        f" (got {type(part).__name__})"
    )


def _index_array(a: Tensor, index: Tensor) -> Any:
    if index.dtype.is_floating_point:
        raise IndexError(f"tensors used as indices must be long, int, byte or bool tensors, got {index.dtype}")
    array = index._array
    if index.dtype is dtypes.uint8 and index.ndim:
        warnings.warn(
            "indexing with dtype torch.uint8 is now deprecated, please use a dtype torch.bool instead.",
            UserWarning,
            stacklevel=5,
        )
        array = array.astype(bool)
    if index._device is CPU and a._device is not CPU:
        array = a._xp.asarray(array)
    elif index._device != a._device:
        raise RuntimeError(
            f"indices should be either on {a._device} or on the same device as the indexed tensor, got {index._device}"
        )
    if array.ndim == 0 and array.dtype.kind in "iu":
        return int(array)
    return array


@method
def __getitem__(self: Tensor, index: Any) -> Tensor:
    return _picked(self, _prepared(self, index))


@method
def __setitem__(self: Tensor, index: Any, value: Any) -> None:
    prepared = _prepared(self, index)
    if not isinstance(value, Tensor):
        value = _as_values(self, value)
    if all(isinstance(i, _BASIC) for i in prepared):
        target = Slice(prepared)(self)
        extra = value._array.ndim - target._array.ndim
        if extra > 0 and value._array.shape[:extra] == (1,) * extra:
            value = value.reshape(value._array.shape[extra:])
        target.copy_(value)
        return
    index_put_(self, prepared, to_dtype(value.to(self._device), self.dtype))


def _as_values(a: Tensor, value: Any) -> Tensor:
    if isinstance(value, np.ndarray):
        return Tensor._wrap(value)
    return a._wrap_like(a._xp.asarray(value, a._array.dtype))


def _arrays_of(self: Tensor, indices: Sequence[Any]) -> tuple[Any, ...]:
    return _prepared(self, tuple(slice(None) if i is None else i for i in indices))


@method
def index_put(input: Tensor, indices: Sequence[Any], values: Tensor, accumulate: bool = False) -> Tensor:
    """Return a copy with the elements at `indices` replaced by (or, with `accumulate`, increased by) `values`."""
    if values.dtype is not input.dtype:
        raise RuntimeError(
            f"Index put requires the source and destination dtypes match, got {input.dtype} for the destination and"
            f" {values.dtype} for the source."
        )
    try:
        return IndexPut(_arrays_of(input, indices), accumulate)(input, values)
    except ValueError as error:
        raise RuntimeError(f"shape mismatch: {error}") from None


@method
def index_put_(self: Tensor, indices: Sequence[Any], values: Tensor, accumulate: bool = False) -> Tensor:
    """In-place form of `index_put`."""
    if state.enabled and (self._tracked() or values._tracked()):
        return self._assign(index_put(self, indices, values, accumulate))
    arrays = _arrays_of(self, indices)
    try:
        if accumulate:
            self._xp.add.at(self._array, arrays, values._array)
        else:
            self._array[arrays] = values._array
    except ValueError as error:
        raise RuntimeError(f"shape mismatch: {error}") from None
    self._bump_version()
    return self


@method
def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """Return the positions of a dimension that a 1-d tensor of indices names, as a copy."""
    require_tensor("index_select", "index", index)
    if index.ndim > 1:
        raise IndexError(f"index_select(): Index is supposed to be a vector, got shape {tuple(index.shape)}")
    if index.dtype not in (dtypes.int32, dtypes.int64):
        raise RuntimeError(f"index_select(): Expected dtype int32 or int64 for index, got {index.dtype}")
    if input.ndim == 0:
        return input.clone()
    axis = normalize_dim(dim, input.ndim)
    extent = input._array.shape[axis]
    indices = index._array.reshape(-1)
    if indices.size and (indices.min() < 0 or indices.max() >= extent):
        raise IndexError(
            f"index out of range in self: index_select needs indices in [0, {extent}), got {indices.tolist()}"
        )
    return Index((slice(None),) * axis + (indices,), "IndexSelectBackward0")(input)


class Gather(Node):
    keeps_state = True

    def __init__(self, axis: int, index: Any) -> None:
        self.axis, self.indices = axis, index

    def _positions(self) -> tuple[Any, ...]:
        xp = array_module(self.where)
        grids = list(xp.ogrid[tuple(slice(n) for n in self.indices.shape)])
        grids[self.axis] = self.indices
        return tuple(grids)

    def forward(self, a: Any) -> Any:
        self.shape = a.shape
        return a[self._positions()]

    def backward(self, grad: Tensor) -> Tensor:
        return Embed(self._positions(), self.shape)(grad)


@method
def gather(input: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False) -> Tensor:
    """Return `out[i][j] = input[index[i][j]][j]` (for `dim` 0): an element for each entry of `index`."""
    require_tensor("gather", "index", index)
    if index.dtype not in (dtypes.int64, dtypes.int32):
        raise RuntimeError("gather(): Expected dtype int32/int64 for index")
    axis = normalize_dim(dim, input.ndim)
    if index.ndim != input.ndim:
        raise RuntimeError("Index tensor must have the same number of dimensions as input tensor")
    if input.ndim == 0:
        return input.clone()
    if any(i > n for d, (i, n) in enumerate(zip(index.shape, input.shape, strict=True)) if d != axis):
        raise RuntimeError(
            f"Size does not match at dimension {axis} expected index {list(index.shape)} to be no larger than self"
            f" {list(input.shape)} apart from dimension {axis}"
        )
    extent = input._array.shape[axis]
    array = index._array
    if array.size and (array.min() < 0 or array.max() >= extent):
        raise RuntimeError(
            f"index {array.min() if array.min() < 0 else array.max()} is out of bounds for dimension {axis} with size"
            f" {extent}"
        )
    return Gather(axis, array)(input)


@method
def nonzero(input: Tensor, *, as_tuple: bool = False) -> Any:
    """Return the indices of the elements that are not zero: rows, or with `as_tuple` a tensor for each dimension."""
    found = input._xp.nonzero(input._array if input.ndim else input._array.reshape(1))
    if as_tuple:
        return tuple(input._wrap_like(f) for f in found)
    rows = input._xp.stack(found, 1) if input.ndim else input._xp.zeros((len(found[0]), 0), np.int64)
    return input._wrap_like(rows)


@method
def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """Return the elements where `mask` is true, as one dimension."""
    if mask.dtype is not dtypes.bool:
        raise RuntimeError("masked_select: expected BoolTensor for mask")
    shape = np.broadcast_shapes(input._array.shape, mask._array.shape)
    return Index((np.broadcast_to(mask._array, shape),), "MaskedSelectBackward0")(input.expand(shape))
