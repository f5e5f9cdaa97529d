"""Live comparison: a program runs with nbtorch and with PyTorch, and must come to the same end."""

import warnings
from collections.abc import Mapping

import pytest

import nbtorch


def describe(value):
    """Turn a result into something that compares equal across the two libraries (random values left out)."""
    if hasattr(value, "requires_grad") and hasattr(value, "dtype"):
        kind = "Parameter" if "Parameter" in type(value).__name__ else "Tensor"  # PyTorch's buffers are plain tensors
        return kind, tuple(value.shape), str(value.dtype), value.requires_grad, value.is_leaf
    if hasattr(value, "named_modules") or isinstance(value, type):
        return repr(value) if not isinstance(value, type) else value.__name__
    if isinstance(value, Mapping):
        return [(describe(key), describe(item)) for key, item in value.items()]
    if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
        return [describe(item) for item in value]
    return repr(value)


def outcome(program, library):
    """Return how a program ends: the description of its result, or the type of its error; and the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            end = describe(program(library))
        except Exception as error:
            end = f"raises {type(error).__name__}"
    return end, sorted({warning.category.__name__ for warning in caught})


@pytest.fixture(scope="session")
def same():
    torch = pytest.importorskip("torch")

    def check(program):
        assert outcome(program, nbtorch) == outcome(program, torch)

    return check
