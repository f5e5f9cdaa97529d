"""`ElementwiseOptimizer`: optimizers whose step treats all elements of a parameter alike."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

from ..autograd.grad_mode import set_grad_enabled
from ..device import CPU
from ..dtypes import float64, get_default_dtype
from ..ops import arithmetic, pointwise
from ..quiet import quietly
from ..tensor import Tensor
from .optimizer import Group, Optimizer

Pairs = list[tuple[Tensor, Tensor]]

BLOCK = 1 << 16  # elements: passes over a block mostly hit the cache, and calls cost little beside the arithmetic

_TENSORS = SimpleNamespace(
    sqrt=pointwise.sqrt,
    abs=pointwise.abs,
    sign=pointwise.sign,
    clip=pointwise.clamp,
    maximum=arithmetic.maximum,
    where=arithmetic.where,
)
"""What rules take from the array module, for tensors."""


class ElementwiseOptimizer(Optimizer):
    """An optimizer that is a rule for one element.

    A subclass states its rule once, for arrays and, to be differentiated, for tensors:

    * `_buffers(group)` names the running values that it keeps for each element, `_initial(name, group)` what they start
      from;
    * `_advance(group, state)` counts a step of one parameter and returns what the rule needs to know of it;
    * `_fused(group, at, decay, shrink, p, g, *buffers)` may do the same to plain CPU arrays in one kernel;
    * `_rule(xp, group, at, p, d, *buffers)` changes the parameter `p` and its buffers in place, with operators and the
      functions of `xp`. `d` is the gradient, with sign and weight decay, and must stay as it is. A value that an
      operation saves for its derivative must not be changed in place afterwards; buffers are copies in each step.
    """

    def _buffers(self, group: Group) -> tuple[str, ...]:
        return ()

    def _initial(self, name: str, group: Group) -> float:
        return 0.0

    def _advance(self, group: Group, state: dict[str, Any]) -> Any:
        return count_step(state)

    def _rule(self, xp: Any, group: Group, at: Any, p: Any, d: Any, *buffers: Any) -> None:
        raise NotImplementedError(f"{type(self).__name__} defines no step")

    def _fused(self, group: Group, at: Any, decay: float, shrink: float, *arrays: Any) -> bool:
        """Take the step in one kernel, on dense CPU arrays of float32 or float64; return whether there is one."""
        return False

    def _check_variant(self, group: Group, param: Tensor) -> None:
        """Refuse flags that PyTorch's implementations of this optimizer refuse when they take a step."""
        if group.get("capturable") and not group.get("fused") and param.is_cpu:
            raise AssertionError("If capturable=True, params and state_steps must be on a CUDA device, not on the CPU")
        if group.get("foreach") and group.get("differentiable"):
            raise AssertionError("_foreach ops don't support autograd: use foreach=False with differentiable=True")

    def _update_group(self, group: Group) -> None:
        self._update(group, [(param, param._grad) for param in group["params"] if param._grad is not None])

    def _update(self, group: Group, pairs: Pairs) -> None:
        """Change parameters, given with their gradients, by the options of a group."""
        for param, _ in pairs:
            self._check_variant(group, param)
        if self.defaults.get("differentiable"):
            with set_grad_enabled(True):
                self._update_tensors(group, pairs)
        else:
            self._update_arrays({option: as_number(value) for option, value in group.items()}, pairs)

    def _update_arrays(self, group: Group, pairs: Pairs) -> None:
        names = self._buffers(group)
        decay, shrink, maximize = group.get("weight_decay", 0), 1.0, group.get("maximize", False)
        if group.get("decoupled_weight_decay"):
            decay, shrink = 0, 1 - group["lr"] * decay
        for param, gradient in pairs:
            at, buffers = self._state_of(param, group, names)
            arrays = (param._array, gradient._array, *[buffer._array for buffer in buffers])
            if not (_are_plain(arrays, param) and self._fused(group, at, decay, shrink, *arrays)):
                xp = param._xp
                for p, g, *pieces in blocks(arrays, param.is_cpu):
                    if shrink != 1:
                        p *= shrink
                    self._rule(xp, group, at, p, _direction(xp, p, g, decay, maximize), *pieces)
            for changed in (param, *buffers):
                changed._bump_version()

    def _update_tensors(self, group: Group, pairs: Pairs) -> None:
        names = self._buffers(group)
        decay = group.get("weight_decay", 0)
        for param, gradient in pairs:
            at, buffers = self._state_of(param, group, names)
            d = -gradient if group["maximize"] else gradient
            if group.get("decoupled_weight_decay"):
                param.mul_(1 - group["lr"] * decay)
            elif decay != 0:
                d = d + decay * (param.clone() if isinstance(decay, Tensor) else param)
            state = self.state[param]
            for name, buffer in zip(names, buffers, strict=True):
                state[name] = buffer.clone()
            self._rule(_TENSORS, group, at, param, d, *[state[name] for name in names])

    def _state_of(self, param: Tensor, group: Group, names: tuple[str, ...]) -> tuple[Any, list[Tensor]]:
        """Count a step of a parameter; return what the rule needs to know of it, and the buffers."""
        state = self.state[param] if names else {}
        at = self._advance(group, state)
        buffers = []
        for name in names:
            buffer = state.get(name)
            if buffer is None:
                array = param._xp.full_like(param._array, self._initial(name, group))
                buffer = state[name] = param._wrap_like(array)
            buffers.append(buffer)
        return at, buffers


