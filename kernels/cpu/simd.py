"""Vector blocks: the innermost loops of the convolutions, written as LLVM code through llvmlite.

Two blocks of arithmetic, each in a few shapes that keep all accumulators in registers:

- the **offset GEMM block** multiplies a panel of `rows` weights per step by `vectors` vectors that it reads, unaligned,
  at an offset from a table: `V[r, q] (+)= sum_k panel[k, r] * X[offsets[k] + q]`;
- the **offset dot block** sums products along q: `out[r, t] (+)= sum_q G[r, q] * X[offsets[t] + q]`;

and four movers between arrays and the layouts that these read: `pack_plane`, `write_plane`, `pack_panel`, `transpose`.

The shapes follow the processor: vector width and number of registers, found by `host_simd()`. `NBTORCH_SIMD` (avx512,
avx2, neon or generic) overrides the choice, which is how the other shapes are tested. All blocks of a dtype are
compiled once, by `gemm_blocks`, `dot_blocks` and `movers`, and reached by address: kernels that use them stay small.
"""

import os
import platform
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic

from ..jit import njit

INDEX = ir.IntType(64)


class Simd(NamedTuple):
    """What the blocks need to know of a processor."""

    name: str
    vector_bytes: int
    accumulators: int
    """How many vector registers may hold sums; the others hold operands."""
    rows: int
    """The most rows of a GEMM block."""
    dot_rows: int
    dot_taps: int
    """The most rows and taps of a dot block; their product is at most `accumulators`."""
    vectors: int = 6
    """The most vectors per row of a GEMM block."""

    def lanes(self, dtype: np.dtype) -> int:
        """Return how many elements of a dtype one vector holds."""
        return self.vector_bytes // np.dtype(dtype).itemsize

    def vectors_for(self, rows: int) -> int:
        """Return the most vectors that a GEMM block of so many rows can hold in registers."""
        return min(self.vectors, self.accumulators // rows)


KINDS = {
    "avx512": Simd("avx512", vector_bytes=64, accumulators=24, rows=8, dot_rows=4, dot_taps=6),
    "avx2": Simd("avx2", vector_bytes=32, accumulators=12, rows=6, dot_rows=3, dot_taps=4),
    "neon": Simd("neon", vector_bytes=16, accumulators=24, rows=8, dot_rows=4, dot_taps=6),
    "generic": Simd("generic", vector_bytes=16, accumulators=12, rows=6, dot_rows=3, dot_taps=4),
}


def _host_features() -> set[str]:
    """Return the processor features that Numba compiles for, as LLVM names them."""
    if config.CPU_FEATURES is not None:
        names = [name[1:] for name in config.CPU_FEATURES.split(",") if name.startswith("+")]
    else:
        names = [name for name, present in binding.get_host_cpu_features().items() if present]
    return {name for name in names if config.ENABLE_AVX or not name.startswith("avx")}


@cache
def host_simd() -> Simd:
    """Return the block shapes for this processor, or those that `NBTORCH_SIMD` names."""
    chosen = os.environ.get("NBTORCH_SIMD")
    if chosen:
        if chosen not in KINDS:
            raise ValueError(f"NBTORCH_SIMD must be one of {', '.join(KINDS)}, got {chosen!r}")
        return KINDS[chosen]
    if platform.machine().lower() in ("arm64", "aarch64"):
        return KINDS["neon"]
    features = _host_features()
    if "avx512f" in features:
        return KINDS["avx512"]
    return KINDS["avx2"] if {"avx2", "fma"} <= features else KINDS["generic"]


def element_type(dtype: np.dtype) -> ir.Type:
    """Return the LLVM type of an element: float or double."""
    return {4: ir.FloatType(), 8: ir.DoubleType()}[np.dtype(dtype).itemsize]


class Emitter:
    """Shorthands for the vector instructions of one block."""

    def __init__(self, builder: ir.IRBuilder, element: ir.Type, lanes: int) -> None:
        self.builder = builder
        self.element = element
        self.lanes = lanes
        self.align = 4 if isinstance(element, ir.FloatType) else 8
        self.vector = ir.VectorType(element, lanes)
        suffix = f"v{lanes}f{8 * self.align}"
        name = f"llvm.fmuladd.{suffix}"
        signature = ir.FunctionType(self.vector, [self.vector] * 3)
        self._fma = cgutils.get_or_insert_function(builder.module, signature, name)

    def fma(self, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
        """Emit a * b + c, fused where the processor can."""
        return self.builder.call(self._fma, [a, b, c])

    def load(self, pointer: ir.Value, offset: ir.Value) -> ir.Value:
        """Emit an unaligned vector load."""
        address = self.builder.gep(pointer, [offset])
        return self.builder.load(self.builder.bitcast(address, self.vector.as_pointer()), align=self.align)

    def store(self, value: ir.Value, pointer: ir.Value, offset: ir.Value) -> None:
        """Emit an unaligned vector store."""
        address = self.builder.gep(pointer, [offset])
        self.builder.store(value, self.builder.bitcast(address, self.vector.as_pointer()), align=self.align)

    def broadcast(self, pointer: ir.Value, offset: ir.Value) -> ir.Value:
        """Emit a load of one element into every lane."""
        return self.splat(self.builder.load(self.builder.gep(pointer, [offset]), align=self.align))

    def splat(self, value: ir.Value) -> ir.Value:
        """Emit a scalar in every lane."""
        vector = ir.VectorType(value.type, self.lanes)
        undefined = ir.Constant(vector, ir.Undefined)
        single = self.builder.insert_element(undefined, value, ir.IntType(32)(0))
        lanes = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(single, undefined, lanes)

    def constant(self, value: float) -> ir.Value:
        """Return a number in every lane."""
        value = float(np.float32(value)) if isinstance(self.element, ir.FloatType) else value
        return ir.Constant(self.vector, [self.element(value)] * self.lanes)

    def zeros(self) -> ir.Value:
        """Return a vector of zeros."""
        return self.constant(0.0)

    def evens(self, a: ir.Value, b: ir.Value) -> ir.Value:
        """Emit every second lane of two vectors."""
        lanes = [2 * lane for lane in range(self.lanes)]
        return self.builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), lanes))

    def lane_numbers(self) -> ir.Value:
        """Return the vector 0, 1, 2, ... of integers as wide as the elements."""
        integer = ir.IntType(8 * self.align)
        return ir.Constant(ir.VectorType(integer, self.lanes), list(range(self.lanes)))

    def between(self, index: ir.Value, low: ir.Value, high: ir.Value) -> ir.Value:
        """Emit the mask of lanes with `low <= index + lane < high`, for 64-bit integers."""
        integer = ir.IntType(8 * self.align)
        narrow = self.builder.trunc if integer.width < 64 else lambda value, _: value
        shifted = self.builder.add(self.lane_numbers(), self.splat(narrow(self.builder.sub(index, low), integer)))
        return self.builder.icmp_unsigned("<", shifted, self.splat(narrow(self.builder.sub(high, low), integer)))

    def masked_store(self, value: ir.Value, pointer: ir.Value, offset: ir.Value, mask: ir.Value) -> None:
        """Emit an unaligned store of the lanes in a mask."""
        builder = self.builder
        place = builder.bitcast(builder.gep(pointer, [offset]), self.vector.as_pointer())
        signature = ir.FunctionType(ir.VoidType(), [self.vector, place.type, ir.IntType(32), mask.type])
        name = f"llvm.masked.store.v{self.lanes}f{8 * self.align}.p0"
        store = cgutils.get_or_insert_function(builder.module, signature, name)
        builder.call(store, [value, place, ir.IntType(32)(self.align), mask])

    def horizontal_sums(self, values: list[ir.Value]) -> list[ir.Value]:
        """Emit the sums of all lanes of each vector, as scalars.

        Two vectors side by side are runs of `width` lanes; adding the odd runs to the even ones folds them into one
        vector. So 16 vectors of 16 lanes take 15 additions, where one after the other they would take 64.
        """
        builder, width = self.builder, self.lanes
        vectors = [*values, *[self.zeros()] * (-len(values) % self.lanes)]
        while width > 1:
            width //= 2
            even = [2 * lane - lane % width for lane in range(self.lanes)]
            runs = [
                ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), [lane + start for lane in even])
                for start in (0, width)
            ]
            vectors = [
                builder.fadd(*(builder.shuffle_vector(*pair, run) for run in runs))
                for pair in zip(vectors[::2], vectors[1::2], strict=True)
            ]
        sums = [builder.extract_element(v, ir.IntType(32)(lane)) for v in vectors for lane in range(self.lanes)]
        return sums[: len(values)]

    def transpose(self, vectors: list[ir.Value]) -> list[ir.Value]:
        """Emit the transpose of as many vectors as a vector has lanes.

        A perfect shuffle of the first half of the vectors with the second moves every element's row and lane one bit
        on; after log2(lanes) rounds the two have changed places.
        """
        builder, lanes = self.builder, self.lanes
        interleave = [lane // 2 + lane % 2 * lanes for lane in range(2 * lanes)]
        halves = [
            ir.Constant(ir.VectorType(ir.IntType(32), lanes), part) for part in (interleave[:lanes], interleave[lanes:])
        ]
        for _ in range(lanes.bit_length() - 1):
            pairs = zip(vectors[: lanes // 2], vectors[lanes // 2 :], strict=True)
            vectors = [builder.shuffle_vector(*pair, half) for pair in pairs for half in halves]
        return vectors

    def loop(
        self, count: ir.Value, sums: list[ir.Value], step: Callable[[ir.Value, list[ir.Value]], list[ir.Value]]
    ) -> list[ir.Value]:
        """Emit `for i in range(count): sums = step(i, sums)` with the sums in registers; return their last values."""
        builder = self.builder
        before = builder.block
        head, body, after = (builder.append_basic_block(name) for name in ("head", "body", "after"))
        builder.branch(head)
        builder.position_at_end(head)
        i = builder.phi(INDEX)
        i.add_incoming(INDEX(0), before)
        values = [builder.phi(self.vector) for _ in sums]
        for value, start in zip(values, sums, strict=True):
            value.add_incoming(start, before)
        builder.cbranch(builder.icmp_signed("<", i, count), body, after)
        builder.position_at_end(body)
        results = step(i, list(values))
        for value, result in zip(values, results, strict=True):
            value.add_incoming(result, builder.block)
        i.add_incoming(builder.add(i, INDEX(1)), builder.block)
        builder.branch(head)
        builder.position_at_end(after)
        return values


def new_function(module: ir.Module, name: str, parameters: list[ir.Type]) -> tuple[ir.Function, ir.IRBuilder]:
    """Add an empty void function to a module."""
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), parameters), name)
    function.attributes.add("nounwind")
    return function, ir.IRBuilder(function.append_basic_block("entry"))


