"""Interpolation, sampling on grids, and bags of embeddings, as in PyTorch."""

import itertools
import os
import subprocess
import sys

import pytest

import nbtorch

from ..against_torch import assert_same

torch = pytest.importorskip("torch")


def filled(library, *shape, dtype="float64"):
    size = 1
    for extent in shape:
        size *= extent
    values = (library.arange(size).reshape(shape) * 7 % 11).to(getattr(library, dtype))
    return values if dtype == "uint8" else (values / 5).requires_grad_()


def resized(shape, *arguments, dtype="float64", **options):
    """Return a program that interpolates and computes first and second gradients."""

    def program(library):
        x = filled(library, *shape, dtype=dtype)
        out = library.nn.functional.interpolate(x, *arguments, **options)
        if not x.requires_grad:
            return out
        (first,) = library.autograd.grad((out**3).sum(), x, create_graph=True)
        (second,) = library.autograd.grad(first.sum(), x)
        return out, first, second

    return program


SHAPES = {"linear": (2, 3, 5), "bilinear": (1, 2, 5, 4), "bicubic": (1, 2, 5, 4), "trilinear": (1, 2, 3, 4, 5)}
TARGETS = [{"size": 7}, {"size": 3}, {"scale_factor": 1.7}, {"scale_factor": 0.6, "recompute_scale_factor": True}]

RESIZED = {
    f"{mode} {to} {align_corners}": resized(shape, mode=mode, align_corners=align_corners, **to)
    for (mode, shape), to, align_corners in itertools.product(SHAPES.items(), TARGETS, (None, False, True))
} | {
    f"{mode} {len(shape)}-d {to}": resized(shape, mode=mode, **to)
    for mode, shape, to in itertools.product(
        ("nearest", "nearest-exact", "area"), ((2, 3, 5), (1, 2, 5, 4), (1, 2, 3, 4, 5)), TARGETS
    )
}

OPTIONS = (
    {
        f"antialias {mode} {size} {align_corners}": resized(
            (2, 1, 6, 9), size=size, mode=mode, antialias=True, align_corners=align_corners
        )
        for mode, size, align_corners in itertools.product(
            ("bilinear", "bicubic"), (4, (3, 11), (13, 2)), (False, True)
        )
    }
    | {
        "lanczos": resized((2, 1, 6, 9), (4, 5), mode="lanczos", antialias=True),
        "lanczos larger": resized((2, 1, 6, 9), scale_factor=1.5, mode="lanczos", antialias=True),
        "sizes": resized((1, 1, 4, 6), (6, 3), mode="bilinear"),
        "factors": resized((1, 1, 4, 6), scale_factor=(2, 0.5), mode="bicubic"),
        "same": resized((1, 1, 4, 6), (4, 6), mode="bicubic"),
        "one": resized((1, 1, 1, 1), (4, 6), mode="bicubic", align_corners=True),
        "to one": resized((1, 1, 3, 5), 1, mode="bilinear", align_corners=True),
        "nearest by 1.1": lambda t: t.nn.functional.interpolate(filled(t, 1, 1, 5, 5), scale_factor=1.1),
        "nearest by 1.1, signal": lambda t: t.nn.functional.interpolate(filled(t, 1, 1, 5), scale_factor=1.1),
        "nearest-exact, rounded": lambda t: t.nn.functional.interpolate(filled(t, 1, 1, 40), 46, mode="nearest-exact"),
        "channels last": lambda t: t.nn.functional.interpolate(
            filled(t, 2, 4, 5, 3).permute(0, 3, 1, 2), scale_factor=2.0, mode="bilinear"
        ),
        "no batch": resized((0, 2, 4, 4), 3, mode="bilinear"),
        "numpy's int": lambda t: t.nn.functional.interpolate(filled(t, 1, 1, 4), t.tensor(3).numpy()[()]),
        "infinity": lambda t: t.nn.functional.interpolate(
            t.tensor([[[1.0, float("inf"), 2.0, 3.0, float("nan"), 1.0, 1.0]]]), 11, mode="linear"
        ),
    }
    | {
        f"{dtype} {mode} {size}": resized((1, 2, 6, 5), size=size, mode=mode, dtype=dtype)
        for dtype, mode, size in itertools.product(
            ("uint8", "float16", "bfloat16"), ("nearest", "bilinear", "bicubic"), (9, 3)
        )
        if dtype == "uint8" or (mode, size) != ("bicubic", 9)
    }
    | {
        f"uint8 antialias {mode}": resized((2, 3, 9, 30), (6, 7), mode=mode, antialias=True, dtype="uint8")
        for mode in ("bilinear", "bicubic", "lanczos")
    }
)

