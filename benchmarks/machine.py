"""The machine that results belong to: what it is, and what it is capable of."""

import importlib.metadata
import platform
import sys
from pathlib import Path

from .groups import Environment


def processor() -> str:
    """Return the name of the processor."""
    cpuinfo = Path("/proc/cpuinfo")
    for line in cpuinfo.read_text().splitlines() if cpuinfo.exists() else []:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def simd() -> str:
    """Return the vector instructions that the kernels use."""
    from nbtorch.kernels.cpu.simd import host_simd

    return host_simd().name


def versions() -> dict[str, str]:
    """Return the versions of everything that takes part in a comparison."""
    from nbtorch import __version__

    others = {name: importlib.metadata.version(name) for name in ("torch", "numba", "numpy")}
    return {"Python": platform.python_version(), "nbtorch": __version__, **others}


def peak_flops(threads: int) -> float:
    """Measure how many single-precision operations per second the processor does at most, in a process of its own."""
    return float(Environment(threads, "cpu").run(sys.executable, "-m", "benchmarks.peak"))
