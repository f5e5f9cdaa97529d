"""Tensors made from values, from arrays, or filled."""

from __future__ import annotations

import builtins
import math
import operator
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from . import dtypes
from .device import CPU, allocate, array_module, as_device
from .device import device as Device
from .layout import (
    allocate_strided,
    contiguous_format,
    element_strides,
    format_strides,
    preserve_format,
    require_strided,
)
from .ops.operands import fitting_scalar, is_scalar, not_implemented, require_tensor, size_argument
from .quiet import quietly
from .tensor import Tensor, method
from .values import array_of, require_exchangeable


def _made(array: Any, where: Device, requires_grad: bool) -> Tensor:
    tensor = Tensor._new_from(array, where)
    return tensor.requires_grad_() if requires_grad else tensor


def tensor(
    data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False, pin_memory: bool = False
) -> Tensor:
    """Return a tensor with a copy of `data`.

    Args:
        data: a number, (nested) sequences of numbers, NumPy scalars and tensors of one element, an array, a tensor.
        dtype: the type; by default that of the data, where Python's floats count as the default type.
        device: where to put it; by default the default device.
        requires_grad: whether gradients are to be computed for it.
        pin_memory: accepted for PyTorch's signature; there is nothing to pin.

    Raises:
        ValueError: the lists are ragged, or an array has negative strides or a foreign byte order.
        TypeError: the data are text, or an array's type has no counterpart.
        RuntimeError: the data are no numbers, or the type does not hold them.

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
    return _made(array_of(data, chosen, where), where, requires_grad)


def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """Return `data` as a tensor, sharing its memory where type and device allow.

    Args:
        data: a tensor, a NumPy array (memory is shared), or anything that `tensor` takes.
        dtype: the type; by default that of the data.
        device: where to put it; by default where the data lie.
    """
    if isinstance(data, Tensor):
        return data.to(device=device, dtype=dtype)
    if isinstance(data, np.ndarray):
        return _from_array(data).to(device=as_device(device), dtype=dtype)
    where = as_device(device)
    return _made(array_of(data, None if dtype is None else dtypes.as_dtype(dtype), where), where, False)


def asarray(
    obj: Any, *, dtype: Any = None, device: Any = None, copy: bool | None = None, requires_grad: bool | None = None
) -> Tensor:
    """Return `obj` as a tensor.

    Args:
        obj: a tensor, an array, an object that speaks DLPack or Python's buffer protocol (the buffer is read as
            `dtype`, by default the default type), a number, sequences of numbers.
        dtype: the type; by default that of the data.
        device: where to put it; by default where the data lie.
        copy: True always copies, False never does; by default memory is shared where it can be.
        requires_grad: whether gradients are to be computed; by default as for a tensor given.

    Raises:
        ValueError: `copy=False` for data that must be copied.
    """
    shared = _sharing(obj, dtype, copy)
    if shared is None:
        if copy is False:
            raise ValueError("asarray: can't alias arbitrary sequence into a tensor, got copy=False")
        where = as_device(device)
        values = array_of(obj, None if dtype is None else dtypes.as_dtype(dtype), where)
        return _made(values, where, bool(requires_grad))
    where = shared.device if device is None else as_device(device)
    chosen = shared.dtype if dtype is None else dtypes.as_dtype(dtype)
    if shared.device != where or shared.dtype is not chosen:
        if copy is False:
            raise ValueError(
                f"asarray: can't alias tensor of {shared.dtype} on '{shared.device}' as {chosen} on '{where}'"
            )
        result = shared.to(where, chosen)
    else:
        result = shared.clone() if copy else shared
    if requires_grad is None:
        return result
    if not requires_grad:
        return result.detach() if result.requires_grad else result
    return result.requires_grad_()


def _sharing(obj: Any, dtype: Any, copy: bool | None) -> Tensor | None:
    """Return a tensor on the memory of an object; None where it has no memory to share."""
    if isinstance(obj, Tensor):
        return obj
    if isinstance(obj, np.ndarray):
        return _from_array(obj, warn=not copy)
    if isinstance(obj, np.generic):
        if copy is False:
            raise RuntimeError("can't alias NumPy scalars. Either remove copy=False or transform it in a ndarray.")
        return _from_array(np.array(obj))
    if hasattr(obj, "__dlpack__") or type(obj).__name__ == "PyCapsule":
        from .exchange import from_dlpack

        return from_dlpack(obj)
    try:
        memoryview(obj)
    except TypeError:
        return None
    return frombuffer(obj, dtype=dtypes.get_default_dtype() if dtype is None else dtype)


def from_numpy(ndarray: np.ndarray) -> Tensor:
    """Return a tensor on the memory of a NumPy array: a change in one shows in the other.

    Raises:
        TypeError: the argument is no array, or its type has no counterpart.
        ValueError: a stride is negative or splits elements, or the byte order is foreign.
    """
    if not isinstance(ndarray, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {type(ndarray).__name__})")
    return _from_array(ndarray)


def _from_array(array: np.ndarray, warn: bool = True) -> Tensor:
    """Return a tensor on an array's memory; of an array that must not be written, with a warning."""
    require_exchangeable(array)
    if warn and not array.flags.writeable:
        warnings.warn(
            "The given NumPy array is not writable: writing to the tensor will raise an error. Copy the array to make"
            " it writable.",
            UserWarning,
            stacklevel=3,
        )
    return Tensor._wrap(np.asarray(array))


