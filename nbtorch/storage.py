"""The memory behind tensors: storages, the methods that look at memory or exchange it, copies and pickles.

A tensor's storage is the memory of the array that it, its base or whatever it was detached from was made with.
"""

from __future__ import annotations

import copy
import mmap
import operator
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from . import dtypes
from .device import CPU, allocate, array_module, as_device, simulating
from .device import device as Device
from .layout import (
    Extents,
    address,
    contiguous_format,
    contiguous_strides,
    element_strides,
    format_strides,
    reach,
    restrided,
    strided,
)
from .layout import layout as Layout
from .ops.operands import require_tensor, size_argument
from .tensor import Tensor, method


def _elements(array: Any, where: Device) -> Any:
    """Return the memory of a dense array as one dimension, whatever the order of its elements."""
    if not array.size:
        return array.reshape(-1)
    return restrided(array_module(where), array, (reach(array.shape, element_strides(array)),), (1,))


class _Storage:
    """Elements in one piece of memory."""

    _elements: Any

    def __init__(self, memory: Any, where: Device) -> None:
        self._memory, self._where = memory, where

    @property
    def device(self) -> Device:
        """Where the memory lies."""
        return self._where

    @property
    def is_cuda(self) -> bool:
        """Whether the memory lies on a CUDA device."""
        return self._where is not CPU

    is_sparse = is_sparse_csr = is_hpu = False

    def size(self) -> int:
        """Return the number of elements."""
        return self._elements.size

    __len__ = size

    def nbytes(self) -> int:
        """Return the number of bytes."""
        return self._elements.nbytes

    def element_size(self) -> int:
        """Return the number of bytes of an element."""
        return self._elements.dtype.itemsize

    def data_ptr(self) -> int:
        """Return the address of the memory."""
        return address(self._elements) if self._elements.size else 0

    def get_device(self) -> int:
        """Return the index of the CUDA device, or -1 on the CPU."""
        return -1 if self._where is CPU else self._where.index or 0

    def tolist(self) -> list[Any]:
        """Return the elements as Python numbers."""
        return self._elements.tolist()

    def __iter__(self) -> Iterator[Any]:
        return iter(self.tolist())

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return type(self)(self._elements[index], self._where)
        return self._elements[operator.index(index)].item()

    def __setitem__(self, index: Any, value: Any) -> None:
        self._elements[index] = value

    def fill_(self, value: Any) -> Any:
        """Set every element; returns the storage."""
        self._elements[...] = value
        return self

    def copy_(self, source: Any, non_blocking: bool | None = None) -> Any:
        """Take over the elements of a storage of the same size; returns the storage."""
        if len(source) != len(self):
            raise RuntimeError(f"copy_: expected a storage of {len(self)} elements, got {len(source)}")
        self._elements[...] = array_module(self._where).asarray(source._elements)
        return self

    def clone(self) -> Any:
        """Return a storage with a copy of the memory."""
        return type(self)(self._elements.copy(), self._where)

    def is_shared(self) -> bool:
        """Return whether processes that are forked later see the same memory."""
        return self._where is not CPU or _maps_shared_memory(self._elements)

    def is_pinned(self, device: Any = None) -> bool:
        """Return whether the memory is page-locked, so that a GPU reads it directly."""
        return _is_page_locked(self._elements)

    def __repr__(self) -> str:
        lines = "".join([f" {value}\n" for value in self.tolist()])
        return f"{lines}[torch.storage.{type(self).__name__}({self._title()}) of size {len(self)}]"

    def _title(self) -> str:
        return f"device={self._where}"


class UntypedStorage(_Storage):
    """The bytes of a tensor's memory, which all its views share."""

    def __init__(self, memory: Any, where: Device = CPU) -> None:
        super().__init__(memory, where)
        self._elements = _elements(memory, where).view(np.uint8)

    def untyped(self) -> UntypedStorage:
        """Return the storage itself."""
        return self


class TypedStorage(_Storage):
    """A tensor's memory as elements of its type."""

    def __init__(self, memory: Any, where: Device = CPU) -> None:
        super().__init__(memory, where)
        self._elements = _elements(memory, where)

    @property
    def dtype(self) -> dtypes.dtype:
        """The type of the elements."""
        return dtypes.from_numpy_dtype(self._elements.dtype)

    def untyped(self) -> UntypedStorage:
        """Return the same memory as bytes."""
        return UntypedStorage(self._memory, self._where)

    def _title(self) -> str:
        return f"dtype={self.dtype}, device={self._where}"


