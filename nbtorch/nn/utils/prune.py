"""Pruning: parameters multiplied by a mask of zeros and ones, which a hook does before each call of the module.

A pruned parameter `name` of a module becomes the parameter `name_orig` and the buffer `name_mask`; the attribute `name`
is their product. Pruning it again refines the mask.
"""

from __future__ import annotations

import math
import numbers
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any

from ...creation import ones_like, zeros_like
from ...layout import contiguous_format
from ...ops.reduction import norm
from ...ops.sorting import kthvalue, topk
from ...random import rand, rand_like
from ...tensor import Tensor, normalize_dim
from ..modules.hooks import FORWARD_PRE
from .convert_parameters import parameters_to_vector


class BasePruningMethod(ABC):
    """A way to prune; the base class of those in this module and of users' own.

    A subclass sets `PRUNING_TYPE` and defines `compute_mask`. The type says what a further pruning of the same tensor
    gets to see: `"unstructured"` the elements that are left, `"structured"` the slices along `self.dim` that are left,
    `"global"` everything.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.prune.BasePruningMethod.html
    """

    PRUNING_TYPE: str
    _tensor_name: str

    def __call__(self, module: Any, inputs: Any) -> None:
        """Compute the pruned tensor, before a call of the module."""
        setattr(module, self._tensor_name, self.apply_mask(module))

    @abstractmethod
    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """Return the mask of a tensor.

        Args:
            t: the scores of the elements, or their values.
            default_mask: the mask so far, of the same shape.
        """

    def apply_mask(self, module: Any) -> Tensor:
        """Return the pruned tensor of a module."""
        original = getattr(module, self._tensor_name + "_orig")
        return getattr(module, self._tensor_name + "_mask").to(dtype=original.dtype) * original

    @classmethod
    def apply(
        cls, module: Any, name: str, *args: Any, importance_scores: Tensor | None = None, **kwargs: Any
    ) -> BasePruningMethod:
        """Prune a parameter of a module.

        Args:
            module: the module.
            name: the parameter's name.
            args: what the constructor of this class takes.
            importance_scores: scores in the place of the parameter's values, of the same shape.
            kwargs: what the constructor of this class takes.

        Returns:
            The method of pruning, a `PruningContainer` where the parameter was pruned before.

        Raises:
            AssertionError: the scores have another shape.
        """
        number = _hook_of(module, name)
        before = None if number is None else module._call_hooks.pop(number).function
        method: BasePruningMethod = cls(*args, **kwargs)
        method._tensor_name = name
        if before is not None:
            method = _joined(before, method)
        values = getattr(module, name)
        scores = values if importance_scores is None else importance_scores
        if scores.shape != values.shape:
            raise AssertionError(
                f"importance_scores should have the same shape as parameter {name} of {module},"
                f" got {tuple(scores.shape)} and {tuple(values.shape)}"
            )
        if before is None:
            mask = ones_like(values)
            del module._parameters[name]
            module.register_parameter(name + "_orig", values)
        else:
            mask = getattr(module, name + "_mask").detach().clone(memory_format=contiguous_format)
        try:
            module.register_buffer(name + "_mask", method.compute_mask(scores, default_mask=mask))
            setattr(module, name, method.apply_mask(module))
            module.register_forward_pre_hook(method)
        except Exception:
            if before is None:
                del module._parameters[name + "_orig"]
                module.register_parameter(name, values)
            raise
        return method

    def prune(self, t: Tensor, default_mask: Tensor | None = None, importance_scores: Tensor | None = None) -> Tensor:
        """Return a pruned version of a tensor.

        Args:
            t: the tensor.
            default_mask: the mask so far; None for one of ones.
            importance_scores: scores in the place of the tensor's values, of the same shape.

        Raises:
            AssertionError: the scores have another shape.
        """
        scores = t if importance_scores is None else importance_scores
        if scores.shape != t.shape:
            raise AssertionError(
                f"importance_scores should have the same shape as tensor t, got {tuple(scores.shape)} and"
                f" {tuple(t.shape)}"
            )
        mask = ones_like(t) if default_mask is None else default_mask
        return t * self.compute_mask(scores, default_mask=mask)

    def remove(self, module: Any) -> None:
        """Make the pruned tensor an ordinary parameter again; it keeps its zeros."""
        name = self._tensor_name
        pruned = self.apply_mask(module)
        if hasattr(module, name):
            delattr(module, name)
        original = module._parameters.pop(name + "_orig")
        del module._buffers[name + "_mask"]
        original.data = pruned.data
        setattr(module, name, original)


