"""Modules with switches that are checked when they are set: `backends.cudnn.allow_tf32 = False`."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any


class Switches(ModuleType):
    """A module some of whose attributes are read and set by functions, and the others fixed types."""

    _properties: dict[str, tuple[Callable[[], Any], Callable[[Any], None]]]
    _types: dict[str, type]

    def __getattr__(self, name: str) -> Any:
        properties = self.__dict__.get("_properties", {})
        if name in properties:
            return properties[name][0]()
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.__dict__.get("_properties", {}):
            self._properties[name][1](value)
            return
        kind = self.__dict__.get("_types", {}).get(name)
        if kind is not None and not isinstance(value, kind):
            raise RuntimeError(f"{self.__name__}.{name}: expected {kind.__name__}, got {type(value).__name__}")
        super().__setattr__(name, value)


def install(
    name: str, properties: dict[str, tuple[Callable[[], Any], Callable[[Any], None]]], types: dict[str, type]
) -> None:
    """Let the module `name` check what its switches are set to.

    Args:
        properties: for each computed attribute the functions that read and set it.
        types: for each plain attribute the type of its values.
    """
    module = sys.modules[name]
    module.__dict__.update(_properties=properties, _types=types)
    module.__class__ = Switches


@contextlib.contextmanager
def changed(name: str, values: dict[str, Any]) -> Iterator[None]:
    """Set switches of a module for a while; None leaves one as it is."""
    module = sys.modules[name]
    before = {key: getattr(module, key) for key, value in values.items() if value is not None}
    try:
        for key in before:
            setattr(module, key, values[key])
        yield
    finally:
        for key, value in before.items():
            setattr(module, key, value)


def as_bool(name: str, value: Any) -> bool:
    """Return a switch's value; RuntimeError if it is no bool."""
    if not isinstance(value, bool):
        raise RuntimeError(f"{name}: expected bool, got {type(value).__name__}")
    return value
