"""Graphs are freed without the garbage collector, whatever was done to them."""

import gc
import weakref

import pytest

import nbtorch
from nbtorch.autograd import graph
from nbtorch.utils.checkpoint import checkpoint


class Exponential(nbtorch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        y = x.exp()
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx, grad):
        return grad * ctx.saved_tensors[1]


class Doubled(nbtorch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.mark_dirty(x.mul_(2))
        ctx.save_for_backward(x)
        return x

    @staticmethod
    def backward(ctx, grad):
        return grad * 2


def hooks(x):
    y = x * 2
    y.register_hook(lambda g: g * 2)
    y.retain_grad()
    y.grad_fn.register_hook(lambda grad_inputs, grad_outputs: None)
    y.grad_fn.next_functions[0][0].register_hook(lambda *grads: None)
    graph.register_multi_grad_hook((x, y), lambda grads: None)
    y.sum().backward()
    return y


def function(x):
    y = Exponential.apply(x)
    y.sum().backward(retain_graph=True)
    return y


def dirty_function(x):
    return Doubled.apply(x * 1)


def views(x):
    y = x * 1
    y[1:].view(2, 1).mul_(2)
    y.normal_()
    y[0] = 1
    return y


def checkpointed(x):
    y = checkpoint(lambda a: (a * a).exp(), x, use_reentrant=False)
    y.sum().backward(retain_graph=True)
    return y


def checkpointed_reentrant(x):
    return checkpoint(lambda a: (a * a).exp(), x, use_reentrant=True)


def saved_on_cpu(x):
    with graph.save_on_cpu():
        return x.exp() * x


def mutation_allowed(x):
    with graph.allow_mutation_on_saved_tensors():
        y = x.exp()
        z = y * y
        y.zero_()
    return z


def anomaly(x):
    with nbtorch.autograd.set_detect_anomaly(True):
        return nbtorch.autograd.grad(x.exp().sum(), x, create_graph=True)[0]


@pytest.mark.parametrize(
    "program",
    [
        hooks,
        function,
        dirty_function,
        views,
        checkpointed,
        checkpointed_reentrant,
        saved_on_cpu,
        mutation_allowed,
        anomaly,
    ],
    ids=lambda p: p.__name__,
)
def test_freed_at_once(program):
    gc.collect()
    gc.disable()
    try:
        x = nbtorch.ones(3, requires_grad=True)
        y = program(x)
        references = [weakref.ref(x), weakref.ref(y), weakref.ref(y.grad_fn)]
        del x, y
        assert [reference() for reference in references] == [None, None, None]
    finally:
        gc.enable()
