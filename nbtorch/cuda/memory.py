"""The memory of CUDA devices: CuPy's pool, which gives out the arrays of all tensors there.

Where CUDA cannot be used, or in the simulator, whose arrays lie in the machine's own memory, every statistic is 0.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from ..device import is_cuda_usable, simulating
from .runtime import device as using
from .runtime import index_of, require


class OutOfMemoryError(RuntimeError):
    """A CUDA device has no room for a tensor."""


def _pool(device: Any) -> Any:
    """Return (CuPy's pool, the index of a device), or None where nothing lies on a device."""
    if simulating() or not is_cuda_usable():
        return None
    import cupy

    return cupy.get_default_memory_pool(), index_of(device)


def _statistic(device: Any, name: str) -> int:
    """Return a number of the pool of one device."""
    if (found := _pool(device)) is None:
        return 0
    pool, index = found
    with using(index):
        return getattr(pool, name)()


def _peak(device: Any, which: int) -> int:
    if (found := _pool(device)) is None:
        return 0
    from nbtorch.kernels.cuda import target

    return target.memory_peaks(found[1])[which]


def memory_allocated(device: Any = None) -> int:
    """Return the bytes that tensors on a device take."""
    return _statistic(device, "used_bytes")


def memory_reserved(device: Any = None) -> int:
    """Return the bytes that the pool holds, those of tensors and those that wait to be used again."""
    return _statistic(device, "total_bytes")


def max_memory_allocated(device: Any = None) -> int:
    """Return the most bytes that tensors took at once, since the start or `reset_peak_memory_stats`."""
    return _peak(device, 0)


def max_memory_reserved(device: Any = None) -> int:
    """Return the most bytes that the pool held at once, since the start or `reset_peak_memory_stats`."""
    return _peak(device, 1)


def reset_peak_memory_stats(device: Any = None) -> None:
    """Let the peaks begin at what is taken now."""
    require()
    if (found := _pool(device)) is not None:
        from nbtorch.kernels.cuda import target

        target.reset_memory_peaks(found[1])


reset_max_memory_allocated = reset_accumulated_memory_stats = reset_peak_memory_stats


def empty_cache() -> None:
    """Give the pool's unused memory back to the device, for other programs."""
    if (found := _pool(None)) is not None:
        import cupy

        found[0].free_all_blocks()
        cupy.get_default_pinned_memory_pool().free_all_blocks()


def mem_get_info(device: Any = None) -> tuple[int, int]:
    """Return (free, total) bytes of a device, all programs counted. (0, 0) in the simulator."""
    cuda, index = require(), index_of(device)
    if cuda is None:
        return 0, 0
    with using(index):
        free, total = cuda.memGetInfo()
    return free, total


def set_per_process_memory_fraction(fraction: float, device: Any = None) -> None:
    """Let the pool of a device hold at most a share of its memory, between 0 and 1."""
    if not isinstance(fraction, float):
        raise TypeError("Invalid type for fraction argument, must be `float`")
    if not 0 <= fraction <= 1:
        raise ValueError(f"Invalid fraction value: {fraction}. Allowed range: 0~1")
    if require() is not None:
        import cupy

        with using(index_of(device)):
            cupy.get_default_memory_pool().set_limit(fraction=fraction)


def memory_stats(device: Any = None) -> OrderedDict[str, int]:
    """Return the statistics of a device's pool under PyTorch's names; empty where CUDA cannot be used."""
    if not is_cuda_usable():
        return OrderedDict()
    found = {
        "allocated_bytes.all.current": memory_allocated(device),
        "allocated_bytes.all.peak": max_memory_allocated(device),
        "reserved_bytes.all.current": memory_reserved(device),
        "reserved_bytes.all.peak": max_memory_reserved(device),
    }
    return OrderedDict(sorted(found.items()))


def memory_summary(device: Any = None, abbreviated: bool = False) -> str:
    """Return the statistics of a device's pool as a table."""
    rows = [("", "current", "peak")]
    for name, now, peak in (
        ("allocated", memory_allocated(device), max_memory_allocated(device)),
        ("reserved", memory_reserved(device), max_memory_reserved(device)),
    ):
        rows.append((name, f"{now / 2**20:.1f} MiB", f"{peak / 2**20:.1f} MiB"))
    title = f"memory of cuda:{index_of(device)}"
    return "\n".join([title, *(f"{name:10} {now:>14} {peak:>14}" for name, now, peak in rows)])


def get_allocator_backend() -> str:
    """Return the name of the allocator: CuPy's memory pool."""
    return "cupy"
