"""ASGD: averaged stochastic gradient descent."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor
from .elementwise import ElementwiseOptimizer, apply_rule, count_step, scalar_state, set_scalar
from .optimizer import Group, Params, check_lr, require_non_negative


class ASGD(ElementwiseOptimizer):
    """Averaged stochastic gradient descent: steps with a falling rate, and beside them the mean of the parameters.

    In step t, for d = g + λ p: p = (1 - l η) p - η d; the mean, in `state[p]["ax"]`, moves to p by the share μ; then η
    = lr / (1 + l · lr · t)^α and μ = 1 / max(1, t - t0).

    Args:
        params: parameters or groups of them, see `Optimizer`.
        lr: the learning rate, a number or a tensor of one element.
        lambd: l, the decay.
        alpha: α, the power by which the rate falls.
        t0: the step after which averaging starts.
        weight_decay: λ, the factor of the L2 penalty.
        foreach: accepted for PyTorch's sake, changes nothing.
        maximize: go up instead of down.
        differentiable: record the step, so that it can be differentiated.
        capturable: accepted for parameters on CUDA devices, changes nothing.

    Raises:
        ValueError: a negative `lr` or `weight_decay`.

    Source: B. Polyak, A. Juditsky, Acceleration of stochastic approximation by averaging, 1992;
    https://docs.pytorch.org/docs/stable/generated/torch.optim.ASGD.html

    >>> import nbtorch
    >>> weight = nbtorch.nn.Parameter(nbtorch.ones(2))
    >>> optimizer = ASGD([weight], lr=0.1)
    >>> (weight * weight).sum().backward()
    >>> optimizer.step()
    >>> weight.detach()
    tensor([0.8000, 0.8000])
    """

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        check_lr(lr)
        require_non_negative("weight_decay value", weight_decay)
        defaults = {
            "lr": lr,
            "lambd": lambd,
            "alpha": alpha,
            "t0": t0,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def _advance(self, group: Group, state: dict[str, Any]) -> tuple[float, float]:
        """Return η and μ of this step, and set those of the next."""
        step, lr = count_step(state), float(group["lr"])
        if "eta" not in state:
            state["eta"], state["mu"] = scalar_state(lr), scalar_state(1.0)
        rates = state["eta"].item(), state["mu"].item()
        set_scalar(state, "eta", lr / (1 + group["lambd"] * lr * step) ** group["alpha"])
        set_scalar(state, "mu", 1 / max(1, step - group["t0"]))
        return rates

    def _formula(self, group: Group) -> tuple[str, tuple[str, ...]]:
        return "asgd", ("ax",)

    def _options(self, group: Group, at: tuple[float, float]) -> tuple[Any, ...]:
        rate, share = at
        return 1 - group["lambd"] * rate, rate, share


def asgd(
    params: list[Tensor],
    grads: list[Tensor],
    axs: list[Tensor],
    mus: list[Tensor],
    etas: list[Tensor],
    state_steps: list[Tensor],
    foreach: bool | None = None,
    maximize: bool = False,
    differentiable: bool = False,
    capturable: bool = False,
    has_complex: bool = False,
    *,
    lambd: float,
    lr: float,
    t0: float,
    alpha: float,
    weight_decay: float,
) -> None:
    """Take one step of ASGD on lists of parameters, gradients and running values, which it changes in place.

    Options as in `ASGD`, whose state holds the lists under the names of their elements.
    """
    states = {"ax": axs, "mu": mus, "eta": etas, "step": state_steps}
    apply_rule(
        ASGD,
        params,
        grads,
        states,
        foreach=foreach,
        maximize=maximize,
        differentiable=differentiable,
        capturable=capturable,
        lambd=lambd,
        lr=lr,
        t0=t0,
        alpha=alpha,
        weight_decay=weight_decay,
    )
