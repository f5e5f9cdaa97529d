"""Rows of a table, picked by indices."""

from __future__ import annotations

from typing import Any

from ..autograd.graph import Node
from ..device import array_module
from ..tensor import Tensor


class Embedding(Node):
    """`weight[indices]`; rows picked by `padding_idx` get no gradient.

    With `by_frequency` the gradient of a row is divided by how often it was picked.
    """

    keeps_state = True

    def __init__(self, indices: Any, padding_idx: int, by_frequency: bool) -> None:
        self.indices, self.padding_idx, self.by_frequency = indices, padding_idx, by_frequency

    def forward(self, weight: Any) -> Any:
        self.rows = len(weight)
        return weight[self.indices]

    def factors(self, xp: Any, dtype: Any) -> Any:
        """Return for each index how much of its gradient counts, or None for all of it."""
        factors = None
        if self.by_frequency:
            flat = self.indices.reshape(-1)
            factors = (1 / xp.bincount(flat, minlength=self.rows)[self.indices]).astype(dtype)
        if self.padding_idx >= 0:
            kept = (self.indices != self.padding_idx).astype(dtype)
            factors = kept if factors is None else factors * kept
        return factors

    def backward(self, grad: Tensor) -> Tensor:
        return EmbeddingGrad(self)(grad)


class EmbeddingGrad(Node):
    """The gradients of picked rows, summed for each row of the table."""

    name = "EmbeddingDenseBackwardBackward0"

    def __init__(self, embedding: Embedding) -> None:
        self.embedding = embedding

    def forward(self, grad: Any) -> Any:
        xp, embedding = array_module(self.where), self.embedding
        factors = embedding.factors(xp, grad.dtype)
        scaled = grad if factors is None else grad * factors[..., None]
        result = xp.zeros((embedding.rows, grad.shape[-1]), grad.dtype)
        xp.add.at(result, embedding.indices.reshape(-1), scaled.reshape(-1, grad.shape[-1]))
        return result

    def backward(self, grad: Tensor) -> Tensor:
        embedding = self.embedding
        factors = embedding.factors(grad._xp, grad._array.dtype)
        picked = Embedding(embedding.indices, -1, False)(grad)
        return picked if factors is None else picked * grad._wrap_like(factors[..., None])
