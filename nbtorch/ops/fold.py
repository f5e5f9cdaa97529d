"""Sliding blocks of images as columns, and columns summed up to images."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd.graph import Node
from ..device import array_module
from ..tensor import Tensor

Pair = tuple[int, int]


class Blocks:
    """Where the blocks of a kernel lie in a padded image (H, W): the slices that one kernel element walks through."""

    def __init__(self, size: Pair, kernel: Pair, dilation: Pair, padding: Pair, stride: Pair) -> None:
        self.size, self.kernel, self.dilation, self.padding, self.stride = size, kernel, dilation, padding, stride
        self.padded = (size[0] + 2 * padding[0], size[1] + 2 * padding[1])
        self.count = tuple(
            (extent - d * (k - 1) - 1) // s + 1
            for extent, k, d, s in zip(self.padded, kernel, dilation, stride, strict=True)
        )

    def slices(self, row: int, column: int) -> tuple[slice, slice]:
        """Return the rows and columns of the padded image that meet a kernel element."""
        starts = row * self.dilation[0], column * self.dilation[1]
        ends = [a + (n - 1) * s + 1 for a, n, s in zip(starts, self.count, self.stride, strict=True)]
        return slice(starts[0], ends[0], self.stride[0]), slice(starts[1], ends[1], self.stride[1])

    def inner(self) -> tuple[slice, slice]:
        """Return the part of the padded image that is the image."""
        (top, left), (height, width) = self.padding, self.size
        return slice(top, top + height), slice(left, left + width)


class Unfold(Node):
    """(N, C, H, W) to (N, C · kH · kW, L): each of L blocks as a column."""

    name = "Im2ColBackward0"

    def __init__(self, blocks: Blocks) -> None:
        self.blocks = blocks

    def forward(self, x: Any) -> Any:
        xp, blocks = array_module(self.where), self.blocks
        batch, channels = x.shape[:2]
        padded = xp.zeros((batch, channels, *blocks.padded), x.dtype)
        padded[(..., *blocks.inner())] = x
        columns = xp.empty((batch, channels, *blocks.kernel, *blocks.count), x.dtype)
        for row, column in np.ndindex(*blocks.kernel):
            columns[:, :, row, column] = padded[(..., *blocks.slices(row, column))]
        return columns.reshape(batch, channels * blocks.kernel[0] * blocks.kernel[1], blocks.count[0] * blocks.count[1])

    def backward(self, grad: Tensor) -> Tensor:
        return Fold(self.blocks)(grad)


class Fold(Node):
    """(N, C · kH · kW, L) to (N, C, H, W): blocks summed where they overlap."""

    name = "Col2ImBackward0"

    def __init__(self, blocks: Blocks) -> None:
        self.blocks = blocks

    def forward(self, columns: Any) -> Any:
        xp, blocks = array_module(self.where), self.blocks
        batch = columns.shape[0]
        channels = columns.shape[1] // (blocks.kernel[0] * blocks.kernel[1])
        columns = columns.reshape(batch, channels, *blocks.kernel, *blocks.count)
        padded = xp.zeros((batch, channels, *blocks.padded), columns.dtype)
        for row, column in np.ndindex(*blocks.kernel):
            padded[(..., *blocks.slices(row, column))] += columns[:, :, row, column]
        return xp.ascontiguousarray(padded[(..., *blocks.inner())])

    def backward(self, grad: Tensor) -> Tensor:
        return Unfold(self.blocks)(grad)
