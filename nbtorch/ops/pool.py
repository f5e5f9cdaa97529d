"""Max pooling of any rank."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd.graph import Node
from ..device import allocate, kernels_for
from ..tensor import Tensor
from .conv import Extents, triple, volumetric


class MaxPool(Node):
    """The largest element of each window of `input (N, C, *)`, and its flat index among the input's positions."""

    saves_outputs = (1,)
    in_float32 = True

    def __init__(
        self, kernel_size: Extents, stride: Extents, padding: Extents, dilation: Extents, output_size: Extents
    ) -> None:
        self.windows = triple(kernel_size, 1), triple(stride, 1), triple(padding, 0), triple(dilation, 1)
        self.output_size = output_size
        self.name = f"MaxPool{len(kernel_size)}DWithIndicesBackward0"

    def forward(self, x: Any) -> Any:
        self.shape = x.shape
        output = allocate((*x.shape[:2], *self.output_size), x.dtype, self.where)
        indices = allocate(output.shape, np.dtype(np.int64), self.where)
        kernels_for(self.where, "pool").max_pool_forward(
            volumetric(x, self.where),
            *self.windows,
            volumetric(output, self.where),
            volumetric(indices, self.where),
        )
        return output, indices

    def backward(self, grad: Tensor, grad_indices: Any) -> Tensor:
        return MaxPoolGrad(self)(grad, self.saved_tensor.detach())


class MaxPoolGrad(Node):
    """Gradients of the outputs added up where the largest elements were."""

    fresh_gradients = True
    saves_inputs = (1,)
    in_float32 = True

    def __init__(self, pooling: MaxPool | MaxPoolGrad) -> None:
        self.windows, self.shape = pooling.windows, pooling.shape
        self.name = pooling.name.replace("Backward0", "BackwardBackward0")

    def forward(self, grad: Any, indices: Any) -> Any:
        grad_input = allocate(self.shape, grad.dtype, self.where)
        kernels_for(self.where, "pool").max_pool_backward(
            volumetric(grad, self.where),
            volumetric(indices, self.where),
            *self.windows,
            volumetric(grad_input, self.where),
        )
        return grad_input

    def backward(self, grad: Tensor) -> Any:
        return MaxPoolGather(self)(grad, self.saved_tensor), None


class MaxPoolGather(Node):
    """The elements at the indices of a max pooling: what its second derivative needs."""

    name = "GatherBackward0"
    saves_inputs = (1,)
    in_float32 = True

    def __init__(self, pooling: MaxPoolGrad) -> None:
        self.pooling = pooling

    def forward(self, x: Any, indices: Any) -> Any:
        output = allocate(indices.shape, x.dtype, self.where)
        kernels_for(self.where, "pool").max_pool_gather(
            volumetric(x, self.where), volumetric(indices, self.where), volumetric(output, self.where)
        )
        return output

    def backward(self, grad: Tensor) -> Any:
        return MaxPoolGrad(self.pooling)(grad, self.saved_tensor), None
