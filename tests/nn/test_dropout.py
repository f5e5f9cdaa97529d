"""Dropout of elements: what is kept, how much, and its gradients."""

import numpy as np
import pytest

import nbtorch
import nbtorch.nn.functional as F
from nbtorch.autograd import gradcheck, gradgradcheck

from ..against_torch import assert_same


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("inplace", [False, True])
def test_what_is_kept_grows(dtype, inplace):
    nbtorch.manual_seed(0)
    x = nbtorch.full((300, 400), 3.0).to(getattr(nbtorch, dtype))
    y = F.dropout(x, 0.25, inplace=inplace)
    assert (y is x) == inplace
    assert y.dtype is getattr(nbtorch, dtype)
    assert set(y.float().unique().tolist()) == {0.0, 4.0}
    assert abs((y > 0).float().mean().item() - 0.75) < 0.005


def test_neighbours_are_independent():
    nbtorch.manual_seed(0)
    kept = (F.dropout(nbtorch.ones(1000, 1000), 0.5) > 0).numpy()
    for a, b in ((kept[1:], kept[:-1]), (kept[:, 1:], kept[:, :-1]), (kept, F.dropout(nbtorch.ones(1000, 1000)) > 0)):
        assert abs(np.corrcoef(np.asarray(a).reshape(-1), np.asarray(b).reshape(-1))[0, 1]) < 0.005


@pytest.mark.parametrize("probability", [0, 1])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3)])
def test_certain_cases(shape, training, probability):
    def program(library):
        x = library.ones(shape, requires_grad=True)
        y = library.nn.functional.dropout(x, probability, training)
        return y, library.autograd.grad(y.sum(), x)

    assert_same(program)


def test_the_same_seed_drops_the_same():
    x = nbtorch.ones(1000)
    results = []
    for _ in range(2):
        nbtorch.manual_seed(3)
        results.append(F.dropout(x, 0.5).tolist())
    assert results[0] == results[1] != F.dropout(x, 0.5).tolist()


def test_gradients():
    def drop(x):
        nbtorch.manual_seed(3)
        return F.dropout(x, 0.5)

    x = nbtorch.tensor(np.random.default_rng(0).standard_normal((4, 5)), requires_grad=True)
    assert gradcheck(drop, (x,))
    assert gradgradcheck(drop, (x,))
    view = nbtorch.ones(5, 4, requires_grad=True)
    y = drop(view.t())
    (grad,) = nbtorch.autograd.grad(y.sum(), view)
    assert grad.tolist() == y.t().tolist()


@pytest.mark.parametrize("p", [-0.1, 1.1])
def test_bad_input(p):
    assert_same(lambda library: library.nn.functional.dropout(library.ones(2), p))
