"""Matrix products on CUDA: the array module's own, on a GPU cuBLAS, or ours where TensorFloat-32 is allowed."""

import math
from typing import Any

from nbtorch.kernels import precision
from nbtorch.kernels.cuda import conv, target


def matmul(a: Any, b: Any, output: Any) -> None:
    """Write the products of `a` (..., n, m) and `b` (..., m, p), stacks of one shape, to the C-contiguous `output`."""
    stack = math.prod(output.shape[:-2])
    if precision.matmul == "ieee" or a.dtype.itemsize != 4 or not target.has_tensor_cores() or stack > conv.MAX_GRID_Y:
        output[...] = a @ b
        return
    a, b, product = (target.contiguous(m).reshape(stack, *m.shape[-2:]) for m in (a, b, output))
    conv.matrix_products(a, b, product, precision.matmul)
