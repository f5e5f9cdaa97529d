"""Every module on the inputs of PyTorch's own module tests: repr, state_dict, outputs, gradients, errors."""

import re

import pytest

import nbtorch

from ..torch_samples import called, converted, difference, fresh, other_error, other_gradients, tensors, text

pytest.importorskip("torch")
pytestmark = pytest.mark.slow

RANDOM = re.compile("Dropout|RReLU|Fractional")

KNOWN: dict[str, str] = {}
"""Modules that differ, with the reason."""

KNOWN_ERRORS = {"nn.LinearCrossEntropyLoss": "a target of another type and another size: its type is refused first"}
"""Modules that raise another error, with the reason."""


def modules():
    """Yield PyTorch's records of its modules, but for those that this library leaves out."""
    pytest.importorskip("expecttest")
    from torch.testing._internal.common_modules import module_db

    for info in module_db:
        if hasattr(nbtorch.nn, info.module_cls.__name__):
            yield info


def samples(info, dtype, training):
    return info.module_inputs_func(info, device="cpu", dtype=dtype, requires_grad=True, training=training)


def made(library_class, sample, convert, dtype):
    """Construct a module as a sample says."""
    given = sample.constructor_input
    return library_class(*map(convert, given.args), **{k: convert(v) for k, v in given.kwargs.items()}).to(dtype)


def difference_of(info, sample, dtype, training):
    """Return in what a module differs from PyTorch's on one sample, None where it does not."""
    import torch

    ours_class = getattr(nbtorch.nn, info.module_cls.__name__)
    torch.manual_seed(0)
    theirs, their_error = called(made, info.module_cls, sample, lambda x: x, dtype)
    if any(isinstance(value, torch.nn.Module) for value in sample.constructor_input.args):
        return None  # a module of PyTorch's cannot be part of ours
    ours, error = called(made, ours_class, sample, converted, converted(dtype))
    if error or their_error:
        return other_error(error, their_error)
    if sample.forward_input is None:
        return None
    ours.train(training), theirs.train(training)
    if repr(ours) != repr(theirs):
        return f"prints {text(ours)}, not {text(theirs)}"
    lazy = "Lazy" in info.name
    if not lazy:
        state, their_state = ours.state_dict(), theirs.state_dict()
        if list(state) != list(their_state):
            return f"state_dict has {list(state)}, not {list(their_state)}"
        found = difference(list(state.values()), list(their_state.values()), path="state", values=False)
        if found:
            return found
        ours.load_state_dict({key: converted(value) for key, value in their_state.items()})
    inputs = (sample.forward_input.args, sample.forward_input.kwargs)
    given, their_given = converted(inputs), fresh(inputs)
    result, error = called(ours, *given[0], **given[1])
    their_result, their_error = called(theirs, *their_given[0], **their_given[1])
    if error or their_error:
        return other_error(error, their_error)
    random = lazy or (training and bool(RANDOM.search(info.name)))
    found = difference(result, their_result, 4, values=not random)
    if found or random:
        return found or (f"prints {text(ours)}" if repr(ours) != repr(theirs) else None)
    leaves = [*ours.parameters(), *tensors(given)]
    return other_gradients(result, their_result, leaves, [*theirs.parameters(), *tensors(their_given)]) or difference(
        list(ours.state_dict().values()), list(theirs.state_dict().values()), 10, "state after the call"
    )


@pytest.mark.filterwarnings("ignore")
def test_samples_as_in_pytorch():
    import torch

    dtype, differing = torch.float64, {}  # kernels of other types are the same lines, and tested with each family
    for info in modules():
        if dtype not in info.supported_dtypes("cpu"):
            continue
        for training in (True, False) if info.train_and_eval_differ else (True,):
            for sample in samples(info, dtype, training):
                found = difference_of(info, sample, dtype, training)
                if found:
                    arguments = text((sample.constructor_input.args, sample.constructor_input.kwargs))
                    differing.setdefault(info.name, f"{arguments}: {found}")
    unknown = [f"{key} {value}" for key, value in differing.items() if key not in KNOWN]
    assert not unknown, "\n".join(unknown)


@pytest.mark.filterwarnings("ignore")
def test_errors_as_in_pytorch():
    import torch

    dtype, differing = torch.float32, {}
    for info in modules():
        ours_class = getattr(nbtorch.nn, info.module_cls.__name__)
        if not info.module_error_inputs_func or dtype not in info.supported_dtypes("cpu"):
            continue
        for case in info.module_error_inputs_func(info, device="cpu", dtype=dtype, requires_grad=True, training=True):
            sample = case.module_error_input

            def run(cls, convert, sample=sample):
                module = made(cls, sample, convert, convert(dtype))
                given = sample.forward_input
                return None if given is None else module(*convert(given.args), **convert(given.kwargs))

            _, error = called(run, ours_class, converted)
            _, their_error = called(run, info.module_cls, lambda x: x)
            found = other_error(error, their_error)
            if found:
                differing.setdefault(info.name, f"{text(sample.constructor_input.kwargs)}: {found}")
    unknown = [f"{key} {value}" for key, value in differing.items() if key not in KNOWN_ERRORS]
    assert not unknown, "\n".join(unknown)
