"""Padded and packed sequences, as in PyTorch."""

import pytest

from ...against_torch import assert_same

torch = pytest.importorskip("torch")


def padded(library, time=4, batch=3, *trailing, batch_first=False, dtype="float32"):
    shape = (batch, time, *trailing) if batch_first else (time, batch, *trailing)
    size = time * batch
    for extent in trailing:
        size *= extent
    values = library.arange(size).reshape(shape).to(getattr(library, dtype))
    return values.requires_grad_() if dtype.startswith("float") else values


def gradient(tensor, result):
    """Return the gradient of a result's weighted sum."""
    if not tensor.requires_grad:
        return None
    weights = (result.detach() * 0.1 + 1) ** 2
    (result * weights).sum().backward()
    return tensor.grad


LENGTHS = {"full": [4, 4, 4], "falling": [4, 2, 1], "short": [3, 1, 1], "unsorted": [1, 4, 2], "equal": [2, 2, 2]}


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("trailing", [(), (2,), (2, 3)])
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_packing_and_padding(lengths, trailing, batch_first):
    def program(library):
        x = padded(library, 4, 3, *trailing, batch_first=batch_first)
        rnn = library.nn.utils.rnn
        packed = rnn.pack_padded_sequence(x, lengths, batch_first, enforce_sorted=sorted(lengths)[::-1] == lengths)
        back, counts = rnn.pad_packed_sequence(packed, batch_first, padding_value=-1.0, total_length=5)
        again = rnn.pad_packed_sequence(packed, not batch_first)[0]
        unpacked = rnn.unpack_sequence(packed)
        return list(packed), back, counts, again, unpacked, gradient(x, packed.data), type(packed).__name__

    assert_same(program)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("trailing", [(), (2,)])
def test_pad_sequence(trailing, batch_first, side):
    def program(library):
        parts = [library.ones(n, *trailing, requires_grad=True) * (n + 1) for n in (2, 4, 1, 0)]
        padded = library.nn.utils.rnn.pad_sequence(parts, batch_first, 0.5, side)
        unpadded = library.nn.utils.rnn.unpad_sequence(
            padded.detach().clone(), library.tensor([2, 3, 1, 0]), batch_first
        )
        first = library.ones(3, requires_grad=True)
        summed = library.nn.utils.rnn.pad_sequence([first * 2, library.ones(5)])
        return padded, unpadded, gradient(first, summed)

    assert_same(program)


def rnn(name, *arguments, **options):
    def program(library):
        given = [argument(library) if callable(argument) else argument for argument in arguments]
        result = getattr(library.nn.utils.rnn, name)(*given, **options)
        return list(result) if isinstance(result, tuple) else result

    return program


def packed(library, **options):
    return library.nn.utils.rnn.pack_padded_sequence(padded(library), [4, 2, 1], **options)


def converted(library):
    p = packed(library)
    kinds = ("double", "float", "half", "long", "int", "short", "char", "byte", "cpu")
    return [(kind, getattr(p, kind)().data) for kind in kinds], p.cpu() is p, p.to(library.float64).data, p.is_cuda


PROGRAMS = {
    "not sorted": rnn("pack_padded_sequence", padded, [1, 4, 2]),
    "zero length": rnn("pack_padded_sequence", padded, [4, 2, 0]),
    "negative length": rnn("pack_padded_sequence", padded, [4, 2, -1]),
    "too few": rnn("pack_padded_sequence", padded, [4, 2]),
    "lengths rank": rnn("pack_padded_sequence", padded, lambda t: t.tensor([[4, 2, 1]])),
    "lengths float": rnn("pack_padded_sequence", padded, lambda t: t.tensor([4.0, 2.0, 1.0])),
    "lengths int32": rnn("pack_padded_sequence", padded, lambda t: t.tensor([4, 2, 1]).int()),
    "empty": rnn("pack_padded_sequence", lambda t: t.ones(0, 3), [1, 1, 1]),
    "integers": rnn("pack_padded_sequence", lambda t: padded(t, dtype="int64"), [4, 2, 1]),
    "total_length": rnn("pad_packed_sequence", packed, total_length=2),
    "pack_sequence": rnn("pack_sequence", lambda t: [t.ones(3, 2), t.ones(2, 2) * 2, t.ones(1, 2) * 3]),
    "pack_sequence unsorted": rnn("pack_sequence", lambda t: [t.ones(1), t.ones(3) * 2], enforce_sorted=False),
    "pack_sequence not sorted": rnn("pack_sequence", lambda t: [t.ones(1), t.ones(3) * 2]),
    "no sequences": rnn("pad_sequence", []),
    "no iterable": rnn("pad_sequence", 3),
    "tensor": rnn("pad_sequence", lambda t: t.ones(2, 3)),
    "side": rnn("pad_sequence", lambda t: [t.ones(2)], padding_side="middle"),
    "trailing": rnn("pad_sequence", lambda t: [t.ones(2, 3), t.ones(2, 2)]),
    "integer sequences": rnn("pad_sequence", lambda t: [t.tensor([1, 2]), t.tensor([3])], padding_value=-1),
    "invert": rnn("invert_permutation", lambda t: t.tensor([2, 0, 1])),
    "invert None": rnn("invert_permutation", None),
    "made by hand": lambda t: list(t.nn.utils.rnn.PackedSequence(t.ones(3), t.tensor([2, 1]), t.tensor([1, 0]))),
    "made of a pair": lambda t: list(t.nn.utils.rnn.PackedSequence((t.ones(3), t.tensor([2, 1])))),
    "made of one": lambda t: t.nn.utils.rnn.PackedSequence(t.ones(3)),
    "conversions": converted,
}


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_as_in_pytorch(program):
    assert_same(program)


def test_packed_sequences_pickle_and_copy():
    import copy
    import pickle

    import nbtorch

    original = packed(nbtorch, enforce_sorted=False)
    for twin in (
        copy.deepcopy(original._replace(data=original.data.detach())),
        pickle.loads(pickle.dumps(packed(nbtorch)._replace(data=original.data.detach()))),
    ):
        assert type(twin) is type(original) and twin.data.tolist() == original.data.tolist()
