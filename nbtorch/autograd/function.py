"""User-defined operations: subclass `Function`, define `forward` and `backward`, call `apply`."""

from __future__ import annotations

import functools
import inspect
import warnings
import weakref
from collections.abc import Callable
from typing import Any

from ..tensor import Tensor
from .grad_mode import no_grad, observers, state
from .graph import Node, SavedOutput, versions_of
from .saved_tensors import SavedTensor


class FunctionCtx:
    """What `forward` leaves for `backward`. Any attribute may be set on it; the node of the graph shows them too."""

    needs_input_grad: tuple[bool, ...] = ()
    _name = "Function"
    _to_save: tuple[Any, ...] = ()
    _dirty: tuple[Any, ...] = ()
    _non_differentiable: tuple[Any, ...] = ()
    _materialize_grads = True
    _node: Callable[[], Node | None] | None = None  # a weak reference: the node refers to the context

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep inputs, outputs or other tensors; `backward` reads them from `ctx.saved_tensors`."""
        _require_tensors("save_for_backward can only save variables", tensors, none_allowed=True)
        self._to_save = tensors

    def save_for_forward(self, *tensors: Tensor | None) -> None:
        """Accept tensors for `jvp`, which is not used: there is no forward-mode differentiation."""
        _require_tensors("save_for_forward can only save variables", tensors, none_allowed=True)

    def mark_dirty(self, *tensors: Tensor) -> None:
        """Name the inputs that `forward` changed in place; each must be returned as an output."""
        _require_tensors("mark_dirty can only accept variables", tensors, RuntimeError)
        self._dirty = tensors

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Name the outputs that have no gradient."""
        _require_tensors("mark_non_differentiable only accepts variable arguments", tensors, RuntimeError)
        self._non_differentiable = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """Whether `backward` gets zeros (True, the default) or None for an output that nothing used."""
        if not isinstance(value, bool):
            raise TypeError(f"set_materialize_grads: value must be bool, got {type(value).__name__}")
        self._materialize_grads = value

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """What `save_for_backward` kept; raises if it was freed, or changed in place since."""
        node = None if self._node is None else self._node()
        return () if node is None else node.saved_tensors

    @property
    def saved_variables(self) -> tuple[Any, ...]:
        """The deprecated name of `saved_tensors`."""
        warnings.warn("'saved_variables' is deprecated; use 'saved_tensors'", DeprecationWarning, stacklevel=2)
        return self.saved_tensors

    def __getattr__(self, attribute: str) -> Any:
        """Return what the node has: `name`, `next_functions`, `register_hook` and the like."""
        node = None if attribute.startswith("__") or self._node is None else self._node()
        if node is None or not hasattr(Node, attribute):
            raise AttributeError(f"'{self._name}' object has no attribute '{attribute}'")
        return getattr(node, attribute)


def _require_tensors(
    text: str, values: tuple[Any, ...], error: type[Exception] = TypeError, none_allowed: bool = False
) -> None:
    for position, value in enumerate(values):
        if not isinstance(value, Tensor) and not (none_allowed and value is None):
            raise error(f"{text}, but argument {position} is of type {type(value).__name__}")


