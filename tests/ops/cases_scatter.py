"""Rows for gathering and scattering."""

import numpy as np

from .case import EVERYTHING, FLOATS, NUMBERS, Case, of


def _unique(t, a):
    """Return indices that do not repeat along the first dimension."""
    return t.tensor([[3, 0, 1], [0, 2, 3]], device=a.device)


x, s, i = of(4, 3), of(2, 3), of(2, 3, kind="index", high=4)
big, rows, at = of(4, 5, 3), of(6, 5, 3), of(6, kind="index", high=4)


def _reductions() -> list[Case]:
    cases = []
    for reduce in ("sum", "prod", "mean", "amax", "amin"):
        for keep in (True, False):
            label = f"{reduce}{'' if keep else '-alone'}"
            numbers = NUMBERS if reduce != "prod" else (*FLOATS, "int32", "int64")
            cases.append(
                Case(
                    f"scatter_reduce-{label}",
                    lambda t, a, b, i, reduce=reduce, keep=keep: a.scatter_reduce(0, i, b, reduce, include_self=keep),
                    (of(4, 3), of(6, 3), of(6, 3, kind="index", high=4)),
                    None,
                    numbers,
                    tolerance=4,
                )
            )
            if reduce != "sum":
                cases.append(
                    Case(
                        f"index_reduce-{label}",
                        lambda t, a, b, i, reduce=reduce, keep=keep: t.index_reduce(
                            a, 0, i, b, reduce, include_self=keep
                        ),
                        (of(4, 2), of(6, 2), at),
                        None,
                        FLOATS,
                        tolerance=4,
                    )
                )
    return cases


def _zeros_in_product(t, a, b, i):
    keep = t.tensor([[1.0, 0, 1], [0, 0, 1], [1, 1, 1]], dtype=b.dtype, device=b.device)
    return a.scatter_reduce(0, i, b * keep, "prod")


def _in_place(t, a, b, i):
    c = a * 1
    c.scatter_add_(0, i, b).index_fill_(1, t.tensor([0], device=a.device), 2.0)
    c.index_add_(0, t.tensor([1, 1], device=a.device), b, alpha=3)
    return c * a


CASES = [
    Case("scatter", lambda t, a, b: a.scatter(0, _unique(t, a), b), (x, s), None, EVERYTHING),
    Case("scatter-value", lambda t, a: t.scatter(a, 0, _unique(t, a), 2), (x,), None, NUMBERS),
    Case("scatter-dim1", lambda t, a, i: a.scatter(1, i, 1.5), (x, of(2, 2, kind="index", high=3))),
    Case("scatter-add", lambda t, a, b: a.scatter(0, _unique(t, a), b, reduce="add"), (x, s), gradients=False),
    Case("scatter-multiply", lambda t, a: a.scatter(0, _unique(t, a), 3.0, reduce="multiply"), (x,), gradients=False),
    Case("scatter_add", lambda t, a, b, i: t.scatter_add(a, 0, i, b), (x, s, i), None, NUMBERS),
    *_reductions(),
    Case(
        "scatter_reduce-zeros", _zeros_in_product, (x, of(3, 3), of(3, 3, kind="index", high=2)), second_gradients=False
    ),
    Case("index_add", lambda t, a, b, i: a.index_add(0, i, b, alpha=2), (big, rows, at), None, NUMBERS),
    Case("index_add-dim", lambda t, a, b, i: t.index_add(a, 1, i, b), (of(2, 4), of(2, 6), at)),
    Case("index_copy", lambda t, a, b: a.index_copy(0, t.tensor([2, 0], device=a.device), b), (x, s), None, EVERYTHING),
    Case("index_fill", lambda t, a: a.index_fill(1, t.tensor([2, -3], device=a.device), 7), (x,), None, NUMBERS),
    Case("index_fill-tensor", lambda t, a, v: a.index_fill(0, t.tensor([1, 1, 2], device=a.device), v), (x, of())),
    Case(
        "masked_scatter",
        lambda t, a, m, b: a.masked_scatter(m, b),
        (x, of(4, 3, kind="mask"), of(4, 5)),
        None,
        EVERYTHING,
    ),
    Case("take", lambda t, a: a.take(t.tensor([[0, 5], [-1, 5]], device=a.device)), (x,), None, EVERYTHING),
    Case("put", lambda t, a, b: a.put(t.tensor([1, -2], device=a.device), b), (x, of(2)), None, EVERYTHING),
    Case("put-add", lambda t, a, b: a.put(t.tensor([1, 1], device=a.device), b, True), (x, of(2)), None, NUMBERS),
    Case(
        "take_along_dim",
        lambda t, a, i: t.take_along_dim(a, i, 1),
        (x, of(1, 5, kind="index", high=3)),
        lambda a, i: np.take_along_axis(a, np.broadcast_to(i, (4, 5)), 1),
        EVERYTHING,
    ),
    Case("take_along_dim-flat", lambda t, a, i: a.take_along_dim(i), (x, i)),
    Case("scatter-inplace", _in_place, (x, s, i)),
    Case("argwhere", lambda t, a: t.argwhere(a > 0), (x,), lambda a: np.argwhere(a > 0), gradients=False),
]
