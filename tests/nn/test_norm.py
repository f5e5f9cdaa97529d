"""Modules of normalisation, and lazy modules, as PyTorch has them."""

import copy
import pickle

import numpy as np
import pytest

import nbtorch
from nbtorch import nn
from tests.against_torch import assert_same

MODULES = """
LayerNorm(4);LayerNorm([3,4],bias=False);LayerNorm((4,),elementwise_affine=False);LayerNorm(4,1e-3);RMSNorm(4)
RMSNorm([3,4],eps=1e-3,elementwise_affine=False);GroupNorm(3,6);GroupNorm(3,6,affine=False);GroupNorm(2,3)
GroupNorm(0,3);GroupNorm(1,3,bias=False);BatchNorm1d(3);BatchNorm2d(3,1e-3,None,False,False);BatchNorm3d(3,bias=False)
BatchNorm1d(3,momentum=None);InstanceNorm1d(3);InstanceNorm2d(3,affine=True);LocalResponseNorm(2,1,2,3)
InstanceNorm3d(3,track_running_stats=True);CrossMapLRN2d(3);SyncBatchNorm(3);LazyBatchNorm1d();LazyInstanceNorm2d()
LazyLinear(3);LazyLinear(3,bias=False);LazyConv2d(3,2,padding=1);LazyConvTranspose3d(3,2,bias=False);LazyBatchNorm3d()
LazyBatchNorm2d(affine=False);LazyInstanceNorm1d(track_running_stats=False);LazyConv1d(3,2,groups=3);LazyConv1d(3)
""".replace("\n", ";").strip(";").split(";")  # fmt: skip

CALLS = """
F.batch_norm(x,None,None);F.batch_norm(x,torch.zeros(3),None);F.batch_norm(x,torch.zeros(4),torch.ones(4))
F.batch_norm(x,torch.zeros(3),torch.ones(3),torch.ones(2));F.batch_norm(torch.ones(1,3),None,None,training=True)
F.batch_norm(torch.ones(3),None,None,training=True);F.batch_norm(torch.ones(0,3),None,None,training=True)
F.batch_norm(torch.ones(0,3,2),torch.zeros(3),torch.ones(3),training=True);F.batch_norm(x.long(),None,None,training=True)
F.batch_norm(x.half(),torch.zeros(3),torch.ones(3),torch.ones(3),torch.ones(3));F.layer_norm(x,4);F.layer_norm(x,(3,))
F.batch_norm(x.double(),torch.zeros(3),torch.ones(3));F.layer_norm(x,());F.layer_norm(x,(4,),torch.ones(3))
F.layer_norm(x,(3,4),torch.ones(3,4),torch.ones(4));F.layer_norm(torch.ones(0,4),(4,));F.group_norm(x,2)
F.layer_norm(torch.ones(2,0),(0,));F.layer_norm(x.half(),(4,));F.layer_norm(x.long(),(4,));F.layer_norm(x,[4])
F.group_norm(x,0);F.group_norm(torch.ones(3),1);F.group_norm(x,3,torch.ones(4));F.group_norm(torch.ones(1,3),3)
F.group_norm(torch.ones(0,4,2),2);F.instance_norm(torch.ones(2,3));F.instance_norm(torch.ones(2,3,1))
F.instance_norm(x,use_input_stats=False);F.instance_norm(x,torch.zeros(3),None);F.rms_norm(x,(3,));F.rms_norm(x,4)
F.instance_norm(x,torch.zeros(3),torch.ones(3),torch.ones(2));F.rms_norm(x,(4,),torch.ones(3));F.rms_norm(x,())
F.local_response_norm(torch.ones(2),2);F.local_response_norm(x,0);F.local_response_norm(torch.ones(0,2,2),2)
F.normalize(torch.arange(4));F.normalize(x.flatten(1),dim=(0,1));nn.BatchNorm1d(3)(torch.ones(3))
nn.BatchNorm2d(3)(torch.ones(3,3));nn.BatchNorm3d(3)(torch.ones(3,3));nn.BatchNorm1d(3)(torch.ones(2,4))
nn.InstanceNorm1d(3)(torch.ones(3,4));nn.InstanceNorm1d(3)(torch.ones(4,4));nn.InstanceNorm1d(3)(torch.ones(4))
nn.InstanceNorm1d(3,affine=True)(torch.ones(4,4));nn.CrossMapLRN2d(3)(x);nn.CrossMapLRN2d(4,.5)(x.reshape(1,6,2,2))
nn.CrossMapLRN2d(3,.5)(x.reshape(1,6,2,2));nn.SyncBatchNorm(3)(x);nn.SyncBatchNorm(3)(torch.ones(3))
nn.LazyLinear(3).weight.shape;nn.LazyLinear(3).weight*2;nn.LazyConv2d(3,2)(torch.ones(4));nn.LazyLinear(2)(x).shape
nn.LazyConv1d(4,2,groups=2)(x);nn.Linear(3,2).load_state_dict(nn.LazyLinear(2).state_dict())
torch.batch_norm(x,None,None,None,None,True,0.1,1e-5,True);torch.layer_norm(x,(4,));torch.group_norm(x,3)
torch.instance_norm(x,None,None,None,None,True,0.1,1e-5,True);torch.rms_norm(x,(4,));list(nn.LazyBatchNorm1d().state_dict())
""".replace("\n", ";").strip(";").split(";")  # fmt: skip


