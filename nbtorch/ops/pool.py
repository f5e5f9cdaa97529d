"""Poolings that pick maxima: max, adaptive max and fractional max pooling, of any rank."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..autograd.graph import FREED, Node
from ..device import CPU, allocate, array_module, kernels_for
from ..device import device as Device
from ..tensor import Tensor
from .conv import Extents, triple
from .unpool import Gather, planes

TAPS, INDICES = np.dtype(np.uint8), np.dtype(np.int64)

NOTHING = {kind: np.empty((0, 0, 0), kind) for kind in (TAPS, INDICES)}

NO_TAP = 255
"""Stands for the tap of a window that meets no element."""


class SlidingWindows:
    """Windows of max pooling: where the kernels look for a maximum."""

    def __init__(
        self,
        output_shape: Extents,
        kernel_size: Extents,
        stride: Extents,
        padding: Extents,
        dilation: Extents,
    ) -> None:
        self.output_shape, self.rank = output_shape, len(kernel_size)
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

    def indices(self, where: Device, choices: Any, input_size: Extents) -> Any:
        """Return the flat indices (N, C, *) that choices are or, as taps, stand for."""
        if choices.dtype != TAPS:
            return choices
        xp, rank = array_module(where), self.rank
        kernel, *others = [extents[3 - rank :] for extents in self.arguments]
        numbers, index, size = choices.astype(np.int64), 0, 1
        for i in reversed(range(rank)):
            stride, padding, dilation = [extents[i] for extents in others]
            windows = xp.arange(choices.shape[i - rank]).reshape((-1,) + (1,) * (rank - 1 - i))
            index = index + (windows * stride - padding + numbers % kernel[i] * dilation) * size
            numbers, size = numbers // kernel[i], size * input_size[i]
        return xp.where(choices == NO_TAP, -1, index)


class AdaptiveRegions:
    """Regions of adaptive max pooling."""

    def __init__(self, output_shape: Extents, rank: int) -> None:
        self.output_shape, self.rank = output_shape, rank

    def pick(self, where: Device, x: Any, output: Any, indices: Any) -> None:
        """Write maxima and their indices."""
        kernels_for(where, "adaptive_pool").adaptive_max_pool_forward(x, output, indices)

    def add_up(self, where: Device, grad: Any, indices: Any, grad_input: Any) -> None:
        """Add gradients up where the maxima were."""
        kernels_for(where, "adaptive_pool").adaptive_max_pool_backward(grad, indices, grad_input)


class FractionalWindows:
    """Windows of fractional max pooling; `starts` says for each dimension where those of each plane begin."""

    def __init__(self, output_shape: Extents, kernel_size: Extents, starts: tuple[Any, ...]) -> None:
        self.output_shape, self.rank = output_shape, len(kernel_size)
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
    """The largest element of each window of `input (N, C, *)` or (C, *), and its flat index in its plane."""

    saves_outputs = (1,)
    fresh_gradients = True
    in_float32 = True

    def __init__(self, name: str, windows: Windows) -> None:
        self._name, self.windows = name, windows

    def forward(self, x: Any) -> Any:
        dtype, self.shape = x.dtype, x.shape
        x, where, windows = _of_one_integer_type(x), self.where, self.windows
        output = allocate(windows.output_shape, x.dtype, where)
        indices = allocate(windows.output_shape, INDICES, where)
        windows.pick(where, *[planes(array, windows.rank, where) for array in (x, output, indices)])
        return output if output.dtype is dtype else output.astype(dtype, copy=False), indices

    def backward(self, grad: Tensor, grad_indices: Any) -> Tensor:
        return MaxPoolGrad(self._name, self.windows, self.shape, self.saved_tensor._array)(grad)


class MaxPoolValues(Node):
    """The largest element of each window of `input (N, C, *)` or (C, *), where nobody asks for indices.

    Args:
        tracked: whether backward may want to know which elements these are.
    """

    fresh_gradients = True
    in_float32 = True
    keeps_state = True
    choices: Any = None

    def __init__(self, name: str, windows: SlidingWindows, tracked: bool) -> None:
        self._name, self.windows, self.tracked = name, windows, tracked

    def forward(self, x: Any) -> Any:
        dtype, self.shape = x.dtype, x.shape
        x, where, windows = _of_one_integer_type(x), self.where, self.windows
        output = allocate(windows.output_shape, x.dtype, where)
        kind, rank = windows.choices_dtype(where), windows.rank
        if self.tracked:
            self.choices = allocate(windows.output_shape, kind, where)
            choices = planes(self.choices, rank, where)
        else:
            choices = NOTHING[kind] if where is CPU else allocate((0, 0, 0), kind, where)
        windows.pick(where, planes(x, rank, where), planes(output, rank, where), choices)
        return output if output.dtype is dtype else output.astype(dtype, copy=False)

    def backward(self, grad: Tensor) -> Tensor:
        if self.choices is None:
            raise RuntimeError(FREED)
        return MaxPoolGrad(self._name, self.windows, self.shape, self.choices)(grad)

    def release(self) -> None:
        """Free what backward reads."""
        super().release()
        self.choices = None


class MaxPoolGrad(Node):
    """Gradients of the outputs added up where the largest elements were, as `choices` tells: indices, or taps."""

    fresh_gradients = True
    in_float32 = True

    def __init__(self, name: str, windows: Windows, shape: Extents, choices: Any) -> None:
        self._name = name.replace("Backward0", "BackwardBackward0")
        self.windows, self.shape, self.choices = windows, shape, choices

    def forward(self, grad: Any) -> Any:
        grad_input = allocate(self.shape, grad.dtype, self.where)
        arrays = [planes(array, self.windows.rank, self.where) for array in (grad, self.choices, grad_input)]
        self.windows.add_up(self.where, *arrays)
        return grad_input

    def backward(self, grad: Tensor) -> Any:
        rank, indices = self.windows.rank, self.choices
        if isinstance(self.windows, SlidingWindows):
            indices = self.windows.indices(self.where, indices, self.shape[-rank:])
        return Gather(rank)(grad, grad._wrap_like(indices))
