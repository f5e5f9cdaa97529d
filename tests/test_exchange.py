"""Memory exchanged with NumPy and PyTorch without copies: NumPy's functions on tensors, DLPack, Python's protocols."""

import os
import subprocess
import sys

import numpy as np
import pytest

import nbtorch

from .against_torch import outcome


def names(t):
    a, x, i = np.arange(3.0), t.arange(3.0), t.arange(3)
    return {"t": t, "np": np, "a": a, "x": x, "i": i, "g": t.arange(3.0, requires_grad=True)}


EXPRESSIONS = r"""
np.add(x,1)
np.sin(x)
np.sin(i)
np.sin(g)
np.isnan(x)
np.add(x,a)
np.add(a,x)
np.add.reduce(x)
np.sum(x)
np.mean(x)
np.maximum(x,1)
np.greater(x,1)
np.modf(x)
np.exp(x,out=np.zeros(3))
np.exp(x,out=np.zeros(3,np.float32))
np.dot(x,x)
np.stack([x,x])
np.concatenate([x,x])
np.where(x>1,x,0)
np.clip(x,0,1)
np.sort(x)
np.add(x,g)
np.multiply(2,x)
np.square(t.tensor(3.))
np.add(i,1.5)
np.logical_not(x>1)
np.floor_divide(i,2)
a*x
x*a
a+x
x+a
a-x
x-a
a/x
x/a
a**x
x**a
a//2.0*x
a@x
x@a
a.astype(np.float32)@x
x@a.astype(np.float32)
a==x
x==a
a<x
x<a
a>x
a%x
a&i
i&np.arange(3)
a+g
g+a
a*i
np.float32(2)*x
np.float64(2)*x
x*np.float64(2)
np.float64(2)*i
np.int64(2)*x
np.float32(2)+g
np.float64(2)-x
np.float64(2)/x
np.float64(2)**x
np.float64(2)>x
np.bool_(True)&(x>1)
np.array(2.0)*x
x*np.array(2.0)
x+[1,2,3]
[1,2,3]+x
a.__iadd__(x)
x.__iadd__(a)
a.__setitem__(0,x[1])
a.__setitem__(slice(None),x)
np.asarray(x)
np.asarray(g)
np.array(x)
np.array(x,dtype=np.int32)
np.array(x,dtype=np.int32,copy=False)
np.asarray(x,dtype=np.float64)
np.array([x,x])
np.array([x[0],x[1]])
x.__array__()
x.__array__(np.float64)
x.__array__(dtype=np.float64)
x.__array_wrap__(a)
x.__array_wrap__(np.array([True]))
x.numpy(force=True)
g.numpy(force=True)
g.numpy()
hasattr(x,'__array_interface__')
x.__dlpack_device__()
np.from_dlpack(x)
np.from_dlpack(g)
np.from_dlpack(t.zeros(2,dtype=t.bool))
np.from_dlpack(t.zeros(2,3).t())
np.from_dlpack(t.tensor(3.))
np.from_dlpack(t.zeros(0))
x.__dlpack__(stream=3)
x.__dlpack__(stream='a')
x.__dlpack__(3)
g.__dlpack__()
(g*2).__dlpack__()
t.from_dlpack(a)
t.from_dlpack(a).data_ptr()==a.ctypes.data
t.from_dlpack(x).data_ptr()==x.data_ptr()
t.from_dlpack(x) is x
t.from_dlpack(x,copy=True).data_ptr()==x.data_ptr()
t.from_dlpack(x,device='cpu')
t.from_dlpack(x,copy=False)
t.from_dlpack(a[::2]).stride()
t.from_dlpack(np.array(['a']))
t.from_dlpack([1])
t.from_dlpack(3)
t.from_dlpack(g)
t.from_dlpack(x.__dlpack__())
t.from_dlpack(a.__dlpack__())
t.from_dlpack(t.utils.dlpack.to_dlpack(x))
t.utils.dlpack.from_dlpack(a)
t.utils.dlpack.DLDeviceType.kDLCPU
t.from_dlpack(np.broadcast_to(np.ones(1),(3,)))
t.asarray(x.__dlpack__())
np.asarray(t.ones(2,requires_grad=True).detach())
np.ones(2)*t.ones(2,requires_grad=True)
np.testing.assert_allclose(x,a)
np.allclose(x,a)
np.array_equal(x,a)
list(map(type,np.array([1.,2.])*t.ones(2)))
np.linalg.norm(x)
np.atleast_2d(x)
np.reshape(x,(3,1))
np.ravel(x)
np.shape(x)
np.ndim(x)
np.transpose(t.zeros(2,3)).shape
memoryview(x)
bytes(t.tensor([1,2],dtype=t.uint8))
x.tobytes
int(t.tensor(2.7))
float(t.tensor([1.5]))
complex(t.tensor(1.))
float(x)
int(t.zeros(0))
x.__index__()
i[1].__index__()
t.tensor(True).__index__()
t.tensor([3]).__index__()
[1,2,3][i[1]]
x.__reversed__()
reversed(t.zeros(2,3)).shape
list(reversed(i))
reversed(t.tensor(1))
len(t.zeros(0,3))
[v.shape for v in t.zeros(2,3)]
list(t.zeros(0,2))
3 in x
x[0] in x
'a' in x
None in x
[1.] in x
2.0 in i
i in i
t.zeros(2) in i
format(x,'')
format(x,'.2f')
format(x[1],'.2f')
format(i[1],'d')
format(x[1],'d')
format(x[1])
format(g[1],'.1f')
format(g[1])
format(t.tensor([1.5]),'.1f')
f'{x[1]:>8}'
f'{t.tensor(True)}'
f'{t.tensor(True):d}'
str(x[1])
bool(t.zeros(1,1))
bool(t.zeros(2))
bool(t.zeros(0))
bool(t.tensor(float('nan')))
x.item()
x.tolist()
x[1].tolist()
x.apply_(lambda v:v+1)
x.apply_(3)
g.apply_(lambda v:v)
i.apply_(lambda v:v*2)
i.apply_(lambda v:v*.5)
x.map_(x,lambda p,q:p*q)
x.map_(t.ones(1),lambda p,q:p+q)
x.map_(i,lambda p,q:p+q)
x.map2_(x,x,lambda p,q,r:p+q+r)
g.map_(x,lambda p,q:p)
x.tensor
""".strip().splitlines()


