"""What a weight file may cost is bounded by its own size: shared arrays, colliding keys, made-up shapes."""

import itertools
import pickle
import struct
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ppsr.errors import WeightError
from ppsr.inference.network import load_network
from ppsr.weights import read_weight_file, write_state
from ppsr.weights.build import build_from_spec
from ppsr.weights.identify import NetworkSpec
from ppsr.weights.pdparams import parse_pdparams

MODULUS = (1 << 61) - 1  # of Python's hash of numbers


def refused(path: Path, content: bytes, reason: str) -> None:
    path.write_bytes(content)
    tracemalloc.start()
    started = time.process_time()
    try:
        with pytest.raises(WeightError, match=reason):
            read_weight_file(path, allow_nonfinite=True)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert time.process_time() - started < 5
    assert peak < 40 * len(content) + (8 << 20)


KEYS: dict[str, Callable[[], list]] = {
    "whole numbers": lambda: [k * MODULUS for k in range(1, 2000)],
    "tuples": lambda: list(itertools.product((-1, -2), repeat=10)),
    "sets": lambda: [frozenset((k * MODULUS, 1)) for k in range(1, 2000)],
    "floats": lambda: [float(k) for k in range(100)],
}


@pytest.mark.slow
@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("suffix", [".pdparams", ".pth"])
def test_keys_that_can_collide_are_refused_before_a_dictionary_is_made(
    tmp_path: Path, kind: str, protocol: int, suffix: str
) -> None:
    content = pickle.dumps({"w": dict.fromkeys(KEYS[kind](), 0)}, protocol=protocol)
    if suffix == ".pth":
        facts = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}
        head = (0x1950A86A20F9469CFC6C, 1001, facts)
        content = b"".join(pickle.dumps(part, protocol=2) for part in head) + content + pickle.dumps([], 2)
    refused(tmp_path / f"a{suffix}", content, "a key of the kind|frozenset|refused")


def test_pairs_given_to_a_dictionary_are_looked_at_too() -> None:
    pairs = b"(" + b"".join(b"(K\x01K%cte" % k for k in range(3)).replace(b"e", b"K\x00\x86") + b"t"
    content = b"\x80\x02ccollections\nOrderedDict\n" + pairs + b"\x85R."
    with pytest.raises(WeightError, match="keys that are not texts"):
        parse_pdparams(content, "x")


def test_one_array_under_very_many_names_is_refused(tmp_path: Path) -> None:
    array = np.ones(100_000, np.uint16)  # as bfloat16, which becomes twice as large
    content = pickle.dumps({f"k{i}": array for i in range(5000)}, protocol=4)
    assert len(content) < 400_000
    refused(tmp_path / "a.pdparams", content, "under too many names")


def test_tied_weights_are_read(tmp_path: Path) -> None:
    array = np.arange(1000, dtype="f4")
    (tmp_path / "a.pdparams").write_bytes(pickle.dumps({"a": array, "b": array, "c": array}, protocol=4))
    assert len(read_weight_file(tmp_path / "a.pdparams").state()) == 3


def test_genuine_files_of_protocol_2_with_an_empty_tensor_are_read() -> None:
    state = {"w": np.zeros((0, 3), "f4"), "v": np.ones(2, "f4")}
    found = parse_pdparams(pickle.dumps(state, protocol=2), "x")
    assert found["w"].shape == (0, 3) and found["v"].tolist() == [1, 1]


def test_sizes_of_empty_tensors_build_nothing(tmp_path: Path) -> None:
    shapes = {"conv_first.weight": [1 << 20, 3, 0, 3], "body.0.rdb1.conv1.weight": [1 << 20, 1 << 20, 0, 3]}
    shapes |= {"conv_hr.weight": [1 << 20, 1 << 20, 0, 3], "conv_last.weight": [3, 1 << 20, 0, 3]}
    entries = (f'"{k}":{{"dtype":"F32","shape":{s},"data_offsets":[0,0]}}' for k, s in shapes.items())
    header = ("{" + ",".join(entries) + "}").encode()
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    started = time.process_time()
    with pytest.raises(WeightError, match="no known network"):
        load_network(load=tmp_path / "a.safetensors")
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    "found", [("DRCT", {"in_chans": 0}), ("DRNGenerator", {"n_feats": 0}), ("SwinIR", {"depths": "x"})]
)
def test_arguments_that_no_network_has_are_one_kind_of_error(found: tuple[str, dict]) -> None:
    with pytest.raises(WeightError, match=r"a\.pth does not name all of its network: .*ppsr convert"):
        build_from_spec(NetworkSpec(*found), [{"w": np.zeros(5, "f4")}], "a.pth")


@pytest.mark.parametrize(
    "arguments",
    [{"depths": [1 << 24]}, {"depths": [1 << 15] * 3}, {"depths": [0] * (1 << 17)}, {"num_feat": 1 << 17}],
)
def test_numbers_that_count_more_than_any_network_has_are_refused(arguments: dict) -> None:
    started = time.process_time()
    with pytest.raises(WeightError, match="at most 65536"):
        build_from_spec(NetworkSpec("HAT", arguments), [{"w": np.zeros(5, "f4")}], "a.pth")
    assert time.process_time() - started < 2


def test_a_wide_window_builds_nothing(tmp_path: Path) -> None:
    """Its index has the fourth power of the window."""
    width, window, block = 8, 200, "layers.0.residual_group.blocks.0."
    state = {
        "conv_first.weight": np.zeros((width, 3, 3, 3), "f4"),
        f"{block}attn.proj.weight": np.zeros((width, width), "f4"),
        f"{block}attn.relative_position_bias_table": np.zeros(((2 * window - 1) ** 2, 1), "f4"),
        f"{block}mlp.fc1.bias": np.zeros(16, "f4"),
    }
    write_state(tmp_path / "a.pth", {"params": state})
    with pytest.raises(WeightError, match="window_size is 200; at most 64"):
        load_network(load=tmp_path / "a.pth")
