"""Max pooling on the CPU: against PyTorch, against plain NumPy, and against its own other forms."""

import os
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import plain_kernels
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nbtorch.kernels import geometry
from nbtorch.kernels.cpu import pool, unpool

WINDOWS = {
    # name: (input shape, kernel_size, stride, padding, dilation)
    "2x2/2": ((2, 3, 1, 8, 8), (1, 2, 2), (1, 2, 2), (0, 0, 0), (1, 1, 1)),
    "2x2/2, wide": ((1, 2, 1, 6, 70), (1, 2, 2), (1, 2, 2), (0, 0, 0), (1, 1, 1)),
    "3x3/2, padded": ((2, 2, 1, 13, 37), (1, 3, 3), (1, 2, 2), (0, 1, 1), (1, 1, 1)),
    "3x3/1, padded": ((1, 2, 1, 9, 35), (1, 3, 3), (1, 1, 1), (0, 1, 1), (1, 1, 1)),
    "5x4/3x2, dilated": ((1, 2, 1, 19, 23), (1, 5, 4), (1, 3, 2), (0, 2, 1), (1, 2, 3)),
    "1-d, 2/2": ((2, 3, 1, 1, 41), (1, 1, 2), (1, 1, 2), (0, 0, 0), (1, 1, 1)),
    "1-d, 7/3": ((2, 3, 1, 1, 41), (1, 1, 7), (1, 1, 3), (0, 0, 3), (1, 1, 1)),
    "2x2x2/2": ((1, 2, 6, 8, 36), (2, 2, 2), (2, 2, 2), (0, 0, 0), (1, 1, 1)),
    "3x2x3, padded, dilated": ((2, 1, 7, 6, 9), (3, 2, 3), (2, 1, 2), (1, 1, 1), (1, 2, 1)),
    "one window": ((1, 1, 1, 3, 3), (1, 3, 3), (1, 3, 3), (0, 0, 0), (1, 1, 1)),
    "many planes": ((8, 40, 1, 16, 16), (1, 3, 3), (1, 2, 2), (0, 1, 1), (1, 1, 1)),
}
DTYPES = ["float32", "float64", "int64"]


def output_shape(shape, kernel_size, stride, padding, dilation, ceil_mode=False):
    size = geometry.pool_output_size("max_pool", shape[2:], kernel_size, stride, padding, dilation, ceil_mode)
    return (*shape[:2], *size)


def sample(shape, dtype="float32", seed=0):
    """Few distinct values, so that ties abound."""
    return np.random.default_rng(seed).integers(0, 50, shape).astype(dtype)


def forward(x, *window, ceil_mode=False, family=pool):
    shape = output_shape(x.shape, *window, ceil_mode=ceil_mode)
    output, indices = np.full(shape, 77, x.dtype), np.full(shape, 77, np.int64)
    family.max_pool_forward(x, *window, output, indices)
    return output, indices


def backward(grad_output, indices, shape, *window, family=pool):
    grad_input = np.full(shape, 77, grad_output.dtype)
    family.max_pool_backward(grad_output, indices, *window, grad_input)
    return grad_input


def assert_same(actual, expected):
    for a, e in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(a, e)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", WINDOWS)
def test_forward_is_the_plain_one(name, dtype):
    shape, *window = WINDOWS[name]
    x = sample(shape, dtype)
    assert_same(forward(x, *window), forward(x, *window, family=plain_kernels))


@pytest.mark.parametrize("name", WINDOWS)
def test_backward_is_the_plain_one(name):
    shape, *window = WINDOWS[name]
    output, indices = forward(sample(shape), *window)
    grad_output = sample(output.shape, seed=1)
    expected = backward(grad_output, indices, shape, *window, family=plain_kernels)
    np.testing.assert_array_equal(backward(grad_output, indices, shape, *window), expected)


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("name", WINDOWS)
def test_forward_and_backward_are_pytorchs(name, ceil_mode):
    torch = pytest.importorskip("torch")
    shape, *window = WINDOWS[name]
    x = sample(shape)
    theirs = torch.from_numpy(x).requires_grad_()
    expected, expected_indices = torch.nn.functional.max_pool3d(
        theirs, *window, ceil_mode=ceil_mode, return_indices=True
    )
    output, indices = forward(x, *window, ceil_mode=ceil_mode)
    assert_same((output, indices), (expected.detach().numpy(), expected_indices.numpy()))
    grad_output = sample(output.shape, seed=1)
    expected.backward(torch.from_numpy(grad_output))
    np.testing.assert_array_equal(backward(grad_output, indices, shape, *window), theirs.grad.numpy())


