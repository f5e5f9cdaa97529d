"""Max pooling on CUDA, forward and backward, for any rank and dtype.

The rules are those of `nbtorch.kernels.cpu.pool`: ties go to the first element, of NaN the last one wins, padding
never does, a window without any element gives the lowest value and the index -1. A thread computes an element by
itself, in the backward pass too, where it looks at all windows that cover the element, in order. So nothing is added
by atomics, and results have the same bits in every run and on the CPU.
"""

import functools
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from nbtorch.kernels import scalar
from nbtorch.kernels.cuda import target
from nbtorch.kernels.cuda.target import cuda, divide, int32, int64
from nbtorch.kernels.geometry import Extents, volume

Triple = tuple[int, int, int]

MOST_TAPS = 0
"""Kernels here tell maxima by their indices only, never by the taps of a window as those of the CPU can."""

wins = target.scalar(scalar.wins)


class Geometry(NamedTuple):
    """The numbers of one pooling, as int32; `…_multiplier` and `…_shift` divide by an extent (`target.divide`)."""

    D: int
    H: int
    W: int
    oD: int
    oH: int
    oW: int
    kD: int
    kH: int
    kW: int
    sD: int
    sH: int
    sW: int
    pD: int
    pH: int
    pW: int
    dD: int
    dH: int
    dW: int
    in_plane: int
    out_plane: int
    in_plane_multiplier: int
    in_plane_shift: int
    H_multiplier: int
    H_shift: int
    W_multiplier: int
    W_shift: int
    out_plane_multiplier: int
    out_plane_shift: int
    oH_multiplier: int
    oH_shift: int
    oW_multiplier: int
    oW_shift: int
    sD_multiplier: int
    sD_shift: int
    sH_multiplier: int
    sH_shift: int
    sW_multiplier: int
    sW_shift: int


def max_pool_forward(
    input: Any, kernel_size: Triple, stride: Triple, padding: Triple, dilation: Triple, output: Any, indices: Any
) -> None:
    """Write the maximum of every window of `input` to `output` and its position to `indices` (int64), if not empty."""
    g = geometry(tuple(input.shape[2:]), tuple(output.shape[2:]), kernel_size, stride, padding, dilation)
    kernel = forward(np.dtype(input.dtype))
    if indices.size == 0:
        for x, y in chunks(input, output):
            kernel(target.blocks_for(y.size, target.THREADS), x, y, indices, 0, y.size, g)
        return
    for x, y, positions in chunks(input, output, indices):
        kernel(target.blocks_for(y.size, target.THREADS), x, y, positions, 1, y.size, g)


def max_pool_backward(
    grad_output: Any,
    indices: Any,
    kernel_size: Triple,
    stride: Triple,
    padding: Triple,
    dilation: Triple,
    grad_input: Any,
) -> None:
    """Write to `grad_input` (N, C, *) the sum of `grad_output` over the windows whose maximum an element is."""
    extents, out_extents = tuple(grad_input.shape[2:]), tuple(grad_output.shape[2:])
    g = geometry(extents, out_extents, kernel_size, stride, padding, dilation)
    kernel = backward(np.dtype(grad_input.dtype))
    for grads, positions, grad in chunks(grad_output, indices, grad_input):
        kernel(target.blocks_for(grad.size, target.THREADS), grads, positions, grad, grad.size, g)


@target.device
def window_start(out_position, stride, padding):
    """Return where a window begins; negative in the padding."""
    return int32(out_position * stride - padding)


@target.device
def first_window(position, reach, stride, multiplier, shift):
    """Return the first window that may cover `position` of the padded input; a window spans `reach`."""
    return int32(0) if position < reach else int32(divide(position - reach, multiplier, shift) + 1)


@target.device
def end_window(position, multiplier, shift, windows):
    """Return the end of the windows that begin at or before `position` of the padded input."""
    return int32(min(windows, divide(position, multiplier, shift) + 1))


@functools.cache
def forward(dtype: np.dtype) -> target.Kernel:
    """Make the kernel in which a thread finds the maximum of a window."""
    lowest = dtype.type(-np.inf if dtype.kind == "f" else np.iinfo(dtype).min)

    def kernel(input, output, indices, indexed, size, g):
        i, step = int32(cuda.grid(1)), int32(cuda.gridsize(1))
        while i < size:
            plane = divide(i, g.out_plane_multiplier, g.out_plane_shift)
            pixel = int32(i - plane * g.out_plane)
            row = divide(pixel, g.oW_multiplier, g.oW_shift)
            out_d = divide(row, g.oH_multiplier, g.oH_shift)
            d_start = window_start(out_d, g.sD, g.pD)
            h_start = window_start(int32(row - out_d * g.oH), g.sH, g.pH)
            w_start = window_start(int32(pixel - row * g.oW), g.sW, g.pW)
            start = int64(plane) * g.in_plane
            best, best_index = lowest, int32(-1)
            for tap_d in range(g.kD):
                d = int32(d_start + tap_d * g.dD)
                if 0 <= d < g.D:
                    for tap_h in range(g.kH):
                        h = int32(h_start + tap_h * g.dH)
                        if 0 <= h < g.H:
                            for tap_w in range(g.kW):
                                w = int32(w_start + tap_w * g.dW)
                                if 0 <= w < g.W:
                                    index = int32((d * g.H + h) * g.W + w)
                                    value = input[start + index]
                                    if best_index < 0 or wins(value, best):
                                        best, best_index = value, index
            output[i] = best
            if indexed:
                indices[i] = best_index
            i = int32(i + step)

    return target.Kernel(kernel, (dtype, dtype, np.dtype("int64"), "int32", "int32", Geometry), target.THREADS)


