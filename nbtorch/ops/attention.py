"""Attention: softmax(scale·Q K^T + mask) V, by kernels that never hold the matrix of scores."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..autograd.grad_mode import state
from ..autograd.graph import Node
from ..device import allocate, array_module, contiguous, kernels_for
from ..device import device as Device
from ..tensor import Tensor
from .dropout import threshold
from .loss import Softmax
from .operands import to_dtype


class Dropped:
    """Which probabilities are dropped: a function of a seed and of their places, so that no mask is kept."""

    def __init__(self, p: float, seed: int) -> None:
        (self.bound, self.growth), self.seed = threshold(p), seed

    def bound_and_keys(self, shape: tuple[int, ...], where: Device) -> tuple[int, Any]:
        """Return below which of 2^32 random numbers one is dropped, and two keys for every query of (N, H, L, …)."""
        xp = array_module(where)
        x = xp.arange(math.prod(shape[:3]), dtype=np.uint64) + np.uint64(self.seed)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)  # the finaliser of Steele's SplitMix64
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return self.bound, (x ^ (x >> np.uint64(31))).view(np.uint32).reshape(-1, 2)

    def kept(self, weights: Tensor) -> Tensor:
        """Return what probabilities (N, H, L, S) are multiplied by: 0 for those that are dropped."""

        shape, where = weights._array.shape, weights._device
        from nbtorch.kernels.scalar import mixed  # which imports Numba

        bound, keys = self.bound_and_keys(shape, where)
        columns = array_module(where).arange(shape[3], dtype=np.uint64)
        bits = getattr(mixed, "py_func", mixed)(keys[:, :1], keys[:, 1:], columns)
        return weights._wrap_like(((bits >= bound) * self.growth).reshape(shape).astype(weights._array.dtype))


class Attention(Node):
    """Attention of q (N, H, L, E), k (N, G, S, E) and v (N, G, S, V), with a mask (N, H, L, S) as an input or none.

    Of the probabilities, the logarithms of their sums alone are kept; backward computes them again.
    """

    name = "ScaledDotProductFlashAttentionForCpuBackward0"
    saves_inputs: tuple[int, ...] = (0, 1, 2)
    saves_outputs = (0,)
    keeps_state = True
    fresh_gradients = True
    in_float32 = True

    def __init__(self, causal: bool, scale: float, drop: Dropped | None = None) -> None:
        self.causal, self.scale, self.drop = causal, scale, drop

    def __call__(self, *inputs: Tensor) -> Tensor:
        self.saves_inputs = tuple(range(len(inputs)))
        return super().__call__(*inputs)

    def forward(self, q: Any, k: Any, v: Any, mask: Any = None) -> Any:
        q, k, v = (contiguous(array, self.where) for array in (q, k, v))
        out = allocate((*q.shape[:3], v.shape[3]), q.dtype, self.where)
        self.logarithm = allocate(q.shape[:3], q.dtype, self.where)
        if 0 in k.shape[:3]:
            out[...] = 0
        elif out.size:
            kernels_for(self.where, "attention").attention_forward(
                *(q, k, v, mask, self.causal, self.scale, self._dropping(q)), out, self.logarithm
            )
        return out

    def _dropping(self, q: Any) -> Any:
        return None if self.drop is None else self.drop.bound_and_keys(q.shape, self.where)

    def backward(self, grad: Tensor) -> Any:
        q, k, v, *masks, out = self.saved_tensors
        if state.enabled:
            shown = masks[0] if masks else None
            grads = recorded_gradients(grad, q, k, v, shown, self.causal, self.scale, self.drop)
            return (*grads, *[None] * len(masks))
        arrays = [contiguous(t._array, self.where) for t in (grad, q, k, v, out)]
        mask = masks[0]._array if masks else None
        results = [allocate(array.shape, array.dtype, self.where) for array in arrays[1:4]]
        if arrays[4].size and arrays[2].size + arrays[3].size:
            kernels_for(self.where, "attention").attention_backward(
                *(*arrays, self.logarithm, mask, self.causal, self.scale, self._dropping(q._array)), *results
            )
        else:
            for array in results:
                array[...] = 0
        return (*[q._wrap_like(array) for array in results], *[None] * len(masks))


def probabilities(q: Tensor, k: Tensor, mask: Tensor | None, causal: bool, scale: float) -> Tensor:
    """Return softmax(scale·q k^T + mask) over keys by operations that are recorded; 0 where no key is visible."""
    root = math.sqrt(abs(scale))
    scores = (q * root) @ (k * math.copysign(root, scale)).mT
    lowest = -math.inf
    if causal:
        xp = array_module(q._device)
        scores = scores.masked_fill(q._wrap_like(xp.tri(*scores.shape[-2:], dtype=bool)).logical_not(), lowest)
    if mask is None:
        return Softmax(scores.ndim - 1)(scores)
    if mask._array.dtype == bool:
        scores = scores.masked_fill(mask.logical_not(), lowest)
    else:
        scores = scores + to_dtype(mask, scores.dtype)
    hidden = (scores.detach() == lowest).all(-1, True)
    return Softmax(scores.ndim - 1)(scores.masked_fill(hidden, 0)).masked_fill(hidden, 0)


def composed(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    causal: bool,
    scale: float,
    drop: Dropped | None = None,
) -> Tensor:
    """Return attention with the matrix of probabilities in memory."""
    k, v = (_for_every_head(t, q) for t in (k, v))
    weights = probabilities(q, k, mask, causal, scale)
    return (weights if drop is None else weights * drop.kept(weights)) @ v


def recorded_gradients(
    grad: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    causal: bool,
    scale: float,
    drop: Dropped | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients by operations that are recorded."""
    keys, values = (_for_every_head(t, q) for t in (k, v))
    weights = probabilities(q, keys, mask, causal, scale)
    slopes, used = grad @ values.mT, weights
    if drop is not None:
        kept = drop.kept(weights)
        slopes, used = slopes * kept, weights * kept
    slopes = weights * (slopes - (slopes * weights).sum(-1, True)) * scale
    return slopes @ keys, _per_group(slopes.mT @ q, k), _per_group(used.mT @ grad, v)


