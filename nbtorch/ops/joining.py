"""Tensors put together, taken apart and laid out anew: stacks, splits, repetition, rotation, grids, products."""

from __future__ import annotations

import builtins
import itertools
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.graph import Node
from ..device import array_module
from ..tensor import Tensor, method, normalize_dim
from .indexing import Index
from .operands import named, require_same_device, require_tensor, sizes
from .shape import cat, expand, flip, narrow, repeat, reshape, split, stack, transpose, unsqueeze, warn_of_rank


def _atleast(operation: str, ndim: int, widen: Callable[[Tensor], Tensor], doc: str) -> Callable[..., Any]:
    """Make `atleast_1d` and its like, which take one tensor, several, or a sequence of them."""

    def function(*tensors: Any) -> Any:
        if len(tensors) == 1 and isinstance(tensors[0], Tensor):
            return tensors[0] if tensors[0].ndim >= ndim else widen(tensors[0])
        given = tensors[0] if len(tensors) == 1 else tensors
        for tensor in given:
            require_tensor(operation, "tensors", tensor)
        return tuple([function(tensor) for tensor in given])

    function.__name__ = function.__qualname__ = operation
    function.__doc__ = doc
    return function


atleast_1d = _atleast("atleast_1d", 1, lambda a: reshape(a, 1), "Return tensors with at least one dimension.")
atleast_2d = _atleast(
    "atleast_2d",
    2,
    lambda a: unsqueeze(atleast_1d(a), 0),
    "Return tensors with at least two dimensions; new ones lead.",
)
atleast_3d = _atleast(
    "atleast_3d", 3, lambda a: unsqueeze(atleast_2d(a), -1), "Return tensors with at least three dimensions."
)


def _require_parts(operation: str, tensors: Sequence[Tensor]) -> list[Tensor]:
    parts = list(tensors)
    if not parts:
        raise RuntimeError(f"{operation} expects a non-empty TensorList")
    for part in parts:
        require_tensor(operation, "tensors", part)
    return parts


def hstack(tensors: Sequence[Tensor]) -> Tensor:
    """Join tensors along the second dimension; vectors and scalars along the first."""
    parts = [atleast_1d(a) for a in _require_parts("hstack", tensors)]
    return cat(parts, 0 if parts[0].ndim == 1 else 1)


def vstack(tensors: Sequence[Tensor]) -> Tensor:
    """Join tensors along the first dimension, vectors as rows."""
    return cat([atleast_2d(a) for a in _require_parts("vstack", tensors)], 0)


def dstack(tensors: Sequence[Tensor]) -> Tensor:
    """Join tensors along the third dimension."""
    return cat([atleast_3d(a) for a in _require_parts("dstack", tensors)], 2)


def column_stack(tensors: Sequence[Tensor]) -> Tensor:
    """Join tensors along the second dimension, vectors as columns."""
    parts = _require_parts("column_stack", tensors)
    return hstack([reshape(a, a.numel(), 1) if a.ndim <= 1 else a for a in parts])


row_stack = vstack


