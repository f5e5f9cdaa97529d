"""The number of threads, and the memory of the processor's pool."""

import os
import subprocess
import sys
import threading

import numba
import numpy as np
import pytest

import nbtorch
from nbtorch.device import BufferPool
from tests.against_torch import assert_same


@pytest.fixture
def restored():
    from nbtorch.kernels import jit

    before = numba.get_num_threads()
    yield
    nbtorch.set_num_threads(before)
    jit._threads.wanted = 0


def run(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, timeout=100
    )


@pytest.mark.parametrize("value", [0, -1, "a", 2.5, True, None])
@pytest.mark.parametrize("function", ["set_num_threads", "set_num_interop_threads"])
@pytest.mark.torch
def test_a_bad_number_is_refused_as_in_pytorch(function, value):
    assert_same(lambda torch: getattr(torch, function)(value))


def test_the_number_is_remembered_and_used(restored):
    nbtorch.set_num_threads(1)
    assert nbtorch.get_num_threads() == numba.get_num_threads() == 1
    nbtorch.set_num_threads(1000)
    assert nbtorch.get_num_threads() == 1000
    assert numba.get_num_threads() == numba.config.NUMBA_NUM_THREADS


def test_it_holds_for_other_threads_too(restored):
    nbtorch.set_num_threads(1)
    seen = []

    def work():
        nbtorch.nn.Conv2d(8, 8, 3)(nbtorch.ones(4, 8, 64, 64))
        seen.append((nbtorch.get_num_threads(), numba.get_num_threads()))

    other = threading.Thread(target=work)
    other.start()
    other.join()
    assert seen == [(1, 1)]


@pytest.mark.parametrize("first", ["", "import numba;"], ids=["", "numba first"])
def test_the_variable_sets_it(first):
    result = run(f"{first}import nbtorch; print(nbtorch.get_num_threads())", NBTORCH_NUM_THREADS="1")
    assert result.stdout == "1\n", result.stderr


def test_a_wrong_variable_is_an_error():
    assert (
        "NBTORCH_NUM_THREADS must be a positive number, got 'many'"
        in run("import nbtorch", NBTORCH_NUM_THREADS="many").stderr
    )


def test_interop_threads_are_set_once():
    code = """
import nbtorch
assert nbtorch.get_num_interop_threads() >= 1
nbtorch.set_num_interop_threads(3)
assert nbtorch.get_num_interop_threads() == 3
nbtorch.set_num_interop_threads(3)
"""
    assert "Error: cannot set number of interop threads" in run(code).stderr


class TestPool:
    FLOAT = np.dtype(np.float32)

    def test_memory_is_used_again_when_nobody_holds_it(self):
        pool = BufferPool()
        first = pool.empty((1 << 18,), self.FLOAT)
        address = first.ctypes.data
        part = first[10:20].reshape(2, 5)
        del first
        assert pool.empty((1 << 18,), self.FLOAT).ctypes.data != address
        del part
        assert pool.empty((1 << 18,), self.FLOAT).ctypes.data == address
        assert (pool.requests, pool.made) == (3, 2)

    @pytest.mark.parametrize(
        "keep",
        [
            lambda x: x.numpy(),
            lambda x: x.numpy()[1:, ::2].T,
            lambda x: memoryview(x.numpy()),
            lambda x: np.from_dlpack(x),
            lambda x: np.asarray(x),
            lambda x: x.detach()[3].untyped_storage(),
            lambda x: x.view(-1),
        ],
        ids=["numpy", "view", "memoryview", "dlpack", "asarray", "storage", "tensor"],
    )
    def test_what_was_handed_out_is_never_used_again(self, keep):
        x = nbtorch.full((300, 300), 7.0)
        address = x.data_ptr()
        kept = keep(x)
        del x
        others = [nbtorch.zeros(300, 300) for _ in range(4)]
        assert address not in [other.data_ptr() for other in others]
        del kept, others
        assert address in [other.data_ptr() for other in [nbtorch.zeros(300, 300) for _ in range(6)]]

    def test_it_lets_go_of_idle_memory_before_it_outgrows_its_limit(self):
        pool = BufferPool(limit=4 << 20)
        held = pool.empty((1 << 20,), np.dtype(np.uint8))
        for size in range(2, 12):
            pool.empty((size << 18,), self.FLOAT)
            assert pool.reserved - pool.in_use() <= max(pool.limit, pool.peak_in_use)
        assert pool.dropped > 0
        assert pool.in_use() == held.nbytes
        pool.release_idle()
        assert pool.reserved == held.nbytes

    def test_two_threads_never_get_the_same_array(self):
        pool = BufferPool()
        clashes = []

        def work(mark):
            for _ in range(300):
                mine = pool.empty((1 << 15,), self.FLOAT)
                mine[::512] = mark
                mine[1::512] = mark
                if not (mine[::512] == mark).all():
                    clashes.append(mark)

        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            threads = [threading.Thread(target=work, args=(mark,)) for mark in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            sys.setswitchinterval(interval)
        assert clashes == []
        assert pool.made <= 8  # a thread still holds one array when it asks for the next

    def test_statistics_have_pytorchs_names(self):
        nbtorch.cpu.empty_cache()
        nbtorch.cpu.reset_peak_memory_stats()
        before = nbtorch.cpu.memory_allocated()
        x = nbtorch.ones(1024, 1024)
        assert nbtorch.cpu.memory_allocated() == before + x.nbytes
        assert nbtorch.cpu.max_memory_allocated() >= before + x.nbytes
        assert nbtorch.cpu.memory_reserved() >= nbtorch.cpu.memory_allocated()
        del x
        assert nbtorch.cpu.memory_allocated() == before
        nbtorch.cpu.empty_cache()
        assert nbtorch.cpu.memory_reserved() == before
        stats = nbtorch.cpu.memory_stats()
        assert stats["allocated_bytes.all.peak"] == nbtorch.cpu.max_memory_allocated()
        assert stats["segment.all.freed"] > 0
        assert "in use" in nbtorch.cpu.memory_summary()


def test_a_steady_training_step_asks_the_system_for_no_memory():
    resource = pytest.importorskip("resource")
    model = nbtorch.nn.Sequential(
        nbtorch.nn.Conv2d(3, 16, 3, padding=1), nbtorch.nn.BatchNorm2d(16), nbtorch.nn.ReLU(), nbtorch.nn.MaxPool2d(2)
    )
    update = nbtorch.optim.Adam(model.parameters())
    x = nbtorch.ones(16, 3, 64, 64)

    def step():
        update.zero_grad()
        model(x).sum().backward()
        update.step()

    for _ in range(5):
        step()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        step()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 10 * 20  # the activations have 1,000 pages