IMAGE, SIGNAL, VOLUME = (1, 2, 5, 5), (1, 2, 5), (1, 2, 3, 3, 3)
REFUSED = {
    "zero": resized(IMAGE, 0),
    "negative": resized(IMAGE, (3, -1)),
    "factor of a tenth": resized(IMAGE, scale_factor=0.1),
    "infinite factor": resized(IMAGE, scale_factor=float("inf")),
    "no channels": resized((1, 0, 5, 5), 3),
    "no pixels": resized((1, 2, 0, 5), 3, mode="bilinear"),
    "linear of images": resized(IMAGE, 3, mode="linear"),
    "bilinear of signals": resized(SIGNAL, 3, mode="bilinear"),
    "bicubic of volumes": resized(VOLUME, 3, mode="bicubic"),
    "matrix": resized((3, 3), 3),
    "unknown mode": resized(IMAGE, 3, mode="cubic"),
    "float size": resized(IMAGE, 3.5),
    "float sizes": resized(IMAGE, (3.0, 3.0)),
    "bool size": resized(IMAGE, True),
    "text": resized(IMAGE, "a"),
    "text factor": resized(IMAGE, scale_factor="a"),
    "tensor factor": lambda t: t.nn.functional.interpolate(filled(t, *IMAGE), scale_factor=t.tensor(2.0)),
    "sizes too many": resized(IMAGE, (2, 2, 2)),
    "factors too many": resized(IMAGE, scale_factor=(2, 2, 2)),
    "both": resized(IMAGE, 2, 2),
    "neither": resized(IMAGE),
    "aligned nearest": resized(IMAGE, 3, align_corners=True),
    "align_corners of an int": resized(IMAGE, 3, mode="bilinear", align_corners=1),
    "lanczos alone": resized(IMAGE, 3, mode="lanczos"),
    "antialiased nearest": resized(IMAGE, 3, antialias=True),
    "antialiased signal": resized(SIGNAL, 3, mode="linear", antialias=True),
    "recomputed size": resized(IMAGE, 3, recompute_scale_factor=True),
    "integers": lambda t: t.nn.functional.interpolate(t.ones(1, 1, 3, dtype=t.int64), 4),
    "uint8 signal": resized(SIGNAL, 3, mode="linear", dtype="uint8"),
    "half antialiased": resized(IMAGE, 3, mode="bilinear", antialias=True, dtype="float16"),
    "None": lambda t: t.nn.functional.interpolate(None, 3),
}

MODULES = {
    "Upsample": lambda t: (repr(t.nn.Upsample(scale_factor=2)), t.nn.Upsample(scale_factor=2)(filled(t, *IMAGE))),
    "Upsample size": lambda t: repr(t.nn.Upsample((2, 3), mode="bilinear", align_corners=True)),
    "Upsample factors": lambda t: repr(t.nn.Upsample(scale_factor=(2, 3), mode="trilinear")),
    "UpsamplingNearest2d": lambda t: (lambda m: (repr(m), m(filled(t, *IMAGE))))(t.nn.UpsamplingNearest2d(7)),
    "UpsamplingBilinear2d": lambda t: (lambda m: (repr(m), m(filled(t, *IMAGE))))(
        t.nn.UpsamplingBilinear2d(scale_factor=2)
    ),
    "upsample": lambda t: t.nn.functional.upsample(filled(t, *IMAGE), 3, mode="bilinear"),
    "upsample_nearest": lambda t: t.nn.functional.upsample_nearest(filled(t, *IMAGE), scale_factor=2),
    "upsample_bilinear": lambda t: t.nn.functional.upsample_bilinear(filled(t, *IMAGE), (3, 7)),
}


@pytest.mark.parametrize("program", RESIZED.values(), ids=RESIZED)
def test_modes(program):
    assert_same(program)


@pytest.mark.parametrize("program", OPTIONS.values(), ids=OPTIONS)
def test_options(program):
    assert_same(program)


