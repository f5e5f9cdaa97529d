"""Devices: where a tensor's memory lies, which array module and which kernels work on it.

The environment variable `NBTORCH_DEVICE` (`cpu` or `cuda`) names the device of new tensors and modules; `device=`
arguments, `.to()`, `.cpu()` and `.cuda()` override it. With `NUMBA_ENABLE_CUDASIM=1` the device `cuda` is Numba's
simulator and its arrays are NumPy arrays.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import sys
import threading
from types import ModuleType
from typing import Any

import numpy as np

TYPES = ("cpu", "cuda")


class device:
    """A device: `device("cpu")`, `device("cuda")`, `device("cuda", 0)`, `device("cuda:0")`."""

    __slots__ = ("index", "type")
    index: int | None
    type: str

    def __init__(self, type: str | device, index: int | None = None) -> None:
        if isinstance(type, device):
            index = type.index
            type = type.type
        if not isinstance(type, str):
            raise TypeError(f"device: type must be a string such as 'cpu' or 'cuda:0', got {type!r}")
        name, colon, number = type.partition(":")
        if colon:
            if index is not None:
                raise RuntimeError(f"device: type must not include an index when index is given, got {type!r}")
            if not number.isdigit():
                raise RuntimeError(f"Invalid device string: '{type}'")
            index = int(number)
        if name not in TYPES:
            raise RuntimeError(f"device: expected one of {', '.join(TYPES)}, got {type!r}")
        self.type = name
        self.index = index

    def __repr__(self) -> str:
        return f"device(type={self.type!r}" + (")" if self.index is None else f", index={self.index})")

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, device) and self.type == other.type and self.index == other.index

    def __hash__(self) -> int:
        return hash((self.type, self.index))


CPU = device("cpu")
_devices = {"cpu": CPU}


def as_device(value: Any) -> device:
    """Return `value` (None for the default, a device, a string or an index) as a device that is usable here."""
    if value is None:
        return _default or default_device()
    if isinstance(value, int) and not isinstance(value, bool):
        value = device("cuda", value)
    wanted = value if isinstance(value, device) else device(value)
    if wanted.type == "cpu":
        return CPU
    return _usable_cuda(wanted)


def _usable_cuda(wanted: device) -> device:
    """Return `cuda:INDEX` after a check, made once, that there is a GPU or the simulator."""
    index = current_cuda_index() if wanted.index is None else wanted.index
    key = f"cuda:{index}"
    if key not in _devices:
        from nbtorch.kernels.cuda import target

        reason = target.why_unavailable()
        if reason:
            raise RuntimeError(f"device 'cuda' cannot be used: {reason}")
        count = 1 if target.is_simulator() else array_module(wanted).cuda.runtime.getDeviceCount()
        if index >= count:
            raise RuntimeError(f"device '{key}' does not exist: the number of CUDA devices is {count}")
        target.watch_memory()
        _devices[key] = device("cuda", index)
    return _devices[key]


@functools.cache
def is_cuda_usable() -> bool:
    """Whether there is a GPU that kernels can run on, or the simulator."""
    if simulating():
        return True
    if importlib.util.find_spec("numba_cuda") is None:  # spares a program that only asks the import of numba.cuda
        return False
    from nbtorch.kernels.cuda import target

    return target.is_available()


def current_cuda_index() -> int:
    """Return the index of the CUDA device that this thread uses where none is named."""
    if simulating() or not is_cuda_usable():
        return 0
    import cupy

    return cupy.cuda.runtime.getDevice()


def use_cuda(index: int) -> None:
    """Let this thread use another CUDA device where none is named."""
    if not simulating():
        import cupy

        cupy.cuda.runtime.setDevice(index)


def default_device() -> device:
    """Return the device of new tensors: that of `set_default_device`, else `NBTORCH_DEVICE`, else the CPU."""
    global _default
    if _default is None:
        name = os.environ.get("NBTORCH_DEVICE", "").strip() or "cpu"
        if name.partition(":")[0] not in TYPES:
            raise RuntimeError(f"NBTORCH_DEVICE must be one of {', '.join(TYPES)}, got {name!r}")
        _default = as_device(device(name))
    return _default


def set_default_device(value: Any) -> None:
    """Set the device of new tensors; None returns to `NBTORCH_DEVICE`."""
    global _default
    _default = None if value is None else as_device(value)


_default: device | None = None


def simulating() -> bool:
    """Whether the device `cuda` is Numba's simulator."""
    return os.environ.get("NUMBA_ENABLE_CUDASIM", "0") not in ("", "0")


def array_module(where: device) -> Any:
    """Return the module that makes and combines arrays on a device: NumPy, or CuPy on a GPU."""
    if where is CPU or simulating():
        return np
    import cupy

    return cupy


