"""Worker processes of a `DataLoader`: what runs in them, and how batches come back.

Each worker has a pipe of its own, so that one that dies takes nothing with it. Through it go lists of indices to the
worker and short messages back. What is not short, above all the arrays of a batch, goes into a file in memory
(`/dev/shm` where there is one), which the loader maps and deletes: it is copied once, by the worker.
"""

from __future__ import annotations

import contextlib
import mmap
import multiprocessing
import os
import pickle
import random
import shutil
import tempfile
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import numpy as np

from ...device import set_default_device
from ...random import manual_seed
from ...threads import set_num_threads

ALIGNMENT = 64


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """What a worker process knows of itself.

    Attributes:
        id: its number, from 0.
        num_workers: how many there are.
        seed: what its generators were seeded with.
        dataset: its copy of the dataset.
        rng: None.
        worker_method: "multiprocessing".
    """

    id: int
    num_workers: int
    seed: int
    dataset: Any
    rng: None = None
    worker_method: str = "multiprocessing"


_worker_info: WorkerInfo | None = None


def get_worker_info() -> WorkerInfo | None:
    """Return what the worker process that this is called in knows of itself; None in the main process."""
    return _worker_info


class Fetcher:
    """Reads batches, or single samples where `collate_in_batches` is off, from a dataset.

    Args:
        dataset: what to read from; a stream is begun anew.
        iterable: whether it is a stream.
        collate_in_batches: whether `fetch` gets lists of indices.
        collate_fn: is given the list of samples, or the sample.
        drop_last: end a stream before a batch that is not full.
    """

    def __init__(
        self,
        dataset: Any,
        iterable: bool,
        collate_in_batches: bool,
        collate_fn: Callable[[Any], Any],
        drop_last: bool,
    ) -> None:
        self._arguments = dataset, iterable, collate_in_batches, collate_fn, drop_last
        self.of_stream = iterable
        self._dataset = dataset
        self._stream: Iterator[Any] | None = iter(dataset) if iterable else None
        self._collate_in_batches = collate_in_batches
        self._collate_fn = collate_fn
        self._drop_last = drop_last

    def anew(self) -> Fetcher:
        """Return one that reads the dataset from the start."""
        return Fetcher(*self._arguments)

    def fetch(self, index: Any) -> Any:
        """Return the batch, or sample, at an index; raises StopIteration at the end of a stream."""
        if self._stream is not None:
            return self._collate_fn(self._next_of(self._stream, index))
        if not self._collate_in_batches:
            return self._collate_fn(self._dataset[index])
        together = getattr(self._dataset, "__getitems__", None)
        return self._collate_fn(together(index) if together else [self._dataset[each] for each in index])

    def _next_of(self, stream: Iterator[Any], index: Any) -> Any:
        if not self._collate_in_batches:
            return next(stream)
        samples = [sample for _, sample in zip(index, stream, strict=False)]
        if len(samples) < len(index):
            self._stream = iter(())
            if not samples or self._drop_last:
                raise StopIteration
        return samples


@dataclass(frozen=True)
class Job:
    """What the workers of a loader do: the arguments of their `Fetcher`, and how they begin."""

    fetcher: tuple[Any, ...]
    base_seed: int
    init_fn: Callable[[int], Any] | None
    num_workers: int


class Resume:
    """Sent in the place of an index: begin the dataset anew."""


class EndOfStream:
    """Comes back in the place of a batch when the worker's copy of a stream has ended."""


class _Text(str):
    """Text that a KeyError, which shows the `repr` of its argument, shows as it is."""

    __repr__ = str.__str__


class Failure:
    """An exception in a worker, with its traceback as text."""

    def __init__(self, error: BaseException, where: str) -> None:
        self.kind = type(error)
        self.trace = f"Caught {self.kind.__name__} {where}.\nOriginal {traceback.format_exc()}"

    def reraise(self) -> None:
        """Raise an exception of the same type, with the worker's traceback in its text."""
        raise self._error()  # kept in no variable: its traceback would keep this frame, and that the error

    def _error(self) -> BaseException:
        try:
            return self.kind(_Text(self.trace))
        except Exception:  # its constructor wants something else
            return RuntimeError(self.trace)


def run(outbox: Outbox, job: Job | bytes, worker_id: int) -> None:
    """Read what the loader asks for until it says None, hangs up or dies. The target of a worker process.

    Args:
        outbox: the way to the loader.
        job: what to do; pickled, unless the process was forked.
        worker_id: the worker's number.
    """
    where = f"in DataLoader worker process {worker_id}"
    fetcher = failure = None
    with contextlib.suppress(KeyboardInterrupt, EOFError, BrokenPipeError, ConnectionResetError):
        try:
            job = pickle.loads(job) if isinstance(job, bytes) else job
            fetcher = _begin(job, worker_id)
        except Exception as error:
            failure = Failure(error, where)
        for number, index in outbox.tasks():
            if isinstance(index, Resume) and fetcher is not None:
                fetcher = fetcher.anew()
            outbox.send(number, _answer(fetcher, index, where) if fetcher is not None else failure)
    outbox.close()


