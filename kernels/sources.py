"""Which source files of this package the machine code of a kernel depends on.

Numba inlines and links what a kernel calls, so an edit in a helper must make a new kernel; an edit in a family that it
has nothing to do with should not. What a module can reach are the modules it imports, and what these import: read from
the sources themselves, without running them.
"""

import hashlib
import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parent
"""The folder of the kernels package; in imports `nbtorch.kernels`."""

ABSOLUTE = "nbtorch.kernels"
"""The package's name where it is imported absolutely."""

_IMPORT_FROM = re.compile(r"^[ \t]*from[ \t]+([.\w]+)[ \t]+import[ \t]+(\([^)]*\)|[^\n]*)", re.MULTILINE)
_IMPORT = re.compile(r"^[ \t]*import[ \t]+([^\n]*)", re.MULTILINE)


def digest(parts: Iterable[bytes | str]) -> str:
    """Return a hash of a sequence of parts that no other sequence shares."""
    result = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        result.update(len(data).to_bytes(8, "little") + data)
    return result.hexdigest()


def read_sources() -> dict[Path, bytes]:
    """Return the contents of all source files of the package."""
    return {path: path.read_bytes() for path in sorted(PACKAGE.rglob("*.py"))}


AT_IMPORT = read_sources()
"""The sources as they were when this process started, or soon after: what its kernels are compiled from."""


def _module_files(folder: Path, dotted: str) -> Iterator[Path]:
    """Yield the files that importing `dotted` from a folder of the package would run, packages on the way included."""
    place = folder
    for name in filter(None, dotted.split(".")):
        if (place / f"{name}.py") in AT_IMPORT:
            yield place / f"{name}.py"
        place = place / name
        if (place / "__init__.py") in AT_IMPORT:
            yield place / "__init__.py"


def _origin(file: Path, module: str) -> tuple[Path, str] | None:
    """Return the folder that an imported module's name starts from, and the rest of the name; None outside of us."""
    if module.startswith("."):
        rest = module.lstrip(".")
        return file.parents[len(module) - len(rest) - 1], rest
    if module == ABSOLUTE or module.startswith(ABSOLUTE + "."):
        return PACKAGE, module[len(ABSOLUTE) + 1 :]
    return None


@cache
def imported_by(file: Path) -> frozenset[Path]:
    """Return the package's files that one file imports itself, inside of functions too."""
    text = AT_IMPORT[file].decode()
    wanted = [(module, names) for module, names in _IMPORT_FROM.findall(text)]
    wanted += [
        (module.split()[0], "") for line in _IMPORT.findall(text) for module in line.split(",") if module.strip()
    ]
    found = {file.parent / "__init__.py"} & AT_IMPORT.keys()
    for module, names in wanted:
        if (origin := _origin(file, module)) is None:
            continue
        folder, rest = origin
        found.update(_module_files(folder, rest))
        for name in re.findall(r"\w+", names):
            found.update(_module_files(folder, f"{rest}.{name}"))
    return frozenset(found)


@cache
def reachable_from(file: Path) -> tuple[Path, ...]:
    """Return a file of the package and all files that it imports, directly or not, in a fixed order."""
    seen, waiting = {file}, [file]
    while waiting:
        for other in imported_by(waiting.pop()) - seen:
            seen.add(other)
            waiting.append(other)
    return tuple(sorted(seen))


def _files_of(value: Any) -> Iterator[Path]:
    """Yield the files that define a function, or several, and the functions that it closes over."""
    if isinstance(value, tuple | list):
        for member in value:
            yield from _files_of(member)
    function = getattr(value, "py_func", getattr(value, "_defn", value))  # a dispatcher's, an intrinsic's, its own
    if not inspect.isfunction(function):
        return
    yield Path(function.__code__.co_filename).resolve()
    for cell in function.__closure__ or ():
        yield from _files_of(cell.cell_contents)


@cache
def files_behind(function: Callable) -> tuple[Path, ...]:
    """Return the package's files that a kernel's code depends on; all of them for a kernel from elsewhere."""
    files = set(_files_of(function))
    if not files <= AT_IMPORT.keys():
        return tuple(AT_IMPORT)
    return tuple(sorted({path for file in files for path in reachable_from(file)}))


def digest_behind(function: Callable) -> str:
    """Return a hash over the sources that a kernel was compiled from."""
    return _digest_of(files_behind(function))


@cache
def _digest_of(files: tuple[Path, ...]) -> str:
    return digest(part for path in files for part in (str(path.relative_to(PACKAGE)), AT_IMPORT[path]))


def edited_since_import(function: Callable) -> bool:
    """Return whether a file that a kernel depends on is no longer what it was when this process started."""
    try:
        return any(path.read_bytes() != AT_IMPORT[path] for path in files_behind(function))
    except OSError:
        return True
