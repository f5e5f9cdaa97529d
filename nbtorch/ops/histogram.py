"""Histograms over given or equal bins, in one dimension and several."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.graph import Node
from ..device import array_module
from ..tensor import Tensor, method
from .operands import not_implemented, require_tensor
from .reduction import return_type

histogram_result = return_type("histogram", "hist", "bin_edges")
histogramdd_result = return_type("histogramdd", "hist", "bin_edges")


@method
def histogram(
    input: Tensor,
    bins: Any,
    *,
    range: Sequence[float] | None = None,
    weight: Tensor | None = None,
    density: bool = False,
) -> Any:
    """Return how many elements fall into each bin, and the edges of the bins; the last bin has both its edges.

    Args:
        input: floating point, of any shape.
        bins: how many equal bins, or a vector of increasing edges.
        range: from where to where equal bins reach; by default from the smallest element to the largest.
        weight: what each element counts, of the input's shape.
        density: scale the result to an integral of 1.
    """
    require_tensor("histogram", "input", input)
    if isinstance(bins, Tensor) and range is not None:
        raise TypeError("histogram(): bins given as edges allow no range")
    hist, edges = _counted("histogram", input.reshape(-1, 1), [bins], range, weight, density)
    return histogram_result(hist, edges[0])


def histogramdd(
    input: Tensor,
    bins: Any,
    range: Sequence[float] | None = None,
    weight: Tensor | None = None,
    density: bool = False,
) -> Any:
    """Return how many points fall into each cell of a grid, and the edges of its cells.

    Args:
        input: the points, (…, D), floating point.
        bins: how many equal bins in each dimension (an int for all, or a sequence of ints), or a sequence of D vectors
            of increasing edges.
        range: 2 · D numbers, from where to where equal bins reach; by default from the smallest element to the largest.
        weight: what each point counts, (…).
        density: scale the result to an integral of 1.
    """
    require_tensor("histogramdd", "input", input)
    if input.ndim < 2:
        raise RuntimeError(f"torch.histogramdd: input tensor should have at least 2 dimensions, but got {input.ndim}")
    dimensions = input.shape[-1]
    per_dimension = list(bins) if isinstance(bins, (tuple, list)) else [bins] * dimensions
    if len(per_dimension) != dimensions:
        raise RuntimeError(
            f"torch.histogramdd: The size of bins must be equal to the innermost dimension of the input, got"
            f" {len(per_dimension)} and {dimensions}"
        )
    points = input.reshape(-1, dimensions)
    return histogramdd_result(*_counted("histogramdd", points, per_dimension, range, weight, density))


def _counted(
    operation: str, points: Tensor, bins: list[Any], limits: Any, weight: Tensor | None, density: bool
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Count points, (N, D), in a grid."""
    if points.dtype is dtypes.float16 or not points.is_floating_point():
        raise not_implemented(f"{operation}_cpu", points.dtype, "bfloat16, float32 or float64")
    if weight is not None and (weight.numel() != points.shape[0] or weight.dtype is not points.dtype):
        raise RuntimeError(
            f"torch.{operation}: weight must have the input's type and a number for each point, got {weight.dtype} and"
            f" shape {list(weight.shape)}"
        )
    edges = [
        _edges(operation, points, axis, b, None if limits is None else limits[2 * axis : 2 * axis + 2])
        for axis, b in enumerate(bins)
    ]
    weights = None if weight is None else weight._array.reshape(-1)
    return Histogram(edges, weights, density)(points), tuple([points._wrap_like(e) for e in edges])


class Histogram(Node):
    """Counts of points, (N, D), in a grid; they have no derivative."""

    in_float32 = True

    def __init__(self, edges: list[Any], weights: Any, density: bool) -> None:
        self.grid, self.weights, self.density = edges, weights, density

    def forward(self, points: Any) -> Any:
        xp = array_module(self.where)
        grid = [edges.astype(points.dtype, copy=False) for edges in self.grid]
        shape = tuple([len(edges) - 1 for edges in grid])
        inside, place = xp.ones(points.shape[0], bool), xp.zeros(points.shape[0], np.int64)
        for axis, edges in enumerate(grid):
            column = points[:, axis]
            inside &= (column >= edges[0]) & (column <= edges[-1])
            index = xp.clip(xp.searchsorted(edges, column, side="right") - 1, 0, shape[axis] - 1)
            place = place * shape[axis] + index
        weights = None if self.weights is None else self.weights[inside]
        counts = xp.bincount(place[inside], weights, math.prod(shape)).reshape(shape).astype(points.dtype)
        if self.density:
            counts = counts / counts.sum()
            for axis, edges in enumerate(grid):
                counts = counts / xp.diff(edges).reshape((-1,) + (1,) * (len(shape) - axis - 1))
        return counts

    def backward(self, grad: Tensor) -> Any:
        raise NotImplementedError("the derivative for 'histogram' is not implemented.")


def _edges(operation: str, points: Tensor, axis: int, bins: Any, limits: Any) -> Any:
    """Return the edges of one dimension's bins."""
    if isinstance(bins, Tensor):
        if bins.ndim != 1 or bins.numel() == 0 or bins.dtype is not points.dtype:
            raise RuntimeError(
                f"torch.{operation}: bins must be vectors of the input's type with at least one element, got"
                f" {bins.dtype} and shape {list(bins.shape)}"
            )
        return bins._array.copy()
    if bins <= 0:
        raise RuntimeError(f"torch.{operation}: bins must be > 0, but got {bins}")
    column = points._array[:, axis]
    low, high = (0.0, 0.0) if column.size == 0 else (float(column.min()), float(column.max()))
    if limits is not None:
        low, high = float(limits[0]), float(limits[1])
    if not (math.isfinite(low) and math.isfinite(high)):
        raise RuntimeError(f"torch.{operation}: range [{low}, {high}] is not finite")
    if low > high:
        raise RuntimeError(f"torch.{operation}: min should not exceed max, but got min {low} max {high}")
    if low == high:
        low, high = low - 0.5, high + 0.5
    return points._xp.linspace(low, high, bins + 1).astype(points._array.dtype)
