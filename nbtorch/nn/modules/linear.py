"""Linear layers: `Linear`, `LazyLinear`, `Bilinear`, `Identity`."""

from __future__ import annotations

import math
from typing import Any

from ...creation import empty
from ...tensor import Tensor
from .. import functional as F
from .. import init
from ..parameter import Parameter
from .lazy import LazyModuleMixin, is_lazy, uninitialized
from .module import Module


class Identity(Module):
    """Returns its input; takes any arguments, so that it can stand in for any layer.

    Shape: any, and the same.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Identity.html

    >>> from nbtorch import nn
    >>> nn.Identity(54, unused_argument=0.1)("anything")
    'anything'
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, input: Any) -> Any:
        """Return the input."""
        return input


class Linear(Module):
    """An affine map of the last dimension: `input @ weight.T + bias`.

    Weight and bias are drawn uniformly from ±1/sqrt(in_features).

    Args:
        in_features: the extent of the input's last dimension.
        out_features: the extent of the output's last dimension.
        bias: whether a bias is learned and added.
        device: where the parameters lie (default: the default device).
        dtype: their type (default: the default dtype).

    Attributes:
        weight: (out_features, in_features).
        bias: (out_features,), or None.

    Shape: (*, in_features) to (*, out_features).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Linear.html

    >>> import nbtorch
    >>> layer = nbtorch.nn.Linear(20, 30)
    >>> layer(nbtorch.zeros(128, 20)).shape
    torch.Size([128, 30])
    """

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.weight = Parameter(empty(out_features, in_features, device=device, dtype=dtype))
        self.register_parameter("bias", Parameter(empty(out_features, device=device, dtype=dtype)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        reset_weight_and_bias(self.weight, self.bias)

    def forward(self, input: Tensor) -> Tensor:
        """Apply the affine map."""
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Return the sizes."""
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Bilinear(Module):
    """A bilinear map of two inputs: `input1 @ weight[k] @ input2 + bias[k]` for each output k.

    Args:
        in1_features: extent of the first input.
        in2_features: extent of the second input.
        out_features: extent of the output.
        bias: whether to learn a bias.
        device: where the parameters lie.
        dtype: their type.

    Shape: (*, in1_features) and (*, in2_features) to (*, out_features).

    Raises:
        ValueError: `in1_features` is not positive.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Bilinear.html

    >>> import nbtorch
    >>> nbtorch.nn.Bilinear(2, 3, 4)(nbtorch.ones(5, 2), nbtorch.ones(5, 3)).shape
    torch.Size([5, 4])
    """

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if in1_features <= 0:
            raise ValueError(f"in1_features must be > 0, but got {in1_features}")
        self.in1_features = in1_features
        self.in2_features = in2_features
        self.out_features = out_features
        self.weight = Parameter(empty(out_features, in1_features, in2_features, device=device, dtype=dtype))
        self.register_parameter("bias", Parameter(empty(out_features, device=device, dtype=dtype)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial values, uniformly from ±1/sqrt(in1_features)."""
        bound = 1 / math.sqrt(self.in1_features)
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input1: Tensor, input2: Tensor) -> Tensor:
        """Apply the bilinear map."""
        return F.bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Return the sizes."""
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, out_features={self.out_features},"
            f" bias={self.bias is not None}"
        )


class LazyLinear(LazyModuleMixin, Linear):
    """A `Linear` that takes `in_features` from the last dimension of its first input.

    Args:
        out_features: the extent of the output's last dimension.
        bias: whether a bias is learned and added.
        device: where the parameters lie (default: the default device).
        dtype: their type (default: the default dtype).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.LazyLinear.html

    >>> import nbtorch
    >>> nbtorch.nn.LazyLinear(3)(nbtorch.zeros(4, 2)).shape
    torch.Size([4, 3])
    """

    cls_to_become = Linear

    def __init__(self, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None) -> None:
        super().__init__(0, out_features, bias, device, dtype)
        for name in ("weight", "bias"):
            setattr(self, name, uninitialized(getattr(self, name), device, dtype))

    def reset_parameters(self) -> None:
        """Draw new initial values for what has a shape already."""
        if self.in_features and not self.has_uninitialized_params():
            super().reset_parameters()

    def initialize_parameters(self, input: Tensor) -> None:
        """Give the parameters the number of features of the input."""
        if not self.in_features:  # a state_dict may have brought the parameters already
            self.in_features = input.shape[-1]
        if self.has_uninitialized_params():
            self.weight.materialize((self.out_features, self.in_features))
            if is_lazy(self.bias):
                self.bias.materialize((self.out_features,))
            self.reset_parameters()


def reset_weight_and_bias(weight: Tensor, bias: Tensor | None) -> None:
    """Fill both uniformly from ±1/sqrt(fan_in), as PyTorch's linear and convolution layers begin.

    For the weight this is Kaiming's uniform initialisation for a leaky ReLU of slope sqrt(5).
    """
    init.kaiming_uniform_(weight, a=math.sqrt(5))
    if bias is not None:
        fan_in, _ = init.fan_in_and_fan_out(weight)
        if fan_in > 0:
            bound = 1 / math.sqrt(fan_in)
            init.uniform_(bias, -bound, bound)
