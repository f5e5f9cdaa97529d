"""Recurrent layers on CUDA: the functions of `nbtorch.kernels.cpu.recurrent`.

A step is a matrix product with the recurrent weights and one kernel, in which a thread computes all gates of a unit of
a sequence; so is a step of the gradient.
"""

import functools
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from nbtorch.kernels.cuda import elementary, target
from nbtorch.kernels.cuda.target import cuda
from nbtorch.kernels.elementary import number, select, sigmoid, tanh

elementary.install()


def rnn_forward(gates: Any, weight: Any, bias: Any, hidden: Any, relu: bool, starts: Any, outputs: Any) -> None:
    """Write the outputs of a network of one gate, tanh or ReLU; `gates` keeps the input's share."""
    step_kernel = rnn_step(np.dtype(gates.dtype), bool(relu))
    units = weight.shape[2]
    for direction, steps in _directions(starts, weight.shape[0]):
        state = hidden[direction].copy()
        for first, last, _, _ in steps:
            size = last - first
            sums = state[:size] @ weight[direction].T
            place = outputs[first:last], outputs.shape[1], direction * units
            _launch(step_kernel, size, units, gates[direction, first:last], sums, bias[direction], state, *place)


def rnn_backward(
    grad_outputs: Any, outputs: Any, weight: Any, relu: bool, starts: Any, grad_hidden: Any, grad_gates: Any
) -> None:
    """Write `grad_gates`; `grad_hidden` holds the gradient of the last states and is overwritten with the first's."""
    step_kernel = rnn_step_grad(np.dtype(weight.dtype), bool(relu))
    units = weight.shape[2]
    for direction, steps in _directions(starts, weight.shape[0]):
        state, columns = grad_hidden[direction], slice(direction * units, (direction + 1) * units)
        for first, last, _, _ in reversed(list(steps)):
            size = last - first
            grad = grad_outputs[first:last, columns] + state[:size]
            result = grad_gates[direction, first:last]
            place = outputs[first:last], outputs.shape[1], direction * units
            _launch(step_kernel, size, units, grad, result, *place)
            state[:size] = result @ weight[direction]


def lstm_forward(
    gates: Any,
    weight: Any,
    bias: Any,
    projection: Any,
    hidden: Any,
    cell: Any,
    starts: Any,
    outputs: Any,
    cells: Any,
    unprojected: Any,
) -> None:
    """Write the outputs and cells of an LSTM (Hochreiter and Schmidhuber, 1997) with gates i, f, g, o.

    `projection` (D, P, H), or None, is applied to the states; `unprojected` (D, N, H) keeps what they were before.
    """
    step_kernel = lstm_step(np.dtype(gates.dtype))
    units, width = cells.shape[2], weight.shape[2]
    for direction, steps in _directions(starts, weight.shape[0]):
        state, memory = hidden[direction].copy(), cell[direction].copy()
        for first, last, _, _ in steps:
            size = last - first
            sums = state[:size] @ weight[direction].T
            shared = gates[direction, first:last], sums, bias[direction], memory, cells[direction, first:last]
            if projection is None:
                place = state, outputs[first:last], outputs.shape[1], direction * units
                _launch(step_kernel, size, units, *shared, *place)
                continue
            whole = unprojected[direction, first:last]
            _launch(step_kernel, size, units, *shared, whole, whole, units, 0)
            state[:size] = whole @ projection[direction].T
            outputs[first:last, direction * width : (direction + 1) * width] = state[:size]


def lstm_backward(
    grad_outputs: Any,
    gates: Any,
    weight: Any,
    projection: Any,
    cell: Any,
    cells: Any,
    starts: Any,
    grad_hidden: Any,
    grad_cell: Any,
    grad_gates: Any,
    grad_projected: Any,
) -> None:
    """Write `grad_gates`, and with a projection the gradient (D, N, P) of what it gives.

    `grad_hidden` and `grad_cell` hold the gradients of the last states and are overwritten with those of the first.
    """
    step_kernel = lstm_step_grad(np.dtype(weight.dtype))
    units, width = cells.shape[2], weight.shape[2]
    for direction, steps in _directions(starts, weight.shape[0]):
        state, columns = grad_hidden[direction], slice(direction * width, (direction + 1) * width)
        for first, last, begin, known in reversed(list(steps)):
            size = last - first
            grad = grad_outputs[first:last, columns] + state[:size]
            if projection is not None:
                grad_projected[direction, first:last] = grad
                grad = grad @ projection[direction]
            before = _before(cells[direction], cell[direction], begin, known, size)
            result, saved = grad_gates[direction, first:last], gates[direction, first:last]
            shared = cells[direction, first:last], before, grad_cell[direction]
            _launch(step_kernel, size, units, grad, saved, *shared, result)
            state[:size] = result @ weight[direction]


