"""The hooks of modules: how they are kept, and how they run around a forward call and inside backward.

A module keeps all the hooks of its calls in one ordered dictionary, so that a call without hooks costs one look at it.
"""

from __future__ import annotations

import itertools
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ...autograd.grad_mode import is_grad_enabled
from ...autograd.graph import Node
from ...hooks import RemovableHandle, add_hook
from ...tensor import Tensor

if TYPE_CHECKING:
    from .module import Module

FORWARD_PRE = "forward_pre"
FORWARD = "forward"
BACKWARD_PRE = "backward_pre"
BACKWARD = "backward"
BACKWARD_OF_OUTPUT = "backward_of_output"  # `register_backward_hook`: sees the gradients of the last operation only


class Hook(NamedTuple):
    """A function, when it is called, and how it wants to be called."""

    kind: str
    function: Callable[..., Any]
    with_kwargs: bool = False
    always_call: bool = False

    def add_to(self, owner: Any, attribute: str, prepend: bool = False) -> RemovableHandle:
        """Append the hook to the dictionary `owner.attribute`, or put it first."""
        handle = add_hook(owner, attribute, self)  # type: ignore[arg-type]
        if prepend:
            getattr(owner, attribute).move_to_end(handle.id, last=False)
        return handle


class _GlobalHooks:
    """Hooks that run for every module, before the module's own."""

    hooks: OrderedDict[int, Hook] | None = None


of_all_modules = _GlobalHooks()


def register_module_forward_pre_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call `hook(module, args)` before the forward of every module."""
    return Hook(FORWARD_PRE, hook).add_to(of_all_modules, "hooks")


def register_module_forward_hook(
    hook: Callable[..., Any], *, with_kwargs: bool = False, always_call: bool = False
) -> RemovableHandle:
    """Call `hook(module, args, output)` after the forward of every module."""
    return Hook(FORWARD, hook, with_kwargs, always_call).add_to(of_all_modules, "hooks")


def register_module_full_backward_pre_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call `hook(module, grad_output)` before the backward of every module."""
    return Hook(BACKWARD_PRE, hook).add_to(of_all_modules, "hooks")


def register_module_full_backward_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call `hook(module, grad_input, grad_output)` after the backward of every module."""
    return Hook(BACKWARD, hook).add_to(of_all_modules, "hooks")


def hooks_of(module: Module, kind: str) -> list[tuple[int, Hook]]:
    """Return the global hooks and then the module's own hooks of a kind, as they are now."""
    both = itertools.chain((of_all_modules.hooks or {}).items(), (module._call_hooks or {}).items())
    return [(number, hook) for number, hook in both if hook.kind == kind]