def gemm_signature(element: ir.Type) -> list[ir.Type]:
    """Return the parameters of a GEMM block: a, row and term pitch, x, offsets, count, v, v_pitch, accumulate."""
    pointer = element.as_pointer()
    return [pointer, INDEX, INDEX, pointer, INDEX.as_pointer(), INDEX, pointer, INDEX, INDEX]


def define_gemm_block(
    module: ir.Module, name: str, dtype: np.dtype, lanes: int, rows: int, vectors: int, packed: bool = True
):
    """Add a GEMM block to a module.

    For k in range(count), r in range(rows) and q in range(vectors * lanes) it computes
    `v[r * v_pitch + q] = sum_k a[r * row_pitch + k * term_pitch] * x[offsets[k] + q]`, or adds that to v when
    `accumulate` is not 0. A block for `packed` panels takes the pitches to be 1 and `rows`, whatever it is given:
    constants in the addresses of the inner loop make it up to 5 % faster.
    """
    element = element_type(dtype)
    function, builder = new_function(module, name, gemm_signature(element))
    a, row_pitch, term_pitch, x, offsets, count, v, v_pitch, accumulate = function.args
    emit = Emitter(builder, element, lanes)
    if packed:
        row_pitch, term_pitch = INDEX(1), INDEX(rows)
    a_rows = [builder.mul(row_pitch, INDEX(r)) for r in range(rows)]

    def step(k: ir.Value, sums: list[ir.Value]) -> list[ir.Value]:
        offset = builder.load(builder.gep(offsets, [k]), align=8)
        source = builder.gep(x, [offset])
        columns = [emit.load(source, INDEX(i * lanes)) for i in range(vectors)]
        factors = builder.gep(a, [builder.mul(k, term_pitch)])
        results = []
        for r in range(rows):
            factor = emit.broadcast(factors, a_rows[r])
            results += [emit.fma(factor, column, sums[r * vectors + i]) for i, column in enumerate(columns)]
        return results

    def write(adding: bool) -> None:
        for r in range(rows):
            row = builder.gep(v, [builder.mul(v_pitch, INDEX(r))])
            for i in range(vectors):
                value = sums[r * vectors + i]
                if adding:
                    value = builder.fadd(value, emit.load(row, INDEX(i * lanes)))
                emit.store(value, row, INDEX(i * lanes))

    sums = emit.loop(count, [emit.zeros()] * (rows * vectors), step)
    with builder.if_else(builder.icmp_signed("!=", accumulate, INDEX(0))) as (then, otherwise):
        with then:
            write(adding=True)
        with otherwise:
            write(adding=False)
    builder.ret_void()
    return function


