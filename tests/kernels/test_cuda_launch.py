"""How CUDA kernels are kept on disk and launched: without a GPU, with stand-ins for the driver, CuPy and compilers."""

import ctypes
import os
import subprocess
import sys
import types

import numpy as np
import pytest
from nbtorch.kernels import cache, jit
from nbtorch.kernels.cuda import conv, cubins, driver, softmax, target

FLOAT, DOUBLE = np.dtype("float32"), np.dtype("float64")

pytestmark = pytest.mark.skipif(target.is_simulator(), reason="the simulator compiles and loads nothing")


class Libcuda:
    """The driver's functions as C calls them, with a launch that notes what it reads."""

    def __init__(self):
        self.launches, self.loaded, self.linked, self.fails = [], [], [], 0
        pointer, number = ctypes.c_void_p, ctypes.c_uint
        kind = ctypes.CFUNCTYPE(ctypes.c_int, pointer, *[number] * 7, pointer, ctypes.POINTER(pointer), pointer)
        self.cuLaunchKernel = kind(self._launch)
        self.layout = []

    def _launch(self, kernel, x, y, z, threads, threads_y, threads_z, shared, stream, arguments, extra):
        read = [kind.from_address(arguments[i]).value for i, kind in enumerate(self.layout)]
        self.launches.append((kernel, (x, y, z), (threads, threads_y, threads_z), shared, stream, read))
        return self.fails

    def cuInit(self, flags):
        return 0

    def cuLibraryLoadData(self, library, code, *options):
        self.loaded.append(code)
        library._obj.value = 1000 + len(self.loaded)
        return 0

    def cuLibraryGetKernel(self, kernel, library, name):
        kernel._obj.value = library.value + 1000
        self.loaded.append(name)
        return 0

    def cuGetErrorString(self, result, text):
        text._obj.value = b"an illegal memory access was encountered" if result == 700 else None
        return 0 if result == 700 else 1

    def cuLinkCreate_v2(self, count, options, values, state):
        state._obj.value = 7
        return 0

    def cuLinkAddData_v2(self, state, kind, source, size, *rest):
        self.linked.append((state.value, kind, source, size.value))
        return 0 if source.startswith(b".version") else 218

    def cuLinkComplete(self, state, code, size):
        self.code = ctypes.create_string_buffer(b"machine\0code", 12)
        code._obj.value, size._obj.value = ctypes.addressof(self.code), 12
        return 0

    def cuLinkDestroy(self, state):
        self.linked.append("destroyed")
        return 0


class Runtime:
    """CuPy's runtime with two devices of different kinds."""

    def __init__(self):
        self.device, self.set = 0, []

    def getDevice(self):
        return self.device

    def setDevice(self, index):
        self.device = index
        self.set.append(index)

    def getDeviceProperties(self, index):
        return {"major": 8 + index, "minor": 0}


def array(pointer, device=0):
    return types.SimpleNamespace(data=types.SimpleNamespace(ptr=pointer, device_id=device))


@pytest.fixture
def gpus(monkeypatch):
    """Two devices, and what was done with them."""
    found = types.SimpleNamespace(libcuda=Libcuda(), runtime=Runtime(), compiled=[])
    ready = driver.Driver(found.libcuda)
    monkeypatch.setattr(driver, "driver", lambda: ready)
    monkeypatch.setattr(target, "_runtime", lambda: found.runtime)
    monkeypatch.setattr(target, "capability", lambda index: (8 + index, 0))
    monkeypatch.setattr(target, "stream_pointer", lambda: 64 + found.runtime.device)

    def cubin(kernel, capability):
        found.compiled.append(capability)
        return cubins.Cubin("kernel", b"code for %d%d" % capability)

    monkeypatch.setattr(cubins, "cubin", cubin)
    return found


def body(a, number, wide, real, numbers, flag):
    """Nothing: a kernel that is only launched."""


