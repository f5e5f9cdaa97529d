"""`Parameter` and `Buffer`: the tensors that a module registers when they are assigned to it."""

from __future__ import annotations

from typing import Any

from .. import dtypes
from ..creation import empty
from ..tensor import Tensor


class _Registered(Tensor, plain_results=True):
    """A tensor of a class of its own on the memory of another tensor, without history."""

    def __init__(self, data: Any = None) -> None:
        if data is None:
            super().__init__()
            return
        if not isinstance(data, Tensor):
            raise AttributeError(f"{type(self).__name__}: data must be a Tensor, got {type(data).__name__}")
        self._array, self._memory = data._array, data._storage_array()
        self._counter = data._version_counter()
        if data.is_cuda:
            self._device = data.device


class Parameter(_Registered):
    """A tensor that is learned: assigned to an attribute of a module, it appears in `module.parameters()`.

    It shares the memory of the tensor that it is made of. Operations on parameters give plain tensors.

    Args:
        data: the tensor that holds the values, of any shape (default: an empty tensor).
        requires_grad: whether backward accumulates a gradient in `.grad`.

    Raises:
        RuntimeError: `requires_grad` with a dtype that is not floating point.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.parameter.Parameter.html

    >>> import nbtorch
    >>> weight = nbtorch.nn.Parameter(nbtorch.ones(2))
    >>> weight
    Parameter containing:
    tensor([1., 1.], requires_grad=True)
    >>> type(weight * 2).__name__
    'Tensor'
    """

    def __init__(self, data: Tensor | None = None, requires_grad: bool = True) -> None:
        super().__init__(data)
        self.requires_grad_(requires_grad)

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        copied = super().__deepcopy__(memo)
        copied.grad = None  # as in PyTorch, where only plain tensors take their gradients along
        return copied

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"

    __str__ = __repr__


class Buffer(_Registered):
    """A tensor that is not learned: assigned to an attribute of a module, it appears in `module.buffers()`.

    Args:
        data: the tensor that holds the values, of any shape (default: an empty tensor).
        persistent: whether it is part of the module's state_dict.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.parameter.Buffer.html

    >>> import nbtorch
    >>> module = nbtorch.nn.Module()
    >>> module.mean = nbtorch.nn.Buffer(nbtorch.zeros(2))
    >>> module.state_dict()["mean"]
    tensor([0., 0.])
    """

    persistent = True

    def __init__(self, data: Tensor | None = None, *, persistent: bool = True) -> None:
        super().__init__(data)
        if data is not None:
            self._requires_grad = data.requires_grad
        if not persistent:
            self.persistent = False


