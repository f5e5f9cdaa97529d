"""Softmax, log-softmax, cross entropy, negative log-likelihood, and losses of pairs of elements."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..autograd.grad_mode import state
from ..autograd.graph import Node
from ..device import CPU, allocate, array_module, contiguous, kernels_for
from ..device import device as Device
from ..tensor import Tensor


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


class ClassLoss(Node):
    """A loss of scores (N, C, *) against classes; each, summed, or averaged over the weights that count.

    Args:
        weight: an array of a factor for each class, or None.
        reduction: `"none"`, `"mean"` or `"sum"`.
        alone: whether the one loss that there is loses its dimension.
    """

    keeps_state = True
    in_float32 = True
    fresh_gradients = True

    def __init__(self, weight: Any, reduction: str, alone: bool) -> None:
        self.weight, self.reduction, self.alone = weight, reduction, alone
        self.scale = 1.0

    def _columns(self, x: Any) -> Any:
        """Return scores as (N, C, the product of the other extents)."""
        shape = x.shape
        if len(shape) == 2:
            return contiguous(x, self.where).reshape(shape[0], shape[1], 1)
        return contiguous(x, self.where).reshape(shape[0], shape[1], math.prod(shape[2:]))

    def _weights(self, dtype: Any) -> Any:
        """Return the classes' factors in the type of the scores; an empty array where there are none."""
        if self.weight is None:
            return _NO_WEIGHTS[dtype] if self.where is CPU else array_module(self.where).empty(0, dtype)
        return contiguous(self.weight.astype(dtype, copy=False), self.where)

    def _reduced(self, losses: Any, total: Any, divisor: Any) -> Any:
        """Return the losses, or their sum, or what `divisor` makes of it; note by what gradients are divided."""
        if self.reduction == "none":
            return losses.reshape(()) if self.alone else losses
        if self.reduction == "mean":
            total = total / divisor
            self.scale = float(1 / divisor)
        return array_module(self.where).asarray(total, losses.dtype)

    def _per_loss(self, grad: Tensor) -> Tensor:
        """Return the gradients of the single losses, of the extents of the scores with one class."""
        grad = grad * self.scale
        return grad.unsqueeze(0 if self.alone else 1) if self.reduction == "none" else grad


_NO_WEIGHTS = {np.dtype(kind): np.empty(0, kind) for kind in (np.float32, np.float64)}


def refuse_class(name: str, labels: Any, classes: int, ignore_index: int) -> None:
    """Raise an IndexError that shows the first label out of range."""
    wrong = labels[((labels < 0) | (labels >= classes)) & (labels != ignore_index)]
    raise IndexError(f"Target {int(wrong.reshape(-1)[0])} is out of bounds: {name} expects indices in [0, {classes})")


class NllLoss(ClassLoss):
    """`-weight[target] * log_probability[target]`, 0 where the target is `ignore_index`.

    `log_probabilities` is (N, C, *), `target` (N, *) of int64.
    """

    def __init__(self, target: Any, ignore_index: int, weight: Any, reduction: str, alone: bool = False) -> None:
        super().__init__(weight, reduction, alone)
        self.target, self.ignore_index = target, ignore_index
        self.name = "NllLossBackward0" if target.ndim == 1 else "NllLoss2DBackward0"

    def forward(self, log_probabilities: Any) -> Any:
        x = self._columns(log_probabilities)
        self.shape, self.dtype = log_probabilities.shape, x.dtype
        self.labels = contiguous(self.target, self.where).reshape(x.shape[0], x.shape[2])
        losses = allocate(self.labels.shape, x.dtype, self.where)
        kernels = kernels_for(self.where, "cross_entropy")
        sums = kernels.nll_forward(x, self.labels, self._weights(x.dtype), self.ignore_index, losses)
        if sums[2]:
            refuse_class("nll_loss", self.target, x.shape[1], self.ignore_index)
        return self._reduced(losses.reshape(self.target.shape), sums[0], sums[1])

    def backward(self, grad: Tensor) -> Tensor:
        return NllLossGrad(self)(grad)


