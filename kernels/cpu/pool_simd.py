"""The vector block of the poolings that look for maxima, written as LLVM code through llvmlite.

`best_taps` walks a table of taps with a vector of neighbouring windows in registers: one piece of code for every size,
stride and dilation of a window, compiled once, with nothing unrolled for some of them. Shown the loops themselves,
the compiler finds vectors for a few cases only.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from llvmlite import ir
from nbtorch.kernels import scalar
from nbtorch.kernels.cpu.rows import choose
from nbtorch.kernels.cpu.simd import host_simd
from nbtorch.kernels.jit import njit
from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic

INDEX, NUMBER = ir.IntType(64), ir.IntType(32)


LANES = host_simd().vector_bytes // 4
"""As many places as fill whole vectors, whatever the type of the elements."""


def _vector(element: ir.Type, lanes: int) -> ir.Type:
    return element if lanes == 1 else ir.VectorType(element, lanes)


def _splat(builder: ir.IRBuilder, value: ir.Value, lanes: int) -> ir.Value:
    """Emit a scalar in every lane."""
    if lanes == 1:
        return value
    undefined = ir.Constant(ir.VectorType(value.type, lanes), ir.Undefined)
    single = builder.insert_element(undefined, value, NUMBER(0))
    return builder.shuffle_vector(single, undefined, ir.Constant(ir.VectorType(NUMBER, lanes), [0] * lanes))


def _place(builder: ir.IRBuilder, pointer: ir.Value, index: ir.Value, lanes: int) -> ir.Value:
    """Emit the address of so many elements that begin at an index."""
    address = builder.gep(pointer, [index])
    return builder.bitcast(address, _vector(pointer.type.pointee, lanes).as_pointer())


def _load(builder: ir.IRBuilder, pointer: ir.Value, index: ir.Value, lanes: int) -> ir.Value:
    return builder.load(_place(builder, pointer, index, lanes), align=1)


def _store(builder: ir.IRBuilder, value: ir.Value, pointer: ir.Value, index: ir.Value, lanes: int) -> None:
    builder.store(value, _place(builder, pointer, index, lanes), align=1)


def _load_every_second(builder: ir.IRBuilder, pointer: ir.Value, index: ir.Value, lanes: int) -> ir.Value:
    """Emit a load of the elements 0, 2, 4, … from an index on, without touching what lies behind the last."""
    if lanes == 1:
        return _load(builder, pointer, index, 1)
    low = _load(builder, pointer, index, lanes)
    high = _load(builder, pointer, builder.add(index, INDEX(lanes - 1)), lanes)
    half = lanes // 2
    chosen = [2 * i for i in range(half)] + [lanes + 2 * i + 1 for i in range(half)]
    return builder.shuffle_vector(low, high, ir.Constant(ir.VectorType(NUMBER, lanes), chosen))


def _load_apart(builder: ir.IRBuilder, pointer: ir.Value, index: ir.Value, stride: ir.Value, lanes: int) -> ir.Value:
    """Emit a load of elements that lie a stride apart."""
    if lanes == 1:
        return _load(builder, pointer, index, 1)
    result = ir.Constant(ir.VectorType(pointer.type.pointee, lanes), ir.Undefined)
    for lane in range(lanes):
        place = builder.add(index, builder.mul(stride, INDEX(lane)))
        result = builder.insert_element(result, _load(builder, pointer, place, 1), NUMBER(lane))
    return result


def _vectors(
    builder: ir.IRBuilder, count: ir.Value, whole: ir.Value, widths: tuple[int, ...]
) -> Iterator[tuple[ir.Value, int]]:
    """Emit loops over `count` places, `whole` of them in vectors of these widths; give their bodies (place, width)."""
    done = INDEX(0)
    for width in (*widths, 1):
        repeats = builder.sdiv(builder.sub(count if width == 1 else whole, done), INDEX(width))
        with cgutils.for_range(builder, repeats) as loop:
            yield builder.add(done, builder.mul(loop.index, INDEX(width))), width
        done = builder.add(done, builder.mul(repeats, INDEX(width)))


def _data(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any, number: int) -> ir.Value:
    """Return the address of the elements of an array among the arguments."""
    return context.make_array(signature.args[number])(context, builder, arguments[number]).data


def _wins(builder: ir.IRBuilder, value: ir.Value, best: ir.Value, floating: bool) -> ir.Value:
    """Emit `scalar.wins`."""
    if not floating:
        return builder.icmp_signed(">", value, best)
    return builder.or_(builder.fcmp_ordered(">", value, best), builder.fcmp_unordered("uno", value, value))


def _best_taps_intrinsic(
    typing_context,
    elements,
    start,
    stride,
    offsets,
    labels,
    taps,
    best,
    best_start,
    choices,
    choice_start,
    position,
    count,
    vectors,
    edge,
    columns,
    width,
):
    """Write to `best`, for `count` windows, the largest of the elements start + i·stride + offsets[tap].

    `choices` gets the label of the tap that it was: by the rules of `scalar.wins` the first of equals, and the last of
    NaN. Where `choices` is int64, the label is relative to position + i·stride, which is added. There is at least one
    tap; `labels` is int32. The first `vectors` windows, which may be more than `count`, are computed in whole vectors,
    which then read and write more than counts.

    Where `edge` is not None, only taps with 0 <= edge + i·stride + columns[tap] < width count; if none does the choice
    is -1. What does not count is read nevertheless in vectors, but not outside of the array for windows one by one.
    """
    floating, masked = isinstance(elements.dtype, types.Float), not isinstance(edge, types.NoneType)
    flat = choices.dtype.bitwidth == 64
    lanes = host_simd().vector_bytes * 8 // elements.dtype.bitwidth

    def emit(context, builder, signature, arguments):
        x, table, names, out, out_choices, shifts = (
            _data(context, builder, signature, arguments, number) for number in (0, 3, 4, 6, 8, 14)
        )
        first, step, terms, out_start, choices_start, origin_position, windows, whole, left, extent = (
            arguments[number] for number in (1, 2, 5, 7, 9, 10, 11, 12, 13, 15)
        )

        def named(place: ir.Value, number: ir.Value, lanes: int) -> ir.Value:
            """Return labels as choices: of their type, and with the windows' positions if they are positions."""
            kind = _vector(out_choices.type.pointee, lanes)
            if not flat:
                return number if number.type == kind else builder.trunc(number, kind)
            number = builder.sext(number, kind)
            base = _splat(builder, builder.add(origin_position, builder.mul(place, step)), lanes)
            if lanes > 1:
                base = builder.add(
                    base, builder.mul(ir.Constant(kind, list(range(lanes))), _splat(builder, step, lanes))
                )
            found = builder.add(number, base)
            none = builder.icmp_signed("<", number, ir.Constant(kind, [0] * lanes if lanes > 1 else 0))
            return builder.select(none, number, found) if masked else found

        def counts(place: ir.Value, tap: ir.Value, lanes: int) -> ir.Value:
            """Say in which windows a tap lies inside the row."""
            column = builder.add(builder.add(left, builder.mul(place, step)), _load(builder, shifts, tap, 1))
            column = _splat(builder, builder.trunc(column, NUMBER), lanes)
            if lanes > 1:
                numbers = ir.Constant(ir.VectorType(NUMBER, lanes), list(range(lanes)))
                column = builder.add(column, builder.mul(numbers, _splat(builder, builder.trunc(step, NUMBER), lanes)))
            return builder.icmp_unsigned("<", column, _splat(builder, builder.trunc(extent, NUMBER), lanes))

        def read(load: Any, index: ir.Value, lanes: int) -> ir.Value:
            """Read a vector; of a single window at the edge perhaps another element, so as not to leave the memory."""
            if masked and lanes == 1:
                index = builder.select(builder.icmp_signed("<", index, INDEX(0)), INDEX(0), index)
                last = builder.sub(size, INDEX(1))
                index = builder.select(builder.icmp_signed(">", index, last), last, index)
            return load(index, lanes)

        def walk(place: ir.Value, lanes: int, load: Any) -> None:
            """Pool the windows from `place` on in the lanes of a vector."""
            origin = builder.add(first, builder.mul(place, step))
            value = read(load, builder.add(origin, _load(builder, table, INDEX(0), 1)), lanes)
            number = _splat(builder, _load(builder, names, INDEX(0), 1), lanes)
            if masked:
                inside, none = counts(place, INDEX(0), lanes), _splat(builder, NUMBER(-1), lanes)
                lowest = _splat(builder, _lowest_of(x.type.pointee, elements.dtype), lanes)
                value, number = builder.select(inside, value, lowest), builder.select(inside, number, none)
            largest, chosen = (cgutils.alloca_once(builder, start.type) for start in (value, number))
            builder.store(value, largest)
            builder.store(number, chosen)
            with cgutils.for_range_slice(builder, INDEX(1), terms, INDEX(1), INDEX) as (tap, _):
                value = read(load, builder.add(origin, _load(builder, table, tap, 1)), lanes)
                wins = _wins(builder, value, builder.load(largest), floating)
                if masked:
                    is_first = builder.icmp_signed("<", builder.load(chosen), _splat(builder, NUMBER(0), lanes))
                    wins = builder.and_(counts(place, tap, lanes), builder.or_(wins, is_first))
                name = _splat(builder, _load(builder, names, tap, 1), lanes)
                builder.store(builder.select(wins, value, builder.load(largest)), largest)
                builder.store(builder.select(wins, name, builder.load(chosen)), chosen)
            _store(builder, builder.load(largest), out, builder.add(out_start, place), lanes)
            name = named(place, builder.load(chosen), lanes)
            _store(builder, name, out_choices, builder.add(choices_start, place), lanes)

        def row(load: Any, *widths: int) -> None:
            for place, width in _vectors(builder, windows, whole, widths):
                walk(place, width, load)

        def apart(index: ir.Value, lanes: int) -> ir.Value:
            return _load_apart(builder, x, index, step, lanes)

        size = context.make_array(signature.args[0])(context, builder, arguments[0]).nitems
        if masked:
            row(apart, lanes)
            return context.get_dummy_value()
        with builder.if_else(builder.icmp_signed("==", step, INDEX(1))) as (then, otherwise):
            with then:
                row(lambda index, lanes: _load(builder, x, index, lanes), 2 * lanes, lanes)
            with otherwise, builder.if_else(builder.icmp_signed("==", step, INDEX(2))) as (then, otherwise):
                with then:
                    row(lambda index, lanes: _load_every_second(builder, x, index, lanes), 2 * lanes, lanes)
                with otherwise:
                    row(apart, lanes)
        return context.get_dummy_value()

    integer = types.int64
    windows = elements, integer, integer, offsets, labels, integer
    outputs = best, integer, choices, integer, integer
    return types.none(*windows, *outputs, integer, integer, integer if masked else types.none, columns, integer), emit


