"""PyTorch's switches for oneDNN; kept for programs that set them, kernels are ours."""

from __future__ import annotations

from contextlib import AbstractContextManager

from .switches import changed, install

enabled = False
deterministic = False


def is_available() -> bool:
    """Return False: kernels are ours."""
    return False


def flags(enabled: bool | None = False, deterministic: bool | None = False) -> AbstractContextManager[None]:
    """Set the switches inside a `with` block; None leaves one as it is."""
    return changed(__name__, {"enabled": enabled, "deterministic": deterministic})


install(__name__, {}, {"enabled": bool, "deterministic": bool})
