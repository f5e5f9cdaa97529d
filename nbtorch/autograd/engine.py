"""The walk through the graph that computes gradients: `backward` and `grad`.

Reverse accumulation, iterative (a chain of any depth needs no recursion): a heap holds the nodes that have received a
gradient, and the one recorded last is next, because everything that used its outputs was recorded after it.
"""

from __future__ import annotations

import heapq
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from . import anomaly_mode
from .grad_mode import state
from .graph import FREED, Edge, GradientEdge, Node

if TYPE_CHECKING:
    from ..tensor import Tensor

observe_backward: Callable[[Node, Sequence[Any]], Any] | None = None
"""What a profiler puts in the place of the call of a node's `backward`, while it records."""


def backward(
    tensors: Any,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    grad_variables: Any = None,
    inputs: Any = None,
) -> None:
    """Add the gradients of `tensors` with respect to the graph's leaves to their `.grad`.

    Args:
        tensors: a tensor or a sequence of tensors to differentiate; a `GradientEdge` stands for its tensor.
        grad_tensors: for each tensor the gradient flowing into it, of its shape; None for a tensor of one element.
        retain_graph: keep the saved values, for another backward (default: `create_graph`).
        create_graph: record the computation of the gradients, so that they can be differentiated.
        grad_variables: the deprecated name of `grad_tensors`.
        inputs: accumulate only into these tensors (or `GradientEdge`s of leaves), leaves or not.

    Raises:
        RuntimeError: a tensor has no graph, is not scalar and has no gradient given, a gradient's shape does not match,
            or the graph was freed by an earlier backward.
    """
    if grad_variables is not None:
        warnings.warn("`grad_variables` is deprecated. Use `grad_tensors` instead.", FutureWarning, stacklevel=2)
        if grad_tensors is not None:
            raise RuntimeError(
                "`grad_tensors` and `grad_variables` (deprecated) arguments both passed to `backward()`. Please only"
                " use `grad_tensors`."
            )
        grad_tensors = grad_variables
    targets = None if inputs is None else _accumulating(_as_tuple(inputs))
    roots = _roots(_as_tuple(tensors), grad_tensors)
    if create_graph:
        _warn_of_cycles()
    walk = _Walk(create_graph if retain_graph is None else retain_graph, create_graph)
    walk.run(roots, targets)
    for leaf, (gradient, fresh) in walk.leaves.items():
        accumulate(leaf, gradient, fresh, create_graph)


def _accumulating(targets: tuple[Any, ...]) -> list[Edge | None]:
    """Return the edges to tensors into whose `.grad` backward is to accumulate."""
    if not targets:
        raise RuntimeError("`inputs` argument to `backward()` cannot be empty.")
    for target in targets:
        if not isinstance(target, GradientEdge):
            target.retain_grad()
    return [_edge_of(target) for target in targets]


_warned_of_cycles = False


