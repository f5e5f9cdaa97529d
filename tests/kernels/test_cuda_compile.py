"""The compile gate: every CUDA kernel becomes machine code without a GPU, with its numbers in registers and no spills.

Needs numba-cuda with NVVM, and `ptxas`. The registers of each kernel are printed (`pytest -s`).
"""

import importlib
import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from nbtorch.kernels.cuda import target

pytestmark = pytest.mark.slow

POOLINGS = ["pool", "avg_pool", "adaptive_pool", "lp_pool", "fractional_pool", "unpool", "pad"]
FAMILIES = ["conv", *POOLINGS, "elementwise", "norm", "softmax"]
ARCHITECTURES = [(7, 5), (8, 0), (9, 0)]
DTYPES = {
    "conv": ["float32", "float64"],
    "pool": ["float32", "float64", "int64"],
    "pad": ["float32", "float64", "uint8", "uint16"],
}


def find_ptxas():
    """Look for the assembler on the path, in a toolkit, and in the package nvidia-cuda-nvcc."""
    toolkits = [Path(os.environ[name]) for name in ("CUDA_HOME", "CUDA_PATH") if name in os.environ]
    spec = importlib.util.find_spec("nvidia")
    packages = [Path(folder) / "cu13" for folder in (spec.submodule_search_locations if spec else ())]
    return shutil.which("ptxas", path=os.pathsep.join(str(folder / "bin") for folder in packages + toolkits)) or (
        shutil.which("ptxas")
    )


def why_not():
    """Return why nothing can be compiled here, or None."""
    if target.is_simulator():
        return "the simulator compiles nothing"
    if not target.has_numba_cuda():
        return "numba-cuda is not installed"
    if find_ptxas() is None:
        return "ptxas is not installed (pip install 'cuda-toolkit[nvcc]==13.0.*')"
    try:
        target.Kernel(do_nothing, ("int32",), 32).ptx((8, 0))
    except Exception as error:  # the driver's, pathfinder's and NVVM's own kinds
        first_line = (str(error).strip() or repr(error)).splitlines()[0]
        return f"NVVM or NVRTC cannot be loaded (pip install 'cuda-toolkit[nvvm,nvrtc]==13.0.*'): {first_line}"
    return None


def do_nothing(number):
    pass


def kernels():
    for family in FAMILIES:
        for dtype in DTYPES.get(family, ["float32", "float64"]):
            module = importlib.import_module(f"nbtorch.kernels.cuda.{family}")
            for name in module.catalogue(np.dtype(dtype)):
                yield pytest.param(family, name, dtype, id=f"{family}-{name}-{dtype}")


@pytest.fixture(scope="module")
def ptxas():
    reason = why_not()
    if reason:
        pytest.skip(reason)
    return find_ptxas()


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda cc: f"sm_{cc[0]}{cc[1]}")
@pytest.mark.parametrize(("family", "name", "dtype"), list(kernels()))
def test_kernel_compiles_without_spills(family, name, dtype, architecture, ptxas, tmp_path):
    module = importlib.import_module(f"nbtorch.kernels.cuda.{family}")
    kernel = module.catalogue(np.dtype(dtype))[name]
    source = tmp_path / "kernel.ptx"
    source.write_text(kernel.ptx(architecture))
    machine = "sm_{}{}".format(*architecture)
    command = [ptxas, "-v", f"-arch={machine}", str(source), "-o", str(tmp_path / "kernel.cubin")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    registers = int(re.search(r"Used (\d+) registers", result.stderr).group(1))
    pattern = r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads"
    memory = [int(number) for number in re.search(pattern, result.stderr).groups()]
    print(f"{family:12} {name:24} {dtype:8} {machine} {registers:4} registers")
    assert memory == [0, 0, 0], f"stack frame, spill stores, spill loads: {memory}"
    assert registers * kernel.threads * kernel.blocks <= 65536
