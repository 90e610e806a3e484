"""Weight files that say what they are: networks with all arguments, a checksum, bounded building."""

import json
import time
from pathlib import Path

import numpy as np
import paddle
import pytest

from ppsr.errors import WeightError
from ppsr.inference.network import load_network
from ppsr.registry import build_generator
from ppsr.weights import NetworkSpec, read_weight_file, write_state
from ppsr.weights.convert import convert
from ppsr.weights.record import ENTRY, stated_network
from tests.command import run_ppsr

SUFFIXES = (".pdparams", ".safetensors", ".pth")
LEAKY = {"num_feat": 4, "num_conv": 1, "upscale": 2, "act_type": "leakyrelu"}


def saved(path: Path, name: str, **arguments: object) -> paddle.nn.Layer:
    """A network and its file, as a run writes it."""
    net = build_generator(name, **arguments)
    net.eval()
    state = {key: value.numpy() for key, value in net.state_dict().items()}
    write_state(path, {"generator": state}, networks={"generator": stated_network(net)})
    return net


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_shapes_do_not_show_is_written_and_read(tmp_path: Path, suffix: str) -> None:
    net = saved(tmp_path / f"a{suffix}", "SRVGGNetCompact", **LEAKY)
    again = load_network(load=tmp_path / f"a{suffix}")
    x = paddle.rand([1, 3, 9, 7])
    assert np.array_equal(again(x).numpy(), net(x).numpy())
    assert read_weight_file(tmp_path / f"a{suffix}").network() == ("SRVGGNetCompact", LEAKY)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_converting_keeps_it_and_adds_what_is_said(tmp_path: Path, suffix: str) -> None:
    net = saved(tmp_path / "a.pdparams", "SRVGGNetCompact", **LEAKY)
    convert(tmp_path / "a.pdparams", tmp_path / f"b{suffix}")
    assert read_weight_file(tmp_path / f"b{suffix}").network()[1]["act_type"] == "leakyrelu"
    foreign = {key: value.numpy() for key, value in net.state_dict().items()}
    write_state(tmp_path / "foreign.pth", {"params": foreign})
    args = (tmp_path / "foreign.pth", tmp_path / f"c{suffix}", "-o", "act_type=leakyrelu")
    assert run_ppsr("convert", *args).exit_code == 0
    x = paddle.rand([1, 3, 9, 7])
    assert np.array_equal(load_network(load=tmp_path / f"c{suffix}")(x).numpy(), net(x).numpy())


def test_paddle_reads_the_file_into_a_network(tmp_path: Path) -> None:
    net = build_generator("SRVGGNetCompact", **LEAKY)
    state = {key: value.numpy() for key, value in net.state_dict().items()}
    write_state(tmp_path / "a.pdparams", state, networks={"": stated_network(net)})
    loaded = paddle.load(str(tmp_path / "a.pdparams"))
    other = build_generator("SRVGGNetCompact", **LEAKY)
    other.set_state_dict(loaded)
    for key, value in other.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), state[key])


def test_foreign_scale_is_asked_for(tmp_path: Path) -> None:
    net = build_generator("FSRCNN", scale=3, d=8, s=4, m=1)
    state = {key: value.numpy() for key, value in net.state_dict().items()}
    write_state(tmp_path / "a.pth", {"params": state})
    with pytest.raises(WeightError, match=r"needs the option 'scale'.*ppsr convert .* -o KEY=VALUE"):
        load_network(load=tmp_path / "a.pth")
    convert(tmp_path / "a.pth", tmp_path / "b.pth", options={"scale": 3})
    assert load_network(load=tmp_path / "b.pth").scale == 3


def test_choice_that_a_foreign_file_leaves_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    net = saved(tmp_path / "own.pth", "SRVGGNetCompact", **LEAKY)
    state = {key: value.numpy() for key, value in net.state_dict().items()}
    write_state(tmp_path / "foreign.pth", {"params": state})
    load_network(load=tmp_path / "own.pth")
    assert not caplog.records
    load_network(load=tmp_path / "foreign.pth")
    assert "act_type relu" in caplog.text and "-o act_type=leakyrelu" in caplog.text


def test_made_up_sizes_build_nothing(tmp_path: Path) -> None:
    shapes = {"body.0.weight": (4, 3, 3, 3), "body.90002.weight": (12, 4, 3, 3)}
    state = {key: np.zeros(shape, "f4") for key, shape in shapes.items()}
    write_state(tmp_path / "a.pth", {"params": state})
    huge = {"num_feat": 1 << 14, "num_block": 1 << 14}
    write_state(tmp_path / "b.safetensors", state, networks={"": NetworkSpec("RRDBNet", huge)})
    wide = NetworkSpec("SwinIR", {"window_size": 4096})
    write_state(tmp_path / "c.safetensors", state, networks={"": wide})
    started = time.process_time()
    for name in ("a.pth", "b.safetensors", "c.safetensors"):
        with pytest.raises(WeightError, match="at most 64" if name[0] == "c" else "far more"):
            load_network(load=tmp_path / name)
    assert time.process_time() - started < 5


@pytest.mark.parametrize("text", ["", "[]", "{", '{"networks": {"": 3}}', json.dumps({"networks": {}})])
def test_damaged_record_is_named(tmp_path: Path, text: str) -> None:
    from ppsr.weights.pdparams import dump_state

    (tmp_path / "a.pdparams").write_bytes(dump_state({"w": np.zeros(2, "f4"), ENTRY: text}))
    with pytest.raises(WeightError, match="damaged entry 'ppsr'"):
        read_weight_file(tmp_path / "a.pdparams")
