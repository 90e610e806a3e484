"""Converting: layouts, reports, refusals, and the commands."""

import json
import pickle
from pathlib import Path

import numpy as np
import paddle
import pytest

from ppsr.errors import WeightError
from ppsr.registry import build_generator
from ppsr.weights import load_weights, read_state, read_weight_file, write_state
from ppsr.weights.convert import convert
from tests.command import run_ppsr


def predictor_file(path: Path) -> tuple[object, dict[str, np.ndarray]]:
    """A network with Linear layers that are not square, saved in Paddle's layout."""
    net = build_generator("DegradationPredictor", nf=4, num_params=7, num_networks=3)
    state = {key: value.numpy() for key, value in net.state_dict().items()}
    write_state(path, state)
    return net, state


@pytest.mark.smoke
@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".pdparams"])
def test_weights_survive_every_container_and_back(tmp_path: Path, suffix: str) -> None:
    _, state = predictor_file(tmp_path / "a.pdparams")
    convert(tmp_path / "a.pdparams", tmp_path / f"b{suffix}")
    again = build_generator("DegradationPredictor", nf=4, num_params=7, num_networks=3)
    load_weights(again, tmp_path / f"b{suffix}")
    for key, value in again.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), state[key])
    convert(tmp_path / f"b{suffix}", tmp_path / "c.pdparams")
    back = read_state(tmp_path / "c.pdparams")
    assert back.keys() == state.keys()
    for key in state:
        np.testing.assert_array_equal(back[key], state[key])


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".pdparams"])
def test_bfloat16_weights_of_paddle_become_float32(tmp_path: Path, suffix: str) -> None:
    net, state = predictor_file(tmp_path / "a.pdparams")
    half = {key: value.astype("bfloat16") for key, value in net.state_dict().items()}
    paddle.save({"generator": half}, str(tmp_path / "half.pdparams"))
    convert(tmp_path / "half.pdparams", tmp_path / f"b{suffix}")
    again = build_generator("DegradationPredictor", nf=4, num_params=7, num_networks=3)
    load_weights(again, tmp_path / f"b{suffix}")
    for key, value in again.state_dict().items():
        np.testing.assert_allclose(value.numpy(), state[key], rtol=2**-8)
        np.testing.assert_array_equal(value.numpy(), half[key].astype("float32").numpy())
    key = next(iter(half))
    half[key] = half[key] * float("nan")
    paddle.save({"generator": half}, str(tmp_path / "half.pdparams"))
    with pytest.raises(WeightError, match=f"'generator.{key}' has NaN"):
        read_weight_file(tmp_path / "half.pdparams")


def test_networks_of_a_nested_file_keep_their_names(tmp_path: Path) -> None:
    nets = {"generator": {"w": np.ones((2, 2, 1, 1), "f4")}, "netD": {"w": np.zeros(3, "f4")}}
    write_state(tmp_path / "a.pdparams", nets)
    convert(tmp_path / "a.pdparams", tmp_path / "b.pth")
    assert read_weight_file(tmp_path / "b.pth").nets.keys() == nets.keys()


def test_matrices_of_an_unknown_network_are_not_guessed(tmp_path: Path) -> None:
    write_state(tmp_path / "a.pdparams", {"fc.weight": np.ones((2, 3), "f4")})
    with pytest.raises(WeightError, match=r"tried .*fc\.weight must be transposed"):
        convert(tmp_path / "a.pdparams", tmp_path / "b.pth")
    assert not (tmp_path / "b.pth").exists()


def test_file_of_paddlegan_and_list_of_dual_models_are_read_by_name(tmp_path: Path) -> None:
    state = {"w": np.ones(2, "f4")}
    (tmp_path / "a.pdparams").write_bytes(
        pickle.dumps({"generator": state, "dual_model_0": state, "epoch": 3}, 4)
    )
    assert read_weight_file(tmp_path / "a.pdparams").nets.keys() == {"generator", "dual_model_0"}
    data = Path(__file__).parent / "data"
    assert read_weight_file(data / "list_zip.pth").nets.keys() == {"dual_model_0", "dual_model_1"}


def test_entry_of_a_torch_file_is_preferred_averaged_and_can_be_chosen() -> None:
    path = Path(__file__).parent / "data" / "nest_legacy.pth"
    averaged, plain = read_state(path), read_state(path, key="params")
    np.testing.assert_allclose(averaged["a"], plain["a"] + 1, rtol=1e-6)
    with pytest.raises(WeightError, match="no entry 'net'"):
        read_state(path, key="net")


def test_nan_is_refused_by_the_name_of_its_tensor(tmp_path: Path) -> None:
    write_state(tmp_path / "a.safetensors", {"good": np.ones(2), "bad": np.array([1.0, np.nan])})
    with pytest.raises(WeightError, match="'bad' has NaN"):
        read_state(tmp_path / "a.safetensors")
    assert np.isnan(read_state(tmp_path / "a.safetensors", allow_nonfinite=True)["bad"][1])


@pytest.mark.parametrize("suffix", [".pdparams", ".pth", ".safetensors"])
def test_every_truncation_is_refused(tmp_path: Path, suffix: str) -> None:
    write_state(tmp_path / f"a{suffix}", {"w": np.ones((3, 5), "f4")})
    content = (tmp_path / f"a{suffix}").read_bytes()
    for length in range(len(content)):
        (tmp_path / f"b{suffix}").write_bytes(content[:length])
        with pytest.raises(WeightError):
            read_state(tmp_path / f"b{suffix}")


def test_commands_identify_and_convert(tmp_path: Path) -> None:
    predictor_file(tmp_path / "a.pdparams")
    shown = run_ppsr("models", "identify", tmp_path / "a.pdparams")
    assert shown.exit_code == 0
    facts, _ = json.JSONDecoder().raw_decode(shown.output.splitlines()[1])
    assert facts["name"] == "DegradationPredictor" and facts["num_params"] == 7
    shown = run_ppsr("convert", tmp_path / "a.pdparams", tmp_path / "b.pth", "--report")
    assert shown.exit_code == 0
    assert "MappingNet.0.weight\tMappingNet.0.weight\t15x7\ttransposed" in shown.output


def test_a_file_is_not_converted_into_itself(tmp_path: Path) -> None:
    write_state(
        tmp_path / "net.pth", {"generator": {"a": np.ones(2, "f4")}, "critic": {"b": np.ones(2, "f4")}}
    )
    before = (tmp_path / "net.pth").read_bytes()
    with pytest.raises(WeightError, match="is the file to convert; choose another name"):
        convert(tmp_path / "net.pth", tmp_path / "." / "net.pth")
    assert (tmp_path / "net.pth").read_bytes() == before
