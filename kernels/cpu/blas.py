"""The matrix product of the OpenBLAS library inside NumPy's wheels, called by address from compiled kernels.

OpenBLAS has threads of its own, which wait for Numba's by spinning and make both slow. So it is told to stay on the
thread that calls it, for as long as the call takes, and the work is shared out among Numba's threads by `gemm.py`.
"""

import ctypes
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

ROW_MAJOR, PLAIN, TRANSPOSED = 101, 111, 112
"""What CBLAS calls the orders of matrices."""


class Blas(NamedTuple):
    """A BLAS library: the addresses of its matrix products by element size, and its number of threads."""

    products: dict[int, int]
    get_threads: Callable[[], int]
    set_threads: Callable[[int], None]


@cache
def openblas() -> Blas | None:
    """Return the OpenBLAS with 64-bit integers that NumPy brought along, or None where there is none."""
    package = Path(np.__file__).parent
    for folder in (package.parent / "numpy.libs", package / ".dylibs"):
        for path in sorted(folder.glob("*openblas64*")):
            library = ctypes.CDLL(str(path))  # loaded already: this only finds it
            for prefix in ("scipy_", ""):
                names = [f"{prefix}{name}64_" for name in ("cblas_sgemm", "cblas_dgemm")]
                names += [f"{prefix}openblas_{verb}_num_threads64_" for verb in ("get", "set")]
                if all(hasattr(library, name) for name in names):
                    single, double, get, set_ = (getattr(library, name) for name in names)
                    addresses = [ctypes.cast(function, ctypes.c_void_p).value for function in (single, double)]
                    return Blas(dict(zip((4, 8), addresses, strict=True)), get, set_)
    return None


@intrinsic
def product(typing_context, address, sample, order_a, order_b, n, p, m, a, a_pitch, b, b_pitch, c, c_pitch):
    """Call `cblas_?gemm` at an address: C (n, p) = A (n, m) · B (m, p), all given by addresses and row pitches.

    `sample` is an array of the elements' type; `order_a` and `order_b` are `PLAIN` or `TRANSPOSED`.
    """
    integer = types.int64
    signature = types.none(integer, sample, *[integer] * 11)

    def emit(context, builder, signature, values):
        element = context.get_value_type(signature.args[1].dtype)
        word, long = ir.IntType(32), ir.IntType(64)
        pointer = element.as_pointer()
        parameters = [word, word, word, long, long, long, element, pointer, long, pointer, long, element, pointer, long]
        function = builder.inttoptr(values[0], ir.FunctionType(ir.VoidType(), parameters).as_pointer())
        orders = [ir.Constant(word, ROW_MAJOR), *(builder.trunc(value, word) for value in values[2:4])]
        left, right, result = (builder.inttoptr(values[i], pointer) for i in (7, 9, 11))
        one, zero = ir.Constant(element, 1.0), ir.Constant(element, 0.0)
        arguments = [*orders, *values[4:7], one, left, values[8], right, values[10], zero, result, values[12]]
        builder.call(function, arguments)
        return context.get_dummy_value()

    return signature, emit
