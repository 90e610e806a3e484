"""Mixing weight files, and ncnn pairs written by ppsr, run by ncnn itself."""

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import paddle
import pytest

from ppsr.errors import ConfigError, WeightError
from ppsr.inference.network import load_network
from ppsr.registry import build_generator
from ppsr.weights import read_weight_file, write_state
from ppsr.weights.mix import mix, read_with_strength
from ppsr.weights.record import stated_network
from tests.command import run_ppsr

PUBLISHED = Path(__file__).parents[3] / "shared/weights"
NCNN = importlib.util.find_spec("ncnn")
NETWORKS = [
    ("SRVGGNetCompact", {"num_feat": 5, "num_conv": 2, "upscale": 3}),
    ("SRVGGNetCompact", {"num_feat": 4, "num_conv": 1, "upscale": 4, "act_type": "leakyrelu", "outscale": 3}),
    ("SRVGGNetCompact", {"num_feat": 4, "num_conv": 1, "upscale": 3, "outscale": 1}),
    ("SRVGGNetCompact", {"num_feat": 4, "num_conv": 1, "upscale": 7, "outscale": 5}),
    ("SRVGGNetCompact", {"num_feat": 4, "num_conv": 1, "upscale": 1, "act_type": "relu"}),
    ("RRDBNet", {"num_feat": 6, "num_block": 2, "num_grow_ch": 4, "scale": 4}),
    ("RRDBNet", {"num_feat": 6, "num_block": 1, "num_grow_ch": 4, "scale": 2}),
    ("RRDBNet", {"num_feat": 6, "num_block": 1, "num_grow_ch": 4, "scale": 2, "unshuffle": 1}),
    ("RRDBNet", {**dict.fromkeys(("num_block", "num_in_ch", "num_out_ch"), 1), "num_feat": 6, "scale": 8}),
]


def saved(path: Path, name: str, arguments: dict, *, half: bool = False, seed: int = 0) -> paddle.nn.Layer:
    paddle.seed(seed)
    net = build_generator(name, **arguments)
    net.eval()
    state = {key: value.numpy() for key, value in net.state_dict().items()}
    if half:
        state = {key: value.astype("f2").astype("f4") for key, value in state.items()}
        net.set_state_dict({key: paddle.to_tensor(value) for key, value in state.items()})
    write_state(path, {"params": state}, networks={"": stated_network(net)})
    return net


@pytest.mark.slow
@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize(("name", "arguments"), NETWORKS, ids=str)
def test_written_pair_is_read_back_exactly(tmp_path: Path, name: str, arguments: dict, half: bool) -> None:
    net = saved(tmp_path / "a.pth", name, arguments, half=half)
    assert run_ppsr("convert", tmp_path / "a.pth", tmp_path / "a.param").exit_code == 0
    x = paddle.rand([1, arguments.get("num_in_ch", 3), 12, 8])
    again = load_network(load=tmp_path / "a.bin")
    assert np.array_equal(again(x).numpy(), net(x).numpy())
    weights = sum(
        value.size for value in read_weight_file(tmp_path / "a.bin").state().values() if value.ndim == 4
    )
    assert (tmp_path / "a.bin").stat().st_size < weights * (3.6 if half else 6)


@pytest.mark.slow
@pytest.mark.skipif(NCNN is None, reason="the package ncnn is not installed")
@pytest.mark.parametrize(("name", "arguments"), NETWORKS, ids=str)
def test_ncnn_computes_what_the_network_does(tmp_path: Path, name: str, arguments: dict) -> None:
    import ncnn

    net = saved(tmp_path / "a.pth", name, arguments, half=True)
    run_ppsr("convert", tmp_path / "a.pth", tmp_path / "a.param")
    engine = ncnn.Net()
    for option in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
        setattr(engine.opt, f"use_{option}", False)
    assert engine.load_param(str(tmp_path / "a.param")) == 0
    assert engine.load_model(str(tmp_path / "a.bin")) == 0
    x = np.random.default_rng(0).random((arguments.get("num_in_ch", 3), 12, 8), "f4")
    extractor = engine.create_extractor()
    extractor.input("data", ncnn.Mat(x).clone())
    _, result = extractor.extract("output")
    wanted = net(paddle.to_tensor(x[None])).numpy()[0]
    np.testing.assert_allclose(np.array(result), wanted, atol=2e-5 * max(1, np.abs(wanted).max()))


