"""Entries and prefixes of other programs' files: what is chosen, taken off, left out and reported."""

import os
import struct
from pathlib import Path

import numpy as np
import pytest

from ppsr.errors import WeightError
from ppsr.weights import read_weight_file, write_state
from ppsr.weights.unwrap import unwrap

PLAIN = {"conv_first.weight": np.zeros(2, "f4"), "body.0.weight": np.zeros(3, "f4")}
AVERAGE = {key: value + 1 for key, value in PLAIN.items()}


def under(prefix: str, state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {prefix + key: value for key, value in state.items()}


def chosen(tree: dict) -> tuple[str, list[str]]:
    """Which of the two states a file yields, and the notes."""
    found = unwrap(tree, "x.pth")
    state = found.nets[""]
    assert state.keys() == PLAIN.keys()
    return ("average" if state["body.0.weight"].all() else "plain"), found.notes


@pytest.mark.parametrize(
    "prefix",
    [
        *("module.", "net_g.", "netG.", "generator.", "model.", "net.", "module.model.", "_forward_module."),
        *("_forward_module.net_g.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."),
        *("_fsdp_wrapped_module.", "net_G.", "NetG.", "_layers."),
    ],
)
def test_prefix_of_a_trainer_is_taken_off(prefix: str) -> None:
    name, notes = chosen(under(prefix, PLAIN))
    assert name == "plain" and any(prefix.split(".", maxsplit=1)[0] in note for note in notes)


@pytest.mark.parametrize(
    ("tree", "taken"),
    [
        *(
            ({key.replace("body.", f"body.{name}."): value for key, value in PLAIN.items()}, "plain")
            for name in ("_orig_mod", "_checkpoint_wrapped_module")
        ),
        ({**PLAIN, "total_ops": np.zeros(1), "body.0.total_params": np.zeros(1)}, "plain"),
        ({**under("online_model.", PLAIN), **under("ema_model.", AVERAGE), "step": np.array(1)}, "average"),
        ({**under("params.", PLAIN), **under("params_ema.", AVERAGE)}, "average"),
        ({"params_ema": {}, "params": PLAIN}, "plain"),  # an average that never began
        ({**under("module.", PLAIN), "n_averaged": np.array(5)}, "plain"),
        ({**under("net_g.", PLAIN), "net_g_ema.decay": np.array(0.9)}, "plain"),
        ({"model": PLAIN, "ema": {"decay": np.array(0.9)}}, "plain"),
        *(
            ({f"{name}": PLAIN, f"{name}_ema": AVERAGE}, "average")
            for name in ("state_dict", "net_g", "netG")
        ),
        *(
            ({"params": PLAIN, name: AVERAGE}, "average")
            for name in ("params_ema", "params-ema", "ema_params")
        ),
        ({"model": PLAIN, "model_ema": AVERAGE}, "average"),
        ({"model": PLAIN, "ema": AVERAGE}, "average"),
        ({"model": PLAIN, "ema": under("module.", AVERAGE)}, "average"),
        ({"model": {"params": PLAIN, "params_ema": AVERAGE}, "epoch": 3}, "average"),
    ],
)
def test_averages_of_the_network_are_preferred(tree: dict, taken: str) -> None:
    assert chosen(tree)[0] == taken


@pytest.mark.parametrize(
    "tree",
    [
        {"state": {"0": {"exp_avg": np.zeros(2)}}, "param_groups": [{"lr": 1.0}]},
        {"epoch": 1, "iter": 5000, "optimizers": [{"state": {}}], "schedulers": []},
        {"conv2d_0.w_0_moment1_0": np.zeros(2), "conv2d_0.w_0_beta1_pow_acc_0": np.zeros(1)},
    ],
)
def test_the_state_of_an_optimizer_is_named_as_one(tree: dict) -> None:
    with pytest.raises(WeightError, match="state of an optimizer, not weights"):
        unwrap(tree, "x.pth")
    assert unwrap({"params": PLAIN, "optimizers": [1]}, "x").nets[""].keys() == PLAIN.keys()


@pytest.mark.parametrize(
    "twin", ["generator_ema.", "ema_generator.", "generator-ema.", "ema.", "ema.module."]
)
def test_averaged_twin_is_preferred_and_the_rest_is_named(twin: str) -> None:
    beside = {"step_counter": np.array(3), "discriminator.conv0.weight": np.ones(4)}
    name, notes = chosen({"state_dict": {**under("generator.", PLAIN), **under(twin, AVERAGE), **beside}})
    assert name == "average"
    assert any("discriminator" in note and "step_counter" in note for note in notes)


def test_sequences_named_model_keep_their_keys() -> None:
    state = {"model.0.weight": np.zeros(2), "model.1.sub.0.RDB1.conv1.0.weight": np.zeros(3)}
    assert unwrap(state, "x").nets[""].keys() == state.keys()
    assert unwrap(under("module.", state), "x").nets[""].keys() == state.keys()


def test_networks_that_inference_needs_stay_together() -> None:
    state = {**under("generator.", PLAIN), "predictor.ConvNet.0.weight": np.zeros(2)}
    assert unwrap(state, "x").nets[""].keys() == state.keys()


def test_missing_entry_names_those_there_are() -> None:
    with pytest.raises(WeightError, match=r"no entry 'best'; it has params"):
        unwrap({"params": PLAIN}, "x.pth", "best")


def test_safetensors_whose_header_length_begins_with_0x80_is_read(tmp_path: Path) -> None:
    write_state(tmp_path / "a.safetensors", PLAIN)
    content = (tmp_path / "a.safetensors").read_bytes()
    (length,) = struct.unpack_from("<Q", content)
    more = (0x80 - length) % 256
    padded = struct.pack("<Q", length + more) + content[8 : 8 + length] + b" " * more + content[8 + length :]
    (tmp_path / "b.safetensors").write_bytes(padded)
    assert padded[0] == 0x80
    assert read_weight_file(tmp_path / "b.safetensors").nets[""].keys() == PLAIN.keys()


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    places = {tmp_path / "pipe": "regular", Path("/dev/zero"): "regular", tmp_path: "no weight files"}
    for path, kind in places.items():
        with pytest.raises(WeightError, match=kind):
            read_weight_file(path)


def test_the_parts_of_a_file_are_those_networks_that_it_holds_averages_first(tmp_path):
    state = {name: {"w": np.full(1, k, np.float32)} for k, name in enumerate(["a", "a_ema", "b"])}
    write_state(tmp_path / "net.pdparams", state)
    parts = read_weight_file(tmp_path / "net.pdparams").parts(["b", "a", "c"])
    assert {name: part["w"].tolist() for name, part in parts.items()} == {"b": [2], "a": [1]}
    with pytest.raises(WeightError, match=r"holds \['a', 'a_ema', 'b'\], the model needs \['c'\]"):
        read_weight_file(tmp_path / "net.pdparams").parts(["c"])
    write_state(tmp_path / "flat.pdparams", state["b"])
    assert list(read_weight_file(tmp_path / "flat.pdparams").parts(["generator", "d"])) == ["generator"]
