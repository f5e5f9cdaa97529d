"""Recurrent layers, `RNN`, `LSTM` and `GRU`, and their cells."""

from __future__ import annotations

import math
import numbers
import warnings
from typing import Any

from ...creation import empty, zeros
from ...tensor import Tensor
from .. import init, recurrent
from ..parameter import Parameter
from ..utils.rnn import PackedSequence
from .module import Module

_GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}


class RNNBase(Module):
    """What recurrent layers have in common: parameters, options and checks.

    Args:
        mode: `"RNN_TANH"`, `"RNN_RELU"`, `"LSTM"` or `"GRU"`.
        input_size: features of an element.
        hidden_size: features of a state.
        num_layers: how many layers, each of which takes the outputs of the one before.
        bias: whether to learn biases.
        batch_first: take and return (B, T, *) instead of (T, B, *).
        dropout: the probability with which elements between layers are dropped in training.
        bidirectional: run each layer in both directions, and join what they give.
        proj_size: features that an LSTM's states are projected to; 0 for none.
        device: where the parameters lie.
        dtype: their type.

    Attributes:
        weight_ih_l[k], weight_hh_l[k]: weights of layer k, (gates · hidden_size, features); with the suffix `_reverse`
            those of the second direction.
        bias_ih_l[k], bias_hh_l[k]: (gates · hidden_size,).
        weight_hr_l[k]: (proj_size, hidden_size).

    Raises:
        ValueError: sizes that are not positive, a probability outside of [0, 1], an unknown mode.
        TypeError: arguments of another type.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.RNNBase.html
    """

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.mode = mode
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        self._check_options(dropout)
        self._all_weights: list[list[str]] = []
        for layer in range(num_layers):
            for suffix in ("", "_reverse")[: self._directions]:
                self._all_weights.append(self._add_weights(layer, suffix, device, dtype))
        self.reset_parameters()

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    def _check_options(self, dropout: Any) -> None:
        if not isinstance(dropout, numbers.Number) or isinstance(dropout, bool) or not 0 <= dropout <= 1:  # type: ignore[operator]
            raise ValueError(
                "dropout should be a number in range [0, 1] representing the probability of an element being zeroed,"
                f" got {dropout!r}"
            )
        if dropout > 0 and self.num_layers == 1:  # type: ignore[operator]
            warnings.warn(
                "dropout option adds dropout after all but last recurrent layer, so non-zero dropout expects num_layers"
                f" greater than 1, but got dropout={dropout} and num_layers={self.num_layers}",
                UserWarning,
                stacklevel=3,
            )
        for name, kind in (("bias", bool), ("batch_first", bool), ("input_size", int), ("hidden_size", int)):
            if not isinstance(getattr(self, name), kind):
                given = type(getattr(self, name)).__name__
                raise TypeError(f"{name} should be of type {kind.__name__}, got: {given}")
        for name in ("input_size", "hidden_size", "num_layers"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be greater than zero, got {getattr(self, name)}")
        if self.proj_size < 0:
            raise ValueError(
                f"proj_size should be a positive integer or zero to disable projections, got {self.proj_size}"
            )
        if self.proj_size >= self.hidden_size:
            raise ValueError(
                f"proj_size has to be smaller than hidden_size, got {self.proj_size} and {self.hidden_size}"
            )
        if self.mode not in _GATES:
            raise ValueError(f"Unrecognized RNN mode: {self.mode}")

    def _add_weights(self, layer: int, suffix: str, device: Any, dtype: Any) -> list[str]:
        """Register the parameters of one layer and direction and return their names."""
        size, outputs = _GATES[self.mode] * self.hidden_size, self.proj_size or self.hidden_size
        features = self.input_size if layer == 0 else outputs * self._directions
        shapes: dict[str, tuple[int, ...]] = {"weight_ih": (size, features), "weight_hh": (size, outputs)}
        if self.bias:
            shapes |= {"bias_ih": (size,), "bias_hh": (size,)}
        if self.proj_size:
            shapes["weight_hr"] = (self.proj_size, self.hidden_size)
        names = []
        for kind, shape in shapes.items():
            names.append(f"{kind}_l{layer}{suffix}")
            setattr(self, names[-1], Parameter(empty(shape, device=device, dtype=dtype)))
        return names

    def reset_parameters(self) -> None:
        """Draw new initial values, uniformly from ±1/sqrt(hidden_size)."""
        bound = 1 / math.sqrt(self.hidden_size)
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def flatten_parameters(self) -> None:
        """Do nothing: the parameters need not lie side by side here."""

    @property
    def _flat_weights_names(self) -> list[str]:
        return [name for names in self._all_weights for name in names]

    @property
    def _flat_weights(self) -> list[Any]:
        """The parameters of all layers and directions in order."""
        known = self._parameters
        return [known[n] if n in known else getattr(self, n, None) for names in self._all_weights for n in names]

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The parameters, a list of each layer and direction."""
        return [[getattr(self, name) for name in names] for names in self._all_weights]

    def check_input(self, input: Tensor, batch_sizes: Tensor | None) -> None:
        """Refuse an input of another type, rank or number of features."""
        dtype = getattr(self, self._all_weights[0][0]).dtype
        if input.dtype is not dtype:
            raise ValueError(
                f"RNN input dtype ({input.dtype}) does not match weight dtype ({dtype}). Convert input:"
                f" input.to({dtype}), or convert model: model.to({input.dtype})"
            )
        expected = 3 if batch_sizes is None else 2
        if input.ndim != expected:
            raise RuntimeError(f"input must have {expected} dimensions, got {input.ndim}")
        if self.input_size != input.shape[-1]:
            raise RuntimeError(
                f"input.size(-1) must be equal to input_size. Expected {self.input_size}, got {input.shape[-1]}"
            )

    def get_expected_hidden_size(self, input: Tensor, batch_sizes: Tensor | None) -> tuple[int, int, int]:
        """Return the shape that first hidden states must have."""
        batch = int(batch_sizes[0]) if batch_sizes is not None else input.shape[0 if self.batch_first else 1]
        return self.num_layers * self._directions, batch, self.proj_size or self.hidden_size

    def check_hidden_size(
        self, hx: Tensor, expected_hidden_size: tuple[int, int, int], msg: str = "Expected hidden size {}, got {}"
    ) -> None:
        """Refuse first states of another shape."""
        if hx.size() != expected_hidden_size:
            raise RuntimeError(msg.format(expected_hidden_size, list(hx.size())))

    def check_forward_args(self, input: Tensor, hidden: Any, batch_sizes: Tensor | None) -> None:
        """Check the input and the first states."""
        self.check_input(input, batch_sizes)
        self.check_hidden_size(hidden, self.get_expected_hidden_size(input, batch_sizes))

    def permute_hidden(self, hx: Any, permutation: Tensor | None) -> Any:
        """Return states in another order of the sequences."""
        return hx if permutation is None else hx.index_select(1, permutation)

    def extra_repr(self) -> str:
        """Return the options that are not the defaults."""
        options = {
            "proj_size": self.proj_size != 0,
            "num_layers": self.num_layers != 1,
            "bias": self.bias is not True,
            "batch_first": self.batch_first is not False,
            "dropout": self.dropout != 0,
            "bidirectional": self.bidirectional is not False,
        }
        shown = [f"{name}={getattr(self, name)}" for name, differs in options.items() if differs]
        return ", ".join([str(self.input_size), str(self.hidden_size), *shown])

    def _run(self, input: Any, hx: Any) -> tuple[Any, Any]:
        """Run all layers on padded or packed sequences, from given states or zeros."""
        if isinstance(input, PackedSequence):
            data, batch_sizes, sorted_indices, unsorted_indices = input
            hx = self._zero_states(data, batch_sizes) if hx is None else self.permute_hidden(hx, sorted_indices)
            self.check_forward_args(data, hx, batch_sizes)
            outputs, *states = self._layers(data, hx, False, batch_sizes)
            packed = PackedSequence(outputs, batch_sizes, sorted_indices, unsorted_indices)
            return packed, self.permute_hidden(self._states(states), unsorted_indices)
        if input.dim() not in (2, 3):
            raise ValueError(f"{self._kind}: Expected input to be 2D or 3D, got {input.dim()}D instead")
        batched = input.ndim == 3
        if not batched:
            input = input.unsqueeze(0 if self.batch_first else 1)
        if hx is None:
            hx = self._zero_states(input, None)
            self.check_input(input, None)
        else:
            hx = self._batched_states(hx, batched)
            self.check_forward_args(input, hx, None)
        outputs, *states = self._layers(input, hx, self.batch_first, None)
        if not batched:
            outputs, states = outputs.squeeze(0 if self.batch_first else 1), [s.squeeze(1) for s in states]
        return outputs, self._states(states)

    def _layers(self, input: Tensor, hx: Any, batch_first: bool, batch_sizes: Tensor | None) -> tuple[Tensor, ...]:
        options = self._flat_weights, self.bias, self.num_layers, self.dropout, self.training, self.bidirectional
        return recurrent.run_layers(self.mode.lower(), self.mode, input, hx, *options, batch_first, batch_sizes)

    def _zeros(self, input: Tensor, batch_sizes: Tensor | None, features: int) -> Tensor:
        layers, batch, _ = self.get_expected_hidden_size(input, batch_sizes)
        return input._wrap_like(input._xp.zeros((layers, batch, features), input._array.dtype))

    def _zero_states(self, input: Tensor, batch_sizes: Tensor | None) -> Any:
        return self._zeros(input, batch_sizes, self.hidden_size)

    def _batched_states(self, hx: Any, batched: bool) -> Any:
        """Return first states with a batch dimension; refuse those whose rank is not that of the input."""
        if hx.dim() != (3 if batched else 2):
            kinds = ("batched 3-D", "3-D") if batched else ("unbatched 2-D", "2-D")
            raise RuntimeError(f"For {kinds[0]} input, hx should also be {kinds[1]} but got {hx.dim()}-D tensor")
        return hx if batched else hx.unsqueeze(1)

    def _states(self, states: list[Tensor]) -> Any:
        return states[0]

    @property
    def _kind(self) -> str:
        return self.mode.partition("_")[0]


class RNN(RNNBase):
    """A recurrent network: `h = tanh(W_ih x + b_ih + W_hh h + b_hh)` for each element x of a sequence, or with a ReLU.

    Args:
        input_size: features of an element.
        hidden_size: features of a state.
        num_layers: how many layers, each of which takes the outputs of the one before.
        nonlinearity: `"tanh"` or `"relu"`.
        bias: whether to learn biases.
        batch_first: take and return (B, T, *) instead of (T, B, *).
        dropout: the probability with which elements between layers are dropped in training.
        bidirectional: run each layer in both directions, and join what they give.
        device: where the parameters lie.
        dtype: their type.

    Shape:
        - input: (T, B, input_size), (T, input_size), or a `PackedSequence`; first states, zeros unless they are given:
          (layers · directions, B, hidden_size), without B for an input without it.
        - outputs: (T, B, directions · hidden_size), and the last states.

    Raises:
        ValueError: options that make no sense, an input of another rank or type.
        RuntimeError: sizes that do not fit.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.RNN.html

    >>> import nbtorch
    >>> outputs, states = nbtorch.nn.RNN(10, 20, 2)(nbtorch.zeros(5, 3, 10))
    >>> outputs.shape, states.shape
    (torch.Size([5, 3, 20]), torch.Size([2, 3, 20]))
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _refuse_projection(kwargs)
        if len(args) > 3:
            self.nonlinearity = args[3]
            args = args[:3] + args[4:]
        else:
            self.nonlinearity = kwargs.pop("nonlinearity", "tanh")
        if self.nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"Unknown nonlinearity '{self.nonlinearity}'. Select from 'tanh' or 'relu'.")
        super().__init__(f"RNN_{self.nonlinearity.upper()}", *args, **kwargs)

    def forward(self, input: Any, hx: Tensor | None = None) -> tuple[Any, Tensor]:
        """Return the outputs and the last states."""
        return self._run(input, hx)


