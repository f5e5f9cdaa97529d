"""Time nbtorch beside PyTorch, case by case, the two in turns.

    python -m benchmarks                          all groups
    python -m benchmarks conv --filter depthwise  those cases of one group
    python -m benchmarks step --write             keep the table and the numbers in benchmarks/results

Each library lives in a process of its own. A case is warmed up, then both take turns; the median of all timings counts.
Let nothing else run meanwhile.
"""

import argparse
import sys

from . import groups
from .report import Result, Row
from .turns import Turns


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    names = groups.group_names()
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"{', '.join(names)} (default: all)")
    parser.add_argument("--filter", default="", metavar="TEXT", help="only cases whose names contain this")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--rounds", type=int, default=5, help="how often the libraries take turns")
    parser.add_argument("--budget", type=float, default=0.3, metavar="SECONDS", help="length of one turn")
    parser.add_argument("--json", action="store_true", help="keep the numbers in benchmarks/results/GROUP.json")
    parser.add_argument("--plot", action="store_true", help="draw a chart to benchmarks/results/GROUP.png")
    parser.add_argument(
        "--write", action="store_true",
        help="keep numbers and table; rows of other cases, kept from the same machine and versions, stay",
    )  # fmt: skip
    parser.add_argument("--list", action="store_true", help="list the cases and do nothing")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the groups asked for; return the exit code."""
    options = parser().parse_args(arguments)
    unknown = set(options.groups) - set(groups.group_names())
    if unknown:
        print(f"unknown group {', '.join(sorted(unknown))}; there are {', '.join(groups.group_names())}")
        return 2
    turns = Turns(groups.Environment(options.threads, options.device), options.rounds, options.budget)
    results = []
    try:
        for name in options.groups or groups.group_names():
            group = groups.load(name)
            chosen = [case for case in group.names if options.filter in case]
            if options.list:
                print("\n".join(f"{name}: {case}" for case in chosen))
            elif chosen:
                results.append(measured(group, chosen, turns, options))
    finally:
        turns.close()
    if len(results) > 1:
        print("\n".join(f"{result.group:16} {result.summary()}" for result in results))
    return 0


def measured(group: groups.Group, chosen: list[str], turns: Turns, options: argparse.Namespace) -> Result:
    """Measure cases of a group, printing each as it comes; keep what was asked to be kept."""
    result = Result(group.name, options.device, options.threads)
    width = max(map(len, chosen))
    for row in turns.rows(group, chosen):
        if not result.rows:
            result.rows.append(row)
            print(f"{group.name} ({result.device}, {result.threads} threads): {', '.join(result.header()[1:])}")
        else:
            result.rows.append(row)
        print(line(row, width), flush=True)
    if turns.disturbed:
        print(f"Other processes disturbed {turns.disturbed} of the turns: do not trust these numbers.")
    print(result.summary(), end="\n\n", flush=True)
    joined = result.joined_with_kept(group.names) if options.write else result
    files = joined.keep(options.json or options.write, options.write)
    if options.plot:
        from .chart import draw

        files.append(draw(joined))
    for path in files:
        print(f"kept {path}")
    return result


def line(row: Row, width: int) -> str:
    """Return a line for the terminal, red where nbtorch is behind."""
    case, *numbers = row.cells()
    text = f"  {case:{width}}" + "".join(f"  {number:>9}" for number in numbers)
    return f"\x1b[31m{text}\x1b[0m" if row.ratio < 1 and sys.stdout.isatty() else text


if __name__ == "__main__":
    sys.exit(main())