@pytest.mark.parametrize("program", REFUSED.values(), ids=REFUSED)
def test_refused(program):
    assert_same(program)


@pytest.mark.parametrize("program", MODULES.values(), ids=MODULES)
def test_modules(program):
    assert_same(program)


def on_grid(shape, size, *arguments, spread=1.3, dtype="float64", **options):
    """Return a program that samples on a grid, with first and second gradients."""

    def program(library):
        x = (filled(library, *shape, dtype=dtype).detach() / 4).requires_grad_()
        count = shape[0] * (len(shape) - 2)
        for extent in size:
            count *= extent
        grid = (library.arange(count).to(x.dtype) * 0.37).sin() * spread
        grid = grid.reshape((shape[0], *size, len(shape) - 2)).requires_grad_()
        out = library.nn.functional.grid_sample(x, grid, *arguments, **options)
        first = library.autograd.grad((out**2).sum(), (x, grid), create_graph=True)
        if dtype != "float64" or "nearest" in arguments:
            return out, list(first)
        return out, list(first), list(library.autograd.grad(first[0].sum() + (first[1] ** 2).sum(), (x, grid)))

    return program


GRIDS = (
    {
        f"{mode} {padding_mode} {len(shape) - 2}-d {align_corners}": on_grid(
            shape, size, mode, padding_mode, align_corners
        )
        for mode in ("bilinear", "nearest", "bicubic")
        for padding_mode in ("zeros", "border", "reflection")
        for shape, size in (((2, 2, 4, 5), (3, 6)), ((1, 2, 3, 4, 5), (2, 3, 3)))
        for align_corners in (False, True)
        if mode != "bicubic" or len(shape) == 4
    }
    | {f"{dtype}": on_grid((1, 2, 4, 5), (3, 3), align_corners=False, dtype=dtype) for dtype in ("float32",)}
    | {
        "default": on_grid((1, 2, 4, 5), (3, 3)),
        "one pixel": on_grid((1, 1, 1, 1), (3, 3), "bilinear", "reflection", True),
        "far outside": on_grid((1, 1, 4, 5), (3, 3), "bilinear", "reflection", False, spread=30),
        "not a number": lambda t: [
            t.nn.functional.grid_sample(
                filled(t, 1, 1, 3, 4).detach(),
                t.tensor([[[[float("nan"), 0.0], [0.0, float("inf")], [1e20, 0.0]]]]).double(),
                mode,
                padding_mode,
                align_corners=False,
            )
            for mode in ("bilinear", "nearest")
            for padding_mode in ("zeros", "border", "reflection")
        ],
        "mode": on_grid((1, 1, 4, 5), (3, 3), "linear"),
        "padding_mode": on_grid((1, 1, 4, 5), (3, 3), "bilinear", "circular"),
        "align_corners": on_grid((1, 1, 4, 5), (3, 3), align_corners=1),
        "cubic volume": on_grid((1, 1, 3, 3, 3), (2, 2, 2), "bicubic", align_corners=False),
        "empty": on_grid((1, 1, 0, 5), (3, 3), align_corners=False),
        "no batch": lambda t: t.nn.functional.grid_sample(t.ones(0, 1, 4, 4), t.ones(0, 3, 3, 2), align_corners=True),
        "batch": lambda t: t.nn.functional.grid_sample(t.ones(2, 1, 4, 4), t.ones(1, 3, 3, 2), align_corners=True),
        "last dimension": lambda t: t.nn.functional.grid_sample(
            t.ones(1, 1, 4, 4), t.ones(1, 3, 3, 3), align_corners=True
        ),
        "types": lambda t: t.nn.functional.grid_sample(
            t.ones(1, 1, 4, 4).double(), t.ones(1, 3, 3, 2), align_corners=True
        ),
        "integers": lambda t: t.nn.functional.grid_sample(
            t.ones(1, 1, 4, 4).long(), t.ones(1, 3, 3, 2).long(), align_corners=True
        ),
        "list": lambda t: t.nn.functional.grid_sample([1], t.ones(1, 3, 3, 2), align_corners=True),
    }
)


@pytest.mark.parametrize("program", GRIDS.values(), ids=GRIDS)
def test_grids(program):
    assert_same(program)


