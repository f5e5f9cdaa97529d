"""NumPy's names of arguments, which PyTorch takes as well: `axis` for `dim`, `keepdims` for `keepdim`, and so on."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

_F = TypeVar("_F", bound=Callable[..., Any])

_DIMENSIONS = {"axis": "dim", "keepdims": "keepdim"}
_OPERANDS = {"x": "input", "a": "input", "x1": "input", "x2": "other"}


def respelled(function: _F, operands: bool = True) -> _F:
    """Return a function that takes NumPy's names of its arguments too; itself where it has none of these.

    Args:
        function: a function, or whatever else may become a method.
        operands: whether to take the names of operands besides those of dimensions; methods do not, so that the most
            frequent of them stay as they are.
    """
    code = getattr(function, "__code__", None)
    if code is None:  # a property
        return function
    own = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    candidates = _DIMENSIONS | _OPERANDS if operands else _DIMENSIONS
    spellings = {theirs: ours for theirs, ours in candidates.items() if ours in own and theirs not in own}
    if not spellings:
        return function

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if kwargs and not kwargs.keys().isdisjoint(spellings):
            renamed = {spellings.get(name, name): value for name, value in kwargs.items()}
            if len(renamed) == len(kwargs):  # else one argument was given under two names: let the function refuse it
                kwargs = renamed
        return function(*args, **kwargs)

    return call  # type: ignore[return-value]
