"""Values given as numbers, sequences and arrays, brought into arrays that a tensor can hold."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from . import dtypes
from .device import array_module, is_array
from .device import device as Device
from .quiet import quietly
from .tensor import Tensor


def array_of(data: Any, dtype: dtypes.dtype | None, where: Device) -> Any:
    """Return a new array of values given as numbers, sequences or an array; `dtype` None stands for their own."""
    if is_array(data) or isinstance(data, np.generic):
        if isinstance(data, np.ndarray):
            require_exchangeable(data)
        found = dtypes.from_numpy_dtype(data.dtype)
        return quietly(array_module(where).array, data, (dtype or found).numpy)
    leaves, shape = _leaves(data)
    chosen = _inferred_dtype(leaves) if dtype is None else dtype
    return array_module(where).asarray(_values(leaves, chosen).reshape(shape))


def _is_sequence(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return True
    if isinstance(value, (Tensor, np.generic, dict)):
        return False
    return hasattr(value, "__len__") and hasattr(value, "__getitem__")


def _leaves(data: Any) -> tuple[list[Any], tuple[int, ...]]:
    """Take nested sequences apart: their innermost items in order, and the shape."""
    if isinstance(data, (str, bytes)):
        raise TypeError(f"tensor: invalid data type '{type(data).__name__}', expected numbers, got {data!r:.80}")
    shape: list[int] = []
    level = [data]
    while level and _is_sequence(level[0]):
        if isinstance(level[0], (str, bytes)):
            raise ValueError(f"too many dimensions '{type(level[0]).__name__}': expected numbers, got {level[0]!r:.80}")
        length = len(level[0])
        for part in level if length else ():
            if not _is_sequence(part):
                raise TypeError(
                    f"not a sequence: expected one of length {length} at dim {len(shape)}, got {part!r:.80}"
                )
            if len(part) != length:
                raise ValueError(f"expected sequence of length {length} at dim {len(shape)} (got {len(part)})")
        if isinstance(level[0], np.ndarray) and level[0].ndim:
            warnings.warn(
                "Creating a tensor from a list of numpy.ndarrays is extremely slow. Please consider converting the"
                " list to a single numpy.ndarray with numpy.array() before converting to a tensor.",
                UserWarning,
                stacklevel=4,
            )
        shape.append(length)
        level = [item for part in level for item in part] if length else []
    return level, tuple(shape)


def _inferred_dtype(leaves: list[Any]) -> dtypes.dtype:
    """Return the common type of items: Python's floats count as the default type, integers as int64."""
    common: dtypes.dtype | None = None
    for kind in set(map(type, leaves)) - {Tensor}:
        common = _promoted(common, _dtype_of(kind))
    if any(isinstance(leaf, Tensor) for leaf in leaves):
        for found in {leaf.dtype for leaf in leaves if isinstance(leaf, Tensor)}:
            common = _promoted(common, found)
    return dtypes.get_default_dtype() if common is None else common


def _promoted(common: dtypes.dtype | None, found: dtypes.dtype | None) -> dtypes.dtype | None:
    if common is None or found is None:
        return common or found
    return dtypes.promote_types(common, found)


def _dtype_of(kind: type) -> dtypes.dtype | None:
    """Return the type of items of a class; None for tensors, which have their own."""
    if issubclass(kind, np.generic):
        return dtypes.from_numpy_dtype(np.dtype(kind))
    if issubclass(kind, bool):
        return dtypes.bool
    if issubclass(kind, int):
        return dtypes.int64
    if issubclass(kind, float):
        return dtypes.get_default_dtype()
    if issubclass(kind, complex):
        return dtypes.scalar_dtype(1j)
    if issubclass(kind, Tensor):
        return None
    if issubclass(kind, (str, bytes)):
        raise TypeError(f"tensor: invalid data type '{kind.__name__}', expected numbers")
    if _is_sequence_class(kind):
        raise TypeError(f"tensor: '{kind.__name__}' object cannot be interpreted as a number")
    raise RuntimeError(f"Could not infer dtype of {kind.__name__}")


def _is_sequence_class(kind: type) -> bool:
    return hasattr(kind, "__len__") and hasattr(kind, "__getitem__") and not issubclass(kind, dict)


def _values(leaves: list[Any], dtype: dtypes.dtype) -> np.ndarray:
    """Return items as an array of one dimension, after a check that the type holds them."""
    kinds = set(map(type, leaves))
    if any(issubclass(kind, Tensor) for kind in kinds):
        leaves = [_only_value(leaf) if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        kinds = set(map(type, leaves))
    if dtype.is_complex:
        working: Any = np.complex128
    elif dtype.category == 1 and all(issubclass(kind, (int, np.integer, np.bool_)) for kind in kinds):
        working = np.uint64 if dtype is dtypes.uint64 and min(leaves, default=0) >= 0 else np.int64
    elif dtype is dtypes.bool:
        working = None
    else:
        working = np.float64
    try:
        values = np.array(leaves, working)
    except OverflowError:
        raise ValueError(
            f"tensor: Overflow when unpacking long long: an integer exceeds 64 bits in {leaves!r:.80}"
        ) from None
    _require_fit(values, dtype)
    return quietly(values.astype, dtype.numpy)


def _only_value(leaf: Tensor) -> Any:
    if leaf.numel() != 1:
        error = ValueError if leaf.is_floating_point() else TypeError  # as PyTorch
        raise error(f"only one element tensors can be converted to Python scalars, got shape {tuple(leaf.shape)}")
    return leaf.item()


def _require_fit(values: np.ndarray, dtype: dtypes.dtype) -> None:
    """Refuse numbers that an integer type cannot hold; negative ones wrap around in uint8, as in PyTorch."""
    if dtype.category != 1 or not values.size:
        return
    limits = np.iinfo(dtype.numpy)
    low, high = values.min(), values.max()
    if not ((int(limits.min) or -int(limits.max)) <= low and high <= int(limits.max)):
        raise RuntimeError(
            f"value cannot be converted to type {dtype} without overflow: got values from {low} to {high}"
        )


def require_exchangeable(array: np.ndarray) -> None:
    """Refuse a NumPy array that no tensor can view: its type, its byte order, negative or odd strides."""
    dtypes.from_numpy_dtype(array.dtype)
    if min(array.strides, default=0) < 0:
        raise ValueError(
            "At least one stride in the given numpy array is negative, and tensors with negative strides are not"
            " currently supported. (You can work around this by making a copy of your array with array.copy().)"
        )
    if any([step % array.dtype.itemsize for step in array.strides]):
        raise ValueError(
            "given numpy array strides not a multiple of the element byte size. Copy the numpy array to reallocate the"
            " memory."
        )
