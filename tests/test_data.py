"""Datasets, samplers, collating and the `DataLoader`, in this process and with workers."""

import collections
import gc
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import nbtorch
from nbtorch.utils.data import (
    ConcatDataset,
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    StackDataset,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    get_worker_info,
    random_split,
)
from nbtorch.utils.data import workers as workers_module

from .against_torch import assert_same

Point = collections.namedtuple("Point", ["x", "y"])
METHODS = [None, "spawn", "fork"] if sys.platform == "linux" else [None]


class Squares(Dataset):
    """Pairs of a square and a vector."""

    def __len__(self):
        return 10

    def __getitem__(self, index):
        return index**2, nbtorch.full((3,), float(index))


class Images(Dataset):
    """Arrays that are too large for a pipe."""

    def __len__(self):
        return 6

    def __getitem__(self, index):
        return {"image": np.full((3, 64, 64), index, np.float32), "name": f"{index}"}


class Count(IterableDataset):
    """The numbers from 3 to 6, divided among the workers."""

    def __iter__(self):
        info = get_worker_info()
        return iter(range(3, 7)) if info is None else iter(range(3 + info.id, 7, info.num_workers))


class Broken(Dataset):
    """Raises at one index."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        if index == 2:
            raise KeyError("two is missing")
        return index


class Deadly(Broken):
    """Ends its process at one index."""

    def __getitem__(self, index):
        if index == 2:
            os._exit(7)
        return index


class Slow(Broken):
    """Takes longer than any timeout here."""

    def __getitem__(self, index):
        time.sleep(30)


class Drawn(Dataset):
    """Numbers that the generators of the worker draw."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        legacy = np.random.random()  # noqa: NPY002 - what workers seed
        return get_worker_info().seed, random.random(), legacy, nbtorch.rand(()).item()


def keep(samples):
    """Collate by doing nothing."""
    return samples


def note_worker(worker_id):
    """Leave a trace in the worker's dataset."""
    get_worker_info().dataset.tensors = (nbtorch.full((2,), worker_id + 100),)


COLLATED = {
    "numbers": lambda t: [1, 2],
    "bools": lambda t: [True, False],
    "floats": lambda t: [1.0, 2.5],
    "numpy numbers": lambda t: [np.float32(1), np.float32(2)],
    "numpy bools": lambda t: [np.bool_(True), np.bool_(False)],
    "tensors": lambda t: [t.ones(2, 3), t.zeros(2, 3)],
    "arrays": lambda t: [np.ones(2, np.int16), np.zeros(2, np.int16)],
    "text": lambda t: ["a", "b"],
    "bytes": lambda t: [b"a", b"b"],
    "pairs": lambda t: [("a", 1), ("b", 2)],
    "lists": lambda t: [[1, 2.0], [3, 4.0]],
    "dicts": lambda t: [{"a": 1, "b": [2]}, {"a": 3, "b": [4]}],
    "ordered dicts": lambda t: [collections.OrderedDict(a=1), collections.OrderedDict(a=2)],
    "default dicts": lambda t: [collections.defaultdict(int, a=1), collections.defaultdict(int, a=2)],
    "named tuples": lambda t: [Point(1, "u"), Point(2, "v")],
    "ranges": lambda t: [range(2), range(2)],
    "nothing": lambda t: [],
    "None": lambda t: [None],
    "complex": lambda t: [1j],
    "lists of different lengths": lambda t: [[1], [1, 2]],
    "tensors of different shapes": lambda t: [t.ones(1), t.ones(2)],
    "arrays of text": lambda t: [np.array("a")],
    "arrays of objects": lambda t: [np.array([None])],
    "dates": lambda t: [np.datetime64("2020")],
    "missing keys": lambda t: [{"a": 1}, {}],
}


@pytest.mark.parametrize("name", COLLATED)
def test_samples_are_collated_as_in_torch(name):
    assert_same(lambda t: t.utils.data.default_collate(COLLATED[name](t)))


