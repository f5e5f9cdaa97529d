"""`Optimizer`: parameter groups, state, state_dicts and hooks, shared by all optimizers."""

from __future__ import annotations

import copy
import functools
import warnings
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable
from typing import Any, cast

from ..autograd.grad_mode import enable_grad, no_grad
from ..hooks import Hooks, RemovableHandle, add_hook
from ..quiet import quietly
from ..tensor import Tensor

Group = dict[str, Any]
Params = Iterable[Tensor] | Iterable[Group] | Iterable[tuple[str, Tensor]]

_step_pre_hooks: Hooks = OrderedDict()
_step_post_hooks: Hooks = OrderedDict()


def register_optimizer_step_pre_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call `hook(optimizer, args, kwargs)` before each step of every optimizer, before the optimizer's own hooks."""
    return _global_hook(_step_pre_hooks, hook)


def register_optimizer_step_post_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call `hook(optimizer, args, kwargs)` after each step of every optimizer, after the optimizer's own hooks."""
    return _global_hook(_step_post_hooks, hook)


def _global_hook(hooks: Hooks, hook: Callable[..., Any]) -> RemovableHandle:
    handle = RemovableHandle(hooks)
    hooks[handle.id] = hook
    return handle


class Optimizer:
    """The base class of all optimizers.

    A subclass gives its options to `__init__` as `defaults` and defines `_update_group`, or `step` itself.

    Args:
        params: the parameters, as tensors, as pairs of name and tensor, or as groups: dictionaries with `params` and
            options of their own.
        defaults: the options of groups that do not name them.

    Raises:
        TypeError: `params` has another form.
        ValueError: no parameters, a tensor that was computed, or a tensor in two groups.

    Source: https://docs.pytorch.org/docs/stable/optim.html
    """

    defaults: dict[str, Any]
    state: defaultdict[Any, dict[str, Any]]
    param_groups: list[Group]

    _step_pre_hooks: Hooks | None = None
    _step_post_hooks: Hooks | None = None
    _state_dict_pre_hooks: Hooks | None = None
    _state_dict_post_hooks: Hooks | None = None
    _load_pre_hooks: Hooks | None = None
    _load_post_hooks: Hooks | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "step" in cls.__dict__:
            cls.step = _with_step_hooks(cls.step)  # type: ignore[method-assign]

    def __init__(self, params: Params, defaults: dict[str, Any]) -> None:
        self.defaults = defaults
        self.state = defaultdict(dict)
        self.param_groups = []
        if isinstance(params, Tensor):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or dicts, but got a Tensor"
            )
        groups: list[Any] = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def add_param_group(self, param_group: Group) -> None:
        """Add a group of parameters: a dictionary with `params` and options that differ from the defaults.

        Raises:
            TypeError: not a dictionary, or `params` holds something that is no tensor.
            ValueError: a parameter was computed, is in another group, or only some parameters have names.
        """
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        params, names = _params_and_names(param_group["params"])
        for param in params:
            if not isinstance(param, Tensor):
                raise TypeError(f"optimizer can only optimize Tensors, but one of the params is {type(param).__name__}")
            if not self.defaults.get("differentiable") and not (param.is_leaf or param.retains_grad):
                raise ValueError("can't optimize a non-leaf Tensor")
        param_group["params"] = params
        if names is not None:
            param_group["param_names"] = names
        self._check_against_other_groups(param_group)
        for option, default in self.defaults.items():
            param_group.setdefault(option, default)
        self.param_groups.append(param_group)

    def _check_against_other_groups(self, group: Group) -> None:
        if self.param_groups and ("param_names" in group) != ("param_names" in self.param_groups[0]):
            raise ValueError("all optimizer param groups should be with/without names")
        own = {id(param) for param in group["params"]}
        if len(own) != len(group["params"]):
            warnings.warn("optimizer contains a parameter group with duplicate parameters", stacklevel=4)
        if any(id(param) in own for other in self.param_groups for param in other["params"]):
            raise ValueError("some parameters appear in more than one parameter group")

    # Steps

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change the parameters by one step.

        Args:
            closure: computes the loss and its gradients anew; called once before the step.

        Returns:
            What `closure` returned, or None.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        for group in self.param_groups:
            quietly(self._update_group, group)
        return loss

    def _update_group(self, group: Group) -> None:
        """Change the parameters of a group in place, on their arrays."""
        raise NotImplementedError(f"{type(self).__name__} defines no step")

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of all parameters, or without `set_to_none` fill them with zeros."""
        for group in self.param_groups:
            for param in group["params"]:
                gradient = param.grad
                if gradient is None:
                    continue
                if set_to_none:
                    param.grad = None
                else:
                    (gradient.requires_grad_(False) if gradient.is_leaf else gradient.detach_()).zero_()

    def register_step_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call `hook(optimizer, args, kwargs)` before each step; it may return a pair of new `(args, kwargs)`."""
        return add_hook(self, "_step_pre_hooks", hook)

    def register_step_post_hook(self, hook: Callable[..., None]) -> RemovableHandle:
        """Call `hook(optimizer, args, kwargs)` after each step."""
        return add_hook(self, "_step_post_hooks", hook)

    # State

    def state_dict(self) -> dict[str, Any]:
        """Return the state and the groups' options, with numbers in the place of parameters."""
        for pre_hook in _hooks(self._state_dict_pre_hooks):
            pre_hook(self)
        numbers = _numbers(self.param_groups)
        groups = []
        for group in self.param_groups:
            packed = {option: value for option, value in group.items() if option != "params"}
            packed["params"] = [numbers[id(param)] for param in group["params"]]
            groups.append(packed)
        state = {numbers[id(key)] if isinstance(key, Tensor) else key: value for key, value in self.state.items()}
        result: dict[str, Any] = {"state": state, "param_groups": groups}
        for post_hook in _hooks(self._state_dict_post_hooks):
            replaced = post_hook(self, result)
            result = result if replaced is None else replaced
        return result

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over state and options from a state_dict of the same optimizer, converted to the parameters' types.

        Raises:
            ValueError: the groups are not as many or not as large as here.
        """
        state_dict = dict(state_dict)
        for pre_hook in _hooks(self._load_pre_hooks):
            replaced = pre_hook(self, state_dict)
            state_dict = state_dict if replaced is None else replaced
        saved_groups = copy.deepcopy(state_dict["param_groups"])
        self._check_groups(saved_groups)
        numbered: dict[Any, Tensor] = {}
        for group, saved in zip(self.param_groups, saved_groups, strict=True):
            numbered.update(zip(saved["params"], group["params"], strict=True))
            saved["params"] = group["params"]
            if "param_names" in group:
                saved.setdefault("param_names", group["param_names"])
        state: defaultdict[Any, dict[str, Any]] = defaultdict(dict)
        with no_grad():
            for key, value in state_dict["state"].items():
                param = numbered.get(key)
                state[key if param is None else param] = value if param is None else _taken_over(value, param)
        self.__setstate__({"state": state, "param_groups": saved_groups})
        for post_hook in _hooks(self._load_post_hooks):
            post_hook(self)

    def _check_groups(self, saved_groups: list[Group]) -> None:
        if len(saved_groups) != len(self.param_groups):
            raise ValueError(
                "loaded state dict has a different number of parameter groups:"
                f" expected {len(self.param_groups)}, got {len(saved_groups)}"
            )
        for number, (group, saved) in enumerate(zip(self.param_groups, saved_groups, strict=True)):
            if len(group["params"]) != len(saved["params"]):
                raise ValueError(
                    "loaded state dict contains a parameter group that doesn't match the size of optimizer's group:"
                    f" expected {len(group['params'])} parameters in group {number}, got {len(saved['params'])}"
                )

    def register_state_dict_pre_hook(self, hook: Callable[..., None], prepend: bool = False) -> RemovableHandle:
        """Call `hook(optimizer)` before `state_dict` collects the state."""
        return self._add_hook("_state_dict_pre_hooks", hook, prepend)

    def register_state_dict_post_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Call `hook(optimizer, state_dict)` after; it may return another state_dict."""
        return self._add_hook("_state_dict_post_hooks", hook, prepend)

    def register_load_state_dict_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Call `hook(optimizer, state_dict)` before it is loaded; it may return another state_dict."""
        return self._add_hook("_load_pre_hooks", hook, prepend)

    def register_load_state_dict_post_hook(self, hook: Callable[..., None], prepend: bool = False) -> RemovableHandle:
        """Call `hook(optimizer)` after a state_dict was loaded."""
        return self._add_hook("_load_post_hooks", hook, prepend)

    def _add_hook(self, attribute: str, hook: Callable[..., Any], prepend: bool) -> RemovableHandle:
        handle = add_hook(self, attribute, hook)
        if prepend:
            getattr(self, attribute).move_to_end(handle.id, last=False)
        return handle

    def __getstate__(self) -> dict[str, Any]:
        return {"defaults": self.defaults, "state": self.state, "param_groups": self.param_groups}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for group in self.param_groups:
            for option, default in self.defaults.items():
                group.setdefault(option, default)

    def __repr__(self) -> str:
        groups = [
            f"Parameter Group {number}\n"
            + "".join([f"    {option}: {group[option]}\n" for option in sorted(group) if option != "params"])
            for number, group in enumerate(self.param_groups)
        ]
        return f"{type(self).__name__} (\n" + "\n".join(groups) + ")"


def _params_and_names(params: Any) -> tuple[list[Any], list[str] | None]:
    """Return a group's `params` as a list of tensors, and their names if they come as pairs."""
    if isinstance(params, Tensor):
        return [params], None
    if isinstance(params, (set, frozenset)):
        raise TypeError(
            "optimizer parameters need to be organized in ordered collections, but the ordering of tensors in sets"
            " will change between runs. Please use a list instead."
        )
    members = list(params)
    named = [isinstance(member, tuple) and len(member) == 2 for member in members]
    if not any(named):
        return members, None
    if not all(named):
        raise ValueError("all optimizer params should be with/without names. Some param names are missing")
    return [tensor for _, tensor in members], [name for name, _ in members]


