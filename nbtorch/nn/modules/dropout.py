"""Dropout, of elements and of channels."""

from __future__ import annotations

from ...tensor import Tensor
from .. import functional as F
from .module import Module


class _Dropout(Module):
    """What drops at random in training, with probability `p`."""

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
        self.p = p
        self.inplace = inplace

    def extra_repr(self) -> str:
        """Return the options."""
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_Dropout):
    """In training, sets each element to zero with probability `p` and scales the others by 1 / (1 - p).

    In evaluation mode it is the identity.

    Args:
        p: the probability to be dropped.
        inplace: write the result into the input's memory.

    Shape: any, and the same.

    Raises:
        ValueError: `p` lies outside of [0, 1].

    Source: Hinton et al., 2012, arXiv:1207.0580;
    https://docs.pytorch.org/docs/stable/generated/torch.nn.Dropout.html

    >>> import nbtorch
    >>> nbtorch.nn.Dropout(p=0.5).eval()(nbtorch.ones(2)).shape
    torch.Size([2])
    """

    def forward(self, input: Tensor) -> Tensor:
        """Drop at random."""
        return F.dropout(input, self.p, self.training, self.inplace)


class Dropout1d(_Dropout):
    """In training, sets whole channels to zero with probability `p` and scales the others by 1 / (1 - p).

    In evaluation mode it is the identity.

    Args:
        p: the probability to be dropped.
        inplace: write the result into the input's memory.

    Shape: (N, C, L) or (C, L), and the same.

    Raises:
        ValueError: `p` lies outside of [0, 1].

    Source: J. Tompson et al., Efficient object localization using convolutional networks, 2014, arXiv:1411.4280;
    https://docs.pytorch.org/docs/stable/generated/torch.nn.Dropout1d.html

    >>> import nbtorch
    >>> nbtorch.nn.Dropout1d(p=0.5).eval()(nbtorch.ones(2, 3, 4)).shape
    torch.Size([2, 3, 4])
    """

    def forward(self, input: Tensor) -> Tensor:
        """Drop at random."""
        return F.dropout1d(input, self.p, self.training, self.inplace)


class Dropout2d(_Dropout):
    """In training, sets whole channels to zero with probability `p` and scales the others by 1 / (1 - p).

    In evaluation mode it is the identity.

    Args:
        p: the probability to be dropped.
        inplace: write the result into the input's memory.

    Shape: (N, C, H, W) or (N, C, L), and the same.

    Raises:
        ValueError: `p` lies outside of [0, 1].

    Source: J. Tompson et al., Efficient object localization using convolutional networks, 2014, arXiv:1411.4280;
    https://docs.pytorch.org/docs/stable/generated/torch.nn.Dropout2d.html

    >>> import nbtorch
    >>> nbtorch.nn.Dropout2d(p=0.5).eval()(nbtorch.ones(2, 3, 4, 4)).shape
    torch.Size([2, 3, 4, 4])
    """

    def forward(self, input: Tensor) -> Tensor:
        """Drop at random."""
        return F.dropout2d(input, self.p, self.training, self.inplace)


class Dropout3d(_Dropout):
    """In training, sets whole channels to zero with probability `p` and scales the others by 1 / (1 - p).

    In evaluation mode it is the identity.

    Args:
        p: the probability to be dropped.
        inplace: write the result into the input's memory.

    Shape: (N, C, D, H, W) or (C, D, H, W), and the same.

    Raises:
        ValueError: `p` lies outside of [0, 1].

    Source: J. Tompson et al., Efficient object localization using convolutional networks, 2014, arXiv:1411.4280;
    https://docs.pytorch.org/docs/stable/generated/torch.nn.Dropout3d.html

    >>> import nbtorch
    >>> nbtorch.nn.Dropout3d(p=0.5).eval()(nbtorch.ones(1, 2, 3, 3, 3)).shape
    torch.Size([1, 2, 3, 3, 3])
    """

    def forward(self, input: Tensor) -> Tensor:
        """Drop at random."""
        return F.dropout3d(input, self.p, self.training, self.inplace)


class AlphaDropout(_Dropout):
    """In training, sets elements to SELU's negative limit, and keeps mean and variance.

    In evaluation mode it is the identity.

    Args:
        p: the probability to be dropped.
        inplace: write the result into the input's memory.

    Shape: any, and the same.

    Raises:
        ValueError: `p` lies outside of [0, 1].

    Source: G. Klambauer et al., Self-normalizing neural networks, 2017, arXiv:1706.02515;
    https://docs.pytorch.org/docs/stable/generated/torch.nn.AlphaDropout.html

    >>> import nbtorch
    >>> nbtorch.nn.AlphaDropout(p=0.5).eval()(nbtorch.ones(2)).shape
    torch.Size([2])
    """

    def forward(self, input: Tensor) -> Tensor:
        """Drop at random."""
        return F.alpha_dropout(input, self.p, self.training)


class FeatureAlphaDropout(_Dropout):
    """In training, sets whole channels to SELU's negative limit, and keeps mean and variance.

    In evaluation mode it is the identity.

    Args:
        p: the probability to be dropped.
        inplace: write the result into the input's memory.

    Shape: (N, C, *), and the same.

    Raises:
        ValueError: `p` lies outside of [0, 1].

    Source: G. Klambauer et al., Self-normalizing neural networks, 2017, arXiv:1706.02515;
    https://docs.pytorch.org/docs/stable/generated/torch.nn.FeatureAlphaDropout.html

    >>> import nbtorch
    >>> nbtorch.nn.FeatureAlphaDropout(p=0.5).eval()(nbtorch.ones(2, 3, 4)).shape
    torch.Size([2, 3, 4])
    """

    def forward(self, input: Tensor) -> Tensor:
        """Drop at random."""
        return F.feature_alpha_dropout(input, self.p, self.training)
