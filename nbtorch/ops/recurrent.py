"""Recurrent layers: LSTM, GRU and tanh or ReLU networks, over whole sequences or a single step.

A layer is one node, with both of its directions: the input's share of all gates is one matrix product, the time loop
one kernel, and the gradients of the weights are matrix products again. Elements lie step by step, as in a
`PackedSequence`: at each step those of the sequences that are not over yet, the longest first. Sequences of one length
are a special case of it, and a cell is a layer of one step.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from ..autograd import engine
from ..autograd.grad_mode import state
from ..autograd.graph import Node
from ..device import allocate, array_module, contiguous, kernels_for
from ..tensor import Tensor
from .joining import cat, stack
from .matmul import product


@functools.lru_cache(maxsize=256)
def even_sizes(steps: int, batch: int) -> np.ndarray:
    """Return the batch sizes of sequences of one length; not to be changed."""
    return np.full(steps, batch, np.int64)


@functools.lru_cache(maxsize=256)
def _even_starts(steps: int, batch: int) -> np.ndarray:
    return np.arange(steps + 1) * batch


class Recurrent(Node):
    """One layer in one direction or both, or one step of a cell.

    Inputs: the elements (N, I) or (T, B, I), the first states (directions, B, P) (for an LSTM hidden states and cells),
    then for each direction the weights (G·H, I) and (G·H, P), if `biased` two biases (G·H,), and if `projected` the
    projection (P, H).

    Outputs: the states of all elements, (N, directions·P) or (T, B, directions·P), then the last states; of a `cell`
    only the latter, (B, P).
    """

    keeps_state = True
    in_float32 = True
    fresh_gradients = True

    gates: ClassVar[int] = 1
    states: ClassVar[int] = 1

    def __init__(
        self,
        batch_sizes: np.ndarray,
        biased: bool,
        bidirectional: bool = False,
        projected: bool = False,
        cell: bool = False,
    ) -> None:
        self.directions = 2 if bidirectional else 1
        self.biased, self.projected, self.cell = biased, projected, cell
        self.batch_sizes = batch_sizes
        self.batch = int(batch_sizes[0])
        self.even = int(batch_sizes[-1]) == self.batch
        if self.even:
            self.starts = _even_starts(len(batch_sizes), self.batch)
        else:
            self.starts = np.concatenate([[0], np.cumsum(batch_sizes)])
        count = 1 + self.states + self.directions * (2 + 2 * biased + projected)
        self.saves_inputs = tuple(range(count))
        self.saves_outputs = () if cell else (0,)

    def _weights(self, inputs: Sequence[Any], kind: int) -> Any:
        """Return the weights of one kind, from `weight_ih` on, of each direction."""
        each = 2 + 2 * self.biased + self.projected
        return [inputs[1 + self.states + direction * each + kind] for direction in range(self.directions)]

    def _stacked(self, arrays: list[Any]) -> Any:
        """Return arrays of each direction as one."""
        if len(arrays) == 1:
            return contiguous(arrays[0], self.where)[None]
        return array_module(self.where).stack(arrays)

    def forward(self, x: Any, *others: Any) -> Any:
        inputs = (x, *others)
        self.shape = x.shape[:-1]
        x = contiguous(x, self.where).reshape(-1, x.shape[-1])
        first = [
            contiguous(s, self.where).reshape(self.directions, self.batch, s.shape[-1]) for s in others[: self.states]
        ]
        input_weights, weights = self._weights(inputs, 0), self._stacked(self._weights(inputs, 1))
        gates = allocate((self.directions, len(x), weights.shape[1]), weights.dtype, self.where)
        for direction, weight in enumerate(input_weights):
            kernels_for(self.where, "gemm").matmul(x, contiguous(weight, self.where).T, gates[direction])
        outputs = allocate((len(x), self.directions * weights.shape[2]), weights.dtype, self.where)
        self.outputs = outputs
        sequences = self._run(gates, weights, self._bias(inputs, weights), first, inputs)
        last = [self._last(sequence) for sequence in sequences]
        if self.cell:
            last = [s[0] for s in last]
            return tuple(last) if len(last) > 1 else last[0]
        return outputs.reshape(*self.shape, outputs.shape[1]), *last

    def _bias(self, inputs: Sequence[Any], weights: Any) -> Any:
        """Return what is added to each gate of each direction."""
        if self.biased:
            pairs = zip(self._weights(inputs, 2), self._weights(inputs, 3), strict=True)
            return self._stacked([self._joined(*pair) for pair in pairs])
        bias = allocate((self.directions, self._bias_size(weights.shape[1])), weights.dtype, self.where)
        bias.fill(0)
        return bias

    def _joined(self, input_bias: Any, recurrent_bias: Any) -> Any:
        return input_bias + recurrent_bias

    def _bias_size(self, size: int) -> int:
        return size

    def _run(self, gates: Any, weights: Any, bias: Any, first: list[Any], inputs: Sequence[Any]) -> list[Any]:
        """Write `self.outputs`, keep what backward needs, and return the states of all elements, (directions, N, *)."""
        raise TypeError(f"{self.name} has no time loop")

    def _split(self, outputs: Any) -> list[Any]:
        """Return the columns of each direction."""
        width = outputs.shape[1] // self.directions
        return [outputs[:, direction * width : (direction + 1) * width] for direction in range(self.directions)]

    def _last_places(self) -> list[Any]:
        """Return for each direction which elements are the last ones of their sequences."""
        backwards = slice(0, self.batch)
        if self.even:
            return [slice(int(self.starts[-2]), int(self.starts[-1])), backwards]
        sequences = np.arange(self.batch)
        lengths = (self.batch_sizes[:, None] > sequences).sum(0)
        return [array_module(self.where).asarray(self.starts[lengths - 1] + sequences), backwards]

    def _last(self, sequences: Any) -> Any:
        """Return the states after the last step, (directions, B, *)."""
        places = self._last_places()
        if self.directions == 1:
            return sequences[0][places[0]].copy()[None]
        shape = (self.directions, self.batch, sequences[0].shape[-1])
        last = allocate(shape, sequences[0].dtype, self.where)
        for direction in range(self.directions):
            last[direction] = sequences[direction][places[direction]]
        return last

    def _previous(self, direction: int, states: Any, first: Any) -> Any:
        """Return the state before each element, of the states of one direction and the first ones."""
        xp = array_module(self.where)
        if self.even:
            cut = len(states) - self.batch
            return xp.concatenate([first, states[:cut]] if direction == 0 else [states[self.batch :], first])
        steps = np.repeat(np.arange(len(self.batch_sizes)), self.batch_sizes)
        sequences = np.arange(len(states)) - self.starts[steps]
        before = steps + (1 if direction else -1)
        inside = (before >= 0) & (before < len(self.batch_sizes))
        inside &= sequences < self.batch_sizes[before * inside]
        places = np.where(inside, self.starts[before * inside] + sequences, len(states) + sequences)
        return xp.concatenate([states, first])[xp.asarray(places)]

    def backward(self, *grads: Any) -> Any:
        inputs = self.saved_tensors[: len(self.saves_inputs)]
        if state.enabled:
            return self._recorded_backward(grads, inputs)
        to_outputs, *to_last = (None, *grads) if self.cell else grads
        first = [s._array.reshape(self.directions, self.batch, s.shape[-1]) for s in inputs[1 : 1 + self.states]]
        if to_outputs is None:
            to_outputs = allocate(self.outputs.shape, self.outputs.dtype, self.where)
            to_outputs.fill(0)
        else:
            to_outputs = contiguous(to_outputs._array, self.where).reshape(self.outputs.shape)
        to_states = []
        for grad, like in zip(to_last, first, strict=True):  # overwritten with the gradients of the first states
            array = allocate(like.shape, self.outputs.dtype, self.where)
            array[...] = 0 if grad is None else grad._array.reshape(like.shape)
            to_states.append(array)
        arrays = [tensor._array for tensor in inputs]
        weights = self._stacked(self._weights(arrays, 1))
        to_gates, to_products = self._run_backward(to_outputs, weights, first, arrays, to_states)
        results = self._weight_gradients(to_gates, to_products, arrays, first[0])
        starts = [s.reshape(t.shape) for s, t in zip(to_states, inputs[1:], strict=False)]
        results = [results[0], *starts, *results[1:]]
        return tuple([None if r is None else inputs[0]._wrap_like(r) for r in results])

    def _run_backward(
        self, to_outputs: Any, weights: Any, first: list[Any], arrays: Sequence[Any], to_states: list[Any]
    ) -> tuple[Any, Any]:
        """Return the gradients of the gates' arguments and of the products with the recurrent weights."""
        raise TypeError(f"{self.name} has no time loop")

    def _projection_gradient(self, direction: int) -> Any:
        """Return the gradient of a direction's projection."""
        raise TypeError(f"{self.name} has no projection")

    def _weight_gradients(self, to_gates: Any, to_products: Any, arrays: Sequence[Any], first: Any) -> list[Any]:
        """Return the gradients of the elements and of all weights; None for those that are not wanted."""
        x, wanted = arrays[0], self.needs_input_grad
        flat = contiguous(x, self.where).reshape(-1, x.shape[-1])
        results: list[Any] = [None]
        if wanted[0]:
            parts = [
                product(g, contiguous(w, self.where), self.where)
                for g, w in zip(to_gates, self._weights(arrays, 0), strict=True)
            ]
            results[0] = (parts[0] if len(parts) == 1 else parts[0] + parts[1]).reshape(x.shape)
        states = self._split(self.outputs)
        for direction in range(self.directions):
            grads, products = to_gates[direction], to_products[direction]
            flags = iter(wanted[len(results) + self.states :])
            results.append(product(grads.T, flat, self.where) if next(flags) else None)
            before = None
            if next(flags):
                before = product(products.T, self._previous(direction, states[direction], first[direction]), self.where)
            results.append(before)
            if self.biased:
                results += [self._summed(g) if next(flags) else None for g in (grads, products)]
            if self.projected:
                results.append(self._projection_gradient(direction) if next(flags) else None)
        return results

    def _summed(self, grads: Any) -> Any:
        """Return the sum of all rows, a matrix product that threads share."""
        ones = allocate((1, len(grads)), grads.dtype, self.where)
        ones.fill(1)
        return product(ones, grads, self.where)[0]

    def _recorded_backward(self, grads: Sequence[Any], inputs: Sequence[Tensor]) -> Any:
        """Return the gradients as those of the same layer composed of recorded operations."""
        # the same tensor may be given twice: views keep its places apart
        inputs = [tensor.view(tensor.shape) for tensor in inputs]
        outputs = self.compose(*inputs)
        pairs = [(o, g) for o, g in zip(outputs, grads, strict=True) if g is not None]
        wanted = [tensor for tensor, needed in zip(inputs, self.needs_input_grad, strict=True) if needed]
        found = iter(
            engine.grad([o for o, _ in pairs], wanted, [g for _, g in pairs], create_graph=True, allow_unused=True)
        )
        return tuple([next(found) if needed else None for needed in self.needs_input_grad])

    def compose(self, x: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
        """Return what the layer does as a graph of simpler operations."""
        inputs, flat = (x, *others), x.reshape(-1, x.shape[-1])
        firsts = [s.reshape(self.directions, self.batch, s.shape[-1]) for s in others[: self.states]]
        outputs: list[Tensor] = []
        last: list[list[Tensor]] = [[] for _ in range(self.states)]
        for direction in range(self.directions):
            weights = [self._weights(inputs, kind)[direction] for kind in range(2 + 2 * self.biased + self.projected)]
            input_weight, weight = weights[:2]
            share = flat @ input_weight.t()
            bias = weights[3] if self.biased else None
            if self.biased:
                share = share + weights[2]
            states = [first[direction] for first in firsts]
            steps = range(len(self.batch_sizes))
            results: list[Any] = [None] * len(steps)
            for step in steps if direction == 0 else reversed(steps):
                size, start = int(self.batch_sizes[step]), int(self.starts[step])
                before = [s[:size] for s in states]
                recurrent = before[0] @ weight.t()
                new = self.step(share[start : start + size], recurrent if bias is None else recurrent + bias, *before)
                if self.projected:
                    new = (new[0] @ weights[-1].t(), *new[1:])
                results[step] = new[0]
                states = [n if size == self.batch else cat([n, s[size:]]) for n, s in zip(new, states, strict=True)]
            outputs.append(cat(results))
            for column, final in zip(last, states, strict=True):
                column.append(final)
        if self.cell:
            return tuple([column[0] for column in last])
        whole = cat(outputs, 1)
        return whole.reshape(*x.shape[:-1], whole.shape[1]), *[stack(column) for column in last]

    def step(self, share: Tensor, recurrent: Tensor, *before: Tensor) -> tuple[Tensor, ...]:
        """Return the states after a step, of the input's and the states' shares in the gates and the states before."""
        raise TypeError(f"{self.name} has no step")


class TanhNetwork(Recurrent):
    """h = tanh(x + W h)."""

    name = "TanhBackward0"
    relu = False

    def _run(self, gates: Any, weights: Any, bias: Any, first: list[Any], inputs: Sequence[Any]) -> list[Any]:
        kernels = kernels_for(self.where, "recurrent")
        kernels.rnn_forward(gates, weights, bias, first[0], self.relu, self.starts, self.outputs)
        return [self._split(self.outputs)]

    def _run_backward(
        self, to_outputs: Any, weights: Any, first: list[Any], arrays: Sequence[Any], to_states: list[Any]
    ) -> tuple[Any, Any]:
        to_gates = allocate((self.directions, len(self.outputs), weights.shape[1]), weights.dtype, self.where)
        kernels_for(self.where, "recurrent").rnn_backward(
            to_outputs, self.outputs, weights, self.relu, self.starts, to_states[0], to_gates
        )
        return to_gates, to_gates

    def step(self, share: Tensor, recurrent: Tensor, *before: Tensor) -> tuple[Tensor, ...]:
        return ((share + recurrent).tanh(),)


class ReluNetwork(TanhNetwork):
    """h = max(x + W h, 0)."""

    name = "ReluBackward0"
    relu = True

    def step(self, share: Tensor, recurrent: Tensor, *before: Tensor) -> tuple[Tensor, ...]:
        return ((share + recurrent).relu(),)


class LSTM(Recurrent):
    """c = f c + i g and h = o tanh(c), which a projection may shorten."""

    name = "MkldnnRnnLayerBackward0"
    gates = 4
    states = 2

    def _run(self, gates: Any, weights: Any, bias: Any, first: list[Any], inputs: Sequence[Any]) -> list[Any]:
        units = weights.shape[1] // 4
        self.kept: Any = gates
        self.cells = allocate((self.directions, len(self.outputs), units), weights.dtype, self.where)
        projection: Any = None
        self.unprojected: Any = None
        if self.projected:
            projection = self._stacked(self._weights(inputs, 4 if self.biased else 2))
            self.unprojected = allocate(self.cells.shape, weights.dtype, self.where)
        kernels_for(self.where, "recurrent").lstm_forward(
            gates, weights, bias, projection, *first, self.starts, self.outputs, self.cells, self.unprojected
        )
        return [self._split(self.outputs), self.cells]

    def _run_backward(
        self, to_outputs: Any, weights: Any, first: list[Any], arrays: Sequence[Any], to_states: list[Any]
    ) -> tuple[Any, Any]:
        to_gates = allocate(self.kept.shape, weights.dtype, self.where)
        projection: Any = None
        self.to_projected: Any = None
        if self.projected:
            projection = self._stacked(self._weights(arrays, 4 if self.biased else 2))
            shape = (self.directions, len(self.outputs), weights.shape[2])
            self.to_projected = allocate(shape, weights.dtype, self.where)
        kernels_for(self.where, "recurrent").lstm_backward(
            *(to_outputs, self.kept, weights, projection, contiguous(first[1], self.where), self.cells, self.starts),
            *(*to_states, to_gates, self.to_projected),
        )
        return to_gates, to_gates

    def _projection_gradient(self, direction: int) -> Any:
        return product(self.to_projected[direction].T, self.unprojected[direction], self.where)

    def step(self, share: Tensor, recurrent: Tensor, *before: Tensor) -> tuple[Tensor, ...]:
        i, f, g, o = (share + recurrent).chunk(4, 1)
        cell = f.sigmoid() * before[1] + i.sigmoid() * g.tanh()
        return o.sigmoid() * cell.tanh(), cell


class GRU(Recurrent):
    """n = tanh(x + r (W h + b)) and h = (1 - z) n + z h."""

    name = "AddBackward0"
    gates = 3

    def _joined(self, input_bias: Any, recurrent_bias: Any) -> Any:
        units = len(input_bias) // 3
        xp = array_module(self.where)
        both = input_bias[: 2 * units] + recurrent_bias[: 2 * units]
        return xp.concatenate([both, input_bias[2 * units :], recurrent_bias[2 * units :]])

    def _bias_size(self, size: int) -> int:
        return size // 3 * 4

    def _run(self, gates: Any, weights: Any, bias: Any, first: list[Any], inputs: Sequence[Any]) -> list[Any]:
        self.kept = gates
        shape = (self.directions, len(self.outputs), weights.shape[2])
        self.products = allocate(shape, weights.dtype, self.where)
        kernels_for(self.where, "recurrent").gru_forward(
            gates, weights, bias, first[0], self.starts, self.outputs, self.products
        )
        return [self._split(self.outputs)]

    def _run_backward(
        self, to_outputs: Any, weights: Any, first: list[Any], arrays: Sequence[Any], to_states: list[Any]
    ) -> tuple[Any, Any]:
        to_gates, to_products = (allocate(self.kept.shape, weights.dtype, self.where) for _ in range(2))
        kernels_for(self.where, "recurrent").gru_backward(
            *(to_outputs, self.kept, self.products, self.outputs, weights, contiguous(first[0], self.where)),
            *(self.starts, to_states[0], to_gates, to_products),
        )
        return to_gates, to_products

    def step(self, share: Tensor, recurrent: Tensor, *before: Tensor) -> tuple[Tensor, ...]:
        (x_r, x_z, x_n), (h_r, h_z, h_n) = share.chunk(3, 1), recurrent.chunk(3, 1)
        reset, update = (x_r + h_r).sigmoid(), (x_z + h_z).sigmoid()
        new = (x_n + reset * h_n).tanh()
        return (new + update * (before[0] - new),)


NODES = {"LSTM": LSTM, "GRU": GRU, "RNN_TANH": TanhNetwork, "RNN_RELU": ReluNetwork}
