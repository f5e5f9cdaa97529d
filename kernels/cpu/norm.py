"""Normalisation of rows on the CPU, as layer normalisation has it.

`x`, `y`, `grad…` are (rows, length), C-contiguous, float32 or float64; statistics are float64, one for each row. A row
is summed by one thread in a fixed order: partial sums over `CHUNK` elements in the type of the elements, the total in
float64. So results do not depend on the number of threads.
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
    # by shape alone, so that sums do not depend on the number of threads; few enough rows for sums in the type of x
    block = min(max(8, -(-rows // 64)), 64)
    blocks = -(-rows // block)
    weights, biases = np.empty((blocks, length), x.dtype), np.empty((blocks, length), x.dtype)
    _layer_backward(blocks, x.size, grad, x, weight, mean, rstd, centred, block, grad_x, weights, biases)
    weights.sum(0, np.float64, out=grad_weight)
    biases.sum(0, np.float64, out=grad_bias)


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


_layer_forward = RangeKernel(_layer_forward_rows, PARALLEL_SIZE, fastmath=SUMS)
_layer_backward = RangeKernel(_layer_backward_blocks, PARALLEL_SIZE, fastmath=SUMS)
