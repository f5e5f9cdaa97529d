"""Poolings that average: average, adaptive average and power-average pooling, of any rank."""

from __future__ import annotations

from typing import Any

from ..autograd.grad_mode import state
from ..autograd.graph import Node
from ..device import allocate, kernels_for
from ..device import device as Device
from ..tensor import Tensor
from .conv import Extents, triple
from .unpool import planes


class SlidingMeans:
    """Windows of average pooling and what their sums are divided by: `divisor`, or if that is 0 their size."""

    def __init__(
        self, kernel_size: Extents, stride: Extents, padding: Extents, count_include_pad: bool = True, divisor: int = 0
    ) -> None:
        self.rank = len(kernel_size)
        self.arguments = triple(kernel_size, 1), triple(stride, 1), triple(padding, 0), count_include_pad, divisor

    def average(self, where: Device, x: Any, output: Any) -> None:
        """Write the means."""
        kernels_for(where, "avg_pool").avg_pool_forward(x, *self.arguments, output)

    def share(self, where: Device, grad: Any, grad_input: Any) -> None:
        """Write the gradients of the elements."""
        kernels_for(where, "avg_pool").avg_pool_backward(grad, *self.arguments, grad_input)


class AdaptiveMeans:
    """Regions of adaptive average pooling."""

    def __init__(self, rank: int) -> None:
        self.rank = rank

    def average(self, where: Device, x: Any, output: Any) -> None:
        """Write the means."""
        kernels_for(where, "adaptive_pool").adaptive_avg_pool_forward(x, output)

    def share(self, where: Device, grad: Any, grad_input: Any) -> None:
        """Write the gradients of the elements."""
        kernels_for(where, "adaptive_pool").adaptive_avg_pool_backward(grad, grad_input)


Means = SlidingMeans | AdaptiveMeans


class AvgPool(Node):
    """The mean of each window of `input (N, C, *)` or (C, *)."""

    fresh_gradients = True
    in_float32 = True

    def __init__(self, name: str, means: Means, output_shape: Extents) -> None:
        self._name, self.means, self.output_shape = name, means, output_shape

    def forward(self, x: Any) -> Any:
        self.shape, where, rank = x.shape, self.where, self.means.rank
        output = allocate(self.output_shape, x.dtype, where)
        self.means.average(where, planes(x, rank, where), planes(output, rank, where))
        return output

    def backward(self, grad: Tensor) -> Tensor:
        return AvgPoolGrad(self._name, self.means, self.shape)(grad)


class AvgPoolGrad(Node):
    """What each element of `input` gets of the gradients of its windows: the transpose of `AvgPool`."""

    fresh_gradients = True
    in_float32 = True

    def __init__(self, name: str, means: Means, shape: Extents) -> None:
        self.forward_name, self.means, self.shape = name, means, shape
        self._name = name.replace("Backward0", "BackwardBackward0")

    def forward(self, grad: Any) -> Any:
        self.output_shape, where, rank = grad.shape, self.where, self.means.rank
        grad_input = allocate(self.shape, grad.dtype, where)
        self.means.share(where, planes(grad, rank, where), planes(grad_input, rank, where))
        return grad_input

    def backward(self, grad: Tensor) -> Tensor:
        return AvgPool(self.forward_name, self.means, self.output_shape)(grad)


class LpPool(Node):
    """The power average of each window of `input (N, C, *)` or (C, *): the p-th root of the sum of p-th powers."""

    name = "LpPoolBackward0"
    saves_inputs = (0,)
    saves_outputs = (0,)
    fresh_gradients = True
    in_float32 = True

    def __init__(self, norm_type: float, kernel_size: Extents, stride: Extents, output_shape: Extents) -> None:
        self.norm_type, self.output_shape, self.rank = norm_type, output_shape, len(kernel_size)
        self.kernel_size, self.stride = triple(kernel_size, 1), triple(stride, 1)

    def forward(self, x: Any) -> Any:
        output = allocate(self.output_shape, x.dtype, self.where)
        arguments = self.norm_type, self.kernel_size, self.stride
        lp_pool_forward = kernels_for(self.where, "lp_pool").lp_pool_forward
        lp_pool_forward(planes(x, self.rank, self.where), *arguments, planes(output, self.rank, self.where))
        return output

    def backward(self, grad: Tensor) -> Tensor:
        x, output = self.saved_tensors
        if state.enabled:
            return self._differentiable_gradient(grad, x)
        return LpPoolGrad(self)(grad, x, output)

    def _differentiable_gradient(self, grad: Tensor, x: Tensor) -> Tensor:
        """Return the gradient as a chain of operations that have derivatives of their own."""
        p, rank = self.norm_type, self.rank
        size = self.kernel_size[0] * self.kernel_size[1] * self.kernel_size[2]
        means = SlidingMeans(self.kernel_size[-rank:], self.stride[-rank:], (0,) * rank)
        mean = AvgPool(f"AvgPool{rank}DBackward0", means, self.output_shape)(x**p)
        slope = grad * (mean * size) ** (1 / p - 1) * (size / p)
        flat = (mean == 0) | (mean != mean) if p == 1 else mean == 0
        shared = AvgPoolGrad(f"AvgPool{rank}DBackward0", means, x._array.shape)(slope.masked_fill(flat, 0))
        return shared * (x ** (p - 1) * p)


class LpPoolGrad(Node):
    """The gradient of `LpPool` in one pass, for when nobody asks for its own gradient."""

    name = "LpPoolBackwardBackward0"
    in_float32 = True

    def __init__(self, pooling: LpPool) -> None:
        self.arguments, self.rank = (pooling.norm_type, pooling.kernel_size, pooling.stride), pooling.rank

    def forward(self, grad: Any, x: Any, output: Any) -> Any:
        grad_input = allocate(x.shape, grad.dtype, self.where)
        *arrays, target = [planes(array, self.rank, self.where) for array in (grad, x, output, grad_input)]
        kernels_for(self.where, "lp_pool").lp_pool_backward(*arrays, *self.arguments, target)
        return grad_input
