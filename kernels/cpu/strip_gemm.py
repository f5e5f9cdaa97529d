"""Matrix products, single or in stacks, strip by strip: output = a b.

A unit of work is a strip of a few vectors of columns of the output, in a block of its rows. For a block of terms the
strip of b is packed, so that it lies in the first-level cache, and meets the rows of a, which stay in the second while
a thread goes from strip to strip. Rows of a are read where they lie, unless there are so many strips that it pays to
pack them as panels (rows that are powers of two apart push each other out of the cache), or a is transposed. The terms
of an element are added in order, whatever the number of threads.
"""

from typing import NamedTuple

import numpy as np
from nbtorch.kernels.cpu.ranges import RangeKernel
from nbtorch.kernels.cpu.sharing import part
from nbtorch.kernels.cpu.simd import gemm_block, gemm_blocks, host_simd, movers, pack_panel, transpose
from nbtorch.kernels.jit import njit

PARALLEL_PRODUCTS = 1 << 19
"""Multiplications above which a product takes longer than waking the threads."""

ROW_BLOCK, TERM_BLOCK = 192, 256
"""Rows and terms of a block of a: 192 KiB in float32. A packed strip takes 16 KiB."""


PACKED_STRIPS = 24
"""From so many strips on packing the rows of a pays."""


class Shape(NamedTuple):
    """Extents and strides, in elements, and how the product is cut."""

    rows: int
    terms: int
    columns: int
    a_stack: int
    a_row: int
    a_term: int
    b_stack: int
    b_term: int
    b_column: int
    lanes: int
    block_rows: int
    """The most rows of a GEMM block."""
    block_vectors: int
    """Vectors of a GEMM block of so many rows."""