class LSTM(RNNBase):
    """A network of long short-term memory: `c = f c + i g`, `h = o tanh(c)` for each element of a sequence.

    The gates i, f, o are sigmoids and g is the hyperbolic tangent of `W_ih x + b_ih + W_hh h + b_hh`.

    Args:
        input_size: features of an element.
        hidden_size: features of a cell.
        num_layers: how many layers, each of which takes the outputs of the one before.
        bias: whether to learn biases.
        batch_first: take and return (B, T, *) instead of (T, B, *).
        dropout: the probability with which elements between layers are dropped in training.
        bidirectional: run each layer in both directions, and join what they give.
        proj_size: features that states are projected to; 0 for none.
        device: where the parameters lie.
        dtype: their type.

    Shape:
        - input: (T, B, input_size), (T, input_size), or a `PackedSequence`; first states and cells, zeros unless they
          are given: (layers · directions, B, proj_size or hidden_size) and (layers · directions, B, hidden_size),
          without B for an input without it.
        - outputs: (T, B, directions · (proj_size or hidden_size)), and the pair of last states and cells.

    Raises:
        ValueError: options that make no sense, an input of another rank or type.
        RuntimeError: sizes that do not fit.

    Source: Hochreiter and Schmidhuber, 1997, doi:10.1162/neco.1997.9.8.1735;
    https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTM.html

    >>> import nbtorch
    >>> outputs, (states, cells) = nbtorch.nn.LSTM(10, 20, 2)(nbtorch.zeros(5, 3, 10))
    >>> outputs.shape, states.shape, cells.shape
    (torch.Size([5, 3, 20]), torch.Size([2, 3, 20]), torch.Size([2, 3, 20]))
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__("LSTM", *args, **kwargs)

    def get_expected_cell_size(self, input: Tensor, batch_sizes: Tensor | None) -> tuple[int, int, int]:
        """Return the shape that first cells must have."""
        return (*self.get_expected_hidden_size(input, batch_sizes)[:2], self.hidden_size)

    def check_forward_args(self, input: Tensor, hidden: Any, batch_sizes: Tensor | None) -> None:
        """Check the input and the first states and cells."""
        self.check_input(input, batch_sizes)
        expected = self.get_expected_hidden_size(input, batch_sizes)
        self.check_hidden_size(hidden[0], expected, "Expected hidden[0] size {}, got {}")
        expected = self.get_expected_cell_size(input, batch_sizes)
        self.check_hidden_size(hidden[1], expected, "Expected hidden[1] size {}, got {}")

    def permute_hidden(self, hx: Any, permutation: Tensor | None) -> Any:
        """Return states and cells in another order of the sequences."""
        return hx if permutation is None else tuple(s.index_select(1, permutation) for s in hx)

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, tuple[Tensor, Tensor]]:
        """Return the outputs and the pair of last states and cells."""
        return self._run(input, hx)

    def _zero_states(self, input: Tensor, batch_sizes: Tensor | None) -> Any:
        sizes = self.proj_size or self.hidden_size, self.hidden_size
        return tuple([self._zeros(input, batch_sizes, size) for size in sizes])

    def _batched_states(self, hx: Any, batched: bool) -> Any:
        wanted = 3 if batched else 2
        if hx[0].dim() != wanted or hx[1].dim() != wanted:
            kind = "batched" if batched else "unbatched"
            raise RuntimeError(
                f"For {kind} {wanted}-D input, hx and cx should also be {wanted}-D but got ({hx[0].dim()}-D,"
                f" {hx[1].dim()}-D) tensors"
            )
        return hx if batched else (hx[0].unsqueeze(1), hx[1].unsqueeze(1))

    def _states(self, states: list[Tensor]) -> Any:
        return tuple(states)


class GRU(RNNBase):
    """A network of gated recurrent units: `h = (1 - z) n + z h` for each element of a sequence.

    The gates r, z are sigmoids of `W_ih x + b_ih + W_hh h + b_hh`, and `n = tanh(W_in x + b_in + r (W_hn h + b_hn))`.

    Args:
        input_size: features of an element.
        hidden_size: features of a state.
        num_layers: how many layers, each of which takes the outputs of the one before.
        bias: whether to learn biases.
        batch_first: take and return (B, T, *) instead of (T, B, *).
        dropout: the probability with which elements between layers are dropped in training.
        bidirectional: run each layer in both directions, and join what they give.
        device: where the parameters lie.
        dtype: their type.

    Shape: as `RNN`.

    Raises:
        ValueError: options that make no sense, an input of another rank or type.
        RuntimeError: sizes that do not fit.

    Source: Cho et al., 2014, arXiv:1406.1078; https://docs.pytorch.org/docs/stable/generated/torch.nn.GRU.html

    >>> import nbtorch
    >>> outputs, states = nbtorch.nn.GRU(10, 20, 2, bidirectional=True)(nbtorch.zeros(5, 3, 10))
    >>> outputs.shape, states.shape
    (torch.Size([5, 3, 40]), torch.Size([4, 3, 20]))
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _refuse_projection(kwargs)
        super().__init__("GRU", *args, **kwargs)

    def forward(self, input: Any, hx: Tensor | None = None) -> tuple[Any, Tensor]:
        """Return the outputs and the last states."""
        return self._run(input, hx)