class UninitializedTensorMixin:
    """A parameter or buffer that has a type and a device, but no shape yet: it waits for a first input.

    Moving and casting it works; everything that needs a shape raises.
    """

    cls_to_become: type[Tensor]

    def materialize(self, shape: Any, device: Any = None, dtype: Any = None) -> None:
        """Take on a shape, uninitialised values, and the class of ordinary parameters or buffers."""
        tensor: Any = self
        data = empty(
            *shape,
            device=tensor._device if device is None else device,
            dtype=dtypes.from_numpy_dtype(tensor._array.dtype) if dtype is None else dtype,
        )
        tensor.__dict__.pop("_device", None)
        tensor._array = data._array
        if data.is_cuda:
            tensor._device = data.device
        tensor.__class__ = self.cls_to_become

    @property
    def shape(self) -> Any:
        """Raise a RuntimeError: there is no shape yet."""
        raise RuntimeError(
            "Can't access the shape of an uninitialized parameter or buffer. This error usually happens in"
            " `load_state_dict` when trying to load an uninitialized parameter into an initialized one. Call"
            " `forward` to initialize the parameters before accessing their attributes."
        )

    def share_memory_(self) -> Any:
        """Raise a RuntimeError: there is no memory yet."""
        raise RuntimeError(
            "Can't share memory on an uninitialized parameter or buffer. Call `forward` to initialize the parameters"
            " before calling `module.share_memory()`."
        )

    def detach(self) -> Any:
        """Return the parameter itself, which has no values that could be shared."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        if id(self) not in memo:
            tensor: Any = self
            dtype = dtypes.from_numpy_dtype(tensor._array.dtype)
            memo[id(self)] = _uninitialized(type(self), tensor._requires_grad, tensor._device, dtype)
        return memo[id(self)]

    def __reduce_ex__(self, protocol: Any) -> Any:
        tensor: Any = self
        dtype = dtypes.from_numpy_dtype(tensor._array.dtype)
        return _uninitialized, (type(self), tensor._requires_grad, str(tensor._device), dtype)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    __str__ = __repr__


def _uninitialized(cls: Any, requires_grad: bool, device: Any, dtype: Any) -> Any:
    """Make an uninitialised parameter or buffer again of what was pickled."""
    tensor = cls(device=device, dtype=dtype)
    tensor._requires_grad = requires_grad
    return tensor


def _refused(name: str) -> Any:
    def operation(self: Any, *args: Any, **kwargs: Any) -> Any:
        raise ValueError(
            f"Attempted to use an uninitialized parameter in {name}. This error happens when you are using a"
            " `LazyModule` or explicitly manipulating `torch.nn.parameter.UninitializedParameter` objects. When using"
            " LazyModules Call `forward` with a dummy batch to initialize the parameters before calling torch functions"
        )

    return operation


for _name in ("add", "radd", "sub", "rsub", "mul", "rmul", "truediv", "rtruediv", "matmul", "neg", "getitem", "pow"):
    setattr(UninitializedTensorMixin, f"__{_name}__", _refused(_name))


class UninitializedParameter(UninitializedTensorMixin, Parameter):
    """A parameter without a shape, as lazy modules have before their first input.

    Args:
        requires_grad: whether backward will accumulate a gradient.
        device: where the values will lie.
        dtype: their type.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.parameter.UninitializedParameter.html

    >>> import nbtorch
    >>> nbtorch.nn.UninitializedParameter()
    <UninitializedParameter>
    """

    cls_to_become = Parameter

    def __init__(self, requires_grad: bool = True, device: Any = None, dtype: Any = None) -> None:
        Parameter.__init__(self, _empty(device, dtype), requires_grad)


class UninitializedBuffer(UninitializedTensorMixin, Tensor, plain_results=True):
    """A buffer without a shape, as lazy modules have before their first input.

    Args:
        requires_grad: whether it will require gradients.
        device: where the values will lie.
        dtype: their type.
        persistent: whether it is part of the module's state_dict.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.parameter.UninitializedBuffer.html

    >>> import nbtorch
    >>> nbtorch.nn.UninitializedBuffer()
    <UninitializedBuffer>
    """

    cls_to_become = Tensor

    def to(self, *args: Any, **kwargs: Any) -> UninitializedBuffer:
        """Return a buffer without a shape of another type or on another device."""
        return self._converted(self._plain().to(*args, **kwargs))

    def cpu(self) -> UninitializedBuffer:
        """Return a buffer without a shape on the CPU."""
        return self._converted(self._plain().cpu())

    def cuda(self, device: Any = None) -> UninitializedBuffer:
        """Return a buffer without a shape on a GPU."""
        return self._converted(self._plain().cuda(device))

    def _plain(self) -> Tensor:
        return Tensor._wrap(self._array, self._device)

    def _converted(self, tensor: Tensor) -> UninitializedBuffer:
        return UninitializedBuffer(self._requires_grad, tensor._device, tensor.dtype, self.persistent)

    def __init__(
        self, requires_grad: bool = False, device: Any = None, dtype: Any = None, persistent: bool = True
    ) -> None:
        data = _empty(device, dtype)
        self._array = data._array
        if data.is_cuda:
            self._device = data.device
        self._requires_grad = requires_grad
        self.persistent = persistent


def _empty(device: Any, dtype: Any) -> Tensor:
    return empty(0, device=device, dtype=dtype)


def is_lazy(param: Any) -> bool:
    """Whether a parameter or buffer has no shape yet."""
    return isinstance(param, UninitializedTensorMixin)
