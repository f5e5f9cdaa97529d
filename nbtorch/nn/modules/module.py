"""`Module`: the base class of everything that has parameters."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, Self

from ...autograd.grad_mode import no_grad
from ...device import as_device, device
from ...dtypes import bfloat16, dtype, float16, float32, float64
from ...hooks import RemovableHandle
from ...tensor import Tensor
from ..parameter import Buffer, Parameter
from .hooks import (
    BACKWARD,
    BACKWARD_OF_OUTPUT,
    BACKWARD_PRE,
    FORWARD,
    FORWARD_PRE,
    Hook,
    call_with_hooks,
    of_all_modules,
    register_module_forward_hook,
    register_module_forward_pre_hook,
    register_module_full_backward_hook,
    register_module_full_backward_pre_hook,
)

__all__ = [
    "Module",
    "register_module_forward_hook",
    "register_module_forward_pre_hook",
    "register_module_full_backward_hook",
    "register_module_full_backward_pre_hook",
]

EXTRA_STATE = "_extra_state"  # the key of what `get_extra_state()` returns in a state_dict

STATE_DICT_PRE = "state_dict_pre"
STATE_DICT = "state_dict"
STATE_DICT_POST = "state_dict_post"
LOAD_STATE_DICT_PRE = "load_state_dict_pre"
LOAD_STATE_DICT_POST = "load_state_dict_post"


class _IncompatibleKeys(NamedTuple):
    """What `load_state_dict` missed in the state_dict, and what it found there but has no place for."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"_IncompatibleKeys(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"


class Module:
    """The base class of all layers and networks.

    A subclass calls `super().__init__()`, assigns parameters, buffers and other modules to attributes (which registers
    them under the attribute's name) and defines `forward`.

    Attributes:
        training: whether the module is in training mode (see `train` and `eval`).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html

    >>> import nbtorch
    >>> from nbtorch import nn
    >>> class Residual(nn.Module):
    ...     def __init__(self, features):
    ...         super().__init__()
    ...         self.inner = nn.Linear(features, features)
    ...     def forward(self, x):
    ...         return x + self.inner(x)
    >>> net = Residual(3)
    >>> net
    Residual(
      (inner): Linear(in_features=3, out_features=3, bias=True)
    )
    >>> [name for name, _ in net.named_parameters()]
    ['inner.weight', 'inner.bias']
    >>> net(nbtorch.zeros(2, 3)).shape
    torch.Size([2, 3])
    """

    training: bool
    _version: int = 1
    call_super_init: bool = False
    dump_patches: bool = False

    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]
    _non_persistent_buffers_set: set[str]
    _call_hooks: OrderedDict[int, Hook] | None = None  # around a call
    _state_hooks: OrderedDict[int, Hook] | None = None  # around state_dict and load_state_dict

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if not self.call_super_init:
            if kwargs:
                raise TypeError(
                    f"{type(self).__name__}.__init__() got an unexpected keyword argument '{next(iter(kwargs))}'"
                )
            if args:
                raise TypeError(
                    f"{type(self).__name__}.__init__() takes 1 positional argument but {len(args) + 1} were given"
                )
        # Straight into __dict__: __setattr__ looks into these, and would cost more than all the rest.
        self.__dict__.update(training=True, _parameters={}, _buffers={}, _modules={}, _non_persistent_buffers_set=set())
        if self.call_super_init:
            super().__init__(*args, **kwargs)

    # Calling

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call `forward`, and the hooks before and after it."""
        if self._call_hooks or of_all_modules.hooks:
            return call_with_hooks(self, args, kwargs)
        return self.forward(*args, **kwargs)

    def forward(self, *input: Any) -> Any:
        """Compute the module's output; every subclass defines it. Call the module itself, which also runs hooks."""
        raise NotImplementedError(f'Module [{type(self).__name__}] is missing the required "forward" function')

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Accept any arguments and change nothing: kernels are compiled at their first use, programs are not."""

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call `hook(module, args)` before each forward.

        Args:
            hook: may return new arguments (a value or a tuple); with `with_kwargs` it is called as
                `hook(module, args, kwargs)` and may return a pair `(args, kwargs)`.
            prepend: run before the hooks that are already registered.
            with_kwargs: also give keyword arguments to the hook.

        >>> from nbtorch import nn
        >>> layer = nn.Identity()
        >>> handle = layer.register_forward_pre_hook(lambda module, args: args[0] + 1)
        >>> layer(1)
        2
        >>> handle.remove()
        >>> layer(1)
        1
        """
        return Hook(FORWARD_PRE, hook, with_kwargs).add_to(self, "_call_hooks", prepend)

    def register_forward_hook(
        self,
        hook: Callable[..., Any],
        *,
        prepend: bool = False,
        with_kwargs: bool = False,
        always_call: bool = False,
    ) -> RemovableHandle:
        """Call `hook(module, args, output)` after each forward.

        Args:
            hook: may return another output; with `with_kwargs` it is called as `hook(module, args, kwargs, output)`.
            prepend: run before the hooks that are already registered.
            with_kwargs: also give keyword arguments to the hook.
            always_call: run the hook even if the call raises an exception.
        """
        return Hook(FORWARD, hook, with_kwargs, always_call).add_to(self, "_call_hooks", prepend)

    def register_full_backward_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Call `hook(module, grad_output)` in backward, before gradients pass through the module.

        The hook may return other gradients in place of `grad_output` (a tuple, one entry for each output).
        """
        return Hook(BACKWARD_PRE, hook).add_to(self, "_call_hooks", prepend)

    def register_full_backward_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Call `hook(module, grad_input, grad_output)` in backward, when the gradients of the inputs are known.

        The hook may return other gradients in place of `grad_input` (a tuple, one entry for each positional argument;
        None for arguments without gradients).
        """
        self._refuse_mixed_backward_hooks(BACKWARD_OF_OUTPUT)
        return Hook(BACKWARD, hook).add_to(self, "_call_hooks", prepend)

    def register_backward_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call `hook` with the gradients of the last operation in the module (prefer `register_full_backward_hook`)."""
        self._refuse_mixed_backward_hooks(BACKWARD)
        return Hook(BACKWARD_OF_OUTPUT, hook).add_to(self, "_call_hooks")

    def _refuse_mixed_backward_hooks(self, other: str) -> None:
        if any(hook.kind == other for hook in (self._call_hooks or {}).values()):
            raise RuntimeError(
                "Cannot use both regular backward hooks and full backward hooks on a single Module."
                " Please use only one of them."
            )

    # Registration and attributes

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Register a parameter under a name; None reserves the name.

        Raises:
            TypeError: `name` is no string or `param` no Parameter.
            KeyError: the name is empty, has a dot, or is an attribute already.
            ValueError: the parameter was computed by operations that are recorded.
        """
        if "_parameters" not in self.__dict__:
            raise AttributeError("cannot assign parameter before Module.__init__() call")
        self._check_name(name, "parameter", self._parameters)
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(
                f"cannot assign '{_type_name(param)}' object to parameter '{name}' (nn.Parameter or None required)"
            )
        if param is not None and param.grad_fn is not None:
            raise ValueError(
                f"cannot assign non-leaf Tensor to parameter '{name}': model parameters must be created explicitly;"
                " to express it as a function of another Tensor, compute the value in the forward() method"
            )
        self._parameters[name] = param

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Register a tensor that belongs to the module's state but is not learned.

        Args:
            name: the attribute that it becomes.
            tensor: the buffer; None reserves the name, and does not appear in the state_dict.
            persistent: whether the buffer is part of the state_dict.

        Raises:
            TypeError: `name` is no string or `tensor` no Tensor.
            KeyError: the name is empty, has a dot, or is an attribute already.
        """
        if "_buffers" not in self.__dict__:
            raise AttributeError("cannot assign buffer before Module.__init__() call")
        self._check_name(name, "buffer", self._buffers)
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(f"cannot assign '{_type_name(tensor)}' object to buffer '{name}' (Tensor or None required)")
        self._buffers[name] = tensor
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Register a child module under a name.

        Raises:
            TypeError: `name` is no string or `module` no Module.
            KeyError: the name is empty, has a dot, or is an attribute already.
        """
        if not isinstance(module, Module) and module is not None:
            raise TypeError(f"{_type_name(module)} is not a Module subclass")
        self._check_name(name, "module", self._modules)
        self._modules[name] = module

    def register_module(self, name: str, module: Module | None) -> None:
        """Register a child module: another name of `add_module`."""
        self.add_module(name, module)

    def _check_name(self, name: Any, kind: str, members: Mapping[str, Any]) -> None:
        if not isinstance(name, str):
            raise TypeError(f"{kind} name should be a string. Got {_type_name(name)}")
        if hasattr(self, name) and name not in members:
            raise KeyError(f"attribute '{name}' already exists")
        if "." in name:
            raise KeyError(f'{kind} name can\'t contain ".", got: {name}')
        if name == "":
            raise KeyError(f'{kind} name can\'t be empty string ""')

    def __getattr__(self, name: str) -> Any:
        attributes = self.__dict__
        if "_parameters" in attributes:  # written out, because every use of a parameter or child comes by here
            if name in (parameters := attributes["_parameters"]):
                return parameters[name]
            if name in (modules := attributes["_modules"]):
                return modules[name]
            if name in (buffers := attributes["_buffers"]):
                return buffers[name]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Parameter):
            self._assign(name, value, "_parameters", "parameters")
            self.register_parameter(name, value)
        elif isinstance(value, Module):
            self._assign_module(name, value)
        elif isinstance(value, Buffer) and not self._is_member(name, "_parameters", "_modules"):
            self._assign(name, value, "_buffers", "buffer")
            self.register_buffer(name, value, value.persistent)
        else:
            self._assign_plain(name, value)

    def _is_member(self, name: str, *kinds: str) -> bool:
        return any(name in self.__dict__.get(kind, ()) for kind in kinds)

    def _assign_module(self, name: str, module: Module) -> None:
        if self._is_member(name, "_parameters"):
            raise self._cannot_assign(module, "parameter", name, "nn.Parameter")
        self._assign(name, module, "_modules", "module")
        self._modules[name] = module

    def _assign(self, name: str, value: Any, members: str, kind: str) -> None:
        """Make way for a member: its name leaves every other place."""
        attributes = self.__dict__
        if members not in attributes:
            raise AttributeError(f"cannot assign {kind} before Module.__init__() call")
        attributes.pop(name, None)
        for other in ("_parameters", "_buffers", "_modules"):
            if other != members:
                attributes[other].pop(name, None)
        self._non_persistent_buffers_set.discard(name)

    def _assign_plain(self, name: str, value: Any) -> None:
        """Assign what is neither Parameter, Buffer nor Module: members take None, and buffers any tensor."""
        if self._is_member(name, "_parameters"):
            if value is not None:
                raise self._cannot_assign(value, "parameter", name, "nn.Parameter")
            self._parameters[name] = None
        elif self._is_member(name, "_modules"):
            if value is not None:
                raise self._cannot_assign(value, "child module", name, "nn.Module")
            self._modules[name] = None
        elif self._is_member(name, "_buffers"):
            if value is not None and not isinstance(value, Tensor):
                raise self._cannot_assign(value, "buffer", name, "nn.Buffer, Tensor")
            self._buffers[name] = value
        else:
            super().__setattr__(name, value)

    def _cannot_assign(self, value: Any, kind: str, name: str, expected: str) -> TypeError:
        return TypeError(f"cannot assign '{_type_name(value)}' as {kind} '{name}' ({expected} or None expected)")

    def __delattr__(self, name: str) -> None:
        if name in self._parameters:
            del self._parameters[name]
        elif name in self._buffers:
            del self._buffers[name]
            self._non_persistent_buffers_set.discard(name)
        elif name in self._modules:
            del self._modules[name]
        else:
            super().__delattr__(name)

    def __dir__(self) -> list[str]:
        names = {*dir(type(self)), *self.__dict__, *self._parameters, *self._buffers, *self._modules}
        return sorted(name for name in names if not name[:1].isdigit())

    # Walking the tree

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Iterate over the parameters, each once; without `recurse` only over the module's own."""
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Iterate over pairs of name and parameter.

        Args:
            prefix: goes before every name, with a dot.
            recurse: descend into child modules.
            remove_duplicate: give a parameter that has several names only once.
        """
        return self._named_members(lambda module: module._parameters.items(), prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """Iterate over the buffers, each once; without `recurse` only over the module's own."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """Iterate over pairs of name and buffer; arguments as in `named_parameters`."""
        return self._named_members(lambda module: module._buffers.items(), prefix, recurse, remove_duplicate)

    def _named_members(
        self,
        get_members_fn: Callable[[Module], Iterable[tuple[str, Any]]],
        prefix: str = "",
        recurse: bool = True,
        remove_duplicate: bool = True,
    ) -> Iterator[tuple[str, Any]]:
        """Iterate over the members of this module and, with `recurse`, of all modules below it."""
        seen: set[int] = set()
        modules = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate) if recurse else [(prefix, self)]
        for module_name, module in modules:
            for name, member in get_members_fn(module):
                if member is None or id(member) in seen:
                    continue
                if remove_duplicate:
                    seen.add(id(member))
                yield _dotted(module_name, name), member

    def children(self) -> Iterator[Module]:
        """Iterate over the modules directly below this one, each once."""
        for _, module in self.named_children():
            yield module

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Iterate over pairs of name and module directly below this one, each module once."""
        seen: set[Module] = set()
        for name, module in self._modules.items():
            if module is not None and module not in seen:
                seen.add(module)
                yield name, module

    def modules(self, remove_duplicate: bool = True) -> Iterator[Module]:
        """Iterate over this module and all modules below it."""
        for _, module in self.named_modules(remove_duplicate=remove_duplicate):
            yield module

    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """Iterate over pairs of dotted name and module: this one (named `prefix`) and all below it.

        Args:
            memo: modules to leave out; those given are added to it.
            prefix: the name of this module.
            remove_duplicate: give a module that has several names only once.
        """
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                yield from module.named_modules(memo, _dotted(prefix, name), remove_duplicate)

    def get_submodule(self, target: str) -> Module:
        """Return the module with a dotted name; the empty name is this module.

        Raises:
            AttributeError: there is nothing of that name, or it is no Module.
        """
        module: Any = self
        for name in target.split(".") if target else ():
            if not hasattr(module, name):
                raise AttributeError(f"{module._get_name()} has no attribute `{name}`")
            module = getattr(module, name)
            if not isinstance(module, Module):
                raise AttributeError(f"`{name}` is not an nn.Module")
        return module

    def set_submodule(self, target: str, module: Module, strict: bool = False) -> None:
        """Put a module in the place with a dotted name.

        Args:
            target: the dotted name, not empty; all but its last part must exist.
            module: the new module.
            strict: the last part must exist, too.

        Raises:
            ValueError: an empty name or not a module.
            AttributeError: a part of the name does not exist or is no Module.
        """
        if target == "":
            raise ValueError("Cannot set the submodule without a target name!")
        if not isinstance(module, Module):
            raise ValueError(f"`module` is not an nn.Module, found {type(module)}")
        path, _, name = target.rpartition(".")
        parent = self.get_submodule(path)
        if strict and not hasattr(parent, name):
            raise AttributeError(f"{parent._get_name()} has no attribute `{name}`")
        if hasattr(parent, name) and not isinstance(getattr(parent, name), Module):
            raise AttributeError(f"`{name}` is not an nn.Module")
        setattr(parent, name, module)

    def get_parameter(self, target: str) -> Parameter:
        """Return the parameter with a dotted name.

        Raises:
            AttributeError: there is nothing of that name, or it is no Parameter.
        """
        name, value = self._get_member(target)
        if not isinstance(value, Parameter):
            raise AttributeError(f"`{name}` is not an nn.Parameter")
        return value

    def get_buffer(self, target: str) -> Tensor:
        """Return the buffer with a dotted name.

        Raises:
            AttributeError: there is nothing of that name, or it is no buffer.
        """
        name, value = self._get_member(target)
        path = target.rpartition(".")[0]
        if name not in self.get_submodule(path)._buffers:
            raise AttributeError(f"`{name}` is not a buffer")
        return value

    def _get_member(self, target: str) -> tuple[str, Any]:
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if not hasattr(module, name):
            raise AttributeError(f"{module._get_name()} has no attribute `{name}`")
        return name, getattr(module, name)

    def apply(self, fn: Callable[[Module], None]) -> Self:
        """Call `fn` on every module below this one and then on this one; return this module.

        >>> from nbtorch import nn
        >>> net = nn.Sequential(nn.Linear(1, 1), nn.ReLU())
        >>> _ = net.apply(lambda module: print(type(module).__name__))
        Linear
        ReLU
        Sequential
        """
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    # Modes and gradients

    def train(self, mode: bool = True) -> Self:
        """Set training mode (or, with False, evaluation mode) here and in all modules below; return this module.

        Raises:
            ValueError: `mode` is no bool.
        """
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self) -> Self:
        """Set evaluation mode: `train(False)`."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Set whether the parameters accumulate gradients; return this module."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the parameters' gradients, or without `set_to_none` fill them with zeros."""
        for parameter in self.parameters():
            gradient = parameter.grad
            if set_to_none or gradient is None:
                parameter.grad = None
            else:
                (gradient.requires_grad_(False) if gradient.is_leaf else gradient.detach_()).zero_()

    # Moving and converting

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Replace the data of every parameter, gradient and buffer by `fn` of it."""
        if recurse:
            for module in self.children():
                module._apply(fn)
        with no_grad():
            for parameter in self._parameters.values():
                if parameter is not None:
                    _convert(parameter, fn)
            for name, buffer in self._buffers.items():
                if buffer is not None:
                    self._buffers[name] = fn(buffer)
        return self

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Move parameters and buffers to a device and convert the floating-point ones to a dtype, in place.

        Called as `to(device, dtype=None, non_blocking=False)`, `to(dtype, non_blocking=False)` or
        `to(tensor, non_blocking=False)` (device and dtype of the tensor).

        Returns:
            This module.

        Raises:
            TypeError: a dtype that is not floating point, or other arguments.

        >>> import nbtorch
        >>> nbtorch.nn.Linear(2, 1).to(nbtorch.float64).weight.dtype
        torch.float64
        """
        target, kind = _device_and_dtype(*args, **kwargs)
        if kind is not None and kind.category < 2:
            raise TypeError(f"nn.Module.to only accepts floating point or complex dtypes, but got desired dtype={kind}")

        def convert(tensor: Tensor) -> Tensor:
            return tensor.to(device=target, dtype=kind if tensor.dtype.category > 1 else None)

        return self._apply(convert)

    def share_memory(self) -> Self:
        """Move parameters and buffers to memory that processes forked later share."""
        return self._apply(lambda tensor: tensor.share_memory_())

    def to_empty(self, *, device: Any, recurse: bool = True) -> Self:
        """Move parameters and buffers to a device without their values."""
        from ...creation import empty_like

        return self._apply(lambda tensor: empty_like(tensor, device=device), recurse)

    def cpu(self) -> Self:
        """Move parameters and buffers to the CPU."""
        return self._apply(lambda tensor: tensor.cpu())

    def cuda(self, device: Any = None) -> Self:
        """Move parameters and buffers to a GPU."""
        return self._apply(lambda tensor: tensor.cuda(device))

    def type(self, dst_type: Any) -> Self:
        """Convert all parameters and buffers to a dtype."""
        return self._apply(lambda tensor: tensor.type(dst_type))

    def float(self) -> Self:
        """Convert floating-point parameters and buffers to float32."""
        return self._convert_floating(float32)

    def double(self) -> Self:
        """Convert floating-point parameters and buffers to float64."""
        return self._convert_floating(float64)

    def half(self) -> Self:
        """Convert floating-point parameters and buffers to float16."""
        return self._convert_floating(float16)

    def bfloat16(self) -> Self:
        """Convert floating-point parameters and buffers to bfloat16."""
        return self._convert_floating(bfloat16)

    def _convert_floating(self, kind: dtype) -> Self:
        return self._apply(lambda tensor: tensor.to(dtype=kind) if tensor.is_floating_point() else tensor)

    # State

    def state_dict(self, *args: Any, destination: Any = None, prefix: str = "", keep_vars: bool = False) -> Any:
        """Return the parameters and persistent buffers of the module and all modules below it, by dotted name.

        Args:
            args: the other arguments by position (deprecated).
            destination: a dictionary to fill instead of a new one.
            prefix: goes before every name.
            keep_vars: give the parameters themselves; by default the tensors are detached and share their memory.

        >>> from nbtorch import nn
        >>> list(nn.Sequential(nn.Linear(1, 1), nn.ReLU()).state_dict())
        ['0.weight', '0.bias']
        """
        if args:
            warnings.warn("Positional args are being deprecated, use kwargs instead.", FutureWarning, stacklevel=2)
            destination, prefix, keep_vars = (*args, destination, prefix, keep_vars)[: len(args)] + (
                (destination, prefix, keep_vars)[len(args) :]
            )
        if destination is None:
            destination = OrderedDict()
            destination._metadata = OrderedDict()
        local_metadata = {"version": self._version}
        if hasattr(destination, "_metadata"):
            destination._metadata[prefix[:-1]] = local_metadata
        for hook in self._state_hooks_of(STATE_DICT_PRE):
            hook(self, prefix, keep_vars)
        self._save_to_state_dict(destination, prefix, keep_vars)
        for name, module in self._modules.items():
            if module is not None:
                module.state_dict(destination=destination, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
        return self._run_state_dict_hooks(destination, prefix, local_metadata)

    def _run_state_dict_hooks(self, destination: Any, prefix: str, local_metadata: dict[str, Any]) -> Any:
        for hook in self._state_hooks_of(STATE_DICT):
            replaced = hook(self, destination, prefix, local_metadata)
            if replaced is not None:
                destination = replaced
        for hook in self._state_hooks_of(STATE_DICT_POST):
            if hook(self, destination, prefix, local_metadata) is not None:
                raise RuntimeError("state_dict post-hook must return None")
        return destination

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        """Write the module's own state, without its children, into `destination`."""
        for name, tensor in self._named_state():
            destination[prefix + name] = tensor if keep_vars else tensor.detach()
        if self._has_extra_state("get_extra_state"):
            destination[prefix + EXTRA_STATE] = self.get_extra_state()

    def _named_state(self) -> Iterator[tuple[str, Tensor]]:
        """Iterate over the module's own parameters and persistent buffers."""
        for name, parameter in self._parameters.items():
            if parameter is not None:
                yield name, parameter
        for name, buffer in self._buffers.items():
            if buffer is not None and name not in self._non_persistent_buffers_set:
                yield name, buffer

    def _has_extra_state(self, method: str) -> bool:
        return getattr(type(self), method) is not getattr(Module, method)

    def get_extra_state(self) -> Any:
        """Return whatever else belongs into the state_dict; a subclass defines it together with `set_extra_state`."""
        raise RuntimeError(f"{type(self).__name__} defines no get_extra_state()")

    def set_extra_state(self, state: Any) -> None:
        """Take back what `get_extra_state` returned."""
        raise RuntimeError(f"{type(self).__name__} defines no set_extra_state()")

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> _IncompatibleKeys:
        """Copy parameters and buffers from a state_dict into this module and all modules below it.

        Args:
            state_dict: tensors by dotted name, as `state_dict()` returns them.
            strict: every name must be found, here and there.
            assign: take the tensors of the state_dict themselves, with their dtype and device, instead of copying.

        Returns:
            A named tuple of `missing_keys` and `unexpected_keys`.

        Raises:
            TypeError: `state_dict` is no mapping.
            RuntimeError: shapes do not match, a value is no tensor or, with `strict`, a name is missing or unknown;
                the text lists all of them.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")
        metadata = getattr(state_dict, "_metadata", None)
        state: Any = OrderedDict(state_dict)
        if metadata is not None:
            state._metadata = metadata
        keys = _IncompatibleKeys([], [])
        errors: list[str] = []
        self._load_tree(state, "", metadata, strict, assign, keys, errors)
        if strict:
            errors = _describe_keys(keys) + errors
        if errors:
            raise RuntimeError(f"Error(s) in loading state_dict for {type(self).__name__}:\n\t" + "\n\t".join(errors))
        return keys

    def _load_tree(
        self,
        state: Any,
        prefix: str,
        metadata: Mapping[str, Any] | None,
        strict: bool,
        assign: bool,
        keys: _IncompatibleKeys,
        errors: list[str],
    ) -> None:
        local_metadata = {} if metadata is None else dict(metadata.get(prefix[:-1], {}))
        if assign:
            local_metadata["assign_to_params_buffers"] = True
        self._load_from_state_dict(state, prefix, local_metadata, True, keys.missing_keys, keys.unexpected_keys, errors)
        for name, child in self._modules.items():
            if child is not None:
                below = f"{prefix}{name}."
                own = OrderedDict((key, value) for key, value in state.items() if key.startswith(below))
                child._load_tree(own, below, metadata, strict, assign, keys, errors)
        for hook in self._state_hooks_of(LOAD_STATE_DICT_POST):
            if hook(self, keys) is not None:
                raise AssertionError(
                    "Hooks registered with ``register_load_state_dict_post_hook`` are not expected to return new"
                    " values, if incompatible_keys need to be modified, it should be done inplace."
                )

    def _load_from_state_dict(
        self,
        state_dict: Any,
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Load the module's own state, without its children; a subclass may override it to read older versions.

        Problems are appended to the three lists; with `strict` those include missing and unexpected keys.
        """
        for hook in self._state_hooks_of(LOAD_STATE_DICT_PRE):
            hook(self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)
        assign = local_metadata.get("assign_to_params_buffers", False)
        for name, own in list(self._named_state()):
            key = prefix + name
            if key in state_dict:
                problem = self._load_tensor(name, own, state_dict[key], assign, key)
                if problem:
                    error_msgs.append(problem)
            elif strict:
                missing_keys.append(key)
        self._load_extra_state(state_dict, prefix + EXTRA_STATE, strict, missing_keys, unexpected_keys)
        if strict:
            unexpected_keys += self._unexpected(state_dict, prefix)

    def _load_tensor(self, name: str, own: Tensor, value: Any, assign: bool, key: str) -> str | None:
        """Copy or assign one value; return what is wrong with it, if anything."""
        if not isinstance(value, Tensor):
            return (
                f'While copying the parameter named "{key}", expected Tensor or Tensor-like object from checkpoint'
                f" but received {type(value)}"
            )
        if own.dim() == 0 and value.dim() == 1 and value.numel() == 1:
            value = value[0]  # saved by versions of PyTorch without tensors of rank 0
        if value.shape != own.shape:
            return (
                f"size mismatch for {key}: copying a param with shape {value.shape} from checkpoint,"
                f" the shape in current model is {own.shape}."
            )
        with no_grad():
            if not assign:
                own.copy_(value)
            elif isinstance(own, Parameter) and not isinstance(value, Parameter):
                setattr(self, name, Parameter(value, requires_grad=own.requires_grad))
            else:
                setattr(self, name, value.requires_grad_(own.requires_grad))
        return None

    def _load_extra_state(
        self, state_dict: Any, key: str, strict: bool, missing_keys: list[str], unexpected_keys: list[str]
    ) -> None:
        if self._has_extra_state("set_extra_state"):
            if key in state_dict:
                self.set_extra_state(state_dict[key])
            elif strict:
                missing_keys.append(key)
        elif strict and key in state_dict:
            unexpected_keys.append(key)

    def _unexpected(self, state_dict: Mapping[str, Any], prefix: str) -> Iterator[str]:
        """Iterate over the keys below `prefix` that belong to neither the module nor one of its children."""
        own = {name for name, _ in self._named_state()}
        for key in state_dict:
            if not key.startswith(prefix) or key == prefix + EXTRA_STATE:
                continue
            name, dot, _ = key[len(prefix) :].partition(".")
            if name not in self._modules and (dot or name not in own):
                yield key

    def _state_hooks_of(self, kind: str) -> list[Callable[..., Any]]:
        return [hook.function for hook in (self._state_hooks or {}).values() if hook.kind == kind]

    def register_state_dict_pre_hook(self, hook: Callable[..., None]) -> RemovableHandle:
        """Call `hook(module, prefix, keep_vars)` before `state_dict` collects the module's state."""
        return Hook(STATE_DICT_PRE, hook).add_to(self, "_state_hooks")

    def register_state_dict_post_hook(self, hook: Callable[..., None]) -> RemovableHandle:
        """Call `hook(module, state_dict, prefix, local_metadata)` after; it may change the state_dict in place."""
        return Hook(STATE_DICT_POST, hook).add_to(self, "_state_hooks")

    def _register_state_dict_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Like `register_state_dict_post_hook`, but the hook may return another state_dict."""
        return Hook(STATE_DICT, hook).add_to(self, "_state_hooks")

    def register_load_state_dict_pre_hook(self, hook: Callable[..., None]) -> RemovableHandle:
        """Call `hook(module, *arguments of _load_from_state_dict)` before the module's state is loaded."""
        return Hook(LOAD_STATE_DICT_PRE, hook).add_to(self, "_state_hooks")

    def register_load_state_dict_post_hook(self, hook: Callable[..., None]) -> RemovableHandle:
        """Call `hook(module, incompatible_keys)` after the state is loaded; it may change the keys in place."""
        return Hook(LOAD_STATE_DICT_POST, hook).add_to(self, "_state_hooks")

    # Text

    def _get_name(self) -> str:
        return type(self).__name__

    def extra_repr(self) -> str:
        """Return what a subclass wants to see inside the parentheses of its repr."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        children = [format_child(name, repr(module)) for name, module in self._modules.items()]
        return format_repr(self._get_name(), extra.split("\n") if extra else [], children)


def format_repr(name: str, extra: list[str], children: list[str]) -> str:
    """Return a module's repr: on one line if there is one line of its own and no child."""
    lines = extra + children
    if not lines:
        return f"{name}()"
    if len(extra) == 1 and not children:
        return f"{name}({extra[0]})"
    return f"{name}(\n  " + "\n  ".join(lines) + "\n)"


def format_child(name: str, text: str) -> str:
    """Return a child's repr as it appears, indented, in that of its parent."""
    return f"({name}): " + text.replace("\n", "\n  ")


def _dotted(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


def _type_name(value: Any) -> str:
    """Return the name of a value's type as error messages show it."""
    kind = value if isinstance(value, type) else type(value)
    if hasattr(value, "__qualname__"):
        kind = value
    return kind.__qualname__ if kind.__module__ in ("builtins", None) else f"{kind.__module__}.{kind.__qualname__}"


def _convert(parameter: Parameter, fn: Callable[[Tensor], Tensor]) -> None:
    """Replace a parameter's data and gradient, keeping the parameter itself (optimizers refer to it)."""
    gradient = parameter.grad
    parameter.grad = None
    parameter.data = fn(parameter.data)
    if gradient is not None:
        parameter.grad = fn(gradient).requires_grad_(gradient.requires_grad)


def _describe_keys(keys: _IncompatibleKeys) -> list[str]:
    quoted = {
        what: ", ".join([f'"{name}"' for name in names])
        for what, names in (("Missing", keys.missing_keys), ("Unexpected", keys.unexpected_keys))
        if names
    }
    return [f"{what} key(s) in state_dict: {names}. " for what, names in quoted.items()]


def _device_and_dtype(*args: Any, **kwargs: Any) -> tuple[device | None, dtype | None]:
    """Read the arguments of `Module.to`; None for what is not to change."""
    options: dict[str, Any] = {"device": None, "dtype": None, "tensor": None, "non_blocking": False, "copy": False}
    unknown = set(kwargs) - set(options)
    if unknown:
        raise TypeError(f"to: got an unexpected keyword argument '{unknown.pop()}'")
    options |= kwargs
    order = ["device", "dtype", "non_blocking"]
    if args and isinstance(args[0], (dtype, Tensor)):
        order = ["dtype" if isinstance(args[0], dtype) else "tensor", "non_blocking"]
    if len(args) > len(order):
        raise TypeError(f"to: expected at most {len(order)} positional arguments here, got {len(args)}")
    options |= dict(zip(order, args, strict=False))
    like = options["tensor"]
    if like is not None:
        return like.device, like.dtype
    target, kind = options["device"], options["dtype"]
    if kind is not None and not isinstance(kind, dtype):
        raise TypeError(f"to: dtype must be an nbtorch.dtype, got {kind!r}")
    return None if target is None else as_device(target), kind
