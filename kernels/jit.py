"""The decorator every CPU kernel is compiled with, and a way to watch compilations.

`@njit` and `@njit(parallel=True)` stand for `numba.njit` with the options that all kernels share: no GIL, NumPy's
rules for division by zero, fused multiply-add allowed, and a disk cache that notices edits in every kernel source
(`kernels.cache`). With `NUMBA_DISABLE_JIT=1` they leave functions as they are.
"""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numba
from numba.core import config, event
from numba.core.dispatcher import Dispatcher
from numba.np.ufunc.parallel import NUM_THREADS

from .cache import KernelCache
from .dispatcher import KernelDispatcher

# Waiting OpenMP threads spin. On a busy machine a long spin takes the core from the thread that is waited for: four
# epochs of the example took 19 s beside other work, 5 s with this setting; on an idle machine it makes no difference.
os.environ.setdefault("GOMP_SPINCOUNT", "100000")

FORBIDDEN_FASTMATH = frozenset({"fast", "nnan", "ninf"})
"""Flags that would let the compiler assume away NaN and infinity, which pass through every kernel as in PyTorch."""

CompileCallback = Callable[[str, str, float], None]
"""Called with a kernel's name, `"start"` or `"end"`, and the seconds since the start (0.0 at the start)."""


def njit(
    function: Callable | None = None,
    *,
    parallel: bool = False,
    fastmath: frozenset[str] | set[str] = frozenset({"contract"}),
    **options: Any,
) -> Any:
    """Compile `function` with the options that all CPU kernels share.

    Args:
        function: what to compile; left out when the decorator is used with arguments.
        parallel: compile `numba.prange` loops for several threads.
        fastmath: the liberties the compiler may take with floating point; never `nnan` or `ninf`.
        options: more options for `numba.njit`.
    """
    if function is None:
        return lambda function: njit(function, parallel=parallel, fastmath=fastmath, **options)
    if fastmath is True or FORBIDDEN_FASTMATH & set(fastmath or ()):
        raise ValueError(f"njit: fastmath must be a set of flags without {sorted(FORBIDDEN_FASTMATH)}, got {fastmath}")
    if config.DISABLE_JIT:
        return function
    shared = {"nopython": True, "boundscheck": None, "nogil": True, "error_model": "numpy"}
    kernel = KernelDispatcher(function, None, {**shared, "parallel": parallel, "fastmath": set(fastmath), **options})
    kernel._cache = KernelCache(kernel.py_func, kernel.targetoptions)
    return ParallelKernel(kernel) if parallel else kernel


class ParallelKernel:
    """A compiled function with parallel loops, safe to call from several threads.

    Numba's threading layer `workqueue` (the default of macOS wheels) aborts the process when two threads are inside
    parallel regions at once, so calls take turns there. The layers `omp` and `tbb` need no lock. Parallel kernels are
    called from Python only, never from other kernels.
    """

    _turn = threading.RLock()
    _layer: str | None = None

    def __init__(self, dispatcher: Dispatcher) -> None:
        self.dispatcher = dispatcher
        self.py_func = dispatcher.py_func
        self.__name__ = dispatcher.py_func.__name__
        self.__doc__ = dispatcher.py_func.__doc__

    def __call__(self, *args: Any) -> Any:
        """Run the kernel; compile it first if these types are new."""
        if _threads.wanted and _threads.applied.count != _threads.wanted:
            _threads.apply()
        if ParallelKernel._layer in ("omp", "tbb"):
            return self.dispatcher(*args)
        with self._turn:
            result = self.dispatcher(*args)
            if ParallelKernel._layer is None:
                ParallelKernel._layer = _threading_layer()
        return result

    def __getattr__(self, name: str) -> Any:
        """Pass everything else on to the dispatcher."""
        return getattr(self.__dict__["dispatcher"], name)


class _Threads:
    """The number of threads that was asked for; Numba remembers one for each thread of the program."""

    class _Applied(threading.local):
        count = 0

    def __init__(self) -> None:
        self.wanted = 0  # 0: as many as Numba's pool has
        self.applied = self._Applied()

    def apply(self) -> None:
        """Tell Numba, for the calling thread."""
        numba.set_num_threads(min(self.wanted, NUM_THREADS))
        self.applied.count = self.wanted


_threads = _Threads()


def set_num_threads(count: int) -> None:
    """Let parallel kernels use so many threads, or as many as Numba's pool has if these are fewer."""
    _threads.wanted = count
    _threads.apply()


def num_threads() -> int:
    """Return how many threads were asked for, else how many parallel kernels use."""
    return _threads.wanted or numba.get_num_threads()


