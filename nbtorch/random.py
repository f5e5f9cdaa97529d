"""Pseudo-random numbers: generators with seeds, and tensors of random values.

Numbers are drawn by NumPy's Philox, a counter-based generator: the same seed gives the same numbers on every machine,
device and number of threads. They are not the numbers that PyTorch draws for the same seed.
"""

from __future__ import annotations

import secrets
from typing import Any

import numpy as np

from . import dtypes
from .device import CPU, array_module, as_device
from .limits import finfo
from .ops.operands import size_argument
from .tensor import Tensor, method


class Generator:
    """A source of pseudo-random numbers with a state of its own."""

    def __init__(self, device: Any = "cpu") -> None:
        self.device = as_device(device)
        self._seed = 0
        self.manual_seed(0x8BADF00D)

    def manual_seed(self, seed: int) -> Generator:
        """Start the sequence that belongs to `seed`; returns the generator."""
        self._seed = int(seed)
        self._numpy = np.random.Generator(np.random.Philox(self._seed % (1 << 64)))
        return self

    def seed(self) -> int:
        """Start a sequence from a seed taken from the system, and return the seed."""
        return self.manual_seed(secrets.randbits(63))._seed

    def initial_seed(self) -> int:
        """Return the seed of the present sequence."""
        return self._seed

    def get_state(self) -> Tensor:
        """Return the state as a tensor of bytes, for `set_state`."""
        state = self._numpy.bit_generator.state
        words = np.concatenate(
            [
                state["state"]["counter"],
                state["state"]["key"],
                state["buffer"],
                np.array(
                    [state["buffer_pos"], state["has_uint32"], state["uinteger"], self._seed % (1 << 64)], np.uint64
                ),
            ]
        ).astype(np.uint64)
        return Tensor._wrap(words.view(np.uint8).copy())

    def set_state(self, new_state: Tensor) -> None:
        """Go on from a state that `get_state` returned."""
        if not isinstance(new_state, Tensor) or new_state.dtype is not dtypes.uint8 or new_state.numel() != 112:
            raise TypeError("set_state: expected the tensor of 112 bytes that get_state returns")
        words = np.frombuffer(new_state._array.tobytes(), np.uint64)
        self._seed = int(words[13])
        self._numpy.bit_generator.state = {
            "bit_generator": "Philox",
            "state": {"counter": words[0:4].copy(), "key": words[4:6].copy()},
            "buffer": words[6:10].copy(),
            "buffer_pos": int(words[10]),
            "has_uint32": int(words[11]),
            "uinteger": int(words[12]),
        }


default_generator = Generator()


def manual_seed(seed: int) -> Generator:
    """Start the default generator's sequence that belongs to `seed`, and return the generator."""
    return default_generator.manual_seed(seed)


def seed() -> int:
    """Start the default generator from a seed taken from the system, and return the seed."""
    return default_generator.seed()


def initial_seed() -> int:
    """Return the seed of the default generator."""
    return default_generator.initial_seed()


def get_rng_state() -> Tensor:
    """Return the default generator's state."""
    return default_generator.get_state()


def set_rng_state(new_state: Tensor) -> None:
    """Set the default generator's state."""
    default_generator.set_state(new_state)


def numpy_generator(generator: Generator | None) -> np.random.Generator:
    """Return NumPy's generator inside a generator, or inside the default one."""
    return (generator or default_generator)._numpy


def _floats(kind: str, shape: tuple[int, ...], dtype: dtypes.dtype, generator: Generator | None) -> np.ndarray:
    """Draw uniform numbers in [0, 1) (`"random"`) or normal ones (`"standard_normal"`)."""
    if dtype.is_complex:
        part = dtype.to_real()
        pairs = _floats(kind, (*shape, 2), part, generator)
        if kind == "standard_normal":  # the variance of a complex number is that of both its parts together
            pairs *= part.numpy.type(0.5**0.5)
        return pairs.view(dtype.numpy)[..., 0]
    draw = getattr(numpy_generator(generator), kind)
    if dtype is dtypes.float64:
        return np.asarray(draw(shape))
    values = np.asarray(draw(shape, dtype=np.float32))
    if dtype.itemsize == 2:
        halves = values.astype(dtype.numpy)
        # rounding must not reach 1
        return np.minimum(halves, np.asarray(1 - finfo(dtype).eps / 2, dtype.numpy)) if kind == "random" else halves
    return values


def _made(array: np.ndarray, device: Any, requires_grad: bool) -> Tensor:
    where = as_device(device)
    tensor = Tensor._new_from(array if where is CPU else array_module(where).asarray(array), where)
    return tensor.requires_grad_() if requires_grad else tensor


def _floating(operation: str, dtype: Any) -> dtypes.dtype:
    chosen = dtypes.get_default_dtype() if dtype is None else dtypes.as_dtype(dtype)
    if chosen.category < 2:
        raise RuntimeError(f'"{operation}" not implemented for {chosen}: dtype must be floating point or complex')
    return chosen


