"""Elements moved between channels and space, and channels between groups."""

from __future__ import annotations

from ...tensor import Tensor
from .. import functional as F
from .module import Module


class PixelShuffle(Module):
    """Channels as pixels: an image r times as high and wide, of a r²-th of the channels.

    Args:
        upscale_factor: the factor r.

    Shape: (*, C · r², H, W) to (*, C, H · r, W · r).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.PixelShuffle.html

    >>> import nbtorch
    >>> nbtorch.nn.PixelShuffle(2)(nbtorch.ones(1, 8, 2, 2)).shape
    torch.Size([1, 2, 4, 4])
    """

    def __init__(self, upscale_factor: int) -> None:
        super().__init__()
        self.upscale_factor = upscale_factor

    def forward(self, input: Tensor) -> Tensor:
        """Rearrange the input."""
        return F.pixel_shuffle(input, self.upscale_factor)

    def extra_repr(self) -> str:
        """Return the options."""
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    """Pixels as channels: an image of a r-th of the height and width and r² times the channels.

    Args:
        downscale_factor: the factor r.

    Shape: (*, C, H · r, W · r) to (*, C · r², H, W).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.PixelUnshuffle.html

    >>> import nbtorch
    >>> nbtorch.nn.PixelUnshuffle(2)(nbtorch.ones(1, 2, 4, 4)).shape
    torch.Size([1, 8, 2, 2])
    """

    def __init__(self, downscale_factor: int) -> None:
        super().__init__()
        self.downscale_factor = downscale_factor

    def forward(self, input: Tensor) -> Tensor:
        """Rearrange the input."""
        return F.pixel_unshuffle(input, self.downscale_factor)

    def extra_repr(self) -> str:
        """Return the options."""
        return f"downscale_factor={self.downscale_factor}"


class ChannelShuffle(Module):
    """Channels in another order: of each group the first, then of each the second, and so on.

    Args:
        groups: the number of groups.

    Shape: (N, C, *), and the same.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ChannelShuffle.html

    >>> import nbtorch
    >>> nbtorch.nn.ChannelShuffle(2)(nbtorch.ones(1, 4, 2)).shape
    torch.Size([1, 4, 2])
    """

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, input: Tensor) -> Tensor:
        """Rearrange the input."""
        return F.channel_shuffle(input, self.groups)

    def extra_repr(self) -> str:
        """Return the options."""
        return f"groups={self.groups}"
