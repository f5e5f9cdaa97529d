"""Print what a case of a suite takes: peak resident memory, and page faults in the steady state."""

import importlib
import json
import resource
import sys
from pathlib import Path
from typing import Any

WARM_UP, STEPS = 8, 10


def peak_memory() -> float:
    """Return the most memory that this process had in use, in MiB."""
    status = Path("/proc/self/status")  # getrusage also counts the process that started this one
    for line in status.read_text().splitlines() if status.exists() else []:
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def main() -> None:
    """Run one case with one library."""
    library, threads, suite, case = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
    torch: Any = importlib.import_module(library)
    if hasattr(torch, "set_num_threads"):
        torch.set_num_threads(threads)
    step = importlib.import_module(f"benchmarks.suites.{suite}").CASES[case](torch)
    for _ in range(WARM_UP):
        step()
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(STEPS):
        step()
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
    peak = peak_memory()
    print(json.dumps({"MiB": peak, "page faults per step": faults / STEPS}))


if __name__ == "__main__":
    main()
