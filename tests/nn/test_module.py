"""Module behaves as PyTorch's: every row runs with both libraries and must come to the same end."""

import copy
import pickle
import re
import warnings
from collections import OrderedDict

import numpy as np
import pytest

import nbtorch
from nbtorch import nn


def net(torch):
    nn = torch.nn
    return nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.ReLU(), nn.Linear(1, 1)))


def shared(torch):
    """Return a network in which one layer appears twice."""
    layer = torch.nn.Linear(1, 1)
    return torch.nn.Sequential(layer, torch.nn.ReLU(), layer)


def with_buffers(torch):
    module = torch.nn.Module()
    module.register_buffer("kept", torch.ones(2))
    module.register_buffer("temporary", torch.ones(2), persistent=False)
    module.register_buffer("empty", None)
    module.count = torch.nn.Buffer(torch.tensor(3))
    module.scale = torch.nn.Parameter(torch.ones(1))
    module.nothing = None
    return module


def uninitialised(torch, assign):
    """Define a module whose constructor assigns before `super().__init__()`."""
    return type("Early", (torch.nn.Module,), {"__init__": lambda self: assign(self, torch)})()


def members(module):
    """List where a module keeps its attributes."""
    names = "_parameters", "_buffers", "_modules"
    kept = [list(module.__dict__[name]) for name in names]
    return [*kept, sorted(module._non_persistent_buffers_set)]


def after(make, change):
    """Return a program that changes a module and returns it with what the change returned."""

    def program(torch):
        module = make(torch)
        result = change(module, torch)
        return result, module, members(module), list(module.state_dict())

    return program


def put(name, make):
    return lambda module, torch: setattr(module, name, make(torch))


def linear(torch):
    return torch.nn.Linear(2, 3)


def empty(torch):
    return torch.nn.Module()


def parameter(torch):
    return torch.nn.Parameter(torch.ones(1))


NAMES = {"int": 3, "dotted": "a.b", "empty": "", "method": "train"}

REGISTRATION = {
    **{f"parameter {k}": after(empty, lambda m, t, n=n: m.register_parameter(n, None)) for k, n in NAMES.items()},
    **{f"buffer {k}": after(empty, lambda m, t, n=n: m.register_buffer(n, None)) for k, n in NAMES.items()},
    **{f"module {k}": after(empty, lambda m, t, n=n: m.add_module(n, None)) for k, n in NAMES.items()},
    "parameter of 3": after(empty, lambda m, t: m.register_parameter("p", 3)),
    "parameter of a tensor": after(empty, lambda m, t: m.register_parameter("p", t.ones(1))),
    "parameter": after(empty, lambda m, t: m.register_parameter("p", parameter(t))),
    "buffer of 3": after(empty, lambda m, t: m.register_buffer("b", 3)),
    "buffer over an attribute": after(empty, lambda m, t: (setattr(m, "b", 1), m.register_buffer("b", None))),
    "buffer over a parameter": after(linear, lambda m, t: m.register_buffer("weight", None)),
    "buffer again": after(with_buffers, lambda m, t: m.register_buffer("kept", t.zeros(1), False)),
    "module of 3": after(empty, lambda m, t: m.add_module("m", 3)),
    "module None": after(empty, lambda m, t: (m.add_module("m", None), list(m.children()), list(m.named_modules()))),
    "register_module": after(empty, lambda m, t: m.register_module("m", t.nn.ReLU())),
}

