"""PyTorch's switches for CUDA: whether float32 matrix products may use tensor cores."""

from __future__ import annotations

from typing import Any

from nbtorch.kernels import precision

from ..device import is_cuda_usable
from .switches import as_bool


class _MatmulSwitches:
    """`backends.cuda.matmul`."""

    allow_fp16_reduced_precision_reduction = True
    allow_bf16_reduced_precision_reduction = True
    allow_fp16_accumulation = False

    @property
    def allow_tf32(self) -> bool:
        """Whether float32 matrix products round their factors to TensorFloat-32; False, as in PyTorch."""
        return precision.matmul == "tf32"

    @allow_tf32.setter
    def allow_tf32(self, value: Any) -> None:
        precision.set_matmul("tf32" if as_bool("backends.cuda.matmul.allow_tf32", value) else "ieee")

    @property
    def fp32_precision(self) -> str:
        """The same as a name: "ieee" or "tf32"."""
        return precision.matmul

    @fp32_precision.setter
    def fp32_precision(self, value: str) -> None:
        precision.set_matmul(value)


matmul = _MatmulSwitches()


def is_built() -> bool:
    """Return whether CUDA could be used with what is installed, a GPU or not."""
    from nbtorch.kernels.cuda import target

    return is_cuda_usable() or target.has_numba_cuda()
