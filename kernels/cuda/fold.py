"""Sliding blocks of images as columns, and columns summed up to images, on CUDA, by the array module's own operations.

As in `nbtorch.kernels.cpu.fold`: a slice of the padded images for each element of the blocks.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

Pair = tuple[int, int]


def unfold(image: Any, dilation: Pair, padding: Pair, stride: Pair, columns: Any) -> None:
    """Write the elements of the blocks, zeros where they lie in the padding."""
    columns.fill(0)
    for element, inside, outputs in _slices(image, columns, dilation, padding, stride):
        columns[(slice(None), *element, *outputs)] = image[(slice(None), *inside)]


def fold(columns: Any, dilation: Pair, padding: Pair, stride: Pair, image: Any) -> None:
    """Write to each element of the images the sum of what the blocks that it belongs to have for it."""
    image.fill(0)
    for element, inside, outputs in _slices(image, columns, dilation, padding, stride):
        image[(slice(None), *inside)] += columns[(slice(None), *element, *outputs)]


def _slices(image: Any, columns: Any, *options: Pair) -> Iterator[tuple[Pair, list[slice], list[slice]]]:
    """Yield each element of a block, the rows and columns of the image that it meets, and in which blocks it does."""
    for element in np.ndindex(*columns.shape[1:3]):
        inside, outputs = [], []
        for axis in range(2):
            dilation, padding, stride = (pair[axis] for pair in options)
            offset = element[axis] * dilation - padding
            first = max(-(offset // stride), 0)
            last = min((image.shape[axis + 1] - 1 - offset) // stride + 1, columns.shape[axis + 3])
            outputs.append(slice(first, max(last, first)))
            begin = offset + first * stride
            inside.append(slice(begin, begin + max(last - first, 0) * stride, stride))
        yield element, inside, outputs
