"""Max unpooling and its relatives: values written, added up or read where flat indices of a plane say."""

from __future__ import annotations

from typing import Any

from ..autograd.graph import Node
from ..device import allocate, contiguous, kernels_for
from ..device import device as Device
from ..tensor import Tensor


def planes(array: Any, rank: int, where: Device) -> Any:
    """Return an array (N, C, *) or (C, *) as the C-contiguous (N, C, *) that kernels take."""
    if not array.flags.c_contiguous:
        array = contiguous(array, where)
    return array if array.ndim == rank + 2 else array[None]


class MaxUnpool(Node):
    """The elements of `input (N, C, *)` or (C, *) at their indices among zeros; of duplicates the last one stands."""

    saves_inputs = (1,)
    fresh_gradients = True
    in_float32 = True

    def __init__(self, output_size: tuple[int, ...]) -> None:
        self.rank = len(output_size)
        self.name = f"MaxUnpool{self.rank}DBackward0"
        self.output_size = output_size

    def forward(self, x: Any, indices: Any) -> Any:
        rank, where = self.rank, self.where
        output = allocate((*x.shape[:-rank], *self.output_size), x.dtype, where)
        arrays = [planes(array, rank, where) for array in (x, indices, output)]
        stray = kernels_for(where, "unpool").max_unpool_forward(*arrays)
        if stray is not None:
            size = "x".join(map(str, self.output_size))
            raise RuntimeError(f"Found an invalid max index: {stray} (output volumes are of size {size})")
        return output

    def backward(self, grad: Tensor) -> Any:
        return Gather(self.rank)(grad, self.saved_tensor), None


class Gather(Node):
    """The elements of `input (N, C, *)` or (C, *) at flat indices of their plane; 0 where the index is -1."""

    saves_inputs = (1,)
    fresh_gradients = True
    in_float32 = True

    def __init__(self, rank: int) -> None:
        self.rank = rank

    def forward(self, x: Any, indices: Any) -> Any:
        self.shape = x.shape
        output = allocate(indices.shape, x.dtype, self.where)
        arrays = [planes(array, self.rank, self.where) for array in (x, indices, output)]
        kernels_for(self.where, "unpool").max_unpool_backward(*arrays)
        return output

    def backward(self, grad: Tensor) -> Any:
        return AddAt(self.rank, self.shape)(grad, self.saved_tensor), None


class AddAt(Node):
    """The elements of `input (N, C, *)` or (C, *) added up at their indices in planes of zeros, but those at -1."""

    name = "ScatterAddBackward0"
    saves_inputs = (1,)
    fresh_gradients = True
    in_float32 = True

    def __init__(self, rank: int, shape: tuple[int, ...]) -> None:
        self.rank, self.shape = rank, shape

    def forward(self, x: Any, indices: Any) -> Any:
        output = allocate(self.shape, x.dtype, self.where)
        arrays = [planes(array, self.rank, self.where) for array in (x, indices, output)]
        kernels_for(self.where, "unpool").max_unpool_add(*arrays)
        return output

    def backward(self, grad: Tensor) -> Any:
        return Gather(self.rank)(grad, self.saved_tensor), None
