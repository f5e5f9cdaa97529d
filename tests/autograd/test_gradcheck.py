"""gradcheck and gradgradcheck accept what PyTorch's accept, and refuse what they refuse, in both modes."""

import math

import pytest

from ..against_torch import assert_same


def doubles(t, *shape, requires_grad=True):
    values = t.linspace(0.3, 1.7, math.prod(shape), dtype=t.float64)
    return values.reshape(shape).clone().requires_grad_(requires_grad)


def function(t, forward, backward):
    return type("Own", (t.autograd.Function,), {"forward": staticmethod(forward), "backward": staticmethod(backward)})


def good(x):
    return (x * x).sin()


def right(t, check, **options):
    return [
        check(good, doubles(t, 3), **options),
        check(lambda x, y: (x @ y, x.exp()), (doubles(t, 2, 3), doubles(t, 3, 2)), **options),
        check(lambda x, n, y: x * n * x + y, (doubles(t, 2), 3, doubles(t, 2, requires_grad=False)), **options),
        check(good, doubles(t), **options),
        check(good, doubles(t, 0), **options),
        check(good, doubles(t, 2, 3).t().detach().requires_grad_(), **options),
        check(lambda x: [x * x, x.exp()], [doubles(t, 2)], **options),
    ]


def all_options(t, check, **options):
    return check(good, doubles(t, 2), check_batched_grad=True, check_grad_dtypes=True, nondet_tol=1.0, **options)


def wrong(t, check, **options):
    return check(function(t, lambda ctx, x: x * x, lambda ctx, g: g * 3).apply, doubles(t, 2), **options)


def wrong_returned(t, check, **options):
    return wrong(t, check, raise_exception=False, **options)


def single_precision(t, check, **options):
    x = t.ones(2, requires_grad=True)
    return check(good, x, eps=1e-3, atol=1e-1, rtol=1e-1, **options)


def nothing_to_check(t, check, **options):
    return check(good, doubles(t, 2, requires_grad=False), **options)


def overlapping(t, check, **options):
    return check(good, doubles(t, 1).expand(3), **options)


def undetermined(t, check, nondet_tol=0.0, **options):
    calls = []

    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    def backward(ctx, g):
        calls.append(1)
        return g * 2 * ctx.saved_tensors[0] + len(calls) * 1e-9

    return check(function(t, forward, backward).apply, doubles(t, 2), nondet_tol=nondet_tol, **options)


def gradient_ignored(t, check, **options):
    return check(function(t, lambda ctx, x: x * 1, lambda ctx, g: t.ones_like(g)).apply, doubles(t, 1), **options)


def unmaterialized(t, check, backward=lambda ctx, g: g * 2, **options):
    def forward(ctx, x):
        ctx.set_materialize_grads(False)
        return x * 2

    return check(function(t, forward, backward).apply, doubles(t, 2), **options)


def unmaterialized_unchecked(t, check, **options):
    return unmaterialized(t, check, check_undefined_grad=False, **options)


def unmaterialized_handled(t, check, **options):
    return unmaterialized(t, check, backward=lambda ctx, g: None if g is None else g * 2, **options)


@pytest.mark.parametrize("fast_mode", [False, True], ids=["slow", "fast"])
@pytest.mark.parametrize(
    "program",
    [
        right,
        all_options,
        wrong,
        wrong_returned,
        single_precision,
        nothing_to_check,
        overlapping,
        undetermined,
        gradient_ignored,
        unmaterialized,
        unmaterialized_unchecked,
        unmaterialized_handled,
    ],
    ids=lambda p: p.__name__,
)
def test_gradcheck(program, fast_mode):
    assert_same(lambda t: program(t, t.autograd.gradcheck, fast_mode=fast_mode))


def detached(t):
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    once = function(t, forward, lambda ctx, g: 2 * ctx.saved_tensors[0].detach() * g)
    return t.autograd.gradgradcheck(once.apply, doubles(t, 2))


def seeds_given(t):
    seed = t.ones(2, dtype=t.float64)
    check = t.autograd.gradgradcheck
    return check(good, doubles(t, 2), seed), check(good, (doubles(t, 2),), (seed.clone().requires_grad_(),))


def spread_seeds(t):
    return t.autograd.gradgradcheck(lambda x: x @ x.t(), doubles(t, 2, 3), gen_non_contig_grad_outputs=True)


def second_order(t):
    return right(t, t.autograd.gradgradcheck), right(t, t.autograd.gradgradcheck, fast_mode=True)


@pytest.mark.parametrize("program", [detached, seeds_given, spread_seeds, second_order], ids=lambda p: p.__name__)
def test_gradgradcheck(program):
    assert_same(program)


def test_options_that_exclude_each_other():
    def constant(t, check, **options):
        getattr(t.autograd, check)(good, doubles(t, 2), **options)

    for check, options in (
        ("gradcheck", {"check_backward_ad": False}),
        ("gradcheck", {"check_backward_ad": False, "check_forward_ad": True, "check_batched_grad": True}),
        ("gradcheck", {"check_batched_forward_grad": True}),
        ("gradgradcheck", {"check_rev_over_rev": False}),
        ("gradgradcheck", {"check_rev_over_rev": False, "check_fwd_over_rev": True}),
    ):
        assert_same(lambda t, check=check, options=options: constant(t, check, **options))
