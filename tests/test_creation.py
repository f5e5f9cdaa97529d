"""Tensors made of every form of data, and all arguments of the functions that make them, as PyTorch takes them."""

import array
import math
import warnings

import numpy as np
import pytest

import nbtorch

from .against_torch import outcome


class Arrayable:
    """What NumPy would make an array of, and PyTorch does not."""

    def __array__(self, dtype=None, copy=None):
        return np.arange(3.0)


class Interface:
    array = np.arange(3.0)

    @property
    def __array_interface__(self):
        return self.array.__array_interface__


class Sequence:
    def __len__(self):
        return 2

    def __getitem__(self, index):
        if index > 1:
            raise IndexError
        return index + 0.5


def names(t):
    ro = np.ones(2)
    ro.flags.writeable = False
    x = t.ones(2, 2, requires_grad=True)
    xt = t.ones(2, 3, 4, 5).permute(0, 2, 1, 3)
    known = {"t": t, "np": np, "array": array, "A": Arrayable, "AI": Interface, "Seq": Sequence}
    return {**known, "ro": ro, "x": x, "xt": xt, "inf": math.inf, "nan": math.nan}


EXPRESSIONS = r"""
t.tensor(A())
t.tensor(AI())
t.tensor(Seq())
t.tensor(range(3))
t.tensor(b'ab')
t.tensor(bytearray(b'ab'))
t.tensor(memoryview(b'ab'))
t.tensor(array.array('f',[1,2]))
t.tensor({1,2})
t.tensor({1:2})
t.tensor(None)
t.tensor([None])
t.tensor('a')
t.tensor(['a'])
t.tensor([1,'a'])
t.tensor([[1,2],[3]])
t.tensor([[1],2])
t.tensor([1,[2]])
t.tensor([[],[]]).shape
t.tensor([[],[1]])
t.tensor([np.ones(2),np.zeros(2)])
t.tensor([np.float32(1),2])
t.tensor([np.float64(1)])
t.tensor(np.float32(1))
t.tensor([np.array(1.0),np.array(2)])
t.tensor([t.tensor(1),t.tensor(2.5)])
t.tensor([t.tensor([1]),t.tensor([2])])
t.tensor([t.tensor([1,2]),t.tensor([2,3])])
t.tensor([t.tensor(1.,dtype=t.float64)])
t.tensor([t.tensor(1,dtype=t.int8)])
t.tensor([True,1])
t.tensor([True,1.5])
t.tensor([1,2.5])
t.tensor([1,True])
t.tensor(2**63)
t.tensor(2**63-1)
t.tensor(-2**63-1)
t.tensor([2**63])
t.tensor(2**64,dtype=t.float32)
t.tensor(1.5,dtype=t.int64)
t.tensor([1.5,-1.5],dtype=t.int32)
t.tensor(float('nan'),dtype=t.int64)
t.tensor([300],dtype=t.uint8)
t.tensor([-1],dtype=t.uint8)
t.tensor(1e40)
t.tensor([1e40],dtype=t.float32)
t.tensor([1e10],dtype=t.float16)
t.tensor(2.5,dtype=t.bool)
t.tensor(np.array([1,2],'>i4'))
t.tensor(np.array(['a']))
t.tensor(np.array([None]))
t.tensor(np.array([1,2],object))
t.tensor(np.zeros(2,[('a',int)]))
t.tensor(np.array([1,2],'datetime64[s]'))
t.tensor(np.ones(3)[::-1])
t.tensor(ro)
t.tensor(x)
t.tensor(x).requires_grad
t.tensor([1.0],requires_grad=True).is_leaf
t.tensor([1],requires_grad=True)
t.tensor()
t.tensor([1],[2])
t.tensor(data=[1])
t.tensor([1],dtype=float)
t.tensor([1],dtype=int).dtype
t.tensor([1],dtype='float32')
t.tensor([1],dtype=np.float32)
t.tensor([1],device='cpu',pin_memory=False)
t.tensor([1],device=0)
t.tensor([1],foo=1)
t.tensor([[[[]]]]).shape
t.tensor(())
t.tensor((1,(2)))
t.tensor(np.ones((2,0))).shape
t.tensor(np.bool_(True))
t.tensor(np.array([1],np.float128))
t.tensor([np.uint8(3)])
t.tensor([np.bool_(True)])
t.tensor([1,2])[0].tolist()
t.as_tensor([1,2])
t.as_tensor(A())
t.as_tensor(AI())
t.as_tensor(ro)
t.as_tensor(np.ones(3)[::-1])
t.as_tensor(np.ones(3)[::-1],dtype=t.float32)
t.as_tensor(range(2))
t.as_tensor(x) is x
t.as_tensor(x,dtype=t.float32) is x
t.as_tensor(1.5)
t.as_tensor(array.array('f',[1,2]))
t.as_tensor(data=[1],dtype=t.float32,device='cpu')
t.as_tensor(memoryview(bytearray(b'ab')))
t.as_tensor(np.float64(3))
t.from_numpy(ro)
t.from_numpy(np.float64(3))
t.from_numpy(np.array(3.))
t.from_numpy(np.ones((2,3)).T).stride()
t.from_numpy(np.array([1,2],'>i4'))
t.from_numpy(np.array(['a']))
t.from_numpy(np.array([None]))
t.from_numpy(np.zeros(2,[('a',int)]))
t.from_numpy(np.ma.array([1,2]))
t.from_numpy(np.matrix([1,2]))
t.from_numpy(np.zeros(6,np.uint8)[1:5].view(np.int16))
t.from_numpy(np.zeros((4,),[('a','i4'),('b','i1')])['a'])
t.from_numpy(np.broadcast_to(np.ones(1),(3,))).stride()
t.asarray(A())
t.asarray(AI())
t.asarray([1,2],copy=False)
t.asarray([1,2],copy=True)
t.asarray(np.ones(2),copy=False,dtype=t.float32)
t.asarray(np.ones(2),copy=False,dtype=t.float64)
t.asarray(x) is x
t.asarray(x).requires_grad
t.asarray(x,requires_grad=True) is x
t.asarray(x,copy=True).requires_grad
t.asarray(array.array('f',[1,2]))
t.asarray(array.array('i',[1,2]))
t.asarray(bytearray(b'\x01\x02'))
t.asarray(b'\x01\x02')
t.asarray(b'\x01\x02',dtype=t.uint8)
t.asarray(bytearray(8),dtype=t.int32)
t.asarray(np.float32(3))
t.asarray(np.float32(3),copy=False)
t.asarray(5)
t.asarray(1.5,dtype=t.int64)
t.asarray(ro)
t.asarray('a')
t.asarray(None)
t.asarray(np.array([1,2],'>i4'))
t.asarray(np.ones(3)[::-1])
t.asarray(np.ones(3)[::-1],copy=True)
t.asarray(range(3))
t.asarray([1,2],dtype=t.float32,device='cpu',requires_grad=True)
t.asarray([t.tensor(1),t.tensor(2)])
t.asarray(np.ones(2),1)
t.frombuffer(bytearray(8),dtype=t.int32)
t.frombuffer(bytearray(8))
t.frombuffer(b'12345678',dtype=t.int32)
t.frombuffer(bytearray(8),dtype=t.int32,count=1)
t.frombuffer(bytearray(8),dtype=t.int32,count=3)
t.frombuffer(bytearray(8),dtype=t.int32,offset=4)
t.frombuffer(bytearray(8),dtype=t.int32,offset=8)
t.frombuffer(bytearray(8),dtype=t.int32,offset=-1)
t.frombuffer(bytearray(7),dtype=t.int32)
t.frombuffer(bytearray(7),dtype=t.int32,count=1)
t.frombuffer(bytearray(0),dtype=t.int32)
t.frombuffer(bytearray(8),dtype=t.int32,count=0)
t.frombuffer(bytearray(8),dtype=t.int32,count=-1)
t.frombuffer(bytearray(8),dtype=t.int32,count=-2)
t.frombuffer([1],dtype=t.int32)
t.frombuffer(bytearray(8),dtype=t.float32,requires_grad=True)
t.frombuffer(bytearray(8),t.float32)
t.frombuffer(np.ones(2),dtype=t.float64)
t.empty_strided((2,3),(3,1)).stride()
t.empty_strided((2,3),(1,2)).stride()
t.empty_strided((2,3),(0,1)).stride()
t.empty_strided((2,3),(1,))
t.empty_strided((2,3),(-1,1))
t.empty_strided((-2,3),(1,1))
t.empty_strided((2,3),(5,1),dtype=t.int64,requires_grad=False).untyped_storage().nbytes()
t.empty_strided(size=(2,3),stride=(5,1)).shape
t.empty_permuted((2,3,4),(2,0,1)).stride()
t.empty_permuted((2,3,4),physical_layout=(0,1,2),dtype=t.int8).dtype
t.empty(2,3,4,5,memory_format=t.channels_last).stride()
t.zeros(2,3,memory_format=t.contiguous_format)
t.zeros(2,layout=t.strided,pin_memory=False)
t.zeros(2,layout=3)
t.zeros(2,dtype=3)
t.zeros(2,dtype='float32')
t.zeros(2,dtype=float)
t.zeros(2,device='foo')
t.zeros(2,foo=1)
t.zeros(size=(2,))
t.zeros(size=2)
t.zeros((2,),(3,))
t.zeros([2,t.tensor(3)]).shape
t.zeros(t.Size([2,3])).shape
t.zeros(np.int64(2))
t.zeros(np.array([2,3]))
t.zeros((2.0,))
t.zeros(None)
t.zeros(2,dtype=None,device=None,layout=None)
t.zeros_like(xt).stride()
t.zeros_like(xt,memory_format=t.contiguous_format).stride()
t.zeros_like(xt,memory_format=t.channels_last).stride()
t.ones_like(xt,dtype=t.int32,layout=t.strided,device='cpu',pin_memory=False,requires_grad=False).dtype
t.ones_like(input=xt).shape
t.ones_like(3)
t.ones_like(t.ones(2).expand(3,2)).stride()
t.full_like(xt,3).stride()
t.full_like(t.ones(2,dtype=t.int64),2.7)
t.full_like(t.ones(2),True)
t.full_like(t.ones(2),t.tensor(3))
t.full_like(t.ones(2,dtype=t.uint8),300)
t.full_like(t.ones(2))
t.full_like(t.ones(2),fill_value=1)
t.full_like(t.ones(2),'a')
t.empty_like(xt,dtype=t.float16).stride()
t.full((2,),1)
t.full((2,),True)
t.full((2,),1.5)
t.full((2,),1,dtype=t.float16)
t.full((2,),1.5,dtype=t.int64)
t.full((2,),t.tensor(2))
t.full((2,),t.tensor(2.5,dtype=t.float64))
t.full((2,),t.tensor([2.5]))
t.full((2,),np.float32(2))
t.full((2,),np.int8(2))
t.full((2,),np.bool_(True))
t.full(2,1)
t.full([2],1)
t.full(size=(2,),fill_value=1)
t.full((2,))
t.full((2,),None)
t.full((2,),2**63)
t.full((),1)
t.full((2,),nan,dtype=t.int64)
t.full((2,),1,requires_grad=True)
t.full((2,),1.,requires_grad=True)
t.full((2,),'a')
t.arange(5)
t.arange(0)
t.arange(-1)
t.arange(2.5)
t.arange(1,2.5)
t.arange(1,5,2)
t.arange(5,1,-2)
t.arange(1,5,-1)
t.arange(1,5,0)
t.arange(1,1)
t.arange(0,1,0.1)
t.arange(0,1,.1,dtype=t.float64)
t.arange(0,5,1.5,dtype=t.int64)
t.arange(0,5,.5,dtype=t.int64)
t.arange(3,dtype=t.float16)
t.arange(3,dtype=t.bool)
t.arange(2,dtype=t.bool)
t.arange(True)
t.arange(t.tensor(3))
t.arange(t.tensor(3.))
t.arange(np.int64(3))
t.arange(np.float32(3))
t.arange(0,t.tensor(3),2)
t.arange(start=1,end=3)
t.arange(start=1,end=3,step=1)
t.arange(end=3)
t.arange(end=3,start=1)
t.arange()
t.arange(1,2,3,4)
t.arange(nan)
t.arange(inf)
t.arange('a')
t.arange([3])
t.arange(0,300,dtype=t.uint8)
t.arange(3,requires_grad=True)
t.arange(3.,requires_grad=True)
t.arange(2**53,2**53+3)
t.arange(2**63-3,2**63-1)
t.arange(0,10,3,dtype=t.int32,layout=t.strided,device='cpu',pin_memory=False)
t.arange(1e-9,1,.3)
t.arange(-3,3,.7)
t.arange(0,-1,-.25)
t.arange(0.5,5)
t.arange(2.5,dtype=t.int64)
t.arange(-2.7,2.7,dtype=t.int64)
t.linspace(0,1,5)
t.linspace(0,1)
t.linspace(0,10,5,dtype=t.int64)
t.linspace(0,10,4,dtype=t.int64)
t.linspace(-3,3,4,dtype=t.int32)
t.linspace(0,1,-1)
t.linspace(0,1,1)
t.linspace(0,1,0)
t.linspace(0,1,2.5)
t.linspace(t.tensor(0.),t.tensor(1.),3)
t.linspace(t.tensor(0),1,3)
t.linspace(t.tensor([0]),1,3)
t.linspace(start=0,end=1,steps=3)
t.linspace(0,1,steps=3,dtype=t.float16)
t.linspace(0,1,3,requires_grad=True)
t.linspace(0,1,3,dtype=t.bool)
t.linspace(0.1,0.7,7).tolist()
t.linspace(1,0,7,dtype=t.float64).tolist()
t.linspace(0,inf,3)
t.linspace(nan,1,3)
t.linspace('a',1,3)
t.logspace(0,2,3)
t.logspace(0,2,5,base=2)
t.logspace(0,2,5,base=2,dtype=t.int64)
t.logspace(0,2,-1)
t.logspace(0,2,1)
t.logspace(0,1,4,-2)
t.logspace(start=0,end=1,steps=3,base=10.0)
t.logspace(t.tensor(0.),2,3)
t.eye(3)
t.eye(2,3,dtype=t.bool)
t.eye(-1)
t.eye(2,-1)
t.eye(2.0)
t.eye(n=2,m=1)
t.eye(2,requires_grad=True)
t.eye(2,layout=t.strided,device='cpu',pin_memory=False)
t.eye(t.tensor(2))
t.eye(0,3).shape
t.eye()
t.scalar_tensor(3)
t.scalar_tensor(True)
t.scalar_tensor(3.,dtype=t.int64,layout=t.strided,device='cpu',pin_memory=False,requires_grad=False)
t.scalar_tensor([1])
x.new_zeros(2)
x.new_zeros((2,),dtype=t.int64,device='cpu',layout=t.strided,pin_memory=False,requires_grad=False)
x.new_zeros(size=(2,3)).shape
x.new_zeros()
x.new_zeros(2,3).shape
x.new_ones([2]).requires_grad
x.new_ones(2,requires_grad=True)
x.new_empty((2,3)).shape
x.new_empty(2,3).shape
x.new_empty(size=(2,)).shape
x.new_empty_strided((2,3),(1,2)).stride()
x.new_empty_strided((2,3),(1,2),dtype=t.int8).dtype
x.new_full((2,),3)
x.new_full((2,),3,dtype=t.int64)
x.new_full(size=(2,),fill_value=1,requires_grad=True)
x.new_full(2,3)
t.ones(1,dtype=t.int64).new_full((2,),2.5)
x.new_tensor([1,2])
x.new_tensor([1,2],dtype=t.int64)
x.new_tensor(t.ones(2))
x.new_tensor(t.ones(2),requires_grad=True)
x.new_tensor(np.ones(2)).dtype
x.new_tensor(data=[1])
t.ones(1,dtype=t.int64).new_tensor([1.5])
x.new_ones(2.0)
x.new(2,3).shape
x.new([1,2])
x.new(t.Size([2])).shape
x.new(t.ones(3))
t.ones(1,dtype=t.int64).new([1,2])
t.ones(1,dtype=t.int64).new([1.5])
t.ones(1,dtype=t.int64).new(t.ones(2))
t.Tensor()
t.Tensor(2,3).shape
t.Tensor([1,2])
t.Tensor((1,2))
t.Tensor(t.Size([2])).shape
t.Tensor(3.5)
t.Tensor(t.ones(2))
t.Tensor(t.ones(2,dtype=t.int64))
t.Tensor(np.ones(2))
t.Tensor('a')
t.Tensor([[1,2],[3]])
t.Tensor(-1)
t.Tensor([1,2],device='cpu')
t.zeros(2,dtype=t.int64,requires_grad=True)
t.tensor(np.uint16(3))
t.tensor(np.array([1], np.uint32))
t.from_numpy(np.array([1], np.uint16)).dtype
t.tensor([1j, 2])
t.tensor([1, 2.5, 1j], dtype=t.complex128)
t.tensor([1j], dtype=t.float32)
t.tensor([1.5, 1], dtype=t.bfloat16)
t.tensor([t.tensor(1.5, dtype=t.bfloat16), 2])
t.tensor([t.tensor(1.5, dtype=t.bfloat16), t.tensor(2.0, dtype=t.float16)])
t.tensor([np.complex64(1j)])
t.full((2,), 1j)
t.zeros_like(t.ones(2, dtype=t.bfloat16))
t.full_like(t.ones(2, dtype=t.bfloat16), 1.5)
t.full_like(t.ones(2, dtype=t.complex64), 1j)
t.arange(3, dtype=t.bfloat16)
t.arange(3, dtype=t.complex64)
t.linspace(0, 1, 3, dtype=t.complex64)
t.linspace(0, 1, 3, dtype=t.bfloat16)
t.eye(2, dtype=t.complex64)
t.frombuffer(bytearray(8), dtype=t.bfloat16)
t.tensor(2**63, dtype=t.uint64)
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


def test_memory_of_buffers_and_arrays_is_shared():
    buffer = bytearray(8)
    nbtorch.frombuffer(buffer, dtype=nbtorch.int32)[1] = 7
    assert buffer[4] == 7
    nbtorch.asarray(buffer, dtype=nbtorch.uint8)[0] = 3
    assert buffer[0] == 3
    values = np.zeros(3)
    for make in (nbtorch.as_tensor, nbtorch.asarray, nbtorch.from_numpy):
        make(values)[0] += 1
    assert values[0] == 3
    nbtorch.tensor(values)[0] = 9
    nbtorch.asarray(values, copy=True)[0] = 9
    assert values[0] == 3


def test_asarray_copies_only_where_it_must():
    x = nbtorch.ones(2)
    assert nbtorch.asarray(x) is x
    assert nbtorch.asarray(x, copy=True).data_ptr() != x.data_ptr()
    with pytest.raises(ValueError, match="can't alias"):
        nbtorch.asarray(x, dtype=nbtorch.float64, copy=False)


def test_a_read_only_array_is_warned_of_unless_it_is_copied():
    values = np.ones(2)
    values.flags.writeable = False
    for make in (nbtorch.from_numpy, nbtorch.as_tensor, nbtorch.asarray):
        with pytest.warns(UserWarning, match="not writable"):
            make(values)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nbtorch.tensor(values)
        nbtorch.asarray(values, copy=True)
