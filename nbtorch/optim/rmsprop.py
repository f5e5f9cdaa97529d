"""RMSprop: steps scaled by the root of the mean square."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor
from .elementwise import ElementwiseOptimizer, apply_rule
from .optimizer import Group, Params, check_lr, require_non_negative


class RMSprop(ElementwiseOptimizer):
    """RMSprop: steps scaled by the root of the running mean of the squared gradient.

    For d = g + λ p: v = α v + (1 - α) d²; s = sqrt(v) + eps, centered s = sqrt(v - m²) + eps with m = α m + (1 - α) d;
    p = p - lr · d / s, with momentum b = μ b + d / s and p = p - lr · b.

    Args:
        params: parameters or groups of them, see `Optimizer`.
        lr: the learning rate, a number or a tensor of one element.
        alpha: α, the share of the running means that is kept.
        eps: keeps the denominator away from zero.
        weight_decay: λ, the factor of the L2 penalty.
        momentum: μ, the share of the momentum buffer that is kept.
        centered: scale by the estimated variance of the gradient.
        capturable: accepted for parameters on CUDA devices, changes nothing.
        foreach: accepted for PyTorch's sake, changes nothing.
        maximize: go up instead of down.
        differentiable: record the step, so that it can be differentiated.

    Raises:
        ValueError: a negative `lr`, `alpha`, `eps`, `weight_decay` or `momentum`.

    Source: T. Tieleman, G. Hinton, Lecture 6.5, Neural networks for machine learning, 2012;
    A. Graves, Generating sequences with recurrent neural networks, 2013, arXiv:1308.0850 (centered);
    https://docs.pytorch.org/docs/stable/generated/torch.optim.RMSprop.html

    >>> import nbtorch
    >>> weight = nbtorch.nn.Parameter(nbtorch.ones(2))
    >>> optimizer = RMSprop([weight], lr=0.1)
    >>> (weight * weight).sum().backward()
    >>> optimizer.step()
    >>> weight.detach()
    tensor([5.9605e-08, 5.9605e-08])
    """

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_lr(lr)
        require_non_negative("epsilon value", eps)
        require_non_negative("momentum value", momentum)
        require_non_negative("weight_decay value", weight_decay)
        require_non_negative("alpha value", alpha)
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "alpha": alpha,
            "eps": eps,
            "centered": centered,
            "weight_decay": weight_decay,
            "capturable": capturable,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _formula(self, group: Group) -> tuple[str, tuple[str, ...]]:
        formula, names = "rmsprop", ["square_avg"]
        if group["centered"]:
            formula += "_centered"
        if group["momentum"] > 0:
            formula += "_momentum"
            names.append("momentum_buffer")
        if group["centered"]:
            names.append("grad_avg")
        return formula, tuple(names)

    def _options(self, group: Group, at: float) -> tuple[Any, ...]:
        options = group["lr"], group["eps"], group["alpha"], 1 - group["alpha"]
        return (*options, group["momentum"]) if group["momentum"] > 0 else options


def rmsprop(
    params: list[Tensor],
    grads: list[Tensor],
    square_avgs: list[Tensor],
    grad_avgs: list[Tensor],
    momentum_buffer_list: list[Tensor],
    state_steps: list[Tensor],
    foreach: bool | None = None,
    maximize: bool = False,
    differentiable: bool = False,
    capturable: bool = False,
    has_complex: bool = False,
    *,
    lr: float,
    alpha: float,
    eps: float,
    weight_decay: float,
    momentum: float,
    centered: bool,
) -> None:
    """Take one step of RMSprop on lists of parameters, gradients and running values, which it changes in place.

    Options as in `RMSprop`, whose state holds the lists under the names of their elements.
    """
    states = {
        "square_avg": square_avgs,
        "grad_avg": grad_avgs,
        "momentum_buffer": momentum_buffer_list,
        "step": state_steps,
    }
    apply_rule(
        RMSprop,
        params,
        grads,
        states,
        foreach=foreach,
        maximize=maximize,
        differentiable=differentiable,
        capturable=capturable,
        lr=lr,
        alpha=alpha,
        eps=eps,
        weight_decay=weight_decay,
        momentum=momentum,
        centered=centered,
    )
