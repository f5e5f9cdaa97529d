"""Rprop: steps by the signs of the gradient."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor
from .elementwise import ElementwiseOptimizer, apply_rule
from .optimizer import Group, Params, check_lr


class Rprop(ElementwiseOptimizer):
    """Resilient backpropagation: a step size for each element, changed by the signs of its gradients alone.

    With the gradient h of the step before: s = clip(s · η, s_min, s_max), where η is η+ for g h > 0, η- for g h < 0 and
    1 else; p = p - sign(g) · s, but where g h < 0 the step is left out and the next one starts from g = 0.

    Args:
        params: parameters or groups of them, see `Optimizer`.
        lr: the first step size, a number or a tensor of one element.
        etas: η- and η+, the factors by which step sizes fall and rise.
        step_sizes: s_min and s_max, the smallest and largest step.
        capturable: accepted for parameters on CUDA devices, changes nothing.
        foreach: accepted for PyTorch's sake, changes nothing.
        maximize: go up instead of down.
        differentiable: record the step, so that it can be differentiated.

    Raises:
        ValueError: a negative `lr`, or `etas` not as 0 < η- < 1 < η+.

    Source: M. Riedmiller, H. Braun, A direct adaptive method for faster backpropagation learning, 1993;
    https://docs.pytorch.org/docs/stable/generated/torch.optim.Rprop.html

    >>> import nbtorch
    >>> weight = nbtorch.nn.Parameter(nbtorch.ones(2))
    >>> optimizer = Rprop([weight], lr=0.1)
    >>> (weight * weight).sum().backward()
    >>> optimizer.step()
    >>> weight.detach()
    tensor([0.9000, 0.9000])
    """

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_lr(lr)
        if not 0.0 < etas[0] < 1.0 < etas[1]:
            raise ValueError(f"Invalid eta values: {etas[0]}, {etas[1]}, expected 0 < first < 1 < second")
        defaults = {
            "lr": lr,
            "etas": etas,
            "step_sizes": step_sizes,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def _initial(self, name: str, group: Group) -> float:
        return float(group["lr"]) if name == "step_size" else 0.0

    def _formula(self, group: Group) -> tuple[str, tuple[str, ...]]:
        return "rprop", ("prev", "step_size")

    def _options(self, group: Group, at: float) -> tuple[Any, ...]:
        return *group["etas"], *group["step_sizes"]


def rprop(
    params: list[Tensor],
    grads: list[Tensor],
    prevs: list[Tensor],
    step_sizes: list[Tensor],
    state_steps: list[Tensor],
    foreach: bool | None = None,
    capturable: bool = False,
    maximize: bool = False,
    differentiable: bool = False,
    has_complex: bool = False,
    *,
    step_size_min: float,
    step_size_max: float,
    etaminus: float,
    etaplus: float,
) -> None:
    """Take one step of Rprop on lists of parameters, gradients and running values, which it changes in place.

    Options as in `Rprop`, whose state holds the lists under the names of their elements.
    """
    states = {"prev": prevs, "step_size": step_sizes, "step": state_steps}
    apply_rule(
        Rprop,
        params,
        grads,
        states,
        foreach=foreach,
        capturable=capturable,
        maximize=maximize,
        differentiable=differentiable,
        step_sizes=(step_size_min, step_size_max),
        etas=(etaminus, etaplus),
    )
