"""Rows for attention."""

import numpy as np

from .case import Case, of


def _attention(**options):
    return lambda t, q, k, v, *mask: t.nn.functional.scaled_dot_product_attention(q, k, v, *mask, **options)


def _reference(causal=False, repeats=1):
    def run(q, k, v, mask=None):
        k, v = np.repeat(k, repeats, -3), np.repeat(v, repeats, -3)
        scores = q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1])
        if causal:
            mask = np.tri(*scores.shape[-2:], dtype=bool)
        if mask is not None:
            scores = np.where(mask, scores, -np.inf) if mask.dtype == bool else scores + mask
        with np.errstate(all="ignore"):
            top = scores.max(-1, keepdims=True)
            weights = np.exp(scores - np.where(np.isinf(top), 0, top))
            total = weights.sum(-1, keepdims=True)
            return (weights / np.where(total == 0, 1, total)) @ v

    return run


q, k, v = of(2, 2, 5, 3), of(2, 2, 11, 3), of(2, 2, 11, 4)
shared_k, shared_v = of(2, 1, 11, 3), of(2, 1, 11, 4)

CASES = [
    Case("attention", _attention(), (q, k, v), _reference(), tolerance=4, kernel=True),
    Case("attention-causal", _attention(is_causal=True), (q, k, v), _reference(True), tolerance=4, kernel=True),
    Case(
        "attention-boolean mask",
        _attention(),
        (q, k, v, of(5, 11, kind="mask")),
        _reference(),
        tolerance=4,
        kernel=True,
    ),
    Case(
        "attention-added mask",
        _attention(),
        (q, k, v, of(2, 1, 1, 11, kind="factor")),
        _reference(),
        tolerance=4,
        kernel=True,
    ),
    Case(
        "attention-shared heads",
        _attention(enable_gqa=True),
        (q, shared_k, shared_v),
        _reference(repeats=2),
        tolerance=4,
        kernel=True,
    ),
]
