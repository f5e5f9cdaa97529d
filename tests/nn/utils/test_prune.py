"""Pruning of parameters by masks."""

import pytest

import nbtorch
from nbtorch import nn
from nbtorch.nn.utils import prune

from ...against_torch import assert_same

pytest.importorskip("torch.nn.utils.prune")  # which PyTorch does not import by itself


def layer(library):
    """Return a layer of known weights."""
    made = library.nn.Conv2d(3, 4, 2)
    with library.no_grad():
        values = library.arange(48, dtype=library.float32) * 7 % 48 - 20.5
        made.weight.copy_(values.reshape(4, 3, 2, 2))
        made.bias.copy_(library.tensor([0.5, -0.25, 2.0, -1.0]))
    return made


def pruned(*steps):
    """Return a program that prunes by each step and shows everything that came of it."""

    def program(library):
        module = layer(library)
        x = library.arange(27.0).reshape(1, 3, 3, 3)
        ends = []
        for step in steps:
            assert step(library.nn.utils.prune, module, library) is module
            output = module(x)
            ends.append((dict(module.state_dict()), module.weight, module.bias, output))
        output.sum().backward()
        ends.append({name: p.grad for name, p in module.named_parameters()})
        return [*ends, library.nn.utils.prune.is_pruned(library.nn.Sequential(module)), list(module.state_dict())]

    return program


PROGRAMS = {
    "identity": pruned(lambda p, m, t: p.identity(m, "bias")),
    "l1 by number": pruned(lambda p, m, t: p.l1_unstructured(m, "weight", 5)),
    "l1 by share": pruned(lambda p, m, t: p.l1_unstructured(m, name="weight", amount=0.3)),
    "l1 none": pruned(lambda p, m, t: p.l1_unstructured(m, "weight", 0)),
    "l1 by scores": pruned(
        lambda p, m, t: p.l1_unstructured(m, "bias", 2, importance_scores=t.tensor([4.0, 1.0, 2.0, 3.0]))
    ),
    "l1 twice": pruned(
        lambda p, m, t: p.l1_unstructured(m, "weight", 5), lambda p, m, t: p.l1_unstructured(m, "weight", 0.5)
    ),
    "ln": pruned(lambda p, m, t: p.ln_structured(m, "weight", amount=0.5, n=2, dim=0)),
    "ln negative dim": pruned(lambda p, m, t: p.ln_structured(m, "weight", 1, n=float("-inf"), dim=-3)),
    "ln twice": pruned(
        lambda p, m, t: p.ln_structured(m, "weight", 1, n=1, dim=1),
        lambda p, m, t: p.ln_structured(m, "weight", 1, n=1, dim=1),
    ),
    "ln after l1": pruned(
        lambda p, m, t: p.l1_unstructured(m, "weight", 20),
        lambda p, m, t: p.ln_structured(m, "weight", 0.25, n=1, dim=0),
    ),
    "custom": pruned(lambda p, m, t: p.custom_from_mask(m, name="bias", mask=t.tensor([0, 1, 0, 1]))),
    "custom twice": pruned(
        lambda p, m, t: p.custom_from_mask(m, "bias", t.tensor([0, 1, 1, 1])),
        lambda p, m, t: p.custom_from_mask(m, "bias", t.tensor([1, 0, 1, 1])),
    ),
    "all at random": pruned(lambda p, m, t: p.random_unstructured(m, "weight", 1.0)),
    "remove": pruned(lambda p, m, t: p.l1_unstructured(m, "weight", 30), lambda p, m, t: p.remove(m, "weight")),
    "remove unpruned": pruned(lambda p, m, t: p.remove(m, "weight")),
    "amount too large": pruned(lambda p, m, t: p.l1_unstructured(m, "weight", 49)),
    "share too large": pruned(lambda p, m, t: p.l1_unstructured(m, "weight", 1.5)),
    "negative amount": pruned(lambda p, m, t: p.random_unstructured(m, "weight", -1)),
    "amount no number": pruned(lambda p, m, t: p.random_unstructured(m, "weight", "half")),
    "structured bias": pruned(lambda p, m, t: p.random_structured(m, "bias", 1, 0)),
    "no such dim": pruned(lambda p, m, t: p.ln_structured(m, "weight", 1, n=2, dim=4)),
    "no such parameter": pruned(lambda p, m, t: p.identity(m, "nothing")),
    "scores of another shape": pruned(lambda p, m, t: p.l1_unstructured(m, "bias", 1, t.ones(3))),
    "mask of another shape": pruned(lambda p, m, t: p.custom_from_mask(m, "bias", t.ones(3))),
}


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_as_in_pytorch(program):
    assert_same(program)


