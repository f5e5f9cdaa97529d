"""Forms of arguments that functions of several families take: extents, ranks, flags."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..ops.operands import require_tensor
from ..tensor import Tensor

Sizes = int | Sequence[int]
_INT = frozenset((int,))


def extents(operation: str, argument: str, value: Any, rank: int) -> tuple[int, ...]:
    """Return an int, or a sequence of one or `rank` ints, as `rank` ints."""
    if type(value) is tuple and len(value) == rank and _INT.issuperset(map(type, value)):
        return value  # what modules pass
    if type(value) is int:
        return (value,) * rank
    if isinstance(value, bool) or (not isinstance(value, (int, Sequence, Tensor)) and not hasattr(value, "__index__")):
        raise TypeError(f"{operation}(): argument '{argument}' must be an int or a tuple of {rank} ints, not {value!r}")
    if hasattr(value, "__index__") and not (isinstance(value, Tensor) and value.ndim):
        return (int(value),) * rank
    values = tuple(value)
    if any(isinstance(v, float) or not hasattr(v, "__index__") for v in values):
        raise TypeError(f"{operation}(): argument '{argument}' must be a tuple of ints, but found {values!r}")
    if len(values) == 1:
        values *= rank
    if len(values) != rank:
        raise RuntimeError(f"{operation}: {argument} must be an int or a tuple of {rank} ints, got {values}")
    return tuple(int(v) for v in values)


def require_rank(operation: str, input: Tensor, rank: int) -> bool:
    """Check that an input is (N, C, *) or (C, *) with `rank` spatial dimensions; return whether it has a batch."""
    require_tensor(operation, "input", input)
    dims = input._array.ndim
    if dims not in (rank + 1, rank + 2):
        raise RuntimeError(
            f"Expected {rank + 1}D (unbatched) or {rank + 2}D (batched) input to {operation}, but got input of size:"
            f" {list(input.shape)}"
        )
    return dims == rank + 2


def require_bool(operation: str, argument: str, value: Any) -> None:
    """Refuse a flag that is no bool."""
    if not isinstance(value, bool):
        raise TypeError(f"{operation}(): argument '{argument}' must be bool, not {type(value).__name__}")
