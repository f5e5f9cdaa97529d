"""Storages, strides, views, memory formats, copies and pickles: the memory behind tensors, as in PyTorch."""

import copy
import multiprocessing
import pickle
import random

import numpy as np
import pytest

import nbtorch

from .against_torch import outcome


def names(t):
    return {"t": t, "np": np}


EXPRESSIONS = r"""
t.zeros(2,3).untyped_storage().nbytes()
t.zeros(2,3).untyped_storage().size()
len(t.zeros(2,3).untyped_storage())
t.zeros(2,3)[1:].untyped_storage().nbytes()
t.tensor([1,2],dtype=t.int16).untyped_storage().tolist()
t.tensor([1,2],dtype=t.int16).untyped_storage()[0]
t.tensor([1,2],dtype=t.int16).storage().tolist()
t.tensor([1,2],dtype=t.int16)[1:].storage()[0]
len(t.tensor([1,2],dtype=t.int16)[1:].storage())
t.tensor([1,2],dtype=t.int16).storage().nbytes()
t.tensor([1,2],dtype=t.int16).storage().size()
t.tensor([1,2],dtype=t.int16).storage().dtype
t.tensor([1,2],dtype=t.int16).storage().element_size()
t.tensor([1,2],dtype=t.int16).untyped_storage().element_size()
t.tensor([1,2],dtype=t.int16).untyped_storage().device
(lambda q: q.untyped_storage().data_ptr()==q.data_ptr())(t.zeros(3))
(lambda q: q[1:].untyped_storage().data_ptr()==q.data_ptr())(t.zeros(3))
(lambda q: q[1:].detach().storage_offset())(t.zeros(3))
(lambda q: q[1:].data.storage_offset())(t.zeros(3))
(lambda q: q[1:][1:].detach()[1:].storage_offset())(t.zeros(5))
(lambda q: q[1:].detach().untyped_storage().nbytes())(t.zeros(3))
(lambda q: q.is_set_to(q.detach()))(t.zeros(3))
(lambda q: q.is_set_to(q[:]))(t.zeros(3))
(lambda q: q.is_set_to(q[1:]))(t.zeros(3))
(lambda q: q.is_set_to(q.clone()))(t.zeros(3))
(lambda q: q.is_set_to(q.view(3,1)))(t.zeros(3))
(lambda q: q.resize_(2,2))(t.arange(6.))
(lambda q: q.resize_(2,2).stride())(t.arange(6.).view(2,3).t())
(lambda q: q.resize_((8,)).shape)(t.arange(6.))
(lambda q: q.resize_((8,))[:6])(t.arange(6.))
(lambda q: q[2:].resize_(4))(t.arange(6.))
(lambda q: q[2:4].resize_(4))(t.arange(6.))
(lambda q: q[2:].resize_(2,1).storage_offset())(t.arange(6.))
t.ones(2,requires_grad=True).resize_(3)
t.ones(2).resize_(-1)
t.ones(2).resize_(0).shape
t.ones(2).resize_()
t.ones(2,3,4,5).resize_(1,2,2,2,memory_format=t.channels_last).stride()
t.ones(2,3).resize_as_(t.ones(3,1)).shape
t.ones(2,3).resize_as_(3)
(lambda q: q.set_())(t.arange(3.))
(lambda q,r: q.set_(r).data_ptr()==r.data_ptr())(t.arange(3.),t.ones(2,2))
(lambda q,r: q.set_(r))(t.arange(3.),t.ones(2,2))
(lambda q,r: q.set_(r.untyped_storage(),1,(2,),(1,)))(t.arange(3.),t.arange(4.))
(lambda q,r: q.set_(r.untyped_storage()))(t.arange(3.),t.arange(4.))
(lambda q,r: q.set_(r.untyped_storage(),0,(2,2)))(t.arange(3.),t.arange(4.))
(lambda q,r: q.set_(r,1,(2,),(1,)))(t.arange(3.),t.arange(4.))
(lambda q,r: q.set_(r.storage(),1,(2,),(1,)))(t.arange(3.),t.arange(4.))
(lambda q,r: q.set_(r))(t.arange(3.),t.arange(3))
(lambda q,r: q.set_(r))(t.arange(3.),[1])
t.ones(2,requires_grad=True).set_(t.ones(3))
t.ones(2).is_shared()
t.ones(2).share_memory_().is_shared()
t.ones(2).share_memory_()
t.ones(2).is_pinned()
t.ones(2).layout
t.ones(2).is_sparse
t.ones(2).is_sparse_csr
t.ones(2).is_quantized
t.ones(2).is_meta
t.ones(2).is_mkldnn
t.ones(2).is_nested
t.ones(2).is_mps
t.ones(2).is_xla
t.ones(2).is_neg()
t.ones(2).is_distributed()
t.is_storage(t.ones(2).untyped_storage())
t.is_storage(t.ones(2))
t.ones(2,3,4,5).is_contiguous(memory_format=t.channels_last)
t.ones(2,3,4,5).contiguous(memory_format=t.channels_last).stride()
t.ones(2,3,4,5).contiguous(memory_format=t.channels_last).is_contiguous(memory_format=t.channels_last)
t.ones(2,3,4,5).contiguous(memory_format=t.channels_last).contiguous().stride()
t.ones(2,3).contiguous(memory_format=t.channels_last)
t.ones(2,3).contiguous(memory_format=t.preserve_format)
t.ones(2,3,4,5,6).contiguous(memory_format=t.channels_last_3d).stride()
t.ones(2,3,4,5).clone(memory_format=t.channels_last).stride()
t.ones(2,3,4,5).permute(3,1,0,2).clone().stride()
t.ones(2,3,4,5).permute(3,1,0,2).clone(memory_format=t.contiguous_format).stride()
t.ones(2,3).expand(4,2,3).clone().stride()
t.ones(2,3)[:,::2].clone().stride()
t.ones(2,3).t().to(t.float64).stride()
t.ones(2,3).t().double().stride()
(t.ones(2,3,4).permute(2,0,1)+1).stride()
t.ones(2,3,4).permute(2,0,1).exp().stride()
t.ones(2,3).dim_order()
t.ones(2,3).t().dim_order()
t.ones(2,3,4,5).contiguous(memory_format=t.channels_last).dim_order()
t.ones(2,3,4).permute(2,0,1).dim_order()
t.ones(()).dim_order()
t.ones(2,3,4).T
t.ones(2,3).H.shape
t.ones(2,3,4).H
t.ones(2).H
t.ones(()).H
t.ones(2).mT
t.ones(2,3,4).mH.shape
t.ones(2).mH
t.ones(2,1,3,1).squeeze((1,3)).shape
t.ones(2,1,3,1).squeeze((0,1)).shape
t.ones(2,1,3,1).squeeze([1]).shape
t.ones(2,1,3,1).squeeze((1,1))
t.ones(2,1,3,1).squeeze((1,-3))
t.ones(2,1,3,1).squeeze(()).shape
t.ones(2,1,3,1).squeeze((5,))
t.ones(()).squeeze(0).shape
t.ones(()).squeeze((0,)).shape
t.ones(()).squeeze(1)
t.ones(4,dtype=t.float32).view(t.int16).shape
t.ones(4,dtype=t.float32).view(t.int32)
t.ones(2,4,dtype=t.int16).view(t.int64).shape
t.ones(2,3,dtype=t.int16).view(t.int64)
t.ones(2,4,dtype=t.int16).t().view(t.int32)
t.ones(2,4,dtype=t.int16)[:,::2].view(t.int32)
t.ones(4,6,dtype=t.int16)[:,1:5].view(t.int32)
t.ones(4,6,dtype=t.int16)[:,2:6].view(t.int32).storage_offset()
t.ones(4,6,dtype=t.int32)[:,2:6].view(t.int16).stride()
t.ones((),dtype=t.float32).view(t.int32)
t.ones((),dtype=t.float32).view(t.int16)
t.ones(2,dtype=t.bool).view(t.uint8)
t.ones(2,3).t().view(t.int32).stride()
t.ones(2,requires_grad=True).view(t.int32)
t.ones(2,requires_grad=True).view(t.int32).requires_grad
t.ones(2,requires_grad=True).view(dtype=t.float32).requires_grad
t.ones(4).view(dtype=t.int16).shape
t.ones(4).view(size=(2,2)).shape
t.ones(4).view([2,2]).shape
t.ones(4).view(2,-1).shape
t.ones(4).view()
t.ones(()).view(()).shape
t.ones(1).view(()).shape
t.ones(4).view(3)
t.ones(4).view(-1,3)
t.ones(0).view(-1,0)
t.ones(0).view(0,-1)
t.ones(0,3).view(-1,3).shape
t.ones(4).view(2.0,2)
t.ones(2,3).t().view(3,2).stride()
t.ones(2,3).t().view(6)
t.ones(2,3).t().view(-1)
t.ones(4,6)[:,::2].view(4,3,1).stride()
t.ones(4,6)[::2].view(2,2,3).stride()
t.ones(2,3).reshape(3,2).is_set_to(t.ones(2))
(lambda q: q.reshape(3,2).data_ptr()==q.data_ptr())(t.ones(2,3))
(lambda q: q.t().reshape(6).data_ptr()==q.data_ptr())(t.ones(2,3))
(lambda q: q.flatten().data_ptr()==q.data_ptr())(t.ones(2,3))
(lambda q: q.reshape(2,3) is q)(t.ones(2,3))
(lambda q: q.flatten() is q)(t.ones(3))
(lambda q: q.contiguous() is q)(t.ones(3))
(lambda q: q.expand(3) is q)(t.ones(3))
t.ones(3).expand(2,3).stride()
t.ones(3).expand(1,3).stride()
t.ones(1,3).expand(1,3).stride()
t.ones(3,1).expand(3,4).stride()
t.ones(3,1).expand(3,-1).stride()
t.ones(3).expand(-1,3)
t.ones(3).expand(2)
t.ones(()).expand(2,3).stride()
t.ones(()).expand(()).shape
t.ones(3).expand(0,3).shape
t.ones(1).expand(0).shape
t.ones(3).expand((2,3)).shape
t.ones(3).expand(size=(2,3)).shape
t.ones(3).expand(2,3,implicit=False).shape
t.ones(3,0).stride()
t.ones(0,3).stride()
t.ones(2,0,3).stride()
t.ones(1,3)[:,None].stride()
t.ones(2,3).unsqueeze(0).stride()
t.ones(2,3).unsqueeze(1).stride()
t.ones(2,3).unsqueeze(2).stride()
t.ones(2,3).t().unsqueeze(2).stride()
t.ones(2,3).t().unsqueeze(1).stride()
t.ones(3)[None].stride()
t.ones(3)[:,None].stride()
t.ones(2,3)[None,:,None].stride()
t.ones(2,3).T[None,:,None].stride()
t.ones(5).unfold(0,2,1).stride()
t.ones(5).unfold(0,2,3).shape
t.ones(5,4).unfold(1,2,2).stride()
t.ones(5).unfold(0,6,1)
t.ones(5).unfold(0,2,0)
t.ones(5).unfold(0,-1,1)
t.ones(()).unfold(0,1,1).shape
t.ones(()).unfold(0,0,1).shape
t.ones(6).as_strided((2,2),(3,1)).stride()
t.ones(6)[1:].as_strided((2,2),(2,1)).storage_offset()
t.ones(6)[1:].as_strided((2,2),(2,1),0).storage_offset()
t.ones(6)[1:3].as_strided((5,),(1,)).shape
t.ones(6)[1:3].as_strided((6,),(1,))
t.ones(6)[1:3].detach().as_strided((6,),(1,),0).shape
t.ones(6).as_strided((2,),(-1,))
t.ones(6).as_strided((2,),(1,1))
t.ones(6).as_strided((7,),(1,))
t.ones(6).as_strided((2,),(0,)).stride()
t.ones(6).as_strided((0,),(1,),100).shape
(lambda q: q.as_strided_((2,2),(2,1),1))(t.arange(6.))
t.ones(2,3).swapaxes(0,1).shape
t.ones(2,3).swapdims(0,-1).shape
t.ones(2,3).stride(0)
t.ones(2,3).stride(-1)
t.ones(2,3).stride(2)
t.ones(2,3).size(5)
t.ones(2,3).size(dim=1)
t.ones(2,3).stride(dim=1)
t.ones(2,3).nbytes
t.ones(2,3).as_subclass(t.Tensor).shape
t.ones(2,3).as_subclass(t.nn.Parameter)
t.ones(2,3).as_subclass(int)
t.ones(2,3).data_ptr()==0
t.ones(0).data_ptr()
t.ones(2,3).unbind()[1].storage_offset()
t.ones(2,3).split(1)[1].storage_offset()
t.ones(2,3)[1,2].storage_offset()
t.ones(4,4).diagonal(1).storage_offset()
t.ones(4,4).diagonal().stride()
t.ones(2,3).narrow(1,1,2).storage_offset()
t.ones(2,3).permute(1,0).storage_offset()
t.ones(2,3).untyped_storage()
t.ones(2).untyped_storage().fill_(0)
t.ones(2).untyped_storage().clone().nbytes()
t.ones(2,3).untyped_storage()==t.ones(2,3).untyped_storage()
t.ones(70000).untyped_storage().nbytes()
t.from_numpy(np.ones(5)[1:]).storage_offset()
t.from_numpy(np.ones((5,4))[:,1:3]).untyped_storage().nbytes()
t.ones(2,3).has_names()
t.ones(2,3).names
t.ones(2, 3, 4, 5).to(memory_format=t.channels_last).stride()
t.ones(2, 3, 4, 5).to(t.float64, copy=True, memory_format=t.channels_last).stride()
(lambda x: x.to(memory_format=t.channels_last) is x)(t.ones(2, 3, 4, 5).contiguous(memory_format=t.channels_last))
t.ones(2, 3, 4, 5).float(memory_format=t.channels_last).stride()
t.ones(2, 3, 4, 5).cpu(memory_format=t.channels_last).stride()
t.ones(2).to(memory_format=t.channels_last)
t.ones(2).to(memory_format=3)
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


def any_view(generator, shape):
    """Return a step of a chain of views, for both libraries."""
    rank = len(shape)
    axis = generator.randrange(rank) if rank else 0
    extent = shape[axis] if rank else 1
    start, stop = sorted(generator.choices(range(extent + 1), k=2))
    order = generator.sample(range(rank), rank)
    expanded = [generator.choice([1, 2, 3]) if n == 1 else n for n in shape]
    steps = [
        lambda x: x.unsqueeze(axis),
        lambda x: x.squeeze(),
        lambda x: x.detach(),
        lambda x: x.data,
        lambda x: x[None],
    ]
    steps += [
        lambda x: x.expand(2, *expanded),
        lambda x: x.permute(order),
        lambda x: x.flatten(),
        lambda x: x.reshape(-1, 2),
    ]
    if rank:
        steps += [lambda x: x.narrow(axis, start, stop - start), lambda x: x.transpose(axis, 0), lambda x: x.view(-1)]
        steps += [lambda x: x[(slice(None),) * axis + (slice(start, None, 2),)], lambda x: x.chunk(2, axis)[-1]]
        steps += [lambda x: x.unflatten(axis, (-1, 1)), lambda x: x.clone(), lambda x: x.contiguous()]
    if rank and extent:
        steps += [lambda x: x.select(axis, extent - 1), lambda x: x.unfold(axis, extent // 2 + 1, 2)]
    if rank > 1:
        steps += [lambda x: x.diagonal(1, axis, axis - 1)]
    return generator.choice(steps)


def place(x):
    """Return where a tensor's elements lie; PyTorch and NumPy differ in strides of dimensions that need none."""
    strides = [step for step, extent in zip(x.stride(), x.shape, strict=True) if extent > 1]
    return strides, x.storage_offset(), x.untyped_storage().nbytes(), x.is_contiguous()


