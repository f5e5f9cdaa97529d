"""Kernels for the processor, compiled by Numba: the same files, functions and signatures as `kernels.cuda`.

The public functions of each module are plain Python: they choose between serial and parallel variants and hand arrays
to compiled functions. Arrays are C-contiguous and already checked by the caller.
"""