@pytest.mark.parametrize("expression", EXPRESSIONS)
@pytest.mark.filterwarnings("ignore")
def test_same_end(expression):
    torch = pytest.importorskip("torch")

    def program(t):
        t.manual_seed(0)
        return eval(expression, names(t))

    ours, theirs = outcome(program, nbtorch)[0], outcome(program, torch)[0]
    assert ours == theirs


def test_array_copies_as_numpy_asks():
    x = nbtorch.arange(3.0)
    assert np.shares_memory(np.asarray(x), x.numpy())
    assert not np.shares_memory(np.array(x), x.numpy())
    assert np.shares_memory(np.array(x, copy=False), x.numpy())
    assert x.__array__(np.float64).dtype == np.float64
    with pytest.raises(ValueError, match="avoid copy"):
        np.array(x, dtype=np.float64, copy=False)


@pytest.mark.parametrize(
    "dtype", ["bool", "uint8", "int16", "int64", "uint32", "float16", "float64", "complex64", "bfloat16"]
)
@pytest.mark.parametrize("versioned", [True, False])
def test_dlpack_shares_memory_with_numpy_and_torch(dtype, versioned):
    torch = pytest.importorskip("torch")
    ours, theirs = nbtorch.zeros(2, 3, dtype=getattr(nbtorch, dtype)), torch.zeros(2, 3, dtype=getattr(torch, dtype))
    seen = torch.from_dlpack(ours.t())
    assert seen.data_ptr() == ours.data_ptr() and seen.stride() == (1, 3) and seen.dtype == theirs.dtype
    if dtype != "bfloat16":  # which NumPy does not take
        assert np.from_dlpack(ours).ctypes.data == ours.data_ptr()
    taken = nbtorch.from_dlpack(theirs.t().__dlpack__(max_version=(1, 0) if versioned else None))
    assert taken.data_ptr() == theirs.data_ptr() and taken.stride() == (1, 3) and taken.dtype is ours.dtype
    taken[0, 1] = 1
    assert theirs[1, 0] == 1
    assert nbtorch.utils.dlpack.from_dlpack(theirs).data_ptr() == theirs.data_ptr()
    assert torch.from_dlpack(nbtorch.to_dlpack(ours)).data_ptr() == ours.data_ptr()


def test_a_capsule_is_used_once():
    capsule = nbtorch.ones(2).__dlpack__()
    nbtorch.from_dlpack(capsule)
    with pytest.raises(RuntimeError, match="consumed only once"):
        nbtorch.from_dlpack(capsule)


def test_memory_outlives_the_tensor_that_exported_it():
    taken = nbtorch.from_dlpack(np.arange(100_000.0))
    assert taken.sum().item() == sum(range(100_000))
    assert np.from_dlpack(nbtorch.arange(100_000.0)).sum() > 0


def test_the_cuda_array_interface_in_the_simulator():
    program = (
        "import nbtorch\n"
        "x = nbtorch.ones(2, 3, device='cuda')\n"
        "view = x.t().__cuda_array_interface__\n"
        "assert view['shape'] == (3, 2) and view['strides'] == (4, 12) and view['data'] == (x.data_ptr(), False)\n"
        "assert x.__cuda_array_interface__['strides'] is None and view['typestr'] == '<f4'\n"
        "try:\n    x.requires_grad_().__cuda_array_interface__\n"
        "except RuntimeError as error:\n    print(error)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env={**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}
    )
    assert "requires grad" in ran.stdout, ran.stderr
