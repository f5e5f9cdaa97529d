"""The compile gate: every CUDA kernel becomes machine code without a GPU, with its numbers in registers and no spills.

Needs numba-cuda with NVVM, and `ptxas`. `python -m nbtorch.kernels.cuda.resources` prints what each kernel takes.
"""

import ast
import importlib
from pathlib import Path

import numpy as np
import pytest
from nbtorch.kernels.cuda import resources, target

NOT_FAMILIES = {"__init__", "target", "resources"}

REDUCTION_BYTES = 40
"""What libdevice keeps in local memory to reduce large arguments of sines and cosines."""

WITH_SINES = {"digamma", "airy_ai", "bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1"}
"""The special functions that need sines."""


def why_not():
    """Return why nothing can be compiled here, or None."""
    if target.is_simulator():
        return "the simulator compiles nothing"
    if not target.has_numba_cuda():
        return "numba-cuda is not installed"
    if resources.find_ptxas() is None:
        return "ptxas is not installed (pip install 'cuda-toolkit[nvcc]==13.0.*')"
    try:
        target.Kernel(do_nothing, ("int32",), 32).ptx((8, 0))
    except Exception as error:  # the driver's, pathfinder's and NVVM's own kinds
        first_line = (str(error).strip() or repr(error)).splitlines()[0]
        return f"NVVM or NVRTC cannot be loaded (pip install 'cuda-toolkit[nvvm,nvrtc]==13.0.*'): {first_line}"
    return None


def do_nothing(number):
    pass


@pytest.fixture(scope="module")
def ptxas():
    reason = why_not()
    if reason:
        pytest.skip(reason)
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
    found = resources.assemble(kernel.ptx(architecture), architecture, ptxas)
    meant = REDUCTION_BYTES if family == "special" and name in WITH_SINES else 0
    assert found.stack <= meant
    assert (found.spill_stores, found.spill_loads) == (0, 0)
    assert found.registers * kernel.threads * kernel.blocks <= 65536
    assert found.shared <= 48 * 1024
