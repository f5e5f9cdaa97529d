"""The vector blocks: values against NumPy in every shape, and the instructions they become on three architectures."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
from llvmlite import binding, ir
from nbtorch.kernels.cpu import depthwise_simd, position_simd, simd, winograd_simd
from nbtorch.kernels.jit import njit

DTYPES = [np.dtype(np.float32), np.dtype(np.float64)]


@njit
def run_gemm(block, panel, row_pitch, term_pitch, x, offsets, count, v, v_pitch, accumulate):
    simd.gemm_block(block, panel, 0, row_pitch, term_pitch, x, 1, offsets, count, v, 2, v_pitch, accumulate)


@njit
def run_position(block, x, places, terms, u, offsets, count, v, v_pitch, addend, addend_pitch):
    position_simd.position_block(
        block, x, 3, places, 1, terms, 2, u, 1, offsets, count, v, 2, v_pitch, addend, 1, addend_pitch
    )


@njit
def run_dot(block, g, g_pitch, x, offsets, segments, vectors, out, out_pitch):
    simd.dot_block(block, g, 1, g_pitch, x, offsets, 1, segments, vectors, out, 2, out_pitch)


@njit
def run_pack(movers, x, row_pitch, rows, source, start, source_pitch, step, row_low, row_high, low, high):
    simd.pack_plane(movers, x, 0, row_pitch, rows, source, start, source_pitch, step, row_low, row_high, low, high)


@njit
def run_transpose(movers, target, target_start, target_pitch, source, start, source_pitch, rows, columns):
    simd.transpose(movers, target, target_start, target_pitch, source, start, source_pitch, rows, columns)


@njit
def run_write(movers, v, row_pitch, rows, width, target, start, target_pitch, step, addend):
    simd.write_plane(movers, v, 0, row_pitch, rows, width, target, start, target_pitch, step, addend)


def close(actual, expected, dtype):
    tolerance = 1e-4 if dtype.itemsize == 4 else 1e-12
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("accumulate", [0, 1])
@pytest.mark.parametrize("count", [0, 1, 7])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", ["packed", "rows apart", "terms apart"])
def test_gemm_blocks(layout, dtype, count, accumulate):
    rng, table = np.random.default_rng(0), simd.gemm_blocks(dtype, layout == "packed")
    lanes = simd.host_simd().lanes(dtype)
    x = rng.standard_normal(400).astype(dtype)
    offsets = rng.integers(0, 200, 7)
    for rows, vectors in simd.gemm_shapes(simd.host_simd()):
        width, pitch = vectors * lanes, vectors * lanes + 3
        panel = rng.standard_normal((7, rows)).astype(dtype)
        v = rng.standard_normal(rows * pitch + 2).astype(dtype)
        expected = v.copy()
        columns = np.array([x[1 + offset :][:width] for offset in offsets[:count]]).reshape(count, width)
        for r, row in enumerate(panel[:count].T.astype(float) @ columns):
            part = expected[2 + r * pitch :][:width]
            part[:] = part * accumulate + row
        matrix = np.zeros((20, 20), dtype)
        matrix[:7, :rows] = panel
        a, pitches = {
            "packed": (panel, (1, rows)),
            "rows apart": (np.ascontiguousarray(matrix.T), (20, 1)),
            "terms apart": (matrix, (1, 20)),
        }[layout]
        run_gemm(table[rows - 1, vectors - 1], a.reshape(-1), *pitches, x, offsets, count, v, pitch, accumulate)
        close(v, expected, dtype)


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("count", [0, 7])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_position_blocks(dtype, count, in_place):
    rng, table = np.random.default_rng(0), position_simd.position_blocks(dtype)
    lanes = simd.host_simd().lanes(dtype)
    x, u, bias = (rng.standard_normal(400).astype(dtype) for _ in range(3))
    places, terms, offsets = rng.integers(0, 100, 20), rng.integers(0, 200, 9), rng.integers(0, 200, 9)
    for positions, vectors in simd.gemm_shapes(simd.host_simd()):
        width, pitch = vectors * lanes, vectors * lanes + 3
        v = rng.standard_normal(positions * pitch + 2).astype(dtype)
        expected = v.copy()
        for p in range(positions):
            part = expected[2 + p * pitch :][:width]
            part[:] = part if in_place else bias[1:][:width]
            for k in range(2, 2 + count):
                part += x[3 + places[1 + p] + terms[k]] * u[1 + offsets[k] :][:width]
        addend = (v[1:], pitch) if in_place else (bias, 0)
        run_position(table[positions - 1, vectors - 1], x, places, terms, u, offsets, count, v, pitch, *addend)
        close(v, expected, dtype)


@pytest.mark.parametrize("segments", [[0], [3, 50, 21]], ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_dot_blocks(dtype, segments):
    rng, table, vectors = np.random.default_rng(1), simd.dot_blocks(dtype), 2
    width = vectors * simd.host_simd().lanes(dtype)
    g, x = rng.standard_normal(900).astype(dtype), rng.standard_normal(300).astype(dtype)
    offsets, segments = rng.integers(0, 150, 8), np.array(segments)
    for rows, taps in simd.dot_shapes(simd.host_simd()):
        out = rng.standard_normal(60).astype(dtype)
        expected = out.astype(float)
        for r in range(rows):
            for t in range(taps):
                for s, segment in enumerate(segments):
                    left = g[1 + r * 200 + s * width :][:width].astype(float)
                    expected[2 + r * 10 + t] += left @ x[offsets[1 + t] + segment :][:width]
        run_dot(table[rows - 1, taps - 1], g, 200, x, offsets, segments, vectors, out, 10)
        close(out, expected, dtype)


@pytest.mark.parametrize("step", [1, 2, 3])
@pytest.mark.parametrize("start", [-5, 0, 40])
@pytest.mark.parametrize("row_pitch", [5, 16, 37])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_pack_plane(dtype, row_pitch, start, step):
    rows, source_pitch, row_low, row_high = 5, 21, 1, 4
    source = np.arange(1, 12 * 21 + 1, dtype=dtype).reshape(12, 21)
    low = max(0, -(start + source_pitch) // step + 1) if start < 0 else 0
    high = max(low, min(row_pitch, (source.size - start - 3 * source_pitch - 1) // step + 1))
    x = np.full(rows * row_pitch + 16, -1, dtype)
    expected = np.zeros((rows, row_pitch), dtype)
    for z in range(row_low, row_high):
        for i in range(low, high):
            expected[z, i] = source.flat[start + z * source_pitch + i * step]
    run_pack(simd.movers(dtype), x, row_pitch, rows, source, start, source_pitch, step, row_low, row_high, low, high)
    np.testing.assert_array_equal(x[: rows * row_pitch].reshape(rows, row_pitch), expected)


@pytest.mark.parametrize("step", [1, 2])
@pytest.mark.parametrize("width", [1, 7, 16, 33])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_write_plane_writes_nothing_else(dtype, width, step):
    rows, v = 3, np.arange(200, dtype=dtype)
    target, expected = np.full((5, 80), -1, dtype), np.full((5, 80), -1, dtype)
    expected[1:4, 2 : 2 + width * step : step] = v[: rows * 40].reshape(rows, 40)[:, :width] + 7
    run_write(simd.movers(dtype), v, 40, rows, width, target, 82, 80, step, dtype.type(7))
    np.testing.assert_array_equal(target, expected)


@pytest.mark.parametrize("spare", [0, 3])
@pytest.mark.parametrize("shape", [(1, 1), (8, 8), (7, 9), (16, 9), (19, 16), (49, 8), (33, 70)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_transpose_writes_nothing_else(dtype, shape, spare):
    rows, columns = shape
    source = np.arange(5 + rows * (columns + spare), dtype=dtype)  # its last row ends where the array ends
    matrix = source[5:].reshape(rows, columns + spare)[:, :columns]
    target, expected = np.full((columns + 2, rows + 2), -1, dtype), np.full((columns + 2, rows + 2), -1, dtype)
    expected[1 : columns + 1, 1 : rows + 1] = matrix.T
    run_transpose(simd.movers(dtype), target, rows + 3, rows + 2, source, 5, columns + spare, rows, columns)
    np.testing.assert_array_equal(target, expected)


TARGETS = {
    # kind: triple, processor, a fused multiply-add of a whole float32 and of a whole float64 vector
    "avx512": ("x86_64-unknown-linux-gnu", "skylake-avx512", r"vfmadd\d+ps.*%zmm", r"vfmadd\d+pd.*%zmm"),
    "avx2": ("x86_64-unknown-linux-gnu", "haswell", r"vfmadd\d+ps.*%ymm", r"vfmadd\d+pd.*%ymm"),
    "neon": ("aarch64-unknown-linux-gnu", "apple-m1", r"fmla(\.4s|\s+v\d+\.4s)", r"fmla(\.2d|\s+v\d+\.2d)"),
}


def assembly(triple, processor, define, *arguments):
    """Compile one block for another processor."""
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    try:
        target = binding.Target.from_triple(triple)
    except RuntimeError:
        pytest.skip(f"this build of LLVM has no target for {triple}")
    module = ir.Module("block")
    module.triple = triple
    define(module, "block", *arguments)
    machine = target.create_target_machine(cpu=processor, opt=3)
    parsed = binding.parse_assembly(str(module))
    parsed.verify()
    passes = binding.create_pass_builder(machine, binding.create_pipeline_tuning_options(speed_level=3))
    passes.getModulePassManager().run(parsed, passes)
    return machine.emit_assembly(parsed)


@pytest.mark.parametrize("kind", TARGETS)
def test_inner_loops_are_fused_multiply_adds_in_registers(kind):
    triple, processor, *patterns = TARGETS[kind]
    shapes = simd.KINDS[kind]
    positions = min(shapes.rows, position_simd.MOST_POSITIONS)
    blocks = [
        (simd.define_gemm_block, shapes.rows, shapes.vectors_for(shapes.rows)),
        (simd.define_dot_block, shapes.dot_rows, shapes.dot_taps),
        (position_simd.define_position_block, positions, shapes.vectors_for(positions)),
    ]
    for define, *shape in blocks:
        for dtype, pattern in zip(DTYPES, patterns, strict=True):
            text = assembly(triple, processor, define, dtype, shapes.lanes(dtype), *shape)
            found = len(re.findall(pattern, text))
            assert found > 0, "no vector instruction"
            assert found % (shape[0] * shape[1]) == 0, "one for each accumulator (times the unrolling)"
            assert not re.findall(r"[yz]mm.*\(%rsp\)|\(%rsp\).*[yz]mm|\bq\d+.*\[sp", text), "a sum left its register"


@pytest.mark.parametrize("kind", TARGETS)
def test_movers_compile_for_every_target(kind):
    triple, processor, *_ = TARGETS[kind]
    lanes = simd.KINDS[kind].lanes(DTYPES[0])
    for define in (simd.define_pack_plane, simd.define_write_plane, simd.define_transpose):
        assert "ret" in assembly(triple, processor, define, DTYPES[0], lanes)
    assert "ret" in assembly(triple, processor, simd.define_pack_panel, DTYPES[0], simd.KINDS[kind].rows)


@pytest.mark.parametrize("kind", TARGETS)
def test_direct_blocks_keep_their_sums_in_registers(kind):
    triple, processor, pattern, _ = TARGETS[kind]
    lanes = simd.KINDS[kind].lanes(DTYPES[0])
    text = assembly(triple, processor, depthwise_simd.define_direct_block, DTYPES[0], lanes)
    assert len(re.findall(pattern, text)) == depthwise_simd.VECTORS


@pytest.mark.parametrize("kind", TARGETS)
def test_transforms_are_vector_code_on_every_target(kind):
    triple, processor, pattern, _ = TARGETS[kind]
    for which, matrix in enumerate(winograd_simd.MATRICES):
        lanes, final = simd.KINDS[kind].lanes(DTYPES[0]), which in winograd_simd.FINAL
        text = assembly(triple, processor, winograd_simd.define_transform, DTYPES[0], lanes, matrix, final)
        assert re.search(pattern.replace(r"vfmadd\d+ps", r"vfn?m(add|sub)\d+ps").replace("fmla", "fml[as]"), text)


def host_name(**settings):
    program = "from nbtorch.kernels.cpu.simd import host_simd; print(host_simd().name)"
    environment = {name: value for name, value in os.environ.items() if name != "NBTORCH_SIMD"}
    return subprocess.run(
        [sys.executable, "-c", program], env={**environment, **settings}, capture_output=True, text=True
    )


def test_the_choice_can_be_overridden():
    assert host_name(NBTORCH_SIMD="avx2").stdout.strip() == "avx2"
    assert host_name().stdout.strip() in simd.KINDS
    wrong = host_name(NBTORCH_SIMD="mmx")
    assert wrong.returncode != 0
    assert "NBTORCH_SIMD must be one of avx512, avx2, neon, generic, got 'mmx'" in wrong.stderr


def test_the_choice_follows_the_features_that_numba_compiles_for():
    if simd.host_simd().name in ("avx512", "avx2"):
        assert host_name(NUMBA_ENABLE_AVX="0").stdout.strip() == "generic"
    assert host_name(NUMBA_CPU_FEATURES="+avx2,+fma").stdout.strip() in ("avx2", "neon")
