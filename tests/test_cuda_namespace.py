"""`nbtorch.cuda` and `nbtorch.backends`: without a GPU, and with the simulator's."""

import os
import subprocess
import sys

import numpy as np
import pytest
from nbtorch.kernels import precision
from nbtorch.kernels.cuda import target

import nbtorch

inside = pytest.mark.skipif(not target.is_simulator(), reason="runs in a process of its own, in the simulator")
without = pytest.mark.skipif(target.is_available(), reason="there is a GPU, or the simulator")


@pytest.mark.skipif(target.is_available(), reason="is in the simulator already, or on a GPU")
def test_in_the_simulator():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", __file__]
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout[-8000:] + result.stderr[-2000:]
    assert "passed" in result.stdout


@without
def test_questions_are_answered_without_a_gpu():
    cuda = nbtorch.cuda
    assert (cuda.is_available(), cuda.device_count(), cuda.is_initialized()) == (False, 0, False)
    assert (cuda.memory_allocated(), cuda.max_memory_allocated(), cuda.memory_reserved()) == (0, 0, 0)
    assert cuda.memory_stats() == {}
    assert cuda.get_arch_list() == []
    assert not cuda.is_bf16_supported()
    cuda.empty_cache()
    with cuda.stream(None), cuda.device(-1):
        pass


@without
@pytest.mark.parametrize(
    "use",
    [
        lambda: nbtorch.cuda.current_device(),
        lambda: nbtorch.cuda.synchronize(),
        lambda: nbtorch.cuda.Stream(),
        lambda: nbtorch.cuda.Event(),
        lambda: nbtorch.cuda.get_device_name(),
        lambda: nbtorch.cuda.get_rng_state(),
        lambda: nbtorch.cuda.init(),
        lambda: nbtorch.zeros(2).cuda(),
        lambda: nbtorch.zeros(2).to("cuda:0", non_blocking=True),
    ],
)
def test_uses_say_why_there_is_no_cuda(use):
    with pytest.raises(RuntimeError, match="device 'cuda' cannot be used: "):
        use()


@without
def test_seeding_without_a_gpu_changes_nothing():
    state = nbtorch.get_rng_state()
    nbtorch.cuda.manual_seed(3)
    nbtorch.cuda.manual_seed_all(3)
    assert nbtorch.equal(nbtorch.get_rng_state(), state)


def test_asking_does_not_import_numba_cuda():
    program = (
        "import sys, nbtorch; print(nbtorch.cuda.is_available(), any(n.startswith('numba.cuda.') for n in sys.modules))"
    )
    environment = {key: value for key, value in os.environ.items() if key != "NUMBA_ENABLE_CUDASIM"}
    result = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stderr
    imported = result.stdout.split()[1]
    assert imported == "False" or target.has_numba_cuda()


@inside
def test_the_simulated_device():
    cuda = nbtorch.cuda
    assert (cuda.is_available(), cuda.device_count(), cuda.current_device()) == (True, 1, 0)
    assert cuda.get_device_name("cuda:0") == "Numba CUDA simulator"
    assert cuda.get_device_capability(0) == (8, 0)
    cuda.synchronize("cuda")
    with cuda.device("cuda:0"), cuda.device_of(nbtorch.zeros(2, device="cuda")):
        assert cuda.current_device() == 0
    assert not cuda.can_device_access_peer(0, 0)
    assert cuda.mem_get_info() == (0, 0)


@inside
@pytest.mark.parametrize(
    ("use", "error", "text"),
    [
        (lambda: nbtorch.cuda.set_device("cpu"), ValueError, "Expected a cuda device, but got: cpu"),
        (lambda: nbtorch.cuda.set_device(1), RuntimeError, "device 'cuda:1' does not exist"),
        (lambda: nbtorch.cuda.get_device_properties(5), RuntimeError, "device 'cuda:5' does not exist"),
        (lambda: nbtorch.zeros(2).cuda("cpu"), RuntimeError, "must be cuda device"),
        (lambda: nbtorch.cuda.Event(interprocess=True), RuntimeError, "interprocess"),
        (lambda: nbtorch.cuda.Event().elapsed_time(nbtorch.cuda.Event()), ValueError, "enable_timing=True"),
        (lambda: nbtorch.cuda.set_per_process_memory_fraction(2.0), ValueError, "Invalid fraction value: 2.0"),
        (lambda: nbtorch.cuda.set_per_process_memory_fraction(1), TypeError, "must be `float`"),
    ],
)
def test_bad_arguments(use, error, text):
    with pytest.raises(error, match=text):
        use()


