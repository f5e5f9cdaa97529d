"""Rows of a table, picked by indices, and bags of them."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ..autograd.grad_mode import state
from ..autograd.graph import Node
from ..device import allocate, array_module, contiguous, kernels_for
from ..tensor import Tensor


class Embedding(Node):
    """`weight[indices]`; rows picked by `padding_idx` get no gradient.

    With `by_frequency` the gradient of a row is divided by how often it was picked.
    """

    keeps_state = True
    fresh_gradients = True

    def __init__(self, indices: Any, padding_idx: int, by_frequency: bool) -> None:
        self.indices, self.padding_idx, self.by_frequency = indices, padding_idx, by_frequency

    def forward(self, weight: Any) -> Any:
        self.rows = len(weight)
        if weight.dtype.kind != "f" or weight.dtype.itemsize < 4:
            return weight[self.indices]
        indices = _flat_indices(self.indices, self.where)
        output = allocate((*self.indices.shape, weight.shape[1]), weight.dtype, self.where)
        kernels = kernels_for(self.where, "embedding")
        kernels.pick_rows(contiguous(weight, self.where), indices, output.reshape(indices.size, weight.shape[1]))
        return output

    def factors(self, xp: Any, dtype: Any) -> Any:
        """Return for each index how much of its gradient counts, or None for all of it."""
        factors = None
        if self.by_frequency:
            factors = _inverse_frequencies(xp, self.indices, self.rows, dtype)
        if self.padding_idx >= 0:
            kept = (self.indices != self.padding_idx).astype(dtype)
            factors = kept if factors is None else factors * kept
        return factors

    def backward(self, grad: Tensor) -> Tensor:
        return EmbeddingGrad(self)(grad)


def _flat_indices(indices: Any, where: Any) -> Any:
    """Return indices as kernels take them."""
    return contiguous(indices, where).reshape(-1).astype(np.int64, copy=False)


def _inverse_frequencies(xp: Any, indices: Any, rows: int, dtype: Any) -> Any:
    """Return for each index one over how often it occurs."""
    return (1 / xp.bincount(indices.reshape(-1), minlength=rows)[indices]).astype(dtype)


class EmbeddingGrad(Node):
    """The gradients of picked rows, summed for each row of the table."""

    name = "EmbeddingDenseBackwardBackward0"
    in_float32 = True

    def __init__(self, embedding: Embedding) -> None:
        self.embedding = embedding

    def forward(self, grad: Any) -> Any:
        xp, embedding = array_module(self.where), self.embedding
        indices, width = _flat_indices(embedding.indices, self.where), grad.shape[-1]
        factors = embedding.factors(xp, grad.dtype)
        factors = xp.ones(indices.size, grad.dtype) if factors is None else factors.reshape(-1)
        grads = contiguous(grad, self.where).reshape(indices.size, width)
        result = allocate((embedding.rows, width), grad.dtype, self.where)
        kernels_for(self.where, "embedding").add_rows(grads, xp.arange(indices.size), indices, factors, result)
        return result

    def backward(self, grad: Tensor) -> Tensor:
        embedding = self.embedding
        factors = embedding.factors(grad._xp, grad._array.dtype)
        picked = Embedding(embedding.indices, -1, False)(grad)
        return picked if factors is None else picked * grad._wrap_like(factors[..., None])


class Bags:
    """Which rows fall into which bag: padding is left out.

    Args:
        indices: of the rows, flat.
        offsets: where the bags begin, and at the end where the last one ends.
        padding_idx: a row that does not count, or -1.
        mode: `sum`, `mean` or `max`.
        by_frequency: divide the gradient of a row by how often it was picked.
    """

    def __init__(self, xp: Any, indices: Any, offsets: Any, padding_idx: int, mode: str, by_frequency: bool) -> None:
        self.xp, self.all, self.mode, self.by_frequency = xp, indices, mode, by_frequency
        self.indices, self.offsets = indices, offsets
        self.complete = (
            padding_idx < 0 and len(offsets) > 0 and int(offsets[0]) == 0 and int(offsets[-1]) == len(indices)
        )
        if not self.complete:
            numbers = xp.repeat(xp.arange(len(offsets) - 1), offsets[1:] - offsets[:-1])
            used = slice(int(offsets[0]), int(offsets[-1])) if len(offsets) else slice(0, 0)
            kept = xp.arange(len(indices))[used]
            self.kept = kept[indices[used] != padding_idx]
            self.numbers = numbers[self.kept - used.start]
            self.indices = indices[self.kept]
            lengths = xp.bincount(self.numbers, minlength=len(offsets) - 1)
            self.offsets = xp.concatenate([xp.zeros(1, np.int64), xp.cumsum(lengths)])
        self.lengths = self.offsets[1:] - self.offsets[:-1]

    @functools.cached_property
    def kept(self) -> Any:
        """The places in `all` of the rows that count."""
        return self.xp.arange(len(self.all))

    @functools.cached_property
    def numbers(self) -> Any:
        """The bag of each row that counts."""
        return self.xp.repeat(self.xp.arange(len(self.lengths)), self.lengths)

    def of_kept(self, samples: Any) -> Any:
        """Return the items that belong to rows that count."""
        return samples if self.complete else samples[self.kept]

    def factors(self, xp: Any, dtype: Any) -> Any:
        """Return what each row is multiplied by."""
        if self.mode == "mean":
            return (1 / self.lengths[self.numbers]).astype(dtype)
        return xp.ones(len(self.indices), dtype)

    def scales(self, xp: Any, rows: int, dtype: Any) -> Any:
        """Return what the gradient of each row is multiplied by beside that.

        As in PyTorch this is not one over the frequency of the row. It numbers the rows that occur, and of the r-th it
        takes the frequency of the r-th of all indices in order.
        """
        if not self.by_frequency:
            return xp.ones(len(self.indices), dtype)
        found, numbers = xp.unique(self.all, return_inverse=True)
        frequencies = xp.bincount(self.all, minlength=rows)[xp.sort(self.all)[: len(found)]]
        return (1 / frequencies[numbers.reshape(-1)[self.kept]]).astype(dtype)


class EmbeddingBag(Node):
    """Sums, means or maxima of bags of rows of `weight`, of sums perhaps with a factor for each row."""

    saves_inputs = (0, 1)
    saved_for = (1, 0)
    in_float32 = True
    fresh_gradients = True

    def __init__(self, bags: Bags) -> None:
        self.bags = bags

    def forward(self, weight: Any, samples: Any = None) -> Any:
        xp, bags, kernels = array_module(self.where), self.bags, kernels_for(self.where, "embedding")
        self.rows, table = len(weight), contiguous(weight, self.where)
        output = allocate((len(bags.lengths), weight.shape[1]), weight.dtype, self.where)
        if bags.mode == "max":
            self.winners = xp.empty(output.shape, np.int64)
            kernels.max_bags(table, bags.indices, bags.offsets, output, self.winners)
            return output
        if samples is None:
            factors = xp.ones(len(bags.indices), weight.dtype)
        else:
            factors = contiguous(bags.of_kept(samples), self.where)
        kernels.sum_bags(table, bags.indices, factors, bags.offsets, output)
        if bags.mode == "mean":
            output /= xp.maximum(bags.lengths, 1).astype(output.dtype)[:, None]
        return output

    def _save(self, inputs: Any, outputs: Any) -> None:
        if len(inputs) > 1:
            super()._save(inputs, outputs)

    def backward(self, grad: Tensor) -> Any:
        bags, weighted = self.bags, len(self.edges) > 1
        weight, samples = self.saved_tensors if weighted else (None, None)
        if state.enabled:
            return self._differentiable_gradients(grad, weight, samples)
        if not weighted:
            return EmbeddingBagGrad(self)(grad)
        return (
            EmbeddingBagGrad(self)(grad, samples) if self.needs_input_grad[0] else None,
            SampleWeightsGrad(bags)(grad, weight) if self.needs_input_grad[1] else None,
        )

    def _differentiable_gradients(self, grad: Tensor, weight: Tensor | None, samples: Tensor | None) -> Any:
        """Return the gradients as chains of operations that have derivatives of their own."""
        bags, xp = self.bags, grad._xp
        zeros = grad.new_zeros((self.rows, grad.shape[1]))
        if bags.mode == "max":
            won = grad._wrap_like(self.winners)
            return zeros.scatter_add(0, won.clamp_min(0), grad * (won >= 0).to(grad.dtype))
        indices, numbers = grad._wrap_like(bags.indices), grad._wrap_like(bags.numbers)
        shares, scales = grad.index_select(0, numbers), bags.scales(xp, self.rows, grad._array.dtype)
        if len(self.edges) == 1:
            factors = grad._wrap_like((bags.factors(xp, scales.dtype) * scales)[:, None])
            return zeros.index_add(0, indices, shares * factors)
        kept, grads = grad._wrap_like(bags.kept), [None, None]
        if self.needs_input_grad[0]:
            assert samples is not None
            factors = (samples.index_select(0, kept) * grad._wrap_like(scales)).unsqueeze(1)
            grads[0] = zeros.index_add(0, indices, shares * factors)
        if self.needs_input_grad[1]:
            assert weight is not None
            dots = (shares * weight.index_select(0, indices)).sum(1)
            grads[1] = dots.new_zeros(len(bags.all)).index_add(0, kept, dots)
        return tuple(grads)


class EmbeddingBagGrad(Node):
    """The gradient of the table, for when nobody asks for its own gradient."""

    in_float32 = True

    def __init__(self, node: EmbeddingBag) -> None:
        self.node = node

    def forward(self, grad: Any, samples: Any = None) -> Any:
        xp, node, bags = array_module(self.where), self.node, self.node.bags
        kernels, grads = kernels_for(self.where, "embedding"), contiguous(grad, self.where)
        output = allocate((node.rows, grad.shape[1]), grad.dtype, self.where)
        if bags.mode == "max":
            kernels.add_winners(grads, node.winners, output)
            return output
        factors = bags.factors(xp, grad.dtype) if samples is None else bags.of_kept(samples)
        factors = contiguous(factors * bags.scales(xp, node.rows, grad.dtype), self.where)
        kernels.add_rows(grads, bags.numbers, bags.indices, factors, output)
        return output


class SampleWeightsGrad(Node):
    """The gradient of the factors of rows, for when nobody asks for its own gradient."""

    in_float32 = True

    def __init__(self, bags: Bags) -> None:
        self.bags = bags

    def forward(self, grad: Any, weight: Any) -> Any:
        xp, bags = array_module(self.where), self.bags
        output, dots = xp.zeros(len(bags.all), grad.dtype), xp.empty(len(bags.indices), grad.dtype)
        arrays = contiguous(grad, self.where), bags.numbers, contiguous(weight, self.where), bags.indices
        kernels_for(self.where, "embedding").row_dots(*arrays, dots)
        output[bags.kept] = dots
        return output