class PruningContainer(BasePruningMethod):
    """Several methods of pruning that apply to one tensor, one after the other.

    Args:
        args: one method, or several.
    """

    def __init__(self, *args: BasePruningMethod) -> None:
        self._pruning_methods: tuple[Any, ...] = ()
        if len(args) == 1:
            self._tensor_name = args[0]._tensor_name
        for method in args:
            self.add_pruning_method(method)

    def add_pruning_method(self, method: Any) -> None:
        """Append a method.

        Raises:
            TypeError: it is no `BasePruningMethod`.
            ValueError: it applies to another tensor.
        """
        if method is not None and not isinstance(method, BasePruningMethod):
            raise TypeError(f"{type(method)} is not a BasePruningMethod subclass")
        if method is not None and self._tensor_name != method._tensor_name:
            raise ValueError(
                f"Can only add pruning methods acting on the parameter named '{self._tensor_name}' to PruningContainer"
                f" {self}. Found '{method._tensor_name}'"
            )
        self._pruning_methods += (method,)

    def __len__(self) -> int:
        return len(self._pruning_methods)

    def __iter__(self) -> Iterator[BasePruningMethod]:
        return iter(self._pruning_methods)

    def __getitem__(self, idx: Any) -> Any:
        return self._pruning_methods[idx]

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """Return the mask so far, refined by the latest method where that finds something left."""
        method = self._pruning_methods[-1]
        left = _left(method, t, default_mask)
        mask = default_mask.to(dtype=t.dtype, copy=True)
        mask[left] = method.compute_mask(t[left], default_mask=default_mask[left]).to(dtype=mask.dtype)
        return mask


def _left(method: BasePruningMethod, t: Tensor, mask: Tensor) -> Any:
    """Return the index of what earlier pruning left, by the kind of the method."""
    if method.PRUNING_TYPE == "unstructured":
        return mask == 1
    if method.PRUNING_TYPE == "global":
        return (slice(None),) * t.ndim
    if method.PRUNING_TYPE != "structured":
        raise ValueError(f"Unrecognized PRUNING_TYPE {method.PRUNING_TYPE}")
    if not hasattr(method, "dim"):
        raise AttributeError('Pruning methods of PRUNING_TYPE "structured" need to have the attribute `dim` defined.')
    axis = normalize_dim(method.dim, t.ndim)
    kept = mask.sum(dim=[d for d in range(t.ndim) if d != axis]) != 0
    return _slices(t, axis, kept)


def _slices(t: Tensor, dim: int, kept: Any) -> tuple[Any, ...]:
    """Return the index of slices along a dimension."""
    index: list[Any] = [slice(None)] * t.ndim
    index[dim] = kept
    return tuple(index)


def _joined(before: BasePruningMethod, method: BasePruningMethod) -> PruningContainer:
    container = before if isinstance(before, PruningContainer) else PruningContainer(before)
    container.add_pruning_method(method)
    return container


def _hook_of(module: Any, name: str | None) -> int | None:
    """Return the number of the hook that prunes a module's tensor, any tensor for None."""
    for number, hook in (module._call_hooks or {}).items():
        method = hook.function
        if hook.kind == FORWARD_PRE and isinstance(method, BasePruningMethod) and name in (None, method._tensor_name):
            return number
    return None


class Identity(BasePruningMethod):
    """Prunes nothing, but makes mask and original parameter."""

    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """Return the mask so far."""
        return default_mask

    @classmethod
    def apply(cls, module: Any, name: str) -> BasePruningMethod:  # type: ignore[override]
        """Give a parameter of a module a mask of ones."""
        return super().apply(module, name)


