"""The cross entropy of a linear map's outputs, at once and in chunks."""

import itertools

import pytest

import nbtorch
from nbtorch import nn
from nbtorch.nn import functional as F

from ..against_torch import assert_same


def loss_and_gradients(
    library, *, target, dtype="float64", shape=(6, 3), outputs=(5,), bias=False, chunks=None, **options
):
    if "weight" in options:
        options["weight"] = library.tensor(options["weight"], dtype=getattr(library, dtype))
    numbers = library.arange(200, dtype=library.float64).mul(0.7).sin().to(getattr(library, dtype))
    x = numbers[: shape[0] * shape[-1]].reshape(shape).requires_grad_()
    weight = (
        numbers[50 : 50 + outputs[0] * 3 * (outputs[1] if outputs[1:] else 1)].reshape(*outputs, 3).requires_grad_()
    )
    offsets = numbers[100 : 100 + weight.numel() // 3].reshape(outputs).requires_grad_() if bias else None
    if chunks is not None:
        options["options"] = library.nn.LinearCrossEntropyOptions(**chunks)
    target = library.tensor(target)
    if target.is_floating_point():
        target = target.to(x.dtype)
    loss = library.nn.functional.linear_cross_entropy(x, weight, target, linear_bias=offsets, **options)
    (loss * (library.arange(loss.numel(), dtype=loss.dtype).reshape(loss.shape) + 1)).sum().backward()
    gradients = [None if t is None else t.grad for t in (x, weight, offsets)]
    return loss, gradients


CLASSES = [0, 4, 2, 3, 1, 4]
WAYS = {
    "plain": {"target": CLASSES},
    "bias": {"target": CLASSES, "bias": True},
    "sum": {"target": CLASSES, "reduction": "sum", "weight": [1.0, 2, 0.5, 0, 3]},
    "none": {"target": CLASSES, "reduction": "none"},
    "ignored": {"target": CLASSES, "ignore_index": 4, "weight": [1.0, 2, 0.5, 0, 3]},
    "all ignored": {"target": [-100] * 6, "reduction": "sum"},
    "one row": {"target": 3, "shape": (3,), "bias": True},
    "one row, none": {"target": 3, "shape": (3,), "reduction": "none"},
}
CHUNKS = [
    None,
    {},
    {"batch_chunk_size": 4},
    {"batch_chunk_size": 9, "allow_retain_graph": True},
    {"acc_policy": "accurate"},
]


@pytest.mark.parametrize("chunks", CHUNKS, ids=str)
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_as_in_pytorch(way, chunks):
    assert_same(lambda library: loss_and_gradients(library, chunks=chunks, **way))


@pytest.mark.parametrize("chunks", CHUNKS, ids=str)
def test_bfloat16_is_rounded_once(chunks):
    exact, low = (loss_and_gradients(nbtorch, dtype=d, target=CLASSES, chunks=chunks) for d in ("float64", "bfloat16"))
    for a, b in zip([low[0], *low[1][:2]], [exact[0], *exact[1][:2]], strict=True):
        assert a.dtype is nbtorch.bfloat16
        assert (a.double() - b).norm() < 0.02 * b.norm()


PROBABILITIES = [[0.1, 0.2, 0.3, 0.2, 0.2]] * 6
OTHERS = {
    "probabilities": {"target": PROBABILITIES},
    "probabilities in chunks": {"target": PROBABILITIES, "chunks": {}},
    "smoothing": {"target": CLASSES, "label_smoothing": 0.2},
    "smoothing in chunks": {"target": CLASSES, "label_smoothing": 0.2, "chunks": {}},
    "more dimensions": {"target": [[0, 1]] * 6, "outputs": (5, 2), "bias": True},
    "more dimensions in chunks": {"target": [[0, 1]] * 6, "outputs": (5, 2), "chunks": {}},
    "ignored probabilities": {"target": PROBABILITIES, "ignore_index": 1},
    "class out of range": {"target": [0, 5, 2, 3, 1, 4]},
    "class out of range in chunks": {"target": [0, 5, 2, 3, 1, 4], "chunks": {}},
    "negative class in chunks": {"target": [0, -1, 2, 3, 1, 4], "chunks": {}},
    "too few classes": {"target": [0, 1], "chunks": {"batch_chunk_size": 3}},
    "wrong reduction": {"target": CLASSES, "reduction": "most", "chunks": {}},
    "wrong smoothing": {"target": CLASSES, "label_smoothing": 2.0},
    "short weight": {"target": CLASSES, "weight": [1.0, 2], "chunks": {}},
    "unbatched with more dimensions": {"target": [0, 1], "shape": (3,), "outputs": (5, 2)},
    "three dimensions": {"target": CLASSES, "shape": (2, 1, 3)},
    "sizes that disagree": {"target": CLASSES, "chunks": {"batch_chunk_size": 3, "chunking_method": "aspect_ratio"}},
    "another type of sums": {"target": CLASSES, "chunks": {"acc_dtype": nbtorch.float64}, "dtype": "float32"},
}


@pytest.mark.parametrize("way", OTHERS.values(), ids=OTHERS)
def test_other_targets_and_errors_as_in_pytorch(way):
    def program(library):
        chunks = way.get("chunks")
        if chunks and "acc_dtype" in chunks:
            chunks = {"acc_dtype": library.float64}
        return loss_and_gradients(library, **(way | {"chunks": chunks}))

    assert_same(program)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"acc_policy": "quick"},
        {"chunking_method": "halves"},
        {"chunking_method": "aspect_ratio:0"},
        {"chunking_method": "aspect_ratio:x"},
        {"chunking_method": "aspect_ratio:4"},
        {"chunking_method": None, "batch_chunk_size": 3},
        {"batch_chunk_size": 0},
        {"batch_chunk_size": 1.5},
    ],
    ids=str,
)
def test_options_as_in_pytorch(options):
    def program(library):
        made = library.nn.LinearCrossEntropyOptions(**options)
        return repr(made), made == library.nn.LinearCrossEntropyOptions(**options)

    assert_same(program)


