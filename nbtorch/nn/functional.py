"""Functions of `torch.nn.functional`: argument forms and checks here, the work in `nbtorch.ops`."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from nbtorch.kernels import geometry

from .. import dtypes
from ..autograd.grad_mode import is_grad_enabled
from ..creation import full_like
from ..ops import arithmetic, loss, matmul, pointwise
from ..ops.conv import convolution
from ..ops.operands import floating_operands, refuse_complex, require_same_device, require_tensor, to_dtype
from ..ops.pad import ConstantPad, IndexedPad
from ..ops.pool import MaxPool
from ..ops.shape import broadcast_tensors
from ..random import numpy_generator
from ..tensor import Tensor, normalize_dim

Sizes = int | Sequence[int]

tanh = pointwise.tanh
sigmoid = pointwise.sigmoid


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """Return `max(input, 0)`; NaN passes through. `inplace` writes into the input."""
    require_tensor("relu", "input", input)
    return input.relu_() if inplace else pointwise.relu(input)


def extents(operation: str, argument: str, value: Any, rank: int) -> tuple[int, ...]:
    """Return an int, or a sequence of one or `rank` ints, as `rank` ints."""
    if isinstance(value, bool) or (not isinstance(value, (int, Sequence, Tensor)) and not hasattr(value, "__index__")):
        raise TypeError(f"{operation}(): argument '{argument}' must be an int or a tuple of {rank} ints, not {value!r}")
    if hasattr(value, "__index__") and not (isinstance(value, Tensor) and value.ndim):
        return (int(value),) * rank
    values = tuple(value)
    if any(isinstance(v, float) or not hasattr(v, "__index__") for v in values):
        raise TypeError(f"{operation}(): argument '{argument}' must be a tuple of ints, but found {values!r}")
    if len(values) == 1:
        values *= rank
    if len(values) != rank:
        raise RuntimeError(f"{operation}: {argument} must be an int or a tuple of {rank} ints, got {values}")
    return tuple(int(v) for v in values)


def _require_rank(operation: str, input: Tensor, rank: int) -> bool:
    """Check that an input is (N, C, *) or (C, *) with `rank` spatial dimensions; return whether it has a batch."""
    require_tensor(operation, "input", input)
    if input.ndim not in (rank + 1, rank + 2):
        raise RuntimeError(
            f"Expected {rank + 1}D (unbatched) or {rank + 2}D (batched) input to {operation}, but got input of size:"
            f" {list(input.shape)}"
        )
    return input.ndim == rank + 2


def _require_conv_types(operation: str, input: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    require_tensor(operation, "weight", weight)
    if bias is not None:
        require_tensor(operation, "bias", bias)
    tensors = {"weight": weight, "bias": bias}
    for name, tensor in tensors.items():
        if tensor is None:
            continue
        require_same_device(operation, input, tensor)
        if tensor.dtype is not input.dtype:
            raise RuntimeError(
                f"{operation}: Input type ({input.type()}) and {name} type ({tensor.type()}) should be the same"
            )
    if input.dtype.category < 2:
        raise RuntimeError(f'"{operation}" not implemented for {input.dtype}: input must be floating point or complex')


def _require_weight(operation: str, weight: Tensor, rank: int, groups: int) -> None:
    if isinstance(groups, bool) or not hasattr(groups, "__index__"):
        raise TypeError(f"{operation}(): argument 'groups' must be int, not {type(groups).__name__}")
    if groups < 1:
        raise RuntimeError(f"{operation}: groups must be positive, got {groups}")
    if weight.ndim != rank + 2:
        raise RuntimeError(
            f"{operation}: expected weight to be {rank + 2}-dimensional (out_channels, in_channels/groups, *kernel),"
            f" got shape {tuple(weight.shape)}"
        )


def _require_bias(operation: str, bias: Tensor | None, channels: int) -> None:
    if bias is not None and tuple(bias.shape) != (channels,):
        raise RuntimeError(
            f"{operation}: expected bias to be 1-dimensional with {channels} elements, one for each output channel,"
            f" got shape {tuple(bias.shape)}"
        )


def _conv(
    rank: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sizes,
    padding: Any,
    dilation: Sizes,
    groups: int,
) -> Tensor:
    """Check the arguments of a convolution and run it; see `conv2d`."""
    name = f"conv{rank}d"
    batched = _require_rank(name, input, rank)
    _require_conv_types(name, input, weight, bias)
    _require_weight(name, weight, rank, groups)
    x = input if batched else input.unsqueeze(0)
    out_channels, in_channels = weight.shape[0], weight.shape[1] * groups
    if out_channels % groups:
        raise RuntimeError(
            f"{name}: expected weight to have a number of output channels divisible by groups={groups},"
            f" got weight of shape {tuple(weight.shape)}"
        )
    if out_channels == 0:
        raise RuntimeError(f"{name}: weight must have at least one output channel, got shape {tuple(weight.shape)}")
    if x.shape[1] != in_channels:
        raise RuntimeError(
            f"Given groups={groups}, weight of size {list(weight.shape)}, expected input{list(input.shape)} to have"
            f" {in_channels} channels, but got {x.shape[1]} channels instead"
        )
    _require_bias(name, bias, out_channels)
    strides, dilations = extents(name, "stride", stride, rank), extents(name, "dilation", dilation, rank)
    kernel = tuple(weight.shape[2:])
    pads = _conv_padding(name, padding, kernel, strides, dilations)
    size = geometry.conv_output_size(name, x.shape[2:], kernel, strides, pads, dilations)
    before = tuple(pair[0] for pair in pads)
    output = convolution(x, weight, bias, strides, before, dilations, groups, False, size)
    return output if batched else output.squeeze(0)


def _conv_padding(
    name: str, padding: Any, kernel: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]
) -> tuple[tuple[int, int], ...]:
    """Return (before, after) pairs for ints, tuples, `"valid"` and `"same"`."""
    rank = len(kernel)
    if not isinstance(padding, str):
        return tuple((p, p) for p in extents(name, "padding", padding, rank))
    if padding == "valid":
        return ((0, 0),) * rank
    if padding != "same":
        raise RuntimeError(f"Invalid padding string: '{padding}': {name} expects 'valid' or 'same'")
    if any(s != 1 for s in stride):
        raise RuntimeError(f"padding='same' is not supported for strided convolutions: {name} got stride {stride}")
    return geometry.same_padding(kernel, dilation)


def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Any = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """Convolve signals, (N, C, L) or (C, L); arguments as for `conv2d`."""
    return _conv(1, input, weight, bias, stride, padding, dilation, groups)


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Any = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """Convolve images (cross-correlate, as is usual).

    Args:
        input: (N, C, H, W) or (C, H, W).
        weight: (O, C / groups, kH, kW).
        bias: (O,) or None.
        stride: step of the kernel, an int or (sH, sW).
        padding: zeros added on both sides, an int, (pH, pW), `"valid"` (none) or `"same"` (output as large as the
            input; stride 1 only).
        dilation: distance between the kernel's elements, an int or (dH, dW).
        groups: number of groups of channels that are convolved separately.

    Returns:
        (N, O, oH, oW) with `oH = (H + 2 pH - dH (kH - 1) - 1) // sH + 1`, or without N.

    Raises:
        RuntimeError: ranks, channels, groups, types or devices do not fit, or the kernel exceeds the padded input.

    >>> import nbtorch, nbtorch.nn.functional as F
    >>> F.conv2d(nbtorch.ones(1, 1, 3, 3), nbtorch.ones(1, 1, 2, 2)).shape
    torch.Size([1, 1, 2, 2])
    """
    return _conv(2, input, weight, bias, stride, padding, dilation, groups)


def conv3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Any = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """Convolve volumes, (N, C, D, H, W) or (C, D, H, W); arguments as for `conv2d`."""
    return _conv(3, input, weight, bias, stride, padding, dilation, groups)


def _conv_transpose(
    rank: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sizes,
    padding: Sizes,
    output_padding: Sizes,
    groups: int,
    dilation: Sizes,
) -> Tensor:
    """Check the arguments of a transposed convolution and run it; see `conv_transpose2d`."""
    name = f"conv_transpose{rank}d"
    batched = _require_rank(name, input, rank)
    _require_conv_types(name, input, weight, bias)
    _require_weight(name, weight, rank, groups)
    x = input if batched else input.unsqueeze(0)
    if weight.shape[0] % groups:
        raise RuntimeError(
            f"{name}: expected weight to have a number of input channels divisible by groups={groups},"
            f" got weight of shape {tuple(weight.shape)}"
        )
    if x.shape[1] != weight.shape[0]:
        raise RuntimeError(
            f"Given transposed=1, weight of size {list(weight.shape)}, expected input{list(input.shape)} to have"
            f" {weight.shape[0]} channels, but got {x.shape[1]} channels instead"
        )
    _require_bias(name, bias, weight.shape[1] * groups)
    strides, dilations = extents(name, "stride", stride, rank), extents(name, "dilation", dilation, rank)
    pads = extents(name, "padding", padding, rank)
    extra = extents(name, "output_padding", output_padding, rank)
    size = geometry.conv_transpose_output_size(name, x.shape[2:], weight.shape[2:], strides, pads, extra, dilations)
    output = convolution(x, weight, bias, strides, pads, dilations, groups, True, size)
    return output if batched else output.squeeze(0)


def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Tensor:
    """Convolve signals transposed, (N, C, L) or (C, L); arguments as for `conv_transpose2d`."""
    return _conv_transpose(1, input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Tensor:
    """Convolve images transposed: the gradient of `conv2d` with respect to its input, as an operation.

    Args:
        input: (N, C, H, W) or (C, H, W).
        weight: (C, O / groups, kH, kW).
        bias: (O,) or None.
        stride: step between the images of neighbouring inputs, an int or (sH, sW).
        padding: elements cut off on both sides of the output, an int or (pH, pW).
        output_padding: elements added at the end of the output, below stride or dilation.
        groups: number of groups of channels that are convolved separately.
        dilation: distance between the kernel's elements, an int or (dH, dW).

    Returns:
        (N, O, oH, oW) with `oH = (H - 1) sH - 2 pH + dH (kH - 1) + output_padding + 1`, or without N.

    Raises:
        RuntimeError: ranks, channels, groups, types or devices do not fit, or the output would be empty.
    """
    return _conv_transpose(2, input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Tensor:
    """Convolve volumes transposed, (N, C, D, H, W) or (C, D, H, W); arguments as for `conv_transpose2d`."""
    return _conv_transpose(3, input, weight, bias, stride, padding, output_padding, groups, dilation)


def _max_pool(
    rank: int,
    input: Tensor,
    kernel_size: Sizes,
    stride: Any,
    padding: Sizes,
    dilation: Sizes,
    ceil_mode: bool,
) -> tuple[Tensor, Tensor]:
    """Check the arguments of max pooling and run it; see `max_pool2d`."""
    name = f"max_pool{rank}d"
    batched = _require_rank(name, input, rank)
    kernel = extents(name, "kernel_size", kernel_size, rank)
    empty_stride = stride is None or (isinstance(stride, Sequence) and not stride)
    strides = kernel if empty_stride else extents(name, "stride", stride, rank)
    pads, dilations = extents(name, "padding", padding, rank), extents(name, "dilation", dilation, rank)
    if input.dtype is dtypes.bool:
        raise RuntimeError(f'"{name}" not implemented for {input.dtype}: input must be numeric')
    refuse_complex(name, input)
    if any(n == 0 for n in input.shape[-rank - 1 :]):
        raise RuntimeError(
            f"{name}: Expected input's non-batch dimensions to have positive length,"
            f" but input has a shape of {tuple(input.shape)}"
        )
    size = geometry.pool_output_size(name, input.shape[-rank:], kernel, strides, pads, dilations, ceil_mode)
    node = MaxPool(kernel, strides, pads, dilations, size)
    output, indices = node(input if batched else input.unsqueeze(0))
    return (output, indices) if batched else (output.squeeze(0), indices.squeeze(0))


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
    return _max_pool(1, input, kernel_size, stride, padding, dilation, ceil_mode)


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
    return _max_pool(2, input, kernel_size, stride, padding, dilation, ceil_mode)


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
    return _max_pool(3, input, kernel_size, stride, padding, dilation, ceil_mode)


def max_pool1d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Any = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Return the largest element of each window of (N, C, L) or (C, L); arguments as for `max_pool2d`."""
    output, indices = _max_pool(1, input, kernel_size, stride, padding, dilation, ceil_mode)
    return (output, indices) if return_indices else output


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
    """
    output, indices = _max_pool(2, input, kernel_size, stride, padding, dilation, ceil_mode)
    return (output, indices) if return_indices else output


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
    output, indices = _max_pool(3, input, kernel_size, stride, padding, dilation, ceil_mode)
    return (output, indices) if return_indices else output


def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: Any = None) -> Tensor:
    """Return a tensor with a border.

    Args:
        input: of any shape; for the modes other than `"constant"` (N, C, *) or (C, *) with 1 to 3 spatial dimensions.
        pad: widths (before, after) of the last dimension, then of the one before it, and so on; a negative width
            crops.
        mode: `"constant"`, `"reflect"`, `"replicate"` or `"circular"`.
        value: what a constant border holds; 0 by default.

    Raises:
        RuntimeError, ValueError: a width or the rank does not fit the mode.
    """
    require_tensor("pad", "input", input)
    widths = [int(w) for w in pad]
    if len(widths) % 2:
        raise RuntimeError(f"Padding length must be divisible by 2, got pad={tuple(widths)}")
    count = len(widths) // 2
    if count > input.ndim:
        raise RuntimeError(
            f"Padding length should be less than or equal to two times the input dimension but got padding length"
            f" {len(widths)} and input of dimension {input.ndim}"
        )
    pairs = tuple((widths[2 * i], widths[2 * i + 1]) for i in reversed(range(count)))
    if mode == "constant":
        return _constant_pad(input, pairs, 0 if value is None else value)
    if mode not in ("reflect", "replicate", "circular"):
        raise NotImplementedError(
            f"Unrecognised padding mode {mode}: expected constant, reflect, replicate or circular"
        )
    if value is not None and value != 0:
        raise ValueError(f'Padding mode "{mode}" doesn\'t take in value argument')
    if not 1 <= count <= 3 or input.ndim not in (count + 1, count + 2):
        raise NotImplementedError(
            f"pad: mode {mode!r} pads the last 1, 2 or 3 dimensions of an input with one or two more; got"
            f" pad={tuple(widths)} for an input of shape {tuple(input.shape)}"
        )
    _check_indexed_pad(input, pairs, mode)
    return IndexedPad(mode, pairs)(input)


def _constant_pad(input: Tensor, pairs: tuple[tuple[int, int], ...], value: Any) -> Tensor:
    lead = input.ndim - len(pairs)
    for axis, (before, after) in enumerate(pairs, lead):
        extent = input.shape[axis]
        if extent + before + after < 0:
            raise RuntimeError(
                f"The input size {extent}, plus negative padding {before} and {after} resulted in a negative output"
                f" size, which is invalid. Check dimension {axis} of your input."
            )
    return ConstantPad(pairs, value)(input) if pairs else input.clone()


def _check_indexed_pad(input: Tensor, pairs: tuple[tuple[int, int], ...], mode: str) -> None:
    lead = input.ndim - len(pairs)
    for axis, (before, after) in enumerate(pairs, lead):
        extent = input.shape[axis]
        if mode == "reflect" and max(before, after) >= extent:
            raise RuntimeError(
                "Padding size should be less than the corresponding input dimension, but got: padding"
                f" ({before}, {after}) at dimension {axis} of input {list(input.shape)}"
            )
        if mode == "circular" and max(before, after) > extent:
            raise RuntimeError(
                f"Padding value causes wrapping around more than once: got padding ({before}, {after}) at dimension"
                f" {axis} of input {list(input.shape)}"
            )
        if extent == 0 or extent + before + after < 1:
            raise RuntimeError(
                f"pad: dimension {axis} of input {list(input.shape)} with padding ({before}, {after}) would be empty"
            )


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return `input @ weight.T + bias`.

    Args:
        input: (*, in_features).
        weight: (out_features, in_features).
        bias: (out_features,) or None.
    """
    return matmul.linear(input, weight, bias)