def call_with_hooks(module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return `module.forward(*args, **kwargs)`, with the module's hooks before, after and in its backward."""
    result = None
    called: set[int] = set()
    try:
        for _, hook in hooks_of(module, FORWARD_PRE):
            args, kwargs = _replaced_arguments(hook, module, args, kwargs)
        backward = _BackwardHooks.of(module)
        if backward is not None:
            args = backward.watch_inputs(args)
        result = module.forward(*args, **kwargs)
        for number, hook in hooks_of(module, FORWARD):
            called.add(number)
            replaced = _call_forward_hook(hook, module, args, kwargs, result)
            if replaced is not None:
                result = replaced
        if backward is not None:
            result = backward.watch_outputs(result)
        _watch_last_operation(module, result)
        return result
    except Exception:
        for number, hook in hooks_of(module, FORWARD):
            if hook.always_call and number not in called:
                result = _call_in_spite_of_error(hook, module, args, kwargs, result)
        raise


def _replaced_arguments(
    hook: Hook, module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if not hook.with_kwargs:
        replaced = hook.function(module, args)
        if replaced is None:
            return args, kwargs
        return replaced if isinstance(replaced, tuple) else (replaced,), kwargs
    replaced = hook.function(module, args, kwargs)
    if replaced is None:
        return args, kwargs
    if not (isinstance(replaced, tuple) and len(replaced) == 2):
        raise RuntimeError(
            f"forward pre-hook must return None or a tuple of (new_args, new_kwargs), but got {replaced}."
        )
    return replaced


def _call_forward_hook(hook: Hook, module: Module, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> Any:
    if hook.with_kwargs:
        return hook.function(module, args, kwargs, result)
    return hook.function(module, args, result)


def _call_in_spite_of_error(
    hook: Hook, module: Module, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
) -> Any:
    """Call a hook while another exception is on its way; an exception of the hook itself becomes a warning."""
    try:
        replaced = _call_forward_hook(hook, module, args, kwargs, result)
    except Exception as error:
        warnings.warn(
            f"forward hook with always_call=True raised an exception that was silenced as another error was raised"
            f" in forward: {error}",
            stacklevel=2,
        )
        return result
    return result if replaced is None else replaced


class _Tap(Node):
    """The identity on tensors; shows the gradients that pass through it in backward to a function."""

    name = "BackwardHookFunctionBackward"

    def __init__(self, show: Callable[[tuple[Any, ...]], tuple[Any, ...]]) -> None:
        self.show = show

    def forward(self, *arrays: Any) -> tuple[Any, ...]:
        return arrays

    def backward(self, *grad_outputs: Any) -> tuple[Any, ...]:
        return self.show(grad_outputs)

    def replayed(self, base: Tensor) -> Tensor:
        """Refuse to follow a change in place, which would go around the hooks."""
        raise RuntimeError(
            "Output 0 of BackwardHookFunction is a view and is being modified inplace: a module with backward hooks"
            " must not change its input, nor others its output, in place. Clone the tensor before."
        )


class _BackwardHooks:
    """The full backward hooks of one call: a tap on its inputs and one on its outputs.

    Backward meets the outputs' tap first: it runs the pre-hooks and remembers the gradients for the hooks, which the
    inputs' tap runs. Where no input requires a gradient the outputs' tap runs them at once.
    """

    def __init__(self, module: Module, hooks: list[Hook], pre_hooks: list[Hook]) -> None:
        self.module = module
        self.hooks = hooks
        self.pre_hooks = pre_hooks
        self.input_positions: list[int] = []
        self.input_forms: list[tuple[Any, ...]] = []
        self.input_count = 0
        self.output_positions: list[int] = []
        self.output_count = 0
        self.grad_output: Any = None

    @classmethod
    def of(cls, module: Module) -> _BackwardHooks | None:
        """Return the hooks of a call that begins now, or None where there are none."""
        hooks = [hook for _, hook in hooks_of(module, BACKWARD)]
        pre_hooks = [hook for _, hook in hooks_of(module, BACKWARD_PRE)]
        return cls(module, hooks, pre_hooks) if hooks or pre_hooks else None

    def watch_inputs(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the arguments with a tap on those that require a gradient."""
        self.input_count = len(args)
        args, self.input_positions = _tapped(args, self._on_grad_input)
        watched = [args[position] for position in self.input_positions]
        self.input_forms = [(x.shape, 0, x.dtype, x.device) for x in watched]
        return args

    def watch_outputs(self, result: Any) -> Any:
        """Return the result with a tap on the tensors that require a gradient."""
        outputs = (result,) if isinstance(result, Tensor) else result
        if not isinstance(outputs, tuple):
            warnings.warn(
                "For backward hooks to be called, module output should be a Tensor or a tuple of Tensors"
                f" but received {type(result)}",
                stacklevel=4,
            )
            return result
        self.output_count = len(outputs)
        outputs, self.output_positions = _tapped(outputs, self._on_grad_output)
        return outputs[0] if isinstance(result, Tensor) else _like_tuple(result, outputs)

    def _on_grad_output(self, grads: tuple[Any, ...]) -> tuple[Any, ...]:
        grad_output = _spread(grads, self.output_positions, self.output_count)
        for hook in self.pre_hooks:
            replaced = hook.function(self.module, grad_output)
            if replaced is not None:
                grad_output = _checked(replaced, self.output_count, "Backward pre hook", "grad_output")
        self.grad_output = grad_output
        if not self.input_positions:
            self._run_without_inputs()
        return tuple([grad_output[position] for position in self.output_positions])

    def _run_without_inputs(self) -> None:
        if self.hooks:
            warnings.warn(
                "Full backward hook is firing when gradients are computed with respect to module outputs since no"
                " inputs require gradients.",
                stacklevel=2,
            )
        nothing = (None,) * self.input_count
        for hook in self.hooks:
            replaced = hook.function(self.module, nothing, self.grad_output)
            if replaced is not None and any(gradient is not None for gradient in replaced):
                raise RuntimeError(
                    "Backward hook for Modules where no input requires gradient should always return None or None for"
                    " all gradients."
                )
        self.grad_output = None

    def _on_grad_input(self, grads: tuple[Any, ...]) -> tuple[Any, ...]:
        if self.grad_output is None:
            raise RuntimeError(
                "Module backward hook for grad_input is called before the grad_output one. This happens because the"
                " gradient in your nn.Module flows to the Module's input without passing through the Module's output."
                " Make sure that the output depends on the input and that the loss is computed based on the output."
            )
        known = [
            Tensor._filled(*form) if gradient is None else gradient
            for gradient, form in zip(grads, self.input_forms, strict=True)
        ]
        grad_input = _spread(known, self.input_positions, self.input_count)
        for hook in self.hooks:
            replaced = hook.function(self.module, grad_input, self.grad_output)
            if replaced is not None:
                grad_input = _checked(replaced, self.input_count, "Backward hook", "grad_input")
        self.grad_output = None
        return tuple([grad_input[position] for position in self.input_positions])


def _tapped(values: tuple[Any, ...], show: Callable[..., Any]) -> tuple[tuple[Any, ...], list[int]]:
    """Return the values with a tap on every tensor that requires a gradient, and where those are."""
    positions = [i for i, value in enumerate(values) if isinstance(value, Tensor) and value.requires_grad]
    if not positions or not is_grad_enabled():
        return values, []
    tap = _Tap(show)
    tapped = list(values)
    for position, tensor in zip(positions, tap(*[values[i] for i in positions]), strict=True):
        tensor._make_view(values[position], tap)
        tapped[position] = tensor
    return tuple(tapped), positions


def _spread(grads: Sequence[Any], positions: list[int], count: int) -> tuple[Any, ...]:
    """Return `count` values: the gradients at their positions, None elsewhere."""
    spread: list[Any] = [None] * count
    for position, gradient in zip(positions, grads, strict=True):
        spread[position] = gradient
    return tuple(spread)


def _checked(replaced: Any, count: int, what: str, name: str) -> tuple[Any, ...]:
    if not isinstance(replaced, tuple):
        raise RuntimeError(f"{what} must return None or a tuple of {name}, got {type(replaced).__name__}")
    if len(replaced) != count:
        raise RuntimeError(f"{what} returned an invalid number of {name}, got {len(replaced)}, but expected {count}")
    return replaced


def _like_tuple(original: tuple[Any, ...], values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return `values` as the kind of tuple that `original` is (a named tuple stays one)."""
    return type(original)(*values) if hasattr(original, "_fields") else values


def _watch_last_operation(module: Module, result: Any) -> None:
    """Hang the hooks of `register_backward_hook` on the operation that made the result."""
    hooks = hooks_of(module, BACKWARD_OF_OUTPUT)
    if not hooks:
        return
    tensor = next(_tensors_in(result), None)
    if tensor is None or tensor.grad_fn is None:
        return
    for _, hook in hooks:
        tensor.grad_fn.register_hook(
            lambda grad_input, grad_output, function=hook.function: function(module, grad_input, grad_output)
        )


def _tensors_in(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _tensors_in(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _tensors_in(item)
