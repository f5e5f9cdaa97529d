"""Checkpointing: each program runs with nbtorch and with PyTorch and must come to the same end."""

import pytest

from .against_torch import assert_same


def leaf(t, *values):
    return t.tensor(list(values) or [1.0, 2.0, 3.0], requires_grad=True)


def f(x, y=2.0):
    return (x * x * y).exp().sum()


def counted():
    """Return a function and the list that it appends to at each call."""
    calls = []
    return calls, lambda x: calls.append(1) or (x * x).sin() * x


def variant_not_given(t):
    x = leaf(t, 0.1, 0.2)
    t.utils.checkpoint.checkpoint(f, x).backward()
    return x.grad


def reentrant(t):
    x = leaf(t, 0.1, 0.2)
    y = t.utils.checkpoint.checkpoint(f, x, use_reentrant=True)
    y.backward()
    return x.grad, y.grad_fn.name()


def not_reentrant(t):
    x = leaf(t, 0.1, 0.2)
    y = t.utils.checkpoint.checkpoint(f, x, use_reentrant=False)
    y.backward()
    return x.grad, y.grad_fn.name()


def keyword(t):
    x = leaf(t, 0.1, 0.2)
    y = t.utils.checkpoint.checkpoint(f, x, y=3.0, use_reentrant=False)
    y.backward()
    return x.grad


def keyword_reentrant(t):
    x = leaf(t, 0.1, 0.2)
    y = t.utils.checkpoint.checkpoint(f, x, y=3.0, use_reentrant=True)
    y.backward()
    return x.grad


def context_reentrant(t):
    t.utils.checkpoint.checkpoint(f, leaf(t), use_reentrant=True, context_fn=lambda: None)


def debug_reentrant(t):
    t.utils.checkpoint.checkpoint(f, leaf(t), use_reentrant=True, debug=True)


def constant_reentrant(t):
    return t.utils.checkpoint.checkpoint(lambda x: x * 2, t.ones(2), use_reentrant=True)


def constant(t):
    return t.utils.checkpoint.checkpoint(lambda x: x * 2, t.ones(2), use_reentrant=False)


def without_recording(t):
    with t.no_grad():
        return t.utils.checkpoint.checkpoint(lambda x: x * 2, leaf(t), use_reentrant=False)


def grad_reentrant(t):
    x = leaf(t)
    return t.autograd.grad(t.utils.checkpoint.checkpoint(f, x, use_reentrant=True), x)


def inputs_reentrant(t):
    x = leaf(t)
    t.utils.checkpoint.checkpoint(f, x, use_reentrant=True).backward(inputs=[x])


def grad(t):
    x = leaf(t, 0.1, 0.2)
    return t.autograd.grad(t.utils.checkpoint.checkpoint(f, x, use_reentrant=False), x)


def calls(t):
    n, cnt = counted()
    x = leaf(t)
    y = t.utils.checkpoint.checkpoint(cnt, x, use_reentrant=False)
    a = len(n)
    y.sum().backward()
    return a, len(n), x.grad


def calls_reentrant(t):
    n, cnt = counted()
    x = leaf(t)
    y = t.utils.checkpoint.checkpoint(cnt, x, use_reentrant=True)
    a = len(n)
    y.sum().backward()
    return a, len(n), x.grad


def backward_twice(t):
    n, cnt = counted()
    x = leaf(t)
    y = t.utils.checkpoint.checkpoint(cnt, x, use_reentrant=False).sum()
    y.backward(retain_graph=True)
    y.backward()
    return len(n), x.grad


def backward_twice_without_retaining(t):
    n, cnt = counted()
    x = leaf(t)
    y = t.utils.checkpoint.checkpoint(cnt, x, use_reentrant=False).sum()
    y.backward()
    y.backward()
    return len(n), x.grad


def double_backward(t):
    _n, cnt = counted()
    x = leaf(t)
    y = t.utils.checkpoint.checkpoint(cnt, x, use_reentrant=False).sum()
    (g,) = t.autograd.grad(y, x, create_graph=True)
    g.sum().backward()
    return x.grad


def double_backward_reentrant(t):
    _n, cnt = counted()
    x = leaf(t)
    y = t.utils.checkpoint.checkpoint(cnt, x, use_reentrant=True).sum()
    (g,) = t.autograd.grad(y, x, create_graph=True)
    g.sum().backward()
    return x.grad


