"""Print how many single-precision operations per second this machine does: multiply-adds on registers alone."""

import time

import numba
import numpy as np
from llvmlite import ir
from nbtorch.kernels.cpu.simd import Emitter, host_simd
from nbtorch.kernels.jit import njit
from numba import types
from numba.extending import intrinsic

CHAINS = 10  # independent sums: enough to hide the latency of a multiply-add, few enough for registers
STEPS = 2_000_000
LANES = host_simd().lanes(np.dtype(np.float32))


@intrinsic
def _multiply_add(typing_context, steps):
    """Run `steps` multiply-adds on each of `CHAINS` vectors; return a lane of their sum."""

    def emit(context, builder, signature, values):
        vectors = Emitter(builder, ir.FloatType(), LANES)
        factor, term = vectors.constant(0.999), vectors.constant(1e-3)
        # written with phi nodes: sums in memory would wait for each store to reach the next load
        before, loop, after = builder.block, builder.append_basic_block("loop"), builder.append_basic_block("after")
        builder.branch(loop)
        builder.position_at_end(loop)
        count = builder.phi(values[0].type)
        sums = [builder.phi(vectors.vector) for _ in range(CHAINS)]
        left = builder.sub(count, values[0].type(1))
        count.add_incoming(values[0], before)
        count.add_incoming(left, loop)
        updated = [vectors.fma(place, factor, term) for place in sums]
        for chain, (place, value) in enumerate(zip(sums, updated, strict=True)):
            place.add_incoming(vectors.constant(0.1 * chain), before)
            place.add_incoming(value, loop)
        builder.cbranch(builder.icmp_signed(">", left, left.type(0)), loop, after)
        builder.position_at_end(after)
        total = vectors.zeros()
        for value in updated:
            total = builder.fadd(total, value)
        return builder.extract_element(total, ir.IntType(32)(0))

    return types.float32(steps), emit


@njit(parallel=True)
def _on_all_threads(threads, steps, results):
    for thread in numba.prange(threads):
        results[thread] = _multiply_add(steps)


def main() -> None:
    """Measure ten times; the best counts, as a peak should."""
    threads = numba.get_num_threads()
    results = np.empty(threads, np.float32)
    _on_all_threads(threads, 10, results)
    best = float("inf")
    for _ in range(10):
        start = time.perf_counter()
        _on_all_threads(threads, STEPS, results)
        best = min(best, time.perf_counter() - start)
    print(2.0 * LANES * CHAINS * STEPS * threads / best)


if __name__ == "__main__":
    main()