def dot_signature(element: ir.Type) -> list[ir.Type]:
    """Return the parameters of a dot block: g, g_pitch, x, offsets, segments, segment count, vectors, out, pitch."""
    pointer, table = element.as_pointer(), INDEX.as_pointer()
    return [pointer, INDEX, pointer, table, table, INDEX, INDEX, pointer, INDEX]


def define_dot_block(module: ir.Module, name: str, dtype: np.dtype, lanes: int, rows: int, taps: int) -> ir.Function:
    """Add a dot block to a module.

    For r in range(rows) and t in range(taps) it adds to `out[r * out_pitch + t]` the sum over segments s and q in
    range(vectors * lanes) of `g[r * g_pitch + s * vectors * lanes + q] * x[offsets[t] + segments[s] + q]`.
    """
    element = element_type(dtype)
    function, builder = new_function(module, name, dot_signature(element))
    function.attributes.add("optsize")  # unrolling would make sums leave their registers
    g, g_pitch, x, offsets, segments, segment_count, vectors, out, out_pitch = function.args
    emit = Emitter(builder, element, lanes)
    g_rows = [builder.gep(g, [builder.mul(g_pitch, INDEX(r))]) for r in range(rows)]
    sources = [builder.gep(x, [builder.load(builder.gep(offsets, [INDEX(t)]), align=8)]) for t in range(taps)]
    segment_length = builder.mul(vectors, INDEX(lanes))

    def add_segment(s: ir.Value, sums: list[ir.Value]) -> list[ir.Value]:
        g_start = builder.mul(s, segment_length)
        x_start = builder.load(builder.gep(segments, [s]), align=8)
        lefts = [builder.gep(row, [g_start]) for row in g_rows]
        rights = [builder.gep(source, [x_start]) for source in sources]

        def add_vectors(i: ir.Value, sums: list[ir.Value]) -> list[ir.Value]:
            q = builder.mul(i, INDEX(lanes))
            left = [emit.load(row, q) for row in lefts]
            results = list(sums)
            for t, source in enumerate(rights):
                right = emit.load(source, q)
                for r in range(rows):
                    results[r * taps + t] = emit.fma(left[r], right, sums[r * taps + t])
            return results

        return emit.loop(vectors, sums, add_vectors)

    sums = emit.horizontal_sums(emit.loop(segment_count, [emit.zeros()] * (rows * taps), add_segment))
    for r in range(rows):
        for t in range(taps):
            target = builder.gep(out, [builder.add(builder.mul(out_pitch, INDEX(r)), INDEX(t))])
            builder.store(builder.fadd(builder.load(target), sums[r * taps + t]), target)
    builder.ret_void()
    return function


