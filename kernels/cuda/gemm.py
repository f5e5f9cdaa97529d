"""Matrix products on CUDA: the array module's own, on a GPU cuBLAS, or ours where TensorFloat-32 is allowed.

Products of float16 and bfloat16 are ours: tensor cores multiply them as they are and add in float32.
"""

import math
from typing import Any

from nbtorch.kernels import precision
from nbtorch.kernels.cuda import conv, target

computes_half = conv.computes_half


def matmul(a: Any, b: Any, output: Any) -> None:
    """Write the products of `a` (..., n, m) and `b` (..., m, p), stacks of one shape, to the C-contiguous `output`."""
    stack = math.prod(output.shape[:-2])
    half = a.dtype.itemsize == 2
    if stack > conv.MAX_GRID_Y or not target.has_tensor_cores():
        output[...] = a.astype("float32") @ b.astype("float32") if half else a @ b
        return
    if not half and (precision.matmul == "ieee" or a.dtype.itemsize != 4):
        output[...] = a @ b
        return
    a, b, product = (target.contiguous(m).reshape(stack, *m.shape[-2:]) for m in (a, b, output))
    conv.matrix_products(a, b, product, precision.matmul)
