"""Cross entropy of scores and of log-probabilities on CUDA: the functions of `nbtorch.kernels.cpu.cross_entropy`.

A block works on one distribution at a time; sums are in float64 and in an order of their own, the same in every run.
"""

import functools
import math
from typing import Any

import numpy as np
from nbtorch.kernels.cuda import target
from nbtorch.kernels.cuda.target import block_reduce, cuda, device

THREADS = target.THREADS

BLOCKS = 2
"""Blocks that should fit on a multiprocessor at once: so many leave the registers that the sums in float64 need."""


def label_forward(
    x: Any, labels: Any, weight: Any, smoothing: float, ignored: int, reduction: str, output: Any
) -> tuple[tuple[float, int], Any]:
    """Write the losses against class indices, with a share of `smoothing` against all classes alike, or their total.

    Returns the sum of the weights that count with the number of labels out of range, and what `label_backward` wants.
    """
    rows, classes, inner = _extents(x)
    losses, counted, tops, totals = _per_row(x, reduction, output, 4)
    kernel, sizes = label(np.dtype(x.dtype)), (rows, classes, inner, weight.size, smoothing, ignored)
    kernel(target.blocks_for_rows(rows), x, labels, weight, tops, totals, losses, counted, *sizes)
    divisor, wrong = _counted(counted, labels, classes, ignored)
    _reduce(losses, reduction, divisor, output)
    return (divisor, wrong), (tops, totals, divisor)


def label_backward(
    x: Any,
    labels: Any,
    weight: Any,
    smoothing: float,
    ignored: int,
    kept: tuple[Any, Any, float],
    reduction: str,
    grad: Any,
    grad_x: Any,
) -> None:
    """Write the gradient of `label_forward` by the scores, times `grad`: of one element, or one for each loss."""
    rows, classes, inner = _extents(x)
    whole, each = float(weight.sum(dtype=np.float64)) if weight.size else float(classes), int(grad.size == rows)
    tops, totals, divisor = kept
    sizes = rows, classes, inner, weight.size, each, whole, smoothing, _scale(reduction, divisor), ignored
    kernel = label_gradient(np.dtype(x.dtype))
    kernel(target.blocks_for_rows(rows), x, labels, weight, tops, totals, grad, grad_x, *sizes)


def distribution_forward(
    x: Any, goal: Any, weight: Any, smoothing: float, reduction: str, output: Any
) -> tuple[Any, Any]:
    """Write the losses against probabilities of classes, or their total; returns what `distribution_backward` wants."""
    rows, classes, inner = _extents(x)
    losses, tops, totals = _per_row(x, reduction, output, 3)
    kernel, sizes = distribution(np.dtype(x.dtype)), (rows, classes, inner, weight.size, smoothing)
    kernel(target.blocks_for_rows(rows), x, goal, weight, tops, totals, losses, *sizes)
    _reduce(losses, reduction, rows, output)
    return tops, totals


def distribution_backward(
    x: Any,
    goal: Any,
    weight: Any,
    smoothing: float,
    kept: tuple[Any, Any],
    reduction: str,
    grad: Any,
    grad_x: Any,
) -> None:
    """Write the gradient of `distribution_forward` by the scores, times `grad`."""
    rows, classes, inner = _extents(x)
    sizes = rows, classes, inner, weight.size, int(grad.size == rows), smoothing, _scale(reduction, rows)
    kernel = distribution_gradient(np.dtype(x.dtype))
    kernel(target.blocks_for_rows(rows), x, goal, weight, *kept, grad, grad_x, *sizes)


def nll_forward(x: Any, labels: Any, weight: Any, ignored: int, reduction: str, output: Any) -> tuple[float, int]:
    """Write -weight·x at the labels, for log-probabilities x, or their total.

    Returns the sum of the weights that count and the number of labels out of range.
    """
    _, classes, inner = _extents(x)
    losses, counted = _per_row(x, reduction, output, 2)
    kernel, sizes = pick(np.dtype(x.dtype)), (labels.size, classes, inner, weight.size, ignored)
    kernel(target.blocks_for(labels.size, THREADS), x, labels, weight, losses, counted, *sizes)
    divisor, wrong = _counted(counted, labels, classes, ignored)
    _reduce(losses, reduction, divisor, output)
    return divisor, wrong


def nll_backward(labels: Any, weight: Any, ignored: int, grad: Any, scale: float, grad_x: Any) -> None:
    """Write the gradient of `nll_forward`, times `grad` (of one element or one per loss) and `scale`."""
    _, classes, inner = _extents(grad_x)
    grad_x[...] = 0
    kernel = place(np.dtype(grad_x.dtype))
    sizes = labels.size, classes, inner, weight.size, int(grad.size == labels.size), scale, ignored
    kernel(target.blocks_for(labels.size, THREADS), labels, weight, grad, grad_x, *sizes)


