"""PyTorch's question for the processor's vector instructions."""


def get_cpu_capability() -> str:
    """Return the vector instructions that kernels use: "AVX512", "AVX2", "NEON" or "DEFAULT"."""
    from nbtorch.kernels.cpu.simd import host_simd

    name = host_simd().name.upper().replace("-", "")
    return name if name in ("AVX512", "AVX2", "NEON") else "DEFAULT"