@pytest.mark.parametrize("seed", range(300))
def test_chains_of_views_lie_where_those_of_pytorch_do(seed):
    torch = pytest.importorskip("torch")
    generator = random.Random(seed)
    shape = [generator.choice([1, 2, 3, 4]) for _ in range(generator.randint(0, 4))]
    ours, theirs = (t.arange(float(np.prod(shape))).view(shape) for t in (nbtorch, torch))
    for _ in range(6):
        step = any_view(generator, tuple(theirs.shape))
        ends = []
        for x in (ours, theirs):
            try:
                ends.append(step(x))
            except (RuntimeError, IndexError) as error:
                ends.append(type(error))
        if isinstance(ends[1], type):
            assert ends[0] is ends[1]
            continue
        ours, theirs = ends
        assert ours.tolist() == theirs.tolist() and tuple(ours.shape) == tuple(theirs.shape)
        if theirs.numel():
            assert place(ours) == place(theirs)


def test_copies_of_views_share_memory_as_the_originals_do():
    base = nbtorch.arange(6.0)
    view = base[2:4]
    for duplicate in (copy.deepcopy, *(lambda x, p=p: pickle.loads(pickle.dumps(x, p)) for p in range(6))):
        for first, second in (duplicate((base, view)), reversed(duplicate((view, base)))):
            second[0] = 99
            assert first[2] == 99 and base[2] == 2 and second.storage_offset() == 2
    shallow = copy.copy(view)
    shallow[1] = 7
    assert base[3] == 7 and shallow is not view