def pack_signature(element: ir.Type) -> list[ir.Type]:
    """Return the parameters of `define_pack_plane`."""
    pointer = element.as_pointer()
    return [pointer, INDEX, INDEX, pointer, *[INDEX] * 8]


def define_pack_plane(module: ir.Module, name: str, dtype: np.dtype, lanes: int):
    """Add a function that packs rows of a source, with zeros around them.

    For z in range(rows) and i in range(row_pitch): `x[z * row_pitch + i]` becomes `source[start + z * source_pitch
    + i * step]` where `row_low <= z < row_high` and `low <= i < high`, else 0. The source has `size` elements; nothing
    outside it is read. Up to a vector more than the plane is written.
    """
    element = element_type(dtype)
    function, builder = new_function(module, name, pack_signature(element))
    function.attributes.add("optsize")  # the loops are vectors already: unrolling them further only costs time
    x, row_pitch, rows, source, size, start, source_pitch, step, row_low, row_high, low, high = function.args
    emit = Emitter(builder, element, lanes)
    vectors = builder.sdiv(builder.add(row_pitch, INDEX(lanes - 1)), INDEX(lanes))
    reach = builder.mul(builder.mul(vectors, INDEX(lanes)), step)

    def equal(a: ir.Value, b: int) -> ir.Value:
        return builder.icmp_signed("==", a, INDEX(b))

    def pack_vectors(target: ir.Value, row: ir.Value, step: int) -> None:
        with cgutils.for_range(builder, vectors, intp=INDEX) as vector:
            i = builder.mul(vector.index, INDEX(lanes))
            from_ = builder.mul(i, INDEX(step))
            value = emit.load(row, from_)
            if step == 2:
                value = emit.evens(value, emit.load(row, builder.add(from_, INDEX(lanes))))
            emit.store(builder.select(emit.between(i, low, high), value, emit.zeros()), target, i)

    def pack_elements(target: ir.Value, row: ir.Value) -> None:
        with cgutils.for_range(builder, row_pitch, intp=INDEX) as column:
            i = column.index
            place = builder.gep(target, [i])
            inside = builder.and_(builder.icmp_signed(">=", i, low), builder.icmp_signed("<", i, high))
            with builder.if_else(inside) as (then, otherwise):
                with then:
                    builder.store(builder.load(builder.gep(row, [builder.mul(i, step)])), place)
                with otherwise:
                    builder.store(element(0.0), place)

    with cgutils.for_range(builder, rows, intp=INDEX) as line:
        z = line.index
        target = builder.gep(x, [builder.mul(z, row_pitch)])
        inside = builder.and_(builder.icmp_signed(">=", z, row_low), builder.icmp_signed("<", z, row_high))
        with builder.if_else(inside) as (then, otherwise):
            with then:
                begin = builder.add(start, builder.mul(z, source_pitch))
                row = builder.gep(source, [begin])
                end = builder.add(begin, reach)
                whole = builder.and_(builder.icmp_signed(">=", begin, INDEX(0)), builder.icmp_signed("<=", end, size))
                with builder.if_else(builder.and_(whole, equal(step, 1))) as (one, more):
                    with one:
                        pack_vectors(target, row, 1)
                    with more, builder.if_else(builder.and_(whole, equal(step, 2))) as (two, rest):
                        with two:
                            pack_vectors(target, row, 2)
                        with rest:
                            pack_elements(target, row)
            with otherwise, cgutils.for_range(builder, vectors, intp=INDEX) as vector:
                emit.store(emit.zeros(), target, builder.mul(vector.index, INDEX(lanes)))
    builder.ret_void()
    return function


def write_signature(element: ir.Type) -> list[ir.Type]:
    """Return the parameters of `define_write_plane`."""
    pointer = element.as_pointer()
    return [pointer, INDEX, INDEX, INDEX, pointer, INDEX, INDEX, element]


def define_write_plane(module: ir.Module, name: str, dtype: np.dtype, lanes: int):
    """Add a function that writes rows to a target, with an addend.

    For z in range(rows) and i in range(width): `target[z * target_pitch + i * step] = v[z * row_pitch + i] + addend`.
    Nothing else is written; up to a vector more of v is read.
    """
    element = element_type(dtype)
    function, builder = new_function(module, name, write_signature(element))
    function.attributes.add("optsize")  # the loops are vectors already: unrolling them further only costs time
    v, row_pitch, rows, width, target, target_pitch, step, addend = function.args
    emit = Emitter(builder, element, lanes)
    whole = builder.sdiv(width, INDEX(lanes))
    rest = builder.mul(whole, INDEX(lanes))
    addends = emit.splat(addend)
    mask = emit.between(rest, INDEX(0), width)
    with cgutils.for_range(builder, rows, intp=INDEX) as line:
        source = builder.gep(v, [builder.mul(line.index, row_pitch)])
        row = builder.gep(target, [builder.mul(line.index, target_pitch)])
        with builder.if_else(builder.icmp_signed("==", step, INDEX(1))) as (then, otherwise):
            with then:
                with cgutils.for_range(builder, whole, intp=INDEX) as vector:
                    i = builder.mul(vector.index, INDEX(lanes))
                    emit.store(builder.fadd(emit.load(source, i), addends), row, i)
                with builder.if_then(builder.icmp_signed("<", rest, width)):
                    emit.masked_store(builder.fadd(emit.load(source, rest), addends), row, rest, mask)
            with otherwise, cgutils.for_range(builder, width, intp=INDEX) as column:
                value = builder.fadd(builder.load(builder.gep(source, [column.index])), addend)
                builder.store(value, builder.gep(row, [builder.mul(column.index, step)]))
    builder.ret_void()
    return function


