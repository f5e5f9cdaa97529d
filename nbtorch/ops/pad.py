"""Padding: constant, reflected, replicated, circular."""

from __future__ import annotations

import math
from typing import Any

from nbtorch.kernels.geometry import PAD_MODES

from ..autograd.graph import Node
from ..device import allocate, contiguous, kernels_for
from ..device import device as Device
from ..tensor import Tensor

Pairs = tuple[tuple[int, int], ...]  # (before, after) for each padded dimension, the first of them first


def _padded_shape(shape: tuple[int, ...], pairs: Pairs) -> tuple[int, ...]:
    lead = len(shape) - len(pairs)
    return shape[:lead] + tuple(n + sum(pair) for n, pair in zip(shape[lead:], pairs, strict=True))


def _volume(array: Any, rank: int) -> Any:
    """View an array as (1, all others, D, H, W), the last `rank` (at most 3) dimensions being spatial."""
    lead = array.ndim - rank
    return array.reshape(1, math.prod(array.shape[:lead]), *(1,) * (3 - rank), *array.shape[lead:])


def _before(pairs: Pairs) -> tuple[int, ...]:
    return (0,) * (3 - len(pairs)) + tuple(before for before, _ in pairs)


def _pad(a: Any, mode: str, pairs: Pairs, value: Any, where: Device) -> Any:
    """Pad the last dimensions of an array, three at a time."""
    if len(pairs) > 3:
        a = _pad(a, mode, pairs[-3:], value, where)
        merged = a.reshape(*a.shape[:-3], math.prod(a.shape[-3:]))
        padded = _pad(merged, mode, (*pairs[:-3], (0, 0)), value, where)
        return padded.reshape(padded.shape[:-1] + a.shape[-3:])
    output = allocate(_padded_shape(a.shape, pairs), a.dtype, where)
    x, y = _volume(contiguous(a, where), len(pairs)), _volume(output, len(pairs))
    kernels_for(where, "pad").pad_forward(x, _before(pairs), PAD_MODES[mode], value, y)
    return output


class ConstantPad(Node):
    """A border of one value around the last dimensions; a negative width crops."""

    name = "ConstantPadNdBackward0"
    fresh_gradients = True

    def __init__(self, pairs: Pairs, value: Any) -> None:
        self.pairs, self.value = pairs, value

    def forward(self, a: Any) -> Any:
        return _pad(a, "constant", self.pairs, self.value, self.where)

    def backward(self, grad: Tensor) -> Tensor:
        return ConstantPad(tuple((-before, -after) for before, after in self.pairs), 0)(grad)


class IndexedPad(Node):
    """A border that repeats elements of the input, around the last one to three dimensions; a negative width crops."""

    fresh_gradients = True

    def __init__(self, mode: str, pairs: Pairs) -> None:
        self.mode, self.pairs = mode, pairs
        kind = {"reflect": "ReflectionPad", "replicate": "ReplicationPad", "circular": "CircularPad"}[mode]
        self.name = f"{kind}{len(pairs)}DBackward0"

    def forward(self, a: Any) -> Any:
        self.shape = a.shape
        return _pad(a, self.mode, self.pairs, 0, self.where)

    def backward(self, grad: Tensor) -> Tensor:
        return IndexedPadGrad(self.mode, self.pairs, self.shape)(grad)


class IndexedPadGrad(Node):
    """The gradients of a padded tensor added up at the elements that they repeat."""

    fresh_gradients = True
    in_float32 = True

    def __init__(self, mode: str, pairs: Pairs, shape: tuple[int, ...]) -> None:
        self.mode, self.pairs, self.shape = mode, pairs, shape
        self.name = IndexedPad(mode, pairs).name.replace("Backward0", "BackwardBackward0")

    def forward(self, grad: Any) -> Any:
        rank = len(self.pairs)
        grad = contiguous(grad, self.where)
        grad_input = allocate(self.shape, grad.dtype, self.where)
        pad_backward = kernels_for(self.where, "pad").pad_backward
        pad_backward(_volume(grad, rank), _before(self.pairs), PAD_MODES[self.mode], _volume(grad_input, rank))
        return grad_input

    def backward(self, grad: Tensor) -> Tensor:
        return IndexedPad(self.mode, self.pairs)(grad)
