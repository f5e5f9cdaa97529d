"""Rows for complex numbers and Fourier transforms. `float32` stands for complex64, `float64` for complex128."""

import numpy as np

from .case import Case, of

z, w = of(2, 3, 4, kind="complex"), of(3, 1, kind="complex")
x = of(2, 3, 4)
square, other = of(2, 3, 3, kind="complex"), of(2, 3, 2, kind="complex")


def _row(name, run, inputs, reference=None, **options):
    return Case(name, run, inputs, reference, bfloat16=False, tolerance=options.pop("tolerance", 10), **options)


def _unary() -> list[Case]:
    circular = ["sin", "cos", "tan", "sinh", "cosh", "tanh"]
    same = ["exp", "log", "log2", "log10", "log1p", "expm1", "sqrt", "square", "reciprocal", *circular]
    more = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "asinh": "arcsinh", "acosh": "arccosh"}
    references = {name: getattr(np, name) for name in same}
    references |= {name: getattr(np, numpy_name) for name, numpy_name in more.items()}
    references |= {"abs": np.abs, "angle": np.angle, "conj": np.conj, "sgn": np.sign, "neg": np.negative}
    references |= {"rsqrt": None, "sigmoid": None, "sinc": np.sinc, "conj_physical": np.conj, "exp2": np.exp2}
    return [
        _row(f"complex-{name}", lambda t, a, name=name: getattr(t, name)(a), (z,), reference, tolerance=40)
        for name, reference in references.items()
    ]


def _binary() -> list[Case]:
    rows = {
        "add": (lambda t, a, b: a + b, np.add),
        "sub": (lambda t, a, b: a - b * 2j, lambda a, b: a - b * 2j),
        "mul": (lambda t, a, b: a * b, np.multiply),
        "div": (lambda t, a, b: a / b, np.divide),
        "pow": (lambda t, a, b: a**b, np.power),
        "logaddexp": (lambda t, a, b: t.logaddexp(a, b), None),
        "lerp": (lambda t, a, b: t.lerp(a, b.expand(2, 3, 4), 0.3), None),
        "where": (lambda t, a, b: t.where(a.real > 0, a, b), lambda a, b: np.where(a.real > 0, a, b)),
    }
    return [_row(f"complex-{n}", run, (z, w), reference, tolerance=40) for n, (run, reference) in rows.items()]


def _with_reals() -> list[Case]:
    return [
        _row("real-times-complex", lambda t, a, b: a * b, (x, w), np.multiply),
        _row("complex-minus-real", lambda t, a, b: b - a, (x, w), lambda a, b: b - a),
        _row("complex-over-real", lambda t, a, b: b / a, (of(2, 3, 4, kind="positive"), w), lambda a, b: b / a),
        _row("real-plus-number", lambda t, a: a + (1 - 2j), (x,), lambda a: a + (1 - 2j)),
        _row(
            "real-to-complex-power", lambda t, a: a ** (1 - 2j), (of(2, 3, kind="positive"),), lambda a: a ** (1 - 2j)
        ),
        _row("complex", lambda t, a, b: t.complex(a, b), (x, of(3, 1)), lambda a, b: a + 1j * b),
        _row("polar", lambda t, a, b: t.polar(a, b), (of(2, 3, kind="positive"), of(2, 3))),
        _row("angle-real", lambda t, a: a.angle(), (x,), np.angle, second_gradients=False),
    ]


def _parts() -> list[Case]:
    return [
        _row("real", lambda t, a: a.real * 2, (z,), lambda a: a.real * 2),
        _row("imag", lambda t, a: t.imag(a) * 2, (z,), lambda a: a.imag * 2),
        _row("view_as_real", lambda t, a: t.view_as_real(a), (z,), lambda a: np.stack([a.real, a.imag], -1)),
        _row("view_as_complex", lambda t, a: t.view_as_complex(a.contiguous()), (of(3, 4, 2),)),
        _row("adjoint", lambda t, a: a.mH @ a, (z,), lambda a: np.conj(a).swapaxes(1, 2) @ a),
        _row(
            "complex-pow-number",
            lambda t, a: a**2.5 + a**-1 + a**3,
            (z,),
            lambda a: a**2.5 + 1 / a + a**3,
            tolerance=40,
        ),
    ]


def _reductions() -> list[Case]:
    rows = {
        "sum": lambda t, a: a.sum(1),
        "mean": lambda t, a: a.mean((0, 2)),
        "prod": lambda t, a: a.prod(1),
        "var": lambda t, a: a.var(1),
        "std": lambda t, a: a.std(),
        "norm": lambda t, a: a.norm(dim=1),
        "norm-3": lambda t, a: a.norm(3, 1),
        "norm-inf": lambda t, a: a.norm(float("inf")),
        "cumsum": lambda t, a: a.cumsum(1),
        "cumprod": lambda t, a: a.cumprod(1),
        "logsumexp": lambda t, a: a.logsumexp(1),
        "logcumsumexp": lambda t, a: a.logcumsumexp(1),
    }
    return [_row(f"complex-{name}", run, (z,), tolerance=40) for name, run in rows.items()]


