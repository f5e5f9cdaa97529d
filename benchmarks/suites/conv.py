"""Convolution layers of all ranks: forward alone, and forward with the gradients of input, weight and bias."""

import math
from typing import Any


def layer(kind: str, shape: tuple[int, ...], out_channels: int, kernel: Any, backward: bool, **options: Any):
    """Return a case: a module of PyTorch's name on a batch of this shape."""

    def prepare(torch: Any):
        torch.manual_seed(0)
        module = getattr(torch.nn, kind)(shape[1], out_channels, kernel, **options)
        x = torch.randn(*shape, requires_grad=backward)
        if not backward:

            def forward() -> None:
                with torch.no_grad():
                    module(x)

            return forward
        grad = torch.randn(*module(x).shape)

        def step() -> None:
            x.grad = module.weight.grad = module.bias.grad = None
            module(x).backward(grad)

        return step

    return prepare


# name: module, input shape, output channels, kernel, options
LAYERS: dict[str, tuple[Any, ...]] = {
    "LeNet 5x5 1-6, batch 1": ("Conv2d", (1, 1, 28, 28), 6, 5, {"padding": 2}),
    "LeNet 5x5 1-6, batch 64": ("Conv2d", (64, 1, 28, 28), 6, 5, {"padding": 2}),
    "LeNet 5x5 6-16, batch 1": ("Conv2d", (1, 6, 14, 14), 16, 5, {}),
    "LeNet 5x5 6-16, batch 64": ("Conv2d", (64, 6, 14, 14), 16, 5, {}),
    "ResNet-50 7x7/2 3-64, batch 1": ("Conv2d", (1, 3, 224, 224), 64, 7, {"stride": 2, "padding": 3}),
    "ResNet-50 7x7/2 3-64, batch 8": ("Conv2d", (8, 3, 224, 224), 64, 7, {"stride": 2, "padding": 3}),
    "ResNet-50 3x3 64, batch 1": ("Conv2d", (1, 64, 56, 56), 64, 3, {"padding": 1}),
    "ResNet-50 3x3 64, batch 8": ("Conv2d", (8, 64, 56, 56), 64, 3, {"padding": 1}),
    "ResNet-50 3x3 128, batch 8": ("Conv2d", (8, 128, 28, 28), 128, 3, {"padding": 1}),
    "ResNet-50 3x3 256, batch 8": ("Conv2d", (8, 256, 14, 14), 256, 3, {"padding": 1}),
    "ResNet-50 3x3 512, batch 1": ("Conv2d", (1, 512, 7, 7), 512, 3, {"padding": 1}),
    "ResNet-50 3x3 512, batch 8": ("Conv2d", (8, 512, 7, 7), 512, 3, {"padding": 1}),
    "ResNet-50 3x3/2 128, batch 8": ("Conv2d", (8, 128, 56, 56), 128, 3, {"stride": 2, "padding": 1}),
    "ResNet-50 3x3/2 512, batch 8": ("Conv2d", (8, 512, 14, 14), 512, 3, {"stride": 2, "padding": 1}),
    "ResNet-50 1x1 64-256, batch 8": ("Conv2d", (8, 64, 56, 56), 256, 1, {}),
    "ResNet-50 1x1 256-64, batch 8": ("Conv2d", (8, 256, 56, 56), 64, 1, {}),
    "ResNet-50 1x1 1024-256, batch 8": ("Conv2d", (8, 1024, 14, 14), 256, 1, {}),
    "ResNet-50 1x1 512-2048, batch 8": ("Conv2d", (8, 512, 7, 7), 2048, 1, {}),
    "ResNet-50 1x1/2 256-512, batch 8": ("Conv2d", (8, 256, 56, 56), 512, 1, {"stride": 2}),
    "VGG 3x3 3-64, batch 8": ("Conv2d", (8, 3, 112, 112), 64, 3, {"padding": 1}),
    "ResNet-18 3x3 64 on 32x32, batch 64": ("Conv2d", (64, 64, 32, 32), 64, 3, {"padding": 1}),
    "3x3 16 on 32x32, batch 64": ("Conv2d", (64, 16, 32, 32), 16, 3, {"padding": 1}),
    "dilated 3x3 128, batch 8": ("Conv2d", (8, 128, 28, 28), 128, 3, {"padding": 2, "dilation": 2}),
    "grouped 3x3 128 in 32, batch 8": ("Conv2d", (8, 128, 28, 28), 128, 3, {"padding": 1, "groups": 32}),
    "depthwise 3x3 128, batch 8": ("Conv2d", (8, 128, 56, 56), 128, 3, {"padding": 1, "groups": 128}),
    "depthwise 3x3/2 128, batch 8": ("Conv2d", (8, 128, 56, 56), 128, 3, {"padding": 1, "stride": 2, "groups": 128}),
    "depthwise 5x5 240, batch 8": ("Conv2d", (8, 240, 14, 14), 240, 5, {"padding": 2, "groups": 240}),
    "depthwise 3x3 32-64, batch 8": ("Conv2d", (8, 32, 28, 28), 64, 3, {"padding": 1, "groups": 32}),
    "1-d 9 64, batch 8": ("Conv1d", (8, 64, 2048), 64, 9, {"padding": 4}),
    "1-d 64/8 1-32, batch 8": ("Conv1d", (8, 1, 16384), 32, 64, {"stride": 8}),
    "1-d depthwise 31 64, batch 8": ("Conv1d", (8, 64, 2048), 64, 31, {"padding": 15, "groups": 64}),
    "3-d 3x3x3 32, batch 1": ("Conv3d", (1, 32, 16, 28, 28), 32, 3, {"padding": 1}),
    "3-d 3x3x3/2 64, batch 2": ("Conv3d", (2, 64, 16, 28, 28), 64, 3, {"padding": 1, "stride": 2}),
    "3-d 3x3x3 1-16, batch 1": ("Conv3d", (1, 1, 32, 48, 48), 16, 3, {"padding": 1}),
    "3-d depthwise 3x3x3 32, batch 2": ("Conv3d", (2, 32, 16, 28, 28), 32, 3, {"padding": 1, "groups": 32}),
}


