"""Which algorithm a convolution takes: the one place that decides.

The costs are fits to times measured on one thread of a Zen 3 processor (AVX2), in multiplications of the offset GEMM;
all of it is vector code that gains alike from wider vectors. The choice depends on shapes alone, never on the number of
threads, or the same convolution would not give the same bits.
"""

import os
from enum import Enum
from functools import lru_cache
from math import prod

from .conv_plan import Convolution, ceil_div


class Algorithm(Enum):
    """How a convolution is computed, and where it is written."""

    OFFSET_GEMM = "conv.py"
    """The general way: every option, both types."""
    POSITION_GEMM = "position_gemm.py"
    """Output channels in the lanes: short rows, wide strides, stride phases, of layers with enough output channels."""
    DEPTHWISE = "depthwise.py"
    """One input channel per group: a direct sum over taps at the speed of memory."""
    WEIGHT_GEMM = "weight_gemm.py"
    """The gradient of a weight with many channels: positions are summed in registers."""
    WINOGRAD = "winograd.py"
    """3 x 3, stride 1, float32: a quarter of the multiplications, at the price of three transforms."""


WINOGRAD_PRODUCT = 40
"""What the 36 multiplications of a tile, an output channel and a channel cost."""

WINOGRAD_TILE = 650
"""What it costs to transform a tile of one channel, of the source or of the outputs."""

WINOGRAD_WEIGHT = 160
"""What it costs to transform the nine taps of one output channel and channel."""


SHORT_ROW = 16
"""Up to this width, the junk between rows costs the offset GEMM more than the position GEMM's transposed output."""

WIDE_STRIDE = 3
"""From this stride along rows on, splitting the source by phases costs more."""

LANE_CHANNELS = 16
"""From so many output channels per group on, they fill the lanes of a position GEMM."""

LEAST_TERMS = 32
"""From so many terms per output on, the transposed output of a position GEMM does not matter."""


def winograd_allowed() -> bool:
    """Tell whether the environment allows Winograd's convolution: `NBTORCH_WINOGRAD=0` turns it off."""
    return os.environ.get("NBTORCH_WINOGRAD") != "0"


def _winograd_fits(convolution: Convolution) -> bool:
    """Tell whether a convolution is one that `winograd.py` computes; float64 keeps its last bits."""
    return (
        convolution.itemsize == 4
        and convolution.kernel_size[1:] == (3, 3)
        and convolution.stride == (1, 1, 1)
        and convolution.dilation[1:] == (1, 1)
    )


def _winograd_pays(convolution: Convolution, target_shape: tuple[int, ...]) -> bool:
    """Tell whether it saves more than the transforms cost: it takes channels, and images not too small."""
    channels = convolution.input_shape[1] // convolution.groups
    rows = convolution.output_shape[1] // convolution.groups
    images, _, planes, height, width = target_shape
    kernels = rows * channels * convolution.kernel_size[0]
    tiles = images * planes * ceil_div(height, 4) * ceil_div(width, 4)
    transforms = WINOGRAD_TILE * tiles * (rows + channels) + WINOGRAD_WEIGHT * kernels
    return transforms + WINOGRAD_PRODUCT * tiles * kernels < 9 * images * prod(target_shape[2:]) * kernels


def _positions_pay(convolution: Convolution, grad_input: bool) -> bool:
    """Tell whether a position GEMM is faster than an offset GEMM; where taps are few, both only wait for memory."""
    channels, rows = convolution.input_shape[1], convolution.output_shape[1]
    terms = prod(convolution.kernel_size) * (rows if grad_input else channels) // convolution.groups
    lanes = (channels if grad_input else rows) // convolution.groups
    if lanes < LANE_CHANNELS or prod(convolution.kernel_size) == 1:
        return False
    if grad_input:
        phases = prod(convolution.stride)
        short = convolution.input_shape[4] <= SHORT_ROW * convolution.stride[2]
        return terms >= LEAST_TERMS * phases and (phases > 1 or short)
    short = convolution.output_shape[4] <= SHORT_ROW
    return terms >= LEAST_TERMS and (short or convolution.stride[2] >= WIDE_STRIDE)


def _is_depthwise(convolution: Convolution) -> bool:
    """Tell whether every group has one input channel, and fewer output channels than a GEMM block has rows."""
    channels, rows = convolution.input_shape[1], convolution.output_shape[1]
    return channels == convolution.groups > 1 and rows < 4 * channels


def choose(convolution: Convolution, grad_input: bool = False, winograd: bool | None = None) -> Algorithm:
    """Return the algorithm for the forward pass of a convolution, or for the gradient of its input.

    Args:
        convolution: shapes and options.
        grad_input: whether the gradient of the input is meant.
        winograd: whether Winograd's convolution may be chosen, by default as the environment says.
    """
    return _choose(convolution, grad_input, winograd_allowed() if winograd is None else winograd)


@lru_cache(maxsize=4096)
def _choose(convolution: Convolution, grad_input: bool, winograd: bool) -> Algorithm:
    target = convolution.input_shape if grad_input else convolution.output_shape
    if _is_depthwise(convolution):
        # the scattered source of a gradient is written element by element, for which its rows must have gaps
        scattered = grad_input and convolution.stride != (1, 1, 1)
        return Algorithm.OFFSET_GEMM if scattered and convolution.stride[2] == 1 else Algorithm.DEPTHWISE
    if winograd and _winograd_fits(convolution) and _winograd_pays(convolution, target):
        return Algorithm.WINOGRAD
    return Algorithm.POSITION_GEMM if _positions_pay(convolution, grad_input) else Algorithm.OFFSET_GEMM


@lru_cache(maxsize=4096)
def choose_grad_weight(convolution: Convolution) -> Algorithm:
    """Return the algorithm for the gradient of the weight."""
    if _is_depthwise(convolution):
        return Algorithm.DEPTHWISE
    channels = convolution.input_shape[1] // convolution.groups
    return Algorithm.WEIGHT_GEMM if channels >= 8 else Algorithm.OFFSET_GEMM
