"""The CUDA driver, as far as launching needs it: link PTX to machine code, load machine code, launch kernels.

The driver's C interface is called by ctypes, with what does not change from launch to launch kept ready: numba-cuda
looks at the type of each argument again at every launch, which costs more than most small kernels run for.
"""

import ctypes
import functools
import struct
import sys
import threading
from collections.abc import Sequence
from typing import Any

LINK_PTX = 1  # CU_JIT_INPUT_PTX
MAX_DYNAMIC_SHARED = 8  # CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES


class Driver:
    """The functions of `libcuda`.

    Args:
        library: what has the functions as attributes, by default the driver's shared library.
    """

    def __init__(self, library: Any = None) -> None:
        self._library = _library() if library is None else library
        self._check(self._library.cuInit(0))
        self.launch = _with_types(self._library.cuLaunchKernel)

    def load(self, code: bytes, name: str) -> ctypes.c_void_p:
        """Return a kernel of a cubin, which stays loaded; it can be launched on every device of its architecture."""
        library, kernel = ctypes.c_void_p(), ctypes.c_void_p()
        load = self._library.cuLibraryLoadData
        nothing = None, None, 0
        self._check(load(ctypes.byref(library), code, *nothing, *nothing))
        self._check(self._library.cuLibraryGetKernel(ctypes.byref(kernel), library, name.encode()))
        return kernel

    def allow_shared(self, kernel: ctypes.c_void_p, size: int, device: int) -> None:
        """Let a kernel take more than 48 KiB of dynamic shared memory on a device."""
        self._check(self._library.cuKernelSetAttribute(MAX_DYNAMIC_SHARED, size, kernel, device))

    def link(self, ptx: str) -> bytes:
        """Return the machine code that the driver makes of PTX for the current device."""
        state, code, size = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_size_t()
        source = ptx.encode() + b"\0"
        self._check(self._library.cuLinkCreate_v2(0, None, None, ctypes.byref(state)))
        try:
            add = self._library.cuLinkAddData_v2
            self._check(add(state, LINK_PTX, source, ctypes.c_size_t(len(source)), b"kernel", 0, None, None))
            self._check(self._library.cuLinkComplete(state, ctypes.byref(code), ctypes.byref(size)))
            return ctypes.string_at(code, size.value)  # the memory belongs to the linker
        finally:
            self._library.cuLinkDestroy(state)

    def _check(self, result: int) -> None:
        if result:
            raise RuntimeError(f"CUDA error: {self.describe(result)}")

    def describe(self, result: int) -> str:
        """Return the driver's words for an error."""
        text = ctypes.c_char_p()
        if self._library.cuGetErrorString(result, ctypes.byref(text)) or text.value is None:
            return f"unknown error {result}"
        return text.value.decode()


def _library() -> Any:
    if sys.platform == "win32":
        return ctypes.WinDLL("nvcuda.dll")
    return ctypes.CDLL("libcuda.so.1")


def _with_types(launch: Any) -> Any:
    """Declare the parameters of `cuLaunchKernel`, so that plain numbers can be passed."""
    number, pointer = ctypes.c_uint, ctypes.c_void_p
    launch.argtypes = [pointer, *[number] * 7, pointer, pointer, pointer]
    launch.restype = ctypes.c_int
    return launch


@functools.cache
def driver() -> Driver:
    """Return the driver of this machine. OSError where there is none."""
    return Driver()


class Arguments:
    """A kernel's arguments where the driver reads them, in the layout of C; filled anew for each launch.

    Args:
        layout: one letter of `struct` per argument: `P`, `i`, `q`, `f`, `d` …
    """

    def __init__(self, layout: Sequence[str]) -> None:
        self._packer = struct.Struct("@" + "".join(layout))
        self._buffer = ctypes.create_string_buffer(max(1, self._packer.size))
        start = ctypes.addressof(self._buffer)
        places = [start + offset for offset in offsets(layout)]
        self._pointers = (ctypes.c_void_p * max(1, len(places)))(*places)
        self.address = ctypes.addressof(self._pointers)
        self.lock = threading.Lock()  # to be held from filling to launching: the driver copies what it launches with

    def fill(self, values: Sequence[Any]) -> None:
        """Write the arguments. struct.error if one does not fit its type."""
        self._packer.pack_into(self._buffer, 0, *values)


def offsets(layout: Sequence[str]) -> list[int]:
    """Return where each argument begins: as in C, at a multiple of its size."""
    places, end = [], 0
    for letter in layout:
        size = struct.calcsize(letter)
        places.append(-(-end // size) * size)
        end = places[-1] + size
    return places
