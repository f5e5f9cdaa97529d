"""Saving and loading: state_dicts in the file format of PyTorch, without PyTorch and without running code from a file.

A file is an uncompressed zip archive, as PyTorch 1.6 and later write it: `archive/data.pkl` holds the structure as a
pickle, `archive/data/KEY` the bytes of one storage each. `torch.load(weights_only=True)` reads what `save` writes, and
`load` reads the `.pt` files of PyTorch. The pickle is read by an interpreter of our own that knows tensors, parameters
and plain containers: whatever else a file names is an error, so a hostile file can do no more than fail.
"""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import pickletools
import re
import struct
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from . import dtypes
from .device import CPU, array_module, as_device
from .device import device as Device
from .nn.parameter import Parameter
from .tensor import Size, Tensor

STORAGE_CLASSES = {
    "BoolStorage": dtypes.bool,
    "ByteStorage": dtypes.uint8,
    "CharStorage": dtypes.int8,
    "ShortStorage": dtypes.int16,
    "IntStorage": dtypes.int32,
    "LongStorage": dtypes.int64,
    "BFloat16Storage": dtypes.bfloat16,
    "HalfStorage": dtypes.float16,
    "FloatStorage": dtypes.float32,
    "DoubleStorage": dtypes.float64,
    "ComplexFloatStorage": dtypes.complex64,
    "ComplexDoubleStorage": dtypes.complex128,
}
"""PyTorch's names for memory that holds elements of one type."""

ALIGNMENT = 64
"""Storages begin at multiples of this many bytes in a file, so that it can be mapped into memory."""

_TYPE_NAME = r"(complex|float|q?u?int|bits)\d"

_CLASS_NAMES = {dtype: name for name, dtype in STORAGE_CLASSES.items()}

MapLocation = str | Device | Mapping[str, Any] | Callable[[Any, str], Any] | None


def save(obj: Any, f: str | os.PathLike[str] | IO[bytes]) -> None:
    """Write tensors and what holds them to a file that both `nbtorch.load` and `torch.load` read.

    A file is replaced in one step: whoever reads it, and whoever finds it after a crash, sees the old or the new one.
    Tensors that share memory still share it after loading.

    Args:
        obj: tensors, parameters, numbers, strings, bytes, None, and (nested) dicts, OrderedDicts, lists, tuples and
            sets of them: state_dicts, for instance. NumPy's numbers are written as Python's.
        f: a path, or a file open for writing bytes.

    Raises:
        TypeError: something in `obj` is of another type; the message says where.
        RuntimeError: the folder does not exist, or tensors of two types share memory.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.save.html

    >>> import io, nbtorch
    >>> file = io.BytesIO()
    >>> nbtorch.save({"weight": nbtorch.ones(2), "epoch": 3}, file)
    >>> nbtorch.load(file)
    {'weight': tensor([1., 1.]), 'epoch': 3}
    """
    storages = _Storages(_tensors(obj, set()))
    data = _Writer(storages).pickled(obj)
    if isinstance(f, (str, os.PathLike)):
        with _replacing(Path(f)) as file:
            _write_archive(file, data, storages)
        return
    if not hasattr(f, "write"):
        raise TypeError(f"save: f must be a path or a file open for writing, got {type(f).__name__}")
    if hasattr(f, "seekable") and f.seekable():
        _write_archive(f, data, storages)
        return
    buffer = io.BytesIO()
    _write_archive(buffer, data, storages)
    f.write(buffer.getvalue())


def load(f: str | os.PathLike[str] | IO[bytes], map_location: MapLocation = None, *, weights_only: bool = True) -> Any:
    """Read what `nbtorch.save` or `torch.save` wrote.

    Args:
        f: a path, or a file open for reading bytes that can seek.
        map_location: where to put the tensors: a device; a dict from devices (strings) to devices; a function of a
            storage and its device's string that returns the storage (the CPU), a device, or None; or None, for the
            devices that they were saved from.
        weights_only: accepted for PyTorch's signature. No code from a file is ever run, so False changes nothing.

    Raises:
        FileNotFoundError: there is no such file.
        RuntimeError: the file is truncated or damaged, no zip archive, or names a device that is not there.
        pickle.UnpicklingError: the file holds something other than tensors and plain containers.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.load.html
    """
    name = str(f) if isinstance(f, (str, os.PathLike)) else repr(getattr(f, "name", type(f).__name__))
    if isinstance(f, (str, os.PathLike)):
        with open(f, "rb") as file:
            return _read_archive(file, name, map_location)
    if not (hasattr(f, "read") and hasattr(f, "seek")):
        raise TypeError(f"load: f must be a path or a file that can read and seek, got {type(f).__name__}")
    return _read_archive(f, name, map_location)


