"""The Tensor: an array, where it lies, and its place in the graph.

This file holds what a tensor *is*: memory, device, type, views and versions, gradients, exchange with Python and NumPy.
What can be *done* with tensors lives in `nbtorch.ops`; each operation installs itself as a method with `method`.
"""

from __future__ import annotations

import functools
import operator
import warnings
import weakref
from collections.abc import Callable
from types import FunctionType
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from . import dtypes
from .autograd import engine
from .autograd.grad_mode import enable_grad, observers, state
from .autograd.graph import Edge, Node, edge_of
from .device import CPU, allocate, array_module, as_device, pool
from .device import device as Device
from .hooks import Hooks, RemovableHandle, add_hook
from .layout import address, element_strides, is_contiguous_in, require_memory_format
from .quiet import quietly
from .spelling import respelled

_F = TypeVar("_F", bound=Callable[..., Any])
_ndarray = np.ndarray
_cpu = CPU


_BINARY = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor", "lshift", "rshift")
_OPERATORS = frozenset(
    [f"__{prefix}{name}__" for name in _BINARY for prefix in ("", "r")]
    + [f"__{name}__" for name in ("eq", "ne", "lt", "le", "gt", "ge", "neg", "pos", "abs", "invert", "getitem", "iter")]
)


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


class _NoCounter(list):
    """Stands for the version counter that tensors made in `inference_mode` do not have."""

    def __getitem__(self, index: Any) -> Any:
        raise RuntimeError("Inference tensors do not track version counter.")


INFERENCE = _NoCounter()

