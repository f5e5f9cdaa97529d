"""Memory shared with other libraries: NumPy's protocols, DLPack, CUDA's array interface.

DLPack (https://dmlc.github.io/dlpack) is left to NumPy on the CPU and to CuPy on a GPU. bfloat16, which NumPy does not
exchange, travels as int16 under another type code.
"""

from __future__ import annotations

import ctypes
import enum
from typing import Any

import numpy as np

from . import dtypes
from .device import CPU, array_module, as_device
from .tensor import Tensor, method


class DLDeviceType(enum.IntEnum):
    """DLPack's numbers of the kinds of devices."""

    kDLCPU = 1
    kDLCUDA = 2
    kDLCUDAHost = 3
    kDLOpenCL = 4
    kDLVulkan = 7
    kDLMetal = 8
    kDLVPI = 9
    kDLROCM = 10
    kDLROCMHost = 11
    kDLExtDev = 12
    kDLCUDAManaged = 13
    kDLOneAPI = 14
    kDLWebGPU = 15
    kDLHexagon = 16
    kDLMAIA = 17


_CODE_OF_INTEGERS, _CODE_OF_BFLOAT = 0, 4
_TYPE_CODE = {"dltensor": 20, "dltensor_versioned": 52}  # where a capsule's struct holds the code of the element type
_READ_ONLY = 24  # where the versioned struct holds its flags, the lowest of which forbids writing

_capsule_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_capsule_pointer.restype, _capsule_pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
_capsule_name = ctypes.pythonapi.PyCapsule_GetName
_capsule_name.restype, _capsule_name.argtypes = ctypes.c_char_p, [ctypes.py_object]


def _is_capsule(value: Any) -> bool:
    return type(value).__name__ == "PyCapsule"


