"""Discrete Fourier transforms through the array module, with gradients of every order.

Three nodes cover all functions: complex to complex, real to the half spectrum that determines it, and back. The adjoint
of a transform is the transform in the other direction with the same scale.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.graph import Node
from ..device import array_module, as_device
from ..tensor import Tensor, normalize_dim
from .complex import conj
from .joining import roll
from .operands import require_tensor, scalar_tensor, to_dtype
from .pad import ConstantPad

Dims = tuple[int, ...]

# By how much a transform over n points is scaled: not at all, by 1/√n, by 1/n. NumPy's words for it depend on the
# direction, as PyTorch's do.
_NONE, _ROOT, _ALL = range(3)
_WORDS = {True: ("backward", "ortho", "forward"), False: ("forward", "ortho", "backward")}


def _scale(norm: Any, forward: bool) -> int:
    """Return the scale that PyTorch's `norm` asks for."""
    norm = "backward" if norm is None else norm
    if not isinstance(norm, str):
        raise TypeError(f"fft: argument 'norm' must be str, not {type(norm).__name__}")
    if norm not in _WORDS[forward]:
        raise RuntimeError(f'Invalid normalization mode: "{norm}"')
    return _WORDS[forward].index(norm)


class FftC2C(Node):
    """The transform of complex numbers over dimensions."""

    def __init__(self, dims: Dims, scale: int, forwards: bool) -> None:
        self.dims, self.scale, self.forwards = dims, scale, forwards

    def forward(self, a: Any) -> Any:
        fft = array_module(self.where).fft
        transform = fft.fftn if self.forwards else fft.ifftn
        return transform(a, None, self.dims, _WORDS[self.forwards][self.scale])

    def backward(self, grad: Tensor) -> Tensor:
        return FftC2C(self.dims, self.scale, not self.forwards)(grad)


class FftR2C(Node):
    """The transform of real numbers, of which the last of `dims` keeps the half that determines the other one."""

    def __init__(self, dims: Dims, scale: int) -> None:
        self.dims, self.scale = dims, scale

    def forward(self, a: Any) -> Any:
        self.extent = a.shape[self.dims[-1]]
        return array_module(self.where).fft.rfftn(a, None, self.dims, _WORDS[True][self.scale])

    def backward(self, grad: Tensor) -> Tensor:
        full = _resized(grad, self.dims[-1:], (self.extent,))
        return FftC2C(self.dims, self.scale, False)(full).real


class FftC2R(Node):
    """The real numbers whose transform is Hermitian, from the half of it that the last of `dims` holds."""

    def __init__(self, dims: Dims, scale: int, extent: int) -> None:
        self.dims, self.scale, self.extent = dims, scale, extent

    def forward(self, a: Any) -> Any:
        extents = [a.shape[d] for d in self.dims[:-1]]
        return array_module(self.where).fft.irfftn(a, (*extents, self.extent), self.dims, _WORDS[False][self.scale])

    def backward(self, grad: Tensor) -> Tensor:
        half = FftR2C(self.dims, self.scale)(grad)
        axis = self.dims[-1]
        weights = np.ones(half.shape[axis])
        weights[1 : 1 + self.extent - len(weights)] = 2  # these stand for their mirror images as well
        column = half._wrap_like(half._xp.asarray(weights.reshape((-1,) + (1,) * (half.ndim - axis - 1))))
        return half * to_dtype(column, half.dtype)


def _resized(a: Tensor, dims: Dims, extents: Dims) -> Tensor:
    """Return a tensor cropped, or filled up with zeros, at the end of dimensions."""
    widths = [(0, 0)] * a.ndim
    for dim, extent in zip(dims, extents, strict=True):
        widths[dim] = (0, extent - a._array.shape[dim])
    return ConstantPad(tuple(widths), 0)(a) if any(after for _, after in widths) else a


def _floating(operation: str, input: Tensor) -> Tensor:
    """Return the input in a type that can be transformed: integers in the default one; half precision is refused."""
    require_tensor(operation, "input", input)
    if input.dtype.category < 2:
        input = to_dtype(input, dtypes.get_default_dtype())
    if input._array.dtype.char in dtypes.HALF_CHARS:
        raise RuntimeError(f"{operation}: Unsupported dtype {input.dtype.title}")
    return input


def _complex(operation: str, input: Tensor) -> Tensor:
    input = _floating(operation, input)
    return to_dtype(input, input.dtype.to_complex())


