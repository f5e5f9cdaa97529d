"""Compiling ahead: what is compiled, what is shown."""

import io
import os
import re
import subprocess
import sys
import time

import pytest
from nbtorch.kernels import jit

import nbtorch
from nbtorch import __main__ as command
from nbtorch import warmup


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], env={**os.environ, **environment}, capture_output=True, text=True, timeout=500
    )


def test_progress_is_told_before_each_step_and_at_the_end():
    told = []
    warmup.compile_kernels([nbtorch.float32], progress=lambda *step: told.append(step))
    total = len(told) - 1
    assert [step[:2] for step in told] == [(done, total) for done in range(total + 1)]
    assert told[-1][2] == ""
    assert {"conv_forward float32", "max_pool_backward float32", "relu_grad float32"} <= {s[2] for s in told}


def test_integers_concern_pooling_alone():
    told = []
    warmup.compile_kernels([nbtorch.int64, nbtorch.uint8], progress=lambda *step: told.append(step[2]))
    assert set(told) == {"max_pool_forward int64", "avg_pool_forward int64", ""}


def test_families_can_be_chosen():
    told = []
    warmup.compile_kernels(progress=lambda *step: told.append(step[2]), families=["softmax"])
    assert set(told) == {"softmax_forward float32", "softmax_backward float32", ""}
    with pytest.raises(ValueError, match="families must be among activation"):
        warmup.compile_kernels(families=["nonesuch"])


def test_the_second_time_compiles_nothing():
    warmup.compile_kernels()
    assert warmup.compile_kernels() == 0


@pytest.mark.slow
def test_afterwards_a_network_compiles_nothing(tmp_path):
    code = """
import nbtorch, nbtorch.nn as nn
from nbtorch import warmup
from nbtorch.kernels import jit
assert warmup.compile_kernels() > 0
before = jit.compilations()
for batch in (1, 64):
    net = nn.Sequential(nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5, stride=2), nn.ReLU())
    net(nbtorch.ones(batch, 1, 28, 28)).sum().backward()
    nn.Conv3d(2, 4, 3, padding=1, groups=2)(nbtorch.ones(batch, 2, 5, 5, 5)).sum().backward()
    head = nn.Linear(100, 10)
    update = nbtorch.optim.Adam(head.parameters())
    nn.functional.cross_entropy(head(nbtorch.ones(batch, 100)), nbtorch.ones(batch, dtype=nbtorch.int64)).backward()
    update.step()
assert jit.compilations() == before, "a kernel was compiled after the warm-up"
"""
    result = run("-c", code, NBTORCH_CACHE_DIR=str(tmp_path))
    assert result.returncode == 0, result.stderr
    again = code.replace("warmup.compile_kernels() > 0", "warmup.compile_kernels() == 0")
    result = run("-c", again, NBTORCH_CACHE_DIR=str(tmp_path))
    assert result.returncode == 0, f"the second process compiled: {result.stderr}"


class TestDisplay:
    def test_nothing_compiled_nothing_shown(self):
        stream = io.StringIO()
        with warmup.showing(stream) as progress:
            progress(0, 1, "conv")
        assert stream.getvalue() == ""

    def test_plain_lines_where_there_is_no_terminal(self):
        stream = io.StringIO()
        display = warmup._Display(stream)
        display.on_compile("_conv_forward", "start", 0.0)
        display.on_compile("_conv_forward", "end", 1.25)
        display.close()
        lines = stream.getvalue().splitlines()
        assert lines[0].startswith("nbtorch: compiling kernels (kept in ")
        assert lines[1] == "nbtorch: compiled conv forward in 1.2 s"
        assert lines[2].startswith("nbtorch: compiled 1 kernels in ")

    def test_a_line_that_moves_on_a_terminal(self):
        stream = Terminal()
        display = warmup._Display(stream)
        display.on_progress(1, 4, "conv")
        display.on_compile("_conv_forward", "start", 0.0)
        time.sleep(0.35)
        display.on_compile("_conv_forward", "end", 0.35)
        display.close()
        frames = [part for part in stream.getvalue().split("\r\x1b[K") if "conv forward" in part]
        assert len(set(frames)) >= 2
        assert "██████░" in frames[0]
        assert "1/4" in frames[0]
        assert stream.getvalue().endswith("s\n")

    def test_the_bar_of_rich(self):
        pytest.importorskip("rich")
        stream = Terminal()
        display = warmup._RichDisplay(stream)
        display.on_progress(1, 4, "conv")
        display.on_compile("_conv_forward", "start", 0.0)
        time.sleep(0.35)
        display.on_compile("_conv_forward", "end", 0.35)
        display.close()
        assert "1/4" in stream.getvalue()
        assert "conv forward" in stream.getvalue()

    def test_observation_ends_with_the_display(self):
        callbacks = list(jit._watcher.callbacks)
        with pytest.raises(ZeroDivisionError), warmup.showing(io.StringIO()):
            raise ZeroDivisionError
        assert jit._watcher.callbacks == callbacks


class TestCommand:
    def test_it_says_that_all_is_ready(self, capsys):
        warmup.compile_kernels()
        assert command.main(["warmup", "--device", "cpu"]) == 0
        assert "The kernels for float32 on cpu were ready" in capsys.readouterr().out

    def test_help_names_the_task(self):
        assert "warmup" in run("-m", "nbtorch", "--help").stdout

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["warmup", "--device", "tpu"], "nbtorch: .*'tpu'"),
            (["warmup", "--dtype", "int3"], "int3"),
            (["warmup", "--family", "x"], "nbtorch: .*conv"),
            (["warmup", "--arch", "sm_80"], "nbtorch: --arch needs --device cuda"),
            (["warmup", "--device", "cuda", "--arch", "8.0", "--family", "pad"], "nbtorch: (CUDA kernels|an arch)"),
            (["warmup", "--device", "cuda", "--arch", "sm_80", "--family", "x"], "nbtorch: .*among .*interpolate"),
            ([], "TASK"),
        ],
    )
    def test_a_wrong_argument_ends_with_code_2(self, arguments, message):
        result = run("-m", "nbtorch", *arguments)
        assert result.returncode == 2
        assert "Traceback" not in result.stderr
        assert re.search(message, result.stderr)

    def test_in_the_simulator(self):
        result = run("-m", "nbtorch", "warmup", NBTORCH_DEVICE="cuda", NUMBA_ENABLE_CUDASIM="1")
        assert result.returncode == 0, result.stderr
        assert "on cuda:0" in result.stdout
