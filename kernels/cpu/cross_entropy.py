"""Cross entropy of scores and of log-probabilities on the CPU, forward and backward.

Scores are (outer, classes, inner) or (rows, classes), C-contiguous, float32 or float64; what belongs to one
distribution (labels, losses) has these extents without the classes. One pass finds a distribution's greatest score, the
exponentials and their sum while it lies in the cache, and from them the loss, the gradient or both.

`weight` holds a factor for each class, or nothing. Labels are class indices of int64; those outside of the classes are
counted and otherwise treated like `ignored`. `reduction` is `"none"`, `"mean"` or `"sum"`: what `output` receives.
"""

from typing import Any

import numpy as np
from nbtorch.kernels.cpu.norm import SUMS
from nbtorch.kernels.cpu.ranges import RangeKernel
from nbtorch.kernels.cpu.softmax import exp_sum, highest
from nbtorch.kernels.elementary import exp_below, log
from nbtorch.kernels.jit import njit

PARALLEL_SIZE = 1 << 14
"""Scores above which a pass over them takes longer than waking the threads."""

TOGETHER = 1024
"""Scores of the rows that are taken together, so that the exponentials of short rows fill vectors."""

LONG = 64
"""Classes from which on a row fills vectors by itself."""

RUN = 2048
"""Distributions that are summed together where one score of each is read."""

_NOTHING = {(np.dtype(kind), ndim): np.empty((0,) * ndim, kind) for kind in ("f4", "f8") for ndim in (2, 3)}
_ONE = {np.dtype(kind): np.ones(1, kind) for kind in ("f4", "f8")}


def label_forward(
    x: np.ndarray,
    labels: np.ndarray,
    weight: np.ndarray,
    smoothing: float,
    ignored: int,
    reduction: str,
    output: np.ndarray,
    grad_x: np.ndarray | None = None,
) -> tuple[np.ndarray, None]:
    """Write the losses against class indices, with a share of `smoothing` against all classes alike, or their total.

    `grad_x` receives what `label_backward` writes for a gradient of 1. Returns an array that begins with the sum of
    the weights that count and the number of labels out of range, and what `label_backward` wants to be given: nothing.
    """
    dtype, each, mean, output = x.dtype, reduction == "none", reduction == "mean", output.ravel()
    target = _NOTHING[dtype, x.ndim] if grad_x is None else grad_x
    return _run_labels(x, labels, weight, smoothing, ignored, each, mean, _ONE[dtype], target, output), None


def label_backward(
    x: np.ndarray,
    labels: np.ndarray,
    weight: np.ndarray,
    smoothing: float,
    ignored: int,
    kept: None,
    reduction: str,
    grad: np.ndarray,
    grad_x: np.ndarray,
) -> None:
    """Write the gradient of `label_forward` by the scores, times `grad`: of one element, or one for each loss."""
    mean, unused = reduction == "mean", np.empty(labels.size, x.dtype)
    _run_labels(x, labels, weight, smoothing, ignored, True, mean, grad.ravel(), grad_x, unused)


def _run_labels(x: np.ndarray, *arguments: Any) -> np.ndarray:
    """Run the kernel for labels; returns the weights that count, how many labels are wrong, and sums of losses."""
    if x.ndim == 2:
        count, kernel = _row_blocks(x), _label_rows
    else:
        count, kernel = len(x) * _strips(x), _label_strips
    record = np.empty(2 + count)
    kernel(count, x.size, x, *arguments, record)
    if x.size >= PARALLEL_SIZE:
        each, mean = arguments[4:6]
        _finish(record[2:], record[0] if mean else 1.0, each, arguments[-1])
    return record


def distribution_forward(
    x: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray,
    smoothing: float,
    reduction: str,
    output: np.ndarray,
    grad_x: np.ndarray | None = None,
) -> None:
    """Write the losses against probabilities of classes or their total, and the gradient, as `label_forward` does.

    The mean is over the distributions.
    """
    each, mean, output = reduction == "none", reduction == "mean", output.ravel()
    grad_target = _NOTHING[x.dtype, x.ndim] if grad_x is None else grad_x
    _run_distributions(x, target, weight, smoothing, each, mean, _ONE[x.dtype], grad_target, output)


