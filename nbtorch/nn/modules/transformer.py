"""Transformers: encoder and decoder, their layers, and both together."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable
from typing import Any

from ...autograd.grad_mode import is_grad_enabled
from ...creation import full
from ...tensor import Tensor
from .. import functional as F
from .. import init
from ..attention_functions import additive_mask
from .activation import MODULES
from .attention import MultiheadAttention
from .container import ModuleList
from .dropout import Dropout
from .linear import Linear
from .module import Module
from .normalization import LayerNorm

Activation = str | Callable[[Tensor], Tensor]


def _subsequent_mask(size: int, device: Any, dtype: Any) -> Tensor:
    return full((size, size), -math.inf, dtype=dtype, device=device).triu(1)


def _is_causal(mask: Tensor | None, hint: bool | None, sequence: Tensor, batch_first: bool) -> bool:
    """Return the hint; without one, whether the mask is the causal one for a sequence, with a batch or without."""
    if hint is not None or mask is None:
        return hint is True
    length = sequence.size(1 if batch_first and sequence.dim() == 3 else 0)
    if tuple(mask.shape) != (length, length):
        return False
    return bool(mask.eq(_subsequent_mask(length, mask.device, mask.dtype)).all())


def _activation(activation: Activation) -> Callable[[Tensor], Tensor]:
    if not isinstance(activation, str):
        return activation
    if activation not in ("relu", "gelu"):
        raise RuntimeError(f"activation should be relu/gelu, not {activation}")
    return F.relu if activation == "relu" else F.gelu


class _Layer(Module):
    """What encoder and decoder layers share: attention to oneself, and two linear layers with an activation between."""

    def _build(
        self,
        attentions: tuple[str, ...],
        d_model: int,
        nhead: int,
        dim_feedforward: int,
        dropout: float,
        layer_norm_eps: float,
        batch_first: bool,
        norm_first: bool,
        bias: bool,
        **factory: Any,
    ) -> None:
        """Make the modules: attentions by name, and as many norms and dropouts as there are blocks."""
        for name in attentions:
            attention = MultiheadAttention(
                d_model, nhead, dropout=dropout, bias=bias, batch_first=batch_first, **factory
            )
            setattr(self, name, attention)
        self.linear1 = Linear(d_model, dim_feedforward, bias=bias, **factory)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias=bias, **factory)
        self.norm_first = norm_first
        blocks = range(1, len(attentions) + 2)
        for number in blocks:
            setattr(self, f"norm{number}", LayerNorm(d_model, eps=layer_norm_eps, bias=bias, **factory))
        for number in blocks:
            setattr(self, f"dropout{number}", Dropout(dropout))

    def _around(self, x: Tensor, norm: Module, block: Callable[[Tensor], Tensor]) -> Tensor:
        """Add to x what a block makes of it, with the norm before the block or behind the sum."""
        return x + block(norm(x)) if self.norm_first else norm(x + block(x))

    def _attended(self, x: Tensor, mask: Any, padding: Any, causal: bool) -> Tensor:
        attended = self.self_attn(
            x, x, x, attn_mask=mask, key_padding_mask=padding, need_weights=False, is_causal=causal
        )
        return self.dropout1(attended[0])

    def _fed_forward(self, x: Tensor) -> Tensor:
        return self.linear2(self.dropout(self.activation(self.linear1(x))))


class TransformerEncoderLayer(_Layer):
    """Self-attention and two linear layers, each with a sum past it and a layer norm.

    Args:
        d_model: E, features of input and output.
        nhead: heads of the attention.
        dim_feedforward: features between the linear layers.
        dropout: with which probability to drop.
        activation: `"relu"`, `"gelu"` or a function of a tensor, between the linear layers.
        layer_norm_eps: is added to the variances.
        batch_first: whether tensors are (N, L, E) rather than (L, N, E).
        norm_first: whether a norm comes before its block rather than behind the sum.
        bias: whether linear layers and norms have biases.
        device: where the parameters lie (default: the default device).
        dtype: their type (default: the default dtype).

    Shape: (L, N, E), (N, L, E) or (L, E), and the same.

    Raises:
        RuntimeError: an unknown name of an activation.

    Source: Vaswani et al., 2017, arXiv:1706.03762;
    https://docs.pytorch.org/docs/stable/generated/torch.nn.TransformerEncoderLayer.html

    >>> import nbtorch
    >>> nbtorch.nn.TransformerEncoderLayer(8, 2, 16)(nbtorch.randn(5, 3, 8)).shape
    torch.Size([5, 3, 8])
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = F.relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        options = d_model, nhead, dim_feedforward, dropout, layer_norm_eps, batch_first, norm_first, bias
        self._build(("self_attn",), *options, device=device, dtype=dtype)
        function = _activation(activation)
        common = (F.relu, MODULES["ReLU"]), (F.gelu, MODULES["GELU"])
        self.activation_relu_or_gelu = 0
        for number, (plain, module) in enumerate(common, 1):
            if function is plain or isinstance(function, module):
                self.activation_relu_or_gelu = number
        self.activation = function

    def forward(
        self,
        src: Tensor,
        src_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        """Encode.

        Args:
            src: the sequence.
            src_mask: (L, L) or (N · nhead, L, L); True hides, numbers are added.
            src_key_padding_mask: (N, L) or (L,); True hides a key, numbers are added.
            is_causal: says that `src_mask` is the causal mask.
        """
        padding = additive_mask(src_key_padding_mask, "src_key_padding_mask", src.dtype, src_mask, "src_mask")
        mask = additive_mask(src_mask, "src_mask", src.dtype)
        x = self._around(src, self.norm1, lambda x: self._attended(x, mask, padding, is_causal))
        return self._around(x, self.norm2, lambda x: self.dropout2(self._fed_forward(x)))


class TransformerDecoderLayer(_Layer):
    """Self-attention, attention to what an encoder made, and two linear layers, each with a sum past it and a norm.

    Args:
        d_model: E, features of input and output.
        nhead: heads of both attentions.
        dim_feedforward: features between the linear layers.
        dropout: with which probability to drop.
        activation: `"relu"`, `"gelu"` or a function of a tensor, between the linear layers.
        layer_norm_eps: is added to the variances.
        batch_first: whether tensors are (N, L, E) rather than (L, N, E).
        norm_first: whether a norm comes before its block rather than behind the sum.
        bias: whether linear layers and norms have biases.
        device: where the parameters lie (default: the default device).
        dtype: their type (default: the default dtype).

    Shape: (T, N, E) and (S, N, E) of the encoder, or batch first, or without N; and the same as the first.

    Raises:
        RuntimeError: an unknown name of an activation.

    Source: Vaswani et al., 2017, arXiv:1706.03762;
    https://docs.pytorch.org/docs/stable/generated/torch.nn.TransformerDecoderLayer.html

    >>> import nbtorch
    >>> layer = nbtorch.nn.TransformerDecoderLayer(8, 2, 16)
    >>> layer(nbtorch.randn(5, 3, 8), nbtorch.randn(7, 3, 8)).shape
    torch.Size([5, 3, 8])
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = F.relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        options = d_model, nhead, dim_feedforward, dropout, layer_norm_eps, batch_first, norm_first, bias
        self._build(("self_attn", "multihead_attn"), *options, device=device, dtype=dtype)
        self.activation = _activation(activation)

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """Decode.

        Args:
            tgt: the sequence.
            memory: what the encoder made.
            tgt_mask: (T, T) or (N · nhead, T, T); True hides, numbers are added.
            memory_mask: (T, S) or (N · nhead, T, S), likewise.
            tgt_key_padding_mask: (N, T) or (T,), likewise.
            memory_key_padding_mask: (N, S) or (S,), likewise.
            tgt_is_causal: says that `tgt_mask` is the causal mask.
            memory_is_causal: says that `memory_mask` is.
        """

        def attended_to_memory(x: Tensor) -> Tensor:
            attended = self.multihead_attn(
                *(x, memory, memory),
                attn_mask=memory_mask,
                key_padding_mask=memory_key_padding_mask,
                need_weights=False,
                is_causal=memory_is_causal,
            )
            return self.dropout2(attended[0])

        x = self._around(tgt, self.norm1, lambda x: self._attended(x, tgt_mask, tgt_key_padding_mask, tgt_is_causal))
        x = self._around(x, self.norm2, attended_to_memory)
        return self._around(x, self.norm3, lambda x: self.dropout3(self._fed_forward(x)))


class TransformerEncoder(Module):
    """A stack of copies of an encoder layer.

    Args:
        encoder_layer: the layer that is copied.
        num_layers: how often.
        norm: is applied to the result, or None.
        enable_nested_tensor: whether padding at the ends of sequences may be left out in evaluation: there the layers'
            result is 0, as in PyTorch.
        mask_check: whether to look if the padding lies at the ends, which leaving it out asks for.

    Shape: as the layer.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.TransformerEncoder.html

    >>> import nbtorch
    >>> layer = nbtorch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    >>> nbtorch.nn.TransformerEncoder(layer, 2)(nbtorch.randn(3, 5, 8)).shape
    torch.Size([3, 5, 8])
    """

    def __init__(
        self,
        encoder_layer: Module,
        num_layers: int,
        norm: Module | None = None,
        enable_nested_tensor: bool = True,
        mask_check: bool = True,
    ) -> None:
        super().__init__()
        self.layers = ModuleList([copy.deepcopy(encoder_layer) for _ in range(num_layers)])
        self.num_layers = num_layers
        self.norm = norm
        self.enable_nested_tensor = enable_nested_tensor
        self.mask_check = mask_check
        reason = _why_padding_stays(encoder_layer)
        self.use_nested_tensor = enable_nested_tensor and not reason
        if enable_nested_tensor and reason:
            warnings.warn(
                f"enable_nested_tensor is True, but self.use_nested_tensor is False because encoder_layer{reason}",
                stacklevel=2,
            )

    def forward(
        self,
        src: Tensor,
        mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool | None = None,
    ) -> Tensor:
        """Encode.

        Args:
            src: the sequence.
            mask: (L, L) or (N · nhead, L, L); True hides, numbers are added.
            src_key_padding_mask: (N, L) or (L,); True hides a key, numbers are added.
            is_causal: says whether `mask` is the causal mask; None looks.
        """
        padding = additive_mask(src_key_padding_mask, "src_key_padding_mask", src.dtype, mask, "mask")
        mask = additive_mask(mask, "mask", src.dtype)
        first = self.layers[0]
        causal = _is_causal(mask, is_causal, src, first.self_attn.batch_first)
        output = src
        for layer in self.layers:
            output = layer(output, src_mask=mask, is_causal=causal, src_key_padding_mask=padding)
        if padding is not None and mask is None and self._leaves_out(src, padding):
            output = output.masked_fill(padding.ne(0).unsqueeze(-1), 0)
        return output if self.norm is None else self.norm(output)

    def _leaves_out(self, src: Tensor, padding: Tensor) -> bool:
        """Say whether the results for padding are 0."""
        first = self.layers[0]
        if not self.use_nested_tensor or first.training or src.dim() != 3:
            return False
        if is_grad_enabled() and (src.requires_grad or any(p.requires_grad for p in first.parameters())):
            return False
        hidden = padding.ne(0)
        return not self.mask_check or not bool((hidden[:, :-1] & hidden[:, 1:].logical_not()).any())


def _why_padding_stays(layer: Module) -> str:
    """Return what keeps an encoder from leaving padding out, as the rest of a sentence; nothing where it may."""
    if not isinstance(layer, TransformerEncoderLayer):
        return " was not TransformerEncoderLayer"
    attention = layer.self_attn
    reasons = {
        ".norm_first was True": layer.norm_first,
        ".self_attn.batch_first was not True(use batch_first for better inference performance)": (
            not attention.batch_first
        ),
        ".self_attn._qkv_same_embed_dim was not True": not attention._qkv_same_embed_dim,
        ".self_attn was passed bias=False": attention.in_proj_bias is None,
        ".activation_relu_or_gelu was not True": not layer.activation_relu_or_gelu,
        ".norm1.eps was not equal to encoder_layer.norm2.eps": layer.norm1.eps != layer.norm2.eps,
        ".self_attn.num_heads is odd": attention.num_heads % 2 == 1,
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


class TransformerDecoder(Module):
    """A stack of copies of a decoder layer.

    Args:
        decoder_layer: the layer that is copied.
        num_layers: how often.
        norm: is applied to the result, or None.

    Shape: as the layer.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.TransformerDecoder.html

    >>> import nbtorch
    >>> decoder = nbtorch.nn.TransformerDecoder(nbtorch.nn.TransformerDecoderLayer(8, 2, 16), 2)
    >>> decoder(nbtorch.randn(5, 3, 8), nbtorch.randn(7, 3, 8)).shape
    torch.Size([5, 3, 8])
    """

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        super().__init__()
        self.layers = ModuleList([copy.deepcopy(decoder_layer) for _ in range(num_layers)])
        self.num_layers = num_layers
        self.norm = norm

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """Decode; arguments as of `TransformerDecoderLayer`, and `tgt_is_causal` None looks."""
        causal = _is_causal(tgt_mask, tgt_is_causal, tgt, self.layers[0].self_attn.batch_first)
        output = tgt
        for layer in self.layers:
            output = layer(
                *(output, memory, tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask),
                tgt_is_causal=causal,
                memory_is_causal=memory_is_causal,
            )
        return output if self.norm is None else self.norm(output)


class Transformer(Module):
    """An encoder and a decoder.

    Args:
        d_model: E, features of inputs and output.
        nhead: heads of the attentions.
        num_encoder_layers: layers of the encoder.
        num_decoder_layers: layers of the decoder.
        dim_feedforward: features between linear layers.
        dropout: with which probability to drop.
        activation: `"relu"`, `"gelu"` or a function of a tensor.
        custom_encoder: takes the encoder's place.
        custom_decoder: takes the decoder's place.
        layer_norm_eps: is added to the variances.
        batch_first: whether tensors are (N, L, E) rather than (L, N, E).
        norm_first: whether norms come before blocks rather than behind sums.
        bias: whether linear layers and norms have biases.
        device: where the parameters lie (default: the default device).
        dtype: their type (default: the default dtype).

    Shape: (S, N, E) and (T, N, E), or batch first, or without N; and the same as the second.

    Raises:
        RuntimeError: batches or features do not fit.

    Source: Vaswani et al., 2017, arXiv:1706.03762;
    https://docs.pytorch.org/docs/stable/generated/torch.nn.Transformer.html

    >>> import nbtorch
    >>> model = nbtorch.nn.Transformer(8, 2, 1, 1, 16, batch_first=True)
    >>> model(nbtorch.randn(3, 5, 8), nbtorch.randn(3, 7, 8)).shape
    torch.Size([3, 7, 8])
    """

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = F.relu,
        custom_encoder: Any = None,
        custom_decoder: Any = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        options = d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first, bias

        def norm() -> LayerNorm:
            return LayerNorm(d_model, eps=layer_norm_eps, bias=bias, device=device, dtype=dtype)

        if custom_encoder is not None:
            self.encoder = custom_encoder
        else:
            encoder_layer = TransformerEncoderLayer(*options, device=device, dtype=dtype)
            self.encoder = TransformerEncoder(encoder_layer, num_encoder_layers, norm())
        if custom_decoder is not None:
            self.decoder = custom_decoder
        else:
            decoder_layer = TransformerDecoderLayer(*options, device=device, dtype=dtype)
            self.decoder = TransformerDecoder(decoder_layer, num_decoder_layers, norm())
        self._reset_parameters()
        self.d_model = d_model
        self.nhead = nhead
        self.batch_first = batch_first

    def _reset_parameters(self) -> None:
        """Draw new values for all matrices."""
        for parameter in self.parameters():
            if parameter.dim() > 1:
                init.xavier_uniform_(parameter)

    def forward(
        self,
        src: Tensor,
        tgt: Tensor,
        src_mask: Tensor | None = None,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """Encode `src`, and decode `tgt` with the result; masks as of the layers, hints of None look."""
        axis = 0 if self.batch_first else 1
        if src.dim() == 3 and src.size(axis) != tgt.size(axis):
            raise RuntimeError("the batch number of src and tgt must be equal")
        if src.size(-1) != self.d_model or tgt.size(-1) != self.d_model:
            raise RuntimeError("the feature number of src and tgt must be equal to d_model")
        memory = self.encoder(src, mask=src_mask, src_key_padding_mask=src_key_padding_mask, is_causal=src_is_causal)
        return self.decoder(
            tgt,
            memory,
            tgt_mask=tgt_mask,
            memory_mask=memory_mask,
            tgt_key_padding_mask=tgt_key_padding_mask,
            memory_key_padding_mask=memory_key_padding_mask,
            tgt_is_causal=tgt_is_causal,
            memory_is_causal=memory_is_causal,
        )

    @staticmethod
    def generate_square_subsequent_mask(sz: int, device: Any = None, dtype: Any = None) -> Tensor:
        """Return the causal mask, (sz, sz): 0 on and below the diagonal, -inf above."""
        return _subsequent_mask(sz, device, dtype)
