"""Linear algebra on stacks of matrices, with gradients of every order.

The factorisations are the array module's (LAPACK through NumPy, cuSOLVER through CuPy). The gradients are those of
Giles, "Collected matrix derivative results for forward and reverse mode algorithmic differentiation", 2008, written
with differentiable operations. What a factorisation leaves open (signs of vectors) its gradient does not depend on.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.graph import Node
from ..device import array_module
from ..tensor import Tensor, method, normalize_dim
from .indexing import Index
from .matmul import matmul
from .operands import normalize_dims, require_same_device, require_tensor, to_dtype
from .products import cross_along
from .reduction import amax, amin, norm, return_type, sum
from .shape import cat
from .strided import diag_embed, diagonal, tril, triu

eigh_result = return_type("linalg_eigh", "eigenvalues", "eigenvectors")
eig_result = return_type("linalg_eig", "eigenvalues", "eigenvectors")
qr_result = return_type("linalg_qr", "Q", "R")
svd_result = return_type("linalg_svd", "U", "S", "Vh")
slogdet_result = return_type("linalg_slogdet", "sign", "logabsdet")
lstsq_result = return_type("linalg_lstsq", "solution", "residuals", "rank", "singular_values")
inv_ex_result = return_type("linalg_inv_ex", "inverse", "info")
cholesky_ex_result = return_type("linalg_cholesky_ex", "L", "info")
old_svd_result = return_type("svd", "U", "S", "V")
old_qr_result = return_type("qr", "Q", "R")
old_slogdet_result = return_type("slogdet", "sign", "logabsdet")


class _LinAlgError(RuntimeError):
    """A matrix does not allow what was asked: it is singular, not positive-definite, or an iteration failed."""


LinAlgError = _LinAlgError


_REFUSING_HALF = (
    "linalg.matrix_norm",
    "linalg.inv",
    "linalg.inv_ex",
    "linalg.slogdet",
    "linalg.pinv",
    "linalg.matrix_rank",
    "linalg.lstsq",
    "logdet",
)


def require_matrices(operation: str, a: Any, square: bool = False, name: str = "A", half: bool = False) -> None:
    """Refuse what is not a stack of floating-point matrices, square ones if asked; `half` allows half precision."""
    require_tensor(operation, name, a)
    if a.ndim < 2:
        raise RuntimeError(f"{operation}: The input tensor {name} must have at least 2 dimensions.")
    if a.dtype.category < 2:
        raise RuntimeError(f"{operation}: Expected a floating point or complex tensor as input. Got {a.dtype}")
    if a._array.dtype.char in dtypes.HALF_CHARS and not half:
        error = RuntimeError if operation in _REFUSING_HALF else NotImplementedError
        raise error(f"{operation}: Low precision dtypes not supported. Got {a.dtype}")
    if square and a.shape[-1] != a.shape[-2]:
        raise RuntimeError(
            f"{operation}: {name} must be batches of square matrices, but they are {a.shape[-2]} by"
            f" {a.shape[-1]} matrices"
        )


def _computed(function: Callable[..., Any], message: str, *args: Any, **kwargs: Any) -> Any:
    """Run a function of the array module; its error becomes ours, with a message that says what failed."""
    try:
        return function(*args, **kwargs)
    except np.linalg.LinAlgError as error:
        raise LinAlgError(f"{message} ({error})") from None


_SINGULAR = "The inversion could not be completed because the input matrix is singular."


class Inverse(Node):
    name = "LinalgInvExBackward0"
    saves_outputs = (0,)
    holomorphic = True

    def forward(self, a: Any) -> Any:
        return _computed(array_module(self.where).linalg.inv, f"linalg.inv: {_SINGULAR}", a)

    def backward(self, grad: Tensor) -> Tensor:
        inverse = self.saved_tensor.mT
        return -(inverse @ grad @ inverse)


def inv(A: Tensor) -> Tensor:
    """Return the inverses of square matrices, (…, n, n)."""
    require_matrices("linalg.inv", A, True)
    return Inverse()(A)


@method
def inverse(input: Tensor) -> Tensor:
    """Return the inverses of square matrices; see `linalg.inv`."""
    return inv(input)


def _no_failure(A: Tensor) -> Tensor:
    return Tensor._filled(A.shape[:-2], 0, dtypes.int32, A._device)


def inv_ex(A: Tensor, *, check_errors: bool = False) -> Any:
    """Return the inverses and, for each matrix, 0 or 1 where it is singular (its inverse is then NaN).

    PyTorch's number is the position of the zero pivot.
    """
    require_matrices("linalg.inv_ex", A, True)
    return inv_ex_result(*_one_by_one(A, inv, check_errors))


def _one_by_one(A: Tensor, function: Callable[[Tensor], Tensor], check_errors: bool) -> tuple[Tensor, Tensor]:
    """Apply a function to the whole stack or, where that fails, to each matrix; failures give NaN and 1."""
    if check_errors:
        return function(A), _no_failure(A)
    try:
        return function(A), _no_failure(A)
    except LinAlgError:
        pass
    matrices, results, info = A.reshape(-1, *A.shape[-2:]), [], []
    for matrix in matrices.unbind(0):
        try:
            results.append(function(matrix))
            info.append(0)
        except LinAlgError:
            results.append(matrix * math.nan)
            info.append(1)
    failed = A._wrap_like(A._xp.asarray(info, np.int32)).reshape(A.shape[:-2])
    return A._stack(results).reshape(A.shape), failed


class Solve(Node):
    """The X with A X = B, B a stack of matrices."""

    name = "LinalgSolveExBackward0"
    saves_inputs = (0,)
    saves_outputs = (0,)
    holomorphic = True

    def forward(self, a: Any, b: Any) -> Any:
        message = "linalg.solve: The solver failed because the input matrix is singular."
        self.shape_b = b.shape
        return _computed(array_module(self.where).linalg.solve, message, a, b)

    def backward(self, grad: Tensor) -> Any:
        a, x = self.saved_tensors
        to_b = Solve()(a.mT, grad)
        to_a = -(to_b @ x.mT).sum_to_size(a.shape) if self.needs_input_grad[0] else None
        return to_a, to_b.sum_to_size(self.shape_b) if self.needs_input_grad[1] else None


def is_vector(A: Tensor, B: Tensor) -> bool:
    """Whether a right-hand side is (a stack of) vectors rather than matrices."""
    return B.ndim == 1 or (A.ndim - 1 == B.ndim and B.shape == A.shape[:-1])


def solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    """Return the X with `A @ X = B`, or with `left=False` the X with `X @ A = B`.

    Args:
        A: square matrices, (…, n, n).
        B: right-hand sides, (…, n, k) or (…, n).
        left: on which side A stands.
    """
    require_matrices("linalg.solve", A, True)
    require_tensor("linalg.solve", "B", B)
    require_same_device("linalg.solve", A, B)
    if A.dtype is not B.dtype:
        raise RuntimeError(f"linalg.solve: Expected A and B to have the same dtype, but found {A.dtype} and {B.dtype}")
    vector = is_vector(A, B)
    if vector and not left:
        raise RuntimeError("linalg.solve: Vector broadcasting of the left hand side is not supported for left=False")
    right = B.unsqueeze(-1) if vector else B
    if right.ndim < 2 or A.shape[-1] != right.shape[-2 if left else -1]:
        raise RuntimeError(
            f"linalg.solve: Incompatible shapes of A and B for the equation {'AX = B' if left else 'XA = B'}"
            f" ({A.shape[-2]}x{A.shape[-1]} and {right.shape[-2]}x{right.shape[-1]})"
        )
    if not left:
        return Solve()(A.mT, right.mT).mT
    result = Solve()(A, right)
    return result.squeeze(-1) if vector else result


def _substituted(xp: Any, triangle: Any, b: Any, upper: bool) -> Any:
    """Solve with triangular matrices row by row; a zero on the diagonal gives infinities and NaN."""
    batch = np.broadcast_shapes(triangle.shape[:-2], b.shape[:-2])
    x = xp.broadcast_to(b, (*batch, *b.shape[-2:])).copy()
    rows = range(triangle.shape[-1])
    for k in reversed(rows) if upper else rows:
        x[..., k, :] /= triangle[..., k, k, None]
        rest = slice(k) if upper else slice(k + 1, None)
        x[..., rest, :] -= triangle[..., rest, k, None] * x[..., k, None, :]
    return x


class SolveTriangular(Node):
    name = "LinalgSolveTriangularBackward0"
    saves_inputs = (0,)
    saves_outputs = (0,)
    holomorphic = True

    def __init__(self, upper: bool, unitriangular: bool) -> None:
        self.upper, self.unitriangular = upper, unitriangular

    def forward(self, a: Any, b: Any) -> Any:
        xp = array_module(self.where)
        self.shape_b = b.shape
        triangle = (xp.triu if self.upper else xp.tril)(a, 0)
        if self.unitriangular:
            index = xp.arange(a.shape[-1])
            triangle[..., index, index] = 1
        if (xp.diagonal(triangle, 0, -2, -1) == 0).any():
            return _substituted(xp, triangle, b, self.upper)
        return xp.linalg.solve(triangle, b)

    def backward(self, grad: Tensor) -> Any:
        a, x = self.saved_tensors
        to_b = SolveTriangular(not self.upper, self.unitriangular)(a.mT, grad)
        to_a = None
        if self.needs_input_grad[0]:
            full = -(to_b @ x.mT).sum_to_size(a.shape)
            to_a = triu(full, int(self.unitriangular)) if self.upper else tril(full, -int(self.unitriangular))
        return to_a, to_b.sum_to_size(self.shape_b) if self.needs_input_grad[1] else None


def solve_triangular(A: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False) -> Tensor:
    """Return the X with `A @ X = B` for triangular A, whose other triangle is not read.

    Args:
        A: square matrices, (…, n, n).
        B: right-hand sides, (…, n, k).
        upper: which triangle of A counts.
        left: on which side A stands.
        unitriangular: take A's diagonal as ones.
    """
    require_matrices("linalg.solve_triangular", A, True)
    require_matrices("linalg.solve_triangular", B, name="B")
    if A.shape[-1] != B.shape[-2 if left else -1]:
        raise RuntimeError(
            f"linalg.solve_triangular: Incompatible shapes of A and B for the equation {'AX = B' if left else 'XA = B'}"
            f" ({A.shape[-2]}x{A.shape[-1]} and {B.shape[-2]}x{B.shape[-1]})"
        )
    if left:
        return SolveTriangular(upper, unitriangular)(A, B)
    return SolveTriangular(not upper, unitriangular)(A.mT, B.mT).mT


def triangular_solve(
    b: Tensor, A: Tensor, upper: bool = True, transpose: bool = False, unitriangular: bool = False
) -> Any:
    """Return the X with `A @ X = b` and A; `linalg.solve_triangular` is its newer form."""
    matrix = A.mT if transpose else A
    solution = solve_triangular(matrix, b, upper=upper != transpose, unitriangular=unitriangular)
    return return_type("triangular_solve", "solution", "cloned_coefficient")(solution, A.clone())


class Cholesky(Node):
    name = "LinalgCholeskyExBackward0"
    saves_outputs = (0,)

    def forward(self, a: Any) -> Any:
        message = (
            "linalg.cholesky: The factorization could not be completed because the input is not positive-definite."
        )
        return _computed(array_module(self.where).linalg.cholesky, message, a)

    def backward(self, grad: Tensor) -> Tensor:
        """Return L⁻ᵀ Φ(Lᵀ G) L⁻¹, made symmetric, where Φ takes the lower triangle and halves the diagonal."""
        factor = self.saved_tensor
        inner = tril(factor.mH @ grad)
        inner = inner - diag_embed(diagonal(inner, 0, -2, -1)) / 2
        left = SolveTriangular(True, False)(factor.mH, inner)
        result = SolveTriangular(True, False)(factor.mH, left.mH).mH
        return (result + result.mH) / 2


def cholesky(A: Tensor, *, upper: bool = False) -> Tensor:
    """Return the triangular L with `A = L @ L.mH`, or with `upper` its transpose, of positive-definite matrices."""
    require_matrices("linalg.cholesky", A, True)
    return Cholesky()(A.mH).mH if upper else Cholesky()(A)


def cholesky_ex(A: Tensor, *, upper: bool = False, check_errors: bool = False) -> Any:
    """Return the Cholesky factors and, for each matrix, 0 or 1 where it is not positive-definite."""
    require_matrices("linalg.cholesky_ex", A, True)
    return cholesky_ex_result(*_one_by_one(A, lambda a: cholesky(a, upper=upper), check_errors))


@method(name="cholesky")
def _old_cholesky(input: Tensor, upper: bool = False) -> Tensor:
    """Return the Cholesky factors; see `linalg.cholesky`."""
    return cholesky(input, upper=upper)


class CholeskySolve(Node):
    """X with L Lᴴ X = B (or Uᴴ U X = B); the gradient by the factor fills both triangles, as PyTorch's."""

    name = "CholeskySolveBackward0"
    saves_inputs = (1,)
    saves_outputs = (0,)

    def __init__(self, upper: bool) -> None:
        self.upper = upper

    def forward(self, b: Any, factor: Any) -> Any:
        self.shapes = b.shape, factor.shape
        xp = array_module(self.where)
        lower = xp.tril(xp.conj(factor.swapaxes(-1, -2)) if self.upper else factor)
        upper = xp.conj(lower.swapaxes(-1, -2))
        if (xp.diagonal(lower, 0, -2, -1) == 0).any():
            return _substituted(xp, upper, _substituted(xp, lower, b, False), True)
        return xp.linalg.solve(upper, xp.linalg.solve(lower, b))

    def backward(self, grad: Tensor) -> Any:
        factor, x = self.saved_tensors
        to_b = CholeskySolve(self.upper)(grad, factor)
        to_factor = None
        if self.needs_input_grad[1]:
            both = to_b @ x.mH
            both = both + both.mH
            to_factor = -(factor @ both if self.upper else both @ factor).sum_to_size(self.shapes[1])
        return to_b.sum_to_size(self.shapes[0]) if self.needs_input_grad[0] else None, to_factor


