"""User-defined functions: each program runs with nbtorch and with PyTorch and must come to the same end."""

import pytest

from ..against_torch import assert_same


def leaf(t, *values):
    return t.tensor(list(values) or [1.0, 2.0, 3.0], requires_grad=True)


def run(t, forward, backward, *args, **members):
    return function_of(t, forward, backward, **members).apply(*args)


def function_of(t, forward, backward=None, **members):
    members = {"forward": forward, **({"backward": backward} if backward else {}), **members}
    return type("Own", (t.autograd.Function,), {k: staticmethod(v) for k, v in members.items()})


def doubled_in_place(ctx, x):
    x.mul_(2)
    ctx.mark_dirty(x)
    return x


def outputs_that_are_no_tensors(t):
    y = run(t, lambda ctx, x: (x * 2, 3, "s", None), lambda ctx, g, *r: (g,), leaf(t))
    return y


def gradients_of_outputs_that_are_no_tensors(t):
    s = []
    x = leaf(t)
    y = run(t, lambda ctx, x: (x * 2, 3, "s", None), lambda ctx, *g: (s.append(len(g)), s.append(g[1:]), g[0])[2], x)
    y[0].sum().backward()
    return s, x.grad


def list_output(t):
    return run(t, lambda ctx, x: [x * 2, x], lambda ctx, *g: g[0], leaf(t))


def no_output(t):
    return run(t, lambda ctx, x: None, lambda ctx, *g: g[0], leaf(t))


def mapping_output(t):
    return run(t, lambda ctx, x: {"a": 1}, lambda ctx, *g: g[0], leaf(t))


def number_output(t):
    return run(t, lambda ctx, x: 3, lambda ctx, *g: g[0], leaf(t))


def keyword(t):
    return function_of(t, lambda ctx, x: x * 2, lambda ctx, g: g).apply(x=leaf(t))


def without_forward(t):
    return type("Own", (t.autograd.Function,), {}).apply(leaf(t))


def without_backward(t):
    y = function_of(t, lambda ctx, x: x * 2).apply(leaf(t))
    y.sum().backward()


def too_few_gradients(t):
    x = leaf(t)
    run(t, lambda ctx, x, y: x + y, lambda ctx, g: g, x, x).sum().backward()


def surplus_of_none(t):
    x = leaf(t)
    run(t, lambda ctx, x: x * 2, lambda ctx, g: (g, None, None), x).sum().backward()
    return x.grad


def too_many_gradients(t):
    x = leaf(t)
    run(t, lambda ctx, x: x * 2, lambda ctx, g: (g, g), x).sum().backward()
    return x.grad


def gradient_of_wrong_type(t):
    x = leaf(t)
    run(t, lambda ctx, x: x * 2, lambda ctx, g: 3.0, x).sum().backward()


def gradient_of_wrong_shape(t):
    x = leaf(t)
    run(t, lambda ctx, x: x * 2, lambda ctx, g: g[:2], x).sum().backward()


def gradient_to_be_summed(t):
    x = leaf(t)
    run(t, lambda ctx, x: x.expand(2, 3) * 1, lambda ctx, g: g, x).sum().backward()
    return x.grad


def gradient_of_other_dtype(t):
    x = leaf(t)
    run(t, lambda ctx, x: x * 2, lambda ctx, g: g.double(), x).sum().backward()
    return x.grad


def gradient_for_a_constant(t):
    x = leaf(t)
    y = t.ones(3)
    run(t, lambda ctx, x, y: x * 2, lambda ctx, g: (g, g), x, y).sum().backward()
    return x.grad, y.grad


def gradient_for_no_tensor(t):
    x = leaf(t)
    run(t, lambda ctx, x, k: x * 2, lambda ctx, g: (g, g), x, 3).sum().backward()
    return x.grad


def no_gradient(t):
    x = leaf(t)
    run(t, lambda ctx, x: x * 2, lambda ctx, g: None, x).sum().backward()
    return x.grad


def no_gradient_through_grad(t):
    x = leaf(t)
    return t.autograd.grad(run(t, lambda ctx, x: x * 2, lambda ctx, g: None, x).sum(), x, allow_unused=True)


def dirty_leaf(t):
    run(t, doubled_in_place, lambda ctx, g: g * 2, leaf(t))


def dirty(t):
    x = leaf(t)
    y = x * 1
    z = run(t, doubled_in_place, lambda ctx, g: g * 2, y)
    z.sum().backward()
    return z is y, x.grad, y._version, y.grad_fn.name()


