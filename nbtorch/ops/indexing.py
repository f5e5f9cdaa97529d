"""Indexing, gathering and scattering."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.grad_mode import state
from ..autograd.graph import Node, NodeName
from ..device import CPU, array_module
from ..layout import with_new_axes
from ..tensor import Tensor, method, normalize_dim
from .operands import fitting_scalar, is_scalar, require_tensor, scalar_tensor, sizes, to_dtype
from .shape import View, stack

_BASIC = (int, slice, type(None), type(Ellipsis), np.integer)


class Slice(View):
    """Basic indexing: ints, slices, None and Ellipsis give a view."""

    def __init__(self, index: tuple[Any, ...], name: str = "") -> None:
        self.index, self._name = index, name

    @property
    def name(self) -> NodeName:
        """The last operation that PyTorch takes this index apart into."""
        return NodeName(self._name or _last_step(self.index, self.shape))

    def forward(self, a: Any) -> Any:
        self.shape = a.shape
        result = a[(*self.index, ...)] if Ellipsis not in self.index else a[self.index]
        return with_new_axes(array_module(self.where), result) if None in self.index else result

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

    def record(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> None:
        # a user may change the tensor of indices before backward reads it
        self.index = tuple([i if isinstance(i, _BASIC) else i.copy() for i in self.index])
        super().record(inputs, outputs)

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
    return Slice(index)(a) if _is_basic(index) else Index(index)(a)


def _is_basic(index: tuple[Any, ...]) -> bool:
    return all([isinstance(i, _BASIC) for i in index])


def _prepared(a: Tensor, index: Any) -> tuple[Any, ...]:
    """Return an index as a tuple that the array module understands; refuse what PyTorch refuses."""
    parts = index if type(index) is tuple or _stands_for_tuple(index) else (index,)
    prepared = [_part(a, part) for part in parts]
    extra = [i for i, part in enumerate(prepared) if part is Ellipsis][1:]
    return tuple([part for i, part in enumerate(prepared) if i not in extra] if extra else prepared)


def _stands_for_tuple(index: Any) -> bool:
    """Whether a list is taken for a tuple, as old NumPy did: where it is short and holds more than numbers."""
    if not isinstance(index, list) or len(index) >= 32:
        return False
    if not any(
        isinstance(part, (list, tuple, slice, Tensor, np.ndarray, type(None), type(Ellipsis))) for part in index
    ):
        return False
    warnings.warn(
        "Using a non-tuple sequence for multidimensional indexing is deprecated and will be changed; use x[tuple(seq)]"
        " instead of x[seq].",
        UserWarning,
        stacklevel=4,
    )
    return True


def _separated(a: Tensor, index: tuple[Any, ...]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Take a prepared index apart: what makes a view of `a`, and the arrays that pick from that view.

    PyTorch applies integers, slices and None first, so that an integer is no array of indices that moves dimensions.
    """
    own, consumed = a._array.ndim, sum(_consumed(part) for part in index)
    if consumed > own:
        raise IndexError(f"too many indices for tensor of dimension {own}: got {consumed}")
    view: list[Any] = []
    picks: list[Any] = []
    spared = own - consumed
    for part in index:
        if part is Ellipsis:
            view += [slice(None)] * spared
            picks += [slice(None)] * spared
            spared = 0
        elif part is None or isinstance(part, slice):
            view.append(part)
            picks.append(slice(None))
        elif isinstance(part, (int, np.integer)):
            view.append(part)
        elif part.ndim == 0:  # a boolean makes a dimension of extent 1 or 0
            view.append(None)
            picks.append(a._xp.arange(int(part)) * 0)
        else:
            view += [slice(None)] * _consumed(part)
            picks.append(part)
    return tuple(view), tuple(picks)


def _consumed(part: Any) -> int:
    """Return how many dimensions a part of an index takes."""
    if part is None or part is Ellipsis:
        return 0
    return part.ndim if hasattr(part, "ndim") and part.dtype.kind == "b" else 1


def _is_whole(view: tuple[Any, ...]) -> bool:
    return all([part == slice(None) for part in view])


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
        if array.dtype.kind in "iu" or array.size == 0:
            array = array.astype(np.int64)
        return _index_array(a, Tensor._wrap(array))
    if isinstance(part, str):
        raise TypeError(f"an index must not be a string, got {part!r}")
    raise IndexError(
        "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices"
        f" (got {type(part).__name__})"
    )


