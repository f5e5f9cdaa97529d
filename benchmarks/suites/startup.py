"""The first seconds: importing the library, and the first training step of a process."""

import sys
import tempfile
import time

from ..groups import Environment

IMPORT = """
import time
start = time.perf_counter()
import {library}
print(time.perf_counter() - start)
"""
FIRST_STEP = """
import {library} as torch
torch.set_num_threads({threads})
from benchmarks.suites.step import CASES
CASES["{case}"](torch)()
"""


def import_time(library: str, environment: Environment) -> dict[str, float]:
    """Return the milliseconds that the import takes in an interpreter that runs."""
    return {"ms": float(environment.run(sys.executable, "-c", IMPORT.format(library=library))) * 1e3}


def first_step(case: str, empty_cache: bool = False):
    """Return a measure: from the start of the process to the end of the first step."""

    def measure(library: str, environment: Environment) -> dict[str, float]:
        code = FIRST_STEP.format(library=library, threads=environment.threads, case=case)
        with tempfile.TemporaryDirectory() as folder:
            settings = {"NBTORCH_CACHE_DIR": folder} if empty_cache else {}
            start = time.perf_counter()
            environment.run(sys.executable, "-c", code, **settings)
            return {"ms": (time.perf_counter() - start) * 1e3}

    return measure


LENET = "LeNet, batch 64, SGD"

MEASURES = {
    "import": import_time,
    "first LeNet step, from process start": first_step(LENET),
    "first ResNet-18 step, from process start": first_step("ResNet-18, 32 x 32, batch 32, SGD"),
    "first LeNet step ever, with an empty cache": first_step(LENET, empty_cache=True),
}
