"""Pooling and unpooling layers: max, average, power-average, fractional, adaptive, each for several ranks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from ...tensor import Tensor
from .. import functional as F
from .module import Module

Extents = int | tuple[int, ...]


def _repeated(value: Any, rank: int) -> tuple[Any, ...]:
    """Return a value as a tuple, one for each dimension, and a sequence as the tuple it is."""
    return tuple(value) if isinstance(value, Iterable) else (value,) * rank


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


class _MaxUnpoolNd(Module):
    """Max unpooling of any rank."""

    _function: ClassVar[Callable[..., Any]]
    _rank: ClassVar[int]

    def __init__(self, kernel_size: Extents, stride: Extents | None = None, padding: Extents = 0) -> None:
        super().__init__()
        self.kernel_size = _repeated(kernel_size, self._rank)
        self.stride = _repeated(kernel_size if stride is None else stride, self._rank)
        self.padding = _repeated(padding, self._rank)

    def forward(self, input: Tensor, indices: Tensor, output_size: Any = None) -> Tensor:
        """Return zeros with the elements of `input` at their indices."""
        return self._function(input, indices, self.kernel_size, self.stride, self.padding, output_size)

    def extra_repr(self) -> str:
        """Return the options."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpoolNd):
    """Max pooling along one dimension undone as far as it can be: maxima at their places, zeros elsewhere.

    Args:
        kernel_size: that of the pooling, an int or a tuple.
        stride: that of the pooling (default: `kernel_size`).
        padding: that of the pooling.

    Shape: (N, C, oW) or (C, oW), with indices of that shape, to (N, C, W) or (C, W),
        W = (oW - 1) stride - 2 padding + kernel_size, or what `output_size` says in the call.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.MaxUnpool1d.html

    >>> import nbtorch
    >>> output, indices = nbtorch.nn.MaxPool1d(2, return_indices=True)(nbtorch.tensor([[[1.0, 3.0, 2.0, 0.0]]]))
    >>> nbtorch.nn.MaxUnpool1d(2)(output, indices)
    tensor([[[0., 3., 2., 0.]]])
    """

    _function, _rank = staticmethod(F.max_unpool1d), 1


class MaxUnpool2d(_MaxUnpoolNd):
    """Max pooling of images undone as far as it can be; arguments as in `MaxUnpool1d`.

    Shape: (N, C, oH, oW) or (C, oH, oW) to (N, C, H, W) or (C, H, W).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.MaxUnpool2d.html

    >>> import nbtorch
    >>> output, indices = nbtorch.nn.MaxPool2d(2, return_indices=True)(nbtorch.ones(1, 3, 5, 5))
    >>> nbtorch.nn.MaxUnpool2d(2)(output, indices, output_size=(5, 5)).shape
    torch.Size([1, 3, 5, 5])
    """

    _function, _rank = staticmethod(F.max_unpool2d), 2


class MaxUnpool3d(_MaxUnpoolNd):
    """Max pooling of volumes undone as far as it can be; arguments as in `MaxUnpool1d`.

    Shape: (N, C, oD, oH, oW) or (C, oD, oH, oW) to (N, C, D, H, W) or (C, D, H, W).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.MaxUnpool3d.html

    >>> import nbtorch
    >>> output, indices = nbtorch.nn.MaxPool3d(2, return_indices=True)(nbtorch.ones(1, 3, 4, 4, 4))
    >>> nbtorch.nn.MaxUnpool3d(2)(output, indices).shape
    torch.Size([1, 3, 4, 4, 4])
    """

    _function, _rank = staticmethod(F.max_unpool3d), 3