def _numbers(groups: list[Group]) -> dict[int, int]:
    """Number the parameters of all groups in order, by their ids."""
    numbers: dict[int, int] = {}
    for group in groups:
        for param in group["params"]:
            numbers.setdefault(id(param), len(numbers))
    return numbers


def _taken_over(value: Any, param: Tensor, key: str | None = None) -> Any:
    """Copy a parameter's saved state, its tensors converted to the parameter's type and device.

    The step counter stays as it is: rounding it to the parameter's type could stop it from counting.
    """
    if isinstance(value, Tensor):
        if key == "step":
            return value.detach().clone()
        dtype = param.dtype if param.is_floating_point() else value.dtype
        return value.detach().to(device=param.device, dtype=dtype, copy=True)
    if isinstance(value, dict):
        return {name: _taken_over(item, param, name) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_taken_over(item, param) for item in value)
    return value


def _hooks(hooks: OrderedDict[int, Callable[..., Any]] | None) -> list[Callable[..., Any]]:
    return list(hooks.values()) if hooks else []


def _with_step_hooks(func: Callable[..., Any]) -> Callable[..., Any]:
    """Return a `step` that runs the optimizer's hooks before and after."""

    @functools.wraps(func)
    def hooked(*args: Any, **kwargs: Any) -> Any:
        self = cast(Optimizer, args[0])
        for hook in [*_step_pre_hooks.values(), *_hooks(self._step_pre_hooks)]:
            replaced = hook(self, args, kwargs)
            if replaced is None:
                continue
            if not (isinstance(replaced, tuple) and len(replaced) == 2):
                raise RuntimeError(
                    f"{type(self).__name__}.step: a pre-hook must return None or a tuple of (new_args, new_kwargs),"
                    f" but got {replaced}."
                )
            args, kwargs = replaced
        result = func(*args, **kwargs)
        for hook in [*_hooks(self._step_post_hooks), *_step_post_hooks.values()]:
            hook(self, args, kwargs)
        return result

    return hooked