class FunctionNode(Node):
    """The node of a user-defined operation."""

    function: type[Function]

    def __init__(self, ctx: FunctionCtx, args: tuple[Any, ...]) -> None:
        self.ctx = ctx
        ctx._node = weakref.ref(self)
        self.connect([a if isinstance(a, Tensor) else _CONSTANT for a in args])
        self._inputs = tuple([(a.shape, a.dtype) if isinstance(a, Tensor) else None for a in args])

    def adopt(self, results: tuple[Any, ...], args: tuple[Any, ...]) -> None:
        """Become the origin of the outputs, and save what is to be saved."""
        ctx = self.ctx
        self.output_count = len(results)
        self._like = tuple([r._placeholder() if isinstance(r, Tensor) else None for r in results])
        for number, result in enumerate(results):
            if not isinstance(result, Tensor) or any(result is t for t in ctx._non_differentiable):
                continue
            if any(result is t for t in ctx._dirty) and any(result is a for a in args):
                result._rebase(self, number)
            elif result.dtype.is_floating_point:
                result._requires_grad, result._grad_fn, result._output_nr = True, self, number
                if result._base is not None:
                    result._forbidden = "several" if len(results) > 1 else "function"
                    result._view_version = result._version
        saved: list[Any] = []
        for tensor in ctx._to_save:
            own = tensor is not None and tensor._grad_fn is self
            saved.append(SavedOutput(tensor, tensor._output_nr) if own else tensor)
        self._saved, self._versions = tuple(saved), versions_of(saved)
        ctx._to_save = ctx._dirty = ctx._non_differentiable = ()
        if observers.count:
            self.reveal(results)

    @property
    def _raw_saved_tensors(self) -> tuple[SavedTensor, ...]:
        return tuple([SavedTensor(self, position) for position in range(len(self._saved or ()))])

    def backward(self, *grad_outputs: Any) -> tuple[Any, ...]:
        """Call the function's `backward` and check what it returns against the inputs."""
        if self.ctx._materialize_grads:
            pairs = zip(grad_outputs, self._like, strict=True)
            grad_outputs = tuple([g if g is not None or like is None else like._filled_like(0) for g, like in pairs])
        results = self.function._differentiate()(self.ctx, *grad_outputs)
        if not isinstance(results, tuple):
            results = (results,)
        expected = len(self.edges)
        if len(results) > expected and all([r is None for r in results[expected:]]):
            results = results[:expected]
        if len(results) != expected:
            raise RuntimeError(
                f"function {self.name} returned an incorrect number of gradients"
                f" (expected {expected}, got {len(results)})"
            )
        return tuple([self._checked(i, r) for i, r in enumerate(results)])

    def _checked(self, index: int, gradient: Any) -> Any:
        """Return the gradient of an input in that one's shape and type."""
        if gradient is None:
            return None
        if not isinstance(gradient, Tensor):
            raise RuntimeError(f"expected Variable or None (got {type(gradient).__name__})")
        expected = self._inputs[index]
        if expected is None:
            raise RuntimeError(
                f"function {self.name} returned a gradient different than None at position {index + 1}, but the"
                " corresponding forward input was not a Variable"
            )
        if self.edges[index] is None:
            return None
        shape, dtype = expected
        if gradient.shape != shape:
            try:
                gradient = gradient.sum_to_size(shape)
            except RuntimeError:
                raise RuntimeError(
                    f"Function {self.name} returned an invalid gradient at index {index} - got"
                    f" {list(gradient.shape)} but expected shape compatible with {list(shape)}"
                ) from None
        return gradient if gradient.dtype is dtype else gradient.to(dtype)

    def __getattr__(self, attribute: str) -> Any:
        """Return what the user set on the context, and what contexts have."""
        ctx = self.__dict__.get("ctx")
        if ctx is not None and (attribute in ctx.__dict__ or attribute == "saved_variables"):
            return getattr(ctx, attribute)
        return super().__getattr__(attribute)


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

    _node_class: type[FunctionNode] = FunctionNode
    _context_class: type[FunctionCtx] = FunctionCtx
    generate_vmap_rule = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        warnings.warn(
            f"{type(self)} should not be instantiated. Methods on autograd functions are all static, so you should"
            " invoke them on the class itself. Instantiating an autograd function will raise an error in a future"
            " version of PyTorch.",
            DeprecationWarning,
            stacklevel=2,
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Refuse the style of functions with a state."""
        raise RuntimeError(
            "Legacy autograd function with non-static forward method is deprecated. Please use new-style autograd"
            " function with static forward method, and call apply."
        )

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        name = f"{cls.__name__}Backward"
        cls._node_class = type(name, (FunctionNode,), {"name": name, "function": cls})
        cls._context_class = type(name, (FunctionCtx,), {"_name": name})

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """Compute the outputs."""
        raise NotImplementedError("You must implement the forward function for custom autograd.Function.")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> Any:
        """Save for backward, where `forward` takes no `ctx`."""
        raise NotImplementedError("setup_context is not implemented for custom autograd.Function.")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """Compute a gradient for each argument of `forward`."""
        raise NotImplementedError(
            "You must implement either the backward or vjp method for your custom autograd.Function to use it with"
            " backward mode AD."
        )

    vjp = backward  # another name that a function may give it

    @staticmethod
    def jvp(ctx: Any, *grad_inputs: Any) -> Any:
        """Compute the derivative of the outputs in a direction; accepted, but nothing here calls it."""
        raise NotImplementedError(
            "You must implement the jvp function for custom autograd.Function to use it with forward mode AD."
        )

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
        """Compute the outputs of batches; accepted, but nothing here calls it."""
        raise NotImplementedError(
            "To use autograd.Function with vmap, you must either override the vmap staticmethod or set"
            " generate_vmap_rule=True."
        )

    @classmethod
    def _differentiate(cls) -> Callable[..., Any]:
        """Return the function's `backward`, or `vjp` where it is called so."""
        if cls.vjp is Function.vjp:
            return cls.backward
        if cls.backward is not Function.backward:
            raise RuntimeError(
                "Implementing both 'backward' and 'vjp' for a custom Function is not allowed. You should only implement"
                " one of them."
            )
        return cls.vjp

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Run `forward` and record it if an argument requires a gradient."""
        separate = cls.setup_context is not Function.setup_context
        if kwargs or separate:
            args = _positional(cls.forward, 0 if separate else 1, args, kwargs)
        ctx = cls._context_class()
        ctx.needs_input_grad = needs = tuple([isinstance(a, Tensor) and a.requires_grad for a in args])
        recorded = state.enabled and any(needs)
        node = cls._node_class(ctx, args) if recorded else None
        with no_grad():
            if separate:
                outputs = cls.forward(*args)
                cls.setup_context(ctx, args, outputs)
            else:
                outputs = cls.forward(ctx, *args)
        results = outputs if isinstance(outputs, tuple) else (outputs,)
        _check_dirty(ctx, args, results, recorded)
        results = _own(ctx, results, args)
        for tensor in ctx._dirty:
            tensor._bump_version()
        if node is not None:
            node.adopt(results, args)
        return results if isinstance(outputs, tuple) else results[0]


def _positional(forward: Callable[..., Any], skipped: int, args: tuple[Any, ...], kwargs: Any) -> tuple[Any, ...]:
    """Return the arguments of a call by position, defaults included."""
    bound = inspect.signature(forward).bind(*(None,) * skipped, *args, **kwargs)
    bound.apply_defaults()
    if bound.kwargs:
        raise TypeError(f"forward() got an unexpected keyword argument '{next(iter(bound.kwargs))}'")
    return bound.args[skipped:]


def _check_dirty(ctx: FunctionCtx, args: tuple[Any, ...], results: tuple[Any, ...], recorded: bool) -> None:
    """Refuse marks that do not fit what `forward` took and returned."""
    for tensor in ctx._dirty:
        if not any(tensor is a for a in args):
            warnings.warn(
                "ctx.mark_dirty() received a tensor that was not an input. Only input Tensors that have been mutated"
                " should be passed to ctx.mark_dirty().",
                stacklevel=3,
            )
            continue
        if not any(tensor is r for r in results):
            raise RuntimeError(
                "Some elements marked as dirty during the forward method were not returned as output. The inputs that"
                " are modified inplace must all be outputs of the Function."
            )
        if recorded and tensor._base is not None and len(results) > 1:
            raise RuntimeError(
                "If your Function modifies inplace an input that is a view of another Tensor, your Function cannot"
                " return more than one Tensor. Either make sure the input is not a view (using .clone() for example) or"
                " make your Function only return one Tensor."
            )
        tensor._refuse_inplace_on_leaf(recorded)


def _own(ctx: FunctionCtx, results: tuple[Any, ...], args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return outputs that may become the node's: what is not the function's own is replaced by an alias of it."""
    owned: list[Any] = []
    for result in results:
        known = next((new for old, new in zip(results, owned, strict=False) if old is result), None)
        foreign = isinstance(result, Tensor) and not any(result is d for d in ctx._dirty)
        is_input = foreign and any(result is a for a in args)
        if not foreign or not (is_input or result._base is not None or result._requires_grad):
            owned.append(result)
            continue
        constant = any(result is t for t in ctx._non_differentiable)
        alias = _alias(result, is_input and not constant) if known is None or is_input else known
        owned.append(alias)
        ctx._non_differentiable = tuple([alias if t is result else t for t in ctx._non_differentiable])
        if not is_input:
            ctx._to_save = tuple([alias if t is result else t for t in ctx._to_save])
    return tuple(owned)


def _alias(tensor: Tensor, is_input: bool) -> Tensor:
    """Return a tensor on the same memory, without history; of an input or a view it is a view."""
    alias = tensor.detach()
    if is_input or tensor._base is not None:
        alias._base = tensor if tensor._base is None else tensor._base
        alias._view = tensor._view
        alias._view_version = tensor._view_version
    return alias


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
