"""Depthwise convolution: one input channel per group, so nothing to multiply matrices for; memory sets the pace.

A plane of the source (or a box of it, for large planes) is packed, zero-padded, into scratch memory that stays in the
cache; every tap is a constant offset there, as in `conv.py`. Eight vectors of outputs are summed at a time and go
straight to the target. What is packed where, and which vectors there are, is written down in tables when the
convolution is planned, so that small images cost no arithmetic on sizes. Boxes are all of one size: the last one
reaches back into the one before, and so does the last vector of a row.

- Stride: the source is split by phases, as in `conv.py`.
- The gradient of the input is the same for a gradient of the output with zeros between its elements, `stride` apart,
  and gathers from all channels of its group. It spends stride^2 times the arithmetic that is needed, and still waits
  for memory.
- The gradient of the weight is a product of vectors along the positions, as in `conv.py`. Zeros of the packed gradient
  meet elements that do not belong to them; where such a sum is not finite, it is summed again without them.

A task is a group of one image, or of all of them for the gradient of the weight; the sums are taken in an order that
depends on shapes alone.
"""

import itertools
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ..jit import njit
from .conv_plan import Axis, Convolution, Gather, Problem, ceil_div, lay_out, segment_starts, shrink, terms_of
from .depthwise_simd import VECTORS, direct_block, direct_blocks
from .ranges import RangeKernel
from .sharing import part, workspace, zero
from .simd import dot_block, dot_blocks, host_simd, movers, pack_plane, write_plane

SCRATCH_BYTES = 48 * 1024
"""What the packed source of a box may take."""


class Layout(NamedTuple):
    """Shapes of a depthwise convolution and its boxes. Pitches and sizes are counted in elements."""

    images: int
    groups: int
    rows: int
    """Target channels per group: the channel multiplier, or one for the gradient of the input."""
    channels: int
    """Source channels per group: the other of the two."""
    taps: int
    source_size: int
    target_size: int
    """Elements of a channel of the source and of the target."""
    target_height: int
    target_width: int
    box_planes: int
    box_rows: int
    box_columns: int
    step: int
    """The stride of the source along a row."""
    scattered: int
    """Whether zeros lie between the elements of the packed source."""
    row_pitch: int
    packed_rows: int
    plane_pitch: int
    channel_pitch: int
    x_size: int
    narrow: int
    """Whether a row of a box is shorter than a vector."""
    lanes: int
    g_row_pitch: int
    g_plane_pitch: int
    g_size: int
    """The gradient of the output, packed for products along the positions."""
    segment_vectors: int


class Tables(NamedTuple):
    """The addresses of the vector code, and what to do for every box."""

    mover: np.ndarray
    blocks: np.ndarray
    offsets: np.ndarray
    """(terms,): where the terms of an output lie in the packed source."""
    segments: np.ndarray
    packs: np.ndarray
    """(boxes, packs, 7), for every plane to pack: the place in x, the start in the channel and the pitch of rows; then
    the limits of rows and columns, or for a scattered source rows, columns, and the pitches that they take in x."""
    g_packs: np.ndarray
    """(boxes, planes, 6): the place in g, the start in the channel, the limits of rows and columns."""
    starts: np.ndarray
    """(boxes,): where a box begins in the target's channel."""
    x_places: np.ndarray
    target_places: np.ndarray
    """(vectors,): where each vector of outputs is read and written."""


@njit
def _pack(tables, layout, box, source, begin, x, x_at):
    """Pack what a box reads from the channel of the source that begins at an element."""
    if layout.scattered:
        zero(x[x_at : x_at + layout.channel_pitch])
    for i in range(tables.packs.shape[1]):
        p = tables.packs[box, i]
        if layout.scattered:
            write_plane(
                tables.mover, source, begin + p[1], p[2], p[3], p[4], x, x_at + p[0], p[5], p[6], x.dtype.type(0)
            )
        else:
            pack_plane(
                tables.mover,
                *(x, x_at + p[0], layout.row_pitch, layout.packed_rows),
                *(source, begin + p[1], p[2], layout.step, p[3], p[4], p[5], p[6]),
            )


@njit
def _copy_box(layout, y, target, start):
    """Copy the outputs of a box from where the target would begin in y."""
    for plane in range(layout.box_planes):
        for row in range(layout.box_rows):
            place = (plane * layout.target_height + row) * layout.target_width
            for column in range(layout.box_columns):
                target[start + place + column] = y[place + column]


