"""Rows for normalisation."""

from .case import Case, Input, of


def _norm(name, *leading, **options):
    return lambda t, a, *affine: getattr(t.nn.functional, name)(a, *leading, *affine, **options)


def _running(t, a, w, b, m, v):
    return t.nn.functional.batch_norm(a, m, v + 1, w, b, False, 0.1, 1e-3)


def _updated(name):
    def run(t, a, w, b, m, v):
        mean, variance = m * 1, v * 1 + 1
        y = getattr(t.nn.functional, name)(a, mean, variance, w, b, True, 0.3, 1e-3)
        return y, mean, variance

    return run


x, w, b = of(4, 3, 5), of(3), of(3)
m, v = Input((3,), "factor"), Input((3,), "factor")

CASES = [
    Case("batch_norm", _norm("batch_norm", None, None, training=True, eps=1e-3), (x, w, b), tolerance=8, kernel=True),
    Case("batch_norm-matrix", _norm("batch_norm", None, None, training=True), (of(6, 3), w, b), tolerance=20),
    Case("batch_norm-plain", _norm("batch_norm", None, None, training=True), (of(2, 3, 3, 4),), tolerance=20),
    Case("batch_norm-running", _running, (x, w, b, m, v), tolerance=8, batched=True),
    Case("batch_norm-updated", _updated("batch_norm"), (x, w, b, m, v), tolerance=8),
    Case("instance_norm", _norm("instance_norm", None, None, eps=1e-3), (x, w, b), tolerance=8, kernel=True),
    Case("instance_norm-updated", _updated("instance_norm"), (x, w, b, m, v), tolerance=8),
    Case("group_norm", _norm("group_norm", 2), (of(2, 4, 5), of(4), of(4)), tolerance=20, batched=True, kernel=True),
    Case("group_norm-one", _norm("group_norm", 1, eps=1e-2), (of(2, 3, 2, 2),), tolerance=8, batched=True),
    Case("layer_norm", _norm("layer_norm", (5,)), (x, of(5), of(5)), tolerance=20, batched=True, kernel=True),
    Case("layer_norm-two", _norm("layer_norm", (3, 5)), (x, of(3, 5), of(3, 5)), tolerance=20, batched=True),
    Case("layer_norm-plain", _norm("layer_norm", (5,), eps=0.1), (x,), tolerance=8),
    Case("rms_norm", _norm("rms_norm", (5,)), (x, of(5)), tolerance=8, kernel=True, batched=True),
    Case("rms_norm-eps", _norm("rms_norm", (3, 5), eps=0.1), (x,), tolerance=8),
    Case("local_response_norm", _norm("local_response_norm", 3, alpha=0.3), (of(2, 5, 4),), tolerance=8, batched=True),
    Case("local_response_norm-even", _norm("local_response_norm", 4, beta=0.6, k=2.0), (of(2, 5, 2, 2),), tolerance=8),
    Case("normalize", _norm("normalize"), (x,), tolerance=8, batched=True),
    Case("normalize-1", _norm("normalize", p=1, dim=-1), (x,), tolerance=8),
]
