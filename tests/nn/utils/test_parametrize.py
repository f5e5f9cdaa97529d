"""Parametrizations, the older normalisations, fusion and calls with other tensors, as in PyTorch."""

import copy
import pickle
from types import SimpleNamespace

import numpy as np
import pytest

import nbtorch

from ...against_torch import assert_same

torch = pytest.importorskip("torch")


def numbers(library, *shape, seed=0, dtype="float64"):
    values = np.random.default_rng(seed).standard_normal(shape)
    return library.tensor(np.asarray(values).tolist(), dtype=getattr(library, dtype))


def fill(library, module, seed=0):
    """Set a module's parameters and buffers to the same numbers in both libraries."""
    with library.no_grad():
        for number, tensor in enumerate([*module.parameters(), *module.buffers()]):
            if tensor.is_floating_point():
                tensor.copy_(numbers(library, *tensor.shape, seed=seed + number))
    return module


def linear(library, rows=3, columns=4):
    return fill(library, library.nn.Linear(columns, rows, dtype=library.float64))


def symmetric(library):
    class Symmetric(library.nn.Module):
        def forward(self, x):
            return x.triu() + x.triu(1).t()

        def right_inverse(self, x):
            return x.triu()

    return Symmetric()


def doubled(library):
    class Doubled(library.nn.Module):
        def forward(self, x):
            return x * 2

        def right_inverse(self, x):
            return x / 2

    return Doubled()


def plain(library, function, inverse=None):
    """Return a parametrization by functions."""

    class Function(library.nn.Module):
        def forward(self, *x):
            return function(*x)

    if inverse is not None:
        Function.right_inverse = lambda self, x: inverse(x)
    return Function()


def summary(module, *inputs):
    """Return what a module holds, computes and passes back."""
    out = module(*inputs)
    out.sum().backward()
    gradients = {name: None if p.grad is None else p.grad for name, p in module.named_parameters()}
    return out, dict(module.state_dict()), {k: v for k, v in gradients.items() if v is not None}, repr(module)


def registered(*makes, square=True, name="weight", unsafe=False, layer=None):
    def program(library):
        module = linear(library, 3, 3 if square else 4) if layer is None else layer(library)
        P = library.nn.utils.parametrize
        for make in makes:
            P.register_parametrization(module, name, make(library), unsafe=unsafe)
        return summary(module, numbers(library, 2, 3 if square else 4, seed=5))

    return program


def assigned(library):
    module = linear(library, 3, 3)
    library.nn.utils.parametrize.register_parametrization(module, "weight", symmetric(library))
    module.weight = numbers(library, 3, 3, seed=9)
    return module.weight, module.parametrizations.weight.original


def removed(leave, several=False):
    def program(library):
        module = linear(library, 3, 3)
        P = library.nn.utils.parametrize
        if several:
            library.nn.utils.parametrizations.weight_norm(module)
        else:
            P.register_parametrization(module, "weight", doubled(library))
        inside = P.is_parametrized(module), P.is_parametrized(module, "weight"), P.is_parametrized(module, "bias")
        before = type(module).__name__, P.type_before_parametrizations(module).__name__
        P.remove_parametrizations(module, "weight", leave)
        return inside, before, module.weight, type(module).__name__, repr(module), P.is_parametrized(module)

    return program


def cached(library):
    calls = []
    module = linear(library, 3, 3)
    P = library.nn.utils.parametrize
    P.register_parametrization(module, "weight", plain(library, lambda x: calls.append(1) or x * 2))
    calls.clear()
    with P.cached():
        first, second = module.weight, module.weight
        with P.cached():
            third = module.weight
    return first is second, second is third, len(calls), module.weight is first, len(calls)


def copied(library):
    module = linear(library, 3, 3)
    library.nn.utils.parametrize.register_parametrization(module, "weight", doubled(library))
    twin = copy.deepcopy(module)
    with library.no_grad():
        module.parametrizations.weight.original.zero_()
    return twin.weight, type(twin).__name__


