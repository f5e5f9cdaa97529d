"""Functions of modules: `functional_call`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .nn.modules import Module
from .nn.utils.stateless import call_with
from .tensor import Tensor

__all__ = ["functional_call"]


def functional_call(
    module: Module,
    parameter_and_buffer_dicts: dict[str, Tensor] | Sequence[dict[str, Tensor]],
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """Call a module with tensors in the place of its parameters and buffers.

    Args:
        module: the module; afterwards it is as before.
        parameter_and_buffer_dicts: tensors by their names in the state_dict, or several such dictionaries without a
            name in common.
        args: the module's arguments, a tuple, or one.
        kwargs: its arguments by name.
        tie_weights: replace a tensor under all names that the module knows it by.
        strict: refuse missing and unexpected names.

    Raises:
        RuntimeError: names are missing or unexpected, and that is to be refused.
        ValueError: a name is given twice, or one tensor gets two values.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.func.functional_call.html

    >>> import nbtorch
    >>> layer = nbtorch.nn.Linear(2, 1, bias=False)
    >>> functional_call(layer, {"weight": nbtorch.ones(1, 2)}, nbtorch.ones(2)).item()
    2.0
    """
    if isinstance(parameter_and_buffer_dicts, dict):
        tensors = parameter_and_buffer_dicts
    elif isinstance(parameter_and_buffer_dicts, Sequence):
        dictionaries = list(parameter_and_buffer_dicts)
        if not all(isinstance(dictionary, dict) for dictionary in dictionaries):
            raise ValueError("Expected all elements of parameter_and_buffer_dicts to be dictionaries")
        names = [name for dictionary in dictionaries for name in dictionary]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"{repeated} appeared in multiple dictionaries; behavior of functional call is ambiguous")
        tensors = {name: tensor for dictionary in dictionaries for name, tensor in dictionary.items()}
    else:
        raise ValueError(
            "Expected parameter_and_buffer_dicts to be a dict, or a list/tuple of dicts,"
            f" but got {type(parameter_and_buffer_dicts)}"
        )
    return call_with(module, tensors, args, kwargs, tie_weights, strict)
