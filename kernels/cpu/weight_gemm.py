"""The gradient of a convolution's weight as a GEMM over the positions of the output, for layers with many channels.

    M[o, t, c] = sum_q G[o, q] * X[starts[q] + reach[t] + c]

q walks the output positions, which are read where they lie: rows of G are channels of `grad_output`. Only the source is
packed, a few vectors of channels at a time, zero-padded and with channels innermost, so that a position and all its
taps are constant offsets: stride and dilation are in the tables, nothing lies between rows, and 7 x 7 images run as
fast as large ones. A sum stays in registers over all positions of a plane, where a product of vectors along q, the way
of `conv.py` for few channels, has to add up its lanes for every element of the result.

The sums are taken in an order that depends on shapes alone: boxes of positions in order, chunks of boxes at the end.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ..jit import njit
from .conv_plan import GRAD_WEIGHT_TASKS, Convolution, box_count, ceil_div, even, shrink
from .ranges import RangeKernel
from .sharing import add_chunks_range, box_of, covered, part, workspace, zero
from .simd import gemm_block, gemm_blocks, host_simd, movers, transpose

SOURCE_BYTES = 48 * 1024
"""What the packed source of a box may take, for as many channels as a GEMM block has."""

MOST_POSITIONS = 256
"""The most output positions of a box: six rows of G stay in the first-level cache while all taps meet them."""

ROW_BLOCK = 256
"""The most output channels of a task: every packed element serves them all. A box of G takes 256 KiB in float32."""

CHUNK_POSITIONS = 1024
"""A chunk of boxes has at least so many positions, or writing and adding its sums would take as long as making them."""

FEWEST_TASKS = 8
"""Where boxes make fewer tasks, blocks of channels are made smaller: threads must find equal shares."""

BLOCK_PRODUCTS = 256 * 16 * 9
"""About how many elements of the gradient a task sums in M, 144 KiB in float32."""


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
    stride_d: int
    stride_h: int
    stride_w: int
    before_d: int
    before_h: int
    before_w: int
    """Zeros before the source."""
    span_d: int
    span_h: int
    span_w: int
    """How far the taps reach."""
    box_images: int
    box_planes: int
    box_rows: int
    box_columns: int
    """Outputs of a box."""
    packed_planes: int
    packed_rows: int
    packed_columns: int
    """Positions of the source that an image of a box needs."""
    channel_block: int
    """Channels of a task, and from one tap to the next in M."""
    row_block: int
    gemm_rows: int
    gemm_vectors: int
    lanes: int
    x_size: int
    boxes: int
    chunks: int
    """Parts of the boxes with a sum of their own."""


class Tables(NamedTuple):
    """The addresses of the vector code, and where positions and taps begin in the packed source."""

    mover: np.ndarray
    blocks: np.ndarray
    starts: np.ndarray
    reach: np.ndarray


@njit
def _pack_source(tables, layout, box, source, first_channel, channels, x):
    """Pack what a box reads from a tile of channels: [image][plane][row][column][channel], zeros around the source."""
    tile = layout.gemm_vectors * layout.lanes
    planes = (box.planes - 1) * layout.stride_d + layout.span_d + 1
    rows = (box.rows - 1) * layout.stride_h + layout.span_h + 1
    columns = (box.columns - 1) * layout.stride_w + layout.span_w + 1
    d, low_d, high_d = covered(box.plane, layout.stride_d, -layout.before_d, planes, layout.source_planes)
    h, low_h, high_h = covered(box.row, layout.stride_h, -layout.before_h, rows, layout.source_height)
    w, low_w, high_w = covered(box.column, layout.stride_w, -layout.before_w, columns, layout.source_width)
    channel_size = layout.source_planes * layout.source_height * layout.source_width
    if layout.span_d + layout.span_h + layout.span_w + layout.before_d + layout.before_h + layout.before_w > 0:
        zero(x)
    for image in range(box.images):
        begin = ((box.image + image) * source.shape[1] + first_channel) * channel_size
        for y in range(low_d, high_d):
            for z in range(low_h, high_h):
                if z % layout.stride_h > layout.span_h:
                    continue  # between the rows that a small kernel reads
                place = ((image * layout.packed_planes + y) * layout.packed_rows + z) * layout.packed_columns + low_w
                line = ((d + y) * layout.source_height + h + z) * layout.source_width + w + low_w
                transpose(
                    tables.mover,
                    *(x, place * tile, tile),
                    *(source, begin + line, channel_size, channels, high_w - low_w),
                )


@njit
def _multiply(tables, layout, box, grad_output, first_row, rows, vectors, x, m, column, accumulate):
    """Add the products of all positions of a box to some columns of M, [row][tap][channel]; the first box writes."""
    taps, panels = tables.reach.size, -(-rows // layout.gemm_rows)
    tile = layout.gemm_vectors * layout.lanes
    lines, length = (1, box.rows * box.columns) if box.columns == layout.width else (box.rows, box.columns)
    channel_size = layout.planes * layout.height * layout.width
    for image in range(box.images):
        for plane in range(box.planes):
            for line in range(lines):
                x_at = (image * layout.packed_planes + plane * layout.stride_d) * layout.packed_rows
                x_at = (x_at + line * layout.stride_h) * layout.packed_columns * tile
                g_at = ((box.image + image) * grad_output.shape[1] + first_row) * channel_size
                g_at += ((box.plane + plane) * layout.height + box.row + line) * layout.width + box.column
                for panel in range(panels):
                    row, count = part(panel, rows, panels)
                    for tap in range(taps):
                        gemm_block(
                            tables.blocks[count - 1, vectors - 1],
                            *(grad_output, g_at + row * channel_size, channel_size, 1),
                            *(x, x_at + tables.reach[tap], tables.starts, length),
                            *(m, (row * taps + tap) * layout.channel_block + column, taps * layout.channel_block),
                            accumulate + image + plane + line,
                        )


@njit
def _write(m, pitch, out, channels, taps):
    """Write one row of M, [tap][channel], as [channel][tap]."""
    for tap in range(taps):
        line = m[tap * pitch :][:channels]
        for c in range(channels):
            out[c * taps + tap] = line[c]


@njit
def _tasks(first, last, tables, layout, source, grad_output, partial, memory):
    """Compute tasks first..last; a task sums one block of rows and channels of a group over one chunk of boxes."""
    x, m = memory[: layout.x_size], memory[layout.x_size :]
    taps, tile = tables.reach.size, layout.gemm_vectors * layout.lanes
    row_blocks = -(-layout.rows // layout.row_block)
    channel_blocks = -(-layout.channels // layout.channel_block)
    for task in range(first, last):
        rest, row = task // row_blocks, task % row_blocks * layout.row_block
        rest, channel = rest // channel_blocks, rest % channel_blocks * layout.channel_block
        chunk, group = rest // layout.groups, rest % layout.groups
        rows, channels = min(layout.row_block, layout.rows - row), min(layout.channel_block, layout.channels - channel)
        first_row = group * layout.rows + row
        first_box, boxes = part(chunk, layout.boxes, layout.chunks)
        for index in range(first_box, first_box + boxes):
            whole = layout.images, layout.planes, layout.height, layout.width
            extents = layout.box_images, layout.box_planes, layout.box_rows, layout.box_columns
            box = box_of(index, whole, extents)
            for column in range(0, channels, tile):
                count, first_channel = min(tile, channels - column), group * layout.channels + channel + column
                vectors = -(-count // layout.lanes)
                _pack_source(tables, layout, box, source, first_channel, count, x)
                _multiply(tables, layout, box, grad_output, first_row, rows, vectors, x, m, column, index - first_box)
        for r in range(rows):
            out_at = ((first_row + r) * layout.channels + channel) * taps
            m_at = r * taps * layout.channel_block
            _write(m[m_at:], layout.channel_block, partial[chunk][out_at:], channels, taps)


def _tasks_range(tasks, tables, layout, source, grad_output, partial, memory, begin, end):
    """Compute the tasks of a range of workers, each of which has a row of memory."""
    for worker in range(begin, end):
        first, count = part(worker, tasks, memory.shape[0])
        _tasks(first, first + count, tables, layout, source, grad_output, partial, memory[worker])


_run = RangeKernel(_tasks_range, parallel_work=2)
_add_chunks = RangeKernel(add_chunks_range, parallel_work=2)


class Plan(NamedTuple):
    """Everything that a launch needs and that depends on shapes alone."""

    layout: Layout
    tables: Tables
    tasks: int
    scratch: int
    """Elements of scratch memory per worker."""


def _packed(box, stride, span):
    """Return the positions of the source that the outputs of a box reach along each dimension."""
    return [(count - 1) * s + r + 1 for count, s, r in zip(box, stride, span, strict=True)]


@lru_cache(maxsize=1024)
def plan(convolution: Convolution, dtype: np.dtype) -> Plan:
    """Cut the gradient of a weight into boxes, blocks and chunks; they do not depend on the number of threads."""
    simd = host_simd()
    lanes = simd.lanes(dtype)
    images, channels, *source = convolution.input_shape
    _, rows, *target = convolution.output_shape
    channels, rows = channels // convolution.groups, rows // convolution.groups
    kernel_size, stride, dilation = convolution.kernel_size, convolution.stride, convolution.dilation
    span = [d * (k - 1) for d, k in zip(dilation, kernel_size, strict=True)]
    taps = int(np.prod(kernel_size))

    vectors = even(ceil_div(channels, lanes), max(1, simd.accumulators // 6))
    tile, row_block = vectors * lanes, even(rows, ROW_BLOCK)

    def fits(box) -> bool:
        packed = box[0] * int(np.prod(_packed(box[1:], stride, span)))
        return packed * tile * dtype.itemsize <= SOURCE_BYTES and np.prod(box) <= MOST_POSITIONS

    counts = (images, *target)
    box = shrink(counts, fits)
    boxes = box_count(counts, box)
    tiles, row_pieces = ceil_div(channels, tile), convolution.groups * ceil_div(rows, row_block)
    block_tiles = min(tiles, max(1, BLOCK_PRODUCTS // (row_block * taps * tile)))
    most = min(boxes, max(1, int(np.prod(counts)) // CHUNK_POSITIONS))
    chunks = min(most, ceil_div(GRAD_WEIGHT_TASKS, row_pieces * ceil_div(tiles, block_tiles)))
    chunks = ceil_div(boxes, ceil_div(boxes, chunks))
    block_tiles = even(tiles, min(block_tiles, max(1, tiles * row_pieces * chunks // FEWEST_TASKS)))
    channel_block, pieces = block_tiles * tile, row_pieces * ceil_div(tiles, block_tiles)
    packed = _packed(box[1:], stride, span)
    x_size = box[0] * int(np.prod(packed)) * tile
    layout = Layout(
        *(images, convolution.groups, rows, channels, *target, *source, *stride, *convolution.padding, *span),
        *(*box, *packed, channel_block, row_block),
        gemm_rows=min(simd.rows, simd.accumulators // vectors),
        gemm_vectors=vectors,
        lanes=lanes,
        x_size=x_size,
        boxes=boxes,
        chunks=chunks,
    )
    steps = np.array([packed[1] * packed[2], packed[2], 1]) * tile
    rows_of, columns_of = np.arange(box[2])[:, None] * stride[1], np.arange(box[3]) * stride[2]
    starts = (rows_of * steps[1] + columns_of * steps[2]).reshape(-1)
    reach = np.stack(np.meshgrid(*map(np.arange, kernel_size), indexing="ij"), -1) * dilation @ steps
    tables = Tables(movers(dtype), gemm_blocks(dtype, False), starts, reach.reshape(-1))
    return Plan(layout, tables, chunks * pieces, x_size + row_block * taps * channel_block)


def grad_weight(convolution: Convolution, grad_output, source, result, workers: int) -> None:
    """Write the gradient of the weight to `result`."""
    layout, tables, tasks, size = plan(convolution, source.dtype)
    total, workers = result.reshape(-1), min(workers, tasks)
    one = layout.chunks == 1
    partial = total[None] if one else workspace.get("partial", layout.chunks, total.size, source.dtype)
    memory = workspace.get("scratch", workers, size, source.dtype)
    _run(workers, workers, tasks, tables, layout, source, grad_output, partial, memory)
    if not one:
        _add_chunks(total.size, workers, partial, total)
