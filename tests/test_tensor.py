"""Tensors and NumPy, memory, types: programs that must end as with PyTorch."""

import itertools
import warnings

import numpy as np
import pytest

import nbtorch
from nbtorch.device import BufferPool

from .against_torch import assert_same

DTYPES = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"]


@pytest.mark.parametrize(("a", "b"), itertools.product(DTYPES, DTYPES))
def test_promotion(a, b):
    def program(t):
        x, y = t.ones(2, dtype=getattr(t, a)), t.ones(2, dtype=getattr(t, b))
        zero_d = t.tensor(1, dtype=getattr(t, b))
        return x + y, x * zero_d, zero_d + x, x / y, x == y, t.promote_types(x.dtype, y.dtype), t.cat([x, y])

    assert_same(program)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("number", [True, 2, 1.5, -1, 300])
def test_promotion_with_numbers(dtype, number):
    assert_same(lambda t: t.ones(2, dtype=getattr(t, dtype)) * number)
    assert_same(lambda t: number + t.ones((), dtype=getattr(t, dtype)))
    assert_same(lambda t: t.ones(2, dtype=getattr(t, dtype)) < number)


PROGRAMS = {
    "inference of types": lambda t: [
        t.tensor(v) for v in (1, 1.5, True, [1, 2.5], [], [[True]], np.float64(2), np.int8(1))
    ],
    "given arrays": lambda t: [t.tensor(np.ones(2)), t.tensor(np.ones(2, np.int16)), t.as_tensor(np.ones(2))],
    "nested tensors": lambda t: t.tensor([t.tensor(1.0), t.tensor(2.0)]),
    "full": lambda t: [t.full((2,), 1), t.full((2,), 1.5), t.full((), True), t.full((1,), 2, dtype=t.float64)],
    "arange": lambda t: [t.arange(3), t.arange(1, 4), t.arange(0, 1, 0.25), t.arange(5, 0, -2), t.arange(3.0)],
    "linspace": lambda t: [t.linspace(0, 1, 5), t.linspace(3, -3, 1), t.linspace(0, 1, 0)],
    "eye": lambda t: [t.eye(2), t.eye(2, 3), t.eye(0)],
    "likes": lambda t: [t.zeros_like(t.ones(2, dtype=t.int8)), t.ones_like(t.zeros(2, 2)), t.full_like(t.ones(1), 7)],
    "news": lambda t: [t.ones(1, dtype=t.float64).new_zeros(2), t.ones(1).new_full((2,), 3), t.ones(1).new_tensor([1])],
    "sizes": lambda t: [
        t.ones(2, 3).size(),
        t.ones(2, 3).size(-1),
        t.ones(2, 3).numel(),
        t.ones(2, 3).dim(),
        t.zeros(()),
    ],
    "strides": lambda t: [t.ones(2, 3).t().stride(), t.ones(2, 3).t().is_contiguous(), t.ones(4)[1:].storage_offset()],
    "casts": lambda t: [t.tensor([1.7, -1.7]).int(), t.tensor([0, 2]).bool(), t.tensor([1]).double(), t.ones(1).half()],
    "to": lambda t: [t.ones(2).to(t.int64), t.ones(2).to("cpu", t.float64), t.ones(2).to(t.ones(1, dtype=t.int8))],
    "to itself": lambda t: (lambda x: [x.to(t.float32) is x, x.to(t.float32, copy=True) is x, x.float() is x])(
        t.ones(2)
    ),
    "type": lambda t: [t.ones(1).type(), t.ones(1, dtype=t.int64).type(), t.ones(1).type(t.float64)],
    "item": lambda t: [t.tensor(2).item(), t.tensor([2.5]).item(), t.tensor(True).item(), float(t.tensor(3))],
    "tolist": lambda t: [t.ones(2, 2).tolist(), t.tensor(1).tolist(), t.zeros(0).tolist()],
    "contains": lambda t: [2 in t.tensor([1, 2]), 5.0 in t.tensor([1.0])],
    "bool": lambda t: [bool(t.tensor(0)), bool(t.tensor([1.5])), not t.tensor([False])],
    "index": lambda t: [[10, 20, 30][t.tensor(1)], list(range(t.tensor(2)))],
    "unpacking": lambda t: (lambda a, b: [a, b])(*t.ones(2, 2)),
    "comparison with None": lambda t: [t.ones(1) == None, t.ones(1) != None],  # noqa: E711
    "equality of dtypes": lambda t: [t.float is t.float32, t.ones(1).dtype == t.float32, t.float32 == t.float64],
    "device": lambda t: [t.device("cpu"), t.ones(1).device, t.device("cuda:1"), str(t.device("cuda", 0))],
    "view shares": lambda t: (lambda x: [x.view(4).add_(1), x, x[0].mul_(2), x, x.t()[0].zero_(), x])(t.zeros(2, 2)),
    "numpy scalars": lambda t: [
        t.ones(2) * np.float32(2),
        t.ones(2) + np.int64(1),
        t.ones(2, dtype=t.int64) * np.float64(2),
    ],
    "integer division": lambda t: [t.tensor([7, -7]) // 2, t.tensor([7, -7]) % 3, t.tensor([7, -7]) / 2],
    "rounded division": lambda t: [t.div(t.tensor([7, -7]), 2, rounding_mode=m) for m in ("trunc", "floor")],
    "in-place": lambda t: (
        lambda x: [x.add_(1), x.mul_(2), x.sub_(1), x.div_(2), x.pow_(2), x.neg_(), x.clamp_(-1, 1)]
    )(t.ones(2)),
    "augmented": lambda t: (lambda d: [exec("x += 1; x *= 2; x -= 3; x /= 2", d), d["x"]])({"x": t.ones(2)}),
    "assignment": lambda t: (lambda x: [x.__setitem__((0, 1), 5), x.__setitem__(slice(1, None), t.ones(3)), x])(
        t.zeros(3, 3)
    ),
    "mask assignment": lambda t: (lambda x: [x.__setitem__(x > 2, -1), x])(t.arange(6)),
    "empty sums": lambda t: [t.zeros(0).sum(), t.zeros(0).mean(), t.zeros(0, 3).sum(0), t.zeros(0).prod()],
    "nan": lambda t: [t.tensor([1.0, float("nan")]).max(), t.nn.functional.relu(t.tensor([float("nan"), -1.0]))],
    "bitwise": lambda t: [t.tensor([6]) & 3, t.tensor([6]) | 1, t.tensor([6]) ^ 2, ~t.tensor([True]), ~t.tensor([1])],
    "nonzero": lambda t: [t.tensor([[0, 1], [2, 0]]).nonzero(), t.tensor([0, 3]).nonzero(as_tuple=True)],
    "generator of seeds": lambda t: [t.manual_seed(3).initial_seed(), t.initial_seed()],
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_same_end(name):
    assert_same(PROGRAMS[name])


def test_memory_is_shared_with_numpy_both_ways():
    array = np.arange(6.0).reshape(2, 3)
    tensor = nbtorch.from_numpy(array)
    tensor[0, 0] = 9
    array[1, 2] = 7
    assert array[0, 0] == 9 and tensor[1, 2].item() == 7
    assert tensor.numpy() is array or np.shares_memory(tensor.numpy(), array)
    assert not np.shares_memory(nbtorch.ones(3).numpy(), nbtorch.ones(3).numpy())
    x = nbtorch.ones(3)
    np.asarray(x)[0] = 5
    assert x[0].item() == 5
    assert np.add(x, 1).tolist() == [6, 2, 2]


def test_a_read_only_array_is_warned_of():
    array = np.ones(2)
    array.flags.writeable = False
    with pytest.warns(UserWarning, match="not writable"):
        nbtorch.from_numpy(array)


def test_random_numbers_follow_their_seed():
    nbtorch.manual_seed(5)
    first = [nbtorch.randn(3), nbtorch.rand(2), nbtorch.randint(0, 9, (4,)), nbtorch.randperm(5)]
    state = nbtorch.get_rng_state()
    later = nbtorch.rand(3)
    nbtorch.manual_seed(5)
    again = [nbtorch.randn(3), nbtorch.rand(2), nbtorch.randint(0, 9, (4,)), nbtorch.randperm(5)]
    assert all(nbtorch.equal(a, b) for a, b in zip(first, again, strict=True))
    nbtorch.set_rng_state(state)
    assert nbtorch.equal(nbtorch.rand(3), later)
    own = nbtorch.Generator().manual_seed(1)
    nbtorch.rand(2, generator=own)
    assert not nbtorch.equal(nbtorch.rand(3), nbtorch.rand(3))


def test_random_numbers_have_their_distribution():
    nbtorch.manual_seed(0)
    uniform, normal = nbtorch.rand(100_000).numpy(), nbtorch.randn(100_000).numpy()
    assert uniform.min() >= 0 and uniform.max() < 1 and abs(uniform.mean() - 0.5) < 0.01
    assert abs(normal.mean()) < 0.02 and 0.98 < normal.std() < 1.02
    assert sorted(nbtorch.randperm(100).tolist()) == list(range(100))
    assert set(nbtorch.randint(2, 5, (1000,)).tolist()) == {2, 3, 4}
    assert abs(nbtorch.empty(100_000).bernoulli_(0.3).mean().item() - 0.3) < 0.01


def test_the_pool_reuses_memory_that_nobody_refers_to():
    pool = BufferPool()
    first = pool.empty((1000, 100), np.dtype(np.float32))
    view, address = first[10:], first.ctypes.data
    del first
    assert pool.empty((1000, 100), np.dtype(np.float32)).ctypes.data != address  # a view still refers to it
    del view
    assert pool.empty((1000, 100), np.dtype(np.float32)).ctypes.data == address


def test_default_dtype():
    try:
        nbtorch.set_default_dtype(nbtorch.float64)
        assert nbtorch.ones(1).dtype is nbtorch.float64 and nbtorch.tensor(1.5).dtype is nbtorch.float64
    finally:
        nbtorch.set_default_dtype(nbtorch.float32)
    with pytest.raises(TypeError, match="floating-point"):
        nbtorch.set_default_dtype(nbtorch.int64)


def test_pickle_and_save_round_trip():
    import pickle

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        x = nbtorch.randn(2, 3).requires_grad_()
        y = pickle.loads(pickle.dumps(x))
    assert nbtorch.equal(x, y) and y.requires_grad and y.is_leaf
