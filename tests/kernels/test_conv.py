"""Convolutions against a plain NumPy reference in float64, over crossed options."""

import itertools
import os
import subprocess
import sys

import numba
import numpy as np
import pytest
from nbtorch.kernels.cpu import conv
from nbtorch.kernels.cpu.conv_plan import Convolution


def taps(kernel_size):
    return itertools.product(*(range(k) for k in kernel_size))


def windows(padded, tap, case):
    """The elements that one tap meets, one for every output position."""
    slices = [
        slice(t * d, t * d + s * (o - 1) + 1, s)
        for t, d, s, o in zip(tap, case["dilation"], case["stride"], case["outputs"], strict=True)
    ]
    return padded[(..., *slices)]


def pad(array, case):
    """The padded input: as far as the taps of the last output reach."""
    widths = [(0, 0), (0, 0)]
    for n, p, o, k, s, d in zip(
        array.shape[2:],
        case["padding"],
        case["outputs"],
        case["kernel_size"],
        case["stride"],
        case["dilation"],
        strict=True,
    ):
        widths.append((p, max(0, (o - 1) * s + (k - 1) * d + 1 - p - n)))
    return np.pad(array, widths)


def split(array, groups, axis):
    return np.split(array, groups, axis)


def reference_forward(x, w, b, case):
    padded, groups = pad(x.astype(np.float64), case), case["groups"]
    result = np.zeros((x.shape[0], w.shape[0], *case["outputs"]))
    for tap in taps(case["kernel_size"]):
        parts = [
            np.einsum("ncdhw,oc->nodhw", part, kernel)
            for part, kernel in zip(
                split(windows(padded, tap, case), groups, 1),
                split(w[(..., *tap)].astype(np.float64), groups, 0),
                strict=True,
            )
        ]
        result += np.concatenate(parts, 1)
    return result if b is None else result + b.reshape(-1, 1, 1, 1)


def reference_grad_input(g, w, x, b, case):
    groups = case["groups"]
    result = pad(np.zeros(x.shape), case)
    for tap in taps(case["kernel_size"]):
        parts = [
            np.einsum("nodhw,oc->ncdhw", part, kernel)
            for part, kernel in zip(
                split(g.astype(np.float64), groups, 1), split(w[(..., *tap)].astype(np.float64), groups, 0), strict=True
            )
        ]
        windows(result, tap, case)[...] += np.concatenate(parts, 1)
    for axis, (p, n) in enumerate(zip(case["padding"], x.shape[2:], strict=True), start=2):
        result = np.take(result, range(p, p + n), axis)
    return result if b is None else result + b.reshape(-1, 1, 1, 1)


def reference_grad_weight(g, x, w, case):
    padded, groups = pad(x.astype(np.float64), case), case["groups"]
    result = np.zeros(w.shape)
    for tap in taps(case["kernel_size"]):
        parts = [
            np.einsum("nodhw,ncdhw->oc", part, window)
            for part, window in zip(
                split(g.astype(np.float64), groups, 1), split(windows(padded, tap, case), groups, 1), strict=True
            )
        ]
        result[(..., *tap)] = np.concatenate(parts, 0)
    return result


