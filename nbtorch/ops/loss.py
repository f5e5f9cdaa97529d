"""Softmax, log-softmax, negative log-likelihood, and losses of pairs of elements."""

from __future__ import annotations

import math
from typing import Any

from ..autograd.grad_mode import state
from ..autograd.graph import Node
from ..device import allocate, array_module, contiguous, kernels_for
from ..device import device as Device
from ..tensor import Tensor
from .indexing import Embed


def softmax_of(x: Any, axis: int, logarithm: bool, where: Device) -> Any:
    """Return the softmax of an array along an axis, or its logarithm."""
    if x.size == 0:
        return x.copy()
    y = allocate(x.shape, x.dtype, where)
    shape = _around(x.shape, axis)
    kernels_for(where, "softmax").softmax_forward(contiguous(x, where).reshape(shape), logarithm, y.reshape(shape))
    return y


def softmax_gradient(grad: Any, y: Any, axis: int, logarithm: bool, where: Device) -> Any:
    """Return the gradient of `softmax_of` by its input, given its result."""
    if y.size == 0:
        return grad.copy()
    result = allocate(y.shape, y.dtype, where)
    shape = _around(y.shape, axis)
    grad, y = (contiguous(array, where).reshape(shape) for array in (grad, y))
    kernels_for(where, "softmax").softmax_backward(grad, y, logarithm, result.reshape(shape))
    return result


def _around(shape: tuple[int, ...], axis: int) -> tuple[int, int, int]:
    """Return how many elements lie before an axis, along it and behind it."""
    return math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])


class Softmax(Node):
    saves_outputs = (0,)
    in_float32 = True

    def __init__(self, axis: int) -> None:
        self.axis = axis

    def forward(self, x: Any) -> Any:
        return softmax_of(x, self.axis, False, self.where)

    def backward(self, grad: Tensor) -> Tensor:
        y = self.saved_tensor
        if not state.enabled:
            return grad._wrap_like(softmax_gradient(grad._array, y._array, self.axis, False, self.where))
        weighted = grad * y
        return weighted - y * weighted.sum(self.axis, True)


class LogSoftmax(Node):
    saves_outputs = (0,)
    in_float32 = True

    def __init__(self, axis: int) -> None:
        self.axis = axis

    def forward(self, x: Any) -> Any:
        return softmax_of(x, self.axis, True, self.where)

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
        return softmax_gradient(grad, output, self.axis, True, self.where)

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


def reduced(values: Any, reduction: str) -> Any:
    """Return an array of losses as it is, its sum or its mean."""
    if reduction == "none":
        return values
    kind = values.dtype
    total = values.sum(dtype="float32").astype(kind) if kind == "float16" else values.sum(dtype=kind)
    return total if reduction == "sum" else total / kind.type(values.size)


class PairLoss(Node):
    """A loss for each pair of elements of two tensors of one shape and type; each, summed or averaged.

    A subclass defines `values` on arrays and `slopes`: the gradients of both inputs, given that of each value.
    """

    saves_inputs = (0, 1)
    in_float32 = True

    def __init__(self, reduction: str) -> None:
        self.reduction = reduction

    def forward(self, a: Any, b: Any) -> Any:
        return reduced(self.values(array_module(self.where), a, b), self.reduction)

    def values(self, xp: Any, a: Any, b: Any) -> Any:
        raise NotImplementedError

    def backward(self, grad: Tensor) -> Any:
        a, b = self.saved_tensors
        return self.slopes(a, b, grad * (1 / max(a.numel(), 1)) if self.reduction == "mean" else grad)

    def slopes(self, a: Tensor, b: Tensor, grad: Tensor) -> Any:
        raise NotImplementedError


class DifferenceLoss(PairLoss):
    """A loss of the difference of its inputs: `of` on arrays, `slope` its derivative times a gradient."""

    def values(self, xp: Any, a: Any, b: Any) -> Any:
        return self.of(xp, a - b)

    def of(self, xp: Any, difference: Any) -> Any:
        raise NotImplementedError

    def slopes(self, a: Tensor, b: Tensor, grad: Tensor) -> Any:
        slope = self.slope(a - b, grad)
        to_a, to_b = self.needs_input_grad
        return slope if to_a else None, -slope if to_b else None

    def slope(self, difference: Tensor, grad: Tensor) -> Tensor:
        raise NotImplementedError


class MseLoss(DifferenceLoss):
    def of(self, xp: Any, difference: Any) -> Any:
        return difference * difference

    def slope(self, difference: Tensor, grad: Tensor) -> Tensor:
        return difference * (grad * 2)


class SmoothL1Loss(DifferenceLoss):
    """A parabola within ±beta, the absolute value less beta / 2 outside."""

    def __init__(self, reduction: str, beta: float) -> None:
        super().__init__(reduction)
        self.beta = beta

    def of(self, xp: Any, difference: Any) -> Any:
        size = xp.abs(difference)
        return xp.where(size < self.beta, size * size * (0.5 / self.beta), size - 0.5 * self.beta)

    def slope(self, difference: Tensor, grad: Tensor) -> Tensor:
        return (difference / self.beta).clamp(-1, 1) * grad


class HuberLoss(DifferenceLoss):
    """A parabola within ±delta, lines of slope delta outside."""

    def __init__(self, reduction: str, delta: float) -> None:
        super().__init__(reduction)
        self.delta = delta

    def of(self, xp: Any, difference: Any) -> Any:
        size = xp.abs(difference)
        return xp.where(size < self.delta, size * size * 0.5, (size - 0.5 * self.delta) * self.delta)

    def slope(self, difference: Tensor, grad: Tensor) -> Tensor:
        return difference.clamp(-self.delta, self.delta) * grad


class BinaryCrossEntropy(PairLoss):
    """The cross entropy of two probabilities; logarithms are cut off at -100."""

    def values(self, xp: Any, a: Any, b: Any) -> Any:
        yes, no = xp.maximum(xp.log(a), -100), xp.maximum(xp.log1p(-a), -100)
        return (b - 1) * no - b * yes

    def slopes(self, a: Tensor, b: Tensor, grad: Tensor) -> Any:
        to_a = (a - b) / ((1 - a) * a).clamp_min(1e-12) * grad if self.needs_input_grad[0] else None
        if not self.needs_input_grad[1]:
            return to_a, None
        return to_a, ((-a).log1p().clamp_min(-100) - a.log().clamp_min(-100)) * grad


class BinaryCrossEntropyWithLogits(PairLoss):
    """The cross entropy of the sigmoid of a score and of a probability."""

    def values(self, xp: Any, a: Any, b: Any) -> Any:
        losses = xp.log1p(xp.exp(-xp.abs(a)))
        losses -= xp.minimum(a, 0)
        losses += (1 - b) * a
        return losses

    def slopes(self, a: Tensor, b: Tensor, grad: Tensor) -> Any:
        to_a, to_b = self.needs_input_grad
        return (a.sigmoid() - b) * grad if to_a else None, -a * grad if to_b else None


class SoftMarginLoss(PairLoss):
    """log(1 + exp(-target · score)); as in PyTorch, large negative products overflow."""

    def values(self, xp: Any, a: Any, b: Any) -> Any:
        return xp.log1p(xp.exp(-b * a))

    def slopes(self, a: Tensor, b: Tensor, grad: Tensor) -> Any:
        power = (-b * a).exp()
        return -b * power / (power + 1) * grad, None
