# ruff: noqa: E501 (tables of expressions)
"""Random numbers: arguments and errors as in PyTorch, seeds and states, ranges and moments."""

import copy
import pickle

import numpy as np
import pytest

import nbtorch

from .against_torch import outcome


def names(t):
    return {"t": t, "inf": float("inf"), "nan": float("nan")}


FILLS = [
    "uniform_()", "normal_()", "random_(3)", "random_()", "random_(1, 3)", "bernoulli_()", "bernoulli_(t.zeros(2))", "exponential_()", "cauchy_()",
    "geometric_(0.5)", "log_normal_()",
]  # fmt: skip
FUNCTIONS = [
    "t.poisson(x)", "t.normal(x)", "t.normal(x, t.ones(2))", "t.normal(1.0, x)", "t.bernoulli(x)",
]  # fmt: skip

EXPRESSIONS = r"""
t.manual_seed(-1).initial_seed()
t.manual_seed(2**64-1).initial_seed()
t.manual_seed(2**64)
t.manual_seed(-2**63-1)
t.manual_seed(-2**63).initial_seed()
t.manual_seed(1.7).initial_seed()
t.manual_seed('a')
t.manual_seed(t.tensor(3)).initial_seed()
t.manual_seed(True).initial_seed()
t.manual_seed(None)
t.Generator().manual_seed(1.7)
t.Generator().manual_seed(-1).initial_seed()
t.Generator().manual_seed(2**64)
t.Generator().manual_seed(2**63).initial_seed()
t.Generator().manual_seed('a')
t.Generator(device='cpu').device
t.Generator().initial_seed()
t.Generator('cpu',1)
t.Generator(3)
t.Generator().get_state().dtype
t.Generator().set_state(t.zeros(3))
t.Generator().set_state(t.zeros(3,dtype=t.uint8))
t.Generator().set_state(3)
t.Generator().set_state(t.zeros(5056,dtype=t.uint8)[::2])
t.set_rng_state(t.get_rng_state())
t.Generator().get_offset()
t.Generator().set_offset(3)
t.random.default_generator is t.default_generator
hash(t.Generator()) is not None
t.Generator()==t.Generator()
t.rand(2,generator=3)
t.rand()
t.rand(2,3,dtype=t.int64)
t.rand(2,dtype=t.float16).dtype
t.rand(size=(2,)).shape
t.rand((2,),3)
t.rand(2.0)
t.rand(-1)
t.rand('a')
t.rand(t.tensor(2)).shape
t.rand(2,t.tensor(3)).shape
t.rand(2,layout=t.strided).shape
t.rand(2,pin_memory=False).shape
t.rand(2,foo=1)
t.randn(2,dtype=t.int32)
t.randn(2,dtype=t.bool)
t.rand(2,requires_grad=True).requires_grad
t.randint(5)
t.randint(5,(2,)).dtype
t.randint(5,2)
t.randint(0,5,2)
t.randint(0,5,(2,),dtype=t.float32).dtype
t.randint(0,5,[2]).shape
t.randint(5,(2,),dtype=t.bool)
t.randint(1,(2,),dtype=t.bool)
t.randint(2,(2,),dtype=t.bool).dtype
t.randint(3,(2,),dtype=t.bool)
t.randint(0,300,(2,),dtype=t.uint8)
t.randint(0,256,(2,),dtype=t.uint8).dtype
t.randint(0,257,(2,),dtype=t.uint8)
t.randint(-1,5,(2,),dtype=t.uint8)
t.randint(-200,5,(2,),dtype=t.int8)
t.randint(5,5,(2,))
t.randint(5,3,(2,))
t.randint(0,(2,))
t.randint(0.5,3,(2,))
t.randint(0,3.5,(2,))
t.randint(high=3,size=(2,)).shape
t.randint(low=0,high=3,size=(2,)).shape
t.randint(0,2**63-1,(2,)).dtype
t.randint(0,2**63,(2,)).dtype
t.randint(-2**63,2**63-1,(2,)).dtype
t.randint(0,2**30,(2,),dtype=t.float16)
t.randint(0,3,(2,),dtype=t.float16).dtype
t.randint(0,2**24+1,(2,),dtype=t.float32).dtype
t.randint(t.tensor(3),(2,)).shape
t.randint(3,(2,),requires_grad=True)
t.randint(3,(2,),dtype=t.float32,requires_grad=True).requires_grad
t.randint(3,(-1,))
t.randint(0,3,size=2)
t.randperm(5).dtype
t.randperm(5,dtype=t.float32).dtype
t.randperm(300,dtype=t.uint8)
t.randperm(256,dtype=t.uint8).dtype
t.randperm(129,dtype=t.int8)
t.randperm(128,dtype=t.int8).dtype
t.randperm(3000,dtype=t.float16)
t.randperm(2049,dtype=t.float16).dtype
t.randperm(2050,dtype=t.float16).dtype
t.randperm(-1)
t.randperm(2.0)
t.randperm(2,dtype=t.bool)
t.randperm(t.tensor(3)).shape
t.randperm(3,requires_grad=True)
t.randperm(n=3).shape
t.normal(0,1,(2,)).dtype
t.normal(0.,1.,(2,)).dtype
t.normal(0,1)
t.normal(t.zeros(2)).shape
t.normal(t.zeros(2),t.ones(2)).shape
t.normal(t.zeros(2),t.ones(3)).shape
t.normal(t.zeros(2,1),t.ones(3)).shape
t.normal(t.zeros(2),2.0).shape
t.normal(0.0,t.ones(3)).shape
t.normal(mean=0.0,std=t.ones(3)).shape
t.normal(mean=t.arange(1., 11.), std=t.arange(1, 0, -0.1)).shape
t.normal(0.0,-t.ones(3)).shape
t.normal(t.zeros(3),-1.0).shape
t.normal(0.0,-1.0,(2,)).shape
t.normal(t.zeros(2,dtype=t.int64),1.0)
t.normal(t.zeros(2,dtype=t.float64),t.ones(2)).dtype
t.normal(t.zeros(2),t.ones(2,dtype=t.float64)).dtype
t.normal(0.0,t.ones(2,dtype=t.int64)).dtype
t.normal(t.zeros(2),t.ones(2,dtype=t.int64)).dtype
t.normal(2,3,size=(1,4)).shape
t.normal(2,3,size=(1,4),dtype=t.float64).dtype
t.normal(2,3,size=(1,4),dtype=t.int64).dtype
t.normal(t.zeros(2),1.0,(2,))
t.normal(t.zeros(2,requires_grad=True),1.0).requires_grad
t.normal(t.zeros(2),t.ones(2,requires_grad=True)).requires_grad
t.normal(2,3,size=(2,),requires_grad=True).requires_grad
t.normal(t.zeros(0),1.0)
t.normal(0.0,1.0,2)
t.normal(t.zeros(3)[::2],1.0).shape
t.bernoulli(t.tensor([0.,1.]))
t.bernoulli(t.tensor([0,1]))
t.bernoulli(t.tensor([0.,2.]))
t.bernoulli(t.tensor([0.,-1.]))
t.bernoulli(t.tensor([0.,float('nan')]))
t.bernoulli(t.tensor([0,1]),0.5).dtype
t.bernoulli(t.zeros(3),p=1.0)
t.bernoulli(t.zeros(3),p=2.0)
t.bernoulli(t.zeros(3,dtype=t.bool),p=1.0)
t.bernoulli(t.zeros(3,requires_grad=True)).requires_grad
t.bernoulli(0.5)
t.zeros(3).bernoulli(1.0)
t.zeros(3).bernoulli(p=1.0)
t.zeros(3).bernoulli_(1.0)
t.zeros(3).bernoulli_(p=1)
t.zeros(3,dtype=t.bool).bernoulli_(1)
t.zeros(3,dtype=t.int8).bernoulli_(t.ones(3))
t.zeros(3,dtype=t.int8).bernoulli_(t.ones(1))
t.zeros(3,dtype=t.int8).bernoulli_(t.ones(2))
t.zeros(3).bernoulli_(t.ones(3,dtype=t.int64))
t.zeros(3).bernoulli_(t.tensor([2.,0,0]))
t.zeros(3).bernoulli_(1.5)
t.zeros(3).bernoulli_(float('nan'))
t.multinomial(t.ones(3),2).dtype
t.multinomial(t.ones(3),2).shape
t.multinomial(t.ones(2,3),2).shape
t.multinomial(t.ones(3),4)
t.multinomial(t.ones(3),4,True).shape
t.multinomial(t.ones(3),4,replacement=True).shape
t.multinomial(t.ones(3),0)
t.multinomial(t.ones(3),-1)
t.multinomial(t.zeros(3),1)
t.multinomial(t.zeros(3),1,True)
t.multinomial(t.tensor([0.,1.]),2)
t.multinomial(t.tensor([0.,1.]),2,True)
t.multinomial(t.tensor([-1.,1.]),1)
t.multinomial(t.tensor([nan,1.]),1)
t.multinomial(t.tensor([inf,1.]),1)
t.multinomial(t.ones(3,dtype=t.int64),1)
t.multinomial(t.tensor(1.),1)
t.multinomial(t.ones(2,2,2),1)
t.multinomial(t.ones(0),1)
t.multinomial(t.ones(0,3),1)
t.multinomial(t.ones(3,0),1)
t.multinomial(t.ones(3),2.0)
t.multinomial(t.ones(3),num_samples=2).shape
t.multinomial(t.ones(3,dtype=t.float16),1).shape
t.multinomial([1.,2.],1)
t.multinomial(t.ones(3,requires_grad=True),1).requires_grad
t.ones(3).multinomial(2).shape
t.poisson(t.tensor([0.,5.])).dtype
t.poisson(t.tensor([0,5]))
t.poisson(t.tensor([-1.]))
t.poisson(t.tensor([nan]))
t.poisson(5.)
t.poisson(t.ones(2,dtype=t.float16)).dtype
t.poisson(t.ones(2)*1e12)
t.binomial(t.tensor([10.]),t.tensor([1.]))
t.binomial(t.tensor([10.,5.]),t.tensor([0.]))
t.binomial(t.tensor([10.,5.]),t.tensor([0.,0.,0.]))
t.binomial(t.tensor([10]),t.tensor([1.]))
t.binomial(t.tensor([10]),t.tensor([1]))
t.binomial(t.tensor([10.]),t.tensor([1.],dtype=t.float64))
t.binomial(t.tensor([-1.]),t.tensor([.5]))
t.binomial(t.tensor([2.5]),t.tensor([1.]))
t.binomial(t.tensor([3.]),t.tensor([1.5]))
t.rand_like(t.zeros(2,3)).shape
t.rand_like(t.zeros(2,dtype=t.int64))
t.rand_like(t.zeros(2,dtype=t.int64),dtype=t.float64).dtype
t.rand_like([1])
t.rand_like(t.zeros(2,3).t()).stride()
t.rand_like(t.zeros(2,3).t(),memory_format=t.contiguous_format).stride()
t.rand_like(t.zeros(2),generator=t.Generator()).shape
t.rand_like(t.zeros(2),requires_grad=True).requires_grad
t.rand_like(t.zeros(2),layout=t.strided,pin_memory=False).shape
t.randint_like(t.zeros(2),5).dtype
t.randint_like(t.zeros(2),2,5).dtype
t.randint_like(t.zeros(2),low=2,high=5).dtype
t.randint_like(t.zeros(2),high=5).dtype
t.randint_like(t.zeros(2),5,dtype=t.int32).dtype
t.randint_like(t.zeros(2),5,2)
t.randint_like(t.zeros(2,dtype=t.bool),5)
t.randint_like(t.zeros(2,dtype=t.uint8),500)
t.randint_like(t.zeros(2),0)
t.randint_like(t.zeros(2),t.tensor(4)).shape
t.randn_like(t.zeros(2),memory_format=t.channels_last)
t.zeros(2).uniform_(1,2).shape
t.zeros(2).uniform_(2,1)
t.zeros(2).uniform_(1,1)
t.zeros(2).uniform_(nan,1)
t.zeros(2).uniform_(-inf,1)
t.zeros(2).uniform_(from_=1,to=2)
t.zeros(2).uniform_(**{'from':1,'to':2}).shape
t.zeros(2).uniform_(a=1)
t.zeros(2).uniform_(to=3).shape
t.zeros(2,dtype=t.int64).uniform_()
t.zeros(2,dtype=t.bool).uniform_()
t.zeros(2,dtype=t.float16).uniform_(0,1e6)
t.zeros(2).uniform_(-3.4e38,3.4e38)
t.zeros(2).uniform_(0,1e39)
t.zeros(2).uniform_('a')
t.zeros(2,dtype=t.int64).normal_()
t.zeros(2).normal_(0,-1)
t.zeros(2).normal_(0,0)
t.zeros(2).normal_(mean=1,std=2,generator=t.Generator()).shape
t.zeros(2).normal_(0,nan)
t.zeros(2).random_(5).dtype
t.zeros(2).random_(2,5).dtype
t.zeros(2).random_(5,5)
t.zeros(2).random_(0)
t.zeros(2).random_(-3)
t.zeros(2).random_(-3,None).shape
t.zeros(2).random_(3,None).shape
t.zeros(2).random_(**{'from':1,'to':4}).shape
t.zeros(2,dtype=t.int8).random_(200)
t.zeros(2,dtype=t.bool).random_(3)
t.zeros(2,dtype=t.uint8).random_(-1,4)
t.zeros(1000,dtype=t.uint8).random_().max()
t.zeros(1000,dtype=t.int8).random_().min()
t.zeros(2).random_(1.5)
t.zeros(2).exponential_().shape
t.zeros(2).exponential_(2.0).shape
t.zeros(2).exponential_(lambd=2.0).shape
t.zeros(2).exponential_(0)
t.zeros(2).exponential_(-1)
t.zeros(2).exponential_(nan)
t.zeros(2).exponential_(inf)
t.zeros(2,dtype=t.int64).exponential_()
t.zeros(2).cauchy_().shape
t.zeros(2).cauchy_(0,0)
t.zeros(2).cauchy_(0,-1)
t.zeros(2).cauchy_(median=1,sigma=2).shape
t.zeros(2,dtype=t.int64).cauchy_()
t.zeros(2).geometric_(0.5).shape
t.zeros(2).geometric_()
t.zeros(2).geometric_(0)
t.zeros(2).geometric_(1)
t.zeros(2).geometric_(1.5)
t.zeros(2).geometric_(p=0.5).shape
t.zeros(2,dtype=t.int64).geometric_(0.5).dtype
t.zeros(2,dtype=t.bool).geometric_(0.5)
t.zeros(2).log_normal_().shape
t.zeros(2).log_normal_(1,0)
t.zeros(2).log_normal_(1,-1)
t.zeros(2).log_normal_(mean=1,std=2).shape
t.zeros(2,dtype=t.int64).log_normal_()
t.zeros(2,requires_grad=True).uniform_()
t.zeros(2,requires_grad=True)[0].uniform_()
(t.zeros(2,requires_grad=True)*2).uniform_().requires_grad
t.zeros(2).expand(2,2).uniform_()
t.zeros(1).expand(2).normal_()
t.zeros(1).expand(2).random_()
t.zeros(0).uniform_()
t.zeros(2)[::2].uniform_().shape
t.set_rng_state(t.zeros(3))
t.rand(3,names=None).shape
t.randn(size=(2,),generator=None).shape
t.randn((2,3),2)
t.randn(True)
t.rand(2, dtype=t.bfloat16).dtype
t.rand(2, dtype=t.complex64).dtype
t.randn(2, dtype=t.complex128).dtype
t.zeros(2, dtype=t.bfloat16).uniform_(2, 1)
t.zeros(2, dtype=t.complex64).normal_().dtype
t.randperm(258, dtype=t.bfloat16).dtype
t.randint(5, (2,), dtype=t.bfloat16).dtype
t.zeros(2, dtype=t.complex64).exponential_()
t.bernoulli(t.zeros(2, dtype=t.bfloat16))
t.zeros(2, dtype=t.complex64).bernoulli_(1.0)
""".strip().splitlines()
EXPRESSIONS += [f"str((t.ones(2, requires_grad=True) * 2).{fill}.grad_fn).split()[0]" for fill in FILLS]
EXPRESSIONS += [f"str(t.ones(2, requires_grad=True).{fill})" for fill in FILLS]
EXPRESSIONS += [f"(lambda x: str({call}.grad_fn).split()[0])(t.ones(2, requires_grad=True))" for call in FUNCTIONS]


