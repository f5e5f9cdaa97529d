"""Rows for activations: each entry of the table with its defaults, and what options, layouts and parameters add."""

from nbtorch.ops.activation import TABLE

from .case import ALL_FLOATS, Case, Input, of


def _call(name, **options):
    return lambda t, a: getattr(t.nn.functional, name)(a, **options)


def _defaults() -> list[Case]:
    """Every entry; where an argument has no default, samples are given."""
    required = {"threshold": {"threshold": 0.1, "value": 20.0}}
    return [
        Case(
            name,
            _call(name, **required.get(name, {})),
            (of(2, 3, 4),),
            # PyTorch's derivative of hardsigmoid for float64 has a constant in float32
            dtypes=("float16", "float32") if name == "hardsigmoid" else ALL_FLOATS,
            batched=True,
            tolerance=8,
            kernel=True,
        )
        for name in TABLE
        if name not in ("relu", "sigmoid", "tanh")  # they are in the rows of functions of one element
    ]


def _options() -> list[Case]:
    rows = [
        ("elu", {"alpha": 0.3}),
        ("celu", {"alpha": 0.5}),
        ("leaky_relu", {"negative_slope": 0.3}),
        ("hardtanh", {"min_val": -0.4, "max_val": 0.7}),
        ("hardshrink", {"lambd": 0.1}),
        ("softshrink", {"lambd": 0.1}),
        ("softplus", {"beta": 2.0, "threshold": 1.0}),
        ("gelu", {"approximate": "tanh"}),
        ("rrelu", {"lower": 0.1, "upper": 0.2}),
        ("threshold", {"threshold": -0.3, "value": 2}),
        ("glu", {"dim": 0}),
        ("softmin", {"dim": 1}),
    ]
    return [
        Case(f"{name}-{'-'.join(map(str, options.values()))}", _call(name, **options), (of(2, 3, 4),), tolerance=8)
        for name, options in rows
    ]


def _in_place(t, a):
    x = a * 1
    f = t.nn.functional
    for name in ("elu_", "leaky_relu_", "selu_", "celu_", "relu_"):
        x = getattr(f, name)(x) * 1.5
    x = f.hardtanh_(x + a, -0.7, 0.8)
    return f.silu(f.mish(f.hardswish(x * 2, inplace=True), inplace=True), inplace=True)


def _transposed(t, a):
    y = t.nn.functional.silu(a.permute(2, 0, 1)[:, :, ::2])
    return y * t.nn.functional.gelu(a.permute(2, 0, 1))[:, :, ::2]


CASES = [
    *_defaults(),
    *_options(),
    Case("activations-inplace", _in_place, (of(3, 4),), tolerance=8),
    Case("activations-transposed", _transposed, (of(2, 3, 4),), tolerance=8),
    Case("prelu", lambda t, a, w: t.prelu(a, w), (of(2, 3, 4), Input((1,))), batched=True),
    Case("prelu-channels", lambda t, a, w: a.prelu(w), (of(2, 3, 4), of(3)), batched=True),
    Case("prelu-matrix", lambda t, a, w: t.prelu(a, w), (of(4, 3), of(3)), batched=True),
    Case("glu", _call("glu"), (of(2, 3, 4),), batched=True, tolerance=8),
]
