"""docs/compatibility.md tells what nbtorch has of PyTorch's names; it is written by the script beside it."""

import runpy
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def script():
    pytest.importorskip("torch")
    return runpy.run_path(str(DOCS / "compatibility.py"))


@pytest.mark.filterwarnings("ignore")
def test_the_page_is_current(script):
    assert (DOCS / "compatibility.md").read_text() == script["page"](), "run: python docs/compatibility.py --write"
