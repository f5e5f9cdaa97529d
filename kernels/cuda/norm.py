"""Normalisation on CUDA: the functions of `nbtorch.kernels.cpu.norm`, and the passes that `channel_norm` is made of.

A block sums a row: each thread its share, then all shares in a tree of fixed shape, in float64. So results have the
same bits in every run.
"""

import functools
import math
from typing import Any

import numpy as np
from nbtorch.kernels.cuda import target
from nbtorch.kernels.cuda.target import block_reduce, cuda

THREADS = target.THREADS


def _launch(kernel: target.Kernel, rows: int, *arguments: Any) -> None:
    """Launch as many blocks as there are rows, or fewer that walk through them."""
    if rows:
        kernel(target.blocks_for_rows(rows), *arguments)


def row_moments(x: Any, mean: Any, squares: Any) -> None:
    """Write each row's mean, and the sum of its squared deviations from it."""
    _launch(moments(np.dtype(x.dtype)), x.shape[0], x, mean, squares, *x.shape)


def row_affine(x: Any, center: Any, scale: Any, shift: Any, y: Any) -> None:
    """Write (x - center)·scale + shift, with the numbers of each row."""
    _launch(affine(np.dtype(x.dtype)), x.shape[0], x, center, scale, shift, y, *x.shape)


def row_dots(grad: Any, x: Any, center: Any, sums: Any, dots: Any) -> None:
    """Write the sums of each row of `grad`, and of grad·(x - center)."""
    _launch(dot_products(np.dtype(x.dtype)), x.shape[0], grad, x, center, sums, dots, *x.shape)


def row_combine(grad: Any, x: Any, center: Any, of_grad: Any, of_x: Any, shift: Any, grad_x: Any) -> None:
    """Write of_grad·grad + of_x·(x - center) + shift, with the numbers of each row."""
    _launch(combine(np.dtype(x.dtype)), x.shape[0], grad, x, center, of_grad, of_x, shift, grad_x, *x.shape)


def column_moments(x: Any, mean: Any, squares: Any) -> None:
    """Write each column's mean, and the sum of its squared deviations from it."""
    _launch_columns(moments_of_columns(np.dtype(x.dtype)), x.shape[1], x, mean, squares, *x.shape)


def column_affine(x: Any, center: Any, scale: Any, shift: Any, y: Any) -> None:
    """Write (x - center)·scale + shift, with the numbers of each column."""
    _launch_columns(affine_of_columns(np.dtype(x.dtype)), x.size, x, center, scale, shift, y, x.size, x.shape[1])


def column_dots(grad: Any, x: Any, center: Any, sums: Any, dots: Any) -> None:
    """Write the sums of each column of `grad`, and of grad·(x - center)."""
    _launch_columns(dots_of_columns(np.dtype(x.dtype)), x.shape[1], grad, x, center, sums, dots, *x.shape)


def column_combine(grad: Any, x: Any, center: Any, of_grad: Any, of_x: Any, shift: Any, grad_x: Any) -> None:
    """Write of_grad·grad + of_x·(x - center) + shift, with the numbers of each column."""
    kernel = combine_of_columns(np.dtype(x.dtype))
    _launch_columns(kernel, x.size, grad, x, center, of_grad, of_x, shift, grad_x, x.size, x.shape[1])


def _launch_columns(kernel: target.Kernel, threads: int, *arguments: Any) -> None:
    if threads:
        kernel(target.blocks_for(threads, THREADS), *arguments)


def layer_forward(x: Any, weight: Any, bias: Any, eps: float, centred: bool, y: Any, mean: Any, rstd: Any) -> None:
    """Normalise each row and write (x - mean)·rstd·weight + bias; without `centred` the mean is taken as 0 (RMS)."""
    kernel = layer(np.dtype(x.dtype), bool(centred))
    _launch(kernel, x.shape[0], x, weight, bias, eps, y, mean, rstd, *x.shape)


def layer_backward(
    grad: Any,
    x: Any,
    weight: Any,
    mean: Any,
    rstd: Any,
    centred: bool,
    grad_x: Any,
    grad_weight: Any,
    grad_bias: Any,
) -> None:
    """Write the gradients of `layer_forward` by its input, weight and bias; the latter two are float64."""
    dtype = np.dtype(x.dtype)
    rows, length = x.shape
    _launch(layer_input(dtype, bool(centred)), rows, grad, x, weight, mean, rstd, grad_x, rows, length)
    if length:
        blocks = target.blocks_for(length, THREADS)
        layer_affine(dtype)(blocks, grad, x, mean, rstd, grad_weight, grad_bias, rows, length)


