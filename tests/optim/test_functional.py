"""The functional forms of the optimizers: one step on lists of tensors."""

import importlib
import inspect

import numpy as np
import pytest

import nbtorch

from ..against_torch import assert_same

torch = pytest.importorskip("torch")

NUMBERS = {
    "lr": 0.1,
    "weight_decay": 0.05,
    "momentum": 0.9,
    "dampening": 0.2,
    "nesterov": False,
    "amsgrad": True,
    "beta1": 0.8,
    "beta2": 0.95,
    "eps": 1e-6,
    "lr_decay": 0.1,
    "rho": 0.7,
    "lambd": 0.01,
    "t0": 2.0,
    "alpha": 0.6,
    "momentum_decay": 0.01,
    "centered": True,
    "step_size_min": 0.01,
    "step_size_max": 5.0,
    "etaminus": 0.5,
    "etaplus": 1.2,
}
SCALARS = {"mus": 0.5, "etas": 0.1, "mu_products": 0.7, "state_steps": 3.0}
NAMES = ["adadelta", "adagrad", "adam", "adamax", "adamw", "asgd", "nadam", "radam", "rmsprop", "rprop", "sgd"]


def form(library, name):
    return getattr(importlib.import_module(f"{library.__name__}.optim.{name}"), name)


def stepped(library, name, *, empty=(), scaled=False, **options):
    """Return all tensors after two steps from lists of known values."""
    rng = np.random.default_rng(0)
    function = form(library, name)
    parameters = inspect.signature(form(torch, name)).parameters
    positional = [p for p in parameters.values() if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    lists = {}
    for parameter in positional:
        arrays = [np.abs(rng.standard_normal(shape)) for shape in [(3, 4), (5,)]]
        if parameter.name in SCALARS:
            arrays = [np.array(SCALARS[parameter.name], np.float32) for _ in arrays]
        lists[parameter.name] = [] if parameter.name in empty else [library.tensor(a) for a in arrays]
    keywords = {k: NUMBERS.get(k, False) for k, p in parameters.items() if p.kind is p.KEYWORD_ONLY}
    if scaled:
        options |= {
            "fused": True,
            "grad_scale": library.tensor(4.0),
            "found_inf": library.tensor(scaled == "inf") * 1.0,
        }
    for _ in range(2):
        function(*lists.values(), **(keywords | options))
    return {key: [t.numpy() for t in values] for key, values in lists.items()}


def assert_alike(name, **options):
    ours, theirs = (stepped(library, name, **options) for library in (nbtorch, torch))
    for key, values in theirs.items():
        assert len(ours[key]) == len(values)
        for mine, other in zip(ours[key], values, strict=True):
            assert mine.dtype == other.dtype
            np.testing.assert_allclose(mine, other, 1e-6, 1e-12, err_msg=key)


@pytest.mark.parametrize("options", [{}, {"foreach": False, "maximize": True}], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_two_steps_as_in_pytorch(name, options):
    assert_alike(name, **options)


@pytest.mark.parametrize("scaled", [True, "inf"])
@pytest.mark.parametrize("name", ["adagrad", "adam", "adamw", "sgd"])
def test_fused_forms_scale_gradients_and_leave_out_steps(name, scaled):
    assert_alike(name, scaled=scaled)


def test_lists_that_the_options_do_not_need_may_be_empty():
    assert_alike("adam", amsgrad=False, empty=("max_exp_avg_sqs",))
    assert_alike("rmsprop", centered=False, momentum=0.0, empty=("grad_avgs", "momentum_buffer_list"))


def test_a_missing_momentum_buffer_is_put_into_the_list():
    weight, buffers = nbtorch.ones(2), [None]
    options = {"weight_decay": 0.0, "momentum": 0.9, "lr": 0.1, "dampening": 0.5, "nesterov": False, "maximize": False}
    form(nbtorch, "sgd")([weight], [nbtorch.full((2,), 3.0)], buffers, **options)
    assert buffers[0].tolist() == [3, 3]
    assert weight.tolist() == pytest.approx([0.7, 0.7])


def test_a_differentiable_step_changes_the_lists_with_their_graph():
    gradient = nbtorch.ones(2, requires_grad=True)
    weight, mean, square, step = nbtorch.zeros(2), nbtorch.zeros(2), nbtorch.ones(2), nbtorch.tensor(1.0)
    options = {"amsgrad": False, "beta1": 0.9, "beta2": 0.99, "lr": 0.1, "weight_decay": 0.0, "eps": 1e-8}
    form(nbtorch, "adam")(
        [weight], [gradient], [mean], [square], [], [step], differentiable=True, maximize=False, **options
    )
    assert mean.requires_grad and weight.requires_grad
    mean.sum().backward()
    assert gradient.grad.tolist() == pytest.approx([0.1, 0.1])


def test_steps_must_be_tensors():
    with pytest.raises(RuntimeError, match="state_steps"):
        form(nbtorch, "adamax")([], [], [], [], [1], lr=0.1, eps=1e-8, beta1=0.9, beta2=0.9, weight_decay=0.0)


def swapped(library, change=lambda groups: None, count=2):
    """Return what a step on other parameters leaves, within the context and after it."""
    live = [library.nn.Parameter(library.ones(2) * n) for n in (1, 2)]
    optimizer = library.optim.Adam([{"params": live[:1], "lr": 0.2}, {"params": live[1:]}], lr=0.1)
    for param in live:
        param.grad = library.ones(2)
    optimizer.step()
    state = optimizer.state_dict()
    state["param_groups"][1]["lr"] = 0.7
    change(state)
    others = {str(n): library.nn.Parameter(library.zeros(2)) for n in range(count)}
    for param in others.values():
        param.grad = library.ones(2) * 3
    with library.optim.swap_in_optimizer_params_and_state(optimizer, others, state):
        inside = [group["lr"] for group in optimizer.param_groups]
        optimizer.step()
    steps = [entry["step"] for entry in state["state"].values()]
    after = [group["lr"] for group in optimizer.param_groups]
    return list(live), list(others.values()), inside, after, steps, optimizer.param_groups[0]["params"][0] is live[0]


@pytest.mark.parametrize(
    "change",
    [
        lambda state: None,
        lambda state: state.pop("state"),
        lambda state: state["param_groups"].pop(),
        lambda state: state["param_groups"][0].pop("lr"),
        lambda state: state["param_groups"][0].update(more=1),
        lambda state: state["param_groups"][0]["params"].append(7),
        lambda state: state["param_groups"][0].update(params=["a"]),
        lambda state: state["state"].update({9: {}}),
        lambda state: state["state"].update({0: 3}),
    ],
)
def test_swapping_parameters_and_state_as_in_pytorch(change):
    assert_same(lambda library: swapped(library, change))


def test_swapping_needs_parameters_and_state():
    assert_same(lambda library: swapped(library, count=1))

    def program(library):
        optimizer = library.optim.SGD([library.nn.Parameter(library.ones(1))])
        with library.optim.swap_in_optimizer_params_and_state(optimizer, {}, optimizer.state_dict()):
            pass

    assert_same(program)
