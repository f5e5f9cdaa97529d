"""Averaged weights, as in PyTorch."""

import numpy as np
import pytest

from ..against_torch import assert_same
from .test_lr_scheduler import optimizer, rounded, trace

torch = pytest.importorskip("torch")


class Model:
    """Builds the same small model, with a buffer of each kind, in both libraries."""

    def __new__(cls, library):
        model = library.nn.Sequential(library.nn.Linear(2, 3), library.nn.Linear(3, 1, dtype=library.float64))
        model.register_buffer("count", library.tensor(4))
        model.register_buffer("mean", library.tensor([0.5, 1.5]))
        return model


def fill(library, model, seed):
    rng = np.random.default_rng(seed)
    with library.no_grad():
        for tensor in model.parameters():
            tensor.copy_(library.tensor(rng.standard_normal(tuple(tensor.shape)).tolist()))
        model.count.fill_(seed)
        model.mean.fill_(seed / 2)


def averaged(steps=4, **options):
    def program(library):
        chosen = {key: value(library) if callable(value) else value for key, value in options.items()}
        model = Model(library)
        average = library.optim.swa_utils.AveragedModel(model, **chosen)
        for seed in range(steps):
            fill(library, model, seed)
            average.update_parameters(model)
        return dict(average.state_dict()), average.training

    return program


AVERAGES = {
    "mean": averaged(),
    "buffers": averaged(use_buffers=True),
    "ema": averaged(avg_fn=lambda library: library.optim.swa_utils.get_ema_avg_fn(0.7)),
    "ema lists": averaged(multi_avg_fn=lambda library: library.optim.swa_utils.get_ema_multi_avg_fn(0.7)),
    "swa": averaged(avg_fn=lambda library: library.optim.swa_utils.get_swa_avg_fn()),
    "swa lists": averaged(multi_avg_fn=lambda library: library.optim.swa_utils.get_swa_multi_avg_fn()),
    "ema buffers": averaged(avg_fn=lambda library: library.optim.swa_utils.get_ema_avg_fn(), use_buffers=True),
    "function": averaged(avg_fn=lambda library: lambda average, current, count: average + count * current),
    "device": averaged(device="cpu"),
    "one step": averaged(1),
    "both": averaged(
        avg_fn=lambda library: library.optim.swa_utils.get_swa_avg_fn(),
        multi_avg_fn=lambda library: library.optim.swa_utils.get_swa_multi_avg_fn(),
    ),
    "decay": lambda library: library.optim.swa_utils.get_ema_avg_fn(1.5),
    "decay of lists": lambda library: library.optim.swa_utils.get_ema_multi_avg_fn(-0.5),
}


@pytest.mark.parametrize("program", AVERAGES.values(), ids=AVERAGES)
def test_averages(program):
    assert_same(program)


def test_the_averaged_model_runs_and_loads():
    def program(library):
        model = library.nn.Linear(2, 1)
        average = library.optim.swa_utils.AveragedModel(model)
        with library.no_grad():
            model.weight.fill_(2.0)
            model.bias.fill_(1.0)
        average.update_parameters(model)
        twin = library.optim.swa_utils.AveragedModel(library.nn.Linear(2, 1))
        loaded = twin.load_state_dict(average.state_dict())
        return twin(library.ones(1, 2)), list(twin.state_dict()), repr(average), repr(loaded)

    assert_same(program)


def annealed(*arguments, resume=False, **options):
    def program(library):
        opt = optimizer(library)
        scheduler = library.optim.swa_utils.SWALR(opt, *arguments, **options)
        rates = trace(scheduler, opt, 6)
        state = scheduler.state_dict()
        twin = library.optim.swa_utils.SWALR(opt, *arguments, **options)
        twin.load_state_dict(state)
        return rates, rounded(dict(sorted(state.items()))), trace(twin, opt, 4)

    return program


RATES = {
    "cos": annealed(0.02),
    "linear": annealed([0.02, 0.3], anneal_epochs=4, anneal_strategy="linear"),
    "at once": annealed(0.02, anneal_epochs=0),
    "strategy": annealed(0.02, anneal_strategy="square"),
    "epochs": annealed(0.02, anneal_epochs=-1),
    "float epochs": annealed(0.02, anneal_epochs=2.5),
    "length": annealed([0.02]),
}


@pytest.mark.parametrize("program", RATES.values(), ids=RATES)
def test_rates(program):
    assert_same(program)


def test_update_bn_without_batch_norms_does_not_run_the_model():
    def program(library):
        model = library.nn.Linear(2, 1)
        model.register_forward_hook(lambda *_: pytest.fail("the model ran"))
        return library.optim.swa_utils.update_bn([library.ones(1, 2)], model)

    assert_same(program)