_CLARIFY = (
    "Given that this use case is ambiguous and error-prone, it is forbidden. You can clarify your code by moving both"
    " the view and the inplace either both inside the {} block (if you don't want the inplace to be tracked) or both"
    " outside (if you want the inplace to be tracked)."
)
_FORBIDDEN = {  # the mode in which a view was made, if that is the reason, and the reason
    "no_grad": ("no_grad mode", _CLARIFY.format("no_grad")),
    "inference": ("inference mode", _CLARIFY.format("inference_mode")),
    "several": (
        "",
        "This view is the output of a function that returns multiple views. Such functions do not allow the output"
        " views to be modified inplace. You should replace the inplace operation by an out-of-place one.",
    ),
    "function": (
        "",
        "This view was created inside a custom Function (or because an input was returned as-is) and the autograd logic"
        " to handle view+inplace would override the custom backward associated with the custom Function, leading to"
        " incorrect gradients. This behavior is forbidden. You can fix this by cloning the output of the custom"
        " Function.",
    ),
}


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
    _memory: Any = None  # the array that the memory belongs to, where it is neither this tensor's nor its base's
    _base: Tensor | None = None  # the tensor that this one is a view of
    _view: tuple[Node, ...] = ()  # the operations that lead from the base to this view
    _view_version = 0  # the base's version when this view's place in the graph was found
    _forbidden: str | None = None  # why autograd cannot follow in-place changes of this view, a key of `_FORBIDDEN`
    _hooks: Hooks | None = None
    _post_accumulate_hooks: Hooks | None = None
    _accumulate_pre_hooks: Hooks | None = None  # those of the `AccumulateGrad` that stands for this leaf
    _accumulate_hooks: Hooks | None = None
    _accumulator: Any = None  # a weak reference to it
    _retains_grad = False
    _grad_dtype: dtypes.dtype | str | None = None  # None: this tensor's own, "any": whatever comes
    _plain_results = False  # whether the methods of a subclass return plain tensors

    __array_priority__ = 1000  # NumPy's operators defer to ours
    __hash__ = object.__hash__

    def __init_subclass__(cls, plain_results: bool | None = None, **kwargs: Any) -> None:
        """Let the methods of a subclass return tensors of its class, unless it wants plain ones.

        As this wraps the methods, tensors that are no subclass pay nothing for it.
        """
        super().__init_subclass__(**kwargs)
        if plain_results is not None:
            cls._plain_results = plain_results
        if cls._plain_results or any([base is not Tensor and issubclass(base, Tensor) for base in cls.__bases__]):
            return
        for name, member in vars(Tensor).items():
            if name not in vars(cls) and (not name.startswith("_") or name in _OPERATORS):
                if isinstance(member, FunctionType):
                    setattr(cls, name, _of_its_class(member))
                elif name in ("data", "T", "mT", "H", "mH"):
                    setattr(cls, name, property(_of_its_class(member.fget), member.fset))

    def __init__(self, *data: Any, device: Any = None) -> None:
        where = as_device(device)
        if len(data) == 1 and isinstance(data[0], Tensor):
            self._array, where = data[0]._array, data[0]._device
        else:
            self._array = legacy_array(data, dtypes.get_default_dtype(), where)
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
            return Tensor._new_from(array, where)
        tensor = _new(Tensor)
        tensor._array = array
        if observers.count and state.inference:
            tensor._counter = INFERENCE
        return tensor

    @staticmethod
    def _new_from(array: Any, where: Device) -> Tensor:
        """Make a tensor that the user asked for, of an array without a copy; within `inference_mode` it is marked."""
        tensor = Tensor._wrap(array, where)
        if observers.count and state.inference:
            tensor._counter = INFERENCE
        return tensor

    def _filled_like(self, value: Any) -> Tensor:
        """Make a tensor of this one's shape, type and device whose elements are all `value`."""
        return Tensor._filled(self._array.shape, value, self.dtype, self._device)

    def _placeholder(self) -> Tensor:
        """Return a tensor of this one's shape, type and device that takes the memory of one element."""
        return self._wrap_like(self._xp.broadcast_to(self._xp.zeros((), self._array.dtype), self._array.shape))

    def _like_array(self, array: Any) -> Tensor:
        """Copy a NumPy array into a tensor of this one's type and device."""
        return self._wrap_like(self._xp.array(array, dtype=self._array.dtype))

    def _copied(self, like: Tensor | None = None) -> Tensor:
        """Return a tensor with a copy of the memory, outside the graph, laid out in order or as a dense other one."""
        array = allocate(self._array.shape, self._array.dtype, self._device)
        if like is not None and not like._array.flags.c_contiguous:
            array = _arranged(array, like._array)
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
        return self._array.dtype.kind in dtypes.FLOATING

    def is_complex(self) -> bool:
        """Return whether the elements are complex numbers."""
        return self._array.dtype.kind == "c"

    def is_signed(self) -> bool:
        """Return whether the elements may be negative."""
        return self.dtype.is_signed

    def stride(self, dim: int | None = None) -> Any:
        """Return the steps between neighbours in elements, for all dimensions or for one."""
        steps = element_strides(self._array)
        return steps if dim is None else steps[normalize_dim(dim, self._array.ndim)]

    def is_contiguous(self, *, memory_format: Any = None) -> bool:
        """Return whether the elements lie in memory in order, or in the order of another format, without gaps."""
        if memory_format is None:
            return self._array.flags.c_contiguous
        require_memory_format("is_contiguous", memory_format)
        return is_contiguous_in(self._array.shape, element_strides(self._array), memory_format)

    def data_ptr(self) -> int:
        """Return the address of the first element."""
        return address(self._array) if self._array.size else 0

    def _storage_array(self) -> Any:
        """Return the array whose memory is this tensor's storage."""
        tensor = self if self._base is None else self._base
        return tensor._array if tensor._memory is None else tensor._memory

    def storage_offset(self) -> int:
        """Return the distance in elements from the start of the memory that this tensor views."""
        memory = self._storage_array()
        return 0 if memory is self._array else (address(self._array) - address(memory)) // self.element_size()

    @property
    def requires_grad(self) -> bool:
        """Whether gradients are computed for this tensor."""
        return self._requires_grad or (self._base is not None and self._base._requires_grad)

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Set whether gradients are computed for this leaf; returns the tensor."""
        if requires_grad and self._array.dtype.kind not in dtypes.DIFFERENTIABLE:
            raise RuntimeError("only Tensors of floating point and complex dtype can require gradients")
        if requires_grad and self._counter is INFERENCE and not state.inference:
            raise RuntimeError("Setting requires_grad=True on inference tensor outside InferenceMode is not allowed.")
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
        if self._grad is None and self._grad_fn is not None and not self._retains_grad:
            warnings.warn(
                "The .grad attribute of a Tensor that is not a leaf Tensor is being accessed. Its .grad attribute won't"
                " be populated during autograd.backward(). If you indeed want the .grad field to be populated for a"
                " non-leaf Tensor, use .retain_grad() on the non-leaf Tensor. If you access the non-leaf Tensor by"
                " mistake, make sure you access the leaf Tensor instead.",
                stacklevel=2,
            )
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            if not isinstance(value, Tensor):
                raise TypeError(
                    f"assigned grad expected to be a Tensor or None but got grad of type {type(value).__name__}"
                )
            if value is self:
                raise RuntimeError("can't assign Variable as its own grad")
            if value._device != self._device:
                raise RuntimeError(
                    f"assigned grad has data located on a different device: expected {self._device},"
                    f" got {value._device}"
                )
            expected = self._grad_dtype or self.dtype
            if expected not in ("any", value.dtype):
                raise RuntimeError(
                    f"attempting to assign a gradient with dtype {value.dtype} to a tensor with grad_dtype {expected}."
                    " The gradient must match the tensor's grad_dtype (defaults to the tensor's dtype)."
                )
            if value._array.shape != self._array.shape:
                raise RuntimeError(
                    f"attempting to assign a gradient of size '{list(value.shape)}' to a tensor of size"
                    f" '{list(self.shape)}'. Please ensure that the gradient and the tensor are the same size"
                )
        self._grad = value

    @grad.deleter
    def grad(self) -> None:
        self._grad = None

    @property
    def grad_dtype(self) -> dtypes.dtype | None:
        """The type in which a leaf's gradient is accumulated, by default its own; None takes what comes."""
        if not self.is_leaf:
            raise RuntimeError("grad_dtype can only be accessed on leaf tensors.")
        if self._grad_dtype == "any":
            return None
        return self._grad_dtype or self.dtype  # type: ignore[return-value]

    @grad_dtype.setter
    def grad_dtype(self, value: dtypes.dtype | None) -> None:
        if not self.is_leaf:
            raise RuntimeError("grad_dtype can only be set on leaf tensors.")
        if value is not None and not isinstance(value, dtypes.dtype):
            raise TypeError(f"grad_dtype must be a dtype or None, got {type(value).__name__}")
        if value is not None and self._grad is not None and self._grad.dtype is not value:
            raise RuntimeError(
                f"Cannot set grad_dtype to {value} because there is already a gradient with dtype {self._grad.dtype}."
                " Please clear the gradient (.grad = None) before changing grad_dtype."
            )
        self._grad_dtype = "any" if value is None else value

    def backward(
        self,
        gradient: Tensor | None = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: Any = None,
    ) -> None:
        """Add the gradients of this tensor with respect to the leaves to their `.grad`; see `autograd.backward`."""
        engine.backward((self,), gradient, retain_graph, create_graph, inputs=inputs)

    def detach(self) -> Tensor:
        """Return a tensor on the same memory, outside the graph; in-place changes are seen by both."""
        tensor = self.data
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
        tensor = self._wrap_like(self._array)
        if self._counter is INFERENCE:
            tensor._counter = INFERENCE
        if self._base is not None or self._memory is not None:
            tensor._memory = self._storage_array()
        return tensor

    @data.setter
    def data(self, value: Tensor) -> None:
        if not isinstance(value, Tensor):
            raise TypeError(f"Variable data has to be a tensor, but got {type(value).__name__}")
        if self._requires_grad and not value.is_floating_point():
            raise RuntimeError("data set to a tensor that requires gradients must be floating point or complex dtype")
        self._array, self._device, self._memory = value._array, value._device, value._storage_array()
        if value._counter is INFERENCE:
            self._counter = INFERENCE

    def retain_grad(self) -> None:
        """Keep the gradient of this non-leaf tensor in `.grad`."""
        if not self.requires_grad:
            raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
        node = self.grad_fn
        if node is None or self._retains_grad:
            return
        self._retains_grad = True
        self._retain(node)

    def _retain(self, node: Node) -> None:
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
        elif self._counter is not INFERENCE:
            self._counter[0] += 1
        else:
            self._refuse_inplace_on_leaf(False)

    def _mark_inference(self) -> None:
        self._counter = INFERENCE

    def is_inference(self) -> bool:
        """Return whether this tensor was made in `inference_mode`, so that autograd cannot use it."""
        return self._counter is INFERENCE

    def _is_view(self) -> bool:
        return self._base is not None

    def _make_view(self, parent: Tensor, node: Node) -> None:
        """Note that `node` made this tensor as a view of `parent`."""
        self._base = parent if parent._base is None else parent._base
        self._view = (*parent._view, node)
        self._counter = counter = parent._version_counter()
        if counter is not INFERENCE:
            self._view_version = counter[0]
        if not state.enabled:
            self._forbidden = "inference" if state.inference else "no_grad"
        elif parent._forbidden is not None:
            self._forbidden = parent._forbidden

    def _tracked(self) -> bool:
        """Whether operations on this tensor are to be recorded."""
        if self._base is not None:
            self._refresh_view()
        return self._requires_grad

    _edge = edge_of

    def _at(self, edge: Edge) -> Tensor:
        """Return a tensor on the same memory whose gradient goes to `edge`."""
        target, number = edge
        tensor = self.detach()
        if not isinstance(target, Node):
            target, number = Alias(target), 0
        tensor._requires_grad, tensor._grad_fn, tensor._output_nr = True, target, number
        return tensor

    def _refresh_view(self) -> None:
        """Find this view's place in the graph again if its memory was changed in place since."""
        base = self._base
        assert base is not None
        if not base._requires_grad:
            return
        version = self._version
        if self._view_version != version:
            if self._forbidden is not None:
                raise self._not_followed("its base or another view of its base has been")
            self._view_version = version
            if not (self._requires_grad and self._grad_fn is None):
                with enable_grad():
                    again = self._replayed(base)
                assert again._grad_fn is not None
                self._set_origin(again._grad_fn, again._output_nr)
        self._requires_grad = True

    def _replayed(self, base: Tensor) -> Tensor:
        """Take of another tensor the view that this one is of its base."""
        for node in self._view:
            base = node.replayed(base)
        return base

    def _not_followed(self, what: str) -> RuntimeError:
        """Return the error of an in-place change that this view's place in the graph does not allow."""
        assert self._forbidden is not None
        mode, reason = _FORBIDDEN[self._forbidden]
        if self._grad_fn is None:
            made = f"A view was created in {mode or 'no_grad mode'}"
        else:
            number = self._grad_fn.__dict__.get("piece", self._output_nr)
            made = f"Output {number} of {self._grad_fn.operation} is a view"
            made += f" of a view which was created in {mode}" if mode else ""
        changed = f" and {what} modified inplace"
        if mode or self._grad_fn is None:
            changed += " in normal mode" if self._forbidden == "inference" else " with grad mode enabled"
        return RuntimeError(f"{made}{changed}. {reason}")

    def _refuse_inplace_on_leaf(self, recorded: bool | None = None) -> None:
        """Raise where an in-place change, which autograd records or not, is not allowed."""
        if self._counter is INFERENCE and not state.inference:
            raise RuntimeError(
                "Inplace update to inference tensor outside InferenceMode is not allowed. You can make a clone to get a"
                " normal tensor before doing inplace update."
            )
        if not state.enabled or not (self.requires_grad if recorded is None else recorded):
            return
        if self._base is not None:
            if self._forbidden is not None:
                raise self._not_followed("is being")
            if self._base._requires_grad and self._base._grad_fn is None:
                raise RuntimeError(
                    "a view of a leaf Variable that requires grad is being used in an in-place operation."
                )
        if self._requires_grad and self._grad_fn is None:
            raise RuntimeError("a leaf Variable that requires grad is being used in an in-place operation.")

    def _assign(self, result: Tensor) -> Tensor:
        """Take over the values of `result` and its place in the graph: `x.add_(y)` is `x._assign(x + y)`.

        `result` must come from an operation on this tensor, so that it is recorded whenever this tensor is.
        """
        self._refuse_inplace_on_leaf(result._requires_grad or self.requires_grad)
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
            node.move_output(self)
            self._rebase(node, result._output_nr)
        else:
            self._forget("FillBackward0")
        return self

    def _forget(self, origin: str) -> None:
        """Note, after all values were replaced, that they depend on nothing; the origin prints as `origin`."""
        if state.enabled and self.requires_grad:
            self._rebase(Overwritten(self, origin), 0)

    def _rebase(self, node: Node, number: int) -> None:
        """Make `node` the origin of this tensor after an in-place change; a view takes its base along."""
        if self._base is not None:
            self._base._set_origin(CopySlices(self._base, self._view, (node, number)), 0)
            self._view_version = -1
            self._refresh_view()
        else:
            self._set_origin(node, number)

    def _set_origin(self, node: Node, number: int) -> None:
        """Take a new place in the graph, and keep retaining the gradient, now of that place."""
        previous = self._grad_fn
        if self._retains_grad and previous is not None and previous._retaining is not None:
            previous._retaining.pop(self._output_nr, None)
        self._requires_grad, self._grad_fn, self._output_nr = True, node, number
        if self._retains_grad:
            self._retain(node)

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
        if self.dtype is dtypes.bfloat16:
            raise TypeError("numpy(): Got unsupported ScalarType BFloat16; use Tensor.float() first")
        if self.requires_grad:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
        return self._array

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

    def _only_element(self) -> Any:
        if self._array.size != 1:
            raise ValueError(
                f"only one element tensors can be converted to Python scalars, got shape {tuple(self.shape)}"
            )
        return self.item()

    def __float__(self) -> float:
        return float(self._real_item("double"))

    def __int__(self) -> int:
        return int(self._real_item("int64_t"))

    def _real_item(self, target: str) -> Any:
        """Return the value as a real number; an imaginary part does not fit into one."""
        value = self._only_element()
        if isinstance(value, complex):
            if value.imag:
                raise RuntimeError(f"value cannot be converted to type {target} without overflow, got {value}")
            return value.real
        return value

    def __index__(self) -> int:
        if self._array.dtype.kind not in "iub" or self._array.size != 1:
            raise TypeError("only integer tensors of a single element can be converted to an index")
        return int(self._array.item())

    def __complex__(self) -> complex:
        return complex(self._only_element())

    def __contains__(self, element: Any) -> bool:
        if isinstance(element, (Tensor, int, float, complex, np.generic)):
            return bool(self.eq(element).any())
        raise RuntimeError(f"Tensor.__contains__ only supports Tensor or scalar, but you passed in a {type(element)}.")

    def __format__(self, specification: str) -> str:
        if self._array.ndim == 0 and type(self) is Tensor:
            return self.item().__format__(specification)
        return object.__format__(self, specification)

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
        def __deepcopy__(self, memo: dict[int, Any]) -> Any: ...


