"""`ElementwiseOptimizer`: optimizers whose step treats all elements of a parameter alike."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np

from ..autograd.grad_mode import set_grad_enabled
from ..device import contiguous, kernels_for
from ..dtypes import float64, get_default_dtype
from ..quiet import quietly
from ..tensor import Tensor
from .optimizer import Group, Optimizer

Pairs = list[tuple[Tensor, Tensor]]

_CONVERTED = (Tensor, tuple)  # types of options that `as_number` may change


class ElementwiseOptimizer(Optimizer):
    """An optimizer that is a formula for one element, which kernels walk through all parameters with.

    A subclass says which of the formulas in `nbtorch.kernels.optimizer` it is, and what that is given:

    * `_formula(group)` names the formula, and the running values that it keeps for each element;
      `_initial(name, group)` says what these start from;
    * `_advance(group, state)` counts a step of one parameter and returns what the options depend on;
    * `_options(group, at)` returns the formula's options, numbers or in a differentiable step tensors.
    """

    def _formula(self, group: Group) -> tuple[str, tuple[str, ...]]:
        raise NotImplementedError(f"{type(self).__name__} defines no step")

    def _initial(self, name: str, group: Group) -> float:
        return 0.0

    def _advance(self, group: Group, state: dict[str, Any]) -> Any:
        return count_step(state)

    def _options(self, group: Group, at: Any) -> tuple[Any, ...]:
        raise NotImplementedError(f"{type(self).__name__} defines no step")

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
        if group.get("capturable") or group.get("foreach") or group.get("fused"):
            for param, _ in pairs:
                self._check_variant(group, param)
                if group.get("fused") and not param.is_floating_point():
                    raise RuntimeError(f"fused=True requires parameters of floating point, got {param.dtype}")
        if self.defaults.get("differentiable"):
            with set_grad_enabled(True):
                self._update_tensors(group, pairs)
        else:
            numbers = {name: as_number(value) if type(value) in _CONVERTED else value for name, value in group.items()}
            self._update_arrays(numbers, pairs)

    def _update_arrays(self, group: Group, pairs: Pairs) -> None:
        """Let kernels change all parameters of one type at once, and others, which need copies, one by one."""
        formula, names = self._formula(group)
        batches: dict[Any, tuple[Any, list[Any], list[Any]]] = {}
        for param, gradient in pairs:
            at, buffers = self._state_of(param, group, names)
            row = (param._array, gradient._array, *[buffer._array for buffer in buffers])
            kind, where = row[0].dtype.char, param._device
            if kind in "fd" and all([array.flags.c_contiguous and array.dtype.char == kind for array in row]):
                batch = batches.get((kind, id(where)))
                if batch is None:
                    batch = batches[kind, id(where)] = where, [], []
                batch[1].append(row)
                batch[2].append(at)
            else:
                dense = tuple([_as_dense(array, kind, where) for array in row])
                kernels_for(where, "optimizer").step(formula, [dense], self._numbers(group, [at]))
                for tensor, copy in zip((param, *buffers), dense[:1] + dense[2:], strict=True):
                    _write_back(tensor._array, copy)
            param._bump_version()
            for buffer in buffers:
                buffer._bump_version()
        for where, rows, known in batches.values():
            kernels_for(where, "optimizer").step(formula, rows, self._numbers(group, known))

    def _numbers(self, group: Group, known: list[Any]) -> list[tuple[float, ...]]:
        """Return the numbers of kernels for each parameter, or once where they are the same for all."""
        sign, decay, shrink = _direction_of(group)
        if known.count(known[0]) == len(known):
            known = known[:1]
        return [(sign, decay, shrink, *self._options(group, at)) for at in known]

    def _update_tensors(self, group: Group, pairs: Pairs) -> None:
        from nbtorch.kernels import optimizer

        name, names = self._formula(group)
        formula, direction = (getattr(f, "py_func", f) for f in (getattr(optimizer, name), optimizer.direction))
        sign, decay, shrink = _direction_of(group)
        for param, gradient in pairs:
            at, buffers = self._state_of(param, group, names)
            before = param.clone()
            d = direction(before, gradient, sign, decay)
            after, *values = formula(before * shrink, d, *buffers, *self._options(group, at))
            param.copy_(after)
            self.state[param].update(zip(names, values, strict=True))

    def _state_of(self, param: Tensor, group: Group, names: tuple[str, ...]) -> tuple[Any, list[Tensor]]:
        """Count a step of a parameter; return what the options depend on, and the running values."""
        if not names:
            return self._advance(group, {}), []
        return self._advance(group, self.state[param]), self._running_values(param, group, names)

    def _running_values(self, param: Tensor, group: Group, names: tuple[str, ...]) -> list[Tensor]:
        """Return the running values of a parameter; make those that are not there yet."""
        values, state = [], self.state[param]
        for name in names:
            value = state.get(name)
            if value is None:
                start = self._initial(name, group)
                array = param._xp.full_like(param._array, complex(start, start) if param.is_complex() else start)
                value = state[name] = param._wrap_like(array)
            values.append(value)
        return values


def _direction_of(group: Group) -> tuple[Any, Any, Any]:
    """Return the sign of the gradient, the factor of the penalty in it, and the factor that parameters shrink by."""
    sign, decay = -1.0 if group.get("maximize") else 1.0, group.get("weight_decay", 0)
    return (sign, 0.0, 1 - group["lr"] * decay) if group.get("decoupled_weight_decay") else (sign, decay, 1.0)


def _as_dense(array: Any, kind: str, where: Any) -> Any:
    """Return an array as kernels take it, flat: complex numbers as pairs of real ones, half precision as float32."""
    array = contiguous(array, where).reshape(-1)
    if kind in "FD":
        return array.astype(kind, copy=False).view(kind.lower())
    return array.astype(kind if kind in "fd" else np.float32, copy=False)


def _write_back(array: Any, dense: Any) -> None:
    """Write what a kernel made of an array's copy to the array."""
    if array.dtype.kind == "c":
        dense = dense.view(np.result_type(dense.dtype, 1j))
    if dense.dtype != array.dtype or not array.flags.c_contiguous:
        array[...] = dense.reshape(array.shape)


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
    count = step.item() + 1
    step._array[...] = count
    step._bump_version()
    return count


def set_scalar(state: dict[str, Any], name: str, value: float) -> None:
    """Write a number into a tensor of one element in a parameter's state."""
    tensor = state[name]
    tensor._array[...] = value
    tensor._bump_version()
