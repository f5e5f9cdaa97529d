"""NAdam: Adam with Nesterov's momentum."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor
from .elementwise import ElementwiseOptimizer, apply_rule, count_step, scalar_state
from .optimizer import Group, Params, check_betas, check_lr, require_non_negative


class NAdam(ElementwiseOptimizer):
    """NAdam: Adam with Nesterov's momentum.

    In step t, for d = g + λ p, m and v as in Adam, μ_t = β1 (1 - 0.96^(t ψ) / 2) and M_t = μ_1 · … · μ_t: p = p - lr ·
    ((1 - μ_t) / (1 - M_t) d + μ_(t+1) / (1 - M_(t+1)) m) / (sqrt(v / (1 - β2^t)) + eps).

    Args:
        params: parameters or groups of them, see `Optimizer`.
        lr: the learning rate, a number or a tensor of one element.
        betas: β1 and β2, the shares of the running means that are kept.
        eps: keeps the denominator away from zero.
        weight_decay: λ, the factor of the L2 penalty.
        momentum_decay: ψ, which sets how the momentum rises to β1.
        decoupled_weight_decay: shrink the parameters by lr · λ instead of adding the penalty to the gradient.
        foreach: accepted for PyTorch's sake, changes nothing.
        maximize: go up instead of down.
        capturable: accepted for parameters on CUDA devices, changes nothing.
        differentiable: record the step, so that it can be differentiated.

    Raises:
        ValueError: a negative `lr`, `eps`, `weight_decay` or `momentum_decay`, or a beta outside of [0, 1).

    Source: T. Dozat, Incorporating Nesterov momentum into Adam, 2016;
    https://docs.pytorch.org/docs/stable/generated/torch.optim.NAdam.html

    >>> import nbtorch
    >>> weight = nbtorch.nn.Parameter(nbtorch.ones(2))
    >>> optimizer = NAdam([weight], lr=0.1)
    >>> (weight * weight).sum().backward()
    >>> optimizer.step()
    >>> weight.detach()
    tensor([0.8944, 0.8944])
    """

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
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
        require_non_negative("momentum_decay value", momentum_decay)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _advance(self, group: Group, state: dict[str, Any]) -> tuple[float, float, float]:
        """Return the step and the factors of gradient and mean: (1 - μ_t) / (1 - M_t), μ_(t+1) / (1 - M_(t+1))."""
        step = count_step(state)
        if "mu_product" not in state:
            state["mu_product"] = scalar_state(1.0)
        now, after = [group["betas"][0] * (1.0 - 0.5 * 0.96 ** (t * group["momentum_decay"])) for t in (step, step + 1)]
        product = state["mu_product"]._array
        product *= now
        state["mu_product"]._bump_version()
        product = product.item()
        return step, (1.0 - now) / (1.0 - product), after / (1.0 - product * after)

    def _formula(self, group: Group) -> tuple[str, tuple[str, ...]]:
        return "nadam", ("exp_avg", "exp_avg_sq")

    def _options(self, group: Group, at: tuple[float, float, float]) -> tuple[Any, ...]:
        step, of_gradient, of_mean = at
        beta1, beta2 = group["betas"]
        root = (1 - beta2**step) ** 0.5  # the fraction is expanded by it, as Adam's
        size = group["lr"] * root
        return size * of_gradient, size * of_mean, group["eps"] * root, 1 - beta1, beta2, 1 - beta2


def nadam(
    params: list[Tensor],
    grads: list[Tensor],
    exp_avgs: list[Tensor],
    exp_avg_sqs: list[Tensor],
    mu_products: list[Tensor],
    state_steps: list[Tensor],
    decoupled_weight_decay: bool = False,
    foreach: bool | None = None,
    capturable: bool = False,
    differentiable: bool = False,
    has_complex: bool = False,
    maximize: bool = False,
    *,
    beta1: float,
    beta2: float,
    lr: float,
    weight_decay: float,
    momentum_decay: float,
    eps: float,
) -> None:
    """Take one step of NAdam on lists of parameters, gradients and running values, which it changes in place.

    Options as in `NAdam`, whose state holds the lists under the names of their elements.
    """
    states = {"exp_avg": exp_avgs, "exp_avg_sq": exp_avg_sqs, "mu_product": mu_products, "step": state_steps}
    apply_rule(
        NAdam,
        params,
        grads,
        states,
        decoupled_weight_decay=decoupled_weight_decay,
        foreach=foreach,
        capturable=capturable,
        differentiable=differentiable,
        maximize=maximize,
        betas=(beta1, beta2),
        lr=lr,
        weight_decay=weight_decay,
        momentum_decay=momentum_decay,
        eps=eps,
    )