class NllLossGrad(Node):
    """The gradient of `NllLoss`, linear in the gradient that flows in."""

    keeps_state = True
    in_float32 = True
    fresh_gradients = True

    def __init__(self, loss: NllLoss) -> None:
        self.loss = loss
        self.name = loss.name.replace("0", "Backward0")

    def forward(self, grad: Any) -> Any:
        loss = self.loss
        result = allocate(loss.shape, loss.dtype, self.where)
        shape = (*loss.shape[:2], loss.labels.shape[1])
        arrays = loss._weights(loss.dtype), loss.ignore_index, contiguous(grad, self.where), loss.scale
        kernels_for(self.where, "cross_entropy").nll_backward(loss.labels, *arrays, result.reshape(shape))
        return result

    def backward(self, grad: Tensor) -> Tensor:
        loss = self.loss
        target = grad._wrap_like(loss.target)
        ignored = target == loss.ignore_index
        picked = grad.gather(1, target.masked_fill(ignored, 0).unsqueeze(1)).squeeze(1)
        factors = -loss.scale if loss.weight is None else grad._wrap_like(loss.weight)[target.masked_fill(ignored, 0)]
        values = (picked * (factors if loss.weight is None else factors * -loss.scale)).masked_fill(ignored, 0)
        if loss.reduction == "none":
            return values.reshape(()) if loss.alone else values
        return values.sum()


class CrossEntropy(ClassLoss):
    """Cross entropy of scores (N, C, *) with class indices: `LogSoftmax` and `NllLoss` at once.

    Args:
        target: (N, *) of int64.
        ignore_index: a target that counts for nothing.
        weight: an array of a factor for each class, or None.
        reduction: `"none"`, `"mean"` or `"sum"`.
        smoothing: the share of the loss that is against all classes alike.
    """

    saves_inputs = (0,)

    def __init__(
        self, target: Any, ignore_index: int, weight: Any, reduction: str, smoothing: float, alone: bool = False
    ) -> None:
        super().__init__(weight, reduction, alone)
        self.target, self.ignore_index, self.smoothing = target, ignore_index, float(smoothing)
        plain = "NllLossBackward0" if target.ndim == 1 else "NllLoss2DBackward0"
        self.name = "AddBackward0" if smoothing else plain

    def forward(self, scores: Any) -> Any:
        x = self._columns(scores)
        shape = (x.shape[0], x.shape[2])
        self.labels = contiguous(self.target, self.where).reshape(shape)
        self.tops, self.totals, losses = (allocate(shape, x.dtype, self.where) for _ in range(3))
        if x.size:
            kernels = kernels_for(self.where, "cross_entropy")
            numbers = self._weights(x.dtype), self.smoothing, self.ignore_index
            sums = kernels.label_forward(x, self.labels, *numbers, self.tops, self.totals, losses)
        else:
            losses[...] = 0
            sums = (0.0, np.float64(0), float((self.labels != self.ignore_index).sum()))
        if sums[2]:
            refuse_class("nll_loss", self.target, x.shape[1], self.ignore_index)
        return self._reduced(losses.reshape(self.target.shape), sums[0], sums[1])

    def backward(self, grad: Tensor) -> Tensor:
        scores = self.saved_tensor
        if state.enabled:
            ignored = scores._wrap_like(self.target == self.ignore_index).unsqueeze(1)
            goal = self._goal(scores, ignored)
            return _recorded_gradient(scores, goal, self._per_loss(grad)).masked_fill(ignored, 0)
        x = self._columns(scores._array)
        result = allocate(scores._array.shape, x.dtype, self.where)
        if x.size:
            numbers = self._weights(x.dtype), self.smoothing, self.ignore_index, self.tops, self.totals
            kernels_for(self.where, "cross_entropy").label_backward(
                x, self.labels, *numbers, contiguous(grad._array, self.where), self.scale, result.reshape(x.shape)
            )
        return grad._wrap_like(result)

    def _goal(self, scores: Tensor, ignored: Tensor) -> Tensor:
        """Return the weighted distributions that the labels stand for, of the scores' extents."""
        target = scores._wrap_like(self.target).unsqueeze(1).masked_fill(ignored, 0)
        hard = scores._filled_like(0).scatter(1, target, 1)
        hard, smooth = hard * (1 - self.smoothing), self.smoothing / scores.shape[1]
        if self.weight is None:
            return (hard + smooth).masked_fill(ignored, 0)
        weight = per_class(scores._wrap_like(self.weight), scores)
        return (hard * weight + smooth * weight).masked_fill(ignored, 0)


