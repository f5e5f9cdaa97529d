"""Functions of `torch.nn.functional`: argument forms and checks here, the work in `nbtorch.ops`.

A family with a file of its own beside this one lists its functions in the file's `__all__`, from which they come here.
"""

from __future__ import annotations

import warnings
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from nbtorch.kernels import geometry

from .. import dtypes
from ..autograd.grad_mode import no_grad
from ..ops import activation, arithmetic, loss, matmul
from ..ops.conv import convolution
from ..ops.dropout import Dropout
from ..ops.embedding import Bags, Embedding, EmbeddingBag
from ..ops.fold import Blocks, Fold, Unfold
from ..ops.grouped import grouped_mm as grouped_mm
from ..ops.norm import batch_norm as batch_norm
from ..ops.norm import group_norm as group_norm
from ..ops.norm import instance_norm as instance_norm
from ..ops.norm import layer_norm as layer_norm
from ..ops.norm import local_response_norm as local_response_norm
from ..ops.norm import rms_norm as rms_norm
from ..ops.operands import not_implemented, require_same_device, require_tensor, to_dtype
from ..ops.shape import broadcast_tensors
from ..ops.shuffle import ChannelShuffle, PixelShuffle, PixelUnshuffle
from ..ops.statistics import pdist as pdist
from ..random import numpy_generator, random_keys
from ..tensor import Tensor, normalize_dim
from . import grad as grad
from .arguments import Sizes, extents, require_rank
from .attention_functions import *  # noqa: F403
from .linear_cross_entropy import *  # noqa: F403
from .loss_functions import *  # noqa: F403
from .padding import *  # noqa: F403
from .pooling import *  # noqa: F403
from .sampling import *  # noqa: F403


@activation.entry("RReLU", "lower={lower}, upper={upper}", in_place=True)
def rrelu(
    input: Tensor, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False, inplace: bool = False
) -> Tensor:
    """Return x where it is positive, else x times a slope: drawn from [`lower`, `upper`] in training, else its mean.

    Xu et al., "Empirical evaluation of rectified activations in convolution network", 2015.
    """
    require_tensor("rrelu", "input", input)
    if lower > upper:
        raise RuntimeError("rrelu: Lower bound should be less than or equal to the upper bound")
    if not training or not input.is_floating_point():
        return activation.leaky_relu(input, (lower + upper) / 2, inplace)
    drawn = numpy_generator(None).uniform(lower, upper, tuple(input.shape))
    slopes = input._like_array(drawn).masked_fill(input.detach() > 0, 1)
    return input.mul_(slopes) if inplace else activation.RreluWithNoise()(input, slopes)


prelu, glu = activation.prelu, activation.glu

# every activation in the table of `ops/activation.py`, with its in-place form
globals().update(activation.functions())

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...