class CholeskyInverse(CholeskySolve):
    """The inverse of A, as the solution for the identity."""

    name = "CholeskyInverseBackward0"


@method
def cholesky_solve(input: Tensor, L: Tensor, upper: bool = False) -> Tensor:
    """Return the X with `A @ X = input`, given A's Cholesky factor."""
    require_matrices("cholesky_solve", L, True, "L")
    require_matrices("cholesky_solve", input, name="input")
    if input.shape[-2] != L.shape[-1]:
        raise RuntimeError(f"cholesky_solve: Incompatible matrix sizes: {list(L.shape)} and {list(input.shape)}")
    return CholeskySolve(upper)(input, L)


@method
def cholesky_inverse(L: Tensor, upper: bool = False) -> Tensor:
    """Return the inverse of A, given its Cholesky factor."""
    eye = to_dtype(L._wrap_like(L._xp.eye(L.shape[-1], dtype=bool)), L.dtype)
    return CholeskyInverse(upper)(eye.expand(L.shape), L)


class Qr(Node):
    """Q and R with A = Q R; for A of m rows and n columns, Q has min(m, n) columns."""

    name = "LinalgQrBackward0"
    saves_outputs = (0, 1)

    def __init__(self, mode: str) -> None:
        self.mode = mode

    def forward(self, a: Any) -> Any:
        xp = array_module(self.where)
        self.shape = a.shape
        q, r = _computed(xp.linalg.qr, "linalg.qr failed", a, mode="complete" if self.mode == "complete" else "reduced")
        return q, r

    def backward(self, grad_q: Tensor | None, grad_r: Tensor | None) -> Tensor:
        m, n = self.shape[-2:]
        if self.mode == "complete" and m > n:
            raise RuntimeError("The QR decomposition is not differentiable when mode='complete' and nrows > ncols.")
        q, r = self.saved_tensors
        grad_q = q._filled_like(0) if grad_q is None else grad_q
        grad_r = r._filled_like(0) if grad_r is None else grad_r
        return _qr_gradient(q, r, grad_q, grad_r) if m >= n else _wide_qr_gradient(q, r, grad_q, grad_r)


