"""Max unpooling on CUDA: values written, or added up, where flat indices say; and the reverse, for any dtype.

The rules are those of `nbtorch.kernels.cpu.unpool`, for duplicates too: the place of the last value is found first, by
an atomic maximum, whose result does not depend on the order; then every element of the output fetches its value.
"""

import functools
import math
from typing import Any

import numpy as np
from nbtorch.kernels.cuda import target
from nbtorch.kernels.cuda.pool import chunks
from nbtorch.kernels.cuda.target import cuda, divide, int32, int64

INDEX, PLACE = np.dtype("int64"), np.dtype("int32")


def max_unpool_forward(input: Any, indices: Any, output: Any) -> int | None:
    """Write `input` into zeros, output[n, c].flat[indices[n, c, i]] = input[n, c, i]; of duplicates the last stands.

    Returns an index outside of the plane if there is one; then nothing is written.
    """
    plane, count = math.prod(output.shape[2:]), math.prod(input.shape[2:])
    if input.size == 0 or output.size == 0:
        output.fill(0)
        return None
    low, high = int(indices.min()), int(indices.max())
    if low < 0 or high >= plane:
        return low if low < 0 else high
    dtype = np.dtype(input.dtype)
    for x, positions, y in chunks(input, indices, output):
        last = target.empty(input, y.size, PLACE)
        last.fill(-1)
        claim()(target.blocks_for(x.size, target.THREADS), positions, last, x.size, plane, *target.division(count))
        fetch(dtype)(target.blocks_for(y.size, target.THREADS), x, last, y, y.size)
    return None


def max_unpool_add(input: Any, indices: Any, output: Any) -> None:
    """Add `input` up in zeros, in order: output[n, c].flat[indices[n, c, i]] += input[n, c, i]; -1 is left out.

    A thread walks through a plane; only derivatives of a higher order than the second come here.
    """
    output.fill(0)
    plane, count = math.prod(output.shape[2:]), math.prod(input.shape[2:])
    if output.size == 0:
        return
    for x, positions, y in chunks(input, indices, output):
        planes = x.shape[0]
        add(np.dtype(input.dtype))(target.blocks_for(planes, target.THREADS), x, positions, y, planes, count, plane)


def max_unpool_backward(grad_output: Any, indices: Any, grad_input: Any) -> None:
    """Write grad_input[n, c, i] = grad_output[n, c].flat[indices[n, c, i]], or 0 where the index is -1."""
    plane, count = math.prod(grad_output.shape[2:]), math.prod(grad_input.shape[2:])
    kernel = gather(np.dtype(grad_output.dtype))
    for x, positions, y in chunks(grad_output, indices, grad_input):
        blocks = target.blocks_for(y.size, target.THREADS)
        kernel(blocks, x, positions, y, y.size, plane, *target.division(max(1, count)))


@functools.cache
def claim() -> target.Kernel:
    """Make the kernel that finds the last value for each element of the output."""
    atomic_max = target.atomic_max()

    def kernel(indices, last, size, plane_size, multiplier, shift):
        i, step = int32(cuda.grid(1)), int32(cuda.gridsize(1))
        while i < size:
            atomic_max(last, int64(divide(i, multiplier, shift)) * plane_size + indices[i], i)
            i = int32(i + step)

    return target.Kernel(kernel, (INDEX, PLACE, "int32", "int32", "int32", "int32"), target.THREADS)


@functools.cache
def fetch(dtype: np.dtype) -> target.Kernel:
    """Make the kernel that writes to each element the value that was found for it."""
    zero = dtype.type(0)

    def kernel(input, last, output, size):
        i, step = int32(cuda.grid(1)), int32(cuda.gridsize(1))
        while i < size:
            place = last[i]
            output[i] = input[place] if place >= 0 else zero
            i = int32(i + step)

    return target.Kernel(kernel, (dtype, PLACE, dtype, "int32"), target.THREADS)


@functools.cache
def add(dtype: np.dtype) -> target.Kernel:
    """Make the kernel in which a thread adds the values of a plane up."""

    def kernel(input, indices, output, planes, count, plane_size):
        plane, step = int32(cuda.grid(1)), int32(cuda.gridsize(1))
        while plane < planes:
            start, target_start = int64(plane) * count, int64(plane) * plane_size
            for i in range(count):
                index = indices[start + i]
                if index >= 0:
                    output[target_start + index] += input[start + i]
            plane = int32(plane + step)

    return target.Kernel(kernel, (dtype, INDEX, dtype, "int32", "int32", "int32"), target.THREADS)


@functools.cache
def gather(dtype: np.dtype) -> target.Kernel:
    """Make the kernel that reads the elements which the indices name."""
    zero = dtype.type(0)

    def kernel(input, indices, output, size, in_plane, multiplier, shift):
        i, step = int32(cuda.grid(1)), int32(cuda.gridsize(1))
        while i < size:
            index = indices[i]
            start = int64(divide(i, multiplier, shift)) * in_plane
            output[i] = input[start + index] if index >= 0 else zero
            i = int32(i + step)

    return target.Kernel(kernel, (dtype, INDEX, dtype, "int32", "int32", "int32", "int32"), target.THREADS)


def catalogue(dtype: np.dtype) -> dict[str, target.Kernel]:
    """Return every kernel of this module for one dtype, by name: what the compile gate walks."""
    return {
        "max_unpool_claim": claim(),
        "max_unpool_fetch": fetch(dtype),
        "max_unpool_add": add(dtype),
        "max_unpool_backward": gather(dtype),
    }
