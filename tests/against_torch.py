"""Live comparison: the same program runs with nbtorch and with PyTorch, and must come to the same end.

A program is a function of the library. What it returns is described by values, types, shapes and whether gradients are
required; an error by its type; both with the warnings on the way.
"""

import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

import nbtorch

TOLERANCE = {
    "torch.bfloat16": 1.6e-2,
    "torch.float16": 2e-3,
    "torch.complex64": 2e-6,
    "torch.complex128": 1e-12,
    "torch.float32": 2e-6,
    "torch.float64": 1e-12,
}


def describe(value: Any) -> Any:
    """Turn a result into plain Python that compares equal across the two libraries."""
    if hasattr(value, "requires_grad") and hasattr(value, "dtype"):
        values = value.detach().cpu().tolist()
        return Described(str(value.dtype), tuple(value.shape), value.requires_grad, values)
    if isinstance(value, np.ndarray):
        return "array", str(value.dtype), value.tolist()
    if isinstance(value, Mapping):
        return {key: describe(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return [describe(item) for item in value]
    if type(value).__module__.split(".")[0] in ("torch", "nbtorch") and isinstance(value, tuple):
        fields = list(value) if type(value).__name__ == "Size" else [describe(item) for item in value]
        return type(value).__name__, fields
    if type(value).__module__.split(".")[0] in ("torch", "nbtorch"):
        return repr(value)
    return type(value).__name__, repr(value)


class Described:
    """A tensor as plain values; equal where type, shape and gradient flag agree and the values do within rounding."""

    def __init__(self, dtype: str, shape: tuple[int, ...], requires_grad: bool, values: Any) -> None:
        self.dtype, self.shape, self.requires_grad, self.values = dtype, shape, requires_grad, values

    def __repr__(self) -> str:
        return f"{self.dtype}{list(self.shape)}{' requires_grad' if self.requires_grad else ''} {self.values}"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Described):
            return False
        if (self.dtype, self.shape, self.requires_grad) != (other.dtype, other.shape, other.requires_grad):
            return False
        tolerance = TOLERANCE.get(self.dtype)
        if tolerance is None:
            return self.values == other.values
        kind = np.complex128 if "complex" in self.dtype else np.float64
        ours, theirs = np.asarray(self.values, kind), np.asarray(other.values, kind)
        if kind is np.complex128:
            return bool(np.allclose(ours, theirs, tolerance, tolerance, equal_nan=True))
        signs = math.prod(self.shape) == 0 or bool((np.signbit(ours) == np.signbit(theirs))[~np.isnan(ours)].all())
        return bool(np.allclose(ours, theirs, tolerance, tolerance, equal_nan=True)) and (
            signs or bool(np.allclose(ours, theirs, 0, tolerance, equal_nan=True))
        )

    __hash__ = None  # type: ignore[assignment]


def outcome(program: Callable[[Any], Any], library: Any) -> Any:
    """Return how a program ends: the description of its result or the type of its error, and the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            end = describe(program(library))
        except Exception as error:
            end = f"raises {type(error).__name__}"
            said = str(error)
        else:
            said = ""
    return end, sorted({w.category.__name__ for w in caught}), said


def assert_same(program: Callable[[Any], Any]) -> None:
    """Run a program with both libraries and compare the ends."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    theirs, ours = outcome(program, torch), outcome(program, nbtorch)
    assert ours[:2] == theirs[:2], f"\nnbtorch: {ours}\ntorch:   {theirs}"
