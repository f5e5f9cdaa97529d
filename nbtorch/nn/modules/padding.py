"""Padding layers: reflection, replication, zero, constant and circular, each for one to three dimensions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from ...tensor import Tensor
from .. import functional as F
from .module import Module

Widths = int | tuple[int, ...]


class _PadNd(Module):
    """Padding of so many dimensions in one mode."""

    _mode: ClassVar[str]
    _rank: ClassVar[int]

    def __init__(self, padding: Widths) -> None:
        super().__init__()
        self.padding = tuple(padding) if isinstance(padding, Iterable) else (padding,) * (2 * self._rank)

    def forward(self, input: Tensor) -> Tensor:
        """Return the input with its border."""
        return F.pad(input, self.padding, self._mode)

    def extra_repr(self) -> str:
        """Return the widths."""
        return f"{self.padding}"


class ReflectionPad1d(_PadNd):
    """The last one dimension extended by reflection; the edge itself is not repeated.

    Args:
        padding: an int or a tuple (left, right), below the input's extent; a negative width
            crops.

    Shape: (C, W) or (N, C, W), with each extent longer by its two widths.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ReflectionPad1d.html

    >>> import nbtorch
    >>> nbtorch.nn.ReflectionPad1d(1)(nbtorch.tensor([[1.0, 2.0, 3.0]]))
    tensor([[2., 1., 2., 3., 2.]])
    """

    _mode, _rank = "reflect", 1


class ReflectionPad2d(_PadNd):
    """The last two dimensions extended by reflection; the edge itself is not repeated.

    Args:
        padding: an int or a tuple (left, right, top, bottom), below the input's extent; a negative width
            crops.

    Shape: (C, H, W) or (N, C, H, W), with each extent longer by its two widths.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ReflectionPad2d.html

    >>> import nbtorch
    >>> nbtorch.nn.ReflectionPad2d(1)(nbtorch.ones(1, 2, 4, 4)).shape
    torch.Size([1, 2, 6, 6])
    """

    _mode, _rank = "reflect", 2


class ReflectionPad3d(_PadNd):
    """The last three dimensions extended by reflection; the edge itself is not repeated.

    Args:
        padding: an int or a tuple (left, right, top, bottom, front, back), below the input's extent; a negative width
            crops.

    Shape: (C, D, H, W) or (N, C, D, H, W), with each extent longer by its two widths.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ReflectionPad3d.html

    >>> import nbtorch
    >>> nbtorch.nn.ReflectionPad3d(1)(nbtorch.ones(1, 2, 4, 4, 4)).shape
    torch.Size([1, 2, 6, 6, 6])
    """

    _mode, _rank = "reflect", 3


class ReplicationPad1d(_PadNd):
    """The last one dimension extended by repeating the edge.

    Args:
        padding: an int or a tuple (left, right); a negative width crops.

    Shape: (C, W) or (N, C, W), with each extent longer by its two widths.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ReplicationPad1d.html

    >>> import nbtorch
    >>> nbtorch.nn.ReplicationPad1d(1)(nbtorch.tensor([[1.0, 2.0, 3.0]]))
    tensor([[1., 1., 2., 3., 3.]])
    """

    _mode, _rank = "replicate", 1


class ReplicationPad2d(_PadNd):
    """The last two dimensions extended by repeating the edge.

    Args:
        padding: an int or a tuple (left, right, top, bottom); a negative width crops.

    Shape: (C, H, W) or (N, C, H, W), with each extent longer by its two widths.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ReplicationPad2d.html

    >>> import nbtorch
    >>> nbtorch.nn.ReplicationPad2d(1)(nbtorch.ones(1, 2, 4, 4)).shape
    torch.Size([1, 2, 6, 6])
    """

    _mode, _rank = "replicate", 2


class ReplicationPad3d(_PadNd):
    """The last three dimensions extended by repeating the edge.

    Args:
        padding: an int or a tuple (left, right, top, bottom, front, back); a negative width crops.

    Shape: (C, D, H, W) or (N, C, D, H, W), with each extent longer by its two widths.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ReplicationPad3d.html

    >>> import nbtorch
    >>> nbtorch.nn.ReplicationPad3d(1)(nbtorch.ones(1, 2, 4, 4, 4)).shape
    torch.Size([1, 2, 6, 6, 6])
    """

    _mode, _rank = "replicate", 3


class _CircularPadNd(_PadNd):
    """Circular padding of so many dimensions."""

    _mode = "circular"

    def forward(self, input: Tensor) -> Tensor:
        """Return the input with its border; a ValueError where its rank does not fit."""
        rank = self._rank
        if input.dim() not in (rank + 1, rank + 2):
            raise ValueError(f"expected {rank + 1}D or {rank + 2}D input (got {input.dim()}D input)")
        return super().forward(input)


class CircularPad1d(_CircularPadNd):
    """The last one dimension extended as if the input went on from its other end.

    Args:
        padding: an int or a tuple (left, right), at most the input's extent; a negative width
            crops.

    Shape: (C, W) or (N, C, W), with each extent longer by its two widths.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.CircularPad1d.html

    >>> import nbtorch
    >>> nbtorch.nn.CircularPad1d(1)(nbtorch.tensor([[1.0, 2.0, 3.0]]))
    tensor([[3., 1., 2., 3., 1.]])
    """

    _rank = 1


class CircularPad2d(_CircularPadNd):
    """The last two dimensions extended as if the input went on from its other end.

    Args:
        padding: an int or a tuple (left, right, top, bottom), at most the input's extent; a negative width
            crops.

    Shape: (C, H, W) or (N, C, H, W), with each extent longer by its two widths.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.CircularPad2d.html

    >>> import nbtorch
    >>> nbtorch.nn.CircularPad2d(1)(nbtorch.ones(1, 2, 4, 4)).shape
    torch.Size([1, 2, 6, 6])
    """

    _rank = 2


class CircularPad3d(_CircularPadNd):
    """The last three dimensions extended as if the input went on from its other end.

    Args:
        padding: an int or a tuple (left, right, top, bottom, front, back), at most the input's extent; a negative width
            crops.

    Shape: (C, D, H, W) or (N, C, D, H, W), with each extent longer by its two widths.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.CircularPad3d.html

    >>> import nbtorch
    >>> nbtorch.nn.CircularPad3d(1)(nbtorch.ones(1, 2, 4, 4, 4)).shape
    torch.Size([1, 2, 6, 6, 6])
    """

    _rank = 3


class _ConstantPadNd(_PadNd):
    """A border of one value around so many dimensions."""

    def __init__(self, padding: Widths, value: Any) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        """Return the input with its border."""
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        """Return the widths and the value."""
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPadNd):
    """A border of one value around the last one dimension of an input of any rank.

    Args:
        padding: an int or a tuple (left, right); a negative width crops.
        value: what the border holds.

    Shape: (C, W) or (N, C, W), with each extent longer by its two widths.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ConstantPad1d.html

    >>> import nbtorch
    >>> nbtorch.nn.ConstantPad1d(1, 5.0)(nbtorch.tensor([[1.0, 2.0, 3.0]]))
    tensor([[5., 1., 2., 3., 5.]])
    """

    _rank = 1


class ConstantPad2d(_ConstantPadNd):
    """A border of one value around the last two dimensions of an input of any rank.

    Args:
        padding: an int or a tuple (left, right, top, bottom); a negative width crops.
        value: what the border holds.

    Shape: (C, H, W) or (N, C, H, W), with each extent longer by its two widths.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ConstantPad2d.html

    >>> import nbtorch
    >>> nbtorch.nn.ConstantPad2d(1, 5.0)(nbtorch.ones(1, 2, 4, 4)).shape
    torch.Size([1, 2, 6, 6])
    """

    _rank = 2


class ConstantPad3d(_ConstantPadNd):
    """A border of one value around the last three dimensions of an input of any rank.

    Args:
        padding: an int or a tuple (left, right, top, bottom, front, back); a negative width crops.
        value: what the border holds.

    Shape: (C, D, H, W) or (N, C, D, H, W), with each extent longer by its two widths.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ConstantPad3d.html

    >>> import nbtorch
    >>> nbtorch.nn.ConstantPad3d(1, 5.0)(nbtorch.ones(1, 2, 4, 4, 4)).shape
    torch.Size([1, 2, 6, 6, 6])
    """

    _rank = 3


class _ZeroPadNd(_ConstantPadNd):
    """A border of zeros around so many dimensions."""

    def __init__(self, padding: Widths) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        """Return the widths."""
        return f"{self.padding}"


class ZeroPad1d(_ZeroPadNd):
    """A border of zeros around the last one dimension of an input of any rank.

    Args:
        padding: an int or a tuple (left, right); a negative width crops.

    Shape: (C, W) or (N, C, W), with each extent longer by its two widths.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ZeroPad1d.html

    >>> import nbtorch
    >>> nbtorch.nn.ZeroPad1d(1)(nbtorch.tensor([[1.0, 2.0, 3.0]]))
    tensor([[0., 1., 2., 3., 0.]])
    """

    _rank = 1


class ZeroPad2d(_ZeroPadNd):
    """A border of zeros around the last two dimensions of an input of any rank.

    Args:
        padding: an int or a tuple (left, right, top, bottom); a negative width crops.

    Shape: (C, H, W) or (N, C, H, W), with each extent longer by its two widths.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ZeroPad2d.html

    >>> import nbtorch
    >>> nbtorch.nn.ZeroPad2d(1)(nbtorch.ones(1, 2, 4, 4)).shape
    torch.Size([1, 2, 6, 6])
    """

    _rank = 2


class ZeroPad3d(_ZeroPadNd):
    """A border of zeros around the last three dimensions of an input of any rank.

    Args:
        padding: an int or a tuple (left, right, top, bottom, front, back); a negative width crops.

    Shape: (C, D, H, W) or (N, C, D, H, W), with each extent longer by its two widths.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ZeroPad3d.html

    >>> import nbtorch
    >>> nbtorch.nn.ZeroPad3d(1)(nbtorch.ones(1, 2, 4, 4, 4)).shape
    torch.Size([1, 2, 6, 6, 6])
    """

    _rank = 3