def transferred(library):
    P = library.nn.utils.parametrize
    first, second, third = linear(library, 3, 3), linear(library, 3, 3), linear(library, 3, 3)
    P.register_parametrization(first, "weight", doubled(library))
    library.nn.utils.parametrizations.weight_norm(second)
    P.transfer_parametrizations_and_params(first, third)
    return third.weight, list(third.state_dict()), P.is_parametrized(third)


def buffer(library):
    module = library.nn.Module()
    module.register_buffer("scale", numbers(library, 2))
    library.nn.utils.parametrize.register_parametrization(module, "scale", doubled(library))
    return module.scale, dict(module.state_dict()), [name for name, _ in module.named_parameters()]


def late(*makes):
    """Register a good parametrization, then one that may not follow it."""
    return registered(doubled, *makes)


PROGRAMS = {
    "one": registered(symmetric),
    "two": registered(symmetric, doubled),
    "without inverse": registered(lambda t: plain(t, lambda x: x.tanh())),
    "bias": registered(doubled, name="bias"),
    "assigned": assigned,
    "assigned without inverse": lambda t: setattr(
        t.nn.utils.parametrize.register_parametrization(linear(t), "weight", plain(t, lambda x: x)),
        "weight",
        t.ones(3, 4, dtype=t.float64),
    ),
    "buffer": buffer,
    "no such tensor": registered(doubled, name="other"),
    "another shape": registered(lambda t: plain(t, lambda x: x[0])),
    "another shape unsafe": registered(lambda t: plain(t, lambda x: x[:, :1]), unsafe=True, layer=lambda t: linear(t)),
    "another type": registered(lambda t: plain(t, lambda x: x.float())),
    "no tensor": registered(lambda t: plain(t, lambda x: 3)),
    "inverse of another type": registered(lambda t: plain(t, lambda x: x, lambda x: x.float())),
    "inverse no tensor": registered(lambda t: plain(t, lambda x: x, lambda x: 3)),
    "inverse of no tensors": registered(lambda t: plain(t, lambda x, y: x, lambda x: (1, 2))),
    "inverse of two": registered(lambda t: plain(t, lambda x, y: x + y, lambda x: (x, x * 0))),
    "late shape": late(lambda t: plain(t, lambda x: x[0])),
    "late type": late(lambda t: plain(t, lambda x: x.float())),
    "late no tensor": late(lambda t: plain(t, lambda x: 3)),
    "late inverse": late(lambda t: plain(t, lambda x: x, lambda x: x.float())),
    "late inverse shape": late(lambda t: plain(t, lambda x: x, lambda x: x[0])),
    "removed": removed(True),
    "removed to the original": removed(False),
    "removed of several": removed(True, several=True),
    "removed of several to the originals": removed(False, several=True),
    "removed without": lambda t: t.nn.utils.parametrize.remove_parametrizations(linear(t), "weight"),
    "cached": cached,
    "deepcopy": copied,
    "pickle": lambda t: pickle.dumps(t.nn.utils.parametrize.register_parametrization(linear(t), "bias", doubled(t))),
    "transferred": transferred,
    "empty list": lambda t: t.nn.utils.parametrize.ParametrizationList([], t.ones(2)),
}


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_parametrizations(program):
    assert_same(program)


def normalised(kind, layer, *arguments, calls=0, remove=None, **options):
    """Return a program that normalises a layer's weight in one of the two forms and uses it."""

    def program(library):
        module, inputs = layer(library)
        where = library.nn.utils.parametrizations if kind.startswith("new") else library.nn.utils
        name = kind.split()[1]
        getattr(where, name)(module, *arguments, **options)
        fill(library, module, 3)
        for _ in range(calls):
            module(*inputs)
        used = summary(module, *inputs)
        if remove is None:
            return used
        if kind.startswith("new"):
            library.nn.utils.parametrize.remove_parametrizations(module, "weight")
        else:
            getattr(library.nn.utils, f"remove_{name}")(module)
        return used, dict(module.state_dict()), module(*inputs)

    return program


def dense(library):
    return library.nn.Linear(4, 3, dtype=library.float64), [numbers(library, 2, 4)]


