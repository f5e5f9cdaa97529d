"""User-defined operations: subclass `Function`, define `forward` and `backward`, call `apply`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ..tensor import Tensor
from .grad_mode import no_grad, state
from .graph import Node, SavedOutput


class FunctionCtx(Node):
    """What `forward` leaves for `backward`; also the node of the graph. Any attribute may be set on it."""

    function: type[Function]
    _to_save: tuple[Any, ...] = ()
    _dirty: tuple[Any, ...] = ()
    _non_differentiable: tuple[Any, ...] = ()
    materialize_grads = True
    _output_like: tuple[Any, ...] = ()

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep inputs, outputs or other tensors; `backward` reads them from `ctx.saved_tensors`."""
        for tensor in tensors:
            if tensor is not None and not isinstance(tensor, Tensor):
                raise TypeError(
                    f"save_for_backward can only save variables, but argument {tensors.index(tensor)} is of type"
                    f" {type(tensor).__name__}"
                )
        self._to_save = tensors

    def mark_dirty(self, *tensors: Tensor) -> None:
        """Name the inputs that `forward` changed in place; each must be returned as an output."""
        self._dirty = tensors

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Name the outputs that have no gradient."""
        self._non_differentiable = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """Whether `backward` gets zeros (True, the default) or None for an output that nothing used."""
        self.materialize_grads = value

    def _keep(self, outputs: tuple[Any, ...]) -> None:
        """Store what is to be saved, outputs without a reference cycle."""
        saved: list[Any] = []
        for tensor in self._to_save:
            position = next((i for i, output in enumerate(outputs) if output is tensor and tensor is not None), None)
            own = position is not None and tensor._grad_fn is self
            saved.append(SavedOutput(tensor, position) if own else tensor)  # type: ignore[arg-type]
        self._saved = tuple(saved)
        self._versions = tuple(0 if s is None else s._version for s in saved)
        self._to_save = ()

    def backward(self, *grad_outputs: Any) -> tuple[Any, ...]:
        """Call the function's `backward` and check what it returns against the inputs."""
        if self.materialize_grads:
            grad_outputs = tuple(
                like() if g is None else g for g, like in zip(grad_outputs, self._output_like, strict=True)
            )
        results = self.function.backward(self, *grad_outputs)
        if not isinstance(results, tuple):
            results = (results,)
        expected = len(self.edges)
        if len(results) > expected and all(r is None for r in results[expected:]):
            results = results[:expected]
        if len(results) != expected:
            raise RuntimeError(
                f"function {self.name} returned an incorrect number of gradients"
                f" (expected {expected}, got {len(results)})"
            )
        return tuple(self._checked(i, r) for i, r in enumerate(results))

    def _checked(self, index: int, gradient: Any) -> Any:
        if gradient is None or self.edges[index] is None:
            return None
        if not isinstance(gradient, Tensor):
            raise TypeError(
                f"function {self.name} returned a gradient of type {type(gradient).__name__} at index {index};"
                " expected a Tensor or None"
            )
        shape, dtype = self._input_metadata[index]
        if gradient.shape != shape:
            try:
                gradient = gradient.sum_to_size(shape)
            except RuntimeError:
                raise RuntimeError(
                    f"Function {self.name} returned an invalid gradient at index {index} - got"
                    f" {list(gradient.shape)} but expected shape compatible with {list(shape)}"
                ) from None
        return gradient if gradient.dtype is dtype else gradient.to(dtype)

    _input_metadata: tuple[Any, ...] = ()