def matmul(a, b, output) -> None:
    """Write the products of `a` (count, n, m) and `b` (count, m, p) to the C-contiguous `output`; all extents positive.

    The factors are float32 or float64 in any layout; where rows, or columns, lie without gaps, they are not copied.
    """
    simd, (count, rows, columns) = host_simd(), output.shape
    flat_a, a_strides = _flat(a)
    flat_b, b_strides = _flat(b)
    vectors = simd.vectors_for(simd.rows)
    lanes = simd.lanes(output.dtype)
    shape = Shape(rows, a.shape[2], columns, *a_strides, *b_strides, lanes, simd.rows, vectors)
    units = count * -(-rows // ROW_BLOCK) * -(-columns // (lanes * vectors))
    tables = gemm_blocks(output.dtype, True), gemm_blocks(output.dtype, False), movers(output.dtype)
    _strips(units, output.size * a.shape[2], np.array(shape), *tables, flat_a, flat_b, output.reshape(-1))


def _flat(stack):
    """Return the elements of a stack of matrices as a flat array, and its strides there; equal matrices lie once."""
    one = stack.strides[0] == 0
    matrices = stack[:1] if one else stack
    turned = matrices.swapaxes(1, 2)
    if not matrices.flags.c_contiguous and turned.flags.c_contiguous:
        step, rows, columns = turned.shape[1] * turned.shape[2], 1, turned.shape[2]
        flat = turned.reshape(-1)
    else:
        step, rows, columns = matrices.shape[1] * matrices.shape[2], matrices.shape[2], 1
        flat = np.ascontiguousarray(matrices).reshape(-1)
    return flat, (0 if one else step, rows, columns)


@njit
def multiply(
    gemm, shape, rows, vectors, a, a_at, row_pitch, term_pitch, x, x_at, offsets, terms, out, out_at, out_pitch, adding
):
    """Write (or add) the products of rows of `a` with vectors of `x`: see `simd.define_gemm_block`.

    `shape` says what a block of the table `gemm` holds: `block_rows`, `block_vectors` and `lanes`.
    """
    panels = -(-rows // shape.block_rows)
    for panel in range(panels):
        row, count = part(panel, rows, panels)
        for vector in range(0, vectors, shape.block_vectors):
            column, width = vector * shape.lanes, min(shape.block_vectors, vectors - vector)
            gemm_block(
                gemm[count - 1, width - 1],
                *(a, a_at + row * row_pitch, row_pitch, term_pitch),
                *(x, x_at + column, offsets, terms),
                *(out, out_at + row * out_pitch + column, out_pitch, adding),
            )


@njit
def _pack_strip(mover, shape, b, start, terms, columns, width, strip):
    """Copy some columns of b, [term][column], with zeros behind them."""
    if columns < width:
        strip[: terms * width] = 0
    if shape.b_column != 1:
        transpose(mover, strip, 0, width, b, start, shape.b_column, columns, terms)
        return
    for t in range(terms):
        source, target = b[start + t * shape.b_term :][:columns], strip[t * width :][:columns]
        for i in range(columns):
            target[i] = source[i]


@njit
def _pack_rows(mover, shape, a, start, rows, terms, zero, packed):
    """Copy rows of a as panels, [panel][term][row]."""
    panels = -(-rows // shape.block_rows)
    if shape.a_row == 1:
        for t in range(terms):
            source = a[start + t * shape.a_term :][:rows]
            for panel in range(panels):
                row, count = part(panel, rows, panels)
                for r in range(count):
                    packed[row * terms + t * count + r] = source[row + r]
        return
    for panel in range(panels):
        row, count = part(panel, rows, panels)
        pack_panel(
            mover, packed, row * terms, a, start + row * shape.a_row, count, shape.a_row, terms, shape.a_term, zero, 1
        )


@njit
def _multiply_packed(gemm, shape, rows, packed, strip, offsets, terms, out, out_at, out_pitch, adding):
    """Write (or add) the products of packed rows with a strip."""
    panels = -(-rows // shape.block_rows)
    for panel in range(panels):
        row, count = part(panel, rows, panels)
        gemm_block(
            gemm[count - 1, shape.block_vectors - 1],
            *(packed, row * terms, 1, count, strip, 0, offsets, terms),
            *(out, out_at + row * out_pitch, out_pitch, adding),
        )


def _strip_range(numbers, packed_gemm, gemm, mover, a, b, out, begin, end):
    n = numbers
    shape = Shape(n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], n[8], n[9], n[10], n[11])
    width = shape.lanes * shape.block_vectors
    strips, blocks = -(-shape.columns // width), -(-shape.rows // ROW_BLOCK)
    strip, rest = np.empty(TERM_BLOCK * width, out.dtype), np.empty(ROW_BLOCK * width, out.dtype)
    packs = shape.a_term != 1 or strips >= PACKED_STRIPS
    packed = np.empty(ROW_BLOCK * TERM_BLOCK if packs else 0, out.dtype)
    offsets, zero = np.empty(TERM_BLOCK, np.int64), np.zeros(1, np.int64)
    for i in range(TERM_BLOCK):
        offsets[i] = i * width
    at = begin
    while at < end:
        place, first = at // strips, at % strips
        last = min(strips, first + end - at)
        at += last - first
        matrix, row = place // blocks, place % blocks * ROW_BLOCK
        rows = min(ROW_BLOCK, shape.rows - row)
        out_at = (matrix * shape.rows + row) * shape.columns
        for term in range(0, shape.terms, TERM_BLOCK):
            terms = min(TERM_BLOCK, shape.terms - term)
            a_at = matrix * shape.a_stack + row * shape.a_row + term * shape.a_term
            if packs:
                _pack_rows(mover, shape, a, a_at, rows, terms, zero, packed)
            for number in range(first, last):
                column = number * width
                columns = min(width, shape.columns - column)
                b_at = matrix * shape.b_stack + term * shape.b_term + column * shape.b_column
                _pack_strip(mover, shape, b, b_at, terms, columns, width, strip)
                whole = columns == width
                target, target_at, pitch = (out, out_at + column, shape.columns) if whole else (rest, 0, width)
                if packs:
                    _multiply_packed(
                        packed_gemm, shape, rows, packed, strip, offsets, terms, target, target_at, pitch, term
                    )
                else:
                    multiply(
                        *(gemm, shape, rows, shape.block_vectors, a, a_at, shape.a_row, 1),
                        *(strip, 0, offsets, terms, target, target_at, pitch, term),
                    )
                if not whole and term + terms == shape.terms:
                    for r in range(rows):
                        line, source = out[out_at + r * shape.columns + column :][:columns], rest[r * width :][:columns]
                        for i in range(columns):
                            line[i] = source[i]


_strips = RangeKernel(_strip_range, PARALLEL_PRODUCTS)
