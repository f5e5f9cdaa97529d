"""Recurrent layers and cells: the same values, gradients, states and errors as PyTorch's."""

import os
import subprocess
import sys
import warnings

import numba
import numpy as np
import pytest
from nbtorch.kernels.cpu import recurrent as kernels

import nbtorch
from nbtorch import nn
from nbtorch.autograd import gradcheck, gradgradcheck

from ..against_torch import assert_same

KINDS = {
    "tanh": ("RNN", {}),
    "relu": ("RNN", {"nonlinearity": "relu"}),
    "LSTM": ("LSTM", {}),
    "projected LSTM": ("LSTM", {"proj_size": 3}),
    "GRU": ("GRU", {}),
}

OPTIONS = {
    "one layer": {},
    "two layers, both directions": {"num_layers": 2, "bidirectional": True},
    "no bias": {"bias": False, "bidirectional": True},
    "batch first": {"batch_first": True, "num_layers": 2},
}


def filled(torch, layer):
    """Give a layer weights that both libraries have."""
    rng = np.random.default_rng(0)
    with torch.no_grad():
        for weight in layer.parameters():
            weight.copy_(torch.tensor(rng.uniform(-0.5, 0.5, tuple(weight.shape))).to(weight.dtype))
    return layer


def numbers(torch, *shape, dtype="float64", seed=1):
    values = torch.tensor(np.random.default_rng(seed).standard_normal(shape))
    return values.to(getattr(torch, dtype)).requires_grad_()


def states_of(torch, layer, batch, dtype="float64"):
    """Return first states for a layer."""
    count = layer.num_layers * (2 if layer.bidirectional else 1)
    hidden = numbers(torch, count, *batch, layer.proj_size or layer.hidden_size, dtype=dtype, seed=2)
    if layer.mode != "LSTM":
        return hidden
    return hidden, numbers(torch, count, *batch, layer.hidden_size, dtype=dtype, seed=3)


def flat(result):
    """Return outputs and states as one list."""
    outputs, states = result
    return [getattr(outputs, "data", outputs), *(states if isinstance(states, tuple) else (states,))]


def with_gradients(results, *inputs):
    """Return results and the gradients of a weighted sum of them."""
    loss = sum((r * (i + 1)).square().sum() for i, r in enumerate(results))
    loss.backward()
    return [*results, *[x.grad for x in inputs]]


@pytest.mark.parametrize("given", [False, True], ids=["zero states", "given states"])
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_padded(kind, options, given):
    name, choice = KINDS[kind]

    def program(torch):
        layer = filled(torch, getattr(torch.nn, name)(4, 5, **choice, **OPTIONS[options], dtype=torch.float64))
        x = numbers(torch, 3, 2, 4)
        batch = 3 if layer.batch_first else 2
        hx = states_of(torch, layer, (batch,)) if given else None
        leaves = [x, *layer.parameters(), *((hx if isinstance(hx, tuple) else (hx,)) if given else ())]
        return with_gradients(flat(layer(x, hx)), *leaves)

    assert_same(program)


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("options", ["one layer", "two layers, both directions"])
@pytest.mark.parametrize("kind", KINDS)
def test_packed(kind, options, ordered):
    name, choice = KINDS[kind]

    def program(torch):
        layer = filled(torch, getattr(torch.nn, name)(4, 5, **choice, **OPTIONS[options], dtype=torch.float64))
        x, lengths = numbers(torch, 5, 4, 4), [5, 3, 3, 1] if ordered else [3, 5, 1, 3]
        hx = states_of(torch, layer, (4,))
        sequences = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=ordered)
        outputs, states = layer(sequences, hx)
        places = [outputs.batch_sizes, *[i for i in outputs[2:] if i is not None]]
        leaves = [x, *layer.parameters(), *(hx if isinstance(hx, tuple) else (hx,))]
        zeros = flat(layer(sequences))
        return [*with_gradients(flat((outputs, states)), *leaves), *places, *zeros]

    assert_same(program)


@pytest.mark.parametrize("kind", KINDS)
def test_unbatched_and_empty(kind):
    name, choice = KINDS[kind]

    def program(torch):
        layer = filled(torch, getattr(torch.nn, name)(4, 5, **choice, bidirectional=True, dtype=torch.float64))
        x, empty = numbers(torch, 3, 4), numbers(torch, 3, 0, 4)
        results = [*flat(layer(x)), *flat(layer(x, states_of(torch, layer, ()))), *flat(layer(empty))]
        layer(empty)[0].sum().backward()
        return [*results, empty.grad, *[w.grad for w in layer.parameters()]]

    assert_same(program)


