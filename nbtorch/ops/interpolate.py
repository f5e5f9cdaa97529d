"""Interpolation of signals, images and volumes: tables of weights along each axis, and their transposes."""

from __future__ import annotations

from typing import Any

import numpy as np

from nbtorch.kernels.resampling import Method, axes

from ..autograd.graph import Node
from ..device import allocate, kernels_for
from ..tensor import Tensor
from .conv import volumetric

_FLOAT32, _FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)


class Interpolate(Node):
    """`input (N, C, *)` interpolated."""

    fresh_gradients = True
    in_float32 = True

    def __init__(self, name: str, method: Method) -> None:
        self.name, self.method = name, method

    def forward(self, x: Any) -> Any:
        output = allocate((*x.shape[:2], *self.method.output_size), x.dtype, self.where)
        kernels = kernels_for(self.where, "interpolate")
        source, target = volumetric(x, self.where), volumetric(output, self.where)
        if x.dtype.kind == "f":
            kernels.interpolate(source, axes(self.method, x.dtype), target)
        elif self.method.mode.startswith("nearest"):
            kernels.interpolate(source, axes(self.method, _FLOAT32), target)
        else:
            kernels.interpolate_bytes(source, axes(self.method, _FLOAT64), target)
        return output

    def backward(self, grad: Tensor) -> Tensor:
        return InterpolateGrad(self.name, self.method)(grad)


class InterpolateGrad(Node):
    """What each element of the input gets of the gradients of the outputs: the transpose of `Interpolate`."""

    fresh_gradients = True
    in_float32 = True

    def __init__(self, name: str, method: Method) -> None:
        self.forward_name, self.method = name, method
        self.name = name.replace("Backward0", "BackwardBackward0")

    def forward(self, grad: Any) -> Any:
        grad_input = allocate((*grad.shape[:2], *self.method.input_size), grad.dtype, self.where)
        source, target = volumetric(grad, self.where), volumetric(grad_input, self.where)
        kernels_for(self.where, "interpolate").interpolate(source, axes(self.method, grad.dtype, True), target)
        return grad_input

    def backward(self, grad: Tensor) -> Tensor:
        return Interpolate(self.forward_name, self.method)(grad)