def indices_of(taps, shape, kernel_size, stride, padding, dilation):
    """Return the flat indices that taps stand for."""
    position, rest = 0, taps.astype(np.int64)
    numbers = []
    for k in reversed(kernel_size):
        numbers.insert(0, rest % k)
        rest //= k
    for axis in range(3):
        windows = np.arange(taps.shape[2 + axis]).reshape((-1,) + (1,) * (2 - axis))
        place = windows * stride[axis] - padding[axis] + numbers[axis] * dilation[axis]
        position = position * shape[2 + axis] + place
    return np.where(taps == 255, -1, position)


def assert_taps_are_indices(x, window, ceil_mode=False):
    """Check that pooling which keeps taps gives the same maxima and gradients as one that keeps indices."""
    output, indices = forward(x, *window, ceil_mode=ceil_mode)
    values, taps = np.full_like(output, 77), np.full(output.shape, 77, np.uint8)
    pool.max_pool_forward(x, *window, values, taps)
    assert_same((values, indices_of(taps, x.shape, *window)), (output, indices))
    values[...] = 77
    pool.max_pool_forward(x, *window, values, np.empty((0,) * 5, np.uint8))
    np.testing.assert_array_equal(values, output)
    grad_output = sample(output.shape, seed=1)
    expected = backward(grad_output, indices, x.shape, *window)
    np.testing.assert_array_equal(backward(grad_output, taps, x.shape, *window), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", WINDOWS)
def test_taps_stand_for_indices(name, dtype):
    shape, *window = WINDOWS[name]
    assert_taps_are_indices(sample(shape, dtype), window)


@st.composite
def pooling_problems(draw):
    """A shape of 1 to 3 dimensions and a window that PyTorch accepts; NaN and infinities among the values."""
    triples = [draw(st.tuples(*[st.integers(*bounds)] * 3)) for bounds in ((1, 4), (1, 3), (1, 2))]
    kernel_size, stride, dilation = triples
    reach = geometry.effective_kernel_size(kernel_size, dilation)
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel_size)
    extents = tuple(max(1, r - 2 * p) + draw(st.integers(0, 5)) for r, p in zip(reach, padding, strict=True))
    shape = (draw(st.integers(1, 2)), draw(st.integers(1, 2)), *extents)
    special = st.sampled_from([0.0, 1.0, 2.0, 3.0, -1.0, -np.inf, np.inf, np.nan])
    seed = draw(st.integers(0, 1000))
    values = np.array([draw(special) for _ in range(7)], np.float32)
    x = np.random.default_rng(seed).choice(values, shape)
    return x, kernel_size, stride, padding, dilation


@settings(max_examples=100, deadline=None)
@given(pooling_problems(), st.booleans())
def test_any_problem_is_the_plain_one(problem, ceil_mode):
    x, *window = problem
    output, indices = forward(x, *window, ceil_mode=ceil_mode)
    assert_same((output, indices), forward(x, *window, ceil_mode=ceil_mode, family=plain_kernels))
    grad_output = sample(output.shape, seed=1)
    expected = backward(grad_output, indices, x.shape, *window, family=plain_kernels)
    np.testing.assert_array_equal(backward(grad_output, indices, x.shape, *window), expected)
    assert_taps_are_indices(x, window, ceil_mode)


