"""The kernels of nbtorch: arrays in, arrays out.

`kernels.cpu` holds `@njit` functions for the processor, `kernels.cuda` holds `@cuda.jit` functions for NVIDIA
GPUs: the same files, the same functions, the same signatures. Nothing here knows of Tensor, autograd or modules.
"""
