"""The compile gate: every CUDA kernel becomes machine code without a GPU, with its numbers in registers and no spills.

Needs numba-cuda with NVVM, and `ptxas`. `python -m nbtorch.kernels.cuda.resources` prints what each kernel takes.
"""

import ast
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from nbtorch.kernels import jit
from nbtorch.kernels.cuda import cubins, driver, resources, target

NOT_FAMILIES = {"__init__", "target", "driver", "cubins", "resources"}

REDUCTION_BYTES = 40
"""What libdevice keeps in local memory to reduce large arguments of sines and cosines."""

WITH_SINES = {"digamma", "airy_ai", "bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1"}
"""The special functions that need sines."""


@pytest.fixture(scope="module")
def ptxas():
    reason = resources.why_not()
    if reason:
        pytest.skip(reason)
    if resources.find_ptxas() is None:
        pytest.skip("ptxas is not installed (pip install 'nbtorch[cuda-compile]')")
    return resources.find_ptxas()


def factories(family):
    """Return the names of a module's functions that make kernels."""
    module = importlib.import_module(f"nbtorch.kernels.cuda.{family}")
    tree = ast.parse(Path(module.__file__).read_text())
    return {
        function.name
        for function in tree.body
        if isinstance(function, ast.FunctionDef)
        for call in ast.walk(function)
        if isinstance(call, ast.Call) and ast.unparse(call.func) in ("target.Kernel", "Kernel")
    }


def modules():
    return sorted(path.stem for path in Path(target.__file__).parent.glob("*.py") if path.stem not in NOT_FAMILIES)


@pytest.mark.parametrize("family", modules())
def test_no_kernel_is_forgotten(family):
    module = importlib.import_module(f"nbtorch.kernels.cuda.{family}")
    made = factories(family)
    if not made:
        return
    listed = [
        kernel
        for dtype in resources.DTYPES.get(family, ("float32", "float64"))
        for kernel in module.catalogue(np.dtype(dtype)).values()
    ]
    assert made <= {kernel.function.__qualname__.partition(".")[0] for kernel in listed}


def layout_of(ptx):
    """Return the parameters of a kernel in PTX, as letters of `struct` of their sizes."""
    declared = re.findall(r"^\s*\.param \.([a-z]+)(\d+) ", ptx.partition(".entry")[2].partition("\n)")[0], re.MULTILINE)
    return [{"64": "q", "32": "i", "16": "h", "8": "b"}[size] for _, size in declared]


def test_machine_code_is_found_again(ptxas, tmp_path, monkeypatch):
    monkeypatch.setenv("NBTORCH_CACHE_DIR", str(tmp_path))
    kernel = resources.kernel("dropout", "float32", next(iter(resources.kernels_of("dropout", "float32"))))
    before = jit.compilations()
    made = cubins.cubin(kernel, (8, 0))
    assert made.code.startswith(b"\x7fELF") and made.name.encode() in made.code
    assert cubins.cubin(kernel, (8, 0)) == made
    assert jit.compilations() == before + 1


def test_a_second_process_compiles_nothing(ptxas, tmp_path):
    command = [sys.executable, "-m", "nbtorch", "warmup", "--device", "cuda", "--arch", "sm_80", "--family", "dropout"]
    environment = {**os.environ, "NBTORCH_CACHE_DIR": str(tmp_path)}
    for expected in ("are ready: 1 ", "were ready in .* nothing to compile"):
        result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        assert result.returncode == 0, result.stderr
        assert re.search(f"The kernels for float32 on sm_80 {expected}", result.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", resources.ARCHITECTURES, ids=lambda cc: f"sm_{cc[0]}{cc[1]}")
@pytest.mark.parametrize(
    ("family", "dtype", "name"),
    [pytest.param(*found, id="-".join((found[0], found[2], found[1]))) for found in resources.kernels()],
)
def test_kernel_compiles_without_spills(family, dtype, name, architecture, ptxas):
    kernel = resources.kernel(family, dtype, name)
    if architecture < kernel.needs:
        pytest.skip("tensor cores there do not know TensorFloat-32")
    ptx = kernel.ptx(architecture)
    assert driver.offsets("".join(kernel._kinds)) == driver.offsets(layout_of(ptx))
    found = resources.assemble(ptx, architecture)
    meant = REDUCTION_BYTES if family == "special" and name in WITH_SINES else 0
    assert found.stack <= meant
    assert (found.spill_stores, found.spill_loads) == (0, 0)
    assert found.registers * kernel.threads * kernel.blocks <= 65536
    assert found.shared <= 48 * 1024
