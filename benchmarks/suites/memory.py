"""Peak resident memory, in a fresh process each, and how many fresh pages a step asks the system for.

Of whole training steps, and of single convolution layers forward and backward.
"""

import json
import sys

from ..groups import Environment
from . import conv, conv_transpose
from .step import TRAINING


def footprint(suite: str, case: str):
    """Return a measure of a case of another suite."""

    def measure(library: str, environment: Environment) -> dict[str, float]:
        program = (sys.executable, "-m", "benchmarks.footprint")
        return json.loads(environment.run(*program, library, str(environment.threads), suite, case))

    return measure


MEASURES = {case: footprint("step", case) for case in TRAINING}
MEASURES |= {
    f"layer {case}": footprint(suite, case)
    for suite, cases in (("conv", conv.CASES), ("conv_transpose", conv_transpose.CASES))
    for case in cases
    if case.endswith("backward")
}
