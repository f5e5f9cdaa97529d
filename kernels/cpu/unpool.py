"""Max unpooling on the CPU: values written, or added up, where flat indices say; and the reverse, for any dtype.

All arrays are C-contiguous and of any rank (N, C, *); indices are int64 and count the positions of one plane. These
are also the derivatives of the poolings that leave indices behind. The index -1 stands for no element at all.
"""

import numba
import numpy as np
from nbtorch.kernels.cpu.ranges import RangeKernel
from nbtorch.kernels.cpu.rows import PARALLEL_WORK
from nbtorch.kernels.jit import njit


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
    arrays = grad_output.reshape(count, -1), indices.reshape(count, -1), grad_input.reshape(count, -1)
    _gather(count, grad_input.size, *arrays)


def _scatter(values: np.ndarray, indices: np.ndarray, output: np.ndarray, add: bool) -> int:
    """Scatter plane by plane; return the flat place of an index out of range, or -1."""
    count = output.shape[0] * output.shape[1]
    if values.size == 0 or output.size == 0:
        output.fill(0)
        return -1
    arrays = values.reshape(count, -1), indices.reshape(count, -1), output.reshape(count, -1)
    parts = max(1, min(output.size // count, numba.get_num_threads() // count))
    stray = np.full(count * parts, -1)
    _scatter_parts(count * parts, values.size + output.size, *arrays, stray, add, parts)
    return int(stray.max())


def _scatter_ranges(values, indices, output, stray, add, parts, begin, end):
    """Scatter what falls into the parts `begin` to `end`, counted through all planes; note a stray index of each."""
    for part in range(begin, end):
        stray[part] = _scatter_part(values, indices, add, part // parts, part % parts, parts, output)


@njit
def _scatter_part(values, indices, add, plane, part, parts, output):
    """Scatter what falls into one of the parts of a plane; return the flat place of an index out of range, or -1."""
    size, stray = output.shape[1], -1
    first = size * part // parts
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


def _gather_planes(planes, positions, output, begin, end):
    """Read the elements of the planes `begin` to `end`."""
    for plane in range(begin, end):
        for i in range(output.shape[1]):
            position = positions[plane, i]
            output[plane, i] = planes[plane, position] if position >= 0 else 0


_scatter_parts = RangeKernel(_scatter_ranges, PARALLEL_WORK)
_gather = RangeKernel(_gather_planes, PARALLEL_WORK)
