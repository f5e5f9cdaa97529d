"""Changes of type and device: `to`, `cpu`, `cuda`, `float` and their like."""

from __future__ import annotations

from typing import Any

from .. import dtypes
from ..device import CPU, as_device
from ..tensor import Tensor, method
from .operands import to_device, to_dtype


@method
def to(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Return the tensor in another type and/or on another device; itself where nothing changes.

    Forms: `to(dtype)`, `to(device)`, `to(device, dtype)`, `to(other)`, each with `non_blocking`, `copy`.
    """
    dtype, where = kwargs.pop("dtype", None), kwargs.pop("device", None)
    copy = kwargs.pop("copy", False)
    kwargs.pop("non_blocking", None)
    kwargs.pop("memory_format", None)
    other = kwargs.pop("other", None)
    if kwargs:
        raise TypeError(f"to() received an invalid keyword argument: {next(iter(kwargs))}")
    for value in args:
        if isinstance(value, Tensor):
            other = value
        elif isinstance(value, dtypes.dtype) or value in (float, int, bool):
            dtype = value
        elif isinstance(value, bool):
            pass  # non_blocking
        elif value is not None:
            where = value
    if other is not None:
        dtype, where = other.dtype, other._device
    return _converted(self, where, dtype, copy)


def _converted(tensor: Tensor, where: Any, dtype: Any, copy: bool) -> Tensor:
    result = tensor
    if where is not None:
        result = to_device(result, as_device(where))
    if dtype is not None:
        result = to_dtype(result, dtypes.as_dtype(dtype))
    return result.clone() if copy and result is tensor else result


@method
def cpu(self: Tensor) -> Tensor:
    """Return the tensor in the CPU's memory."""
    return to_device(self, CPU)


@method
def cuda(self: Tensor, device: Any = None) -> Tensor:
    """Return the tensor in the memory of a CUDA device."""
    return _converted(self, "cuda" if device is None else device, None, False)


@method
def type(self: Tensor, dtype: Any = None) -> Any:
    """Return the tensor in another type, or without an argument PyTorch's name of its type."""
    if dtype is None:
        prefix = "torch.cuda." if self.is_cuda else "torch."
        return f"{prefix}{self.dtype.title}Tensor"
    if isinstance(dtype, str):
        names = {f"{d.title}Tensor": d for d in dtypes.ALL}
        if dtype.rpartition(".")[2] not in names:
            raise ValueError(f"invalid type: '{dtype}'")
        dtype = names[dtype.rpartition(".")[2]]
    return to_dtype(self, dtypes.as_dtype(dtype))


@method
def type_as(self: Tensor, other: Tensor) -> Tensor:
    """Return the tensor in the type of another."""
    return to_dtype(self, other.dtype)


def _install_casts() -> None:
    """Install `float()`, `long()` and the other methods named after a type."""
    names = {
        "bool": dtypes.bool,
        "byte": dtypes.uint8,
        "char": dtypes.int8,
        "short": dtypes.int16,
        "int": dtypes.int32,
        "long": dtypes.int64,
        "half": dtypes.float16,
        "bfloat16": dtypes.bfloat16,
        "float": dtypes.float32,
        "double": dtypes.float64,
        "cfloat": dtypes.complex64,
        "cdouble": dtypes.complex128,
    }
    for name, target in names.items():

        def cast(self: Tensor, target: dtypes.dtype = target) -> Tensor:
            return to_dtype(self, target)

        cast.__name__ = name
        cast.__doc__ = f"Return the tensor as {target.name}."
        method(cast)


_install_casts()
