"""The losses of `torch.nn.functional`: argument forms and checks here, the work in `nbtorch.ops`."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

from .. import dtypes
from ..autograd.grad_mode import is_grad_enabled, no_grad
from ..creation import as_tensor, ones_like
from ..ops import loss
from ..ops.arithmetic import eq, minimum, ne, where
from ..ops.ctc import CtcLoss
from ..ops.operands import (
    broadcast_shape,
    is_scalar,
    not_implemented,
    require_floating_point,
    require_same_device,
    require_tensor,
    to_dtype,
)
from ..ops.shape import broadcast_tensors
from ..ops.special import xlogy
from ..tensor import Tensor

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cosine_embedding_loss",
    "cross_entropy",
    "ctc_loss",
    "gaussian_nll_loss",
    "hinge_embedding_loss",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "margin_ranking_loss",
    "mse_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "nll_loss",
    "pairwise_distance",
    "poisson_nll_loss",
    "smooth_l1_loss",
    "soft_margin_loss",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
]


_REDUCTIONS = ("none", "mean", "sum")


def _reduction(name: str, reduction: str, size_average: Any = None, reduce: Any = None) -> str:
    """Return the reduction that is asked for, also by PyTorch's older pair of flags."""
    if reduction in _REDUCTIONS and size_average is None and reduce is None:
        return reduction
    if size_average is not None or reduce is not None:
        return reduction_of_old_arguments(size_average, reduce)
    if reduction == "elementwise_mean":
        warnings.warn("reduction='elementwise_mean' is deprecated. Please use reduction='mean' instead.", stacklevel=3)
        return "mean"
    raise ValueError(f"{reduction} is not a valid value for reduction: {name} expects 'none', 'mean' or 'sum'")


def reduction_of_old_arguments(size_average: bool | None, reduce: bool | None) -> str:
    """Return the reduction that the arguments of PyTorch before 0.4.1 stand for."""
    averaged = "sum" if size_average is not None and not size_average else "mean"
    reduction = "none" if reduce is not None and not reduce else averaged
    warnings.warn(
        f"size_average and reduce args will be deprecated, please use reduction='{reduction}' instead.", stacklevel=4
    )
    return reduction


def reduce_losses(values: Tensor, reduction: str) -> Tensor:
    """Return losses as they are, their mean or their sum."""
    if reduction == "none":
        return values
    return values.mean() if reduction == "mean" else values.sum()


def _require_constant(name: str, argument: str, tensor: Any) -> None:
    """Refuse a tensor that wants a gradient where there is none."""
    if isinstance(tensor, Tensor) and tensor.requires_grad and is_grad_enabled():
        raise RuntimeError(
            f"The function '{name}' is not differentiable with respect to argument '{argument}'. This input cannot have"
            " requires_grad True."
        )


def _require_sized(name: str, input: Any, target: Any) -> None:
    """Refuse inputs that are no tensors where PyTorch asks for their sizes first: with an AttributeError."""
    for argument, value in (("target", target), ("input", input)):
        if not isinstance(value, Tensor):
            raise AttributeError(f"{name}(): argument '{argument}' must be Tensor, not {type(value).__name__}")


def _paired(name: str, input: Tensor, target: Tensor) -> None:
    """Refuse inputs that are no tensors, and warn of shapes that differ."""
    if not (isinstance(input, Tensor) and isinstance(target, Tensor)):
        _require_sized(name, input, target)
    if input._array.shape != target._array.shape:
        warnings.warn(
            f"Using a target size ({target.size()}) that is different to the input size ({input.size()}). This will"
            " likely lead to incorrect results due to broadcasting. Please ensure they have the same size.",
            UserWarning,
            stacklevel=3,
        )


