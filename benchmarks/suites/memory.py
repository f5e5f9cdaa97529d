"""Peak resident memory of training, in a fresh process each, and how many fresh pages a step asks the system for."""

import json
import sys

from ..groups import Environment
from .step import TRAINING


def footprint(case: str):
    """Return a measure of a case of the group `step`."""

    def measure(library: str, environment: Environment) -> dict[str, float]:
        program = (sys.executable, "-m", "benchmarks.footprint")
        return json.loads(environment.run(*program, library, str(environment.threads), case))

    return measure


MEASURES = {case: footprint(case) for case in TRAINING}
