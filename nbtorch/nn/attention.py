"""Which way `scaled_dot_product_attention` takes: `torch.nn.attention`."""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Iterator
from contextvars import ContextVar

__all__ = ["WARN_FOR_UNFUSED_KERNELS", "SDPBackend", "sdpa_kernel"]

WARN_FOR_UNFUSED_KERNELS = False


class SDPBackend(enum.Enum):
    """The ways. `MATH` holds the probabilities in memory, `FLASH_ATTENTION` is the kernel that does not."""

    ERROR = -1
    MATH = 0
    FLASH_ATTENTION = 1
    EFFICIENT_ATTENTION = 2
    CUDNN_ATTENTION = 3
    OVERRIDEABLE = 4

    def __int__(self) -> int:
        return self.value


allowed: ContextVar[frozenset[SDPBackend]] = ContextVar("allowed", default=frozenset(SDPBackend))
"""The ways that may be taken."""


@contextlib.contextmanager
def sdpa_kernel(backends: list[SDPBackend] | SDPBackend, set_priority: bool = False) -> Iterator[None]:
    """Allow some ways only, inside a `with` statement or a decorated function.

    Args:
        backends: one, or a list.
        set_priority: the order in the list is that of preference. The kernel is preferred where it serves, whatever
            the order.

    Raises:
        AssertionError: no `SDPBackend`, or not a list of them.

    >>> import nbtorch, nbtorch.nn.functional as F
    >>> from nbtorch.nn.attention import SDPBackend, sdpa_kernel
    >>> x = nbtorch.ones(1, 1, 2, 4)
    >>> with sdpa_kernel(SDPBackend.MATH):
    ...     F.scaled_dot_product_attention(x, x, x).shape
    torch.Size([1, 1, 2, 4])
    """
    if not isinstance(backends, (list, SDPBackend)):
        raise AssertionError(
            "Backend must be an instance of SDPBackend or a list of SDPBackend instances, got"
            f" {type(backends).__name__}"
        )
    before = allowed.set(frozenset([backends] if isinstance(backends, SDPBackend) else backends))
    try:
        yield
    finally:
        allowed.reset(before)
