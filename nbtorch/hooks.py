"""Hooks: ordered dictionaries of callables, and the handles that take one out again."""

from __future__ import annotations

import itertools
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

Hooks = OrderedDict[int, Callable[..., Any]]
_ids = itertools.count()


class RemovableHandle:
    """The way to remove a hook: `handle.remove()`, or leave a `with handle:` block."""

    def __init__(self, hooks: OrderedDict[int, Any], *, extra: tuple[OrderedDict[int, Any], ...] = ()) -> None:
        self.id = next(_ids)
        self._dictionaries = [weakref.ref(d) for d in (hooks, *extra)]

    def remove(self) -> None:
        """Remove the hook; a second call does nothing."""
        for reference in self._dictionaries:
            dictionary = reference()
            if dictionary is not None:
                dictionary.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()


def add_hook(owner: Any, attribute: str, hook: Callable[..., Any]) -> RemovableHandle:
    """Append `hook` to the dictionary `owner.attribute`, made if it is None, and return its handle."""
    hooks = getattr(owner, attribute)
    if hooks is None:
        hooks = OrderedDict()
        setattr(owner, attribute, hooks)
    handle = RemovableHandle(hooks)
    hooks[handle.id] = hook
    return handle
