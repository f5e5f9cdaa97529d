"""A wrong input gets PyTorch's type of error, with a text that names what was expected and what was given."""

import numpy as np
import pytest

import nbtorch

from .against_torch import outcome


def image(t):
    return t.ones(1, 2, 5, 5)


def weight(t, *shape, **options):
    return t.ones(*(shape or (3, 2, 3, 3)), **options)


def F(t):
    return t.nn.functional


def recurrent(kind, shape=(3, 2, 4), states=None, size=(4, 5), **options):
    """Return a program that runs a recurrent layer on an input and first states of these shapes."""

    def program(t):
        first = None if states is None else tuple(t.ones(*s) for s in states)
        return getattr(t.nn, kind)(*size, **options)(t.ones(*shape), first if kind == "LSTM" or not first else first[0])

    return program


def cell(kind, shape=(2, 4), *states, **options):
    """Return a program that runs a cell on an input and states of these shapes."""

    def program(t):
        first = tuple(t.ones(*s) for s in states or [(2, 5)] * 2)
        return getattr(t.nn, kind)(4, 5, **options)(t.ones(*shape), first if kind == "LSTMCell" else first[0])

    return program


def packed(*lengths):
    return lambda t: t.nn.utils.rnn.pack_padded_sequence(t.ones(3, 2, 4), list(lengths))


