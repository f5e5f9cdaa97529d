"""Types of elements: promotion, limits, conversions, bfloat16 and complex numbers, compared with PyTorch."""

import copy
import io
import itertools
import operator
import pickle

import numpy as np
import pytest

import nbtorch

from .against_torch import assert_same

torch = pytest.importorskip("torch")

# Half precision and a complex number give complex32 in PyTorch, which nbtorch has not: there it is complex64.
ALL = [d.name for d in nbtorch.dtypes.ALL]
NAN = float("nan")
LARGE_UNSIGNED = ("uint16", "uint32", "uint64")


def outcome(function):
    try:
        return str(function())
    except (RuntimeError, TypeError) as error:
        return type(error).__name__


@pytest.mark.parametrize("a", ALL)
def test_promotion_of_every_pair(a):
    for b in ALL:

        def promoted(t, b=b):
            return t.promote_types(getattr(t, a), getattr(t, b))

        assert outcome(lambda: promoted(nbtorch)) == outcome(lambda: promoted(torch)), b
        for a_shape, b_shape in itertools.product([(2,), ()], repeat=2):

            def result(t, b=b, a_shape=a_shape, b_shape=b_shape):
                return t.result_type(t.ones(a_shape, dtype=getattr(t, a)), t.ones(b_shape, dtype=getattr(t, b)))

            theirs = outcome(lambda: result(torch)).replace("complex32", "complex64")
            assert outcome(lambda: result(nbtorch)) == theirs, (a, a_shape, b, b_shape)


@pytest.mark.filterwarnings("ignore:ComplexHalf")
@pytest.mark.parametrize("a", [d for d in ALL if d not in LARGE_UNSIGNED])
def test_operators_of_every_pair(a):
    """The type of a result is that of promotion, for tensors, 0-d tensors and numbers."""
    for function in (operator.add, operator.mul, operator.truediv, operator.eq):
        for b, shape in itertools.product([d for d in ALL if d not in LARGE_UNSIGNED], [(2,), ()]):

            def run(t, b=b, shape=shape, function=function):
                return function(t.ones(2, dtype=getattr(t, a)), t.ones(shape, dtype=getattr(t, b))).dtype

            theirs = outcome(lambda: run(torch)).replace("complex32", "complex64")
            if theirs != "NotImplementedError":  # PyTorch's complex32 lacks operations
                assert outcome(lambda: run(nbtorch)) == theirs, (function.__name__, a, b, shape)
        for number, shape in itertools.product([True, 2, 2.5, 2j], [(2,), ()]):

            def with_number(t, number=number, shape=shape, function=function):
                return function(t.ones(shape, dtype=getattr(t, a)), number).dtype

            theirs = outcome(lambda: with_number(torch)).replace("complex32", "complex64")
            if theirs != "NotImplementedError":
                assert outcome(lambda: with_number(nbtorch)) == theirs, (function.__name__, a, number, shape)


@pytest.mark.parametrize("name", ALL)
def test_limits_and_attributes(name):
    ours, theirs = getattr(nbtorch, name), getattr(torch, name)
    for attribute in ("is_signed", "is_complex", "is_floating_point", "itemsize", "abbr"):
        assert getattr(ours, attribute) == getattr(theirs, attribute)
    assert str(ours.to_real()) == str(theirs.to_real())
    for limits in ("finfo", "iinfo"):

        def told(t, dtype, limits=limits):
            found = getattr(t, limits)(dtype)
            names = ("bits", "eps", "max", "min", "tiny", "smallest_normal", "resolution", "dtype")
            return [repr(found), *[getattr(found, n, None) for n in names]]

        assert outcome(lambda: told(nbtorch, ours)) == outcome(lambda: told(torch, theirs))


