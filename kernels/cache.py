"""Compiled kernels on disk, so that only the first process ever pays for compilation.

Numba's own cache looks at the file in which a function is defined and nowhere else: an edit in a helper that lives in
another file goes unnoticed and the old machine code runs on (numba #8396). Here the key covers every source file that
a kernel can reach (`kernels.sources`), so that whoever edits a kernel or a helper sees the edit, and waits for no more
than what the edit touches.

Layout: `NBTORCH_CACHE_DIR` (default: the user's cache folder + `nbtorch`) holds one folder per key: the name of a
module and a hash over the sources, the versions of Python, NumPy, Numba and llvmlite, the processor and the settings
that change code. A folder holds one file per compiled overload, named by a hash of everything that tells it from the
others. There is no index, so processes cannot mix up each other's entries; files are written aside and moved into
place, carry a checksum, and are dropped and compiled anew when damaged. Nothing is ever written beside the sources.
"""

import contextlib
import hashlib
import inspect
import linecache
import os
import platform
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy
from numba.core import compiler, config
from numba.core.caching import _Cache
from numba.core.serialize import dumps, loads

from . import sources
from .dispatcher import loaded_helper
from .sources import digest

KEPT_FOLDERS = 8
"""How many key folders of a module stay on disk: the most recently used ones."""

CODE_SETTINGS = (
    "BOUNDSCHECK",
    "CAPTURED_ERRORS",
    "DEBUGINFO_DEFAULT",
    "DISABLE_INTEL_SVML",
    "ENABLE_AVX",
    "ENABLE_PROFILING",
    "EXTEND_VARIABLE_LIFETIMES",
    "LLVM_REFPRUNE_FLAGS",
    "LLVM_REFPRUNE_PASS",
    "LOOP_VECTORIZE",
    "OPT",
    "PARFOR_MAX_TUPLE_SIZE",
    "SLP_VECTORIZE",
)
"""Settings of Numba that change the generated code; the processor comes with Numba's own `magic_tuple`."""

CODE_VARIABLES = ("NBTORCH_SIMD",)
"""Environment variables of ours that change the generated code."""

_CHECKSUM_BYTES = 32


def cache_root() -> Path:
    """Return the folder that holds all key folders: `NBTORCH_CACHE_DIR` or `nbtorch` in the user's cache folder."""
    chosen = os.environ.get("NBTORCH_CACHE_DIR")
    if chosen:
        return Path(chosen).expanduser()
    try:
        home = Path.home()
    except RuntimeError:  # a user without a home, as in some containers: nothing is kept
        return Path(os.devnull) / "nbtorch"
    if sys.platform == "darwin":
        base = home / "Library" / "Caches"
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return base / "nbtorch"


@cache
def _settings() -> str:
    """Describe everything beside sources and processor that changes the generated code."""
    versions = (sys.version, platform.machine(), numpy.__version__, numba.__version__, llvmlite.__version__)
    numba_settings = [(name, str(getattr(config, name, None))) for name in CODE_SETTINGS]
    own_settings = [(name, os.environ.get(name)) for name in CODE_VARIABLES]
    return repr((versions, numba_settings, own_settings))


def _describe(value: object) -> bytes:
    """Return bytes that describe what a closure holds, the same in every process."""
    function = getattr(value, "py_func", getattr(value, "_defn", value))  # a dispatcher's, an intrinsic's, its own
    if inspect.isfunction(function):
        return describe_function(function)
    if isinstance(value, tuple):
        return digest([type(value).__qualname__, *map(_describe, value)]).encode()
    return dumps(value)


def describe_function(function: Callable) -> bytes:
    """Return bytes that describe a function's code and what it closes over."""
    code = function.__code__
    parts = [function.__module__, function.__qualname__, code.co_code, repr(code.co_names)]
    parts += [repr(constant) for constant in code.co_consts if not inspect.iscode(constant)]
    parts += [constant.co_code for constant in code.co_consts if inspect.iscode(constant)]
    parts += [_describe(cell.cell_contents) for cell in function.__closure__ or ()]
    return digest(parts).encode()


