"""The CUDA runtime behind `nbtorch.cuda`: CuPy's on a GPU, nothing in the simulator."""

from __future__ import annotations

from typing import Any

from ..device import as_device, current_cuda_index, simulating, use_cuda
from ..device import device as Device


class _Runtime:
    """What is known of the runtime so far."""

    initialized = False


runtime = _Runtime()


def require() -> Any:
    """Return CuPy's `cuda.runtime` (None in the simulator). RuntimeError with the reason where there is no CUDA."""
    as_device("cuda")
    runtime.initialized = True
    if simulating():
        return None
    import cupy

    return cupy.cuda.runtime


def current_index() -> int:
    """Return the index of the current device."""
    return current_cuda_index()


def use(index: int) -> None:
    """Make a device the current one."""
    as_device(index)
    use_cuda(index)
    runtime.initialized = True


def index_of(value: Any, default: int | None = None) -> int:
    """Return the index that an index, a device, its name or None means: None, and no index, the current device's.

    Args:
        default: what None means instead.
    """
    if value is None:
        return current_index() if default is None else default
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    wanted = value if isinstance(value, Device) else Device(value)
    if wanted.type != "cuda":
        raise ValueError(f"Expected a cuda device, but got: {wanted}")
    return current_index() if wanted.index is None else wanted.index
