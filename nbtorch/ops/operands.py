"""What the operands of an operation are brought to before it runs: tensors of one device and, mostly, of one type."""

from __future__ import annotations

import math
import numbers
import operator
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.graph import Node
from ..device import CPU, array_module, device
from ..limits import finfo, iinfo
from ..quiet import local, quietly
from ..tensor import Tensor, normalize_dim


def require_tensor(operation: str, argument: str, value: Any) -> None:
    """Refuse a value that is no tensor."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{operation}(): argument '{argument}' must be Tensor, not {type(value).__name__}")


def require_same_device(operation: str, *tensors: Tensor) -> None:
    """Refuse tensors that lie on different devices."""
    first = tensors[0]._device
    for tensor in tensors:
        if tensor._device is not first and tensor._device != first:
            raise RuntimeError(
                f"{operation}: expected all tensors to be on the same device, but found at least two devices,"
                f" {first} and {tensor._device}!"
            )


def not_implemented(operation: str, dtype: dtypes.dtype, expected: str) -> NotImplementedError:
    """Return the error of an operation that a type of elements does not have."""
    return NotImplementedError(f"\"{operation}\" not implemented for '{dtype.title}': expected {expected}, got {dtype}")


def require_floating_point(operation: str, tensor: Tensor) -> None:
    """Refuse integers and booleans."""
    if not tensor.is_floating_point():
        raise not_implemented(operation, tensor.dtype, "a floating-point type")


def require_number(operation: str, tensor: Tensor) -> None:
    """Refuse booleans."""
    if tensor.dtype is dtypes.bool:
        raise not_implemented(operation, tensor.dtype, "a type of numbers")


_PLAIN_NUMBERS = frozenset((bool, int, float))


def is_scalar(value: Any) -> bool:
    """Whether a value is a Python or NumPy number."""
    return type(value) in _PLAIN_NUMBERS or isinstance(value, (numbers.Number, np.generic))


def scalar_tensor(value: Any, dtype: dtypes.dtype, where: device) -> Tensor:
    """Make a 0-d tensor of a number; an integer out of range wraps around."""
    try:
        array = local.run(array_module(where).array, value, dtype.numpy)
    except (OverflowError, RuntimeError):
        array = quietly(array_module(where).asarray, value).astype(dtype.numpy)
    return Tensor._wrap(array, where)


def fitting_scalar(value: Any, dtype: dtypes.dtype, where: device) -> Tensor:
    """Make a 0-d tensor of a number that is to be stored; a RuntimeError where the type cannot hold it.

    As in PyTorch, infinities and NaN fit every floating-point type, and negative numbers wrap around in uint8.
    """
    number = value.item() if isinstance(value, np.generic) else value
    if isinstance(number, complex) and not dtype.is_complex:
        fits, number = number.imag == 0, number.real
        if fits:
            return fitting_scalar(number, dtype, where)
    elif dtype.is_complex:
        fits = True
    elif dtype.is_floating_point:
        fits = not math.isfinite(number) or abs(number) <= finfo(dtype).max
    elif dtype is dtypes.bool:
        fits = True
    else:
        limits = iinfo(dtype)
        fits = math.isfinite(number) and (limits.min or -limits.max) <= number <= limits.max
    if not fits:
        raise RuntimeError(f"value cannot be converted to type {dtype} without overflow, got {value}")
    return scalar_tensor(int(number) if dtype.category == 1 else number, dtype, where)


def operands(operation: str, a: Any, b: Any) -> tuple[Tensor, Tensor]:
    """Return two operands as tensors of their common type on one device; one of them may be a number."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        if a._array.dtype is b._array.dtype and a._device is b._device:
            return a, b
        a, b = _same_device(operation, a, b)
        common = dtypes.common_dtype(a.dtype, a._array.ndim, b.dtype, b._array.ndim)
        return to_dtype(a, common), to_dtype(b, common)
    if isinstance(a, Tensor):
        if not is_scalar(b):
            raise TypeError(f"{operation}(): argument 'other' must be Tensor or a number, not {type(b).__name__}")
        common = dtypes.common_dtype(a.dtype, a._array.ndim, dtypes.scalar_dtype(b), -1)
        return to_dtype(a, common), scalar_tensor(b, common, a._device)
    if not is_scalar(a):
        raise TypeError(f"{operation}(): argument 'input' must be Tensor or a number, not {type(a).__name__}")
    if not isinstance(b, Tensor):
        raise TypeError(f"{operation}(): at least one argument must be Tensor, got two numbers")
    b, a = operands(operation, b, a)
    return a, b


