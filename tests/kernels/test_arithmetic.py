"""Arithmetic on large arrays: NumPy's values for every number of threads, special values included."""

import operator

import numpy as np
import pytest

import nbtorch as torch


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("operation", [operator.add, operator.sub, operator.mul, operator.truediv])
def test_large_arrays(operation, dtype):
    generator = np.random.default_rng(0)
    a, b = (generator.standard_normal((513, 1031)).astype(dtype) for _ in range(2))
    a.flat[:4], b.flat[:4] = [np.nan, np.inf, -0.0, 1], [1, -np.inf, 0, 0]
    with np.errstate(all="ignore"):
        expected = operation(a, b)
    threads = torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            result = operation(torch.from_numpy(a), torch.from_numpy(b)).numpy()
            np.testing.assert_array_equal(result, expected)
            np.testing.assert_array_equal(np.signbit(result)[1:], np.signbit(expected)[1:])
    finally:
        torch.set_num_threads(threads)