@functools.cache
def moments(dtype: np.dtype) -> target.Kernel:
    """Make the kernel in which a block finds a row's mean and squared deviations."""

    def kernel(x, mean, squares, rows, length):
        shared = cuda.shared.array(THREADS, "float64")
        row = cuda.blockIdx.x
        while row < rows:
            total = 0.0
            i = cuda.threadIdx.x
            while i < length:
                total += x[row * length + i]
                i += THREADS
            center = block_reduce(total, shared, False) / length
            total = 0.0
            i = cuda.threadIdx.x
            while i < length:
                deviation = x[row * length + i] - center
                total += deviation * deviation
                i += THREADS
            total = block_reduce(total, shared, False)
            if cuda.threadIdx.x == 0:
                mean[row] = center
                squares[row] = total
            row += cuda.gridDim.x

    float64 = np.dtype("float64")
    return target.Kernel(kernel, (dtype, float64, float64, "int64", "int64"), THREADS)


@functools.cache
def affine(dtype: np.dtype) -> target.Kernel:
    """Make the kernel that scales and shifts rows."""
    cast = dtype.type

    def kernel(x, center, scale, shift, y, rows, length):
        row = cuda.blockIdx.x
        while row < rows:
            near, slope, offset = cast(center[row]), cast(scale[row]), cast(shift[row])
            i = cuda.threadIdx.x
            while i < length:
                y[row * length + i] = (x[row * length + i] - near) * slope + offset
                i += THREADS
            row += cuda.gridDim.x

    float64 = np.dtype("float64")
    return target.Kernel(kernel, (dtype, float64, float64, float64, dtype, "int64", "int64"), THREADS)


@functools.cache
def dot_products(dtype: np.dtype) -> target.Kernel:
    """Make the kernel in which a block sums a row of the gradient, and its products with a row of x."""

    def kernel(grad, x, center, sums, dots, rows, length):
        shared = cuda.shared.array(THREADS, "float64")
        row = cuda.blockIdx.x
        while row < rows:
            near = center[row]
            total, total_dot = 0.0, 0.0
            i = cuda.threadIdx.x
            while i < length:
                g = grad[row * length + i]
                total += g
                total_dot += g * (x[row * length + i] - near)
                i += THREADS
            total, total_dot = block_reduce(total, shared, False), block_reduce(total_dot, shared, False)
            if cuda.threadIdx.x == 0:
                sums[row] = total
                dots[row] = total_dot
            row += cuda.gridDim.x

    float64 = np.dtype("float64")
    return target.Kernel(kernel, (dtype, dtype, float64, float64, float64, "int64", "int64"), THREADS)


@functools.cache
def combine(dtype: np.dtype) -> target.Kernel:
    """Make the kernel that adds multiples of rows of the gradient and of x."""
    cast = dtype.type

    def kernel(grad, x, center, of_grad, of_x, shift, grad_x, rows, length):
        row = cuda.blockIdx.x
        while row < rows:
            near, slope, of_row, offset = cast(center[row]), cast(of_grad[row]), cast(of_x[row]), cast(shift[row])
            i = cuda.threadIdx.x
            while i < length:
                place = row * length + i
                grad_x[place] = slope * grad[place] + (of_row * (x[place] - near) + offset)
                i += THREADS
            row += cuda.gridDim.x

    float64 = np.dtype("float64")
    numbers = (float64,) * 4
    return target.Kernel(kernel, (dtype, dtype, *numbers, dtype, "int64", "int64"), THREADS)


@functools.cache
def layer(dtype: np.dtype, centred: bool) -> target.Kernel:
    """Make the kernel in which a block normalises a row."""
    cast = dtype.type

    def kernel(x, weight, bias, eps, y, mean, rstd, rows, length):
        shared = cuda.shared.array(THREADS, "float64")
        row = cuda.blockIdx.x
        while row < rows:
            total = 0.0
            i = cuda.threadIdx.x
            while i < length:
                total += x[row * length + i]
                i += THREADS
            center = block_reduce(total, shared, False) / length if centred else 0.0
            total = 0.0
            i = cuda.threadIdx.x
            while i < length:
                deviation = x[row * length + i] - center
                total += deviation * deviation
                i += THREADS
            inverse = 1 / math.sqrt(block_reduce(total, shared, False) / length + eps)
            if cuda.threadIdx.x == 0:
                mean[row] = center
                rstd[row] = inverse
            near, scale = cast(center), cast(inverse)
            i = cuda.threadIdx.x
            while i < length:
                y[row * length + i] = (x[row * length + i] - near) * scale * weight[i] + bias[i]
                i += THREADS
            row += cuda.gridDim.x

    float64 = np.dtype("float64")
    return target.Kernel(kernel, (dtype, dtype, dtype, "float64", dtype, float64, float64, "int64", "int64"), THREADS)