def test_copies_keep_gradients_strides_types_and_attributes():
    x = nbtorch.ones(2, 3).t().requires_grad_()
    x.grad, x.note = nbtorch.ones(3, 2), ["kept"]
    twin = copy.deepcopy(x)
    assert twin.stride() == (1, 3) and twin.requires_grad and twin.grad is not x.grad and twin.grad.sum() == 6
    assert twin.note == ["kept"] and twin.note is not x.note
    read = pickle.loads(pickle.dumps(x))
    assert read.stride() == (1, 3) and read.requires_grad and read.grad is None and read.note == ["kept"]
    parameter = nbtorch.nn.Parameter(nbtorch.ones(2))
    assert type(pickle.loads(pickle.dumps(parameter))) is type(copy.deepcopy(parameter)) is nbtorch.nn.Parameter
    with pytest.raises(RuntimeError, match="graph leaves"):
        copy.deepcopy(x * 2)


class Marked(nbtorch.Tensor):
    """A subclass without methods of its own."""


def test_methods_of_a_subclass_return_its_class():
    x = nbtorch.arange(4.0).as_subclass(Marked)
    results = [x + 1, 1 + x, nbtorch.ones(4) + x, x.view(2, 2), x.sum(), x[0], x.max(0)[0], x.detach(), x.data, -x]
    assert {type(result) for result in results} == {Marked}
    assert repr(x) == "Marked([0., 1., 2., 3.])"
    assert type(copy.deepcopy(x)) is type(pickle.loads(pickle.dumps(x))) is Marked
    other = nbtorch.ones(4)
    assert type(x.numpy()) is np.ndarray and type(x.tolist()) is list and type(other) is nbtorch.Tensor
    assert type(nbtorch.nn.Parameter(x) + 1) is nbtorch.Tensor


