"""The Tensor: an array, where it lies, and its place in the graph.

This file holds what a tensor *is*: memory, device, type, views and versions, gradients, exchange with Python and NumPy.
What can be *done* with tensors lives in `nbtorch.ops`; each operation installs itself as a method with `method`.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from . import dtypes
from .autograd import engine
from .autograd.grad_mode import enable_grad, state
from .autograd.graph import Edge, Node
from .device import CPU, allocate, array_module, as_device, pool
from .device import device as Device
from .hooks import Hooks, RemovableHandle, add_hook
from .quiet import quietly
from .spelling import respelled

_F = TypeVar("_F", bound=Callable[..., Any])
_ndarray = np.ndarray
_cpu = CPU


class Size(tuple):
    """The shape of a tensor: a tuple of ints that prints as PyTorch's."""

    __slots__ = ()

    def numel(self) -> int:
        """Return the number of elements."""
        count = 1
        for extent in self:
            count *= extent
        return count

    def __repr__(self) -> str:
        return f"torch.Size({list(self)})"

    def __getitem__(self, index: Any) -> Any:
        picked = tuple.__getitem__(self, index)
        return Size(picked) if isinstance(index, slice) else picked

    def __add__(self, other: Any) -> Size:
        return Size(tuple.__add__(self, tuple(other)))


