"""The `DataLoader`: batches of a dataset, read in this process or ahead in others."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

from ... import cuda
from ...autograd.profiler import record_function
from ...random import Generator
from ...tensor import Tensor
from .collate import _mapping_like, _sequence_like, default_collate, default_convert
from .dataset import Dataset, IterableDataset
from .sampler import BatchSampler, RandomSampler, Sampler, SequentialSampler, random_seed
from .workers import EndOfStream, Failure, Fetcher, Job, Outbox, Resume, memory_folder, receive, remove_folder, run

Sample = TypeVar("Sample", covariant=True)
PIPE_BYTES = 4096
"""What a pipe takes in without a reader on every system."""


class _Endless(Sampler[None]):
    """The sampler of streams, whose samples have no index."""

    def __iter__(self) -> Iterator[None]:
        while True:
            yield None


class DataLoader(Generic[Sample]):
    """An iterable of the batches of a dataset.

    Args:
        dataset: a map from indices to samples, or an `IterableDataset`.
        batch_size: samples in a batch; None gives single samples.
        shuffle: read in a new random order in every epoch.
        sampler: an iterable of indices, in the place of `shuffle`.
        batch_sampler: an iterable of lists of indices, in the place of `batch_size`, `shuffle`, `sampler` and
            `drop_last`.
        num_workers: how many processes read ahead; 0 reads in this one.
        collate_fn: makes a batch of a list of samples (`default_collate`); without batches, converts a sample
            (`default_convert`).
        pin_memory: move the batches' tensors to page-locked memory, for quick copies to a GPU.
        drop_last: leave out a last batch that is not full.
        timeout: seconds to wait for a batch of the workers; 0 waits for ever.
        worker_init_fn: called with its number in each worker, after seeding.
        multiprocessing_context: a start method or context of `multiprocessing`. By default "spawn" or "forkserver" if
            the program chose one of them with `set_start_method`, else "forkserver" where there is one: after "fork",
            kernels that ran on several threads before cannot run. So the dataset must be picklable, and a script needs
            `if __name__ == "__main__":`.
        generator: draws the order and the workers' seeds.
        prefetch_factor: how many batches each worker reads ahead (2).
        persistent_workers: keep the workers from one epoch to the next.
        pin_memory_device: PyTorch's old name for the device of `pin_memory`; ignored.
        in_order: return batches in the sampler's order rather than as they come.

    Raises:
        ValueError: options that are negative or exclude each other.
        TypeError: a `multiprocessing_context` that is none.

    >>> import nbtorch
    >>> from nbtorch.utils.data import DataLoader, TensorDataset
    >>> data = TensorDataset(nbtorch.arange(5.0), nbtorch.arange(5))
    >>> [labels.tolist() for _, labels in DataLoader(data, batch_size=2)]
    [[0, 1], [2, 3], [4]]
    """

    dataset: Dataset[Sample]
    batch_size: int | None
    num_workers: int
    pin_memory: bool
    drop_last: bool
    timeout: float
    sampler: Iterable[Any]
    batch_sampler: Iterable[list[Any]] | None
    prefetch_factor: int | None

    _initialized = False
    _fixed = ("batch_size", "batch_sampler", "sampler", "drop_last", "dataset", "persistent_workers")

    def __init__(
        self,
        dataset: Dataset[Sample],
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[list[Any]] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[Any], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], Any] | None = None,
        multiprocessing_context: Any = None,
        generator: Generator | None = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ) -> None:
        _check_workers(num_workers, timeout, prefetch_factor, persistent_workers)
        self._of_stream = isinstance(dataset, IterableDataset)
        _check_order(self._of_stream, batch_size, shuffle, sampler, batch_sampler, drop_last)
        self.dataset = dataset
        self.num_workers = num_workers
        self.prefetch_factor = 2 if num_workers > 0 and prefetch_factor is None else prefetch_factor
        self.pin_memory = pin_memory
        self.pin_memory_device = pin_memory_device
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.multiprocessing_context = multiprocessing_context
        self.in_order = in_order
        self.generator = generator
        if sampler is None:
            if self._of_stream:
                sampler = _Endless()
            elif shuffle:
                sampler = RandomSampler(dataset, generator=generator)  # type: ignore[arg-type]
            else:
                sampler = SequentialSampler(dataset)  # type: ignore[arg-type]
        self.sampler = sampler
        self.drop_last = drop_last
        if batch_sampler is not None:
            batch_size = None
        elif batch_size is not None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.batch_size = batch_size
        self.batch_sampler = batch_sampler
        self.collate_fn = collate_fn or (default_convert if batch_sampler is None else default_collate)
        self.persistent_workers = persistent_workers
        self._promised_length: int | None = None
        self._iterator: _WorkersIterator | None = None
        self._initialized = True
        self.check_worker_number_rationality()

    @property
    def multiprocessing_context(self) -> Any:
        """The context of `multiprocessing` that makes the workers; None for the default."""
        return self._context

    @multiprocessing_context.setter
    def multiprocessing_context(self, value: Any) -> None:
        self._context = None if value is None else _as_context(value, self.num_workers)

    def __setattr__(self, name: str, value: Any) -> None:
        if self._initialized and name in self._fixed:
            raise ValueError(f"{name} attribute should not be set after {type(self).__name__} is initialized")
        super().__setattr__(name, value)

    def __iter__(self) -> Iterator[Any]:
        if self.num_workers == 0:
            return _Iterator(self)
        if not self.persistent_workers:
            return _WorkersIterator(self)
        if self._iterator is None or self._iterator.closed:
            self._iterator = _WorkersIterator(self)
        else:
            self._iterator.begin_again(self)
        return self._iterator

    @property
    def _index_sampler(self) -> Iterable[Any]:
        return self.sampler if self.batch_sampler is None else self.batch_sampler

    def __len__(self) -> int:
        if not self._of_stream:
            return len(self._index_sampler)  # type: ignore[arg-type]
        length = self._promised_length = len(self.dataset)  # type: ignore[arg-type]
        if self.batch_size is None:
            return length
        return length // self.batch_size if self.drop_last else -(-length // self.batch_size)

    def check_worker_number_rationality(self) -> None:
        """Warn if there are to be more workers than this process may use cores."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        if self.num_workers > cores:
            warnings.warn(
                f"This DataLoader will create {self.num_workers} worker processes in total. Our suggested max number of"
                f" worker in current system is {cores}, which is smaller than what this DataLoader is going to create."
                " Please be aware that excessive worker creation might get DataLoader running slow or even freeze,"
                " lower the worker number to avoid potential slowness/freeze if necessary.",
                stacklevel=3,
            )