@pytest.mark.parametrize("name", COLLATED)
def test_samples_are_converted_as_in_torch(name):
    assert_same(lambda t: t.utils.data.default_convert(COLLATED[name](t)))


def test_a_function_for_a_type_of_samples_is_used_for_its_subclasses():
    def program(t):
        from_map = {t.Tensor: lambda batch, *, collate_fn_map: len(batch), str: lambda batch, *, collate_fn_map: "text"}
        collate = sys.modules[t.utils.data.default_collate.__module__].collate
        return collate([(t.nn.Parameter(t.ones(1)), "a"), (t.ones(1), "b")], collate_fn_map=from_map)

    assert_same(program)


def _square_class(t):
    class Plain(t.utils.data.Dataset):
        def __len__(self):
            return 7

        def __getitem__(self, index):
            return t.tensor([index, -index]), float(index)

    return Plain()


def _stream(t, length=None):
    class Stream(t.utils.data.IterableDataset):
        def __iter__(self):
            return iter(range(7))

    if length is not None:
        Stream.__len__ = lambda self: length
    return Stream()


LOADERS = {
    "defaults": lambda t, d: d.DataLoader(_square_class(t)),
    "batches": lambda t, d: d.DataLoader(_square_class(t), 3),
    "full batches": lambda t, d: d.DataLoader(_square_class(t), batch_size=3, drop_last=True),
    "no batches": lambda t, d: d.DataLoader(_square_class(t), batch_size=None),
    "a sampler": lambda t, d: d.DataLoader(_square_class(t), 2, sampler=[3, 1, 5]),
    "a batch sampler": lambda t, d: d.DataLoader(_square_class(t), batch_sampler=[[3, 1], [5]]),
    "collating": lambda t, d: d.DataLoader(_square_class(t), 2, collate_fn=len),
    "a list": lambda t, d: d.DataLoader([1, 2, 3], 2),
    "a stream": lambda t, d: d.DataLoader(_stream(t), 3),
    "a stream without the last": lambda t, d: d.DataLoader(_stream(t), 3, drop_last=True),
    "a stream of samples": lambda t, d: d.DataLoader(_stream(t), None),
    "shuffle=False of a stream": lambda t, d: d.DataLoader(_stream(t), 3, shuffle=False),
    "chained": lambda t, d: d.DataLoader(_stream(t) + _stream(t), 4),
    "concatenated": lambda t, d: d.DataLoader(_square_class(t) + _square_class(t), 4),
    "subset": lambda t, d: d.DataLoader(d.Subset(_square_class(t), [6, 0, 3]), 2),
    "nested subset": lambda t, d: d.DataLoader(d.Subset(d.Subset(_square_class(t), [6, 0, 3]), [2, 0]), 2),
    "tensors": lambda t, d: d.DataLoader(d.TensorDataset(t.arange(6).view(3, 2), t.ones(3)), 2),
    "stacked": lambda t, d: d.DataLoader(d.StackDataset(_square_class(t), range(7)), 4),
    "stacked by name": lambda t, d: d.DataLoader(d.StackDataset(a=_square_class(t), b=d.Subset(range(9), range(7))), 4),
    "empty": lambda t, d: d.DataLoader([], 2),
    "shuffled and empty": lambda t, d: d.DataLoader([], 2, shuffle=True),
    "shuffled stream": lambda t, d: d.DataLoader(_stream(t), shuffle=True),
    "stream with a sampler": lambda t, d: d.DataLoader(_stream(t), sampler=[1]),
    "stream with a batch sampler": lambda t, d: d.DataLoader(_stream(t), batch_sampler=[[1]]),
    "sampler and shuffle": lambda t, d: d.DataLoader([1], sampler=[0], shuffle=True),
    "batch sampler and size": lambda t, d: d.DataLoader([1], 2, batch_sampler=[[0]]),
    "batch sampler and drop_last": lambda t, d: d.DataLoader([1], batch_sampler=[[0]], drop_last=True),
    "no batches and drop_last": lambda t, d: d.DataLoader([1], None, drop_last=True),
    "size 0": lambda t, d: d.DataLoader([1], 0),
    "size of a half": lambda t, d: d.DataLoader([1], 0.5),
    "negative workers": lambda t, d: d.DataLoader([1], num_workers=-1),
    "negative timeout": lambda t, d: d.DataLoader([1], timeout=-1),
    "prefetching without workers": lambda t, d: d.DataLoader([1], prefetch_factor=2),
    "negative prefetching": lambda t, d: d.DataLoader([1], num_workers=1, prefetch_factor=-2),
    "persistence without workers": lambda t, d: d.DataLoader([1], persistent_workers=True),
    "a context without workers": lambda t, d: d.DataLoader([1], multiprocessing_context="spawn"),
    "an unknown context": lambda t, d: d.DataLoader([1], num_workers=1, multiprocessing_context="no"),
    "a context that is none": lambda t, d: d.DataLoader([1], num_workers=1, multiprocessing_context=3),
    "no dataset": lambda t, d: d.DataLoader(),
    "subset out of range": lambda t, d: d.DataLoader(d.Subset([1, 2], [5])),
    "abstract": lambda t, d: d.DataLoader(d.Dataset(), sampler=[0]),
}