def _softmax_dim(name: str, ndim: int) -> int:
    warnings.warn(
        f"Implicit dimension choice for {name} has been deprecated. Change the call to include dim=X as an argument.",
        UserWarning,
        stacklevel=3,
    )
    return 0 if ndim in (0, 1, 3) else 1


def softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """Return exponentials scaled to sum to 1 along `dim`."""
    return _softmax("softmax", loss.Softmax, input, dim, dtype)


def log_softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """Return the logarithm of `softmax`, computed without overflow."""
    return _softmax("log_softmax", loss.LogSoftmax, input, dim, dtype)


def _softmax(name: str, node: Any, input: Tensor, dim: int | None, dtype: Any) -> Tensor:
    require_tensor(name, "input", input)
    if dtype is not None:
        input = to_dtype(input, dtypes.as_dtype(dtype))
    if not input.is_floating_point():
        raise NotImplementedError(
            f'"{name}_lastdim_kernel_impl" not implemented for {input.dtype}: input must be floating point'
        )
    axis = normalize_dim(_softmax_dim(name, input.ndim) if dim is None else dim, input.ndim)
    if input.ndim == 0:
        return node(0)(input.reshape(1)).reshape(())
    return node(axis)(input)


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zero elements with probability `p` and scale the others by `1 / (1 - p)`, in training only."""
    if not 0 <= p <= 1:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
    if not training or p == 0:
        return input
    kept = numpy_generator(None).random(tuple(input.shape)) >= p
    scale = 0.0 if p == 1 else 1 / (1 - p)
    mask = input._like_array(kept * scale)
    return input.mul_(mask) if inplace else input * mask


def _reduction(name: str, reduction: str, size_average: Any, reduce: Any) -> str:
    """Return the reduction that is asked for, also by PyTorch's older pair of flags."""
    if size_average is not None or reduce is not None:
        if reduce is False:
            return "none"
        return "sum" if size_average is False else "mean"
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not a valid value for reduction: {name} expects 'none', 'mean' or 'sum'")
    return reduction