@method
def tensor_split(input: Tensor, indices_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Return views of pieces: so many of nearly equal size, or those that begin at given positions.

    Args:
        input: the tensor to split.
        indices_or_sections: the number of pieces, or the positions to split at, as an int, a sequence or a tensor.
        dim: the dimension to split.
    """
    require_tensor("tensor_split", "input", input)
    if input.ndim == 0:
        raise RuntimeError("tensor_split expected at least a 1-dimensional tensor, but got a tensor with 0 dims")
    axis = normalize_dim(dim, input.ndim)
    extent = input._array.shape[axis]
    if isinstance(indices_or_sections, Tensor):
        indices_or_sections = indices_or_sections.tolist()
    if isinstance(indices_or_sections, (int, np.integer)):
        sections = int(indices_or_sections)
        if sections <= 0:
            raise RuntimeError(f"number of sections must be larger than 0, got {sections}")
        bounds = [extent // sections * i + builtins.min(i, extent % sections) for i in range(sections + 1)]
    else:
        bounds = [0, *(slice(None, int(i)).indices(extent)[1] for i in indices_or_sections), extent]
    return tuple([narrow(input, axis, a, builtins.max(b - a, 0)) for a, b in itertools.pairwise(bounds)])


def _splitter(operation: str, least: int, axis: Callable[[Tensor], int], doc: str) -> Callable[..., tuple[Tensor, ...]]:
    """Make `hsplit` and its like: `tensor_split` into equal pieces along a fixed dimension."""

    def function(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
        require_tensor(operation, "input", input)
        if input.ndim < least:
            raise RuntimeError(
                f"torch.{operation} requires a tensor with at least {least} dimension, but got a tensor with"
                f" {input.ndim} dimensions!"
            )
        dim = axis(input)
        if isinstance(indices_or_sections, int) and indices_or_sections > 0:
            extent = input._array.shape[dim]
            if extent % indices_or_sections:
                raise RuntimeError(
                    f"torch.{operation} attempted to split along dimension {dim}, but the size of the dimension"
                    f" {extent} is not divisible by the split_size {indices_or_sections}!"
                )
        return tensor_split(input, indices_or_sections, dim)

    function.__name__ = function.__qualname__ = operation
    function.__doc__ = doc
    return method(function)


hsplit = _splitter(
    "hsplit", 1, lambda a: 0 if a.ndim == 1 else 1, "Split along the second dimension (a vector: the first)."
)
vsplit = _splitter("vsplit", 2, lambda a: 0, "Split along the first dimension.")
dsplit = _splitter("dsplit", 3, lambda a: 2, "Split along the third dimension.")


@method
def split_with_sizes(input: Tensor, split_sizes: Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Return views of pieces of the given sizes."""
    return split(input, list(split_sizes), dim)


method(split_with_sizes, name="unsafe_split_with_sizes")
unsafe_split_with_sizes = split_with_sizes


def tile(input: Tensor, dims: Sequence[int]) -> Tensor:
    """Return copies side by side, `dims` of them along the last dimensions."""
    times = sizes((dims,))
    return repeat(input, (1,) * (input.ndim - len(times)) + times)


@method(name="tile")
def _tile_method(self: Tensor, *counts: Any, dims: Any = None) -> Tensor:
    """Return copies side by side, `dims` of them along the last dimensions."""
    return tile(self, sizes(named(counts, dims)))


class Roll(Node):
    """Elements moved along dimensions; those that leave at one end come in at the other."""

    def __init__(self, shifts: tuple[int, ...], dims: tuple[int, ...] | None) -> None:
        self.shifts, self.dims = shifts, dims

    def forward(self, a: Any) -> Any:
        return array_module(self.where).roll(a, self.shifts if self.dims is not None else self.shifts[0], self.dims)

    def backward(self, grad: Tensor) -> Tensor:
        return Roll(tuple(-s for s in self.shifts), self.dims)(grad)


@method
def roll(input: Tensor, shifts: Any, dims: Any = None) -> Tensor:
    """Return the elements moved by `shifts` along `dims`, round the ends; without `dims` in the flattened tensor."""
    require_tensor("roll", "input", input)
    steps = sizes((shifts,))
    if not steps:
        raise RuntimeError("`shifts` required")
    if input.ndim == 0 and dims not in (None, (), []):
        raise IndexError(f"roll: Dimension specified as {dims} but tensor has no dimensions")
    axes = (
        None
        if dims is None or dims == () or dims == []
        else tuple(normalize_dim(d, input.ndim) for d in sizes((dims,)))
    )
    if (axes is None and len(steps) != 1) or (axes is not None and len(axes) != len(steps)):
        raise RuntimeError(f"shifts and dimensions must align. shifts: {len(steps)}, dims:{len(axes or ())}")
    return Roll(steps, axes)(input)


@method
def rot90(input: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """Return the tensor turned by `k` quarters in the plane of two dimensions, from the first towards the second."""
    if len(dims) != 2:
        raise RuntimeError(f"expected total rotation dims == 2, but got dims = {len(dims)}")
    if input.ndim < 2:
        raise RuntimeError(f"expected total dims >= 2, but got total dims = {input.ndim}")
    a, b = (normalize_dim(d, input.ndim) for d in dims)
    if a == b:
        raise RuntimeError(f"expected rotation dims to be different, but got dim0 = {dims[0]} and dim1 = {dims[1]}")
    turns = k % 4
    if turns == 0:
        return input.clone()
    if turns == 2:
        return flip(input, a, b)
    return transpose(flip(input, b), a, b) if turns == 1 else flip(transpose(input, a, b), b)


@method
def fliplr(input: Tensor) -> Tensor:
    """Return a copy with the order along the second dimension reversed."""
    if input.ndim < 2:
        raise RuntimeError("Input must be >= 2-d.")
    return flip(input, 1)


@method
def flipud(input: Tensor) -> Tensor:
    """Return a copy with the order along the first dimension reversed."""
    if input.ndim < 1:
        raise RuntimeError("Input must be >= 1-d.")
    return flip(input, 0)


@method
def repeat_interleave(
    input: Tensor, repeats: Any = None, dim: int | None = None, *, output_size: int | None = None
) -> Tensor:
    """Return the elements of a dimension repeated in place, each so many times.

    Args:
        input: the tensor; given alone, the numbers of repetition, and the result the index of each repeated position.
        repeats: an int, or a 1-d tensor with a number for each position.
        dim: the dimension; without it the flattened tensor is used.
        output_size: the extent that results, if known.
    """
    if repeats is None:
        counts = input._array
        if input.ndim != 1:
            raise RuntimeError("repeat_interleave only accept 1D vector as repeat")
        if input.dtype not in (dtypes.int32, dtypes.int64):
            raise RuntimeError("repeats has to be Long or Int tensor")
        _require_counts(counts)
        return input._wrap_like(input._xp.repeat(input._xp.arange(counts.size), _counts(counts)).astype(counts.dtype))
    if dim is None:
        input, dim = input.flatten(), 0
    axis = normalize_dim(dim, input.ndim)
    if input.ndim == 0:
        input = reshape(input, 1)
    extent = input._array.shape[axis]
    if isinstance(repeats, Tensor):
        if repeats.ndim > 1 or (repeats.ndim == 1 and repeats.numel() not in (1, extent)):
            raise RuntimeError(
                f"repeats must be 0-dim or have the same size as input along dim = {axis}, but got repeats of shape"
                f" {tuple(repeats.shape)} for extent {extent}"
            )
        if repeats.dtype not in (dtypes.int32, dtypes.int64):
            raise RuntimeError("repeats has to be Long or Int tensor")
        _require_counts(repeats._array)
        times: Any = _counts(repeats._array)
        times = times[0] if len(times) == 1 else times
    else:
        times = int(repeats)
        if times < 0:
            raise RuntimeError(f"Repeats must be non-negative, got {times}")
    index = input._xp.repeat(input._xp.arange(extent), times)
    if output_size is not None and index.size != output_size:
        raise RuntimeError(f"repeat_interleave: allocated size {output_size} does not match required size {index.size}")
    return Index((slice(None),) * axis + (index,))(input)


def _require_counts(counts: Any) -> None:
    if counts.size and int(counts.min()) < 0:
        raise RuntimeError("repeats can not be negative")


def _counts(counts: Any) -> list[int]:
    """Return numbers of repetition as a list, which every array module accepts."""
    return counts.reshape(-1).tolist()


def meshgrid(*tensors: Any, indexing: str | None = None) -> tuple[Tensor, ...]:
    """Return for each vector a view that varies along a dimension of its own, all of one shape.

    Args:
        tensors: vectors or scalars of one type, as arguments or as one sequence.
        indexing: `"ij"`, where the i-th vector varies along dimension i, or `"xy"`, with the first two exchanged.
    """
    vectors = list(tensors[0]) if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)) else list(tensors)
    if not vectors:
        raise RuntimeError("meshgrid expects a non-empty TensorList")
    for vector in vectors:
        require_tensor("meshgrid", "tensors", vector)
        if vector.ndim > 1:
            raise RuntimeError(f"Expected 0D or 1D tensor in the tensor list but got: {vector.ndim}D")
        if vector.dtype is not vectors[0].dtype:
            raise RuntimeError("torch.meshgrid expects all tensors to have the same dtype")
    require_same_device("meshgrid", *vectors)
    if indexing is None:
        warnings.warn(
            "torch.meshgrid: in an upcoming release, it will be required to pass the indexing argument.",
            UserWarning,
            stacklevel=2,
        )
    elif indexing not in ("ij", "xy"):
        raise RuntimeError(f'torch.meshgrid: indexing must be one of "xy" or "ij", but received: {indexing}')
    exchanged = indexing == "xy" and len(vectors) >= 2
    if exchanged:
        vectors[:2] = vectors[1::-1]
    shape = [v.numel() for v in vectors]
    grids = []
    for axis, vector in enumerate(vectors):
        along = [1] * len(vectors)
        along[axis] = shape[axis]
        grids.append(expand(reshape(vector, along), shape))
    if exchanged:
        grids[:2] = grids[1::-1]
    return tuple(grids)