@pytest.mark.parametrize("name", LOADERS)
def test_loaders_read_as_torch_does(name):
    def program(t):
        loader = LOADERS[name](t, t.utils.data)
        return list(loader), list(loader), loader.batch_size

    assert_same(program)


@pytest.mark.parametrize("name", ["defaults", "full batches", "no batches", "a sampler", "a batch sampler", "a stream"])
def test_loaders_know_their_length(name):
    assert_same(lambda t: len(LOADERS[name](t, t.utils.data)))


@pytest.mark.parametrize("options", [{}, {"batch_size": 3}, {"batch_size": 3, "drop_last": True}, {"batch_size": None}])
def test_a_stream_that_is_longer_than_it_says_is_noticed(options):
    def program(t):
        loader = t.utils.data.DataLoader(_stream(t, 5), **options)
        return len(loader), list(loader)

    assert_same(program)


def test_a_loader_keeps_what_it_was_made_with():
    for name in ("batch_size", "dataset", "sampler", "batch_sampler", "drop_last", "persistent_workers"):

        def program(t, name=name):
            setattr(t.utils.data.DataLoader([1]), name, None)

        assert_same(program)


DATASETS = {
    "tensors of different lengths": lambda t, d: d.TensorDataset(t.ones(2), t.ones(3)),
    "nothing stacked": lambda t, d: d.StackDataset(),
    "both ways stacked": lambda t, d: d.StackDataset([1], a=[2]),
    "different lengths stacked": lambda t, d: d.StackDataset([1], [2, 3]),
    "nothing concatenated": lambda t, d: d.ConcatDataset([]),
    "streams concatenated": lambda t, d: d.ConcatDataset([_stream(t)]),
    "lists chained": lambda t, d: list(d.ChainDataset([[1]])),
    "lists chained, length": lambda t, d: len(d.ChainDataset([[1]])),
    "streams chained, length": lambda t, d: len(d.ChainDataset([_stream(t, 4), _stream(t, 5)])),
    "from the end": lambda t, d: [d.ConcatDataset([[1, 2], [3]])[i] for i in (-1, -3, 2, 0)],
    "before the start": lambda t, d: d.ConcatDataset([[1, 2], [3]])[-4],
    "past the end": lambda t, d: d.ConcatDataset([[1, 2], [3]])[3],
    "sizes": lambda t, d: d.ConcatDataset([[1, 2], [3]]).cumulative_sizes,
    "misspelt sizes": lambda t, d: d.ConcatDataset([[1, 2], [3]]).cummulative_sizes,
    "a list of indices": lambda t, d: d.Subset(np.arange(5), [4, 2, 0])[[0, 2]],
    "half a subclass": lambda t, d: type("S", (d.Subset,), {"__getitem__": lambda self, i: i})([1], [0]),
    "fractions": lambda t, d: [len(part) for part in d.random_split(range(11), [0.5, 0.3, 0.2])],
    "lengths": lambda t, d: [len(part) for part in d.random_split(range(11), [11, 0])],
    "an empty fraction": lambda t, d: [len(part) for part in d.random_split(range(1), [0.5, 0.5])],
    "wrong lengths": lambda t, d: d.random_split(range(11), [5, 5]),
    "a negative fraction": lambda t, d: d.random_split(range(11), [1.5, -0.5]),
    "batches of letters": lambda t, d: list(d.BatchSampler("abcde", 2, False)),
    "full batches of letters": lambda t, d: list(d.BatchSampler("abcde", 2, True)),
    "lengths of batches": lambda t, d: [len(d.BatchSampler(range(5), 2, drop)) for drop in (False, True)],
    "batch size True": lambda t, d: d.BatchSampler("a", True, False),
    "drop_last 1": lambda t, d: d.BatchSampler("a", 1, 1),
    "replacement 1": lambda t, d: d.RandomSampler([1], replacement=1),
    "no samples": lambda t, d: d.RandomSampler([1], num_samples=0),
    "weights, no samples": lambda t, d: d.WeightedRandomSampler([1.0], 0),
    "weights, replacement 1": lambda t, d: d.WeightedRandomSampler([1.0], 1, replacement=1),
    "weights of two dimensions": lambda t, d: d.WeightedRandomSampler([[1.0]], 1),
    "one weight": lambda t, d: list(d.WeightedRandomSampler([0, 0, 3.0], 4)),
    "a share": lambda t, d: [list(d.DistributedSampler(range(7), 3, rank, False)) for rank in range(3)],
    "a full share": lambda t, d: [list(d.DistributedSampler(range(7), 3, r, False, 0, True)) for r in range(3)],
    "more processes than samples": lambda t, d: [list(d.DistributedSampler([8, 9], 5, r, False)) for r in range(5)],
    "a rank too many": lambda t, d: d.DistributedSampler([1], 2, 2),
    "no order": lambda t, d: list(d.Sampler()),
}


