"""Adagrad: steps scaled by the sum of all squared gradients."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor
from .elementwise import ElementwiseOptimizer, apply_rule, scalar_state
from .optimizer import Group, Params, check_fused, check_lr, require_non_negative


class Adagrad(ElementwiseOptimizer):
    """Adagrad: steps scaled by the square root of the sum of all squared gradients.

    In step t, for d = g + λ p: s = s + d²; p = p - lr / (1 + (t - 1) η) · d / (sqrt(s) + eps).

    Args:
        params: parameters or groups of them, see `Optimizer`.
        lr: the learning rate, a number or a tensor of one element.
        lr_decay: η, by which the learning rate falls.
        weight_decay: λ, the factor of the L2 penalty.
        initial_accumulator_value: what the sums s start from.
        eps: keeps the denominator away from zero.
        foreach: accepted for PyTorch's sake, changes nothing.
        maximize: go up instead of down.
        differentiable: record the step, so that it can be differentiated.
        fused: accepted for PyTorch's sake, changes nothing.

    Raises:
        ValueError: a negative option.

    Source: J. Duchi, E. Hazan, Y. Singer, Adaptive subgradient methods for online learning, 2011;
    https://docs.pytorch.org/docs/stable/generated/torch.optim.Adagrad.html

    >>> import nbtorch
    >>> weight = nbtorch.nn.Parameter(nbtorch.ones(2))
    >>> optimizer = Adagrad([weight], lr=0.1)
    >>> (weight * weight).sum().backward()
    >>> optimizer.step()
    >>> weight.detach()
    tensor([0.9000, 0.9000])
    """

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        check_lr(lr)
        require_non_negative("lr_decay value", lr_decay)
        require_non_negative("weight_decay value", weight_decay)
        require_non_negative("initial_accumulator_value value", initial_accumulator_value)
        require_non_negative("epsilon value", eps)
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "eps": eps,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)
        check_fused(foreach, fused, differentiable)
        for group in self.param_groups:
            for param in group["params"]:
                self.state[param]["step"] = scalar_state(0.0)
                self._running_values(param, group, ("sum",))

    def share_memory(self) -> None:
        """Move the sums of squares to memory that processes forked later share."""
        for group in self.param_groups:
            for param in group["params"]:
                self.state[param]["sum"].share_memory_()

    def _initial(self, name: str, group: Group) -> float:
        return self.defaults["initial_accumulator_value"]

    def _formula(self, group: Group) -> tuple[str, tuple[str, ...]]:
        return "adagrad", ("sum",)

    def _options(self, group: Group, at: float) -> tuple[Any, ...]:
        return group["lr"] / (1 + (at - 1) * group["lr_decay"]), group["eps"]


def adagrad(
    params: list[Tensor],
    grads: list[Tensor],
    state_sums: list[Tensor],
    state_steps: list[Tensor],
    fused: bool | None = None,
    grad_scale: Tensor | None = None,
    found_inf: Tensor | None = None,
    has_sparse_grad: bool = False,
    foreach: bool | None = None,
    differentiable: bool = False,
    has_complex: bool = False,
    *,
    lr: float,
    weight_decay: float,
    lr_decay: float,
    eps: float,
    maximize: bool,
) -> None:
    """Take one step of Adagrad on lists of parameters, gradients and running values, which it changes in place.

    Options as in `Adagrad`, whose state holds the lists under the names of their elements.
    """
    states = {"sum": state_sums, "step": state_steps}
    apply_rule(
        Adagrad,
        params,
        grads,
        states,
        grad_scale=grad_scale,
        found_inf=found_inf,
        fused=fused,
        foreach=foreach,
        differentiable=differentiable,
        lr=lr,
        weight_decay=weight_decay,
        lr_decay=lr_decay,
        eps=eps,
        maximize=maximize,
    )
