"""Attention on the CPU: softmax(scale·Q K^T + mask) V without ever holding the matrix of scores.

Arrays are q (N, H, L, E), k (N, G, S, E), v (N, G, S, V), out (N, H, L, V), all C-contiguous, float32 or float64; H is
a multiple of G, and neighbouring heads share keys and values. A task takes a tile of queries through all keys, block by
block, with the maximum and the sum of the exponentials so far (Milakov and Gimelshein, "Online normalizer calculation
for softmax", 2018; Dao et al., "FlashAttention", 2022); what is kept for backward is their logarithm, one number for
each query, from which the probabilities are computed again.

Tiles of scores are transposed, [key][query]. Then keys and values are the factors that the GEMM block of `simd.py`
broadcasts, read where they lie with any row length, and only the queries are packed. Each query's sums run over keys in
order, whatever the number of threads.
"""

import math
from typing import NamedTuple

import numpy as np
from nbtorch.kernels.cpu.attention_simd import attention_blocks, slope_block, softmax_block
from nbtorch.kernels.cpu.ranges import RangeKernel
from nbtorch.kernels.cpu.simd import gemm_blocks, host_simd, movers, transpose
from nbtorch.kernels.cpu.strip_gemm import multiply
from nbtorch.kernels.jit import njit
from nbtorch.kernels.scalar import mixed

PARALLEL_PRODUCTS = 1 << 19
"""Multiplications above which attention takes longer than waking the threads."""

SCORE_BYTES = 16 * 1024
"""A tile of scores stays in half of the first-level cache."""

BACKWARD_QUERIES = 64
"""Queries of a tile in backward: the sums over them are the short ones there."""

FEWEST_TASKS = 8
"""Where there are fewer heads, backward deals their queries out and adds up the gradients of keys and values."""

NO_MASK, BOOL_MASK, FLOAT_MASK = range(3)


class Problem(NamedTuple):
    """Shapes and options."""

    batch: int
    heads: int
    groups: int
    """Heads of keys and values."""
    queries: int
    keys: int
    features: int
    """Of queries and keys."""
    values: int
    """Features of values."""
    causal: int
    mask: int
    """NO_MASK, BOOL_MASK or FLOAT_MASK, with its strides in elements:"""
    mask_batch: int
    mask_head: int
    mask_query: int
    mask_key: int
    drop_below: int
    """Probabilities whose 32 random bits are below this are dropped."""


class Tile(NamedTuple):
    """How tiles are cut."""

    block_rows: int
    """The most rows of a GEMM block."""
    block_vectors: int
    """Vectors of a GEMM block of so many rows."""
    lanes: int
    queries: int
    keys: int
    """Keys of a block of scores."""
    chunks: int
    """Parts that the queries of a head of keys are dealt out to, in backward."""


class Code(NamedTuple):
    """The addresses of vector code."""

    gemm: np.ndarray
    mover: np.ndarray
    attention: np.ndarray


