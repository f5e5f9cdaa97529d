"""Recurrent layers, in inference and in training with backward: single sequences and batches, short and long."""

from typing import Any

LAYERS = {
    # kind, batch, steps, hidden size (and input size), options
    "LSTM, 1 x 32 x 32": ("LSTM", 1, 32, 32, {}),
    "LSTM, 1 x 256 x 128": ("LSTM", 1, 256, 128, {}),
    "LSTM, 1 x 64 x 512": ("LSTM", 1, 64, 512, {}),
    "LSTM, 16 x 32 x 128": ("LSTM", 16, 32, 128, {}),
    "LSTM, 16 x 64 x 256, 2 layers": ("LSTM", 16, 64, 256, {"num_layers": 2}),
    "LSTM, 16 x 32 x 64, bidirectional": ("LSTM", 16, 32, 64, {"bidirectional": True}),
    "LSTM, 64 x 64 x 64": ("LSTM", 64, 64, 64, {}),
    "LSTM, 64 x 32 x 512": ("LSTM", 64, 32, 512, {}),
    "GRU, 1 x 32 x 32": ("GRU", 1, 32, 32, {}),
    "GRU, 1 x 64 x 512": ("GRU", 1, 64, 512, {}),
    "GRU, 16 x 64 x 128, 2 layers, bidirectional": ("GRU", 16, 64, 128, {"num_layers": 2, "bidirectional": True}),
    "GRU, 64 x 32 x 256": ("GRU", 64, 32, 256, {}),
    "RNN, 1 x 128 x 64": ("RNN", 1, 128, 64, {}),
    "RNN, 16 x 64 x 256": ("RNN", 16, 64, 256, {}),
    "RNN, 64 x 32 x 512, ReLU": ("RNN", 64, 32, 512, {"nonlinearity": "relu"}),
}


def case(kind: str, batch: int, steps: int, size: int, options: dict[str, Any], backward: bool):
    """Return a case: a layer in inference, or in training with its gradients."""

    def prepare(torch: Any):
        layer = getattr(torch.nn, kind)(size, size, **options).train(backward)
        x = torch.randn(steps, batch, size, requires_grad=backward)
        grad = torch.ones(steps, batch, size * layer.bidirectional + size)

        def step() -> None:
            if not backward:
                with torch.no_grad():
                    layer(x)
                return
            x.grad = None
            layer.zero_grad()
            layer(x)[0].backward(grad)

        return step

    return prepare


def packed(kind: str, batch: int, steps: int, size: int):
    """Return a case: packed sequences of lengths from 1 to `steps`, in training."""

    def prepare(torch: Any):
        layer, x = getattr(torch.nn, kind)(size, size), torch.randn(steps, batch, size)
        lengths = [1 + sequence * (steps - 1) // (batch - 1) for sequence in range(batch)]
        sequences = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
        grad = torch.ones(*sequences.data.shape)

        def step() -> None:
            layer.zero_grad()
            layer(sequences)[0].data.backward(grad)

        return step

    return prepare


CASES = {
    f"{name}{', training' if backward else ''}": case(*layer, backward)
    for name, layer in LAYERS.items()
    for backward in (False, True)
} | {f"{kind}, packed, 16 x 64 x 128, training": packed(kind, 16, 64, 128) for kind in ("LSTM", "GRU")}