ATTRIBUTES = {
    "missing": lambda torch: torch.nn.Module().missing,
    "delete missing": lambda torch: torch.nn.Module().__delattr__("missing"),
    "plain": after(empty, put("a", lambda torch: 3)),
    "plain tensor": after(empty, put("a", lambda torch: torch.ones(1))),
    "plain, then module": after(empty, lambda m, t: (setattr(m, "a", 3), setattr(m, "a", linear(t)))),
    "plain, then parameter": after(empty, lambda m, t: (setattr(m, "a", 3), setattr(m, "a", parameter(t)))),
    "parameter := tensor": after(linear, put("weight", lambda torch: torch.ones(1))),
    "parameter := None": after(linear, put("weight", lambda torch: None)),
    "parameter := parameter": after(linear, put("weight", parameter)),
    "parameter := module": after(linear, put("weight", linear)),
    "parameter := buffer": after(linear, put("weight", lambda torch: torch.nn.Buffer(torch.ones(1)))),
    "None := tensor": after(lambda torch: torch.nn.Linear(1, 1, bias=False), put("bias", lambda torch: torch.ones(1))),
    "None := parameter": after(lambda torch: torch.nn.Linear(1, 1, bias=False), put("bias", parameter)),
    "module := tensor": after(net, put("0", lambda torch: torch.ones(1))),
    "module := None": after(net, put("0", lambda torch: None)),
    "module := parameter": after(net, put("0", parameter)),
    "module := module": after(net, put("0", lambda torch: torch.nn.ReLU())),
    "module := buffer": after(net, put("0", lambda torch: torch.nn.Buffer(torch.ones(1)))),
    "buffer := 3": after(with_buffers, put("kept", lambda torch: 3)),
    "buffer := tensor": after(with_buffers, put("temporary", lambda torch: torch.zeros(3))),
    "buffer := None": after(with_buffers, put("kept", lambda torch: None)),
    "buffer := parameter": after(with_buffers, put("temporary", parameter)),
    "buffer := module": after(with_buffers, put("temporary", linear)),
    "buffer := buffer": after(with_buffers, put("temporary", lambda torch: torch.nn.Buffer(torch.ones(1)))),
    "buffer := temporary": after(
        with_buffers, put("kept", lambda torch: torch.nn.Buffer(torch.ones(1), persistent=False))
    ),
    "delete parameter": after(linear, lambda m, t: delattr(m, "weight")),
    "delete buffer": after(with_buffers, lambda m, t: delattr(m, "temporary")),
    "delete module": after(net, lambda m, t: delattr(m, "1")),
    "dir": lambda torch: {"weight", "bias", "in_features", "forward"} <= set(dir(linear(torch))),
    "property": lambda torch: type("P", (torch.nn.Module,), {"a": property(lambda self: self.missing)})().a,
    "positional argument": lambda torch: torch.nn.Module(1),
    "keyword argument": lambda torch: torch.nn.Module(a=1),
    "call_super_init": lambda torch: type("Q", (torch.nn.Module,), {"call_super_init": True})(),
    "early module": lambda torch: uninitialised(torch, put("a", linear)),
    "early parameter": lambda torch: uninitialised(torch, put("a", parameter)),
    "early buffer": lambda torch: uninitialised(torch, put("a", lambda torch: torch.nn.Buffer(torch.ones(1)))),
    "early register_buffer": lambda torch: uninitialised(torch, lambda m, t: m.register_buffer("a", None)),
    "early register_parameter": lambda torch: uninitialised(torch, lambda m, t: m.register_parameter("a", None)),
    "early add_module": lambda torch: uninitialised(torch, lambda m, t: m.add_module("a", linear(t))),
    "early parameters": lambda torch: list(uninitialised(torch, lambda m, t: None).parameters()),
    "early state_dict": lambda torch: uninitialised(torch, lambda m, t: None).state_dict(),
    "no forward": lambda torch: torch.nn.Module()(1),
    "no argument": lambda torch: linear(torch)(),
}

TARGETS = ["", "0", "1.1", "1.5", "5.1", "0.weight", "0.weight.x", "0.missing", "0.in_features"]

TREE = {
    **{f"get_submodule {n!r}": lambda torch, n=n: net(torch).get_submodule(n) for n in TARGETS},
    **{f"get_parameter {n!r}": lambda torch, n=n: net(torch).get_parameter(n) for n in TARGETS},
    **{f"get_buffer {n!r}": lambda torch, n=n: net(torch).get_buffer(n) for n in TARGETS},
    "get_buffer": lambda torch: with_buffers(torch).get_buffer("kept"),
    **{
        f"set_submodule {n!r} {strict}": after(net, lambda m, t, n=n, s=strict: m.set_submodule(n, t.nn.ReLU(), s))
        for n in ["", "0", "1.1", "7", "0.q", "0.q.r", "0.weight", "0.weight.k"]
        for strict in (False, True)
    },
    "set_submodule 3": after(net, lambda m, t: m.set_submodule("0", 3)),
    "parameters": lambda torch: list(shared(torch).parameters()),
    "named_parameters": lambda torch: list(shared(torch).named_parameters("p")),
    "named_parameters twice": lambda torch: list(shared(torch).named_parameters(remove_duplicate=False)),
    "named_parameters here": lambda torch: list(net(torch).named_parameters(recurse=False)),
    "parameters here": lambda torch: list(linear(torch).parameters(recurse=False)),
    "named_buffers": lambda torch: list(torch.nn.Sequential(with_buffers(torch)).named_buffers()),
    "buffers": lambda torch: list(with_buffers(torch).buffers()),
    "named_modules": lambda torch: list(shared(torch).named_modules()),
    "named_modules twice": lambda torch: list(shared(torch).named_modules(remove_duplicate=False)),
    "named_modules prefix": lambda torch: list(net(torch).named_modules(prefix="p")),
    "named_modules memo": lambda torch: (lambda n: list(n.named_modules({n[0]})))(net(torch)),
    "modules": lambda torch: list(shared(torch).modules()),
    "children": lambda torch: list(shared(torch).children()),
    "named_children": lambda torch: list(shared(torch).named_children()),
    "apply": lambda torch: (lambda seen: (net(torch).apply(lambda m: seen.append(type(m).__name__)), seen))([]),
}

