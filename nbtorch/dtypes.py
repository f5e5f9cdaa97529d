"""Data types and type promotion, as PyTorch defines them.

Reprs print PyTorch's names (`torch.float32`), so that output compares equal with PyTorch's and reads well under
`import nbtorch as torch`.
"""

from __future__ import annotations

import builtins
from typing import Any

import ml_dtypes
import numpy as np

FLOATING = "fV"
INTEGER = "iu"
DIFFERENTIABLE = "fVc"
"""Kinds of NumPy types (`array.dtype.kind`). Of kind "V" there is one in tensors: `bfloat16`, from ml_dtypes."""

HALF_CHARS = "eE"
"""The characters (`array.dtype.char`) of float16 and bfloat16."""


class dtype:
    """The type of a tensor's elements; one object for each type, compared by identity."""

    __slots__ = ("_rank", "abbr", "category", "is_complex", "is_floating_point", "itemsize", "name", "numpy", "title")

    def __init__(self, name: str, title: str, abbr: str, numpy_dtype: Any, rank: builtins.int) -> None:
        self.name = name
        self.title = title  # PyTorch's older name, found in `Tensor.type()` and in errors
        self.abbr = abbr
        self.numpy = np.dtype(numpy_dtype)
        self.itemsize = self.numpy.itemsize
        self.is_floating_point = self.numpy.kind in FLOATING
        self.is_complex = self.numpy.kind == "c"
        # 0 for bool, 1 for integers, 2 for floating point, 3 for complex: the first criterion of promotion
        self.category = ["b", INTEGER, FLOATING, "c"].index(
            next(kinds for kinds in ["b", INTEGER, FLOATING, "c"] if self.numpy.kind in kinds)
        )
        self._rank = rank

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def __reduce__(self) -> str:
        return self.name

    @property
    def is_signed(self) -> builtins.bool:
        """Whether values may be negative."""
        return self.numpy.kind not in "bu"

    def to_real(self) -> dtype:
        """Return the type of the real part; real types are their own."""
        return _REAL.get(self, self)

    def to_complex(self) -> dtype:
        """Return the complex type whose parts are of this type, or the smallest that holds them."""
        if self.category < 2:
            raise RuntimeError(f"Unknown Complex ScalarType for {self.title}")
        return complex128 if self in (float64, complex128) else complex64


# The rank orders the types of one category by what they can hold; uint8 stands apart (see `promote_types`).
bool = dtype("bool", "Bool", "b8", np.bool_, 0)
uint8 = dtype("uint8", "Byte", "u8", np.uint8, 1)
int8 = dtype("int8", "Char", "i8", np.int8, 2)
int16 = dtype("int16", "Short", "i16", np.int16, 3)
int32 = dtype("int32", "Int", "i32", np.int32, 4)
int64 = dtype("int64", "Long", "i64", np.int64, 5)
uint16 = dtype("uint16", "UInt16", "u16", np.uint16, 6)
uint32 = dtype("uint32", "UInt32", "u32", np.uint32, 6)
uint64 = dtype("uint64", "UInt64", "u64", np.uint64, 6)
bfloat16 = dtype("bfloat16", "BFloat16", "bf16", ml_dtypes.bfloat16, 7)
float16 = dtype("float16", "Half", "f16", np.float16, 8)
float32 = dtype("float32", "Float", "f32", np.float32, 9)
float64 = dtype("float64", "Double", "f64", np.float64, 10)
complex64 = dtype("complex64", "ComplexFloat", "c64", np.complex64, 11)
complex128 = dtype("complex128", "ComplexDouble", "c128", np.complex128, 12)

short, int, long = int16, int32, int64
half, float, double = float16, float32, float64
cfloat, cdouble = complex64, complex128

_LARGE_UNSIGNED = (uint16, uint32, uint64)  # PyTorch promotes them to floating point only
ALL = (
    bool, uint8, int8, int16, int32, int64, *_LARGE_UNSIGNED, bfloat16, float16, float32, float64, complex64, complex128
)  # fmt: skip
_FROM_NUMPY = {d.numpy: d for d in ALL}
_BUILTIN = {type(True): bool, type(0): int64, type(0.0): float64, type(0j): complex128}
_CATEGORY = {d: d.category for d in ALL}
_HALVES = (bfloat16, float16)
_REAL = {complex64: float32, complex128: float64}

_default: dtype = float32


def get_default_dtype() -> dtype:
    """Return the floating-point type that new tensors get when none is named."""
    return _default


def set_default_dtype(d: dtype) -> None:
    """Set the floating-point type that new tensors get when none is named; the complex one follows it."""
    global _default
    if not isinstance(d, dtype) or not d.is_floating_point:
        raise TypeError(f"set_default_dtype: only floating-point types are supported as the default type, got {d!r}")
    _default = d


def default_complex_dtype() -> dtype:
    """Return the complex type that new tensors get: the one whose parts are of the default type."""
    return _default.to_complex()


def from_numpy_dtype(numpy_dtype: np.dtype) -> dtype:
    """Return the nbtorch type of a NumPy type; a TypeError names the types that exist."""
    try:
        return _FROM_NUMPY[numpy_dtype]
    except KeyError:
        native = _FROM_NUMPY.get(numpy_dtype.newbyteorder("=")) if numpy_dtype.kind in "iufbc" else None
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
    """Return `value` as a dtype; accepts a dtype or Python's `bool`, `int`, `float` and `complex`."""
    if isinstance(value, dtype):
        return value
    try:
        return _BUILTIN[value]
    except (KeyError, TypeError):
        raise TypeError(f"dtype must be an nbtorch.dtype, got {value!r}") from None


def promote_types(a: dtype, b: dtype) -> dtype:
    """Return the smallest type that both `a` and `b` promote to."""
    if a is b:
        return as_dtype(a)
    if a not in _CATEGORY or b not in _CATEGORY:
        return promote_types(as_dtype(a), as_dtype(b))
    if _CATEGORY[a] != _CATEGORY[b]:
        high, low = (a, b) if _CATEGORY[a] > _CATEGORY[b] else (b, a)
        if low in _LARGE_UNSIGNED and not high.is_floating_point:
            raise _no_promotion(a, b)
        if low is bool and high in _LARGE_UNSIGNED:
            raise _no_promotion(a, b)
        return complex128 if low is float64 else high
    if a in _HALVES and b in _HALVES:
        return float32
    if a in _LARGE_UNSIGNED or b in _LARGE_UNSIGNED:
        raise _no_promotion(a, b)
    if uint8 in (a, b):
        other = b if a is uint8 else a
        return int16 if other is int8 else other
    return a if a._rank > b._rank else b


def _no_promotion(a: dtype, b: dtype) -> RuntimeError:
    return RuntimeError(
        f"Promotion for uint16, uint32, uint64 types is not supported, attempted to promote {a.title} and {b.title}"
    )


def scalar_dtype(value: Any) -> dtype:
    """Return the type a Python or NumPy scalar takes part in promotion with (`np.bool_` as a float, as in PyTorch)."""
    if isinstance(value, type(True)):
        return bool
    if isinstance(value, (np.integer, type(0))):
        return int64
    return default_complex_dtype() if isinstance(value, (type(0j), np.complexfloating)) else _default


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
    if _CATEGORY[high] >= _CATEGORY[low]:
        return high
    if _CATEGORY[low] == 3 and _CATEGORY[high] == 2:
        return high.to_complex()  # only what is complex of the lower operand counts, not its precision
    return promote_types(high, low) if high is bool else low