@pytest.mark.parametrize("name", ["RNNCell", "LSTMCell", "GRUCell"])
@pytest.mark.parametrize("bias", [True, False])
def test_cells(name, bias):
    def program(torch):
        cell = filled(torch, getattr(torch.nn, name)(4, 5, bias, dtype=torch.float64))
        x, h, c = numbers(torch, 3, 4), numbers(torch, 3, 5, seed=2), numbers(torch, 3, 5, seed=3)
        hx = (h, c) if name == "LSTMCell" else h
        single = tuple(s[0] for s in hx) if name == "LSTMCell" else h[0]
        results = []
        for result in (cell(x, hx), cell(x), cell(x[0], single), cell(x[0]), cell(x[:0])):
            results += result if isinstance(result, tuple) else [result]
        gradients = torch.autograd.grad(sum(r.square().sum() for r in results), [x, h, *cell.parameters()])
        return [*results, *gradients]

    assert_same(program)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("kind", KINDS)
def test_types(kind, dtype):
    torch = pytest.importorskip("torch")
    name, choice = KINDS[kind]
    ends = []
    for library in (torch, nbtorch):
        layer = filled(library, getattr(library.nn, name)(4, 5, **choice, dtype=getattr(library, dtype)))
        x = numbers(library, 3, 2, 4, dtype=dtype)
        outputs = flat(layer(x, states_of(library, layer, (2,), dtype)))
        sum(o.sum() for o in outputs).backward()
        results = [*outputs, x.grad, *[w.grad for w in layer.parameters()]]
        assert all(r.dtype is getattr(library, dtype) for r in results)
        ends.append([np.array(r.detach().double().tolist()) for r in results])
    scale = {"float32": 2e-6, "bfloat16": 4e-2, "float16": 5e-3}[dtype]
    for ours, theirs in zip(*ends, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=scale, atol=scale * max(1, abs(theirs).max()))


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_gradients(kind):
    name, choice = KINDS[kind]
    layer = filled(nbtorch, getattr(nn, name)(2, 4, **choice, bidirectional=True, dtype=nbtorch.float64))
    function = getattr(nbtorch, layer.mode.lower())
    sizes = nbtorch.tensor([2, 1])

    def run(x, *others):
        hx, weights = (others[:2], others[2:]) if name == "LSTM" else (others[0], others[1:])
        return function(x, sizes, hx, weights, True, 1, 0.0, True, True)

    hx = states_of(nbtorch, layer, (2,))
    inputs = numbers(nbtorch, 3, 2), *(hx if name == "LSTM" else (hx,)), *[w.detach() for w in layer.parameters()]
    inputs[-1].requires_grad_()
    assert gradcheck(run, inputs)
    assert gradgradcheck(run, inputs)


def test_the_same_tensor_as_state_and_cell():
    h = numbers(nbtorch, 1, 2, 2)
    weights = [numbers(nbtorch, 8, 3), numbers(nbtorch, 8, 2)]
    x = numbers(nbtorch, 3, 2, 3)

    def run(x, h):
        return nbtorch.lstm(x, (h, h), weights, False, 1, 0.0, True, False, False)

    assert gradcheck(run, (x, h)) and gradgradcheck(run, (x, h))


def test_outputs_changed_in_place_are_noticed():
    def program(torch):
        outputs, _ = filled(torch, torch.nn.GRU(2, 3))(numbers(torch, 4, 1, 2, dtype="float32"))
        outputs.mul_(2)
        outputs.sum().backward()

    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        program(nbtorch)


@pytest.mark.parametrize("kind", KINDS)
def test_large_layers_are_shared_out_without_a_trace(kind):
    """Sequences or units to a thread, or all to one: the same bits."""
    name, choice = KINDS[kind]
    results = []
    before = numba.get_num_threads()
    for threads in (1, min(2, numba.config.NUMBA_NUM_THREADS)):
        numba.set_num_threads(threads)
        try:
            for batch in (1, 70):
                layer = filled(nbtorch, getattr(nn, name)(8, 300, **choice, bidirectional=True))
                x = numbers(nbtorch, 3, batch, 8, dtype="float32")
                outputs = flat(layer(x))
                sum(o.sum() for o in outputs).backward()
                results.append([*outputs, x.grad, *[w.grad for w in layer.parameters()]])
        finally:
            numba.set_num_threads(before)
    for one, several in zip(results[:2], results[2:], strict=True):
        for a, b in zip(one, several, strict=True):
            assert nbtorch.equal(a, b)


