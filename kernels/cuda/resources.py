"""What a GPU needs to run each kernel, found without one: registers, shared memory, stack and spills.

    python -m nbtorch.kernels.cuda.resources [ARCHITECTURE]

prints a table for one architecture (`sm_90` by default). Kernels are compiled with NVVM and assembled with `ptxas`,
both from the extra `cuda-compile`.
"""

import importlib
import importlib.util
import os
import pkgutil
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from nbtorch.kernels.cuda import target

ARCHITECTURES = ((7, 5), (8, 0), (9, 0))
"""The architectures that every kernel is compiled for: Turing, Ampere, Hopper."""

DTYPES = {
    "pool": ("float32", "float64", "int64"),
    "pad": ("float32", "float64", "uint8", "uint16"),
    "interpolate": ("float32", "float64", "uint8"),
}
"""The dtypes of families that have others than float32 and float64."""


class Resources(NamedTuple):
    """What one kernel takes: registers of a thread, bytes of shared memory of a block, bytes of a thread's stack."""

    registers: int
    shared: int
    stack: int
    spill_stores: int
    spill_loads: int


def families() -> list[str]:
    """Return the names of the modules beside this one that make kernels: those with a `catalogue`."""
    names = (module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]))
    return [name for name in names if hasattr(importlib.import_module(f"nbtorch.kernels.cuda.{name}"), "catalogue")]


def kernels() -> Iterator[tuple[str, str, str]]:
    """Yield (family, dtype, name) of every kernel."""
    for family in families():
        module = importlib.import_module(f"nbtorch.kernels.cuda.{family}")
        for dtype in DTYPES.get(family, ("float32", "float64")):
            for name in module.catalogue(np.dtype(dtype)):
                yield family, dtype, name


def kernel(family: str, dtype: str, name: str) -> target.Kernel:
    """Return one kernel."""
    return importlib.import_module(f"nbtorch.kernels.cuda.{family}").catalogue(np.dtype(dtype))[name]


def find_ptxas() -> str | None:
    """Look for the assembler in the package nvidia-cuda-nvcc, in a toolkit, and on the path."""
    toolkits = [Path(os.environ[name]) for name in ("CUDA_HOME", "CUDA_PATH") if name in os.environ]
    spec = importlib.util.find_spec("nvidia")
    packages = [Path(folder) / "cu13" for folder in (spec.submodule_search_locations or () if spec else ())]
    folders = os.pathsep.join(str(folder / "bin") for folder in packages + toolkits)
    return shutil.which("ptxas", path=folders) or shutil.which("ptxas")


def assemble(ptx: str, architecture: tuple[int, int], ptxas: str) -> Resources:
    """Assemble a kernel for an architecture and return what it takes. RuntimeError with the assembler's words."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "kernel.ptx"
        source.write_text(ptx)
        command = [ptxas, "-v", "-arch=sm_{}{}".format(*architecture), str(source), "-o", os.devnull]
        result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if result.returncode:
        raise RuntimeError(f"ptxas: {result.stderr}")
    registers = re.search(r"Used (\d+) registers", result.stderr)
    memory = re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", result.stderr)
    shared = re.search(r"(\d+) bytes smem", result.stderr)
    if registers is None or memory is None:
        raise RuntimeError(f"ptxas says nothing of registers and stack: {result.stderr}")
    return Resources(int(registers[1]), int(shared[1]) if shared else 0, *(int(number) for number in memory.groups()))


def main() -> None:
    """Print the table."""
    wanted = sys.argv[1] if len(sys.argv) > 1 else "sm_90"
    ptxas = find_ptxas()
    if ptxas is None:
        raise SystemExit("ptxas is not installed (pip install 'nbtorch[cuda-compile]')")
    architecture = int(wanted.removeprefix("sm_")[:-1]), int(wanted[-1])
    print(f"| family | kernel, {wanted} | dtype | threads | registers | shared bytes | spilled bytes |")
    print("|---|---|---|---|---|---|---|")
    for family, dtype, name in kernels():
        made = kernel(family, dtype, name)
        if made.needs <= architecture:
            found = assemble(made.ptx(architecture), architecture, ptxas)
            spilled = found.stack + found.spill_stores + found.spill_loads
            row = (family, name, dtype, made.threads, found.registers, found.shared, spilled)
            print("| " + " | ".join(map(str, row)) + " |", flush=True)


if __name__ == "__main__":
    main()
