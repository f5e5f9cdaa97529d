"""Imports run one way, and importing nbtorch brings in nothing heavy."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = [
    ("kernels",),
    (
        "nbtorch/device",
        "nbtorch/dtypes",
        "nbtorch/limits",
        "nbtorch/layout",
        "nbtorch/quiet",
        "nbtorch/hooks",
        "nbtorch/spelling",
        "nbtorch/_version",
    ),
    ("nbtorch/autograd", "nbtorch/tensor", "nbtorch/values"),
    ("nbtorch/ops",),
    ("nbtorch/creation", "nbtorch/exchange", "nbtorch/random", "nbtorch/printing", "nbtorch/storage"),
    (
        "nbtorch/nn/arguments",
        "nbtorch/nn/attention",
        "nbtorch/nn/attention_functions",
        "nbtorch/nn/pooling",
        "nbtorch/nn/padding",
        "nbtorch/nn/sampling",
        "nbtorch/nn/loss_functions",
        "nbtorch/nn/linear_cross_entropy",
        "nbtorch/nn/grad",
        "nbtorch/nn/functional",
        "nbtorch/nn/recurrent",
        "nbtorch/nn/utils/rnn",
    ),
    ("nbtorch/nn/parameter", "nbtorch/nn/init", "nbtorch/nn/modules"),
    ("nbtorch/optim",),
]
"""From the bottom up; a file imports from its own layer and from those below. What is not listed stands on top."""

# Random numbers and created tensors take their sizes from an operation, yet operations of random values use them.
TOP = len(LAYERS)


def layer_of(path):
    for level, prefixes in enumerate(LAYERS):
        if any(path == p or path.startswith(p + "/") for p in prefixes):
            return level
    return TOP


def imported_paths(file):
    """Yield the paths, without suffix, that a file imports anywhere but for type checks."""
    package = file.relative_to(ROOT).parent.parts
    tree = ast.parse(file.read_text())
    checked = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in checked:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name.replace(".", "/") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            name = "/".join((*base, *(node.module.split(".") if node.module else ())))
            yield from (f"{name}/{alias.name}" for alias in node.names)


def sources():
    return sorted([*ROOT.glob("kernels/**/*.py"), *ROOT.glob("nbtorch/**/*.py")])


@pytest.mark.parametrize("file", sources(), ids=lambda f: str(f.relative_to(ROOT)))
def test_imports_run_one_way(file):
    own = layer_of(str(file.relative_to(ROOT).with_suffix("")).removesuffix("/__init__"))
    for path in imported_paths(file):
        path = path.replace("nbtorch/kernels", "kernels")
        if path.startswith(("kernels", "nbtorch/")):
            assert layer_of(path) <= own, f"{file.name} imports {path}"


def test_importing_nbtorch_is_light():
    heavy = ["torch", "scipy", "matplotlib", "cupy", "rich", "numba.cuda.cudadrv.driver"]
    program = f"import nbtorch, sys; print([m for m in {heavy} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
