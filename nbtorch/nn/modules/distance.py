"""Distances of vectors."""

from __future__ import annotations

from ...tensor import Tensor
from .. import functional as F
from .module import Module


class PairwiseDistance(Module):
    """The norms of differences of vectors along the last dimension.

    Args:
        p: the order of the norm.
        eps: what is added to differences.
        keepdim: keep the last dimension, with one element.

    Shape: (N, D) or (D); the result is (N) or (), with `keepdim` (N, 1) or (1).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.PairwiseDistance.html

    >>> import nbtorch
    >>> nbtorch.nn.PairwiseDistance()(nbtorch.tensor([[3.0, 4.0]]), nbtorch.zeros(1, 2))
    tensor([5.0000])
    """

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        super().__init__()
        self.norm = p
        self.eps = eps
        self.keepdim = keepdim

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        """Compute the distances."""
        return F.pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)


class CosineSimilarity(Module):
    """The cosines of the angles between vectors along a dimension.

    Args:
        dim: the dimension.
        eps: the least length that is divided by.

    Shape: shapes that broadcast; the result lacks dimension `dim`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.CosineSimilarity.html

    >>> import nbtorch
    >>> nbtorch.nn.CosineSimilarity()(nbtorch.ones(1, 2), nbtorch.ones(1, 2))
    tensor([1.0000])
    """

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        super().__init__()
        self.dim = dim
        self.eps = eps

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        """Compute the cosines."""
        return F.cosine_similarity(x1, x2, self.dim, self.eps)
