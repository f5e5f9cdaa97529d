"""Rows of a table picked, summed and compared in bags, and what comes back to the rows, on the CPU.

`table` is (V, D). `indices` (n,) pick its rows; bag b is those from `offsets[b]` to `offsets[b + 1]`, offsets (B + 1,).
`factors` (n,) multiply what is picked. Indices and offsets are int64 and within range; all arrays are C-contiguous.
Threads own rows of what they write, so that sums run in the order of the indices.
"""

import numpy as np
from nbtorch.kernels.cpu.ranges import RangeKernel

PARALLEL_WORK = 1 << 15
"""Elements read above which a pass takes longer than waking the threads."""


def pick_rows(table: np.ndarray, indices: np.ndarray, output: np.ndarray) -> None:
    """Write output[i] = table[indices[i]], output (n, D)."""
    _pick(len(indices), output.size, table, indices, output)


def sum_bags(table: np.ndarray, indices: np.ndarray, factors, offsets: np.ndarray, output: np.ndarray) -> None:
    """Write the sums of bags, output (B, D)."""
    _sum(len(output), len(indices) * table.shape[1], table, indices, factors, offsets, output)


def max_bags(table: np.ndarray, indices: np.ndarray, offsets: np.ndarray, output: np.ndarray, winners) -> None:
    """Write the maxima of bags, output (B, D), and the rows that they come from; 0 and -1 for an empty bag."""
    _max(len(output), len(indices) * table.shape[1], table, indices, offsets, output, winners)


def add_rows(grads: np.ndarray, sources: np.ndarray, indices: np.ndarray, factors, output: np.ndarray) -> None:
    """Write to `output` (V, D) the sums of factors[i] * grads[sources[i]] at indices[i]."""
    _add(len(output), len(indices) * output.shape[1] + output.size, grads, sources, indices, factors, output)


def add_winners(grads: np.ndarray, winners: np.ndarray, output: np.ndarray) -> None:
    """Write to `output` (V, D) the sums of grads[b, d] at [winners[b, d], d]; -1 is left out."""
    _add_winners(output.shape[1], grads.size + output.size, grads, winners, output)


def row_dots(grads: np.ndarray, sources: np.ndarray, table: np.ndarray, indices: np.ndarray, output) -> None:
    """Write output[i] = grads[sources[i]] · table[indices[i]]."""
    _dots(len(indices), len(indices) * table.shape[1], grads, sources, table, indices, output)


# Elements are indexed by row and column: a view of each row costs two atomic changes of the array's reference count.


def _pick_range(table, indices, output, begin, end):
    width = output.shape[1]
    for i in range(begin, end):
        row = indices[i]
        for d in range(width):
            output[i, d] = table[row, d]


def _sum_range(table, indices, factors, offsets, output, begin, end):
    width = output.shape[1]
    for bag in range(begin, end):
        for d in range(width):
            output[bag, d] = 0
        first, last = offsets[bag], offsets[bag + 1]
        for i in range(first, last - 3, 4):  # the sum so far is read and written once for four rows
            p, q, r, s = indices[i], indices[i + 1], indices[i + 2], indices[i + 3]
            fp, fq, fr, fs = factors[i], factors[i + 1], factors[i + 2], factors[i + 3]
            for d in range(width):
                total = output[bag, d] + fp * table[p, d]
                output[bag, d] = total + fq * table[q, d] + fr * table[r, d] + fs * table[s, d]
        for i in range(last - (last - first) % 4, last):
            row, factor = indices[i], factors[i]
            for d in range(width):
                output[bag, d] += factor * table[row, d]


def _max_range(table, indices, offsets, output, winners, begin, end):
    for bag in range(begin, end):
        target, winner = output[bag], winners[bag]
        target[:] = 0
        winner[:] = -1
        for i in range(offsets[bag], offsets[bag + 1]):
            row, first = indices[i], i == offsets[bag]
            source = table[row]
            for d in range(target.size):
                wins = first or source[d] > target[d]
                target[d] = source[d] if wins else target[d]
                winner[d] = row if wins else winner[d]


def _add_range(grads, sources, indices, factors, output, begin, end):
    output[begin:end] = 0
    for i in range(indices.size):
        row = indices[i]
        if begin <= row < end:
            source, factor = sources[i], factors[i]
            for d in range(output.shape[1]):
                output[row, d] += factor * grads[source, d]


def _add_winners_range(grads, winners, output, begin, end):
    output[:, begin:end] = 0
    for bag in range(len(grads)):
        for d in range(begin, end):
            row = winners[bag, d]
            if row >= 0:
                output[row, d] += grads[bag, d]


def _dots_range(grads, sources, table, indices, output, begin, end):
    for i in range(begin, end):
        source, row = sources[i], indices[i]
        total = output.dtype.type(0)
        for d in range(table.shape[1]):
            total += grads[source, d] * table[row, d]
        output[i] = total


_pick = RangeKernel(_pick_range, PARALLEL_WORK)
_sum = RangeKernel(_sum_range, PARALLEL_WORK)
_max = RangeKernel(_max_range, PARALLEL_WORK)
_add = RangeKernel(_add_range, PARALLEL_WORK)
_add_winners = RangeKernel(_add_winners_range, PARALLEL_WORK)
_dots = RangeKernel(_dots_range, PARALLEL_WORK, fastmath=frozenset({"contract", "reassoc"}))
