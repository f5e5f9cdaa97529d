"""Convolution on CUDA, forward and both backward passes, for any rank, stride, padding, dilation and groups.

Each pass is one matrix product per group, c[row, column] = Σ_k a[row, k] · b[k, column], whose operand b is never
written out ("implicit GEMM"): a block of threads gathers the tile of b that it needs into shared memory.

| pass | a[row, k] | b[k, column] | rows | columns | k |
|---|---|---|---|---|---|
| forward | weight | input under the window | O/groups | N·oD·oH·oW | (c, tap) |
| gradient of the input | weight | grad_output | C/groups | N·D·H·W | (o, tap) |
| gradient of the weight | grad_output | input under the window | O/groups | (c, tap) | N·oD·oH·oW |

What tells the passes apart is a few small functions that turn (row, k, column) into places in the arrays (`Pass`).
Four kernels work for all of them: `gemm`, tiled in shared memory and registers; `pipelined`, the same for float32 on
tensor cores; `direct`, a thread per element, for groups with hardly any rows (depthwise); `reduce`, a block per
element, for few elements and a long sum. float16 and bfloat16 need tensor cores, which multiply them as they are.

Sums run in an order that depends on the shapes alone, so results have the same bits in every run. Everything inside
one image is counted in 32 bits; where an image begins, in 64.
"""

import functools
import math
from typing import Any, NamedTuple

import numpy as np
from nbtorch.kernels import precision
from nbtorch.kernels.cuda import target
from nbtorch.kernels.cuda.target import block_reduce, cuda, divide, int32, int64

Triple = tuple[int, int, int]


class Tile(NamedTuple):
    """How a block of threads shares one tile of the product.

    The block computes `rows` × `columns` elements and walks through k in steps of `depth`; each thread keeps
    `thread_rows` × `thread_columns` sums in registers, in groups of four neighbours.
    """

    rows: int
    columns: int
    depth: int
    thread_rows: int
    thread_columns: int

    @property
    def threads(self) -> int:
        """Threads in a block."""
        return self.rows // self.thread_rows * (self.columns // self.thread_columns)


LARGE_TILE = {4: Tile(128, 128, 8, 8, 8), 8: Tile(64, 64, 8, 4, 4)}
"""For products with many rows, by the size of an element in bytes: as many sums as registers hold."""

SMALL_TILE = {4: Tile(32, 128, 8, 4, 4), 8: Tile(32, 64, 8, 4, 4)}
"""For products with few rows."""

TENSOR_TILES = {
    "tf32": (Tile(32, 128, 16, 4, 4), Tile(128, 128, 8, 8, 8)),
    "3xtf32": (Tile(32, 128, 16, 4, 4), Tile(128, 128, 8, 8, 8)),
    "bf16": (Tile(32, 128, 16, 4, 4), Tile(128, 128, 16, 4, 8)),
    "f16": (Tile(32, 128, 16, 4, 4), Tile(128, 128, 16, 4, 8)),
}
"""For products on tensor cores, (with few rows, with many): a warp computes `thread_rows`·8 rows and
`thread_columns`·4 columns. Half precision waits in registers on its way to shared memory, so that fewer are left for
sums and a block takes more threads."""

STAGES = 3
"""So many tiles of float32 numbers are in shared memory, or on their way to it, where copies are asynchronous: with
8 steps of k in a tile, 26 KB of the 48 that a block has, so that an SM has room for several blocks."""

SIMULATOR_TILE = Tile(16, 16, 16, 4, 4)
"""The same code with few threads, each of which costs the simulator milliseconds."""

SIMULATOR_TENSOR_TILE = Tile(16, 8, 8, 2, 2)
"""The same for tensor cores: one warp, one instruction."""

SIMULATOR_HALF_TILE = Tile(16, 8, 16, 2, 2)
"""The same for half precision, where an instruction takes twice as many steps of k."""

DIRECT_ROWS = 2
"""Up to so many rows for each group, tiles would be mostly empty and a thread for each element is faster."""

MAX_GRID_Y = 65535

SPLIT_BLOCKS = 512
"""The gradient of the weight splits its sum until so many blocks are at work: some four per multiprocessor."""


class Geometry(NamedTuple):
    """The numbers of one convolution, as int32.

    "Plane" is the space that columns run through (of the output, or of the input for the gradient of the input);
    `…_multiplier` and `…_shift` divide by an extent (`target.divide`).
    """

    rows: int
    columns: int
    depth: int
    split_depth: int
    row_stride: int
    channels: int
    out_channels: int
    D: int
    H: int
    W: int
    oD: int
    oH: int
    oW: int
    kH: int
    kW: int
    taps: int
    sD: int
    sH: int
    sW: int
    pD: int
    pH: int
    pW: int
    dD: int
    dH: int
    dW: int
    in_plane: int
    out_plane: int
    in_per_group: int
    out_per_group: int
    plane_multiplier: int
    plane_shift: int
    plane_h_multiplier: int
    plane_h_shift: int
    plane_w_multiplier: int
    plane_w_shift: int
    taps_multiplier: int
    taps_shift: int
    kH_multiplier: int
    kH_shift: int
    kW_multiplier: int
    kW_shift: int
    sD_multiplier: int
    sD_shift: int
    sH_multiplier: int
    sH_shift: int
    sW_multiplier: int
    sW_shift: int


@target.device
def split_tap(g, tap):
    """Return (tap_d, tap_h, tap_w) of the flat position of a tap in the kernel."""
    plane_row = divide(tap, g.kW_multiplier, g.kW_shift)
    tap_d = divide(plane_row, g.kH_multiplier, g.kH_shift)
    return tap_d, int32(plane_row - tap_d * g.kH), int32(tap - plane_row * g.kW)