def _check_workers(num_workers: int, timeout: float, prefetch_factor: int | None, persistent: bool) -> None:
    if num_workers < 0:
        raise ValueError(
            "num_workers option should be non-negative; use num_workers=0 to disable multiprocessing."
            f" Got {num_workers}"
        )
    if timeout < 0:
        raise ValueError(f"timeout option should be non-negative, got {timeout}")
    if prefetch_factor is not None and num_workers == 0:
        raise ValueError(
            "prefetch_factor option could only be specified in multiprocessing. Let num_workers > 0 to enable"
            " multiprocessing, otherwise set prefetch_factor to None."
        )
    if prefetch_factor is not None and prefetch_factor < 0:
        raise ValueError(f"prefetch_factor option should be non-negative, got {prefetch_factor}")
    if persistent and num_workers == 0:
        raise ValueError("persistent_workers option needs num_workers > 0")


def _check_order(
    of_stream: bool, batch_size: Any, shuffle: Any, sampler: Any, batch_sampler: Any, drop_last: bool
) -> None:
    if of_stream:
        options = {"shuffle": shuffle or None, "sampler": sampler, "batch_sampler": batch_sampler}
        for name, value in options.items():
            if value is not None:
                raise ValueError(
                    f"DataLoader with IterableDataset: expected unspecified {name} option, but got {name}={value}"
                )
    if sampler is not None and shuffle:
        raise ValueError("sampler option is mutually exclusive with shuffle")
    if batch_sampler is not None and (batch_size != 1 or shuffle or sampler is not None or drop_last):
        raise ValueError("batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and drop_last")
    if batch_size is None and drop_last:
        raise ValueError("batch_size=None option disables auto-batching and is mutually exclusive with drop_last")


def _as_context(value: Any, num_workers: int) -> Any:
    if num_workers == 0:
        raise ValueError(
            "multiprocessing_context can only be used with multi-process loading (num_workers > 0), but got"
            f" num_workers={num_workers}"
        )
    if isinstance(value, str):
        methods = multiprocessing.get_all_start_methods()
        if value not in methods:
            raise ValueError(
                f"multiprocessing_context option should specify a valid start method in {methods!r}, but got"
                f" multiprocessing_context={value!r}"
            )
        return multiprocessing.get_context(value)
    if not isinstance(value, multiprocessing.context.BaseContext):
        raise TypeError(
            "multiprocessing_context option should be a valid context object or a string specifying the start method,"
            f" but got multiprocessing_context={value}"
        )
    return value


