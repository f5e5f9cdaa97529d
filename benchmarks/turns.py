"""Both libraries in turns, so that what disturbs the machine disturbs both."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from .groups import ROOT, Environment, Group
from .machine import peak_flops
from .report import Row
from .worker import COPY

LIBRARIES = ("nbtorch", "torch")


DISTURBED, TURNS_AT_MOST = 0.1, 4  # cores busy with other work that spoil a turn; how often it is tried again


def busy_seconds() -> float:
    """Return the time that all cores together have worked; 0 where the system does not tell."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return 0.0
    user, nice, system, _, _, irq, softirq, steal = map(int, stat.read_text().split("\n", 1)[0].split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def own_seconds(process: int) -> float:
    """Return the time that a process has worked; 0 where the system does not tell."""
    stat = Path(f"/proc/{process}/stat")
    if not stat.exists():
        return 0.0
    fields = stat.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Worker:
    """A process that times steps with one library."""

    def __init__(self, library: str, environment: Environment) -> None:
        self._library = library
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", library, str(environment.threads), environment.device],
            cwd=ROOT,
            env=environment.variables(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answer("at its start")

    def _answer(self, when: str) -> list[float]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"the process of {self._library} ended {when}")
        return json.loads(line)

    def samples(self, group: str, case: str, budget: float) -> tuple[list[float], float]:
        """Return seconds per call of a case's step, several times, and how busy the machine was with other work."""
        start, busy, own = time.perf_counter(), busy_seconds(), own_seconds(self._process.pid)
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([group, case, budget]) + "\n")
        self._process.stdin.flush()
        found = self._answer(f"in case {case!r}")
        others = busy_seconds() - busy - (own_seconds(self._process.pid) - own)
        return found, others / (time.perf_counter() - start)

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


class Turns:
    """Measures cases, the libraries in turns."""

    def __init__(self, environment: Environment, rounds: int, budget: float) -> None:
        self.environment, self.rounds, self.budget = environment, rounds, budget
        self.disturbed = 0  # turns during which other processes worked
        self._workers: list[Worker] = []
        self._measured_peak: float | None = None

    def rows(self, group: Group, chosen: list[str]) -> Iterator[Row]:
        """Measure the chosen cases of a group, one after the other."""
        copy_speed = self._copy_speed(group) if any(case in group.bytes for case in chosen) else None
        peak = self._peak() if any(case in group.flops for case in chosen) else None
        for case in chosen:
            if case in group.measures:
                yield self._measured(group, case)
            elif case != group.copy:
                yield self._timed(group, case, copy_speed, peak)

    def _medians(self, group: str, case: str) -> tuple[float, float]:
        if not self._workers:
            self._workers = [Worker(library, self.environment) for library in LIBRARIES]
        found: tuple[list[float], list[float]] = ([], [])
        for _ in range(self.rounds):
            for worker, times in zip(self._workers, found, strict=True):
                times += self._undisturbed(worker, group, case)
        return statistics.median(found[0]), statistics.median(found[1])

    def _undisturbed(self, worker: Worker, group: str, case: str) -> list[float]:
        """Return the samples of the quietest of a few turns; the first that is quiet enough will do."""
        turns = []
        while not turns or (turns[-1][1] > DISTURBED and len(turns) < TURNS_AT_MOST):
            turns.append(worker.samples(group, case, self.budget))
        times, others = min(turns, key=lambda turn: turn[1])
        self.disturbed += others > DISTURBED
        return times

    def _copy_speed(self, group: Group) -> float:
        """Return the bytes per second of a plain copy by the quicker library."""
        if group.copy is not None:
            return group.bytes[group.copy] / min(self._medians(group.name, group.copy))
        return 2 * (1 << 27) / min(self._medians(group.name, COPY))

    def _peak(self) -> float | None:
        """Return the floating-point operations per second that the processor is capable of; unknown of a GPU."""
        if self.environment.device != "cpu":
            return None
        if self._measured_peak is None:
            self._measured_peak = peak_flops(self.environment.threads)
        return self._measured_peak

    def _timed(self, group: Group, case: str, copy_speed: float | None, peak: float | None) -> Row:
        ours, theirs = self._medians(group.name, case)
        row = Row(case, {"ms": ours * 1e3}, {"ms": theirs * 1e3})
        if case in group.flops:
            row.speed, row.unit = group.flops[case] / ours / 1e9, "GFLOP/s"
            row.of_peak = None if peak is None else group.flops[case] / ours / peak
        elif case in group.bytes:
            row.speed, row.unit = group.bytes[case] / ours / 1e9, "GB/s"
            row.of_peak = None if copy_speed is None else group.bytes[case] / ours / copy_speed
        return row

    def _measured(self, group: Group, case: str) -> Row:
        measure = group.measures[case]
        found: tuple[list[dict[str, float]], list[dict[str, float]]] = ([], [])
        for _ in range(min(self.rounds, 3)):
            for library, values in zip(LIBRARIES, found, strict=True):
                values.append(measure(library, self.environment))
        return Row(case, *[{key: statistics.median([v[key] for v in values]) for key in values[0]} for values in found])

    def close(self) -> None:
        """End the workers."""
        for worker in self._workers:
            worker.close()
