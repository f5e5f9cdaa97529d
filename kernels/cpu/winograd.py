"""Winograd's convolution F(4x4, 3x3): stride-1 3 x 3 kernels with a quarter of the multiplications.

A tile of 6 x 6 inputs becomes 6 x 6 factors, `V = B d B^T`; a kernel of 3 x 3 taps as many, `U = G g G^T`. Channels are
summed factor by factor, `M[xi] = sum_c V[xi, c] * U[xi, c]`, 36 small matrix products, and each sum of 36 gives 4 x 4
outputs, `Y = A^T M A` (Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, 2015; matrices and points
are in `winograd_simd.py`). Where a direct convolution takes 144 multiplications, this takes 36.

- Channels lie innermost: every lane of a vector transforms a tile of its own, and no lane is lost at the edges of
  images. A product has tiles for rows and output channels for columns, so 7 x 7 images, four tiles each, fill it too.
- A task is a box of tiles for a range of output channels. Its V and M stay in the second- and third-level cache.
- Kernels with a depth add the products of their planes: only height and width are transformed.
- The gradient of the input is the convolution of the gradient of the output with the flipped kernel.
- A transform spreads a NaN or infinity over its whole tile. Sums that are not finite are therefore noticed, and
  `convolve` returns False: the caller computes them directly.

The sums are taken in an order that depends on shapes alone. float32 only.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ..jit import njit
from .conv_plan import Convolution, box_count, ceil_div, even, odd_lines, share_out
from .ranges import RangeKernel
from .sharing import box_of, part, workspace, zero
from .simd import gemm_block, gemm_blocks, host_simd, movers, transpose
from .winograd_simd import OUTPUT, OUTPUTS, SOURCE, TAPS, TILE, WEIGHT, transform, transforms

FACTORS = TILE * TILE
KERNEL = TAPS * TAPS

BOX_TILES = 48
"""About how many tiles a box has: enough that the weights read for it are used often."""

CHANNEL_BLOCK = 128
"""How many channels are summed at a time, at most."""

ROW_BLOCK = 256
"""How many output channels a task computes, at most. With these sizes V and M take 0.9 and 1.8 MB per thread."""

FUSED_BOXES = 2
"""Up to so many boxes each transforms the weights it needs itself: that is less than writing and reading all of U."""


class Layout(NamedTuple):
    """Shapes of a convolution, and how it is laid out and cut. Pitches and sizes are counted in elements."""

    images: int
    groups: int
    rows: int
    """Output channels per group."""
    channels: int
    planes: int
    height: int
    width: int
    source_planes: int
    source_height: int
    source_width: int
    before_d: int
    before_h: int
    before_w: int
    """Zeros before the source: output j reads from `j - before`."""
    taps_d: int
    dilation_d: int
    box_images: int
    box_planes: int
    box_rows: int
    box_columns: int
    """Tiles of a box along height and width."""
    channel_block: int
    row_block: int
    row_tile: int
    """Output channels of one GEMM block."""
    gemm_rows: int
    """The most tiles of one GEMM block."""
    lanes: int
    x_size: int
    v_row: int
    v_pitch: int
    m_row: int
    m_pitch: int
    u_pitch: int
    """From one factor of a weight tile to the next."""
    u_size: int
    """A weight tile: `row_tile` output channels, `channel_block` channels, all planes and factors."""
    y_size: int
    fused: int
    transposed: int
    """Whether the weight is (channels, rows, taps) and flipped, for the gradient of an input."""


class Tables(NamedTuple):
    """The addresses of the vector code, and the offsets of a weight tile's channels."""

    mover: np.ndarray
    blocks: np.ndarray
    transforms: np.ndarray
    offsets: np.ndarray