class Tensor:
    """A multi-dimensional array that remembers how it was computed.

    Wraps a NumPy array (CPU, or CUDA in the simulator) or a CuPy array (CUDA), without a copy. Make tensors with
    `nbtorch.tensor`, `nbtorch.zeros`, `nbtorch.from_numpy` and their like; `Tensor(2, 3)` gives an uninitialised tensor
    of the default type, `Tensor([1, 2])` one with these values, as in PyTorch.
    """

    # Defaults live on the class: making a tensor sets only what differs.
    _array: Any
    _device: Device = _cpu
    _requires_grad = False
    _grad_fn: Node | None = None
    _output_nr = 0
    _grad: Tensor | None = None
    _counter: list[int] | None = None  # how often the memory was changed in place; shared by all views of it
    _base: Tensor | None = None  # the tensor that this one is a view of
    _view: tuple[Node, ...] = ()  # the operations that lead from the base to this view
    _view_version = 0  # the base's version when this view's place in the graph was found
    _hooks: Hooks | None = None
    _post_accumulate_hooks: Hooks | None = None
    _retains_grad = False

    __array_priority__ = 1000  # NumPy's operators defer to ours
    __hash__ = object.__hash__

    def __init__(self, *data: Any, device: Any = None) -> None:
        where = as_device(device)
        dtype = dtypes.get_default_dtype().numpy
        if len(data) == 1 and not isinstance(data[0], (int, np.integer)):
            values = data[0]
            if isinstance(values, Tensor):
                if values.dtype.numpy != dtype:
                    raise TypeError(f"expected {dtypes.get_default_dtype()} (got {values.dtype})")
                self._array, where = values._array, values._device
            elif isinstance(values, Size):
                self._array = allocate(tuple(values), dtype, where)
            else:
                self._array = array_module(where).array(values, dtype=dtype)
        else:
            self._array = allocate(tuple(int(n) for n in data) if data else (0,), dtype, where)
        if where is not _cpu:
            self._device = where

    @staticmethod
    def _wrap(array: Any, where: Device = _cpu) -> Tensor:
        """Make a tensor of an array (or of the scalar that NumPy returns in place of a 0-d array), without a copy."""
        tensor = _new(Tensor)
        if where is _cpu:
            tensor._array = array if type(array) is _ndarray else np.asarray(array)
        else:
            tensor._array = (
                array if hasattr(array, "strides") and not isinstance(array, np.generic) else np.asarray(array)
            )
            tensor._device = where
        return tensor

    def _wrap_like(self, array: Any) -> Tensor:
        """Make a tensor of an array on this tensor's device."""
        if self._device is not _cpu:
            return Tensor._wrap(array, self._device)
        tensor = _new(Tensor)
        tensor._array = array if type(array) is _ndarray else np.asarray(array)
        return tensor

    @staticmethod
    def _filled(shape: tuple[int, ...], value: Any, dtype: dtypes.dtype, where: Device) -> Tensor:
        """Make a tensor whose elements are all `value`."""
        if type(value) is int and value == 0 and where is _cpu:
            array = pool.zeros(shape, dtype.numpy)
        else:
            array = allocate(tuple(shape), dtype.numpy, where)
            array.fill(value)
        if where is not _cpu:
            return Tensor._wrap(array, where)
        tensor = _new(Tensor)
        tensor._array = array
        return tensor

    def _filled_like(self, value: Any) -> Tensor:
        """Make a tensor of this one's shape, type and device whose elements are all `value`."""
        return Tensor._filled(self._array.shape, value, self.dtype, self._device)

    def _like_array(self, array: Any) -> Tensor:
        """Copy a NumPy array into a tensor of this one's type and device."""
        return self._wrap_like(self._xp.array(array, dtype=self._array.dtype))

    def _copied(self) -> Tensor:
        """Return a tensor with a copy of the memory, outside the graph."""
        array = allocate(self._array.shape, self._array.dtype, self._device)
        array[...] = self._array
        return self._wrap_like(array)

    @property
    def _xp(self) -> Any:
        return array_module(self._device)

    @property
    def shape(self) -> Size:
        """The extents, a `Size`."""
        return Size(self._array.shape)

    def size(self, dim: int | None = None) -> Any:
        """Return the shape, or the extent of one dimension."""
        if dim is None:
            return Size(self._array.shape)
        return self._array.shape[normalize_dim(dim, self._array.ndim)]

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return self._array.ndim

    def dim(self) -> int:
        """Return the number of dimensions."""
        return self._array.ndim

    ndimension = dim

    def numel(self) -> int:
        """Return the number of elements."""
        return self._array.size

    nelement = numel

    def element_size(self) -> int:
        """Return the number of bytes of an element."""
        return self._array.dtype.itemsize

    @property
    def itemsize(self) -> int:
        """The number of bytes of an element."""
        return self._array.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """The number of bytes of all elements."""
        return self._array.nbytes

    @property
    def dtype(self) -> dtypes.dtype:
        """The type of the elements."""
        return dtypes._FROM_NUMPY[self._array.dtype]

    @property
    def device(self) -> Device:
        """Where the memory lies."""
        return self._device

    @property
    def is_cuda(self) -> bool:
        """Whether the memory lies on a CUDA device."""
        return self._device is not _cpu

    @property
    def is_cpu(self) -> bool:
        """Whether the memory is the CPU's."""
        return self._device is _cpu

    def get_device(self) -> int:
        """Return the index of the CUDA device, or -1 on the CPU."""
        return -1 if self._device is _cpu else self._device.index or 0

    def is_floating_point(self) -> bool:
        """Return whether the elements are floating-point numbers."""
        return self._array.dtype.kind == "f"

    def is_complex(self) -> bool:
        """Return whether the elements are complex numbers."""
        return self._array.dtype.kind == "c"

    def is_signed(self) -> bool:
        """Return whether the elements may be negative."""
        return self.dtype.is_signed

    def stride(self, dim: int | None = None) -> Any:
        """Return the steps between neighbours in elements, for all dimensions or for one."""
        size = self._array.dtype.itemsize
        steps = tuple([s // size for s in self._array.strides])
        return steps if dim is None else steps[normalize_dim(dim, self._array.ndim)]

    def is_contiguous(self) -> bool:
        """Return whether the elements lie in memory in order, without gaps."""
        return self._array.flags.c_contiguous

    def data_ptr(self) -> int:
        """Return the address of the first element."""
        array = self._array
        return array.ctypes.data if isinstance(array, _ndarray) else array.data.ptr

    def storage_offset(self) -> int:
        """Return the distance in elements from the start of the memory that this tensor views."""
        if self._base is None:
            return 0
        return (self.data_ptr() - self._base.data_ptr()) // self.element_size()

    @property
    def requires_grad(self) -> bool:
        """Whether gradients are computed for this tensor."""
        if self._base is not None:
            self._refresh_view()
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Set whether gradients are computed for this leaf; returns the tensor."""
        if requires_grad and self._array.dtype.kind not in "fc":
            raise RuntimeError("only Tensors of floating point dtype can require gradients")
        if not requires_grad and self._grad_fn is not None:
            raise RuntimeError(
                "you can only change requires_grad flags of leaf variables. If you want to use a computed variable in a"
                " subgraph that doesn't require differentiation use var_no_grad = var.detach()."
            )
        self._requires_grad = bool(requires_grad)
        return self

    @property
    def grad_fn(self) -> Node | None:
        """The operation that made this tensor, or None for a leaf."""
        if self._base is not None:
            self._refresh_view()
        return self._grad_fn

    @property
    def is_leaf(self) -> bool:
        """Whether this tensor was made by the user rather than by a recorded operation."""
        return self.grad_fn is None

    @property
    def output_nr(self) -> int:
        """Which output of its operation this tensor is."""
        return self._output_nr

    @property
    def grad(self) -> Tensor | None:
        """The gradient accumulated by `backward`, or None."""
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            if not isinstance(value, Tensor):
                raise TypeError(
                    f"assigned grad expected to be a Tensor or None but got grad of type {type(value).__name__}"
                )
            if value._device != self._device or value.dtype is not self.dtype:
                raise RuntimeError(
                    f"assigned grad has data of a different type: expected {self.dtype} on {self._device},"
                    f" got {value.dtype} on {value._device}"
                )
            if value._array.shape != self._array.shape:
                raise RuntimeError(
                    f"assigned grad has data of a different size: expected {tuple(self.shape)},"
                    f" got {tuple(value.shape)}"
                )
        self._grad = value

    @grad.deleter
    def grad(self) -> None:
        self._grad = None

    def backward(
        self,
        gradient: Tensor | None = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: Any = None,
    ) -> None:
        """Add the gradients of this tensor with respect to the leaves to their `.grad`; see `autograd.backward`."""
        engine.backward((self,), None if gradient is None else (gradient,), retain_graph, create_graph, inputs)

    def detach(self) -> Tensor:
        """Return a tensor on the same memory, outside the graph; in-place changes are seen by both."""
        tensor = self._wrap_like(self._array)
        tensor._counter = self._version_counter()
        return tensor

    def detach_(self) -> Tensor:
        """Take this tensor out of the graph."""
        if self._base is not None:
            raise RuntimeError(
                "Can't detach views in-place. Use detach() instead. If you are using DistributedDataParallel (DDP) for"
                " training, and gradient_as_bucket_view is set as True, gradients are views of DDP buckets, and hence"
                " detach_() cannot be called on these gradients."
            )
        self._requires_grad, self._grad_fn, self._output_nr = False, None, 0
        return self

    @property
    def data(self) -> Tensor:
        """The same memory outside the graph, with a version of its own: changes are not noticed by autograd."""
        return self._wrap_like(self._array)

    @data.setter
    def data(self, value: Tensor) -> None:
        if not isinstance(value, Tensor):
            raise TypeError(f"Variable data has to be a tensor, but got {type(value).__name__}")
        if self._requires_grad and not value.is_floating_point():
            raise RuntimeError("data set to a tensor that requires gradients must be floating point or complex dtype")
        self._array, self._device = value._array, value._device

    def retain_grad(self) -> None:
        """Keep the gradient of this non-leaf tensor in `.grad`."""
        if not self.requires_grad:
            raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
        node = self.grad_fn
        if node is None or self._retains_grad:
            return
        self._retains_grad = True
        if node._retaining is None:
            node._retaining = {}
        node._retaining[self._output_nr] = weakref.ref(self)

    @property
    def retains_grad(self) -> bool:
        """Whether this tensor is a non-leaf that keeps its gradient."""
        return self._retains_grad and self._grad_fn is not None

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> RemovableHandle:
        """Call `hook(grad)` when this tensor's gradient is computed; what it returns, if not None, replaces it."""
        if not self.requires_grad:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        node = self.grad_fn
        if node is None:
            return add_hook(self, "_hooks", hook)
        if node._tensor_hooks is None:
            node._tensor_hooks = {}
        hooks = node._tensor_hooks.setdefault(self._output_nr, Hooks())
        handle = RemovableHandle(hooks)
        hooks[handle.id] = hook
        return handle

    def register_post_accumulate_grad_hook(self, hook: Callable[[Tensor], None]) -> RemovableHandle:
        """Call `hook(tensor)` after a gradient was added to this leaf's `.grad`."""
        if not self.requires_grad:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        if not self.is_leaf:
            raise RuntimeError("post accumulate grad hooks cannot be registered on non-leaf tensors")
        return add_hook(self, "_post_accumulate_hooks", hook)

    @property
    def _version(self) -> int:
        """How often the memory was changed in place."""
        return 0 if self._counter is None else self._counter[0]

    def _version_counter(self) -> list[int]:
        if self._counter is None:
            self._counter = [0]
        return self._counter

    def _bump_version(self) -> None:
        """Note that the memory was changed in place."""
        if self._counter is None:
            self._counter = [1]
        else:
            self._counter[0] += 1

    def _is_view(self) -> bool:
        return self._base is not None

    def _make_view(self, parent: Tensor, node: Node) -> None:
        """Note that `node` made this tensor as a view of `parent`."""
        self._base = parent if parent._base is None else parent._base
        self._view = (*parent._view, node)
        self._counter = parent._version_counter()
        self._view_version = self._counter[0]

    def _tracked(self) -> bool:
        """Whether operations on this tensor are to be recorded."""
        if self._base is not None:
            self._refresh_view()
        return self._requires_grad

    def _refresh_view(self) -> None:
        """Find this view's place in the graph again if its memory was changed in place since."""
        base = self._base
        assert base is not None
        version = self._version
        if self._view_version == version:
            return
        self._view_version = version
        if base._requires_grad and not (self._requires_grad and self._grad_fn is None):
            with enable_grad():
                again = self._replayed(base)
            self._requires_grad, self._grad_fn, self._output_nr = True, again._grad_fn, again._output_nr

    def _replayed(self, base: Tensor) -> Tensor:
        """Take of another tensor the view that this one is of its base."""
        for node in self._view:
            base = node.replayed(base)
        return base

    def _refuse_inplace_on_leaf(self) -> None:
        if state.enabled:
            if self._requires_grad and self._grad_fn is None:
                raise RuntimeError("a leaf Variable that requires grad is being used in an in-place operation.")
            if self._base is not None and self._base._requires_grad and self._base._grad_fn is None:
                raise RuntimeError(
                    "a view of a leaf Variable that requires grad is being used in an in-place operation."
                )

    def _assign(self, result: Tensor) -> Tensor:
        """Take over the values of `result` and its place in the graph: `x.add_(y)` is `x._assign(x + y)`.

        `result` must come from an operation on this tensor, so that it is recorded whenever this tensor is.
        """
        self._refuse_inplace_on_leaf()
        if result._array.shape != self._array.shape:
            raise RuntimeError(
                f"output with shape {list(self.shape)} doesn't match the broadcast shape {list(result.shape)}"
            )
        if result._array.dtype != self._array.dtype:
            if result.dtype.category > self.dtype.category:
                raise RuntimeError(
                    f"result type {result.dtype.title} can't be cast to the desired output type {self.dtype.title}"
                )
            result = result.to(self.dtype)
        if self._array.size and any(
            step == 0 < extent - 1 for step, extent in zip(self._array.strides, self._array.shape, strict=True)
        ):
            raise RuntimeError(
                "unsupported operation: more than one element of the written-to tensor refers to a single memory"
                " location. Please clone() the tensor before performing the operation."
            )
        node = result._grad_fn
        if node is not None:
            node.keep_original(self)
        self._array[...] = result._array
        self._bump_version()
        if node is not None:
            self._rebase(node, result._output_nr)
        return self

    def _rebase(self, node: Node, number: int) -> None:
        """Make `node` the origin of this tensor after an in-place change; a view takes its base along."""
        if self._base is not None:
            self._base._grad_fn = CopySlices(self._base, self._view, (node, number))
            self._base._requires_grad, self._base._output_nr = True, 0
            self._view_version = -1
        else:
            self._requires_grad, self._grad_fn, self._output_nr = True, node, number
        if self._retains_grad:
            self._retains_grad = False
            self.retain_grad()

    def item(self) -> Any:
        """Return the value of a tensor of one element as a Python number."""
        if self._array.size != 1:
            raise RuntimeError(f"a Tensor with {self._array.size} elements cannot be converted to Scalar")
        return self._array.item()

    def tolist(self) -> Any:
        """Return the values as (nested) lists of Python numbers."""
        return self._array.tolist()

    def numpy(self, *, force: bool = False) -> np.ndarray:
        """Return the values as a NumPy array on the same memory.

        Args:
            force: copy to the CPU and leave the graph first where needed, instead of raising.
        """
        if force:
            return self.detach().cpu().numpy()
        if self._device is not _cpu:
            raise TypeError(
                f"can't convert {self._device} device type tensor to numpy."
                " Use Tensor.cpu() to copy the tensor to host memory first."
            )
        if self.requires_grad:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
        return self._array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = self.numpy()
        if copy is None or not copy:
            return array if dtype is None or dtype == array.dtype else array.astype(dtype)
        return np.array(array, dtype=dtype, copy=True)

    def __len__(self) -> int:
        if self._array.ndim == 0:
            raise TypeError("len() of a 0-d tensor")
        return self._array.shape[0]

    def __bool__(self) -> bool:
        if self._array.size != 1:
            if self._array.size == 0:
                raise RuntimeError("Boolean value of Tensor with no values is ambiguous")
            raise RuntimeError("Boolean value of Tensor with more than one value is ambiguous")
        return bool(self._array.item())

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self._array.dtype.kind not in "iub" or self._array.size != 1:
            raise TypeError("only integer tensors of a single element can be converted to an index")
        return int(self._array.item())

    def __complex__(self) -> complex:
        return complex(self.item())

    def __contains__(self, element: Any) -> bool:
        if isinstance(element, (Tensor, int, float, bool, np.generic)):
            value = element._array if isinstance(element, Tensor) else element
            return bool((self._array == value).any())
        raise RuntimeError(f"Tensor.__contains__ only supports Tensor or scalar, but you passed in a {type(element)}.")

    def __format__(self, specification: str) -> str:
        if self._array.ndim == 0 and type(self) is Tensor:
            return self.item().__format__(specification)
        return object.__format__(self, specification)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if self.grad_fn is not None:
            raise RuntimeError(
                "Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol:"
                " detach() the tensor first."
            )
        if id(self) in memo:
            return memo[id(self)]
        tensor = _new(type(self))
        memo[id(self)] = tensor
        tensor._array = self._array.copy()
        tensor._device = self._device
        tensor._requires_grad = self._requires_grad
        if self._grad is not None:
            tensor._grad = self._grad.__deepcopy__(memo)
        return tensor

    def __reduce_ex__(self, protocol: Any) -> Any:
        if self.grad_fn is not None:
            raise RuntimeError(
                "Only Tensors created explicitly by the user (graph leaves) can be pickled: detach() the tensor first."
            )
        array = self.detach().cpu()._array
        return _rebuild, (type(self), array, str(self._device), self._requires_grad)

    def _accumulate(self, gradient: Tensor) -> None:
        """Add a gradient to this one in place."""
        quietly(self._xp.add, self._array, gradient._array, self._array)
        self._bump_version()

    if TYPE_CHECKING:  # operations install their methods when `nbtorch.ops` is imported

        def __getattr__(self, name: str) -> Any: ...
        def __add__(self, other: Any) -> Tensor: ...
        def __radd__(self, other: Any) -> Tensor: ...
        def __sub__(self, other: Any) -> Tensor: ...
        def __rsub__(self, other: Any) -> Tensor: ...
        def __mul__(self, other: Any) -> Tensor: ...
        def __rmul__(self, other: Any) -> Tensor: ...
        def __truediv__(self, other: Any) -> Tensor: ...
        def __rtruediv__(self, other: Any) -> Tensor: ...
        def __pow__(self, other: Any) -> Tensor: ...
        def __rpow__(self, other: Any) -> Tensor: ...
        def __matmul__(self, other: Any) -> Tensor: ...
        def __neg__(self) -> Tensor: ...
        def __abs__(self) -> Tensor: ...
        def __lt__(self, other: Any) -> Tensor: ...
        def __le__(self, other: Any) -> Tensor: ...
        def __gt__(self, other: Any) -> Tensor: ...
        def __ge__(self, other: Any) -> Tensor: ...
        def __and__(self, other: Any) -> Tensor: ...
        def __or__(self, other: Any) -> Tensor: ...
        def __xor__(self, other: Any) -> Tensor: ...
        def __invert__(self) -> Tensor: ...
        def __getitem__(self, index: Any) -> Tensor: ...
        def __setitem__(self, index: Any, value: Any) -> None: ...
        def __iter__(self) -> Any: ...


_new = Tensor.__new__


def _rebuild(cls: type[Tensor], array: np.ndarray, where: str, requires_grad: bool) -> Tensor:
    """Make a tensor again of what was pickled."""
    target = as_device(where)
    tensor = _new(cls)
    tensor._array = array if target is _cpu else array_module(target).asarray(array)
    if target is not _cpu:
        tensor._device = target
    tensor._requires_grad = requires_grad
    return tensor


class CopySlices(Node):
    """The origin of a base of which a view was changed in place: the old values outside the view, the new inside."""

    name = "CopySlices"

    def __init__(self, base: Tensor, view: tuple[Node, ...], edge: Edge) -> None:
        self.connect([base])
        self.edges = (*self.edges, edge)
        self.needs_input_grad = (*self.needs_input_grad, True)
        self._view = view

    def _region(self, tensor: Tensor) -> Tensor:
        for node in self._view:
            tensor = node.replayed(tensor)
        return tensor

    def backward(self, grad_output: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Split the gradient into what flows to the old base and what flows to the new values."""
        inside = grad_output._filled_like(False).to(dtypes.bool)
        self._region(inside)._array[...] = True
        old = grad_output.masked_fill(inside, 0) if self.needs_input_grad[0] else None
        return old, self._region(grad_output)


def normalize_dim(dim: int, ndim: int) -> int:
    """Return a dimension counted from the front; an IndexError tells the range."""
    if type(dim) is not int:
        if isinstance(dim, bool) or not hasattr(dim, "__index__"):
            raise TypeError(f"argument 'dim' must be int, not {type(dim).__name__}")
        dim = dim.__index__()
    reach = max(ndim, 1)
    if not -reach <= dim < reach:
        raise IndexError(f"Dimension out of range (expected to be in range of [{-reach}, {reach - 1}], but got {dim})")
    return dim % reach


def method(function: _F | None = None, *, name: str | None = None) -> Any:
    """Install a function of `nbtorch.ops` as a method of Tensor, under its own name or another."""
    if function is None:
        return lambda f: method(f, name=name)
    setattr(Tensor, name or function.__name__, respelled(function, operands=False))
    return function
