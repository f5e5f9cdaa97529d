"""Checkpointing of activations: part of a model is computed again in backward instead of keeping what it saved.

`checkpoint(function, *args)` runs `function` as usual, but its intermediate results are not kept for backward. The
variant without reentrance, recommended, records the ordinary graph and leaves a slot in place of each saved tensor;
when backward first asks for one, the function runs again and fills them all. The reentrant variant runs the function
without recording, as one node whose backward runs it again with recording and calls backward on that.

Source: Chen et al., Training Deep Nets with Sublinear Memory Cost (2016), https://arxiv.org/abs/1604.06174
"""

from __future__ import annotations

import contextlib
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from ..autograd import Function, enable_grad
from ..autograd.engine import backward
from ..autograd.grad_mode import is_grad_enabled, no_grad, observers, state
from ..autograd.graph import Node, saved_tensors_hooks, versions_of
from ..random import get_rng_state, set_rng_state
from ..tensor import Tensor

Contexts = tuple[AbstractContextManager[Any], AbstractContextManager[Any]]


class CheckpointError(RuntimeError):
    """The function did not do the same when it was run again."""


def noop_context_fn() -> Contexts:
    """Return two contexts that do nothing."""
    return contextlib.nullcontext(), contextlib.nullcontext()


def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    use_reentrant: bool | None = None,
    context_fn: Callable[[], Contexts] = noop_context_fn,
    determinism_check: str = "default",
    debug: bool = False,
    early_stop: bool = True,
    **kwargs: Any,
) -> Any:
    """Call a function without keeping what it saves for backward, where it is called again.

    Args:
        function: what to call. It must do the same when it is called again.
        *args: its arguments.
        use_reentrant: which variant; to be given. The reentrant one works with `backward()` only (not with `grad` or
            `inputs`), needs an argument that requires a gradient, and does not see keyword arguments.
        context_fn: returns the contexts in which the function runs, the first time and again.
        determinism_check: "default" compares the shapes, types and devices of what is saved each time, "none" not.
        debug: accepted for PyTorch's signature.
        early_stop: end the second run as soon as everything needed has been computed.
        **kwargs: `preserve_rng_state` (default True: the second run sees the same random numbers), and for the variant
            without reentrance the function's keyword arguments.

    Raises:
        ValueError: options that do not go with the reentrant variant, or an unknown check.
        CheckpointError: in backward, the function did not save the same tensors when it was run again.

    >>> import nbtorch
    >>> from nbtorch.utils.checkpoint import checkpoint
    >>> x = nbtorch.tensor([1.0, 2.0], requires_grad=True)
    >>> checkpoint(lambda x: (x * x).exp().sum(), x, use_reentrant=False).backward()
    """
    if use_reentrant is None:
        _warn_of_default("checkpoint")
        use_reentrant = True
    preserve = kwargs.pop("preserve_rng_state", True)
    if use_reentrant:
        if kwargs:
            raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))
        if context_fn is not noop_context_fn or debug is not False:
            raise ValueError("Passing `context_fn` or `debug` is only supported when use_reentrant=False.")
        return CheckpointFunction.apply(function, preserve, *args)
    if determinism_check not in _DETERMINISM_CHECKS:
        raise ValueError(f"determinism_check should be one of {list(_DETERMINISM_CHECKS)}, but got {determinism_check}")
    forward_context, again_context = context_fn()
    if not is_grad_enabled():
        with forward_context:
            return function(*args, **kwargs)
    stop_early = early_stop if _early_stop is None else _early_stop
    run = _Run(function, args, kwargs, preserve, again_context, _DETERMINISM_CHECKS[determinism_check], stop_early)
    with saved_tensors_hooks(run.leave_slot, run.fill_slot), forward_context:
        result = function(*args, **kwargs)
    run.complete = True
    return result


def checkpoint_sequential(
    functions: Any, segments: int, input: Any, use_reentrant: bool | None = None, **kwargs: Any
) -> Any:
    """Run a sequence of functions in segments, all but the last of them checkpointed.

    Args:
        functions: an `nn.Sequential` or a sequence of functions of one argument.
        segments: how many segments to cut it into.
        input: the argument of the first function.
        use_reentrant: as for `checkpoint`.
        **kwargs: `preserve_rng_state` only.
    """
    if use_reentrant is None:
        _warn_of_default("checkpoint.checkpoint_sequential")
        use_reentrant = True
    preserve = kwargs.pop("preserve_rng_state", True)
    if kwargs:
        raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))
    layers = list(functions.children() if hasattr(functions, "children") else functions)
    length = len(layers) // segments
    cut = length * (segments - 1)
    for start in range(0, cut, length):
        segment = _chained(layers[start : start + length])
        input = checkpoint(segment, input, use_reentrant=use_reentrant, preserve_rng_state=preserve)
    return _chained(layers[cut:])(input)


