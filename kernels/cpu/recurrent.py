"""Recurrent layers on the CPU: the time loops of LSTM, GRU and tanh or ReLU networks, forward and backward.

Shapes, for D directions (the second one runs backwards in time), N elements in all sequences together, B sequences, H
units, G gates and P outputs of a unit's state (H, or what an LSTM projects it to); everything C-contiguous, float32 or
float64:

- `gates` (D, N, G·H) holds the input's share of each gate, the product with its weights, and is overwritten with the
  gates themselves, which backward reads; `bias` (D, G·H) is added to it, for a GRU (D, 4·H) with the bias inside of the
  new gate's product last;
- `weight` (D, G·H, P), `hidden` (D, B, P) and `cell` (D, B, H): recurrent weights and first states;
- `outputs` (N, D·P), `cells` (D, N, H);
- `starts` (T + 1): at which element each step begins. A step has one element for each sequence that is not over yet,
  the longest ones first.

A thread takes some sequences through all steps, which share nothing but the weights. Where sequences are few and
weights many, threads share out the units of each step instead, so that each reads its part of the weights only, and
wait for each other between steps. Either way every sum is taken in the same order: bits depend on neither.

The product of a step is the GEMM block of the convolutions: rows are sequences, read where they lie, vectors run along
units, of whose weights panels are packed once for all steps.
"""

from functools import lru_cache
from typing import NamedTuple

import numba
import numpy as np
from nbtorch.kernels.cpu.crew import join, meet, new_crew
from nbtorch.kernels.cpu.objects import elements, emit_elements
from nbtorch.kernels.cpu.ranges import RangeKernel, call_kernel
from nbtorch.kernels.cpu.sharing import part, workspace, zero
from nbtorch.kernels.cpu.simd import gemm_block, gemm_blocks, host_simd, movers, pointer_to, transpose
from nbtorch.kernels.elementary import quick_sigmoid, quick_tanh, select
from nbtorch.kernels.jit import njit
from numba import types
from numba.core import cgutils, config
from numba.core.dispatcher import Dispatcher
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

PARALLEL_PRODUCTS = 1 << 20
"""Multiplications of a time loop above which it takes longer than waking the threads."""

SHARED_STEP_PRODUCTS = 1 << 14
"""Multiplications of a step above which threads may share it out and wait for each other."""

PARALLEL_ELEMENTS = 1 << 16
"""Weights that take longer to pack than waking the threads."""

CACHED_WEIGHTS = 1 << 18
"""Bytes of weights that every thread may keep in a cache of its own (of the second level)."""

DEPTH = 256
"""Terms of a sum that are added at a time: so much of a panel, 16 KiB or a little more, stays in the first cache."""

STRIP = 64
"""Sequences that a panel meets before the next one."""


class Layer(NamedTuple):
    """Shapes, how the work is cut, and the addresses of the vector code."""

    directions: int
    batch: int
    elements: int
    steps: int
    units: int
    outputs: int
    gates: int
    projected: bool
    relu: bool
    by_units: bool
    """Whether threads share out the units of each step rather than the sequences."""
    workers: int
    lanes: int
    panel: int
    """Units of a panel."""
    block_rows: int
    starts: np.ndarray
    blocks: np.ndarray
    offsets: np.ndarray
    mover: np.ndarray


class Arrays(NamedTuple):
    """All arrays of a time loop; those that it does not have are empty. Kernels are given their ids."""

    gates: np.ndarray
    weight: np.ndarray
    panels: np.ndarray
    hidden: np.ndarray
    outputs: np.ndarray
    bias: np.ndarray
    cell: np.ndarray
    cells: np.ndarray
    projection: np.ndarray
    projection_panels: np.ndarray
    unprojected: np.ndarray
    """(D, N, H): the states before an LSTM's projection."""
    products: np.ndarray
    """(D, N, H): the recurrent share of a GRU's new gate."""
    grad_outputs: np.ndarray
    grad_hidden: np.ndarray
    grad_cell: np.ndarray
    grad_gates: np.ndarray
    grad_products: np.ndarray
    """(D, N, G·H): the gradient of the product with the recurrent weights, which for a GRU is not that of the gates."""
    grad_projected: np.ndarray
    kind: np.ndarray
    """An empty array of their type."""