def transpose_signature(element: ir.Type) -> list[ir.Type]:
    """Return the parameters of `define_transpose`."""
    pointer = element.as_pointer()
    return [pointer, INDEX, pointer, INDEX, INDEX, INDEX, INDEX, INDEX]


def define_transpose(module: ir.Module, name: str, dtype: np.dtype, lanes: int) -> ir.Function:
    """Add a function that transposes a matrix.

    For r in range(rows) and c in range(columns): `target[c * target_pitch + r] = source[start + r * source_pitch + c]`.
    The source has `size` elements; nothing outside it is read, and nothing else of the target written. Whole blocks of
    lanes x lanes are transposed in registers; the last rows that do not fill a block are taken together with some
    before them.
    """
    element = element_type(dtype)
    function, builder = new_function(module, name, transpose_signature(element))
    function.attributes.add("optsize")
    target, target_pitch, source, size, start, source_pitch, rows, columns = function.args
    emit = Emitter(builder, element, lanes)

    def blocks(count: ir.Value) -> ir.Value:
        return builder.sdiv(builder.add(count, INDEX(lanes - 1)), INDEX(lanes))

    def smaller(a: ir.Value, b: ir.Value) -> ir.Value:
        return builder.select(builder.icmp_signed("<", a, b), a, b)

    many_rows = builder.icmp_signed(">=", rows, INDEX(lanes))
    with cgutils.for_range(builder, blocks(columns), intp=INDEX) as column_block:
        c = builder.mul(column_block.index, INDEX(lanes))
        block_columns = smaller(builder.sub(columns, c), INDEX(lanes))
        with cgutils.for_range(builder, blocks(rows), intp=INDEX) as row_block:
            first = builder.mul(row_block.index, INDEX(lanes))
            r = smaller(first, builder.sub(rows, INDEX(lanes)))
            begin = builder.add(builder.add(start, builder.mul(r, source_pitch)), c)
            end = builder.add(builder.add(begin, builder.mul(source_pitch, INDEX(lanes - 1))), INDEX(lanes))
            readable = builder.and_(many_rows, builder.icmp_signed("<=", end, size))
            place = builder.gep(target, [builder.mul(c, target_pitch)])
            with builder.if_else(readable) as (whole, rest):
                with whole:
                    block = builder.gep(source, [begin])
                    vectors = [emit.load(block, builder.mul(source_pitch, INDEX(i))) for i in range(lanes)]
                    for i, vector in enumerate(emit.transpose(vectors)):
                        with builder.if_then(builder.icmp_signed("<", INDEX(i), block_columns)):
                            emit.store(vector, place, builder.add(builder.mul(target_pitch, INDEX(i)), r))
                with (
                    rest,
                    cgutils.for_range(builder, smaller(builder.sub(rows, first), INDEX(lanes)), intp=INDEX) as row,
                ):
                    line = builder.add(first, row.index)
                    from_ = builder.gep(source, [builder.add(builder.add(start, builder.mul(line, source_pitch)), c)])
                    with cgutils.for_range(builder, block_columns, intp=INDEX) as column:
                        value = builder.load(builder.gep(from_, [column.index]))
                        to = builder.add(builder.mul(column.index, target_pitch), line)
                        builder.store(value, builder.gep(place, [to]))
    builder.ret_void()
    return function


def panel_signature(element: ir.Type) -> list[ir.Type]:
    """Return the parameters of `define_pack_panel`."""
    pointer = element.as_pointer()
    return [pointer, pointer, INDEX, INDEX, INDEX, INDEX, INDEX.as_pointer(), INDEX]


def define_pack_panel(module: ir.Module, name: str, dtype: np.dtype, most_rows: int) -> ir.Function:
    """Add a function that packs some rows of a weight matrix into a panel, row by row for every term.

    For c in range(channels), t in range(taps) and r in range(rows): `panel[(c * taps + t) * rows + r]` becomes
    `weight[r * row_pitch + c * channel_pitch + kernel_taps[t]]`.
    """
    element = element_type(dtype)
    function, builder = new_function(module, name, panel_signature(element))
    function.attributes.add("optsize")
    panel, weight, rows, row_pitch, channels, channel_pitch, kernel_taps, taps = function.args
    done = function.append_basic_block("done")
    choice = builder.switch(rows, done)
    for count in range(1, most_rows + 1):
        case = function.append_basic_block(f"rows{count}")
        choice.add_case(INDEX(count), case)
        builder.position_at_end(case)
        starts = [builder.gep(weight, [builder.mul(row_pitch, INDEX(r))]) for r in range(count)]
        with cgutils.for_range(builder, channels, intp=INDEX) as channel:
            first = builder.mul(channel.index, channel_pitch)
            with cgutils.for_range(builder, taps, intp=INDEX) as tap:
                place = builder.add(first, builder.load(builder.gep(kernel_taps, [tap.index])))
                term = builder.add(builder.mul(channel.index, taps), tap.index)
                target = builder.gep(panel, [builder.mul(term, INDEX(count))])
                values = [builder.load(builder.gep(start, [place])) for start in starts]
                for r, value in enumerate(values):
                    builder.store(value, builder.gep(target, [INDEX(r)]))
        builder.branch(done)
    builder.position_at_end(done)
    builder.ret_void()
    return function


