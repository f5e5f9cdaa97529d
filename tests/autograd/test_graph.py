"""The graph as users see it: hooks, edges, saved tensors, anomaly detection, modes."""

import pytest

from ..against_torch import assert_same


def leaf(t, *values):
    return t.tensor(list(values) or [1.0, 2.0, 3.0], requires_grad=True)


def multi_grad_hook(t):
    s = []
    a = leaf(t)
    b = leaf(t)
    c = a * b
    d = a * b
    h = t.autograd.graph.register_multi_grad_hook((a, b, c, d), lambda gs: s.append([g is not None for g in gs]))
    c.sum().backward(retain_graph=True)
    c.sum().backward(inputs=(a,), retain_graph=True)
    h.remove()
    c.sum().backward()
    return s


def multi_grad_hook_unknown_mode(t):
    t.autograd.graph.register_multi_grad_hook((leaf(t),), print, mode="x")


def multi_grad_hook_of_a_constant(t):
    t.autograd.graph.register_multi_grad_hook((t.ones(2),), print)


def variable(t):
    v = t.autograd.Variable(t.ones(2), requires_grad=True)
    return v, isinstance(v, t.autograd.Variable), type(v).__name__


def mutation_allowed(t):
    with t.autograd.graph.allow_mutation_on_saved_tensors():
        a = t.ones(2, 3, requires_grad=True)
        b = a.clone()
        out = (b**2).sum()
        b.sin_()
        out.sum().backward()
        return a.grad


def mutation_allowed_nested(t):
    with t.autograd.graph.allow_mutation_on_saved_tensors(), t.autograd.graph.allow_mutation_on_saved_tensors():
        pass


def mutation_of_an_output(t):
    with t.autograd.graph.allow_mutation_on_saved_tensors():
        a = t.ones(2, 3, requires_grad=True)
        b = a.exp()
        c = b * b
        b.zero_()
        c.sum().backward()
        return a.grad


def save_on_cpu_double_backward(t):
    a = leaf(t)
    with t.autograd.graph.save_on_cpu():
        y = (a.exp() * a).sum()
    (g,) = t.autograd.grad(y, a, create_graph=True)
    g.sum().backward()
    return a.grad


def save_on_cpu_arguments(t):
    a = leaf(t)
    with t.autograd.graph.save_on_cpu(pin_memory=False, device_type="cuda"):
        y = (a.exp() * a).sum()
    return y


def hooks_double_backward(t):
    a = leaf(t)
    with t.autograd.graph.saved_tensors_hooks(lambda x: x.detach().clone(), lambda x: x):
        y = (a.exp() * a**3).sum()
    (g,) = t.autograd.grad(y, a, create_graph=True)
    g.sum().backward()
    return a.grad


def hooks_through_numpy(t):
    a = leaf(t)
    with t.autograd.graph.saved_tensors_hooks(lambda x: x.detach().numpy().copy(), lambda x: t.from_numpy(x)):
        y = (a.exp() * a**3).sum()
    y.backward()
    return a.grad


def hooks_disabled(t):
    graph = t.autograd.graph
    hooks = graph.saved_tensors_hooks(lambda x: x, lambda x: x)
    with graph.disable_saved_tensors_hooks("first"), graph.disable_saved_tensors_hooks("second"):
        pass
    with hooks:
        pass
    with graph.disable_saved_tensors_hooks("disabled"), hooks:
        pass


def hooks_in_force_when_disabled(t):
    graph = t.autograd.graph
    with graph.saved_tensors_hooks(lambda x: x, lambda x: x), graph.disable_saved_tensors_hooks("disabled"):
        pass


def increment_version(t):
    a = t.ones(2)
    t.autograd.graph.increment_version(a)
    t.autograd.graph.increment_version([a, a])
    return a._version


def increment_version_of_saved(t):
    a = leaf(t)
    y = (a * a).sum()
    t.autograd.graph.increment_version(a)
    y.backward()


def attributes_of_nodes(t):
    a = leaf(t)
    y = a * 2
    n = y.grad_fn
    return (
        n.name(),
        n.metadata,
        isinstance(n, t.autograd.graph.Node),
        issubclass(type(n), t.autograd.graph.Node),
        type(n).__name__,
        n.next_functions[0][0].name(),
        n.next_functions[0][1],
        n.next_functions[1],
    )


def accumulate_grad(t):
    a = leaf(t)
    y = a * 2
    n = y.grad_fn.next_functions[0][0]
    m = (a * 3).grad_fn.next_functions[0][0]
    s = []
    h = n.register_hook(lambda gi, go: s.append((gi, go)))
    n.register_prehook(lambda go: (go[0] * 10,))
    y.sum().backward()
    h.remove()
    return n is m, s, a.grad, n.variable is a


def gradient_edge(t):
    a = leaf(t)
    y = a * 2
    e = t.autograd.graph.get_gradient_edge(y)
    f = t.autograd.graph.get_gradient_edge(a)
    return (
        e.output_nr,
        e.node is y.grad_fn,
        len(e),
        f.node.name(),
        e == t.autograd.graph.get_gradient_edge(y),
        e.ownership_token,
        t.autograd.graph.GradientEdge(y.grad_fn, 0) == e,
    )


