"""One library in one process: reads names of cases from standard input, answers with the time of each.

Two OpenMP runtimes in one process stall each other, so nbtorch and torch are never timed in the same one.
"""

import importlib
import json
import sys
import time


def seconds_per_call(step, budget: float) -> float:
    """Return the least time of a call, over as many calls as fit into `budget` seconds."""
    step()
    start = time.perf_counter()
    step()
    calls = max(1, int(0.01 / max(time.perf_counter() - start, 1e-7)))  # one timing takes 10 ms at least
    best, end = float("inf"), time.perf_counter() + budget
    while time.perf_counter() < end:
        start = time.perf_counter()
        for _ in range(calls):
            step()
        best = min(best, (time.perf_counter() - start) / calls)
    return best


def main() -> None:
    library, suite, threads, budget = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    torch = importlib.import_module(library)
    if library == "torch":
        torch.set_num_threads(threads)
    module = importlib.import_module(f"suites.{suite}")
    cases = module.CASES
    steps = {}
    about = {"cases": list(cases), "bytes": getattr(module, "BYTES", {}), "copy": getattr(module, "COPY", None)}
    print(json.dumps(about), flush=True)
    for line in sys.stdin:
        name = line.strip()
        if name not in steps:
            steps.clear()
            steps[name] = cases[name](torch)
        print(json.dumps(seconds_per_call(steps[name], budget)), flush=True)


if __name__ == "__main__":
    main()
