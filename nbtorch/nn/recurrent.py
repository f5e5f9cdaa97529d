"""Recurrent layers and cells as functions: arguments and checks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..ops.joining import cat
from ..ops.operands import not_implemented, require_same_device, require_tensor
from ..ops.recurrent import LSTM, NODES, Recurrent, even_sizes
from ..tensor import Tensor
from . import functional as F

__all__ = ["gru", "gru_cell", "lstm", "lstm_cell", "rnn_relu", "rnn_relu_cell", "rnn_tanh", "rnn_tanh_cell"]


def _require_alike(name: str, input: Tensor, tensors: Sequence[Tensor]) -> None:
    """Refuse tensors of another type or on another device, and integers."""
    dtype, where = input._array.dtype, input._device
    if dtype.char in "fd" and all([t._array.dtype is dtype and t._device is where for t in tensors]):
        return
    require_same_device(name, input, *tensors)
    for tensor in tensors:
        if tensor.dtype is not input.dtype:
            raise RuntimeError(
                f"{name}: mat1 and mat2 must have the same dtype, but got {input.dtype.title} and {tensor.dtype.title}"
            )
    if not (input.is_floating_point() or input.is_complex()):
        raise not_implemented(name, input.dtype, "a floating-point type")


def _apply(node: Recurrent, *inputs: Tensor) -> Any:
    """Run a node; of complex numbers, for which there are no kernels, what it is composed of."""
    if not inputs[0].is_complex():
        return node(*inputs)
    results = node.compose(*inputs)
    return results if len(results) > 1 else results[0]


def _require_weights(name: str, node: Recurrent, inputs: Sequence[Tensor]) -> None:
    """Check the shapes of a layer's weights against those of its elements and states."""
    features, outputs = inputs[0]._array.shape[-1], inputs[1]._array.shape[-1]
    size = node.gates * (inputs[2]._array.shape[-1] if node.states == 2 else outputs)
    kinds: list[tuple[str, tuple[int, ...]]] = [("weight_ih", (size, features)), ("weight_hh", (size, outputs))]
    kinds += [("bias_ih", (size,)), ("bias_hh", (size,))] if node.biased else []
    kinds += [("weight_hr", (outputs, size // node.gates))] if node.projected else []
    for kind, (label, shape) in enumerate(kinds):
        for weight in node._weights(inputs, kind):
            if weight._array.shape != shape:
                raise RuntimeError(f"{name}: {label} must have shape {shape}, got {tuple(weight.shape)}")


_PADDED = "input hx params has_biases num_layers dropout train bidirectional batch_first"
_PACKED = "data batch_sizes hx params has_biases num_layers dropout train bidirectional"


def _arguments(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of one of the two forms by their names."""
    packed = "data" in kwargs or "batch_sizes" in kwargs
    if not packed and len(args) > 2:
        packed = isinstance(args[1], Tensor) and (isinstance(args[2], Tensor) or name == "lstm")
    names = (_PACKED if packed else _PADDED).split()
    given = dict(zip(names, args, strict=False))
    if len(args) > len(names) or given.keys() & kwargs.keys() or {*given, *kwargs} != {*names}:
        raise TypeError(
            f"{name}() received an invalid combination of arguments - got ({', '.join(type(a).__name__ for a in args)}"
            f"{''.join(f', {k}' for k in kwargs)}), but expected one of: ({_PACKED.replace(' ', ', ')}),"
            f" ({_PADDED.replace(' ', ', ')})"
        )
    return given | kwargs


def _layers(name: str, mode: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Tensor, ...]:
    """Run all layers with the arguments of one of the two forms."""
    given = _arguments(name, args, kwargs)
    given["x"] = given.pop("data") if "data" in given else given.pop("input")
    return run_layers(name, mode, **given)


def run_layers(
    name: str,
    mode: str,
    x: Tensor,
    hx: Any,
    params: Sequence[Tensor],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool = False,
    batch_sizes: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """Run all layers, on packed sequences where there are `batch_sizes`; return the outputs and the last states."""
    packed, kind = batch_sizes is not None, NODES[mode]
    if kind.states == 1:
        hx = (hx,)
    require_tensor(name, "data" if packed else "input", x)
    for argument, tensors in (("hx", hx), ("params", params)):
        if not isinstance(tensors, (tuple, list)):
            raise TypeError(f"{name}(): argument '{argument}' must be tuple of Tensors, not {type(tensors).__name__}")
        for tensor in tensors:
            require_tensor(name, argument, tensor)
    if len(hx) != kind.states:
        raise RuntimeError("lstm expects two hidden states")
    if x._array.ndim != 3 - packed:
        raise RuntimeError(f"{name}: input must have {3 - packed} dimensions, got {x.ndim}")
    _require_alike(name, x, [*hx, *params])
    if batch_first:
        x = x.transpose(0, 1)
    if batch_sizes is not None:
        sizes = batch_sizes._array.astype(np.int64)
        if not len(sizes) or sizes.sum() != len(x._array) or (np.diff(sizes) > 0).any() or sizes[-1] < 0:
            raise RuntimeError(
                f"{name}: batch_sizes must fall and add up to {x.shape[0]} elements, got {sizes.tolist()}"
            )
    elif x._array.shape[0] == 0:
        raise RuntimeError("Expected sequence length to be larger than 0 in RNN")
    else:
        sizes = even_sizes(*x._array.shape[:2])
    directions = 2 if bidirectional else 1
    for tensor in hx:
        shape = tensor._array.shape
        if len(shape) != 3 or shape[0] != num_layers * directions or shape[1] != sizes[0]:
            raise RuntimeError(
                f"{name}: Expected hidden size ({num_layers * directions}, {sizes[0]}, *), got {list(shape)}"
            )
    biased = bool(has_biases)
    projected = kind is LSTM and hx[0]._array.shape[-1] != hx[1]._array.shape[-1]
    each = 2 + 2 * biased + projected
    if len(params) != num_layers * directions * each:
        raise RuntimeError(f"{name}: got {len(params)} parameters, expected {num_layers * directions * each}")
    ends = []
    for layer in range(num_layers):
        first = hx if num_layers == 1 else [s.narrow(0, layer * directions, directions) for s in hx]
        weights = params[layer * directions * each : (layer + 1) * directions * each]
        node = kind(sizes, biased, directions == 2, projected)
        _require_weights(name, node, (x, *first, *weights))
        x, *last = _apply(node, x, *first, *weights)
        ends.append(last)
        if dropout and train and layer < num_layers - 1:
            x = F.dropout(x, dropout)
    states = ends[0] if num_layers == 1 else [cat(column) for column in zip(*ends, strict=True)]
    return (x.transpose(0, 1) if batch_first else x), *states


def lstm(*args: Any, **kwargs: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Run an LSTM over sequences: see `nn.LSTM`.

    Called as `lstm(input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first)`, or for
    packed sequences `lstm(data, batch_sizes, hx, params, has_biases, num_layers, dropout, train, bidirectional)`.

    Args:
        input: (T, B, I), with `batch_first` (B, T, I).
        data: (N, I), packed, with `batch_sizes` (T,) on the CPU.
        hx: the first hidden states (layers·directions, B, P) and cells (layers·directions, B, H).
        params: the weights of each layer and direction in order.
        has_biases: whether there are biases among them.
        num_layers: how many layers.
        dropout: the probability with which elements between layers are dropped in training.
        train: whether this is training.
        bidirectional: whether each layer runs in both directions.
        batch_first: where the batch is.

    Returns:
        The outputs of the last layer, and the last hidden states and cells of all layers.
    """
    return _layers("lstm", "LSTM", args, kwargs)  # type: ignore[return-value]


def gru(*args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
    """Run a GRU over sequences: see `nn.GRU`; arguments as for `lstm`, but `hx` is one tensor."""
    return _layers("gru", "GRU", args, kwargs)  # type: ignore[return-value]


def rnn_tanh(*args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
    """Run a tanh network over sequences: see `nn.RNN`; arguments as for `gru`."""
    return _layers("rnn_tanh", "RNN_TANH", args, kwargs)  # type: ignore[return-value]


def rnn_relu(*args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
    """Run a ReLU network over sequences: see `nn.RNN`; arguments as for `gru`."""
    return _layers("rnn_relu", "RNN_RELU", args, kwargs)  # type: ignore[return-value]


def _cell(name: str, mode: str, input: Tensor, hx: Sequence[Tensor], *weights: Tensor | None) -> Any:
    """Run one step of a kind of cell."""
    require_tensor(name, "input", input)
    kind = NODES[mode]
    for argument, tensor in zip(("w_ih", "w_hh", "b_ih", "b_hh"), weights, strict=True):
        if tensor is not None or argument.startswith("w"):
            require_tensor(name, argument, tensor)
    w_ih, w_hh, *biases = weights
    assert w_ih is not None and w_hh is not None
    if any(b is not None for b in biases):
        biases = [Tensor._filled(w_ih.shape[:1], 0, w_ih.dtype, w_ih._device) if b is None else b for b in biases]
    given = [w_ih, w_hh, *[b for b in biases if b is not None]]
    _require_alike(name, input, [*hx, *given])
    if input.ndim != 2 or input.shape[1] != w_ih.shape[-1]:
        raise RuntimeError(f"input has inconsistent input_size: got {input.shape[-1]} expected {w_ih.shape[-1]}")
    for number, tensor in enumerate(hx):
        if tensor.shape[0] != input.shape[0]:
            raise RuntimeError(
                f"Input batch size {input.shape[0]} doesn't match hidden{number} batch size {tensor.shape[0]}"
            )
        if tensor.ndim != 2 or tensor.shape[1] != w_hh.shape[-1]:
            raise RuntimeError(
                f"hidden{number} has inconsistent hidden_size: got {tensor.shape[-1]}, expected {w_hh.shape[-1]}"
            )
    node = kind(even_sizes(1, input.shape[0]), len(given) == 4, cell=True)
    _require_weights(name, node, (input, *hx, *given))
    return _apply(node, input, *hx, *given)


def lstm_cell(
    input: Tensor,
    hx: Sequence[Tensor],
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Run one step of an LSTM.

    Args:
        input: (B, I).
        hx: hidden state and cell, (B, H) both.
        w_ih: (4·H, I), the gates i, f, g, o.
        w_hh: (4·H, H).
        b_ih: (4·H,) or None.
        b_hh: (4·H,) or None.

    Returns:
        The next hidden state and cell.
    """
    if not isinstance(hx, (tuple, list)):
        raise TypeError(f"lstm_cell(): argument 'hx' (position 2) must be tuple of Tensors, not {type(hx).__name__}")
    if len(hx) != 2:
        raise RuntimeError("lstm_cell expects two hidden states")
    for tensor in hx:
        require_tensor("lstm_cell", "hx", tensor)
    return _cell("lstm_cell", "LSTM", input, hx, w_ih, w_hh, b_ih, b_hh)


def gru_cell(
    input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None, b_hh: Tensor | None = None
) -> Tensor:
    """Run one step of a GRU, gates r, z, n: arguments as for `lstm_cell`, but `hx` is one tensor."""
    require_tensor("gru_cell", "hx", hx)
    return _cell("gru_cell", "GRU", input, (hx,), w_ih, w_hh, b_ih, b_hh)


def rnn_tanh_cell(
    input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None, b_hh: Tensor | None = None
) -> Tensor:
    """Run one step of a tanh network: arguments as for `gru_cell`."""
    require_tensor("rnn_tanh_cell", "hx", hx)
    return _cell("rnn_tanh_cell", "RNN_TANH", input, (hx,), w_ih, w_hh, b_ih, b_hh)


def rnn_relu_cell(
    input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None, b_hh: Tensor | None = None
) -> Tensor:
    """Run one step of a ReLU network: arguments as for `gru_cell`."""
    require_tensor("rnn_relu_cell", "hx", hx)
    return _cell("rnn_relu_cell", "RNN_RELU", input, (hx,), w_ih, w_hh, b_ih, b_hh)
