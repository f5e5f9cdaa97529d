"""Poolings that average: average, adaptive average and power-average pooling, of any rank."""

from __future__ import annotations

from typing import Any

from ..autograd.grad_mode import state
from ..autograd.graph import Node
from ..device import allocate, kernels_for
from ..device import device as Device
from ..tensor import Tensor
from .conv import Extents, triple, volumetric


class SlidingMeans:
    """Windows of average pooling and what their sums are divided by: `divisor`, or if that is 0 their size."""

    def __init__(
        self, kernel_size: Extents, stride: Extents, padding: Extents, count_include_pad: bool = True, divisor: int = 0
    ) -> None:
        self.arguments = triple(kernel_size, 1), triple(stride, 1), triple(padding, 0), count_include_pad, divisor

    def average(self, where: Device, x: Any, output: Any) -> None:
        """Write the means."""
        kernels_for(where, "avg_pool").avg_pool_forward(x, *self.arguments, output)

    def share(self, where: Device, grad: Any, grad_input: Any) -> None:
        """Write the gradients of the elements."""
        kernels_for(where, "avg_pool").avg_pool_backward(grad, *self.arguments, grad_input)


class AdaptiveMeans:
    """Regions of adaptive average pooling."""

    def average(self, where: Device, x: Any, output: Any) -> None:
        """Write the means."""
        kernels_for(where, "adaptive_pool").adaptive_avg_pool_forward(x, output)

    def share(self, where: Device, grad: Any, grad_input: Any) -> None:
        """Write the gradients of the elements."""
        kernels_for(where, "adaptive_pool").adaptive_avg_pool_backward(grad, grad_input)


Means = SlidingMeans | AdaptiveMeans


class AvgPool(Node):
    """The mean of each window of `input (N, C, *)`."""

    fresh_gradients = True
    in_float32 = True

    def __init__(self, name: str, means: Means, output_size: Extents) -> None:
        self.name, self.means, self.output_size = name, means, output_size

    def forward(self, x: Any) -> Any:
        self.input_size = x.shape[2:]
        output = allocate((*x.shape[:2], *self.output_size), x.dtype, self.where)
        self.means.average(self.where, volumetric(x, self.where), volumetric(output, self.where))
        return output

    def backward(self, grad: Tensor) -> Tensor:
        return AvgPoolGrad(self.name, self.means, self.input_size)(grad)


class AvgPoolGrad(Node):
    """What each element of `input` gets of the gradients of its windows: the transpose of `AvgPool`."""

    fresh_gradients = True
    in_float32 = True

    def __init__(self, name: str, means: Means, input_size: Extents) -> None:
        self.forward_name, self.means, self.input_size = name, means, input_size
        self.name = name.replace("Backward0", "BackwardBackward0")

    def forward(self, grad: Any) -> Any:
        self.output_size = grad.shape[2:]
        grad_input = allocate((*grad.shape[:2], *self.input_size), grad.dtype, self.where)
        self.means.share(self.where, volumetric(grad, self.where), volumetric(grad_input, self.where))
        return grad_input

    def backward(self, grad: Tensor) -> Tensor:
        return AvgPool(self.forward_name, self.means, self.output_size)(grad)


class LpPool(Node):
    """The power average of each window of `input (N, C, *)`: the p-th root of the sum of p-th powers."""

    name = "LpPoolBackward0"
    saves_inputs = (0,)
    saves_outputs = (0,)
    fresh_gradients = True
    in_float32 = True

    def __init__(self, norm_type: float, kernel_size: Extents, stride: Extents, output_size: Extents) -> None:
        self.norm_type, self.output_size = norm_type, output_size
        self.kernel_size, self.stride = triple(kernel_size, 1), triple(stride, 1)

    def forward(self, x: Any) -> Any:
        output = allocate((*x.shape[:2], *self.output_size), x.dtype, self.where)
        arrays = volumetric(x, self.where), self.norm_type, self.kernel_size, self.stride
        kernels_for(self.where, "lp_pool").lp_pool_forward(*arrays, volumetric(output, self.where))
        return output

    def backward(self, grad: Tensor) -> Tensor:
        x, output = self.saved_tensors
        if state.enabled:
            return self._differentiable_gradient(grad, x)
        return LpPoolGrad(self)(grad, x, output)

    def _differentiable_gradient(self, grad: Tensor, x: Tensor) -> Tensor:
        """Return the gradient as a chain of operations that have derivatives of their own."""
        p, rank = self.norm_type, len(self.output_size)
        size = self.kernel_size[0] * self.kernel_size[1] * self.kernel_size[2]
        means = SlidingMeans(self.kernel_size, self.stride, (0, 0, 0))
        mean = AvgPool(f"AvgPool{rank}DBackward0", means, self.output_size)(x**p)
        slope = grad * (mean * size) ** (1 / p - 1) * (size / p)
        flat = (mean == 0) | (mean != mean) if p == 1 else mean == 0
        shared = AvgPoolGrad(f"AvgPool{rank}DBackward0", means, x.shape[2:])(slope.masked_fill(flat, 0))
        return shared * (x ** (p - 1) * p)


class LpPoolGrad(Node):
    """The gradient of `LpPool` in one pass, for when nobody asks for its own gradient."""

    name = "LpPoolBackwardBackward0"
    in_float32 = True

    def __init__(self, pooling: LpPool) -> None:
        self.arguments = pooling.norm_type, pooling.kernel_size, pooling.stride

    def forward(self, grad: Any, x: Any, output: Any) -> Any:
        arrays = [volumetric(a, self.where) for a in (grad, x, output)]
        grad_input = allocate(x.shape, arrays[0].dtype, self.where)
        lp_pool_backward = kernels_for(self.where, "lp_pool").lp_pool_backward
        lp_pool_backward(*arrays, *self.arguments, volumetric(grad_input, self.where))
        return grad_input
