"""Learning rate schedules: PyTorch's sequences, state, warnings and errors."""

import copy

import pytest

import nbtorch

from ..against_torch import assert_same

torch = pytest.importorskip("torch")


class Halving:
    """A callable object with state."""

    def __init__(self, base=0.5):
        self.base = base

    def __call__(self, epoch):
        return self.base**epoch


def optimizer(library, name="SGD", rates=(0.5, 0.1), **options):
    groups = [{"params": [library.nn.Parameter(library.ones(1))], "lr": rate} for rate in rates]
    if name == "SGD":
        options.setdefault("momentum", 0.9)
    return getattr(library.optim, name)(groups, lr=0.2, **options)


def combined(kind):
    def make(library, opt, **last):
        s = library.optim.lr_scheduler
        if kind == "sequential":
            members = [s.ConstantLR(opt, 0.1, 3), s.ExponentialLR(opt, 0.9), s.CosineAnnealingLR(opt, 5)]
            return s.SequentialLR(opt, members, [4, 9])
        if kind == "nested":
            inner = s.SequentialLR(opt, [s.LinearLR(opt, 0.5), s.StepLR(opt, 2)], [3])
            return s.SequentialLR(opt, [inner, s.ExponentialLR(opt, 0.5)], [8])
        return s.ChainedScheduler([s.ConstantLR(opt, 0.1, 3), s.ExponentialLR(opt, 0.9)])

    return make


def schedule(name, *arguments, **options):
    return lambda library, opt, **last: getattr(library.optim.lr_scheduler, name)(opt, *arguments, **options, **last)


SCHEDULES = {
    "LambdaLR": schedule("LambdaLR", lambda epoch: 0.9**epoch),
    "LambdaLR list": schedule("LambdaLR", [lambda epoch: 0.9**epoch, Halving()]),
    "MultiplicativeLR": schedule("MultiplicativeLR", lambda epoch: 0.95),
    "MultiplicativeLR list": schedule("MultiplicativeLR", (Halving(0.9), Halving(0.8))),
    "StepLR": schedule("StepLR", 3),
    "StepLR gamma": schedule("StepLR", step_size=4, gamma=0.5),
    "MultiStepLR": schedule("MultiStepLR", [2, 5, 5, 11], 0.3),
    "MultiStepLR unsorted": schedule("MultiStepLR", (7, 3)),
    "ConstantLR": schedule("ConstantLR"),
    "ConstantLR factor": schedule("ConstantLR", factor=0.25, total_iters=8),
    "LinearLR": schedule("LinearLR"),
    "LinearLR down": schedule("LinearLR", 1.0, 0.1, 12),
    "ExponentialLR": schedule("ExponentialLR", 0.8),
    "PolynomialLR": schedule("PolynomialLR"),
    "PolynomialLR power": schedule("PolynomialLR", total_iters=12, power=2.5),
    "CosineAnnealingLR": schedule("CosineAnnealingLR", 6),
    "CosineAnnealingLR eta_min": schedule("CosineAnnealingLR", T_max=5, eta_min=0.05),
    "CosineAnnealingWarmRestarts": schedule("CosineAnnealingWarmRestarts", 4),
    "CosineAnnealingWarmRestarts T_mult": schedule("CosineAnnealingWarmRestarts", 3, T_mult=2, eta_min=0.01),
    "CyclicLR": schedule("CyclicLR", 0.01, 0.3, 4),
    "CyclicLR down": schedule("CyclicLR", [0.01, 0.02], [0.3, 0.4], 3, 5, mode="triangular2"),
    "CyclicLR exp": schedule("CyclicLR", 0.01, 0.3, 4, mode="exp_range", gamma=0.9),
    "CyclicLR function": schedule("CyclicLR", 0.01, 0.3, 4, scale_fn=Halving(0.9), scale_mode="iterations"),
    "CyclicLR lambda": schedule("CyclicLR", 0.01, 0.3, 4, scale_fn=lambda x: 1 / x, cycle_momentum=False),
    "OneCycleLR": schedule("OneCycleLR", 0.3, 20),
    "OneCycleLR three_phase": schedule("OneCycleLR", [0.3, 0.4], epochs=4, steps_per_epoch=6, three_phase=True),
    "OneCycleLR linear": schedule("OneCycleLR", 0.3, 18, anneal_strategy="linear", cycle_momentum=False, pct_start=0.5),
    "OneCycleLR factors": schedule("OneCycleLR", 0.3, 18, div_factor=5, final_div_factor=10, base_momentum=0.5),
    "SequentialLR": combined("sequential"),
    "SequentialLR nested": combined("nested"),
    "ChainedScheduler": combined("chained"),
}
STEPS = 18


