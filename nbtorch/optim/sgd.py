"""Stochastic gradient descent."""

from __future__ import annotations

from typing import Any

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


class SGD(Optimizer):
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
        require_one_element(lr)
        require_non_negative("learning rate", lr)
        require_non_negative("momentum value", momentum)
        require_non_negative("weight_decay value", weight_decay)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError(
                "Nesterov momentum requires a momentum and zero dampening,"
                f" got momentum={momentum} and dampening={dampening}"
            )
        check_variants(foreach, fused, differentiable)
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

    def _update_group(self, group: Group) -> None:
        lr, momentum, dampening = float(group["lr"]), float(group["momentum"]), float(group["dampening"])
        decay, nesterov, maximize = float(group["weight_decay"]), group["nesterov"], group["maximize"]
        for param in group["params"]:
            gradient = param._grad
            if gradient is None:
                continue
            xp = param._xp
            if not momentum:
                for p, g in blocks((param._array, gradient._array), param.is_cpu):
                    descend(xp, p, direction(xp, p, g, decay, maximize), lr)
            else:
                buffer, first = self._momentum_buffer(param)
                for p, g, b in blocks((param._array, gradient._array, buffer), param.is_cpu):
                    d = direction(xp, p, g, decay, maximize)
                    if first:
                        b[...] = d
                    else:
                        xp.multiply(b, momentum, b)
                        xp.add(b, d if dampening == 0 else xp.multiply(d, 1 - dampening), b)
                    descend(xp, p, xp.add(d, xp.multiply(b, momentum)) if nesterov else b, lr)
            param._bump_version()

    def _momentum_buffer(self, param: Tensor) -> tuple[Any, bool]:
        """Return the array of the momentum buffer, and whether it is still to be filled."""
        state = self.state[param]
        buffer = state.get("momentum_buffer")
        if buffer is not None:
            buffer._bump_version()
            return buffer._array, False
        state["momentum_buffer"] = buffer = param._wrap_like(param._xp.empty_like(param._array))
        return buffer._array, True

    def _update_group_with_graph(self, group: Group) -> None:
        momentum = group["momentum"]
        for param in group["params"]:
            if param.grad is None:
                continue
            d = -param.grad if group["maximize"] else param.grad
            if group["weight_decay"] != 0:
                d = d + group["weight_decay"] * param
            if momentum != 0:
                buffer = self.state[param].get("momentum_buffer")
                buffer = d.clone() if buffer is None else momentum * buffer + (1 - group["dampening"]) * d
                self.state[param]["momentum_buffer"] = buffer
                d = d + momentum * buffer if group["nesterov"] else buffer
            param.sub_(group["lr"] * d)


def direction(xp: Any, p: Any, g: Any, decay: float, maximize: bool) -> Any:
    """Return the array ±g + decay · p; the gradient itself where that is all."""
    if decay == 0:
        return xp.negative(g) if maximize else g
    d = xp.multiply(p, decay)
    return xp.subtract(d, g, d) if maximize else xp.add(d, g, d)


def descend(xp: Any, p: Any, d: Any, lr: float) -> None:
    """p = p - lr · d, in place."""
    xp.subtract(p, xp.multiply(d, lr), p)
