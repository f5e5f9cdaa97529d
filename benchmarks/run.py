"""The former way in: `python benchmarks/run.py GROUP …` is `python -m benchmarks GROUP …`."""

import runpy
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1])
runpy.run_module("benchmarks", run_name="__main__", alter_sys=True)