def gemm_shapes(simd: Simd) -> list[tuple[int, int]]:
    """Return the (rows, vectors) of all GEMM blocks for a processor."""
    return [(rows, n + 1) for rows in range(1, simd.rows + 1) for n in range(simd.vectors_for(rows))]


def dot_shapes(simd: Simd) -> list[tuple[int, int]]:
    """Return the (rows, taps) of all dot blocks for a processor."""
    return [(r + 1, t + 1) for r in range(simd.dot_rows) for t in range(simd.dot_taps)]


def store_addresses(builder: ir.IRBuilder, table: ir.Value, columns: int, functions: dict) -> None:
    """Emit stores of function addresses into a table[rows - 1, second - 1]."""
    for (first, second), function in functions.items():
        function.linkage = "internal"
        slot = builder.gep(table, [INDEX((first - 1) * columns + second - 1)])
        builder.store(builder.ptrtoint(function, INDEX), slot)


def _gemm_filler(packed: bool):
    """Return an intrinsic that compiles GEMM blocks for the dtype of `sample` and writes their addresses to `table`."""

    def fill(typingctx: Any, table: types.Array, sample: types.Array):
        def generate(context, builder, signature, args):
            simd, dtype = host_simd(), np.dtype(str(sample.dtype))
            pointer = context.make_array(table)(context, builder, args[0]).data
            functions = {}
            for shape in gemm_shapes(simd):
                name = f"nbtorch_gemm_{dtype}_{shape}_{packed}"
                block = define_gemm_block(builder.module, name, dtype, simd.lanes(dtype), *shape, packed)
                functions[shape] = block
            store_addresses(builder, pointer, simd.vectors, functions)
            return context.get_dummy_value()

        return types.none(table, sample), generate

    return intrinsic(fill)


_fill_gemm_table = _gemm_filler(packed=True)
_fill_strided_gemm_table = _gemm_filler(packed=False)


@intrinsic
def _fill_dot_table(typingctx: Any, table: types.Array, sample: types.Array):
    """Compile all dot blocks for the dtype of `sample`; write their addresses to `table`."""

    def generate(context, builder, signature, args):
        simd, dtype = host_simd(), np.dtype(str(sample.dtype))
        pointer = context.make_array(table)(context, builder, args[0]).data
        functions = {
            shape: define_dot_block(builder.module, f"nbtorch_dot_{dtype}_{shape}", dtype, simd.lanes(dtype), *shape)
            for shape in dot_shapes(simd)
        }
        store_addresses(builder, pointer, simd.dot_taps, functions)
        return context.get_dummy_value()

    return types.none(table, sample), generate


@intrinsic
def _fill_mover_table(typingctx: Any, table: types.Array, sample: types.Array):
    """Compile the movers for the dtype of `sample`; write their addresses to `table`."""

    def generate(context, builder, signature, args):
        dtype = np.dtype(str(sample.dtype))
        pointer = context.make_array(table)(context, builder, args[0]).data
        lanes = host_simd().lanes(dtype)
        functions = {
            (1, 1): define_pack_plane(builder.module, f"nbtorch_pack_plane_{dtype}", dtype, lanes),
            (1, 2): define_write_plane(builder.module, f"nbtorch_write_plane_{dtype}", dtype, lanes),
            (1, 3): define_pack_panel(builder.module, f"nbtorch_pack_panel_{dtype}", dtype, host_simd().rows),
            (1, 4): define_transpose(builder.module, f"nbtorch_transpose_{dtype}", dtype, lanes),
        }
        store_addresses(builder, pointer, 4, functions)
        return context.get_dummy_value()

    return types.none(table, sample), generate


@njit
def mover_vector_code(table, sample):
    """Write the addresses of the movers for the dtype of `sample` to `table` (4,), int64."""
    _fill_mover_table(table, sample)


@njit
def gemm_vector_code(table, sample):
    """Write the addresses of the packed GEMM blocks for the dtype of `sample` to `table` (rows, vectors), int64."""
    _fill_gemm_table(table, sample)


@njit
def strided_gemm_vector_code(table, sample):
    """Write the addresses of the strided GEMM blocks for the dtype of `sample` to `table` (rows, vectors), int64."""
    _fill_strided_gemm_table(table, sample)


@njit
def dot_vector_code(table, sample):
    """Write the addresses of all dot blocks for the dtype of `sample` to `table` (rows, taps), int64."""
    _fill_dot_table(table, sample)


@cache
def gemm_blocks(dtype: np.dtype, packed: bool = True) -> np.ndarray:
    """Return the table of GEMM blocks for a dtype: `table[rows - 1, vectors - 1]` is what `gemm_block` calls.

    Blocks for `packed` panels and for those of any pitch are compiled apart, each when it is first needed.
    """
    simd = host_simd()
    table = shape_codes(simd.rows, simd.vectors)
    if not config.DISABLE_JIT:
        (gemm_vector_code if packed else strided_gemm_vector_code)(table, np.empty(0, dtype))
    return table


