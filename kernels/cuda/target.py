"""The one module that knows which CUDA this is: numba-cuda on a GPU, or Numba's simulator.

Everything that differs between the two is here: whether kernels can run and why not, how a kernel is compiled and
launched, and the device functions that are written in LLVM's language together with their models in Python. To
move to another CUDA target is to port this module.
"""

import contextlib
import functools
import importlib.util
import sys
import threading
import types
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numba import config, cuda

from . import cubins, driver

SIMULATOR = bool(config.ENABLE_CUDASIM)

int32, uint32, int64 = (int, int, int) if SIMULATOR else (np.int32, np.uint32, np.int64)
"""Casts, which keep index arithmetic in 32 bits: Numba would carry it on in 64. The simulator is faster without."""

THREADS = 8 if SIMULATOR else 256
"""Threads per block of kernels in which a thread computes an element by itself."""

SIZE_LIMIT = 1 << 31
"""Kernels count in 32 bits inside one image, one weight and one row of outputs; what exceeds this is refused."""

ELEMENT_LIMIT = 1 << 30
"""So many elements a kernel that counts them in 32 bits walks through at most in one launch."""


def is_simulator() -> bool:
    """Say whether kernels run in Numba's simulator, on NumPy arrays."""
    return SIMULATOR


def is_available() -> bool:
    """Say whether kernels can run: in the simulator, or with a GPU, its driver, numba-cuda and CuPy."""
    return why_unavailable() is None


def has_numba_cuda() -> bool:
    """Say whether `numba.cuda` is the package numba-cuda, not the deprecated target built into Numba."""
    return importlib.util.find_spec("numba_cuda") is not None


@functools.cache
def why_unavailable() -> str | None:
    """Return in one sentence why kernels cannot run, or None where they can."""
    if SIMULATOR:
        return None
    if not has_numba_cuda():
        return "CUDA needs the package numba-cuda, which is not installed (pip install 'nbtorch[cuda]')"
    try:
        import cupy
    except ImportError as error:
        return f"CUDA needs the package CuPy, which cannot be imported: {_one_line(error)}"
    if not cuda.is_available():
        return f"Numba finds no usable GPU: {_one_line(cuda.cuda_error() or 'no device is visible')}"
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return f"CuPy finds no usable GPU: {_one_line(error)}"
    return None if count else "CuPy finds no usable GPU: no device is visible"


def _one_line(error: object) -> str:
    return " ".join(str(error).split())


class SimulatedPointer:
    """A pointer in the simulator: the elements of a C-contiguous array by flat index, with a check that it lies inside.

    The simulator itself would copy an array to and fro for every parameter that it is passed as, so that of an array
    passed twice one copy would overwrite the other.
    """

    __slots__ = ("elements",)

    def __init__(self, array: np.ndarray) -> None:
        self.elements = array.reshape(-1)
        if not np.shares_memory(self.elements, array) and array.size:
            raise ValueError("CUDA kernel: arrays must be C-contiguous")

    def __getitem__(self, index: int) -> Any:
        self._check(index)
        return self.elements[index]

    def __setitem__(self, index: int, value: Any) -> None:
        self._check(index)
        self.elements[index] = value

    def _check(self, index: int) -> None:
        if not 0 <= index < self.elements.size:
            raise IndexError(f"CUDA kernel: index {index} lies outside of an array of {self.elements.size} elements")


class Loaded(NamedTuple):
    """A kernel that is ready on a device: the driver's function that launches, and what it launches."""

    launch: Any
    handle: Any


def _layout(parameter: Any) -> str:
    """Return how the driver takes a parameter: a letter of `struct` for each number."""
    if isinstance(parameter, np.dtype):
        return "P"
    if isinstance(parameter, str):
        return {"l": "q", "L": "Q"}.get(letter := np.dtype(parameter).char, letter)  # as wide on every system
    return "i" * len(parameter._fields)


