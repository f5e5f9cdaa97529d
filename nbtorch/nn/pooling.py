"""Pooling and unpooling: argument forms and checks, for `nn.functional`."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

from nbtorch.kernels import geometry

from .. import dtypes
from ..autograd.grad_mode import state
from ..device import CPU, array_module
from ..ops.avg_pool import AdaptiveMeans, AvgPool, LpPool, SlidingMeans
from ..ops.operands import not_implemented, refuse_complex, require_same_device, require_tensor
from ..ops.pool import AdaptiveRegions, FractionalWindows, MaxPool, MaxPoolValues, SlidingWindows
from ..ops.unpool import MaxUnpool
from ..random import rand
from ..tensor import Tensor
from .arguments import Sizes, extents, require_bool, require_rank

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool1d_with_indices",
    "adaptive_max_pool2d",
    "adaptive_max_pool2d_with_indices",
    "adaptive_max_pool3d",
    "adaptive_max_pool3d_with_indices",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "fractional_max_pool2d",
    "fractional_max_pool2d_with_indices",
    "fractional_max_pool3d",
    "fractional_max_pool3d_with_indices",
    "lp_pool1d",
    "lp_pool2d",
    "lp_pool3d",
    "max_pool1d",
    "max_pool1d_with_indices",
    "max_pool2d",
    "max_pool2d_with_indices",
    "max_pool3d",
    "max_pool3d_with_indices",
    "max_unpool1d",
    "max_unpool2d",
    "max_unpool3d",
]


def _step(name: str, stride: Any, rank: int) -> Any:
    """Return the step of a window as `_option` does; None where none is given."""
    if stride is None or (isinstance(stride, Sequence) and not stride):
        return None
    return stride if type(stride) is int else extents(name, "stride", stride, rank)


def _require_elements(name: str, shape: tuple[int, ...], rank: int) -> None:
    """Refuse an input with an empty dimension other than the batch."""
    if 0 in shape[-rank - 1 :]:
        raise RuntimeError(
            f"{name}: Expected input's non-batch dimensions to have positive length, but input has a shape of {shape}"
        )


def _max_pool(
    rank: int,
    input: Tensor,
    kernel_size: Sizes,
    stride: Any,
    padding: Sizes,
    dilation: Sizes,
    ceil_mode: bool,
    return_indices: bool,
) -> Any:
    """Check the arguments of max pooling and run it; see `max_pool2d`."""
    name = _MAX_POOL[rank]
    require_tensor(name, "input", input)
    array = input._array
    if type(kernel_size) is not int:
        kernel_size = extents(name, "kernel_size", kernel_size, rank)
    stride = _step(name, stride, rank)
    if type(padding) is not int:
        padding = extents(name, "padding", padding, rank)
    if type(dilation) is not int:
        dilation = extents(name, "dilation", dilation, rank)
    windows = _sliding_windows(rank, array.shape, kernel_size, stride, padding, dilation, ceil_mode)
    if array.dtype.kind != "f":
        _require_comparable(name, rank, input, return_indices)
    if return_indices:
        return MaxPool(_MAX_POOL_NODE[rank], windows)(input)
    return MaxPoolValues(_MAX_POOL_NODE[rank], windows, state.enabled and input.requires_grad)(input)


_MAX_POOL = tuple([f"max_pool{rank}d" for rank in range(4)])
# PyTorch pools one dimension as two and squeezes the result.
_MAX_POOL_NODE = ("", "SqueezeBackward1", "MaxPool2DWithIndicesBackward0", "MaxPool3DWithIndicesBackward0")


@functools.lru_cache(maxsize=1024, typed=True)
def _sliding_windows(
    rank: int, shape: tuple[int, ...], kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> SlidingWindows:
    """Check how windows slide over an input of this shape; calls with the same arguments follow one another."""
    name = _MAX_POOL[rank]
    require_bool(name, "ceil_mode", ceil_mode)
    _require_shape(name, shape, rank)
    _require_elements(name, shape, rank)
    kernel = extents(name, "kernel_size", kernel_size, rank)
    strides = kernel if stride is None else extents(name, "stride", stride, rank)
    pads, dilations = extents(name, "padding", padding, rank), extents(name, "dilation", dilation, rank)
    size = geometry.pool_output_size(name, shape[-rank:], kernel, strides, pads, dilations, ceil_mode)
    return SlidingWindows((*shape[:-rank], *size), kernel, strides, pads, dilations)


def _require_shape(name: str, shape: tuple[int, ...], rank: int) -> None:
    """Refuse what is neither (N, C, *) nor (C, *)."""
    if len(shape) not in (rank + 1, rank + 2):
        raise RuntimeError(
            f"Expected {rank + 1}D (unbatched) or {rank + 2}D (batched) input to {name}, but got input of size:"
            f" {list(shape)}"
        )


def _require_comparable(name: str, rank: int, input: Tensor, return_indices: bool) -> None:
    """Refuse types that PyTorch has no max pooling for."""
    large_unsigned = input.dtype.numpy.kind == "u" and input.dtype.itemsize > 1
    integers = rank == 1 and not (return_indices or input.is_floating_point())
    if input.dtype is dtypes.bool or large_unsigned or integers:
        raise not_implemented(name, input.dtype, "a floating-point type" if rank == 1 else "a type of numbers")
    refuse_complex(name, input)


def max_pool1d_with_indices(
    input: Tensor,
    kernel_size: Sizes,
    stride: Any = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return the maxima and their indices for (N, C, L) or (C, L); arguments as for `max_pool2d`."""
    return _max_pool(1, input, kernel_size, stride, padding, dilation, ceil_mode, True)


