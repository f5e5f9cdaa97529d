"""Plans of convolutions: how an offset GEMM is cut into boxes, laid out in scratch memory and shared among threads.

Plain Python, run once per combination of shapes (`conv.py` keeps the plans);
`conv.py` runs the plans.

Words: a *gather* computes, for every output position j, sums over taps of `source[j * step + shift]`; a *box* is a
range of images, planes, rows and columns of the outputs; the *phase grid* is the source split by residues of `step`;
a *segment* is a run of positions q that are computed together, with junk between rows, planes or images inside it.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ..jit import njit
from .simd import host_simd

Triple = tuple[int, int, int]

SCRATCH_BYTES = 700 * 1024
"""What the packed source and V of one task of an offset GEMM may take: more than a second-level cache of 512 KiB
holds, but V is written once per block of channels, and the larger a task, the less often it packs."""

DOT_SCRATCH_BYTES = 400 * 1024
"""The same for a gradient of the weight, which reads all of its scratch memory again and again."""

MAX_COLUMNS = 2048
"""The most columns q of a box: beyond this, more of them save nothing."""

BLOCK_TERMS = 144
"""About how many terms k one pass of a GEMM block sums: what it reads for a few vectors of columns then stays in a
first-level cache of 32 KiB, even where a stride spreads it over phases. Fixes the order of summation."""

DOT_TERMS = 576
"""At most about how many terms a task of the gradient of a weight sums, for a kernel of some taps."""

BLOCK_ROWS = 512
"""About how many rows of the target one task computes from a packed box."""

GRAD_WEIGHT_TASKS = 32
"""How many independent pieces the gradient of the weight is cut into at least, where the batch allows it."""

GRAD_WEIGHT_SHARES = 4
"""A gradient of the weight is cut into a multiple of so many tasks, or many, so that threads share them evenly."""


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
    """Shapes and layout of an offset GEMM, as the kernels need them. Pitches and sizes are counted in elements."""

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
    """Channels of the source that are packed at a time."""
    row_block: int
    """What a task covers: panels in an offset GEMM, rows in a gradient of the weight."""
    panels: int
    """Panels that the rows of a group are split into, as evenly as possible."""
    row_pitch: int
    plane_pitch: int
    image_pitch: int
    phase_pitch: int
    channel_pitch: int
    x_size: int
    segment_vectors: int
    """Vectors per segment."""
    v_row_pitch: int
    v_plane_pitch: int
    v_image_pitch: int
    v_pitch: int
    """From one row of V to the next."""
    lanes: int
    max_vectors: int
    """The most vectors of a GEMM block with as many rows as the panels have."""
    boxes: int
    chunks: int
    """Parts of the boxes with a sum of their own in the gradient of the weight."""


AXIS_FIELDS = len(Axis._fields)


def numbers_of(gather: Gather) -> np.ndarray:
    """Return all numbers of a Gather in one array: parallel loops take arrays, but no nested tuples."""
    numbers: list[int] = []
    for value in gather:
        numbers.extend(value if isinstance(value, Axis) else [value])
    return np.array(numbers, np.int64)


@njit
def axis_of(n):
    """Return the Axis with these ten numbers."""
    return Axis(n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], n[8], n[9])


@njit
def gather_of(numbers):
    """Return the Gather that `numbers_of` flattened."""
    depth, height, width = axis_of(numbers[5:15]), axis_of(numbers[15:25]), axis_of(numbers[25:35])
    images, groups, rows, channels, taps = numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]
    n = numbers[35:]
    return Gather(
        *(images, groups, rows, channels, taps, depth, height, width),
        *(n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], n[8], n[9]),
        *(n[10], n[11], n[12], n[13], n[14], n[15], n[16], n[17], n[18]),
    )


class Plan(NamedTuple):
    """Everything that a launch needs and that depends on shapes alone."""

    gather: Gather
    numbers: np.ndarray
    """The same, as the kernels take it."""
    residues: np.ndarray
    """(3, phases): the residues in use for each dimension."""
    offsets: np.ndarray
    """(channel_block * taps,): where the first output of a term finds its element in the packed source."""
    segments: np.ndarray
    """Where each segment begins."""
    kernel_taps: np.ndarray
    """(taps,): where the taps lie in a kernel of the weight."""
    tasks: int
    workers: int
    scratch: int
    """Elements of scratch memory per worker."""


class Shifts(NamedTuple):
    """One spatial dimension before boxes are chosen."""

    outputs: int
    source: int
    step: int
    shifts: tuple[int, ...]
    taps: tuple[int, ...]
    """Which positions of the kernel the shifts belong to."""
    target_first: int = 0
    target_step: int = 1
    apart: bool = False
    """Whether every tap has a phase of its own, shifted already: more to pack, but no junk between rows."""

    @property
    def places(self) -> list[tuple[int, int]]:
        """For every tap, which phase its source positions lie in and how far along."""
        if self.apart:
            return [(shift, 0) for shift in self.shifts]
        return [(shift % self.step, shift // self.step) for shift in self.shifts]


class Problem(NamedTuple):
    """What a gather has to compute, before it is laid out."""

    images: int
    groups: int
    rows: int
    channels: int
    dimensions: tuple[Shifts, ...]
    kernel_size: Triple
    itemsize: int

    @property
    def counts(self) -> tuple[int, ...]:
        """How many images, planes, rows and columns there are to cut into boxes."""
        return (self.images, *(dimension.outputs for dimension in self.dimensions))

    @property
    def taps(self) -> int:
        """The number of taps of the kernel that take part."""
        return int(np.prod([len(dimension.shifts) for dimension in self.dimensions]))

    @property
    def layouts(self) -> list["Problem"]:
        """The problem as it is, and with the taps along a row kept apart."""
        depth, height, width = self.dimensions
        apart = self._replace(dimensions=(depth, height, width._replace(apart=True)))
        return [self, apart] if len(width.shifts) > 1 else [self]


def ceil_div(a: int, b: int) -> int:
    """Return a / b, rounded up."""
    return -(-a // b)


def odd_lines(elements: int, itemsize: int) -> int:
    """Round up to an odd number of cache lines, so that successive rows fall into different cache sets."""
    line = 64 // itemsize
    return (ceil_div(elements, line) | 1) * line


def even(count: int, most: int) -> int:
    """Return the size of even parts of at most so many."""
    return ceil_div(count, max(1, ceil_div(count, most))) if count else 1


def _axis(dimension: Shifts, box: int) -> Axis:
    """Lay out one dimension in boxes of so many outputs."""
    step, source = dimension.step, dimension.source
    residues, whole = zip(*dimension.places or [(0, 0)], strict=True)
    first, span = min(whole), max(whole) - min(whole)
    extent = box + span
    if box == dimension.outputs:
        zeros_before = max(0, -first)
        zeros_after = min(extent - (ceil_div(source - residue, step) - first) for residue in residues)
        extent -= max(0, min(zeros_before, zeros_after, span))
    target = dimension.target_first, dimension.target_step
    return Axis(dimension.outputs, source, step, first, len(set(residues)), span, box, extent, *target)


def _segmentation(box: Sequence[int], pitches: Sequence[int], lanes: int) -> tuple[int, int]:
    """Choose what a segment is: 0 the whole box, 1 an image, 2 a plane, 3 a row.

    Long segments lose less at their end, short ones leave out the junk between rows, planes and images.

    Returns:
        the choice and the vectors per segment.
    """
    best = (float("inf"), 0, 0)
    for level in range(4):
        length = sum((count - 1) * pitch for count, pitch in zip(box[level:], pitches[level:], strict=True)) + 1
        vectors = ceil_div(length, lanes)
        best = min(best, (int(np.prod(box[:level])) * (vectors + 0.25), level, vectors))
    return best[1:]


def lay_out(problem: Problem, box: Sequence[int], channel_block: int, row_block: int, chunks: int = 1) -> Gather:
    """Lay a problem out in boxes of (images, planes, rows, columns)."""
    simd = host_simd()
    lanes = simd.vector_bytes // problem.itemsize
    depth, height, width = (_axis(*pair) for pair in zip(problem.dimensions, box[1:], strict=True))
    row_pitch = width.extent
    plane_pitch = height.extent * row_pitch
    image_pitch = depth.extent * plane_pitch
    phase_pitch = box[0] * image_pitch
    phases = depth.phases * height.phases * width.phases

    level, vectors = _segmentation(box, (image_pitch, plane_pitch, row_pitch, 1), lanes)
    segment = vectors * lanes
    v_row_pitch = segment if level == 3 else row_pitch
    v_plane_pitch = {3: box[2] * segment, 2: segment}.get(level, plane_pitch)
    v_image_pitch = {3: box[1] * box[2] * segment, 2: box[1] * segment, 1: segment}.get(level, image_pitch)
    v_columns = int(np.prod(box[:level])) * segment

    channel_pitch = odd_lines(phases * phase_pitch, problem.itemsize)
    columns = (box[0] - 1) * image_pitch + (box[1] - 1) * plane_pitch + (box[2] - 1) * row_pitch + box[3]
    reach = depth.span * plane_pitch + height.span * row_pitch + width.span
    last_read = (phases - 1) * phase_pitch + reach + columns + lanes
    x_size = (channel_block - 1) * channel_pitch + max(channel_pitch, last_read) + lanes
    panels = max(1, ceil_div(problem.rows, simd.rows))
    return Gather(
        images=problem.images,
        groups=problem.groups,
        rows=problem.rows,
        channels=problem.channels,
        taps=problem.taps,
        depth=depth,
        height=height,
        width=width,
        box_images=box[0],
        channel_block=channel_block,
        row_block=row_block,
        panels=panels,
        row_pitch=row_pitch,
        plane_pitch=plane_pitch,
        image_pitch=image_pitch,
        phase_pitch=phase_pitch,
        channel_pitch=channel_pitch,
        x_size=odd_lines(x_size, problem.itemsize),
        segment_vectors=vectors,
        v_row_pitch=v_row_pitch,
        v_plane_pitch=v_plane_pitch,
        v_image_pitch=v_image_pitch,
        v_pitch=odd_lines(v_columns, problem.itemsize),
        lanes=lanes,
        max_vectors=simd.vectors_for(max(1, ceil_div(problem.rows, panels))),
        boxes=box_count(problem.counts, box),
        chunks=chunks,
    )


def terms_of(problem: Problem, gather: Gather) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the residues in use, the offsets of the terms of a channel block, and the taps' places in a kernel."""
    axes = (gather.depth, gather.height, gather.width)
    pitches = (gather.plane_pitch, gather.row_pitch, 1)
    phase_pitches = (axes[1].phases * axes[2].phases * gather.phase_pitch, axes[2].phases * gather.phase_pitch)
    residues = np.zeros((3, max(axis.phases for axis in axes)), np.int64)
    along = []
    for row, axis, dimension, pitch, phase_pitch in zip(
        residues, axes, problem.dimensions, pitches, (*phase_pitches, gather.phase_pitch), strict=True
    ):
        used = sorted({residue for residue, _ in dimension.places}) or [0]
        row[: len(used)] = used
        along.append(
            [used.index(residue) * phase_pitch + (whole - axis.first) * pitch for residue, whole in dimension.places]
        )
    _, kernel_h, kernel_w = problem.kernel_size
    places = itertools.product(*(dimension.taps for dimension in problem.dimensions))
    kernel_taps = np.array([(d * kernel_h + h) * kernel_w + w for d, h, w in places], np.int64)
    taps = np.array([sum(parts) for parts in itertools.product(*along)], np.int64)
    channels = np.arange(gather.channel_block, dtype=np.int64)[:, None] * gather.channel_pitch
    return residues, (channels + taps).reshape(-1), kernel_taps