class Function:
    """A differentiable operation defined by the user.

    `forward(ctx, *args)` computes the outputs (operations inside are not recorded), `backward(ctx, *grad_outputs)`
    returns a gradient, or None, for each argument of `forward`. Alternatively `forward(*args)` and
    `setup_context(ctx, inputs, output)` split computing from saving.

    >>> import nbtorch
    >>> class Square(nbtorch.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x * x
    ...     @staticmethod
    ...     def backward(ctx, grad_output):
    ...         (x,) = ctx.saved_tensors
    ...         return 2 * x * grad_output
    >>> x = nbtorch.tensor(3.0, requires_grad=True)
    >>> Square.apply(x).backward()
    >>> x.grad
    tensor(6.)
    """

    _node_class: type[FunctionCtx] = FunctionCtx

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError(
            f"{type(self).__name__} should not be instantiated. Methods on autograd functions are all static, so you"
            " should invoke them on the class itself: call apply."
        )

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        name = f"{cls.__name__}Backward"
        cls._node_class = type(name, (FunctionCtx,), {"name": name, "function": cls})

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """Compute the outputs."""
        raise TypeError("You must implement the forward function for custom autograd.Function.")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> Any:
        """Save for backward, where `forward` takes no `ctx`."""
        raise TypeError("setup_context is not implemented for custom autograd.Function.")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """Compute a gradient for each argument of `forward`."""
        raise TypeError(
            "You must implement either the backward or vjp method for your custom autograd.Function to use it with"
            " backward mode AD."
        )

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Run `forward` and record it if an argument requires a gradient."""
        ctx = cls._node_class()
        recorded = state.enabled and any(isinstance(a, Tensor) and a.requires_grad for a in args)
        ctx.needs_input_grad = tuple(isinstance(a, Tensor) and a.requires_grad for a in args)
        with no_grad():
            if cls.setup_context is Function.setup_context:
                outputs = cls.forward(ctx, *args)
            else:
                outputs = cls.forward(*args)
                cls.setup_context(ctx, args, outputs)
        results = outputs if isinstance(outputs, tuple) else (outputs,)
        results = tuple(_own(ctx, result, args) for result in results)
        for tensor in ctx._dirty:
            tensor._bump_version()
        if recorded:
            _connect(ctx, args, results)
        ctx._keep(results)
        return results if isinstance(outputs, tuple) else results[0]


def _own(ctx: FunctionCtx, result: Any, args: tuple[Any, ...]) -> Any:
    """Return an output that may become this node's: an input that is returned as it is becomes an alias."""
    if not isinstance(result, Tensor) or any(result is d for d in ctx._dirty):
        return result
    if any(result is a for a in args) or result._base is not None or result._requires_grad:
        alias = result.detach()
        ctx._to_save = tuple(alias if t is result and not any(t is a for a in args) else t for t in ctx._to_save)
        ctx._non_differentiable = tuple(alias if t is result else t for t in ctx._non_differentiable)
        return alias
    return result


def _connect(ctx: FunctionCtx, args: tuple[Any, ...], results: tuple[Any, ...]) -> None:
    ctx.connect([a if isinstance(a, Tensor) else _CONSTANT for a in args])
    ctx._input_metadata = tuple((a.shape, a.dtype) if isinstance(a, Tensor) else None for a in args)
    ctx.output_count = len(results)
    ctx._output_like = tuple(
        functools.partial(_zeros, r.shape, r.dtype, r.device) if isinstance(r, Tensor) else _nothing for r in results
    )
    for number, result in enumerate(results):
        if not isinstance(result, Tensor) or any(result is t for t in ctx._non_differentiable):
            continue
        if any(result is t for t in ctx._dirty):
            result._rebase(ctx, number)
        elif result.dtype.is_floating_point:
            result._requires_grad, result._grad_fn, result._output_nr = True, ctx, number


def _zeros(shape: Any, dtype: Any, device: Any) -> Tensor:
    return Tensor._filled(shape, 0, dtype, device)


def _nothing() -> None:
    return None


class _Constant:
    """Stands for an argument that is no tensor where edges are drawn."""

    _base = None
    _requires_grad = False


_CONSTANT: Any = _Constant()


def once_differentiable(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a `backward` that cannot itself be differentiated: doing so raises an error."""

    @functools.wraps(function)
    def decorated(ctx: Any, *grad_outputs: Any) -> Any:
        with no_grad():
            results = function(ctx, *grad_outputs)
        if not state.enabled or not any(isinstance(g, Tensor) and g.requires_grad for g in grad_outputs):
            return results
        refused = [
            _Refuse.apply(r, *grad_outputs) if isinstance(r, Tensor) else r
            for r in (results if isinstance(results, tuple) else (results,))
        ]
        return tuple(refused) if isinstance(results, tuple) else refused[0]

    return decorated


class _Refuse(Function):
    @staticmethod
    def forward(ctx: Any, result: Tensor, *grad_outputs: Tensor) -> Tensor:
        return result.clone()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        raise RuntimeError("trying to differentiate twice a function that was marked with @once_differentiable")
