"""Threads that go through many short steps together and meet after each.

Entering a parallel loop anew for each step takes as long as some steps do: 5 µs, and 100 ns to see what another core
wrote. Threads that run at once are not something a parallel loop promises, so nobody waits for who may never come: the
first to arrive waits for a while and then closes the crew, and who comes later has nothing to do. Work must therefore
not depend on how many a crew is, in its bits either.
"""

import platform
import sys

import numpy as np
from llvmlite import ir
from nbtorch.kernels.cpu.simd import pointer_to
from nbtorch.kernels.jit import njit
from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic

ARRIVED, CREW, MET = 0, 8, 16
"""Places in the array that a crew shares, each in a line of the caches of its own."""

PATIENCE = 1 << 14
"""Looks, about a millisecond of them, before a crew is closed."""

LOOKS = 1 << 10
"""Looks at what another thread is to write before this one lets others have the core."""

_CLOSED = 1 << 40


def new_crew() -> np.ndarray:
    """Return what the members of a crew share."""
    return np.zeros(24, np.int64)


def _atomic(operation: str):
    @intrinsic
    def apply(typing_context, shared, place, value):
        def emit(context, builder, signature, arguments):
            where = pointer_to(context, builder, signature.args[0], *arguments[:2])
            return builder.atomic_rmw(operation, where, arguments[2], "seq_cst")

        return types.int64(shared, types.intp, types.int64), emit

    return apply


@intrinsic
def _look(typing_context, shared, place):
    """Return a number that other threads write."""

    def emit(context, builder, signature, arguments):
        where = pointer_to(context, builder, signature.args[0], *arguments)
        return builder.load_atomic(where, "acquire", 8)

    return types.int64(shared, types.intp), emit


@intrinsic
def _pause(typing_context):
    """Tell the processor that this is a loop that waits."""

    def emit(context, builder, signature, arguments):
        if platform.machine().lower() in ("x86_64", "amd64"):
            function_type = ir.FunctionType(ir.VoidType(), [])
            builder.call(cgutils.get_or_insert_function(builder.module, function_type, "llvm.x86.sse2.pause"), [])
        return context.get_dummy_value()

    return types.none(), emit


@intrinsic
def _let_others(typing_context):
    """Let another thread have the core."""

    def emit(context, builder, signature, arguments):
        if sys.platform != "win32":
            function_type = ir.FunctionType(ir.IntType(32), [])
            builder.call(cgutils.get_or_insert_function(builder.module, function_type, "sched_yield"), [])
        return context.get_dummy_value()

    return types.none(), emit


_add, _exchange = _atomic("add"), _atomic("xchg")


@njit
def _join(shared, workers):
    """Join a crew of so many at most; return this thread's number in it, -1 where it is closed, and how many it has."""
    number = _add(shared, ARRIVED, 1)
    if number >= _CLOSED:
        return -1, 0
    if number == 0:
        for look in range(PATIENCE):
            if _look(shared, ARRIVED) >= workers:
                break
            _pause()
            if look % LOOKS == LOOKS - 1:
                _let_others()
        _exchange(shared, CREW, _exchange(shared, ARRIVED, _CLOSED))
    else:
        _wait(shared, CREW, 1)
    return number, _look(shared, CREW)


@njit
def _wait(shared, place, least):
    """Wait until a number has reached a value."""
    looks = 0
    while _look(shared, place) < least:
        _pause()
        looks += 1
        if looks % LOOKS == 0:
            _let_others()


@njit
def _meet(shared, crew, times):
    """Wait until all members of a crew have come here so many times."""
    if crew > 1:
        _add(shared, MET, 1)
        _wait(shared, MET, crew * times)


def _alone(shared, workers):
    """Be a crew of one; for `NUMBA_DISABLE_JIT=1`."""
    return 0, 1


def _pass(shared, crew, times):
    """Meet nobody; for `NUMBA_DISABLE_JIT=1`."""


join, meet = (_alone, _pass) if config.DISABLE_JIT else (_join, _meet)
