"""A linear layer and the cross entropy of its outputs in one module."""

from __future__ import annotations

import math
from typing import Any

from ...tensor import Tensor
from .. import functional as F
from ..linear_cross_entropy import LinearCrossEntropyOptions
from .linear import Linear
from .loss import _WeightedLoss


class LinearCrossEntropyLoss(_WeightedLoss):
    """The cross entropy between a linear map of the input and target classes or class probabilities.

    Args:
        in_features: the features of an input.
        num_classes: C, the number of classes.
        out_features: extents d1, ... of further dimensions that the map has outputs for.
        bias: whether the map has a bias.
        device: where its parameters lie (default: the default device).
        dtype: their type (default: the default dtype).
        reduction: `'mean'`, `'sum'` or `'none'` (no reduction).
        weight: a weight for each class, (C,).
        ignore_index: a class whose targets count for nothing, -100 for None.
        label_smoothing: in [0, 1], the share of the target that is spread evenly over all classes.
        options: how to cut a batch into chunks, so that the logits need less memory, see `LinearCrossEntropyOptions`.

    Attributes:
        linear: the linear map, to C · d1 · ... outputs.

    Shape: input (N, in_features) or (in_features,); target (N, d1, ...) or (), or probabilities (N, C, d1, ...) or
        (C,); the loss is a scalar, or with `'none'` of the shape of class targets.

    Raises:
        RuntimeError: `weight` has another shape, or `label_smoothing` is out of range.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.LinearCrossEntropyLoss.html

    >>> import nbtorch
    >>> loss = LinearCrossEntropyLoss(5, 10, out_features=(4, 3))
    >>> loss(nbtorch.randn(2, 5), nbtorch.zeros(2, 4, 3, dtype=nbtorch.int64)).shape
    torch.Size([])
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        out_features: tuple[int, ...] = (),
        bias: bool = False,
        device: Any = None,
        dtype: Any = None,
        reduction: str = "mean",
        weight: Tensor | None = None,
        ignore_index: int | None = None,
        label_smoothing: float = 0.0,
        options: LinearCrossEntropyOptions | None = None,
    ) -> None:
        if weight is not None and tuple(weight.shape) != (num_classes,):
            raise RuntimeError(f"expected weight shape to be {(num_classes,)}, got {tuple(weight.shape)}")
        if not 0 <= label_smoothing <= 1:
            raise RuntimeError(f"expected label_smoothing to be in range [0, 1], got {label_smoothing}")
        super().__init__(weight, reduction=reduction)
        self.num_classes = num_classes
        self.out_features = out_features
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing
        outputs = math.prod(out_features, start=num_classes)
        self.linear = Linear(in_features, outputs, bias=bias, device=device, dtype=dtype)
        self.options = options

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        outputs, bias = (self.num_classes, *self.out_features), self.linear.bias
        return F.linear_cross_entropy(
            input,
            self.linear.weight.reshape(*outputs, self.linear.in_features),
            target,
            linear_bias=None if bias is None else bias.reshape(outputs),
            weight=self.weight,
            reduction=self.reduction,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
            options=self.options,
        )

    def extra_repr(self) -> str:
        """Return the options."""
        return (
            f"in_features={self.linear.in_features}, num_classes={self.num_classes}, out_features={self.out_features},"
            f" bias={self.linear.bias is not None}, reduction={self.reduction}, ignore_index={self.ignore_index},"
            f" label_smoothing={self.label_smoothing}, options={self.options}"
        )
