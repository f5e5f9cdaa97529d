"""What stands beside the library proper, under PyTorch's names."""

import importlib

from . import checkpoint as checkpoint
from . import dlpack as dlpack


def __getattr__(name: str) -> object:
    """Import `data` when it is first asked for: it brings multiprocessing."""
    if name == "data":
        return importlib.import_module(".data", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