@target.device
def split_pixel(g, pixel, extent_h, extent_w):
    """Return (d, h, w) of a flat position in the plane that columns run through."""
    plane_row = divide(pixel, g.plane_w_multiplier, g.plane_w_shift)
    d = divide(plane_row, g.plane_h_multiplier, g.plane_h_shift)
    return d, int32(plane_row - d * extent_h), int32(pixel - plane_row * extent_w)


@target.device
def split_channel(g, k):
    """Return (channel, tap) of a position in the sum over channels and taps."""
    channel = divide(k, g.taps_multiplier, g.taps_shift)
    return channel, int32(k - channel * g.taps)


@target.device
def split_image(g, column, plane):
    """Return (image, pixel) of a position among the pixels of all images."""
    image = divide(column, g.plane_multiplier, g.plane_shift)
    return image, int32(column - image * plane)


@target.device
def input_offset(g, channel, d, h, w):
    """Return the place of an element inside one image of the input, or -1 outside of it."""
    if d < 0 or h < 0 or w < 0 or d >= g.D or h >= g.H or w >= g.W:
        return int32(-1)
    return int32(((channel * g.D + d) * g.H + h) * g.W + w)


@target.device
def window_index(position, stride, multiplier, shift, windows):
    """Return which window begins at `position` (of the padded input), or -1 if none does."""
    if position < 0:
        return int32(-1)
    window = divide(position, multiplier, shift)
    return window if window * stride == position and window < windows else int32(-1)


class Pass(NamedTuple):
    """The device functions that place one pass's matrix product in its arrays.

    `a_place(g, group, k)` is the place of a[0, k], and the next row lies `g.row_stride` further; `c_place(g, group,
    column)` is the place of c[0, column], and the next row lies `c_stride(g)` further. `b_column(g, group, column)`
    computes once what `b_place(g, kept, k)` needs to know of a column; the latter is the place of b[k, column], or -1
    where it is zero.
    """

    a_place: Any
    b_column: Any
    b_place: Any
    c_place: Any
    c_stride: Any


@target.device
def forward_a_place(g, group, k):
    """weight[group, row 0, k]."""
    return int64(group * g.rows) * g.depth + k


@target.device
def forward_b_column(g, group, column):
    """The image's start and the window's corner in it."""
    image, pixel = split_image(g, column, g.out_plane)
    d, h, w = split_pixel(g, pixel, g.oH, g.oW)
    start = int64(image * int64(g.channels) + group * g.in_per_group) * g.in_plane
    return start, int32(d * g.sD - g.pD), int32(h * g.sH - g.pH), int32(w * g.sW - g.pW)


@target.device
def forward_b_place(g, kept, k):
    """The input under tap k of the window."""
    start, d, h, w = kept
    channel, tap = split_channel(g, k)
    tap_d, tap_h, tap_w = split_tap(g, tap)
    offset = input_offset(g, channel, int32(d + tap_d * g.dD), int32(h + tap_h * g.dH), int32(w + tap_w * g.dW))
    return start + offset if offset >= 0 else int64(-1)


@target.device
def forward_c_place(g, group, column):
    """output[image, group, row 0, pixel]."""
    image, pixel = split_image(g, column, g.out_plane)
    return int64(image * int64(g.out_channels) + group * g.out_per_group) * g.out_plane + pixel


@target.device
def forward_c_stride(g):
    """The next channel of the output."""
    return g.out_plane


@target.device
def grad_input_a_place(g, group, k):
    """weight[group, channel of k, row 0, tap of k]."""
    channel, tap = split_channel(g, k)
    return int64(group * g.out_per_group + channel) * int64(g.rows * g.taps) + tap


@target.device
def grad_input_b_column(g, group, column):
    """The image's start and the pixel's position in the padded input."""
    image, pixel = split_image(g, column, g.in_plane)
    d, h, w = split_pixel(g, pixel, g.H, g.W)
    start = int64(image * int64(g.out_channels) + group * g.out_per_group) * g.out_plane
    return start, int32(d + g.pD), int32(h + g.pH), int32(w + g.pW)


@target.device
def grad_input_b_place(g, kept, k):
    """grad_output where the window begins that meets the pixel with tap k."""
    start, d, h, w = kept
    channel, tap = split_channel(g, k)
    tap_d, tap_h, tap_w = split_tap(g, tap)
    out_d = window_index(int32(d - tap_d * g.dD), g.sD, g.sD_multiplier, g.sD_shift, g.oD)
    out_h = window_index(int32(h - tap_h * g.dH), g.sH, g.sH_multiplier, g.sH_shift, g.oH)
    out_w = window_index(int32(w - tap_w * g.dW), g.sW, g.sW_multiplier, g.sW_shift, g.oW)
    if out_d < 0 or out_h < 0 or out_w < 0:
        return int64(-1)
    return start + int32(((channel * g.oD + out_d) * g.oH + out_h) * g.oW + out_w)


@target.device
def grad_input_c_place(g, group, column):
    """grad_input[image, group, row 0, pixel]."""
    image, pixel = split_image(g, column, g.in_plane)
    return int64(image * int64(g.channels) + group * g.in_per_group) * g.in_plane + pixel


@target.device
def grad_input_c_stride(g):
    """The next channel of the input."""
    return g.in_plane


@target.device
def grad_weight_a_place(g, group, k):
    """grad_output[image, group, row 0, pixel] of the pixel k."""
    return forward_c_place(g, group, k)


@target.device
def grad_weight_b_column(g, group, column):
    """The channel's start in an image and the tap's distance from the window's corner."""
    channel, tap = split_channel(g, column)
    tap_d, tap_h, tap_w = split_tap(g, tap)
    start = int64(group * g.in_per_group + channel) * g.in_plane
    return start, int32(tap_d * g.dD - g.pD), int32(tap_h * g.dH - g.pH), int32(tap_w * g.dW - g.pW)


