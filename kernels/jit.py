"""The decorator every CPU kernel is compiled with."""

from numba import njit as _numba_njit


def njit(function=None, *, parallel=False, fastmath=frozenset({"contract"}), **options):
    """Compile `function` with the options that all CPU kernels share."""
    if function is None:
        return lambda function: njit(function, parallel=parallel, fastmath=fastmath, **options)
    return _numba_njit(
        function, parallel=parallel, fastmath=set(fastmath), nogil=True, error_model="numpy", **options
    )
