"""`python -m nbtorch`: tasks around the package."""

from __future__ import annotations

import argparse
import functools
import sys
import time
from collections.abc import Callable

from nbtorch.kernels.cache import cache_root

from . import dtypes, warmup
from ._version import __version__
from .device import as_device

KERNEL_TYPES = ["uint8", "int8", "int16", "int32", "int64", "float32", "float64"]


def main(arguments: list[str] | None = None) -> int:
    """Run a task; return the exit code."""
    options = _parser().parse_args(arguments)
    types = [getattr(dtypes, name) for name in options.dtype]
    start = time.perf_counter()
    try:
        where, compile_all = _task(options)
        with warmup.showing() as progress:
            compiled = compile_all(types=types, progress=progress, families=options.family)
    except (RuntimeError, ValueError) as error:
        print(f"nbtorch: {error}", file=sys.stderr)
        return 2
    seconds = time.perf_counter() - start
    print(
        f"The kernels for {', '.join(options.dtype)} on {where} are ready: {compiled} functions compiled in"
        f" {seconds:.1f} s, kept in {cache_root()}."
        if compiled
        else f"The kernels for {', '.join(options.dtype)} on {where} were ready in {seconds:.1f} s, nothing to compile."
    )
    return 0


def _task(options: argparse.Namespace) -> tuple[str, Callable[..., int]]:
    """Return for what kernels are to be compiled, in words, and what compiles them."""
    if not options.arch:
        where = as_device(options.device)
        return str(where), functools.partial(warmup.compile_kernels, device=where)
    if options.device is None or not options.device.startswith("cuda"):
        raise ValueError("--arch needs --device cuda")
    return ", ".join(options.arch), functools.partial(warmup.compile_for, options.arch)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m nbtorch", description=f"nbtorch {__version__}")
    tasks = parser.add_subparsers(required=True, metavar="TASK")
    task = tasks.add_parser("warmup", help="compile all kernels ahead, so that no program has to wait for them")
    task.add_argument(
        "--dtype", nargs="+", default=["float32"], choices=KERNEL_TYPES, metavar="TYPE",
        help=f"types of elements: {', '.join(KERNEL_TYPES)} (default: float32)",
    )  # fmt: skip
    task.add_argument(
        "--family", nargs="+", metavar="FAMILY",
        help=f"which kernels: {', '.join(warmup.FAMILIES)} (default: all; with --arch, files of nbtorch.kernels.cuda)",
    )  # fmt: skip
    task.add_argument("--device", help="cpu or cuda (default: NBTORCH_DEVICE, else cpu)")
    task.add_argument(
        "--arch", nargs="+", metavar="ARCH",
        help="with --device cuda: compile for architectures such as sm_80 and sm_90, which needs no GPU",
    )  # fmt: skip
    return parser


if __name__ == "__main__":
    sys.exit(main())
