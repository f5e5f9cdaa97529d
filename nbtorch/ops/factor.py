"""Factorizations with pivots or reflectors, packed as LAPACK packs them: LU, LDL, and QR as Householder vectors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.graph import Node
from ..device import array_module
from ..tensor import Tensor, method
from .arithmetic import Fill, add
from .linalg import LinAlgError, is_vector, require_matrices, solve, solve_triangular
from .operands import not_implemented, require_same_device, require_tensor
from .reduction import return_type
from .shape import cat

lu_result = return_type("linalg_lu", "P", "L", "U")
lu_unpack_result = return_type("lu_unpack", "P", "L", "U")
lu_factor_result = return_type("linalg_lu_factor", "LU", "pivots")
lu_factor_ex_result = return_type("linalg_lu_factor_ex", "LU", "pivots", "info")
ldl_factor_result = return_type("linalg_ldl_factor", "LD", "pivots")
ldl_factor_ex_result = return_type("linalg_ldl_factor_ex", "LD", "pivots", "info")
solve_ex_result = return_type("linalg_solve_ex", "result", "info")
geqrf_result = return_type("geqrf", "a", "tau")


def _require_factorable(operation: str, a: Any, square: bool = False, name: str = "A") -> None:
    """Refuse what is not a stack of float32 or float64 matrices; for other types this is not implemented."""
    require_tensor(operation, name, a)
    if not a.is_floating_point() or a.dtype.itemsize < 4:
        raise not_implemented(f"{operation}_cpu", a.dtype, "float32 or float64")
    require_matrices(operation, a, square, name)


def _eliminated(xp: Any, a: Any, pivot: bool) -> tuple[Any, Any, Any]:
    """Return LU in one array, the row exchanged with each row (from 1), and where the first pivot is 0 (from 1)."""
    lu = a.copy()
    m, n = a.shape[-2:]
    steps = min(m, n)
    pivots = xp.broadcast_to(xp.arange(1, steps + 1, dtype=np.int32), (*a.shape[:-2], steps)).copy()
    info = xp.zeros(a.shape[:-2], np.int32)
    for k in range(steps):
        if pivot and k < m - 1:
            chosen = k + xp.argmax(xp.abs(lu[..., k:, k]), -1)
            pivots[..., k] = chosen + 1
            index = xp.broadcast_to(chosen[..., None, None], (*a.shape[:-2], 1, n))
            row = xp.take_along_axis(lu, index, -2)
            xp.put_along_axis(lu, index, lu[..., k : k + 1, :].copy(), -2)
            lu[..., k : k + 1, :] = row
        head = lu[..., k, k]
        zero = head == 0
        info = xp.where((info == 0) & zero, np.int32(k + 1), info)
        lu[..., k + 1 :, k] /= xp.where(zero, head.dtype.type(1), head)[..., None]
        lu[..., k + 1 :, k + 1 :] -= lu[..., k + 1 :, k, None] * lu[..., k, None, k + 1 :]
    return lu, pivots, info


def _permutation(xp: Any, pivots: Any, rows: int) -> Any:
    """Return which row of the matrix each row of L @ U stands for."""
    order = xp.broadcast_to(xp.arange(rows), (*pivots.shape[:-1], rows)).copy()
    for k in range(pivots.shape[-1]):
        index = pivots[..., k : k + 1].astype(np.int64) - 1
        other = xp.take_along_axis(order, index, -1)
        xp.put_along_axis(order, index, order[..., k : k + 1].copy(), -1)
        order[..., k : k + 1] = other
    return order


def _permutation_matrix(pivots: Tensor, rows: int, dtype: dtypes.dtype) -> Tensor:
    """Return P of `A = P @ L @ U`."""
    xp = pivots._xp
    order = _permutation(xp, pivots._array, rows)
    matrix = xp.arange(rows)[:, None] == order[..., None, :]
    return pivots._wrap_like(matrix.astype(dtype.numpy))


class LuFactor(Node):
    """L and U of `P @ L @ U` in one matrix, beside pivots and the place of the first zero pivot."""

    name = "LinalgLuFactorExBackward0"
    saves_outputs = (0, 1)

    def __init__(self, pivot: bool) -> None:
        self.pivot = pivot

    def forward(self, a: Any) -> Any:
        return _eliminated(array_module(self.where), a, self.pivot)

    def backward(self, grad: Tensor | None, *unused: Any) -> Any:
        if grad is None:
            return None
        lu, pivots = self.saved_tensors
        m, n = lu.shape[-2:]
        k = min(m, n)
        lower, upper = _unpacked(lu)
        square_lower, square_upper = lower[..., :k, :], upper[..., :, :k]
        grad_lower, grad_upper = grad[..., :, :k].tril(-1), grad[..., :k, :].triu()
        inner_lower = square_lower.mT @ grad_lower[..., :k, :]
        inner_upper = grad_upper[..., :, :k] @ square_upper.mT
        right = below = None
        if n > k:
            right = grad_upper[..., :, k:]
            inner_lower = inner_lower - right @ upper[..., :, k:].mT
            right = solve_triangular(square_lower.mT, right, upper=True, unitriangular=True)
        if m > k:
            below = grad_lower[..., k:, :]
            inner_upper = inner_upper - lower[..., k:, :].mT @ below
            below = solve_triangular(square_upper.mT, below, upper=False, left=False)
        inner = inner_lower.tril(-1) + inner_upper.triu()
        result = solve_triangular(square_upper.mT, inner, upper=False, left=False)
        result = solve_triangular(square_lower.mT, result, upper=True, unitriangular=True)
        if right is not None:
            result = cat([result, right], -1)
        if below is not None:
            result = cat([result, below], -2)
        return _permutation_matrix(pivots, m, lu.dtype) @ result


def _unpacked(lu: Tensor) -> tuple[Tensor, Tensor]:
    """Return L, with its diagonal of ones, and U."""
    m, n = lu.shape[-2:]
    k = min(m, n)
    ones = lu._like_array(np.eye(m, k))
    return lu[..., :, :k].tril(-1) + ones, lu[..., :k, :].triu()


def lu_factor_ex(A: Tensor, *, pivot: bool = True, check_errors: bool = False) -> Any:
    """Return L and U packed in one matrix, pivots (the row exchanged with each row, from 1), and the first zero pivot.

    Args:
        A: matrices, (…, m, n).
        pivot: exchange rows, so that the largest element of a column divides the others.
        check_errors: raise where a pivot is 0, instead of telling in the last result.
    """
    _require_factorable("linalg.lu_factor_ex", A)
    lu, pivots, info = LuFactor(pivot)(A)
    if check_errors and info._array.any():
        raise LinAlgError(
            f"torch.linalg.lu_factor_ex: U[{int(info._array.max())},{int(info._array.max())}] is zero and using it on"
            " lu_solve would result in a division by zero."
        )
    return lu_factor_ex_result(lu, pivots, info)


def lu_factor(A: Tensor, *, pivot: bool = True) -> Any:
    """Return L and U packed in one matrix, and pivots; see `lu_factor_ex`."""
    _require_factorable("linalg.lu_factor", A)
    return lu_factor_result(*lu_factor_ex(A, pivot=pivot)[:2])


def linalg_lu(A: Tensor, *, pivot: bool = True) -> Any:
    """Return P, L and U with `A = P @ L @ U`; without `pivot` P is empty and `A = L @ U`."""
    _require_factorable("linalg.lu", A)
    lu, pivots, _ = LuFactor(pivot)(A)
    order = _permutation_matrix(pivots, A.shape[-2], A.dtype) if pivot else A.new_empty((0,))
    return lu_result(order, *_unpacked(lu))


@method
def lu(A: Tensor, pivot: bool = True, get_infos: bool = False) -> Any:
    """Return L and U packed in one matrix, and pivots; with `get_infos` also where the first zero pivot is."""
    result = lu_factor_ex(A, pivot=pivot)
    return tuple(result) if get_infos else tuple(result[:2])


def lu_unpack(LU_data: Tensor, LU_pivots: Tensor, unpack_data: bool = True, unpack_pivots: bool = True) -> Any:
    """Return P, L and U of packed factors; those that are not asked for are empty."""
    require_tensor("lu_unpack", "LU_data", LU_data)
    require_tensor("lu_unpack", "LU_pivots", LU_pivots)
    if unpack_pivots and LU_pivots.dtype is not dtypes.int32:
        raise RuntimeError(
            f"torch.lu_unpack: LU_pivots is expected to be a contiguous tensor of torch.int32 dtype, got"
            f" {LU_pivots.dtype}"
        )
    empty = LU_data.new_empty((0,))
    order = _permutation_matrix(LU_pivots, LU_data.shape[-2], LU_data.dtype) if unpack_pivots else empty
    lower, upper = _unpacked(LU_data) if unpack_data else (empty, empty)
    return lu_unpack_result(order, lower, upper)


def linalg_lu_solve(LU: Tensor, pivots: Tensor, B: Tensor, *, left: bool = True, adjoint: bool = False) -> Tensor:
    """Return the solution of `A @ X = B` (`X @ A = B` unless `left`) for packed factors of A.

    Args:
        LU: packed factors, (…, n, n).
        pivots: the row exchanged with each row, (…, n).
        B: right-hand sides, (…, n, k) or (…, k, n).
        left: whether A stands on the left.
        adjoint: whether to solve for the transpose of A.
    """
    _require_factorable("linalg.lu_solve", LU, True, "LU")
    _require_factorable("linalg.lu_solve", B, name="B")
    require_same_device("linalg.lu_solve", LU, pivots, B)
    if LU.dtype is not B.dtype:
        raise RuntimeError(f"linalg.lu_solve: Expected LU and B to have the same dtype, got {LU.dtype} and {B.dtype}")
    if B.shape[-2 if left else -1] != LU.shape[-1]:
        raise RuntimeError(
            f"linalg.lu_solve: Incompatible shapes of A and B for the equation {'AX = B' if left else 'XA = B'}"
            f" ({LU.shape[-2]}x{LU.shape[-1]} and {B.shape[-2]}x{B.shape[-1]})"
        )
    if not left:  # X @ A = B is A.mT @ X.mT = B.mT
        return linalg_lu_solve(LU, pivots, B.mT, adjoint=not adjoint).mT
    order = _permutation_matrix(pivots, LU.shape[-1], LU.dtype)
    if adjoint:
        inner = solve_triangular(LU.mT, B, upper=False)
        return order @ solve_triangular(LU.mT, inner, upper=True, unitriangular=True)
    inner = solve_triangular(LU, order.mT @ B, upper=False, unitriangular=True)
    return solve_triangular(LU, inner, upper=True)


@method
def lu_solve(input: Tensor, LU_data: Tensor, LU_pivots: Tensor) -> Tensor:
    """Return the solution of `A @ X = input` for packed factors of A; see `linalg.lu_solve`."""
    return linalg_lu_solve(LU_data, LU_pivots, input)


def solve_ex(A: Tensor, B: Tensor, *, left: bool = True, check_errors: bool = False) -> Any:
    """Return the solution of `A @ X = B` and where a pivot is zero, instead of raising there; see `linalg.solve`."""
    _require_factorable("linalg.solve_ex", A, True)
    require_tensor("linalg.solve_ex", "B", B)
    _, pivots, info = factors = LuFactor(True)(A)
    if not info._array.any():
        return solve_ex_result(solve(A, B, left=left), info)
    if check_errors:
        raise LinAlgError("torch.linalg.solve_ex: The solver failed because the input matrix is singular.")
    vector = is_vector(A, B)
    result = linalg_lu_solve(factors[0], pivots, B.unsqueeze(-1) if vector else B, left=left)
    return solve_ex_result(result.squeeze(-1) if vector else result, info)


# Bunch and Kaufman, "Some stable methods for calculating inertia and solving symmetric linear systems", 1977: a 1 x 1
# pivot is good enough when the column holds nothing larger than it by more than this factor.
_BUNCH_KAUFMAN = (1 + 17**0.5) / 8


def _symmetric_pivots(a: Any) -> tuple[Any, Any, int]:
    """Factor a symmetric matrix, of which the lower triangle counts, in place: L and D packed, pivots, the first zero.

    A positive pivot k means that a row and column were exchanged with the k-th (from 1) and that the block of D is
    1 x 1; two negative ones in a row mean a 2 x 2 block.
    """
    n = a.shape[0]
    pivots, info, k = np.zeros(n, np.int32), 0, 0
    while k < n:
        step, chosen = 1, k
        size = abs(a[k, k])
        below = np.abs(a[k + 1 :, k])
        peak = below.max(initial=0)
        if max(size, peak) == 0:
            info = info or k + 1
        elif size < _BUNCH_KAUFMAN * peak:
            row = k + 1 + int(below.argmax())
            others = max(np.abs(a[row, k:row]).max(initial=0), np.abs(a[row + 1 :, row]).max(initial=0))
            if size * others >= _BUNCH_KAUFMAN * peak * peak:
                pass
            elif abs(a[row, row]) >= _BUNCH_KAUFMAN * others:
                chosen = row
            else:
                step, chosen = 2, row
        first = k + step - 1
        if chosen != first:
            _exchange(a, first, chosen)
            if step == 2:
                a[first, k], a[chosen, k] = a[chosen, k], a[first, k]
        rest = slice(k + step, n)
        if step == 1:
            if a[k, k] != 0:
                column = a[rest, k] / a[k, k]
                a[rest, rest] -= np.tril(np.outer(column, a[rest, k]))
                a[rest, k] = column
            pivots[k] = chosen + 1
        else:
            block = np.array([[a[k, k], a[k + 1, k]], [a[k + 1, k], a[k + 1, k + 1]]], a.dtype)
            columns = a[rest, k : k + 2].copy()
            weights = np.linalg.solve(block, columns.T).T
            a[rest, rest] -= np.tril(weights @ columns.T)
            a[rest, k : k + 2] = weights
            pivots[k : k + 2] = -(chosen + 1)
        k += step
    return a, pivots, info


def _exchange(a: Any, i: int, j: int) -> None:
    """Exchange two rows and columns, i < j, of what is left of a symmetric matrix in its lower triangle."""
    below, between = slice(j + 1, None), slice(i + 1, j)
    a[below, i], a[below, j] = a[below, j].copy(), a[below, i].copy()
    a[between, i], a[j, between] = a[j, between].copy(), a[between, i].copy()
    a[i, i], a[j, j] = a[j, j], a[i, i]


def ldl_factor_ex(A: Tensor, *, hermitian: bool = False, check_errors: bool = False) -> Any:
    """Return L and D of symmetric matrices packed in one, pivots, and where D has its first zero; not differentiable.

    Args:
        A: symmetric matrices, (…, n, n); the lower triangle counts.
        hermitian: accepted for PyTorch's signature; the matrices are real.
        check_errors: raise where D has a zero.
    """
    _require_factorable("linalg.ldl_factor_ex", A, True)
    stack = A.detach().cpu()._array.reshape(math.prod(A.shape[:-2]), *A.shape[-2:])
    factored = [_symmetric_pivots(np.tril(matrix)) for matrix in stack]
    where = A.detach()
    packed = where._like_array(np.array([f[0] for f in factored]).reshape(A.shape))
    pivots = where._wrap_like(where._xp.asarray(np.array([f[1] for f in factored], np.int32).reshape(A.shape[:-1])))
    info = where._wrap_like(where._xp.asarray(np.array([f[2] for f in factored], np.int32).reshape(A.shape[:-2])))
    if check_errors and info._array.any():
        raise LinAlgError(f"torch.linalg.ldl_factor_ex: D[{int(info._array.max())}] is zero")
    return ldl_factor_ex_result(packed, pivots, info)


def ldl_factor(A: Tensor, *, hermitian: bool = False) -> Any:
    """Return L and D of symmetric matrices packed in one, and pivots; see `ldl_factor_ex`."""
    return ldl_factor_result(*ldl_factor_ex(A, hermitian=hermitian)[:2])


def ldl_solve(LD: Tensor, pivots: Tensor, B: Tensor, *, hermitian: bool = False) -> Tensor:
    """Return the solution of `A @ X = B` for packed factors of a symmetric A; not differentiable by the factors.

    Args:
        LD: packed factors, (…, n, n).
        pivots: what `ldl_factor` returned, (…, n).
        B: right-hand sides, (…, n, k).
        hermitian: accepted for PyTorch's signature.
    """
    _require_factorable("linalg.ldl_solve", LD, True, "LD")
    _require_factorable("linalg.ldl_solve", B, name="B")
    if B.shape[-2] != LD.shape[-1]:
        raise RuntimeError(f"linalg.ldl_solve: Incompatible shapes of LD and B: {list(LD.shape)} and {list(B.shape)}")
    batch = np.broadcast_shapes(LD.shape[:-2], B.shape[:-2])
    n, width = B.shape[-2:]
    factors = np.broadcast_to(LD.detach().cpu()._array, (*batch, n, n)).reshape(math.prod(batch), n, n)
    signs = np.broadcast_to(pivots.detach().cpu()._array, (*batch, n)).reshape(math.prod(batch), n)
    systems = np.array([_symmetric_of(f, p) for f, p in zip(factors, signs, strict=True)]).reshape(*batch, n, n)
    return solve(LD.detach()._like_array(systems), B.expand(*batch, n, width))


def _symmetric_of(packed: Any, pivots: Any) -> Any:
    """Return the symmetric matrix of its packed factors, P L D Lᵀ Pᵀ, put together from the last block."""
    n = packed.shape[0]
    matrix = np.zeros_like(packed)
    k = n
    while k > 0:
        step = 2 if pivots[k - 1] < 0 else 1
        k -= step
        block = packed[k : k + step, k : k + step]
        block = np.tril(block) + np.tril(block, -1).T
        weights = np.concatenate([np.eye(step, dtype=packed.dtype), packed[k + step :, k : k + step]])
        matrix[k:, k:] += weights @ block @ weights.T
        first, chosen = k + step - 1, abs(int(pivots[k])) - 1
        if chosen != first:
            matrix[[first, chosen]] = matrix[[chosen, first]]
            matrix[:, [first, chosen]] = matrix[:, [chosen, first]]
    return matrix


@method
def geqrf(input: Tensor) -> Any:
    """Return R in the upper triangle and Householder vectors below it, and their factors tau; not differentiable."""
    _require_factorable("geqrf", input, name="input")
    xp = input._xp
    packed, tau = xp.linalg.qr(input._array, mode="raw")
    return geqrf_result(input._wrap_like(packed.swapaxes(-1, -2)), input._wrap_like(tau))


def _reflected(operation: str, packed: Tensor, tau: Tensor, other: Tensor, adjoint: bool) -> Tensor:
    """Return the product of reflectors `I - tau v vᵀ` (in reverse order if `adjoint`) and `other`."""
    _require_factorable(operation, packed, name="input")
    require_tensor(operation, "tau", tau)
    require_same_device(operation, packed, tau)
    if tau.dtype is not packed.dtype:
        raise RuntimeError(f"{operation}: tau dtype {tau.dtype} does not match input dtype {packed.dtype}")
    count = tau.shape[-1]
    vectors = packed.tril(-1) + packed._like_array(np.eye(*packed.shape[-2:]))
    for k in range(count) if adjoint else reversed(range(count)):
        v = vectors[..., :, k : k + 1]
        other = other - tau[..., k, None, None] * (v @ (v.mT @ other))
    return other


def householder_product(input: Tensor, tau: Tensor) -> Tensor:
    """Return the first columns of the product of reflectors, (…, m, n), whose vectors `geqrf` puts below the diagonal.

    Args:
        input: the vectors, (…, m, n) with m >= n.
        tau: the factors, (…, k) with k <= n.
    """
    _require_factorable("linalg.householder_product", input, name="input")
    require_tensor("linalg.householder_product", "tau", tau)
    if input.shape[-2] < input.shape[-1] or tau.shape[-1] > input.shape[-1]:
        raise RuntimeError(
            "linalg.householder_product: input must have no more columns than rows and no fewer than tau elements, got"
            f" {list(input.shape)} and {list(tau.shape)}"
        )
    eye = add(Fill(0)(input), input._like_array(np.eye(*input.shape[-2:])))
    return _reflected("linalg.householder_product", input, tau, eye, False)


@method
def orgqr(input: Tensor, input2: Tensor) -> Tensor:
    """Return the first columns of the product of reflectors; see `linalg.householder_product`."""
    return householder_product(input, input2)


@method
def ormqr(input: Tensor, input2: Tensor, input3: Tensor, left: bool = True, transpose: bool = False) -> Tensor:
    """Return the product of a matrix and the full product Q of reflectors, on the left side or the right.

    Args:
        input: the vectors, (…, m, k), as `geqrf` returns them.
        input2: the factors tau, (…, k).
        input3: the matrix.
        left: whether Q stands on the left.
        transpose: whether to multiply with the transpose of Q.
    """
    _require_factorable("ormqr", input3, name="other")
    if input3.shape[-2 if left else -1] != input.shape[-2]:
        raise RuntimeError(
            f"torch.ormqr: other.shape[{-2 if left else -1}] must be equal to input.shape[-2], got"
            f" {list(input3.shape)} and {list(input.shape)}"
        )
    require_tensor("ormqr", "input2", input2)
    if input2.shape[-1] != min(input3.shape[-2 if left else -1], input.shape[-1]):
        raise RuntimeError(
            f"torch.ormqr: tau.shape[-1] must be equal to min(other.shape[{-2 if left else -1}], input.shape[-1]), got"
            f" {list(input2.shape)} for {list(input3.shape)} and {list(input.shape)}"
        )
    if left:
        return _reflected("ormqr", input, input2, input3, transpose)
    return _reflected("ormqr", input, input2, input3.mT, not transpose).mT
