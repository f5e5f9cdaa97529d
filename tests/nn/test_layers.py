"""Layers: options, texts and errors as in PyTorch, and the same values from the same parameters."""

import numpy as np
import pytest

import nbtorch
from nbtorch import nn

CONSTRUCTORS = {
    "Linear": [
        {"in_features": 2, "out_features": 3},
        {"in_features": 2, "out_features": 3, "bias": False},
        {"in_features": 2, "out_features": 3, "dtype": "float64", "device": "cpu"},
        {"in_features": 0, "out_features": 3},
        {"in_features": 2, "out_features": 0},
        {"in_features": -1, "out_features": 3},
        {"in_features": 2, "out_features": 3, "dtype": "int64"},
        {"in_features": 2, "out_features": 3, "device": "nowhere"},
    ],
    "Identity": [{}, {"anything": 3}],
    "ReLU": [{}, {"inplace": True}],
    "Tanh": [{}],
    "Sigmoid": [{}],
    "Softmax": [{}, {"dim": 1}],
    "LogSoftmax": [{}, {"dim": -1}],
    "Dropout": [{}, {"p": 0.3, "inplace": True}, {"p": 2}, {"p": -0.1}, {"p": "a"}],
    "Flatten": [{}, {"start_dim": 0, "end_dim": 2}],
    "Unflatten": [
        {"dim": 1, "unflattened_size": (2, 3)},
        {"dim": 1, "unflattened_size": [2, 3]},
        {"dim": 1, "unflattened_size": 3},
        {"dim": 1, "unflattened_size": (2, "a")},
    ],
    "L1Loss": [{}, {"reduction": "sum"}, {"reduction": "sum", "reduce": True}],
    "MSELoss": [{}, {"size_average": False}, {"reduce": False}, {"size_average": False, "reduce": True}],
    "NLLLoss": [{}, {"weight": 3}],
    "CrossEntropyLoss": [{}, {"weight": [1.0]}, {"label_smoothing": 0.1, "ignore_index": 0}],
    "MaxPool1d": [{"kernel_size": 3}, {"kernel_size": 2, "stride": 0}, {}],
    "MaxPool2d": [
        {"kernel_size": (2, 3)},
        {"kernel_size": 2, "stride": (1, 2), "padding": 1, "dilation": 2, "return_indices": True, "ceil_mode": True},
    ],
    "MaxPool3d": [{"kernel_size": 2, "stride": 1}],
    **{
        f"Conv{rank}d": [
            {"in_channels": 4, "out_channels": 6, "kernel_size": 3},
            {"in_channels": 4, "out_channels": 6, "kernel_size": (3, 2, 1)[:rank]},
            {"in_channels": 4, "out_channels": 6, "kernel_size": 3, "stride": 2, "padding": 1, "dilation": 2},
            {"in_channels": 4, "out_channels": 6, "kernel_size": 3, "groups": 2, "bias": False},
            {"in_channels": 4, "out_channels": 6, "kernel_size": 3, "padding": "same", "padding_mode": "circular"},
            {"in_channels": 4, "out_channels": 6, "kernel_size": 3, "padding": "valid", "dtype": "float64"},
            {"in_channels": 0, "out_channels": 6, "kernel_size": 3},
            {"in_channels": 4, "out_channels": 0, "kernel_size": 3},
            {"in_channels": 4, "out_channels": 6, "kernel_size": 0},
            {"in_channels": 4, "out_channels": 6, "kernel_size": -1},
            {"in_channels": -4, "out_channels": 6, "kernel_size": 3},
            {"in_channels": 4, "out_channels": 6, "kernel_size": 3, "groups": 3},
            {"in_channels": 4, "out_channels": 6, "kernel_size": 3, "groups": 4},
            {"in_channels": 4, "out_channels": 6, "kernel_size": 3, "groups": 0},
            {"in_channels": 4, "out_channels": 6, "kernel_size": 3, "groups": -1},
            {"in_channels": 4, "out_channels": 6, "kernel_size": 3, "padding": "other"},
            {"in_channels": 4, "out_channels": 6, "kernel_size": 3, "padding": "same", "stride": 2},
            {"in_channels": 4, "out_channels": 6, "kernel_size": 3, "padding_mode": "other"},
            {"in_channels": 4, "out_channels": 6, "kernel_size": 1.5},
            {"in_channels": 4, "out_channels": 6, "kernel_size": "a"},
            {"in_channels": 4, "out_channels": 6, "kernel_size": 3, "dtype": "int32"},
        ]
        for rank in (1, 2, 3)
    },
    **{
        f"ConvTranspose{rank}d": [
            {"in_channels": 4, "out_channels": 6, "kernel_size": 3},
            {"in_channels": 4, "out_channels": 6, "kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1},
            {"in_channels": 4, "out_channels": 6, "kernel_size": (3, 2, 1)[:rank], "groups": 2, "bias": False},
            {"in_channels": 4, "out_channels": 6, "kernel_size": 3, "dilation": 2},
            {"in_channels": 4, "out_channels": 6, "kernel_size": 3, "padding_mode": "reflect"},
            {"in_channels": 4, "out_channels": 6, "kernel_size": 3, "groups": 4},
        ]
        for rank in (1, 2, 3)
    },
}


def build(torch, name, options):
    """Make a layer; types are named in the tables, because the two libraries have their own."""
    options = {key: getattr(torch, value) if key == "dtype" else value for key, value in options.items()}
    return getattr(torch.nn, name)(**options)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        pytest.param(name, options, id=f"{name}({', '.join(f'{k}={v}' for k, v in options.items())})")
        for name, table in CONSTRUCTORS.items()
        for options in table
    ],
)
def test_constructed_as_in_pytorch(name, options, same):
    def program(torch):
        layer = build(torch, name, options)
        return layer, layer.state_dict(), list(layer.named_parameters())

    same(program)


