"""Program-wide wishes about how results are computed: the precision of matrix products, and determinism."""

from __future__ import annotations

import warnings
from typing import Any

from nbtorch.kernels import precision as kernel_precision

_PRECISIONS = {"highest": "ieee", "high": "tf32", "medium": "tf32"}
_DEBUG_MODES = {"default": 0, "warn": 1, "error": 2}


class _Wishes:
    """What was last wished for."""

    matmul = "highest"
    deterministic = False
    warn_only = False


def get_float32_matmul_precision() -> str:
    """Return how precise float32 matrix products are: "highest", "high" or "medium"."""
    if _PRECISIONS[_Wishes.matmul] != kernel_precision.matmul:  # set since through backends.cuda.matmul.allow_tf32
        return "high" if kernel_precision.matmul == "tf32" else "highest"
    return _Wishes.matmul


def set_float32_matmul_precision(precision: str) -> None:
    """Choose how precise float32 matrix products on CUDA are; on the CPU they are always float32.

    Args:
        precision: "highest" for float32, "high" or "medium" for TensorFloat-32 on tensor cores. Others warn and
            change nothing, as in PyTorch.

    >>> import nbtorch
    >>> nbtorch.set_float32_matmul_precision("high")
    >>> nbtorch.backends.cuda.matmul.allow_tf32
    True
    >>> nbtorch.set_float32_matmul_precision("highest")
    """
    if precision not in _PRECISIONS:
        warnings.warn(
            f"{precision} is not one of 'highest', 'high', or 'medium'; set_float32_matmul_precision has no effect",
            stacklevel=2,
        )
        return
    _Wishes.matmul = precision
    kernel_precision.set_matmul(_PRECISIONS[precision])


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Ask for the same bits in every run. Kernels here give them anyway, on every device; the wish is only kept."""
    if not isinstance(mode, bool):
        raise TypeError(f"use_deterministic_algorithms: mode must be bool, not {type(mode).__name__}")
    _Wishes.deterministic, _Wishes.warn_only = mode, warn_only


def are_deterministic_algorithms_enabled() -> bool:
    """Return whether `use_deterministic_algorithms(True)` was called."""
    return _Wishes.deterministic


def is_deterministic_algorithms_warn_only_enabled() -> bool:
    """Return whether that was with `warn_only=True`."""
    return _Wishes.warn_only


def set_deterministic_debug_mode(debug_mode: int | str) -> None:
    """Ask for determinism by a number or name: 0 "default", 1 "warn", 2 "error"."""
    if not isinstance(debug_mode, (int, str)):
        raise TypeError(f"debug_mode must be str or int, but got {type(debug_mode)}")
    mode: Any = debug_mode
    if isinstance(debug_mode, str):
        if debug_mode not in _DEBUG_MODES:
            raise RuntimeError(
                f"invalid value of debug_mode, expected one of `default`, `warn`, `error`, but got {debug_mode}"
            )
        mode = _DEBUG_MODES[debug_mode]
    if mode not in (0, 1, 2):
        raise RuntimeError(f"invalid value of debug_mode, expected 0, 1, or 2, but got {debug_mode}")
    use_deterministic_algorithms(mode > 0, warn_only=mode == 1)


def get_deterministic_debug_mode() -> int:
    """Return what `set_deterministic_debug_mode` was last given, as a number."""
    return (1 if _Wishes.warn_only else 2) if _Wishes.deterministic else 0
