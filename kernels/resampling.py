"""Which elements an interpolation reads along one axis, and with which weights: tables, computed once from the sizes.

Interpolation is separable and linear. An axis has a table: output i is the sum of `weights[t, i] * x[first[i] + t]` for
t below `count[i]`. Nearest neighbours are a table of single ones, and the gradient of an interpolation is the
interpolation by the transposed tables.

Positions follow PyTorch, in the precision of the weights: output i lies at `scale * (i + 1/2) - 1/2`, or with aligned
corners at `scale * i`. What lies outside of the input is moved to its edge.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Table(NamedTuple):
    """One axis of an interpolation."""

    extent: int  # of the input
    windows: np.ndarray  # (2, size), int64: where the window of an output begins, and how many elements it has
    weights: np.ndarray  # (taps, size), zeros where a window has fewer elements
    copies: bool  # whether each output is one element of the input, unchanged
    keeps: bool  # whether output and input are the same
    full: tuple[int, int]  # (begin, end) of outputs whose windows all have `taps` elements

    @property
    def first(self) -> np.ndarray:
        """Where the windows begin."""
        return self.windows[0]

    @property
    def count(self) -> np.ndarray:
        """How many elements the windows have."""
        return self.windows[1]

    @property
    def size(self) -> int:
        """The extent of the output."""
        return self.windows.shape[1]

    @property
    def taps(self) -> int:
        """The elements of the largest window."""
        return len(self.weights)


def as_table(extent: int, first: np.ndarray, count: np.ndarray, weights: np.ndarray, copies: bool = False) -> Table:
    """Return a table with what follows from its arrays."""
    keeps = copies and first.size == extent and bool((first == np.arange(first.size)).all())
    partial = np.flatnonzero(count != len(weights))
    middle = first.size // 2
    split = int(np.searchsorted(partial, middle))
    begin = int(partial[split - 1]) + 1 if split else 0
    end = int(partial[split]) if split < partial.size else first.size
    return Table(extent, np.stack([first, count]), np.ascontiguousarray(weights), copies, keeps, (begin, end))


def table(
    mode: str, extent: int, size: int, scale: float | None, align_corners: bool, dtype: np.dtype, single: bool = False
) -> Table:
    """Return the table of an axis.

    Args:
        mode: `nearest`, `nearest-exact`, `linear`, `cubic`, and with a filter as wide as the outputs are apart
            `antialias-linear`, `antialias-cubic`, `antialias-lanczos`.
        extent: of the input.
        size: of the output.
        scale: output over input where it is not the ratio of the extents; ratios decide if None or not positive.
        align_corners: let the centres of the outermost elements coincide, rather than their edges.
        dtype: of the weights, float32 or float64.
        single: find nearest neighbours in float32 whatever the type.

    >>> table("linear", 2, 4, None, False, np.dtype("float32")).weights.tolist()
    [[1.0, 0.75, 0.25, 1.0], [0.0, 0.25, 0.75, 0.0]]
    """
    if mode in ("nearest", "nearest-exact"):
        step = _step(extent, size, scale, False, np.float32 if single else dtype.type)
        return _nearest(extent, size, step, mode == "nearest-exact", single, dtype)
    step = _step(extent, size, scale, align_corners, dtype.type)
    if mode == "linear":
        return _linear(extent, size, step, align_corners)
    if mode == "cubic":
        return _cubic(extent, size, step, align_corners)
    return _antialias(mode.removeprefix("antialias-"), extent, size, step)


def transpose(table: Table) -> Table:
    """Return the table that leads from outputs back to inputs; windows must not go back as the outputs advance."""
    taps = np.arange(len(table.weights))[:, None]
    used = taps < table.count
    outputs = np.broadcast_to(np.arange(table.size), used.shape)[used]
    inputs, values = (table.first + taps)[used], table.weights[used]
    first = np.full(table.extent, table.size, np.int64)
    np.minimum.at(first, inputs, outputs)
    last = np.full(table.extent, -1, np.int64)
    np.maximum.at(last, inputs, outputs)
    count = np.maximum(last - first + 1, 0)
    first[count == 0] = 0
    weights = np.zeros((max(int(count.max(initial=0)), 1), table.extent), table.weights.dtype)
    weights[outputs - first[inputs], inputs] = values
    return as_table(table.size, first, count, weights, table.copies and bool((count == 1).all()))


class Method(NamedTuple):
    """How the spatial axes are interpolated, one to three of them; see `table`."""

    mode: str
    input_size: tuple[int, ...]
    output_size: tuple[int, ...]
    scales: tuple[float | None, ...]
    align_corners: bool = False
    single: bool = False


class Axes:
    """The tables of three axes, from the outermost to the innermost; those that are missing have unit extents."""

    def __init__(self, tables: list[Table]) -> None:
        missing = 3 - len(tables)
        self.depth, self.height, self.width = _unit_axes(tables[-1].weights.dtype)[:missing] + tables

    @property
    def tables(self) -> tuple[Table, Table, Table]:
        """The tables, from the outermost axis to the innermost."""
        return self.depth, self.height, self.width

    @property
    def copy(self) -> bool:
        """Whether each output is one element of the input, unchanged."""
        return self.depth.copies and self.height.copies and self.width.copies


def _unit_axes(dtype: np.dtype) -> list[Table]:
    return [table("nearest", 1, 1, None, False, dtype)] * 2


@functools.lru_cache(maxsize=512)
def axes(method: Method, dtype: np.dtype, transposed: bool = False) -> Axes:
    """Return the tables of a method for weights of a type, or their transposes."""
    extents = zip(method.input_size, method.output_size, method.scales, strict=True)
    tables = [table(method.mode, *triple, method.align_corners, dtype, method.single) for triple in extents]
    return Axes([transpose(table) for table in tables] if transposed else tables)


def fixed_point(weights: np.ndarray) -> tuple[np.ndarray, int]:
    """Return weights as integers, and how many of their bits come after the point.

    With as many bits as let the largest weight fit into 16, as Pillow and PyTorch interpolate bytes.
    """
    bits, largest = 0, float(weights.max(initial=0))
    while bits < 22 and int(0.5 + largest * (1 << (bits + 1))) < 1 << 15:
        bits += 1
    scaled = weights * (1 << bits)
    return np.trunc(scaled + np.where(weights < 0, -0.5, 0.5)).astype(np.int32), bits


def _step(extent: int, size: int, scale: float | None, align_corners: bool, real: Callable[..., np.floating]):
    """Return the distance of neighbouring outputs, in elements of the input."""
    if align_corners:
        return real(extent - 1) / real(size - 1) if size > 1 else real(0)
    return real(1 / scale) if scale is not None and scale > 0 else real(extent) / real(size)


def _nearest(extent: int, size: int, step: np.floating, exact: bool, single: bool, dtype: np.dtype) -> Table:
    outputs = np.arange(size).astype(type(step))
    if not exact:
        places = outputs * step
    elif single:
        places = (outputs + step.dtype.type(0.5)) * step
    else:
        places = _places(size, step, False) + step.dtype.type(0.5)
    first = np.minimum(np.floor(places.astype(np.float32)), extent - 1).astype(np.int64)
    return as_table(extent, first, np.ones(size, np.int64), np.ones((1, size), dtype), True)


def _places(size: int, step: np.floating, align_corners: bool) -> np.ndarray:
    """Return where the outputs lie, in elements of the input."""
    outputs = np.arange(size).astype(np.float64)
    places = step * outputs if align_corners else np.float64(step) * (outputs + 0.5) - 0.5
    return places.astype(type(step))


def _linear(extent: int, size: int, step: np.floating, align_corners: bool) -> Table:
    real = type(step)
    places = np.maximum(_places(size, real(1) if extent == size else step, align_corners), real(0))
    first = np.minimum(np.floor(places).astype(np.int64), extent - 1)
    right = np.clip(places - first.astype(real), 0, 1).astype(real)
    taps = np.stack([first, np.minimum(first + 1, extent - 1)])
    return _gathered(extent, taps, np.stack([real(1) - right, right]))


def _cubic(extent: int, size: int, step: np.floating, align_corners: bool) -> Table:
    from nbtorch.kernels.grid import cubic_weights  # which imports Numba

    real = type(step)
    places = _places(size, step, align_corners)
    floor = np.minimum(np.floor(places).astype(np.int64), extent - 1)
    t = np.clip(places - floor.astype(real), 0, 1).astype(real)
    taps = np.clip(floor + np.arange(-1, 3)[:, None], 0, extent - 1)
    return _gathered(extent, taps, np.stack(getattr(cubic_weights, "py_func", cubic_weights)(t, real(-0.75))))


def _gathered(extent: int, taps: np.ndarray, weights: np.ndarray) -> Table:
    """Return the table of taps that may coincide at the edges, where their weights are added up."""
    first = taps[0]
    count = taps[-1] - first + 1
    summed = np.zeros_like(weights)
    for row, weight in zip(taps - first, weights, strict=True):
        summed[row, np.arange(row.size)] += weight
    return as_table(extent, first, count, summed[: int(count.max(initial=1))])


def _antialias(kind: str, extent: int, size: int, step: np.floating) -> Table:
    real = type(step)
    reach, function = FILTERS[kind]
    width = max(step, real(1))
    support = real(reach) * width
    centres = (step * (np.arange(size) + 0.5)).astype(real)
    first = np.maximum((centres - support + 0.5).astype(np.int64), 0)
    end = np.minimum((centres + support + 0.5).astype(np.int64), extent)
    count = np.clip(end - first, 0, math.ceil(support) * 2 + 1)
    taps = np.arange(max(int(count.max(initial=1)), 1))[:, None]
    weights = function(((taps + first - centres + 0.5) / width).astype(real)).astype(real)
    weights[taps >= count] = 0
    total = weights.sum(0, dtype=real)
    total[total == 0] = 1
    return as_table(extent, first, count, weights / total)


def _triangle(x: np.ndarray) -> np.ndarray:
    return np.maximum(1 - np.abs(x), 0)


def _keys(x: np.ndarray) -> np.ndarray:
    x = np.abs(x)
    inner, outer = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x < 1, inner, np.where(x < 2, outer, 0))


def _lanczos(x: np.ndarray) -> np.ndarray:
    return np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0)


FILTERS: dict[str, tuple[float, Callable[[np.ndarray], np.ndarray]]] = {
    "linear": (1, _triangle),
    "cubic": (2, _keys),
    "lanczos": (3, _lanczos),
}
"""How far a filter reaches, and its values."""
