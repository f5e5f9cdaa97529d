"""Gradients cut to a largest norm or value."""

from __future__ import annotations

import types
import warnings
from collections.abc import Iterable

from ...autograd.grad_mode import no_grad
from ...creation import tensor
from ...linalg import vector_norm
from ...ops.pointwise import clamp
from ...ops.shape import stack
from ...tensor import Tensor


@no_grad()
def get_total_norm(
    tensors: Tensor | Iterable[Tensor],
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Return the norm of all elements of some tensors together.

    Args:
        tensors: a tensor or several.
        norm_type: the order, also `inf`.
        error_if_nonfinite: refuse a norm that is infinite or NaN.
        foreach: accepted for PyTorch's sake, changes nothing.

    Raises:
        RuntimeError: the norm is not finite, and that is to be refused.

    >>> import nbtorch
    >>> get_total_norm([nbtorch.tensor([3.0]), nbtorch.tensor([4.0])])
    tensor(5.)
    """
    members = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    norm_type = float(norm_type)
    if not members:
        return tensor(0.0)
    norms = [vector_norm(member, norm_type).to(members[0].device) for member in members]
    total = vector_norm(stack(norms), norm_type)
    if error_if_nonfinite and not total.isfinite():
        raise RuntimeError(
            f"The total norm of order {norm_type} for gradients from `parameters` is non-finite, so it cannot be"
            " clipped. To disable this error and scale the gradients by the non-finite norm anyway, set"
            " `error_if_nonfinite=False`"
        )
    return total


def _gradients(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    members = [parameters] if isinstance(parameters, Tensor) else parameters
    return [member.grad for member in members if member.grad is not None]


@no_grad()
def clip_grads_with_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, total_norm: Tensor, foreach: bool | None = None
) -> None:
    """Scale gradients in place so that a norm `total_norm` becomes at most `max_norm`.

    Args:
        parameters: a parameter or several.
        max_norm: the largest norm.
        total_norm: the norm of the gradients, see `get_total_norm`.
        foreach: accepted for PyTorch's sake, changes nothing.
    """
    gradients = _gradients(parameters)
    max_norm = float(max_norm)
    if not gradients:
        return
    factor = clamp(max_norm / (total_norm + 1e-6), max=1.0)
    for gradient in gradients:
        gradient.mul_(factor.to(gradient.device))


@no_grad()
def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scale gradients in place so that their norm, over all parameters together, is at most `max_norm`.

    Args:
        parameters: a parameter or several.
        max_norm: the largest norm.
        norm_type: the order of the norm, also `inf`.
        error_if_nonfinite: refuse a norm that is infinite or NaN.
        foreach: accepted for PyTorch's sake, changes nothing.

    Returns:
        The norm before.

    Raises:
        RuntimeError: the norm is not finite, and that is to be refused.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.clip_grad_norm_.html

    >>> import nbtorch
    >>> weight = nbtorch.nn.Parameter(nbtorch.zeros(2))
    >>> weight.grad = nbtorch.tensor([3.0, 4.0])
    >>> clip_grad_norm_(weight, 1.0)
    tensor(5.)
    >>> weight.grad
    tensor([0.6000, 0.8000])
    """
    if isinstance(parameters, Tensor):
        members = [parameters]
    else:
        members = list(parameters)
        if isinstance(parameters, types.GeneratorType) and not members:
            warnings.warn("`parameters` is an empty generator, no gradient clipping will occur.", stacklevel=3)
    total = get_total_norm(_gradients(members), norm_type, error_if_nonfinite, foreach)
    clip_grads_with_norm_(members, max_norm, total, foreach)
    return total


def clip_grad_norm(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Do what `clip_grad_norm_` does, under its old name."""
    warnings.warn(
        "`torch.nn.utils.clip_grad_norm` is now deprecated in favor of `torch.nn.utils.clip_grad_norm_`.",
        FutureWarning,
        stacklevel=2,
    )
    return clip_grad_norm_(parameters, max_norm, norm_type, error_if_nonfinite, foreach)


@no_grad()
def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None) -> None:
    """Cut the elements of gradients to [-clip_value, clip_value], in place.

    Args:
        parameters: a parameter or several.
        clip_value: the largest value.
        foreach: accepted for PyTorch's sake, changes nothing.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.clip_grad_value_.html
    """
    clip_value = float(clip_value)
    for gradient in _gradients(parameters):
        gradient.clamp_(-clip_value, clip_value)
