"""Saving and loading: what is written comes back, PyTorch reads it, PyTorch's files are read, hostile files fail."""

import contextlib
import io
import os
import pickle
import subprocess
import sys
import textwrap
import zipfile
from collections import OrderedDict, defaultdict
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import nbtorch
from nbtorch import dtypes, serialization
from nbtorch.nn.parameter import Parameter


def round_trip(obj, **options):
    file = io.BytesIO()
    nbtorch.save(obj, file)
    return nbtorch.load(file, **options)


def archive(data: bytes, records: dict[str, bytes] | None = None, compression=zipfile.ZIP_STORED) -> io.BytesIO:
    """Return a file with the given pickle, laid out as PyTorch does."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as written:
        for name, content in {"data.pkl": data, "byteorder": b"little", **(records or {})}.items():
            written.writestr(f"archive/{name}", content)
    return file


def tensor_pickle(count=4, offset=0, size=(2, 2), stride=(2, 1), storage="FloatStorage") -> bytes:
    """Return the pickle of one tensor whose storage is the record `data/0`."""

    def value(obj: object) -> bytes:
        return pickle.dumps(obj, 2)[2:-1]  # without the protocol at the start and the stop at the end

    identity = value("storage") + b"ctorch\n" + storage.encode() + b"\n" + value("0") + value("cpu") + value(count)
    view = value(offset) + value(size) + value(stride) + value(False) + b"ccollections\nOrderedDict\n)R"
    return b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((" + identity + b"tQ" + view + b"tR."


class TestRoundTrip:
    @pytest.mark.parametrize("dtype", dtypes.ALL, ids=str)
    def test_every_type(self, dtype):
        tensor = nbtorch.arange(6).reshape(2, 3).to(dtype)
        loaded = round_trip(tensor)
        assert loaded.dtype is dtype
        assert loaded.tolist() == tensor.tolist()

    @pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3), (1,), (3, 1, 2)], ids=str)
    def test_every_shape(self, shape):
        loaded = round_trip(nbtorch.ones(shape))
        assert tuple(loaded.shape) == shape

    def test_containers_and_numbers(self):
        obj = {
            "none": None,
            1: [True, False, -5, 2**31, -(2**80), 0.1, float("inf"), "text ü", b"\x00\xff", ()],
            (1, 2): OrderedDict(b=1, a=[{}, set(), {1, 2}]),
            "numpy": [np.float32(0.5), np.int64(3), np.bool_(True)],
            "torch": [nbtorch.float16, nbtorch.device("cpu"), nbtorch.Size([1, 2])],
        }
        assert round_trip(obj) == obj
        assert list(round_trip(obj)[(1, 2)]) == ["b", "a"]

    def test_strides(self):
        tensor = nbtorch.arange(12.0).reshape(3, 4).t()
        loaded = round_trip(tensor)
        assert loaded.stride() == (1, 4)
        assert loaded.tolist() == tensor.tolist()

    def test_parameters_stay_parameters(self):
        loaded = round_trip([Parameter(nbtorch.ones(2)), Parameter(nbtorch.ones(2), requires_grad=False)])
        assert [type(p) for p in loaded] == [Parameter, Parameter]
        assert [p.requires_grad for p in loaded] == [True, False]

    def test_leaves_keep_requires_grad(self):
        assert round_trip(nbtorch.ones(2, requires_grad=True)).requires_grad

    def test_shared_objects_stay_one_object(self):
        tensor, items = nbtorch.ones(2), [1]
        loaded = round_trip([tensor, tensor, items, items])
        assert loaded[0] is loaded[1]
        assert loaded[2] is loaded[3]

    def test_shared_memory_stays_shared(self):
        base = nbtorch.zeros(4, 4)
        loaded = round_trip({"column": base[:, 1], "whole": base, "row": base[2], "apart": nbtorch.zeros(4)})
        loaded["whole"][2, 1] = 7
        assert loaded["column"][2].item() == loaded["row"][1].item() == 7
        assert loaded["apart"].sum().item() == 0

    def test_a_small_view_of_a_large_tensor_takes_little_space(self):
        file = io.BytesIO()
        nbtorch.save(nbtorch.zeros(100_000)[5:9], file)
        assert len(file.getvalue()) < 2000

    def test_the_same_object_gives_the_same_bytes(self):
        files = [io.BytesIO(), io.BytesIO()]
        for file in files:
            nbtorch.save({"a": nbtorch.ones(3), "b": [1.5]}, file)
        assert files[0].getvalue() == files[1].getvalue()

    def test_loaded_tensors_can_be_written(self):
        loaded = round_trip(nbtorch.zeros(3))
        loaded += 1
        assert loaded.tolist() == [1, 1, 1]

    def test_storages_are_aligned(self):
        file = io.BytesIO()
        nbtorch.save([nbtorch.full((n + 1,), float(n + 1)) for n in range(5)], file)
        data = file.getvalue()
        for n in range(5):
            assert data.find(np.full(n + 1, n + 1, np.float32).tobytes()) % serialization.ALIGNMENT == 0

    def test_state_dicts_of_modules_and_optimizers(self):
        def made():
            model = nbtorch.nn.Linear(3, 2)
            return model, nbtorch.optim.Adam(model.parameters(), lr=0.1)

        def step(model, optimizer):
            optimizer.zero_grad()
            model(nbtorch.ones(4, 3)).sum().backward()
            optimizer.step()

        model, optimizer = made()
        step(model, optimizer)
        saved = round_trip({"model": model.state_dict(), "optimizer": optimizer.state_dict()})
        assert saved["model"]._metadata == model.state_dict()._metadata
        other, other_optimizer = made()
        other.load_state_dict(saved["model"])
        other_optimizer.load_state_dict(saved["optimizer"])
        step(model, optimizer)
        step(other, other_optimizer)
        assert other.weight.tolist() == model.weight.tolist()

    def test_a_stream_that_cannot_seek(self, tmp_path):
        class Stream(io.RawIOBase):
            def __init__(self):
                self.data = b""

            def writable(self):
                return True

            def write(self, data):
                self.data += bytes(data)
                return len(data)

        stream = Stream()
        nbtorch.save({"a": nbtorch.ones(2)}, stream)
        assert nbtorch.load(io.BytesIO(stream.data))["a"].tolist() == [1, 1]


class TestFiles:
    def test_a_path(self, tmp_path):
        nbtorch.save({"a": 1}, tmp_path / "model.pt")
        nbtorch.save({"a": 2}, str(tmp_path / "model.pt"))
        assert nbtorch.load(tmp_path / "model.pt") == {"a": 2}
        assert os.listdir(tmp_path) == ["model.pt"]

    def test_an_interrupted_save_keeps_the_old_file(self, tmp_path, monkeypatch):
        path = tmp_path / "model.pt"
        nbtorch.save({"a": 1}, path)

        def full_disk(file, data, storages):
            file.write(b"half")
            raise OSError("No space left on device")

        monkeypatch.setattr(serialization, "_write_archive", full_disk)
        with pytest.raises(OSError, match="No space"):
            nbtorch.save({"a": 2}, path)
        monkeypatch.undo()
        assert nbtorch.load(path) == {"a": 1}
        assert os.listdir(tmp_path) == ["model.pt"]

    def test_an_object_that_cannot_be_saved_keeps_the_old_file(self, tmp_path):
        path = tmp_path / "model.pt"
        nbtorch.save({"a": 1}, path)
        with pytest.raises(TypeError):
            nbtorch.save({"a": object()}, path)
        assert nbtorch.load(path) == {"a": 1}

    def test_a_link_stays_a_link(self, tmp_path):
        nbtorch.save(1, tmp_path / "epoch1.pt")
        (tmp_path / "latest.pt").symlink_to("epoch1.pt")
        nbtorch.save(2, tmp_path / "latest.pt")
        assert (tmp_path / "latest.pt").is_symlink()
        assert nbtorch.load(tmp_path / "epoch1.pt") == 2

    def test_the_folder_must_exist(self, tmp_path):
        with pytest.raises(RuntimeError, match=r"parent directory .*nowhere does not exist"):
            nbtorch.save(1, tmp_path / "nowhere" / "model.pt")

    def test_a_folder_is_no_file(self, tmp_path):
        with pytest.raises(IsADirectoryError):
            nbtorch.save(1, tmp_path)
        with pytest.raises(IsADirectoryError):
            nbtorch.load(tmp_path)

    def test_a_missing_file(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"missing\.pt"):
            nbtorch.load(tmp_path / "missing.pt")

    @pytest.mark.parametrize("function", [lambda: nbtorch.save(1, 3), lambda: nbtorch.load(3)], ids=["save", "load"])
    def test_neither_path_nor_file(self, function):
        with pytest.raises(TypeError, match="f must be a path or a file"):
            function()


class TestRefusedToSave:
    @pytest.mark.parametrize(
        ("obj", "message"),
        [
            ({"a": [1, object()]}, r"obj\['a'\]\[1\] must be .* got builtins\.object"),
            ({"model": nbtorch.nn.Linear(1, 1)}, r"obj\['model'\] .* save its state_dict\(\) instead"),
            ([np.zeros(3)], r"obj\[0\] must be .* got numpy\.ndarray"),
            (defaultdict(list), r"obj must be .* got collections\.defaultdict"),
            (lambda: 0, "obj must be"),
            (1j, "got builtins.complex"),
        ],
    )
    def test_names_the_place_and_the_type(self, obj, message):
        with pytest.raises(TypeError, match=message):
            nbtorch.save(obj, io.BytesIO())


class TestRefusedToLoad:
    def test_truncated(self, tmp_path):
        file = io.BytesIO()
        nbtorch.save({"a": nbtorch.ones(100)}, file)
        whole = file.getvalue()
        for length in (4, 50, len(whole) // 2, len(whole) - 1):
            (tmp_path / "cut.pt").write_bytes(whole[:length])
            with pytest.raises(RuntimeError, match=r"cut\.pt is truncated"):
                nbtorch.load(tmp_path / "cut.pt")

    def test_flipped_bits_are_noticed(self, tmp_path):
        file = io.BytesIO()
        nbtorch.save({"a": nbtorch.ones(100)}, file)
        data = bytearray(file.getvalue())
        data[data.find(np.ones(100, np.float32).tobytes()) + 8] ^= 1
        with pytest.raises(RuntimeError, match="damaged: Bad CRC"):
            nbtorch.load(io.BytesIO(data))

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "is empty"),
            (b"hello, world", "not a zip archive"),
            (pickle.dumps({"a": 1}, 2), r"before version 1\.6"),
        ],
    )
    def test_no_archive(self, content, message):
        with pytest.raises(RuntimeError, match=message):
            nbtorch.load(io.BytesIO(content))

    def test_another_zip(self):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as written:
            written.writestr("readme.txt", "hello")
        with pytest.raises(RuntimeError, match=r"without data\.pkl"):
            nbtorch.load(file)

    def test_a_compressed_archive(self):
        with pytest.raises(RuntimeError, match="is compressed"):
            nbtorch.load(archive(pickle.dumps(1, 2), compression=zipfile.ZIP_DEFLATED))

    @pytest.mark.parametrize(
        ("data", "name"),
        [
            (b"\x80\x02cos\nsystem\nX\x05\x00\x00\x00falset\x85R.", "os.system"),
            (b"cbuiltins\neval\n.", "builtins.eval"),
            (pickle.dumps(Path("x"), 2), "pathlib"),
            (pickle.dumps(print, 4), "builtins.print"),
            (b"\x80\x02ctorch.nn.modules.linear\nLinear\n.", "torch.nn.modules.linear.Linear"),
            (b"\x80\x02ctorch\nload\n.", "torch.load"),
        ],
    )
    @pytest.mark.parametrize("weights_only", [True, False])
    def test_forbidden_names(self, data, name, weights_only):
        with pytest.raises(pickle.UnpicklingError, match=f"names {name}.* not allowed"):
            nbtorch.load(archive(data), weights_only=weights_only)

    def test_no_code_runs(self, tmp_path):
        class Trap:
            def __reduce__(self):
                return (open, (str(tmp_path / "touched"), "w"))

        for protocol in range(6):
            with pytest.raises(pickle.UnpicklingError):
                nbtorch.load(archive(pickle.dumps([Trap()], protocol)))
        assert os.listdir(tmp_path) == []

    def test_types_that_do_not_exist_here(self):
        with pytest.raises(pickle.UnpicklingError, match=r"ComplexHalfStorage.* float64"):
            nbtorch.load(archive(tensor_pickle(storage="ComplexHalfStorage"), {"data/0": bytes(8)}))

    def test_the_pickle_for_the_next_tests_is_sound(self):
        loaded = nbtorch.load(archive(tensor_pickle(), {"data/0": np.arange(4, dtype=np.float32).tobytes()}))
        assert loaded.tolist() == [[0, 1], [2, 3]]

    @pytest.mark.parametrize(
        "wrong",
        [
            {"offset": 1},
            {"offset": -1},
            {"size": (2, 3)},
            {"size": (4, 2)},
            {"size": (-1, 2)},
            {"size": (2,)},
            {"stride": (3, 1)},
            {"stride": (-1, 1)},
            {"size": (2, 0), "offset": 5},
            {"size": (2**62, 2), "stride": (0, 0)},
            {"size": (2**62, 2**62)},
            {"size": (2.0, 2)},
        ],
        ids=str,
    )
    def test_a_view_beyond_its_storage(self, wrong):
        with pytest.raises(pickle.UnpicklingError, match="damaged"):
            nbtorch.load(archive(tensor_pickle(**wrong), {"data/0": bytes(16)}))

    @pytest.mark.parametrize("count", [5, 2**40, 2**62])
    def test_a_storage_larger_than_its_record(self, count):
        with pytest.raises(RuntimeError, match="must hold"):
            nbtorch.load(archive(tensor_pickle(count=count), {"data/0": bytes(16)}))

    def test_a_missing_storage(self):
        with pytest.raises(RuntimeError, match="holds no data/0"):
            nbtorch.load(archive(tensor_pickle()))

    def test_damaged_pickles_raise_and_nothing_else(self):
        file = io.BytesIO()
        nbtorch.save({"a": nbtorch.ones(2), "b": [1, (2, None)]}, file)
        with zipfile.ZipFile(file) as written:
            data = written.read("archive/data.pkl")
        generator = np.random.default_rng(0)
        for _ in range(300):
            damaged = bytearray(data)
            for position in generator.integers(2, len(data), 2):
                damaged[position] = generator.integers(256)
            with contextlib.suppress(pickle.UnpicklingError, RuntimeError):
                nbtorch.load(archive(bytes(damaged), {"data/0": bytes(8)}))

    def test_types_that_share_memory(self):
        array = np.zeros(4, np.float32)
        tensors = [nbtorch.from_numpy(array), nbtorch.from_numpy(array.view(np.int32))]
        with pytest.raises(RuntimeError, match=r"view the same memory as different types, got torch\.float32"):
            nbtorch.save(tensors, io.BytesIO())


class TestMapLocation:
    @pytest.mark.parametrize(
        "map_location", ["cpu", nbtorch.device("cpu"), {"cuda:0": "cpu"}, lambda storage, location: storage]
    )
    def test_from_a_device_that_is_not_here(self, map_location):
        data = tensor_pickle().replace(b"\x03\x00\x00\x00cpu", b"\x06\x00\x00\x00cuda:0")
        loaded = nbtorch.load(archive(data, {"data/0": bytes(16)}), map_location=map_location)
        assert loaded.device.type == "cpu"

    @pytest.mark.skipif(os.environ.get("NUMBA_ENABLE_CUDASIM") == "1", reason="the simulator offers cuda")
    def test_without_it_the_error_says_what_to_do(self):
        data = tensor_pickle().replace(b"\x03\x00\x00\x00cpu", b"\x06\x00\x00\x00cuda:9")
        with pytest.raises(RuntimeError, match=r"saved on 'cuda:9'.* map_location='cpu'"):
            nbtorch.load(archive(data, {"data/0": bytes(16)}))

    def test_an_unknown_device(self):
        with pytest.raises(RuntimeError, match=r"map_location: .*'tpu'"):
            round_trip(nbtorch.ones(1), map_location="tpu")


def run_torch(code: str, folder: Path) -> None:
    """Run code in a process of its own: torch and nbtorch bring one OpenMP library each."""
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], cwd=folder, check=True, timeout=300)


@pytest.mark.torch
@pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed")
class TestExchangeWithPyTorch:
    def test_pytorch_reads_our_files(self, tmp_path):
        base = nbtorch.arange(12.0).reshape(3, 4)
        model = nbtorch.nn.Linear(2, 3)
        obj = {
            "types": [nbtorch.tensor([0, 1, 1]).to(d) for d in dtypes.ALL],
            "transposed": base.t(),
            "row": base[1],
            "parameter": Parameter(nbtorch.ones(2)),
            "model": model.state_dict(),
            "plain": [1, 2.5, None, True, "ü", 2**40, -(2**70), (1, (2,)), {3}, b"bytes", OrderedDict(a=1)],
            "empty": nbtorch.empty(0, 3),
            "scalar": nbtorch.tensor(7),
            "size": base.shape,
            "dtype": nbtorch.float64,
        }
        nbtorch.save(obj, tmp_path / "ours.pt")
        run_torch(
            """
            import torch
            from collections import OrderedDict
            for mmap in (False, True):
                o = torch.load("ours.pt", weights_only=True, mmap=mmap)
                names = ("bool uint8 int8 int16 int32 int64 uint16 uint32 uint64 bfloat16 float16 float32"
                    " float64 complex64 complex128").split()
                assert [str(t.dtype) for t in o["types"]] == ["torch." + n for n in names]
                assert all(t.tolist() == [0, 1, 1] for t in o["types"])
                assert o["transposed"].tolist() == torch.arange(12.0).reshape(3, 4).t().tolist()
                assert o["transposed"].stride() == (1, 4)
                assert o["row"].untyped_storage().data_ptr() == o["transposed"].untyped_storage().data_ptr()
                assert type(o["parameter"]) is torch.nn.Parameter and o["parameter"].requires_grad
                torch.nn.Linear(2, 3).load_state_dict(o["model"])
                assert o["model"]._metadata[""] == {"version": 1}
                plain = [1, 2.5, None, True, "ü", 2**40, -(2**70), (1, (2,)), {3}, b"bytes", OrderedDict(a=1)]
                assert o["plain"] == plain
                assert o["empty"].shape == (0, 3) and o["scalar"].item() == 7 and o["scalar"].shape == ()
                assert o["size"] == torch.Size([3, 4]) and o["dtype"] is torch.float64
            """,
            tmp_path,
        )

    def test_we_read_files_of_pytorch(self, tmp_path):
        run_torch(
            """
            import torch
            from collections import OrderedDict
            torch.manual_seed(0)
            base = torch.arange(12.0).reshape(3, 4)
            model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
            optimizer = torch.optim.Adam(model.parameters())
            model(torch.ones(2, 1, 5, 5)).sum().backward()
            optimizer.step()
            names = ("bool uint8 int8 int16 int32 int64 uint16 uint32 uint64 bfloat16 float16 float32"
                    " float64 complex64 complex128").split()
            obj = {
                "types": [torch.tensor([0, 1, 1]).to(getattr(torch, n)) for n in names],
                "transposed": base.t(), "row": base[1], "parameter": torch.nn.Parameter(torch.ones(2)),
                "model": model.state_dict(), "optimizer": optimizer.state_dict(),
                "plain": [1, 2.5, None, True, "ü", 2**40, -(2**70), (1, (2,)), {3}, b"bytes", OrderedDict(a=1)],
                "empty": torch.empty(0, 3), "scalar": torch.tensor(7), "size": base.shape, "dtype": torch.float64,
                "device": torch.device("cpu"), "leaf": torch.ones(1, requires_grad=True),
            }
            for protocol in (2, 4, 5):
                torch.save(obj, f"theirs{protocol}.pt", pickle_protocol=protocol)
            torch.save({"a": torch.ones(2)}, "old.pt", _use_new_zipfile_serialization=False)
            torch.save(torch.ones(2, dtype=torch.complex32), "complex32.pt")
            torch.save(model, "model.pt")
            """,
            tmp_path,
        )
        for protocol in (2, 4, 5):
            loaded = nbtorch.load(tmp_path / f"theirs{protocol}.pt")
            assert [t.dtype for t in loaded["types"]] == list(dtypes.ALL)
            assert loaded["transposed"].tolist() == nbtorch.arange(12.0).reshape(3, 4).t().tolist()
            loaded["row"][0] = 99
            assert loaded["transposed"][0, 1].item() == 99
            assert type(loaded["parameter"]) is Parameter
            assert loaded["model"]._metadata["1"] == {"version": 2}
            assert tuple(loaded["model"]["0.weight"].shape) == (2, 1, 3, 3)
            assert loaded["model"]["1.num_batches_tracked"].item() == 1
            assert loaded["optimizer"]["state"][0]["step"].item() == 1
            assert loaded["plain"] == [1, 2.5, None, True, "ü", 2**40, -(2**70), (1, (2,)), {3}, b"bytes", {"a": 1}]
            assert tuple(loaded["empty"].shape) == (0, 3)
            assert loaded["scalar"].item() == 7
            assert loaded["size"] == (3, 4)
            assert loaded["dtype"] is nbtorch.float64
            assert loaded["leaf"].requires_grad
        with pytest.raises(RuntimeError, match=r"before version 1\.6"):
            nbtorch.load(tmp_path / "old.pt")
        with pytest.raises(
            pickle.UnpicklingError, match=r"torch\.complex32, a type of elements that nbtorch does not have"
        ):
            nbtorch.load(tmp_path / "complex32.pt")
        with pytest.raises(pickle.UnpicklingError, match=r"names torch\.nn\.modules\.container\.Sequential"):
            nbtorch.load(tmp_path / "model.pt")
