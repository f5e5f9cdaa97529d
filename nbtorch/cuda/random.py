"""Random numbers on CUDA devices.

There is one sequence for all devices: NumPy's Philox, drawn as on the CPU, so that a seed gives the same numbers
everywhere. The functions here are `torch.cuda`'s names for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..random import default_generator
from ..tensor import Tensor
from .runtime import require


def manual_seed(seed: int) -> None:
    """Start the sequence that belongs to `seed`; does nothing where CUDA cannot be used, as in PyTorch."""
    from . import is_available

    seed = int(seed)
    if is_available():
        default_generator.manual_seed(seed)


manual_seed_all = manual_seed


def seed() -> None:
    """Start a sequence from a seed taken from the system."""
    require()
    default_generator.seed()


seed_all = seed


def initial_seed() -> int:
    """Return the seed of the present sequence."""
    require()
    return default_generator.initial_seed()


def get_rng_state(device: Any = "cuda") -> Tensor:
    """Return the state of the sequence as a tensor of bytes, for `set_rng_state`."""
    require()
    return default_generator.get_state()


def set_rng_state(new_state: Tensor, device: Any = "cuda") -> None:
    """Go on from a state that `get_rng_state` returned."""
    require()
    default_generator.set_state(new_state)


def get_rng_state_all() -> list[Tensor]:
    """Return the state of each device: the same for all."""
    from . import device_count

    return [get_rng_state() for _ in range(device_count())]


def set_rng_state_all(new_states: Iterable[Tensor]) -> None:
    """Go on from states that `get_rng_state_all` returned."""
    for state in new_states:
        set_rng_state(state)
