"""Embeddings, as in PyTorch."""

import pytest

import nbtorch

from ..against_torch import assert_same

torch = pytest.importorskip("torch")


def table(library):
    return ((library.arange(15).reshape(5, 3) * 7 % 11).double() / 5 - 1).requires_grad_()


def picked(*shape, indices=(1, 3, 3, 0, 4, 1), dtype="int64", **options):
    """Return a program that picks rows and computes first and second gradients."""

    def program(library):
        weight = table(library)
        numbers = library.tensor(list(indices), dtype=getattr(library, dtype)).reshape(shape)
        start = weight * 1
        out = library.nn.functional.embedding(numbers, weight if "max_norm" in options else start, **options)
        (first,) = library.autograd.grad((out**3).sum(), weight, create_graph=True)
        if options.get("scale_grad_by_freq"):
            return out, first  # PyTorch's second derivative leaves the frequencies out
        (second,) = library.autograd.grad(first.sum(), weight)
        return out, first, second, weight

    return program


CASES = {
    "matrix": picked(2, 3),
    "vector": picked(6),
    "scalar": picked(indices=(2,)),
    "empty": lambda t: t.nn.functional.embedding(t.zeros(0, 2, dtype=t.int64), table(t)),
    "int32": picked(6, dtype="int32"),
    "padding": picked(2, 3, padding_idx=3),
    "padding from the end": picked(2, 3, padding_idx=-1),
    "padding range": picked(2, 3, padding_idx=5),
    "padding negative range": picked(2, 3, padding_idx=-6),
    "frequencies": picked(2, 3, scale_grad_by_freq=True),
    "frequencies and padding": picked(2, 3, scale_grad_by_freq=True, padding_idx=3),
    "index": picked(2, indices=(0, 5)),
    "negative index": picked(2, indices=(0, -1)),
    "float": picked(2, indices=(0.0, 1.0), dtype="float32"),
    "int16": picked(2, indices=(0, 1), dtype="int16"),
    "max_norm": lambda t: (lambda w: (t.nn.functional.embedding(t.tensor([0, 2, 2]), w, max_norm=1.0), w))(
        table(t).detach()
    ),
    "max_norm 1": lambda t: (
        lambda w: (t.nn.functional.embedding(t.tensor([[4], [1]]), w, max_norm=0.5, norm_type=1.0), w)
    )(table(t).detach()),
    "vector table": lambda t: t.nn.functional.embedding(t.tensor([0]), t.ones(3)),
    "no tensor": lambda t: t.nn.functional.embedding([0], t.ones(3, 2)),
}


@pytest.mark.parametrize("program", CASES.values(), ids=CASES)
def test_function(program):
    assert_same(program)


def made(*arguments, **options):
    def program(library):
        module = library.nn.Embedding(*arguments, **options)
        shapes = {name: (list(value.shape), str(value.dtype)) for name, value in module.state_dict().items()}
        padding = module.weight[module.padding_idx].detach() if module.padding_idx is not None else None
        return repr(module), shapes, padding, module.weight.requires_grad, list(module(library.tensor([[1, 2]])).shape)

    return program


def pretrained(**options):
    def program(library):
        module = library.nn.Embedding.from_pretrained(table(library).detach(), **options)
        out = module(library.tensor([1, 4, 1]))
        return repr(module), module.weight, out

    return program


MODULES = {
    "plain": made(5, 3),
    "options": made(5, 3, padding_idx=-2, max_norm=1.0, norm_type=1.0, scale_grad_by_freq=True),
    "float64": made(5, 3, dtype=None, _freeze=True),
    "padding": made(5, 3, 5),
    "pretrained": pretrained(),
    "pretrained and learned": pretrained(freeze=False, padding_idx=0),
    "pretrained with max_norm": pretrained(max_norm=1.0),
    "pretrained vector": lambda t: t.nn.Embedding.from_pretrained(t.ones(3)),
    "weight shape": lambda t: t.nn.Embedding(3, 2, _weight=t.ones(2, 2)),
}


@pytest.mark.parametrize("program", MODULES.values(), ids=MODULES)
def test_module(program):
    assert_same(program)


def test_second_gradients_with_frequencies_and_padding():
    weight = table(nbtorch).detach().requires_grad_()
    numbers = nbtorch.tensor([1, 3, 3, 0])

    def function(w):
        return nbtorch.nn.functional.embedding(numbers, w, padding_idx=0) ** 2

    assert nbtorch.autograd.gradgradcheck(lambda w: function(w)[:3], (weight,))
