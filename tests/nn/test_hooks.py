"""Hooks around calls and inside backward: every row runs with both libraries and must log the same events."""

import pytest

import nbtorch
from nbtorch import nn


def affine(torch):
    """Return a module y = k (2 x + 1) of known values."""

    class Affine(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(2, 2)
            self.layer.load_state_dict({"weight": 2 * torch.eye(2), "bias": torch.ones(2)})

        def forward(self, x, k=1):
            return self.layer(x) * k

    return Affine()


def failing(torch):
    class Failing(torch.nn.Module):
        def forward(self, x):
            raise ValueError("no")

    return Failing()


def pair(torch):
    class Pair(torch.nn.Module):
        def forward(self, x, y):
            return x * 2, y * 3 if y is not None else None

    return Pair()


def mapping(torch):
    class Mapping(torch.nn.Module):
        def forward(self, x):
            return {"a": x * 2}

    return Mapping()


def values(x):
    """Turn tensors in nested tuples and dictionaries into lists."""
    if hasattr(x, "tolist"):
        return x.tolist()
    if isinstance(x, dict):
        return {key: values(item) for key, item in x.items()}
    return tuple(values(item) for item in x) if isinstance(x, tuple) else x


class Scene:
    """A module, its input and a log, for one library."""

    def __init__(self, torch, make=affine):
        self.torch = torch
        self.module = make(torch)
        self.x = torch.ones(1, 2, requires_grad=True)
        self.log = []

    def note(self, name, result=None):
        """Return a hook that logs its arguments (without the module) and returns `result`."""

        def hook(module, *args):
            self.log.append((name, values(args)))
            return result

        return hook

    def run(self, *args, **kwargs):
        """Call the module and go backward through the sum of what it returned; return the log."""
        output = self.module(*(args or (self.x,)), **kwargs)
        first = output[0] if isinstance(output, tuple) else output
        if hasattr(first, "sum"):
            self.log.append(("output", values(first)))
            if first.requires_grad:
                first.sum().backward()
        self.log.append(("grad", values(self.x.grad)))
        return self.log


def scene(arrange, make=affine):
    def program(torch):
        stage = Scene(torch, make)
        result = arrange(stage, stage.module, torch)
        return stage.run() if result is None else result

    return program


def raising(*args):
    raise KeyError("hook")


def caught(stage):
    try:
        stage.run()
    except Exception as error:
        stage.log.append(type(error).__name__)
    return stage.log


FORWARD = {
    "pre": scene(lambda s, m, t: m.register_forward_pre_hook(s.note("pre")) and None),
    "pre returns a tensor": scene(lambda s, m, t: m.register_forward_pre_hook(lambda m, a: a[0] * 2) and None),
    "pre returns a tuple": scene(lambda s, m, t: m.register_forward_pre_hook(lambda m, a: (a[0] * 2, 5)) and None),
    "pre with kwargs": scene(
        lambda s, m, t: (m.register_forward_pre_hook(s.note("pre"), with_kwargs=True), s.run(s.x, k=3))[1]
    ),
    "pre changes kwargs": scene(
        lambda s, m, t: (
            m.register_forward_pre_hook(lambda m, a, k: (a, {"k": 7}), with_kwargs=True),
            s.run(s.x, k=3),
        )[1]
    ),
    "pre returns nonsense": scene(
        lambda s, m, t: m.register_forward_pre_hook(lambda m, a, k: 3, with_kwargs=True) and None
    ),
    "after": scene(lambda s, m, t: m.register_forward_hook(s.note("after")) and None),
    "after with kwargs": scene(
        lambda s, m, t: (m.register_forward_hook(s.note("after"), with_kwargs=True), s.run(s.x, k=3))[1]
    ),
    "after replaces": scene(lambda s, m, t: m.register_forward_hook(lambda m, a, o: o * 10) and None),
    "order": scene(
        lambda s, m, t: (
            [m.register_forward_hook(s.note(n), prepend=p) for n, p in (("a", 0), ("b", 0), ("c", 1))] and None
        )
    ),
    "order of pre": scene(
        lambda s, m, t: (
            [m.register_forward_pre_hook(s.note(n), prepend=p) for n, p in (("a", 0), ("b", 0), ("c", 1))] and None
        )
    ),
    "always": scene(
        lambda s, m, t: (
            m.register_forward_hook(s.note("always"), always_call=True),
            m.register_forward_hook(s.note("not")),
            caught(s),
        )[2],
        failing,
    ),
    "always raises": scene(lambda s, m, t: (m.register_forward_hook(raising, always_call=True), caught(s))[1], failing),
    "always after a failing hook": scene(
        lambda s, m, t: (
            m.register_forward_hook(s.note("first"), always_call=True),
            m.register_forward_hook(raising),
            m.register_forward_hook(s.note("second"), always_call=True),
            caught(s),
        )[3]
    ),
    "handle": scene(lambda s, m, t: (m.register_forward_hook(s.note("after")).remove(), s.run())[1]),
}

FIVES = [[5.0, 5.0]]


def backward(*hooks, make=affine, args=None):
    """Arrange backward hooks: pairs of `register_full_backward_…` name and what the hook returns."""

    def arrange(s, m, t):
        for kind, result in hooks:
            register = getattr(m, f"register_full_backward_{kind}")
            register(s.note(kind, result(t) if callable(result) else result))
        return s.run(*args(s, t)) if args else None

    return scene(arrange, make)


BACKWARD = {
    "both": backward(("hook", None), ("pre_hook", None)),
    "replaced gradients of inputs": backward(("hook", lambda t: (t.tensor(FIVES),))),
    "replaced, no tuple": backward(("hook", lambda t: t.tensor(FIVES))),
    "replaced by too many": backward(("hook", lambda t: (t.tensor(FIVES), None))),
    "replaced gradients of outputs": backward(("hook", None), ("pre_hook", lambda t: (t.tensor(FIVES),))),
    "pre replaced by too many": backward(("pre_hook", lambda t: (t.tensor(FIVES), None))),
    "pre alone": backward(("pre_hook", lambda t: t.tensor(FIVES))),
    "inputs without gradients": backward(("hook", None), args=lambda s, t: (t.ones(1, 2),)),
    "two outputs": backward(("hook", None), make=pair, args=lambda s, t: (s.x, t.ones(2, requires_grad=True))),
    "a number among the inputs": backward(("hook", None), make=pair, args=lambda s, t: (s.x, 3)),
    "None among the inputs": backward(("hook", None), make=pair, args=lambda s, t: (s.x, None)),
    "a dictionary as output": backward(("hook", None), make=mapping),
    "nested": scene(
        lambda s, m, t: (
            m.register_full_backward_hook(s.note("outer")),
            m.layer.register_full_backward_hook(s.note("inner")),
            s.run(),
        )[2]
    ),
    "order": scene(
        lambda s, m, t: (
            [m.register_full_backward_hook(s.note(n), prepend=p) for n, p in (("a", 0), ("b", 0), ("c", 1))] and None
        )
    ),
    "old and full": scene(
        lambda s, m, t: (m.register_backward_hook(s.note("a")), m.register_full_backward_hook(s.note("b")))
    ),
    "full and old": scene(
        lambda s, m, t: (m.register_full_backward_hook(s.note("a")), m.register_backward_hook(s.note("b")))
    ),
    "no_grad": scene(
        lambda s, m, t: (m.register_full_backward_hook(s.note("a")), t.no_grad()(m)(s.x).requires_grad)[1]
    ),
    "double backward": lambda torch: second_derivative(torch),
}


def second_derivative(torch):
    """Differentiate twice through a module with hooks."""
    stage = Scene(torch)
    stage.module.register_full_backward_hook(stage.note("hook"))
    (first,) = torch.autograd.grad((stage.module(stage.x) ** 3).sum(), stage.x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), stage.x)
    return values(first), values(second), stage.log[0]


