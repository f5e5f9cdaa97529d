"""Python functions applied element by element, in place; slow, as in PyTorch, and outside the graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..device import CPU
from ..quiet import quietly
from ..tensor import Tensor, method
from .operands import require_tensor
from .shape import expand_as


def _replaced(operation: str, function: Callable[..., Any], target: Tensor, *others: Tensor) -> Tensor:
    """Write to each element of `target` what `function` returns for it and the elements of `others`."""
    if target.requires_grad:
        raise RuntimeError(
            f"Can't call {operation}() on Variable that requires grad. Use var.detach().{operation}() instead."
        )
    columns = [target]
    for other in others:
        require_tensor(operation, "tensor", other)
        if other.dtype is not target.dtype or other._device != target._device:
            raise TypeError(f"{operation}: expected {target.type()} for 'other' (got {other.type()})")
        columns.append(expand_as(other, target))
    if target._device is not CPU:
        raise TypeError(f"{operation} is only implemented on CPU tensors")
    values = [function(*elements) for elements in zip(*[c._array.ravel().tolist() for c in columns], strict=True)]
    if values:
        target._array[...] = quietly(np.array(values).astype, target._array.dtype).reshape(target._array.shape)
    target._bump_version()
    return target


@method
def apply_(self: Tensor, callable: Callable[[Any], Any]) -> Tensor:
    """Replace each element of a CPU tensor by what `callable` returns for it."""
    return _replaced("apply_", callable, self)


@method
def map_(self: Tensor, tensor: Tensor, callable: Callable[[Any, Any], Any]) -> Tensor:
    """Replace each element of a CPU tensor by what `callable` returns for it and that of another tensor."""
    return _replaced("map_", callable, self, tensor)


@method
def map2_(self: Tensor, x: Tensor, y: Tensor, callable: Callable[[Any, Any, Any], Any]) -> Tensor:
    """Replace each element of a CPU tensor by what `callable` returns for it and those of two other tensors."""
    return _replaced("map2_", callable, self, x, y)