@njit
def _tasks(first, last, tables, layout, source, weight, bias, target, memory):
    """Compute tasks first..last, each a group of one image; arrays are flat.

    A row shorter than a vector is written with whatever follows, which the next rows, or the next tasks, write again.
    What could reach beyond the last task goes to a buffer first.
    """
    x, y = memory[: layout.x_size], memory[layout.x_size :]
    zero(x)
    terms = layout.channels * layout.taps
    for task in range(first, last):
        group = task % layout.groups
        for box in range(tables.starts.size):
            for channel in range(layout.channels):
                begin = (task * layout.channels + channel) * layout.source_size
                _pack(tables, layout, box, source, begin, x, channel * layout.channel_pitch)
            for r in range(layout.rows):
                start = (task * layout.rows + r) * layout.target_size + tables.starts[box]
                row = group * layout.rows + r
                rest = (last * layout.rows - task * layout.rows - r - 1) * layout.target_size
                buffered = layout.narrow and rest < layout.lanes
                into = y if buffered else target
                into_at = 0 if buffered else start
                direct_block(
                    tables.blocks[0, 0],
                    *(x, tables.x_places),
                    *(into, into_at, tables.target_places),
                    *(tables.x_places.size, weight, row * terms, tables.offsets, terms, bias[row]),
                )
                if buffered:
                    _copy_box(layout, y, target, start)


def _tasks_range(tasks, tables, layout, source, weight, bias, target, memory, begin, end):
    """Compute the tasks of a range of workers, each of which has a row of memory."""
    for worker in range(begin, end):
        first, count = part(worker, tasks, memory.shape[0])
        _tasks(first, first + count, tables, layout, source, weight, bias, target, memory[worker])


_run = RangeKernel(_tasks_range, parallel_work=2)


@njit
def _dot_exactly(tables, layout, box, tap, g, x):
    """Return the product of a box with one tap without the zeros between rows: they do not stop NaN and infinity."""
    total = x.dtype.type(0)
    for plane in range(layout.box_planes):
        p = tables.g_packs[box, plane]
        for row in range(p[2], p[3]):
            for column in range(p[4], p[5]):
                x_at = plane * layout.plane_pitch + row * layout.row_pitch + column + tables.offsets[tap]
                total += g[p[0] + row * layout.g_row_pitch + column] * x[x_at]
    return total


