"""Attention on CUDA: the functions of `nbtorch.kernels.cpu.attention`, blockwise with a running maximum and sum.

A block of threads owns a tile of queries (or, for the gradients of keys and values, of keys) and walks through the
other side tile by tile. Tiles of scores and the operands of their products stay in shared memory, features in pieces of
a tile's width, so any number of them fits; a thread has `SHARE` elements of a tile, all in one row. Results are summed
by the block that owns them, in order, without atomics.
"""

import functools
import math
from typing import Any, NamedTuple

import numpy as np
from nbtorch.kernels import scalar
from nbtorch.kernels.cuda import target
from nbtorch.kernels.cuda.target import cuda, device, int64

SHARE = 4
"""Elements of a tile that a thread computes, in one row and `LANES` apart."""

LANES = 2 if target.SIMULATOR else 8
TILE = SHARE * LANES
THREADS = TILE * LANES
PITCH = TILE + 1
AREA = TILE * PITCH
"""From one row of a tile to the next: odd, so that neighbouring rows lie in different banks."""

NO_MASK, BOOL_MASK, FLOAT_MASK = range(3)


mixed = target.scalar(scalar.mixed)


class Problem(NamedTuple):
    """Shapes and options; strides of the mask in elements."""

    batch: int
    heads: int
    groups: int
    queries: int
    keys: int
    features: int
    values: int
    causal: int
    mask: int
    mask_batch: int
    mask_head: int
    mask_query: int
    mask_key: int
    dropped: int
    """Whether probabilities are dropped."""


