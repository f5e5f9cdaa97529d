"""Losses."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from ...tensor import Tensor
from .. import functional as F
from ..loss_functions import reduction_of_old_arguments
from .distance import PairwiseDistance
from .module import Module


class _Loss(Module):
    """A loss and how it is reduced to one number."""

    def __init__(self, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean") -> None:
        super().__init__()
        old = size_average is not None or reduce is not None
        self.reduction = reduction_of_old_arguments(size_average, reduce) if old else reduction


class L1Loss(_Loss):
    """The mean absolute difference of input and target.

    Args:
        size_average: deprecated, see `reduction`.
        reduce: deprecated, see `reduction`.
        reduction: `'mean'`, `'sum'` or `'none'` (no reduction).

    Shape: input and target of the same shape; the loss is a scalar, or of that shape with `'none'`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.L1Loss.html

    >>> import nbtorch
    >>> nbtorch.nn.L1Loss()(nbtorch.ones(2), nbtorch.zeros(2))
    tensor(1.)
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return F.l1_loss(input, target, reduction=self.reduction)


class MSELoss(_Loss):
    """The mean squared difference of input and target.

    Args:
        size_average: deprecated, see `reduction`.
        reduce: deprecated, see `reduction`.
        reduction: `'mean'`, `'sum'` or `'none'` (no reduction).

    Shape: input and target of the same shape; the loss is a scalar, or of that shape with `'none'`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.MSELoss.html

    >>> import nbtorch
    >>> nbtorch.nn.MSELoss(reduction="sum")(nbtorch.ones(2), nbtorch.zeros(2))
    tensor(2.)
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return F.mse_loss(input, target, reduction=self.reduction)


class _WeightedLoss(_Loss):
    """A loss with a weight for each class, kept as a buffer."""

    weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.register_buffer("weight", weight)


class NLLLoss(_WeightedLoss):
    """The negative log-likelihood of the target classes, given log-probabilities.

    Args:
        weight: a weight for each class, (C,); with `'mean'` the sum is divided by the targets' weights.
        size_average: deprecated, see `reduction`.
        ignore_index: a class whose targets count for nothing.
        reduce: deprecated, see `reduction`.
        reduction: `'mean'`, `'sum'` or `'none'` (no reduction).

    Shape: input (C), (N, C) or (N, C, d1, ...), target int64 (), (N) or (N, d1, ...) with values in [0, C); the loss
        is a scalar, or of the target's shape with `'none'`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.NLLLoss.html

    >>> import nbtorch
    >>> log_probabilities = nbtorch.nn.LogSoftmax(dim=1)(nbtorch.zeros(3, 4))
    >>> nbtorch.nn.NLLLoss()(log_probabilities, nbtorch.tensor([1, 0, 3]))
    tensor(1.3863)
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.ignore_index = ignore_index

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return F.nll_loss(input, target, weight=self.weight, ignore_index=self.ignore_index, reduction=self.reduction)


class NLLLoss2d(NLLLoss):
    """`NLLLoss` under an old name (deprecated), with the same arguments."""

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        warnings.warn(
            "`NLLLoss2d` has been deprecated. Please use `NLLLoss` instead as a drop-in replacement.",
            FutureWarning,
            stacklevel=2,
        )
        super().__init__(weight, size_average, ignore_index, reduce, reduction)


