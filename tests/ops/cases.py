"""The table of cases: every operation with sample inputs, walked by all tests in this folder.

A case's `run` takes the library (nbtorch or torch) and the input tensors, so that one line is both the program under
test and its reference. Adding an operation adds rows here; nothing else needs to know.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from . import (
    cases_activation,
    cases_arrangement,
    cases_attention,
    cases_complex,
    cases_factor,
    cases_linalg,
    cases_norm,
    cases_pointwise,
    cases_scatter,
    cases_sorting,
)
from .case import ALL_FLOATS, EVERYTHING, FLOATS, NUMBERS, Case, Input, of


def _pairs() -> list[Case]:
    """Binary operations: same shapes, broadcast both ways, 0-d."""
    operations: list[tuple[str, Callable[..., Any], Callable[..., Any], str, tuple[str, ...]]] = [
        ("add", lambda t, a, b: a + b, np.add, "normal", NUMBERS),
        ("sub", lambda t, a, b: a - b, np.subtract, "normal", NUMBERS),
        ("mul", lambda t, a, b: a * b, np.multiply, "normal", EVERYTHING),
        ("div", lambda t, a, b: a / b, np.divide, "positive", NUMBERS),
        ("pow", lambda t, a, b: a**b, np.power, "positive", FLOATS),
        ("maximum", lambda t, a, b: t.maximum(a, b), np.maximum, "distinct", NUMBERS),
        ("minimum", lambda t, a, b: t.minimum(a, b), np.minimum, "distinct", NUMBERS),
        ("remainder", lambda t, a, b: a % b, np.remainder, "positive", FLOATS),
        ("floor_divide", lambda t, a, b: a // b, np.floor_divide, "positive", (*FLOATS, "int64")),
        ("alpha", lambda t, a, b: t.add(a, b, alpha=3), lambda a, b: a + 3 * b, "normal", NUMBERS),
        ("eq", lambda t, a, b: a == b, np.equal, "normal", EVERYTHING),
        ("lt", lambda t, a, b: a < b, np.less, "normal", EVERYTHING),
        ("ge", lambda t, a, b: a >= b, np.greater_equal, "normal", EVERYTHING),
    ]
    shapes = {"same": ((3, 4), (3, 4)), "broadcast": ((3, 1), (2, 1, 4)), "scalar": ((), (2, 3))}
    differentiable = {"add", "sub", "mul", "div", "pow", "maximum", "minimum", "remainder", "alpha"}
    cases = []
    for name, run, reference, kind, dtypes in operations:
        for form, (a, b) in shapes.items():
            if name in ("maximum", "minimum") and form == "scalar":
                continue
            cases.append(
                Case(
                    f"{name}-{form}",
                    run,
                    (Input(a, kind), Input(b, "positive" if kind == "distinct" else kind)),
                    reference if dtypes[-1] not in ("bool",) or name in ("eq", "lt", "ge", "mul") else None,
                    dtypes,
                    gradients=name in differentiable,
                )
            )
    return cases


def _numbers() -> list[Case]:
    """Operations with a Python number."""
    x = of(3, 4)
    return [
        Case("add-number", lambda t, a: a + 2, (x,), lambda a: a + 2, NUMBERS),
        Case("radd-number", lambda t, a: 2.5 + a, (x,), lambda a: 2.5 + a, NUMBERS),
        Case("rsub-number", lambda t, a: 1 - a, (x,), lambda a: 1 - a, NUMBERS),
        Case("mul-number", lambda t, a: a * 3, (x,), lambda a: a * 3, NUMBERS),
        Case("mul-float", lambda t, a: a * 0.5, (x,), lambda a: a * 0.5, EVERYTHING),
        Case("rdiv-number", lambda t, a: 2 / a, (of(3, 4, kind="positive"),), lambda a: 2 / a, NUMBERS),
        Case("pow-2", lambda t, a: a**2, (x,), lambda a: a**2, FLOATS),
        Case("pow-3", lambda t, a: a**3, (x,), lambda a: a**3, FLOATS),
        Case("pow-half", lambda t, a: a**0.5, (of(3, 4, kind="positive"),), np.sqrt, FLOATS),
        Case("pow-0", lambda t, a: a**0, (x,), np.ones_like, FLOATS),
        Case("rpow", lambda t, a: 2.0**a, (x,), lambda a: 2.0**a, FLOATS),
        Case("clamp", lambda t, a: a.clamp(-0.5, 0.5), (x,), lambda a: np.clip(a, -0.5, 0.5), FLOATS),
        Case("clamp-min", lambda t, a: a.clamp(min=0), (x,), lambda a: np.maximum(a, 0), NUMBERS),
        Case("where", lambda t, m, a, b: t.where(m, a, b), (of(3, 4, kind="mask"), x, of(4)), np.where, NUMBERS),
        Case(
            "where-number",
            lambda t, m, a: t.where(m, a, 0.0),
            (of(3, 4, kind="mask"), x),
            lambda m, a: np.where(m, a, 0.0),
        ),
        Case(
            "masked_fill",
            lambda t, a, m: a.masked_fill(m, 7),
            (x, of(3, 4, kind="mask")),
            lambda a, m: np.where(m, 7, a),
            NUMBERS,
        ),
    ]


def _unary() -> list[Case]:
    """Functions of one element at a time."""
    rows: list[tuple[str, Callable[..., Any], str]] = [
        ("neg", np.negative, "normal"),
        ("exp", np.exp, "normal"),
        ("expm1", np.expm1, "normal"),
        ("log", np.log, "positive"),
        ("log2", np.log2, "positive"),
        ("log10", np.log10, "positive"),
        ("log1p", np.log1p, "positive"),
        ("sqrt", np.sqrt, "positive"),
        ("rsqrt", lambda a: 1 / np.sqrt(a), "positive"),
        ("reciprocal", np.reciprocal, "positive"),
        ("sin", np.sin, "normal"),
        ("cos", np.cos, "normal"),
        ("tan", np.tan, "unit"),
        ("tanh", np.tanh, "normal"),
        ("square", np.square, "normal"),
        ("abs", np.abs, "normal"),
        ("sign", np.sign, "normal"),
        ("floor", np.floor, "normal"),
        ("ceil", np.ceil, "normal"),
        ("trunc", np.trunc, "normal"),
        ("round", np.round, "normal"),
        ("sigmoid", lambda a: 1 / (1 + np.exp(-a)), "normal"),
        ("relu", lambda a: np.maximum(a, 0), "normal"),
    ]
    return [
        Case(
            name,
            lambda t, a, name=name: getattr(t, name)(a),
            (of(2, 3, 4, kind=kind),),
            reference,
            batched=True,
            tolerance=2,
            kernel=name in ("relu", "sigmoid", "tanh"),
        )
        for name, reference, kind in rows
    ]


def _reductions() -> list[Case]:
    x, d = of(2, 3, 4), of(2, 3, 4, kind="distinct")
    return [
        Case("sum", lambda t, a: a.sum(), (x,), np.sum, (*FLOATS, "int32", "int64", "bool"), batched=True),
        Case("sum-dim", lambda t, a: a.sum(1), (x,), lambda a: a.sum(1), FLOATS, batched=True),
        Case("sum-dims-keep", lambda t, a: a.sum((0, -1), keepdim=True), (x,), lambda a: a.sum((0, -1), keepdims=True)),
        Case("mean", lambda t, a: a.mean(), (x,), np.mean),
        Case("mean-dim", lambda t, a: a.mean(-1), (x,), lambda a: a.mean(-1), batched=True),
        Case("var", lambda t, a: a.var(1), (x,), lambda a: a.var(1, ddof=1)),
        Case("std", lambda t, a: a.std(1, correction=0), (x,), lambda a: a.std(1)),
        Case("prod", lambda t, a: a.prod(), (of(2, 3),), np.prod),
        Case("prod-dim", lambda t, a: a.prod(1), (x,), lambda a: a.prod(1)),
        Case("max", lambda t, a: a.max(), (d,), np.max),
        Case("min", lambda t, a: a.min(), (d,), np.min),
        Case("max-dim", lambda t, a: tuple(a.max(1)), (d,), lambda a: (a.max(1), a.argmax(1))),
        Case("min-dim-keep", lambda t, a: tuple(a.min(-1, keepdim=True)), (d,)),
        Case("amax", lambda t, a: a.amax((0, 2)), (d,), lambda a: a.max((0, 2))),
        Case("amin-keep", lambda t, a: a.amin(1, keepdim=True), (d,), lambda a: a.min(1, keepdims=True)),
        Case("argmax", lambda t, a: a.argmax(), (d,), np.argmax, NUMBERS, gradients=False),
        Case("argmax-dim", lambda t, a: a.argmax(1, keepdim=True), (d,), None, NUMBERS, gradients=False),
        Case("any", lambda t, a: (a > 1).any(1), (x,), None, NUMBERS, gradients=False),
        Case("all", lambda t, a: (a > -1).all(), (x,), None, NUMBERS, gradients=False),
        Case("logsumexp", lambda t, a: a.logsumexp(1), (x,), lambda a: np.log(np.exp(a).sum(1)), batched=True),
        Case("norm", lambda t, a: a.norm(), (x,), lambda a: np.sqrt((a * a).sum())),
        Case("norm-1-dim", lambda t, a: a.norm(1, 2), (x,), lambda a: np.abs(a).sum(2)),
        Case("norm-3", lambda t, a: a.norm(3, 1), (x,), lambda a: (np.abs(a) ** 3).sum(1) ** (1 / 3)),
        Case("sum_to_size", lambda t, a: a.sum_to_size(3, 1), (x,), lambda a: a.sum((0, 2)).reshape(3, 1)),
    ]


def _shapes() -> list[Case]:
    x = of(2, 3, 4)
    return [
        Case("view", lambda t, a: a.view(-1, 4), (x,), lambda a: a.reshape(-1, 4), EVERYTHING),
        Case("reshape", lambda t, a: a.reshape(4, 6), (x,), lambda a: a.reshape(4, 6), EVERYTHING),
        Case("reshape-copy", lambda t, a: a.transpose(0, 2).reshape(-1), (x,), lambda a: a.transpose(2, 1, 0).ravel()),
        Case("flatten", lambda t, a: a.flatten(1), (x,), lambda a: a.reshape(2, 12), EVERYTHING, batched=True),
        Case("unflatten", lambda t, a: a.unflatten(2, (2, -1)), (x,), lambda a: a.reshape(2, 3, 2, 2)),
        Case("transpose", lambda t, a: a.transpose(0, 2), (x,), lambda a: a.transpose(2, 1, 0), EVERYTHING),
        Case("permute", lambda t, a: a.permute(2, 0, 1), (x,), lambda a: a.transpose(2, 0, 1), EVERYTHING),
        Case("t", lambda t, a: a.t(), (of(2, 3),), np.transpose),
        Case("mT", lambda t, a: a.mT, (x,), lambda a: a.transpose(0, 2, 1)),
        Case("movedim", lambda t, a: t.movedim(a, 0, -1), (x,), lambda a: np.moveaxis(a, 0, -1)),
        Case("squeeze", lambda t, a: a.squeeze(), (of(1, 3, 1),), np.squeeze, EVERYTHING),
        Case("squeeze-dim", lambda t, a: a.squeeze(0), (of(1, 3, 1),), lambda a: a.squeeze(0)),
        Case("unsqueeze", lambda t, a: a.unsqueeze(-1), (x,), lambda a: a[..., None], EVERYTHING),
        Case("expand", lambda t, a: a.expand(5, -1, 4), (of(3, 1),), lambda a: np.broadcast_to(a, (5, 3, 4))),
        Case(
            "cat",
            lambda t, a, b: t.cat((a, b), 1),
            (x, of(2, 2, 4)),
            lambda a, b: np.concatenate((a, b), 1),
            EVERYTHING,
        ),
        Case("stack", lambda t, a, b: t.stack((a, b), -1), (x, x), lambda a, b: np.stack((a, b), -1), EVERYTHING),
        Case("split", lambda t, a: a.split(2, 2), (of(2, 3, 5),), lambda a: tuple(np.split(a, [2, 4], 2))),
        Case("chunk", lambda t, a: a.chunk(2, 1), (x,), lambda a: tuple(np.split(a, [2], 1))),
        Case("unbind", lambda t, a: a.unbind(1), (x,), lambda a: tuple(a.transpose(1, 0, 2))),
        Case("narrow", lambda t, a: a.narrow(2, 1, 2), (x,), lambda a: a[:, :, 1:3]),
        Case("select", lambda t, a: a.select(1, -1), (x,), lambda a: a[:, -1]),
        Case("flip", lambda t, a: a.flip(0, 2), (x,), lambda a: a[::-1, :, ::-1], EVERYTHING),
        Case("repeat", lambda t, a: a.repeat(2, 1, 3), (x,), lambda a: np.tile(a, (2, 1, 3))),
        Case("contiguous", lambda t, a: a.transpose(0, 1).contiguous(), (x,), lambda a: a.transpose(1, 0, 2)),
        Case("clone", lambda t, a: a.clone() * 2, (x,), lambda a: a * 2),
        Case("to-double", lambda t, a: a.to(t.float64) * 2, (x,), lambda a: a * 2, NUMBERS),
    ]


def _indexing() -> list[Case]:
    x, i = of(4, 5, 3), of(6, kind="index", high=4)
    return [
        Case("index-int", lambda t, a: a[1], (x,), lambda a: a[1], EVERYTHING),
        Case("index-negative", lambda t, a: a[-1, -2], (x,), lambda a: a[-1, -2]),
        Case("index-slice", lambda t, a: a[1:, ::2], (x,), lambda a: a[1:, ::2], EVERYTHING),
        Case("index-ellipsis", lambda t, a: a[..., 1], (x,), lambda a: a[..., 1]),
        Case("index-none", lambda t, a: a[:, None, 2], (x,), lambda a: a[:, None, 2]),
        Case("index-tensor", lambda t, a, i: a[i], (x, i), lambda a, i: a[i], EVERYTHING),
        Case("index-two", lambda t, a, i, j: a[i, j], (x, i, of(6, kind="index", high=5)), lambda a, i, j: a[i, j]),
        Case("index-apart", lambda t, a, i: a[i, :, 1], (x, i), lambda a, i: a[i, :, 1]),
        Case("index-list", lambda t, a: a[[0, 2]], (x,), lambda a: a[[0, 2]]),
        Case("index-mask", lambda t, a, m: a[m], (x, of(4, 5, kind="mask")), lambda a, m: a[m], EVERYTHING),
        Case("gather", lambda t, a, i: a.gather(0, i), (x, of(2, 5, 3, kind="index", high=4)), None, EVERYTHING),
        Case("index_select", lambda t, a, i: a.index_select(0, i), (x, i), lambda a, i: a[i], EVERYTHING),
        Case("masked_select", lambda t, a, m: a.masked_select(m), (x, of(4, 5, 3, kind="mask")), lambda a, m: a[m]),
        Case("setitem", _set_slice, (x, of(5, 3)), None),
        Case("setitem-tensor", _set_rows, (x, of(5, 3)), None),
        Case("inplace-view", _multiply_view, (x,), None),
        Case("inplace-chain", _inplace_chain, (x, of(5, 3)), None),
    ]


def _set_slice(t, a, b):
    c = a * 1
    c[1] = b
    c[:, 0] = 2.0
    return c * c


def _set_rows(t, a, b):
    c = a * 1
    c[t.tensor([0, 3], device=a.device)] = b
    return c * a


def _multiply_view(t, a):
    c = a * 1
    view = c[:, 1:3]
    view.mul_(3)
    return c * view.sum()


def _inplace_chain(t, a, b):
    c = a * 2
    c += b
    c.mul_(b)
    c -= 1
    return c.tanh_()


def _products() -> list[Case]:
    return [
        Case("mm", lambda t, a, b: a.mm(b), (of(3, 4), of(4, 5)), np.matmul),
        Case("bmm", lambda t, a, b: a.bmm(b), (of(2, 3, 4), of(2, 4, 5)), np.matmul, batched=False),
        Case("dot", lambda t, a, b: a.dot(b), (of(4), of(4)), np.dot),
        Case("mv", lambda t, a, b: a.mv(b), (of(3, 4), of(4)), np.matmul),
        Case("outer", lambda t, a, b: t.outer(a, b), (of(3), of(4)), np.outer),
        Case("matmul-broadcast", lambda t, a, b: a @ b, (of(2, 1, 3, 4), of(5, 4, 2)), np.matmul),
        Case("matmul-vector", lambda t, a, b: a @ b, (of(4), of(2, 4, 3)), np.matmul),
        Case("matmul-by-vector", lambda t, a, b: a @ b, (of(2, 3, 4), of(4)), np.matmul),
        Case("addmm", lambda t, c, a, b: t.addmm(c, a, b, beta=2, alpha=3), (of(5), of(3, 4), of(4, 5)), None),
        Case("linear", _functional("linear"), (of(3, 4), of(5, 4), of(5)), lambda a, w, b: a @ w.T + b, batched=True),
        Case("linear-3d", _functional("linear"), (of(2, 3, 4), of(5, 4)), lambda a, w: a @ w.T),
        Case("linear-1d", _functional("linear"), (of(4), of(5, 4), of(5)), lambda a, w, b: a @ w.T + b),
    ]


def _functional(function: str, **options: Any) -> Callable[..., Any]:
    """Return a call of a function of `nn.functional` with options."""

    def run(t: Any, *tensors: Any) -> Any:
        return getattr(t.nn.functional, function)(*tensors, **options)

    return run


def _convolutions() -> list[Case]:
    """Every option, in the three ranks; forward and transposed."""
    rows: list[tuple[str, tuple[int, ...], tuple[int, ...], bool, dict[str, Any]]] = [
        ("conv1d", (2, 3, 9), (4, 3, 3), True, {}),
        ("conv1d", (2, 4, 11), (6, 2, 3), True, {"stride": 2, "padding": 1, "groups": 2}),
        ("conv1d", (2, 3, 9), (4, 3, 4), False, {"padding": "same"}),
        ("conv2d", (2, 3, 6, 7), (4, 3, 3, 3), True, {}),
        ("conv2d", (2, 3, 6, 7), (4, 3, 3, 3), True, {"padding": 1}),
        ("conv2d", (2, 3, 7, 8), (5, 3, 3, 2), True, {"stride": (2, 1), "padding": (1, 0)}),
        ("conv2d", (1, 2, 8, 9), (3, 2, 3, 3), False, {"dilation": 2, "padding": 2}),
        ("conv2d", (1, 2, 9, 9), (3, 2, 2, 3), True, {"stride": 3, "dilation": (2, 1), "padding": (1, 2)}),
        ("conv2d", (2, 4, 5, 5), (6, 2, 3, 3), True, {"groups": 2}),
        ("conv2d", (2, 3, 6, 6), (6, 1, 3, 3), True, {"groups": 3, "stride": 2, "padding": 1}),
        ("conv2d", (2, 5, 4, 3), (7, 5, 1, 1), True, {}),
        ("conv2d", (1, 2, 5, 6), (3, 2, 4, 3), True, {"padding": "same", "dilation": (1, 2)}),
        ("conv2d", (1, 2, 5, 6), (3, 2, 3, 3), True, {"padding": "valid"}),
        ("conv2d", (3, 6, 7), (4, 3, 3, 3), True, {"padding": 1}),
        ("conv2d", (1, 1, 1, 1), (1, 1, 1, 1), True, {"stride": 2}),
        ("conv3d", (1, 2, 4, 5, 4), (3, 2, 2, 3, 2), True, {"padding": (0, 1, 1)}),
        ("conv3d", (1, 2, 5, 4, 5), (2, 1, 3, 2, 2), True, {"stride": 2, "groups": 2, "padding": 1}),
        ("conv_transpose1d", (2, 3, 5), (3, 4, 3), True, {"stride": 2, "output_padding": 1}),
        ("conv_transpose2d", (2, 3, 4, 5), (3, 4, 3, 3), True, {}),
        ("conv_transpose2d", (2, 4, 3, 4), (4, 3, 3, 2), True, {"stride": (2, 3), "padding": 1, "groups": 2}),
        ("conv_transpose2d", (1, 2, 3, 3), (2, 3, 3, 3), False, {"stride": 2, "dilation": 2, "output_padding": 1}),
        ("conv_transpose3d", (1, 2, 2, 3, 2), (2, 2, 2, 2, 3), True, {"stride": 2, "padding": (0, 1, 1)}),
    ]
    cases = []
    for function, x, w, bias, options in rows:
        transposed = "transpose" in function
        channels = w[1] * options.get("groups", 1) if transposed else w[0]
        inputs = (Input(x), Input(w), *((of(channels),) if bias else ()))
        label = ",".join(f"{k}={v}" for k, v in options.items()).replace(" ", "")
        unbatched = len(x) < len(w)
        cases.append(
            Case(
                f"{function}-{'x'.join(map(str, x))}-{'x'.join(map(str, w))}-{label}",
                _functional(function, **options),
                inputs,
                dtypes=FLOATS,
                batched=not unbatched,
                tolerance=4,
                kernel=True,
            )
        )
    return cases


def _pooling() -> list[Case]:
    """Every option of every family, in the three ranks."""
    infinity = float("inf")
    rows: list[tuple[str, tuple[int, ...], dict[str, Any]]] = [
        ("max_pool1d", (2, 3, 9), {"kernel_size": 2}),
        ("max_pool1d", (2, 2, 10), {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}),
        ("max_pool2d", (2, 2, 6, 6), {"kernel_size": 2}),
        ("max_pool2d", (1, 2, 7, 8), {"kernel_size": (3, 2), "stride": (2, 1), "padding": (1, 0)}),
        ("max_pool2d", (1, 2, 7, 7), {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}),
        ("max_pool2d", (1, 2, 9, 8), {"kernel_size": 2, "dilation": 3}),
        ("max_pool2d", (2, 6, 5), {"kernel_size": 2, "stride": 1}),
        ("max_pool2d", (1, 1, 5, 5), {"kernel_size": 5}),
        ("max_pool3d", (1, 2, 4, 5, 4), {"kernel_size": 2, "stride": (2, 1, 2)}),
        ("max_pool3d", (1, 1, 5, 5, 5), {"kernel_size": 3, "padding": 1, "stride": 2}),
        ("max_pool1d", (2, 2, 10), {"kernel_size": 3, "stride": 2, "padding": 1, "return_indices": False}),
        ("max_pool2d", (1, 2, 7, 8), {"kernel_size": (3, 2), "padding": (1, 0), "stride": 1, "return_indices": False}),
        ("max_pool2d", (1, 2, 9, 8), {"kernel_size": 2, "dilation": 3, "return_indices": False}),
        ("max_pool3d", (1, 1, 5, 5, 5), {"kernel_size": 3, "padding": 1, "stride": 2, "return_indices": False}),
        ("avg_pool1d", (2, 2, 9), {"kernel_size": 4, "stride": 2, "padding": 2, "ceil_mode": True}),
        ("avg_pool2d", (2, 2, 6, 6), {"kernel_size": 2}),
        ("avg_pool2d", (1, 2, 7, 8), {"kernel_size": (3, 2), "stride": (2, 1), "padding": (1, 0)}),
        ("avg_pool2d", (1, 2, 7, 6), {"kernel_size": 3, "stride": 2, "padding": 1, "count_include_pad": False}),
        ("avg_pool2d", (2, 5, 6), {"kernel_size": 3, "ceil_mode": True, "divisor_override": 5}),
        ("avg_pool3d", (1, 2, 4, 5, 4), {"kernel_size": 2, "stride": (2, 1, 3), "padding": (1, 0, 1)}),
        ("lp_pool1d", (2, 2, 9), {"norm_type": 1, "kernel_size": 3, "stride": 2}),
        ("lp_pool2d", (1, 2, 6, 7), {"norm_type": 2, "kernel_size": (2, 3), "ceil_mode": True}),
        ("lp_pool2d", (1, 2, 6, 6), {"norm_type": 3.0, "kernel_size": 3, "stride": 1}),
        ("lp_pool2d", (2, 5, 4), {"norm_type": 1.5, "kernel_size": 2}),
        ("lp_pool2d", (1, 2, 5, 4), {"norm_type": infinity, "kernel_size": 2, "ceil_mode": True}),
        ("lp_pool3d", (1, 2, 4, 5, 4), {"norm_type": 2.5, "kernel_size": 2, "stride": (2, 1, 2)}),
        ("adaptive_avg_pool1d", (2, 2, 9), {"output_size": 4}),
        ("adaptive_avg_pool2d", (2, 2, 5, 7), {"output_size": 1}),
        ("adaptive_avg_pool2d", (1, 2, 5, 7), {"output_size": (None, 3)}),
        ("adaptive_avg_pool2d", (2, 3, 4), {"output_size": (7, 6)}),
        ("adaptive_avg_pool3d", (1, 2, 4, 3, 5), {"output_size": (3, 2, 2)}),
        ("adaptive_max_pool1d", (2, 2, 9), {"output_size": 4}),
        ("adaptive_max_pool2d", (2, 2, 5, 7), {"output_size": 1}),
        ("adaptive_max_pool2d", (1, 2, 5, 7), {"output_size": (3, None)}),
        ("adaptive_max_pool2d", (2, 3, 4), {"output_size": (5, 3)}),
        ("adaptive_max_pool3d", (1, 2, 4, 3, 5), {"output_size": (3, 2, 2)}),
    ]
    cases = []
    for function, shape, options in rows:
        label = ",".join(f"{k}={v}" for k, v in options.items()).replace(" ", "")
        picks, rank = "max" in function, int(function[-2])
        cases.append(
            Case(
                f"{function}-{'x'.join(map(str, shape))}-{label}",
                _functional(function, **({"return_indices": True} if picks else {}) | options),
                (Input(shape, "positive" if function.startswith("lp") else "distinct"),),
                dtypes=_pooled_types(function),
                batched=len(shape) == rank + 2,
                tolerance=8,
                kernel=True,
            )
        )
    return cases + _unpooling()


def _pooled_types(function: str) -> tuple[str, ...]:
    if function == "max_pool2d":
        return (*ALL_FLOATS, "int32")
    if function == "avg_pool2d":
        return (*ALL_FLOATS, "int64")
    return ALL_FLOATS if function in ("lp_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d") else FLOATS


def _unpooling() -> list[Case]:
    """Fractional pooling, whose windows follow from samples, and unpooling, which takes indices."""
    samples = [of(2, 2, rank, kind="factor") for rank in (2, 3)]

    def fractional(rank: int, **options: Any) -> Callable[..., Any]:
        def run(t: Any, x: Any, drawn: Any) -> Any:
            pool = getattr(t.nn.functional, f"fractional_max_pool{rank}d")
            return pool(x, return_indices=True, _random_samples=(drawn - 0.5) / 2, **options)

        return run

    def unpooled(name: str, shape: tuple[int, ...], **options: Any) -> Case:
        def run(t: Any, x: Any) -> Any:
            count = math.prod(x.shape[-rank:])
            places = (t.arange(count) * 5 % (13 if count > 8 else 8)).reshape(x.shape[-rank:]).expand(x.shape)
            return getattr(t.nn.functional, f"max_unpool{rank}d")(x, places, **options)

        rank = int(name[-2])
        return Case(name, run, (of(*shape),), batched=len(shape) == rank + 2, kernel=True)

    image, volume = Input((2, 2, 7, 8), "distinct"), Input((2, 2, 5, 4, 6), "distinct")
    return [
        Case("fractional-2d", fractional(2, kernel_size=2, output_size=(4, 5)), (image, samples[0]), kernel=True),
        Case(
            "fractional-ratio", fractional(2, kernel_size=3, output_ratio=(0.5, 0.6)), (image, samples[0]), kernel=True
        ),
        Case("fractional-3d", fractional(3, kernel_size=(2, 1, 3), output_size=2), (volume, samples[1]), kernel=True),
        unpooled("unpool1d", (2, 3, 4), kernel_size=2),
        unpooled("unpool2d", (2, 3, 3, 3), kernel_size=(2, 3), stride=2, padding=(1, 0), output_size=(5, 7)),
        unpooled("unpool3d", (2, 2, 2, 3), kernel_size=2),
    ]


def _padding() -> list[Case]:
    image = of(2, 3, 4, 5)
    rows: list[tuple[str, Input, dict[str, Any]]] = [
        ("constant", image, {"pad": (1, 2, 0, 3), "value": 0.5}),
        ("crop", image, {"pad": (-1, 2, 1, -2)}),
        ("constant-4d", image, {"pad": (1, 0, 0, 1, 2, 0, 0, 1)}),
        ("constant-1d", of(4), {"pad": (2, 3), "value": -1.0}),
        ("reflect", image, {"pad": (1, 2, 3, 0), "mode": "reflect"}),
        ("reflect-crop", image, {"pad": (-1, 2, 2, -2), "mode": "reflect"}),
        ("replicate", image, {"pad": (6, 2, 1, 5), "mode": "replicate"}),
        ("replicate-crop", image, {"pad": (-6, 3, 1, -1), "mode": "replicate"}),
        ("circular", image, {"pad": (5, 2, 1, 4), "mode": "circular"}),
        ("circular-crop", image, {"pad": (2, -1, -1, 1), "mode": "circular"}),
        ("reflect-1d", of(2, 3, 5), {"pad": (2, 1), "mode": "reflect"}),
        ("reflect-3d", of(1, 2, 3, 2, 3), {"pad": (1, 2, 1, 0, 0, 2), "mode": "reflect"}),
        ("replicate-3d", of(2, 3, 2, 3), {"pad": (1, 2, 4, 0, 0, 3), "mode": "replicate"}),
        ("circular-3d", of(1, 2, 3, 2, 3), {"pad": (1, 1, 2, 0, 0, 1), "mode": "circular"}),
    ]
    return [
        Case(
            f"pad-{name}",
            _functional("pad", **options),
            (tensor,),
            dtypes=(*ALL_FLOATS, "int64", "uint8") if name in ("constant", "reflect", "circular") else FLOATS,
            batched=name not in ("constant-1d", "replicate-3d"),
            tolerance=2,
            kernel=True,
        )
        for name, tensor, options in rows
    ]


def _losses() -> list[Case]:
    scores, labels = of(4, 5), of(4, kind="index", high=5)
    images, image_labels = of(2, 3, 2, 2), of(2, 2, 2, kind="index", high=3)
    weight = of(5, kind="factor")
    function = _functional
    return [
        Case("softmax", function("softmax", dim=1), (scores,), batched=True),
        Case("softmax-0", function("softmax", dim=0), (of(3, 4, 2),)),
        Case("log_softmax", function("log_softmax", dim=-1), (scores,), batched=True),
        Case("mse_loss", function("mse_loss"), (scores, scores), lambda a, b: ((a - b) ** 2).mean()),
        Case("mse_loss-sum", function("mse_loss", reduction="sum"), (scores, scores)),
        Case("l1_loss-none", function("l1_loss", reduction="none"), (scores, scores), lambda a, b: np.abs(a - b)),
        Case("cross_entropy", function("cross_entropy"), (scores, labels)),
        Case("cross_entropy-sum", function("cross_entropy", reduction="sum", ignore_index=2), (scores, labels)),
        Case("cross_entropy-smooth", function("cross_entropy", label_smoothing=0.2), (images, image_labels)),
        Case("cross_entropy-weight", function("cross_entropy", ignore_index=1), (scores, labels, weight)),
        Case(
            "cross_entropy-weight-smooth",
            function("cross_entropy", label_smoothing=0.3, ignore_index=1),
            (scores, labels, weight),
        ),
        Case("cross_entropy-soft", function("cross_entropy", label_smoothing=0.1), (scores, scores, weight)),
        Case("cross_entropy-soft-images", function("cross_entropy"), (images, images)),
        Case("smooth_l1_loss", function("smooth_l1_loss", beta=0.7), (scores, scores)),
        Case("bce_with_logits", function("binary_cross_entropy_with_logits"), (scores, of(4, 5, kind="positive"))),
        Case("cross_entropy-none", function("cross_entropy", reduction="none"), (images, image_labels)),
        Case("cross_entropy-unbatched", function("cross_entropy"), (of(5), of(kind="index", high=5))),
        Case("nll_loss", function("nll_loss"), (scores, labels, weight)),
        Case("nll_loss-images", function("nll_loss", reduction="none"), (images, image_labels)),
    ]


CASES: list[Case] = [
    *_pairs(),
    *_numbers(),
    *_unary(),
    *_reductions(),
    *_shapes(),
    *_indexing(),
    *_products(),
    *_convolutions(),
    *_pooling(),
    *_padding(),
    *_losses(),
    *cases_activation.CASES,
    *cases_arrangement.CASES,
    *cases_attention.CASES,
    *cases_complex.CASES,
    *cases_factor.CASES,
    *cases_linalg.CASES,
    *cases_norm.CASES,
    *cases_pointwise.CASES,
    *cases_scatter.CASES,
    *cases_sorting.CASES,
]
