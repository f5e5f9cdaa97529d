"""Stores that pass the caches by, for results that would not stay in them.

An ordinary store first reads the line that it writes to, which costs a pass over a large result a third of the
memory's bandwidth. So kernels put a block of their result together in a cache and then stream it to its place.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from nbtorch.kernels.cpu.simd import host_simd
from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic

LARGE = 1 << 26
"""Bytes read and written from which on nothing of the result is left in the last cache when it is finished."""

BLOCK = 1 << 12
"""Elements that are put together before they are streamed: they fit into a first cache with what they are made of."""

LINE = 64
"""Bytes of a line of the caches."""

INDEX = ir.IntType(64)


def _stream_intrinsic(typing_context, source, source_start, target, start, count):
    """Copy so many elements of one flat array to another of the same type, past the caches; `finish` must follow."""
    lanes = host_simd().vector_bytes * 8 // source.dtype.bitwidth

    def emit(context, builder, signature, arguments):
        element = context.get_data_type(source.dtype)
        size = context.get_abi_sizeof(element)
        vector = ir.VectorType(element, lanes)
        uncached = builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)])
        read, write = (
            builder.gep(context.make_array(signature.args[n])(context, builder, arguments[n]).data, [arguments[n + 1]])
            for n in (0, 2)
        )
        # Elements up to the first address that is a multiple of the vector's size, vectors, and what remains.
        past = builder.and_(builder.ptrtoint(write, INDEX), INDEX(lanes * size - 1))
        head = builder.and_(builder.sub(INDEX(lanes), builder.udiv(past, INDEX(size))), INDEX(lanes - 1))
        head = builder.select(builder.icmp_signed("<", head, arguments[4]), head, arguments[4])
        whole = builder.sdiv(builder.sub(arguments[4], head), INDEX(lanes))
        tail = builder.add(head, builder.mul(whole, INDEX(lanes)))

        def copy(place: ir.Value, kind: ir.Type, align: int) -> Any:
            source_place, target_place = (
                builder.bitcast(builder.gep(pointer, [place]), kind.as_pointer()) for pointer in (read, write)
            )
            return builder.store(builder.load(source_place, align=size), target_place, align=align)

        with cgutils.for_range(builder, head) as loop:
            copy(loop.index, element, size)
        with cgutils.for_range(builder, whole) as loop:
            place = builder.add(head, builder.mul(loop.index, INDEX(lanes)))
            copy(place, vector, lanes * size).set_metadata("nontemporal", uncached)
        with cgutils.for_range_slice(builder, tail, arguments[4], INDEX(1), INDEX) as (place, _):
            copy(place, element, size)
        return context.get_dummy_value()

    return types.none(source, types.int64, target, types.int64, types.int64), emit


def _prefetch_intrinsic(typing_context, array, start, count):
    """Have so many elements of a flat array brought into the caches; there need be no such elements."""

    def emit(context, builder, signature, arguments):
        data = context.make_array(array)(context, builder, arguments[0]).data
        byte = ir.IntType(8).as_pointer()
        size = context.get_abi_sizeof(context.get_data_type(array.dtype))
        first = builder.gep(builder.bitcast(data, byte), [builder.mul(arguments[1], INDEX(size))])
        kind = ir.FunctionType(ir.VoidType(), [byte, *[ir.IntType(32)] * 3])
        fetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        lines = builder.sdiv(builder.add(builder.mul(arguments[2], INDEX(size)), INDEX(LINE - 1)), INDEX(LINE))
        with cgutils.for_range(builder, lines) as loop:
            place = builder.gep(first, [builder.mul(loop.index, INDEX(LINE))])
            builder.call(fetch, [place, *[ir.IntType(32)(value) for value in (0, 3, 1)]])
        return context.get_dummy_value()

    return types.none(array, types.int64, types.int64), emit


def _prefetch_model(array: np.ndarray, start: int, count: int) -> None:
    pass


def _stream_model(source: np.ndarray, source_start: int, target: np.ndarray, start: int, count: int) -> None:
    target[start : start + count] = source[source_start : source_start + count]


def _finish_intrinsic(typing_context):
    """Wait until all that was streamed can be seen by other threads."""

    def emit(context, builder, signature, arguments):
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.none(), emit


def _finish_model() -> None:
    pass


stream = _stream_model if config.DISABLE_JIT else intrinsic(_stream_intrinsic)
prefetch = _prefetch_model if config.DISABLE_JIT else intrinsic(_prefetch_intrinsic)
finish = _finish_model if config.DISABLE_JIT else intrinsic(_finish_intrinsic)