def _refuse_projection(kwargs: dict[str, Any]) -> None:
    if "proj_size" in kwargs:
        raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")


class RNNCellBase(Module):
    """What recurrent cells have in common: parameters and options.

    Args:
        input_size: features of an element.
        hidden_size: features of a state.
        bias: whether to learn biases.
        num_chunks: how many gates there are.
        device: where the parameters lie.
        dtype: their type.

    Attributes:
        weight_ih: (num_chunks · hidden_size, input_size).
        weight_hh: (num_chunks · hidden_size, hidden_size).
        bias_ih, bias_hh: (num_chunks · hidden_size,), or None.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.RNNCell.html
    """

    nonlinearity = "tanh"

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool, num_chunks: int, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        size = num_chunks * hidden_size
        self.weight_ih = Parameter(empty((size, input_size), device=device, dtype=dtype))
        self.weight_hh = Parameter(empty((size, hidden_size), device=device, dtype=dtype))
        for name in ("bias_ih", "bias_hh"):
            self.register_parameter(name, Parameter(empty(size, device=device, dtype=dtype)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial values, uniformly from ±1/sqrt(hidden_size)."""
        bound = 1 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def extra_repr(self) -> str:
        """Return the options that are not the defaults."""
        shown = [str(self.input_size), str(self.hidden_size)]
        shown += [] if self.bias is True else [f"bias={self.bias}"]
        shown += [] if self.nonlinearity == "tanh" else [f"nonlinearity={self.nonlinearity}"]
        return ", ".join(shown)

    def _weights(self) -> tuple[Any, ...]:
        return self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh

    def _batched(self, input: Tensor) -> tuple[Tensor, bool]:
        """Return the input with a batch dimension, and whether it had one."""
        if input.dim() not in (1, 2):
            raise ValueError(f"{type(self).__name__}: Expected input to be 1D or 2D, got {input.dim()}D instead")
        batched = input.ndim == 2
        return (input if batched else input.unsqueeze(0)), batched

    def _zeros(self, input: Tensor) -> Tensor:
        return zeros(input.shape[0], self.hidden_size, dtype=input.dtype, device=input.device)

    def _first_state(self, input: Tensor, hx: Tensor | None, batched: bool) -> Tensor:
        if hx is None:
            return self._zeros(input)
        if hx.dim() not in (1, 2):
            raise ValueError(f"{type(self).__name__}: Expected hidden to be 1D or 2D, got {hx.dim()}D instead")
        return hx if batched else hx.unsqueeze(0)


class RNNCell(RNNCellBase):
    """One step of a recurrent network: `tanh(W_ih x + b_ih + W_hh h + b_hh)`, or with a ReLU.

    Args:
        input_size: features of an element.
        hidden_size: features of a state.
        bias: whether to learn biases.
        nonlinearity: `"tanh"` or `"relu"`.
        device: where the parameters lie.
        dtype: their type.

    Shape: (B, input_size) or (input_size,), and a state, zeros unless given, (B, hidden_size) or (hidden_size,), to the
    next state.

    Raises:
        ValueError: an input or a state of another rank.
        RuntimeError: sizes that do not fit, an unknown nonlinearity.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.RNNCell.html

    >>> import nbtorch
    >>> nbtorch.nn.RNNCell(10, 20)(nbtorch.zeros(3, 10), nbtorch.zeros(3, 20)).shape
    torch.Size([3, 20])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """Return the next state."""
        input, batched = self._batched(input)
        hx = self._first_state(input, hx, batched)
        if self.nonlinearity not in ("tanh", "relu"):
            raise RuntimeError(f"Unknown nonlinearity: {self.nonlinearity}")
        cell = recurrent.rnn_tanh_cell if self.nonlinearity == "tanh" else recurrent.rnn_relu_cell
        result = cell(input, hx, *self._weights())
        return result if batched else result.squeeze(0)


class LSTMCell(RNNCellBase):
    """One step of an `LSTM`.

    Args:
        input_size: features of an element.
        hidden_size: features of a state.
        bias: whether to learn biases.
        device: where the parameters lie.
        dtype: their type.

    Shape: (B, input_size) or (input_size,), and a pair of state and cell, zeros unless given, (B, hidden_size) or
    (hidden_size,), to the next pair.

    Raises:
        ValueError: an input or a state of another rank.
        RuntimeError: sizes that do not fit.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTMCell.html

    >>> import nbtorch
    >>> state, cell = nbtorch.nn.LSTMCell(10, 20)(nbtorch.zeros(3, 10))
    >>> state.shape, cell.shape
    (torch.Size([3, 20]), torch.Size([3, 20]))
    """

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(self, input: Tensor, hx: Any = None) -> tuple[Tensor, Tensor]:
        """Return the next state and cell."""
        for position, state in enumerate(() if hx is None else hx):
            if state.dim() not in (1, 2):
                raise ValueError(f"LSTMCell: Expected hx[{position}] to be 1D or 2D, got {state.dim()}D instead")
        input, batched = self._batched(input)
        if hx is None:
            hx = (self._zeros(input),) * 2
        elif not batched:
            hx = tuple(state.unsqueeze(0) for state in hx)
        result = recurrent.lstm_cell(input, hx, *self._weights())
        return result if batched else (result[0].squeeze(0), result[1].squeeze(0))


class GRUCell(RNNCellBase):
    """One step of a `GRU`.

    Args:
        input_size: features of an element.
        hidden_size: features of a state.
        bias: whether to learn biases.
        device: where the parameters lie.
        dtype: their type.

    Shape: as `RNNCell`.

    Raises:
        ValueError: an input or a state of another rank.
        RuntimeError: sizes that do not fit.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.GRUCell.html

    >>> import nbtorch
    >>> nbtorch.nn.GRUCell(10, 20)(nbtorch.zeros(3, 10)).shape
    torch.Size([3, 20])
    """

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """Return the next state."""
        input, batched = self._batched(input)
        result = recurrent.gru_cell(input, self._first_state(input, hx, batched), *self._weights())
        return result if batched else result.squeeze(0)