def _chained(functions: Sequence[Callable[[Any], Any]]) -> Callable[[Any], Any]:
    def run(input: Any) -> Any:
        for function in functions:
            input = function(input)
        return input

    return run


def _warn_of_default(name: str) -> None:
    warnings.warn(
        f"torch.utils.{name}: the use_reentrant parameter should be passed explicitly. use_reentrant=False is"
        " recommended, but if you need to preserve the current default behavior, you can pass use_reentrant=True. Refer"
        " to docs for more details on the differences between the two variants.",
        stacklevel=3,
    )


_early_stop: bool | None = None


@contextmanager
def set_checkpoint_early_stop(enable: bool) -> Iterator[None]:
    """Context that overrides `early_stop` of the checkpoints made inside."""
    global _early_stop
    previous, _early_stop = _early_stop, enable
    try:
        yield
    finally:
        _early_stop = previous


@contextmanager
def set_checkpoint_debug_enabled(enabled: bool | None) -> Iterator[None]:
    """Context that is accepted for PyTorch's interface; errors say as much with it as without."""
    yield


@contextmanager
def _random_numbers_of(recorded: Tensor | None) -> Iterator[None]:
    """Context in which random numbers go on from a recorded state; afterwards they go on as before."""
    if recorded is None:
        yield
        return
    present = get_rng_state()
    set_rng_state(recorded)
    try:
        yield
    finally:
        set_rng_state(present)


class _Slot:
    """Stands for a saved tensor; filled while backward goes through the checkpointed part."""

    __slots__ = ("__weakref__", "run", "value")

    def __init__(self, run: _Run) -> None:
        self.run = run
        self.value: Tensor | None = None


class _Stop(Exception):
    """All that backward needs has been computed again."""


def _described(tensor: Tensor) -> dict[str, Any]:
    return {"shape": tensor.shape, "dtype": tensor.dtype, "device": tensor.device}


_DETERMINISM_CHECKS: dict[str, Callable[[Tensor], Any]] = {"default": _described, "none": lambda tensor: None}


