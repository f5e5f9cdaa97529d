"""PyTorch's questions for Apple's GPUs, which kernels here do not run on."""


def is_available() -> bool:
    """Return False."""
    return False


def is_built() -> bool:
    """Return False."""
    return False
