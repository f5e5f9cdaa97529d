"""Modules that learn the sizes of their parameters from the first input."""

from __future__ import annotations

from typing import Any

from ...autograd.grad_mode import no_grad
from ...tensor import Tensor
from ..parameter import Parameter, UninitializedBuffer, UninitializedParameter, is_lazy
from .module import Module

__all__ = ["LazyModuleMixin", "UninitializedBuffer", "UninitializedParameter"]


class LazyModuleMixin:
    """Makes a module lazy: it goes before the module among the base classes.

    The module's parameters begin as `UninitializedParameter`, its buffers as `UninitializedBuffer`. The first call runs
    `initialize_parameters` with the same arguments, which gives them shapes and values; then the module becomes one of
    class `cls_to_become`. Parameters that a state_dict brings are taken over with their shapes.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.modules.lazy.LazyModuleMixin.html
    """

    cls_to_become: type[Module] | None = None

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._load_hook = self.register_load_state_dict_pre_hook(_take_shapes)
        self._initialize_hook = self.register_forward_pre_hook(_initialize, with_kwargs=True)

    def initialize_parameters(self, *args: Any, **kwargs: Any) -> None:
        """Give the parameters shapes that fit the arguments of `forward`; every lazy module defines it."""
        raise NotImplementedError(f"initialize_parameters is not implemented for {type(self).__name__}")

    def has_uninitialized_params(self: Any) -> bool:
        """Return whether a parameter or buffer has no shape yet."""
        return any(is_lazy(value) for value in (*self._parameters.values(), *self._buffers.values()))


def _take_shapes(
    module: Any, state_dict: Any, prefix: str, metadata: Any, strict: bool, missing: Any, unexpected: Any, errors: Any
) -> None:
    """Give uninitialised parameters the shapes of those that are about to be loaded."""
    for name, own in (*module._parameters.items(), *module._buffers.items()):
        given = state_dict.get(prefix + name)
        if is_lazy(own) and given is not None and not is_lazy(given):
            with no_grad():
                own.materialize(given.shape)


def _initialize(module: Any, args: Any, kwargs: Any = None) -> None:
    """Initialise a module before its first call, and let it become an ordinary one."""
    module.initialize_parameters(*args, **(kwargs or {}))
    if module.has_uninitialized_params():
        raise RuntimeError(f"module {type(module).__name__} has not been fully initialized")
    module._initialize_hook.remove()
    module._load_hook.remove()
    del module._initialize_hook, module._load_hook
    if module.cls_to_become is not None:
        module.__class__ = module.cls_to_become


def uninitialized(tensor: Parameter | Tensor | None, device: Any, dtype: Any) -> Any:
    """Return an uninitialised parameter or buffer in the place of a tensor; None stays None."""
    if tensor is None:
        return None
    kind: Any = UninitializedParameter if isinstance(tensor, Parameter) else UninitializedBuffer
    return kind(device=device, dtype=dtype)
