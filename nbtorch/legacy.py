"""The classes of PyTorch's first years: `FloatTensor(2, 3)`, `isinstance(x, LongTensor)`, `x.type(IntTensor)`.

They make and recognise plain tensors of one type; nothing is an instance of them in Python's sense.
"""

from __future__ import annotations

from typing import Any

from . import dtypes
from .device import as_device
from .tensor import Tensor, legacy_array


class TensorType(type):
    """The type of `FloatTensor` and its like."""

    dtype: dtypes.dtype
    is_cuda = False

    def __call__(cls, *data: Any, device: Any = "cpu") -> Tensor:
        """Return an uninitialised tensor of the given sizes, or one with the values of a sequence."""
        if len(data) == 1 and isinstance(data[0], Tensor):
            if data[0].dtype is not cls.dtype:
                raise TypeError(f"{cls.__name__}: expected a tensor of type {cls.dtype}, got {data[0].dtype}")
            return data[0].detach()
        where = as_device(device)
        return Tensor._wrap(legacy_array(data, cls.dtype, where), where)

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, Tensor) and instance.dtype is cls.dtype and instance.is_cpu


def _made(dtype: dtypes.dtype) -> TensorType:
    members = {"__module__": "torch", "__doc__": f"Makes and recognises tensors of {dtype}.", "dtype": dtype}
    return TensorType(f"{dtype.title}Tensor", (), members)


BoolTensor = _made(dtypes.bool)
ByteTensor = _made(dtypes.uint8)
CharTensor = _made(dtypes.int8)
ShortTensor = _made(dtypes.int16)
IntTensor = _made(dtypes.int32)
LongTensor = _made(dtypes.int64)
BFloat16Tensor = _made(dtypes.bfloat16)
HalfTensor = _made(dtypes.float16)
FloatTensor = _made(dtypes.float32)
DoubleTensor = _made(dtypes.float64)


def set_default_tensor_type(t: Any) -> None:
    """Set the default type to that of a class (`DoubleTensor`) or of its name (`"torch.DoubleTensor"`)."""
    names = {f"torch.{d.title}Tensor": d for d in dtypes.ALL}
    chosen = names.get(t) if isinstance(t, str) else getattr(t, "dtype", None)
    if not isinstance(chosen, dtypes.dtype):
        raise TypeError(f"set_default_tensor_type: invalid type object {t!r}")
    if not chosen.is_floating_point:
        raise TypeError(f"only floating-point types are supported as the default type, got {chosen}")
    dtypes.set_default_dtype(chosen)
