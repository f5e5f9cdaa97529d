"""Convolution and transposed convolution with the options crossed at random, modules against PyTorch's."""

import numpy as np
import pytest

import nbtorch

torch = pytest.importorskip("torch")

DRAWS = 60
TOLERANCE = {"float32": 2e-5, "float64": 1e-11, "bfloat16": 2e-2, "float16": 3e-3}
MODES = ["zeros", "zeros", "reflect", "replicate", "circular"]


def several(generator, rank, values):
    """Return an int for all dimensions, or one for each."""
    if generator.random() < 0.5:
        return int(generator.choice(values))
    return tuple(int(v) for v in generator.choice(values, rank))


def laid_out(generator, array):
    """Return the same values contiguous, permuted in memory, or with gaps between them."""
    choice = generator.integers(3)
    if choice == 1:
        order = generator.permutation(array.ndim)
        return np.ascontiguousarray(array.transpose(order)).transpose(np.argsort(order))
    if choice == 2 and array.size:
        roomy = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
        roomy[..., ::2] = array
        return roomy[..., ::2]
    return array


def described(generator, rank, transposed):
    """Return (in_channels, out_channels, options) of a module, drawn at random."""
    kind = generator.integers(3)
    groups = [1, 2, int(generator.integers(2, 5))][kind]
    inner, outer = int(generator.integers(1, 4)), int(generator.integers(1, 4))
    channels = (groups, groups * outer) if kind == 2 and not transposed else (groups * inner, groups * outer)
    options = {
        "kernel_size": several(generator, rank, [1, 2, 3]),
        "stride": several(generator, rank, [1, 2, 3]),
        "dilation": several(generator, rank, [1, 2]),
        "padding": several(generator, rank, [0, 1]),
        "groups": groups,
        "bias": bool(generator.integers(2)),
    }
    if transposed:
        options["output_padding"] = 0
        if generator.integers(2):
            smallest = min(
                max(s, d)
                for s, d in zip(*(np.broadcast_to(options[k], rank) for k in ("stride", "dilation")), strict=True)
            )
            options["output_padding"] = int(generator.integers(smallest))
        return channels, options
    options["padding_mode"] = str(generator.choice(MODES))
    if generator.random() < 0.3:
        options["padding"] = str(generator.choice(["same", "valid"]))
        if options["padding"] == "same":
            options["stride"] = 1
    return channels, options


def assert_close(actual, expected, dtype):
    actual, expected = actual.detach().double().numpy(), expected.detach().double().numpy()
    assert actual.shape == expected.shape
    scale = max(1.0, float(np.abs(expected).max(initial=0)))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=TOLERANCE[dtype] * scale)


def compare(generator, name, rank, dtype):
    """Draw a module and an input; compare output, repr, names and all gradients."""
    transposed = "Transpose" in name
    (channels, out_channels), options = described(generator, rank, transposed)
    ours = getattr(nbtorch.nn, name)(channels, out_channels, dtype=getattr(nbtorch, dtype), **options)
    theirs = getattr(torch.nn, name)(channels, out_channels, dtype=getattr(torch, dtype), **options)
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    with torch.no_grad():
        for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            other.copy_(torch.from_numpy(mine.detach().double().numpy()))
    batch = [(), (0,), (2,), (3,)][generator.integers(4)]
    sizes = tuple(int(n) for n in generator.integers(5, 9, rank))
    values = generator.standard_normal((*batch, channels, *sizes))
    if dtype in ("float32", "float64"):
        values = laid_out(generator, values.astype(dtype))
    x = nbtorch.from_numpy(values).to(getattr(nbtorch, dtype)).requires_grad_()
    other_x = torch.tensor(values.copy()).to(getattr(torch, dtype)).requires_grad_()
    arguments, other_arguments = [x], [other_x]
    asks_for_size = transposed and generator.integers(3) == 0
    if asks_for_size and max(theirs.output_padding) < min(theirs.stride):
        size = theirs(other_x).shape[-rank:]
        arguments.append(list(size))
        other_arguments.append(list(size))
    result, expected = ours(*arguments), theirs(*other_arguments)
    assert_close(result, expected, dtype)
    weights = generator.standard_normal(tuple(expected.shape))
    result.backward(nbtorch.from_numpy(weights).to(result.dtype))
    expected.backward(torch.from_numpy(weights).to(expected.dtype))
    assert_close(x.grad, other_x.grad, dtype)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert_close(mine.grad, other.grad, dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("kind", ["Conv", "ConvTranspose"])
def test_options_crossed_at_random(kind, rank, dtype):
    generator = np.random.default_rng([len(kind), rank, len(dtype)])
    for _ in range(DRAWS if dtype in ("float32", "float64") else DRAWS // 4):
        compare(generator, f"{kind}{rank}d", rank, dtype)
