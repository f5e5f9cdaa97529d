"""The CUDA kernels in Numba's simulator against plain NumPy.

The simulator must be chosen before Numba is imported. So without `NUMBA_ENABLE_CUDASIM=1` this file has one test, which
runs the file once more in a process that has it set.
"""

import os
import subprocess
import sys

import ml_dtypes
import numpy as np
import plain_kernels as plain
import pytest
from nbtorch.kernels import precision
from nbtorch.kernels.cuda import conv, elementwise, gemm, pool, target, unpool

import nbtorch

inside = pytest.mark.skipif(not target.is_simulator(), reason="runs in a process of its own, in the simulator")

CONVOLUTIONS = {
    # name: (input shape, out_channels, kernel_size, stride, padding, dilation, groups)
    "3x3": ((2, 1, 1, 7, 7), 6, (1, 3, 3), (1, 1, 1), (0, 0, 0), (1, 1, 1), 1),
    "1x1, more rows than a tile": ((1, 3, 1, 2, 3), 18, (1, 1, 1), (1, 1, 1), (0, 0, 0), (1, 1, 1), 1),
    "every option in three dimensions": ((2, 4, 3, 5, 4), 6, (2, 3, 2), (1, 2, 1), (1, 1, 0), (1, 1, 2), 2),
    "one dimension, stride and dilation": ((1, 2, 1, 1, 12), 3, (1, 1, 3), (1, 1, 2), (0, 0, 2), (1, 1, 3), 1),
    "depthwise": ((2, 2, 1, 5, 6), 2, (1, 3, 3), (1, 2, 2), (0, 1, 1), (1, 1, 1), 2),
    "depthwise with a multiplier": ((1, 2, 1, 1, 9), 6, (1, 1, 3), (1, 1, 1), (0, 0, 1), (1, 1, 1), 2),
}

POOLS = {
    # name: (input shape, kernel_size, stride, padding, dilation)
    "2x2/2": ((1, 2, 1, 6, 6), (1, 2, 2), (1, 2, 2), (0, 0, 0), (1, 1, 1)),
    "overlapping, padded": ((1, 2, 1, 7, 5), (1, 3, 3), (1, 2, 1), (0, 1, 1), (1, 1, 1)),
    "three dimensions, dilated": ((1, 1, 4, 5, 6), (2, 2, 2), (2, 1, 1), (1, 0, 1), (1, 2, 1)),
    "windows that meet nothing": ((1, 1, 1, 1, 2), (1, 1, 2), (1, 1, 1), (0, 0, 1), (1, 1, 3)),
}


@pytest.mark.skipif(target.is_simulator(), reason="is in the simulator already")
def test_everything_in_a_process_of_its_own():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", __file__]
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
    assert result.returncode == 0, result.stdout[-8000:] + result.stderr[-2000:]
    assert "passed" in result.stdout