def cartesian_prod(*tensors: Tensor) -> Tensor:
    """Return all combinations of elements of the given vectors, one row each; a single vector as it is."""
    vectors = list(tensors[0]) if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)) else list(tensors)
    for vector in vectors:
        require_tensor("cartesian_prod", "tensors", vector)
        if vector.ndim != 1:
            raise RuntimeError(f"Expect a 1D vector, but got shape {list(vector.shape)}")
    if len(vectors) == 1:
        return vectors[0]
    return stack([reshape(grid, -1) for grid in meshgrid(vectors, indexing="ij")], 1)


def combinations(input: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """Return all choices of `r` elements of a vector, in order, one row each."""
    require_tensor("combinations", "input", input)
    if input.ndim != 1:
        raise RuntimeError(f"Expect a 1D vector, but got shape {list(input.shape)}")
    if r < 0:
        raise RuntimeError(f"Expect a non-negative number, but got {r}")
    if r == 0:
        return input.new_empty((0,))
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    rows = np.array(list(choose(range(input.numel()), r)), np.int64).reshape(-1, r)
    return Index((input._xp.asarray(rows),))(input)


def block_diag(*tensors: Tensor) -> Tensor:
    """Return a matrix with the given matrices (vectors as rows, scalars as 1×1) along its diagonal, zero elsewhere."""
    blocks = []
    for position, block in enumerate(tensors):
        require_tensor("block_diag", "tensors", block)
        if block.ndim > 2:
            raise RuntimeError(
                "torch.block_diag: Input tensors must have 2 or fewer dimensions. Input"
                f" {position} has {block.ndim} dimensions"
            )
        blocks.append(atleast_2d(block))
    if not blocks:
        return Tensor(1, 0)
    width = builtins.sum(block._array.shape[1] for block in blocks)
    rows, before = [], 0
    for block in blocks:
        height, own = block._array.shape
        left, right = block.new_zeros((height, before)), block.new_zeros((height, width - before - own))
        rows.append(cat([left, block, right], 1))
        before += own
    return cat(rows, 0)


@method
def adjoint(input: Tensor) -> Tensor:
    """Return a view with the last two dimensions exchanged; for complex numbers also conjugated."""
    if input.ndim == 1:
        raise RuntimeError("tensor.adjoint() is only supported on matrices or batches of matrices. Got 1-D tensor.")
    swapped = transpose(input, -2, -1) if input.ndim else input
    return swapped.conj() if input.is_complex() else swapped


@property  # type: ignore[misc]
def _hermitian(self: Tensor) -> Tensor:
    """A matrix transposed and, if complex, conjugated."""
    if self.ndim not in (0, 2):
        raise RuntimeError(f"tensor.H is only supported on matrices (2-D tensors). Got {self.ndim}-D tensor.")
    if not self.ndim:
        warn_of_rank("H", 0, "matrices")
    return adjoint(self)


@property  # type: ignore[misc]
def _matrix_hermitian(self: Tensor) -> Tensor:
    """The tensor with its last two dimensions exchanged and, if complex, conjugated."""
    if not self.ndim:
        warn_of_rank("mH", 0, "matrices or batches of matrices")
    return adjoint(self)


method(_hermitian, name="H")
method(_matrix_hermitian, name="mH")
