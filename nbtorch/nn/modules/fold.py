"""Sliding blocks of images: `Unfold` and `Fold`."""

from __future__ import annotations

from typing import Any

from ...tensor import Tensor
from .. import functional as F
from .module import Module


class Unfold(Module):
    """The sliding blocks of images as columns.

    Args:
        kernel_size: extents of a block, an int or (kH, kW).
        dilation: distance between a block's elements.
        padding: zeros added on both sides.
        stride: step of the blocks.

    Shape: (N, C, H, W) or (C, H, W) to (N, C · kH · kW, L) or (C · kH · kW, L).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Unfold.html

    >>> import nbtorch
    >>> nbtorch.nn.Unfold(2)(nbtorch.ones(1, 3, 4, 4)).shape
    torch.Size([1, 12, 9])
    """

    def __init__(self, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, input: Tensor) -> Tensor:
        """Return the blocks."""
        return F.unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        """Return the options."""
        return f"kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, stride={self.stride}"


class Fold(Module):
    """Blocks, given as columns, summed to images.

    Args:
        output_size: extents of the images, an int or (H, W).
        kernel_size: extents of a block, an int or (kH, kW).
        dilation: distance between a block's elements.
        padding: elements cut off on both sides.
        stride: step of the blocks.

    Shape: (N, C · kH · kW, L) or (C · kH · kW, L) to (N, C, H, W) or (C, H, W).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Fold.html

    >>> import nbtorch
    >>> nbtorch.nn.Fold(4, 2)(nbtorch.ones(1, 12, 9)).shape
    torch.Size([1, 3, 4, 4])
    """

    def __init__(
        self, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
    ) -> None:
        super().__init__()
        self.output_size = output_size
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, input: Tensor) -> Tensor:
        """Sum the blocks."""
        return F.fold(input, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        """Return the options."""
        return (
            f"output_size={self.output_size}, kernel_size={self.kernel_size}, dilation={self.dilation},"
            f" padding={self.padding}, stride={self.stride}"
        )