@pytest.mark.parametrize("options", [{"amount": 9}, {"amount": 0.7}], ids=str)
def test_global_pruning_as_in_pytorch(options):
    def program(library):
        prune = library.nn.utils.prune
        net = library.nn.Sequential(layer(library), layer(library))
        net[1].weight.data *= 1.013  # ties are nobody's to promise
        pairs = [(net[0], "weight"), (net[1], "weight"), (net[1], "bias")]
        prune.global_unstructured(pairs, pruning_method=prune.L1Unstructured, **options)
        scores = {pairs[0]: -net[0].weight.detach() + 3}
        prune.global_unstructured(pairs, prune.L1Unstructured, scores, amount=3)
        return dict(net.state_dict()), net[0].weight

    assert_same(program)


@pytest.mark.parametrize(
    "program",
    [
        lambda t: t.nn.utils.prune.global_unstructured(3, t.nn.utils.prune.Identity),
        lambda t: t.nn.utils.prune.global_unstructured(
            [(layer(t), "bias")], t.nn.utils.prune.LnStructured, amount=1, n=2
        ),
        lambda t: t.nn.utils.prune.global_unstructured([(layer(t), "bias")], t.nn.utils.prune.Identity, [1]),
        lambda t: t.nn.utils.prune.PruningContainer().add_pruning_method(3),
        lambda t: t.nn.utils.prune.BasePruningMethod(),
        lambda t: t.nn.utils.prune.L1Unstructured(2).prune(t.tensor([3.0, -1.0, 2.0, -4.0])),
        lambda t: t.nn.utils.prune.L1Unstructured(2).prune(
            t.tensor([3.0, -1.0, 2.0, -4.0]), t.tensor([1.0, 1, 0, 1]), importance_scores=t.tensor([1.0, 2, 3, 4])
        ),
        lambda t: t.nn.utils.prune.L1Unstructured(1).prune(t.ones(3), importance_scores=t.ones(2)),
    ],
)
def test_methods_as_in_pytorch(program):
    assert_same(program)


def test_random_pruning_takes_as_much_as_asked():
    module = prune.random_structured(nn.Linear(6, 5), "weight", amount=2, dim=1)
    assert sorted(module.weight_mask.sum(0).tolist()) == [0, 0, 5, 5, 5, 5]
    again = prune.random_structured(module, "weight", amount=2, dim=1)  # of the four that are left
    assert sorted(again.weight_mask.sum(0).tolist()) == [0, 0, 0, 0, 5, 5]
    module = prune.random_unstructured(nn.Linear(6, 5), "weight", amount=0.5)
    assert module.weight_mask.sum() == 15


def test_pruned_weights_follow_training():
    module = prune.l1_unstructured(nn.Linear(4, 3), "weight", amount=6)
    zeros = module.weight_mask == 0
    optimizer = nbtorch.optim.SGD(module.parameters(), lr=0.1)
    module(nbtorch.ones(2, 4)).sum().backward()
    optimizer.step()
    module(nbtorch.ones(2, 4))
    assert (module.weight[zeros] == 0).all()
    assert (module.weight == module.weight_orig)[~zeros].all()


def test_own_methods_and_containers():
    class EveryOther(prune.BasePruningMethod):
        PRUNING_TYPE = "unstructured"

        def compute_mask(self, t, default_mask):
            mask = default_mask.clone()
            mask.view(-1)[::2] = 0
            return mask

    module = nn.Linear(4, 1, bias=False)
    assert isinstance(EveryOther.apply(module, "weight"), EveryOther)
    container = EveryOther.apply(module, "weight")
    assert isinstance(container, prune.PruningContainer) and len(container) == 2
    assert list(container) == [container[0], container[1]]
    assert module.weight_mask.tolist() == [[0, 0, 0, 1]]
