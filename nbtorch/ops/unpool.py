"""Max unpooling and its relatives: values written, added up or read where flat indices of a plane say."""

from __future__ import annotations

from typing import Any

from ..autograd.graph import Node
from ..device import allocate, contiguous, kernels_for
from ..tensor import Tensor


class MaxUnpool(Node):
    """The elements of `input (N, C, *)` at their indices in planes of zeros; of duplicates the last one stands."""

    saves_inputs = (1,)
    fresh_gradients = True
    in_float32 = True

    def __init__(self, output_size: tuple[int, ...]) -> None:
        self.name = f"MaxUnpool{len(output_size)}DBackward0"
        self.output_size = output_size

    def forward(self, x: Any, indices: Any) -> Any:
        x = contiguous(x, self.where)
        output = allocate((*x.shape[:2], *self.output_size), x.dtype, self.where)
        kernels = kernels_for(self.where, "unpool")
        stray = kernels.max_unpool_forward(x, contiguous(indices, self.where), output)
        if stray is not None:
            size = "x".join(map(str, self.output_size))
            raise RuntimeError(f"Found an invalid max index: {stray} (output volumes are of size {size})")
        return output

    def backward(self, grad: Tensor) -> Any:
        return Gather()(grad, self.saved_tensor), None


class Gather(Node):
    """The elements of `input (N, C, *)` at flat indices of their plane; 0 where the index is -1."""

    saves_inputs = (1,)
    fresh_gradients = True
    in_float32 = True

    def forward(self, x: Any, indices: Any) -> Any:
        self.shape = x.shape
        x = contiguous(x, self.where)
        output = allocate(indices.shape, x.dtype, self.where)
        kernels_for(self.where, "unpool").max_unpool_backward(x, contiguous(indices, self.where), output)
        return output

    def backward(self, grad: Tensor) -> Any:
        return AddAt(self.shape)(grad, self.saved_tensor), None


class AddAt(Node):
    """The elements of `input (N, C, *)` added up at their indices in planes of zeros; those at -1 are left out."""

    name = "ScatterAddBackward0"
    saves_inputs = (1,)
    fresh_gradients = True
    in_float32 = True

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    def forward(self, x: Any, indices: Any) -> Any:
        x = contiguous(x, self.where)
        output = allocate(self.shape, x.dtype, self.where)
        kernels_for(self.where, "unpool").max_unpool_add(x, contiguous(indices, self.where), output)
        return output

    def backward(self, grad: Tensor) -> Any:
        return Gather()(grad, self.saved_tensor), None
