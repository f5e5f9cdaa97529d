"""Adam and its variants."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tensor import Tensor
from .optimizer import (
    Group,
    Optimizer,
    Params,
    blocks,
    check_variants,
    require_non_negative,
    require_one_element,
)
from .sgd import direction


class Adam(Optimizer):
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
        require_one_element(lr)
        if isinstance(lr, Tensor) and foreach and not capturable:
            raise ValueError("lr as a Tensor is not supported for capturable=False and foreach=True")
        require_non_negative("learning rate", lr)
        require_non_negative("epsilon value", eps)
        _check_betas(betas)
        require_non_negative("weight_decay value", weight_decay)
        check_variants(foreach, fused, differentiable)
        defaults = {
            "lr": lr,
            "betas": betas,
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

    def _update_group(self, group: Group) -> None:
        lr, decay, eps = float(group["lr"]), float(group["weight_decay"]), float(group["eps"])
        beta1, beta2 = (float(beta) for beta in group["betas"])
        coupled, shrink = (0.0, 1 - lr * decay) if group["decoupled_weight_decay"] else (decay, 1.0)
        for param in group["params"]:
            gradient = param._grad
            if gradient is None:
                continue
            xp = param._xp
            step, means = self._state_of(param, group["amsgrad"])
            # p - lr/c1 · m / (sqrt(v)/sqrt(c2) + eps), its fraction expanded by sqrt(c2): one pass less
            root = (1 - beta2**step) ** 0.5
            rate = lr / (1 - beta1**step) * root
            for p, g, m, v, *greatest in blocks((param._array, gradient._array, *means), param.is_cpu):
                if shrink != 1:
                    xp.multiply(p, shrink, p)
                d = direction(xp, p, g, coupled, group["maximize"])
                scratch = xp.subtract(d, m)
                xp.add(m, xp.multiply(scratch, 1 - beta1, scratch), m)
                xp.multiply(d, d, scratch)
                xp.multiply(v, beta2, v)
                xp.add(v, xp.multiply(scratch, 1 - beta2, scratch), v)
                largest = xp.maximum(greatest[0], v, out=greatest[0]) if greatest else v
                xp.add(xp.sqrt(largest, scratch), eps * root, scratch)
                xp.divide(m, scratch, scratch)
                xp.subtract(p, xp.multiply(scratch, rate, scratch), p)
            param._bump_version()

    def _state_of(self, param: Tensor, amsgrad: bool) -> tuple[float, list[Any]]:
        """Count a step; return its number and the arrays of m, v and, with `amsgrad`, of the greatest v."""
        state = self.state[param]
        if not state:
            state["step"] = Tensor._wrap(np.zeros((), np.float32))
        names = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq") if amsgrad else ("exp_avg", "exp_avg_sq")
        arrays = []
        for name in names:
            mean = state.get(name)
            if mean is None:
                mean = state[name] = param._wrap_like(param._xp.zeros_like(param._array))
            mean._bump_version()
            arrays.append(mean._array)
        step = state["step"]
        step._array += 1
        step._bump_version()
        return step.item(), arrays

    def _update_group_with_graph(self, group: Group) -> None:
        (beta1, beta2), lr, decay = group["betas"], group["lr"], group["weight_decay"]
        for param in group["params"]:
            if param.grad is None:
                continue
            step, _ = self._state_of(param, group["amsgrad"])
            state = self.state[param]
            d = -param.grad if group["maximize"] else param.grad
            if decay != 0 and group["decoupled_weight_decay"]:
                param.mul_(1 - lr * decay)
            elif decay != 0:
                d = d + decay * param
            mean = state["exp_avg"] = state["exp_avg"] + (1 - beta1) * (d - state["exp_avg"])
            square = state["exp_avg_sq"] = beta2 * state["exp_avg_sq"] + (1 - beta2) * d * d
            if group["amsgrad"]:
                square = state["max_exp_avg_sq"] = state["max_exp_avg_sq"].maximum(square)
            denominator = (square / (1 - beta2**step)).sqrt() + group["eps"]
            param.sub_(lr / (1 - beta1**step) * mean / denominator)


class AdamW(Adam):
    """Adam with decoupled weight decay: parameters shrink by lr · weight_decay in each step.

    Arguments as in `Adam`, with another default of `weight_decay`.

    Source: I. Loshchilov, F. Hutter, Decoupled weight decay regularization, 2017, arXiv:1711.05101;
    https://docs.pytorch.org/docs/stable/generated/torch.optim.AdamW.html

    >>> import nbtorch
    >>> AdamW([nbtorch.nn.Parameter(nbtorch.ones(2))]).defaults["weight_decay"]
    0.01
    """

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1e-3,
        betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            foreach=foreach,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=True,
        )


def _check_betas(betas: Any) -> None:
    for index in range(2):
        if not 0.0 <= betas[index] < 1.0:
            raise ValueError(f"Invalid beta parameter at index {index}: {betas[index]}")
    if isinstance(betas[0], Tensor) != isinstance(betas[1], Tensor):
        raise ValueError("betas must be either both floats or both Tensors")
