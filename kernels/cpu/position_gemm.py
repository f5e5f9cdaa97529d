"""Convolution as a GEMM with output positions for rows and output channels for columns.

    V[p, o] = bias[o] + sum_k  X[places[p] + terms[k]] * U[k, o],      k = (channel, tap)

Lanes are output channels, so that positions may be any: nothing is lost at the ends of rows and planes, and a stride is
a factor in the table of places. Where no tap reaches beyond the source, X *is* the source, read where it lies: a
pointwise convolution packs nothing but its weight. Otherwise a box of the source is copied with zeros around it.

- A task is a box of positions for a range of output channels. V is transposed into the target at the end.
- The gradient of the input (and the forward pass of the transposed convolution) is the same for every stride phase of
  the target, with the taps that meet this phase. All phases of a box share the packed source and the packed weight.

The sums are taken in an order that depends on shapes alone.
"""

import itertools
from functools import lru_cache
from math import gcd, prod
from typing import NamedTuple

import numpy as np

from ..jit import njit
from .conv_plan import BLOCK_TERMS, Convolution, Problem, box_count, ceil_div, even, odd_lines, share_out
from .position_simd import MOST_POSITIONS, position_block, position_blocks
from .ranges import RangeKernel
from .sharing import Box, box_of, covered, part, workspace, zero
from .simd import host_simd, movers, pack_plane, transpose, write_plane

BOX_POSITIONS = 384
"""About how many output positions of a phase a box has: enough that the weights read for it are used often."""

ROW_BLOCK = 256
"""How many output channels a task computes, at most, divided by the number of phases: V takes 384 KiB in float32."""

SOURCE_BYTES = 128 * 1024
"""About what the packed source may take; with fewer channels at a time if need be."""

FUSED_BOXES = 2
"""Up to so many boxes each packs the weights it needs itself: that is less than writing and reading all of them."""

CACHE_WAY = 4096
"""Bytes after which addresses fall into the same set of a first-level cache."""

MOST_ALIKE = 256
"""Channels of a source are read in place if their distance has no larger factor in common with `CACHE_WAY`."""


class Layout(NamedTuple):
    """Shapes of a convolution, and how it is laid out and cut. Pitches and sizes are counted in elements."""

    images: int
    groups: int
    rows: int
    """Output channels per group."""
    channels: int
    kernel: int
    """Taps of the whole kernel."""
    planes: int
    height: int
    width: int
    """Positions of a phase, or of the largest of them."""
    source_planes: int
    source_height: int
    source_width: int
    target_planes: int
    target_height: int
    target_width: int
    step_d: int
    step_h: int
    step_w: int
    """From one position to the next in the source."""
    first_d: int
    first_h: int
    first_w: int
    """The least shift: where the packed source of position 0 begins."""
    spread_d: int
    spread_h: int
    spread_w: int
    """From one position to the next in the target."""
    box_images: int
    box_planes: int
    box_rows: int
    box_columns: int
    packed_planes: int
    packed_rows: int
    packed_columns: int
    channel_pitch: int
    image_pitch: int
    plane_pitch: int
    row_pitch: int
    """Of the packed source, or of the source itself."""
    in_place: int
    channel_block: int
    row_block: int
    row_tile: int
    """Output channels of one block."""
    most_positions: int
    """The most positions of one block."""
    box_positions: int
    lanes: int
    x_size: int
    v_size: int
    u_size: int
    """A weight tile: `row_tile` output channels, `channel_block` channels, all taps."""
    fused: int
    transposed: int
    """Whether the weight is (channels, rows, taps), for the gradient of an input."""


class Tables(NamedTuple):
    """The addresses of the vector code, and the terms of every phase."""

    mover: np.ndarray
    blocks: np.ndarray
    phases: np.ndarray
    """(phases, 8): the first term and the number of taps; where the phase begins in the target, and its extents."""
    terms: np.ndarray
    """Where the terms of a channel block lie in X, relative to a position."""
    offsets: np.ndarray
    """Where they lie in a weight tile."""