def rand(
    *sizes: Any,
    size: Any = None,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return numbers uniform in [0, 1)."""
    shape = size_argument("rand", sizes, size)
    return _made(_floats("random", shape, _floating("rand", dtype), generator), device, requires_grad)


def randn(
    *sizes: Any,
    size: Any = None,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return numbers of the standard normal distribution."""
    shape = size_argument("randn", sizes, size)
    return _made(_floats("standard_normal", shape, _floating("randn", dtype), generator), device, requires_grad)


def randint(
    low: int,
    high: Any = None,
    size: Any = None,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return integers of [low, high); `randint(high, size)` starts at 0."""
    if size is None:
        low, high, size = 0, low, high
    if high <= low:
        raise RuntimeError(f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}")
    values = numpy_generator(generator).integers(low, high, tuple(size), np.int64)
    chosen = dtypes.int64 if dtype is None else dtypes.as_dtype(dtype)
    return _made(np.asarray(values).astype(chosen.numpy), device, requires_grad)


def randperm(
    n: int, *, generator: Generator | None = None, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Return the integers below `n` in random order."""
    if n < 0:
        raise RuntimeError(f"n must be non-negative, got {n}")
    chosen = dtypes.int64 if dtype is None else dtypes.as_dtype(dtype)
    return _made(numpy_generator(generator).permutation(n).astype(chosen.numpy), device, requires_grad)


def rand_like(input: Tensor, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Return numbers uniform in [0, 1), in the shape, type and device of `input`."""
    where = input.device if device is None else device
    return rand(input.shape, dtype=dtype or input.dtype, device=where, requires_grad=requires_grad)


def randn_like(input: Tensor, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Return normal numbers in the shape, type and device of `input`."""
    where = input.device if device is None else device
    return randn(input.shape, dtype=dtype or input.dtype, device=where, requires_grad=requires_grad)


def _fill_in_place(self: Tensor, values: np.ndarray, origin: str = "RandomBackward0") -> Tensor:
    """Replace all values; `origin` is what the operation prints as in the graph."""
    self._refuse_inplace_on_leaf()
    self._array[...] = values if isinstance(self._array, np.ndarray) else self._xp.asarray(values)
    self._bump_version()
    self._forget(origin)
    return self


@method
def uniform_(
    self: Tensor, a: float = 0.0, b: float = 1.0, *, generator: Generator | None = None, **names: float
) -> Tensor:
    """Fill with numbers uniform in [a, b); PyTorch's names `from` and `to` are accepted."""
    a, b = names.get("from", a), names.get("to", b)
    if a > b:
        raise RuntimeError(f"uniform_ expects to return a [from, to) range, but found from={a} > to={b}")
    values = _floats("random", self._array.shape, _floating("uniform_", self.dtype), generator)
    return _fill_in_place(self, values * self._array.dtype.type(b - a) + self._array.dtype.type(a), "UniformBackward0")


@method
def normal_(self: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Fill with normal numbers of the given mean and standard deviation."""
    if std < 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std}")
    values = _floats("standard_normal", self._array.shape, _floating("normal_", self.dtype), generator)
    return _fill_in_place(self, values * self._array.dtype.type(std) + self._array.dtype.type(mean), "NormalBackward0")


@method
def bernoulli_(self: Tensor, p: float = 0.5, *, generator: Generator | None = None) -> Tensor:
    """Fill with ones at probability `p`, else zeros."""
    if not 0 <= p <= 1:
        raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={p}")
    return _fill_in_place(self, numpy_generator(generator).random(self._array.shape) < p, "BernoulliBackward1")


@method
def random_(self: Tensor, low: int = 0, high: int | None = None, *, generator: Generator | None = None) -> Tensor:
    """Fill with integers of [low, high); `random_(high)` starts at 0."""
    if high is None:
        low, high = (0, low) if low else (0, 1 << min(self.dtype.itemsize * 8 - 1, 53))
    return _fill_in_place(self, np.asarray(numpy_generator(generator).integers(low, high, self._array.shape)))


def normal(
    mean: Any, std: Any = 1.0, size: Any = None, *, generator: Generator | None = None, **options: Any
) -> Tensor:
    """Return normal numbers with means and standard deviations given as numbers or tensors."""
    shape = size if size is not None else (mean if isinstance(mean, Tensor) else std).shape
    return randn(shape, generator=generator, **options) * std + mean


def bernoulli(input: Tensor, *, generator: Generator | None = None) -> Tensor:
    """Return ones with the probabilities in `input`, else zeros."""
    drawn = numpy_generator(generator).random(input.shape)
    probabilities = input.detach().cpu()._array
    return _made((drawn < probabilities).astype(probabilities.dtype), input.device, False)