def distribution_backward(
    x: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray,
    smoothing: float,
    kept: None,
    reduction: str,
    grad: np.ndarray,
    grad_x: np.ndarray,
) -> None:
    """Write the gradient of `distribution_forward` by the scores, times `grad`."""
    mean, unused = reduction == "mean", np.empty(x.size // x.shape[1], x.dtype)
    _run_distributions(x, target, weight, smoothing, True, mean, grad.ravel(), grad_x, unused)


def _run_distributions(x: np.ndarray, *arguments: Any) -> None:
    if x.ndim == 2:
        count, kernel = _row_blocks(x), _distribution_rows
    else:
        count, kernel = len(x) * _strips(x), _distribution_strips
    partial = np.empty(count)
    kernel(count, x.size, x, *arguments, partial)
    if x.size >= PARALLEL_SIZE:
        each, mean = arguments[3:5]
        _finish(partial, x.size // x.shape[1] if mean else 1.0, each, arguments[-1])


def nll_forward(
    x: np.ndarray, labels: np.ndarray, weight: np.ndarray, ignored: int, reduction: str, output: np.ndarray
) -> np.ndarray:
    """Write -weight·x at the labels, for log-probabilities x, or their total.

    Returns an array that begins with the sum of the weights that count and the number of labels out of range.
    """
    size, each, mean, output = labels.size, reduction == "none", reduction == "mean", output.ravel()
    count = -(-size // RUN)
    record = np.empty(2 + 3 * count)
    _nll(count, size, x, labels, weight, ignored, each, mean, output, record)
    if size >= PARALLEL_SIZE:
        _finish_nll(record, each, mean, output)
    return record


def nll_backward(
    labels: np.ndarray, weight: np.ndarray, ignored: int, grad: np.ndarray, scale: float, grad_x: np.ndarray
) -> None:
    """Write the gradient of `nll_forward`, times `grad` (of one or one per loss) and `scale`."""
    _nll_backward(len(grad_x), grad_x.size, labels, weight, ignored, grad.ravel(), scale, grad_x)


@njit
def nll_of_rows(x, labels, ignored, mean, output):
    """Do what `nll_forward` does for a few rows without weights; returns the number of labels out of range."""
    classes, total, count, wrong = x.shape[1], 0.0, 0, 0
    for row in range(labels.size):
        label = labels[row]
        if label != ignored:
            if 0 <= label < classes:
                total -= x[row, label]
                count += 1
            else:
                wrong += 1
    output[()] = total / (float(count) if mean else 1.0)
    return wrong


@njit
def cross_entropy_of_rows(x, labels, ignored, mean, output):
    """Do what `label_forward` does for few scores without weights; returns the number of labels out of range."""
    rows, classes = x.shape
    together = max(1, TOGETHER // classes)
    blocks = (rows + together - 1) // together
    nothing, total, record = np.empty((0, 0), x.dtype), np.empty(1, x.dtype), np.empty(2 + blocks)
    weight = nothing.reshape(0)
    _label_row_kernel(x, labels, weight, 0.0, ignored, False, mean, total, nothing, total, record, 0, blocks)
    output[()] = total[0]
    return int(record[1])


def _row_blocks(x: np.ndarray) -> int:
    rows, classes = x.shape
    return -(-rows // max(1, TOGETHER // classes))


def _strips(x: np.ndarray) -> int:
    return -(-x.shape[2] // _width(x.shape[1]))


@njit
def _width(classes):
    """Return how many neighbouring distributions are taken together: what fits the first cache, whole vectors."""
    return min(512, max(64, 4096 // classes // 16 * 16))


@njit
def _finish(partial, divisor, each, output):
    """Write the sum of what blocks add up to, divided, unless each loss was written."""
    if not each:
        total = 0.0
        for block in range(partial.size):
            total += partial[block]
        output[0] = total / divisor


@njit
def _counted(labels, weight, ignored, classes):
    """Return the sum of the weights of labels that count, and how many labels are out of range."""
    total, wrong = 0.0, 0
    if weight.size:
        for label in labels.flat:
            if 0 <= label < classes:
                total += weight[label] if label != ignored else 0
            else:
                wrong += label != ignored
        return total, wrong
    flat, count = labels.reshape(labels.size), 0
    for i in range(flat.size):
        inside = (flat[i] >= 0) & (flat[i] < classes)
        count += inside & (flat[i] != ignored)
        wrong += (not inside) & (flat[i] != ignored)
    return float(count), wrong


@njit
def _weight_sum(weight, classes):
    """Return the sum of the classes' weights."""
    total = 0.0
    for c in range(weight.size):
        total += weight[c]
    return total if weight.size else float(classes)


@njit(fastmath=SUMS)
def _exponentials(row, top, target):
    """Write exp(element - top), where `top` is the greatest; return their sum."""
    total = row.dtype.type(0)
    for i in range(row.size):
        target[i] = exp_below(row[i] - top)
        total += target[i]
    return total


@njit(fastmath=SUMS)
def _sum(row):
    total = row.dtype.type(0)
    for i in range(row.size):
        total += row[i]
    return total


@njit
def _softmax_parts(x, stored, tops, totals, logarithms):
    """Find the greatest score of each row, the sum of the exponentials above it and that sum's logarithm.

    `stored` receives the exponentials of rows that are short, or where it has as many rows.
    """
    rows, classes = x.shape
    if classes < LONG:
        for row in range(rows):
            source, target = x[row], stored[row]
            top = highest(source)
            for c in range(classes):
                target[c] = source[c] - top
            tops[row] = top
        flat = stored[:rows].reshape(rows * classes)
        for i in range(flat.size):
            flat[i] = exp_below(flat[i])
        for row in range(rows):
            totals[row] = _sum(stored[row])
    else:
        for row in range(rows):
            top = highest(x[row])
            tops[row] = top
            totals[row] = _exponentials(x[row], top, stored[row]) if stored.size else exp_sum(x[row], top)
    for row in range(rows):
        logarithms[row] = log(totals[row])


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


@njit
def _label_gradient(target, total, label, weight, whole, smoothing, g):
    """Turn exponentials with a sum of `total` into the gradient of the loss against a label, times g."""
    one, classes = target.dtype.type(1), target.size
    hard = g * (weight[label] if weight.size else one) * target.dtype.type(1 - smoothing)
    if smoothing > 0:
        soft = g * target.dtype.type(smoothing / classes)
        slope = (hard + soft * target.dtype.type(whole)) / total
        if weight.size:
            for c in range(classes):
                target[c] = target[c] * slope - soft * weight[c]
        else:
            for c in range(classes):
                target[c] = target[c] * slope - soft
    else:
        slope = hard / total
        for c in range(classes):
            target[c] *= slope
    target[label] -= hard


def _label_row_range(x, labels, weight, smoothing, ignored, each, mean, grad, grad_x, output, record, begin, end):
    rows, classes = x.shape
    together, whole, one = max(1, TOGETHER // classes), _weight_sum(weight, classes), x.dtype.type(1)
    share, rest = x.dtype.type(smoothing / classes), x.dtype.type(1 - smoothing)
    tops, totals, logarithms = np.empty(together, x.dtype), np.empty(together, x.dtype), np.empty(together, x.dtype)
    scratch = np.empty((together if classes < LONG and not grad_x.size else 0, classes), x.dtype)
    divisor, wrong = _counted(labels, weight, ignored, classes)
    if begin == 0:
        record[0], record[1] = divisor, wrong
    if not mean:
        divisor = 1.0
    scale, partial = x.dtype.type(1 / divisor), record[2:]
    for block in range(begin, end):
        first, last = block * together, min((block + 1) * together, rows)
        part = grad_x[first:last] if grad_x.size else scratch
        _softmax_parts(x[first:last], part, tops, totals, logarithms)
        sum_of_losses = 0.0
        for row in range(first, last):
            place, label, loss = row - first, labels[row], x.dtype.type(0)
            counts = label != ignored and 0 <= label < classes
            if counts:
                top, logarithm = tops[place], logarithms[place]
                loss = (weight[label] if weight.size else one) * (logarithm - (x[row, label] - top))
                if smoothing > 0:
                    loss = rest * loss + share * _spread(x[row], top, logarithm, weight)
                sum_of_losses += loss
            if each:
                output[row] = loss
            if grad_x.size:
                if counts:
                    g = grad[row if grad.size > 1 else 0] * scale
                    _label_gradient(part[place], totals[place], label, weight, whole, smoothing, g)
                else:
                    part[place] = 0
        partial[block] = sum_of_losses
    if begin == 0 and end == partial.size:
        _finish(partial, divisor, each, output)


@njit
def _strip_parts(x, outer, first, last, tile, tops, totals, logarithms):
    """Do what `_softmax_parts` does for a strip; the exponentials go to `tile`, (classes, width or more).

    Neighbouring classes lie a multiple of a page apart, which few places in the first cache are for: hence the copy.
    """
    classes, width = x.shape[1], last - first
    tops[:width] = x[outer, 0, first:last]
    totals[:width] = 0
    for c in range(classes):
        source, target = x[outer, c, first:last], tile[c]
        for i in range(width):
            value, top = source[i], tops[i]
            target[i] = value
            tops[i] = value if value > top else top
    for c in range(classes):
        target = tile[c]
        for i in range(width):
            value = exp_below(target[i] - tops[i])
            target[i] = value
            totals[i] += value
    for i in range(width):
        logarithms[i] = log(totals[i])


@njit
def _label_losses(x, outer, first, last, labels, weight, smoothing, ignored, tops, logarithms, losses):
    """Write the losses of a strip against its labels, 0 where they do not count; return their sum."""
    classes, width, one = x.shape[1], last - first, x.dtype.type(1)
    share, rest = x.dtype.type(smoothing / classes), x.dtype.type(1 - smoothing)
    losses[:] = 0
    if smoothing > 0:
        for c in range(classes):
            source, factor = x[outer, c, first:last], share * (weight[c] if weight.size else one)
            for i in range(width):
                losses[i] += factor * (logarithms[i] + tops[i] - source[i])
    total = 0.0
    for i in range(width):
        label = labels[outer, first + i]
        if label == ignored or label < 0 or label >= classes:
            losses[i] = 0
        else:
            factor = rest * (weight[label] if weight.size else one)
            losses[i] += factor * (logarithms[i] - (x[outer, label, first + i] - tops[i]))
            total += losses[i]
    return total


@njit
def _label_strip_gradients(
    outer, first, last, labels, weight, whole, smoothing, ignored, g, tile, totals, grad_x, work
):
    """Write the gradients of a strip, times g, given its exponentials; `work` holds three strips."""
    classes, width, one, zero = grad_x.shape[1], last - first, grad_x.dtype.type(1), grad_x.dtype.type(0)
    rest, share = grad_x.dtype.type(1 - smoothing), grad_x.dtype.type(smoothing / classes)
    hard, soft, slope = work[0], work[1], work[2]
    for i in range(width):
        label = labels[outer, first + i]
        if label == ignored or label < 0 or label >= classes:
            hard[i], soft[i], slope[i] = zero, zero, zero
        else:
            hard[i] = g[i] * (weight[label] if weight.size else one) * rest
            soft[i] = g[i] * share if smoothing > 0 else zero
            slope[i] = (hard[i] + soft[i] * grad_x.dtype.type(whole)) / totals[i]
    if smoothing > 0:
        for c in range(classes):
            source, target, factor = tile[c], grad_x[outer, c, first:last], weight[c] if weight.size else one
            for i in range(width):
                target[i] = source[i] * slope[i] - soft[i] * factor
    else:
        for c in range(classes):
            source, target = tile[c], grad_x[outer, c, first:last]
            for i in range(width):
                target[i] = source[i] * slope[i]
    for i in range(width):
        label = labels[outer, first + i]
        if label == ignored or label < 0 or label >= classes:
            grad_x[outer, :, first + i] = 0
        else:
            grad_x[outer, label, first + i] -= hard[i]


def _label_strip_range(x, labels, weight, smoothing, ignored, each, mean, grad, grad_x, output, record, begin, end):
    classes, inner = x.shape[1:]
    strip, whole = _width(classes), _weight_sum(weight, classes)
    strips, work, tile = (
        (inner + strip - 1) // strip,
        np.empty((8, strip), x.dtype),
        np.empty((classes, strip), x.dtype),
    )
    tops, totals, logarithms, losses, g = work[0], work[1], work[2], work[3], work[4]
    divisor, wrong = _counted(labels, weight, ignored, classes)
    if begin == 0:
        record[0], record[1] = divisor, wrong
    if not mean:
        divisor = 1.0
    scale, partial = x.dtype.type(1 / divisor), record[2:]
    for number in range(begin, end):
        outer, first = number // strips, number % strips * strip
        last, place = min(first + strip, inner), outer * inner + first
        _strip_parts(x, outer, first, last, tile, tops, totals, logarithms)
        partial[number] = _label_losses(
            x, outer, first, last, labels, weight, smoothing, ignored, tops, logarithms, losses
        )
        if each:
            output[place : place + last - first] = losses[: last - first]
        if grad_x.size:
            for i in range(last - first):
                g[i] = grad[place + i if grad.size > 1 else 0] * scale
            _label_strip_gradients(
                outer, first, last, labels, weight, whole, smoothing, ignored, g, tile, totals, grad_x, work[5:]
            )
    if begin == 0 and end == partial.size:
        _finish(partial, divisor, each, output)


@njit(fastmath=SUMS)
def _against(source, goal, weight, shift, rest, share):
    """Return the cross entropy of a distribution, the logarithm of whose sum is `shift`, and its goal's mass."""
    loss, mass = source[0] * 0, source[0] * 0
    if weight.size:
        for c in range(source.size):
            wanted = weight[c] * (goal[c] * rest + share)
            loss += wanted * (shift - source[c])
            mass += wanted
    else:
        for c in range(source.size):
            wanted = goal[c] * rest + share
            loss += wanted * (shift - source[c])
            mass += wanted
    return loss, mass


@njit
def _distribution_gradient(target, goal, weight, slope, g, rest, share):
    """Turn exponentials into the gradient of the loss against a goal, times g."""
    if weight.size:
        for c in range(target.size):
            target[c] = target[c] * slope - g * weight[c] * (goal[c] * rest + share)
    else:
        for c in range(target.size):
            target[c] = target[c] * slope - g * (goal[c] * rest + share)


def _distribution_row_range(x, goals, weight, smoothing, each, mean, grad, grad_x, output, partial, begin, end):
    rows, classes = x.shape
    together = max(1, TOGETHER // classes)
    share, rest = x.dtype.type(smoothing / classes), x.dtype.type(1 - smoothing)
    tops, totals, logarithms = np.empty(together, x.dtype), np.empty(together, x.dtype), np.empty(together, x.dtype)
    scratch = np.empty((together if classes < LONG and not grad_x.size else 0, classes), x.dtype)
    divisor = float(rows) if mean else 1.0
    scale = x.dtype.type(1 / divisor)
    for block in range(begin, end):
        first, last = block * together, min((block + 1) * together, rows)
        part = grad_x[first:last] if grad_x.size else scratch
        _softmax_parts(x[first:last], part, tops, totals, logarithms)
        partial[block] = 0
        for row in range(first, last):
            place = row - first
            loss, mass = _against(x[row], goals[row], weight, tops[place] + logarithms[place], rest, share)
            partial[block] += loss
            if each:
                output[row] = loss
            if grad_x.size:
                g = grad[row if grad.size > 1 else 0] * scale
                _distribution_gradient(part[place], goals[row], weight, g * mass / totals[place], g, rest, share)
    if begin == 0 and end == partial.size:
        _finish(partial, divisor, each, output)


def _distribution_strip_range(x, goals, weight, smoothing, each, mean, grad, grad_x, output, partial, begin, end):
    classes, inner = x.shape[1:]
    strip = _width(classes)
    strips, work, tile = (
        (inner + strip - 1) // strip,
        np.empty((7, strip), x.dtype),
        np.empty((classes, strip), x.dtype),
    )
    tops, totals, logarithms, losses, masses, g, slope = work[0], work[1], work[2], work[3], work[4], work[5], work[6]
    share, rest, one = x.dtype.type(smoothing / classes), x.dtype.type(1 - smoothing), x.dtype.type(1)
    divisor = float(len(x) * inner) if mean else 1.0
    scale = x.dtype.type(1 / divisor)
    for number in range(begin, end):
        outer, first = number // strips, number % strips * strip
        last = min(first + strip, inner)
        width, place = last - first, outer * inner + first
        _strip_parts(x, outer, first, last, tile, tops, totals, logarithms)
        losses[:] = 0
        masses[:] = 0
        for c in range(classes):
            source, goal = x[outer, c, first:last], goals[outer, c, first:last]
            factor = weight[c] if weight.size else one
            for i in range(width):
                wanted = factor * (goal[i] * rest + share)
                losses[i] += wanted * (logarithms[i] - (source[i] - tops[i]))
                masses[i] += wanted
        partial[number] = 0
        for i in range(width):
            partial[number] += losses[i]
        if each:
            output[place : place + width] = losses[:width]
        if grad_x.size:
            for i in range(width):
                g[i] = grad[place + i if grad.size > 1 else 0] * scale
                slope[i] = g[i] * masses[i] / totals[i]
            for c in range(classes):
                target, goal = grad_x[outer, c, first:last], goals[outer, c, first:last]
                source, factor = tile[c], weight[c] if weight.size else one
                for i in range(width):
                    target[i] = source[i] * slope[i] - g[i] * factor * (goal[i] * rest + share)
    if begin == 0 and end == partial.size:
        _finish(partial, divisor, each, output)


@njit
def _finish_nll(record, each, mean, output):
    """Add up the runs' sums of weights, of wrong labels and of losses; write the total of the losses."""
    total, record[0], record[1] = 0.0, 0, 0
    for place in range(2, record.size, 3):
        record[0] += record[place]
        record[1] += record[place + 1]
        total += record[place + 2]
    if not each:
        output[0] = total / (record[0] if mean else 1.0)


def _nll_range(x, labels, weight, ignored, each, mean, output, record, begin, end):
    classes, inner, one = x.shape[1], x.size // (x.shape[0] * x.shape[1]), x.dtype.type(1)
    scores, flat = x.reshape(x.size), labels.reshape(labels.size)
    for run in range(begin, end):
        total_loss, total_weight, wrong = 0.0, 0.0, 0.0
        first, last = run * RUN, min((run + 1) * RUN, labels.size)
        outer, position = first // inner, first % inner
        for place in range(first, last):
            label, loss = flat[place], one * 0
            if label != ignored:
                if 0 <= label < classes:
                    factor = weight[label] if weight.size else one
                    loss = -scores[(outer * classes + label) * inner + position] * factor
                    total_loss += loss
                    total_weight += factor
                else:
                    wrong += 1
            if each:
                output[place] = loss
            position += 1
            if position == inner:
                outer, position = outer + 1, 0
        start = 2 + 3 * run
        record[start], record[start + 1], record[start + 2] = total_weight, wrong, total_loss
    if begin == 0 and 2 + 3 * end == record.size:
        _finish_nll(record, each, mean, output)


def _nll_gradients(labels, weight, ignored, grad, scale, grad_x, begin, end):
    classes, inner, one = grad_x.shape[1], labels.size // labels.shape[0], grad_x.dtype.type(1)
    flat = labels.reshape(labels.size)
    for outer in range(begin, end):
        target = grad_x[outer].reshape(classes * inner)
        target[:] = 0
        for position in range(inner):
            place = outer * inner + position
            label = flat[place]
            if label != ignored and 0 <= label < classes:
                g = grad[place if grad.size > 1 else 0] * grad_x.dtype.type(scale)
                target[label * inner + position] = -g * (weight[label] if weight.size else one)


_label_rows = RangeKernel(_label_row_range, PARALLEL_SIZE)
_label_row_kernel = _label_rows.kernel
_label_strips = RangeKernel(_label_strip_range, PARALLEL_SIZE)
_distribution_rows = RangeKernel(_distribution_row_range, PARALLEL_SIZE)
_distribution_strips = RangeKernel(_distribution_strip_range, PARALLEL_SIZE)
_nll = RangeKernel(_nll_range, PARALLEL_SIZE)
_nll_backward = RangeKernel(_nll_gradients, PARALLEL_SIZE)
