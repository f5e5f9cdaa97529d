"""Pseudo-random numbers: generators with seeds, and tensors of random values.

Numbers are drawn by NumPy's Philox, a counter-based generator: the same seed gives the same numbers on every machine,
device and number of threads. They are not the numbers that PyTorch draws for the same seed.
"""

from __future__ import annotations

import math
import operator
import secrets
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from . import dtypes
from .autograd.graph import Node
from .creation import empty_like
from .device import CPU, array_module, as_device
from .device import device as Device
from .layout import require_strided
from .ops.operands import broadcast_shape, not_implemented, require_tensor, size_argument
from .quiet import quietly
from .tensor import Tensor, method

_STATE_BYTES = 112
_DIGITS = {"float16": 11, "bfloat16": 8, "float32": 24, "float64": 53}  # of the significand


class Generator:
    """A source of pseudo-random numbers with a state of its own.

    Args:
        device: the device of the tensors that it is to fill.

    >>> import nbtorch
    >>> generator = nbtorch.Generator().manual_seed(7)
    >>> state = generator.get_state()
    >>> first = nbtorch.rand(2, generator=generator)
    >>> nbtorch.equal(nbtorch.rand(2, generator=generator.set_state(state)), first)
    True
    """

    def __init__(self, device: Any = "cpu") -> None:
        self.device = as_device(device)
        self.manual_seed(67280421310721)

    def manual_seed(self, seed: int) -> Generator:
        """Start the sequence that belongs to `seed`, an integer of at most 64 bits; returns the generator."""
        if not isinstance(seed, (int, np.integer)):
            raise RuntimeError(f"manual_seed expected a long, but got {type(seed).__name__}")
        if not -(1 << 63) <= seed < 1 << 64:
            raise ValueError(f"manual_seed: Overflow when unpacking long long: the seed must have 64 bits, got {seed}")
        self._seed = int(seed) % (1 << 64)
        self._numpy = np.random.Generator(np.random.Philox(self._seed))
        return self

    def seed(self) -> int:
        """Start a sequence from a seed taken from the system, and return the seed."""
        return self.manual_seed(secrets.randbits(64))._seed

    def initial_seed(self) -> int:
        """Return the seed of the present sequence."""
        return self._seed

    def get_state(self) -> Tensor:
        """Return the state as a tensor of bytes, for `set_state`."""
        state = self._numpy.bit_generator.state
        rest = np.array([state["buffer_pos"], state["has_uint32"], state["uinteger"], self._seed], np.uint64)
        words = np.concatenate([state["state"]["counter"], state["state"]["key"], state["buffer"], rest])
        return Tensor._wrap(words.view(np.uint8).copy())

    def set_state(self, new_state: Tensor) -> Generator:
        """Go on from a state that `get_state` returned; returns the generator."""
        if not isinstance(new_state, Tensor):
            raise TypeError(f"set_state: expected a torch.ByteTensor, but got {type(new_state).__name__}")
        if new_state.dtype is not dtypes.uint8:
            raise TypeError(f"set_state: RNG state must be a torch.ByteTensor, got {new_state.dtype}")
        if not new_state.is_contiguous():
            raise RuntimeError("set_state: RNG state must be contiguous")
        if new_state.numel() != _STATE_BYTES:
            raise RuntimeError(f"set_state: expected a state of size {_STATE_BYTES}, got {new_state.numel()}")
        words = np.frombuffer(new_state.cpu()._array.tobytes(), np.uint64)
        self._seed = int(words[13])
        self._numpy.bit_generator.state = {
            "bit_generator": "Philox",
            "state": {"counter": words[0:4].copy(), "key": words[4:6].copy()},
            "buffer": words[6:10].copy(),
            "buffer_pos": int(words[10]),
            "has_uint32": int(words[11]),
            "uinteger": int(words[12]),
        }
        return self

    def clone_state(self) -> Generator:
        """Return another generator that goes on from this one's state."""
        return Generator(self.device).set_state(self.get_state())

    def get_offset(self) -> int:
        """Refuse, as PyTorch does on the CPU: the state is more than an offset."""
        raise RuntimeError("get_offset: the Generator does not use an offset; save get_state() instead")

    def set_offset(self, offset: int) -> Generator:
        """Refuse, as PyTorch does on the CPU: the state is more than an offset."""
        raise RuntimeError("set_offset: the Generator does not use an offset; use set_state(state) instead")

    def __reduce__(self) -> Any:
        return Generator, (self.device,), self.get_state()

    __setstate__ = set_state


