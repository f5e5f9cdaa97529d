"""Connectionist temporal classification: the loss of label sequences over all their alignments with time."""

from __future__ import annotations

from typing import Any

from ..autograd.graph import Node
from ..device import array_module
from ..tensor import Tensor


class CtcLoss(Node):
    """The negative logarithm of the probability of each label sequence.

    `log_probabilities` is (T, N, C), `labels` (N, S) of int64; `times` and `lengths`, (N,), say how much of T and S is
    in use. An alignment walks through 2 S + 1 states: the labels with blanks before, between and after them.

    Source: A. Graves et al., Connectionist temporal classification: labelling unsegmented sequence data with recurrent
    neural networks, 2006.
    """

    keeps_state = True

    def __init__(self, labels: Any, times: Any, lengths: Any, blank: int, zero_infinity: bool) -> None:
        self.labels, self.times, self.lengths = labels, times, lengths
        self.blank, self.zero_infinity = blank, zero_infinity

    def forward(self, log_probabilities: Any) -> Any:
        xp = array_module(self.where)
        batch, longest = self.labels.shape
        path = xp.full((batch, 2 * longest + 1), self.blank, "int64")
        path[:, 1::2] = self.labels
        may_skip = xp.zeros(path.shape, bool)  # where a state may follow the one two before it
        may_skip[:, 3::2] = path[:, 3::2] != path[:, 1:-2:2]
        samples = xp.arange(batch)
        emitted = log_probabilities[:, samples[:, None], path]
        alphas = self._forward_sums(xp, emitted, may_skip)
        last = 2 * self.lengths
        final = alphas[xp.maximum(self.times - 1, 0), samples]
        ends = final[samples, last]
        before = xp.where(self.lengths > 0, final[samples, xp.maximum(last - 1, 0)], -xp.inf)
        losses = -xp.logaddexp(ends, before)
        losses = xp.where(self.times > 0, losses, xp.where(self.lengths > 0, xp.inf, 0)).astype(emitted.dtype)
        self.infinite = xp.isinf(losses)
        self.kept = (log_probabilities, emitted, path, may_skip, alphas, losses)
        return xp.where(self.infinite, 0, losses).astype(losses.dtype) if self.zero_infinity else losses

    @staticmethod
    def _forward_sums(xp: Any, emitted: Any, may_skip: Any) -> Any:
        """Return log-probabilities (T, N, states) of all ways that begin at the start and end in a state."""
        alphas = xp.full(emitted.shape, -xp.inf, emitted.dtype)
        alphas[0, :, :2] = emitted[0, :, :2]
        for t in range(1, len(alphas)):
            before = alphas[t - 1]
            sums = before.copy()
            sums[:, 1:] = xp.logaddexp(sums[:, 1:], before[:, :-1])
            sums[:, 2:] = xp.logaddexp(sums[:, 2:], xp.where(may_skip[:, 2:], before[:, :-2], -xp.inf))
            alphas[t] = sums + emitted[t]
        return alphas

    def _backward_sums(self, xp: Any, emitted: Any, may_skip: Any) -> Any:
        """Return log-probabilities (T, N, states) of all ways that begin in a state and reach the sequence's end."""
        betas = xp.full(emitted.shape, -xp.inf, emitted.dtype)
        states = xp.arange(emitted.shape[2])
        last = 2 * self.lengths[:, None]
        is_end = (states == last) | ((states == last - 1) & (last > 0))
        after = betas[0].copy()
        for t in reversed(range(len(betas))):
            sums = after.copy()
            sums[:, :-1] = xp.logaddexp(sums[:, :-1], after[:, 1:])
            sums[:, :-2] = xp.logaddexp(sums[:, :-2], xp.where(may_skip[:, 2:], after[:, 2:], -xp.inf))
            sums = xp.where((self.times == t + 1)[:, None], xp.where(is_end, 0, -xp.inf), sums)
            after = betas[t] = sums + emitted[t]
        return betas

    def backward(self, grad: Tensor) -> Tensor:
        return CtcLossGrad(self)(grad)


class CtcLossGrad(Node):
    """The gradient of `CtcLoss`, under the assumption that its input came from a log-softmax, as in PyTorch."""

    name = "CtcLossBackwardBackward0"

    def __init__(self, loss: CtcLoss) -> None:
        self.loss = loss

    def forward(self, grad: Any) -> Any:
        xp, loss = array_module(self.where), self.loss
        log_probabilities, emitted, path, may_skip, alphas, losses = loss.kept
        ways = alphas + loss._backward_sums(xp, emitted, may_skip) + losses[:, None] - emitted
        ways = xp.where(xp.isneginf(emitted), -xp.inf, ways)
        result = xp.exp(log_probabilities)
        times, samples = xp.ogrid[: len(emitted), : len(losses)]
        xp.subtract.at(result, (times[..., None], samples[..., None], path[None]), xp.exp(ways))
        result *= grad[:, None]
        result[times >= loss.times] = 0
        if loss.zero_infinity:
            result[:, loss.infinite] = 0
        return result
