"""Depth, memory, aliasing, and checks of gradients that notice what is wrong."""

import gc
import tracemalloc
import weakref

import numpy as np
import pytest

import nbtorch
from nbtorch.autograd import Function, gradcheck, gradgradcheck


@pytest.mark.parametrize("length", [10_000, 200_000])
def test_a_chain_of_any_length_needs_no_recursion(length):
    x = nbtorch.ones(2, requires_grad=True)
    y = x
    for _ in range(length):
        y = y + 1
    y.sum().backward()
    assert x.grad.tolist() == [1.0, 1.0]
    del y  # freeing the chain must not recurse either


def test_memory_is_freed_without_the_garbage_collector():
    gc.collect()
    gc.disable()
    try:
        x = nbtorch.ones(3, requires_grad=True)
        y = (x.exp() * x).tanh()
        nodes = [weakref.ref(y.grad_fn), weakref.ref(y.grad_fn.edges[0][0]), weakref.ref(y)]
        y.sum().backward()
        del y
        assert [n() for n in nodes] == [None, None, None]
        base = x * 1
        base[1:].mul_(2)
        origin = weakref.ref(base.grad_fn)
        del base
        assert origin() is None
    finally:
        gc.enable()


@pytest.mark.slow
def test_a_training_loop_of_10_000_steps_holds_memory_flat():
    import nbtorch.nn.functional as F

    weight = nbtorch.ones(4, 3, requires_grad=True)
    optimizer = nbtorch.optim.SGD([weight], lr=0.1, momentum=0.9)
    x, y = nbtorch.ones(5, 3), nbtorch.zeros(5, dtype=nbtorch.int64)

    def run(steps):
        for _ in range(steps):
            optimizer.zero_grad()
            F.cross_entropy(F.relu(F.linear(x, weight)), y).backward()
            optimizer.step()

    run(20)
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        run(20)
        before = tracemalloc.get_traced_memory()[0]
        run(10_000)
        assert tracemalloc.get_traced_memory()[0] - before < 20_000
    finally:
        tracemalloc.stop()
        gc.enable()


def test_gradients_never_share_memory():
    x, y = nbtorch.ones(3, requires_grad=True), nbtorch.ones(3, requires_grad=True)
    seed = nbtorch.ones(3)
    (x + y).backward(seed)
    assert not np.shares_memory(x.grad.numpy(), y.grad.numpy())
    assert not np.shares_memory(x.grad.numpy(), seed.numpy())
    x.grad.mul_(7)
    assert y.grad.tolist() == [1, 1, 1] and seed.tolist() == [1, 1, 1]


class _Wrong(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return x * grad


class _WrongSecond(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return 2 * x.detach() * grad


def test_gradcheck_notices_a_wrong_gradient():
    x = nbtorch.randn(3, dtype=nbtorch.float64, requires_grad=True)
    with pytest.raises(nbtorch.autograd.gradcheck.__globals__["GradcheckError"], match="Jacobian mismatch"):
        gradcheck(_Wrong.apply, (x,))
    assert not gradcheck(_Wrong.apply, (x,), raise_exception=False)
    assert gradcheck(_WrongSecond.apply, (x,))
    assert not gradgradcheck(_WrongSecond.apply, (x,), raise_exception=False)
    assert gradgradcheck(lambda a: a * a * a, (x,))


def test_once_differentiable_refuses_a_second_time():
    from nbtorch.autograd.function import once_differentiable

    class Once(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        @once_differentiable
        def backward(ctx, grad):
            return grad * 2

    x = nbtorch.ones(2, requires_grad=True)
    Once.apply(x).sum().backward()
    assert x.grad.tolist() == [2, 2]
    (g,) = nbtorch.autograd.grad((Once.apply(x) ** 2).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        g.sum().backward()


def test_next_functions_lead_to_the_leaf():
    x = nbtorch.ones(2, requires_grad=True)
    node = (x * 2).grad_fn
    assert node.name == "MulBackward0"
    assert node.next_functions[0][0].variable is x
    assert node.next_functions[1] == (None, 0)


def test_no_floating_point_warning_and_the_users_settings_stay():
    with np.errstate(all="raise"):
        zero = nbtorch.zeros(2)
        assert (nbtorch.ones(2) / zero).tolist() == [np.inf, np.inf]
        assert zero.log().tolist() == [-np.inf, -np.inf]
        with pytest.raises(FloatingPointError):
            np.ones(1) / np.zeros(1)