def is_storage(obj: Any) -> bool:
    """Return whether an object is a storage."""
    return isinstance(obj, _Storage)


@method
def untyped_storage(self: Tensor) -> UntypedStorage:
    """Return the bytes of the memory that this tensor views."""
    return UntypedStorage(self._storage_array(), self._device)


@method
def storage(self: Tensor) -> TypedStorage:
    """Return the elements of the memory that this tensor views; PyTorch has deprecated it for `untyped_storage`."""
    warnings.warn(
        "TypedStorage is deprecated. To access UntypedStorage directly, use tensor.untyped_storage() instead of"
        " tensor.storage()",
        UserWarning,
        stacklevel=2,
    )
    memory = _elements(self._storage_array(), self._device)
    return TypedStorage(memory if memory.dtype == self._array.dtype else memory.view(self._array.dtype), self._device)


@method
def is_set_to(self: Tensor, tensor: Tensor) -> bool:
    """Return whether two tensors view the same memory in the same way."""
    require_tensor("is_set_to", "tensor", tensor)
    return (
        address(self._storage_array()) == address(tensor._storage_array())
        and self.storage_offset() == tensor.storage_offset()
        and self._array.shape == tensor._array.shape
        and element_strides(self._array) == element_strides(tensor._array)
    )


def _place(self: Tensor, memory: Any, shape: Extents, strides: Extents, offset: int) -> Tensor:
    """Make a tensor view memory (elements of its type in one dimension) in another way."""
    needed = offset + reach(shape, strides)
    if offset < 0 or (needed > memory.size and 0 not in shape):
        raise RuntimeError(
            f"sizes {list(shape)}, strides {list(strides)} and storage offset {offset} require {needed} elements, out"
            f" of bounds for storage of {memory.size}"
        )
    self._array = restrided(array_module(self._device), memory[offset : offset + 1], shape, strides)
    self._memory = memory
    self._base, self._view = None, ()
    self._bump_version()
    return self


@method
def set_(self: Tensor, source: Any = None, storage_offset: int = 0, size: Any = None, stride: Any = None) -> Tensor:
    """Make this tensor view other memory.

    Args:
        source: a tensor of this one's type, which is viewed as it views its memory unless a size is given; a storage;
            or None for an empty tensor.
        storage_offset: the place of the first element in the memory.
        size: the shape; by default all of a storage, as one dimension.
        stride: the strides in elements (default: contiguous).

    Raises:
        RuntimeError: another type or device, or more than the memory holds.
    """
    self._refuse_inplace_on_leaf()
    if source is None:
        return _place(self, allocate((0,), self._array.dtype, self._device), (0,), (1,), 0)
    if isinstance(source, Tensor):
        if source.dtype is not self.dtype or source._device != self._device:
            raise RuntimeError(
                f"set_: Could not set tensor of type {source.dtype} on {source._device} to a tensor of type"
                f" {self.dtype} on {self._device}"
            )
        if size is None:
            shape, strides = source._array.shape, element_strides(source._array)
            return _place(
                self, _elements(source._storage_array(), self._device), shape, strides, source.storage_offset()
            )
        memory = _elements(source._storage_array(), self._device)
    elif is_storage(source):
        memory = source.untyped()._elements.view(self._array.dtype)
    else:
        raise TypeError(f"set_(): argument 'source' must be Tensor or Storage, not {type(source).__name__}")
    shape = (memory.size,) if size is None else size_argument("set_", (size,), None)
    strides = contiguous_strides(shape) if stride is None else tuple([operator.index(s) for s in stride])
    return _place(self, memory, shape, strides, operator.index(storage_offset))