MODES = {
    "train 3": lambda torch: net(torch).train(3),
    "train 'a'": lambda torch: net(torch).train("a"),
    "eval": lambda torch: [module.training for module in net(torch).eval().modules()],
    "train": lambda torch: [module.training for module in net(torch).eval().train().modules()],
    "requires_grad_": lambda torch: list(net(torch).requires_grad_(False).parameters()),
    "to int": lambda torch: linear(torch).to(torch.int32),
    "to nothing": lambda torch: list(linear(torch).to().parameters()),
    "to dtype": lambda torch: list(linear(torch).to(torch.float64).parameters()),
    "to device, dtype": lambda torch: list(linear(torch).to("cpu", torch.float64).parameters()),
    "to keywords": lambda torch: list(linear(torch).to(device="cpu", dtype=torch.float64).parameters()),
    "to tensor": lambda torch: list(linear(torch).to(torch.ones(1, dtype=torch.float64)).parameters()),
    "to two devices": lambda torch: linear(torch).to("cpu", "cpu"),
    "to unknown keyword": lambda torch: linear(torch).to(foo=3),
    "to unknown device": lambda torch: linear(torch).to("nope"),
    "float leaves ints alone": lambda torch: list(with_buffers(torch).double().half().float().buffers()),
    "double": lambda torch: list(with_buffers(torch).double().state_dict().values()),
    "type": lambda torch: list(with_buffers(torch).type(torch.float64).state_dict().values()),
    "cpu": lambda torch: list(linear(torch).cpu().parameters()),
    "to_empty": lambda torch: list(linear(torch).to_empty(device="cpu").parameters()),
}


def texts(torch):
    nn = torch.nn

    def module(*lines, name=None, **children):
        body = {"extra_repr": lambda self: "\n".join(lines), "_get_name": lambda self: name or "Module"}
        made = type("Module", (nn.Module,), body)()
        for key, child in children.items():
            made.add_module(key, child)
        return made

    return nn.Sequential(
        module("one"),
        module("one", "two"),
        module("one", a=nn.ReLU()),
        module(name="Named", a=module("one", "two", b=nn.ReLU())),
        module(a=None),
    )