def segment_starts(gather: Gather) -> np.ndarray:
    """Return where the segments of a box begin in the packed source."""
    counts = (gather.box_images, gather.depth.box, gather.height.box)
    pitches = (gather.image_pitch, gather.plane_pitch, gather.row_pitch)
    v_pitches = (gather.v_image_pitch, gather.v_plane_pitch, gather.v_row_pitch)
    segment = gather.segment_vectors * gather.lanes
    starts = {}
    for places in itertools.product(*(range(count) for count in counts)):
        v, x = (sum(i * p for i, p in zip(places, which, strict=True)) for which in (v_pitches, pitches))
        if v % segment == 0:
            starts.setdefault(v // segment, x)
    return np.array([starts[i] for i in range(len(starts))], np.int64)


def _plan(problem: Problem, gather: Gather, tasks: int, workers: int, scratch: int) -> Plan:
    """Put a plan together."""
    residues, offsets, kernel_taps = terms_of(problem, gather)
    numbers, segments = numbers_of(gather), segment_starts(gather)
    return Plan(gather, numbers, residues, offsets, segments, kernel_taps, tasks, min(workers, tasks), scratch)


def shrink(counts: Sequence[int], fits: Callable[[Sequence[int]], bool]) -> list[int]:
    """Return the largest box that fits, cutting images first, then planes, rows and columns, into even parts."""
    box = list(counts)
    for axis, count in enumerate(counts):
        if fits(box):
            break
        low, high = 1, count
        while low < high:
            box[axis] = (low + high + 1) // 2
            low, high = (box[axis], high) if fits(box) else (low, box[axis] - 1)
        box[axis] = even(count, low)
    return box


def box_count(counts: Sequence[int], box: Sequence[int]) -> int:
    """Return how many boxes there are."""
    return int(np.prod([ceil_div(count, size) for count, size in zip(counts, box, strict=True)]))


def share_out(counts: Sequence[int], sizes: list[int], others: int, workers: int) -> list[int]:
    """Cut `counts` into smaller parts than `sizes` until every worker has the same number of tasks, or many.

    The first dimension that allows it is cut; `others` is how many tasks there are for each part.
    """
    for axis, count in enumerate(counts):
        for parts in range(ceil_div(count, sizes[axis]), min(count, 4 * workers) + 1):
            trial = [*sizes[:axis], ceil_div(count, parts), *sizes[axis + 1 :]]
            tasks = others * box_count(counts, trial)
            if tasks % workers == 0 or tasks >= 16 * workers:
                return trial
    return sizes


def _cost(gather: Gather, row_ranges: int) -> float:
    """Estimate the processor cycles of an offset GEMM, well enough to compare two layouts."""
    phases = gather.depth.phases * gather.height.phases * gather.width.phases
    lines = phases * gather.box_images * gather.depth.extent * gather.height.extent
    packing = row_ranges * lines * (3 + 2 * ceil_div(gather.row_pitch, gather.lanes))
    arithmetic = 0.5 * gather.v_pitch / gather.lanes * gather.rows * gather.taps
    return gather.boxes * gather.channels * (packing + arithmetic)


def _fit(problem: Problem, channel_block: int, row_block: int, rows: int, scratch: int) -> list[int]:
    """Return the box of a problem that fits into so many bytes of scratch memory beside `rows` rows of V."""

    def fits(box: Sequence[int]) -> bool:
        gather = lay_out(problem, box, channel_block, row_block)
        elements = gather.x_size + rows * gather.v_pitch
        return gather.v_pitch <= MAX_COLUMNS + 64 and elements * problem.itemsize <= scratch

    return shrink(problem.counts, fits)


def _plan_gemm(problem: Problem, workers: int) -> Plan:
    """Choose boxes and blocks for a forward pass or a gradient of the input."""
    simd = host_simd()
    panels = max(1, ceil_div(problem.rows, simd.rows))
    task_panels = even(panels, max(1, BLOCK_ROWS // simd.rows))
    channel_block = even(problem.channels, max(1, BLOCK_TERMS // max(1, problem.taps)))
    rows = min(problem.rows, task_panels * simd.rows)
    row_ranges = ceil_div(panels, task_panels)
    layouts = [(layout, _fit(layout, channel_block, task_panels, rows, SCRATCH_BYTES)) for layout in problem.layouts]
    problem, box = min(layouts, key=lambda pair: _cost(lay_out(*pair, channel_block, task_panels), row_ranges))
    if workers > 1:
        image, *rest = box
        counts = (problem.images, panels, *problem.counts[1:])
        image, task_panels, *rest = share_out(counts, [image, task_panels, *rest], problem.groups, workers)
        box = [image, *rest]
    gather = lay_out(problem, box, channel_block, task_panels)
    tasks = problem.groups * ceil_div(panels, task_panels) * gather.boxes
    scratch = odd_lines(gather.x_size + (rows + 1) * gather.v_pitch, problem.itemsize)
    return _plan(problem, gather, tasks, workers, scratch)


def _plan_dots(problem: Problem, workers: int) -> Plan:
    """Choose boxes, blocks and chunks for a gradient of the weight; they depend on shapes alone, not on `workers`."""
    block = 64 if problem.taps < 4 else 32
    row_block = even(problem.rows, block)
    channel_block = even(problem.channels, min(block, max(1, DOT_TERMS // problem.taps)))
    row_blocks = ceil_div(problem.rows, row_block)
    pieces = problem.groups * row_blocks * ceil_div(problem.channels, channel_block)
    box = _fit(problem, channel_block, row_block, row_block, DOT_SCRATCH_BYTES)
    box = share_out(problem.counts, box, pieces, GRAD_WEIGHT_SHARES)
    boxes = box_count(problem.counts, box)
    chunks = ceil_div(boxes, ceil_div(boxes, min(boxes, ceil_div(GRAD_WEIGHT_TASKS, pieces))))
    gather = lay_out(problem, box, channel_block, row_block, chunks)
    scratch = odd_lines(gather.x_size + (row_block + 1) * gather.v_pitch, problem.itemsize)
    return _plan(problem, gather, chunks * pieces, workers, scratch)


class Convolution(NamedTuple):
    """Shapes and options of a convolution; everything that a plan depends on."""

    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    kernel_size: Triple
    stride: Triple
    padding: Triple
    dilation: Triple
    groups: int
    itemsize: int

    def forward_problem(self) -> Problem:
        """Describe the forward pass as a gather from the input."""
        images, channels, *source = self.input_shape
        _, rows, *outputs = self.output_shape
        dimensions = tuple(
            Shifts(o, n, s, tuple(t * d - p for t in range(k)), tuple(range(k)))
            for o, n, k, s, p, d in zip(
                outputs, source, self.kernel_size, self.stride, self.padding, self.dilation, strict=True
            )
        )
        sizes = images, self.groups, rows // self.groups, channels // self.groups
        return Problem(*sizes, dimensions, self.kernel_size, self.itemsize)

    def grad_input_problems(self) -> list[Problem]:
        """Describe the gradient of the input as gathers from the gradient of the output: one per stride phase."""
        images, channels, *source = self.output_shape
        _, rows, *target = self.input_shape
        geometry = zip(target, source, self.kernel_size, self.stride, self.padding, self.dilation, strict=True)
        phases = [[_phase_shifts(r, n, o, k, s, p, d) for r in range(min(s, n))] for n, o, k, s, p, d in geometry]
        sizes = images, self.groups, rows // self.groups, channels // self.groups
        return [
            Problem(*sizes, dimensions, self.kernel_size, self.itemsize) for dimensions in itertools.product(*phases)
        ]


def _phase_shifts(residue: int, target: int, source: int, kernel: int, stride: int, padding: int, dilation: int):
    """Return which source positions reach the target positions `residue + stride * j`, and through which taps."""
    taps = tuple(t for t in range(kernel) if (residue + padding - t * dilation) % stride == 0)
    shifts = tuple((residue + padding - t * dilation) // stride for t in taps)
    return Shifts(ceil_div(target - residue, stride), source, 1, shifts, taps, residue, stride)


def plan_forward(convolution: Convolution, workers: int) -> Plan:
    """Return the plan of a forward pass."""
    return _plan_gemm(convolution.forward_problem(), workers)


def plan_grad_input(convolution: Convolution, workers: int) -> tuple[Plan, ...]:
    """Return one plan for each stride phase of the gradient of the input."""
    return tuple(_plan_gemm(problem, workers) for problem in convolution.grad_input_problems())


def plan_grad_weight(convolution: Convolution, workers: int) -> Plan:
    """Return the plan of a gradient of the weight."""
    return _plan_dots(convolution.forward_problem(), workers)
