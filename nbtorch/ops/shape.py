"""Shapes: views of the same memory under another shape, and tensors joined."""

from __future__ import annotations

import builtins
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

from .. import dtypes
from ..autograd.grad_mode import state
from ..autograd.graph import Node
from ..device import CPU, array_module
from ..layout import (
    allocate_strided,
    contiguous_format,
    element_strides,
    expanded_strides,
    format_strides,
    preserve_format,
    require_memory_format,
    restrided,
    view_strides,
    with_new_axes,
)
from ..layout import memory_format as MemoryFormat
from ..tensor import Tensor, method, normalize_dim
from .operands import broadcast_shape, named, normalize_dims, require_same_device, sizes, to_dtype


class View(Node):
    """An operation whose result lies in the memory of its input; it computes nothing that NumPy could warn of."""

    def __call__(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """Return the view; record the operation if the input requires a gradient."""
        if x._device is not CPU:
            self.where = x._device
        result = x._wrap_like(self.forward(x._array))
        if state.enabled and (x._requires_grad or (x._base is not None and x._tracked())):
            self.record((x,), (result,))
        result._make_view(x, self)
        return result


class Reshaped(View):
    """The same elements in the same order under another shape."""

    name = "ViewBackward0"

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    def forward(self, a: Any) -> Any:
        self.origin = a.shape
        if not a.flags.c_contiguous:
            strides = view_strides(a.shape, element_strides(a), self.shape)
            if strides is not None:
                return restrided(array_module(self.where), a, self.shape, strides)
        return a.reshape(self.shape)

    def backward(self, grad: Tensor) -> Tensor:
        return reshape(grad, self.origin)


class Unsafe(Reshaped):
    """A reshape that had to copy."""

    name = "UnsafeViewBackward0"

    def __call__(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """Return the copy; it is no view of its input."""
        return Node.__call__(self, x)


def inferred_shape(shape: tuple[int, ...], count: int) -> tuple[int, ...]:
    """Return a shape with its -1, if any, replaced by what is left of `count` elements."""
    known, inferred = 1, 0
    for extent in shape:
        if extent >= 0:
            known *= extent
        elif extent == -1:
            inferred += 1
        else:
            raise RuntimeError(f"invalid shape dimension {extent}")
    if inferred > 1:
        raise RuntimeError("only one dimension can be inferred")
    if inferred:
        if known == 0:
            raise RuntimeError(
                f"cannot reshape tensor of {count} elements into shape {list(shape)} because the unspecified dimension"
                " size -1 can be any value and is ambiguous"
            )
        if count % known == 0:
            return tuple([count // known if extent == -1 else extent for extent in shape])
    elif known == count:
        return shape
    raise RuntimeError(f"shape '{list(shape)}' is invalid for input of size {count}")


def _reshaped_without_copy(a: Tensor, shape: tuple[int, ...]) -> bool:
    array = a._array
    return array.flags.c_contiguous or view_strides(array.shape, element_strides(array), shape) is not None


@method
def view(self: Tensor, *shape: Any, size: Any = None, dtype: Any = None) -> Tensor:
    """Return the same memory under another shape, which may hold one -1; or, given a dtype, under another type.

    Raises:
        RuntimeError: another number of elements; or strides, an offset or a last extent that the view cannot have.
    """
    if dtype is not None or (len(shape) == 1 and isinstance(shape[0], dtypes.dtype)):
        return _view_as_type(self, shape[0] if dtype is None else dtypes.as_dtype(dtype))
    if not shape and size is None:
        raise TypeError("view() received an invalid combination of arguments: expected a size or a dtype")
    target = inferred_shape(sizes(named(shape, size)), self._array.size)
    if not _reshaped_without_copy(self, target):
        raise RuntimeError(
            "view size is not compatible with input tensor's size and stride (at least one dimension spans across two"
            " contiguous subspaces). Use .reshape(...) instead."
        )
    return Reshaped(target)(self)


def _view_as_type(a: Tensor, dtype: dtypes.dtype) -> Tensor:
    own, size = a.element_size(), dtype.itemsize
    if size > own and a.storage_offset() * own % size:
        raise RuntimeError(
            f"view: self.storage_offset() must be divisible by {size // own} to view {a.dtype} as {dtype}, got"
            f" {a.storage_offset()}"
        )
    try:
        result = a._wrap_like(a._array.view(dtype.numpy))
    except ValueError as error:
        raise RuntimeError(f"view: {a.dtype} of shape {tuple(a.shape)} cannot be viewed as {dtype}: {error}") from None
    result._memory, result._counter = a._storage_array(), a._version_counter()
    return result


@method
def reshape(input: Tensor, *extents: Any, shape: Any = None) -> Tensor:
    """Return the elements in the same order under another shape: a view where the strides allow it, else a copy."""
    target = inferred_shape(sizes(named(extents, shape)), input._array.size)
    return (Reshaped if _reshaped_without_copy(input, target) else Unsafe)(target)(input)


@method
def view_as(self: Tensor, other: Tensor) -> Tensor:
    """Return a view in the shape of another tensor."""
    return view(self, other.shape)


@method
def reshape_as(self: Tensor, other: Tensor) -> Tensor:
    """Return the elements in the shape of another tensor."""
    return reshape(self, other.shape)


@method
def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Return the dimensions from `start_dim` to `end_dim` as one."""
    start, end = normalize_dim(start_dim, input.ndim), normalize_dim(end_dim, input.ndim)
    if input.ndim == 0:
        return reshape(input, 1)
    if start > end:
        raise RuntimeError("flatten() has invalid args: start_dim cannot come after end_dim")
    if start == end:
        return input
    shape = input._array.shape
    merged = 1
    for extent in shape[start : end + 1]:
        merged *= extent
    return reshape(input, (*shape[:start], merged, *shape[end + 1 :]))


@method
def unflatten(input: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """Return one dimension as several."""
    axis = normalize_dim(dim, input.ndim)
    shape = input._array.shape
    return view(input, (*shape[:axis], *inferred_shape(tuple(sizes), shape[axis]), *shape[axis + 1 :]))


@method
def ravel(input: Tensor) -> Tensor:
    """Return the elements as one dimension."""
    return reshape(input, -1)


class Permute(View):
    def __init__(self, dims: tuple[int, ...]) -> None:
        self.dims = dims

    def forward(self, a: Any) -> Any:
        return a.transpose(self.dims)

    def backward(self, grad: Tensor) -> Tensor:
        return Permute(tuple(sorted(range(len(self.dims)), key=self.dims.__getitem__)))(grad)


class Transpose(Permute):
    """Two dimensions exchanged."""


class T(Permute):
    """A matrix transposed."""


@method
def permute(input: Tensor, *order: Any, dims: Any = None) -> Tensor:
    """Return a view with the dimensions in another order."""
    order = sizes(named(order, dims))
    if len(order) != input.ndim:
        raise RuntimeError(
            "permute: number of dimensions in the tensor input does not match the length of the desired"
            f" ordering of dimensions i.e. input.dim() = {input.ndim} is not equal to len(dims) = {len(order)}"
        )
    return Permute(normalize_dims(order, input.ndim))(input)


def _exchanged(ndim: int, a: int, b: int) -> tuple[int, ...]:
    order = list(range(ndim))
    if ndim:
        order[a], order[b] = order[b], order[a]
    return tuple(order)


@method
def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Return a view with two dimensions exchanged."""
    a, b = normalize_dim(dim0, input.ndim), normalize_dim(dim1, input.ndim)
    return Transpose(_exchanged(input.ndim, a, b))(input)


@method
def t(input: Tensor) -> Tensor:
    """Return a matrix transposed; vectors and scalars as they are."""
    if input.ndim > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {input.ndim}D")
    return T(tuple(reversed(range(input.ndim))))(input)


@method
def movedim(input: Tensor, source: Any, destination: Any) -> Tensor:
    """Return a view with the dimensions `source` moved to the positions `destination`."""
    taken, placed = normalize_dims(source, input.ndim), normalize_dims(destination, input.ndim)
    if len(taken) != len(placed):
        raise RuntimeError(
            "movedim: Invalid source or destination dims: source should have the same number of dimensions as"
            f" destination, got {len(taken)} and {len(placed)}"
        )
    rest = iter(d for d in range(input.ndim) if d not in taken)
    origin = dict(zip(placed, taken, strict=True))
    return Permute(tuple(origin[d] if d in origin else next(rest) for d in range(input.ndim)))(input)


method(movedim, name="moveaxis")
moveaxis = movedim


class Squeeze(Reshaped):
    """Dimensions of extent 1 left out: all of them, one, or several."""

    def __init__(self, shape: tuple[int, ...], dim: Any) -> None:
        super().__init__(shape)
        self.name = f"SqueezeBackward{0 if dim is None else 1 if isinstance(dim, int) else 2}"


class Unsqueeze(View):
    """A dimension of extent 1 inserted."""

    def __init__(self, axis: int) -> None:
        self.axis = axis

    def forward(self, a: Any) -> Any:
        shape = (*a.shape[: self.axis], 1, *a.shape[self.axis :])
        if a.flags.c_contiguous:
            return a.reshape(shape)
        return with_new_axes(array_module(self.where), a[(slice(None),) * self.axis + (None,)])

    def backward(self, grad: Tensor) -> Tensor:
        return squeeze(grad, self.axis)


@method
def squeeze(input: Tensor, dim: Any = None) -> Tensor:
    """Return a view without the dimensions of extent 1, or without those among `dim`."""
    shape = input._array.shape
    dims = normalize_dims(dim, input.ndim)
    return Squeeze(tuple([n for axis, n in enumerate(shape) if n != 1 or axis not in dims]), dim)(input)


@method
def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """Return a view with a dimension of extent 1 inserted before position `dim`."""
    return Unsqueeze(normalize_dim(dim, input.ndim + 1))(input)


class Expand(View):
    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    def forward(self, a: Any) -> Any:
        self.origin = a.shape
        strides = expanded_strides(a.shape, element_strides(a), self.shape)
        return restrided(array_module(self.where), a, self.shape, strides)

    def backward(self, grad: Tensor) -> Tensor:
        return grad.sum_to_size(self.origin)


@method
def expand(self: Tensor, *shape: Any, size: Any = None, implicit: bool = False) -> Tensor:
    """Return a view repeated along dimensions of extent 1 and new leading ones; -1 keeps an extent."""
    target = sizes(named(shape, size))
    own = self._array.shape
    lead = len(target) - len(own)
    if lead < 0:
        raise RuntimeError(
            f"expand({self.type()}{list(own)}, size={list(target)}): the number of sizes provided ({len(target)})"
            f" must be greater or equal to the number of dimensions in the tensor ({len(own)})"
        )
    result = []
    for axis, extent in enumerate(target):
        if axis < lead:
            if extent < 0:
                raise RuntimeError(
                    f"The expanded size of the tensor ({extent}) isn't allowed in a leading, non-existing"
                    f" dimension {axis}"
                )
        elif extent == -1:
            extent = own[axis - lead]
        elif own[axis - lead] not in (1, extent):
            raise RuntimeError(
                f"The expanded size of the tensor ({extent}) must match the existing size ({own[axis - lead]}) at"
                f" non-singleton dimension {axis}.  Target sizes: {list(target)}.  Tensor sizes: {list(own)}"
            )
        result.append(extent)
    return Expand(tuple(result))(self)


@method
def expand_as(self: Tensor, other: Tensor) -> Tensor:
    """Return a view expanded to the shape of another tensor."""
    return expand(self, other.shape)


def broadcast_to(input: Tensor, size: Sequence[int]) -> Tensor:
    """Return a view broadcast to `size`."""
    return expand(input, *size)


method(broadcast_to)


def broadcast_tensors(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Return views of all tensors in their common shape."""
    shape = broadcast_shape("broadcast_tensors", *[t._array.shape for t in tensors])
    return tuple(expand(t, shape) for t in tensors)


class Cat(Node):
    def __init__(self, axis: int) -> None:
        self.axis = axis

    def forward(self, *arrays: Any) -> Any:
        self.shapes = [a.shape for a in arrays]
        xp = array_module(self.where)
        kept = [a for a in arrays if a.shape != (0,)] or list(arrays[:1])
        return xp.concatenate(kept, self.axis if kept[0].ndim > self.axis else 0)

    def backward(self, grad: Tensor) -> Any:
        grads, start = [], 0
        for shape, wanted in zip(self.shapes, self.needs_input_grad, strict=True):
            if shape == (0,):
                grads.append(grad.new_zeros((0,)) if wanted else None)
                continue
            stop = start + shape[self.axis]
            grads.append(narrow(grad, self.axis, start, stop - start) if wanted else None)
            start = stop
        return tuple(grads)


def _joined(operation: str, tensors: Sequence[Tensor]) -> list[Tensor]:
    """Check the tensors to join and bring them to one type."""
    parts = list(tensors)
    if not parts:
        kind = ValueError if operation == "cat" else RuntimeError  # as PyTorch
        raise kind(f"{operation}: expected a non-empty list of Tensors")
    common = None
    for position, part in enumerate(parts):
        if not isinstance(part, Tensor):
            raise TypeError(
                f"expected Tensor as element {position} in argument 0, but got {builtins.type(part).__name__}"
            )
        common = part.dtype if common is None else dtypes.promote_types(common, part.dtype)
    require_same_device(operation, *parts)
    assert common is not None
    return [to_dtype(part, common) for part in parts]


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Join tensors along an existing dimension; 1-d tensors of 0 elements are skipped, as in PyTorch."""
    parts = _joined("cat", tensors)
    shapes = [p._array.shape for p in parts if p._array.shape != (0,)]
    if any(not s for s in shapes):
        raise RuntimeError("zero-dimensional tensor (at position 0) cannot be concatenated")
    reference = shapes[0] if shapes else (0,)
    axis = normalize_dim(dim, len(reference))
    for position, shape in enumerate(shapes):
        if len(shape) != len(reference) or any(
            m != n for d, (m, n) in enumerate(zip(shape, reference, strict=True)) if d != axis
        ):
            raise RuntimeError(
                f"Sizes of tensors must match except in dimension {axis}. Expected {tuple(reference)} but got"
                f" {tuple(shape)} for tensor number {position} in the list."
            )
    return Cat(axis)(*parts)


class Stack(Node):
    def __init__(self, axis: int) -> None:
        self.axis = axis

    def forward(self, *arrays: Any) -> Any:
        return array_module(self.where).stack(arrays, self.axis)

    def backward(self, grad: Tensor) -> Any:
        return tuple(grad.select(self.axis, i) if wanted else None for i, wanted in enumerate(self.needs_input_grad))


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Join tensors of one shape along a new dimension."""
    parts = _joined("stack", tensors)
    for position, part in enumerate(parts):
        if part._array.shape != parts[0]._array.shape:
            raise RuntimeError(
                f"stack expects each tensor to be equal size, but got {list(parts[0].shape)} at entry 0 and"
                f" {list(part.shape)} at entry {position}"
            )
    return Stack(normalize_dim(dim, parts[0].ndim + 1))(*parts)


Tensor._stack = staticmethod(stack)  # type: ignore[attr-defined]
concat = concatenate = cat


@method
def narrow(input: Tensor, dim: int, start: Any, length: int) -> Tensor:
    """Return the view of `length` positions of a dimension from `start`."""
    if input.ndim == 0:
        raise RuntimeError("narrow() cannot be applied to a 0-dim tensor.")
    axis, start = normalize_dim(dim, input.ndim), int(start)
    extent = input._array.shape[axis]
    if not -extent <= start <= extent:
        raise IndexError(f"start out of range (expected to be in range of [{-extent}, {extent}], but got {start})")
    start = start + extent if start < 0 else start
    if length < 0:
        raise RuntimeError("narrow(): length must be non-negative.")
    if start + length > extent:
        raise RuntimeError(f"start ({start}) + length ({length}) exceeds dimension size ({extent}).")
    return _piece(input, axis, slice(start, start + length), "SliceBackward0")


def _piece(input: Tensor, axis: int, part: Any, name: str) -> Tensor:
    """Return the view of a part of one dimension, made by an operation that PyTorch prints as `name`."""
    return input._view_at((slice(None),) * axis + (part,), name)


def _pieces(input: Tensor, axis: int, parts: Iterable[Any], name: str) -> tuple[Tensor, ...]:
    """Return the views that one operation makes of parts of one dimension; they must not be changed in place."""
    pieces = tuple([_piece(input, axis, part, name) for part in parts])
    for number, piece in enumerate(pieces):
        piece._view[-1].piece = number  # type: ignore[attr-defined]
        if state.enabled:
            piece._forbidden = "several"
    return pieces


@method
def select(input: Tensor, dim: int, index: int) -> Tensor:
    """Return the view of one position of a dimension, which vanishes."""
    if input.ndim == 0:
        raise IndexError("select() cannot be applied to a 0-dim tensor.")
    axis = normalize_dim(dim, input.ndim)
    extent = input._array.shape[axis]
    if not -extent <= index < extent:
        raise IndexError(
            f"select(): index {index} out of range for tensor of size {list(input.shape)} at dimension {axis}"
        )
    return _piece(input, axis, int(index), "SelectBackward0")


@method
def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """Return the views of all positions of a dimension."""
    axis = normalize_dim(dim, input.ndim)
    if input.ndim == 0:
        raise IndexError("unbind: Dimension specified as 0 but tensor has no dimensions")
    return _pieces(input, axis, range(input._array.shape[axis]), "UnbindBackward0")


@method
def split(input: Tensor, split_size: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Return views of pieces of `split_size` positions (the last may be smaller), or of the sizes in a list."""
    if input.ndim == 0:
        raise RuntimeError("split expects at least a 1-dimensional tensor")
    axis = normalize_dim(dim, input.ndim)
    extent = input._array.shape[axis]
    if isinstance(split_size, int):
        if split_size < 0 or (split_size == 0 and extent):
            raise RuntimeError(f"split expects split_size be non-negative, but got split_size={split_size}")
        lengths = [min(split_size, extent - at) for at in range(0, extent, split_size)] if extent else [0]
    else:
        lengths = [int(n) for n in split_size]
        if sum(lengths) != extent or min(lengths, default=0) < 0:
            raise RuntimeError(
                f"split_with_sizes expects split_sizes to sum exactly to {extent} (input tensor's size at dimension"
                f" {axis}), but got split_sizes={lengths}"
            )
    starts = [sum(lengths[:i]) for i in range(len(lengths))]
    ranges = [slice(start, start + length) for start, length in zip(starts, lengths, strict=True)]
    return _pieces(input, axis, ranges, f"Split{'' if isinstance(split_size, int) else 'WithSizes'}Backward0")


@method
def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """Return at most `chunks` views of equal size (the last may be smaller)."""
    if input.ndim == 0:
        raise RuntimeError("chunk expects at least a 1-dimensional tensor")
    if chunks < 1:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    extent = input._array.shape[normalize_dim(dim, input.ndim)]
    return split(input, -(-extent // chunks) if extent else [0] * chunks, dim)


method(split, name="unsafe_split")
method(chunk, name="unsafe_chunk")
unsafe_split, unsafe_chunk = split, chunk


@method
def contiguous(self: Tensor, memory_format: Any = None) -> Tensor:
    """Return the tensor laid out in order, or in the order of another format, without gaps; itself where it is."""
    if memory_format is None:
        return self if self._array.flags.c_contiguous else Contiguous(contiguous_format)(self)
    require_memory_format("contiguous", memory_format)
    if memory_format is preserve_format:
        if not self.is_contiguous():
            raise RuntimeError("contiguous: preserve memory format is unsupported by the contiguous operator")
        return self
    return self if self.is_contiguous(memory_format=memory_format) else Contiguous(memory_format)(self)


class Contiguous(Node):
    """A copy in a memory format."""

    name = "CloneBackward0"

    def __init__(self, wanted: MemoryFormat) -> None:
        self.wanted = wanted

    def forward(self, a: Any) -> Any:
        strides = format_strides("contiguous", a.shape, element_strides(a), self.wanted)
        result = allocate_strided(a.shape, strides, a.dtype, self.where)
        result[...] = a
        return result

    def backward(self, grad: Tensor) -> Tensor:
        return grad


class Flip(Node):
    def __init__(self, dims: tuple[int, ...]) -> None:
        self.dims = dims

    def forward(self, a: Any) -> Any:
        return array_module(self.where).flip(a, self.dims if a.ndim else ()).copy()

    def backward(self, grad: Tensor) -> Tensor:
        return Flip(self.dims)(grad)


@method
def flip(input: Tensor, *axes: Any, dims: Any = None) -> Tensor:
    """Return a copy with the order along dimensions reversed."""
    return Flip(normalize_dims(sizes(named(axes, dims)), input.ndim))(input)


@method
def repeat(self: Tensor, *counts: Any, repeats: Any = None) -> Tensor:
    """Return copies side by side, `repeats` of them along each dimension."""
    times = sizes(named(counts, repeats))
    if len(times) < self.ndim:
        raise RuntimeError("Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor")
    own = (1,) * (len(times) - self.ndim) + self._array.shape
    if any(t < 0 for t in times):
        raise RuntimeError(
            f"repeat: Trying to create tensor with negative dimension: repeats must not be negative, got {times}"
        )
    return Repeat(times, own)(self)


class Repeat(Node):
    """Copies side by side; `own` is the input's shape with leading ones, as long as `times`."""

    def __init__(self, times: tuple[int, ...], own: tuple[int, ...]) -> None:
        self.times, self.own = times, own

    def forward(self, a: Any) -> Any:
        self.shape = a.shape
        return array_module(self.where).tile(a, self.times)

    def backward(self, grad: Tensor) -> Tensor:
        apart = [extent for pair in zip(self.times, self.own, strict=True) for extent in pair]
        return grad.reshape(apart).sum(tuple(range(0, len(apart), 2))).reshape(self.shape)


def warn_of_rank(name: str, ndim: int, expected: str) -> None:
    """Warn of a transposed form of a tensor that is no matrix."""
    warnings.warn(
        f"Tensor.{name} is deprecated for tensors of {ndim} dimensions: it is meant for {expected}; to reverse the"
        " dimensions of any tensor, use `x.permute(*torch.arange(x.ndim - 1, -1, -1))`",
        UserWarning,
        stacklevel=3,
    )


@property  # type: ignore[misc]
def _transposed(self: Tensor) -> Tensor:
    """The tensor with its dimensions in reverse order."""
    if self.ndim != 2:
        warn_of_rank("T", self.ndim, "matrices")
    return Permute(tuple(reversed(range(self.ndim))))(self)


@property  # type: ignore[misc]
def _matrix_transposed(self: Tensor) -> Tensor:
    """The tensor with its last two dimensions exchanged."""
    if self.ndim == 1:
        raise RuntimeError("tensor.mT is only supported on matrices or batches of matrices. Got 1-D tensor.")
    if not self.ndim:
        warn_of_rank("mT", 0, "matrices or batches of matrices")
        return self
    return transpose(self, -2, -1)


method(_transposed, name="T")
method(_matrix_transposed, name="mT")
method(transpose, name="swapaxes")
method(transpose, name="swapdims")
swapaxes = swapdims = transpose


@method
def __iter__(self: Tensor) -> Any:
    if self.ndim == 0:
        raise TypeError("iteration over a 0-d tensor")
    return iter(unbind(self, 0))


@method
def __reversed__(self: Tensor) -> Tensor:
    return flip(self, 0) if self.ndim else self