default_generator = Generator()


def manual_seed(seed: Any) -> Generator:
    """Start the default generator's sequence that belongs to `seed`, and return the generator.

    Args:
        seed: an integer from -2**63 to 2**64 - 1, or what `int` makes one of.

    Raises:
        ValueError: the seed has more than 64 bits.
    """
    return default_generator.manual_seed(int(seed))


def seed() -> int:
    """Start the default generator from a seed taken from the system, and return the seed."""
    return default_generator.seed()


def initial_seed() -> int:
    """Return the seed of the default generator."""
    return default_generator.initial_seed()


def get_rng_state() -> Tensor:
    """Return the default generator's state, a tensor of bytes."""
    return default_generator.get_state()


def set_rng_state(new_state: Tensor) -> None:
    """Set the default generator's state to one that `get_rng_state` returned."""
    default_generator.set_state(new_state)


@contextmanager
def fork_rng(devices: Any = None, enabled: bool = True, device_type: str = "cuda") -> Iterator[None]:
    """Give the default generator's state back on leaving the block: what is drawn inside has no effect outside.

    Args:
        devices: accepted for PyTorch's signature: one generator serves all devices.
        enabled: False makes the block a plain one.
        device_type: accepted for PyTorch's signature.
    """
    if not enabled:
        yield
        return
    state = get_rng_state()
    try:
        yield
    finally:
        set_rng_state(state)


def numpy_generator(generator: Generator | None, where: Device | None = None) -> np.random.Generator:
    """Return NumPy's generator inside a generator, or inside the default one; refuse one of another device."""
    if generator is None:
        return default_generator._numpy
    if not isinstance(generator, Generator):
        raise TypeError(f"argument 'generator' must be Generator, not {type(generator).__name__}")
    if where is not None and generator.device.type != where.type:
        raise RuntimeError(f"Expected a '{where.type}' device type for generator but found '{generator.device.type}'")
    return generator._numpy


def random_keys() -> tuple[int, int]:
    """Return two random numbers of 32 bits from the default generator: what kernels make their own numbers from."""
    first, second = default_generator._numpy.integers(2**32, size=2).tolist()
    return first, second


def _number(operation: str, argument: str, value: Any) -> float:
    """Return a number given as a Python or NumPy number or as a tensor of one element."""
    if isinstance(value, (int, float, np.number, Tensor)):
        return float(value)
    raise TypeError(f"{operation}(): argument '{argument}' must be float, not {type(value).__name__}")


def _integer(operation: str, argument: str, value: Any) -> int:
    """Return an integer of 64 bits."""
    if isinstance(value, float) or not hasattr(value, "__index__"):
        raise TypeError(f"{operation}(): argument '{argument}' must be int, not {type(value).__name__}")
    number = operator.index(value)
    if not -(1 << 63) <= number < 1 << 63:
        raise ValueError(f"{operation}: Overflow when unpacking long long: {argument}={number}")
    return number


def _require_floating_point(operation: str, dtype: dtypes.dtype, complex_too: bool = False) -> None:
    if not (dtype.is_floating_point or (complex_too and dtype.is_complex)):
        raise not_implemented(operation, dtype, "a floating-point type")


def _uniform(shape: tuple[int, ...], dtype: dtypes.dtype, source: np.random.Generator) -> np.ndarray:
    """Draw multiples of the type's epsilon in [0, 1), so that none is rounded up to 1."""
    if dtype.is_complex:
        return _complex(shape, dtype, source, _uniform)
    if dtype.itemsize == 8:
        return np.asarray(source.random(shape))
    values = np.asarray(source.random(shape, dtype=np.float32))
    if dtype.itemsize == 2:
        steps = np.float32(1 << _DIGITS[dtype.name])
        values = np.asarray(np.floor(values * steps) / steps)
    return values.astype(dtype.numpy, copy=False)


def _normal(shape: tuple[int, ...], dtype: dtypes.dtype, source: np.random.Generator) -> np.ndarray:
    """Draw standard normal numbers; complex ones have a variance of 1/2 in each part."""
    if dtype.is_complex:
        return _complex(shape, dtype, source, _normal) * dtype.numpy.type(math.sqrt(0.5))
    if dtype.itemsize == 8:
        return np.asarray(source.standard_normal(shape))
    return np.asarray(source.standard_normal(shape, dtype=np.float32)).astype(dtype.numpy, copy=False)


