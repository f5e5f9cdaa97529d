"""A row of the table of cases: an operation, sample inputs, and what is to be checked with them."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

FLOATS = ("float32", "float64")
ALL_FLOATS = ("float16", *FLOATS)
NUMBERS = (*ALL_FLOATS, "uint8", "int8", "int32", "int64")
EVERYTHING = (*NUMBERS, "bool")


@dataclass(frozen=True)
class Input:
    """One input: its shape, and which values it may take."""

    shape: tuple[int, ...]
    kind: str = "normal"
    """normal, positive, unit (below 0.9), probability, distinct, index (int64 below high), mask, factor (constant),
    complex"""
    high: int = 0

    @property
    def differentiable(self) -> bool:
        return self.kind not in ("index", "mask", "factor")

    def values(self, generator: np.random.Generator, dtype: str) -> np.ndarray:
        if self.kind == "index":
            return generator.integers(0, self.high, self.shape)
        if self.kind == "mask":
            return np.asarray(generator.random(self.shape) < 0.5)
        if np.dtype(dtype).kind in "iub":
            low = 1 if self.kind == "positive" else 0 if np.dtype(dtype).kind in "ub" else -5
            return generator.integers(low, 2 if dtype == "bool" else 6, self.shape).astype(dtype)
        if self.kind == "complex":
            values = generator.standard_normal(self.shape) + 1j * generator.standard_normal(self.shape)
            return np.asarray(values).astype(np.result_type(dtype, np.complex64))
        if self.kind in ("positive", "factor"):
            values = generator.random(self.shape) * 2 + 0.5
        elif self.kind == "probability":
            values = generator.random(self.shape) * 0.9 + 0.05
        elif self.kind == "unit":
            values = generator.random(self.shape) * 1.8 - 0.9
        elif self.kind == "distinct":  # no two elements closer than finite differences can tell apart
            count = int(np.prod(self.shape))
            values = (generator.permutation(count).reshape(self.shape) - count / 2 + 0.3) / 4
        else:
            values = generator.standard_normal(self.shape)
        return np.asarray(values).astype(dtype)


@dataclass(frozen=True)
class Case:
    """One operation on given inputs."""

    name: str
    run: Callable[..., Any]
    inputs: tuple[Input, ...]
    reference: Callable[..., Any] | None = None  # the same in plain NumPy
    dtypes: tuple[str, ...] = FLOATS
    batched: bool = False  # whether the first dimension of the first input may have extent 0
    tolerance: float = 1.0  # by how much to widen the tolerance
    bfloat16: bool = True  # whether rounding to eight bits leaves something to compare
    gradients: bool = True
    second_gradients: bool = True
    kernel: bool = False  # whether a kernel of ours does the work
    gradcheck: dict[str, Any] = field(default_factory=dict)

    def arrays(self, dtype: str = "float64", empty: bool = False, draw: int = 0) -> list[np.ndarray]:
        """Return the inputs as arrays, the same for every call with the same number of the draw."""
        generator = np.random.default_rng([zlib.crc32(self.name.encode()), draw])
        inputs = list(self.inputs)
        if empty:
            inputs[0] = Input((0, *inputs[0].shape[1:]), inputs[0].kind, inputs[0].high)
        return [i.values(generator, dtype) for i in inputs]

    def __str__(self) -> str:
        return self.name


def of(*shape: int, kind: str = "normal", high: int = 0) -> Input:
    """Shorthand for an input."""
    return Input(shape, kind, high)
