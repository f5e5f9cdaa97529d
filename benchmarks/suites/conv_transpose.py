"""Transposed convolutions: forward alone, and forward with the gradients of input, weight and bias."""

from typing import Any

from .conv import cases

LAYERS: dict[str, tuple[Any, ...]] = {
    "transposed 2x2/2 128-64, batch 8": ("ConvTranspose2d", (8, 128, 32, 32), 64, 2, {"stride": 2}),
    "transposed 4x4/2 128, batch 8": ("ConvTranspose2d", (8, 128, 8, 8), 128, 4, {"stride": 2, "padding": 1}),
    "transposed 3-d 2x2x2/2 64-32, batch 2": ("ConvTranspose3d", (2, 64, 8, 16, 16), 32, 2, {"stride": 2}),
    "transposed 1-d 16/8 64-32, batch 8": ("ConvTranspose1d", (8, 64, 256), 32, 16, {"stride": 8, "padding": 4}),
}

CASES, FLOPS = cases(LAYERS)