def _extents(x: Any) -> tuple[int, int, int]:
    """Return how many distributions there are, of how many classes, and how many of them lie side by side."""
    classes, inner = x.shape[1], x.shape[2] if x.ndim == 3 else 1
    return x.shape[0] * inner, classes, inner


def _per_row(x: Any, reduction: str, output: Any, count: int) -> list[Any]:
    """Return so many arrays of one number for each distribution; the first is `output` where that wants each loss."""
    rows, _, _ = _extents(x)
    arrays = [target.empty(x, rows) for _ in range(count)]
    return [output.reshape(-1), *arrays[1:]] if reduction == "none" else arrays


def _counted(counted: Any, labels: Any, classes: int, ignored: int) -> tuple[float, int]:
    wrong = ((labels < 0) | (labels >= classes)) & (labels != ignored)
    return float(counted.sum(dtype=np.float64)), int(wrong.sum())


def _reduce(losses: Any, reduction: str, divisor: float, output: Any) -> None:
    if reduction != "none":
        output[...] = losses.sum(dtype=np.float64) / (np.float64(divisor) if reduction == "mean" else 1)


def _scale(reduction: str, divisor: float) -> float:
    if reduction != "mean":
        return 1.0
    return 1 / divisor if divisor else math.inf


@device
def softmax_sums(x, start, classes, inner, shared):
    """Return a distribution's greatest score and the sum of exp(score - greatest)."""
    top = -math.inf
    c = cuda.threadIdx.x
    while c < classes:
        top = max(top, x[start + c * inner])
        c += THREADS
    top = block_reduce(top, shared, True)
    total = 0.0
    c = cuda.threadIdx.x
    while c < classes:
        total += math.exp(x[start + c * inner] - top)
        c += THREADS
    return top, block_reduce(total, shared, False)


@functools.cache
def label(dtype: np.dtype) -> target.Kernel:
    """Make the kernel in which a block finds a distribution's loss against a class index."""

    def kernel(x, labels, weight, tops, totals, losses, counted, rows, classes, inner, weights, smoothing, ignored):
        shared = cuda.shared.array(THREADS, "float64")
        row = cuda.blockIdx.x
        while row < rows:
            start = row // inner * classes * inner + row % inner
            top, total = softmax_sums(x, start, classes, inner, shared)
            logarithm = math.log(total)
            spread = 0.0
            if smoothing > 0:
                c = cuda.threadIdx.x
                while c < classes:
                    loss = logarithm - (x[start + c * inner] - top)
                    spread += loss * weight[c] if weights > 0 else loss
                    c += THREADS
                spread = block_reduce(spread, shared, False)
            if cuda.threadIdx.x == 0:
                chosen = labels[row]
                tops[row], totals[row] = top, total
                if chosen == ignored or chosen < 0 or chosen >= classes:
                    losses[row], counted[row] = 0, 0
                else:
                    factor = float(weight[chosen]) if weights > 0 else 1.0
                    loss = factor * (logarithm - (x[start + chosen * inner] - top))
                    losses[row] = loss + smoothing * (spread / classes - loss) if smoothing > 0 else loss
                    counted[row] = factor
            row += cuda.gridDim.x

    sizes = *["int64"] * 4, "float64", "int64"
    return target.Kernel(kernel, (dtype, np.dtype("int64"), *[dtype] * 5, *sizes), THREADS, BLOCKS)


@functools.cache
def label_gradient(dtype: np.dtype) -> target.Kernel:
    """Make the kernel in which a block finds the gradient of a distribution's scores, given a class index."""

    def kernel(
        x, labels, weight, tops, totals, grad, grad_x,
        rows, classes, inner, weights, each, whole, smoothing, scale, ignored,
    ):  # fmt: skip
        row = cuda.blockIdx.x
        while row < rows:
            start, chosen = row // inner * classes * inner + row % inner, labels[row]
            hard, soft = 0.0, 0.0
            counts = chosen != ignored and chosen >= 0 and chosen < classes
            if counts:
                g = grad[row * each] * scale
                factor = float(weight[chosen]) if weights > 0 else 1.0
                hard, soft = g * factor * (1 - smoothing), g * smoothing / classes
            slope = (hard + soft * whole) / totals[row]
            c = cuda.threadIdx.x
            while c < classes:
                place = start + c * inner
                value = 0.0
                if counts:
                    value = math.exp(x[place] - tops[row]) * slope - (hard if c == chosen else 0.0)
                    value -= soft * weight[c] if weights > 0 else soft
                grad_x[place] = value
                c += THREADS
            row += cuda.gridDim.x

    sizes = *["int64"] * 5, *["float64"] * 3, "int64"
    return target.Kernel(kernel, (dtype, np.dtype("int64"), *[dtype] * 5, *sizes), THREADS, BLOCKS)


