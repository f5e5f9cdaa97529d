"""Gradients of complex numbers.

As in PyTorch, the gradient of a real loss L with respect to z is the conjugate Wirtinger derivative, dL/dx + i dL/dy:
the direction of steepest ascent. For a holomorphic operation, with the derivative f', it is `grad * conj(f')`, or,
put so that the formula of real numbers serves both, the conjugate of that formula applied to the conjugate of `grad`.

A `Node` that says `holomorphic = True` has its `backward` wrapped so; real gradients pass through. Operations that are
linear with real coefficients need nothing; those that are not holomorphic treat complex numbers in their `backward`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .graph import Node


def backward_of_holomorphic(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Have a node's `backward`, a formula for real numbers, serve complex ones as well."""

    @functools.wraps(backward)
    def conjugated(self: Node, *grads: Any) -> Any:
        for grad in grads:
            if grad is not None and grad._array.dtype.kind == "c":
                results = backward(self, *[_conjugate(g) for g in grads])
                if isinstance(results, (tuple, list)):
                    return tuple([_conjugate(r) for r in results])
                return _conjugate(results)
        return backward(self, *grads)

    return conjugated


def _conjugate(tensor: Any) -> Any:
    return None if tensor is None else tensor.conj()
