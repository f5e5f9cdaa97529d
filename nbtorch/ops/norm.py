"""Normalisation: batch, group, instance, layer, RMS and local response."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..autograd.grad_mode import state
from ..autograd.graph import Node
from ..device import allocate, array_module, contiguous, kernels_for
from ..tensor import Tensor
from .operands import not_implemented, require_same_device, require_tensor, to_dtype
from .pad import ConstantPad


def _wide(array: Any) -> Any:
    """Return an array of halves in float32; others as they are."""
    return array.astype(np.float32) if array.dtype.itemsize < 4 else array


class ChannelNorm(Node):
    """(x - mean) / sqrt(variance + eps) · weight + bias for x of (N, C, *).

    Mean and variance are given, one of each for a channel, or taken over the batch (`groups` 0), or over the groups
    of channels of each sample.
    """

    saves_inputs = (0, 1)
    keeps_state = True
    fresh_gradients = True

    def __init__(self, groups: int, eps: float, mean: Any = None, variance: Any = None) -> None:
        self.groups, self.eps = int(groups), float(eps)
        self.given = mean is not None
        if mean is not None:
            self.mean, self.variance = mean.astype(np.float64), variance.astype(np.float64)
        self.name = "NativeGroupNormBackward0" if groups else "NativeBatchNormBackward0"

    def forward(self, x: Any, weight: Any, bias: Any) -> Any:
        rows, weight, bias = self._rows(x), self._wide(weight), self._wide(bias)
        y = allocate(rows.shape, rows.dtype, self.where)
        empty = array_module(self.where).empty
        count = len(x) * self.groups if self.groups else x.shape[1]
        self.rstd = empty(count)
        kernels = kernels_for(self.where, "channel_norm")
        if self.given:
            if x.size:
                kernels.channel_affine(rows, self.mean, self.variance, weight, bias, self.eps, y, self.rstd)
        else:
            self.mean, self.variance = empty(count), empty(count)
            if x.size:
                statistics = self.mean, self.variance, self.rstd
                kernels.channel_forward(rows, self.groups, weight, bias, self.eps, y, *statistics)
        y = y.reshape(x.shape)
        return y if y.dtype is x.dtype else y.astype(x.dtype, copy=False)

    def _rows(self, x: Any) -> Any:
        """Return x as (N, C, the product of the other extents), halves in float32."""
        x = contiguous(_wide(x), self.where)
        return x if x.ndim == 3 else x.reshape(x.shape[0], x.shape[1], math.prod(x.shape[2:]))

    def _wide(self, numbers: Any) -> Any:
        return contiguous(_wide(numbers), self.where)

    def track(self, running: Tensor | None, values: Any, momentum: float, factor: float = 1.0) -> None:
        """Move a running statistic towards new values, in place."""
        if running is not None:
            kernels_for(self.where, "channel_norm").track(running._array, values, momentum, factor)
            running._bump_version()

    def backward(self, grad: Tensor) -> Any:
        x, weight = self.saved_tensors
        if state.enabled:
            return self._recorded_backward(grad, x, weight)
        rows, grads, slopes = self._rows(x._array), self._rows(grad._array), self._wide(weight._array)
        result = allocate(rows.shape, rows.dtype, self.where)
        zeros = array_module(self.where).zeros
        grad_weight, grad_bias = zeros(slopes.shape, slopes.dtype), zeros(slopes.shape, slopes.dtype)
        if rows.size:
            kernels_for(self.where, "channel_norm").channel_backward(
                grads, rows, self.groups, self.given, slopes, self.mean, self.rstd, result, grad_weight, grad_bias
            )
        kind = weight._array.dtype
        return (
            grad._wrap_like(result.reshape(x._array.shape).astype(x._array.dtype, copy=False)),
            weight._wrap_like(grad_weight.astype(kind, copy=False)),
            weight._wrap_like(grad_bias.astype(kind, copy=False)),
        )

    def _grouped(self, flat: Tensor) -> tuple[int, ...]:
        """Return the shape of (N, C, length) with the channels of a group brought together."""
        samples, channels, length = flat.shape
        return samples, self.groups, channels // self.groups * length

    def _recorded_backward(self, grad: Tensor, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradients by operations that are recorded."""
        samples, channels = x.shape[:2]
        length = math.prod(x.shape[2:])
        flat, grads = (to_dtype(t, weight.dtype).reshape(samples, channels, length) for t in (x, grad))
        slopes = weight.reshape(-1, 1)
        if self.given:
            mean, rstd = (x._wrap_like(s.astype(weight._array.dtype).reshape(-1, 1)) for s in (self.mean, self.rstd))
            normal = (flat - mean) * rstd
            grad_x = grads * (slopes * rstd)
        else:
            shape, dims = (self._grouped(flat), (2,)) if self.groups else (flat.shape, (0, 2))
            normal, rstd = _normalized(flat.reshape(shape), dims, self.eps)
            weighted = (grads * slopes).reshape(shape)
            grad_x = _normal_gradient(weighted, normal, rstd, dims)
            normal = normal.reshape(flat.shape)
        return to_dtype(grad_x.reshape(x.shape), x.dtype), (grads * normal).sum((0, 2)), grads.sum((0, 2))


