"""Rows for products beyond `matmul`, Einstein summation and linear algebra."""

import numpy as np

from .case import Case, of

m, wide, tall = of(3, 3), of(2, 3, 5), of(2, 5, 3)
stack = of(2, 3, 3)


def _solid(t, a):
    """Return well-conditioned positive-definite matrices."""
    return a @ a.mT + t.eye(a.shape[-1], dtype=a.dtype, device=a.device)


def _svd(t, a):
    """Return what does not depend on the vectors' signs."""
    u, s, vh = t.linalg.svd(a, full_matrices=False)
    return s, u @ t.diag_embed(s * s) @ vh, u * u[..., :1, :], vh * vh[..., :, :1]


def _qr(t, a):
    q, r = t.linalg.qr(a)
    return q.abs() * 2, r * t.diagonal(r, 0, -2, -1).unsqueeze(-1), q @ r


def _eigh(t, a):
    values, vectors = t.linalg.eigh(a + a.mT)
    return values, vectors * vectors[..., :1, :]


def _einsum(formula, *shapes):
    return Case(
        f"einsum-{formula}",
        lambda t, *tensors: t.einsum(formula, *tensors),
        tuple(of(*shape) for shape in shapes),
        (lambda *arrays: np.einsum(formula, *arrays)) if "->" in formula or "..." not in formula else None,
        tolerance=4,
    )


