# ruff: noqa: E501 (tables of expressions)
"""What is printed equals what PyTorch prints, character for character."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import nbtorch

torch = pytest.importorskip("torch")

SHAPES = [(), (0,), (1,), (3,), (2, 3), (0, 3), (2, 2, 2), (2, 0, 2), (30,), (40, 40), (2000,), (3, 8, 8, 8), (1, 1001)]
FLOATS = ("float16", "float32", "float64")
INTEGERS = ("uint8", "int8", "int16", "int32", "int64", "bool")
KINDS = {
    "normal": lambda g, n: g.standard_normal(n),
    "huge": lambda g, n: g.standard_normal(n) * 1e9,
    "tiny": lambda g, n: g.standard_normal(n) * 1e-6,
    "mixed": lambda g, n: g.standard_normal(n) * 10.0 ** g.integers(-8, 8, n),
    "thresholds": lambda g, n: g.choice([1e-4, 0.9999e-4, 1e8, 1000, 1001, 1], n),
    "nonfinite": lambda g, n: g.choice([np.nan, np.inf, -np.inf], n),
    "nonfinite among others": lambda g, n: g.choice([np.nan, np.inf, -np.inf, 1.5, 0, -0.0, 2], n),
    "zeros": lambda g, n: g.choice([0.0, -0.0], n),
    "zeros and nonfinite": lambda g, n: g.choice([0.0, -0.0, np.inf, np.nan], n),
    "integral": lambda g, n: g.integers(-5, 50, n).astype(float),
    "large integral": lambda g, n: g.integers(10**7, 10**10, n).astype(float),
    "extremes": lambda g, n: g.choice([3.4028234e38, 65504.0, 1.0, 1e-38, 1e-45], n),
}
OPTIONS = [
    {"precision": 2},
    {"precision": 0},
    {"precision": 10},
    {"threshold": 5},
    {"threshold": 5, "edgeitems": 1},
    {"threshold": 5, "edgeitems": 0},
    {"edgeitems": 0},
    {"linewidth": 40},
    {"linewidth": 1},
    {"sci_mode": True},
    {"sci_mode": False},
    {"profile": "short"},
    {"profile": "full"},
    {"profile": "full", "precision": 1, "sci_mode": True},
]


@pytest.fixture(autouse=True)
def default_options():
    yield
    for library in (nbtorch, torch):
        library.set_printoptions(profile="default")


def assert_prints_alike(array):
    array = np.asarray(array)
    ours, theirs = nbtorch.tensor(array, device="cpu"), torch.tensor(array)
    assert repr(ours) == repr(theirs)
    assert str(ours) == str(theirs)
    if array.dtype.kind == "f":
        assert repr(ours.requires_grad_()) == repr(theirs.requires_grad_())
        assert repr(ours * 1) == repr(theirs * 1)


def sample(kind, shape, dtype):
    generator = np.random.default_rng(len(shape))
    with np.errstate(over="ignore"):
        return KINDS[kind](generator, int(np.prod(shape))).reshape(shape).astype(dtype)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kind", KINDS)
def test_floating_point(kind, dtype):
    for shape in SHAPES:
        assert_prints_alike(sample(kind, shape, dtype))


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_and_booleans(dtype):
    generator = np.random.default_rng(0)
    extremes = (0, 2) if dtype == "bool" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    for shape in SHAPES:
        assert_prints_alike(generator.integers(*extremes, shape).astype(dtype))
        assert_prints_alike(generator.integers(0, 6, shape).astype(dtype))


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_options(options):
    for library in (nbtorch, torch):
        library.set_printoptions(**options)
    for shape in [*SHAPES[:9], (12, 13), (4, 3, 9)]:
        for kind in KINDS:
            assert_prints_alike(sample(kind, shape, "float32"))
        assert_prints_alike(np.random.default_rng(0).integers(-5, 500, shape))


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([np.float16, np.float32, np.float64, np.int32]).flatmap(
        lambda d: arrays.arrays(d, arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=8))
    )
)
def test_any_array(array):
    assert_prints_alike(array)


def test_options_refuse_an_unknown_profile():
    with pytest.raises(ValueError, match="default, short, full"):
        nbtorch.set_printoptions(profile="long")


GRADIENT_FUNCTIONS = [
    "x + 1", "x - 1", "1 - x", "x * x", "x / 2", "x % 2", "x ** 2", "2 ** x", "x.pow(x)", "-x", "x.abs()", "x.exp()", "x.log()",
    "x.log2()", "x.log1p()", "x.expm1()", "x.sqrt()", "x.rsqrt()", "x.reciprocal()", "x.sin()", "x.cos()", "x.tan()",
    "x.tanh()", "x.sigmoid()", "x.square()", "x.sign()", "x.floor()", "x.ceil()", "x.trunc()", "x.round()", "x.relu()",
    "x.clamp(0, 1)", "x.clamp(min=0)", "x.sum()", "x.sum(0)", "x.sum((0, 1))", "x.mean()", "x.mean(1)", "x.var()", "x.std()", "x.prod()",
    "x.prod(0)", "x.max()", "x.min()", "x.max(1).values", "x.min(0)[0]", "x.amax(1)", "x.amin()", "x.norm()", "x.norm(1)",
    "x.logsumexp(0)", "x.view(4)", "x.view(2, 2)", "x.reshape(-1)", "x.flatten()", "x.ravel()", "x.t()", "x.T", "x.mT",
    "x.transpose(0, 1)", "x.permute(1, 0)", "x.movedim(0, 1)", "x.squeeze()", "x.squeeze(0)", "x.unsqueeze(0)",
    "x.expand(3, 2, 2)", "x.repeat(1, 2)", "x[0]", "x[:, 0]", "x[0, 0]", "x[None]", "x[...]", "x[:1]", "x[x > 0]", "x[[0, 1]]", "x[:, [0]]",
    "x.select(0, 0)", "x.narrow(0, 0, 1)", "x.split(1)[0]", "x.chunk(2)[0]", "x.unbind()[0]", "x.flip(0)", "x.clone()",
    "x.double()", "x.to(t.float64)", "t.cat([x, x])", "t.stack([x, x])", "t.where(x > 0, x, 0.0)", "x.masked_fill(x > 0, 0)",
    "x.masked_select(x > 0)", "x.gather(0, t.zeros(2, 2, dtype=t.int64))", "x.index_select(0, t.tensor([0]))", "x @ x", "x @ x[0]", "x[0] @ x[0]", "x[0].dot(x[0])",
    "x.mm(x)", "x[None] @ x[None]", "x.outer(x) if False else t.outer(x[0], x[1])", "t.addmm(x, x, x)", "t.maximum(x, x)",
    "t.minimum(x, x)", "t.nn.functional.relu(x)", "t.nn.functional.softmax(x, 1)", "t.nn.functional.log_softmax(x, 1)",
    "t.nn.functional.mse_loss(x, x * 2)", "t.nn.functional.cross_entropy(x, t.tensor([0, 1]))",
    "t.nn.functional.nll_loss(x, t.tensor([0, 1]))", "t.nn.functional.l1_loss(x, x * 2)", "t.nn.functional.linear(x, x)", "t.nn.functional.linear(x, x, x[0])",
    "t.nn.functional.linear(x[None], x, x[0])", "t.nn.functional.linear(x[None], x)",
    "t.nn.functional.conv1d(x[None], x[None])", "t.nn.functional.conv2d(x[None], x[None, None])",
    "t.nn.functional.conv_transpose2d(x[None], x[None, None])",
    "t.nn.functional.max_pool1d(x, 2)", "t.nn.functional.pad(x, (1, 1))",
    "t.nn.functional.pad(x, (1, 1), mode='reflect')", "t.nn.functional.pad(x[None], (1, 1, 1, 1), mode='replicate')",
    "(x * 1).add_(1)", "(x * 1).mul_(2)", "(x * 1).zero_()", "(x * 1).fill_(2)", "(x * 1).relu_()", "(x * 1).exp_()",
    "t.zeros(2, 2).copy_(x)", "(x * 1).detach_()", "x.detach()", "x.data", "x > 0", "x // 2", "t.div(x, 2, rounding_mode='trunc')",
]  # fmt: skip


@pytest.mark.parametrize("program", GRADIENT_FUNCTIONS)
def test_names_of_gradient_functions(program):
    texts = []
    for t in (nbtorch, torch):
        # not 4: expm1(4) = 53.59815 lies halfway between two texts, and libraries of maths round it either way
        x = t.tensor([[1.0, 2.0], [3.0, 5.0]], requires_grad=True)
        texts.append(repr(eval(program, {"t": t, "x": x})))
    assert texts[0] == texts[1]


OTHER_TEXTS = [
    "t.zeros(2, 3).shape", "t.zeros(()).shape", "t.zeros(2, 3).shape[1:]", "t.zeros(2, 3).shape + (1,)", "t.Size([2, 3])", "t.Size([4]) + t.Size([5])",
    "t.float32", "t.float", "t.double", "t.half", "t.long", "t.bool", "t.uint8", "t.int8", "t.short", "t.int", "t.device('cpu')", "t.device('cuda')",
    "t.device('cuda:1')", "t.device('cuda', 0)", "str(t.device('cuda', 0))", "str(t.device('cpu'))", "t.tensor([[1.0, 2.0]]).max(1)", "t.tensor([[1, 2]]).min(0)",
    "t.nn.Parameter(t.ones(2, 2))", "t.nn.Parameter(t.ones(2), requires_grad=False)", "str(t.nn.Parameter(t.ones(())))", "t.nn.ParameterList([t.nn.Parameter(t.ones(2))])",
    "f'{t.tensor(1.5):.3f}'", "f'{t.tensor(7):>4}'", "f'{t.tensor([1.0])}'", "'%s' % t.tensor(2)", "t.tensor([1.0, 2.0]).tolist()", "[t.tensor(1), t.tensor(2.0)]", "{'a': t.ones(2)}",
    "t.ones(2).type()", "t.zeros(1, dtype=t.int16).type()", "t.tensor(True).type()", "format(t.tensor(3.25), '.1f')",
]  # fmt: skip


@pytest.mark.parametrize("program", OTHER_TEXTS)
def test_other_texts(program):
    assert repr(eval(program, {"t": nbtorch})) == repr(eval(program, {"t": torch}))


def test_the_first_program_prints_what_pytorch_prints():
    program = (
        "import nbtorch as torch\n"
        "x = torch.ones(2, 2, requires_grad=True)\nprint(x)\ny = x + 2\nprint(y)\nz = y * y * 3\nout = z.mean()\nprint(z, out)\n"
        "out.backward()\nprint(x.grad)\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout == (
        "tensor([[1., 1.],\n        [1., 1.]], requires_grad=True)\n"
        "tensor([[3., 3.],\n        [3., 3.]], grad_fn=<AddBackward0>)\n"
        "tensor([[27., 27.],\n        [27., 27.]], grad_fn=<MulBackward0>) tensor(27., grad_fn=<MeanBackward0>)\n"
        "tensor([[4.5000, 4.5000],\n        [4.5000, 4.5000]])\n"
    )
