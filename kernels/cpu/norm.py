"""Normalisation on the CPU: statistics of rows or columns, and maps of them by numbers of their own.

`x`, `y`, `grad…` are (rows, length), C-contiguous, float32 or float64; statistics and coefficients are float64, one
for each row. A row is summed by one thread in a fixed order: partial sums over `CHUNK` elements in the type of the
elements, the total in float64. So results do not depend on the number of threads.
"""

import math

import numpy as np
from nbtorch.kernels.cpu.ranges import RangeKernel

PARALLEL_SIZE = 1 << 15
"""Elements above which a pass over them takes longer than waking the threads."""

CHUNK = 1024

STRIP, BLOCK = 64, 256
"""Columns that a thread sums at a time, and the rows of which it takes partial sums."""

SUMS = frozenset({"contract", "reassoc", "nsz"})
"""Sums may be reordered by the compiler, once and for all, into those of vector instructions."""


def row_moments(x: np.ndarray, mean: np.ndarray, squares: np.ndarray) -> None:
    """Write each row's mean, and the sum of its squared deviations from it."""
    _moments(len(x), x.size, x, mean, squares)


def row_affine(x: np.ndarray, center: np.ndarray, scale: np.ndarray, shift: np.ndarray, y: np.ndarray) -> None:
    """Write (x - center)·scale + shift, with the numbers of each row."""
    _affine(len(x), x.size, x, center, scale, shift, y)


def row_dots(grad: np.ndarray, x: np.ndarray, center: np.ndarray, sums: np.ndarray, dots: np.ndarray) -> None:
    """Write the sums of each row of `grad`, and of grad·(x - center)."""
    _dots(len(x), x.size, grad, x, center, sums, dots)


def row_combine(
    grad: np.ndarray,
    x: np.ndarray,
    center: np.ndarray,
    of_grad: np.ndarray,
    of_x: np.ndarray,
    shift: np.ndarray,
    grad_x: np.ndarray,
) -> None:
    """Write of_grad·grad + of_x·(x - center) + shift, with the numbers of each row."""
    _combine(len(x), x.size, grad, x, center, of_grad, of_x, shift, grad_x)


