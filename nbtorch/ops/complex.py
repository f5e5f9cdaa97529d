"""Complex numbers: their parts, as views of the same memory, conjugates, angles.

Conjugates are computed when they are asked for: no tensor carries PyTorch's lazy conjugate or negative bit.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.graph import Node
from ..device import array_module
from ..tensor import Tensor, method
from .arithmetic import Binary, install_in_place, mul, unbroadcast
from .operands import require_tensor, scalar_tensor, to_dtype
from .pointwise import cos, sin
from .shape import View


class Real(View):
    """The real parts, a view."""

    name = "RealBackward0"

    def forward(self, a: Any) -> Any:
        return a.real

    def backward(self, grad: Tensor) -> Tensor:
        return to_dtype(grad, grad.dtype.to_complex())


class Imag(View):
    """The imaginary parts, a view."""

    name = "ImagBackward0"

    def forward(self, a: Any) -> Any:
        return a.imag

    def backward(self, grad: Tensor) -> Tensor:
        return mul(grad, scalar_tensor(1j, grad.dtype.to_complex(), grad._device))


class ViewAsReal(View):
    """Complex numbers as pairs of real ones in a last dimension of extent 2."""

    def forward(self, a: Any) -> Any:
        parts = a.real
        strided = array_module(self.where).lib.stride_tricks.as_strided
        return strided(parts, (*a.shape, 2), (*a.strides, parts.dtype.itemsize))

    def backward(self, grad: Tensor) -> Tensor:
        return view_as_complex(grad.contiguous())


class ViewAsComplex(View):
    """Pairs of real numbers in a last dimension of extent 2 as complex ones."""

    def forward(self, a: Any) -> Any:
        return a.view(dtypes.from_numpy_dtype(a.dtype).to_complex().numpy)[..., 0]

    def backward(self, grad: Tensor) -> Tensor:
        return view_as_real(grad)


class Conj(Node):
    name = "ConjBackward0"

    def forward(self, a: Any) -> Any:
        return array_module(self.where).conj(a)

    def backward(self, grad: Tensor) -> Tensor:
        return conj(grad)


class Angle(Node):
    """The argument of complex numbers, in (-π, π]; of real ones π where they are negative."""

    saves_inputs = (0,)
    in_float32 = True

    def forward(self, a: Any) -> Any:
        xp = array_module(self.where)
        if a.dtype.kind == "c":
            return xp.arctan2(a.imag, a.real)
        return xp.where(a != a, a, xp.where(a < 0, a.dtype.type(math.pi), a.dtype.type(0)))

    def backward(self, grad: Tensor) -> Tensor:
        z = self.saved_tensor
        if not z.is_complex():
            return grad._filled_like(0)
        square = real(z) * real(z) + imag(z) * imag(z)
        zero = square.detach() == 0
        return (z * 1j * (grad / square.masked_fill(zero, 1))).masked_fill(zero, 0)


class Complex(Binary):
    """Complex numbers from their parts."""

    def apply(self, xp: Any, a: Any, b: Any) -> Any:
        result = xp.empty(xp.broadcast_shapes(a.shape, b.shape), np.result_type(a.dtype, np.complex64))
        result.real, result.imag = a, b
        return result

    def backward(self, grad: Tensor) -> Any:
        return unbroadcast(real(grad), self.shapes[0]), unbroadcast(imag(grad), self.shapes[1])


def real(input: Tensor) -> Tensor:
    """Return the real parts, a view of the same memory; a real tensor is its own."""
    require_tensor("real", "input", input)
    return Real()(input) if input._array.dtype.kind == "c" else input


def imag(input: Tensor) -> Tensor:
    """Return the imaginary parts, a view of the same memory."""
    require_tensor("imag", "input", input)
    if not input.is_complex():
        raise RuntimeError(f"imag is not implemented for tensors with non-complex dtypes, got {input.dtype}")
    return Imag()(input)


def view_as_real(input: Tensor) -> Tensor:
    """Return complex numbers of shape (*) as pairs of real ones, (*, 2), in the same memory."""
    require_tensor("view_as_real", "input", input)
    if not input.is_complex():
        raise RuntimeError(f"view_as_real is only supported for complex tensors, got {input.dtype}")
    return ViewAsReal()(input)


def view_as_complex(input: Tensor) -> Tensor:
    """Return pairs of real numbers, (*, 2), as complex ones of shape (*) in the same memory."""
    require_tensor("view_as_complex", "input", input)
    if input.dtype not in (dtypes.float32, dtypes.float64):
        raise RuntimeError(
            f"view_as_complex is only supported for half, float and double tensors, but got a tensor of scalar type:"
            f" {input.dtype.title}"
        )
    if input.ndim == 0:
        raise RuntimeError("Input tensor must have one or more dimensions")
    if input._array.shape[-1] != 2:
        raise RuntimeError(f"Tensor must have a last dimension of size 2, got shape {tuple(input.shape)}")
    steps = input.stride()
    if steps[-1] != 1 and input.numel():
        raise RuntimeError(f"Tensor must have a last dimension with stride 1, got strides {steps}")
    if any(step % 2 for step in steps[:-1]):
        raise RuntimeError(f"Tensor must have a stride divisible by 2 for all but last dimension, got strides {steps}")
    return ViewAsComplex()(input)


@method
def conj(input: Tensor) -> Tensor:
    """Return the conjugates; a real tensor is its own."""
    return Conj()(input) if input._array.dtype.kind == "c" else input


@method
def conj_physical(input: Tensor) -> Tensor:
    """Return the conjugates; a real tensor is its own. The same as `conj`, which is never lazy here."""
    require_tensor("conj_physical", "input", input)
    return conj(input)


@method
def resolve_conj(input: Tensor) -> Tensor:
    """Return the tensor itself: conjugates are never lazy here."""
    require_tensor("resolve_conj", "input", input)
    return input


@method
def resolve_neg(input: Tensor) -> Tensor:
    """Return the tensor itself: negation is never lazy here."""
    require_tensor("resolve_neg", "input", input)
    return input


@method
def is_conj(input: Tensor) -> bool:
    """Return False: no tensor is a lazy conjugate here."""
    require_tensor("is_conj", "input", input)
    return False


@method
def is_neg(input: Tensor) -> bool:
    """Return False: no tensor is a lazy negative here."""
    require_tensor("is_neg", "input", input)
    return False


@method
def angle(input: Tensor) -> Tensor:
    """Return the angles of complex numbers in radians, in (-π, π]; of real numbers π where they are negative."""
    require_tensor("angle", "input", input)
    return Angle()(input if input.dtype.category > 1 else to_dtype(input, dtypes.get_default_dtype()))


def _pair_of_reals(operation: str, names: tuple[str, str], a: Tensor, b: Tensor) -> None:
    require_tensor(operation, names[0], a)
    require_tensor(operation, names[1], b)
    for tensor in (a, b):
        if tensor.dtype not in (dtypes.float16, dtypes.float32, dtypes.float64):
            raise RuntimeError(
                f"{operation}: Expected both inputs to be Half, Float or Double tensors but got {a.dtype.title} and"
                f" {b.dtype.title}"
            )
    if a.dtype is not b.dtype:
        raise RuntimeError(
            f"{operation}: Expected object of scalar type {a.dtype.title} but got scalar type {b.dtype.title} for"
            " second argument"
        )


def complex(real: Tensor, imag: Tensor) -> Tensor:
    """Return complex numbers of given real and imaginary parts, which broadcast."""
    _pair_of_reals("complex", ("real", "imag"), real, imag)
    return Complex()(real, imag)


def polar(abs: Tensor, angle: Tensor) -> Tensor:
    """Return complex numbers of given absolute values and angles, which broadcast."""
    _pair_of_reals("polar", ("abs", "angle"), abs, angle)
    return Complex()(mul(abs, cos(angle)), mul(abs, sin(angle)))


def _part(read: Any) -> property:
    """Return a part of complex numbers as an attribute; what is assigned to it is copied into the memory."""

    def write(self: Tensor, value: Any) -> None:
        read(self).copy_(value)

    return property(read, write, doc=read.__doc__)


method(name="real")(_part(real))
method(name="imag")(_part(imag))
install_in_place("conj_physical_", conj_physical)
