"""Winograd's convolution against the plain reference, its accuracy, and when it is chosen."""

import itertools

import numba
import numpy as np
import pytest
from nbtorch.kernels.cpu import winograd
from nbtorch.kernels.cpu.conv_choice import Algorithm, choose
from test_conv import arrays, described, grad_input, make_case, reference_forward, reference_grad_input, unwritten
from test_conv import forward as conv_forward

CASES = {
    "one tile": make_case(channels=8, rows=16, size=(1, 6, 6)),
    "ragged everything": make_case(images=5, channels=13, rows=19, size=(1, 7, 9), padding=(0, 1, 1)),
    "few channels": make_case(channels=3, rows=2, size=(1, 8, 5), padding=(0, 1, 0)),
    "smaller than a tile": make_case(images=7, channels=9, rows=5, size=(1, 3, 3), padding=(0, 1, 1)),
    "one output": make_case(channels=9, rows=5, size=(1, 3, 3)),
    "channel blocks": make_case(images=3, channels=130, rows=33, size=(1, 7, 7), padding=(0, 1, 1)),
    "row blocks": make_case(images=1, channels=4, rows=300, size=(1, 9, 9), padding=(0, 1, 1)),
    "wide": make_case(images=1, channels=6, rows=8, size=(1, 10, 270), padding=(0, 2, 0)),
    "many boxes": make_case(images=9, channels=16, rows=16, size=(1, 30, 30), padding=(0, 1, 1)),
    "groups": make_case(channels=12, rows=18, groups=3, size=(1, 13, 14), padding=(0, 1, 3)),
    "beyond the kernel": make_case(channels=8, rows=8, size=(1, 4, 5), padding=(0, 5, 4)),
    "unequal padding": make_case(channels=8, rows=8, size=(1, 9, 5), padding=(0, 0, 2), after=(0, 2, 1)),
    "planes": make_case(channels=4, rows=8, size=(9, 5, 6), kernel=(1, 3, 3)),
    "volume": make_case(channels=8, rows=8, groups=2, size=(5, 7, 9), kernel=(3, 3, 3), padding=1),
    "dilated planes": make_case(
        channels=8, rows=9, size=(7, 6, 6), kernel=(2, 3, 3), padding=(2, 1, 1), dilation=(3, 1, 1)
    ),
}
CASES |= {
    f"crossed {size} {padding} {channels}": make_case(
        images=2, channels=channels, rows=channels + 1, size=(1, size, size + 2), padding=(0, padding, 2 - padding)
    )
    for size, padding, channels in itertools.product([3, 4, 5, 8, 11], [0, 1, 2], [1, 8, 17])
}


def both_ways(case, workers=1):
    """Forward pass and gradient of the input, with the arrays they were computed from."""
    x, w, b, g = arrays(case, np.float32)
    output, result = unwritten(g.shape, x.dtype), unwritten(x.shape, x.dtype)
    assert winograd.convolve(described(case), x, w, False, b, output, workers)
    assert winograd.convolve(described(case), g, w, True, None, result, workers)
    return x, w, b, g, output, result


def relative_error(actual, expected):
    return np.linalg.norm(actual - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize("name", CASES)
def test_values(name):
    case = CASES[name]
    x, w, b, g, output, result = both_ways(case)
    assert relative_error(output, reference_forward(x, w, b, case)) < 2e-6
    assert relative_error(result, reference_grad_input(g, w, x, None, case)) < 2e-6


@pytest.mark.parametrize("channels", [64, 512])
def test_accuracy_on_normal_data(channels):
    case = make_case(images=2, channels=channels, rows=64, size=(1, 14, 14), padding=(0, 1, 1))
    x, w, b, g, output, result = both_ways(case)
    assert relative_error(output, reference_forward(x, w, b, case)) < 5e-6
    assert relative_error(result, reference_grad_input(g, w, x, None, case)) < 5e-6


@pytest.mark.parametrize("name", ["ragged everything", "row blocks", "many boxes", "groups", "volume"])
def test_the_same_bits_for_every_number_of_threads_and_every_run(name):
    case, threads = CASES[name], numba.get_num_threads()
    try:
        results = []
        for workers in (1, 1, *range(2, min(3, numba.config.NUMBA_NUM_THREADS) + 1)):
            numba.set_num_threads(workers)
            results.append(b"".join(array.tobytes() for array in both_ways(case, workers)[4:]))
    finally:
        numba.set_num_threads(threads)
    assert len(set(results)) == 1


LARGE = make_case(images=2, channels=32, rows=32, size=(1, 16, 16), padding=(0, 1, 1))


def test_it_is_chosen_for_large_layers_and_can_be_turned_off(monkeypatch):
    large = described(LARGE)
    assert choose(large) is choose(large, grad_input=True) is Algorithm.WINOGRAD
    assert choose(large, winograd=False) is not Algorithm.WINOGRAD
    monkeypatch.setenv("NBTORCH_WINOGRAD", "0")
    assert choose(large) is not Algorithm.WINOGRAD
    assert choose(large, winograd=True) is Algorithm.WINOGRAD


@pytest.mark.parametrize(
    "change",
    [
        {"itemsize": 8},
        {"stride": (1, 2, 1)},
        {"dilation": (1, 1, 2)},
        {"kernel_size": (1, 3, 5)},
        {"groups": 32},
        {"output_shape": (1, 32, 1, 2, 2)},
    ],
    ids=str,
)
def test_it_is_not_chosen_where_it_cannot_or_does_not_pay(change):
    assert choose(described(LARGE)._replace(**change)) is not Algorithm.WINOGRAD


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e38])
def test_nan_and_infinity_stay_where_they_belong(value):
    x, w, b, g = arrays(LARGE, np.float32)
    assert choose(described(LARGE)) is Algorithm.WINOGRAD
    x[0, 0, 0, 0, 1] = x[-1, -1, -1, -1, -1] = g[0, 0, 0, 0, 0] = value
    with np.errstate(all="ignore"):
        pairs = (
            (conv_forward(x, w, b, LARGE), reference_forward(x, w, b, LARGE)),
            (grad_input(g, w, x, None, LARGE), reference_grad_input(g, w, x, None, LARGE)),
        )
        for actual, expected in pairs:
            np.testing.assert_array_equal(np.isfinite(actual), np.isfinite(expected.astype(np.float32)))


def test_the_public_kernels_take_it(monkeypatch):
    x, w, b, g = arrays(LARGE, np.float32)
    chosen = conv_forward(x, w, b, LARGE), grad_input(g, w, x, None, LARGE)
    monkeypatch.setenv("NBTORCH_WINOGRAD", "0")
    direct = conv_forward(x, w, b, LARGE), grad_input(g, w, x, None, LARGE)
    for one, other in zip(chosen, direct, strict=True):
        assert one.tobytes() != other.tobytes()
        assert relative_error(one, other) < 2e-6
