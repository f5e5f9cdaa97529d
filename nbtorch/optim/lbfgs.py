"""L-BFGS, with a line search for the strong Wolfe conditions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ..autograd.grad_mode import enable_grad, no_grad
from ..ops.shape import cat
from ..tensor import Tensor
from .elementwise import as_number
from .optimizer import Optimizer, Params, check_lr


class LBFGS(Optimizer):
    """The quasi-Newton method of Broyden, Fletcher, Goldfarb and Shanno with limited memory.

    A step is up to `max_iter` iterations, each along the direction that the last `history_size` changes of parameters
    and gradients suggest. There is one group of parameters, and `step` needs a closure.

    Args:
        params: parameters, see `Optimizer`.
        lr: the step length, or the first one that the line search tries; a number or a tensor of one element.
        max_iter: iterations in a step.
        max_eval: calls of the closure in a step (default: 1.25 times `max_iter`).
        tolerance_grad: ends a step where no element of the gradient is larger.
        tolerance_change: ends a step where parameters or loss change less.
        history_size: changes that are remembered.
        line_search_fn: `"strong_wolfe"`, or None for fixed steps.

    Raises:
        ValueError: a negative `lr`, or several groups.

    Source: D. Liu, J. Nocedal, On the limited memory BFGS method for large scale optimization, 1989; the line search
    follows J. Nocedal, S. Wright, Numerical optimization, 2006, algorithms 3.5 and 3.6;
    https://docs.pytorch.org/docs/stable/generated/torch.optim.LBFGS.html

    >>> import nbtorch
    >>> weight = nbtorch.nn.Parameter(nbtorch.ones(2))
    >>> optimizer = LBFGS([weight], line_search_fn="strong_wolfe")
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = ((weight - 3) ** 2).sum()
    ...     loss.backward()
    ...     return loss
    >>> optimizer.step(closure).item()
    8.0
    >>> weight.detach()
    tensor([3., 3.])
    """

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        check_lr(lr)
        defaults = {
            "lr": lr,
            "max_iter": max_iter,
            "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "history_size": history_size,
            "line_search_fn": line_search_fn,
        }
        super().__init__(params, defaults)
        if len(self.param_groups) != 1:
            raise ValueError(
                f"LBFGS doesn't support per-parameter options (parameter groups), got {len(self.param_groups)} groups"
            )

    @no_grad()
    def step(self, closure: Callable[[], Any]) -> Any:
        """Take up to `max_iter` iterations.

        Args:
            closure: clears the gradients, computes the loss and its gradients, and returns the loss.

        Returns:
            The loss before the step.
        """
        closure = enable_grad()(closure)
        group = self.param_groups[0]
        lr, change = as_number(group["lr"]), group["tolerance_change"]
        state = self.state[group["params"][0]]  # one for all parameters
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)
        first_loss = closure()
        loss, gradient = float(first_loss), self._gradient()
        evaluations = 1
        state["func_evals"] += 1
        if _largest(gradient) <= group["tolerance_grad"]:
            return first_loss
        for iteration in range(1, group["max_iter"] + 1):
            state["n_iter"] += 1
            d = state["d"] = _next_direction(state, gradient, group["history_size"])
            state["prev_flat_grad"], state["prev_loss"] = gradient.clone(), loss
            start = state["n_iter"] == 1
            t: Any = min(1.0, 1.0 / gradient.abs().sum()) * lr if start else lr
            state["t"] = t
            slope = gradient.dot(d)
            if slope > -change:
                break
            before = loss
            if group["line_search_fn"] is None:
                self._move(t, d)
                calls = 0
                if iteration != group["max_iter"]:
                    loss, gradient, calls = float(closure()), self._gradient(), 1
            else:
                if group["line_search_fn"] != "strong_wolfe":
                    raise RuntimeError(f"only 'strong_wolfe' is supported, got {group['line_search_fn']!r}")
                search = LineSearch(self._evaluation(closure, d), LinePoint(0, loss, gradient, slope), _largest(d))
                t, loss, gradient, _ = search.run(t, group["max_eval"] - evaluations)
                state["t"], calls = t, search.evaluations
                self._move(t, d)
            evaluations += calls
            state["func_evals"] += calls
            if (
                evaluations >= group["max_eval"]
                or _largest(gradient) <= group["tolerance_grad"]
                or _largest(d * t) <= change
                or abs(loss - before) < change
            ):
                break
        return first_loss

    def _gradient(self) -> Tensor:
        """Return the gradients of all parameters as one vector, zeros where there is none."""
        return cat(
            [
                param._filled_like(0).reshape(-1) if param.grad is None else param.grad.reshape(-1)
                for param in self.param_groups[0]["params"]
            ]
        )

    def _move(self, t: Any, d: Tensor) -> None:
        """Add t · d to the parameters."""
        offset = 0
        for param in self.param_groups[0]["params"]:
            param.add_((d[offset : offset + param.numel()] * t).reshape(param.shape))
            offset += param.numel()

    def _evaluation(self, closure: Callable[[], Any], d: Tensor) -> Callable[[Any], LinePoint]:
        """Return the loss along d as a function of the step length, which leaves the parameters as they are."""
        params = self.param_groups[0]["params"]
        here = [param.clone() for param in params]

        def evaluate(t: Any) -> LinePoint:
            self._move(t, d)
            loss, gradient = float(closure()), self._gradient()
            for param, value in zip(params, here, strict=True):
                param.copy_(value)
            return LinePoint(t, loss, gradient, gradient.dot(d))

        return evaluate


def _largest(vector: Tensor) -> Tensor:
    return vector.abs().max()


def _next_direction(state: dict[str, Any], gradient: Tensor, history_size: int) -> Tensor:
    """Remember the last change and return the direction of the next one: minus the inverse Hessian's estimate times g.

    The two loops of J. Nocedal, 1980.
    """
    if state["n_iter"] == 1:
        state.update(old_dirs=[], old_stps=[], ro=[], H_diag=1)
        return gradient.neg()
    changes, steps, inverses = state["old_dirs"], state["old_stps"], state["ro"]
    change, step = gradient - state["prev_flat_grad"], state["d"] * state["t"]
    curvature = change.dot(step)
    if curvature > 1e-10:
        if len(changes) == history_size:
            for memory in (changes, steps, inverses):
                memory.pop(0)
        changes.append(change)
        steps.append(step)
        inverses.append(1.0 / curvature)
        state["H_diag"] = curvature / change.dot(change)
    shares = state.setdefault("al", [None] * history_size)
    d = gradient.neg()
    for i in reversed(range(len(changes))):
        shares[i] = steps[i].dot(d) * inverses[i]
        d = d - changes[i] * shares[i]
    d = d * state["H_diag"]
    for i in range(len(changes)):
        d = d + steps[i] * (shares[i] - changes[i].dot(d) * inverses[i])
    return d


class LinePoint(NamedTuple):
    """What is known at a step length t: the loss, its gradient and its slope along the line."""

    t: Any
    loss: float
    gradient: Tensor
    slope: Any


class LineSearch:
    """A search for a step length that lowers the loss enough and flattens its slope (the strong Wolfe conditions)."""

    decrease, curvature, least_change = 1e-4, 0.9, 1e-9

    def __init__(self, evaluate: Callable[[Any], LinePoint], start: LinePoint, length: Any) -> None:
        self._evaluate, self.start, self.length = evaluate, start, length
        self.evaluations = 0

    def at(self, t: Any) -> LinePoint:
        """Evaluate the loss at a step length."""
        self.evaluations += 1
        return self._evaluate(t)

    def too_high(self, point: LinePoint) -> bool:
        """Whether the loss fell less than the slope at the start promises."""
        return bool(point.loss > self.start.loss + self.decrease * point.t * self.start.slope)

    def flat(self, point: LinePoint) -> bool:
        """Whether the slope is flat enough."""
        return bool(abs(point.slope) <= -self.curvature * self.start.slope)

    def run(self, t: Any, most: int) -> LinePoint:
        """Return the point that is found within about `most` evaluations, `t` being the first that is tried."""
        before, now = self.start, self.at(t)
        for count in range(most):
            if self.too_high(now) or (count > 1 and now.loss >= before.loss):
                return self.zoom([before, now], most - count)
            if self.flat(now):
                return now
            if now.slope >= 0:
                return self.zoom([before, now], most - count)
            bounds = now.t + 0.01 * (now.t - before.t), now.t * 10
            before, now = now, self.at(cubic_minimum(before, now, bounds))
        return min(self.start, now, key=lambda point: point.loss)

    def zoom(self, bracket: list[LinePoint], most: int) -> LinePoint:
        """Narrow a bracket down to a point that satisfies the conditions; return the best end of the last one."""
        low, high = _by_loss(*bracket)
        slow = False
        for _ in range(most):
            if abs(bracket[1].t - bracket[0].t) * self.length < self.least_change:
                break
            t, slow = _away_from_ends(cubic_minimum(bracket[0], bracket[1]), bracket, slow)
            point = self.at(t)
            if self.too_high(point) or point.loss >= bracket[low].loss:
                bracket[high] = point
                low, high = _by_loss(*bracket)
                continue
            done = self.flat(point)
            if not done and point.slope * (bracket[high].t - bracket[low].t) >= 0:
                bracket[high] = bracket[low]
            bracket[low] = point
            if done:
                break
        return bracket[low]


def _by_loss(first: LinePoint, second: LinePoint) -> tuple[int, int]:
    """Return the positions of the lower and of the higher point."""
    return (0, 1) if first.loss <= second.loss else (1, 0)


def _away_from_ends(t: Any, bracket: list[LinePoint], slow: bool) -> tuple[Any, bool]:
    """Keep a trial off the ends of the bracket if it, or the trial before, hardly moved from there.

    Returns:
        The step length to try, and whether it lies close to an end.
    """
    left, right = min(bracket[0].t, bracket[1].t), max(bracket[0].t, bracket[1].t)
    margin = 0.1 * (right - left)
    if min(right - t, t - left) >= margin:
        return t, False
    if slow or t >= right or t <= left:
        return (right - margin if abs(t - right) < abs(t - left) else left + margin), False
    return t, True


def cubic_minimum(first: LinePoint, second: LinePoint, bounds: tuple[Any, Any] | None = None) -> Any:
    """Return where the cubic through two points with their slopes is lowest, within `bounds` (default: the points).

    J. Nocedal, S. Wright, Numerical optimization, 2006, equation 3.59.
    """
    left, right = (first, second) if first.t <= second.t else (second, first)
    lowest, highest = (left.t, right.t) if bounds is None else bounds
    d1 = first.slope + second.slope - 3 * (first.loss - second.loss) / (first.t - second.t)
    square = d1**2 - first.slope * second.slope
    if not square >= 0:
        return (lowest + highest) / 2.0
    d2 = square**0.5
    t = right.t - (right.t - left.t) * ((right.slope + d2 - d1) / (right.slope - left.slope + 2 * d2))
    return min(max(t, lowest), highest)