def _require_conv_types(operation: str, input: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    require_tensor(operation, "weight", weight)
    if bias is not None:
        require_tensor(operation, "bias", bias)
    dtype = input.dtype
    for name, tensor in ("weight", weight), ("bias", bias):
        if tensor is None:
            continue
        require_same_device(operation, input, tensor)
        if tensor.dtype is not dtype:
            raise RuntimeError(
                f"{operation}: Input type ({input.type()}) and {name} type ({tensor.type()}) should be the same"
            )
    if dtype is dtypes.bool:
        raise not_implemented(operation, dtype, "numbers")


def _require_int64(operation: str, dtype: dtypes.dtype) -> None:
    """Refuse the other integers, of which PyTorch has neither dilated nor transposed convolutions."""
    if dtype.category < 2 and dtype is not dtypes.int64:
        raise not_implemented(operation, dtype, "int64, floating point or complex")


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
    batched = require_rank(name, input, rank)
    _require_conv_types(name, input, weight, bias)
    _require_weight(name, weight, rank, groups)
    x = input if batched else input.unsqueeze(0)
    shape, weight_shape = x._array.shape, weight._array.shape
    out_channels, in_channels = weight_shape[0], weight_shape[1] * groups
    if out_channels % groups:
        raise RuntimeError(
            f"{name}: expected weight to have a number of output channels divisible by groups={groups},"
            f" got weight of shape {tuple(weight.shape)}"
        )
    if out_channels == 0:
        raise RuntimeError(f"{name}: weight must have at least one output channel, got shape {tuple(weight.shape)}")
    if shape[1] != in_channels:
        raise RuntimeError(
            f"Given groups={groups}, weight of size {list(weight.shape)}, expected input{list(input.shape)} to have"
            f" {in_channels} channels, but got {shape[1]} channels instead"
        )
    _require_bias(name, bias, out_channels)
    strides, dilations = extents(name, "stride", stride, rank), extents(name, "dilation", dilation, rank)
    pads = padding if isinstance(padding, str) else extents(name, "padding", padding, rank)
    before, size = _conv_geometry(name, shape[2:], weight_shape[2:], strides, pads, dilations)
    if max(dilations) > 1:
        _require_int64(name, x.dtype)
    output = convolution(x, weight, bias, strides, before, dilations, groups, False, size)
    return output if batched else output.squeeze(0)


@lru_cache(maxsize=4096)
def _conv_geometry(
    name: str,
    size: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...] | str,
    dilation: tuple[int, ...],
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the padding before each dimension and the extents of the output, once they are found to be possible."""
    pads = _conv_padding(name, padding, kernel, stride, dilation)
    return tuple([pair[0] for pair in pads]), geometry.conv_output_size(name, size, kernel, stride, pads, dilation)


def _conv_padding(
    name: str,
    padding: tuple[int, ...] | str,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
) -> tuple[tuple[int, int], ...]:
    """Return (before, after) pairs for tuples, `"valid"` and `"same"`."""
    if not isinstance(padding, str):
        return tuple([(p, p) for p in padding])
    if padding == "valid":
        return ((0, 0),) * len(kernel)
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


_conv_transpose_size = lru_cache(maxsize=4096)(geometry.conv_transpose_output_size)


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
    batched = require_rank(name, input, rank)
    _require_conv_types(name, input, weight, bias)
    _require_int64(name, input.dtype)
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
    size = _conv_transpose_size(name, tuple(x.shape[2:]), tuple(weight.shape[2:]), strides, pads, extra, dilations)
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


def conv_tbc(input: Tensor, weight: Tensor, bias: Tensor, pad: int = 0) -> Tensor:
    """Convolve sequences along their first dimension.

    Args:
        input: (T, N, C): time, batch, channels.
        weight: (kT, C, O).
        bias: (O,).
        pad: zeros before and after.

    Returns:
        (T + 2 pad - kT + 1, N, O).

    Raises:
        RuntimeError: shapes or types do not fit.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.conv_tbc.html
    """
    for name, tensor in (("input", input), ("weight", weight), ("bias", bias)):
        require_tensor("conv_tbc", name, tensor)
    if input.ndim != 3 or weight.ndim != 3:
        raise RuntimeError(
            "conv_tbc: input must have 3 dims: time, batch, in_channel, weight 3 dims: kernel width, in_channels,"
            f" out_channels; got {tuple(input.shape)} and {tuple(weight.shape)}"
        )
    return conv1d(input.permute(1, 2, 0), weight.permute(2, 1, 0), bias, padding=pad).permute(2, 0, 1)


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


def softmin(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """Return the softmax of the negated elements along `dim`."""
    require_tensor("softmin", "input", input)
    if dim is None:
        dim = _softmax_dim("softmin", input.ndim)
    return softmax(-input, dim, dtype=dtype)


def gumbel_softmax(logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1) -> Tensor:
    """Draw from the Gumbel-softmax distribution: the softmax of (logits + Gumbel noise) / `tau`.

    Args:
        logits: log-probabilities up to a constant, of any shape.
        tau: the temperature.
        hard: return one-hot vectors, with the gradient of the soft ones.
        eps: of no effect (deprecated).
        dim: the dimension of the classes.

    Source: Jang et al., 2016, arXiv:1611.01144.
    """
    require_tensor("gumbel_softmax", "logits", logits)
    if eps != 1e-10:
        warnings.warn("`eps` parameter is deprecated and has no effect.", stacklevel=2)
    noise = logits._like_array(numpy_generator(None).gumbel(size=tuple(logits.shape)))
    soft = softmax((logits + noise) / tau, dim)
    if not hard:
        return soft
    winners = soft.detach().max(dim, keepdim=True)[1]
    return soft.detach()._filled_like(0).scatter_(dim, winners, 1.0) - soft.detach() + soft


def _softmax(name: str, node: Any, input: Tensor, dim: int | None, dtype: Any) -> Tensor:
    require_tensor(name, "input", input)
    if dtype is not None:
        input = to_dtype(input, dtypes.as_dtype(dtype))
    if not input.is_floating_point():
        raise not_implemented(f"{name}_lastdim_kernel_impl", input.dtype, "a floating-point type")
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
    if not input.is_floating_point():
        mask = _kept(input, p, False) * (0.0 if p == 1 else 1 / (1 - p))
        return input.mul_(mask) if inplace else input * mask
    drop = Dropout(p, random_keys())
    return input.mul_(drop(input.new_ones(input.shape))) if inplace else drop(input)


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


def normalize(input: Tensor, p: float = 2.0, dim: Any = 1, eps: float = 1e-12, out: Tensor | None = None) -> Tensor:
    """Return the input divided by its norms along a dimension.

    Args:
        input: any shape.
        p: the order of the norm.
        dim: a dimension, or several.
        eps: the least norm that is divided by.
        out: where to write the result.
    """
    require_tensor("normalize", "input", input)
    result = input / input.norm(p, dim, True).clamp_min(eps)
    return result if out is None else out.copy_(result)


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """Return the cosines of the angles between vectors along a dimension.

    Args:
        x1: any shape.
        x2: a shape that broadcasts with it.
        dim: the dimension, counted in the common shape.
        eps: the least length that is divided by.

    Raises:
        RuntimeError: the common type is not floating point.
    """
    require_tensor("cosine_similarity", "x1", x1)
    require_tensor("cosine_similarity", "x2", x2)
    common = dtypes.common_dtype(x1.dtype, x1.ndim, x2.dtype, x2.ndim)
    if not common.is_floating_point:
        raise RuntimeError(f"expected common dtype to be floating point, yet common dtype is {common.name}")
    units = []
    for x in broadcast_tensors(to_dtype(x1, common), to_dtype(x2, common)):
        length = x.norm(2, dim, True).clone()
        with no_grad():
            length.clamp_(min=eps)
        units.append(x / length)
    return (units[0] * units[1]).sum(dim)


def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """Rearrange (*, C · r², H, W) to (*, C, H · r, W · r).

    Raises:
        RuntimeError: fewer than 3 dimensions, a factor that is not positive, or channels that it does not divide.
    """
    require_tensor("pixel_shuffle", "input", input)
    *_, channels, _, _ = _image_shape("pixel_shuffle", input, "upscale_factor", upscale_factor)
    r = upscale_factor
    if channels % (r * r):
        raise RuntimeError(
            f"pixel_shuffle expects its input's 'channel' dimension to be divisible by the square of upscale_factor={r}"
            f", but input.size(-3)={channels} is not"
        )
    return PixelShuffle(int(r))(input)


def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """Rearrange (*, C, H · r, W · r) to (*, C · r², H, W).

    Raises:
        RuntimeError: fewer than 3 dimensions, a factor that is not positive, or extents that it does not divide.
    """
    require_tensor("pixel_unshuffle", "input", input)
    *_, height, width = _image_shape("pixel_unshuffle", input, "downscale_factor", downscale_factor)
    r = downscale_factor
    if height % r or width % r:
        raise RuntimeError(
            f"pixel_unshuffle expects height and width to be divisible by downscale_factor={r}, but got"
            f" {height} and {width}"
        )
    return PixelUnshuffle(int(r))(input)


def _image_shape(name: str, input: Tensor, argument: str, factor: Any) -> tuple[int, ...]:
    """Check the input and the factor of pixel (un)shuffling; return the input's shape."""
    if isinstance(factor, bool) or not hasattr(factor, "__index__"):
        raise TypeError(f"{name}(): argument '{argument}' must be int, not {type(factor).__name__}")
    if input.ndim < 3:
        raise RuntimeError(
            f"{name} expects input to have at least 3 dimensions, but got input with {input.ndim} dimension(s)"
        )
    if factor <= 0:
        raise RuntimeError(f"{name} expects a positive {argument}, but got {factor}")
    return tuple(input.shape)


def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """Rearrange the channels of (N, C, *): of each of the groups the first, then of each the second, and so on.

    Raises:
        RuntimeError: fewer than 3 dimensions, a number of groups that is not positive or does not divide C.
    """
    require_tensor("channel_shuffle", "input", input)
    if input.ndim < 3:
        raise RuntimeError(f"channel_shuffle expects input with > 2 dims, but got input with sizes {list(input.shape)}")
    if groups <= 0:
        raise RuntimeError(f"Number of groups to divide channels in must be positive. Value of groups:{groups}")
    channels = input.shape[1]
    if channels % groups:
        raise RuntimeError(
            f"Number of channels must be divisible by groups. Got {channels} channels and {groups} groups."
        )
    return ChannelShuffle(groups)(input)


native_channel_shuffle = channel_shuffle


def _pair(operation: str, argument: str, value: Any, least: int) -> tuple[int, int]:
    """Return an int or two as two, and refuse those below `least`."""
    values = extents(operation, argument, value, 2)
    if min(values) < least:
        raise RuntimeError(f"{operation}: {argument} must be at least {least}, but got {values}")
    return values[0], values[1]


def _blocks(
    operation: str, size: tuple[int, int], kernel_size: Sizes, dilation: Sizes, padding: Sizes, stride: Sizes
) -> Blocks:
    blocks = Blocks(
        size,
        _pair(operation, "kernel_size", kernel_size, 1),
        _pair(operation, "dilation", dilation, 1),
        _pair(operation, "padding", padding, 0),
        _pair(operation, "stride", stride, 1),
    )
    if min(blocks.count) < 1:
        raise RuntimeError(
            f"{operation}: the array of sliding blocks for spatial size {size}, kernel_size={blocks.kernel},"
            f" dilation={blocks.dilation}, padding={blocks.padding}, stride={blocks.stride} would be {blocks.count},"
            " which is too small (non-positive)"
        )
    return blocks


def _require_blocks_of(operation: str, input: Tensor) -> None:
    """Refuse the types that PyTorch has no kernels for: integers."""
    if not (input.dtype.is_floating_point or input.dtype.is_complex or input.dtype is dtypes.bool):
        raise not_implemented(operation, input.dtype, "a floating-point or complex type, or bool")


def unfold(input: Tensor, kernel_size: Sizes, dilation: Sizes = 1, padding: Sizes = 0, stride: Sizes = 1) -> Tensor:
    """Return the sliding blocks of images as columns.

    Args:
        input: (N, C, H, W) or (C, H, W).
        kernel_size: extents of a block, an int or (kH, kW).
        dilation: distance between a block's elements.
        padding: zeros added on both sides.
        stride: step of the blocks.

    Returns:
        (N, C · kH · kW, L), L the number of blocks, or without N.

    Raises:
        RuntimeError: another rank, or no blocks.
    """
    require_tensor("unfold", "input", input)
    if input.ndim < 3:
        raise IndexError(f"unfold: expected input of 3 or 4 dimensions, got shape {tuple(input.shape)}")
    if input.ndim > 4 or 0 in input.shape[-3:]:
        raise RuntimeError(
            "Expected 3D or 4D (batch mode) tensor with possibly 0 batch size and other non-zero dimensions for input,"
            f" but got: {list(input.shape)}"
        )
    _require_blocks_of("im2col", input)
    blocks = _blocks("unfold", (input.shape[-2], input.shape[-1]), kernel_size, dilation, padding, stride)
    if input.ndim == 3:
        return Unfold(blocks)(input.unsqueeze(0)).squeeze(0)
    return Unfold(blocks)(input)


def fold(
    input: Tensor, output_size: Sizes, kernel_size: Sizes, dilation: Sizes = 1, padding: Sizes = 0, stride: Sizes = 1
) -> Tensor:
    """Sum blocks, given as columns, to images; the adjoint of `unfold`.

    Args:
        input: (N, C · kH · kW, L) or (C · kH · kW, L).
        output_size: extents of the images, an int or (H, W).
        kernel_size: extents of a block, an int or (kH, kW).
        dilation: distance between a block's elements.
        padding: elements cut off on both sides.
        stride: step of the blocks.

    Returns:
        (N, C, H, W), or without N.

    Raises:
        RuntimeError: another rank, or numbers of rows or columns that do not fit.
    """
    require_tensor("fold", "input", input)
    if input.ndim not in (2, 3) or 0 in input.shape[-2:]:
        raise RuntimeError(
            "Expected 2D or 3D (batch mode) tensor for input with possibly 0 batch size and non-zero dimensions for"
            f" input, but got: {list(input.shape)}"
        )
    _require_blocks_of("col2im", input)
    blocks = _blocks("fold", _pair("fold", "output_size", output_size, 1), kernel_size, dilation, padding, stride)
    rows, columns = input.shape[-2:]
    if rows % (blocks.kernel[0] * blocks.kernel[1]):
        raise RuntimeError(
            f"fold: expected size of input's dimension 1 to be divisible by the product of kernel_size={blocks.kernel},"
            f" but got {rows}"
        )
    if columns != blocks.count[0] * blocks.count[1]:
        raise RuntimeError(
            f"fold: expected size of input's last dimension to match the number of sliding blocks"
            f" {blocks.count[0]} * {blocks.count[1]}, but got {columns}"
        )
    if input.ndim == 2:
        return Fold(blocks)(input.unsqueeze(0)).squeeze(0)
    return Fold(blocks)(input)


def _require_probability(p: float) -> None:
    if not 0 <= p <= 1:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")


def _kept(input: Tensor, p: float, by_channel: bool) -> Tensor:
    """Return ones with probability 1 - p and zeros, for each element or for each channel of (N, C, *)."""
    shape = (*input.shape[:2], *[1] * (input.ndim - 2)) if by_channel else tuple(input.shape)
    return input._like_array(numpy_generator(None).random(shape) >= p)


def _feature_dropout(input: Tensor, p: float, training: bool, inplace: bool) -> Tensor:
    """Drop whole channels of (N, C, *)."""
    if not training or p == 0 or input.numel() == 0:
        return input
    if input.ndim < 2:
        raise RuntimeError(f"Feature dropout requires at least 2 dimensions in the input, got {input.ndim}")
    mask = _kept(input, p, True)
    if p < 1:
        mask = mask / (1 - p)
    return input.mul_(mask) if inplace else input * mask


def _warn_of_rank(name: str, input: Tensor, expected: str) -> None:
    warnings.warn(
        f"{name}: Received a {input.ndim}-D input, which is deprecated and will result in an error in a future release."
        f" Please use dropout instead: {name} provides channel-wise dropout on inputs of {expected}.",
        UserWarning,
        stacklevel=3,
    )


def dropout1d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zero channels of (N, C, L) or (C, L) with probability `p` and scale the others by `1 / (1 - p)`.

    Raises:
        ValueError: `p` outside of [0, 1].
        RuntimeError: another rank.
    """
    _require_probability(p)
    if input.ndim not in (2, 3):
        raise RuntimeError(f"dropout1d: Expected 2D or 3D input, but received a {input.ndim}D input")
    return _unbatched(input, input.ndim == 2, p, training, inplace)


def dropout2d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zero channels of (N, C, H, W), or (with a warning) of (N, C, L), and scale the others by `1 / (1 - p)`.

    Raises:
        ValueError: `p` outside of [0, 1].
    """
    _require_probability(p)
    if input.ndim not in (3, 4):
        _warn_of_rank("dropout2d", input, "3 or 4 dimensions")
    if input.ndim == 3:
        warnings.warn(
            "dropout2d: Received a 3D input, which is taken as (N, C, L). A future release will take it as (C, H, W),"
            " without a batch dimension: please switch to using dropout1d instead.",
            UserWarning,
            stacklevel=2,
        )
    return _feature_dropout(input, p, training, inplace)


def dropout3d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zero channels of (N, C, D, H, W) or (C, D, H, W) with probability `p` and scale the others by `1 / (1 - p)`.

    Raises:
        ValueError: `p` outside of [0, 1].
    """
    _require_probability(p)
    if input.ndim not in (4, 5):
        _warn_of_rank("dropout3d", input, "4 or 5 dimensions")
    return _unbatched(input, input.ndim != 5, p, training, inplace)


def _unbatched(input: Tensor, without_batch: bool, p: float, training: bool, inplace: bool) -> Tensor:
    if not without_batch:
        return _feature_dropout(input, p, training, inplace)
    result = _feature_dropout(input.unsqueeze(0), p, training, inplace)
    return input if inplace else result.squeeze(0)


def alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """Set elements to SELU's negative limit with probability `p`, then scale and shift so that mean and variance stay.

    Raises:
        ValueError: `p` outside of [0, 1].
    """
    _require_probability(p)
    return _alpha_dropout(input, p, training, inplace, False)


def feature_alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """Do as `alpha_dropout` with whole channels of (N, C, *).

    Raises:
        ValueError: `p` outside of [0, 1].
        RuntimeError: fewer than 2 dimensions.
    """
    _require_probability(p)
    return _alpha_dropout(input, p, training, inplace, True)


def _alpha_dropout(input: Tensor, p: float, training: bool, inplace: bool, by_channel: bool) -> Tensor:
    if not training or p == 0 or input.numel() == 0:
        return input
    if by_channel and input.ndim < 2:
        raise RuntimeError(f"Feature dropout requires at least 2 dimensions in the input, got {input.ndim}")
    if p == 1:
        return input.mul_(0) if inplace else input * 0
    limit = -1.7580993408473766  # of SELU, for large negative numbers
    scale = 1 / ((limit * limit * p + 1) * (1 - p)) ** 0.5
    kept = _kept(input, p, by_channel)
    shift = (kept - (1 - p)) * (limit * scale)
    return input.mul_(kept * scale).add_(shift) if inplace else input * (kept * scale) + shift


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return `input1 @ weight[k] @ input2 + bias[k]` for each k.

    Args:
        input1: (*, I).
        input2: (*, J).
        weight: (O, I, J).
        bias: (O,) or None.

    Returns:
        (*, O).

    Raises:
        RuntimeError: shapes that do not fit.
    """
    if weight.ndim != 3 or input1.shape[:-1] != input2.shape[:-1]:
        raise RuntimeError(
            "bilinear(): expected inputs alike but for their last dimension and a weight of 3 dimensions, got"
            f" {tuple(input1.shape)}, {tuple(input2.shape)} and {tuple(weight.shape)}"
        )
    for number, x in ((1, input1), (2, input2)):
        if x.shape[-1] != weight.shape[number]:
            raise RuntimeError(
                f"bilinear(): input{number} size does not match weight size: got {x.shape[-1]} but expected"
                f" {weight.shape[number]}"
            )
    if bias is not None and tuple(bias.shape) != (weight.shape[0],):
        raise RuntimeError(
            f"bilinear(): bias size does not match weight size: got {tuple(bias.shape)} but expected {weight.shape[0]}"
        )
    rows, columns = input1.reshape(-1, weight.shape[1]), input2.reshape(-1, weight.shape[2])
    halfway = (rows @ weight).transpose(0, 1)  # (batch, O, J)
    result = (halfway @ columns.unsqueeze(2)).squeeze(2).reshape((*input1.shape[:-1], weight.shape[0]))
    return result if bias is None else result + bias


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Return rows of a table.

    Args:
        input: row numbers, int32 or int64 of any shape.
        weight: the table, (V, D).
        padding_idx: a row that gets no gradient; negative numbers count from the end.
        max_norm: rows that are picked and longer are first scaled down to this norm, in place.
        norm_type: the order of that norm.
        scale_grad_by_freq: divide the gradient of a row by how often it is picked.
        sparse: accepted for PyTorch's sake; gradients are dense.

    Returns:
        (*, D).

    Raises:
        IndexError: a row number outside of the table.
        RuntimeError: another type of row numbers, or a table that is no matrix.
        AssertionError: `padding_idx` lies outside of the table.
    """
    require_tensor("embedding", "input", input)
    require_tensor("embedding", "weight", weight)
    if padding_idx is not None:
        if not -weight.size(0) <= padding_idx < weight.size(0):
            raise AssertionError(
                f"Padding_idx must be within num_embeddings: expected it in [-{weight.size(0)}, {weight.size(0)}),"
                f" got {padding_idx}"
            )
        padding_idx %= weight.size(0)
    if weight.ndim != 2:
        raise RuntimeError(f"embedding: 'weight' must be 2-D, got shape {tuple(weight.shape)}")
    if input.dtype not in (dtypes.int32, dtypes.int64):
        raise RuntimeError(f"embedding: expected indices of type torch.int64 or torch.int32, got {input.dtype}")
    require_same_device("embedding", weight, input)
    indices = input._array
    if _reach_beyond(indices, weight.size(0)):
        raise IndexError(f"embedding: index out of range in self: expected indices in [0, {weight.size(0)})")
    if max_norm is not None and indices.size:
        _shorten_rows(weight, indices, max_norm, norm_type)
    return Embedding(indices, -1 if padding_idx is None else padding_idx, scale_grad_by_freq)(weight)


def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """Return sums, means or maxima of bags of rows of a table; zeros for an empty bag.

    Args:
        input: row numbers, int32 or int64: (B, n), each row a bag, or (n,), cut into bags by `offsets`.
        weight: the table, (V, D).
        offsets: where each bag begins in a flat `input`, (B,).
        max_norm: rows that are picked and longer are first scaled down to this norm, in place.
        norm_type: the order of that norm.
        scale_grad_by_freq: divide the gradient of a row by how often it is picked.
        mode: `sum`, `mean` or `max`.
        sparse: accepted for PyTorch's sake; gradients are dense.
        per_sample_weights: factors of the rows of sums, in the shape of `input`.
        include_last_offset: whether `offsets` ends with where the last bag ends, (B + 1,).
        padding_idx: a row that counts in no bag and gets no gradient; negative numbers count from the end.

    Returns:
        (B, D).

    Raises:
        ValueError: shapes or options that do not go together.
        NotImplementedError: factors for means or maxima.
        RuntimeError: row numbers or offsets out of range, or another type.
    """
    if weight.dtype is dtypes.int64 and input.is_floating_point():
        warnings.warn(
            "Argument order of nn.functional.embedding_bag was changed. Usage `embedding_bag(weight, input, ...)` is"
            " deprecated, and should now be `embedding_bag(input, weight, ...)`.",
            UserWarning,
            stacklevel=2,
        )
        weight, input = input, weight
    if per_sample_weights is not None and input.shape != per_sample_weights.shape:
        raise ValueError(
            f"embedding_bag: If per_sample_weights ({per_sample_weights.shape}) is not None, then it must have the same"
            f" shape as the input ({input.shape})"
        )
    if weight.dim() != 2:
        raise ValueError(f"embedding_bag: weight has to be a 2D Tensor, but got Tensor of dimension {weight.dim()}")
    starts = _bag_starts(input, offsets)
    if mode not in ("sum", "mean", "max"):
        raise ValueError(f"embedding_bag: mode has to be one of sum, mean or max, got {mode!r}")
    if mode == "max" and scale_grad_by_freq:
        raise ValueError("embedding_bag: max mode does not support scaling the gradient by the frequency")
    if mode == "max" and sparse:
        raise ValueError("embedding_bag: max mode does not support sparse weights")
    tensors = [input, weight, *[t for t in (offsets, per_sample_weights) if t is not None]]
    require_same_device("embedding_bag", *tensors)
    _require_bag_types(input, weight, starts, per_sample_weights)
    indices = input._array.reshape(-1)
    if _reach_beyond(indices, weight.shape[0]):
        place = int(((indices < 0) | (indices >= weight.shape[0])).argmax())
        raise RuntimeError(
            f"embedding_bag: Index {place} of input takes value {int(indices[place])} which is not in the valid range"
            f" [0, {weight.shape[0]})"
        )
    if max_norm is not None and indices.size:
        _shorten_rows(weight, indices, max_norm, norm_type)
    if per_sample_weights is not None and mode != "sum":
        raise NotImplementedError(
            "embedding_bag: per_sample_weights was not None. per_sample_weights is only supported for mode='sum'"
            f" (got mode='{mode}')."
        )
    bounds = _bag_bounds(weight._xp, starts, indices.size, include_last_offset and input.dim() == 1)
    if padding_idx is not None and not -weight.shape[0] <= padding_idx < weight.shape[0]:
        raise RuntimeError(
            f"embedding_bag: padding_idx must be within the number of embeddings, {-weight.shape[0]} through"
            f" {weight.shape[0] - 1}, but got {padding_idx}"
        )
    padding = -1 if padding_idx is None else padding_idx % weight.shape[0]
    flat = indices.astype(np.int64, copy=False)
    bags = EmbeddingBag(Bags(weight._xp, flat, bounds, padding, mode, bool(scale_grad_by_freq)))
    return bags(weight) if per_sample_weights is None else bags(weight, per_sample_weights.reshape(-1))


def _reach_beyond(indices: Any, count: int) -> bool:
    """Return whether an index lies outside of [0, count). Without its sign a negative one is huge: one look tells."""
    return bool(indices.size and indices.astype(np.int64, copy=False).view(np.uint64).max() >= count)


def _bag_starts(input: Tensor, offsets: Tensor | None) -> Any:
    """Return where the bags begin, as an array."""
    if input.dim() == 2:
        if offsets is not None:
            raise ValueError(
                "embedding_bag: if input is 2D, then offsets has to be None, as input is treated is a mini-batch of"
                f" fixed length sequences. However, found offsets of type {type(offsets)}"
            )
        if input.shape[1] == 0:
            raise RuntimeError(f"embedding_bag: step must be nonzero: the bags are empty, got {tuple(input.shape)}")
        return input._xp.arange(0, input.numel(), input.shape[1]).astype(input._array.dtype)
    if input.dim() != 1:
        raise ValueError(f"embedding_bag: input has to be 1D or 2D Tensor, but got Tensor of dimension {input.dim()}")
    if offsets is None:
        raise ValueError("embedding_bag: offsets has to be a 1D Tensor but got None")
    if offsets.dim() != 1:
        raise ValueError(f"embedding_bag: offsets has to be a 1D Tensor, got {offsets.dim()} dimensions")
    return offsets._array


def _require_bag_types(input: Tensor, weight: Tensor, starts: Any, per_sample_weights: Tensor | None) -> None:
    kinds = input._array.dtype, starts.dtype
    if np.result_type(*kinds) not in (np.int32, np.int64):
        raise RuntimeError(f"embedding_bag: expected input and offsets of type torch.int64 or torch.int32, got {kinds}")
    if not weight.is_floating_point():
        raise RuntimeError(f"embedding_bag: expected weight of a floating-point type, got {weight.dtype}")
    if per_sample_weights is not None and per_sample_weights.dtype is not weight.dtype:
        raise RuntimeError(
            f"embedding_bag: expected per_sample_weights of type {weight.dtype}, that of weight,"
            f" got {per_sample_weights.dtype}"
        )


def _bag_bounds(xp: Any, starts: Any, count: int, complete: bool) -> Any:
    """Return where the bags begin, and at the end where the last one ends, as an array of int64."""
    if complete and len(starts) == 0:
        raise RuntimeError("embedding_bag: include_last_offset: number of offset should be at least 1")
    bounds = starts.astype(np.int64)
    if len(bounds) and bounds[0] != 0:
        raise RuntimeError(f"embedding_bag: offsets[0] has to be 0, got {int(bounds[0])}")
    if len(bounds) and bounds[-1] > count:
        raise RuntimeError(
            f"embedding_bag: offsets[-1] can not be greater than input's length {count}, got {int(bounds[-1])}"
        )
    if (bounds[1:] < bounds[:-1]).any():
        raise RuntimeError("embedding_bag: offsets have to ascend")
    return bounds if complete else xp.concatenate([bounds, xp.full(1, count, np.int64)])


def _shorten_rows(weight: Tensor, indices: Any, max_norm: float, norm_type: float) -> None:
    """Scale rows of a table down to a norm, in place."""
    picked = weight._wrap_like(weight._xp.unique(indices))
    with no_grad():
        rows = weight.detach()[picked]
        norms = rows.norm(norm_type, 1, True)
        weight[picked] = arithmetic.where(norms > max_norm, rows * (max_norm / (norms + 1e-7)), rows)
