"""Pooling, unpooling and padding against PyTorch: sizes and options drawn, layers and their reprs, special values."""

import numba
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import nbtorch

from ..against_torch import assert_same

LAYERS = [
    "MaxPool2d((3, 2), stride=(2, 1), return_indices=True)",
    "MaxUnpool1d(2)",
    "MaxUnpool2d(2, 3, 1)",
    "MaxUnpool3d((1, 2, 3))",
    "AvgPool1d(2, padding=1, count_include_pad=False)",
    "AvgPool2d((2, 3), padding=(1, 0), divisor_override=3)",
    "AvgPool3d(2, ceil_mode=True)",
    "FractionalMaxPool2d(2, 3)",
    "FractionalMaxPool3d((2, 1, 2), output_ratio=0.5)",
    "LPPool1d(2, 3)",
    "LPPool2d(1.5, (2, 3), stride=(1, 1), ceil_mode=True)",
    "LPPool3d(float('inf'), 2)",
    "AdaptiveMaxPool1d(3)",
    "AdaptiveMaxPool2d((None, 3), True)",
    "AdaptiveMaxPool3d((1, 2, None))",
    "AdaptiveAvgPool1d(3)",
    "AdaptiveAvgPool2d((None, 2))",
    "AdaptiveAvgPool3d(2)",
    "ReflectionPad1d(2)",
    "ReflectionPad2d((1, 2, 3, 0))",
    "ReflectionPad3d(1)",
    "ReplicationPad1d((1, 0))",
    "ReplicationPad2d(1)",
    "ReplicationPad3d((1, 2, 0, 1, 3, 0))",
    "ZeroPad1d(2)",
    "ZeroPad2d((1, -1, 0, 2))",
    "ZeroPad3d(1)",
    "ConstantPad1d(2, 3.5)",
    "ConstantPad2d(2, 3)",
    "ConstantPad3d((1, 1, 1, 1, 1, 0), 0.0)",
    "CircularPad1d(1)",
    "CircularPad2d((1, 2, 3, 0))",
    "CircularPad3d(2)",
]


def image(t, rank, low=0.0, batched=True):
    shape = (2, 3, 5, 6, 7)[: 2 + rank] if batched else (3, 5, 6, 7)[: 1 + rank]
    return t.tensor(np.random.default_rng(0).random(shape) + low, requires_grad=True)


@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("layer", LAYERS)
def test_layers_are_pytorchs(layer, batched):
    def program(t):
        module = eval(f"nn.{layer}", {"nn": t.nn})
        rank = int(layer[layer.index("d(") - 1])
        x = image(t, rank, batched=batched)
        if "Unpool" in layer:
            pool = getattr(t.nn, f"MaxPool{rank}d")(module.kernel_size, module.stride, return_indices=True)
            return repr(module), module(*pool(x), output_size=x.shape) if module.padding == (0,) * rank else None
        if "Fractional" in layer:
            module._random_samples = t.tensor(np.random.default_rng(1).random((2 if batched else 1, 3, rank)))
        result = module(x)
        (result[0] if isinstance(result, tuple) else result).cos().sum().backward()
        return repr(module), result, x.grad, list(module.state_dict())

    assert_same(program)


