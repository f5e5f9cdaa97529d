"""Softmax, log-softmax and negative log-likelihood."""

from __future__ import annotations

from typing import Any

from ..autograd.graph import Node
from ..device import array_module
from ..tensor import Tensor
from .indexing import Embed


class Softmax(Node):
    saves_outputs = (0,)

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
    """`-weight[target] * log_probability[target]` for each position; 0 where the target is `ignore_index`.

    `log_probabilities` is (N, C, *), `target` (N, *) of int64, checked to be in range; the result is (N, *).
    """

    keeps_state = True

    def __init__(self, target: Any, ignore_index: int, weight: Any) -> None:
        self.target, self.ignore_index, self.weight = target, ignore_index, weight

    def forward(self, log_probabilities: Any) -> Any:
        xp = array_module(self.where)
        target = self.target
        ignored = target == self.ignore_index
        safe = xp.where(ignored, 0, target) if ignored.any() else target
        # grids of positions: (N, *) with the class axis put second
        grids = list(xp.ogrid[tuple(slice(n) for n in target.shape)])
        self.index = (grids[0], safe, *grids[1:])
        self.factor = -xp.ones(target.shape, log_probabilities.dtype)
        if self.weight is not None:
            self.factor *= self.weight[safe]
        self.factor[ignored] = 0
        self.shape = log_probabilities.shape
        picked = log_probabilities[self.index]
        return xp.where(self.factor == 0, picked.dtype.type(0), picked * self.factor)

    def backward(self, grad: Tensor) -> Tensor:
        return Embed(self.index, self.shape)(grad * grad._wrap_like(self.factor))
