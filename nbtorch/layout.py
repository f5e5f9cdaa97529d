"""How elements lie in memory: layouts, memory formats, and the arithmetic of strides as PyTorch defines it.

Strides here count elements, not bytes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .device import allocate, array_module
from .device import device as Device

Extents = tuple[int, ...]


class layout:
    """The way a tensor stores its elements; `strided` is the one there is."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def __reduce__(self) -> str:
        return self.name


class memory_format:
    """The order in which dimensions follow each other in memory; one object for each order."""

    __slots__ = ("name", "rank")

    def __init__(self, name: str, rank: int | None = None) -> None:
        self.name = name
        self.rank = rank  # the number of dimensions that the format is for

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def __reduce__(self) -> str:
        return self.name


strided = layout("strided")
contiguous_format = memory_format("contiguous_format")
preserve_format = memory_format("preserve_format")
channels_last = memory_format("channels_last", 4)
channels_last_3d = memory_format("channels_last_3d", 5)


def require_strided(operation: str, wanted: Any) -> None:
    """Refuse a layout (None stands for the default) other than `strided`."""
    if wanted is not None and wanted is not strided:
        raise TypeError(f"{operation}(): argument 'layout' must be torch.strided, not {wanted!r}")


def require_memory_format(operation: str, wanted: Any) -> None:
    """Refuse what is neither a memory format nor None."""
    if wanted is not None and not isinstance(wanted, memory_format):
        raise TypeError(f"{operation}(): argument 'memory_format' must be memory_format, not {type(wanted).__name__}")


