"""Parameters computed from others: `register_parametrization` and what goes with it."""

from __future__ import annotations

import copyreg
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

from ...autograd.grad_mode import no_grad
from ...tensor import Tensor
from ..modules.container import ModuleDict, ModuleList
from ..modules.module import Module
from ..parameter import Parameter

__all__ = [
    "ParametrizationList",
    "cached",
    "is_parametrized",
    "register_parametrization",
    "remove_parametrizations",
    "transfer_parametrizations_and_params",
    "type_before_parametrizations",
]


class _Cache:
    """Parametrized tensors by module and name, inside of `cached`."""

    depth = 0
    tensors: dict[tuple[int, str], Tensor] = {}


@contextmanager
def cached() -> Iterator[None]:
    """Compute each parametrized tensor only once inside of a `with` block.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.parametrize.cached.html
    """
    _Cache.depth += 1
    try:
        yield
    finally:
        _Cache.depth -= 1
        if not _Cache.depth:
            _Cache.tensors = {}


def _register(module: Module, name: str, tensor: Any) -> None:
    if isinstance(tensor, Parameter):
        module.register_parameter(name, tensor)
    else:
        module.register_buffer(name, tensor)


def _set_memory(target: Any, source: Tensor) -> None:
    """Let a tensor hold the memory of another."""
    if target.dtype is not source.dtype:
        raise RuntimeError(f"cannot set a tensor of {target.dtype} to one of {source.dtype}")
    target.data = source.detach()


def _require_like(what: str, tensor: Any, like: Tensor, name: str) -> None:
    """Refuse a parametrized value that is no tensor, or one of another type or shape."""
    if not isinstance(tensor, Tensor):
        raise ValueError(f"{what} must return a tensor. Got {type(tensor).__name__}.")
    for quality in ("dtype", "shape"):
        given, expected = getattr(tensor, quality), getattr(like, quality)
        if given != expected:
            raise ValueError(
                f"{what} may not change the {quality} of the tensor, unless the `unsafe` flag is enabled:"
                f" expected {name} of {quality} {expected}, got {given}"
            )


class ParametrizationList(ModuleList):
    """The modules that compute a tensor, and what they compute it from: `original`, or `original0`, `original1`, ….

    Args:
        modules: the parametrizations, from the first to the last.
        original: the tensor that is replaced; what it is computed from are the modules' right inverses of it.
        unsafe: leave out the checks of type and shape.

    Raises:
        ValueError: no modules, or results that do not fit.
    """

    original: Any

    def __init__(self, modules: Sequence[Module], original: Any, unsafe: bool = False) -> None:
        if len(modules) == 0:
            raise ValueError("ParametrizationList requires one or more modules.")
        super().__init__(modules)
        self.unsafe = unsafe
        described = original.detach()  # what it was, before it takes another value
        new: Any = original
        with no_grad():
            for module in reversed(list(self)):
                if hasattr(module, "right_inverse"):
                    try:
                        new = module.right_inverse(new)
                    except NotImplementedError:
                        continue
        if not isinstance(new, (Tensor, Sequence)):
            raise ValueError(
                "'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...)."
                f" Got {type(new).__name__}"
            )
        self.is_tensor = isinstance(new, Tensor)
        self.ntensors = 1 if isinstance(new, Tensor) else len(new)
        if isinstance(new, Tensor):
            self._keep_one(original, new)
        else:
            self._keep_several(original, new)
        if not unsafe:
            _require_like("A parametrization", self(), described, "the tensor")

    def _keep_one(self, original: Any, new: Tensor) -> None:
        for quality in ("dtype", "device"):
            before, after = getattr(original, quality), getattr(new, quality)
            if before != after:
                raise ValueError(
                    f"When `right_inverse` outputs one tensor, it may not change the {quality}:"
                    f" expected {before}, got {after}"
                )
        _set_memory(original, new)
        _register(self, "original", original)

    def _keep_several(self, original: Any, new: Sequence[Any]) -> None:
        for number, part in enumerate(new):
            if not isinstance(part, Tensor):
                raise ValueError(
                    "'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...)."
                    f" Got element {number} of the sequence with type {type(part).__name__}."
                )
            if isinstance(original, Parameter):
                part = Parameter(part, original.requires_grad)
            part.requires_grad_(original.requires_grad)
            _register(self, f"original{number}", part)

    @no_grad()
    def right_inverse(self, value: Any) -> None:
        """Set the originals so that the parametrized tensor becomes `value`.

        Raises:
            RuntimeError: a parametrization has no `right_inverse`.
            ValueError: it returns something that does not fit.
        """
        for module in reversed(list(self)):
            if not hasattr(module, "right_inverse"):
                raise RuntimeError(f"parametrization {type(module).__name__} does not implement right_inverse.")
            value = module.right_inverse(value)
        if self.is_tensor:
            self._set("original", value, "`right_inverse` should return a tensor")
            return
        if not isinstance(value, Sequence):
            raise ValueError(f"'right_inverse' must return a sequence of tensors. Got {type(value).__name__}.")
        if len(value) != self.ntensors:
            raise ValueError(
                f"'right_inverse' must return a sequence of tensors of length {self.ntensors}."
                f" Got a sequence of length {len(value)}."
            )
        for number, part in enumerate(value):
            self._set(f"original{number}", part, f"element {number} of `right_inverse` should be a tensor")

    def _set(self, name: str, value: Any, expected: str) -> None:
        own = getattr(self, name)
        if not isinstance(value, Tensor):
            raise ValueError(f"{expected}. Got {type(value).__name__}")
        if value.dtype != own.dtype:
            raise ValueError(
                f"The tensor returned by `right_inverse` has dtype {value.dtype} while `{name}` has dtype {own.dtype}"
            )
        _set_memory(own, value)

    def forward(self) -> Tensor:
        """Compute the parametrized tensor."""
        first, *others = self
        if self.is_tensor:
            value = first(self.original)
        else:
            value = first(*[getattr(self, f"original{number}") for number in range(self.ntensors)])
        for module in others:
            value = module(value)
        return value


