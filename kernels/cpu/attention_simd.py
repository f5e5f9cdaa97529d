"""Vector code of attention: what happens to a tile of scores between two matrix products.

Tiles are [key][query]: a row for each key, with neighbouring queries in the lanes. So the maximum and the sum of the
scores of a query are taken along a lane, and never across one.
"""

from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic

from ..jit import njit
from .simd import INDEX, Emitter, call_block, element_type, host_simd, new_function, pointer_to

LN2 = np.log(np.longdouble(2))


def emit_exp(emit: Emitter, x: ir.Value) -> ir.Value:
    """Emit e to the power of x where that is at most 1 or little more; below the normal numbers it is 0.

    x = n·ln 2 + r with |r| <= ln 2 / 2. Adding 1.5·2^23 (or 2^52) rounds to the whole number n and leaves it in the
    lowest bits, from where it is shifted into the exponent. NaN passes through.
    """
    builder, single = emit.builder, isinstance(emit.element, ir.FloatType)
    mantissa, bias, degree = (23, 127, 6) if single else (52, 1023, 11)
    integer = ir.IntType(8 * emit.align)
    words = ir.VectorType(integer, emit.lanes)

    def word(value: int) -> ir.Value:
        return ir.Constant(words, [integer(value)] * emit.lanes)

    magic = emit.constant(1.5 * 2.0**mantissa)
    rounded = emit.fma(x, emit.constant(float(1 / LN2)), magic)
    n = builder.fsub(rounded, magic)
    high = float(np.float32(LN2)) if single else float(LN2)  # the product with n is exact inside the fused operation
    r = emit.fma(n, emit.constant(-high), x)
    r = emit.fma(n, emit.constant(-float(LN2 - np.longdouble(high))), r)
    coefficients = np.polynomial.Chebyshev.interpolate(np.exp, degree, [-float(LN2) / 2, float(LN2) / 2])
    result, *rest = [emit.constant(c) for c in coefficients.convert(kind=np.polynomial.Polynomial).coef[::-1]]
    for coefficient in rest:
        result = emit.fma(result, r, coefficient)
    exponent = builder.add(builder.shl(builder.bitcast(rounded, words), word(mantissa)), word(bias << mantissa))
    result = builder.fmul(result, builder.bitcast(exponent, emit.vector))
    lowest = emit.constant(float((1 - bias) * LN2))
    return builder.select(builder.fcmp_ordered("<", x, lowest), emit.zeros(), result)


def softmax_signature(element: ir.Type) -> list[ir.Type]:
    """Return the parameters of the softmax block: scores, count, top, total, factor."""
    pointer = element.as_pointer()
    return [pointer, INDEX, pointer, pointer, pointer]


def define_softmax_block(module: ir.Module, name: str, dtype: np.dtype, lanes: int, vectors: int) -> ir.Function:
    """Add the softmax block to a module: one step of the softmax over more keys than a tile has.

    `scores` is (count, vectors * lanes). For every lane, `top` becomes the largest score so far, the scores become
    exp(score - top), `factor` becomes the exponential of how much the top fell below the new one, and `total` becomes
    total·factor + the sum of the new exponentials. Where all scores were -inf so far, everything becomes 0.
    """
    element = element_type(dtype)
    function, builder = new_function(module, name, softmax_signature(element))
    function.attributes.add("optsize")
    scores, count, top, total, factor = function.args
    emit = Emitter(builder, element, lanes)
    places = [INDEX(v * lanes) for v in range(vectors)]

    def row(j: ir.Value) -> ir.Value:
        return builder.gep(scores, [builder.mul(j, INDEX(vectors * lanes))])

    def largest(j: ir.Value, tops: list[ir.Value]) -> list[ir.Value]:
        values = [emit.load(row(j), place) for place in places]
        return [builder.select(builder.fcmp_ordered(">", a, b), a, b) for a, b in zip(values, tops, strict=True)]

    olds = [emit.load(top, place) for place in places]
    tops = emit.loop(count, olds, largest)
    lowest = emit.constant(-np.inf)
    shifts = [builder.select(builder.fcmp_ordered("==", t, lowest), emit.zeros(), t) for t in tops]

    def exponentials(j: ir.Value, sums: list[ir.Value]) -> list[ir.Value]:
        results = []
        for place, shift, total in zip(places, shifts, sums, strict=True):
            value = emit_exp(emit, builder.fsub(emit.load(row(j), place), shift))
            emit.store(value, row(j), place)
            results.append(builder.fadd(total, value))
        return results

    sums = emit.loop(count, [emit.zeros()] * vectors, exponentials)
    for place, old, new, shift, sum_ in zip(places, olds, tops, shifts, sums, strict=True):
        fall = emit_exp(emit, builder.fsub(old, shift))
        emit.store(new, top, place)
        emit.store(fall, factor, place)
        emit.store(emit.fma(emit.load(total, place), fall, sum_), total, place)
    builder.ret_void()
    return function


def slope_signature(element: ir.Type) -> list[ir.Type]:
    """Return the parameters of the slope block: scores, slopes, count, vectors, logarithm, mean."""
    pointer = element.as_pointer()
    return [pointer, pointer, INDEX, INDEX, pointer, pointer]


