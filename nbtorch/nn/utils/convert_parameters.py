"""Parameters as one vector."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...ops.shape import cat
from ...tensor import Tensor


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """Return the elements of all parameters, one after the other, as a vector.

    Raises:
        TypeError: parameters on different devices.

    >>> import nbtorch
    >>> parameters_to_vector([nbtorch.ones(1, 2), nbtorch.zeros(1)])
    tensor([1., 1., 0.])
    """
    members = list(parameters)
    _require_one_device(members)
    return cat([member.view(-1) for member in members])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Set parameters to successive elements of a vector, whose memory they share from then on.

    Raises:
        TypeError: `vec` is no tensor, or parameters lie on different devices.
    """
    if not isinstance(vec, Tensor):
        raise TypeError(f"expected torch.Tensor, but got: {type(vec).__name__}")
    members = list(parameters)
    _require_one_device(members)
    start = 0
    for member in members:
        end = start + member.numel()
        member.data = vec[start:end].view_as(member).data
        start = end


def _require_one_device(members: list[Any]) -> None:
    if len({member.device for member in members}) > 1:
        raise TypeError("Found two parameters on different devices, this is currently not supported.")