def rnn_forward(gates, weight, bias, hidden, relu: bool, starts, outputs) -> None:
    """Write the outputs of a network of one gate, tanh or ReLU; `gates` keeps the input's share."""
    layer = _layer(weight, outputs, starts, 1, relu=relu)
    arrays = {"gates": gates, "weight": weight, "bias": bias, "hidden": hidden, "outputs": outputs}
    _go_through(_rnn_forward, _pack_transposed, layer, layer.steps, **arrays)


def rnn_backward(grad_outputs, outputs, weight, relu: bool, starts, grad_hidden, grad_gates) -> None:
    """Write `grad_gates`; `grad_hidden` holds the gradient of the last states and is overwritten with the first's."""
    layer = _layer(weight, outputs, starts, 1, relu=relu)
    grads = {"grad_outputs": grad_outputs, "grad_hidden": grad_hidden, "grad_gates": grad_gates}
    arrays = {"weight": weight, "outputs": outputs, "grad_products": grad_gates}
    _go_through(_rnn_backward, _pack_straight, layer, layer.steps + 1, **arrays, **grads)


def lstm_forward(gates, weight, bias, projection, hidden, cell, starts, outputs, cells, unprojected) -> None:
    """Write the outputs and cells of an LSTM (Hochreiter and Schmidhuber, 1997) with gates i, f, g, o.

    `projection` (D, P, H), or None, is applied to the states; `unprojected` (D, N, H) keeps what they were before.
    """
    layer = _layer(weight, outputs, starts, 4, projection is not None)
    given = {"gates": gates, "weight": weight, "bias": bias, "projection": projection, "hidden": hidden, "cell": cell}
    results = {"outputs": outputs, "cells": cells, "unprojected": unprojected}
    _go_through(_lstm_forward, _pack_transposed, layer, layer.steps, **given, **results)


def lstm_backward(
    grad_outputs, gates, weight, projection, cell, cells, starts, grad_hidden, grad_cell, grad_gates, grad_projected
) -> None:
    """Write `grad_gates`, and with a projection the gradient (D, N, P) of what it gives.

    `grad_hidden` and `grad_cell` hold the gradients of the last states and are overwritten with those of the first.
    """
    layer = _layer(weight, grad_outputs, starts, 4, projection is not None)
    arrays = {"gates": gates, "weight": weight, "projection": projection, "cell": cell, "cells": cells}
    grads = {"grad_outputs": grad_outputs, "grad_hidden": grad_hidden, "grad_cell": grad_cell}
    results = {"grad_gates": grad_gates, "grad_products": grad_gates, "grad_projected": grad_projected}
    _go_through(_lstm_backward, _pack_straight, layer, layer.steps + 1, **arrays, **grads, **results)


def gru_forward(gates, weight, bias, hidden, starts, outputs, products) -> None:
    """Write the outputs of a GRU (Cho et al., 2014) with gates r, z, n, and the recurrent share of n, (D, N, H)."""
    layer = _layer(weight, outputs, starts, 3)
    given = {"gates": gates, "weight": weight, "bias": bias, "hidden": hidden}
    _go_through(_gru_forward, _pack_transposed, layer, layer.steps, **given, outputs=outputs, products=products)


def gru_backward(
    grad_outputs, gates, products, outputs, weight, hidden, starts, grad_hidden, grad_gates, grad_products
) -> None:
    """Write the gradients of the gates' arguments and of the products with the recurrent weights, (D, N, 3·H) both.

    `grad_hidden` holds the gradient of the last states and is overwritten with that of the first.
    """
    layer = _layer(weight, outputs, starts, 3)
    arrays = {"gates": gates, "products": products, "outputs": outputs, "weight": weight, "hidden": hidden}
    grads = {"grad_outputs": grad_outputs, "grad_hidden": grad_hidden}
    results = {"grad_gates": grad_gates, "grad_products": grad_products}
    _go_through(_gru_backward, _pack_straight, layer, layer.steps + 1, **arrays, **grads, **results)


def _layer(weight, outputs, starts, gates: int, projected: bool = False, relu: bool = False) -> Layer:
    """Return the shapes of a layer and how its work is shared out."""
    steps, batch, threads = len(starts) - 1, int(starts[1]) if len(starts) > 1 else 0, numba.get_num_threads()
    options = gates, projected, bool(relu), threads
    layer = _layer_of(weight.shape, weight.dtype, len(outputs), steps, batch, *options)
    return layer if len(outputs) == steps * batch else layer._replace(starts=starts)