def _tensors(obj: Any, seen: set[int]) -> Iterator[Tensor]:
    """Walk through containers and yield every tensor once."""
    if isinstance(obj, Tensor):
        if id(obj) not in seen:
            seen.add(id(obj))
            yield obj
        return
    if not isinstance(obj, (dict, list, tuple, set)) or id(obj) in seen:
        return
    seen.add(id(obj))
    for item in obj.values() if isinstance(obj, dict) else obj:
        yield from _tensors(item, seen)
    if isinstance(obj, OrderedDict):
        yield from _tensors(obj.__dict__, seen)


class _Span(NamedTuple):
    """The memory from the first to the last element of a tensor: addresses `low` to `high`, exclusive."""

    low: int
    high: int
    tensor: Tensor

    @classmethod
    def of(cls, tensor: Tensor) -> _Span:
        low = tensor.data_ptr()
        if not tensor.numel():
            return cls(low, low, tensor)
        steps = zip(tensor.shape, tensor.stride(), strict=True)
        reach = 1 + sum([(extent - 1) * step for extent, step in steps])
        return cls(low, low + reach * tensor.element_size(), tensor)


class _Storages:
    """Pieces of memory that hold tensors: one for each group of tensors whose memory overlaps."""

    def __init__(self, tensors: Iterator[Tensor]) -> None:
        spans = [_Span.of(tensor) for tensor in tensors]
        order = {id(span.tensor): number for number, span in enumerate(spans)}
        groups: list[list[_Span]] = []
        end = 0
        for span in sorted([s for s in spans if s.high > s.low], key=lambda s: (str(s.tensor.device), s.low, s.high)):
            if groups and span.low < end and span.tensor.device == groups[-1][0].tensor.device:
                groups[-1].append(span)
                end = max(end, span.high)
            else:
                groups.append([span])
                end = span.high
        groups += [[span] for span in spans if span.high == span.low]
        groups.sort(key=lambda group: min(order[id(span.tensor)] for span in group))
        self._members: dict[int, tuple[int, int]] = {}
        self._arrays = [self._add(number, group) for number, group in enumerate(groups)]

    def _add(self, number: int, group: list[_Span]) -> Any:
        """Note the members of storage `number` and return its elements as an array of one dimension."""
        first = group[0].tensor
        size, low = first.element_size(), group[0].low
        for span in group:
            offset, rest = divmod(span.low - low, size)
            if span.tensor.dtype is not first.dtype or rest:
                raise RuntimeError(
                    "save: cannot save several tensors that view the same memory as different types, got"
                    f" {first.dtype} and {span.tensor.dtype}"
                )
            self._members[id(span.tensor)] = number, offset
        count = (max(span.high for span in group) - low) // size
        return first._xp.lib.stride_tricks.as_strided(first._array, (count,), (size,))

    def place(self, tensor: Tensor) -> tuple[int, int, int]:
        """Return a tensor's storage, how many elements that one holds, and the offset of the tensor's first element."""
        number, offset = self._members[id(tensor)]
        return number, self._arrays[number].size, offset

    def __iter__(self) -> Iterator[memoryview]:
        for array in self._arrays:
            on_cpu = array if isinstance(array, np.ndarray) else array.get()
            yield on_cpu.view(np.uint8).data if on_cpu.size else memoryview(b"")


