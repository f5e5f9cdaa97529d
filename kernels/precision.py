"""How float32 products may be rounded on tensor cores: what the switches of `nbtorch.backends` set, and kernels read.

"ieee" is float32 throughout. "tf32" rounds the factors to TensorFloat-32 (10 bits of fraction instead of 23) and adds
in float32. On processors, and in the simulator unless it models tensor cores, everything is "ieee".
"""

CHOICES = ("ieee", "tf32")

conv = "tf32"
"""Of convolutions: PyTorch's default."""

matmul = "ieee"
"""Of matrix products: PyTorch's default."""


def set_conv(value: str) -> None:
    """Choose the rounding of convolutions."""
    global conv
    conv = _checked("conv", value)


def set_matmul(value: str) -> None:
    """Choose the rounding of matrix products."""
    global matmul
    matmul = _checked("matmul", value)


def _checked(name: str, value: str) -> str:
    if value not in CHOICES:
        raise RuntimeError(f"precision: {name} must be one of {CHOICES}, got {value!r}")
    return value