Optimizer.step = _with_step_hooks(Optimizer.step)  # type: ignore[method-assign]
Optimizer.profile_hook_step = staticmethod(_with_step_hooks)  # type: ignore[attr-defined]


def check_lr(lr: Any) -> None:
    """Refuse a learning rate that is negative, NaN or a tensor of several elements."""
    if isinstance(lr, Tensor) and lr.numel() != 1:
        raise ValueError(f"Tensor lr must be 1-element, got shape {tuple(lr.shape)}")
    require_non_negative("learning rate", lr)


def require_non_negative(what: str, value: Any) -> None:
    """Refuse a negative option, or NaN."""
    if not value >= 0:
        raise ValueError(f"Invalid {what}: {value}, expected a number that is not negative")


def check_betas(betas: Any) -> None:
    """Refuse shares of running means outside of [0, 1)."""
    for index in range(2):
        if not 0.0 <= betas[index] < 1.0:
            raise ValueError(f"Invalid beta parameter at index {index}: {betas[index]}, expected it in [0, 1)")


def check_fused(foreach: bool | None, fused: bool | None, differentiable: bool) -> None:
    """Refuse combinations of the flags that choose PyTorch's implementation (here there is one for all)."""
    if fused and differentiable:
        raise RuntimeError("`fused` does not support `differentiable`")
    if fused and foreach:
        raise RuntimeError("`fused` and `foreach` cannot be `True` together.")
