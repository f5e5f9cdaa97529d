"""PyTorch's switches for cuDNN. Here they concern the convolutions of `nbtorch.kernels.cuda`.

`allow_tf32` (True, as in PyTorch) lets float32 convolutions round their factors to TensorFloat-32. `enabled`,
`benchmark`, `benchmark_limit` and `deterministic` change nothing: there is one choice of kernels, and it is
deterministic.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from nbtorch.kernels import precision

from ..device import is_cuda_usable
from .switches import as_bool, changed, install

enabled = True
benchmark = False
benchmark_limit = 10
deterministic = False


def is_available() -> bool:
    """Return whether convolutions run on CUDA here."""
    return is_cuda_usable()


def version() -> int | None:
    """Return None: there is no cuDNN."""
    return None


def is_acceptable(tensor: Any) -> bool:
    """Return whether convolutions of a tensor like this run on a GPU."""
    return tensor.is_cuda and tensor.is_floating_point()


def flags(
    enabled: bool | None = False,
    benchmark: bool | None = False,
    benchmark_limit: int | None = 10,
    deterministic: bool | None = False,
    allow_tf32: bool | None = True,
    fp32_precision: str | None = None,
) -> AbstractContextManager[None]:
    """Set the switches inside a `with` block; None leaves one as it is."""
    values = {
        "enabled": enabled,
        "benchmark": benchmark,
        "benchmark_limit": benchmark_limit,
        "deterministic": deterministic,
        "allow_tf32": allow_tf32,
        "fp32_precision": None if fp32_precision == "none" else fp32_precision,
    }
    return changed(__name__, values)


def _allow_tf32(value: Any) -> None:
    precision.set_conv("tf32" if as_bool("backends.cudnn.allow_tf32", value) else "ieee")


install(
    __name__,
    {
        "allow_tf32": (lambda: precision.conv == "tf32", _allow_tf32),
        "fp32_precision": (lambda: precision.conv, precision.set_conv),
    },
    {"enabled": bool, "benchmark": bool, "benchmark_limit": int, "deterministic": bool},
)
