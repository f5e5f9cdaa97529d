"""Results: rows, what they amount to, and how they are shown and kept."""

import datetime
import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .machine import processor, simd, versions

RESULTS = Path(__file__).parent / "results"
WORST = 5


@dataclass
class Row:
    """A case: what was measured in both libraries; the first value is the one to compare, less is better."""

    case: str
    ours: dict[str, float]
    theirs: dict[str, float]
    speed: float | None = None
    unit: str = ""
    of_peak: float | None = None

    @property
    def ratio(self) -> float:
        """How many times better nbtorch is."""
        ours, theirs = next(iter(self.ours.values())), next(iter(self.theirs.values()))
        return theirs / ours if ours else math.inf

    def cells(self) -> list[str]:
        """Return the cells of a table's line."""
        (ours, *our_rest), (theirs, *their_rest) = self.ours.values(), self.theirs.values()
        cells = [self.case, f"{ours:.4g}", f"{theirs:.4g}", f"{self.ratio:.2f}"]
        for pair in zip(our_rest, their_rest, strict=True):
            cells += [f"{value:.4g}" for value in pair]
        if self.speed is not None:
            cells += [f"{self.speed:.1f} {self.unit}", "" if self.of_peak is None else f"{self.of_peak:.0%}"]
        return cells


@dataclass
class Result:
    """The rows of a group and the machine they were measured on."""

    group: str
    device: str
    threads: int
    processor: str = field(default_factory=processor)
    simd: str = field(default_factory=simd)
    versions: dict[str, str] = field(default_factory=versions)
    date: str = field(default_factory=lambda: str(datetime.date.today()))
    rows: list[Row] = field(default_factory=list)

    @property
    def stem(self) -> str:
        """The name of the files that the result is kept in."""
        return self.group if self.device == "cpu" else f"{self.group}-{self.device.partition(':')[0]}"

    def geometric_mean(self) -> float:
        """Return the mean ratio."""
        ratios = [row.ratio for row in self.rows]
        return math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else math.nan

    def worst(self) -> list[Row]:
        """Return the rows with the least ratios."""
        return sorted(self.rows, key=lambda row: row.ratio)[:WORST]

    def header(self) -> list[str]:
        """Return the heads of a table's columns."""
        columns = list(self.rows[0].ours) if self.rows else ["ms"]
        heads = ["case", f"nbtorch {columns[0]}", f"torch {columns[0]}", "torch / nbtorch"]
        for column in columns[1:]:
            heads += [f"nbtorch {column}", f"torch {column}"]
        if any(row.speed is not None for row in self.rows):
            heads += ["nbtorch's speed", "of the peak"]
        return heads

    def summary(self) -> str:
        """Return a sentence with the mean and the worst cases."""
        if not self.rows:
            return f"{self.group}: no cases."
        slowest = "; ".join(f"{row.case} {row.ratio:.2f}" for row in self.worst())
        return f"Geometric mean {self.geometric_mean():.2f} of {len(self.rows)} cases. The least: {slowest}."

    def markdown(self) -> str:
        """Return a page."""
        heads = self.header()
        about = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        lines = [
            f"# {self.group}" + ("" if self.device == "cpu" else f" on {self.device}"),
            "",
            f"{self.date}, {self.processor} ({self.simd}), {self.threads} threads, {about}; medians.",
            "",
            f"| {' | '.join(heads)} |",
            "|---" * len(heads) + "|",
        ]
        for row in self.rows:
            cells = row.cells()
            lines.append(f"| {' | '.join(cells + [''] * (len(heads) - len(cells)))} |")
        return "\n".join([*lines, "", self.summary(), ""])

    def keep(self, json_too: bool, markdown_too: bool) -> list[Path]:
        """Write the result to the folder of results; return the files."""
        RESULTS.mkdir(exist_ok=True)
        files = []
        if json_too:
            files.append(RESULTS / f"{self.stem}.json")
            files[-1].write_text(json.dumps(asdict(self), indent=1) + "\n")
        if markdown_too:
            files.append(RESULTS / f"{self.stem}.md")
            files[-1].write_text(self.markdown())
        return files

    def joined_with_kept(self, names: Iterable[str]) -> "Result":
        """Return a result that has the kept rows of the same machine where it has none, in the order of `names`."""
        rows = {row.case: row for row in self._kept_rows()} | {row.case: row for row in self.rows}
        joined = Result(**{**vars(self), "rows": [rows[name] for name in names if name in rows]})
        return joined

    def _kept_rows(self) -> list[Row]:
        path = RESULTS / f"{self.stem}.json"
        if not path.exists():
            return []
        kept: dict[str, Any] = json.loads(path.read_text())
        same = all(kept[key] == getattr(self, key) for key in ("device", "threads", "processor", "simd", "versions"))
        return [Row(**row) for row in kept["rows"]] if same else []
