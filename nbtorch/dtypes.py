"""Data types and type promotion, as PyTorch defines them.

Reprs print PyTorch's names (`torch.float32`), so that output compares equal with PyTorch's and reads well under
`import nbtorch as torch`.
"""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np


class dtype:
    """The type of a tensor's elements; one object for each type, compared by identity."""

    __slots__ = ("_rank", "is_complex", "is_floating_point", "itemsize", "name", "numpy", "title")

    def __init__(self, name: str, title: str, numpy_dtype: Any, rank: builtins.int) -> None:
        self.name = name
        self.title = title  # PyTorch's older name, found in `Tensor.type()` and in errors
        self.numpy = np.dtype(numpy_dtype)
        self.itemsize = self.numpy.itemsize
        self.is_floating_point = self.numpy.kind == "f"
        self.is_complex = self.numpy.kind == "c"
        self._rank = rank

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def __reduce__(self) -> str:
        return self.name

    @property
    def is_signed(self) -> builtins.bool:
        """Whether values may be negative."""
        return self.numpy.kind in "ifc"

    @property
    def category(self) -> builtins.int:
        """0 for bool, 1 for integers, 2 for floating point, 3 for complex: the first criterion of promotion."""
        return ["b", "iu", "f", "c"].index(next(kinds for kinds in ["b", "iu", "f", "c"] if self.numpy.kind in kinds))


# The rank orders the types of one category by what they can hold; uint8 stands apart (see `_promote_pair`).
bool = dtype("bool", "Bool", np.bool_, 0)
uint8 = dtype("uint8", "Byte", np.uint8, 1)
int8 = dtype("int8", "Char", np.int8, 2)
int16 = dtype("int16", "Short", np.int16, 3)
int32 = dtype("int32", "Int", np.int32, 4)
int64 = dtype("int64", "Long", np.int64, 5)
float16 = dtype("float16", "Half", np.float16, 6)
float32 = dtype("float32", "Float", np.float32, 7)
float64 = dtype("float64", "Double", np.float64, 8)

short, int, long = int16, int32, int64
half, float, double = float16, float32, float64

ALL = (bool, uint8, int8, int16, int32, int64, float16, float32, float64)
_FROM_NUMPY = {d.numpy: d for d in ALL}
_BUILTIN = {type(True): bool, type(0): int64, type(0.0): float64}
_CATEGORY = {d: d.category for d in ALL}

_default: dtype = float32


def get_default_dtype() -> dtype:
    """Return the floating-point type that new tensors get when none is named."""
    return _default


def set_default_dtype(d: dtype) -> None:
    """Set the floating-point type that new tensors get when none is named."""
    global _default
    if not isinstance(d, dtype) or not d.is_floating_point:
        raise TypeError(f"set_default_dtype: only floating-point types are supported as the default type, got {d!r}")
    _default = d


def from_numpy_dtype(numpy_dtype: np.dtype) -> dtype:
    """Return the nbtorch type of a NumPy type; a TypeError names the types that exist."""
    try:
        return _FROM_NUMPY[numpy_dtype]
    except KeyError:
        native = _FROM_NUMPY.get(numpy_dtype.newbyteorder("=")) if numpy_dtype.kind in "iufb" else None
        if native is not None:
            raise ValueError(
                "given numpy array has byte order different from the native byte order."
                " Conversion between byte orders is currently not supported."
            ) from None
        raise TypeError(
            f"can't convert np.ndarray of type {numpy_dtype}. The only supported types are:"
            f" {', '.join(d.name for d in reversed(ALL))}."
        ) from None


def as_dtype(value: Any) -> dtype:
    """Return `value` as a dtype; accepts a dtype or Python's `bool`, `int` and `float`."""
    if isinstance(value, dtype):
        return value
    try:
        return _BUILTIN[value]
    except (KeyError, TypeError):
        raise TypeError(f"dtype must be an nbtorch.dtype, got {value!r}") from None


def promote_types(a: dtype, b: dtype) -> dtype:
    """Return the smallest type that both `a` and `b` promote to."""
    if a is b:
        return a
    if _CATEGORY[a] != _CATEGORY[b]:
        return a if _CATEGORY[a] > _CATEGORY[b] else b
    if uint8 in (a, b):
        other = b if a is uint8 else a
        return int16 if other is int8 else other
    return a if a._rank > b._rank else b


def scalar_dtype(value: Any) -> dtype:
    """Return the type a Python or NumPy scalar takes part in promotion with (`np.bool_` as a float, as in PyTorch)."""
    if isinstance(value, type(True)):
        return bool
    if isinstance(value, (np.integer, type(0))):
        return int64
    return _default


def common_dtype(a: dtype, a_dim: Any, b: dtype, b_dim: Any) -> dtype:
    """Return the type of a result of two operands of types `a`, `b` whose ranks are `a_dim`, `b_dim`.

    A rank of -1 stands for a Python scalar. An operand of lower priority (scalar < 0-d tensor < tensor) changes the
    type only when its category is higher.
    """
    if a is b:
        return a
    a_priority = 2 if a_dim > 0 else 1 + min(a_dim, 0)
    b_priority = 2 if b_dim > 0 else 1 + min(b_dim, 0)
    if a_priority == b_priority:
        return promote_types(a, b)
    high, low = (a, b) if a_priority > b_priority else (b, a)
    return high if _CATEGORY[high] >= _CATEGORY[low] else low
