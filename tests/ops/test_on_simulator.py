"""The table of cases once more, on CUDA as Numba's simulator runs it: the same tests in a process of their own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.skipif("NUMBA_ENABLE_CUDASIM" in os.environ, reason="this is the run in the simulator")
def test_the_table_of_cases_in_the_simulator():
    settings = {"NBTORCH_DEVICE": "cuda", "NUMBA_ENABLE_CUDASIM": "1"}
    tests = Path(__file__).with_name("test_cases.py")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", str(tests)],
        env={**os.environ, **settings},
        cwd=tests.parents[2],
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-2000:]
    assert int(re.search(r"(\d+) passed", run.stdout)[1]) > 400
