"""Padding on CUDA, forward and backward, for any rank and dtype: constant, reflected, replicated, circular.

The rules, and the index map, are those of `nbtorch.kernels.cpu.pad`. A thread computes an element by itself; in the
backward pass it collects from the element's images, in order, so that nothing is added by atomics.
"""

import functools
from typing import Any

import numpy as np
from nbtorch.kernels import scalar
from nbtorch.kernels.cuda import target
from nbtorch.kernels.cuda.avg_pool import ONES, Triple
from nbtorch.kernels.cuda.pool import Geometry, chunks, geometry, locate_input, locate_output
from nbtorch.kernels.cuda.target import cuda, int32, int64

pad_source = target.scalar(scalar.pad_source)
pad_images, pad_image = target.scalar(scalar.pad_images), target.scalar(scalar.pad_image)


def pad_forward(input: Any, before: Triple, mode: int, value: Any, output: Any) -> None:
    """Write `input` with a border of `mode` (see `geometry.PAD_MODES`) to `output`; a constant border holds `value`."""
    if input.size == 0 or output.size == 0:
        output.fill(value)
        return
    dtype = np.dtype(output.dtype)
    if dtype.kind == "c":
        _complex_pad(input, before, mode, value, output)
        return
    fill = np.array(value).astype(dtype)
    bits = np.dtype(f"uint{8 * dtype.itemsize}")  # bits are moved, so one kernel does for all types of a size
    g = geometry(tuple(input.shape[2:]), tuple(output.shape[2:]), ONES, ONES, before, ONES)
    for x, y in chunks(input.view(bits), output.view(bits)):
        forward(bits)(target.blocks_for(y.size, target.THREADS), x, y, mode, fill.view(bits)[()], y.size, g)


def _complex_pad(input: Any, before: Triple, mode: int, value: Any, output: Any) -> None:
    """Pad the real and the imaginary part."""
    for part in ("real", "imag"):
        source = getattr(input, part).copy()
        padded = target.empty(source, output.size).reshape(output.shape)
        pad_forward(source, before, mode, getattr(complex(value), part), padded)
        getattr(output, part)[...] = padded


def pad_backward(grad_output: Any, before: Triple, mode: int, grad_input: Any) -> None:
    """Write to `grad_input` the sum of `grad_output` over the images of each element, in order."""
    if grad_output.size == 0:
        grad_input.fill(0)
        return
    dtype = np.dtype(grad_input.dtype)
    if dtype.kind == "c":
        for part in ("real", "imag"):
            source = getattr(grad_output, part).copy()
            grad = target.empty(source, grad_input.size).reshape(grad_input.shape)
            pad_backward(source, before, mode, grad)
            getattr(grad_input, part)[...] = grad
        return
    g = geometry(tuple(grad_input.shape[2:]), tuple(grad_output.shape[2:]), ONES, ONES, before, ONES)
    for grads, grad in chunks(grad_output, grad_input):
        backward(dtype)(target.blocks_for(grad.size, target.THREADS), grads, grad, mode, grad.size, g)


@functools.cache
def forward(bits: np.dtype) -> target.Kernel:
    """Make the kernel in which a thread copies an element; `g.pD`, `g.pH`, `g.pW` are what comes before."""

    def kernel(input, output, mode, value, size, g):
        i, step = int32(cuda.grid(1)), int32(cuda.gridsize(1))
        while i < size:
            plane, out_d, out_h, out_w = locate_output(i, g)
            d = pad_source(mode, int32(out_d - g.pD), g.D)
            h = pad_source(mode, int32(out_h - g.pH), g.H)
            w = pad_source(mode, int32(out_w - g.pW), g.W)
            if d < 0 or h < 0 or w < 0:
                output[i] = value
            else:
                output[i] = input[int64(plane) * g.in_plane + int32((d * g.H + h) * g.W + w)]
            i = int32(i + step)

    return target.Kernel(kernel, (bits, bits, "int32", bits.name, "int32", Geometry), target.THREADS)


@functools.cache
def backward(dtype: np.dtype) -> target.Kernel:
    """Make the kernel in which a thread sums the gradients of its element's images."""
    zero = dtype.type(0)

    def kernel(grad_output, grad_input, mode, size, g):
        i, step = int32(cuda.grid(1)), int32(cuda.gridsize(1))
        while i < size:
            plane, d, h, w = locate_input(i, g)
            start = int64(plane) * g.out_plane
            h_images = pad_images(mode, h, g.H, g.pH, g.oH)
            w_images = pad_images(mode, w, g.W, g.pW, g.oW)
            total = zero
            for number_d in range(pad_images(mode, d, g.D, g.pD, g.oD)):
                out_d = pad_image(mode, number_d, d, g.D, g.pD, g.oD)
                if out_d >= 0:
                    for number_h in range(h_images):
                        out_h = pad_image(mode, number_h, h, g.H, g.pH, g.oH)
                        if out_h >= 0:
                            row = start + int32((out_d * g.oH + out_h) * g.oW)
                            for number_w in range(w_images):
                                out_w = pad_image(mode, number_w, w, g.W, g.pW, g.oW)
                                if out_w >= 0:
                                    total += grad_output[row + out_w]
            grad_input[i] = total
            i = int32(i + step)

    return target.Kernel(kernel, (dtype, dtype, "int32", "int32", Geometry), target.THREADS)


def catalogue(dtype: np.dtype) -> dict[str, target.Kernel]:
    """Return every kernel of this module for one dtype, by name: what the compile gate walks."""
    bits = np.dtype(f"uint{8 * dtype.itemsize}")
    kernels = {"pad_forward": forward(bits)}
    return {**kernels, "pad_backward": backward(dtype)} if dtype.kind == "f" else kernels
