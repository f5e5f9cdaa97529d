"""The modules and functions of activations as PyTorch has them: arguments, reprs, special values, types, errors."""

import pytest

import nbtorch
from tests.against_torch import assert_same

MODULE_NAMES = (
    "ELU() ELU(2,True) Hardshrink() Hardsigmoid() Hardsigmoid(True) Hardswish() Hardswish(True) Hardtanh()"
    " Hardtanh(-2,3,True) LeakyReLU() LeakyReLU(0.2,True) LogSigmoid() PReLU() ReLU() ReLU(True) ReLU6() ReLU6(True)"
    " RReLU() SELU() SELU(True) CELU() CELU(2,True) GELU() GELU('tanh') SiLU() SiLU(True) Mish() Mish(True) Softplus()"
    " Softplus(2,3) Softshrink() Softsign() Tanh() Tanhshrink() Threshold(0.1,20) Threshold(0.1,20,True) Sigmoid()"
    " GLU() GLU(1) Softmin() Softmin(1) Softmax(1) Softmax2d() LogSoftmax(0) RReLU(.1,.2,True) PReLU(3)"
    " Hardtanh(min_value=-3,max_value=2) Hardtanh(1,-1) ELU(1,2,3) ELU(foo=3) Threshold(1) Tanh(3) ELU(alpha=3)"
)
MODULES = MODULE_NAMES.split()

CALLS = (
    """
F.hardtanh(x,1.,-1.);F.celu(x,0);F.elu(x,-1);F.gelu(x,"foo");F.gelu(x,approximate="foo");F.glu(torch.ones(3))
F.glu(torch.tensor(1.));F.glu(torch.ones(2,4),5);F.prelu(x,torch.ones(2));F.prelu(torch.ones(3,2,4),torch.ones(2))
F.prelu(torch.ones(3,2,4),torch.ones(3));F.prelu(torch.tensor(1.),torch.ones(2));F.prelu(x,torch.tensor(.5))
F.prelu(x,torch.ones(1,dtype=torch.float64));F.prelu(x,torch.ones(2,2));F.prelu(x,torch.ones(1,1));F.softshrink(x,-1)
F.rrelu(x,0.5,0.2);F.rrelu(x,0.5,0.2,training=True);torch.rrelu(x,.2,.3,True)*0;torch.rrelu(x);F.rrelu_(x*1,.2,.3)
F.threshold(torch.arange(4),1,20);F.threshold(torch.tensor([True]),1,20);F.softplus(torch.arange(4));F.relu(3)
F.elu("a");F.softplus(x,0);F.elu(x,alpha="a");F.gumbel_softmax(x,-1).shape;F.gumbel_softmax(x,hard=True).sum()
F.relu(torch.tensor([True]));F.softmin(x);F.hardtanh(torch.arange(4,dtype=torch.uint8),-1,2);F.relu6(torch.arange(-1,9))
F.hardtanh(torch.arange(4),-1.5,2.5);F.elu_(x.requires_grad_());torch.threshold(x,0,1);x.prelu(torch.ones(1))
x.hardshrink(0.3);torch.celu(x,alpha=2.);torch.sigmoid_(x*1);torch.selu_(x*1);F.relu_(torch.arange(-2,2));x.relu_()
torch.relu_(x);F.glu(torch.arange(8.).reshape(2,4),0);F.silu(x*1,inplace=True);F.elu_(x*1,2.);F.elu_(x*1,alpha=.5)
F.hardtanh_(x*1,-.1,.2);F.hardtanh_(x*1,min_val=-.1,max_val=.2);F.leaky_relu_(x*1,.2);F.threshold_(x*1,.2,3)
F.softplus(input=x,beta=2);F.hardshrink(x,lambd=.1);F.tanh(torch.arange(3));torch.tanh(torch.tensor(True))
F.relu(torch.ones(0,3));F.gelu(torch.tensor(1.5));F.celu_(x*1,2.);nn.PReLU(2,.1).state_dict();F.selu_(x*1)
nn.PReLU(3)(torch.arange(-3.,3).reshape(1,3,2));nn.Softmax2d()(torch.arange(8.).reshape(2,2,2));F.tanhshrink(x>0)
nn.Softmax2d()(torch.ones(2,2));F.softsign(x>0);torch.ones(2,3).t().relu().stride();nn.Hardsigmoid()(x>0)
F.relu(torch.ones(2,3,4)[:,:,::2].permute(2,0,1)).stride();F.silu(x.to(torch.float16));F.softmax(torch.arange(3),0)
F.relu(x*1j);F.hardtanh(x*1j);F.silu(x*1j);F.softsign(x*1j);F.tanhshrink(x*.5j);F.sigmoid(x*.5j);F.elu(x*1j)
""".replace("\n", ";")
    .strip(";")
    .split(";")
)

SPECIAL = [
    -3.0,
    3.0,
    0.0,
    -0.0,
    -1.0,
    1.0,
    6.0,
    0.5,
    -0.5,
    float("inf"),
    -float("inf"),
    100.0,
    -100.0,
    1e-5,
    float("nan"),
]


def evaluate(text, **names):
    return lambda torch: eval(text, {"torch": torch, "nn": torch.nn, "F": torch.nn.functional, **names})


@pytest.mark.parametrize("text", MODULES)
def test_module_repr(text):
    assert_same(evaluate(f"(repr(nn.{text}), list(nn.{text}.state_dict()))"))


@pytest.mark.parametrize("text", CALLS)
def test_call(text):
    assert_same(lambda torch: evaluate(text, x=torch.arange(6.0) - 2.5)(torch))


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("text", [m for m in MODULES[:40] if m[:3] not in ("GLU", "PRe", "RRe") and "oftm" not in m])
def test_special_values(text, dtype):
    def program(torch):
        x = torch.tensor(SPECIAL).to(getattr(torch, dtype)).requires_grad_()
        module = eval(f"nn.{text}", {"nn": torch.nn})
        finite = x[:9] * 1
        result = module(x * 1), module(finite)
        return (*result, torch.autograd.grad(result[1].sum(), x)[0])

    if text.startswith("Hardsigmoid") and dtype == "float64":
        pytest.skip("PyTorch's derivative has a constant in float32")
    assert_same(program)


def test_rrelu_draws_slopes_in_training_only():
    layer = nbtorch.nn.RReLU(0.2, 0.4)
    x = nbtorch.full((1000,), -1.0, requires_grad=True)
    y = layer(x)
    slopes = -y.detach().numpy()
    assert slopes.min() >= 0.2 and slopes.max() <= 0.4 and slopes.std() > 0.05
    y.sum().backward()
    assert (x.grad.numpy() == slopes).all()
    assert (layer.eval()(x).detach() == nbtorch.tensor(-0.3)).all()


def test_in_place_without_a_copy():
    x = nbtorch.randn(5)
    address, version = x.data_ptr(), x._version
    assert nbtorch.nn.functional.silu(x, inplace=True) is x
    assert x.data_ptr() == address and x._version > version
