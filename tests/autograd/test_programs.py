"""Programs around autograd: each runs with nbtorch and with PyTorch and must come to the same end, error or value."""

import pytest

from ..against_torch import assert_same


def leaf(t, *values):
    return t.tensor(list(values) or [1.0, 2.0, 3.0], requires_grad=True)


def accumulate(t):
    x = leaf(t)
    for _ in range(3):
        (x * x).sum().backward()
    return x.grad


def zeroed(t):
    x = leaf(t)
    (x * 2).sum().backward()
    x.grad = None
    (x * 3).sum().backward()
    return x.grad


def diamond(t):
    x = leaf(t)
    a, b = x * 2, x * 3
    (a * b + a).sum().backward()
    return x.grad


def different_each_time(t):
    x, ends = leaf(t), []
    for steps in range(4):
        y = x
        for _ in range(steps):
            y = y * x if y.sum() < 20 else y + x
        y.sum().backward()
        ends.append(x.grad.clone())
        x.grad.zero_()
    return ends


def twice(t):
    y = (leaf(t) ** 2).sum()
    y.backward()
    y.backward()


def twice_without_saved(t):
    x = leaf(t)
    y = (x + x).sum()
    y.backward()
    y.backward()
    return x.grad


def retained(t):
    x = leaf(t)
    y = (x**2).sum()
    y.backward(retain_graph=True)
    y.backward()
    return x.grad


def second_order(t):
    x = leaf(t)
    (g,) = t.autograd.grad((x**3).sum(), x, create_graph=True)
    (h,) = t.autograd.grad(g.sum(), x, create_graph=True)
    h.sum().backward()
    return g, h, x.grad


def unused(t):
    return t.autograd.grad(leaf(t).sum(), leaf(t))


def unused_allowed(t):
    x, y = leaf(t), leaf(t)
    return t.autograd.grad(x.sum(), (x, y), allow_unused=True)


def unused_materialized(t):
    x, y = leaf(t), leaf(t)
    return t.autograd.grad(x.sum(), (x, y), materialize_grads=True)


def of_a_middle(t):
    x = leaf(t)
    y = x * 2
    z = (y * y).sum()
    return t.autograd.grad(z, (y, x), retain_graph=True), t.autograd.grad(z, y), x.grad


def several_outputs(t):
    x = leaf(t)
    t.autograd.backward([x.sum(), x * 2], [None, t.ones(3)])
    return x.grad


def only_inputs(t):
    x, y = leaf(t), leaf(t)
    (x * y).sum().backward(inputs=[x])
    return x.grad, y.grad


def hooks(t):
    x, seen = leaf(t), []
    y = x * 2
    y.register_hook(lambda g: seen.append(g) or g * 10)
    handle = x.register_hook(lambda g: g + 1)
    (y * 3).sum().backward()
    first = x.grad.clone()
    handle.remove()
    (x * 1).sum().backward()
    return seen, first, x.grad


def retain_grad(t):
    x = leaf(t)
    y = x * 2
    y.retain_grad()
    (y * y).sum().backward()
    return y.grad, y.is_leaf, y.retains_grad


def post_accumulate(t):
    x, seen = leaf(t), []
    x.register_post_accumulate_grad_hook(lambda p: seen.append(p.grad.clone()))
    (x * 2).sum().backward()
    (x * 2).sum().backward()
    return seen


def node_hooks(t):
    x, seen = leaf(t), []
    y = x * 2
    y.grad_fn.register_hook(lambda grad_inputs, grad_outputs: seen.append(len(grad_inputs)))
    y.grad_fn.register_prehook(lambda grad_outputs: (grad_outputs[0] * 5,))
    y.sum().backward()
    return seen, x.grad


def modified_saved(t):
    x = leaf(t)
    y = x * 1
    z = y * y
    y.add_(1)
    z.sum().backward()


def modified_saved_output(t):
    y = leaf(t).exp()
    z = y * 2
    y.mul_(2)
    z.sum().backward()


def modified_unsaved(t):
    x = leaf(t)
    y = x * 1
    z = y + y
    y.add_(1)
    z.sum().backward()
    return x.grad, y


def modified_leaf_without_recording(t):
    x = leaf(t)
    y = (x * x).sum()
    with t.no_grad():
        x.add_(1)
    y.backward()


def view_made_before(t):
    x = leaf(t)
    base = x * 1
    view = base[1:]
    base.mul_(3)
    return t.autograd.grad(view.sum() + base.sum(), x), view, view.requires_grad


def view_written(t):
    x = leaf(t)
    base = t.zeros(2, 3)
    other = base.view(6)
    base[1] = x
    return t.autograd.grad((other * other).sum(), x), base.requires_grad, other.requires_grad


def nested_views(t):
    x = leaf(t, 1.0, 2.0, 3.0, 4.0)
    y = (x * 1).view(2, 2)
    y.t()[0].mul_(5)
    y[1, 1] = 7.0
    return t.autograd.grad((y * y).sum(), x), y


def detached_shares(t):
    x = t.zeros(3)
    x.detach().add_(1)
    x.data.add_(1)
    return x, x.detach().requires_grad


