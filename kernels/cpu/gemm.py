"""Matrix products on the processor, shared out among the threads of all other kernels.

A BLAS library brings threads of its own, and two pools that wait for each other by spinning cost a small network
several times its arithmetic: a step of LeNet, batch 64, two cores, took 8 to 12 ms with NumPy's OpenBLAS left alone. So
the output is cut into blocks, by its shape alone, and each block is a product on one thread: by NumPy's OpenBLAS where
it is found (`blas.py`). Elsewhere `strip_gemm.py` does it, and for few rows the kernels of a pointwise convolution,
whose three passes are the three layouts of a product.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numba.core import config

from ..jit import njit
from . import strip_gemm
from .blas import PLAIN, TRANSPOSED, Blas, openblas, product
from .conv import conv_forward, conv_grad_input, conv_grad_weight
from .ranges import RangeKernel
from .sharing import part

BLAS_PRODUCTS = 200_000
"""Up to so many multiplications OpenBLAS stays on the calling thread by itself."""

SERIAL_PRODUCTS = 1_500_000
"""Up to so many multiplications, 40 µs of a core, waking a second thread takes longer than it saves."""

BLOCK_EXTENT = 192
"""Blocks of large products have about so many rows and columns: OpenBLAS packs its factors anew for each block."""

BLOCK_MULTIPLE = 16
"""Blocks are multiples of so many rows or columns, which OpenBLAS's inner blocks divide or are not far from."""

FEW_ROWS = 16
"""Below so many rows, packing the other factor for `strip_gemm` takes too long."""

_SAMPLES = {4: np.empty(0, np.float32), 8: np.empty(0, np.float64)}

_POINTWISE = ((1, 1, 1), (0, 0, 0), (1, 1, 1), 1)  # stride, padding, dilation, groups


def matmul(a, b, output) -> None:
    """Write the products of `a` (..., n, m) and `b` (..., m, p), stacks of one shape, to the C-contiguous `output`.

    The factors are float32 or float64 in any layout; rows or columns that lie close are read in place.
    """
    stack = int(np.prod(output.shape[:-2])) if output.ndim > 2 else 1
    products = stack * a.shape[-2] * a.shape[-1] * b.shape[-1]
    if products <= BLAS_PRODUCTS:
        if a.shape[-1] == 1:
            np.multiply(a, b, out=output)  # ten times as fast as NumPy's matrix product of a column and a row
        else:
            np.matmul(a, b, out=output)
        return
    blas = None if config.DISABLE_JIT else openblas()
    if blas is not None:
        threads = blas.get_threads()
        blas.set_threads(1)
        try:
            _by_blas(blas, a, b, output, stack, products)
        finally:
            blas.set_threads(threads)
    elif a.shape[-2] >= FEW_ROWS:
        strip_gemm.matmul(_stack(a), _stack(b), output.reshape(-1, *output.shape[-2:]))
    else:
        for index in np.ndindex(output.shape[:-2]):
            _by_convolution(a[index], b[index], output[index])


class Cut(NamedTuple):
    """How each product of a stack is cut into blocks of rows and of columns."""

    n: int
    m: int
    p: int
    row_blocks: int
    column_blocks: int


@lru_cache(maxsize=1024)
def _cut(n: int, m: int, p: int) -> Cut:
    """Cut one product into blocks, by its shape alone, so that results do not depend on the number of threads."""
    rows, columns = _halvings(n), _halvings(p)
    if rows * columns == 1 and n * m * p > SERIAL_PRODUCTS:  # small, but worth a second thread
        rows, columns = (1, 2) if p >= n else (2, 1)
    return Cut(n, m, p, rows, columns)