class KernelCache(_Cache):
    """The compiled overloads of one function, given to a Numba dispatcher in the place of its own cache."""

    _warned = False
    _opened: set[Path] = set()

    def __init__(self, function: Callable, options: dict[str, Any]) -> None:
        self._function = function
        self._options = repr(sorted((name, _in_order(value)) for name, value in options.items()))
        self._enabled = True

    @property
    def cache_path(self) -> str:
        """The folder of all key folders."""
        return str(cache_root())

    def enable(self) -> None:
        """Read and write entries."""
        self._enabled = True

    def disable(self) -> None:
        """Neither read nor write entries."""
        self._enabled = False

    def flush(self) -> None:
        """Do nothing: an entry that no longer fits is never found again."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the compiled overload for `sig`, or None if it has to be compiled."""
        return self._load(sig, "", target_context, compiler.CompileResult._rebuild)

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep a freshly compiled overload on disk, unless the sources were edited while this process ran."""
        self._save(sig, "", data)

    def load_helper(self, sig: Any, target_context: Any) -> Any:
        """Return the overload for `sig` that other kernels call, or None if it has to be compiled."""
        return self._load(sig, "helper", target_context, loaded_helper)

    def save_helper(self, sig: Any, data: Any) -> None:
        """Keep an overload that other kernels call."""
        self._save(sig, "helper", data)

    def _load(self, sig: Any, kind: str, target_context: Any, rebuild: Callable[..., Any]) -> Any:
        target_context.refresh()
        path = self._entry(sig, kind, target_context.codegen())
        if path is None:
            return None
        payload = read_entry(path)
        if payload is None:
            return None
        try:
            return rebuild(target_context, *loads(payload))
        except Exception:  # whatever a damaged or foreign file raises: it is worth a compilation, not a traceback
            with contextlib.suppress(OSError):
                path.unlink()
            return None

    def _save(self, sig: Any, kind: str, data: Any) -> None:
        if sources.edited_since_import(self._function):
            return
        if data.library.has_dynamic_globals or any(not lifted.can_cache for lifted in data.lifted):
            return
        path = self._entry(sig, kind, data.codegen)
        if path is None:
            return
        write_entry(path, dumps(data._reduce()))

    def _entry(self, sig: Any, kind: str, codegen: Any) -> Path | None:
        """Return the path of the entry of some kind for `sig`; None if this function or signature cannot be kept."""
        signature = str(sig)
        own_source = _own_source(self._function)
        if not self._enabled or own_source is None or " at 0x" in signature:
            return None
        target = repr(codegen.magic_tuple())
        family = self._function.__module__.rpartition(".")[2]
        key = digest((self._function.__module__, sources.digest_behind(self._function), _settings(), target))
        folder = cache_root() / f"{family}-{key[:20]}"
        name = digest(
            (signature, kind, _tuple_classes(sig), own_source, describe_function(self._function), self._options)
        )
        return folder / f"{self._function.__name__.strip('<>')}-{name[:32]}.bin"


def _tuple_classes(sig: Any) -> str:
    """Name the classes of named tuples in a signature, of which its own text says neither module nor fields."""
    classes = [kind.instance_class for kind in getattr(sig, "args", sig) if hasattr(kind, "instance_class")]
    return repr([(c.__module__, c.__qualname__, c._fields) for c in classes])


def _in_order(value: Any) -> str:
    """Describe the value of an option; Python orders the words of a set anew in every process."""
    return repr(sorted(map(str, value))) if isinstance(value, set | frozenset) else str(value)


def _own_source(function: Callable) -> str | None:
    """Return a hash of the file that defines `function`; None when it has no source (typed into a bare prompt)."""
    filename = function.__code__.co_filename
    lines = linecache.getlines(filename)  # also finds the cells of a notebook
    return digest(lines) if lines else None


def read_entry(path: Path) -> bytes | None:
    """Return what an entry holds; None where there is none, and where it is damaged, which removes it."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    _mark_used(path.parent)
    checksum, payload = data[:_CHECKSUM_BYTES], data[_CHECKSUM_BYTES:]
    if hashlib.sha256(payload).digest() == checksum:
        return payload
    with contextlib.suppress(OSError):
        path.unlink()
    return None


def write_entry(path: Path, payload: bytes) -> None:
    """Keep an entry, with a checksum; where that cannot be done, warn once."""
    try:
        _write_aside(path, hashlib.sha256(payload).digest() + payload)
    except OSError as error:
        _warn_once(path.parent, error)


def _warn_once(folder: Path, error: OSError) -> None:
    """Say, once per process, that compiled kernels are not kept."""
    if not KernelCache._warned:
        KernelCache._warned = True
        warnings.warn(
            f"nbtorch cannot keep compiled kernels in {folder} ({error.strerror or error}): every process will"
            " compile them again. Set NBTORCH_CACHE_DIR to a folder that can be written.",
            RuntimeWarning,
            stacklevel=3,
        )


def _write_aside(path: Path, data: bytes) -> None:
    """Write a file so that other processes see either nothing or all of it."""
    if not path.parent.is_dir():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _prune(path.parent)
    handle, aside = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(aside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(aside)
        raise


def _mark_used(folder: Path) -> None:
    """Note, once per process, that a key folder is in use."""
    if folder not in KernelCache._opened:
        KernelCache._opened.add(folder)
        with contextlib.suppress(OSError):
            os.utime(folder)


def _prune(newest: Path) -> None:
    """Remove all but the most recently used key folders of a module."""
    family = newest.name.rpartition("-")[0]
    with contextlib.suppress(OSError):
        others = [folder for folder in newest.parent.glob(f"{family}-*") if folder.is_dir() and folder != newest]
        by_use = sorted(others, key=lambda folder: folder.stat().st_mtime, reverse=True)
        for folder in by_use[KEPT_FOLDERS - 1 :]:
            shutil.rmtree(folder, ignore_errors=True)