def affine(shape, size, *arguments, dtype="float64", **options):
    def program(library):
        theta = filled(library, *shape, dtype=dtype)
        grid = library.nn.functional.affine_grid(theta, size, *arguments, **options)
        return grid, library.autograd.grad((grid**2).sum(), theta)[0]

    return program


AFFINE = {
    "image": affine((2, 2, 3), (2, 1, 3, 4), False),
    "image aligned": affine((2, 2, 3), (2, 1, 3, 4), align_corners=True),
    "volume": affine((1, 3, 4), (1, 1, 2, 3, 4), False),
    "volume aligned": affine((1, 3, 4), [1, 1, 2, 3, 4], True),
    "unit extent": affine((1, 2, 3), (1, 1, 1, 4), True),
    "default": affine((1, 2, 3), (1, 1, 2, 4)),
    "half": affine((1, 2, 3), (1, 1, 2, 4), False, dtype="float16"),
    "rank": affine((1, 2, 3), (1, 1, 4), False),
    "shape": affine((1, 2, 3), (1, 1, 2, 3, 4), False),
    "zero": affine((1, 2, 3), (1, 1, 0, 4), False),
    "batch": affine((2, 2, 3), (1, 1, 3, 4), False),
    "float": affine((1, 2, 3), (1, 1, 3.0, 4), False),
    "integers": lambda t: t.nn.functional.affine_grid(t.ones(1, 2, 3).long(), (1, 1, 2, 2), False),
    "None": lambda t: t.nn.functional.affine_grid(None, (1, 1, 2, 2), False),
}


@pytest.mark.parametrize("program", AFFINE.values(), ids=AFFINE)
def test_affine_grids(program):
    assert_same(program)


def bagged(*arguments, shape=None, weighted=False, **options):
    """Return a program that reduces bags, with first gradients."""

    def program(library):
        table = filled(library, 5, 3)
        numbers = library.tensor([1, 3, 3, 0, 4, 1])
        numbers = numbers if shape is None else numbers.reshape(shape)
        given = [library.tensor(a) if isinstance(a, list) else a for a in arguments]
        inputs = [table]
        if weighted:
            inputs.append(filled(library, 6))
            options["per_sample_weights"] = inputs[1] if shape is None else inputs[1].reshape(shape)
        out = library.nn.functional.embedding_bag(numbers, table * 1, *given, **options)
        return out, list(library.autograd.grad((out**2).sum(), inputs))

    return program


BAGS = (
    {
        f"{mode} {name}": bagged(*arguments, mode=mode, **options)
        for mode in ("sum", "mean", "max")
        for name, arguments, options in (
            ("offsets", ([0, 2],), {}),
            ("empty bags", ([0, 0, 4, 4, 6],), {}),
            ("matrix", (), {"shape": (2, 3)}),
            ("last offset", ([0, 2, 6],), {"include_last_offset": True}),
            ("padding", ([0, 3],), {"padding_idx": 3}),
            ("padding from the end", ([0, 3],), {"padding_idx": -1}),
        )
    }
    | {f"{mode} by frequency": bagged([0, 2], mode=mode, scale_grad_by_freq=True) for mode in ("sum", "mean", "max")}
    | {
        "weighted": bagged([0, 2], mode="sum", weighted=True),
        "weighted matrix": bagged(shape=(3, 2), mode="sum", weighted=True),
        "weighted by frequency": bagged([0, 2], mode="sum", weighted=True, scale_grad_by_freq=True),
        "weighted with padding": bagged([0, 2, 2], mode="sum", weighted=True, padding_idx=1),
        "weighted mean": bagged([0, 2], weighted=True),
        "no bags": bagged([], mode="sum", include_last_offset=True),
        "first offset": bagged([1, 2]),
        "large offset": bagged([0, 7]),
        "float offsets": bagged([0.0, 2.0]),
        "no offsets": bagged(),
        "matrix with offsets": bagged([0, 2], shape=(2, 3)),
        "three dimensions": bagged(shape=(1, 2, 3)),
        "offsets of two dimensions": bagged([[0, 2]]),
        "mode": bagged([0, 2], mode="min"),
        "sparse max": bagged([0, 2], mode="max", sparse=True),
        "padding range": bagged([0, 2], padding_idx=5),
        "index": lambda t: t.nn.functional.embedding_bag(t.tensor([5]), t.ones(5, 3), t.tensor([0])),
        "negative index": lambda t: t.nn.functional.embedding_bag(t.tensor([-1]), t.ones(5, 3), t.tensor([0])),
        "int32": lambda t: t.nn.functional.embedding_bag(t.tensor([1, 0]).int(), t.ones(5, 3), t.tensor([0])),
        "int16": lambda t: t.nn.functional.embedding_bag(t.tensor([1, 0]).short(), t.ones(5, 3), t.tensor([0])),
        "half": lambda t: t.nn.functional.embedding_bag(t.tensor([[1, 0]]), filled(t, 5, 3, dtype="float16")),
        "table": lambda t: t.nn.functional.embedding_bag(t.tensor([0]), t.ones(3), t.tensor([0])),
        "integers": lambda t: t.nn.functional.embedding_bag(t.tensor([0]), t.ones(3, 2).int(), t.tensor([0])),
        "swapped": lambda t: t.nn.functional.embedding_bag(t.ones(3, 2), t.tensor([0]), t.tensor([0])),
        "max_norm": lambda t: (lambda w: (t.nn.functional.embedding_bag(t.tensor([[0, 2]]), w, max_norm=1.0), w))(
            filled(t, 5, 3).detach()
        ),
        "module": lambda t: repr(t.nn.EmbeddingBag(3, 4, max_norm=1.0, norm_type=1.0, mode="sum", padding_idx=-1)),
        "module by frequency": lambda t: repr(t.nn.EmbeddingBag(3, 4, scale_grad_by_freq=True)),
        "module's padding": lambda t: t.nn.EmbeddingBag(3, 4, padding_idx=3),
        "pretrained": lambda t: (lambda m: (repr(m), m.weight, m(t.tensor([[0, 1]]))))(
            t.nn.EmbeddingBag.from_pretrained(filled(t, 5, 3).detach(), mode="max")
        ),
    }
)