@functools.cache
def backward(dtype: np.dtype) -> target.Kernel:
    """Make the kernel in which a thread sums the gradients of the windows that chose its element."""
    zero = dtype.type(0)

    def kernel(grad_output, indices, grad_input, size, g):
        reach_d, reach_h, reach_w = (g.kD - 1) * g.dD + 1, (g.kH - 1) * g.dH + 1, (g.kW - 1) * g.dW + 1
        i, step = int32(cuda.grid(1)), int32(cuda.gridsize(1))
        while i < size:
            plane = divide(i, g.in_plane_multiplier, g.in_plane_shift)
            pixel = int32(i - plane * g.in_plane)
            row = divide(pixel, g.W_multiplier, g.W_shift)
            d = divide(row, g.H_multiplier, g.H_shift)
            h, w = int32(row - d * g.H + g.pH), int32(pixel - row * g.W + g.pW)
            d = int32(d + g.pD)
            first_h = first_window(h, reach_h, g.sH, g.sH_multiplier, g.sH_shift)
            first_w = first_window(w, reach_w, g.sW, g.sW_multiplier, g.sW_shift)
            end_h = end_window(h, g.sH_multiplier, g.sH_shift, g.oH)
            end_w = end_window(w, g.sW_multiplier, g.sW_shift, g.oW)
            start = int64(plane) * g.out_plane
            total = zero
            for out_d in range(
                first_window(d, reach_d, g.sD, g.sD_multiplier, g.sD_shift),
                end_window(d, g.sD_multiplier, g.sD_shift, g.oD),
            ):
                for out_h in range(first_h, end_h):
                    for out_w in range(first_w, end_w):
                        place = start + int32((out_d * g.oH + out_h) * g.oW + out_w)
                        if indices[place] == pixel:
                            total += grad_output[place]
            grad_input[i] = total
            i = int32(i + step)

    return target.Kernel(kernel, (dtype, np.dtype("int64"), dtype, "int32", Geometry), target.THREADS)


@target.device
def locate(i, plane_size, W, H, divisors):
    """Return (plane, d, h, w) of an element; `divisors` = those of the plane, of H and of W, for `divide`."""
    plane = divide(i, divisors[0], divisors[1])
    pixel = int32(i - plane * plane_size)
    row = divide(pixel, divisors[4], divisors[5])
    d = divide(row, divisors[2], divisors[3])
    return plane, d, int32(row - d * H), int32(pixel - row * W)


@target.device
def locate_input(i, g):
    """Return (plane, d, h, w) of an element of the input."""
    divisors = (g.in_plane_multiplier, g.in_plane_shift, g.H_multiplier, g.H_shift, g.W_multiplier, g.W_shift)
    return locate(i, g.in_plane, g.W, g.H, divisors)


@target.device
def locate_output(i, g):
    """Return (plane, d, h, w) of an element of the output."""
    divisors = (g.out_plane_multiplier, g.out_plane_shift, g.oH_multiplier, g.oH_shift, g.oW_multiplier, g.oW_shift)
    return locate(i, g.out_plane, g.oW, g.oH, divisors)


def chunks(*arrays: Any) -> Iterator[tuple[Any, ...]]:
    """Cut (N, C, *) arrays into runs of planes, so that a kernel counts its elements in 32 bits."""
    planes = arrays[0].shape[0] * arrays[0].shape[1]
    if planes == 0 or arrays[-1].size == 0:
        return
    largest = max(math.prod(array.shape[2:]) for array in arrays)
    step = max(1, target.ELEMENT_LIMIT // largest)
    views = [array.reshape(planes, -1) for array in arrays]
    for start in range(0, planes, step):
        yield tuple(view[start : start + step] for view in views)


@functools.lru_cache(maxsize=1024)
def geometry(
    extents: Extents, out_extents: Extents, kernel_size: Triple, stride: Triple, padding: Triple, dilation: Triple
) -> Geometry:
    """Return the numbers of a pooling, checked to fit into 32 bits."""
    extents, out_extents = volume(extents), volume(out_extents)
    in_plane, out_plane = math.prod(extents), math.prod(out_extents)
    if max(in_plane, out_plane) > target.ELEMENT_LIMIT:
        raise OverflowError(f"max_pool: a plane must have at most 2**30 elements on CUDA, got extents {extents}")
    divisors = (in_plane, *extents[1:], out_plane, *out_extents[1:], *stride)
    return Geometry(
        *extents,
        *out_extents,
        *kernel_size,
        *stride,
        *padding,
        *dilation,
        in_plane,
        out_plane,
        *(number for divisor in divisors for number in target.division(max(1, divisor))),
    )


def catalogue(dtype: np.dtype) -> dict[str, target.Kernel]:
    """Return every kernel of this module for one dtype, by name: what the compile gate walks."""
    return {
        "max_pool_forward": forward(dtype),
        "max_pool_backward": backward(dtype),
    }