def _best_taps_model(
    elements,
    start,
    stride,
    offsets,
    labels,
    taps,
    best,
    best_start,
    choices,
    choice_start,
    position,
    count,
    vectors,
    edge,
    columns,
    width,
):
    for i in range(count):
        value, label = _lowest_model(elements), -1
        for tap in range(taps):
            if edge is None or 0 <= edge + i * stride + columns[tap] < width:
                new = elements[start + i * stride + offsets[tap]]
                if label < 0 or scalar.wins(new, value):
                    value, label = new, int(labels[tap])
        best[best_start + i] = value
        if choices.itemsize == 8 and label >= 0:
            label += position + i * stride
        choices[choice_start + i] = np.int64(label).astype(choices.dtype)


def _lowest_of(kind: ir.Type, dtype: Any) -> ir.Value:
    return ir.Constant(kind, -math.inf if isinstance(dtype, types.Float) else dtype.minval)


def _lowest_intrinsic(typing_context, array):
    """Return the lowest number of an array's type."""

    def emit(context, builder, signature, arguments):
        return _lowest_of(context.get_value_type(array.dtype), array.dtype)

    return array.dtype(array), emit


def _lowest_model(array):
    return array.dtype.type(-np.inf if array.dtype.kind == "f" else np.iinfo(array.dtype).min)


