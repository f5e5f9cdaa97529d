"""Adafactor: Adam's scaling from row and column means alone."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor
from .elementwise import as_number, count_step
from .optimizer import Group, Optimizer, Params, check_lr, require_non_negative


class Adafactor(Optimizer):
    """Adafactor: steps scaled by the mean squared gradient, of which matrices keep only row and column means.

    In step t, with ρ = min(lr, 1 / sqrt(t)), α = max(eps2, RMS(p)) ρ and s = t^beta2_decay: p = (1 - lr λ) p; the
    means r of g² over rows and c over columns move by the share s, and v = r c / max(mean(r), eps1) (for vectors v
    itself moves to g²); u = g / sqrt(max(v, eps1²)); p = p - α u / max(1, RMS(u) / d).

    Args:
        params: parameters or groups of them, see `Optimizer`.
        lr: the upper bound of the relative step, a number or a tensor of one element.
        beta2_decay: how the share of new squares falls with the steps, at most 0.
        eps: eps1, which keeps the denominator away from zero (None: the type's machine epsilon), and eps2, the least
            size that is taken for a parameter's.
        d: the root mean square above which an update is scaled down.
        weight_decay: λ, by which parameters shrink.
        foreach: accepted for PyTorch's sake, changes nothing.
        maximize: go up instead of down.

    Raises:
        ValueError: a negative `lr`, `eps` or `weight_decay`, `beta2_decay` above 0, or `d` below 1.

    Source: N. Shazeer, M. Stern, Adafactor: adaptive learning rates with sublinear memory cost, 2018, arXiv:1804.04235;
    https://docs.pytorch.org/docs/stable/generated/torch.optim.Adafactor.html

    >>> import nbtorch
    >>> weight = nbtorch.nn.Parameter(nbtorch.ones(2))
    >>> optimizer = Adafactor([weight], lr=0.1)
    >>> (weight * weight).sum().backward()
    >>> optimizer.step()
    >>> weight.detach()
    tensor([0.9000, 0.9000])
    """

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        check_lr(lr)
        if not beta2_decay <= 0.0:
            raise ValueError(f"beta2_decay should be <= 0 but is: {beta2_decay}")
        if eps[0] is not None:
            require_non_negative("eps[0] value", eps[0])
        require_non_negative("eps[1] value", eps[1])
        if not d >= 1.0:
            raise ValueError(f"Clipping threshold d should be >= 1 but is: {d}")
        require_non_negative("weight_decay value", weight_decay)
        defaults = {
            "lr": lr,
            "beta2_decay": beta2_decay,
            "eps": eps,
            "d": d,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _update_group(self, group: Group) -> None:
        lr = as_number(group["lr"])
        for param in group["params"]:
            if param._grad is None:
                continue
            xp, state = param._xp, self.state[param]
            step = count_step(state)
            for name, kept in _state_shapes(tuple(param.shape)).items():
                if name not in state:
                    state[name] = param._wrap_like(xp.zeros(kept, param._array.dtype))
            shape = param._array.shape or (1,)
            p, g = param._array.reshape(shape), param._grad._array.reshape(shape)
            floor = float(xp.finfo(p.dtype).eps) if group["eps"][0] is None else group["eps"][0]
            rate = max(group["eps"][1], _root_mean_square(p)) * min(lr, step**-0.5)
            if group["weight_decay"] != 0:
                p *= 1 - lr * group["weight_decay"]
            update = _mean_square(xp, state, g, step ** group["beta2_decay"], floor)
            xp.maximum(update, floor * floor, out=update)
            update **= -0.5
            update *= g
            rate /= max(1.0, _root_mean_square(update) / group["d"])
            update *= -rate if group["maximize"] else rate
            p -= update
            param._bump_version()


def _state_shapes(shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the running means that are kept for a parameter."""
    if len(shape) < 2:
        return {"variance": shape}
    return {"row_var": (*shape[:-1], 1), "col_var": (*shape[:-2], 1, shape[-1])}


def _root_mean_square(a: Any) -> float:
    return float((a * a).sum()) ** 0.5 / a.size**0.5


def _mean_square(xp: Any, state: dict[str, Any], g: Any, share: float, floor: float) -> Any:
    """Move the running means of squares to those of a gradient; return the estimate of the mean square."""
    square = g * g
    if "variance" in state:
        variance = _moved(state["variance"], square, share)
        return variance.reshape(g.shape).copy()
    rows = _moved(state["row_var"], square.mean(-1, keepdims=True), share)
    columns = _moved(state["col_var"], square.mean(-2, keepdims=True), share)
    estimate = rows * columns
    estimate /= xp.maximum(rows.mean(-2, keepdims=True), floor)
    return estimate


def _moved(mean: Tensor, value: Any, share: float) -> Any:
    """Move a running mean by a share of the way to `value`; return its array."""
    array = mean._array
    array += (value.reshape(array.shape) - array) * share
    mean._bump_version()
    return array