PARAMETERS = (FLOAT, "int32", "int64", "float64", conv.Tile, "int32")
READ = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int64, ctypes.c_double, *[ctypes.c_int] * 5, ctypes.c_int]


def test_arguments_lie_where_c_puts_them():
    fields = [(f"f{i}", kind) for i, kind in enumerate(READ)]
    structure = type("Parameters", (ctypes.Structure,), {"_fields_": fields})
    layout = "".join(target.Kernel(body, PARAMETERS, 32)._kinds)
    assert driver.offsets(layout) == [getattr(structure, name).offset for name, _ in fields]


def test_a_launch_passes_grid_threads_stream_and_arguments(gpus):
    gpus.libcuda.layout = READ
    kernel = target.Kernel(body, PARAMETERS, 96)
    kernel((3, 2), array(4096), -5, 1 << 40, 0.25, conv.Tile(1, 2, 3, 4, 5), True)
    kernel(9, array(8192), 6, 7, np.float64(-1), conv.Tile(5, 4, 3, 2, 1), False)
    assert gpus.libcuda.launches == [
        (2001, (3, 2, 1), (96, 1, 1), 0, 64, [4096, -5, 1 << 40, 0.25, 1, 2, 3, 4, 5, 1]),
        (2001, (9, 1, 1), (96, 1, 1), 0, 64, [8192, 6, 7, -1.0, 5, 4, 3, 2, 1, 0]),
    ]
    assert gpus.libcuda.loaded == [b"code for 80", b"kernel"]
    assert gpus.compiled == [(8, 0)], "the second launch finds the kernel"


def test_a_launch_happens_on_the_device_of_its_arrays(gpus):
    kernel = target.Kernel(body, (FLOAT,), 32)
    gpus.libcuda.layout = READ[:1]
    for device in (1, 0, 1):
        kernel(1, array(16, device))
    assert [launch[4] for launch in gpus.libcuda.launches] == [65, 64, 65]
    assert [launch[0] for launch in gpus.libcuda.launches] == [2001, 2003, 2001]
    assert gpus.compiled == [(9, 0), (8, 0)]
    assert gpus.runtime.device == 0


def test_the_device_is_current_again_after_an_error(gpus):
    kernel = target.Kernel(body, (FLOAT,), 32)
    gpus.libcuda.layout, gpus.libcuda.fails = READ[:1], 700
    with pytest.raises(RuntimeError, match="CUDA error: an illegal memory access was encountered, launching body"):
        kernel(1, array(16, 1))
    assert gpus.runtime.device == 0
    gpus.libcuda.fails = 999
    with pytest.raises(RuntimeError, match="CUDA error: unknown error 999"):
        kernel(1, array(16))


@pytest.mark.parametrize("arguments", [(array(1), 1 << 31), (array(1), 1.5), (array(1),), (array(1), 2, 3)])
def test_wrong_arguments_are_refused(gpus, arguments):
    with pytest.raises((driver.struct.error, ValueError)):
        target.Kernel(body, (FLOAT, "int32"), 32)(1, *arguments)
    assert gpus.libcuda.launches == []


def test_linking_returns_the_whole_code():
    libcuda = Libcuda()
    assert driver.Driver(libcuda).link(".version 9.0") == b"machine\0code"
    assert libcuda.linked == [(7, 1, b".version 9.0\0", 13), "destroyed"]
    with pytest.raises(RuntimeError, match="unknown error 218"):
        driver.Driver(libcuda).link("nonsense")
    assert libcuda.linked[-1] == "destroyed"


PTX = ".version 9.0\n.visible .entry _ZN6kernel$1(\n.param .u64 p\n)"


@pytest.fixture
def compilers(monkeypatch, tmp_path):
    """Stand-ins for NVVM and the assembler, and a cache of its own."""
    monkeypatch.setenv("NBTORCH_CACHE_DIR", str(tmp_path))
    calls = []
    monkeypatch.setattr(target.Kernel, "ptx", lambda kernel, capability: calls.append(capability) or PTX)
    monkeypatch.setattr(cubins, "assemble", lambda ptx, capability: b"\0code\0" * 100)
    return calls