@inside
def test_streams_and_events():
    cuda = nbtorch.cuda
    first, second = cuda.Stream(), cuda.Stream()
    assert first == first and first != second
    assert cuda.current_stream() == cuda.default_stream()
    with cuda.stream(first):
        assert cuda.current_stream() is first
        with second:
            assert cuda.current_stream() is second
        begin = first.record_event(cuda.Event(enable_timing=True))
        total = nbtorch.ones(3, device="cuda").sum()
        end = cuda.Event(enable_timing=True)
        end.record()
    assert cuda.current_stream() == cuda.default_stream()
    second.wait_stream(first)
    second.wait_event(end)
    end.synchronize()
    assert first.query() and end.query()
    assert begin.elapsed_time(end) > 0
    assert total.item() == 3


@inside
def test_random_numbers():
    nbtorch.cuda.manual_seed_all(5)
    assert nbtorch.cuda.initial_seed() == 5
    (state,) = nbtorch.cuda.get_rng_state_all()
    first = nbtorch.rand(4, device="cuda")
    nbtorch.cuda.set_rng_state_all([state])
    assert nbtorch.equal(nbtorch.rand(4, device="cuda"), first)


@inside
def test_moves():
    x = nbtorch.arange(4.0).reshape(2, 2)
    moved = x.T.cuda(non_blocking=True)
    assert moved.is_cuda and moved.device == nbtorch.device("cuda:0")
    np.testing.assert_array_equal(moved.to("cpu", non_blocking=True).numpy(), x.numpy().T)


def test_precision_switches_agree():
    assert nbtorch.backends.cudnn.allow_tf32 is True
    assert nbtorch.backends.cuda.matmul.allow_tf32 is False
    assert nbtorch.get_float32_matmul_precision() == "highest"
    try:
        nbtorch.set_float32_matmul_precision("medium")
        assert nbtorch.backends.cuda.matmul.allow_tf32 is True
        assert precision.matmul == "tf32"
        nbtorch.backends.cuda.matmul.allow_tf32 = False
        assert nbtorch.get_float32_matmul_precision() == "highest"
        with pytest.warns(UserWarning, match="'highest', 'high', or 'medium'"):
            nbtorch.set_float32_matmul_precision("low")
    finally:
        nbtorch.set_float32_matmul_precision("highest")


def test_cudnn_flags_are_restored():
    cudnn = nbtorch.backends.cudnn
    with cudnn.flags(benchmark=True, allow_tf32=False):
        assert (cudnn.enabled, cudnn.benchmark, cudnn.allow_tf32) == (False, True, False)
        assert precision.conv == "ieee"
    assert (cudnn.enabled, cudnn.benchmark, cudnn.allow_tf32) == (True, False, True)
    with pytest.raises(RuntimeError, match="allow_tf32: expected bool, got int"):
        cudnn.allow_tf32 = 1
    with pytest.raises(RuntimeError, match="benchmark: expected bool, got str"):
        cudnn.benchmark = "yes"


@pytest.mark.parametrize(("mode", "number"), [("default", 0), ("warn", 1), ("error", 2), (1, 1), (0, 0)])
def test_determinism(mode, number):
    nbtorch.set_deterministic_debug_mode(mode)
    assert nbtorch.get_deterministic_debug_mode() == number
    assert nbtorch.are_deterministic_algorithms_enabled() == (number > 0)
    nbtorch.use_deterministic_algorithms(False)
    assert nbtorch.get_deterministic_debug_mode() == 0
    with pytest.raises(RuntimeError, match="invalid value of debug_mode"):
        nbtorch.set_deterministic_debug_mode("never")
