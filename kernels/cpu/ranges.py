"""Kernels that work through a range of rows or elements, on one thread or shared out among several.

A parallel loop takes Numba seconds to compile, a plain one a fraction of a second. So the parallel loop here is
compiled once for each combination of argument types and calls the kernel, compiled by itself, by its address.
"""

import functools
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from nbtorch.kernels.jit import njit
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
        _share_out(self.address(arguments), arguments, count, length)

    def address(self, arguments: tuple[Any, ...]) -> int:
        """Return where the machine code for arguments of these types begins; compile it first if they are new."""
        key = tuple([_kind(a) for a in arguments])
        if key not in self._addresses:
            signature = (*[_numba_type(a) for a in arguments], types.intp, types.intp)
            self.kernel.compile(signature)
            compiled = self.kernel.overloads[signature]
            self._addresses[key] = compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)
        return self._addresses[key]


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


@njit(parallel=True)
def _share_out(address, arguments, count, length):
    for part in prange((count + length - 1) // length):
        begin = np.int64(part) * length
        call_kernel(address, arguments, begin, min(begin + length, count))
