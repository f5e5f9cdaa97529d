"""Rows for functions of one, two and three elements beyond arithmetic, and for statistics."""

import numpy as np

from .case import FLOATS, NUMBERS, Case, Input, of

INTEGERS = ("uint8", "int8", "int32", "int64")


# PyTorch's trigamma, the derivative of digamma, is good to ten digits
_TOLERANCES = {"digamma": 400, "lgamma": 40}


def _unary() -> list[Case]:
    rows = [
        ("sinh", "normal", np.sinh),
        ("cosh", "normal", np.cosh),
        ("asin", "unit", np.arcsin),
        ("acos", "unit", np.arccos),
        ("atan", "normal", np.arctan),
        ("asinh", "normal", np.arcsinh),
        ("atanh", "unit", np.arctanh),
        ("exp2", "normal", np.exp2),
        ("frac", "normal", lambda a: a - np.trunc(a)),
        ("deg2rad", "normal", np.deg2rad),
        ("rad2deg", "normal", np.rad2deg),
        ("sgn", "normal", np.sign),
        ("sinc", "normal", np.sinc),
        ("logit", "probability", lambda a: np.log(a / (1 - a))),
        ("erf", "normal", None),
        ("erfc", "normal", None),
        ("erfinv", "unit", None),
        ("lgamma", "normal", None),
        ("digamma", "positive", None),
        ("i0", "normal", None),
        ("nan_to_num", "normal", np.nan_to_num),
        ("special.erfcx", "normal", None),
        ("special.ndtr", "normal", None),
        ("special.ndtri", "probability", None),
        ("special.log_ndtr", "normal", None),
        ("special.entr", "positive", None),
        ("special.i0e", "normal", None),
        ("special.i1", "normal", None),
        ("special.i1e", "normal", None),
    ]
    kernels = ("erf", "erfc", "erfinv", "lgamma", "digamma", "i0", "special.")
    return [
        Case(
            name,
            lambda t, a, name=name: _resolved(t, name.split("."))(a),
            (of(2, 3, 4, kind=kind),),
            reference,
            dtypes=FLOATS if name in ("frac", "sgn") or "special" in name else (*FLOATS, "int32"),
            batched=True,
            tolerance=_TOLERANCES.get(name, 40 if "special" in name else 8),
            kernel=name.startswith(kernels),
        )
        for name, kind, reference in rows
    ]


def _resolved(library, path):
    for name in path:
        library = getattr(library, name)
    return library


def _pairs() -> list[Case]:
    rows = [
        ("atan2", "normal", NUMBERS, np.arctan2),
        ("hypot", "normal", FLOATS, np.hypot),
        ("logaddexp", "normal", FLOATS, np.logaddexp),
        ("logaddexp2", "normal", FLOATS, np.logaddexp2),
        ("fmod", "positive", (*FLOATS, "int32", "int64"), np.fmod),
        ("fmax", "normal", NUMBERS, np.fmax),
        ("fmin", "normal", NUMBERS, np.fmin),
        ("copysign", "normal", (*FLOATS, "int64"), np.copysign),
        ("xlogy", "positive", FLOATS, lambda a, b: a * np.log(b)),
        ("float_power", "positive", (*FLOATS, "int32"), np.float_power),
        ("ldexp", "positive", FLOATS, lambda a, b: a * 2**b),
    ]
    shapes = {"same": ((3, 4), (3, 4)), "broadcast": ((3, 1), (2, 1, 4))}
    return [
        Case(
            f"{name}-{form}",
            lambda t, a, b, name=name: getattr(t, name)(a, b),
            (Input(first, kind), Input(second, kind)),
            reference,
            dtypes,
            tolerance=8,
        )
        for name, kind, dtypes, reference in rows
        for form, (first, second) in shapes.items()
    ]


def _integers() -> list[Case]:
    pair = (of(3, 4, kind="positive"), of(2, 1, 4, kind="positive"))
    names = ("gcd", "lcm", "bitwise_left_shift", "bitwise_right_shift")
    return [
        Case(name, lambda t, a, b, name=name: getattr(t, name)(a, b), pair, None, INTEGERS, gradients=False)
        for name in names
    ]


