"""Compiling kernels ahead of their first use, and showing that something happens meanwhile.

`python -m nbtorch warmup` fills the disk cache of compiled kernels; `compile_kernels` does the same from a program, and
`showing` wraps any first step (of a training, for instance) in a display that moves while kernels compile.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import inspect
import itertools
import math
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TextIO

from nbtorch.kernels import activation as formulas
from nbtorch.kernels import jit
from nbtorch.kernels.cache import cache_root
from nbtorch.kernels.cpu.ranges import for_several_threads

from . import dtypes
from .device import allocate, as_device, kernels_for
from .device import device as Device
from .ops import activation

COMMON_ACTIVATIONS = ("relu", "leaky_relu", "sigmoid", "tanh", "silu", "gelu")
"""Those that are compiled ahead; each of the others takes a fraction of a second at its first use."""

Progress = Callable[[int, int, str], None]
"""Called with the number of steps done, of all steps, and what comes next (an empty string at the end)."""

SIZES = (4, 256)
"""Extents of the planes that kernels are tried on: the first is work for one thread, the second for several."""


def compile_kernels(
    types: Iterable[Any] = (dtypes.float32,),
    device: Any = None,
    progress: Progress | None = None,
    families: Iterable[str] | None = None,
) -> int:
    """Compile every kernel for some types of elements, or find it in the disk cache.

    Each kernel runs on zeros, on an array small enough for one thread and on one large enough for several; whatever
    runs on one thread is compiled for several too.

    Args:
        types: the types of elements, such as `nbtorch.float32`; integer types concern pooling only.
        device: where to run; by default the default device.
        progress: called before each step and at the end.
        families: which kernels, by the names in `FAMILIES`; by default all.

    Returns:
        How many functions were compiled rather than found in the cache.

    Raises:
        ValueError: an unknown family.

    >>> import nbtorch, nbtorch.warmup
    >>> compiled = nbtorch.warmup.compile_kernels([nbtorch.float32], progress=lambda done, total, name: None)
    """
    where = as_device(device)
    families = tuple(FAMILIES) if families is None else tuple(families)
    unknown = set(families) - set(FAMILIES)
    if unknown:
        raise ValueError(f"compile_kernels: families must be among {', '.join(FAMILIES)}, got {sorted(unknown)}")
    steps = [step for dtype in types for step in _steps(dtypes.as_dtype(dtype), where, families)]
    before = jit.compilations()
    with for_several_threads():
        for done, (name, run) in enumerate(steps):
            if progress is not None:
                progress(done, len(steps), name)
            run()
    if progress is not None:
        progress(len(steps), len(steps), "")
    return jit.compilations() - before


def cuda_families() -> list[str]:
    """Return the names of the families of CUDA kernels that `compile_for` knows."""
    from nbtorch.kernels.cuda import resources

    return resources.families()


def compile_for(
    architectures: Iterable[str],
    types: Iterable[Any] = (dtypes.float32,),
    progress: Progress | None = None,
    families: Iterable[str] | None = None,
) -> int:
    """Compile every CUDA kernel for some architectures, or find it in the disk cache; no GPU is needed.

    Args:
        architectures: such as "sm_80"; a GPU of compute capability 8.0 finds these kernels.
        types: the types of elements.
        progress: called before each kernel and at the end.
        families: which kernels, by the names of `cuda_families()`; by default all.

    Returns:
        How many kernels were compiled rather than found in the cache.

    Raises:
        ValueError: an unknown family or architecture.
        RuntimeError: a compiler is missing.
    """
    from nbtorch.kernels.cuda import cubins, resources

    known = cuda_families()
    families = known if families is None else tuple(families)
    if unknown := set(families) - set(known):
        raise ValueError(f"compile_for: families must be among {', '.join(known)}, got {sorted(unknown)}")
    if reason := resources.why_not():
        raise RuntimeError(f"CUDA kernels cannot be compiled here: {reason}")
    capabilities = [cubins.capability_of(architecture) for architecture in architectures]
    names = [dtypes.as_dtype(dtype).name for dtype in types]
    steps = [
        (kernel, capability)
        for family, name, capability in itertools.product(families, names, capabilities)
        if name in resources.dtypes(family)
        for kernel in resources.kernels_of(family, name).values()
        if kernel.needs <= capability
    ]
    before = jit.compilations()
    for done, (kernel, capability) in enumerate(steps):
        if progress is not None:
            progress(done, len(steps), kernel.name)
        cubins.cubin(kernel, capability)
    if progress is not None:
        progress(len(steps), len(steps), "")
    return jit.compilations() - before


def _run(kernel: Callable[..., None], arguments: Callable[[], tuple[Any, ...]]) -> None:
    kernel(*arguments())


def _steps(dtype: dtypes.dtype, where: Device, families: tuple[str, ...]) -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield a name and a function that runs it, for each kernel and size."""
    sizes = SIZES if where.type == "cpu" else SIZES[:1]
    for family, size in itertools.product(families, sizes):
        if dtype.is_floating_point or family == "pool":
            for kernel, arguments in FAMILIES[family](dtype, where, size):
                yield f"{kernel.__name__} {dtype.name}", functools.partial(_run, kernel, arguments)