@pytest.mark.parametrize("batch", [1, 5, 70])
def test_units_shared_out(batch, monkeypatch):
    """The step by step sharing of units gives the bits of a single thread, at every ragged edge."""
    monkeypatch.setattr(kernels, "PARALLEL_PRODUCTS", 0)
    monkeypatch.setattr(kernels, "SHARED_STEP_PRODUCTS", 0)
    monkeypatch.setattr(kernels, "CACHED_WEIGHTS", 0)
    results = []
    before = numba.get_num_threads()
    for threads in (1, min(2, numba.config.NUMBA_NUM_THREADS)):
        numba.set_num_threads(threads)
        try:
            layer = filled(nbtorch, nn.GRU(3, 75, bidirectional=True))
            outputs, states = layer(numbers(nbtorch, 3, batch, 3, dtype="float32"))
            (outputs.sum() + states.sum()).backward()
            results.append([outputs, states, *[w.grad for w in layer.parameters()]])
        finally:
            numba.set_num_threads(before)
    assert all(nbtorch.equal(a, b) for a, b in zip(*results, strict=True))


MODULES = """
LSTM(3,4);LSTM(3,4,2,dropout=.5);LSTM(3,4,1,False,True,0.,True,2);GRU(3,4,2,bidirectional=True);RNN(3,4,2,'relu')
RNN(3,4,bias=False);RNN(3,4,True);RNNCell(3,4);RNNCell(3,4,False,'relu');LSTMCell(3,4,bias=False);GRUCell(3,0)
LSTM(input_size=3,hidden_size=4,num_layers=2,proj_size=2,bias=False,dtype=torch.float64);RNNBase('LSTM',3,4)
RNNBase('RNN_TANH',3,4,2);RNNCellBase(3,4,True,2);LSTMCell(3,4,True,'cpu',torch.float64);RNNCell(3,4,nonlinearity='x')
GRU(3,4,dropout=.3);LSTM(3,4,dropout=2);LSTM(3,4,dropout=True);LSTM(3,4,dropout='a');LSTM(3,4,proj_size=4)
LSTM(3,4,proj_size=-1);GRU(3,4,proj_size=2);RNN(3,4,proj_size=2);RNN(3,4,nonlinearity='x');LSTM(3,0);LSTM(3,4,0)
LSTM(3,'a');LSTM(3,4.5);LSTM(3);LSTM();LSTM(-1,4);LSTM('a',4);LSTM(3,4,'a');LSTM(3,4,1,1);LSTM(3,4,foo=1)
RNNBase('X',3,4);LSTM(3,4,batch_first=1);GRUCell(3,-1);RNN(3,4,mode='LSTM');LSTM(3,4,dtype=torch.int32)
RNN(3,4,1,'relu',nonlinearity='tanh');RNN(3,4,nonlinearity=1)
""".replace("\n", ";").strip(";").split(";")  # fmt: skip