def frombuffer(buffer: Any, *, dtype: Any, count: int = -1, offset: int = 0, requires_grad: bool = False) -> Tensor:
    """Return a tensor of one dimension on the memory of an object that speaks Python's buffer protocol.

    Args:
        buffer: the object: bytes, bytearray, array.array, memoryview, …
        dtype: the type that the bytes are read as.
        count: how many elements to read; negative for all that are there.
        offset: how many bytes to skip.
        requires_grad: whether gradients are to be computed.

    Raises:
        ValueError: no buffer, an empty one, or one that does not hold the elements asked for.
    """
    try:
        memory = memoryview(buffer)
    except TypeError:
        raise ValueError("frombuffer: object does not implement Python buffer protocol.") from None
    chosen = dtypes.as_dtype(dtype)
    length, size = memory.nbytes, chosen.itemsize
    if not length or not count:
        raise ValueError(f"frombuffer: both buffer length ({length}) and count ({count}) must not be 0")
    if not 0 <= offset < length:
        raise ValueError(
            f"frombuffer: offset ({offset} bytes) must be non-negative and no greater than buffer length"
            f" ({length} bytes) minus 1"
        )
    if count < 0:
        count, rest = divmod(length - offset, size)
        if rest:
            raise ValueError(
                f"frombuffer: buffer length ({length - offset} bytes) after offset ({offset} bytes) must be a multiple"
                f" of element size ({size})"
            )
    if offset + count * size > length:
        raise ValueError(
            f"frombuffer: requested buffer length ({count} * {size} bytes) after offset ({offset} bytes) must not be"
            f" greater than actual buffer length ({length} bytes)"
        )
    if memory.readonly:
        warnings.warn(
            "The given buffer is not writable: writing to the tensor will raise an error.", UserWarning, stacklevel=2
        )
    return _made(np.frombuffer(buffer, chosen.numpy, count, offset), CPU, requires_grad)


def _filled(
    operation: str, shape: tuple[int, ...], value: Any, dtype: Any, layout: Any, device: Any, requires_grad: bool
) -> Tensor:
    if layout is not None:
        require_strided(operation, layout)
    where = as_device(device)
    chosen = dtypes.get_default_dtype() if dtype is None else dtypes.as_dtype(dtype)
    result = Tensor._filled(shape, value, chosen, where)
    return result.requires_grad_() if requires_grad else result


