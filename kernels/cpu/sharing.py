"""What launches have in common: parts of a range for each thread, boxes of outputs, and scratch memory that is kept."""

import threading
from typing import NamedTuple

import numpy as np

from ..jit import njit


class Workspace(threading.local):
    """Scratch memory that each calling thread keeps from one launch to the next."""

    def __init__(self) -> None:
        self.buffers: dict[str, np.ndarray] = {}

    def get(self, purpose: str, rows: int, columns: int, dtype: np.dtype) -> np.ndarray:
        """Return an uninitialised array, aligned to a cache line."""
        size = rows * columns * dtype.itemsize
        buffer = self.buffers.get(purpose)
        if buffer is None or buffer.size < size:
            memory = np.empty(size + 64, np.uint8)
            start = -memory.ctypes.data % 64
            buffer = self.buffers[purpose] = memory[start : start + size]
        return np.ndarray((rows, columns), dtype, buffer)


workspace = Workspace()


@njit
def part(index, count, parts):
    """Return start and size of one of `parts` parts of `count` that differ by one at most, the larger ones first."""
    size, larger = count // parts, count % parts
    return index * size + min(index, larger), size + (1 if index < larger else 0)


class Box(NamedTuple):
    """A box of outputs (or of tiles of them): where it begins and how many there are in it."""

    image: int
    plane: int
    row: int
    column: int
    images: int
    planes: int
    rows: int
    columns: int


@njit
def box_of(index, whole, extents):
    """Return one of the boxes of `extents` that the whole is cut into: images, planes, rows and columns."""
    across = -(-whole[3] // extents[3])
    down = -(-whole[2] // extents[2])
    deep = -(-whole[1] // extents[1])
    rest, column = index // across, index % across * extents[3]
    rest, row = rest // down, rest % down * extents[2]
    image, plane = rest // deep * extents[0], rest % deep * extents[1]
    return Box(
        image,
        plane,
        row,
        column,
        min(extents[0], whole[0] - image),
        min(extents[1], whole[1] - plane),
        min(extents[2], whole[2] - row),
        min(extents[3], whole[3] - column),
    )


@njit
def covered(first, step, shift, count, extent):
    """Return where a box begins in the source, and which of `count` indices from there lie in the source."""
    start = first * step + shift
    low = min(max(0, -start), count)
    return start, low, max(low, min(count, extent - start))


@njit
def zero(values):
    """Write zeros."""
    for i in range(values.size):
        values[i] = 0


def add_chunks_range(partial, total, begin, end):
    """Write the sums over chunks, in order, of a range of elements."""
    for i in range(begin, end):
        value = partial[0, i]
        for chunk in range(1, partial.shape[0]):
            value += partial[chunk, i]
        total[i] = value
