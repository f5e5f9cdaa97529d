"""Convolutions of integers: a sum of matrix products, one for each tap, without gradients."""

from __future__ import annotations

import itertools
from typing import Any

from ..autograd.graph import Node
from ..device import array_module


class IntegerConvolution(Node):
    """A convolution of integers, or a transposed one; sums that do not fit into the type wrap around, as in PyTorch."""

    def __init__(
        self,
        stride: tuple[int, ...],
        padding: tuple[int, ...],
        dilation: tuple[int, ...],
        groups: int,
        transposed: bool,
        output_size: tuple[int, ...],
    ) -> None:
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups
        self.transposed, self.output_size = transposed, output_size

    def forward(self, x: Any, weight: Any, bias: Any = None) -> Any:
        zeros, groups, kernel = array_module(self.where).zeros, self.groups, weight.shape[2:]
        small, large = (x.shape[2:], self.output_size) if self.transposed else (self.output_size, x.shape[2:])
        reach = [
            (n - 1) * s + d * (k - 1) + 1 for n, s, d, k in zip(small, self.stride, self.dilation, kernel, strict=True)
        ]
        extents = [max(n + p, r) for n, p, r in zip(large, self.padding, reach, strict=True)]
        inside = (..., *(slice(p, p + n) for p, n in zip(self.padding, large, strict=True)))
        weight = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])
        channels = groups * weight.shape[2 if self.transposed else 1]
        padded = zeros((len(x), channels if self.transposed else x.shape[1], *extents), x.dtype)
        if not self.transposed:
            padded[inside] = x
        result = zeros((len(x), channels, *small), x.dtype)
        for tap in itertools.product(*map(range, kernel)):
            steps = zip(tap, self.stride, self.dilation, small, strict=True)
            window = (..., *(slice(t * d, t * d + (n - 1) * s + 1, s) for t, s, d, n in steps))
            matrix = weight[(..., *tap)]
            if self.transposed:
                product = matrix.swapaxes(1, 2) @ x.reshape(len(x), groups, x.shape[1] // groups, -1)
                padded[window] += product.reshape(len(x), channels, *small)
            else:
                product = matrix @ padded[window].reshape(len(x), groups, x.shape[1] // groups, -1)
                result += product.reshape(result.shape)
        result = padded[inside].copy() if self.transposed else result
        return result if bias is None else result + bias.reshape(-1, *(1 for _ in kernel))
