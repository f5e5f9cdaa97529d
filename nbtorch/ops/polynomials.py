"""Orthogonal polynomials by their recurrences: `p[k + 1]` from `p[k]` and `p[k - 1]`, one row of a table each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..autograd.graph import Node
from ..device import array_module
from ..tensor import Tensor
from .operands import broadcast_shape, floating_operands, not_implemented

Recurrence = Callable[[int, Any, Any, Any], Any]


class Polynomial(Node):
    """A polynomial of the degree that the second operand gives; without a derivative, as in PyTorch."""

    def __init__(self, first: Callable[[Any], Any], recurrence: Recurrence) -> None:
        self.first, self.recurrence = first, recurrence

    def forward(self, x: Any, degrees: Any) -> Any:
        broadcast_shape("polynomial", x.shape, degrees.shape)
        xp = array_module(self.where)
        kind = x.dtype
        x, degrees = xp.broadcast_arrays(x, degrees)
        degrees = xp.where(xp.isfinite(degrees), degrees, -1).astype(np.int64)
        before, now = xp.ones_like(x), self.first(x)
        result = xp.where(degrees == 0, before, xp.where(degrees == 1, now, 0))
        for k in range(1, int(degrees.max(initial=0))):
            before, now = now, self.recurrence(k, x, now, before)
            result = xp.where(degrees == k + 1, now, result)
        return result.astype(kind, copy=False)


def _declare(name: str, doc: str, first: Callable[[Any], Any], recurrence: Recurrence) -> Callable[..., Tensor]:
    def function(input: Any, n: Any) -> Tensor:
        x, degrees = floating_operands(name, input, n)
        if x.dtype.itemsize < 4:
            raise not_implemented(f"{name}_cpu", x.dtype, "float32 or float64")
        return Polynomial(first, recurrence)(x.detach(), degrees.detach())

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"Return {doc} of degree `n` (a tensor or a number; 0 for negative ones) at `input`."
    return function


def _chebyshev(shifted: bool) -> Recurrence:
    if shifted:
        return lambda k, x, now, before: (4 * x - 2) * now - before
    return lambda k, x, now, before: 2 * x * now - before


_CHEBYSHEV_FIRST: dict[str, Callable[[Any], Any]] = {
    "t": lambda x: x,
    "u": lambda x: 2 * x,
    "v": lambda x: 2 * x - 1,
    "w": lambda x: 2 * x + 1,
}


def _declare_chebyshev(kind: str, ordinal: str, shifted: bool) -> Callable[..., Tensor]:
    first = _CHEBYSHEV_FIRST[kind]
    return _declare(
        f"{'shifted_' if shifted else ''}chebyshev_polynomial_{kind}",
        f"the {'shifted ' if shifted else ''}Chebyshev polynomial of the {ordinal} kind",
        (lambda x: first(2 * x - 1)) if shifted else first,
        _chebyshev(shifted),
    )


chebyshev_polynomial_t = _declare_chebyshev("t", "first", False)
chebyshev_polynomial_u = _declare_chebyshev("u", "second", False)
chebyshev_polynomial_v = _declare_chebyshev("v", "third", False)
chebyshev_polynomial_w = _declare_chebyshev("w", "fourth", False)
shifted_chebyshev_polynomial_t = _declare_chebyshev("t", "first", True)
shifted_chebyshev_polynomial_u = _declare_chebyshev("u", "second", True)
shifted_chebyshev_polynomial_v = _declare_chebyshev("v", "third", True)
shifted_chebyshev_polynomial_w = _declare_chebyshev("w", "fourth", True)
hermite_polynomial_h = _declare(
    "hermite_polynomial_h",
    "the physicist's Hermite polynomial",
    lambda x: 2 * x,
    lambda k, x, now, before: 2 * x * now - 2 * k * before,
)
hermite_polynomial_he = _declare(
    "hermite_polynomial_he",
    "the probabilist's Hermite polynomial",
    lambda x: x,
    lambda k, x, now, before: x * now - k * before,
)
laguerre_polynomial_l = _declare(
    "laguerre_polynomial_l",
    "the Laguerre polynomial",
    lambda x: 1 - x,
    lambda k, x, now, before: ((2 * k + 1 - x) * now - k * before) / (k + 1),
)
legendre_polynomial_p = _declare(
    "legendre_polynomial_p",
    "the Legendre polynomial",
    lambda x: x,
    lambda k, x, now, before: ((2 * k + 1) * x * now - k * before) / (k + 1),
)
