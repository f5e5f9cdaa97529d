"""The public functions: what `nbtorch.ops` computes, with `out=` and NumPy's names of arguments.

The modules of `ops` define plain functions, which call each other and are Tensor's methods. `publish` replaces them in
a public namespace by functions that also take `out` (a tensor, or a tuple of tensors where there are several results)
and the names that NumPy has for some arguments. An ordinary call costs one more frame and nothing else.
"""

from __future__ import annotations

import functools
import types
import warnings
from collections.abc import Callable, Iterable
from typing import Any

from .autograd.grad_mode import state
from .device import allocate
from .ops.reduction import return_type
from .spelling import respelled
from .tensor import Tensor


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# The functions of the main namespace that take `out`, as in PyTorch.
WITH_OUT = _names(
    """
    abs absolute acos acosh add addbmm addcdiv addcmul addmm addmv addr all amax amin aminmax angle any arange arccos
    arccosh arcsin arcsinh arctan arctan2 arctanh argmax argmin argsort asin asinh atan atan2 atanh baddbmm bernoulli
    bitwise_and bitwise_left_shift bitwise_not bitwise_or bitwise_right_shift bitwise_xor bmm bucketize cat ceil
    chain_matmul cholesky cholesky_inverse cholesky_solve clamp clamp_max clamp_min clip column_stack complex concat
    concatenate conj_physical copysign cos cosh cross cummax cummin cumprod cumsum deg2rad diag diff digamma div divide
    dot dstack empty eq erf erfc erfinv exp exp2 expm1 eye fix float_power floor floor_divide fmax fmin fmod frac
    frexp full gather gcd ge geqrf ger greater greater_equal gt hardshrink heaviside histc histogram hstack hypot i0
    igamma igammac index_add index_copy index_reduce index_select inner inverse isin isneginf isposinf kron kthvalue
    lcm ldexp le lerp less less_equal lgamma linspace log log10 log1p log2 log_softmax logaddexp logaddexp2
    logcumsumexp logical_and logical_not logical_or logical_xor logit logspace logsumexp lt lu_solve lu_unpack
    masked_select matmul matrix_power max maximum mean median min minimum mm mode msort mul multinomial multiply mv
    mvlgamma nan_to_num nanmean nanmedian nanquantile nansum narrow_copy ne neg negative nextafter nonzero
    nonzero_static norm normal not_equal nuclear_norm ones orgqr ormqr outer polar polygamma pow prod qr quantile
    rad2deg rand randint randn randperm range reciprocal remainder renorm round row_stack rsqrt scatter scatter_add
    scatter_reduce searchsorted sgn sigmoid sign signbit sin sinc sinh slogdet softmax sort sqrt square stack std sub
    subtract sum svd take take_along_dim tan tanh tensordot threshold topk triangular_solve tril triu true_divide
    trunc var vdot vstack where xlogy zeros
    alias_copy as_strided_copy detach_copy diagonal_copy expand_copy permute_copy select_copy slice_copy split_copy
    split_with_sizes_copy squeeze_copy t_copy transpose_copy unbind_copy unfold_copy unsqueeze_copy
    view_as_complex_copy view_as_real_copy view_copy
    """
)

# Those that make a tensor of nothing: `out` says type and device, where the caller does not.
_CREATION = _names("arange empty eye full linspace logspace ones rand randint randn randperm range zeros")

# Those that compute in the type of `out` where the caller names none.
_ACCUMULATING = _names("cumprod cumsum nansum prod sum")

# Those whose results must have exactly the type of `out`, as several results always must; the others are cast.
_EXACT = _names(
    """
    abs absolute addbmm addmm addmv all amax amin any argmax argmin baddbmm bitwise_not bmm bucketize ceil chain_matmul
    clamp clamp_max clamp_min clip cross diag dot fix float_power floor frac gather heaviside histc index_add
    index_copy index_reduce index_select inner inverse isin isneginf isposinf log_softmax logcumsumexp masked_select
    matmul matrix_power mm msort mv nan_to_num nanquantile narrow_copy neg negative nonzero nonzero_static norm
    quantile renorm round scatter scatter_add scatter_reduce searchsorted sgn sign signbit softmax take take_along_dim
    tensordot tril triu trunc vdot view_copy where special_round
    linalg_cholesky linalg_cross linalg_det linalg_eigvalsh linalg_inv linalg_matmul linalg_matrix_norm
    linalg_matrix_power linalg_multi_dot linalg_norm linalg_solve linalg_solve_triangular linalg_svdvals
    linalg_vecdot linalg_vector_norm
    """
)

# Those that raise a TypeError where the others raise a RuntimeError.
_JOINING = _names("cat column_stack concat concatenate dstack hstack row_stack stack vstack")

