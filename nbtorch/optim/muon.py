"""Muon: momentum, made orthogonal."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..device import array_module
from ..tensor import Tensor
from .elementwise import as_number
from .optimizer import Group, Optimizer, Params, check_lr, require_non_negative


class Muon(Optimizer):
    """Muon: steps along the momentum of a matrix, its singular values brought close to one.

    For a gradient g: b = μ b + (1 - μ) g, u = b, with Nesterov's momentum u = (1 - μ) g + μ b;
    p = (1 - lr λ) p - lr · f · N(u), where N is an iteration of Newton and Schulz towards the nearest orthogonal
    matrix, computed in bfloat16 as in PyTorch, and f depends on the shape.

    Args:
        params: matrices or groups of them, see `Optimizer`.
        lr: the learning rate, a number or a tensor of one element.
        weight_decay: λ, by which the parameters shrink.
        momentum: μ, the share of the momentum buffer that is kept.
        nesterov: use Nesterov's momentum.
        ns_coefficients: the polynomial a x + b x³ + c x⁵ of the iteration.
        eps: the least norm that the iteration divides by.
        ns_steps: iterations in each step, below 100.
        adjust_lr_fn: f for (A, B): `"original"` or None for sqrt(max(1, A / B)), `"match_rms_adamw"` for
            0.2 sqrt(max(A, B)).

    Raises:
        ValueError: a negative `lr`, `momentum` or `weight_decay`, an unknown `adjust_lr_fn`, or a parameter that is no
            matrix.

    Source: K. Jordan et al., Muon: an optimizer for hidden layers in neural networks, 2024;
    https://docs.pytorch.org/docs/stable/generated/torch.optim.Muon.html

    >>> import nbtorch
    >>> weight = nbtorch.nn.Parameter(nbtorch.eye(2))
    >>> optimizer = Muon([weight], lr=0.1)
    >>> (weight * weight).sum().backward()
    >>> optimizer.step()
    >>> weight.shape
    torch.Size([2, 2])
    """

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ) -> None:
        check_lr(lr)
        require_non_negative("momentum value", momentum)
        require_non_negative("weight decay value", weight_decay)
        if adjust_lr_fn not in (None, "original", "match_rms_adamw"):
            raise ValueError(
                f"Adjust learning rate function {adjust_lr_fn} is not supported,"
                " expected None, 'original' or 'match_rms_adamw'"
            )
        defaults = {
            "lr": lr,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "nesterov": nesterov,
            "ns_coefficients": ns_coefficients,
            "eps": eps,
            "ns_steps": ns_steps,
            "adjust_lr_fn": adjust_lr_fn,
        }
        super().__init__(params, defaults)
        for group in self.param_groups:
            for param in group["params"]:
                if param.ndim != 2:
                    raise ValueError(
                        f"Muon only supports 2D parameters whereas we found a parameter with size: {param.size()}"
                    )

    def _update_group(self, group: Group) -> None:
        lr, momentum = as_number(group["lr"]), group["momentum"]
        for param in group["params"]:
            if param._grad is None:
                continue
            xp, state, g = param._xp, self.state[param], param._grad._array
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = param._wrap_like(xp.zeros_like(param._array))
            buffer = state["momentum_buffer"]
            b = buffer._array
            b += (g - b) * (1 - momentum)
            update = g + (b - g) * momentum if group["nesterov"] else b
            orthogonal = orthogonalized(update, param.device, group["ns_coefficients"], group["ns_steps"], group["eps"])
            p = param._array
            p *= 1 - lr * group["weight_decay"]
            p -= orthogonal.astype(p.dtype) * (lr * _shape_factor(group["adjust_lr_fn"], p.shape))
            for changed in (param, buffer):
                changed._bump_version()


def _shape_factor(name: str | None, shape: tuple[int, ...]) -> float:
    rows, columns = shape
    return 0.2 * math.sqrt(max(rows, columns)) if name == "match_rms_adamw" else math.sqrt(max(1, rows / columns))


def orthogonalized(matrix: Any, where: Any, coefficients: tuple[float, float, float], steps: int, eps: float) -> Any:
    """Return an array near the orthogonal matrix closest to `matrix`, float32 holding bfloat16 values."""
    if steps >= 100:
        raise ValueError(f"Number of steps must be less than 100 for computational efficiency, got {steps}")
    if len(coefficients) != 3:
        raise ValueError(f"Coefficients must be a tuple of exactly 3 values, got {coefficients}")
    xp = array_module(where)
    a, b, c = [np.float32(coefficient) for coefficient in coefficients]
    tall = matrix.shape[0] > matrix.shape[1]
    x = to_bfloat16(xp, matrix.T if tall else matrix)
    norm = to_bfloat16(xp, xp.sqrt((x * x).sum(dtype=xp.float32)).reshape(1))
    x = to_bfloat16(xp, x / xp.maximum(norm, np.float32(float(eps))))
    for _ in range(steps):
        gram = to_bfloat16(xp, x @ x.T)
        polynomial = to_bfloat16(xp, b * gram + c * (gram @ gram))
        x = to_bfloat16(xp, a * x + polynomial @ x)
    return x.T if tall else x


def to_bfloat16(xp: Any, array: Any) -> Any:
    """Round to the nearest bfloat16, ties to even; float32 holds the values."""
    bits = xp.ascontiguousarray(array, xp.float32).view(xp.uint32)
    rounded = bits + (((bits >> 16) & 1) + 0x7FFF)
    kept = (rounded & xp.uint32(0xFFFF0000)).view(xp.float32)
    return xp.where(xp.isfinite(array), kept, array).astype(xp.float32)
