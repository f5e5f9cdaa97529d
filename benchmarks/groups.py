"""The groups of cases: a file in `suites/` each.

A suite times steps, or it measures something else in processes of its own:

- `CASES` maps names to functions that take the library, nbtorch or torch, and return a step to be timed.
  `FLOPS` and `BYTES` say, for those cases where it means something, how many floating-point operations a step takes and
  how many bytes it must move at least; `COPY` names the case that is a plain copy, where the suite has one.
- `MEASURES` maps names to functions that take the name of a library and an `Environment` and return numbers by what
  they are (such as `{"ms": 3.1}`); the first one is compared.
"""

import importlib
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
ROOT = FOLDER.parent


@dataclass
class Environment:
    """What processes of both libraries have in common."""

    threads: int
    device: str

    def variables(self) -> dict[str, str]:
        """Return the environment variables of a process that is measured."""
        threads = str(self.threads)
        return {**os.environ, "NUMBA_NUM_THREADS": threads, "OMP_NUM_THREADS": threads, "NBTORCH_DEVICE": self.device}

    def run(self, *command: str, **settings: str) -> str:
        """Run a command in the folder of the project; return what it prints."""
        variables = {**self.variables(), **settings}
        return subprocess.run(command, cwd=ROOT, env=variables, stdout=subprocess.PIPE, text=True, check=True).stdout


@dataclass
class Group:
    """The cases of a suite."""

    name: str
    cases: dict[str, Callable[[Any], Callable[[], None]]]
    measures: dict[str, Callable[[str, Environment], dict[str, float]]] = field(default_factory=dict)
    flops: dict[str, float] = field(default_factory=dict)
    bytes: dict[str, float] = field(default_factory=dict)
    copy: str | None = None

    @property
    def names(self) -> list[str]:
        """The names of all cases."""
        return [*self.cases, *self.measures]


def group_names() -> list[str]:
    """Return the names of all groups."""
    return sorted(path.stem for path in (FOLDER / "suites").glob("[a-z]*.py"))


def load(name: str) -> Group:
    """Return a group by its name."""
    suite = importlib.import_module(f"benchmarks.suites.{name}")
    return Group(
        name,
        getattr(suite, "CASES", {}),
        getattr(suite, "MEASURES", {}),
        getattr(suite, "FLOPS", {}),
        getattr(suite, "BYTES", {}),
        getattr(suite, "COPY", None),
    )
