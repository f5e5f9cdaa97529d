"""Matrix products in groups, with operands of uneven extents."""

from __future__ import annotations

import itertools
from typing import Any

from .. import dtypes
from ..tensor import Tensor
from .joining import cat, stack
from .matmul import matmul
from .operands import require_same_device, require_tensor


def grouped_mm(
    mat_a: Tensor,
    mat_b: Tensor,
    *,
    offs: Tensor | None = None,
    bias: Tensor | None = None,
    out_dtype: Any = None,
) -> Tensor:
    """Return one matrix product for each group.

    Args:
        mat_a: (G, M, K), or a matrix that `offs` divides: (M, K) along its rows if `mat_b` is (G, K, N), along its
            columns if `mat_b` is (K, N).
        mat_b: (G, K, N), or (K, N), divided along its columns if `mat_a` is (G, M, K).
        offs: where each group ends, int32, (G,); None if both operands are (G, ...).
        bias: must be None, as in PyTorch.
        out_dtype: must be the type of `mat_a`, if given.

    Returns:
        (G, M, N) where both operands have three dimensions or both two, else (M, N) with the groups beside each other;
        zeros beyond the last group.

    Raises:
        RuntimeError: shapes, types or offsets do not fit.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.grouped_mm.html
    """
    _require_operands(mat_a, mat_b, offs, bias, out_dtype)
    if offs is None:
        return matmul(mat_a, mat_b)
    bounds = list(itertools.pairwise([0, *offs.tolist()]))
    groups = mat_a.shape[0] if mat_a.ndim == 3 else mat_b.shape[0] if mat_b.ndim == 3 else len(bounds)
    if groups != len(bounds):
        raise RuntimeError(f"grouped_mm: matrix batch sizes have to match, got {groups} and {len(bounds)} offsets")
    if mat_a.ndim == mat_b.ndim:
        return stack([matmul(mat_a[:, first:end], mat_b[first:end]) for first, end in bounds])
    end_of_all = bounds[-1][1]
    if mat_a.ndim == 2:
        rows = [matmul(mat_a[first:end], mat_b[group]) for group, (first, end) in enumerate(bounds)]
        return cat([*rows, mat_a.new_zeros(mat_a.shape[0] - end_of_all, mat_b.shape[2])])
    columns = [matmul(mat_a[group], mat_b[:, first:end]) for group, (first, end) in enumerate(bounds)]
    return cat([*columns, mat_a.new_zeros(mat_a.shape[1], mat_b.shape[1] - end_of_all)], 1)


def _require_operands(a: Tensor, b: Tensor, offs: Tensor | None, bias: Tensor | None, out_dtype: Any) -> None:
    for name, matrix in (("mat_a", a), ("mat_b", b)):
        require_tensor("grouped_mm", name, matrix)
        if matrix.dtype not in (dtypes.float32, dtypes.bfloat16, dtypes.float16):
            raise RuntimeError(f"Expected {name} to be Float32, BFloat16 or Float16 matrix, got {matrix.dtype.title}")
        if matrix.ndim not in (2, 3):
            raise RuntimeError(f"grouped_mm: {name} has to be 2 or 3d, got {matrix.ndim}d")
    require_same_device("grouped_mm", a, b)
    if a.dtype is not b.dtype:
        raise RuntimeError(f"grouped_mm: expected both operands of one type, got {a.dtype} and {b.dtype}")
    if a.shape[-1] != b.shape[-2]:
        raise RuntimeError(
            "grouped_mm: contraction dimension of mat_a and mat_b must match, got"
            f" {tuple(a.shape)} and {tuple(b.shape)}"
        )
    if (offs is None) != (a.ndim == b.ndim == 3):
        raise RuntimeError("Have to provide offsets if there is a 2d matrix, or no offset if both matrices are 3d")
    if offs is None and a.shape[0] != b.shape[0]:
        raise RuntimeError(f"grouped_mm: matrix batch sizes have to match, got {a.shape[0]} and {b.shape[0]}")
    if offs is not None and (offs.ndim != 1 or offs.numel() == 0):
        raise RuntimeError(f"grouped_mm: offs has to be 1D, got shape {tuple(offs.shape)}")
    if offs is not None and offs.dtype is not dtypes.int32:
        raise RuntimeError(f"Offsets have to be int32, got {offs.dtype}")
    if bias is not None:
        raise RuntimeError("grouped_mm: Bias not supported yet")
    if out_dtype not in (None, a.dtype):
        raise RuntimeError(f"Grouped gemm output dtype must match `mat_a` dtype, got {out_dtype} and {a.dtype}")
