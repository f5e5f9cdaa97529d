"""Views made without recording, and inference mode, compared with PyTorch."""

import pytest

from ..against_torch import assert_same


def leaf(t):
    return t.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)


def ng_view_then_ng_mod(t):
    w = leaf(t)
    with t.no_grad():
        v = w[0]
        a = v.requires_grad
        w.mul_(2)
    return a, v.requires_grad, v.grad_fn, (v * 2).requires_grad


def ng_view_then_mod_base(t):
    w = leaf(t) * 1
    with t.no_grad():
        v = w[0]
    w.mul_(2)
    return v.requires_grad


def ng_view_then_mod_base_use(t):
    w = leaf(t) * 1
    with t.no_grad():
        v = w[0]
    w.mul_(2)
    return v * 2


def ng_view_mod(t):
    w = leaf(t) * 1
    with t.no_grad():
        v = w[0]
    v.mul_(2)


def ng_view_mod_plain(t):
    w = t.zeros(2, 2)
    with t.no_grad():
        v = w[0]
    v.mul_(2)
    v.mul_(t.ones(2, requires_grad=True))


def ng_view_of_view(t):
    w = leaf(t) * 1
    u = w[0]
    with t.no_grad():
        v = u[:1]
    v.mul_(2)


def view_of_ng_view(t):
    w = leaf(t) * 1
    with t.no_grad():
        v = w[0]
    v[:1].mul_(2)


def split_mod(t):
    w = leaf(t) * 1
    w.split(1)[1].mul_(2)


def split_list_mod(t):
    w = leaf(t) * 1
    w.split([1, 1])[1].mul_(2)


def unbind_mod(t):
    w = leaf(t) * 1
    w.unbind()[1].mul_(2)


def iter_mod(t):
    w = leaf(t) * 1
    for r in w:
        r.mul_(2)


def chunk_mod(t):
    w = leaf(t) * 1
    w.chunk(2)[1].mul_(2)


def tsplit_mod(t):
    w = leaf(t) * 1
    w.tensor_split(2)[1].mul_(2)
    return w


def view_of_split(t):
    w = leaf(t) * 1
    w.split(1)[1][0].mul_(2)


def split_base_mod(t):
    w = leaf(t) * 1
    a = w.split(1)
    w.mul_(2)
    return a[0] * 2


def split_leaf(t):
    leaf(t).split(1)[0].add_(1)


def split_plain(t):
    w = t.zeros(2, 2)
    a = w.split(1)[0]
    a.add_(1)
    a.mul_(leaf(t))


def split_nograd_inplace(t):
    w = leaf(t) * 1
    a = w.split(1)[0]
    with t.no_grad():
        a.add_(1)
    return w, a * 2


def inf(t):
    w = leaf(t)
    with t.inference_mode():
        a = t.ones(2)
        b = w * 2
        c = w[0]
        d = t.zeros(2, 2)[0]
        e = w.clone()
        f = a.view(1, 2)
        g = w.detach()
        out = [t.is_inference() for t in (a, b, c, d, e, f, g)] + [t.requires_grad for t in (b, c, e)]
        a.add_(1)
    out += [t.is_inference() for t in (a * 2, a.clone(), a[0], a.detach(), a.data, a.to(t.float64), a.float())]
    return out


def made(t):
    with t.inference_mode():
        return t.ones(2)


def inf_inplace(t):
    made(t).add_(1)


def inf_inplace_ng(t):
    with t.no_grad():
        made(t).add_(1)


def inf_save(t):
    made(t) * t.ones(2, requires_grad=True)


def inf_save2(t):
    return made(t) + t.ones(2, requires_grad=True)


def inf_rg(t):
    made(t).requires_grad_()


def inf_rg2(t):
    with t.inference_mode():
        return t.ones(2, requires_grad=True).requires_grad, t.ones(2).requires_grad_().requires_grad


def inf_version(t):
    return made(t)._version


def inf_view_inplace(t):
    w = leaf(t) * 1
    with t.inference_mode():
        v = w[0]
    v.mul_(2)


def inf_view_inplace2(t):
    with t.inference_mode():
        w = t.ones(2, 2)
    w[0].mul_(2)


def inf_normal_inplace(t):
    w = t.ones(2)
    with t.inference_mode():
        w.add_(1)
        return w._version


def inf_leaf_inplace(t):
    w = leaf(t)
    with t.inference_mode():
        w.add_(1)
        return w._version


def inf_copy(t):
    w = t.ones(2)
    w.copy_(made(t))
    return w


def inf_param(t):
    return t.nn.Parameter(made(t))


def inf_lin(t):
    layer = t.nn.Linear(2, 2)
    layer(made(t))


def inf_bk(t):
    w = leaf(t)
    y = (w * w).sum()
    with t.inference_mode():
        y.backward()
    return w.grad


def inf_enable(t):
    w = leaf(t)
    with t.inference_mode(), t.enable_grad():
        return (w * 2).requires_grad, t.is_grad_enabled(), t.is_inference_mode_enabled()


def inf_false(t):
    w = leaf(t)
    with t.inference_mode(), t.inference_mode(False):
        return (w * 2).requires_grad, t.is_grad_enabled()


def inf_false_ng(t):
    w = leaf(t)
    with t.no_grad(), t.inference_mode(False):
        return (w * 2).requires_grad, t.is_grad_enabled()


def inf_iter(t):
    return [k.is_inference() for k in made(t)]


def inf_is(t):
    return t.is_inference(made(t)), t.is_inference(t.ones(1))


def inf_setdata(t):
    w = t.ones(2)
    w.data = made(t)
    return w.is_inference()


def inf_setgrad(t):
    w = t.ones(2, requires_grad=True)
    w.grad = made(t)
    (w * 2).sum().backward()
    return w.grad


def inf_numpy(t):
    return made(t).numpy()


def inf_deco(t):
    @t.inference_mode()
    def f():
        return t.ones(1).is_inference()

    @t.inference_mode
    def g():
        return t.ones(1).is_inference()

    @t.inference_mode(mode=False)
    def h():
        return t.ones(1).is_inference()

    return f(), g(), h()


PROGRAMS = [value for name, value in list(globals().items()) if callable(value) and value.__module__ == __name__]
PROGRAMS = [p for p in PROGRAMS if p.__code__.co_varnames[:1] == ("t",) and p.__code__.co_argcount == 1]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_same_end(program):
    assert_same(program)