ROWS = {
    "conv2d rank": (lambda t: F(t).conv2d(t.ones(5, 5), weight(t)), r"Expected 3D \(unbatched\) or 4D .* conv2d.*5, 5"),
    "conv2d rank 5": (lambda t: F(t).conv2d(t.ones(1, 1, 2, 5, 5), weight(t)), "conv2d"),
    "conv2d weight rank": (lambda t: F(t).conv2d(image(t), t.ones(3, 2, 3)), "weight"),
    "conv2d channels": (lambda t: F(t).conv2d(t.ones(1, 3, 5, 5), weight(t)), "to have 2 channels, but got 3 channels"),
    "conv2d groups": (lambda t: F(t).conv2d(t.ones(1, 4, 5, 5), weight(t), groups=2), "groups=2"),
    "conv2d groups 0": (lambda t: F(t).conv2d(image(t), weight(t), groups=0), "groups"),
    "conv2d dtype": (lambda t: F(t).conv2d(image(t), weight(t, dtype=t.float64)), "FloatTensor.*weight.*DoubleTensor"),
    "conv2d bias dtype": (lambda t: F(t).conv2d(image(t), weight(t), t.ones(3, dtype=t.float64)), "bias"),
    "conv2d bias shape": (lambda t: F(t).conv2d(image(t), weight(t), t.ones(4)), "bias.* 3 "),
    "conv2d large kernel": (lambda t: F(t).conv2d(image(t), weight(t, 3, 2, 7, 7)), r"kernel.*\(7, 7\).*\(5, 5\)"),
    "conv2d dilated kernel": (lambda t: F(t).conv2d(image(t), weight(t), dilation=3), r"\(7, 7\)"),
    "conv2d negative padding": (lambda t: F(t).conv2d(image(t), weight(t), padding=-1), "padding must not be negative"),
    "conv2d stride 0": (lambda t: F(t).conv2d(image(t), weight(t), stride=0), "stride must be positive, got"),
    "conv2d dilation 0": (lambda t: F(t).conv2d(image(t), weight(t), dilation=0), "dilation must be positive"),
    "conv2d stride length": (lambda t: F(t).conv2d(image(t), weight(t), stride=(1, 1, 1)), "stride.*2 ints"),
    "conv2d stride float": (lambda t: F(t).conv2d(image(t), weight(t), stride=1.5), "stride"),
    "conv2d same strided": (lambda t: F(t).conv2d(image(t), weight(t), stride=2, padding="same"), "strided"),
    "conv2d padding name": (lambda t: F(t).conv2d(image(t), weight(t), padding="full"), "full"),
    "conv2d no tensor": (lambda t: F(t).conv2d([1.0], weight(t)), "input.*Tensor, not list"),
    "conv1d rank": (lambda t: F(t).conv1d(image(t), t.ones(3, 2, 3)), "conv1d"),
    "conv3d kernel": (lambda t: F(t).conv3d(t.ones(1, 1, 2, 2, 2), t.ones(1, 1, 3, 1, 1)), "conv3d"),
    "conv_transpose2d channels": (lambda t: F(t).conv_transpose2d(t.ones(1, 2, 3, 3), weight(t)), "3 channels"),
    "conv_transpose2d output_padding": (
        lambda t: F(t).conv_transpose2d(t.ones(1, 3, 3, 3), weight(t), stride=2, output_padding=2),
        "output_padding must be smaller than either stride or dilation",
    ),
    "conv_transpose2d empty output": (
        lambda t: F(t).conv_transpose2d(t.ones(1, 3, 1, 1), weight(t), padding=2),
        "empty|too small",
    ),
    "max_pool2d rank": (lambda t: F(t).max_pool2d(t.ones(5, 5), 2), "max_pool2d"),
    "max_pool2d padding": (lambda t: F(t).max_pool2d(image(t), 2, padding=2), "padding must be at most half"),
    "max_pool2d kernel 0": (lambda t: F(t).max_pool2d(image(t), 0), "kernel_size must be positive, got"),
    "max_pool2d stride 0": (lambda t: F(t).max_pool2d(image(t), 2, stride=(0, 1)), "stride must be positive"),
    "max_pool2d large kernel": (lambda t: F(t).max_pool2d(image(t), 6), "empty"),
    "max_pool2d kernel length": (lambda t: F(t).max_pool2d(image(t), (2, 2, 2)), "kernel_size.*2 ints"),
    "max_pool2d empty": (lambda t: F(t).max_pool2d(t.ones(1, 0, 4, 4), 2), "positive length"),
    "avg_pool1d rank": (lambda t: F(t).avg_pool1d(t.ones(5), 2), "avg_pool1d"),
    "avg_pool2d rank": (lambda t: F(t).avg_pool2d(t.ones(5, 5), 2), "avg_pool2d"),
    "avg_pool3d rank": (lambda t: F(t).avg_pool3d(image(t)[0], 2), "avg_pool3d"),
    "avg_pool2d padding": (lambda t: F(t).avg_pool2d(image(t), 3, padding=2), "padding must be at most half"),
    "avg_pool2d divisor": (lambda t: F(t).avg_pool2d(image(t), 2, divisor_override=0), "divisor must be not zero"),
    "avg_pool2d divisor type": (lambda t: F(t).avg_pool2d(image(t), 2, divisor_override=1.5), "divisor_override"),
    "avg_pool2d ceil_mode": (lambda t: F(t).avg_pool2d(image(t), 2, ceil_mode=1), "ceil_mode.*bool, not int"),
    "avg_pool2d integers": (lambda t: F(t).avg_pool2d(image(t).int(), 2), "avg_pool2d.*Int"),
    "avg_pool3d large kernel": (lambda t: F(t).avg_pool3d(t.ones(1, 2, 3, 3, 3), 4, padding=1), r"\(4, 4, 4\)"),
    "lp_pool2d zero": (lambda t: F(t).lp_pool2d(image(t), 0, 2), "zero|norm_type"),
    "lp_pool2d norm": (lambda t: F(t).lp_pool2d(image(t), "2", 2), "norm_type|str"),
    "lp_pool2d kernel": (lambda t: F(t).lp_pool2d(image(t), 2, (2, 2, 2)), "kernel_size"),
    "lp_pool1d kernel": (lambda t: F(t).lp_pool1d(t.ones(1, 2, 5), 2, (2,)), "kernel_size"),
    "lp_pool2d large kernel": (lambda t: F(t).lp_pool2d(image(t), 2, 6), "empty"),
    "adaptive_avg_pool2d negative": (lambda t: F(t).adaptive_avg_pool2d(image(t), -1), "output_size.*-1"),
    "adaptive_avg_pool2d length": (lambda t: F(t).adaptive_avg_pool2d(image(t), (2, 2, 2)), "output_size"),
    "adaptive_avg_pool1d None": (lambda t: F(t).adaptive_avg_pool1d(t.ones(1, 2, 5), None), "output_size"),
    "adaptive_avg_pool2d None": (lambda t: F(t).adaptive_avg_pool2d(image(t), None), "output_size|None"),
    "adaptive_avg_pool2d rank": (lambda t: F(t).adaptive_avg_pool2d(t.ones(5), 2), "adaptive_avg_pool2d"),
    "adaptive_max_pool2d rank": (lambda t: F(t).adaptive_max_pool2d(t.ones(5, 5), (2, 2)), "at least 3|D"),
    "adaptive_max_pool2d empty": (lambda t: F(t).adaptive_max_pool2d(t.ones(1, 0, 5, 5), 2), "dimension 1 being empty"),
    "adaptive_max_pool2d integers": (lambda t: F(t).adaptive_max_pool2d(image(t).long(), 2), "Long"),
    "fractional neither": (lambda t: F(t).fractional_max_pool2d(image(t), 2), "either an output_size or an output_r"),
    "fractional layer both": (lambda t: t.nn.FractionalMaxPool2d(2, 3, 0.5), "only one of"),
    "fractional layer neither": (lambda t: t.nn.FractionalMaxPool3d(2), "either an output size"),
    "fractional layer ratio": (lambda t: t.nn.FractionalMaxPool2d(2, output_ratio=1.0), r"between 0 and 1 \(got 1.0\)"),
    "fractional layer kernel": (lambda t: t.nn.FractionalMaxPool3d(0, 2), "greater than 0, but got 0"),
    "fractional large": (lambda t: F(t).fractional_max_pool2d(image(t), 2, 5), "too large relative to input"),
    "fractional ratio": (lambda t: F(t).fractional_max_pool2d(image(t), 2, output_ratio=(2, 2)), "too large"),
    "fractional negative": (lambda t: F(t).fractional_max_pool2d(image(t), 2, -1), "output_size|negative"),
    "fractional kernel length": (lambda t: F(t).fractional_max_pool2d(image(t), (2,), 2), "kernel_size"),
    "fractional samples": (
        lambda t: F(t).fractional_max_pool2d(image(t), 2, 2, _random_samples=t.ones(1, 2, 3)),
        "_random_samples",
    ),
    "fractional samples type": (
        lambda t: F(t).fractional_max_pool2d(image(t), 2, 2, _random_samples=t.ones(1, 2, 2, dtype=t.float64)),
        "_random_samples",
    ),
    "fractional rank": (lambda t: F(t).fractional_max_pool2d(t.ones(5, 5), 2, 2), "fractional_max_pool2d"),
    "unpool range": (lambda t: F(t).max_unpool2d(image(t), t.full((1, 2, 5, 5), 100), 2), "invalid max index: 100"),
    "unpool negative": (
        lambda t: F(t).max_unpool1d(t.ones(1, 2, 3), t.full((1, 2, 3), -1), 2),
        "invalid max index: -1",
    ),
    "unpool type": (lambda t: F(t).max_unpool2d(image(t), image(t).int(), 2), "indices should be type int64"),
    "unpool shape": (lambda t: F(t).max_unpool2d(image(t), image(t)[:, :1].long(), 2), "same as that of the input"),
    "unpool size": (lambda t: F(t).max_unpool2d(image(t), image(t).long(), 2, output_size=(9, 12)), "between 8 and 12"),
    "unpool size length": (lambda t: F(t).max_unpool2d(image(t), image(t).long(), 2, output_size=(9,)), "2 or 4 elem"),
    "unpool rank": (lambda t: F(t).max_unpool2d(t.ones(5, 5), t.ones(5, 5).long(), 2), "max_unpool2d|unpooling2d"),
    "unpool stride": (
        lambda t: F(t).max_unpool3d(t.ones(1, 1, 2, 2, 2), t.ones(1, 1, 2, 2, 2).long(), 2, 0),
        "strides",
    ),
    "pad value": (lambda t: F(t).pad(image(t), (1, 1), "circular", 1.0), "doesn't take in value"),
    "pad width type": (lambda t: F(t).pad(image(t), (1.5, 1)), "pad"),
    "pad widths": (lambda t: F(t).pad(image(t), 1), "pad"),
    "pad value type": (lambda t: F(t).pad(image(t), (1, 1), value="a"), "value"),
    "pad value overflow": (lambda t: F(t).pad(image(t).byte(), (1, 1), value=300), "overflow"),
    "pad rank": (lambda t: F(t).pad(t.ones(5), (1, 1), "reflect"), "reflect"),
    "pad reflect empty": (lambda t: F(t).pad(t.ones(1, 0, 5), (1, 1), "reflect"), "non-zero"),
    "pad reflect crop": (lambda t: F(t).pad(t.ones(1, 2, 5), (-3, -2), "replicate"), "too small"),
    "pad too many": (lambda t: F(t).pad(t.ones(5), (1, 1, 1, 1)), "two times the input dimension"),
    "pad layer rank": (lambda t: t.nn.CircularPad2d(1)(t.ones(5, 5)), r"3D or 4D input \(got 2D"),
    "linear features": (lambda t: F(t).linear(t.ones(2, 3), t.ones(4, 5)), "2x3 and 5x4"),
    "linear dtype": (lambda t: F(t).linear(t.ones(2, 3), t.ones(4, 3, dtype=t.float64)), "dtype"),
    "cross_entropy index": (lambda t: F(t).cross_entropy(t.ones(1, 3), t.tensor([3])), "Target 3 is out of bounds"),
    "cross_entropy negative": (lambda t: F(t).cross_entropy(t.ones(1, 3), t.tensor([-1])), "Target -1"),
    "cross_entropy batch": (lambda t: F(t).cross_entropy(t.ones(2, 3), t.tensor([1])), r"batch_size \(2\).*\(1\)"),
    "cross_entropy type": (lambda t: F(t).cross_entropy(t.ones(2, 3), t.tensor([1, 2]).int()), "int32|Int"),
    "cross_entropy reduction": (lambda t: F(t).cross_entropy(t.ones(1, 3), t.tensor([1]), reduction="x"), "reduction"),
    "cross_entropy smoothing": (
        lambda t: F(t).cross_entropy(t.ones(1, 3), t.tensor([1]), label_smoothing=2.0),
        "label_smoothing",
    ),
    "mse_loss shapes": (lambda t: F(t).mse_loss(t.ones(2), t.ones(3)), "size of tensor a"),
    "pad length": (lambda t: F(t).pad(image(t), (1, 2, 3)), "divisible by 2"),
    "pad mode": (lambda t: F(t).pad(image(t), (1, 1), mode="mirror"), "mirror"),
    "pad reflect": (lambda t: F(t).pad(image(t), (5, 0, 0, 0), mode="reflect"), "less than the corresponding"),
    "pad circular": (lambda t: F(t).pad(image(t), (6, 0, 0, 0), mode="circular"), "wrapping around"),
    "pad crop": (lambda t: F(t).pad(image(t), (-3, -3)), "negative output"),
    "dropout p": (lambda t: F(t).dropout(t.ones(2), 1.5), "between 0 and 1"),
    "backward non-scalar": (lambda t: t.ones(2, requires_grad=True).mul(2).backward(), "only for scalar outputs"),
    "backward no graph": (lambda t: t.ones(1).backward(), "does not require grad"),
    "backward gradient shape": (
        lambda t: t.ones(2, requires_grad=True).mul(2).backward(t.ones(3)),
        "Mismatch in shape",
    ),
    "integer gradient": (lambda t: t.ones(2, dtype=t.int64, requires_grad=True), "floating point"),
    "numpy of a leaf": (lambda t: t.ones(2, requires_grad=True).numpy(), "detach"),
    "in-place on a leaf": (lambda t: t.ones(2, requires_grad=True).add_(1), "leaf Variable"),
    "in-place on a view of a leaf": (lambda t: t.ones(2, requires_grad=True)[0].add_(1), "view of a leaf"),
    "in-place type": (lambda t: t.ones(2, dtype=t.int64).add_(1.5), "can't be cast"),
    "in-place shape": (lambda t: t.ones(1).add_(t.ones(2)), "broadcast shape"),
    "broadcast": (lambda t: t.ones(2) + t.ones(3), r"\(2\) must match.*\(3\).*dimension 0"),
    "view size": (lambda t: t.ones(6).view(4), "invalid for input of size 6"),
    "view strides": (lambda t: t.ones(2, 3).t().view(6), "not compatible"),
    "two unknown extents": (lambda t: t.ones(6).view(-1, -1), "only one dimension"),
    "expand": (lambda t: t.ones(2).expand(3), r"\(3\) must match the existing size \(2\)"),
    "index range": (lambda t: t.ones(3)[3], "out of bounds|out of range"),
    "index count": (lambda t: t.ones(3)[0, 0], "too many indices"),
    "index step": (lambda t: t.ones(3)[::-1], "step must be greater than zero"),
    "index type": (lambda t: t.ones(3)["a"], "string"),
    "index tensor range": (lambda t: t.ones(3)[t.tensor([0, 5])], "out of bounds|out of range"),
    "float index": (lambda t: t.ones(3)[t.tensor([0.5])], "tensors used as indices"),
    "dim range": (lambda t: t.ones(3).sum(1), r"\[-1, 0\], but got 1"),
    "dim twice": (lambda t: t.ones(3, 3).sum((0, 0)), "appears multiple times"),
    "mean of integers": (lambda t: t.ones(3, dtype=t.int64).mean(), "floating point"),
    "item": (lambda t: t.ones(2).item(), "2 elements cannot be converted"),
    "bool": (lambda t: bool(t.ones(2)), "more than one value is ambiguous"),
    "len of a scalar": (lambda t: len(t.tensor(1)), "0-d tensor"),
    "iterating a scalar": (lambda t: list(t.tensor(1)), "0-d tensor"),
    "mm": (lambda t: t.ones(2, 3).mm(t.ones(2, 3)), "2x3 and 2x3"),
    "mm rank": (lambda t: t.ones(2).mm(t.ones(2, 3)), "mm|matrices|2-D|2D"),
    "matmul dtype": (lambda t: t.ones(2, 2) @ t.ones(2, 2, dtype=t.float64), "dtype"),
    "cat": (lambda t: t.cat([t.ones(2, 3), t.ones(3, 2)]), "Sizes of tensors must match"),
    "cat empty": (lambda t: t.cat([]), "non-empty"),
    "stack": (lambda t: t.stack([t.ones(2), t.ones(3)]), "equal size"),
    "gather range": (lambda t: t.ones(3).gather(0, t.tensor([3])), "out of bounds"),
    "ragged": (lambda t: t.tensor([[1, 2], [3]]), "length"),
    "text": (lambda t: t.tensor("a"), "a"),
    "negative size": (lambda t: t.zeros(-1), "negative"),
    "float size": (lambda t: t.zeros(2.5), "float|int"),
    "from_numpy type": (lambda t: t.from_numpy([1.0]), "expected np.ndarray"),
    "from_numpy strides": (lambda t: t.from_numpy(np.ones(3)[::-1]), "stride"),
    "from_numpy dtype": (lambda t: t.from_numpy(np.array(["a"])), "supported types"),
    "device name": (lambda t: t.ones(2, device="tpu7"), "tpu"),
    "subtracting booleans": (lambda t: t.tensor([True]) - t.tensor([True]), "not supported"),
    "negating booleans": (lambda t: -t.tensor([True]), "not supported"),
    "negative integer power": (lambda t: t.tensor([2]) ** -1, "negative integer powers"),
    "requires_grad of a result": (
        lambda t: t.ones(2, requires_grad=True).mul(2).requires_grad_(False),
        "leaf variables",
    ),
    "frombuffer length": (
        lambda t: t.frombuffer(bytearray(7), dtype=t.int32),
        r"\(7 bytes\).*multiple of element size \(4\)",
    ),
    "frombuffer of a list": (lambda t: t.frombuffer([1], dtype=t.int32), "buffer protocol"),
    "asarray without a copy": (lambda t: t.asarray([1.0], copy=False), "copy=False"),
    "tensor of None": (lambda t: t.tensor([None]), "infer dtype of NoneType"),
    "tensor out of range": (lambda t: t.tensor([300], dtype=t.uint8), "uint8.*300"),
    "tensor of 65 bits": (lambda t: t.tensor(2**64), "Overflow"),
    "from_numpy byte order": (lambda t: t.from_numpy(np.ones(2, ">f4")), "byte order"),
    "full of text": (lambda t: t.full((2,), "a"), "fill_value.*Number, not str"),
    "size as an int": (lambda t: t.zeros(size=2), "size.*tuple of ints, not int"),
    "arange step": (lambda t: t.arange(1, 5, -1), "inconsistent with step sign"),
    "linspace steps": (lambda t: t.linspace(0, 1, -1), "non-negative, got -1"),
    "memory format rank": (lambda t: t.empty(2, 3, memory_format=t.channels_last), "rank 4.*channels_last"),
    "memory format type": (lambda t: t.ones(2).contiguous(memory_format=3), "memory_format, not int"),
    "layout type": (lambda t: t.zeros(2, layout=3), "layout"),
    "from_dlpack of a list": (lambda t: t.from_dlpack([1]), "invalid capsule"),
    "exporting what requires a gradient": (lambda t: np.from_dlpack(t.ones(2, requires_grad=True)), "detach"),
    "array of what requires a gradient": (lambda t: np.add(t.ones(2, requires_grad=True), 1), "detach"),
    "array times tensor": (lambda t: np.ones(2) * t.ones(2), "unsupported operand"),
    "set_ type": (lambda t: t.ones(2).set_(t.ones(2).long()), "int64.*float32"),
    "resize_ of a leaf": (lambda t: t.ones(2, requires_grad=True).resize_(3), "cannot resize"),
    "as_strided range": (lambda t: t.ones(6)[1:].as_strided((6,), (1,)), "out of bounds"),
    "view as a larger type": (lambda t: t.ones(2, 3, dtype=t.int16).view(t.int64), "int16.*int64"),
    "matrix transposed": (lambda t: t.ones(2).mT, "matrices"),
    "apply_ of a leaf": (lambda t: t.ones(2, requires_grad=True).apply_(abs), "detach"),
    "map_ type": (lambda t: t.ones(2).map_(t.ones(2).long(), max), "FloatTensor.*LongTensor"),
    "as_subclass": (lambda t: t.ones(2).as_subclass(int), "inherit"),
    "seed of 65 bits": (lambda t: t.manual_seed(2**64), "64 bits"),
    "generator type": (lambda t: t.rand(2, generator=3), "Generator, not int"),
    "generator state": (lambda t: t.set_rng_state(t.zeros(3)), "ByteTensor"),
    "rand of integers": (lambda t: t.rand(2, dtype=t.int64), "rand.*Long"),
    "randint bounds": (lambda t: t.randint(5, 3, (2,)), "from=5 >= to=3"),
    "randint type": (lambda t: t.randint(0, 300, (2,), dtype=t.uint8), "uint8.*299"),
    "randperm type": (lambda t: t.randperm(300, dtype=t.uint8), "uint8"),
    "normal deviation": (lambda t: t.normal(0.0, -1.0, (2,)), "std >= 0"),
    "bernoulli probability": (lambda t: t.bernoulli(t.tensor([2.0])), r"\[0, 1\]"),
    "multinomial count": (lambda t: t.multinomial(t.ones(3), 4), "without replacement, got 4 of 3"),
    "multinomial weights": (lambda t: t.multinomial(t.tensor([-1.0, 1.0]), 1), "element < 0"),
    "poisson rate": (lambda t: t.poisson(t.tensor([-1.0])), "non-negative"),
    "geometric probability": (lambda t: t.ones(2).geometric_(1), "p=1"),
    "exponential rate": (lambda t: t.ones(2).exponential_(0), "lambda=0"),
    "uniform bounds": (lambda t: t.ones(2).uniform_(2, 1), "from=2 > to=1"),
    "LSTM rank 1": (recurrent("LSTM", (4,)), "LSTM: Expected input to be 2D or 3D, got 1D"),
    "GRU rank 4": (recurrent("GRU", (1, 3, 2, 4)), "GRU: Expected input to be 2D or 3D, got 4D"),
    "LSTM features": (recurrent("LSTM", (3, 2, 5)), "input_size. Expected 4, got 5"),
    "RNN features": (recurrent("RNN", (3, 2, 5)), "input_size. Expected 4, got 5"),
    "LSTM without steps": (recurrent("LSTM", (0, 2, 4)), "sequence length to be larger than 0"),
    "LSTM type": (lambda t: t.nn.LSTM(4, 5)(t.ones(3, 2, 4, dtype=t.float64)), "float64.*weight dtype"),
    "GRU of integers": (lambda t: t.nn.GRU(4, 5)(t.ones(3, 2, 4, dtype=t.int64)), "int64.*weight dtype"),
    "GRU hidden type": (lambda t: t.nn.GRU(4, 5)(t.ones(3, 2, 4), t.ones(1, 2, 5, dtype=t.float64)), "Double"),
    "LSTM hidden size": (
        recurrent("LSTM", states=[(1, 2, 4), (1, 2, 5)]),
        r"hidden\[0\] size \(1, 2, 5\), got",
    ),
    "LSTM cell size": (
        recurrent("LSTM", states=[(1, 2, 5), (1, 2, 4)]),
        r"hidden\[1\] size \(1, 2, 5\), got",
    ),
    "LSTM hidden batch": (recurrent("LSTM", states=[(1, 3, 5)] * 2), r"\(1, 2, 5\), got \[1, 3, 5"),
    "LSTM hidden layers": (recurrent("LSTM", states=[(2, 2, 5)] * 2), r"\(1, 2, 5\), got \[2, 2, 5"),
    "LSTM hidden rank": (recurrent("LSTM", states=[(2, 5)] * 2), "hx and cx should also be 3-D"),
    "LSTM unbatched": (recurrent("LSTM", (3, 4), [(1, 1, 5)] * 2), "hx and cx should also be 2-D"),
    "LSTM batch_first": (
        recurrent("LSTM", (2, 3, 4), [(1, 3, 5)] * 2, batch_first=True),
        r"\(1, 2, 5\), got \[1, 3, 5",
    ),
    "LSTM projected": (recurrent("LSTM", states=[(1, 2, 5)] * 2, proj_size=3), r"\(1, 2, 3\), got \[1, 2, 5"),
    "GRU hidden size": (recurrent("GRU", states=[(1, 2, 4)]), r"\(1, 2, 5\), got \[1, 2, 4"),
    "GRU hidden rank": (recurrent("GRU", states=[(2, 5)]), "hx should also be 3-D"),
    "RNN hidden batch": (recurrent("RNN", states=[(1, 3, 5)]), r"\(1, 2, 5\), got \[1, 3, 5"),
    "LSTM proj_size": (recurrent("LSTM", proj_size=5), "proj_size.*smaller than hidden_size, got 5 and 5"),
    "LSTM proj_size -1": (recurrent("LSTM", proj_size=-1), "proj_size.*got -1"),
    "GRU proj_size": (recurrent("GRU", proj_size=2), "only supported for LSTM"),
    "LSTM dropout": (recurrent("LSTM", dropout=2.0), r"dropout.*\[0, 1\].*got 2.0"),
    "LSTM dropout True": (recurrent("LSTM", dropout=True), "dropout.*got True"),
    "GRU dropout": (recurrent("GRU", dropout=-0.1), "dropout.*got -0.1"),
    "LSTM hidden_size 0": (recurrent("LSTM", size=(4, 0)), "hidden_size must be greater than zero, got 0"),
    "LSTM hidden_size": (recurrent("LSTM", size=(4, 2.5)), "hidden_size should be of type int, got: float"),
    "GRU input_size": (recurrent("GRU", size=(-1, 5)), "input_size must be greater than zero, got -1"),
    "RNN num_layers": (recurrent("RNN", num_layers=0), "num_layers must be greater than zero, got 0"),
    "RNN nonlinearity": (recurrent("RNN", nonlinearity="sin"), "nonlinearity 'sin'"),
    "LSTMCell rank": (cell("LSTMCell", (1, 2, 4)), "LSTMCell: Expected input to be 1D or 2D, got 3D"),
    "LSTMCell features": (cell("LSTMCell", (2, 3)), "input_size: got 3 expected 4"),
    "RNNCell features": (cell("RNNCell", (2, 5)), "input_size: got 5 expected 4"),
    "LSTMCell hidden": (cell("LSTMCell", (2, 4), (2, 4), (2, 5)), "hidden0.*hidden_size: got 4, expected 5"),
    "GRUCell batch": (cell("GRUCell", (2, 4), (3, 5)), "batch size 2 doesn't match hidden0 batch size 3"),
    "RNNCell nonlinearity": (cell("RNNCell", nonlinearity="x"), "Unknown nonlinearity: x"),
    "LSTMCell type": (lambda t: t.nn.LSTMCell(4, 5)(t.ones(2, 4, dtype=t.float64)), "Double and Float"),
    "LSTMCell state": (lambda t: t.nn.LSTMCell(4, 5)(t.ones(2, 4), t.ones(2, 5)), "hx.*tuple of Tensors, not Tensor"),
    "packed, not sorted": (packed(2, 3), r"sorted in decreasing order.*got \[2, 3\]"),
    "packed, of length 0": (packed(3, 0), "greater than 0.*is 0"),
    "packed, of length -1": (packed(3, -1), "greater than 0.*is -1"),
    "packed, more lengths": (packed(3, 2, 1), r"got 3 \(batch_size=2\)"),
    "packed, no lengths": (packed(), r"got 0 \(batch_size=2\)"),
    "packed features": (lambda t: t.nn.LSTM(5, 5)(packed(3, 2)(t)), "input_size. Expected 5, got 4"),
    "packed hidden": (lambda t: t.nn.GRU(4, 5)(packed(3, 2)(t), t.ones(1, 3, 5)), r"\(1, 2, 5\), got \[1, 3, 5"),
    "pack_sequence of nothing": (lambda t: t.nn.utils.rnn.pack_sequence([]), "empty list of sequences"),
    "pad_sequence of a number": (lambda t: t.nn.utils.rnn.pad_sequence(3), "Expected iterable.*int"),
    "pad_sequence shapes": (lambda t: t.nn.utils.rnn.pad_sequence([t.ones(2, 3), t.ones(2, 4)]), r"got \(2, 4\)"),
    "pad_packed_sequence": (
        lambda t: t.nn.utils.rnn.pad_packed_sequence(packed(3, 2)(t), total_length=2),
        "total_length=2 and max sequence length being 3",
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_the_error_is_pytorchs_and_says_what_is_wrong(name):
    torch = pytest.importorskip("torch")
    program, pattern = ROWS[name]
    ours, theirs = outcome(program, nbtorch), outcome(program, torch)
    assert ours[0] == theirs[0] and ours[0].startswith("raises"), f"\nnbtorch: {ours}\ntorch: {theirs}"
    with pytest.raises(Exception, match=pattern):
        program(nbtorch)