@pytest.mark.parametrize("name", DATASETS)
def test_datasets_and_samplers_do_as_in_torch(name):
    assert_same(lambda t: DATASETS[name](t, t.utils.data))


def test_a_shuffled_loader_gives_every_sample_once_in_a_new_order_each_time():
    loader = DataLoader(range(100), 7, shuffle=True, generator=nbtorch.Generator().manual_seed(3))
    first, second = ([index for batch in loader for index in batch.tolist()] for _ in range(2))
    assert sorted(first) == sorted(second) == list(range(100))
    assert first != second and first != list(range(100))
    again = DataLoader(range(100), 7, shuffle=True, generator=nbtorch.Generator().manual_seed(3))
    assert [index for batch in again for index in batch.tolist()] == first


def test_the_default_seed_decides_the_order():
    orders = []
    for seed in (5, 5, 6):
        nbtorch.manual_seed(seed)
        orders.append(list(RandomSampler(range(50))))
    assert orders[0] == orders[1] != orders[2]


def test_random_samplers_draw_what_they_are_asked_for():
    assert sorted(RandomSampler(range(5), num_samples=13)) == sorted([*range(5), *range(5), *_last(13)])
    drawn = list(RandomSampler(range(5), replacement=True, num_samples=3000))
    assert len(drawn) == 3000 and set(drawn) == set(range(5))
    assert sorted(SubsetRandomSampler([7, 8, 9])) == [7, 8, 9]
    assert set(WeightedRandomSampler([0.0, 1.0, 2.0], 500)) == {1, 2}
    assert sorted(WeightedRandomSampler([1.0, 1.0, 2.0], 3, replacement=False)) == [0, 1, 2]