def _begin(job: Job, worker_id: int) -> Fetcher:
    """Seed the generators of a worker and make what it reads with."""
    global _worker_info
    set_num_threads(1)
    set_default_device("cpu")
    seed = job.base_seed + worker_id
    random.seed(seed)
    manual_seed(seed)
    words = np.random.SeedSequence([job.base_seed, worker_id]).generate_state(4)
    np.random.seed(words)  # noqa: NPY002 - for datasets that draw from the legacy generator
    _worker_info = WorkerInfo(worker_id, job.num_workers, seed, job.fetcher[0])
    if job.init_fn is not None:
        job.init_fn(worker_id)
    return Fetcher(*job.fetcher)


def _answer(fetcher: Fetcher, index: Any, where: str) -> Any:
    try:
        return None if isinstance(index, Resume) else fetcher.fetch(index)
    except StopIteration as end:
        return EndOfStream() if fetcher.of_stream else Failure(end, where)
    except Exception as error:
        return Failure(error, where)


@dataclass(frozen=True)
class Outbox:
    """A worker's end of its pipe.

    Attributes:
        pipe: the pipe.
        folder: where what is not short is written.
        inline_bytes: what is short. So little that all answers on their way fit into the system's buffer: a worker
            that waited for room while the loader waits to send it an index would wait for ever.
    """

    pipe: Connection
    folder: str
    inline_bytes: int

    def tasks(self) -> Iterator[tuple[int, Any]]:
        """Yield what the loader sends, numbers and indices, until it says None or is no more."""
        parent = multiprocessing.parent_process()
        assert parent is not None
        while True:
            wait([self.pipe, parent.sentinel])
            if not self.pipe.poll() or (task := self.pipe.recv()) is None:
                return
            yield task

    def send(self, number: int, result: Any) -> None:
        """Send a numbered result: through the pipe if it is short, else in a file."""
        buffers: list[pickle.PickleBuffer] = []
        try:
            stream = pickle.dumps(result, protocol=5, buffer_callback=buffers.append)
            parts = [memoryview(stream), *[buffer.raw() for buffer in buffers]]
        except Exception as error:
            parts = [memoryview(pickle.dumps(Failure(error, "in a DataLoader worker process that sends a batch")))]
        if sum(part.nbytes for part in parts) <= self.inline_bytes:
            self.pipe.send((number, None, [bytes(part) for part in parts]))
            return
        try:
            message = _write(parts, self.folder)
        except OSError:  # the memory's file system is full or gone: the disk will do
            message = _write(parts, None)
        self.pipe.send((number, *message))

    def close(self) -> None:
        """Clean up behind a loader that died."""
        parent = multiprocessing.parent_process()
        if parent is None or not parent.is_alive():
            remove_folder(self.folder)


def _write(parts: list[memoryview], folder: str | None) -> tuple[str, list[int]]:
    """Write the parts to a new file, each at an aligned position; return its path and their lengths."""
    handle, path = tempfile.mkstemp(dir=folder)
    try:
        with open(handle, "wb", buffering=0) as file:  # writing, unlike filling a mapping, reports a full disk
            for part in parts:
                _write_all(file, part)
                _write_all(file, memoryview(bytes(-part.nbytes % ALIGNMENT)))
    except OSError:
        os.unlink(path)
        raise
    return path, [part.nbytes for part in parts]


def _write_all(file: Any, part: memoryview) -> None:
    written = 0
    while written < part.nbytes:
        written += file.write(part[written:])


def receive(pipe: Connection) -> tuple[int, Any]:
    """Return a number and the result that a worker sent with it; its arrays lie in the file's memory."""
    number, path, parts = pipe.recv()
    if path is not None:
        parts = _mapped(path, parts)
    return number, pickle.loads(parts[0], buffers=[bytearray(p) if isinstance(p, bytes) else p for p in parts[1:]])


def _mapped(path: str, lengths: list[int]) -> list[memoryview]:
    """Map a file that `_write` wrote and delete it; the memory goes when the last array in it does."""
    with open(path, "r+b") as file:
        whole = memoryview(mmap.mmap(file.fileno(), 0))
    os.unlink(path)
    parts, begin = [], 0
    for length in lengths:
        parts.append(whole[begin : begin + length])
        begin += -(-length // ALIGNMENT) * ALIGNMENT
    return parts


def memory_folder() -> str:
    """Make a folder for files that live for a moment, in memory where the system has such a place."""
    shared = Path("/dev/shm")
    in_memory = shared.is_dir() and os.access(shared, os.W_OK)
    return tempfile.mkdtemp(prefix="nbtorch-", dir=shared if in_memory else None)


def remove_folder(folder: str) -> None:
    """Delete a folder of `memory_folder` with what was left in it."""
    shutil.rmtree(folder, ignore_errors=True)
