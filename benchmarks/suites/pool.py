"""Pooling and unpooling of one to three dimensions, forward, and forward with backward.

`BYTES` says for the large images how many bytes a case must move at least: every array read or written once. `COPY` is
the case whose bandwidth that is compared with.
"""

import math
from typing import Any

FLOAT, INDEX = 4, 8
IMAGES = (32, 64, 112, 112)  # 103 MB
MAPS = (8, 32, 56, 56)
SIGNALS = (16, 64, 4096)
VOLUMES = (2, 16, 32, 64, 64)
DIGITS = (64, 6, 28, 28)  # a batch in LeNet
DIGIT = (1, 6, 28, 28)
FEATURES = (1, 512, 7, 7)  # what ResNet ends with

CASES: dict[str, Any] = {}
BYTES: dict[str, int] = {}
COPY = "copy of 103 MB"


def copy(torch: Any):
    """Copy one array onto another."""
    source, target = torch.ones(*IMAGES), torch.zeros(*IMAGES)
    return lambda: target.copy_(source)


CASES[COPY] = copy
BYTES[COPY] = 2 * FLOAT * math.prod(IMAGES)


def first(result: Any) -> Any:
    """Return the output of a function that may return indices as well."""
    return result[0] if isinstance(result, tuple) else result


def forward(shape: tuple[int, ...], call: Any):
    """Return a case: the function without a gradient."""

    def prepare(torch: Any):
        torch.manual_seed(0)
        x, arguments = torch.rand(*shape), call(torch)

        def step() -> None:
            with torch.no_grad():
                arguments(x)

        return step

    return prepare


def both(shape: tuple[int, ...], call: Any):
    """Return a case: the function and the gradient of its input."""

    def prepare(torch: Any):
        torch.manual_seed(0)
        x, function = torch.rand(*shape, requires_grad=True), call(torch)
        grad = torch.ones_like(first(function(x)).detach())

        def step() -> None:
            x.grad = None
            first(function(x)).backward(grad)

        return step

    return prepare


def add(name: str, shape: tuple[int, ...], call: Any, ratio: float = 0.0, indices: bool = False) -> None:
    """Add a function as two cases; `ratio` is the size of its output over that of its input, of large images."""
    CASES[f"{name}, forward"] = forward(shape, call)
    CASES[f"{name}, both"] = both(shape, call)
    if ratio:
        count = math.prod(shape)
        BYTES[f"{name}, forward"] = int(count * FLOAT * (1 + ratio))
        BYTES[f"{name}, both"] = int(count * (FLOAT * 2 * (1 + ratio) + (2 * INDEX * ratio if indices else 0)))


def function(name: str, *arguments: Any, **options: Any):
    """Return a call of a function of `nn.functional`, once the library is known."""
    return lambda torch: lambda x: getattr(torch.nn.functional, name)(x, *arguments, **options)


def unpool(rank: int, shape: tuple[int, ...]):
    """Return a call that unpools to `shape`, with the indices that pooling 2 leaves behind."""

    def prepare(torch: Any):
        torch.manual_seed(1)
        pool = getattr(torch.nn.functional, f"max_pool{rank}d")
        _, indices = pool(torch.rand(*shape), 2, return_indices=True)
        return lambda x: getattr(torch.nn.functional, f"max_unpool{rank}d")(x, indices, 2)

    return prepare


def halved(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape that pooling 2 makes."""
    return (*shape[:2], *[n // 2 for n in shape[2:]])


add("max_pool2d 2x2/2", IMAGES, function("max_pool2d", 2), 1 / 4, True)
add("max_pool2d 3x3/2", IMAGES, function("max_pool2d", 3, 2, 1), 1 / 4, True)
add("max_pool2d 5x5/1", MAPS, function("max_pool2d", 5, 1, 2))
add("max_pool2d 3x3 dilated", MAPS, function("max_pool2d", 3, 2, 1, 2))
add("max_pool1d 2/2", SIGNALS, function("max_pool1d", 2))
add("max_pool1d 5/3", SIGNALS, function("max_pool1d", 5, 3))
add("max_pool3d 2/2", VOLUMES, function("max_pool3d", 2))
add("max_pool3d 3/2", VOLUMES, function("max_pool3d", 3, 2, 1))
add("avg_pool2d 2x2/2", IMAGES, function("avg_pool2d", 2), 1 / 4)
add("avg_pool2d 3x3/2", IMAGES, function("avg_pool2d", 3, 2, 1), 1 / 4)
add("avg_pool2d 7x7/1", MAPS, function("avg_pool2d", 7, 1, 3, count_include_pad=False))
add("avg_pool1d 4/4", SIGNALS, function("avg_pool1d", 4))
add("avg_pool3d 3/2", VOLUMES, function("avg_pool3d", 3, 2, 1))
add("lp_pool2d p=2 2x2/2", IMAGES, function("lp_pool2d", 2, 2), 1 / 4)
add("lp_pool2d p=1.5 3x3/2", MAPS, function("lp_pool2d", 1.5, 3, 2))
add("lp_pool2d p=3 2x2/2", MAPS, function("lp_pool2d", 3, 2))
add("lp_pool2d p=inf 2x2/2", MAPS, function("lp_pool2d", math.inf, 2))
add("lp_pool1d p=2 3/3", SIGNALS, function("lp_pool1d", 2, 3))
add("lp_pool3d p=2 2/2", VOLUMES, function("lp_pool3d", 2, 2))
add("adaptive_avg_pool2d 1", IMAGES, function("adaptive_avg_pool2d", 1), 1 / 12544)
add("adaptive_avg_pool2d 7", IMAGES, function("adaptive_avg_pool2d", 7), 1 / 256)
add("adaptive_avg_pool1d 100", SIGNALS, function("adaptive_avg_pool1d", 100))
add("adaptive_avg_pool3d 8x7x7", VOLUMES, function("adaptive_avg_pool3d", (8, 7, 7)))
add("adaptive_max_pool2d 7", IMAGES, function("adaptive_max_pool2d", 7), 1 / 256, True)
add("adaptive_max_pool1d 100", SIGNALS, function("adaptive_max_pool1d", 100))
add("adaptive_max_pool3d 8x7x7", VOLUMES, function("adaptive_max_pool3d", (8, 7, 7)))
add("fractional_max_pool2d 2, 40x40", MAPS, function("fractional_max_pool2d", 2, 40))
add("fractional_max_pool3d 2, 20x40x40", VOLUMES, function("fractional_max_pool3d", 2, (20, 40, 40)))
add("max_unpool2d 2x2/2", halved(IMAGES), unpool(2, IMAGES))
add("max_unpool1d 2/2", halved(SIGNALS), unpool(1, SIGNALS))
add("max_unpool3d 2/2", halved(VOLUMES), unpool(3, VOLUMES))
add("max_pool2d 2x2/2, 64 digits", DIGITS, function("max_pool2d", 2))
add("max_pool2d 2x2/2, one digit", DIGIT, function("max_pool2d", 2))
add("avg_pool2d 2x2/2, one digit", DIGIT, function("avg_pool2d", 2))
add("adaptive_avg_pool2d 1, one image", FEATURES, function("adaptive_avg_pool2d", 1))