def zeros(
    *sizes: Any,
    size: Any = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """Return a tensor of zeros.

    Args:
        sizes: the shape, as several ints or one sequence; also by the keyword `size`.
        dtype: the type (default: the default type).
        layout: `strided`, the only one.
        device: where to put it (default: the default device).
        requires_grad: whether gradients are to be computed for it.
        pin_memory: accepted for PyTorch's signature; there is nothing to pin.
    """
    return _filled("zeros", size_argument("zeros", sizes, size), 0, dtype, layout, device, requires_grad)


def ones(
    *sizes: Any,
    size: Any = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """Return a tensor of ones; the arguments are those of `zeros`."""
    return _filled("ones", size_argument("ones", sizes, size), 1, dtype, layout, device, requires_grad)


def _filling(operation: str, fill_value: Any) -> Any:
    """Return the number to fill with, given as a number or as a tensor without dimensions."""
    if isinstance(fill_value, Tensor) and fill_value.ndim == 0:
        return fill_value.item()
    if not is_scalar(fill_value):
        raise TypeError(f"{operation}(): argument 'fill_value' must be Number, not {type(fill_value).__name__}")
    return fill_value


def full(
    size: Any,
    fill_value: Any,
    *,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """Return a tensor whose elements are all `fill_value`, by default in the type of that value."""
    if not isinstance(size, (tuple, list)):
        raise TypeError(f"full(): argument 'size' must be tuple of ints, not {type(size).__name__}")
    value = _filling("full", fill_value)
    chosen = dtypes.scalar_dtype(value) if dtype is None else dtypes.as_dtype(dtype)
    filling = fitting_scalar(value, chosen, CPU)._array
    return _filled("full", size_argument("full", (size,), None), filling, chosen, layout, device, requires_grad)


def empty(
    *sizes: Any,
    size: Any = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """Return a tensor of uninitialised memory; the arguments are those of `zeros`, and the order in memory."""
    require_strided("empty", layout)
    shape = size_argument("empty", sizes, size)
    if memory_format is preserve_format:
        raise RuntimeError("empty: unsupported memory format Preserve: there is no tensor to take it from")
    where = as_device(device)
    chosen = dtypes.get_default_dtype() if dtype is None else dtypes.as_dtype(dtype)
    if memory_format is None:
        return _made(allocate(shape, chosen.numpy, where), where, requires_grad)
    strides = format_strides("empty", shape, (), memory_format)
    return _made(allocate_strided(shape, strides, chosen.numpy, where), where, requires_grad)


def empty_strided(
    size: Any,
    stride: Any,
    *,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """Return a tensor of uninitialised memory with the given shape and strides (in elements)."""
    require_strided("empty_strided", layout)
    shape, strides = size_argument("empty_strided", (size,), None), tuple([operator.index(s) for s in stride])
    if len(shape) != len(strides):
        raise RuntimeError(
            f"empty_strided: dimensionality of sizes ({len(shape)}) must match dimensionality of strides"
            f" ({len(strides)})"
        )
    if min(strides, default=0) < 0:
        raise RuntimeError(f"empty_strided: strides must not be negative, got {list(strides)}")
    where = as_device(device)
    chosen = dtypes.get_default_dtype() if dtype is None else dtypes.as_dtype(dtype)
    return _made(allocate_strided(shape, strides, chosen.numpy, where), where, requires_grad)


def empty_permuted(
    size: Any,
    physical_layout: Any,
    *,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """Return a tensor of uninitialised memory in which the dimensions follow each other as in `physical_layout`."""
    shape = size_argument("empty_permuted", (size,), None)
    order = tuple([operator.index(d) for d in physical_layout])
    if len(order) != len(shape):
        raise RuntimeError(
            f"empty_permuted: Number of dimensions in size does not match the length of the physical_layout; i.e."
            f" len(size) = {len(shape)} is not equal to len(physical_layout) = {len(order)}"
        )
    if sorted(order) != list(builtins.range(len(shape))):
        raise RuntimeError(
            f"empty_permuted: physical_layout must name each dimension from 0 to {len(shape) - 1} once, got"
            f" {list(order)}"
        )
    made = empty([shape[d] for d in order], dtype=dtype, layout=layout, device=device, requires_grad=requires_grad)
    back = sorted(builtins.range(len(order)), key=order.__getitem__)
    return made.detach().permute(back).detach().requires_grad_(requires_grad)


def empty_like(
    input: Tensor,
    *,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """Return uninitialised memory in the shape, type, device and order in memory of `input`.

    Args:
        input: the model.
        dtype: another type.
        layout: `strided`, the only one.
        device: another device.
        pin_memory: accepted for PyTorch's signature; there is nothing to pin.
        requires_grad: whether gradients are to be computed for the new tensor.
        memory_format: another order in memory; `preserve_format`, the default, keeps the strides of a dense tensor.
    """
    return _like("empty_like", input, dtype, layout, device, requires_grad, memory_format, None)


def _like(
    operation: str,
    input: Tensor,
    dtype: Any,
    layout: Any,
    device: Any,
    requires_grad: bool,
    memory_format: Any,
    value: Any,
) -> Tensor:
    """Return a tensor like `input`, filled with a number unless that is None."""
    require_tensor(operation, "input", input)
    require_strided(operation, layout)
    where = input._device if device is None else as_device(device)
    chosen = input.dtype if dtype is None else dtypes.as_dtype(dtype)
    model = input._array
    if memory_format in (None, contiguous_format) and model.flags.c_contiguous and 1 not in model.shape:
        array = allocate(model.shape, chosen.numpy, where)
    else:
        strides = format_strides(operation, model.shape, element_strides(model), memory_format)
        array = allocate_strided(model.shape, strides, chosen.numpy, where)
    if value is not None:
        array[...] = fitting_scalar(value, chosen, CPU)._array if value not in (0, 1) else value
    return _made(array, where, requires_grad)


def zeros_like(
    input: Tensor,
    *,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """Return zeros in the shape, type, device and order in memory of `input`; the arguments are `empty_like`'s."""
    return _like("zeros_like", input, dtype, layout, device, requires_grad, memory_format, 0)


def ones_like(
    input: Tensor,
    *,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """Return ones in the shape, type, device and order in memory of `input`; the arguments are `empty_like`'s."""
    return _like("ones_like", input, dtype, layout, device, requires_grad, memory_format, 1)


def full_like(
    input: Tensor,
    fill_value: Any,
    *,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """Return a tensor like `input` whose elements are all `fill_value`; the other arguments are `empty_like`'s."""
    value = _filling("full_like", fill_value)
    return _like("full_like", input, dtype, layout, device, requires_grad, memory_format, value)


def _bound(operation: str, argument: str, value: Any) -> Any:
    """Return a number given as a number or as a tensor of one element."""
    if isinstance(value, Tensor):
        return value.item()
    if not is_scalar(value):
        raise TypeError(f"{operation}(): argument '{argument}' must be Number, not {type(value).__name__}")
    return value


def arange(
    start: Any = None,
    end: Any = None,
    step: Any = 1,
    *,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """Return the numbers from `start` (0 if only one is given) up to, but without, `end`.

    Args:
        start: the first number.
        end: the number to stop before.
        step: the distance between numbers, which may be negative.
        dtype: the type; by default int64 if all three are integers, else the default type.
        layout: `strided`, the only one.
        device: where to put it (default: the default device).
        requires_grad: whether gradients are to be computed for it.
        pin_memory: accepted for PyTorch's signature; there is nothing to pin.

    Raises:
        RuntimeError: `step` is zero or leads away from `end`, or a bound is not finite.
    """
    require_strided("arange", layout)
    if end is None:
        start, end = 0, start
    if end is None:
        raise TypeError('arange() missing 1 required positional arguments: "end"')
    given = (("start", 0 if start is None else start), ("end", end), ("step", step))
    start, end, step = (_bound("arange", name, value) for name, value in given)
    if not all(math.isfinite(v) for v in (start, end)):
        raise RuntimeError(f"arange: unsupported range: {start} -> {end}")
    if step == 0:
        raise RuntimeError("arange: step must be nonzero")
    if (end - start) * step < 0:
        raise RuntimeError(
            f"upper bound and lower bound inconsistent with step sign: got start {start}, end {end}, step {step}"
        )
    integral = all(isinstance(v, (int, np.integer)) for v in (start, end, step))
    chosen = dtypes.as_dtype(dtype) if dtype is not None else dtypes.int64 if integral else dtypes.get_default_dtype()
    if chosen is dtypes.bool or chosen.is_complex:
        raise not_implemented("arange", chosen, "a type of real numbers")
    if chosen.category == 1:
        start, end, step = int(start), int(end), int(step)
        if step == 0:
            raise ValueError("arange: step must be nonzero: it is below one, and the type that of integers")
    count = max(-((start - end) // step) if chosen.category == 1 else math.ceil((end - start) / step), 0)
    kind = np.int64 if all(isinstance(v, (int, np.integer)) for v in (start, step)) else np.float64
    values = quietly((np.arange(count, dtype=kind) * step + start).astype, chosen.numpy)
    where = as_device(device)
    return _made(array_module(where).asarray(values), where, requires_grad)


def _steps(operation: str, start: Any, end: Any, steps: Any, dtype: dtypes.dtype) -> np.ndarray:
    """Return evenly spaced numbers, reckoned from the nearer end, in float64 or the type they are computed in."""
    for name, value in (("start", start), ("end", end)):
        if isinstance(value, Tensor) and value.ndim:
            raise RuntimeError(
                f"{operation} only supports 0-dimensional start and end tensors, but got {name} with {value.ndim}"
                " dimension(s)."
            )
    first, last = _bound(operation, "start", start), _bound(operation, "end", end)
    if isinstance(steps, float) or not hasattr(steps, "__index__"):
        raise TypeError(f"{operation}(): argument 'steps' must be int, not {type(steps).__name__}")
    count = operator.index(steps)
    if count < 0:
        raise RuntimeError(f"{operation}: number of steps must be non-negative, got {count}")
    if dtype is dtypes.bool:
        raise not_implemented(operation, dtype, "a type of numbers")
    if dtype.category == 1:
        first, last = int(first), int(last)
    working: Any = np.complex128 if dtype.is_complex else np.float32 if dtype is dtypes.float32 else np.float64
    low, high = working(first), working(last)
    if count == 1:
        return np.array([low])
    places = np.arange(count)
    step = (high - low) / working(max(count - 1, 1))
    forward, backward = (places * step).astype(working), ((count - 1 - places) * step).astype(working)
    return np.where(places < count // 2, low + forward, high - backward)


def range(
    start: Any = 0,
    end: Any = None,
    step: Any = 1,
    *,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """Return the numbers from `start` (0 if only one is given) to `end`, included; `arange` is its newer form."""
    require_strided("range", layout)
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


def linspace(
    start: Any,
    end: Any,
    steps: int,
    *,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """Return `steps` numbers evenly spaced from `start` to `end`, both included.

    Args:
        start: the first number, also as a tensor without dimensions.
        end: the last number, likewise.
        steps: how many numbers.
        dtype: the type (default: the default type); numbers are cut to integers where it is one.
        layout: `strided`, the only one.
        device: where to put it (default: the default device).
        requires_grad: whether gradients are to be computed for it.
        pin_memory: accepted for PyTorch's signature; there is nothing to pin.
    """
    require_strided("linspace", layout)
    chosen = dtypes.get_default_dtype() if dtype is None else dtypes.as_dtype(dtype)
    where = as_device(device)
    values = quietly(lambda: _steps("linspace", start, end, steps, chosen).astype(chosen.numpy))
    return _made(array_module(where).asarray(values), where, requires_grad)


def logspace(
    start: Any,
    end: Any,
    steps: int,
    base: float = 10.0,
    *,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """Return `base` to the power of `steps` numbers evenly spaced from `start` to `end`; see `linspace`."""
    require_strided("logspace", layout)
    chosen = dtypes.get_default_dtype() if dtype is None else dtypes.as_dtype(dtype)
    where = as_device(device)
    values = quietly(lambda: np.power(base, _steps("logspace", start, end, steps, chosen)).astype(chosen.numpy))
    return _made(array_module(where).asarray(values), where, requires_grad)


def eye(
    n: int,
    m: int | None = None,
    *,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """Return ones on the diagonal and zeros elsewhere, `n` rows and `m` (default: as many) columns."""
    require_strided("eye", layout)
    for name, extent in (("n", n), ("m", m)):
        if isinstance(extent, float) or not (extent is None or hasattr(extent, "__index__")):
            raise TypeError(f"eye(): argument '{name}' must be int, not {type(extent).__name__}")
        if extent is not None and extent < 0:
            raise RuntimeError(f"eye: {name} must be greater or equal to 0, got {extent}")
    chosen = dtypes.get_default_dtype() if dtype is None else dtypes.as_dtype(dtype)
    where = as_device(device)
    rows, columns = operator.index(n), None if m is None else operator.index(m)
    return _made(array_module(where).eye(rows, columns, dtype=chosen.numpy), where, requires_grad)


def scalar_tensor(
    s: Any,
    *,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:
    """Return a 0-d tensor of a number, in the default type unless another is named."""
    if not is_scalar(s):
        raise TypeError(f"scalar_tensor(): argument 's' must be Number, not {type(s).__name__}")
    chosen = dtypes.get_default_dtype() if dtype is None else dtype
    return full((), s, dtype=chosen, layout=layout, device=device, requires_grad=requires_grad)


def _of(input: Tensor, dtype: Any, device: Any) -> dict[str, Any]:
    """Return the type and device of a tensor unless others are named."""
    return {"dtype": input.dtype if dtype is None else dtype, "device": input.device if device is None else device}


def _install_new(make: Callable[..., Tensor]) -> None:
    """Install `new_zeros` and its like: another shape, this tensor's type and device."""

    def new(
        self: Tensor,
        *size: Any,
        dtype: Any = None,
        layout: Any = None,
        device: Any = None,
        pin_memory: bool = False,
        requires_grad: bool = False,
        **named: Any,
    ) -> Tensor:
        return make(*size, **named, layout=layout, requires_grad=requires_grad, **_of(self, dtype, device))

    new.__name__ = f"new_{make.__name__}"
    new.__doc__ = f"Return `{make.__name__}` of another shape in this tensor's type and device."
    method(new)


for _make in (zeros, ones, empty, empty_strided, full):
    _install_new(_make)


@method
def new_tensor(
    self: Tensor, data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Return a copy of `data` in this tensor's type and device."""
    return tensor(data, requires_grad=requires_grad, **_of(self, dtype, device))


@method
def new(self: Tensor, *data: Any, device: Any = None) -> Tensor:
    """Return a tensor of this one's type: `new(2, 3)` uninitialised, `new([1, 2])` with these values."""
    where = self.device if device is None else device
    if len(data) == 1 and isinstance(data[0], Tensor):
        if data[0].dtype is not self.dtype:
            raise TypeError(f"new(): expected a tensor of {self.dtype}, got {data[0].dtype}")
        return data[0].detach()
    if len(data) == 1 and not isinstance(data[0], (int, np.integer, type(self.shape))):
        return tensor(data[0], dtype=self.dtype, device=where)
    return empty(*(data or (0,)), dtype=self.dtype, device=where)
