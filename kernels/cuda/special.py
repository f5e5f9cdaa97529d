"""Special functions on CUDA: arrays of any shape, C-contiguous, the result written into the last one.

`function` names one of `nbtorch.kernels.special`.
"""

from typing import Any

import numpy as np
from nbtorch.kernels import special
from nbtorch.kernels.cuda import elementwise, target

NAMES = (
    *("erf", "erfc", "erfcx", "erfinv", "ndtr", "ndtri", "log_ndtr", "lgamma", "digamma", "i0", "i0e", "i1", "i1e"),
    *("bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1", "modified_bessel_k0", "modified_bessel_k1"),
    *("scaled_modified_bessel_k0", "scaled_modified_bessel_k1", "airy_ai"),
)
PAIRS = ("zeta", "igamma", "igammac")


def unary(function: str, input: Any, output: Any) -> None:
    """Write function(x) for every element x; float32 or float64."""
    if output.size:
        kernel = elementwise.unary(getattr(special, function), np.dtype(output.dtype))
        kernel(target.blocks_for(output.size, target.THREADS), input, output, output.size)


def binary(function: str, first: Any, second: Any, output: Any) -> None:
    """Write function(x, y) for every pair of elements; float32 or float64."""
    if output.size:
        kernel = elementwise.binary(getattr(special, function), np.dtype(output.dtype))
        kernel(target.blocks_for(output.size, target.THREADS), first, second, output, output.size)


def catalogue(dtype: np.dtype) -> dict[str, target.Kernel]:
    """Return every kernel of this module for one dtype, by name: what the compile gate walks."""
    kernels = {name: elementwise.unary(getattr(special, name), dtype) for name in NAMES}
    return kernels | {name: elementwise.binary(getattr(special, name), dtype) for name in PAIRS}