class _Run:
    """One call of a checkpointed function, and how to repeat it.

    Slots refer to their run and nodes to their slots, so that a slot's tensor goes as soon as its node lets go of it.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        preserve_rng_state: bool,
        again_context: AbstractContextManager[Any],
        describe: Callable[[Tensor], Any],
        early_stop: bool,
    ) -> None:
        self.function, self.kwargs = function, kwargs
        self.again_context, self.describe, self.early_stop = again_context, describe, early_stop
        self.rng_state = get_rng_state() if preserve_rng_state else None
        self.complete = False
        self.slots: list[weakref.ref[_Slot]] = []
        self.descriptions: list[Any] = []
        self.walk: Callable[[], Any] = lambda: None  # the pass of backward for which the slots are filled
        self.others = [None if isinstance(a, Tensor) else a for a in args]
        self.positions = [i for i, a in enumerate(args) if isinstance(a, Tensor)]
        self.tensors = Node()  # keeps the tensors as nodes do: versions are checked, outer hooks see them
        self.tensors._saved = tuple([args[i] for i in self.positions])
        self.tensors._versions = versions_of(self.tensors._saved)
        if observers.count:
            self.tensors.reveal(())

    def leave_slot(self, tensor: Tensor) -> _Slot:
        """Pack a saved tensor, the first time."""
        slot = _Slot(self)
        self.slots.append(weakref.ref(slot))
        self.descriptions.append(self.describe(tensor))
        return slot

    def fill_slot(self, slot: _Slot) -> Tensor:
        """Unpack a saved tensor: run the function again if that was not done in this pass."""
        if state.walk is None or self.walk() is not state.walk:
            values = self._again()
            for reference, value in zip(self.slots, values, strict=True):
                known = reference()
                if known is not None:
                    known.value = value
            if state.walk is not None:
                self.walk = weakref.ref(state.walk)
                state.walk.at_end.append(self._clear)
        result = slot.value
        assert result is not None
        if state.walk is None:
            self._clear()
        return result

    def _clear(self) -> None:
        for reference in self.slots:
            slot = reference()
            if slot is not None:
                slot.value = None

    def _again(self) -> list[Tensor]:
        """Run the function again and return what it saves."""
        arguments = list(self.others)
        for position, tensor in zip(self.positions, self.tensors.saved_tensors, strict=True):
            arguments[position] = tensor
        values: list[Tensor] = []

        def collect(tensor: Tensor) -> Tensor:
            if len(values) == len(self.slots):
                raise CheckpointError(
                    "torch.utils.checkpoint: trying to save more tensors during recomputation than during the original"
                    " forward pass."
                )
            values.append(tensor.detach())
            if self.complete and self.early_stop and len(values) == len(self.slots):
                raise _Stop
            return values[-1]

        with (
            contextlib.suppress(_Stop),
            _random_numbers_of(self.rng_state),
            enable_grad(),
            self.again_context,
            saved_tensors_hooks(collect, lambda tensor: tensor),
        ):
            self.function(*arguments, **self.kwargs)
        self._compare(values)
        return values

    def _compare(self, values: list[Tensor]) -> None:
        """Raise unless the same was saved as the first time."""
        if len(values) != len(self.slots):
            raise CheckpointError(
                "torch.utils.checkpoint: A different number of tensors was saved during the original forward and"
                " recomputation.\n"
                f"Number of tensors saved during forward: {len(self.slots)}\n"
                f"Number of tensors saved during recomputation: {len(values)}."
            )
        different = [
            f"tensor at position {i}:\nsaved metadata: {saved}\nrecomputed metadata: {self.describe(value)}\n"
            for i, (saved, value, slot) in enumerate(zip(self.descriptions, values, self.slots, strict=True))
            if slot() is not None and saved != self.describe(value)
        ]
        if different:
            raise CheckpointError(
                "torch.utils.checkpoint: Recomputed values for the following tensors have different metadata than"
                f" during the forward pass.\n{''.join(different)}"
            )


def check_backward_validity(inputs: Iterable[Any]) -> None:
    """Warn if no input requires a gradient."""
    if not any(x.requires_grad for x in inputs if isinstance(x, Tensor)):
        warnings.warn("None of the inputs have requires_grad=True. Gradients will be None", stacklevel=2)


def detach_variable(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return tensors outside the graph, requiring gradients as before; other values as they are."""
    if not isinstance(inputs, tuple):
        raise RuntimeError(f"Only tuple of tensors is supported. Got Unsupported input type: {type(inputs).__name__}")
    return tuple(x.detach().requires_grad_(x.requires_grad) if isinstance(x, Tensor) else x for x in inputs)


class CheckpointFunction(Function):
    """The reentrant variant of `checkpoint`: the function as one operation."""

    @staticmethod
    def forward(ctx: Any, run_function: Callable[..., Any], preserve_rng_state: bool, *args: Any) -> Any:
        """Run the function without recording."""
        check_backward_validity(args)
        ctx.run_function = run_function
        ctx.rng_state = get_rng_state() if preserve_rng_state else None
        ctx.others = [None if isinstance(a, Tensor) else a for a in args]
        ctx.positions = [i for i, a in enumerate(args) if isinstance(a, Tensor)]
        ctx.save_for_backward(*[args[i] for i in ctx.positions])
        with no_grad():
            return run_function(*args)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """Run the function again with recording, and go backward through that."""
        if state.walk is not None and state.walk.partial:
            raise RuntimeError(
                "When use_reentrant=True, torch.utils.checkpoint is incompatible with .grad() or passing an `inputs`"
                " parameter to .backward(). To resolve this error, you can either set use_reentrant=False, or call"
                " .backward() without passing the `inputs` argument."
            )
        arguments = list(ctx.others)
        for position, tensor in zip(ctx.positions, ctx.saved_tensors, strict=True):
            arguments[position] = tensor
        detached = detach_variable(tuple(arguments))
        with _random_numbers_of(ctx.rng_state), enable_grad():
            outputs = ctx.run_function(*detached)
        outputs = (outputs,) if isinstance(outputs, Tensor) else outputs
        pairs = [
            (output, gradient)
            for output, gradient in zip(outputs, grads, strict=True)
            if isinstance(output, Tensor) and output.requires_grad
        ]
        if not pairs:
            raise RuntimeError("none of output has requires_grad=True, this checkpoint() is not necessary")
        backward([output for output, _ in pairs], [gradient for _, gradient in pairs])
        return (None, None, *[x.grad if isinstance(x, Tensor) else None for x in detached])
