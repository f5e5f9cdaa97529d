"""Signals, images and volumes resized: `Upsample`."""

from __future__ import annotations

from typing import Any

from ...tensor import Tensor
from .. import functional as F
from .module import Module


class Upsample(Module):
    """Resize signals, images or volumes; arguments as for `nn.functional.interpolate`.

    Args:
        size: the extents of the output, an int or one for each spatial dimension.
        scale_factor: instead of `size`, output over input, a number or one for each spatial dimension.
        mode: `nearest`, `linear`, `bilinear`, `bicubic`, `trilinear`, …
        align_corners: let the centres of the corner elements coincide rather than their outer edges.
        recompute_scale_factor: reckon with the ratio of the extents instead of `scale_factor`.

    Shape: (N, C, *) to (N, C, *size).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Upsample.html

    >>> import nbtorch
    >>> nbtorch.nn.Upsample(scale_factor=2, mode="bilinear")(nbtorch.ones(1, 2, 3, 3)).shape
    torch.Size([1, 2, 6, 6])
    """

    def __init__(
        self,
        size: Any = None,
        scale_factor: Any = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:
        super().__init__()
        self.name = type(self).__name__
        self.size = size
        if isinstance(scale_factor, tuple):
            self.scale_factor: Any = tuple([float(factor) for factor in scale_factor])
        else:
            self.scale_factor = float(scale_factor) if scale_factor else None
        self.mode = mode
        self.align_corners = align_corners
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, input: Tensor) -> Tensor:
        """Resize the input."""
        return F.interpolate(
            input,
            self.size,
            self.scale_factor,
            self.mode,
            self.align_corners,
            recompute_scale_factor=self.recompute_scale_factor,
        )

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update({"recompute_scale_factor": True, **state})

    def extra_repr(self) -> str:
        """Return the size or the factor, and the mode."""
        size = f"size={self.size!r}" if self.scale_factor is None else f"scale_factor={self.scale_factor!r}"
        return f"{size}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """Resize images by nearest neighbours (deprecated: see `Upsample`).

    Args:
        size: the extents of the output, an int or (H, W).
        scale_factor: instead of `size`, output over input, a number or two.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.UpsamplingNearest2d.html

    >>> import nbtorch
    >>> nbtorch.nn.UpsamplingNearest2d(scale_factor=2)(nbtorch.tensor([[[[1.0, 2.0]]]]))
    tensor([[[[1., 1., 2., 2.],
              [1., 1., 2., 2.]]]])
    """

    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor, mode="nearest")


class UpsamplingBilinear2d(Upsample):
    """Resize images bilinearly with aligned corners (deprecated: see `Upsample`).

    Args:
        size: the extents of the output, an int or (H, W).
        scale_factor: instead of `size`, output over input, a number or two.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.UpsamplingBilinear2d.html

    >>> import nbtorch
    >>> nbtorch.nn.UpsamplingBilinear2d(size=(1, 3))(nbtorch.tensor([[[[1.0, 2.0]]]]))
    tensor([[[[1.0000, 1.5000, 2.0000]]]])
    """

    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor, mode="bilinear", align_corners=True)