@njit
def _grad_weight_tasks(first, last, tables, layout, source, grad_output, grad_weight, memory):
    """Compute the gradient of the weight of groups first..last; arrays are flat."""
    x, g, sums = memory[: layout.x_size], memory[layout.x_size : -layout.taps], memory[-layout.taps :]
    zero(memory)
    tiles = -(-layout.taps // tables.blocks.shape[1])
    for group in range(first, last):
        out = grad_weight[group * layout.rows * layout.taps : (group + 1) * layout.rows * layout.taps]
        zero(out)
        for image in range(layout.images):
            channel = image * layout.groups + group
            for box in range(tables.starts.size):
                _pack(tables, layout, box, source, channel * layout.source_size, x, 0)
                for r in range(layout.rows):
                    begin = (channel * layout.rows + r) * layout.target_size
                    for plane in range(layout.box_planes):
                        p = tables.g_packs[box, plane]
                        pack_plane(
                            tables.mover,
                            *(g, p[0], layout.g_row_pitch, layout.box_rows),
                            *(grad_output, begin + p[1], layout.target_width, 1, p[2], p[3], p[4], p[5]),
                        )
                    zero(sums)
                    for tile in range(tiles):
                        tap, taps = part(tile, layout.taps, tiles)
                        dot_block(
                            tables.blocks[0, taps - 1],
                            *(g, 0, 0, x, tables.offsets, tap),
                            *(tables.segments, layout.segment_vectors, sums, tap, 0),
                        )
                    for tap in range(layout.taps):
                        finite = sums[tap] * 0 == 0
                        out[r * layout.taps + tap] += (
                            sums[tap] if finite else _dot_exactly(tables, layout, box, tap, g, x)
                        )


def _grad_weight_range(tables, layout, source, grad_output, grad_weight, memory, begin, end):
    """Compute the groups of a range of workers, each of which has a row of memory."""
    for worker in range(begin, end):
        first, count = part(worker, layout.groups, memory.shape[0])
        _grad_weight_tasks(first, first + count, tables, layout, source, grad_output, grad_weight, memory[worker])


_grad_weight = RangeKernel(_grad_weight_range, parallel_work=2)


class Plan(NamedTuple):
    """Everything that a launch needs and that depends on shapes alone."""

    layout: Layout
    tables: Tables


def _starts(count: int, box: int) -> list[int]:
    """Return where boxes of one size begin; the last one reaches back."""
    return [min(start, count - box) for start in range(0, count, box)]


def _inside(axis: Axis, start: int, residue: int) -> tuple[int, int, int]:
    """Return the source position of index 0 of a box of the phase grid, and the indices that lie in the source."""
    position = (start + axis.first) * axis.step + residue
    low = min(max(0, -(position // axis.step)), axis.extent)
    return position, low, min(max(low, -((position - axis.source) // axis.step)), axis.extent)


def _packs(gather: Gather, residues: np.ndarray, start: tuple[int, ...]) -> list[list[int]]:
    """List what to pack for the box that begins at `start`: every plane of every phase."""
    axes = gather.depth, gather.height, gather.width
    plane, pitch = gather.height.source * gather.width.source, gather.width.source
    packs: list[list[int]] = []
    for phases in itertools.product(*(range(axis.phases) for axis in axes)):
        found = [
            _inside(axis, s, residues[i, p]) for i, (axis, s, p) in enumerate(zip(axes, start, phases, strict=True))
        ]
        (d, low_d, high_d), (h, low_h, high_h), (w, low_w, high_w) = found
        for y in range(gather.depth.extent):
            high = high_h if low_d <= y < high_d else low_h
            begin = (d + y * gather.depth.step) * plane + h * pitch + w
            row = [len(packs) * gather.plane_pitch, begin, gather.height.step * pitch, low_h, high, low_w, high_w]
            packs.append(row)
    return packs


def _scattered_packs(gather: Gather, stride: tuple[int, ...], start: tuple[int, ...]) -> list[list[int]]:
    """List what to pack for the box that begins at `start` from a source whose elements lie `stride` apart."""
    axes = gather.depth, gather.height, gather.width
    extents = [(axis.source - 1) // s + 1 for axis, s in zip(axes, stride, strict=True)]
    firsts, counts = [], []
    for axis, begin, s in zip(axes, start, stride, strict=True):
        position = begin + axis.first
        first = max(0, ceil_div(position, s))
        firsts.append((first, first * s - position))
        counts.append(max(0, ceil_div(min(position + axis.extent, axis.source), s) - first))
    (d, y), (h, z), (w, i) = firsts
    places = y * gather.plane_pitch + z * gather.row_pitch + i
    packs = [[0] * 7 for _ in range(ceil_div(gather.depth.extent, stride[0]))]
    for plane in range(counts[0]):
        packs[plane] = [
            *(places + plane * stride[0] * gather.plane_pitch, ((d + plane) * extents[1] + h) * extents[2] + w),
            *(extents[2], *counts[1:], stride[1] * gather.row_pitch, stride[2]),
        ]
    return packs


def _lay_out(problem: Problem, box: list[int]) -> Gather:
    """Lay out a box of planes, rows and columns of one image."""
    return lay_out(problem, (1, *box), problem.channels, 1)


def _plan(problem: Problem, stride: tuple[int, ...], source_size: int, dtype: np.dtype) -> Plan:
    """Choose the boxes of a problem and write down what to do; `stride` is that of a scattered source, or (1, 1, 1)."""
    counts = problem.counts[1:]
    box = shrink(counts, lambda box: _lay_out(problem, list(box)).x_size * dtype.itemsize <= SCRATCH_BYTES)
    gather, lanes = _lay_out(problem, box), host_simd().lanes(dtype)
    residues, offsets, _ = terms_of(problem, gather)
    scattered = stride != (1, 1, 1)
    packs, g_packs, starts = [], [], []
    for start in itertools.product(*(_starts(*pair) for pair in zip(counts, box, strict=True))):
        packs.append(_scattered_packs(gather, stride, start) if scattered else _packs(gather, residues, start))
        begin = (start[0] * counts[1] + start[1]) * counts[2] + start[2]
        starts.append(begin)
        done = [s % b and b - s % b for s, b in zip(start, box, strict=True)]  # by the box that this one reaches into
        g_packs.append(
            [
                [
                    *(plane * gather.v_plane_pitch, begin + plane * counts[1] * counts[2]),
                    *(done[1], box[1] if plane >= done[0] else done[1], done[2], box[2]),
                ]
                for plane in range(box[0])
            ]
        )
    narrow = box[2] < lanes
    columns = _starts(box[2], min(lanes, box[2]))
    pitches = counts[1] * counts[2], counts[2]
    places = list(itertools.product(range(box[0]), range(box[1]), columns))
    places += places[-1:] * (VECTORS - len(places))
    layout = Layout(
        *(problem.images, problem.groups, problem.rows, problem.channels, problem.taps),
        source_size=source_size,
        target_size=int(np.prod(counts)),
        target_height=counts[1],
        target_width=counts[2],
        box_planes=box[0],
        box_rows=box[1],
        box_columns=box[2],
        step=gather.width.step,
        scattered=int(scattered),
        row_pitch=gather.row_pitch,
        packed_rows=gather.height.extent,
        plane_pitch=gather.plane_pitch,
        channel_pitch=gather.channel_pitch,
        x_size=gather.x_size,
        narrow=int(narrow),
        lanes=lanes,
        g_row_pitch=gather.v_row_pitch,
        g_plane_pitch=gather.v_plane_pitch,
        g_size=max(gather.v_pitch, (box[0] - 1) * pitches[0] + box[1] * pitches[1] if narrow else 0) + 2 * lanes,
        segment_vectors=gather.segment_vectors,
    )
    tables = Tables(
        mover=movers(dtype),
        blocks=direct_blocks(dtype),
        offsets=offsets,
        segments=segment_starts(gather),
        packs=np.array(packs, np.int64),
        g_packs=np.array(g_packs, np.int64),
        starts=np.array(starts, np.int64),
        x_places=np.array([d * gather.plane_pitch + h * gather.row_pitch + w for d, h, w in places], np.int64),
        target_places=np.array([d * pitches[0] + h * pitches[1] + w for d, h, w in places], np.int64),
    )
    return Plan(layout, tables)


@lru_cache(maxsize=1024)
def plan_forward(convolution: Convolution, dtype: np.dtype) -> Plan:
    """Plan a forward pass; the gradient of the weight takes the same boxes."""
    return _plan(convolution.forward_problem(), (1, 1, 1), int(np.prod(convolution.input_shape[2:])), dtype)


@lru_cache(maxsize=1024)
def plan_grad_input(convolution: Convolution, dtype: np.dtype) -> Plan:
    """Plan the gradient of the input, as the gradient of a dense convolution of a scattered source."""
    extents = [(n - 1) * s + 1 for n, s in zip(convolution.output_shape[2:], convolution.stride, strict=True)]
    dense = convolution._replace(output_shape=(*convolution.output_shape[:2], *extents), stride=(1, 1, 1))
    (problem,) = dense.grad_input_problems()
    return _plan(problem, convolution.stride, int(np.prod(convolution.output_shape[2:])), dtype)


def convolve(plan: Plan, source, weight, bias, target, workers: int) -> None:
    """Write a convolution, or the gradient of its input, as planned."""
    layout, tables = plan
    bias = np.zeros(target.shape[1], source.dtype) if bias is None else bias
    tasks = layout.images * layout.groups
    workers = min(workers, tasks)
    memory = workspace.get("scratch", workers, layout.x_size + layout.g_size, source.dtype)
    arguments = tables, layout, source.reshape(-1), weight.reshape(-1), bias, target.reshape(-1)
    _run(workers, workers, tasks, *arguments, memory)


def grad_weight(plan: Plan, source, grad_output, result, workers: int) -> None:
    """Write the gradient of the weight to `result`, for the plan of the forward pass."""
    layout, tables = plan
    tables = tables._replace(blocks=dot_blocks(source.dtype))
    workers = min(workers, layout.groups)
    memory = workspace.get("scratch", workers, layout.x_size + layout.g_size + layout.taps, source.dtype)
    arguments = tables, layout, source.reshape(-1), grad_output.reshape(-1), result.reshape(-1)
    _grad_weight(workers, workers, *arguments, memory)
