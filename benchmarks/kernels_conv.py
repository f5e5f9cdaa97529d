"""Convolution kernels beside PyTorch's: time and GFLOP/s for forward and the gradients of input and weight.

    python benchmarks/kernels_conv.py [--threads N] [--rounds R] [--only NAME] [--no-torch] [--dtype float64]

Each library runs in a process of its own, because two OpenMP runtimes in one process stall each other; the processes
take turns, and the least time of all rounds counts.
"""

import argparse
import json
import os
import subprocess
import sys
import time

# name: (N, C, size, O, kernel, stride, padding, dilation, groups); sizes and the rest are for two dimensions unless
# a tuple of another length says otherwise.
LAYERS = {
    "lenet conv1": (64, 1, 28, 6, 5, 1, 0, 1, 1),
    "lenet conv1 padded": (64, 1, 28, 6, 5, 1, 2, 1, 1),
    "lenet conv2": (64, 6, 12, 16, 5, 1, 0, 1, 1),
    "lenet conv1 batch 1": (1, 1, 28, 6, 5, 1, 0, 1, 1),
    "resnet 7x7/2": (4, 3, 224, 64, 7, 2, 3, 1, 1),
    "resnet 3x3 64": (4, 64, 56, 64, 3, 1, 1, 1, 1),
    "resnet 3x3 128": (4, 128, 28, 128, 3, 1, 1, 1, 1),
    "resnet 3x3 256": (4, 256, 14, 256, 3, 1, 1, 1, 1),
    "resnet 3x3 512": (4, 512, 7, 512, 3, 1, 1, 1, 1),
    "resnet 3x3/2 128": (4, 128, 56, 128, 3, 2, 1, 1, 1),
    "resnet 1x1 64 256": (4, 64, 56, 256, 1, 1, 0, 1, 1),
    "resnet 1x1 1024 256": (4, 1024, 14, 256, 1, 1, 0, 1, 1),
    "resnet 1x1/2 256 512": (4, 256, 56, 512, 1, 2, 0, 1, 1),
    "dilated 3x3 128": (4, 128, 28, 128, 3, 1, 2, 2, 1),
    "depthwise 3x3 128": (4, 128, 56, 128, 3, 1, 1, 1, 128),
    "grouped 3x3 128/32": (4, 128, 28, 128, 3, 1, 1, 1, 32),
    "one dimension 64 k9": (8, 64, (2048,), 64, (9,), (1,), (4,), (1,), 1),
    "three dimensions 32": (2, 32, (16, 28, 28), 32, (3, 3, 3), (1, 1, 1), (1, 1, 1), (1, 1, 1), 1),
}


def triple(value, unit):
    """Spread a number over two dimensions, and fill up to three."""
    value = (value,) * 2 if isinstance(value, int) else value
    return (unit,) * (3 - len(value)) + tuple(value)


def describe(layer):
    """The shapes and options of a layer in three dimensions, and its floating-point operations."""
    n, c, size, o, kernel, stride, padding, dilation, groups = layer
    size, kernel, stride, dilation = (triple(value, 1) for value in (size, kernel, stride, dilation))
    padding = triple(padding, 0)
    outputs = tuple(
        (i + 2 * p - d * (k - 1) - 1) // s + 1
        for i, k, s, p, d in zip(size, kernel, stride, padding, dilation, strict=True)
    )
    flops = 2.0 * n * o * c // groups
    for extent in (*kernel, *outputs):
        flops *= extent
    return (n, c, *size), (o, c // groups, *kernel), (n, o, *outputs), stride, padding, dilation, groups, flops


def nbtorch_calls(layer, dtype):
    """The three passes of a layer in nbtorch's kernels."""
    import numpy as np
    from nbtorch.kernels.cpu import conv

    shape, kernel, outputs, stride, padding, dilation, groups, _ = describe(layer)
    rng = np.random.default_rng(0)
    x, w, g = (rng.standard_normal(s).astype(dtype) for s in (shape, kernel, outputs))
    y, gx, gw = np.empty_like(g), np.empty_like(x), np.empty_like(w)
    options = (stride, padding, dilation, groups)
    return {
        "forward": lambda: conv.conv_forward(x, w, None, *options, y),
        "grad_input": lambda: conv.conv_grad_input(g, w, None, *options, gx),
        "grad_weight": lambda: conv.conv_grad_weight(g, x, *options, gw),
    }


def torch_calls(layer, dtype):
    """The three passes of a layer in PyTorch, in the rank that a user would write."""
    import torch

    shape, kernel, outputs, stride, padding, dilation, groups, _ = describe(layer)
    rank = 2 if isinstance(layer[2], int) else len(layer[2])
    cut = 3 - rank
    x, w, g = (torch.randn(s[:2] + s[2 + cut :], dtype=getattr(torch, dtype)) for s in (shape, kernel, outputs))
    options = [list(value[cut:]) for value in (stride, padding, dilation)]

    def backward(mask):
        return torch.ops.aten.convolution_backward(g, x, w, None, *options, False, [0] * rank, groups, mask)

    return {
        "forward": lambda: torch.ops.aten.convolution(x, w, None, *options, False, [0] * rank, groups),
        "grad_input": lambda: backward([True, False, False]),
        "grad_weight": lambda: backward([False, True, False]),
    }


def measure(call, seconds):
    """The least time of repeated calls."""
    call()
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best


def work(library, options):
    """Measure one library in this process; print the times as JSON."""
    if library == "torch":
        import torch

        torch.set_num_threads(options.threads)
        torch.set_grad_enabled(False)
        calls = torch_calls
    else:
        import numba

        numba.set_num_threads(options.threads)
        calls = nbtorch_calls
    times = {}
    for name, layer in LAYERS.items():
        if options.only in name:
            passes = calls(layer, options.dtype)
            times[name] = {key: measure(call, options.seconds) for key, call in passes.items()}
    print(json.dumps(times))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=0.15, help="for each measurement of a round")
    parser.add_argument("--only", default="", help="part of a layer's name")
    parser.add_argument("--dtype", default="float32", choices=["float32", "float64"])
    parser.add_argument("--no-torch", action="store_true")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.worker, options)
        return
    libraries = ["nbtorch"] if options.no_torch else ["nbtorch", "torch"]
    best = {}
    for _ in range(options.rounds):
        for library in libraries:
            command = [sys.executable, __file__, *sys.argv[1:], "--worker", library]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            for name, passes in json.loads(output).items():
                for key, seconds in passes.items():
                    where = (name, key, library)
                    best[where] = min(best.get(where, float("inf")), seconds)
    print(f"{options.threads} threads, {options.dtype}; milliseconds (GFLOP/s)")
    for name, layer in LAYERS.items():
        flops = describe(layer)[-1]
        for key in ("forward", "grad_input", "grad_weight"):
            cells = [best[name, key, library] for library in libraries if (name, key, library) in best]
            if cells:
                text = "  ".join(
                    f"{library} {1e3 * seconds:9.3f} ({flops / seconds / 1e9:6.1f})"
                    for library, seconds in zip(libraries, cells, strict=True)
                )
                ratio = f"  {cells[1] / cells[0]:5.2f} times as fast" if len(cells) == 2 else ""
                print(f"{name:22} {key:12} {text}{ratio}")


if __name__ == "__main__":
    main()