def test_a_kernel_is_compiled_once(compilers):
    before, expected = jit.compilations(), cubins.Cubin("_ZN6kernel$1", b"\0code\0" * 100)
    for _ in range(2):
        assert cubins.cubin(softmax.forward(FLOAT, True), (8, 0)) == expected
    assert (compilers, jit.compilations() - before) == ([(8, 0)], 1)
    (file,) = cache.cache_root().glob("cuda-softmax-sm_80-*/forward-*.cubin")
    assert [path.name for path in file.parent.iterdir()] == [file.name], "nothing half-written stays"


@pytest.mark.parametrize("damage", [lambda data: data[:50], lambda data: b"", lambda data: data[:-1] + b"x"])
def test_a_damaged_file_is_compiled_anew(compilers, damage):
    kernel = softmax.forward(FLOAT, True)
    whole = cubins.cubin(kernel, (8, 0))
    path = cubins.entry(kernel, (8, 0))
    path.write_bytes(damage(path.read_bytes()))
    assert cubins.cubin(kernel, (8, 0)) == whole
    assert len(compilers) == 2
    assert cubins.cubin(kernel, (8, 0)) == whole
    assert len(compilers) == 2


def test_a_folder_that_cannot_be_written_warns_once(compilers, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NBTORCH_CACHE_DIR", str(tmp_path / "file"))
    monkeypatch.setattr(cache.KernelCache, "_warned", False)
    with pytest.warns(RuntimeWarning, match="cannot keep compiled kernels"):
        cubins.cubin(softmax.forward(FLOAT, True), (8, 0))
    assert cubins.cubin(softmax.forward(FLOAT, True), (8, 0)).name == "_ZN6kernel$1"


def test_nothing_is_kept_of_edited_sources(compilers, monkeypatch):
    monkeypatch.setattr(cubins.sources, "edited_since_import", lambda function: True)
    cubins.cubin(softmax.forward(FLOAT, True), (8, 0))
    assert list(cache.cache_root().rglob("*.cubin")) == []


def test_every_kernel_has_a_file_of_its_own():
    kernels = [kernel for dtype in (FLOAT, DOUBLE) for kernel in conv.catalogue(dtype).values()]
    kernels += [kernel for dtype in (FLOAT, DOUBLE) for kernel in softmax.catalogue(dtype).values()]
    paths = {cubins.entry(kernel, capability) for kernel in kernels for capability in ((8, 0), (9, 0))}
    assert len(paths) == 2 * len(kernels)


def test_files_have_the_same_names_in_every_process():
    program = (
        "import numpy as np; from nbtorch.kernels.cuda import conv, cubins;"
        "[print(cubins.entry(k, (8, 0))) for k in conv.catalogue(np.dtype('float32')).values()]"
    )
    names = set()
    for seed in "12":
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        result = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        names.add(result.stdout)
    assert len(names) == 1 and names.pop().count(".cubin") > 20


def test_without_an_assembler_there_is_a_reason(monkeypatch):
    monkeypatch.setattr(cubins, "find_ptxas", lambda: None)
    monkeypatch.setattr(target, "is_available", lambda: False)
    with pytest.raises(cubins.NoAssembler, match="ptxas is not installed"):
        cubins.assemble(PTX, (8, 0))


def test_the_driver_assembles_for_its_own_gpu_only(gpus, monkeypatch):
    monkeypatch.setattr(target, "is_available", lambda: True)
    monkeypatch.setattr(cubins, "run_ptxas", lambda ptx, capability: (b"by ptxas", ""))
    assert cubins.assemble(PTX, (8, 0)) == b"machine\0code"
    assert cubins.assemble(PTX, (9, 0)) == b"by ptxas"