def early_stop(t):
    s = []

    def g(x):
        a = x.exp()
        s.append(1)
        b = a * a
        s.append(2)
        c = b + 1
        s.append(3)
        return c

    x = leaf(t, 0.1)
    t.utils.checkpoint.checkpoint(g, x, use_reentrant=False).sum().backward()
    return s, x.grad


def early_stop_overridden(t):
    s = []

    def g(x):
        a = x.exp()
        s.append(1)
        b = a * a
        s.append(2)
        c = b + 1
        s.append(3)
        return c

    x = leaf(t, 0.1)
    with t.utils.checkpoint.set_checkpoint_early_stop(False):
        y = t.utils.checkpoint.checkpoint(g, x, use_reentrant=False)
    y.sum().backward()
    return s, x.grad


def early_stop_off(t):
    s = []

    def g(x):
        a = x.exp()
        s.append(1)
        b = a * a
        s.append(2)
        c = b + 1
        s.append(3)
        return c

    x = leaf(t, 0.1)
    y = t.utils.checkpoint.checkpoint(g, x, use_reentrant=False, early_stop=False)
    y.sum().backward()
    return s, x.grad


def fewer_saved(t):
    k = [0]

    def g(x):
        k[0] += 1
        if k[0] == 1:
            return (x * x).sin()
        return x * x

    x = leaf(t, 0.1)
    t.utils.checkpoint.checkpoint(g, x, use_reentrant=False).sum().backward()


def more_saved(t):
    k = [0]

    def g(x):
        k[0] += 1
        if k[0] == 1:
            return x * x
        return (x * x).exp() * x

    x = leaf(t, 0.1)
    t.utils.checkpoint.checkpoint(g, x, use_reentrant=False).sum().backward()


def more_saved_without_early_stop(t):
    k = [0]

    def g(x):
        k[0] += 1
        if k[0] == 1:
            return x * x
        return (x * x).exp() * x

    x = leaf(t, 0.1)
    t.utils.checkpoint.checkpoint(g, x, use_reentrant=False, early_stop=False).sum().backward()


def other_shapes_saved(t):
    k = [0]

    def g(x):
        k[0] += 1
        if k[0] == 1:
            return (x * x).exp()
        return (x[:1] * x[:1]).exp()

    x = leaf(t, 0.1, 0.2)
    t.utils.checkpoint.checkpoint(g, x, use_reentrant=False).sum().backward()


def determinism_check_none(t):
    k = [0]

    def g(x):
        k[0] += 1
        if k[0] == 1:
            return (x * x).exp()
        return (x.detach() * x).exp()

    x = leaf(t, 0.1, 0.2)
    t.utils.checkpoint.checkpoint(g, x, use_reentrant=False, determinism_check="none").sum().backward()
    return x.grad


def unknown_determinism_check(t):
    t.utils.checkpoint.checkpoint(f, leaf(t), use_reentrant=False, determinism_check="x")


def random_numbers(t):
    def g(x):
        return x * t.rand(2)

    t.manual_seed(0)
    x = leaf(t, 1.0, 1.0)
    y = t.utils.checkpoint.checkpoint(g, x, use_reentrant=False)
    y.sum().backward()
    a = t.allclose(x.grad, y)
    x.grad = None
    y = t.utils.checkpoint.checkpoint(g, x, use_reentrant=True)
    y.sum().backward()
    b = t.allclose(x.grad, y)
    x.grad = None
    y = t.utils.checkpoint.checkpoint(g, x, use_reentrant=True, preserve_rng_state=False)
    y.sum().backward()
    c = t.allclose(x.grad, y)
    x.grad = None
    y = t.utils.checkpoint.checkpoint(g, x, use_reentrant=False, preserve_rng_state=False)
    y.sum().backward()
    d = t.allclose(x.grad, y)
    return a, b, c, d


def contexts(t):
    s = []
    import contextlib

    @contextlib.contextmanager
    def m(k):
        s.append(k + "in")
        yield
        s.append(k + "out")

    x = leaf(t, 0.1)
    y = t.utils.checkpoint.checkpoint(f, x, use_reentrant=False, context_fn=lambda: (m("f"), m("r")))
    s.append("bw")
    y.backward()
    return s


