"""Weights of convolutions in another memory format."""

from __future__ import annotations

from typing import Any

from ...layout import memory_format as MemoryFormat
from ..modules.conv import Conv2d, Conv3d, ConvTranspose2d, ConvTranspose3d


def convert_conv2d_weight_memory_format(module: Any, memory_format: MemoryFormat) -> Any:
    """Give the weights of all two-dimensional convolutions in a module another memory format; returns the module.

    Args:
        module: a module.
        memory_format: such as `nbtorch.channels_last`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.convert_conv2d_weight_memory_format.html

    >>> import nbtorch
    >>> net = convert_conv2d_weight_memory_format(nbtorch.nn.Conv2d(2, 3, 4), nbtorch.channels_last)
    >>> net.weight.is_contiguous(memory_format=nbtorch.channels_last)
    True
    """
    return _converted(module, (Conv2d, ConvTranspose2d), memory_format)


def convert_conv3d_weight_memory_format(module: Any, memory_format: MemoryFormat) -> Any:
    """Give the weights of all three-dimensional convolutions in a module another memory format; returns the module.

    Args:
        module: a module.
        memory_format: such as `nbtorch.channels_last_3d`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.convert_conv3d_weight_memory_format.html
    """
    return _converted(module, (Conv3d, ConvTranspose3d), memory_format)


def _converted(module: Any, kinds: tuple[type, ...], memory_format: MemoryFormat) -> Any:
    for part in module.modules():
        if isinstance(part, kinds):
            part.weight.data = part.weight.detach().clone(memory_format=memory_format)  # type: ignore[attr-defined]
    return module
