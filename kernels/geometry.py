"""Sizes: what a convolution or a pooling makes of an input's extents, and the checks on its arguments.

Plain Python on tuples, one entry per spatial dimension, for any rank. Every function raises `RuntimeError`, as PyTorch
does for an impossible size, with a text that names the operation, the argument, what it expects and what it got.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

Extents = Sequence[int]

PAD_MODES = {"constant": 0, "reflect": 1, "replicate": 2, "circular": 3}
"""How kernels name what a border is made of."""

GRID_MODES = {"bilinear": 0, "nearest": 1, "bicubic": 2}
"""How kernels name the interpolation at the places of a grid."""

GRID_PADDING_MODES = {"zeros": 0, "border": 1, "reflection": 2}
"""How kernels name what lies outside of an input that is sampled on a grid."""


def require_positive(operation: str, argument: str, extents: Extents) -> None:
    """Refuse an extent below one."""
    if any(extent < 1 for extent in extents):
        raise RuntimeError(f"{operation}: {argument} must be positive, got {tuple(extents)}")


def require_non_negative(operation: str, argument: str, extents: Extents) -> None:
    """Refuse a negative extent."""
    if any(extent < 0 for extent in extents):
        raise RuntimeError(f"{operation}: {argument} must not be negative, got {tuple(extents)}")


def effective_kernel_size(kernel_size: Extents, dilation: Extents) -> tuple[int, ...]:
    """Return how far a dilated kernel reaches: `dilation * (kernel_size - 1) + 1` for each dimension."""
    return tuple(d * (k - 1) + 1 for k, d in zip(kernel_size, dilation, strict=True))


def volume(extents: Extents) -> tuple[int, int, int]:
    """Return one to three extents as (D, H, W): a problem of fewer dimensions has unit extents in front."""
    return (1,) * (3 - len(extents)) + tuple(extents)  # type: ignore[return-value]


def same_padding(kernel_size: Extents, dilation: Extents) -> tuple[tuple[int, int], ...]:
    """Return the (before, after) padding that keeps a stride-1 output as large as its input.

    Where the total is odd the extra element comes after, as in PyTorch.
    """
    totals = [d * (k - 1) for k, d in zip(kernel_size, dilation, strict=True)]
    return tuple((total // 2, total - total // 2) for total in totals)


def conv_output_size(
    operation: str,
    input_size: Extents,
    kernel_size: Extents,
    stride: Extents,
    padding: Sequence[tuple[int, int]],
    dilation: Extents,
) -> tuple[int, ...]:
    """Return the spatial extents of a convolution's output; `padding` holds (before, after) pairs."""
    require_positive(operation, "stride", stride)
    require_positive(operation, "dilation", dilation)
    for pair in padding:
        require_non_negative(operation, "padding", pair)
    require_positive(operation, "the extents of weight", kernel_size)
    padded = tuple(n + before + after for n, (before, after) in zip(input_size, padding, strict=True))
    reach = effective_kernel_size(kernel_size, dilation)
    if any(r > p for r, p in zip(reach, padded, strict=True)):
        raise RuntimeError(
            f"{operation}: the kernel must fit into the padded input, got a kernel of {reach}"
            f" (kernel_size {tuple(kernel_size)}, dilation {tuple(dilation)}) and a padded input of {padded}"
        )
    return tuple((p - r) // s + 1 for p, r, s in zip(padded, reach, stride, strict=True))


def conv_transpose_output_size(
    operation: str,
    input_size: Extents,
    kernel_size: Extents,
    stride: Extents,
    padding: Extents,
    output_padding: Extents,
    dilation: Extents,
) -> tuple[int, ...]:
    """Return the spatial extents of a transposed convolution's output."""
    require_positive(operation, "stride", stride)
    require_positive(operation, "dilation", dilation)
    require_non_negative(operation, "padding", padding)
    require_non_negative(operation, "output_padding", output_padding)
    require_positive(operation, "the extents of weight", kernel_size)
    for extra, s, d in zip(output_padding, stride, dilation, strict=True):
        if extra >= max(s, d):
            raise RuntimeError(
                f"{operation}: output_padding must be smaller than either stride or dilation, got"
                f" output_padding {tuple(output_padding)}, stride {tuple(stride)}, dilation {tuple(dilation)}"
            )
    reach = effective_kernel_size(kernel_size, dilation)
    output_size = tuple(
        (n - 1) * s - 2 * p + r + extra
        for n, s, p, r, extra in zip(input_size, stride, padding, reach, output_padding, strict=True)
    )
    if any(n < 1 for n in output_size):
        raise RuntimeError(
            f"{operation}: the output would be empty, got output extents {output_size} from input extents"
            f" {tuple(input_size)}, kernel_size {tuple(kernel_size)}, padding {tuple(padding)}"
        )
    return output_size


def pool_output_size(
    operation: str,
    input_size: Extents,
    kernel_size: Extents,
    stride: Extents,
    padding: Extents,
    dilation: Extents,
    ceil_mode: bool,
) -> tuple[int, ...]:
    """Return the spatial extents of a pooling's output.

    With `ceil_mode` the last window may hang over the end, but it must start inside the input or the padding before it.
    """
    require_positive(operation, "kernel_size", kernel_size)
    require_positive(operation, "stride", stride)
    require_positive(operation, "dilation", dilation)
    require_non_negative(operation, "padding", padding)
    reach = effective_kernel_size(kernel_size, dilation)
    if any(p > k // 2 for p, k in zip(padding, kernel_size, strict=True)):
        raise RuntimeError(
            f"{operation}: padding must be at most half of kernel_size {tuple(kernel_size)}, got {tuple(padding)}"
        )
    output_size = []
    for n, r, s, p in zip(input_size, reach, stride, padding, strict=True):
        span = n + 2 * p - r
        extent = (span + (s - 1 if ceil_mode else 0)) // s + 1
        if ceil_mode and (extent - 1) * s >= n + p:
            extent -= 1
        output_size.append(extent)
    if any(n < 1 for n in output_size):
        raise RuntimeError(
            f"{operation}: the output would be empty, got output extents {tuple(output_size)} from input extents"
            f" {tuple(input_size)}, kernel_size {tuple(kernel_size)}, padding {tuple(padding)},"
            f" dilation {tuple(dilation)}"
        )
    return tuple(output_size)


def fractional_windows(operation: str, input_size: Extents, kernel_size: Extents, output_size: Extents) -> None:
    """Refuse windows of a fractional pooling that do not fit; in three dimensions PyTorch leaves one element over."""
    require_positive(operation, "kernel_size", kernel_size)
    require_non_negative(operation, "output_size", output_size)
    spare = 1 if len(input_size) == 3 else 0
    for axis, (n, k, o) in enumerate(zip(input_size, kernel_size, output_size, strict=True)):
        if o + k - 1 + spare > n:
            raise RuntimeError(
                f"{operation}: pool size {k} in dimension {axis} is too large relative to input size {n} for output"
                f" size {o}: expected output_size + kernel_size - 1 {'<' if spare else '<='} input size, got"
                f" kernel_size {tuple(kernel_size)}, output_size {tuple(output_size)}, input {tuple(input_size)}"
            )


def fractional_starts(samples: np.ndarray, input_size: int, kernel_size: int, output_size: int) -> np.ndarray:
    """Return where the windows of one dimension begin, (*, output_size) int64, for random samples (*) of [0, 1).

    With a = (input_size - kernel_size) / (output_size - 1) window i begins at int((i + sample) a) - int(sample a), the
    last one at the very end. The arithmetic is done in the samples' type, as in PyTorch, so that the same samples give
    the same windows.
    """
    last = input_size - kernel_size
    starts = np.full((*samples.shape, output_size), last, np.int64)
    if output_size > 1:
        step = samples.dtype.type(last) / samples.dtype.type(output_size - 1)
        windows = np.arange(output_size - 1).astype(samples.dtype) + samples[..., None]
        offsets = (windows * step).astype(np.int64) - (samples * step).astype(np.int64)[..., None]
        starts[..., :-1] = offsets.clip(0, last)
    return starts


def unpool_output_size(
    input_size: Extents, kernel_size: Extents, stride: Extents, padding: Extents, output_size: Any
) -> tuple[Any, ...]:
    """Return the extents that max pooling made `input_size` of; `output_size`, checked, says which of several.

    Raises ValueError, as PyTorch does.
    """
    default = [(n - 1) * s + k - 2 * p for n, s, k, p in zip(input_size, stride, kernel_size, padding, strict=True)]
    wanted = default
    if output_size is not None:
        rank = len(default)
        wanted = output_size[2:] if len(output_size) == rank + 2 else output_size
        if len(wanted) != rank:
            raise ValueError(
                f"output_size should be a sequence containing {rank} or {rank + 2} elements, but it has a length of"
                f" '{len(output_size)}'"
            )
        for dim, (n, d, s) in enumerate(zip(wanted, default, stride, strict=True)):
            if not d - s < n < d + s:
                raise ValueError(
                    f'invalid output_size "{tuple(output_size)}" (dim {dim} must be between {d - s} and {d + s})'
                )
    for dim, n in enumerate(wanted):
        if n < 0:
            raise ValueError(
                "max_unpooling: output_size must contain non-negative spatial dimensions, but got"
                f" output_size[{dim}]={n}"
            )
    return tuple(wanted)


def check_pad(mode: str, shape: Extents, pairs: Sequence[tuple[int, int]]) -> None:
    """Refuse (before, after) widths of the last dimensions of `shape` that `mode` cannot give; negative ones crop."""
    lead = len(shape) - len(pairs)
    largest = max([shape[axis] + sum(pair) for axis, pair in enumerate(pairs, lead)], default=0)
    for axis, (before, after) in enumerate(pairs, lead):
        n = shape[axis]
        padded = n + before + after
        at = f"at dimension {axis} of input {list(shape)}"
        if mode == "reflect" and max(before, after) >= n > 0:
            raise RuntimeError(
                "Padding size should be less than the corresponding input dimension, but got: padding"
                f" ({before}, {after}) {at}"
            )
        if mode == "circular" and max(before, after) > n:
            raise RuntimeError(
                f"Padding value causes wrapping around more than once: got padding ({before}, {after}) {at}"
            )
        if mode == "constant" and (padded < 0 or n + min(before, 0) + min(after, 0) < 0):
            raise RuntimeError(
                f"The input size {n}, plus negative padding {before} and {after} resulted in a negative output size,"
                f" which is invalid. Check dimension {axis} of your input."
            )
        if mode == "circular" and (padded < 0 or n + min(before, 0) + min(after, 0) < 0):
            raise RuntimeError(f"Negative padding value is resulting in an empty dimension: ({before}, {after}) {at}")
        if mode in ("reflect", "replicate") and (padded < 0 or (largest < 1 <= n)):
            raise RuntimeError(
                f"pad: input extent {n} is too small for padding ({before}, {after}), calculated output {padded}, {at}"
            )
