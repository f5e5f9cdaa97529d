"""CUDA kernels: the same modules, functions and signatures as `nbtorch.kernels.cpu`.

Arrays are CuPy arrays on a GPU and NumPy arrays in Numba's simulator (`NUMBA_ENABLE_CUDASIM=1`).
"""
