"""The package lists stay complete, and what the sources promise is in the metadata."""

import configparser
import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import nbtorch

ROOT = Path(__file__).parents[1]


def configuration():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def test_every_folder_with_sources_is_a_listed_package():
    folders = {p.parent for top in ("nbtorch", "kernels") for p in (ROOT / top).glob("**/*.py")}
    names = {".".join(f.relative_to(ROOT).parts) for f in folders}
    packages = {"nbtorch." + n if n.startswith("kernels") else n for n in names}
    assert set(configuration()["options"]["packages"].split()) == packages


def test_run_time_dependencies_are_few():
    requirements = configuration()["options"]["install_requires"].split()
    assert {re.match(r"[\w-]+", r)[0] for r in requirements} == {"numba", "numpy", "llvmlite", "ml_dtypes"}


def test_extras():
    assert set(configuration()["options.extras_require"]) >= {"cuda", "examples", "test", "bench", "docs"}


def test_the_version_is_the_metadatas():
    assert importlib.metadata.version("nbtorch") == nbtorch.__version__


def test_type_markers_exist():
    assert (ROOT / "nbtorch" / "py.typed").exists() and (ROOT / "kernels" / "py.typed").exists()


def test_the_readmes_test_command_is_what_ci_runs():
    pattern = 'pip install -e ".[test]"'
    assert pattern in (ROOT / "README.md").read_text()
    assert pattern in (ROOT / ".ci" / "run").read_text()


def test_the_readmes_quick_start_runs_and_prints_what_it_says():
    import contextlib
    import io

    code = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[0]
    promised = [line[2:] for line in code.splitlines() if line.startswith("# ")]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, {})
    assert printed.getvalue().splitlines() == promised


def test_a_checkout_works_where_python_is_started_in_it():
    program = (
        "import sys; sys.meta_path = [f for f in sys.meta_path if 'editable' not in repr(f).lower()];"
        "import nbtorch.kernels.geometry as geometry; print(geometry.__file__)"
    )
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert Path(run.stdout.strip()) == ROOT / "kernels" / "geometry.py"
