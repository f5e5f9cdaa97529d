"""Activations, dropout and the commonest arithmetic, forward alone and with backward, on large and small tensors."""

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


def dropout(shape: tuple[int, ...], backward: bool):
    """Return a case: dropout of half the elements."""

    def prepare(torch: Any):
        x, grad = torch.randn(*shape, requires_grad=backward), torch.ones(*shape)

        def step() -> None:
            x.grad = None
            y = torch.nn.functional.dropout(x, 0.5, True)
            if backward:
                y.backward(grad)

        return step

    return prepare


ARITHMETIC = {
    "add": lambda torch: torch.add,
    "mul": lambda torch: torch.mul,
    "relu": lambda torch: lambda a, b: torch.relu(a),
}


def arithmetic(name: str, size: int, backward: bool):
    """Return a case: an operation on vectors."""

    def prepare(torch: Any):
        a, b = torch.randn(size, requires_grad=backward), torch.randn(size)
        grad, function = torch.ones(size), ARITHMETIC[name](torch)

        def step() -> None:
            a.grad = None
            y = function(a, b)
            if backward:
                y.backward(grad)

        return step

    return prepare


CASES = (
    {
        f"{name}, {size}{suffix}": make(name, shape)
        for size, shape in SHAPES.items()
        for name in NAMES
        for suffix, make in (("", forward), (", backward", training))
    }
    | {
        f"dropout, {size}{', backward' if backward else ''}": dropout(shape, backward)
        for size, shape in SHAPES.items()
        for backward in (False, True)
    }
    | {
        f"{name}, {size:,} elements{', backward' if backward else ''}": arithmetic(name, size, backward)
        for name in ARITHMETIC
        for size in (1_000, 100_000, 10_000_000)
        for backward in (False, True)
    }
)