def _last(count):
    """Return the three indices that the third permutation of five begins with, for the state of the generator now."""
    state = nbtorch.get_rng_state()
    drawn = list(RandomSampler(range(5), num_samples=count))[10:]
    nbtorch.set_rng_state(state)
    return drawn


def test_shares_of_processes_follow_the_epoch():
    samplers = [DistributedSampler(range(10), 2, rank, seed=4) for rank in range(2)]
    epochs = []
    for epoch in range(2):
        for sampler in samplers:
            sampler.set_epoch(epoch)
        epochs.append([list(sampler) for sampler in samplers])
        assert sorted(epochs[-1][0] + epochs[-1][1]) == list(range(10))
    assert epochs[0] != epochs[1]


def test_parts_of_a_random_split_have_nothing_in_common():
    parts = random_split(range(20), [15, 5], nbtorch.Generator().manual_seed(1))
    assert sorted(sample for part in parts for sample in part) == list(range(20))
    again = random_split(range(20), [15, 5], nbtorch.Generator().manual_seed(1))
    assert [part.indices for part in parts] == [part.indices for part in again]


def values(batches):
    """Return batches as plain lists."""
    return [[item.tolist() if hasattr(item, "tolist") else item for item in batch] for batch in batches]


@pytest.mark.parametrize("method", METHODS)
def test_workers_read_the_same_batches(method):
    expected = values(DataLoader(Squares(), 3))
    loader = DataLoader(Squares(), 3, num_workers=2, multiprocessing_context=method)
    assert values(loader) == expected
    assert values(loader) == expected


def test_large_batches_arrive_whole_and_can_be_written_to():
    batches = list(DataLoader(Images(), 2, num_workers=2, prefetch_factor=1))
    assert [batch["name"] for batch in batches] == [["0", "1"], ["2", "3"], ["4", "5"]]
    for number, batch in enumerate(batches):
        image = batch["image"]
        assert image.shape == (2, 3, 64, 64) and image.dtype == nbtorch.float32
        image += 1
        assert image[0].unique().tolist() == [2 * number + 1] and image[1].unique().tolist() == [2 * number + 2]


def test_more_workers_than_batches_and_single_samples():
    with pytest.warns(UserWarning, match="worker processes in total"):
        loader = DataLoader(Squares(), 5, num_workers=(os.cpu_count() or 1) + 1)
    assert values(loader) == values(DataLoader(Squares(), 5))
    assert values(DataLoader(Squares(), None, num_workers=1)) == values(DataLoader(Squares(), None))


def test_streams_are_divided_among_workers():
    assert [batch.tolist() for batch in DataLoader(Count(), num_workers=2)] == [[3], [4], [5], [6]]
    assert sorted(DataLoader(Count(), None, num_workers=2)) == [3, 4, 5, 6]
    assert [batch.tolist() for batch in DataLoader(Count(), 2, num_workers=2)] == [[3, 5], [4, 6]]


def test_workers_stay_for_the_next_epoch_if_asked():
    loader = DataLoader(Squares(), 4, num_workers=2, persistent_workers=True)
    expected = values(DataLoader(Squares(), 4))
    assert values(loader) == expected
    processes = [process.pid for process in loader._iterator._processes]
    next(iter(loader))  # an epoch that is left
    assert values(loader) == expected
    assert [process.pid for process in loader._iterator._processes] == processes


def test_batches_come_in_any_order_if_allowed():
    loader = DataLoader(Squares(), 2, num_workers=2, in_order=False)
    assert sorted(values(loader)) == sorted(values(DataLoader(Squares(), 2)))


def test_each_worker_draws_numbers_of_its_own():
    def read():
        nbtorch.manual_seed(11)
        return [tuple(row) for row in DataLoader(Drawn(), num_workers=2, collate_fn=only_sample)]

    first = read()
    assert first == read()
    assert len({sample[0] for sample in first}) == 2
    for column in range(1, 4):
        assert len({sample[column] for sample in first}) == 4