@lru_cache(maxsize=256)
def _layer_of(
    weight: tuple[int, int, int],
    dtype: np.dtype,
    elements: int,
    steps: int,
    batch: int,
    gates: int,
    projected: bool,
    relu: bool,
    threads: int,
) -> Layer:
    """Decide how the work of a layer is shared out."""
    directions, depth, width = weight
    units, simd = depth // gates, host_simd()
    lanes, products = simd.lanes(dtype), elements * directions * depth * width
    workers = threads if products > PARALLEL_PRODUCTS else 1
    step = products // max(steps, 1)
    rows = -(-batch * directions // threads)
    by_units = (
        workers > 1
        and not projected
        and step > SHARED_STEP_PRODUCTS
        and (
            rows * threads > batch * directions
            or (directions * depth * width * dtype.itemsize > CACHED_WEIGHTS and rows < STRIP)
        )
    )
    rows = max(1, batch if by_units or workers == 1 else rows)
    rows = -(-rows // -(-rows // simd.rows))  # of a block, where blocks are alike
    # as many vectors as leave room, beside the sums, for a step's operands
    vectors = min(simd.vectors_for(rows), (simd.accumulators + 3) // (rows + 1))
    panel = vectors * lanes
    shares = directions * (-(-units // panel) if by_units else batch)
    return Layer(
        *(directions, batch, elements, steps, units, width, gates, projected, relu, by_units),
        *(max(1, min(workers, shares)), lanes, panel, min(simd.rows, simd.accumulators // vectors)),
        *(np.arange(steps + 1) * batch, gemm_blocks(dtype, False), np.arange(DEPTH) * panel, movers(dtype)),
    )


def _go_through(loop: RangeKernel, pack: RangeKernel, layer: Layer, steps: int, **arrays) -> None:
    """Pack the weights, and go through all steps; where threads share out units they meet after each."""
    weight, units, outputs = arrays["weight"], layer.units, layer.outputs
    if pack is _pack_straight:  # for products with the weights themselves, not with their transpose
        groups, terms, columns, others = layer.directions, layer.gates * units, outputs, units
    else:
        groups, terms, columns, others = layer.directions * layer.gates, outputs, units, outputs
    count = groups * -(-columns // layer.panel)
    panels = arrays["panels"] = workspace.get("recurrent panels", count, terms * layer.panel, weight.dtype)
    if layer.projected:
        others = layer.directions * -(-others // layer.panel)
        terms = units if pack is _pack_transposed else outputs
        arrays["projection_panels"] = workspace.get("projection panels", others, terms * layer.panel, weight.dtype)
    nothing = arrays["kind"] = np.empty(0, weight.dtype)
    found = [arrays.get(name) for name in Arrays._fields]
    found = [nothing if array is None else np.ascontiguousarray(array) for array in found]
    ids = Arrays(*map(id, found[:-1]), nothing)  # type: ignore[arg-type]
    workers = numba.get_num_threads() if panels.size > PARALLEL_ELEMENTS else 1
    _run(pack, layer, ids, 0, 0, count, workers)
    if layer.projected:
        _run(pack, layer, ids, 1, 1, others, workers)
    if layer.elements:
        crew = new_crew()
        _run(loop, layer, ids, steps, id(crew), layer.workers, layer.workers)


def _run(kernel: RangeKernel, layer: Layer, ids: Arrays, first: int, second: int, count: int, workers: int) -> None:
    """Run a kernel with two numbers on a range, on several threads if there are several workers."""
    if workers == 1 or not isinstance(kernel.kernel, Dispatcher):
        kernel.kernel(layer, ids, first, second, 0, count)
    else:
        arguments = layer, ids, first, second
        _share_out(kernel.address(arguments), *arguments, count, -(-count // workers))


@njit(parallel=True)
def _share_out(address, layer, arrays, first, second, count, length):
    for share in numba.prange((count + length - 1) // length):
        begin = np.int64(share) * length
        call_kernel(address, (layer, arrays, first, second), begin, min(begin + length, count))


def _pack_transposed_range(layer, arrays, projection, last, begin, end):
    """Pack panels [term][unit] of matrices (units, terms)."""
    source, target = _whole(arrays, arrays.weight), _whole(arrays, arrays.panels)
    units, terms = layer.units, layer.outputs
    if projection:
        source, target = _whole(arrays, arrays.projection), _whole(arrays, arrays.projection_panels)
        units, terms = layer.outputs, layer.units
    panels = -(-units // layer.panel)
    for index in range(begin, end):
        group, unit = index // panels, index % panels * layer.panel
        width, place = min(layer.panel, units - unit), index * terms * layer.panel
        if width < layer.panel:
            zero(target[place : place + terms * layer.panel])
        start = (group * units + unit) * terms
        transpose(layer.mover, target, place, layer.panel, source, start, terms, width, terms)


def _pack_straight_range(layer, arrays, projection, last, begin, end):
    """Pack panels [term][unit] of matrices (terms, units)."""
    source, target = _whole(arrays, arrays.weight), _whole(arrays, arrays.panels)
    units, terms = layer.outputs, layer.gates * layer.units
    if projection:
        source, target = _whole(arrays, arrays.projection), _whole(arrays, arrays.projection_panels)
        units, terms = layer.units, layer.outputs
    panels = -(-units // layer.panel)
    for index in range(begin, end):
        group, unit = index // panels, index % panels * layer.panel
        width, place = min(layer.panel, units - unit), index * terms * layer.panel
        for term in range(terms):
            line = piece(target, place + term * layer.panel, layer.panel)
            values = piece(source, (group * terms + term) * units + unit, width)
            for i in range(width):
                line[i] = values[i]
            for i in range(width, layer.panel):
                line[i] = 0


def _piece(typing_context, values, start, size):
    """Return a part of a flat array without counting a reference: that would take as long as some gates do."""

    def emit(context, builder, signature, arguments):
        whole = context.make_array(values)(context, builder, arguments[0])
        part = context.make_array(values)(context, builder)
        first = pointer_to(context, builder, values, arguments[0], arguments[1])
        shape, strides = [arguments[2]], cgutils.unpack_tuple(builder, whole.strides, 1)
        populate_array(part, data=first, shape=shape, strides=strides, itemsize=whole.itemsize, meminfo=None)
        return part._getvalue()

    return values(values, types.intp, types.intp), emit


def _slice(values, start, size):
    """Return a part of a flat array; for `NUMBA_DISABLE_JIT=1`."""
    return values[start : start + size]


piece = _slice if config.DISABLE_JIT else intrinsic(_piece)


def _view(typing_context, arrays, place, start, size):
    """Return a part of one of the arrays, of which kernels are given the ids."""
    kind = types.Array(arrays[len(arrays) - 1].dtype, 1, "C")

    def emit(context, builder, signature, arguments):
        return emit_elements(context, builder, kind, *arguments[1:])

    return kind(arrays, types.intp, types.intp, types.intp), emit


def _slice_of(arrays, place, start, size):
    """Return a part of one of the arrays; for `NUMBA_DISABLE_JIT=1`."""
    return elements(place, start, size, arrays.kind)


view = _slice_of if config.DISABLE_JIT else intrinsic(_view)


@njit
def _whole(arrays, place):
    """Return one of the arrays; its size is not known here."""
    return view(arrays, place, 0, 1 << 62)


@njit
def _share(layer, worker, workers, direction):
    """Return first and last sequence, and first and last unit, of one of the workers' shares of one direction."""
    count = -(-layer.units // layer.panel) if layer.by_units else layer.batch
    first, size = part(worker, layer.directions * count, workers)
    last = max(0, min(first + size - direction * count, count))
    first = max(0, min(first - direction * count, count))
    if layer.by_units:
        return 0, layer.batch if first < last else 0, first * layer.panel, min(last * layer.panel, layer.units)
    return first, last, 0, layer.units


@njit
def _active(layer, step):
    """Return how many sequences have a step; none have one before the first and after the last."""
    return layer.starts[step + 1] - layer.starts[step] if 0 <= step < layer.steps else 0


@njit
def _multiply(layer, rows, terms, a, a_start, a_pitch, panels, panel, width, target, start, pitch, adding, tile):
    """Write, or add, the products of some rows with a panel to `width` columns of `target`.

    Blocks write whole vectors: where the panel ends inside of one, they write to the tile first.
    """
    blocks, vectors = -(-rows // layer.block_rows), -(-width // layer.lanes)
    ragged = width < vectors * layer.lanes
    sums, sums_start, sums_pitch = (tile, 0, layer.panel) if ragged else (target, start, pitch)
    kept = 0 if ragged else adding
    for first in range(0, terms, DEPTH):
        for block in range(blocks):
            row, count = part(block, rows, blocks)
            gemm_block(
                layer.blocks[count - 1, vectors - 1],
                *(a, a_start + row * a_pitch + first, a_pitch, 1),
                *(panels, (panel * terms + first) * layer.panel, layer.offsets, min(DEPTH, terms - first)),
                *(sums, sums_start + row * sums_pitch, sums_pitch, kept + first),
            )
    if ragged:
        for row in range(rows):
            line = piece(target, start + row * pitch, width)
            if not adding:
                zero(line)
            _accumulate(line, piece(tile, row * layer.panel, width))


@njit
def _multiply_states(layer, arrays, direction, step, first, last, unit, width, gates, tile):
    """Add the products of states before a step with the weights of a panel to the gates of some sequences.

    A GRU's last product goes to an array of its own. Returns the end of the sequences: not `last` where states lie
    elsewhere from there on, because sequences begin.
    """
    outputs, units, panels = layer.outputs, layer.units, -(-layer.units // layer.panel)
    before = step - 1 if direction == 0 else step + 1
    known = _active(layer, before)
    source, start, pitch = _whole(arrays, arrays.hidden), (direction * layer.batch + first) * outputs, outputs
    if first < known:
        last = min(last, known)
        pitch = layer.directions * outputs
        source, start = _whole(arrays, arrays.outputs), (layer.starts[before] + first) * pitch + direction * outputs
    place = direction * layer.elements + layer.starts[step] + first
    for gate in range(gates):
        panel = (direction * gates + gate) * panels + unit // layer.panel
        target, at, step_pitch, adding = arrays.gates, (place * gates + gate) * units + unit, gates * units, 1
        if gates == 3 and gate == 2:
            target, at, step_pitch, adding = arrays.products, place * units + unit, units, 0
        _multiply(
            *(layer, last - first, outputs, source, start, pitch, _whole(arrays, arrays.panels), panel, width),
            *(_whole(arrays, target), at, step_pitch, adding, tile),
        )
    return last


@njit
def _multiply_grads(layer, arrays, direction, step, first, last, first_unit, last_unit, tile):
    """Add to the gradient of some units' states after a step the part that the products of the next step send back."""
    terms, outputs = layer.gates * layer.units, layer.outputs
    panels, products = -(-outputs // layer.panel), _whole(arrays, arrays.grad_products)
    start = direction * layer.elements + (layer.starts[step] if last > first else 0)
    for unit in range(first_unit, last_unit, layer.panel):
        width, panel = min(layer.panel, outputs - unit), direction * panels + unit // layer.panel
        for row in range(first, last, STRIP):
            target = (direction * layer.batch + row) * outputs + unit
            _multiply(
                *(layer, min(STRIP, last - row), terms, products, (start + row) * terms, terms),
                *(_whole(arrays, arrays.panels), panel, width),
                *(_whole(arrays, arrays.grad_hidden), target, outputs, 1, tile),
            )


@njit
def _before(layer, arrays, direction, step, sequence, states, pitch, start, first_states, unit, width):
    """Return some units of a sequence's state before a step: one of `states`, or the first."""
    before = step - 1 if direction == 0 else step + 1
    if sequence < _active(layer, before):
        return view(arrays, states, start + (layer.starts[before] + sequence) * pitch + unit, width)
    return view(arrays, first_states, (direction * layer.batch + sequence) * layer.units + unit, width)


@njit
def _accumulate(values, addend):
    for i in range(values.size):
        values[i] += addend[i]


@njit
def _copy(source, target):
    for i in range(target.size):
        target[i] = source[i]


@njit
def _sigmoid(values):
    for i in range(values.size):
        values[i] = quick_sigmoid(values[i])


@njit
def _tanh(values):
    for i in range(values.size):
        values[i] = quick_tanh(values[i])


@njit
def _add_biases(layer, arrays, direction, step, first, last, unit, width, gates):
    """Add the biases to the gates of some sequences; that brings them to the cache, row by row, before the products."""
    units = layer.units
    for sequence in range(first, last):
        place = direction * layer.elements + layer.starts[step] + sequence
        for gate in range(gates):
            biases = direction * (4 if gates == 3 else gates) + gate  # a GRU has one more
            values = view(arrays, arrays.gates, (place * gates + gate) * units + unit, width)
            _accumulate(values, view(arrays, arrays.bias, biases * units + unit, width))


@njit
def _rnn_cell(layer, arrays, direction, step, sequence, unit, width, work):
    """Compute h = tanh(x + W h), or max(x + W h, 0)."""
    place = layer.starts[step] + sequence
    values = view(arrays, arrays.gates, (direction * layer.elements + place) * layer.units + unit, width)
    output = view(arrays, arrays.outputs, (place * layer.directions + direction) * layer.units + unit, width)
    if layer.relu:
        for i in range(width):
            output[i] = select(values[i] < 0, values.dtype.type(0), values[i])
    else:
        _tanh(values)
        _copy(values, output)


@njit
def _rnn_cell_grad(layer, arrays, direction, step, sequence, unit, width, grad, work):
    place = layer.starts[step] + sequence
    output = view(arrays, arrays.outputs, (place * layer.directions + direction) * layer.units + unit, width)
    result = view(arrays, arrays.grad_gates, (direction * layer.elements + place) * layer.units + unit, width)
    if layer.relu:
        for i in range(width):
            result[i] = select(output[i] <= 0, output.dtype.type(0), grad[i])
    else:
        for i in range(width):
            result[i] = grad[i] * (1 - output[i] * output[i])
    zero(view(arrays, arrays.grad_hidden, (direction * layer.batch + sequence) * layer.outputs + unit, width))


@njit
def _lstm_cell(layer, arrays, direction, step, sequence, unit, width, work):
    """Compute c = f c + i g and h = o tanh(c); gates i, f, o are sigmoids of x + W h, g is its hyperbolic tangent."""
    units, place = layer.units, direction * layer.elements + layer.starts[step] + sequence
    at = place * 4 * units + unit
    for gate in range(4):
        values = view(arrays, arrays.gates, at + gate * units, width)
        if gate == 2:
            _tanh(values)
        else:
            _sigmoid(values)
    i, f = view(arrays, arrays.gates, at, width), view(arrays, arrays.gates, at + units, width)
    g, o = view(arrays, arrays.gates, at + 2 * units, width), view(arrays, arrays.gates, at + 3 * units, width)
    start = direction * layer.elements * units
    before = _before(layer, arrays, direction, step, sequence, arrays.cells, units, start, arrays.cell, unit, width)
    cell, squashed = view(arrays, arrays.cells, place * units + unit, width), piece(work, 0, width)
    for k in range(width):
        cell[k] = f[k] * before[k] + i[k] * g[k]
    _copy(cell, squashed)
    _tanh(squashed)
    if layer.projected:
        output = view(arrays, arrays.unprojected, place * units + unit, width)
    else:
        out_at = (layer.starts[step] + sequence) * layer.directions + direction
        output = view(arrays, arrays.outputs, out_at * units + unit, width)
    for k in range(width):
        output[k] = o[k] * squashed[k]


@njit
def _lstm_cell_grad(layer, arrays, direction, step, sequence, unit, width, grad, work):
    units, place = layer.units, direction * layer.elements + layer.starts[step] + sequence
    at = place * 4 * units + unit
    i, f = view(arrays, arrays.gates, at, width), view(arrays, arrays.gates, at + units, width)
    g, o = view(arrays, arrays.gates, at + 2 * units, width), view(arrays, arrays.gates, at + 3 * units, width)
    to_i, to_f = view(arrays, arrays.grad_gates, at, width), view(arrays, arrays.grad_gates, at + units, width)
    to_g, to_o = (
        view(arrays, arrays.grad_gates, at + 2 * units, width),
        view(arrays, arrays.grad_gates, at + 3 * units, width),
    )
    cell, to_cell = (
        piece(work, 0, width),
        view(arrays, arrays.grad_cell, (direction * layer.batch + sequence) * units + unit, width),
    )
    _copy(view(arrays, arrays.cells, place * units + unit, width), cell)
    _tanh(cell)
    for k in range(width):
        to_o[k] = grad[k] * cell[k] * o[k] * (1 - o[k])
    for k in range(width):
        to_cell[k] += grad[k] * o[k] * (1 - cell[k] * cell[k])
    start = direction * layer.elements * units
    before = _before(layer, arrays, direction, step, sequence, arrays.cells, units, start, arrays.cell, unit, width)
    for k in range(width):
        to_f[k] = to_cell[k] * before[k] * f[k] * (1 - f[k])
    for k in range(width):
        to_i[k] = to_cell[k] * g[k] * i[k] * (1 - i[k])
    for k in range(width):
        to_g[k] = to_cell[k] * i[k] * (1 - g[k] * g[k])
    for k in range(width):
        to_cell[k] *= f[k]
    if not layer.projected:
        zero(view(arrays, arrays.grad_hidden, (direction * layer.batch + sequence) * units + unit, width))


@njit
def _gru_cell(layer, arrays, direction, step, sequence, unit, width, work):
    """Compute n = tanh(x + r (W h + b)) and h = (1 - z) n + z h; gates r and z are sigmoids of x + W h."""
    units, place = layer.units, direction * layer.elements + layer.starts[step] + sequence
    at = place * 3 * units + unit
    r, z = view(arrays, arrays.gates, at, width), view(arrays, arrays.gates, at + units, width)
    new, product = (
        view(arrays, arrays.gates, at + 2 * units, width),
        view(arrays, arrays.products, place * units + unit, width),
    )
    _sigmoid(r)
    _sigmoid(z)
    _accumulate(product, view(arrays, arrays.bias, (direction * 4 + 3) * units + unit, width))
    for k in range(width):
        new[k] += r[k] * product[k]
    _tanh(new)
    pitch, start = layer.directions * units, direction * units
    before = _before(layer, arrays, direction, step, sequence, arrays.outputs, pitch, start, arrays.hidden, unit, width)
    output = view(arrays, arrays.outputs, (layer.starts[step] + sequence) * pitch + start + unit, width)
    for k in range(width):
        output[k] = new[k] + z[k] * (before[k] - new[k])


@njit
def _gru_cell_grad(layer, arrays, direction, step, sequence, unit, width, grad, work):
    units, place = layer.units, direction * layer.elements + layer.starts[step] + sequence
    at = place * 3 * units + unit
    r, z = view(arrays, arrays.gates, at, width), view(arrays, arrays.gates, at + units, width)
    n, to_n = view(arrays, arrays.gates, at + 2 * units, width), view(arrays, arrays.grad_gates, at + 2 * units, width)
    to_r, to_z = view(arrays, arrays.grad_gates, at, width), view(arrays, arrays.grad_gates, at + units, width)
    product = view(arrays, arrays.products, place * units + unit, width)
    to_product = view(arrays, arrays.grad_products, at + 2 * units, width)
    pitch, start = layer.directions * units, direction * units
    before = _before(layer, arrays, direction, step, sequence, arrays.outputs, pitch, start, arrays.hidden, unit, width)
    for k in range(width):
        to_n[k] = grad[k] * (1 - z[k]) * (1 - n[k] * n[k])
    for k in range(width):
        to_z[k] = grad[k] * (before[k] - n[k]) * z[k] * (1 - z[k])
    for k in range(width):
        to_product[k] = to_n[k] * r[k]
    for k in range(width):
        to_r[k] = to_n[k] * product[k] * r[k] * (1 - r[k])
    _copy(to_r, view(arrays, arrays.grad_products, at, width))
    _copy(to_z, view(arrays, arrays.grad_products, at + units, width))
    to_state = view(arrays, arrays.grad_hidden, (direction * layer.batch + sequence) * units + unit, width)
    for k in range(width):
        to_state[k] = grad[k] * z[k]


def _forward(name: str, cell, gates: int) -> RangeKernel:
    """Make the time loop of a kind of cell; `begin` to `end` are workers."""

    def kernel(layer, arrays, steps, crew, begin, end):
        tile, work = np.empty(STRIP * layer.panel, arrays.kind.dtype), np.empty(layer.units, arrays.kind.dtype)
        shared, workers = elements(crew, 0, 24, layer.starts), layer.workers
        if layer.by_units:
            begin, workers = join(shared, workers)
            end = begin + (begin >= 0)
        for worker in range(begin, end):
            for number in range(steps):
                for direction in range(layer.directions):
                    step = number if direction == 0 else layer.steps - 1 - number
                    first, last, first_unit, last_unit = _share(layer, worker, workers, direction)
                    last = min(last, _active(layer, step))
                    _add_biases(layer, arrays, direction, step, first, last, first_unit, last_unit - first_unit, gates)
                    for unit in range(first_unit, last_unit, layer.panel):
                        width, row = min(layer.panel, layer.units - unit), first
                        while row < last:
                            strip_end = min(row + STRIP, last)
                            row = _multiply_states(
                                layer, arrays, direction, step, row, strip_end, unit, width, gates, tile
                            )
                    for sequence in range(first, last):
                        cell(layer, arrays, direction, step, sequence, first_unit, last_unit - first_unit, work)
                    if layer.projected:
                        _project(layer, arrays, direction, step, first, last, tile)
                if layer.by_units:
                    meet(shared, workers, number + 1)

    kernel.__name__ = kernel.__qualname__ = name
    return RangeKernel(kernel, PARALLEL_PRODUCTS)


@njit
def _project(layer, arrays, direction, step, first, last, tile):
    """Write the projections of some sequences' states."""
    outputs, units = layer.outputs, layer.units
    panels, pitch = -(-outputs // layer.panel), layer.directions * outputs
    for unit in range(0, outputs, layer.panel):
        width, panel = min(layer.panel, outputs - unit), direction * panels + unit // layer.panel
        for row in range(first, last, STRIP):
            place = layer.starts[step] + row
            start, target = (direction * layer.elements + place) * units, place * pitch + direction * outputs + unit
            _multiply(
                *(layer, min(STRIP, last - row), units, _whole(arrays, arrays.unprojected), start, units),
                *(_whole(arrays, arrays.projection_panels), panel, width),
                *(_whole(arrays, arrays.outputs), target, pitch, 0, tile),
            )


def _backward(name: str, cell_grad) -> RangeKernel:
    """Make the time loop of a kind of cell's gradient, which has a last step more: that to the first states."""

    def kernel(layer, arrays, steps, crew, begin, end):
        outputs = layer.outputs
        tile = np.empty(STRIP * layer.panel, arrays.kind.dtype)
        sums = np.empty(tile.size if layer.projected else 0, arrays.kind.dtype)
        work, grad = np.empty(layer.units, arrays.kind.dtype), np.empty(outputs, arrays.kind.dtype)
        shared, workers = elements(crew, 0, 24, layer.starts), layer.workers
        if layer.by_units:
            begin, workers = join(shared, workers)
            end = begin + (begin >= 0)
        for worker in range(begin, end):
            for number in range(steps):
                for direction in range(layer.directions):
                    step = layer.steps - 1 - number if direction == 0 else number
                    later = step + 1 if direction == 0 else step - 1
                    first, last, first_unit, last_unit = _share(layer, worker, workers, direction)
                    last_output = outputs if layer.projected else last_unit
                    sent = min(last, _active(layer, later))
                    _multiply_grads(layer, arrays, direction, later, first, sent, first_unit, last_output, tile)
                    width, last = last_output - first_unit, min(last, _active(layer, step))
                    for sequence in range(first, last):
                        place = layer.starts[step] + sequence
                        total = piece(grad, 0, width)
                        if layer.projected:
                            total = view(
                                arrays, arrays.grad_projected, (direction * layer.elements + place) * outputs, width
                            )
                        state = (direction * layer.batch + sequence) * outputs + first_unit
                        to_state = view(arrays, arrays.grad_hidden, state, width)
                        _copy(to_state, total)
                        at = (place * layer.directions + direction) * outputs + first_unit
                        _accumulate(total, view(arrays, arrays.grad_outputs, at, width))
                        if layer.projected:
                            zero(to_state)
                        else:
                            cell_grad(layer, arrays, direction, step, sequence, first_unit, width, total, work)
                    if layer.projected:
                        for unit in range(0, layer.units, layer.panel):
                            width = min(layer.panel, layer.units - unit)
                            for row in range(first, last, STRIP):
                                rows = min(STRIP, last - row)
                                _multiply_projected(layer, arrays, direction, step, row, rows, unit, width, sums, tile)
                                for r in range(rows):
                                    total = piece(sums, r * layer.panel, width)
                                    cell_grad(layer, arrays, direction, step, row + r, unit, width, total, work)
                if layer.by_units:
                    meet(shared, workers, number + 1)

    kernel.__name__ = kernel.__qualname__ = name
    return RangeKernel(kernel, PARALLEL_PRODUCTS)


@njit
def _multiply_projected(layer, arrays, direction, step, row, rows, unit, width, sums, tile):
    """Write the gradients of some units' states before their projection."""
    outputs, panels = layer.outputs, -(-layer.units // layer.panel)
    start = (direction * layer.elements + layer.starts[step] + row) * outputs
    _multiply(
        *(layer, rows, outputs, _whole(arrays, arrays.grad_projected), start, outputs),
        _whole(arrays, arrays.projection_panels),
        *(direction * panels + unit // layer.panel, width, sums, 0, layer.panel, 0, tile),
    )


_pack_transposed = RangeKernel(_pack_transposed_range, PARALLEL_ELEMENTS)
_pack_straight = RangeKernel(_pack_straight_range, PARALLEL_ELEMENTS)
_rnn_forward, _rnn_backward = _forward("rnn_forward", _rnn_cell, 1), _backward("rnn_backward", _rnn_cell_grad)
_lstm_forward, _lstm_backward = _forward("lstm_forward", _lstm_cell, 4), _backward("lstm_backward", _lstm_cell_grad)
_gru_forward, _gru_backward = _forward("gru_forward", _gru_cell, 3), _backward("gru_backward", _gru_cell_grad)