def _are_plain(arrays: tuple[Any, ...], param: Tensor) -> bool:
    """Whether arrays lie in CPU memory in C order and have one type that kernels know."""
    if param._device is not CPU or param._array.dtype.char not in "fd":
        return False
    dtype = param._array.dtype
    return all([array.dtype is dtype and array.flags.c_contiguous for array in arrays])


def apply_rule(
    optimizer: type[ElementwiseOptimizer],
    params: list[Tensor],
    gradients: list[Tensor],
    states: dict[str, Any],
    grad_scale: Tensor | None = None,
    found_inf: Tensor | None = None,
    **options: Any,
) -> None:
    """Take one step of an optimizer's rule on lists of tensors, in place: what its functional form does.

    Args:
        optimizer: the class that states the rule.
        params: the parameters.
        gradients: the gradient of each.
        states: lists of the running values of each parameter, by their names in the optimizer's state; an empty list
            where the options need none, None in a list for a value that is to be made.
        grad_scale: with the option `fused`, what the gradients are divided by.
        found_inf: with the option `fused`, a tensor that is 1 where the step is to be left out.
        options: what a group of parameters holds.
    """
    if not all([isinstance(step, Tensor) for step in states.get("step", ())]):
        raise RuntimeError("API has changed, `state_steps` argument must contain a list of singleton tensors")
    if options.get("fused"):
        if found_inf is not None and found_inf.item() == 1:
            return
        if grad_scale is not None:
            for gradient in gradients:
                gradient.div_(grad_scale)
    rule = optimizer.__new__(optimizer)
    rule.defaults = {"differentiable": options.get("differentiable", False)}
    rule.state = defaultdict(dict)
    given = {name: values for name, values in states.items() if len(values)}
    for index, param in enumerate(params):
        rule.state[param] = {name: values[index] for name, values in given.items()}
    quietly(rule._update, options, list(zip(params, gradients, strict=True)))
    for name, values in given.items():
        for index, param in enumerate(params):
            result = rule.state[param][name]
            if values[index] is None:
                values[index] = result
            elif result is not values[index]:  # a differentiable step works on copies
                values[index].copy_(result)


def as_number(value: Any) -> Any:
    """Return an option with numbers in the place of tensors of one element."""
    if isinstance(value, Tensor):
        return value.item()
    return tuple([as_number(item) for item in value]) if type(value) is tuple else value


def scalar_state(value: float) -> Tensor:
    """Make a number that is part of a parameter's state."""
    return Tensor._wrap(np.array(value, np.float64 if get_default_dtype() is float64 else np.float32))


def count_step(state: dict[str, Any]) -> float:
    """Add one to the step counter in a parameter's state, which starts from zero, and return it."""
    step = state.get("step", 0.0)
    if not isinstance(step, Tensor):
        step = state["step"] = scalar_state(float(step))
    step._array += 1
    step._bump_version()
    return step.item()


def set_scalar(state: dict[str, Any], name: str, value: float) -> None:
    """Write a number into a tensor of one element in a parameter's state."""
    tensor = state[name]
    tensor._array[...] = value
    tensor._bump_version()


def track_mean(mean: Any, d: Any, kept: float) -> None:
    """mean = kept · mean + (1 - kept) · d, in place."""
    change = d - mean
    change *= 1 - kept
    mean += change


def track_square(square: Any, d: Any, kept: float) -> None:
    """square = kept · square + (1 - kept) · d², in place."""
    change = d * d
    change *= 1 - kept
    square *= kept
    square += change


def _direction(xp: Any, p: Any, g: Any, decay: float, maximize: bool) -> Any:
    """Return the array ±g + decay · p; the gradient itself where that is all."""
    if decay == 0:
        return xp.negative(g) if maximize else g
    d = p * decay
    return xp.subtract(d, g, d) if maximize else xp.add(d, g, d)


def blocks(arrays: tuple[Any, ...], on_cpu: bool) -> Iterator[tuple[Any, ...]]:
    """Cut large CPU arrays of one shape into pieces that stay in the cache while several operations pass over them.

    Arrays of rank 0 become arrays of one element, because operations on them would return scalars.
    """
    size = arrays[0].size
    if arrays[0].ndim == 0:
        yield tuple([array.reshape(1) for array in arrays])
        return
    if size <= BLOCK or not on_cpu or not all(array.flags.c_contiguous for array in arrays):
        yield arrays
        return
    flat = [array.reshape(-1) for array in arrays]
    for start in range(0, size, BLOCK):
        yield tuple([array[start : start + BLOCK] for array in flat])
