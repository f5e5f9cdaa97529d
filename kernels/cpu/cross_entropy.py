"""Cross entropy of scores and of log-probabilities on the CPU, forward and backward.

Scores are (outer, classes, inner), C-contiguous, float32 or float64; what belongs to one distribution (labels, losses,
maxima, sums) is (outer, inner). No array of the scores' size is made on the way: a forward pass reads them once and
keeps each distribution's greatest score and the sum of exp(score - greatest), from which backward has the softmax.

`weight` holds a factor for each class, or nothing. Labels are class indices of int64; those outside of the classes are
counted and otherwise treated like `ignored`.
"""

import numpy as np
from nbtorch.kernels.cpu.norm import SUMS
from nbtorch.kernels.cpu.ranges import RangeKernel
from nbtorch.kernels.cpu.softmax import LANES, STRIP, exp_sum, highest
from nbtorch.kernels.elementary import exp, log
from nbtorch.kernels.jit import njit

PARALLEL_SIZE = 1 << 14
"""Scores above which a pass over them takes longer than waking the threads."""

ROWS = 16
"""Distributions that are summed together where `inner` is 1."""

RUN = 2048
"""Distributions that are summed together where one score of each is read."""


def label_forward(
    x: np.ndarray,
    labels: np.ndarray,
    weight: np.ndarray,
    smoothing: float,
    ignored: int,
    tops: np.ndarray,
    totals: np.ndarray,
    losses: np.ndarray,
) -> np.ndarray:
    """Write the losses against class indices, with a share of `smoothing` against all classes alike.

    Returns the sum of the losses, of the weights that count, and the number of labels out of range.
    """
    outer, _, inner = x.shape
    if inner == 1:
        count, arrays = -(-outer // ROWS), [x.reshape(x.shape[:2]), *_flat(labels, tops, totals, losses)]
        kernel = _label_rows
    else:
        count, arrays, kernel = outer * -(-inner // STRIP), [x, labels, tops, totals, losses], _label_strips
    sums = np.empty((max(count, 1), 3))
    if not count:
        sums[:] = 0
    kernel(count, x.size, *arrays, weight, smoothing, ignored, sums)
    return _added_up(sums)


def label_backward(
    x: np.ndarray,
    labels: np.ndarray,
    weight: np.ndarray,
    smoothing: float,
    ignored: int,
    tops: np.ndarray,
    totals: np.ndarray,
    grad: np.ndarray,
    scale: float,
    grad_x: np.ndarray,
) -> None:
    """Write the gradient of `label_forward` by the scores, times `grad` (of one or one per loss) and `scale`."""
    outer, _, inner = x.shape
    grad, each = grad.reshape(-1), grad.size == labels.size
    numbers = weight, smoothing, ignored, grad, each, scale
    if inner == 1:
        shape = x.shape[:2]
        arrays = x.reshape(shape), *_flat(labels, tops, totals), *numbers, grad_x.reshape(shape)
        _label_rows_backward(outer, x.size, *arrays)
    else:
        count = outer * -(-inner // STRIP)
        _label_strips_backward(count, x.size, x, labels, tops, totals, *numbers, grad_x)


def distribution_forward(
    x: np.ndarray, target: np.ndarray, weight: np.ndarray, smoothing: float, *per_row: np.ndarray
) -> np.ndarray:
    """Write the losses against probabilities of classes; `per_row` is tops, totals, losses. Returns their sum."""
    outer = len(x)
    sums = np.zeros((outer, 3))
    _distributions(outer, x.size, x, target, weight, smoothing, *per_row, sums)
    return _added_up(sums) if outer else np.zeros(3)


def distribution_backward(
    x: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray,
    smoothing: float,
    tops: np.ndarray,
    totals: np.ndarray,
    grad: np.ndarray,
    scale: float,
    grad_x: np.ndarray,
) -> None:
    """Write the gradient of `distribution_forward` by the scores, times `grad` and `scale`."""
    each = grad.size == tops.size
    arrays = x, target, weight, smoothing, tops, totals, grad.reshape(-1), each, scale, grad_x
    _distributions_backward(len(x), x.size, *arrays)


def nll_forward(x: np.ndarray, labels: np.ndarray, weight: np.ndarray, ignored: int, losses: np.ndarray) -> np.ndarray:
    """Write -weight·x at the labels, for log-probabilities x; returns what `label_forward` does."""
    count = -(-labels.size // RUN)
    sums = np.empty((max(count, 1), 3))
    if not count:
        sums[:] = 0
    _nll(count, labels.size, x, labels, weight, ignored, losses, sums)
    return _added_up(sums)


def nll_backward(
    labels: np.ndarray, weight: np.ndarray, ignored: int, grad: np.ndarray, scale: float, grad_x: np.ndarray
) -> None:
    """Write the gradient of `nll_forward`, times `grad` (of one or one per loss) and `scale`."""
    each = grad.size == labels.size
    _nll_backward(len(grad_x), grad_x.size, labels, weight, ignored, grad.reshape(-1), each, scale, grad_x)


def _flat(*arrays: np.ndarray) -> list[np.ndarray]:
    return [array.reshape(-1) for array in arrays]


def _added_up(sums: np.ndarray) -> np.ndarray:
    if len(sums) > 1:
        _add_up(sums)
    return sums[0]


@njit
def _add_up(sums):
    """Add all rows to the first, in order."""
    for row in range(1, sums.shape[0]):
        for column in range(sums.shape[1]):
            sums[0, column] += sums[row, column]


@njit(fastmath=SUMS)
def _spread(source, top, logarithm, weight):
    """Return the weighted sum of a distribution's negative log-probabilities."""
    shift, total = logarithm + top, source[0] * 0
    if weight.size:
        for c in range(source.size):
            total += weight[c] * (shift - source[c])
    else:
        for c in range(source.size):
            total += shift - source[c]
    return total


def _label_row_range(x, labels, tops, totals, losses, weight, smoothing, ignored, sums, begin, end):
    rows, classes = x.shape
    one, lanes = x.dtype.type(1), np.empty(LANES, x.dtype)
    share, rest = x.dtype.type(smoothing / classes), x.dtype.type(1 - smoothing)
    for block in range(begin, end):
        total_loss, total_weight, wrong = 0.0, 0.0, 0.0
        for row in range(block * ROWS, min((block + 1) * ROWS, rows)):
            source, label = x[row], labels[row]
            top = highest(source, lanes)
            total = exp_sum(source, top)
            tops[row], totals[row] = top, total
            losses[row] = 0
            if label == ignored:
                continue
            if label < 0 or label >= classes:
                wrong += 1
                continue
            factor = weight[label] if weight.size else one
            logarithm = log(total)
            loss = factor * (logarithm - (source[label] - top))
            if smoothing > 0:
                loss = rest * loss + share * _spread(source, top, logarithm, weight)
            losses[row] = loss
            total_loss += loss
            total_weight += factor
        sums[block, 0], sums[block, 1], sums[block, 2] = total_loss, total_weight, wrong


def _label_strip_range(x, labels, tops, totals, losses, weight, smoothing, ignored, sums, begin, end):
    classes, inner = x.shape[1:]
    strips = (inner + STRIP - 1) // STRIP
    one, spread = x.dtype.type(1), np.empty(STRIP, x.dtype)
    share, rest = x.dtype.type(smoothing / classes), x.dtype.type(1 - smoothing)
    for number in range(begin, end):
        outer, first = number // strips, number % strips * STRIP
        last = min(first + STRIP, inner)
        top, total, loss = tops[outer, first:last], totals[outer, first:last], losses[outer, first:last]
        top[:] = x[outer, 0, first:last]
        for c in range(1, classes):
            source = x[outer, c, first:last]
            for i in range(source.size):
                top[i] = source[i] if source[i] > top[i] else top[i]
        total[:] = 0
        for c in range(classes):
            source = x[outer, c, first:last]
            for i in range(source.size):
                total[i] += exp(source[i] - top[i])
        for i in range(total.size):
            loss[i] = log(total[i])
        if smoothing > 0:
            spread[:] = 0
            for c in range(classes):
                source, factor = x[outer, c, first:last], weight[c] if weight.size else one
                for i in range(source.size):
                    spread[i] += factor * (loss[i] + top[i] - source[i])
        total_loss, total_weight, wrong = 0.0, 0.0, 0.0
        for i in range(total.size):
            label = labels[outer, first + i]
            if label == ignored or label < 0 or label >= classes:
                wrong += label != ignored
                loss[i] = 0
                continue
            factor = weight[label] if weight.size else one
            loss[i] = factor * (loss[i] - (x[outer, label, first + i] - top[i]))
            if smoothing > 0:
                loss[i] = rest * loss[i] + share * spread[i]
            total_loss += loss[i]
            total_weight += factor
        sums[number, 0], sums[number, 1], sums[number, 2] = total_loss, total_weight, wrong


@njit
def _weight_sum(weight, classes):
    """Return the sum of the classes' weights."""
    total = 0.0
    for c in range(weight.size):
        total += weight[c]
    return total if weight.size else float(classes)


def _label_row_gradients(x, labels, tops, totals, weight, smoothing, ignored, grad, each, scale, grad_x, begin, end):
    classes = x.shape[1]
    one, whole = x.dtype.type(1), _weight_sum(weight, classes)
    for row in range(begin, end):
        source, target, label, top = x[row], grad_x[row], labels[row], tops[row]
        if label == ignored or label < 0 or label >= classes:
            target[:] = 0
            continue
        g = grad[row if each else 0] * x.dtype.type(scale)
        hard = g * (weight[label] if weight.size else one) * x.dtype.type(1 - smoothing)
        if smoothing > 0:
            soft = g * x.dtype.type(smoothing / classes)
            slope = (hard + soft * x.dtype.type(whole)) / totals[row]
            if weight.size:
                for c in range(classes):
                    target[c] = exp(source[c] - top) * slope - soft * weight[c]
            else:
                for c in range(classes):
                    target[c] = exp(source[c] - top) * slope - soft
        else:
            slope = hard / totals[row]
            for c in range(classes):
                target[c] = exp(source[c] - top) * slope
        target[label] -= hard


def _label_strip_gradients(x, labels, tops, totals, weight, smoothing, ignored, grad, each, scale, grad_x, begin, end):
    classes, inner = x.shape[1:]
    strips = (inner + STRIP - 1) // STRIP
    one, whole = x.dtype.type(1), x.dtype.type(_weight_sum(weight, classes))
    hard, soft, slope = np.empty(STRIP, x.dtype), np.empty(STRIP, x.dtype), np.empty(STRIP, x.dtype)
    for number in range(begin, end):
        outer, first = number // strips, number % strips * STRIP
        last = min(first + STRIP, inner)
        top, total, label = tops[outer, first:last], totals[outer, first:last], labels[outer, first:last]
        for i in range(top.size):
            hard[i] = 0
            soft[i] = 0
            if label[i] != ignored and 0 <= label[i] < classes:
                g = grad[outer * inner + first + i if each else 0] * x.dtype.type(scale)
                hard[i] = g * (weight[label[i]] if weight.size else one) * x.dtype.type(1 - smoothing)
                soft[i] = g * x.dtype.type(smoothing / classes)
            slope[i] = (hard[i] + soft[i] * whole) / total[i]
        for c in range(classes):
            source, target = x[outer, c, first:last], grad_x[outer, c, first:last]
            factor = weight[c] if weight.size else one
            for i in range(source.size):
                target[i] = exp(source[i] - top[i]) * slope[i] - soft[i] * factor
        for i in range(top.size):
            if label[i] == ignored or label[i] < 0 or label[i] >= classes:
                grad_x[outer, :, first + i] = 0
            else:
                grad_x[outer, label[i], first + i] -= hard[i]


def _distribution_range(x, target, weight, smoothing, tops, totals, losses, sums, begin, end):
    classes, inner = x.shape[1:]
    share, rest = x.dtype.type(smoothing / classes), x.dtype.type(1 - smoothing)
    one, lanes = x.dtype.type(1), np.empty(LANES, x.dtype)
    for outer in range(begin, end):
        top, total, loss = tops[outer], totals[outer], losses[outer]
        if inner == 1:
            source, goal, factors = x[outer].reshape(classes), target[outer].reshape(classes), weight
            top[0] = highest(source, lanes)
            total[0] = exp_sum(source, top[0])
            loss[0] = _dot(source, goal, factors, top[0] + log(total[0]), rest, share)
        else:
            top[:] = x[outer, 0]
            for c in range(1, classes):
                source = x[outer, c]
                for i in range(inner):
                    top[i] = source[i] if source[i] > top[i] else top[i]
            total[:] = 0
            for c in range(classes):
                source = x[outer, c]
                for i in range(inner):
                    total[i] += exp(source[i] - top[i])
            loss[:] = 0
            for c in range(classes):
                source, goal, factor = x[outer, c], target[outer, c], weight[c] if weight.size else one
                for i in range(inner):
                    loss[i] += factor * (goal[i] * rest + share) * (log(total[i]) - (source[i] - top[i]))
        for i in range(inner):
            sums[outer, 0] += loss[i]


@njit(fastmath=SUMS)
def _dot(source, goal, weight, shift, rest, share):
    """Return the cross entropy of one distribution, the logarithm of whose sum is `shift`."""
    total = source[0] * 0
    if weight.size:
        for c in range(source.size):
            total += weight[c] * (goal[c] * rest + share) * (shift - source[c])
    else:
        for c in range(source.size):
            total += (goal[c] * rest + share) * (shift - source[c])
    return total


def _distribution_gradients(x, target, weight, smoothing, tops, totals, grad, each, scale, grad_x, begin, end):
    classes, inner = x.shape[1:]
    share, rest = x.dtype.type(smoothing / classes), x.dtype.type(1 - smoothing)
    one, slope, factors = x.dtype.type(1), np.empty(inner, x.dtype), np.empty(inner, x.dtype)
    for outer in range(begin, end):
        top = tops[outer]
        slope[:] = 0
        for c in range(classes):
            goal, factor = target[outer, c], weight[c] if weight.size else one
            for i in range(inner):
                slope[i] += factor * (goal[i] * rest + share)
        for i in range(inner):
            factors[i] = grad[outer * inner + i if each else 0] * x.dtype.type(scale)
            slope[i] *= factors[i] / totals[outer, i]
        if inner == 1:
            source, goal = x[outer].reshape(classes), target[outer].reshape(classes)
            result, near, g, s = grad_x[outer].reshape(classes), top[0], factors[0], slope[0]
            if weight.size:
                for c in range(classes):
                    result[c] = exp(source[c] - near) * s - g * weight[c] * (goal[c] * rest + share)
            else:
                for c in range(classes):
                    result[c] = exp(source[c] - near) * s - g * (goal[c] * rest + share)
            continue
        for c in range(classes):
            source, goal, result = x[outer, c], target[outer, c], grad_x[outer, c]
            factor = weight[c] if weight.size else one
            for i in range(inner):
                result[i] = exp(source[i] - top[i]) * slope[i] - factors[i] * factor * (goal[i] * rest + share)


def _nll_range(x, labels, weight, ignored, losses, sums, begin, end):
    classes, inner = x.shape[1:]
    one = x.dtype.type(1)
    for run in range(begin, end):
        total_loss, total_weight, wrong = 0.0, 0.0, 0.0
        first, last = run * RUN, min((run + 1) * RUN, labels.size)
        outer, position = first // inner, first % inner
        for _ in range(first, last):
            label = labels[outer, position]
            losses[outer, position] = 0
            if label != ignored:
                if 0 <= label < classes:
                    factor = weight[label] if weight.size else one
                    loss = -x[outer, label, position] * factor
                    losses[outer, position] = loss
                    total_loss += loss
                    total_weight += factor
                else:
                    wrong += 1
            position += 1
            if position == inner:
                outer, position = outer + 1, 0
        sums[run, 0], sums[run, 1], sums[run, 2] = total_loss, total_weight, wrong


def _nll_gradients(labels, weight, ignored, grad, each, scale, grad_x, begin, end):
    classes, inner = grad_x.shape[1:]
    one = grad_x.dtype.type(1)
    for outer in range(begin, end):
        grad_x[outer] = 0
        for position in range(inner):
            label = labels[outer, position]
            if label != ignored and 0 <= label < classes:
                g = grad[outer * inner + position if each else 0] * grad_x.dtype.type(scale)
                grad_x[outer, label, position] = -g * (weight[label] if weight.size else one)


_label_rows = RangeKernel(_label_row_range, PARALLEL_SIZE)
_label_strips = RangeKernel(_label_strip_range, PARALLEL_SIZE)
_label_rows_backward = RangeKernel(_label_row_gradients, PARALLEL_SIZE)
_label_strips_backward = RangeKernel(_label_strip_gradients, PARALLEL_SIZE)
_distributions = RangeKernel(_distribution_range, PARALLEL_SIZE)
_distributions_backward = RangeKernel(_distribution_gradients, PARALLEL_SIZE)
_nll = RangeKernel(_nll_range, PARALLEL_SIZE)
_nll_backward = RangeKernel(_nll_gradients, PARALLEL_SIZE)
