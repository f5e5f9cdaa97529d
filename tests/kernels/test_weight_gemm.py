"""The gradient of the weight as a GEMM over positions: values for every case, the same bits for every thread count."""

import numba
import numpy as np
import pytest
from nbtorch.kernels.cpu import weight_gemm
from nbtorch.kernels.cpu.conv_choice import Algorithm, choose_grad_weight
from test_conv import CASES, arrays, assert_close, described, make_case, reference_grad_weight, unwritten

CASES = {name: case for name, case in CASES.items() if 0 not in case["input_shape"]} | {
    "many channels": make_case(images=3, channels=70, rows=300, size=(1, 9, 8), padding=(0, 1, 1)),
    "many positions": make_case(images=5, channels=17, rows=20, size=(1, 40, 37), padding=(0, 1, 1), stride=(1, 2, 1)),
    "wide and dilated": make_case(images=1, channels=18, rows=9, size=(1, 9, 900), dilation=(1, 2, 3)),
    "pointwise and strided": make_case(channels=33, rows=7, size=(5, 9, 11), kernel=(1, 1, 1), stride=3),
}


def grad_weight(g, x, w, case, workers=1):
    result = unwritten(w.shape, x.dtype)
    weight_gemm.grad_weight(described(case, x.itemsize), g, x, result, workers)
    return result


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", CASES)
def test_values(name, dtype):
    case = CASES[name]
    x, w, _, g = arrays(case, dtype)
    assert_close(grad_weight(g, x, w, case), reference_grad_weight(g, x, w, case))


@pytest.mark.parametrize("name", ["seven by seven", "groups", "many channels", "many positions", "large volume"])
def test_the_same_bits_for_every_number_of_threads_and_every_run(name):
    case, threads = CASES[name], numba.get_num_threads()
    x, w, _, g = arrays(case, np.float32)
    try:
        results = []
        for workers in (1, 1, *range(2, min(3, numba.config.NUMBA_NUM_THREADS) + 1)):
            numba.set_num_threads(workers)
            results.append(grad_weight(g, x, w, case, workers).tobytes())
    finally:
        numba.set_num_threads(threads)
    assert len(set(results)) == 1


def test_nan_stays_with_its_channel():
    case = CASES["seven by seven"]
    x, w, _, g = arrays(case, np.float32)
    x[0, 3, 0, 2, 2] = np.nan
    expected = np.zeros(w.shape, bool)
    expected[:, 3] = True
    np.testing.assert_array_equal(np.isnan(grad_weight(g, x, w, case)), expected)


def test_it_is_chosen_for_many_channels():
    assert choose_grad_weight(described(CASES["many channels"])) is Algorithm.WEIGHT_GEMM
    assert choose_grad_weight(described(CASES["lenet first"])) is Algorithm.OFFSET_GEMM