def define_slope_block(module: ir.Module, name: str, dtype: np.dtype, lanes: int) -> ir.Function:
    """Add the slope block to a module: the gradient of softmax, from the gradients of the probabilities.

    `scores` and `slopes` are (count, vectors * lanes). For every element, scores become p = exp(score - logarithm),
    and slopes become p·(slope - mean), with the logarithm and mean of the lane's query.
    """
    element = element_type(dtype)
    function, builder = new_function(module, name, slope_signature(element))
    function.attributes.add("optsize")
    scores, slopes, count, vectors, logarithm, mean = function.args
    emit = Emitter(builder, element, lanes)
    with cgutils.for_range(builder, vectors, intp=INDEX) as vector:
        first = builder.mul(vector.index, INDEX(lanes))
        shift, middle = emit.load(logarithm, first), emit.load(mean, first)
        with cgutils.for_range(builder, count, intp=INDEX) as row:
            place = builder.add(builder.mul(row.index, builder.mul(vectors, INDEX(lanes))), first)
            value = emit_exp(emit, builder.fsub(emit.load(scores, place), shift))
            emit.store(value, scores, place)
            emit.store(builder.fmul(value, builder.fsub(emit.load(slopes, place), middle)), slopes, place)
    builder.ret_void()
    return function


@intrinsic
def _fill_table(typingctx: Any, table: types.Array, sample: types.Array):
    """Compile both blocks for the dtype of `sample`; write their addresses to `table`."""

    def generate(context, builder, signature, args):
        dtype, simd = np.dtype(str(sample.dtype)), host_simd()
        lanes = simd.lanes(dtype)
        pointer = context.make_array(table)(context, builder, args[0]).data
        functions = (
            define_softmax_block(builder.module, f"nbtorch_softmax_{dtype}", dtype, lanes, simd.vectors_for(simd.rows)),
            define_slope_block(builder.module, f"nbtorch_slope_{dtype}", dtype, lanes),
        )
        for place, function in enumerate(functions):
            function.linkage = "internal"
            builder.store(builder.ptrtoint(function, INDEX), builder.gep(pointer, [INDEX(place)]))
        return context.get_dummy_value()

    return types.none(table, sample), generate


@njit
def attention_vector_code(table, sample):
    """Write the addresses of the blocks for the dtype of `sample` to `table` (2,), int64."""
    _fill_table(table, sample)


@cache
def attention_blocks(dtype: np.dtype) -> np.ndarray:
    """Return the table of what `softmax_block` and `slope_block` call, in this order."""
    table = np.zeros(2, np.int64)
    if not config.DISABLE_JIT:
        attention_vector_code(table, np.empty(0, dtype))
    return table


def _softmax_intrinsic(typingctx, table, scores, count, top, total, factor):
    signature = types.none(table, scores, types.int64, top, total, factor)

    def generate(context, builder, signature, args):
        def data(which: int) -> ir.Value:
            return pointer_to(context, builder, signature.args[which], args[which], INDEX(0))

        address = builder.load(data(0))
        parameters = softmax_signature(context.get_data_type(scores.dtype))
        call_block(builder, address, parameters, [data(1), args[2], data(3), data(4), data(5)])
        return context.get_dummy_value()

    return signature, generate


def _softmax_model(table, scores, count, top, total, factor):
    """Do in NumPy what `define_softmax_block` describes; for `NUMBA_DISABLE_JIT=1`."""
    rows = scores[: count * top.size].reshape(count, top.size)
    old = top.copy()
    top[:] = np.fmax(old, np.fmax.reduce(rows, 0, initial=-np.inf))
    shift = np.where(top == -np.inf, 0, top)
    rows[:] = np.exp(rows - shift)
    factor[:] = np.exp(old - shift)
    total[:] = total * factor + rows.sum(0)


def _slope_intrinsic(typingctx, table, scores, slopes, count, vectors, logarithm, mean):
    signature = types.none(table, scores, slopes, types.int64, types.int64, logarithm, mean)

    def generate(context, builder, signature, args):
        def data(which: int, start: int = 0) -> ir.Value:
            return pointer_to(context, builder, signature.args[which], args[which], INDEX(start))

        address = builder.load(data(0, 1))
        parameters = slope_signature(context.get_data_type(scores.dtype))
        call_block(builder, address, parameters, [data(1), data(2), args[3], args[4], data(5), data(6)])
        return context.get_dummy_value()

    return signature, generate


def _slope_model(table, scores, slopes, count, vectors, logarithm, mean):
    """Do in NumPy what `define_slope_block` describes; for `NUMBA_DISABLE_JIT=1`."""
    p, slope = (a[: count * mean.size].reshape(count, mean.size) for a in (scores, slopes))
    p[:] = np.exp(p - logarithm)
    slope[:] = p * (slope - mean)


softmax_block = _softmax_model if config.DISABLE_JIT else intrinsic(_softmax_intrinsic)
slope_block = _slope_model if config.DISABLE_JIT else intrinsic(_slope_intrinsic)
