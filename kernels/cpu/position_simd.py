"""The vector block of the position GEMM: sums for a few positions and a few vectors of output channels."""

from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import config
from numba.extending import intrinsic

from ..jit import njit
from .simd import (
    INDEX,
    Emitter,
    call_block,
    element_type,
    gemm_shapes,
    host_simd,
    new_function,
    pointer_to,
    shape_codes,
    store_addresses,
)

MOST_POSITIONS = 6
"""The most positions of a block: the factors of more of them drive sums out of the registers of AVX-512."""


def position_signature(element: ir.Type) -> list[ir.Type]:
    """Return the parameters of a position block: x, places, terms, u, offsets, count, v, v_pitch, addend, pitch."""
    pointer, table = element.as_pointer(), INDEX.as_pointer()
    return [pointer, table, table, pointer, table, INDEX, pointer, INDEX, pointer, INDEX]


def define_position_block(
    module: ir.Module, name: str, dtype: np.dtype, lanes: int, positions: int, vectors: int
) -> ir.Function:
    """Add a position block to a module.

    For p in range(positions) and q in range(vectors * lanes) it computes `v[p * v_pitch + q] = addend[p * addend_pitch
    + q] + sum_k x[places[p] + terms[k]] * u[offsets[k] + q]` over k in range(count). All elements of the addend are
    read before any of v is written.
    """
    element = element_type(dtype)
    function, builder = new_function(module, name, position_signature(element))
    function.attributes.add("optsize")  # unrolling would make sums leave their registers
    x, places, terms, u, offsets, count, v, v_pitch, addend, addend_pitch = function.args
    emit = Emitter(builder, element, lanes)

    def number(table: ir.Value, index: ir.Value) -> ir.Value:
        return builder.load(builder.gep(table, [index]), align=8)

    starts = [number(places, INDEX(p)) for p in range(positions)]

    def step(k: ir.Value, sums: list[ir.Value]) -> list[ir.Value]:
        weights = builder.gep(u, [number(offsets, k)])
        factors = builder.gep(x, [number(terms, k)])
        columns = [emit.load(weights, INDEX(i * lanes)) for i in range(vectors)]
        results = []
        for p, start in enumerate(starts):
            factor = emit.broadcast(factors, start)
            results += [emit.fma(factor, column, sums[p * vectors + i]) for i, column in enumerate(columns)]
        return results

    sums = emit.loop(count, [emit.zeros()] * (positions * vectors), step)
    values = []
    for p in range(positions):
        row = builder.gep(addend, [builder.mul(addend_pitch, INDEX(p))])
        values += [builder.fadd(sums[p * vectors + i], emit.load(row, INDEX(i * lanes))) for i in range(vectors)]
    for p in range(positions):
        row = builder.gep(v, [builder.mul(v_pitch, INDEX(p))])
        for i in range(vectors):
            emit.store(values[p * vectors + i], row, INDEX(i * lanes))
    builder.ret_void()
    return function


@intrinsic
def _fill_position_table(typingctx: Any, table: types.Array, sample: types.Array):
    """Compile all position blocks for the dtype of `sample`; write their addresses to `table`."""

    def generate(context, builder, signature, args):
        simd, dtype = host_simd(), np.dtype(str(sample.dtype))
        pointer = context.make_array(table)(context, builder, args[0]).data
        functions = {
            shape: define_position_block(
                builder.module, f"nbtorch_position_{dtype}_{shape}", dtype, simd.lanes(dtype), *shape
            )
            for shape in gemm_shapes(simd)
        }
        store_addresses(builder, pointer, simd.vectors, functions)
        return context.get_dummy_value()

    return types.none(table, sample), generate


@njit
def position_vector_code(table, sample):
    """Write the addresses of all position blocks for the dtype of `sample` to `table` (positions, vectors), int64."""
    _fill_position_table(table, sample)


@cache
def position_blocks(dtype: np.dtype) -> np.ndarray:
    """Return the table of position blocks: `table[positions - 1, vectors - 1]` is what `position_block` calls."""
    simd = host_simd()
    table = shape_codes(simd.rows, simd.vectors)
    if not config.DISABLE_JIT:
        position_vector_code(table, np.empty(0, dtype))
    return table


def _position_intrinsic(
    typingctx,
    block,
    x,
    x_at,
    places,
    first,
    terms,
    term,
    u,
    u_at,
    offsets,
    count,
    v,
    v_at,
    pitch,
    addend,
    at,
    addend_pitch,
):
    i = types.int64
    signature = types.none(i, x, i, places, i, terms, i, u, i, offsets, i, v, i, i, addend, i, i)

    def generate(context, builder, signature, args):
        def at(which: int, start: ir.Value) -> ir.Value:
            return pointer_to(context, builder, signature.args[which], args[which], start)

        arguments = [at(1, args[2]), at(3, args[4]), at(5, args[6]), at(7, args[8]), at(9, args[6]), args[10]]
        arguments += [at(11, args[12]), args[13], at(14, args[15]), args[16]]
        call_block(builder, args[0], position_signature(context.get_data_type(x.dtype)), arguments)
        return context.get_dummy_value()

    return signature, generate


def _position_model(
    block, x, x_at, places, first, terms, term, u, u_at, offsets, count, v, v_at, pitch, addend, at, addend_pitch
):
    """Do in NumPy what `define_position_block` describes; for `NUMBA_DISABLE_JIT=1`."""
    positions, vectors = divmod(int(block), 256)
    q = np.arange(vectors * host_simd().lanes(x.dtype))
    p = np.arange(positions)[:, None]
    factors = x[x_at + places[first : first + positions, None] + terms[term : term + count]]
    result = factors @ u[u_at + offsets[term : term + count, None] + q]
    v[v_at + p * pitch + q] = addend[at + p * addend_pitch + q] + result


position_block = _position_model if config.DISABLE_JIT else intrinsic(_position_intrinsic)