def attention_forward(q, k, v, mask, causal, scale, drop, out, logarithm) -> None:
    """Write attention's result to `out`, and the logarithm of each query's sum of exponentials to (N, H, L).

    `mask` is None, or (N, H, L, S) with any strides of multiples of the elements: booleans (False hides a key), or
    numbers of q's type that are added to the scores. Where nothing is visible the result is 0 and the logarithm inf.
    `drop` is None, or a bound and keys (N·H·L, 2), uint32: probabilities whose `scalar.mixed` number, from the keys of
    the query and the index of the key, is below the bound become 0, and the others grow by 2^32 / (2^32 - bound).
    """
    problem, visible, added, keys = _problem(q, k, v, mask, causal, drop)
    simd = host_simd()
    lanes, vectors = simd.lanes(q.dtype), simd.vectors_for(simd.rows)
    width = lanes * vectors
    tile = Tile(simd.rows, vectors, lanes, width, SCORE_BYTES // (width * q.itemsize), 1)
    tasks = problem.batch * problem.heads * -(-problem.queries // width)
    flat = [a.reshape(-1) for a in (q, k, v, out, logarithm)]
    numbers, code = np.array((*problem, *tile)), _code(q.dtype)
    _forward(tasks, _products(problem), numbers, *code, float(scale), *flat, visible, added, keys)


def attention_backward(grad, q, k, v, out, logarithm, mask, causal, scale, drop, grad_q, grad_k, grad_v) -> None:
    """Write the gradients of queries, keys and values, given that of the result of `attention_forward`."""
    problem, visible, added, keys_of_rows = _problem(q, k, v, mask, causal, drop)
    simd = host_simd()
    lanes, vectors = simd.lanes(q.dtype), simd.vectors_for(simd.rows)
    width = lanes * vectors
    queries = -(-min(BACKWARD_QUERIES, problem.queries) // width) * width
    keys = max(SCORE_BYTES // (queries * q.itemsize), 8)
    owners = problem.batch * problem.groups
    units = problem.heads // problem.groups * -(-problem.queries // queries)
    chunks = min(units, -(-FEWEST_TASKS // owners))
    tile = Tile(simd.rows, vectors, lanes, queries, keys, chunks)
    sums = [_sums(a, chunks, lanes) for a in (grad_k, grad_v)]
    flat = [a.reshape(-1) for a in (grad, q, k, v, out, logarithm, grad_q, *sums)]
    numbers, code = np.array((*problem, *tile)), _code(q.dtype)
    _backward(
        owners * chunks, 3 * _products(problem), numbers, *code, float(scale), *flat, visible, added, keys_of_rows
    )
    for total, target in zip(sums, (grad_k, grad_v), strict=True):
        if total is not target:
            np.sum(total[..., : target.shape[-1]], 0, out=target)


def _problem(q, k, v, mask, causal, drop):
    """Return the description of the problem, the mask as a flat array of booleans and as one of numbers, and keys."""
    visible, added, kind, strides = np.empty(0, np.uint8), np.empty(0, q.dtype), NO_MASK, (0,) * 4
    if mask is not None:
        kind = BOOL_MASK if mask.dtype == bool else FLOAT_MASK
        flat, strides = _flat(mask)
        if kind == BOOL_MASK:
            visible = flat.view(np.uint8)
        else:
            added = flat
    shape = q.shape[0], q.shape[1], k.shape[1], q.shape[2], k.shape[2], q.shape[3], v.shape[3]
    bound, keys = (0, np.empty((0, 2), np.uint32)) if drop is None else drop
    return Problem(*shape, int(causal), kind, *strides, bound), visible, added, keys


def _flat(mask):
    """Return the elements of a mask as a flat array, and its strides there; equal rows and columns lie there once."""
    small = mask[tuple([slice(0, 1) if stride == 0 else slice(None) for stride in mask.strides])]
    small = np.ascontiguousarray(small)
    strides = [0 if given == 0 else s // mask.itemsize for given, s in zip(mask.strides, small.strides, strict=True)]
    return small.reshape(-1), strides


def _sums(target, chunks, lanes):
    """Return where gradients are summed: (chunks, N, G, S, whole vectors), the target itself where it serves."""
    width = -(-target.shape[-1] // lanes) * lanes
    if chunks == 1 and width == target.shape[-1]:
        return target
    return np.empty((chunks, *target.shape[:-1], width), target.dtype)


def _products(problem):
    """Return about how many multiplications the two matrix products of forward take."""
    scores = problem.batch * problem.heads * problem.queries * problem.keys
    return scores * (problem.features + problem.values) >> problem.causal


def _code(dtype):
    return Code(gemm_blocks(dtype, False), movers(dtype), attention_blocks(dtype))


@njit
def _described(numbers):
    """Return the problem and the tile, which parallel loops take as plain numbers only."""
    n = numbers
    problem = Problem(n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], n[8], n[9], n[10], n[11], n[12], n[13])
    return problem, Tile(n[14], n[15], n[16], n[17], n[18], n[19])


@njit
def _steps(count, pitch):
    """Return 0, pitch, 2 pitch, ..."""
    offsets = np.empty(count, np.int64)
    for i in range(count):
        offsets[i] = i * pitch
    return offsets


@njit
def _take_rows(source, start, length, rows, scale, target, pitch):
    """Copy rows times a scale, with zeros behind them and below them."""
    for r in range(target.size // pitch):
        line = target[r * pitch : (r + 1) * pitch]
        line[:] = 0
        if r < rows:
            from_ = source[start + r * length :][:length]
            for i in range(length):
                line[i] = from_[i] * scale


@njit
def _add_mask(code, problem, tile, batch, head, query, rows, key, keys, visible, added, scores, lines, turned):
    """Add the mask of a block of keys to scores, [key][query]; what lies behind the last query is not changed."""
    width = tile.queries
    start = batch * problem.mask_batch + head * problem.mask_head + query * problem.mask_query + key * problem.mask_key
    count = 1 if problem.mask_query == 0 else rows
    lowest, zero = scores.dtype.type(-math.inf), scores.dtype.type(0)
    for r in range(count):
        line = lines[r * keys :][:keys]
        begin = start + r * problem.mask_query
        if problem.mask == BOOL_MASK:
            if problem.mask_key == 0:
                line[:] = zero if visible[begin] else lowest
            else:
                bits = visible[begin:][:keys]
                for j in range(keys):
                    line[j] = zero if bits[j] else lowest
        elif problem.mask_key == 0:
            line[:] = added[begin]
        else:
            numbers = added[begin:][:keys]
            for j in range(keys):
                line[j] = numbers[j]
    if problem.mask_query == 0:
        for j in range(keys):
            row, value = scores[j * width :][:width], lines[j]
            for r in range(width):
                row[r] += value
        return
    if rows < width:
        lines[rows * keys : width * keys] = 0
    transpose(code.mover, turned, 0, width, lines, 0, keys, width, keys)
    for i in range(keys * width):
        scores[i] += turned[i]


@njit
def _deal(problem, tile, keys_of_rows, first, rows, key, keys, kept):
    """Write what the probabilities of a tile are multiplied by: 0 for those that are dropped."""
    width, bound = tile.queries, np.uint64(problem.drop_below)
    left = 1 - problem.drop_below / 2**32
    scale = kept.dtype.type(1 / left if left > 0 else 0)
    for j in range(keys):
        line = kept[j * width :][:width]
        for r in range(rows):
            bits = mixed(keys_of_rows[first + r, 0], keys_of_rows[first + r, 1], key + j)
            line[r] = scale * (bits >= bound)
        line[rows:] = 0


@njit
def _scale_by(kept, count, values):
    for i in range(count):
        values[i] *= kept[i]


@njit
def _hide_later(tile, query, key, keys, scores):
    """Hide keys from queries before them."""
    for j in range(max(0, query + 1 - key), keys):
        row = scores[j * tile.queries :][: tile.queries]
        for r in range(min(tile.queries, key + j - query)):
            row[r] = -math.inf


@njit
def _visible_keys(problem, query, rows):
    """Return how many keys the queries of a tile see."""
    return min(problem.keys, query + rows) if problem.causal else problem.keys


@njit
def _tile_of(task, tiles):
    """Return a tile: first and last in turn, so that half of them is half of the work with a causal mask."""
    index = task % tiles
    return index // 2 if index % 2 == 0 else tiles - 1 - index // 2


def _forward_range(
    numbers, gemm, mover, attention, scale, q, k, v, out, logarithm, visible, added, keys_of_rows, begin, end
):
    problem, tile = _described(numbers)
    code = Code(gemm, mover, attention)
    width = tile.queries
    tiles = (problem.queries + width - 1) // width
    kind = q.dtype
    rows_of_q, turned_q = np.empty(width * problem.features, kind), np.empty(problem.features * width, kind)
    scores = np.empty(tile.keys * width, kind)
    sums, results = np.empty(problem.values * width, kind), np.empty(width * problem.values, kind)
    lines, turned = np.empty(tile.keys * width, kind), np.empty(tile.keys * width, kind)
    top, total, factor = np.empty(width, kind), np.empty(width, kind), np.empty(width, kind)
    offsets = _steps(max(problem.features, tile.keys), width)
    for task in range(begin, end):
        head, query = task // tiles, _tile_of(task, tiles) * width
        rows = min(width, problem.queries - query)
        vectors = (rows + tile.lanes - 1) // tile.lanes
        first, group = head * problem.queries + query, head // (problem.heads // problem.groups)
        _take_rows(q, first * problem.features, problem.features, rows, kind.type(scale), rows_of_q, problem.features)
        if problem.features > 0:
            transpose(code.mover, turned_q, 0, width, rows_of_q, 0, problem.features, width, problem.features)
        top[:] = -math.inf
        total[:] = 0
        end_of_keys = _visible_keys(problem, query, rows)
        for key in range(0, end_of_keys, tile.keys):
            keys = min(tile.keys, end_of_keys - key)
            multiply(
                *(code.gemm, tile, keys, vectors),
                *(k, (group * problem.keys + key) * problem.features, problem.features, 1),
                *(turned_q, 0, offsets, problem.features, scores, 0, width, 0),
            )
            if problem.mask != NO_MASK:
                _add_mask(
                    *(code, problem, tile, head // problem.heads, head % problem.heads, query, rows, key, keys),
                    *(visible, added, scores, lines, turned),
                )
            if problem.causal:
                _hide_later(tile, query, key, keys, scores)
            softmax_block(code.attention, scores, keys, top, total, factor)
            if problem.drop_below > 0:
                _deal(problem, tile, keys_of_rows, first, rows, key, keys, turned)
                _scale_by(turned, keys * width, scores)
            if key > 0:
                for i in range(problem.values):
                    line = sums[i * width :][:width]
                    for r in range(width):
                        line[r] *= factor[r]
            multiply(
                *(code.gemm, tile, problem.values, vectors),
                *(v, (group * problem.keys + key) * problem.values, 1, problem.values),
                *(scores, 0, offsets, keys, sums, 0, width, key),
            )
        transpose(code.mover, results, 0, problem.values, sums, 0, width, problem.values, width)
        for r in range(rows):
            inverse = kind.type(1) / total[r] if total[r] != 0 else kind.type(0)
            logarithm[first + r] = top[r] + math.log(total[r]) if total[r] != 0 else math.inf
            target = out[(first + r) * problem.values :][: problem.values]
            line = results[r * problem.values :][: problem.values]
            for i in range(problem.values):
                target[i] = line[i] * inverse


def _backward_range(
    numbers,
    gemm,
    mover,
    attention,
    scale,
    grad,
    q,
    k,
    v,
    out,
    logarithm,
    grad_q,
    grad_k,
    grad_v,
    visible,
    added,
    keys_of_rows,
    begin,
    end,
):
    problem, tile = _described(numbers)
    code = Code(gemm, mover, attention)
    width, features, values = tile.queries, problem.features, problem.values
    kind, lanes = q.dtype, tile.lanes
    vectors, k_vectors, v_vectors = width // lanes, (features + lanes - 1) // lanes, (values + lanes - 1) // lanes
    k_pitch, v_pitch = k_vectors * lanes, v_vectors * lanes
    tiles = (problem.queries + width - 1) // width
    shared = problem.heads // problem.groups
    rows_of_q, rows_of_grad = np.empty(width * k_pitch, kind), np.empty(width * v_pitch, kind)
    turned_q, turned_grad = np.empty(k_pitch * width, kind), np.empty(v_pitch * width, kind)
    scores, slopes = np.empty(tile.keys * width, kind), np.empty(tile.keys * width, kind)
    sums, results = np.empty(features * width, kind), np.empty(width * features, kind)
    lines, turned = np.empty(tile.keys * width, kind), np.empty(tile.keys * width, kind)
    shift, mean = np.empty(width, kind), np.empty(width, kind)
    across = _steps(max(features, values, tile.keys), width)
    k_down, v_down = _steps(width, k_pitch), _steps(width, v_pitch)
    for task in range(begin, end):
        owner, chunk = task // tile.chunks, task % tile.chunks
        # the gradients of keys and values of a chunk: (chunks, N, G, S, whole vectors)
        place = (chunk * problem.batch * problem.groups + owner) * problem.keys
        grad_k[place * k_pitch :][: problem.keys * k_pitch] = 0
        grad_v[place * v_pitch :][: problem.keys * v_pitch] = 0
        for unit in range(chunk, shared * tiles, tile.chunks):
            batch = owner // problem.groups
            head = owner % problem.groups * shared + unit // tiles
            query = unit % tiles * width
            rows = min(width, problem.queries - query)
            used = (rows + lanes - 1) // lanes  # vectors that have queries
            first = (batch * problem.heads + head) * problem.queries + query
            _take_rows(q, first * features, features, rows, kind.type(scale), rows_of_q, k_pitch)
            _take_rows(grad, first * values, values, rows, kind.type(1), rows_of_grad, v_pitch)
            if k_pitch > 0:
                transpose(code.mover, turned_q, 0, width, rows_of_q, 0, k_pitch, width, k_pitch)
            transpose(code.mover, turned_grad, 0, width, rows_of_grad, 0, v_pitch, width, v_pitch)
            shift[:] = math.inf
            mean[:] = 0
            for r in range(rows):
                shift[r] = logarithm[first + r]
                total, result = kind.type(0), out[(first + r) * values :][:values]
                line = rows_of_grad[r * v_pitch :][:values]
                for i in range(values):
                    total += line[i] * result[i]
                mean[r] = total
            end_of_keys = _visible_keys(problem, query, rows)
            for key in range(0, end_of_keys, tile.keys):
                keys = min(tile.keys, end_of_keys - key)
                k_at, v_at = (owner * problem.keys + key) * features, (owner * problem.keys + key) * values
                multiply(
                    *(code.gemm, tile, keys, used, k, k_at, features, 1),
                    *(turned_q, 0, across, features, scores, 0, width, 0),
                )
                if problem.mask != NO_MASK:
                    _add_mask(
                        *(code, problem, tile, batch, head, query, rows, key, keys),
                        *(visible, added, scores, lines, turned),
                    )
                if problem.causal:
                    _hide_later(tile, query, key, keys, scores)
                multiply(
                    *(code.gemm, tile, keys, used, v, v_at, values, 1),
                    *(turned_grad, 0, across, values, slopes, 0, width, 0),
                )
                if problem.drop_below > 0:
                    _deal(problem, tile, keys_of_rows, first, rows, key, keys, turned)
                    _scale_by(turned, keys * width, slopes)
                slope_block(code.attention, scores, slopes, keys, vectors, shift, mean)
                if problem.drop_below > 0:
                    _scale_by(turned, keys * width, scores)
                multiply(
                    *(code.gemm, tile, keys, v_vectors, scores, 0, width, 1),
                    *(rows_of_grad, 0, v_down, rows, grad_v, (place + key) * v_pitch, v_pitch, 1),
                )
                multiply(
                    *(code.gemm, tile, keys, k_vectors, slopes, 0, width, 1),
                    *(rows_of_q, 0, k_down, rows, grad_k, (place + key) * k_pitch, k_pitch, 1),
                )
                multiply(
                    *(code.gemm, tile, features, used, k, k_at, 1, features),
                    *(slopes, 0, across, keys, sums, 0, width, key),
                )
            transpose(code.mover, results, 0, features, sums, 0, width, features, width)
            for r in range(rows):
                target, line = grad_q[(first + r) * features :][:features], results[r * features :][:features]
                for i in range(features):
                    target[i] = line[i] * kind.type(scale)


_forward = RangeKernel(_forward_range, PARALLEL_PRODUCTS)
_backward = RangeKernel(_backward_range, PARALLEL_PRODUCTS, fastmath=frozenset({"contract", "reassoc", "nsz"}))