def dirty_not_returned(t):
    def f(ctx, x):
        x.mul_(2)
        ctx.mark_dirty(x)
        return x * 1

    y = leaf(t) * 1
    return run(t, f, lambda ctx, g: g, y)


def dirty_but_no_input(t):
    def f(ctx, x):
        y = x * 2
        ctx.mark_dirty(y)
        return y

    y = leaf(t) * 1
    return run(t, f, lambda ctx, g: g, y)


def dirty_but_no_tensor(t):
    def f(ctx, x):
        ctx.mark_dirty(3)
        return x * 1

    return run(t, f, lambda ctx, g: g, leaf(t))


def dirty_view(t):
    x = leaf(t)
    b = x * 1
    v = b[:2]
    z = run(t, doubled_in_place, lambda ctx, g: g * 2, v)
    (b * b).sum().backward()
    return x.grad, z is v, b


def dirty_constant(t):
    y = t.ones(3)
    z = run(t, doubled_in_place, lambda ctx, g: g, y)
    return z is y, z, y._version, z.requires_grad


def dirty_constant_becomes_a_result(t):
    def f(ctx, a, b):
        a.add_(b)
        ctx.mark_dirty(a)
        return a

    x = leaf(t)
    y = t.ones(3)
    z = run(t, f, lambda ctx, g: (None, g * 3), y, x)
    z.sum().backward()
    return z is y, y.requires_grad, x.grad


def non_differentiable(t):
    def f(ctx, x):
        o = x * 2
        p = x * 3
        ctx.mark_non_differentiable(p)
        return o, p

    s = []
    x = leaf(t)
    a, b = run(t, f, lambda ctx, g, h: (s.append(h), g)[1], x)
    a.sum().backward()
    return a.requires_grad, b.requires_grad, s, b.grad_fn


def non_differentiable_but_no_tensor(t):
    def f(ctx, x):
        ctx.mark_non_differentiable(3)
        return x * 1

    return run(t, f, lambda ctx, g: g, leaf(t))


def integer_output(t):
    s = []
    x = leaf(t)
    a, b = run(t, lambda ctx, x: (x * 2, x.long()), lambda ctx, g, h: (s.append(h), g)[1], x)
    a.sum().backward()
    return a.requires_grad, b.requires_grad, s, b.grad_fn


def unmaterialized(t):
    s = []

    def f(ctx, x):
        ctx.set_materialize_grads(False)
        return x * 2, x * 3

    x = leaf(t)
    a, _b = run(t, f, lambda ctx, g, h: (s.append(h), g)[1], x)
    a.sum().backward()
    return s


def input_returned(t):
    x = leaf(t)
    y = run(t, lambda ctx, x: x, lambda ctx, g: g * 3, x)
    y.sum().backward()
    return y is x, x.grad, y.grad_fn.name(), y._is_view(), y._base is x


def input_returned_and_changed(t):
    x = leaf(t) * 1
    y = run(t, lambda ctx, x: x, lambda ctx, g: g * 3, x)
    y.add_(1)


def view_returned(t):
    x = leaf(t)
    y = run(t, lambda ctx, x: x[:2], lambda ctx, g: t.cat([g * 3, t.zeros(1)]), x)
    y.sum().backward()
    return x.grad, y.grad_fn.name(), y._is_view()


def view_returned_and_changed(t):
    x = leaf(t) * 1
    y = run(t, lambda ctx, x: x[:2], lambda ctx, g: t.cat([g * 3, t.zeros(1)]), x)
    y.add_(1)


def view_of_a_constant_returned_and_changed(t):
    x = t.ones(3)
    y = run(t, lambda ctx, x: x[:2], lambda ctx, g: t.cat([g * 3, t.zeros(1)]), x)
    y.add_(1)
    return x


def returned_twice(t):
    def f(ctx, x):
        y = x * 2
        return y, y

    x = leaf(t)
    a, b = run(t, f, lambda ctx, g, h: g + h * 10, x)
    s = a is b
    (a + b).sum().backward()
    return s, x.grad


def input_returned_twice(t):
    x = leaf(t)
    a, b = run(t, lambda ctx, x: (x, x), lambda ctx, g, h: g + h * 10, x)
    (a + b).sum().backward()
    return a is b, x.grad


def save_no_tensor(t):
    run(t, lambda ctx, x: (ctx.save_for_backward(3), x * 2)[1], lambda ctx, g: g, leaf(t))


