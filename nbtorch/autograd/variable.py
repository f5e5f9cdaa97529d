"""`Variable`, the name that tensors which autograd follows once had."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor


class _VariableMeta(type):
    """A tensor is an instance of `Variable`."""

    def __instancecheck__(cls, other: Any) -> bool:
        return isinstance(other, Tensor)


class Variable(metaclass=_VariableMeta):
    """The deprecated `Variable(tensor, requires_grad)`: gives a tensor on the same memory, outside the graph."""

    def __new__(cls, data: Any = None, requires_grad: bool = False, volatile: Any = None) -> Any:
        """Return a tensor on the memory of `data`."""
        return (Tensor() if data is None else data.detach()).requires_grad_(requires_grad)