@functools.cache
def layer_input(dtype: np.dtype, centred: bool) -> target.Kernel:
    """Make the kernel in which a block finds the gradient of a normalised row."""
    cast = dtype.type

    def kernel(grad, x, weight, mean, rstd, grad_x, rows, length):
        shared = cuda.shared.array(THREADS, "float64")
        row = cuda.blockIdx.x
        while row < rows:
            near, scale = cast(mean[row]), cast(rstd[row])
            total, total_dot = 0.0, 0.0
            i = cuda.threadIdx.x
            while i < length:
                g = grad[row * length + i] * weight[i]
                total += g
                total_dot += g * ((x[row * length + i] - near) * scale)
                i += THREADS
            shift = cast(block_reduce(total, shared, False) / length if centred else 0.0)
            slope = cast(block_reduce(total_dot, shared, False) / length)
            i = cuda.threadIdx.x
            while i < length:
                place = row * length + i
                grad_x[place] = scale * (grad[place] * weight[i] - shift - (x[place] - near) * scale * slope)
                i += THREADS
            row += cuda.gridDim.x

    float64 = np.dtype("float64")
    return target.Kernel(kernel, (dtype, dtype, dtype, float64, float64, dtype, "int64", "int64"), THREADS)


@functools.cache
def layer_affine(dtype: np.dtype) -> target.Kernel:
    """Make the kernel in which a thread sums a column: the gradients of a weight and a bias."""

    def kernel(grad, x, mean, rstd, grad_weight, grad_bias, rows, length):
        i = cuda.grid(1)
        while i < length:
            total, total_dot = 0.0, 0.0
            for row in range(rows):
                g = grad[row * length + i]
                total += g
                total_dot += g * ((x[row * length + i] - mean[row]) * rstd[row])
            grad_weight[i] = total_dot
            grad_bias[i] = total
            i += cuda.gridsize(1)

    float64 = np.dtype("float64")
    return target.Kernel(kernel, (dtype, dtype, float64, float64, float64, float64, "int64", "int64"), THREADS)


@functools.cache
def moments_of_columns(dtype: np.dtype) -> target.Kernel:
    """Make the kernel in which a thread finds a column's mean and squared deviations."""

    def kernel(x, mean, squares, rows, columns):
        i = cuda.grid(1)
        while i < columns:
            total = 0.0
            for row in range(rows):
                total += x[row * columns + i]
            center = total / rows
            total = 0.0
            for row in range(rows):
                deviation = x[row * columns + i] - center
                total += deviation * deviation
            mean[i] = center
            squares[i] = total
            i += cuda.gridsize(1)

    float64 = np.dtype("float64")
    return target.Kernel(kernel, (dtype, float64, float64, "int64", "int64"), THREADS)


@functools.cache
def dots_of_columns(dtype: np.dtype) -> target.Kernel:
    """Make the kernel in which a thread sums a column of the gradient, and its products with a column of x."""

    def kernel(grad, x, center, sums, dots, rows, columns):
        i = cuda.grid(1)
        while i < columns:
            near = center[i]
            total, total_dot = 0.0, 0.0
            for row in range(rows):
                g = grad[row * columns + i]
                total += g
                total_dot += g * (x[row * columns + i] - near)
            sums[i] = total
            dots[i] = total_dot
            i += cuda.gridsize(1)

    float64 = np.dtype("float64")
    return target.Kernel(kernel, (dtype, dtype, float64, float64, float64, "int64", "int64"), THREADS)


@functools.cache
def affine_of_columns(dtype: np.dtype) -> target.Kernel:
    """Make the kernel that scales and shifts columns."""
    cast = dtype.type

    def kernel(x, center, scale, shift, y, size, columns):
        i = cuda.grid(1)
        while i < size:
            c = i % columns
            y[i] = (x[i] - cast(center[c])) * cast(scale[c]) + cast(shift[c])
            i += cuda.gridsize(1)

    float64 = np.dtype("float64")
    return target.Kernel(kernel, (dtype, float64, float64, float64, dtype, "int64", "int64"), THREADS)


@functools.cache
def combine_of_columns(dtype: np.dtype) -> target.Kernel:
    """Make the kernel that adds multiples of columns of the gradient and of x."""
    cast = dtype.type

    def kernel(grad, x, center, of_grad, of_x, shift, grad_x, size, columns):
        i = cuda.grid(1)
        while i < size:
            c = i % columns
            moved = cast(of_x[c]) * (x[i] - cast(center[c])) + cast(shift[c])
            grad_x[i] = cast(of_grad[c]) * grad[i] + moved
            i += cuda.gridsize(1)

    float64 = np.dtype("float64")
    numbers = (float64,) * 4
    return target.Kernel(kernel, (dtype, dtype, *numbers, dtype, "int64", "int64"), THREADS)


def catalogue(dtype: np.dtype) -> dict[str, target.Kernel]:
    """Return every kernel of this module for one dtype, by name: what the compile gate walks."""
    return {
        "moments": moments(dtype),
        "affine": affine(dtype),
        "dot_products": dot_products(dtype),
        "combine": combine(dtype),
        "moments_of_columns": moments_of_columns(dtype),
        "affine_of_columns": affine_of_columns(dtype),
        "dots_of_columns": dots_of_columns(dtype),
        "combine_of_columns": combine_of_columns(dtype),
        "layer": layer(dtype, True),
        "layer_rms": layer(dtype, False),
        "layer_input": layer_input(dtype, True),
        "layer_input_rms": layer_input(dtype, False),
        "layer_affine": layer_affine(dtype),
    }