@njit
def _within(box, phase):
    """Return the part of a box that lies within a phase."""
    return Box(
        box.image,
        box.plane,
        box.row,
        box.column,
        box.images,
        max(0, min(box.planes, phase[5] - box.plane)),
        max(0, min(box.rows, phase[6] - box.row)),
        max(0, min(box.columns, phase[7] - box.column)),
    )


@njit
def _list_places(layout, box, places, at):
    """Write down where the positions of a box find what they read, and return how many there are."""
    for n in range(box.images):
        for y in range(box.planes):
            for z in range(box.rows):
                place = n * layout.image_pitch + y * layout.step_d * layout.plane_pitch
                place += z * layout.step_h * layout.row_pitch
                for i in range(box.columns):
                    places[at + i] = place + i * layout.step_w
                at += box.columns
    return box.images * box.planes * box.rows * box.columns


@njit
def _pack_source(tables, layout, box, source, first_channel, channels, all_channels, x):
    """Copy what a box reads from some channels: [channel][image][plane][row][column], zeros around the source."""
    d, low_d, high_d = covered(box.plane, layout.step_d, layout.first_d, layout.packed_planes, layout.source_planes)
    h, low_h, high_h = covered(box.row, layout.step_h, layout.first_h, layout.packed_rows, layout.source_height)
    w, low_w, high_w = covered(box.column, layout.step_w, layout.first_w, layout.packed_columns, layout.source_width)
    plane_size = layout.source_height * layout.source_width
    for c in range(channels):
        for n in range(box.images):
            start = ((box.image + n) * all_channels + first_channel + c) * layout.source_planes + d
            for y in range(layout.packed_planes):
                end_h = high_h if low_d <= y < high_d else low_h
                pack_plane(
                    tables.mover,
                    *(x, c * layout.channel_pitch + n * layout.image_pitch + y * layout.plane_pitch, layout.row_pitch),
                    *(layout.packed_rows, source, (start + y) * plane_size + h * layout.source_width + w),
                    *(layout.source_width, 1, low_h, end_h, low_w, high_w),
                )


