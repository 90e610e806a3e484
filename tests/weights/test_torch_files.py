"""The .pth reader against what PyTorch itself wrote and read."""

import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

from ppsr.errors import WeightError
from ppsr.weights.opcodes import UnsafeFile
from ppsr.weights.torch_files import parse_torch
from ppsr.weights.torch_writer import dump_torch

DATA = Path(__file__).parent / "data"
FILES = sorted(path.stem for path in DATA.glob("*.pth"))
REFUSALS = {
    "expanded": "outside its storage",
    "float8": "(?i)float8",
    "module": "torch.nn.modules.container.Sequential",
    "counter": "collections.Counter",
}


def flatten(value: object, prefix: str = "") -> dict[str, np.ndarray]:
    if isinstance(value, np.ndarray):
        return {prefix: value}
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    result: dict[str, np.ndarray] = {}
    for key, item in items:
        result.update(flatten(item, f"{prefix}/{key}" if prefix else str(key)))
    return result


@pytest.mark.smoke
@pytest.mark.parametrize("name", [name for name in FILES if not name.startswith("refused")])
def test_file_reads_byte_equal_to_torch(name: str) -> None:
    with np.load(DATA / "expected.npz") as expected:
        wanted = {k.partition("|")[2]: expected[k] for k in expected.files if k.startswith(f"{name}|")}
    got = flatten(parse_torch((DATA / f"{name}.pth").read_bytes(), name))
    assert wanted and got.keys() == wanted.keys()
    for key, array in wanted.items():
        assert got[key].shape == array.shape and got[key].dtype == array.dtype, key
        assert got[key].tobytes() == np.ascontiguousarray(array).tobytes(), key


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith("refused")])
def test_file_that_is_no_plain_state_is_refused_by_name(name: str) -> None:
    with pytest.raises(UnsafeFile, match=REFUSALS[name.split("_")[1]]):
        parse_torch((DATA / f"{name}.pth").read_bytes(), name)


def test_there_are_enough_files_of_both_containers() -> None:
    kinds = [name.rpartition("_")[2] for name in FILES]
    assert kinds.count("zip") == kinds.count("legacy") >= 13


def test_written_file_reads_back_equal() -> None:
    rng = np.random.default_rng(0)
    state = {
        kind: (rng.standard_normal((2, 3)) * 9).astype(kind)
        for kind in ("f4", "f2", "f8", "i8", "u1", "c8", "?")
    }
    state |= {"transposed": rng.standard_normal((3, 4)).T, "scalar": np.array(2.0), "empty": np.zeros((0, 2))}
    got = parse_torch(dump_torch({"params": state}))["params"]
    assert list(got) == list(state)
    for key, array in state.items():
        assert got[key].dtype == array.dtype and got[key].shape == array.shape
        np.testing.assert_array_equal(got[key], array)


def test_type_without_torch_counterpart_cannot_be_written() -> None:
    with pytest.raises(WeightError, match="'name' has the type"):
        dump_torch({"name": np.array(["text"])})


def legacy(data: bytes) -> bytes:
    """A file of the container before PyTorch 1.6 without storages."""
    facts = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}
    head = [pickle.dumps(value, protocol=2) for value in (0x1950A86A20F9469CFC6C, 1001, facts)]
    return b"".join(head) + data + pickle.dumps([], protocol=2)


LONG = b"T" + struct.pack("<i", 5000) + b"x" * 5000  # BINSTRING, as Python 2 pickled texts


def test_long_texts_of_old_files_are_read() -> None:
    assert parse_torch(legacy(b"\x80\x02}U\x04note" + LONG + b"s."), "x.pth") == {"note": "x" * 5000}


def test_arrays_of_numpy_beside_weights_are_read() -> None:
    scores = np.array([31.5, 0.9])
    read = parse_torch(legacy(pickle.dumps({"psnr": scores}, protocol=2)), "x.pth")["psnr"]
    np.testing.assert_array_equal(read, scores)


def test_a_refused_name_comes_with_a_way_out() -> None:
    with pytest.raises(
        UnsafeFile, match=r"asks for argparse\.Namespace\. Save its weights where it was made"
    ):
        parse_torch(legacy(b"\x80\x02cargparse\nNamespace\n)R."), "x.pth")


def test_whole_module_is_named_as_one() -> None:
    data = b"\x80\x02cvdsr\nNet\n" + LONG + b"ctorch.nn.modules.conv\nConv2d\n\x87."
    with pytest.raises(UnsafeFile, match=r"vdsr\.Net, as it is a whole pickled module.*state_dict"):
        parse_torch(legacy(data), "x.pth")
