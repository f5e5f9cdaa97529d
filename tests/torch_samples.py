"""PyTorch's own test inputs (`torch.testing._internal`), turned into nbtorch's values and compared with its results.

These inputs belong to PyTorch's test suite and need the package expecttest; where that is missing the tests skip.
"""

import re
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

import nbtorch

TOLERANCE = {"torch.float32": 2e-5, "torch.float64": 1e-9, "torch.complex64": 4e-5, "torch.complex128": 1e-9}


def converted(value: Any) -> Any:
    """Return a value of PyTorch as that of nbtorch; containers with what they hold, plain values as they are."""
    import torch

    if isinstance(value, torch.Tensor):
        return _tensor(value)
    if isinstance(value, (torch.dtype, torch.memory_format, torch.layout)):
        return getattr(nbtorch, str(value).split(".")[-1])
    if isinstance(value, torch.device):
        return nbtorch.device(str(value))
    if isinstance(value, torch.Size):
        return nbtorch.Size(value)
    if isinstance(value, (tuple, list)):
        items = [converted(item) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if isinstance(value, dict):
        return {key: converted(item) for key, item in value.items()}
    if callable(value) and getattr(value, "__module__", None) in ("torch.nn.functional", "torch._C._nn"):
        return getattr(nbtorch.nn.functional, value.__name__)
    if isinstance(value, torch.nn.LinearCrossEntropyOptions):
        given = {name: converted(getattr(value, name)) for name in value.__dataclass_fields__}
        return nbtorch.nn.LinearCrossEntropyOptions(**given)
    return value


def _tensor(value: Any) -> Any:
    """Return a tensor of the same values, strides and need of a gradient."""
    import torch

    plain = value.detach().resolve_conj().resolve_neg()
    if plain.dtype is torch.bfloat16:
        copy = nbtorch.tensor(plain.float().numpy()).to(nbtorch.bfloat16)
    elif plain.is_contiguous():
        copy = nbtorch.tensor(plain.numpy().copy())
    else:
        count = plain.untyped_storage().nbytes() // plain.element_size()
        whole = torch.empty(0, dtype=plain.dtype).set_(plain.untyped_storage(), 0, (count,), (1,))
        memory = nbtorch.from_numpy(whole.numpy().copy())
        copy = nbtorch.as_strided(memory, tuple(plain.shape), plain.stride(), plain.storage_offset())
    return copy.requires_grad_() if value.requires_grad else copy


def fresh(value: Any) -> Any:
    """Return PyTorch's own copy of a value, with leaf tensors."""
    import torch

    if isinstance(value, torch.Tensor):
        return value.detach().clone().requires_grad_(value.requires_grad)
    if isinstance(value, (tuple, list)):
        items = [fresh(item) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if isinstance(value, dict):
        return {key: fresh(item) for key, item in value.items()}
    return value


def tensors(value: Any) -> Iterator[Any]:
    """Yield the tensors of either library in a value."""
    if hasattr(value, "requires_grad_"):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from tensors(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from tensors(item)


def difference(ours: Any, theirs: Any, scale: float = 1, path: str = "output", values: bool = True) -> str | None:
    """Return in what a result differs, None where it does not.

    Args:
        ours: a result of nbtorch.
        theirs: that of PyTorch.
        scale: a factor of the tolerance, for sums in another order.
        path: what is compared, for the text.
        values: whether to compare values too; random results agree in types and shapes only.
    """
    if hasattr(theirs, "requires_grad_"):
        return _tensor_difference(ours, theirs, scale, path, values)
    if isinstance(theirs, (tuple, list)):
        if not isinstance(ours, (tuple, list)) or len(ours) != len(theirs):
            return f"{path}: {type(ours).__name__}, not {type(theirs).__name__} of {len(theirs)}"
        found = [
            difference(a, b, scale, f"{path}[{i}]", values) for i, (a, b) in enumerate(zip(ours, theirs, strict=True))
        ]
        return next(filter(None, found), None)
    if isinstance(theirs, float) and isinstance(ours, float):
        return None if not values or np.isclose(ours, theirs, 1e-4, 1e-4, equal_nan=True) else f"{path}: {ours}"
    return None if not values or str(ours) == str(theirs) else f"{path}: {ours!r}, not {theirs!r}"


def _tensor_difference(ours: Any, theirs: Any, scale: float, path: str, values: bool) -> str | None:
    if not isinstance(ours, nbtorch.Tensor):
        return f"{path}: {type(ours).__name__}, not a tensor"
    if (str(ours.dtype), tuple(ours.shape)) != (str(theirs.dtype), tuple(theirs.shape)):
        return f"{path}: {ours.dtype}{list(ours.shape)}, not {theirs.dtype}{list(theirs.shape)}"
    if not values:
        return None
    a, b = ours.detach().numpy(), theirs.detach().resolve_conj().resolve_neg().numpy()
    tolerance = TOLERANCE.get(str(ours.dtype), 0) * scale
    finite = np.abs(b[np.isfinite(b)])
    if np.allclose(a, b, tolerance, tolerance * max(1.0, float(finite.max(initial=0))), equal_nan=True):
        return None
    return f"{path}: values {np.ravel(a)[:4]}, not {np.ravel(b)[:4]}"


def called(function: Any, *args: Any, **kwargs: Any) -> tuple[Any, Exception | None]:
    """Return what a call returns, and what it raises; warnings are another test's matter."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return function(*args, **kwargs), None
        except Exception as error:
            return None, error


def other_error(ours: Exception | None, theirs: Exception | None) -> str | None:
    """Return in what two errors differ in type."""
    if type(ours).__name__ == type(theirs).__name__:
        return None
    return f"{type(ours).__name__} ({text(ours)}), not {type(theirs).__name__} ({text(theirs)})"


def other_gradients(ours: Any, theirs: Any, leaves: Any, their_leaves: Any) -> str | None:
    """Run backward from two results with the same random gradients and return in what the leaves' gradients differ."""
    import torch

    outputs = [t for t in tensors(ours) if t.requires_grad]
    their_outputs = [t for t in tensors(theirs) if t.requires_grad]
    if len(outputs) != len(their_outputs):
        return f"{len(outputs)} results require gradients, not {len(their_outputs)}"
    if not outputs:
        return None
    rng = np.random.default_rng(0)
    drawn = [rng.standard_normal(tuple(t.shape)) for t in outputs]
    grads = [nbtorch.tensor(g).to(t.dtype) for g, t in zip(drawn, outputs, strict=True)]
    their_grads = [torch.tensor(g).to(t.dtype) for g, t in zip(drawn, their_outputs, strict=True)]
    _, error = called(nbtorch.autograd.backward, outputs, grads)
    _, their_error = called(torch.autograd.backward, their_outputs, their_grads)
    if error or their_error:
        return other_error(error, their_error)
    for number, (a, b) in enumerate(zip(leaves, their_leaves, strict=True)):
        if b.requires_grad and b.is_leaf:
            if (a.grad is None) != (b.grad is None):
                return f"gradient {number}: {a.grad is not None}, not {b.grad is not None}"
            found = b.grad is not None and difference(a.grad, b.grad, 30, f"gradient {number}")
            if found:
                return found
    return None


def text(value: Any) -> str:
    """Return a short form of a value for messages."""
    return re.sub(r"\s+", " ", str(value))[:200]
