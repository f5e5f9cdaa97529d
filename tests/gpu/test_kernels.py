"""The CUDA kernels on a real GPU against the kernels of the CPU, at sizes that fill large tiles and many blocks."""

import functools

import numpy as np
import pytest
from nbtorch.kernels.cuda import conv as cuda_conv
from nbtorch.kernels.cuda import elementwise as cuda_elementwise
from nbtorch.kernels.cuda import pool as cuda_pool
from nbtorch.kernels.cuda import target
from nbtorch.kernels.cuda import unpool as cuda_unpool

REASON = "the simulator stands in for the GPU" if target.is_simulator() else target.why_unavailable()
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(REASON is not None, reason=REASON or "")]

CONVOLUTIONS = {
    # name: (input shape, out_channels, kernel_size, stride, padding, dilation, groups)
    "LeNet's first": ((64, 1, 1, 28, 28), 6, (1, 5, 5), (1, 1, 1), (0, 0, 0), (1, 1, 1), 1),
    "large tiles": ((8, 96, 1, 29, 31), 200, (1, 3, 3), (1, 1, 1), (0, 1, 1), (1, 1, 1), 1),
    "strided": ((4, 24, 1, 57, 56), 40, (1, 3, 3), (1, 2, 2), (0, 1, 1), (1, 1, 1), 1),
    "1x1": ((4, 150, 1, 14, 14), 130, (1, 1, 1), (1, 1, 1), (0, 0, 0), (1, 1, 1), 1),
    "three dimensions, groups": ((2, 16, 9, 10, 11), 24, (3, 2, 3), (1, 2, 1), (1, 1, 0), (1, 1, 2), 2),
    "one dimension": ((3, 20, 1, 1, 500), 33, (1, 1, 9), (1, 1, 3), (0, 0, 4), (1, 1, 2), 1),
    "depthwise": ((4, 64, 1, 30, 30), 64, (1, 3, 3), (1, 2, 2), (0, 1, 1), (1, 1, 1), 64),
    "long sums": ((16, 3, 1, 64, 64), 16, (1, 3, 3), (1, 1, 1), (0, 1, 1), (1, 1, 1), 1),
}

POOLS = {
    # name: (input shape, kernel_size, stride, padding, dilation)
    "2x2/2": ((16, 32, 1, 28, 28), (1, 2, 2), (1, 2, 2), (0, 0, 0), (1, 1, 1)),
    "3x3/2": ((4, 16, 1, 57, 55), (1, 3, 3), (1, 2, 2), (0, 1, 1), (1, 1, 1)),
    "three dimensions": ((2, 5, 9, 10, 11), (2, 3, 3), (2, 1, 2), (1, 1, 1), (1, 2, 1)),
}


@pytest.fixture(scope="module")
def cupy():
    return pytest.importorskip("cupy")


def on_device(cupy, function, output, *arguments):
    """Run `function` on copies of its NumPy arguments on the GPU and return what it wrote."""
    moved = [cupy.asarray(a) if isinstance(a, np.ndarray) else a for a in arguments]
    result = cupy.full(output.shape, 77, output.dtype)
    function(*moved, result)
    return cupy.asnumpy(result)


def conv_problem(name, dtype):
    shape, out_channels, kernel_size, stride, padding, dilation, groups = CONVOLUTIONS[name]
    rng = np.random.default_rng(0)
    size = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d in zip(shape[2:], kernel_size, stride, padding, dilation, strict=True)
    ]
    shapes = shape, (out_channels, shape[1] // groups, *kernel_size), (shape[0], out_channels, *size)
    arrays = [rng.standard_normal(s).astype(dtype) for s in shapes]
    return *arrays, (stride, padding, dilation, groups)


def assert_close(actual, expected):
    """Compare with a tolerance for the sums' different order, relative to the largest element."""
    tolerance = (1e-12 if actual.dtype == np.float64 else 2e-5) * max(1.0, float(np.abs(expected).max(initial=0)))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolution(name, dtype, cupy):
    from nbtorch.kernels.cpu import conv

    x, weight, grad, options = conv_problem(name, dtype)
    bias, input_bias = np.linspace(-1, 1, len(weight)).astype(dtype), np.linspace(-1, 1, x.shape[1]).astype(dtype)
    calls = [
        ("conv_forward", grad, (x, weight, bias, *options)),
        ("conv_grad_input", x, (grad, weight, input_bias, *options)),
        ("conv_grad_weight", weight, (grad, x, *options)),
        ("conv_grad_bias", bias, (grad,)),
    ]
    for function, like, arguments in calls:
        expected = np.empty_like(like)
        getattr(conv, function)(*arguments, expected)
        actual = on_device(cupy, getattr(cuda_conv, function), like, *arguments)
        assert_close(actual, expected)
        again = on_device(cupy, getattr(cuda_conv, function), like, *arguments)
        np.testing.assert_array_equal(actual, again, err_msg=f"{function} is not deterministic")


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "int64"])
@pytest.mark.parametrize("name", POOLS)
def test_max_pool(name, dtype, cupy):
    from nbtorch.kernels.cpu import pool

    shape, kernel_size, stride, padding, dilation = POOLS[name]
    window = kernel_size, stride, padding, dilation
    size = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d in zip(shape[2:], kernel_size, stride, padding, dilation, strict=True)
    ]
    x = np.random.default_rng(0).integers(0, 99, shape).astype(dtype)
    output, indices = np.empty((*shape[:2], *size), dtype), np.empty((*shape[:2], *size), np.int64)
    pool.max_pool_forward(x, *window, output, indices)
    device_output, device_indices = cupy.empty(output.shape, dtype), cupy.empty(indices.shape, np.int64)
    cuda_pool.max_pool_forward(cupy.asarray(x), *window, device_output, device_indices)
    np.testing.assert_array_equal(cupy.asnumpy(device_output), output)
    np.testing.assert_array_equal(cupy.asnumpy(device_indices), indices)
    np.testing.assert_array_equal(on_device(cupy, cuda_unpool.max_unpool_backward, output, x, indices), output)
    if x.dtype.kind == "f":
        expected = np.empty_like(x)
        pool.max_pool_backward(output, indices, *window, expected)
        actual = on_device(cupy, cuda_pool.max_pool_backward, x, output, indices, *window)
        np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("size", [1, 1000, 5_000_003])
def test_relu(size, cupy):
    x = np.resize(np.array([np.nan, -0.0, 0.0, -1.0, 2.0, np.inf, -np.inf], np.float32), size)
    output = on_device(cupy, functools.partial(cuda_elementwise.activation_forward, "relu", ()), x, x)
    np.testing.assert_array_equal(output, np.where(x < 0, np.float32(0), x))
    grad = np.arange(size, dtype=np.float32)
    np.testing.assert_array_equal(
        on_device(cupy, functools.partial(cuda_elementwise.activation_backward, "relu_grad", ()), x, grad, output),
        np.where(output <= 0, 0, grad),
    )


def test_kernels_follow_cupys_current_stream(cupy):
    x = cupy.ones(1 << 20, np.float32)
    output = cupy.zeros_like(x)
    with cupy.cuda.Stream(non_blocking=True) as stream:
        cuda_elementwise.activation_forward("relu", (), x, output)
        stream.synchronize()
    assert float(output.sum()) == x.size
