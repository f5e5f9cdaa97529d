"""Windows: weights that fade a stretch of a signal out towards its ends (`torch.signal.windows`).

All take the length `M` and by keyword `sym`: True for a symmetric window, as filters are designed with, False for a
periodic one, the first M values of the symmetric window of length M + 1, as spectra are analysed with; and the
options of new tensors. They are computed in float64 and rounded once.

Raises:
    ValueError: a negative length, a type other than float32 and float64, a layout that is not strided, or a parameter
        out of its range.
    TypeError: `general_cosine` was given coefficients that are no sequence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from .. import dtypes
from ..creation import tensor
from ..layout import strided
from ..tensor import Tensor

__all__ = [
    "bartlett",
    "blackman",
    "cosine",
    "exponential",
    "gaussian",
    "general_cosine",
    "general_hamming",
    "hamming",
    "hann",
    "kaiser",
    "nuttall",
]

Array = np.ndarray[Any, Any]
HAMMING = 0.54
BLACKMAN = (0.42, 0.5, 0.08)
NUTTALL = (0.3635819, 0.4891775, 0.1365995, 0.0106411)


def cosines(positions: Array, coefficients: Iterable[float]) -> Array:
    """Return Σ (-1)ᵏ aₖ cos(2πk·position) at positions between 0 and 1."""
    terms = enumerate(coefficients)
    return sum((a * (-1) ** k * np.cos(2 * np.pi * k * positions) for k, a in terms), np.zeros_like(positions))


def triangle(positions: Array) -> Array:
    """Return 0 at both ends and 1 in the middle."""
    return 1 - np.abs(2 * positions - 1)


def bessel(positions: Array, beta: float) -> Array:
    """Return the window of Kaiser, an approximation of the one with the most energy in its main lobe."""
    return np.i0(beta * np.sqrt(np.maximum(0, 1 - (2 * positions - 1) ** 2))) / np.i0(beta)


def positions_of(length: int, symmetric: bool) -> Array:
    """Return where the elements of a window lie between its ends, 0 and 1."""
    return np.arange(length) / max(length - 1 if symmetric else length, 1)


def _window(
    name: str, M: int, sym: bool, formula: Callable[[Array], Array], at_one: float | None, options: dict[str, Any]
) -> Tensor:
    """Make a window of a formula of the positions; `at_one` is the only element of a window of length 1."""
    dtype = options.pop("dtype", None)
    dtype = dtypes.get_default_dtype() if dtype is None else dtypes.as_dtype(dtype)
    layout = options.pop("layout", None)
    if M < 0:
        raise ValueError(f"{name} requires non-negative window length, got M={M}")
    if layout is not None and layout is not strided:
        raise ValueError(f"{name} is implemented for strided tensors only, got: {layout}")
    if dtype not in (dtypes.float32, dtypes.float64):
        raise ValueError(f"{name} expects float32 or float64 dtypes, got: {dtype}")
    values = np.empty(0)
    if M:
        values = formula(positions_of(M, sym)) if M > 1 or at_one is None else np.array([at_one])
    return tensor(values, dtype=dtype, **options)


def exponential(M: int, *, center: float | None = None, tau: float = 1.0, sym: bool = True, **options: Any) -> Tensor:
    """Return exp(-|n - center| / tau), where the centre is by default the middle."""
    if tau <= 0:
        raise ValueError(f"Tau must be positive, got: {tau} instead.")
    if sym and center is not None:
        raise ValueError("Center must be None for symmetric windows")
    middle = (M if not sym and M > 1 else M - 1) / 2 if center is None else center
    return _window("exponential", M, sym, lambda at: np.exp(-np.abs(np.arange(len(at)) - middle) / tau), None, options)


def cosine(M: int, *, sym: bool = True, **options: Any) -> Tensor:
    """Return sin(π (n + ½) / M): half a wave."""
    count = M + 1 if not sym and M > 1 else M
    return _window("cosine", M, sym, lambda at: np.sin(np.pi * (np.arange(len(at)) + 0.5) / count), None, options)


def gaussian(M: int, *, std: float = 1.0, sym: bool = True, **options: Any) -> Tensor:
    """Return exp(-(n - middle)² / (2 std²))."""
    if std <= 0:
        raise ValueError(f"Standard deviation must be positive, got: {std} instead.")
    middle = (M if not sym and M > 1 else M - 1) / 2
    return _window(
        "gaussian", M, sym, lambda at: np.exp(-(((np.arange(len(at)) - middle) / std) ** 2) / 2), None, options
    )


def kaiser(M: int, *, beta: float = 12.0, sym: bool = True, **options: Any) -> Tensor:
    """Return I₀(beta √(1 - x²)) / I₀(beta) for x from -1 to 1."""
    if beta < 0:
        raise ValueError(f"beta must be non-negative, got: {beta} instead.")
    return _window("kaiser", M, sym, lambda at: bessel(at, beta), 1.0, options)


def general_cosine(M: int, *, a: Iterable[float], sym: bool = True, **options: Any) -> Tensor:
    """Return Σ (-1)ᵏ aₖ cos(2πkn / (M - 1))."""
    return _window("general_cosine", M, sym, lambda at: cosines(at, _coefficients(a)), 1.0, options)


def _coefficients(a: Any) -> list[float]:
    if not isinstance(a, Iterable):
        raise TypeError(f"Coefficients must be a list/tuple, got {type(a).__name__}")
    coefficients = list(a)
    if not coefficients:
        raise ValueError("Coefficients cannot be empty")
    return coefficients


def general_hamming(M: int, *, alpha: float = HAMMING, sym: bool = True, **options: Any) -> Tensor:
    """Return alpha - (1 - alpha) cos(2πn / (M - 1))."""
    return general_cosine(M, a=[alpha, 1 - alpha], sym=sym, **options)


def hamming(M: int, *, sym: bool = True, **options: Any) -> Tensor:
    """Return the general Hamming window of alpha = 0.54, whose first side lobe is lowest."""
    return general_hamming(M, sym=sym, **options)


def hann(M: int, *, sym: bool = True, **options: Any) -> Tensor:
    """Return the general Hamming window of alpha = 0.5, which falls to 0."""
    return general_hamming(M, alpha=0.5, sym=sym, **options)


def blackman(M: int, *, sym: bool = True, **options: Any) -> Tensor:
    """Return the cosine window of three coefficients of Blackman."""
    return general_cosine(M, a=BLACKMAN, sym=sym, **options)


def nuttall(M: int, *, sym: bool = True, **options: Any) -> Tensor:
    """Return the cosine window of four coefficients of Nuttall, with the lowest side lobes."""
    return general_cosine(M, a=NUTTALL, sym=sym, **options)


def bartlett(M: int, *, sym: bool = True, **options: Any) -> Tensor:
    """Return a triangle that is 0 at both ends."""
    return _window("bartlett", M, sym, triangle, 1.0, options)
