"""`ppsr export`, `ppsr backends`, tools/export_model.py and tools/inference.py, one after the other."""

import json
from contextlib import contextmanager

import numpy as np
import pytest

from ppsr.cli.export import main as export_model
from ppsr.cli.infer import main as run_inference
from ppsr.cli.train import main as train
from ppsr.errors import PpsrError
from ppsr.imaging.io import read_image, write_image
from ppsr.weights import write_state
from tests.command import run_ppsr
from tests.networks import network

pytestmark = pytest.mark.slow

CONFIG = """# A test.
total_iters: 1
output_dir: {root}/runs
model:
  name: SRModel
  generator: {{name: MSRResNet, num_feat: 8, num_block: 1, upscale: 2}}
  pixel_criterion: {{name: L1Loss}}
dataset:
  test: {{name: SRDataset, gt_folder: {root}/gt, lq_folder: {root}/lq, scale: 2}}
validate:
  save_img: true
  metrics:
    psnr: {{name: PSNR, crop_border: 2, test_y_channel: true}}
    ssim: {{name: SSIM, crop_border: 2, test_y_channel: true}}
"""


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    """A config, weights that fit it, and four images, three of which have one size."""
    root = tmp_path_factory.mktemp("cli")
    (root / "net.yaml").write_text(CONFIG.format(root=root))
    net = network("MSRResNet", num_feat=8, num_block=1, upscale=2)
    write_state(root / "net.pdparams", {"generator": {k: v.numpy() for k, v in net.state_dict().items()}})
    rng = np.random.default_rng(0)
    for name, height in (("a", 12), ("b", 12), ("c", 16), ("d", 16)):
        gt = rng.integers(0, 256, (2 * height, 28, 3), dtype=np.uint8)
        write_image(root / "gt" / f"{name}.png", gt)
        write_image(root / "lq" / f"{name}.png", gt[::2, ::2])
    arguments = ["-c", f"{root}/net.yaml", "--load", f"{root}/net.pdparams", "--formats", "paddle"]
    code = export_model([*arguments, "--output_dir", f"{root}/exported", "-s=-1,3,-1,-1"])
    assert code == 0
    return root


def printed_metrics(text: str) -> dict[str, float]:
    lines = [line.split("Metric ")[1].split(": ") for line in text.splitlines() if "Metric " in line]
    return {name: float(value) for name, value in lines}


def test_exported_network_scores_as_the_network_does(workshop, capsys):
    """The export is made by the fixture; its name is PaddleGAN's."""
    assert (workshop / "exported" / "srmodel_generator.pdiparams").is_file()
    config, weights = f"{workshop}/net.yaml", f"{workshop}/net.pdparams"
    assert train(["-c", config, "--evaluate-only", "--load", weights, "--no-cuda"]) == 0
    dygraph = printed_metrics(capsys.readouterr().out)
    assert set(dygraph) == {"psnr", "ssim"}
    output = workshop / "out"
    arguments = ["-c", config, "--model_path", f"{workshop}/exported/srmodel_generator", "--device", "cpu"]
    arguments += ["--output_path", str(output), "--model_type", "srresnet", "--run_mode", "fluid"]
    assert run_inference([*arguments, "--batch_size", "3", "--seed", "123"]) == 0
    assert printed_metrics(capsys.readouterr().out) == pytest.approx(dygraph, abs=2e-3)
    report = json.loads((output / "srresnet" / "metrics.json").read_text())
    assert report["count"] == 4
    assert report["backend"] == "inference"
    written = printed_metrics((output / "srresnet" / "metric.txt").read_text())
    assert written == pytest.approx(report["mean"], abs=1e-4)
    for name in "abcd":
        assert read_image(output / "srresnet" / f"{name}.png").shape[1] == 28


def test_images_without_a_score_are_named_and_decide_the_exit_code(workshop, tmp_path, capsys):
    for name in "abcd":
        for kind in ("gt", "lq"):
            write_image(tmp_path / kind / f"{name}.png", read_image(workshop / kind / f"{name}.png"))
    write_image(tmp_path / "gt" / "a.png", np.zeros((64, 64, 3), np.uint8))
    (tmp_path / "lq" / "b.png").write_bytes(b"no image")
    folders = [f"dataset.test.{kind}_folder={tmp_path / kind}" for kind in ("gt", "lq")]
    arguments = ["-c", f"{workshop}/net.yaml", "--model_path", f"{workshop}/exported/srmodel_generator"]
    arguments += ["--backend", "inference", "--output_path", f"{tmp_path}/out", "-o", *folders]
    assert run_inference(arguments) == 1
    report = json.loads((tmp_path / "out" / "MSRResNet" / "metrics.json").read_text())
    assert report["count"] == 2
    assert set(report["images"]) == {"c", "d"}
    problems = {problem["name"]: problem["kind"] for problem in report["problems"]}
    assert problems == {"00000": "wrong size", "00001": "not scored"}
    assert "sample 00001 is not scored" in capsys.readouterr().out


