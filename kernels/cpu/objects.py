"""Arrays that compiled kernels read from the ids of their objects.

An array costs a compiled function as much to take as a small operation costs to do, and seven parameters; its id is one
number. Where the elements lie its C structure says, right after the object's header. Callers keep the objects alive.
"""

import ctypes
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import config
from numba.extending import intrinsic
from numba.np.arrayobj import make_array, populate_array


def emit_address(context: Any, builder: ir.IRBuilder, place: ir.Value) -> ir.Value:
    """Emit the address of the elements of the array whose id is given."""
    field = builder.add(place, context.get_constant(types.intp, object.__basicsize__))
    return builder.load(builder.inttoptr(field, context.get_value_type(types.intp).as_pointer()))


def emit_elements(context: Any, builder: ir.IRBuilder, kind: Any, place: Any, start: Any, size: Any) -> Any:
    """Emit a flat array of some elements of the array whose id is given; its references are not counted."""
    element = context.get_data_type(kind.dtype)
    first = builder.inttoptr(emit_address(context, builder, place), element.as_pointer())
    width = context.get_constant(types.intp, context.get_abi_sizeof(element))
    part = make_array(kind)(context, builder)
    data = builder.gep(first, [start])
    populate_array(part, data=data, shape=[size], strides=[width], itemsize=width, meminfo=None)
    return part._getvalue()


@intrinsic
def address(typing_context, place):
    """Return where the elements of an array lie."""

    def emit(context, builder, signature, arguments):
        return emit_address(context, builder, arguments[0])

    return types.intp(place), emit


def _elements(typing_context, place, start, size, sample):
    """Return some elements of an array, given by its id; all arrays are of the sample's type."""
    kind = types.Array(sample.dtype, 1, "C")

    def emit(context, builder, signature, arguments):
        return emit_elements(context, builder, kind, *arguments[:3])

    return kind(types.intp, types.intp, types.intp, sample), emit


def _slice(place, start, size, sample):
    """Return some elements of an array; for `NUMBA_DISABLE_JIT=1`."""
    return ctypes.cast(int(place), ctypes.py_object).value.reshape(-1)[start : start + size]


elements = _slice if config.DISABLE_JIT else intrinsic(_elements)