@target.device
def grad_weight_b_place(g, kept, k):
    """The input under the tap of the window k."""
    start, tap_d, tap_h, tap_w = kept
    image, pixel = split_image(g, k, g.out_plane)
    d, h, w = split_pixel(g, pixel, g.oH, g.oW)
    offset = input_offset(g, 0, int32(tap_d + d * g.sD), int32(tap_h + h * g.sH), int32(tap_w + w * g.sW))
    return start + image * int64(g.channels) * g.in_plane + offset if offset >= 0 else int64(-1)


@target.device
def grad_weight_c_place(g, group, column):
    """grad_weight[group, row 0, column]."""
    return int64(group * g.rows) * g.columns + column


@target.device
def grad_weight_c_stride(g):
    """The next channel of the output."""
    return g.columns


FORWARD = Pass(forward_a_place, forward_b_column, forward_b_place, forward_c_place, forward_c_stride)
GRAD_INPUT = Pass(grad_input_a_place, grad_input_b_column, grad_input_b_place, grad_input_c_place, grad_input_c_stride)
GRAD_WEIGHT = Pass(
    grad_weight_a_place, grad_weight_b_column, grad_weight_b_place, grad_weight_c_place, grad_weight_c_stride
)


class Arithmetic(NamedTuple):
    """How the threads of a block multiply two tiles in shared memory.

    `place(thread)` returns (row, column, a_offset, b_offset): a thread's first row and column in the block's tile, and
    where its reading of the two tiles begins. It has the rows row + i // `row_run` · `row_group` + i % `row_run`, and
    the columns likewise. `pitches` are the distances in the two tiles from one k to the next; `slot(k, i, pitch)` is
    the place of a number in a tile. Where two numbers share a word (`packed` is 2), offsets and pitches count words.
    """

    multiply: Any
    place: Any
    slot: Any
    pitches: tuple[int, int]
    packed: int
    row_run: int
    row_group: int
    column_run: int
    column_group: int


@target.device
def whole_slot(k, i, pitch):
    """The place of a number that fills its word."""
    return k * pitch + i


@target.device
def half_slot(k, i, pitch):
    """The place of a number that shares its word with a neighbour in k."""
    return int32(((k >> 1) * pitch + i) * 2 + (k & 1))