@pytest.mark.parametrize("program", BAGS.values(), ids=BAGS)
def test_bags(program):
    assert_same(program)


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_second_gradients_of_bags(mode):
    numbers, offsets = nbtorch.tensor([1, 3, 3, 0]), nbtorch.tensor([0, 3])
    table = filled(nbtorch, 5, 3).detach().requires_grad_()
    options = {"per_sample_weights": filled(nbtorch, 4)} if mode == "sum" else {}

    def function(table, *weights):
        bag = nbtorch.nn.functional.embedding_bag
        return bag(numbers, table, offsets, mode=mode, **dict(zip(options, weights, strict=True))) ** 2

    assert nbtorch.autograd.gradgradcheck(function, (table, *options.values()))


def test_the_simulator_agrees():
    program = """
import numpy as np, nbtorch, nbtorch.nn.functional as F
def run(device, function, *arrays):
    tensors = [nbtorch.tensor(a, device=device) for a in arrays]
    tensors = [t.requires_grad_() if t.is_floating_point() else t for t in tensors]
    out = function(*tensors)
    if out.requires_grad:
        (out * out).sum().backward()
    return [t.detach().cpu().numpy() for t in (out, *[t.grad for t in tensors if t.grad is not None])]
x = np.sin(np.arange(24)).reshape(1, 2, 3, 4)
grid = np.cos(np.arange(12)).reshape(1, 2, 3, 2) * 1.2
cases = [(lambda t, m=mode: F.interpolate(t, (2, 5), mode=m), x) for mode in ("nearest", "bilinear", "bicubic")]
cases += [(lambda t: F.interpolate(t, (2, 5), mode="bilinear"), (x * 50 + 60).astype(np.uint8))]
cases += [(lambda t, g, m=m: F.grid_sample(t, g, m, "reflection", False), x, grid) for m in ("bilinear", "bicubic")]
cases += [(lambda t, i: F.embedding_bag(i, t, mode="max"), x[0, 0], np.array([[0, 2, 1], [1, 1, 0]]))]
for function, *arrays in cases:
    for ours, simulated in zip(run("cpu", function, *arrays), run("cuda", function, *arrays), strict=True):
        np.testing.assert_allclose(ours, simulated, rtol=1e-6, atol=1e-12)
print("same")
"""
    settings = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}
    run = subprocess.run([sys.executable, "-c", program], env=settings, capture_output=True, text=True, timeout=300)
    assert run.stdout == "same\n", run.stderr[-2000:]
