"""The position GEMM against the plain reference: every option crossed, boxes, blocks, in place and packed, threads."""

import numba
import numpy as np
import pytest
from nbtorch.kernels.cpu import position_gemm
from nbtorch.kernels.cpu.conv_choice import Algorithm, choose
from test_conv import CASES as COMMON
from test_conv import (
    arrays,
    assert_close,
    described,
    make_case,
    reference_forward,
    reference_grad_input,
    unwritten,
)

BLOCKS = {
    "pointwise blocks": make_case(channels=150, rows=40, size=(1, 1, 333), kernel=(1, 1, 1)),
    "pointwise row blocks": make_case(channels=20, rows=530, size=(1, 7, 7), kernel=(1, 1, 1)),
    "pointwise groups": make_case(channels=40, rows=60, groups=4, size=(1, 9, 9), kernel=(1, 1, 1)),
    "pointwise, channels a cache way apart": make_case(channels=12, rows=16, size=(1, 32, 32), kernel=(1, 1, 1)),
    "strided pointwise in place": make_case(channels=20, rows=33, size=(1, 15, 14), kernel=(1, 1, 1), stride=(1, 2, 2)),
    "unpadded in place": make_case(images=3, channels=6, rows=16, size=(1, 14, 14), kernel=(1, 5, 5)),
    "strided seven by seven": make_case(
        images=5, channels=40, rows=48, size=(1, 14, 14), stride=(1, 2, 2), padding=(0, 1, 1)
    ),
    "boxes of rows": make_case(images=2, channels=3, rows=24, size=(1, 33, 40), stride=(1, 2, 1), padding=(0, 1, 1)),
    "boxes of columns": make_case(images=1, channels=2, rows=9, size=(1, 3, 700), stride=(1, 1, 2), padding=(0, 1, 1)),
    "boxes of planes": make_case(channels=3, rows=8, size=(9, 8, 7), kernel=(3, 2, 3), stride=(2, 2, 2), padding=1),
    "wide dilation": make_case(channels=9, rows=8, size=(1, 70, 80), padding=(0, 30, 30), dilation=(1, 30, 30)),
    "many phases": make_case(channels=16, rows=20, size=(1, 1, 203), kernel=(1, 1, 16), stride=(1, 1, 8)),
}
CASES = {name: case for name, case in (COMMON | BLOCKS).items() if case["input_shape"][0] * case["input_shape"][1] > 0}


def both_ways(case, dtype, workers=1):
    """Forward pass and gradient of the input, each with a bias, and the arrays they were computed from."""
    x, w, b, g = arrays(case, dtype)
    c, convolution = np.arange(x.shape[1], dtype=dtype), described(case, np.dtype(dtype).itemsize)
    output, result = unwritten(g.shape, dtype), unwritten(x.shape, dtype)
    position_gemm.convolve(convolution, x, w, False, b, output, workers)
    position_gemm.convolve(convolution, g, w, True, c, result, workers)
    return (x, w, b, g, c), (output, result)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", CASES)
def test_values(name, dtype):
    case = CASES[name]
    (x, w, b, g, c), (output, result) = both_ways(case, dtype)
    assert_close(output, reference_forward(x, w, b, case))
    assert_close(result, reference_grad_input(g, w, x, c, case))


@pytest.mark.parametrize("name", BLOCKS)
def test_the_same_bits_for_every_number_of_threads_and_every_run(name):
    threads = numba.get_num_threads()
    try:
        results = []
        for workers in (1, 1, *range(2, min(3, numba.config.NUMBA_NUM_THREADS) + 1)):
            numba.set_num_threads(workers)
            results.append(b"".join(array.tobytes() for array in both_ways(BLOCKS[name], np.float32, workers)[1]))
    finally:
        numba.set_num_threads(threads)
    assert len(set(results)) == 1


def test_sources_are_read_in_place_where_nothing_is_padded():
    def in_place(name, transposed=False):
        return position_gemm.plan(described(BLOCKS[name]), transposed, 1).layout.in_place

    assert in_place("pointwise blocks") and in_place("pointwise blocks", True) and in_place("unpadded in place")
    assert in_place("strided pointwise in place") and in_place("many phases")
    assert not in_place("pointwise, channels a cache way apart") and not in_place("strided seven by seven")
    assert not in_place("unpadded in place", True)


def test_it_is_chosen_for_short_rows_wide_strides_and_stride_phases():
    for name, forward, backward in [
        ("strided seven by seven", True, True),
        ("unpadded in place", True, False),
        ("many phases", True, True),
        ("pointwise blocks", False, False),
        ("boxes of rows", False, False),
    ]:
        convolution = described(BLOCKS[name])
        assert (choose(convolution) is Algorithm.POSITION_GEMM) is forward
        assert (choose(convolution, grad_input=True) is Algorithm.POSITION_GEMM) is backward
