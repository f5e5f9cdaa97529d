"""Changes of shape: `Flatten`, `Unflatten`."""

from __future__ import annotations

from collections.abc import Sequence

from ...tensor import Tensor
from .module import Module


class Flatten(Module):
    """Joins a range of dimensions into one.

    Args:
        start_dim: the first dimension of the range.
        end_dim: its last.

    Shape: (*, S_start, ..., S_end, *) to (*, S_start · ... · S_end, *).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Flatten.html

    >>> import nbtorch
    >>> nbtorch.nn.Flatten()(nbtorch.zeros(32, 1, 5, 5)).shape
    torch.Size([32, 25])
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, input: Tensor) -> Tensor:
        """Join the dimensions."""
        return input.flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        """Return the range."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Splits one dimension into several.

    Args:
        dim: the dimension to split.
        unflattened_size: the extents that take its place; one of them may be -1.

    Shape: (*, S, *) to (*, U_1, ..., U_n, *) with S = U_1 · ... · U_n.

    Raises:
        TypeError: `unflattened_size` is no sequence of ints.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Unflatten.html

    >>> import nbtorch
    >>> nbtorch.nn.Unflatten(1, (2, 5, 5))(nbtorch.zeros(2, 50)).shape
    torch.Size([2, 2, 5, 5])
    """

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        super().__init__()
        if not isinstance(unflattened_size, (tuple, list)):
            raise TypeError(
                f"unflattened_size must be a tuple of ints, but found type {type(unflattened_size).__name__}"
            )
        for position, extent in enumerate(unflattened_size):
            if not isinstance(extent, int):
                raise TypeError(
                    "unflattened_size must be tuple of ints, but found element of type"
                    f" {type(extent).__name__} at pos {position}"
                )
        self.dim = dim
        self.unflattened_size = unflattened_size

    def forward(self, input: Tensor) -> Tensor:
        """Split the dimension."""
        return input.unflatten(self.dim, self.unflattened_size)

    def extra_repr(self) -> str:
        """Return the dimension and its new extents."""
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
