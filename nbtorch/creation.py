"""Tensors made from values, from arrays, or filled."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from . import dtypes
from .device import CPU, allocate, array_module, as_device, is_array
from .device import device as Device
from .ops.operands import fitting_scalar, is_scalar, require_tensor, size_argument
from .quiet import quietly
from .tensor import Tensor, method


def _made(array: Any, where: Device, requires_grad: bool) -> Tensor:
    tensor = Tensor._wrap(array, where)
    return tensor.requires_grad_() if requires_grad else tensor


def _inferred_dtype(array: np.ndarray) -> dtypes.dtype:
    """Return the type that values given as Python numbers take: floating point in the default type, integers int64."""
    if array.dtype.kind == "f":
        return dtypes.get_default_dtype()
    if array.dtype.kind == "b":
        return dtypes.bool
    if array.dtype.kind in "iu":
        return dtypes.int64
    raise TypeError(f"tensor: could not infer the type of data, expected numbers or booleans, got {array.dtype}")


def tensor(
    data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False, pin_memory: bool = False
) -> Tensor:
    """Return a tensor with a copy of `data`.

    Args:
        data: a number, (nested) lists or tuples, a NumPy array, a tensor.
        dtype: the type; by default that of the data, where Python's floats count as the default type.
        device: where to put it; by default the default device.
        requires_grad: whether gradients are to be computed for it.
        pin_memory: accepted for PyTorch's signature; there is nothing to pin.

    Raises:
        ValueError: the lists are ragged.
        TypeError: the data are no numbers.

    >>> import nbtorch
    >>> nbtorch.tensor([[1.0, 2.0], [3.0, 4.0]])
    tensor([[1., 2.],
            [3., 4.]])
    """
    if isinstance(data, Tensor):
        warnings.warn(
            "To copy construct from a tensor, it is recommended to use sourceTensor.detach().clone() or"
            " sourceTensor.detach().clone().requires_grad_(True), rather than torch.tensor(sourceTensor).",
            UserWarning,
            stacklevel=2,
        )
        where = data.device if device is None else as_device(device)
        copied = data.detach().clone().to(where)
        return _made((copied if dtype is None else copied.to(dtypes.as_dtype(dtype)))._array, where, requires_grad)
    where = as_device(device)
    chosen = None if dtype is None else dtypes.as_dtype(dtype)
    return _made(_array_of(data, chosen, where), where, requires_grad)


def _array_of(data: Any, dtype: dtypes.dtype | None, where: Device) -> Any:
    if is_array(data) or isinstance(data, np.generic):
        found = dtypes.from_numpy_dtype(data.dtype)
        return array_module(where).array(data, dtype=(dtype or found).numpy)
    plain = _plain(data)
    try:
        values = np.array(plain)
    except ValueError:
        raise ValueError(
            "expected sequences of equal lengths in every dimension: the nested lists are ragged"
        ) from None
    if values.size == 0 and dtype is None:
        dtype = dtypes.get_default_dtype()
    if values.dtype.kind not in "biuf":
        raise _no_numbers(data, values)
    chosen = dtype or _inferred_dtype(values)
    _require_fit(values, chosen)
    return array_module(where).asarray(quietly(values.astype, chosen.numpy))


def _no_numbers(data: Any, values: np.ndarray) -> Exception:
    """Return PyTorch's error for data that are no numbers."""
    if values.dtype.kind == "O" and all(isinstance(v, int) for v in values.flat):
        return ValueError(f"tensor: Overflow when unpacking long long: an integer exceeds 64 bits in {data!r:.80}")
    text = f"tensor: data must be numbers, got {data!r:.80}"
    if isinstance(data, str):
        return TypeError(text)
    return ValueError(text) if values.dtype.kind == "U" else RuntimeError(f"Could not infer dtype: {text}")


