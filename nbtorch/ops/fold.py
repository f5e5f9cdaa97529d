"""Sliding blocks of images as columns, and columns summed up to images."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd.graph import Node
from ..device import allocate, contiguous, kernels_for
from ..tensor import Tensor

Pair = tuple[int, int]


class Blocks:
    """Where the blocks of a kernel lie in a padded image (H, W)."""

    def __init__(self, size: Pair, kernel: Pair, dilation: Pair, padding: Pair, stride: Pair) -> None:
        self.size, self.kernel, self.dilation, self.padding, self.stride = size, kernel, dilation, padding, stride
        axes = zip(size, kernel, dilation, padding, stride, strict=True)
        self.count = tuple([(extent + 2 * p - d * (k - 1) - 1) // s + 1 for extent, k, d, p, s in axes])

    def packed(self, planes: int) -> tuple[int, ...]:
        """Return the shape of columns as kernels take them."""
        return (planes, *self.kernel, *self.count)

    @property
    def options(self) -> tuple[Pair, Pair, Pair]:
        """What kernels need to know beside the shapes."""
        return self.dilation, self.padding, self.stride


class Unfold(Node):
    """(N, C, H, W) to (N, C · kH · kW, L): each of L blocks as a column."""

    name = "Im2ColBackward0"
    fresh_gradients = True

    def __init__(self, blocks: Blocks) -> None:
        self.blocks = blocks

    def forward(self, x: Any) -> Any:
        blocks, (batch, channels, *size) = self.blocks, x.shape
        rows, count = channels * blocks.kernel[0] * blocks.kernel[1], blocks.count[0] * blocks.count[1]
        columns, planes = allocate((batch, rows, count), x.dtype, self.where), batch * channels
        image = contiguous(x, self.where).reshape(planes, *size)
        kernels_for(self.where, "fold").unfold(image, *blocks.options, columns.reshape(blocks.packed(planes)))
        return columns

    def backward(self, grad: Tensor) -> Tensor:
        return Fold(self.blocks)(grad)


class Fold(Node):
    """(N, C · kH · kW, L) to (N, C, H, W): blocks summed where they overlap."""

    name = "Col2ImBackward0"
    fresh_gradients = True
    in_float32 = True

    def __init__(self, blocks: Blocks) -> None:
        self.blocks = blocks

    def forward(self, columns: Any) -> Any:
        if columns.dtype == bool:
            return self.forward(columns.astype(np.float32)) != 0
        blocks, batch = self.blocks, len(columns)
        channels = columns.shape[1] // (blocks.kernel[0] * blocks.kernel[1])
        image, planes = allocate((batch, channels, *blocks.size), columns.dtype, self.where), batch * channels
        packed = contiguous(columns, self.where).reshape(blocks.packed(planes))
        kernels_for(self.where, "fold").fold(packed, *blocks.options, image.reshape(planes, *blocks.size))
        return image

    def backward(self, grad: Tensor) -> Tensor:
        return Unfold(self.blocks)(grad)