@pytest.mark.parametrize("expression", EXPRESSIONS)
@pytest.mark.filterwarnings("ignore")
def test_same_end(expression):
    torch = pytest.importorskip("torch")

    def program(t):
        t.manual_seed(0)
        return eval(expression, names(t))

    ours, theirs = outcome(program, nbtorch)[0], outcome(program, torch)[0]
    assert ours == theirs


@pytest.mark.parametrize("fill", FILLS)
def test_what_was_overwritten_gets_no_gradient(fill):
    x = nbtorch.ones(2, requires_grad=True)
    y = x * 2
    eval(f"y.{fill}", {"y": y, "t": nbtorch})
    (y * 3).sum().backward()
    assert x.grad.tolist() == [0.0, 0.0]


def draws():
    x = nbtorch.ones(50)
    return [
        nbtorch.rand(3), nbtorch.randn(3), nbtorch.randint(9, (4,)), nbtorch.randperm(5), nbtorch.normal(x, 2.0), nbtorch.poisson(x),
        nbtorch.bernoulli(x / 2), nbtorch.multinomial(x, 7), nbtorch.binomial(x * 9, x / 3), x.clone().exponential_(), nbtorch.rand(3).half(),
        nbtorch.rand_like(x), nbtorch.randn_like(x), nbtorch.randint_like(x, 5),
    ]  # fmt: skip


