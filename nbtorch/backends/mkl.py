"""PyTorch's question for Intel's MKL, which nothing here uses."""


def is_available() -> bool:
    """Return False: kernels are ours."""
    return False