class Kernel:
    """One compiled form of a CUDA kernel: a Python function, the types of its parameters, and its block size.

    Arrays are passed as pointers to their first element, which costs a launch far less than an array's description;
    in the simulator a `SimulatedPointer` stands for it.

    Args:
        function: the kernel's body.
        parameters: one entry per parameter: a NumPy dtype is a pointer to such elements, a string
            (`"int32"`, `"int64"`, `"float64"` …) a scalar, and a named tuple class a tuple of int32.
        threads: threads per block.
        blocks: how many blocks should fit on a multiprocessor at once, which bounds the registers of a thread. (Left to
            itself the assembler saves registers until it has to spill.)
        needs: the least compute capability that has the kernel's instructions.
    """

    def __init__(
        self,
        function: Callable[..., None],
        parameters: tuple[Any, ...],
        threads: int,
        blocks: int = 4,
        needs: tuple[int, int] = (7, 5),
    ) -> None:
        self.function = function
        self.parameters = parameters
        self.threads = threads
        self.blocks = blocks
        self.needs = needs
        self._kinds = tuple([_layout(parameter) for parameter in parameters])
        self._first_pointer = next((i for i, kind in enumerate(self._kinds) if kind == "P"), -1)
        self._loaded: dict[int, Any] = {}  # by device
        self._arguments: driver.Arguments | None = None

    def __call__(self, grid: int | tuple[int, ...], *arguments: Any) -> None:
        """Launch `grid` blocks on the device of the first array, on CuPy's current stream there.

        The simulator returns when they are done.
        """
        if SIMULATOR:
            pointers = (SimulatedPointer(a) if isinstance(a, np.ndarray) else a for a in arguments)
            with _quick_switches():
                self._simulated[grid, self.threads](*pointers)
            return
        here = current_device()
        there = arguments[self._first_pointer].data.device_id if self._first_pointer >= 0 else here
        if there == here:
            self._launch(here, grid, arguments)
            return
        use_device(there)
        try:
            self._launch(there, grid, arguments)
        finally:
            use_device(here)

    def _launch(self, device: int, grid: int | tuple[int, ...], arguments: tuple[Any, ...]) -> None:
        kernel = self._loaded.get(device) or self._load(device)
        values: list[Any] = []
        for kind, argument in zip(self._kinds, arguments, strict=True):
            if kind == "P":
                values.append(argument.data.ptr)
            elif isinstance(argument, tuple):
                values += argument
            else:
                values.append(argument)
        x, y, z = (grid, 1, 1) if isinstance(grid, int) else (*grid, 1, 1)[:3]
        ready = self._arguments
        assert ready is not None
        with ready.lock:
            ready.fill(values)
            result = kernel.launch(kernel.handle, x, y, z, self.threads, 1, 1, 0, stream_pointer(), ready.address, None)
        if result:
            raise RuntimeError(f"CUDA error: {driver.driver().describe(result)}, launching {self.name}")

    def _load(self, device: int) -> Loaded:
        """Return the kernel as it is launched on a device, the current one; compile it where the disk has none."""
        use_device(device)  # a thread without a context gets one by this
        found = cubins.cubin(self, capability(device))
        if self._arguments is None:
            self._arguments = driver.Arguments("".join(self._kinds))
        libcuda = driver.driver()
        loaded = self._loaded[device] = Loaded(libcuda.launch, libcuda.load(found.code, found.name))
        return loaded

    @property
    def name(self) -> str:
        """The name of the function that makes the kernel."""
        return self.function.__qualname__.partition(".")[0]

    @functools.cached_property
    def _simulated(self) -> Any:
        return cuda.jit(self.function)

    @property
    def options(self) -> dict[str, Any]:
        """The options of the compiler: no liberty with floating point but fused multiply-add, which needs no flag."""
        return {"launch_bounds": (self.threads, self.blocks), "fastmath": False}

    def signature(self) -> Any:
        """Return the parameters as Numba types."""
        return cuda.types.void(*(_numba_type(parameter) for parameter in self.parameters))

    def ptx(self, compute_capability: tuple[int, int]) -> str:
        """Return the kernel as PTX; needs NVVM, but neither a GPU nor a driver."""
        with _as_if_on(compute_capability):
            ptx, _ = cuda.compile_ptx(self.function, self.signature(), cc=compute_capability, **self.options)
        return ptx


