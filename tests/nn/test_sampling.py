"""Interpolation, sampling on grids, and bags of embeddings, as in PyTorch."""

import itertools

import pytest

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