@method
def __array__(self: Tensor, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
    array = self.numpy()
    if copy or (dtype is not None and array.dtype != dtype):
        if copy is False:
            raise ValueError(f"Unable to avoid copy while creating an array of {dtype} from a tensor of {self.dtype}")
        return np.array(array, dtype, copy=True)
    return array


@method
def __array_wrap__(self: Tensor, array: Any, context: Any = None, return_scalar: bool = False) -> Tensor:
    """Make a tensor of what a NumPy function computed from one; booleans become uint8, as in PyTorch."""
    values = np.asarray(array)
    return Tensor._wrap(values.astype(np.uint8) if values.dtype.kind == "b" else values)


@property  # type: ignore[misc]
def _cuda_array_interface(self: Tensor) -> dict[str, Any]:
    """The memory of a tensor on a CUDA device, for other libraries."""
    if self._device is CPU:
        raise AttributeError(
            f"Can't get __cuda_array_interface__ on non-CUDA tensor type: {self.type()}. If CUDA data is required use"
            " tensor.cuda() to copy tensor to device memory."
        )
    if self.requires_grad:
        raise RuntimeError(
            "Can't get __cuda_array_interface__ on Variable that requires grad. If gradients aren't required, use"
            " var.detach() to get Variable that doesn't require grad."
        )
    array = self._array
    return {
        "typestr": array.dtype.str,
        "shape": tuple(array.shape),
        "strides": None if array.flags.c_contiguous else tuple(array.strides),
        "data": (self.data_ptr() if array.size else 0, False),
        "version": 2,
    }


method(_cuda_array_interface, name="__cuda_array_interface__")


@method
def __dlpack_device__(self: Tensor) -> tuple[DLDeviceType, int]:
    """Return DLPack's kind and number of the device."""
    kind, number = self._array.__dlpack_device__()
    return DLDeviceType(kind), number


@method
def __dlpack__(
    self: Tensor,
    *,
    stream: Any = -1,
    max_version: tuple[int, int] | None = None,
    dl_device: tuple[int, int] | None = None,
    copy: bool | None = None,
) -> Any:
    """Return a DLPack capsule on the tensor's memory.

    Args:
        stream: the consumer's CUDA stream; None on the CPU.
        max_version: the latest version of DLPack that the consumer knows.
        dl_device: the device that the consumer wants the memory on.
        copy: True always copies, False never does; by default memory is shared where it can be.

    Raises:
        BufferError: the tensor requires a gradient.
    """
    if self.requires_grad:
        raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
    if stream is not None and type(stream) is not int:
        raise TypeError(f"__dlpack__: stream must be ``int`` or ``none``, got {type(stream).__name__}")
    array = self._array
    if isinstance(array, np.ndarray):
        if stream not in (None, -1):
            raise AssertionError(f"__dlpack__: stream should be None on cpu, got {stream}")
        options: dict[str, Any] = {"stream": None}
    else:
        options = {"stream": None if stream == -1 else stream}
    options |= {"max_version": max_version, "dl_device": dl_device, "copy": copy}
    if self.dtype.name != "bfloat16":
        return array.__dlpack__(**options)
    capsule = array.view(np.int16).__dlpack__(**options)
    _recode(capsule, _CODE_OF_INTEGERS, _CODE_OF_BFLOAT)
    return capsule


def _recode(capsule: Any, old: int, new: int) -> bool:
    """Change the code of a capsule's element type from one to another; tell whether it was that one."""
    name = _capsule_name(capsule)
    place = _TYPE_CODE.get((name or b"").decode())
    if place is None:
        raise RuntimeError(
            "from_dlpack received an invalid capsule. Note that DLTensor capsules can be consumed only once, so you"
            " might have already constructed a tensor from it once."
        )
    code = ctypes.c_uint8.from_address(_capsule_pointer(capsule, name) + place)
    if code.value != old:
        return False
    code.value = new
    return True


def to_dlpack(tensor: Tensor) -> Any:
    """Return a DLPack capsule on a tensor's memory; a tensor offers the same as `tensor.__dlpack__()`."""
    return tensor.__dlpack__()


class _Exporter:
    """A capsule as NumPy and CuPy want it: with an object around."""

    def __init__(self, capsule: Any, device: tuple[int, int]) -> None:
        self._capsule, self._device = capsule, device

    def __dlpack__(self, **options: Any) -> Any:
        return self._capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._device


class _Writable:
    """The memory of an array that NumPy takes for read-only."""

    def __init__(self, array: np.ndarray) -> None:
        self._owner = array
        address = array.__array_interface__["data"][0]
        self.__array_interface__ = {**array.__array_interface__, "data": (address, False)}


def from_dlpack(ext_tensor: Any, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """Return a tensor on the memory of another library's array.

    Args:
        ext_tensor: an object with `__dlpack__`, or a capsule on memory of the CPU, which can be used once.
        device: where to put it; by default where the memory lies.
        copy: True always copies, False never does; by default memory is shared where it can be.

    Raises:
        RuntimeError: the argument is neither.
        BufferError: the other library refuses to give its memory.

    >>> import numpy, nbtorch
    >>> array = numpy.zeros(2)
    >>> nbtorch.from_dlpack(array)[0] = 5
    >>> array.tolist()
    [5.0, 0.0]
    """
    tensor = Tensor._wrap(*_imported(ext_tensor))
    where = tensor._device if device is None else as_device(device)
    if where != tensor._device:
        if copy is False:
            raise ValueError(f"from_dlpack: can't move memory from '{tensor._device}' to '{where}' with copy=False")
        return tensor.to(where)
    return tensor.clone() if copy else tensor


def _imported(source: Any) -> tuple[Any, Any]:
    """Return an array on a foreign object's memory, and its device."""
    if isinstance(source, np.ndarray):
        source.__dlpack__(max_version=(1, 0))  # refuses what DLPack cannot express
        dtypes.from_numpy_dtype(source.dtype)
        return source, CPU
    kind, number = (DLDeviceType.kDLCPU, 0) if _is_capsule(source) else _device_of(source)
    where = as_device(f"cuda:{number}") if kind in (DLDeviceType.kDLCUDA, DLDeviceType.kDLCUDAManaged) else CPU
    capsule = source if _is_capsule(source) else _exported(source, where)
    name = _capsule_name(capsule)
    is_bfloat16 = _recode(capsule, _CODE_OF_BFLOAT, _CODE_OF_INTEGERS)
    forbidden = name == b"dltensor_versioned" and bool(
        ctypes.c_uint64.from_address(_capsule_pointer(capsule, name) + _READ_ONLY).value & 1
    )
    array = array_module(where).from_dlpack(_Exporter(capsule, (int(kind), number)))
    if isinstance(array, np.ndarray) and not array.flags.writeable and not forbidden:
        array = np.asarray(_Writable(array))  # NumPy forbids writing to memory of the first version, which has no flags
    if is_bfloat16:
        array = array.view(next(d.numpy for d in dtypes.ALL if d.name == "bfloat16"))
    dtypes.from_numpy_dtype(array.dtype)
    return array, where


def _device_of(source: Any) -> tuple[int, int]:
    if not hasattr(source, "__dlpack__"):
        raise RuntimeError(
            f"from_dlpack received an invalid capsule: expected an object with __dlpack__, got {type(source).__name__}"
        )
    return source.__dlpack_device__()


def _exported(source: Any, where: Any) -> Any:
    """Ask an object for a capsule, of a version with flags if it knows that."""
    options: dict[str, Any] = {} if where is CPU else {"stream": 1}  # 1: CUDA's default stream
    try:
        return source.__dlpack__(max_version=(1, 0), **options)
    except TypeError:
        return source.__dlpack__(**options)