_new = Tensor.__new__


def _arranged(array: Any, like: Any) -> Any:
    """Return the memory of a contiguous array in the layout of another of its shape, if that has no gaps."""
    order = sorted(range(like.ndim), key=like.strides.__getitem__, reverse=True)
    if not like.transpose(order).flags.c_contiguous:
        return array
    inverse = sorted(range(like.ndim), key=order.__getitem__)
    return array.reshape([like.shape[axis] for axis in order]).transpose(inverse)


def _of_its_class(operation: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method that gives its results, where they are plain tensors, the class of the tensor it is called on."""

    @functools.wraps(operation)
    def method(self: Tensor, *args: Any, **kwargs: Any) -> Any:
        result = operation(self, *args, **kwargs)
        for item in result if isinstance(result, tuple) else (result,):
            if type(item) is Tensor and not any([item is given for given in args]):
                item.__class__ = type(self)
        return result

    return method


def legacy_array(data: tuple[Any, ...], dtype: dtypes.dtype, where: Device) -> Any:
    """Make an array as `Tensor(...)` and `FloatTensor(...)` do: of sizes, uninitialised, or of a sequence's values."""
    if len(data) == 1 and isinstance(data[0], Size):
        return allocate(tuple(data[0]), dtype.numpy, where)
    if len(data) == 1 and (hasattr(data[0], "__len__") or not hasattr(data[0], "__index__")):
        if not hasattr(data[0], "__len__"):
            raise TypeError(f"new(): data must be a sequence (got {type(data[0]).__name__})")
        from .values import array_of

        return array_of(data[0], dtype, where)
    shape = tuple([operator.index(n) for n in data]) if data else (0,)
    if min(shape) < 0:
        raise RuntimeError(f"Tensor: Trying to create tensor with negative dimension {min(shape)}: {list(shape)}")
    return allocate(shape, dtype.numpy, where)


class Overwritten(Node):
    """The origin of a tensor whose values were all replaced by some that do not depend on them."""

    def __init__(self, previous: Tensor, name: str) -> None:
        self.name = name
        self.connect([previous])

    def backward(self, grad_output: Tensor) -> Tensor:
        """Let nothing flow back."""
        return grad_output._filled_like(0)


class Alias(Node):
    """The origin of a tensor that stands for another one."""

    def __init__(self, original: Tensor) -> None:
        self.connect([original])

    def backward(self, grad_output: Tensor) -> Tensor:
        """Pass the gradient on."""
        return grad_output


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


def is_inference(input: Tensor) -> bool:
    """Return whether a tensor was made in `inference_mode`."""
    return input.is_inference()


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
