"""Rows for packed factorizations, histograms, differences, segments and the special functions beyond the elementary."""

import numpy as np

from .case import NUMBERS, Case, of

stack, wide, tall = of(2, 3, 3), of(2, 3, 5), of(2, 5, 3)
x, p, c = of(3, 4), of(3, 4, kind="positive"), of(3, 4, kind="factor")


def _solid(t, a):
    return a @ a.mT + t.eye(a.shape[-1], dtype=a.dtype, device=a.device)


def _lu_solve(t, a, b, **options):
    return t.linalg.lu_solve(*t.linalg.lu_factor(_solid(t, a)), b, **options)


_SPECIAL = (
    *("airy_ai", "modified_bessel_i0", "modified_bessel_i1", "spherical_bessel_j0", "modified_bessel_k0"),
    *("modified_bessel_k1", "scaled_modified_bessel_k0", "scaled_modified_bessel_k1"),
)
_BESSEL = ("bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1")  # which PyTorch knows to seven places only
_POLYNOMIALS = (
    *("chebyshev_polynomial_t", "chebyshev_polynomial_u", "chebyshev_polynomial_v", "chebyshev_polynomial_w"),
    *("shifted_chebyshev_polynomial_t", "shifted_chebyshev_polynomial_u", "shifted_chebyshev_polynomial_v"),
    *("shifted_chebyshev_polynomial_w", "hermite_polynomial_h", "hermite_polynomial_he", "laguerre_polynomial_l"),
    "legendre_polynomial_p",
)

CASES = [
    Case("lu", lambda t, a: tuple(t.linalg.lu(a)), (stack,), tolerance=100),
    Case("lu-wide", lambda t, a: t.linalg.lu(a)[2], (wide,), tolerance=100),
    Case("lu-tall", lambda t, a: t.linalg.lu(a)[1], (tall,), tolerance=100),
    Case("lu_factor", lambda t, a: t.linalg.lu_factor(a)[0], (tall,), tolerance=100),
    Case("lu_factor-pivots", lambda t, a: t.linalg.lu_factor_ex(a)[1:], (tall,), gradients=False),
    Case("lu_unpack", lambda t, a: tuple(t.lu_unpack(*t.linalg.lu_factor(a))), (wide,), tolerance=100),
    Case("lu_solve", _lu_solve, (stack, of(2, 3, 2)), tolerance=400),
    Case("lu_solve-adjoint", lambda t, a, b: _lu_solve(t, a, b, adjoint=True), (stack, of(2, 3, 2)), tolerance=400),
    Case("lu_solve-right", lambda t, a, b: _lu_solve(t, a, b, left=False), (stack, of(2, 2, 3)), tolerance=400),
    Case(
        "ldl_factor",
        lambda t, a: tuple(part.tril() if part.ndim == 3 else part for part in t.linalg.ldl_factor(a + a.mT)),
        (of(2, 4, 4),),
        gradients=False,
        tolerance=100,
    ),
    Case(
        "ldl_solve",
        lambda t, a, b: t.linalg.ldl_solve(*t.linalg.ldl_factor(_solid(t, a)), b),
        (stack, of(2, 3, 2)),
        gradients=False,
        tolerance=400,
    ),
    Case("solve_ex", lambda t, a, b: tuple(t.linalg.solve_ex(_solid(t, a), b)), (stack, of(2, 3, 2)), tolerance=400),
    Case("geqrf", lambda t, a: tuple(t.geqrf(a.detach())), (tall,), gradients=False, tolerance=20),
    Case(
        "householder_product",
        lambda t, a, b: t.linalg.householder_product(a, b),
        (tall, of(2, 3, kind="positive")),
        tolerance=100,
    ),
    Case(
        "ormqr",
        lambda t, a, b: t.ormqr(*t.geqrf(a), b, transpose=True),
        (of(2, 5, 3, kind="factor"), of(2, 5, 2)),
        tolerance=100,
    ),
    Case("linalg.vander", lambda t, a: t.linalg.vander(a, N=3), (x,), tolerance=4),
    Case("gradient", lambda t, a: tuple(t.gradient(a, spacing=0.5)), (x,), lambda a: tuple(np.gradient(a, 0.5))),
    Case(
        "gradient-edges",
        lambda t, a, b: t.gradient(a, spacing=(b.cumsum(0),), dim=1, edge_order=2)[0],
        (x, of(4, kind="factor")),
        tolerance=20,
    ),
    Case(
        "histogram",
        lambda t, a: tuple(t.histogram(a, 5, range=(-2.0, 2.0))),
        (of(30),),
        gradients=False,
        bfloat16=False,
    ),
    Case("histogram-density", lambda t, a, w: t.histogram(a, 4, weight=w, density=True)[0], (x, p), gradients=False),
    Case("histogramdd", lambda t, a: t.histogramdd(a, [2, 3])[0], (of(20, 2),), gradients=False),
    Case("pdist", lambda t, a: t.pdist(a, 3), (of(4, 3),), tolerance=8),
    Case("norm_except_dim", lambda t, a: t.norm_except_dim(a, 2, 1), (wide,), tolerance=4),
    Case("frexp", lambda t, a: tuple(t.frexp(a)), (x,), np.frexp, second_gradients=False),
    Case("threshold", lambda t, a: t.threshold(a, 0.1, 3), (x,), lambda a: np.where(a > 0.1, a, 3)),
    Case(
        "segment_reduce",
        lambda t, a: t.segment_reduce(a, "prod", lengths=t.tensor([[1, 3], [2, 2], [4, 0]]), axis=1),
        (x,),
        tolerance=4,
    ),
    Case("segment_reduce-max", lambda t, a: t.segment_reduce(a, "max", lengths=t.tensor([1, 2])), (x,)),
    Case("unravel_index", lambda t, i: t.unravel_index(i, (2, 3, 4)), (of(5, kind="index", high=24),), gradients=False),
    Case("nonzero_static", lambda t, a: t.nonzero_static(a > 0, size=9), (x,), gradients=False),
    Case("view_copy", lambda t, a: t.view_copy(a, (6, 2)), (x,)),
    Case("copies", lambda t, a: t.unbind_copy(t.slice_copy(a, 1, 0, 4, 2)), (x,)),
    Case("fill_diagonal_", lambda t, a: a.clone().fill_diagonal_(2, wrap=True), (of(7, 2),), None, NUMBERS),
    Case("igamma", lambda t, a, b: t.igamma(a, b), (c, p), tolerance=8),
    Case("igammac", lambda t, a, b: a.igammac(b * 8), (c, p), tolerance=40),
    *[
        Case(name, lambda t, a, name=name: getattr(t.special, name)(a * 9), (p,), gradients=False, tolerance=20)
        for name in _SPECIAL
    ],
    *[
        Case(name, lambda t, a, name=name: getattr(t.special, name)(a * 9), (p,), None, ("float32",), gradients=False)
        for name in _BESSEL
    ],
    *[
        Case(
            name,
            lambda t, a, n, name=name: getattr(t.special, name)(a, n),
            (x, of(4, kind="index", high=6)),
            gradients=False,
            tolerance=40,
        )
        for name in _POLYNOMIALS
    ],
]
