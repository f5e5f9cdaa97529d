"""The walk through the graph that computes gradients: `backward` and `grad`.

Reverse accumulation, iterative (a chain of any depth needs no recursion): a heap holds the nodes that have received a
gradient, and the one recorded last is next, because everything that used its outputs was recorded after it.
"""

from __future__ import annotations

import heapq
import warnings
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from .grad_mode import state
from .graph import FREED, Edge, Node

if TYPE_CHECKING:
    from ..tensor import Tensor


def backward(
    tensors: Any,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Any = None,
) -> None:
    """Add the gradients of `tensors` with respect to the graph's leaves to their `.grad`.

    Args:
        tensors: a tensor or a sequence of tensors to differentiate.
        grad_tensors: for each tensor the gradient flowing into it, of its shape; None for a tensor of one element.
        retain_graph: keep the saved values, for another backward (default: `create_graph`).
        create_graph: record the computation of the gradients, so that they can be differentiated.
        inputs: accumulate only into these tensors.

    Raises:
        RuntimeError: a tensor has no graph, is not scalar and has no gradient given, a gradient's shape does not match,
            or the graph was freed by an earlier backward.
    """
    outputs = _as_tuple(tensors)
    roots = _roots(outputs, grad_tensors)
    targets = None
    if inputs is not None:
        targets = _as_tuple(inputs)
        if not targets:
            raise RuntimeError("`inputs` argument to `backward` cannot be empty.")
    walk = _Walk(create_graph if retain_graph is None else retain_graph, create_graph)
    walk.run(roots, targets)
    if targets is None:
        for leaf, (gradient, fresh) in walk.leaves.items():
            accumulate(leaf, gradient, fresh, create_graph)
    else:
        for target, gradient in zip(targets, walk.captured, strict=True):
            if gradient is not None:
                accumulate(target, gradient, False, create_graph)


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
        outputs: a tensor or a sequence of tensors to differentiate.
        inputs: the tensors to differentiate with respect to, leaves or not.
        grad_outputs: for each output the gradient flowing into it; None for an output of one element.
        retain_graph: keep the saved values, for another backward (default: `create_graph`).
        create_graph: record the computation of the gradients, so that they can be differentiated.
        only_inputs: must be True.
        allow_unused: give None for an input that the outputs do not depend on, instead of an error.
        is_grads_batched: whether `grad_outputs` have a leading batch dimension, one vector-Jacobian product for each.
        materialize_grads: give zeros instead of None for an unused input.
    """
    if not only_inputs:
        warnings.warn("only_inputs argument is deprecated and is ignored", FutureWarning, stacklevel=2)
    if materialize_grads and allow_unused is False:
        raise ValueError("grad: expected allow_unused to be True or not passed when materialize_grads=True, got False")
    outputs, inputs = _as_tuple(outputs), _as_tuple(inputs)
    if not inputs:
        raise ValueError("grad requires non-empty inputs.")
    if is_grads_batched:
        return _batched_grad(outputs, inputs, grad_outputs, retain_graph, create_graph, allow_unused, materialize_grads)
    for x in inputs:
        if not x.requires_grad:
            raise RuntimeError("One of the differentiated Tensors does not require grad")
    walk = _Walk(create_graph if retain_graph is None else retain_graph, create_graph)
    walk.run(_roots(outputs, grad_outputs), inputs)
    results = walk.captured
    if materialize_grads:
        return tuple(x.new_zeros(x.shape) if g is None else g for x, g in zip(inputs, results, strict=True))
    if not allow_unused and any(g is None for g in results):
        raise RuntimeError(
            "One of the differentiated Tensors appears to not have been used in the graph."
            " Set allow_unused=True if this is the desired behavior."
        )
    return tuple(results)


def _batched_grad(
    outputs: Any, inputs: Any, grad_outputs: Any, retain: Any, create: bool, allow_unused: Any, materialize: bool
) -> tuple[Any, ...]:
    batches = _as_tuple(grad_outputs)
    count = batches[0].shape[0]
    rows = []
    for i in range(count):
        keep = retain or create or i + 1 < count
        vectors = tuple(batch[i] for batch in batches)
        rows.append(grad(outputs, inputs, vectors, keep, create, True, allow_unused, False, materialize))
    stack = batches[0]._stack
    return tuple(None if column[0] is None else stack(column) for column in zip(*rows, strict=True))


def _as_tuple(tensors: Any) -> tuple[Any, ...]:
    return tuple(tensors) if isinstance(tensors, (tuple, list)) or not hasattr(tensors, "_array") else (tensors,)


def _roots(outputs: Sequence[Tensor], grads: Any) -> list[tuple[Edge, Tensor]]:
    """Pair where each output came from with the gradient that flows into it."""
    gradients = (None,) * len(outputs) if grads is None else _as_tuple(grads)
    if len(gradients) != len(outputs):
        raise RuntimeError(f"got {len(outputs)} tensors and {len(gradients)} gradients")
    roots = []
    for i, (output, gradient) in enumerate(zip(outputs, gradients, strict=True)):
        if not output.requires_grad:
            raise RuntimeError(f"element {i} of tensors does not require grad and does not have a grad_fn")
        if gradient is None:
            if output.numel() != 1:
                raise RuntimeError(
                    "grad can be implicitly created only for scalar outputs:"
                    f" gradient must be given for an output of shape {tuple(output.shape)}"
                )
            if output.is_complex():
                raise RuntimeError(
                    f"grad can be implicitly created only for real scalar outputs but got {output.dtype}"
                )
            gradient = output._filled_like(1)
        elif not hasattr(gradient, "_array"):
            raise TypeError(f"gradients can be either Tensors or None, but got {type(gradient).__name__}")
        elif gradient.shape != output.shape:
            raise RuntimeError(
                f"Mismatch in shape: grad_output[{i}] has a shape of {gradient.shape} and output[{i}] has a shape of"
                f" {output.shape}."
            )
        node = output.grad_fn
        roots.append(((output, 0) if node is None else (node, output._output_nr), gradient))
    return roots


class _Walk:
    """One pass from the roots down: what has arrived, and what was found."""

    def __init__(self, retain_graph: bool, create_graph: bool) -> None:
        self.retain_graph = retain_graph
        self.create_graph = create_graph
        self.leaves: dict[Tensor, tuple[Any, bool]] = {}
        self.captured: list[Any] = []
        self._pending: dict[Node, Any] = {}
        self._heap: list[tuple[int, Node]] = []

    def run(self, roots: Iterable[tuple[Edge, Tensor]], targets: Sequence[Tensor] | None) -> None:
        """Visit every node between the roots and the leaves, or only those on the way to `targets`."""
        roots = list(roots)
        wanted = needed = None
        if targets is not None:
            wanted = _edges_of(targets)
            needed = _nodes_leading_to(wanted, [edge for edge, _ in roots])
            self.captured = [None] * len(targets)
        previous, state.enabled = state.enabled, self.create_graph
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
            state.enabled = previous

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
        while heap:
            node = heapq.heappop(heap)[1]
            arrived = pending.pop(node)
            grads = (arrived,) if node.output_count == 1 else arrived
            if node._tensor_hooks or node._retaining or node._pre_hooks:
                grads = _prepare(node, list(grads))
            if wanted is not None and not self._capture(node, grads, wanted, needed):
                continue
            if node._saved is None:
                raise RuntimeError(FREED)
            results = node.backward(*grads)
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

    def _capture(self, node: Node, grads: Sequence[Any], wanted: dict[Edge, list[int]], needed: Any) -> bool:
        """Keep the gradients of a node's outputs that were asked for; return whether more lie beyond the node."""
        for number, gradient in enumerate(grads):
            for position in wanted.get((node, number), ()):
                self.captured[position] = gradient
        return any([edge is not None and edge[0] in needed for edge in node.edges])


