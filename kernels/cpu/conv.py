"""Convolution on the processor: forward, and the gradients of input, weight and bias.

All of it is one idea, an **offset GEMM**, without an im2col buffer. A box of the source is packed, zero-padded, into
scratch memory so that an output position is a linear index q and every tap of the kernel is a constant offset:

    V[o, q] = sum_k  weight[o, k] * X[offsets[k] + q],      k = (channel, tap)

- Stride: the source is split by phases. Source position `j * step + shift` lies in the phase grid `shift mod step` at
  index `j + shift // step`, so neighbouring outputs read neighbouring elements.
- Row ends: q runs on from one row into the next, across the padding between them; what the blocks compute there is
  junk that is dropped when V is written to the target. One zero column serves as the padding after a row and before the
  next one, so an image of 7 x 7 with padding 1 costs 7 x 8.
- The gradient of the input (and the forward pass of the transposed convolution) is the same computation once per stride
  phase of the target, with the taps that meet this phase. The gradient of the weight is a dot product along q.

The sums are taken in an order that depends on shapes alone: the same bits for every run and number of threads.
Arrays are C-contiguous, (N, C, D, H, W), float32 or float64; `padding` is the padding before, and what follows after is
implied by the extents of the output.
"""

import itertools
import threading
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numba
import numpy as np

from ..jit import njit
from .simd import dot_block, dot_blocks, gemm_block, gemm_blocks, host_simd, movers, pack_plane, write_plane

Triple = tuple[int, int, int]

SCRATCH_BYTES = 400 * 1024
"""What the packed source and V of one task may take: about half of a second-level cache of 1 MiB."""

MAX_COLUMNS = 2048
"""The most columns q of a box: beyond this, more of them save nothing."""

BLOCK_TERMS = 288
"""About how many terms k one pass of a GEMM block sums; fixes the order of summation."""

BLOCK_ROWS = 96
"""About how many rows of the target one task computes from a packed box."""

SERIAL_FLOPS = 2e6
"""Up to this many floating-point operations one thread is faster than several."""

GRAD_WEIGHT_TASKS = 32
"""How many independent pieces the gradient of the weight is cut into at least, where the batch allows it."""


# --- geometry: plain Python, once per combination of shapes ------------------------------------------------------


class Axis(NamedTuple):
    """One spatial dimension of a gather: output j reads `source[j * step + shift]` for the shift of every tap."""

    outputs: int
    source: int
    step: int
    first: int
    """The least `shift // step`; index y of the phase grid holds `source[(y + first) * step + residue]`."""
    phases: int
    """How many residues `shift % step` occur."""
    span: int
    """How far the taps reach in the phase grid."""
    box: int
    """Outputs per box."""
    extent: int
    """Indices of the phase grid per box that are stored: a stretch of zeros shared with the next one counts once."""
    target_first: int
    target_step: int


class Gather(NamedTuple):
    """Shapes and layout of an offset GEMM, as the kernels need them."""

    images: int
    groups: int
    rows: int
    """Rows of the weight matrix per group: output channels of a forward pass."""
    channels: int
    """Channels of the source per group."""
    taps: int
    depth: Axis
    height: Axis
    width: Axis
    box_images: int
    channel_block: int
    panels: int
    """Panels that the rows of a group are split into, as evenly as possible."""
    task_panels: int
    """Panels per task."""
    row_pitch: int
    plane_pitch: int
    image_pitch: int
    phase_pitch: int
    channel_pitch: int
    x_size: int
    columns: int
    """Columns q of a box, rounded up to whole vectors."""
    v_pitch: int
    lanes: int
    max_vectors: int


@njit
def _axis_of(numbers, at):
    """Return the Axis whose ten numbers begin at `at`."""
    return Axis(
        numbers[at],
        numbers[at + 1],
        numbers[at + 2],
        numbers[at + 3],
        numbers[at + 4],
        numbers[at + 5],
        numbers[at + 6],
        numbers[at + 7],
        numbers[at + 8],
        numbers[at + 9],
    )


@njit
def _gather_of(numbers):
    """Return the Gather that `_numbers_of` flattened: parallel loops take arrays, but no nested tuples."""
    return Gather(
        numbers[0],
        numbers[1],
        numbers[2],
        numbers[3],
        numbers[4],
        _axis_of(numbers, 5),
        _axis_of(numbers, 15),
        _axis_of(numbers, 25),
        numbers[35],
        numbers[36],
        numbers[37],
        numbers[38],
        numbers[39],
        numbers[40],
        numbers[41],
        numbers[42],
        numbers[43],
        numbers[44],
        numbers[45],
        numbers[46],
        numbers[47],
        numbers[48],
    )


def _numbers_of(gather: Gather) -> np.ndarray:
    """Return all numbers of a Gather in one array."""
    numbers: list[int] = []
    for value in gather:
        numbers.extend(value if isinstance(value, Axis) else [value])
    return np.array(numbers, np.int64)


class Plan(NamedTuple):
    """Everything that a launch needs and that depends on shapes alone."""

    gather: Gather
    numbers: np.ndarray
    """The same, as the kernels take it."""
    residues: np.ndarray
    """(3, phases): the residues in use for each dimension."""
    offsets: np.ndarray
    """(channel_block * taps,): where the box of a term begins in the packed source."""
    tap_index: np.ndarray
    """(taps,): the position of each tap in a kernel of the weight."""
    tasks: int
    workers: int
    scratch: int
    """Elements of scratch memory per worker."""


