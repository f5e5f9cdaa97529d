"""Interpolation of signals, images and volumes: tables of weights along each axis, and their transposes."""

from __future__ import annotations

from typing import Any

import numpy as np

from nbtorch.kernels.resampling import Table, fixed_point_weights, table, transposed_table

from ..autograd.graph import Node
from ..device import allocate, kernels_for
from ..tensor import Tensor
from .conv import Extents, volumetric


class Resampling:
    """How each axis is interpolated.

    Args:
        mode: of an axis, see `nbtorch.kernels.resampling.table`.
        input_size: the extents of the input.
        output_size: the extents of the output.
        scales: for each axis output over input, or None where the extents tell.
        align_corners: whether the centres of the outermost elements coincide.
        single: whether nearest neighbours are found in float32 whatever the type.
    """

    def __init__(
        self,
        mode: str,
        input_size: Extents,
        output_size: Extents,
        scales: tuple[float | None, ...],
        align_corners: bool,
        single: bool = False,
    ) -> None:
        self.input_size, self.output_size = input_size, output_size
        pairs = zip(input_size, output_size, scales, strict=True)
        self._axes = [(mode, *pair, align_corners, single) for pair in pairs]

    def _arguments(self, dtype: np.dtype) -> list[tuple[Any, ...]]:
        return [(*axis[:-1], dtype, axis[-1]) for axis in self._axes]

    def tables(self, dtype: np.dtype) -> tuple[Table, ...]:
        """Return three tables for weights of a type, those of missing dimensions in front."""
        return self._volumetric([table(*arguments) for arguments in self._arguments(dtype)], dtype)

    def transposed(self, dtype: np.dtype) -> tuple[Table, ...]:
        """Return the transposes of the tables."""
        return self._volumetric([transposed_table(*arguments) for arguments in self._arguments(dtype)], dtype)

    def fixed_point(self) -> tuple[tuple[np.ndarray, ...], tuple[int, ...]]:
        """Return the weights for bytes, and how many of their bits come after the point."""
        pairs = [fixed_point_weights(*arguments) for arguments in self._arguments(np.dtype(np.float64))]
        weights, bits = zip(*pairs, strict=True)
        return weights, bits

    @staticmethod
    def _volumetric(tables: list[Table], dtype: np.dtype) -> tuple[Table, ...]:
        return (table("nearest", 1, 1, None, False, dtype),) * (3 - len(tables)) + tuple(tables)


class Interpolate(Node):
    """`input (N, C, *)` interpolated."""

    fresh_gradients = True
    in_float32 = True

    def __init__(self, name: str, resampling: Resampling) -> None:
        self.name, self.resampling = name, resampling

    def forward(self, x: Any) -> Any:
        output = allocate((*x.shape[:2], *self.resampling.output_size), x.dtype, self.where)
        kernels = kernels_for(self.where, "interpolate")
        if x.dtype == np.uint8 and self._has_weights:
            tables = self.resampling.tables(np.dtype(np.float64))[1:]
            x = volumetric(x, self.where).reshape(x.shape)
            kernels.interpolate_bytes(x, tables, *self.resampling.fixed_point(), output)
            return output
        tables = self.resampling.tables(x.dtype if x.dtype.kind == "f" else np.dtype(np.float32))
        kernels.interpolate(volumetric(x, self.where), tables, volumetric(output, self.where))
        return output

    @property
    def _has_weights(self) -> bool:
        return "Nearest" not in self.name

    def backward(self, grad: Tensor) -> Tensor:
        return InterpolateGrad(self.name, self.resampling)(grad)


class InterpolateGrad(Node):
    """What each element of the input gets of the gradients of the outputs: the transpose of `Interpolate`."""

    fresh_gradients = True
    in_float32 = True

    def __init__(self, name: str, resampling: Resampling) -> None:
        self.forward_name, self.resampling = name, resampling
        self.name = name.replace("Backward0", "BackwardBackward0")

    def forward(self, grad: Any) -> Any:
        grad_input = allocate((*grad.shape[:2], *self.resampling.input_size), grad.dtype, self.where)
        tables = self.resampling.transposed(grad.dtype)
        interpolate = kernels_for(self.where, "interpolate").interpolate
        interpolate(volumetric(grad, self.where), tables, volumetric(grad_input, self.where))
        return grad_input

    def backward(self, grad: Tensor) -> Tensor:
        return Interpolate(self.forward_name, self.resampling)(grad)
