"""Softmax, log-softmax, cross entropy, negative log-likelihood, and losses of pairs of elements."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..autograd.grad_mode import observers, state
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
    fresh_gradients = True

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
    fresh_gradients = True

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


class Loss(Node):
    """A loss of its first input against something; each, summed or averaged.

    Where the input wants a gradient, the pass that finds a sum or mean writes it too, for the gradient of 1 that
    backward commonly begins with.

    Args:
        reduction: `"none"`, `"mean"`, `"sum"`, or what else a subclass knows.
    """

    in_float32 = True
    fresh_gradients = True
    prepares = False
    scale = 1.0  # what the sum is multiplied by

    def __init__(self, reduction: str) -> None:
        self.reduction = reduction
        self.slopes: list[Any] = []  # the gradient that was prepared; given away once, also by copies of the node

    def __call__(self, *inputs: Tensor) -> Any:
        """Compute the loss, and its gradient if that is going to be wanted; CPU tensors take a short way."""
        x = inputs[0]
        array = x._array
        if x._device is not CPU or array.dtype.char not in "fd":
            self.prepares = self.reduction != "none" and x._device is CPU and state.enabled and x._tracked()
            return super().__call__(*inputs)
        recorded = False
        if state.enabled:
            for each in inputs:
                if each._requires_grad or (each._base is not None and each._tracked()):
                    recorded = True
            if recorded:
                self.prepares = x._requires_grad and self.reduction != "none"
        result = _new(Tensor)
        result._array = self.compute(array) if len(inputs) == 1 else self.compute(array, inputs[1]._array)
        if recorded:
            self.record(inputs, (result,))
        elif observers.count and state.inference:
            result._mark_inference()
        return result

    def forward(self, *arrays: Any) -> Any:
        return self.compute(*arrays)

    def compute(self, *arrays: Any) -> Any:
        """Do what `forward` does, for arrays of float32 or float64."""
        raise TypeError(f"{self.name} has no formula")

    def _room(self, x: Any) -> Any:
        """Return where the forward pass is to write the gradient, an array like x, or None."""
        if not self.prepares:
            return None
        room = allocate(x.shape, x.dtype, CPU)
        self.slopes.append(room)
        return room

    def _slope(self, x: Any, grad: Any, fill: Callable[[Any, Any], None]) -> Any:
        """Return the gradient of the input x: what was prepared, or what `fill(grad, array)` writes."""
        if self.slopes:
            result = self.slopes.pop()
            if float(grad) == 1:
                return result
        else:
            result = allocate(x.shape, x.dtype, self.where)
        if result.size:
            fill(contiguous(grad, self.where), result)
        return result


class ClassLoss(Loss):
    """A loss of scores (N, C, *) against classes; each, summed, or averaged over the weights that count.

    Args:
        weight: an array of a factor for each class, or None.
        reduction: `"none"`, `"mean"` or `"sum"`.
        alone: whether the one loss that there is loses its dimension.
    """

    keeps_state = True
    kept: Any = None  # what the kernels keep for backward
    counts: Any = (0.0, 0)  # the sum of the weights that count, and how many labels are out of range

    def __init__(self, weight: Any, reduction: str, alone: bool) -> None:
        self.weight, self.reduction, self.alone, self.slopes = weight, reduction, alone, []

    @property
    def factor(self) -> float:
        """What the sum of the losses is multiplied by."""
        if self.reduction != "mean":
            return 1.0
        divisor = float(self.counts[0])
        return 1 / divisor if divisor else math.inf

    def _columns(self, x: Any) -> Any:
        """Return scores as (N, C), or (N, C, the product of the other extents)."""
        shape = x.shape
        if not x.flags.c_contiguous:
            x = contiguous(x, self.where)
        if len(shape) == 2:
            return x
        inner = math.prod(shape[2:])
        return x.reshape(shape[0], shape[1], inner) if inner != 1 else x.reshape(shape[:2])

    def _labels(self, target: Any, x: Any) -> Any:
        """Return class indices of such scores as (N,), or (N, the product of the other extents)."""
        if not target.flags.c_contiguous:
            target = contiguous(target, self.where)
        return target if target.ndim == x.ndim - 1 else target.reshape(x.shape[:1] + x.shape[2:])

    def _weights(self, dtype: Any) -> Any:
        """Return the classes' factors in the type of the scores; an empty array where there are none."""
        if self.weight is None:
            return _NO_WEIGHTS[dtype] if self.where is CPU else array_module(self.where).empty(0, dtype)
        return contiguous(self.weight.astype(dtype, copy=False), self.where)

    def _output(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """Return an array for the losses, of this shape, or for their total."""
        if self.reduction != "none" or self.alone:
            shape = ()
        return _empty(shape, dtype) if self.where is CPU else allocate(shape, dtype, self.where)

    def _of_nothing(self, output: Any) -> Any:
        """Return the losses of no scores, or their total."""
        output[...] = math.nan if self.reduction == "mean" and not self.counts[0] else 0
        return output

    def _per_loss(self, grad: Tensor) -> Tensor:
        """Return the gradients of the single losses, of the extents of the scores with one class."""
        grad = grad * self.factor
        return grad.unsqueeze(0 if self.alone else 1) if self.reduction == "none" else grad


_empty, _new = np.empty, Tensor.__new__
_NO_WEIGHTS = {np.dtype(kind): np.empty(0, kind) for kind in (np.float32, np.float64)}


def refuse_class(name: str, labels: Any, classes: int, ignore_index: int) -> None:
    """Raise an IndexError that shows the first label out of range."""
    wrong = labels[((labels < 0) | (labels >= classes)) & (labels != ignore_index)]
    raise IndexError(f"Target {int(wrong.reshape(-1)[0])} is out of bounds: {name} expects indices in [0, {classes})")


class UnrecordedLoss(Node):
    """A loss of a few scores (N, C) against class indices (N,) that nobody will differentiate, by the shortest way.

    It keeps nothing of a call, so that one node for each set of options serves all of them.

    Args:
        function: the function of `kernels/cpu/cross_entropy.py`.
        ignore_index: a target that counts for nothing.
        reduction: `"mean"` or `"sum"`.
    """

    name = "NllLossBackward0"

    def __init__(self, function: str, ignore_index: int, reduction: str) -> None:
        self.kernel = getattr(kernels_for(CPU, "cross_entropy"), function)
        self.ignore_index, self.mean = ignore_index, reduction == "mean"

    def __call__(self, *inputs: Tensor) -> Any:
        """Compute the loss of scores and a target, contiguous CPU tensors of float32 or float64 and of int64."""
        x, labels = inputs[0]._array, inputs[1]._array
        output = _empty((), x.dtype)
        if self.kernel(x, labels, self.ignore_index, self.mean, output):
            refuse_class("nll_loss", labels, x.shape[1], self.ignore_index)
        result = _new(Tensor)
        result._array = output
        if observers.count and state.inference:
            result._mark_inference()
        return result


FEW = 1 << 11
"""Distributions and scores up to which `UnrecordedLoss` has a function."""

unrecorded = functools.lru_cache(64)(UnrecordedLoss)


def goes_unrecorded(x: Tensor, target: Tensor, reduction: str, size: int) -> bool:
    """Whether `UnrecordedLoss` takes scores (N, C) and class indices (N,); `size` tells how much work it would be."""
    return (
        0 < size <= FEW
        and reduction != "none"
        and not ((x._requires_grad or x._base is not None) and state.enabled and x._tracked())
        and x._array.flags.c_contiguous
        and target._array.flags.c_contiguous
        and x._device is CPU
    )


class NllLoss(ClassLoss):
    """`-weight[target] * log_probability[target]`, 0 where the target is `ignore_index`.

    `log_probabilities` is (N, C, *), `target` (N, *) of int64.
    """

    def __init__(self, target: Any, ignore_index: int, weight: Any, reduction: str, alone: bool = False) -> None:
        self.target, self.ignore_index = target, ignore_index
        self.weight, self.reduction, self.alone = weight, reduction, alone
        self._name = "NllLossBackward0" if target.ndim == 1 else "NllLoss2DBackward0"

    def compute(self, log_probabilities: Any) -> Any:
        x = self._columns(log_probabilities)
        self.shape, self.dtype = log_probabilities.shape, x.dtype
        self.labels = labels = self._labels(self.target, x)
        output = self._output(self.target.shape, x.dtype)
        if not labels.size:
            return self._of_nothing(output)
        numbers = self._weights(x.dtype), self.ignore_index, self.reduction
        self.counts = counts = kernels_for(self.where, "cross_entropy").nll_forward(x, labels, *numbers, output)
        if counts[1]:
            refuse_class("nll_loss", self.target, x.shape[1], self.ignore_index)
        return output

    def backward(self, grad: Tensor) -> Tensor:
        if state.enabled:
            return NllLossGrad(self)(grad)
        return grad._wrap_like(self.gradient(grad._array))

    def gradient(self, grad: Any) -> Any:
        """Return the gradient of the log-probabilities, given that of the losses or of their total."""
        result = allocate(self.shape, self.dtype, self.where)
        if result.size:
            numbers = self._weights(self.dtype), self.ignore_index, contiguous(grad, self.where), self.factor
            kernels = kernels_for(self.where, "cross_entropy")
            kernels.nll_backward(self.labels, *numbers, self._columns(result))
        return result


class NllLossGrad(Node):
    """The gradient of `NllLoss`, linear in the gradient that flows in."""

    keeps_state = True
    in_float32 = True
    fresh_gradients = True

    def __init__(self, loss: NllLoss) -> None:
        self.loss = loss
        self.name = loss._name.replace("0", "Backward0")

    def forward(self, grad: Any) -> Any:
        return self.loss.gradient(grad)

    def backward(self, grad: Tensor) -> Tensor:
        loss = self.loss
        target = grad._wrap_like(loss.target)
        ignored = target == loss.ignore_index
        picked = grad.gather(1, target.masked_fill(ignored, 0).unsqueeze(1)).squeeze(1)
        factors = -loss.factor if loss.weight is None else grad._wrap_like(loss.weight)[target.masked_fill(ignored, 0)]
        values = (picked * (factors if loss.weight is None else factors * -loss.factor)).masked_fill(ignored, 0)
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
        self._name = "AddBackward0" if smoothing else plain

    def compute(self, scores: Any) -> Any:
        x = self._columns(scores)
        self.labels = self._labels(self.target, x)
        output, room = self._output(self.target.shape, x.dtype), self._room(x)
        if x.size:
            kernels = kernels_for(self.where, "cross_entropy")
            options = self._weights(x.dtype), self.smoothing, self.ignore_index, self.reduction
            given = (output,) if room is None else (output, room)
            self.counts, self.kept = kernels.label_forward(x, self.labels, *options, *given)
        else:
            self.counts = 0.0, (self.labels != self.ignore_index).any()
            self._of_nothing(output)
        if self.counts[1]:
            refuse_class("nll_loss", self.target, x.shape[1], self.ignore_index)
        return output

    def backward(self, grad: Tensor) -> Tensor:
        scores = self.saved_tensor
        if state.enabled:
            ignored = scores._wrap_like(self.target == self.ignore_index).unsqueeze(1)
            goal = self._goal(scores, ignored)
            return _recorded_gradient(scores, goal, self._per_loss(grad)).masked_fill(ignored, 0)
        x = self._columns(scores._array)

        def fill(grad: Any, room: Any) -> None:
            options = self._weights(x.dtype), self.smoothing, self.ignore_index, self.kept, self.reduction
            kernels_for(self.where, "cross_entropy").label_backward(x, self.labels, *options, grad, room)

        return grad._wrap_like(self._slope(x, grad._array, fill).reshape(scores._array.shape))

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

    def compute(self, scores: Any, target: Any) -> Any:
        x, goal = self._columns(scores), self._columns(target)
        output, room = self._output(scores.shape[:1] + scores.shape[2:], x.dtype), self._room(x)
        self.counts = math.prod(x.shape[:1] + x.shape[2:]), 0
        if not x.size:
            return self._of_nothing(output)
        options = self._weights(x.dtype), self.smoothing, self.reduction
        given = (output,) if room is None else (output, room)
        self.kept = kernels_for(self.where, "cross_entropy").distribution_forward(x, goal, *options, *given)
        return output

    def backward(self, grad: Tensor) -> Any:
        scores, target = self.saved_tensors
        to_scores, to_target = self.needs_input_grad
        grad_scores: Any = None
        grad_target: Any = None
        if to_target:
            grad_target = self._per_loss(grad) * LogSoftmax(1)(scores) * (self.smoothing - 1)
            if self.weight is not None:
                grad_target = grad_target * per_class(scores._wrap_like(self.weight), scores)
        if to_scores and state.enabled:
            goal = target * (1 - self.smoothing) + self.smoothing / scores.shape[1]
            if self.weight is not None:
                goal = goal * per_class(scores._wrap_like(self.weight), scores)
            grad_scores = _recorded_gradient(scores, goal, self._per_loss(grad))
        elif to_scores:
            x, goal = self._columns(scores._array), self._columns(target._array)

            def fill(grad: Any, room: Any) -> None:
                options = self._weights(x.dtype), self.smoothing, self.kept, self.reduction
                kernels_for(self.where, "cross_entropy").distribution_backward(x, goal, *options, grad, room)

            grad_scores = grad._wrap_like(self._slope(x, grad._array, fill).reshape(scores._array.shape))
        return grad_scores, grad_target


def _recorded_gradient(scores: Tensor, goal: Tensor, per_loss: Tensor) -> Tensor:
    """Return the gradient of cross entropy by the scores, by operations that are recorded."""
    return per_loss * (Softmax(1)(scores) * goal.sum(1, True) - goal)


def per_class(weight: Tensor, like: Tensor, axis: int = 1) -> Tensor:
    """Return class weights in a shape that broadcasts along the class axis."""
    return weight.reshape((-1,) + (1,) * (like.ndim - axis - 1))


class PairLoss(Loss):
    """A loss for each pair of elements of two tensors of one shape and type.

    A subclass names its `formula` in `kernels/loss.py`, and gives the gradient of the target. The reduction
    `"batchmean"` divides the sum by the extent of dimension 0.
    """

    saves_inputs = (0, 1)
    formula: str

    def __init__(self, reduction: str, option: float = 0.0) -> None:
        self.reduction, self.option, self.slopes = reduction, float(option), []

    def compute(self, a: Any, b: Any) -> Any:
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
        return kernels.pair_total_and_slope(self.formula, self.option, a, b, self.scale, self._room(a))

    def backward(self, grad: Tensor) -> Any:
        a, b = self.saved_tensors
        to_a, to_b = self.needs_input_grad
        grad_a: Any = None
        grad_b: Any = None
        if (to_a or self.of_difference) and state.enabled:
            # called on tensors, a formula records its operations
            grad_a = formula(f"{self.formula}_grad")(grad * self.scale, a, b, self.option)
        elif to_a or self.of_difference:

            def fill(grad: Any, room: Any) -> None:
                x, y = contiguous(a._array, self.where), contiguous(b._array, self.where)
                kernels = kernels_for(self.where, "loss")
                kernels.pair_backward(self.formula, self.option, grad, self.scale, x, y, room)

            grad_a = grad._wrap_like(self._slope(a._array, grad._array, fill))
        if to_b:
            grad_b = -grad_a if self.of_difference else self.slope_of_target(a, b, grad * self.scale)
        return grad_a if to_a else None, grad_b

    of_difference = False

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