class QrWithoutQ(Qr):
    """R alone."""

    name = "LinalgQrBackward0"

    def backward(self, *grads: Any) -> Any:
        raise RuntimeError("The derivative of linalg.qr depends on Q, which is not computed when mode='r'.")


def _qr_gradient(q: Tensor, r: Tensor, grad_q: Tensor, grad_r: Tensor) -> Tensor:
    """Return (G_Q + Q sym(R G_Rᴴ - G_Qᴴ Q)) R⁻ᴴ, where sym copies the lower triangle to the upper one, conjugated."""
    inner = r @ grad_r.mH - grad_q.mH @ q
    lower = tril(inner, -1)
    symmetric = lower + lower.mH + diag_embed(diagonal(inner, 0, -2, -1).real)
    return solve_triangular(r, (grad_q + q @ symmetric).mH, upper=True).mH


def _wide_qr_gradient(q: Tensor, r: Tensor, grad_q: Tensor, grad_r: Tensor) -> Tensor:
    """Return the gradient for more columns than rows: R = [U V], so A = [Q U, Q V].

    The columns of Q V hang on Q as well; their share joins Q's gradient (Liao et al., "Differentiable programming
    tensor networks", 2019).
    """
    rows = r.shape[-2]
    square, rest = r[..., :rows], r[..., rows:]
    to_rest = q @ grad_r[..., rows:]
    grad_q = grad_q + q @ rest @ grad_r[..., rows:].mH
    # V = Qᵀ Y for the remaining columns Y of A
    to_square = _qr_gradient(q, square, grad_q, grad_r[..., :rows])
    return cat([to_square, to_rest], -1)


