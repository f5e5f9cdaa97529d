"""Channels that become pixels, pixels that become channels, and channels dealt out among groups."""

from __future__ import annotations

import math
from typing import Any

from ..autograd.graph import Node
from ..device import allocate, contiguous, kernels_for
from ..tensor import Tensor


class PixelShuffle(Node):
    """(*, C · r², H, W) to (*, C, H · r, W · r)."""

    fresh_gradients = True

    def __init__(self, factor: int) -> None:
        self.factor = factor

    def forward(self, x: Any) -> Any:
        r, (*lead, channels, height, width) = self.factor, x.shape
        output = allocate((*lead, channels // (r * r), height * r, width * r), x.dtype, self.where)
        planes = math.prod(lead) * channels // (r * r)
        packed = contiguous(x, self.where).reshape(planes, r, r, height, width)
        kernels_for(self.where, "shuffle").pixel_shuffle(packed, r, output.reshape(planes, height * r, width * r))
        return output

    def backward(self, grad: Tensor) -> Tensor:
        return PixelUnshuffle(self.factor)(grad)


class PixelUnshuffle(Node):
    """(*, C, H · r, W · r) to (*, C · r², H, W)."""

    fresh_gradients = True

    def __init__(self, factor: int) -> None:
        self.factor = factor

    def forward(self, x: Any) -> Any:
        r, (*lead, channels, height, width) = self.factor, x.shape
        height, width, planes = height // r, width // r, math.prod(lead) * channels
        output = allocate((*lead, channels * r * r, height, width), x.dtype, self.where)
        image, packed = contiguous(x, self.where).reshape(planes, height * r, width * r), (planes, r, r, height, width)
        kernels_for(self.where, "shuffle").pixel_unshuffle(image, r, output.reshape(packed))
        return output

    def backward(self, grad: Tensor) -> Tensor:
        return PixelShuffle(self.factor)(grad)


class ChannelShuffle(Node):
    """(N, C, *) with the channels of each of the groups dealt out in turn."""

    fresh_gradients = True

    def __init__(self, groups: int) -> None:
        self.groups = groups

    def forward(self, x: Any) -> Any:
        output, (batch, channels) = allocate(x.shape, x.dtype, self.where), x.shape[:2]
        groups, each, size = self.groups, channels // self.groups, math.prod(x.shape[2:])
        source = contiguous(x, self.where).reshape(batch, groups, each, size)
        kernels_for(self.where, "shuffle").channel_shuffle(source, output.reshape(batch, each, groups, size))
        return output

    def backward(self, grad: Tensor) -> Tensor:
        return ChannelShuffle(max(grad.shape[1] // self.groups, 1))(grad)