PROGRAMS = {
    "finfo of the default type": lambda t: repr(t.finfo()),
    "finfo refuses": lambda t: t.finfo(3),
    "iinfo wants a type": lambda t: t.iinfo(),
    "can_cast": lambda t: [t.can_cast(t.float32, t.int8), t.can_cast(t.int8, t.uint8), t.can_cast(t.bool, t.int8)],
    "can_cast refuses": lambda t: t.can_cast(1, 2),
    "result_type refuses": lambda t: t.result_type("a", t.ones(1)),
    "questions": lambda t: [t.is_tensor(3), t.is_complex(t.ones(1) * 1j), t.is_signed(t.ones(1, dtype=t.uint8))],
    "is_nonzero": lambda t: [t.is_nonzero(t.tensor(2)), t.tensor(0.0).is_nonzero()],
    "is_nonzero of many": lambda t: t.ones(2).is_nonzero(),
    "to dtype": lambda t: t.ones(2).to(t.int32),
    "to device and dtype": lambda t: t.ones(2).to("cpu", t.int8, True, True),
    "to other": lambda t: t.ones(2).to(t.ones(1, dtype=t.int16), True),
    "to is the tensor": lambda t: [(x := t.ones(2)).to(t.float32) is x, x.to(copy=True) is x, x.to(None) is x],
    "to builtin": lambda t: [t.ones(2).to(float), t.ones(2).to(complex), t.ones(2).to(bool)],
    "to refuses a second device": lambda t: t.ones(2).to("cpu", "cpu"),
    "to refuses a second dtype": lambda t: t.ones(2).to(t.int8, t.int8),
    "to refuses other by name": lambda t: t.ones(2).to(other=t.ones(1)),
    "to refuses names": lambda t: t.ones(2).to(foo=1),
    "to refuses a list": lambda t: t.ones(2).to([1]),
    "type": lambda t: [t.ones(1, dtype=d).type() for d in (t.bfloat16, t.complex64, t.complex128, t.uint16)],
    "type by name": lambda t: t.ones(2).type("torch.IntTensor", True),
    "type by class": lambda t: t.ones(2).type(t.LongTensor),
    "type refuses": lambda t: t.ones(2).type("IntTensor"),
    "type refuses int": lambda t: t.ones(2).type(int),
    "casts": lambda t: [getattr(t.ones(2), n)() for n in ("bfloat16", "half", "cfloat", "cdouble", "byte", "bool")],
    "legacy values": lambda t: [t.FloatTensor([1, 2]), t.LongTensor([1.7, 2]), t.BoolTensor([1, 0]), t.DoubleTensor()],
    "legacy sizes": lambda t: [tuple(t.LongTensor(2, 3).shape), tuple(t.FloatTensor(t.Size([2, 3])).shape)],
    "legacy refuses a number": lambda t: t.FloatTensor(5.5),
    "legacy refuses another type": lambda t: t.LongTensor(t.ones(2)),
    "legacy instances": lambda t: [isinstance(t.ones(1), t.FloatTensor), isinstance(t.ones(1), t.LongTensor)],
    "legacy repr": lambda t: repr(t.FloatTensor),
    "complex from numbers": lambda t: [t.tensor([1, 2j]), t.full((2,), 1j), t.tensor(1.5 - 2j).item()],
    "complex to real": lambda t: t.tensor([1j], dtype=t.float32),
    "complex into int": lambda t: t.tensor(1j, dtype=t.int64),
    "complex float()": lambda t: float(t.tensor(1j)),
    "complex real float()": lambda t: [float(t.tensor(1 + 0j)), complex(t.tensor(2.0)), bool(t.tensor(1j))],
    "complex fill": lambda t: t.ones(2).fill_(1j),
    "complex in place": lambda t: t.ones(2).add_(1j),
    "complex order": lambda t: (t.ones(2) * 1j) < 1,
    "complex sort": lambda t: (t.ones(2) * 1j).sort(),
    "complex max": lambda t: (t.ones(2) * 1j).max(),
    "complex clamp": lambda t: (t.ones(2) * 1j).clamp(0),
    "complex floor": lambda t: (t.ones(2) * 1j).floor(),
    "complex abs_": lambda t: (t.ones(2) * 1j).abs_(),
    "complex invert": lambda t: ~(t.ones(2) * 1j),
    "complex equality": lambda t: [t.tensor([1j, 2]) == t.tensor([1j, 1]), t.isclose(t.tensor([1j]), t.tensor([1j]))],
    "parts are views": lambda t: (z := t.tensor([1 + 2j, 3]), z.real.fill_(7), z.imag.mul_(2), z)[-1],
    "assigning parts": lambda t: (z := t.tensor([1 + 2j, 3]), setattr(z, "real", t.ones(2)), z)[-1],
    "view_as_real is a view": lambda t: (z := t.tensor([1 + 2j, 3]), t.view_as_real(z).zero_(), z)[-1],
    "imag of real": lambda t: t.ones(2).imag,
    "real of real": lambda t: (x := t.ones(2)).real is x,
    "view_as_complex refuses": lambda t: t.view_as_complex(t.ones(3)),
    "complex refuses": lambda t: t.complex(t.ones(1), t.ones(1).double()),
    "backward of complex": lambda t: (t.ones(2) * 1j).requires_grad_().sum().backward(),
    "default type": lambda t: with_default(t, "float64", lambda: [t.ones(1), t.tensor(1j), t.finfo().bits]),
    "default bfloat16": lambda t: with_default(t, "bfloat16", lambda: [t.ones(1), t.tensor(1.0)]),
    "default refuses": lambda t: t.set_default_dtype(t.int32),
    "bfloat16 numpy": lambda t: t.ones(2, dtype=t.bfloat16).numpy(),
    "bfloat16 rounding": lambda t: t.tensor([1 / 3, 1e30, 257, 1e-40, 3.4e38]).bfloat16(),
    "bfloat16 NaN": lambda t: [*t.tensor([1.0, NAN, 2]).bfloat16().sort(), t.tensor([1, NAN]).bfloat16().argmax()],
    "bfloat16 sum": lambda t: t.full((10000,), 0.1, dtype=t.bfloat16).sum(),
    "bfloat16 and float16": lambda t: t.ones(2).bfloat16() + t.ones(2).half(),
    "uint16": lambda t: [x := t.tensor([2, 3], dtype=t.uint16), x == 2, t.ones(2).to(t.uint32)],
    "fft refuses complex": lambda t: t.fft.rfft(t.ones(3) * 1j),
    "fft refuses half": lambda t: t.fft.fft(t.ones(3).half()),
    "fft refuses no points": lambda t: t.fft.fft(t.ones(3), n=0),
    "fft refuses a norm": lambda t: t.fft.fft(t.ones(3), norm="x"),
    "fft refuses repeated dims": lambda t: t.fft.fftn(t.ones(2, 3), dim=(0, 0)),
    "fft refuses 0-d": lambda t: t.fft.fft(t.tensor(1.0)),
    "fft of integers": lambda t: t.fft.fft(t.arange(5)),
    "fft frequencies": lambda t: [t.fft.fftfreq(5, 0.3), t.fft.fftfreq(6), t.fft.rfftfreq(5, dtype=t.float64)],
    "eig": lambda t: t.linalg.eig(t.tensor([[0.0, 1.0], [-1.0, 0.0]]))[0].abs(),
}  # fmt: skip


