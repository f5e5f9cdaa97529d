"""Tensors as text, as PyTorch prints them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import dtypes
from .tensor import Tensor, method


@dataclass
class _Options:
    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


_options = _Options()
_profiles = {
    "default": _Options(),
    "short": _Options(precision=2, edgeitems=2),
    "full": _Options(threshold=math.inf),
}


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Set how tensors print.

    Args:
        precision: digits after the point.
        threshold: number of elements above which a tensor is summarised.
        edgeitems: elements shown at each end of a summarised dimension.
        linewidth: characters to a line.
        profile: `"default"`, `"short"` or `"full"`, which sets all of the above.
        sci_mode: whether to use scientific notation; None decides by the values.
    """
    global _options
    if profile is not None:
        if profile not in _profiles:
            raise ValueError(f"set_printoptions: profile must be one of {', '.join(_profiles)}, got {profile!r}")
        chosen = _profiles[profile]
        _options = _Options(chosen.precision, chosen.threshold, chosen.edgeitems, chosen.linewidth)
    for name, value in (
        ("precision", precision),
        ("threshold", threshold),
        ("edgeitems", edgeitems),
        ("linewidth", linewidth),
    ):
        if value is not None:
            setattr(_options, name, value)
    _options.sci_mode = sci_mode


def _element_formatter(values: np.ndarray) -> tuple[Callable[[Any], str], int]:
    """Return a function that prints one element, and the width that it pads to."""
    if values.dtype.kind == "c":
        return _complex_formatter(values)
    if values.dtype.kind == "b" or values.dtype.kind in dtypes.INTEGER:
        width = max((len(str(v)) for v in values.ravel().tolist()), default=1)
        return (lambda v: f"{v!s:>{width}}"), width
    return _float_formatter(values)


def _float_formatter(values: np.ndarray) -> tuple[Callable[[Any], str], int]:
    """As PyTorch does, choose notation and width by the finite elements that are not zero, compared as float64."""
    flat = values.ravel().astype(np.float64)
    flat = flat[np.isfinite(flat) & (flat != 0)]
    precision = _options.precision
    if not flat.size:
        return (lambda v: _float_text(v, 0, False, True)), 1
    magnitudes = np.abs(flat)
    largest, smallest = float(magnitudes.max()), float(magnitudes.min())
    scientific = _options.sci_mode
    if scientific is None:
        scientific = largest / smallest > 1000.0 or largest > 1.0e8 or smallest < 1.0e-4
    integral = not scientific and bool((flat == np.ceil(flat)).all())
    width = max(len(_float_text(v, precision, scientific, integral)) for v in flat.tolist())
    return (lambda v: f"{_float_text(v, precision, scientific, integral):>{width}}"), width


def _complex_formatter(values: np.ndarray) -> tuple[Callable[[Any], str], int]:
    """Choose notation and width of real and imaginary parts each by themselves; the signs of the latter join them."""
    (real, real_width), (imag, imag_width) = (_float_formatter(part) for part in (values.real, values.imag))

    def text(value: Any) -> str:
        second = imag(value.imag).lstrip()
        return f"{real(value.real)}{second if second[0] in '+-' else '+' + second}j"

    return text, real_width + imag_width + 1


def _float_text(value: float, precision: int, scientific: bool, integral: bool) -> str:
    if scientific:
        return f"{value:.{precision}e}"
    if integral:
        return f"{value:.0f}" + ("." if math.isfinite(value) else "")
    return f"{value:.{precision}f}"


def _summarised(values: np.ndarray) -> np.ndarray:
    """Return the elements that a summary shows: the edges of every dimension."""
    edge = _options.edgeitems
    for axis, extent in enumerate(values.shape):
        if extent > 2 * edge:
            keep = np.r_[0:edge, extent - edge : extent]
            values = np.take(values, keep, axis)
    return values


def _vector_text(values: np.ndarray, indent: int, summarise: bool, text: Callable[[Any], str], width: int) -> str:
    per_line = max(1, (_options.linewidth - indent) // (width + 2))
    edge = _options.edgeitems
    if summarise and not edge:
        items = ["..."]
    elif summarise and len(values) > 2 * edge:
        items = [text(v) for v in values[:edge].tolist()] + [" ..."] + [text(v) for v in values[-edge:].tolist()]
    else:
        items = [text(v) for v in values.tolist()]
    lines = [", ".join(items[i : i + per_line]) for i in range(0, len(items), per_line)]
    return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"


def _nested_text(values: np.ndarray, indent: int, summarise: bool, text: Callable[[Any], str], width: int) -> str:
    if values.ndim == 0:
        return text(values.item())
    if values.ndim == 1:
        return _vector_text(values, indent, summarise, text, width)
    edge = _options.edgeitems
    rows: list[np.ndarray | None] = list(values)
    if summarise and len(values) > 2 * edge:
        rows = [*values[:edge], None, *values[len(values) - edge :]]
    parts = ["..." if row is None else _nested_text(row, indent + 1, summarise, text, width) for row in rows]
    return "[" + ("," + "\n" * (values.ndim - 1) + " " * (indent + 1)).join(parts) + "]"


def _values_text(values: np.ndarray, indent: int) -> str:
    if values.size == 0:
        return "[]"
    summarise = values.size > _options.threshold
    shown = _summarised(values) if summarise else values
    if shown.dtype.char in dtypes.HALF_CHARS:
        shown, values = shown.astype(np.float32), values.astype(np.float32)
    text, width = _element_formatter(shown)
    return _nested_text(values, indent, summarise, text, width)


def tensor_text(tensor: Tensor, prefix: str) -> str:
    """Return `tensor(...)` with the values, and whatever a reader could not guess: device, size, type, gradient."""
    indent = len(prefix)
    suffixes = []
    if tensor.is_cuda:
        suffixes.append(f"device='{tensor.device}'")
    array = tensor._array
    values = array if isinstance(array, np.ndarray) else array.get()
    expected = tensor.dtype in (
        dtypes.get_default_dtype(),
        dtypes.default_complex_dtype(),
        dtypes.int64,
        dtypes.bool,
    )
    if values.size == 0:
        if values.ndim != 1:
            suffixes.append(f"size={tuple(values.shape)}")
        if tensor.dtype is not dtypes.get_default_dtype():
            suffixes.append(f"dtype={tensor.dtype}")
    else:
        if not _options.edgeitems:
            suffixes.append(f"size={tuple(values.shape)}")
        if not expected:
            suffixes.append(f"dtype={tensor.dtype}")
    body = _values_text(values, indent)
    node = tensor.grad_fn
    if node is not None:
        suffixes.append(f"grad_fn=<{node.name}>")
    elif tensor.requires_grad:
        suffixes.append("requires_grad=True")
    return _with_suffixes(prefix + body, suffixes, indent)


def _with_suffixes(text: str, suffixes: list[str], indent: int) -> str:
    """Append the suffixes, on a new line where they would pass the line width."""
    last = len(text) - text.rfind("\n") + 1
    for suffix in suffixes:
        if last + len(suffix) + 2 > _options.linewidth:
            text += ",\n" + " " * indent + suffix
            last = indent + len(suffix)
        else:
            text += ", " + suffix
            last += len(suffix) + 2
    return text + ")"


@method
def __repr__(self: Tensor) -> str:
    return tensor_text(self, "tensor(" if self._plain_results or type(self) is Tensor else f"{type(self).__name__}(")


@method
def __str__(self: Tensor) -> str:
    return repr(self)