@cache
def dot_blocks(dtype: np.dtype) -> np.ndarray:
    """Return the table of dot blocks for a dtype: `table[rows - 1, taps - 1]` is what `dot_block` calls."""
    simd = host_simd()
    table = shape_codes(simd.dot_rows, simd.dot_taps)
    if not config.DISABLE_JIT:
        dot_vector_code(table, np.empty(0, dtype))
    return table


@cache
def movers(dtype: np.dtype) -> np.ndarray:
    """Return the table of what `pack_plane`, `write_plane`, `pack_panel` and `transpose` call, in this order."""
    table = np.zeros(4, np.int64)
    if not config.DISABLE_JIT:
        mover_vector_code(table, np.empty(0, dtype))
    return table


def shape_codes(rows: int, columns: int) -> np.ndarray:
    """Return a table that holds, in the place of each address, the shape itself: what the models below read."""
    return np.array([[first * 256 + second for second in range(1, columns + 1)] for first in range(1, rows + 1)])


def pointer_to(
    context: Any, builder: ir.IRBuilder, array_type: types.Array, array: ir.Value, start: ir.Value
) -> ir.Value:
    """Emit the address of an element of a flat array."""
    return builder.gep(context.make_array(array_type)(context, builder, array).data, [start])


def call_block(builder: ir.IRBuilder, address: ir.Value, parameters: list[ir.Type], arguments: list[ir.Value]) -> None:
    """Emit a call of the block at an address."""
    signature = ir.FunctionType(ir.VoidType(), parameters)
    builder.call(builder.inttoptr(address, signature.as_pointer()), arguments)


def _gemm_intrinsic(
    typingctx, block, a, a_start, row_pitch, term_pitch, x, x_start, offsets, count, v, v_start, v_pitch, accumulate
):
    i = types.int64
    signature = types.none(i, a, i, i, i, x, i, offsets, i, v, i, i, i)

    def generate(context, builder, signature, args):
        address, a_, a_at, a_row, a_term, x_, x_at, offsets_, count_, v_, v_at, pitch, adding = args
        arguments = [
            pointer_to(context, builder, a, a_, a_at),
            a_row,
            a_term,
            pointer_to(context, builder, x, x_, x_at),
            pointer_to(context, builder, offsets, offsets_, INDEX(0)),
            count_,
            pointer_to(context, builder, v, v_, v_at),
            pitch,
            adding,
        ]
        call_block(builder, address, gemm_signature(context.get_data_type(x.dtype)), arguments)
        return context.get_dummy_value()

    return signature, generate


def _gemm_model(block, a, a_start, row_pitch, term_pitch, x, x_start, offsets, count, v, v_start, v_pitch, accumulate):
    """Do in NumPy what a GEMM block does; for `NUMBA_DISABLE_JIT=1`."""
    rows, vectors = divmod(int(block), 256)
    width = vectors * host_simd().lanes(x.dtype)
    flat = a.reshape(-1)
    places = a_start + np.arange(rows)[:, None] * row_pitch + np.arange(count) * term_pitch
    columns = np.zeros((count, width), x.dtype)
    for k in range(count):
        columns[k] = x[x_start + offsets[k] : x_start + offsets[k] + width]
    result = flat[places] @ columns
    for r in range(rows):
        target = v[v_start + r * v_pitch : v_start + r * v_pitch + width]
        target[:] = target + result[r] if accumulate else result[r]


def _dot_intrinsic(
    typingctx, block, g, g_start, g_pitch, x, offsets, first, segments, vectors, out, out_start, out_pitch
):
    i = types.int64
    signature = types.none(i, g, i, i, x, offsets, i, segments, i, out, i, i)

    def generate(context, builder, signature, args):
        address, g_, g_at, g_step, x_, offsets_, first_, segments_, vectors_, out_, out_at, out_step = args
        segment_array = context.make_array(segments)(context, builder, segments_)
        arguments = [
            pointer_to(context, builder, g, g_, g_at),
            g_step,
            pointer_to(context, builder, x, x_, INDEX(0)),
            pointer_to(context, builder, offsets, offsets_, first_),
            segment_array.data,
            segment_array.nitems,
            vectors_,
            pointer_to(context, builder, out, out_, out_at),
            out_step,
        ]
        call_block(builder, address, dot_signature(context.get_data_type(x.dtype)), arguments)
        return context.get_dummy_value()

    return signature, generate


def _dot_model(block, g, g_start, g_pitch, x, offsets, first, segments, vectors, out, out_start, out_pitch):
    """Do in NumPy what a dot block does; for `NUMBA_DISABLE_JIT=1`."""
    rows, taps = divmod(int(block), 256)
    width = vectors * host_simd().lanes(x.dtype)
    for r in range(rows):
        for t in range(taps):
            for s, segment in enumerate(segments):
                left, right = g_start + r * g_pitch + s * width, offsets[first + t] + segment
                out[out_start + r * out_pitch + t] += (g[left : left + width] * x[right : right + width]).sum()


def _pack_intrinsic(
    typingctx, table, x, x_start, row_pitch, rows, source, start, source_pitch, step, row_low, row_high, low, high
):
    i = types.int64
    signature = types.none(table, x, i, i, i, source, i, i, i, i, i, i, i)

    def generate(context, builder, signature, args):
        table_, x_, x_at, row_pitch_, rows_, source_, *rest = args
        address = builder.load(pointer_to(context, builder, table, table_, INDEX(0)))
        array = context.make_array(source)(context, builder, source_)
        arguments = [pointer_to(context, builder, x, x_, x_at), row_pitch_, rows_, array.data, array.nitems, *rest]
        call_block(builder, address, pack_signature(context.get_data_type(x.dtype)), arguments)
        return context.get_dummy_value()

    return signature, generate