def _for_every_head(t: Tensor, q: Tensor) -> Tensor:
    """Return keys or values (N, G, S, E) for each head of the queries."""
    batch, groups, length, features = t.shape
    heads = q._array.shape[1]
    if heads == groups:
        return t
    shape = batch, groups, heads // groups, length, features
    return t.unsqueeze(2).expand(shape).reshape(batch, heads, length, features)


def _per_group(t: Tensor, like: Tensor) -> Tensor:
    """Return the sums over the heads that share keys or values."""
    batch, groups, length, features = like.shape
    return t if t._array.shape[1] == groups else t.reshape(batch, groups, -1, length, features).sum(2)


class SplitHeads(Node):
    """From (L, N, parts · heads · E), or (N, L, …), to `parts` tensors (N, heads, L, E)."""

    name = "UnbindBackward0"

    def __init__(self, parts: int, heads: int, batch_first: bool) -> None:
        self.parts, self.heads, self.batch_first = parts, heads, batch_first

    def forward(self, x: Any) -> tuple[Any, ...]:
        rows, columns, features = x.shape
        x = x.reshape(rows, columns, self.parts, self.heads, features // (self.parts * self.heads))
        order = (0, 2, 1, 3) if self.batch_first else (1, 2, 0, 3)
        return tuple([contiguous(x[:, :, part].transpose(order), self.where) for part in range(self.parts)])

    def backward(self, *grads: Tensor | None) -> Tensor:
        like = next(grad for grad in grads if grad is not None)
        return JoinHeads(self.batch_first)(*[like.new_zeros(like.shape) if g is None else g for g in grads])


class JoinHeads(Node):
    """From tensors (N, heads, L, E) to (L, N, parts · heads · E), or (N, L, …)."""

    name = "UnsafeViewBackward0"

    def __init__(self, batch_first: bool) -> None:
        self.batch_first = batch_first

    def forward(self, *parts: Any) -> Any:
        batch, heads, length, features = parts[0].shape
        self.parts, self.heads = len(parts), heads
        rows, order = ((batch, length), (0, 2, 1, 3)) if self.batch_first else ((length, batch), (2, 0, 1, 3))
        joined = allocate((*rows, len(parts), heads, features), parts[0].dtype, self.where)
        for number, part in enumerate(parts):
            joined[:, :, number] = part.transpose(order)
        return joined.reshape(*rows, len(parts) * heads * features)

    def backward(self, grad: Tensor) -> Any:
        return SplitHeads(self.parts, self.heads, self.batch_first)(grad)
