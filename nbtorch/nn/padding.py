"""Padding: argument forms and checks, for `nn.functional`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nbtorch.kernels import geometry

from .. import dtypes
from ..device import CPU
from ..ops.operands import fitting_scalar, is_scalar, not_implemented, require_tensor
from ..ops.pad import ConstantPad, IndexedPad
from ..tensor import Tensor

__all__ = ["pad"]


def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: Any = None) -> Tensor:
    """Return a tensor with a border.

    Args:
        input: of any shape; for the modes other than `"constant"` (N, C, *) or (C, *) with 1 to 3 spatial dimensions.
        pad: widths (before, after) of the last dimension, then of the one before it, and so on; a negative width
            crops.
        mode: `"constant"`, `"reflect"` (the edge itself is not repeated), `"replicate"` or `"circular"`.
        value: what a constant border holds; 0 by default.

    Raises:
        RuntimeError: a width does not fit the input or the mode.
        NotImplementedError: the mode is unknown, or has no form for this rank.

    >>> import nbtorch, nbtorch.nn.functional as F
    >>> F.pad(nbtorch.tensor([[1.0, 2.0, 3.0]]), (1, 2), mode="reflect")
    tensor([[2., 1., 2., 3., 2., 1.]])
    """
    require_tensor("pad", "input", input)
    pairs = _pairs(input, pad)
    if not isinstance(mode, str):
        raise TypeError(f"pad(): argument 'mode' must be str, not {type(mode).__name__}")
    if mode not in geometry.PAD_MODES:
        raise NotImplementedError(
            f"Unrecognised padding mode {mode}: expected constant, reflect, replicate or circular"
        )
    value = _value(value)
    if mode == "constant":
        geometry.check_pad(mode, input.shape, pairs)
        if input.dtype is dtypes.uint8 and value < 0:
            raise RuntimeError(f"pad: value cannot be converted to type uint8 without overflow, got {value}")
        fill = fitting_scalar(value, input.dtype, CPU)._array.item()
        return ConstantPad(pairs, fill)(input)
    if value != 0:
        raise RuntimeError(f'Padding mode "{mode}" doesn\'t take in value argument, got value={value}')
    _check_repeating(input, pairs, mode)
    if mode == "circular":
        input, pairs = _cropped(input, pairs)
    return IndexedPad(mode, pairs)(input)


def _cropped(input: Tensor, pairs: tuple[tuple[int, int], ...]) -> tuple[Tensor, tuple[tuple[int, int], ...]]:
    """Crop where widths are negative, as PyTorch does before it goes round; return what remains to be added."""
    crops = tuple([(min(before, 0), min(after, 0)) for before, after in pairs])
    widths = tuple([(max(before, 0), max(after, 0)) for before, after in pairs])
    left = [n + sum(crop) for n, crop in zip(input.shape[-len(pairs) :], crops, strict=True)]
    if crops == ((0, 0),) * len(pairs) or any(max(w) > n for w, n in zip(widths, left, strict=True)):
        return input, pairs
    return ConstantPad(crops, 0)(input), widths


def _pairs(input: Tensor, widths: Any) -> tuple[tuple[int, int], ...]:
    """Return (before, after) for each padded dimension, the first of them first."""
    if isinstance(widths, Tensor) or not isinstance(widths, Sequence) or isinstance(widths, str):
        raise TypeError(f"pad(): argument 'pad' must be a tuple of ints, not {type(widths).__name__}")
    for w in widths:
        if isinstance(w, bool) or not hasattr(w, "__index__"):
            raise TypeError(f"pad(): argument 'pad' must be a tuple of ints, but found {w!r}")
    if len(widths) % 2:
        raise RuntimeError(f"Padding length must be divisible by 2, got pad={tuple(widths)}")
    count = len(widths) // 2
    if count > input.ndim:
        raise RuntimeError(
            f"Padding length should be less than or equal to two times the input dimension but got padding length"
            f" {len(widths)} and input of dimension {input.ndim}"
        )
    return tuple([(int(widths[2 * i]), int(widths[2 * i + 1])) for i in reversed(range(count))])


def _value(value: Any) -> Any:
    """Return what a border holds as a number."""
    if value is None:
        return 0
    if isinstance(value, Tensor):
        return value.item()
    if not is_scalar(value):
        raise TypeError(f"pad(): argument 'value' must be float, not {type(value).__name__}")
    return value


def _check_repeating(input: Tensor, pairs: tuple[tuple[int, int], ...], mode: str) -> None:
    """Check an input that a border repeats elements of."""
    rank = len(pairs)
    if not 1 <= rank <= 3 or input.ndim not in (rank + 1, rank + 2):
        raise NotImplementedError(
            f"pad: mode {mode!r} pads the last 1, 2 or 3 dimensions of an input with one or two more; got"
            f" pad={pairs} for an input of shape {tuple(input.shape)}"
        )
    geometry.check_pad(mode, input.shape, pairs)
    if mode == "circular":
        return
    if 0 in input.shape[-rank - 1 :]:
        raise RuntimeError(
            f"pad: expected a {rank + 1}D or {rank + 2}D input with possibly 0 batch size and other non-zero"
            f" dimensions, got shape {tuple(input.shape)}"
        )
    if input.dtype is dtypes.bool:
        raise not_implemented(f"pad, mode {mode}", input.dtype, "a type of numbers")
