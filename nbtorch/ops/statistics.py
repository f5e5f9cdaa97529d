"""Statistics: sums and means that skip NaN, spread and mean together, distances, covariance."""

from __future__ import annotations

import builtins
from typing import Any

from .. import dtypes
from ..tensor import Size, Tensor, method, normalize_dim
from .arithmetic import install_in_place
from .operands import broadcast_shape, not_implemented, refuse_complex, require_same_device, require_tensor
from .reduction import MeanAlong, Std, Var, amax, amin, deviations, norm, return_type, sum

aminmax_result = return_type("aminmax", "min", "max")


@method
def nansum(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Return the sum with NaN counted as zero."""
    require_tensor("nansum", "input", input)
    refuse_complex("nansum", input, error=RuntimeError)
    return sum(_without_nan(input), dim, keepdim, dtype=dtype)


def _without_nan(input: Tensor) -> Tensor:
    return input.masked_fill(input.isnan(), 0) if input.is_floating_point() else input


@method
def nanmean(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Return the mean of the elements that are not NaN."""
    require_tensor("nanmean", "input", input)
    if input.dtype.category < 2:
        raise RuntimeError(f"nanmean(): expected input to have floating point or complex dtype but got {input.dtype}")
    if dtype is not None and dtypes.as_dtype(dtype).category < 2:
        raise RuntimeError(
            "nanmean(): could not infer output dtype. Optional dtype must be either a floating point or complex dtype."
            f" Got: {dtype}"
        )
    return nansum(input, dim, keepdim, dtype=dtype) / sum(~input.isnan(), dim, keepdim)


@method
def aminmax(input: Tensor, *, dim: int | None = None, keepdim: bool = False) -> Any:
    """Return the smallest and the largest element, of all or along a dimension."""
    require_tensor("aminmax", "input", input)
    refuse_complex("aminmax", input)
    axis = None if dim is None else normalize_dim(dim, input.ndim)
    if input.numel() == 0 and axis is not None and input._array.shape[axis] == 0:
        raise IndexError(f"aminmax: Expected reduction dim {axis} to have non-zero size.")
    if input.numel() == 0 and axis is None:
        raise RuntimeError(
            "aminmax(): cannot compute aminmax over an empty dimension as the operation has no identity."
        )
    dims: Any = () if axis is None or input.ndim == 0 else axis
    return aminmax_result(amin(input, dims, keepdim), amax(input, dims, keepdim))


def std_mean(
    input: Tensor, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = None
) -> tuple[Tensor, Tensor]:
    """Return the standard deviation and the mean; see `var`."""
    dims, spread = deviations("std_mean", input, dim, unbiased, correction)
    return Std(dims, keepdim, spread)(input), MeanAlong(dims, keepdim)(input)


def var_mean(
    input: Tensor, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = None
) -> tuple[Tensor, Tensor]:
    """Return the variance and the mean; see `var`."""
    dims, spread = deviations("var_mean", input, dim, unbiased, correction)
    return Var(dims, keepdim, spread)(input), MeanAlong(dims, keepdim)(input)


@method
def dist(input: Tensor, other: Tensor, p: float = 2) -> Tensor:
    """Return the p-norm of the difference of two tensors."""
    require_tensor("dist", "other", other)
    return norm(input - other, p)


def cdist(
    x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: str | None = "use_mm_for_euclid_dist_if_necessary"
) -> Tensor:
    """Return the distances between all rows of two (stacks of) matrices: (…, P, M) and (…, R, M) give (…, P, R).

    Args:
        x1: the first points.
        x2: the second points.
        p: the exponent of the norm, 0 and infinity included.
        compute_mode: accepted for PyTorch's signature; distances are always computed from differences.
    """
    for name, x in (("x1", x1), ("x2", x2)):
        require_tensor("cdist", name, x)
        if x.ndim < 2:
            raise RuntimeError(f"cdist only supports at least 2D tensors, {name.upper()} got: {x.ndim}D")
        if not x.is_floating_point():
            raise RuntimeError(f"cdist only supports floating-point dtypes, {name.upper()} got: {x.dtype}")
        if x.dtype.itemsize < 4:
            raise not_implemented("cdist", x.dtype, "float32 or float64")
    require_same_device("cdist", x1, x2)
    if x1.shape[-1] != x2.shape[-1]:
        raise RuntimeError(f"X1 and X2 must have the same number of columns. X1: {x1.shape[-1]} X2: {x2.shape[-1]}")
    if p < 0:
        raise RuntimeError("cdist only supports non-negative p values")
    if compute_mode not in (
        None,
        "use_mm_for_euclid_dist_if_necessary",
        "use_mm_for_euclid_dist",
        "donot_use_mm_for_euclid_dist",
    ):
        raise ValueError(f"{compute_mode} is not a valid value for compute_mode")
    differences = x1.unsqueeze(-2) - x2.unsqueeze(-3)
    if differences.numel() == 0:
        return (differences * 0).sum(-1)
    return norm(differences, p, -1)


@method
def renorm(input: Tensor, p: float, dim: int, maxnorm: float) -> Tensor:
    """Return a copy in which the slices of a dimension whose p-norm exceeds `maxnorm` are scaled down to it."""
    require_tensor("renorm", "input", input)
    if p <= 0:
        raise RuntimeError("renorm: non-positive-norm not supported")
    if maxnorm < 0:
        raise RuntimeError(f"renorm: expected maxnorm to be >= 0 but got {maxnorm}")
    if input.ndim < 2:
        raise RuntimeError(f"renorm: input needs at least 2 dimensions, got {input.ndim} dimensions")
    axis = normalize_dim(dim, input.ndim)
    rest = tuple(d for d in range(input.ndim) if d != axis)
    size = norm(input, p, rest, True)
    too_long = size.detach() > maxnorm
    factor = maxnorm / (size.masked_fill(~too_long, 1) + 1e-7)
    return input * factor.masked_fill(~too_long, 1)


install_in_place("renorm_", renorm)


@method
def cov(
    input: Tensor, *, correction: int = 1, fweights: Tensor | None = None, aweights: Tensor | None = None
) -> Tensor:
    """Return the covariance matrix of variables (rows) over observations (columns).

    Args:
        input: (variables, observations), or one variable.
        correction: what the sum of weights is lessened by.
        fweights: how often each observation counts, integers.
        aweights: the weight of each observation.
    """
    require_tensor("cov", "input", input)
    if input.ndim > 2:
        raise RuntimeError(
            f"cov(): expected input to have two or fewer dimensions but got an input with {input.ndim} dimensions"
        )
    if input.dtype is dtypes.bool:
        raise RuntimeError("cov(): bool dtype is not supported for input")
    rows = input.reshape(1, -1) if input.ndim < 2 else input
    weights = _observation_weights(rows, fweights, aweights)
    if weights is None:
        count: Any = rows.shape[1]
        centre = sum(rows, 1) / builtins.max(count, 1)
        scaled = centred = rows - centre.unsqueeze(1)
    else:
        total = sum(weights)
        centre = sum(rows * weights, 1) / total
        centred = rows - centre.unsqueeze(1)
        scaled = centred * weights
        count = total
        if aweights is not None and correction:
            own = aweights if fweights is None else aweights * fweights
            correction = correction * sum(own * aweights) / sum(own)
    divisor = count - correction
    divisor = divisor.clamp(min=0) if isinstance(divisor, Tensor) else builtins.max(divisor, 0)
    result = scaled @ centred.conj().mT / divisor
    return result.squeeze()


def _observation_weights(rows: Tensor, fweights: Tensor | None, aweights: Tensor | None) -> Tensor | None:
    weights = None
    for name, given in (("fweights", fweights), ("aweights", aweights)):
        if given is None:
            continue
        if given.ndim > 1 or given.numel() != rows.shape[1]:
            raise RuntimeError(f"cov(): expected {name} to have one element for each of {rows.shape[1]} observations")
        if (name == "fweights") is given.is_floating_point():
            raise RuntimeError(
                f"cov(): expected {name} to have {'integral' if name == 'fweights' else 'floating point'} dtype"
            )
        if (given._array < 0).any():
            raise RuntimeError(f"cov(): {name} cannot be negative")
        weights = given if weights is None else weights * given
    return weights


@method
def corrcoef(input: Tensor) -> Tensor:
    """Return the correlation coefficients of variables (rows) over observations (columns)."""
    require_tensor("corrcoef", "input", input)
    covariance = cov(input)
    if covariance.ndim == 0:
        return covariance / covariance
    spread = covariance.diagonal().sqrt()
    result = covariance / spread.unsqueeze(1) / spread
    if result.is_complex():
        return result.real.clamp(-1, 1) + result.imag.clamp(-1, 1) * 1j
    return result.clamp(-1, 1)


def broadcast_shapes(*shapes: Any) -> Size:
    """Return the shape that shapes broadcast to."""
    plain = [(s,) if isinstance(s, int) else tuple(s) for s in shapes]
    return Size(broadcast_shape("broadcast_shapes", *plain) if plain else ())


def pdist(input: Tensor, p: float = 2) -> Tensor:
    """Return the p-norm distances between all pairs of rows i < j of a matrix, (N, M) gives (N · (N - 1) / 2,)."""
    require_tensor("pdist", "input", input)
    if input.ndim != 2:
        raise RuntimeError(f"pdist only supports 2D tensors, got: {input.ndim}D")
    if not input.is_floating_point():
        raise RuntimeError(f"pdist only supports floating-point dtypes, got {input.dtype}")
    if input.dtype.itemsize < 4:
        raise not_implemented("pdist", input.dtype, "float32 or float64")
    if p < 0:
        raise RuntimeError(f"pdist only supports non-negative p values, got {p}")
    xp = input._xp
    first, second = (input._wrap_like(i) for i in xp.triu_indices(input.shape[0], 1))
    differences = input[first] - input[second]
    return norm(differences, p, -1) if differences.numel() else differences.sum(-1)


def norm_except_dim(v: Tensor, pow: int = 2, dim: int = 0) -> Tensor:
    """Return the norms of the slices of a dimension, with extent 1 elsewhere; of all elements for `dim=-1`."""
    require_tensor("norm_except_dim", "v", v)
    if dim == -1:
        return norm(v, pow)
    return norm(v, pow, [d for d in range(v.ndim) if d != normalize_dim(dim, v.ndim)], True) if v.ndim > 1 else abs(v)
