"""Dropout."""

from __future__ import annotations

from ...tensor import Tensor
from .. import functional as F
from .module import Module


class Dropout(Module):
    """In training, sets each element to zero with probability `p` and scales the others by 1 / (1 - p).

    In evaluation mode it is the identity.

    Args:
        p: the probability of an element to be dropped.
        inplace: write the result into the input's memory.

    Shape: any, and the same.

    Raises:
        ValueError: `p` lies outside of [0, 1].

    Source: Hinton et al., 2012, arXiv:1207.0580; https://docs.pytorch.org/docs/stable/generated/torch.nn.Dropout.html

    >>> import nbtorch
    >>> nbtorch.nn.Dropout(p=0.5).eval()(nbtorch.ones(2))
    tensor([1., 1.])
    """

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
        self.p = p
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """Drop elements at random."""
        return F.dropout(input, self.p, self.training, self.inplace)

    def extra_repr(self) -> str:
        """Return the options."""
        return f"p={self.p}, inplace={self.inplace}"
