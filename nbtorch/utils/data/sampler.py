"""Samplers: in which order a `DataLoader` reads a dataset."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import Any, Generic, TypeVar

from ... import dtypes
from ...creation import as_tensor, empty
from ...random import Generator, multinomial, randint, randperm
from ...tensor import Tensor

Index = TypeVar("Index", covariant=True)


class Sampler(Generic[Index]):
    """An iterable of indices, or of lists of indices; `__len__` is optional."""

    def __iter__(self) -> Iterator[Index]:
        raise NotImplementedError(f"{type(self).__name__} should implement __iter__")


class SequentialSampler(Sampler[int]):
    """The indices in order.

    Args:
        data_source: something with a length.
    """

    data_source: Sized

    def __init__(self, data_source: Sized) -> None:
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(Sampler[int]):
    """The indices in random order, or drawn with replacement.

    Args:
        data_source: something with a length.
        replacement: draw each index from all of them.
        num_samples: how many to draw; by default as many as there are. More than there are, without replacement, gives
            one permutation after the other.
        generator: draws them; by default a new one, seeded from the default generator, for each iteration.

    Raises:
        TypeError: `replacement` is not a bool.
        ValueError: `num_samples` is not a positive int, or the data source is empty.
    """

    data_source: Sized
    replacement: bool

    def __init__(
        self,
        data_source: Sized,
        replacement: bool = False,
        num_samples: int | None = None,
        generator: Generator | None = None,
    ) -> None:
        self.data_source = data_source
        self.replacement = replacement
        self._num_samples = num_samples
        self.generator = generator
        if not isinstance(replacement, bool):
            raise TypeError(f"replacement should be a boolean value, but got replacement={replacement}")
        if not isinstance(self.num_samples, int) or self.num_samples <= 0:
            raise ValueError(f"num_samples should be a positive integer value, but got num_samples={self.num_samples}")

    @property
    def num_samples(self) -> int:
        """How many indices an iteration gives."""
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def __iter__(self) -> Iterator[int]:
        count, generator = len(self.data_source), self.generator
        if generator is None:
            generator = Generator().manual_seed(random_seed(None))
        remaining = self.num_samples
        while remaining > 0:
            if self.replacement:
                drawn = randint(count, (min(remaining, 1024),), generator=generator, device=generator.device)
            else:
                drawn = permutation(count, generator)[:remaining]
            yield from drawn.tolist()
            remaining -= len(drawn)

    def __len__(self) -> int:
        return self.num_samples


def random_seed(generator: Generator | None) -> int:
    """Return a number of 63 random bits."""
    return int(empty((), dtype=dtypes.int64, device=_device_of(generator)).random_(generator=generator).item())


def permutation(count: int, generator: Generator | None) -> Tensor:
    """Return 0 to `count - 1` in random order, drawn where the generator is."""
    return randperm(count, generator=generator, device=_device_of(generator))


def _device_of(generator: Generator | None) -> Any:
    return "cpu" if generator is None else generator.device


class SubsetRandomSampler(Sampler[int]):
    """Given indices in random order.

    Args:
        indices: a sequence of them.
        generator: draws the order.
    """

    indices: Sequence[int]

    def __init__(self, indices: Sequence[int], generator: Generator | None = None) -> None:
        self.indices = indices
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        for position in permutation(len(self.indices), self.generator).tolist():
            yield self.indices[position]

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(Sampler[int]):
    """Indices 0 to `len(weights) - 1`, drawn with probabilities proportional to their weights.

    Args:
        weights: not negative; they need not add up to 1.
        num_samples: how many to draw.
        replacement: whether an index may be drawn again.
        generator: draws them.

    Raises:
        ValueError: `num_samples` is not a positive int, `replacement` not a bool, or `weights` not one-dimensional.
    """

    weights: Tensor
    num_samples: int
    replacement: bool

    def __init__(
        self,
        weights: Sequence[float] | Tensor,
        num_samples: int,
        replacement: bool = True,
        generator: Generator | None = None,
    ) -> None:
        _require_positive("num_samples", num_samples)
        _require_bool("replacement", replacement)
        device = weights.device if isinstance(weights, Tensor) else _device_of(generator)
        self.weights = as_tensor(weights, dtype=dtypes.float64, device=device)
        if self.weights.dim() != 1:
            raise ValueError(
                f"weights should be a 1d sequence but given weights have shape {tuple(self.weights.shape)}"
            )
        self.num_samples = num_samples
        self.replacement = replacement
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        drawn = multinomial(self.weights, self.num_samples, self.replacement, generator=self.generator)
        yield from drawn.tolist()

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler[list[int]]):
    """The indices of another sampler in lists.

    Args:
        sampler: any iterable.
        batch_size: how many indices make a list.
        drop_last: leave out a last list that would be shorter.

    Raises:
        ValueError: `batch_size` is not a positive int, or `drop_last` not a bool.

    >>> from nbtorch.utils.data import BatchSampler
    >>> list(BatchSampler(range(5), batch_size=2, drop_last=False))
    [[0, 1], [2, 3], [4]]
    """

    def __init__(self, sampler: Iterable[Any], batch_size: int, drop_last: bool) -> None:
        _require_positive("batch_size", batch_size)
        _require_bool("drop_last", drop_last)
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = drop_last

    def __iter__(self) -> Iterator[list[int]]:
        indices = iter(self.sampler)
        while batch := list(itertools.islice(indices, self.batch_size)):
            if len(batch) == self.batch_size or not self.drop_last:
                yield batch

    def __len__(self) -> int:
        count = len(self.sampler)  # type: ignore[arg-type]
        return count // self.batch_size if self.drop_last else -(-count // self.batch_size)


class DistributedSampler(Sampler[int]):
    """The share of one process among several that train together: every `num_replicas`-th index of one order.

    Call `set_epoch` before each epoch; otherwise all have the same order.

    Args:
        dataset: something with a length.
        num_replicas: how many processes there are. (PyTorch asks its process group by default; there is none here.)
        rank: which of them this one is.
        shuffle: take a permutation that depends on the seed and the epoch.
        seed: the same number in all processes.
        drop_last: drop the tail so that all shares are equal; otherwise indices from the start are repeated.

    Raises:
        RuntimeError: `num_replicas` or `rank` was not given.
        ValueError: `rank` is not below `num_replicas`.
    """

    def __init__(
        self,
        dataset: Sized,
        num_replicas: int | None = None,
        rank: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        if num_replicas is None or rank is None:
            raise RuntimeError(
                "DistributedSampler: Requires distributed package to be available, or num_replicas and rank as"
                " arguments"
            )
        if not 0 <= rank < num_replicas:
            raise ValueError(f"Invalid rank {rank}, rank should be in the interval [0, {num_replicas - 1}]")
        self.dataset = dataset
        self.num_replicas = num_replicas
        self.rank = rank
        self.epoch = 0
        self.drop_last = drop_last
        count = len(dataset)
        self.num_samples = count // num_replicas if drop_last else math.ceil(count / num_replicas)
        self.total_size = self.num_samples * num_replicas
        self.shuffle = shuffle
        self.seed = seed

    def __iter__(self) -> Iterator[int]:
        count = len(self.dataset)
        indices = list(range(count))
        if self.shuffle:
            indices = permutation(count, Generator().manual_seed(self.seed + self.epoch)).tolist()
        repeated = itertools.islice(itertools.cycle(indices), self.total_size)
        return itertools.islice(repeated, self.rank, None, self.num_replicas)

    def __len__(self) -> int:
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next iteration."""
        self.epoch = epoch


def _require_positive(name: str, value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise ValueError(f"{name} should be a positive integer value, but got {name}={value}")


def _require_bool(name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise ValueError(f"{name} should be a boolean value, but got {name}={value}")