@contextlib.contextmanager
def _as_if_on(compute_capability: tuple[int, int]) -> Iterator[None]:
    """Let device functions be compiled without a GPU: numba-cuda asks the current device what to compile them for."""
    from numba.cuda import dispatcher

    ask = dispatcher.get_current_device
    dispatcher.get_current_device = lambda: types.SimpleNamespace(compute_capability=compute_capability)
    try:
        yield
    finally:
        dispatcher.get_current_device = ask


def _numba_type(parameter: Any) -> Any:
    if isinstance(parameter, np.dtype):
        return cuda.types.CPointer(getattr(cuda.types, parameter.name))
    if isinstance(parameter, str):
        return getattr(cuda.types, parameter)
    return cuda.types.NamedUniTuple(cuda.types.int32, len(parameter._fields), parameter)


_thread = threading.local()


def current_device() -> int:
    """Return the index of the device that this thread works on."""
    if SIMULATOR:
        return 0
    runtime = _runtime()
    index = runtime.getDevice()
    if not hasattr(_thread, "begun"):  # in a new thread the device has no context yet, which the driver asks for
        runtime.setDevice(index)
        _thread.begun = True
    return index


def use_device(index: int) -> None:
    """Let this thread work on a device."""
    _runtime().setDevice(index)


@functools.cache
def _runtime() -> Any:
    import cupy

    return cupy.cuda.runtime


@functools.cache
def capability(index: int) -> tuple[int, int]:
    """Return the compute capability of a device."""
    properties = _runtime().getDeviceProperties(index)
    return properties["major"], properties["minor"]


def stream_pointer() -> int:
    """Return CuPy's current stream on the current device."""
    return _current_stream()().ptr


@functools.cache
def _current_stream() -> Any:
    import cupy

    return cupy.cuda.get_current_stream