CALLS = """
LSTM(3,4)(f(3));LSTM(3,4)(f(1,1,1,3));LSTM(3,4)(f(5,2,4));LSTM(3,4)(f(5,2,3).double());LSTM(3,4)(f(5,2,3),f(1,2,4))
LSTM(3,4)(f(5,2,3),(f(1,2,4),));LSTM(3,4)(f(5,2,3),(f(1,2,4),f(1,2,5)));LSTM(3,4)(f(5,2,3),(f(2,4),f(2,4)))
LSTM(3,4)(f(5,3),(f(1,1,4),f(1,1,4)));LSTM(3,4)(f(5,3),(f(1,4),f(1,4)))[0].shape;LSTM(3,4)(f(0,2,3));LSTM(3,4)(None)
LSTM(3,4)(f(5,2,3),(f(1,2,4).double(),f(1,2,4)));LSTM(3,4)(f(0,3));LSTM(3,4)(f(5,2,3).long());LSTM(3,4)(1)
LSTM(3,4)(f(5,2,3),1);LSTM(3,4)(f(5,2,3),[f(1,2,4),f(1,2,4)])[0].shape;LSTM(3,4)(f(5,2,3),(1,2));GRU(3,4)(f(5))
GRU(3,4)(f(5,2,3),f(2,4));GRU(3,4)(f(5,2,3),f(1,2,5));GRU(3,4)(f(5,3),f(1,1,4));GRU(3,4)(f(0,2,3));GRU(3,4)(f(2,2,3),1)
GRU(3,4)(f(5,2,3),f(1,2,4).double());GRU(3,4)(f(5,2,3),(f(1,2,4),));RNN(3,4)(f(5,2,3),f(2,4));RNN(3,4)(f(5,2,4))
RNN(3,4)(f(5,3),f(1,1,4));RNN(3,4)(f(0,2,3));RNN(3,4)(f(5,2,3),f(1,2,4).double());RNNCell(3,4)(f(2,2,3))
RNNCell(3,4)(f(2,4));RNNCell(3,4)(f(2,3),f(4));RNNCell(3,4)(f(3),f(1,4));RNNCell(3,4)(f(2,3),f(3,4));RNNCell(3,4)(1)
RNNCell(3,4)(f(2,3),f(2,5));RNNCell(3,4)(f(2,3),f(2,1,4));RNNCell(3,4)(f(2,3).double());RNNCell(3,4)(f())
RNNCell(3,4,nonlinearity='x')(f(2,3));LSTMCell(3,4)(f(2,2,3));LSTMCell(3,4)(f(2,4));LSTMCell(3,4)(f(2,3),f(2,4))
LSTMCell(3,4)(f(2,3),(f(2,4),));LSTMCell(3,4)(f(2,3),(f(2,4),f(2,5)));LSTMCell(3,4)(f(3),(f(1,4),f(1,4)))
LSTMCell(3,4)(f(2,3),(f(3,4),f(3,4)));LSTMCell(3,4)(f(2,3),(f(2,1,4),f(2,1,4)));GRUCell(3,4)(f(2,3),f(4))
GRUCell(3,4)(f(2,4));GRUCell(3,4)(f(2,3),f(2,5));GRUCell(3,4)(f(2,3),f(3,4));GRUCell(3,4)(f(2,3,1))
LSTM(3,4)(pack([f(3,3),f(2,3)]),(f(1,3,4),f(1,3,4)));LSTM(3,4)(pack([f(3,4),f(2,4)]));GRU(3,4)(pack([f(3,3).double()]))
""".replace("\n", ";").strip(";").split(";")  # fmt: skip

FUNCTIONS = """
lstm();gru(f(2,2,3));rnn_tanh();lstm_cell();gru_cell(f(2,3),f(2,4),f(12,3),f(12,4)).shape
lstm_cell(f(2,3),f(2,4),f(16,3),f(16,4));lstm_cell(f(2,3),[f(2,4),f(2,4)],f(16,3),f(16,4))[1].shape
gru_cell(f(2,3),f(2,4),f(12,3),f(12,5));rnn_relu_cell(f(2,3),f(2,4),f(4,3),f(4,4),f(4),f(4))
gru(f(5,2,3),f(1,2,4),(f(12,3),f(12,4)),False,1,0.,False,False,False)
gru(f(5,2,3),f(1,2,4),(f(12,3),),False,1,0.,False,False,False)
lstm(f(2,5,3),(f(1,2,4),f(1,2,4)),[f(16,3),f(16,4)],False,1,0.,False,False,True)
lstm(f(2,5,3),(f(1,2,4),),[f(16,3),f(16,4)],False,1,0.,False,False,True)
gru(f(5,3),torch.tensor([3,2]),f(1,3,4),(f(12,3),f(12,4)),False,1,0.,False,False)
rnn_relu(input=f(5,2,3),hx=f(1,2,4),params=(f(4,3),f(4,4)),has_biases=False,num_layers=1,dropout=0.,train=False,bidirectional=False,batch_first=False)
rnn_tanh(data=f(5,3),batch_sizes=torch.tensor([3,2]),hx=f(1,3,4),params=(f(4,3),f(4,4)),has_biases=False,num_layers=1,dropout=0.,train=False,bidirectional=False)
""".replace("\n", ";").strip(";").split(";")  # fmt: skip


def evaluate(text, prefix):
    def program(torch):
        names = {"torch": torch, "f": torch.ones, "pack": torch.nn.utils.rnn.pack_sequence}
        return eval(f"{prefix}.{text}", names)

    return program


@pytest.mark.parametrize("text", MODULES)
def test_modules(text):
    def program(torch):
        module = evaluate(text, "torch.nn")(torch)
        return [repr(module), {k: v.shape for k, v in module.state_dict().items()}]

    assert_same(program)


