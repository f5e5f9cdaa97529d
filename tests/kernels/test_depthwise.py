"""Depthwise convolutions against the plain reference: every option crossed, boxes, narrow rows, NaN, threads."""

import itertools

import numba
import numpy as np
import pytest
from nbtorch.kernels.cpu import depthwise
from nbtorch.kernels.cpu.conv_choice import Algorithm, choose, choose_grad_weight
from test_conv import (
    arrays,
    assert_close,
    check,
    described,
    forward,
    grad_weight,
    make_case,
    reference_forward,
    reference_grad_input,
    reference_grad_weight,
    unwritten,
)

PLANES = list(
    itertools.product(
        [1, 2], [(7, 8), (9, 7), (13, 30), (3, 3)], [(3, 3), (2, 1), (5, 5)], [1, 2, 3], [0, 1, 2], [1, 2]
    )
)
CASES = {
    f"{m}x {size} kernel {kernel} stride {s} padding {p} dilation {d}": make_case(
        channels=3,
        rows=3 * m,
        groups=3,
        size=(1, *size),
        kernel=(1, *kernel),
        stride=(1, s, s),
        padding=(0, p, p),
        dilation=(1, d, d),
    )
    for m, size, kernel, s, p, d in PLANES
    if min(size) + 2 * p >= d * (max(kernel) - 1) + 1
}
CASES |= {
    f"volume stride {stride} dilation {dilation}": make_case(
        channels=3, rows=6, groups=3, size=(5, 6, 7), kernel=(3, 2, 3), stride=stride, padding=1, dilation=dilation
    )
    for stride in [1, 2, (2, 1, 2)]
    for dilation in [1, (1, 2, 1)]
}
BOXES = {
    f"{name} stride {stride}": make_case(
        channels=2, rows=2 * m, groups=2, size=size, kernel=k, padding=p, stride=stride
    )
    for stride in (1, 2)
    for name, m, size, k, p in [
        ("boxes of rows", 1, (1, 150, 160), (1, 3, 3), (0, 1, 1)),
        ("boxes of columns", 2, (1, 1, 40001), (1, 1, 31), (0, 0, 15)),
        ("boxes of planes", 1, (20, 30, 41), (3, 3, 3), 1),
        ("narrow boxes", 1, (1, 9001, 5), (1, 3, 3), (0, 1, 1)),
        ("one column", 1, (1, 50, 1), (1, 3, 1), (0, 1, 0)),
    ]
}
CASES |= BOXES


def convolved(plan, source, weight, bias, shape, workers=1):
    target = unwritten(shape, source.dtype)
    depthwise.convolve(plan, source, weight, bias, target, workers)
    return target


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", CASES)
def test_values(name, dtype):
    case, dtype = CASES[name], np.dtype(dtype)
    (x, w, b, g), convolution = arrays(case, dtype), described(case, dtype.itemsize)
    plan = depthwise.plan_forward(convolution, dtype)
    assert_close(convolved(plan, x, w, b, g.shape), reference_forward(x, w, b, case))
    result = unwritten(w.shape, dtype)
    depthwise.grad_weight(plan, x, g, result, 1)
    assert_close(result, reference_grad_weight(g, x, w, case))
    if choose(convolution, grad_input=True) is Algorithm.DEPTHWISE:
        plan = depthwise.plan_grad_input(convolution, dtype)
        assert_close(convolved(plan, g, w, None, x.shape), reference_grad_input(g, w, x, None, case))


@pytest.mark.parametrize("name", [*BOXES, "2x (9, 7) kernel (3, 3) stride 2 padding 1 dilation 1"])
def test_the_same_bits_for_every_number_of_threads_and_every_run(name):
    case, threads, dtype = CASES[name], numba.get_num_threads(), np.dtype(np.float32)
    (x, w, b, g), convolution = arrays(case, dtype), described(case)
    forwards, backwards = (plan(convolution, dtype) for plan in (depthwise.plan_forward, depthwise.plan_grad_input))
    results = set()
    try:
        for workers in (1, 1, *range(2, min(3, numba.config.NUMBA_NUM_THREADS) + 1)):
            numba.set_num_threads(workers)
            result = unwritten(w.shape, dtype)
            depthwise.grad_weight(forwards, x, g, result, workers)
            output = convolved(forwards, x, w, b, g.shape, workers)
            back = convolved(backwards, g, w, None, x.shape, workers)
            results.add(output.tobytes() + back.tobytes() + result.tobytes())
    finally:
        numba.set_num_threads(threads)
    assert len(results) == 1


def test_it_writes_nothing_beyond_its_target():
    case = CASES["1x (9, 7) kernel (5, 5) stride 1 padding 1 dilation 1"]
    x, w, b, g = arrays(case, np.dtype(np.float32))
    memory = np.full(g.size + 64, 7, np.float32)
    target = memory[:-64].reshape(g.shape)
    depthwise.convolve(depthwise.plan_forward(described(case), x.dtype), x, w, b, target, 1)
    assert_close(target, reference_forward(x, w, b, case))
    assert (memory[-64:] == 7).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["1x (13, 30) kernel (3, 3) stride 1 padding 1 dilation 1", "boxes of rows stride 1"])
def test_nan_and_infinity_stay_where_they_belong(name, value):
    case = CASES[name]
    x, w, b, g = arrays(case, np.float32)
    x[0, 0, 0, 5, 6] = value
    with np.errstate(invalid="ignore"):
        expected = reference_forward(x, w, b, case), reference_grad_weight(g, x, w, case)
        for actual, other in zip((forward(x, w, b, case), grad_weight(g, x, w, case)), expected, strict=True):
            np.testing.assert_array_equal(np.isfinite(actual), np.isfinite(other))


def test_it_is_chosen_for_one_channel_per_group():
    case = make_case(channels=4, rows=8, groups=4, size=(1, 9, 9), stride=(1, 2, 2))
    convolution = described(case)
    assert choose(convolution) is choose_grad_weight(convolution) is Algorithm.DEPTHWISE
    assert choose(convolution, grad_input=True) is Algorithm.DEPTHWISE
    assert choose(convolution._replace(stride=(1, 2, 1)), grad_input=True) is Algorithm.OFFSET_GEMM
    assert choose(convolution._replace(output_shape=(2, 16, 1, 4, 4))) is Algorithm.OFFSET_GEMM
    assert choose(convolution._replace(groups=2)) is Algorithm.OFFSET_GEMM
    check(case, np.float32)