class CrossEntropyLoss(_WeightedLoss):
    """The cross entropy between unnormalised logits and target classes or class probabilities.

    Args:
        weight: a weight for each class, (C,); with `'mean'` the sum is divided by the targets' weights.
        size_average: deprecated, see `reduction`.
        ignore_index: a class whose targets count for nothing.
        reduce: deprecated, see `reduction`.
        reduction: `'mean'`, `'sum'` or `'none'` (no reduction).
        label_smoothing: in [0, 1], the share of the target that is spread evenly over all classes.

    Shape: input (C), (N, C) or (N, C, d1, ...); target int64 (), (N) or (N, d1, ...) with values in [0, C), or
        probabilities of the input's shape; the loss is a scalar, or with `'none'` of the shape of class targets.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.CrossEntropyLoss.html

    >>> import nbtorch
    >>> nbtorch.nn.CrossEntropyLoss()(nbtorch.zeros(3, 4), nbtorch.tensor([1, 0, 3]))
    tensor(1.3863)
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return F.cross_entropy(
            input,
            target,
            weight=self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )


class SmoothL1Loss(_Loss):
    """The mean of d² / (2 beta) where the difference d is below beta, |d| - beta / 2 elsewhere.

    Args:
        size_average: deprecated, see `reduction`.
        reduce: deprecated, see `reduction`.
        reduction: `'mean'`, `'sum'` or `'none'` (no reduction).
        beta: where the parabola ends.

    Shape: input and target of the same shape; the loss is a scalar, or of that shape with `'none'`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.SmoothL1Loss.html

    >>> import nbtorch
    >>> nbtorch.nn.SmoothL1Loss()(nbtorch.tensor([0.5, 2.0]), nbtorch.zeros(2))
    tensor(0.8125)
    """

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        beta: float = 1.0,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.beta = beta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return F.smooth_l1_loss(input, target, reduction=self.reduction, beta=self.beta)


class HuberLoss(_Loss):
    """The mean of d² / 2 where the difference d is below delta, delta (|d| - delta / 2) elsewhere.

    Args:
        reduction: `'mean'`, `'sum'` or `'none'` (no reduction).
        delta: where the parabola ends.

    Shape: input and target of the same shape; the loss is a scalar, or of that shape with `'none'`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.HuberLoss.html

    >>> import nbtorch
    >>> nbtorch.nn.HuberLoss()(nbtorch.tensor([0.5, 2.0]), nbtorch.zeros(2))
    tensor(0.8125)
    """

    def __init__(
        self,
        reduction: str = "mean",
        delta: float = 1.0,
    ) -> None:
        super().__init__(reduction=reduction)
        if not isinstance(delta, (int, float)):
            raise TypeError(f"delta must be a float or int, got: {type(delta)}")
        self.delta = delta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return F.huber_loss(input, target, reduction=self.reduction, delta=self.delta)


class KLDivLoss(_Loss):
    """The divergence of Kullback and Leibler of targets from log-probabilities.

    Args:
        size_average: deprecated, see `reduction`.
        reduce: deprecated, see `reduction`.
        reduction: `'mean'` (over all elements), `'batchmean'`, `'sum'` or `'none'`.
        log_target: whether targets are logarithms, too.

    Shape: input and target of the same shape; the loss is a scalar, or of that shape with `'none'`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.KLDivLoss.html

    >>> import nbtorch
    >>> half = nbtorch.tensor([[0.5, 0.5]])
    >>> nbtorch.nn.KLDivLoss(reduction="batchmean")(half.log(), half)
    tensor(0.)
    """

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        log_target: bool = False,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.log_target = log_target

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return F.kl_div(input, target, reduction=self.reduction, log_target=self.log_target)


class PoissonNLLLoss(_Loss):
    """The negative log-likelihood of counts under Poisson distributions.

    Args:
        log_input: whether the input holds logarithms of expectations.
        full: add Stirling's approximation of log(target!).
        size_average: deprecated, see `reduction`.
        eps: what is added to expectations in logarithms.
        reduce: deprecated, see `reduction`.
        reduction: `'mean'`, `'sum'` or `'none'` (no reduction).

    Shape: input and target of the same shape; the loss is a scalar, or of that shape with `'none'`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.PoissonNLLLoss.html

    >>> import nbtorch
    >>> nbtorch.nn.PoissonNLLLoss()(nbtorch.zeros(2), nbtorch.ones(2))
    tensor(1.)
    """

    def __init__(
        self,
        log_input: bool = True,
        full: bool = False,
        size_average: bool | None = None,
        eps: float = 1e-8,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.log_input = log_input
        self.full = full
        self.eps = eps

    def forward(self, log_input: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return F.poisson_nll_loss(
            log_input,
            target,
            log_input=self.log_input,
            full=self.full,
            eps=self.eps,
            reduction=self.reduction,
        )


class GaussianNLLLoss(_Loss):
    """The negative log-likelihood of values under normal distributions.

    Args:
        full: add the constant log(2 π) / 2.
        eps: the least variance.
        reduction: `'mean'`, `'sum'` or `'none'` (no reduction).

    Shape: input and target of the same shape; var of that shape, or without its last dimension, or with 1 for it.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.GaussianNLLLoss.html

    >>> import nbtorch
    >>> nbtorch.nn.GaussianNLLLoss()(nbtorch.zeros(2), nbtorch.ones(2), nbtorch.ones(2))
    tensor(0.5000)
    """

    def __init__(
        self,
        *,
        full: bool = False,
        eps: float = 1e-6,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction=reduction)
        self.full = full
        self.eps = eps

    def forward(self, input: Tensor, target: Tensor, var: Tensor) -> Tensor:
        """Compute the loss."""
        return F.gaussian_nll_loss(input, target, var, full=self.full, eps=self.eps, reduction=self.reduction)


class BCELoss(_WeightedLoss):
    """The binary cross entropy of probabilities.

    Args:
        weight: a factor for each element, of a shape that broadcasts.
        size_average: deprecated, see `reduction`.
        reduce: deprecated, see `reduction`.
        reduction: `'mean'`, `'sum'` or `'none'` (no reduction).

    Shape: input and target of the same shape; the loss is a scalar, or of that shape with `'none'`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.BCELoss.html

    >>> import nbtorch
    >>> nbtorch.nn.BCELoss()(nbtorch.tensor([0.5]), nbtorch.ones(1))
    tensor(0.6931)
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return F.binary_cross_entropy(input, target, weight=self.weight, reduction=self.reduction)


