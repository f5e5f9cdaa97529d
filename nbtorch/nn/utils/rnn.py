"""Sequences of several lengths, padded and packed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from ...creation import as_tensor
from ...dtypes import float16, float32, float64, int8, int16, int32, int64, uint8
from ...ops.indexing import index_put
from ...ops.sorting import sort
from ...tensor import Tensor

__all__ = [
    "PackedSequence",
    "invert_permutation",
    "pack_padded_sequence",
    "pack_sequence",
    "pad_packed_sequence",
    "pad_sequence",
    "unpack_sequence",
    "unpad_sequence",
]


class _Packed(NamedTuple):
    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None
    unsorted_indices: Tensor | None


class PackedSequence(_Packed):
    """Sequences of several lengths, stored step by step: at each step the elements of those that are not over yet.

    Made by `pack_padded_sequence` and `pack_sequence`.

    Attributes:
        data: the elements, (sum of lengths, *).
        batch_sizes: how many sequences go on at each step, int64 on the CPU.
        sorted_indices: which sequence stands at which place, or None where their order was kept.
        unsorted_indices: at which place which sequence stands.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.rnn.PackedSequence.html
    """

    __slots__ = ()

    def __new__(
        cls,
        data: Any,
        batch_sizes: Tensor | None = None,
        sorted_indices: Tensor | None = None,
        unsorted_indices: Tensor | None = None,
    ) -> PackedSequence:
        """Make one of its parts; `unsorted_indices` follows from `sorted_indices`."""
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        if batch_sizes is None:
            if not (isinstance(data, (list, tuple)) and len(data) == 2):
                raise AssertionError("Expected data to be a list or tuple of length 2")
            data, batch_sizes = data
        elif batch_sizes.device.type != "cpu":
            raise ValueError(
                "batch_sizes should always be on CPU. Instances of PackedSequence should be made by pack_sequence and"
                " pack_padded_sequence"
            )
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """Move or convert the data as `Tensor.to` does; the indices follow to its device."""
        data = self.data.to(*args, **kwargs)
        if data is self.data:
            return self
        indices = [
            None if index is None else index.to(data.device) for index in (self.sorted_indices, self.unsorted_indices)
        ]
        return PackedSequence(data, self.batch_sizes, *indices)

    def cuda(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """Move to a CUDA device, the current one or that which the arguments of `to` name."""
        return self.to(*args, **kwargs) if args or "device" in kwargs else self.to("cuda", **kwargs)

    def cpu(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """Move to the CPU; arguments are those of `to`."""
        return self.to(*args, **{"device": "cpu"} | kwargs)

    def pin_memory(self) -> PackedSequence:
        """Copy data and indices to page-locked memory."""
        return PackedSequence(*[None if part is None else part.pin_memory() for part in self])

    def is_pinned(self) -> bool:
        """Whether the data lies in page-locked memory."""
        return self.data.is_pinned()

    def double(self) -> PackedSequence:
        """Convert to float64."""
        return self.to(dtype=float64)

    def float(self) -> PackedSequence:
        """Convert to float32."""
        return self.to(dtype=float32)

    def half(self) -> PackedSequence:
        """Convert to float16."""
        return self.to(dtype=float16)

    def long(self) -> PackedSequence:
        """Convert to int64."""
        return self.to(dtype=int64)

    def int(self) -> PackedSequence:
        """Convert to int32."""
        return self.to(dtype=int32)

    def short(self) -> PackedSequence:
        """Convert to int16."""
        return self.to(dtype=int16)

    def char(self) -> PackedSequence:
        """Convert to int8."""
        return self.to(dtype=int8)

    def byte(self) -> PackedSequence:
        """Convert to uint8."""
        return self.to(dtype=uint8)

    @property
    def is_cuda(self) -> bool:
        """Whether the data lies on a CUDA device."""
        return self.data.is_cuda


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """Return the permutation that undoes another; None for None."""
    if permutation is None:
        return None
    array = permutation._xp.empty_like(permutation._array)
    array[permutation._array] = permutation._xp.arange(permutation.numel())
    return permutation._wrap_like(array)


def _steps(batch_sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for each packed element the step and the place of its sequence."""
    times = np.repeat(np.arange(len(batch_sizes)), batch_sizes)
    places = np.arange(batch_sizes.sum()) - np.repeat(np.cumsum(batch_sizes) - batch_sizes, batch_sizes)
    return times, places


