"""`python -m nbtorch`: tasks around the package."""

from __future__ import annotations

import argparse
import sys
import time

from nbtorch.kernels.cache import cache_root

from . import dtypes, warmup
from ._version import __version__
from .device import as_device

KERNEL_TYPES = ["uint8", "int8", "int16", "int32", "int64", "float32", "float64"]


def main(arguments: list[str] | None = None) -> int:
    """Run a task; return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        where = as_device(options.device)
    except RuntimeError as error:
        print(f"nbtorch: {error}", file=sys.stderr)
        return 2
    start = time.perf_counter()
    with warmup.showing() as progress:
        types = [getattr(dtypes, name) for name in options.dtype]
        compiled = warmup.compile_kernels(types, where, progress, options.family)
    seconds = time.perf_counter() - start
    print(
        f"The kernels for {', '.join(options.dtype)} on {where} are ready: {compiled} functions compiled in"
        f" {seconds:.1f} s, kept in {cache_root()}."
        if compiled
        else f"The kernels for {', '.join(options.dtype)} on {where} were ready in {seconds:.1f} s, nothing to compile."
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m nbtorch", description=f"nbtorch {__version__}")
    tasks = parser.add_subparsers(required=True, metavar="TASK")
    task = tasks.add_parser("warmup", help="compile all kernels ahead, so that no program has to wait for them")
    task.add_argument(
        "--dtype", nargs="+", default=["float32"], choices=KERNEL_TYPES, metavar="TYPE",
        help=f"types of elements: {', '.join(KERNEL_TYPES)} (default: float32)",
    )  # fmt: skip
    task.add_argument(
        "--family", nargs="+", choices=list(warmup.FAMILIES), metavar="FAMILY",
        help=f"which kernels: {', '.join(warmup.FAMILIES)} (default: all)",
    )  # fmt: skip
    task.add_argument("--device", help="cpu or cuda (default: NBTORCH_DEVICE, else cpu)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