def momentum(opt):
    return [list(group.get("betas", ())) or group["momentum"] for group in opt.param_groups]


def rounded(value):
    """Return numbers with 10 digits, so that another order of rounding does not count."""
    if isinstance(value, float):
        return float(f"{value:.10g}")
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return [rounded(item) for item in value] if isinstance(value, (list, tuple)) else value


def trace(scheduler, opt, steps=STEPS, epochs=None):
    rates = []
    for step in range(steps):
        opt.step()
        scheduler.step(*([] if epochs is None else [epochs[step]]))
        rates.append([scheduler.get_last_lr(), [group["lr"] for group in opt.param_groups], momentum(opt)])
    return rounded(rates)


@pytest.mark.parametrize("name", ["SGD", "Adam"])
@pytest.mark.parametrize("make", SCHEDULES.values(), ids=SCHEDULES)
def test_sequences_and_state(make, name):
    def program(library):
        opt = optimizer(library, name)
        scheduler = make(library, opt)
        start = rounded(scheduler.get_last_lr()), rounded(scheduler.state_dict())
        return (
            start,
            trace(scheduler, opt),
            rounded(scheduler.state_dict()),
            scheduler.last_epoch if hasattr(scheduler, "last_epoch") else None,
        )

    assert_same(program)


@pytest.mark.parametrize("make", SCHEDULES.values(), ids=SCHEDULES)
def test_told_epochs_take_the_closed_form(make):
    def program(library):
        opt = optimizer(library)
        return trace(make(library, opt), opt, 7, [0, 5, 2, 2, 12, 1, 3])

    assert_same(program)


@pytest.mark.parametrize("make", SCHEDULES.values(), ids=SCHEDULES)
def test_state_goes_on(make):
    def program(library):
        opt = optimizer(library)
        scheduler = make(library, opt)
        trace(scheduler, opt, 5)
        state, options = copy.deepcopy(scheduler.state_dict()), opt.state_dict()
        second = optimizer(library)
        twin = make(library, second)
        second.load_state_dict(options)
        twin.load_state_dict(state)
        went_on = trace(twin, second, 6)
        return went_on, went_on == trace(scheduler, opt, 6)

    assert_same(program)


@pytest.mark.parametrize("make", list(SCHEDULES.values())[:-3], ids=list(SCHEDULES)[:-3])
def test_last_epoch(make):
    def program(library, last_epoch=4):
        opt = optimizer(library)
        first = make(library, opt)
        trace(first, opt, 4)
        second = make(library, opt, last_epoch=last_epoch)
        return rounded(second.get_last_lr()), trace(second, opt, 6), rounded(second.state_dict())

    assert_same(program)
    assert_same(lambda library: make(library, optimizer(library), last_epoch=3))


@pytest.mark.parametrize("make", SCHEDULES.values(), ids=SCHEDULES)
def test_a_rate_in_a_tensor_changes_in_place(make):
    def program(library):
        rate = library.tensor(0.5)
        opt = optimizer(library, rates=(rate,))
        scheduler = make(library, opt)
        rates = []
        for _ in range(6):
            opt.step()
            scheduler.step()
            rates.append([rate.clone(), *scheduler.get_last_lr()])
        return opt.param_groups[0]["lr"] is rate, rates

    assert_same(program)