def blocks_for(elements: int, threads: int) -> int:
    """Return how many blocks a kernel takes whose threads walk through `elements` in strides of the whole grid.

    A thread costs the simulator milliseconds, so it gets few of them, with long walks.
    """
    return min(-(-elements // threads), 2 if SIMULATOR else 1 << 12)


def blocks_for_rows(rows: int) -> int:
    """Return how many blocks a kernel takes of which each walks through whole rows, in strides of the grid."""
    return min(rows, 4 if SIMULATOR else 1 << 14)


def empty(like: Any, size: int, dtype: Any = None) -> Any:
    """Return an uninitialised flat array of `size` elements, on the device and by default with `like`'s dtype."""
    dtype = like.dtype if dtype is None else dtype
    if SIMULATOR:
        return np.empty(size, dtype)
    import cupy

    return cupy.empty(size, dtype)


def contiguous(array: Any) -> Any:
    """Return an array in C order: itself where it is."""
    if SIMULATOR:
        return np.ascontiguousarray(array)
    import cupy

    return cupy.ascontiguousarray(array)


_peaks: dict[int, list[int]] = {}


def watch_memory() -> None:
    """Note from now on how much memory this thread's arrays take at most (CuPy's hooks belong to a thread)."""
    if SIMULATOR or _peaks:
        return
    import cupy

    pool = cupy.get_default_memory_pool()

    class Watch(cupy.cuda.MemoryHook):
        """Looks at the pool after each allocation."""

        name = "nbtorch"

        def malloc_postprocess(self, **details: Any) -> None:
            peaks = _peaks.setdefault(details["device_id"], [0, 0])
            peaks[0] = max(peaks[0], pool.used_bytes())
            peaks[1] = max(peaks[1], pool.total_bytes())

    Watch().__enter__()


def memory_peaks(device_index: int) -> tuple[int, int]:
    """Return the most bytes that arrays on a device took, and that CuPy's pool held, at once."""
    used, held = _peaks.get(device_index, (0, 0))
    return used, held


def reset_memory_peaks(device_index: int) -> None:
    """Let the peaks of a device, which must be the current one, begin at what is taken now."""
    import cupy

    pool = cupy.get_default_memory_pool()
    _peaks[device_index] = [pool.used_bytes(), pool.total_bytes()]


def _register_tile_model(rows, columns, depth, row_pitch, column_pitch):
    """Return the Python model of `register_tile`."""

    a_places, b_places = (
        np.arange(depth)[:, None] * pitch[0] + np.arange(count) // 4 * pitch[1] + np.arange(count) % 4
        for pitch, count in ((row_pitch, rows), (column_pitch, columns))
    )

    def multiply(a, a_start, b, b_start, tile):
        for left, right in zip(a[a_places + a_start], b[b_places + b_start], strict=True):
            tile += np.outer(left, right).reshape(-1)

    return multiply


def _register_tile_intrinsic(rows, columns, depth, row_pitch, column_pitch):
    """Return `register_tile` as straight-line code: vector loads from shared memory and fused multiply-adds."""
    from llvmlite import ir
    from numba.cuda.extending import intrinsic

    def emit(context, builder, signature, arguments):
        element = context.get_data_type(signature.args[0].dtype)
        lanes = 16 // context.get_abi_sizeof(element)
        index = ir.IntType(64)
        vector = ir.VectorType(element, lanes)
        a, b, tile = (context.make_array(signature.args[i])(context, builder, arguments[i]).data for i in (0, 2, 4))
        starts = {a: arguments[1], b: arguments[3]}

        def load(array, offset, count):
            """Load groups of four neighbours, 16 bytes at a time."""
            values = []
            for first in range(0, count, lanes):
                place = builder.add(starts[array], ir.Constant(index, offset(first)))
                pointer = builder.bitcast(builder.gep(array, [place]), vector.as_pointer())
                loaded = builder.load(pointer)
                loaded.align = 16
                values += [builder.extract_element(loaded, ir.Constant(ir.IntType(32), i)) for i in range(lanes)]
            return values

        slots = [builder.gep(tile, [ir.Constant(index, i)]) for i in range(rows * columns)]
        sums = [builder.load(slot) for slot in slots]
        for k in range(depth):
            left = load(a, lambda i, k=k: k * row_pitch[0] + i // 4 * row_pitch[1] + i % 4, rows)
            for first in range(0, columns, 4):
                right = load(b, lambda i, k=k, first=first: k * column_pitch[0] + first // 4 * column_pitch[1] + i, 4)
                for row in range(rows):
                    for column in range(4):
                        place = row * columns + first + column
                        sums[place] = builder.fma(left[row], right[column], sums[place])
        for slot, value in zip(slots, sums, strict=True):
            builder.store(value, slot)
        return context.get_dummy_value()

    @intrinsic
    def register_tile(typing_context, a, a_start, b, b_start, tile):
        return cuda.types.void(a, cuda.types.int64, b, cuda.types.int64, tile), emit

    return register_tile


def register_tile(
    rows: int, columns: int, depth: int, row_pitch: tuple[int, int], column_pitch: tuple[int, int]
) -> Any:
    """Make the device function `multiply(a, a_start, b, b_start, tile)` for one thread's share of a matrix product.

    `tile` is a flat local array of `rows` × `columns` sums, `a` and `b` are flat shared arrays aligned to 16 bytes. It
    adds a[k, row]·b[k, column] for k in range(depth), in this order. Rows (and columns) come in groups of four
    neighbours: `row_pitch` is the distance from one k to the next and from one group to the next, multiples of four.
    """
    make = _register_tile_model if SIMULATOR else _register_tile_intrinsic
    return make(rows, columns, depth, row_pitch, column_pitch)


def has_tensor_cores() -> bool:
    """Say whether the current device multiplies TensorFloat-32 on tensor cores; the simulator does not unless asked."""
    return False if SIMULATOR else capability(current_device()) >= (8, 0)


def rounded_to_tf32(values: np.ndarray) -> np.ndarray:
    """Return float32 numbers with 10 bits of fraction, halves away from zero, as `cvt.rna.tf32.f32` rounds them."""
    bits = values.view(np.uint32)
    rounded = ((bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view(np.float32)
    return np.where(np.isfinite(values), rounded, values)


def _inline(builder: Any, code: str, constraints: str, result: Any, operands: list[Any], effect: bool = False) -> Any:
    """Emit one instruction of PTX; with `effect`, one that is not only there for its result."""
    from llvmlite import ir

    types_of_operands = [operand.type for operand in operands]
    return builder.call(ir.InlineAsm(ir.FunctionType(result, types_of_operands), code, constraints, effect), operands)


HALVES = ("bf16", "f16")
"""bfloat16 and float16 by their names in PTX. Kernels see them as the uint16 of their bits."""


def half_as_float(bits: np.ndarray, kind: str) -> np.ndarray:
    """Return numbers of half precision, given as uint16, as float32."""
    if kind == "f16":
        return bits.view(np.float16).astype(np.float32)
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def _round_half_model(kind):
    """Return the Python model of `round_half`."""
    if kind == "f16":
        return lambda value: np.float16(value).view(np.uint16)
    import ml_dtypes

    return lambda value: np.asarray(value, ml_dtypes.bfloat16).view(np.uint16)[()]


def _round_half_intrinsic(kind):
    from llvmlite import ir
    from numba.cuda.extending import intrinsic

    def emit(context, builder, signature, arguments):
        return _inline(builder, f"cvt.rn.{kind}.f32 $0, $1;", "=h,f", ir.IntType(16), [arguments[0]])

    @intrinsic
    def round_half(typing_context, value):
        return cuda.types.uint16(cuda.types.float32), emit

    return round_half


@functools.cache
def round_half(kind: str) -> Any:
    """Make the device function `round_half(value)`: a float32 rounded to one of `HALVES`, as uint16."""
    return _round_half_model(kind) if SIMULATOR else _round_half_intrinsic(kind)


MMA_ROWS, MMA_COLUMNS, MMA_DEPTH = 16, 8, 8
"""The product that the 32 threads of a warp compute with one `mma.sync`; its depth counts words of 32 bits, each a
number in TensorFloat-32 or two numbers of half precision."""


def _warp_tile_model(rows, columns, depth, a_pitch, b_pitch, kind):
    """Return the Python model of `warp_tile`: each thread computes its own elements from the shared arrays."""

    def parts(tile, words):
        """Return pairs of what is multiplied: factors that add up to the numbers, in the order of their products."""
        if kind in HALVES:
            return [half_as_float(tile[2 * words + i], kind) for i in range(2)]
        high = rounded_to_tf32(tile[words])
        return [high, rounded_to_tf32(tile[words] - high)] if kind == "3xtf32" else [high]

    def multiply(a, a_start, b, b_start, lane, tile):
        group, quarter = lane // 4, lane % 4
        k = np.arange(depth)[:, None]
        left = a_start - group - quarter * a_pitch + k * a_pitch + group + np.arange(2 * rows) * 8
        j = np.arange(2 * columns)
        right = b_start - group - quarter * b_pitch + k * b_pitch + j // 2 * MMA_COLUMNS + 2 * quarter + j % 2
        factors = list(zip(parts(a, left), parts(b, right), strict=True))
        if kind == "3xtf32":
            (high_a, high_b), (low_a, low_b) = factors
            factors = [(low_a, high_b), (high_a, low_b), (high_a, high_b)]
        for first, second in factors:
            tile += (first.T @ second).reshape(-1)

    return multiply


def _warp_tile_intrinsic(rows, columns, depth, a_pitch, b_pitch, kind):
    """Return `warp_tile` as straight-line code of loads from shared memory and `mma.sync`."""
    from llvmlite import ir
    from numba.cuda.extending import intrinsic

    single, word, index = ir.FloatType(), ir.IntType(32), ir.IntType(64)
    four = ir.LiteralStructType([single] * 4)
    shape = f"m16n8k16.row.col.f32.{kind}.{kind}.f32" if kind in HALVES else "m16n8k8.row.col.f32.tf32.tf32.f32"
    code = f"mma.sync.aligned.{shape} {{$0, $1, $2, $3}}, {{$4, $5, $6, $7}}, {{$8, $9}}, {{$10, $11, $12, $13}};"
    constraints = "=f,=f,=f,=f,r,r,r,r,r,r,f,f,f,f"
    exact = kind == "3xtf32"

    def emit(context, builder, signature, arguments):
        a, b, tile = (context.make_array(signature.args[i])(context, builder, arguments[i]).data for i in (0, 2, 5))
        element = word.as_pointer() if kind in HALVES else single.as_pointer()
        a, b = (builder.bitcast(array, element) for array in (a, b))
        starts = {a: arguments[1], b: arguments[3]}
        zero = ir.Constant(single, 0.0)

        def rounded(value):
            return _inline(builder, "cvt.rna.tf32.f32 $0, $1;", "=r,f", word, [value])

        def load(array, offset):
            """Return a word to multiply, and where products are to be exact the remainder of its rounding."""
            place = builder.add(starts[array], ir.Constant(index, offset))
            value = builder.load(builder.gep(array, [place]))
            if kind in HALVES:
                return value, None
            high = rounded(value)
            return high, rounded(builder.fsub(value, builder.bitcast(high, single))) if exact else None

        def left(k, row):
            places = [(k + i // 2 * 4) * a_pitch + row * MMA_ROWS + i % 2 * 8 for i in range(4)]
            return zip(*[load(a, place) for place in places], strict=True)

        def right(k, column):
            places = [(k + i * 4) * b_pitch + column * MMA_COLUMNS for i in range(2)]
            return zip(*[load(b, place) for place in places], strict=True)

        def product(left, right, sums):
            result = _inline(builder, code, constraints, four, [*left, *right, *sums])
            return [builder.extract_value(result, i) for i in range(4)]

        width = 2 * columns
        places = {
            (row, column): [(2 * row + i // 2) * width + 2 * column + i % 2 for i in range(4)]
            for row in range(rows)
            for column in range(columns)
        }
        slots = [builder.gep(tile, [ir.Constant(index, i)]) for i in range(4 * rows * columns)]
        sums = [builder.load(slot) for slot in slots]
        for k in range(0, depth, MMA_DEPTH):
            factors = [tuple(right(k, column)) for column in range(columns)]
            for row in range(rows):
                high, low = left(k, row)
                for column, (high_b, low_b) in enumerate(factors):
                    before = [sums[place] for place in places[row, column]]
                    if not exact:
                        after = product(high, high_b, before)
                    else:  # tensor cores cut off what float32 would round, so long sums are added outside of them
                        parts = product(low, high_b, [zero] * 4)
                        parts = product(high, low_b, parts)
                        parts = product(high, high_b, parts)
                        after = [builder.fadd(*pair) for pair in zip(before, parts, strict=True)]
                    for place, value in zip(places[row, column], after, strict=True):
                        sums[place] = value
        for slot, value in zip(slots, sums, strict=True):
            builder.store(value, slot)
        return context.get_dummy_value()

    @intrinsic
    def warp_tile(typing_context, a, a_start, b, b_start, lane, tile):
        integer = cuda.types.int64
        return cuda.types.void(a, integer, b, integer, integer, tile), emit

    return warp_tile


def warp_tile(rows: int, columns: int, depth: int, a_pitch: int, b_pitch: int, kind: str) -> Any:
    """Make the device function `multiply(a, a_start, b, b_start, lane, tile)` for one warp's share of a matrix product.

    The warp adds a[k, row]·b[k, column] for k in range(depth), `rows` × 16 rows and `columns` × 8 columns of them, on
    tensor cores. `a` and `b` are flat shared arrays, `a_pitch` and `b_pitch` the distances from one k to the next;
    pitches of 8 modulo 32 keep the threads on different banks. `tile` is the thread's flat local array of 2·`rows` ×
    2·`columns` sums. A thread with `lane` = 4·group + quarter has the rows group + 8·i and the columns 2·quarter +
    8·(j // 2) + j % 2, and its starts lie at row (column) `group` of k = `quarter`.

    Args:
        kind: "tf32" rounds float32 numbers to TensorFloat-32; "3xtf32" keeps the remainders of the rounding too, and
            three products give float32's accuracy: the product of two remainders is below it (Ootomo and Yokota,
            "Recovering single precision accuracy from Tensor Cores while surpassing the FP32 theoretical peak
            performance", 2022). One of `HALVES` takes numbers of that type, two neighbours in k to a word of 32 bits:
            then k, the pitches and the starts count words.
    """
    make = _warp_tile_model if SIMULATOR else _warp_tile_intrinsic
    return make(rows, columns, depth, a_pitch, b_pitch, kind)


class _AsyncCopies:
    """The model of `cp.async`: copies happen no earlier than a thread waits for their group."""

    @staticmethod
    def _queue() -> list[list[Any]]:
        thread = threading.current_thread()
        if not hasattr(thread, "copies"):
            thread.copies = [[]]  # type: ignore[attr-defined]
        return thread.copies  # type: ignore[attr-defined]

    def copy(self, shared, place, source, index, inside):
        """Note one copy of the group that is being made."""
        self._queue()[-1].append((shared, place, source[index] if inside else 0))

    def commit(self):
        """Close the group."""
        self._queue().append([])

    def wait(self, pending):
        """Let all groups arrive but the last so many."""
        queue = self._queue()
        while len(queue) - 1 > pending:
            for shared, place, value in queue.pop(0):
                shared[place] = value


class AsyncCopies(NamedTuple):
    """Device functions for copies from global to shared memory that pass registers by.

    `copy(shared, place, source, index, inside)` begins to copy one number of 32 bits, or zero where it is not inside;
    `commit()` makes a group of the copies that the thread began since the last; `wait()` waits until all of its groups
    but the last few are there. Other threads see them after the next barrier.
    """

    copy: Any
    commit: Any
    wait: Any


def _async_copies_intrinsics(pending: int) -> AsyncCopies:
    from llvmlite import ir
    from numba.cuda.extending import intrinsic

    code = (
        "{ .reg .u64 to, from; cvta.to.shared.u64 to, $0; cvta.to.global.u64 from, $1;"
        " cp.async.ca.shared.global [to], [from], 4, $2; }"
    )
    nothing = ir.VoidType()

    def emit_copy(context, builder, signature, arguments):
        shared, place, source, index, inside = arguments
        address = ir.IntType(64)
        array = context.make_array(signature.args[0])(context, builder, shared).data
        to = builder.ptrtoint(builder.gep(array, [place]), address)
        start = builder.ptrtoint(builder.gep(source, [index]), address)
        count = builder.select(inside, ir.Constant(ir.IntType(32), 4), ir.Constant(ir.IntType(32), 0))
        _inline(builder, code, "l,l,r,~{memory}", nothing, [to, start, count], effect=True)
        return context.get_dummy_value()

    def emitter(instruction):
        def emit(context, builder, signature, arguments):
            _inline(builder, instruction, "~{memory}", nothing, [], effect=True)
            return context.get_dummy_value()

        return emit

    emit_commit, emit_wait = emitter("cp.async.commit_group;"), emitter(f"cp.async.wait_group {pending};")

    @intrinsic
    def copy(typing_context, shared, place, source, index, inside):
        integer = cuda.types.int64
        return cuda.types.void(shared, integer, source, integer, cuda.types.boolean), emit_copy

    @intrinsic
    def commit(typing_context):
        return cuda.types.void(), emit_commit

    @intrinsic
    def wait(typing_context):
        return cuda.types.void(), emit_wait

    return AsyncCopies(copy, commit, wait)


@functools.cache
def async_copies(pending: int) -> AsyncCopies:
    """Make the device functions of copies of which the last `pending` groups are not waited for."""
    if not SIMULATOR:
        return _async_copies_intrinsics(pending)
    model = _AsyncCopies()
    return AsyncCopies(model.copy, model.commit, lambda: model.wait(pending))


def _atomic_max_model(elements, index, value):
    """Let a value replace a smaller element, one thread at a time."""
    with _turn:
        elements[index] = max(elements[index], value)


_turn = threading.Lock()


def _atomic_max_intrinsic() -> Any:
    """Return `atomic_max(pointer, index, value)` for int32; the order of the calls makes no difference."""
    from numba.cuda.extending import intrinsic

    def emit(context, builder, signature, arguments):
        pointer, index, value = arguments
        return builder.atomic_rmw("max", builder.gep(pointer, [index]), value, "monotonic")

    @intrinsic
    def atomic_max(typing_context, pointer, index, value):
        return cuda.types.int32(pointer, cuda.types.int64, cuda.types.int32), emit

    return atomic_max


@functools.cache
def atomic_max() -> Any:
    """Make the device function `atomic_max(pointer, index, value)`."""
    return _atomic_max_model if SIMULATOR else _atomic_max_intrinsic()


def device(function: Callable[..., Any]) -> Any:
    """Compile `function` as a device function, to be called from kernels."""
    return function if SIMULATOR else cuda.jit(device=True, forceinline=True)(function)


class _ThreadModel:
    """What a device function of this file sees of `cuda`: the simulator gives it to a kernel's own file only."""

    @property
    def threadIdx(self) -> Any:
        return threading.current_thread().threadIdx

    def syncthreads(self) -> None:
        threading.current_thread().syncthreads()


this = _ThreadModel() if SIMULATOR else cuda


@device
def block_reduce(value, shared, largest):
    """Return the sum (or the largest) of a number of every thread of the block, to every thread.

    `shared` is a shared array of `THREADS`, the number of threads in the block; they are combined pairwise.
    """
    thread = this.threadIdx.x
    this.syncthreads()
    shared[thread] = value
    this.syncthreads()
    step = THREADS // 2
    while step > 0:
        if thread < step:
            other = shared[thread + step]
            shared[thread] = max(shared[thread], other) if largest else shared[thread] + other
        this.syncthreads()
        step //= 2
    return shared[0]


def scalar(function: Any) -> Any:
    """Return a function of `nbtorch.kernels.scalar` as kernels call it; the simulator is faster without its JIT."""
    return getattr(function, "py_func", function) if SIMULATOR else function


def division(divisor: int) -> tuple[int, int]:
    """Return (multiplier, shift) with which `divide` divides numbers below 2³¹ by `divisor`.

    With l = ceil(log2(divisor)) the quotient is floor(n·m / 2^(31+l)) for m = ceil(2^(31+l) / divisor), and m lies
    between 2³¹ and 2³²; the multiplier is m - 2³¹, so that it fits into 31 bits. Granlund and Montgomery, "Division
    by invariant integers using multiplication", 1994.
    """
    shift = (divisor - 1).bit_length()
    return -(-(1 << (31 + shift)) // divisor) - (1 << 31), shift


@device
def divide(n, multiplier, shift):
    """Return n // divisor for 0 <= n < 2³¹, given `division(divisor)`: one multiplication instead of a division."""
    return int32(uint32(n + ((int64(n) * int64(multiplier)) >> 31)) >> shift)


@contextlib.contextmanager
def _quick_switches() -> Iterator[None]:
    """Let Python's threads take turns often: the simulator's main thread polls, and else holds up those that work."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)


def _model_shared_alignment() -> None:
    """Let the simulator accept the `alignment` of a shared array; it tells them apart by the line that makes them."""
    from numba.cuda.simulator.kernelapi import FakeCUDAShared

    def array(self, shape, dtype, alignment=None):
        frame = sys._getframe(1)
        place = frame.f_code.co_filename, frame.f_lineno
        return self._allocations.setdefault(place, np.empty(shape, np.dtype(str(dtype))))

    FakeCUDAShared.array = array


if SIMULATOR:
    _model_shared_alignment()