def test_forked_processes_see_shared_memory():
    shared, own = nbtorch.zeros(2, 3).t().share_memory_(), nbtorch.zeros(2)
    assert (
        shared.is_shared()
        and not own.is_shared()
        and shared.untyped_storage().is_shared()
        and shared.stride() == (1, 3)
    )
    array = shared.numpy()

    def write():
        array[...] = 5

    process = multiprocessing.get_context("fork").Process(target=write)
    process.start()
    process.join()
    assert shared.sum() == 30


@pytest.mark.filterwarnings("ignore:TypedStorage")
def test_storages_are_the_memory():
    x = nbtorch.arange(4.0)
    storage = x[1:].untyped_storage()
    storage.fill_(0)
    assert x.sum() == 0 and len(storage) == 16 and nbtorch.is_storage(storage)
    typed = x[2:].storage()
    typed[3] = 2.5
    assert x[3] == 2.5 and typed.tolist() == [0.0, 0.0, 0.0, 2.5] and typed.untyped().data_ptr() == x.data_ptr()
    typed.copy_(nbtorch.ones(4).storage())
    assert x.sum() == 4 and typed[1:3].tolist() == [1.0, 1.0]


def test_set_makes_tensors_share_memory():
    x, y = nbtorch.zeros(3), nbtorch.arange(4.0)
    x.set_(y, 1, (2,), (2,))
    x[1] = 9
    assert y.tolist() == [0, 1, 2, 9] and x.storage_offset() == 1
    with pytest.raises(RuntimeError, match="out of bounds"):
        x.set_(y.untyped_storage(), 2, (3,), (1,))