def alike(first, second):
    return all(nbtorch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_seeds_and_states_repeat_every_distribution():
    nbtorch.manual_seed(5)
    first, state = draws(), nbtorch.get_rng_state()
    later = draws()
    nbtorch.manual_seed(5)
    assert alike(first, draws())
    nbtorch.set_rng_state(state)
    assert alike(later, draws()) and not alike(first, later)


def test_fork_rng_leaves_no_trace():
    nbtorch.manual_seed(1)
    with nbtorch.random.fork_rng():
        inside = nbtorch.rand(3)
    assert nbtorch.equal(inside, nbtorch.rand(3))
    with nbtorch.random.fork_rng(enabled=False):
        inside = nbtorch.rand(3)
    assert not nbtorch.equal(inside, nbtorch.rand(3))


def test_generators_are_copied_with_their_state():
    generator = nbtorch.Generator().manual_seed(3)
    nbtorch.rand(5, generator=generator)
    copies = [
        generator.clone_state(),
        copy.copy(generator),
        copy.deepcopy(generator),
        pickle.loads(pickle.dumps(generator)),
    ]
    expected = nbtorch.rand(4, generator=generator)
    assert all(nbtorch.equal(nbtorch.rand(4, generator=twin), expected) for twin in copies)
    assert all(twin.initial_seed() == 3 for twin in copies)
    with pytest.raises(RuntimeError, match="does not use an offset"):
        generator.get_offset()


def drawn(fill, dtype="float64"):
    nbtorch.manual_seed(0)
    return fill(nbtorch.ones(100_000, dtype=getattr(nbtorch, dtype))).double().numpy()


MOMENTS = {
    "uniform": (lambda x: x.uniform_(-1, 3), 1, 16 / 12),
    "normal": (lambda x: x.normal_(2, 3), 2, 9),
    "log_normal": (lambda x: x.log_normal_(0, 0.5), np.exp(0.125), (np.exp(0.25) - 1) * np.exp(0.25)),
    "exponential": (lambda x: x.exponential_(2), 0.5, 0.25),
    "geometric": (lambda x: x.geometric_(0.25), 4, 12),
    "bernoulli": (lambda x: x.bernoulli_(0.3), 0.3, 0.21),
    "random": (lambda x: x.random_(10, 20), 14.5, 99 / 12),
    "poisson": (lambda x: nbtorch.poisson(x * 4), 4, 4),
    "binomial": (lambda x: nbtorch.binomial(x * 20, x / 4), 5, 3.75),
    "multinomial": (lambda x: nbtorch.multinomial(x.new_tensor([1, 2, 3, 4]), len(x), True), 2, 1),
    "randint": (lambda x: nbtorch.randint(-2, 3, x.shape), 0, 2),
}


@pytest.mark.parametrize("name", MOMENTS)
def test_moments(name):
    fill, mean, variance = MOMENTS[name]
    values = drawn(fill)
    assert abs(values.mean() - mean) < 5 * np.sqrt(variance / len(values))
    assert abs(values.var() / variance - 1) < 0.05


def test_the_median_of_cauchy_numbers():
    values = drawn(lambda x: x.cauchy_(3, 2))
    quarters = np.quantile(values, [0.25, 0.5, 0.75])
    assert np.allclose(quarters, [1, 3, 5], atol=0.1)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_ends_of_ranges(dtype):
    values = drawn(lambda x: x.uniform_(0, 1), dtype)
    assert values.min() >= 0 and values.max() < 1
    values = drawn(lambda x: x.uniform_(8, 9), dtype)
    assert values.min() >= 8 and values.max() < 9
    values = drawn(lambda x: nbtorch.rand_like(x), dtype)
    assert values.max() < 1 and len(set(values.tolist())) > 200
    values = drawn(lambda x: x.random_(), dtype)
    assert values.min() >= 0 and (values == np.floor(values)).all() and values.max() > 200


def test_drawing_without_replacement_prefers_what_weighs_more():
    nbtorch.manual_seed(0)
    weights = nbtorch.tensor([[0.0, 1.0, 9.0]]).expand(5000, 3)
    picked = nbtorch.multinomial(weights, 2)
    assert set(picked.sum(1).tolist()) == {3} and abs((picked[:, 0] == 2).float().mean().item() - 0.9) < 0.02
    assert sorted(nbtorch.multinomial(nbtorch.ones(40), 40).tolist()) == list(range(40))


def test_a_permutation_has_every_number_in_any_place():
    nbtorch.manual_seed(0)
    rows = nbtorch.stack([nbtorch.randperm(5) for _ in range(2000)])
    assert (rows.sort(1).values == nbtorch.arange(5)).all() and abs(rows.float().mean(0) - 2).max() < 0.15