def qr(A: Tensor, mode: str = "reduced") -> Any:
    """Return orthonormal Q and upper triangular R with `A = Q @ R`.

    Args:
        A: matrices, (…, m, n).
        mode: `"reduced"` (Q has min(m, n) columns), `"complete"` (m columns) or `"r"` (Q is empty).
    """
    require_matrices("linalg.qr", A)
    if mode not in ("reduced", "complete", "r"):
        raise RuntimeError(
            f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), 'r', or 'complete'"
        )
    if mode == "r":
        return qr_result(A.new_empty((0,)), QrWithoutQ("reduced")(A)[1])
    return qr_result(*Qr(mode)(A))


@method(name="qr")
def _old_qr(input: Tensor, some: bool = True) -> Any:
    """Return the factors Q and R; see `linalg.qr`."""
    return old_qr_result(*qr(input, "reduced" if some else "complete"))


class Eigh(Node):
    """Eigenvalues, ascending, and eigenvectors of symmetric (Hermitian) matrices."""

    name = "LinalgEighBackward0"
    saves_outputs = (0, 1)

    def __init__(self, triangle: str) -> None:
        self.triangle = triangle

    def forward(self, a: Any) -> Any:
        message = "linalg.eigh: The algorithm failed to converge."
        return tuple(_computed(array_module(self.where).linalg.eigh, message, a, UPLO=self.triangle))

    def backward(self, grad_values: Tensor | None, grad_vectors: Tensor | None) -> Tensor:
        """Return V (diag(G_λ) + F ∘ (Vᵀ G_V)) Vᵀ with F_ij = 1 / (λ_j - λ_i) off the diagonal."""
        values, vectors = self.saved_tensors
        inner = None
        if grad_vectors is not None:
            inner = (vectors.mH @ grad_vectors) * _reciprocal_gaps(values)
        if grad_values is not None:
            own = to_dtype(diag_embed(grad_values), vectors.dtype)
            inner = own if inner is None else inner + own
        result = vectors @ inner @ vectors.mH
        return (result + result.mH) / 2


def _reciprocal_gaps(values: Tensor) -> Tensor:
    """Return 1 / (values[j] - values[i]) off the diagonal, 0 on it."""
    gaps = values.unsqueeze(-2) - values.unsqueeze(-1)
    eye = values._wrap_like(values._xp.eye(values.shape[-1], dtype=bool))
    return (1 / gaps.masked_fill(eye, 1)).masked_fill(eye, 0)


def eigh(A: Tensor, UPLO: str = "L") -> Any:
    """Return eigenvalues (ascending) and eigenvectors (columns) of symmetric matrices.

    Args:
        A: (…, n, n), of which one triangle is read.
        UPLO: which triangle, `"L"` or `"U"`.
    """
    require_matrices("linalg.eigh", A, True)
    if UPLO.upper() not in ("L", "U"):
        raise RuntimeError(f"Expected UPLO argument to be 'L' or 'U', but got {UPLO}")
    return eigh_result(*Eigh(UPLO.upper())(A))


def eigvalsh(A: Tensor, UPLO: str = "L") -> Tensor:
    """Return the eigenvalues of symmetric matrices, ascending."""
    return eigh(A, UPLO)[0]


