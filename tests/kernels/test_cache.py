"""The disk cache: nothing is compiled twice, nothing stale is ever run, and no trouble with files is an error."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbtorch.kernels
import pytest

KERNELS = Path(nbtorch.kernels.__file__).parent

HELPER = """
from .jit import njit

@njit
def scaled(x):
    return 2 * x
"""
KERNEL = """
from .jit import njit
from .cache_test_helper import scaled

@njit
def shifted(x):
    return scaled(x) + 1
"""
PROGRAM = """
from nbtorch.kernels import jit
from nbtorch.kernels.cache_test_kernel import shifted
print(shifted(20), jit.compilations())
"""
TUPLE_KERNEL = """
from collections import namedtuple
from .jit import njit
from .cache_test_helper import scaled
Pair = namedtuple("Pair", "{fields}")

@njit
def shifted(a, b):
    return scaled(Pair(a, b))
"""
TUPLE_PROGRAM = """
from nbtorch.kernels import jit
from nbtorch.kernels.cache_test_{module} import shifted
print(shifted(20, 30), jit.compilations())
"""


@pytest.fixture
def tree(tmp_path):
    """A copy of the package with two more kernel files, one calling the other."""
    root = tmp_path / "tree"
    ignored = shutil.ignore_patterns("__pycache__")
    (root / "nbtorch").mkdir(parents=True)
    (root / "nbtorch" / "__init__.py").write_text("")
    shutil.copytree(KERNELS, root / "nbtorch" / "kernels", ignore=ignored)
    (root / "nbtorch" / "kernels" / "cache_test_helper.py").write_text(HELPER)
    (root / "nbtorch" / "kernels" / "cache_test_kernel.py").write_text(KERNEL)
    return root


def start(tree, program=PROGRAM, **environment):
    settings = {"PYTHONPATH": str(tree), "NBTORCH_CACHE_DIR": str(tree / "cache"), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=tree,
        env={**os.environ, **settings, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(tree, program=PROGRAM, **environment):
    """Run the program; return its result, the number of compilations and what it wrote to stderr."""
    process = start(tree, program, **environment)
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    result, compilations = map(int, output.split())
    return result, compilations, errors


def entries(tree):
    return sorted((tree / "cache").glob("*/*.bin"))


def test_second_process_compiles_nothing(tree):
    assert run(tree) == (41, 2, "")
    assert run(tree) == (41, 0, "")
    assert len(entries(tree)) == 2
    assert not list((tree / "nbtorch").rglob("*.nb?")), "nothing beside the sources"


def test_options_have_one_order_in_every_process(tree):
    flags = '@njit(fastmath={"contract", "reassoc", "nsz", "arcp", "afn"})'
    (tree / "nbtorch" / "kernels" / "cache_test_kernel.py").write_text(KERNEL.replace("@njit", flags))
    assert run(tree, PYTHONHASHSEED="1")[1] == 2
    for seed in "234":
        assert run(tree, PYTHONHASHSEED=seed) == (41, 0, "")


def test_tuples_of_one_name_are_told_apart(tree):
    package = tree / "nbtorch" / "kernels"
    (package / "cache_test_helper.py").write_text(
        HELPER.replace("scaled(x)", "scaled(pair)").replace("* x", "* pair.x")
    )
    for module, fields in (("first", "x y"), ("second", "y x")):
        (package / f"cache_test_{module}.py").write_text(TUPLE_KERNEL.format(fields=fields))
    first, second = (TUPLE_PROGRAM.format(module=module) for module in ("first", "second"))
    assert run(tree, first) == (40, 2, "")
    assert run(tree, second) == (60, 2, "")
    assert run(tree, first) == (40, 0, "")


HELPER_FIRST = """
from nbtorch.kernels import cache_test_helper, cache_test_kernel, jit
result = cache_test_kernel.shifted(20.0)
assert not cache_test_helper.scaled.overloads, "machine code was made of what only a kernel calls"
assert cache_test_helper.scaled(20.0) == 40.0
print(int(result), jit.compilations())
"""


def test_what_kernels_call_can_be_called_from_python_too(tree):
    assert run(tree, HELPER_FIRST)[:2] == (41, 3)
    assert run(tree, HELPER_FIRST) == (41, 0, "")


def test_an_edit_in_another_file_is_noticed(tree):
    assert run(tree)[0] == 41
    helper = tree / "nbtorch" / "kernels" / "cache_test_helper.py"
    stamp = helper.stat()
    helper.write_text(HELPER.replace("2 * x", "3 * x"))
    os.utime(helper, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert run(tree)[:2] == (61, 2)
    helper.write_text(HELPER)
    assert run(tree)[:2] == (41, 0), "the old key folder still serves the old sources"


def test_an_edit_elsewhere_compiles_nothing(tree):
    assert run(tree) == (41, 2, "")
    with (tree / "nbtorch" / "kernels" / "cpu" / "pool.py").open("a") as file:
        file.write("\nUNRELATED = True\n")
    assert run(tree) == (41, 0, "")


@pytest.mark.parametrize(
    "line",
    [
        "from nbtorch.kernels.cache_test_helper import scaled",
        "from nbtorch.kernels import jit, cache_test_helper as helper; scaled = helper.scaled",
        "from . import (\n    jit,\n    cache_test_helper,\n)\nscaled = cache_test_helper.scaled",
        "import nbtorch.kernels.cache_test_helper as helper; scaled = helper.scaled",
    ],
)
def test_every_form_of_import_is_followed(tree, line):
    package = tree / "nbtorch" / "kernels"
    (package / "cache_test_kernel.py").write_text(KERNEL.replace("from .cache_test_helper import scaled", line))
    assert run(tree)[0] == 41
    (package / "cache_test_helper.py").write_text(HELPER.replace("2 * x", "3 * x"))
    assert run(tree)[:2] == (61, 2)


@pytest.mark.parametrize("damage", [b"", b"garbage", None], ids=["empty", "garbage", "truncated"])
def test_damaged_entries_are_compiled_anew(tree, damage):
    run(tree)
    for entry in entries(tree):
        entry.write_bytes(entry.read_bytes()[:1000] if damage is None else damage)
    assert run(tree) == (41, 2, "")
    assert run(tree) == (41, 0, "")


def test_two_processes_at_once(tree):
    processes = [start(tree) for _ in range(2)]
    for process in processes:
        output, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
        assert output.split()[0] == "41"
    assert run(tree) == (41, 0, "")


def test_a_folder_that_cannot_be_written_gives_one_warning(tree):
    blocked = tree / "blocked"
    blocked.write_text("a file, so that not even the superuser can make a folder here")
    result, compilations, errors = run(tree, NBTORCH_CACHE_DIR=str(blocked))
    assert (result, compilations) == (41, 2)
    assert errors.count("RuntimeWarning: nbtorch cannot keep compiled kernels") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="homes are named by other variables")
def test_a_home_that_cannot_be_written_gives_one_warning(tree):
    result, compilations, errors = run(tree, HOME=os.devnull, NBTORCH_CACHE_DIR="", XDG_CACHE_HOME="")
    assert (result, compilations) == (41, 2)
    assert errors.count("RuntimeWarning: nbtorch cannot keep compiled kernels") == 1


def test_a_user_without_a_home_compiles_every_time(tree):
    code = """