def gru_forward(gates: Any, weight: Any, bias: Any, hidden: Any, starts: Any, outputs: Any, products: Any) -> None:
    """Write the outputs of a GRU (Cho et al., 2014) with gates r, z, n, and the recurrent share of n, (D, N, H)."""
    step_kernel = gru_step(np.dtype(gates.dtype))
    units = weight.shape[2]
    for direction, steps in _directions(starts, weight.shape[0]):
        state = hidden[direction].copy()
        for first, last, _, _ in steps:
            size = last - first
            sums = state[:size] @ weight[direction].T
            place = outputs[first:last], outputs.shape[1], direction * units
            shared = gates[direction, first:last], sums, bias[direction], state, products[direction, first:last]
            _launch(step_kernel, size, units, *shared, *place)


def gru_backward(
    grad_outputs: Any,
    gates: Any,
    products: Any,
    outputs: Any,
    weight: Any,
    hidden: Any,
    starts: Any,
    grad_hidden: Any,
    grad_gates: Any,
    grad_products: Any,
) -> None:
    """Write the gradients of the gates' arguments and of the products with the recurrent weights, (D, N, 3·H) both.

    `grad_hidden` holds the gradient of the last states and is overwritten with that of the first.
    """
    step_kernel = gru_step_grad(np.dtype(weight.dtype))
    units = weight.shape[2]
    for direction, steps in _directions(starts, weight.shape[0]):
        state, columns = grad_hidden[direction], slice(direction * units, (direction + 1) * units)
        for first, last, begin, known in reversed(list(steps)):
            size = last - first
            grad = grad_outputs[first:last, columns] + state[:size]
            before = _before(outputs[:, columns], hidden[direction], begin, known, size).copy()
            saved = gates[direction, first:last], products[direction, first:last]
            results = grad_gates[direction, first:last], grad_products[direction, first:last]
            _launch(step_kernel, size, units, grad, *saved, before, state, *results)
            state[:size] += results[1] @ weight[direction]


def _directions(starts: Any, count: int) -> Iterator[tuple[int, Iterator[tuple[int, int, int, int]]]]:
    """Yield each direction and its steps: where a step begins and ends, where the step before it (in this direction)
    begins, and how many of its sequences have that step.
    """
    bounds = [int(start) for start in starts]
    steps = list(itertools.pairwise(bounds))
    for direction in range(count):
        order = steps if direction == 0 else steps[::-1]
        earlier = [(0, 0), *order]
        yield (
            direction,
            iter(
                [
                    (*now, then[0], min(then[1] - then[0], now[1] - now[0]))
                    for now, then in zip(order, earlier, strict=False)
                ]
            ),
        )


def _before(states: Any, first_states: Any, begin: int, known: int, size: int) -> Any:
    """Return the states before a step: `known` of those from `begin` on, the others from the first ones."""
    if known == 0:
        return first_states[:size]
    if known == size:
        return states[begin : begin + size]
    before = first_states[:size].copy()
    before[:known] = states[begin : begin + known]
    return before


def _launch(kernel: target.Kernel, sequences: int, units: int, *arguments: Any) -> None:
    """Launch a thread for each unit of each sequence."""
    size = sequences * units
    if size:
        kernel(target.blocks_for(size, target.THREADS), *arguments, units, size)


@functools.cache
def rnn_step(dtype: np.dtype, relu: bool) -> target.Kernel:
    """Make the kernel of a step of h = tanh(x + W h), or max(x + W h, 0)."""

    def kernel(gates, sums, bias, state, outputs, pitch, column, units, size):
        i, stride = cuda.grid(1), cuda.gridsize(1)
        while i < size:
            unit, sequence = i % units, i // units
            value = gates[i] + sums[i] + bias[unit]
            result = select(value < 0, number(0, value), value) if relu else tanh(value)
            state[i] = result
            outputs[sequence * pitch + column + unit] = result
            i += stride

    parameters = (dtype,) * 5 + ("int64",) * 4
    return target.Kernel(kernel, parameters, target.THREADS)


@functools.cache
def rnn_step_grad(dtype: np.dtype, relu: bool) -> target.Kernel:
    """Make the kernel of the gradient of `rnn_step`'s argument."""

    def kernel(grad, result, outputs, pitch, column, units, size):
        i, stride = cuda.grid(1), cuda.gridsize(1)
        while i < size:
            unit, sequence = i % units, i // units
            output = outputs[sequence * pitch + column + unit]
            if relu:
                result[i] = select(output <= 0, number(0, output), grad[i])
            else:
                result[i] = grad[i] * (number(1, output) - output * output)
            i += stride

    parameters = (dtype,) * 3 + ("int64",) * 4
    return target.Kernel(kernel, parameters, target.THREADS)


