"""Kernels that work through a range of rows or elements, on one thread or shared out among several.

A parallel loop takes Numba seconds to compile, a plain one a fraction of a second. So there is one parallel loop, of
addresses: it calls the kernel, compiled by itself, by way of a small function that knows the types of its arguments.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from nbtorch.kernels.jit import ParallelKernel, njit
from numba import prange, types
from numba.core import cgutils
from numba.core.dispatcher import Dispatcher
from numba.extending import intrinsic

GRAIN = 64
"""Threads take multiples of so many elements, so that they do not write to the same lines of the caches."""


class RangeKernel:
    """A kernel `function(*arguments, begin, end)` that fills the part of its outputs that a range stands for.

    Args:
        function: the kernel, in Python; arrays among its arguments are C-contiguous.
        parallel_work: how much work, in the unit of the callers, pays for waking the threads.
        options: more options of `njit`.
    """

    def __init__(self, function: Callable[..., None], parallel_work: int, **options: Any) -> None:
        self.kernel = njit(function, **options)
        self.parallel_work = parallel_work
        self._addresses: dict[Any, int] = {}
        functools.update_wrapper(self, function)

    def __call__(self, count: int, work: int, *arguments: Any, grain: int = 1) -> None:
        """Run the kernel on `range(count)`, which takes so much work in all; ranges begin at multiples of `grain`."""
        if count == 0:
            return
        if work < self.parallel_work or not isinstance(self.kernel, Dispatcher):
            self.kernel(*arguments, 0, count)
            return
        threads = numba.get_num_threads()
        length = -(-count // (threads * grain)) * grain
        _run_shared(_loop(), self.address(arguments), arguments, count, length)

    def address(self, arguments: tuple[Any, ...]) -> int:
        """Return where the machine code for arguments of these types begins; compile it first if they are new."""
        key = tuple([_kind(a) for a in arguments])
        if key not in self._addresses:
            self._addresses[key] = _address_of(
                self.kernel, (*[_numba_type(a) for a in arguments], types.intp, types.intp)
            )
        return self._addresses[key]


@contextmanager
def for_several_threads() -> Iterator[None]:
    """While this lasts, a kernel that one thread runs, or that has nothing to do, is compiled for several threads."""
    run = RangeKernel.__call__

    def run_and_share_nothing(self: RangeKernel, count: int, work: int, *arguments: Any, grain: int = 1) -> None:
        run(self, count, work, *arguments, grain=grain)
        if isinstance(self.kernel, Dispatcher):
            _run_shared(_loop(), self.address(arguments), arguments, 0, 1)

    RangeKernel.__call__ = run_and_share_nothing  # type: ignore[method-assign]
    try:
        yield
    finally:
        RangeKernel.__call__ = run  # type: ignore[method-assign]


def _address_of(kernel: Any, signature: tuple[types.Type, ...]) -> int:
    """Return where the machine code of a kernel begins; compile it if these types are new."""
    kernel.compile(signature)
    compiled = kernel.overloads[signature]
    return compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)


def _kind(argument: Any) -> Any:
    """Return what tells arguments of different types apart, at little cost; a tuple's last item speaks for it."""
    if isinstance(argument, np.ndarray):
        return argument.dtype, argument.ndim
    return (type(argument), _kind(argument[-1])) if isinstance(argument, tuple) else type(argument)


def _numba_type(argument: Any) -> Any:
    kind = numba.typeof(argument)
    return types.Array(kind.dtype, kind.ndim, "C") if isinstance(kind, types.Array) else kind


@intrinsic
def call_kernel(typing_context, address, arguments, begin, end):
    """Call the machine code at an address, as Numba calls its own functions, with a tuple's items and a range."""

    def emit(context, builder, signature, values):
        kinds = [*signature.args[1], begin, end]
        items = [*cgutils.unpack_tuple(builder, values[1], len(signature.args[1])), *values[2:]]
        function_type = context.call_conv.get_function_type(types.none, kinds)
        function = builder.inttoptr(values[0], function_type.as_pointer())
        result, error = (cgutils.alloca_once(builder, kind.pointee) for kind in function_type.args[:2])
        packed = context.get_arg_packer(kinds).as_arguments(builder, items)
        builder.call(function, [result, error, *packed])
        return context.get_dummy_value()

    return types.none(address, arguments, begin, end), emit


@intrinsic
def _packed(typing_context, arguments):
    """Return the addresses of a function, called with a kernel's and a copy of its arguments, and of this copy."""

    def emit(context, builder, signature, values):
        kinds, number = [*signature.args[0], types.intp, types.intp], ir.IntType(64)
        copy = cgutils.alloca_once_value(builder, values[0])
        function_type = context.call_conv.get_function_type(types.none, [types.intp] * 4)
        calls = ir.Function(builder.module, function_type, f"call.{builder.function.name}")
        calls.linkage = "internal"
        inside = ir.IRBuilder(calls.append_basic_block())
        result, error, kernel, place, begin, end = calls.args
        items = cgutils.unpack_tuple(inside, inside.load(inside.inttoptr(place, copy.type)))
        function = inside.inttoptr(kernel, context.call_conv.get_function_type(types.none, kinds).as_pointer())
        packed = context.get_arg_packer(kinds).as_arguments(inside, [*items, begin, end])
        inside.ret(inside.call(function, [result, error, *packed]))
        return cgutils.pack_array(builder, [builder.ptrtoint(calls, number), builder.ptrtoint(copy, number)])

    return types.UniTuple(types.intp, 2)(arguments), emit


@njit
def _share_out(loop, address, arguments, count, length):
    calls, copy = _packed(arguments)
    call_kernel(loop, (calls, address, copy), count, length)


def _loop_range(calls, address, copy, count, length):
    for part in prange((count + length - 1) // length):
        begin = np.int64(part) * length
        call_kernel(calls, (address, copy), begin, min(begin + length, count))


@functools.cache
def _loop() -> int:
    """Return where the one loop on several threads begins."""
    return _address_of(njit(_loop_range, parallel=True), (types.intp,) * 5)


_run_shared = ParallelKernel(_share_out) if isinstance(_share_out, Dispatcher) else _share_out