ROWS = [
    pytest.param(program, id=f"{topic}: {name}")
    for topic, table in {"forward": FORWARD, "backward": BACKWARD}.items()
    for name, program in table.items()
]


@pytest.mark.parametrize("program", ROWS)
def test_as_in_pytorch(program, same):
    same(program)


def test_the_old_backward_hook_sees_the_last_operation():
    stage = Scene(nbtorch)
    stage.module.register_backward_hook(lambda module, grad_input, grad_output: stage.log.append(values(grad_output)))
    assert stage.run()[1] == ([[1.0, 1.0]],)


def test_global_hooks_run_for_every_module():
    hooks = nn.modules.module
    seen = []
    handles = [
        hooks.register_module_forward_pre_hook(lambda module, args: seen.append(("pre", type(module).__name__))),
        hooks.register_module_forward_hook(lambda module, args, output: seen.append(("after", type(module).__name__))),
        hooks.register_module_full_backward_pre_hook(lambda module, grad: seen.append(("up", type(module).__name__))),
        hooks.register_module_full_backward_hook(lambda module, gi, go: seen.append(("down", type(module).__name__))),
    ]
    try:
        nn.Sequential(nn.Linear(1, 1))(nbtorch.ones(1, 1, requires_grad=True)).sum().backward()
    finally:
        for handle in handles:
            handle.remove()
    net = "Sequential", "Linear"
    assert seen == [
        *[("pre", name) for name in net],
        *[("after", name) for name in reversed(net)],
        *[("up", name) for name in net],
        *[("down", name) for name in reversed(net)],
    ]
    nn.Identity()(1)
    assert len(seen) == 8


def test_changing_a_watched_input_in_place_is_refused():
    module = nn.ReLU(inplace=True)
    module.register_full_backward_hook(lambda *args: None)
    x = nbtorch.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"in-?place"):
        module(x * 1).sum().backward()
