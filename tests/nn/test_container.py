"""Containers behave as PyTorch's: every row runs with both libraries and must come to the same end."""

from collections import OrderedDict

import pytest

import nbtorch
from nbtorch import nn


def linears(torch, count=3):
    return [torch.nn.Linear(i + 1, i + 1) for i in range(count)]


def sequential(torch, count=3):
    return torch.nn.Sequential(*linears(torch, count))


def named(torch):
    return torch.nn.Sequential(OrderedDict(a=torch.nn.Linear(1, 1), b=torch.nn.Linear(2, 2)))


def modules(torch, count=3):
    return torch.nn.ModuleList(linears(torch, count))


def module_dict(torch):
    return torch.nn.ModuleDict({"b": torch.nn.Linear(1, 1), "a": torch.nn.Linear(2, 2)})


def parameter(torch, *shape):
    return torch.nn.Parameter(torch.ones(*shape))


def parameters(torch):
    return torch.nn.ParameterList([parameter(torch, 1), torch.ones(2), parameter(torch, 2, 3), 3, "x"])


def parameter_dict(torch):
    return torch.nn.ParameterDict({"b": parameter(torch, 1), "a": torch.ones(2), "c": 3})


def after(make, change):
    """Return a program that changes a container and returns it with what the change returned."""

    def program(torch):
        container = make(torch)
        return change(container, torch), container, list(container.state_dict())

    return program


def deleted(key):
    return lambda container, torch: container.__delitem__(key)


def assigned(key, make):
    return lambda container, torch: container.__setitem__(key, make(torch))


def added(make):
    def change(container, torch):
        container += make(torch)
        return container

    return change


INDICES = [0, 1, -1, 2, -3, 3, -4, slice(1, None), slice(0, 2), slice(None, None, -1), "0", None, 1.5]
NOT_MODULES = [3, "x", None, dict, lambda x: x]

SEQUENTIAL = {
    "bare": lambda torch: torch.nn.Sequential(),
    "names": named,
    "plain dict": lambda torch: torch.nn.Sequential({"a": torch.nn.ReLU()}),
    "reserves a name": lambda torch: torch.nn.Sequential(OrderedDict(a=torch.nn.ReLU(), b=None)),
    **{f"holds {x!r:.9}": lambda torch, x=x: torch.nn.Sequential(torch.nn.ReLU(), x) for x in NOT_MODULES},
    **{f"[{i}]": lambda torch, i=i: sequential(torch)[i] for i in INDICES},
    **{f"named [{i}]": lambda torch, i=i: named(torch)[i] for i in (0, -1, slice(1, 2), 5)},
    **{f"del [{i}]": after(sequential, deleted(i)) for i in (0, -1, 2, 7, slice(0, 2))},
    "del named": after(named, deleted(0)),
    "[0] = module": after(sequential, assigned(0, lambda torch: torch.nn.ReLU())),
    "[-1] = module": after(sequential, assigned(-1, lambda torch: torch.nn.ReLU())),
    "[9] = module": after(sequential, assigned(9, lambda torch: torch.nn.ReLU())),
    "[0] = 3": after(sequential, assigned(0, lambda torch: 3)),
    "[0] = None": after(sequential, assigned(0, lambda torch: None)),
    "+": lambda torch: sequential(torch, 1) + sequential(torch, 2),
    "+ list": lambda torch: sequential(torch, 1) + linears(torch),
    "+=": after(sequential, added(sequential)),
    "+= 3": after(sequential, added(lambda torch: 3)),
    "* 2": lambda torch: sequential(torch, 2) * 2,
    "3 *": lambda torch: 3 * sequential(torch, 1),
    "* 0": lambda torch: sequential(torch) * 0,
    "* 1.5": lambda torch: sequential(torch) * 1.5,
    "*= 2": after(sequential, lambda s, torch: s.__imul__(2)),
    "*= -1": after(sequential, lambda s, torch: s.__imul__(-1)),
    "*= 'a'": after(sequential, lambda s, torch: s.__imul__("a")),
    **{f"pop({i})": after(sequential, lambda s, torch, i=i: s.pop(i)) for i in (1, -1, slice(0, 2), 9, "0", None)},
    "append": after(sequential, lambda s, torch: s.append(torch.nn.ReLU())),
    "append 3": after(sequential, lambda s, torch: s.append(3)),
    "append to named": after(named, lambda s, torch: s.append(torch.nn.ReLU())),
    **{
        f"insert({i})": after(sequential, lambda s, torch, i=i: s.insert(i, torch.nn.ReLU()))
        for i in (0, 1, 3, 4, -1, -3, -4)
    },
    "insert 3": after(sequential, lambda s, torch: s.insert(0, 3)),
    "extend": after(sequential, lambda s, torch: s.extend(sequential(torch, 2))),
    "extend [3]": after(sequential, lambda s, torch: s.extend([3])),
    "extend 3": after(sequential, lambda s, torch: s.extend(3)),
    "iter": lambda torch: list(sequential(torch)),
    "len": lambda torch: len(sequential(torch)),
    "dir": lambda torch: [name for name in dir(sequential(torch)) if name[0].isdigit()],
    "nested": lambda torch: torch.nn.Sequential(modules(torch), sequential(torch, 0), named(torch)),
    "nested names": lambda torch: list(torch.nn.Sequential(named(torch), sequential(torch)).state_dict()),
    "call": lambda torch: torch.nn.Sequential(torch.nn.Identity(), torch.nn.Flatten())(torch.ones(2, 3, 4)),
    "call empty": lambda torch: torch.nn.Sequential()(torch.ones(1)),
}

