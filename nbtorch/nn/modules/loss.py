"""Losses: `L1Loss`, `MSELoss`, `NLLLoss`, `CrossEntropyLoss`."""

from __future__ import annotations

import warnings

from ...tensor import Tensor
from .. import functional as F
from .module import Module


class _Loss(Module):
    """A loss and how it is reduced to one number."""

    def __init__(self, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean") -> None:
        super().__init__()
        if size_average is not None or reduce is not None:
            reduction = _reduction_of_old_arguments(size_average, reduce)
        self.reduction = reduction


def _reduction_of_old_arguments(size_average: bool | None, reduce: bool | None) -> str:
    """Return the reduction that the arguments of PyTorch before 0.4.1 stand for."""
    averaged = "sum" if size_average is False else "mean"
    reduction = "none" if reduce is False else averaged
    warnings.warn(
        f"size_average and reduce args will be deprecated, please use reduction='{reduction}' instead.", stacklevel=4
    )
    return reduction


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
