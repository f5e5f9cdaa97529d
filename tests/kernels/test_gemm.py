"""Matrix products against NumPy in float64, in every layout and on both sides of the switch to BLAS."""

import numba
import numpy as np
import pytest
from nbtorch.kernels.cpu import gemm


@pytest.fixture(params=["OpenBLAS", "ours"])
def library(request, monkeypatch):
    """Compute with NumPy's OpenBLAS, where it is found, or without."""
    if request.param == "ours":
        monkeypatch.setattr(gemm, "openblas", lambda: None)


def laid_out(array, layout):
    if layout == "transposed":
        return np.asfortranarray(array)
    if layout == "strided":
        roomy = np.zeros(tuple(2 * n for n in array.shape), array.dtype)
        roomy[::2, ::2] = array
        return roomy[::2, ::2]
    return array


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("b_layout", ["plain", "transposed", "strided"])
@pytest.mark.parametrize("a_layout", ["plain", "transposed", "strided"])
@pytest.mark.parametrize("shape", [(3, 4, 5), (1, 700, 301), (65, 63, 67), (701, 1, 331), (130, 257, 9)])
def test_values(shape, a_layout, b_layout, dtype, library):
    n, m, p = shape
    generator = np.random.default_rng(n)
    a = laid_out(generator.standard_normal((n, m)).astype(dtype), a_layout)
    b = laid_out(generator.standard_normal((m, p)).astype(dtype), b_layout)
    output = np.full((n, p), np.nan, dtype)
    gemm.matmul(a, b, output)
    tolerance = 1e-5 if dtype == np.float32 else 1e-13
    np.testing.assert_allclose(
        output, a.astype(np.float64) @ b.astype(np.float64), rtol=tolerance, atol=tolerance * m**0.5
    )


@pytest.mark.parametrize("shape", [(0, 4, 5), (3, 0, 5), (3, 4, 0), (1000, 0, 1000)])
def test_empty(shape):
    n, m, p = shape
    output = np.full((n, p), np.nan)
    gemm.matmul(np.ones((n, m)), np.ones((m, p)), output)
    assert (output == 0).all()


def test_stacks():
    generator = np.random.default_rng(0)
    a, b = generator.standard_normal((2, 3, 80, 70)), generator.standard_normal((2, 3, 70, 60))
    output = np.empty((2, 3, 80, 60))
    gemm.matmul(a, b, output)
    np.testing.assert_allclose(output, a @ b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("b_layout", ["plain", "transposed", "one for all"])
@pytest.mark.parametrize("a_layout", ["plain", "transposed", "one for all"])
@pytest.mark.parametrize("shape", [(3, 70, 520, 50), (2, 400, 30, 401), (5, 16, 16, 1000)])
def test_stacks_in_every_layout(shape, a_layout, b_layout, library):
    count, n, m, p = shape
    factors = []
    for layout, rows, columns in ((a_layout, n, m), (b_layout, m, p)):
        stack = np.random.default_rng(rows).standard_normal((count, rows, columns))
        if layout == "transposed":
            stack = np.ascontiguousarray(stack.swapaxes(1, 2)).swapaxes(1, 2)
        factors.append(np.broadcast_to(stack[0], stack.shape) if layout == "one for all" else stack)
    output = np.full((count, n, p), np.nan)
    gemm.matmul(*factors, output)
    np.testing.assert_allclose(output, factors[0] @ factors[1], rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("b_transposed", [False, True])
@pytest.mark.parametrize("a_transposed", [False, True])
@pytest.mark.parametrize("shape", [(64, 400, 120), (7, 3001, 250), (500, 70, 401), (1, 900, 2001), (300, 1, 6000)])
def test_the_same_bits_for_every_number_of_threads(shape, a_transposed, b_transposed):
    n, m, p = shape
    generator = np.random.default_rng(0)
    a, b = generator.standard_normal((n, m), np.float32), generator.standard_normal((m, p), np.float32)
    a, b = np.asfortranarray(a) if a_transposed else a, np.asfortranarray(b) if b_transposed else b
    found = []
    threads = numba.get_num_threads()
    for count in (1, 2, 2):
        numba.set_num_threads(min(count, threads))
        found.append(np.full((n, p), np.nan, np.float32))
        gemm.matmul(a, b, found[-1])
    numba.set_num_threads(threads)
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[1], found[2])


def test_openblas_keeps_its_number_of_threads():
    blas = gemm.openblas()
    if blas is None:
        pytest.skip("NumPy here has another BLAS than OpenBLAS")
    before = blas.get_threads()
    gemm.matmul(np.ones((80, 90)), np.ones((90, 100)), np.empty((80, 100)))
    assert blas.get_threads() == before


@pytest.mark.parametrize("stack", [(5,), (2, 3), (1, 4)])
def test_stacks_with_broadcast_and_negative_strides(stack):
    generator = np.random.default_rng(0)
    a = np.broadcast_to(generator.standard_normal((90, 70)), (*stack, 90, 70))
    b = generator.standard_normal((*stack, 70, 60))[..., ::-1, :, :]
    output = np.empty((*stack, 90, 60))
    gemm.matmul(a, b, output)
    np.testing.assert_allclose(output, a @ b, rtol=1e-12, atol=1e-12)


def test_infinity_and_nan_pass(library):
    a, b = np.ones((80, 60)), np.ones((60, 90))
    a[3, 5], b[7, 2] = np.inf, np.nan
    for left in (a, np.asfortranarray(a)):
        for right in (b, np.asfortranarray(b)):
            output = np.empty((80, 90))
            gemm.matmul(left, right, output)
            assert np.array_equal(output, a @ b, equal_nan=True)