def _warn_of_cycles() -> None:
    """Warn, once, that gradients with a graph refer to the parameters that hold them."""
    global _warned_of_cycles
    if not _warned_of_cycles:
        _warned_of_cycles = True
        warnings.warn(
            "Using backward() with create_graph=True will create a reference cycle between the parameter and its"
            " gradient which can cause a memory leak. We recommend using autograd.grad when creating the graph to avoid"
            " this. If you have to use this function, make sure to reset the .grad fields of your parameters to None"
            " after use to break the cycle and avoid the leak.",
            UserWarning,
            stacklevel=4,
        )


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]:
    """Return the gradients of `outputs` with respect to `inputs`, leaving every `.grad` alone.

    Args:
        outputs: a tensor or a sequence of tensors to differentiate; a `GradientEdge` stands for its tensor.
        inputs: the tensors (or `GradientEdge`s) to differentiate with respect to, leaves or not.
        grad_outputs: for each output the gradient flowing into it; None for an output of one element.
        retain_graph: keep the saved values, for another backward (default: `create_graph`).
        create_graph: record the computation of the gradients, so that they can be differentiated.
        only_inputs: deprecated and ignored.
        allow_unused: give None for an input that the outputs do not depend on, instead of an error.
        is_grads_batched: whether `grad_outputs` have a leading batch dimension, one vector-Jacobian product for each.
        materialize_grads: give zeros instead of None for an unused input.

    Raises:
        RuntimeError: as for `backward`; an input does not require a gradient, or is unused where that is not allowed.
        ValueError: `materialize_grads` with `allow_unused=False`.
    """
    if not only_inputs:
        warnings.warn(
            "only_inputs argument is deprecated and is ignored now (defaults to True). To accumulate gradient for other"
            " parts of the graph, please use autograd.backward.",
            FutureWarning,
            stacklevel=2,
        )
    if materialize_grads and allow_unused is False:
        raise ValueError(
            "Expected allow_unused to be True or not passed when materialize_grads=True, but got: allow_unused=False."
        )
    outputs, inputs = _as_tuple(outputs), _as_tuple(inputs)
    if not inputs:
        raise RuntimeError("`inputs` argument to `grad()` cannot be empty.")
    edges = [_edge_of(x) for x in inputs]
    if any(edge is None for edge in edges):
        raise RuntimeError("One of the differentiated Tensors does not require grad")
    if is_grads_batched:
        results = _batched(outputs, edges, grad_outputs, retain_graph, create_graph)
    else:
        walk = _Walk(create_graph if retain_graph is None else retain_graph, create_graph)
        walk.run(_roots(outputs, grad_outputs), edges, capture=True)
        results = tuple(walk.captured)
    if materialize_grads:
        return tuple(_zeros_for(x) if g is None else g for x, g in zip(inputs, results, strict=True))
    for position, gradient in enumerate(results):
        if gradient is None and not allow_unused:
            raise RuntimeError(
                f"The differentiated Tensor at index {position} appears to not have been used in the graph."
                " Set allow_unused=True if this is the desired behavior."
            )
    return results


def _zeros_for(x: Any) -> Tensor:
    if isinstance(x, GradientEdge):
        raise RuntimeError("materialize_grads cannot be used when the given input is a GradientEdge")
    return x._filled_like(0)


def _batched(
    outputs: tuple[Any, ...], edges: list[Any], grad_outputs: Any, retain: bool | None, create_graph: bool
) -> tuple[Any, ...]:
    """Return gradients for each of the vectors along the first dimension of `grad_outputs`."""
    batches = _gradients_for(outputs, grad_outputs)
    for i, (output, batch) in enumerate(zip(outputs, batches, strict=True)):
        if batch is None:
            raise RuntimeError(
                "grad can be implicitly created only for scalar outputs: is_grads_batched needs gradients"
            )
        output = output._like if isinstance(output, GradientEdge) else output
        if output is not None and (batch.shape[1:] != output.shape or not batch.ndim):
            raise RuntimeError(
                "If `is_grads_batched=True`, we interpret the first dimension of each grad_output as the batch"
                " dimension. The sizes of the remaining dimensions are expected to match the shape of corresponding"
                f" output, but a mismatch was detected: grad_output[{i}] has a shape of {batch.shape[1:]} and "
                f"output[{i}] has a shape of {output.shape}."
            )
    count = batches[0].shape[0]
    rows = []
    for i in range(count):
        walk = _Walk(bool(retain or create_graph or i + 1 < count), create_graph)
        walk.run(_roots(outputs, [batch[i] for batch in batches]), edges, capture=True)
        rows.append(walk.captured)
    stack = batches[0]._stack
    return tuple(None if column[0] is None else stack(column) for column in zip(*rows, strict=True))


def _as_tuple(tensors: Any) -> tuple[Any, ...]:
    return (tensors,) if hasattr(tensors, "_array") or isinstance(tensors, GradientEdge) else tuple(tensors)


def _edge_of(source: Any) -> Edge | None:
    """Return where the gradient of a tensor, or of what stands for one, goes; None if it wants none."""
    return source.edge if isinstance(source, GradientEdge) else source._edge()


def _gradients_for(outputs: Sequence[Any], grads: Any) -> tuple[Any, ...]:
    """Return one gradient, or None, for each output."""
    gradients = (None,) * len(outputs) if grads is None else _as_tuple(grads)
    if len(outputs) == 1:
        gradients = gradients[:1]  # as in PyTorch
    if len(gradients) != len(outputs):
        raise RuntimeError(f"got {len(outputs)} tensors and {len(gradients)} gradients")
    return gradients