PLATEAUS = {
    "defaults": {},
    "patience": {"patience": 1},
    "max": {"mode": "max", "patience": 0, "factor": 0.5},
    "abs": {"threshold_mode": "abs", "threshold": 0.3, "patience": 1},
    "max abs": {"mode": "max", "threshold_mode": "abs", "threshold": 0.3, "patience": 1},
    "cooldown": {"patience": 1, "cooldown": 2},
    "min_lr": {"patience": 0, "min_lr": 0.02},
    "min_lrs": {"patience": 0, "min_lr": [0.1, 0.001]},
    "eps": {"patience": 0, "eps": 0.05},
}


@pytest.mark.parametrize("options", PLATEAUS.values(), ids=PLATEAUS)
def test_plateaus(options):
    def program(library):
        opt = optimizer(library)
        scheduler = library.optim.lr_scheduler.ReduceLROnPlateau(opt, **options)
        rates = [rounded(scheduler.state_dict())]
        for metric in (3.0, 2.0, 2.5, 2.1, 1.9, 1.95, 1.8, 1.81, 1.9, 2.0, library.tensor(1.5), 1.6, 1.7, float("nan")):
            scheduler.step(metric)
            rates.append(rounded([scheduler.get_last_lr(), scheduler.best, scheduler.num_bad_epochs]))
        state = scheduler.state_dict()
        twin = library.optim.lr_scheduler.ReduceLROnPlateau(opt)
        twin.load_state_dict(state)
        twin.step(5, epoch=40)
        return rates, rounded(twin.state_dict()), twin.in_cooldown

    assert_same(program)


def late_group(make):
    def program(library):
        opt = optimizer(library)
        scheduler = make(library, opt)
        opt.add_param_group({"params": [library.nn.Parameter(library.ones(2))], "lr": 0.3})
        return trace(scheduler, opt, 3)

    return program


def bad(name, *arguments, **options):
    return lambda library: getattr(library.optim.lr_scheduler, name)(optimizer(library), *arguments, **options)


def other_optimizer(name):
    def program(library):
        s = library.optim.lr_scheduler
        members = [s.StepLR(optimizer(library), 1), s.StepLR(optimizer(library), 1)]
        return (
            s.SequentialLR(members[0].optimizer, members, [1]) if name == "sequential" else s.ChainedScheduler(members)
        )

    return program


def of_members(name, members, **options):
    def program(library):
        opt = optimizer(library)
        s = library.optim.lr_scheduler
        made = members(s, opt)
        return getattr(s, name)(opt, made, [2]) if name == "SequentialLR" else s.ChainedScheduler(made)

    return program


def overridden(library):
    opt = optimizer(library)
    scheduler = library.optim.lr_scheduler.StepLR(opt, 1)
    opt.step = lambda: None
    scheduler.step()


def user_schedule(library):
    class Third(library.optim.lr_scheduler.LRScheduler):
        def get_lr(self):
            return [base / 3 for base in self.base_lrs]

    opt = optimizer(library)
    scheduler = Third(opt)
    return trace(scheduler, opt, 2), rounded(scheduler.state_dict()), rounded(scheduler.get_lr())


