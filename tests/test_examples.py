"""The examples do what they promise: accuracy, the same numbers for a seed, exact continuation, clear errors."""

import gzip
import os
import re
import struct
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"

pytestmark = pytest.mark.skipif(
    any(find_spec(package) is None for package in ("mlxtend", "matplotlib", "rich")),
    reason="needs the packages of the extra examples",
)


def run(program: str, *arguments: object, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(EXAMPLES / program), *map(str, arguments)],
        cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, timeout=550,
    )  # fmt: skip


def train(*arguments: object, folder: Path, **environment: str) -> list[str]:
    """Run the training and return its lines on epochs without their times."""
    result = run("train_mnist.py", *arguments, folder=folder, **environment)
    assert result.returncode == 0, result.stderr
    return [re.sub(r"\s+\S+ s$", "", line) for line in result.stdout.splitlines() if line.startswith("epoch")]


def losses(lines: list[str]) -> list[float]:
    return [float(number) for line in lines for number in re.findall(r"loss (\S+)", line)]


@pytest.mark.slow
def test_the_defaults_recognise_97_percent(tmp_path):
    result = run("train_mnist.py", folder=tmp_path)
    assert result.returncode == 0, result.stderr
    match = re.search(r"([\d.]+)% of the held-out images are recognised", result.stdout)
    assert match
    assert float(match[1]) >= 97
    assert "1000 held out" in result.stdout
    report = (tmp_path / "runs" / "mnist" / "report.png").read_bytes()
    assert report.startswith(b"\x89PNG")
    assert len(report) > 10_000


def test_the_same_seed_gives_the_same_numbers_and_a_resumed_run_continues_exactly(tmp_path):
    options = ("--limit", 80, "--seed", 3)
    whole = train(*options, "--epochs", 3, "--output", "whole", folder=tmp_path)
    part = train(*options, "--epochs", 1, "--output", "part", folder=tmp_path)
    rest = train("--resume", "part/checkpoint.pt", "--epochs", 3, "--output", "rest", folder=tmp_path)
    assert len(whole) == 3
    assert part[0].replace("/1", "/3") == whole[0]
    assert rest == whole[1:]
    other = train("--limit", 80, "--seed", 4, "--epochs", 1, folder=tmp_path)
    assert losses(other) != losses(part)


@pytest.mark.slow
def test_the_simulated_gpu_gives_the_same_losses(tmp_path):
    options = ("--limit", 2, "--epochs", 1)
    on_cpu = train(*options, folder=tmp_path)
    simulated = train(*options, folder=tmp_path, NBTORCH_DEVICE="cuda", NUMBA_ENABLE_CUDASIM="1")
    assert losses(simulated) == pytest.approx(losses(on_cpu), rel=1e-5)