def twins(name, options, seed=0):
    """Make a layer in both libraries with the same parameters, in float64."""
    torch = pytest.importorskip("torch")
    ours, theirs = (build(library, name, options).double() for library in (nbtorch, torch))
    state = {key: value.numpy() for key, value in ours.state_dict().items()}
    theirs.load_state_dict({key: torch.from_numpy(np.array(value)) for key, value in state.items()})
    return ours, theirs, torch


FORWARD = [
    ("Linear", {"in_features": 3, "out_features": 4}, [(3,), (2, 3), (2, 5, 3), (0, 3), (2, 4)]),
    ("Identity", {}, [(2, 3)]),
    ("ReLU", {}, [(2, 3), ()]),
    ("Tanh", {}, [(2, 3)]),
    ("Sigmoid", {}, [(2, 3)]),
    ("Softmax", {"dim": 1}, [(2, 3)]),
    ("LogSoftmax", {"dim": -1}, [(2, 3)]),
    ("Softmax", {}, [(3,), (2, 3), (2, 3, 4)]),
    ("Flatten", {}, [(2, 3, 4), (2, 3), (3,)]),
    ("Flatten", {"start_dim": 0, "end_dim": 1}, [(2, 3, 4)]),
    ("Unflatten", {"dim": 1, "unflattened_size": (2, 3)}, [(2, 6), (2, 7)]),
    ("Unflatten", {"dim": -1, "unflattened_size": (2, -1)}, [(2, 6)]),
    ("MaxPool1d", {"kernel_size": 2}, [(1, 2, 7), (2, 7), (7,)]),
    ("MaxPool2d", {"kernel_size": (2, 3), "stride": 1, "padding": 1}, [(1, 2, 5, 6), (2, 5, 6)]),
    ("MaxPool2d", {"kernel_size": 2, "ceil_mode": True, "return_indices": True}, [(1, 2, 5, 5)]),
    ("MaxPool3d", {"kernel_size": 2}, [(1, 2, 4, 5, 6)]),
    ("Conv1d", {"in_channels": 2, "out_channels": 4, "kernel_size": 3, "padding": 1}, [(2, 2, 8), (2, 8), (1, 3, 8)]),
    ("Conv1d", {"in_channels": 2, "out_channels": 4, "kernel_size": 4, "padding": "same"}, [(2, 2, 8)]),
    ("Conv2d", {"in_channels": 2, "out_channels": 4, "kernel_size": 3}, [(1, 2, 6, 7), (2, 6, 7), (0, 2, 6, 7)]),
    ("Conv2d", {"in_channels": 2, "out_channels": 4, "kernel_size": 3, "groups": 2, "stride": 2}, [(1, 2, 6, 7)]),
    *[
        (
            "Conv2d",
            {"in_channels": 2, "out_channels": 4, "kernel_size": (3, 2), "padding": padding, "padding_mode": mode},
            [(1, 2, 6, 7), (2, 6, 7)],
        )
        for mode in ("reflect", "replicate", "circular")
        for padding in ((1, 2), "same", "valid")
    ],
    ("Conv3d", {"in_channels": 2, "out_channels": 4, "kernel_size": 2, "dilation": 2}, [(1, 2, 4, 5, 6)]),
    ("ConvTranspose1d", {"in_channels": 2, "out_channels": 4, "kernel_size": 3, "stride": 2}, [(2, 2, 5)]),
    ("ConvTranspose2d", {"in_channels": 2, "out_channels": 4, "kernel_size": 3, "groups": 2}, [(2, 2, 5, 4)]),
    ("ConvTranspose3d", {"in_channels": 2, "out_channels": 4, "kernel_size": 2, "padding": 1}, [(1, 2, 4, 3, 4)]),
]


