"""Clipping gradients and moving parameters into vectors, as in PyTorch."""

import math

import pytest

from ...against_torch import assert_same

torch = pytest.importorskip("torch")

GRADIENTS = {
    "one": [[3.0, 4.0]],
    "some": [[3.0, -4.0], [[0.5], [2.0]], 1.5],
    "small": [[0.01, 0.02]],
    "zero": [[0.0, 0.0]],
    "nan": [[math.nan, 1.0], [2.0]],
    "inf": [[math.inf, 1.0], [2.0]],
    "none": [],
}


def parameters(library, values, dtypes=("float32", "float64")):
    params = []
    for number, value in enumerate(values):
        dtype = getattr(library, dtypes[number % len(dtypes)])
        param = library.nn.Parameter(library.zeros_like(library.tensor(value, dtype=dtype)))
        param.grad = library.tensor(value, dtype=dtype)
        params.append(param)
    return [*params, library.nn.Parameter(library.ones(2))]


@pytest.mark.parametrize("norm_type", [2, 1.0, math.inf, "inf", 0, 3, -1])
@pytest.mark.parametrize("values", GRADIENTS.values(), ids=GRADIENTS)
def test_clip_grad_norm(values, norm_type):
    def program(library):
        params = parameters(library, values, ("float32",))
        total = library.nn.utils.clip_grad_norm_(params, 1.5, norm_type)
        return total, [param.grad is None or param.grad for param in params]

    assert_same(program)


def clipped(values="some", *arguments, make=list, name="clip_grad_norm_", **options):
    def program(library):
        params = parameters(library, GRADIENTS[values])
        end = getattr(library.nn.utils, name)(make(params), *arguments, **options)
        return end, [param.grad is None or param.grad for param in params]

    return program


def by_norm(library):
    params = parameters(library, GRADIENTS["some"])
    norm = library.nn.utils.get_total_norm([param.grad for param in params[:-1]])
    library.nn.utils.clip_grads_with_norm_(params, 2.0, norm)
    return norm, [param.grad for param in params[:-1]]


PROGRAMS = {
    "mixed types": clipped("some", 1.0),
    "a tensor": clipped("some", 1.0, make=lambda params: params[0]),
    "generator": clipped("some", 1.0, make=iter),
    "empty generator": clipped("some", 1.0, make=lambda params: (p for p in params[:0])),
    "empty list": clipped("some", 1.0, make=lambda params: []),
    "foreach": clipped("some", 1.0, foreach=True),
    "no foreach": clipped("some", 1.0, foreach=False),
    "nan refused": clipped("nan", 1.0, error_if_nonfinite=True),
    "inf refused": clipped("inf", 1.0, error_if_nonfinite=True),
    "inf taken": clipped("inf", 1.0),
    "max_norm text": clipped("some", "a"),
    "norm_type text": clipped("some", 1.0, "a"),
    "old name": clipped("some", 1.0, name="clip_grad_norm"),
    "value": clipped("some", 0.7, name="clip_grad_value_"),
    "value of a tensor": clipped("some", 0.7, make=lambda params: params[1], name="clip_grad_value_"),
    "value with nan": clipped("nan", 0.7, name="clip_grad_value_", foreach=True),
    "no value": clipped("some", "a", name="clip_grad_value_"),
    "total norm": lambda library: library.nn.utils.get_total_norm([library.ones(2), library.ones(3)], 1.0),
    "total norm of a tensor": lambda library: library.nn.utils.get_total_norm(library.ones(4)),
    "total norm of nothing": lambda library: library.nn.utils.get_total_norm([]),
    "total norm refused": lambda library: library.nn.utils.get_total_norm(
        [library.tensor([math.inf])], error_if_nonfinite=True
    ),
    "with a norm": by_norm,
    "to a vector": lambda library: library.nn.utils.parameters_to_vector(
        [library.ones(2, 3, requires_grad=True), library.zeros(1), library.tensor(5.0)]
    ),
    "no parameters": lambda library: library.nn.utils.parameters_to_vector([]),
    "strided": lambda library: library.nn.utils.parameters_to_vector([library.ones(2, 3).t()]),
    "no vector": lambda library: library.nn.utils.vector_to_parameters([1.0], [library.ones(1)]),
    "short vector": lambda library: library.nn.utils.vector_to_parameters(library.ones(1), [library.ones(2)]),
}


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_as_in_pytorch(program):
    assert_same(program)


def test_vector_to_parameters_shares_memory():
    def program(library):
        model = library.nn.Linear(2, 3)
        vector = library.arange(9.0)
        library.nn.utils.vector_to_parameters(vector, model.parameters())
        vector[0] = 7
        back = library.nn.utils.parameters_to_vector(model.parameters())
        back.sum().backward()
        return model.weight, model.bias, back, model.weight.grad

    assert_same(program)