def _complex(
    shape: tuple[int, ...], dtype: dtypes.dtype, source: np.random.Generator, draw: Callable[..., np.ndarray]
) -> np.ndarray:
    """Draw the real and the imaginary parts."""
    part = dtypes.float32 if dtype.itemsize == 8 else dtypes.float64
    return draw((*shape, 2), part, source).view(dtype.numpy)[..., 0]


def _filled_by(
    draw: Callable[..., np.ndarray],
    operation: str,
    shape: tuple[int, ...],
    generator: Generator | None,
    dtype: Any,
    device: Any,
    requires_grad: bool,
) -> Tensor:
    """Return a new tensor of floating-point numbers from `draw`."""
    chosen = dtypes.get_default_dtype() if dtype is None else dtypes.as_dtype(dtype)
    _require_floating_point(operation, chosen, complex_too=True)
    where = as_device(device)
    return _made(draw(shape, chosen, numpy_generator(generator, where)), where, requires_grad)


def _made(values: np.ndarray, where: Device, requires_grad: bool = False) -> Tensor:
    tensor = Tensor._wrap(_on_device(values, where), where)
    return tensor.requires_grad_() if requires_grad else tensor


def _on_device(values: np.ndarray, where: Device) -> Any:
    return values if where is CPU else array_module(where).asarray(values)


