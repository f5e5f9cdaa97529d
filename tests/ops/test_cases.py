"""Every row of the table: values against NumPy and PyTorch, memory layouts, empty batches, gradients of both orders.

The tests run on the device that is in force, so the same file serves the CPU, a GPU and the simulator.
"""

import numpy as np
import pytest

import nbtorch
from nbtorch.autograd import gradcheck, gradgradcheck
from nbtorch.device import default_device, simulating

from .cases import CASES, Case

TOLERANCE = {"bfloat16": 1.6e-2, "float16": 2e-3, "float32": 3e-6, "float64": 1e-12}
simulated = default_device().type == "cuda" and simulating()
DRAWS = 1 if simulated else 20  # how many inputs each row is compared with PyTorch on


def rows(select=lambda case: True):
    return pytest.mark.parametrize("case", [c for c in CASES if select(c)], ids=str)


def with_dtypes(select=lambda case: True):
    pairs = [(c, d) for c in CASES if select(c) for d in c.dtypes]
    return pytest.mark.parametrize(("case", "dtype"), pairs, ids=[f"{c}-{d}" for c, d in pairs])


def tensors(case: Case, arrays, requires_grad=False):
    made = [nbtorch.tensor(a) for a in arrays]
    for tensor, spec in zip(made, case.inputs, strict=True):
        if requires_grad and spec.differentiable and (tensor.is_floating_point() or tensor.is_complex()):
            tensor.requires_grad_()
    return made


def outputs(result):
    return list(result) if isinstance(result, tuple) else [result]


def as_numpy(tensor):
    tensor = tensor.detach().cpu().resolve_conj()
    return (tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor).numpy()


def assert_close(actual, expected, tolerance):
    assert actual.shape == tuple(expected.shape)
    scale = max(1.0, float(np.abs(expected * 1.0).max(initial=0, where=np.isfinite(expected))))
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance * scale)


@rows(lambda case: case.reference is not None)
def test_values_against_numpy(case):
    arrays = case.arrays("float64")
    results = outputs(case.run(nbtorch, *tensors(case, arrays)))
    expected = case.reference(*arrays)
    for result, wanted in zip(results, expected if isinstance(expected, tuple) else [expected], strict=True):
        assert_close(as_numpy(result), np.asarray(wanted), 1e-12 * case.tolerance)


@with_dtypes()
def test_values_and_gradients_against_torch(case, dtype):
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    for draw in range(DRAWS):
        compare_with_torch(torch, case, dtype, case.arrays(dtype, draw=draw))


def compare_with_torch(torch, case, dtype, arrays):
    """Compare types, values and gradients of a case on given inputs."""
    ours = tensors(case, arrays, case.gradients)
    theirs = [torch.tensor(a, requires_grad=t.requires_grad) for a, t in zip(arrays, ours, strict=True)]
    results, expected = outputs(case.run(nbtorch, *ours)), outputs(case.run(torch, *theirs))
    tolerance = TOLERANCE.get(dtype, 3e-6) * case.tolerance
    assert len(results) == len(expected)
    for result, wanted in zip(results, expected, strict=True):
        assert str(result.dtype) == str(wanted.dtype)
        assert result.requires_grad == wanted.requires_grad
        assert_close(as_numpy(result), as_numpy(wanted), tolerance)
    differentiable = [(r, w) for r, w in zip(results, expected, strict=True) if w.requires_grad]
    if not differentiable:
        return
    generator = np.random.default_rng(1)
    for result, wanted in differentiable:
        seed = generator.standard_normal(result.shape)
        if result.is_complex():
            seed = seed + 1j * generator.standard_normal(result.shape)
        seed = np.asarray(seed).astype(as_numpy(result).dtype)
        result.backward(nbtorch.tensor(seed), retain_graph=True)
        wanted.backward(torch.tensor(seed), retain_graph=True)
    for our, their in zip(ours, theirs, strict=True):
        if their.requires_grad:
            assert str(our.grad.dtype) == str(their.grad.dtype)
            assert_close(as_numpy(our.grad), their.grad.numpy(force=True), 4 * tolerance)