def evaluate(text, **names):
    return lambda torch: eval(text, {"torch": torch, "nn": torch.nn, "F": torch.nn.functional, **names})


@pytest.mark.parametrize("text", MODULES)
def test_module_repr(text):
    assert_same(evaluate(f"(repr(nn.{text}), list(nn.{text}.state_dict()))"))


@pytest.mark.parametrize("text", CALLS)
def test_call(text):
    assert_same(lambda torch: evaluate(text, x=torch.arange(24.0).reshape(2, 3, 4))(torch))


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("options", [{}, {"affine": False}, {"track_running_stats": False}])
@pytest.mark.parametrize("name", ["BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "InstanceNorm2d", "SyncBatchNorm"])
def test_training_and_evaluation(name, options, momentum):
    if momentum is None and name == "InstanceNorm2d":
        pytest.skip("instance normalisation has no cumulative mean")
    shape = {"1": (4, 3, 5), "2": (4, 3, 2, 3), "3": (2, 3, 2, 3, 2)}.get(name[-2], (4, 3))
    data = np.random.default_rng(0).standard_normal((3, *shape))

    def program(torch):
        layer = getattr(torch.nn, name)(3, momentum=momentum, dtype=torch.float64, **options)
        results = [layer(torch.tensor(batch)) for batch in data]
        layer.eval()
        return [*results, layer(torch.tensor(data[0])), dict(layer.state_dict())]

    assert_same(program)


def test_sync_batch_norm_takes_over_parameters():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(net)
    assert type(converted[1]) is nn.SyncBatchNorm
    assert list(converted.state_dict()) == list(net.state_dict())


def test_statistics_of_large_means_are_accurate():
    x = np.random.default_rng(0).standard_normal((8, 4, 1000)).astype(np.float32) + 1000
    y = nn.functional.batch_norm(nbtorch.tensor(x), None, None, training=True).numpy()
    wide = x.astype(np.float64)
    expected = (wide - wide.mean((0, 2), keepdims=True)) / np.sqrt(wide.var((0, 2), keepdims=True) + 1e-5)
    np.testing.assert_allclose(y, expected, atol=2e-4)


def test_old_state_dicts_have_no_count():
    layer = nn.BatchNorm1d(2)
    state = layer.state_dict()
    del state["num_batches_tracked"]
    del state._metadata
    assert str(layer.load_state_dict(state)) == "<All keys matched successfully>"


@pytest.mark.parametrize(
    "name", ["LazyLinear", "LazyConv1d", "LazyConvTranspose1d", "LazyBatchNorm1d", "LazyInstanceNorm1d"]
)
def test_lazy_modules_become_ordinary_ones(name):
    sizes = (4,) if name == "LazyLinear" else () if "Norm" in name else (4, 3)
    x = nbtorch.randn(2, 3, 8)
    layer = getattr(nn, name)(*sizes, dtype=nbtorch.float64)
    assert layer.has_uninitialized_params()
    twin, restored = copy.deepcopy(layer), pickle.loads(pickle.dumps(layer.weight))
    assert repr(twin.weight) == repr(restored) == "<UninitializedParameter>"
    layer.half().double()
    layer(x.double())
    assert type(layer) is getattr(nn, name[4:]) and not layer._call_hooks
    assert layer.weight.dtype is nbtorch.float64 and type(layer.weight) is nn.Parameter
    twin.load_state_dict(layer.state_dict())
    assert all((a == b).all() for a, b in zip(layer.parameters(), twin.parameters(), strict=True))
    assert repr(twin(x.double()).shape) == repr(layer(x.double()).shape)


def test_optimizers_and_clones_of_lazy_modules():
    net = nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2))
    net(nbtorch.randn(2, 1, 6, 6)).sum().backward()
    assert [tuple(p.shape) for p in net.parameters()] == [(4, 1, 3, 3), (4,), (4,), (4,), (2, 64), (2,)]
    assert all(p.grad is not None for p in net.parameters())