def _reduced(values: Tensor, reduction: str) -> Tensor:
    if reduction == "none":
        return values
    return values.mean() if reduction == "mean" else values.sum()


def _weighted(values: Tensor, weight: Tensor, reduction: str) -> Tensor:
    """Return values times weights, reduced; the mean is divided by the sum of the weights."""
    values = values * weight
    return values.sum() / weight.sum() if reduction == "mean" else _reduced(values, reduction)


def _paired(name: str, input: Tensor, target: Tensor) -> None:
    require_tensor(name, "input", input)
    require_tensor(name, "target", target)
    if input.shape != target.shape:
        warnings.warn(
            f"Using a target size ({target.size()}) that is different to the input size ({input.size()}). This will"
            " likely lead to incorrect results due to broadcasting. Please ensure they have the same size.",
            UserWarning,
            stacklevel=3,
        )


def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """Return the squared differences, their mean or their sum."""
    _paired("mse_loss", input, target)
    refuse_complex("mse_loss", input, target)
    reduction = _reduction("mse_loss", reduction, size_average, reduce)
    a, b = broadcast_tensors(*floating_operands("mse_loss", input, target))
    if weight is None:
        return loss.MseLoss(reduction)(a, b)
    return _weighted(loss.MseLoss("none")(a, b), weight, reduction)