def extra_state(torch):
    class Extra(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.w = torch.nn.Parameter(torch.ones(1))
            self.extra = 3

        def get_extra_state(self):
            return {"extra": self.extra}

        def set_extra_state(self, state):
            self.extra = state["extra"]

    return Extra()


def loaded(make, changes, **options):
    """Return a program that loads a changed state_dict and returns the answer and the new state."""

    def program(torch):
        module = make(torch)
        state = module.state_dict()
        for key, change in changes.items():
            if change is None:
                del state[key]
            else:
                state[key] = change(torch)
        return module.load_state_dict(state, **options), [value.tolist() for value in module.state_dict().values()]

    return program


def ones(*shape, **options):
    return lambda torch: torch.ones(*shape, **{k: getattr(torch, v) for k, v in options.items()})


WEIGHTS = {"weight": ones(3, 2), "bias": ones(3)}

STATE = {
    "names": lambda torch: net(torch).state_dict(),
    "buffers": lambda torch: with_buffers(torch).state_dict(),
    "prefix": lambda torch: list(net(torch).state_dict(prefix="a.")),
    "metadata": lambda torch: net(torch).state_dict()._metadata,
    "metadata prefix": lambda torch: net(torch).state_dict(prefix="a.")._metadata,
    "keep_vars": lambda torch: linear(torch).state_dict(keep_vars=True),
    "destination": lambda torch: linear(torch).state_dict(destination={"x": 1}),
    "positional": lambda torch: list(linear(torch).state_dict({}, "a.", True).items()),
    "extra": lambda torch: extra_state(torch).state_dict(),
    "extra missing": lambda torch: extra_state(torch).load_state_dict({}),
    "extra loaded": lambda torch: (
        lambda m: (m.load_state_dict({"w": torch.ones(1), "_extra_state": {"extra": 9}}), m.extra)
    )(extra_state(torch)),
    "get_extra_state": lambda torch: linear(torch).get_extra_state(),
    "set_extra_state": lambda torch: linear(torch).set_extra_state(3),
    "load": loaded(linear, WEIGHTS),
    "load 3": lambda torch: linear(torch).load_state_dict(3),
    "load None": lambda torch: linear(torch).load_state_dict(None),
    "load plain dict": lambda torch: linear(torch).load_state_dict(dict(linear(torch).state_dict())),
    "load double": loaded(linear, {"weight": ones(3, 2, dtype="float64"), "bias": ones(3)}),
    "load missing": loaded(linear, {"weight": ones(3, 2), "bias": None}),
    "load missing, not strict": lambda torch: linear(torch).load_state_dict({}, strict=False),
    "load unknown": loaded(linear, {**WEIGHTS, "other": ones(1)}),
    "load unknown, not strict": loaded(linear, {**WEIGHTS, "other": ones(1), "a.b": ones(1)}, strict=False),
    "load size": loaded(linear, {"weight": ones(2, 3)}),
    "load size, not strict": loaded(linear, {"weight": ones(2, 3)}, strict=False),
    "load number": loaded(linear, {"weight": lambda torch: 3}),
    "load array": loaded(linear, {"weight": lambda torch: np.ones((3, 2))}),
    "load (1,) into ()": lambda torch: with_buffers(torch).load_state_dict(
        {"kept": torch.zeros(2), "count": torch.tensor([4]), "scale": torch.ones(1)}
    ),
    "assign": lambda torch: (lambda m: (m.load_state_dict(linear(torch).double().state_dict(), assign=True), m.weight))(
        linear(torch)
    ),
    "assign buffers": lambda torch: (
        lambda m: (m.load_state_dict(with_buffers(torch).double().state_dict(), assign=True), m.kept, m.scale)
    )(with_buffers(torch)),
    "assign size": loaded(linear, {"weight": ones(2, 3)}, assign=True),
    "assign keeps requires_grad": lambda torch: (
        lambda m: (m.load_state_dict(linear(torch).state_dict(), assign=True), m.weight)
    )(linear(torch).requires_grad_(False)),
}

ROWS = [
    pytest.param(program, id=f"{topic}: {name}")
    for topic, table in {
        "registration": REGISTRATION,
        "attributes": ATTRIBUTES,
        "tree": TREE,
        "modes": MODES,
        "state": STATE,
        "text": {"nested": texts, "net": net, "empty": empty},
    }.items()
    for name, program in table.items()
]


@pytest.mark.parametrize("program", ROWS)
def test_as_in_pytorch(program, same):
    same(program)


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"0.weight": ones(3), "0.bias": lambda torch: 3, "1.1.weight": ones(1, 1), "1.7": ones(1), "other.x": ones(1)},
        {"weight": ones(1), "0.weight.x": ones(1)},
    ],
    ids=["nothing", "everything wrong", "unknown only"],
)
def test_load_state_dict_reports_as_pytorch_does(state):
    torch = pytest.importorskip("torch")
    reports = []
    for library in (nbtorch, torch):
        with pytest.raises(RuntimeError) as error:
            net(library).load_state_dict({key: make(library) for key, make in state.items()})
        reports.append(str(error.value).replace("torch.Tensor or", "Tensor or"))
    assert reports[0] == reports[1]


def test_a_state_dict_shares_memory_and_loading_copies_into_it():
    layer, other = nn.Linear(2, 2), nn.Linear(2, 2)
    weight, state = layer.weight, layer.state_dict()
    layer.load_state_dict(other.state_dict())
    assert layer.weight is weight
    assert np.shares_memory(state["weight"].numpy(), weight.detach().numpy())
    assert state["weight"].tolist() == other.weight.tolist()