class RandomUnstructured(BasePruningMethod):
    """Prunes elements at random.

    Args:
        amount: how many elements, or which share of them.
    """

    PRUNING_TYPE = "unstructured"

    def __init__(self, amount: float) -> None:
        _require_amount(amount)
        self.amount = amount

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """Return the mask so far with zeros at random places."""
        count = _count(self.amount, t.numel())
        mask = default_mask.clone(memory_format=contiguous_format)
        if count:
            mask.view(-1)[topk(rand_like(t).view(-1), count).indices] = 0
        return mask

    @classmethod
    def apply(cls, module: Any, name: str, amount: float) -> BasePruningMethod:  # type: ignore[override]
        """Prune a parameter of a module, see `random_unstructured`."""
        return super().apply(module, name, amount=amount)


class L1Unstructured(BasePruningMethod):
    """Prunes the elements of the smallest magnitude.

    Args:
        amount: how many elements, or which share of them.
    """

    PRUNING_TYPE = "unstructured"

    def __init__(self, amount: float) -> None:
        _require_amount(amount)
        self.amount = amount

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """Return the mask so far with zeros at the smallest elements."""
        count = _count(self.amount, t.numel())
        mask = default_mask.clone(memory_format=contiguous_format)
        if count:
            mask.view(-1)[topk(t.abs().view(-1), count, largest=False).indices] = 0
        return mask

    @classmethod
    def apply(  # type: ignore[override]
        cls, module: Any, name: str, amount: float, importance_scores: Tensor | None = None
    ) -> BasePruningMethod:
        """Prune a parameter of a module, see `l1_unstructured`."""
        return super().apply(module, name, amount=amount, importance_scores=importance_scores)


class RandomStructured(BasePruningMethod):
    """Prunes slices (channels) at random.

    Args:
        amount: how many slices, or which share of them.
        dim: the dimension along which slices are counted.
    """

    PRUNING_TYPE = "structured"

    def __init__(self, amount: float, dim: int = -1) -> None:
        _require_amount(amount)
        self.amount = amount
        self.dim = dim

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """Return the mask so far with zeros in random slices."""
        extent = _require_slices(t, self.dim)
        count = _count(self.amount, extent)
        if not count:
            return default_mask
        drawn = rand(extent)
        return _of_slices(t, self.dim, drawn > kthvalue(drawn, count).values, default_mask)

    @classmethod
    def apply(cls, module: Any, name: str, amount: float, dim: int = -1) -> BasePruningMethod:  # type: ignore[override]
        """Prune a parameter of a module, see `random_structured`."""
        return super().apply(module, name, amount=amount, dim=dim)


class LnStructured(BasePruningMethod):
    """Prunes the slices (channels) of the smallest norm.

    Args:
        amount: how many slices, or which share of them.
        n: the norm: a number, `inf`, `-inf`, `'fro'` or `'nuc'`, see `nbtorch.norm`.
        dim: the dimension along which slices are counted.
    """

    PRUNING_TYPE = "structured"

    def __init__(self, amount: float, n: Any, dim: int = -1) -> None:
        _require_amount(amount)
        self.amount = amount
        self.n = n
        self.dim = dim

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """Return the mask so far with zeros in the slices of the smallest norm."""
        extent = _require_slices(t, self.dim)
        count = _count(self.amount, extent)
        axis = self.dim % t.ndim
        norms = norm(t, self.n, [d for d in range(t.ndim) if d != axis])
        kept = topk(norms, extent - count).indices
        return _of_slices(t, self.dim, kept, default_mask) if count else default_mask

    @classmethod
    def apply(  # type: ignore[override]
        cls, module: Any, name: str, amount: float, n: Any, dim: int, importance_scores: Tensor | None = None
    ) -> BasePruningMethod:
        """Prune a parameter of a module, see `ln_structured`."""
        return super().apply(module, name, amount=amount, n=n, dim=dim, importance_scores=importance_scores)