class Eig(Node):
    """Eigenvalues and eigenvectors of square matrices, complex ones of real matrices too."""

    name = "LinalgEigBackward0"
    saves_outputs = (0, 1)

    def forward(self, a: Any) -> Any:
        values, vectors = _computed(
            array_module(self.where).linalg.eig, "linalg.eig: The algorithm failed to converge.", a
        )
        self.origin = dtypes.from_numpy_dtype(a.dtype)
        wide = self.origin.to_complex().numpy
        return values.astype(wide, copy=False), vectors.astype(wide, copy=False)

    def backward(self, grad_values: Tensor | None, grad_vectors: Tensor | None) -> Tensor:
        """Return V⁻ᴴ (diag(G_λ) + (Vᴴ G_V - Vᴴ V diag(Re(Vᴴ G_V))) / E) Vᴴ with E_ij = conj(λ_j - λ_i).

        Boeddeker et al., "On the computation of complex-valued gradients with application to statistically optimum
        beamforming", 2017.
        """
        values, vectors = self.saved_tensors
        adjoint = vectors.mH
        inner = diag_embed(grad_values) if grad_values is not None else None
        if grad_vectors is not None:
            turned = adjoint @ grad_vectors
            along = diagonal(turned, 0, -2, -1).real.unsqueeze(-2)
            part = (turned - (adjoint @ vectors) * along) * _reciprocal_gaps(values).conj()
            inner = part if inner is None else inner + part
        result = solve(adjoint, inner @ adjoint)
        return result if self.origin.is_complex else to_dtype(result.real, self.origin)


def eig(A: Tensor) -> Any:
    """Return eigenvalues and eigenvectors (columns, of length 1) of square matrices, always complex."""
    require_matrices("linalg.eig", A, True)
    _require_finite("linalg.eig", A)
    return eig_result(*Eig()(A))


def eigvals(A: Tensor) -> Tensor:
    """Return the eigenvalues of square matrices, always complex, in no particular order."""
    require_matrices("linalg.eigvals", A, True)
    _require_finite("linalg.eigvals", A)
    return Eig()(A)[0]


def _require_finite(operation: str, A: Tensor) -> None:
    if not A._xp.isfinite(A._array).all():
        raise RuntimeError(f"{operation}: input tensor should not contain infs or NaNs.")


class Svd(Node):
    """U, S and Vᵀ with A = U diag(S) Vᵀ and min(m, n) columns in U and rows in Vᵀ."""

    name = "LinalgSvdBackward0"
    saves_outputs = (0, 1, 2)

    def forward(self, a: Any) -> Any:
        message = "linalg.svd: The algorithm failed to converge."
        return tuple(_computed(array_module(self.where).linalg.svd, message, a, full_matrices=False))

    def backward(self, grad_u: Tensor | None, grad_s: Tensor | None, grad_vh: Tensor | None) -> Tensor:
        """Return U [skew(Uᵀ G_U) / E · S + S · skew(Vᵀ G_V) / E + diag(G_S)] Vᵀ and what leaves the spans of U and V.

        E_ij = s_j² - s_i². Townsend, "Differentiating the singular value decomposition", 2016.
        """
        u, s, vh = self.saved_tensors
        m, n = u.shape[-2], vh.shape[-1]
        k = s.shape[-1]
        inner = None if grad_s is None else to_dtype(diag_embed(grad_s), u.dtype)
        rest = None
        factors = _reciprocal_gaps(s * s)
        if grad_u is not None:
            inside = u.mH @ grad_u
            part = ((inside - inside.mH) * factors) * s.unsqueeze(-2)
            inner = part if inner is None else inner + part
            if u.is_complex():  # the phases of the vectors are free: a loss must not depend on them
                inner = inner + diag_embed(diagonal(inside - inside.mH, 0, -2, -1) / (2 * s))
            if m > k:
                outside = (grad_u - u @ inside) / s.unsqueeze(-2)
                rest = outside @ vh
        if grad_vh is not None:
            inside = vh @ grad_vh.mH
            part = s.unsqueeze(-1) * ((inside - inside.mH) * factors)
            inner = part if inner is None else inner + part
            if n > k:
                outside = (grad_vh - inside.mH @ vh) / s.unsqueeze(-1)
                across = u @ outside
                rest = across if rest is None else rest + across
        result = u @ inner @ vh
        return result if rest is None else result + rest


def svd(A: Tensor, full_matrices: bool = True, *, driver: str | None = None) -> Any:
    """Return orthonormal U, singular values S (descending) and orthonormal Vh with `A = U @ diag(S) @ Vh`.

    Args:
        A: matrices, (…, m, n).
        full_matrices: give square U and Vh; their additional vectors have no gradient.
        driver: accepted for PyTorch's signature.
    """
    require_matrices("linalg.svd", A)
    u, s, vh = Svd()(A)
    m, n = A.shape[-2:]
    if full_matrices and m != n:
        xp = A._xp
        full_u, _, full_vh = xp.linalg.svd(A._array, full_matrices=True)
        u, vh = (
            _completed(u, A._wrap_like(full_u[..., :, min(m, n) :].copy()), -1),
            _completed(vh, A._wrap_like(full_vh[..., min(m, n) :, :].copy()), -2),
        )
    return svd_result(u, s, vh)


def _completed(vectors: Tensor, more: Tensor, dim: int) -> Tensor:
    return cat([vectors, more], dim) if more.shape[dim] else vectors