from pathlib import Path
def nowhere(cls):
    raise RuntimeError("Could not determine home directory.")
Path.home = classmethod(nowhere)
"""
    result, compilations, errors = run(tree, code + PROGRAM, NBTORCH_CACHE_DIR="", XDG_CACHE_HOME="")
    assert (result, compilations) == (41, 2)
    assert errors.count("RuntimeWarning: nbtorch cannot keep compiled kernels") == 1


def test_settings_that_change_code_have_their_own_folder(tree):
    run(tree)
    assert run(tree, NUMBA_BOUNDSCHECK="1")[:2] == (41, 2)
    assert len(list((tree / "cache").glob("cache_test_kernel-*"))) == 2


def test_old_key_folders_are_pruned(tree):
    for age in range(20):
        folder = tree / "cache" / f"cache_test_kernel-{age:02}"
        folder.mkdir(parents=True)
        os.utime(folder, (1_000_000 - age, 1_000_000 - age))
    run(tree)
    names = {folder.name for folder in (tree / "cache").glob("cache_test_kernel-*")}
    assert len(names) == 8
    assert {f"cache_test_kernel-{age:02}" for age in range(7)} < names


def test_without_the_jit_kernels_are_plain_functions(tree):
    assert run(tree, NUMBA_DISABLE_JIT="1") == (41, 0, "")
    assert entries(tree) == []


def test_progress_is_shown_when_asked_for(tree):
    errors = run(tree, NBTORCH_VERBOSE="1")[2]
    assert errors.startswith("nbtorch: compiling shifted ... ")
    assert errors.endswith(" s (kept for next time)\n")
    assert errors.count("\n") == 1
    assert run(tree, NBTORCH_VERBOSE="1")[2] == ""


WAITING = """
import sys, time
from nbtorch.kernels import jit
jit._announcer.patience = 0.2
if "silent" in sys.argv:
    jit.announce_compilation(False)
for name, seconds in (("_quick", 0.01), ("_conv_forward", 0.5), ("later", 0.3)):
    jit._announcer(name, "start", 0.0)
    time.sleep(seconds)
    jit._announcer(name, "end", seconds)
"""


@pytest.mark.parametrize(
    ("arguments", "variable", "lines"),
    [([], None, 1), (["silent"], None, 0), ([], "0", 0), ([], "1", 3)],
    ids=["by default", "silenced by the function", "silenced by the variable", "every kernel"],
)
def test_a_program_that_waits_for_the_compiler_says_so_once(arguments, variable, lines):
    environment = {**os.environ, **({} if variable is None else {"NBTORCH_VERBOSE": variable})}
    if variable is None:
        environment.pop("NBTORCH_VERBOSE", None)
    command = [sys.executable, "-c", WAITING, *arguments]
    errors = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60).stderr
    assert len(errors.splitlines()) == lines
    if not variable and lines:
        assert errors.startswith("nbtorch: compiling conv forward, once for this machine…")


def test_a_full_disk_does_no_harm(tree):
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("needs /dev/full")
    code = """
import os, tempfile
from nbtorch.kernels import cache
made = tempfile.mkstemp
def on_full_disk(*args, **kwargs):
    handle, path = made(*args, **kwargs)
    os.close(handle)
    return os.open("/dev/full", os.O_WRONLY), path
tempfile.mkstemp = on_full_disk
"""
    result, compilations, errors = run(tree, program=code + PROGRAM)
    assert (result, compilations) == (41, 2)
    assert errors.count("RuntimeWarning: nbtorch cannot keep compiled kernels") == 1
    assert "No space left on device" in errors
    assert entries(tree) == []
    assert run(tree) == (41, 2, ""), "nothing broken was left behind"