def attention_forward(
    q: Any, k: Any, v: Any, mask: Any, causal: bool, scale: float, drop: Any, out: Any, logarithm: Any
) -> None:
    """Write attention's result to `out`, and the logarithm of each query's sum of exponentials to (N, H, L)."""
    problem, visible, added = _problem(q, k, v, mask, causal, drop)
    blocks = problem.batch * problem.heads * -(-problem.queries // TILE)
    arguments = problem, _scalar(q, scale), *_dropping(q, drop), q, k, v, visible, added, out, logarithm
    forward(np.dtype(q.dtype))(blocks, *arguments)


def attention_backward(
    grad: Any, q: Any, k: Any, v: Any, out: Any, logarithm: Any, mask: Any, causal: bool, scale: float,
    drop: Any, grad_q: Any, grad_k: Any, grad_v: Any,
) -> None:  # fmt: skip
    """Write the gradients of queries, keys and values, given that of the result of `attention_forward`."""
    problem, visible, added = _problem(q, k, v, mask, causal, drop)
    dtype, rows = np.dtype(q.dtype), logarithm.size
    mean = target.empty(q, rows)
    means(dtype)(target.blocks_for(rows, target.THREADS), grad, out, mean, rows, problem.values)
    common = problem, _scalar(q, scale), *_dropping(q, drop), q, k, v, visible, added, grad, logarithm, mean
    blocks = problem.batch * problem.heads * -(-problem.queries // TILE)
    query_gradient(dtype)(blocks, *common, grad_q)
    blocks = problem.batch * problem.groups * -(-problem.keys // TILE)
    key_gradient(dtype)(blocks, *common, grad_k, grad_v)


def _scalar(like: Any, value: float) -> Any:
    return np.dtype(like.dtype).type(value)


def _dropping(q: Any, drop: Any) -> tuple[int, Any, Any]:
    """Return below which bits probabilities are dropped, how the others grow, and the keys of queries."""
    if drop is None:
        return 0, _scalar(q, 1), target.empty(q, 1, np.uint32)
    bound, keys = drop
    return bound, _scalar(q, 0 if bound >> 32 else 1 / (1 - bound / 2**32)), keys


def _problem(q: Any, k: Any, v: Any, mask: Any, causal: bool, drop: Any) -> tuple[Problem, Any, Any]:
    """Return the description of the problem, and the mask as an array of booleans and as one of numbers."""
    visible, added, kind, strides = target.empty(q, 1, np.uint8), target.empty(q, 1), NO_MASK, (0,) * 4
    if mask is not None:
        small = mask[tuple([slice(0, 1) if stride == 0 else slice(None) for stride in mask.strides])]
        if not small.flags.c_contiguous:
            small = small.copy()
        steps = [s // mask.itemsize for s in small.strides]
        strides = tuple([0 if given == 0 else step for given, step in zip(mask.strides, steps, strict=True)])
        if mask.dtype == bool:
            kind, visible = BOOL_MASK, small.view(np.uint8)
        else:
            kind, added = FLOAT_MASK, small
    shape = q.shape[0], q.shape[1], k.shape[1], q.shape[2], k.shape[2], q.shape[3], v.shape[3]
    return Problem(*shape, int(causal), kind, *strides, int(drop is not None)), visible, added


@device
def load_tile(source, start, rows, features, first, tile):
    """Load rows of a matrix, TILE of their features from `first` on; zeros where there are none."""
    place = cuda.threadIdx.x
    while place < TILE * TILE:
        row, column = place // TILE, place % TILE
        tile[row * PITCH + column] = 0
        if row < rows and first + column < features:
            tile[row * PITCH + column] = source[start + int64(row) * features + first + column]
        place += THREADS


@device
def products(a, a_start, a_rows, b, b_start, b_rows, features, left, right):
    """Return this thread's share of the products of rows of `a` with rows of `b`."""
    row, lane = cuda.threadIdx.x // LANES, cuda.threadIdx.x % LANES
    s0 = s1 = s2 = s3 = left.dtype.type(0)
    first = 0
    while first < features:
        cuda.syncthreads()
        load_tile(a, a_start, a_rows, features, first, left)
        load_tile(b, b_start, b_rows, features, first, right)
        cuda.syncthreads()
        for e in range(TILE):
            factor = left[row * PITCH + e]
            s0 += factor * right[lane * PITCH + e]
            s1 += factor * right[(lane + LANES) * PITCH + e]
            s2 += factor * right[(lane + 2 * LANES) * PITCH + e]
            s3 += factor * right[(lane + 3 * LANES) * PITCH + e]
        first += TILE
    return s0, s1, s2, s3


@device
def add_products(weights, b, b_start, b_rows, features, right, factor, scale, result, start, rows):
    """Multiply this thread's elements of a result, a row of features, by a factor; add weights times the rows of b."""
    row, lane = cuda.threadIdx.x // LANES, cuda.threadIdx.x % LANES
    first = 0
    while first < features:
        cuda.syncthreads()
        load_tile(b, b_start, b_rows, features, first, right)
        cuda.syncthreads()
        s0 = s1 = s2 = s3 = right.dtype.type(0)
        for j in range(TILE):
            weight = weights[row * PITCH + j]
            s0 += weight * right[j * PITCH + lane]
            s1 += weight * right[j * PITCH + lane + LANES]
            s2 += weight * right[j * PITCH + lane + 2 * LANES]
            s3 += weight * right[j * PITCH + lane + 3 * LANES]
        if row < rows:
            place, column = start + int64(row) * features + first + lane, first + lane
            if column < features:
                result[place] = result[place] * factor + s0 * scale
            if column + LANES < features:
                result[place + LANES] = result[place + LANES] * factor + s1 * scale
            if column + 2 * LANES < features:
                result[place + 2 * LANES] = result[place + 2 * LANES] * factor + s2 * scale
            if column + 3 * LANES < features:
                result[place + 3 * LANES] = result[place + 3 * LANES] * factor + s3 * scale
        first += TILE


@device
def fill_rows(result, start, count):
    """Write zeros to the elements that a block owns."""
    place = cuda.threadIdx.x
    while place < count:
        result[start + place] = 0
        place += THREADS


@device
def masked(problem, score, head, query, key, visible, added, lowest):
    """Return a score with the mask, -inf where nothing is to be seen."""
    if query >= problem.queries or key >= problem.keys or (problem.causal != 0 and key > query):
        return lowest
    place = int64(head // problem.heads) * problem.mask_batch + int64(head % problem.heads) * problem.mask_head
    place += int64(query) * problem.mask_query + int64(key) * problem.mask_key
    if problem.mask == BOOL_MASK:
        if visible[place] == 0:
            return lowest
    elif problem.mask == FLOAT_MASK:
        return score + added[place]
    return score


@device
def larger(a, b):
    """Return the larger number, the second where one is NaN."""
    return a if a > b else b


@device
def kept(problem, bound, growth, keys, head, query, key):
    """Return what a probability is multiplied by: 0 where it is dropped."""
    if problem.dropped == 0:
        return growth
    if query >= problem.queries:
        return growth - growth
    row = 2 * (int64(head) * problem.queries + query)
    return growth if mixed(keys[row], keys[row + 1], key) >= bound else growth - growth


def _parameters(dtype: np.dtype, *rest: Any) -> tuple[Any, ...]:
    numbers = "uint64", dtype.name, np.dtype(np.uint32)
    return (Problem, dtype.name, *numbers, dtype, dtype, dtype, np.dtype(np.uint8), dtype, *rest)


def _blocks(dtype: np.dtype) -> int:
    """Return how many blocks share a multiprocessor: more would leave a thread too few registers."""
    return 8 // dtype.itemsize


@functools.cache
def forward(dtype: np.dtype) -> target.Kernel:
    """Make the kernel in which a block finds the results of a tile of queries."""
    real = dtype.type

    def kernel(problem, scale, bound, growth, keys_of_rows, q, k, v, visible, added, out, logarithm):
        left = cuda.shared.array(AREA, dtype)
        right = cuda.shared.array(AREA, dtype)
        scores = cuda.shared.array(AREA, dtype)
        tops = cuda.shared.array(THREADS, dtype)
        sums = cuda.shared.array(THREADS, dtype)
        thread = cuda.threadIdx.x
        row, lane = thread // LANES, thread % LANES
        tiles = (problem.queries + TILE - 1) // TILE
        head, first = cuda.blockIdx.x // tiles, cuda.blockIdx.x % tiles * TILE
        group = head // (problem.heads // problem.groups)
        rows, query = min(TILE, problem.queries - first), first + row
        start = int64(head) * problem.queries + first
        lowest = real(-math.inf)
        top, total = lowest, real(0)
        fill_rows(out, start * problem.values, int64(rows) * problem.values)
        end = min(problem.keys, first + rows) if problem.causal != 0 else problem.keys
        key = 0
        while key < end:
            keys, place = min(TILE, end - key), int64(group) * problem.keys + key
            s0, s1, s2, s3 = products(
                q, start * problem.features, rows, k, place * problem.features, keys, problem.features, left, right
            )
            s0 = masked(problem, s0 * scale, head, query, key + lane, visible, added, lowest)
            s1 = masked(problem, s1 * scale, head, query, key + lane + LANES, visible, added, lowest)
            s2 = masked(problem, s2 * scale, head, query, key + lane + 2 * LANES, visible, added, lowest)
            s3 = masked(problem, s3 * scale, head, query, key + lane + 3 * LANES, visible, added, lowest)
            tops[thread] = larger(larger(s0, s1), larger(s2, s3))
            cuda.syncthreads()
            new = top
            for i in range(LANES):
                new = larger(tops[row * LANES + i], new)
            shift = real(0) if new == lowest else new
            s0, s1, s2, s3 = math.exp(s0 - shift), math.exp(s1 - shift), math.exp(s2 - shift), math.exp(s3 - shift)
            scores[row * PITCH + lane] = s0 * kept(problem, bound, growth, keys_of_rows, head, query, key + lane)
            scores[row * PITCH + lane + LANES] = s1 * kept(
                problem, bound, growth, keys_of_rows, head, query, key + lane + LANES
            )
            scores[row * PITCH + lane + 2 * LANES] = s2 * kept(
                problem, bound, growth, keys_of_rows, head, query, key + lane + 2 * LANES
            )
            scores[row * PITCH + lane + 3 * LANES] = s3 * kept(
                problem, bound, growth, keys_of_rows, head, query, key + lane + 3 * LANES
            )
            sums[thread] = (s0 + s1) + (s2 + s3)
            cuda.syncthreads()
            factor = math.exp(top - shift)
            total *= factor
            for i in range(LANES):
                total += sums[row * LANES + i]
            top = new
            add_products(
                *(scores, v, place * problem.values, keys, problem.values, right, factor, real(1)),
                *(out, start * problem.values, rows),
            )
            key += TILE
        cuda.syncthreads()
        if row < rows:
            inverse = real(0) if total == real(0) else real(1) / total
            column = lane
            while column < problem.values:
                out[(start + row) * problem.values + column] *= inverse
                column += LANES
            if lane == 0:
                logarithm[start + row] = real(math.inf) if total == real(0) else top + math.log(total)

    return target.Kernel(kernel, _parameters(dtype, dtype, dtype), THREADS, _blocks(dtype))


@functools.cache
def means(dtype: np.dtype) -> target.Kernel:
    """Make the kernel that writes the inner products of rows of two matrices."""

    def kernel(grad, out, mean, rows, values):
        row = cuda.grid(1)
        while row < rows:
            total = 0.0
            for i in range(values):
                total += grad[row * values + i] * out[row * values + i]
            mean[row] = total
            row += cuda.gridsize(1)

    return target.Kernel(kernel, (dtype, dtype, dtype, "int64", "int64"), target.THREADS)


@functools.cache
def query_gradient(dtype: np.dtype) -> target.Kernel:
    """Make the kernel in which a block finds the gradients of a tile of queries."""
    real = dtype.type

    def kernel(problem, scale, bound, growth, keys_of_rows, q, k, v, visible, added, grad, logarithm, mean, grad_q):
        left = cuda.shared.array(AREA, dtype)
        right = cuda.shared.array(AREA, dtype)
        slopes = cuda.shared.array(AREA, dtype)
        row, lane = cuda.threadIdx.x // LANES, cuda.threadIdx.x % LANES
        tiles = (problem.queries + TILE - 1) // TILE
        head, first = cuda.blockIdx.x // tiles, cuda.blockIdx.x % tiles * TILE
        group = head // (problem.heads // problem.groups)
        rows, query = min(TILE, problem.queries - first), first + row
        start = int64(head) * problem.queries + first
        lowest = real(-math.inf)
        shift = logarithm[start + row] if row < rows else real(math.inf)
        middle = mean[start + row] if row < rows else real(0)
        fill_rows(grad_q, start * problem.features, int64(rows) * problem.features)
        end = min(problem.keys, first + rows) if problem.causal != 0 else problem.keys
        key = 0
        while key < end:
            keys, place = min(TILE, end - key), int64(group) * problem.keys + key
            s0, s1, s2, s3 = products(
                q, start * problem.features, rows, k, place * problem.features, keys, problem.features, left, right
            )
            s0 = math.exp(masked(problem, s0 * scale, head, query, key + lane, visible, added, lowest) - shift)
            s1 = math.exp(masked(problem, s1 * scale, head, query, key + lane + LANES, visible, added, lowest) - shift)
            s2 = math.exp(
                masked(problem, s2 * scale, head, query, key + lane + 2 * LANES, visible, added, lowest) - shift
            )
            s3 = math.exp(
                masked(problem, s3 * scale, head, query, key + lane + 3 * LANES, visible, added, lowest) - shift
            )
            g0, g1, g2, g3 = products(
                grad, start * problem.values, rows, v, place * problem.values, keys, problem.values, left, right
            )
            g0 *= kept(problem, bound, growth, keys_of_rows, head, query, key + lane)
            slopes[row * PITCH + lane] = s0 * (g0 - middle)
            g1 *= kept(problem, bound, growth, keys_of_rows, head, query, key + lane + LANES)
            slopes[row * PITCH + lane + LANES] = s1 * (g1 - middle)
            g2 *= kept(problem, bound, growth, keys_of_rows, head, query, key + lane + 2 * LANES)
            slopes[row * PITCH + lane + 2 * LANES] = s2 * (g2 - middle)
            g3 *= kept(problem, bound, growth, keys_of_rows, head, query, key + lane + 3 * LANES)
            slopes[row * PITCH + lane + 3 * LANES] = s3 * (g3 - middle)
            add_products(
                *(slopes, k, place * problem.features, keys, problem.features, right, real(1), scale),
                *(grad_q, start * problem.features, rows),
            )
            key += TILE

    return target.Kernel(kernel, _parameters(dtype, dtype, dtype, dtype, dtype), THREADS, 1)


@functools.cache
def key_gradient(dtype: np.dtype) -> target.Kernel:
    """Make the kernel in which a block finds the gradients of a tile of keys and of their values."""
    real = dtype.type

    def kernel(
        problem, scale, bound, growth, keys_of_rows, q, k, v, visible, added, grad, logarithm, mean, grad_k, grad_v
    ):
        left = cuda.shared.array(AREA, dtype)
        right = cuda.shared.array(AREA, dtype)
        weights = cuda.shared.array(AREA, dtype)
        slopes = cuda.shared.array(AREA, dtype)
        shifts = cuda.shared.array(TILE, dtype)
        middles = cuda.shared.array(TILE, dtype)
        thread = cuda.threadIdx.x
        row, lane = thread // LANES, thread % LANES
        tiles = (problem.keys + TILE - 1) // TILE
        group, first = cuda.blockIdx.x // tiles, cuda.blockIdx.x % tiles * TILE
        shared_by = problem.heads // problem.groups
        rows, key = min(TILE, problem.keys - first), first + row
        start = int64(group) * problem.keys + first
        lowest = real(-math.inf)
        fill_rows(grad_k, start * problem.features, int64(rows) * problem.features)
        fill_rows(grad_v, start * problem.values, int64(rows) * problem.values)
        head = group * shared_by
        while head < (group + 1) * shared_by:
            query = first // TILE * TILE if problem.causal != 0 else 0
            while query < problem.queries:
                count, place = min(TILE, problem.queries - query), int64(head) * problem.queries + query
                s0, s1, s2, s3 = products(
                    k, start * problem.features, rows, q, place * problem.features, count, problem.features, left, right
                )
                g0, g1, g2, g3 = products(
                    v, start * problem.values, rows, grad, place * problem.values, count, problem.values, left, right
                )
                cuda.syncthreads()
                if thread < TILE:
                    shifts[thread] = logarithm[place + thread] if thread < count else real(math.inf)
                    middles[thread] = mean[place + thread] if thread < count else real(0)
                cuda.syncthreads()
                s0 = masked(problem, s0 * scale, head, query + lane, key, visible, added, lowest)
                s1 = masked(problem, s1 * scale, head, query + lane + LANES, key, visible, added, lowest)
                s2 = masked(problem, s2 * scale, head, query + lane + 2 * LANES, key, visible, added, lowest)
                s3 = masked(problem, s3 * scale, head, query + lane + 3 * LANES, key, visible, added, lowest)
                s0, s1 = math.exp(s0 - shifts[lane]), math.exp(s1 - shifts[lane + LANES])
                s2, s3 = math.exp(s2 - shifts[lane + 2 * LANES]), math.exp(s3 - shifts[lane + 3 * LANES])
                share = kept(problem, bound, growth, keys_of_rows, head, query + lane, key)
                weights[row * PITCH + lane] = s0 * share
                slopes[row * PITCH + lane] = s0 * (g0 * share - middles[lane])
                share = kept(problem, bound, growth, keys_of_rows, head, query + lane + LANES, key)
                weights[row * PITCH + lane + LANES] = s1 * share
                slopes[row * PITCH + lane + LANES] = s1 * (g1 * share - middles[lane + LANES])
                share = kept(problem, bound, growth, keys_of_rows, head, query + lane + 2 * LANES, key)
                weights[row * PITCH + lane + 2 * LANES] = s2 * share
                slopes[row * PITCH + lane + 2 * LANES] = s2 * (g2 * share - middles[lane + 2 * LANES])
                share = kept(problem, bound, growth, keys_of_rows, head, query + lane + 3 * LANES, key)
                weights[row * PITCH + lane + 3 * LANES] = s3 * share
                slopes[row * PITCH + lane + 3 * LANES] = s3 * (g3 * share - middles[lane + 3 * LANES])
                add_products(
                    *(weights, grad, place * problem.values, count, problem.values, right, real(1), real(1)),
                    *(grad_v, start * problem.values, rows),
                )
                add_products(
                    *(slopes, q, place * problem.features, count, problem.features, right, real(1), scale),
                    *(grad_k, start * problem.features, rows),
                )
                query += TILE
            head += 1

    return target.Kernel(kernel, _parameters(dtype, dtype, dtype, dtype, dtype, dtype), THREADS, _blocks(dtype))


def catalogue(dtype: np.dtype) -> dict[str, target.Kernel]:
    """Return every kernel of this module for one dtype, by name: what the compile gate walks."""
    makers = {
        "forward": forward,
        "means": means,
        "query_gradient": query_gradient,
        "key_gradient": key_gradient,
    }
    return {name: make(dtype) for name, make in makers.items()}