def _same_device(operation: str, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Bring a 0-d CPU tensor to the other operand's device; refuse any other mixture."""
    if a._device == b._device:
        return a, b
    if b._device is CPU and b._array.ndim == 0:
        return a, to_device(b, a._device)
    if a._device is CPU and a._array.ndim == 0:
        return to_device(a, b._device), b
    require_same_device(operation, a, b)
    return a, b


def floating_operands(operation: str, a: Any, b: Any) -> tuple[Tensor, Tensor]:
    """Like `operands`, with integers and booleans taken to the default floating-point type."""
    if isinstance(a, Tensor) and is_scalar(b):
        a = to_floating_point(a)  # first, so that an integer type does not wrap the number around
    elif isinstance(b, Tensor) and is_scalar(a):
        b = to_floating_point(b)
    a, b = operands(operation, a, b)
    return to_floating_point(a), to_floating_point(b)


def to_floating_point(a: Tensor) -> Tensor:
    """Return a tensor of integers or booleans in the default floating-point type; others as they are."""
    return a if a._array.dtype.kind in dtypes.DIFFERENTIABLE else to_dtype(a, dtypes.get_default_dtype())


def cast(array: Any, dtype: np.dtype) -> Any:
    """Return an array in another type; of complex numbers, real ones take the real part."""
    return (array.real if array.dtype.kind == "c" and dtype.kind not in "cb" else array).astype(dtype)


def refuse_complex(operation: str, *tensors: Tensor, error: Callable[[str], Exception] = NotImplementedError) -> None:
    """Refuse complex numbers, which have no order."""
    for tensor in tensors:
        if tensor._array.dtype.kind == "c":
            raise error(f"{operation}: \"{operation}\" not implemented for '{tensor.dtype.title}'")


class ToCopy(Node):
    """A change of type."""

    def __init__(self, dtype: dtypes.dtype) -> None:
        self.dtype = dtype

    def forward(self, a: Any) -> Any:
        self.origin = dtypes.from_numpy_dtype(a.dtype)
        if self.origin.is_complex and self.dtype.category < 3 and self.dtype is not dtypes.bool:
            warnings.warn("Casting complex values to real discards the imaginary part", UserWarning, stacklevel=2)
        return cast(a, self.dtype.numpy)

    def backward(self, grad: Tensor) -> Tensor:
        return to_dtype(grad.real if grad.is_complex() and not self.origin.is_complex else grad, self.origin)


def to_dtype(a: Tensor, dtype: dtypes.dtype) -> Tensor:
    """Return a tensor in another type; itself where it has that type."""
    return a if a._array.dtype == dtype.numpy else ToCopy(dtype)(a)


class ToDevice(Node):
    """A move to another device."""

    name = "ToCopyBackward0"

    def __init__(self, destination: device, non_blocking: bool = False) -> None:
        self.destination = destination
        self.non_blocking = non_blocking

    def forward(self, a: Any) -> Any:
        self.origin = self.where
        source, target = array_module(self.origin), array_module(self.destination)
        if source is target:
            return a.copy()
        if target is np:
            return a.get(blocking=not self.non_blocking)
        with target.cuda.Device(self.destination.index):
            if not self.non_blocking:
                return target.asarray(a)
            result = target.empty(a.shape, a.dtype)
            result.set(np.ascontiguousarray(a), stream=target.cuda.get_current_stream())
            return result

    def __call__(self, *inputs: Tensor) -> Tensor:
        result = super().__call__(*inputs)
        if self.destination is CPU:
            result.__dict__.pop("_device", None)
        else:
            result._device = self.destination
        return result

    def backward(self, grad: Tensor) -> Tensor:
        return to_device(grad, self.origin)


def to_device(a: Tensor, where: device, non_blocking: bool = False) -> Tensor:
    """Return a tensor on another device; itself where it lies there.

    Args:
        non_blocking: do not wait for the copy. Between a GPU and page-locked memory it then runs beside later work.
    """
    return a if a._device == where else ToDevice(where, non_blocking)(a)


def broadcast_shape(operation: str, *shapes: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape that shapes broadcast to; a RuntimeError names the dimension that does not fit."""
    ndim = max(len(s) for s in shapes)
    result = [1] * ndim
    for shape in shapes:
        for axis, extent in enumerate(shape, ndim - len(shape)):
            if extent != 1 and result[axis] not in (1, extent):
                raise RuntimeError(
                    f"{operation}: The size of tensor a ({result[axis]}) must match the size of tensor b ({extent})"
                    f" at non-singleton dimension {axis}"
                )
            if extent != 1:
                result[axis] = extent
    return tuple(result)


def normalize_dims(dim: Any, ndim: int) -> tuple[int, ...]:
    """Return dimensions counted from the front, all of them for None; refuse repetition."""
    if dim is None:
        return tuple(range(ndim))
    dims = tuple(dim) if isinstance(dim, (tuple, list)) else (dim,)
    result = tuple([normalize_dim(d, ndim) for d in dims])
    if len(set(result)) != len(result):
        raise RuntimeError(f"dim {result[0]} appears multiple times in the list of dims: {list(dims)}")
    return result


def sizes(values: tuple[Any, ...]) -> tuple[int, ...]:
    """Return sizes given as several ints or as one sequence; anything but integers is a TypeError."""
    if len(values) == 1 and type(values[0]) is not int and isinstance(values[0], (tuple, list)):
        values = tuple(values[0])
    for value in values:
        if type(value) is not int:
            if any([isinstance(v, bool) for v in values]):
                raise TypeError(f"sizes must be ints, got {values}")
            return tuple([operator.index(v) for v in values])
    return values


def named(values: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
    """Return what was given by position, or else by keyword."""
    return values if value is None else (value,)


def size_argument(operation: str, values: tuple[Any, ...], size: Any) -> tuple[int, ...]:
    """Return sizes given by position or by the keyword `size`; refuse negative ones and none at all."""
    if size is not None:
        if values or not isinstance(size, (tuple, list)):
            raise TypeError(f"{operation}(): argument 'size' must be tuple of ints, not {type(size).__name__}")
        values = (size,)
    if not values:
        raise TypeError(f'{operation}() missing 1 required positional arguments: "size"')
    shape = sizes(values)
    if shape and min(shape) < 0:
        raise RuntimeError(f"{operation}: Trying to create tensor with negative dimension {min(shape)}: {list(shape)}")
    return shape