def _roots(outputs: Sequence[Any], grads: Any) -> list[tuple[Edge, Tensor]]:
    """Pair where each output came from with the gradient that flows into it."""
    roots = []
    for i, (output, gradient) in enumerate(zip(outputs, _gradients_for(outputs, grads), strict=True)):
        edge = _edge_of(output)
        if edge is None:
            raise RuntimeError(f"element {i} of tensors does not require grad and does not have a grad_fn")
        roots.append((edge, _root_gradient(i, output, gradient)))
    return roots


def _root_gradient(i: int, output: Any, gradient: Any) -> Tensor:
    """Check the gradient that flows into output `i`; it takes the output's type."""
    output = output._like if isinstance(output, GradientEdge) else output
    known = output is not None
    if gradient is None:
        if not known or output.numel() != 1:
            raise RuntimeError(
                "grad can be implicitly created only for scalar outputs"
                + (f": gradient must be given for an output of shape {tuple(output.shape)}" if known else "")
            )
        if output.is_complex():
            raise RuntimeError(f"grad can be implicitly created only for real scalar outputs but got {output.dtype}")
        return output._filled_like(1)
    if not hasattr(gradient, "_array"):
        raise TypeError(f"gradients can be either Tensors or None, but got {type(gradient).__name__}")
    if not known:
        return gradient
    if gradient.shape != output.shape:
        raise RuntimeError(
            f"Mismatch in shape: grad_output[{i}] has a shape of {gradient.shape} and output[{i}] has a shape of"
            f" {output.shape}."
        )
    if gradient.device != output.device:
        raise RuntimeError(f"grad_output[{i}] is on {gradient.device}, expected output[{i}]'s {output.device}")
    return gradient if gradient.dtype is output.dtype else gradient.to(output.dtype)