class BCEWithLogitsLoss(_Loss):
    """The binary cross entropy of the sigmoids of scores.

    Args:
        weight: a factor for each element, of a shape that broadcasts.
        size_average: deprecated, see `reduction`.
        reduce: deprecated, see `reduction`.
        reduction: `'mean'`, `'sum'` or `'none'` (no reduction).
        pos_weight: a factor for the part of the loss that counts where the target is 1.

    Shape: input and target of the same shape; the loss is a scalar, or of that shape with `'none'`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.BCEWithLogitsLoss.html

    >>> import nbtorch
    >>> nbtorch.nn.BCEWithLogitsLoss()(nbtorch.zeros(1), nbtorch.ones(1))
    tensor(0.6931)
    """

    weight: Tensor | None
    pos_weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        pos_weight: Tensor | None = None,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.register_buffer("weight", weight)
        self.register_buffer("pos_weight", pos_weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return F.binary_cross_entropy_with_logits(
            input, target, self.weight, pos_weight=self.pos_weight, reduction=self.reduction
        )


class SoftMarginLoss(_Loss):
    """The mean of log(1 + exp(-target · input)) for targets of 1 and -1.

    Args:
        size_average: deprecated, see `reduction`.
        reduce: deprecated, see `reduction`.
        reduction: `'mean'`, `'sum'` or `'none'` (no reduction).

    Shape: input and target of the same shape; the loss is a scalar, or of that shape with `'none'`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.SoftMarginLoss.html

    >>> import nbtorch
    >>> nbtorch.nn.SoftMarginLoss()(nbtorch.zeros(1), nbtorch.ones(1))
    tensor(0.6931)
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return F.soft_margin_loss(input, target, reduction=self.reduction)


class HingeEmbeddingLoss(_Loss):
    """The mean of the input where the target is 1, of max(0, margin - input) where it is -1.

    Args:
        margin: the distance that is enough for targets of -1.
        size_average: deprecated, see `reduction`.
        reduce: deprecated, see `reduction`.
        reduction: `'mean'`, `'sum'` or `'none'` (no reduction).

    Shape: input and target of the same shape; the loss is a scalar, or of that shape with `'none'`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.HingeEmbeddingLoss.html

    >>> import nbtorch
    >>> nbtorch.nn.HingeEmbeddingLoss()(nbtorch.tensor([0.5]), -nbtorch.ones(1))
    tensor(0.5000)
    """

    def __init__(
        self,
        margin: float = 1.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return F.hinge_embedding_loss(input, target, margin=self.margin, reduction=self.reduction)


class CosineEmbeddingLoss(_Loss):
    """The mean of 1 - cos where the target is 1, of max(0, cos - margin) where it is -1.

    Args:
        margin: the cosine that is small enough for targets of -1.
        size_average: deprecated, see `reduction`.
        reduce: deprecated, see `reduction`.
        reduction: `'mean'`, `'sum'` or `'none'` (no reduction).

    Shape: inputs (N, D) and target (N), or (D) and ().

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.CosineEmbeddingLoss.html

    >>> import nbtorch
    >>> nbtorch.nn.CosineEmbeddingLoss()(nbtorch.ones(1, 2), nbtorch.ones(1, 2), -nbtorch.ones(1))
    tensor(1.)
    """

    def __init__(
        self,
        margin: float = 0.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return F.cosine_embedding_loss(input1, input2, target, margin=self.margin, reduction=self.reduction)


class MarginRankingLoss(_Loss):
    """The mean of max(0, margin - target · (input1 - input2)).

    Args:
        margin: the difference that is enough.
        size_average: deprecated, see `reduction`.
        reduce: deprecated, see `reduction`.
        reduction: `'mean'`, `'sum'` or `'none'` (no reduction).

    Shape: inputs and target of the same shape, the target 1 or -1.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.MarginRankingLoss.html

    >>> import nbtorch
    >>> nbtorch.nn.MarginRankingLoss()(nbtorch.zeros(1), nbtorch.ones(1), nbtorch.ones(1))
    tensor(1.)
    """

    def __init__(
        self,
        margin: float = 0.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return F.margin_ranking_loss(input1, input2, target, margin=self.margin, reduction=self.reduction)


class MultiLabelMarginLoss(_Loss):
    """The hinge loss between target classes and all others.

    Args:
        size_average: deprecated, see `reduction`.
        reduce: deprecated, see `reduction`.
        reduction: `'mean'`, `'sum'` or `'none'` (no reduction).

    Shape: input (N, C) or (C), target int64 of this shape: classes, those before the first -1 count.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.MultiLabelMarginLoss.html

    >>> import nbtorch
    >>> nbtorch.nn.MultiLabelMarginLoss()(nbtorch.zeros(2), nbtorch.tensor([1, -1]))
    tensor(0.5000)
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return F.multilabel_margin_loss(input, target, reduction=self.reduction)


class MultiLabelSoftMarginLoss(_WeightedLoss):
    """The mean over the classes of the binary cross entropy of the sigmoids of scores.

    Args:
        weight: a factor for each class, (C,).
        size_average: deprecated, see `reduction`.
        reduce: deprecated, see `reduction`.
        reduction: `'mean'`, `'sum'` or `'none'` (no reduction).

    Shape: input and target (*, C).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.MultiLabelSoftMarginLoss.html

    >>> import nbtorch
    >>> nbtorch.nn.MultiLabelSoftMarginLoss()(nbtorch.zeros(1, 2), nbtorch.ones(1, 2))
    tensor(0.6931)
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return F.multilabel_soft_margin_loss(input, target, weight=self.weight, reduction=self.reduction)


class MultiMarginLoss(_WeightedLoss):
    """The sum of max(0, margin - x[target] + x[i])^p over the other classes i, divided by C.

    Args:
        p: 1 or 2.
        margin: the difference that is enough.
        weight: a factor for each class, (C,).
        size_average: deprecated, see `reduction`.
        reduce: deprecated, see `reduction`.
        reduction: `'mean'`, `'sum'` or `'none'` (no reduction).

    Shape: input (N, C) or (C), target int64 (N) or ().

    Raises:
        ValueError: another `p`, or a weight that is no vector.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.MultiMarginLoss.html

    >>> import nbtorch
    >>> nbtorch.nn.MultiMarginLoss()(nbtorch.zeros(1, 2), nbtorch.tensor([1]))
    tensor(0.5000)
    """

    def __init__(
        self,
        p: int = 1,
        margin: float = 1.0,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        if p not in (1, 2):
            raise ValueError(f"only p == 1 and p == 2 supported, got {p}")
        if weight is not None and weight.ndim != 1:
            raise ValueError(f"MultiMarginLoss: expected weight to be None or 1D tensor, got {weight.ndim}D instead")
        self.p = p
        self.margin = margin

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return F.multi_margin_loss(
            input, target, p=self.p, margin=self.margin, weight=self.weight, reduction=self.reduction
        )


class TripletMarginLoss(_Loss):
    """The mean of max(0, margin + |anchor - positive| - |anchor - negative|).

    Args:
        margin: the difference that is enough, positive.
        p: the order of the norm.
        eps: what is added to differences.
        swap: take |positive - negative| for the second distance where that is smaller.
        size_average: deprecated, see `reduction`.
        reduce: deprecated, see `reduction`.
        reduction: `'mean'`, `'sum'` or `'none'` (no reduction).

    Shape: (N, D) or (D).

    Raises:
        ValueError: `margin` is not positive.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.TripletMarginLoss.html

    >>> import nbtorch
    >>> nbtorch.nn.TripletMarginLoss()(nbtorch.zeros(1, 2), nbtorch.zeros(1, 2), nbtorch.zeros(1, 2))
    tensor(1.)
    """

    def __init__(
        self,
        margin: float = 1.0,
        p: float = 2.0,
        eps: float = 1e-6,
        swap: bool = False,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        if margin <= 0:
            raise ValueError(f"TripletMarginLoss: expected margin to be greater than 0, got {margin} instead")
        self.margin = margin
        self.p = p
        self.eps = eps
        self.swap = swap

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        """Compute the loss."""
        return F.triplet_margin_loss(
            anchor,
            positive,
            negative,
            margin=self.margin,
            p=self.p,
            eps=self.eps,
            swap=self.swap,
            reduction=self.reduction,
        )


class TripletMarginWithDistanceLoss(_Loss):
    """The mean of max(0, margin + distance(anchor, positive) - distance(anchor, negative)).

    Args:
        distance_function: of two tensors (default: `PairwiseDistance`).
        margin: the difference that is enough, positive.
        swap: take the distance of positive and negative for the second one where that is smaller.
        reduction: `'mean'`, `'sum'` or `'none'` (no reduction).

    Shape: (N, *).

    Raises:
        ValueError: `margin` is not positive.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.TripletMarginWithDistanceLoss.html

    >>> import nbtorch
    >>> loss = nbtorch.nn.TripletMarginWithDistanceLoss(margin=0.5)
    >>> loss(nbtorch.zeros(1, 2), nbtorch.zeros(1, 2), nbtorch.zeros(1, 2))
    tensor(0.5000)
    """

    def __init__(
        self,
        *,
        distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
        margin: float = 1.0,
        swap: bool = False,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction=reduction)
        if margin <= 0:
            raise ValueError(
                f"TripletMarginWithDistanceLoss: expected margin to be greater than 0, got {margin} instead"
            )
        self.distance_function = PairwiseDistance() if distance_function is None else distance_function
        self.margin = margin
        self.swap = swap

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        """Compute the loss."""
        return F.triplet_margin_with_distance_loss(
            anchor,
            positive,
            negative,
            distance_function=self.distance_function,
            margin=self.margin,
            swap=self.swap,
            reduction=self.reduction,
        )


class CTCLoss(_Loss):
    """The negative log-likelihood of label sequences, summed over all their alignments with time.

    Args:
        blank: the class that stands for no label.
        reduction: `'mean'` (of the losses divided by the numbers of labels), `'sum'` or `'none'`.
        zero_infinity: replace infinite losses and their gradients by zero.

    Shape: log_probs (T, N, C) or (T, C), targets (N, S) or (sum of target_lengths), lengths (N) or ().

    Source: A. Graves et al., Connectionist temporal classification, 2006;
    https://docs.pytorch.org/docs/stable/generated/torch.nn.CTCLoss.html

    >>> import nbtorch
    >>> log_probs = nbtorch.nn.LogSoftmax(dim=-1)(nbtorch.zeros(2, 1, 3))
    >>> nbtorch.nn.CTCLoss()(log_probs, nbtorch.tensor([[1]]), (2,), (1,))
    tensor(1.0986)
    """

    def __init__(self, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False) -> None:
        super().__init__(reduction=reduction)
        self.blank = blank
        self.zero_infinity = zero_infinity

    def forward(self, log_probs: Tensor, targets: Tensor, input_lengths: Any, target_lengths: Any) -> Tensor:
        """Compute the loss."""
        return F.ctc_loss(
            log_probs, targets, input_lengths, target_lengths, self.blank, self.reduction, self.zero_infinity
        )
