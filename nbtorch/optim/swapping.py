"""Other parameters and other state for an optimizer, for a while."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..tensor import Tensor
from .optimizer import Group, Optimizer

_NAME = "swap_in_optimizer_params_and_state"


@contextmanager
def swap_in_optimizer_params_and_state(
    optimizer: Optimizer, swapin_parameters: dict[str, Tensor], swapin_optim_state: dict[str, Any]
) -> Iterator[None]:
    """Let an optimizer work on other parameters with another state, until the block ends.

    Args:
        optimizer: an optimizer that has taken a step.
        swapin_parameters: the parameters, in the order of the optimizer's groups.
        swapin_optim_state: a state_dict of such an optimizer. Its tensors are changed in place; what is added to it
            is lost.

    Raises:
        RuntimeError: the optimizer has no state, or parameters or state_dict have another form than its own.

    Source: https://docs.pytorch.org/docs/stable/optim.html

    >>> import nbtorch
    >>> live, other = (nbtorch.nn.Parameter(nbtorch.ones(1)) for _ in range(2))
    >>> optimizer = nbtorch.optim.SGD([live], lr=0.5, momentum=0.9)
    >>> live.grad = other.grad = nbtorch.ones(1)
    >>> optimizer.step()
    >>> with swap_in_optimizer_params_and_state(optimizer, {"other": other}, optimizer.state_dict()):
    ...     optimizer.step()
    >>> live.item(), round(other.item(), 2)
    (0.5, 0.05)
    """
    if not optimizer.state:
        raise RuntimeError(f"{_NAME} requires initialized optimizer state.")
    state, groups = _parts(optimizer, swapin_optim_state)
    own_state, own_groups = optimizer.state, [dict(group) for group in optimizer.param_groups]
    params = iter(swapin_parameters.values())
    swapped: list[Group] = []
    installed: defaultdict[Any, dict[str, Any]] = defaultdict(dict)
    for group in groups:
        members = [param for _, param in zip(group["params"], params, strict=False)]
        if len(members) != len(group["params"]):
            raise RuntimeError(
                f"{_NAME} requires the explicit parameter state to match optimizer.param_groups ordering."
            )
        swapped.append({**group, "params": members})
        installed.update({p: dict(state.get(number, {})) for p, number in zip(members, group["params"], strict=True)})
    try:
        for live, group in zip(optimizer.param_groups, swapped, strict=True):
            live.update(group)
        optimizer.state = installed
        yield
    finally:
        for live, before in zip(optimizer.param_groups, own_groups, strict=True):
            live.clear()
            live.update(before)
        optimizer.state = own_state


def _parts(optimizer: Optimizer, state_dict: Any) -> tuple[dict[Any, Any], list[Group]]:
    """Return state and groups of a state_dict; refuse one that does not fit an optimizer."""
    if not isinstance(state_dict, dict):
        raise RuntimeError(f"{_NAME} requires an optimizer state_dict, got {type(state_dict).__name__}.")
    state, groups = state_dict.get("state"), state_dict.get("param_groups")
    if not isinstance(state, dict) or not isinstance(groups, list):
        raise RuntimeError(
            f"{_NAME} requires swapin_optim_state['state'] to be a dict and ['param_groups'] a list, got"
            f" {type(state).__name__} and {type(groups).__name__}."
        )
    if len(groups) != len(optimizer.param_groups):
        raise RuntimeError("swapin_optim_state has a different number of parameter groups than the live optimizer.")
    numbers: set[int] = set()
    for index, (live, group) in enumerate(zip(optimizer.param_groups, groups, strict=True)):
        given = group.get("params") if isinstance(group, dict) else None
        if not isinstance(given, list) or not all(isinstance(number, int) for number in given):
            raise RuntimeError(
                f"{_NAME} requires optimizer.state_dict()-style param_groups, whose 'params' are lists of ints."
            )
        if len(given) != len(live["params"]):
            raise RuntimeError(
                f"swapin_optim_state param group {index} has a different number of params than the live optimizer"
                f" param group: {len(given)} and {len(live['params'])}."
            )
        if group.keys() != live.keys():
            raise RuntimeError(
                f"{_NAME} requires param group keys to exactly match the live optimizer group keys for group {index}:"
                f" {sorted(group.keys() ^ live.keys())} are only in one."
            )
        numbers.update(given)
    strangers = [key for key in state if key not in numbers or not isinstance(state[key], dict)]
    if strangers:
        raise RuntimeError(
            f"{_NAME} requires swapin_optim_state['state'] to hold a dict for numbers of parameters only, got"
            f" {strangers!r}."
        )
    return state, groups
