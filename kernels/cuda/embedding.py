"""Rows of a table picked, summed and compared in bags, and what comes back to the rows, on CUDA.

As in `nbtorch.kernels.cpu.embedding`, written with the array module's own operations: sorting brings
together what goes to one row, so that a row is summed in the order of the indices and nothing is added by atomics.
"""

from typing import Any

import numpy as np
from nbtorch.kernels.cuda import target


def _module() -> Any:
    """Return the array module: CuPy, or NumPy in the simulator."""
    if target.is_simulator():
        return np
    import cupy

    return cupy


def pick_rows(table: Any, indices: Any, output: Any) -> None:
    """Write output[i] = table[indices[i]], output (n, D)."""
    output[...] = table[indices]


def sum_bags(table: Any, indices: Any, factors: Any, offsets: Any, output: Any) -> None:
    """Write the sums of bags, output (B, D)."""
    _add_segments(table[indices] * factors[:, None], offsets, output)


def max_bags(table: Any, indices: Any, offsets: Any, output: Any, winners: Any) -> None:
    """Write the maxima of bags, output (B, D), and the rows that they come from; 0 and -1 for an empty bag."""
    output.fill(0)
    winners.fill(-1)
    lengths = offsets[1:] - offsets[:-1]
    for step in range(int(lengths.max()) if lengths.size else 0):
        bags = (lengths > step).nonzero()[0]
        rows = indices[offsets[bags] + step]
        values, best = table[rows], output[bags]
        wins = (values > best) | (step == 0)
        output[bags] = _module().where(wins, values, best)
        winners[bags] = _module().where(wins, rows[:, None], winners[bags])


def add_rows(grads: Any, sources: Any, indices: Any, factors: Any, output: Any) -> None:
    """Write to `output` (V, D) the sums of factors[i] * grads[sources[i]] at indices[i]."""
    order = indices.argsort(kind="stable")
    offsets = _module().searchsorted(indices[order], _module().arange(len(output) + 1))
    _add_segments((grads[sources] * factors[:, None])[order], offsets, output)


def add_winners(grads: Any, winners: Any, output: Any) -> None:
    """Write to `output` (V, D) the sums of grads[b, d] at [winners[b, d], d]; -1 is left out."""
    columns = _module().arange(output.shape[1])
    output.fill(0)
    for bag in range(len(grads)):
        kept = winners[bag] >= 0
        output[winners[bag][kept], columns[kept]] += grads[bag][kept]


def row_dots(grads: Any, sources: Any, table: Any, indices: Any, output: Any) -> None:
    """Write output[i] = grads[sources[i]] · table[indices[i]]."""
    output[...] = (grads[sources] * table[indices]).sum(1)


def _add_segments(rows: Any, offsets: Any, output: Any) -> None:
    """Write the sums of the rows from each offset to the next."""
    output.fill(0)
    lengths = offsets[1:] - offsets[:-1]
    for step in range(int(lengths.max()) if lengths.size else 0):
        chosen = (lengths > step).nonzero()[0]
        output[chosen] += rows[offsets[chosen] + step]
