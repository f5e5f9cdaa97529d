"""Shuffling, folding, dropout of channels and bilinear maps, as in PyTorch."""

import pytest

import nbtorch

from ..against_torch import assert_same

torch = pytest.importorskip("torch")


def filled(library, *shape, dtype="float64"):
    size = 1
    for extent in shape:
        size *= extent
    values = (library.arange(size).reshape(shape) * 7 % 11).to(getattr(library, dtype)) / 5
    return values.requires_grad_()


def called(function, shape, *arguments, dtype="float64", **options):
    """Return a program that calls a function and computes first and second gradients."""

    def program(library):
        x = filled(library, *shape, dtype=dtype)
        out = getattr(library.nn.functional, function)(x, *arguments, **options)
        (first,) = library.autograd.grad((out**3).sum(), x, create_graph=True)
        (second,) = library.autograd.grad(first.sum(), x)
        return out, first, second

    return program


PROGRAMS = {
    "pixel_shuffle": called("pixel_shuffle", (2, 8, 2, 3), 2),
    "pixel_shuffle 3": called("pixel_shuffle", (9, 1, 2), 3),
    "pixel_shuffle 5d": called("pixel_shuffle", (2, 1, 4, 2, 2), 2),
    "pixel_shuffle 1": called("pixel_shuffle", (3, 2, 2), 1),
    "pixel_shuffle rank": called("pixel_shuffle", (4, 2), 2),
    "pixel_shuffle factor": called("pixel_shuffle", (4, 2, 2), 0),
    "pixel_shuffle channels": called("pixel_shuffle", (6, 2, 2), 2),
    "pixel_shuffle float": called("pixel_shuffle", (4, 2, 2), 2.0),
    "pixel_shuffle empty": lambda t: t.nn.functional.pixel_shuffle(t.ones(0, 4, 2, 2), 2),
    "pixel_unshuffle": called("pixel_unshuffle", (2, 3, 4, 2), 2),
    "pixel_unshuffle rank": called("pixel_unshuffle", (4, 2), 2),
    "pixel_unshuffle extents": called("pixel_unshuffle", (1, 3, 4), 2),
    "pixel_unshuffle factor": called("pixel_unshuffle", (1, 2, 4), -1),
    "channel_shuffle": called("channel_shuffle", (2, 6, 3), 3),
    "channel_shuffle images": called("channel_shuffle", (1, 4, 2, 2), 2),
    "channel_shuffle rank": called("channel_shuffle", (4, 2), 2),
    "channel_shuffle groups": called("channel_shuffle", (1, 4, 2), 0),
    "channel_shuffle channels": called("channel_shuffle", (1, 5, 2), 2),
    "unfold": called("unfold", (2, 3, 5, 6), 2),
    "unfold options": called("unfold", (1, 2, 7, 6), (3, 2), dilation=(2, 1), padding=(1, 2), stride=(2, 3)),
    "unfold unbatched": called("unfold", (2, 4, 4), 3, 1, 1),
    "unfold empty": called("unfold", (0, 2, 4, 4), 2),
    "unfold no channels": called("unfold", (1, 0, 4, 4), 2),
    "unfold rank": called("unfold", (4, 4), 2),
    "unfold rank 5": called("unfold", (1, 1, 1, 4, 4), 2),
    "unfold rank 1": called("unfold", (4,), 2),
    "unfold large": called("unfold", (1, 1, 3, 3), 4),
    "unfold kernel 0": called("unfold", (1, 1, 3, 3), 0),
    "unfold stride 0": called("unfold", (1, 1, 3, 3), 2, stride=0),
    "unfold padding": called("unfold", (1, 1, 3, 3), 2, padding=-1),
    "unfold dilation": called("unfold", (1, 1, 3, 3), 2, dilation=0),
    "fold": called("fold", (2, 12, 12), (5, 4), 2),
    "fold options": called("fold", (1, 12, 12), (7, 6), (3, 2), dilation=(2, 1), padding=(1, 2), stride=(2, 3)),
    "fold unbatched": called("fold", (8, 4), 4, 2, stride=2),
    "fold blocks": called("fold", (1, 8, 5), 4, 2, stride=2),
    "fold rows": called("fold", (1, 7, 4), 4, 2, stride=2),
    "fold rank": called("fold", (1, 1, 8, 4), 4, 2),
    "fold large": called("fold", (1, 4, 1), 2, 3),
    "dropout1d eval": called("dropout1d", (2, 3, 4), 0.5, False),
    "dropout1d p": called("dropout1d", (2, 3, 4), 1.5),
    "dropout1d rank": called("dropout1d", (2, 3, 4, 5), 0.5),
    "dropout1d all": called("dropout1d", (2, 3), 1.0),
    "dropout2d none": called("dropout2d", (2, 3, 4, 5), 0.0),
    "dropout2d 3d": called("dropout2d", (2, 3, 4), 0.0),
    "dropout2d rank": called("dropout2d", (2, 3), 0.0),
    "dropout2d vector": called("dropout2d", (2,), 0.5),
    "dropout2d all": called("dropout2d", (2, 3, 4, 5), 1.0),
    "dropout3d all": called("dropout3d", (2, 3, 4, 5), 1.0),
    "dropout3d rank": called("dropout3d", (2, 3, 4), 1.0),
    "dropout3d p": called("dropout3d", (2, 3, 4, 5), -0.5),
    "alpha_dropout": called("alpha_dropout", (2, 3)),
    "alpha_dropout all": called("alpha_dropout", (2, 3), 1.0, True),
    "alpha_dropout p": called("alpha_dropout", (2, 3), 2.0, True),
    "feature_alpha_dropout vector": called("feature_alpha_dropout", (2,), 0.5, True),
}


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_as_in_pytorch(program):
    assert_same(program)


