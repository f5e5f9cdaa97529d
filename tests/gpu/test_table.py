"""Every row of the table of cases on a GPU against the CPU: values, gradients and gradients of gradients."""

import numpy as np
import pytest
from nbtorch.kernels.cuda import target

import nbtorch

from ..ops.cases import CASES
from ..ops.test_cases import TOLERANCE, as_numpy, assert_close, outputs, tensors

REASON = "the simulator stands in for the GPU" if target.is_simulator() else target.why_unavailable()
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(REASON is not None, reason=REASON or "")]

DRAWS = 3


@pytest.fixture(autouse=True)
def in_float32():
    with nbtorch.backends.cudnn.flags(allow_tf32=False):
        yield


def on(device, case, arrays):
    """Return a case's outputs, its gradients and the gradients of those, computed on a device, as arrays."""
    inputs = [
        tensor.detach().to(device).requires_grad_(tensor.requires_grad)
        for tensor in tensors(case, arrays, case.gradients)
    ]
    results = outputs(case.run(nbtorch, *inputs))
    assert all(result.device.type == device for result in results)
    found = [as_numpy(result) for result in results]
    wanted = [tensor for tensor in inputs if tensor.requires_grad]
    differentiable = [result for result in results if result.requires_grad]
    if not wanted or not differentiable:
        return found
    weights = [nbtorch.linspace(-1, 1, max(r.numel(), 1)).to(r.dtype)[: r.numel()].reshape(r.shape) for r in results]
    total = sum(
        (result * weight.to(device)).abs().sum() if result.is_complex() else (result * weight.to(device)).sum()
        for result, weight in zip(results, weights, strict=True)
        if result.requires_grad
    )
    first = nbtorch.autograd.grad(total, wanted, create_graph=case.second_gradients, allow_unused=True)
    found += [as_numpy(grad) for grad in first if grad is not None]
    again = [grad.abs().sum() for grad in first if grad is not None and grad.requires_grad]
    if case.second_gradients and again:
        second = nbtorch.autograd.grad(sum(again), wanted, allow_unused=True)
        found += [as_numpy(grad) for grad in second if grad is not None]
    return found


@pytest.mark.parametrize(
    ("case", "dtype"),
    [pytest.param(case, dtype, id=f"{case}-{dtype}") for case in CASES for dtype in case.dtypes],
)
def test_the_gpu_agrees_with_the_cpu(case, dtype):
    tolerance = 10 * TOLERANCE.get(dtype, 3e-6) * case.tolerance
    for draw in range(DRAWS):
        arrays = case.arrays(dtype, draw=draw)
        found, expected = on("cuda", case, arrays), on("cpu", case, arrays)
        assert len(found) == len(expected)
        for actual, wanted in zip(found, expected, strict=True):
            assert actual.dtype == wanted.dtype
            assert_close(actual, np.asarray(wanted), tolerance)
