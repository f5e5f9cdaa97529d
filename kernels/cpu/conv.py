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
implied by the extents of the output. The plans (boxes, layouts, tables of offsets) are made in `conv_plan.py`.
"""

from functools import lru_cache
from typing import NamedTuple

import numba
import numpy as np

from ..jit import njit
from .conv_choice import Algorithm, choose, choose_grad_weight
from .conv_plan import Convolution, Plan, gather_of, plan_forward, plan_grad_input, plan_grad_weight
from .ranges import RangeKernel
from .sharing import add_chunks_range, part, workspace, zero
from .simd import (
    dot_block,
    dot_blocks,
    gemm_block,
    gemm_blocks,
    movers,
    pack_panel,
    pack_plane,
    write_plane,
)

SERIAL_FLOPS = 2e6
"""Up to this many floating-point operations one thread is faster than several."""


class Tables(NamedTuple):
    """The integer arrays of a plan, and the addresses of the vector code, as the kernels take them."""

    numbers: np.ndarray
    residues: np.ndarray
    offsets: np.ndarray
    segments: np.ndarray
    kernel_taps: np.ndarray
    blocks: np.ndarray
    mover: np.ndarray


class Box(NamedTuple):
    """A box of outputs: where it begins and how many there are in it."""

    image: int
    depth: int
    height: int
    width: int
    images: int
    depths: int
    heights: int
    widths: int


@njit
def _box(gather, index):
    """Return one of the boxes of a gather."""
    axis_d, axis_h, axis_w = gather.depth, gather.height, gather.width
    boxes_d = (axis_d.outputs + axis_d.box - 1) // axis_d.box
    boxes_h = (axis_h.outputs + axis_h.box - 1) // axis_h.box
    boxes_w = (axis_w.outputs + axis_w.box - 1) // axis_w.box
    rest, width = index // boxes_w, index % boxes_w * axis_w.box
    rest, height = rest // boxes_h, rest % boxes_h * axis_h.box
    image, depth = rest // boxes_d * gather.box_images, rest % boxes_d * axis_d.box
    return Box(
        image,
        depth,
        height,
        width,
        min(gather.box_images, gather.images - image),
        min(axis_d.box, axis_d.outputs - depth),
        min(axis_h.box, axis_h.outputs - height),
        min(axis_w.box, axis_w.outputs - width),
    )


@njit
def _inside(axis, start, residue):
    """Return the source position of index 0 of a box of the phase grid, and the indices that lie in the source."""
    position = (start + axis.first) * axis.step + residue
    low = min(max(0, -(position // axis.step)), axis.extent)
    high = min(max(low, -((position - axis.source) // axis.step)), axis.extent)
    return position, low, high


@njit
def _pack_source(tables, gather, box, source, first_channel, channels, x):
    """Pack what the outputs of a box read from some channels of the source into x.

    Layout: [channel][phase d, h, w][image][d][h][w]; zeros wherever the source has nothing.
    """
    axis_d, axis_h, axis_w = gather.depth, gather.height, gather.width
    plane = axis_h.source * axis_w.source
    for c in range(channels):
        at = c * gather.channel_pitch
        for phase in range(axis_d.phases * axis_h.phases * axis_w.phases):
            rest, phase_w = phase // axis_w.phases, phase % axis_w.phases
            phase_d, phase_h = rest // axis_h.phases, rest % axis_h.phases
            d, low_d, high_d = _inside(axis_d, box.depth, tables.residues[0, phase_d])
            h, low_h, high_h = _inside(axis_h, box.height, tables.residues[1, phase_h])
            w, low_w, high_w = _inside(axis_w, box.width, tables.residues[2, phase_w])
            for n in range(gather.box_images):
                channel = (box.image + n) * source.shape[1] + first_channel + c
                start = (channel * axis_d.source + d) * plane + h * axis_w.source + w
                for y in range(axis_d.extent):
                    pack_plane(
                        tables.mover,
                        x,
                        at,
                        gather.row_pitch,
                        axis_h.extent,
                        source,
                        start + y * axis_d.step * plane,
                        axis_h.step * axis_w.source,
                        axis_w.step,
                        low_h,
                        high_h if n < box.images and low_d <= y < high_d else low_h,
                        low_w,
                        high_w,
                    )
                    at += gather.plane_pitch
        zero(x[at : (c + 1) * gather.channel_pitch])
    zero(x[channels * gather.channel_pitch : gather.x_size])


@njit
def _write_target(tables, gather, box, v, target, first_row, rows, bias):
    """Write V, plus bias, to a box of the target, and leave its junk behind."""
    axis_d, axis_h, axis_w = gather.depth, gather.height, gather.width
    _, channels, target_d, target_h, target_w = target.shape
    h = axis_h.target_first + axis_h.target_step * box.height
    w = axis_w.target_first + axis_w.target_step * box.width
    for r in range(rows):
        for n in range(box.images):
            for y in range(box.depths):
                d = axis_d.target_first + axis_d.target_step * (box.depth + y)
                plane = ((box.image + n) * channels + first_row + r) * target_d + d
                write_plane(
                    tables.mover,
                    v,
                    r * gather.v_pitch + n * gather.v_image_pitch + y * gather.v_plane_pitch,
                    gather.v_row_pitch,
                    box.heights,
                    box.widths,
                    target,
                    (plane * target_h + h) * target_w + w,
                    axis_h.target_step * target_w,
                    axis_w.target_step,
                    bias[first_row + r],
                )


def _panels_range(tables, weight, transposed, panels, begin, end):
    """Pack a range of panels of the weight: [group][channel block][panel][channel, tap][row].

    `weight` is (rows, channels, taps...) per group, or (channels, rows, taps...) where `transposed`.
    """
    gather = gather_of(tables.numbers)
    rows, channels, taps = gather.rows, gather.channels, gather.taps
    kernel = weight.shape[2] * weight.shape[3] * weight.shape[4]
    row_pitch, channel_pitch = (kernel, rows * kernel) if transposed else (channels * kernel, kernel)
    for unit in range(begin, end):
        group, panel = unit // gather.panels, unit % gather.panels
        row, panel_rows = part(panel, rows, gather.panels)
        for channel in range(0, channels, gather.channel_block):
            count = min(gather.channel_block, channels - channel)
            pack_panel(
                tables.mover,
                panels,
                ((group * channels + channel) * rows + row * count) * taps,
                weight,
                group * rows * channels * kernel + row * row_pitch + channel * channel_pitch,
                panel_rows,
                row_pitch,
                count,
                channel_pitch,
                tables.kernel_taps,
                taps,
            )


@njit
def _gather_block(tables, gather, panels, panels_at, terms, x, v, first_panel, last_panel, accumulate):
    """Multiply a range of weight panels with a packed box: `v (+)= panels @ X`."""
    vectors = gather.segment_vectors
    tiles = (vectors + gather.max_vectors - 1) // gather.max_vectors
    top_row = part(first_panel, gather.rows, gather.panels)[0]
    for segment in range(tables.segments.size):
        for tile in range(tiles):
            start, tile_vectors = part(tile, vectors, tiles)
            q = start * gather.lanes
            for panel in range(first_panel, last_panel):
                row, rows = part(panel, gather.rows, gather.panels)
                gemm_block(
                    tables.blocks[rows - 1, tile_vectors - 1],
                    panels,
                    panels_at + row * terms,
                    1,
                    rows,
                    x,
                    tables.segments[segment] + q,
                    tables.offsets,
                    terms,
                    v,
                    (row - top_row) * gather.v_pitch + segment * vectors * gather.lanes + q,
                    gather.v_pitch,
                    accumulate,
                )


@njit
def _gather_tasks(first, last, tables, source, panels, bias, target, scratch):
    """Compute tasks first..last; a task is a box of the target for a range of panels of one group."""
    gather = gather_of(tables.numbers)
    x, v = scratch[: gather.x_size], scratch[gather.x_size :]
    panel_ranges = (gather.panels + gather.row_block - 1) // gather.row_block
    for task in range(first, last):
        rest, panel_range = task // panel_ranges, task % panel_ranges
        box, group = _box(gather, rest // gather.groups), rest % gather.groups
        first_panel = panel_range * gather.row_block
        last_panel = min(first_panel + gather.row_block, gather.panels)
        first_row = part(first_panel, gather.rows, gather.panels)[0]
        last_row = part(last_panel, gather.rows, gather.panels)[0]
        for begin in range(0, max(1, gather.channels), gather.channel_block):
            channels = min(gather.channel_block, gather.channels - begin) if gather.taps else 0
            channel = group * gather.channels + begin
            _pack_source(tables, gather, box, source, channel, channels, x)
            panels_at = channel * gather.rows * gather.taps
            terms = channels * gather.taps
            _gather_block(tables, gather, panels, panels_at, terms, x, v, first_panel, last_panel, begin)
        first_target = group * gather.rows + first_row
        _write_target(tables, gather, box, v, target, first_target, last_row - first_row, bias)


def _gather_range(tasks, tables, source, panels, bias, target, scratch, begin, end):
    """Compute the tasks of a range of workers, each of which has a row of scratch memory."""
    for worker in range(begin, end):
        first, count = part(worker, tasks, scratch.shape[0])
        _gather_tasks(first, first + count, tables, source, panels, bias, target, scratch[worker])


_pack_panels = RangeKernel(_panels_range, parallel_work=2)
_gather = RangeKernel(_gather_range, parallel_work=2)


def _tables(plan: Plan, blocks: np.ndarray, dtype: np.dtype) -> Tables:
    """Return the tables of a plan with the blocks that it needs."""
    return Tables(plan.numbers, plan.residues, plan.offsets, plan.segments, plan.kernel_taps, blocks, movers(dtype))


@lru_cache(maxsize=1024)
def _prepare_forward(convolution: Convolution, dtype: np.dtype, workers: int) -> tuple[Plan, Tables]:
    """Return the plan of a forward pass and its tables."""
    plan = plan_forward(convolution, workers)
    return plan, _tables(plan, gemm_blocks(dtype), dtype)


@lru_cache(maxsize=1024)
def _prepare_grad_input(convolution: Convolution, dtype: np.dtype, workers: int) -> list[tuple[Plan, Tables]]:
    """Return the plans of a gradient of the input, one for each stride phase, and their tables."""
    return [(plan, _tables(plan, gemm_blocks(dtype), dtype)) for plan in plan_grad_input(convolution, workers)]


@lru_cache(maxsize=1024)
def _prepare_grad_weight(convolution: Convolution, dtype: np.dtype, workers: int) -> tuple[Plan, Tables]:
    """Return the plan of a gradient of the weight and its tables."""
    plan = plan_grad_weight(convolution, workers)
    return plan, _tables(plan, dot_blocks(dtype), dtype)


def _run_gather(plan: Plan, tables: Tables, source, weight, transposed: bool, bias, target) -> None:
    """Run a planned offset GEMM."""
    gather, dtype = plan.gather, source.dtype
    bias = np.zeros(target.shape[1], dtype) if bias is None else bias
    units = gather.groups * gather.panels
    panels = workspace.get("panels", 1, gather.groups * gather.rows * gather.channels * gather.taps, dtype)[0]
    scratch = workspace.get("scratch", plan.workers, plan.scratch, dtype)
    _pack_panels(units, plan.workers, tables, weight, transposed, panels)
    _gather(plan.workers, plan.workers, plan.tasks, tables, source, panels, bias, target, scratch)


def _workers(flops: float) -> int:
    """Return how many threads a launch should use."""
    return 1 if flops < SERIAL_FLOPS else numba.get_num_threads()


def _convolution(input, output, kernel_size, stride, padding, dilation, groups):
    """Return the description of a convolution and its arrays, with extents merged where no kernel reaches across.

    A pointwise convolution is one long row: no row ends, so no junk.
    """
    options = tuple(kernel_size), tuple(stride), tuple(padding), tuple(dilation)
    if options[:3] == ((1, 1, 1), (1, 1, 1), (0, 0, 0)) and input.shape[2:] == output.shape[2:]:
        input, output = (array.reshape(*array.shape[:2], 1, 1, array[0, 0].size) for array in (input, output))
    return Convolution(input.shape, output.shape, *options, groups, input.itemsize), input, output


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
    convolution, input, output = _convolution(input, output, weight.shape[2:], stride, padding, dilation, groups)
    workers = _workers(2.0 * output.size * weight[0].size)
    algorithm = choose(convolution)
    if algorithm is Algorithm.DEPTHWISE:
        from . import depthwise  # modules of vector code are loaded, and compiled, when a shape needs them

        depthwise.convolve(depthwise.plan_forward(convolution, input.dtype), input, weight, bias, output, workers)
        return
    if algorithm is Algorithm.WINOGRAD:
        from . import winograd

        if winograd.convolve(convolution, input, weight, False, bias, output, workers):
            return
    if algorithm is Algorithm.POSITION_GEMM:
        from . import position_gemm

        position_gemm.convolve(convolution, input, weight, False, bias, output, workers)
        return
    plan, tables = _prepare_forward(convolution, input.dtype, workers)
    _run_gather(plan, tables, input, weight, False, bias, output)


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
    convolution, grad_input, grad_output = _convolution(
        grad_input, grad_output, weight.shape[2:], stride, padding, dilation, groups
    )
    workers = _workers(2.0 * grad_output.size * weight[:1].size)
    algorithm = choose(convolution, grad_input=True)
    if algorithm is Algorithm.DEPTHWISE:
        from . import depthwise

        plan = depthwise.plan_grad_input(convolution, grad_output.dtype)
        depthwise.convolve(plan, grad_output, weight, bias, grad_input, workers)
        return
    if algorithm is Algorithm.WINOGRAD:
        from . import winograd

        if winograd.convolve(convolution, grad_output, weight, True, bias, grad_input, workers):
            return
    if algorithm is Algorithm.POSITION_GEMM:
        from . import position_gemm

        position_gemm.convolve(convolution, grad_output, weight, True, bias, grad_input, workers)
        return
    for plan, tables in _prepare_grad_input(convolution, grad_output.dtype, workers):
        _run_gather(plan, tables, grad_output, weight, True, bias, grad_input)


@njit
def _pack_gradient(tables, gather, box, grad_output, first_row, rows, g):
    """Pack a box of the gradient of the output into the layout of V, with zeros in the junk."""
    axis_d, axis_h, axis_w = gather.depth, gather.height, gather.width
    for r in range(rows):
        zero(g[r * gather.v_pitch : (r + 1) * gather.v_pitch])
        for n in range(box.images):
            for y in range(box.depths):
                plane = ((box.image + n) * grad_output.shape[1] + first_row + r) * axis_d.outputs + box.depth + y
                pack_plane(
                    tables.mover,
                    g,
                    r * gather.v_pitch + n * gather.v_image_pitch + y * gather.v_plane_pitch,
                    gather.v_row_pitch,
                    box.heights,
                    grad_output,
                    (plane * axis_h.outputs + box.height) * axis_w.outputs + box.width,
                    axis_w.outputs,
                    1,
                    0,
                    box.heights,
                    0,
                    box.widths,
                )


@njit(fastmath={"contract", "reassoc", "nsz"})
def _all_finite(values):
    """Tell whether no value is NaN or infinite: their products with zero add up to zero."""
    total = values.dtype.type(0)
    for i in range(values.size):
        total += values[i] * values.dtype.type(0)
    return total == 0


@njit
def _dot_exactly(tables, gather, box, g, x, rows, terms, out, out_at, out_pitch):
    """Add the products along q without the junk columns: for sources with NaN or infinity, which zeros do not stop."""
    for r in range(rows):
        for k in range(terms):
            total = x.dtype.type(0)
            for n in range(box.images):
                for y in range(box.depths):
                    for z in range(box.heights):
                        q = n * gather.image_pitch + y * gather.plane_pitch + z * gather.row_pitch
                        v = n * gather.v_image_pitch + y * gather.v_plane_pitch + z * gather.v_row_pitch
                        left = g[r * gather.v_pitch + v :][: box.widths]
                        right = x[tables.offsets[k] + q :][: box.widths]
                        for i in range(box.widths):
                            total += left[i] * right[i]
            out[out_at + r * out_pitch + k] += total


@njit
def _dot_tiles(tables, gather, g, x, rows, terms, out, out_at, out_pitch):
    """Add the products along q of all pairs of rows and terms to out."""
    row_tiles = (rows + tables.blocks.shape[0] - 1) // tables.blocks.shape[0]
    term_tiles = (terms + tables.blocks.shape[1] - 1) // tables.blocks.shape[1]
    for row_tile in range(row_tiles):
        row, tile_rows = part(row_tile, rows, row_tiles)
        for term_tile in range(term_tiles):
            term, tile_terms = part(term_tile, terms, term_tiles)
            dot_block(
                tables.blocks[tile_rows - 1, tile_terms - 1],
                g,
                row * gather.v_pitch,
                gather.v_pitch,
                x,
                tables.offsets,
                term,
                tables.segments,
                gather.segment_vectors,
                out,
                out_at + row * out_pitch + term,
                out_pitch,
            )


@njit
def _grad_weight_tasks(first, last, tables, source, grad_output, partial, scratch):
    """Compute tasks first..last; a task sums one block of rows and channels of a group over one chunk of boxes."""
    gather = gather_of(tables.numbers)
    x, g = scratch[: gather.x_size], scratch[gather.x_size :]
    row_blocks = (gather.rows + gather.row_block - 1) // gather.row_block
    channel_blocks = (gather.channels + gather.channel_block - 1) // gather.channel_block
    out_pitch = gather.channels * gather.taps
    for task in range(first, last):
        rest, row = task // row_blocks, task % row_blocks * gather.row_block
        rest, channel = rest // channel_blocks, rest % channel_blocks * gather.channel_block
        chunk, group = rest // gather.groups, rest % gather.groups
        rows = min(gather.row_block, gather.rows - row)
        channels = min(gather.channel_block, gather.channels - channel)
        terms = channels * gather.taps
        out = partial[chunk]
        out_at = (group * gather.rows + row) * out_pitch + channel * gather.taps
        for r in range(rows):
            zero(out[out_at + r * out_pitch : out_at + r * out_pitch + terms])
        first_box, box_count = part(chunk, gather.boxes, gather.chunks)
        for index in range(first_box, first_box + box_count):
            box = _box(gather, index)
            _pack_source(tables, gather, box, source, group * gather.channels + channel, channels, x)
            _pack_gradient(tables, gather, box, grad_output, group * gather.rows + row, rows, g)
            if _all_finite(x):
                _dot_tiles(tables, gather, g, x, rows, terms, out, out_at, out_pitch)
            else:
                _dot_exactly(tables, gather, box, g, x, rows, terms, out, out_at, out_pitch)


def _grad_weight_range(tasks, tables, source, grad_output, partial, scratch, begin, end):
    """Compute the tasks of a range of workers, each of which has a row of scratch memory."""
    for worker in range(begin, end):
        first, count = part(worker, tasks, scratch.shape[0])
        _grad_weight_tasks(first, first + count, tables, source, grad_output, partial, scratch[worker])


_grad_weight = RangeKernel(_grad_weight_range, parallel_work=2)

add_chunks = RangeKernel(add_chunks_range, parallel_work=2)


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
    convolution, input, grad_output = _convolution(
        input, grad_output, grad_weight.shape[2:], stride, padding, dilation, groups
    )
    dtype, total = input.dtype, grad_weight.reshape(-1)
    workers = _workers(2.0 * grad_output.size * grad_weight[0].size)
    algorithm = choose_grad_weight(convolution)
    if algorithm is Algorithm.DEPTHWISE:
        from . import depthwise

        plan = depthwise.plan_forward(convolution, dtype)
        depthwise.grad_weight(plan, input, grad_output, grad_weight, workers)
        return
    if algorithm is Algorithm.WEIGHT_GEMM:
        from . import weight_gemm

        weight_gemm.grad_weight(convolution, grad_output, input, grad_weight, workers)
        return
    plan, tables = _prepare_grad_weight(convolution, dtype, workers)
    partial = workspace.get("partial", plan.gather.chunks, total.size, dtype)
    scratch = workspace.get("scratch", plan.workers, plan.scratch, dtype)
    _grad_weight(plan.workers, plan.workers, plan.tasks, tables, input, grad_output, partial, scratch)
    add_chunks(total.size, plan.workers, partial, total)


@njit(fastmath={"contract", "reassoc", "nsz"})
def _sum(values):
    """Return the sum of a row; lanes are added in an order that depends on its length alone."""
    total = values.dtype.type(0)
    for i in range(values.size):
        total += values[i]
    return total


def _sum_channels_range(grad_output, grad_bias, begin, end):
    """Sum a range of channels of (N, O, positions): positions first, then images in order."""
    for o in range(begin, end):
        total = grad_output.dtype.type(0)
        for n in range(grad_output.shape[0]):
            total += _sum(grad_output[n, o])
        grad_bias[o] = total


_sum_channels = RangeKernel(_sum_channels_range, parallel_work=SERIAL_FLOPS)


def conv_grad_bias(grad_output, grad_bias) -> None:
    """Write the sum of `grad_output` (N, O, oD, oH, oW) over all dimensions but the second to `grad_bias` (O,)."""
    rows = grad_output.reshape(*grad_output.shape[:2], int(np.prod(grad_output.shape[2:])))
    _sum_channels(grad_bias.size, 8 * grad_output.size, rows, grad_bias)
