"""Views copied at once (`view_copy`, `permute_copy`, …): what the function of the same name gives, in memory of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..tensor import Tensor, method, normalize_dim
from .operands import require_tensor
from .shape import narrow


def _copying(name: str) -> Callable[..., Any]:
    """Return a function that copies the view, or the views, that a method returns."""
    view = getattr(Tensor, name)

    def function(input: Tensor, *args: Any, **kwargs: Any) -> Any:
        require_tensor(f"{name}_copy", "input", input)
        result = view(input, *args, **kwargs)
        return result.clone() if isinstance(result, Tensor) else tuple([part.clone() for part in result])

    function.__name__ = function.__qualname__ = f"{name}_copy"
    function.__doc__ = f"Return what `{name}` returns, as a copy."
    return function


as_strided_copy = _copying("as_strided")
detach_copy = _copying("detach")
diagonal_copy = _copying("diagonal")
expand_copy = _copying("expand")
permute_copy = _copying("permute")
select_copy = _copying("select")
split_copy = _copying("split")
split_with_sizes_copy = _copying("split_with_sizes")
squeeze_copy = _copying("squeeze")
t_copy = _copying("t")
transpose_copy = _copying("transpose")
unbind_copy = _copying("unbind")
unfold_copy = _copying("unfold")
unsqueeze_copy = _copying("unsqueeze")
view_copy = _copying("view")


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