class SoftCrossEntropy(ClassLoss):
    """Cross entropy of scores (N, C, *) with probabilities of classes, of the same extents and type.

    The mean is over the distributions. `smoothing` as for `CrossEntropy`.
    """

    saves_inputs = (0, 1)

    def __init__(self, weight: Any, reduction: str, smoothing: float, alone: bool = False) -> None:
        super().__init__(weight, reduction, alone)
        self.smoothing = float(smoothing)
        self.name = "DivBackward1" if reduction == "mean" else "NegBackward0"

    def forward(self, scores: Any, target: Any) -> Any:
        x, goal = self._columns(scores), self._columns(target)
        shape = (x.shape[0], x.shape[2])
        self.tops, self.totals, losses = (allocate(shape, x.dtype, self.where) for _ in range(3))
        total: Any = 0.0
        if x.size:
            arrays = x, goal, self._weights(x.dtype), self.smoothing, self.tops, self.totals, losses
            total = kernels_for(self.where, "cross_entropy").distribution_forward(*arrays)[0]
        else:
            losses[...] = 0
        count = np.float64(losses.size)
        return self._reduced(losses.reshape(scores.shape[:1] + scores.shape[2:]), total, count)

    def backward(self, grad: Tensor) -> Any:
        scores, target = self.saved_tensors
        to_scores, to_target = self.needs_input_grad
        per_loss = self._per_loss(grad)
        grad_scores = grad_target = None
        if to_target:
            grad_target = per_loss * LogSoftmax(1)(scores) * (self.smoothing - 1)
            if self.weight is not None:
                grad_target = grad_target * per_class(scores._wrap_like(self.weight), scores)
        if to_scores and state.enabled:
            goal = target * (1 - self.smoothing) + self.smoothing / scores.shape[1]
            if self.weight is not None:
                goal = goal * per_class(scores._wrap_like(self.weight), scores)
            grad_scores = _recorded_gradient(scores, goal, per_loss)
        elif to_scores:
            grad_scores = grad._wrap_like(self._slope(scores._array, target._array, grad._array))
        return grad_scores, grad_target

    def _slope(self, scores: Any, target: Any, grad: Any) -> Any:
        x, goal = self._columns(scores), self._columns(target)
        result = allocate(scores.shape, x.dtype, self.where)
        if x.size:
            numbers = self._weights(x.dtype), self.smoothing, self.tops, self.totals
            kernels_for(self.where, "cross_entropy").distribution_backward(
                x, goal, *numbers, contiguous(grad, self.where), self.scale, result.reshape(x.shape)
            )
        return result


def _recorded_gradient(scores: Tensor, goal: Tensor, per_loss: Tensor) -> Tensor:
    """Return the gradient of cross entropy by the scores, by operations that are recorded."""
    return per_loss * (Softmax(1)(scores) * goal.sum(1, True) - goal)


def per_class(weight: Tensor, like: Tensor, axis: int = 1) -> Tensor:
    """Return class weights in a shape that broadcasts along the class axis."""
    return weight.reshape((-1,) + (1,) * (like.ndim - axis - 1))