def no_grad_forms(t):
    x = leaf(t)

    @t.no_grad()
    def decorated():
        return x * 2

    def generator():
        for _ in range(2):
            yield (x * 2).requires_grad

    with t.no_grad():
        inside = x * 2
        with t.enable_grad():
            again = x * 2
    with t.set_grad_enabled(False):
        off = x * 2
    with t.inference_mode():
        inference = x * 2
    quiet = list(t.no_grad()(generator)())
    ends = [v.requires_grad for v in (decorated(), inside, again, off, inference)]
    return ends, quiet, t.is_grad_enabled()


def function_of(t, **members):
    return type("Own", (t.autograd.Function,), {k: staticmethod(v) for k, v in members.items()})


def own_function(t):
    def forward(ctx, x, factor, flag):
        ctx.save_for_backward(x)
        ctx.factor = factor
        return x * x * factor

    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return 2 * ctx.factor * x * grad, None, None

    x = leaf(t)
    y = function_of(t, forward=forward, backward=backward).apply(x, 3.0, "text")
    (g,) = t.autograd.grad(y.sum(), x, create_graph=True)
    return y, g, t.autograd.grad(g.sum(), x), type(y.grad_fn).__name__


def own_function_saving_output(t):
    def forward(ctx, x):
        y = x.exp()
        ctx.save_for_backward(y)
        return y

    def backward(ctx, grad):
        return ctx.saved_tensors[0] * grad

    x = leaf(t)
    y = function_of(t, forward=forward, backward=backward).apply(x)
    y.sum().backward()
    return x.grad


def own_function_two_outputs(t):
    def forward(ctx, a, b):
        ctx.needs = ctx.needs_input_grad
        return a + b, a * 2

    def backward(ctx, g, h):
        return g + 2 * h, g

    a, b = leaf(t), t.ones(3)
    first, second = function_of(t, forward=forward, backward=backward).apply(a, b)
    second.sum().backward()
    return a.grad, first.grad_fn.needs, first.requires_grad


def own_function_unmaterialized(t):
    seen = []

    def forward(ctx, a):
        ctx.set_materialize_grads(False)
        return a * 1, a * 2

    def backward(ctx, g, h):
        seen.append(g is None)
        return h * 2

    a = leaf(t)
    function_of(t, forward=forward, backward=backward).apply(a)[1].sum().backward()
    return seen, a.grad


def own_function_dirty(t):
    def forward(ctx, a):
        a.mul_(2)
        ctx.mark_dirty(a)
        return a

    x = leaf(t)
    y = x * 1
    z = function_of(t, forward=forward, backward=lambda ctx, g: g * 2).apply(y)
    z.sum().backward()
    return z is y, y, x.grad


def own_function_constant_output(t):
    def forward(ctx, a):
        top = a.argmax()
        ctx.mark_non_differentiable(top)
        return a * 1, top

    x = leaf(t)
    values, top = function_of(t, forward=forward, backward=lambda ctx, g, h: g).apply(x)
    return values.requires_grad, top.requires_grad, top


def own_function_setup(t):
    def forward(x, power):
        return x**power

    def setup_context(ctx, inputs, output):
        x, ctx.power = inputs
        ctx.save_for_backward(x)

    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return ctx.power * x ** (ctx.power - 1) * grad, None

    x = leaf(t)
    own = function_of(t, forward=forward, setup_context=setup_context, backward=backward)
    own.apply(x, 3).sum().backward()
    return x.grad


def own_function_wrong_count(t):
    own = function_of(t, forward=lambda ctx, a, b: a + b, backward=lambda ctx, g: g)
    own.apply(leaf(t), leaf(t)).sum().backward()


def own_function_wrong_shape(t):
    own = function_of(t, forward=lambda ctx, a: a * 1, backward=lambda ctx, g: g[:2])
    own.apply(leaf(t)).sum().backward()


def own_function_identity(t):
    x = leaf(t)
    y = function_of(t, forward=lambda ctx, a: a, backward=lambda ctx, g: g * 3).apply(x)
    y.sum().backward()
    return y is x, x.grad, x.is_leaf


def copy_between(t):
    x = leaf(t)
    y = t.zeros(2, 3)
    y.copy_(x)
    return t.autograd.grad((y * y).sum(), x), y.requires_grad


def filled(t):
    x = leaf(t)
    y = x * 2
    y[1:].fill_(5)
    y[0].zero_()
    return t.autograd.grad((y * y).sum(), x), y


def assigned_grad(t):
    x = leaf(t)
    x.grad = t.ones(2)


def deep_copied(t):
    import copy

    x = leaf(t)
    (x * 2).sum().backward()
    y = copy.deepcopy(x)
    y.grad.add_(1)
    return x.grad, y.grad, y.requires_grad, y.is_leaf


def deep_copied_result(t):
    import copy

    return copy.deepcopy(leaf(t) * 2)


PROGRAMS = [value for name, value in list(globals().items()) if callable(value) and value.__module__ == __name__]
PROGRAMS = [p for p in PROGRAMS if p.__name__ not in ("leaf", "function_of")]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_same_end(program):
    assert_same(program)
