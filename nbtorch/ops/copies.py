"""Views copied at once (`view_copy`, `permute_copy`, …): what the function without `_copy` gives, in new memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import dtypes
from ..tensor import Tensor, method, normalize_dim
from .joining import split_with_sizes
from .operands import require_tensor
from .shape import expand, narrow, permute, reshape, select, split, squeeze, t, transpose, unbind, unsqueeze, view
from .strided import as_strided, diagonal, unfold


def _copying(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that copies the view, or the views, that another one returns."""
    name = function.__name__

    def copied(input: Tensor, *args: Any, **kwargs: Any) -> Any:
        require_tensor(f"{name}_copy", "input", input)
        result = function(input, *args, **kwargs)
        return result.clone() if isinstance(result, Tensor) else tuple([part.clone() for part in result])

    copied.__name__ = copied.__qualname__ = f"{name}_copy"
    copied.__doc__ = f"Return what `{name}` returns, as a copy."
    return copied


as_strided_copy = _copying(as_strided)
diagonal_copy = _copying(diagonal)
expand_copy = _copying(expand)
permute_copy = _copying(permute)
select_copy = _copying(select)
split_copy = _copying(split)
split_with_sizes_copy = _copying(split_with_sizes)
squeeze_copy = _copying(squeeze)
t_copy = _copying(t)
transpose_copy = _copying(transpose)
unbind_copy = _copying(unbind)
unfold_copy = _copying(unfold)
unsqueeze_copy = _copying(unsqueeze)


def view_copy(input: Tensor, size: Any = None, *, dtype: Any = None) -> Tensor:
    """Return a copy in another shape, or a copy of the memory taken for another type."""
    require_tensor("view_copy", "input", input)
    if dtype is not None or isinstance(size, dtypes.dtype):
        return view(input, dtype or size).clone()
    return reshape(input, size).clone()


def detach_copy(input: Tensor) -> Tensor:
    """Return a copy; gradients flow through it, as in PyTorch."""
    return alias_copy(input)


def alias_copy(input: Tensor) -> Tensor:
    """Return a copy."""
    require_tensor("alias_copy", "input", input)
    return input.clone()


def slice_copy(input: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> Tensor:
    """Return a copy of the elements `start:end:step` of a dimension."""
    require_tensor("slice_copy", "input", input)
    axis = normalize_dim(dim, input.ndim)
    return input[(slice(None),) * axis + (slice(start, end, step),)].clone()


@method
def narrow_copy(input: Tensor, dim: int, start: Any, length: int) -> Tensor:
    """Return a copy of `length` elements of a dimension."""
    return narrow(input, dim, start, length).clone()