class _Writer:
    """Writes a pickle (protocol 2, as PyTorch reads it) that refers to PyTorch's functions without importing them."""

    def __init__(self, storages: _Storages) -> None:
        self._storages = storages
        self._out = bytearray(pickle.PROTO + b"\x02")
        self._memo: dict[int, tuple[int, Any]] = {}  # the objects are kept alive, so that ids stay theirs

    def pickled(self, obj: Any) -> bytes:
        """Return the pickle of `obj`."""
        self._write(obj, "obj")
        return bytes(self._out + pickle.STOP)

    def _write(self, obj: Any, where: str) -> None:
        """Write one object; `where` names it in errors."""
        known = self._memo.get(id(obj))
        if known is not None:
            self._out += pickle.LONG_BINGET + struct.pack("<I", known[0])
        elif isinstance(obj, Tensor):
            self._write_tensor(obj, where)
        elif isinstance(obj, np.generic) and obj.dtype.kind in "biuf":
            self._write_plain(obj.item(), where)
        else:
            self._write_plain(obj, where)

    def _write_plain(self, obj: Any, where: str) -> None:
        kind = type(obj)
        if obj is None:
            self._out += pickle.NONE
        elif kind is bool:
            self._out += pickle.NEWTRUE if obj else pickle.NEWFALSE
        elif kind is int:
            self._write_int(obj)
        elif kind is float:
            self._out += pickle.BINFLOAT + struct.pack(">d", obj)
        elif kind is str:
            text = obj.encode("utf-8", "surrogatepass")
            self._out += pickle.BINUNICODE + struct.pack("<I", len(text)) + text
            self._remember(obj)
        elif kind is bytes:
            self._call("_codecs", "encode", (obj.decode("latin1"), "latin1"), where)
            self._remember(obj)
        elif kind is tuple:
            self._write_tuple(obj, where)
            self._remember(obj)
        elif kind is list:
            self._write_list(obj, where)
        elif kind is dict:
            self._out += pickle.EMPTY_DICT
            self._remember(obj)
            self._write_items(obj, where)
        elif kind is OrderedDict:
            self._write_ordered_dict(obj, where)
        elif kind is set:
            self._call("__builtin__", "set", (list(obj),), where)
            self._remember(obj)
        elif kind is Size:
            self._call("torch", "Size", (tuple(obj),), where)
        elif kind is Device:
            self._call("torch", "device", (str(obj),), where)
        elif kind is dtypes.dtype:
            self._global("torch", obj.name)
        else:
            raise TypeError(
                f"save: {where} must be a tensor, a number, a string, None or a dict, list, tuple or set of them,"
                f" got {kind.__module__}.{kind.__qualname__}"
                + (": save its state_dict() instead" if hasattr(obj, "state_dict") else "")
            )

    def _remember(self, obj: Any) -> None:
        number = len(self._memo)
        self._memo[id(obj)] = number, obj
        self._out += pickle.LONG_BINPUT + struct.pack("<I", number)

    def _global(self, module: str, name: str) -> None:
        self._out += pickle.GLOBAL + f"{module}\n{name}\n".encode()

    def _call(self, module: str, name: str, arguments: tuple[Any, ...], where: str) -> None:
        self._global(module, name)
        self._write_tuple(arguments, where)
        self._out += pickle.REDUCE

    def _write_int(self, value: int) -> None:
        if -(1 << 31) <= value < 1 << 31:
            self._out += pickle.BININT + struct.pack("<i", value)
        else:
            data = pickle.encode_long(value)
            if len(data) > 255:
                raise TypeError(f"save: an integer must fit into 255 bytes, got one of {len(data)}")
            self._out += pickle.LONG1 + bytes([len(data)]) + data

    def _write_tuple(self, items: tuple[Any, ...], where: str) -> None:
        self._out += pickle.MARK
        for number, item in enumerate(items):
            self._write(item, f"{where}[{number}]")
        self._out += pickle.TUPLE

    def _write_list(self, items: list[Any], where: str) -> None:
        self._out += pickle.EMPTY_LIST
        self._remember(items)
        self._out += pickle.MARK
        for number, item in enumerate(items):
            self._write(item, f"{where}[{number}]")
        self._out += pickle.APPENDS

    def _write_items(self, items: dict[Any, Any], where: str) -> None:
        self._out += pickle.MARK
        for key, value in items.items():
            self._write(key, f"a key of {where}")
            self._write(value, f"{where}[{key!r}]")
        self._out += pickle.SETITEMS

    def _write_ordered_dict(self, items: OrderedDict[Any, Any], where: str) -> None:
        """Write an OrderedDict with its attributes: a module's state_dict keeps versions in `_metadata`."""
        self._call("collections", "OrderedDict", (), where)
        self._remember(items)
        self._write_items(items, where)
        if items.__dict__:
            self._write(items.__dict__, f"{where}.__dict__")
            self._out += pickle.BUILD

    def _write_tensor(self, tensor: Tensor, where: str) -> None:
        if isinstance(tensor, Parameter):
            self._global("torch._utils", "_rebuild_parameter")
            self._out += pickle.MARK
            self._write_values(tensor, False, where)
            self._out += pickle.NEWTRUE if tensor.requires_grad else pickle.NEWFALSE
            self._call("collections", "OrderedDict", (), where)
            self._out += pickle.TUPLE + pickle.REDUCE
        else:
            self._write_values(tensor, tensor.requires_grad, where)
        self._remember(tensor)

    def _write_values(self, tensor: Tensor, requires_grad: bool, where: str) -> None:
        number, count, offset = self._storages.place(tensor)
        named = tensor.dtype in _CLASS_NAMES  # else the storage is one of bytes, and the type follows by itself
        self._global("torch._utils", f"_rebuild_tensor_v{2 if named else 3}")
        self._out += pickle.MARK + pickle.MARK
        self._write_plain("storage", where)
        if named:
            self._global("torch", _CLASS_NAMES[tensor.dtype])
        else:
            self._global("torch.storage", "UntypedStorage")
            count *= tensor.element_size()
        for value in (str(number), str(tensor.device), count):
            self._write_plain(value, where)
        self._out += pickle.TUPLE + pickle.BINPERSID
        for part in (offset, tuple(tensor.shape), tensor.stride(), requires_grad):
            self._write_plain(part, where)
        self._call("collections", "OrderedDict", (), where)
        if not named:
            self._global("torch", tensor.dtype.name)
        self._out += pickle.TUPLE + pickle.REDUCE


