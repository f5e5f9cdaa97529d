"""The adaptive softmax: PyTorch's values, errors and predictions."""

import pytest

from ..against_torch import assert_same


def made(library, *, in_features=8, n_classes=12, cutoffs=(4, 7), **options):
    """Return a module whose parameters are known numbers."""
    module = library.nn.AdaptiveLogSoftmaxWithLoss(in_features, n_classes, cutoffs, div_value=2.0, **options)
    with library.no_grad():
        for number, parameter in enumerate(module.parameters()):
            count = parameter.numel()
            values = library.arange(count, dtype=parameter.dtype).mul(number + 1.3).sin()
            parameter.copy_(values.reshape(parameter.shape))
    return module


def numbers(library, *shape):
    return library.arange(96, dtype=library.float32)[: shape[0] * shape[-1]].cos().reshape(*shape)


def called(target, *shape, **options):
    def program(library):
        module = made(library, **options)
        x = numbers(library, *shape).requires_grad_()
        output, loss = module(x, library.tensor(target))
        (loss + output.sum() * 0.3).backward()
        gradients = [p.grad for p in module.parameters()]
        return repr(module), list(module.state_dict()), output, loss, x.grad, gradients

    return program


PROGRAMS = {
    "all clusters": called([0, 5, 9, 3, 11, 4], 6, 8),
    "head only": called([0, 1, 2], 3, 8, head_bias=True),
    "one cluster": called([5, 6], 2, 8, cutoffs=[5]),
    "one row": called([9], 1, 8),
    "unbatched": called(5, 1 * 8),
    "target too large": called([12, 0], 2, 8),
    "negative target": called([-1, 0], 2, 8),
    "sizes differ": called([1, 0], 3, 8),
    "unbatched input": called([1], 8),
    "batched input": called(1, 1, 8),
    "target of two dimensions": called([[1]], 1, 8),
    "no cutoffs": called([0], 1, 8, cutoffs=[]),
    "falling cutoffs": called([0], 1, 8, cutoffs=[5, 3]),
    "equal cutoffs": called([0], 1, 8, cutoffs=[5, 5]),
    "cutoff 0": called([0], 1, 8, cutoffs=[0, 5]),
    "cutoff too large": called([0], 1, 8, cutoffs=[5, 12]),
    "cutoff no integer": called([0], 1, 8, cutoffs=[5.5]),
    "log_prob": lambda t: made(t).log_prob(numbers(t, 5, 8)),
    "predict": lambda t: made(t).predict(numbers(t, 9, 8) * 5),
    "predict in the head": lambda t: made(t, cutoffs=[11]).predict(numbers(t, 3, 8)),
}


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_as_in_pytorch(program):
    assert_same(program)
