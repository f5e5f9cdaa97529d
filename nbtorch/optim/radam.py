"""RAdam: Adam with rectified variance."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor
from .elementwise import ElementwiseOptimizer, apply_rule
from .optimizer import Group, Params, check_betas, check_lr, require_non_negative


class RAdam(ElementwiseOptimizer):
    """RAdam: Adam that takes plain steps until the variance of its scaling is tractable, then rectified ones.

    In step t, for d = g + λ p, m and v as in Adam, ρ∞ = 2 / (1 - β2) - 1 and ρ = ρ∞ - 2 t β2^t / (1 - β2^t): p = p - lr
    · m / (1 - β1^t) · r, where r is 1 while ρ ≤ 5, then sqrt((ρ - 4)(ρ - 2) ρ∞ / ((ρ∞ - 4)(ρ∞ - 2) ρ)) · sqrt(1 - β2^t)
    / (sqrt(v) + eps).

    Args:
        params: parameters or groups of them, see `Optimizer`.
        lr: the learning rate, a number or a tensor of one element.
        betas: β1 and β2, the shares of the running means that are kept.
        eps: keeps the denominator away from zero.
        weight_decay: λ, the factor of the L2 penalty.
        decoupled_weight_decay: shrink the parameters by lr · λ instead of adding the penalty to the gradient.
        foreach: accepted for PyTorch's sake, changes nothing.
        maximize: go up instead of down.
        capturable: accepted for parameters on CUDA devices, changes nothing.
        differentiable: record the step, so that it can be differentiated.

    Raises:
        ValueError: a negative `lr`, `eps` or `weight_decay`, or a beta outside of [0, 1).

    Source: L. Liu et al., On the variance of the adaptive learning rate and beyond, 2019, arXiv:1908.03265;
    https://docs.pytorch.org/docs/stable/generated/torch.optim.RAdam.html

    >>> import nbtorch
    >>> weight = nbtorch.nn.Parameter(nbtorch.ones(2))
    >>> optimizer = RAdam([weight], lr=0.1)
    >>> (weight * weight).sum().backward()
    >>> optimizer.step()
    >>> weight.detach()
    tensor([0.8000, 0.8000])
    """

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
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
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "decoupled_weight_decay": decoupled_weight_decay,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _formula(self, group: Group) -> tuple[str, tuple[str, ...]]:
        return "radam", ("exp_avg", "exp_avg_sq")

    def _options(self, group: Group, at: float) -> tuple[Any, ...]:
        beta1, beta2 = group["betas"]
        size, correction = group["lr"] / (1 - beta1**at), 1 - beta2**at
        limit = 2 / (1 - beta2) - 1
        length = limit - 2 * at * beta2**at / correction
        rectified = length > 5.0
        if rectified:
            share = (length - 4) * (length - 2) * limit / ((limit - 4) * (limit - 2) * length)
            size = size * (share * correction) ** 0.5
        return size, group["eps"], float(rectified), 1 - beta1, beta2, 1 - beta2


def radam(
    params: list[Tensor],
    grads: list[Tensor],
    exp_avgs: list[Tensor],
    exp_avg_sqs: list[Tensor],
    state_steps: list[Tensor],
    decoupled_weight_decay: bool = False,
    foreach: bool | None = None,
    differentiable: bool = False,
    capturable: bool = False,
    has_complex: bool = False,
    maximize: bool = False,
    *,
    beta1: float,
    beta2: float,
    lr: float,
    weight_decay: float,
    eps: float,
) -> None:
    """Take one step of RAdam on lists of parameters, gradients and running values, which it changes in place.

    Options as in `RAdam`, whose state holds the lists under the names of their elements.
    """
    states = {"exp_avg": exp_avgs, "exp_avg_sq": exp_avg_sqs, "step": state_steps}
    apply_rule(
        RAdam,
        params,
        grads,
        states,
        decoupled_weight_decay=decoupled_weight_decay,
        foreach=foreach,
        differentiable=differentiable,
        capturable=capturable,
        maximize=maximize,
        betas=(beta1, beta2),
        lr=lr,
        weight_decay=weight_decay,
        eps=eps,
    )