def svdvals(A: Tensor, *, driver: str | None = None) -> Tensor:
    """Return the singular values of matrices, descending."""
    require_matrices("linalg.svdvals", A)
    return Svd()(A)[1]


@method(name="svd")
def _old_svd(input: Tensor, some: bool = True, compute_uv: bool = True) -> Any:
    """Return U, S and V with `input = U @ diag(S) @ V.mT`; `linalg.svd` is its newer form."""
    u, s, vh = svd(input, not some)
    if not compute_uv:
        u, vh = u._filled_like(0), vh._filled_like(0)
    return old_svd_result(u, s, vh.mH)


class Det(Node):
    name = "LinalgDetBackward0"
    saves_inputs = (0,)
    saves_outputs = (0,)
    holomorphic = True

    def forward(self, a: Any) -> Any:
        return array_module(self.where).linalg.det(a)

    def backward(self, grad: Tensor) -> Tensor:
        a, result = self.saved_tensors
        if (result._array == 0).any():
            return grad[..., None, None] * _cofactors(a)
        return (grad * result)[..., None, None] * Inverse()(a).mT


def _cofactors(a: Tensor) -> Tensor:
    """Return the matrices of cofactors, which exist for singular matrices too: minors of all rows and columns."""
    n = a.shape[-1]
    xp = a._xp
    if n == 1:
        return a * 0 + 1
    others = xp.asarray([[k for k in range(n) if k != skipped] for skipped in range(n)])
    rows = Index((..., others[:, None, :, None], others[None, :, None, :]))(a)
    signs = a._like_array((-1.0) ** (np.arange(n)[:, None] + np.arange(n)))
    return Det()(rows) * signs


@method
def det(A: Tensor) -> Tensor:
    """Return the determinants of square matrices."""
    require_matrices("linalg.det", A, True)
    return Det()(A)


class Slogdet(Node):
    name = "LinalgSlogdetBackward0"
    saves_inputs = (0,)
    saves_outputs = (0,)

    def forward(self, a: Any) -> Any:
        return tuple(array_module(self.where).linalg.slogdet(a))

    def backward(self, grad_sign: Tensor | None, grad_log: Tensor | None) -> Tensor:
        a, sign = self.saved_tensors
        factor = grad_log
        if grad_sign is not None and a.is_complex():  # the sign of complex determinants turns on the unit circle
            turn = (grad_sign.conj() * sign).imag * -1j
            factor = turn if factor is None else factor + turn
        if factor is None:
            return a._filled_like(0)
        return factor[..., None, None] * Inverse()(a).mH


def slogdet(A: Tensor) -> Any:
    """Return the signs and the logarithms of the absolute values of determinants."""
    require_matrices("linalg.slogdet", A, True)
    return slogdet_result(*Slogdet()(A))


@method(name="slogdet")
def _old_slogdet(input: Tensor) -> Any:
    """Return the signs and the logarithms of determinants; see `linalg.slogdet`."""
    return old_slogdet_result(*slogdet(input))


@method
def logdet(input: Tensor) -> Tensor:
    """Return the logarithms of determinants: NaN where they are negative."""
    require_matrices("logdet", input, True)
    sign, log = Slogdet()(input)
    if input.is_complex():
        return sign.log() + log
    return log.masked_fill(sign < 0, math.nan)


class Pinv(Node):
    """The Moore-Penrose inverse; its gradient holds as long as the rank does not change."""

    name = "LinalgPinvBackward0"
    saves_inputs = (0,)
    saves_outputs = (0,)

    def __init__(self, cutoff: Any, hermitian: bool = False) -> None:
        self.cutoff, self.hermitian = cutoff, hermitian

    def forward(self, a: Any) -> Any:
        xp = array_module(self.where)
        if self.hermitian:
            a = xp.tril(a) + xp.conj(xp.tril(a, -1).swapaxes(-1, -2))
        message = "linalg.svd: The algorithm failed to converge because the input matrix contained non-finite values."
        u, s, vh = _computed(xp.linalg.svd, message, a, full_matrices=False)
        keep = s > self.cutoff(xp, s)
        inverse = xp.where(keep, 1 / xp.where(keep, s, 1), 0).astype(a.dtype)
        return xp.matmul(xp.conj(vh.swapaxes(-1, -2)) * inverse[..., None, :], xp.conj(u.swapaxes(-1, -2)))

    def backward(self, grad: Tensor) -> Tensor:
        """Golub and Pereyra, "The differentiation of pseudo-inverses and nonlinear least squares problems", 1973."""
        a, p = self.saved_tensors
        g, pt = grad.mH, p.mH
        if a.shape[-2] <= a.shape[-1]:
            k = g @ p
            kpt = k @ pt
            return kpt - (p @ k).mH - (a @ p) @ kpt + (pt @ p) @ (g - k @ a)
        k = p @ g
        ptk = pt @ k
        return ptk - (k @ p).mH + (g - a @ k) @ p @ pt - (ptk @ p) @ a


def _cutoff(shape: tuple[int, ...], atol: Any, rtol: Any) -> Callable[[Any, Any], Any]:
    """Return the size below which singular values count as zero, as a function of the singular values."""

    def plain(value: Any) -> Any:
        return value._array[..., None] if isinstance(value, Tensor) else value

    def limit(xp: Any, s: Any) -> Any:
        relative = plain(rtol)
        if relative is None:
            relative = (
                0.0
                if atol is not None and (isinstance(atol, Tensor) or atol > 0)
                else (max(shape[-2:]) * np.finfo(s.dtype).eps)
            )
        largest = s.max(-1, keepdims=True) if s.shape[-1] else xp.zeros((*s.shape[:-1], 1), s.dtype)
        return xp.maximum(0.0 if atol is None else plain(atol), relative * largest)

    return limit