MODULE_LIST = {
    "bare": lambda torch: torch.nn.ModuleList(),
    "generator": lambda torch: torch.nn.ModuleList(torch.nn.ReLU() for _ in range(2)),
    "of 3": lambda torch: torch.nn.ModuleList(3),
    "holds 3": lambda torch: torch.nn.ModuleList([3]),
    "holds None": lambda torch: torch.nn.ModuleList([None]),
    **{f"[{i}]": lambda torch, i=i: modules(torch)[i] for i in INDICES},
    **{f"del [{i}]": after(modules, deleted(i)) for i in (0, -1, 7, slice(0, 2))},
    "[-1] = module": after(modules, assigned(-1, lambda torch: torch.nn.ReLU())),
    "[5] = module": after(modules, assigned(5, lambda torch: torch.nn.ReLU())),
    "[0] = 3": after(modules, assigned(0, lambda torch: 3)),
    "+": lambda torch: modules(torch, 1) + modules(torch, 2),
    "+ list": lambda torch: modules(torch, 1) + linears(torch),
    "+ 3": lambda torch: modules(torch) + 3,
    "+=": after(modules, added(linears)),
    "+= 3": after(modules, added(lambda torch: 3)),
    **{f"pop({i})": after(modules, lambda m, torch, i=i: m.pop(i)) for i in (1, -1, slice(0, 2), 9, "0")},
    "append": after(modules, lambda m, torch: m.append(torch.nn.ReLU())),
    "append 3": after(modules, lambda m, torch: m.append(3)),
    **{f"insert({i})": after(modules, lambda m, torch, i=i: m.insert(i, torch.nn.ReLU())) for i in (0, 1, 3, 9)},
    "extend": after(modules, lambda m, torch: m.extend(modules(torch))),
    "extend [3]": after(modules, lambda m, torch: m.extend([3])),
    "call": lambda torch: modules(torch)(1),
    "in": lambda torch: 3 in modules(torch),
    "reversed": lambda torch: list(reversed(modules(torch))),
    "repeats": lambda torch: torch.nn.ModuleList(
        [*linears(torch, 1), *linears(torch, 1), torch.nn.ReLU(), sequential(torch, 2), sequential(torch, 2)]
    ),
    "state": lambda torch: list(modules(torch).state_dict()),
}

