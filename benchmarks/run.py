"""Time a suite of cases with nbtorch and with PyTorch, in turn, in one run.

    python benchmarks/run.py training            print a table
    python benchmarks/run.py training --write    and keep it in benchmarks/results

Each library has a process of its own; for every case they take turns, and the least time of each counts. Let nothing
else run meanwhile.
"""

import argparse
import datetime
import importlib.metadata
import json
import math
import os
import platform
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent


class Worker:
    """A process that times cases with one library."""

    def __init__(self, library: str, suite: str, threads: int, budget: float) -> None:
        settings = {"NUMBA_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
        self._process = subprocess.Popen(
            [sys.executable, str(FOLDER / "worker.py"), library, suite, str(threads), str(budget)],
            cwd=FOLDER,
            env={**os.environ, **settings},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        about = json.loads(self._process.stdout.readline())
        self.cases, self.bytes, self.copy = about["cases"], about["bytes"], about["copy"]

    def time(self, case: str) -> float:
        """Return the seconds of one call of a case."""
        self._process.stdin.write(case + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(f"the worker ended in case {case!r}")
        return json.loads(answer)


def processor() -> str:
    """Return the name of the processor."""
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def simd() -> str:
    """Return the vector instructions that the kernels use."""
    from nbtorch.kernels.cpu.simd import host_simd

    return host_simd().name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite", choices=sorted(p.stem for p in (FOLDER / "suites").glob("[a-z]*.py")))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5, help="how often the libraries take turns")
    parser.add_argument("--budget", type=float, default=0.3, help="seconds of one turn")
    parser.add_argument("--only", default="", help="run the cases whose names contain this")
    parser.add_argument("--write", action="store_true", help="keep the table in benchmarks/results")
    options = parser.parse_args()

    ours = Worker("nbtorch", options.suite, options.threads, options.budget)
    theirs = Worker("torch", options.suite, options.threads, options.budget)
    versions = {name: importlib.metadata.version(name) for name in ("nbtorch", "torch", "numba", "numpy")}
    lines = [
        f"# {options.suite}",
        "",
        f"{datetime.date.today()}, {processor()} ({simd()}), {options.threads} threads, Python"
        f" {platform.python_version()}, " + ", ".join(f"{name} {version}" for name, version in versions.items()),
        "",
        "| case | nbtorch ms | torch ms | torch / nbtorch |" + (" GB/s | of a copy's |" if ours.copy else ""),
        "|---|---|---|---|" + ("---|---|" if ours.copy else ""),
    ]
    print("\n".join(lines), flush=True)
    ratios, copy_speed = [], math.nan
    for case in ours.cases:
        if options.only not in case and case != ours.copy:
            continue
        times = [(ours.time(case), theirs.time(case)) for _ in range(options.rounds)]
        a, b = (min(column) * 1e3 for column in zip(*times, strict=True))
        speed = ours.bytes.get(case, 0) / a / 1e6
        if case == ours.copy:
            speed = copy_speed = ours.bytes[case] / min(a, b) / 1e6
        else:
            ratios.append(b / a)
        moved = f" {speed:.1f} | {speed / copy_speed:.0%} |" if speed else " | |" if ours.copy else ""
        lines.append(f"| {case} | {a:.4g} | {b:.4g} | {b / a:.2f} |{moved}")
        print(lines[-1], flush=True)
    mean = math.exp(sum(map(math.log, ratios)) / max(len(ratios), 1))
    lines += ["", f"Geometric mean {mean:.2f}, least {min(ratios):.2f}, cases {len(ratios)}."]
    print("\n".join(lines[-2:]))
    if options.write:
        (FOLDER / "results" / f"{options.suite}.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
