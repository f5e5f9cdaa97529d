"""Weight normalisation by a hook: a weight as a length g times a direction v, in the form before parametrizations."""

from __future__ import annotations

import warnings
from typing import Any

from ...linalg import vector_norm
from ...tensor import Tensor, normalize_dim
from ..modules.hooks import FORWARD_PRE
from ..parameter import Parameter


def norm_except_dim(v: Tensor, dim: int) -> Tensor:
    """Return the norms of the slices along `dim`, in a shape that broadcasts; of the whole tensor for -1."""
    if dim == -1:
        return vector_norm(v)
    axis = normalize_dim(dim, v.ndim)
    others = [d for d in range(v.ndim) if d != axis]
    return vector_norm(v, 2, others, True) if others else v.abs()


def scaled_to_norm(v: Tensor, g: Tensor, dim: int) -> Tensor:
    """Return v with the norms g along `dim`."""
    return v * (g / norm_except_dim(v, dim))


class WeightNorm:
    """The hook that computes a module's weight before each call."""

    def __init__(self, name: str, dim: int | None) -> None:
        self.name = name
        self.dim = -1 if dim is None else dim

    def compute_weight(self, module: Any) -> Tensor:
        """Return the weight."""
        return scaled_to_norm(getattr(module, f"{self.name}_v"), getattr(module, f"{self.name}_g"), self.dim)

    def __call__(self, module: Any, inputs: Any) -> None:
        """Compute the weight, before a call."""
        setattr(module, self.name, self.compute_weight(module))


def weight_norm(module: Any, name: str = "weight", dim: int | None = 0) -> Any:
    """Replace a weight by `weight_g`, its norms, and `weight_v`, its direction (deprecated).

    Args:
        module: the module.
        name: the weight's name.
        dim: the dimension whose slices have a norm of their own; None for one norm.

    Returns:
        The module.

    Raises:
        RuntimeError: the weight is normalised already.

    Source: T. Salimans, D. Kingma, 2016, arXiv:1602.07868;
    https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.weight_norm.html
    """
    warnings.warn(
        "`torch.nn.utils.weight_norm` is deprecated in favor of `torch.nn.utils.parametrizations.weight_norm`.",
        FutureWarning,
        stacklevel=2,
    )
    if hook_of(module, WeightNorm, name) is not None:
        raise RuntimeError(f"Cannot register two weight_norm hooks on the same parameter {name}")
    hook = WeightNorm(name, dim)
    weight = getattr(module, name)
    del module._parameters[name]
    module.register_parameter(f"{name}_g", Parameter(norm_except_dim(weight, hook.dim).data))
    module.register_parameter(f"{name}_v", Parameter(weight.data))
    setattr(module, name, hook.compute_weight(module))
    module.register_forward_pre_hook(hook)
    return module


def remove_weight_norm(module: Any, name: str = "weight") -> Any:
    """Make a weight an ordinary parameter again; returns the module.

    Raises:
        ValueError: the weight is not normalised.
    """
    number = hook_of(module, WeightNorm, name)
    if number is None:
        raise ValueError(f"weight_norm of '{name}' not found in {module}")
    hook = module._call_hooks.pop(number).function
    weight = hook.compute_weight(module)
    delattr(module, name)
    del module._parameters[f"{name}_g"], module._parameters[f"{name}_v"]
    setattr(module, name, Parameter(weight.data))
    return module


def hook_of(module: Any, kind: type, name: str) -> int | None:
    """Return the number of a module's hook of a class that computes the weight `name`."""
    for number, hook in (module._call_hooks or {}).items():
        if hook.kind == FORWARD_PRE and isinstance(hook.function, kind) and hook.function.name == name:  # type: ignore[attr-defined]
            return number
    return None
