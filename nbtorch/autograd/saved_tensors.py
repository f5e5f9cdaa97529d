"""What becomes of the tensors that nodes save for backward: hooks that pack and unpack them.

A pair of hooks is in force per thread. A node that is recorded meanwhile passes each tensor that it saves to the first
hook, keeps what that returns, and calls the second hook with it when backward asks for the tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .grad_mode import no_grad, observers, state

if TYPE_CHECKING:
    from ..tensor import Tensor
    from .graph import Node

Hook = Callable[[Any], Any]


class Packed:
    """What a pack hook made of a saved tensor, and what is needed to give the tensor back its place in the graph."""

    __slots__ = ("edge", "index", "unpack_hook", "value")

    _version = 0  # changes in place are the hooks' own business

    def __init__(self, tensor: Tensor, index: int | None, hooks: tuple[Hook, Hook]) -> None:
        pack, self.unpack_hook = hooks
        self.index = index  # which output of its own node the tensor is, None for an input
        self.edge = tensor._edge() if index is None else None
        version = tensor._version
        with no_grad():
            self.value = pack(tensor)
        if version != tensor._version:
            raise RuntimeError(
                "A saved tensor pack hook is modifying its input in place. Tensors provided as input to pack hook"
                " cannot be modified by in-place operations as this can lead to unexpected side-effects: clone() them."
            )

    def unpack(self, node: Node) -> Tensor:
        """Return the tensor that the unpack hook makes, with the origin of the one that was saved."""
        result = self.unpack_hook(self.value)
        if not hasattr(result, "_array"):
            raise TypeError(
                f"Output of saved tensor unpack_hook expected to be a Tensor but got result of type"
                f" {type(result).__name__}"
            )
        edge = (node, self.index) if self.index is not None else self.edge
        if edge is None:
            return result.detach() if result.requires_grad else result
        return result if result._edge() == edge else result._at(edge)


class SavedTensor:
    """A saved tensor of a node, to which a pair of hooks may be given."""

    def __init__(self, node: Node, position: int) -> None:
        self._node, self._position = node, position

    def register_hooks(self, pack_hook: Hook, unpack_hook: Hook) -> None:
        """Pack the tensor now, and unpack it whenever backward reads it.

        Raises:
            RuntimeError: the tensor was freed, is None, or has hooks already.
        """
        saved = self._node._saved
        if saved is None:
            raise RuntimeError(
                "Calling register_hooks on a saved tensor after it has been freed. Saved intermediate values of the"
                " graph are freed when you call .backward() or autograd.grad(). Specify retain_graph=True if you need"
                " to backward through the graph a second time or if you need to access saved variables after calling"
                " backward."
            )
        if saved[self._position] is None:
            raise RuntimeError("Calling register_hooks on a saved tensor with value None is forbidden")
        if type(saved[self._position]) is Packed:
            raise RuntimeError(
                "Calling register_hooks on a saved tensor whose hooks have already been set. Hint: only one pair of"
                " hooks is allowed at a time."
            )
        self._node.pack(self._position, self._node.saved_tensors[self._position], (pack_hook, unpack_hook))


class saved_tensors_hooks:
    """Context in which every tensor that is saved for backward goes through a pair of hooks.

    Of nested pairs the innermost is used.

    Args:
        pack_hook: called with each tensor that is saved (not to be changed in place); its result is kept instead. To
            avoid a reference cycle it must not refer to the tensor itself: keep `tensor.detach()` or a copy.
        unpack_hook: called with what was kept when backward needs the tensor; returns a tensor of the same contents.

    Raises:
        RuntimeError: hooks are forbidden here by `disable_saved_tensors_hooks`.

    >>> import nbtorch
    >>> from nbtorch.autograd.graph import saved_tensors_hooks
    >>> a = nbtorch.ones(3, requires_grad=True)
    >>> with saved_tensors_hooks(lambda x: print("pack") or x.detach(), lambda x: print("unpack") or x):
    ...     y = a.exp()
    pack
    >>> y.sum().backward()
    unpack
    """

    def __init__(self, pack_hook: Callable[[Tensor], Any], unpack_hook: Callable[[Any], Tensor]) -> None:
        self.pack_hook, self.unpack_hook = pack_hook, unpack_hook

    def __enter__(self) -> None:
        if state.saved_tensors_hooks_disabled is not None:
            raise RuntimeError(state.saved_tensors_hooks_disabled)
        state.saved_tensors_hooks = (*state.saved_tensors_hooks, (self.pack_hook, self.unpack_hook))
        observers.add()

    def __exit__(self, *exception: object) -> None:
        state.saved_tensors_hooks = state.saved_tensors_hooks[:-1]
        observers.remove()


class save_on_cpu(saved_tensors_hooks):
    """Context in which what is saved for backward is kept in the CPU's memory, and brought back for backward.

    Args:
        pin_memory: accepted for PyTorch's signature; there is nothing to pin.
        device_type: accepted for PyTorch's signature.
    """

    def __init__(self, pin_memory: bool = False, device_type: str = "cuda") -> None:
        def pack(tensor: Tensor) -> Any:
            return tensor.device, tensor.detach().cpu()

        def unpack(packed: Any) -> Tensor:
            device, tensor = packed
            return tensor.to(device)

        super().__init__(pack, unpack)


@contextmanager
def disable_saved_tensors_hooks(error_message: str) -> Iterator[None]:
    """Context in which hooks on saved tensors raise a RuntimeError with this text.

    Raises:
        RuntimeError: hooks are in force already.
    """
    if state.saved_tensors_hooks:
        raise RuntimeError(error_message)
    previous = state.saved_tensors_hooks_disabled
    state.saved_tensors_hooks_disabled = error_message
    try:
        yield
    finally:
        state.saved_tensors_hooks_disabled = previous


class _Originals:
    """Copies of what was saved within `allow_mutation_on_saved_tensors`; none once the context is left."""

    def __init__(self) -> None:
        self.open = True

    def pack(self, tensor: Tensor) -> Tensor:
        """Keep a copy, which later changes do not reach."""
        return tensor.detach().clone()

    def unpack(self, copy: Tensor) -> Tensor:
        """Return the copy; an AssertionError outside the context."""
        if not self.open:
            raise AssertionError(
                "Trying to backward outside of the 'allow_mutation_on_saved_tensors' context in which the graph was"
                " originally recorded."
            )
        return copy


@contextmanager
def allow_mutation_on_saved_tensors() -> Iterator[Any]:
    """Context in which tensors that were saved for backward may be changed in place: copies of them are saved.

    Forward and backward both belong inside.

    Raises:
        RuntimeError: the contexts are nested.
        AssertionError: on backward outside the context.
    """
    if any(isinstance(getattr(pack, "__self__", None), _Originals) for pack, _ in state.saved_tensors_hooks):
        raise RuntimeError("allow_mutation_on_saved_tensors contexts cannot be nested")
    originals = _Originals()
    try:
        with saved_tensors_hooks(originals.pack, originals.unpack):
            yield originals
    finally:
        originals.open = False
