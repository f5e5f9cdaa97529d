"""`Parameter` and `Buffer`: the tensors that a module registers when they are assigned to it."""

from __future__ import annotations

from typing import Any

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