def _halvings(extent: int) -> int:
    """Return into how many blocks a dimension is cut: a power of two, so that threads find equal shares."""
    return 1 << max(0, (extent // BLOCK_EXTENT).bit_length() - 1)


def _in_rows(matrices):
    """Return matrices whose rows or columns lie close, whether these are columns, and the pitch in elements."""
    size, (down, across) = matrices.itemsize, matrices.strides[-2:]
    rows, columns = matrices.shape[-2:]
    if across == size and down >= columns * size and down % size == 0:
        return matrices, PLAIN, down // size
    if down == size and across >= rows * size and across % size == 0:
        return matrices, TRANSPOSED, across // size
    return np.ascontiguousarray(matrices), PLAIN, max(1, columns)


def _addresses(matrices):
    """Return where each matrix of a stack begins."""
    places = np.array([matrices.__array_interface__["data"][0]])
    for extent, stride in zip(matrices.shape[:-2], matrices.strides[:-2], strict=True):
        places = (places[:, None] + np.arange(extent) * stride).reshape(-1)
    return places


def _by_blas(blas: Blas, a, b, output, stack, products) -> None:
    """Write products with OpenBLAS, one block on one thread."""
    a, order_a, pitch_a = _in_rows(a)
    b, order_b, pitch_b = _in_rows(b)
    if products <= SERIAL_PRODUCTS and stack == 1:
        np.matmul(a, b, out=output)
        return
    cut = _cut(*a.shape[-2:], b.shape[-1])
    places = _addresses(a), _addresses(b), _addresses(output)
    arguments = blas.products[a.itemsize], _SAMPLES[a.itemsize], cut, *places, order_a, order_b, pitch_a, pitch_b
    tasks = stack * cut.row_blocks * cut.column_blocks
    _blocks(tasks, products if tasks > 1 else 0, *arguments)


@njit
def _block(index, extent, blocks):
    """Return start and extent of one of the blocks of a dimension, multiples of `BLOCK_MULTIPLE` but for the last."""
    units = -(-extent // BLOCK_MULTIPLE)
    first, count = part(index, units, blocks)
    return first * BLOCK_MULTIPLE, min(extent, (first + count) * BLOCK_MULTIPLE) - first * BLOCK_MULTIPLE


def _blocks_range(address, sample, cut, a, b, output, order_a, order_b, pitch_a, pitch_b, begin, end):
    """Compute a range of blocks of the stack."""
    size = np.int64(sample.itemsize)
    for task in range(begin, end):
        rest, column_block = task // cut.column_blocks, task % cut.column_blocks
        item, row_block = rest // cut.row_blocks, rest % cut.row_blocks
        row, rows = _block(row_block, cut.n, cut.row_blocks)
        column, columns = _block(column_block, cut.p, cut.column_blocks)
        a_at = a[item] + size * row * (pitch_a if order_a == PLAIN else 1)
        b_at = b[item] + size * column * (1 if order_b == PLAIN else pitch_b)
        c_at = output[item] + size * (row * cut.p + column)
        product(address, sample, order_a, order_b, rows, columns, cut.m, a_at, pitch_a, b_at, pitch_b, c_at, cut.p)


_blocks = RangeKernel(_blocks_range, SERIAL_PRODUCTS + 1)


def _stack(matrices):
    """Return matrices as one stack; one matrix repeated stays where it is."""
    if matrices.ndim == 3:
        return matrices
    if not any(matrices.strides[:-2]):
        count = int(np.prod(matrices.shape[:-2]))
        return np.broadcast_to(matrices[(0,) * (matrices.ndim - 2)], (count, *matrices.shape[-2:]))
    return matrices.reshape(-1, *matrices.shape[-2:])


def _signal(matrix):
    """Return (channels, positions) as one image."""
    return matrix.reshape(1, matrix.shape[0], 1, 1, matrix.shape[1])


def _kernel(matrix):
    """Return (out, in) as the weight of a pointwise convolution."""
    return matrix.reshape(*matrix.shape, 1, 1, 1)


def _by_convolution(a, b, output) -> None:
    """Write one product with the kernels of a pointwise convolution."""
    a_lies_transposed = not a.flags.c_contiguous and a.T.flags.c_contiguous
    if b.T.flags.c_contiguous and not b.flags.c_contiguous and not a_lies_transposed:
        conv_grad_weight(_signal(np.ascontiguousarray(a)), _signal(b.T), *_POINTWISE, _kernel(output))
    elif a_lies_transposed:
        conv_grad_input(_signal(np.ascontiguousarray(b)), _kernel(a.T), None, *_POINTWISE, _signal(output))
    else:
        a, b = np.ascontiguousarray(a), np.ascontiguousarray(b)
        conv_forward(_signal(b), _kernel(a), None, *_POINTWISE, _signal(output))
