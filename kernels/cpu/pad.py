"""Padding on the CPU, forward and backward, for any rank and dtype: constant, reflected, replicated, circular.

All arrays are C-contiguous: `input` (N, C, D, H, W), `output` (N, C, oD, oH, oW); a problem of fewer dimensions has
unit extents in front. `before` is what is added in front of each dimension, or, if negative, cut off; what comes after
follows from the extents. One index map, `scalar.pad_source`, serves all modes, and its inverse, `scalar.pad_image`, the
backward pass, in which an element collects from its images. The middle of a row is copied or added as it lies.
"""

import numpy as np
from nbtorch.kernels import scalar
from nbtorch.kernels.cpu.ranges import RangeKernel
from nbtorch.kernels.cpu.rows import PARALLEL_WORK, add, borrowed, copy, fill, following, locate, planes
from nbtorch.kernels.jit import njit

Triple = tuple[int, int, int]


def pad_forward(input: np.ndarray, before: Triple, mode: int, value: float, output: np.ndarray) -> None:
    """Write `input` with a border of `mode` (see `geometry.PAD_MODES`) to `output`; a constant border holds `value`."""
    if output.size == 0:
        return
    if input.size == 0:
        output.fill(value)
        return
    bits = moved_as(output.dtype)
    fill = np.array(value).astype(output.dtype).view(bits)[()]
    x, y = planes(input).view(bits), planes(output).view(bits)
    rows = output.size // output.shape[-1]
    _forward(rows, output.size, x, y, np.array(before), mode, fill)


def pad_backward(grad_output: np.ndarray, before: Triple, mode: int, grad_input: np.ndarray) -> None:
    """Write to `grad_input` the sum of `grad_output` over the images of each element, in order."""
    if grad_input.size == 0:
        return
    if grad_output.size == 0:
        grad_input.fill(0)
        return
    rows = grad_input.size // grad_input.shape[-1]
    _backward(rows, grad_output.size, planes(grad_output), planes(grad_input), np.array(before), mode)


def moved_as(dtype: np.dtype) -> np.dtype:
    """Return the type that elements are moved as: bits, so that one kernel does for all types of a size."""
    return np.dtype(f"u{dtype.itemsize}") if dtype.itemsize <= 8 else dtype


def _forward_rows(x, y, before, mode, value, begin, end):
    """Fill the output rows `begin` to `end`, counted through all planes; rows are offsets in flat arrays."""
    _, D, H, W = x.shape
    _, oD, oH, oW = y.shape
    left, right = _middle(before[2], W, oW)
    source, target = borrowed(x).reshape(x.size), borrowed(y).reshape(y.size)
    border = np.empty(left + oW - right, np.int64)
    for i in range(border.size):
        border[i] = scalar.pad_source(mode, (i if i < left else right + i - left) - before[2], W)
    position = locate(begin, oD, oH)
    for row in range(begin, end):
        plane, out_d, out_h = position
        position = following(position, oD, oH)
        d = scalar.pad_source(mode, out_d - before[0], D)
        h = scalar.pad_source(mode, out_h - before[1], H)
        start, out_start = ((plane * D + d) * H + h) * W, row * oW
        if d < 0 or h < 0:
            fill(value, target, out_start, oW)
            continue
        copy(source, start + left - before[2], target, out_start + left, right - left)
        for i in range(border.size):
            out_w = i if i < left else right + i - left
            target[out_start + out_w] = source[start + border[i]] if border[i] >= 0 else value


@njit
def _middle(before, extent, padded):
    """Return (begin, end) of the output's positions that are elements of the input as they lie."""
    left = min(max(before, 0), padded)
    return left, max(left, min(padded, before + extent))


def _backward_rows(grads, grad_x, before, mode, begin, end):
    """Fill the rows `begin` to `end` of the input's gradient, counted through all planes."""
    _, D, H, W = grad_x.shape
    _, oD, oH, oW = grads.shape
    left, right = _middle(before[2], W, oW)
    source, target = borrowed(grads).reshape(grads.size), borrowed(grad_x).reshape(grad_x.size)
    border = np.empty(left + oW - right, np.int64)
    for i in range(border.size):
        border[i] = scalar.pad_source(mode, (i if i < left else right + i - left) - before[2], W)
    position = locate(begin, D, H)
    for row in range(begin, end):
        plane, d, h = position
        position = following(position, D, H)
        start, first = row * W, True
        for number_d in range(scalar.pad_images(mode, d, D, before[0], oD)):
            out_d = scalar.pad_image(mode, number_d, d, D, before[0], oD)
            if out_d < 0:
                continue
            for number_h in range(scalar.pad_images(mode, h, H, before[1], oH)):
                out_h = scalar.pad_image(mode, number_h, h, H, before[1], oH)
                if out_h < 0:
                    continue
                out_start = ((plane * oD + out_d) * oH + out_h) * oW
                if first:
                    if right - left < W:
                        fill(grad_x.dtype.type(0), target, start, W)
                    copy(source, out_start + left, target, start + left - before[2], right - left)
                else:
                    add(source, out_start + left, target, start + left - before[2], right - left)
                for i in range(border.size):
                    if border[i] >= 0:
                        out_w = i if i < left else right + i - left
                        target[start + border[i]] += source[out_start + out_w]
                first = False
        if first:
            fill(grad_x.dtype.type(0), target, start, W)


_forward = RangeKernel(_forward_rows, PARALLEL_WORK)
_backward = RangeKernel(_backward_rows, PARALLEL_WORK)