class _Walk:
    """One pass from the roots down: what has arrived, and what was found."""

    def __init__(self, retain_graph: bool, create_graph: bool) -> None:
        self.retain_graph = retain_graph
        self.create_graph = create_graph
        self.leaves: dict[Tensor, tuple[Any, bool]] = {}
        self.captured: list[Any] = []
        self._pending: dict[Node, Any] = {}
        self._heap: list[tuple[int, Node]] = []
        self._roots: list[Edge] = []
        self._needed: set[Any] | None = None
        self.partial = False  # whether only what leads to some targets is visited
        self.at_end: list[Callable[[], None]] = []  # what saved tensors want to do when the pass is over

    def run(self, roots: list[tuple[Edge, Tensor]], targets: Sequence[Any] | None, capture: bool = False) -> None:
        """Visit every node between the roots and the leaves, or only those on the way to `targets`, which are edges.

        With `capture` what arrives at the targets is kept in `captured` instead of `leaves`.
        """
        wanted = needed = None
        self._roots = [edge for edge, _ in roots]
        self.partial = targets is not None
        if targets is not None:
            positions = _positions(targets)
            self._needed = needed = _nodes_leading_to(positions, self._roots)
            if capture:
                wanted = positions
                self.captured = [None] * len(targets)
        previous, state.enabled = state.enabled, self.create_graph
        outer, state.walk = state.walk, self
        try:
            for edge, gradient in roots:
                self._arrive(edge, gradient, False, needed)
            self._visit_all(wanted, needed)
            if wanted is None:
                for leaf, (gradient, fresh) in self.leaves.items():
                    if leaf._hooks:
                        self.leaves[leaf] = (_run_tensor_hooks(leaf._hooks, gradient), fresh)
            else:
                for leaf, (gradient, _) in self.leaves.items():
                    for position in wanted.get((leaf, 0), ()):
                        self.captured[position] = _run_tensor_hooks(leaf._hooks, gradient)
        finally:
            state.enabled, state.walk = previous, outer
            for release in self.at_end:
                release()

    def reaches(self, target: Any) -> bool:
        """Whether a gradient may arrive at a node or leaf in this pass."""
        if self._needed is None:
            self._needed = _nodes_below(self._roots)
        return target in self._needed

    def _arrive(self, edge: Edge, gradient: Any, fresh: bool, needed: set[Any] | None) -> None:
        """Add a gradient to what has arrived at one end of an edge."""
        target, number = edge
        if needed is not None and target not in needed:
            return
        if not isinstance(target, Node):
            if target in self.leaves:
                self.leaves[target] = (self.leaves[target][0] + gradient, True)
            else:
                self.leaves[target] = (gradient, fresh)
            return
        pending = self._pending
        if target.output_count == 1:
            if target in pending:
                pending[target] = pending[target] + gradient
            else:
                pending[target] = gradient
                heapq.heappush(self._heap, (-target.sequence, target))
            return
        if target not in pending:
            pending[target] = [None] * target.output_count
            heapq.heappush(self._heap, (-target.sequence, target))
        slots = pending[target]
        slots[number] = gradient if slots[number] is None else slots[number] + gradient

    def _visit_all(self, wanted: dict[Edge, list[int]] | None, needed: set[Any] | None) -> None:
        """Take the nodes that received gradients, latest first, and turn each one's into those of its inputs."""
        heap, pending, arrive, retain_graph = self._heap, self._pending, self._arrive, self.retain_graph
        compute = anomaly_mode.checked_backward if anomaly_mode.mode.enabled else observe_backward
        while heap:
            node = heapq.heappop(heap)[1]
            arrived = pending.pop(node)
            grads = (arrived,) if node.output_count == 1 else arrived
            if node._tensor_hooks or node._retaining:
                grads = _show_outputs(node, list(grads))
            if needed is not None and not self._capture(node, grads, wanted, needed):
                continue
            if node._pre_hooks:
                grads = _run_pre_hooks(node._pre_hooks, tuple(grads))
            if node._saved is None:
                raise RuntimeError(FREED)
            results = node.backward(*grads) if compute is None else compute(node, grads)
            if type(results) is not tuple:
                results = (results,)
            if node._hooks:
                results = _run_node_hooks(node._hooks, results, tuple(grads))
            if not retain_graph:
                node.release()
            for edge, gradient in zip(node.edges, results, strict=True):
                if edge is None or gradient is None:
                    continue
                target = edge[0]
                if needed is None and target not in pending and isinstance(target, Node) and target.output_count == 1:
                    pending[target] = gradient  # the commonest case of `_arrive`
                    heapq.heappush(heap, (-target.sequence, target))
                else:
                    arrive(edge, gradient, node.fresh_gradients, needed)

    def _capture(self, node: Node, grads: Sequence[Any], wanted: Any, needed: set[Any]) -> bool:
        """Keep the gradients of a node's outputs that were asked for; return whether more lie beyond the node."""
        if wanted is not None:
            for number, gradient in enumerate(grads):
                for position in wanted.get((node, number), ()):
                    self.captured[position] = gradient
        return any([edge is not None and edge[0] in needed for edge in node.edges])


def accumulate(leaf: Tensor, gradient: Tensor, fresh: bool, create_graph: bool) -> None:
    """Add a gradient to a tensor's `.grad`, in place where no graph is being made."""
    if leaf._accumulate_pre_hooks:
        (gradient,) = _run_pre_hooks(leaf._accumulate_pre_hooks, (gradient,))
    if leaf._grad_dtype is not None and leaf._grad_dtype not in ("any", gradient.dtype):
        gradient = gradient.to(leaf._grad_dtype)
    if leaf._grad is not None:
        if create_graph:
            leaf._grad = leaf._grad + gradient
        else:
            leaf._grad._accumulate(gradient)
    elif create_graph:
        leaf._grad = gradient if gradient._grad_fn is not None else gradient.clone()
    elif fresh and gradient._array.strides == leaf._array.strides:
        leaf._grad = gradient.detach()
    else:
        leaf._grad = gradient._copied(leaf)
    if leaf._post_accumulate_hooks:
        for hook in list(leaf._post_accumulate_hooks.values()):
            if hook(leaf) is not None:
                raise RuntimeError("Tensor post accumulate grad hooks should return None.")
    if leaf._accumulate_hooks:
        _run_node_hooks(leaf._accumulate_hooks, (), (gradient,))


def _positions(edges: Sequence[Edge]) -> dict[Edge, list[int]]:
    """Return the positions at which each edge stands."""
    positions: dict[Edge, list[int]] = {}
    for position, edge in enumerate(edges):
        positions.setdefault(edge, []).append(position)
    return positions