MODULE_DICT = {
    "dict": module_dict,
    "bare": lambda torch: torch.nn.ModuleDict(),
    "pairs": lambda torch: torch.nn.ModuleDict([["x", torch.nn.ReLU()], ("a", torch.nn.Tanh())]),
    "module dict": lambda torch: torch.nn.ModuleDict(module_dict(torch)),
    "of 3": lambda torch: torch.nn.ModuleDict(3),
    "of [3]": lambda torch: torch.nn.ModuleDict([3]),
    "of a triple": lambda torch: torch.nn.ModuleDict([["x"]]),
    "holds 3": lambda torch: torch.nn.ModuleDict([["x", 3]]),
    "holds None": lambda torch: torch.nn.ModuleDict({"x": None}),
    "int key": lambda torch: torch.nn.ModuleDict({3: torch.nn.ReLU()}),
    "['zz']": lambda torch: module_dict(torch)["zz"],
    "[0]": lambda torch: module_dict(torch)[0],
    "['a']": lambda torch: module_dict(torch)["a"],
    "= 3": after(module_dict, assigned("q", lambda torch: 3)),
    "= attribute": after(module_dict, assigned("type", lambda torch: torch.nn.ReLU())),
    "= dotted": after(module_dict, assigned("a.b", lambda torch: torch.nn.ReLU())),
    "= again": after(module_dict, assigned("a", lambda torch: torch.nn.ReLU())),
    "del": after(module_dict, deleted("a")),
    "del unknown": after(module_dict, deleted("q")),
    "pop": after(module_dict, lambda d, torch: d.pop("a")),
    "pop unknown": after(module_dict, lambda d, torch: d.pop("q")),
    "pop default": after(module_dict, lambda d, torch: d.pop("q", None)),
    "views": lambda torch: [list(view()) for view in (lambda d: (d.keys, d.values, d.items))(module_dict(torch))],
    "iter": lambda torch: (list(module_dict(torch)), len(module_dict(torch)), "a" in module_dict(torch)),
    "update": after(module_dict, lambda d, torch: d.update({"z": torch.nn.ReLU(), "c": torch.nn.ReLU()})),
    "clear": after(module_dict, lambda d, torch: d.clear()),
    "call": lambda torch: module_dict(torch)(1),
    "|": lambda torch: module_dict(torch) | module_dict(torch),
}

PARAMETER_LIST = {
    "mixed": parameters,
    "bare": lambda torch: torch.nn.ParameterList(),
    "module inside": lambda torch: torch.nn.ParameterList([torch.nn.ReLU(), torch.ones(2)]),
    "generator": lambda torch: torch.nn.ParameterList(torch.ones(n) for n in (1, 2)),
    "of 3": lambda torch: torch.nn.ParameterList(3),
    "of a tensor": lambda torch: torch.nn.ParameterList(torch.ones(2)),
    "of a string": lambda torch: torch.nn.ParameterList("ab"),
    "of a list": lambda torch: torch.nn.ParameterList(parameters(torch)),
    **{f"[{i}]": lambda torch, i=i: parameters(torch)[i] for i in (1, -1, 9, -6, slice(1, 3), "0", 1.5)},
    "[1] = tensor": after(parameters, assigned(1, lambda torch: torch.zeros(1))),
    "[9] = tensor": after(parameters, assigned(9, lambda torch: torch.zeros(1))),
    "append": after(parameters, lambda p, torch: p.append(torch.ones(4))),
    "append 3": after(parameters, lambda p, torch: p.append(3)),
    "extend": after(parameters, lambda p, torch: p.extend([torch.ones(4), 3])),
    "extend 3": after(parameters, lambda p, torch: p.extend(3)),
    "+=": after(parameters, added(lambda torch: [torch.ones(1)])),
    "del": after(parameters, lambda p, torch: p.__delitem__(0)),
    "iter": lambda torch: list(parameters(torch)),
    "len": lambda torch: len(parameters(torch)),
    "call": lambda torch: parameters(torch)(1),
    "named": lambda torch: list(parameters(torch).named_parameters()),
}