def test_a_graph_that_an_editor_of_windows_saved_is_read(tmp_path: Path) -> None:
    name, arguments = NETWORKS[0]
    saved(tmp_path / "a.pth", name, arguments)
    assert run_ppsr("convert", tmp_path / "a.pth", tmp_path / "a.param").exit_code == 0
    graph = tmp_path / "a.param"
    graph.write_bytes(b"\xef\xbb\xbf" + graph.read_bytes().replace(b"\n", b"\r\n"))
    assert read_weight_file(graph).network().name == name


def test_a_wrong_graph_is_refused_for_its_own_reason(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    graph = Path("u.param")
    graph.with_suffix(".bin").touch()
    graph.write_text("7767517\n2 2\nInput in 0 1 a\nPixelShuffle up 1 1 a b\n")
    with pytest.raises(
        WeightError, match=r"^u\.param: layer 'up' \(PixelShuffle\): its factor is 0; it must be 1 or more"
    ):
        read_weight_file(graph)
    with graph.open("r+b") as file:
        file.truncate(2**26 + 1)  # without taking this room on disk
    with pytest.raises(WeightError, match="not an ncnn graph: it has 67,108,865 bytes"):
        read_weight_file(graph)


def test_other_networks_are_refused(tmp_path: Path) -> None:
    saved(tmp_path / "a.pth", "MSRResNet", {"num_feat": 4, "num_block": 1})
    result = run_ppsr("convert", tmp_path / "a.pth", tmp_path / "a.param")
    assert isinstance(result.exception, WeightError) and "not of MSRResNet" in str(result.exception)


@pytest.mark.parametrize("suffix", [".pth", ".pdparams", ".safetensors", ".param"])
def test_mixture_is_the_weighted_mean(tmp_path: Path, suffix: str) -> None:
    name, arguments = NETWORKS[0]
    first = saved(tmp_path / "a.pth", name, arguments, seed=1)
    second = saved(tmp_path / "b.pth", name, arguments, seed=2)
    args = ["models", "mix", tmp_path / "a.pth", tmp_path / "b.pth", "--share", "0.25"]
    assert run_ppsr(*args, "-o", tmp_path / f"c{suffix}").exit_code == 0
    got = load_network(load=tmp_path / f"c{suffix}").state_dict()
    for key, value in first.state_dict().items():
        wanted = 0.25 * value.numpy().astype("f8") + 0.75 * second.state_dict()[key].numpy()
        np.testing.assert_allclose(got[key].numpy(), wanted, atol=1e-7)


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published weights are not here")
def test_strength_mixes_weights_that_were_put_into_the_folder(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("PPSR_HOME", str(tmp_path))
    (tmp_path / "weights").mkdir()
    for path in PUBLISHED.glob("RealESRGAN_General*"):
        shutil.copy(path, tmp_path / "weights")
    strong, weak = (read_with_strength("realesr-general-x4v3", share).state() for share in (1, 0))
    mixed = read_with_strength("realesr-general-x4v3", 0.25).state()
    key = "body.6.weight"
    assert not np.array_equal(strong[key], weak[key])
    np.testing.assert_allclose(mixed[key], 0.25 * strong[key] + 0.75 * weak[key], atol=1e-7)


def test_wrong_mixtures_are_refused(tmp_path: Path) -> None:
    name, arguments = NETWORKS[0]
    saved(tmp_path / "a.pth", name, arguments)
    saved(tmp_path / "b.pth", name, {**arguments, "num_feat": 6})
    with pytest.raises(WeightError, match=r"not of one network, \d+ tensors differ: body\.0\.bias: \(5,\)"):
        mix(tmp_path / "a.pth", tmp_path / "b.pth", tmp_path / "c.pth", share=0.5)
    with pytest.raises(ConfigError, match=r"from 0 to 1, got 1\.5"):
        mix(tmp_path / "a.pth", tmp_path / "a.pth", tmp_path / "c.pth", share=1.5)
    before = (tmp_path / "a.pth").read_bytes()
    with pytest.raises(WeightError, match=r"a\.pth is one of the files to mix"):
        mix(tmp_path / "a.pth", tmp_path / "a.pth", tmp_path / "a.pth", share=0.5)
    assert (tmp_path / "a.pth").read_bytes() == before
    with pytest.raises(ConfigError, match="those that have one: realesr-general-x4v3"):
        read_with_strength("realesrgan-x4plus", 0.5)


def test_networks_whose_shapes_are_equal_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(WeightError, match=r"fsrcnn_x3.* and .*fsrcnn_x4.* are not of one network: .*3.*4"):
        mix("fsrcnn-x3", "fsrcnn-x4", tmp_path / "c.safetensors", share=0.5)
