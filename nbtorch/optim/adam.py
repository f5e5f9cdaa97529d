"""Adam."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor
from .elementwise import ElementwiseOptimizer, apply_rule
from .optimizer import Group, Params, check_betas, check_fused, check_lr, require_non_negative


class Adam(ElementwiseOptimizer):
    """Adam: steps scaled by running means of the gradient and of its square.

    In step t, for d = g + λ p: m = β1 m + (1 - β1) d; v = β2 v + (1 - β2) d²;
    p = p - lr · (m / (1 - β1^t)) / (sqrt(v / (1 - β2^t)) + eps).

    Args:
        params: parameters or groups of them, see `Optimizer`.
        lr: the learning rate, a number or a tensor of one element.
        betas: β1 and β2, the shares of the running means that are kept.
        eps: keeps the denominator away from zero.
        weight_decay: λ, the factor of the L2 penalty.
        amsgrad: use the greatest v so far (S. Reddi et al., 2018, arXiv:1904.09237).
        foreach: accepted for PyTorch's sake, changes nothing.
        maximize: go up instead of down.
        capturable: accepted for PyTorch's sake, changes nothing.
        differentiable: record the step, so that it can be differentiated.
        fused: accepted for PyTorch's sake, changes nothing.
        decoupled_weight_decay: shrink the parameters by lr · λ instead of adding the penalty to the gradient (AdamW).

    Raises:
        ValueError: a negative `lr`, `eps` or `weight_decay`, or a beta outside of [0, 1).

    Source: D. Kingma, J. Ba, Adam: a method for stochastic optimization, 2014, arXiv:1412.6980;
    https://docs.pytorch.org/docs/stable/generated/torch.optim.Adam.html

    >>> import nbtorch
    >>> weight = nbtorch.nn.Parameter(nbtorch.ones(2))
    >>> optimizer = Adam([weight], lr=0.1)
    >>> (weight * weight).sum().backward()
    >>> optimizer.step()
    >>> weight.detach()
    tensor([0.9000, 0.9000])
    """

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1e-3,
        betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        if isinstance(lr, Tensor) and foreach and not capturable:
            raise ValueError("lr as a Tensor is not supported for capturable=False and foreach=True")
        check_lr(lr)
        require_non_negative("epsilon value", eps)
        check_betas(betas)
        require_non_negative("weight_decay value", weight_decay)
        _check_kinds_of_betas(betas, bool(foreach) and not capturable)
        defaults = {
            "lr": lr,
            "betas": tuple([beta.reshape(()) if isinstance(beta, Tensor) else beta for beta in betas]),
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
            "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)
        check_fused(foreach, fused, differentiable)

    def _formula(self, group: Group) -> tuple[str, tuple[str, ...]]:
        means = "exp_avg", "exp_avg_sq"
        return ("amsgrad", (*means, "max_exp_avg_sq")) if group["amsgrad"] else ("adam", means)

    def _options(self, group: Group, at: float) -> tuple[Any, ...]:
        beta1, beta2 = group["betas"]
        # p - lr/c1 · m / (sqrt(v)/sqrt(c2) + eps), its fraction expanded by sqrt(c2): one operation less
        root = (1 - beta2**at) ** 0.5
        return group["lr"] / (1 - beta1**at) * root, group["eps"] * root, 1 - beta1, beta2, 1 - beta2


def _check_kinds_of_betas(betas: Any, refuse_tensors: bool) -> None:
    for kind in (float, Tensor):
        if isinstance(betas[0], kind) and isinstance(betas[1], kind):
            break
    else:
        raise ValueError(f"betas must be either both floats or both Tensors, got {betas}")
    for index in range(2):
        if isinstance(betas[index], Tensor) and refuse_tensors:
            raise ValueError(f"betas[{index}] as a Tensor is not supported for capturable=False and foreach=True")
        if isinstance(betas[index], Tensor) and betas[index].numel() != 1:
            raise ValueError(f"Tensor betas[{index}] must be 1-element, got shape {tuple(betas[index].shape)}")


def adam(
    params: list[Tensor],
    grads: list[Tensor],
    exp_avgs: list[Tensor],
    exp_avg_sqs: list[Tensor],
    max_exp_avg_sqs: list[Tensor],
    state_steps: list[Tensor],
    foreach: bool | None = None,
    capturable: bool = False,
    differentiable: bool = False,
    fused: bool | None = None,
    grad_scale: Tensor | None = None,
    found_inf: Tensor | None = None,
    has_complex: bool = False,
    decoupled_weight_decay: bool = False,
    *,
    amsgrad: bool,
    beta1: float | Tensor,
    beta2: float | Tensor,
    lr: float | Tensor,
    weight_decay: float,
    eps: float,
    maximize: bool,
) -> None:
    """Take one step of Adam on lists of parameters, gradients and running values, which it changes in place.

    Options as in `Adam`, whose state holds the lists under the names of their elements.
    """
    states = {"exp_avg": exp_avgs, "exp_avg_sq": exp_avg_sqs, "max_exp_avg_sq": max_exp_avg_sqs, "step": state_steps}
    apply_rule(
        Adam,
        params,
        grads,
        states,
        grad_scale=grad_scale,
        found_inf=found_inf,
        foreach=foreach,
        capturable=capturable,
        differentiable=differentiable,
        fused=fused,
        decoupled_weight_decay=decoupled_weight_decay,
        amsgrad=amsgrad,
        betas=(beta1, beta2),
        lr=lr,
        weight_decay=weight_decay,
        eps=eps,
        maximize=maximize,
    )