_Run = Iterator[tuple[Callable[..., None], Callable[[], tuple[Any, ...]]]]


def _zeros(shape: tuple[int, ...], dtype: dtypes.dtype, where: Device) -> Any:
    array = allocate(shape, dtype.numpy, where)
    array.fill(0)
    return array


def _elementwise(dtype: dtypes.dtype, where: Device, size: int) -> _Run:
    kernels = kernels_for(where, "elementwise")
    shape = (max(1, size // 64), size, size)
    for node in activation.NODES if size == SIZES[0] else activation.NODES[:1]:
        if node.function not in COMMON_ACTIVATIONS:
            continue
        for function, arrays in ((node.function, 2), (node.derivative, 3)):
            yield _activation(kernels, function, [shape] * arrays, dtype, where)


def _activation(
    kernels: Any, function: str, shapes: list[tuple[int, ...]], dtype: dtypes.dtype, where: Device
) -> tuple[Callable[..., None], Callable[[], tuple[Any, ...]]]:
    """Return the kernel of an activation or of its derivative, and its arguments."""
    kernel = kernels.activation_forward if len(shapes) == 2 else kernels.activation_backward

    def run(*arrays: Any) -> None:
        kernel(function, (1.0,) * (_parameters(function) - len(shapes) + 1), *arrays)

    run.__name__ = function
    return run, lambda: tuple([_zeros(shape, dtype, where) for shape in shapes])


def _parameters(function: str) -> int:
    """Return how many parameters a formula has."""
    compiled = getattr(formulas, function)
    return len(inspect.signature(getattr(compiled, "py_func", compiled)).parameters)


def _norm(dtype: dtypes.dtype, where: Device, size: int) -> _Run:
    kernels = kernels_for(where, "norm")
    shape = (size, size)

    def matrix() -> Any:
        return _zeros(shape, dtype, where)

    def numbers(kind: dtypes.dtype = dtypes.float64) -> Any:
        return _zeros(shape[:1], kind, where)

    affine = (dtype, dtype)
    yield (
        kernels.layer_forward,
        lambda: (matrix(), *map(numbers, affine), 1e-5, True, matrix(), numbers(), numbers()),
    )
    yield (
        kernels.layer_backward,
        lambda: (matrix(), matrix(), numbers(dtype), numbers(), numbers(), True, matrix(), numbers(), numbers()),
    )


def _channel_norm(dtype: dtypes.dtype, where: Device, size: int) -> _Run:
    kernels = kernels_for(where, "channel_norm")
    samples = min(size, 16)
    for groups, length in ((0, 1), (0, size), (size, size)):
        count = samples * groups if groups else size

        def images(length: int = length) -> Any:
            return _zeros((samples, size, 2 * length), dtype, where)

        def numbers(count: int = size, kind: dtypes.dtype = dtype) -> Any:
            return _zeros((count,), kind, where)

        statistics = functools.partial(numbers, count, dtypes.float64)

        def forward(images: Any = images, groups: int = groups, statistics: Any = statistics) -> Any:
            return images(), groups, numbers(), numbers(), 1e-5, images(), *(statistics() for _ in range(3))

        def backward(images: Any = images, groups: int = groups, statistics: Any = statistics) -> Any:
            given = images(), images(), groups, False, numbers(), statistics(), statistics()
            return *given, images(), numbers(), numbers()

        yield kernels.channel_forward, forward
        yield kernels.channel_backward, backward
        if not groups:

            def evaluation(images: Any = images, statistics: Any = statistics) -> Any:
                return images(), statistics(), statistics(), numbers(), numbers(), 1e-5, images(), statistics()

            yield kernels.channel_affine, evaluation
    yield kernels.track, lambda: (numbers(), numbers(size, dtypes.float64), 0.1, 1.0)


def _losses(dtype: dtypes.dtype, where: Device, size: int) -> _Run:
    """Yield what classifiers and regressions train with."""
    kernels, pairs = kernels_for(where, "cross_entropy"), kernels_for(where, "loss")
    weight, rows = functools.partial(_zeros, (0,), dtype, where), min(size, 16)
    for inner in ((), (size,)):

        def scores(inner: tuple[int, ...] = inner) -> Any:
            return _zeros((rows, size, *inner), dtype, where)

        def forward(scores: Any = scores, inner: tuple[int, ...] = inner) -> Any:
            labels, total = _zeros((rows, *inner), dtypes.int64, where), _zeros((), dtype, where)
            return scores(), labels, weight(), 0.0, -100, "mean", total

        yield kernels.label_forward, forward
        if where.type == "cpu":  # one kernel for loss and gradient

            def few(forward: Any = forward) -> Any:
                x, labels, *_, total = forward()
                return x, labels, -100, True, total

            if not inner:
                yield kernels.cross_entropy_of_rows, few
            continue

        def backward(scores: Any = scores, forward: Any = forward) -> Any:
            given = forward()
            _, kept = kernels.label_forward(*given)
            return *given[:5], kept, "mean", _zeros((1,), dtype, where), scores()

        yield kernels.label_backward, backward
    matrix = functools.partial(_zeros, (size, size), dtype, where)
    yield pairs.pair_total, lambda: ("mse", 0.0, matrix(), matrix(), 1.0)
    if where.type == "cpu":
        yield pairs.pair_total_and_slope, lambda: ("mse", 0.0, matrix(), matrix(), 1.0, matrix())
    yield pairs.pair_backward, lambda: ("mse", 0.0, _zeros((1,), dtype, where), 1.0, matrix(), matrix(), matrix())


def _optimizers(dtype: dtypes.dtype, where: Device, size: int) -> _Run:
    from nbtorch.kernels.optimizer import RUNNING_VALUES

    step = kernels_for(where, "optimizer").step
    for formula, options in (("sgd", 1), ("momentum", 4), ("adam", 5), ("rmsprop", 4)):

        def given(formula: str = formula, options: int = options) -> Any:
            row = tuple([_zeros((size, size), dtype, where) for _ in range(2 + RUNNING_VALUES[formula])])
            return formula, [row], [(1.0, 0.0, 1.0, *[0.5] * options)]

        yield step, given


def _softmax(dtype: dtypes.dtype, where: Device, size: int) -> _Run:
    kernels = kernels_for(where, "softmax")
    for shape in ((size, size, 1), (1, size, size)):

        def array(shape: tuple[int, ...] = shape) -> Any:
            return _zeros(shape, dtype, where)

        yield kernels.softmax_forward, lambda array=array: (array(), True, array())  # type: ignore[misc]
        yield kernels.softmax_backward, lambda array=array: (array(), array(), True, array())  # type: ignore[misc]


def _matmul(dtype: dtypes.dtype, where: Device, size: int) -> _Run:
    matmul, size = kernels_for(where, "gemm").matmul, max(size, 64)  # smaller ones are left to NumPy

    def matrix() -> Any:
        return _zeros((size, size), dtype, where)

    yield matmul, lambda: (matrix(), matrix(), matrix())


def _attention(dtype: dtypes.dtype, where: Device, size: int) -> _Run:
    kernels = kernels_for(where, "attention")

    def array(features: int = 8) -> Any:
        return _zeros((1, 1, size, features), dtype, where)

    def sums() -> Any:
        return _zeros((1, 1, size), dtype, where)

    dropout = kernels_for(where, "dropout").dropout
    yield dropout, lambda: (array(size), (0, 1), 1 << 31, 2.0, array(size))
    yield kernels.attention_forward, lambda: (array(), array(), array(), None, False, 1.0, None, array(), sums())
    yield (
        kernels.attention_backward,
        lambda: (*[array() for _ in range(5)], sums(), None, False, 1.0, None, *[array() for _ in range(3)]),
    )


def _pool(dtype: dtypes.dtype, where: Device, size: int) -> _Run:
    """Pooling, unpooling and padding, 2 by 2 of images; of integers only what has kernels of their own."""
    shape, pooled = (1, size // 2, 1, size, size), (1, size // 2, 1, size // 2, size // 2)
    step = (1, 2, 2), (1, 2, 2)
    window, mean = (*step, (0, 0, 0), (1, 1, 1)), (*step, (0, 0, 0), True, 0)
    image, small = functools.partial(_zeros, shape, dtype, where), functools.partial(_zeros, pooled, dtype, where)
    places, taps = (functools.partial(_zeros, pooled, kind, where) for kind in (dtypes.int64, dtypes.uint8))
    pool, avg_pool, adaptive = (kernels_for(where, name) for name in ("pool", "avg_pool", "adaptive_pool"))
    if dtype.is_floating_point or dtype is dtypes.int64:
        yield pool.max_pool_forward, lambda: (image(), *window, small(), places())
        if pool.MOST_TAPS:
            yield pool.max_pool_forward, lambda: (image(), *window, small(), taps())
        yield avg_pool.avg_pool_forward, lambda: (image(), *mean, small())
    if not dtype.is_floating_point:
        return
    yield pool.max_pool_backward, lambda: (small(), places(), *window, image())
    if pool.MOST_TAPS:
        yield pool.max_pool_backward, lambda: (small(), taps(), *window, image())
    yield avg_pool.avg_pool_backward, lambda: (small(), *mean, image())
    yield adaptive.adaptive_avg_pool_forward, lambda: (image(), small())
    yield adaptive.adaptive_avg_pool_backward, lambda: (small(), image())
    yield adaptive.adaptive_max_pool_forward, lambda: (image(), small(), places())
    yield adaptive.adaptive_max_pool_backward, lambda: (small(), places(), image())
    lp_pool, fractional = kernels_for(where, "lp_pool"), kernels_for(where, "fractional_pool")
    yield lp_pool.lp_pool_forward, lambda: (image(), 2.0, *step, small())
    yield lp_pool.lp_pool_backward, lambda: (small(), image(), small(), 2.0, *step, image())
    starts = tuple([_zeros((size // 2, n), dtypes.int64, where) for n in pooled[2:]])
    yield fractional.fractional_max_pool_forward, lambda: (image(), (1, 2, 2), starts, small(), places())
    unpool, pad = kernels_for(where, "unpool"), kernels_for(where, "pad")
    yield unpool.max_unpool_forward, lambda: (small(), places(), image())
    yield unpool.max_unpool_backward, lambda: (image(), places(), small())
    yield pad.pad_forward, lambda: (small(), (0, 1, 1), 1, 0, image())
    yield pad.pad_backward, lambda: (image(), (0, 1, 1), 1, small())


LAYERS = (
    # channels, groups, stride, and the extents for one thread and for several: each layer takes algorithms of its own
    (4, 1, 1, (4, 256)),
    (32, 1, 1, (8, 32)),
    (32, 1, 2, (8, 32)),
    (8, 8, 1, (8, 256)),
)


def _conv(dtype: dtypes.dtype, where: Device, size: int) -> _Run:
    """Yield convolutions of few channels, of many, and depthwise ones; on a GPU only the first."""
    for channels, groups, stride, extents in LAYERS if where.type == "cpu" else LAYERS[:1]:
        yield from _conv_of(channels, groups, stride, extents[SIZES.index(size)], dtype, where)


def _conv_of(channels: int, groups: int, stride: int, size: int, dtype: dtypes.dtype, where: Device) -> _Run:
    kernels = kernels_for(where, "conv")
    options = (1, stride, stride), (0, 1, 1), (1, 1, 1), groups

    def image() -> Any:
        return _zeros((1, channels, 1, size, size), dtype, where)

    def output() -> Any:
        return _zeros((1, channels, 1, size // stride, size // stride), dtype, where)

    def weight() -> Any:
        return _zeros((channels, channels // groups, 1, 3, 3), dtype, where)

    def bias() -> Any:
        return _zeros((channels,), dtype, where)

    yield kernels.conv_forward, lambda: (image(), weight(), bias(), *options, output())
    yield kernels.conv_grad_input, lambda: (output(), weight(), bias(), *options, image())
    yield kernels.conv_grad_weight, lambda: (output(), image(), *options, weight())
    yield kernels.conv_grad_bias, lambda: (output(), bias())


def _training(dtype: dtypes.dtype, where: Device, size: int) -> _Run:
    """Yield whole steps of a small network, with each of the common optimizers."""
    from . import nn, optim, randint, zeros  # not at the top: the package is not complete when this module is loaded

    batch = 1 if size == SIZES[0] else 64

    def step(optimizer: Any, options: dict[str, Any]) -> None:
        layers = nn.Conv2d(1, 4, 5), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(576, 256), nn.Linear(256, 10)
        model = nn.Sequential(*layers).to(where, dtype)
        update = optimizer(model.parameters(), **options)
        loss = nn.functional.cross_entropy(model(zeros(batch, 1, 28, 28, device=where, dtype=dtype)), labels)
        loss.backward()
        update.step()

    labels = randint(0, 10, (batch,), device=where)
    for optimizer, options in ((optim.SGD, {"momentum": 0.9}), (optim.SGD, {}), (optim.Adam, {}), (optim.AdamW, {})):
        run = functools.partial(step, optimizer, options)
        run.__name__ = f"training with {optimizer.__name__}"  # type: ignore[attr-defined]
        yield run, tuple


def _recurrent(dtype: dtypes.dtype, where: Device, size: int) -> _Run:
    """Yield steps of LSTM and GRU layers in training."""
    from . import nn, zeros  # not at the top: the package is not complete when this module is loaded

    features, batch = (4, 2) if size == SIZES[0] else (64, 16)

    def step(kind: Any) -> None:
        layer = kind(features, features).to(where, dtype)
        layer(zeros(batch, batch, features, device=where, dtype=dtype))[0].sum().backward()

    for kind in (nn.LSTM, nn.GRU):
        run = functools.partial(step, kind)
        run.__name__ = f"training an {kind.__name__}"  # type: ignore[attr-defined]
        yield run, tuple


FAMILIES: dict[str, Callable[[dtypes.dtype, Device, int], _Run]] = {
    "activation": _elementwise,
    "norm": _norm,
    "channel_norm": _channel_norm,
    "loss": _losses,
    "optimizer": _optimizers,
    "softmax": _softmax,
    "attention": _attention,
    "matmul": _matmul,
    "pool": _pool,
    "conv": _conv,
    "recurrent": _recurrent,
    "training": _training,
}
"""What `compile_kernels` runs, by the names to choose from."""


@contextlib.contextmanager
def showing(stream: TextIO | None = None) -> Iterator[Progress]:
    """Show kernels as they are compiled, in a line that moves on a terminal and in plain lines elsewhere.

    Nothing is shown as long as nothing is compiled. Yields a function for `compile_kernels(progress=…)`.

    >>> import nbtorch, nbtorch.warmup
    >>> with nbtorch.warmup.showing():
    ...     loss = nbtorch.nn.Conv2d(1, 2, 3)(nbtorch.ones(1, 1, 8, 8)).sum()
    """
    stream = sys.stderr if stream is None else stream
    rich = stream.isatty() and importlib.util.find_spec("rich") is not None
    display = _RichDisplay(stream) if rich else _Display(stream)
    stop = jit.on_compile(display.on_compile)
    try:
        yield display.on_progress
    finally:
        stop()
        display.close()


class _Display:
    """One line with what is being compiled, redrawn ten times a second on a terminal."""

    frames = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
    width = 24

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._live = stream.isatty()
        if self._live and not _can_write(stream, self.frames + "█░…"):
            self.frames = "|/-\\"
        self._kernel, self._kernel_start = "", 0.0
        self._done, self._total = 0, 0
        self._count, self._start = 0, 0.0
        self._finished = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def on_compile(self, name: str, phase: str, seconds: float) -> None:
        """Note that a kernel's compilation starts or ends; the first one brings the display up."""
        with self._lock:
            now = time.perf_counter()
            if phase == "end":
                self._kernel = ""
                self._count += 1
                if not self._live:
                    print(f"nbtorch: compiled {jit.readable(name)} in {seconds:.1f} s", file=self._stream, flush=True)
                return
            self._kernel, self._kernel_start = jit.readable(name), now
            if not self._start:
                self._start = now
                where = f"kept in {cache_root()}, so only the first time takes long"
                print(f"nbtorch: compiling kernels ({where})", file=self._stream, flush=True)
        if self._live and self._thread is None:
            self._thread = threading.Thread(target=self._redraw, daemon=True)
            self._thread.start()

    def on_progress(self, done: int, total: int, name: str) -> None:
        """Note how far `compile_kernels` is."""
        self._done, self._total = done, total

    def _redraw(self) -> None:
        for frame in itertools.cycle(self.frames):
            with self._lock:
                self._stream.write(f"\r\x1b[K{self._line(frame)}")
                self._stream.flush()
            if self._finished.wait(0.1):
                return

    def _line(self, frame: str) -> str:
        now = time.perf_counter()
        parts = [frame, _bar(self._done, self._total, self.width, self.frames[0] == "⠋")] if self._total else [frame]
        parts.append(f"{now - self._start:5.1f} s  {self._count} compiled")
        if self._kernel:
            parts.append(f" {self._kernel} {now - self._kernel_start:.1f} s")
        return " ".join(parts)

    def close(self) -> None:
        """Take the moving line away and sum up."""
        if self._thread is not None:
            self._finished.set()
            self._thread.join()
            self._stream.write("\r\x1b[K")
        if self._count:
            seconds = time.perf_counter() - self._start
            print(f"nbtorch: compiled {self._count} kernels in {seconds:.1f} s", file=self._stream, flush=True)


class _RichDisplay(_Display):
    """The same with the bar of rich, where that is installed."""

    def _redraw(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = SpinnerColumn(), BarColumn(self.width), MofNCompleteColumn(), TimeElapsedColumn()
        console = Console(file=self._stream)
        with Progress(*columns, TextColumn("{task.description}"), console=console, transient=True) as progress:
            task = progress.add_task("", total=None)
            while not self._finished.wait(0.1):
                progress.update(task, completed=self._done, total=self._total or None, description=self._kernel)


def _bar(done: int, total: int, width: int, fancy: bool) -> str:
    full = math.floor(width * done / total)
    signs = "█░" if fancy else "#."
    return signs[0] * full + signs[1] * (width - full) + f" {done}/{total}"


def _can_write(stream: TextIO, text: str) -> bool:
    """Whether a stream's encoding has these characters."""
    try:
        text.encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
