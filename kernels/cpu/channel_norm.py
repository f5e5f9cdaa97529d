"""Normalisation of channels on the CPU: batch, group and instance normalisation, each in one pass of kernels.

`x`, `y`, `grad…` are (N, C, length), C-contiguous, float32 or float64; weight and bias (C,) have their type. With
`groups` 0 a channel is normalised over the batch, else each group of channels of a sample for itself; statistics are
float64, one for each channel or for each sample's group. What shares statistics is worked through by one thread, the
sums in a fixed order: so results do not depend on the number of threads, and the second look at the elements finds
them in the cache.
"""

import math

import numpy as np
from nbtorch.kernels.cpu.norm import BLOCK, CHUNK, PARALLEL_SIZE, STRIP, SUMS
from nbtorch.kernels.cpu.ranges import RangeKernel
from nbtorch.kernels.jit import njit

SHORT_ROW = 8
"""Channels of fewer elements than this are worked through in columns: all elements of several channels at a time."""


def channel_forward(
    x: np.ndarray,
    groups: int,
    weight: np.ndarray,
    bias: np.ndarray,
    eps: float,
    y: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    rstd: np.ndarray,
) -> None:
    """Write (x - mean)·rstd·weight + bias, and mean, biased variance and 1 / sqrt(variance + eps)."""
    samples, channels, length = x.shape
    numbers = weight, bias, eps, y, mean, variance, rstd
    if groups:
        _group_forward(samples * groups, x.size, x, groups, *numbers)
    elif length < SHORT_ROW:
        _column_forward(-(-channels // _strip(length)), x.size, x, *numbers)
    else:
        _batch_forward(channels, x.size, x, *numbers)


def channel_affine(
    x: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray,
    eps: float,
    y: np.ndarray,
    rstd: np.ndarray,
) -> None:
    """Write (x - mean)·rstd·weight + bias with given mean and variance, and 1 / sqrt(variance + eps)."""
    _inverse_roots(variance, eps, rstd)
    if x.shape[2] < SHORT_ROW:
        _affine_samples(len(x), x.size, x, mean, rstd, weight, bias, y)
    else:
        _affine_rows(x.shape[0] * x.shape[1], x.size, x, mean, rstd, weight, bias, y)


def channel_backward(
    grad: np.ndarray,
    x: np.ndarray,
    groups: int,
    given: bool,
    weight: np.ndarray,
    mean: np.ndarray,
    rstd: np.ndarray,
    grad_x: np.ndarray,
    grad_weight: np.ndarray,
    grad_bias: np.ndarray,
) -> None:
    """Write the gradients by the input, weight and bias; `given` tells that the statistics were constants."""
    samples, channels, length = x.shape
    numbers = weight, mean, rstd
    if groups:
        sums, dots = np.empty((samples, channels)), np.empty((samples, channels))
        _group_backward(samples * groups, x.size, grad, x, groups, *numbers, grad_x, sums, dots)
        _affine_gradients(sums, dots, rstd, groups, grad_weight, grad_bias)
    elif length < SHORT_ROW:
        count = -(-channels // _strip(length))
        _column_backward(count, x.size, grad, x, given, *numbers, grad_x, grad_weight, grad_bias)
    else:
        _batch_backward(channels, x.size, grad, x, given, *numbers, grad_x, grad_weight, grad_bias)


def track(running: np.ndarray, values: np.ndarray, momentum: float, factor: float) -> None:
    """Move running statistics towards new ones (the mean over the samples), times a factor, in place."""
    if running.dtype.char in "fd" and running.flags.c_contiguous:
        _track(running, values, float(momentum), float(factor))
    else:
        moved = running.astype(np.float64)
        _track(moved, values, float(momentum), float(factor))
        running[...] = moved


@njit
def _track(running, values, momentum, factor):
    channels = running.size
    for c in range(channels):
        total, count = 0.0, 0
        for i in range(c, values.size, channels):
            total += values[i]
            count += 1
        running[c] = (1 - momentum) * running[c] + momentum * (total / count * factor)


@njit
def _inverse_roots(variance, eps, rstd):
    for c in range(rstd.size):
        rstd[c] = 1 / math.sqrt(variance[c] + eps)


@njit
def _strip(length):
    """Return how many channels are worked through at a time in columns."""
    return max(STRIP // max(length, 1), 1)


@njit(fastmath=SUMS)
def _sum(row):
    """Return the sum of a row: chunks in the type of the elements, the total in float64."""
    total = 0.0
    for start in range(0, row.size, CHUNK):
        part, partial = row[start : start + CHUNK], row.dtype.type(0)
        for i in range(part.size):
            partial += part[i]
        total += partial
    return total


@njit(fastmath=SUMS)
def _squares(row, center):
    """Return the sum of the squared deviations of a row."""
    total, near = 0.0, row.dtype.type(center)
    for start in range(0, row.size, CHUNK):
        part, partial = row[start : start + CHUNK], row.dtype.type(0)
        for i in range(part.size):
            partial += (part[i] - near) * (part[i] - near)
        total += partial
    return total


@njit(fastmath=SUMS)
def _products(grad, row, center):
    """Return the sums of a gradient's row, and of gradient·(x - center)."""
    total, total_dot, near = 0.0, 0.0, row.dtype.type(center)
    for start in range(0, row.size, CHUNK):
        g, part = grad[start : start + CHUNK], row[start : start + CHUNK]
        partial, partial_dot = row.dtype.type(0), row.dtype.type(0)
        for i in range(part.size):
            partial += g[i]
            partial_dot += g[i] * (part[i] - near)
        total += partial
        total_dot += partial_dot
    return total, total_dot


@njit
def _map(row, center, scale, shift, target):
    """Write (x - center)·scale + shift for each element x of a row."""
    near, slope, offset = row.dtype.type(center), row.dtype.type(scale), row.dtype.type(shift)
    for i in range(row.size):
        target[i] = (row[i] - near) * slope + offset


@njit
def _combine(grad, row, center, of_grad, of_row, shift, target):
    """Write of_grad·grad + of_row·(x - center) + shift for each element x of a row."""
    near, slope = row.dtype.type(center), row.dtype.type(of_grad)
    bend, offset = row.dtype.type(of_row), row.dtype.type(shift)
    for i in range(row.size):
        target[i] = slope * grad[i] + (bend * (row[i] - near) + offset)


def _batch_forward_range(x, weight, bias, eps, y, mean, variance, rstd, begin, end):
    samples, _, length = x.shape
    count = samples * length
    for c in range(begin, end):
        total = 0.0
        for n in range(samples):
            total += _sum(x[n, c])
        center, total = total / count, 0.0
        for n in range(samples):
            total += _squares(x[n, c], center)
        mean[c], variance[c] = center, total / count
        rstd[c] = 1 / math.sqrt(variance[c] + eps)
        for n in range(samples):
            _map(x[n, c], center, rstd[c] * weight[c], bias[c], y[n, c])


def _batch_backward_range(grad, x, given, weight, mean, rstd, grad_x, grad_weight, grad_bias, begin, end):
    samples, _, length = x.shape
    count = samples * length
    for c in range(begin, end):
        total, total_dot = 0.0, 0.0
        for n in range(samples):
            one, other = _products(grad[n, c], x[n, c], mean[c])
            total += one
            total_dot += other
        grad_weight[c], grad_bias[c] = total_dot * rstd[c], total
        slope = rstd[c] * weight[c]
        bend = 0.0 if given else -slope * rstd[c] * rstd[c] * total_dot / count
        shift = 0.0 if given else -slope * total / count
        for n in range(samples):
            _combine(grad[n, c], x[n, c], mean[c], slope, bend, shift, grad_x[n, c])


def _group_forward_range(x, groups, weight, bias, eps, y, mean, variance, rstd, begin, end):
    _, channels, length = x.shape
    width = channels // groups
    count = width * length
    for unit in range(begin, end):
        n, first = unit // groups, unit % groups * width
        total = 0.0
        for c in range(first, first + width):
            total += _sum(x[n, c])
        center, total = total / count, 0.0
        for c in range(first, first + width):
            total += _squares(x[n, c], center)
        mean[unit], variance[unit] = center, total / count
        rstd[unit] = 1 / math.sqrt(variance[unit] + eps)
        for c in range(first, first + width):
            _map(x[n, c], center, rstd[unit] * weight[c], bias[c], y[n, c])


def _group_backward_range(grad, x, groups, weight, mean, rstd, grad_x, sums, dots, begin, end):
    _, channels, length = x.shape
    width = channels // groups
    count = width * length
    for unit in range(begin, end):
        n, first = unit // groups, unit % groups * width
        total, total_dot = 0.0, 0.0
        for c in range(first, first + width):
            sums[n, c], dots[n, c] = _products(grad[n, c], x[n, c], mean[unit])
            total += weight[c] * sums[n, c]
            total_dot += weight[c] * dots[n, c]
        inverse = rstd[unit]
        bend, shift = -inverse * inverse * inverse * total_dot / count, -inverse * total / count
        for c in range(first, first + width):
            _combine(grad[n, c], x[n, c], mean[unit], inverse * weight[c], bend, shift, grad_x[n, c])


@njit
def _affine_gradients(sums, dots, rstd, groups, grad_weight, grad_bias):
    """Write the gradients of weight and bias, given the sums of each sample's channels."""
    samples, channels = sums.shape
    width = channels // groups
    for c in range(channels):
        total, total_dot = 0.0, 0.0
        for n in range(samples):
            total += sums[n, c]
            total_dot += dots[n, c] * rstd[n * groups + c // width]
        grad_weight[c], grad_bias[c] = total_dot, total


def _column_forward_range(x, weight, bias, eps, y, mean, variance, rstd, begin, end):
    samples, channels, length = x.shape
    columns, count, width = channels * length, samples * length, _strip(length)
    source, target = x.reshape(samples, columns), y.reshape(samples, columns)
    partial, near = np.empty(STRIP, x.dtype), np.empty(STRIP, x.dtype)
    scale, shift, totals = np.empty(STRIP, x.dtype), np.empty(STRIP, x.dtype), np.empty(STRIP)
    for strip in range(begin, end):
        first, last = strip * width * length, min((strip + 1) * width * length, columns)
        totals[:] = 0
        for start in range(0, samples, BLOCK):
            partial[:] = 0
            for n in range(start, min(start + BLOCK, samples)):
                part = source[n, first:last]
                for i in range(part.size):
                    partial[i] += part[i]
            for i in range(last - first):
                totals[i] += partial[i]
        for c in range(first // length, last // length):
            total, at = 0.0, c * length - first
            for i in range(at, at + length):
                total += totals[i]
            mean[c] = total / count
            near[at : at + length] = mean[c]
        totals[:] = 0
        for start in range(0, samples, BLOCK):
            partial[:] = 0
            for n in range(start, min(start + BLOCK, samples)):
                part = source[n, first:last]
                for i in range(part.size):
                    partial[i] += (part[i] - near[i]) * (part[i] - near[i])
            for i in range(last - first):
                totals[i] += partial[i]
        for c in range(first // length, last // length):
            total, at = 0.0, c * length - first
            for i in range(at, at + length):
                total += totals[i]
            variance[c] = total / count
            rstd[c] = 1 / math.sqrt(variance[c] + eps)
            scale[at : at + length] = rstd[c] * weight[c]
            shift[at : at + length] = bias[c]
        for n in range(samples):
            part, result = source[n, first:last], target[n, first:last]
            for i in range(part.size):
                result[i] = (part[i] - near[i]) * scale[i] + shift[i]


def _column_backward_range(grad, x, given, weight, mean, rstd, grad_x, grad_weight, grad_bias, begin, end):
    samples, channels, length = x.shape
    columns, count, width = channels * length, samples * length, _strip(length)
    source, slopes = x.reshape(samples, columns), grad.reshape(samples, columns)
    target = grad_x.reshape(samples, columns)
    partial, partial_dot, near = np.empty(STRIP, x.dtype), np.empty(STRIP, x.dtype), np.empty(STRIP, x.dtype)
    of_grad, of_x, shift = np.empty(STRIP, x.dtype), np.empty(STRIP, x.dtype), np.empty(STRIP, x.dtype)
    totals, total_dots = np.empty(STRIP), np.empty(STRIP)
    for strip in range(begin, end):
        first, last = strip * width * length, min((strip + 1) * width * length, columns)
        totals[:] = 0
        total_dots[:] = 0
        for i in range(last - first):
            near[i] = mean[(first + i) // length]
        for start in range(0, samples, BLOCK):
            partial[:] = 0
            partial_dot[:] = 0
            for n in range(start, min(start + BLOCK, samples)):
                g, part = slopes[n, first:last], source[n, first:last]
                for i in range(part.size):
                    partial[i] += g[i]
                    partial_dot[i] += g[i] * (part[i] - near[i])
            for i in range(last - first):
                totals[i] += partial[i]
                total_dots[i] += partial_dot[i]
        for c in range(first // length, last // length):
            total, total_dot, at = 0.0, 0.0, c * length - first
            for i in range(at, at + length):
                total += totals[i]
                total_dot += total_dots[i]
            grad_weight[c], grad_bias[c] = total_dot * rstd[c], total
            slope = rstd[c] * weight[c]
            of_grad[at : at + length] = slope
            of_x[at : at + length] = 0.0 if given else -slope * rstd[c] * rstd[c] * total_dot / count
            shift[at : at + length] = 0.0 if given else -slope * total / count
        for n in range(samples):
            g, part, result = slopes[n, first:last], source[n, first:last], target[n, first:last]
            for i in range(part.size):
                result[i] = of_grad[i] * g[i] + (of_x[i] * (part[i] - near[i]) + shift[i])


def _affine_row_range(x, mean, rstd, weight, bias, y, begin, end):
    channels = x.shape[1]
    for row in range(begin, end):
        n, c = row // channels, row % channels
        _map(x[n, c], mean[c], rstd[c] * weight[c], bias[c], y[n, c])


def _affine_sample_range(x, mean, rstd, weight, bias, y, begin, end):
    channels, length = x.shape[1:]
    columns = channels * length
    near, scale, shift = np.empty(columns, x.dtype), np.empty(columns, x.dtype), np.empty(columns, x.dtype)
    for i in range(columns):
        c = i // length
        near[i], scale[i], shift[i] = mean[c], rstd[c] * weight[c], bias[c]
    for n in range(begin, end):
        source, target = x[n].reshape(columns), y[n].reshape(columns)
        for i in range(columns):
            target[i] = (source[i] - near[i]) * scale[i] + shift[i]


_batch_forward = RangeKernel(_batch_forward_range, PARALLEL_SIZE)
_batch_backward = RangeKernel(_batch_backward_range, PARALLEL_SIZE)
_group_forward = RangeKernel(_group_forward_range, PARALLEL_SIZE)
_group_backward = RangeKernel(_group_backward_range, PARALLEL_SIZE)
_column_forward = RangeKernel(_column_forward_range, PARALLEL_SIZE)
_column_backward = RangeKernel(_column_backward_range, PARALLEL_SIZE)
_affine_rows = RangeKernel(_affine_row_range, PARALLEL_SIZE)
_affine_samples = RangeKernel(_affine_sample_range, PARALLEL_SIZE)
