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
    """Emit a load of the elements 0, 2, 4, … from an index on, without touching what lies behind the last.

    They come in the order of `_second_lanes`, which takes one instruction; to put them in order takes another.
    """
    if lanes == 1:
        return _load(builder, pointer, index, 1)
    low = _load(builder, pointer, index, lanes)
    high = _load(builder, pointer, builder.add(index, INDEX(lanes - 1)), lanes)
    order = _second_lanes(pointer.type.pointee, lanes)
    chosen = [2 * i if 2 * i < lanes else 2 * i + 1 for i in order]  # `high` begins an element early
    return builder.shuffle_vector(low, high, ir.Constant(ir.VectorType(NUMBER, lanes), chosen))


def _second_lanes(element: ir.Type, lanes: int) -> list[int]:
    """Return which element of `_load_every_second` is in each lane: processors choose within 16 bytes of a vector."""
    half = min(lanes // 2, 2 if isinstance(element, ir.FloatType) or element == NUMBER else 1)
    runs = [range(start, start + half) for start in range(0, lanes // 2, half)]
    return [i for run in runs for i in (*run, *[lanes // 2 + j for j in run])]


def _in_order(builder: ir.IRBuilder, value: ir.Value, element: ir.Type, lanes: int) -> ir.Value:
    """Emit a vector in the order of the elements that `_load_every_second` loaded."""
    if lanes == 1:
        return value
    order = _second_lanes(element, lanes)
    places = ir.Constant(ir.VectorType(NUMBER, lanes), [order.index(i) for i in range(lanes)])
    return builder.shuffle_vector(value, value, places)


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


def _larger(builder: ir.IRBuilder, value: ir.Value, best: ir.Value, floating: bool) -> ir.Value:
    """Emit the larger of two by the rules of `scalar.wins`."""
    if not floating:
        return builder.select(builder.icmp_signed(">", value, best), value, best)
    larger = builder.select(builder.fcmp_ordered(">", value, best), value, best)
    return builder.select(builder.fcmp_unordered("uno", value, value), value, larger)


def _best_taps_intrinsic(
    typing_context,
    elements,
    start,
    stride,
    offsets,
    labels,
    taps,
    carried,
    best,
    best_start,
    choices,
    choice_start,
    position,
    step,
    count,
    vectors,
):
    """Write to `best`, for `count` windows, the largest of the elements start + i·stride + offsets[tap].

    `choices`, unless it is None, gets the label of the tap that it was: by the rules of `scalar.wins` the first of
    equals, and the last of NaN. Where `choices` is int64, the label is relative to position + i·step, which is added.
    There is at least one tap; `labels` is int32. A `stride` of None stands for 1. The first `vectors` windows, which
    may be more than `count`, are computed in whole vectors, which then read and write more than counts.

    Where `carried` is not None, elements have labels of their own there, int32, to which that of the tap is added; a
    negative sum stands for no element, and becomes the choice -1.
    """
    floating, labelled = isinstance(elements.dtype, types.Float), not isinstance(choices, types.NoneType)
    carries, unit = not isinstance(carried, types.NoneType), isinstance(stride, types.NoneType)
    lanes = host_simd().vector_bytes * 8 // elements.dtype.bitwidth

    def emit(context, builder, signature, arguments):
        x, table, names, out = (_data(context, builder, signature, arguments, number) for number in (0, 3, 4, 7))
        first, terms, out_start, choices_start, origin_position, spacing, windows, whole = (
            arguments[number] for number in (1, 5, 8, 10, 11, 12, 13, 14)
        )
        apart = INDEX(1) if unit else arguments[2]
        out_choices = _data(context, builder, signature, arguments, 9) if labelled else None
        own = _data(context, builder, signature, arguments, 6) if carries else None

        def named(place: ir.Value, number: ir.Value, lanes: int) -> ir.Value:
            """Return labels as choices: of their type, and with the windows' positions if they are positions."""
            kind = _vector(out_choices.type.pointee, lanes)
            zero, none = (_splat(builder, NUMBER(value), lanes) for value in (0, -1))
            negative = builder.icmp_signed("<", number, zero)
            if kind == number.type:
                return number
            if choices.dtype.bitwidth < 32:
                return builder.trunc(builder.select(negative, none, number) if carries else number, kind)
            base = _splat(builder, builder.add(origin_position, builder.mul(place, spacing)), lanes)
            if lanes > 1:
                numbers = ir.Constant(kind, list(range(lanes)))
                base = builder.add(base, builder.mul(numbers, _splat(builder, spacing, lanes)))
            found = builder.add(builder.sext(number, kind), base)
            return builder.select(negative, _splat(builder, INDEX(-1), lanes), found) if carries else found

        def tap_of(number: ir.Value) -> tuple[ir.Value, ir.Value]:
            """Return offset and label of a tap."""
            return _load(builder, table, number, 1), _load(builder, names, number, 1)

        def walk(
            place: ir.Value, lanes: int, load: Any, few: list[tuple[ir.Value, ir.Value]], seconds: bool = False
        ) -> None:
            """Pool the windows from `place` on in the lanes of a vector; `few` has the taps where they are known."""
            origin = builder.add(first, builder.mul(place, apart))

            def read(tap: tuple[ir.Value, ir.Value]) -> tuple[ir.Value, ir.Value | None]:
                """Return a tap's elements and, if wanted, their labels."""
                index = builder.add(origin, tap[0])
                number = _splat(builder, tap[1], lanes) if labelled else None
                if carries and labelled:
                    number = builder.add(number, _load(builder, own, index, lanes))
                return load(index, lanes), number

            def better(new: Any, old: Any) -> tuple[ir.Value, ir.Value | None]:
                """Return the better of two (element, label)."""
                if not labelled:
                    return _larger(builder, new[0], old[0], floating), None
                wins = _wins(builder, new[0], old[0], floating)
                return builder.select(wins, new[0], old[0]), builder.select(wins, new[1], old[1])

            value, number = read(few[0] if few else tap_of(INDEX(0)))
            for tap in few[1:]:
                value, number = better(read(tap), (value, number))
            if not few:
                largest = cgutils.alloca_once(builder, value.type)
                builder.store(value, largest)
                if labelled:
                    chosen = cgutils.alloca_once(builder, number.type)
                    builder.store(number, chosen)
                with cgutils.for_range_slice(builder, INDEX(1), terms, INDEX(1), INDEX) as (tap, _):
                    old = builder.load(largest), builder.load(chosen) if labelled else None
                    value, number = better(read(tap_of(tap)), old)
                    builder.store(value, largest)
                    if labelled:
                        builder.store(number, chosen)
                value, number = builder.load(largest), builder.load(chosen) if labelled else None
            if seconds:
                value = _in_order(builder, value, x.type.pointee, lanes)
                number = _in_order(builder, number, x.type.pointee, lanes) if labelled else None
            _store(builder, value, out, builder.add(out_start, place), lanes)
            if labelled:
                _store(builder, named(place, number, lanes), out_choices, builder.add(choices_start, place), lanes)

        def row(load: Any, counts: tuple[int, ...], *widths: int, seconds: bool = False) -> None:
            """Pool a row; where there are as many taps as one of the counts says, they are kept in registers."""
            if not counts:
                for place, width in _vectors(builder, windows, whole, widths):
                    walk(place, width, load, [], seconds)
                return
            with builder.if_else(builder.icmp_signed("==", terms, INDEX(counts[0]))) as (then, otherwise):
                with then:
                    few = [tap_of(INDEX(number)) for number in range(counts[0])]
                    for place, width in _vectors(builder, windows, whole, widths):
                        walk(place, width, load, few, seconds)
                with otherwise:
                    row(load, counts[1:], *widths, seconds=seconds)

        def adjacent() -> None:
            row(lambda index, lanes: _load(builder, x, index, lanes), (2, 3), 2 * lanes, lanes)

        def seconds() -> None:
            def load(index: ir.Value, lanes: int) -> ir.Value:
                return _load_every_second(builder, x, index, lanes)

            row(load, (2, 3, 4), 2 * lanes, lanes, seconds=True)

        if unit:
            adjacent()
            return context.get_dummy_value()
        with builder.if_else(builder.icmp_signed("==", apart, INDEX(1))) as (then, otherwise):
            with then:
                adjacent()
            with otherwise, builder.if_else(builder.icmp_signed("==", apart, INDEX(2))) as (then, otherwise):
                with then:
                    seconds()
                with otherwise:
                    row(lambda index, lanes: _load_apart(builder, x, index, apart, lanes), (), lanes)
        return context.get_dummy_value()

    integer = types.int64
    windows = elements, integer, types.none if unit else integer, offsets, labels, integer
    outputs = carried, best, integer, choices, integer, integer, integer, integer, integer
    return types.none(*windows, *outputs), emit


def _best_taps_model(
    elements,
    start,
    stride,
    offsets,
    labels,
    taps,
    carried,
    best,
    best_start,
    choices,
    choice_start,
    position,
    step,
    count,
    vectors,
):
    for i in range(count):
        value, label = None, -1
        for tap in range(taps):
            place = start + i * (stride or 1) + offsets[tap]
            if tap == 0 or scalar.wins(elements[place], value):
                value, label = elements[place], int(labels[tap])
                if carried is not None:
                    label = max(-1, label + int(carried[place]))
        best[best_start + i] = value
        if choices is not None:
            if choices.itemsize == 8 and label >= 0:
                label += position + i * step
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
def pool_windows(elements, start, offsets, labels, taps, best, names, count, vectors):
    """Look for the largest of neighbouring windows, and their labels, which are int32; see `best_taps`."""
    best_taps(elements, start, None, offsets, labels, taps, None, best, 0, names, 0, 0, 0, count, vectors)


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