def test_loading_into_a_parameter_is_noticed_by_autograd():
    layer = nn.Linear(2, 2)
    loss = layer(nbtorch.ones(1, 2, requires_grad=True)).sum()
    layer.load_state_dict(nn.Linear(2, 2).state_dict())
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_conversion_keeps_parameters_and_their_gradients():
    layer = nn.Linear(2, 2)
    weight = layer.weight
    weight.grad = nbtorch.ones(2, 2)
    layer.double()
    assert layer.weight is weight
    assert weight.is_leaf and weight.requires_grad
    assert weight.dtype is weight.grad.dtype is nbtorch.float64


def test_zero_grad_drops_or_clears_gradients():
    layer = nn.Linear(2, 2)
    layer.weight.grad = gradient = nbtorch.ones(2, 2)
    layer.zero_grad(set_to_none=False)
    assert layer.weight.grad is gradient and gradient.sum().item() == 0
    assert layer.bias.grad is None
    layer.zero_grad()
    assert layer.weight.grad is None


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))])
def test_copies_are_equal_and_apart(duplicate):
    module = nn.Sequential(with_buffers(nbtorch), nn.Linear(2, 2)).eval()
    twin = duplicate(module)
    assert repr(twin) == repr(module)
    assert members(twin[0]) == members(module[0])
    assert not twin.training
    assert type(twin[1].weight) is nn.Parameter and twin[1].weight.requires_grad
    for (name, ours), (other, theirs) in zip(module.state_dict().items(), twin.state_dict().items(), strict=True):
        assert name == other and ours.tolist() == theirs.tolist()
        assert not np.shares_memory(ours.numpy(), theirs.numpy())


def test_a_deep_copy_keeps_shared_parameters_shared():
    module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    module[1].weight = module[0].weight
    twin = copy.deepcopy(module)
    assert twin[1].weight is twin[0].weight is not module[0].weight


def test_state_dict_hooks_run_in_order():
    layer, calls = nn.Linear(1, 1), []
    layer.register_state_dict_pre_hook(lambda module, prefix, keep_vars: calls.append(("before", prefix, keep_vars)))
    layer._register_state_dict_hook(lambda module, state, prefix, metadata: {**state, "more": len(calls)})
    layer.register_state_dict_post_hook(lambda module, state, prefix, metadata: calls.append(("after", list(state))))
    assert list(layer.state_dict(prefix="p.")) == ["p.weight", "p.bias", "more"]
    assert calls == [("before", "p.", False), ("after", ["p.weight", "p.bias", "more"])]
    layer.register_state_dict_post_hook(lambda *args: 3)
    with pytest.raises(RuntimeError, match="must return None"):
        layer.state_dict()


def test_load_state_dict_hooks_see_and_change_the_keys():
    layer = nn.Linear(1, 1)

    def rename(module, state, prefix, metadata, strict, missing, unexpected, errors):
        state[prefix + "weight"] = state.pop(prefix + "old")

    layer.register_load_state_dict_pre_hook(rename)
    handle = layer.register_load_state_dict_post_hook(lambda module, keys: keys.missing_keys.clear())
    state = OrderedDict(old=nbtorch.full((1, 1), 5.0))
    assert repr(layer.load_state_dict(state)) == "<All keys matched successfully>"
    assert layer.weight.item() == 5
    assert list(state) == ["old"]  # the caller's dictionary stays as it is
    handle.remove()
    with pytest.raises(RuntimeError, match=re.escape('Missing key(s) in state_dict: "bias"')):
        layer.load_state_dict(state)
    layer.register_load_state_dict_post_hook(lambda *args: 3)
    with pytest.raises(AssertionError):
        layer.load_state_dict(OrderedDict(old=nbtorch.ones(1, 1), bias=nbtorch.ones(1)))


def test_an_overridden_loader_reads_an_older_version():
    class Scaled(nn.Module):
        _version = 2

        def __init__(self):
            super().__init__()
            self.log_scale = nn.Parameter(nbtorch.zeros(1))

        def _load_from_state_dict(self, state_dict, prefix, local_metadata, *rest):
            if local_metadata.get("version", 1) < 2:
                state_dict[prefix + "log_scale"] = state_dict.pop(prefix + "scale").log()
            super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)

    net = nn.Sequential(Scaled())
    net.load_state_dict({"0.scale": nbtorch.ones(1)})
    assert net[0].log_scale.item() == 0


def test_a_module_without_hooks_keeps_no_trace_of_them():
    module = nn.Identity()
    handle = module.register_forward_hook(lambda *args: None)
    handle.remove()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert module(3) == 3
    assert not module._call_hooks
