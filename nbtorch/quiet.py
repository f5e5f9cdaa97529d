"""Array code without NumPy's floating-point warnings: like PyTorch, nbtorch lets infinities and NaN pass in silence.

`numpy.errstate` costs about a microsecond, several times a small operation. NumPy keeps its error state in a context
variable, so code that runs inside a context where the warnings are off pays some 40 ns instead, and the user's own
settings are never touched.
"""

import contextvars
import threading
from collections.abc import Callable
from typing import Any

import numpy as np


class QuietContext(threading.local):
    """One context for each thread: a context cannot be entered twice at a time."""

    def __init__(self) -> None:
        context = contextvars.Context()
        context.run(np.seterr, all="ignore")
        self.run = context.run


local = QuietContext()


def quietly(function: Callable[..., Any], *args: Any) -> Any:
    """Return `function(*args)`, run with NumPy's floating-point warnings off.

    Where a Python call more counts, use `local.run` and `is_reentry` directly.
    """
    try:
        return local.run(function, *args)
    except RuntimeError as error:
        if not is_reentry(error):
            raise
    return function(*args)


def is_reentry(error: RuntimeError) -> bool:
    """Whether `local.run` was called inside itself, as happens when a finaliser runs array code: call plainly then."""
    return str(error).startswith("cannot enter context")
