"""Attention: argument forms and checks, for `nn.functional`."""

from __future__ import annotations

import math
import warnings
from typing import Any

from .. import dtypes
from ..creation import zeros
from ..ops.attention import Attention, Dropped, JoinHeads, SplitHeads, composed
from ..ops.dropout import Dropout
from ..ops.loss import Softmax
from ..ops.matmul import linear
from ..ops.operands import broadcast_shape, require_tensor, to_dtype
from ..ops.shape import cat
from ..random import numpy_generator, random_keys
from ..tensor import Tensor
from .attention import SDPBackend, allowed
from .padding import pad

__all__ = ["multi_head_attention_forward", "scaled_dot_product_attention"]


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Return softmax(scale·query key^T + mask) value.

    A blocked kernel computes it and its gradients without holding the L × S probabilities; only a mask that requires a
    gradient takes the plain way.

    Args:
        query: (N, ..., H, L, E), with any leading dimensions, which broadcast against those of the others.
        key: (N, ..., H, S, E).
        value: (N, ..., H, S, V).
        attn_mask: broadcasts to (N, ..., H, L, S); booleans, of which False hides a key, or numbers that are added.
            A query that sees nothing yields 0.
        dropout_p: the probability with which probabilities are dropped, in evaluation as well.
        is_causal: hide the keys whose index is larger than the query's.
        scale: by default 1/sqrt(E).
        enable_gqa: let key and value have fewer heads, each for as many neighbouring heads of the query.

    Returns:
        (N, ..., H, L, V).

    Raises:
        RuntimeError: shapes, types or devices do not fit, or a mask beside `is_causal` where that is ambiguous.

    Source: Vaswani et al., 2017, arXiv:1706.03762; Dao et al., 2022, arXiv:2205.14135.

    >>> import nbtorch, nbtorch.nn.functional as F
    >>> x = nbtorch.ones(1, 2, 3, 4)
    >>> F.scaled_dot_product_attention(x, x, x, is_causal=True).shape
    torch.Size([1, 2, 3, 4])
    """
    _check_tensors(query, key, value)
    _check_options(query, value, attn_mask, dropout_p, is_causal, scale, enable_gqa)
    if enable_gqa:
        key, value = _grouped(query, key, value)
    heads = 3 if enable_gqa else 2
    batch = broadcast_shape("scaled_dot_product_attention", *[t._array.shape[:-heads] for t in (query, key, value)])
    wanted = (*batch, *query._array.shape[-heads:-1], key._array.shape[-2])
    mask = None if attn_mask is None else _broadcast_mask(attn_mask, wanted)
    q, k, v = (_four(_expanded(t, batch, heads)) for t in (query, key, value))
    factor = 1 / math.sqrt(q._array.shape[3]) if scale is None and q._array.shape[3] else float(scale or 0.0)
    if mask is not None:
        mask = _four(mask)
    drop = Dropped(dropout_p, int(numpy_generator(None).integers(2**63))) if dropout_p > 0 else None
    if _needs_probabilities(mask):
        result = composed(q, k, v, mask, is_causal, factor, drop)
    elif mask is None:
        result = Attention(is_causal, factor, drop)(q, k, v)
    else:
        mask = mask if mask.dtype is dtypes.bool else to_dtype(mask, _computed_type(q))
        result = Attention(is_causal, factor, drop)(q, k, v, mask)
    return result if query.ndim == 4 == len(batch) + heads else result.reshape(*wanted[:-1], value._array.shape[-1])


def _needs_probabilities(mask: Tensor | None) -> bool:
    """Say whether the kernel cannot serve, or must not."""
    ways = allowed.get()
    plain = SDPBackend.FLASH_ATTENTION not in ways or (mask is not None and mask.requires_grad)
    if plain and SDPBackend.MATH not in ways:
        raise RuntimeError(
            "No viable backend for scaled_dot_product_attention was found. This is likely due to turning off both the"
            " math kernel and the fused kernels."
        )
    return plain


def _computed_type(q: Tensor) -> dtypes.dtype:
    return dtypes.float32 if q.itemsize == 2 else q.dtype


def _check_tensors(query: Tensor, key: Tensor, value: Tensor) -> None:
    name = "scaled_dot_product_attention"
    for argument, tensor in (("query", query), ("key", key), ("value", value)):
        require_tensor(name, argument, tensor)
    given = f"query.{{0}}: {query.dtype} key.{{0}}: {key.dtype} and value.{{0}}: {value.dtype} instead."
    if not query.dtype is key.dtype is value.dtype:
        raise RuntimeError(f"Expected query, key, and value to have the same dtype, but got {given.format('dtype')}")
    if not query._device == key._device == value._device:
        raise RuntimeError(
            f"Expected query, key, and value to have the same device type, but got query.device: {query.device}"
            f" key.device: {key.device} and value.device: {value.device} instead."
        )
    if min(query.ndim, key.ndim, value.ndim) < 2:
        raise RuntimeError(
            f"Expected query, key, and value to all be  at least 2 dimensional, but got query.dim: {query.ndim}"
            f" key.dim: {key.ndim} and value.dim: {value.ndim} instead."
        )
    if query.is_complex():
        raise NotImplementedError(f"{name}: not implemented for {query.dtype}: expected a floating-point type")
    if not query.is_floating_point():
        raise RuntimeError(f"{name}: expected a floating-point type, got {query.dtype}")
    if query._array.shape[-1] != key._array.shape[-1] or key._array.shape[-2] != value._array.shape[-2]:
        raise RuntimeError(
            f"{name}: expected query (..., L, E), key (..., S, E) and value (..., S, V), got shapes"
            f" {tuple(query.shape)}, {tuple(key.shape)} and {tuple(value.shape)}"
        )


def _check_options(
    query: Tensor, value: Tensor, mask: Any, dropout_p: Any, is_causal: Any, scale: Any, enable_gqa: Any
) -> None:
    name = "scaled_dot_product_attention"
    for argument, flag in (("is_causal", is_causal), ("enable_gqa", enable_gqa)):
        if not isinstance(flag, bool):
            raise TypeError(f"{name}(): argument '{argument}' must be bool, not {type(flag).__name__}")
    for argument, number in (("dropout_p", dropout_p), ("scale", scale)):
        if not isinstance(number, (int, float)) and (argument != "scale" or number is not None):
            raise TypeError(f"{name}(): argument '{argument}' must be float, not {type(number).__name__}")
    if not 0 <= dropout_p <= 1:
        raise RuntimeError(f"dropout probability has to be between 0 and 1, but got {dropout_p}")
    if mask is None:
        return
    require_tensor(name, "attn_mask", mask)
    if mask.dtype not in (dtypes.bool, dtypes.float32, query.dtype):
        raise RuntimeError(
            f"Expected attn_mask dtype to be bool or float or to match query dtype, but got attn_mask.dtype:"
            f" {mask.dtype} and  query.dtype: {query.dtype} instead."
        )
    fused = query.ndim == 4 and query._array.shape[-1] == value._array.shape[-1] and not dropout_p
    if is_causal and (not fused or mask.requires_grad):
        raise RuntimeError(f"{name}: Explicit attn_mask should not be set when is_causal=True")
    if query.ndim == 4 and mask.ndim < 2:
        raise IndexError(f"{name}: expected an attn_mask of two dimensions or more, got shape {tuple(mask.shape)}")


def _grouped(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Check that the heads of key and value divide those of the query; return both with the same number."""
    shapes = [t._array.shape for t in (query, key, value)]
    if min(map(len, shapes)) < 3:
        raise IndexError("scaled_dot_product_attention: enable_gqa expects (..., H, L, E), got a tensor without heads")
    heads, groups, value_groups = (shape[-3] for shape in shapes)
    for count in (groups, value_groups):
        if count and heads % count:
            raise RuntimeError(
                f"Number of heads in key and value must divide the number of heads in query, got {groups},"
                f" {value_groups} and {heads}"
            )
    if 0 in (groups, value_groups) and heads:
        key, value = (t.new_zeros((*t.shape[:-3], heads, *t.shape[-2:])) for t in (key, value))
    elif groups != value_groups:
        key = key.repeat_interleave(heads // groups, -3)
        value = value.repeat_interleave(heads // value_groups, -3)
    return key, value


def _expanded(t: Tensor, batch: tuple[int, ...], own: int) -> Tensor:
    shape = t._array.shape
    return t if shape[:-own] == batch else t.expand(*batch, *shape[-own:])


def _four(t: Tensor) -> Tensor:
    """Return a tensor as (N, H, rows, columns)."""
    shape = t._array.shape
    if len(shape) == 4:
        return t
    heads = shape[-3] if len(shape) > 2 else 1
    return t.reshape(math.prod(shape[:-3]), heads, *shape[-2:])


def _broadcast_mask(mask: Tensor, wanted: tuple[int, ...]) -> Tensor:
    given = mask._array.shape
    if given == wanted:
        return mask
    if broadcast_shape("scaled_dot_product_attention", given, wanted) != wanted:
        raise RuntimeError(f"output with shape {list(wanted)} doesn't match the shape of attn_mask, {list(given)}")
    return mask.expand(*wanted)


def multi_head_attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Project to several heads, attend in each, and project their results together; see `nn.MultiheadAttention`.

    Args:
        query: (L, N, E), or (L, E) without a batch.
        key: (S, N, E) or (S, E).
        value: (S, N, E) or (S, E).
        embed_dim_to_check: E.
        num_heads: how many heads E is divided into.
        in_proj_weight: (3 E, E), for queries, keys and values one below the other.
        in_proj_bias: (3 E,), or None.
        bias_k: (1, 1, E), a key that is appended, or None.
        bias_v: (1, 1, E), its value.
        add_zero_attn: append a key and a value of zeros.
        dropout_p: with which probability to drop probabilities, in training.
        out_proj_weight: (E, E).
        out_proj_bias: (E,), or None.
        training: whether to drop.
        key_padding_mask: (N, S) or (S,); True hides a key, numbers are added.
        need_weights: return the probabilities too.
        attn_mask: (L, S) or (N · num_heads, L, S); True hides, numbers are added.
        use_separate_proj_weight: take the three weights that follow in place of `in_proj_weight`.
        q_proj_weight: (E, E).
        k_proj_weight: (E, features of key).
        v_proj_weight: (E, features of value).
        static_k: (N · num_heads, S, E / num_heads), in place of the projected keys.
        static_v: likewise for the values.
        average_attn_weights: return the mean of the probabilities over heads.
        is_causal: says that `attn_mask` is the causal mask.

    Returns:
        The result, shaped as `query`, and the probabilities (N, L, S) or (N, num_heads, L, S), or None.

    Raises:
        AssertionError: shapes do not fit.
        RuntimeError: `attn_mask` has the wrong shape, or `is_causal` comes without it.

    Source: Vaswani et al., 2017, arXiv:1706.03762.
    """
    weights = (q_proj_weight, k_proj_weight, v_proj_weight) if use_separate_proj_weight else in_proj_weight
    heads = Heads(num_heads, add_zero_attn, dropout_p if training else 0.0, need_weights, average_attn_weights)
    return heads.attend(
        *(query, key, value, embed_dim_to_check, weights, in_proj_bias, bias_k, bias_v, out_proj_weight),
        *(out_proj_bias, key_padding_mask, attn_mask, static_k, static_v, is_causal),
    )


def _is_batched(query: Tensor, key: Tensor, value: Tensor, padding: Any, mask: Any, num_heads: int) -> bool:
    """Say whether there is a batch; an AssertionError where the ranks disagree."""
    ndim = query.dim()
    if ndim not in (2, 3):
        raise AssertionError(f"query should be unbatched 2D or batched 3D tensor but received {ndim}-D query tensor")
    kind = "batched (3-D)" if ndim == 3 else "unbatched (2-D)"
    if key.dim() != ndim or value.dim() != ndim:
        raise AssertionError(
            f"For {kind} `query`, expected `key` and `value` to be {ndim}-D but found {key.dim()}-D and"
            f" {value.dim()}-D tensors respectively"
        )
    if padding is not None and padding.dim() != ndim - 1:
        raise AssertionError(
            f"For {kind} `query`, expected `key_padding_mask` to be `None` or {ndim - 1}-D but found"
            f" {padding.dim()}-D tensor instead"
        )
    if mask is not None and mask.dim() not in (2, 3):
        raise AssertionError(
            f"For {kind} `query`, expected `attn_mask` to be `None`, 2-D or 3-D but found {mask.dim()}-D tensor instead"
        )
    if ndim == 2 and mask is not None and mask.dim() == 3:
        expected = (num_heads, query.shape[0], key.shape[0])
        if tuple(mask.shape) != expected:
            raise AssertionError(f"Expected `attn_mask` shape to be {expected} but got {tuple(mask.shape)}")
    return ndim == 3


def additive_mask(
    mask: Tensor | None, name: str, dtype: dtypes.dtype, other: Tensor | None = None, other_name: str = ""
) -> Tensor | None:
    """Return a mask as numbers to add: -inf where booleans are True. Warns where another mask has another type.

    Raises:
        AssertionError: the mask is neither of booleans nor of floating point.
    """
    if mask is None:
        return None
    if mask.dtype is not dtypes.bool and not mask.is_floating_point():
        raise AssertionError(f"only bool and floating types of {name} are supported")
    if other is not None and mask.dtype is not other.dtype:
        warnings.warn(
            f"Support for mismatched {name} and {other_name} is deprecated. Use same type for both instead.",
            stacklevel=3,
        )
    if mask.is_floating_point():
        return mask
    return zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(mask, -math.inf)


class Heads:
    """Multi-head attention with given options."""

    def __init__(
        self, heads: int, add_zero: bool, dropout: float, need_weights: bool, average: bool, batch_first: bool = False
    ) -> None:
        self.heads, self.add_zero, self.dropout = heads, add_zero, dropout
        self.need_weights, self.average, self.batch_first = need_weights, average, batch_first

    def attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        embed_dim: int,
        weights: Any,
        biases: Tensor | None,
        bias_k: Tensor | None,
        bias_v: Tensor | None,
        out_weight: Tensor,
        out_bias: Tensor | None,
        padding: Tensor | None = None,
        mask: Tensor | None = None,
        static_k: Tensor | None = None,
        static_v: Tensor | None = None,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Return the result, shaped as `query`, and the probabilities or None; see `multi_head_attention_forward`."""
        if not _is_batched(query, key, value, padding, mask, self.heads):
            axis = 0 if self.batch_first else 1
            one = query.unsqueeze(axis)
            k = one if key is query else key.unsqueeze(axis)
            v = k if value is key else value.unsqueeze(axis)
            padding = None if padding is None else padding.unsqueeze(0)
            rest = weights, biases, bias_k, bias_v, out_weight, out_bias, padding, mask, static_k, static_v, is_causal
            output, probabilities = self.attend(one, k, v, embed_dim, *rest)
            return output.squeeze(axis), None if probabilities is None else probabilities.squeeze(0)
        length, batch = self._extents(query)
        padding = additive_mask(padding, "key_padding_mask", query.dtype, mask, "attn_mask")
        mask, causal = self._mask(mask, padding, query.dtype, is_causal)
        self._check(query, key, value, embed_dim, weights, bias_k, bias_v, static_k, static_v)
        q, k, v = self._projected(query, key, value, weights, biases)
        k, v = self._static(static_k, k, batch, "static_k"), self._static(static_v, v, batch, "static_v")
        added = 0
        if bias_k is not None and bias_v is not None:
            k, v = (cat([t, self._for_batch(b, batch)], 2) for t, b in ((k, bias_k), (v, bias_v)))
            added += 1
        if self.add_zero:
            k, v = (cat([t, t.new_zeros((*t.shape[:2], 1, t.shape[3]))], 2) for t in (k, v))
            added += 1
        mask = self._merged(mask, padding, added, batch, length, k._array.shape[2])
        if self.need_weights:
            output, probabilities = self._with_weights(q, k, v, mask)
        else:
            output, probabilities = scaled_dot_product_attention(q, k, v, mask, self.dropout, causal), None
        return linear(JoinHeads(self.batch_first)(output), out_weight, out_bias), probabilities

    def _extents(self, t: Tensor) -> tuple[int, int]:
        """Return length and batch."""
        first, second = t._array.shape[:2]
        return (second, first) if self.batch_first else (first, second)

    def _mask(
        self, mask: Tensor | None, padding: Tensor | None, dtype: dtypes.dtype, causal: bool
    ) -> tuple[Tensor | None, bool]:
        """Return the mask as numbers, or none where the hint `causal` says all."""
        if causal and mask is None:
            raise RuntimeError(
                "Need attn_mask if specifying the is_causal hint. You may use the Transformer module method"
                " `generate_square_subsequent_mask` to create this mask."
            )
        if causal and padding is None and not self.need_weights:
            return None, True
        return additive_mask(mask, "attn_mask", dtype), False

    def _check(
        self, query: Tensor, key: Tensor, value: Tensor, embed_dim: int, weights: Any, bias_k: Any, bias_v: Any,
        static_k: Any, static_v: Any,
    ) -> None:  # fmt: skip
        given = query._array.shape[2]
        separate = isinstance(weights, tuple)
        names = ("q_proj_weight", "k_proj_weight", "v_proj_weight")
        problem = None
        if given != embed_dim:
            problem = f"was expecting embedding dimension of {embed_dim}, but got {given}"
        elif given % self.heads:
            problem = f"embed_dim {given} not divisible by num_heads {self.heads}"
        elif separate and key.shape[:2] != value.shape[:2]:
            problem = f"key's sequence and batch dims {key.shape[:2]} do not match value's {value.shape[:2]}"
        elif not separate and key.shape != value.shape:
            problem = f"key shape {key.shape} does not match value shape {value.shape}"
        elif weights is None:
            problem = "use_separate_proj_weight is False but in_proj_weight is None"
        elif separate and any([weight is None for weight in weights]):
            missing = next(name for name, weight in zip(names, weights, strict=True) if weight is None)
            problem = f"use_separate_proj_weight is True but {missing} is None"
        elif (bias_k is None) != (bias_v is None):
            problem = "bias_k and bias_v must be given together"
        elif bias_k is not None and (static_k is not None or static_v is not None):
            problem = "bias cannot be added to static key or value."
        if problem:
            raise AssertionError(problem)

    def _projected(
        self, query: Tensor, key: Tensor, value: Tensor, weights: Any, biases: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values of all heads, (N, heads, length, features); one product where it does."""
        size = query._array.shape[2]
        if isinstance(weights, tuple):
            parts = weights
        elif key is value and query is key:
            return SplitHeads(3, self.heads, self.batch_first)(linear(query, weights, biases))
        elif key is value:
            both = None if biases is None else biases[size:]
            keys_and_values = linear(key, weights[size:], both)
            k, v = SplitHeads(2, self.heads, self.batch_first)(keys_and_values)
            return self._split(linear(query, weights[:size], None if biases is None else biases[:size])), k, v
        else:
            parts = weights.chunk(3)
        own = (None,) * 3 if biases is None else biases.chunk(3)
        q, k, v = (self._split(linear(*each)) for each in zip((query, key, value), parts, own, strict=True))
        return q, k, v

    def _split(self, t: Tensor) -> Tensor:
        return SplitHeads(1, self.heads, self.batch_first)(t)[0]

    def _static(self, static: Tensor | None, projected: Tensor, batch: int, name: str) -> Tensor:
        """Return what is given in place of projected keys or values."""
        if static is None:
            return projected
        if static.size(0) != batch * self.heads:
            raise AssertionError(f"expecting {name}.size(0) of {batch * self.heads}, but got {static.size(0)}")
        if static.size(2) != projected.size(3):
            raise AssertionError(f"expecting {name}.size(2) of {projected.size(3)}, but got {static.size(2)}")
        return static.reshape(batch, self.heads, -1, static.size(2))

    def _for_batch(self, bias: Tensor, batch: int) -> Tensor:
        return bias.reshape(1, self.heads, 1, -1).expand(batch, self.heads, 1, -1)

    def _merged(
        self, mask: Tensor | None, padding: Tensor | None, added: int, batch: int, length: int, keys: int
    ) -> Tensor | None:
        """Return the sum of both masks, (1 or N, 1 or heads, 1 or L, S), open for keys that were appended."""
        if mask is not None:
            expected = (length, keys - added) if mask.ndim == 2 else (batch * self.heads, length, keys - added)
            if tuple(mask.shape) != expected:
                raise RuntimeError(
                    f"The shape of the {mask.ndim}D attn_mask is {tuple(mask.shape)}, but should be {expected}."
                )
            mask = mask.reshape(
                -1 if mask.ndim == 3 and batch else 1, self.heads if mask.ndim == 3 else 1, *expected[-2:]
            )
            mask = pad(mask, (0, added)) if added else mask
        if padding is not None:
            if tuple(padding.shape) != (batch, keys - added):
                raise AssertionError(
                    f"expecting key_padding_mask shape of {(batch, keys - added)}, but got {tuple(padding.shape)}"
                )
            padding = (pad(padding, (0, added)) if added else padding).reshape(batch, 1, 1, keys)
            mask = padding if mask is None else mask + padding
        return mask

    def _with_weights(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the result of attention, and the probabilities."""
        scores = (q * math.sqrt(1 / max(q._array.shape[3], 1))) @ k.mT
        weights = Softmax(3)(scores if mask is None else scores + mask)
        kept = weights
        if self.dropout > 0:
            kept = Dropout(self.dropout, random_keys())(weights)
        return kept @ v, kept.mean(1) if self.average else kept