@method
def resize_(self: Tensor, *sizes: Any, size: Any = None, memory_format: Any = contiguous_format) -> Tensor:
    """Give this tensor another shape over its memory, or over larger memory that begins with the same elements.

    Args:
        sizes: the new shape; also by the keyword `size`.
        memory_format: the order of the elements in memory.

    Raises:
        RuntimeError: the tensor requires a gradient.
    """
    if self.requires_grad:
        raise RuntimeError("resize_: cannot resize variables that require grad")
    shape = size_argument("resize_", sizes, size)
    strides = format_strides("resize_", shape, element_strides(self._array), memory_format)
    offset, memory = self.storage_offset(), _elements(self._storage_array(), self._device)
    if memory.dtype != self._array.dtype:
        memory = memory.view(self._array.dtype)
    missing = offset + reach(shape, strides) - memory.size
    if missing > 0:
        larger = allocate((memory.size + missing,), memory.dtype, self._device)
        larger[: memory.size] = memory
        memory = larger
    elif shape == self._array.shape and strides == element_strides(self._array):
        return self
    return _place(self, memory, shape, strides, offset)


@method
def resize_as_(self: Tensor, the_template: Tensor, *, memory_format: Any = contiguous_format) -> Tensor:
    """Give this tensor the shape of another; see `resize_`."""
    require_tensor("resize_as_", "the_template", the_template)
    return self.resize_(the_template.shape, memory_format=memory_format)


def _maps_shared_memory(array: Any) -> bool:
    owner = _owner(array)
    return isinstance(owner.obj if isinstance(owner, memoryview) else owner, mmap.mmap)


def _owner(array: Any) -> Any:
    """Return what lies behind an array and all that it is a view of."""
    while getattr(array, "base", None) is not None:
        array = array.base
    return array


@method
def share_memory_(self: Tensor) -> Tensor:
    """Move a CPU tensor to memory that it shares with processes forked later; a view leaves its base's memory."""
    if not self.is_shared():
        array = self._array
        memory = np.frombuffer(mmap.mmap(-1, max(array.nbytes, 1)), array.dtype, array.size)
        shared = restrided(np, memory, array.shape, format_strides("share_memory_", array.shape, self.stride(), None))
        shared[...] = array
        self._array, self._memory = shared, None
        self._base, self._view = None, ()
    return self


@method
def is_shared(self: Tensor) -> bool:
    """Return whether processes that are forked later see the same memory; always so on a CUDA device."""
    return self._device is not CPU or _maps_shared_memory(self._array)


def _is_page_locked(array: Any) -> bool:
    return type(_owner(array)).__name__ == "PinnedMemoryPointer"


@method
def pin_memory(self: Tensor, device: Any = None) -> Tensor:
    """Return a copy in page-locked memory, which a GPU reads directly; itself in the simulator.

    Raises:
        RuntimeError: there is no CUDA device.
    """
    as_device("cuda" if device is None else device)
    if self._device is not CPU:
        raise RuntimeError(f"cannot pin '{self.type()}': only dense CPU tensors can be pinned")
    if simulating() or self.is_pinned():
        return self
    import cupyx

    pinned = cupyx.empty_pinned(self._array.shape, self._array.dtype)
    pinned[...] = self._array
    return Tensor._wrap(pinned)


@method
def is_pinned(self: Tensor, device: Any = None) -> bool:
    """Return whether the memory is page-locked, so that a GPU reads it directly."""
    return _is_page_locked(self._array)


@method
def dim_order(self: Tensor, ambiguity_check: Any = False) -> tuple[int, ...]:
    """Return the dimensions from the slowest to the quickest in memory.

    Args:
        ambiguity_check: True refuses tensors of which several orders are true; so does a list of memory formats of
            which several fit.
    """
    shape, strides = self._array.shape, element_strides(self._array)
    if isinstance(ambiguity_check, (list, tuple)):
        fitting = [f for f in ambiguity_check if self.is_contiguous(memory_format=f)]
        ambiguous = len(fitting) > 1
    else:
        steps = [s for n, s in zip(shape, strides, strict=True) if n > 1]
        ambiguous = ambiguity_check and (len(set(steps)) < len(steps) or any([n < 2 for n in shape]))
    if ambiguous:
        raise RuntimeError(
            f"dim_order: the tensor does not have unique dim order, or cannot map to exact one of the given memory"
            f" formats: shape {list(shape)}, strides {list(strides)}"
        )
    return tuple(sorted(range(len(shape)), key=lambda d: -strides[d]))


_ATTRIBUTES = {"_array"} | {name for name in vars(Tensor) if name.startswith("_") and not name.startswith("__")}


def _own_attributes(self: Tensor) -> dict[str, Any]:
    """Return the attributes that a user, or a subclass, gave to a tensor."""
    return {name: value for name, value in self.__dict__.items() if name not in _ATTRIBUTES}


