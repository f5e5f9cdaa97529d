"""Elements and planes moved to other places on CUDA, by the array module's own operations.

As in `nbtorch.kernels.cpu.shuffle`.
"""

from typing import Any


def pixel_shuffle(channels: Any, factor: int, image: Any) -> None:
    """Write image[p, h·r + i, w·r + j] = channels[p, i, j, h, w]: `channels` (P, r, r, H, W), `image` (P, H·r, W·r)."""
    planes, _, _, height, width = channels.shape
    image.reshape(planes, height, factor, width, factor)[...] = channels.transpose(0, 3, 1, 4, 2)


def pixel_unshuffle(image: Any, factor: int, channels: Any) -> None:
    """Write channels[p, i, j, h, w] = image[p, h·r + i, w·r + j], the inverse of `pixel_shuffle`."""
    planes, _, _, height, width = channels.shape
    channels[...] = image.reshape(planes, height, factor, width, factor).transpose(0, 2, 4, 1, 3)


def channel_shuffle(input: Any, output: Any) -> None:
    """Write output[n, k, g] = input[n, g, k]: `input` (N, groups, C / groups, size)."""
    output[...] = input.swapaxes(1, 2)
