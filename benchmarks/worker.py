"""One library in one process: reads cases from standard input, answers with times of their steps.

Two OpenMP runtimes in one process stall each other, so nbtorch and torch are never timed in the same one.
"""

import importlib
import json
import sys
import time
from collections.abc import Callable
from typing import Any

from .groups import load

COPY = "copy of 128 MiB"
SHORTEST = 0.01  # seconds: one timing takes so long at least, of as many calls as that needs
WARM_UP = 0.1  # seconds


def copy(torch: Any) -> Callable[[], None]:
    """Return a step that copies an array onto another, which no cache holds."""
    source, target = torch.ones(1 << 25), torch.zeros(1 << 25)
    return lambda: target.copy_(source)


def warm_up(step: Callable[[], None]) -> None:
    """Run a step until everything is compiled, allocated and in the caches."""
    step()
    end = time.perf_counter() + WARM_UP
    step()
    while time.perf_counter() < end:
        step()


def samples(step: Callable[[], None], budget: float, synchronize: Callable[[], None]) -> list[float]:
    """Return seconds per call, as often as `budget` seconds allow."""
    start = time.perf_counter()
    step()
    synchronize()
    calls = max(1, int(SHORTEST / max(time.perf_counter() - start, 1e-7)))
    found, end = [], time.perf_counter() + budget
    while not found or time.perf_counter() < end:
        start = time.perf_counter()
        for _ in range(calls):
            step()
        synchronize()
        found.append((time.perf_counter() - start) / calls)
    return found


def main() -> None:
    """Answer until standard input ends."""
    library, threads, device = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    torch = importlib.import_module(library)
    if hasattr(torch, "set_num_threads"):
        torch.set_num_threads(threads)
    if device != "cpu":
        torch.set_default_device(device)
    synchronize = torch.cuda.synchronize if device.startswith("cuda") else lambda: None
    current, step = None, None
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        group, case, budget = json.loads(line)
        if (group, case) != current:
            step = None  # so that two cases are never in memory at once
            step = (copy if case == COPY else load(group).cases[case])(torch)
            current = (group, case)
            warm_up(step)
            synchronize()
        print(json.dumps(samples(step, budget, synchronize)), flush=True)


if __name__ == "__main__":
    main()