def make_case(
    images=2,
    channels=3,
    rows=4,
    size=(1, 6, 7),
    kernel=(1, 3, 3),
    stride=1,
    padding=0,
    after=None,
    dilation=1,
    groups=1,
):
    def triple(value):
        return (value,) * 3 if isinstance(value, int) else tuple(value)

    stride, padding, dilation = triple(stride), triple(padding), triple(dilation)
    padding = tuple(p if n > 1 or k > 1 else 0 for p, n, k in zip(padding, size, kernel, strict=True))
    after = padding if after is None else triple(after)
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    outputs = tuple((n + p + a - r) // s + 1 for n, p, a, r, s in zip(size, padding, after, reach, stride, strict=True))
    assert min(outputs) > 0
    return {
        "input_shape": (images, channels, *size),
        "weight_shape": (rows, channels // groups, *kernel),
        "kernel_size": kernel,
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "groups": groups,
        "outputs": outputs,
    }


CASES = {
    "pointwise": make_case(kernel=(1, 1, 1)),
    "plain": make_case(),
    "padded": make_case(padding=(0, 1, 1)),
    "lenet first": make_case(images=5, channels=1, rows=6, size=(1, 28, 28), kernel=(1, 5, 5)),
    "lenet second": make_case(images=3, channels=6, rows=16, size=(1, 12, 12), kernel=(1, 5, 5)),
    "seven by seven": make_case(images=9, channels=20, rows=19, size=(1, 7, 7), padding=(0, 1, 1)),
    "channel blocks": make_case(images=2, channels=70, rows=10, size=(1, 9, 8), padding=(0, 1, 1)),
    "row blocks": make_case(images=1, channels=5, rows=203, size=(1, 6, 6), padding=(0, 1, 1)),
    "pointwise row blocks": make_case(channels=9, rows=530, size=(1, 6, 6), kernel=(1, 1, 1)),
    "strided": make_case(stride=(1, 2, 2), padding=(0, 1, 1)),
    "strided pointwise": make_case(kernel=(1, 1, 1), stride=(1, 2, 2)),
    "stride beyond kernel": make_case(kernel=(1, 2, 2), stride=(1, 3, 4), size=(1, 11, 13)),
    "dilated": make_case(dilation=(1, 2, 3), size=(1, 9, 11), padding=(0, 2, 1)),
    "strided and dilated": make_case(stride=(1, 2, 3), dilation=(1, 3, 2), size=(1, 12, 13), padding=(0, 2, 1)),
    "even dilation and stride": make_case(stride=(1, 2, 2), dilation=(1, 2, 4), size=(1, 12, 13), padding=(0, 1, 3)),
    "same with an even kernel": make_case(kernel=(1, 2, 4), padding=(0, 0, 1), after=(0, 1, 2)),
    "padding beyond the kernel": make_case(padding=(0, 5, 4), size=(1, 3, 2), stride=(1, 1, 2)),
    "groups": make_case(channels=6, rows=8, groups=2, padding=(0, 1, 1)),
    "depthwise": make_case(channels=5, rows=5, groups=5, padding=(0, 1, 1)),
    "depthwise multiplied": make_case(channels=3, rows=9, groups=3, stride=(1, 2, 1)),
    "one dimension": make_case(size=(1, 1, 50), kernel=(1, 1, 5), padding=(0, 0, 2), stride=(1, 1, 2)),
    "one long dimension": make_case(images=1, size=(1, 1, 9001), kernel=(1, 1, 7), padding=(0, 0, 3)),
    "three dimensions": make_case(size=(5, 6, 7), kernel=(3, 2, 3), padding=1, stride=(2, 1, 2), dilation=(1, 2, 1)),
    "three dimensions padded": make_case(images=3, size=(4, 5, 6), kernel=(3, 3, 3), padding=1),
    "large image": make_case(images=1, channels=4, rows=70, size=(1, 60, 70), padding=(0, 1, 1)),
    "large volume": make_case(images=1, channels=2, rows=9, size=(17, 18, 19), kernel=(3, 3, 3), padding=1),
    "winograd": make_case(images=4, channels=20, rows=20, size=(1, 11, 14), padding=(0, 1, 1)),
    "no images": make_case(images=0),
    "no channels": make_case(channels=0),
}

OPTIONS = list(
    itertools.product([1, 2, 3], [1, 2, 3], [0, 1, 2], [1, 2], [1, 3])
)  # kernel, stride, padding, dilation, groups
CASES |= {
    f"crossed {k} {s} {p} {d} {g}": make_case(
        channels=3, rows=3, size=(1, 7, 8), kernel=(1, k, max(1, k - 1)), stride=s, padding=p, dilation=d, groups=g
    )
    for k, s, p, d, g in OPTIONS
}


def arrays(case, dtype, seed=0):
    rng = np.random.default_rng(seed)
    images, rows = case["input_shape"][0], case["weight_shape"][0]
    shapes = (case["input_shape"], case["weight_shape"], (rows,), (images, rows, *case["outputs"]))
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def geometry(case):
    return case["stride"], case["padding"], case["dilation"], case["groups"]


def described(case, itemsize=4):
    output_shape = case["input_shape"][0], case["weight_shape"][0], *case["outputs"]
    options = case["kernel_size"], case["stride"], case["padding"], case["dilation"], case["groups"]
    return Convolution(case["input_shape"], output_shape, *options, itemsize)


def unwritten(shape, dtype):
    return np.full(shape, np.nan, dtype)


def forward(x, w, b, case):
    output = unwritten((x.shape[0], w.shape[0], *case["outputs"]), x.dtype)
    conv.conv_forward(x, w, b, *geometry(case), output)
    return output


def grad_input(g, w, x, b, case):
    result = unwritten(x.shape, x.dtype)
    conv.conv_grad_input(g, w, b, *geometry(case), result)
    return result


def grad_weight(g, x, w, case):
    result = unwritten(w.shape, x.dtype)
    conv.conv_grad_weight(g, x, *geometry(case), result)
    return result


def assert_close(actual, expected):
    tolerance = 2e-5 if actual.dtype == np.float32 else 1e-12
    scale = np.abs(expected).max() if expected.size else 1.0
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance * max(scale, 1.0))


def check(case, dtype):
    x, w, b, g = arrays(case, dtype)
    assert_close(forward(x, w, b, case), reference_forward(x, w, b, case))
    assert_close(forward(x, w, None, case), reference_forward(x, w, None, case))
    c = np.arange(x.shape[1], dtype=dtype)
    assert_close(grad_input(g, w, x, c, case), reference_grad_input(g, w, x, c, case))
    assert_close(grad_input(g, w, x, None, case), reference_grad_input(g, w, x, None, case))
    assert_close(grad_weight(g, x, w, case), reference_grad_weight(g, x, w, case))
    grad_bias = unwritten(b.shape, dtype)
    conv.conv_grad_bias(g, grad_bias)
    assert_close(grad_bias, g.astype(np.float64).sum((0, 2, 3, 4)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", CASES)
def test_values(name, dtype):
    check(CASES[name], dtype)


@pytest.fixture
def always_parallel(monkeypatch):
    monkeypatch.setattr(conv, "SERIAL_FLOPS", 0)
    threads = numba.get_num_threads()
    yield
    numba.set_num_threads(threads)


PARALLEL = ["lenet second", "groups", "depthwise", "strided", "three dimensions", "large image", "one long dimension"]


@pytest.mark.parametrize("name", PARALLEL)
def test_parallel_values_and_the_same_bits_for_every_number_of_threads(name, always_parallel):
    case = CASES[name]
    x, w, b, g = arrays(case, np.float32)
    results = []
    for threads in range(1, min(3, numba.config.NUMBA_NUM_THREADS) + 1):
        numba.set_num_threads(threads)
        check(case, np.float32)
        bias = unwritten(b.shape, np.float32)
        conv.conv_grad_bias(g, bias)
        results.append([forward(x, w, b, case), grad_input(g, w, x, None, case), grad_weight(g, x, w, case), bias])
    for result in results[1:]:
        for one, other in zip(results[0], result, strict=True):
            assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["padded", "strided", "lenet second", "three dimensions padded"])
def test_nan_and_infinity_stay_where_they_belong(name, value):
    case = CASES[name]
    x, w, b, g = arrays(case, np.float32)
    x[0, 0, 0, 0, 1] = x[-1, -1, -1, -1, -1] = value
    with np.errstate(invalid="ignore"):
        for actual, expected in (
            (forward(x, w, b, case), reference_forward(x, w, b, case)),
            (grad_weight(g, x, w, case), reference_grad_weight(g, x, w, case)),
        ):
            np.testing.assert_array_equal(np.isfinite(actual), np.isfinite(expected))
        g[0, 0, 0, 0, 0] = value
        actual, expected = grad_input(g, w, x, None, case), reference_grad_input(g, w, x, None, case)
        np.testing.assert_array_equal(np.isfinite(actual), np.isfinite(expected))


PROGRAM = """
import numpy as np
from tests.kernels import test_conv
for name in {names}:
    test_conv.check(test_conv.CASES[name], np.float32)
print("done")
"""
SMALL = ["lenet second", "strided and dilated", "depthwise", "three dimensions", "seven by seven", "no channels"]


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"NBTORCH_SIMD": "avx2"}, [*SMALL, "winograd"]),
        ({"NBTORCH_SIMD": "neon"}, [*SMALL, "winograd"]),
        ({"NBTORCH_SIMD": "generic"}, [*SMALL, "winograd"]),
        ({"NUMBA_BOUNDSCHECK": "1"}, [*SMALL, "winograd"]),
        ({"NUMBA_DISABLE_JIT": "1"}, ["plain", "strided", "depthwise", "no images", "winograd"]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_other_settings(settings, names):
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(names=names)],
        cwd=root,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert result.stdout.strip() == "done", result.stderr