# Tensor's methods that are functions too.
_METHODS = _names("""
abs_ acos_ acosh_ addmv_ arccos_ arccosh_ arcsin_ arcsinh_ arctan_ arctanh_ as_strided_ asin_ asinh_ atan_
atanh_ ceil_ clip_ cos_ cosh_ deg2rad_ detach detach_ erf_ erfc_ exp2_ exp_ expm1_ fix_ floor_ frac_ gcd_ i0_ lcm_
ldexp_ log10_ log1p_ log2_ log_ logit_ neg_ negative_ rad2deg_ reciprocal_ rsqrt_ sigmoid_ sin_ sinc_ sinh_ sqrt_
square_ tan_ tanh_ trunc_ xlogy_
""")


def publish_methods(namespace: dict[str, Any]) -> None:
    """Add the methods that PyTorch has as functions too, in-place forms above all."""
    for name in _METHODS:
        namespace[name] = getattr(Tensor, name)


def publish(namespace: dict[str, Any], with_out: Iterable[str], prefix: str = "") -> None:
    """Replace the functions of a namespace by their public forms.

    Args:
        namespace: the module's globals.
        with_out: the names of those that take `out`.
        prefix: what PyTorch puts before the names in errors and in the names of result types.
    """
    for name, function in namespace.items():
        if isinstance(function, types.FunctionType):
            namespace[name] = _with_out(function, name, prefix) if name in with_out else respelled(function)


def _with_out(function: Callable[..., Any], name: str, prefix: str) -> Callable[..., Any]:
    """Return a function that takes `out` besides."""
    spelled = respelled(function)

    @functools.wraps(function)
    def call(*args: Any, out: Any = None, **kwargs: Any) -> Any:
        if out is None:
            return spelled(*args, **kwargs) if kwargs else function(*args)
        if isinstance(out, Tensor):
            if name in _CREATION:
                _require_same_type(out, kwargs)
            elif name in _ACCUMULATING and kwargs.get("dtype") is None:
                kwargs["dtype"] = out.dtype
        return _write(name, prefix, out, spelled(*args, **kwargs))

    return call


def _require_same_type(out: Tensor, options: dict[str, Any]) -> None:
    """Let `out` decide on type and device of a new tensor; refuse another type."""
    dtype = options.setdefault("dtype", out.dtype)
    options.setdefault("device", out._device)
    if dtype is None:
        options["dtype"] = out.dtype
    elif dtype is not out.dtype:
        raise RuntimeError(f"dtype {dtype} does not match dtype of out parameter ({out.dtype})")


def _write(name: str, prefix: str, out: Any, result: Any) -> Any:
    """Write one result or several to the tensors given for them; return these."""
    if isinstance(result, Tensor):
        if not isinstance(out, Tensor):
            raise TypeError(f"{name}(): argument 'out' must be Tensor, not {type(out).__name__}")
        return _write_one(name, out, result, prefix + name in _EXACT)
    if not isinstance(out, (tuple, list)) or len(out) != len(result):
        raise TypeError(f"{name}(): argument 'out' must be tuple of {len(result)} Tensors, got {type(out).__name__}")
    for tensor in out:
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{name}(): argument 'out' must be tuple of Tensors, not of {type(tensor).__name__}")
    written = [_write_one(name, tensor, part, True) for tensor, part in zip(out, result, strict=True)]
    if not hasattr(result, "_fields"):
        return tuple(written)
    return _result_type(f"{prefix}{name}_out", result._fields)(*written)


_result_type = functools.cache(lambda name, fields: return_type(name, *fields))


def _write_one(name: str, out: Tensor, result: Tensor, exact: bool) -> Tensor:
    """Write a result to the tensor given for it, which takes on its shape; `exact` forbids to cast it."""
    if state.enabled and (result.requires_grad or out.requires_grad):
        raise RuntimeError(
            f"{name}(): functions with out=... arguments don't support automatic differentiation, but one of the"
            " arguments requires grad."
        )
    if out._device != result._device:
        raise RuntimeError(
            f"{name}(): Expected all tensors to be on the same device, but found at least two devices,"
            f" {result._device} and {out._device}!"
        )
    if exact and out.dtype is not result.dtype:
        raise RuntimeError(f"{name}(): Expected out tensor to have dtype {result.dtype}, but got {out.dtype} instead")
    if name in _JOINING and result.dtype.category > out.dtype.category:
        raise TypeError(f"{name}(): input types can't be cast to the desired output type {out.dtype.title}")
    if out._array.shape != result._array.shape:
        _resize(out, result)
    return out._assign(result)


def _resize(out: Tensor, result: Tensor) -> None:
    """Give `out` memory of the result's shape; a warning tells if there were elements."""
    if out._array.size:
        warnings.warn(
            f"An output with one or more elements was resized since it had shape {list(out.shape)}, which does not"
            f" match the required output shape {list(result.shape)}. This behavior is deprecated, and in a future"
            " release outputs will not be resized unless they have zero elements. You can explicitly reuse an out"
            " tensor t by resizing it, inplace, to zero elements with t.resize_(0).",
            UserWarning,
            stacklevel=4,
        )
    out._array = allocate(result._array.shape, out._array.dtype, out._device)