def conv(library):
    return library.nn.Conv2d(2, 3, 2, dtype=library.float64), [numbers(library, 1, 2, 3, 3)]


def transposed(library):
    return library.nn.ConvTranspose1d(2, 3, 2, dtype=library.float64), [numbers(library, 1, 2, 4)]


def evaluated(make):
    return lambda library: (lambda pair: (pair[0].eval(), pair[1]))(make(library))


NORMALISED = {
    **{
        f"{kind} {layer.__name__} {dim}": normalised(f"{kind} weight_norm", layer, dim=dim)
        for kind in ("new", "old")
        for layer in (dense, conv, transposed)
        for dim in (0, 1, None, -1)
    },
    **{
        f"{kind} {layer.__name__} spectral": normalised(f"{kind} spectral_norm", layer, n_power_iterations=3)
        for kind in ("new", "old")
        for layer in (dense, conv, transposed, evaluated(dense))
    },
    **{
        f"{kind} {name} removed": normalised(f"{kind} {name}", dense, calls=2, remove=True)
        for kind in ("new", "old")
        for name in ("weight_norm", "spectral_norm")
    },
    "new spectral dim": normalised("new spectral_norm", conv, dim=1),
    "new spectral negative dim": normalised("new spectral_norm", conv, dim=-1),
    "new spectral bias": normalised("new spectral_norm", dense, "bias"),
    "new spectral dim range": normalised("new spectral_norm", dense, dim=2),
    "new spectral iterations": normalised("new spectral_norm", dense, n_power_iterations=0),
    "old spectral iterations": normalised("old spectral_norm", dense, n_power_iterations=0),
    "new spectral name": normalised("new spectral_norm", dense, "other"),
    "old spectral name": normalised("old spectral_norm", dense, "other"),
    "old weight name": normalised("old weight_norm", dense, "other"),
    "old weight twice": lambda t: t.nn.utils.weight_norm(t.nn.utils.weight_norm(linear(t))),
    "old spectral twice": lambda t: t.nn.utils.spectral_norm(t.nn.utils.spectral_norm(linear(t))),
    "old weight removed without": lambda t: t.nn.utils.remove_weight_norm(linear(t)),
    "old spectral removed without": lambda t: t.nn.utils.remove_spectral_norm(linear(t)),
}


@pytest.mark.parametrize("program", NORMALISED.values(), ids=NORMALISED)
def test_normalisations(program):
    assert_same(program)


def test_state_dicts_of_the_older_weight_norm_load():
    def program(library):
        with pytest.warns(FutureWarning):
            old = fill(library, library.nn.utils.weight_norm(linear(library)), 4)
        new = library.nn.utils.parametrizations.weight_norm(linear(library))
        return repr(new.load_state_dict(dict(old.state_dict()))), new.weight

    assert_same(program)


def test_state_dicts_of_spectral_norm_carry_a_version():
    def program(library):
        module = fill(library, library.nn.utils.spectral_norm(linear(library)), 2)
        state = module.state_dict()
        versions = {key: value.get("spectral_norm") for key, value in state._metadata.items()}
        older = dict(state)
        del older["weight_v"]
        older["weight"] = older["weight_orig"] / 3
        loaded = library.nn.utils.spectral_norm(linear(library))
        return versions, repr(loaded.load_state_dict(older)), loaded.weight_v, loaded(numbers(library, 2, 4))

    assert_same(program)


@pytest.mark.parametrize("trivial", [True, False])
@pytest.mark.parametrize("map_", ["matrix_exp", "cayley", "householder", None])
@pytest.mark.parametrize("shape", [(3, 3), (4, 3), (3, 4), (2, 4, 3), (1, 1)])
def test_orthogonal(shape, map_, trivial):
    def module_of(library):
        module = library.nn.Module()
        module.weight = library.nn.Parameter(numbers(library, *shape))
        return library.nn.utils.parametrizations.orthogonal(module, "weight", map_, use_trivialization=trivial)

    def program(library):
        module = module_of(library)
        weight = module.weight
        wide = shape[-2] < shape[-1]
        gram = weight @ weight.mT if wide else weight.mT @ weight
        original = module.parametrizations.weight.original
        if trivial and shape[-2] == shape[-1]:
            (weight * numbers(library, *shape, seed=7)).sum().backward()
            return gram, weight, original, original.grad, list(module.state_dict())
        return gram, original if trivial else None, list(module.state_dict())

    assert_same(program)