def max_pool2d_with_indices(
    input: Tensor,
    kernel_size: Sizes,
    stride: Any = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return the maxima and their flat indices `h * W + w`, int64; arguments as for `max_pool2d`."""
    return _max_pool(2, input, kernel_size, stride, padding, dilation, ceil_mode, True)


def max_pool3d_with_indices(
    input: Tensor,
    kernel_size: Sizes,
    stride: Any = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return the maxima and their indices for (N, C, D, H, W) or (C, D, H, W); arguments as for `max_pool2d`."""
    return _max_pool(3, input, kernel_size, stride, padding, dilation, ceil_mode, True)


def max_pool1d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Any = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Return the largest element of each window of (N, C, L) or (C, L); arguments as for `max_pool2d`.

    As in PyTorch integers are taken only where indices are asked for.
    """
    return _max_pool(1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool2d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Any = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Return the largest element of each window.

    Args:
        input: (N, C, H, W) or (C, H, W); floating point or integers.
        kernel_size: extents of the window, an int or (kH, kW).
        stride: step of the window; by default `kernel_size`.
        padding: border of negative infinity on both sides, at most half the kernel.
        dilation: distance between the window's elements.
        ceil_mode: whether windows may hang over the end.
        return_indices: return the flat indices of the maxima as well; the first of equal elements, and NaN, wins.

    Raises:
        RuntimeError: a rank, size, stride or padding does not fit.

    >>> import nbtorch, nbtorch.nn.functional as F
    >>> F.max_pool2d(nbtorch.tensor([[[1.0, 4.0], [3.0, 2.0]]]), 2, return_indices=True)
    (tensor([[[4.]]]), tensor([[[1]]]))
    """
    return _max_pool(2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool3d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Any = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Return the largest element of each window of (N, C, D, H, W) or (C, D, H, W); arguments as for `max_pool2d`."""
    return _max_pool(3, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def _avg_pool(
    rank: int,
    input: Tensor,
    kernel_size: Sizes,
    stride: Any,
    padding: Sizes,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None = None,
) -> Tensor:
    """Check the arguments of average pooling and run it; see `avg_pool2d`."""
    name = _AVG_POOL[rank]
    require_tensor(name, "input", input)
    array = input._array
    if type(kernel_size) is not int:
        kernel_size = extents(name, "kernel_size", kernel_size, rank)
    stride = _step(name, stride, rank)
    if type(padding) is not int:
        padding = extents(name, "padding", padding, rank)
    options = kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    means, output_shape = _sliding_means(rank, array.shape, *options)
    if array.dtype.char not in "fd":
        _require_averageable(name, rank, input)
    return AvgPool(_AVG_POOL_NODE[rank], means, output_shape)(input)


_AVG_POOL = tuple([f"avg_pool{rank}d" for rank in range(4)])
_AVG_POOL_NODE = tuple([f"AvgPool{rank}DBackward0" for rank in range(4)])


@functools.lru_cache(maxsize=1024, typed=True)
def _sliding_means(
    rank: int,
    shape: tuple[int, ...],
    kernel_size: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> tuple[SlidingMeans, tuple[int, ...]]:
    """Return the windows of an average pooling and the shape of what it returns."""
    name = _AVG_POOL[rank]
    require_bool(name, "ceil_mode", ceil_mode)
    require_bool(name, "count_include_pad", count_include_pad)
    if divisor_override is not None:
        if isinstance(divisor_override, bool) or not hasattr(divisor_override, "__index__"):
            raise TypeError(f"{name}(): argument 'divisor_override' must be int, not {type(divisor_override).__name__}")
        if divisor_override == 0:
            raise RuntimeError(f"{name}: divisor must be not zero, got divisor_override=0")
    kernel, strides, pads, size = _windows(name, rank, shape, kernel_size, stride, padding, ceil_mode)
    return SlidingMeans(kernel, strides, pads, count_include_pad, int(divisor_override or 0)), (*shape[:-rank], *size)


def _windows(
    name: str, rank: int, shape: tuple[int, ...], kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool
) -> tuple[tuple[int, ...], ...]:
    """Return (kernel_size, stride, padding, the output's extents) of a pooling by sums."""
    if rank == 2 and len(shape) < 3:
        raise IndexError(f"{name}: Dimension out of range: expected a 3D or 4D input, got shape {shape}")
    _require_shape(name, shape, rank)
    kernel = extents(name, "kernel_size", kernel_size, rank)
    strides = kernel if stride is None else extents(name, "stride", stride, rank)
    pads = extents(name, "padding", padding, rank)
    _require_elements(name, shape, rank)
    size = geometry.pool_output_size(name, shape[-rank:], kernel, strides, pads, (1,) * rank, ceil_mode)
    if rank == 3 and any(n < k for n, k in zip(shape[-rank:], kernel, strict=True)):
        raise RuntimeError(f"{name}: input {shape[-rank:]} smaller than kernel_size {kernel}")
    return kernel, strides, pads, size


def _require_averageable(name: str, rank: int, input: Tensor) -> None:
    """Refuse what PyTorch has no average pooling for: small integers, and on the CPU volumes of 16-bit numbers."""
    if input.is_floating_point():
        if rank == 3 and input.dtype.itemsize == 2 and input.device == CPU:
            raise not_implemented(name, input.dtype, "float32, float64 or int64")
    elif input.dtype is not dtypes.int64:
        raise not_implemented(name, input.dtype, "a floating-point type or int64")


def avg_pool1d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Any = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """Return the mean of each window of (N, C, L) or (C, L); arguments as for `avg_pool2d`."""
    return _avg_pool(1, input, kernel_size, stride, padding, ceil_mode, count_include_pad)


def avg_pool2d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Any = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Return the mean of each window.

    Args:
        input: (N, C, H, W) or (C, H, W); floating point or int64, which is divided towards zero.
        kernel_size: extents of the window, an int or (kH, kW).
        stride: step of the window; by default `kernel_size`.
        padding: zeros on both sides, at most half the kernel.
        ceil_mode: whether windows may hang over the end; what hangs over counts for nothing.
        count_include_pad: whether the padding's zeros count as elements.
        divisor_override: what to divide by instead of the number of elements.

    Raises:
        RuntimeError: a rank, size, stride, padding or divisor does not fit.
        NotImplementedError: a type of elements without an average.

    >>> import nbtorch, nbtorch.nn.functional as F
    >>> F.avg_pool2d(nbtorch.tensor([[[1.0, 4.0], [3.0, 2.0]]]), 2)
    tensor([[[2.5000]]])
    """
    return _avg_pool(2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def avg_pool3d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Any = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Return the mean of each window of (N, C, D, H, W) or (C, D, H, W); arguments as for `avg_pool2d`."""
    return _avg_pool(3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def _lp_pool(
    rank: int, input: Tensor, norm_type: Any, kernel_size: Sizes, stride: Any, ceil_mode: bool, absolute: bool
) -> Tensor:
    """Check the arguments of power-average pooling and run it; see `lp_pool2d`."""
    name = f"lp_pool{rank}d"
    require_tensor(name, "input", input)
    require_bool(name, "absolute", absolute)
    if rank > 1 and isinstance(kernel_size, Sequence) and len(kernel_size) != rank:
        raise ValueError(f"{name}: kernel_size must be an int or a tuple of {rank} ints, got {kernel_size!r}")
    if not isinstance(norm_type, (int, float, Tensor)):
        raise TypeError(f"{name}(): argument 'norm_type' must be a number, not {type(norm_type).__name__}")
    if absolute:
        input = input.abs()
    if isinstance(norm_type, float) and math.isinf(norm_type):
        if norm_type > 0:
            return _max_pool(rank, input.abs(), kernel_size, stride, 0, 1, ceil_mode, False)
        return -_max_pool(rank, -input.abs(), kernel_size, stride, 0, 1, ceil_mode, False)
    if isinstance(norm_type, Tensor) or not input.is_floating_point():
        return _lp_pool_in_steps(rank, input, norm_type, kernel_size, stride, ceil_mode)
    require_bool(name, "ceil_mode", ceil_mode)
    shape = tuple(input.shape)
    kernel, strides, _, size = _windows(name, rank, shape, kernel_size, _step(name, stride, rank), 0, ceil_mode)
    if rank == 1 and isinstance(kernel_size, Sequence):
        raise TypeError(f"{name}(): argument 'kernel_size' must be int, not {type(kernel_size).__name__}")
    _require_averageable(name, rank, input)
    if norm_type == 0:
        raise ZeroDivisionError(f"{name}: norm_type must not be 0")
    return LpPool(float(norm_type), kernel, strides, (*shape[:-rank], *size))(input)


def _lp_pool_in_steps(
    rank: int, input: Tensor, norm_type: Any, kernel_size: Sizes, stride: Any, ceil_mode: bool
) -> Tensor:
    """Pool integers, whose powers and means are rounded, or with a norm that is a tensor, operation by operation."""
    means = _avg_pool(rank, input**norm_type, kernel_size, stride, 0, ceil_mode, True)
    size = 1
    for extent in extents(f"lp_pool{rank}d", "kernel_size", kernel_size, rank):
        size *= extent
    return (means.sign() * means.abs().relu() * size) ** (1.0 / norm_type)


def lp_pool1d(
    input: Tensor,
    norm_type: Any,
    kernel_size: int,
    stride: Any = None,
    ceil_mode: bool = False,
    *,
    absolute: bool = False,
) -> Tensor:
    """Return the power average of each window of (N, C, L) or (C, L); arguments as for `lp_pool2d`."""
    return _lp_pool(1, input, norm_type, kernel_size, stride, ceil_mode, absolute)


def lp_pool2d(
    input: Tensor,
    norm_type: Any,
    kernel_size: Sizes,
    stride: Any = None,
    ceil_mode: bool = False,
    *,
    absolute: bool = False,
) -> Tensor:
    """Return the power average of each window, `(sum of x ** p) ** (1 / p)`.

    As in PyTorch the elements' own powers are added, not those of their absolute values: negative ones give NaN where
    p is no even number, unless `absolute` is set. Where the sum is 0 the gradient is 0. Windows that hang over the end
    are scaled up.

    Args:
        input: (N, C, H, W) or (C, H, W).
        norm_type: the power p; with infinity this is max pooling of the absolute values.
        kernel_size: extents of the window, an int or (kH, kW).
        stride: step of the window; by default `kernel_size`.
        ceil_mode: whether windows may hang over the end.
        absolute: whether the powers are those of absolute values, so that this is the p-norm of each window, which
            PyTorch does not offer.

    Raises:
        RuntimeError: a rank, size or stride does not fit.
        ZeroDivisionError: `norm_type` is 0.

    >>> import nbtorch, nbtorch.nn.functional as F
    >>> F.lp_pool2d(nbtorch.tensor([[[3.0, 0.0], [0.0, 4.0]]]), 2, 2)
    tensor([[[5.]]])
    """
    return _lp_pool(2, input, norm_type, kernel_size, stride, ceil_mode, absolute)


def lp_pool3d(
    input: Tensor,
    norm_type: Any,
    kernel_size: Sizes,
    stride: Any = None,
    ceil_mode: bool = False,
    *,
    absolute: bool = False,
) -> Tensor:
    """Return the power average of each window of (N, C, D, H, W) or (C, D, H, W); arguments as for `lp_pool2d`."""
    return _lp_pool(3, input, norm_type, kernel_size, stride, ceil_mode, absolute)


def _adaptive_size(name: str, rank: int, input: Tensor, output_size: Any) -> tuple[int, ...]:
    """Return the output's extents; None stands for the input's own, except in one dimension, as in PyTorch."""
    if type(output_size) is int and output_size >= 0:
        return (output_size,) * rank
    if rank > 1 and isinstance(output_size, Sequence) and not isinstance(output_size, str):
        if input.ndim <= len(output_size):
            raise ValueError(f"{name}: Input dimension should be at least {len(output_size) + 1}, got {input.ndim}")
        if len(output_size) != rank:
            raise RuntimeError(f"{name}: output_size must be an int or a tuple of {rank} ints, got {output_size!r}")
        own = input._array.shape[-rank:]
        output_size = tuple([n if o is None else o for o, n in zip(output_size, own, strict=True)])
    size = extents(name, "output_size", output_size, rank)
    if min(size) < 0:
        raise RuntimeError(f"{name}: elements of output_size must be greater than or equal to 0 but received {size}")
    return size


def _require_spatial(name: str, input: Tensor, dims: range) -> None:
    """Refuse an input that is empty in one of these dimensions."""
    if 0 not in input._array.shape:
        return
    for dim in dims:
        if input.shape[dim] == 0:
            raise RuntimeError(
                f"{name}(): Expected input to have non-zero size for non-batch dimensions, but input has sizes"
                f" {list(input.shape)} with dimension {dim} being empty"
            )


def _adaptive_avg_pool(rank: int, input: Tensor, output_size: Any) -> Tensor:
    """Check the arguments of adaptive average pooling and run it; see `adaptive_avg_pool2d`."""
    name = _ADAPTIVE_AVG_POOL[rank]
    require_tensor(name, "input", input)
    size, array = _adaptive_size(name, rank, input, output_size), input._array
    shape = array.shape
    if array.dtype.char not in "fd" or 0 in shape or len(shape) not in (rank + 1, rank + 2):
        if size == _ONES[rank] and _needs_mean(input, rank):
            return input.mean(tuple(range(-rank, 0)), keepdim=True)
        require_rank(name, input, rank)
        if not input.is_floating_point():
            raise not_implemented(name, input.dtype, "a floating-point type")
        if rank == 1 and size == (1,) and shape[-1] == 0:
            return input.mean(-1, keepdim=True)
        _require_spatial(name, input, range(1 if rank == 3 else input.ndim - rank, input.ndim))
    # PyTorch takes the mean where there is but one region.
    node = "MeanBackward1" if size == _ONES[rank] else _ADAPTIVE_AVG_POOL_NODE[rank]
    return AvgPool(node, _ADAPTIVE_MEANS[rank], (*shape[:-rank], *size))(input)


_ADAPTIVE_AVG_POOL = tuple([f"adaptive_avg_pool{rank}d" for rank in range(4)])
_ADAPTIVE_AVG_POOL_NODE = tuple([f"AdaptiveAvgPool{rank}DBackward0" for rank in range(4)])
_ADAPTIVE_MEANS = tuple([AdaptiveMeans(rank) for rank in range(4)])
_ONES = ((0,), (0,), (1, 1), (1, 1, 1))  # no size of one dimension


def _needs_mean(input: Tensor, rank: int) -> bool:
    """Whether PyTorch takes an input for a global average that it would refuse as an image: by rank, type or size."""
    return (
        (input.ndim >= rank and input.ndim not in (rank + 1, rank + 2))
        or not input.is_floating_point()
        or 0 in input.shape[-rank:]
    )


def adaptive_avg_pool1d(input: Tensor, output_size: Any) -> Tensor:
    """Return the means of `output_size` regions of (N, C, L) or (C, L); see `adaptive_avg_pool2d`."""
    return _adaptive_avg_pool(1, input, output_size)


def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """Return the means of regions that split an image evenly.

    Args:
        input: (N, C, H, W) or (C, H, W), floating point.
        output_size: how many regions, an int or (oH, oW); None in a tuple stands for the input's extent.

    Raises:
        RuntimeError: a rank or size does not fit.

    >>> import nbtorch, nbtorch.nn.functional as F
    >>> F.adaptive_avg_pool2d(nbtorch.ones(1, 2, 7, 5), (None, 3)).shape
    torch.Size([1, 2, 7, 3])
    """
    return _adaptive_avg_pool(2, input, output_size)


def adaptive_avg_pool3d(input: Tensor, output_size: Any) -> Tensor:
    """Return the means of regions of (N, C, D, H, W) or (C, D, H, W); see `adaptive_avg_pool2d`."""
    return _adaptive_avg_pool(3, input, output_size)


def _adaptive_max_pool(rank: int, input: Tensor, output_size: Any) -> tuple[Tensor, Tensor]:
    """Check the arguments of adaptive max pooling and run it; see `adaptive_max_pool2d`."""
    name = f"adaptive_max_pool{rank}d"
    require_tensor(name, "input", input)
    size = _adaptive_size(name, rank, input, output_size)
    require_rank(name, input, rank)
    _require_spatial(name, input, range(1, input.ndim))
    if not input.is_floating_point():
        raise not_implemented(name, input.dtype, "a floating-point type")
    regions = AdaptiveRegions((*input._array.shape[:-rank], *size), rank)
    return MaxPool(f"AdaptiveMaxPool{rank}DBackward0", regions)(input)


def adaptive_max_pool1d_with_indices(
    input: Tensor, output_size: Any, return_indices: bool = False
) -> tuple[Tensor, Tensor]:
    """Return the maxima of regions of (N, C, L) or (C, L) and their indices; see `adaptive_max_pool2d`."""
    return _adaptive_max_pool(1, input, output_size)


def adaptive_max_pool2d_with_indices(
    input: Tensor, output_size: Any, return_indices: bool = False
) -> tuple[Tensor, Tensor]:
    """Return the maxima of regions of (N, C, H, W) or (C, H, W) and their indices; see `adaptive_max_pool2d`."""
    return _adaptive_max_pool(2, input, output_size)


def adaptive_max_pool3d_with_indices(
    input: Tensor, output_size: Any, return_indices: bool = False
) -> tuple[Tensor, Tensor]:
    """Return the maxima of regions of (N, C, D, H, W) or (C, D, H, W) and their indices."""
    return _adaptive_max_pool(3, input, output_size)


def adaptive_max_pool1d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Return the maxima of `output_size` regions of (N, C, L) or (C, L); see `adaptive_max_pool2d`."""
    output, indices = _adaptive_max_pool(1, input, output_size)
    return (output, indices) if return_indices else output


def adaptive_max_pool2d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Return the maxima of regions that split an image evenly.

    Args:
        input: (N, C, H, W) or (C, H, W), floating point.
        output_size: how many regions, an int or (oH, oW); None in a tuple stands for the input's extent.
        return_indices: return the flat indices of the maxima as well.

    Raises:
        RuntimeError: a rank or size does not fit.
    """
    output, indices = _adaptive_max_pool(2, input, output_size)
    return (output, indices) if return_indices else output


def adaptive_max_pool3d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Return the maxima of regions of (N, C, D, H, W) or (C, D, H, W); see `adaptive_max_pool2d`."""
    output, indices = _adaptive_max_pool(3, input, output_size)
    return (output, indices) if return_indices else output


def _fractional_max_pool(
    rank: int, input: Tensor, kernel_size: Sizes, output_size: Any, output_ratio: Any, samples: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Check the arguments of fractional max pooling and run it; see `fractional_max_pool2d`."""
    name = f"fractional_max_pool{rank}d"
    require_tensor(name, "input", input)
    if output_size is None and output_ratio is None:
        raise ValueError(f"{name} requires specifying either an output_size or an output_ratio")
    if input.ndim < rank + 1 and samples is None:
        raise IndexError(
            f"{name}: Dimension out of range: expected a {rank + 1}D or {rank + 2}D input, got shape"
            f" {tuple(input.shape)}"
        )
    if output_size is None:
        output_size = _fraction(name, input.shape[-rank:], output_ratio)
    batched = require_rank(name, input, rank)
    kernel = _exact_extents(name, "kernel_size", kernel_size, rank)
    size = _exact_extents(name, "output_size", output_size, rank)
    if not input.is_floating_point():
        raise not_implemented(name, input.dtype, "a floating-point type")
    _require_spatial(name, input, range(input.ndim - rank - 1, input.ndim))
    geometry.fractional_windows(name, input.shape[-rank:], kernel, size)
    x = input if batched else input.unsqueeze(0)
    if samples is None:
        samples = rand(x.shape[0], x.shape[1], rank, dtype=x.dtype, device=x.device)
    _check_samples(name, x, samples, rank)
    if 0 in size or 0 in x.shape:
        return _empty_maxima(input, (*input.shape[:-rank], *size))
    windows = FractionalWindows((*input.shape[:-rank], *size), kernel, _starts(x, samples, kernel, size))
    return MaxPool(f"FractionalMaxPool{rank}DBackward0", windows)(input)


def _empty_maxima(input: Tensor, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Return maxima without elements, and their indices."""
    output = input.reshape(-1)[:0].reshape(shape)
    return output, output.detach().long()


def _fraction(name: str, input_size: tuple[int, ...], output_ratio: Any) -> tuple[int, ...]:
    """Return the output's extents as a share of the input's; one number stands for all dimensions."""
    rank = len(input_size)
    if isinstance(output_ratio, (int, float)):
        output_ratio = (output_ratio,) * rank
    if rank == 2 and len(output_ratio) > 2:
        raise ValueError(
            f"{name} requires output_ratio to either be a single number or a tuple of two, got {output_ratio}"
        )
    return tuple([int(input_size[i] * output_ratio[i]) for i in range(rank)])


def _exact_extents(name: str, argument: str, value: Any, rank: int) -> tuple[int, ...]:
    """Return an int or a sequence of exactly `rank` ints as `rank` ints."""
    if isinstance(value, Sequence) and len(value) != rank:
        raise RuntimeError(f"{name}: {argument} must be an int or a tuple of {rank} ints, got {value!r}")
    return extents(name, argument, value, rank)


def _check_samples(name: str, x: Tensor, samples: Any, rank: int) -> None:
    require_tensor(name, "_random_samples", samples)
    require_same_device(name, x, samples)
    wanted = f"expected (at least {x.shape[0]}, {x.shape[1]}, {rank}) of {x.dtype}"
    if (
        samples.dtype is not x.dtype
        or samples.ndim != 3
        or samples.shape[0] < x.shape[0]
        or tuple(samples.shape[1:]) != (x.shape[1], rank)
    ):
        raise RuntimeError(f"{name}: _random_samples: {wanted}, got {tuple(samples.shape)} of {samples.dtype}")


def _starts(x: Tensor, samples: Tensor, kernel: tuple[int, ...], size: tuple[int, ...]) -> tuple[Any, ...]:
    """Return where windows begin, an array (N·C, o) for each dimension.

    As in PyTorch the first sample is that of the width where there are two dimensions, of the depth where there are
    three, whose others follow in order.
    """
    rank = len(size)
    drawn = samples.detach().cpu()._array[: x.shape[0]].reshape(-1, rank)
    columns = drawn[:, ::-1] if rank == 2 else drawn
    xp = array_module(x._device)
    return tuple(
        [xp.asarray(geometry.fractional_starts(columns[:, i], x.shape[2 + i], kernel[i], size[i])) for i in range(rank)]
    )


def fractional_max_pool2d_with_indices(
    input: Tensor,
    kernel_size: Sizes,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the maxima and their flat indices; arguments as for `fractional_max_pool2d`."""
    return _fractional_max_pool(2, input, kernel_size, output_size, output_ratio, _random_samples)


def fractional_max_pool3d_with_indices(
    input: Tensor,
    kernel_size: Sizes,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the maxima and their flat indices; arguments as for `fractional_max_pool2d`."""
    return _fractional_max_pool(3, input, kernel_size, output_size, output_ratio, _random_samples)


def fractional_max_pool2d(
    input: Tensor,
    kernel_size: Sizes,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:
    """Return the largest element of each of `output_size` windows at pseudo-random steps.

    Args:
        input: (N, C, H, W) or (C, H, W), floating point.
        kernel_size: extents of the window, an int or (kH, kW).
        output_size: how many windows, an int or (oH, oW).
        output_ratio: the same as a share of the input's extents, a number or a pair in (0, 1).
        return_indices: return the flat indices of the maxima as well.
        _random_samples: numbers of [0, 1) that the steps follow from, (N, C, 2); by default drawn from the generator.

    Raises:
        ValueError: neither size nor ratio is given.
        RuntimeError: a rank, size or type does not fit.

    Source: Graham, "Fractional max-pooling", 2014, https://arxiv.org/abs/1412.6071.

    >>> import nbtorch, nbtorch.nn.functional as F
    >>> F.fractional_max_pool2d(nbtorch.ones(1, 1, 10, 10), 2, output_ratio=0.6).shape
    torch.Size([1, 1, 6, 6])
    """
    output, indices = _fractional_max_pool(2, input, kernel_size, output_size, output_ratio, _random_samples)
    return (output, indices) if return_indices else output


def fractional_max_pool3d(
    input: Tensor,
    kernel_size: Sizes,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:
    """Return the largest element of each window of (N, C, D, H, W) or (C, D, H, W); see `fractional_max_pool2d`."""
    output, indices = _fractional_max_pool(3, input, kernel_size, output_size, output_ratio, _random_samples)
    return (output, indices) if return_indices else output


def _max_unpool(
    rank: int, input: Tensor, indices: Tensor, kernel_size: Sizes, stride: Any, padding: Sizes, output_size: Any
) -> Tensor:
    """Check the arguments of max unpooling and run it; see `max_unpool2d`."""
    name = f"max_unpool{rank}d"
    require_tensor(name, "input", input)
    require_tensor(name, "indices", indices)
    kernel = _window_extents(name, "kernel_size", kernel_size, rank)
    strides = kernel if stride is None else _window_extents(name, "stride", stride, rank)
    pads = _window_extents(name, "padding", padding, rank)
    require_rank(name, input, rank)
    size = geometry.unpool_output_size(input.shape[-rank:], kernel, strides, pads, output_size)
    size = extents(name, "output_size", size, rank)
    _check_indices(name, input, indices)
    _require_spatial(name, input, range(input.ndim - rank - 1, input.ndim))
    if rank == 3 and any(s < 1 for s in strides):
        raise RuntimeError(f"{name}: strides should be greater than zero, but got stride: {strides}")
    if not input.is_floating_point():
        raise not_implemented(name, input.dtype, "a floating-point type")
    return MaxUnpool(size)(input, indices)


def _window_extents(name: str, argument: str, value: Any, rank: int) -> tuple[int, ...]:
    """Return extents; a sequence of another length is an IndexError here, as in PyTorch."""
    if isinstance(value, Sequence) and len(value) not in (1, rank):
        raise IndexError(f"{name}: {argument} must be an int or a tuple of {rank} ints, got {value!r}")
    return extents(name, argument, value, rank)


def _check_indices(name: str, input: Tensor, indices: Tensor) -> None:
    require_same_device(name, input, indices)
    if indices.dtype is not dtypes.int64:
        raise RuntimeError(f"{name}: elements in indices should be type int64 but got: {indices.dtype}")
    if indices.shape != input.shape:
        raise RuntimeError(
            f"{name}: Expected shape of indices to be same as that of the input tensor ({list(input.shape)}) but got"
            f" indices tensor with shape: {list(indices.shape)}"
        )


def max_unpool1d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Sizes,
    stride: Any = None,
    padding: Sizes = 0,
    output_size: Any = None,
) -> Tensor:
    """Return zeros with the elements of (N, C, L) or (C, L) at their indices; arguments as for `max_unpool2d`."""
    return _max_unpool(1, input, indices, kernel_size, stride, padding, output_size)


def max_unpool2d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Sizes,
    stride: Any = None,
    padding: Sizes = 0,
    output_size: Any = None,
) -> Tensor:
    """Return zeros with the elements of the input at their indices: max pooling undone as far as it can be.

    Args:
        input: (N, C, oH, oW) or (C, oH, oW), floating point.
        indices: where they came from, as max pooling returns it; int64, of the input's shape. Of duplicates the last
            one stands.
        kernel_size: that of the pooling, and so `stride` and `padding`.
        stride: step of the windows; by default `kernel_size`.
        padding: border of the pooling.
        output_size: (H, W), or the whole shape, where several inputs of the pooling have this output's extents.

    Raises:
        RuntimeError: an index lies outside of the output, or a type or shape does not fit.
        ValueError: `output_size` cannot have led here.

    >>> import nbtorch, nbtorch.nn.functional as F
    >>> F.max_unpool2d(nbtorch.tensor([[[4.0]]]), nbtorch.tensor([[[1]]]), 2)
    tensor([[[0., 4.],
             [0., 0.]]])
    """
    return _max_unpool(2, input, indices, kernel_size, stride, padding, output_size)


def max_unpool3d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Sizes,
    stride: Any = None,
    padding: Sizes = 0,
    output_size: Any = None,
) -> Tensor:
    """Return zeros with the elements of (N, C, D, H, W) or (C, D, H, W) at their indices; see `max_unpool2d`."""
    return _max_unpool(3, input, indices, kernel_size, stride, padding, output_size)