PROGRAMS = {
    "no optimizer": lambda library: library.optim.lr_scheduler.StepLR(3, 1),
    "no optimizer for plateau": lambda library: library.optim.lr_scheduler.ReduceLROnPlateau(3),
    "no optimizer for cyclic": lambda library: library.optim.lr_scheduler.CyclicLR(3, 1, 2),
    "no optimizer for one cycle": lambda library: library.optim.lr_scheduler.OneCycleLR(3, 1, 2),
    "base": lambda library: library.optim.lr_scheduler.LRScheduler(optimizer(library)),
    "user": user_schedule,
    "too few lambdas": bad("LambdaLR", [abs]),
    "no lambda": bad("MultiplicativeLR", 3),
    "too few multiplicative lambdas": bad("MultiplicativeLR", [abs]),
    "constant factor": bad("ConstantLR", 1.5),
    "start factor": bad("LinearLR", 0.0),
    "end factor": bad("LinearLR", 0.5, 1.5),
    "plateau factor": bad("ReduceLROnPlateau", factor=1.0),
    "plateau mode": bad("ReduceLROnPlateau", "most"),
    "plateau threshold mode": bad("ReduceLROnPlateau", threshold_mode="most"),
    "plateau min_lr": bad("ReduceLROnPlateau", min_lr=[0.1]),
    "T_0": bad("CosineAnnealingWarmRestarts", 0),
    "T_0 float": bad("CosineAnnealingWarmRestarts", 1.5),
    "T_mult": bad("CosineAnnealingWarmRestarts", 1, 0),
    "eta_min": bad("CosineAnnealingWarmRestarts", 1, eta_min="a"),
    "negative epoch": lambda library: bad("CosineAnnealingWarmRestarts", 3)(library).step(-1),
    "fractional epoch": lambda library: (lambda s: (s.step(7.5), rounded(s.state_dict())))(
        bad("CosineAnnealingWarmRestarts", 3, 2)(library)
    ),
    "cyclic mode": bad("CyclicLR", 0.1, 0.2, mode="square"),
    "cyclic base_lr": bad("CyclicLR", [0.1], 0.2),
    "cyclic momentum": lambda library: library.optim.lr_scheduler.CyclicLR(optimizer(library, "Adadelta"), 0.1, 0.2),
    "one cycle steps": bad("OneCycleLR", 0.1),
    "one cycle total_steps": bad("OneCycleLR", 0.1, 0),
    "one cycle float steps": bad("OneCycleLR", 0.1, 2.5),
    "one cycle epochs": bad("OneCycleLR", 0.1, epochs=-1, steps_per_epoch=3),
    "one cycle steps_per_epoch": bad("OneCycleLR", 0.1, epochs=1, steps_per_epoch=0),
    "one cycle pct_start": bad("OneCycleLR", 0.1, 10, pct_start=2.0),
    "one cycle int pct_start": bad("OneCycleLR", 0.1, 10, pct_start=1),
    "one cycle strategy": bad("OneCycleLR", 0.1, 10, anneal_strategy="square"),
    "one cycle max_lr": bad("OneCycleLR", [0.1], 10),
    "one cycle momentum": lambda library: library.optim.lr_scheduler.OneCycleLR(optimizer(library, "Adadelta"), 0.1, 9),
    "one cycle too long": lambda library: trace(
        *(lambda o: (schedule("OneCycleLR", 0.3, 4)(library, o), o))(optimizer(library))
    ),
    "no members": of_members("SequentialLR", lambda s, opt: []),
    "no chained members": of_members("ChainedScheduler", lambda s, opt: []),
    "no schedule": of_members("SequentialLR", lambda s, opt: [3, 4]),
    "plateau in sequence": of_members("SequentialLR", lambda s, opt: [s.StepLR(opt, 1), s.ReduceLROnPlateau(opt)]),
    "plateau in chain": of_members("ChainedScheduler", lambda s, opt: [s.ReduceLROnPlateau(opt)]),
    "milestones": of_members("SequentialLR", lambda s, opt: [s.StepLR(opt, 1)]),
    "another optimizer": other_optimizer("sequential"),
    "another optimizer in a chain": other_optimizer("chained"),
    "step before optimizer": lambda library: bad("StepLR", 1)(library).step(),
    "step overridden": overridden,
    "get_lr": lambda library: bad("StepLR", 1)(library).get_lr(),
    "late group": late_group(schedule("StepLR", 2)),
    "late group constant": late_group(schedule("ConstantLR")),
    "late group lambda": late_group(schedule("LambdaLR", lambda epoch: 0.5)),
}


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_as_in_pytorch(program):
    assert_same(program)


def test_two_schedules_on_one_optimizer():
    def program(library):
        opt = optimizer(library)
        first, second = schedule("StepLR", 3)(library, opt), schedule("ExponentialLR", 0.9)(library, opt)
        rates = []
        for _ in range(10):
            opt.step()
            first.step()
            second.step()
            rates.append(rounded([first.get_last_lr(), second.get_last_lr()]))
        return rates

    assert_same(program)


def test_all_schedules_are_here():
    assert sorted(nbtorch.optim.lr_scheduler.__all__) == sorted(torch.optim.lr_scheduler.__all__)