def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """Return the absolute differences, their mean or their sum."""
    _paired("l1_loss", input, target)
    reduction = _reduction("l1_loss", reduction, size_average, reduce)
    differences = (input - target).abs()
    return _reduced(differences, reduction) if weight is None else _weighted(differences, weight, reduction)


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: Any = None,
    ignore_index: int = -100,
    reduce: Any = None,
    reduction: str = "mean",
) -> Tensor:
    """Return the negative log-likelihood of class indices.

    Args:
        input: log-probabilities, (N, C, *) or (C,).
        target: class indices of int64, (N, *) or ().
        weight: a factor for each class, (C,); the mean is weighted by it.
        size_average: PyTorch's older form of `reduction`.
        ignore_index: a target that counts for nothing.
        reduce: PyTorch's older form of `reduction`.
        reduction: `"none"`, `"mean"` or `"sum"`.

    Raises:
        IndexError: a target is outside [0, C).
        RuntimeError, ValueError: shapes, types or sizes do not fit.
    """
    reduction = _reduction("nll_loss", reduction, size_average, reduce)
    require_tensor("nll_loss", "input", input)
    require_tensor("nll_loss", "target", target)
    if input.ndim == 0:
        raise RuntimeError("nll_loss: input tensor should be 1D or more, got a 0-d tensor")
    batched = input.ndim > 1
    x, labels = (input, target) if batched else (input.unsqueeze(0), target.reshape(-1) if target.ndim == 0 else target)
    _check_class_indices("nll_loss", x, labels, weight, ignore_index)
    losses = loss.NllLoss(labels._array, ignore_index, None if weight is None else weight._array, reduction)(x)
    return losses if batched else losses.reshape(())


