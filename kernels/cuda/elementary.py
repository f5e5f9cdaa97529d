"""What the functions of `nbtorch.kernels.elementary` are on CUDA: those of libdevice."""

import functools
import math
from collections.abc import Callable
from typing import Any

from nbtorch.kernels import elementary
from nbtorch.kernels.cuda import target


@functools.cache
def install() -> None:
    """Make the functions known to the CUDA compiler; the simulator calls them as they are."""
    if target.is_simulator() or not target.has_numba_cuda():
        return
    from numba.cuda.extending import intrinsic, overload

    @intrinsic
    def number(typing_context, value, like):
        def emit(context, builder, signature, arguments):
            return context.cast(builder, arguments[0], signature.args[0], signature.return_type)

        return like(value, like), emit

    def of_one(function: Callable[..., Any], implementation: Callable[[Any], Any]) -> None:
        overload(function)(lambda x: implementation)

    of_one(elementary.sqrt, lambda x: math.sqrt(x))
    of_one(elementary.exp, lambda x: math.exp(x))
    of_one(elementary.expm1, lambda x: math.expm1(x))
    of_one(elementary.log, lambda x: math.log(x))
    of_one(elementary.log1p, lambda x: math.log1p(x))
    of_one(elementary.tanh, lambda x: math.tanh(x))
    of_one(elementary.sigmoid, lambda x: number(1, x) / (number(1, x) + math.exp(-x)))
    of_one(elementary.normal_cdf, lambda x: number(0.5, x) * math.erfc(-x * number(elementary.SQRT_HALF, x)))
    of_one(
        elementary.normal_density,
        lambda x: number(elementary.INVERSE_SQRT_2PI, x) * math.exp(number(-0.5, x) * x * x),
    )
    overload(elementary.maximum)(lambda x, y: lambda x, y: x if x >= y or x != x else y)
    overload(elementary.number)(lambda value, like: lambda value, like: number(value, like))
    overload(elementary.select)(
        lambda condition, chosen, other: lambda condition, chosen, other: chosen if condition else other
    )
