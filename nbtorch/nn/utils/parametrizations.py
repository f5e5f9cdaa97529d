"""Parametrizations of weights: orthogonal, with a norm of its own, with the largest singular value one."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...autograd.grad_mode import no_grad
from ...creation import eye, zeros_like
from ...linalg import matrix_exp, solve
from ...ops.arithmetic import allclose
from ...ops.matmul import dot, mv
from ...ops.shape import cat
from ...random import randn
from ...tensor import Tensor
from .. import functional as F
from ..modules.module import Module
from . import parametrize
from .spectral_norm import as_matrix, channel_dim
from .weight_norm import norm_except_dim, scaled_to_norm

__all__ = ["orthogonal", "spectral_norm", "weight_norm"]


def orthogonal(
    module: Module, name: str = "weight", orthogonal_map: str | None = None, *, use_trivialization: bool = True
) -> Module:
    """Keep a weight's rows or columns, whichever are shorter in number, orthonormal.

    Args:
        module: the module.
        name: the name of its weight, a matrix or a batch of matrices.
        orthogonal_map: how an orthogonal matrix is made: `"matrix_exp"`, `"cayley"` or `"householder"` (default: the
            first for square matrices, else the last).
        use_trivialization: start from the weight's nearest orthogonal matrix and learn the way from there.

    Returns:
        The module.

    Raises:
        ValueError: no such weight, no matrix, or an unknown map.

    Source: M. Lezcano-Casado, Trivializations for gradient-based optimization on manifolds, 2019, arXiv:1909.09501;
    https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.parametrizations.orthogonal.html
    """
    weight = _weight_of(module, name)
    if weight.ndim < 2:
        raise ValueError(f"Expected a matrix or batch of matrices. Got a tensor of {weight.ndim} dimensions.")
    if orthogonal_map is None:
        orthogonal_map = "matrix_exp" if weight.size(-2) == weight.size(-1) else "householder"
    if orthogonal_map not in ("matrix_exp", "cayley", "householder"):
        raise ValueError(
            f'orthogonal_map has to be one of "matrix_exp", "cayley", "householder". Got: {orthogonal_map}'
        )
    made = _Orthogonal(weight, orthogonal_map, use_trivialization)
    return parametrize.register_parametrization(module, name, made, unsafe=True)


def _weight_of(module: Module, name: str) -> Tensor:
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    return weight


class _Orthogonal(Module):
    """An orthogonal matrix made of any matrix; wide matrices are handled as their transposes."""

    base: Tensor

    def __init__(self, weight: Tensor, orthogonal_map: str, use_trivialization: bool) -> None:
        super().__init__()
        self.shape = weight.shape
        self.orthogonal_map = orthogonal_map
        self.use_trivialization = use_trivialization
        if use_trivialization:
            self.register_buffer("base", None)

    def forward(self, X: Tensor) -> Tensor:
        wide = X.size(-2) < X.size(-1)
        X = X.mT if wide else X
        columns = X.size(-1)
        if self.orthogonal_map == "householder":
            lower = X.tril(-1)
            scales = 2.0 / (1.0 + (lower * lower).sum(-2))
            Q = _householder_product(lower, scales) * X.diagonal(dim1=-2, dim2=-1).int().unsqueeze(-2)
        else:
            Q = _rotation(self.orthogonal_map, X)[..., :columns]
        if self.use_trivialization:
            Q = self.base @ Q
        return Q.mT if wide else Q

    @no_grad()
    def right_inverse(self, Q: Tensor) -> Tensor:
        if Q.shape != self.shape:
            raise ValueError(
                f"Expected a matrix or batch of matrices of shape {self.shape}. Got a tensor of shape {Q.shape}."
            )
        wide = Q.size(-2) < Q.size(-1)
        tall = Q.mT if wide else Q
        if not self.use_trivialization:
            if self.orthogonal_map != "householder":
                raise NotImplementedError(
                    "It is not possible to assign to the matrix exponential or the Cayley parametrizations when"
                    " use_trivialization=False."
                )
            A = _reflectors(tall)
            return A.mT if wide else A
        rows, columns = tall.shape[-2:]
        if rows != columns:
            extra = randn(*tall.shape[:-2], rows, rows - columns, dtype=tall.dtype, device=tall.device)
            tall = cat([tall, extra], -1)
        self.base = tall.clone() if rows == columns and _is_orthogonal(tall) else _nearest_orthogonal(tall)
        start = zeros_like(Q)
        start.diagonal(dim1=-2, dim2=-1).fill_(-1.0)
        return start


def _rotation(orthogonal_map: str, X: Tensor) -> Tensor:
    """Return the rotation whose generator is the skew-symmetric part of X's lower triangle, X filled up to a square."""
    X = X.tril()
    rows, columns = X.shape[-2:]
    if rows != columns:
        X = cat([X, X.new_zeros((*X.shape[:-2], rows, rows - columns))], -1)
    generator = X - X.mT
    if orthogonal_map == "matrix_exp":
        return matrix_exp(generator)
    half = generator * 0.5
    unit = eye(rows, dtype=X.dtype, device=X.device)
    return solve(unit - half, unit + half)


def _householder_product(vectors: Tensor, scales: Tensor) -> Tensor:
    """Return the first columns of the product of the reflections I - scale · v vᵀ.

    The k-th v is zero above row k, one there, and the k-th column of `vectors` below.
    """
    rows, columns = vectors.shape[-2:]
    unit = eye(rows, columns, dtype=vectors.dtype, device=vectors.device)
    product = unit.expand(vectors.shape)
    reflectors = vectors + unit
    for k in reversed(range(columns)):
        v = reflectors[..., :, k : k + 1]
        product = product - scales[..., k, None, None] * (v @ (v.mT @ product))
    return product