def extents(value: Any, rank: int) -> tuple[int, ...]:
    """Return one number for each dimension."""
    return (value,) * rank if isinstance(value, int) else tuple(value)


def flops(kind: str, shape: tuple[int, ...], out_channels: int, kernel: Any, **options: Any) -> float:
    """Return the floating-point operations of a layer's forward pass, padding included."""
    rank = len(shape) - 2
    taps = extents(kernel, rank)
    stride, padding, dilation = (
        extents(options.get(name, default), rank) for name, default in (("stride", 1), ("padding", 0), ("dilation", 1))
    )
    walked = shape[2:]  # a transposed convolution multiplies every element of its input with every tap
    if not kind.startswith("ConvTranspose"):
        walked = tuple(
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, k, s, p, d in zip(shape[2:], taps, stride, padding, dilation, strict=True)
        )
    pairs = shape[1] * out_channels // options.get("groups", 1)
    return 2.0 * shape[0] * pairs * math.prod(walked) * math.prod(taps)


def cases(layers: dict[str, tuple[Any, ...]]) -> tuple[dict[str, Any], dict[str, float]]:
    """Return two cases for each layer, and their floating-point operations."""
    found, counts = {}, {}
    for name, (kind, *shape, options) in layers.items():
        for backward in (False, True):
            case = f"{name}, {'forward+backward' if backward else 'forward'}"
            found[case] = layer(kind, *shape, backward, **options)
            counts[case] = flops(kind, *shape, **options) * (3 if backward else 1)
    return found, counts


CASES, FLOPS = cases(LAYERS)