class PairLoss(Node):
    """A loss for each pair of elements of two tensors of one shape and type; each, summed or averaged.

    `reduction` is `"none"`, `"mean"`, `"sum"` or `"batchmean"`: the sum divided by the extent of dimension 0.

    A subclass names its `formula` in `kernels/loss.py`, and gives the gradient of the target. Where the input wants a
    gradient, a sum or mean computes it in the same pass, for the gradient of 1 that backward commonly begins with.
    """

    saves_inputs = (0, 1)
    in_float32 = True
    fresh_gradients = True
    formula: str
    scale = 1.0  # what the sum is multiplied by
    prepares = False
    slopes: list[Any]  # the gradient of the input that the forward pass prepared; given away once

    def __init__(self, reduction: str, option: float = 0.0) -> None:
        self.reduction, self.option, self.slopes = reduction, float(option), []

    def __call__(self, *inputs: Tensor) -> Any:
        """Run `forward`; let it prepare the gradient if there is going to be one."""
        x = inputs[0]
        if x._requires_grad and state.enabled and self.reduction != "none" and x._device is CPU:
            self.prepares = True
        return super().__call__(*inputs)

    def forward(self, a: Any, b: Any) -> Any:
        kernels, a, b = kernels_for(self.where, "loss"), contiguous(a, self.where), contiguous(b, self.where)
        if self.reduction == "none":
            output = allocate(a.shape, a.dtype, self.where)
            kernels.pair_each(self.formula, self.option, a, b, output)
            return output
        if self.reduction != "sum":
            count = a.size if self.reduction == "mean" else len(a)
            self.scale = 1 / count if count else math.nan
        if not self.prepares:
            return kernels.pair_total(self.formula, self.option, a, b, self.scale)
        slope = allocate(a.shape, a.dtype, CPU)
        self.slopes.append(slope)
        return kernels.pair_total_and_slope(self.formula, self.option, a, b, self.scale, slope)

    def backward(self, grad: Tensor) -> Any:
        a, b = self.saved_tensors
        to_a, to_b = self.needs_input_grad
        grad_a: Any = None
        grad_b: Any = None
        if to_a or self.of_difference:
            grad_a = self._recorded(grad * self.scale, a, b) if state.enabled else self._slope(grad, a, b)
        if to_b:
            grad_b = -grad_a if self.of_difference else self.slope_of_target(a, b, grad * self.scale)
        return grad_a if to_a else None, grad_b

    of_difference = False

    def _recorded(self, grad: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """Return the gradient of the input by operations that are recorded."""
        return formula(f"{self.formula}_grad")(grad, a, b, self.option)

    def _slope(self, grad: Tensor, a: Tensor, b: Tensor) -> Tensor:
        where = self.where
        if self.slopes:
            result = self.slopes.pop()
            if float(grad._array) == 1:
                return grad._wrap_like(result)
        else:
            result = allocate(a._array.shape, a._array.dtype, where)
        x, y, g = (contiguous(tensor._array, where) for tensor in (a, b, grad))
        kernels_for(where, "loss").pair_backward(self.formula, self.option, g, self.scale, x, y, result)
        return grad._wrap_like(result)

    def slope_of_target(self, a: Tensor, b: Tensor, grad: Tensor) -> Tensor:
        """Return the gradient of the target."""
        raise RuntimeError(f"derivative for {self.name} with respect to target is not implemented")


def formula(name: str) -> Callable[..., Tensor]:
    """Return a formula of `kernels/loss.py` as a function of tensors."""
    from nbtorch.kernels import loss

    compiled = getattr(loss, name)
    return getattr(compiled, "py_func", compiled)


class DifferenceLoss(PairLoss):
    """A loss of the difference of its inputs."""

    of_difference = True


class MseLoss(DifferenceLoss):
    formula = "mse"


class L1Loss(DifferenceLoss):
    formula = "l1"

    def __init__(self, reduction: str) -> None:
        super().__init__(reduction)
        self.name = {"none": "AbsBackward0", "sum": "SumBackward0", "mean": "MeanBackward0"}[reduction]


class SmoothL1Loss(DifferenceLoss):
    """A parabola within ±beta, the absolute value less beta / 2 outside."""

    formula = "smooth_l1"


class HuberLoss(DifferenceLoss):
    """A parabola within ±delta, lines of slope delta outside."""

    formula = "huber"


class BinaryCrossEntropy(PairLoss):
    """The cross entropy of two probabilities; logarithms are cut off at -100."""

    formula = "bce"

    def slope_of_target(self, a: Tensor, b: Tensor, grad: Tensor) -> Tensor:
        return ((-a).log1p().clamp_min(-100) - a.log().clamp_min(-100)) * grad


class BinaryCrossEntropyWithLogits(PairLoss):
    """The cross entropy of the sigmoid of a score and of a probability."""

    formula = "bce_with_logits"

    def slope_of_target(self, a: Tensor, b: Tensor, grad: Tensor) -> Tensor:
        return -a * grad


class SoftMarginLoss(PairLoss):
    """log(1 + exp(-target · score)); as in PyTorch, large negative products overflow."""

    formula = "soft_margin"

    def slope_of_target(self, a: Tensor, b: Tensor, grad: Tensor) -> Tensor:
        power = (-b * a).exp()
        return -a * power / (power + 1) * grad


class KlDiv(PairLoss):
    """target · (log target - input), the target as probabilities or as their logarithms."""

    def __init__(self, reduction: str, log_target: bool) -> None:
        super().__init__(reduction)
        self.log_target = log_target
        self.formula = "kl_div_of_logarithms" if log_target else "kl_div"
        names = {"sum": "SumBackward0", "mean": "MeanBackward0", "batchmean": "DivBackward0"}
        self.name = names.get(reduction, "MulBackward0" if log_target else "SubBackward0")

    def slope_of_target(self, a: Tensor, b: Tensor, grad: Tensor) -> Tensor:
        if self.log_target:
            return b.exp() * (b - a + 1) * grad
        # as in PyTorch, the gradient of 0·log 0 is NaN
        return (b.log().masked_fill(b == 0, 0) + b / b - a) * grad