def sequential(t):
    layers = t.nn.Sequential(t.nn.Linear(2, 2), t.nn.ReLU(), t.nn.Linear(2, 2))
    for p in layers.parameters():
        p.data.fill_(0.5)
    x = t.ones(1, 2, requires_grad=True)
    y = t.utils.checkpoint.checkpoint_sequential(layers, 2, x, use_reentrant=False)
    y.sum().backward()
    g = x.grad.clone()
    x.grad = None
    t.utils.checkpoint.checkpoint_sequential(layers, 3, x, use_reentrant=True).sum().backward()
    return y, g, x.grad


def sequential_variant_not_given(t):
    t.utils.checkpoint.checkpoint_sequential([lambda x: x * 2], 1, leaf(t))


def sequential_unknown_keyword(t):
    t.utils.checkpoint.checkpoint_sequential([lambda x: x * 2], 1, leaf(t), use_reentrant=False, foo=1)


def several_outputs(t):
    x = leaf(t)
    a, b = t.utils.checkpoint.checkpoint(lambda x, y: (x * y, x.exp()), x, t.ones(3), use_reentrant=False)
    (a + b).sum().backward()
    return x.grad


def several_outputs_reentrant(t):
    x = leaf(t)
    a, b, c = t.utils.checkpoint.checkpoint(lambda x, y, k: (x * y, x.exp(), k), x, t.ones(3), "z", use_reentrant=True)
    (a + b).sum().backward()
    return x.grad, c


def detached_reentrant(t):
    x = leaf(t)
    y = t.utils.checkpoint.checkpoint(lambda x: x.detach(), x, use_reentrant=True)
    y.sum().backward()


def function_that_raises(t):
    def g(x):
        raise KeyError("z")

    t.utils.checkpoint.checkpoint(g, leaf(t), use_reentrant=False)


def nested(t):
    x = leaf(t, 0.1, 0.2)

    def inner(x):
        return (x * x).sin()

    def outer(x):
        return t.utils.checkpoint.checkpoint(inner, x, use_reentrant=False).exp() * x

    t.utils.checkpoint.checkpoint(outer, x, use_reentrant=False).sum().backward()
    a = x.grad
    x.grad = None
    outer(x).sum().backward()
    return a, x.grad


def argument_changed(t):
    x = leaf(t, 0.1, 0.2)
    z = x * 1
    y = t.utils.checkpoint.checkpoint(lambda z: z * z, z, use_reentrant=False)
    z.add_(1)
    y.sum().backward()
    return x.grad


def debug_enabled(t):
    with t.utils.checkpoint.set_checkpoint_debug_enabled(True):
        x = leaf(t, 0.1)
        y = t.utils.checkpoint.checkpoint(f, x, use_reentrant=False)
        y.backward()
        return x.grad


def detach_variable(t):
    return [
        k.requires_grad for k in t.utils.checkpoint.detach_variable((leaf(t), t.ones(1)))
    ], t.utils.checkpoint.detach_variable((leaf(t) * 2, 3))[1]


def detach_variable_of_a_list(t):
    t.utils.checkpoint.detach_variable([leaf(t)])


def check_backward_validity(t):
    t.utils.checkpoint.check_backward_validity([t.ones(1)])


def saved_tensor_read(t):
    x = leaf(t, 0.1)
    y = t.utils.checkpoint.checkpoint(lambda x: (x * x).exp(), x, use_reentrant=False)
    return y.grad_fn._saved_result


def saved_tensor_read_after_backward(t):
    x = leaf(t, 0.1)
    y = t.utils.checkpoint.checkpoint(lambda x: (x * x).exp(), x, use_reentrant=False)
    y.sum().backward()
    return y.grad_fn._saved_result


def closure(t):
    w = leaf(t, 2.0)
    x = t.ones(1)
    y = t.utils.checkpoint.checkpoint(lambda x: x * w * w, x, use_reentrant=False)
    y.backward()
    g = w.grad
    return g


def closure_reentrant(t):
    w = leaf(t, 2.0)
    x = leaf(t, 1.0)
    y = t.utils.checkpoint.checkpoint(lambda x: x * w * w, x, use_reentrant=True)
    y.backward()
    g = w.grad
    return g, x.grad


PROGRAMS = [value for name, value in list(globals().items()) if callable(value) and value.__module__ == __name__]
PROGRAMS = [p for p in PROGRAMS if p.__code__.co_varnames[:1] == ("t",) and p.__code__.co_argcount == 1]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_same_end(program):
    assert_same(program)