def save_none(t):
    x = leaf(t)
    s = []
    run(
        t,
        lambda ctx, x: (ctx.save_for_backward(None, x), x * 2)[1],
        lambda ctx, g: (s.append(ctx.saved_tensors), g)[1],
        x,
    ).sum().backward()
    return s


def saved_variables(t):
    x = leaf(t)
    s = []
    run(
        t, lambda ctx, x: (ctx.save_for_backward(x), x * 2)[1], lambda ctx, g: (s.append(ctx.saved_variables), g)[1], x
    ).sum().backward()
    return s


def saved_and_changed(t):
    x = leaf(t)
    z = x * 1
    y = run(t, lambda ctx, x: (ctx.save_for_backward(x), x * 2)[1], lambda ctx, g: g * ctx.saved_tensors[0], z)
    z.add_(1)
    y.sum().backward()


def saved_output(t):
    def f(ctx, x):
        y = x * 2
        ctx.save_for_backward(y)
        return y

    x = leaf(t)
    y = run(t, f, lambda ctx, g: g * ctx.saved_tensors[0], x)
    (g,) = t.autograd.grad(y.sum(), x, create_graph=True)
    g.sum().backward()
    return x.grad


def saved_intermediate(t):
    def f(ctx, x):
        y = x * 2
        z = y.exp()
        ctx.save_for_backward(y)
        return z

    x = leaf(t)
    y = run(t, f, lambda ctx, g: g * ctx.saved_tensors[0], x)
    (g,) = t.autograd.grad(y.sum(), x, create_graph=True)
    return g.requires_grad


def freed(t):
    x = leaf(t)
    y = run(t, lambda ctx, x: (ctx.save_for_backward(x), x * 2)[1], lambda ctx, g: g * ctx.saved_tensors[0], x).sum()
    y.backward()
    y.backward()


def nothing_to_free(t):
    x = leaf(t)
    y = run(t, lambda ctx, x: x * 2, lambda ctx, g: g, x).sum()
    y.backward()
    y.backward()
    return x.grad


def freed_and_read(t):
    x = leaf(t)
    y = run(t, lambda ctx, x: (ctx.save_for_backward(x), x * 2)[1], lambda ctx, g: g * ctx.saved_tensors[0], x).sum()
    y.backward()
    y = y.grad_fn.next_functions[0][0]
    return y.saved_tensors


def setup_context(t):
    def sc(ctx, inputs, output):
        ctx.save_for_backward(*inputs)
        ctx.o = output is not None

    x = leaf(t)
    y = run(t, lambda x: x * 2, lambda ctx, g: g * ctx.saved_tensors[0], x, setup_context=sc)
    y.sum().backward()
    return x.grad


def setup_context_that_returns(t):
    def sc(ctx, inputs, output):
        return 3

    return run(t, lambda x: x * 2, lambda ctx, g: g, leaf(t), setup_context=sc)


def once_differentiable(t):
    @t.autograd.function.once_differentiable
    def bw(ctx, g):
        return g * ctx.saved_tensors[0]

    x = leaf(t)
    y = run(t, lambda ctx, x: (ctx.save_for_backward(x), x * 2)[1], bw, x)
    (g,) = t.autograd.grad(y.sum(), x, create_graph=True)
    print(g.requires_grad)
    g.sum().backward()


def needs_input_grad(t):
    x = leaf(t)
    s = []
    run(
        t,
        lambda ctx, x, k, y: (s.append(ctx.needs_input_grad), x * 2)[1],
        lambda ctx, g: (s.append(ctx.needs_input_grad), g, None, None)[1:],
        x,
        3,
        t.ones(3),
    ).sum().backward()
    return s


def needs_input_grad_without_recording(t):
    s = []
    with t.no_grad():
        y = run(t, lambda ctx, x: (s.append(ctx.needs_input_grad), x * 2)[1], lambda ctx, g: g, leaf(t))
    return s, y.requires_grad, y.grad_fn


def modes(t):
    s = []

    def f(ctx, x):
        s.append(t.is_grad_enabled())
        return x * 2

    def b(ctx, g):
        s.append(t.is_grad_enabled())
        return g

    x = leaf(t)
    y = run(t, f, b, x)
    t.autograd.grad(y.sum(), x, create_graph=True, retain_graph=True)
    t.autograd.grad(y.sum(), x)
    return s


