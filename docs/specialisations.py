"""Lists what is compiled, for which types, and how long that takes: `python docs/specialisations.py [--write]`.

It warms up into an empty cache, so that everything is compiled, and writes docs/specialisations.md or prints it.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

PAGE = Path(__file__).with_name("specialisations.md")


def measured(types: list[str]) -> dict[str, list[tuple[str, float]]]:
    """Return, by family, the kernels that a warm-up compiles and the seconds that each takes with its helpers."""
    from nbtorch.kernels import jit

    import nbtorch
    from nbtorch import warmup

    found: dict[str, list[tuple[str, float]]] = defaultdict(list)
    family = ""

    def on_compile(name: str, phase: str, seconds: float) -> None:
        if phase == "end":
            found[family].append((jit.readable(name), seconds))

    jit.on_compile(on_compile)
    for family in warmup.FAMILIES:
        warmup.compile_kernels([getattr(nbtorch, name) for name in types], families=[family])
    return found


def page(found: dict[str, list[tuple[str, float]]], types: list[str]) -> str:
    """Return the page."""
    total = sum(seconds for rows in found.values() for _, seconds in rows)
    count = sum(len(rows) for rows in found.values())
    lines = [
        "# What is compiled",
        "",
        f"`python -m nbtorch warmup` for {', '.join(types)}, the cache empty: {count} specialisations in {total:.0f} s"
        f" (Python {platform.python_version()}, {os.cpu_count()} cores). Each is kept on disk and compiled again only",
        "when a source that it can reach, Numba or the processor changes. Layouts and sizes need no specialisations of",
        "their own: kernels take C-contiguous arrays of any extents. Seconds include the helpers that a kernel is the",
        "first to need; the families are compiled in this order. From `python docs/specialisations.py --write`.",
    ]
    for family, rows in found.items():
        seconds = sum(each for _, each in rows)
        lines += [
            "",
            f"## {family}: {len(rows)} in {seconds:.1f} s",
            "",
            "| kernel | types | seconds |",
            "|---|---|---|",
        ]
        kernels: dict[str, list[float]] = defaultdict(list)
        for name, each in rows:
            kernels[name].append(each)
        for name, times in sorted(kernels.items(), key=lambda item: -sum(item[1])):
            lines.append(f"| {name} | {len(times)} | {sum(times):.1f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Compile everything once and tell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dtype", nargs="+", default=["float32"])
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name}")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["NBTORCH_CACHE_DIR"] = folder
        text = page(measured(options.dtype), options.dtype)
    if options.write:
        PAGE.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