class Shifts(NamedTuple):
    """The taps along one dimension before boxes are chosen."""

    outputs: int
    source: int
    step: int
    shifts: tuple[int, ...]
    taps: tuple[int, ...]
    """Which positions of the kernel the shifts belong to."""
    target_first: int = 0
    target_step: int = 1


def _ceil(a: int, b: int) -> int:
    """Return a / b, rounded up."""
    return -(-a // b)


def _odd_lines(elements: int, itemsize: int) -> int:
    """Round up to an odd number of cache lines, so that successive rows fall into different cache sets."""
    line = 64 // itemsize
    return (_ceil(elements, line) | 1) * line


def _axis(dimension: Shifts, box: int) -> Axis:
    """Lay out one dimension in boxes of so many outputs."""
    step, source = dimension.step, dimension.source
    whole = [shift // step for shift in dimension.shifts] or [0]
    residues = {shift % step for shift in dimension.shifts} or {0}
    first, span = min(whole), max(whole) - min(whole)
    extent = box + span
    if box == dimension.outputs:
        zeros_before = max(0, -first)
        zeros_after = min(extent - (_ceil(source - residue, step) - first) for residue in residues)
        extent -= max(0, min(zeros_before, zeros_after, span))
    return Axis(
        dimension.outputs,
        source,
        step,
        first,
        len(residues),
        span,
        box,
        extent,
        dimension.target_first,
        dimension.target_step,
    )


class Problem(NamedTuple):
    """What a gather has to compute, before it is laid out."""

    images: int
    groups: int
    rows: int
    channels: int
    dimensions: tuple[Shifts, Shifts, Shifts]
    itemsize: int

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """How many images, planes, rows and columns there are to cut into boxes."""
        return (self.images, *(dimension.outputs for dimension in self.dimensions))

    @property
    def taps(self) -> int:
        """The number of taps of the kernel that take part."""
        return int(np.prod([len(dimension.shifts) for dimension in self.dimensions]))


def _lay_out(problem: Problem, box: Sequence[int], channel_block: int, task_panels: int) -> Gather:
    """Lay a problem out in boxes of (images, planes, rows, columns)."""
    simd = host_simd()
    lanes = simd.vector_bytes // problem.itemsize
    depth, height, width = (_axis(*pair) for pair in zip(problem.dimensions, box[1:], strict=True))
    row_pitch = width.extent
    plane_pitch = height.extent * row_pitch
    image_pitch = depth.extent * plane_pitch
    phase_pitch = box[0] * image_pitch
    phases = depth.phases * height.phases * width.phases
    channel_pitch = _odd_lines(phases * phase_pitch, problem.itemsize)
    columns = (box[0] - 1) * image_pitch + (box[1] - 1) * plane_pitch + (box[2] - 1) * row_pitch + box[3]
    columns = _ceil(columns, lanes) * lanes
    reach = depth.span * plane_pitch + height.span * row_pitch + width.span
    x_size = channel_block * channel_pitch + reach + columns
    panels = max(1, _ceil(problem.rows, simd.rows))
    return Gather(
        problem.images,
        problem.groups,
        problem.rows,
        problem.channels,
        problem.taps,
        depth,
        height,
        width,
        box[0],
        channel_block,
        panels,
        task_panels,
        row_pitch,
        plane_pitch,
        image_pitch,
        phase_pitch,
        channel_pitch,
        _odd_lines(x_size, problem.itemsize),
        columns,
        _odd_lines(columns, problem.itemsize),
        lanes,
        simd.vectors_for(max(1, _ceil(problem.rows, panels))),
    )


def _offsets(problem: Problem, gather: Gather) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the residues, the offsets of all terms of a channel block, and the taps' positions in the kernel."""
    axes = (gather.depth, gather.height, gather.width)
    pitches = (gather.plane_pitch, gather.row_pitch, 1)
    residues = np.zeros((3, max(axis.phases for axis in axes)), np.int64)
    phase_of, place_of = [], []
    for row, axis, dimension, pitch in zip(residues, axes, problem.dimensions, pitches, strict=True):
        used = sorted({shift % axis.step for shift in dimension.shifts}) or [0]
        row[: len(used)] = used
        phase_of.append([used.index(shift % axis.step) for shift in dimension.shifts])
        place_of.append([(shift // axis.step - axis.first) * pitch for shift in dimension.shifts])
    taps = list(itertools.product(*(range(len(dimension.shifts)) for dimension in problem.dimensions)))
    offsets = []
    for d, h, w in taps:
        phase = (phase_of[0][d] * axes[1].phases + phase_of[1][h]) * axes[2].phases + phase_of[2][w]
        offsets.append(phase * gather.phase_pitch + place_of[0][d] + place_of[1][h] + place_of[2][w])
    channels = np.arange(gather.channel_block)[:, None] * gather.channel_pitch
    all_offsets = (channels + np.array(offsets, np.int64)).reshape(-1)
    return residues, all_offsets, np.array(taps, np.int64).reshape(-1, 3)


def _shrink(counts: Sequence[int], fits: Callable[[Sequence[int]], bool]) -> list[int]:
    """Return the largest box that fits, cutting images first, then planes, rows and columns, into even parts."""
    box = list(counts)
    for axis, count in enumerate(counts):
        if fits(box):
            break
        low, high = 1, count
        while low < high:
            box[axis] = (low + high + 1) // 2
            low, high = (box[axis], high) if fits(box) else (low, box[axis] - 1)
        box[axis] = _ceil(count, _ceil(count, low))
    return box


def _boxes(counts: Sequence[int], box: Sequence[int]) -> int:
    """Return how many boxes there are."""
    return int(np.prod([_ceil(count, size) for count, size in zip(counts, box, strict=True)]))


def _share_out(counts: Sequence[int], box: list[int], others: int, workers: int) -> list[int]:
    """Cut boxes further until every worker has the same number of tasks, or many."""
    for axis, count in enumerate(counts[:3]):
        for parts in range(_ceil(count, box[axis]), min(count, 4 * workers) + 1):
            trial = [*box[:axis], _ceil(count, parts), *box[axis + 1 :]]
            tasks = others * _boxes(counts, trial)
            if tasks % workers == 0 or tasks >= 16 * workers:
                return trial
    return box


def _even(count: int, most: int) -> int:
    """Return the size of even parts of at most so many."""
    return _ceil(count, max(1, _ceil(count, most))) if count else 1


def _plan_gemm(problem: Problem, workers: int) -> Plan:
    """Choose boxes and blocks for a forward pass or a gradient of the input."""
    simd = host_simd()
    panels = max(1, _ceil(problem.rows, simd.rows))
    task_panels = _even(panels, max(1, BLOCK_ROWS // simd.rows))
    task_rows = min(problem.rows, task_panels * simd.rows)
    channel_block = _even(problem.channels, max(1, BLOCK_TERMS // max(1, problem.taps)))

    def fits(box: Sequence[int]) -> bool:
        gather = _lay_out(problem, box, channel_block, task_panels)
        elements = gather.x_size + task_rows * gather.v_pitch
        return gather.columns <= MAX_COLUMNS and elements * problem.itemsize <= SCRATCH_BYTES

    box = _shrink(problem.counts, fits)
    others = problem.groups * _ceil(panels, task_panels)
    if workers > 1:
        box = _share_out(problem.counts, box, others, workers)
    gather = _lay_out(problem, box, channel_block, task_panels)
    tasks = others * _boxes(problem.counts, box)
    scratch = _odd_lines(gather.x_size + (task_rows + 1) * gather.v_pitch, problem.itemsize)
    return _plan(problem, gather, tasks, min(workers, tasks), scratch)


def _plan(problem: Problem, gather: Gather, tasks: int, workers: int, scratch: int) -> Plan:
    """Put a plan together."""
    residues, offsets, taps = _offsets(problem, gather)
    kernel_taps = [np.array(dimension.taps, np.int64) for dimension in problem.dimensions]
    tap_index = [kernel_taps[axis][taps[:, axis]] for axis in range(3)]
    return Plan(gather, _numbers_of(gather), residues, offsets, np.stack(tap_index, 1), tasks, workers, scratch)


def _workers(flops: float) -> int:
    """Return how many threads a launch should use."""
    return 1 if flops < SERIAL_FLOPS else numba.get_num_threads()


class _Workspace(threading.local):
    """Scratch memory that each calling thread keeps from one launch to the next."""

    def __init__(self) -> None:
        self.buffers: dict[str, np.ndarray] = {}

    def get(self, purpose: str, elements: int, dtype: np.dtype) -> np.ndarray:
        """Return uninitialised elements, aligned to a cache line."""
        size = elements * dtype.itemsize
        buffer = self.buffers.get(purpose)
        if buffer is None or buffer.size < size:
            memory = np.empty(size + 64, np.uint8)
            start = -memory.ctypes.data % 64
            buffer = self.buffers[purpose] = memory[start : start + size]
        return buffer[:size].view(dtype)


_workspace = _Workspace()


# --- packing and unpacking ---------------------------------------------------------------------------------------


@njit
def _part(index, count, parts):
    """Return start and size of one of `parts` parts of `count` that differ by one at most, the larger ones first."""
    size, larger = count // parts, count % parts
    return index * size + min(index, larger), size + (1 if index < larger else 0)


@njit
def _inside(axis, start, residue):
    """Return the source position of index 0 of a box of the phase grid, and the indices that lie in the source."""
    position = (start + axis.first) * axis.step + residue
    low = min(max(0, -(position // axis.step)), axis.extent)
    high = min(max(low, -((position - axis.source) // axis.step)), axis.extent)
    return position, low, high


@njit
def _zero(values, start, stop):
    """Write zeros."""
    for i in range(start, stop):
        values[i] = 0


@njit
def _pack_source(mover, gather, residues, source, image, first_channel, channels, depth, height, width, x):
    """Pack the box of the source that begins at output (image, depth, height, width) into x.

    Layout: [channel][phase d, h, w][image][d][h][w]; zeros wherever the source has nothing.
    """
    axis_d, axis_h, axis_w = gather.depth, gather.height, gather.width
    source_channels, plane = source.shape[1], axis_h.source * axis_w.source
    for c in range(channels):
        at = c * gather.channel_pitch
        for phase in range(axis_d.phases * axis_h.phases * axis_w.phases):
            rest, phase_w = phase // axis_w.phases, phase % axis_w.phases
            phase_d, phase_h = rest // axis_h.phases, rest % axis_h.phases
            d, low_d, high_d = _inside(axis_d, depth, residues[0, phase_d])
            h, low_h, high_h = _inside(axis_h, height, residues[1, phase_h])
            w, low_w, high_w = _inside(axis_w, width, residues[2, phase_w])
            for n in range(image, image + gather.box_images):
                start = ((n * source_channels + first_channel + c) * axis_d.source + d) * plane + h * axis_w.source + w
                for y in range(axis_d.extent):
                    present = n < gather.images and low_d <= y < high_d
                    pack_plane(
                        mover,
                        x,
                        at,
                        gather.row_pitch,
                        axis_h.extent,
                        source,
                        start + y * axis_d.step * plane,
                        axis_h.step * axis_w.source,
                        axis_w.step,
                        low_h,
                        high_h if present else low_h,
                        low_w,
                        high_w,
                    )
                    at += gather.plane_pitch
        _zero(x, at, (c + 1) * gather.channel_pitch)
    _zero(x, channels * gather.channel_pitch, gather.x_size)


@njit
def _write_rows(mover, gather, v, target, first_row, rows, bias, image, depth, height, width):
    """Write V, plus bias, to the box of the target that begins at output (image, depth, height, width)."""
    axis_d, axis_h, axis_w = gather.depth, gather.height, gather.width
    images = min(gather.box_images, gather.images - image)
    depths = min(axis_d.box, axis_d.outputs - depth)
    heights = min(axis_h.box, axis_h.outputs - height)
    widths = min(axis_w.box, axis_w.outputs - width)
    _, channels, target_d, target_h, target_w = target.shape
    h = axis_h.target_first + axis_h.target_step * height
    w = axis_w.target_first + axis_w.target_step * width
    for r in range(rows):
        for n in range(images):
            for y in range(depths):
                d = axis_d.target_first + axis_d.target_step * (depth + y)
                write_plane(
                    mover,
                    v,
                    r * gather.v_pitch + n * gather.image_pitch + y * gather.plane_pitch,
                    gather.row_pitch,
                    heights,
                    widths,
                    target,
                    ((((image + n) * channels + first_row + r) * target_d + d) * target_h + h) * target_w + w,
                    axis_h.target_step * target_w,
                    axis_w.target_step,
                    bias[first_row + r],
                )


@njit
def _pack_panels(first, last, numbers, tap_index, weight, transposed, panels):
    """Pack panels first..last of the weight: [group][channel block][panel][channel, tap][row].

    `weight` is (rows, channels, taps...) per group, or (channels, rows, taps...) where `transposed`.
    """
    gather = _gather_of(numbers)
    rows, channels, taps = gather.rows, gather.channels, gather.taps
    kernel_h, kernel_w = weight.shape[3], weight.shape[4]
    for unit in range(first, last):
        group, panel = unit // gather.panels, unit % gather.panels
        first_row, panel_rows = _part(panel, rows, gather.panels)
        for begin in range(0, channels, gather.channel_block):
            count = min(gather.channel_block, channels - begin)
            at = (group * rows * channels + begin * rows + first_row * count) * taps
            for c in range(begin, begin + count):
                for r in range(first_row, first_row + panel_rows):
                    if transposed:
                        kernel = weight[group * channels + c, r].reshape(-1)
                    else:
                        kernel = weight[group * rows + r, c].reshape(-1)
                    place = at + r - first_row
                    for t in range(taps):
                        index = (tap_index[t, 0] * kernel_h + tap_index[t, 1]) * kernel_w + tap_index[t, 2]
                        panels[place + t * panel_rows] = kernel[index]
                at += taps * panel_rows


# --- forward, and the gradient of the input ----------------------------------------------------------------------


@njit
def _gather_block(
    gather, blocks, panels, panels_at, terms, offsets, x, v, first_panel, last_panel, columns, accumulate
):
    """Multiply a range of weight panels with a packed box: `v (+)= panels @ X`."""
    vectors = (columns + gather.lanes - 1) // gather.lanes
    tiles = (vectors + gather.max_vectors - 1) // gather.max_vectors
    top_row = _part(first_panel, gather.rows, gather.panels)[0]
    for tile in range(tiles):
        start, tile_vectors = _part(tile, vectors, tiles)
        q = start * gather.lanes
        for panel in range(first_panel, last_panel):
            row, rows = _part(panel, gather.rows, gather.panels)
            gemm_block(
                blocks[rows - 1, tile_vectors - 1],
                panels,
                panels_at + row * terms,
                x,
                q,
                offsets,
                terms,
                v,
                (row - top_row) * gather.v_pitch + q,
                gather.v_pitch,
                accumulate,
            )


@njit
def _gather_tasks(first, last, numbers, residues, offsets, blocks, mover, source, panels, bias, target, scratch):
    """Compute tasks first..last; a task is a box of the target for a range of panels of one group."""
    gather = _gather_of(numbers)
    axis_d, axis_h, axis_w = gather.depth, gather.height, gather.width
    x, v = scratch[: gather.x_size], scratch[gather.x_size :]
    panel_ranges = (gather.panels + gather.task_panels - 1) // gather.task_panels
    boxes_d = (axis_d.outputs + axis_d.box - 1) // axis_d.box
    boxes_h = (axis_h.outputs + axis_h.box - 1) // axis_h.box
    boxes_w = (axis_w.outputs + axis_w.box - 1) // axis_w.box
    for task in range(first, last):
        rest, panel_range = task // panel_ranges, task % panel_ranges
        rest, group = rest // gather.groups, rest % gather.groups
        rest, width = rest // boxes_w, rest % boxes_w * axis_w.box
        rest, height = rest // boxes_h, rest % boxes_h * axis_h.box
        image, depth = rest // boxes_d * gather.box_images, rest % boxes_d * axis_d.box

        first_panel = panel_range * gather.task_panels
        last_panel = min(first_panel + gather.task_panels, gather.panels)
        first_row = _part(first_panel, gather.rows, gather.panels)[0]
        last_row = gather.rows if last_panel == gather.panels else _part(last_panel, gather.rows, gather.panels)[0]
        columns = (
            (min(gather.box_images, gather.images - image) - 1) * gather.image_pitch
            + (min(axis_d.box, axis_d.outputs - depth) - 1) * gather.plane_pitch
            + (min(axis_h.box, axis_h.outputs - height) - 1) * gather.row_pitch
            + min(axis_w.box, axis_w.outputs - width)
        )
        for begin in range(0, max(1, gather.channels), gather.channel_block):
            channels = min(gather.channel_block, gather.channels - begin) if gather.taps else 0
            _pack_source(
                mover,
                gather,
                residues,
                source,
                image,
                group * gather.channels + begin,
                channels,
                depth,
                height,
                width,
                x,
            )
            panels_at = (group * gather.channels + begin) * gather.rows * gather.taps
            terms = channels * gather.taps
            _gather_block(
                gather, blocks, panels, panels_at, terms, offsets, x, v, first_panel, last_panel, columns, begin
            )
        _write_rows(
            mover,
            gather,
            v,
            target,
            group * gather.rows + first_row,
            last_row - first_row,
            bias,
            image,
            depth,
            height,
            width,
        )


@njit(parallel=True)
def _gather_parallel(
    workers,
    tasks,
    units,
    numbers,
    residues,
    offsets,
    tap_index,
    blocks,
    mover,
    source,
    weight,
    transposed,
    panels,
    bias,
    target,
    scratch,
):
    """Pack the weight and compute all tasks on several threads."""
    for worker in numba.prange(workers):
        first, count = _part(worker, units, workers)
        _pack_panels(first, first + count, numbers, tap_index, weight, transposed, panels)
    for worker in numba.prange(workers):
        first, count = _part(worker, tasks, workers)
        _gather_tasks(
            first,
            first + count,
            numbers,
            residues,
            offsets,
            blocks,
            mover,
            source,
            panels,
            bias,
            target,
            scratch[worker],
        )


def _run_gather(plan: Plan, source, weight, transposed: bool, bias, target) -> None:
    """Run a planned offset GEMM."""
    gather, dtype = plan.gather, source.dtype
    panels = _workspace.get("panels", gather.groups * gather.rows * gather.channels * gather.taps + 1, dtype)
    scratch = _workspace.get("scratch", plan.workers * plan.scratch, dtype).reshape(plan.workers, plan.scratch)
    blocks, mover = gemm_blocks(dtype), movers(dtype)
    units = gather.groups * gather.panels
    if plan.workers > 1:
        _gather_parallel(
            plan.workers,
            plan.tasks,
            units,
            plan.numbers,
            plan.residues,
            plan.offsets,
            plan.tap_index,
            blocks,
            mover,
            source,
            weight,
            transposed,
            panels,
            bias,
            target,
            scratch,
        )
        return
    _pack_panels(0, units, plan.numbers, plan.tap_index, weight, transposed, panels)
    _gather_tasks(
        0,
        plan.tasks,
        plan.numbers,
        plan.residues,
        plan.offsets,
        blocks,
        mover,
        source,
        panels,
        bias,
        target,
        scratch[0],
    )


def _bias_or_zeros(bias: np.ndarray | None, channels: int, dtype: np.dtype) -> np.ndarray:
    """Return an addend for every channel."""
    return np.zeros(channels, dtype) if bias is None else bias


def _forward_problem(
    source: Sequence[int],
    rows: int,
    outputs: Sequence[int],
    kernel_size: Triple,
    stride: Triple,
    padding: Triple,
    dilation: Triple,
    groups: int,
    itemsize: int,
) -> Problem:
    """Describe a forward pass as a gather."""
    dimensions = tuple(
        Shifts(o, n, s, tuple(t * d - p for t in range(k)), tuple(range(k)))
        for o, n, k, s, p, d in zip(outputs, source[2:], kernel_size, stride, padding, dilation, strict=True)
    )
    return Problem(source[0], groups, rows // groups, source[1] // groups, dimensions, itemsize)


@lru_cache(maxsize=512)
def _forward_plan(input_shape, output_shape, kernel_size, stride, padding, dilation, groups, itemsize, workers) -> Plan:
    """Return the plan of a forward pass."""
    outputs, rows = output_shape[2:], output_shape[1]
    problem = _forward_problem(input_shape, rows, outputs, kernel_size, stride, padding, dilation, groups, itemsize)
    return _plan_gemm(problem, workers)


def _phase_shifts(residue: int, target: int, source: int, kernel: int, stride: int, padding: int, dilation: int):
    """Return which source positions reach the target positions `residue + stride * j` through which taps."""
    taps = tuple(t for t in range(kernel) if (residue + padding - t * dilation) % stride == 0)
    shifts = tuple((residue + padding - t * dilation) // stride for t in taps)
    return Shifts(_ceil(target - residue, stride), source, 1, shifts, taps, residue, stride)


@lru_cache(maxsize=512)
def _grad_input_plans(
    grad_shape, input_shape, kernel_size, stride, padding, dilation, groups, itemsize, workers
) -> tuple[Plan, ...]:
    """Return one plan for each stride phase of the gradient of the input."""
    phases = [
        [_phase_shifts(residue, target, source, k, s, p, d) for residue in range(min(s, target))]
        for target, source, k, s, p, d in zip(
            input_shape[2:], grad_shape[2:], kernel_size, stride, padding, dilation, strict=True
        )
    ]
    rows, channels = input_shape[1] // groups, grad_shape[1] // groups
    return tuple(
        _plan_gemm(Problem(grad_shape[0], groups, rows, channels, dimensions, itemsize), workers)
        for dimensions in itertools.product(*phases)
    )


def conv_forward(input, weight, bias, stride, padding, dilation, groups, output) -> None:
    """Write the convolution (cross-correlation) of `input` with `weight` to `output`.

    output[n, o, j] = bias[o] + sum over c, t of weight[o, c, t] * input[n, g * C/groups + c, j * stride - padding
    + t * dilation], where g is the group of output channel o and the input is zero outside its extents.

    Args:
        input: (N, C, D, H, W).
        weight: (O, C/groups, kD, kH, kW).
        bias: (O,) or None.
        stride, padding, dilation: three ints each.
        groups: how many groups the channels are split into.
        output: (N, O, oD, oH, oW), every element of which is written.
    """
    if output.size == 0:
        return
    workers = _workers(2.0 * output.size * weight[0].size)
    plan = _forward_plan(
        input.shape,
        output.shape,
        weight.shape[2:],
        tuple(stride),
        tuple(padding),
        tuple(dilation),
        groups,
        input.itemsize,
        workers,
    )
    _run_gather(plan, input, weight, False, _bias_or_zeros(bias, weight.shape[0], input.dtype), output)


def conv_grad_input(grad_output, weight, bias, stride, padding, dilation, groups, grad_input) -> None:
    """Write the gradient of a convolution with respect to its input: the transposed convolution of `grad_output`.

    grad_input[n, c, i] = bias[c] + sum over o, j, t with j * stride - padding + t * dilation = i of
    weight[o, c, t] * grad_output[n, o, j].

    Args:
        grad_output: (N, O, oD, oH, oW).
        weight: (O, C/groups, kD, kH, kW).
        bias: (C,) or None: the bias of a transposed convolution, whose forward pass this is.
        stride, padding, dilation, groups: those of the convolution.
        grad_input: (N, C, D, H, W), every element of which is written.
    """
    if grad_input.size == 0:
        return
    workers = _workers(2.0 * grad_output.size * weight[:1].size)
    plans = _grad_input_plans(
        grad_output.shape,
        grad_input.shape,
        weight.shape[2:],
        tuple(stride),
        tuple(padding),
        tuple(dilation),
        groups,
        grad_output.itemsize,
        workers,
    )
    addend = _bias_or_zeros(bias, grad_input.shape[1], grad_input.dtype)
    for plan in plans:
        _run_gather(plan, grad_output, weight, True, addend, grad_input)


# --- the gradient of the weight ----------------------------------------------------------------------------------


class WeightPlan(NamedTuple):
    """The plan of a gradient of the weight."""

    plan: Plan
    row_block: int
    row_blocks: int
    channel_blocks: int
    boxes: int
    chunks: int
    g_pitch: int


@njit
def _pack_gradient(mover, gather, grad_output, image, first_row, rows, depth, height, width, g, g_pitch):
    """Pack a box of the gradient of the output into the columns q of the packed source, zeros in the junk columns."""
    axis_d, axis_h, axis_w = gather.depth, gather.height, gather.width
    images = min(gather.box_images, gather.images - image)
    depths = min(axis_d.box, axis_d.outputs - depth)
    heights = min(axis_h.box, axis_h.outputs - height)
    widths = min(axis_w.box, axis_w.outputs - width)
    channels = grad_output.shape[1]
    for r in range(rows):
        at = r * g_pitch
        for n in range(gather.box_images):
            for y in range(axis_d.extent):
                plane = ((image + n) * channels + first_row + r) * axis_d.outputs + depth + y
                pack_plane(
                    mover,
                    g,
                    at,
                    gather.row_pitch,
                    axis_h.extent,
                    grad_output,
                    (plane * axis_h.outputs + height) * axis_w.outputs + width,
                    axis_w.outputs,
                    1,
                    0,
                    heights if n < images and y < depths else 0,
                    0,
                    widths,
                )
                at += gather.plane_pitch
        _zero(g, at, (r + 1) * g_pitch)


@njit(fastmath={"contract", "reassoc", "nsz"})
def _all_finite(values):
    """Tell whether no value is NaN or infinite: their products with zero add up to zero."""
    total = values.dtype.type(0)
    for i in range(values.size):
        total += values[i] * values.dtype.type(0)
    return total == 0


@njit
def _dot_exactly(gather, g, g_pitch, x, offsets, rows, terms, image, depth, height, width, out, out_at, out_pitch):
    """Add the products along q without the junk columns: for sources with NaN or infinity, which zeros do not stop."""
    images = min(gather.box_images, gather.images - image)
    depths = min(gather.depth.box, gather.depth.outputs - depth)
    heights = min(gather.height.box, gather.height.outputs - height)
    widths = min(gather.width.box, gather.width.outputs - width)
    for r in range(rows):
        for k in range(terms):
            total = x.dtype.type(0)
            for n in range(images):
                for y in range(depths):
                    for z in range(heights):
                        q = n * gather.image_pitch + y * gather.plane_pitch + z * gather.row_pitch
                        left = g[r * g_pitch + q : r * g_pitch + q + widths]
                        right = x[offsets[k] + q : offsets[k] + q + widths]
                        for i in range(widths):
                            total += left[i] * right[i]
            out[out_at + r * out_pitch + k] += total


@njit
def _dot_tiles(blocks, g, g_pitch, x, offsets, rows, terms, vectors, out, out_at, out_pitch):
    """Add the products along q of all pairs of rows and terms to out."""
    row_tiles = (rows + blocks.shape[0] - 1) // blocks.shape[0]
    term_tiles = (terms + blocks.shape[1] - 1) // blocks.shape[1]
    for row_tile in range(row_tiles):
        row, tile_rows = _part(row_tile, rows, row_tiles)
        for term_tile in range(term_tiles):
            term, tile_terms = _part(term_tile, terms, term_tiles)
            dot_block(
                blocks[tile_rows - 1, tile_terms - 1],
                g,
                row * g_pitch,
                g_pitch,
                x,
                0,
                offsets,
                term,
                vectors,
                out,
                out_at + row * out_pitch + term,
                out_pitch,
                1,
            )


@njit
def _grad_weight_tasks(
    first, last, numbers, layout, residues, offsets, blocks, mover, source, grad_output, partial, scratch
):
    """Compute tasks first..last; a task sums one block of rows and channels of a group over one chunk of boxes."""
    gather = _gather_of(numbers)
    row_block, row_blocks, channel_blocks, boxes, chunks, g_pitch = layout
    axis_d, axis_h, axis_w = gather.depth, gather.height, gather.width
    x, g = scratch[: gather.x_size], scratch[gather.x_size :]
    boxes_d = (axis_d.outputs + axis_d.box - 1) // axis_d.box
    boxes_h = (axis_h.outputs + axis_h.box - 1) // axis_h.box
    boxes_w = (axis_w.outputs + axis_w.box - 1) // axis_w.box
    vectors = gather.columns // gather.lanes
    out_pitch = gather.channels * gather.taps
    for task in range(first, last):
        rest, row_part = task // row_blocks, task % row_blocks
        rest, channel_part = rest // channel_blocks, rest % channel_blocks
        chunk, group = rest // gather.groups, rest % gather.groups
        row = row_part * row_block
        rows = min(row_block, gather.rows - row)
        channel = channel_part * gather.channel_block
        channels = min(gather.channel_block, gather.channels - channel)
        terms = channels * gather.taps
        out = partial[chunk]
        out_at = (group * gather.rows + row) * out_pitch + channel * gather.taps
        for r in range(rows):
            out[out_at + r * out_pitch : out_at + r * out_pitch + terms] = 0
        first_box, box_count = _part(chunk, boxes, chunks)
        for box in range(first_box, first_box + box_count):
            rest, width = box // boxes_w, box % boxes_w * axis_w.box
            rest, height = rest // boxes_h, rest % boxes_h * axis_h.box
            image, depth = rest // boxes_d * gather.box_images, rest % boxes_d * axis_d.box
            _pack_source(
                mover,
                gather,
                residues,
                source,
                image,
                group * gather.channels + channel,
                channels,
                depth,
                height,
                width,
                x,
            )
            _pack_gradient(
                mover, gather, grad_output, image, group * gather.rows + row, rows, depth, height, width, g, g_pitch
            )
            if _all_finite(x):
                _dot_tiles(blocks, g, g_pitch, x, offsets, rows, terms, vectors, out, out_at, out_pitch)
            else:
                _dot_exactly(
                    gather,
                    g,
                    g_pitch,
                    x,
                    offsets,
                    rows,
                    terms,
                    image,
                    depth,
                    height,
                    width,
                    out,
                    out_at,
                    out_pitch,
                )


@njit
def _add_chunks(first, last, partial, total):
    """Write the sums over chunks, in order, of elements first..last."""
    for i in range(first, last):
        value = partial[0, i]
        for chunk in range(1, partial.shape[0]):
            value += partial[chunk, i]
        total[i] = value


@njit(parallel=True)
def _grad_weight_parallel(
    workers, tasks, numbers, layout, residues, offsets, blocks, mover, source, grad_output, partial, total, scratch
):
    """Compute all tasks and add up the chunks on several threads."""
    for worker in numba.prange(workers):
        first, count = _part(worker, tasks, workers)
        _grad_weight_tasks(
            first,
            first + count,
            numbers,
            layout,
            residues,
            offsets,
            blocks,
            mover,
            source,
            grad_output,
            partial,
            scratch[worker],
        )
    if partial.shape[0] > 1:
        for worker in numba.prange(workers):
            first, count = _part(worker, total.size, workers)
            _add_chunks(first, first + count, partial, total)


@lru_cache(maxsize=512)
def _grad_weight_plan(
    input_shape, grad_shape, kernel_size, stride, padding, dilation, groups, itemsize, workers
) -> WeightPlan:
    """Return the plan of a gradient of the weight; boxes and chunks depend on shapes alone, not on `workers`."""
    outputs, rows = grad_shape[2:], grad_shape[1]
    problem = _forward_problem(input_shape, rows, outputs, kernel_size, stride, padding, dilation, groups, itemsize)
    row_block = _even(problem.rows, 64)
    channel_block = _even(problem.channels, max(1, min(64, 4 * BLOCK_TERMS // max(1, problem.taps))))

    def g_pitch(gather: Gather) -> int:
        return _odd_lines(max(gather.columns, gather.phase_pitch), itemsize)

    def fits(box: Sequence[int]) -> bool:
        gather = _lay_out(problem, box, channel_block, 1)
        elements = gather.x_size + row_block * g_pitch(gather)
        return gather.columns <= MAX_COLUMNS and elements * itemsize <= SCRATCH_BYTES

    box = _shrink(problem.counts, fits)
    gather = _lay_out(problem, box, channel_block, 1)
    boxes = _boxes(problem.counts, box)
    row_blocks, channel_blocks = _ceil(problem.rows, row_block), _ceil(problem.channels, channel_block)
    blocks = groups * row_blocks * channel_blocks
    chunks = max(1, min(boxes, _ceil(GRAD_WEIGHT_TASKS, blocks)))
    tasks = chunks * blocks
    scratch = _odd_lines(gather.x_size + (row_block + 1) * g_pitch(gather), itemsize)
    plan = _plan(problem, gather, tasks, min(workers, tasks), scratch)
    return WeightPlan(plan, row_block, row_blocks, channel_blocks, boxes, chunks, g_pitch(gather))


def conv_grad_weight(grad_output, input, stride, padding, dilation, groups, grad_weight) -> None:
    """Write the gradient of a convolution with respect to its weight.

    grad_weight[o, c, t] = sum over n, j of grad_output[n, o, j] * input[n, g * C/groups + c, j * stride - padding
    + t * dilation], where g is the group of output channel o.

    Args:
        grad_output: (N, O, oD, oH, oW).
        input: (N, C, D, H, W).
        stride, padding, dilation, groups: those of the convolution.
        grad_weight: (O, C/groups, kD, kH, kW), every element of which is written.
    """
    if grad_weight.size == 0:
        return
    if grad_output.size == 0:
        grad_weight[...] = 0
        return
    workers = _workers(2.0 * grad_output.size * grad_weight[0].size)
    plan, *layout = _grad_weight_plan(
        input.shape,
        grad_output.shape,
        grad_weight.shape[2:],
        tuple(stride),
        tuple(padding),
        tuple(dilation),
        groups,
        input.itemsize,
        workers,
    )
    dtype, chunks = input.dtype, layout[4]
    total = grad_weight.reshape(-1)
    partial = total if chunks == 1 else _workspace.get("partial", chunks * total.size, dtype)
    partial = partial.reshape(chunks, total.size)
    scratch = _workspace.get("scratch", plan.workers * plan.scratch, dtype).reshape(plan.workers, plan.scratch)
    arguments = (
        plan.numbers,
        tuple(layout),
        plan.residues,
        plan.offsets,
        dot_blocks(dtype),
        movers(dtype),
        input,
        grad_output,
        partial,
    )
    if plan.workers > 1:
        _grad_weight_parallel(plan.workers, plan.tasks, *arguments, total, scratch)
        return
    _grad_weight_tasks(0, plan.tasks, *arguments, scratch[0])
    if chunks > 1:
        _add_chunks(0, total.size, partial, total)


# --- the gradient of the bias ------------------------------------------------------------------------------------


@njit(fastmath={"contract", "reassoc", "nsz"})
def _sum(values):
    """Return the sum of a row; lanes are added in an order that depends on its length alone."""
    total = values.dtype.type(0)
    for i in range(values.size):
        total += values[i]
    return total


@njit
def _sum_channels(first, last, grad_output, grad_bias):
    """Sum channels first..last of (N, O, positions): positions first, then images in order."""
    for o in range(first, last):
        total = grad_output.dtype.type(0)
        for n in range(grad_output.shape[0]):
            total += _sum(grad_output[n, o])
        grad_bias[o] = total


@njit(parallel=True)
def _sum_channels_parallel(workers, grad_output, grad_bias):
    """Sum all channels on several threads."""
    for worker in numba.prange(workers):
        first, count = _part(worker, grad_bias.size, workers)
        _sum_channels(first, first + count, grad_output, grad_bias)


def conv_grad_bias(grad_output, grad_bias) -> None:
    """Write the sum of `grad_output` (N, O, oD, oH, oW) over all dimensions but the second to `grad_bias` (O,)."""
    rows = grad_output.reshape(*grad_output.shape[:2], int(np.prod(grad_output.shape[2:])))
    workers = min(_workers(8.0 * grad_output.size), max(1, grad_bias.size))
    if workers > 1:
        _sum_channels_parallel(workers, rows, grad_bias)
    else:
        _sum_channels(0, grad_bias.size, rows, grad_bias)