def test_nan_wins_and_the_last_one_stands():
    x = np.array([[[[[1, np.nan, 2, np.nan, 3, 4, 5, 6, 7, 8]]]]], np.float32)
    output, indices = forward(x, (1, 1, 5), (1, 1, 5), (0, 0, 0), (1, 1, 1))
    assert np.isnan(output[0, 0, 0, 0, 0]) and output[0, 0, 0, 0, 1] == 8
    assert indices.reshape(-1).tolist() == [3, 9]


def test_a_window_of_minus_infinity_has_a_valid_index():
    x = np.full((1, 1, 1, 1, 5), -np.inf, np.float32)
    output, indices = forward(x, (1, 1, 3), (1, 1, 1), (0, 0, 1), (1, 1, 1))
    assert (output == -np.inf).all()
    assert indices.reshape(-1).tolist() == [0, 0, 1, 2, 3]


def test_a_window_that_meets_nothing_gets_no_gradient():
    window = (1, 1, 2), (1, 1, 1), (0, 0, 1), (1, 1, 3)
    x = np.array([[[[[5.0, 6.0]]]]], np.float32)
    output, indices = forward(x, *window)
    assert output.reshape(-1).tolist() == [-np.inf] and indices.reshape(-1).tolist() == [-1]
    assert backward(np.ones_like(output), indices, x.shape, *window).reshape(-1).tolist() == [0, 0]
    gathered = np.full_like(output, 77)
    unpool.max_unpool_backward(x, indices, gathered)
    assert gathered.reshape(-1).tolist() == [0]


@pytest.mark.parametrize("shape", [(3, 4, 1, 6, 6), (16, 32, 1, 24, 24)])
def test_gather_reads_what_the_indices_name(shape):
    window = (1, 2, 2), (1, 2, 2), (0, 0, 0), (1, 1, 1)
    x = np.random.default_rng(0).standard_normal(shape)
    output, indices = forward(x, *window)
    gathered = np.full_like(output, 77)
    unpool.max_unpool_backward(x, indices, gathered)
    np.testing.assert_array_equal(gathered, output)


@pytest.mark.parametrize("shape", [(0, 3, 1, 6, 6), (2, 0, 1, 6, 6)])
def test_empty_batches_and_channels(shape):
    window = (1, 2, 2), (1, 2, 2), (0, 0, 0), (1, 1, 1)
    output, indices = forward(np.zeros(shape, np.float32), *window)
    backward(output, indices, shape, *window)
    unpool.max_unpool_backward(np.zeros(shape, np.float32), indices, output)
    assert output.shape == (*shape[:2], 1, 3, 3)


@pytest.mark.parametrize("shape", [(1, 1, 24, 48, 64), (2, 1, 1, 250, 250)])
def test_the_bits_do_not_depend_on_the_threads(shape):
    window = (1, 3, 3), (1, 1, 2), (0, 1, 1), (1, 1, 1)
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    results = []
    threads = numba.get_num_threads()
    for count in (1, threads, threads):
        numba.set_num_threads(count)
        output, indices = forward(x, *window)
        taps = np.empty(output.shape, np.uint8)
        pool.max_pool_forward(x, *window, output, taps)
        gradients = [backward(np.sin(output), choices, shape, *window) for choices in (indices, taps)]
        results.append((output, indices, taps, *gradients))
    numba.set_num_threads(threads)
    assert_same(results[0], results[1])
    assert_same(results[1], results[2])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "arguments"),
    [
        ({"NUMBA_BOUNDSCHECK": "1"}, ["tests/kernels/test_pool.py", "tests/nn/test_pooling.py"]),
        ({"NUMBA_DISABLE_JIT": "1"}, ["tests/kernels/test_pool.py", "-k", "special or plain or taps or nothing"]),
        ({"NBTORCH_SIMD": "generic"}, ["tests/kernels/test_pool.py"]),
        ({"NBTORCH_SIMD": "neon"}, ["tests/kernels/test_pool.py"]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_other_settings(settings, arguments):
    """The tests pass with bounds checked, as plain Python, and with vectors of other widths."""
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "-m", "not slow", "-p", "no:cacheprovider", *arguments],
        cwd=Path(__file__).parents[2],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert result.returncode == 0, result.stdout[-3000:]