def with_default(t, name, run):
    try:
        t.set_default_dtype(getattr(t, name))
        return run()
    finally:
        t.set_default_dtype(t.float32)


@pytest.mark.parametrize("name", PROGRAMS)
def test_same_as_torch(name):
    assert_same(PROGRAMS[name])


TEXTS = {
    "complex": lambda t: t.tensor([1 + 2j, -0.5j, 3]),
    "complex fractions": lambda t: t.tensor([1.5 - 2.25j, 3e-5j]),
    "complex NaN": lambda t: t.tensor([complex("nan+infj"), 1]),
    "complex 0-d": lambda t: t.tensor(1.5 - 2.25j),
    "complex128": lambda t: t.tensor([1 + 2j], dtype=t.complex128),
    "complex matrix": lambda t: t.arange(6).reshape(2, 3) * (1.5 - 1j),
    "complex many": lambda t: t.arange(2000) * 1j,
    "complex large": lambda t: t.tensor([1e10 + 1j, 1j]),
    "complex gradient": lambda t: t.ones(2, dtype=t.complex64, requires_grad=True),
    "complex empty": lambda t: t.zeros(0, dtype=t.complex64),
    "bfloat16": lambda t: t.tensor([1 / 3, 100.0]).bfloat16(),
    "uint16": lambda t: t.tensor([1, 2], dtype=t.uint16),
}


@pytest.mark.parametrize("name", TEXTS)
def test_prints_as_torch(name):
    assert repr(TEXTS[name](nbtorch)) == repr(TEXTS[name](torch))


@pytest.mark.parametrize("name", ["bfloat16", "complex64", "complex128"])
def test_files_pickles_and_copies(name):
    x = nbtorch.tensor([1.5, -2, 0.25]).to(getattr(nbtorch, name))
    file = io.BytesIO()
    nbtorch.save({"x": x}, file)
    file.seek(0)
    theirs = torch.load(file)["x"]
    assert str(theirs.dtype) == str(x.dtype) and theirs.tolist() == x.tolist()
    file = io.BytesIO()
    torch.save(theirs, file)
    file.seek(0)
    for same in (nbtorch.load(file), pickle.loads(pickle.dumps(x)), copy.deepcopy(x)):
        assert same.dtype is x.dtype and same.tolist() == x.tolist()


def test_casting_complex_to_real_warns():
    with pytest.warns(UserWarning, match="discards the imaginary part"):
        assert nbtorch.tensor([1 + 2j]).float().tolist() == [1.0]


def test_random_complex_numbers_have_variance_one():
    nbtorch.manual_seed(0)
    z = nbtorch.randn(20000, dtype=nbtorch.complex64)
    assert abs(z.var().item() - 1) < 0.05 and abs(z.real.var().item() - 0.5) < 0.05


def test_half_precision_rounds_once():
    """Sums go through float32: 4096 additions of 1/256 to 1 would not move a bfloat16."""
    x = nbtorch.full((4096,), 1 / 256, dtype=nbtorch.bfloat16)
    assert nbtorch.cat([nbtorch.ones(1, dtype=nbtorch.bfloat16), x]).sum().item() == 17
    assert np.isclose(x.cumsum(0)[-1].item(), 16)
