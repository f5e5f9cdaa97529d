"""Poolings that pick maxima: max, adaptive max and fractional max pooling, of any rank."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..autograd.graph import Node
from ..device import CPU, allocate, array_module, kernels_for
from ..device import device as Device
from ..tensor import Tensor
from .conv import Extents, triple, volumetric
from .unpool import Gather

TAPS, INDICES = np.dtype(np.uint8), np.dtype(np.int64)

NOTHING = {kind: np.empty((0, 0, 0, 0, 0), kind) for kind in (TAPS, INDICES)}

NO_TAP = 255
"""Stands for the tap of a window that meets no element."""


class SlidingWindows:
    """Windows of max pooling: where the kernels look for a maximum."""

    def __init__(self, kernel_size: Extents, stride: Extents, padding: Extents, dilation: Extents) -> None:
        self.arguments = triple(kernel_size, 1), triple(stride, 1), triple(padding, 0), triple(dilation, 1)
        self.elements = math.prod(kernel_size)

    def pick(self, where: Device, x: Any, output: Any, indices: Any) -> None:
        """Write maxima and their indices, or taps."""
        kernels_for(where, "pool").max_pool_forward(x, *self.arguments, output, indices)

    def add_up(self, where: Device, grad: Any, indices: Any, grad_input: Any) -> None:
        """Add gradients up where the maxima were."""
        kernels_for(where, "pool").max_pool_backward(grad, indices, *self.arguments, grad_input)

    def choices_dtype(self, where: Device) -> np.dtype:
        """Return the type of what backward needs to know: taps, where kernels know them and they fit, or indices."""
        return TAPS if self.elements <= kernels_for(where, "pool").MOST_TAPS else INDICES

    def indices(self, where: Device, taps: Any, input_size: Extents) -> Any:
        """Return the flat indices (N, C, *) that taps stand for."""
        xp, rank = array_module(where), len(input_size)
        kernel, *others = [extents[3 - rank :] for extents in self.arguments]
        numbers, index, size = taps.astype(np.int64), 0, 1
        for i in reversed(range(rank)):
            stride, padding, dilation = [extents[i] for extents in others]
            windows = xp.arange(taps.shape[2 + i]).reshape((-1,) + (1,) * (rank - 1 - i))
            index = index + (windows * stride - padding + numbers % kernel[i] * dilation) * size
            numbers, size = numbers // kernel[i], size * input_size[i]
        return xp.where(taps == NO_TAP, -1, index)


class AdaptiveRegions:
    """Regions of adaptive max pooling."""

    def pick(self, where: Device, x: Any, output: Any, indices: Any) -> None:
        """Write maxima and their indices."""
        kernels_for(where, "adaptive_pool").adaptive_max_pool_forward(x, output, indices)

    def add_up(self, where: Device, grad: Any, indices: Any, grad_input: Any) -> None:
        """Add gradients up where the maxima were."""
        kernels_for(where, "adaptive_pool").adaptive_max_pool_backward(grad, indices, grad_input)


class FractionalWindows:
    """Windows of fractional max pooling; `starts` says for each dimension where those of each plane begin."""

    def __init__(self, kernel_size: Extents, starts: tuple[Any, ...]) -> None:
        zeros = starts[0][:, :1] * 0
        self.arguments = triple(kernel_size, 1), (zeros,) * (3 - len(starts)) + starts

    def pick(self, where: Device, x: Any, output: Any, indices: Any) -> None:
        """Write maxima and their indices."""
        kernels_for(where, "fractional_pool").fractional_max_pool_forward(x, *self.arguments, output, indices)

    def add_up(self, where: Device, grad: Any, indices: Any, grad_input: Any) -> None:
        """Add gradients up where the maxima were."""
        kernels_for(where, "fractional_pool").fractional_max_pool_backward(grad, indices, *self.arguments, grad_input)


Windows = SlidingWindows | AdaptiveRegions | FractionalWindows


def _of_one_integer_type(x: Any) -> Any:
    """Return integers in 64 bits, and other numbers as they are: compiling kernels for every type takes too long."""
    return x.astype(np.int64, copy=False) if x.dtype.kind in "iu" else x


class MaxPool(Node):
    """The largest element of each window of `input (N, C, *)`, and its flat index among the input's positions.

    Where nobody but backward wants to know which elements those are, the second output may hold taps instead.
    """

    saves_outputs = (1,)
    fresh_gradients = True
    in_float32 = True

    def __init__(self, name: str, windows: Windows, output_size: Extents, indexed: bool = True) -> None:
        self.name, self.windows, self.output_size, self.indexed = name, windows, output_size, indexed

    def forward(self, x: Any) -> Any:
        dtype, self.shape = x.dtype, x.shape
        x = _of_one_integer_type(x)
        output = allocate((*x.shape[:2], *self.output_size), x.dtype, self.where)
        choices = INDICES
        if not self.indexed and isinstance(self.windows, SlidingWindows):
            choices = self.windows.choices_dtype(self.where)
        indices = allocate(output.shape, choices, self.where)
        arrays = [volumetric(array, self.where) for array in (x, output, indices)]
        self.windows.pick(self.where, *arrays)
        return output if output.dtype is dtype else output.astype(dtype, copy=False), indices

    def backward(self, grad: Tensor, grad_indices: Any) -> Tensor:
        return MaxPoolGrad(self.name, self.windows, self.shape)(grad, self.saved_tensor.detach())


class MaxPoolGrad(Node):
    """Gradients of the outputs added up where the largest elements were."""

    fresh_gradients = True
    saves_inputs = (1,)
    in_float32 = True

    def __init__(self, name: str, windows: Windows, shape: tuple[int, ...]) -> None:
        self.name = name.replace("Backward0", "BackwardBackward0")
        self.windows, self.shape = windows, shape

    def forward(self, grad: Any, indices: Any) -> Any:
        grad_input = allocate(self.shape, grad.dtype, self.where)
        arrays = [volumetric(array, self.where) for array in (grad, indices, grad_input)]
        self.windows.add_up(self.where, *arrays)
        return grad_input

    def backward(self, grad: Tensor) -> Any:
        indices = self.saved_tensor
        if isinstance(self.windows, SlidingWindows) and indices._array.dtype == np.uint8:
            indices = indices._wrap_like(self.windows.indices(self.where, indices._array, self.shape[2:]))
        return Gather()(grad, indices), None


class MaxPoolValues(Node):
    """Max pooling where nobody wants indices, gradients included; nothing but values is written."""

    in_float32 = True

    def __init__(self, windows: SlidingWindows, output_size: Extents) -> None:
        self.windows, self.output_size = windows, output_size

    def forward(self, x: Any) -> Any:
        dtype = x.dtype
        x = _of_one_integer_type(x)
        output = allocate((*x.shape[:2], *self.output_size), x.dtype, self.where)
        choices = self.windows.choices_dtype(self.where)
        nothing = NOTHING[choices] if self.where is CPU else allocate((0, 0, 0, 0, 0), choices, self.where)
        self.windows.pick(self.where, volumetric(x, self.where), volumetric(output, self.where), nothing)
        return output if output.dtype is dtype else output.astype(dtype, copy=False)