def gradient_edge_made_by_hand(t):
    a = leaf(t)
    y = a * 2
    return t.autograd.grad(t.autograd.graph.GradientEdge(y.grad_fn, 0), a, t.ones(3))


def gradient_edge_as_input(t):
    a = leaf(t)
    y = a * 2
    z = (y * y).sum()
    e = t.autograd.graph.get_gradient_edge(y)
    del y
    return t.autograd.grad(z, e)


def gradient_edge_materialized(t):
    a = leaf(t)
    return t.autograd.grad(a.sum(), t.autograd.graph.get_gradient_edge(leaf(t)), materialize_grads=True)


def names_of_saved_tensors(t):
    a = leaf(t)
    b = leaf(t)
    y = a * b
    return (
        y.grad_fn._saved_self is a,
        y.grad_fn._saved_other is b,
        a.exp().grad_fn._saved_result,
        a.tanh().grad_fn._saved_result,
        a.sin().grad_fn._saved_self is a,
        (a**2).grad_fn._saved_self is a,
        (a / b).grad_fn._saved_other is b,
    )


def raw_saved_freed(t):
    a = leaf(t)
    y = a * a
    r = y.grad_fn._raw_saved_self
    y.sum().backward()
    r.register_hooks(lambda x: x, lambda x: x)


def raw_saved_hooks(t):
    a = leaf(t)
    y = a.exp()
    y.grad_fn._raw_saved_result.register_hooks(lambda x: x * 1, lambda x: x * 2)
    y.sum().backward()
    return a.grad


def saved_none(t):
    a = leaf(t)
    y = a * t.ones(3)
    return y.grad_fn._saved_self


def anomaly_nan(t):
    x = t.zeros(1, requires_grad=True)
    with t.autograd.detect_anomaly():
        (x.sqrt() * 0).sum().backward()


def anomaly_without_nan_check(t):
    x = t.zeros(1, requires_grad=True)
    with t.autograd.detect_anomaly(check_nan=False):
        (x.sqrt() * 0).sum().backward()
        return x.grad


def anomaly_without_forward(t):
    x = t.zeros(1, requires_grad=True)
    y = (x.sqrt() * 0).sum()
    with t.autograd.set_detect_anomaly(True):
        y.backward()


def anomaly_in_a_function(t):
    class B(t.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, g):
            raise KeyError("zz")

    x = t.zeros(1, requires_grad=True)
    with t.autograd.set_detect_anomaly(True):
        B.apply(x).sum().backward()


def anomaly_second_order(t):
    x = t.zeros(1, requires_grad=True)
    with t.autograd.set_detect_anomaly(True):
        (g,) = t.autograd.grad((x**1.5).sum(), x, create_graph=True)
        g.sum().backward()
        return x.grad


def multithreading(t):
    with t.autograd.set_multithreading_enabled(False):
        pass
    t.autograd.set_multithreading_enabled(True)
    return t.autograd.grad_mode.set_multithreading_enabled.__name__


def generator(t):
    @t.no_grad()
    def g():
        x = yield t.is_grad_enabled()
        try:
            yield x
        except ValueError:
            yield t.is_grad_enabled()

    k = g()
    a = [next(k), t.is_grad_enabled(), k.send(5), k.throw(ValueError), t.is_grad_enabled()]
    return a


def decorated_class(t):
    @t.no_grad()
    class A:
        def __init__(self):
            self.g = t.is_grad_enabled()

    return A().g


def set_grad_enabled(t):
    a = []

    @t.set_grad_enabled(False)
    def f():
        return t.is_grad_enabled()

    a += [f(), t.is_grad_enabled()]
    t.set_grad_enabled(False)
    a.append(t.is_grad_enabled())
    t.set_grad_enabled(True)
    with t.set_grad_enabled(False):
        a.append(t.is_grad_enabled())
    a.append(t.is_grad_enabled())
    return a


def decorators(t):
    @t.no_grad
    def f():
        return t.is_grad_enabled()

    @t.enable_grad()
    def g():
        return t.is_grad_enabled()

    with t.no_grad():
        return f(), g(), f.__name__


def mode_of_threads(t):
    import threading

    s = []
    with t.no_grad():
        thread = threading.Thread(target=lambda: s.append(t.is_grad_enabled()))
        thread.start()
        thread.join()
    return s


def backward_in_threads(t):
    import threading

    w = leaf(t)

    def f():
        for _ in range(50):
            (w * w).sum().backward()

    ts = [threading.Thread(target=f) for _ in range(4)]
    [t.start() for t in ts]
    [t.join() for t in ts]
    return w.grad


def leaf_made_without_recording(t):
    with t.no_grad():
        x = t.ones(2, requires_grad=True)
        return x.requires_grad, (x * 2).requires_grad


PROGRAMS = [value for name, value in list(globals().items()) if callable(value) and value.__module__ == __name__]
PROGRAMS = [p for p in PROGRAMS if p.__code__.co_varnames[:1] == ("t",) and p.__code__.co_argcount == 1]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_same_end(program):
    assert_same(program)
