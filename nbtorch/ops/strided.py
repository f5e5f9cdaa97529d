"""Views by strides, windows and diagonals; triangles; and changes of a tensor's own shape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.graph import Node
from ..device import array_module, as_device
from ..layout import element_strides, reach
from ..tensor import Tensor, method, normalize_dim
from .indexing import Embed, Index
from .operands import require_number, require_tensor, sizes
from .reduction import Sum
from .shape import View, movedim, squeeze, t, transpose, unsqueeze


def _moved(xp: Any, a: Any, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> Any:
    """Return a view that starts `offset` elements (perhaps negative) after an array's first, strides in elements."""
    step = a.dtype.itemsize
    as_strided = xp.lib.stride_tricks.as_strided
    start = as_strided(a, (2,), (offset * step,))[1:]
    return as_strided(start, shape, tuple(s * step for s in strides))


def _places(xp: Any, shape: tuple[int, ...], strides: tuple[int, ...], offset: int) -> Any:
    """Return for each element of a strided view its place in memory."""
    places = xp.full(shape, offset, np.int64)
    for axis, (extent, stride) in enumerate(zip(shape, strides, strict=True)):
        places += (xp.arange(extent) * stride).reshape((-1,) + (1,) * (len(shape) - axis - 1))
    return places


class AsStrided(View):
    """A view with any strides, which start `offset` elements after the input's first; places may repeat."""

    def __init__(self, shape: tuple[int, ...], strides: tuple[int, ...], offset: int) -> None:
        self.shape, self.strides, self.offset = shape, strides, offset

    def forward(self, a: Any) -> Any:
        self.origin = a.shape, tuple(s // a.dtype.itemsize for s in a.strides)
        return _moved(array_module(self.where), a, self.offset, self.shape, self.strides)

    def backward(self, grad: Tensor) -> Tensor:
        xp = array_module(self.where)
        own, theirs = _places(xp, *self.origin, 0), _places(xp, self.shape, self.strides, self.offset)
        if own.size == 0 or theirs.size == 0:
            return grad.new_zeros(self.origin[0])
        first = min(int(own.min()), int(theirs.min()))
        last = max(int(own.max()), int(theirs.max()))
        memory = Embed((theirs - first,), (last - first + 1,))(grad)
        result = Index((own - first,))(memory)
        if 0 in self.origin[1]:  # the input itself shows places repeatedly: each bears its share
            shares = xp.bincount((own - first).reshape(-1))[own - first]
            result = result / result._wrap_like(shares.astype(result._array.dtype))
        return result


@method
def as_strided(input: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None) -> Tensor:
    """Return a view of the tensor's memory with the given shape and strides.

    Args:
        input: the tensor whose memory is viewed.
        size: the shape of the view.
        stride: for each dimension the step between neighbours, in elements.
        storage_offset: the first element's place in the memory that `input` views; by default `input`'s own.
    """
    require_tensor("as_strided", "input", input)
    shape, strides = sizes((size,)), sizes((stride,))
    if len(shape) != len(strides):
        raise RuntimeError(f"mismatch in length of strides and shape: got size {list(shape)}, stride {list(strides)}")
    if any(n < 0 for n in shape) or any(s < 0 for s in strides):
        raise RuntimeError(
            f"as_strided: Negative strides are not supported at the moment, got strides:"
            f" {list(strides)}, size {list(shape)}"
        )
    own = input.storage_offset()
    offset = own if storage_offset is None else int(storage_offset)
    if offset < 0:
        raise RuntimeError(f"as_strided: invalid storage offset {offset}")
    memory = input._storage_array()
    extent = reach(memory.shape, element_strides(memory)) * memory.dtype.itemsize // input.itemsize
    needed = offset + 1 + sum((n - 1) * s for n, s in zip(shape, strides, strict=True)) if 0 not in shape else 0
    if needed > extent:
        raise RuntimeError(
            f"setStorage: sizes {list(shape)}, strides {list(strides)}, storage offset {offset}, and itemsize"
            f" {input.itemsize} requiring a storage size of {needed * input.itemsize} are out of bounds for storage of"
            f" size {extent * input.itemsize}"
        )
    return AsStrided(shape, strides, offset - own)(input)


class UnfoldDim(View):
    """Windows along a dimension, which get a dimension of their own at the end."""

    name = "UnfoldBackward0"

    def __init__(self, axis: int, size: int, step: int) -> None:
        self.axis, self.size, self.step = axis, size, step

    def forward(self, a: Any) -> Any:
        self.shape = a.shape
        count = (a.shape[self.axis] - self.size) // self.step + 1
        shape = (*a.shape[: self.axis], count, *a.shape[self.axis + 1 :], self.size)
        strides = list(a.strides)
        strides[self.axis] *= self.step
        return array_module(self.where).lib.stride_tricks.as_strided(a, shape, (*strides, a.strides[self.axis]))

    def backward(self, grad: Tensor) -> Tensor:
        xp = array_module(self.where)
        count = grad._array.shape[self.axis]
        places = xp.arange(count)[:, None] * self.step + xp.arange(self.size)
        index = (slice(None),) * self.axis + (places,)
        return Embed(index, self.shape)(movedim(grad, -1, self.axis + 1))


@method
def unfold(self: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """Return a view of all windows of `size` positions, `step` apart, of a dimension; windows come last."""
    if self.ndim == 0:
        result = self.as_strided((size,), (1,)) if size <= 1 else None
        if result is None:
            raise RuntimeError(f"maximum size for tensor at dimension 0 is 1 but size is {size}")
        return result
    axis = normalize_dim(dimension, self.ndim)
    extent = self._array.shape[axis]
    if size < 0:
        raise RuntimeError(f"size is {size} but must be >= 0")
    if size > extent:
        raise RuntimeError(f"maximum size for tensor at dimension {axis} is {extent} but size is {size}")
    if step <= 0:
        raise RuntimeError(f"step is {step} but must be > 0")
    return UnfoldDim(axis, size, step)(self)


def _diagonal_view(xp: Any, a: Any, offset: int, first: int, second: int) -> Any:
    """Return a writeable view of a diagonal, which becomes the last dimension."""
    rows, columns = a.shape[first], a.shape[second]
    extent = max(min(rows, columns - offset) if offset >= 0 else min(rows + offset, columns), 0)
    start = [slice(None)] * a.ndim
    if extent:
        start[first if offset < 0 else second] = slice(abs(offset), None)
    rest = [d for d in range(a.ndim) if d not in (first, second)]
    shape = (*(a.shape[d] for d in rest), extent)
    strides = (*(a.strides[d] for d in rest), a.strides[first] + a.strides[second])
    return xp.lib.stride_tricks.as_strided(a[tuple(start)], shape, strides)


class Diagonal(View):
    """A view of a diagonal of two dimensions, which becomes the last dimension."""

    def __init__(self, offset: int, first: int, second: int) -> None:
        self.offset, self.first, self.second = offset, first, second

    def forward(self, a: Any) -> Any:
        self.shape = a.shape
        return _diagonal_view(array_module(self.where), a, self.offset, self.first, self.second)

    def backward(self, grad: Tensor) -> Tensor:
        return DiagonalEmbed(self.shape, self.offset, self.first, self.second)(grad)


class DiagonalEmbed(Node):
    """Zeros with a tensor on a diagonal of two dimensions; the mirror of `Diagonal`."""

    name = "DiagonalBackwardBackward0"

    def __init__(self, shape: tuple[int, ...], offset: int, first: int, second: int) -> None:
        self.shape, self.offset, self.first, self.second = shape, offset, first, second

    def forward(self, values: Any) -> Any:
        xp = array_module(self.where)
        result = xp.zeros(self.shape, values.dtype)
        _diagonal_view(xp, result, self.offset, self.first, self.second)[...] = values
        return result

    def backward(self, grad: Tensor) -> Tensor:
        return Diagonal(self.offset, self.first, self.second)(grad)


class DiagEmbed(DiagonalEmbed):
    """A stack of diagonal matrices."""

    name = "DiagEmbedBackward0"


def _plane(operation: str, dim1: int, dim2: int, ndim: int) -> tuple[int, int]:
    first, second = normalize_dim(dim1, ndim), normalize_dim(dim2, ndim)
    if first == second or ndim < 2:
        raise RuntimeError(f"{operation}: diagonal dimensions cannot be identical {dim1}, {dim2}")
    return first, second


@method
def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """Return a view of a diagonal of the dimensions `dim1`, `dim2`, as the last dimension.

    Args:
        input: a tensor with at least two dimensions.
        offset: which diagonal: 0 the main one, above it for a positive number, below for a negative one.
        dim1: the dimension counted as rows.
        dim2: the dimension counted as columns.
    """
    require_tensor("diagonal", "input", input)
    return Diagonal(offset, *_plane("diagonal", dim1, dim2, input.ndim))(input)


@method
def diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Return matrices in the dimensions `dim1`, `dim2` whose diagonals are the last dimension of `input`."""
    require_tensor("diag_embed", "input", input)
    first, second = _plane("diag_embed", dim1, dim2, input.ndim + 1)
    extent = input._array.shape[-1] + abs(offset)
    rest = iter(input._array.shape[:-1])
    shape = tuple(extent if d in (first, second) else next(rest) for d in range(input.ndim + 1))
    return DiagEmbed(shape, offset, first, second)(input)


@method
def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """Return the matrix with a vector on a diagonal, or a copy of a matrix's diagonal."""
    require_tensor("diag", "input", input)
    if input.ndim == 1:
        return diag_embed(input, diagonal)
    if input.ndim == 2:
        return Diagonal(diagonal, 0, 1)(input).clone()
    raise RuntimeError(f"diag(): Supports 1D or 2D tensors. Got {input.ndim}D")


@method
def diagflat(input: Tensor, offset: int = 0) -> Tensor:
    """Return the matrix with all elements of a tensor on a diagonal."""
    return diag_embed(input.flatten(), offset)


@method
def diagonal_scatter(input: Tensor, src: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """Return a copy with a diagonal replaced by `src`."""
    return _with_region(input, src, "diagonal_scatter", lambda a: diagonal(a, offset, dim1, dim2))


@method
def select_scatter(input: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """Return a copy with one position of a dimension replaced by `src`."""
    return _with_region(input, src, "select_scatter", lambda a: a.select(dim, index))


@method
def slice_scatter(
    input: Tensor, src: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Tensor:
    """Return a copy with the positions `start:end:step` of a dimension replaced by `src`."""
    before = (slice(None),) * normalize_dim(dim, input.ndim)
    return _with_region(input, src, "slice_scatter", lambda a: a[(*before, slice(start, end, step))])


@method
def as_strided_scatter(
    input: Tensor, src: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None
) -> Tensor:
    """Return a copy with the elements of a strided view replaced by `src`."""
    return _with_region(input, src, "as_strided_scatter", lambda a: as_strided(a, size, stride, storage_offset))


def _with_region(input: Tensor, src: Tensor, operation: str, region: Callable[[Tensor], Tensor]) -> Tensor:
    """Return a copy of `input` in which the region that `region` views is replaced."""
    require_tensor(operation, "src", src)
    result = input.clone()
    view = region(result)
    if view._array.shape != src._array.shape:
        raise RuntimeError(
            f"expected src to have a size equal to the slice of self. src size = {list(src.shape)}, slice size ="
            f" {list(view.shape)}"
        )
    view.copy_(src)
    return result


class Tril(Node):
    """The lower triangle of matrices, zero above."""

    triangle = "tril"

    def __init__(self, diagonal: int) -> None:
        self.diagonal = diagonal

    def forward(self, a: Any) -> Any:
        return getattr(array_module(self.where), self.triangle)(a, self.diagonal)

    def backward(self, grad: Tensor) -> Tensor:
        return type(self)(self.diagonal)(grad)


class Triu(Tril):
    """The upper triangle of matrices, zero below."""

    triangle = "triu"


def _triangle(operation: str, node: type[Tril], doc: str) -> Callable[..., Tensor]:
    def function(input: Tensor, diagonal: int = 0) -> Tensor:
        require_tensor(operation, "input", input)
        if input.ndim < 2:
            raise RuntimeError(f"{operation}: input tensor must have at least 2 dimensions")
        return node(int(diagonal))(input)

    def in_place(self: Tensor, diagonal: int = 0) -> Tensor:
        return self._assign(function(self, diagonal))

    function.__name__ = function.__qualname__ = operation
    function.__doc__ = doc
    in_place.__name__ = f"{operation}_"
    in_place.__doc__ = f"In-place form of `{operation}`."
    method(in_place)
    return method(function)


tril = _triangle("tril", Tril, "Return the part of matrices on and below a diagonal, zero above.")
triu = _triangle("triu", Triu, "Return the part of matrices on and above a diagonal, zero below.")


def _triangle_indices(operation: str, row: int, col: int, offset: int, dtype: Any, device: Any, layout: Any) -> Tensor:
    if row < 0 or col < 0:
        raise RuntimeError(f"{operation}: row and col must be non-negative, got {row} and {col}")
    where = as_device(device)
    chosen = dtypes.int64 if dtype is None else dtypes.as_dtype(dtype)
    mask = getattr(np, operation.removesuffix("_indices"))(np.ones((row, col), bool), offset)
    return Tensor._wrap(array_module(where).asarray(np.stack(np.nonzero(mask)).astype(chosen.numpy)), where)


def tril_indices(
    row: int, col: int, offset: int = 0, *, dtype: Any = None, device: Any = None, layout: Any = None
) -> Tensor:
    """Return the row and column indices of a lower triangle, (2, n), row by row."""
    return _triangle_indices("tril_indices", row, col, offset, dtype, device, layout)


def triu_indices(
    row: int, col: int, offset: int = 0, *, dtype: Any = None, device: Any = None, layout: Any = None
) -> Tensor:
    """Return the row and column indices of an upper triangle, (2, n), row by row."""
    return _triangle_indices("triu_indices", row, col, offset, dtype, device, layout)


@method
def trace(input: Tensor) -> Tensor:
    """Return the sum of a matrix's diagonal."""
    require_tensor("trace", "input", input)
    if input.ndim != 2:
        raise RuntimeError("trace: expected a matrix")
    require_number("trace", input)
    if input.dtype.category < 2:
        input = input.to(dtypes.int64)
    return Sum((0,), False)(Diagonal(0, 0, 1)(input))


def _reshaped_in_place(name: str, view: Callable[..., Tensor]) -> None:
    """Install `name`, which turns a tensor into a view of itself."""

    def change(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        self._refuse_inplace_on_leaf()
        result = view(self, *args, **kwargs)
        self._array = result._array
        if self._base is not None:
            self._view = (*self._view, result._view[-1])
        self._bump_version()
        self._view_version = self._version
        if result._grad_fn is not None:
            self._grad_fn, self._output_nr = result._grad_fn, 0
        return self

    change.__name__ = name
    change.__doc__ = f"Change this tensor's own shape as `{view.__name__}` does."
    method(change)


for _name, _view in (
    ("squeeze_", squeeze),
    ("unsqueeze_", unsqueeze),
    ("t_", t),
    ("transpose_", transpose),
    ("swapaxes_", transpose),
    ("swapdims_", transpose),
    ("as_strided_", as_strided),
):
    _reshaped_in_place(_name, _view)


@method
def fill_diagonal_(self: Tensor, fill_value: Any, wrap: bool = False) -> Tensor:
    """Fill the main diagonal with a number, in place; with `wrap` a tall matrix begins again after n + 1 rows."""
    if self.ndim < 2:
        raise RuntimeError("dimensions must larger than 1")
    if self.ndim > 2 and len(set(self.shape)) != 1:
        raise RuntimeError("all dimensions of input must be of equal length")
    xp, shape = self._xp, self._array.shape
    mask = xp.zeros(shape, bool)
    steps = xp.arange(min(shape))
    mask[(steps,) * self.ndim] = True
    if wrap and self.ndim == 2 and shape[0] > shape[1]:
        rows = xp.arange(shape[0])
        columns = rows % (shape[1] + 1)
        mask[rows[columns < shape[1]], columns[columns < shape[1]]] = True
    return self._assign(self.masked_fill(self._wrap_like(mask), fill_value))