class TestErrors:
    @pytest.mark.parametrize(
        ("arguments", "environment", "message"),
        [
            ((), {"NBTORCH_DEVICE": "tpu"}, "NBTORCH_DEVICE must be one of cpu, cuda, got 'tpu'"),
            (("--device", "gpu"), {}, "expected one of cpu, cuda, got 'gpu'"),
            (("--data", "nowhere"), {}, "--data: nowhere is not a folder"),
            (("--data", "."), {}, "has no file train-images-idx3-ubyte"),
            (("--resume", "nowhere.pt"), {}, "nowhere.pt"),
            (("--resume", "text.pt"), {}, "text.pt is not a zip archive"),
            (("--output", "text.pt"), {}, "--output: cannot write to text.pt"),
            (("--limit", "0"), {}, "must be at least 1, got 0"),
            (("--lr", "-1"), {}, "must be a positive number, got -1"),
        ],
    )
    def test_one_sentence_and_code_2(self, arguments, environment, message, tmp_path):
        (tmp_path / "text.pt").write_text("hello")
        result = run("train_mnist.py", *arguments, folder=tmp_path, **environment)
        assert result.returncode == 2
        assert message in result.stderr
        assert "Traceback" not in result.stderr

    def test_no_gpu(self, tmp_path):
        result = run("train_mnist.py", folder=tmp_path, NBTORCH_DEVICE="cuda", NUMBA_ENABLE_CUDASIM="0",
                     CUDA_VISIBLE_DEVICES="")  # fmt: skip
        assert result.returncode == 2
        assert result.stderr.startswith("train_mnist: device 'cuda' cannot be used: ")
        assert len(result.stderr.splitlines()) == 1


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.fixture
def digits(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return __import__("digits")


@pytest.fixture
def folder(tmp_path):
    """Four files in MNIST's format: 20 images to train on, plain, and 10 to test with, compressed."""
    generator = np.random.default_rng(0)
    for part, count in (("train", 20), ("t10k", 10)):
        images = generator.integers(0, 256, (count, 28, 28), np.uint8)
        labels = np.arange(count, dtype=np.uint8) % 10
        for name, array in (("images-idx3-ubyte", images), ("labels-idx1-ubyte", labels)):
            plain = part == "train"
            path = tmp_path / f"{part}-{name}{'' if plain else '.gz'}"
            path.write_bytes(idx(array) if plain else gzip.compress(idx(array), mtime=0))
    return tmp_path


class TestDigits:
    def test_the_bundled_ones(self, digits):
        train_part, test_part = digits.bundled_digits(0)
        assert train_part.images.shape == (4000, 28, 28)
        assert np.bincount(test_part.labels).tolist() == [100] * 10
        assert len({image.tobytes() for part in (train_part, test_part) for image in part.images}) == 5000
        again = digits.bundled_digits(0)[1]
        other = digits.bundled_digits(1)[1]
        assert (again.images == test_part.images).all()
        assert not (other.images == test_part.images).all()
        assert len(np.unique(test_part.labels[:20])) > 5  # shuffled, not one class after the other

    def test_idx_files(self, digits, folder):
        train_part, test_part = digits.idx_digits(folder)
        assert train_part.images.shape == (20, 28, 28)
        assert test_part.labels.tolist() == list(range(10))

    def test_training_on_idx_files(self, folder):
        assert len(train("--data", ".", "--epochs", 1, folder=folder)) == 1

    def test_names_with_a_dot(self, digits, folder):
        (folder / "train-images-idx3-ubyte").rename(folder / "train-images.idx3-ubyte")
        assert len(digits.idx_digits(folder)[0].labels) == 20

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("train-images-idx3-ubyte", b"", "is not an IDX file .* begins with nothing"),
            ("train-images-idx3-ubyte", b"\x00\x00\x0d\x03", "begins with 00 00 0d 03"),
            ("train-images-idx3-ubyte", b"\x00\x00\x08\x03\x00", "is truncated: its header needs 16 bytes"),
            ("train-images-idx3-ubyte", idx(np.zeros((20, 28, 28), np.uint8))[:-1], "announces 20 x 28 x 28 bytes"),
            ("train-images-idx3-ubyte", idx(np.zeros((20, 8, 8), np.uint8)), "must be 28 x 28, got 8 x 8"),
            ("train-images-idx3-ubyte", idx(np.zeros((19, 28, 28), np.uint8)), "19 train images and 20 labels"),
            ("train-images-idx3-ubyte", idx(np.zeros(20, np.uint8)), "are they exchanged"),
            ("train-labels-idx1-ubyte", idx(np.full(20, 10, np.uint8)), "must be from 0 to 9, got 10"),
            ("t10k-images-idx3-ubyte.gz", b"no gzip", "cannot be read"),
            ("t10k-images-idx3-ubyte.gz", gzip.compress(b"x" * 1000, mtime=0)[:-20], "cannot be read"),
        ],
    )
    def test_damaged_files(self, name, content, message, digits, folder):
        (folder / name).write_bytes(content)
        with pytest.raises(digits.DataError, match=message):
            digits.idx_digits(folder)


class TestFirstPrograms:
    def test_it_prints_what_pytorch_prints(self, tmp_path):
        result = run("lenet.py", folder=tmp_path)
        assert result.returncode == 0, result.stderr
        assert result.stdout.startswith(
            "tensor([[4.5000, 4.5000],\n        [4.5000, 4.5000]])\nNet(\n  (conv1): Conv2d(1,"
        )
        loss = re.fullmatch(r"tensor\((\S+), grad_fn=<MseLossBackward0>\)", result.stdout.splitlines()[-1])
        assert loss
        assert float(loss[1]) < 0.1

    @pytest.mark.slow
    @pytest.mark.torch
    @pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed")
    def test_only_the_imports_differ(self, tmp_path):
        text = (EXAMPLES / "lenet.py").read_text().replace("nbtorch as torch", "torch").replace("nbtorch", "torch")
        (tmp_path / "theirs.py").write_text(text)
        theirs = subprocess.run(
            [sys.executable, "theirs.py"], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=300
        )
        ours = run("lenet.py", folder=tmp_path)
        assert ours.stdout.splitlines()[:-1] == theirs.stdout.splitlines()[:-1]