def _write_archive(file: IO[bytes], data: bytes, storages: _Storages) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, content in (("data.pkl", data), ("byteorder", sys.byteorder.encode()), ("version", b"3\n")):
            archive.writestr(zipfile.ZipInfo(f"archive/{name}"), content)
        for number, memory in enumerate(storages):
            archive.writestr(_aligned_entry(f"archive/data/{number}", file.tell(), len(memory)), memory)


def _aligned_entry(name: str, position: int, size: int) -> zipfile.ZipInfo:
    """Return an entry whose header, written at `position`, ends at a multiple of `ALIGNMENT`."""
    large = 20 if size * 1.05 > zipfile.ZIP64_LIMIT else 0  # zipfile adds a field with 64-bit sizes
    padding = -(position + 30 + len(name) + 4 + large) % ALIGNMENT
    entry = zipfile.ZipInfo(name)
    entry.extra = b"FB" + struct.pack("<H", padding) + b"Z" * padding
    return entry


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open a new file that takes the place of `path` when all is written and on the disk; else it is removed."""
    path = Path(os.path.realpath(path))
    if not path.parent.is_dir():
        raise RuntimeError(f"save: parent directory {path.parent} does not exist")
    if path.is_dir():
        raise IsADirectoryError(f"save: {path} is a folder, expected the path of a file")
    aside = path.with_name(f".{path.name[:200]}.{os.getpid()}-{os.urandom(4).hex()}.tmp")
    try:
        with open(aside, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Bring a folder's entries to the disk, where the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _read_archive(file: IO[bytes], name: str, map_location: MapLocation) -> Any:
    try:
        archive = zipfile.ZipFile(file)
    except zipfile.BadZipFile:
        raise RuntimeError(_why_no_archive(file, name)) from None
    try:
        with archive:
            records = _Records(archive, name)
            return _Reader(records, map_location).result(records.read("data.pkl"))
    except (zipfile.BadZipFile, EOFError, struct.error) as error:
        raise RuntimeError(f"load: {name} is damaged: {error}") from None


def _why_no_archive(file: IO[bytes], name: str) -> str:
    file.seek(0)
    start = file.read(4)
    if not start:
        return f"load: {name} is empty"
    if start == b"PK\x03\x04":
        return f"load: {name} is truncated: it begins as a zip archive but has no directory at its end"
    if start[:1] == pickle.PROTO:
        return (
            f"load: {name} is a pickle, not a zip archive: PyTorch wrote such files before version 1.6. Load it with"
            " PyTorch and save it again with torch.save."
        )
    return f"load: {name} is not a zip archive as torch.save and nbtorch.save write it"


class _Records:
    """The entries of an archive by their names within its one folder."""

    def __init__(self, archive: zipfile.ZipFile, name: str) -> None:
        self._archive, self._name = archive, name
        folders = [entry[: -len("data.pkl")] for entry in archive.namelist() if entry.endswith("/data.pkl")]
        if not folders:
            raise RuntimeError(f"load: {name} is a zip archive without data.pkl, so not one that torch.save wrote")
        self._folder = min(folders, key=len)
        has_order = f"{self._folder}byteorder" in archive.namelist()
        self.byteorder = self.read("byteorder").decode("ascii", "replace").strip() if has_order else "little"
        if self.byteorder not in ("little", "big"):
            raise RuntimeError(f"load: {name} is damaged: byteorder must be little or big, got {self.byteorder!r}")

    def _entry(self, record: str) -> zipfile.ZipInfo:
        try:
            entry = self._archive.getinfo(self._folder + record)
        except KeyError:
            raise RuntimeError(f"load: {self._name} is damaged: it holds no {record}") from None
        if entry.compress_type != zipfile.ZIP_STORED:  # never so in such files: sizes stay bounded by the file's
            raise RuntimeError(f"load: {self._name}: {record} is compressed, expected an uncompressed archive")
        return entry

    def read(self, record: str) -> bytes:
        """Return the content of a record."""
        return self._archive.read(self._entry(record))

    def read_elements(self, record: str, dtype: np.dtype, count: int) -> np.ndarray:
        """Return the `count` elements that a record holds."""
        entry = self._entry(record)
        if entry.file_size < count * dtype.itemsize:
            raise RuntimeError(
                f"load: {self._name} is damaged: {record} must hold {count} elements of {dtype},"
                f" got {entry.file_size} bytes"
            )
        elements = np.empty(count, dtype.newbyteorder("<" if self.byteorder == "little" else ">"))
        left = elements.view(np.uint8).data if count else memoryview(bytearray())
        with self._archive.open(entry) as content:
            while left.nbytes:
                got = content.readinto(left)  # type: ignore[attr-defined]
                if not got:
                    raise EOFError(f"{record} ends early")
                left = left[got:]
        return elements.astype(dtype, copy=False)


class _Storage:
    """The elements of one storage as an array of one dimension, and the device that it lies on."""

    def __init__(self, array: Any, where: Device) -> None:
        self.array, self.device = array, where


class _Reader:
    """Interprets a pickle that is made of tensors and plain containers."""

    def __init__(self, records: _Records, map_location: MapLocation) -> None:
        self._records, self._map_location = records, map_location
        self._storages: dict[str, tuple[dtypes.dtype, _Storage]] = {}
        self._builders: dict[str, Callable[..., Any]] = {
            "collections.OrderedDict": _ordered_dict,
            "__builtin__.set": _set,
            "builtins.set": _set,
            "_codecs.encode": _encode,
            "torch.Size": _size,
            "torch.device": _device,
            "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
            "torch._utils._rebuild_tensor_v3": _rebuild_tensor_of_bytes,
            "torch._utils._rebuild_parameter": _rebuild_parameter,
        }
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def result(self, data: bytes) -> Any:
        """Return the object that a pickle describes."""
        try:
            for opcode, argument, _ in pickletools.genops(data):
                if opcode.name == "STOP":
                    return self._stack.pop()
                self._execute(opcode.name, argument)
        except (ValueError, IndexError, KeyError, TypeError) as error:
            raise pickle.UnpicklingError(f"load: the file's pickle is damaged: {error}") from error
        raise pickle.UnpicklingError("load: the file's pickle ends without a result")

    def _execute(self, name: str, argument: Any) -> None:
        """Do what one instruction of the pickle says."""
        stack = self._stack
        match name:
            case "PROTO" | "FRAME":
                pass
            case "NONE":
                stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                stack.append(name == "NEWTRUE")
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "LONG4" | "BINFLOAT":
                stack.append(argument)
            case "BINUNICODE" | "SHORT_BINUNICODE" | "BINUNICODE8" | "BINSTRING" | "SHORT_BINSTRING":
                stack.append(argument)
            case "BINBYTES" | "SHORT_BINBYTES" | "BINBYTES8":
                stack.append(argument)
            case "MARK":
                self._marks.append(len(stack))
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_SET":
                stack.append(set())
            case "EMPTY_TUPLE":
                stack.append(())
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(tuple(self._popped(len(stack) - int(name[-1]))))
            case "TUPLE":
                stack.append(tuple(self._since_mark()))
            case "APPEND":
                self._extend([stack.pop()])
            case "APPENDS":
                self._extend(self._since_mark())
            case "ADDITEMS":
                items = self._since_mark()
                _of_type(stack[-1], set).update(items)
            case "SETITEM":
                self._update(self._popped(len(stack) - 2))
            case "SETITEMS":
                self._update(self._since_mark())
            case "BINPUT" | "LONG_BINPUT":
                self._memo[argument] = stack[-1]
            case "MEMOIZE":
                self._memo[len(self._memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(self._memo[argument])
            case "GLOBAL":
                stack.append(self._global(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                module, attribute = self._popped(len(stack) - 2)
                stack.append(self._global(module, attribute))
            case "REDUCE":
                arguments, builder = _of_type(stack.pop(), tuple), _of_type(stack.pop(), _Builder)
                stack.append(builder.build(*arguments))
            case "BUILD":
                attributes = _of_type(stack.pop(), dict)
                _of_type(stack[-1], OrderedDict).__dict__.update(attributes)
            case "BINPERSID":
                stack.append(self._storage(stack.pop()))
            case _:
                raise pickle.UnpicklingError(
                    f"load: the file's pickle uses the instruction {name}, which is not allowed"
                )

    def _popped(self, start: int) -> list[Any]:
        if start < 0:
            raise ValueError("an instruction finds too few values")
        items = self._stack[start:]
        del self._stack[start:]
        return items

    def _since_mark(self) -> list[Any]:
        return self._popped(self._marks.pop())

    def _extend(self, items: list[Any]) -> None:
        _of_type(self._stack[-1], list).extend(items)

    def _update(self, items: list[Any]) -> None:
        _of_type(self._stack[-1], dict).update(zip(items[::2], items[1::2], strict=True))

    def _global(self, module: str, attribute: str) -> Any:
        """Return what a name stands for: a storage class, a type of elements or one of the builders."""
        name = f"{module}.{attribute}"
        if name in self._builders:
            return _Builder(self._builders[name])
        if name == "torch.storage.UntypedStorage":
            return dtypes.uint8
        if module == "torch" and attribute in STORAGE_CLASSES:
            return STORAGE_CLASSES[attribute]
        if module == "torch" and isinstance(getattr(dtypes, attribute, None), dtypes.dtype):
            return getattr(dtypes, attribute)
        if module == "torch" and (attribute.endswith("Storage") or re.match(_TYPE_NAME, attribute)):
            raise pickle.UnpicklingError(
                f"load: the file holds a {name}, a type of elements that nbtorch does not have; it has"
                f" {', '.join(d.name for d in dtypes.ALL)}"
            )
        raise pickle.UnpicklingError(
            f"load: the file names {name}, which is not allowed: only tensors, parameters and plain containers are"
            " loaded, and no code from a file is run. Save a state_dict instead."
        )

    def _storage(self, identity: Any) -> _Storage:
        """Return the storage that ("storage", class, key, location, number of elements) names, read at first use."""
        kind, dtype, key, location, count = _of_type(identity, tuple)
        if kind != "storage" or not isinstance(dtype, dtypes.dtype) or type(count) is not int or count < 0:
            raise ValueError(f"expected a storage, got {identity!r:.80}")
        if _of_type(key, str) not in self._storages:
            array = self._records.read_elements(f"data/{key}", dtype.numpy, count)
            where = self._place(_of_type(location, str), array)
            on_device = array if where is CPU else array_module(where).asarray(array)
            self._storages[key] = dtype, _Storage(on_device, where)
        known, storage = self._storages[key]
        if known is not dtype:
            raise ValueError(f"storage {key} is named as {known} and as {dtype}")
        return storage

    def _place(self, location: str, array: np.ndarray) -> Device:
        """Return the device for a storage that was saved from `location`."""
        wanted: Any = self._map_location
        if callable(wanted):
            answer = wanted(_Storage(array, CPU), location)
            wanted = answer.device if isinstance(answer, _Storage) else answer
        elif isinstance(wanted, Mapping):
            wanted = wanted.get(location, location)
        try:
            return as_device(location if wanted is None else wanted)
        except (RuntimeError, TypeError) as error:
            raise RuntimeError(
                f"load: a tensor was saved on {location!r} and cannot be put there: {error}."
                " Choose another device, for instance map_location='cpu'."
                if wanted is None
                else f"load: map_location: {error}"
            ) from None


class _Builder:
    """A function that a file may name."""

    def __init__(self, build: Callable[..., Any]) -> None:
        self.build = build


def _of_type(value: Any, kind: Any) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"expected {kind.__name__}, got {type(value).__name__}")
    return value


def _ordered_dict(items: Any = ()) -> OrderedDict[Any, Any]:
    return OrderedDict(_of_type(items, (list, tuple)) if items != () else ())


def _set(items: list[Any]) -> set[Any]:
    return set(_of_type(items, list))


def _encode(text: str, encoding: str = "latin1") -> bytes:
    if encoding != "latin1":
        raise ValueError(f"expected bytes in latin1, got {encoding!r:.40}")
    return _of_type(text, str).encode("latin1")


def _size(extents: tuple[int, ...]) -> Size:
    return Size(_integers("extents", extents))


def _device(kind: str, index: int | None = None) -> Device:
    return Device(_of_type(kind, str), index)


def _integers(what: str, values: Any) -> tuple[int, ...]:
    if not isinstance(values, tuple) or any(type(v) is not int or not 0 <= v < 1 << 63 for v in values):
        raise ValueError(f"{what} must be a tuple of non-negative integers, got {values!r:.80}")
    return tuple(values)


def _rebuild_tensor(
    storage: Any, offset: int, size: Any, stride: Any, requires_grad: bool, hooks: Any, metadata: Any = None
) -> Tensor:
    """Return the tensor that views `storage` from `offset` on, once it is sure to lie inside."""
    array, where = _of_type(storage, _Storage).array, storage.device
    shape, steps = _integers("size", tuple(size)), _integers("stride", tuple(stride))
    (start,) = _integers("offset", (offset,))
    if len(shape) != len(steps):
        raise ValueError(f"a tensor of size {shape} has the strides {steps}")
    reach = sum([(extent - 1) * step for extent, step in zip(shape, steps, strict=True)]) + 1
    if start + (0 if 0 in shape else reach) > array.size:
        raise ValueError(
            f"a tensor of size {shape} with strides {steps} at offset {start} reaches beyond its storage of"
            f" {array.size} elements"
        )
    item = array.dtype.itemsize
    view = array_module(where).lib.stride_tricks.as_strided(array[start:], shape, tuple([s * item for s in steps]))
    tensor = Tensor._wrap(view, where)
    return tensor.requires_grad_() if requires_grad is True else tensor


def _rebuild_tensor_of_bytes(
    storage: Any,
    offset: int,
    size: Any,
    stride: Any,
    requires_grad: bool,
    hooks: Any,
    dtype: dtypes.dtype,
    metadata: Any = None,
) -> Tensor:
    """Return a tensor whose storage has no type of its own: PyTorch's way for the types that came late."""
    memory = _of_type(storage, _Storage)
    elements = memory.array.view(_of_type(dtype, dtypes.dtype).numpy)
    return _rebuild_tensor(_Storage(elements, memory.device), offset, size, stride, requires_grad, hooks, metadata)


def _rebuild_parameter(data: Tensor, requires_grad: bool, hooks: Any) -> Parameter:
    return Parameter(_of_type(data, Tensor), requires_grad is True)
