"""The graph of recorded operations.

A `Node` is one recorded operation. Its edges lead to where its inputs came from: to the node that made an input, or,
for a leaf, to the leaf tensor itself. Tensors hold their node; nodes hold the tensors they need for backward. A saved
*output* is kept as a bare array and rebuilt on demand, so that no reference cycle arises and memory is freed without
the garbage collector.

Nodes are numbered as they are recorded. An operation's inputs are recorded before it, so walking the nodes from the
highest number down visits each one after everything that used it: see `engine`.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..device import CPU
from ..device import device as Device
from ..dtypes import DIFFERENTIABLE
from ..hooks import Hooks, RemovableHandle, add_hook
from ..quiet import is_reentry, local
from .grad_mode import state
from .half import backward_in_float32, forward_in_float32
from .wirtinger import backward_of_holomorphic

if TYPE_CHECKING:
    from ..tensor import Tensor

Edge = tuple[Any, int]  # (node or leaf tensor, output number)

next_in_sequence = itertools.count().__next__

FREED = (
    "Trying to backward through the graph a second time (or directly access saved tensors after they have already been"
    " freed). Saved intermediate values of the graph are freed when you call .backward() or autograd.grad(). Specify"
    " retain_graph=True if you need to backward through the graph a second time or if you need to access saved tensors"
    " after calling backward."
)


def edge_of(x: Tensor) -> Edge | None:
    """Return where a tensor came from, or None if it wants no gradient."""
    if x._base is not None:
        x._refresh_view()
    if not x._requires_grad:
        return None
    return (x, 0) if x._grad_fn is None else (x._grad_fn, x._output_nr)


class Node:
    """A recorded operation: `forward` on arrays and `backward` on tensors, side by side.

    A subclass is named as PyTorch prints the operation (class `Add` prints as `AddBackward0`), takes its options in
    `__init__`, and defines

    * `forward(*arrays)`, which returns an array or a tuple of arrays;
    * `backward(*grad_outputs)`, which returns for each input its gradient or None. It is written with differentiable
      operations, so that gradients have gradients. The gradient of an output that nothing used is None (possible only
      where there are several outputs). `self.needs_input_grad` tells which inputs want one.

    `saves_inputs` and `saves_outputs` list the positions of the tensors that backward reads through `saved_tensors`
    (inputs first); whatever else it needs is an attribute of the node. `saved_for`, beside `saves_inputs`,
    names the input whose gradient alone needs what is saved: where it wants none, None is saved.
    """

    name = "Node"
    saves_inputs: tuple[int, ...] = ()
    saves_outputs: tuple[int, ...] = ()
    saved_for: tuple[int | None, ...] = ()
    keeps_state = False  # whether attributes hold values that a second backward must not be offered again
    in_float32 = False  # whether float16 and bfloat16 are computed in float32 and rounded once: see `half`
    holomorphic = False  # whether backward is a formula of real numbers that holds for complex ones: see `wirtinger`
    fresh_gradients = False  # whether backward returns arrays that nothing else refers to: a leaf may keep them

    edges: tuple[Edge | None, ...] = ()
    needs_input_grad: tuple[bool, ...] = ()
    output_count = 1
    sequence = -1
    where: Device = CPU  # the device of the first input

    _saved: tuple[Any, ...] | None = ()
    _versions: tuple[int, ...] = ()
    _pre_hooks: Hooks | None = None
    _hooks: Hooks | None = None
    _tensor_hooks: dict[int, Hooks] | None = None  # hooks on the outputs, by output number
    _retaining: dict[int, Any] | None = None  # weak references to outputs that keep their gradient

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" not in cls.__dict__:
            cls.name = f"{cls.__name__}Backward0"
        if cls.holomorphic and "backward" in cls.__dict__:
            cls.backward = backward_of_holomorphic(cls.backward)  # type: ignore[method-assign]
        if cls.in_float32:
            if "forward" in cls.__dict__:
                cls.forward = forward_in_float32(cls.forward)  # type: ignore[method-assign]
            if "backward" in cls.__dict__:
                cls.backward = backward_in_float32(cls.backward)  # type: ignore[method-assign]

    def forward(self, *arrays: Any) -> Any:
        """Compute the outputs from the inputs' arrays."""
        raise TypeError(f"{self.name} has no forward on arrays")

    def backward(self, *grad_outputs: Any) -> Any:
        """Compute the gradients of the inputs from those of the outputs."""
        raise RuntimeError(f"derivative for {self.name} is not implemented")

    def __call__(self, *inputs: Tensor) -> Any:
        """Run `forward` on the inputs' arrays; record the operation if an input requires a gradient."""
        first = inputs[0]
        if first._device is not CPU:
            self.where = first._device
        try:
            if len(inputs) == 1:
                outputs = local.run(self.forward, first._array)
            else:
                outputs = local.run(self.forward, *[x._array for x in inputs])
        except RuntimeError as error:
            if not is_reentry(error):
                raise
            outputs = self.forward(*[x._array for x in inputs])
        if type(outputs) is tuple:
            results = tuple([first._wrap_like(output) for output in outputs])
            if state.enabled and any([x._tracked() for x in inputs]):
                self.record(inputs, results)
            return results
        result = first._wrap_like(outputs)
        if state.enabled:
            for x in inputs:
                if x._requires_grad or (x._base is not None and x._tracked()):
                    self.record(inputs, (result,))
                    break
        return result

    def record(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> None:
        """Make this node the origin of `outputs`."""
        self.connect(inputs)
        if self.saves_inputs or self.saves_outputs:
            self._save(inputs, outputs)
        if len(outputs) != 1:
            self.output_count = len(outputs)
        for number, output in enumerate(outputs):
            if output._array.dtype.kind in DIFFERENTIABLE:
                output._requires_grad, output._grad_fn = True, self
                if number:
                    output._output_nr = number

    def _save(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> None:
        """Keep what backward reads through `saved_tensors`, and its versions."""
        saved: list[Any] = [inputs[i] for i in self.saves_inputs]
        for position, reader in enumerate(self.saved_for):
            if reader is not None and not self.needs_input_grad[reader]:
                saved[position] = None
        saved += [SavedOutput(outputs[i], i) for i in self.saves_outputs]
        self._saved = tuple(saved)
        self._versions = tuple([0 if s is None else s._version for s in saved])

    def connect(self, inputs: Sequence[Tensor]) -> None:
        """Take the next number and draw the edges to where `inputs` came from."""
        self.sequence = next_in_sequence()
        if len(inputs) == 1:
            edge = edge_of(inputs[0])
            self.edges, self.needs_input_grad = (edge,), (edge is not None,)
            return
        self.edges = edges = tuple([edge_of(x) for x in inputs])
        self.needs_input_grad = tuple([edge is not None for edge in edges])

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """The tensors saved for backward; raises if they were freed, or changed in place since."""
        saved = self._saved
        if saved is None:
            raise RuntimeError(FREED)
        for tensor, version in zip(saved, self._versions, strict=True):
            if tensor is not None and tensor._version != version:
                raise _modified_in_place(tensor, version)
        return tuple([s.unpack(self) if type(s) is SavedOutput else s for s in saved])

    @property
    def saved_tensor(self) -> Any:
        """The tensor saved for backward, where there is one."""
        return self.saved_tensors[0]

    def release(self) -> None:
        """Free what was saved for backward."""
        if self._saved or self.keeps_state:
            self._saved = None

    def keep_original(self, tensor: Tensor) -> None:
        """Save a copy in place of `tensor`, which is about to be changed in place to this node's own result."""
        if self._saved and any([s is tensor for s in self._saved]):
            original = tensor._copied()
            original._requires_grad, original._grad_fn = tensor._requires_grad, tensor._grad_fn
            original._output_nr = tensor._output_nr
            pairs = list(zip(self._saved, self._versions, strict=True))
            self._saved = tuple([original if s is tensor else s for s, _ in pairs])
            self._versions = tuple([0 if s is tensor else version for s, version in pairs])

    def replayed(self, tensor: Tensor) -> Any:
        """Run the same operation, with the same options, on another tensor."""
        node = copy.copy(self)
        node.edges, node.needs_input_grad, node._saved, node._versions = (), (), (), ()
        node._pre_hooks = node._hooks = node._tensor_hooks = node._retaining = None
        return node(tensor)

    @property
    def next_functions(self) -> tuple[tuple[Any, int], ...]:
        """Pairs of (node, output number) that the gradients go to; a leaf shows as an `AccumulateGrad`."""
        shown: list[tuple[Any, int]] = []
        for edge in self.edges:
            if edge is None:
                shown.append((None, 0))
            else:
                target, number = edge
                shown.append((target if isinstance(target, Node) else AccumulateGrad(target), number))
        return tuple(shown)

    def register_prehook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call `hook(grad_outputs)` before backward; what it returns, if not None, replaces them."""
        return add_hook(self, "_pre_hooks", hook)

    def register_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call `hook(grad_inputs, grad_outputs)` after backward; a result replaces `grad_inputs`."""
        return add_hook(self, "_hooks", hook)

    def __repr__(self) -> str:
        return f"<{self.name} object at {id(self):#x}>"


class AccumulateGrad:
    """Stands in `next_functions` for the place where a leaf's gradient is accumulated."""

    next_functions: tuple[Any, ...] = ()

    def __init__(self, variable: Tensor) -> None:
        self.variable = variable

    def name(self) -> str:
        """Return PyTorch's name of the node."""
        return "torch::autograd::AccumulateGrad"

    def __repr__(self) -> str:
        return f"<AccumulateGrad object at {id(self):#x}>"


class SavedOutput:
    """An output kept for its own node's backward, without a reference to the tensor that refers to the node."""

    __slots__ = ("array", "counter", "device", "index", "wrap")

    def __init__(self, output: Tensor, index: int) -> None:
        self.array = output._array
        self.wrap = output._wrap
        self.device = output._device
        self.counter = output._version_counter()
        self.index = index

    @property
    def _version(self) -> int:
        return self.counter[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """The output's shape."""
        return self.array.shape

    def unpack(self, node: Node) -> Tensor:
        """Return the output as a tensor again, with `node` as its origin."""
        output = self.wrap(self.array, self.device)
        output._requires_grad, output._grad_fn, output._output_nr = True, node, self.index
        output._counter = self.counter
        return output


def _modified_in_place(tensor: Any, version: int) -> RuntimeError:
    return RuntimeError(
        "one of the variables needed for gradient computation has been modified by an inplace operation:"
        f" [{list(tensor.shape)}] is at version {tensor._version}; expected version {version} instead. Save a copy"
        " (clone()) before changing it in place, or use the out-of-place operation."
    )