def conv_problem(name, dtype=np.float64):
    """Return (input, weight, grad_output, options) with random values."""
    shape, out_channels, kernel_size, stride, padding, dilation, groups = CONVOLUTIONS[name]
    rng = np.random.default_rng(0)
    size = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d in zip(shape[2:], kernel_size, stride, padding, dilation, strict=True)
    ]
    shapes = shape, (out_channels, shape[1] // groups, *kernel_size), (shape[0], out_channels, *size)
    arrays = [rng.standard_normal(s).astype(dtype) for s in shapes]
    return *arrays, (stride, padding, dilation, groups)


def results(family_functions, shape, dtype, *arguments):
    """Run the same function of several families, each into an array of its own full of 77."""
    outputs = []
    for function in family_functions:
        output = np.full(shape, 77, dtype)
        function(*arguments, output)
        outputs.append(output)
    return outputs


def assert_close(outputs):
    actual, expected = outputs
    tolerance = 1e-12 if actual.dtype == np.float64 else 2e-5
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


@inside
@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.parametrize("with_bias", [False, True])
def test_conv_forward(name, with_bias):
    x, weight, grad, options = conv_problem(name)
    bias = np.linspace(-1, 1, len(weight)) if with_bias else None
    assert_close(results((conv.conv_forward, plain.conv_forward), grad.shape, x.dtype, x, weight, bias, *options))


@inside
@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.parametrize("with_bias", [False, True])
def test_conv_grad_input(name, with_bias):
    x, weight, grad, options = conv_problem(name)
    bias = np.linspace(-1, 1, x.shape[1]) if with_bias else None
    functions = conv.conv_grad_input, plain.conv_grad_input
    assert_close(results(functions, x.shape, x.dtype, grad, weight, bias, *options))


@inside
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_conv_grad_weight_and_bias(name):
    x, weight, grad, options = conv_problem(name)
    assert_close(results((conv.conv_grad_weight, plain.conv_grad_weight), weight.shape, x.dtype, grad, x, *options))
    assert_close(results((conv.conv_grad_bias, plain.conv_grad_bias), len(weight), x.dtype, grad))


@inside
def test_float32():
    x, weight, grad, options = conv_problem("3x3", np.float32)
    assert_close(results((conv.conv_forward, plain.conv_forward), grad.shape, x.dtype, x, weight, None, *options))


@inside
def test_a_tile_with_two_groups_of_rows_and_columns(monkeypatch):
    monkeypatch.setattr(conv, "SIMULATOR_TILE", conv.Tile(64, 16, 8, 8, 8))
    x, weight, grad, options = conv_problem("every option in three dimensions")
    assert_close(results((conv.conv_forward, plain.conv_forward), grad.shape, x.dtype, x, weight, None, *options))


@inside
def test_a_sum_in_several_parts(monkeypatch):
    monkeypatch.setattr(conv, "_split", lambda depth, step, blocks: (-(-depth // (2 * step)), 2 * step))
    x, weight, grad, options = conv_problem("every option in three dimensions")
    assert_close(results((conv.conv_grad_weight, plain.conv_grad_weight), weight.shape, x.dtype, grad, x, *options))


@inside
@pytest.mark.parametrize("rounding", ["tf32", "3xtf32"])
@pytest.mark.parametrize("name", ["3x3", "every option in three dimensions"])
def test_tensor_cores(name, rounding, monkeypatch):
    monkeypatch.setattr(target, "has_tensor_cores", lambda: True)
    monkeypatch.setattr(precision, "conv", "tf32" if rounding == "tf32" else "ieee")
    x, weight, grad, options = conv_problem(name, np.float32)
    calls = [
        ("conv_forward", grad.shape, (x, weight, None, *options)),
        ("conv_grad_input", x.shape, (grad, weight, None, *options)),
        ("conv_grad_weight", weight.shape, (grad, x, *options)),
    ]
    for function, shape, arguments in calls:
        functions = getattr(conv, function), getattr(plain, function)
        actual, expected = results(functions, shape, np.float32, *arguments)
        error = np.abs(actual - expected).max() / np.abs(expected).max()
        assert error < (2e-3 if rounding == "tf32" else 1e-6), function
        if function == "conv_forward":
            assert (error > 1e-5) == (rounding == "tf32"), "the switch chooses"


@inside
def test_tensor_cores_in_a_tile_with_several_warps(monkeypatch):
    monkeypatch.setattr(target, "has_tensor_cores", lambda: True)
    monkeypatch.setattr(precision, "conv", "ieee")
    monkeypatch.setattr(conv, "SIMULATOR_TENSOR_TILE", conv.Tile(64, 32, 8, 4, 4))
    x, weight, grad, options = conv_problem("every option in three dimensions", np.float32)
    assert_close(results((conv.conv_forward, plain.conv_forward), grad.shape, x.dtype, x, weight, None, *options))


@inside
@pytest.mark.parametrize("stages", [2, 4])
def test_a_ring_of_any_number_of_tiles(stages, monkeypatch):
    monkeypatch.setattr(target, "has_tensor_cores", lambda: True)
    monkeypatch.setattr(precision, "conv", "ieee")
    monkeypatch.setattr(conv, "STAGES", stages)
    conv.pipelined.cache_clear()
    x, weight, grad, options = conv_problem("every option in three dimensions", np.float32)
    assert_close(results((conv.conv_forward, plain.conv_forward), grad.shape, x.dtype, x, weight, None, *options))
    conv.pipelined.cache_clear()


HALVES = {"float16": 2e-3, "bfloat16": 2e-2}


def half(name):
    return np.dtype(getattr(ml_dtypes, name, name))


@inside
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("name", ["3x3", "1x1, more rows than a tile", "every option in three dimensions", "depthwise"])
def test_half_precision(name, dtype, monkeypatch):
    monkeypatch.setattr(target, "has_tensor_cores", lambda: True)
    monkeypatch.setattr(conv, "_split", lambda depth, step, blocks: (-(-depth // (2 * step)), 2 * step))
    x, weight, grad, options = conv_problem(name, half(dtype))
    bias, none = np.linspace(-1, 1, len(weight)).astype(x.dtype), None
    calls = [
        ("conv_forward", grad.shape, (x, weight, bias, *options)),
        ("conv_grad_input", x.shape, (grad, weight, none, *options)),
        ("conv_grad_weight", weight.shape, (grad, x, *options)),
        ("conv_grad_bias", bias.shape, (grad,)),
    ]
    for function, shape, arguments in calls:
        actual = np.zeros(shape, x.dtype)
        getattr(conv, function)(*arguments, actual)
        wide = [a.astype(np.float64) if isinstance(a, np.ndarray) else a for a in arguments]
        (expected,) = results([getattr(plain, function)], shape, np.float64, *wide)
        # one rounding of the exact result: products are exact, and sums are in float32
        np.testing.assert_allclose(actual.astype(np.float64), expected, rtol=HALVES[dtype] / 4, atol=1e-5)


@inside
@pytest.mark.parametrize("dtype", HALVES)
def test_half_precision_in_a_tile_with_several_warps(dtype, monkeypatch):
    monkeypatch.setattr(target, "has_tensor_cores", lambda: True)
    monkeypatch.setattr(conv, "SIMULATOR_HALF_TILE", conv.Tile(64, 32, 16, 4, 4))
    x, weight, grad, options = conv_problem("every option in three dimensions", half(dtype))
    actual = np.zeros_like(grad)
    conv.conv_forward(x, weight, None, *options, actual)
    wide = x.astype(np.float64), weight.astype(np.float64)
    (expected,) = results([plain.conv_forward], grad.shape, np.float64, *wide, None, *options)
    np.testing.assert_allclose(actual.astype(np.float64), expected, rtol=HALVES[dtype] / 4, atol=1e-5)


@inside
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("stack", [(), (2,)])
def test_matrix_products_of_half_precision(stack, dtype, monkeypatch):
    monkeypatch.setattr(target, "has_tensor_cores", lambda: True)
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((*stack, 5, 19)).astype(half(dtype)), rng.standard_normal((*stack, 19, 9))
    b, output = b.astype(half(dtype)), np.zeros((*stack, 5, 9), half(dtype))
    gemm.matmul(a, b, output)
    expected = a.astype(np.float64) @ b.astype(np.float64)
    np.testing.assert_allclose(output.astype(np.float64), expected, rtol=HALVES[dtype] / 4, atol=1e-5)


@inside
@pytest.mark.parametrize("dtype", HALVES)
def test_operations_leave_half_precision_to_the_kernels(dtype, monkeypatch):
    monkeypatch.setattr(target, "has_tensor_cores", lambda: True)
    found = []
    for device in ("cpu", "cuda"):
        nbtorch.manual_seed(0)
        sizes = (1, 2, 4, 4), (4, 2, 3, 3), (4,), (3, 7), (7, 4)
        given = [nbtorch.randn(s).to(getattr(nbtorch, dtype)).to(device).requires_grad_() for s in sizes]
        image, product = nbtorch.nn.functional.conv2d(*given[:3], padding=1), given[3] @ given[4]
        assert image.dtype == product.dtype == given[0].dtype
        (image.sum() + product.sum()).backward()
        results = image, product, *(tensor.grad for tensor in given)
        found.append([tensor.detach().cpu().float().numpy() for tensor in results])
    for expected, actual in zip(*found, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=HALVES[dtype], atol=2 * HALVES[dtype])


@inside
def test_copies_arrive_when_they_are_waited_for():
    copies, shared, source = target.async_copies(1), np.full(4, 9.0), np.arange(4.0)
    copies.copy(shared, 0, source, 1, True)
    copies.commit()
    copies.copy(shared, 1, source, 2, False)
    copies.commit()
    assert list(shared) == [9, 9, 9, 9]
    copies.wait()
    assert list(shared) == [1, 9, 9, 9]
    copies.commit()
    copies.wait()
    assert list(shared) == [1, 0, 9, 9]


@inside
@pytest.mark.filterwarnings("ignore:invalid value encountered")
def test_three_products_keep_infinity_and_nan(monkeypatch):
    monkeypatch.setattr(target, "has_tensor_cores", lambda: True)
    monkeypatch.setattr(precision, "conv", "ieee")
    x, weight, grad, options = conv_problem("3x3", np.float32)
    x[0, 0, 0, 1, 1], x[0, 0, 0, 4, 5], x[1, 0, 0, 3, 3] = np.inf, -np.inf, np.nan
    assert_close(results((conv.conv_forward, plain.conv_forward), grad.shape, x.dtype, x, weight, None, *options))


@inside
@pytest.mark.parametrize("wanted", ["ieee", "tf32"])
@pytest.mark.parametrize("stack", [(), (2,), (2, 1, 2)])
def test_matrix_products(stack, wanted, monkeypatch):
    monkeypatch.setattr(target, "has_tensor_cores", lambda: True)
    monkeypatch.setattr(precision, "matmul", wanted)
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((*stack, 5, 11)), rng.standard_normal((*stack, 9, 11)).swapaxes(-1, -2)
    output = np.full((*stack, 5, 9), 77, np.float32)
    gemm.matmul(a.astype(np.float32), b.astype(np.float32), output)
    error = np.abs(output - a @ b).max()
    assert (1e-4 < error < 2e-2) if wanted == "tf32" else error < 1e-5


@inside
@pytest.mark.parametrize("size", [33, 2000])
def test_three_products_are_as_accurate_as_float32(size):
    """The sums that `warp_tile` adds up, against float64 and against a sum in float32."""
    rng = np.random.default_rng(size)
    a, b = (rng.standard_normal(size).astype(np.float32) for _ in range(2))
    high_a, high_b = (target.rounded_to_tf32(x) for x in (a, b))
    low_a, low_b = (target.rounded_to_tf32(x - high) for x, high in ((a, high_a), (b, high_b)))
    total, plain_total = np.float32(0), np.float32(0)
    for i in range(0, size, 8):
        part = np.float32(0)
        for left, right in ((low_a, high_b), (high_a, low_b), (high_a, high_b)):
            part = np.float32(part + np.dot(left[i : i + 8], right[i : i + 8]))
        total = np.float32(total + part)
    for left, right in zip(a, b, strict=True):
        plain_total = np.float32(plain_total + left * right)
    exact = np.dot(a.astype(np.float64), b)
    scale = np.abs(a.astype(np.float64) * b).sum()
    assert abs(total - exact) / scale < max(2e-7, abs(plain_total - exact) / scale)


@inside
@pytest.mark.parametrize("empty", ["images", "in channels", "out channels"])
def test_empty_convolutions(empty):
    x, weight, grad, options = conv_problem("3x3")
    if empty == "images":
        x, grad = x[:0], grad[:0]
    elif empty == "in channels":
        x, weight = x[:, :0], weight[:, :0]
    else:
        weight, grad = weight[:0], grad[:, :0]
    bias = np.linspace(-1, 1, len(weight))
    assert_close(results((conv.conv_forward, plain.conv_forward), grad.shape, x.dtype, x, weight, bias, *options))
    functions = conv.conv_grad_input, plain.conv_grad_input
    assert_close(results(functions, x.shape, x.dtype, grad, weight, None, *options))
    assert_close(results((conv.conv_grad_weight, plain.conv_grad_weight), weight.shape, x.dtype, grad, x, *options))
    assert_close(results((conv.conv_grad_bias, plain.conv_grad_bias), len(weight), x.dtype, grad))


@inside
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "int64"])
@pytest.mark.parametrize("name", POOLS)
def test_max_pool(name, dtype):
    shape, kernel_size, stride, padding, dilation = POOLS[name]
    window = kernel_size, stride, padding, dilation
    size = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d in zip(shape[2:], kernel_size, stride, padding, dilation, strict=True)
    ]
    x = np.random.default_rng(0).integers(0, 9, shape).astype(dtype)
    if x.dtype.kind == "f":
        x.reshape(-1)[::5] = np.nan
        x.reshape(-1)[1::7] = -np.inf
    found = []
    for family, gathering in ((pool, unpool), (plain, plain)):
        output, indices = np.full((*shape[:2], *size), 77, dtype), np.full((*shape[:2], *size), 77)
        family.max_pool_forward(x, *window, output, indices)
        (gathered,) = results([gathering.max_unpool_backward], indices.shape, dtype, x, indices)
        grad = np.arange(output.size, dtype=dtype).reshape(output.shape)
        (grad_input,) = results([family.max_pool_backward], shape, dtype, grad, indices, *window)
        found.append((output, indices, gathered, grad_input))
    for actual, expected in zip(*found, strict=True):
        np.testing.assert_array_equal(actual, expected)


@inside
def test_empty_pools():
    x, output, indices = np.zeros((0, 2, 1, 4, 4)), np.zeros((0, 2, 1, 2, 2)), np.zeros((0, 2, 1, 2, 2), np.int64)
    window = (1, 2, 2), (1, 2, 2), (0, 0, 0), (1, 1, 1)
    pool.max_pool_forward(x, *window, output, indices)
    pool.max_pool_backward(output, indices, *window, x)
    unpool.max_unpool_backward(x, indices, output)


@inside
@pytest.mark.parametrize("shape", [(), (0,), (5,), (2, 3, 7)])
def test_relu(shape):
    special = np.array([np.nan, -0.0, 0.0, -1.0, 2.0, np.inf, -np.inf], np.float32)
    x = np.resize(special, shape).reshape(shape)
    output, grad_input = np.full_like(x, 77), np.full_like(x, 77)
    elementwise.activation_forward("relu", (), x, output)
    elementwise.activation_backward("relu_grad", (), np.full_like(x, 3), output, grad_input)
    np.testing.assert_array_equal(output, np.where(x < 0, np.float32(0), x))
    np.testing.assert_array_equal(grad_input, np.where(x <= 0, 0, 3))
    elementwise.activation_forward("relu", (), x, x)
    np.testing.assert_array_equal(x, output)


@inside
def test_a_stray_index_is_an_error():
    x, output = np.zeros((1, 1, 1, 1, 4)), np.zeros((1, 1, 1, 1, 1))
    with pytest.raises(IndexError, match="index 9 lies outside of an array of 4 elements"):
        unpool.max_unpool_backward(x, np.full(output.shape, 9), output)


def test_division_by_multiplication():
    divide = getattr(target.divide, "py_func", target.divide)
    numbers = [0, 1, 2, 3, 6, 7, 12345, 2**16, 2**30 - 1, 2**30, 2**31 - 2, 2**31 - 1]
    for divisor in [*range(1, 70), 641, 1000, 4095, 4096, 65537, 2**30 - 1, 2**30, 2**30 + 1, 2**31 - 2, 2**31 - 1]:
        multiplier, shift = target.division(divisor)
        assert 0 <= multiplier < 2**31
        for number in [*numbers, divisor - 1, divisor, min(2 * divisor - 1, 2**31 - 1)]:
            assert divide(number, multiplier, shift) == number // divisor


@pytest.mark.skipif(target.is_simulator(), reason="the simulator is always available")
def test_without_a_gpu_there_is_a_reason():
    reason = target.why_unavailable()
    assert target.is_available() == (reason is None)
    if reason is not None:
        assert "\n" not in reason and len(reason) > 20
