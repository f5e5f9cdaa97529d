"""The cross entropy of a linear map's outputs, on demand without ever holding the outputs of a whole batch."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

from .. import dtypes
from ..autograd import Function, grad
from ..autograd.grad_mode import enable_grad, no_grad
from ..creation import empty, zeros, zeros_like
from ..ops.matmul import linear
from ..ops.operands import require_tensor
from ..tensor import Tensor
from .loss_functions import cross_entropy

__all__ = ["linear_cross_entropy"]

_IGNORED = -100  # where no `ignore_index` is given, as in `cross_entropy`


@dataclasses.dataclass(slots=True, frozen=True)
class LinearCrossEntropyOptions:
    """How `linear_cross_entropy` cuts a batch into chunks; its logits exist for one chunk at a time.

    Args:
        allow_retain_graph: whether backward may run twice for the reductions to a number, whose gradients are computed
            along with the loss.
        batch_chunk_size: rows in a chunk; None for all of them.
        chunking_method: what chooses the size otherwise: `"aspect_ratio"` makes the logits of a chunk about as large
            as the input, `"aspect_ratio:N"` an Nth of that; `"auto"` stands for `"aspect_ratio"` with half precision
            and for `"aspect_ratio:2"` else; None for `batch_chunk_size`.
        acc_policy: `"auto"`, `"accurate"`, `"balanced"` or `"compact"`; half precision is always computed in float32.
        acc_dtype: the type of sums: that of the input or float32.

    Raises:
        ValueError: an option has no such value.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.LinearCrossEntropyOptions.html
    """

    allow_retain_graph: bool = False
    batch_chunk_size: int | None = None
    chunking_method: str | None = "auto"
    acc_policy: str = "auto"
    acc_dtype: dtypes.dtype | None = None

    def __post_init__(self) -> None:
        if self.acc_policy not in ("auto", "accurate", "balanced", "compact"):
            raise ValueError(f"invalid acc_policy: {self.acc_policy!r}")
        if self.chunking_method not in (None, "auto") and _factor(str(self.chunking_method)) < 1:
            raise ValueError(f"invalid chunking_method: {self.chunking_method!r}")
        size = self.batch_chunk_size
        if size is not None and not (isinstance(size, int) and size > 0):
            raise ValueError(f"batch_chunk_size must be positive int or None, got {size!r}")
        if self.acc_dtype is not None and not self.acc_dtype.is_floating_point:
            raise ValueError(
                "acc_dtype must be one of {None, torch.float16, torch.bfloat16, torch.float32, torch.float64}, got"
                f" {self.acc_dtype!r}"
            )

    def _chunk_size(self, batch: int, in_features: int, classes: int, half: bool) -> int:
        """Return the rows of a chunk."""
        method, size = self.chunking_method, self.batch_chunk_size
        if method == "auto":
            method = None if size is not None else "aspect_ratio" if half else "aspect_ratio:2"
        if method is None:
            return max(1, batch if size is None else min(size, batch))
        rows = -(-batch // -(-classes // in_features))
        chosen = min((1 << (rows - 1).bit_length()) // _factor(method), batch)
        if size is not None and min(size, batch) != chosen:
            raise ValueError(
                f"batch_chunk_size (={size}) and chunking_method ('{method}') give different chunk sizes"
                f" ({size} vs {chosen}); pass only one."
            )
        return max(1, chosen)


def _factor(method: str) -> int:
    """Return the N of `"aspect_ratio:N"`, 0 where a method has another form."""
    name, separator, factor = method.partition(":")
    if name != "aspect_ratio" or (separator and not factor.isdigit()):
        return 0
    return int(factor) if separator else 1


def linear_cross_entropy(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    *,
    linear_bias: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: LinearCrossEntropyOptions | None = None,
) -> Tensor:
    """Return the cross entropy of `linear(input, linear_weight, linear_bias)` and a target.

    Args:
        input: (N, in_features) or (in_features,).
        linear_weight: (C, in_features), or (C, d1, ..., in_features) for a batch.
        target: class indices, (N, d1, ...) or (), or probabilities, (N, C, d1, ...) or (C,).
        linear_bias: (C, d1, ...).
        weight: a factor for each class, (C,).
        reduction: `"none"`, `"mean"` or `"sum"`.
        ignore_index: a class index that counts for nothing, -100 by default; not with probabilities.
        label_smoothing: in [0, 1]: how much of the target is spread evenly over all classes.
        options: how to cut the batch into chunks, so that the logits need less memory; None to compute them at once.
            Chunks need class indices, no smoothing and no d1, ..., else a warning tells that they are not used; their
            gradients cannot be differentiated again.

    Raises:
        RuntimeError: shapes or types do not fit.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.linear_cross_entropy.html

    >>> import nbtorch
    >>> linear_cross_entropy(nbtorch.zeros(3, 2), nbtorch.ones(4, 2), nbtorch.tensor([1, 0, 3]))
    tensor(1.3863)
    """
    classes, extents = _require_shapes(input, linear_weight, linear_bias)
    logits_shape = (*input.shape[:-1], classes, *extents)
    if tuple(target.shape) == logits_shape and ignore_index is not None:
        raise RuntimeError(
            "linear_cross_entropy: ignore_index cannot be specified when target contains probabilities,"
            f" got {ignore_index}"
        )
    ignored = _IGNORED if ignore_index is None else ignore_index
    if options is not None:
        if (
            reduction in ("mean", "sum", "none")
            and label_smoothing == 0
            and target.dtype is dtypes.int64
            and not extents
        ):
            return _in_chunks(input, linear_weight, linear_bias, target, weight, reduction, ignored, options)
        warnings.warn(
            "linear_cross_entropy: ``options`` ignored; chunked path needs reduction in {'mean','sum','none'},"
            f" label_smoothing == 0, target.dtype == int64, out_features == (). Got reduction={reduction!r},"
            f" label_smoothing={label_smoothing}, target.dtype={target.dtype}, out_features={extents}.",
            UserWarning,
            stacklevel=2,
        )
    if extents:
        linear_weight = linear_weight.reshape(-1, input.shape[-1])
        linear_bias = None if linear_bias is None else linear_bias.reshape(-1)
    logits = linear(input, linear_weight, linear_bias).reshape(logits_shape)
    return cross_entropy(
        logits, target, weight, ignore_index=ignored, reduction=reduction, label_smoothing=label_smoothing
    )


def _require_shapes(input: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[int, tuple[int, ...]]:
    """Return the number of classes and the extents d1, ...; refuse shapes that do not fit."""
    require_tensor("linear_cross_entropy", "input", input)
    require_tensor("linear_cross_entropy", "linear_weight", weight)
    if input.ndim not in (1, 2):
        raise RuntimeError(f"linear_cross_entropy: expected input with dimensionality 1 or 2, got {input.ndim}")
    if weight.ndim < 2:
        raise RuntimeError(
            f"linear_cross_entropy: expected linear_weight with dimensionality at least 2, got {weight.ndim}"
        )
    if input.shape[-1] != weight.shape[-1]:
        raise RuntimeError(
            "linear_cross_entropy: expected equal input and linear_weight last dimensions (in_features), got"
            f" {input.shape[-1]} and {weight.shape[-1]}, respectively"
        )
    outputs = tuple(weight.shape[:-1])
    if bias is not None and tuple(bias.shape) != outputs:
        raise RuntimeError(f"linear_cross_entropy: expected linear_bias shape {outputs}, got {tuple(bias.shape)}")
    if len(outputs) > 1 and input.ndim == 1:
        raise RuntimeError(
            f"linear_cross_entropy: K-dimensional loss defined by linear_weight shape {tuple(weight.shape)} requires"
            f" batched input, (N, {input.shape[-1]}), got unbatched input with shape {tuple(input.shape)}"
        )
    return outputs[0], outputs[1:]


def _in_chunks(
    input: Tensor,
    linear_weight: Tensor,
    linear_bias: Tensor | None,
    target: Tensor,
    weight: Tensor | None,
    reduction: str,
    ignored: int,
    options: LinearCrossEntropyOptions,
) -> Tensor:
    """Check the arguments of the computation in chunks and run it."""
    half = input.dtype in (dtypes.float16, dtypes.bfloat16)
    acc_dtype = options.acc_dtype
    if acc_dtype not in (None, input.dtype) and not (half and acc_dtype is dtypes.float32):
        raise RuntimeError(
            "linear_cross_entropy supports float32 acc_dtype with float16/bfloat16 inputs, but got"
            f" {acc_dtype} acc_dtype and {input.dtype} inputs."
        )
    if input.dtype is not linear_weight.dtype:
        raise RuntimeError(
            "linear_cross_entropy: expected input and linear_weight to have the same dtype, but got:"
            f" {input.dtype} != {linear_weight.dtype}"
        )
    batched = input.ndim == 2
    x, classes_of = (input, target) if batched else (input.unsqueeze(0), target.unsqueeze(0))
    classes = linear_weight.shape[0]
    if tuple(classes_of.shape) != (x.shape[0],):
        raise RuntimeError(
            f"linear_cross_entropy: expected a target for each of {x.shape[0]} inputs, got {tuple(target.shape)}"
        )
    if bool((((classes_of < 0) | (classes_of >= classes)) & (classes_of != ignored)).any()):
        raise RuntimeError(f"linear_cross_entropy: a target is out of bounds for {classes} classes")
    if weight is not None and tuple(weight.shape) != (classes,):
        raise IndexError(f"linear_cross_entropy: expected a weight for each of {classes} classes")
    size = options._chunk_size(x.shape[0], x.shape[1], classes, half)
    chunks = _Chunks(classes_of, weight, ignored, size, dtypes.float32 if half else input.dtype)
    if reduction == "none":
        losses = _LossesInChunks.apply(x, linear_weight, linear_bias, chunks)
        return losses if batched else losses.squeeze(0)
    return _LossInChunks.apply(x, linear_weight, linear_bias, chunks, reduction, options.allow_retain_graph)


class _Chunks:
    """The targets of a batch, and how its chunks are computed."""

    def __init__(self, target: Tensor, weight: Tensor | None, ignored: int, size: int, dtype: dtypes.dtype) -> None:
        self.target, self.ignored, self.dtype = target, ignored, dtype
        self.weight = None if weight is None else weight.detach().to(dtype)
        self.slices = [slice(start, start + size) for start in range(0, target.shape[0], size)]

    def losses(self, rows: slice, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return the losses of the rows of a chunk."""
        logits = linear(x, weight, bias)
        return cross_entropy(logits, self.target[rows], self.weight, ignore_index=self.ignored, reduction="none")

    def gradients(self, inputs: Any, wanted: Any, grad_output: Tensor | None) -> tuple[Tensor, list[Tensor | None]]:
        """Return the sum of the losses, weighted by `grad_output`, and the gradients of those inputs that want one."""
        detached: list[Any] = [None if t is None else t.detach().to(self.dtype) for t in inputs]
        x, *shared = detached
        wanted = [want and t is not None for want, t in zip(wanted, inputs, strict=False)]
        of_x = empty(x.shape, dtype=self.dtype, device=x.device)
        sums = [zeros_like(t) if want else None for want, t in zip(wanted[1:], shared, strict=True)]
        total = zeros((), dtype=self.dtype, device=x.device)
        for rows in self.slices:
            leaves: list[Any] = [None if t is None else t.detach() for t in (x[rows], *shared)]
            with enable_grad():
                of = [leaf.requires_grad_() for want, leaf in zip(wanted, leaves, strict=True) if want]
                losses = self.losses(rows, *leaves)
                loss = (losses if grad_output is None else losses * grad_output[rows].to(self.dtype)).sum()
            total += loss.detach()
            gradients = iter(grad(loss, of) if of else ())
            if wanted[0]:
                of_x[rows] = next(gradients)
            for so_far in sums:
                if so_far is not None:
                    so_far += next(gradients)
        return total, [of_x if wanted[0] else None, *sums]

    def divisor(self) -> Tensor:
        """Return what the mean divides by: the sum of the weights of the targets that count."""
        kept: Any = self.target != self.ignored
        if self.weight is None:
            return kept.sum().to(self.dtype)
        return self.weight[self.target.masked_fill(~kept, 0)].masked_fill(~kept, 0).sum()