def _products() -> list[Case]:
    v = of(5, kind="complex")
    return [
        _row("complex-matmul", lambda t, a, b: a @ b, (square, other), np.matmul),
        _row("complex-mv", lambda t, a, b: a[0] @ b, (square, of(3, kind="complex")), lambda a, b: a[0] @ b),
        _row("complex-dot", lambda t, a, b: t.dot(a, b), (v, v), np.dot),
        _row("complex-vdot", lambda t, a, b: t.vdot(a, b), (v, v), np.vdot),
        _row("complex-outer", lambda t, a, b: t.outer(a, b), (v, v), np.outer),
        _row("complex-vecdot", lambda t, a, b: t.linalg.vecdot(a, b), (v, v), np.vdot),
        _row("complex-einsum", lambda t, a, b: t.einsum("bij,bjk->ik", a, b), (square, other)),
        _row("complex-index", lambda t, a: a[:, [0, 2, 0]], (z,), lambda a: a[:, [0, 2, 0]]),
        _row("complex-cov", lambda t, a: t.cov(a), (of(3, 5, kind="complex"),), np.cov),
    ]


def _convolutions() -> list[Case]:
    weight, bias = of(4, 3, 2, 3, kind="complex"), of(4, kind="complex")
    image = of(2, 3, 4, 5, kind="complex")
    transposed = of(3, 4, 2, 2, kind="complex")
    return [
        _row(
            "complex-conv2d",
            lambda t, a, w, b: t.nn.functional.conv2d(a, w, b, stride=(1, 2), padding=1),
            (image, weight, bias),
        ),
        _row(
            "complex-conv_transpose2d",
            lambda t, a, w: t.nn.functional.conv_transpose2d(a, w, stride=2),
            (image, transposed),
        ),
    ]


def _hermitian(a):
    return a @ a.mH + 2 * a.new_ones(3).diag()


def _linalg() -> list[Case]:
    rows = {
        "inv": lambda t, a: t.linalg.inv(a),
        "det": lambda t, a: t.linalg.det(a),
        "slogdet": lambda t, a: tuple(t.linalg.slogdet(a)),
        "qr": lambda t, a: t.linalg.qr(a)[0].abs(),
        "svdvals": lambda t, a: t.linalg.svdvals(a),
        "svd": lambda t, a: (lambda u, s, v: u @ (s.sqrt().to(u.dtype).unsqueeze(-1) * v))(*t.linalg.svd(a)),
        "pinv": lambda t, a: t.linalg.pinv(a[:, :2]),
        "eigvalsh": lambda t, a: t.linalg.eigvalsh(_hermitian(a)),
        "eigh": lambda t, a: t.linalg.eigh(_hermitian(a))[1].abs(),
        "cholesky": lambda t, a: t.linalg.cholesky(_hermitian(a)),
        "eigvals": lambda t, a: (t.linalg.eigvals(a) ** 3).sum(-1),  # in whatever order
        "eig": lambda t, a: (t.linalg.eig(a)[1].abs() ** 3).sum((-2, -1)),
        "matrix_exp": lambda t, a: t.matrix_exp(a),
    }
    made = [_row(f"complex-{n}", run, (square,), tolerance=4000 if n == "eig" else 200) for n, run in rows.items()]
    made.append(
        _row("complex-solve", lambda t, a, b: t.linalg.solve(a, b), (square, other), np.linalg.solve, tolerance=200)
    )
    made.append(_row("real-eigvals", lambda t, a: t.linalg.eigvals(a).abs().sum(), (of(4, 4),), tolerance=200))
    made.append(_row("real-eig", lambda t, a: (t.linalg.eig(a)[1].abs() ** 3).sum(), (of(4, 4),), tolerance=4000))
    return made


def _transforms() -> list[Case]:
    made = []
    for name in ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft"):
        kind = "normal" if name in ("rfft", "ihfft") else "complex"
        for n, norm in ((None, None), (3, "ortho"), (6, "forward")):
            run = lambda t, a, name=name, n=n, norm=norm: getattr(t.fft, name)(a, n, 1, norm)  # noqa: E731
            reference = lambda a, name=name, n=n, norm=norm: getattr(np.fft, name)(a, n, 1, norm)  # noqa: E731
            made.append(_row(f"{name}-{n}-{norm}", run, (of(2, 5, 2, kind=kind),), reference))
        two = lambda t, a, name=name: getattr(t.fft, f"{name}2")(a, dim=(2, 0))  # noqa: E731
        many = lambda t, a, name=name: getattr(t.fft, f"{name}n")(a, (3, 4), norm="ortho")  # noqa: E731
        made.append(_row(f"{name}2", two, (of(3, 2, 4, kind=kind),)))
        made.append(_row(f"{name}n", many, (of(2, 4, 3, kind=kind),)))
    made.append(_row("fftshift", lambda t, a: t.fft.fftshift(a), (of(3, 4),), np.fft.fftshift))
    made.append(_row("ifftshift", lambda t, a: t.fft.ifftshift(a, 0), (of(3, 4),), lambda a: np.fft.ifftshift(a, 0)))
    return made


CASES = [
    *_unary(), *_binary(), *_with_reals(), *_parts(), *_reductions(), *_products(), *_convolutions(), *_linalg(),
    *_transforms(),
]  # fmt: skip
