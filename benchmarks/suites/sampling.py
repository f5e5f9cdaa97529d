"""Interpolation, sampling at given places, blocks as columns, shuffling and embedding: forward, and with backward."""

from typing import Any

SIGNALS = (16, 64, 1024)
IMAGES = (8, 32, 64, 64)
PHOTOGRAPHS = (4, 3, 256, 256)
VOLUMES = (2, 8, 16, 32, 32)

CASES: dict[str, Any] = {}


def forward(call: Any):
    """Return a case: a function of one tensor, without a gradient."""

    def prepare(torch: Any):
        torch.manual_seed(0)
        function, inputs = call(torch)

        def step() -> None:
            with torch.no_grad():
                function(*inputs)

        return step

    return prepare


def both(call: Any):
    """Return a case: the function and the gradients of its floating-point inputs."""

    def prepare(torch: Any):
        torch.manual_seed(0)
        function, inputs = call(torch)
        inputs = [x.requires_grad_() if x.is_floating_point() else x for x in inputs]
        grad = torch.ones_like(function(*inputs).detach())

        def step() -> None:
            for x in inputs:
                x.grad = None
            function(*inputs).backward(grad)

        return step

    return prepare


def add(name: str, call: Any) -> None:
    """Add `call(torch)`, which returns a function and its inputs, as two cases."""
    CASES[f"{name}, forward"] = forward(call)
    CASES[f"{name}, both"] = both(call)


def image(name: str, shape: tuple[int, ...], *arguments: Any, **options: Any):
    """Return a call of a function of `nn.functional` on one tensor."""

    def call(torch: Any):
        function = getattr(torch.nn.functional, name)
        return lambda x: function(x, *arguments, **options), [torch.rand(*shape)]

    return call


def resized(mode: str, shape: tuple[int, ...], size: Any, **options: Any) -> None:
    """Add an interpolation to a size or by a factor."""
    to = {"scale_factor": size} if isinstance(size, (int, float)) else {"size": size}
    label = f"by {size}" if isinstance(size, (int, float)) else "to " + " x ".join(map(str, size))
    extra = "".join(f", {name}" for name in options)
    extents = " x ".join(map(str, shape))
    add(f"{mode}{extra}, {extents} {label}", image("interpolate", shape, mode=mode, **to, **options))


def sampled(mode: str, shape: tuple[int, ...], padding_mode: str = "zeros") -> None:
    """Add sampling on a grid as large as the input, slightly distorted."""
    rank = len(shape) - 2

    def call(torch: Any):
        theta = torch.eye(rank, rank + 1).repeat(shape[0], 1, 1)
        grid = torch.nn.functional.affine_grid(theta, shape, align_corners=False)
        grid = grid * 1.05 + 0.1 * torch.rand(*grid.shape)
        sample = torch.nn.functional.grid_sample
        return lambda x, g: sample(x, g, mode, padding_mode, align_corners=False), [torch.rand(*shape), grid]

    add(f"grid_sample {mode} {padding_mode}, {' x '.join(map(str, shape))}", call)


def picked(rows: int, width: int, shape: tuple[int, ...]) -> None:
    """Add an embedding."""

    def call(torch: Any):
        numbers = torch.randint(0, rows, shape)
        return lambda table: torch.nn.functional.embedding(numbers, table), [torch.rand(rows, width)]

    add(f"embedding, {rows} x {width}, {' x '.join(map(str, shape))}", call)


def bags(mode: str, rows: int, width: int, shape: tuple[int, int], weighted: bool = False) -> None:
    """Add bags of embeddings."""

    def call(torch: Any):
        numbers = torch.randint(0, rows, shape)
        table = torch.rand(rows, width)
        bag = torch.nn.functional.embedding_bag
        if weighted:
            weights = torch.rand(*shape)
            return lambda t, w: bag(numbers, t, mode=mode, per_sample_weights=w), [table, weights]
        return lambda t: bag(numbers, t, mode=mode), [table]

    extra = " weighted" if weighted else ""
    add(f"embedding_bag {mode}{extra}, {rows} x {width}, {shape[0]} x {shape[1]}", call)


resized("nearest", SIGNALS, 2)
resized("linear", SIGNALS, 2)
resized("linear", SIGNALS, (300,))
resized("nearest", IMAGES, 2)
resized("nearest", IMAGES, (48, 48))
resized("nearest-exact", PHOTOGRAPHS, (224, 224))
resized("bilinear", IMAGES, 2)
resized("bilinear", IMAGES, 2, align_corners=True)
resized("bilinear", IMAGES, 0.5)
resized("bilinear", PHOTOGRAPHS, (224, 224))
resized("bilinear", PHOTOGRAPHS, (600, 400))
resized("bilinear", (1, 16, 7, 7), (14, 14))
resized("bilinear", PHOTOGRAPHS, (224, 224), antialias=True)
resized("bilinear", PHOTOGRAPHS, (64, 64), antialias=True)
resized("bicubic", IMAGES, 2)
resized("bicubic", PHOTOGRAPHS, (224, 224))
resized("bicubic", PHOTOGRAPHS, (64, 64), antialias=True)
resized("bicubic", PHOTOGRAPHS, (400, 400), antialias=True)
resized("area", PHOTOGRAPHS, (100, 100))
resized("nearest", VOLUMES, 2)
resized("trilinear", VOLUMES, 2)
resized("trilinear", VOLUMES, (12, 20, 20))
sampled("bilinear", (8, 16, 64, 64))
sampled("bilinear", (4, 3, 224, 224), "border")
sampled("bilinear", (4, 3, 224, 224), "reflection")
sampled("nearest", (8, 16, 64, 64))
sampled("bicubic", (8, 16, 64, 64))
sampled("bilinear", (2, 4, 16, 32, 32))
sampled("nearest", (2, 4, 16, 32, 32), "border")
add(
    "affine_grid, 16 x 128 x 128",
    lambda torch: (
        lambda theta: torch.nn.functional.affine_grid(theta, (16, 1, 128, 128), align_corners=False),
        [torch.rand(16, 2, 3)],
    ),
)
add("unfold 3, 8 x 16 x 64 x 64", image("unfold", (8, 16, 64, 64), 3, padding=1))
add("unfold 8/8, 8 x 3 x 224 x 224", image("unfold", (8, 3, 224, 224), 8, stride=8))
add("fold 3, to 8 x 16 x 64 x 64", image("fold", (8, 144, 4096), (64, 64), 3, padding=1))
add("fold 8/8, to 8 x 3 x 224 x 224", image("fold", (8, 192, 784), (224, 224), 8, stride=8))
add("pixel_shuffle 2, 8 x 64 x 64 x 64", image("pixel_shuffle", (8, 64, 64, 64), 2))
add("pixel_shuffle 4, 4 x 48 x 64 x 64", image("pixel_shuffle", (4, 48, 64, 64), 4))
add("pixel_unshuffle 2, 8 x 16 x 128 x 128", image("pixel_unshuffle", (8, 16, 128, 128), 2))
add("channel_shuffle 8, 8 x 64 x 56 x 56", image("channel_shuffle", (8, 64, 56, 56), 8))
picked(10000, 256, (64, 128))
picked(1000, 32, (16, 16))
bags("sum", 10000, 128, (256, 50))
bags("mean", 10000, 128, (256, 50))
bags("max", 10000, 128, (256, 50))
bags("sum", 10000, 64, (256, 20), weighted=True)
