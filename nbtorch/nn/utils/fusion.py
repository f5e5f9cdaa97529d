"""Batch norms in evaluation, folded into the layer before them."""

from __future__ import annotations

import copy
from typing import Any

from ...creation import ones_like, zeros_like
from ...tensor import Tensor
from ..parameter import Parameter


def fuse_conv_bn_eval(conv: Any, bn: Any, transpose: bool = False) -> Any:
    """Return a convolution that does what `conv` and then `bn` do, both in evaluation mode.

    Args:
        conv: a convolution.
        bn: a batch norm with running statistics.
        transpose: whether the convolution is transposed.

    Raises:
        AssertionError: a module in training mode, or no running statistics.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.fuse_conv_bn_eval.html
    """
    _require_eval(conv, bn)
    fused = copy.deepcopy(conv)
    _require_statistics(bn)
    fused.weight, fused.bias = fuse_conv_bn_weights(
        fused.weight, fused.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias, transpose
    )
    return fused


def fuse_linear_bn_eval(linear: Any, bn: Any) -> Any:
    """Return a linear layer that does what `linear` and then `bn` do, both in evaluation mode.

    Raises:
        AssertionError: a module in training mode, no running statistics, or sizes that do not fit.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.fuse_linear_bn_eval.html
    """
    _require_eval(linear, bn)
    fused = copy.deepcopy(linear)
    if bn.num_features not in (linear.out_features, 1):
        raise AssertionError(
            "To fuse, linear.out_features == bn.num_features or bn.num_features == 1, got"
            f" linear.out_features={linear.out_features} and bn.num_features={bn.num_features}"
        )
    _require_statistics(bn)
    fused.weight, fused.bias = fuse_linear_bn_weights(
        fused.weight, fused.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias
    )
    return fused


def fuse_conv_bn_weights(
    conv_w: Tensor,
    conv_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor | None,
    bn_b: Tensor | None,
    transpose: bool = False,
) -> tuple[Parameter, Parameter]:
    """Return weight and bias of a convolution followed by a batch norm with these statistics and parameters.

    Args:
        conv_w: the convolution's weight, (O, I, *), transposed (I, O, *).
        conv_b: its bias, (O,) or None.
        bn_rm: the running mean, (O,).
        bn_rv: the running variance, (O,).
        bn_eps: what is added to the variance.
        bn_w: the batch norm's weight, (O,) or None.
        bn_b: its bias, (O,) or None.
        transpose: whether the convolution is transposed.
    """
    bias = zeros_like(bn_rm) if conv_b is None else conv_b
    shape = [1, -1] if transpose else [-1, 1]
    return _fused(
        conv_w,
        bias,
        conv_w.dtype if conv_b is None else conv_b.dtype,
        bn_rm,
        (bn_rv + bn_eps).rsqrt(),
        ones_like(bn_rm) if bn_w is None else bn_w,
        zeros_like(bn_rm) if bn_b is None else bn_b,
        shape + [1] * (conv_w.ndim - 2),
    )


def fuse_linear_bn_weights(
    linear_w: Tensor,
    linear_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor,
    bn_b: Tensor,
) -> tuple[Parameter, Parameter]:
    """Return weight and bias of a linear layer followed by a batch norm; arguments as in `fuse_conv_bn_weights`."""
    bias = zeros_like(bn_rm) if linear_b is None else linear_b
    kind = linear_w.dtype if linear_b is None else linear_b.dtype
    return _fused(linear_w, bias, kind, bn_rm, (bn_rv + bn_eps).rsqrt(), bn_w, bn_b, [-1, 1])


def _fused(
    weight: Tensor,
    bias: Tensor,
    bias_dtype: Any,
    mean: Tensor,
    inverse: Tensor,
    scale: Any,
    shift: Any,
    shape: list[int],
) -> tuple[Parameter, Parameter]:
    fused_weight = (weight * (scale * inverse).reshape(shape)).to(dtype=weight.dtype)
    fused_bias = ((bias - mean) * inverse * scale + shift).to(dtype=bias_dtype)
    return Parameter(fused_weight, weight.requires_grad), Parameter(fused_bias, bias.requires_grad)


def _require_eval(*modules: Any) -> None:
    if any(module.training for module in modules):
        raise AssertionError("Fusion only for eval!")


def _require_statistics(bn: Any) -> None:
    if bn.running_mean is None or bn.running_var is None:
        raise AssertionError("bn.running_mean and bn.running_var must not be None")
