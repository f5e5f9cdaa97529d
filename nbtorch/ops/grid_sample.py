"""Sampling of images and volumes at the places of a grid."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from nbtorch.kernels import geometry

from ..autograd.grad_mode import state
from ..autograd.graph import Node
from ..device import allocate, contiguous, kernels_for
from ..tensor import Tensor
from .conv import volumetric


class _Sampling(Node):
    """What sampling and its gradient share: the options, and arrays as kernels take them."""

    def __init__(self, mode: str, padding_mode: str, align_corners: bool) -> None:
        self.options = geometry.GRID_MODES[mode], geometry.GRID_PADDING_MODES[padding_mode], align_corners

    def grid_array(self, grid: Any) -> Any:
        """Return (N, *, rank) as the (N, oD, oH, oW, rank) that kernels take."""
        grid = contiguous(grid, self.where)
        return grid.reshape(grid.shape[:1] + (1,) * (5 - grid.ndim) + grid.shape[1:])


class GridSampler(_Sampling):
    """`input (N, C, *)` at the places of `grid (N, *, rank)`."""

    saves_inputs = (0, 1)
    fresh_gradients = True
    in_float32 = True

    def __init__(self, mode: str, padding_mode: str, align_corners: bool, rank: int) -> None:
        super().__init__(mode, padding_mode, align_corners)
        self.arguments = mode, padding_mode, align_corners
        self.name = f"GridSampler{rank}DBackward0"

    def forward(self, x: Any, grid: Any) -> Any:
        output = allocate((*x.shape[:2], *grid.shape[1:-1]), x.dtype, self.where)
        kernel = kernels_for(self.where, "grid_sample").grid_sample_forward
        kernel(volumetric(x, self.where), self.grid_array(grid), *self.options, volumetric(output, self.where))
        return output

    def backward(self, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, grid = self.saved_tensors
        if state.enabled:
            return _differentiable_gradients(grad, x, grid, *self.options)
        wanted = self.needs_input_grad
        return (
            GridSamplerGradInput(*self.arguments, tuple(x.shape))(grad, grid) if wanted[0] else None,
            GridSamplerGradGrid(*self.arguments)(grad, x, grid) if wanted[1] else None,
        )


class GridSamplerGradInput(_Sampling):
    """The gradient of the input, for when nobody asks for its own gradient."""

    in_float32 = True

    def __init__(self, mode: str, padding_mode: str, align_corners: bool, shape: tuple[int, ...]) -> None:
        super().__init__(mode, padding_mode, align_corners)
        self.shape = shape

    def forward(self, grad: Any, grid: Any) -> Any:
        grad_input = allocate(self.shape, grad.dtype, self.where)
        kernel = kernels_for(self.where, "grid_sample").grid_sample_grad_input
        kernel(volumetric(grad, self.where), self.grid_array(grid), *self.options, volumetric(grad_input, self.where))
        return grad_input


class GridSamplerGradGrid(_Sampling):
    """The gradient of the grid, for when nobody asks for its own gradient."""

    in_float32 = True

    def forward(self, grad: Any, x: Any, grid: Any) -> Any:
        grad_grid = allocate(grid.shape, grid.dtype, self.where)
        kernel = kernels_for(self.where, "grid_sample").grid_sample_grad_grid
        arrays = volumetric(grad, self.where), volumetric(x, self.where), self.grid_array(grid)
        kernel(*arrays, *self.options, self.grid_array(grad_grid))
        return grad_grid


def _differentiable_gradients(
    grad: Tensor, x: Tensor, grid: Tensor, mode: int, padding_mode: int, align_corners: bool
) -> tuple[Tensor, Tensor | None]:
    """Return both gradients as chains of operations that have derivatives of their own."""
    batch, channels = x.shape[:2]
    rank, extents = grid.shape[-1], tuple(x.shape[:1:-1])
    axes = [_axis(grid.select(-1, i), extents[i], mode, padding_mode, align_corners, rank) for i in range(rank)]
    flat, outer = x.reshape((batch, channels, -1)), grad.reshape((batch, channels, -1))
    grad_x, grad_axes = flat * 0, [grid.select(-1, i) * 0 for i in range(rank)]
    for taps in itertools.product(*[range(len(axis)) for axis in axes]):
        chosen = [axis[t] for axis, t in zip(axes, taps, strict=True)]
        element, stride, exists = chosen[0][0] * 0, 1, chosen[0][1] * 0 + 1
        for (index, inside, _, _), extent in zip(chosen, extents, strict=True):
            element, stride, exists = element + index * stride, stride * extent, exists * inside
        element = element.reshape((batch, 1, -1)).expand(batch, channels, -1)
        weight = exists
        for _, _, value, _ in chosen:
            weight = weight * value
        grad_x = grad_x.scatter_add(2, element, outer * weight.reshape((batch, 1, -1)))
        dot = (flat.gather(2, element) * outer).sum(1).reshape(exists.shape) * exists
        for i in range(rank):
            change = chosen[i][3]
            for j in range(rank):
                change = change if i == j else change * chosen[j][2]
            grad_axes[i] = grad_axes[i] + dot * change
    grad_grid = grid * 0
    for i, part in enumerate(grad_axes):
        grad_grid = grad_grid + _unit(grid, i) * part.unsqueeze(-1)
    return grad_x.reshape(x.shape), grad_grid


def _axis(
    place: Tensor, extent: int, mode: int, padding_mode: int, align_corners: bool, rank: int
) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Return the taps along an axis: number, whether it exists (0 or 1), weight, change of the weight by the place."""
    from nbtorch.kernels import grid as places  # which imports Numba

    step = places.slope(extent, align_corners, 1.0)
    at = (place + 1) * step - (0 if align_corners else 0.5)
    if mode == places.CUBIC:
        low = at.detach().floor()
        t = at - low
        weights = _plain(places.cubic_weights)(t, -0.75)
        slopes = [slope * step for slope in _plain(places.cubic_slopes)(t, -0.75)]
        numbers = [_each(places.cubic_tap, low + (k - 1), extent, padding_mode, align_corners) for k in range(4)]
    else:
        otherwise = 0 if rank == 2 else extent - 1
        inside, factor = _each(places.padded, at.detach(), extent, padding_mode, align_corners, otherwise)
        if mode == places.NEAREST:
            numbers, weights, slopes = [inside.round()], [at * 0 + 1], [at * 0]
        else:
            low = inside.floor()
            t = inside - low + factor * (at - at.detach())
            numbers, weights = [low, low + 1], (1 - t, t)
            slopes = [factor * -step, factor * step]
    taps = []
    for number, weight, slope in zip(numbers, weights, slopes, strict=True):
        exists = ((number >= 0) & (number < extent)).to(at.dtype)
        taps.append(((number * exists).long(), exists, weight, slope))
    return taps


def _plain(function: Any) -> Any:
    """Return a scalar function without its JIT, so that it takes tensors."""
    return getattr(function, "py_func", function)


def _each(function: Any, at: Tensor, *arguments: Any) -> Any:
    """Return a scalar function of every element, or its two results."""
    found = [function(x, *arguments) for x in at.flatten().double().tolist()]
    if not isinstance(found[0], tuple):
        return at._like_array(np.array(found, np.float64).reshape(at.shape))
    return tuple([at._like_array(np.array(part).reshape(at.shape)) for part in zip(*found, strict=True)])


def _unit(grid: Tensor, axis: int) -> Tensor:
    """Return the unit vector of an axis, as a tensor like a place of the grid."""
    zeros = grid._xp.zeros(grid.shape[-1], grid._array.dtype)
    zeros[axis] = 1
    return grid._wrap_like(zeros)