def _nodes_below(roots: Iterable[Edge]) -> set[Any]:
    """Return the nodes and leaves that can be reached."""
    stack = [target for target, _ in roots]
    seen = set()
    while stack:
        target = stack.pop()
        if target not in seen:
            seen.add(target)
            if isinstance(target, Node):
                stack.extend(edge[0] for edge in target.edges if edge is not None)
    return seen


def _nodes_leading_to(wanted: dict[Edge, list[int]], roots: Iterable[Edge]) -> set[Any]:
    """Return the nodes and leaves from which a wanted one can be reached, themselves included."""
    needed = {target for target, _ in wanted}
    seen: set[Any] = set()
    stack: list[tuple[Any, bool]] = [(target, False) for target, _ in roots]
    while stack:
        target, finished = stack.pop()
        if finished:
            if any(edge is not None and edge[0] in needed for edge in target.edges):
                needed.add(target)
        elif target not in seen and isinstance(target, Node):
            seen.add(target)
            stack.append((target, True))
            stack.extend((edge[0], False) for edge in target.edges if edge is not None)
    return needed


def _show_outputs(node: Node, grads: list[Any]) -> list[Any]:
    """Run the hooks on a node's outputs, and hand gradients to the outputs that retain them."""
    if node._tensor_hooks:
        for number, hooks in node._tensor_hooks.items():
            if grads[number] is not None:
                grads[number] = _run_tensor_hooks(hooks, grads[number])
    if node._retaining:
        for number, reference in node._retaining.items():
            tensor = reference()
            if tensor is not None and grads[number] is not None:
                kept = grads[number] if state.enabled else grads[number].clone()
                tensor._grad = kept if tensor._grad is None else tensor._grad + kept
    return grads


def _run_pre_hooks(hooks: Any, grads: tuple[Any, ...]) -> tuple[Any, ...]:
    for hook in list(hooks.values()):
        replaced = hook(grads)
        if replaced is not None:
            grads = _checked_tuple(hook, replaced if isinstance(replaced, tuple) else (replaced,), grads)
    return grads


def _run_tensor_hooks(hooks: Any, gradient: Any) -> Any:
    for hook in list(hooks.values()) if hooks else ():
        replaced = hook(gradient)
        if replaced is not None:
            gradient = _checked(hook, replaced, gradient)
    return gradient


def _run_node_hooks(hooks: Any, grad_inputs: tuple[Any, ...], grad_outputs: tuple[Any, ...]) -> tuple[Any, ...]:
    for hook in list(hooks.values()):
        replaced = hook(grad_inputs, grad_outputs)
        if replaced is not None:
            if not isinstance(replaced, tuple):
                raise TypeError(f"expected tuple, but hook returned '{type(replaced).__name__}'")
            grad_inputs = _checked_tuple(hook, replaced, grad_inputs)
    return grad_inputs


def _checked_tuple(hook: Any, replaced: tuple[Any, ...], grads: tuple[Any, ...]) -> tuple[Any, ...]:
    """Refuse what a hook returned where it does not fit the gradients that it replaces."""
    if len(replaced) != len(grads):
        raise RuntimeError(
            f"hook '{_name_of(hook)}' has returned an incorrect number of values (got {len(replaced)}, but expected"
            f" {len(grads)})"
        )
    return tuple([r if r is None else _checked(hook, r, g) for r, g in zip(replaced, grads, strict=True)])


def _checked(hook: Any, replaced: Any, gradient: Any) -> Any:
    """Refuse what a hook returned where it does not fit the gradient that it replaces."""
    if not hasattr(replaced, "_array"):
        raise TypeError(f"expected Variable, but hook returned '{type(replaced).__name__}'")
    if gradient is None:
        return replaced
    if replaced.dtype is not gradient.dtype:
        raise RuntimeError(
            f"hook '{_name_of(hook)}' has changed the type of value (was {gradient.type()} got {replaced.type()})"
        )
    if replaced.shape != gradient.shape:
        raise RuntimeError(f"hook '{_name_of(hook)}' has changed the size of value")
    return replaced


def _name_of(hook: Any) -> str:
    return getattr(hook, "__name__", type(hook).__name__)