def _real(operation: str, input: Tensor) -> Tensor:
    input = _floating(operation, input)
    if input.is_complex():
        name = operation.removeprefix("fft_")
        raise RuntimeError(f"{name} expects a real input tensor, but got {input.dtype.title}")
    return input


def _require_points(extents: Dims) -> None:
    for extent in extents:
        if extent < 1:
            raise RuntimeError(f"Invalid number of data points ({extent}) specified")


def _integer(operation: str, name: str, value: Any) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{operation}(): argument '{name}' must be int, not {type(value).__name__}")
    return int(value)


def _one_dim(operation: str, input: Tensor, n: Any, dim: Any) -> tuple[Dims, int | None]:
    require_tensor(operation, "input", input)
    if input.ndim == 0:
        raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions")
    return (normalize_dim(dim, input.ndim),), None if n is None else _integer(operation, "n", n)


def _dims_and_extents(operation: str, input: Tensor, s: Any, dim: Any) -> tuple[Dims, list[int | None]]:
    """Return the dimensions to transform and their extents, None where the input's own counts."""
    require_tensor(operation, "input", input)
    sizes = None if s is None else [_integer(operation, "s", n) for n in (s if isinstance(s, (tuple, list)) else (s,))]
    if dim is not None:
        dims = tuple(normalize_dim(d, input.ndim) for d in (dim if isinstance(dim, (tuple, list)) else (dim,)))
        if len(set(dims)) != len(dims):
            raise RuntimeError("FFT dims must be unique")
        if sizes is not None and len(sizes) != len(dims):
            raise RuntimeError("When given, dim and shape arguments must have the same length")
    else:
        count = input.ndim if sizes is None else len(sizes)
        if count > input.ndim:
            raise RuntimeError(f"Got shape with {count} values but input tensor only has {input.ndim} dimensions.")
        dims = tuple(range(input.ndim - count, input.ndim))
    return dims, [None] * len(dims) if sizes is None else [None if n == -1 else n for n in sizes]


def _to_complex(
    operation: str, input: Tensor, dims: Dims, sizes: list[int | None], norm: Any, forwards: bool
) -> Tensor:
    a = _complex(operation, input)
    extents = tuple(a._array.shape[d] if n is None else n for d, n in zip(dims, sizes, strict=True))
    _require_points(extents)
    scale = _scale(norm, forwards)
    return FftC2C(dims, scale, forwards)(_resized(a, dims, extents)) if dims else a.clone()


def _to_half(operation: str, input: Tensor, dims: Dims, sizes: list[int | None], norm: Any, forwards: bool) -> Tensor:
    """Transform real numbers; backwards means the conjugate, scaled as an inverse transform."""
    a = _real(operation, input)
    _require_dims(operation, dims)
    extents = tuple(a._array.shape[d] if n is None else n for d, n in zip(dims, sizes, strict=True))
    _require_points(extents)
    result = FftR2C(dims, _scale(norm, forwards))(_resized(a, dims, extents))
    return result if forwards else conj(result)


