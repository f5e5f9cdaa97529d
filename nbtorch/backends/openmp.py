"""PyTorch's question for OpenMP."""


def is_available() -> bool:
    """Return whether Numba's threads can be OpenMP's."""
    import importlib.util

    return importlib.util.find_spec("numba.np.ufunc.omppool") is not None
