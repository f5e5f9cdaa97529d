"""Stochastic gradient descent."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor
from .elementwise import ElementwiseOptimizer, apply_rule
from .optimizer import Group, Params, check_fused


class SGD(ElementwiseOptimizer):
    """Stochastic gradient descent, with momentum if wanted.

    For a gradient g, with weight decay λ, momentum μ and dampening τ: d = g + λ p; b = μ b + (1 - τ) d (b = d in the
    first step); p = p - lr · b, with Nesterov's momentum p = p - lr · (d + μ b), without momentum p = p - lr · d.

    Args:
        params: parameters or groups of them, see `Optimizer`.
        lr: the learning rate, a number or a tensor of one element.
        momentum: the share of the momentum buffer that is kept.
        dampening: the share of the gradient that is kept out of the momentum buffer.
        weight_decay: the factor of the L2 penalty.
        nesterov: use Nesterov's momentum.
        maximize: go up instead of down.
        foreach: accepted for PyTorch's sake, changes nothing.
        differentiable: record the step, so that it can be differentiated.
        fused: accepted for PyTorch's sake, changes nothing.

    Raises:
        ValueError: a negative `lr`, `momentum` or `weight_decay`; `nesterov` without momentum or with dampening.

    Source: I. Sutskever et al., On the importance of initialization and momentum in deep learning, 2013;
    https://docs.pytorch.org/docs/stable/generated/torch.optim.SGD.html

    >>> import nbtorch
    >>> weight = nbtorch.nn.Parameter(nbtorch.ones(2))
    >>> optimizer = SGD([weight], lr=0.1)
    >>> (weight * weight).sum().backward()
    >>> optimizer.step()
    >>> weight.detach()
    tensor([0.8000, 0.8000])
    """

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        if isinstance(lr, Tensor) and lr.numel() != 1:
            raise ValueError(f"Tensor lr must be 1-element, got shape {tuple(lr.shape)}")
        for name, value in {
            "learning rate": lr,
            "momentum value": momentum,
            "weight_decay value": weight_decay,
        }.items():
            if value < 0:
                raise ValueError(f"Invalid {name}: {value}, expected a number that is not negative")
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError(
                "Nesterov momentum requires a momentum and zero dampening,"
                f" got momentum={momentum} and dampening={dampening}"
            )
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "foreach": foreach,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)
        check_fused(foreach, fused, differentiable)

    def _check_variant(self, group: Group, param: Tensor) -> None:
        """Refuse nothing: PyTorch records SGD's steps in every implementation."""

    def _advance(self, group: Group, state: dict[str, Any]) -> bool:
        """Return whether the momentum buffer is still to be filled."""
        return state.get("momentum_buffer") is None

    def _formula(self, group: Group) -> tuple[str, tuple[str, ...]]:
        return ("momentum", ("momentum_buffer",)) if group["momentum"] != 0 else ("sgd", ())

    def _options(self, group: Group, at: bool) -> tuple[Any, ...]:
        lr, momentum = group["lr"], group["momentum"]
        if momentum == 0:
            return (lr,)
        shares = (1.0, 1.0) if at else (momentum, 1 - group["dampening"])
        return lr, *shares, momentum if group["nesterov"] else 0.0


def sgd(
    params: list[Tensor],
    d_p_list: list[Tensor],
    momentum_buffer_list: list[Tensor | None],
    has_sparse_grad: bool = False,
    foreach: bool | None = None,
    fused: bool | None = None,
    grad_scale: Tensor | None = None,
    found_inf: Tensor | None = None,
    *,
    weight_decay: float,
    momentum: float,
    lr: float,
    dampening: float,
    nesterov: bool,
    maximize: bool,
) -> None:
    """Take one step of SGD on lists of parameters, gradients and running values, which it changes in place.

    Options as in `SGD`, whose state holds the lists under the names of their elements.
    """
    states = {"momentum_buffer": momentum_buffer_list}
    apply_rule(
        SGD,
        params,
        d_p_list,
        states,
        grad_scale=grad_scale,
        found_inf=found_inf,
        foreach=foreach,
        fused=fused,
        weight_decay=weight_decay,
        momentum=momentum,
        lr=lr,
        dampening=dampening,
        nesterov=nesterov,
        maximize=maximize,
    )