def _default_context() -> Any:
    """Return a context whose processes can run every kernel: the program's own, unless that forks."""
    if multiprocessing.get_start_method(allow_none=True) in ("spawn", "forkserver"):
        return multiprocessing.get_context()
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["nbtorch.utils.data.workers", "nbtorch.kernels.jit"])  # once, not in each worker
    return context


class _Iterator:
    """One epoch, read in this process."""

    def __init__(self, loader: DataLoader[Any]) -> None:
        self._loader = loader
        self._indices = iter(loader._index_sampler)
        self._base_seed = random_seed(loader.generator)
        self._returned = 0
        self._pin = loader.pin_memory and _can_pin()
        collate_in_batches = loader.batch_sampler is not None
        self._arguments = loader.dataset, loader._of_stream, collate_in_batches, loader.collate_fn, loader.drop_last
        self._prepare()

    def _prepare(self) -> None:
        self._fetcher = Fetcher(*self._arguments)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __len__(self) -> int:
        return len(self._loader._index_sampler)  # type: ignore[arg-type]

    def __next__(self) -> Any:
        with record_function(f"enumerate(DataLoader)#{type(self).__name__}.__next__"):
            data = self._next_data()
            self._returned += 1
            promised = self._loader._promised_length
            if self._loader._of_stream and promised is not None and self._returned > promised:
                warnings.warn(
                    f"Length of IterableDataset {self._loader.dataset} was reported to be {promised} (when accessing"
                    f" len(dataloader)), but {self._returned} samples have been fetched. With several workers this is"
                    " the case when each iterates over the whole dataset: divide it by get_worker_info().",
                    stacklevel=2,
                )
            return pinned(data) if self._pin else data

    def _next_data(self) -> Any:
        return self._fetcher.fetch(next(self._indices))

    def __getstate__(self) -> Any:
        raise NotImplementedError(f"{type(self).__name__} cannot be pickled")