def _in_place(t, a, b):
    c = a * 1
    c.sinh_().atan2_(b).erf_().lerp_(b, 0.25)
    return c.addcmul_(a, b, value=2).clamp_min_(-1)


x, y, p = of(3, 4), of(4), of(3, 4, kind="positive")
d = of(2, 3, 4, kind="distinct")

CASES = [
    *_unary(),
    *_pairs(),
    *_integers(),
    Case("acosh", lambda t, a: t.acosh(a + 1), (p,), lambda a: np.arccosh(a + 1), tolerance=8),
    Case("logit-eps", lambda t, a: t.logit(a, 0.3), (of(3, 4, kind="probability"),), tolerance=8),
    Case("polygamma", lambda t, a: t.polygamma(2, a), (p,), tolerance=40),
    Case("mvlgamma", lambda t, a: t.mvlgamma(a + 2, 3), (p,), tolerance=40),
    Case("zeta", lambda t, a, q: t.special.zeta(a + 2, q), (of(3, 4, kind="factor"), p), tolerance=40),
    Case("xlog1py", lambda t, a, b: t.special.xlog1py(a, b), (x, p), lambda a, b: a * np.log1p(b)),
    Case("sinc-zero", lambda t, a: t.sinc(t.cat((a, a * 0))), (y,), tolerance=8),
    Case("heaviside", lambda t, a, b: t.heaviside(a, b), (x, y), np.heaviside, NUMBERS, gradients=False),
    Case("nextafter", lambda t, a, b: t.nextafter(a, b), (x, y), np.nextafter, gradients=False),
    Case("signbit", lambda t, a: t.signbit(a), (x,), np.signbit, NUMBERS, gradients=False),
    Case("isposinf", lambda t, a: t.isposinf(1 / a.trunc()), (x,), gradients=False),
    Case("isreal", lambda t, a: t.isreal(a), (x,), np.isreal, NUMBERS, gradients=False),
    Case("addcmul", lambda t, a, b, c: t.addcmul(a, b, c, value=0.5), (x, y, x), lambda a, b, c: a + b * c / 2),
    Case("addcdiv", lambda t, a, b, c: a.addcdiv(b, c, value=2), (x, y, p), lambda a, b, c: a + 2 * b / c),
    Case("lerp", lambda t, a, b: a.lerp(b, 0.7), (x, y), lambda a, b: a + 0.7 * (b - a), tolerance=2),
    Case("lerp-tensor", lambda t, a, b, c: t.lerp(a, b, c), (x, y, x), lambda a, b, c: a + c * (b - a), tolerance=4),
    Case("pointwise-inplace", _in_place, (x, p), tolerance=8),
    Case("clamp_max", lambda t, a: t.clamp_max(a, 0.3), (x,), lambda a: np.minimum(a, 0.3)),
    Case("softmax-method", lambda t, a: a.softmax(1) + a.log_softmax(0), (x,), tolerance=2),
    Case("nansum", lambda t, a: t.nansum(a.masked_fill(a > 0.5, float("nan")), 0), (x,)),
    Case("nanmean", lambda t, a: a.masked_fill(a > 1.5, float("nan")).nanmean(0), (x,)),
    Case("aminmax", lambda t, a: tuple(a.aminmax(dim=1)), (d,), lambda a: (a.min(1), a.max(1)), NUMBERS),
    Case("std_mean", lambda t, a: t.std_mean(a, 1), (d,), lambda a: (a.std(1, ddof=1), a.mean(1))),
    Case("var_mean", lambda t, a: t.var_mean(a, (0, 2), correction=0, keepdim=True), (d,)),
    Case("dist", lambda t, a, b: t.dist(a, b, 3), (x, p)),
    Case("cdist", lambda t, a, b: t.cdist(a, b), (of(2, 3, 4), of(5, 4)), tolerance=8),
    Case("cdist-1", lambda t, a, b: t.cdist(a, b, p=1), (of(3, 4), of(5, 4))),
    Case("renorm", lambda t, a: t.renorm(a, 2, 1, 1.2), (of(2, 3, 4),), tolerance=8),
    Case("cov", lambda t, a: t.cov(a), (x,), np.cov, tolerance=4),
    Case("corrcoef", lambda t, a: a.corrcoef(), (of(3, 6),), np.corrcoef, tolerance=8),
]
