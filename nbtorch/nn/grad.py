"""The gradients of convolutions as functions: `torch.nn.grad`."""

from __future__ import annotations

from typing import Any

from nbtorch.kernels import geometry

from ..ops.conv import convolution, convolution_weight
from ..ops.operands import require_same_device, require_tensor
from ..tensor import Tensor
from .arguments import Sizes, extents


class _Problem:
    """A convolution's shapes and options, checked against each other."""

    def __init__(
        self, name: str, input_size: Any, weight_size: Any, grad_output: Tensor, options: dict[str, Any], groups: int
    ) -> None:
        require_tensor(name, "grad_output", grad_output)
        self.input_size, self.weight_size = tuple(input_size), tuple(weight_size)
        rank = len(self.weight_size) - 2
        if len(self.input_size) != rank + 2 or grad_output.ndim != rank + 2:
            raise RuntimeError(
                f"{name}: expected {rank + 2}-dimensional input and grad_output for weight {list(weight_size)}, got"
                f" {list(input_size)} and {list(grad_output.shape)}"
            )
        stride, padding, dilation = [extents(name, option, value, rank) for option, value in options.items()]
        self.options = stride, padding, dilation
        if groups < 1 or self.weight_size[0] % groups or self.input_size[1] != self.weight_size[1] * groups:
            raise RuntimeError(
                f"Given groups={groups}, weight of size {list(weight_size)}, expected input{list(input_size)} to have"
                f" {self.weight_size[1] * groups} channels, but got {self.input_size[1]} channels instead"
            )
        pads = tuple([(pad, pad) for pad in padding])
        kernel = self.weight_size[2:]
        size = geometry.conv_output_size(name, self.input_size[2:], kernel, stride, pads, dilation)
        expected = (self.input_size[0], self.weight_size[0], *size)
        if tuple(grad_output.shape) != expected:
            raise RuntimeError(f"{name}: expected grad_output of shape {expected}, got {tuple(grad_output.shape)}")


def _require_alike(name: str, first: Tensor, second: Tensor) -> None:
    """Refuse tensors of two types or devices."""
    require_same_device(name, first, second)
    if first.dtype is not second.dtype:
        raise RuntimeError(f"{name}: expected tensors of one type, got {first.dtype} and {second.dtype}")


def _of_input(
    rank: int, size: Any, weight: Tensor, grad_output: Tensor, stride: Any, padding: Any, dilation: Any, groups: int
) -> Tensor:
    name, options = f"conv{rank}d_input", {"stride": stride, "padding": padding, "dilation": dilation}
    require_tensor(name, "weight", weight)
    problem = _Problem(name, size, weight.shape, grad_output, options, groups)
    _require_alike(name, weight, grad_output)
    return convolution(grad_output, weight, None, *problem.options, groups, True, problem.input_size[2:])


def _of_weight(
    rank: int, input: Tensor, size: Any, grad_output: Tensor, stride: Any, padding: Any, dilation: Any, groups: int
) -> Tensor:
    name, options = f"conv{rank}d_weight", {"stride": stride, "padding": padding, "dilation": dilation}
    require_tensor(name, "input", input)
    problem = _Problem(name, input.shape, size, grad_output, options, groups)
    _require_alike(name, input, grad_output)
    return convolution_weight(input, grad_output, *problem.options, groups, problem.weight_size)


def conv1d_input(
    input_size: Any,
    weight: Tensor,
    grad_output: Tensor,
    stride: Sizes = 1,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """Return the gradient of the input of `conv1d`.

    Args:
        input_size: the input's shape, (N, C, iW).
        weight: (O, C / groups, kW).
        grad_output: the gradient of the output, (N, O, oW).
        stride: that of the convolution.
        padding: that of the convolution.
        dilation: that of the convolution.
        groups: those of the convolution.
    """
    return _of_input(1, input_size, weight, grad_output, stride, padding, dilation, groups)


def conv1d_weight(
    input: Tensor,
    weight_size: Any,
    grad_output: Tensor,
    stride: Sizes = 1,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """Return the gradient of the weight of `conv1d`.

    Args:
        input: (N, C, iW).
        weight_size: the weight's shape, (O, C / groups, kW).
        grad_output: the gradient of the output, (N, O, oW).
        stride: that of the convolution.
        padding: that of the convolution.
        dilation: that of the convolution.
        groups: those of the convolution.
    """
    return _of_weight(1, input, weight_size, grad_output, stride, padding, dilation, groups)


def conv2d_input(
    input_size: Any,
    weight: Tensor,
    grad_output: Tensor,
    stride: Sizes = 1,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """Return the gradient of the input of `conv2d`.

    Args:
        input_size: the input's shape, (N, C, iH, iW).
        weight: (O, C / groups, kH, kW).
        grad_output: the gradient of the output, (N, O, oH, oW).
        stride: that of the convolution.
        padding: that of the convolution.
        dilation: that of the convolution.
        groups: those of the convolution.
    """
    return _of_input(2, input_size, weight, grad_output, stride, padding, dilation, groups)


def conv2d_weight(
    input: Tensor,
    weight_size: Any,
    grad_output: Tensor,
    stride: Sizes = 1,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """Return the gradient of the weight of `conv2d`.

    Args:
        input: (N, C, iH, iW).
        weight_size: the weight's shape, (O, C / groups, kH, kW).
        grad_output: the gradient of the output, (N, O, oH, oW).
        stride: that of the convolution.
        padding: that of the convolution.
        dilation: that of the convolution.
        groups: those of the convolution.
    """
    return _of_weight(2, input, weight_size, grad_output, stride, padding, dilation, groups)


def conv3d_input(
    input_size: Any,
    weight: Tensor,
    grad_output: Tensor,
    stride: Sizes = 1,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """Return the gradient of the input of `conv3d`.

    Args:
        input_size: the input's shape, (N, C, iD, iH, iW).
        weight: (O, C / groups, kD, kH, kW).
        grad_output: the gradient of the output, (N, O, oD, oH, oW).
        stride: that of the convolution.
        padding: that of the convolution.
        dilation: that of the convolution.
        groups: those of the convolution.
    """
    return _of_input(3, input_size, weight, grad_output, stride, padding, dilation, groups)


def conv3d_weight(
    input: Tensor,
    weight_size: Any,
    grad_output: Tensor,
    stride: Sizes = 1,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """Return the gradient of the weight of `conv3d`.

    Args:
        input: (N, C, iD, iH, iW).
        weight_size: the weight's shape, (O, C / groups, kD, kH, kW).
        grad_output: the gradient of the output, (N, O, oD, oH, oW).
        stride: that of the convolution.
        padding: that of the convolution.
        dilation: that of the convolution.
        groups: those of the convolution.
    """
    return _of_weight(3, input, weight_size, grad_output, stride, padding, dilation, groups)
