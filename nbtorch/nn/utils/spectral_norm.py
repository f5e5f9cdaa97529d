"""Spectral normalisation by a hook: a weight over its largest singular value, in the form before parametrizations."""

from __future__ import annotations

from typing import Any

from ...autograd.grad_mode import no_grad
from ...linalg import multi_dot
from ...ops.matmul import dot, mv
from ...tensor import Tensor
from .. import functional as F
from ..modules.conv import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from ..parameter import Parameter
from .weight_norm import hook_of


def channel_dim(module: Any, dim: int | None) -> int:
    """Return the dimension of a module's output channels in its weight, unless `dim` says another."""
    if dim is not None:
        return dim
    return 1 if isinstance(module, (ConvTranspose1d, ConvTranspose2d, ConvTranspose3d)) else 0


def as_matrix(weight: Tensor, dim: int) -> Tensor:
    """Return a weight as a matrix whose rows run along `dim`."""
    if dim != 0:
        weight = weight.permute(dim, *[d for d in range(weight.ndim) if d != dim])
    return weight.reshape(weight.size(0), -1)


class SpectralNorm:
    """The hook that computes a module's weight before each call; in training it first improves the singular vectors."""

    _version = 1

    def __init__(self, name: str = "weight", n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12) -> None:
        if n_power_iterations <= 0:
            raise ValueError(
                f"Expected n_power_iterations to be positive, but got n_power_iterations={n_power_iterations}"
            )
        self.name = name
        self.dim = dim
        self.n_power_iterations = n_power_iterations
        self.eps = eps

    def compute_weight(self, module: Any, do_power_iteration: bool) -> Tensor:
        """Return the weight; the singular vectors are improved in place first, if wanted."""
        weight = getattr(module, f"{self.name}_orig")
        u, v = getattr(module, f"{self.name}_u"), getattr(module, f"{self.name}_v")
        matrix = as_matrix(weight, self.dim)
        if do_power_iteration:
            with no_grad():
                for _ in range(self.n_power_iterations):
                    v.copy_(F.normalize(mv(matrix.t(), u), dim=0, eps=self.eps))
                    u.copy_(F.normalize(mv(matrix, v), dim=0, eps=self.eps))
                u, v = u.clone(), v.clone()  # backward must see these, whatever later calls write
        return weight / dot(u, mv(matrix, v))

    def __call__(self, module: Any, inputs: Any) -> None:
        """Compute the weight, before a call."""
        setattr(module, self.name, self.compute_weight(module, module.training))

    def note_version(self, module: Any, state_dict: Any, prefix: str, local_metadata: dict[str, Any]) -> None:
        """Write this form's version into a state_dict's metadata."""
        local_metadata.setdefault("spectral_norm", {})[f"{self.name}.version"] = self._version

    def load_older_version(
        self,
        module: Any,
        state_dict: Any,
        prefix: str,
        local_metadata: Any,
        strict: bool,
        missing_keys: list[str],
        *_: Any,
    ) -> None:
        """Complete a state_dict of a form that kept no right singular vector."""
        version = local_metadata.get("spectral_norm", {}).get(f"{self.name}.version", None)
        key = prefix + self.name
        if version is not None and version >= 1:
            return
        complete = all(f"{key}{suffix}" in state_dict for suffix in ("_orig", "_u", "_v"))
        if version is None and complete and key not in state_dict:
            return
        missing = [f"{key}{suffix}" for suffix in ("_orig", "", "_u") if f"{key}{suffix}" not in state_dict]
        if missing:
            if strict:
                missing_keys.extend(missing)
            return
        with no_grad():
            original, u = state_dict[f"{key}_orig"], state_dict[f"{key}_u"]
            sigma = (original / state_dict.pop(key)).mean()
            matrix = as_matrix(original, self.dim)
            v = multi_dot([matrix.t().mm(matrix).pinverse(), matrix.t(), u.unsqueeze(1)]).squeeze(1)
            state_dict[f"{key}_v"] = v.mul_(sigma / dot(u, mv(matrix, v)))


def spectral_norm(
    module: Any, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> Any:
    """Divide a weight by its largest singular value, estimated by power iteration (the older form).

    Args:
        module: the module.
        name: the weight's name.
        n_power_iterations: iterations in each call in training.
        eps: keeps norms away from zero.
        dim: the dimension of the output channels (default: 1 for transposed convolutions, else 0).

    Returns:
        The module.

    Raises:
        RuntimeError: the weight is normalised already.
        ValueError: no iterations, or the weight is None.
        KeyError: there is no such parameter.

    Source: T. Miyato et al., 2018, arXiv:1802.05957;
    https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.spectral_norm.html
    """
    if hook_of(module, SpectralNorm, name) is not None:
        raise RuntimeError(f"Cannot register two spectral_norm hooks on the same parameter {name}")
    hook = SpectralNorm(name, n_power_iterations, channel_dim(module, dim), eps)
    weight = module._parameters[name]
    if weight is None:
        raise ValueError(f"`SpectralNorm` cannot be applied as parameter `{name}` is None")
    with no_grad():
        height, width = as_matrix(weight, hook.dim).shape
        u = F.normalize(weight.new_empty(height).normal_(0, 1), dim=0, eps=eps)
        v = F.normalize(weight.new_empty(width).normal_(0, 1), dim=0, eps=eps)
    delattr(module, name)
    module.register_parameter(f"{name}_orig", weight)
    setattr(module, name, weight.data)
    module.register_buffer(f"{name}_u", u)
    module.register_buffer(f"{name}_v", v)
    module.register_forward_pre_hook(hook)
    module._register_state_dict_hook(hook.note_version)
    module.register_load_state_dict_pre_hook(hook.load_older_version)
    return module


def remove_spectral_norm(module: Any, name: str = "weight") -> Any:
    """Make a weight an ordinary parameter again; returns the module.

    Raises:
        ValueError: the weight is not normalised.
    """
    number = hook_of(module, SpectralNorm, name)
    if number is None:
        raise ValueError(f"spectral_norm of '{name}' not found in {module}")
    hook = module._call_hooks.pop(number).function
    with no_grad():
        weight = hook.compute_weight(module, False)
    for suffix in ("", "_u", "_v", "_orig"):
        delattr(module, f"{name}{suffix}")
    module.register_parameter(name, Parameter(weight.detach()))
    for key, kept in list(module._state_hooks.items()):
        if getattr(kept.function, "__self__", None) is hook:
            del module._state_hooks[key]
    return module