class CustomFromMask(BasePruningMethod):
    """Prunes what a given mask says.

    Args:
        mask: the mask, of the shape of the tensor.
    """

    PRUNING_TYPE = "global"

    def __init__(self, mask: Tensor) -> None:
        self.mask = mask

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """Return the product of both masks."""
        if default_mask.shape != self.mask.shape:
            raise AssertionError(
                f"default_mask shape {tuple(default_mask.shape)} must match self.mask shape {tuple(self.mask.shape)}"
            )
        return default_mask * self.mask.to(dtype=default_mask.dtype)

    @classmethod
    def apply(cls, module: Any, name: str, mask: Tensor) -> BasePruningMethod:  # type: ignore[override]
        """Prune a parameter of a module, see `custom_from_mask`."""
        return super().apply(module, name, mask=mask)


def _of_slices(t: Tensor, dim: int, kept: Any, default_mask: Tensor) -> Tensor:
    """Return the mask so far, with zeros in the slices that are not kept."""
    mask = zeros_like(t)
    mask[_slices(t, dim, kept)] = 1
    return mask.mul_(default_mask.to(dtype=mask.dtype))


def _require_amount(amount: Any) -> None:
    """Refuse what is neither a number of elements nor a share of them."""
    if not isinstance(amount, numbers.Real):
        raise TypeError(f"Invalid type for amount: {amount}. Must be int or float.")
    if not 0 <= float(amount) <= (math.inf if isinstance(amount, numbers.Integral) else 1):
        raise ValueError(f"amount={amount} should either be a float in the range [0, 1] or a non-negative integer")


def _count(amount: Any, size: int) -> int:
    """Return how many of `size` an amount is."""
    count = int(amount) if isinstance(amount, numbers.Integral) else round(amount * size)
    if count > size:
        raise ValueError(f"amount={amount} should be smaller than the number of parameters to prune={size}")
    return count


def _require_slices(t: Tensor, dim: int) -> int:
    """Return the extent of a dimension; refuse tensors without channels."""
    if t.ndim <= 1:
        raise ValueError(
            "Structured pruning can only be applied to multidimensional tensors."
            f" Found tensor of shape {tuple(t.shape)} with {t.ndim} dims"
        )
    if not -t.ndim <= dim < t.ndim:
        raise IndexError(f"Invalid index {dim} for tensor of size {tuple(t.shape)}")
    return t.shape[dim]


def identity(module: Any, name: str) -> Any:
    """Give a parameter a mask of ones; returns the module.

    >>> from nbtorch import nn
    >>> [key for key in identity(nn.Linear(2, 3), "bias").state_dict()]
    ['weight', 'bias_orig', 'bias_mask']
    """
    Identity.apply(module, name)
    return module


def random_unstructured(module: Any, name: str, amount: float) -> Any:
    """Prune elements of a parameter at random; returns the module.

    Args:
        module: the module.
        name: the parameter's name.
        amount: how many elements, or which share of them (a float in [0, 1]).

    Raises:
        TypeError, ValueError: `amount` is no such number.

    >>> from nbtorch import nn
    >>> int(random_unstructured(nn.Linear(2, 3), "weight", amount=2).weight_mask.sum())
    4
    """
    RandomUnstructured.apply(module, name, amount)
    return module


def l1_unstructured(module: Any, name: str, amount: float, importance_scores: Tensor | None = None) -> Any:
    """Prune the elements of the smallest magnitude; returns the module.

    Args:
        module: the module.
        name: the parameter's name.
        amount: how many elements, or which share of them (a float in [0, 1]).
        importance_scores: scores in the place of the parameter's values.

    Raises:
        TypeError, ValueError: `amount` is no such number.
    """
    L1Unstructured.apply(module, name, amount=amount, importance_scores=importance_scores)
    return module


def random_structured(module: Any, name: str, amount: float, dim: int) -> Any:
    """Prune slices of a parameter at random; returns the module.

    Args:
        module: the module.
        name: the parameter's name.
        amount: how many slices, or which share of them (a float in [0, 1]).
        dim: the dimension along which slices are counted.

    Raises:
        TypeError, ValueError: `amount` is no such number, or the parameter has less than two dimensions.
        IndexError: there is no such dimension.
    """
    RandomStructured.apply(module, name, amount, dim)
    return module


