"""The functions of `nn.functional` on the inputs of PyTorch's own tests of operations: values, gradients, errors."""

import itertools
import re

import pytest

import nbtorch

from ..torch_samples import called, converted, difference, fresh, other_error, other_gradients, tensors, text

pytest.importorskip("torch")
pytestmark = pytest.mark.slow

SAMPLES = 15  # of each function and type: the first ones cross the options, the later ones vary shapes
RANDOM = re.compile("dropout|rrelu|fractional|multi_head")
KNOWN = {
    r"conv(_transpose)?[123]d torch.int64": "integers are not convolved",
    r"triplet_margin_with_distance_loss": "the samples hold modules of PyTorch's",
    r"batch_norm .*shape=\(0,\)": "one dimension is none for a batch and one for channels",
}
"""What differs, as patterns of function, type and sample, with the reason."""


def functions():
    """Yield PyTorch's records of the functions that this library has too, with our function and theirs."""
    pytest.importorskip("expecttest")
    import torch
    from torch.testing._internal.common_methods_invocations import op_db

    for record in op_db:
        space, _, name = record.name.rpartition(".")
        if space == "nn.functional" and hasattr(nbtorch.nn.functional, name):
            yield record, getattr(nbtorch.nn.functional, name), getattr(torch.nn.functional, name)


def difference_of(record, ours, theirs, sample, dtype):
    """Return in what a function differs from PyTorch's on one sample, None where it does not."""
    inputs = ((sample.input, *sample.args), sample.kwargs)
    given, their_given = converted(inputs), fresh(inputs)
    result, error = called(ours, *given[0], **given[1])
    their_result, their_error = called(theirs, *their_given[0], **their_given[1])
    if error or their_error:
        return other_error(error, their_error)
    random = bool(RANDOM.search(record.name)) or (sample.kwargs.get("dropout_p") or 0) > 0
    found = difference(result, their_result, values=not random)
    if found or random or not dtype.is_floating_point:
        return found
    return other_gradients(result, their_result, list(tensors(given)), list(tensors(their_given)))


def described(sample):
    shape = f"shape={tuple(sample.input.shape)}" if hasattr(sample.input, "shape") else ""
    rest = [f"T{tuple(a.shape)}" if hasattr(a, "shape") else a for a in sample.args]
    return text((shape, rest, {k: v for k, v in sample.kwargs.items() if not hasattr(v, "shape")}))


def report(differing):
    """Fail with a line for each difference that is not known."""
    unknown = [line for line in differing if not any(re.search(pattern, line) for pattern in KNOWN)]
    assert not unknown, "\n".join(unknown)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["float64", "int64"])
def test_samples_as_in_pytorch(name):
    import torch

    dtype, differing = getattr(torch, name), []
    for record, ours, theirs in functions():
        if dtype not in record.supported_dtypes("cpu"):
            continue
        with_gradients = record.supports_autograd and dtype in record.supported_backward_dtypes("cpu")
        for sample in itertools.islice(record.sample_inputs("cpu", dtype, requires_grad=with_gradients), SAMPLES):
            found = difference_of(record, ours, theirs, sample, dtype)
            if found:
                differing.append(f"{record.full_name} {dtype} {described(sample)}: {found}")
    report(differing)


@pytest.mark.filterwarnings("ignore")
def test_errors_as_in_pytorch():
    differing = []
    for record, ours, theirs in functions():
        for case in record.error_inputs("cpu") if record.error_inputs_func else ():
            sample = case.sample_input
            inputs = ((sample.input, *sample.args), sample.kwargs)
            given = converted(inputs)
            _, error = called(ours, *given[0], **given[1])
            _, their_error = called(theirs, *inputs[0], **inputs[1])
            found = other_error(error, their_error)
            if found:
                differing.append(f"{record.full_name} {described(sample)}: {found}")
    report(differing)
