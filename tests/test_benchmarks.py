"""The benchmarks' own logic: groups, results that are kept, the command."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks import groups, report

ROOT = Path(__file__).parents[1]
needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs PyTorch")


def result(*rows, **changes):
    about = {"processor": "P", "simd": "avx2", "versions": {"torch": "2"}, "date": "2026-01-01"} | changes
    return report.Result("group", "cpu", 2, rows=list(rows), **about)


def row(case, ours, theirs, **more):
    return report.Row(case, {"ms": ours}, {"ms": theirs}, **more)


@pytest.mark.parametrize("name", groups.group_names())
def test_every_group_loads(name):
    group = groups.load(name)
    assert group.names
    assert len(set(group.names)) == len(group.names)
    assert set(group.flops) | set(group.bytes) <= set(group.cases)
    assert group.copy is None or group.copy in group.bytes


def test_the_groups_that_are_promised_are_there():
    promised = "conv conv_transpose pool pad activation norm optimizer step overhead startup memory"
    assert set(promised.split()) <= set(groups.group_names())


def test_mean_and_worst_cases():
    found = result(row("a", 1.0, 4.0), row("b", 2.0, 2.0), row("c", 4.0, 1.0))
    assert found.geometric_mean() == pytest.approx(1.0)
    assert [r.case for r in found.worst()] == ["c", "b", "a"]
    assert "c 0.25; b 1.00; a 4.00" in found.summary()


def test_a_table_has_speeds_where_they_mean_something():
    page = result(row("a", 1.0, 4.0, speed=100.0, unit="GFLOP/s", of_peak=0.5), row("b", 2.0, 2.0)).markdown()
    assert "| case | nbtorch ms | torch ms | torch / nbtorch | nbtorch's speed | of the peak |" in page
    assert "| a | 1 | 4 | 4.00 | 100.0 GFLOP/s | 50% |" in page
    assert "| b | 2 | 2 | 1.00 |  |  |" in page


def test_rows_of_other_cases_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    files = result(row("a", 1.0, 1.0), row("b", 1.0, 1.0), row("gone", 1.0, 1.0)).keep(True, True)
    assert [file.name for file in files] == ["group.json", "group.md"]
    joined = result(row("b", 1.0, 3.0)).joined_with_kept(["b", "a"])
    assert [(r.case, r.ratio) for r in joined.rows] == [("b", 3.0), ("a", 1.0)]
    other = result(row("b", 1.0, 3.0), processor="another").joined_with_kept(["b", "a"])
    assert [r.case for r in other.rows] == ["b"]


def test_an_unknown_group_ends_with_code_2(capsys):
    assert command.main(["nonesuch"]) == 2
    assert "conv_transpose" in capsys.readouterr().out


def test_cases_are_listed(capsys):
    assert command.main(["step", "--filter", "LeNet, batch 1,", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"step: LeNet, batch 1, {what}" for what in ("SGD", "Adam", "inference")]


@needs_torch
def test_a_case_is_timed_in_both_libraries():
    options = ["overhead", "--filter", "shapes", "--rounds", "1", "--budget", "0.01"]
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks", *options], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stderr
    assert "100 new tensors and their shapes" in run.stdout
    assert "Geometric mean" in run.stdout
