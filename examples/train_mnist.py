"""Train a LeNet on handwritten digits, on the CPU or on a GPU.

    python examples/train_mnist.py
    python examples/train_mnist.py --data /usr/share/datasets/fashion-mnist --epochs 5
    NBTORCH_DEVICE=cuda python examples/train_mnist.py

After every epoch the state is kept in a checkpoint, so that a run can be continued as if it had never stopped:

    python examples/train_mnist.py --epochs 12 --resume runs/mnist/checkpoint.pt
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import math
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import digits
import numpy as np

import nbtorch as torch
import nbtorch.nn as nn
import nbtorch.nn.functional as F
import nbtorch.optim as optim
from nbtorch import warmup
from nbtorch.device import simulating

DEFAULTS = {"epochs": 15, "batch_size": 32, "lr": 0.03, "seed": 0, "limit": None, "data": None}
"""What is not given on the command line comes from the checkpoint that is resumed, else from here."""

MOMENTUM = 0.9
DECAY = 0.85  # of the learning rate, per epoch: it does not depend on the number of epochs, so runs can be prolonged
SHIFT = 2  # how many pixels a training image may be moved by
MEAN, DEVIATION = 0.1307, 0.3081  # of MNIST's pixels, scaled to [0, 1]
EVALUATION_BATCH = 250


class LeNet(nn.Module):
    """Two convolutions and three linear layers, after LeCun et al., Gradient-Based Learning Applied to Document
    Recognition (1998), with rectifiers and max pooling; (N, 1, 28, 28) to scores (N, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 5, padding=2)
        self.conv2 = nn.Conv2d(8, 24, 5)
        self.fc1 = nn.Linear(24 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = x.flatten(1)
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return self.fc3(x)


class UsageError(Exception):
    """Something that the user can put right, in a sentence."""


def to_input(images: np.ndarray, device: torch.device) -> torch.Tensor:
    """Return images (N, 28, 28) of bytes as the network's input (N, 1, 28, 28)."""
    scaled = (images[:, None].astype(np.float32) / 255 - MEAN) / DEVIATION
    return torch.from_numpy(scaled.astype(np.float32)).to(device)


def shifted(images: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return every image moved by up to `SHIFT` pixels in both directions."""
    padded = np.pad(images, ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, images.shape[1:], axis=(1, 2))
    down, right = generator.integers(0, 2 * SHIFT + 1, (2, len(images)))
    return windows[np.arange(len(images)), down, right]


def batches(
    data: digits.Digits, size: int, seed: int, epoch: int, device: torch.device
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield the training images of an epoch, shuffled and shifted; seed and epoch alone decide how."""
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(len(data.labels))
    for start in range(0, len(order), size):
        chosen = order[start : start + size]
        inputs = to_input(shifted(data.images[chosen], generator), device)
        yield inputs, torch.from_numpy(data.labels[chosen]).to(device)


def train_step(
    model: nn.Module, optimizer: optim.Optimizer, inputs: torch.Tensor, labels: torch.Tensor
) -> tuple[float, torch.Tensor]:
    """Change the model by one step and return the loss and the scores before it."""
    optimizer.zero_grad()
    scores = model(inputs)
    loss = F.cross_entropy(scores, labels)
    loss.backward()
    optimizer.step()
    return loss.item(), scores.detach()


def train_epoch(model: nn.Module, optimizer: optim.Optimizer, data: Any, count: int, bar: Any) -> tuple[float, float]:
    """Train on all batches and return mean loss and accuracy while training."""
    model.train()
    total_loss, right, seen = 0.0, 0, 0
    for inputs, labels in data:
        loss, scores = train_step(model, optimizer, inputs, labels)
        if not math.isfinite(loss):
            raise UsageError(f"the loss became {loss} after {seen} images: try a smaller learning rate with --lr")
        seen += len(labels)
        total_loss += loss * len(labels)
        right += int((scores.argmax(1) == labels).sum().item())
        bar(seen, count, total_loss / seen)
    return total_loss / seen, right / seen


def evaluate(model: nn.Module, data: digits.Digits, device: torch.device) -> tuple[float, float, np.ndarray]:
    """Return mean loss, accuracy and the scores (N, 10) on images that were not trained on."""
    model.eval()
    scores = []
    with torch.no_grad():
        for start in range(0, len(data.labels), EVALUATION_BATCH):
            images = data.images[start : start + EVALUATION_BATCH]
            scores.append(model(to_input(images, device)).cpu())
    all_scores, labels = torch.cat(scores), torch.from_numpy(data.labels)
    loss = F.cross_entropy(all_scores, labels).item()
    right = int((all_scores.argmax(1) == labels).sum().item())
    return loss, right / len(labels), all_scores.numpy()


def compile_kernels(batch_sizes: set[int], evaluation_sizes: set[int], device: torch.device) -> None:
    """Run the network once on blank images of the sizes to come, with a display as long as kernels compile."""
    if device.type == "cuda" and simulating():  # nothing is compiled there
        return
    with warmup.showing():
        model = LeNet().to(device)
        optimizer = make_optimizer(model, 0.0)
        for size in batch_sizes:
            train_step(
                model, optimizer, torch.zeros(size, 1, 28, 28, device=device), torch.zeros(size, device=device).long()
            )
        with torch.no_grad():
            for size in evaluation_sizes:
                model(torch.zeros(size, 1, 28, 28, device=device))


def sizes_of_batches(count: int, size: int) -> set[int]:
    """Return the different sizes that occur when `count` images are cut into batches."""
    return {min(size, count), count % size or size}


def make_optimizer(model: nn.Module, lr: float) -> optim.Optimizer:
    return optim.SGD(model.parameters(), lr=lr, momentum=MOMENTUM, nesterov=lr > 0)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Return the options that were given; those that were not are None."""

    def whole_number(text: str) -> int:
        value = int(text)
        if value < 1:
            raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
        return value

    def number(text: str) -> float:
        value = float(text)
        if not 0 < value < math.inf:
            raise argparse.ArgumentTypeError(f"must be a positive number, got {text}")
        return value

    def seed(text: str) -> int:
        value = int(text)
        if not 0 <= value < 1 << 63:
            raise argparse.ArgumentTypeError(f"must be at least 0 and below 2**63, got {value}")
        return value

    parser = argparse.ArgumentParser(description="Train a LeNet on handwritten digits.")
    parser.add_argument(
        "--epochs", type=whole_number, help=f"passes over the images, in all (default: {DEFAULTS['epochs']})"
    )
    parser.add_argument("--batch-size", type=whole_number, help=f"images per step (default: {DEFAULTS['batch_size']})")
    parser.add_argument("--lr", type=number, help=f"learning rate of the first epoch (default: {DEFAULTS['lr']})")
    parser.add_argument("--device", help="cpu or cuda (default: NBTORCH_DEVICE, else cpu)")
    parser.add_argument("--seed", type=seed, help=f"the same seed gives the same numbers (default: {DEFAULTS['seed']})")
    parser.add_argument("--limit", type=whole_number, help="train and test on so many images only")
    parser.add_argument("--resume", type=Path, metavar="FILE", help="go on from this checkpoint")
    parser.add_argument("--output", type=Path, default=Path("runs/mnist"), metavar="DIR", help="default: runs/mnist")
    parser.add_argument(
        "--data", metavar="DIR", help="folder with the IDX files of MNIST or Fashion-MNIST, plain or .gz"
    )
    return parser.parse_args(arguments)


def read_checkpoint(path: Path | None) -> dict[str, Any]:
    """Return what a checkpoint holds, or the start of a new run."""
    if path is None:
        return {"epoch": 0, "history": [], "options": {}}
    try:
        checkpoint = torch.load(path, map_location="cpu")
    except Exception as error:  # whatever is wrong with the file, its path or its pickle: all have a clear message
        raise UsageError(f"--resume: {error}") from None
    if not isinstance(checkpoint, dict) or not {"model", "optimizer", "epoch", "history", "options"} <= set(checkpoint):
        raise UsageError(f"--resume: {path} is not a checkpoint of this program")
    return checkpoint


def require_packages() -> None:
    """Find out before the training, not after it, that the report cannot be drawn."""
    for package in ("rich", "matplotlib"):
        if importlib.util.find_spec(package) is None:
            raise UsageError(f"this example needs the package {package}: pip install 'nbtorch[examples]'")


def choose_device(name: str | None) -> torch.device:
    try:
        return torch.zeros(0, device=name).device
    except RuntimeError as error:
        raise UsageError(str(error)) from None


def prepare_output(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".writable").touch()
        (folder / ".writable").unlink()
    except OSError as error:
        raise UsageError(f"--output: cannot write to {folder}: {error.strerror or error}") from None


def read_data(options: dict[str, Any]) -> tuple[digits.Digits, digits.Digits]:
    try:
        folder = options["data"]
        train, test = digits.bundled_digits(options["seed"]) if folder is None else digits.idx_digits(Path(folder))
    except digits.DataError as error:
        raise UsageError(str(error)) from None
    return train.first(options["limit"]), test.first(options["limit"])


def run(arguments: list[str] | None) -> None:
    """Train, test, and write checkpoint and report."""
    given = parse(arguments)
    require_packages()
    device = choose_device(given.device)
    checkpoint = read_checkpoint(given.resume)
    chosen = {name: value for name, value in vars(given).items() if name in DEFAULTS and value is not None}
    options = {**DEFAULTS, **checkpoint["options"], **chosen}
    train, test = read_data(options)
    prepare_output(given.output)

    count, size = len(train.labels), options["batch_size"]
    print(f"{count} images to train on, {len(test.labels)} held out; {device}; seed {options['seed']}", flush=True)
    compile_kernels(sizes_of_batches(count, size), sizes_of_batches(len(test.labels), EVALUATION_BATCH), device)

    torch.manual_seed(options["seed"])
    model = LeNet().to(device)
    optimizer = make_optimizer(model, options["lr"])
    if given.resume is not None:
        try:
            model.load_state_dict(checkpoint["model"])
            optimizer.load_state_dict(checkpoint["optimizer"])
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            raise UsageError(f"--resume: {given.resume} does not fit this network: {error}") from None
    history, epochs = list(checkpoint["history"]), options["epochs"]
    started = checkpoint["epoch"]
    if started >= epochs:
        print(f"The checkpoint has seen {started} epochs already; ask for more with --epochs.")
    for epoch in range(started, epochs):
        optimizer.param_groups[0]["lr"] = options["lr"] * DECAY**epoch
        begin = time.perf_counter()
        with progress_bar(f"epoch {epoch + 1}/{epochs}") as bar:
            data = batches(train, size, options["seed"], epoch, device)
            loss, accuracy = train_epoch(model, optimizer, data, count, bar)
            test_loss, test_accuracy, scores = evaluate(model, test, device)
        history.append({"loss": loss, "accuracy": accuracy, "test_loss": test_loss, "test_accuracy": test_accuracy})
        print(
            f"epoch {epoch + 1:2}/{epochs}  loss {loss:.6f}  accuracy {accuracy:7.2%}"
            f"  held-out loss {test_loss:.6f}  accuracy {test_accuracy:7.2%}  {time.perf_counter() - begin:5.1f} s",
            flush=True,
        )
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch + 1}
        torch.save({**state, "history": history, "options": options}, given.output / "checkpoint.pt")
    if started >= epochs:
        scores = evaluate(model, test, device)[2]
    draw_report(given.output / "report.png", history, test, scores)
    print(f"{history[-1]['test_accuracy']:.2%} of the held-out images are recognised.")
    print(f"Written: {given.output / 'checkpoint.pt'}, {given.output / 'report.png'}")


@contextlib.contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int, float], None]]:
    """Yield a function of images seen, images in all and the loss, which moves a bar if there is a terminal."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn(title),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.4f}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    console = Console()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(title, total=None, loss=math.nan)
        yield lambda seen, count, loss: progress.update(task, completed=seen, total=count, loss=loss)


def draw_report(path: Path, history: list[dict[str, float]], test: digits.Digits, scores: np.ndarray) -> None:
    """Draw the loss of every epoch and the images that were not recognised, the most certain mistakes first."""
    from matplotlib.figure import Figure  # without pyplot: draws to the file, needs no screen

    figure = Figure(figsize=(12, 5.5), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1, 1))
    draw_curves(left.subplots(), history)
    draw_mistakes(right, test, scores)
    figure.savefig(path, dpi=110)


def draw_curves(axes: Any, history: list[dict[str, float]]) -> None:
    epochs = range(1, len(history) + 1)
    axes.plot(epochs, [h["loss"] for h in history], "o-", color="#1f6fb4", label="training (shifted images)")
    axes.plot(epochs, [h["test_loss"] for h in history], "s-", color="#d9622b", label="held out")
    axes.set(xlabel="epoch", ylabel="cross entropy", yscale="log")
    axes.set_title(f"Loss — {history[-1]['test_accuracy']:.2%} of the held-out images recognised")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(True, which="both", alpha=0.25)
    axes.legend(frameon=False)


def draw_mistakes(figure: Any, test: digits.Digits, scores: np.ndarray, rows: int = 4, columns: int = 6) -> None:
    predicted = scores.argmax(1)
    wrong = np.flatnonzero(predicted != test.labels)
    margin = scores[wrong, predicted[wrong]] - scores[wrong, test.labels[wrong]]
    wrong = wrong[np.argsort(-margin, kind="stable")]
    shown = min(len(wrong), rows * columns)
    which = "all" if shown == len(wrong) else f"the {shown} most certain"
    figure.suptitle(f"{len(wrong)} mistakes in {len(test.labels)} images" + (f" ({which})" if len(wrong) else ""))
    for place, axes in enumerate(figure.subplots(rows, columns).flat):
        axes.axis("off")
        if place < shown:
            index = wrong[place]
            axes.imshow(test.images[index], cmap="gray_r", vmin=0, vmax=255)
            axes.set_title(f"{predicted[index]}, not {test.labels[index]}", fontsize=10)


def main(arguments: list[str] | None = None) -> int:
    """Run the program; return the exit code."""
    try:
        run(arguments)
    except UsageError as error:
        print(f"train_mnist: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ntrain_mnist: interrupted; go on from the last complete epoch with --resume", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
