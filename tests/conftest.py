"""Marks the modules that compare with PyTorch, so that they can be run once it is installed: `pytest -m torch`."""

import functools
from pathlib import Path

import pytest


@functools.cache
def compares_with_torch(path: Path) -> bool:
    source = path.read_text()
    return 'importorskip("torch")' in source or "against_torch" in source


def pytest_collection_modifyitems(items):
    for item in items:
        if "same" in getattr(item, "fixturenames", ()) or compares_with_torch(item.path):
            item.add_marker(pytest.mark.torch)