class _AvgPoolNd(Module):
    """Average pooling of any rank."""

    _function: ClassVar[Callable[..., Any]]

    def __init__(
        self,
        kernel_size: Extents,
        stride: Extents | None = None,
        padding: Extents = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override

    def forward(self, input: Tensor) -> Tensor:
        """Return the mean of each window."""
        return self._function(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )

    def extra_repr(self) -> str:
        """Return the options."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool1d(_AvgPoolNd):
    """The mean over a window that slides along one dimension.

    Args:
        kernel_size: the extent of the window, an int or a tuple.
        stride: the step between windows (default: `kernel_size`).
        padding: zeros added on both sides, at most half the window.
        ceil_mode: round the output's extent up, so that windows may begin inside and end outside.
        count_include_pad: count the padding's zeros as elements.

    Shape: (N, C, W) or (C, W) to (N, C, oW) or (C, oW), oW = (W + 2 padding - kernel_size) // stride + 1.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.AvgPool1d.html

    >>> import nbtorch
    >>> nbtorch.nn.AvgPool1d(2)(nbtorch.tensor([[[1.0, 3.0, 2.0, 0.0]]]))
    tensor([[[2., 1.]]])
    """

    _function = staticmethod(F.avg_pool1d)

    def __init__(
        self,
        kernel_size: Extents,
        stride: Extents | None = None,
        padding: Extents = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        stride = _repeated(kernel_size if stride is None else stride, 1)
        super().__init__(_repeated(kernel_size, 1), stride, _repeated(padding, 1), ceil_mode, count_include_pad)
        del self.divisor_override

    def forward(self, input: Tensor) -> Tensor:
        """Return the mean of each window."""
        window = self.kernel_size, self.stride, self.padding
        return self._function(input, *window, self.ceil_mode, self.count_include_pad)


class AvgPool2d(_AvgPoolNd):
    """The mean over a window that slides along two dimensions.

    Arguments as in `AvgPool1d`, and

    Args:
        divisor_override: what to divide the sums by instead of the number of elements.

    Shape: (N, C, H, W) or (C, H, W) to (N, C, oH, oW) or (C, oH, oW).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.AvgPool2d.html

    >>> import nbtorch
    >>> nbtorch.nn.AvgPool2d((3, 2), stride=(2, 1))(nbtorch.zeros(2, 16, 50, 32)).shape
    torch.Size([2, 16, 24, 31])
    """

    _function = staticmethod(F.avg_pool2d)


class AvgPool3d(_AvgPoolNd):
    """The mean over a window that slides along three dimensions; arguments as in `AvgPool2d`.

    Shape: (N, C, D, H, W) or (C, D, H, W) to (N, C, oD, oH, oW) or (C, oD, oH, oW).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.AvgPool3d.html

    >>> import nbtorch
    >>> nbtorch.nn.AvgPool3d(2)(nbtorch.zeros(1, 2, 4, 6, 8)).shape
    torch.Size([1, 2, 2, 3, 4])
    """

    _function = staticmethod(F.avg_pool3d)


class _FractionalMaxPoolNd(Module):
    """Fractional max pooling of images or volumes."""

    _function: ClassVar[Callable[..., Any]]
    _rank: ClassVar[int]
    _random_samples: Tensor | None

    def __init__(
        self,
        kernel_size: Extents,
        output_size: Extents | None = None,
        output_ratio: Any = None,
        return_indices: bool = False,
        _random_samples: Tensor | None = None,
    ) -> None:
        super().__init__()
        name, rank = type(self).__name__, self._rank
        self.kernel_size = _repeated(kernel_size, rank)
        self.return_indices = return_indices
        self.register_buffer("_random_samples", _random_samples)
        self.output_size = None if output_size is None else _repeated(output_size, rank)
        self.output_ratio = None if output_ratio is None else _repeated(output_ratio, rank)
        if output_size is None and output_ratio is None:
            raise ValueError(f"{name} requires specifying either an output size, or a pooling ratio")
        if output_size is not None and output_ratio is not None:
            raise ValueError(
                f"{name}: only one of output_size and output_ratio may be specified, got {output_size} and"
                f" {output_ratio}"
            )
        if self.output_ratio is not None and not all(0 < self.output_ratio[i] < 1 for i in range(rank)):
            raise ValueError(f"{name}: output_ratio must be between 0 and 1 (got {output_ratio})")

    def forward(self, input: Tensor) -> Any:
        """Return the maxima and, with `return_indices`, where they were found."""
        return self._function(
            input,
            self.kernel_size,
            self.output_size,
            self.output_ratio,
            self.return_indices,
            _random_samples=self._random_samples,
        )


class FractionalMaxPool2d(_FractionalMaxPoolNd):
    """The maxima of windows at pseudo-random steps, so many that the output has a given size.

    Args:
        kernel_size: the extents of the window, an int or a tuple.
        output_size: the output's extents, an int or a tuple; either this or
        output_ratio: the output's share of the input's extents, in (0, 1), a number or a tuple.
        return_indices: also return where each maximum was found, as `MaxUnpool2d` wants it.
        _random_samples: numbers of [0, 1) that the steps follow from, (N, C, 2); by default drawn at each call.

    Shape: (N, C, H, W) or (C, H, W) to (N, C, oH, oW) or (C, oH, oW).

    Raises:
        ValueError: both or neither of size and ratio are given, or a ratio is not in (0, 1).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.FractionalMaxPool2d.html

    >>> import nbtorch
    >>> nbtorch.nn.FractionalMaxPool2d(3, output_ratio=0.5)(nbtorch.zeros(2, 4, 50, 32)).shape
    torch.Size([2, 4, 25, 16])
    """

    _function, _rank = staticmethod(F.fractional_max_pool2d), 2


class FractionalMaxPool3d(_FractionalMaxPoolNd):
    """The maxima of windows at pseudo-random steps; arguments as in `FractionalMaxPool2d`.

    Shape: (N, C, D, H, W) or (C, D, H, W) to (N, C, oD, oH, oW) or (C, oD, oH, oW).

    Raises:
        ValueError: as in `FractionalMaxPool2d`, or an extent of the window is not positive.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.FractionalMaxPool3d.html

    >>> import nbtorch
    >>> nbtorch.nn.FractionalMaxPool3d(2, output_size=(4, 5, 6))(nbtorch.zeros(1, 2, 9, 10, 11)).shape
    torch.Size([1, 2, 4, 5, 6])
    """

    _function, _rank = staticmethod(F.fractional_max_pool3d), 3

    def __init__(
        self,
        kernel_size: Extents,
        output_size: Extents | None = None,
        output_ratio: Any = None,
        return_indices: bool = False,
        _random_samples: Tensor | None = None,
    ) -> None:
        if any(k <= 0 for k in _repeated(kernel_size, 3)):
            raise ValueError(f"FractionalMaxPool3d: kernel_size must be greater than 0, but got {kernel_size}")
        super().__init__(kernel_size, output_size, output_ratio, return_indices, _random_samples)


class _LPPoolNd(Module):
    """Power-average pooling of any rank."""

    _function: ClassVar[Callable[..., Any]]

    absolute = False

    def __init__(
        self,
        norm_type: float,
        kernel_size: Extents,
        stride: Extents | None = None,
        ceil_mode: bool = False,
        *,
        absolute: bool = False,
    ) -> None:
        super().__init__()
        self.norm_type = norm_type
        self.kernel_size = kernel_size
        self.stride = stride
        self.ceil_mode = ceil_mode
        if absolute:
            self.absolute = absolute

    def forward(self, input: Tensor) -> Tensor:
        """Return the power average of each window."""
        size = self.kernel_size, self.stride, self.ceil_mode
        return self._function(input, float(self.norm_type), *size, absolute=self.absolute)

    def extra_repr(self) -> str:
        """Return the options."""
        return (
            f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride},"
            f" ceil_mode={self.ceil_mode}" + (", absolute=True" if self.absolute else "")
        )


class LPPool1d(_LPPoolNd):
    """The p-th root of the sum of p-th powers over a window that slides along one dimension.

    As in PyTorch the elements' own powers are added: negative ones give NaN where p is no even number, unless
    `absolute` is set.

    Args:
        norm_type: the power p; with infinity this is max pooling of the absolute values.
        kernel_size: the extent of the window.
        stride: the step between windows (default: `kernel_size`).
        ceil_mode: round the output's extent up, so that windows may begin inside and end outside.
        absolute: add powers of absolute values, which gives the p-norm of each window; not in PyTorch.

    Shape: (N, C, W) or (C, W) to (N, C, oW) or (C, oW), oW = (W - kernel_size) // stride + 1.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.LPPool1d.html

    >>> import nbtorch
    >>> nbtorch.nn.LPPool1d(2, 2)(nbtorch.tensor([[[3.0, 4.0, 0.0, 2.0]]]))
    tensor([[[5., 2.]]])
    """

    _function = staticmethod(F.lp_pool1d)


class LPPool2d(_LPPoolNd):
    """The p-th root of the sum of p-th powers over a window of an image; arguments as in `LPPool1d`.

    Shape: (N, C, H, W) or (C, H, W) to (N, C, oH, oW) or (C, oH, oW).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.LPPool2d.html

    >>> import nbtorch
    >>> nbtorch.nn.LPPool2d(1.2, (3, 2), stride=(2, 1))(nbtorch.ones(2, 16, 50, 32)).shape
    torch.Size([2, 16, 24, 31])
    """

    _function = staticmethod(F.lp_pool2d)


class LPPool3d(_LPPoolNd):
    """The p-th root of the sum of p-th powers over a window of a volume; arguments as in `LPPool1d`.

    Shape: (N, C, D, H, W) or (C, D, H, W) to (N, C, oD, oH, oW) or (C, oD, oH, oW).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.LPPool3d.html

    >>> import nbtorch
    >>> nbtorch.nn.LPPool3d(2, 2)(nbtorch.ones(1, 2, 4, 6, 8)).shape
    torch.Size([1, 2, 2, 3, 4])
    """

    _function = staticmethod(F.lp_pool3d)


class _AdaptiveMaxPoolNd(Module):
    """Adaptive max pooling of any rank."""

    _function: ClassVar[Callable[..., Any]]

    def __init__(self, output_size: Any, return_indices: bool = False) -> None:
        super().__init__()
        self.output_size = output_size
        self.return_indices = return_indices

    def forward(self, input: Tensor) -> Any:
        """Return the maxima and, with `return_indices`, where they were found."""
        return self._function(input, self.output_size, self.return_indices)

    def extra_repr(self) -> str:
        """Return the options."""
        return f"output_size={self.output_size}"


class AdaptiveMaxPool1d(_AdaptiveMaxPoolNd):
    """The maxima of so many regions that split one dimension evenly.

    Args:
        output_size: how many regions.
        return_indices: also return where each maximum was found.

    Shape: (N, C, W) or (C, W) to (N, C, output_size) or (C, output_size).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.AdaptiveMaxPool1d.html

    >>> import nbtorch
    >>> nbtorch.nn.AdaptiveMaxPool1d(2)(nbtorch.tensor([[[1.0, 3.0, 2.0, 0.0]]]))
    tensor([[[3., 2.]]])
    """

    _function = staticmethod(F.adaptive_max_pool1d)


class AdaptiveMaxPool2d(_AdaptiveMaxPoolNd):
    """The maxima of regions that split an image evenly.

    Args:
        output_size: how many regions, an int or a tuple; None stands for the input's extent.
        return_indices: also return where each maximum was found.

    Shape: (N, C, H, W) or (C, H, W) to (N, C, oH, oW) or (C, oH, oW).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.AdaptiveMaxPool2d.html

    >>> import nbtorch
    >>> nbtorch.nn.AdaptiveMaxPool2d((5, None))(nbtorch.ones(1, 64, 8, 9)).shape
    torch.Size([1, 64, 5, 9])
    """

    _function = staticmethod(F.adaptive_max_pool2d)


class AdaptiveMaxPool3d(_AdaptiveMaxPoolNd):
    """The maxima of regions that split a volume evenly; arguments as in `AdaptiveMaxPool2d`.

    Shape: (N, C, D, H, W) or (C, D, H, W) to (N, C, oD, oH, oW) or (C, oD, oH, oW).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.AdaptiveMaxPool3d.html

    >>> import nbtorch
    >>> nbtorch.nn.AdaptiveMaxPool3d(2)(nbtorch.ones(1, 4, 8, 9, 5)).shape
    torch.Size([1, 4, 2, 2, 2])
    """

    _function = staticmethod(F.adaptive_max_pool3d)


class _AdaptiveAvgPoolNd(Module):
    """Adaptive average pooling of any rank."""

    _function: ClassVar[Callable[..., Any]]

    def __init__(self, output_size: Any) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, input: Tensor) -> Tensor:
        """Return the means of the regions."""
        return self._function(input, self.output_size)

    def extra_repr(self) -> str:
        """Return the options."""
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_AdaptiveAvgPoolNd):
    """The means of so many regions that split one dimension evenly.

    Args:
        output_size: how many regions.

    Shape: (N, C, W) or (C, W) to (N, C, output_size) or (C, output_size).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.AdaptiveAvgPool1d.html

    >>> import nbtorch
    >>> nbtorch.nn.AdaptiveAvgPool1d(2)(nbtorch.tensor([[[1.0, 3.0, 2.0, 0.0]]]))
    tensor([[[2., 1.]]])
    """

    _function = staticmethod(F.adaptive_avg_pool1d)


class AdaptiveAvgPool2d(_AdaptiveAvgPoolNd):
    """The means of regions that split an image evenly; with 1 the mean of the whole image.

    Args:
        output_size: how many regions, an int or a tuple; None stands for the input's extent.

    Shape: (N, C, H, W) or (C, H, W) to (N, C, oH, oW) or (C, oH, oW).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.AdaptiveAvgPool2d.html

    >>> import nbtorch
    >>> nbtorch.nn.AdaptiveAvgPool2d((5, None))(nbtorch.ones(1, 64, 8, 9)).shape
    torch.Size([1, 64, 5, 9])
    """

    _function = staticmethod(F.adaptive_avg_pool2d)


class AdaptiveAvgPool3d(_AdaptiveAvgPoolNd):
    """The means of regions that split a volume evenly; arguments as in `AdaptiveAvgPool2d`.

    Shape: (N, C, D, H, W) or (C, D, H, W) to (N, C, oD, oH, oW) or (C, oD, oH, oW).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.AdaptiveAvgPool3d.html

    >>> import nbtorch
    >>> nbtorch.nn.AdaptiveAvgPool3d(2)(nbtorch.ones(1, 4, 8, 9, 5)).shape
    torch.Size([1, 4, 2, 2, 2])
    """

    _function = staticmethod(F.adaptive_avg_pool3d)
