"""Activations, forward alone and with backward, on tensors that fill the caches many times and on small ones."""

from typing import Any

NAMES = (
    "relu",
    "leaky_relu",
    "elu",
    "selu",
    "hardtanh",
    "hardswish",
    "hardsigmoid",
    "softplus",
    "softsign",
    "logsigmoid",
    "sigmoid",
    "tanh",
    "silu",
    "mish",
    "gelu",
)
SHAPES = {"large": (32, 64, 56, 56), "small": (64, 128)}


def forward(name: str, shape: tuple[int, ...]):
    """Return a case: the function alone."""

    def prepare(torch: Any):
        function, x = getattr(torch.nn.functional, name), torch.randn(*shape)

        def step() -> None:
            function(x)

        return step

    return prepare


def training(name: str, shape: tuple[int, ...]):
    """Return a case: the function and its gradient."""

    def prepare(torch: Any):
        function, x = getattr(torch.nn.functional, name), torch.randn(*shape, requires_grad=True)
        grad = torch.ones(*shape)

        def step() -> None:
            x.grad = None
            function(x).backward(grad)

        return step

    return prepare


CASES = {
    f"{name}, {size}{suffix}": make(name, shape)
    for size, shape in SHAPES.items()
    for name in NAMES
    for suffix, make in (("", forward), (", backward", training))
}