def fused(tile: Tile) -> Arithmetic:
    """Return the arithmetic of fused multiply-adds: each thread has a tile of its own in registers."""
    row_group, column_group = tile.rows // (tile.thread_rows // 4), tile.columns // (tile.thread_columns // 4)
    across = tile.columns // tile.thread_columns
    a_pitch = tile.rows + 4  # four elements of padding spread the threads that store one row of k over the banks
    pitches = a_pitch, tile.columns
    sizes = tile.thread_rows, tile.thread_columns, tile.depth
    multiply_rows = target.register_tile(*sizes, (a_pitch, row_group), (tile.columns, column_group))

    @target.device
    def place(thread):
        row, column = int32(thread // across * 4), int32(thread % across * 4)
        return row, column, row, column

    @target.device
    def multiply(a, a_start, b, b_start, thread, sums):
        multiply_rows(a, a_start, b, b_start, sums)

    return Arithmetic(multiply, place, whole_slot, pitches, 1, 4, row_group, 4, column_group)


def tensor_cores(tile: Tile, rounding: str) -> Arithmetic:
    """Return the arithmetic of tensor cores, whose products a warp computes together."""
    packed, slot = (2, half_slot) if rounding in target.HALVES else (1, whole_slot)
    A_PITCH, B_PITCH = tile.rows + 8, tile.columns + 8
    ROWS, COLUMNS = tile.thread_rows * 8, tile.thread_columns * 4  # of a warp
    ACROSS = tile.columns // COLUMNS
    sizes = tile.thread_rows // 2, tile.thread_columns // 2, tile.depth // packed
    multiply_warp = target.warp_tile(*sizes, A_PITCH, B_PITCH, rounding)

    @target.device
    def place(thread):
        warp, group, quarter = int32(thread // 32), int32(thread % 32 // 4), int32(thread % 4)
        row, column = int32(warp // ACROSS * ROWS), int32(warp % ACROSS * COLUMNS)
        a_offset = int32(row + group + quarter * A_PITCH)
        b_offset = int32(column + group + quarter * B_PITCH)
        return int32(row + group), int32(column + 2 * quarter), a_offset, b_offset

    @target.device
    def multiply(a, a_start, b, b_start, thread, sums):
        multiply_warp(a, a_start, b, b_start, thread % 32, sums)

    return Arithmetic(multiply, place, slot, (A_PITCH, B_PITCH), packed, 1, 8, 2, 8)


@target.device
def unrounded(value):
    """Return a sum as it is."""
    return value


def _finish(dtype: np.dtype, rounding: str) -> Any:
    """Return the device function that makes of a sum what a result of this type holds."""
    return target.round_half(rounding) if dtype == np.uint16 else unrounded


@functools.cache
def gemm(which: Pass, dtype: np.dtype, tile: Tile, rounding: str = "ieee", result: np.dtype | None = None) -> Any:
    """Make the tiled kernel; block (x, y, z) computes tile (x, y) of the columns and rows of group and split z.

    Two tiles of a and b lie in shared memory: while the threads multiply one, they fetch the next into registers.

    Args:
        rounding: "ieee" multiplies in `dtype`; "bf16" and "f16" multiply numbers of half precision, given as the uint16
            of their bits, on tensor cores and add in float32.
        result: the type of c, by default `dtype`; float32 keeps the sums of half precision as they are.
    """
    a_place, b_column, b_place, c_place, c_stride = which
    half = rounding in target.HALVES
    arithmetic = tensor_cores(tile, rounding) if half else fused(tile)
    sum_type, result = np.dtype(np.float32) if half else dtype, dtype if result is None else result
    finish = _finish(result, rounding)
    multiply, place_of, slot = arithmetic.multiply, arithmetic.place, arithmetic.slot
    A_PITCH, B_PITCH = arithmetic.pitches
    ROW_RUN, ROW_GROUP, COLUMN_RUN, COLUMN_GROUP = arithmetic[5:]
    ROWS, COLUMNS, DEPTH, THREAD_ROWS, THREAD_COLUMNS = tile
    THREADS, PACKED = tile.threads, arithmetic.packed
    A_SIZE, B_SIZE = DEPTH // PACKED * A_PITCH, DEPTH // PACKED * B_PITCH
    A_LOADS, B_LOADS = ROWS * DEPTH // THREADS, COLUMNS * DEPTH // THREADS
    A_STEP, B_STEP = THREADS // DEPTH, THREADS // COLUMNS
    A_SHARED, B_SHARED, SUMS = 2 * PACKED * A_SIZE, 2 * PACKED * B_SIZE, THREAD_ROWS * THREAD_COLUMNS
    zero, no_sum = dtype.type(0), sum_type.type(0)

    def kernel(a, b, c, bias, has_bias, groups, split_size, g):
        a_tiles = cuda.shared.array(A_SHARED, dtype, alignment=16)
        b_tiles = cuda.shared.array(B_SHARED, dtype, alignment=16)
        a_next = cuda.local.array(A_LOADS, dtype)
        b_next = cuda.local.array(B_LOADS, dtype)
        sums = cuda.local.array(SUMS, sum_type)
        for i in range(SUMS):
            sums[i] = no_sum

        thread = int32(cuda.threadIdx.x)
        split, group = int32(cuda.blockIdx.z // groups), int32(cuda.blockIdx.z % groups)
        a_k, a_row = int32(thread % DEPTH), int32(thread // DEPTH)
        b_k, b_slot = int32(thread // COLUMNS), int32(thread % COLUMNS)
        first_row, first_column = int32(cuda.blockIdx.y * ROWS), int32(cuda.blockIdx.x * COLUMNS)
        column = int32(first_column + b_slot)
        column_inside = column < g.columns
        kept = b_column(g, group, column if column_inside else int32(0))
        begin = int32(split * g.split_depth)
        end = int32(min(g.depth, begin + g.split_depth))
        row_in_block, column_in_block, a_offset, b_offset = place_of(thread)

        stage = int32(0)
        step = int32(begin - DEPTH)  # the first round only fetches
        while step < end:
            following = int32(step + DEPTH)
            if following < end:
                k = int32(following + a_k)
                place = a_place(g, group, k if k < end else int32(0))
                place += int64(first_row + a_row) * g.row_stride
                for i in range(A_LOADS):
                    inside = k < end and first_row + a_row + i * A_STEP < g.rows
                    a_next[i] = a[place] if inside else zero
                    place += A_STEP * g.row_stride
                for i in range(B_LOADS):
                    k = int32(following + b_k + i * B_STEP)
                    place = b_place(g, kept, k) if column_inside and k < end else int64(-1)
                    b_next[i] = b[place] if place >= 0 else zero
            if step >= begin:
                multiply(a_tiles, stage * A_SIZE + a_offset, b_tiles, stage * B_SIZE + b_offset, thread, sums)
            stage = int32(1 - stage)
            if following < end:
                for i in range(A_LOADS):
                    a_tiles[stage * A_SIZE * PACKED + slot(a_k, a_row + i * A_STEP, A_PITCH)] = a_next[i]
                for i in range(B_LOADS):
                    b_tiles[stage * B_SIZE * PACKED + slot(b_k + i * B_STEP, b_slot, B_PITCH)] = b_next[i]
            cuda.syncthreads()
            step = following

        stride = int64(c_stride(g))
        for j in range(THREAD_COLUMNS):
            column = int32(first_column + column_in_block + j // COLUMN_RUN * COLUMN_GROUP + j % COLUMN_RUN)
            if column < g.columns:
                place = c_place(g, group, column) + split * split_size
                for i in range(THREAD_ROWS):
                    row = int32(first_row + row_in_block + i // ROW_RUN * ROW_GROUP + i % ROW_RUN)
                    if row < g.rows:
                        value = sums[i * THREAD_COLUMNS + j]
                        c[place + row * stride] = finish(value + bias[group * g.rows + row] if has_bias else value)

    parameters = (dtype, dtype, result, sum_type, "int32", "int32", "int64", Geometry)
    return target.Kernel(kernel, parameters, THREADS, max(1, 512 // THREADS), needs=(8, 0) if half else (7, 5))


@functools.cache
def pipelined(which: Pass, tile: Tile, rounding: str) -> target.Kernel:
    """Make the tiled kernel for float32 on tensor cores, with asynchronous copies; blocks as in `gemm`.

    `STAGES` tiles lie in shared memory in a ring: while the threads multiply one, the next ones arrive, past the
    registers. Numbers are rounded as they are read for a product.

    Args:
        rounding: "tf32", or "3xtf32" with float32's accuracy. Infinity has no remainder of rounding, so the latter
            computes what is not finite anew.
    """
    a_place, b_column, b_place, c_place, c_stride = which
    arithmetic, copies = tensor_cores(tile, rounding), target.async_copies(STAGES - 2)
    multiply, place_of = arithmetic.multiply, arithmetic.place
    copy, commit, wait = copies
    A_PITCH, B_PITCH = arithmetic.pitches
    ROW_RUN, ROW_GROUP, COLUMN_RUN, COLUMN_GROUP = arithmetic[5:]
    ROWS, COLUMNS, DEPTH, THREAD_ROWS, THREAD_COLUMNS = tile
    THREADS, AHEAD, EXACT = tile.threads, (STAGES - 1) * DEPTH, rounding == "3xtf32"
    A_SIZE, B_SIZE, RING = DEPTH * A_PITCH, DEPTH * B_PITCH, STAGES
    A_LOADS, B_LOADS = ROWS * DEPTH // THREADS, COLUMNS * DEPTH // THREADS
    A_STEP, B_STEP = THREADS // DEPTH, THREADS // COLUMNS
    A_SHARED, B_SHARED, SUMS = STAGES * A_SIZE, STAGES * B_SIZE, THREAD_ROWS * THREAD_COLUMNS
    dtype = np.dtype(np.float32)
    zero = dtype.type(0)

    @target.device
    def direct_sum(a, b, g, group, row, column, begin, end):
        kept = b_column(g, group, column)
        total = zero
        for k in range(begin, end):
            place = b_place(g, kept, int32(k))
            if place >= 0:
                total += a[a_place(g, group, int32(k)) + row * int64(g.row_stride)] * b[place]
        return total

    def kernel(a, b, c, bias, has_bias, groups, split_size, g):
        a_tiles = cuda.shared.array(A_SHARED, dtype, alignment=16)
        b_tiles = cuda.shared.array(B_SHARED, dtype, alignment=16)
        sums = cuda.local.array(SUMS, dtype)
        for i in range(SUMS):
            sums[i] = zero

        thread = int32(cuda.threadIdx.x)
        split, group = int32(cuda.blockIdx.z // groups), int32(cuda.blockIdx.z % groups)
        a_k, a_row = int32(thread % DEPTH), int32(thread // DEPTH)
        b_k, b_slot = int32(thread // COLUMNS), int32(thread % COLUMNS)
        first_row, first_column = int32(cuda.blockIdx.y * ROWS), int32(cuda.blockIdx.x * COLUMNS)
        column = int32(first_column + b_slot)
        column_inside = column < g.columns
        kept = b_column(g, group, column if column_inside else int32(0))
        begin = int32(split * g.split_depth)
        end = int32(min(g.depth, begin + g.split_depth))
        row_in_block, column_in_block, a_offset, b_offset = place_of(thread)

        stage, arriving = int32(0), int32(0)
        step = int32(begin - AHEAD)  # the first rounds only fetch
        while step < end:
            following = int32(step + AHEAD)
            if step >= begin:
                wait()
                cuda.syncthreads()  # the tile is there, and nobody reads the one that is overwritten next
            if following < end:
                k = int32(following + a_k)
                place = a_place(g, group, k if k < end else int32(0))
                place += int64(first_row + a_row) * g.row_stride
                slot = int32(arriving * A_SIZE + a_k * A_PITCH + a_row)
                for i in range(A_LOADS):
                    inside = k < end and first_row + a_row + i * A_STEP < g.rows
                    copy(a_tiles, slot + i * A_STEP, a, place if inside else int64(0), inside)
                    place += A_STEP * g.row_stride
                slot = int32(arriving * B_SIZE + b_k * B_PITCH + b_slot)
                for i in range(B_LOADS):
                    k = int32(following + b_k + i * B_STEP)
                    place = b_place(g, kept, k) if column_inside and k < end else int64(-1)
                    inside = place >= 0
                    copy(b_tiles, slot + i * B_STEP * B_PITCH, b, place if inside else int64(0), inside)
            commit()  # one group for each round, so that counting them tells which tile has arrived
            arriving = int32(arriving + 1 if arriving + 1 < RING else 0)
            if step >= begin:
                multiply(a_tiles, stage * A_SIZE + a_offset, b_tiles, stage * B_SIZE + b_offset, thread, sums)
                stage = int32(stage + 1 if stage + 1 < RING else 0)
            step = int32(step + DEPTH)

        stride = int64(c_stride(g))
        finite = True
        for j in range(THREAD_COLUMNS):
            column = int32(first_column + column_in_block + j // COLUMN_RUN * COLUMN_GROUP + j % COLUMN_RUN)
            if column < g.columns:
                place = c_place(g, group, column) + split * split_size
                for i in range(THREAD_ROWS):
                    row = int32(first_row + row_in_block + i // ROW_RUN * ROW_GROUP + i % ROW_RUN)
                    if row < g.rows:
                        value = sums[i * THREAD_COLUMNS + j]
                        finite = finite and abs(value) < math.inf
                        c[place + row * stride] = value + bias[group * g.rows + row] if has_bias else value
        if EXACT and not finite:
            for element in range(SUMS):
                i, j = int32(element // THREAD_COLUMNS), int32(element % THREAD_COLUMNS)
                row = int32(first_row + row_in_block + i // ROW_RUN * ROW_GROUP + i % ROW_RUN)
                column = int32(first_column + column_in_block + j // COLUMN_RUN * COLUMN_GROUP + j % COLUMN_RUN)
                if row < g.rows and column < g.columns:
                    value = direct_sum(a, b, g, group, row, column, begin, end)
                    place = c_place(g, group, column) + split * split_size
                    c[place + row * stride] = value + bias[group * g.rows + row] if has_bias else value

    parameters = (dtype, dtype, dtype, dtype, "int32", "int32", "int64", Geometry)
    blocks = 1 if EXACT else 2  # remainders take more than the 128 registers that two blocks leave a thread
    return target.Kernel(kernel, parameters, THREADS, blocks, needs=(8, 0))


@functools.cache
def direct(which: Pass, dtype: np.dtype) -> target.Kernel:
    """Make the kernel in which a thread computes one element; blocks (x, y) share the columns of channel y."""
    a_place, b_column, b_place, c_place, c_stride = which
    zero = dtype.type(0)

    def kernel(a, b, c, bias, has_bias, groups, g):
        for channel in range(cuda.blockIdx.y, groups * g.rows, cuda.gridDim.y):
            group = int32(channel // g.rows)
            row = int64(channel - group * g.rows)
            column = int32(cuda.grid(1))
            while column < g.columns:
                kept = b_column(g, group, column)
                total = zero
                for k in range(g.depth):
                    place = b_place(g, kept, int32(k))
                    if place >= 0:
                        total += a[a_place(g, group, int32(k)) + row * g.row_stride] * b[place]
                value = total + bias[channel] if has_bias else total
                c[c_place(g, group, column) + row * c_stride(g)] = value
                column = int32(column + cuda.gridsize(1))

    parameters = (dtype, dtype, dtype, dtype, "int32", "int32", Geometry)
    return target.Kernel(kernel, parameters, target.THREADS)


@functools.cache
def reduce(which: Pass, dtype: np.dtype) -> target.Kernel:
    """Make the kernel in which a block computes one element; block (x, y) has column x of row y of all groups.

    Each thread sums every `threads`-th product, then the threads' sums are added pairwise.
    """
    a_place, b_column, b_place, c_place, c_stride = which
    THREADS = target.THREADS
    zero = dtype.type(0)

    def kernel(a, b, c, groups, g):
        partial = cuda.shared.array(THREADS, dtype)
        thread = int32(cuda.threadIdx.x)
        column = int32(cuda.blockIdx.x)
        for channel in range(cuda.blockIdx.y, groups * g.rows, cuda.gridDim.y):
            group = int32(channel // g.rows)
            row = int64(channel - group * g.rows)
            kept = b_column(g, group, column)
            total = zero
            for k in range(thread, g.depth, THREADS):
                place = b_place(g, kept, int32(k))
                if place >= 0:
                    total += a[a_place(g, group, int32(k)) + row * g.row_stride] * b[place]
            total = block_reduce(total, partial, False)
            if thread == 0:
                c[c_place(g, group, column) + row * c_stride(g)] = total

    return target.Kernel(kernel, (dtype, dtype, dtype, "int32", Geometry), THREADS)


@functools.cache
def add_splits(dtype: np.dtype) -> target.Kernel:
    """Make the kernel that adds the partial results (splits, size) of a split sum, in their order."""
    zero = dtype.type(0)

    def kernel(partials, splits, size, total):
        i = cuda.grid(1)
        while i < size:
            value = zero
            for split in range(splits):
                value += partials[split * size + i]
            total[i] = value
            i += cuda.gridsize(1)

    return target.Kernel(kernel, (dtype, "int32", "int64", dtype), target.THREADS)


@functools.cache
def sum_planes(dtype: np.dtype) -> target.Kernel:
    """Make the kernel that sums (N, O, plane) over n and plane; block (o, split) has every `splits`-th image of o."""
    THREADS = target.THREADS
    zero = dtype.type(0)

    def kernel(values, images, channels, plane, sums):
        partial = cuda.shared.array(THREADS, dtype)
        thread, channel = cuda.threadIdx.x, cuda.blockIdx.x
        total = zero
        for image in range(cuda.blockIdx.y, images, cuda.gridDim.y):
            start = (image * channels + channel) * plane
            for i in range(thread, plane, THREADS):
                total += values[start + i]
        total = block_reduce(total, partial, False)
        if thread == 0:
            sums[cuda.blockIdx.y * channels + channel] = total

    return target.Kernel(kernel, (dtype, "int64", "int64", "int64", dtype), THREADS)


def conv_forward(
    input: Any,
    weight: Any,
    bias: Any | None,
    stride: Triple,
    padding: Triple,
    dilation: Triple,
    groups: int,
    output: Any,
) -> None:
    """Write the convolution of `input` (N, C, D, H, W) with `weight` (O, C/groups, kD, kH, kW) to `output`."""
    sizes = _sizes(input, weight, output, stride, padding, dilation, groups)
    for images in _batches(output):
        g = _geometry(sizes, "forward", output[images].shape[0])
        _product(FORWARD, weight, input[images], output[images], bias, groups, g, precision.conv)


def matrix_products(a: Any, b: Any, output: Any, wanted: str) -> None:
    """Write the products of `a` (groups, n, m) and `b` (groups, m, p), C-contiguous, to `output` (groups, n, p).

    They are computed as a pointwise convolution. `wanted` is the precision, one of `nbtorch.kernels.precision.CHOICES`.
    """
    groups, rows, inner = a.shape
    columns = b.shape[-1]
    input, weight = b.reshape(1, groups * inner, 1, 1, columns), a.reshape(groups * rows, inner, 1, 1, 1)
    result = output.reshape(1, groups * rows, 1, 1, columns)
    sizes = _sizes(input, weight, result, (1, 1, 1), (0, 0, 0), (1, 1, 1), groups)
    _product(FORWARD, weight, input, result, None, groups, _geometry(sizes, "forward", 1), wanted)


def conv_grad_input(
    grad_output: Any,
    weight: Any,
    bias: Any | None,
    stride: Triple,
    padding: Triple,
    dilation: Triple,
    groups: int,
    grad_input: Any,
) -> None:
    """Write to `grad_input` a convolution's gradient for the input, plus `bias` (C,): the transposed convolution."""
    sizes = _sizes(grad_input, weight, grad_output, stride, padding, dilation, groups)
    for images in _batches(grad_input):
        g = _geometry(sizes, "grad_input", grad_input[images].shape[0])
        _product(GRAD_INPUT, weight, grad_output[images], grad_input[images], bias, groups, g, precision.conv)


def conv_grad_weight(
    grad_output: Any,
    input: Any,
    stride: Triple,
    padding: Triple,
    dilation: Triple,
    groups: int,
    grad_weight: Any,
) -> None:
    """Write to `grad_weight` the gradient of a convolution's weight."""
    if grad_weight.size == 0:
        return
    sizes = _sizes(input, grad_weight, grad_output, stride, padding, dilation, groups)
    g = _geometry(sizes, "grad_weight", input.shape[0])
    dtype = np.dtype(grad_weight.dtype)
    if dtype.itemsize == 2 and g.rows <= DIRECT_ROWS:
        wide = _widened(grad_weight)
        conv_grad_weight(_widened(grad_output), _widened(input), stride, padding, dilation, groups, wide)
        grad_weight[...] = wide
        return
    if g.rows <= DIRECT_ROWS:
        grid = (g.columns, min(groups * g.rows, MAX_GRID_Y))
        reduce(GRAD_WEIGHT, dtype)(grid, grad_output, input, grad_weight, groups, g)
        return
    rounding = _rounding(dtype, precision.conv)
    tile = _tile(g, dtype, rounding)
    blocks = -(-g.columns // tile.columns) * -(-g.rows // tile.rows) * groups
    splits, split_depth = _split(g.depth, tile.depth, blocks)
    g = g._replace(split_depth=split_depth)
    sums = np.float32 if dtype.itemsize == 2 else dtype
    partials = grad_weight if splits == 1 else target.empty(grad_weight, splits * grad_weight.size, sums)
    _launch_gemm(GRAD_WEIGHT, rounding, tile, splits, grad_output, input, partials, None, groups, grad_weight.size, g)
    _add_splits(partials, splits, grad_weight)


def conv_grad_bias(grad_output: Any, grad_bias: Any) -> None:
    """Write to `grad_bias` (O,) the sum of `grad_output` (N, O, oD, oH, oW) over n, d, h and w."""
    if grad_bias.size == 0:
        return
    images, channels, *extents = grad_output.shape
    dtype = np.dtype(grad_bias.dtype)
    if dtype.itemsize == 2:
        wide = _widened(grad_bias)
        conv_grad_bias(_widened(grad_output), wide)
        grad_bias[...] = wide
        return
    splits = max(1, min(images, SPLIT_BLOCKS // channels))
    partials = grad_bias if splits == 1 else target.empty(grad_bias, splits * channels)
    sum_planes(dtype)((channels, splits), grad_output, images, channels, math.prod(extents), partials)
    _add_splits(partials, splits, grad_bias)


def _add_splits(partials: Any, splits: int, total: Any) -> None:
    """Add the partial results of a split sum into `total`; a single one is `total` already."""
    if splits > 1 and total.dtype.itemsize == 2:
        wide = target.empty(total, total.size, np.float32).reshape(total.shape)
        _add_splits(partials, splits, wide)
        total[...] = wide
    elif splits > 1:
        blocks = target.blocks_for(total.size, target.THREADS)
        add_splits(np.dtype(total.dtype))(blocks, partials, splits, total.size, total)


def _product(which: Pass, a: Any, b: Any, c: Any, bias: Any | None, groups: int, g: Geometry, wanted: str) -> None:
    """Launch the kernel that suits the shape of a product whose sum is not split."""
    if c.size == 0:
        return
    dtype = np.dtype(c.dtype)
    if dtype.itemsize == 2 and g.rows <= DIRECT_ROWS:
        wide = _widened(c)
        _product(which, _widened(a), _widened(b), wide, None if bias is None else _widened(bias), groups, g, wanted)
        c[...] = wide
    elif g.rows <= DIRECT_ROWS:
        grid = (target.blocks_for(g.columns, target.THREADS), min(groups * g.rows, MAX_GRID_Y))
        offered = c if bias is None else bias  # a pointer that is not read
        direct(which, dtype)(grid, a, b, c, offered, bias is not None, groups, g)
    else:
        rounding = _rounding(dtype, wanted)
        _launch_gemm(which, rounding, _tile(g, dtype, rounding), 1, a, b, c, bias, groups, 0, g)


def _launch_gemm(
    which: Pass,
    rounding: str,
    tile: Tile,
    splits: int,
    a: Any,
    b: Any,
    c: Any,
    bias: Any | None,
    groups: int,
    split_size: int,
    g: Geometry,
) -> None:
    grid = (-(-g.columns // tile.columns), -(-g.rows // tile.rows), groups * splits)
    if grid[1] > MAX_GRID_Y or grid[2] > MAX_GRID_Y:
        raise OverflowError(f"convolution: too many channels or groups for CUDA, a grid of {grid} blocks")
    if rounding in target.HALVES:
        result = BITS if c.dtype.itemsize == 2 else np.dtype(c.dtype)
        kernel = gemm(which, BITS, tile, rounding, result)
        a, b, c = a.view(BITS), b.view(BITS), c.view(result)
        offered = target.empty(c, 0, np.float32) if bias is None else _widened(bias)
    else:
        kernel = gemm(which, np.dtype(c.dtype), tile) if rounding == "ieee" else pipelined(which, tile, rounding)
        offered = c if bias is None else bias  # a pointer that is not read
    kernel(grid, a, b, c, offered, bias is not None, groups, split_size, g)


BITS = np.dtype(np.uint16)
"""How kernels see numbers of half precision."""


def computes_half() -> bool:
    """Say whether the functions here take float16 and bfloat16 on the current device."""
    return target.has_tensor_cores()


def _widened(array: Any) -> Any:
    """Return an array of half precision in float32."""
    return array.astype(np.float32)


def _rounding(dtype: np.dtype, wanted: str) -> str:
    """Return the arithmetic of `gemm`: tensor cores for float32 where there are any, as exact as is wanted."""
    if dtype.itemsize == 2:
        return "f16" if dtype == np.float16 else "bf16"
    if dtype.itemsize != 4 or not target.has_tensor_cores():
        return "ieee"
    return "tf32" if wanted == "tf32" else "3xtf32"


def _tile(g: Geometry, dtype: np.dtype, rounding: str) -> Tile:
    if target.SIMULATOR:
        simulated = {"ieee": SIMULATOR_TILE, **dict.fromkeys(target.HALVES, SIMULATOR_HALF_TILE)}
        return simulated.get(rounding, SIMULATOR_TENSOR_TILE)
    small, large = TENSOR_TILES.get(rounding) or (SMALL_TILE[dtype.itemsize], LARGE_TILE[dtype.itemsize])
    return small if g.rows <= small.rows else large


def _split(depth: int, step: int, blocks: int) -> tuple[int, int]:
    """Return (splits, depth of a split): enough to occupy a GPU, each at least 64 steps long."""
    steps = max(1, -(-depth // step))
    splits = max(1, min(SPLIT_BLOCKS // blocks, steps // 64, 1024))
    split_depth = -(-steps // splits) * step
    return -(-depth // split_depth) if depth else 1, split_depth


def _batches(output: Any) -> list[slice]:
    """Cut a batch into runs of images with fewer than 2³¹ pixels."""
    images, plane = output.shape[0], math.prod(output.shape[2:])
    step = max(1, (target.SIZE_LIMIT - 1) // max(1, plane))
    return [slice(start, start + step) for start in range(0, images, step)]


class Sizes(NamedTuple):
    """The shapes and options of a convolution, whichever pass is asked for."""

    channels: int
    extents: Triple
    out_channels: int
    out_extents: Triple
    kernel_size: Triple
    stride: Triple
    padding: Triple
    dilation: Triple
    groups: int


def _sizes(input, weight, output, stride, padding, dilation, groups) -> Sizes:
    return Sizes(
        input.shape[1],
        tuple(input.shape[2:]),
        output.shape[1],
        tuple(output.shape[2:]),
        tuple(weight.shape[2:]),
        tuple(stride),
        tuple(padding),
        tuple(dilation),
        groups,
    )


@functools.lru_cache(maxsize=1024)
def _geometry(sizes: Sizes, which: str, images: int) -> Geometry:
    """Return the numbers of one pass over so many images."""
    taps, in_plane, out_plane = (math.prod(s) for s in (sizes.kernel_size, sizes.extents, sizes.out_extents))
    in_per_group, out_per_group = sizes.channels // sizes.groups, sizes.out_channels // sizes.groups
    rows, columns, depth, row_stride = {
        "forward": (out_per_group, images * out_plane, in_per_group * taps, in_per_group * taps),
        "grad_input": (in_per_group, images * in_plane, out_per_group * taps, taps),
        "grad_weight": (out_per_group, in_per_group * taps, images * out_plane, out_plane),
    }[which]
    plane = sizes.extents if which == "grad_input" else sizes.out_extents
    largest = max(columns, depth, sizes.channels * in_plane, sizes.out_channels * out_plane, rows * depth)
    if largest + 4096 >= target.SIZE_LIMIT:
        raise OverflowError(
            f"convolution: an image or a weight must have fewer than 2**31 elements on CUDA, got {sizes}"
        )
    divisors = (math.prod(plane), plane[1], plane[2], taps, *sizes.kernel_size[1:], *sizes.stride)
    return Geometry(
        rows,
        columns,
        depth,
        depth,
        row_stride,
        sizes.channels,
        sizes.out_channels,
        *sizes.extents,
        *sizes.out_extents,
        *sizes.kernel_size[1:],
        taps,
        *sizes.stride,
        *sizes.padding,
        *sizes.dilation,
        in_plane,
        out_plane,
        in_per_group,
        out_per_group,
        *(number for divisor in divisors for number in target.division(max(1, divisor))),
    )


def catalogue(dtype: np.dtype) -> dict[str, target.Kernel]:
    """Return every kernel of this module for one dtype, by name: what the compile gate walks."""
    passes = {"forward": FORWARD, "grad_input": GRAD_INPUT, "grad_weight": GRAD_WEIGHT}
    kernels = {"add_splits": add_splits(dtype), "sum_planes": sum_planes(dtype)}
    for name, which in passes.items():
        kernels[f"{name}, large tile"] = gemm(which, dtype, LARGE_TILE[dtype.itemsize])
        kernels[f"{name}, small tile"] = gemm(which, dtype, SMALL_TILE[dtype.itemsize])
        for chosen, tiles in TENSOR_TILES.items() if dtype.itemsize == 4 else ():
            for size, tile in zip(("small", "large"), tiles, strict=True):
                if chosen not in target.HALVES:
                    kernels[f"{name}, {chosen}, {size} tile"] = pipelined(which, tile, chosen)
                    continue
                kernels[f"{name}, {chosen}, {size} tile"] = gemm(which, BITS, tile, chosen)
                if which is GRAD_WEIGHT:
                    kernels[f"{name}, {chosen}, {size} tile, split"] = gemm(which, BITS, tile, chosen, dtype)
    kernels["forward, direct"] = direct(FORWARD, dtype)
    kernels["grad_input, direct"] = direct(GRAD_INPUT, dtype)
    kernels["grad_weight, reduce"] = reduce(GRAD_WEIGHT, dtype)
    return kernels