class Scratch(NamedTuple):
    """The scratch memory of one thread."""

    x: np.ndarray
    """Padded inputs of one plane of a box, for one vector of channels: [row][column][lane]."""
    v: np.ndarray
    """Transformed inputs: [factor][image][plane][tile][channel]."""
    taps: np.ndarray
    """Weights of one weight tile: [channel][tap][row]."""
    u: np.ndarray
    """One transformed weight tile: [factor][plane of the kernel][channel][row]."""
    m: np.ndarray
    """Products: [factor][image][plane][tile][row]."""
    y: np.ndarray
    """Outputs of one plane of a box, for one vector of rows: [row][column][lane]."""
    check: np.ndarray
    """NaN once a result was not finite."""


@njit
def _scratch(layout, memory):
    """Divide the scratch memory of a thread."""
    x = layout.x_size
    v = x + FACTORS * layout.v_pitch
    taps = v + layout.channel_block * layout.taps_d * KERNEL * layout.row_tile
    u = taps + layout.u_size
    m = u + FACTORS * layout.m_pitch
    y = m + layout.y_size
    return Scratch(memory[:x], memory[x:v], memory[v:taps], memory[taps:u], memory[u:m], memory[m:y], memory[y:])


@njit
def _source_planes(layout, box):
    """Return how many planes of the source the outputs of a box read."""
    return box.planes + (layout.taps_d - 1) * layout.dilation_d


@njit
def _transform_source(tables, layout, box, source, first_channel, channels, scratch):
    """Transform what a box reads from some channels into V."""
    x, v, lanes = scratch.x, scratch.v, layout.lanes
    top, left = OUTPUTS * box.row - layout.before_h, OUTPUTS * box.column - layout.before_w
    height, width = OUTPUTS * box.rows + TAPS - 1, OUTPUTS * box.columns + TAPS - 1
    first_y, last_y = max(0, -top), min(height, layout.source_height - top)
    first_x, last_x = max(0, -left), min(width, layout.source_width - left)
    planes, tiles = _source_planes(layout, box), box.rows * box.columns
    plane_size = layout.source_height * layout.source_width
    channel_size = layout.source_planes * plane_size
    zero(x[: height * width * lanes])  # every channel writes to the same places, so the padding stays zero
    for image in range(box.images):
        for plane in range(planes):
            d, tile = box.plane - layout.before_d + plane, (image * planes + plane) * tiles
            if d < 0 or d >= layout.source_planes:
                for factor in range(FACTORS):
                    start = factor * layout.v_pitch + tile * layout.v_row
                    zero(v[start : start + tiles * layout.v_row])
                continue
            for c in range(0, channels, lanes):
                start = ((box.image + image) * source.shape[1] + first_channel + c) * channel_size + d * plane_size
                for y in range(first_y, last_y):
                    transpose(
                        tables.mover,
                        x,
                        (y * width + first_x) * lanes,
                        lanes,
                        source,
                        start + (top + y) * layout.source_width + left + first_x,
                        channel_size,
                        min(lanes, channels - c),
                        last_x - first_x,
                    )
                for row in range(box.rows):
                    transform(
                        tables.transforms[SOURCE],
                        *(x, OUTPUTS * row * width * lanes, width * lanes, lanes, OUTPUTS * lanes),
                        *(v, (tile + row * box.columns) * layout.v_row + c),
                        *(TILE * layout.v_pitch, layout.v_pitch, layout.v_row),
                        *(box.columns, 0, 0, x, 0, x),
                    )


@njit
def _transform_weight(tables, layout, weight, group, channel, channels, row, rows, taps, u):
    """Transform a weight tile: some rows (output channels) and channels of a group, and all planes of the kernel."""
    kernel, tile = layout.taps_d * KERNEL, layout.row_tile
    if rows < tile:
        zero(taps[: channels * kernel * tile])
    if layout.transposed:
        for c in range(channels):
            start = ((group * layout.channels + channel + c) * layout.rows + row) * kernel
            transpose(tables.mover, taps, c * kernel * tile, tile, weight, start, kernel, rows, kernel)
    else:
        start = ((group * layout.rows + row) * layout.channels + channel) * kernel
        transpose(tables.mover, taps, 0, tile, weight, start, layout.channels * kernel, rows, channels * kernel)
    for d in range(layout.taps_d):
        for r in range(0, tile, layout.lanes):
            start, step = d * KERNEL * tile, tile
            if layout.transposed:  # from the last tap to the first
                start, step = (kernel - 1 - d * KERNEL) * tile, -tile
            transform(
                tables.transforms[WEIGHT],
                *(taps, start + r, TAPS * step, step, kernel * tile),
                *(u, d * layout.channel_block * tile + r, TILE * layout.u_pitch, layout.u_pitch, tile),
                *(channels, 0, 0, taps, 0, taps),
            )


