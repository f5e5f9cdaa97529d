"""Every optimizer with the options of PyTorch's own optimizer tests, and the errors of theirs."""

import numpy as np
import pytest

import nbtorch

from ..torch_samples import called, converted, other_error, text

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.slow

SHAPES = [(3, 4), (5, 2)]  # of two dimensions: Muon takes no others


def records():
    """Yield PyTorch's records of the optimizers that this library has too."""
    pytest.importorskip("expecttest")
    from torch.testing._internal.common_optimizers import optim_db

    for record in optim_db:
        if hasattr(nbtorch.optim, record.optim_cls.__name__):
            yield record


def trained(library, name, options, convert):
    """Return parameters after five steps from known values with known gradients."""
    rng = np.random.default_rng(0)
    params = [library.nn.Parameter(library.tensor(rng.standard_normal(shape))) for shape in SHAPES]
    options = {key: convert(value) for key, value in options.items()}
    optimizer = getattr(library.optim, name)(params, **options)
    for _ in range(5):
        for param in params:
            param.grad = library.tensor(rng.standard_normal(tuple(param.shape)))
        optimizer.step(lambda: 0)
    return [param.detach().numpy() for param in params]


@pytest.mark.filterwarnings("ignore")
def test_options_as_in_pytorch():
    differing = []
    for record in records():
        name = record.optim_cls.__name__
        for sample in record.optim_inputs_func(device="cpu"):
            ours, error = called(trained, nbtorch, name, sample.kwargs, converted)
            theirs, their_error = called(trained, torch, name, sample.kwargs, lambda x: x)
            found = other_error(error, their_error)
            tolerance = 5e-3 if name == "Muon" else 1e-9  # which iterates in bfloat16
            if not error and not their_error:
                close = [np.allclose(a, b, tolerance, tolerance) for a, b in zip(ours, theirs, strict=True)]
                found = None if all(close) else f"{ours[0][0]}, not {theirs[0][0]}"
            if found:
                differing.append(f"{name} {text(sample.kwargs)}: {found}")
    assert not differing, "\n".join(differing)


@pytest.mark.filterwarnings("ignore")
def test_errors_as_in_pytorch():
    differing = []
    for record in records():
        if "SparseAdam" in record.optim_cls.__name__ or not record.optim_error_inputs_func:
            continue
        for case in record.optim_error_inputs_func(device="cpu", dtype=torch.float32):
            sample = case.optimizer_error_input
            params = sample.params
            if not isinstance(params, (list, torch.Tensor)) or any(isinstance(p, dict) for p in params):
                continue  # an iterator serves once, and a converted tensor in two groups is two tensors
            options = sample.kwargs

            def run(library, convert, params=params, options=options, name=record.optim_cls.__name__):
                given = convert(params)
                if isinstance(given, list) and given and isinstance(given[0], library.Tensor):
                    given = [library.nn.Parameter(p.detach()) if p.requires_grad and p.is_leaf else p for p in given]
                getattr(library.optim, name)(given, **{k: convert(v) for k, v in options.items()})

            _, error = called(run, nbtorch, converted)
            _, their_error = called(run, torch, lambda x: x)
            found = other_error(error, their_error)
            if found:
                differing.append(f"{record.optim_cls.__name__} {text(options)}: {found}")
    assert not differing, "\n".join(differing)
