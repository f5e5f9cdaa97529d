"""Activations: `ReLU`, `Tanh`, `Sigmoid`, `Softmax`, `LogSoftmax`."""

from __future__ import annotations

from ...tensor import Tensor
from .. import functional as F
from .module import Module


class ReLU(Module):
    """max(0, x) for each element; NaN stays NaN.

    Args:
        inplace: write the result into the input's memory.

    Shape: any, and the same.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ReLU.html

    >>> import nbtorch
    >>> nbtorch.nn.ReLU()(nbtorch.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """Apply the function to each element."""
        return input.relu_() if self.inplace else F.relu(input)

    def extra_repr(self) -> str:
        """Return `inplace` if set."""
        return "inplace=True" if self.inplace else ""


class Tanh(Module):
    """The hyperbolic tangent of each element.

    Shape: any, and the same.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Tanh.html

    >>> import nbtorch
    >>> nbtorch.nn.Tanh()(nbtorch.zeros(2))
    tensor([0., 0.])
    """

    def forward(self, input: Tensor) -> Tensor:
        """Apply the function to each element."""
        return F.tanh(input)


class Sigmoid(Module):
    """1 / (1 + exp(-x)) for each element.

    Shape: any, and the same.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Sigmoid.html

    >>> import nbtorch
    >>> nbtorch.nn.Sigmoid()(nbtorch.zeros(2))
    tensor([0.5000, 0.5000])
    """

    def forward(self, input: Tensor) -> Tensor:
        """Apply the function to each element."""
        return F.sigmoid(input)


class _AlongDim(Module):
    """A function of all elements along one dimension."""

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def extra_repr(self) -> str:
        """Return the dimension."""
        return f"dim={self.dim}"


class Softmax(_AlongDim):
    """exp(x) divided by its sum along a dimension: the results lie in [0, 1] and sum to 1.

    Args:
        dim: the dimension to sum over (None, deprecated: 0 for tensors of rank 0, 1 and 3, otherwise 1).

    Shape: any, and the same.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Softmax.html

    >>> import nbtorch
    >>> nbtorch.nn.Softmax(dim=1)(nbtorch.zeros(1, 2))
    tensor([[0.5000, 0.5000]])
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalise along the dimension."""
        return F.softmax(input, self.dim)


class LogSoftmax(_AlongDim):
    """The logarithm of the softmax along a dimension, computed without overflow.

    Args:
        dim: the dimension to sum over (None, deprecated: 0 for tensors of rank 0, 1 and 3, otherwise 1).

    Shape: any, and the same.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.LogSoftmax.html

    >>> import nbtorch
    >>> nbtorch.nn.LogSoftmax(dim=1)(nbtorch.zeros(1, 2))
    tensor([[-0.6931, -0.6931]])
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalise along the dimension."""
        return F.log_softmax(input, self.dim)
