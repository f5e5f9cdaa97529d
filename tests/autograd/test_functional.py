"""Jacobians, Hessians and products with them: every function, structure and option, compared with PyTorch."""

import itertools

import pytest

import nbtorch

from ..against_torch import assert_same

FUNCTIONS = {
    "square": lambda t, x: x**2,
    "scalar": lambda t, x: (x**3).sum(),
    "linear": lambda t, x: (x * 3).sum(),
    "two outputs": lambda t, x: (x.sin(), (x * 2).sum()),
    "tuple of one": lambda t, x: (x * x,),
    "independent": lambda t, x: t.ones(2),
    "half independent": lambda t, x: (x * 2, t.ones(3)),
    "no tensor": lambda t, x: 3.0,
    "no tensor in a tuple": lambda t, x: (x, 3.0),
    "list": lambda t, x: [x * 2],
    "identity": lambda t, x: x,
    "two inputs": lambda t, x, y: (x.exp() * y, x * x),
    "scalar of two": lambda t, x, y: (x * y * y).sum(),
    "only the first": lambda t, x, y: (x**3).sum(),
}
INPUTS = {
    "vector": lambda t: t.tensor([1.0, 2.0, 3.0]),
    "matrix": lambda t: t.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=t.float64),
    "scalar": lambda t: t.tensor(2.0, requires_grad=True),
    "tuple of one": lambda t: (t.tensor([1.0, 2.0, 3.0]),),
    "two": lambda t: (t.tensor([1.0, 2.0, 3.0], requires_grad=True), t.tensor([0.5, 0.25, 2.0])),
    "list": lambda t: [t.ones(3)],
    "no tensor": lambda t: (t.ones(3), 3.0),
    "integers": lambda t: t.tensor([1, 2]),
}


def _applied(value, function):
    return tuple(map(function, value)) if isinstance(value, tuple) else function(value)


def _vector(t, name, function, inputs, kind):
    if kind == "wrong":
        return t.ones(7)
    like = inputs
    if name == "vjp":
        like = function(*inputs) if isinstance(inputs, tuple) else function(inputs)
    return None if kind == "none" else _applied(like, lambda x: t.ones_like(x) * 2)


@pytest.mark.parametrize("inputs", INPUTS)
@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("name", ["vjp", "jvp", "vhp", "hvp"])
def test_products(name, function, inputs):
    def program(t, create_graph, strict, kind):
        x = INPUTS[inputs](t)

        def func(*arguments):
            return FUNCTIONS[function](t, *arguments)

        v = _vector(t, name, func, x, kind)
        return getattr(t.autograd.functional, name)(func, x, v, create_graph=create_graph, strict=strict)

    for options in ((False, False, "none"), (False, True, "match"), (True, True, "match"), (True, False, "wrong")):
        assert_same(lambda t, options=options: program(t, *options))


@pytest.mark.parametrize("inputs", INPUTS)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_matrices(function, inputs):
    def program(t, name, create_graph, strict, options):
        x = INPUTS[inputs](t)
        compute = getattr(t.autograd.functional, name)
        return compute(lambda *arguments: FUNCTIONS[function](t, *arguments), x, create_graph, strict, *options)

    flags = ((False, False, ()), (False, True, ()), (True, True, ()), (True, False, (True,)))
    flags += ((False, False, (False, "forward-mode")), (False, False, (False, "other")))
    for name, (create_graph, strict, options) in itertools.product(("jacobian", "hessian"), flags):
        assert_same(lambda t, arguments=(name, create_graph, strict, options): program(t, *arguments))


def test_the_forward_strategy_gives_the_same_jacobian():
    inputs = (nbtorch.tensor([1.0, 2.0]), nbtorch.tensor([[0.5], [2.0]]))

    def function(a, b):
        return a * b, b.exp(), nbtorch.ones(2)

    columns = nbtorch.autograd.functional.jacobian(function, inputs, vectorize=True, strategy="forward-mode")
    rows = nbtorch.autograd.functional.jacobian(function, inputs)
    assert all(nbtorch.equal(a, b) for x, y in zip(columns, rows, strict=True) for a, b in zip(x, y, strict=True))


def test_results_can_be_differentiated_again():
    def program(t):
        x = t.tensor([1.0, 2.0], requires_grad=True)
        jacobian = t.autograd.functional.jacobian(lambda a: a**3, x, create_graph=True)
        hessian = t.autograd.functional.hessian(lambda a: (a**4).sum(), x, create_graph=True)
        product = t.autograd.functional.hvp(lambda a: (a**4).sum(), x, t.ones(2), create_graph=True)[1]
        return [t.autograd.grad(value.sum(), x) for value in (jacobian, hessian, product)]

    assert_same(program)


def test_no_grad_outside_changes_nothing():
    x = nbtorch.tensor([1.0, 2.0])
    with nbtorch.no_grad():
        value, product = nbtorch.autograd.functional.jvp(lambda a: a**2, x, nbtorch.ones(2))
    assert value.tolist() == [1, 4] and product.tolist() == [2, 4] and not product.requires_grad
