"""Functions of single elements on the CPU: arrays of any shape, C-contiguous, the result written into the last one."""

import numpy as np
from nbtorch.kernels import scalar
from nbtorch.kernels.jit import njit
from numba import prange

PARALLEL_SIZE = 1 << 17
"""Elements above which a pass over them takes longer than waking the threads."""


def relu_forward(input: np.ndarray, output: np.ndarray) -> None:
    """Write max(input, 0) to `output`; NaN passes through."""
    kernel = _relu_forward_parallel if input.size >= PARALLEL_SIZE else _relu_forward
    kernel(input.reshape(-1), output.reshape(-1))


def relu_backward(grad_output: np.ndarray, output: np.ndarray, grad_input: np.ndarray) -> None:
    """Write `grad_output` to `grad_input` where relu's `output` is positive or NaN, and 0 elsewhere."""
    kernel = _relu_backward_parallel if output.size >= PARALLEL_SIZE else _relu_backward
    kernel(grad_output.reshape(-1), output.reshape(-1), grad_input.reshape(-1))


@njit
def _relu_forward(input, output):
    for i in range(input.size):
        output[i] = scalar.relu(input[i])


@njit(parallel=True)
def _relu_forward_parallel(input, output):
    for i in prange(input.size):
        output[i] = scalar.relu(input[i])


@njit
def _relu_backward(grad_output, output, grad_input):
    for i in range(output.size):
        grad_input[i] = scalar.relu_grad(grad_output[i], output[i])


@njit(parallel=True)
def _relu_backward_parallel(grad_output, output, grad_input):
    for i in prange(output.size):
        grad_input[i] = scalar.relu_grad(grad_output[i], output[i])
