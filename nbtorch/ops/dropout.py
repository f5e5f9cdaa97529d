"""Dropout of elements."""

from __future__ import annotations

from typing import Any

from ..autograd.graph import Node
from ..device import allocate, contiguous, kernels_for
from ..tensor import Tensor


def threshold(p: float) -> tuple[int, float]:
    """Return below which of 2^32 random numbers an element is dropped, and what the others are multiplied by."""
    bound = round(p * 2**32)
    return bound, 2**32 / (2**32 - bound) if bound < 2**32 else 0.0


class Dropout(Node):
    """Elements times 1/(1 - p), or 0 with probability p, as two keys of 32 bits say: no mask is kept."""

    name = "MulBackward0"
    in_float32 = True
    fresh_gradients = True

    def __init__(self, p: float, keys: tuple[int, int]) -> None:
        self.p, self.keys = p, keys

    def forward(self, x: Any) -> Any:
        x = contiguous(x, self.where)
        y = allocate(x.shape, x.dtype, self.where)
        kernels_for(self.where, "dropout").dropout(x, self.keys, *threshold(self.p), y)
        return y

    def backward(self, grad: Tensor) -> Tensor:
        return type(self)(self.p, self.keys)(grad)