def is_array(value: Any) -> bool:
    """Whether `value` is an array of one of the array modules."""
    if isinstance(value, np.ndarray):
        return True
    cupy = sys.modules.get("cupy")
    return cupy is not None and isinstance(value, cupy.ndarray)


_families: dict[tuple[str, str], ModuleType] = {}


def kernels_for(where: device, family: str) -> Any:
    """Return the module of kernels of a family (`"conv"`, `"pool"`, …) for a device, imported at its first use."""
    key = (where.type, family)
    module = _families.get(key)
    if module is None:
        module = _families[key] = importlib.import_module(f"nbtorch.kernels.{where.type}.{family}")
    return module


def _references_of_an_idle_owner() -> int:
    """Count the references that `BufferPool._take` sees on an idle array; the number varies with the interpreter."""
    owners = [np.empty(1)]
    for owner in owners:
        count = sys.getrefcount(owner)
    return count


_empty, _zeros = np.empty, np.zeros


class BufferPool:
    """Memory for large CPU arrays, used again instead of being returned to the system.

    Fresh pages cost more than most arithmetic on them. The pool keeps the arrays it handed out; one to which only the
    pool refers is free, because every view of an array holds a reference to it. Before the pool grows beyond `limit`
    bytes it lets go of what lies idle, so that no more than that, or than was in use at once, ever does.
    """

    smallest = 1 << 16  # bytes; below this malloc serves from memory that is already mapped

    def __init__(self, limit: int = 1 << 30) -> None:
        self.limit = limit
        self.reserved = self.peak_reserved = self.peak_in_use = 0
        self.requests = self.made = self.dropped = 0  # arrays asked for, taken from the system, returned to it
        self._idle = _references_of_an_idle_owner()
        self._owners: dict[int, list[np.ndarray]] = {}
        self._lock = threading.Lock()

    def empty(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """Return an uninitialised C-contiguous array."""
        size = dtype.itemsize
        for extent in shape:
            size *= extent
        if size < self.smallest:
            return _empty(shape, dtype)
        owner = self._take(1 << (size - 1).bit_length() if size < 1 << 20 else -(-size >> 20) << 20)
        return owner[:size].view(dtype).reshape(shape)

    def zeros(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """Return a C-contiguous array of zeros."""
        size = dtype.itemsize
        for extent in shape:
            size *= extent
        if size < self.smallest:
            return _zeros(shape, dtype)
        array = self.empty(shape, dtype)
        array.fill(0)
        return array

    def _take(self, capacity: int) -> np.ndarray:
        with self._lock:  # or two threads would both find the same array idle
            self.requests += 1
            for owner in self._owners.get(capacity, ()):
                if sys.getrefcount(owner) == self._idle:
                    return owner
            self.peak_in_use = max(self.peak_in_use, self._in_use() + capacity)
            if self.reserved + capacity > self.limit:
                self._release_idle()
            owner = np.empty(capacity, np.uint8)
            self._owners.setdefault(capacity, []).append(owner)
            self.made += 1
            self.reserved += capacity
            self.peak_reserved = max(self.peak_reserved, self.reserved)
            return owner

    def _in_use(self) -> int:
        total = 0
        for capacity, owners in self._owners.items():
            for owner in owners:
                total += capacity * (sys.getrefcount(owner) > self._idle)
        return total

    def _release_idle(self) -> None:
        for capacity, owners in list(self._owners.items()):
            kept = [owner for owner in owners if sys.getrefcount(owner) > self._idle]
            self.dropped += len(owners) - len(kept)
            self.reserved -= capacity * (len(owners) - len(kept))
            self._owners[capacity] = kept

    def in_use(self) -> int:
        """Return how many bytes belong to arrays that somebody holds."""
        with self._lock:
            found = self._in_use()
            self.peak_in_use = max(self.peak_in_use, found)
            return found

    def release_idle(self) -> None:
        """Return to the system what nobody holds."""
        with self._lock:
            self._release_idle()

    def reset_peaks(self) -> None:
        """Let the peaks begin at what is taken now."""
        with self._lock:
            self.peak_in_use, self.peak_reserved = self._in_use(), self.reserved


pool = BufferPool()
_pooled = pool.empty


def allocate(shape: tuple[int, ...], dtype: np.dtype, where: device) -> Any:
    """Return an uninitialised C-contiguous array on a device."""
    if where is CPU:
        return _pooled(shape, dtype)
    return array_module(where).empty(shape, dtype)


def contiguous(array: Any, where: device) -> Any:
    """Return an array laid out in C order; itself where it is."""
    if array.flags.c_contiguous:
        return array
    result = allocate(array.shape, array.dtype, where)
    result[...] = array
    return result