def accumulate(leaf: Tensor, gradient: Tensor, fresh: bool, create_graph: bool) -> None:
    """Add a gradient to a tensor's `.grad`, in place where no graph is being made."""
    if leaf._grad is not None:
        if create_graph:
            leaf._grad = leaf._grad + gradient
        else:
            leaf._grad._accumulate(gradient)
    elif create_graph:
        leaf._grad = gradient if gradient._grad_fn is not None else gradient.clone()
    else:
        leaf._grad = gradient.detach() if fresh else gradient._copied()
    if leaf._post_accumulate_hooks:
        for hook in list(leaf._post_accumulate_hooks.values()):
            hook(leaf)


def _edges_of(targets: Sequence[Tensor]) -> dict[Edge, list[int]]:
    """Return the positions of the targets by where they came from."""
    positions: dict[Edge, list[int]] = {}
    for position, target in enumerate(targets):
        node = target.grad_fn
        edge = (target, 0) if node is None else (node, target._output_nr)
        positions.setdefault(edge, []).append(position)
    return positions


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


def _prepare(node: Node, grads: list[Any]) -> list[Any]:
    """Run the hooks on a node's outputs and on the node, and hand gradients to the outputs that retain them."""
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
    if node._pre_hooks:
        for hook in list(node._pre_hooks.values()):
            replaced = hook(tuple(grads))
            if replaced is not None:
                grads = list(replaced) if isinstance(replaced, tuple) else [replaced]
    return grads


def _run_tensor_hooks(hooks: Any, gradient: Any) -> Any:
    for hook in list(hooks.values()) if hooks else ():
        replaced = hook(gradient)
        if replaced is not None:
            gradient = replaced
    return gradient


def _run_node_hooks(hooks: Any, grad_inputs: tuple[Any, ...], grad_outputs: tuple[Any, ...]) -> tuple[Any, ...]:
    for hook in list(hooks.values()):
        replaced = hook(grad_inputs, grad_outputs)
        if replaced is not None:
            grad_inputs = replaced if isinstance(replaced, tuple) else (replaced,)
    return grad_inputs