@functools.cache
def distribution(dtype: np.dtype) -> target.Kernel:
    """Make the kernel in which a block finds a distribution's loss against probabilities."""

    def kernel(x, goal, weight, tops, totals, losses, rows, classes, inner, weights, smoothing):
        shared = cuda.shared.array(THREADS, "float64")
        row = cuda.blockIdx.x
        while row < rows:
            start = row // inner * classes * inner + row % inner
            top, total = softmax_sums(x, start, classes, inner, shared)
            logarithm, loss = math.log(total), 0.0
            c = cuda.threadIdx.x
            while c < classes:
                place = start + c * inner
                wanted = goal[place] * (1 - smoothing) + smoothing / classes
                term = wanted * (logarithm - (x[place] - top))
                loss += term * weight[c] if weights > 0 else term
                c += THREADS
            loss = block_reduce(loss, shared, False)
            if cuda.threadIdx.x == 0:
                tops[row], totals[row], losses[row] = top, total, loss
            row += cuda.gridDim.x

    return target.Kernel(kernel, (*[dtype] * 6, *["int64"] * 4, "float64"), THREADS, BLOCKS)


@functools.cache
def distribution_gradient(dtype: np.dtype) -> target.Kernel:
    """Make the kernel in which a block finds the gradient of a distribution's scores, given probabilities."""

    def kernel(x, goal, weight, tops, totals, grad, grad_x, rows, classes, inner, weights, each, smoothing, scale):
        shared = cuda.shared.array(THREADS, "float64")
        row = cuda.blockIdx.x
        while row < rows:
            start, slope = row // inner * classes * inner + row % inner, 0.0
            c = cuda.threadIdx.x
            while c < classes:
                wanted = goal[start + c * inner] * (1 - smoothing) + smoothing / classes
                slope += wanted * weight[c] if weights > 0 else wanted
                c += THREADS
            slope = block_reduce(slope, shared, False) / totals[row]
            g = grad[row * each] * scale
            c = cuda.threadIdx.x
            while c < classes:
                place = start + c * inner
                wanted = goal[place] * (1 - smoothing) + smoothing / classes
                if weights > 0:
                    wanted *= weight[c]
                grad_x[place] = g * (math.exp(x[place] - tops[row]) * slope - wanted)
                c += THREADS
            row += cuda.gridDim.x

    return target.Kernel(kernel, (*[dtype] * 7, *["int64"] * 5, *["float64"] * 2), THREADS, BLOCKS)


@functools.cache
def pick(dtype: np.dtype) -> target.Kernel:
    """Make the kernel that writes the negative log-likelihoods of class indices."""

    def kernel(x, labels, weight, losses, counted, size, classes, inner, weights, ignored):
        i, step = cuda.grid(1), cuda.gridsize(1)
        while i < size:
            chosen = labels[i]
            if chosen == ignored or chosen < 0 or chosen >= classes:
                losses[i], counted[i] = 0, 0
            else:
                factor = float(weight[chosen]) if weights > 0 else 1.0
                losses[i] = -x[(i // inner * classes + chosen) * inner + i % inner] * factor
                counted[i] = factor
            i += step

    return target.Kernel(kernel, (dtype, np.dtype("int64"), *[dtype] * 3, *["int64"] * 5), THREADS)


@functools.cache
def place(dtype: np.dtype) -> target.Kernel:
    """Make the kernel that writes the gradients of log-probabilities at the class indices."""

    def kernel(labels, weight, grad, grad_x, size, classes, inner, weights, each, scale, ignored):
        i, step = cuda.grid(1), cuda.gridsize(1)
        while i < size:
            chosen = labels[i]
            if chosen != ignored and chosen >= 0 and chosen < classes:
                factor = float(weight[chosen]) if weights > 0 else 1.0
                grad_x[(i // inner * classes + chosen) * inner + i % inner] = -grad[i * each] * scale * factor
            i += step

    sizes = *["int64"] * 5, "float64", "int64"
    return target.Kernel(kernel, (np.dtype("int64"), *[dtype] * 3, *sizes), THREADS)


def catalogue(dtype: np.dtype) -> dict[str, target.Kernel]:
    """Return every kernel of this module for one dtype, by name: what the compile gate walks."""
    makers = (label, label_gradient, distribution, distribution_gradient, pick, place)
    return {make.__name__: make(dtype) for make in makers}