@njit
def _weight_tiles(layout):
    """Return how many weight tiles there are per group: for all rows, and for all blocks of channels."""
    row_tiles = -(-layout.rows // layout.row_tile)
    channel_blocks = -(-layout.channels // layout.channel_block)
    return row_tiles, channel_blocks


@njit
def _transform_weights(first, last, tables, layout, weight, u, memory):
    """Transform weight tiles first..last."""
    scratch = _scratch(layout, memory)
    row_tiles, channel_blocks = _weight_tiles(layout)
    for unit in range(first, last):
        rest, row_tile = unit // row_tiles, unit % row_tiles
        group, block = rest // channel_blocks, rest % channel_blocks
        channel, row = block * layout.channel_block, row_tile * layout.row_tile
        channels, rows = min(layout.channel_block, layout.channels - channel), min(layout.row_tile, layout.rows - row)
        tile = u[unit * layout.u_size :]
        _transform_weight(tables, layout, weight, group, channel, channels, row, rows, scratch.taps, tile)


@njit
def _multiply(tables, layout, box, channels, u, scratch, row, accumulate):
    """Multiply V with a weight tile: `M[:, row : row + row_tile] (+)= V @ U`, factor by factor."""
    vectors = layout.row_tile // layout.lanes
    tiles, source_planes = box.rows * box.columns, _source_planes(layout, box)
    runs, length = (1, box.images * box.planes * tiles) if layout.taps_d == 1 else (box.images, box.planes * tiles)
    panels = -(-length // layout.gemm_rows)
    for factor in range(FACTORS):
        for run in range(runs):
            v_at = factor * layout.v_pitch + run * source_planes * tiles * layout.v_row
            m_at = factor * layout.m_pitch + run * length * layout.m_row + row
            for panel in range(panels):
                first, count = part(panel, length, panels)
                for d in range(layout.taps_d):
                    gemm_block(
                        tables.blocks[count - 1, vectors - 1],
                        *(scratch.v, v_at + (d * layout.dilation_d * tiles + first) * layout.v_row, layout.v_row, 1),
                        *(u, factor * layout.u_pitch + d * layout.channel_block * layout.row_tile),
                        *(tables.offsets, channels, scratch.m, m_at + first * layout.m_row, layout.m_row),
                        accumulate + d,
                    )


@njit
def _transform_product(tables, layout, box, scratch, target, bias, first_row, rows):
    """Transform M to outputs, and write them to the target with the bias added."""
    m, y, lanes = scratch.m, scratch.y, layout.lanes
    top, left = OUTPUTS * box.row, OUTPUTS * box.column
    height, width = min(OUTPUTS * box.rows, layout.height - top), min(OUTPUTS * box.columns, layout.width - left)
    lines, length = (1, height * width) if width == layout.width else (height, width)
    tiles, channel_size = box.rows * box.columns, layout.planes * layout.height * layout.width
    for image in range(box.images):
        for plane in range(box.planes):
            tile = (image * box.planes + plane) * tiles
            for r in range(0, rows, lanes):
                for row in range(box.rows):
                    transform(
                        tables.transforms[OUTPUT],
                        *(m, (tile + row * box.columns) * layout.m_row + r),
                        *(TILE * layout.m_pitch, layout.m_pitch, layout.m_row),
                        *(y, OUTPUTS * row * width * lanes, width * lanes, lanes, OUTPUTS * lanes),
                        *(box.columns, height - OUTPUTS * row, width, bias, first_row + r, scratch.check),
                    )
                start = ((box.image + image) * target.shape[1] + first_row + r) * channel_size
                start += ((box.plane + plane) * layout.height + top) * layout.width + left
                for line in range(lines):
                    transpose(
                        tables.mover,
                        *(target, start + line * layout.width, channel_size),
                        *(y, line * length * lanes, lanes, length, min(lanes, rows - r)),
                    )


@njit
def _tasks(first, last, tables, layout, source, weight, u, bias, target, memory):
    """Compute tasks first..last; a task is a box of the target for a range of the rows of one group."""
    scratch = _scratch(layout, memory)
    scratch.check[:] = 0
    row_blocks = -(-layout.rows // layout.row_block)
    row_tiles, channel_blocks = _weight_tiles(layout)
    for task in range(first, last):
        rest, row_block = task // row_blocks, task % row_blocks
        tile_rows, tile_columns = -(-layout.height // OUTPUTS), -(-layout.width // OUTPUTS)
        whole = layout.images, layout.planes, tile_rows, tile_columns
        extents = layout.box_images, layout.box_planes, layout.box_rows, layout.box_columns
        box = box_of(rest // layout.groups, whole, extents)
        group = rest % layout.groups
        first_row = row_block * layout.row_block
        last_row = min(first_row + layout.row_block, layout.rows)
        for block in range(channel_blocks):
            channel = block * layout.channel_block
            channels = min(layout.channel_block, layout.channels - channel)
            _transform_source(tables, layout, box, source, group * layout.channels + channel, channels, scratch)
            for row in range(first_row, last_row, layout.row_tile):
                unit = (group * channel_blocks + block) * row_tiles + row // layout.row_tile
                tile = scratch.u if layout.fused else u[unit * layout.u_size :]
                if layout.fused:
                    rows = min(layout.row_tile, last_row - row)
                    _transform_weight(tables, layout, weight, group, channel, channels, row, rows, scratch.taps, tile)
                _multiply(tables, layout, box, channels, tile, scratch, row - first_row, block)
        first_target = group * layout.rows + first_row
        _transform_product(tables, layout, box, scratch, target, bias, first_target, last_row - first_row)


def _weights_range(units, tables, layout, weight, u, memory, begin, end):
    """Transform the weight tiles of a range of workers, each of which has a row of memory."""
    for worker in range(begin, end):
        first, count = part(worker, units, memory.shape[0])
        _transform_weights(first, first + count, tables, layout, weight, u, memory[worker])


def _tasks_range(tasks, tables, layout, source, weight, u, bias, target, memory, begin, end):
    """Compute the tasks of a range of workers, each of which has a row of memory."""
    for worker in range(begin, end):
        first, count = part(worker, tasks, memory.shape[0])
        _tasks(first, first + count, tables, layout, source, weight, u, bias, target, memory[worker])


_transform_all_weights = RangeKernel(_weights_range, parallel_work=2)
_run = RangeKernel(_tasks_range, parallel_work=2)


class Plan(NamedTuple):
    """Everything that a launch needs and that depends on shapes alone."""

    layout: Layout
    tables: Tables
    units: int
    """Weight tiles to transform beforehand."""
    tasks: int
    workers: int
    scratch: int
    """Elements of scratch memory per worker."""


@lru_cache(maxsize=1024)
def plan(convolution: Convolution, transposed: bool, workers: int) -> Plan:
    """Cut a convolution, or the gradient of its input, into boxes and blocks."""
    simd, dtype = host_simd(), np.dtype(np.float32)
    lanes = simd.lanes(dtype)
    shapes = convolution.input_shape, convolution.output_shape
    (images, channels, *source), (_, rows, *target) = shapes[::-1] if transposed else shapes
    reach = [d * (k - 1) for d, k in zip(convolution.dilation, convolution.kernel_size, strict=True)]
    before = [r - p if transposed else p for r, p in zip(reach, convolution.padding, strict=True)]
    channels, rows = channels // convolution.groups, rows // convolution.groups

    tile_vectors = even(ceil_div(rows, lanes), max(1, simd.accumulators // 6))
    row_tile = tile_vectors * lanes
    row_block = even(ceil_div(rows, row_tile), max(1, ROW_BLOCK // row_tile)) * row_tile
    channel_block = even(channels, CHANNEL_BLOCK)
    counts = images, target[0], ceil_div(target[1], OUTPUTS), ceil_div(target[2], OUTPUTS)
    box, room = [], BOX_TILES
    for count in reversed(counts):
        box.insert(0, even(count, max(1, room)))
        room //= box[0]
    others = convolution.groups * ceil_div(rows, row_block)
    if workers > 1:
        image, row_tiles, *rest = share_out(
            (counts[0], ceil_div(rows, row_tile), *counts[1:]),
            [box[0], row_block // row_tile, *box[1:]],
            convolution.groups,
            workers,
        )
        box, row_block = [image, *rest], row_tiles * row_tile
        others = convolution.groups * ceil_div(rows, row_block)

    planes = box[1] + reach[0]
    boxes = box_count(counts, box)
    v_row = ceil_div(channel_block, lanes) * lanes
    u_pitch = odd_lines(convolution.kernel_size[0] * channel_block * row_tile, dtype.itemsize)
    layout = Layout(
        *(images, convolution.groups, rows, channels, *target, *source, *before),
        *(convolution.kernel_size[0], convolution.dilation[0], *box, channel_block, row_block, row_tile),
        gemm_rows=min(simd.rows, simd.accumulators // tile_vectors),
        lanes=lanes,
        x_size=(OUTPUTS * box[2] + TAPS - 1) * (OUTPUTS * box[3] + TAPS - 1) * lanes,
        v_row=v_row,
        v_pitch=odd_lines(box[0] * planes * box[2] * box[3] * v_row, dtype.itemsize),
        m_row=row_block,
        m_pitch=odd_lines(box[0] * box[1] * box[2] * box[3] * row_block, dtype.itemsize),
        u_pitch=u_pitch,
        u_size=FACTORS * u_pitch,
        y_size=OUTPUTS * OUTPUTS * box[2] * box[3] * lanes,
        fused=int(boxes <= FUSED_BOXES),
        transposed=int(transposed),
    )
    tables = Tables(movers(dtype), gemm_blocks(dtype, False), transforms(dtype), np.arange(channel_block) * row_tile)
    units = 0 if layout.fused else convolution.groups * ceil_div(rows, row_tile) * ceil_div(channels, channel_block)
    scratch = layout.x_size + FACTORS * (layout.v_pitch + layout.m_pitch) + layout.u_size + layout.y_size + lanes
    scratch += channel_block * layout.taps_d * KERNEL * row_tile
    tasks = others * boxes
    return Plan(layout, tables, units, tasks, min(workers, tasks), scratch)


def convolve(convolution: Convolution, source, weight, transposed: bool, bias, target, workers: int) -> bool:
    """Write a convolution, or the gradient of its input, to the target.

    Returns:
        whether all results are finite. If not, elements beside those that should be NaN or infinite may be so as well.
    """
    layout, tables, units, tasks, workers, size = plan(convolution, transposed, workers)
    addend = np.zeros(target.shape[1] + layout.row_tile, source.dtype)
    if bias is not None:
        addend[: bias.size] = bias
    u = workspace.get("panels", 1, units * layout.u_size, source.dtype)[0]
    memory = workspace.get("scratch", workers, size, source.dtype)
    if units:
        _transform_all_weights(workers, workers, units, tables, layout, weight, u, memory)
    _run(workers, workers, tasks, tables, layout, source, weight, u, addend, target, memory)
    return bool(np.isfinite(memory[:, size - layout.lanes :]).all())
