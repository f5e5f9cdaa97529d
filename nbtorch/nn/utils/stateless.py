"""Modules called with other parameters and buffers than their own."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from ...tensor import Tensor
from ..modules.module import Module

__all__ = ["functional_call"]


def functional_call(
    module: Module,
    parameters_and_buffers: dict[str, Tensor] | Sequence[dict[str, Tensor]],
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """Call a module with other parameters and buffers (deprecated in favour of `func.functional_call`)."""
    warnings.warn(
        "`torch.nn.utils.stateless.functional_call` is deprecated as of PyTorch 2.0 and will be removed in a future"
        " version of PyTorch. Please use `torch.func.functional_call` instead which is a drop-in replacement.",
        FutureWarning,
        stacklevel=2,
    )
    return call_with(module, parameters_and_buffers, args, kwargs, tie_weights, strict)


def call_with(
    module: Module,
    tensors: Any,
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """Call a module with other tensors; see `nbtorch.func.functional_call`."""
    with _replaced(module, _with_tied(module, tensors) if tie_weights else dict(tensors), strict):
        positional = () if args is None else args if isinstance(args, tuple) else (args,)
        return module(*positional, **(kwargs or {}))


def _with_tied(module: Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Add to given tensors those names under which the module knows the same tensors, too."""
    names: dict[int, list[str]] = {}
    for named in (
        module.named_parameters(remove_duplicate=False),
        module.named_buffers(remove_duplicate=False),
    ):
        for name, tensor in named:
            names.setdefault(id(tensor), []).append(name)
    result = dict(tensors)
    for tied in names.values():
        given = [name for name in tied if name in tensors]
        if len({id(tensors[name]) for name in given}) > 1:
            raise ValueError(
                f"functional_call got multiple values for keys {sorted(tied)}, which are tied. Consider using"
                " tie_weights=False"
            )
        if given and len(tied) > 1:
            result.update(dict.fromkeys(tied, tensors[given[0]]))
    return result


@contextmanager
def _replaced(module: Module, tensors: dict[str, Tensor], strict: bool) -> Iterator[None]:
    """Replace tensors of a module by others inside of a `with` block."""
    if strict:
        _require_all(module, tensors)
    before: list[tuple[dict[str, Any], str, Any]] = []
    try:
        for name, tensor in tensors.items():
            if not (tensor is None or isinstance(tensor, Tensor)):
                raise TypeError(f"{tensor} is not an instance of torch.Tensor")
            place = _place_of(module, name)
            if place is None:
                continue
            members, key = place
            before.append((members, key, members[key]))
            members[key] = tensor
        yield
    finally:
        for members, key, tensor in reversed(before):
            members[key] = tensor


def _place_of(module: Module, name: str) -> tuple[dict[str, Any], str] | None:
    """Return the dictionary in which a module keeps a tensor, and the key; None where it keeps none of that name."""
    path, _, key = name.rpartition(".")
    owner: Any = module
    for step in path.split(".") if path else ():
        if step not in owner._modules:
            raise AttributeError(f"{type(owner).__name__} has no attribute `{step}`")
        owner = owner._modules[step]
    for members in (owner._parameters, owner._buffers):
        if key in members:
            return members, key
    return None


def _require_all(module: Module, tensors: dict[str, Tensor]) -> None:
    own = {name for name, _ in module.named_parameters(remove_duplicate=False)}
    own |= {name for name, _ in module.named_buffers(remove_duplicate=False)}
    problems = []
    for what, names in (("Unexpected", tensors.keys() - own), ("Missing", own - tensors.keys())):
        if names:
            problems.append(f"{what} key(s): {', '.join(map(repr, sorted(names)))}.")
    if problems:
        raise RuntimeError(f"Error(s) in reparametrizing for {type(module).__name__}:\n\t" + "\n\t".join(problems))