def _pack_model(table, x, x_start, row_pitch, rows, source, start, source_pitch, step, row_low, row_high, low, high):
    """Do in NumPy what `define_pack_plane` describes; for `NUMBA_DISABLE_JIT=1`."""
    flat = source.reshape(-1)
    plane = x[x_start : x_start + rows * row_pitch].reshape(rows, row_pitch)
    plane[:] = 0
    for z in range(row_low, row_high):
        for i in range(low, high):
            plane[z, i] = flat[start + z * source_pitch + i * step]


def _write_intrinsic(
    typingctx, table, v, v_start, row_pitch, rows, width, target, target_start, target_pitch, step, addend
):
    i = types.int64
    signature = types.none(table, v, i, i, i, i, target, i, i, i, v.dtype)

    def generate(context, builder, signature, args):
        table_, v_, v_at, row_pitch_, rows_, width_, target_, target_at, *rest = args
        address = builder.load(pointer_to(context, builder, table, table_, INDEX(1)))
        arguments = [
            pointer_to(context, builder, v, v_, v_at),
            row_pitch_,
            rows_,
            width_,
            pointer_to(context, builder, target, target_, target_at),
            *rest,
        ]
        call_block(builder, address, write_signature(context.get_data_type(v.dtype)), arguments)
        return context.get_dummy_value()

    return signature, generate


def _write_model(table, v, v_start, row_pitch, rows, width, target, target_start, target_pitch, step, addend):
    """Do in NumPy what `define_write_plane` describes; for `NUMBA_DISABLE_JIT=1`."""
    flat = target.reshape(-1)
    for z in range(rows):
        values = v[v_start + z * row_pitch : v_start + z * row_pitch + width]
        begin = target_start + z * target_pitch
        flat[begin : begin + (width - 1) * step + 1 : step] = values + addend


def _panel_intrinsic(
    typingctx, table, panels, at, weight, start, rows, row_pitch, channels, channel_pitch, kernel_taps, taps
):
    i = types.int64
    signature = types.none(table, panels, i, weight, i, i, i, i, i, kernel_taps, i)

    def generate(context, builder, signature, args):
        table_, panels_, at_, weight_, start_, rows_, row_step, channels_, channel_step, kernel_taps_, taps_ = args
        address = builder.load(pointer_to(context, builder, table, table_, INDEX(2)))
        arguments = [
            pointer_to(context, builder, panels, panels_, at_),
            pointer_to(context, builder, weight, weight_, start_),
            rows_,
            row_step,
            channels_,
            channel_step,
            pointer_to(context, builder, kernel_taps, kernel_taps_, INDEX(0)),
            taps_,
        ]
        call_block(builder, address, panel_signature(context.get_data_type(weight.dtype)), arguments)
        return context.get_dummy_value()

    return signature, generate


def _panel_model(table, panels, at, weight, start, rows, row_pitch, channels, channel_pitch, kernel_taps, taps):
    """Do in NumPy what `define_pack_panel` describes; for `NUMBA_DISABLE_JIT=1`."""
    flat = weight.reshape(-1)
    for c in range(channels):
        for t in range(taps):
            first = start + c * channel_pitch + kernel_taps[t]
            place = at + (c * taps + t) * rows
            panels[place : place + rows] = flat[first : first + (rows - 1) * row_pitch + 1 : row_pitch]


def _transpose_intrinsic(
    typingctx, table, target, target_start, target_pitch, source, start, source_pitch, rows, columns
):
    i = types.int64
    signature = types.none(table, target, i, i, source, i, i, i, i)

    def generate(context, builder, signature, args):
        table_, target_, target_at, target_pitch_, source_, *rest = args
        address = builder.load(pointer_to(context, builder, table, table_, INDEX(3)))
        array = context.make_array(source)(context, builder, source_)
        place = pointer_to(context, builder, target, target_, target_at)
        arguments = [place, target_pitch_, array.data, array.nitems, *rest]
        call_block(builder, address, transpose_signature(context.get_data_type(source.dtype)), arguments)
        return context.get_dummy_value()

    return signature, generate


def _transpose_model(table, target, target_start, target_pitch, source, start, source_pitch, rows, columns):
    """Do in NumPy what `define_transpose` describes; for `NUMBA_DISABLE_JIT=1`."""
    r, c = np.arange(rows), np.arange(columns)[:, None]
    target.reshape(-1)[target_start + c * target_pitch + r] = source.reshape(-1)[start + r * source_pitch + c]


gemm_block = _gemm_model if config.DISABLE_JIT else intrinsic(_gemm_intrinsic)
dot_block = _dot_model if config.DISABLE_JIT else intrinsic(_dot_intrinsic)
pack_plane = _pack_model if config.DISABLE_JIT else intrinsic(_pack_intrinsic)
write_plane = _write_model if config.DISABLE_JIT else intrinsic(_write_intrinsic)
pack_panel = _panel_model if config.DISABLE_JIT else intrinsic(_panel_intrinsic)
transpose = _transpose_model if config.DISABLE_JIT else intrinsic(_transpose_intrinsic)