@njit
def _pack_weight(tables, layout, weight, unit, u, at):
    """Pack a weight tile: [channel][tap][row]."""
    row_tiles = -(-layout.rows // layout.row_tile)
    channel_blocks = -(-layout.channels // layout.channel_block)
    rest, row = unit // row_tiles, unit % row_tiles * layout.row_tile
    group, channel = rest // channel_blocks, rest % channel_blocks * layout.channel_block
    channels, rows = min(layout.channel_block, layout.channels - channel), min(layout.row_tile, layout.rows - row)
    kernel, tile = layout.kernel, layout.row_tile
    if rows < tile:
        zero(u[at : at + channels * kernel * tile])
    if not layout.transposed:
        start = ((group * layout.rows + row) * layout.channels + channel) * kernel
        transpose(tables.mover, u, at, tile, weight, start, layout.channels * kernel, rows, channels * kernel)
        return
    for c in range(channels):
        start = ((group * layout.channels + channel + c) * layout.rows + row) * kernel
        if kernel > 1:
            transpose(tables.mover, u, at + c * kernel * tile, tile, weight, start, kernel, rows, kernel)
        else:
            for r in range(rows):
                u[at + c * tile + r] = weight[start + r]


def _weights_range(tables, layout, weight, u, begin, end):
    """Pack a range of weight tiles."""
    for unit in range(begin, end):
        _pack_weight(tables, layout, weight, unit, u, unit * layout.u_size)


@njit
def _multiply(tables, layout, x, x_at, places, counts, u, u_at, channels, v, row, vectors, addend, addend_at):
    """Add the products with a weight tile to `row_tile` columns of V; the addend takes V's place for the first."""
    for phase in range(counts.size):
        count, terms = counts[phase], channels * tables.phases[phase, 1]
        panels = -(-count // layout.most_positions)
        for panel in range(panels):
            p, positions = part(panel, count, panels)
            p += phase * layout.box_positions
            v_at = p * layout.row_block + row
            start, start_at, start_pitch = v, v_at, layout.row_block
            if addend_at >= 0:
                start, start_at, start_pitch = addend, addend_at, 0
            position_block(
                tables.blocks[positions - 1, vectors - 1],
                *(x, x_at, places, p, tables.terms, tables.phases[phase, 0], u, u_at, tables.offsets, terms),
                *(v, v_at, layout.row_block, start, start_at, start_pitch),
            )


@njit
def _write_target(tables, layout, box, phase, v, v_at, y, target, first_row, rows):
    """Transpose V into the target: whole runs of positions where these are neighbours, else plane by plane."""
    channel_size = layout.target_planes * layout.target_height * layout.target_width
    all_rows = layout.groups * layout.rows
    close = layout.spread_h == 1 and layout.spread_w == 1 and box.columns == layout.target_width
    for n in range(box.images):
        for plane in range(box.planes):
            d = phase[2] + (box.plane + plane) * layout.spread_d
            h, w = phase[3] + box.row * layout.spread_h, phase[4] + box.column * layout.spread_w
            start = ((box.image + n) * all_rows + first_row) * channel_size
            start += (d * layout.target_height + h) * layout.target_width + w
            length, pitch = box.rows * box.columns, layout.row_block
            if close:
                transpose(tables.mover, target, start, channel_size, v, v_at, pitch, length, rows)
            elif layout.spread_w == 1:
                for z in range(box.rows):
                    to, from_ = start + z * layout.spread_h * layout.target_width, v_at + z * box.columns * pitch
                    transpose(tables.mover, target, to, channel_size, v, from_, pitch, box.columns, rows)
            else:
                for r in range(0, rows, layout.lanes):
                    count = min(layout.lanes, rows - r)
                    transpose(tables.mover, y, 0, length, v, v_at + r, pitch, length, count)
                    for c in range(count):
                        write_plane(
                            tables.mover,
                            *(y, c * length, box.columns, box.rows, box.columns),
                            *(target, start + (r + c) * channel_size, layout.spread_h * layout.target_width),
                            *(layout.spread_w, y.dtype.type(0)),
                        )
            v_at += length * pitch


@njit
def _tasks(first, last, tables, layout, source, weight, u, addend, target, memory, places):
    """Compute tasks first..last; a task is a box of positions for a range of output channels of one group."""
    x, v = memory[: layout.x_size], memory[layout.x_size : layout.x_size + layout.v_size]
    y, own_u = memory[layout.x_size + layout.v_size : -layout.u_size], memory[-layout.u_size :]
    counts = places[: tables.phases.shape[0]]
    places = places[tables.phases.shape[0] :]
    row_blocks = -(-layout.rows // layout.row_block)
    row_tiles = -(-layout.rows // layout.row_tile)
    channel_blocks = -(-layout.channels // layout.channel_block)
    all_channels = layout.groups * layout.channels
    for task in range(first, last):
        rest, first_row = task // row_blocks, task % row_blocks * layout.row_block
        whole = layout.images, layout.planes, layout.height, layout.width
        extents = layout.box_images, layout.box_planes, layout.box_rows, layout.box_columns
        box = box_of(rest // layout.groups, whole, extents)
        group = rest % layout.groups
        last_row = min(first_row + layout.row_block, layout.rows)
        for phase in range(counts.size):
            part_of_box = _within(box, tables.phases[phase])
            counts[phase] = _list_places(layout, part_of_box, places, phase * layout.box_positions)
        for block in range(channel_blocks):
            channel = block * layout.channel_block
            channels = min(layout.channel_block, layout.channels - channel)
            first_channel = group * layout.channels + channel
            reads, x_at = x, 0
            if layout.in_place:
                reads = source
                x_at = (box.image * all_channels + first_channel) * layout.channel_pitch
                x_at += box.plane * layout.step_d * layout.plane_pitch + box.row * layout.step_h * layout.row_pitch
                x_at += box.column * layout.step_w
            else:
                _pack_source(tables, layout, box, source, first_channel, channels, all_channels, x)
            for row in range(first_row, last_row, layout.row_tile):
                unit = (group * channel_blocks + block) * row_tiles + row // layout.row_tile
                packed, u_at = u, unit * layout.u_size
                if layout.fused:
                    packed, u_at = own_u, 0
                    _pack_weight(tables, layout, weight, unit, packed, 0)
                vectors = -(-min(layout.row_tile, last_row - row) // layout.lanes)
                addend_at = -1 if block else (group * row_tiles * layout.row_tile) + row
                _multiply(
                    *(tables, layout, reads, x_at, places, counts, packed, u_at, channels),
                    *(v, row - first_row, vectors, addend, addend_at),
                )
        for phase in range(counts.size):
            numbers = tables.phases[phase]
            v_at = phase * layout.box_positions * layout.row_block
            first_target = group * layout.rows + first_row
            part_of_box, rows = _within(box, numbers), last_row - first_row
            _write_target(tables, layout, part_of_box, numbers, v, v_at, y, target, first_target, rows)


def _tasks_range(tasks, tables, layout, source, weight, u, addend, target, memory, places, begin, end):
    """Compute the tasks of a range of workers, each of which has a row of memory and of places."""
    for worker in range(begin, end):
        first, count = part(worker, tasks, memory.shape[0])
        last = first + count
        _tasks(first, last, tables, layout, source, weight, u, addend, target, memory[worker], places[worker])


_pack_weights = RangeKernel(_weights_range, parallel_work=2)
_run = RangeKernel(_tasks_range, parallel_work=2)


class Plan(NamedTuple):
    """Everything that a launch needs and that depends on shapes alone."""

    layout: Layout
    tables: Tables
    units: int
    """Weight tiles to pack beforehand."""
    tasks: int
    workers: int
    scratch: int
    """Elements of scratch memory per worker."""
    places: int
    """Table entries per worker."""


def _reads_in_place(problems: list[Problem], source: list[int], itemsize: int) -> bool:
    """Tell whether no position reads beyond the source, and its channels fall into different cache sets."""
    inside = all(
        min(shifts.shifts, default=0) >= 0
        and (shifts.outputs - 1) * shifts.step + max(shifts.shifts, default=0) < shifts.source
        for problem in problems
        for shifts in problem.dimensions
    )
    return inside and gcd(prod(source) * itemsize, CACHE_WAY) <= MOST_ALIKE


@lru_cache(maxsize=1024)
def plan(convolution: Convolution, transposed: bool, workers: int) -> Plan:
    """Cut a convolution, or the gradient of its input, into boxes and blocks."""
    simd, itemsize = host_simd(), convolution.itemsize
    dtype = np.dtype(f"f{itemsize}")
    lanes = simd.lanes(dtype)
    problems = convolution.grad_input_problems() if transposed else [convolution.forward_problem()]
    problem, kernel = problems[0], prod(convolution.kernel_size)
    target = (convolution.input_shape if transposed else convolution.output_shape)[2:]
    source = [shifts.source for shifts in problem.dimensions]
    step = [shifts.step for shifts in problem.dimensions]
    spread = [shifts.target_step for shifts in problem.dimensions]
    along = [[p.dimensions[axis].shifts for p in problems] for axis in range(3)]
    reach = [[shift for shifts in axis for shift in shifts] or [0] for axis in along]

    tile_vectors = even(ceil_div(problem.rows, lanes), max(1, simd.accumulators // 6))
    row_tile = tile_vectors * lanes
    row_tiles = ceil_div(problem.rows, row_tile)
    row_block = even(row_tiles, max(1, ROW_BLOCK // (row_tile * len(problems)))) * row_tile
    counts = problem.images, *(max(p.dimensions[axis].outputs for p in problems) for axis in range(3))
    box: list[int] = []
    room = BOX_POSITIONS
    for count in reversed(counts):
        box.insert(0, even(count, max(1, room)))
        room //= box[0]
    if workers > 1:
        image, tiles, *rest = share_out(
            (counts[0], row_tiles, *counts[1:]), [box[0], row_block // row_tile, *box[1:]], problem.groups, workers
        )
        box, row_block = [image, *rest], tiles * row_tile

    packed = [(n - 1) * s + max(r) - min(r) + 1 for n, s, r in zip(box[1:], step, reach, strict=True)]
    in_place = _reads_in_place(problems, source, itemsize)
    if in_place:
        first = [0, 0, 0]
        row_pitch, plane_pitch, channel_pitch = source[2], source[1] * source[2], prod(source)
        image_pitch = channel_pitch * problem.groups * problem.channels
    else:
        first = [min(r) for r in reach]
        row_pitch, plane_pitch, image_pitch = packed[2], packed[1] * packed[2], prod(packed)
        channel_pitch = odd_lines(box[0] * image_pitch, itemsize)
    most_taps = max(p.taps for p in problems)
    channel_block = max(1, BLOCK_TERMS // max(1, most_taps))
    if not in_place:
        channel_block = min(channel_block, max(1, SOURCE_BYTES // (channel_pitch * itemsize)))
    channel_block = even(problem.channels, channel_block)

    phases: list[list[int]] = []
    terms, offsets = [], []
    for p in problems:
        extents = [shifts.outputs for shifts in p.dimensions]
        starts = [shifts.target_first for shifts in p.dimensions]
        phases.append([sum(map(len, terms)), p.taps, *starts, *extents])
        c = np.arange(channel_block)[:, None]
        reads = itertools.product(
            *([s - f for s in shifts.shifts] for shifts, f in zip(p.dimensions, first, strict=True))
        )
        taps = itertools.product(*(shifts.taps for shifts in p.dimensions))
        _, kernel_h, kernel_w = convolution.kernel_size
        read = np.array([d * plane_pitch + h * row_pitch + w for d, h, w in reads], np.int64)
        tap = np.array([(d * kernel_h + h) * kernel_w + w for d, h, w in taps], np.int64)
        terms.append((c * channel_pitch + read).reshape(-1))
        offsets.append(((c * kernel + tap) * row_tile).reshape(-1))

    boxes, u_size = box_count(counts, box), channel_block * kernel * row_tile
    box_positions = prod(box)
    fused = boxes <= FUSED_BOXES
    layout = Layout(
        *(problem.images, problem.groups, problem.rows, problem.channels, kernel),
        *(*counts[1:], *source, *target, *step, *first, *spread, *box, *packed),
        channel_pitch=channel_pitch,
        image_pitch=image_pitch,
        plane_pitch=plane_pitch,
        row_pitch=row_pitch,
        in_place=int(in_place),
        channel_block=channel_block,
        row_block=row_block,
        row_tile=row_tile,
        most_positions=min(MOST_POSITIONS, simd.rows, simd.accumulators // tile_vectors),
        box_positions=box_positions,
        lanes=lanes,
        x_size=0 if in_place else odd_lines(channel_block * channel_pitch + lanes, itemsize),
        v_size=odd_lines(len(problems) * box_positions * row_block, itemsize),
        u_size=odd_lines(u_size, itemsize),
        fused=int(fused),
        transposed=int(transposed),
    )
    tables = Tables(
        *(movers(dtype), position_blocks(dtype), np.array(phases, np.int64)),
        *(np.concatenate(terms), np.concatenate(offsets)),
    )
    units = 0 if fused else problem.groups * row_tiles * ceil_div(problem.channels, channel_block)
    tasks = boxes * problem.groups * ceil_div(problem.rows, row_block)
    y_size = odd_lines((box_positions + 1) * lanes, itemsize)
    scratch = layout.x_size + layout.v_size + layout.u_size + y_size
    places = len(problems) * (box_positions + 1)
    return Plan(layout, tables, units, tasks, min(workers, tasks), scratch, places)


def convolve(convolution: Convolution, source, weight, transposed: bool, bias, target, workers: int) -> None:
    """Write a convolution, or the gradient of its input, to the target."""
    layout, tables, units, tasks, workers, size, places = plan(convolution, transposed, workers)
    addend = np.zeros((layout.groups, -(-layout.rows // layout.row_tile) * layout.row_tile), source.dtype)
    if bias is not None:
        addend[:, : layout.rows] = bias.reshape(layout.groups, layout.rows)
    u = workspace.get("panels", 1, units * layout.u_size, source.dtype)[0]
    memory = workspace.get("scratch", workers, size, source.dtype)
    numbers = workspace.get("places", workers, places, np.dtype(np.int64))
    arrays = source.reshape(-1), weight.reshape(-1), u, addend.reshape(-1), target.reshape(-1)
    _pack_weights(units, workers, tables, layout, arrays[1], u)
    _run(workers, workers, tasks, tables, layout, *arrays, memory, numbers)
