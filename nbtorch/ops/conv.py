"""Convolution and transposed convolution of any rank.

A convolution has three kernels: forward, gradient of the input, gradient of the weight. The forward of the transposed
convolution *is* the gradient of the input, and the gradients of all of them are convolutions again, so two nodes cover
both operations and every order of derivative.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from ..autograd.graph import Node
from ..device import allocate, contiguous, kernels_for
from ..device import device as Device
from ..tensor import Tensor
from .complex import Complex
from .integer_conv import IntegerConvolution

Extents = tuple[int, ...]


def volumetric(array: Any, where: Device) -> Any:
    """Return (N, C, *spatial) as the C-contiguous (N, C, D, H, W) that kernels take, if possible without a copy."""
    array = contiguous(array, where)
    return array.reshape(array.shape[:2] + (1,) * (5 - array.ndim) + array.shape[2:])


def triple(extents: Extents, fill: int) -> tuple[int, int, int]:
    """Return extents with those of the missing leading dimensions filled in."""
    return (fill,) * (3 - len(extents)) + extents  # type: ignore[return-value]


class _Geometry:
    """How a convolution's kernel steps over its input, for each spatial dimension; `padding` is what comes before."""

    def __init__(self, stride: Extents, padding: Extents, dilation: Extents, groups: int) -> None:
        self.arguments = triple(stride, 1), triple(padding, 0), triple(dilation, 1), groups
        """The arguments that the kernels take."""
        self.groups = groups


_geometry = lru_cache(maxsize=1024)(_Geometry)


class Convolution(Node):
    """`input (N, C, *)`, `weight`, and perhaps `bias` to `output (N, O, *)`; or, transposed, the other way round.

    `weight` is (O, C/groups, *kernel) for a convolution and (C, O/groups, *kernel) for a transposed one: in both cases
    its first dimension goes with the side that the plain convolution outputs.
    """

    saves_inputs = (0, 1)
    saved_for = (1, 0)
    fresh_gradients = True
    in_float32 = True
    half_family = "conv"

    def __init__(self, geometry: _Geometry, transposed: bool, output_size: Extents) -> None:
        self.geometry, self.transposed, self.output_size = geometry, transposed, output_size

    def forward(self, x: Any, weight: Any, bias: Any = None) -> Any:
        self.input_size, self.weight_shape = x.shape[2:], weight.shape
        channels = weight.shape[1] * self.geometry.groups if self.transposed else weight.shape[0]
        output = allocate((x.shape[0], channels, *self.output_size), x.dtype, self.where)
        kernels = kernels_for(self.where, "conv")
        run = kernels.conv_grad_input if self.transposed else kernels.conv_forward
        run(
            volumetric(x, self.where),
            volumetric(weight, self.where),
            None if bias is None else contiguous(bias, self.where),
            *self.geometry.arguments,
            volumetric(output, self.where),
        )
        return output

    def backward(self, grad: Tensor) -> Any:
        x, weight = self.saved_tensors
        to_input, to_weight, *to_bias = self.needs_input_grad
        grads: list[Any] = [None, None]
        if to_input:
            grads[0] = Convolution(self.geometry, not self.transposed, self.input_size)(grad, weight)
        if to_weight:
            pair = (grad, x) if self.transposed else (x, grad)
            grads[1] = ConvolutionWeight(self.geometry, self.weight_shape)(*pair)
        return (*grads, *[ConvolutionBias()(grad) if wanted else None for wanted in to_bias])


class ConvolutionWeight(Node):
    """The gradient of the weight, from the larger side (the plain convolution's input) and the smaller (its output)."""

    name = "ConvolutionBackwardBackward0"
    saves_inputs = (0, 1)
    saved_for = (1, 0)
    fresh_gradients = True
    in_float32 = True
    half_family = "conv"

    def __init__(self, geometry: _Geometry, shape: Extents) -> None:
        self.geometry, self.shape = geometry, shape

    def forward(self, x: Any, grad_output: Any) -> Any:
        self.input_size, self.output_size = x.shape[2:], grad_output.shape[2:]
        grad_weight = allocate(self.shape, x.dtype, self.where)
        kernels_for(self.where, "conv").conv_grad_weight(
            volumetric(grad_output, self.where),
            volumetric(x, self.where),
            *self.geometry.arguments,
            volumetric(grad_weight, self.where),
        )
        return grad_weight

    def backward(self, grad: Tensor) -> Any:
        x, grad_output = self.saved_tensors
        to_input, to_output = self.needs_input_grad
        return (
            Convolution(self.geometry, True, self.input_size)(grad_output, grad) if to_input else None,
            Convolution(self.geometry, False, self.output_size)(x, grad) if to_output else None,
        )


class ConvolutionBias(Node):
    """The gradient of the bias: the sum over the batch and all positions."""

    name = "SumBackward1"
    fresh_gradients = True
    in_float32 = True

    def forward(self, grad_output: Any) -> Any:
        self.shape = grad_output.shape
        grad_bias = allocate((self.shape[1],), grad_output.dtype, self.where)
        kernels_for(self.where, "conv").conv_grad_bias(volumetric(grad_output, self.where), grad_bias)
        return grad_bias

    def backward(self, grad: Tensor) -> Tensor:
        return grad.reshape((1, -1) + (1,) * (len(self.shape) - 2)).expand(self.shape)


def convolution(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Extents,
    padding: Extents,
    dilation: Extents,
    groups: int,
    transposed: bool,
    output_size: Extents,
) -> Tensor:
    """Run a convolution whose arguments were checked and whose output extents are known."""
    if input.is_complex():
        return _complex_convolution(
            input,
            weight,
            bias,
            lambda x, w: convolution(x, w, None, stride, padding, dilation, groups, transposed, output_size),
        )
    if not input.is_floating_point():
        integers = IntegerConvolution(stride, padding, dilation, groups, transposed, output_size)
        return integers(input, weight) if bias is None else integers(input, weight, bias)
    node = Convolution(_geometry(stride, padding, dilation, groups), transposed, output_size)
    return node(input, weight) if bias is None else node(input, weight, bias)


def convolution_weight(
    input: Tensor,
    grad_output: Tensor,
    stride: Extents,
    padding: Extents,
    dilation: Extents,
    groups: int,
    shape: Extents,
) -> Tensor:
    """Return the gradient of the weight of a convolution whose arguments were checked."""
    return ConvolutionWeight(_Geometry(stride, padding, dilation, groups), shape)(input, grad_output)


def _complex_convolution(
    input: Tensor, weight: Tensor, bias: Tensor | None, convolve: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """Make a convolution of complex numbers of four of their parts."""
    x, y, u, v = input.real, input.imag, weight.real, weight.imag
    result = Complex()(convolve(x, u) - convolve(y, v), convolve(x, v) + convolve(y, u))
    return result if bias is None else result + bias.reshape((-1,) + (1,) * (input.ndim - 2))