def _inject_class(module: Module) -> None:
    """Give a module a class of its own, in which properties can stand for its tensors."""
    cls = type(module)
    members: dict[str, Any] = {"__getstate__": _refuse_pickling}
    if not hasattr(cls, "__deepcopy__"):
        members["__deepcopy__"] = _deepcopied
    module.__class__ = type(f"Parametrized{cls.__name__}", (cls,), members)


def _refuse_pickling(self: Any) -> None:
    raise RuntimeError(
        "Serialization of parametrized modules is only supported through state_dict(). See:\n"
        "https://pytorch.org/tutorials/beginner/saving_loading_models.html"
        "#saving-loading-a-general-checkpoint-for-inference-and-or-resuming-training"
    )


def _deepcopied(self: Any, memo: dict[int, Any]) -> Any:
    """Copy a parametrized module; its class, made for it alone, is shared by the copy."""
    known = memo.get(id(self))
    if known is not None:
        return known
    replica = self.__new__(type(self))
    memo[id(self)] = replica
    replica.__dict__ = deepcopy(self.__dict__, memo)
    for slot in copyreg._slotnames(type(self)):  # type: ignore[attr-defined]
        if hasattr(self, slot):
            setattr(replica, slot, deepcopy(getattr(self, slot), memo))
    return replica


def _inject_property(module: Module, tensor_name: str) -> None:
    """Make an attribute of a module the result of its parametrization."""

    def get(self: Any) -> Tensor:
        parametrization = self.parametrizations[tensor_name]
        if not _Cache.depth:
            return parametrization()
        key = id(self), tensor_name
        if key not in _Cache.tensors:
            _Cache.tensors[key] = parametrization()
        return _Cache.tensors[key]

    def put(self: Any, value: Any) -> None:
        self.parametrizations[tensor_name].right_inverse(value)

    setattr(type(module), tensor_name, property(get, put))