def module(library):
    return library.nn.LinearCrossEntropyLoss(
        3, 4, out_features=(2,), bias=True, options=library.nn.LinearCrossEntropyOptions()
    )


@pytest.mark.parametrize(
    "program",
    [
        lambda t: (repr(module(t)), [(key, value.shape) for key, value in module(t).state_dict().items()]),
        lambda t: module(t)(t.ones(2, 3), t.zeros(2, 2, dtype=t.int64)).shape,
        lambda t: t.nn.LinearCrossEntropyLoss(3, 4, weight=t.ones(3)),
        lambda t: t.nn.LinearCrossEntropyLoss(3, 4, label_smoothing=1.5),
        lambda t: list(t.nn.LinearCrossEntropyLoss(3, 4, weight=t.ones(4)).state_dict()),
    ],
)
def test_the_module_as_in_pytorch(program):
    assert_same(program)


def test_every_size_of_chunk_gives_the_same():
    torch_free = {"target": CLASSES, "bias": True}
    whole = loss_and_gradients(nbtorch, **torch_free)
    for size, reduction in itertools.product(range(1, 8), ("mean", "none")):
        loss, gradients = loss_and_gradients(
            nbtorch, **torch_free, chunks={"batch_chunk_size": size}, reduction=reduction
        )
        if reduction == "none":
            assert nbtorch.allclose(loss.mean(), whole[0])
        else:
            assert nbtorch.allclose(loss, whole[0])
            assert all(nbtorch.allclose(a, b) for a, b in zip(gradients, whole[1], strict=True))


def test_backward_of_chunks_runs_once_unless_asked():
    x, weight, target = nbtorch.ones(4, 3, requires_grad=True), nbtorch.ones(5, 3), nbtorch.tensor([0, 1, 2, 3])
    loss = F.linear_cross_entropy(x, weight, target, options=nn.LinearCrossEntropyOptions())
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="called twice"):
        loss.backward()
    options = nn.LinearCrossEntropyOptions(allow_retain_graph=True)
    loss = F.linear_cross_entropy(x, weight, target, options=options)
    loss.backward(retain_graph=True)
    loss.backward()