class _WorkersIterator(_Iterator):
    """Epochs read by worker processes.

    Batches are numbered; each worker always has up to `prefetch_factor` numbers to work on. What arrives before its
    turn waits in `_arrived`.
    """

    def _prepare(self) -> None:
        loader = self._loader
        context = loader.multiprocessing_context or _default_context()
        job: Any = Job(self._arguments, self._base_seed, loader.worker_init_fn, loader.num_workers)
        if context.get_start_method() != "fork":
            job = _pickled(job, context.get_start_method())
        folder = memory_folder()
        ahead = max(loader.prefetch_factor or 0, 1)
        self._pipes: list[Connection] = []
        self._processes: list[Any] = []
        self._close = weakref.finalize(self, _shut_down, os.getpid(), self._pipes, self._processes, folder)
        for worker in range(loader.num_workers):
            ours, theirs = context.Pipe()
            outbox = Outbox(theirs, folder, PIPE_BYTES // ahead)
            process = context.Process(target=run, args=(outbox, job, worker), daemon=True)
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)
        self._ahead = ahead
        self._start_epoch()

    @property
    def closed(self) -> bool:
        """Whether the workers were sent home."""
        return not self._close.alive

    def _start_epoch(self) -> None:
        self._sent = self._due = 0
        self._arrived: dict[int, Any] = {}
        self._owner: dict[int, int] = {}
        self._busy = [0] * len(self._pipes)
        self._streaming = [True] * len(self._pipes)
        for _ in range(self._ahead):
            for worker in range(len(self._pipes)):
                self._ask(worker)

    def begin_again(self, loader: DataLoader[Any]) -> None:
        """Start another epoch with the same workers."""
        while any(self._busy):  # what an epoch that was not read to its end still has on the way
            self._receive()
        self._indices = iter(loader._index_sampler)
        self._returned = 0
        for worker, pipe in enumerate(self._pipes):
            self._busy[worker] += 1
            self._owner[-1 - worker] = worker
            self._send(worker, pipe, (-1 - worker, Resume()))
        while any(self._busy):
            self._receive()
        for answer in self._arrived.values():
            if isinstance(answer, Failure):
                answer.reraise()
        self._start_epoch()

    def _ask(self, worker: int) -> None:
        """Give a worker another index, if there is one."""
        if not self._streaming[worker]:
            return
        index = next(self._indices, self)
        if index is self:
            return
        self._busy[worker] += 1
        self._owner[self._sent] = worker
        self._send(worker, self._pipes[worker], (self._sent, index))
        self._sent += 1

    def _send(self, worker: int, pipe: Connection, task: Any) -> None:
        try:
            pipe.send(task)
        except (BrokenPipeError, ConnectionResetError):
            self._give_up([worker])

    def _next_data(self) -> Any:
        while True:
            number = self._next_number()
            if number is None:
                if not self._loader.persistent_workers:
                    self._close()
                raise StopIteration
            data = self._arrived.pop(number)
            worker = self._owner.pop(number)
            if isinstance(data, EndOfStream):
                self._streaming[worker] = False
                continue
            self._ask(worker if self._streaming[worker] else self._least_busy())
            if isinstance(data, Failure):
                data.reraise()
            return data

    def _least_busy(self) -> int:
        return min(range(len(self._busy)), key=lambda worker: (not self._streaming[worker], self._busy[worker]))

    def _next_number(self) -> int | None:
        """Wait for the batch whose turn it is and return its number; None when there is none left."""
        while self._owner:
            if not self._loader.in_order and self._arrived:
                return next(iter(self._arrived))
            while self._loader.in_order and self._due not in self._owner:
                self._due += 1
            if self._due in self._arrived:
                return self._due
            self._receive()
        return None

    def _receive(self) -> None:
        """Take in what has come, or wait for it."""
        if self.closed:
            raise RuntimeError("DataLoader: the workers of this iterator have ended")
        sentinels = [process.sentinel for process in self._processes]
        ready = wait([*self._pipes, *sentinels], self._loader.timeout or None)
        if not ready:
            self._close()
            raise RuntimeError(f"DataLoader timed out after {self._loader.timeout} seconds")
        with_answers = [worker for worker, pipe in enumerate(self._pipes) if pipe in ready and self._take(pipe)]
        for worker in with_answers:
            self._busy[worker] -= 1
        if not with_answers:
            ends = zip(self._pipes, sentinels, strict=True)
            self._give_up([worker for worker, (pipe, end) in enumerate(ends) if pipe in ready or end in ready])

    def _take(self, pipe: Connection) -> bool:
        """Keep an answer that has come; return False if the pipe's other end is closed."""
        try:
            number, data = receive(pipe)
        except (EOFError, ConnectionResetError):
            return False
        self._arrived[number] = data
        return True

    def _give_up(self, workers: list[int]) -> None:
        for worker in workers:
            self._processes[worker].join(5)
        dead = ", ".join(f"{self._processes[w].pid} (exit code {self._processes[w].exitcode})" for w in workers)
        self._close()
        raise RuntimeError(
            f"DataLoader worker (pid(s) {dead}) exited unexpectedly. Its own message, if any, is above; num_workers=0"
            " shows errors of the dataset where they happen. A program without `if __name__ == '__main__':`, too little"
            " memory and, with the start method 'fork', kernels on several threads are common causes."
        )


def _pickled(job: Job, method: str) -> bytes:
    try:
        return pickle.dumps(job)
    except Exception as error:
        raise type(error)(
            "DataLoader: the dataset, collate_fn and worker_init_fn go to worker processes and must be picklable with"
            f" the start method {method!r}: define them at the top of a module, without lambdas. {error}"
        ) from error


def _shut_down(owner: int, pipes: list[Connection], processes: list[Any], folder: str) -> None:
    """Send the workers home, and do not wait long for those that do not go."""
    if os.getpid() != owner:  # a fork's copy of the iterator
        return
    for pipe in pipes:
        try:
            pipe.send(None)
            pipe.close()
        except OSError:
            continue
    for process in processes:
        process.join(5)
        if process.is_alive():
            process.terminate()
            process.join(1)
    remove_folder(folder)


def _can_pin() -> bool:
    if cuda.is_available():
        return True
    warnings.warn(
        "'pin_memory' argument is set as true but no accelerator is found, then device pinned memory won't be used.",
        stacklevel=5,
    )
    return False


def pinned(data: Any) -> Any:
    """Return data with page-locked copies in the place of its tensors."""
    if isinstance(data, Tensor):
        return data.pin_memory()
    if isinstance(data, (str, bytes)):
        return data
    if isinstance(data, Mapping):
        return _mapping_like(data, {key: pinned(value) for key, value in data.items()})
    if isinstance(data, tuple):
        items = [pinned(item) for item in data]
        return type(data)(*items) if hasattr(data, "_fields") else items
    if isinstance(data, Sequence):
        return _sequence_like(data, [pinned(item) for item in data])
    return data.pin_memory() if hasattr(data, "pin_memory") else data