def _memory_of(self: Tensor) -> Any:
    """Return a tensor's memory as an array of one dimension, the same object for all views of it."""
    owner = self if self._base is None else self._base
    memory = self._storage_array()
    if memory.ndim != 1 or not memory.flags.c_contiguous:
        memory = owner._memory = _elements(memory, self._device)
    return memory


def _viewing(
    cls: type[Tensor], memory: Any, where: Device, dtype: dtypes.dtype, shape: Extents, strides: Extents, offset: int
) -> Tensor:
    """Return a tensor of a class on memory of one dimension."""
    tensor = cls.__new__(cls)
    tensor._memory = memory
    elements = memory if memory.dtype == dtype.numpy else memory.view(dtype.numpy)
    xp = array_module(where)
    tensor._array = (
        restrided(xp, elements[offset : offset + 1], shape, strides) if elements.size else xp.empty(shape, dtype.numpy)
    )
    if where is not CPU:
        tensor._device = where
    return tensor


def _geometry(self: Tensor) -> tuple[dtypes.dtype, Extents, Extents, int]:
    return self.dtype, tuple(self._array.shape), element_strides(self._array), self.storage_offset()


@method
def __deepcopy__(self: Tensor, memo: dict[int, Any]) -> Tensor:
    if not self.is_leaf:
        raise RuntimeError(
            "Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at the moment:"
            " detach() the tensor first."
        )
    if id(self) in memo:
        return memo[id(self)]
    memory = _memory_of(self)
    if id(memory) not in memo:
        memo[id(memory)] = memory.copy()
    tensor = _viewing(type(self), memo[id(memory)], self._device, *_geometry(self))
    memo[id(self)] = tensor
    tensor._requires_grad = self._requires_grad
    if self._grad is not None:
        tensor._grad = copy.deepcopy(self._grad, memo)
    tensor.__dict__.update(copy.deepcopy(_own_attributes(self), memo))
    return tensor


@method
def __copy__(self: Tensor) -> Tensor:
    tensor = _viewing(type(self), _memory_of(self), self._device, *_geometry(self))
    tensor._counter = self._version_counter()
    tensor._requires_grad = self.requires_grad
    tensor.__dict__.update(_own_attributes(self))
    return tensor


@method
def __reduce_ex__(self: Tensor, protocol: Any) -> Any:
    memory = _memory_of(self)
    on_cpu = memory if isinstance(memory, np.ndarray) else memory.get()
    arguments = (type(self), on_cpu, str(self._device), *_geometry(self), self.requires_grad)
    return _rebuilt, arguments, _own_attributes(self) or None


def _rebuilt(
    cls: type[Tensor],
    memory: np.ndarray,
    where: str,
    dtype: dtypes.dtype,
    shape: Extents,
    strides: Extents,
    offset: int,
    requires_grad: bool,
) -> Tensor:
    """Make a tensor again of what was pickled; tensors of one memory share it again."""
    target = as_device(where)
    on_device = memory if target is CPU else array_module(target).asarray(memory)
    tensor = _viewing(cls, on_device, target, dtype, shape, strides, offset)
    tensor._requires_grad = requires_grad
    return tensor


@method
def as_subclass(self: Tensor, cls: type[Tensor]) -> Tensor:
    """Return a tensor of a subclass on the same memory and at the same place in the graph."""
    if not (isinstance(cls, type) and issubclass(cls, Tensor)):
        raise TypeError(
            "Creating a Tensor subclass from a class that does not inherit from Tensor is not possible. Make sure your"
            f" class inherits from Tensor, got {cls!r}"
        )
    result = self[...]
    result.__class__ = cls
    return result


@property  # type: ignore[misc]
def _layout(self: Tensor) -> Layout:
    """The way the elements are stored: always `strided`."""
    return strided


method(_layout, name="layout")
for _kind in ("sparse", "sparse_csr", "quantized", "meta", "mkldnn", "nested", "mps", "xla", "xpu", "ipu", "vulkan"):
    setattr(Tensor, f"is_{_kind}", False)


@method
def is_neg(self: Tensor) -> bool:
    """Return whether the elements are stored negated: never."""
    return False


@method
def is_distributed(self: Tensor) -> bool:
    """Return whether the tensor is spread over machines: never."""
    return False