def _require_fit(values: np.ndarray, dtype: dtypes.dtype) -> None:
    """Refuse numbers that an integer type cannot hold; negative ones wrap around in uint8, as in PyTorch."""
    if dtype.category != 1 or values.dtype.kind == "b" or not values.size:
        return
    limits = np.iinfo(dtype.numpy)
    low, high = values.min(), values.max()
    if values.dtype.kind == "u" and dtype is dtypes.int64 and high > limits.max:
        raise ValueError(f"tensor: Overflow when unpacking long long: {high}")
    if not ((limits.min or -limits.max) <= low and high <= limits.max):
        raise RuntimeError(
            f"value cannot be converted to type {dtype} without overflow: got values from {low} to {high}"
        )


def _plain(data: Any) -> Any:
    """Return nested sequences with tensors inside them replaced by numbers."""
    if isinstance(data, Tensor):
        if data.numel() != 1:
            raise ValueError(
                f"only one element tensors can be converted to Python scalars, got shape {tuple(data.shape)}"
            )
        return data.item()
    if isinstance(data, (list, tuple)):
        return [_plain(d) for d in data] if any(isinstance(d, (list, tuple, Tensor)) for d in data) else data
    return data


def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """Return `data` as a tensor, sharing its memory where type and device allow."""
    if isinstance(data, Tensor):
        return data.to(device=device, dtype=dtype)
    if isinstance(data, np.ndarray):
        shared = from_numpy(data)
        return shared.to(device=as_device(device), dtype=dtype)
    return tensor(data, dtype=dtype, device=device)


def asarray(
    obj: Any, *, dtype: Any = None, device: Any = None, copy: bool | None = None, requires_grad: bool = False
) -> Tensor:
    """Return `obj` as a tensor; `copy` forces (True) or forbids (False) a copy."""
    result = as_tensor(obj, dtype, device)
    shares = isinstance(obj, (Tensor, np.ndarray)) and (
        result is obj
        or (isinstance(obj, np.ndarray) and result._array is obj)
        or result._array is getattr(obj, "_array", None)
    )
    if copy is False and not shares:
        raise ValueError(
            "can't alias arbitrary sequence into a tensor: asarray got copy=False for data that must be copied"
        )
    if copy and shares:
        result = result.detach().clone()
    return result.detach().requires_grad_() if requires_grad else result


def from_numpy(ndarray: np.ndarray) -> Tensor:
    """Return a tensor on the memory of a NumPy array: a change in one shows in the other.

    Raises:
        TypeError: the argument is no array, or its type has no counterpart.
        ValueError: a stride is negative, or the byte order is foreign.
    """
    if not isinstance(ndarray, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {type(ndarray).__name__})")
    dtypes.from_numpy_dtype(ndarray.dtype)
    if any(step < 0 for step in ndarray.strides):
        raise ValueError(
            "At least one stride in the given numpy array is negative, and tensors with negative strides are not"
            " currently supported. (You can work around this by making a copy of your array with array.copy().)"
        )
    if not ndarray.flags.writeable:
        warnings.warn(
            "The given NumPy array is not writable: writing to the tensor will raise an error. Copy the array to make"
            " it writable.",
            UserWarning,
            stacklevel=2,
        )
    return Tensor._wrap(np.asarray(ndarray))


def _filled(shape: tuple[int, ...], value: Any, dtype: Any, device: Any, requires_grad: bool) -> Tensor:
    where = as_device(device)
    chosen = dtypes.get_default_dtype() if dtype is None else dtypes.as_dtype(dtype)
    result = Tensor._filled(shape, value, chosen, where)
    return result.requires_grad_() if requires_grad else result


