"""Padding of one to three dimensions, forward, and forward with backward."""

import math

from .pool import FLOAT, IMAGES, SIGNALS, VOLUMES, both, forward, function

# shape, padding, mode, and for the large images the size of the output over that of the input
PADS = {
    "constant 1": (IMAGES, (1,) * 4, "constant", (114 / 112) ** 2),
    "reflect 2": (IMAGES, (2,) * 4, "reflect", (116 / 112) ** 2),
    "replicate 2": (IMAGES, (2,) * 4, "replicate", (116 / 112) ** 2),
    "circular 2": (IMAGES, (2,) * 4, "circular", (116 / 112) ** 2),
    "reflect 1-d": (SIGNALS, (3, 3), "reflect", 0),
    "replicate 3-d": (VOLUMES, (1,) * 6, "replicate", 0),
    "circular 3-d": (VOLUMES, (1,) * 6, "circular", 0),
}

CASES = {
    f"pad {name}, {passes}": case(shape, function("pad", padding, mode))
    for name, (shape, padding, mode, _) in PADS.items()
    for passes, case in (("forward", forward), ("both", both))
}
BYTES = {
    f"pad {name}, {passes}": times * FLOAT * (1 + ratio) * math.prod(shape)
    for name, (shape, _, _, ratio) in PADS.items()
    for passes, times in (("forward", 1), ("both", 2))
    if ratio
}