CASES = [
    Case("baddbmm", lambda t, c, a, b: t.baddbmm(c, a, b, beta=2, alpha=3), (of(5), of(2, 3, 4), of(2, 4, 5))),
    Case("addbmm", lambda t, c, a, b: c.addbmm(a, b, beta=2), (of(3, 5), of(2, 3, 4), of(2, 4, 5)), tolerance=2),
    Case("addmv", lambda t, c, a, b: t.addmv(c, a, b, beta=0, alpha=2), (of(3), of(3, 4), of(4))),
    Case("addr", lambda t, c, a, b: c.addr(a, b, alpha=2), (of(3, 4), of(3), of(4))),
    Case("inner", lambda t, a, b: t.inner(a, b), (of(2, 3), of(4, 3)), np.inner),
    Case("vdot", lambda t, a, b: t.vdot(a, b), (of(4), of(4)), np.vdot),
    Case("tensordot", lambda t, a, b: t.tensordot(a, b), (of(2, 3, 4), of(3, 4, 2)), np.tensordot, tolerance=2),
    Case("tensordot-0", lambda t, a, b: t.tensordot(a, b, 0), (of(2, 3), of(4)), lambda a, b: np.tensordot(a, b, 0)),
    Case(
        "tensordot-dims",
        lambda t, a, b: t.tensordot(a, b, ([0, 2], [1, 0])),
        (of(2, 3, 4), of(4, 2, 5)),
        lambda a, b: np.tensordot(a, b, ([0, 2], [1, 0])),
        tolerance=2,
    ),
    Case("kron", lambda t, a, b: t.kron(a, b), (of(2, 3), of(2, 1, 2)), np.kron),
    Case("cross", lambda t, a, b: t.cross(a, b, dim=0), (of(3, 4), of(3, 4)), lambda a, b: np.cross(a, b, axis=0)),
    Case("linalg.cross", lambda t, a, b: t.linalg.cross(a, b), (of(4, 3), of(1, 3)), np.cross),
    Case(
        "multi_dot",
        lambda t, a, b, c, d: t.linalg.multi_dot((a, b, c, d)),
        (of(5), of(5, 2), of(2, 6), of(6, 3)),
        tolerance=4,
    ),
    Case("chain_matmul", lambda t, a, b, c: t.chain_matmul(a, b, c), (of(3, 5), of(5, 2), of(2, 6)), tolerance=4),
    Case("matrix_power", lambda t, a: t.matrix_power(a, 5), (stack,), tolerance=8),
    Case("matrix_power-negative", lambda t, a: _solid(t, a).matrix_power(-2), (stack,), tolerance=20),
    Case("matrix_exp", lambda t, a: t.matrix_exp(a * 2), (stack,), tolerance=40, bfloat16=False),
    _einsum("ij,jk->ik", (2, 3), (3, 4)),
    _einsum("bij,bjk->bik", (2, 3, 4), (2, 4, 2)),
    _einsum("ij,jk,kl->il", (2, 3), (3, 4), (4, 2)),
    _einsum("ii->i", (3, 3)),
    _einsum("ii", (3, 3)),
    _einsum("iji->j", (3, 2, 3)),
    _einsum("ij->ji", (2, 3)),
    _einsum("ij->", (2, 3)),
    _einsum("i,j->ij", (3,), (4,)),
    _einsum("ba,bc", (2, 3), (2, 4)),
    _einsum("...ij,...jk->...ik", (2, 1, 3, 4), (5, 4, 2)),
    _einsum("b...i,...i->b...", (2, 3, 4), (3, 4)),
    _einsum("i...->...", (2, 3, 4)),
    _einsum("bn,anm,bm->ba", (2, 3), (4, 3, 5), (2, 5)),
    _einsum("ij,ij,ij->ij", (2, 3), (2, 3), (2, 3)),
    _einsum("i,i,j->", (3,), (3,), (2,)),
    _einsum("ijk,ilk->jl", (1, 3, 4), (2, 2, 4)),
    _einsum("...,...", (2, 3), (3,)),
    Case("einsum-lists", lambda t, a, b: t.einsum(a, [0, 1], b, [1, ...], [..., 0]), (of(2, 3), of(3, 4)), tolerance=4),
    Case(
        "inv",
        lambda t, a: t.linalg.inv(_solid(t, a)),
        (stack,),
        lambda a: np.linalg.inv(a @ a.mT + np.eye(3)),
        tolerance=20,
    ),
    Case("inverse", lambda t, a: _solid(t, a).inverse(), (m,), tolerance=20),
    Case("solve", lambda t, a, b: t.linalg.solve(_solid(t, a), b), (stack, of(2, 3, 4)), tolerance=20),
    Case("solve-vector", lambda t, a, b: t.linalg.solve(_solid(t, a), b), (m, of(3)), tolerance=20),
    Case("solve-broadcast", lambda t, a, b: t.linalg.solve(_solid(t, a), b), (m, of(2, 3, 2)), tolerance=20),
    Case("solve-right", lambda t, a, b: t.linalg.solve(_solid(t, a), b, left=False), (m, of(2, 3)), tolerance=20),
    *[
        Case(
            f"solve_triangular-{upper}-{left}-{unit}",
            lambda t, a, b, upper=upper, left=left, unit=unit: t.linalg.solve_triangular(
                a + 3 * t.eye(3, dtype=a.dtype, device=a.device), b, upper=upper, left=left, unitriangular=unit
            ),
            (stack, of(2, 3, 3)),
            tolerance=20,
        )
        for upper, left, unit in ((True, True, False), (False, True, True), (True, False, False), (False, False, True))
    ],
    Case("cholesky", lambda t, a: t.linalg.cholesky(_solid(t, a)), (stack,), tolerance=20),
    Case("cholesky-upper", lambda t, a: t.linalg.cholesky(_solid(t, a), upper=True), (m,), tolerance=20),
    Case("qr", lambda t, a: _qr(t, a), (tall,), tolerance=40),
    Case("qr-square", lambda t, a: _qr(t, _solid(t, a)), (m,), tolerance=40),
    Case("qr-wide", lambda t, a: _qr(t, a), (wide,), tolerance=400),
    Case("eigh", _eigh, (stack,), tolerance=400),
    Case("eigvalsh", lambda t, a: t.linalg.eigvalsh(_solid(t, a), "U"), (stack,), tolerance=40),
    Case("svd", _svd, (m,), tolerance=400),
    Case("svd-tall", _svd, (tall,), tolerance=400),
    Case("svd-wide", _svd, (wide,), tolerance=400),
    Case("svdvals", lambda t, a: t.linalg.svdvals(a), (wide,), tolerance=20),
    Case("det", lambda t, a: t.linalg.det(a), (stack,), np.linalg.det, tolerance=20),
    Case(
        "det-singular", lambda t, a: t.det(a * t.ones(3, 1, dtype=a.dtype, device=a.device)), (of(1, 3),), tolerance=20
    ),
    Case("slogdet", lambda t, a: tuple(t.linalg.slogdet(a)), (stack,), tolerance=20),
    Case("logdet", lambda t, a: _solid(t, a).logdet(), (m,), tolerance=20),
    Case("pinv", lambda t, a: t.linalg.pinv(a), (tall,), np.linalg.pinv, tolerance=100),
    Case("pinv-wide", lambda t, a: t.linalg.pinv(a), (wide,), np.linalg.pinv, tolerance=100),
    Case("matrix_rank", lambda t, a: t.linalg.matrix_rank(a), (wide,), gradients=False),
    Case("lstsq", lambda t, a, b: t.linalg.lstsq(a, b).solution, (tall, of(2, 5, 2)), tolerance=100),
    *[
        Case(
            f"matrix_norm-{ord}",
            lambda t, a, ord=ord: t.linalg.matrix_norm(a, ord, keepdim=True),
            (wide,),
            tolerance=40,
        )
        for ord in ("fro", "nuc", 2, -2, 1, -1, float("inf"), -float("inf"))
    ],
    *[
        Case(f"vector_norm-{ord}", lambda t, a, ord=ord: t.linalg.vector_norm(a, ord, (0, 2)), (wide,), tolerance=4)
        for ord in (2, 1, 3, 0.5, float("inf"), -float("inf"))
    ],
    Case("linalg.norm", lambda t, a: t.linalg.norm(a), (wide,), tolerance=4),
    Case("cond", lambda t, a: t.linalg.cond(a), (stack,), tolerance=100),
    Case("cond-1", lambda t, a: t.linalg.cond(_solid(t, a), 1), (m,), tolerance=100, gradients=False),
    Case("vecdot", lambda t, a, b: t.linalg.vecdot(a, b, dim=1), (wide, of(3, 1)), tolerance=4),
    Case("tensorinv", lambda t, a: t.linalg.tensorinv(_solid(t, a).reshape(2, 3, 6)), (of(6, 6),), tolerance=100),
    Case(
        "tensorsolve",
        lambda t, a, b: t.linalg.tensorsolve(_solid(t, a).reshape(2, 3, 6), b),
        (of(6, 6), of(2, 3)),
        tolerance=100,
    ),
    Case(
        "cholesky_solve",
        lambda t, a, b: b.cholesky_solve(t.linalg.cholesky(_solid(t, a))),
        (m, of(3, 2)),
        tolerance=100,
    ),
]
