"""The adaptive softmax for many classes of uneven frequency."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

from ...creation import empty, zeros
from ...tensor import Tensor
from .. import functional as F
from .container import ModuleList, Sequential
from .linear import Linear
from .module import Module


class _ASMoutput(NamedTuple):
    """The log-probabilities of the targets, and their mean with the opposite sign."""

    output: Tensor
    loss: Tensor


class AdaptiveLogSoftmaxWithLoss(Module):
    """A softmax whose rarer classes sit in clusters, evaluated only for the targets that lie there.

    The head has a score for each frequent class and for each cluster; a cluster maps the input to fewer features and
    these to its classes. Classes must be sorted, the most frequent first.

    Args:
        in_features: the features of the input.
        n_classes: the number of classes.
        cutoffs: the first class of each cluster, rising, in [1, n_classes - 1].
        div_value: cluster i works with in_features / div_value^(i + 1) features.
        head_bias: whether the head has a bias.
        device: where the parameters lie (default: the default device).
        dtype: their type (default: the default dtype).

    Shape: input (N, in_features) or (in_features,), target (N) or (); returns a named tuple of `output`, the targets'
        log-probabilities of the target's shape, and `loss`, a scalar.

    Raises:
        ValueError: the cutoffs are none, not rising or out of range.

    Source: E. Grave et al., Efficient softmax approximation for GPUs, 2016, arXiv:1609.04309;
    https://docs.pytorch.org/docs/stable/generated/torch.nn.AdaptiveLogSoftmaxWithLoss.html

    >>> import nbtorch
    >>> softmax = AdaptiveLogSoftmaxWithLoss(8, 20, cutoffs=[5, 10], div_value=2)
    >>> softmax(nbtorch.zeros(3, 8), nbtorch.tensor([0, 7, 19])).output.shape
    torch.Size([3])
    """

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Sequence[int],
        div_value: float = 4.0,
        head_bias: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        cutoffs = list(cutoffs)
        if not cutoffs:
            raise ValueError("cutoffs should be a sequence of length larger than 0")
        rising = all(first < second for first, second in itertools.pairwise(cutoffs))
        if not rising or cutoffs[0] <= 0 or cutoffs[-1] > n_classes - 1 or any(int(c) != c for c in cutoffs):
            raise ValueError(
                "cutoffs should be a sequence of unique, positive integers sorted in an increasing order, where each"
                f" value is between 1 and n_classes-1, got {cutoffs} for {n_classes} classes"
            )
        self.in_features = in_features
        self.n_classes = n_classes
        self.cutoffs = [*cutoffs, n_classes]
        self.div_value = div_value
        self.head_bias = head_bias
        self.shortlist_size = cutoffs[0]
        self.n_clusters = len(cutoffs)
        self.head_size = self.shortlist_size + self.n_clusters
        self.head = Linear(in_features, self.head_size, bias=head_bias, device=device, dtype=dtype)
        self.tail = ModuleList()
        for index, (first, end) in enumerate(itertools.pairwise(self.cutoffs)):
            features = int(in_features // div_value ** (index + 1))
            self.tail.append(
                Sequential(
                    Linear(in_features, features, bias=False, device=device, dtype=dtype),
                    Linear(features, end - first, bias=False, device=device, dtype=dtype),
                )
            )

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        self.head.reset_parameters()
        for layer in self.tail.modules():
            if isinstance(layer, Linear):
                layer.reset_parameters()

    def forward(self, input_: Tensor, target_: Tensor) -> _ASMoutput:
        """Compute the log-probabilities of the targets and the loss."""
        _require_shapes(input_, target_)
        batched = target_.ndim > 0
        input, target = (input_, target_) if batched else (input_.unsqueeze(0), target_.unsqueeze(0))
        if bool(((target < 0) | (target >= self.n_classes)).any()):
            raise RuntimeError(
                f"Target values should be in [0, {self.n_classes - 1}], but values in range"
                f" [{target.min().item()}, {target.max().item()}] were found."
            )
        output = zeros(target.shape, dtype=input.dtype, device=input.device)
        entries = target.clone()  # the targets' places in the head
        for index, (first, end) in enumerate(itertools.pairwise(self.cutoffs)):
            rows = ((target >= first) & (target < end)).nonzero().squeeze(1)
            if rows.numel() == 0:
                continue
            entries.index_fill_(0, rows, self.shortlist_size + index)
            within = F.log_softmax(self.tail[index](input.index_select(0, rows)), dim=1)
            chosen = within.gather(1, (target.index_select(0, rows) - first).unsqueeze(1))
            output = output.index_copy(0, rows, chosen.squeeze(1))
        output = output + F.log_softmax(self.head(input), dim=1).gather(1, entries.unsqueeze(1)).squeeze(1)
        return _ASMoutput(output if batched else output.squeeze(0), (-output).mean())

    def _all_log_probabilities(self, input: Tensor, head: Tensor) -> Tensor:
        """Return the log-probabilities of all classes, given the scores of the head."""
        result = empty((head.shape[0], self.n_classes), dtype=input.dtype, device=input.device)
        of_head = F.log_softmax(head, dim=1)
        result[:, : self.shortlist_size] = of_head[:, : self.shortlist_size]
        for index, (first, end) in enumerate(itertools.pairwise(self.cutoffs)):
            within = F.log_softmax(self.tail[index](input), dim=1)
            result[:, first:end] = within + of_head[:, self.shortlist_size + index].unsqueeze(1)
        return result

    def log_prob(self, input: Tensor) -> Tensor:
        """Return the log-probabilities of all classes: (N, in_features) to (N, n_classes)."""
        return self._all_log_probabilities(input, self.head(input))

    def predict(self, input: Tensor) -> Tensor:
        """Return the most probable class of each input, (N); clusters are evaluated where the head points to one."""
        head = self.head(input)
        output = head.argmax(dim=1)
        clustered = output >= self.shortlist_size
        if bool(clustered.any()):
            output[clustered] = self._all_log_probabilities(input[clustered], head[clustered]).argmax(dim=1)
        return output


def _require_shapes(input: Tensor, target: Tensor) -> None:
    """Refuse anything but one target for each input."""
    if target.ndim > 1:
        raise RuntimeError(
            f"0D or 1D target tensor expected, multi-target not supported, got shape {tuple(target.shape)}"
        )
    if target.ndim == 1 and input.shape[0] != target.shape[0]:
        raise RuntimeError(
            "Input and target should have the same size in the batch dimension, got shapes"
            f" {tuple(input.shape)} and {tuple(target.shape)}"
        )
    if input.ndim != target.ndim + 1:
        raise RuntimeError(
            f"{target.ndim}D target tensor expects {target.ndim + 1}D input tensors, but found inputs with size"
            f" {tuple(input.shape)}"
        )
