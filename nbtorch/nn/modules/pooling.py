"""Pooling layers: `MaxPool1d` to `MaxPool3d`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from ...tensor import Tensor
from .. import functional as F
from .module import Module

Extents = int | tuple[int, ...]


class _MaxPoolNd(Module):
    """Max pooling of any rank."""

    _function: ClassVar[Callable[..., Any]]

    def __init__(
        self,
        kernel_size: Extents,
        stride: Extents | None = None,
        padding: Extents = 0,
        dilation: Extents = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = stride if stride is not None else kernel_size
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def forward(self, input: Tensor) -> Any:
        """Return the maxima and, with `return_indices`, where they were found."""
        return self._function(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            ceil_mode=self.ceil_mode,
            return_indices=self.return_indices,
        )

    def extra_repr(self) -> str:
        """Return the options."""
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, dilation={self.dilation},"
            f" ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(_MaxPoolNd):
    """The maximum over a window that slides along one dimension.

    Args:
        kernel_size: the extent of the window, an int or a tuple.
        stride: the step between windows (default: `kernel_size`).
        padding: what is added on both sides, at most half the window; it never wins.
        dilation: the distance between a window's elements.
        return_indices: also return where each maximum was found, as `MaxUnpool1d` wants it.
        ceil_mode: round the output's extent up, so that windows may begin inside and end outside.

    Shape: (N, C, W) or (C, W) to (N, C, oW) or (C, oW),
        oW = (W + 2 padding - dilation (kernel_size - 1) - 1) // stride + 1.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.MaxPool1d.html

    >>> import nbtorch
    >>> nbtorch.nn.MaxPool1d(2)(nbtorch.tensor([[[1.0, 3.0, 2.0, 0.0]]]))
    tensor([[[3., 2.]]])
    """

    _function = staticmethod(F.max_pool1d)


class MaxPool2d(_MaxPoolNd):
    """The maximum over a window that slides along two dimensions.

    Arguments as in `MaxPool1d`; extents may differ between dimensions: `kernel_size=(3, 2)`.

    Shape: (N, C, H, W) or (C, H, W) to (N, C, oH, oW) or (C, oH, oW).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.MaxPool2d.html

    >>> import nbtorch
    >>> nbtorch.nn.MaxPool2d((3, 2), stride=(2, 1))(nbtorch.zeros(2, 16, 50, 32)).shape
    torch.Size([2, 16, 24, 31])
    """

    _function = staticmethod(F.max_pool2d)


class MaxPool3d(_MaxPoolNd):
    """The maximum over a window that slides along three dimensions.

    Arguments as in `MaxPool1d`; extents may differ between dimensions.

    Shape: (N, C, D, H, W) or (C, D, H, W) to (N, C, oD, oH, oW) or (C, oD, oH, oW).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.MaxPool3d.html

    >>> import nbtorch
    >>> nbtorch.nn.MaxPool3d(2)(nbtorch.zeros(1, 2, 4, 6, 8)).shape
    torch.Size([1, 2, 2, 3, 4])
    """

    _function = staticmethod(F.max_pool3d)
