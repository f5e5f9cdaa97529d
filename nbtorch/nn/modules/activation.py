"""Activations: a module for each entry of the table in `ops/activation.py`, and those with more than options."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from ...creation import empty
from ...ops.activation import TABLE, Entry
from ...tensor import Tensor
from .. import functional as F
from .. import init
from ..parameter import Parameter
from .module import Module


class Activation(Module):
    """The base class of the modules that apply a function to each element."""

    entry: Entry

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        try:
            bound = self.entry.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{type(self).__name__}.__init__(): {error}") from None
        bound.apply_defaults()
        self.__dict__.update(bound.arguments)

    def forward(self, input: Tensor) -> Tensor:
        """Apply the function to each element."""
        return self.entry.function(input, **{name: getattr(self, name) for name in self.entry.arguments})

    def extra_repr(self) -> str:
        """Return the options, and `inplace` if set."""
        shown = self.entry.shown.format(**self.__dict__)
        if not getattr(self, "inplace", False) or not self.entry.shows_inplace:
            return shown
        return f"{shown}, inplace=True" if shown else "inplace=True"


def _module(entry: Entry, base: type[Activation] = Activation) -> type[Activation]:
    """Make the module of an entry; a base other than Activation changes what it does."""
    members = {
        "entry": entry if base is Activation else base.entry,
        "__module__": __name__,
        "__doc__": f"""{entry.function.__doc__}

    The arguments are those of `nn.functional.{entry.function.__name__}` but for the input.

    Shape: any, and the same.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.{entry.module}.html

    >>> import nbtorch
    >>> nbtorch.nn.{entry.module}({entry.sample_arguments})(nbtorch.zeros(2)).shape
    torch.Size([2])
    """,
    }
    if base.__init__ is Activation.__init__ and entry.arguments:  # others take what their constructor says
        members["__signature__"] = entry.signature
    return type(entry.module, (base,), members)


MODULES: dict[str, Any] = {entry.module: _module(entry) for entry in TABLE.values()}


class _RReLU(Activation):
    entry = TABLE["rrelu"]

    def forward(self, input: Tensor) -> Tensor:
        """Apply the function, with drawn slopes in training."""
        return F.rrelu(input, self.lower, self.upper, self.training, self.inplace)


class _Hardtanh(Activation):
    entry = TABLE["hardtanh"]

    def __init__(
        self,
        min_val: float = -1.0,
        max_val: float = 1.0,
        inplace: bool = False,
        min_value: float | None = None,
        max_value: float | None = None,
    ) -> None:
        for name, value in (("min_val", min_value), ("max_val", max_value)):
            if value is not None:
                warnings.warn(
                    f"keyword argument `{name}ue` is deprecated and renamed to `{name}`", FutureWarning, stacklevel=2
                )
        min_val = min_val if min_value is None else min_value
        max_val = max_val if max_value is None else max_value
        super().__init__(min_val, max_val, inplace)
        if max_val <= min_val:
            raise AssertionError(f"Hardtanh: max_val ({max_val}) must be greater than min_val ({min_val})")


MODULES |= {"RReLU": _module(TABLE["rrelu"], _RReLU), "Hardtanh": _module(TABLE["hardtanh"], _Hardtanh)}


class _ReLU6(_Hardtanh):
    def __init__(self, inplace: bool = False) -> None:
        super().__init__(0.0, 6.0, inplace)

    def extra_repr(self) -> str:
        """Return `inplace` if set."""
        return "inplace=True" if self.inplace else ""


MODULES["ReLU6"] = _module(TABLE["relu6"], _ReLU6)
globals().update(MODULES)

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...


class PReLU(Module):
    """x where it is positive, else a learned weight times x.

    Args:
        num_parameters: one weight for all elements, or one for each channel (dimension 1).
        init: what the weights begin with.
        device: where the weights lie (default: the default device).
        dtype: their type (default: the default dtype).

    Attributes:
        weight: (num_parameters,).

    Shape: any, and the same; (N, C, *) with C weights.

    Source: He et al., 2015, arXiv:1502.01852; https://docs.pytorch.org/docs/stable/generated/torch.nn.PReLU.html

    >>> import nbtorch
    >>> nbtorch.nn.PReLU()(nbtorch.tensor([-1.0, 2.0])).tolist()
    [-0.25, 2.0]
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.num_parameters = num_parameters
        self.init = init
        self.weight = Parameter(empty(num_parameters, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the weights to their initial value."""
        init.constant_(self.weight, self.init)

    def forward(self, input: Tensor) -> Tensor:
        """Apply the function to each element."""
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        """Return the number of weights."""
        return f"num_parameters={self.num_parameters}"


class GLU(Module):
    """The first half along a dimension times the sigmoid of the second half.

    Args:
        dim: the dimension to halve; its extent is even.

    Shape: (*, 2N, *) to (*, N, *).

    Source: Dauphin et al., 2016, arXiv:1612.08083; https://docs.pytorch.org/docs/stable/generated/torch.nn.GLU.html

    >>> import nbtorch
    >>> nbtorch.nn.GLU()(nbtorch.zeros(4, 2)).shape
    torch.Size([4, 1])
    """

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        """Gate the first half by the second."""
        return F.glu(input, self.dim)

    def extra_repr(self) -> str:
        """Return the dimension."""
        return f"dim={self.dim}"


class _AlongDim(Module):
    """A function of all elements along one dimension."""

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def extra_repr(self) -> str:
        """Return the dimension."""
        return f"dim={self.dim}"


class Softmax(_AlongDim):
    """exp(x) divided by its sum along a dimension: the results lie in [0, 1] and sum to 1.

    Args:
        dim: the dimension to sum over (None, deprecated: 0 for tensors of rank 0, 1 and 3, otherwise 1).

    Shape: any, and the same.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Softmax.html

    >>> import nbtorch
    >>> nbtorch.nn.Softmax(dim=1)(nbtorch.zeros(1, 2))
    tensor([[0.5000, 0.5000]])
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalise along the dimension."""
        return F.softmax(input, self.dim)


class LogSoftmax(_AlongDim):
    """The logarithm of the softmax along a dimension, computed without overflow.

    Args:
        dim: the dimension to sum over (None, deprecated: 0 for tensors of rank 0, 1 and 3, otherwise 1).

    Shape: any, and the same.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.LogSoftmax.html

    >>> import nbtorch
    >>> nbtorch.nn.LogSoftmax(dim=1)(nbtorch.zeros(1, 2))
    tensor([[-0.6931, -0.6931]])
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalise along the dimension."""
        return F.log_softmax(input, self.dim)


class Softmin(_AlongDim):
    """The softmax of the negated elements along a dimension.

    Args:
        dim: the dimension to sum over (None, deprecated: 0 for tensors of rank 0, 1 and 3, otherwise 1).

    Shape: any, and the same.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Softmin.html

    >>> import nbtorch
    >>> nbtorch.nn.Softmin(dim=1)(nbtorch.zeros(1, 2))
    tensor([[0.5000, 0.5000]])
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalise along the dimension."""
        return F.softmin(input, self.dim)


class Softmax2d(Module):
    """The softmax over the channels of each position.

    Shape: (N, C, H, W) or (C, H, W), and the same.

    Raises:
        ValueError: an input of another rank.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Softmax2d.html

    >>> import nbtorch
    >>> nbtorch.nn.Softmax2d()(nbtorch.zeros(2, 1, 1)).flatten()
    tensor([0.5000, 0.5000])
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalise along the channels."""
        if input.dim() not in (3, 4):
            raise ValueError(f"Softmax2d: expected input to be 3D or 4D, got {input.dim()}D instead")
        return F.softmax(input, -3)
