"""The gradients of convolutions as functions, and rarer products."""

import pytest

from ..against_torch import assert_same


def numbers(library, *shape, dtype="float64"):
    count = 1
    for extent in shape:
        count *= extent
    return library.arange(count, dtype=library.float64).mul(1.7).sin().to(getattr(library, dtype)).reshape(shape)


CONVOLUTIONS = {
    "1d": (1, (2, 4, 9), (6, 4, 3), {}),
    "1d groups": (1, (2, 4, 9), (6, 2, 3), {"groups": 2, "stride": 2}),
    "1d rest": (1, (2, 4, 10), (6, 2, 3), {"groups": 2, "stride": 2, "padding": (1,)}),
    "2d": (2, (1, 2, 6, 5), (3, 2, 3, 2), {"padding": 1, "dilation": (1, 2)}),
    "3d": (3, (1, 2, 4, 5, 3), (2, 1, 2, 3, 1), {"groups": 2, "stride": (1, 2, 1)}),
    "wrong channels": (1, (2, 5, 9), (6, 4, 3), {}),
    "wrong groups": (1, (2, 4, 9), (6, 4, 3), {"groups": 2}),
    "stride 0": (1, (2, 4, 9), (6, 4, 3), {"stride": 0}),
    "negative padding": (1, (2, 4, 9), (6, 4, 3), {"padding": -1}),
    "kernel too large": (1, (2, 4, 9), (6, 4, 12), {}),
    "unbatched": (1, (4, 9), (6, 4, 3), {}),
}


