"""How many threads work: `set_num_threads`, `NBTORCH_NUM_THREADS` and their like."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

import numpy as np


def get_num_threads() -> int:
    """Return how many threads share the work of one operation."""
    from nbtorch.kernels import jit  # brings Numba, which nothing needs before the first kernel

    return jit.num_threads()


def set_num_threads(num: int) -> None:
    """Share the work of an operation among this many threads, in all threads of the program from now on.

    The kernels' pool is as large as `NBTORCH_NUM_THREADS` said at the start, else as there are cores; a larger number
    is remembered, but no more than the pool's threads work. NumPy's BLAS (behind `linalg`) follows.

    Raises:
        RuntimeError: not an int, or not positive.
    """
    _require_count("set_num_threads", num)
    from nbtorch.kernels import jit

    jit.set_num_threads(num)
    limit_blas(num)


def limit_blas(num: int) -> None:
    """Let the OpenBLAS that comes inside NumPy's wheels use so many threads; other libraries go by their variables."""
    package = Path(np.__file__).parent
    for folder in (package.parent / "numpy.libs", package / ".dylibs"):
        for path in folder.glob("*openblas*"):
            library = ctypes.CDLL(str(path))  # loaded already: this only finds it
            for name in (
                "scipy_openblas_set_num_threads64_",
                "openblas_set_num_threads64_",
                "openblas_set_num_threads",
            ):
                if hasattr(library, name):
                    getattr(library, name)(num)
                    break


_interop: int | None = None


def get_num_interop_threads() -> int:
    """Return how many threads run operations beside each other in PyTorch; here the caller's thread runs them all."""
    return _interop or os.cpu_count() or 1


def set_num_interop_threads(num: int) -> None:
    """Accept a number for `get_num_interop_threads` to return, once.

    Raises:
        RuntimeError: not an int, not positive, or called a second time.
    """
    global _interop
    _require_count("set_num_interop_threads", num)
    if _interop is not None:
        raise RuntimeError(
            "Error: cannot set number of interop threads after parallel work has started or set_num_interop_threads"
            " called"
        )
    _interop = num


def _require_count(function: str, num: object) -> None:
    if type(num) is not int:
        raise RuntimeError(f"{function} expects an int, but got {type(num).__name__}")
    if num <= 0:
        raise RuntimeError(f"{function} expects a positive integer")


def _follow_variable() -> None:
    """Make the kernels' pool as large as `NBTORCH_NUM_THREADS` says; Numba reads its own variable when it is loaded."""
    asked = os.environ.get("NBTORCH_NUM_THREADS")
    if not asked:
        return
    if not asked.isdigit() or int(asked) == 0:
        raise RuntimeError(f"NBTORCH_NUM_THREADS must be a positive number, got {asked!r}")
    os.environ["NUMBA_NUM_THREADS"] = asked
    if "numba" in sys.modules:  # too late for the size of its pool
        set_num_threads(int(asked))
    else:
        limit_blas(int(asked))


_follow_variable()
