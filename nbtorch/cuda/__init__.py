"""CUDA devices: which there are, which is current, their streams, events, memory and random numbers.

The names and meanings are those of `torch.cuda`. Without a GPU everything that only asks answers (`is_available()` is
False, `device_count()` is 0, memory statistics are 0), and what needs a device raises RuntimeError with the reason. In
Numba's simulator (`NUMBA_ENABLE_CUDASIM=1`) there is one device, on which all work is done at once.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..device import as_device, current_cuda_index, is_cuda_usable, simulating
from ..tensor import Tensor
from .memory import (
    OutOfMemoryError,
    empty_cache,
    get_allocator_backend,
    max_memory_allocated,
    max_memory_reserved,
    mem_get_info,
    memory_allocated,
    memory_reserved,
    memory_stats,
    memory_summary,
    reset_accumulated_memory_stats,
    reset_max_memory_allocated,
    reset_peak_memory_stats,
    set_per_process_memory_fraction,
)
from .random import (
    get_rng_state,
    get_rng_state_all,
    initial_seed,
    manual_seed,
    manual_seed_all,
    seed,
    seed_all,
    set_rng_state,
    set_rng_state_all,
)
from .runtime import device, index_of, require, runtime, use
from .streams import (
    Event,
    ExternalStream,
    Stream,
    StreamContext,
    current_stream,
    default_stream,
    set_stream,
    stream,
    synchronize,
)

__all__ = [
    "Event",
    "ExternalStream",
    "OutOfMemoryError",
    "Stream",
    "StreamContext",
    "can_device_access_peer",
    "current_device",
    "current_stream",
    "default_stream",
    "device",
    "device_count",
    "device_of",
    "empty_cache",
    "get_allocator_backend",
    "get_arch_list",
    "get_device_capability",
    "get_device_name",
    "get_device_properties",
    "get_rng_state",
    "get_rng_state_all",
    "init",
    "initial_seed",
    "ipc_collect",
    "is_available",
    "is_bf16_supported",
    "is_initialized",
    "is_tf32_supported",
    "manual_seed",
    "manual_seed_all",
    "max_memory_allocated",
    "max_memory_reserved",
    "mem_get_info",
    "memory_allocated",
    "memory_reserved",
    "memory_stats",
    "memory_summary",
    "reset_accumulated_memory_stats",
    "reset_max_memory_allocated",
    "reset_peak_memory_stats",
    "seed",
    "seed_all",
    "set_device",
    "set_per_process_memory_fraction",
    "set_rng_state",
    "set_rng_state_all",
    "set_stream",
    "stream",
    "synchronize",
]


def is_available() -> bool:
    """Return whether CUDA can be used: a GPU with driver, numba-cuda and CuPy, or the simulator.

    >>> import nbtorch
    >>> nbtorch.cuda.is_available() == (nbtorch.cuda.device_count() > 0)
    True
    """
    return is_cuda_usable()


def is_initialized() -> bool:
    """Return whether a tensor or a question has touched a CUDA device yet."""
    return runtime.initialized


def init() -> None:
    """Start CUDA now instead of at its first use. RuntimeError where it cannot be used."""
    require()


def device_count() -> int:
    """Return the number of CUDA devices; 0 where CUDA cannot be used."""
    if not is_available():
        return 0
    return 1 if simulating() else require().getDeviceCount()


def current_device() -> int:
    """Return the index of the device that `"cuda"` without an index means."""
    require()
    return current_cuda_index()


def set_device(device: Any) -> None:
    """Make a device the current one; a negative index does nothing. `with nbtorch.cuda.device(...)` is often better."""
    index = index_of(device)
    if index >= 0:
        use(index)


class device_of(device):
    """Make the device of a tensor the current one inside a `with` block; a CPU tensor changes nothing."""

    def __init__(self, obj: Tensor) -> None:
        super().__init__(obj.get_device() if obj.is_cuda else -1)


class DeviceProperties(NamedTuple):
    """What a CUDA device is: the fields of `torch.cuda.get_device_properties`."""

    name: str
    major: int
    minor: int
    total_memory: int
    multi_processor_count: int
    max_threads_per_multi_processor: int
    warp_size: int
    regs_per_multiprocessor: int
    shared_memory_per_block: int
    shared_memory_per_block_optin: int
    shared_memory_per_multiprocessor: int
    L2_cache_size: int
    clock_rate: int
    memory_clock_rate: int
    memory_bus_width: int
    is_integrated: int
    is_multi_gpu_board: int


SIMULATED = DeviceProperties("Numba CUDA simulator", 8, 0, 0, 1, 1024, 32, 0, 49152, 49152, 49152, 0, 0, 0, 0, 0, 0)
"""The simulator's device; its memory is the machine's, so that it has no size of its own."""


def get_device_properties(device: Any = None) -> DeviceProperties:
    """Return name, compute capability, memory and other properties of a device."""
    cuda, index = require(), index_of(device)
    as_device(index)
    if simulating():
        return SIMULATED
    found = cuda.getDeviceProperties(index)
    return DeviceProperties(
        found["name"].decode(),
        found["major"],
        found["minor"],
        found["totalGlobalMem"],
        found["multiProcessorCount"],
        found["maxThreadsPerMultiProcessor"],
        found["warpSize"],
        found["regsPerMultiprocessor"],
        found["sharedMemPerBlock"],
        found["sharedMemPerBlockOptin"],
        found["sharedMemPerMultiprocessor"],
        found["l2CacheSize"],
        found.get("clockRate", 0),
        found.get("memoryClockRate", 0),
        found["memoryBusWidth"],
        found["integrated"],
        found["isMultiGpuBoard"],
    )


def get_device_name(device: Any = None) -> str:
    """Return the name of a device, such as "NVIDIA H100 80GB HBM3"."""
    return get_device_properties(device).name


def get_device_capability(device: Any = None) -> tuple[int, int]:
    """Return the compute capability of a device, such as (9, 0)."""
    properties = get_device_properties(device)
    return properties.major, properties.minor


def get_arch_list() -> list[str]:
    """Return the architectures that the kernels are tested for; empty where CUDA cannot be used.

    Kernels are compiled where they run, so that newer architectures work too.
    """
    return ["sm_75", "sm_80", "sm_90"] if is_available() else []


def can_device_access_peer(device: Any, peer_device: Any) -> bool:
    """Return whether one device reads another's memory directly."""
    cuda, first, second = require(), index_of(device), index_of(peer_device)
    for index in (first, second):
        as_device(index)
    return False if simulating() else bool(cuda.deviceCanAccessPeer(first, second))


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """Return whether bfloat16 works on the current device; kernels compute it in float32, so every device has it."""
    return is_available() and (including_emulation or get_device_capability() >= (8, 0))


def is_tf32_supported() -> bool:
    """Return whether the current device multiplies TensorFloat-32 on tensor cores."""
    return is_available() and get_device_capability() >= (8, 0)


def ipc_collect() -> None:
    """Do nothing: no memory is shared between processes."""
    require()
