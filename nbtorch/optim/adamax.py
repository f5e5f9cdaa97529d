"""Adamax: Adam with the largest gradient in the place of the mean square."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor
from .elementwise import ElementwiseOptimizer, apply_rule
from .optimizer import Group, Params, check_betas, check_lr, require_non_negative


class Adamax(ElementwiseOptimizer):
    """Adamax: Adam whose steps are scaled by the decaying maximum of the gradient.

    In step t, for d = g + λ p: m = β1 m + (1 - β1) d; u = max(β2 u, |d| + eps); p = p - lr / (1 - β1^t) · m / u.

    Args:
        params: parameters or groups of them, see `Optimizer`.
        lr: the learning rate, a number or a tensor of one element.
        betas: β1 and β2, the shares of the running mean and of the maximum that are kept.
        eps: keeps the denominator away from zero.
        weight_decay: λ, the factor of the L2 penalty.
        foreach: accepted for PyTorch's sake, changes nothing.
        maximize: go up instead of down.
        differentiable: record the step, so that it can be differentiated.
        capturable: accepted for parameters on CUDA devices, changes nothing.

    Raises:
        ValueError: a negative `lr`, `eps` or `weight_decay`, or a beta outside of [0, 1).

    Source: D. Kingma, J. Ba, Adam: a method for stochastic optimization, 2014, arXiv:1412.6980;
    https://docs.pytorch.org/docs/stable/generated/torch.optim.Adamax.html

    >>> import nbtorch
    >>> weight = nbtorch.nn.Parameter(nbtorch.ones(2))
    >>> optimizer = Adamax([weight], lr=0.1)
    >>> (weight * weight).sum().backward()
    >>> optimizer.step()
    >>> weight.detach()
    tensor([0.9000, 0.9000])
    """

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        check_lr(lr)
        require_non_negative("epsilon value", eps)
        check_betas(betas)
        require_non_negative("weight_decay value", weight_decay)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def _formula(self, group: Group) -> tuple[str, tuple[str, ...]]:
        return "adamax", ("exp_avg", "exp_inf")

    def _options(self, group: Group, at: float) -> tuple[Any, ...]:
        beta1, beta2 = group["betas"]
        return group["lr"] / (1 - beta1**at), group["eps"], 1 - beta1, beta2


def adamax(
    params: list[Tensor],
    grads: list[Tensor],
    exp_avgs: list[Tensor],
    exp_infs: list[Tensor],
    state_steps: list[Tensor],
    foreach: bool | None = None,
    maximize: bool = False,
    differentiable: bool = False,
    capturable: bool = False,
    has_complex: bool = False,
    *,
    eps: float,
    beta1: float,
    beta2: float,
    lr: float,
    weight_decay: float,
) -> None:
    """Take one step of Adamax on lists of parameters, gradients and running values, which it changes in place.

    Options as in `Adamax`, whose state holds the lists under the names of their elements.
    """
    states = {"exp_avg": exp_avgs, "exp_inf": exp_infs, "step": state_steps}
    apply_rule(
        Adamax,
        params,
        grads,
        states,
        foreach=foreach,
        maximize=maximize,
        differentiable=differentiable,
        capturable=capturable,
        eps=eps,
        betas=(beta1, beta2),
        lr=lr,
        weight_decay=weight_decay,
    )
