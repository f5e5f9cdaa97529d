"""The processor as a device, with PyTorch's functions, and the memory that tensors on it take.

Large arrays (64 KiB and more) come from a pool, which uses memory again instead of returning it to the system. The
functions on it have the names of those on the CUDA allocator in PyTorch. Smaller arrays are not counted.

>>> import nbtorch
>>> x = nbtorch.zeros(1000, 1000)
>>> nbtorch.cpu.memory_allocated() >= x.nbytes
True
>>> del x
>>> nbtorch.cpu.empty_cache()
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from typing import Any

from .device import pool


class Stream:
    """Accepted for PyTorch's interface: what runs on the processor has no order but that of the program."""

    def __init__(self, priority: int = -1) -> None:
        self.priority = priority

    def wait_stream(self, stream: Any) -> None:
        """Do nothing: there is nothing to wait for."""

    def record_event(self) -> None:
        """Do nothing."""

    def wait_event(self, event: Any) -> None:
        """Do nothing."""


class Event:
    """Accepted for PyTorch's interface: work on the processor is done when the call returns."""

    def query(self) -> bool:
        """Return True."""
        return True

    def record(self, stream: Any = None) -> None:
        """Do nothing."""

    def synchronize(self) -> None:
        """Do nothing."""

    def wait(self, stream: Any = None) -> None:
        """Do nothing."""


_stream = Stream()


def is_available() -> bool:
    """Return True."""
    return True


def is_initialized() -> bool:
    """Return True."""
    return True


def device_count() -> int:
    """Return 1: all cores are one device."""
    return 1


def current_device() -> str:
    """Return `"cpu"`."""
    return "cpu"


def set_device(device: Any) -> None:
    """Do nothing: there is one."""


def synchronize(device: Any = None) -> None:
    """Do nothing: calls return when their work is done."""


def current_stream(device: Any = None) -> Stream:
    """Return the one stream."""
    return _stream


def stream(stream: Stream | None) -> contextlib.AbstractContextManager[None]:
    """Return a context that changes nothing."""
    return contextlib.nullcontext()


def memory_allocated(device: Any = None) -> int:
    """Return the bytes of the pool that tensors and arrays hold."""
    return pool.in_use()


def memory_reserved(device: Any = None) -> int:
    """Return the bytes of the pool, those in use and those that wait to be used again."""
    return pool.reserved


def max_memory_allocated(device: Any = None) -> int:
    """Return the most bytes in use since the start or `reset_peak_memory_stats`, as seen whenever the pool grew."""
    pool.in_use()
    return pool.peak_in_use


def max_memory_reserved(device: Any = None) -> int:
    """Return the most bytes that the pool held since the start or `reset_peak_memory_stats`."""
    return pool.peak_reserved


def reset_peak_memory_stats(device: Any = None) -> None:
    """Let the peaks begin at what is taken now."""
    pool.reset_peaks()


def empty_cache() -> None:
    """Return the pool's unused memory to the system."""
    pool.release_idle()


def memory_stats(device: Any = None) -> OrderedDict[str, int]:
    """Return the statistics of the pool under the names that PyTorch uses for its CUDA allocator.

    `allocation.all.allocated` counts the arrays asked for, `segment.all.allocated` those that came from the system.
    """
    found = {
        "allocated_bytes.all.current": memory_allocated(),
        "allocated_bytes.all.peak": max_memory_allocated(),
        "allocation.all.allocated": pool.requests,
        "reserved_bytes.all.current": memory_reserved(),
        "reserved_bytes.all.peak": max_memory_reserved(),
        "segment.all.allocated": pool.made,
        "segment.all.current": pool.made - pool.dropped,
        "segment.all.freed": pool.dropped,
    }
    return OrderedDict(sorted(found.items()))


def memory_summary(device: Any = None, abbreviated: bool = False) -> str:
    """Return the statistics as a table to print."""
    stats = memory_stats()
    lines = ["| memory of the processor's pool |    current |       peak |", "|---|---|---|"]
    for title, key in (("in use", "allocated_bytes"), ("reserved", "reserved_bytes")):
        current, peak = (stats[f"{key}.all.{which}"] / (1 << 20) for which in ("current", "peak"))
        lines.append(f"| {title:30} | {current:6.1f} MiB | {peak:6.1f} MiB |")
    if not abbreviated:
        asked, made = stats["allocation.all.allocated"], stats["segment.all.allocated"]
        lines.append(f"{asked} arrays were asked for, {made} of them from the system.")
    return "\n".join(lines)
