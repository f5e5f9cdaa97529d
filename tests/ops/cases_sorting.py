"""Rows for sorting, searching, sets and scans."""

import numpy as np

from .case import EVERYTHING, FLOATS, NUMBERS, Case, of

d, x = of(2, 5, 3, kind="distinct"), of(2, 5, 3)
v = of(9)
INTEGERS = ("uint8", "int8", "int32", "int64")


def _with_nan(t, a):
    return t.where(a > 0.8, t.tensor(float("nan"), dtype=a.dtype, device=a.device), a)


CASES = [
    Case("sort", lambda t, a: tuple(a.sort(1)), (d,), lambda a: (np.sort(a, 1), np.argsort(a, 1)), NUMBERS),
    Case("sort-descending", lambda t, a: tuple(t.sort(a, dim=1, descending=True, stable=True)), (d,), None, NUMBERS),
    Case("sort-nan", lambda t, a: tuple(_with_nan(t, a).sort(1, descending=True)), (d,), gradients=False),
    Case("argsort", lambda t, a: a.argsort(dim=-1, stable=True), (x,), None, EVERYTHING, gradients=False),
    Case("msort", lambda t, a: t.msort(a), (d,), lambda a: np.sort(a, 0)),
    Case("topk", lambda t, a: tuple(a.topk(2, 1)), (d,), None, FLOATS),
    Case("topk-smallest", lambda t, a: tuple(t.topk(a, 3, 1, largest=False)), (d,), None, FLOATS),
    Case("topk-all", lambda t, a: tuple(t.topk(a, 3)), (d,), None, FLOATS),
    Case("topk-nan", lambda t, a: _with_nan(t, a).topk(2)[0], (of(3, 8, kind="distinct"),), gradients=False),
    Case("kthvalue", lambda t, a: tuple(a.kthvalue(2, 1)), (d,), None, FLOATS),
    Case("kthvalue-keep", lambda t, a: tuple(t.kthvalue(a, 3, keepdim=True)), (d,)),
    Case("median", lambda t, a: a.median(), (d,), None, FLOATS),
    Case("median-dim", lambda t, a: tuple(a.median(1)), (d,), None, FLOATS),
    Case("median-nan", lambda t, a: tuple(_with_nan(t, a).median(1)), (d,), gradients=False),
    Case("nanmedian", lambda t, a: tuple(_with_nan(t, a).nanmedian(1, True)), (d,), gradients=False),
    Case("mode", lambda t, a: a.mode(1)[0], (x,), None, NUMBERS),
    Case("quantile", lambda t, a: a.quantile(0.3, 1), (d,), lambda a: np.quantile(a, 0.3, 1), tolerance=2),
    Case(
        "quantile-several",
        lambda t, a: t.quantile(a, t.tensor([0.1, 0.75], dtype=a.dtype, device=a.device), 1, keepdim=True),
        (d,),
        lambda a: np.quantile(a, (0.1, 0.75), 1, keepdims=True),
        tolerance=2,
    ),
    Case("quantile-flat", lambda t, a: t.quantile(a, 0.5, keepdim=True, interpolation="midpoint"), (d,)),
    *[
        Case(
            f"quantile-{how}",
            lambda t, a, how=how: t.quantile(a, 0.4, 1, interpolation=how),
            (of(3, 4, kind="distinct"),),
        )
        for how in ("lower", "higher", "nearest")
    ],
    Case("quantile-nan", lambda t, a: _with_nan(t, a).quantile(0.4, 1), (d,), gradients=False),
    Case("nanquantile", lambda t, a: _with_nan(t, a).nanquantile(0.4, 1), (d,), gradients=False, tolerance=2),
    Case(
        "unique",
        lambda t, a: t.unique(a, return_inverse=True, return_counts=True),
        (x,),
        None,
        EVERYTHING,
        gradients=False,
    ),
    Case("unique-dim", lambda t, a: t.unique(a.trunc(), return_inverse=True, dim=0), (of(7, 2),), gradients=False),
    Case(
        "unique_consecutive",
        lambda t, a: t.unique_consecutive(a.trunc(), return_inverse=True, return_counts=True),
        (of(4, 5),),
        gradients=False,
    ),
    Case(
        "unique_consecutive-dim",
        lambda t, a: t.unique_consecutive(a > 0, dim=1, return_counts=True),
        (of(2, 7),),
        gradients=False,
    ),
    Case(
        "searchsorted",
        lambda t, a, b: t.searchsorted(a.sort()[0], b),
        (of(2, 6), of(2, 4)),
        None,
        NUMBERS,
        gradients=False,
    ),
    Case(
        "searchsorted-right",
        lambda t, a, b: t.searchsorted(a.sort()[0], b, side="right", out_int32=True),
        (v, x),
        None,
        NUMBERS,
        gradients=False,
    ),
    Case("searchsorted-sorter", lambda t, a, b: t.searchsorted(a, b, sorter=a.argsort()), (v, x), gradients=False),
    Case("bucketize", lambda t, a, b: t.bucketize(a, b.sort()[0], right=True), (x, v), None, NUMBERS, gradients=False),
    Case("isin", lambda t, a, b: t.isin(a, b, invert=True), (x, v), None, INTEGERS, gradients=False),
    Case("histc", lambda t, a: t.histc(a, 7, -2, 2), (of(40),), None, FLOATS, gradients=False),
    Case("histc-range", lambda t, a: a.histc(5), (of(40),), None, FLOATS, gradients=False),
    Case("bincount", lambda t, a: t.bincount(a.abs().flatten()), (x,), None, INTEGERS, gradients=False),
    Case("bincount-weights", lambda t, i, w: t.bincount(i, w, 12), (of(9, kind="index", high=5), v), gradients=False),
    Case(
        "cumsum",
        lambda t, a: a.cumsum(1),
        (x,),
        lambda a: a.cumsum(1),
        (*FLOATS, "int32", "int64", "bool"),
        batched=True,
        tolerance=2,
    ),
    Case("cumsum-dtype", lambda t, a: t.cumsum(a, -1, dtype=t.float64), (x,), None, EVERYTHING),
    Case("cumprod", lambda t, a: a.cumprod(1), (x,), lambda a: a.cumprod(1), (*FLOATS, "int32", "int64"), tolerance=4),
    Case("cumprod-zero", lambda t, a, m: a.masked_fill(m, 0).cumprod(1), (x, of(2, 5, 3, kind="mask")), tolerance=4),
    Case("logcumsumexp", lambda t, a: a.logcumsumexp(1), (x,), lambda a: np.log(np.exp(a).cumsum(1)), tolerance=4),
    Case("logcumsumexp-wide", lambda t, a: t.logcumsumexp(a * 300, 1), (x,), tolerance=4, bfloat16=False),
    Case("cummax", lambda t, a: tuple(a.cummax(1)), (x,), None, EVERYTHING),
    Case("cummin", lambda t, a: tuple(t.cummin(a, -1)), (x,), None, EVERYTHING),
    Case("cummax-nan", lambda t, a: tuple(_with_nan(t, a).cummax(1)), (x,), gradients=False),
    Case("diff", lambda t, a: a.diff(dim=1), (x,), lambda a: np.diff(a, axis=1), EVERYTHING),
    Case("diff-2", lambda t, a, b: t.diff(a, 2, 1, prepend=b), (x, of(2, 1, 3)), tolerance=4),
    Case("trapezoid", lambda t, a: t.trapezoid(a, dx=0.5, dim=1), (x,), lambda a: np.trapezoid(a, dx=0.5, axis=1)),
    Case("trapezoid-x", lambda t, a, b: t.trapezoid(a, b), (x, of(3)), tolerance=4),
    Case("cumulative_trapezoid", lambda t, a, b: t.cumulative_trapezoid(a, b, dim=1), (x, x), tolerance=4),
]
