"""Attention with several heads: `MultiheadAttention`."""

from __future__ import annotations

from typing import Any

from ...creation import empty
from ...tensor import Tensor
from .. import init
from ..attention_functions import Heads
from ..parameter import Parameter
from .linear import Linear
from .module import Module


class NonDynamicallyQuantizableLinear(Linear):
    """A `Linear` under the name that PyTorch prints for the last projection of attention."""


class MultiheadAttention(Module):
    """Projects queries, keys and values to several heads, attends in each, and projects their results together.

    The projections in are drawn by `xavier_uniform_`, their biases begin with zeros.

    Args:
        embed_dim: E, features of queries and results, a multiple of `num_heads`.
        num_heads: how many heads there are.
        dropout: with which probability to drop probabilities, in training.
        bias: whether the projections have biases.
        add_bias_kv: append a learned key and value.
        add_zero_attn: append a key and a value of zeros.
        kdim: features of keys, by default E.
        vdim: features of values, by default E.
        batch_first: whether tensors are (N, L, E) rather than (L, N, E).
        device: where the parameters lie (default: the default device).
        dtype: their type (default: the default dtype).

    Attributes:
        in_proj_weight: (3 E, E); or None where `kdim` or `vdim` differ from E, and then
        q_proj_weight, k_proj_weight, v_proj_weight: (E, E), (E, kdim) and (E, vdim).
        in_proj_bias: (3 E,), or None.
        out_proj: a linear layer from E to E.
        bias_k, bias_v: (1, 1, E), or None.

    Shape: query (L, N, E), key (S, N, kdim), value (S, N, vdim), without N where there is no batch; the result like
    query, the probabilities (N, L, S) or (N, num_heads, L, S).

    Raises:
        ValueError: `embed_dim` or `num_heads` is not positive.
        AssertionError: `num_heads` does not divide `embed_dim`.

    Source: Vaswani et al., 2017, arXiv:1706.03762;
    https://docs.pytorch.org/docs/stable/generated/torch.nn.MultiheadAttention.html

    >>> import nbtorch
    >>> attention = nbtorch.nn.MultiheadAttention(8, 2)
    >>> x = nbtorch.randn(5, 3, 8)
    >>> output, weights = attention(x, x, x)
    >>> output.shape, weights.shape
    (torch.Size([5, 3, 8]), torch.Size([3, 5, 5]))
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if embed_dim <= 0 or num_heads <= 0:
            raise ValueError(
                f"embed_dim and num_heads must be greater than 0, got embed_dim={embed_dim} and num_heads={num_heads}"
                " instead"
            )
        super().__init__()
        self.embed_dim = embed_dim
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self._qkv_same_embed_dim = self.kdim == embed_dim == self.vdim
        self.num_heads = num_heads
        self.dropout = dropout
        self.batch_first = batch_first
        self.head_dim = embed_dim // num_heads
        if self.head_dim * num_heads != embed_dim:
            raise AssertionError(f"embed_dim must be divisible by num_heads, got {embed_dim} and {num_heads}")

        def parameter(wanted: bool, *shape: int) -> Parameter | None:
            return Parameter(empty(*shape, device=device, dtype=dtype)) if wanted else None

        separate = {"q": embed_dim, "k": self.kdim, "v": self.vdim}
        if self._qkv_same_embed_dim:
            self.register_parameter("in_proj_weight", parameter(True, 3 * embed_dim, embed_dim))
        for name, features in separate.items():
            weight = parameter(not self._qkv_same_embed_dim, embed_dim, features)
            self.register_parameter(f"{name}_proj_weight", weight)
        if not self._qkv_same_embed_dim:
            self.register_parameter("in_proj_weight", None)
        self.register_parameter("in_proj_bias", parameter(bias, 3 * embed_dim))
        self.out_proj = NonDynamicallyQuantizableLinear(embed_dim, embed_dim, bias=bias, device=device, dtype=dtype)
        if add_bias_kv:
            self.bias_k, self.bias_v = (parameter(True, 1, 1, embed_dim) for _ in range(2))
        else:
            self.bias_k = self.bias_v = None
        self.add_zero_attn = add_zero_attn
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        """Draw new initial values."""
        for weight in (self.in_proj_weight, self.q_proj_weight, self.k_proj_weight, self.v_proj_weight):
            if weight is not None:
                init.xavier_uniform_(weight)
        if self.in_proj_bias is not None:
            init.zeros_(self.in_proj_bias)
            init.zeros_(self.out_proj.bias)
        for extra in (self.bias_k, self.bias_v):
            if extra is not None:
                init.xavier_normal_(extra)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend.

        Args:
            query: what looks.
            key: what it is compared with.
            value: what is looked at.
            key_padding_mask: (N, S) or (S,); True hides a key, numbers are added.
            need_weights: return the probabilities too; without them they are never held in memory.
            attn_mask: (L, S) or (N · num_heads, L, S); True hides, numbers are added.
            average_attn_weights: return their mean over heads.
            is_causal: says that `attn_mask` is the causal mask.

        Returns:
            The result, and the probabilities or None.
        """
        if not self._qkv_same_embed_dim:
            weights: Any = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        else:
            weights = self.in_proj_weight
        heads = Heads(
            self.num_heads,
            self.add_zero_attn,
            self.dropout if self.training else 0.0,
            need_weights,
            average_attn_weights,
            self.batch_first,
        )
        return heads.attend(
            *(query, key, value, self.embed_dim, weights, self.in_proj_bias, self.bias_k, self.bias_v),
            *(self.out_proj.weight, self.out_proj.bias, key_padding_mask, attn_mask),
            is_causal=is_causal,
        )

    def merge_masks(
        self, attn_mask: Tensor | None, key_padding_mask: Tensor | None, query: Tensor
    ) -> tuple[Tensor | None, int | None]:
        """Return one mask for two, and its kind: 1 for padding alone, 2 for (N, num_heads, L, L), None for none.

        Args:
            attn_mask: (L, L) or (N · num_heads, L, L), of numbers.
            key_padding_mask: (N, L), of numbers.
            query: (N, L, E).
        """
        if attn_mask is None:
            return key_padding_mask, None if key_padding_mask is None else 1
        batch, length = query.shape[:2]
        if attn_mask.dim() == 3:
            merged = attn_mask.reshape(batch, -1, length, length)
        else:
            merged = attn_mask.reshape(1, 1, length, length).expand(batch, self.num_heads, -1, -1)
        if key_padding_mask is not None:
            merged = merged + key_padding_mask.reshape(batch, 1, 1, length).expand(-1, self.num_heads, -1, -1)
        return merged, 2
