"""Normalisation of channels on CUDA: the functions of `nbtorch.kernels.cpu.channel_norm`.

Four passes of `nbtorch.kernels.cuda.norm` do it, by rows of one channel each, or by columns where a row is one element:
moments, affine map, dot products, linear combination. Between them the statistics of rows are brought together.
"""

from typing import Any

import numpy as np
from nbtorch.kernels.cuda import norm, target


def channel_forward(
    x: Any, groups: int, weight: Any, bias: Any, eps: float, y: Any, mean: Any, variance: Any, rstd: Any
) -> None:
    """Write (x - mean)·rstd·weight + bias, and mean, biased variance and 1 / sqrt(variance + eps)."""
    samples, channels, length = x.shape
    rows, kind = _rows(x, groups)
    shape = (rows.shape[0] // channels, channels) if kind == "row" else (1, channels)
    means, squares = (_module().empty(shape) for _ in range(2))
    getattr(norm, f"{kind}_moments")(rows, means.reshape(-1), squares.reshape(-1))
    inside, axis = (length if kind == "row" else samples), 0
    if groups:
        axis, shape = 2, (samples, groups, channels // groups)
        means, squares = means.reshape(shape), squares.reshape(shape)
    center = means.mean(axis, keepdims=True)
    # the deviations of rows' means from the common one add to those inside of rows (Chan et al., 1979)
    total = squares.sum(axis) + inside * ((means - center) ** 2).sum(axis)
    mean[...] = center.reshape(mean.shape)
    variance[...] = (total / (inside * shape[axis])).reshape(mean.shape)
    rstd[...] = 1 / _module().sqrt(variance + eps)
    _affine(rows, kind, groups, channels, mean, rstd, weight, bias, y)


def channel_affine(x: Any, mean: Any, variance: Any, weight: Any, bias: Any, eps: float, y: Any, rstd: Any) -> None:
    """Write (x - mean)·rstd·weight + bias with given mean and variance, and 1 / sqrt(variance + eps)."""
    rstd[...] = 1 / _module().sqrt(variance.astype(np.float64) + eps)
    rows, kind = _rows(x, 0)
    _affine(rows, kind, 0, x.shape[1], mean.astype(np.float64), rstd, weight, bias, y)


def channel_backward(
    grad: Any,
    x: Any,
    groups: int,
    given: bool,
    weight: Any,
    mean: Any,
    rstd: Any,
    grad_x: Any,
    grad_weight: Any,
    grad_bias: Any,
) -> None:
    """Write the gradients by the input, weight and bias; `given` tells that the statistics were constants."""
    channels = x.shape[1]
    (rows, kind), (grads, _) = _rows(x, groups), _rows(grad, groups)
    count = rows.shape[0] // channels if kind == "row" else 1
    center, inverse = (_per_row(values, groups, channels, count) for values in (mean, rstd))
    sums, dots = (_module().empty((count, channels)) for _ in range(2))
    getattr(norm, f"{kind}_dots")(grads, rows, center, sums.reshape(-1), dots.reshape(-1))
    weights = _per_row(weight.astype(np.float64), 0, channels, count).reshape(sums.shape)
    slopes = inverse.reshape(sums.shape)
    grad_weight[...], grad_bias[...] = (dots * slopes).sum(0), sums.sum(0)
    if given:
        of_x = shift = (sums * 0).reshape(-1)
    else:
        size = x.size // mean.size
        of_x = _shared(weights * dots, groups, channels) * -(inverse**3) / size
        shift = _shared(weights * sums, groups, channels) * -inverse / size
    result = grad_x.reshape(rows.shape)
    getattr(norm, f"{kind}_combine")(grads, rows, center, (weights * slopes).reshape(-1), of_x, shift, result)


def track(running: Any, values: Any, momentum: float, factor: float) -> None:
    """Move running statistics towards new ones (the mean over the samples), times a factor, in place."""
    new = values.reshape(-1, running.size).mean(0) * factor
    running[...] = (1 - momentum) * running + momentum * new


def catalogue(dtype: np.dtype) -> dict[str, target.Kernel]:
    """Return nothing: the kernels are those of `norm`."""
    return {}


def _module() -> Any:
    """Return the module of the arrays."""
    if target.SIMULATOR:
        return np
    import cupy

    return cupy


def _rows(x: Any, groups: int) -> tuple[Any, str]:
    """Return x as rows of one channel each, or as a matrix whose columns are channels; and which of them it is."""
    samples, channels, length = x.shape
    if not groups and length == 1:
        return x.reshape(samples, channels), "column"
    return x.reshape(samples * channels, length), "row"


def _affine(
    rows: Any, kind: str, groups: int, channels: int, mean: Any, rstd: Any, weight: Any, bias: Any, y: Any
) -> None:
    count = rows.shape[0] // channels if kind == "row" else 1
    center, inverse = (_per_row(values, groups, channels, count) for values in (mean, rstd))
    slopes, shift = (_per_row(values.astype(np.float64), 0, channels, count) for values in (weight, bias))
    getattr(norm, f"{kind}_affine")(rows, center, inverse * slopes, shift, y.reshape(rows.shape))


def _per_row(values: Any, groups: int, channels: int, samples: int) -> Any:
    """Return numbers of channels, or of each sample's groups, for every row."""
    if groups:
        return _module().repeat(values.reshape(-1), channels // groups)
    return _module().tile(values.reshape(-1), samples)


def _shared(values: Any, groups: int, channels: int) -> Any:
    """Return, for every row, the sum of values of rows over what shares statistics."""
    samples = values.shape[0]
    if not groups:
        return _module().tile(values.sum(0), samples)
    sums = values.reshape(samples, groups, channels // groups).sum(2)
    return _per_row(sums, groups, channels, samples)