def _normalized(x: Tensor, dims: Any, eps: float, centred: bool = True) -> tuple[Tensor, Tensor]:
    """Return x less its mean (if `centred`), divided by its root mean square, and the inverse of the latter."""
    deviation = x - x.mean(dims, True) if centred else x
    rstd = ((deviation * deviation).mean(dims, True) + eps).rsqrt()
    return deviation * rstd, rstd


def _normal_gradient(grad: Tensor, normal: Tensor, rstd: Tensor, dims: Any, centred: bool = True) -> Tensor:
    """Return the gradient of what was normalised."""
    inner = grad - normal * (grad * normal).mean(dims, True)
    return rstd * (inner - grad.mean(dims, True) if centred else inner)


class LayerNorm(Node):
    """x normalised over its last dimensions, times weight plus bias; without `centred` only scaled (RMS)."""

    saves_inputs = (0, 1)
    keeps_state = True
    fresh_gradients = True

    def __init__(self, eps: float, centred: bool = True) -> None:
        self.eps, self.centred = eps, centred
        self.name = "NativeLayerNormBackward0" if centred else "MulBackward0"

    def forward(self, x: Any, weight: Any, bias: Any) -> Any:
        rows = self._rows(x, weight)
        y = allocate(rows.shape, rows.dtype, self.where)
        xp = array_module(self.where)
        self.mean, self.rstd = xp.empty(len(rows)), xp.empty(len(rows))
        scale, shift = [contiguous(_wide(a), self.where).reshape(-1) for a in (weight, bias)]
        kernels_for(self.where, "norm").layer_forward(
            rows, scale, shift, self.eps, self.centred, y, self.mean, self.rstd
        )
        y = y.reshape(x.shape)
        return y if y.dtype is x.dtype else y.astype(x.dtype, copy=False)

    def _rows(self, x: Any, weight: Any) -> Any:
        length = weight.size
        return contiguous(_wide(x), self.where).reshape(x.size // length if length else 0, length)

    def backward(self, grad: Tensor) -> Any:
        x, weight = self.saved_tensors
        if state.enabled:
            return self._recorded_backward(grad, x, weight)
        rows, grads = self._rows(x._array, weight._array), self._rows(grad._array, weight._array)
        xp, length = array_module(self.where), rows.shape[1]
        grad_x = allocate(rows.shape, rows.dtype, self.where)
        grad_weight, grad_bias = xp.zeros(length), xp.zeros(length)
        if rows.size:
            kernels_for(self.where, "norm").layer_backward(
                grads,
                rows,
                contiguous(_wide(weight._array), self.where).reshape(-1),
                self.mean,
                self.rstd,
                self.centred,
                grad_x,
                grad_weight,
                grad_bias,
            )
        affine = [
            weight._wrap_like(g.reshape(weight.shape).astype(weight._array.dtype)) for g in (grad_weight, grad_bias)
        ]
        return grad._wrap_like(grad_x.reshape(x.shape).astype(x._array.dtype, copy=False)), *affine

    def _recorded_backward(self, grad: Tensor, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradients by operations that are recorded."""
        wide, grads = to_dtype(x, weight.dtype), to_dtype(grad, weight.dtype)
        dims = tuple(range(-weight.ndim, 0))
        normal, rstd = _normalized(wide, dims, self.eps, self.centred)
        grad_x = _normal_gradient(grads * weight, normal, rstd, dims, self.centred)
        shape = weight.shape
        return to_dtype(grad_x, x.dtype), (grads * normal).sum_to_size(shape), grads.sum_to_size(shape)


def _affine(input: Tensor, weight: Tensor | None, bias: Tensor | None, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Return weight and bias, ones and zeros in the place of None."""
    if weight is not None and bias is not None:
        return weight, bias
    like = next((t for t in (weight, bias) if t is not None), input)
    return tuple(  # type: ignore[return-value]
        Tensor._filled(shape, number, like.dtype, input._device) if given is None else given
        for given, number in ((weight, 1), (bias, 0))
    )


def _require_types(name: str, input: Tensor, **others: Tensor | None) -> None:
    require_tensor(name, "input", input)
    if not input.is_floating_point():
        raise not_implemented(name, input.dtype, "a floating-point type")
    kind, where = input._array.dtype, input._device
    for argument, tensor in others.items():
        if tensor is None or (isinstance(tensor, Tensor) and tensor._array.dtype is kind and tensor._device is where):
            continue
        require_tensor(name, argument, tensor)
        require_same_device(name, input, tensor)
        if tensor.dtype is not input.dtype and (input.itemsize > 2 or tensor.itemsize != 4):
            raise RuntimeError(
                f"{name}: mixed dtype (CPU): all inputs must share same datatype, got {input.dtype} and {argument} of"
                f" {tensor.dtype}"
            )


def _require_channels(channels: int, **others: Tensor | None) -> None:
    for argument, tensor in others.items():
        if tensor is not None and tensor._array.size != channels:
            raise RuntimeError(f"{argument} should contain {channels} elements not {tensor.numel()}")


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise each channel of (N, C, *) over the batch and all positions.

    Args:
        input: (N, C, *).
        running_mean: (C,), used in evaluation; in training updated in place, or None.
        running_var: (C,), likewise (the unbiased variance).
        weight: (C,), multiplies the result.
        bias: (C,), is added.
        training: take mean and variance of the input rather than the running ones.
        momentum: the share of the new statistics in the running ones.
        eps: is added to the variance.

    Raises:
        ValueError: one value per channel only, in training; `eps` is negative, or zero in training.
        RuntimeError: sizes, types or devices do not fit; no running statistics in evaluation.

    Source: Ioffe and Szegedy, 2015, arXiv:1502.03167.
    """
    if eps <= 0 and (training or eps < 0):
        must = "positive during training" if training else "non-negative"
        raise ValueError(f"batch_norm eps must be {must}, but got {eps}")
    affine = {"running_mean": running_mean, "running_var": running_var, "weight": weight, "bias": bias}
    _require_types("batch_norm", input, **affine)
    channels = input.size(1)
    if training and input._array.size == channels:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {input.size()}")
    if training and eps <= 0:
        raise ValueError(f"batch_norm eps must be positive during training, but got {eps}")
    _require_channels(channels, **affine)
    if not training:
        for name in ("running_mean", "running_var"):
            if affine[name] is None:
                raise RuntimeError(f"batch_norm: {name} must be defined in evaluation mode")
    scale, shift = _affine(input, weight, bias, (channels,))
    if not training:
        assert running_mean is not None and running_var is not None
        return ChannelNorm(0, eps, running_mean._array, running_var._array)(input, scale, shift)
    node = ChannelNorm(0, eps)
    output = node(input, scale, shift)
    if input.numel():
        count = input.numel() // channels
        node.track(running_mean, node.mean, momentum)
        node.track(running_var, node.variance, momentum, count / (count - 1))
    return output


def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """Normalise groups of channels of each sample of (N, C, *); weight and bias, (C,), apply to channels.

    Source: Wu and He, 2018, arXiv:1803.08494.
    """
    _require_types("group_norm", input, weight=weight, bias=bias)
    if input.ndim < 2:
        raise RuntimeError(f"group_norm: Expected at least 2 dimensions for input tensor but received {input.ndim}")
    shape = list(input.shape)
    samples, channels = shape[:2]
    if samples * channels // num_groups * math.prod(shape[2:]) == 1:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {shape}")
    if channels % num_groups:
        raise RuntimeError(
            "Expected number of channels in input to be divisible by num_groups, but got input of shape"
            f" {shape} and num_groups={num_groups}"
        )
    for name, tensor in (("weight", weight), ("bias", bias)):
        if tensor is not None and tuple(tensor.shape) != (channels,):
            raise RuntimeError(
                f"Expected {name} to be a vector of size equal to the number of channels in input, but got {name} of"
                f" shape {list(tensor.shape)} and input of shape {shape}"
            )
    return ChannelNorm(num_groups, eps)(input, *_affine(input, weight, bias, (channels,)))


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise each channel of each sample of (N, C, *); arguments as for `batch_norm`.

    Source: Ulyanov et al., 2016, arXiv:1607.08022.
    """
    affine = {"running_mean": running_mean, "running_var": running_var, "weight": weight, "bias": bias}
    _require_types("instance_norm", input, **affine)
    channels = input.size(1)
    positions = math.prod(input.shape[2:])
    if use_input_stats and positions == 1:
        raise ValueError(f"Expected more than 1 spatial element when training, got input size {input.size()}")
    if not use_input_stats and (running_mean is None or running_var is None):
        raise RuntimeError("Expected running_mean and running_var to be defined when use_input_stats is false")
    if (running_mean is None) != (running_var is None):
        raise ValueError("instance_norm: running_mean and running_var must either both be None or neither be None")
    _require_channels(channels, **affine)
    scale, shift = _affine(input, weight, bias, (channels,))
    if not use_input_stats:
        assert running_mean is not None and running_var is not None
        return ChannelNorm(0, eps, running_mean._array, running_var._array)(input, scale, shift)
    node = ChannelNorm(channels, eps)
    output = node(input, scale, shift)
    if input.numel():
        node.track(running_mean, node.mean, momentum)
        node.track(running_var, node.variance, momentum, positions / (positions - 1))
    return output


def _normalized_shape(name: str, input: Tensor, shape: Any, **affine: Tensor | None) -> tuple[int, ...]:
    """Return the last dimensions that are normalised, checked."""
    if not isinstance(shape, Sequence):
        raise TypeError(f"{name}(): argument 'normalized_shape' must be tuple of ints, not {type(shape).__name__}")
    extents = tuple(map(int, shape))
    if not extents:
        raise RuntimeError(
            "Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one element, but got"
            " normalized_shape = []"
        )
    for argument, tensor in affine.items():
        if tensor is not None and tensor._array.shape != extents:
            raise RuntimeError(
                f"Expected {argument} to be of same shape as normalized_shape, but got {argument} of shape"
                f" {list(tensor.shape)} and normalized_shape = {list(extents)}"
            )
    if input._array.shape[-len(extents) :] != extents:
        raise RuntimeError(
            f"Given normalized_shape={list(extents)}, expected input with shape [*, {', '.join(map(str, extents))}],"
            f" but got input of size{list(input.shape)}"
        )
    return extents


def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise over the last dimensions, which are `normalized_shape`, then multiply by weight and add bias.

    Source: Ba et al., 2016, arXiv:1607.06450.
    """
    _require_types("layer_norm", input, weight=weight, bias=bias)
    extents = _normalized_shape("layer_norm", input, normalized_shape, weight=weight, bias=bias)
    return LayerNorm(eps)(input, *_affine(input, weight, bias, extents))


def rms_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """Divide by the root mean square of the last dimensions, which are `normalized_shape`, and multiply by weight.

    `eps` is by default the distance from 1 to the next number. Source: Zhang and Sennrich, 2019, arXiv:1910.07467.
    """
    _require_types("rms_norm", input, weight=weight)
    extents = _normalized_shape("rms_norm", input, normalized_shape, weight=weight)
    if eps is None:
        eps = float(np.finfo(np.float64 if input.itemsize == 8 else np.float32).eps)
    return LayerNorm(eps, centred=False)(input, *_affine(input, weight, None, extents))


def local_response_norm(input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """Return x / (k + alpha·m)^beta with the mean m of the squares of `size` neighbouring channels, (N, C, *).

    Source: Krizhevsky et al., "ImageNet classification with deep convolutional neural networks", 2012.
    """
    require_tensor("local_response_norm", "input", input)
    if input.ndim < 3:
        raise ValueError(f"Expected 3D or higher dimensionality input (got {input.ndim} dimensions)")
    if size < 1:
        raise RuntimeError(f"local_response_norm: size should be greater than zero, got {size}")
    if input.numel() == 0:
        return input
    if input.is_floating_point():
        return LocalResponseNorm(size, alpha, beta, k)(input)
    return input / (across_channels(input * input, size // 2, size) * (alpha / size) + k) ** beta


class LocalResponseNorm(Node):
    """x·(k + alpha·m)^-beta with the mean m of the squares of `size` neighbouring channels."""

    name = "DivBackward0"
    saves_inputs = (0,)
    keeps_state = True
    fresh_gradients = True
    in_float32 = True

    def __init__(self, size: int, alpha: float, beta: float, k: float) -> None:
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, x: Any) -> Any:
        self.base = _window_sums(x * x, self.size // 2, self.size)
        self.base *= self.alpha / self.size
        self.base += self.k
        if self.beta == 0.75:  # roots take a tenth of the time of powers
            root = array_module(self.where).sqrt(self.base)
            self.factor = 1 / (root * array_module(self.where).sqrt(root))
        else:
            self.factor = self.base**-self.beta
        return x * self.factor

    def backward(self, grad: Tensor) -> Tensor:
        x = self.saved_tensor
        behind, scale = self.size - 1 - self.size // 2, 2 * self.alpha * self.beta / self.size
        if state.enabled:
            base = across_channels(x * x, self.size // 2, self.size) * (self.alpha / self.size) + self.k
            factor = base**-self.beta
            return grad * factor - x * (across_channels(grad * x * factor / base, behind, self.size) * scale)
        result = grad._array * self.factor
        shared = result * x._array
        shared /= self.base
        shared = _window_sums(shared, behind, self.size)
        shared *= scale
        shared *= x._array
        result -= shared
        return grad._wrap_like(result)


def _window_sums(array: Any, before: int, size: int) -> Any:
    """Return for each channel of an array what `across_channels` returns for those of a tensor."""
    channels, sums = array.shape[1], array.copy()
    for offset in range(max(-before, 1 - channels), min(size - before, channels)):
        if offset:
            first, last = max(0, -offset), min(channels, channels - offset)
            sums[:, first:last] += array[:, first + offset : last + offset]
    return sums


def across_channels(squares: Tensor, before: int, size: int) -> Tensor:
    """Return the sums of `size` channels, of which the first lies `before` channels ahead; zeros beyond the ends."""
    widths = ((before, size - 1 - before), *((0, 0),) * (squares.ndim - 2))
    return ConstantPad(widths, 0)(squares).unfold(1, size, 1).sum(-1)