def zeros(*sizes: Any, size: Any = None, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Return a tensor of zeros."""
    return _filled(size_argument("zeros", sizes, size), 0, dtype, device, requires_grad)


def ones(*sizes: Any, size: Any = None, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Return a tensor of ones."""
    return _filled(size_argument("ones", sizes, size), 1, dtype, device, requires_grad)


def full(size: Any, fill_value: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Return a tensor whose elements are all `fill_value`, by default in the type of that value."""
    if not isinstance(size, (tuple, list)):
        raise TypeError(f"full(): argument 'size' must be tuple of ints, not {type(size).__name__}")
    value = fill_value.item() if isinstance(fill_value, Tensor) else fill_value
    chosen = dtypes.scalar_dtype(value) if dtype is None else dtypes.as_dtype(dtype)
    filling = fitting_scalar(value, chosen, CPU)._array
    return _filled(size_argument("full", (size,), None), filling, chosen, device, requires_grad)


def empty(*sizes: Any, size: Any = None, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Return a tensor of uninitialised memory."""
    shape = size_argument("empty", sizes, size)
    where = as_device(device)
    chosen = dtypes.get_default_dtype() if dtype is None else dtypes.as_dtype(dtype)
    return _made(allocate(shape, chosen.numpy, where), where, requires_grad)


def _like(operation: str, input: Tensor, dtype: Any, device: Any) -> dict[str, Any]:
    """Return the size, type and device of a tensor like `input`."""
    require_tensor(operation, "input", input)
    return {"size": input.shape, **_of(input, dtype, device)}


def _of(input: Tensor, dtype: Any, device: Any) -> dict[str, Any]:
    return {"dtype": input.dtype if dtype is None else dtype, "device": input.device if device is None else device}


def zeros_like(input: Tensor, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Return zeros in the shape, type and device of `input`."""
    return zeros(requires_grad=requires_grad, **_like("zeros_like", input, dtype, device))


def ones_like(input: Tensor, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Return ones in the shape, type and device of `input`."""
    return ones(requires_grad=requires_grad, **_like("ones_like", input, dtype, device))


def full_like(
    input: Tensor, fill_value: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Return a tensor in the shape, type and device of `input` whose elements are all `fill_value`."""
    options = _like("full_like", input, dtype, device)
    return full(options.pop("size"), fill_value, requires_grad=requires_grad, **options)


def empty_like(input: Tensor, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Return uninitialised memory in the shape, type and device of `input`."""
    return empty(requires_grad=requires_grad, **_like("empty_like", input, dtype, device))


def arange(
    start: Any = None,
    end: Any = None,
    step: Any = 1,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return the numbers from `start` (0 if only one is given) up to, but without, `end`."""
    if end is None:
        start, end = 0, start
    if end is None:
        raise TypeError('arange() missing 1 required positional arguments: "end"')
    start = 0 if start is None else start
    start, end, step = (v.item() if isinstance(v, Tensor) else v for v in (start, end, step))
    if not all(math.isfinite(v) for v in (start, end)):
        raise RuntimeError(f"arange: unsupported range: {start} -> {end}")
    if step == 0:
        raise RuntimeError("step must be nonzero")
    if (end - start) * step < 0:
        raise RuntimeError(
            f"upper bound and lower bound inconsistent with step sign: got start {start}, end {end}, step {step}"
        )
    if dtype is None:
        integral = all(isinstance(v, (int, np.integer)) for v in (start, end, step))
        dtype = dtypes.int64 if integral else dtypes.get_default_dtype()
    chosen = dtypes.as_dtype(dtype)
    if chosen.category == 1:
        start, end, step = int(start), int(end), int(step)
        if step == 0:
            raise ValueError("step must be nonzero: it is below one, and the type that of integers")
    count = max(math.ceil((end - start) / step), 0)
    kind = np.int64 if all(isinstance(v, (int, np.integer)) for v in (start, step)) else np.float64
    values = (np.arange(count, dtype=kind) * step + start).astype(chosen.numpy)
    where = as_device(device)
    return _made(array_module(where).asarray(values), where, requires_grad)


def linspace(
    start: Any, end: Any, steps: int, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Return `steps` numbers evenly spaced from `start` to `end`, both included."""
    if steps < 0:
        raise RuntimeError(f"number of steps must be non-negative, got {steps}")
    chosen = dtypes.get_default_dtype() if dtype is None else dtypes.as_dtype(dtype)
    where = as_device(device)
    values = np.linspace(float(start), float(end), steps).astype(chosen.numpy)
    return _made(array_module(where).asarray(values), where, requires_grad)


def logspace(
    start: Any,
    end: Any,
    steps: int,
    base: float = 10.0,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return `steps` numbers evenly spaced on a logarithmic scale from `base ** start` to `base ** end`."""
    if steps < 0:
        raise RuntimeError(f"number of steps must be non-negative, got {steps}")
    chosen = dtypes.get_default_dtype() if dtype is None else dtypes.as_dtype(dtype)
    where = as_device(device)
    values = np.power(float(base), np.linspace(float(start), float(end), steps)).astype(chosen.numpy)
    return _made(array_module(where).asarray(values), where, requires_grad)


def range(
    start: Any = 0,
    end: Any = None,
    step: Any = 1,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return the numbers from `start` (0 if only one is given) to `end`, included; `arange` is its newer form."""
    warnings.warn(
        "torch.range is deprecated and will be removed in a future release because its behavior is inconsistent with"
        " Python's range builtin. Instead, use torch.arange, which produces values in [start, end).",
        UserWarning,
        stacklevel=2,
    )
    if end is None:
        start, end = 0, start
    start, end, step = (v.item() if isinstance(v, Tensor) else v for v in (start, end, step))
    if step == 0:
        raise RuntimeError("step must be nonzero")
    if (end - start) * step < 0:
        raise RuntimeError(
            f"upper bound and lower bound inconsistent with step sign: got start {start}, end {end}, step {step}"
        )
    chosen = dtypes.get_default_dtype() if dtype is None else dtypes.as_dtype(dtype)
    where = as_device(device)
    values = (start + step * np.arange(math.floor((end - start) / step) + 1)).astype(chosen.numpy)
    return _made(array_module(where).asarray(values), where, requires_grad)


def eye(n: int, m: int | None = None, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Return ones on the diagonal and zeros elsewhere."""
    if n < 0 or (m is not None and m < 0):
        raise RuntimeError(f"n and m must be greater or equal to 0, got {n} and {m}")
    chosen = dtypes.get_default_dtype() if dtype is None else dtypes.as_dtype(dtype)
    where = as_device(device)
    return _made(array_module(where).eye(n, m, dtype=chosen.numpy), where, requires_grad)


def scalar_tensor(value: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Return a 0-d tensor of a number."""
    if not is_scalar(value):
        raise TypeError(f"scalar_tensor: expected a number, got {type(value).__name__}")
    return full((), value, dtype=dtype or dtypes.get_default_dtype(), device=device)


def _install_new() -> None:
    """Install `new_zeros` and its like: another shape, this tensor's type and device."""
    for name, make in (("zeros", zeros), ("ones", ones), ("empty", empty)):

        def new(
            self: Tensor,
            *size: Any,
            dtype: Any = None,
            device: Any = None,
            requires_grad: bool = False,
            make: Any = make,
        ) -> Tensor:
            return make(*size, requires_grad=requires_grad, **_of(self, dtype, device))

        new.__name__ = f"new_{name}"
        new.__doc__ = f"Return `{name}` of another shape in this tensor's type and device."
        method(new)


_install_new()


@method
def new_full(
    self: Tensor, size: Any, fill_value: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Return a tensor of another shape filled with a value, in this tensor's type and device."""
    return full(size, fill_value, requires_grad=requires_grad, **_of(self, dtype, device))


@method
def new_tensor(
    self: Tensor, data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Return a copy of `data` in this tensor's type and device."""
    return tensor(data, requires_grad=requires_grad, **_of(self, dtype, device))