def _threading_layer() -> str | None:
    """Return the threading layer in use, or None before the first parallel region."""
    try:
        return numba.threading_layer()
    except ValueError:
        return None


class _Watcher(event.Listener):
    """Counts compilations of our kernels and tells callbacks about those that a caller waits for."""

    def __init__(self) -> None:
        self.count = 0
        self.callbacks: list[CompileCallback] = []
        self._started: list[float] = []

    def on_start(self, event: event.Event) -> None:
        """Note that a compilation begins; those nested in another are counted but not reported."""
        if self._is_ours(event):
            self.begin(event.data["dispatcher"].py_func.__name__)

    def on_end(self, event: event.Event) -> None:
        """Note that a compilation ended, with or without success."""
        if self._is_ours(event):
            self.end(event.data["dispatcher"].py_func.__name__)

    def begin(self, name: str) -> None:
        """Count a compilation, and tell of it unless it is nested."""
        self.count += 1
        self._started.append(time.perf_counter())
        self._tell(name, "start")

    def end(self, name: str) -> None:
        """Tell of the end of a compilation that is not nested."""
        self._tell(name, "end")
        self._started.pop()

    @staticmethod
    def _is_ours(event: event.Event) -> bool:
        return isinstance(getattr(event.data["dispatcher"], "_cache", None), KernelCache)

    def _tell(self, name: str, phase: str) -> None:
        if len(self._started) == 1:
            seconds = time.perf_counter() - self._started[0] if phase == "end" else 0.0
            for callback in self.callbacks or [_announcer]:
                callback(name, phase, seconds)


class _Announcer:
    """Says on stderr that a program waits for the compiler, when it has waited for two seconds.

    `NBTORCH_VERBOSE=1` shows every compilation at once, `NBTORCH_VERBOSE=0` none; `announce_compilation` decides in a
    program. On a terminal a line shows what is being compiled until all is ready.
    """

    patience = 2.0

    def __init__(self) -> None:
        wanted = os.environ.get("NBTORCH_VERBOSE")
        self.enabled, self.every = wanted != "0", wanted == "1"
        self.announced = False
        self._waited = 0.0
        self._timer: threading.Timer | None = None

    def __call__(self, name: str, phase: str, seconds: float) -> None:
        if not self.enabled:
            return
        if self.every:
            if phase == "start":
                print(f"nbtorch: compiling {name} ...", end="", file=sys.stderr, flush=True)
            else:
                print(f" {seconds:.1f} s (kept for next time)", file=sys.stderr, flush=True)
        elif phase == "start":
            if self.announced:
                self._show(f"nbtorch: compiling {readable(name)}…")
                return
            self._timer = threading.Timer(max(0.0, self.patience - self._waited), self._announce, [name])
            self._timer.daemon = True
            self._timer.start()
        else:
            self._waited += seconds
            self._show("")
            if self._timer is not None:
                self._timer.cancel()

    def _announce(self, name: str) -> None:
        self.announced = True
        text = (
            f"nbtorch: compiling {readable(name)}, once for this machine… (`python -m nbtorch warmup` compiles ahead)"
        )
        print(text, file=sys.stderr, flush=True)

    def _show(self, text: str) -> None:
        """Write over the line of a terminal."""
        if self.announced and sys.stderr.isatty():
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


_announcer = _Announcer()


def announce_compilation(enabled: bool = True) -> None:
    """Let a program that waits two seconds for compilation say so on stderr, or let it wait in silence."""
    _announcer.enabled = enabled


def readable(name: str) -> str:
    """Return a kernel's name without the leading underscores of private functions."""
    return name.strip("_<>").replace("_", " ")


_watcher = _Watcher()
if not config.DISABLE_JIT:
    event.register("numba:compile", _watcher)


def on_compile(callback: CompileCallback) -> Callable[[], None]:
    """Call `callback(name, phase, seconds)` when the compilation of a kernel starts and ends.

    Kernels that come from the disk cache are not reported, nor are helpers that are compiled on behalf of a kernel.
    While a callback is registered nothing is printed.

    Returns:
        a function that ends the observation.
    """
    _watcher.callbacks.append(callback)
    return lambda: _watcher.callbacks.remove(callback) if callback in _watcher.callbacks else None


@contextlib.contextmanager
def compiling(name: str) -> Iterator[None]:
    """Count what happens inside as the compilation of one kernel, and tell of it as of the others."""
    _watcher.begin(name)
    try:
        yield
    finally:
        _watcher.end(name)


def compilations() -> int:
    """Return how many functions this process has compiled rather than found in the disk cache."""
    return _watcher.count
