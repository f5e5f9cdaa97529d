"""Interpolation on CUDA, of any rank and mode: tables of weights along the axes.

The rules are those of `nbtorch.kernels.cpu.interpolate`. A thread computes an element of the output by itself, from the
elements in its windows, in order; the gradient is the same kernel with the transposed tables.
"""

import functools
from typing import Any, NamedTuple

import numpy as np
from nbtorch.kernels.cuda import target
from nbtorch.kernels.cuda.pool import chunks
from nbtorch.kernels.cuda.target import cuda, divide, int32, int64
from nbtorch.kernels.resampling import Axes, fixed_point

INDEX, FIXED = np.dtype("int32"), np.dtype("int32")


class Sizes(NamedTuple):
    """The extents of input and output, as int32; `…_multiplier` and `…_shift` divide by an extent (`target.divide`)."""

    D: int
    H: int
    W: int
    oD: int
    oH: int
    oW: int
    oD_multiplier: int
    oD_shift: int
    oH_multiplier: int
    oH_shift: int
    oW_multiplier: int
    oW_shift: int


def interpolate(input: Any, axes: Axes, output: Any) -> None:
    """Write to `output` what the tables of the three axes make of `input`."""
    if output.size == 0:
        return
    dtype = np.dtype(output.dtype)
    if axes.copy and dtype.kind != "f":
        input, output = input.view(f"u{dtype.itemsize}"), output.view(f"u{dtype.itemsize}")
    dtype = np.dtype(output.dtype)
    arrays, sizes = _arguments(axes)
    kernel = copied(dtype) if dtype.kind != "f" else weighted(dtype)
    arrays = arrays[::2] if dtype.kind != "f" else arrays
    for x, y in chunks(input, output):
        kernel(target.blocks_for(y.size, target.THREADS), x, *arrays, y, y.size, sizes)


def interpolate_bytes(input: Any, axes: Axes, output: Any) -> None:
    """Interpolate images of uint8 along the columns and then along the rows, each rounded to bytes."""
    if output.size == 0:
        return
    arrays, sizes = _arguments(axes)
    (rows, row_bits), (columns, column_bits) = fixed_point(axes.height.weights), fixed_point(axes.width.weights)
    tables = arrays[2], _on_device(rows), arrays[4], _on_device(columns)
    for x, y in chunks(input, output):
        blocks = target.blocks_for(y.size, target.THREADS)
        rounded()(blocks, x, *tables, y, row_bits, column_bits, y.size, sizes)


def _on_device(array: np.ndarray) -> Any:
    """Return an array of the host on the device."""
    if target.is_simulator():
        return array
    import cupy

    return cupy.asarray(array)


def _arguments(axes: Axes) -> tuple[tuple[Any, ...], Sizes]:
    """Return windows and weights of the axes on the device, and the extents."""
    outputs = [table.size for table in axes.tables]
    divisions = [number for size in outputs for number in target.division(size)]
    sizes = Sizes(*[table.extent for table in axes.tables], *outputs, *divisions)
    return _tables(axes), sizes


@functools.lru_cache(maxsize=512)
def _tables(axes: Axes) -> tuple[Any, ...]:
    """Return windows and weights of the axes on the device."""
    return tuple([_on_device(a) for t in axes.tables for a in (t.windows.astype(INDEX), t.weights)])


@target.device
def locate(i, sizes):
    """Return (plane, d, h, w) of an element of the output."""
    row = divide(i, sizes.oW_multiplier, sizes.oW_shift)
    slice_ = divide(row, sizes.oH_multiplier, sizes.oH_shift)
    plane = divide(slice_, sizes.oD_multiplier, sizes.oD_shift)
    return (
        plane,
        int32(slice_ - plane * sizes.oD),
        int32(row - slice_ * sizes.oH),
        int32(i - row * sizes.oW),
    )


@functools.cache
def weighted(dtype: np.dtype) -> target.Kernel:
    """Make the kernel in which a thread sums the weighted elements of its windows."""
    zero = dtype.type(0)

    def kernel(x, depth, depth_weights, height, height_weights, width, width_weights, y, size, sizes):
        i, step = int32(cuda.grid(1)), int32(cuda.gridsize(1))
        while i < size:
            plane, d, h, w = locate(i, sizes)
            total = zero
            for tap_d in range(depth[sizes.oD + d]):
                slices = zero
                for tap_h in range(height[sizes.oH + h]):
                    row = int64(plane) * sizes.D + (depth[d] + tap_d)
                    row = (row * sizes.H + (height[h] + tap_h)) * sizes.W + width[w]
                    columns = zero
                    for tap_w in range(width[sizes.oW + w]):
                        columns += width_weights[tap_w * sizes.oW + w] * x[row + tap_w]
                    slices += height_weights[tap_h * sizes.oH + h] * columns
                total += depth_weights[tap_d * sizes.oD + d] * slices
            y[i] = total
            i = int32(i + step)

    types = (dtype, INDEX, dtype, INDEX, dtype, INDEX, dtype, dtype, "int32", Sizes)
    return target.Kernel(kernel, types, target.THREADS)


@functools.cache
def copied(dtype: np.dtype) -> target.Kernel:
    """Make the kernel in which a thread copies an element."""

    def kernel(x, depth, height, width, y, size, sizes):
        i, step = int32(cuda.grid(1)), int32(cuda.gridsize(1))
        while i < size:
            plane, d, h, w = locate(i, sizes)
            y[i] = x[((int64(plane) * sizes.D + depth[d]) * sizes.H + height[h]) * sizes.W + width[w]]
            i = int32(i + step)

    return target.Kernel(kernel, (dtype, INDEX, INDEX, INDEX, dtype, "int32", Sizes), target.THREADS)


@target.device
def to_byte(total, bits):
    """Round a sum of bytes times fixed-point weights to a byte."""
    return min(max((total + (1 << (bits - 1))) >> bits, 0), 255)


@functools.cache
def rounded() -> target.Kernel:
    """Make the kernel in which a thread interpolates a byte."""
    byte = np.dtype("uint8")

    def kernel(x, height, height_weights, width, width_weights, y, row_bits, column_bits, size, sizes):
        i, step = int32(cuda.grid(1)), int32(cuda.gridsize(1))
        while i < size:
            plane, _, h, w = locate(i, sizes)
            total = int64(0)
            for tap_h in range(height[sizes.oH + h]):
                row = (int64(plane) * sizes.H + (height[h] + tap_h)) * sizes.W + width[w]
                columns = int64(0)
                for tap_w in range(width[sizes.oW + w]):
                    columns += int64(width_weights[tap_w * sizes.oW + w]) * int64(x[row + tap_w])
                total += int64(height_weights[tap_h * sizes.oH + h]) * to_byte(columns, column_bits)
            y[i] = to_byte(total, row_bits)
            i = int32(i + step)

    types = (byte, INDEX, FIXED, INDEX, FIXED, byte, "int32", "int32", "int32", Sizes)
    return target.Kernel(kernel, types, target.THREADS)


def catalogue(dtype: np.dtype) -> dict[str, target.Kernel]:
    """Return every kernel of this module for one dtype, by name: what the compile gate walks."""
    if dtype.kind == "f":
        return {"interpolate": weighted(dtype)}
    return {"interpolate_copy": copied(dtype), **({"interpolate_bytes": rounded()} if dtype == np.uint8 else {})}
