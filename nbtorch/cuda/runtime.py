"""The CUDA runtime behind `nbtorch.cuda`: CuPy's on a GPU, nothing in the simulator."""

from __future__ import annotations

from types import TracebackType
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
        return current_cuda_index() if default is None else default
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    wanted = value if isinstance(value, Device) else Device(value)
    if wanted.type != "cuda":
        raise ValueError(f"Expected a cuda device, but got: {wanted}")
    return current_cuda_index() if wanted.index is None else wanted.index


class device:
    """Make a device the current one inside a `with` block.

    Args:
        device: an index, a device or its name; negative or None does nothing.
    """

    def __init__(self, device: Any) -> None:
        self.idx = index_of(device, default=-1)
        self.prev_idx = -1

    def __enter__(self) -> None:
        if self.idx >= 0:
            require()
            self.prev_idx = current_cuda_index()
            use(self.idx)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.idx >= 0:
            use(self.prev_idx)