def test_export_command_verifies_and_backends_command_compares(workshop, monkeypatch):
    steps: list[tuple[str, str, int, int]] = []
    bar = contextmanager(lambda: (yield lambda *step: steps.append(step)))
    monkeypatch.setattr("ppsr.inference.progress.progress_bar", bar)
    prefix = workshop / "recognised" / "net"
    given = ["export", "--load", f"{workshop}/net.pdparams", "-o", str(prefix), "--formats", "paddle"]
    done = run_ppsr(*given)
    assert done.exit_code == 0, done.output
    assert "MSRResNet x2: .json, .pdiparams" in done.output or ".pdmodel" in done.output
    assert "  inference    error" in done.output
    assert steps[:2] == [("export", "reference outputs", 0, 2), ("export", "Paddle graph", 1, 2)]
    assert steps[2][:3] == ("compare", "inference", 0)
    before = prefix.with_name("net.info.json").read_bytes()
    done = run_ppsr("backends", prefix, "--threads", "1")
    assert done.exit_code == 0, done.output
    assert "  inference    error" in done.output
    assert prefix.with_name("net.info.json").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-s", "1,3,48,48;1,3,24,24"], "one input, but --inputs_size names 2"),
        (["-s", "1,3,48"], "such as -1,3,-1,-1; got '1,3,48'"),
        (["--formats", "caffe"], "formats are paddle, onnx"),
        (["-o", "model.generator.num_feet=8"], "did you mean"),
    ],
)
def test_wrong_export_flags_are_answered(workshop, capsys, arguments, message):
    given = ["-c", f"{workshop}/net.yaml", "--load", f"{workshop}/net.pdparams", *arguments]
    assert export_model([*given, "--output_dir", f"{workshop}/wrong"]) == 2
    assert message in capsys.readouterr().err
    assert not list((workshop / "wrong").glob("*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--batch_size", "0"], "equal to 1"),
        (["--backend", "tensorflow"], "unknown backend"),
        (["--device", "xpu"], "device is cpu, gpu or gpu:N"),
        (["--model_path", "nothing"], "nor the prefix of a complete one"),
        (["-o", "dataset.test=null"], "dataset.test"),
    ],
)
def test_wrong_inference_flags_are_answered(workshop, capsys, arguments, message):
    given = ["-c", f"{workshop}/net.yaml", "--model_path", f"{workshop}/exported/srmodel_generator"]
    assert run_inference([*given, *arguments]) == 2
    assert message in capsys.readouterr().err


def test_the_name_of_one_file_of_an_export_means_its_prefix(workshop):
    target = workshop / "named" / "net.onnx"
    given = ["export", "--load", f"{workshop}/net.pdparams", "-o", str(target), "--formats", "paddle"]
    assert run_ppsr(*given).exit_code == 0
    assert (workshop / "named" / "net.info.json").is_file() and not target.exists()


def test_backends_command_refuses_what_is_no_export(tmp_path):
    done = run_ppsr("backends", tmp_path / "net")
    assert isinstance(done.exception, PpsrError)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--size", "1,3,-1", "an input size is N,C,H,W"),
        ("--size", "1,3,0,16", "an input size is N,C,H,W"),
        ("--size", "1,3,a,16", "an input size is N,C,H,W"),
        ("--formats", "paddle,", "--formats takes comma-separated names"),
        ("--formats", "tflite", "formats are paddle, onnx, ncnn; got tflite"),
    ],
)
def test_wrong_options_are_refused_before_the_network_is_loaded(option, value, message, tmp_path):
    """Its file is missing, which would be said otherwise."""
    given = ["export", "--load", str(tmp_path / "none.pdparams"), "-o", str(tmp_path / "net")]
    assert message in str(run_ppsr(*given, option, value).exception)