@functools.cache
def lstm_step(dtype: np.dtype) -> target.Kernel:
    """Make the kernel of a step of an LSTM: c = f c + i g and h = o tanh(c)."""

    def kernel(gates, sums, bias, memory, cells, state, outputs, pitch, column, units, size):
        element, stride = cuda.grid(1), cuda.gridsize(1)
        while element < size:
            unit, sequence = element % units, element // units
            at = 4 * sequence * units + unit
            i = sigmoid(gates[at] + sums[at] + bias[unit])
            f = sigmoid(gates[at + units] + sums[at + units] + bias[units + unit])
            g = tanh(gates[at + 2 * units] + sums[at + 2 * units] + bias[2 * units + unit])
            o = sigmoid(gates[at + 3 * units] + sums[at + 3 * units] + bias[3 * units + unit])
            cell = f * memory[element] + i * g
            result = o * tanh(cell)
            gates[at] = i
            gates[at + units] = f
            gates[at + 2 * units] = g
            gates[at + 3 * units] = o
            memory[element] = cell
            cells[element] = cell
            state[element] = result
            outputs[sequence * pitch + column + unit] = result
            element += stride

    parameters = (dtype,) * 7 + ("int64",) * 4
    return target.Kernel(kernel, parameters, target.THREADS)


@functools.cache
def lstm_step_grad(dtype: np.dtype) -> target.Kernel:
    """Make the kernel of the gradients of an LSTM's gates' arguments, and of the cells before a step."""

    def kernel(grad, gates, cells, before, to_cell, result, units, size):
        element, stride = cuda.grid(1), cuda.gridsize(1)
        while element < size:
            at = 4 * (element // units) * units + element % units
            i, f, g, o = gates[at], gates[at + units], gates[at + 2 * units], gates[at + 3 * units]
            one = number(1, i)
            squashed = tanh(cells[element])
            to_memory = to_cell[element] + grad[element] * o * (one - squashed * squashed)
            result[at] = to_memory * g * i * (one - i)
            result[at + units] = to_memory * before[element] * f * (one - f)
            result[at + 2 * units] = to_memory * i * (one - g * g)
            result[at + 3 * units] = grad[element] * squashed * o * (one - o)
            to_cell[element] = to_memory * f
            element += stride

    parameters = (dtype,) * 6 + ("int64",) * 2
    return target.Kernel(kernel, parameters, target.THREADS)


@functools.cache
def gru_step(dtype: np.dtype) -> target.Kernel:
    """Make the kernel of a step of a GRU: n = tanh(x + r (W h + b)) and h = (1 - z) n + z h."""

    def kernel(gates, sums, bias, state, products, outputs, pitch, column, units, size):
        element, stride = cuda.grid(1), cuda.gridsize(1)
        while element < size:
            unit, sequence = element % units, element // units
            at = 3 * sequence * units + unit
            r = sigmoid(gates[at] + sums[at] + bias[unit])
            z = sigmoid(gates[at + units] + sums[at + units] + bias[units + unit])
            product = sums[at + 2 * units] + bias[3 * units + unit]
            n = tanh(gates[at + 2 * units] + bias[2 * units + unit] + r * product)
            result = n + z * (state[element] - n)
            gates[at] = r
            gates[at + units] = z
            gates[at + 2 * units] = n
            products[element] = product
            state[element] = result
            outputs[sequence * pitch + column + unit] = result
            element += stride

    parameters = (dtype,) * 6 + ("int64",) * 4
    return target.Kernel(kernel, parameters, target.THREADS)


@functools.cache
def gru_step_grad(dtype: np.dtype) -> target.Kernel:
    """Make the kernel of the gradients of a GRU's gates' arguments, of its products, and of the states directly."""

    def kernel(grad, gates, products, before, to_state, to_gates, to_products, units, size):
        element, stride = cuda.grid(1), cuda.gridsize(1)
        while element < size:
            at = 3 * (element // units) * units + element % units
            r, z, n = gates[at], gates[at + units], gates[at + 2 * units]
            one = number(1, r)
            to_new = grad[element] * (one - z) * (one - n * n)
            to_update = grad[element] * (before[element] - n) * z * (one - z)
            to_reset = to_new * products[element] * r * (one - r)
            to_gates[at] = to_reset
            to_gates[at + units] = to_update
            to_gates[at + 2 * units] = to_new
            to_products[at] = to_reset
            to_products[at + units] = to_update
            to_products[at + 2 * units] = to_new * r
            to_state[element] = grad[element] * z
            element += stride

    parameters = (dtype,) * 7 + ("int64",) * 2
    return target.Kernel(kernel, parameters, target.THREADS)


def catalogue(dtype: np.dtype) -> dict[str, target.Kernel]:
    """Return every kernel of this module for one dtype, by name: what the compile gate walks."""
    kernels = {f"{make.__name__}": make(dtype) for make in (lstm_step, lstm_step_grad, gru_step, gru_step_grad)}
    for relu in (False, True):
        for make in (rnn_step, rnn_step_grad):
            kernels[f"{make.__name__} {'relu' if relu else 'tanh'}"] = make(dtype, relu)
    return kernels