def _check_class_indices(name: str, x: Tensor, labels: Tensor, weight: Tensor | None, ignore_index: int) -> None:
    require_same_device(name, x, labels)
    if labels.dtype is not dtypes.int64:
        raise RuntimeError(f"{name}: expected target to be of type torch.int64 (class indices), got {labels.dtype}")
    expected = (x.shape[0], *x.shape[2:])
    if tuple(labels.shape) != expected:
        if len(labels.shape) and labels.shape[0] != x.shape[0]:
            raise ValueError(
                f"Expected input batch_size ({x.shape[0]}) to match target batch_size ({labels.shape[0]})."
            )
        raise RuntimeError(
            f"{name}: expected target of shape {expected} for input of shape {tuple(x.shape)},"
            f" got {tuple(labels.shape)}"
        )
    classes = x.shape[1]
    if weight is not None:
        if weight.requires_grad and is_grad_enabled():
            raise RuntimeError(
                f"{name} is not differentiable with respect to argument 'weight'."
                " This input cannot have requires_grad True."
            )
        if tuple(weight.shape) != (classes,):
            raise RuntimeError(
                f"weight tensor should be defined either for all {classes} classes or no classes but got weight tensor"
                f" of shape: {list(weight.shape)}"
            )
        if weight.dtype is not x.dtype:
            raise RuntimeError(f"expected scalar type {x.dtype.name} but found {weight.dtype.name}")
    array = labels._array
    if array.size and (array.min() < 0 or array.max() >= classes):
        wrong = array[((array < 0) | (array >= classes)) & (array != ignore_index)]
        if wrong.size:
            raise IndexError(
                f"Target {int(wrong.ravel()[0])} is out of bounds: {name} expects indices in [0, {classes})"
            )


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: Any = None,
    ignore_index: int = -100,
    reduce: Any = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Return the cross entropy between scores and classes.

    Args:
        input: scores (logits), (N, C, *) or (C,).
        target: class indices of int64, (N, *) or (); or class probabilities of the input's shape and type.
        weight: a factor for each class, (C,).
        size_average: PyTorch's older form of `reduction`.
        ignore_index: a class index that counts for nothing.
        reduce: PyTorch's older form of `reduction`.
        reduction: `"none"`, `"mean"` or `"sum"`.
        label_smoothing: in [0, 1]: how much of the target is spread evenly over all classes.

    Raises:
        IndexError: a class index is outside [0, C).
        RuntimeError, ValueError: shapes, types or sizes do not fit.
    """
    reduction = _reduction("cross_entropy", reduction, size_average, reduce)
    require_tensor("cross_entropy", "input", input)
    require_tensor("cross_entropy", "target", target)
    if not 0 <= label_smoothing <= 1:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}")
    if not input.is_floating_point():
        raise NotImplementedError(f"cross_entropy: expected input to be floating point scores, got {input.dtype}")
    axis = 0 if input.ndim == 1 else 1
    log_probabilities = log_softmax(input, axis)
    if target.shape == input.shape and target.is_floating_point():
        return _soft_cross_entropy(log_probabilities, target, weight, reduction, label_smoothing, axis)
    if target.is_floating_point():
        raise RuntimeError(
            f"cross_entropy: expected target to hold class indices (torch.int64) or probabilities of shape"
            f" {tuple(input.shape)}, got {target.dtype} of shape {tuple(target.shape)}"
        )
    hard = nll_loss(log_probabilities, target, weight, ignore_index=ignore_index, reduction=reduction)
    if not label_smoothing:
        return hard
    smooth = _smooth_loss(log_probabilities, target, weight, ignore_index, reduction, axis)
    share = label_smoothing / input.shape[axis]
    return hard * (1 - label_smoothing) + smooth * share


def _per_class(weight: Tensor, like: Tensor, axis: int) -> Tensor:
    """Return class weights in a shape that broadcasts along the class axis."""
    return weight.reshape((-1,) + (1,) * (like.ndim - axis - 1))


def _smooth_loss(
    log_probabilities: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, reduction: str, axis: int
) -> Tensor:
    """Return the loss against all classes alike, reduced as the hard loss is."""
    weighted = log_probabilities if weight is None else log_probabilities * _per_class(weight, log_probabilities, axis)
    losses = (-weighted.sum(axis)).masked_fill(target == ignore_index, 0)
    if reduction != "mean":
        return _reduced(losses, reduction)
    kept: Any = target != ignore_index
    if weight is None:
        return losses.sum() / kept.sum()
    return losses.sum() / weight[target.masked_fill(~kept, 0)].masked_fill(~kept, 0).sum()


def _soft_cross_entropy(
    log_probabilities: Tensor, target: Tensor, weight: Tensor | None, reduction: str, smoothing: float, axis: int
) -> Tensor:
    classes = log_probabilities.shape[axis]
    if smoothing:
        target = target * (1 - smoothing) + full_like(target, smoothing / classes)
    products = log_probabilities * target
    if weight is not None:
        products = products * _per_class(weight, products, axis)
    losses = -products.sum(axis)
    if reduction == "mean":
        return losses.sum() / max(log_probabilities.numel() // classes, 1)
    return _reduced(losses, reduction)


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """Return class indices as rows of zeros with a one, int64, in a new last dimension."""
    if tensor.dtype is not dtypes.int64:
        raise RuntimeError(f"one_hot is only applicable to index tensor of type LongTensor, got {tensor.dtype}")
    if num_classes == -1:
        num_classes = int(tensor.max().item()) + 1
    if tensor.numel() and (tensor.min().item() < 0 or tensor.max().item() >= num_classes):
        raise RuntimeError(
            f"Class values must be in [0, {num_classes}), got {tensor.min().item()} to {tensor.max().item()}"
        )
    classes = tensor._wrap_like(tensor._xp.arange(num_classes))
    return arithmetic.eq(tensor.unsqueeze(-1), classes).long()