def _raw_qr(matrix: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Return LAPACK's compact QR: R and, below its diagonal, the reflectors; and their scales."""
    array = matrix.detach().cpu().numpy()
    factors = [np.linalg.qr(a, "raw") for a in array.reshape(-1, *array.shape[-2:])]
    compact = np.stack([h.T for h, _ in factors]).reshape(array.shape)
    return compact, np.stack([tau for _, tau in factors]).reshape(*array.shape[:-2], -1)


def _reflectors(matrix: Tensor) -> Tensor:
    """Return a matrix whose Householder form is `matrix`: reflectors, and signs on the diagonal."""
    compact, scales = _raw_qr(matrix)
    index = np.arange(compact.shape[-1])
    signs = np.sign(compact[..., index, index])
    compact[..., index, index] = np.where(scales == 0, -signs, signs)
    return matrix._like_array(compact)


def _nearest_orthogonal(matrix: Tensor) -> Tensor:
    """Return the orthogonal factor of a square matrix, its columns turned to where R's diagonal is positive."""
    factors = [np.linalg.qr(a) for a in matrix.detach().cpu().numpy().reshape(-1, *matrix.shape[-2:])]
    turned = [q * np.sign(np.diagonal(r)) for q, r in factors]
    return matrix._like_array(np.stack(turned).reshape(tuple(matrix.shape)))


def _is_orthogonal(Q: Tensor) -> bool:
    rows, columns = Q.shape[-2:]
    unit = eye(columns, dtype=Q.dtype, device=Q.device).expand((*Q.shape[:-2], columns, columns))
    return allclose(Q.mT @ Q, unit, atol=10.0 * rows * float(np.finfo(Q.dtype.numpy).eps))


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Compute a weight from its norms, `original0`, and its direction, `original1`.

    Args:
        module: the module.
        name: the weight's name.
        dim: the dimension whose slices have a norm of their own; None for one norm.

    Returns:
        The module. It also loads what the older `nn.utils.weight_norm` saved.

    Source: T. Salimans, D. Kingma, 2016, arXiv:1602.07868;
    https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.parametrizations.weight_norm.html
    """
    parametrize.register_parametrization(module, name, _WeightNorm(dim), unsafe=True)

    def rename_older(_: Any, state_dict: Any, prefix: str, *arguments: Any) -> None:
        older = [f"{prefix}{name}_g", f"{prefix}{name}_v"]
        if all(key in state_dict for key in older):
            for number, key in enumerate(older):
                state_dict[f"{prefix}parametrizations.{name}.original{number}"] = state_dict.pop(key)

    module.register_load_state_dict_pre_hook(rename_older)
    return module


class _WeightNorm(Module):
    """A tensor v scaled to norms g."""

    def __init__(self, dim: int | None = 0) -> None:
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        return scaled_to_norm(weight_v, weight_g, self.dim)

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return norm_except_dim(weight, self.dim), weight


def spectral_norm(
    module: Module, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> Module:
    """Divide a weight by its largest singular value, estimated by power iteration.

    Args:
        module: the module.
        name: the weight's name.
        n_power_iterations: iterations in each call in training.
        eps: keeps norms away from zero.
        dim: the dimension of the output channels (default: 1 for transposed convolutions, else 0).

    Returns:
        The module.

    Raises:
        ValueError: no such weight, or no iterations.
        IndexError: `dim` is out of range.

    Source: T. Miyato et al., 2018, arXiv:1802.05957;
    https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.parametrizations.spectral_norm.html
    """
    weight = _weight_of(module, name)
    made = _SpectralNorm(weight, n_power_iterations, channel_dim(module, dim), eps)
    return parametrize.register_parametrization(module, name, made)


class _SpectralNorm(Module):
    """A weight over its largest singular value; the singular vectors are improved in each call in training."""

    _u: Tensor
    _v: Tensor

    def __init__(self, weight: Tensor, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12) -> None:
        super().__init__()
        ndim = weight.ndim
        if not -ndim <= dim < ndim:
            raise IndexError(f"Dimension out of range (expected to be in range of [-{ndim}, {ndim - 1}] but got {dim})")
        if n_power_iterations <= 0:
            raise ValueError(
                f"Expected n_power_iterations to be positive, but got n_power_iterations={n_power_iterations}"
            )
        self.dim = dim % ndim
        self.eps = eps
        if ndim > 1:
            self.n_power_iterations = n_power_iterations
            matrix = as_matrix(weight, self.dim)
            for name, extent in zip(("_u", "_v"), matrix.shape, strict=True):
                self.register_buffer(name, F.normalize(matrix.new_empty(extent).normal_(0, 1), dim=0, eps=eps))
            self._power_method(matrix, 15)

    @no_grad()
    def _power_method(self, matrix: Tensor, count: int) -> None:
        for _ in range(count):
            self._u.copy_(F.normalize(mv(matrix, self._v), dim=0, eps=self.eps))
            self._v.copy_(F.normalize(mv(matrix.t(), self._u), dim=0, eps=self.eps))

    def forward(self, weight: Tensor) -> Tensor:
        if weight.ndim == 1:
            return F.normalize(weight, dim=0, eps=self.eps)
        matrix = as_matrix(weight, self.dim)
        if self.training:
            self._power_method(matrix, self.n_power_iterations)
        u, v = self._u.clone(), self._v.clone()  # backward must see these, whatever later calls write
        return weight / dot(u, mv(matrix, v))

    def right_inverse(self, value: Tensor) -> Tensor:
        return value
