"""Adadelta: steps in the units of the parameters."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor
from .elementwise import ElementwiseOptimizer, apply_rule
from .optimizer import Group, Params, check_lr, require_non_negative


class Adadelta(ElementwiseOptimizer):
    """Adadelta: steps scaled by the running sizes of gradients and of earlier steps.

    For d = g + λ p: s = ρ s + (1 - ρ) d²; Δ = sqrt((a + eps) / (s + eps)) d; a = ρ a + (1 - ρ) Δ²; p = p - lr · Δ.

    Args:
        params: parameters or groups of them, see `Optimizer`.
        lr: the learning rate, a number or a tensor of one element.
        rho: ρ, the share of the running squares that is kept.
        eps: keeps both sizes away from zero.
        weight_decay: λ, the factor of the L2 penalty.
        foreach: accepted for PyTorch's sake, changes nothing.
        capturable: accepted for parameters on CUDA devices, changes nothing.
        maximize: go up instead of down.
        differentiable: record the step, so that it can be differentiated.

    Raises:
        ValueError: a negative `lr`, `eps` or `weight_decay`, or `rho` outside of [0, 1].

    Source: M. Zeiler, ADADELTA: an adaptive learning rate method, 2012, arXiv:1212.5701;
    https://docs.pytorch.org/docs/stable/generated/torch.optim.Adadelta.html

    >>> import nbtorch
    >>> weight = nbtorch.nn.Parameter(nbtorch.ones(2))
    >>> optimizer = Adadelta([weight], lr=0.1)
    >>> (weight * weight).sum().backward()
    >>> optimizer.step()
    >>> weight.detach()
    tensor([0.9997, 0.9997])
    """

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_lr(lr)
        if not 0.0 <= rho <= 1.0:
            raise ValueError(f"Invalid rho value: {rho}, expected it in [0, 1]")
        require_non_negative("epsilon value", eps)
        require_non_negative("weight_decay value", weight_decay)
        defaults = {
            "lr": lr,
            "rho": rho,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "capturable": capturable,
            "foreach": foreach,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _formula(self, group: Group) -> tuple[str, tuple[str, ...]]:
        return "adadelta", ("square_avg", "acc_delta")

    def _options(self, group: Group, at: float) -> tuple[Any, ...]:
        return group["lr"], group["eps"], group["rho"], 1 - group["rho"]


def adadelta(
    params: list[Tensor],
    grads: list[Tensor],
    square_avgs: list[Tensor],
    acc_deltas: list[Tensor],
    state_steps: list[Tensor],
    capturable: bool = False,
    foreach: bool | None = None,
    differentiable: bool = False,
    has_complex: bool = False,
    *,
    lr: float,
    rho: float,
    eps: float,
    weight_decay: float,
    maximize: bool,
) -> None:
    """Take one step of Adadelta on lists of parameters, gradients and running values, which it changes in place.

    Options as in `Adadelta`, whose state holds the lists under the names of their elements.
    """
    states = {"square_avg": square_avgs, "acc_delta": acc_deltas, "step": state_steps}
    apply_rule(
        Adadelta,
        params,
        grads,
        states,
        capturable=capturable,
        foreach=foreach,
        differentiable=differentiable,
        lr=lr,
        rho=rho,
        eps=eps,
        weight_decay=weight_decay,
        maximize=maximize,
    )