def pinv(A: Tensor, *, atol: Any = None, rtol: Any = None, hermitian: bool = False) -> Tensor:
    """Return the Moore-Penrose inverses of matrices, (…, n, m) for (…, m, n).

    Args:
        A: the matrices.
        atol: singular values up to here count as zero (a number or a tensor).
        rtol: the same relative to the largest; by default max(m, n) times the rounding unit, if `atol` is not given.
        hermitian: whether the matrices are symmetric; then only their lower triangle is read.
    """
    require_matrices("linalg.pinv", A, hermitian)
    return Pinv(_cutoff(A._array.shape, atol, rtol), hermitian)(A)


@method
def pinverse(input: Tensor, rcond: float = 1e-15) -> Tensor:
    """Return the Moore-Penrose inverses; see `linalg.pinv`."""
    return pinv(input, atol=0.0, rtol=rcond)


def matrix_rank(A: Tensor, *, atol: Any = None, rtol: Any = None, hermitian: bool = False) -> Tensor:
    """Return how many singular values of matrices are not negligible; see `pinv` for the limits."""
    require_matrices("linalg.matrix_rank", A, hermitian)
    s = abs(eigvalsh(A.detach())) if hermitian else svdvals(A.detach())
    limit = _cutoff(A._array.shape, atol, rtol)(A._xp, s._array)
    return A._wrap_like((s._array > limit).sum(-1))


def lstsq(A: Tensor, B: Tensor, rcond: float | None = None, *, driver: str | None = None) -> Any:
    """Return the X that make `A @ X - B` smallest, and of those the smallest.

    Args:
        A: matrices, (…, m, n).
        B: right-hand sides, (…, m, k) or (…, m).
        rcond: singular values below `rcond` times the largest count as zero.
        driver: `"gelsy"`, `"gels"`, `"gelsd"` or `"gelss"`; decides only which of the results are filled.

    Returns:
        solution; residuals (sums of squares, where m > n and the rank is full, else empty); rank; singular values.
    """
    require_matrices("linalg.lstsq", A)
    require_tensor("linalg.lstsq", "B", B)
    if A.dtype is not B.dtype:
        raise RuntimeError(
            f"torch.linalg.lstsq: Expected input and other to have the same dtype, but got {A.dtype} and {B.dtype}"
        )
    if driver not in (None, "gelsy", "gels", "gelsd", "gelss"):
        raise RuntimeError(
            f"torch.linalg.lstsq: parameter `driver` should be one of (gels, gelsy, gelsd, gelss), got {driver}"
        )
    vector = is_vector(A, B)
    right = B.unsqueeze(-1) if vector else B
    m, n = A.shape[-2:]
    if right.ndim < 2 or right.shape[-2] != m:
        raise RuntimeError(f"torch.linalg.lstsq: input.size(-2) should match other.size(-{1 if vector else 2})")
    relative = max(m, n) * float(np.finfo(A._array.dtype).eps) if rcond is None else rcond
    solution = matmul(pinv(A, atol=0.0, rtol=relative), right)
    s = svdvals(A.detach())
    ranks = matrix_rank(A, atol=0.0, rtol=relative)
    residuals = solution.reshape(-1)[:0]
    if m > n and driver not in (None, "gelsy") and bool((ranks._array == n).all()):
        difference = matmul(A, solution) - right
        residuals = (difference * difference.conj()).real.sum(-2)
    if driver == "gels":
        ranks = to_dtype(A.new_empty((0,)), dtypes.int64)
    values = s if driver in ("gelsd", "gelss") else A.new_empty((0,))
    return lstsq_result(solution.squeeze(-1) if vector else solution, residuals, ranks, values)


