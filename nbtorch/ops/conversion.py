"""Changes of type and device: `to`, `cpu`, `cuda`, `float` and their like."""

from __future__ import annotations

from typing import Any

from .. import dtypes
from ..device import CPU, as_device
from ..layout import preserve_format, require_memory_format
from ..tensor import Tensor, method
from .operands import is_scalar, require_tensor, to_device, to_dtype

_BUILTIN_TYPES = (float, int, bool, complex)


def _is_dtype(value: Any) -> bool:
    return isinstance(value, dtypes.dtype) or any(value is t for t in _BUILTIN_TYPES)


@method
def to(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Return the tensor in another type and/or on another device; itself where nothing changes.

    Forms: `to(device=None, dtype=None)`, `to(dtype)`, `to(other)`, each followed by `non_blocking=False, copy=False`
    and the keyword `memory_format`.
    """
    first = args[0] if args else None
    if isinstance(first, Tensor):
        names: tuple[str, ...] = ("other",)
    elif _is_dtype(first):
        names = ("dtype",)
    else:
        names = ("device", "dtype")
    given = _by_name("to", (*names, "non_blocking", "copy"), args, kwargs)
    where, dtype = given.get("device"), given.get("dtype")
    if "other" in given:
        where, dtype = first._device, first.dtype  # type: ignore[union-attr]
    elif dtype is not None and not _is_dtype(dtype):
        raise TypeError(f"to(): argument 'dtype' must be torch.dtype, not {type_name(dtype)}")
    for name in ("non_blocking", "copy"):
        if not isinstance(given.get(name, False), bool):
            raise TypeError(f"to(): argument '{name}' must be bool, not {type_name(given[name])}")
    result = _converted(self, where, dtype, given.get("copy", False), given.get("non_blocking", False))
    return _in_format("to", result, given.get("memory_format"))


def type_name(value: Any) -> str:
    """Return the name of a value's class; `type` is a method here."""
    return value.__class__.__name__


def _by_name(operation: str, names: tuple[str, ...], args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return arguments by their names; refuse too many, unknown and doubled ones."""
    if len(args) > len(names):
        raise TypeError(
            f"{operation}() takes up to {len(names)} positional arguments ({', '.join(names)}), got {len(args)}"
        )
    given = dict(zip(names, args, strict=False))
    for name, value in kwargs.items():
        if name in given or name not in (*names, "memory_format") or name == "other":
            raise TypeError(
                f"{operation}() received an invalid combination of arguments: {name!r} beside {list(given)}"
            )
        given[name] = value
    return given


def _converted(tensor: Tensor, where: Any, dtype: Any, copy: bool, non_blocking: bool = False) -> Tensor:
    result = tensor
    if where is not None:
        result = to_device(result, as_device(where), non_blocking)
    if dtype is not None:
        result = to_dtype(result, dtypes.as_dtype(dtype))
    return result.clone() if copy and result is tensor else result


def _in_format(operation: str, tensor: Tensor, memory_format: Any) -> Tensor:
    """Return a tensor in a memory format; itself where it lies in it, or where the format is to be preserved."""
    require_memory_format(operation, memory_format)
    if memory_format is None or memory_format is preserve_format:
        return tensor
    return tensor.contiguous(memory_format=memory_format)


@method
def cpu(self: Tensor, *, memory_format: Any = None) -> Tensor:
    """Return the tensor in the CPU's memory."""
    return _in_format("cpu", to_device(self, CPU), memory_format)


@method
def cuda(self: Tensor, device: Any = None, non_blocking: bool = False, memory_format: Any = None) -> Tensor:
    """Return the tensor in the memory of a CUDA device.

    Args:
        device: the device; the current one by default.
        non_blocking: do not wait for a copy from page-locked memory.
        memory_format: the order of the dimensions in memory.

    Raises:
        RuntimeError: `device` is not a CUDA device, or there is none.
    """
    wanted = as_device("cuda" if device is None else device)
    if wanted.type != "cuda":
        raise RuntimeError(f"cuda: Invalid device, must be cuda device, got {wanted}")
    return _in_format("cuda", to_device(self, wanted, non_blocking), memory_format)


@method
def type(self: Tensor, dtype: Any = None, non_blocking: bool = False) -> Any:
    """Return the tensor in another type, or without an argument PyTorch's name of its type.

    Args:
        dtype: a dtype, a class such as `FloatTensor`, or the name of one (`"torch.FloatTensor"`).
        non_blocking: accepted for PyTorch's signature.
    """
    if dtype is None:
        prefix = "torch.cuda." if self.is_cuda else "torch."
        return f"{prefix}{self.dtype.title}Tensor"
    if dtype is Tensor:
        return to_dtype(self, dtypes.get_default_dtype())
    if isinstance(dtype, dtypes.dtype):
        return to_dtype(self, dtype)
    named = getattr(dtype, "dtype", None)
    if isinstance(named, dtypes.dtype):
        return to_device(to_dtype(self, named), CPU)
    if not isinstance(dtype, str) and type_name(dtype) != "type":
        raise TypeError(f"type(): dtype must be a type, str, or dtype object, got {dtype!r}")
    names = {f"{d.title}Tensor": d for d in dtypes.ALL}
    prefix, _, name = dtype.rpartition(".") if isinstance(dtype, str) else ("", "", "")
    if prefix not in ("torch", "torch.cuda") or name not in names:
        raise ValueError(f"invalid type: {getattr(dtype, '__name__', dtype)!r}")
    return _converted(self, "cuda" if prefix == "torch.cuda" else CPU, names[name], False)


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

        def cast(self: Tensor, *, memory_format: Any = None, target: dtypes.dtype = target) -> Tensor:
            result = to_dtype(self, target)
            return result if memory_format is None else _in_format(target.name, result, memory_format)

        cast.__name__ = name
        cast.__doc__ = f"Return the tensor as {target.name}."
        method(cast)


_install_casts()


def is_tensor(obj: Any) -> bool:
    """Return whether `obj` is a tensor."""
    return isinstance(obj, Tensor)


def is_floating_point(input: Tensor) -> bool:
    """Return whether the elements are floating-point numbers."""
    require_tensor("is_floating_point", "input", input)
    return input.is_floating_point()


def is_complex(input: Tensor) -> bool:
    """Return whether the elements are complex numbers."""
    require_tensor("is_complex", "input", input)
    return input.is_complex()


def is_signed(input: Tensor) -> bool:
    """Return whether the elements may be negative."""
    require_tensor("is_signed", "input", input)
    return input.is_signed()


@method
def is_nonzero(input: Tensor) -> bool:
    """Return whether the one element of a tensor is not zero."""
    require_tensor("is_nonzero", "input", input)
    return bool(input)


def numel(input: Tensor) -> int:
    """Return the number of elements."""
    require_tensor("numel", "input", input)
    return input.numel()


def result_type(tensor: Any, other: Any) -> dtypes.dtype:
    """Return the type of a result of two operands, each a tensor or a number."""
    kinds = []
    for value in (tensor, other):
        if isinstance(value, Tensor):
            kinds.append((value.dtype, value.ndim))
        elif is_scalar(value):
            kinds.append((dtypes.scalar_dtype(value), -1))
        else:
            raise TypeError(f"result_type(): expected a Tensor or a number, got {type_name(value)}")
    (a, a_dim), (b, b_dim) = kinds
    return dtypes.common_dtype(a, a_dim, b, b_dim)


def can_cast(from_: dtypes.dtype, to: dtypes.dtype) -> bool:
    """Return whether an in-place operation may turn a result of type `from_` into `to`: no category is lost."""
    for name, value in (("from_", from_), ("to", to)):
        if not isinstance(value, dtypes.dtype):
            raise TypeError(f"can_cast(): argument '{name}' must be torch.dtype, not {type_name(value)}")
    return from_.category <= to.category
