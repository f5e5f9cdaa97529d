"""The vector block of depthwise convolutions: one channel, eight vectors of outputs at a time."""

from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic

from ..jit import njit
from .simd import INDEX, Emitter, call_block, element_type, host_simd, new_function, pointer_to

VECTORS = 8
"""Vectors of outputs that are summed together: enough to hide the latency of an addition."""


def direct_signature(element: ir.Type) -> list[ir.Type]:
    """Return the parameters of the direct block."""
    pointer, table = element.as_pointer(), INDEX.as_pointer()
    return [pointer, table, pointer, table, INDEX, pointer, table, INDEX, element]


def define_direct_block(module: ir.Module, name: str, dtype: np.dtype, lanes: int) -> ir.Function:
    """Add the direct block to a module.

    For i in range(count), in this order, a vector of lanes is written: `target[target_places[i]] = addend + sum_t
    weight[t] * x[x_places[i] + offsets[t]]`. There are `VECTORS` or more; the last ones may be written twice, in order
    again.
    """
    element = element_type(dtype)
    function, builder = new_function(module, name, direct_signature(element))
    function.attributes.add("optsize")  # unrolling would make sums leave their registers
    x, x_places, target, target_places, count, weight, offsets, taps, addend = function.args
    emit = Emitter(builder, element, lanes)
    addends = emit.splat(addend)

    def place(table: ir.Value, index: ir.Value) -> ir.Value:
        return builder.load(builder.gep(table, [index]), align=8)

    blocks = builder.sdiv(builder.add(count, INDEX(VECTORS - 1)), INDEX(VECTORS))
    last = builder.sub(count, INDEX(VECTORS))
    with cgutils.for_range(builder, blocks, intp=INDEX) as block:
        first = builder.mul(block.index, INDEX(VECTORS))
        first = builder.select(builder.icmp_signed("<", first, last), first, last)
        indices = [builder.add(first, INDEX(i)) for i in range(VECTORS)]
        sources = [builder.gep(x, [place(x_places, i)]) for i in indices]

        def step(tap: ir.Value, sums: list[ir.Value]) -> list[ir.Value]:
            offset, factor = place(offsets, tap), emit.broadcast(weight, tap)
            return [emit.fma(factor, emit.load(x, offset), s) for x, s in zip(sources, sums, strict=True)]

        for i, value in zip(indices, emit.loop(taps, [addends] * VECTORS, step), strict=True):
            emit.store(value, target, place(target_places, i))
    builder.ret_void()
    return function


@intrinsic
def _fill_direct_table(typingctx: Any, table: types.Array, sample: types.Array):
    """Compile the direct block for the dtype of `sample`; write its address to `table`."""

    def generate(context, builder, signature, args):
        dtype = np.dtype(str(sample.dtype))
        pointer = context.make_array(table)(context, builder, args[0]).data
        function = define_direct_block(builder.module, f"nbtorch_direct_{dtype}", dtype, host_simd().lanes(dtype))
        function.linkage = "internal"
        builder.store(builder.ptrtoint(function, INDEX), pointer)
        return context.get_dummy_value()

    return types.none(table, sample), generate


@njit
def direct_vector_code(table, sample):
    """Write the address of the direct block for the dtype of `sample` to `table` (1, 1), int64."""
    _fill_direct_table(table, sample)


@cache
def direct_blocks(dtype: np.dtype) -> np.ndarray:
    """Return the table of what `direct_block` calls."""
    table = np.zeros((1, 1), np.int64)
    if not config.DISABLE_JIT:
        direct_vector_code(table, np.empty(0, dtype))
    return table


def _direct_intrinsic(
    typingctx, code, x, x_places, target, target_start, target_places, count, weight, first, offsets, taps, addend
):
    i = types.int64
    signature = types.none(i, x, x_places, target, i, target_places, i, weight, i, offsets, i, x.dtype)

    def generate(context, builder, signature, args):
        def at(which: int, start: ir.Value) -> ir.Value:
            return pointer_to(context, builder, signature.args[which], args[which], start)

        none = INDEX(0)
        arguments = [at(1, none), at(2, none), at(3, args[4]), at(5, none), args[6], at(7, args[8]), at(9, none)]
        arguments += args[10:]
        call_block(builder, args[0], direct_signature(context.get_data_type(x.dtype)), arguments)
        return context.get_dummy_value()

    return signature, generate


def _direct_model(
    code, x, x_places, target, target_start, target_places, count, weight, first, offsets, taps, addend
):  # fmt: skip
    """Do in NumPy what `define_direct_block` describes; for `NUMBA_DISABLE_JIT=1`."""
    lanes, flat = np.arange(host_simd().lanes(x.dtype)), target.reshape(-1)
    factors = weight.reshape(-1)[first : first + taps]
    for x_place, target_place in zip(x_places[:count], target_places[:count], strict=True):
        terms = x[x_place + offsets[:taps, None] + lanes]
        flat[target_start + target_place + lanes] = addend + factors @ terms


direct_block = _direct_model if config.DISABLE_JIT else intrinsic(_direct_intrinsic)
