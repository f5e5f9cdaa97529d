"""Softmax, log-softmax and negative log-likelihood."""

from __future__ import annotations

from typing import Any

from ..autograd.graph import Node
from ..device import array_module
from ..tensor import Tensor
from .indexing import Embed


class Softmax(Node):
    saves_outputs = (0,)
    in_float32 = True

    def __init__(self, axis: int) -> None:
        self.axis = axis

    def forward(self, x: Any) -> Any:
        xp = array_module(self.where)
        if x.size == 0:
            return x.copy()
        powers = xp.exp(x - x.max(self.axis, keepdims=True))
        powers /= powers.sum(self.axis, keepdims=True)
        return powers

    def backward(self, grad: Tensor) -> Tensor:
        y = self.saved_tensor
        weighted = grad * y
        return weighted - y * weighted.sum(self.axis, True)


class LogSoftmax(Node):
    saves_outputs = (0,)
    in_float32 = True

    def __init__(self, axis: int) -> None:
        self.axis = axis

    def forward(self, x: Any) -> Any:
        xp = array_module(self.where)
        if x.size == 0:
            return x.copy()
        shifted = x - x.max(self.axis, keepdims=True)
        shifted -= xp.log(xp.exp(shifted).sum(self.axis, keepdims=True))
        return shifted

    def backward(self, grad: Tensor) -> Tensor:
        return LogSoftmaxGrad(self.axis)(grad, self.saved_tensor)


class LogSoftmaxGrad(Node):
    """`grad - softmax * sum(grad)`, where `output` is the log-softmax."""

    name = "LogSoftmaxBackwardDataBackward0"
    saves_inputs = (0, 1)
    in_float32 = True

    def __init__(self, axis: int) -> None:
        self.axis = axis

    def forward(self, grad: Any, output: Any) -> Any:
        xp = array_module(self.where)
        result = xp.exp(output)
        result *= grad.sum(self.axis, keepdims=True)
        return xp.subtract(grad, result, out=result)

    def backward(self, grad: Tensor) -> Any:
        first, output = self.saved_tensors
        softmax = output.exp()
        inner = (grad * softmax).sum(self.axis, True)
        to_output = -grad * softmax * first.sum(self.axis, True) if self.needs_input_grad[1] else None
        return grad - inner, to_output


class NllLoss(Node):
    """`-weight[target] * log_probability[target]`, 0 where the target is `ignore_index`; each, summed or averaged.

    `log_probabilities` is (N, C, *), `target` (N, *) of int64, checked to be in range. The mean is divided by the
    sum of the weights that count.
    """

    keeps_state = True
    in_float32 = True

    def __init__(self, target: Any, ignore_index: int, weight: Any, reduction: str) -> None:
        self.target, self.ignore_index, self.weight, self.reduction = target, ignore_index, weight, reduction
        self.name = "NllLossBackward0" if target.ndim == 1 else "NllLoss2DBackward0"

    def forward(self, log_probabilities: Any) -> Any:
        xp = array_module(self.where)
        self.shape, dtype = log_probabilities.shape, log_probabilities.dtype
        ignored = self.target == self.ignore_index
        classes = xp.where(ignored, 0, self.target)
        samples, *positions = xp.ogrid[tuple([slice(n) for n in classes.shape])]
        self.index = (samples, classes, *positions)
        weights = xp.ones(classes.shape, dtype) if self.weight is None else self.weight[classes]
        weights = xp.where(ignored, dtype.type(0), weights)
        losses = xp.where(ignored, dtype.type(0), -log_probabilities[self.index] * weights)
        if self.reduction == "none":
            self.factor = -weights
            return losses
        total = weights.sum(dtype=dtype) if self.reduction == "mean" else dtype.type(1)
        self.factor = -weights / total
        return losses.sum(dtype=dtype) / total

    def backward(self, grad: Tensor) -> Tensor:
        return Embed(self.index, self.shape)(grad * grad._wrap_like(self.factor))


class MseLoss(Node):
    """The squared differences of two tensors of one shape; each, summed or averaged."""

    saves_inputs = (0, 1)
    in_float32 = True

    def __init__(self, reduction: str) -> None:
        self.reduction = reduction

    def forward(self, a: Any, b: Any) -> Any:
        difference = a - b
        difference *= difference
        if self.reduction == "none":
            return difference
        return difference.mean(dtype=a.dtype) if self.reduction == "mean" else difference.sum(dtype=a.dtype)

    def backward(self, grad: Tensor) -> Any:
        a, b = self.saved_tensors
        scale = 2 / max(a.numel(), 1) if self.reduction == "mean" else 2
        slope = (a - b) * (grad * scale)
        to_a, to_b = self.needs_input_grad
        return slope if to_a else None, -slope if to_b else None
