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
import functools
import itertools
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ..device import CPU
from ..device import device as Device
from ..dtypes import DIFFERENTIABLE
from ..hooks import Hooks, RemovableHandle, add_hook
from ..quiet import is_reentry, local
from . import anomaly_mode
from .grad_mode import observers, state
from .half import backward_in_float32, forward_in_float32
from .saved_tensors import Packed, SavedTensor
from .saved_tensors import allow_mutation_on_saved_tensors as allow_mutation_on_saved_tensors
from .saved_tensors import disable_saved_tensors_hooks as disable_saved_tensors_hooks
from .saved_tensors import save_on_cpu as save_on_cpu
from .saved_tensors import saved_tensors_hooks as saved_tensors_hooks
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


class NodeName(str):
    """The name of a node: text, and also what PyTorch's `grad_fn.name()` returns."""

    __slots__ = ()

    def __call__(self) -> str:
        """Return the name as plain text."""
        return str(self)


class _NameAttribute:
    """`Node.name`: kept as plain text in `_name`, read as a `NodeName`."""

    def __get__(self, node: Node | None, cls: type[Node]) -> NodeName:
        return NodeName((cls if node is None else node)._name)

    def __set__(self, node: Node, name: str) -> None:
        node._name = name


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

    name: Any = _NameAttribute()  # a subclass gives plain text
    saves_inputs: tuple[int, ...] = ()
    saves_outputs: tuple[int, ...] = ()
    saved_for: tuple[int | None, ...] = ()
    keeps_state = False  # whether attributes hold values that a second backward must not be offered again
    in_float32 = False  # whether float16 and bfloat16 are computed in float32 and rounded once: see `half`
    half_family = ""  # kernels that take float16 and bfloat16 as they are, on devices with tensor cores
    holomorphic = False  # whether backward is a formula of real numbers that holds for complex ones: see `wirtinger`
    fresh_gradients = False  # whether backward returns arrays that nothing else refers to: a leaf may keep them

    edges: tuple[Edge | None, ...] = ()
    needs_input_grad: tuple[bool, ...] = ()
    output_count = 1
    sequence = -1
    where: Device = CPU  # the device of the first input

    _name = "Node"
    _saved: tuple[Any, ...] | None = ()
    _versions: tuple[int, ...] = ()
    _pre_hooks: Hooks | None = None
    _hooks: Hooks | None = None
    _tensor_hooks: dict[int, Hooks] | None = None  # hooks on the outputs, by output number
    _retaining: dict[int, Any] | None = None  # weak references to outputs that keep their gradient
    _metadata: dict[str, Any] | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        given = cls.__dict__.get("name")
        cls._name = given if isinstance(given, str) else f"{cls.__name__}Backward0"
        if isinstance(given, str):
            del cls.name
        cls.__name__ = cls._name
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
            elif observers.count and state.inference:
                for result in results:
                    result._mark_inference()
            return results
        result = first._wrap_like(outputs)
        if state.enabled:
            for x in inputs:
                if x._requires_grad or (x._base is not None and x._tracked()):
                    self.record(inputs, (result,))
                    break
        elif observers.count and state.inference:
            result._mark_inference()
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
        if observers.count:
            self.reveal(outputs)

    def reveal(self, outputs: Sequence[Tensor]) -> None:
        """Let hooks on saved tensors and anomaly detection see this node, which was just recorded."""
        if anomaly_mode.mode.enabled:
            anomaly_mode.remember(self)
        if state.saved_tensors_hooks and self._saved:
            hooks = state.saved_tensors_hooks[-1]
            for position, saved in enumerate(self._saved):
                if saved is not None:
                    self.pack(position, outputs[saved.index] if type(saved) is SavedOutput else saved, hooks)

    def pack(self, position: int, tensor: Tensor, hooks: tuple[Callable[..., Any], Callable[..., Any]]) -> None:
        """Keep what a pack hook makes of the saved tensor at `position`, in its place."""
        assert self._saved is not None
        saved = self._saved[position]
        packed = Packed(tensor, saved.index if type(saved) is SavedOutput else None, hooks)
        self._saved = (*self._saved[:position], packed, *self._saved[position + 1 :])
        self._versions = (*self._versions[:position], 0, *self._versions[position + 1 :])

    def _save(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> None:
        """Keep what backward reads through `saved_tensors`, and its versions."""
        saved: list[Any] = [inputs[i] for i in self.saves_inputs]
        for position, reader in enumerate(self.saved_for):
            if reader is not None and not self.needs_input_grad[reader]:
                saved[position] = None
        saved += [SavedOutput(outputs[i], i) for i in self.saves_outputs]
        self._saved = tuple(saved)
        try:
            self._versions = tuple([0 if s is None else s._version for s in saved])
        except RuntimeError:
            versions_of(saved)

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
                raise _modified_in_place(self, tensor, version)
        return tuple([s.unpack(self) if type(s) is SavedOutput or type(s) is Packed else s for s in saved])

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

    def move_output(self, tensor: Tensor) -> None:
        """Save `tensor`, to which this node's one output was just assigned, in the place of that output."""
        if self._saved and self.saves_outputs:
            for position, saved in enumerate(self._saved):
                if type(saved) is SavedOutput:
                    saved.array, saved.counter = tensor._array, tensor._version_counter()
                    versions = list(self._versions)
                    versions[position] = saved._version
                    self._versions = tuple(versions)

    def replayed(self, tensor: Tensor) -> Any:
        """Run the same operation, with the same options, on another tensor."""
        node = copy.copy(self)
        node.edges, node.needs_input_grad, node._saved, node._versions = (), (), (), ()
        node._pre_hooks = node._hooks = node._tensor_hooks = node._retaining = node._metadata = None
        return node(tensor)

    @property
    def operation(self) -> str:
        """The name without what marks it as a node's, as errors show it."""
        return self.name.rpartition("Backward")[0] or self.name

    @property
    def next_functions(self) -> tuple[tuple[Any, int], ...]:
        """Pairs of (node, output number) that the gradients go to; a leaf shows as an `AccumulateGrad`."""
        return tuple([(None, 0) if edge is None else (node_of(edge), edge[1]) for edge in self.edges])

    @property
    def metadata(self) -> dict[str, Any]:
        """A dictionary for notes about the node; anomaly detection keeps the stack of the forward call in it."""
        if self._metadata is None:
            self._metadata = {}
        return self._metadata

    requires_grad = True

    def _sequence_nr(self) -> int:
        return self.sequence

    def register_prehook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call `hook(grad_outputs)` before backward; what it returns, if not None, replaces them."""
        return add_hook(self, "_pre_hooks", hook)

    def register_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call `hook(grad_inputs, grad_outputs)` after backward; a result replaces `grad_inputs`."""
        return add_hook(self, "_hooks", hook)

    def __getattr__(self, attribute: str) -> Any:
        """Return a saved tensor by PyTorch's name, such as `_saved_self`, or its handle, such as `_raw_saved_self`."""
        for prefix in ("_saved_", "_raw_saved_"):
            position = self._saved_names.get(attribute.removeprefix(prefix)) if attribute.startswith(prefix) else None
            if position is not None:
                return SavedTensor(self, position) if prefix == "_raw_saved_" else self.saved_tensors[position]
        raise AttributeError(f"'{self.name}' object has no attribute '{attribute}'")

    @property
    def _saved_names(self) -> dict[str, int]:
        """The positions of the saved tensors by the names that they go by in PyTorch."""
        names = {_INPUT_NAMES[i]: at for at, i in enumerate(self.saves_inputs) if i < len(_INPUT_NAMES)}
        return names | {("result", "result1")[i]: len(self.saves_inputs) + i for i in self.saves_outputs if i < 2}

    def __repr__(self) -> str:
        return f"<{self.name} object at {id(self):#x}>"


_INPUT_NAMES = ("self", "other")


class AccumulateGrad(Node):
    """Stands for the place where a leaf's gradient is accumulated; edges lead to the leaf itself."""

    name = "torch::autograd::AccumulateGrad"

    def __init__(self, variable: Tensor) -> None:
        self.variable = variable

    def register_prehook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call `hook(grad_outputs)` before the gradient is accumulated; a result replaces it."""
        return add_hook(self.variable, "_accumulate_pre_hooks", hook)

    def register_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call `hook(grad_inputs, grad_outputs)`, the first of them empty, after the gradient was accumulated."""
        return add_hook(self.variable, "_accumulate_hooks", hook)

    def __repr__(self) -> str:
        return f"<AccumulateGrad object at {id(self):#x}>"


def node_of(edge: Edge) -> Node:
    """Return the node that an edge leads to; for a leaf its `AccumulateGrad`, the same one as long as it is alive."""
    target = edge[0]
    if isinstance(target, Node):
        return target
    known = None if target._accumulator is None else target._accumulator()
    if known is None:
        known = AccumulateGrad(target)
        target._accumulator = weakref.ref(known)
    return known


class GradientEdge(NamedTuple("_GradientEdge", [("node", Node), ("output_nr", int), ("ownership_token", Any)])):
    """A place in the graph: an output of a node, or the accumulation of a leaf's gradient."""

    _like: Any = None  # makes a tensor of the shape, type and device that the gradient has there, where that is known

    def __new__(cls, node: Node, output_nr: int, ownership_token: Any = None) -> GradientEdge:
        """Make the edge to output `output_nr` of `node`."""
        return super().__new__(cls, node, output_nr, ownership_token)

    @property
    def edge(self) -> Edge:
        """The same place as the edges of nodes have it."""
        leaf = isinstance(self.node, AccumulateGrad)
        return (self.node.variable, 0) if leaf else (self.node, self.output_nr)


def get_gradient_edge(tensor: Tensor) -> GradientEdge:
    """Return the place at which a tensor's gradient is computed.

    `autograd.backward` and `autograd.grad` take it in the tensor's stead, which need not be kept alive then.

    Raises:
        RuntimeError: the tensor does not require a gradient.
    """
    edge = tensor._edge()
    if edge is None:
        raise RuntimeError("It is not possible to get the gradient edge for a Tensor that does not require gradients")
    found = GradientEdge(node_of(edge), edge[1])
    found._like = tensor._placeholder()
    return found


def increment_version(tensor: Any) -> None:
    """Note that a tensor, or each of several, was changed in place by code that autograd does not see."""
    for each in (tensor,) if hasattr(tensor, "_array") else tensor:
        if not each.is_inference():
            each._bump_version()


def register_multi_grad_hook(
    tensors: Sequence[Tensor], fn: Callable[..., Any], *, mode: str = "all"
) -> RemovableHandles:
    """Call a hook once for the gradients of several tensors in a pass of backward.

    Args:
        tensors: tensors that require gradients.
        fn: with mode "all" called with a list of the gradients (None for those not computed) when all that the pass
            computes are there; with "any" called with the first gradient. It must not change them.
        mode: "all" or "any".

    Returns:
        A handle that removes the hook.

    Raises:
        ValueError: an unknown mode.
        AssertionError: a tensor does not require a gradient.
    """
    if mode not in ("all", "any"):
        raise ValueError(f"Expects mode to be one of ('all', 'any') but got {mode}")
    edges: list[Edge] = []
    for position, tensor in enumerate(tensors):
        edge = edge_of(tensor)
        if edge is None:
            raise AssertionError(f"Expected every tensor to require a gradient, number {position} does not")
        edges.append(edge)
    hook = _MultiGradHook(edges, fn, mode)
    handles = [tensor.register_hook(functools.partial(hook, position)) for position, tensor in enumerate(tensors)]
    return RemovableHandles(handles)


class RemovableHandles:
    """The way to remove hooks that belong together."""

    def __init__(self, handles: Sequence[RemovableHandle]) -> None:
        self.handles = tuple(handles)

    def remove(self) -> None:
        """Remove the hooks."""
        for handle in self.handles:
            handle.remove()

    def __enter__(self) -> RemovableHandles:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()


class _MultiGradHook:
    """What several tensor hooks share: the gradients that arrived in each pass that is going on."""

    def __init__(self, edges: list[Edge], fn: Callable[..., Any], mode: str) -> None:
        self.places = [weakref.ref(target) for target, _ in edges]  # weak: the nodes themselves refer to the hook
        self.fn, self.mode = fn, mode
        self.lock = threading.Lock()
        self.arrived: weakref.WeakKeyDictionary[Any, dict[int, Any]] = weakref.WeakKeyDictionary()

    def __call__(self, position: int, gradient: Tensor) -> None:
        walk = state.walk
        assert walk is not None, "expected this hook to be called inside a backward call"
        with self.lock:
            arrived = self.arrived.setdefault(walk, {})
            arrived[position] = gradient
            count = len(arrived)
        if self.mode == "any":
            if count == 1:
                self.fn(gradient)
        elif count == sum([walk.reaches(place()) for place in self.places]):
            self.fn([arrived.get(i) for i in range(len(self.places))])


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


def versions_of(saved: Sequence[Any]) -> tuple[int, ...]:
    """Return the versions of what is being saved for backward; a RuntimeError for tensors of `inference_mode`."""
    try:
        return tuple([0 if s is None else s._version for s in saved])
    except RuntimeError:
        raise RuntimeError(
            "Inference tensors cannot be saved for backward. Please do not use Tensors created in inference mode in"
            " computation tracked by autograd. To work around this, you can make a clone to get a normal tensor and use"
            " it in autograd, or use `no_grad()` instead of `inference_mode()`."
        ) from None


def _modified_in_place(node: Node, saved: Any, version: int) -> RuntimeError:
    tensor = saved.unpack(node) if type(saved) is SavedOutput else saved
    origin = tensor._grad_fn
    hint = (
        "the backtrace further above shows the operation that failed to compute its gradient. The variable in question"
        " was changed in there or anywhere later. Good luck!"
        if anomaly_mode.mode.enabled
        else "enable anomaly detection to find the operation that failed to compute its gradient, with"
        " torch.autograd.set_detect_anomaly(True, check_nan=False)."
    )
    return RuntimeError(
        "one of the variables needed for gradient computation has been modified by an inplace operation:"
        f" [{tensor.type()} {list(tensor.shape)}]"
        + (f", which is output {tensor._output_nr} of {origin.operation}," if origin is not None else "")
        + f" is at version {tensor._version}; expected version {version} instead. Hint: {hint}"
    )
