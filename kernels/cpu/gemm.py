"""Matrix products on the processor: `strip_gemm`, and for few rows pointwise convolutions under another name.

The three kernels of a 1 x 1 convolution are the three layouts of a matrix product, so they serve as one. All run on the
same threads as every other kernel. A BLAS library brings threads of its own, and two pools that wait for each other
by spinning cost a small network several times its arithmetic: a step of LeNet, batch 64, two cores, took 8 to 12 ms
with NumPy's OpenBLAS and 1.7 ms without.
"""

import numpy as np

from . import strip_gemm
from .conv import conv_forward, conv_grad_input, conv_grad_weight

BLAS_PRODUCTS = 200_000
"""Up to this many multiplications NumPy's BLAS stays on the calling thread, and its launch is the cheaper one."""

FEW_ROWS = 16
"""Below so many rows, packing the other factor for them takes too long."""

_POINTWISE = ((1, 1, 1), (0, 0, 0), (1, 1, 1), 1)  # stride, padding, dilation, groups


def _signal(matrix):
    """Return (channels, positions) as one image."""
    return matrix.reshape(1, matrix.shape[0], 1, 1, matrix.shape[1])


def _kernel(matrix):
    """Return (out, in) as the weight of a pointwise convolution."""
    return matrix.reshape(*matrix.shape, 1, 1, 1)


def matmul(a, b, output) -> None:
    """Write the products of `a` (..., n, m) and `b` (..., m, p), stacks of one shape, to the C-contiguous `output`.

    The factors are float32 or float64 in any layout; one whose transpose is C-contiguous is read as it lies.
    """
    if a.shape[-2] * a.shape[-1] * b.shape[-1] <= BLAS_PRODUCTS:
        np.matmul(a, b, out=output)
        return
    if a.shape[-2] >= FEW_ROWS:
        strip_gemm.matmul(_stack(a), _stack(b), output.reshape(-1, *output.shape[-2:]))
        return
    for index in np.ndindex(output.shape[:-2]):
        _matmul(a[index], b[index], output[index])


def _stack(matrices):
    """Return matrices as one stack; one matrix repeated stays where it is."""
    if matrices.ndim == 3:
        return matrices
    if not any(matrices.strides[:-2]):
        count = int(np.prod(matrices.shape[:-2]))
        return np.broadcast_to(matrices[(0,) * (matrices.ndim - 2)], (count, *matrices.shape[-2:]))
    return matrices.reshape(-1, *matrices.shape[-2:])


def _matmul(a, b, output) -> None:
    """Write one product."""
    a_lies_transposed = not a.flags.c_contiguous and a.T.flags.c_contiguous
    if b.T.flags.c_contiguous and not b.flags.c_contiguous and not a_lies_transposed:
        conv_grad_weight(_signal(np.ascontiguousarray(a)), _signal(b.T), *_POINTWISE, _kernel(output))
    elif a_lies_transposed:
        conv_grad_input(_signal(np.ascontiguousarray(b)), _kernel(a.T), None, *_POINTWISE, _signal(output))
    else:
        a, b = np.ascontiguousarray(a), np.ascontiguousarray(b)
        conv_forward(_signal(b), _kernel(a), None, *_POINTWISE, _signal(output))
