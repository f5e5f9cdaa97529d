"""Elementwise kernels on the CPU against NumPy and PyTorch."""

import numpy as np
import pytest
from nbtorch.kernels.cpu import elementwise

SHAPES = [(), (0,), (1,), (7,), (3, 0, 2), (2, 3, 4, 5), (elementwise.PARALLEL_SIZE + 3,)]
SPECIAL = [np.nan, -0.0, 0.0, -1.0, 2.0, np.inf, -np.inf]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_relu(shape, dtype):
    rng = np.random.default_rng(0)
    x, grad = rng.standard_normal(shape).astype(dtype), rng.standard_normal(shape).astype(dtype)
    x, grad = np.asarray(x, dtype), np.asarray(grad, dtype)
    output, grad_input = np.full_like(x, 77), np.full_like(x, 77)
    elementwise.activation_forward("relu", (), x, output)
    elementwise.activation_backward("relu_grad", (), grad, output, grad_input)
    np.testing.assert_array_equal(output, np.maximum(x, 0))
    np.testing.assert_array_equal(grad_input, np.where(x > 0, grad, 0))


def test_special_values_are_pytorchs():
    torch = pytest.importorskip("torch")
    x = np.array(SPECIAL, np.float32)
    output, grad_input = np.empty_like(x), np.empty_like(x)
    elementwise.activation_forward("relu", (), x, output)
    elementwise.activation_backward("relu_grad", (), np.ones_like(x), output, grad_input)
    theirs = torch.from_numpy(x).requires_grad_()
    expected = torch.relu(theirs)
    expected.sum().backward()
    np.testing.assert_array_equal(output, expected.detach().numpy())
    np.testing.assert_array_equal(grad_input, theirs.grad.numpy())


def test_in_place():
    x = np.array(SPECIAL, np.float32)
    expected = np.empty_like(x)
    elementwise.activation_forward("relu", (), x, expected)
    elementwise.activation_forward("relu", (), x, x)
    np.testing.assert_array_equal(x, expected)