def element_strides(array: Any) -> Extents:
    """Return an array's strides in elements; those that NumPy gives an empty array are replaced by contiguous ones."""
    size = array.dtype.itemsize
    strides = tuple([step // size for step in array.strides])
    return contiguous_strides(array.shape) if 0 in strides and 0 in array.shape else strides


def with_new_axes(xp: Any, array: Any) -> Any:
    """Give the dimensions that NumPy inserted, with strides of 0, the strides that PyTorch gives them."""
    strides, after = list(element_strides(array)), 1
    for axis in range(array.ndim - 1, -1, -1):
        if array.shape[axis] == 1 and strides[axis] == 0:
            strides[axis] = after
        after = array.shape[axis] * strides[axis]
    return restrided(xp, array, array.shape, tuple(strides))


def contiguous_strides(shape: Extents) -> Extents:
    """Return the strides of elements in row-major order without gaps."""
    return _packed(shape, range(len(shape) - 1, -1, -1))


def _packed(shape: Extents, order: Any, empty: int = 1) -> Extents:
    """Return the strides of elements without gaps, the dimensions following each other as in `order`.

    An extent of 0 counts as `empty`: PyTorch takes it as 1, but as it is in channels-last formats.
    """
    strides, step = [1] * len(shape), 1
    for axis in order:
        strides[axis] = step
        step *= shape[axis] or empty
    return tuple(strides)


def _channels_last_order(rank: int) -> Extents:
    return (1, *range(rank - 1, 1, -1), 0)


def is_contiguous_in(shape: Extents, strides: Extents, wanted: memory_format) -> bool:
    """Whether elements lie in the order of a memory format without gaps; extents of 1 may have any stride."""
    rank = len(shape)
    if wanted.rank is not None and wanted.rank != rank:
        return False
    step = 1
    for axis in range(rank - 1, -1, -1) if wanted.rank is None else _channels_last_order(rank):
        if shape[axis] != 1:
            if strides[axis] != step:
                return wanted.rank is None and 0 in shape
            step *= shape[axis]
    return True


def is_dense(shape: Extents, strides: Extents) -> bool:
    """Whether elements fill their memory without gaps and overlaps, in whatever order."""
    if is_contiguous_in(shape, strides, contiguous_format):
        return True
    step = 1
    for axis in sorted([axis for axis, n in enumerate(shape) if n > 1], key=strides.__getitem__):
        if strides[axis] != step:
            return False
        step *= shape[axis]
    return 0 not in shape


def _order_of(shape: Extents, strides: Extents) -> list[int]:
    """Return the dimensions from the quickest to the slowest; those without a stride stay where they are."""
    order = list(range(len(shape) - 1, -1, -1))
    for position in range(1, len(order)):
        moving = position
        for earlier in range(position - 1, -1, -1):
            a, b = order[earlier], order[moving]
            if 0 in (strides[a], strides[b]):
                continue
            if strides[a] < strides[b]:
                break
            if strides[a] > strides[b] or shape[a] > shape[b]:
                order[earlier], order[moving] = b, a
                moving = earlier
    return order


def format_strides(operation: str, shape: Extents, strides: Extents, wanted: memory_format | None) -> Extents:
    """Return the strides of a new tensor of a memory format, modelled on a tensor of these strides.

    Raises:
        RuntimeError: the format is for tensors of another rank.
    """
    require_memory_format(operation, wanted)
    if wanted is None or wanted is preserve_format:
        return strides if is_dense(shape, strides) else _packed(shape, _order_of(shape, strides))
    if wanted.rank is None:
        return contiguous_strides(shape)
    if wanted.rank != len(shape):
        raise RuntimeError(f"{operation}: required rank {wanted.rank} tensor to use {wanted.name} format")
    return _packed(shape, _channels_last_order(len(shape)), empty=0)


def view_strides(shape: Extents, strides: Extents, target: Extents) -> Extents | None:
    """Return the strides of the same elements under another shape of as many; None where only a copy has it.

    Dimensions that follow each other in memory without a gap form blocks; every block must be made of whole dimensions
    of the new shape.
    """
    if not shape:
        return (1,) * len(target)
    if 0 in shape:
        return strides if shape == target else contiguous_strides(target)
    result = [0] * len(target)
    at = len(target) - 1
    step, block, filled = strides[-1], 1, 1
    for axis in range(len(shape) - 1, -1, -1):
        block *= shape[axis]
        if axis and (shape[axis - 1] == 1 or strides[axis - 1] == block * step):
            continue
        while at >= 0 and (filled < block or target[at] == 1):
            result[at] = filled * step
            filled *= target[at]
            at -= 1
        if filled != block:
            return None
        if axis:
            step, block, filled = strides[axis - 1], 1, 1
    return tuple(result) if at < 0 else None


def expanded_strides(shape: Extents, strides: Extents, target: Extents) -> Extents:
    """Return the strides of a tensor repeated to the shape `target`: 0 where it repeats."""
    lead = len(target) - len(shape)
    result = [0] * len(target)
    if not shape:
        return tuple(result)
    extent, stride = 1, 1
    for axis in range(len(target) - 1, -1, -1):
        if axis >= lead:
            extent, stride = shape[axis - lead], strides[axis - lead]
        else:
            after = axis + 1
            extent, stride = 1, target[after] * result[after] if after < len(target) else 1
        result[axis] = stride if extent == target[axis] else 0
    return tuple(result)


def reach(shape: Extents, strides: Extents) -> int:
    """Return how many elements of memory a tensor needs, from its first element to its last."""
    return 0 if 0 in shape else 1 + sum([(n - 1) * s for n, s in zip(shape, strides, strict=True)])


def address(array: Any) -> int:
    """Return the address of an array's first element."""
    return array.ctypes.data if isinstance(array, np.ndarray) else array.data.ptr


def restrided(xp: Any, array: Any, shape: Extents, strides: Extents) -> Any:
    """Return a view of an array's memory from its first element, without a check of bounds."""
    size = array.dtype.itemsize
    return xp.lib.stride_tricks.as_strided(array, shape, tuple([s * size for s in strides]))


def allocate_strided(shape: Extents, strides: Extents, dtype: Any, where: Device) -> Any:
    """Return an uninitialised array with given strides."""
    if strides == contiguous_strides(shape):
        return allocate(shape, dtype, where)
    memory = allocate((max(reach(shape, strides), 1),), dtype, where)
    return restrided(array_module(where), memory, shape, strides)