@rows(lambda case: "float32" in case.dtypes and case.bfloat16)
def test_bfloat16_against_torch(case):
    """Whatever PyTorch computes in bfloat16 comes out the same; what it refuses is not compared."""
    torch = pytest.importorskip("torch")
    arrays = case.arrays("float32")

    def inputs(library):
        made = []
        for array, spec in zip(arrays, case.inputs, strict=True):
            tensor = library.tensor(array)
            tensor = tensor.bfloat16() if tensor.is_floating_point() else tensor
            wanted = case.gradients and spec.differentiable and tensor.is_floating_point()
            made.append(tensor.requires_grad_() if wanted else tensor)
        return made

    ours, theirs = inputs(nbtorch), inputs(torch)
    try:
        expected = outputs(case.run(torch, *theirs))
        differentiate_evenly(torch, expected)
    except (NotImplementedError, RuntimeError) as error:
        pytest.skip(f"PyTorch: {error}")
    results = outputs(case.run(nbtorch, *ours))
    differentiate_evenly(nbtorch, results)
    tolerance = TOLERANCE["bfloat16"]
    assert [str(r.dtype) for r in results] == [str(w.dtype) for w in expected]
    for result, wanted in zip(results, expected, strict=True):
        assert_close(as_numpy(result), as_numpy(wanted), tolerance)
    for our, their in zip(ours, theirs, strict=True):
        assert (our.grad is None) == (their.grad is None)
        if their.grad is not None:
            assert str(our.grad.dtype) == str(their.grad.dtype)
            assert_close(as_numpy(our.grad), as_numpy(their.grad), 2 * tolerance)


def differentiate_evenly(library, results):
    """Run backward with gradients that both libraries round alike."""
    for result in results:
        if result.requires_grad:
            seed = np.linspace(-1, 1, result.numel()).reshape(tuple(result.shape))
            result.backward(library.tensor(seed).to(result.dtype), retain_graph=True)


def scattered(array):
    """Return a tensor of the same values in another memory layout: transposed, with gaps."""
    roomy = np.zeros(tuple(2 * n for n in array.shape[::-1]), array.dtype)
    roomy[(*[slice(None, None, 2)] * array.ndim, ...)] = array.T
    return nbtorch.tensor(roomy)[(*[slice(None, None, 2)] * array.ndim, ...)].permute(*reversed(range(array.ndim)))


@rows()
def test_memory_layout_does_not_matter(case):
    arrays = case.arrays("float64" if "float64" in case.dtypes else case.dtypes[-1])
    plain = outputs(case.run(nbtorch, *tensors(case, arrays)))
    for a, b in zip(plain, outputs(_without_view(case, [scattered(a) for a in arrays])), strict=True):
        assert_close(as_numpy(b), as_numpy(a), 1e-13 * case.tolerance)


def _without_view(case, strided):
    """Run a case on strided inputs; `view` itself must refuse what it cannot view."""
    if case.name != "view":
        return case.run(nbtorch, *strided)
    with pytest.raises(RuntimeError, match="not compatible"):
        case.run(nbtorch, *strided)
    return strided[0].reshape(-1, 4)


@rows(lambda case: case.batched)
def test_empty_batch(case):
    torch = pytest.importorskip("torch")
    arrays = case.arrays("float32", empty=True)
    ours = tensors(case, arrays, True)
    theirs = [torch.tensor(a, requires_grad=t.requires_grad) for a, t in zip(arrays, ours, strict=True)]
    result, wanted = outputs(case.run(nbtorch, *ours))[0], outputs(case.run(torch, *theirs))[0]
    assert_close(as_numpy(result), wanted.detach().numpy(), 1e-6)
    result.sum().backward()
    wanted.sum().backward()
    for our, their in zip(ours, theirs, strict=True):
        if their.grad is not None:
            assert_close(as_numpy(our.grad), their.grad.numpy(force=True), 1e-6)


def differentiate(result):
    for output in outputs(result):
        if output.requires_grad:
            output.backward(nbtorch.ones_like(output), retain_graph=True)


@rows(lambda case: case.gradients and sum(i.differentiable for i in case.inputs) > 1)
def test_each_gradient_alone(case):
    """What is saved for backward depends on which inputs want a gradient."""
    arrays = case.arrays("float64")
    together = tensors(case, arrays, True)
    differentiate(case.run(nbtorch, *together))
    for position, reference in enumerate(together):
        if not reference.requires_grad:
            continue
        alone = tensors(case, arrays)
        alone[position].requires_grad_()
        differentiate(case.run(nbtorch, *alone))
        assert_close(as_numpy(alone[position].grad), as_numpy(reference.grad), 1e-12)


@rows(lambda case: case.gradients)
@pytest.mark.skipif(simulated, reason="finite differences take too many simulated launches")
def test_gradcheck(case):
    assert gradcheck(lambda *inputs: case.run(nbtorch, *inputs), tensors(case, case.arrays(), True))


@rows(lambda case: case.gradients and case.second_gradients)
@pytest.mark.skipif(simulated, reason="finite differences take too many simulated launches")
def test_gradgradcheck(case):
    assert gradgradcheck(lambda *inputs: case.run(nbtorch, *inputs), tensors(case, case.arrays(), True))
