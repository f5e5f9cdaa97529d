"""CUDA kernels as machine code on disk, so that only the first process of a machine waits for compilers.

A kernel for one architecture is a file of its own beside those of the CPU (`kernels.cache`), under a key that covers
the sources it is made from, the versions of the compilers and the architecture. PTX is made by NVVM, which needs no
GPU; machine code of it by the driver, or, where there is none, by `ptxas` of a toolkit: kernels can be compiled ahead
on another machine.
"""

import functools
import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any, NamedTuple

from .. import cache, jit, sources
from . import driver

COMPILERS = ("numba-cuda", "numba", "llvmlite", "nvidia-nvvm", "numpy")
"""The packages whose versions change the code."""


class Cubin(NamedTuple):
    """Machine code with one kernel, and the kernel's name in it."""

    name: str
    code: bytes


class NoAssembler(RuntimeError):
    """There is neither a driver nor `ptxas`."""


_compiling = threading.RLock()  # compilers are used by one thread at a time


def architecture_name(capability: tuple[int, int]) -> str:
    """Return (9, 0) as "sm_90"."""
    return "sm_{}{}".format(*capability)


def capability_of(architecture: str) -> tuple[int, int]:
    """Return "sm_90" as (9, 0). ValueError for anything else."""
    found = re.fullmatch(r"sm_(\d+)(\d)", architecture)
    if found is None:
        raise ValueError(f"an architecture is named as sm_80 is, got {architecture!r}")
    return int(found[1]), int(found[2])


def cubin(kernel: Any, capability: tuple[int, int]) -> Cubin:
    """Return the machine code of a `target.Kernel`: from disk, or compiled and kept there."""
    path = entry(kernel, capability)
    payload = cache.read_entry(path)
    if payload is not None:
        name, _, code = payload.partition(b"\0")
        return Cubin(name.decode(), code)
    with _compiling, jit.compiling(kernel.function.__qualname__.partition(".")[0]):
        ptx = kernel.ptx(capability)
        made = Cubin(entry_point(ptx), assemble(ptx, capability))
    if not sources.edited_since_import(kernel.function):
        cache.write_entry(path, made.name.encode() + b"\0" + made.code)
    return made


def entry(kernel: Any, capability: tuple[int, int]) -> Path:
    """Return the file that holds, or will hold, a kernel for an architecture."""
    function, target = kernel.function, architecture_name(capability)
    family = function.__module__.rpartition(".")[2]
    key = sources.digest((function.__module__, sources.digest_behind(function), _settings(), target))
    parts = [cache.describe_function(function), repr(sorted(kernel.options.items()))]
    parts += [_parameter(parameter) for parameter in kernel.parameters]
    name = function.__qualname__.partition(".")[0]
    folder = cache.cache_root() / f"cuda-{family}-{target}-{key[:20]}"
    return folder / f"{name}-{sources.digest(parts)[:32]}.cubin"


@functools.cache
def _settings() -> str:
    """Name the versions of the compilers."""
    return repr([(name, _version(name)) for name in COMPILERS])


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _parameter(parameter: Any) -> str:
    return repr(parameter._fields) if hasattr(parameter, "_fields") else str(parameter)


def entry_point(ptx: str) -> str:
    """Return the name of the one kernel in PTX."""
    (name,) = re.findall(r"\.visible \.entry ([\w$.]+)\(", ptx)
    return name


def assemble(ptx: str, capability: tuple[int, int]) -> bytes:
    """Return PTX as machine code, by the driver where there is a GPU of this kind, else by `ptxas`.

    Raises:
        NoAssembler: there is neither.
        RuntimeError: what the assembler says.
    """
    from . import target

    if target.is_available() and target.capability(target.current_device()) == capability:
        return driver.driver().link(ptx)
    return run_ptxas(ptx, capability)[0]


def find_ptxas() -> str | None:
    """Look for the assembler in the package nvidia-cuda-nvcc, in a toolkit, and on the path."""
    toolkits = [Path(os.environ[name]) for name in ("CUDA_HOME", "CUDA_PATH") if name in os.environ]
    spec = importlib.util.find_spec("nvidia")
    packages = [Path(folder) / "cu13" for folder in (spec.submodule_search_locations or () if spec else ())]
    folders = os.pathsep.join(str(folder / "bin") for folder in packages + toolkits)
    return shutil.which("ptxas", path=folders) or shutil.which("ptxas")


def run_ptxas(ptx: str, capability: tuple[int, int]) -> tuple[bytes, str]:
    """Return what `ptxas` makes of PTX, and what it says of registers and memory.

    Raises:
        NoAssembler: it is not installed.
        RuntimeError: its words, where it refuses.
    """
    ptxas = find_ptxas()
    if ptxas is None:
        raise NoAssembler("ptxas is not installed (pip install 'nbtorch[cuda-compile]')")
    with tempfile.TemporaryDirectory() as folder:
        source, made = Path(folder) / "kernel.ptx", Path(folder) / "kernel.cubin"
        source.write_text(ptx)
        command = [ptxas, "-v", f"-arch={architecture_name(capability)}", str(source), "-o", str(made)]
        result = subprocess.run(command, capture_output=True, text=True, timeout=300)
        if result.returncode:
            raise RuntimeError(f"ptxas: {result.stderr}")
        return made.read_bytes(), result.stderr
