"""Layer, group, RMS and local response normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...creation import arange, empty
from ...ops.norm import across_channels
from ...tensor import Tensor
from .. import functional as F
from .. import init
from ..parameter import Parameter
from .module import Module


class LayerNorm(Module):
    """Normalises over the last dimensions, then multiplies by a weight and adds a bias for each position.

    Args:
        normalized_shape: the extents of the last dimensions; an int for one.
        eps: is added to the variance.
        elementwise_affine: whether weight and bias are learned.
        bias: whether a bias is.
        device: where the parameters lie (default: the default device).
        dtype: their type (default: the default dtype).

    Attributes:
        weight: normalized_shape, or None; begins with ones.
        bias: normalized_shape, or None; begins with zeros.

    Shape: (*, normalized_shape), and the same.

    Source: Ba et al., 2016, arXiv:1607.06450; https://docs.pytorch.org/docs/stable/generated/torch.nn.LayerNorm.html

    >>> import nbtorch
    >>> nbtorch.nn.LayerNorm(2)(nbtorch.tensor([[0.0, 2.0]])).round()
    tensor([[-1.,  1.]], grad_fn=<RoundBackward0>)
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = _shape(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        for name, wanted in (("weight", elementwise_affine), ("bias", elementwise_affine and bias)):
            values = Parameter(empty(*self.normalized_shape, device=device, dtype=dtype)) if wanted else None
            self.register_parameter(name, values)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set weights to 1 and biases to 0."""
        _reset_affine(self)

    def forward(self, input: Tensor) -> Tensor:
        """Normalise the input."""
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """Return the options."""
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine},"
            f" bias={self.bias is not None}"
        )


class RMSNorm(Module):
    """Divides by the root mean square of the last dimensions, then multiplies by a weight for each position.

    Args:
        normalized_shape: the extents of the last dimensions; an int for one.
        eps: is added to the mean square; by default the distance from 1 to the next number.
        elementwise_affine: whether a weight is learned.
        device: where the parameter lies (default: the default device).
        dtype: its type (default: the default dtype).

    Attributes:
        weight: normalized_shape, or None; begins with ones.

    Shape: (*, normalized_shape), and the same.

    Source: Zhang and Sennrich, 2019, arXiv:1910.07467;
    https://docs.pytorch.org/docs/stable/generated/torch.nn.RMSNorm.html

    >>> import nbtorch
    >>> nbtorch.nn.RMSNorm(2)(nbtorch.tensor([[3.0, -3.0]])).round()
    tensor([[ 1., -1.]], grad_fn=<RoundBackward0>)
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = _shape(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        values = Parameter(empty(*self.normalized_shape, device=device, dtype=dtype)) if elementwise_affine else None
        self.register_parameter("weight", values)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the weights to 1."""
        if self.elementwise_affine:
            init.ones_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the input."""
        return F.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        """Return the options."""
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class GroupNorm(Module):
    """Normalises groups of channels of each sample, then multiplies by a weight and adds a bias for each channel.

    Args:
        num_groups: how many groups the channels are divided into.
        num_channels: how many channels there are.
        eps: is added to the variance.
        affine: whether weight and bias are learned.
        device: where the parameters lie (default: the default device).
        dtype: their type (default: the default dtype).
        bias: whether a bias is learned.

    Attributes:
        weight: (num_channels,), or None; begins with ones.
        bias: (num_channels,), or None; begins with zeros.

    Shape: (N, C, *), and the same.

    Raises:
        ValueError: the channels cannot be divided evenly.

    Source: Wu and He, 2018, arXiv:1803.08494; https://docs.pytorch.org/docs/stable/generated/torch.nn.GroupNorm.html

    >>> import nbtorch
    >>> nbtorch.nn.GroupNorm(3, 6)(nbtorch.randn(20, 6, 10, 10)).shape
    torch.Size([20, 6, 10, 10])
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if num_channels % num_groups != 0:
            raise ValueError(f"num_channels ({num_channels}) must be divisible by num_groups ({num_groups})")
        self.num_groups, self.num_channels, self.eps, self.affine = num_groups, num_channels, eps, affine
        for name, wanted in (("weight", affine), ("bias", affine and bias)):
            self.register_parameter(
                name, Parameter(empty(num_channels, device=device, dtype=dtype)) if wanted else None
            )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set weights to 1 and biases to 0."""
        _reset_affine(self)

    def forward(self, input: Tensor) -> Tensor:
        """Normalise the input."""
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """Return the options."""
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine},"
            f" bias={self.bias is not None}"
        )


class LocalResponseNorm(Module):
    """Divides by a power of the mean square of neighbouring channels: x / (k + alpha·mean)^beta.

    Args:
        size: how many neighbouring channels the mean is taken of.
        alpha: the factor of the mean.
        beta: the exponent.
        k: is added to the mean.

    Shape: (N, C, *), and the same.

    Source: Krizhevsky et al., 2012; https://docs.pytorch.org/docs/stable/generated/torch.nn.LocalResponseNorm.html

    >>> import nbtorch
    >>> nbtorch.nn.LocalResponseNorm(2)(nbtorch.randn(32, 5, 24)).shape
    torch.Size([32, 5, 24])
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, input: Tensor) -> Tensor:
        """Normalise the input."""
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        """Return the options."""
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


class CrossMapLRN2d(LocalResponseNorm):
    """Local response normalisation of images, with windows of odd sizes as older versions of Torch had it.

    Args:
        size: how many neighbouring channels the mean is taken of; an even number reaches one less.
        alpha: the factor of the mean.
        beta: the exponent.
        k: is added to the mean.

    Shape: (N, C, H, W), and the same.

    Source: https://github.com/pytorch/pytorch/blob/main/torch/nn/modules/_functions.py

    >>> import nbtorch
    >>> nbtorch.nn.CrossMapLRN2d(3)(nbtorch.randn(2, 5, 4, 4)).shape
    torch.Size([2, 5, 4, 4])
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1) -> None:
        super().__init__(size, alpha, beta, k)

    def forward(self, input: Tensor) -> Tensor:
        """Normalise the input."""
        if input.dim() != 4:
            raise ValueError(f"CrossMapLRN2d: Expected input to be 4D, got {input.dim()}D instead.")
        reach = (self.size - 1) // 2
        squares = input * input
        sums = across_channels(squares, reach, 2 * reach + 1)
        # PyTorch moves the window by adding and subtracting, and never subtracts the first channel
        passed = (arange(input.size(1), device=input.device) > reach).to(input.dtype).reshape(1, -1, 1, 1)
        sums = sums + squares[:, :1] * passed
        return input * (sums * (self.alpha / self.size) + self.k) ** -self.beta


def _shape(value: int | Sequence[int]) -> tuple[int, ...]:
    return (value,) if isinstance(value, int) else tuple(value)


def _reset_affine(module: Any) -> None:
    """Set a module's weight to ones and its bias to zeros, where it has them."""
    if module.weight is not None:
        init.ones_(module.weight)
    if module.bias is not None:
        init.zeros_(module.bias)