def _common(name: str, input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return a pair in their common type and shape."""
    x, y = input._array, target._array
    if x.dtype is y.dtype and x.dtype.kind == "f" and x.shape == y.shape and input._device is target._device:
        return input, target
    require_same_device(name, input, target)
    common = dtypes.common_dtype(input.dtype, input._array.ndim, target.dtype, target._array.ndim)
    if not common.is_floating_point:
        raise not_implemented(name, common, "a floating-point type")
    a, b = to_dtype(input, common), to_dtype(target, common)
    if a._array.shape != b._array.shape:
        a, b = broadcast_tensors(a, b)
    return a, b


def _require_weight_like(weight: Tensor, input: Tensor) -> None:
    if weight.shape != input.shape:
        raise ValueError(
            f"Weights and input must have the same size: got weights of {tuple(weight.shape)} and input of"
            f" {tuple(input.shape)}"
        )


def _weighted(values: Tensor, weight: Tensor, reduction: str) -> Tensor:
    """Return values times weights, reduced; the mean is divided by the sum of the weights."""
    values = values * weight
    return values.sum() / weight.sum() if reduction == "mean" else reduce_losses(values, reduction)


def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """Return the squared differences, their mean or their sum.

    Args:
        input: any shape.
        target: a shape that broadcasts with it; a warning where they differ.
        size_average: PyTorch's older form of `reduction`.
        reduce: PyTorch's older form of `reduction`.
        reduction: `"none"`, `"mean"` or `"sum"`.
        weight: a factor for each element, of the input's shape; the mean is divided by their sum.
    """
    _paired("mse_loss", input, target)
    reduction = _reduction("mse_loss", reduction, size_average, reduce)
    a, b = _common("mse_loss", input, target)
    if weight is None:
        return loss.MseLoss(reduction)(a, b)
    _require_weight_like(weight, input)
    return _weighted((a - b) ** 2, weight, reduction)


def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """Return the absolute differences, their mean or their sum; arguments as for `mse_loss`."""
    _paired("l1_loss", input, target)
    reduction = _reduction("l1_loss", reduction, size_average, reduce)
    if weight is not None:
        _require_weight_like(weight, input)
        return _weighted((input - target).abs(), weight, reduction)
    return _l1(input, target, reduction)


def _l1(input: Tensor, target: Tensor, reduction: str) -> Tensor:
    if not (input.is_floating_point() and target.is_floating_point()):
        return reduce_losses((input - target).abs(), reduction)
    return loss.L1Loss(reduction)(*_common("l1_loss", input, target))


def _float(operation: str, argument: str, value: Any) -> float:
    """Return a number as a float; refuse anything else."""
    if isinstance(value, complex) or not (is_scalar(value) or isinstance(value, Tensor)):
        raise TypeError(f"{operation}(): argument '{argument}' must be float, not {type(value).__name__}")
    return float(value)


def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """Return d² / (2 beta) where the difference d is below beta, |d| - beta / 2 elsewhere.

    Args:
        input: any shape.
        target: a shape that broadcasts with it.
        size_average: PyTorch's older form of `reduction`.
        reduce: PyTorch's older form of `reduction`.
        reduction: `"none"`, `"mean"` or `"sum"`.
        beta: where the parabola ends.

    Raises:
        RuntimeError: a negative `beta`.
    """
    _paired("smooth_l1_loss", input, target)
    reduction = _reduction("smooth_l1_loss", reduction, size_average, reduce)
    beta = _float("smooth_l1_loss", "beta", beta)
    if beta == 0:
        return _l1(input, target, reduction)
    if beta < 0:
        raise RuntimeError(f"smooth_l1_loss does not support negative values for beta, got {beta}")
    a, b = _common("smooth_l1_loss", input, target)
    return loss.SmoothL1Loss(reduction, beta)(a, b)


def huber_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0, weight: Tensor | None = None
) -> Tensor:
    """Return d² / 2 where the difference d is below delta, delta (|d| - delta / 2) elsewhere.

    Args:
        input: any shape.
        target: a shape that broadcasts with it; a warning where they differ.
        reduction: `"none"`, `"mean"` or `"sum"`.
        delta: where the parabola ends.
        weight: a factor for each element, of the input's shape.

    Raises:
        RuntimeError: `delta` is not positive.
    """
    _paired("huber_loss", input, target)
    reduction = _reduction("huber_loss", reduction)
    delta = _float("huber_loss", "delta", delta)
    if delta <= 0:
        raise RuntimeError(f"huber_loss does not support non-positive values for delta, got {delta}")
    a, b = _common("huber_loss", input, target)
    if not input.is_floating_point():
        raise RuntimeError(f"result type {a.dtype} can't be cast to the desired output type {input.dtype}")
    if weight is None:
        return to_dtype(loss.HuberLoss(reduction, delta)(a, b), input.dtype)
    _require_weight_like(weight, input)
    return reduce_losses(to_dtype(loss.HuberLoss("none", delta)(a, b), input.dtype) * weight, reduction)


def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """Return target · (log target - input): the divergence of Kullback and Leibler, pointwise or reduced.

    Args:
        input: log-probabilities.
        target: probabilities, with `log_target` their logarithms.
        size_average: PyTorch's older form of `reduction`.
        reduce: PyTorch's older form of `reduction`.
        reduction: `"none"`, `"mean"`, `"sum"`, or `"batchmean"`: the sum divided by the extent of dimension 0.
        log_target: what `target` holds.

    Raises:
        RuntimeError: integers.
    """
    by_batch = False
    if size_average is None and reduce is None:
        if reduction == "mean":
            warnings.warn(
                "reduction: 'mean' divides the total loss by both the batch size and the support size. 'batchmean'"
                " divides only by the batch size, and aligns with the KL div math definition.",
                UserWarning,
                stacklevel=2,
            )
        if reduction == "batchmean":
            by_batch, reduction = True, "sum"
    require_tensor("kl_div", "input", input)
    require_tensor("kl_div", "target", target)
    reduction = _reduction("kl_div", reduction, size_average, reduce)
    if not (input.is_floating_point() and target.is_floating_point()):
        raise RuntimeError(f"kl_div: Integral inputs not supported, got {input.dtype} and {target.dtype}")
    by_batch = by_batch and input.ndim > 0
    if input.dtype is target.dtype:
        node = loss.KlDiv("batchmean" if by_batch else reduction, bool(log_target))
        return node(*_common("kl_div", input, target))
    # the target's part is rounded to the target's type, as in PyTorch
    losses = target.exp() * (target - input) if log_target else xlogy(target, target) - target * input
    result = reduce_losses(losses, reduction)
    return result / input.size(0) if by_batch else result


def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    size_average: Any = None,
    eps: float = 1e-8,
    reduce: Any = None,
    reduction: str = "mean",
) -> Tensor:
    """Return the negative log-likelihood of counts under Poisson distributions.

    Args:
        input: the expectations, with `log_input` their logarithms.
        target: the counts.
        log_input: what `input` holds.
        full: add Stirling's approximation of log(target!).
        size_average: PyTorch's older form of `reduction`.
        eps: what is added to expectations in logarithms.
        reduce: PyTorch's older form of `reduction`.
        reduction: `"none"`, `"mean"` or `"sum"`.
    """
    require_tensor("poisson_nll_loss", "input", input)
    require_tensor("poisson_nll_loss", "target", target)
    reduction = _reduction("poisson_nll_loss", reduction, size_average, reduce)
    losses = input.exp() - target * input if log_input else input - target * (input + eps).log()
    if full:
        stirling = target * target.log() - target + 0.5 * (2 * math.pi * target).log()
        losses = losses + stirling.masked_fill(target <= 1, 0)
    return reduce_losses(losses, reduction)


def gaussian_nll_loss(
    input: Tensor, target: Tensor, var: Tensor | float, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> Tensor:
    """Return the negative log-likelihood of values under normal distributions.

    Args:
        input: the expectations.
        target: the values.
        var: the variances: of the input's shape, with its last dimension left out or of extent 1, or a float.
        full: add the constant log(2 π) / 2.
        eps: the least variance.
        reduction: `"none"`, `"mean"` or `"sum"`.

    Raises:
        ValueError: a negative variance, or variances of another shape.
    """
    require_tensor("gaussian_nll_loss", "input", input)
    variance = ones_like(input) * var if isinstance(var, float) else var
    require_tensor("gaussian_nll_loss", "var", variance)
    if variance._array.size and variance._array.min() < 0:
        raise ValueError(f"var has negative entry/entries: {variance._array.min()}")
    if variance.shape != input.shape:
        if input.shape[:-1] == variance.shape:
            variance = variance.unsqueeze(-1)
        elif (
            input.ndim != variance.ndim
            or sum(n for m, n in zip(input.shape, variance.shape, strict=True) if m != n) != 1
        ):
            raise ValueError(f"var is of incorrect size: {tuple(variance.shape)} for input of {tuple(input.shape)}")
    if reduction not in _REDUCTIONS:
        raise ValueError(f"{reduction} is not valid: gaussian_nll_loss expects 'none', 'mean' or 'sum'")
    variance = variance.clone()
    with no_grad():
        variance.clamp_(min=eps)
    losses = 0.5 * (variance.log() + (input - target) ** 2 / variance)
    if full:
        losses = losses + 0.5 * math.log(2 * math.pi)
    return reduce_losses(losses, reduction)


def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
) -> Tensor:
    """Return the cross entropy of pairs of probabilities; logarithms are cut off at -100.

    Args:
        input: probabilities of any shape.
        target: probabilities of this shape.
        weight: a factor for each element, of a shape that broadcasts.
        size_average: PyTorch's older form of `reduction`.
        reduce: PyTorch's older form of `reduction`.
        reduction: `"none"`, `"mean"` or `"sum"`.

    Raises:
        ValueError: another shape of target.
        RuntimeError: an input outside of [0, 1], or types that differ.
    """
    _require_sized("binary_cross_entropy", input, target)
    reduction = _reduction("binary_cross_entropy", reduction, size_average, reduce)
    if target.shape != input.shape:
        raise ValueError(
            f"Using a target size ({target.size()}) that is different to the input size ({input.size()}) is deprecated."
            " Please ensure they have the same size."
        )
    for other in (target, weight):
        if other is not None and other.dtype is not input.dtype:
            raise RuntimeError(f"Found dtype {other.dtype.title} but expected {input.dtype.title}")
    require_floating_point("binary_cross_entropy", input)
    _require_constant("binary_cross_entropy", "weight", weight)
    array = input._array
    if array.size and not (array.min() >= 0 and array.max() <= 1):
        raise RuntimeError("binary_cross_entropy: all elements of input should be between 0 and 1")
    if weight is None:
        return loss.BinaryCrossEntropy(reduction)(input, target)
    weight = weight.expand(broadcast_shape("binary_cross_entropy", tuple(target.shape), tuple(weight.shape)))
    return reduce_losses(loss.BinaryCrossEntropy("none")(input, target) * weight, reduction)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """Return the cross entropy of the sigmoids of scores and of probabilities, computed without overflow.

    Args:
        input: scores of any shape.
        target: probabilities of this shape.
        weight: a factor for each element, of a shape that broadcasts.
        size_average: PyTorch's older form of `reduction`.
        reduce: PyTorch's older form of `reduction`.
        reduction: `"none"`, `"mean"` or `"sum"`.
        pos_weight: a factor for the part of the loss that counts where the target is 1, of a shape that broadcasts.

    Raises:
        ValueError: another shape of target.
    """
    name = "binary_cross_entropy_with_logits"
    _require_sized(name, input, target)
    reduction = _reduction(name, reduction, size_average, reduce)
    if target.shape != input.shape:
        raise ValueError(f"Target size ({target.size()}) must be the same as input size ({input.size()})")
    require_floating_point(name, input)
    if not target.is_floating_point():
        raise RuntimeError(f"result type {input.dtype} can't be cast to the desired output type {target.dtype}")
    _require_constant(name, "weight", weight)
    _require_constant(name, "pos_weight", pos_weight)
    a, b = _common(name, input, target)
    if weight is None and pos_weight is None:
        return loss.BinaryCrossEntropyWithLogits(reduction)(a, b)
    if pos_weight is None:
        losses = loss.BinaryCrossEntropyWithLogits("none")(a, b)
    else:
        softplus = loss.BinaryCrossEntropyWithLogits("none")(a, ones_like(a))
        losses = (1 - b) * a + (1 + (pos_weight - 1) * b) * softplus
    return reduce_losses(losses if weight is None else losses * weight, reduction)


def soft_margin_loss(
    input: Tensor, target: Tensor, size_average: Any = None, reduce: Any = None, reduction: str = "mean"
) -> Tensor:
    """Return log(1 + exp(-target · input)) for targets of 1 and -1.

    Args:
        input: scores of any shape.
        target: 1 or -1, of a shape that broadcasts.
        size_average: PyTorch's older form of `reduction`.
        reduce: PyTorch's older form of `reduction`.
        reduction: `"none"`, `"mean"` or `"sum"`.
    """
    require_tensor("soft_margin_loss", "input", input)
    require_tensor("soft_margin_loss", "target", target)
    reduction = _reduction("soft_margin_loss", reduction, size_average, reduce)
    _require_constant("soft_margin_loss", "target", target)
    if not input.is_floating_point():
        raise RuntimeError(
            f"soft_margin_loss: result type Float can't be cast to the desired output type {input.dtype}"
        )
    a, b = _common("soft_margin_loss", input, target)
    return to_dtype(loss.SoftMarginLoss(reduction)(a, b), input.dtype)


def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
) -> Tensor:
    """Return the input where the target is 1, max(0, margin - input) where it is -1.

    Args:
        input: distances of any shape.
        target: 1 or -1, of a shape that broadcasts.
        margin: the distance that is enough for targets of -1.
        size_average: PyTorch's older form of `reduction`.
        reduce: PyTorch's older form of `reduction`.
        reduction: `"none"`, `"mean"` or `"sum"`.
    """
    require_tensor("hinge_embedding_loss", "input", input)
    require_tensor("hinge_embedding_loss", "target", target)
    reduction = _reduction("hinge_embedding_loss", reduction, size_average, reduce)
    apart = where(ne(target, 1), to_dtype(margin - input, input.dtype).clamp_min(0), 0)
    together = where(ne(target, -1), input, 0)
    return reduce_losses(apart + together, reduction)


def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
) -> Tensor:
    """Return max(0, margin - target · (input1 - input2)): a target of 1 wants the first input to be the larger one.

    Args:
        input1: scores of any shape.
        input2: scores.
        target: 1 or -1.
        margin: the difference that is enough.
        size_average: PyTorch's older form of `reduction`.
        reduce: PyTorch's older form of `reduction`.
        reduction: `"none"`, `"mean"` or `"sum"`.

    Raises:
        RuntimeError: tensors of different ranks.
    """
    require_tensor("margin_ranking_loss", "input1", input1)
    require_tensor("margin_ranking_loss", "input2", input2)
    require_tensor("margin_ranking_loss", "target", target)
    reduction = _reduction("margin_ranking_loss", reduction, size_average, reduce)
    if not input1.ndim == input2.ndim == target.ndim:
        raise RuntimeError(
            "margin_ranking_loss : All input tensors should have same dimension but got sizes: input1:"
            f" {input1.size()}, input2: {input2.size()}, target: {target.size()} "
        )
    return reduce_losses((-target * (input1 - input2) + margin).clamp_min(0), reduction)


def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
) -> Tensor:
    """Return 1 - cos where the target is 1, max(0, cos - margin) where it is -1.

    Args:
        input1: vectors, (N, D) or (D,).
        input2: vectors.
        target: 1 or -1, (N,) or ().
        margin: the cosine that is small enough for targets of -1.
        size_average: PyTorch's older form of `reduction`.
        reduce: PyTorch's older form of `reduction`.
        reduction: `"none"`, `"mean"` or `"sum"`.

    Raises:
        RuntimeError: ranks that do not fit.
    """
    require_tensor("cosine_embedding_loss", "input1", input1)
    require_tensor("cosine_embedding_loss", "input2", input2)
    require_tensor("cosine_embedding_loss", "target", target)
    reduction = _reduction("cosine_embedding_loss", reduction, size_average, reduce)
    if target.ndim > 1:
        raise RuntimeError(
            f"cosine_embedding_loss: 0D or 1D target tensor expected, multi-target not supported, got {target.ndim}D"
        )
    if not input1.ndim == input2.ndim == target.ndim + 1:
        raise RuntimeError(
            f"{target.ndim}D target tensor expects {target.ndim + 1}D input tensors, but found inputs with sizes"
            f" {list(input1.shape)} and {list(input2.shape)}."
        )
    eps = 1e-12  # added to squared lengths
    product = (input1 * input2).sum(-1)
    lengths = ((input1 * input1).sum(-1) + eps) * ((input2 * input2).sum(-1) + eps)
    cosine = product / lengths.sqrt()
    losses = where(eq(target, 1), 1 - cosine, 0) + where(eq(target, -1), (cosine - margin).clamp_min(0), 0)
    return reduce_losses(losses, reduction)


def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
) -> Tensor:
    """Return max(0, margin + |anchor - positive| - |anchor - negative|).

    Args:
        anchor: vectors, (N, D) or (D,).
        positive: vectors that should be near.
        negative: vectors that should be far.
        margin: the difference that is enough, positive.
        p: the order of the norm.
        eps: what is added to differences.
        swap: take |positive - negative| for the second distance where that is smaller.
        size_average: PyTorch's older form of `reduction`.
        reduce: PyTorch's older form of `reduction`.
        reduction: `"none"`, `"mean"` or `"sum"`.

    Raises:
        ValueError: `margin` is not positive.
        RuntimeError: tensors of different ranks.
    """
    require_tensor("triplet_margin_loss", "anchor", anchor)
    require_tensor("triplet_margin_loss", "positive", positive)
    require_tensor("triplet_margin_loss", "negative", negative)
    reduction = _reduction("triplet_margin_loss", reduction, size_average, reduce)

    def distance(x1: Tensor, x2: Tensor) -> Tensor:
        return (x1 - x2 + eps).norm(p, -1)

    return triplet_margin_with_distance_loss(
        anchor, positive, negative, distance_function=distance, margin=margin, swap=swap, reduction=reduction
    )


def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """Return max(0, margin + distance(anchor, positive) - distance(anchor, negative)).

    Args:
        anchor: any shape.
        positive: what should be near.
        negative: what should be far.
        distance_function: of two tensors (default: `pairwise_distance`).
        margin: the difference that is enough, positive.
        swap: take the distance of positive and negative for the second one where that is smaller.
        reduction: `"none"`, `"mean"` or `"sum"`.

    Raises:
        ValueError: `margin` is not positive, or an unknown reduction.
        RuntimeError: tensors of different ranks.
    """
    if reduction not in _REDUCTIONS:
        raise ValueError(f"{reduction} is not a valid value for reduction: expected 'none', 'mean' or 'sum'")
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    if not anchor.ndim == positive.ndim == negative.ndim:
        raise RuntimeError(
            "The anchor, positive, and negative tensors are expected to have the same number of dimensions, but got:"
            f" anchor {anchor.ndim}D, positive {positive.ndim}D, and negative {negative.ndim}D inputs"
        )
    distance = pairwise_distance if distance_function is None else distance_function
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = minimum(far, distance(positive, negative))
    return reduce_losses((margin + near - far).clamp_min(0), reduction)


def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """Return the norms of `x1 - x2 + eps` along the last dimension.

    Args:
        x1: (*, D).
        x2: a shape that broadcasts with it.
        p: the order of the norm.
        eps: keeps the gradient at equal vectors finite.
        keepdim: keep the last dimension, with one element.
    """
    return (x1 - x2 + eps).norm(p, -1, keepdim)


def multilabel_soft_margin_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
) -> Tensor:
    """Return the mean over the classes of the cross entropy of sigmoids of scores and probabilities.

    Args:
        input: scores, (*, C).
        target: probabilities of this shape.
        weight: a factor for each class, (C,).
        size_average: PyTorch's older form of `reduction`.
        reduce: PyTorch's older form of `reduction`.
        reduction: `"none"`, `"mean"` or `"sum"`.
    """
    require_tensor("multilabel_soft_margin_loss", "input", input)
    require_tensor("multilabel_soft_margin_loss", "target", target)
    reduction = _reduction("multilabel_soft_margin_loss", reduction, size_average, reduce)
    a, b = _common("multilabel_soft_margin_loss", input, target)
    losses = loss.BinaryCrossEntropyWithLogits("none")(a, b)
    if weight is not None:
        losses = losses * weight
    return reduce_losses(losses.sum(-1) / input.size(-1), reduction)


def _rows(name: str, input: Tensor) -> Tensor:
    """Return scores (N, C) or (C,), or a single one, as (N, C)."""
    require_tensor(name, "input", input)
    require_floating_point(name, input)
    if input.ndim > 2 or 0 in input.shape[1:] or (input.ndim == 1 and input.numel() == 0):
        raise RuntimeError(
            f"{name}: Expected non-empty vector or matrix with optional 0-dim batch size, but got: {list(input.shape)}"
        )
    return input if input.ndim == 2 else input.reshape(1, -1)


def multilabel_margin_loss(
    input: Tensor, target: Tensor, size_average: Any = None, reduce: Any = None, reduction: str = "mean"
) -> Tensor:
    """Return the sum of max(0, 1 - (x[j] - x[i])) over target classes j and other classes i, divided by C.

    Args:
        input: scores, (N, C) or (C,).
        target: class indices of int64 of the same shape; those before the first -1 count.
        size_average: PyTorch's older form of `reduction`.
        reduce: PyTorch's older form of `reduction`.
        reduction: `"none"`, `"mean"` or `"sum"`.

    Raises:
        RuntimeError: shapes, types or indices that do not fit.
    """
    name = "multilabel_margin_loss"
    require_tensor("multilabel_margin_loss", "target", target)
    reduction = _reduction(name, reduction, size_average, reduce)
    rows = _rows(name, input)
    if target.shape != input.shape:
        raise RuntimeError(f"{name}: inconsistent target size: {list(target.shape)} for input of {list(input.shape)}")
    if target.dtype is not dtypes.int64:
        raise RuntimeError(f"{name}: expected target of type torch.int64, got {target.dtype}")
    classes = rows.size(1)
    labels = target._array.reshape(rows._array.shape)
    if labels.size and (labels.min() < -1 or labels.max() >= classes):
        raise RuntimeError(f"{name}: target out of range: expected -1 or a class in [0, {classes})")
    xp = input._xp
    counts = xp.cumsum(labels < 0, 1) == 0
    chosen = xp.zeros(labels.shape, bool)
    samples = xp.broadcast_to(xp.arange(len(labels))[:, None], labels.shape)
    chosen[samples[counts], labels[counts]] = True
    pairs = input._wrap_like(counts[:, :, None] & ~chosen[:, None, :])
    scores = rows.gather(1, input._wrap_like(xp.where(counts, labels, 0)))
    margins = (1 - scores.unsqueeze(2) + rows.unsqueeze(1)).clamp_min(0)
    losses = margins.masked_fill(~pairs, 0).sum((1, 2)) / classes
    return reduce_losses(losses if input.ndim == 2 else losses.reshape(()), reduction)


def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
) -> Tensor:
    """Return the sum of max(0, margin - x[target] + x[i])^p over the other classes i, divided by C.

    Args:
        input: scores, (N, C) or (C,).
        target: class indices of int64, (N,) or ().
        p: 1 or 2.
        margin: the difference that is enough.
        weight: a factor for each class, (C,).
        size_average: PyTorch's older form of `reduction`.
        reduce: PyTorch's older form of `reduction`.
        reduction: `"none"`, `"mean"` or `"sum"`.

    Raises:
        ValueError: another `p`, or a weight that is no vector.
        RuntimeError: shapes, types or indices that do not fit.
    """
    name = "multi_margin_loss"
    require_tensor("multi_margin_loss", "target", target)
    reduction = _reduction(name, reduction, size_average, reduce)
    if p not in (1, 2):
        raise ValueError(f"only p == 1 and p == 2 supported, got {p}")
    if weight is not None and weight.ndim != 1:
        raise ValueError(f"weight must be one-dimensional, got {weight.ndim} dimensions")
    rows = _rows(name, input)
    samples, classes = rows.shape
    if target.ndim > 1 or target.numel() != samples:
        raise RuntimeError(f"{name}: inconsistent target size, expected {samples} but got {list(target.shape)}")
    if weight is not None and weight.numel() != classes:
        raise RuntimeError(f"{name}: inconsistent weight size, expected {classes} but got {list(weight.shape)}")
    if target.dtype is not dtypes.int64:
        raise RuntimeError(f"{name}: expected target of type torch.int64, got {target.dtype}")
    labels = target.reshape(samples, 1)
    if samples and (labels.min() < 0 or labels.max() >= classes):
        raise RuntimeError(f"{name}: target out of range: expected a class in [0, {classes})")
    margins = (margin - rows.gather(1, labels) + rows).clamp_min(0) ** p
    if weight is not None:
        margins = margins * weight[labels]
    losses = margins.scatter(1, labels, 0.0).sum(1) / classes
    return reduce_losses(losses if target.ndim else losses.reshape(()), reduction)


def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """Return the negative log-likelihoods of label sequences, summed over all alignments with time.

    Args:
        log_probs: log-probabilities, (T, N, C) or (T, C).
        targets: labels, (N, S), or all sequences one after the other, (sum of lengths,).
        input_lengths: how many of T are in use, (N,) or ().
        target_lengths: how many labels, (N,) or ().
        blank: the class that stands for no label.
        reduction: `"none"`, `"sum"`, or `"mean"`: of the losses divided by the numbers of labels.
        zero_infinity: replace infinite losses, of targets that are too long, and their gradients by zero.

    Raises:
        RuntimeError: shapes, types or lengths that do not fit.

    Source: A. Graves et al., Connectionist temporal classification, 2006;
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.ctc_loss.html
    """
    reduction = _reduction("ctc_loss", reduction)
    require_tensor("ctc_loss", "log_probs", log_probs)
    require_tensor("ctc_loss", "targets", targets)
    if log_probs.ndim not in (2, 3) or log_probs.numel() == 0:
        raise RuntimeError(
            f"ctc_loss: log_probs must not be empty, (T, N, C) or (T, C), got shape {tuple(log_probs.shape)}"
        )
    if log_probs.dtype not in (dtypes.float32, dtypes.float64):
        raise not_implemented("ctc_loss", log_probs.dtype, "float32 or float64")
    batched = log_probs.ndim == 3
    rows = log_probs if batched else log_probs.unsqueeze(1)
    steps, batch, classes = rows.shape
    if isinstance(input_lengths, Tensor) != isinstance(target_lengths, Tensor):
        raise TypeError("ctc_loss(): input_lengths and target_lengths must be both Tensors or both tuples of ints")
    if not 0 <= blank < classes:
        raise RuntimeError(f"ctc_loss: blank must be in label range, expected it in [0, {classes}), got {blank}")
    times = _ctc_lengths("input_lengths", input_lengths, batch, log_probs)
    lengths = _ctc_lengths("target_lengths", target_lengths, batch, log_probs)
    if (times > steps).any():
        raise RuntimeError(f"ctc_loss: Expected input_lengths to have value at most {steps}, but got {times.max()}")
    labels = _ctc_labels(targets, lengths, batch)
    if labels.size and (labels.min() < 0 or labels.max() >= classes):
        raise RuntimeError(f"ctc_loss: targets must be classes in [0, {classes})")
    losses = CtcLoss(labels, times, lengths, blank, zero_infinity)(rows)
    if reduction == "mean":
        return (losses / losses._like_array(lengths.clip(min=1))).mean()
    return reduce_losses(losses if batched else losses.reshape(()), reduction)


def _ctc_lengths(argument: str, lengths: Any, batch: int, like: Tensor) -> Any:
    """Return lengths as an array of int64, one for each sequence of the batch."""
    if not isinstance(lengths, (Tensor, list, tuple)):
        raise TypeError(
            f"ctc_loss(): argument '{argument}' must be Tensor or tuple of ints, not {type(lengths).__name__}"
        )
    tensor = as_tensor(lengths)
    if tensor.is_floating_point() or tensor.dtype is dtypes.bool:
        raise RuntimeError(f"ctc_loss: {argument} must be integral, got {tensor.dtype}")
    if tensor.numel() != batch:
        raise RuntimeError(f"ctc_loss: {argument} must be of size batch_size {batch}, got {tensor.numel()}")
    array = tensor.cpu()._array.reshape(-1).astype("int64")
    if (array < 0).any():
        raise RuntimeError(f"ctc_loss: {argument} must not be negative, got {array.tolist()}")
    return like._xp.asarray(array)


def _ctc_labels(targets: Tensor, lengths: Any, batch: int) -> Any:
    """Return the labels as (N, S), zeros after the end of each sequence."""
    xp = targets._xp
    longest = int(lengths.max()) if batch else 0
    used = xp.arange(longest) < lengths[:, None]
    labels = xp.zeros((batch, longest), "int64")
    array = targets._array
    if array.ndim == 1:
        if array.size != lengths.sum():
            raise RuntimeError(
                f"ctc_loss: expected {int(lengths.sum())} targets, as many as target_lengths say, got {array.size}"
            )
        labels[used] = array
    elif array.ndim != 2 or array.shape[0] != batch or array.shape[1] < longest:
        raise RuntimeError(
            f"ctc_loss: expected targets of shape ({batch}, at least {longest}) or (sum of lengths,),"
            f" got {tuple(targets.shape)}"
        )
    else:
        labels[used] = array[:, :longest][used]
    return labels


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
    if size_average is not None or reduce is not None or reduction not in _REDUCTIONS:
        reduction = _reduction("nll_loss", reduction, size_average, reduce)
    if not (isinstance(input, Tensor) and isinstance(target, Tensor)):
        require_tensor("nll_loss", "input", input)
        require_tensor("nll_loss", "target", target)
    if _are_plain_classes(input, target, weight):
        if loss.goes_unrecorded(input, target, reduction, target._array.size):
            return loss.unrecorded("nll_of_rows", ignore_index, reduction)(input, target)
        return loss.NllLoss(target._array, ignore_index, None, reduction)(input)
    _check_classes("nll_loss", input, target, weight)
    if input._array.dtype.kind not in dtypes.FLOATING:
        raise not_implemented("nll_loss_out_frame", input.dtype, "a floating-point type")
    alone = input._array.ndim == 1
    labels, factors = _labels(target, alone), None if weight is None else weight._array.reshape(-1)
    return loss.NllLoss(labels, ignore_index, factors, reduction, alone)(input.unsqueeze(0) if alone else input)


def _are_plain_classes(input: Tensor, target: Tensor, weight: Tensor | None) -> bool:
    """Whether scores (N, C) and class indices (N,) are of the commonest types and need no further checks."""
    x, labels = input._array, target._array
    return (
        weight is None
        and x.ndim == 2
        and labels.ndim == 1
        and len(labels) == len(x)
        and labels.dtype is _INT64
        and x.dtype.char in "fd"
        and input._device is target._device
    )


_INT64 = dtypes.int64.numpy


def _labels(target: Tensor, alone: bool) -> Any:
    """Return class indices as an array of int64; of one alone as (1,)."""
    array = target._array
    if array.dtype is not _INT64:
        array = array.astype(_INT64)
    return array.reshape(1) if alone else array


def _check_classes(name: str, x: Tensor, target: Tensor, weight: Tensor | None) -> None:
    """Refuse targets and weights of other types, devices or shapes; whether indices are in range the kernel sees."""
    require_same_device(name, x, target)
    shape, given = x._array.shape, target._array.shape
    if not shape:
        raise ValueError("Expected 1 or more dimensions (got 0)")
    alone, spatial = len(shape) == 1, len(shape) > 2
    if not alone and given[:1] != shape[:1] and (given or shape[0]):
        batch = given[0] if given else 1
        raise ValueError(f"Expected input batch_size ({shape[0]}) to match target batch_size ({batch}).")
    if target.dtype not in ((dtypes.int64,) if spatial else (dtypes.int64, dtypes.uint8)):
        raise RuntimeError(f"{name}: expected target to be of type torch.int64 (class indices), got {target.dtype}")
    if not given and not alone:
        raise IndexError(f"{name}: Dimension specified as 0 but tensor has no dimensions: target for an empty batch")
    _require_constant(name, "weight", weight)
    if not spatial and len(given) > 1:
        raise RuntimeError(
            f"{name}: 0D or 1D target tensor expected, multi-target not supported, got {given} for input of {shape}"
        )
    if alone and given not in ((), (1,)):
        raise ValueError(f"For 1D input, 1D target must have size 1, but got target size: {given[0]}")
    if spatial and given[1:] != shape[2:]:
        expected = (shape[0], *shape[2:])
        raise RuntimeError(f"{name}: expected target of shape {expected} for input of shape {shape}, got {given}")
    classes = shape[0 if alone else 1]
    if weight is not None:
        if weight._array.size != classes or (weight._array.ndim != 1 and not spatial):
            raise RuntimeError(
                f"weight tensor should be defined either for all {classes} classes or no classes but got weight tensor"
                f" of shape: {list(weight._array.shape)}"
            )
        if weight.dtype is not x.dtype and x.is_floating_point():
            raise RuntimeError(f"expected scalar type {x.dtype.name} but found {weight.dtype.name}")


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
    if size_average is not None or reduce is not None or reduction not in _REDUCTIONS:
        reduction = _reduction("cross_entropy", reduction, size_average, reduce)
    if not (isinstance(input, Tensor) and isinstance(target, Tensor)):
        require_tensor("cross_entropy", "input", input)
        require_tensor("cross_entropy", "target", target)
    if not 0 <= label_smoothing <= 1:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}")
    if _are_plain_classes(input, target, weight):
        if not label_smoothing and loss.goes_unrecorded(input, target, reduction, input._array.size):
            return loss.unrecorded("cross_entropy_of_rows", ignore_index, reduction)(input, target)
        return loss.CrossEntropy(target._array, ignore_index, None, reduction, label_smoothing)(input)
    if target._array.shape == input._array.shape:
        return _soft_cross_entropy(input, target, weight, reduction, label_smoothing, ignore_index)
    _require_scores(input)
    _check_classes("cross_entropy", input, target, weight)
    if label_smoothing > 0:
        _check_smoothing(input, target, weight)
    alone = input._array.ndim == 1
    labels, factors = _labels(target, alone), None if weight is None else weight._array.reshape(-1)
    node = loss.CrossEntropy(labels, ignore_index, factors, reduction, label_smoothing, alone)
    return node(input.unsqueeze(0) if alone else input)


def _check_smoothing(input: Tensor, target: Tensor, weight: Tensor | None) -> None:
    """Refuse what PyTorch takes without smoothing only."""
    if input._array.ndim == 1 and target._array.ndim:
        raise RuntimeError(f"cross_entropy: label_smoothing with scores {tuple(input.shape)} expects a target of ()")
    if weight is not None and (weight._array.ndim != 1 or target.dtype is dtypes.uint8):
        raise RuntimeError(
            f"cross_entropy: label_smoothing with weights expects weights (C,) and a target of torch.int64, got weights"
            f" of {tuple(weight.shape)} and {target.dtype}"
        )


def _require_scores(input: Tensor) -> None:
    """Refuse scores that have no softmax."""
    if input._array.ndim == 0:
        raise IndexError("cross_entropy: Dimension out of range (expected to be in range of [-1, 0], but got 1)")
    if not input.is_floating_point():
        raise not_implemented("log_softmax", input.dtype, "a floating-point type")


def _soft_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None, reduction: str, smoothing: float, ignore_index: int
) -> Tensor:
    """Return the cross entropy with probabilities of classes, both (N, C, *) or (C,); weights may want gradients."""
    if not target.is_floating_point():
        raise RuntimeError(f"Expected floating point type for target with class probabilities, got {target.dtype}")
    if ignore_index >= 0:
        raise RuntimeError(
            f"cross_entropy: ignore_index is not supported for floating point target, got {ignore_index}"
        )
    if input._array.ndim == 0:
        _require_scores(input)
    alone = input._array.ndim == 1
    x, goal = (input.unsqueeze(0), target.unsqueeze(0)) if alone else (input, target)
    classes = x._array.shape[1]
    require_same_device("cross_entropy", *[tensor for tensor in (x, goal, weight) if tensor is not None])
    if weight is not None and weight._array.shape != (classes,):
        raise RuntimeError(
            f"cross_entropy: weight tensor should be defined either for all {classes} classes or no classes but got"
            f" weight tensor of shape: {list(weight.shape)}"
        )
    _require_scores(input)
    like = goal.dtype is x.dtype
    if like and (weight is None or (weight.dtype is x.dtype and not weight.requires_grad)):
        factors = None if weight is None else weight._array
        return loss.SoftCrossEntropy(factors, reduction, smoothing, alone)(x, goal)
    losses = loss.LogSoftmax(1)(x) * (goal * (1 - smoothing) + smoothing / classes)
    losses = -(losses if weight is None else losses * loss.per_class(weight, x)).sum(1)
    if reduction == "mean":
        return losses.sum() / losses.numel()
    return reduce_losses(losses.reshape(()) if alone else losses, reduction)