def orthogonal_of(library, map_, base, original):
    """Return an orthogonal weight with given original, and its gradient."""
    module = library.nn.Module()
    module.weight = library.nn.Parameter(numbers(library, *original))
    library.nn.utils.parametrizations.orthogonal(module, "weight", map_, use_trivialization=base)
    parametrization = module.parametrizations.weight
    with library.no_grad():
        parametrization.original.copy_(numbers(library, *original, seed=8) * 2)
        if base:
            side = max(original[-2:])
            parametrization[0].base = (
                library.eye(side, dtype=library.float64).expand(*original[:-2], side, side).clone()
            )
    (module.weight * numbers(library, *original, seed=7)).sum().backward()
    return module.weight, parametrization.original.grad


@pytest.mark.parametrize("base", [True, False])
@pytest.mark.parametrize("map_", ["matrix_exp", "cayley", "householder"])
@pytest.mark.parametrize("shape", [(3, 3), (5, 3), (3, 5), (2, 4, 3)])
def test_orthogonal_maps_and_their_gradients(shape, map_, base):
    assert_same(lambda library: orthogonal_of(library, map_, base, shape))


BAD_ORTHOGONAL = {
    "vector": lambda t: t.nn.utils.parametrizations.orthogonal(linear(t), "bias"),
    "name": lambda t: t.nn.utils.parametrizations.orthogonal(linear(t), "other"),
    "map": lambda t: t.nn.utils.parametrizations.orthogonal(linear(t), orthogonal_map="qr"),
    "shape": lambda t: setattr(t.nn.utils.parametrizations.orthogonal(linear(t)), "weight", t.ones(2, 2)),
}


@pytest.mark.parametrize("program", BAD_ORTHOGONAL.values(), ids=BAD_ORTHOGONAL)
def test_orthogonal_refuses(program):
    assert_same(program)


def weights(library, *, affine=True, bias=True, transpose=False):
    fuse = library.nn.utils.fuse_conv_bn_weights
    conv_w = library.nn.Parameter(numbers(library, *((2, 3, 2) if transpose else (3, 2, 2))))
    conv_b = library.nn.Parameter(numbers(library, 3, seed=1), requires_grad=False) if bias else None
    scale, shift = (numbers(library, 3, seed=2), numbers(library, 3, seed=3)) if affine else (None, None)
    return fuse(
        conv_w, conv_b, numbers(library, 3, seed=4), numbers(library, 3, seed=5) ** 2, 1e-5, scale, shift, transpose
    )


def norm_of(library, size, **options):
    """Return what fusion reads of a batch norm."""
    values = [numbers(library, size, seed=seed) for seed in range(4)]
    parts = {"running_mean": values[0], "running_var": values[1] ** 2, "weight": values[2], "bias": values[3]}
    return SimpleNamespace(**{**parts, "eps": 1e-5, "training": False, "num_features": size, **options})