@st.composite
def windows(draw):
    """A rank, extents, and the arguments of a window that fits them."""
    rank = draw(st.integers(1, 3))
    kernel = draw(st.lists(st.integers(1, 4), min_size=rank, max_size=rank))
    stride = draw(st.lists(st.integers(1, 4), min_size=rank, max_size=rank))
    padding = [draw(st.integers(0, k // 2)) for k in kernel]
    extents = [k + draw(st.integers(0, 45 if rank == 1 else 9)) for k in kernel]
    return rank, (draw(st.integers(1, 2)), 2, *extents), tuple(kernel), tuple(stride), tuple(padding)


def values(shape):
    """Few distinct values, so that ties abound, and some that are special."""
    x = np.random.default_rng(sum(shape)).integers(-4, 5, shape).astype(np.float64)
    x.reshape(-1)[:: max(7, x.size // 5)] = np.nan
    x.reshape(-1)[3 :: max(11, x.size // 3)] = -np.inf
    return x


@settings(max_examples=60, deadline=None)
@given(windows(), st.booleans(), st.integers(1, 2))
def test_max_pooling_of_any_size(window, ceil_mode, dilation):
    rank, shape, kernel, stride, padding = window
    shape = (*shape[:2], *[n + (dilation - 1) * (k - 1) for n, k in zip(shape[2:], kernel, strict=True)])

    def program(t):
        x = t.tensor(values(shape), requires_grad=True)
        pool = getattr(t.nn.functional, f"max_pool{rank}d")
        options = {"ceil_mode": ceil_mode, "dilation": dilation}
        output, indices = pool(x, kernel, stride, padding, return_indices=True, **options)
        output.backward(t.ones_like(output))
        gradient, x.grad = x.grad, None
        pool(x, kernel, stride, padding, **options).backward(t.ones_like(output))
        with t.no_grad():
            return output, indices, gradient, x.grad, pool(x, kernel, stride, padding, **options)

    assert_same(program)


@settings(max_examples=60, deadline=None)
@given(windows(), st.booleans(), st.booleans(), st.sampled_from([None, 3, -2]))
def test_average_pooling_of_any_size(window, ceil_mode, include, divisor):
    rank, shape, kernel, stride, padding = window
    options = {} if rank == 1 else {"divisor_override": divisor}

    def program(t):
        x = t.tensor(np.random.default_rng(0).standard_normal(shape), requires_grad=True)
        pool = getattr(t.nn.functional, f"avg_pool{rank}d")
        output = pool(x, kernel, stride, padding, ceil_mode, include, **options)
        output.sin().sum().backward()
        return output, x.grad

    assert_same(program)


@settings(max_examples=60, deadline=None)
@given(windows(), st.booleans(), st.sampled_from([1, 2, 3, 1.5, 2.5, float("inf")]))
def test_power_average_pooling_of_any_size(window, ceil_mode, norm_type):
    rank, shape, kernel, stride, _ = window

    def program(t):
        x = t.tensor(np.random.default_rng(0).random(shape).round(1), requires_grad=True)
        size = kernel[0] if rank == 1 else kernel
        output = getattr(t.nn.functional, f"lp_pool{rank}d")(x, norm_type, size, stride, ceil_mode)
        output.sum().backward()
        return output, x.grad

    assert_same(program)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=3) | st.lists(st.integers(20, 90), max_size=2, min_size=1),
    st.data(),
)
def test_adaptive_pooling_of_any_size(extents, data):
    rank = len(extents)
    size = tuple(data.draw(st.lists(st.integers(1, 11), min_size=rank, max_size=rank)))

    def program(t):
        results = []
        for kind, x in (("avg", np.random.default_rng(0).random((2, 1, *extents))), ("max", values((2, 1, *extents)))):
            x = t.tensor(x, requires_grad=True)
            result = getattr(t.nn.functional, f"adaptive_{kind}_pool{rank}d")(x, size, *[True] * (kind == "max"))
            output = result if kind == "avg" else result[0]
            output.backward(t.ones_like(output))
            results += [result, x.grad]
        return results

    assert_same(program)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(3, 9), min_size=2, max_size=3), st.sampled_from(["float32", "float64"]), st.data())
def test_fractional_windows_follow_from_the_samples(extents, dtype, data):
    rank = len(extents)
    kernel = tuple(data.draw(st.integers(1, 2)) for _ in extents)
    size = tuple(data.draw(st.integers(1, n - k)) for n, k in zip(extents, kernel, strict=True))
    samples = np.random.default_rng(data.draw(st.integers(0, 99))).random((2, 2, rank)).astype(dtype)

    def program(t):
        x = t.tensor(values((2, 2, *extents)).astype(dtype), requires_grad=True)
        pool = getattr(t.nn.functional, f"fractional_max_pool{rank}d")
        output, indices = pool(x, kernel, size, return_indices=True, _random_samples=t.tensor(samples))
        output.backward(t.ones_like(output))
        return output, indices, x.grad

    assert_same(program)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=3),
    st.sampled_from(["constant", "reflect", "replicate", "circular"]),
    st.data(),
)
def test_padding_of_any_width(extents, mode, data):
    most = {"reflect": min(extents) - 1, "circular": min(extents)}.get(mode, 7)
    least = 0 if min(extents) < 3 else -1
    widths = data.draw(st.lists(st.integers(least, most), min_size=2 * len(extents), max_size=2 * len(extents)))
    if mode == "circular":  # where more goes round than a crop left, PyTorch copies memory onto itself
        pairs = zip(reversed(extents), widths[::2], widths[1::2], strict=True)
        assume(all(max(a, b) <= n + min(a, 0) + min(b, 0) for n, a, b in pairs))

    def program(t):
        x = t.tensor(np.random.default_rng(0).random((2, 1, *extents)), requires_grad=True)
        y = t.nn.functional.pad(x, widths, mode)
        y.backward(t.arange(y.numel(), dtype=y.dtype).reshape(y.shape))
        return y.shape, y.detach(), x.grad

    assert_same(program)


@pytest.mark.parametrize("norm_type", [1, 2, 3, 1.5, 0.5, -1, float("inf"), -float("inf")])
def test_powers_of_negative_numbers_zeros_and_infinities(norm_type):
    pairs = [[-1, 2], [0, 0], [-2, 2], [float("inf"), 1], [-float("inf"), 1], [float("nan"), 1], [0, 3], [1e-30, 0]]

    def program(t):
        x = t.tensor(pairs, dtype=t.float64).reshape(1, 1, -1).requires_grad_()
        y = t.nn.functional.lp_pool1d(x, norm_type, 2)
        y.sum().backward()
        return y.detach() + 0.0, x.grad.abs()

    assert_same(program)


def test_of_duplicates_the_last_is_unpooled():
    def program(t):
        x = t.tensor([[[1.0, 2.0, 3.0, 4.0]]], requires_grad=True)
        y = t.nn.functional.max_unpool1d(x, t.tensor([[[1, 1, 0, 1]]]), 2)
        y.backward(t.arange(8.0).reshape(1, 1, 8))
        return y, x.grad

    assert_same(program)


@pytest.mark.parametrize("function", ["max_pool2d", "avg_pool2d"])
def test_integers(function):
    x = np.random.default_rng(0).integers(-9, 9, (2, 2, 7, 6))
    assert_same(lambda t: getattr(t.nn.functional, function)(t.tensor(x), 3, 2, 1))
    for dtype in ("uint8", "int8", "int16", "int32"):
        assert_same(lambda t, dtype=dtype: getattr(t.nn.functional, function)(t.tensor(abs(x).astype(dtype)), 2))


def test_one_ratio_for_both_dimensions_is_taken():
    functional = nbtorch.nn.functional
    assert functional.fractional_max_pool2d(nbtorch.ones(1, 1, 10, 20), 2, output_ratio=0.6).shape == (1, 1, 6, 12)


def test_the_seed_decides_fractional_windows():
    x, results = nbtorch.rand(2, 3, 9, 9), []
    for seed in (7, 7, 8):
        nbtorch.manual_seed(seed)
        results.append(nbtorch.nn.FractionalMaxPool2d(2, 5, return_indices=True)(x)[1])
    assert nbtorch.equal(results[0], results[1]) and not nbtorch.equal(results[1], results[2])


@pytest.mark.parametrize("norm_type", [1, 2, 3, 1.5, float("inf")])
def test_power_averages_of_absolute_values(norm_type):
    def program(t):
        x = t.tensor(np.random.default_rng(0).standard_normal((2, 3, 6, 7)), requires_grad=True)
        F = t.nn.functional
        ours = t is nbtorch
        y = F.lp_pool2d(x, norm_type, 2, 2, absolute=True) if ours else F.lp_pool2d(x.abs(), norm_type, 2, 2)
        y.sum().backward()
        return y, x.grad

    assert_same(program)
    x = nbtorch.tensor([[[-3.0, 4.0]]])
    assert nbtorch.nn.LPPool1d(3, 2, absolute=True)(x).item() == pytest.approx(91 ** (1 / 3))
    assert "absolute=True" in repr(nbtorch.nn.LPPool1d(3, 2, absolute=True))


def test_the_taps_of_large_windows_do_not_fit_a_byte():
    def program(t):
        x = t.tensor(np.random.default_rng(0).permutation(2 * 18 * 19.0).reshape(1, 2, 18, 19), requires_grad=True)
        y = t.nn.functional.max_pool2d(x, (16, 17), 1)
        (gradient,) = t.autograd.grad(y.sin().sum(), x, create_graph=True)
        gradient.sum().backward()
        return y, gradient, x.grad

    assert_same(program)


PROGRAMS = {
    "max": lambda F, x: F.max_pool2d(x, 3, 2, 1),
    "average": lambda F, x: F.avg_pool2d(x, 3, 1, 1),
    "power average": lambda F, x: F.lp_pool2d(x, 2, 3, 2),
    "adaptive average": lambda F, x: F.adaptive_avg_pool2d(x, (7, 5)),
    "global average": lambda F, x: F.adaptive_avg_pool2d(x, 1),
    "adaptive max": lambda F, x: F.adaptive_max_pool2d(x, (7, 5)),
    "fractional": lambda F, x: F.fractional_max_pool2d(x, 2, 40, _random_samples=nbtorch.full((*x.shape[:2], 2), 0.3)),
    "unpool": lambda F, x: F.max_unpool2d(*F.max_pool2d(x, 3, 1, 1, return_indices=True), 3, 1, 1),
    "reflect": lambda F, x: F.pad(x, (3, 2, 1, 4), "reflect"),
    "constant": lambda F, x: F.pad(x, (3, 2, 1, 4)),
}


@pytest.mark.parametrize("planes", [(1, 1), (3, 5)])
@pytest.mark.parametrize("name", PROGRAMS)
def test_the_bits_do_not_depend_on_the_threads(name, planes):
    x = nbtorch.tensor(np.random.default_rng(0).random((*planes, 131, 127)).astype(np.float32))
    threads, results = numba.get_num_threads(), []
    try:
        for count in (1, threads):
            numba.set_num_threads(count)
            leaf = x.clone().requires_grad_()
            output = PROGRAMS[name](nbtorch.nn.functional, leaf)
            output.sin().sum().backward()
            results.append((output.detach().numpy().tobytes(), leaf.grad.numpy().tobytes()))
    finally:
        numba.set_num_threads(threads)
    assert results[0] == results[1]