class _LossInChunks(Function):
    """The sum or the mean of the losses; their gradients are computed along with them."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, chunks: _Chunks, reduction: str, keep: bool
    ) -> Tensor:
        inputs = (x, weight, bias)
        loss, gradients = chunks.gradients(inputs, ctx.needs_input_grad, None)
        divisor = chunks.divisor() if reduction == "mean" else 1
        ctx.keep, ctx.used = keep, False
        ctx.gradients = [
            None if g is None else (g / divisor).to(t.dtype)  # type: ignore[union-attr]
            for g, t in zip(gradients, inputs, strict=True)
        ]
        return (loss / divisor).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Any:
        if ctx.used and not ctx.keep:
            raise RuntimeError(
                "linear_cross_entropy chunked backward called twice; retain_graph=True / double backward are not"
                " supported."
            )
        ctx.used = True
        with no_grad():
            (grad_output,) = grad_outputs
            return (*[None if g is None else g * grad_output for g in ctx.gradients], None, None, None)


class _LossesInChunks(Function):
    """The losses of all rows; backward computes the logits of each chunk again."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, chunks: _Chunks) -> Tensor:
        ctx.save_for_backward(x, weight, bias)
        ctx.chunks = chunks
        losses = empty(x.shape[0], dtype=x.dtype, device=x.device)
        matrix, offsets = weight.to(chunks.dtype), None if bias is None else bias.to(chunks.dtype)
        for rows in chunks.slices:
            losses[rows] = chunks.losses(rows, x[rows].to(chunks.dtype), matrix, offsets).to(x.dtype)
        return losses

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Any:
        inputs = ctx.saved_tensors
        with no_grad():
            _, gradients = ctx.chunks.gradients(inputs, ctx.needs_input_grad, grad_outputs[0])
            return (*[None if g is None else g.to(t.dtype) for g, t in zip(gradients, inputs, strict=True)], None)