def column_moments(x: np.ndarray, mean: np.ndarray, squares: np.ndarray) -> None:
    """Write each column's mean, and the sum of its squared deviations from it."""
    _column_moments(-(-x.shape[1] // STRIP), x.size, x, mean, squares)


def column_affine(x: np.ndarray, center: np.ndarray, scale: np.ndarray, shift: np.ndarray, y: np.ndarray) -> None:
    """Write (x - center)·scale + shift, with the numbers of each column."""
    numbers = [array.astype(x.dtype) for array in (center, scale, shift)]
    _column_affine(len(x), x.size, x, *numbers, y)


def column_dots(grad: np.ndarray, x: np.ndarray, center: np.ndarray, sums: np.ndarray, dots: np.ndarray) -> None:
    """Write the sums of each column of `grad`, and of grad·(x - center)."""
    _column_dots(-(-x.shape[1] // STRIP), x.size, grad, x, center.astype(x.dtype), sums, dots)


def column_combine(
    grad: np.ndarray,
    x: np.ndarray,
    center: np.ndarray,
    of_grad: np.ndarray,
    of_x: np.ndarray,
    shift: np.ndarray,
    grad_x: np.ndarray,
) -> None:
    """Write of_grad·grad + of_x·(x - center) + shift, with the numbers of each column."""
    numbers = [array.astype(x.dtype) for array in (center, of_grad, of_x, shift)]
    _column_combine(len(x), x.size, grad, x, *numbers, grad_x)


def layer_forward(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray,
    eps: float,
    centred: bool,
    y: np.ndarray,
    mean: np.ndarray,
    rstd: np.ndarray,
) -> None:
    """Normalise each row and write (x - mean)·rstd·weight + bias; without `centred` the mean is taken as 0 (RMS)."""
    _layer_forward(len(x), x.size, x, weight, bias, eps, centred, y, mean, rstd)


def layer_backward(
    grad: np.ndarray,
    x: np.ndarray,
    weight: np.ndarray,
    mean: np.ndarray,
    rstd: np.ndarray,
    centred: bool,
    grad_x: np.ndarray,
    grad_weight: np.ndarray,
    grad_bias: np.ndarray,
) -> None:
    """Write the gradients of `layer_forward` by its input, weight and bias; the latter two are float64."""
    rows, length = x.shape
    block = max(8, -(-rows // 64))  # by shape alone, so that sums do not depend on the number of threads
    blocks = -(-rows // block)
    weights, biases = np.empty((blocks, length)), np.empty((blocks, length))
    _layer_backward(blocks, x.size, grad, x, weight, mean, rstd, centred, block, grad_x, weights, biases)
    weights.sum(0, out=grad_weight)
    biases.sum(0, out=grad_bias)


def _moments_rows(x, mean, squares, begin, end):
    length = x.shape[1]
    for row in range(begin, end):
        total = 0.0
        for start in range(0, length, CHUNK):
            part = x[row, start : min(start + CHUNK, length)]
            partial = x.dtype.type(0)
            for i in range(part.size):
                partial += part[i]
            total += partial
        center = total / length
        near = x.dtype.type(center)
        total = 0.0
        for start in range(0, length, CHUNK):
            part = x[row, start : min(start + CHUNK, length)]
            partial = x.dtype.type(0)
            for i in range(part.size):
                partial += (part[i] - near) * (part[i] - near)
            total += partial
        mean[row], squares[row] = center, total


def _affine_rows(x, center, scale, shift, y, begin, end):
    for row in range(begin, end):
        numbers = x.dtype.type(center[row]), x.dtype.type(scale[row]), x.dtype.type(shift[row])
        source, target = x[row], y[row]
        for i in range(source.size):
            target[i] = (source[i] - numbers[0]) * numbers[1] + numbers[2]


def _dots_rows(grad, x, center, sums, dots, begin, end):
    length = x.shape[1]
    for row in range(begin, end):
        near = x.dtype.type(center[row])
        total, total_dot = 0.0, 0.0
        for start in range(0, length, CHUNK):
            stop = min(start + CHUNK, length)
            g, part = grad[row, start:stop], x[row, start:stop]
            partial, partial_dot = x.dtype.type(0), x.dtype.type(0)
            for i in range(part.size):
                partial += g[i]
                partial_dot += g[i] * (part[i] - near)
            total += partial
            total_dot += partial_dot
        sums[row], dots[row] = total, total_dot


def _combine_rows(grad, x, center, of_grad, of_x, shift, grad_x, begin, end):
    for row in range(begin, end):
        near, slope = x.dtype.type(center[row]), x.dtype.type(of_grad[row])
        numbers = x.dtype.type(of_x[row]), x.dtype.type(shift[row])
        g, source, target = grad[row], x[row], grad_x[row]
        for i in range(source.size):
            target[i] = slope * g[i] + (numbers[0] * (source[i] - near) + numbers[1])


def _layer_forward_rows(x, weight, bias, eps, centred, y, mean, rstd, begin, end):
    length = x.shape[1]
    for row in range(begin, end):
        source, target = x[row], y[row]
        total = 0.0
        if centred:
            for start in range(0, length, CHUNK):
                part = source[start : min(start + CHUNK, length)]
                partial = x.dtype.type(0)
                for i in range(part.size):
                    partial += part[i]
                total += partial
        mean[row] = total / length
        near = x.dtype.type(mean[row])
        total = 0.0
        for start in range(0, length, CHUNK):
            part = source[start : min(start + CHUNK, length)]
            partial = x.dtype.type(0)
            for i in range(part.size):
                partial += (part[i] - near) * (part[i] - near)
            total += partial
        rstd[row] = 1 / math.sqrt(total / length + eps)
        scale = x.dtype.type(rstd[row])
        for i in range(source.size):
            target[i] = (source[i] - near) * scale * weight[i] + bias[i]


def _layer_backward_blocks(grad, x, weight, mean, rstd, centred, block, grad_x, weights, biases, begin, end):
    rows, length = x.shape
    for number in range(begin, end):
        to_weight, to_bias = weights[number], biases[number]
        to_weight[:] = 0
        to_bias[:] = 0
        for row in range(number * block, min((number + 1) * block, rows)):
            g, source, target = grad[row], x[row], grad_x[row]
            near, scale = x.dtype.type(mean[row]), x.dtype.type(rstd[row])
            total, total_dot = 0.0, 0.0
            for start in range(0, length, CHUNK):
                stop = min(start + CHUNK, length)
                g_part, part, w = g[start:stop], source[start:stop], weight[start:stop]
                partial, partial_dot = x.dtype.type(0), x.dtype.type(0)
                for i in range(part.size):
                    partial += g_part[i] * w[i]
                    partial_dot += g_part[i] * w[i] * ((part[i] - near) * scale)
                total += partial
                total_dot += partial_dot
            shift = x.dtype.type(total / length if centred else 0.0)
            slope = x.dtype.type(total_dot / length)
            for i in range(source.size):
                normal = (source[i] - near) * scale
                target[i] = scale * (g[i] * weight[i] - shift - normal * slope)
                to_weight[i] += g[i] * normal
                to_bias[i] += g[i]


def _column_moments_strips(x, mean, squares, begin, end):
    rows, columns = x.shape
    partial = np.empty(STRIP, x.dtype)
    for strip in range(begin, end):
        first, last = strip * STRIP, min((strip + 1) * STRIP, columns)
        width = last - first
        means, totals = mean[first:last], squares[first:last]
        means[:] = 0
        totals[:] = 0
        for start in range(0, rows, BLOCK):
            partial[:] = 0
            for row in range(start, min(start + BLOCK, rows)):
                part = x[row, first:last]
                for i in range(width):
                    partial[i] += part[i]
            for i in range(width):
                means[i] += partial[i]
        near = np.empty(STRIP, x.dtype)
        for i in range(width):
            means[i] /= rows
            near[i] = means[i]
        for start in range(0, rows, BLOCK):
            partial[:] = 0
            for row in range(start, min(start + BLOCK, rows)):
                part = x[row, first:last]
                for i in range(width):
                    partial[i] += (part[i] - near[i]) * (part[i] - near[i])
            for i in range(width):
                totals[i] += partial[i]


def _column_affine_rows(x, center, scale, shift, y, begin, end):
    for row in range(begin, end):
        source, target = x[row], y[row]
        for i in range(source.size):
            target[i] = (source[i] - center[i]) * scale[i] + shift[i]


def _column_dots_strips(grad, x, center, sums, dots, begin, end):
    rows, columns = x.shape
    partial, partial_dot = np.empty(STRIP, x.dtype), np.empty(STRIP, x.dtype)
    for strip in range(begin, end):
        first, last = strip * STRIP, min((strip + 1) * STRIP, columns)
        total, total_dot, near = sums[first:last], dots[first:last], center[first:last]
        total[:] = 0
        total_dot[:] = 0
        for start in range(0, rows, BLOCK):
            partial[:] = 0
            partial_dot[:] = 0
            for row in range(start, min(start + BLOCK, rows)):
                g, part = grad[row, first:last], x[row, first:last]
                for i in range(part.size):
                    partial[i] += g[i]
                    partial_dot[i] += g[i] * (part[i] - near[i])
            for i in range(near.size):
                total[i] += partial[i]
                total_dot[i] += partial_dot[i]


def _column_combine_rows(grad, x, center, of_grad, of_x, shift, grad_x, begin, end):
    for row in range(begin, end):
        g, source, target = grad[row], x[row], grad_x[row]
        for i in range(source.size):
            target[i] = of_grad[i] * g[i] + (of_x[i] * (source[i] - center[i]) + shift[i])


_column_moments = RangeKernel(_column_moments_strips, PARALLEL_SIZE)
_column_affine = RangeKernel(_column_affine_rows, PARALLEL_SIZE)
_column_dots = RangeKernel(_column_dots_strips, PARALLEL_SIZE)
_column_combine = RangeKernel(_column_combine_rows, PARALLEL_SIZE)
_moments = RangeKernel(_moments_rows, PARALLEL_SIZE, fastmath=SUMS)
_affine = RangeKernel(_affine_rows, PARALLEL_SIZE)
_dots = RangeKernel(_dots_rows, PARALLEL_SIZE, fastmath=SUMS)
_combine = RangeKernel(_combine_rows, PARALLEL_SIZE)
_layer_forward = RangeKernel(_layer_forward_rows, PARALLEL_SIZE, fastmath=SUMS)
_layer_backward = RangeKernel(_layer_backward_blocks, PARALLEL_SIZE, fastmath=SUMS)