def rand(
    *sizes: Any,
    size: Any = None,
    generator: Generator | None = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """Return numbers uniform in [0, 1).

    Args:
        sizes: the shape, as several ints or one sequence; also by the keyword `size`.
        generator: the source (default: the default generator).
        dtype: a floating-point or complex type (default: the default type).
        layout: `strided`, the only one.
        device: where to put the tensor.
        requires_grad: whether gradients are to be computed for it.
        pin_memory: accepted for PyTorch's signature; there is nothing to pin.
    """
    require_strided("rand", layout)
    shape = size_argument("rand", sizes, size)
    return _filled_by(_uniform, "rand", shape, generator, dtype, device, requires_grad)


def randn(
    *sizes: Any,
    size: Any = None,
    generator: Generator | None = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """Return numbers of the standard normal distribution; the arguments are those of `rand`."""
    require_strided("randn", layout)
    shape = size_argument("randn", sizes, size)
    return _filled_by(_normal, "randn", shape, generator, dtype, device, requires_grad)


def _integers(
    operation: str, low: int, last: int, shape: tuple[int, ...], dtype: dtypes.dtype, source: np.random.Generator
) -> np.ndarray:
    """Draw integers of [low, last] after a check that the type holds them."""
    if last < low:
        raise RuntimeError(
            f"{operation}: random_ expects 'from' to be less than 'to', but got from={low} >= to={last + 1}"
        )
    for name, bound in (("from", low), ("to - 1", last)):
        if not _holds(dtype, bound):
            raise RuntimeError(f"{operation}: {name} is out of bounds for {dtype}, got {bound}")
        digits = _DIGITS.get(dtype.name, 64)
        if abs(bound) > 1 << digits:
            warnings.warn(
                f"{operation}: {name} is out of bounds [-(2^{digits}), 2^{digits}]: between some of the integers there"
                f" {dtype} has no room for the others",
                UserWarning,
                stacklevel=4,
            )
    values = np.asarray(source.integers(low, last, shape, np.int64, endpoint=True))
    return values.astype(dtype.numpy, copy=False)


def _holds(dtype: dtypes.dtype, number: float) -> bool:
    """Whether a number lies in the range of a type."""
    if dtype is dtypes.bool:
        return 0 <= number <= 1
    if dtype.category == 1:
        limits = np.iinfo(dtype.numpy)
        return int(limits.min) <= number <= int(limits.max)
    return bool(np.isfinite(quietly(np.asarray(number, np.float64).astype, dtype.numpy)))


def _sequence(operation: str, size: Any) -> tuple[int, ...]:
    if not isinstance(size, (tuple, list)):
        raise TypeError(f"{operation}(): argument 'size' must be tuple of ints, not {type(size).__name__}")
    return size_argument(operation, (size,), None)


def randint(
    low: Any = None,
    high: Any = None,
    size: Any = None,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """Return integers of [low, high); `randint(high, size)` starts at 0.

    Args:
        low: the smallest integer that is drawn.
        high: one more than the largest.
        size: the shape, a sequence.
        generator: the source (default: the default generator).
        dtype: any type that holds the integers (default: int64).
        layout: `strided`, the only one.
        device: where to put the tensor.
        requires_grad: whether gradients are to be computed for it.
        pin_memory: accepted for PyTorch's signature; there is nothing to pin.

    Raises:
        RuntimeError: `low` is not below `high`, or the type does not hold them.
    """
    require_strided("randint", layout)
    if isinstance(high, (tuple, list)) and size is None:
        low, high, size = 0, low, high
    if high is None:
        raise TypeError("randint() received an invalid combination of arguments: expected high and size")
    first, last = _integer("randint", "low", 0 if low is None else low), _integer("randint", "high", high) - 1
    chosen = dtypes.int64 if dtype is None else dtypes.as_dtype(dtype)
    where = as_device(device)
    shape = _sequence("randint", size)
    values = _integers("randint", first, last, shape, chosen, numpy_generator(generator, where))
    return _made(values, where, requires_grad)


def randperm(
    n: int,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """Return the integers below `n` in random order.

    Raises:
        RuntimeError: `n` is negative, or the type does not hold every integer below it.
    """
    require_strided("randperm", layout)
    count = _integer("randperm", "n", n)
    if count < 0:
        raise RuntimeError(f"randperm: n must be non-negative, got {count}")
    chosen = dtypes.int64 if dtype is None else dtypes.as_dtype(dtype)
    if chosen is dtypes.bool or chosen.is_complex:
        raise not_implemented("randperm", chosen, "a type of real numbers")
    digits = 64 if chosen is dtypes.bfloat16 else _DIGITS.get(chosen.name, 64)  # PyTorch lets bfloat16 round
    if not _holds(chosen, count - 1 if count else 0) or count - 1 > 1 << digits:
        raise RuntimeError(f"randperm: n is too large for {chosen}: it does not hold every integer below {count}")
    where = as_device(device)
    return _made(numpy_generator(generator, where).permutation(count).astype(chosen.numpy), where, requires_grad)


def _drawn_like(
    draw: Callable[[tuple[int, ...], dtypes.dtype, np.random.Generator], np.ndarray],
    generator: Generator | None,
    requires_grad: bool,
    target: Tensor,
) -> Tensor:
    """Fill a new tensor with what `draw` returns."""
    values = draw(tuple(target.shape), target.dtype, numpy_generator(generator, target._device))
    target._array[...] = _on_device(values, target._device)
    return target.requires_grad_() if requires_grad else target


def rand_like(
    input: Tensor,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """Return numbers uniform in [0, 1), in the shape, type, device and order in memory of `input`."""
    target = empty_like(input, dtype=dtype, layout=layout, device=device, memory_format=memory_format)
    _require_floating_point("rand_like", target.dtype, complex_too=True)
    return _drawn_like(_uniform, generator, requires_grad, target)


def randn_like(
    input: Tensor,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """Return standard normal numbers in the shape, type, device and order in memory of `input`."""
    target = empty_like(input, dtype=dtype, layout=layout, device=device, memory_format=memory_format)
    _require_floating_point("randn_like", target.dtype, complex_too=True)
    return _drawn_like(_normal, generator, requires_grad, target)


def randint_like(
    input: Tensor,
    low: Any = None,
    high: Any = None,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """Return integers of [low, high), in the shape, type, device and order in memory of `input`.

    `randint_like(input, high)` starts at 0.
    """
    if high is None:
        low, high = 0, low
    if high is None:
        raise TypeError('randint_like() missing 1 required positional arguments: "high"')
    first = _integer("randint_like", "low", 0 if low is None else low)
    last = _integer("randint_like", "high", high) - 1
    target = empty_like(input, dtype=dtype, layout=layout, device=device, memory_format=memory_format)
    return _drawn_like(lambda *drawn: _integers("randint_like", first, last, *drawn), generator, requires_grad, target)


class Drawn(Node):
    """Random numbers in place of, or with parameters taken from, tensors; nothing flows back to those."""

    keeps_state = True

    def __init__(self, name: str, values: np.ndarray) -> None:
        self.name, self.values = name, values

    def forward(self, *arrays: Any) -> Any:
        """Return the numbers, drawn before."""
        self.origins = [(a.shape, dtypes.from_numpy_dtype(a.dtype)) for a in arrays]
        values, self.values = self.values, None  # type: ignore[assignment]  # the graph needs no values
        return _on_device(values, self.where)

    def backward(self, grad: Tensor) -> Any:
        """Return zeros."""
        return tuple(grad.new_zeros(shape, dtype=dtype) for shape, dtype in self.origins)


def _in_place(self: Tensor, name: str, values: np.ndarray) -> Tensor:
    """Overwrite a tensor with values that PyTorch's operation `name` draws."""
    self._refuse_inplace_on_leaf()
    return self._assign(Drawn(name, values)(self))


def _range(operation: str, low: Any, high: Any, names: dict[str, Any]) -> tuple[Any, Any]:
    """Return the bounds given by position or by PyTorch's names `from` and `to`, the first of which Python reserves."""
    unknown = names.keys() - {"from", "to"}
    if unknown:
        raise TypeError(f"{operation}() got an unexpected keyword argument '{min(unknown)}'")
    return names.get("from", low), names.get("to", high)


def _in_type(values: np.ndarray, dtype: dtypes.dtype) -> np.ndarray:
    """Return numbers computed in float32 or float64 in a type."""
    return np.asarray(quietly(np.asarray(values).astype, dtype.numpy))


def _working(dtype: dtypes.dtype) -> dtypes.dtype:
    """Return the type in which numbers of a type are computed."""
    return dtypes.float32 if dtype.is_floating_point and dtype.itemsize < 8 else dtypes.float64


@method
def uniform_(self: Tensor, low: Any = 0.0, high: Any = 1.0, /, *, generator: Any = None, **names: Any) -> Tensor:
    """Fill with numbers uniform in [from, to).

    Args:
        low: the lower end, `from` as a keyword (default: 0).
        high: the upper end, `to` as a keyword (default: 1).
        generator: the source (default: the default generator).
        names: `from` and `to`.

    Raises:
        RuntimeError: `from` is larger than `to`, or the type does not hold one of them or their difference.
    """
    low, high = _range("uniform_", low, high, names)
    a, b = _number("uniform_", "from", low), _number("uniform_", "to", high)
    dtype = self.dtype
    _require_floating_point("uniform_", dtype, complex_too=True)
    for name, bound in (("from", a), ("to", b), ("to - from", b - a)):
        if not _holds(dtype, bound):
            raise RuntimeError(f"uniform_: {name} is out of bounds for {dtype}, got from={a:g}, to={b:g}")
    if a > b:
        raise RuntimeError(f"uniform_ expects to return a [from, to) range, but found from={a:g} > to={b:g}")
    drawn = _uniform(self._array.shape, dtype, numpy_generator(generator, self._device))
    if dtype.is_complex:
        values = drawn * dtype.numpy.type(b - a) + dtype.numpy.type(complex(a, a))
    else:
        working = _working(dtype).numpy
        values = _in_type(drawn.astype(working, copy=False) * working.type(b - a) + working.type(a), dtype)
        end = np.asarray(b, dtype.numpy)
        values = np.where(values == end, np.nextafter(end, np.asarray(a, dtype.numpy)), values)
    return _in_place(self, "UniformBackward0", values)


def _scaled(drawn: np.ndarray, mean: Any, std: Any, dtype: dtypes.dtype) -> np.ndarray:
    """Return standard normal numbers with another mean and standard deviation, numbers or arrays."""
    if dtype.is_complex:
        return _in_type(drawn * std + mean, dtype)
    working = _working(dtype).numpy
    return _in_type(drawn.astype(working, copy=False) * np.asarray(std, working) + np.asarray(mean, working), dtype)


def _require_deviation(operation: str, std: float) -> None:
    if not std >= 0:
        raise RuntimeError(f"{operation} expects std >= 0.0, but found std {std:g}")


@method
def normal_(self: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Fill with normal numbers of the given mean and standard deviation."""
    centre, deviation = _number("normal_", "mean", mean), _number("normal_", "std", std)
    _require_deviation("normal", deviation)
    _require_floating_point("normal_", self.dtype, complex_too=True)
    drawn = _normal(self._array.shape, self.dtype, numpy_generator(generator, self._device))
    return _in_place(self, "NormalBackward0", _scaled(drawn, centre, deviation, self.dtype))


@method
def log_normal_(self: Tensor, mean: float = 1.0, std: float = 2.0, *, generator: Generator | None = None) -> Tensor:
    """Fill with numbers whose logarithms are normal with the given mean and standard deviation."""
    centre, deviation = _number("log_normal_", "mean", mean), _number("log_normal_", "std", std)
    if not deviation > 0:
        raise RuntimeError(f"log_normal_ expects std > 0.0, but found std={deviation:g}")
    _require_floating_point("log_normal_", self.dtype)
    drawn = _normal(self._array.shape, _working(self.dtype), numpy_generator(generator, self._device))
    values = quietly(np.exp, _scaled(drawn, centre, deviation, _working(self.dtype)))
    return _in_place(self, "LogNormalBackward0", _in_type(values, self.dtype))


def _require_continuous(operation: str, distribution: str, dtype: dtypes.dtype) -> None:
    if not dtype.is_floating_point:
        raise RuntimeError(
            f"{operation}: {distribution} distribution is a continuous probability distribution. dtype must be a"
            f" floating point but you specified {dtype}"
        )


@method
def exponential_(self: Tensor, lambd: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Fill with numbers of the exponential distribution with rate `lambd`."""
    rate = _number("exponential_", "lambd", lambd)
    _require_continuous("exponential_", "Exponential", self.dtype)
    if not rate > 0:
        raise RuntimeError(f"exponential_ expects lambda > 0.0, but found lambda={rate:g}")
    drawn = numpy_generator(generator, self._device).standard_exponential(self._array.shape)
    return _in_place(self, "ExponentialBackward0", _in_type(drawn / rate, self.dtype))


@method
def cauchy_(self: Tensor, median: float = 0.0, sigma: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Fill with numbers of the Cauchy distribution with the given median and half-width `sigma`."""
    centre, width = _number("cauchy_", "median", median), _number("cauchy_", "sigma", sigma)
    _require_continuous("cauchy_", "Cauchy", self.dtype)
    if not width > 0:
        raise RuntimeError(f"cauchy_ expects sigma > 0.0, but found sigma={width:g}")
    drawn = numpy_generator(generator, self._device).standard_cauchy(self._array.shape)
    return _in_place(self, "CauchyBackward0", _in_type(np.asarray(drawn) * width + centre, self.dtype))


@method
def geometric_(self: Tensor, p: float, *, generator: Generator | None = None) -> Tensor:
    """Fill with the number of trials up to the first success, which has probability `p` in (0, 1)."""
    probability = _number("geometric_", "p", p)
    if not 0 < probability < 1:
        raise RuntimeError(f"geometric_ expects p to be in (0, 1), but got p={probability:g}")
    if self.dtype is dtypes.bool or self.dtype.is_complex:
        raise not_implemented("geometric_", self.dtype, "a type of real numbers")
    drawn = numpy_generator(generator, self._device).geometric(probability, self._array.shape)
    return _in_place(self, "GeometricBackward0", _in_type(drawn, self.dtype))


@method
def random_(self: Tensor, low: Any = ..., high: Any = ..., /, *, generator: Any = None, **names: Any) -> Tensor:
    """Fill with integers of [from, to).

    `random_(to)` starts at 0; `random_(from, None)` and `random_()` go up to the largest integer up to which the type
    holds every one.

    Args:
        low: the lower end, `from` as a keyword; if alone, the upper one.
        high: the upper end, `to` as a keyword.
        generator: the source (default: the default generator).
        names: `from` and `to`.
    """
    low, high = _range("random_", low, high, names)
    dtype = self.dtype
    digits = _DIGITS.get(dtype.name)
    largest = 1 << digits if digits else 1 if dtype is dtypes.bool else min(int(np.iinfo(dtype.numpy).max), 2**63 - 1)
    if low is ... and high is ...:
        variant, first, last = 2, 0, largest
    elif low is ... or high is ...:
        variant, first, last = 1, 0, _integer("random_", "to", high if low is ... else low) - 1
    else:
        variant, first = 0, _integer("random_", "from", low)
        last = largest if high is None else _integer("random_", "to", high) - 1
    values = _integers("random_", first, last, self._array.shape, dtype, numpy_generator(generator, self._device))
    return _in_place(self, f"RandomBackward{variant}", values)


def _require_probabilities(operation: str, p: np.ndarray) -> None:
    if not ((p >= 0) & (p <= 1)).all():
        raise RuntimeError(f"{operation} expects all elements of p to be in [0, 1]")


def _on_cpu(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu()._array


def _trials(operation: str, p: Any, target: Tensor, generator: Generator | None) -> tuple[np.ndarray, int]:
    """Return successes in a tensor's shape and type, and PyTorch's number of the variant.

    The probability `p` is a number or a tensor.
    """
    shape, dtype = target._array.shape, target._array.dtype
    if target.is_complex():
        raise not_implemented(operation, target.dtype, "a type of real numbers")
    source = numpy_generator(generator, target._device)
    if isinstance(p, Tensor):
        _require_floating_point(operation, p.dtype)
        chances = _on_cpu(p).astype(np.float64)
        _require_probabilities(operation, chances)
        if broadcast_shape(operation, shape, chances.shape) != shape:
            raise RuntimeError(f"{operation}: p of shape {list(p.shape)} does not expand to {list(shape)}")
        return np.asarray(source.random(shape) < chances).astype(dtype), 1
    probability = _number(operation, "p", p)
    if not 0 <= probability <= 1:
        raise RuntimeError(f"{operation} expects p to be in [0, 1], but got p={probability:g}")
    return np.asarray(source.random(shape) < probability).astype(dtype), 2


@method
def bernoulli_(self: Tensor, p: Any = 0.5, *, generator: Generator | None = None) -> Tensor:
    """Fill with ones at probability `p`, a number or a tensor that broadcasts to this one's shape, else zeros."""
    drawn, variant = _trials("bernoulli_", p, self, generator)
    return _in_place(self, f"BernoulliBackward{variant}", drawn)


@method
def bernoulli(input: Tensor, p: Any = None, *, generator: Generator | None = None) -> Tensor:
    """Return ones with the probabilities in `input`, or all with probability `p`; else zeros.

    Raises:
        RuntimeError: a probability lies outside [0, 1].
        NotImplementedError: `input` gives the probabilities and is not of a floating-point type.
    """
    require_tensor("bernoulli", "input", input)
    drawn, _ = _trials("bernoulli", input if p is None else p, input, generator)
    return Drawn("BernoulliBackward0", drawn)(input)


@method
def multinomial(
    input: Tensor, num_samples: int, replacement: bool = False, *, generator: Generator | None = None
) -> Tensor:
    """Return indices drawn with the weights in `input`, int64.

    Args:
        input: weights of the categories, (categories) or (rows, categories): not negative, and not all zero.
        num_samples: how many indices to draw for each row.
        replacement: whether an index may be drawn repeatedly.
        generator: the source (default: the default generator).

    Shape:
        (num_samples) or (rows, num_samples).

    Raises:
        RuntimeError: the weights are none, or fewer than `num_samples` without replacement.
    """
    require_tensor("multinomial", "input", input)
    count = _integer("multinomial", "num_samples", num_samples)
    if input.ndim not in (1, 2):
        raise RuntimeError(f"multinomial: prob_dist must be 1 or 2 dim, got {input.ndim}")
    if not input.is_floating_point():
        raise RuntimeError(f"multinomial only supports floating-point dtypes for input, got: {input.dtype}")
    if count <= 0:
        raise RuntimeError(f"multinomial: cannot sample n_sample <= 0 samples, got {count}")
    weights = _on_cpu(input).astype(np.float64)
    if not replacement and count > weights.shape[-1]:
        raise RuntimeError(
            f"multinomial: cannot sample n_sample > prob_dist.size(-1) samples without replacement, got {count} of"
            f" {weights.shape[-1]}"
        )
    if not (np.isfinite(weights) & (weights >= 0)).all():
        raise RuntimeError("multinomial: probability tensor contains either `inf`, `nan` or element < 0")
    if not (weights.sum(-1) > 0).all():
        raise RuntimeError("invalid multinomial distribution (sum of probabilities <= 0)")
    draw = _with_replacement if replacement else _without_replacement
    return _made(draw(weights, count, numpy_generator(generator, input._device)), input._device)


def _with_replacement(weights: np.ndarray, count: int, source: np.random.Generator) -> np.ndarray:
    """Draw indices by the inverse of the cumulative distribution."""
    rows = weights.reshape(-1, weights.shape[-1])
    drawn = source.random((len(rows), count))
    picked = np.empty(drawn.shape, np.int64)
    for row, index, uniform in zip(rows, picked, drawn, strict=True):
        cumulative = np.cumsum(row)
        index[:] = np.searchsorted(cumulative, uniform * cumulative[-1], side="right")
        np.minimum(index, np.flatnonzero(row)[-1], out=index)  # a product that was rounded up to the end
    return picked.reshape(*weights.shape[:-1], count)


def _without_replacement(weights: np.ndarray, count: int, source: np.random.Generator) -> np.ndarray:
    """Draw indices as the order of arrival of exponential clocks that run at the rates `weights`."""
    arrivals = quietly(np.divide, source.standard_exponential(weights.shape), weights)
    return np.argsort(arrivals, -1, kind="stable")[..., :count]


@method
def poisson(input: Tensor, generator: Generator | None = None) -> Tensor:
    """Return numbers of the Poisson distributions with the rates in `input`, in its type.

    Raises:
        RuntimeError: a rate is negative or NaN.
    """
    require_tensor("poisson", "input", input)
    _require_floating_point("poisson", input.dtype)
    rates = _on_cpu(input).astype(np.float64)
    if not (rates >= 0).all():
        raise RuntimeError("poisson: invalid Poisson rate, expected rate to be non-negative")
    most = 2.0**62  # above it the deviation is nothing to a floating-point number
    drawn = numpy_generator(generator, input._device).poisson(np.minimum(rates, most))
    return Drawn("PoissonBackward0", _in_type(np.where(rates > most, rates, drawn), input.dtype))(input)


@method
def binomial(count: Tensor, prob: Tensor, generator: Generator | None = None) -> Tensor:
    """Return how many of `count` trials succeed that each have probability `prob`; the two broadcast.

    A probability outside [0, 1] counts as the nearer end, a negative count as 0, NaN gives NaN.
    """
    for name, tensor in (("count", count), ("prob", prob)):
        require_tensor("binomial", name, tensor)
        if not tensor.is_floating_point():
            raise ValueError(f"binomial only supports floating-point dtypes for {name}, got: {tensor.dtype}")
    if count.dtype is not prob.dtype:
        raise RuntimeError(f"binomial: Found dtype {prob.dtype} but expected {count.dtype}")
    broadcast_shape("binomial", count._array.shape, prob._array.shape)
    trials, chances = np.broadcast_arrays(*[_on_cpu(x).astype(np.float64) for x in (count, prob)])
    unknown = np.isnan(trials) | np.isnan(chances)
    whole = np.where(unknown, 0, np.clip(trials, 0, 2.0**62)).astype(np.int64)
    drawn = numpy_generator(generator, count._device).binomial(whole, np.where(unknown, 0, np.clip(chances, 0, 1)))
    values = np.where(unknown, np.nan, np.where((chances >= 1) & (trials > 0), trials, drawn))
    return Drawn("BinomialBackward0", _in_type(values, count.dtype))(count, prob)


def normal(
    mean: Any = 0.0,
    std: Any = 1.0,
    size: Any = None,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:
    """Return normal numbers with means and standard deviations given as tensors, or as numbers with a size.

    Args:
        mean: the mean, a number or a tensor.
        std: the standard deviation, a number or a tensor; two tensors broadcast.
        size: the shape, where mean and deviation are numbers.
        generator: the source (default: the default generator).
        dtype: a floating-point type, where mean and deviation are numbers.
        layout: `strided`, the only one.
        device: where to put the tensor, where mean and deviation are numbers.
        pin_memory: accepted for PyTorch's signature; there is nothing to pin.
        requires_grad: whether gradients are to be computed for it, where mean and deviation are numbers.

    Raises:
        RuntimeError: a standard deviation is negative.
    """
    tensors = [value for value in (mean, std) if isinstance(value, Tensor)]
    if bool(tensors) is (size is not None):
        raise TypeError(
            "normal() received an invalid combination of arguments: expected tensors, or numbers and a size, got"
            f" ({type(mean).__name__}, {type(std).__name__}, {type(size).__name__})"
        )
    if tensors:
        return _normal_of(tensors, mean, std, generator)
    require_strided("normal", layout)
    shape = _sequence("normal", size)
    centre, deviation = _number("normal", "mean", mean), _number("normal", "std", std)
    _require_deviation("normal", deviation)

    def draw(shape: tuple[int, ...], dtype: dtypes.dtype, source: np.random.Generator) -> np.ndarray:
        return _scaled(_normal(shape, dtype, source), centre, deviation, dtype)

    return _filled_by(draw, "normal", shape, generator, dtype, device, requires_grad)


def _normal_of(tensors: list[Tensor], mean: Any, std: Any, generator: Generator | None) -> Tensor:
    """Return normal numbers with a mean, a standard deviation or both given as tensors."""
    dtype, where = tensors[0].dtype, tensors[0]._device
    _require_floating_point("normal", dtype, complex_too=True)
    variant = 3 if len(tensors) == 2 else 1 if isinstance(mean, Tensor) else 2
    centre = _on_cpu(mean) if isinstance(mean, Tensor) else _number("normal", "mean", mean)
    if isinstance(std, Tensor):
        deviation: Any = _on_cpu(std)
        if not (deviation >= 0).all():
            raise RuntimeError("normal expects all elements of std >= 0.0")
    else:
        deviation = _number("normal", "std", std)
        _require_deviation("normal", deviation)
    shape = broadcast_shape("normal", *[t._array.shape for t in tensors])
    drawn = _normal(shape, dtype, numpy_generator(generator, where))
    return Drawn(f"NormalBackward{variant}", _scaled(drawn, centre, deviation, dtype))(*tensors)