def nested(t):
    In = function_of(t, lambda ctx, x: (ctx.save_for_backward(x), x**2)[1], lambda ctx, g: 2 * ctx.saved_tensors[0] * g)

    def b(ctx, g):
        (x,) = ctx.saved_tensors
        with t.enable_grad():
            xx = x.detach().requires_grad_()
            y = In.apply(xx)
        return t.autograd.grad(y, xx, g)[0]

    x = leaf(t)
    y = run(t, lambda ctx, x: (ctx.save_for_backward(x), In.apply(x))[1], b, x)
    y.sum().backward()
    return x.grad


def ctxtypes(t):
    s = []

    def f(ctx, x):
        s.append((type(ctx).__name__, isinstance(ctx, t.autograd.function.FunctionCtx)))
        return x * 2

    y = run(t, f, lambda ctx, g: g, leaf(t))
    return (
        s,
        y.grad_fn.name(),
        type(y.grad_fn).__name__,
        y.grad_fn.next_functions[0][0].name(),
        y.grad_fn.needs_input_grad,
    )


def backward_that_raises(t):
    def b(ctx, g):
        raise KeyError("x")

    run(t, lambda ctx, x: x * 2, b, leaf(t)).sum().backward()


def vjp_instead_of_backward(t):
    own = type(
        "O",
        (t.autograd.Function,),
        {"forward": staticmethod(lambda ctx, x: x * 2), "vjp": staticmethod(lambda ctx, g: g * 5)},
    )
    x = leaf(t)
    own.apply(x).sum().backward()
    return x.grad


def vjp_and_backward(t):
    own = type(
        "O",
        (t.autograd.Function,),
        {
            "forward": staticmethod(lambda ctx, x: x * 2),
            "vjp": staticmethod(lambda ctx, g: g * 5),
            "backward": staticmethod(lambda ctx, g: g * 5),
        },
    )
    x = leaf(t)
    own.apply(x).sum().backward()
    return x.grad


def data_returned(t):
    x = leaf(t)
    y = run(t, lambda ctx, x: x.data, lambda ctx, g: g * 5, x)
    y.sum().backward()
    return x.grad


def methods_that_are_not_static(t):
    class Own(t.autograd.Function):
        def forward(self, x):
            return x * 2

        def backward(self, g):
            return g

    return Own.apply(leaf(t))


def missing_attribute(t):
    def b(ctx, g):
        return ctx.nothere

    run(t, lambda ctx, x: x * 2, b, leaf(t)).sum().backward()


def view_returned_input_saved(t):
    x = leaf(t)
    y = run(t, lambda ctx, x: (ctx.save_for_backward(x), x.view(3))[1], lambda ctx, g: g * ctx.saved_tensors[0], x)
    y.sum().backward()
    return x.grad


def materialized(t):
    s = []
    x = leaf(t)
    _a, b = run(t, lambda ctx, x: (x * 2, x * 3), lambda ctx, g, h: (s.append((g, h)), g)[1], x)
    b.sum().backward()
    return s


def hooks(t):
    s = []
    x = leaf(t)
    y = run(t, lambda ctx, x: x * 2, lambda ctx, g: g, x)
    y.grad_fn.register_hook(lambda gi, go: s.append((gi, go)))
    y.grad_fn.register_prehook(lambda go: s.append(go))
    y.sum().backward()
    return s


def nontensor_only(t):
    return run(t, lambda ctx, k: t.ones(2) * k, lambda ctx, g: None, 3)


def recording_in_forward(t):
    def f(ctx, x):
        with t.enable_grad():
            y = x * 2
        return y

    x = leaf(t)
    y = run(t, f, lambda ctx, g: g * 7, x)
    y.sum().backward()
    return x.grad


def keyword_with_gradient(t):
    s = []
    x = leaf(t)
    w = leaf(t)
    y = function_of(t, lambda ctx, x, y: (s.append(ctx.needs_input_grad), x * y)[1], lambda ctx, g: (g, g * 2)).apply(
        x, y=w
    )
    y.sum().backward()
    return s, x.grad, w.grad


def keyword_without_its_gradient(t):
    s = []
    x = leaf(t)
    w = leaf(t)
    y = function_of(t, lambda ctx, x, y: (s.append(ctx.needs_input_grad), x * y)[1], lambda ctx, g: g).apply(x, y=w)
    y.sum().backward()
    return s, x.grad, w.grad


