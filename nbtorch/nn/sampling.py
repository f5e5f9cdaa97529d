"""Interpolation and sampling at given places: argument forms and checks, for `nn.functional`."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from nbtorch.kernels import geometry
from nbtorch.kernels.resampling import Method

from .. import dtypes
from ..ops.grid_sample import GridSampler
from ..ops.interpolate import Interpolate
from ..ops.operands import not_implemented, require_same_device, require_tensor
from ..tensor import Tensor
from .arguments import require_bool
from .pooling import adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d

__all__ = ["affine_grid", "grid_sample", "interpolate", "upsample", "upsample_bilinear", "upsample_nearest"]

_AREA = (adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d)

_RANKS = {"linear": 1, "bilinear": 2, "bicubic": 2, "lanczos": 2, "trilinear": 3}
"""How many spatial dimensions a mode needs; the others take one to three."""

_NODES = {
    "nearest": "UpsampleNearest",
    "nearest-exact": "UpsampleNearestExact",
    "linear": "UpsampleLinear",
    "bilinear": "UpsampleBilinear",
    "bicubic": "UpsampleBicubic",
    "lanczos": "UpsampleLanczos",
    "trilinear": "UpsampleTrilinear",
}
"""What PyTorch calls the operations, but for the rank."""


def interpolate(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """Resize signals, images or volumes.

    Args:
        input: (N, C, L), (N, C, H, W) or (N, C, D, H, W), floating point, or uint8 in some modes.
        size: the extents of the output, an int or one for each spatial dimension.
        scale_factor: instead of `size`, output over input, a number or one for each spatial dimension.
        mode: `nearest`, `nearest-exact`, `area`, `linear` (of signals), `bilinear`, `bicubic` or `lanczos` (of images),
            `trilinear` (of volumes).
        align_corners: let the centres of the corner elements coincide rather than their outer edges; of linear and
            cubic modes.
        recompute_scale_factor: reckon with the ratio of the extents instead of `scale_factor`.
        antialias: widen the filter where the output is smaller, as Pillow does; of bilinear, bicubic and lanczos, which
            needs it.

    Returns:
        (N, C, *size).

    Raises:
        ValueError: both or neither of `size` and `scale_factor`, another number of them than spatial dimensions, or an
            option that the mode does not have.
        NotImplementedError: the mode does not go with the rank or the type of the input.
        RuntimeError: an extent that is not positive.
        TypeError: an argument of another type.

    >>> import nbtorch, nbtorch.nn.functional as F
    >>> F.interpolate(nbtorch.tensor([[[0.0, 1.0]]]), scale_factor=2, mode="linear")
    tensor([[[0.0000, 0.2500, 0.7500, 1.0000]]])
    """
    rank = input.dim() - 2
    if mode in ("nearest", "area", "nearest-exact"):
        if align_corners is not None:
            raise ValueError(
                "interpolate: align_corners option can only be set with the interpolating modes:"
                f" linear | bilinear | bicubic | trilinear, got mode {mode!r}"
            )
        align_corners = False
    align_corners = False if align_corners is None else align_corners
    sizes, scales = _requested(input, rank, size, scale_factor)
    if recompute_scale_factor and size is not None:
        raise ValueError("interpolate: recompute_scale_factor is not meaningful with an explicit size.")
    if scales is not None and (recompute_scale_factor or mode == "area"):
        sizes, scales = tuple([int(n * s) for n, s in zip(input.shape[2:], scales, strict=True)]), None
    if antialias and not (mode in ("bilinear", "bicubic", "lanczos") and rank == 2):
        raise ValueError(
            "interpolate: Anti-alias option is restricted to bilinear, bicubic, and lanczos modes and requires a 4-D"
            f" tensor as input, got mode {mode!r} and {input.dim()} dimensions"
        )
    _require_mode(mode, rank)
    if mode == "area":
        return _AREA[rank - 1](input, sizes)
    if mode == "lanczos" and not antialias:
        raise ValueError("interpolate: Lanczos mode requires antialias=True")
    require_bool("interpolate", "align_corners", align_corners)
    return _resized(input, rank, mode, sizes, scales, align_corners, antialias)


def _requested(
    input: Tensor, rank: int, size: Any, scale_factor: Any
) -> tuple[tuple[int, ...] | None, tuple[float, ...] | None]:
    """Return the extents of the output or the factors, one for each spatial dimension; the other one is None."""
    if size is not None and scale_factor is not None:
        raise ValueError("interpolate: only one of size or scale_factor should be defined")
    if size is None and scale_factor is None:
        raise ValueError("interpolate: either size or scale_factor should be defined")
    name, given = ("size", size) if scale_factor is None else ("scale_factor", scale_factor)
    values = given if isinstance(given, (list, tuple)) else [given] * rank
    if len(values) != rank:
        raise ValueError(
            f"interpolate: Input and {name} must have the same number of spatial dimensions, but got input with spatial"
            f" dimensions of {list(input.shape[2:])} and {name} of {given}: expected input as (N, C, d1, d2, ..., dK)"
            f" and {name} as (o1, o2, ..., oK)"
        )
    if scale_factor is None:
        return tuple([_integer(value) for value in values]), None
    for value in values:
        if isinstance(value, Tensor) or not hasattr(value, "__float__"):
            raise TypeError(
                f"interpolate(): argument 'scale_factor' must be a number or a tuple of them, got {type(value)}"
            )
    return None, tuple([float(value) for value in values])


def _integer(value: Any) -> int:
    if isinstance(value, (bool, float)) or not hasattr(value, "__index__"):
        raise TypeError(f"interpolate(): argument 'size' must be an int or a tuple of ints, got {type(value)}")
    return int(value)


def _require_mode(mode: str, rank: int) -> None:
    if mode in ("nearest", "nearest-exact", "area") and 1 <= rank <= 3:
        return
    wanted = _RANKS.get(mode)
    if wanted == rank:
        return
    if mode in ("linear", "bilinear", "trilinear") and 1 <= rank <= 3:
        raise NotImplementedError(
            f"interpolate: Got {rank + 2}D input, but {mode} mode needs {_RANKS[mode] + 2}D input"
        )
    raise NotImplementedError(
        "interpolate: Only 3D, 4D and 5D input Tensors supported"
        f" (got {rank + 2}D) for the modes: nearest | linear | bilinear | bicubic | trilinear | lanczos | area |"
        f" nearest-exact (got {mode})"
    )


def _resized(
    input: Tensor,
    rank: int,
    mode: str,
    sizes: tuple[int, ...] | None,
    scales: tuple[float, ...] | None,
    align_corners: bool,
    antialias: bool,
) -> Tensor:
    extents = tuple(input.shape[2:])
    factors: tuple[float | None, ...] = (None,) * rank
    if scales is not None:
        factors = scales
        try:
            sizes = tuple([int(extent * scale) for extent, scale in zip(extents, scales, strict=True)])
        except (ValueError, OverflowError):
            raise RuntimeError(f"interpolate: scale_factor must be finite, got {scales}") from None
    assert sizes is not None
    if min(extents) <= 0 or min(sizes) <= 0:
        raise RuntimeError(
            f"interpolate: Input and output sizes should be greater than 0, but got input {extents} and output {sizes}"
        )
    if input.shape[1] == 0:
        raise RuntimeError(
            f"interpolate: Non-empty {rank + 2}D data tensor expected but got a tensor with sizes {list(input.shape)}"
        )
    nearest = mode in ("nearest", "nearest-exact")
    _require_type(input, mode, nearest, rank, antialias)
    name = f"{_NODES[mode]}{rank}D{'Aa' if antialias else ''}Backward0"
    if not nearest:
        kind = {"bicubic": "cubic", "lanczos": "lanczos"}.get(mode, "linear")
        kind = f"antialias-{kind}" if antialias else kind
        return Interpolate(name, Method(kind, extents, sizes, factors, align_corners))(input)
    small = rank == 2 and (sum(sizes) <= 128 or (input.shape[1] > 3 and _is_channels_last(input)))
    if small:  # PyTorch takes another way here, which is exact for the factors 1 and 2 and reckons in float32
        whole = (1, 2) if mode == "nearest" else ()
        triples = zip(factors, extents, sizes, strict=True)
        factors = tuple([None if size // extent in whole and size % extent == 0 else f for f, extent, size in triples])
    return Interpolate(name, Method(mode, extents, sizes, factors, False, small))(input)


def _is_channels_last(input: Tensor) -> bool:
    return not input._array.flags.c_contiguous and input._array.transpose(0, 2, 3, 1).flags.c_contiguous


def _require_type(input: Tensor, mode: str, nearest: bool, rank: int, antialias: bool) -> None:
    """Refuse types that PyTorch has no kernels for: most integers, and half precision with an antialiasing filter."""
    half = input.dtype in (dtypes.float16, dtypes.bfloat16)
    if (input.is_floating_point() and not (half and antialias)) or (
        input.dtype is dtypes.uint8 and (nearest or rank == 2)
    ):
        return
    raise not_implemented(f"upsample_{mode}{rank}d", input.dtype, "a floating-point type or uint8")


def _warn_of(name: str) -> None:
    warnings.warn(
        f"`nn.functional.{name}` is deprecated. Use `nn.functional.interpolate` instead.", UserWarning, stacklevel=3
    )


def upsample(
    input: Tensor, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None
) -> Tensor:
    """Resize as `interpolate` does (deprecated)."""
    _warn_of("upsample")
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """Resize by nearest neighbours (deprecated: see `interpolate`)."""
    _warn_of("upsample_nearest")
    return interpolate(input, size, scale_factor, "nearest")


def upsample_bilinear(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """Resize images bilinearly with aligned corners (deprecated: see `interpolate`)."""
    _warn_of("upsample_bilinear")
    return interpolate(input, size, scale_factor, "bilinear", True)


_ALIGNMENT = (
    "Default grid_sample and affine_grid behavior has changed to align_corners=False since 1.3.0. Please specify"
    " align_corners=True if the old behavior is desired. See the documentation of grid_sample for details."
)


def grid_sample(
    input: Tensor,
    grid: Tensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:
    """Sample images or volumes at given places.

    Args:
        input: (N, C, H, W) or (N, C, D, H, W).
        grid: (N, oH, oW, 2) with places (x, y), or (N, oD, oH, oW, 3) with (x, y, z), from -1 to 1 over the input.
        mode: `bilinear` (of volumes, trilinear), `nearest`, or, of images, `bicubic`.
        padding_mode: what lies outside of the input: `zeros`, the `border`, or a `reflection` of the inside.
        align_corners: whether -1 and 1 are the centres of the outermost elements rather than their outer edges; False,
            with a warning, if not given.

    Returns:
        (N, C, oH, oW) or (N, C, oD, oH, oW).

    Raises:
        ValueError: an unknown mode.
        RuntimeError: shapes, types or devices do not fit.

    >>> import nbtorch, nbtorch.nn.functional as F
    >>> image, grid = nbtorch.tensor([[[[1.0, 2.0]]]]), nbtorch.zeros(1, 1, 1, 2)
    >>> F.grid_sample(image, grid, align_corners=False)
    tensor([[[[1.5000]]]])
    """
    if mode not in geometry.GRID_MODES:
        raise ValueError(f"grid_sample: expected mode to be 'bilinear', 'nearest' or 'bicubic', but got: {mode!r}")
    if padding_mode not in geometry.GRID_PADDING_MODES:
        raise ValueError(
            f"grid_sample: expected padding_mode to be 'zeros', 'border', or 'reflection', but got: {padding_mode!r}"
        )
    if align_corners is None:
        warnings.warn(_ALIGNMENT, UserWarning, stacklevel=2)
        align_corners = False
    require_tensor("grid_sample", "input", input)
    require_tensor("grid_sample", "grid", grid)
    require_bool("grid_sample", "align_corners", align_corners)
    require_same_device("grid_sample", input, grid)
    sizes = f"but got input with sizes {list(input.shape)} and grid with sizes {list(grid.shape)}"
    rank = input.ndim - 2
    if input.ndim == 0 or grid.ndim == 0 or input.shape[0] != grid.shape[0]:
        raise RuntimeError(f"grid_sample: expected grid and input to have same batch size, {sizes}")
    if grid.shape[-1] != rank:
        raise RuntimeError(f"grid_sample: expected grid to have size {rank} in last dimension, {sizes}")
    if rank not in (2, 3) or grid.ndim != input.ndim:
        raise RuntimeError(f"grid_sample: expected 4D or 5D input and grid with same number of dimensions, {sizes}")
    if 0 in input.shape[2:]:
        raise RuntimeError(f"grid_sample: expected input to have non-empty spatial dimensions, {sizes}")
    if rank == 3 and mode == "bicubic":
        raise RuntimeError("grid_sample: bicubic interpolation only supports 4D input")
    if not input.is_floating_point():
        raise not_implemented(f"grid_sampler_{rank}d", input.dtype, "a floating-point type")
    if grid.dtype is not input.dtype:
        raise RuntimeError(f"grid_sample: expected grid of type {input.dtype}, that of input, but found {grid.dtype}")
    return GridSampler(mode, padding_mode, align_corners, rank)(input, grid)


def affine_grid(theta: Tensor, size: Any, align_corners: bool | None = None) -> Tensor:
    """Return the places that affine maps send the places of a regular grid to, for `grid_sample`.

    Args:
        theta: the maps, (N, 2, 3) or (N, 3, 4), floating point.
        size: of the images (N, C, H, W), or of the volumes (N, C, D, H, W).
        align_corners: as for `grid_sample`.

    Returns:
        (N, H, W, 2) or (N, D, H, W, 3).

    Raises:
        ValueError: another shape or type of `theta`, or a size that is not positive.
        NotImplementedError: another number of sizes.

    >>> import nbtorch, nbtorch.nn.functional as F
    >>> F.affine_grid(nbtorch.eye(2, 3).unsqueeze(0), (1, 1, 1, 2), align_corners=False)
    tensor([[[[-0.5000,  0.0000],
              [ 0.5000,  0.0000]]]])
    """
    if align_corners is None:
        warnings.warn(_ALIGNMENT, UserWarning, stacklevel=2)
        align_corners = False
    if not theta.is_floating_point():
        raise ValueError(f"affine_grid: expected theta to have floating point type, but got {theta.dtype}")
    rank = len(size) - 2
    if rank not in (2, 3):
        raise NotImplementedError(
            "affine_grid only supports 4D and 5D sizes, for 2D and 3D affine transforms, respectively."
            f" Got size {size}."
        )
    if theta.ndim != 3 or tuple(theta.shape[1:]) != (rank, rank + 1):
        raise ValueError(
            f"affine_grid: expected a batch of {rank}D affine matrices of shape Nx{rank}x{rank + 1} for size {size}."
            f" Got {tuple(theta.shape)}."
        )
    if align_corners and min(size[2:]) == 1:
        warnings.warn(
            "Since version 1.3.0, affine_grid behavior has changed for unit-size grids when align_corners=True. This is"
            " not an intended use case of affine_grid. See the documentation of affine_grid for details.",
            UserWarning,
            stacklevel=2,
        )
    elif min(size) <= 0:
        raise ValueError(f"affine_grid: Expected non-zero, positive output size. Got {size}")
    require_bool("affine_grid", "align_corners", align_corners)
    extents = tuple([_integer(n) for n in size])[2:]
    if theta.shape[0] != size[0]:
        raise RuntimeError(f"affine_grid: expected theta to have batch size {size[0]}, got {theta.shape[0]}")
    return _places_of(theta, extents, align_corners).matmul(theta.transpose(1, 2)).reshape((-1, *extents, rank))


def _places_of(theta: Tensor, extents: tuple[int, ...], align_corners: bool) -> Tensor:
    """Return the places (x, y, …, 1) of a regular grid, (points, rank + 1), in the type of `theta`."""
    rank = len(extents)
    places = np.ones((*extents, rank + 1))
    for axis, extent in enumerate(extents):
        along = np.linspace(-1, 1, extent) if extent > 1 else np.zeros(1)
        if not align_corners:
            along = along * ((extent - 1) / extent)
        places[..., rank - 1 - axis] = along.reshape((-1,) + (1,) * (rank - 1 - axis))
    return theta._like_array(places.reshape(-1, rank + 1))