def register_parametrization(
    module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Module:
    """Compute a parameter or buffer of a module by another module from then on.

    `module.weight` is then `parametrization(original)`, with `original` in `module.parametrizations.weight`. A
    parametrization with a method `right_inverse` says what `original` must be for a given value. Several can be
    registered one after the other.

    Args:
        module: the module.
        tensor_name: the name of its parameter or buffer.
        parametrization: a module from tensor to tensor.
        unsafe: leave out the checks that type and shape stay.

    Returns:
        The module.

    Raises:
        ValueError: there is no such tensor, or the parametrization changes its type or shape.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.parametrize.register_parametrization.html

    >>> import nbtorch
    >>> class Symmetric(nbtorch.nn.Module):
    ...     def forward(self, x):
    ...         return x.triu() + x.triu(1).t()
    >>> layer = register_parametrization(nbtorch.nn.Linear(2, 2), "weight", Symmetric())
    >>> bool((layer.weight == layer.weight.t()).all())
    True
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        if not unsafe:
            _check_next(module, tensor_name, parametrization)
        members: Any = module.parametrizations[tensor_name]
        members.append(parametrization)
        members.unsafe |= unsafe
    elif tensor_name in module._buffers or tensor_name in module._parameters:
        original = getattr(module, tensor_name)
        members = ParametrizationList([parametrization], original, unsafe)
        delattr(module, tensor_name)
        if not is_parametrized(module):
            _inject_class(module)
            module.parametrizations = ModuleDict()
        _inject_property(module, tensor_name)
        module.parametrizations[tensor_name] = members
    else:
        raise ValueError(
            f"Module '{module}' does not have a parameter, a buffer, or a parametrized element with name"
            f" '{tensor_name}'"
        )
    return module


def _check_next(module: Module, tensor_name: str, parametrization: Any) -> None:
    """Refuse a further parametrization that changes type or shape, or whose right inverse does."""
    now = getattr(module, tensor_name)
    after = parametrization(now)
    _require_like("A parametrization", after, now, f"module.{tensor_name}")
    if hasattr(parametrization, "right_inverse"):
        try:
            back = parametrization.right_inverse(after)
        except NotImplementedError:
            return
        _require_like("parametrization.right_inverse", back, now, f"module.{tensor_name}")


def is_parametrized(module: Any, tensor_name: str | None = None) -> bool:
    """Return whether a module has a parametrization, or one of this tensor."""
    parametrizations = getattr(module, "parametrizations", None)
    if not isinstance(parametrizations, ModuleDict):
        return False
    return len(parametrizations) > 0 if tensor_name is None else tensor_name in parametrizations


def remove_parametrizations(module: Any, tensor_name: str, leave_parametrized: bool = True) -> Any:
    """Make a parametrized tensor an ordinary one again.

    Args:
        module: the module.
        tensor_name: the tensor's name.
        leave_parametrized: keep the parametrized value; otherwise the original.

    Returns:
        The module.

    Raises:
        ValueError: there is no such parametrization, or its originals are several and were to be kept.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.parametrize.remove_parametrizations.html
    """
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"Module {module} does not have a parametrization on {tensor_name}")
    members = module.parametrizations[tensor_name]
    if members.is_tensor:
        tensor = members.original
        if leave_parametrized:
            with no_grad():
                _set_memory(tensor, getattr(module, tensor_name))
    elif leave_parametrized:
        value = getattr(module, tensor_name)
        tensor = Parameter(value) if value.requires_grad else value
    else:
        raise ValueError(
            "Cannot leave unparametrized (`leave_parametrized=False`) a tensor that is parametrized in terms of a"
            " sequence of tensors."
        )
    delattr(type(module), tensor_name)
    del module.parametrizations[tensor_name]
    _register(module, tensor_name, tensor)
    if not is_parametrized(module):
        delattr(module, "parametrizations")
        module.__class__ = type(module).__bases__[0]
    return module


def type_before_parametrizations(module: Module) -> type:
    """Return a module's class without its parametrizations."""
    return type(module).__bases__[0] if is_parametrized(module) else type(module)


def transfer_parametrizations_and_params(from_module: Any, to_module: Any, tensor_name: str | None = None) -> Any:
    """Give a module the parametrizations of another, and the originals of its parametrized tensors.

    Args:
        from_module: the module that has them.
        to_module: the module that gets them, and is returned.
        tensor_name: the tensor (default: all parametrized ones).
    """
    if is_parametrized(from_module):
        names = list(from_module.parametrizations) if tensor_name is None else [tensor_name]
        for name in names:
            source = from_module.parametrizations[name]
            if not hasattr(to_module, name):
                setattr(to_module, name, Parameter(getattr(from_module, name)))
            for parametrization in source:
                register_parametrization(to_module, name, parametrization)
            target = to_module.parametrizations[name]
            for original in [key for key in (*source._parameters, *source._buffers) if key.startswith("original")]:
                setattr(target, original, getattr(source, original))
    return to_module
