"""The transforms of Winograd's convolution F(4x4, 3x3), as vector code.

A transform is `L X L^T` for a small matrix L of constants and a square X of vectors, so that every lane (a channel)
carries a tile of its own. One emitter serves all of them; `MATRICES` says which there are and where they come from.
"""

import itertools
from contextlib import nullcontext
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic

from ..jit import njit
from .simd import INDEX, Emitter, call_block, element_type, host_simd, new_function, pointer_to

OUTPUTS, TAPS = 4, 3
"""Outputs of a tile and taps of the kernel along one dimension."""

TILE = OUTPUTS + TAPS - 1
"""Inputs of a tile along one dimension, and factors of its product."""

POINTS = (0.0, 0.75, -0.75, 1.5, -1.5)
"""Where the polynomials are evaluated, besides infinity: opposite points share sums, and all constants of B and A are
exact in binary. Over 512 channels the relative error is 1.1e-6; the usual 0, 1, -1, 2, -2 give 2.3e-6."""


def toom_cook_matrices() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return A (6 x 4), B (6 x 6) and G (6 x 3) with `convolution(d, g) = A^T ((G g) * (B d))`.

    The product of two polynomials is found from its values at points, which are products of values; the transpose of
    that algorithm is the correlation of d with g (Winograd, Arithmetic Complexity of Computations, 1980).
    """
    a, b, g = np.zeros((TILE, OUTPUTS)), np.zeros((TILE, TILE)), np.zeros((TILE, TAPS))
    for row, point in enumerate(POINTS):
        others = [other for other in POINTS if other != point]
        a[row] = point ** np.arange(OUTPUTS)
        g[row] = point ** np.arange(TAPS) / np.prod(point - np.array(others))
        b[row, : len(POINTS)] = np.poly(others)[::-1]
    a[-1, -1] = g[-1, -1] = 1
    b[-1] = np.poly(POINTS)[::-1]
    return a, b, g


A, B, G = toom_cook_matrices()

SOURCE, WEIGHT, OUTPUT, GRADIENT, GRAD_WEIGHT = range(5)
MATRICES = (B, G, A.T, A, G.T)
"""What transforms a tile of the source, the weight, the product to outputs; and, for the gradient of the weight, a
tile of the gradient of the output, and the product to taps: the transposes, as always in a gradient."""

FINAL = (OUTPUT, GRAD_WEIGHT)
"""Transforms that write results: an addend, a limit to rows and columns, and a check for NaN and infinity."""


def _dot(emit: Emitter, factors: np.ndarray, vectors: list[ir.Value]) -> ir.Value:
    """Emit the sum of constants times vectors; the terms with factor 1 begin."""
    terms = sorted((float(f) != 1.0, i) for i, f in enumerate(factors) if f)
    total = None
    for scaled, i in terms:
        factor = emit.constant(float(factors[i]))
        if total is None:
            total = emit.builder.fmul(factor, vectors[i]) if scaled else vectors[i]
        else:
            total = emit.fma(factor, vectors[i], total) if scaled else emit.builder.fadd(vectors[i], total)
    return emit.zeros() if total is None else total


def _alternates(matrix: np.ndarray, row: int) -> bool:
    """Tell whether the next row has the same entries, every second one with the opposite sign."""
    signs = (-1.0) ** np.arange(matrix.shape[1])
    return row + 1 < len(matrix) and row > 0 and np.array_equal(matrix[row + 1], matrix[row] * signs)


def product(emit: Emitter, matrix: np.ndarray, vectors: list[ir.Value]) -> list[ir.Value]:
    """Emit `matrix @ vectors`. Opposite points make pairs of rows, or of columns, that share half of their work."""
    builder = emit.builder
    if len(matrix) < TILE:  # columns come in pairs: add and subtract the vectors first
        columns, sums = [], list(vectors)
        for c in range(matrix.shape[1]):
            if _alternates(matrix.T, c):
                sums[c], sums[c + 1] = builder.fadd(*vectors[c : c + 2]), builder.fsub(*vectors[c : c + 2])
                columns.append(c)
        results = []
        for r, row in enumerate(matrix):
            factors = row.copy()
            factors[[c + 1 - r % 2 for c in columns]] = 0
            factors[[c + r % 2 for c in columns]] = row[columns]
            results.append(_dot(emit, factors, sums))
        return results
    results = []
    for r, row in enumerate(matrix):
        if r and _alternates(matrix, r - 1):
            continue
        if not _alternates(matrix, r):
            results.append(_dot(emit, row, vectors))
            continue
        even, odd = row.copy(), row.copy()
        even[1::2] = odd[::2] = 0
        pair = _dot(emit, even, vectors), _dot(emit, odd, vectors)
        results += [builder.fadd(*pair), builder.fsub(*pair)]
    return results


def transform_signature(element: ir.Type) -> list[ir.Type]:
    """Return the parameters of a transform."""
    pointer = element.as_pointer()
    return [pointer, INDEX, INDEX, INDEX, pointer, INDEX, INDEX, INDEX, INDEX, INDEX, INDEX, pointer, pointer]


def define_transform(module: ir.Module, name: str, dtype: np.dtype, lanes: int, matrix: np.ndarray, final: bool):
    """Add the transform `Y = L X L^T` to a module, for a row of `count` tiles.

    Tile t has `X[i, j] = source[t * source_step + i * source_row + j * source_column]`, a vector, and likewise Y in
    the target. A final transform adds a vector to every element, writes those in the first `rows` rows and in the first
    `columns` columns of all tiles side by side, and makes lanes of `check` NaN where a sum of Y is not finite.
    """
    element = element_type(dtype)
    function, builder = new_function(module, name, transform_signature(element))
    function.attributes.add("optsize")
    source, source_row, source_column, source_step, *rest = function.args
    target, target_row, target_column, target_step, count, rows, columns, addend, check = rest
    emit = Emitter(builder, element, lanes)
    outputs, inputs = matrix.shape

    def place(row: int, column: int, row_pitch: ir.Value, column_pitch: ir.Value) -> ir.Value:
        return builder.add(builder.mul(row_pitch, INDEX(row)), builder.mul(column_pitch, INDEX(column)))

    def inside(index: ir.Value, end: ir.Value) -> Any:
        return builder.if_then(builder.icmp_signed("<", index, end), likely=True) if final else nullcontext()

    with cgutils.for_range(builder, count, intp=INDEX) as tile:
        tile_source = builder.gep(source, [builder.mul(tile.index, source_step)])
        tile_target = builder.gep(target, [builder.mul(tile.index, target_step)])
        half = []
        for j in range(inputs):
            column = [emit.load(tile_source, place(i, j, source_row, source_column)) for i in range(inputs)]
            half.append(product(emit, matrix, column))
        whole = [product(emit, matrix, [column[r] for column in half]) for r in range(outputs)]
        rest = columns
        if final:
            added, total = emit.load(addend, INDEX(0)), emit.zeros()
            whole = [[builder.fadd(value, added) for value in row] for row in whole]
            for value in itertools.chain(*whole):
                total = builder.fadd(total, value)
            emit.store(emit.fma(total, emit.zeros(), emit.load(check, INDEX(0))), check, INDEX(0))
            rest = builder.sub(columns, builder.mul(tile.index, INDEX(outputs)))
        for r, row in enumerate(whole):
            with inside(INDEX(r), rows):
                for c, value in enumerate(row):
                    with inside(INDEX(c), rest):
                        emit.store(value, tile_target, place(r, c, target_row, target_column))
    builder.ret_void()
    return function


@intrinsic
def _fill_transform_table(typingctx: Any, table: types.Array, sample: types.Array):
    """Compile all transforms for the dtype of `sample`; write their addresses to `table`."""

    def generate(context, builder, signature, args):
        dtype = np.dtype(str(sample.dtype))
        pointer = context.make_array(table)(context, builder, args[0]).data
        for which, matrix in enumerate(MATRICES):
            name, lanes = f"nbtorch_transform_{which}_{dtype}", host_simd().lanes(dtype)
            function = define_transform(builder.module, name, dtype, lanes, matrix, which in FINAL)
            function.linkage = "internal"
            builder.store(builder.ptrtoint(function, INDEX), builder.gep(pointer, [INDEX(which)]))
        return context.get_dummy_value()

    return types.none(table, sample), generate


@njit
def transform_vector_code(table, sample):
    """Write the addresses of all transforms for the dtype of `sample` to `table` (5,), int64."""
    _fill_transform_table(table, sample)


@cache
def transforms(dtype: np.dtype) -> np.ndarray:
    """Return the table of what `transform` calls."""
    table = np.arange(len(MATRICES))
    if not config.DISABLE_JIT:
        transform_vector_code(table, np.empty(0, dtype))
    return table


def _transform_intrinsic(
    typingctx, code, source, source_start, source_row, source_column, source_step,
    target, target_start, target_row, target_column, target_step, count, rows, columns, addend, addend_start, check,
):  # fmt: skip
    i = types.int64
    signature = types.none(i, source, i, i, i, i, target, i, i, i, i, i, i, i, addend, i, check)

    def generate(context, builder, signature, args):
        def at(which: int, start: ir.Value) -> ir.Value:
            return pointer_to(context, builder, signature.args[which], args[which], start)

        arguments = [at(1, args[2]), *args[3:6], at(6, args[7]), *args[8:14], at(14, args[15]), at(16, INDEX(0))]
        call_block(builder, args[0], transform_signature(context.get_data_type(source.dtype)), arguments)
        return context.get_dummy_value()

    return signature, generate


def _transform_model(
    code, source, source_start, source_row, source_column, source_step,
    target, target_start, target_row, target_column, target_step, count, rows, columns, addend, addend_start, check,
):  # fmt: skip
    """Do in NumPy what `define_transform` describes; for `NUMBA_DISABLE_JIT=1`."""
    matrix, lanes = MATRICES[code], np.arange(host_simd().lanes(source.dtype))
    outputs, inputs = (np.arange(size) for size in matrix.shape)
    for t in range(count):
        begin = source_start + t * source_step
        places = begin + inputs[:, None, None] * source_row + inputs[:, None] * source_column + lanes
        result = np.einsum("ai,bj,ijv->abv", matrix, matrix, source[places]).astype(source.dtype)
        if code in FINAL:
            result += addend[addend_start + lanes]
            check[lanes] += result.sum((0, 1)) * 0
            result = result[:rows, : max(0, columns - t * len(outputs))]
        begin = target_start + t * target_step
        for r, row in enumerate(result):
            for c, vector in enumerate(row):
                target[begin + r * target_row + c * target_column + lanes] = vector


transform = _transform_model if config.DISABLE_JIT else intrinsic(_transform_intrinsic)