def _to_real(operation: str, input: Tensor, dims: Dims, sizes: list[int | None], norm: Any, forwards: bool) -> Tensor:
    """Transform a half spectrum; forwards means that of the conjugate, scaled as a forward transform."""
    a = _complex(operation, input)
    _require_dims(operation, dims)
    extents = [a._array.shape[d] if n is None else n for d, n in zip(dims, sizes, strict=True)]
    if sizes[-1] is None:
        extents[-1] = 2 * (extents[-1] - 1)
    _require_points(tuple(extents))
    a = _resized(a, dims, (*extents[:-1], extents[-1] // 2 + 1))
    return FftC2R(dims, _scale(norm, forwards), extents[-1])(conj(a) if forwards else a)


def _require_dims(operation: str, dims: Dims) -> None:
    if not dims:
        raise RuntimeError(f"{operation.removeprefix('fft_')} must transform at least one axis")


_WHAT = {
    "fft": (_to_complex, True, "the discrete Fourier transform"),
    "ifft": (_to_complex, False, "the inverse discrete Fourier transform"),
    "rfft": (_to_half, True, "the half of the Fourier transform of real numbers that determines the other half"),
    "irfft": (_to_real, False, "the real numbers whose Fourier transform is Hermitian, from half of it"),
    "hfft": (_to_real, True, "the real Fourier transform of Hermitian numbers, from half of them"),
    "ihfft": (_to_half, False, "half of the Hermitian numbers whose Fourier transform is real"),
}
_SIZE = "the number of points, to which the input is cropped or filled up with zeros (for `irfft`, `hfft` the output's)"
_NORM = '`"backward"` (forward transforms are not scaled, inverse ones by 1/n), `"ortho"` (by 1/√n), `"forward"`'


def _declare(name: str) -> tuple[Callable[..., Tensor], Callable[..., Tensor], Callable[..., Tensor]]:
    """Return a transform of one dimension, of the last two and of all."""
    transform, forwards, what = _WHAT[name]

    def one(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
        dims, extent = _one_dim(f"fft_{name}", input, n, dim)
        return transform(f"fft_{name}", input, dims, [extent], norm, forwards)

    def two(input: Tensor, s: Any = None, dim: Any = (-2, -1), norm: str | None = None) -> Tensor:
        dims, sizes = _dims_and_extents(f"fft_{name}2", input, s, dim)
        return transform(f"fft_{name}2", input, dims, sizes, norm, forwards)

    def many(input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
        dims, sizes = _dims_and_extents(f"fft_{name}n", input, s, dim)
        return transform(f"fft_{name}n", input, dims, sizes, norm, forwards)

    for function, suffix, where, size in (
        (one, "", "along one dimension", "n"),
        (two, "2", "over two dimensions", "s"),
        (many, "n", "over several dimensions, by default all", "s"),
    ):
        function.__name__ = function.__qualname__ = f"{name}{suffix}"
        function.__doc__ = (
            f"Return {what}, {where}.\n\n    Args:\n"
            "        input: the numbers; integers are taken to the default type.\n"
            f"        {size}: {_SIZE}.\n        dim: where.\n        norm: {_NORM}.\n"
        )
    return one, two, many


fft, fft2, fftn = _declare("fft")
ifft, ifft2, ifftn = _declare("ifft")
rfft, rfft2, rfftn = _declare("rfft")
irfft, irfft2, irfftn = _declare("irfft")
hfft, hfft2, hfftn = _declare("hfft")
ihfft, ihfft2, ihfftn = _declare("ihfft")


def _frequencies(operation: str, positions: Callable[[int], Any], n: int, d: float, options: dict[str, Any]) -> Tensor:
    n = _integer(operation, "n", n)
    dtype, where = options["dtype"], as_device(options["device"])
    chosen = dtypes.get_default_dtype() if dtype is None else dtypes.as_dtype(dtype)
    if chosen.category < 2:
        raise RuntimeError(f"{operation.removeprefix('fft_')} requires a floating point or complex dtype")
    if n < 0:
        raise RuntimeError(f"Trying to create tensor with negative dimension {n}: [{n}]")
    xp = array_module(where)
    numbers = Tensor._wrap(xp.asarray(positions(n)).astype(chosen.numpy), where)
    result = numbers * scalar_tensor(1.0 / (n * d) if n * d else float("inf"), chosen, where)
    return result.requires_grad_() if options["requires_grad"] else result


def fftfreq(n: int, d: float = 1.0, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Return the frequencies that the elements of a transform of `n` points, `d` apart, stand for: 0, …, negative, …"""

    def positions(n: int) -> np.ndarray:
        return (np.arange(n) + n // 2) % max(n, 1) - n // 2

    return _frequencies(
        "fft_fftfreq", positions, n, d, {"dtype": dtype, "device": device, "requires_grad": requires_grad}
    )


def rfftfreq(n: int, d: float = 1.0, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Return the frequencies that the elements of `rfft` of `n` points, `d` apart, stand for."""
    return _frequencies(
        "fft_rfftfreq",
        lambda n: np.arange(n // 2 + 1),
        n,
        d,
        {"dtype": dtype, "device": device, "requires_grad": requires_grad},
    )


def _shifted(operation: str, input: Tensor, dim: Any, up: int) -> Tensor:
    require_tensor(operation, "input", input)
    dims = tuple(range(input.ndim)) if dim is None else tuple(dim) if isinstance(dim, (tuple, list)) else (dim,)
    return roll(input, [(input.size(d) + up) // 2 for d in dims], dims) if dims else input.clone()


def fftshift(input: Tensor, dim: Any = None) -> Tensor:
    """Return the elements of a transform with frequency zero in the middle of each dimension."""
    return _shifted("fft_fftshift", input, dim, 0)


def ifftshift(input: Tensor, dim: Any = None) -> Tensor:
    """Undo `fftshift`."""
    return _shifted("fft_ifftshift", input, dim, 1)