def module(name, *arguments, shape=(1, 4, 4, 4), **options):
    def program(library):
        made = getattr(library.nn, name)(*arguments, **options).eval()
        return repr(made), made(filled(library, *shape))

    return program


MODULES = {
    "PixelShuffle": module("PixelShuffle", 2),
    "PixelUnshuffle": module("PixelUnshuffle", downscale_factor=2),
    "ChannelShuffle": module("ChannelShuffle", groups=2),
    "Unfold": module("Unfold", 2, padding=1, stride=(2, 1)),
    "Fold": module("Fold", (4, 4), kernel_size=2, shape=(1, 8, 9)),
    "Dropout": module("Dropout", 0.3),
    "Dropout1d": module("Dropout1d", shape=(2, 3)),
    "Dropout2d": module("Dropout2d", 0.2, True),
    "Dropout3d": module("Dropout3d", inplace=True, shape=(1, 2, 3, 3, 3)),
    "AlphaDropout": module("AlphaDropout", p=0.1),
    "FeatureAlphaDropout": module("FeatureAlphaDropout"),
    "Dropout1d p": module("Dropout1d", 1.5),
    "AlphaDropout p": module("AlphaDropout", -0.1),
}


@pytest.mark.parametrize("program", MODULES.values(), ids=MODULES)
def test_modules(program):
    assert_same(program)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("dropout1d", (50, 40, 3)),
        ("dropout2d", (50, 40, 2, 2)),
        ("dropout3d", (50, 40, 1, 2, 2)),
        ("dropout1d", (90, 3)),
    ],
)
@pytest.mark.parametrize("inplace", [False, True])
def test_whole_channels_are_dropped(name, shape, inplace):
    nbtorch.manual_seed(0)
    x = nbtorch.ones(*shape)
    out = getattr(nbtorch.nn.functional, name)(x, 0.25, True, inplace)
    rows = out.reshape(-1, out[(0,) * (2 if len(shape) > 2 else 1)].numel())
    assert set(rows.flatten().tolist()) == {0.0, nbtorch.tensor(1 / 0.75).item()}
    assert bool((rows == rows[:, :1]).all()) and abs((rows[:, 0] == 0).float().mean().item() - 0.25) < 0.15
    assert (x is out or bool((x == out).all())) == inplace


@pytest.mark.parametrize("name", ["alpha_dropout", "feature_alpha_dropout"])
def test_alpha_dropout_keeps_mean_and_variance(name):
    nbtorch.manual_seed(0)
    x = nbtorch.randn(400, 300, 1)
    out = getattr(nbtorch.nn.functional, name)(x, 0.3, True)
    assert abs(out.mean().item()) < 0.02 and abs(out.var().item() - 1) < 0.03
    dropped = out.flatten().tolist()
    assert max(dropped.count(value) for value in set(dropped[:50])) > 30000


def bilinear(first, second, weight, bias=None):
    def program(library):
        tensors = [filled(library, *shape) for shape in (first, second, weight)]
        tensors += [] if bias is None else [filled(library, *bias)]
        out = library.nn.functional.bilinear(*tensors)
        return out, list(library.autograd.grad((out**2).sum(), tensors))

    return program


BILINEAR = {
    "matrices": bilinear((4, 2), (4, 3), (5, 2, 3), (5,)),
    "without bias": bilinear((4, 2), (4, 3), (5, 2, 3)),
    "vectors": bilinear((2,), (3,), (5, 2, 3), (5,)),
    "batches": bilinear((2, 3, 2), (2, 3, 3), (1, 2, 3)),
    "empty": bilinear((0, 2), (0, 3), (5, 2, 3)),
    "batches differ": bilinear((4, 2), (3, 3), (5, 2, 3)),
    "first": bilinear((4, 1), (4, 3), (5, 2, 3)),
    "second": bilinear((4, 2), (4, 2), (5, 2, 3)),
    "bias": bilinear((4, 2), (4, 3), (5, 2, 3), (4,)),
    "module": lambda t: (
        repr(t.nn.Bilinear(2, 3, 4)),
        {k: list(v.shape) for k, v in t.nn.Bilinear(2, 3, 4).named_parameters()},
    ),
    "module without bias": lambda t: repr(t.nn.Bilinear(2, 3, 4, bias=False, dtype=t.float64)),
    "module features": lambda t: t.nn.Bilinear(0, 3, 4),
}


@pytest.mark.parametrize("program", BILINEAR.values(), ids=BILINEAR)
def test_bilinear(program):
    assert_same(program)
