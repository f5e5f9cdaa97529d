"""Max unpooling on the CPU: values written, or added up, where flat indices say; and the reverse, for any dtype.

All arrays are C-contiguous and of any rank (N, C, *); indices are int64 and count the positions of one plane. These
are also the derivatives of the poolings that leave indices behind. The index -1 stands for no element at all.
"""

import numba
import numpy as np
from nbtorch.kernels.cpu.rows import BLOCKS_PER_THREAD, PARALLEL_WORK
from nbtorch.kernels.jit import njit
from numba import prange


def max_unpool_forward(input: np.ndarray, indices: np.ndarray, output: np.ndarray) -> int | None:
    """Write `input` into zeros, output[n, c].flat[indices[n, c, i]] = input[n, c, i]; of duplicates the last stands.

    Returns an index outside of the plane if there is one. Nothing is written for it.
    """
    stray = _scatter(input, indices, output, False)
    return None if stray < 0 else int(indices.reshape(-1)[stray])


def max_unpool_add(input: np.ndarray, indices: np.ndarray, output: np.ndarray) -> None:
    """Add `input` up in zeros, in order: output[n, c].flat[indices[n, c, i]] += input[n, c, i]; -1 is left out."""
    _scatter(input, indices, output, True)


def max_unpool_backward(grad_output: np.ndarray, indices: np.ndarray, grad_input: np.ndarray) -> None:
    """Write grad_input[n, c, i] = grad_output[n, c].flat[indices[n, c, i]], or 0 where the index is -1."""
    if grad_input.size == 0:
        return
    count = grad_output.shape[0] * grad_output.shape[1]
    kernel = _gather if grad_input.size < PARALLEL_WORK else _gather_parallel
    kernel(grad_output.reshape(count, -1), indices.reshape(count, -1), grad_input.reshape(count, -1))


def _scatter(values: np.ndarray, indices: np.ndarray, output: np.ndarray, add: bool) -> int:
    """Scatter plane by plane; return the flat place of an index out of range, or -1."""
    count = output.shape[0] * output.shape[1]
    if values.size == 0 or output.size == 0:
        output.fill(0)
        return -1
    arrays = values.reshape(count, -1), indices.reshape(count, -1), add
    if values.size + output.size < PARALLEL_WORK:
        return _scatter_block(*arrays, 0, 1, 0, count, output.reshape(count, -1))
    parts = max(1, min(output.size // count, numba.get_num_threads() // count))
    blocks = count * parts if parts > 1 else min(count, BLOCKS_PER_THREAD * numba.get_num_threads())
    stray = np.empty(blocks, np.int64)
    _scatter_parallel(*arrays, parts, output.reshape(count, -1), stray)
    return int(stray.max())


@njit(parallel=True)
def _scatter_parallel(values, indices, add, parts, output, stray):
    count, blocks = output.shape[0], stray.size
    for block in prange(blocks):
        if parts > 1:
            plane = block // parts
            stray[block] = _scatter_block(values, indices, add, block % parts, parts, plane, plane + 1, output)
        else:
            begin, end = count * block // blocks, count * (block + 1) // blocks
            stray[block] = _scatter_block(values, indices, add, 0, 1, begin, end, output)


@njit
def _scatter_block(values, indices, add, part, parts, begin, end, output):
    """Scatter what falls into one of the parts of each of the planes `begin` to `end`."""
    size = output.shape[1]
    first = size * part // parts
    stray = -1
    for plane in range(begin, end):
        target = output[plane, first : size * (part + 1) // parts]
        target[:] = 0
        places, source, length = indices[plane], values[plane], np.uint64(target.size)
        if add:
            for i in range(source.size):
                place = np.uint64(places[i] - first)
                if place < length:
                    target[place] += source[i]
        else:
            for i in range(source.size):
                place = np.uint64(places[i] - first)
                if place < length:
                    target[place] = source[i]
                elif np.uint64(places[i]) >= np.uint64(size):
                    stray = plane * source.size + i
    return stray


@njit
def _gather(planes, positions, output):
    for plane in range(output.shape[0]):
        _gather_plane(planes, positions, plane, output)


@njit(parallel=True)
def _gather_parallel(planes, positions, output):
    for plane in prange(output.shape[0]):
        _gather_plane(planes, positions, plane, output)


@njit
def _gather_plane(planes, positions, plane, output):
    for i in range(output.shape[1]):
        position = positions[plane, i]
        output[plane, i] = planes[plane, position] if position >= 0 else 0