def vector_norm(x: Tensor, ord: Any = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Return the p-norm of all elements or over dimensions, `ord` being p: any number, infinities included."""
    require_tensor("linalg.vector_norm", "x", x)
    return norm(x, float(ord), dim, keepdim, dtype)


_MATRIX_ORDERS = ("fro", "nuc", math.inf, -math.inf, 1, -1, 2, -2)


def matrix_norm(
    A: Tensor, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """Return a norm of matrices that lie in two dimensions.

    Args:
        A: the matrices.
        ord: `"fro"`, `"nuc"` (sum of singular values), ±2 (largest, smallest singular value), ±1 (largest, smallest sum
            of a column's absolute values), ±inf (of a row's).
        dim: the dimensions of rows and columns.
        keepdim: keep them with extent 1.
        dtype: a type to compute in.
    """
    if dtype is not None:
        A = to_dtype(A, dtypes.as_dtype(dtype))
    require_matrices("linalg.matrix_norm", A, half=ord not in ("nuc", 2, -2))
    if not isinstance(dim, (tuple, list)) or len(dim) != 2:
        raise RuntimeError(f"linalg.matrix_norm: dim must be a 2-tuple. Got {dim}")
    if ord not in _MATRIX_ORDERS:
        raise RuntimeError(f"linalg.matrix_norm: Order {ord} not supported.")
    rows, columns = normalize_dims(dim, A.ndim)
    if ord == "fro":
        return norm(A, 2, (rows, columns), keepdim)
    if ord in ("nuc", 2, -2):
        s = svdvals(A.movedim((rows, columns), (-2, -1)))
        reduced = sum if ord == "nuc" or (ord == 2 and s.shape[-1] == 0) else amax if ord == 2 else amin
        result = reduced(s, -1)
        if not keepdim:
            return result
        for d in sorted((rows, columns)):
            result = result.unsqueeze(d)
        return result
    summed, chosen = (columns, rows) if abs(ord) == math.inf else (rows, columns)
    sums = A.abs().sum(summed, True)
    result = (amax if ord > 0 else amin)(sums, chosen, True)
    return result if keepdim else result.squeeze((rows, columns))


@method(name="_nuclear_norm")
def nuclear_norm(input: Tensor, dim: Any = (-2, -1), keepdim: bool = False) -> Tensor:
    """Return the sums of the singular values of matrices."""
    return matrix_norm(input, "nuc", (-2, -1) if dim is None else dim, keepdim)


def frobenius_norm(input: Tensor, dim: Any = (), keepdim: bool = False) -> Tensor:
    """Return the roots of the sums of squares over one dimension, two or all."""
    return norm(input, 2, dim, keepdim)


def linalg_norm(input: Tensor, ord: Any = None, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Return a vector norm, or, if `ord` is given and `dim` or the tensor has two dimensions, a matrix norm."""
    require_tensor("linalg.norm", "input", input)
    if ord is None:
        return vector_norm(input, 2, dim, keepdim, dtype=dtype)
    pair = isinstance(dim, (tuple, list)) and len(dim) == 2
    if pair or (dim is None and input.ndim == 2):
        return matrix_norm(input, ord, dim or (0, 1), keepdim, dtype=dtype)
    if dim is None and input.ndim not in (1, 2):
        raise RuntimeError(
            f"linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got {input.ndim}D."
        )
    if isinstance(ord, str):
        raise RuntimeError(f"linalg.norm: Order {ord} not supported for vectors.")
    return vector_norm(input, ord, dim, keepdim, dtype=dtype)


def cond(A: Tensor, p: Any = None) -> Tensor:
    """Return the condition numbers of matrices in a norm (see `matrix_norm`; None is 2, by singular values)."""
    require_matrices("linalg.cond", A)
    if p in (None, 2, -2):
        s = svdvals(A)
        return s[..., -1] / s[..., 0] if p == -2 else s[..., 0] / s[..., -1]
    require_matrices("linalg.cond", A, True)
    try:
        inverse = inv(A)
    except LinAlgError:
        return Tensor._filled(A.shape[:-2], math.inf, A.dtype.to_real(), A._device)
    return matrix_norm(A, p) * matrix_norm(inverse, p)


def cross(input: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    """Return the cross products of vectors of length 3 along `dim`."""
    require_tensor("linalg.cross", "input", input)
    require_tensor("linalg.cross", "other", other)
    if input.ndim != other.ndim:
        raise RuntimeError(
            f"linalg.cross: inputs must have the same number of dimensions. Got {input.ndim} and {other.ndim}"
        )
    return cross_along("linalg.cross", input, other, dim)


def vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    """Return the inner products of vectors along a dimension, the first conjugated if complex."""
    require_tensor("linalg.vecdot", "x", x)
    require_tensor("linalg.vecdot", "y", y)
    if x.dtype.category < 2:
        raise RuntimeError(f"linalg.vecdot: Expected a floating point or complex tensor as input. Got {x.dtype}")
    return (x.conj() * y).sum(dim)


def linalg_diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Return a view of the diagonals of matrices."""
    return diagonal(A, offset, dim1, dim2)


def tensorinv(A: Tensor, ind: int = 2) -> Tensor:
    """Return the inverse of a tensor as a linear map from its last dimensions to the first `ind`."""
    require_tensor("linalg.tensorinv", "A", A)
    if ind <= 0:
        raise RuntimeError("Expected a strictly positive integer for 'ind' argument.")
    left, right = A.shape[:ind], A.shape[ind:]
    if math.prod(left) != math.prod(right):
        raise RuntimeError(
            "Expected self to satisfy the requirement prod(self.shape[ind:]) == prod(self.shape[:ind]), but got"
            f" {math.prod(right)} != {math.prod(left)}."
        )
    return inv(A.reshape(math.prod(left), math.prod(right))).reshape(*right, *left)


def tensorsolve(A: Tensor, B: Tensor, dims: Any = None) -> Tensor:
    """Return the X with `tensordot(A, X, X.ndim) = B`; `dims` of A are moved to its end first."""
    require_tensor("linalg.tensorsolve", "A", A)
    if dims is not None:
        moved = [normalize_dim(d, A.ndim) for d in dims]
        A = A.permute(*[d for d in range(A.ndim) if d not in moved], *moved)
    shape = A.shape[B.ndim :]
    if math.prod(shape) != B.numel():
        raise RuntimeError(
            "Expected self to satisfy the requirement prod(self.shape[other.ndim:]) == prod(self.shape[:other.ndim]),"
            f" but got {math.prod(shape)} != {math.prod(A.shape[: B.ndim])}."
        )
    return solve(A.reshape(B.numel(), B.numel()), B.reshape(-1)).reshape(shape)
