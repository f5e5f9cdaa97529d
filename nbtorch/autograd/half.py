"""Half precision: operations that compute float16 and bfloat16 in float32 and round the result once, as PyTorch does.

A `Node` that says `in_float32 = True` has its `forward` and `backward` wrapped by these two; other types pass through.
Where the kernels of its `half_family` multiply half precision as it is, which tensor cores do, it gets it as it is.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import dtypes
from ..device import CPU, kernels_for

if TYPE_CHECKING:
    from .graph import Node

_HALF = dtypes.HALF_CHARS


def widen(array: Any) -> Any:
    """Return an array of half precision in float32; others as they are."""
    return array.astype(np.float32) if array.dtype.char in _HALF else array


def _takes_half(node: Node) -> bool:
    """Whether the node's kernels compute half precision as it is, where the node is."""
    if node.where is CPU or not node.half_family:
        return False
    return kernels_for(node.where, node.half_family).computes_half()


def forward_in_float32(forward: Callable[..., Any]) -> Callable[..., Any]:
    """Have a node's `forward` see float32 in place of half precision, and round its results."""

    @functools.wraps(forward)
    def wide(self: Node, *arrays: Any) -> Any:
        for array in arrays:
            if array.dtype.char in _HALF:
                if _takes_half(self):
                    return forward(self, *arrays)
                return _narrowed(forward(self, *[widen(a) for a in arrays]), array.dtype)
        return forward(self, *arrays)

    return wide


def _narrowed(outputs: Any, half: np.dtype) -> Any:
    if type(outputs) is tuple:
        return tuple([_narrowed(output, half) for output in outputs])
    return outputs.astype(half) if outputs.dtype == np.float32 else outputs


def backward_in_float32(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Have a node's `backward` see float32 in place of half precision, and round the gradients it returns."""

    @functools.wraps(backward)
    def wide(self: Node, *grads: Any) -> Any:
        for grad in grads:
            if grad is not None and grad._array.dtype.char in _HALF:
                if _takes_half(self):
                    return backward(self, *grads)
                half = grad.dtype
                results = backward(_with_saved_widened(self), *[_widened(g) for g in grads])
                if isinstance(results, (tuple, list)):
                    return tuple([_rounded(r, half) for r in results])
                return _rounded(results, half)
        return backward(self, *grads)

    return wide


def _with_saved_widened(node: Node) -> Node:
    saved = tuple([_widened(tensor) for tensor in node.saved_tensors])
    node = copy.copy(node)
    node._saved, node._versions = saved, tuple([0 if tensor is None else tensor._version for tensor in saved])
    return node


def _widened(tensor: Any) -> Any:
    return tensor.to(dtypes.float32) if tensor is not None and tensor._array.dtype.char in _HALF else tensor


def _rounded(tensor: Any, half: dtypes.dtype) -> Any:
    return tensor.to(half) if tensor is not None and tensor.dtype is dtypes.float32 else tensor
