"""What the graph and the tensors themselves cost: operations too small for arithmetic to matter."""

from typing import Any


def chain(length: int, backward: bool):
    """Return a case: additions of tensors of four elements, one after the other."""

    def prepare(torch: Any):
        start, other = torch.ones(4, requires_grad=True), torch.ones(4)

        def step() -> None:
            x = start
            for _ in range(length):
                x = x + other
            if backward:
                x.sum().backward()

        return step

    return prepare


def create(torch: Any):
    """Make a tensor and read its shape, 100 times."""

    def step() -> None:
        for _ in range(100):
            torch.zeros(2, 3).shape  # noqa: B018

    return step


CASES = {
    "1,000 additions, forward": chain(1000, False),
    "1,000 additions, forward and backward": chain(1000, True),
    "100 new tensors and their shapes": create,
}