@pytest.mark.parametrize("case", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_gradients_of_convolutions_as_in_pytorch(case):
    rank, input_size, weight_size, options = case

    def program(library):
        module = library.nn.grad
        x = numbers(library, *input_size).requires_grad_()
        weight = numbers(library, *weight_size).requires_grad_()
        right = {"groups": 1} | options
        if len(input_size) == 2 or input_size[1] != weight_size[1] * right["groups"]:
            grad_output = numbers(library, 2, 6, 7)
        else:
            grad_output = getattr(library.nn.functional, f"conv{rank}d")(x, weight, **options).detach() * 0.5
        of_input = getattr(module, f"conv{rank}d_input")(input_size, weight, grad_output, **options)
        of_weight = getattr(module, f"conv{rank}d_weight")(x, weight_size, grad_output, **options)
        (of_input.sin().sum() + of_weight.cos().sum()).backward()
        return of_input, of_weight, x.grad, weight.grad

    assert_same(program)


@pytest.mark.parametrize("shape", [(2, 6, 6), (3, 6, 7), (2, 5, 7), (6, 7)], ids=str)
def test_a_gradient_of_another_shape_is_refused_as_in_pytorch(shape):
    assert_same(lambda t: t.nn.grad.conv1d_input((2, 4, 9), t.ones(6, 4, 3), t.ones(shape)))
    assert_same(lambda t: t.nn.grad.conv1d_weight(t.ones(2, 4, 9), (6, 4, 3), t.ones(shape)))


F_PROGRAMS = {
    "conv_tbc": lambda t: t.nn.functional.conv_tbc(numbers(t, 5, 2, 3), numbers(t, 3, 3, 4), numbers(t, 4), 1),
    "conv_tbc channels": lambda t: t.nn.functional.conv_tbc(t.ones(5, 2, 3), t.ones(3, 2, 4), t.ones(4)),
    "conv_tbc bias": lambda t: t.nn.functional.conv_tbc(t.ones(5, 2, 3), t.ones(3, 3, 4), t.ones(3)),
    "conv_tbc no bias": lambda t: t.nn.functional.conv_tbc(t.ones(5, 2, 3), t.ones(3, 3, 4)),
    "conv_tbc rank": lambda t: t.nn.functional.conv_tbc(t.ones(5, 3), t.ones(3, 3, 4), t.ones(4)),
    "conv_tbc too short": lambda t: t.nn.functional.conv_tbc(t.ones(1, 2, 3), t.ones(3, 3, 4), t.ones(4)),
    "conv_tbc types": lambda t: t.nn.functional.conv_tbc(t.ones(5, 2, 3).double(), t.ones(3, 3, 4), t.ones(4)),
    "native_channel_shuffle": lambda t: t.nn.functional.native_channel_shuffle(numbers(t, 1, 4, 2), 2),
    "pdist": lambda t: t.nn.functional.pdist(numbers(t, 4, 3), 3),
    "factory_kwargs": lambda t: sorted(t.nn.factory_kwargs({"device": "cpu", "factory_kwargs": {"dtype": 1}}).items()),
    "factory_kwargs none": lambda t: t.nn.factory_kwargs(None),
    "factory_kwargs twice": lambda t: t.nn.factory_kwargs({"device": "cpu", "factory_kwargs": {"device": 1}}),
    "factory_kwargs unknown": lambda t: t.nn.factory_kwargs({"size": 3}),
    "Container": lambda t: t.nn.Container(first=t.nn.ReLU(), second=t.nn.Linear(2, 3)),
    "NLLLoss2d": lambda t: t.nn.NLLLoss2d()(numbers(t, 2, 3, 4), t.ones(2, 4, dtype=t.int64)),
    "compile": lambda t: t.nn.ReLU().share_memory()(numbers(t, 3)),
    "memory format": lambda t: [
        p.is_contiguous(memory_format=t.channels_last)
        for p in t.nn.utils.convert_conv2d_weight_memory_format(
            t.nn.Sequential(t.nn.Conv2d(2, 3, 4), t.nn.ConvTranspose2d(3, 2, 3)), t.channels_last
        ).parameters()
        if p.ndim == 4
    ],
    "memory format 3d": lambda t: t.nn.utils.convert_conv3d_weight_memory_format(
        t.nn.Conv3d(2, 3, 4), t.channels_last_3d
    ).weight.stride(),
    "memory format of another rank": lambda t: t.nn.utils.convert_conv2d_weight_memory_format(
        t.nn.Conv2d(2, 3, 4), t.channels_last_3d
    ),
}


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("program", F_PROGRAMS.values(), ids=F_PROGRAMS)
def test_as_in_pytorch(program):
    assert_same(program)


def grouped(a, b, offsets=None, dtype="float32", **options):
    def program(library):
        offs = None if offsets is None else library.tensor(offsets, dtype=library.int32)
        first = numbers(library, *a, dtype=dtype).requires_grad_()
        second = numbers(library, *b, dtype=dtype).requires_grad_()
        if options:
            options["out_dtype"] = library.float64
        result = library.nn.functional.grouped_mm(first, second, offs=offs, **options)
        (result * result).sum().backward()
        return result, first.grad, second.grad

    return program


GROUPED = {
    "rows": grouped((16, 8), (2, 8, 16), [3, 16]),
    "batches": grouped((2, 16, 8), (2, 8, 16)),
    "inner": grouped((16, 8), (8, 16), [3, 8]),
    "columns": grouped((2, 16, 8), (8, 16), [3, 16]),
    "float64": grouped((16, 8), (2, 8, 16), [3, 16], "float64"),
    "no offsets": grouped((16, 8), (2, 8, 16)),
    "needless offsets": grouped((2, 16, 8), (2, 8, 16), [3, 8]),
    "groups": grouped((16, 8), (2, 8, 16), [3, 9, 16]),
    "inner extents": grouped((16, 8), (2, 16, 16), [3, 16]),
    "output type": grouped((16, 8), (2, 8, 16), [3, 16], out_dtype=True),
}


@pytest.mark.parametrize("program", GROUPED.values(), ids=GROUPED)
def test_grouped_products_as_in_pytorch(program):
    assert_same(program)


@pytest.mark.parametrize("attention", [None, (5, 5), (6, 5, 5)], ids=str)
@pytest.mark.parametrize("padding", [None, (2, 5)], ids=str)
def test_merged_masks_as_in_pytorch(attention, padding):
    def program(library):
        masks = [None if shape is None else numbers(library, *shape) for shape in (attention, padding)]
        return library.nn.MultiheadAttention(6, 3).merge_masks(*masks, library.zeros(2, 5, 6))

    assert_same(program)