def _index_array(a: Tensor, index: Tensor) -> Any:
    if index.dtype not in (dtypes.int64, dtypes.int32, dtypes.uint8, dtypes.bool):
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
    prepared = _prepared(self, index)
    if _is_basic(prepared):
        return Slice(prepared)(self)
    view, picks = _separated(self, prepared)
    return Index(picks)(self if _is_whole(view) else Slice(view)(self))


@method
def __setitem__(self: Tensor, index: Any, value: Any) -> None:
    prepared = _prepared(self, index)
    if not isinstance(value, Tensor):
        if not is_scalar(value):
            raise TypeError(f"can't assign a {type(value).__name__} to a {self.type()}: expected a Tensor or a number")
        value = fitting_scalar(value, self.dtype, self._device)
    if _is_basic(prepared):
        target = Slice(prepared)(self)
        extra = value._array.ndim - target._array.ndim
        if extra > 0 and value._array.shape[:extra] == (1,) * extra:
            value = value.reshape(value._array.shape[extra:])
        target.copy_(value)
        return
    view, picks = _separated(self, prepared)
    target = self if _is_whole(view) else Slice(view)(self)
    index_put_(target, picks, to_dtype(value.to(self._device), self.dtype))


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
    axis = normalize_dim(dim, input.ndim)
    extent = input._array.shape[axis] if input.ndim else 1
    indices = index._array.reshape(-1)
    if input.ndim == 0 and indices.size != 1:
        raise RuntimeError(f"index_select(): Index to scalar can have only 1 value, got {indices.size} value(s)")
    if indices.size and (indices.min() < 0 or indices.max() >= extent):
        raise IndexError(
            f"index out of range in self: index_select needs indices in [0, {extent}), got {indices.tolist()}"
        )
    if input.ndim == 0:
        return input.clone()
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

    def record(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> None:
        self.indices = self.indices.copy()
        super().record(inputs, outputs)

    def backward(self, grad: Tensor) -> Tensor:
        return Embed(self._positions(), self.shape)(grad)


@method
def gather(input: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False) -> Tensor:
    """Return `out[i][j] = input[index[i][j]][j]` (for `dim` 0): an element for each entry of `index`."""
    require_tensor("gather", "index", index)
    axis = normalize_dim(dim, input.ndim)
    if index.numel() == 0:  # of any type and any shape
        return Gather(0, index._xp.zeros(0, np.int64))(input.reshape(-1)).reshape(index.shape)
    if index.dtype not in (dtypes.int64, dtypes.int32):
        raise RuntimeError("gather(): Expected dtype int32/int64 for index")
    if max(index.ndim, 1) != max(input.ndim, 1):
        raise RuntimeError("Index tensor must have the same number of dimensions as input tensor")
    if input.ndim == 0:
        return gather(input.reshape(1), 0, index.reshape(-1)).reshape(index.shape)
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


@method
def nonzero_static(input: Tensor, *, size: int, fill_value: int = -1) -> Tensor:
    """Return the first `size` rows of `nonzero`, filled up with rows of `fill_value`."""
    require_tensor("nonzero_static", "input", input)
    if size < 0:
        raise RuntimeError(f"nonzero_static: 'size' must be an non-negative integer, got {size}")
    found = nonzero(input)
    result = Tensor._filled((size, input.ndim), fill_value, dtypes.int64, input._device)
    count = min(size, found.shape[0])
    result._array[:count] = found._array[:count]
    return result


def unravel_index(indices: Tensor, shape: Any) -> tuple[Tensor, ...]:
    """Return the coordinates of flat indices in a tensor of a shape: a tensor for each dimension.

    Args:
        indices: integers, of any shape; a RuntimeError where one lies outside of `shape`.
        shape: an int, or a sequence of ints.
    """
    require_tensor("unravel_index", "indices", indices)
    if indices.dtype.category != 1:
        raise TypeError(f"expected 'indices' to be integer dtype, but got {indices.dtype}")
    if not isinstance(shape, (int, tuple, list)) or isinstance(shape, bool):
        raise TypeError(f"expected 'shape' to be int or sequence of ints, but got {type(shape).__name__}")
    extents = sizes((shape,))
    if any([n < 0 for n in extents]):
        raise ValueError(f"'shape' cannot have negative values, but got {extents}")
    coordinates = []
    rest = indices._array
    for extent in reversed(extents):
        coordinates.append(indices._wrap_like(rest % max(extent, 1)))
        rest = rest // max(extent, 1)
    return tuple(reversed(coordinates))