PARAMETER_DICT = {
    "mixed": parameter_dict,
    "bare": lambda torch: torch.nn.ParameterDict(),
    "module inside": lambda torch: torch.nn.ParameterDict({"m": torch.nn.ReLU(), "a": torch.ones(2)}),
    "order of a dict": lambda torch: list(torch.nn.ParameterDict({"z": 1, "y": 2})),
    "order of pairs": lambda torch: list(torch.nn.ParameterDict([("z", 1), ("y", 2)])),
    "order of an OrderedDict": lambda torch: list(torch.nn.ParameterDict(OrderedDict(z=1, y=2))),
    "order of a ParameterDict": lambda torch: list(
        torch.nn.ParameterDict(torch.nn.ParameterDict([("z", 1), ("y", 2)]))
    ),
    "generator": lambda torch: torch.nn.ParameterDict((name, torch.ones(1)) for name in "ab"),
    "of 3": lambda torch: torch.nn.ParameterDict(3),
    "of [3]": lambda torch: torch.nn.ParameterDict([3]),
    "of [[3]]": lambda torch: torch.nn.ParameterDict([[3]]),
    "int key": lambda torch: torch.nn.ParameterDict([[3, torch.ones(1)]]),
    "dotted key": lambda torch: torch.nn.ParameterDict({"a.b": torch.ones(1)}),
    "empty key": lambda torch: torch.nn.ParameterDict({"": torch.ones(1)}),
    "holds None": lambda torch: torch.nn.ParameterDict({"a": None}),
    "['b']": lambda torch: parameter_dict(torch)["b"],
    "['q']": lambda torch: parameter_dict(torch)["q"],
    "[0]": lambda torch: parameter_dict(torch)[0],
    ".b": lambda torch: parameter_dict(torch).b,
    "get": lambda torch: [parameter_dict(torch).get(*args) for args in (("b",), ("q",), ("q", 4))],
    "= tensor": after(parameter_dict, assigned("n", lambda torch: torch.ones(3))),
    "= int key": after(parameter_dict, assigned(3, lambda torch: torch.ones(3))),
    "= attribute": after(parameter_dict, assigned("type", lambda torch: torch.ones(3))),
    "del": after(parameter_dict, deleted("b")),
    "del unknown": after(parameter_dict, deleted("q")),
    "pop": after(parameter_dict, lambda d, torch: d.pop("b")),
    "pop unknown": after(parameter_dict, lambda d, torch: d.pop("q")),
    "popitem": after(parameter_dict, lambda d, torch: d.popitem()),
    "popitem of nothing": lambda torch: torch.nn.ParameterDict().popitem(),
    "setdefault": after(parameter_dict, lambda d, torch: [d.setdefault("b"), d.setdefault("z", torch.ones(1))]),
    "fromkeys": lambda torch: parameter_dict(torch).fromkeys(["x", "y"], torch.ones(1)),
    "fromkeys of nothing": lambda torch: parameter_dict(torch).fromkeys(["x", "y"]),
    "copy": lambda torch: parameter_dict(torch).copy(),
    "views": lambda torch: [list(view()) for view in (lambda d: (d.keys, d.values, d.items))(parameter_dict(torch))],
    "iter": lambda torch: (list(parameter_dict(torch)), len(parameter_dict(torch)), "a" in parameter_dict(torch)),
    "reversed": lambda torch: list(reversed(parameter_dict(torch))),
    "clear": after(parameter_dict, lambda d, torch: d.clear()),
    "|": lambda torch: parameter_dict(torch) | torch.nn.ParameterDict({"a": torch.ones(3), "z": 1}),
    "| dict": lambda torch: parameter_dict(torch) | {"q": torch.ones(3)},
    "dict |": lambda torch: {"q": 1} | parameter_dict(torch),
    "|=": after(parameter_dict, lambda d, torch: d.__ior__({"q": torch.ones(3)})),
    "call": lambda torch: parameter_dict(torch)(1),
    "plain attribute": after(parameter_dict, lambda d, torch: (setattr(d, "w", 3), list(d))),
}

ROWS = [
    pytest.param(program, id=f"{container}: {name}")
    for container, table in {
        "Sequential": SEQUENTIAL,
        "ModuleList": MODULE_LIST,
        "ModuleDict": MODULE_DICT,
        "ParameterList": PARAMETER_LIST,
        "ParameterDict": PARAMETER_DICT,
    }.items()
    for name, program in table.items()
]


@pytest.mark.parametrize("program", ROWS)
def test_as_in_pytorch(program, same):
    same(program)


def test_inserting_into_a_named_sequential_renumbers_it():
    net = named(nbtorch).insert(0, nn.ReLU())  # PyTorch raises KeyError('1') and leaves the container broken
    assert list(net._modules) == ["0", "1", "2"]


def test_negative_insertion_into_a_module_list_counts_from_the_end():
    modules = nn.ModuleList(linears(nbtorch, 2))  # PyTorch raises KeyError('-1')
    modules.insert(-1, nn.ReLU())
    assert [type(module).__name__ for module in modules] == ["Linear", "ReLU", "Linear"]
    with pytest.raises(TypeError, match="int is not a Module subclass"):
        modules.insert(0, 3)