def ln_structured(
    module: Any, name: str, amount: float, n: Any, dim: int, importance_scores: Tensor | None = None
) -> Any:
    """Prune the slices of the smallest norm; returns the module.

    Args:
        module: the module.
        name: the parameter's name.
        amount: how many slices, or which share of them (a float in [0, 1]).
        n: the norm: a number, `inf`, `-inf`, `'fro'` or `'nuc'`.
        dim: the dimension along which slices are counted.
        importance_scores: scores in the place of the parameter's values.

    Raises:
        TypeError, ValueError: `amount` is no such number, or the parameter has less than two dimensions.
        IndexError: there is no such dimension.
    """
    LnStructured.apply(module, name, amount, n, dim, importance_scores=importance_scores)
    return module


def global_unstructured(
    parameters: Any, pruning_method: Any, importance_scores: dict[Any, Tensor] | None = None, **kwargs: Any
) -> None:
    """Prune several parameters as if they were one.

    Args:
        parameters: pairs of a module and a parameter's name.
        pruning_method: a class of pruning whose type is `"unstructured"`.
        importance_scores: scores in the place of values, by such pairs.
        kwargs: what the class takes, such as `amount`.

    Raises:
        TypeError: the arguments have other types, or the class is of another type of pruning.
    """
    if not isinstance(parameters, Iterable):
        raise TypeError("global_unstructured(): parameters is not an Iterable")
    if importance_scores is not None and not isinstance(importance_scores, dict):
        raise TypeError("global_unstructured(): importance_scores must be of type dict")
    pairs = list(parameters)
    values = [getattr(module, name) for module, name in pairs]
    scores = [(importance_scores or {}).get(pair, value) for pair, value in zip(pairs, values, strict=True)]
    masks = [
        getattr(module, name + "_mask", ones_like(value)) for (module, name), value in zip(pairs, values, strict=True)
    ]
    container, method = PruningContainer(), pruning_method(**kwargs)
    container._tensor_name = method._tensor_name = "temp"
    if method.PRUNING_TYPE != "unstructured":
        raise TypeError(
            'Only "unstructured" PRUNING_TYPE supported for the `pruning_method`.'
            f" Found method {pruning_method} of type {method.PRUNING_TYPE}"
        )
    container.add_pruning_method(method)
    mask = container.compute_mask(parameters_to_vector(scores), parameters_to_vector(masks))
    pieces = mask.split([value.numel() for value in values])
    for (module, name), value, piece in zip(pairs, values, pieces, strict=True):
        custom_from_mask(module, name, mask=piece.view_as(value))


def custom_from_mask(module: Any, name: str, mask: Tensor) -> Any:
    """Prune what a mask says; returns the module.

    Args:
        module: the module.
        name: the parameter's name.
        mask: zeros and ones, of the parameter's shape.

    >>> import nbtorch
    >>> custom_from_mask(nbtorch.nn.Linear(5, 3), name="bias", mask=nbtorch.tensor([0, 1, 0])).bias_mask
    tensor([0., 1., 0.])
    """
    CustomFromMask.apply(module, name, mask)
    return module


def remove(module: Any, name: str) -> Any:
    """Make a pruned parameter an ordinary one again, with its zeros; returns the module.

    Raises:
        ValueError: the parameter is not pruned.
    """
    number = _hook_of(module, name)
    if number is None:
        raise ValueError(f"Parameter '{name}' of module {module} has to be pruned before pruning can be removed")
    module._call_hooks.pop(number).function.remove(module)
    return module


def is_pruned(module: Any) -> bool:
    """Whether a parameter of a module, or of a module in it, is pruned.

    >>> from nbtorch import nn
    >>> is_pruned(nn.Linear(2, 2)), is_pruned(identity(nn.Linear(2, 2), "weight"))
    (False, True)
    """
    return any(_hook_of(part, None) is not None for part in module.modules())