@pytest.mark.filterwarnings("ignore:Implicit dimension choice")
@pytest.mark.parametrize(
    ("name", "options", "shape"),
    [pytest.param(n, o, s, id=f"{n} {o} {s}") for n, o, shapes in FORWARD for s in shapes],
)
def test_same_values_and_gradients(name, options, shape):
    ours, theirs, torch = twins(name, options)
    x = np.random.default_rng(0).standard_normal(shape)
    ends = []
    for layer, library in ((ours, nbtorch), (theirs, torch)):
        leaf = library.from_numpy(x.copy()).requires_grad_()
        try:
            output = layer(leaf)
        except Exception as error:
            ends.append(type(error).__name__)
            continue
        outputs = output if isinstance(output, tuple) else (output,)
        outputs[0].sum().backward()
        gradients = [p.grad.numpy() for p in layer.parameters()]
        ends.append([o.detach().numpy() for o in outputs] + [leaf.grad.numpy(), *gradients])
    if isinstance(ends[1], str):
        assert ends[0] == ends[1]
    else:
        for mine, other in zip(*ends, strict=True):
            np.testing.assert_allclose(mine, other, rtol=1e-10, atol=1e-12)


LOSSES = [
    ("L1Loss", "real"),
    ("MSELoss", "real"),
    ("NLLLoss", "class"),
    ("CrossEntropyLoss", "class"),
    ("CrossEntropyLoss", "real"),
]


@pytest.mark.parametrize("reduction", ["mean", "sum", "none", "other"])
@pytest.mark.parametrize(("name", "target"), LOSSES)
def test_losses(name, target, reduction, same):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((4, 3)), rng.standard_normal((4, 3)) if target == "real" else np.array([0, 2, 1, 1])

    def program(torch):
        loss = getattr(torch.nn, name)(reduction=reduction)(torch.from_numpy(x), torch.from_numpy(y))
        return np.round(loss.numpy(), 12).tolist()

    same(program)


@pytest.mark.parametrize("name", ["NLLLoss", "CrossEntropyLoss"])
def test_class_weights_are_a_buffer(name, same):
    def program(torch):
        loss = getattr(torch.nn, name)(torch.tensor([1.0, 2.0, 3.0]), ignore_index=1)
        value = loss(torch.eye(3), torch.tensor([0, 1, 2]))
        return loss, loss.state_dict(), round(value.item(), 6)

    same(program)


SIZES = [None, [10, 10], (9, 9), (1, 1, 10, 9), (1, 2, 9, 10), (11, 9), (8, 9), (9,), (1, 2, 3), 9]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("batch", [(1,), ()])
def test_output_size_of_transposed_convolutions(size, batch, same):
    def program(torch):
        layer = torch.nn.ConvTranspose2d(1, 1, 3, stride=2, padding=1)
        return tuple(layer(torch.ones(*batch, 1, 5, 5), output_size=size).shape)

    same(program)


@pytest.mark.parametrize(("size", "rank"), [((3,), 2), ((3, 3, 3), 2), ((3, 3), 1)])
def test_a_kernel_of_another_rank_is_refused_at_once(size, rank):
    # PyTorch makes the layer and fails when it is called
    with pytest.raises(ValueError, match=rf"Conv{rank}d: kernel_size must be an int or {rank} ints, got"):
        getattr(nn, f"Conv{rank}d")(1, 1, size)


@pytest.mark.parametrize("layer", [nn.Linear(50, 40), nn.Conv2d(5, 40, (2, 5)), nn.ConvTranspose1d(40, 25, 2)])
def test_default_initialisation_has_pytorchs_range(layer):
    bound = 1 / np.sqrt(50)  # the fan-in of all three
    for parameter in layer.parameters():
        values = parameter.detach().numpy()
        assert np.abs(values).max() <= bound
        assert values.std() == pytest.approx(bound / np.sqrt(3), rel=0.25)


def test_dropout_keeps_the_expectation_and_rests_in_evaluation():
    layer = nn.Dropout(0.25)
    x = nbtorch.ones(10000)
    kept = layer(x)
    assert set(np.unique(kept.numpy())) == {0.0, np.float32(1 / 0.75)}
    assert kept.mean().item() == pytest.approx(1, abs=0.03)
    assert layer.eval()(x).tolist() == x.tolist()
