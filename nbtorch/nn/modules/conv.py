"""Convolutions and transposed convolutions: `Conv1d` to `Conv3d`, `ConvTranspose1d` to `ConvTranspose3d`."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from ...creation import empty
from ...tensor import Tensor
from .. import functional as F
from ..parameter import Parameter
from .lazy import LazyModuleMixin, is_lazy, uninitialized
from .linear import reset_weight_and_bias
from .module import Module

Extents = int | tuple[int, ...]
PADDING_MODES = ("zeros", "reflect", "replicate", "circular")
PADDING_STRINGS = ("valid", "same")


class _ConvNd(Module):
    """What convolutions and transposed convolutions of every rank share: options, parameters, text."""

    _rank: ClassVar[int]
    _transposed: ClassVar[bool] = False
    _function: ClassVar[Callable[..., Tensor]]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Extents,
        stride: Extents,
        padding: str | Extents,
        output_padding: Extents,
        dilation: Extents,
        groups: int,
        bias: bool,
        padding_mode: str,
        device: Any,
        dtype: Any,
    ) -> None:
        super().__init__()
        self._check_channels(in_channels, out_channels, groups)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = self._extents("kernel_size", kernel_size)
        self.stride = self._extents("stride", stride)
        self.padding: Any = padding if isinstance(padding, str) else self._extents("padding", padding)
        self.dilation = self._extents("dilation", dilation)
        self.transposed = self._transposed
        self.output_padding = self._extents("output_padding", output_padding)
        self.groups = groups
        self.padding_mode = padding_mode
        self._check_padding()
        first, second = (in_channels, out_channels) if self.transposed else (out_channels, in_channels)
        shape = (first, second // groups, *self.kernel_size)
        self.weight = Parameter(empty(shape, device=device, dtype=dtype))
        self.register_parameter("bias", Parameter(empty(out_channels, device=device, dtype=dtype)) if bias else None)
        self.reset_parameters()

    def _check_channels(self, in_channels: int, out_channels: int, groups: int) -> None:
        if groups <= 0:
            raise ValueError(f"{self._get_name()}: groups must be a positive integer, got {groups}")
        for name, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
            if channels % groups != 0:
                raise ValueError(f"{self._get_name()}: {name} must be divisible by groups, got {channels} and {groups}")

    def _extents(self, name: str, value: Extents) -> tuple[int, ...]:
        """Return an int or a tuple of ints as one int for each spatial dimension."""
        values = tuple(value) if isinstance(value, (tuple, list)) else (value,) * self._rank
        if len(values) != self._rank:
            raise ValueError(f"{self._get_name()}: {name} must be an int or {self._rank} ints, got {value}")
        try:
            return tuple(operator.index(extent) for extent in values)
        except TypeError:
            raise TypeError(f"{self._get_name()}: {name} must be made of ints, got {value!r}") from None

    def _check_padding(self) -> None:
        if isinstance(self.padding, str):
            if self.padding not in PADDING_STRINGS:
                raise ValueError(
                    f"{self._get_name()}: padding must be an int, a tuple or one of {PADDING_STRINGS},"
                    f" got {self.padding!r}"
                )
            if self.padding == "same" and any(stride != 1 for stride in self.stride):
                raise ValueError(
                    f"{self._get_name()}: padding='same' is not supported for strided convolutions,"
                    f" got stride={self.stride}"
                )
        if self.padding_mode not in PADDING_MODES:
            raise ValueError(
                f"{self._get_name()}: padding_mode must be one of {PADDING_MODES}, got {self.padding_mode!r}"
            )

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        reset_weight_and_bias(self.weight, self.bias)

    def extra_repr(self) -> str:
        """Return the sizes and the options that differ from their defaults."""
        zero, one = (0,) * self._rank, (1,) * self._rank
        parts = [
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}",
            f"padding={self.padding}" if self.padding != zero else "",
            f"dilation={self.dilation}" if self.dilation != one else "",
            f"output_padding={self.output_padding}" if self.output_padding != zero else "",
            f"groups={self.groups}" if self.groups != 1 else "",
            "bias=False" if self.bias is None else "",
            f"padding_mode={self.padding_mode}" if self.padding_mode != "zeros" else "",
        ]
        return ", ".join(part for part in parts if part)


class _Conv(_ConvNd):
    """A convolution of any rank."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Extents,
        stride: Extents = 1,
        padding: str | Extents = 0,
        dilation: Extents = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            0,
            dilation,
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )
        self._border = self._padding_of_every_side()

    def _padding_of_every_side(self) -> list[int]:
        """Return the padding as `F.pad` wants it: (before, after) of each dimension, the last dimension first.

        'same' pads as much as the kernel's extent takes away; of an odd amount the larger half goes behind.
        """
        if self.padding == "valid":
            totals = [(0, 0)] * self._rank
        elif self.padding == "same":
            lost = [d * (k - 1) for d, k in zip(self.dilation, self.kernel_size, strict=True)]
            totals = [(total // 2, total - total // 2) for total in lost]
        else:
            totals = [(p, p) for p in self.padding]
        return [side for sides in reversed(totals) for side in sides]

    def forward(self, input: Tensor) -> Tensor:
        """Convolve the input with the weight."""
        return self._conv_forward(input, self.weight, self.bias)

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        function = self._function
        if self.padding_mode == "zeros":
            return function(input, weight, bias, self.stride, self.padding, self.dilation, self.groups)
        input = F.pad(input, self._border, mode=self.padding_mode)
        return function(input, weight, bias, self.stride, 0, self.dilation, self.groups)


class Conv1d(_Conv):
    """A convolution (cross-correlation) along one dimension.

    Args:
        in_channels: C, the channels of the input.
        out_channels: O, the channels of the output.
        kernel_size: the extent of the kernel, an int or a tuple.
        stride: the step between positions of the kernel.
        padding: the zeros added on both sides, `'valid'` (none) or `'same'` (the output has the input's extent).
        dilation: the distance between the kernel's elements.
        groups: blocks of channels that are convolved apart; `in_channels` gives a depthwise convolution.
        bias: whether a bias is learned and added.
        padding_mode: what the padding holds: `'zeros'`, `'reflect'`, `'replicate'` or `'circular'`.
        device: where the parameters lie (default: the default device).
        dtype: their type (default: the default dtype).

    Attributes:
        weight: (O, C / groups, kW).
        bias: (O,), or None.

    Shape: (N, C, W) or (C, W) to (N, O, oW) or (O, oW), oW = (W + 2 padding - dilation (kW - 1) - 1) // stride + 1.

    Raises:
        ValueError: channels that `groups` does not divide, an unknown padding or padding_mode, `'same'` with a stride.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Conv1d.html

    >>> import nbtorch
    >>> nbtorch.nn.Conv1d(16, 33, 3, stride=2)(nbtorch.zeros(20, 16, 50)).shape
    torch.Size([20, 33, 24])
    """

    _rank = 1
    _function = staticmethod(F.conv1d)


class Conv2d(_Conv):
    """A convolution (cross-correlation) along two dimensions.

    Arguments, attributes and errors as in `Conv1d`; extents may differ between dimensions: `kernel_size=(3, 5)`.

    Attributes:
        weight: (O, C / groups, kH, kW).
        bias: (O,), or None.

    Shape: (N, C, H, W) or (C, H, W) to (N, O, oH, oW) or (O, oH, oW).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Conv2d.html

    >>> import nbtorch
    >>> layer = nbtorch.nn.Conv2d(16, 33, (3, 5), stride=(2, 1), padding=(4, 2), dilation=(3, 1))
    >>> layer(nbtorch.zeros(2, 16, 50, 100)).shape
    torch.Size([2, 33, 26, 100])
    """

    _rank = 2
    _function = staticmethod(F.conv2d)


class Conv3d(_Conv):
    """A convolution (cross-correlation) along three dimensions.

    Arguments, attributes and errors as in `Conv1d`; extents may differ between dimensions.

    Attributes:
        weight: (O, C / groups, kD, kH, kW).
        bias: (O,), or None.

    Shape: (N, C, D, H, W) or (C, D, H, W) to (N, O, oD, oH, oW) or (O, oD, oH, oW).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Conv3d.html

    >>> import nbtorch
    >>> nbtorch.nn.Conv3d(2, 3, 3, padding="same")(nbtorch.zeros(1, 2, 4, 5, 6)).shape
    torch.Size([1, 3, 4, 5, 6])
    """

    _rank = 3
    _function = staticmethod(F.conv3d)


class _ConvTransposeNd(_ConvNd):
    """A transposed convolution of any rank: a convolution's gradient with respect to its input."""

    _transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Extents,
        stride: Extents = 1,
        padding: Extents = 0,
        output_padding: Extents = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Extents = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if padding_mode != "zeros":
            raise ValueError(
                f'Only "zeros" padding mode is supported for {self._get_name()}, got padding_mode={padding_mode!r}'
            )
        if isinstance(padding, str):
            raise TypeError(f"{self._get_name()}: padding must be an int or a tuple of ints, got {padding!r}")
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            output_padding,
            dilation,
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """Apply the transposed convolution.

        Args:
            input: (N, C, *spatial) or (C, *spatial).
            output_size: the extents wanted, spatial or all; they choose the output padding.
        """
        output_padding = self.output_padding if output_size is None else self._output_padding_for(input, output_size)
        return self._function(
            input, self.weight, self.bias, self.stride, self.padding, output_padding, self.groups, self.dilation
        )

    def _output_padding_for(self, input: Tensor, output_size: Sequence[int]) -> tuple[int, ...]:
        """Return the output padding that gives `output_size`; a ValueError tells which sizes are possible."""
        rank, sizes = self._rank, tuple(output_size)
        if len(sizes) == input.dim():
            sizes = sizes[-rank:]
        if len(sizes) != rank:
            raise ValueError(
                f"{self._get_name()}: for {input.dim()}D input, output_size must have {rank} or {input.dim()} elements"
                f" (got {len(sizes)})"
            )
        extents = tuple(input.shape)[-rank:]
        axes = zip(extents, self.stride, self.padding, self.dilation, self.kernel_size, strict=True)
        least = [(n - 1) * stride - 2 * p + d * (k - 1) + 1 for n, stride, p, d, k in axes]
        most = [size + stride - 1 for size, stride in zip(least, self.stride, strict=True)]
        if any(not low <= size <= high for low, size, high in zip(least, sizes, most, strict=True)):
            raise ValueError(
                f"{self._get_name()}: requested an output size of {sizes}, but valid sizes range from {least} to {most}"
                f" (for an input of {list(extents)})"
            )
        return tuple(size - low for size, low in zip(sizes, least, strict=True))


class ConvTranspose1d(_ConvTransposeNd):
    """A transposed convolution along one dimension: the gradient of `Conv1d` with respect to its input.

    Args:
        in_channels: C, the channels of the input.
        out_channels: O, the channels of the output.
        kernel_size: the extent of the kernel, an int or a tuple.
        stride: the step between the kernel's copies in the output.
        padding: what is cut off on both sides of the output.
        output_padding: what is added to the output's end.
        groups: blocks of channels that are convolved apart.
        bias: whether a bias is learned and added.
        dilation: the distance between the kernel's elements.
        padding_mode: must be `'zeros'`.
        device: where the parameters lie (default: the default device).
        dtype: their type (default: the default dtype).

    Attributes:
        weight: (C, O / groups, kW).
        bias: (O,), or None.

    Shape: (N, C, W) or (C, W) to (N, O, oW) or (O, oW),
        oW = (W - 1) stride - 2 padding + dilation (kW - 1) + output_padding + 1.

    Raises:
        ValueError: channels that `groups` does not divide, another padding_mode, an `output_size` out of reach.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ConvTranspose1d.html

    >>> import nbtorch
    >>> layer = nbtorch.nn.ConvTranspose1d(2, 3, 3, stride=2, padding=1)
    >>> x = nbtorch.zeros(1, 2, 5)
    >>> layer(x).shape, layer(x, output_size=[10]).shape
    (torch.Size([1, 3, 9]), torch.Size([1, 3, 10]))
    """

    _rank = 1
    _function = staticmethod(F.conv_transpose1d)


class ConvTranspose2d(_ConvTransposeNd):
    """A transposed convolution along two dimensions: the gradient of `Conv2d` with respect to its input.

    Arguments, attributes and errors as in `ConvTranspose1d`; extents may differ between dimensions.

    Attributes:
        weight: (C, O / groups, kH, kW).
        bias: (O,), or None.

    Shape: (N, C, H, W) or (C, H, W) to (N, O, oH, oW) or (O, oH, oW).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ConvTranspose2d.html

    >>> import nbtorch
    >>> nbtorch.nn.ConvTranspose2d(16, 33, 3, stride=2)(nbtorch.zeros(2, 16, 12, 12)).shape
    torch.Size([2, 33, 25, 25])
    """

    _rank = 2
    _function = staticmethod(F.conv_transpose2d)


class ConvTranspose3d(_ConvTransposeNd):
    """A transposed convolution along three dimensions: the gradient of `Conv3d` with respect to its input.

    Arguments, attributes and errors as in `ConvTranspose1d`; extents may differ between dimensions.

    Attributes:
        weight: (C, O / groups, kD, kH, kW).
        bias: (O,), or None.

    Shape: (N, C, D, H, W) or (C, D, H, W) to (N, O, oD, oH, oW) or (O, oD, oH, oW).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ConvTranspose3d.html

    >>> import nbtorch
    >>> nbtorch.nn.ConvTranspose3d(2, 3, 2, stride=2)(nbtorch.zeros(1, 2, 3, 4, 5)).shape
    torch.Size([1, 3, 6, 8, 10])
    """

    _rank = 3
    _function = staticmethod(F.conv_transpose3d)


class _LazyConv(LazyModuleMixin, _ConvNd):
    """A convolution that takes `in_channels` from its first input."""

    def _make_lazy(self, out_channels: int, device: Any, dtype: Any) -> None:
        """Let a convolution that was made without channels wait for them."""
        self.out_channels = out_channels
        for name in ("weight", "bias"):
            setattr(self, name, uninitialized(getattr(self, name), device, dtype))

    def reset_parameters(self) -> None:
        """Draw new initial values for what has a shape already."""
        if self.in_channels and not self.has_uninitialized_params():
            super().reset_parameters()

    def initialize_parameters(self, input: Tensor, *args: Any, **kwargs: Any) -> None:
        """Give the parameters the number of channels of the input."""
        if input.dim() not in (self._rank + 1, self._rank + 2):
            raise RuntimeError(
                f"Expected {self._rank + 1}D (unbatched) or {self._rank + 2}D (batched) input to {self._get_name()},"
                f" but got input of size: {input.shape}"
            )
        if not self.in_channels:  # a state_dict may have brought the parameters already
            self.in_channels = input.shape[-self._rank - 1]
        if self.in_channels % self.groups != 0:
            raise ValueError(
                f"{self._get_name()}: in_channels must be divisible by groups, got {self.in_channels} and {self.groups}"
            )
        if not self.has_uninitialized_params():
            return
        first, second = self.in_channels, self.out_channels
        if not self.transposed:
            first, second = second, first
        self.weight.materialize((first, second // self.groups, *self.kernel_size))
        if is_lazy(self.bias):
            self.bias.materialize((self.out_channels,))
        self.reset_parameters()


class _LazyPlainConv(_LazyConv):
    """A lazy `Conv1d`, `Conv2d` or `Conv3d`."""

    def __init__(
        self,
        out_channels: int,
        kernel_size: Extents,
        stride: Extents = 1,
        padding: Extents | str = 0,
        dilation: Extents = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(0, 0, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype)
        self._make_lazy(out_channels, device, dtype)


class _LazyTransposedConv(_LazyConv):
    """A lazy `ConvTranspose1d`, `ConvTranspose2d` or `ConvTranspose3d`."""

    def __init__(
        self,
        out_channels: int,
        kernel_size: Extents,
        stride: Extents = 1,
        padding: Extents = 0,
        output_padding: Extents = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Extents = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            0, 0, kernel_size, stride, padding, output_padding, groups, bias, dilation, padding_mode, device, dtype
        )
        self._make_lazy(out_channels, device, dtype)


class LazyConv1d(_LazyPlainConv, Conv1d):
    """A `Conv1d` that takes `in_channels` from its first input; the other arguments are the same.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.LazyConv1d.html

    >>> import nbtorch
    >>> nbtorch.nn.LazyConv1d(4, 3)(nbtorch.randn(2, 5, 8)).shape
    torch.Size([2, 4, 6])
    """

    cls_to_become = Conv1d


class LazyConv2d(_LazyPlainConv, Conv2d):
    """A `Conv2d` that takes `in_channels` from its first input; the other arguments are the same.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.LazyConv2d.html

    >>> import nbtorch
    >>> nbtorch.nn.LazyConv2d(4, 3)(nbtorch.randn(2, 5, 8, 8)).shape
    torch.Size([2, 4, 6, 6])
    """

    cls_to_become = Conv2d


class LazyConv3d(_LazyPlainConv, Conv3d):
    """A `Conv3d` that takes `in_channels` from its first input; the other arguments are the same.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.LazyConv3d.html

    >>> import nbtorch
    >>> nbtorch.nn.LazyConv3d(4, 3)(nbtorch.randn(2, 5, 4, 8, 8)).shape
    torch.Size([2, 4, 2, 6, 6])
    """

    cls_to_become = Conv3d


class LazyConvTranspose1d(_LazyTransposedConv, ConvTranspose1d):
    """A `ConvTranspose1d` that takes `in_channels` from its first input; the other arguments are the same.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.LazyConvTranspose1d.html

    >>> import nbtorch
    >>> nbtorch.nn.LazyConvTranspose1d(4, 3)(nbtorch.randn(2, 5, 8)).shape
    torch.Size([2, 4, 10])
    """

    cls_to_become = ConvTranspose1d


class LazyConvTranspose2d(_LazyTransposedConv, ConvTranspose2d):
    """A `ConvTranspose2d` that takes `in_channels` from its first input; the other arguments are the same.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.LazyConvTranspose2d.html

    >>> import nbtorch
    >>> nbtorch.nn.LazyConvTranspose2d(4, 3)(nbtorch.randn(2, 5, 8, 8)).shape
    torch.Size([2, 4, 10, 10])
    """

    cls_to_become = ConvTranspose2d


class LazyConvTranspose3d(_LazyTransposedConv, ConvTranspose3d):
    """A `ConvTranspose3d` that takes `in_channels` from its first input; the other arguments are the same.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.LazyConvTranspose3d.html

    >>> import nbtorch
    >>> nbtorch.nn.LazyConvTranspose3d(4, 3)(nbtorch.randn(2, 5, 4, 8, 8)).shape
    torch.Size([2, 4, 6, 10, 10])
    """

    cls_to_become = ConvTranspose3d