@pytest.mark.parametrize("text", CALLS)
def test_calls(text):
    assert_same(evaluate(text, "torch.nn"))


@pytest.mark.parametrize("text", FUNCTIONS)
def test_functions(text):
    assert_same(evaluate(text, "torch"))


def test_all_weights_and_flattening():
    def program(torch):
        layer = filled(torch, torch.nn.LSTM(3, 4, 2, bidirectional=True, proj_size=2))
        layer.flatten_parameters()
        bounds = [w.abs().max() <= 0.5 for w in torch.nn.GRU(3, 4).parameters()]
        return [layer.all_weights, [w.shape for w in layer._flat_weights], layer._flat_weights_names, bounds]

    assert_same(program)


@pytest.mark.parametrize("kind", KINDS)
def test_state_dicts_are_exchanged(kind):
    torch = pytest.importorskip("torch")
    name, choice = KINDS[kind]
    theirs = getattr(torch.nn, name)(3, 4, 2, **choice, bidirectional=True)
    ours = getattr(nn, name)(3, 4, 2, **choice, bidirectional=True)
    ours.load_state_dict({key: nbtorch.tensor(value.numpy()) for key, value in theirs.state_dict().items()})
    x = np.random.default_rng(0).standard_normal((5, 2, 3)).astype(np.float32)
    ours_out, theirs_out = ours(nbtorch.tensor(x))[0], theirs(torch.tensor(x))[0]
    np.testing.assert_allclose(ours_out.detach().numpy(), theirs_out.detach().numpy(), atol=2e-6)


def test_dropout_lies_between_layers_in_training_only():
    layer, x = nn.LSTM(3, 8, 2, dropout=0.5), nbtorch.ones(4, 2, 3)
    first, second = layer(x)[0], layer(x)[0]
    assert not nbtorch.equal(first, second)
    layer.eval()
    assert nbtorch.equal(layer(x)[0], layer(x)[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        single = nn.LSTM(3, 8, dropout=0.5)
    assert nbtorch.equal(single(x)[0], single(x)[0])


def test_parameters_may_be_replaced_by_other_tensors():
    layer, x = nn.GRU(3, 4), nbtorch.ones(2, 1, 3)
    weights = {name: nbtorch.zeros(*weight.shape) for name, weight in layer.named_parameters()}
    assert not nbtorch.func.functional_call(layer, weights, (x,))[0].any()


def test_complex_numbers():
    assert_same(
        lambda torch: (
            with_complex(torch, torch.nn.GRUCell(2, 3, dtype=torch.complex128))
            + with_complex(torch, torch.nn.RNN(2, 3, dtype=torch.complex128), 2)
        )
    )


def with_complex(torch, module, steps=1):
    with torch.no_grad():
        for number, weight in enumerate(module.parameters()):
            weight.copy_(torch.tensor(0.1 * (number + 1) + 0.05j).expand(weight.shape))
    x = torch.tensor([[0.5 + 1j, 0.25]] * steps, dtype=torch.complex128)
    result = module(x)
    return list(result) if isinstance(result, tuple) else [result]


SIMULATED = """
import numpy as np, nbtorch
from nbtorch import nn
sizes = nbtorch.tensor([3, 2, 2])
for name, options in {kinds!r}:
    ends = []
    for device in ("cpu", "cuda"):
        nbtorch.manual_seed(0)
        layer = getattr(nn, name)(2, 4, bidirectional=True, dtype=nbtorch.float64, device="cpu", **options).to(device)
        x = nbtorch.linspace(-1, 1, 14, dtype=nbtorch.float64, device=device).reshape(7, 2).requires_grad_()
        packed = nn.utils.rnn.PackedSequence(x, sizes.cpu())
        outputs, states = layer(packed)
        states = states if isinstance(states, tuple) else (states,)
        assert outputs.data.device.type == device
        sum((s * s).sum() for s in (outputs.data, *states)).backward()
        results = outputs.data, *states, x.grad, *[w.grad for w in layer.parameters()]
        ends.append([t.detach().cpu().numpy() for t in results])
    for a, b in zip(*ends, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)
print("same")
"""


def test_on_the_simulator():
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}
    program = SIMULATED.format(kinds=list(KINDS.values()))
    run = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=600)
    assert run.returncode == 0 and "same" in run.stdout, run.stderr[-3000:]
