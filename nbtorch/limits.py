"""What the types of numbers can hold: `finfo` and `iinfo`."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from . import dtypes


class finfo:
    """The limits of a floating-point type; of a complex one, those of its parts.

    Args:
        type: the type, by default the default one.

    Attributes: `bits`, `eps` (the distance from 1 to the next number), `max`, `min`, `tiny` and `smallest_normal`
    (the smallest positive number of full precision), `resolution` (in decimal), `dtype` (its name).

    Raises:
        TypeError: the type is no floating-point type.

    >>> import nbtorch
    >>> nbtorch.finfo(nbtorch.bfloat16).eps
    0.0078125
    """

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, type: Any = None) -> None:
        chosen = dtypes.get_default_dtype() if type is None else dtypes.as_dtype(type)
        if chosen.category < 2:
            raise TypeError(
                f"finfo: torch.finfo() requires a floating point input type, got {chosen}. Use torch.iinfo to handle"
                " integers"
            )
        part = chosen.to_real()
        limits: Any = ml_dtypes.finfo(part.numpy) if part is dtypes.bfloat16 else np.finfo(part.numpy)
        self.dtype = part.name
        self.bits = part.itemsize * 8
        self.eps, self.max, self.min = float(limits.eps), float(limits.max), float(limits.min)
        self.tiny = self.smallest_normal = float(limits.smallest_normal)
        self.resolution = 0.01 if part is dtypes.bfloat16 else float(str(limits.resolution))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, finfo) and self.dtype == other.dtype

    def __repr__(self) -> str:
        shown = ("resolution", "min", "max", "eps", "smallest_normal", "tiny")
        return f"finfo({', '.join(f'{name}={getattr(self, name):g}' for name in shown)}, dtype={self.dtype})"


class iinfo:
    """The limits of an integer type: `bits`, `max`, `min`, `dtype` (its name).

    Args:
        type: the type.

    Raises:
        TypeError: the type is no integer type.

    >>> import nbtorch
    >>> nbtorch.iinfo(nbtorch.int8).max
    127
    """

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, type: Any) -> None:
        chosen = dtypes.as_dtype(type)
        if chosen is dtypes.bool:
            raise TypeError("torch.bool is not supported by torch.iinfo")
        if chosen.category > 1:
            raise TypeError(
                f"iinfo: torch.iinfo() requires an integer input type, got {chosen}. Use torch.finfo to handle"
                " floating point"
            )
        limits = np.iinfo(chosen.numpy)
        self.dtype, self.bits = chosen.name, chosen.itemsize * 8
        self.max, self.min = int(limits.max), int(limits.min)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, iinfo) and self.dtype == other.dtype

    def __repr__(self) -> str:
        return f"iinfo(min={self.min:g}, max={self.max:g}, dtype={self.dtype})"