FUSIONS = {
    "weights": weights,
    "weights without affine": lambda t: weights(t, affine=False),
    "weights without bias": lambda t: weights(t, bias=False),
    "transposed weights": lambda t: weights(t, transpose=True),
    "linear weights": lambda t: t.nn.utils.fuse_linear_bn_weights(
        numbers(t, 3, 4),
        None,
        *[numbers(t, 3, seed=s) ** 2 for s in (1, 2)],
        1e-3,
        *[numbers(t, 3, seed=s) for s in (3, 4)],
    ),
    "conv": lambda t: dict(t.nn.utils.fuse_conv_bn_eval(fill(t, conv(t)[0]).eval(), norm_of(t, 3)).state_dict()),
    "linear": lambda t: dict(t.nn.utils.fuse_linear_bn_eval(linear(t).eval(), norm_of(t, 3)).state_dict()),
    "linear one feature": lambda t: dict(t.nn.utils.fuse_linear_bn_eval(linear(t).eval(), norm_of(t, 1)).state_dict()),
    "linear features": lambda t: t.nn.utils.fuse_linear_bn_eval(linear(t).eval(), norm_of(t, 2)),
    "training": lambda t: t.nn.utils.fuse_conv_bn_eval(conv(t)[0], norm_of(t, 3)),
    "statistics": lambda t: t.nn.utils.fuse_conv_bn_eval(conv(t)[0].eval(), norm_of(t, 3, running_mean=None)),
    "skip_init": lambda t: repr(t.nn.utils.skip_init(t.nn.Linear, 3, 2, bias=False, dtype=t.float64)),
    "skip_init no module": lambda t: t.nn.utils.skip_init(int),
    "skip_init no device": lambda t: t.nn.utils.skip_init(t.nn.Flatten),
}


@pytest.mark.parametrize("program", FUSIONS.values(), ids=FUSIONS)
def test_fusion_and_skip_init(program):
    assert_same(program)


def test_skip_init_leaves_random_numbers_alone():
    nbtorch.manual_seed(3)
    expected = nbtorch.rand(2).tolist()
    nbtorch.manual_seed(3)
    nbtorch.nn.utils.skip_init(nbtorch.nn.Linear, 3, 2)
    assert nbtorch.rand(2).tolist() == expected


def tied(library):
    module = library.nn.Module()
    module.a = linear(library, 3, 3)
    module.b = linear(library, 3, 3)
    module.b.weight = module.a.weight
    module.forward = lambda x, scale=1: module.b(module.a(x)) * scale
    return module


def called(tensors, *arguments, make=linear, **options):
    def program(library):
        module = make(library)
        before = dict(module.state_dict())
        x = numbers(library, 2, 3 if make is tied else 4)
        given = tensors(library)
        out = library.func.functional_call(module, given, (x,), *arguments, **options)
        after = dict(module.state_dict())
        return out, all(before[name] is after[name] or bool((before[name] == after[name]).all()) for name in before)

    return program


def other(library, *names, rows=3, columns=4):
    shapes = {"weight": (rows, columns), "bias": (rows,)}
    return {name: numbers(library, *shapes[name.split(".")[-1]], seed=6).requires_grad_() for name in names}


CALLS = {
    "all": called(lambda t: other(t, "weight", "bias")),
    "some": called(lambda t: other(t, "bias")),
    "none": called(lambda t: {}),
    "two dictionaries": called(lambda t: [other(t, "bias"), other(t, "weight")]),
    "repeated": called(lambda t: (other(t, "bias"), other(t, "bias"))),
    "no dictionaries": called(lambda t: [3]),
    "no dictionary": called(lambda t: 3),
    "unknown": called(lambda t: {"other": t.ones(1)}),
    "unknown module": called(lambda t: {"other.weight": t.ones(1)}),
    "no tensor": called(lambda t: {"weight": 3}),
    "strict": called(lambda t: other(t, "weight", "bias"), strict=True),
    "missing": called(lambda t: other(t, "weight"), strict=True),
    "unexpected": called(lambda t: {**other(t, "weight", "bias"), "other": t.ones(1)}, strict=True),
    "tied": called(lambda t: other(t, "a.weight", columns=3), make=tied),
    "tied by the other name": called(lambda t: other(t, "b.weight", columns=3), make=tied),
    "untied": called(lambda t: other(t, "a.weight", columns=3), make=tied, tie_weights=False),
    "two values": called(lambda t: {**other(t, "a.weight", columns=3), "b.weight": t.zeros(3, 3)}, make=tied),
    "keywords": called(lambda t: other(t, "a.bias"), {"scale": 3}, make=tied),
    "older": lambda t: t.nn.utils.stateless.functional_call(linear(t), other(t, "bias"), numbers(t, 4)),
}


@pytest.mark.parametrize("program", CALLS.values(), ids=CALLS)
def test_calls_with_other_tensors(program):
    assert_same(program)