def keywords_only(t):
    x = leaf(t)
    w = leaf(t)
    y = function_of(t, lambda ctx, x, y: x * y, lambda ctx, g: g).apply(x=x, y=w)
    y.sum().backward()
    return x.grad, w.grad


def keyword_only_parameter(t):
    x = leaf(t)
    y = function_of(t, lambda ctx, x, *, k=3: x * k, lambda ctx, g: g).apply(x, k=4)
    y.sum().backward()
    return y, x.grad


def keyword_and_setup_context(t):
    def sc(ctx, inputs, output):
        s.append(inputs)

    s = []
    x = leaf(t)
    y = function_of(t, lambda x, k=3: x * k, lambda ctx, g: (g, None), setup_context=sc).apply(x, k=4)
    y.sum().backward()
    return y, x.grad, s


def default_and_setup_context(t):
    def sc(ctx, inputs, output):
        s.append(inputs)

    s = []
    x = leaf(t)
    y = function_of(t, lambda x, k=3: x * k, lambda ctx, g: (g, None), setup_context=sc).apply(x)
    y.sum().backward()
    return y, x.grad, s


def unknown_keyword(t):
    return function_of(t, lambda ctx, x: x * 2, lambda ctx, g: g).apply(leaf(t), zz=3)


def dirty_view_and_another_output(t):
    def f(ctx, x):
        x.mul_(2)
        ctx.mark_dirty(x)
        return x, x * 1

    b = leaf(t) * 1
    v = b[:2]
    return run(t, f, lambda ctx, g, h: g, v)


def dirty_view_of_a_leaf(t):
    def f(ctx, x):
        x.mul_(2)
        ctx.mark_dirty(x)
        return x

    b = leaf(t)
    v = b[:2]
    return run(t, f, lambda ctx, g: g, v)


def dirty_piece(t):
    def f(ctx, x):
        x.mul_(2)
        ctx.mark_dirty(x)
        return x

    b = leaf(t) * 1
    v = b.split(1)[0]
    return run(t, f, lambda ctx, g: g, v)


def two_views_returned_and_changed(t):
    x = leaf(t) * 1
    a, _b = run(t, lambda ctx, x: (x[:2], x[1:]), lambda ctx, g, h: t.cat([g, h[:1]]), x)
    a.add_(1)


def view_returned_base_changed(t):
    x = leaf(t) * 1
    y = run(t, lambda ctx, x: x[:2], lambda ctx, g: t.cat([g * 3, t.zeros(1)]), x)
    x.add_(1)
    return y * 2


def constant_returned(t):
    x = t.ones(2)
    y = run(t, lambda ctx, x: x, lambda ctx, g: g, x)
    return y is x, y._is_view()


def input_returned_non_differentiable(t):
    def f(ctx, x):
        ctx.mark_non_differentiable(x)
        return x

    x = leaf(t)
    y = run(t, f, lambda ctx, g: g, x)
    return y.requires_grad, y is x


def saved_tensors_in_forward(t):
    def f(ctx, x):
        ctx.save_for_backward(x)
        return x * 2, len(ctx.saved_tensors)

    return run(t, f, lambda ctx, g, h: g, leaf(t))


def saved_twice(t):
    def f(ctx, x):
        ctx.save_for_backward(x)
        ctx.save_for_backward(x * 1, x)
        return x * 2

    x = leaf(t)
    s = []
    y = run(t, f, lambda ctx, g: (s.append(len(ctx.saved_tensors)), g)[1], x)
    y.sum().backward()
    return s


def save_list(t):
    def f(ctx, x):
        ctx.save_for_backward([x])
        return x * 2

    return run(t, f, lambda ctx, g: g, leaf(t))


def output_changed(t):
    x = leaf(t)
    y = run(t, lambda ctx, x: x * 2, lambda ctx, g: g, x)
    y.mul_(3)
    y.sum().backward()
    return x.grad


def jvp_missing(t):
    t.autograd.Function.jvp(None)


def vmap_missing(t):
    t.autograd.Function.vmap(
        None,
        (),
    )


def materialize_wrong_type(t):
    def f(ctx, x):
        ctx.set_materialize_grads(3)
        return x * 2

    return run(t, f, lambda ctx, g: g, leaf(t))


PROGRAMS = [value for name, value in list(globals().items()) if callable(value) and value.__module__ == __name__]
PROGRAMS = [p for p in PROGRAMS if p.__code__.co_varnames[:1] == ("t",) and p.__code__.co_argcount == 1]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_same_end(program):
    assert_same(program)