best_taps = _best_taps_model if config.DISABLE_JIT else intrinsic(_best_taps_intrinsic)
lowest = _lowest_model if config.DISABLE_JIT else intrinsic(_lowest_intrinsic)


@njit(forceinline=True)
def pool_windows(
    elements, start, stride, offsets, labels, taps, best, best_start, choices, choice_start, position, count, vectors
):
    """Look for the largest elements of windows of which every tap counts; see `best_taps`."""
    best_taps(
        elements,
        start,
        stride,
        offsets,
        labels,
        taps,
        best,
        best_start,
        choices,
        choice_start,
        position,
        count,
        vectors,
        None,
        offsets,
        0,
    )


@njit
def best_column(best, labels, begin, end):
    """Return (value, position) of the best of some columns, as if all elements had been walked in order.

    The position of a column's element is its label and its number: of equal ones the first is best, of NaN the last.
    Selections, not branches: on numbers that nobody can foresee a branch costs more than all the rest.
    """
    value, position = best[begin], np.int64(labels[begin]) + begin
    for column in range(begin + 1, end):
        new, new_position = best[column], np.int64(labels[column]) + column
        before = new_position < position
        is_nan = (new != new) & ((value == value) | (new_position > position))
        wins = (new > value) | ((new == value) & before) | is_nan
        value, position = choose(wins, new, value), choose(wins, new_position, position)
    return value, position
