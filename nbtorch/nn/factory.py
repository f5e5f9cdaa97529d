"""The options that modules pass on to what makes their tensors."""

from __future__ import annotations

from typing import Any

_OPTIONS = {"device", "dtype", "memory_format"}


def factory_kwargs(kwargs: dict[str, Any] | None) -> dict[str, Any]:
    """Return the options of functions such as `empty` that keyword arguments hold.

    Args:
        kwargs: `device`, `dtype` and `memory_format`, or these in a dictionary under the key `factory_kwargs`.

    Raises:
        TypeError: there are other keys, or an option comes twice.

    >>> factory_kwargs({"device": "cpu", "factory_kwargs": {"dtype": "float64"}})
    {'dtype': 'float64', 'device': 'cpu'}
    """
    if kwargs is None:
        return {}
    unknown = kwargs.keys() - _OPTIONS - {"factory_kwargs"}
    if unknown:
        raise TypeError(f"unexpected kwargs {unknown}")
    options = dict(kwargs.get("factory_kwargs", {}))
    given = {name: kwargs[name] for name in kwargs if name in _OPTIONS}
    twice = options.keys() & given.keys()
    if twice:
        raise TypeError(f"{twice.pop()} specified twice, in **kwargs and in factory_kwargs")
    return options | given
