"""What a GPU needs to run each kernel, found without one: registers, shared memory, stack and spills.

    python -m nbtorch.kernels.cuda.resources [ARCHITECTURE]

prints a table for one architecture (`sm_90` by default). Kernels are compiled with NVVM and assembled with `ptxas`,
both from the extra `cuda-compile`.
"""

import importlib
import pkgutil
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from nbtorch.kernels.cuda import target
from nbtorch.kernels.cuda.cubins import capability_of, find_ptxas, run_ptxas

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
        for dtype in dtypes(family):
            for name in kernels_of(family, dtype):
                yield family, dtype, name


def dtypes(family: str) -> tuple[str, ...]:
    """Return the dtypes that a family has kernels for."""
    return DTYPES.get(family, ("float32", "float64"))


def kernels_of(family: str, dtype: str) -> dict[str, target.Kernel]:
    """Return the kernels of a family for a dtype, by name."""
    return importlib.import_module(f"nbtorch.kernels.cuda.{family}").catalogue(np.dtype(dtype))


def kernel(family: str, dtype: str, name: str) -> target.Kernel:
    """Return one kernel."""
    return kernels_of(family, dtype)[name]


def why_not() -> str | None:
    """Return in one sentence why nothing can be compiled and assembled here, or None where it can."""
    if target.is_simulator():
        return "the simulator compiles nothing"
    if not target.has_numba_cuda():
        return "numba-cuda is not installed (pip install 'nbtorch[cuda-compile]')"
    if not target.is_available() and find_ptxas() is None:
        return "ptxas is not installed (pip install 'nbtorch[cuda-compile]')"
    try:
        target.Kernel(_nothing, ("int32",), 32).ptx((8, 0))
    except Exception as error:  # the driver's, pathfinder's and NVVM's own kinds
        first_line = (str(error).strip() or repr(error)).splitlines()[0]
        return f"NVVM or NVRTC cannot be loaded (pip install 'nbtorch[cuda-compile]'): {first_line}"
    return None


def _nothing(number):
    pass


def assemble(ptx: str, architecture: tuple[int, int]) -> Resources:
    """Assemble a kernel for an architecture and return what it takes. RuntimeError with the assembler's words."""
    _, log = run_ptxas(ptx, architecture)
    registers = re.search(r"Used (\d+) registers", log)
    memory = re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", log)
    shared = re.search(r"(\d+) bytes smem", log)
    if registers is None or memory is None:
        raise RuntimeError(f"ptxas says nothing of registers and stack: {log}")
    return Resources(int(registers[1]), int(shared[1]) if shared else 0, *(int(number) for number in memory.groups()))


def main() -> None:
    """Print the table."""
    wanted = sys.argv[1] if len(sys.argv) > 1 else "sm_90"
    if reason := why_not():
        raise SystemExit(reason)
    architecture = capability_of(wanted)
    print(f"| family | kernel, {wanted} | dtype | threads | registers | shared bytes | spilled bytes |")
    print("|---|---|---|---|---|---|---|")
    for family, dtype, name in kernels():
        made = kernel(family, dtype, name)
        if made.needs <= architecture:
            found = assemble(made.ptx(architecture), architecture)
            spilled = found.stack + found.spill_stores + found.spill_loads
            row = (family, name, dtype, made.threads, found.registers, found.shared, spilled)
            print("| " + " | ".join(map(str, row)) + " |", flush=True)


if __name__ == "__main__":
    main()
