"""Products beyond `matmul`: fused sums, tensor contractions, Kronecker and cross products, chains and powers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from .. import dtypes
from ..tensor import Tensor, method, normalize_dim
from .arithmetic import Fill, add, install_in_place, mul
from .matmul import addmm, bmm, dot, matmul, mm, mv, outer
from .operands import require_same_device, require_tensor, to_dtype
from .shape import broadcast_tensors


def _fused(input: Tensor, product: Tensor, beta: Any, alpha: Any) -> Tensor:
    """Return `beta * input + alpha * product`; with `beta` 0 what is in `input`, NaN included, does not count."""
    if product.dtype.category < 2:
        beta, alpha = int(beta), int(alpha)
    scaled = product if alpha == 1 else mul(product, alpha)
    if beta == 0:
        return add(Fill(0)(input), scaled)
    return add(input if beta == 1 else mul(input, beta), scaled)


def _require_expandable(operation: str, input: Tensor, product: Tensor) -> None:
    require_tensor(operation, "input", input)
    if input.dtype is not product.dtype:
        raise RuntimeError(
            f"{operation}: expected self and mat2 to have the same dtype, but got {input.dtype} and {product.dtype}"
        )
    if input.ndim > product.ndim or any(
        n not in (1, m) for n, m in zip(input._array.shape[::-1], product._array.shape[::-1], strict=False)
    ):
        raise RuntimeError(
            f"{operation}: the expanded size of the tensor must match the existing size: input of shape"
            f" {list(input.shape)} cannot be expanded to the product's {list(product.shape)}"
        )


@method
def baddbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """Return `beta * input + alpha * (batch1 @ batch2)` for stacks of matrices."""
    product = bmm(batch1, batch2)
    _require_expandable("baddbmm", input, product)
    return _fused(input, product, beta, alpha)


@method
def addbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """Return `beta * input + alpha * sum(batch1[i] @ batch2[i])`."""
    product = bmm(batch1, batch2).sum(0, dtype=batch1.dtype)
    _require_expandable("addbmm", input, product)
    return _fused(input, product, beta, alpha)


@method
def addmv(input: Tensor, mat: Tensor, vec: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """Return `beta * input + alpha * (mat @ vec)`."""
    product = mv(mat, vec)
    _require_expandable("addmv", input, product)
    return _fused(input, product, beta, alpha)


@method
def addr(input: Tensor, vec1: Tensor, vec2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """Return `beta * input + alpha * outer(vec1, vec2)`."""
    for position, vector in enumerate((vec1, vec2), 1):
        require_tensor("addr", f"vec{position}", vector)
        if vector.ndim != 1:
            raise RuntimeError(f"addr: Expected 1-D argument vec{position}, but got {vector.ndim}-D")
    product = outer(vec1, vec2)
    _require_expandable("addr", input.to(product.dtype), product)
    for name, factor in (("beta", beta), ("alpha", alpha)):
        if isinstance(factor, float) and product.dtype.category < 2:
            raise RuntimeError(
                f"addr: For integral input tensors, argument {name} must not be a floating point number, got {factor}"
            )
    if product.dtype is dtypes.bool and input.dtype is dtypes.bool:
        beta, alpha = bool(beta), bool(alpha)
    return _fused(input, product, beta, alpha)


for _operation in (addmm, baddbmm, addbmm, addmv, addr):
    install_in_place(f"{_operation.__name__}_", _operation)


@method
def vdot(input: Tensor, other: Tensor) -> Tensor:
    """Return the inner product of two vectors, the first conjugated if complex."""
    require_tensor("vdot", "input", input)
    return dot(input.conj() if input.is_complex() else input, other)


ger = outer
method(outer, name="ger")


@method
def inner(input: Tensor, other: Tensor) -> Tensor:
    """Return the sums of products over the last dimensions of two tensors."""
    require_tensor("inner", "input", input)
    require_tensor("inner", "other", other)
    if input.ndim == 0 or other.ndim == 0:
        return mul(input, other)
    if input.shape[-1] != other.shape[-1]:
        raise RuntimeError(
            "inner() the last dimension must match on both input tensors but got shapes"
            f" {list(input.shape)} and {list(other.shape)}"
        )
    return tensordot(input, other, ([-1], [-1]))


def tensordot(a: Tensor, b: Tensor, dims: Any = 2) -> Tensor:
    """Return the sums of products over several dimensions of two tensors.

    Args:
        a: the first factor; its remaining dimensions lead the result's.
        b: the second factor.
        dims: how many dimensions to contract, the last of `a` with the first of `b`; or two lists of dimensions.
    """
    require_tensor("tensordot", "a", a)
    require_tensor("tensordot", "b", b)
    if isinstance(dims, Tensor):
        dims = dims.tolist()
    if isinstance(dims, int):
        if dims < 0:
            raise RuntimeError(f"tensordot expects dims >= 0, but got dims={dims}")
        if dims > min(a.ndim, b.ndim):
            raise RuntimeError(f"tensordot expects dims < ndim_a or ndim_b, but got dims={dims}")
        over_a, over_b = list(range(a.ndim - dims, a.ndim)), list(range(dims))
    else:
        over_a, over_b = (
            [normalize_dim(d, t.ndim) for d in ([group] if isinstance(group, int) else group)]
            for t, group in zip((a, b), dims, strict=True)
        )
    if len(over_a) != len(over_b):
        raise RuntimeError("both dimension lists should have same length")
    for i, j in zip(over_a, over_b, strict=True):
        if a.shape[i] != b.shape[j] and 1 not in (a.shape[i], b.shape[j]):
            raise RuntimeError(
                f"contracted dimensions need to match, but first has size {a.shape[i]} in dim {i} and second has size"
                f" {b.shape[j]} in dim {j}"
            )
        if a.shape[i] != b.shape[j]:  # an extent of 1 is summed with the other's sum
            a, b = (a.sum(i, True), b) if b.shape[j] == 1 else (a, b.sum(j, True))
    rest_a = [d for d in range(a.ndim) if d not in over_a]
    rest_b = [d for d in range(b.ndim) if d not in over_b]
    shared = math.prod(a.shape[d] for d in over_a)
    left = a.permute(*rest_a, *over_a).reshape(math.prod(a.shape[d] for d in rest_a), shared)
    right = b.permute(*over_b, *rest_b).reshape(shared, math.prod(b.shape[d] for d in rest_b))
    return mm(left, right).reshape([a.shape[d] for d in rest_a] + [b.shape[d] for d in rest_b])


@method
def kron(input: Tensor, other: Tensor) -> Tensor:
    """Return the Kronecker product: `input` with every element replaced by a multiple of `other`."""
    require_tensor("kron", "input", input)
    require_tensor("kron", "other", other)
    ndim = max(input.ndim, other.ndim)
    a = input.reshape((1,) * (ndim - input.ndim) + input._array.shape)
    b = other.reshape((1,) * (ndim - other.ndim) + other._array.shape)
    apart = [extent for n in a._array.shape for extent in (n, 1)]
    within = [extent for n in b._array.shape for extent in (1, n)]
    shape = [m * n for m, n in zip(a._array.shape, b._array.shape, strict=True)]
    return mul(a.reshape(apart), b.reshape(within)).reshape(shape)


def cross_along(operation: str, input: Tensor, other: Tensor, dim: int) -> Tensor:
    """Return the cross products of vectors that lie along one dimension."""
    axis = normalize_dim(dim, max(input.ndim, other.ndim))
    a, b = broadcast_tensors(input, other)
    if a.shape[axis] != 3:
        raise RuntimeError(
            f"{operation}: inputs dimension {dim} must have length 3. Got {input.shape[dim]} and {other.shape[dim]}"
        )
    return a.roll(-1, axis) * b.roll(-2, axis) - a.roll(-2, axis) * b.roll(-1, axis)


@method
def cross(input: Tensor, other: Tensor, dim: int | None = None) -> Tensor:
    """Return the cross products of vectors of length 3 along `dim` (by default the first dimension of extent 3)."""
    require_tensor("cross", "input", input)
    require_tensor("cross", "other", other)
    if input.ndim != other.ndim:
        raise RuntimeError(
            f"linalg.cross: inputs must have the same number of dimensions. Got {input.ndim} and {other.ndim}"
        )
    if dim is None:
        dim = next((d for d, n in enumerate(input.shape) if n == 3), None)
        if dim is None:
            raise RuntimeError("no dimension of size 3 in input")
    return cross_along("linalg.cross", input, other, dim)


def multi_dot(tensors: Sequence[Tensor]) -> Tensor:
    """Return the product of several matrices, multiplied in the order that takes the fewest operations.

    The first and the last may be vectors. The order comes from the classic dynamic program (Cormen et al.,
    "Introduction to Algorithms", 15.2).
    """
    chain = list(tensors)
    if len(chain) < 2:
        raise RuntimeError("multi_dot(): expected at least 2 tensors but got " + str(len(chain)))
    for position, tensor in enumerate(chain):
        require_tensor("multi_dot", "tensors", tensor)
        inside = 0 < position < len(chain) - 1
        if tensor.ndim != 2 and (inside or tensor.ndim != 1):
            raise RuntimeError(
                f"multi_dot(): tensor {position} must be {'2D' if inside else '1D or 2D'} but got {tensor.ndim}D"
            )
        if tensor.dtype is not chain[0].dtype:
            raise RuntimeError(
                f"multi_dot(): all tensors must have be the same dtype but tensor 0 is {chain[0].dtype} and tensor"
                f" {position} {tensor.dtype}"
            )
    require_same_device("multi_dot", *chain)
    row, column = chain[0].ndim == 1, chain[-1].ndim == 1
    if row:
        chain[0] = chain[0].unsqueeze(0)
    if column:
        chain[-1] = chain[-1].unsqueeze(1)
    for position, (a, b) in enumerate(itertools.pairwise(chain)):
        if a.shape[1] != b.shape[0]:
            raise RuntimeError(
                f"multi_dot(): tensors {position} and {position + 1} with shapes {list(a.shape)} and {list(b.shape)}"
                " cannot be multiplied"
            )
    result = _multiplied(chain, _best_splits([chain[0].shape[0], *(t.shape[1] for t in chain)]), 0, len(chain) - 1)
    if row:
        result = result.squeeze(0)
    return result.squeeze(-1) if column else result


def _best_splits(extents: list[int]) -> dict[tuple[int, int], int]:
    """Return for each stretch of a chain of matrices the place where to split it."""
    count = len(extents) - 1
    cost = {(i, i): 0 for i in range(count)}
    split = {}
    for length in range(1, count):
        for i in range(count - length):
            j = i + length
            options = [
                (cost[i, k] + cost[k + 1, j] + extents[i] * extents[k + 1] * extents[j + 1], k) for k in range(i, j)
            ]
            cost[i, j], split[i, j] = min(options)
    return split


def _multiplied(chain: list[Tensor], split: dict[tuple[int, int], int], i: int, j: int) -> Tensor:
    if i == j:
        return chain[i]
    k = split[i, j]
    return mm(_multiplied(chain, split, i, k), _multiplied(chain, split, k + 1, j))


def chain_matmul(*matrices: Tensor) -> Tensor:
    """Return the product of several matrices in the cheapest order; `linalg.multi_dot` is its newer name."""
    return matrices[0] if len(matrices) == 1 else multi_dot(matrices)


@method
def matrix_power(input: Tensor, n: int) -> Tensor:
    """Return square matrices to an integer power, by repeated squaring; negative powers are those of the inverse."""
    require_tensor("matrix_power", "input", input)
    if input.ndim < 2 or input.shape[-1] != input.shape[-2]:
        raise RuntimeError(
            f"linalg.matrix_power: A must be batches of square matrices, but they are {list(input.shape)} matrices"
        )
    if n < 0:
        return matrix_power(input.inverse(), -n)
    if n == 0:
        eye = input._xp.eye(input.shape[-1], dtype=input._array.dtype)
        return add(Fill(0)(input), input._wrap_like(eye))
    result, square = None, input
    while n:
        if n & 1:
            result = square if result is None else matmul(result, square)
        n >>= 1
        if n:
            square = matmul(square, square)
    return result.clone() if result is input else result  # type: ignore[return-value]


@method
def matrix_exp(input: Tensor) -> Tensor:
    """Return the exponentials of square matrices, by scaling, a Taylor polynomial of degree 18, and squaring.

    Bader, Blanes and Casas, "Computing the matrix exponential with an optimized Taylor polynomial approximation", 2019,
    bound the norm for which degree 18 is exact to rounding by 1.09 in float64 (3.01 in float32).
    """
    require_tensor("matrix_exp", "input", input)
    if input.ndim < 2 or input.shape[-1] != input.shape[-2]:
        raise RuntimeError(f"linalg.matrix_exp: A must be batches of square matrices, but they are {list(input.shape)}")
    if input.dtype.category < 2:
        raise RuntimeError(
            f"linalg.matrix_exp: Expected a floating point or complex tensor as input. Got {input.dtype}"
        )
    largest = float(input._xp.abs(input._array).sum(-2).max()) if input.numel() else 0.0
    limit = 1.09 if input.dtype is dtypes.float64 else 3.01
    halvings = max(math.ceil(math.log2(largest / limit)), 0) if math.isfinite(largest) and largest > limit else 0
    scaled = input / 2**halvings
    eye = to_dtype(input._wrap_like(input._xp.eye(input.shape[-1], dtype=bool)), input.dtype)
    result = eye + scaled / 18
    for k in range(17, 0, -1):  # Horner's scheme
        result = eye + matmul(scaled, result) / k
    for _ in range(halvings):
        result = matmul(result, result)
    return result.expand(input._array.shape).clone() if input.numel() == 0 else result