def only_sample(samples):
    """Return the only sample."""
    return samples[0]


def test_a_worker_is_prepared_by_the_init_function():
    dataset = TensorDataset(nbtorch.zeros(2))
    loader = DataLoader(dataset, num_workers=2, worker_init_fn=note_worker)
    assert [batch[0].item() for batch in loader] == [100, 101]
    assert dataset.tensors[0].tolist() == [0, 0] and get_worker_info() is None


def test_an_error_in_a_worker_is_raised_here_with_its_traceback():
    batches = iter(DataLoader(Broken(), num_workers=2))
    assert [next(batches).item(), next(batches).item()] == [0, 1]
    with pytest.raises(KeyError, match=r"(?s)Caught KeyError in DataLoader worker process 0.*two is missing"):
        next(batches)
    assert next(batches).item() == 3


def test_a_worker_that_dies_is_reported():
    with pytest.raises(RuntimeError, match=r"exit code 7\)\) exited unexpectedly"):
        list(DataLoader(Deadly(), num_workers=2))


def test_waiting_ends_at_the_timeout():
    with pytest.raises(RuntimeError, match=r"timed out after 0\.2 seconds"):
        list(DataLoader(Slow(), num_workers=1, timeout=0.2))


def test_what_cannot_be_pickled_is_explained():
    with pytest.raises(Exception, match="must be picklable"):
        list(DataLoader(Squares(), num_workers=1, collate_fn=lambda samples: samples))
    assert len(list(DataLoader(Squares(), 5, num_workers=1, collate_fn=keep))) == 2


def test_a_full_memory_file_system_is_got_round(monkeypatch, tmp_path):
    original = workers_module._write
    seen = []

    def full(parts, folder):
        seen.append(folder)
        if folder is not None:
            raise OSError(28, "No space left on device")
        return original(parts, folder)

    monkeypatch.setattr(workers_module, "_write", full)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    sent = []
    pipe = type("Pipe", (), {"send": lambda self, message: sent.append(message), "recv": lambda self: sent.pop()})()
    workers_module.Outbox(pipe, "/nowhere", 10).send(4, [nbtorch.arange(1000), "text"])
    assert seen == ["/nowhere", None]
    number, (numbers, text) = workers_module.receive(pipe)
    assert number == 4 and text == "text" and nbtorch.equal(numbers, nbtorch.arange(1000))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no file system in memory")
def test_nothing_is_left_behind():
    def folders():
        return {path.name for path in Path("/dev/shm").glob("nbtorch-*")}

    before = folders()
    iterator = iter(DataLoader(Images(), 2, num_workers=2))
    next(iterator)
    processes = iterator._processes
    assert folders() > before
    del iterator
    gc.collect()
    assert folders() <= before
    assert all(process.exitcode == 0 for process in processes)


def test_the_workers_of_a_program_that_is_killed_end(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import os, signal, sys\n"
        "from tests.test_data import DataLoader, Images\n"
        "if __name__ == '__main__':\n"
        "    iterator = iter(DataLoader(Images(), 2, num_workers=2))\n"
        "    next(iterator)\n"
        "    print(*[process.pid for process in iterator._processes], flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = Path(__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    printed = subprocess.run([sys.executable, program], stdout=subprocess.PIPE, text=True, env=environment, cwd=root)
    workers = [int(word) for word in printed.stdout.split()]
    assert len(workers) == 2
    for _ in range(100):
        if not any(_is_running(worker) for worker in workers):
            return
        time.sleep(0.1)
    pytest.fail("workers outlived the program")


def _is_running(process):
    try:
        state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_datasets_add_up():
    assert isinstance(Squares() + Squares(), ConcatDataset)
    stacked = StackDataset(a=Squares(), b=Subset(Squares(), range(10)))
    assert [sample["b"][0] for sample in stacked.__getitems__([2, 3])] == [4, 9]
