"""Padding: constant, reflected, replicated, circular."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd.graph import Node
from ..device import array_module
from ..tensor import Tensor

Pairs = tuple[tuple[int, int], ...]  # (before, after) for each padded dimension, the first of them first


class ConstantPad(Node):
    """A border of one value around the last dimensions; a negative width crops."""

    name = "ConstantPadNdBackward0"

    def __init__(self, pairs: Pairs, value: Any) -> None:
        self.pairs, self.value = pairs, value

    def forward(self, a: Any) -> Any:
        lead = a.ndim - len(self.pairs)
        shape, source, target = list(a.shape[:lead]), [slice(None)] * lead, [slice(None)] * lead
        for extent, (before, after) in zip(a.shape[lead:], self.pairs, strict=True):
            shape.append(extent + before + after)
            source.append(slice(max(-before, 0), extent - max(-after, 0)))
            target.append(slice(max(before, 0), extent + before + after - max(after, 0)))
        result = array_module(self.where).full(tuple(shape), self.value, a.dtype)
        result[tuple(target)] = a[tuple(source)]
        return result

    def backward(self, grad: Tensor) -> Tensor:
        return ConstantPad(tuple((-before, -after) for before, after in self.pairs), 0)(grad)


def source_positions(mode: str, extent: int, before: int, after: int) -> np.ndarray:
    """Return for each position of a padded dimension the position of the input that it repeats."""
    positions = np.arange(-before, extent + after)
    if mode == "circular":
        return positions % extent
    if mode == "replicate":
        return np.clip(positions, 0, extent - 1)
    return extent - 1 - np.abs(extent - 1 - np.abs(positions))  # reflect


class IndexedPad(Node):
    """A border that repeats elements of the input: each padded dimension is a list of source positions."""

    def __init__(self, mode: str, pairs: Pairs) -> None:
        self.mode, self.pairs = mode, pairs
        kind = {"reflect": "ReflectionPad", "replicate": "ReplicationPad", "circular": "CircularPad"}[mode]
        self.name = f"{kind}{len(pairs)}DBackward0"

    def forward(self, a: Any) -> Any:
        xp = array_module(self.where)
        self.extents = a.shape[a.ndim - len(self.pairs) :]
        for axis, extent, (before, after) in self._axes(a.ndim):
            a = xp.take(a, xp.asarray(source_positions(self.mode, extent, before, after)), axis)
        return a

    def _axes(self, ndim: int) -> Any:
        return zip(range(ndim - len(self.pairs), ndim), self.extents, self.pairs, strict=True)

    def backward(self, grad: Tensor) -> Tensor:
        return IndexedPadGrad(self)(grad)


class IndexedPadGrad(Node):
    """The gradients of a padded tensor added up at the positions that they repeat."""

    in_float32 = True

    def __init__(self, padding: IndexedPad) -> None:
        self.padding = padding
        self.name = padding.name.replace("Backward0", "BackwardBackward0")

    def forward(self, grad: Any) -> Any:
        xp = array_module(self.where)
        for axis, extent, (before, after) in self.padding._axes(grad.ndim):
            positions = source_positions(self.padding.mode, extent, before, after)
            result = xp.zeros((*grad.shape[:axis], extent, *grad.shape[axis + 1 :]), grad.dtype)
            xp.add.at(result, (slice(None),) * axis + (xp.asarray(positions),), grad)
            grad = result
        return grad

    def backward(self, grad: Tensor) -> Tensor:
        return IndexedPad(self.padding.mode, self.padding.pairs)(grad)