def _position(tensor: Tensor, batch_first: bool, steps: tuple[np.ndarray, np.ndarray]) -> tuple[Tensor, Tensor]:
    """Return the index into a padded tensor that reaches the packed elements in order."""
    times, places = [tensor._wrap_like(tensor._xp.asarray(index)) for index in steps]
    return (places, times) if batch_first else (times, places)


def pack_padded_sequence(
    input: Tensor, lengths: Tensor | Iterable[int], batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Pack padded sequences.

    Args:
        input: (T, B, *), with `batch_first` (B, T, *).
        lengths: B lengths, ints or an int64 tensor on the CPU.
        batch_first: where the batch is.
        enforce_sorted: the lengths fall; otherwise the sequences are sorted here.

    Raises:
        RuntimeError: lengths that do not fit, are not positive, or not sorted.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.rnn.pack_padded_sequence.html

    >>> import nbtorch
    >>> pack_padded_sequence(nbtorch.tensor([[1, 2], [3, 0]]), [2, 1], batch_first=True).data
    tensor([1, 3, 2])
    """
    counts = as_tensor(lengths, dtype=int64, device=None if isinstance(lengths, Tensor) else "cpu")
    sorted_indices = None
    if not enforce_sorted:
        counts, sorted_indices = sort(counts, descending=True)
        sorted_indices = sorted_indices.to(input.device)
        input = input.index_select(0 if batch_first else 1, sorted_indices)
    batch_sizes = _batch_sizes(input, counts, batch_first)
    data = input[_position(input, batch_first, _steps(batch_sizes))]
    return PackedSequence(data, Tensor._wrap(batch_sizes), sorted_indices, None)


def _batch_sizes(input: Tensor, lengths: Tensor, batch_first: bool) -> np.ndarray:
    """Check lengths and return how many sequences go on at each step."""
    if lengths.ndim != 1 or not lengths.is_cpu:
        raise RuntimeError(
            f"'lengths' argument should be a 1D CPU int64 tensor, but got {lengths.ndim}D {lengths.device} tensor"
        )
    if input.numel() == 0:
        raise RuntimeError("Cannot pack empty tensors.")
    batch, time = input.shape[0 if batch_first else 1], input.shape[1 if batch_first else 0]
    values = lengths._array
    if values.size != batch:
        raise RuntimeError(
            f"Expected `len(lengths)` to be equal to batch_size, but got {values.size} (batch_size={batch})"
        )
    if (np.diff(values) > 0).any():
        raise RuntimeError(
            "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. Pass"
            f" `enforce_sorted=False` to have them sorted, got {values.tolist()}"
        )
    if values[-1] <= 0:
        raise RuntimeError(
            f"Length of all samples has to be greater than 0, but found an element in 'lengths' that is {values[-1]}"
        )
    if values[0] > time:
        raise RuntimeError(f"pack_padded_sequence: lengths must be at most {time}, the input's, but found {values[0]}")
    return (values[:, None] > np.arange(values[0])).sum(0)


def pad_packed_sequence(
    sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0, total_length: int | None = None
) -> tuple[Tensor, Tensor]:
    """Undo `pack_padded_sequence`.

    Args:
        sequence: the packed sequences.
        batch_first: whether the result is (B, T, *) instead of (T, B, *).
        padding_value: what follows the ends of sequences.
        total_length: T, at least the largest length (default: that).

    Returns:
        The padded sequences and their lengths, int64.

    Raises:
        ValueError: `total_length` is too small.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.rnn.pad_packed_sequence.html
    """
    longest = sequence.batch_sizes.size(0)
    if total_length is not None:
        if total_length < longest:
            raise ValueError(
                "Expected total_length to be at least the length of the longest sequence in input, but got"
                f" total_length={total_length} and max sequence length being {longest}"
            )
        longest = total_length
    data, batch_sizes = sequence.data, sequence.batch_sizes._array
    batch = int(batch_sizes[0])
    shape = (batch, longest) if batch_first else (longest, batch)
    empty = Tensor._filled((*shape, *data.shape[1:]), padding_value, data.dtype, data.device)
    padded = index_put(empty, _position(data, batch_first, _steps(batch_sizes)), data)
    lengths = Tensor._wrap((batch_sizes[:, None] > np.arange(batch)).sum(0))
    if sequence.unsorted_indices is not None:
        padded = padded.index_select(0 if batch_first else 1, sequence.unsorted_indices)
        lengths = lengths[sequence.unsorted_indices.cpu()]
    return padded, lengths


def pad_sequence(
    sequences: Any, batch_first: bool = False, padding_value: float = 0.0, padding_side: str = "right"
) -> Tensor:
    """Stack sequences of several lengths, the shorter ones padded.

    Args:
        sequences: tensors (L, *), alike but for L.
        batch_first: whether the result is (B, T, *) instead of (T, B, *).
        padding_value: what the gaps are filled with.
        padding_side: `"right"` or `"left"`.

    Raises:
        RuntimeError: no sequences, shapes that do not fit, or another side.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.rnn.pad_sequence.html

    >>> import nbtorch
    >>> pad_sequence([nbtorch.ones(2), nbtorch.ones(3)], batch_first=True)
    tensor([[1., 1., 0.],
            [1., 1., 1.]])
    """
    if not isinstance(sequences, Iterable):
        raise RuntimeError(
            f"pad_sequence: Expected iterable for input sequences, but got arg of type: {type(sequences)}"
        )
    members = list(sequences)
    if not members:
        raise RuntimeError("received an empty list of sequences")
    if padding_side not in ("left", "right"):
        raise RuntimeError(f"Expected padding_side to be one of left or right, but got {padding_side}.")
    trailing = members[0].shape[1:]
    for number, member in enumerate(members):
        if member.ndim == 0 or member.shape[1:] != trailing:
            raise RuntimeError(
                f"pad_sequence: expected sequence {number} to have shape (L, *{tuple(trailing)}),"
                f" got {tuple(member.shape)}"
            )
    longest = max(member.shape[0] for member in members)
    shape = (len(members), longest) if batch_first else (longest, len(members))
    padded = Tensor._filled((*shape, *trailing), padding_value, members[0].dtype, members[0].device)
    for number, member in enumerate(members):
        length = member.shape[0]
        steps = slice(0, length) if padding_side == "right" else slice(longest - length, longest)
        padded[(number, steps) if batch_first else (steps, number)] = member
    return padded


def unpad_sequence(padded_sequences: Tensor, lengths: Tensor, batch_first: bool = False) -> list[Tensor]:
    """Cut padded sequences to their lengths.

    Args:
        padded_sequences: (T, B, *), with `batch_first` (B, T, *).
        lengths: B lengths.
        batch_first: where the batch is.
    """
    rows = padded_sequences if batch_first else padded_sequences.transpose(0, 1)
    return [row[: max(int(length), 0)] for row, length in zip(rows, lengths, strict=True)]


def pack_sequence(sequences: list[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Pack sequences of several lengths, tensors (L, *); see `pack_padded_sequence`."""
    lengths = as_tensor([sequence.size(0) for sequence in sequences])
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """Return packed sequences as tensors of their lengths."""
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)
