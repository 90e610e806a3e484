"""Converted option files of tiny networks run: a step of training, or an evaluation."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from ppsr.cli.train import main
from ppsr.compat.options import convert_options, to_text
from ppsr.config.yaml_tree import parse_yaml
from ppsr.imaging import write_image
from ppsr.registry import GENERATORS
from ppsr.weights import write_state
from tests.compat.options import files
from tests.engine.helpers import make_images

SCALE = 2
TRAIN = "datasets.train"
LOADER = {f"{TRAIN}.num_worker_per_gpu": 0, f"{TRAIN}.batch_size_per_gpu": 2, f"{TRAIN}.dataroot_gt": "hr"}
DEGRADED = {**LOADER, "scale": SCALE, "network_g.upscale": SCALE, "gt_size": 16, "queue_size": 4}
VIT = {"depths": [6], "img_size": 8, "window_size": 4, "embed_dim": 12, "num_heads": [2]}
SMALL = {"num_feat": 4, "num_block": 1}
DYNAMIC = {**SMALL, "num_models": 2}
PREDICTOR = {"nf": 4, "num_networks": 2}
BLIND = {f"network_g.{key}": value for key, value in DYNAMIC.items()} | {
    f"network_p.{key}": value for key, value in PREDICTOR.items()
}
RRDB = {"name": "RRDBNet", "in_nc": 3, "out_nc": 3, "nf": 4, "nb": 1, "gc": 4}
FOLDERS = {"gt_folder": "hr", "lq_folder": "x4"}
# The degraded window is 400 pixels wide in the released code, and no key of the files changes it.
QUICK = ("dataset.train.crop_pad_size=128", "dataset.test=null")


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    """HR and LR folders of equal names, at x2 and x4."""
    monkeypatch.chdir(tmp_path)
    hr = make_images(tmp_path / "hr", count=4)
    rng = np.random.default_rng(2)
    for path in hr.iterdir():
        for scale in (2, 4):
            write_image(Path(f"x{scale}", path.name), rng.random((84 // scale, 84 // scale, 3), np.float32))


def _vgg11():
    """The options that take the first layer of VGG-11, and its file with random weights."""
    rng = np.random.default_rng(3)
    layer = {"weight": rng.normal(size=(64, 3, 3, 3)), "bias": np.zeros(64)}
    state = {f"features.0.{key}": value.astype(np.float32) for key, value in layer.items()}
    Path("data/pretrained").mkdir(parents=True)
    write_state("data/pretrained/vgg11-8a719046.pth", state)
    loss = {"layer_weights": {"conv1_1": 1}, "vgg_type": "vgg11"}
    return {f"train.perceptual_opt.{k}": v for k, v in loss.items()} | {"network_d.num_feat": 2}


def _convert(options):
    """Convert as the command does; returns the file written."""
    source, target = Path("options.yml"), Path("converted.yaml")
    source.write_text(yaml.safe_dump(options))
    conversion = convert_options(source)
    target.write_text(to_text(conversion, target))
    assert parse_yaml(target.read_text(), "converted")[0] == conversion.config
    return target


def _run(target, *overrides, mode="--dry-run"):
    options = ["log_config.interval=1", *overrides]
    return main(["-c", str(target), "--device", "cpu", mode, "-o", *options])


def test_cddnet_trains_a_step(capsys):
    options = files.changed(files.dasr_train(cddnet=True), {**DEGRADED, **BLIND, **_vgg11()})
    assert _run(_convert(options), *QUICK) == 0
    printed = capsys.readouterr().out
    assert "l_g_artifacts" in printed and "l_regression" in printed


def _save(name, path, **options):
    net = GENERATORS.build({"name": name, **options})
    write_state(path, {key: value.numpy() for key, value in net.state_dict().items()})


def test_dasr_starts_from_a_static_network():
    Path("pretrained_models").mkdir()
    _save("MSRResNet", "pretrained_models/static.pdparams", **SMALL, upscale=SCALE)
    load = {"path.pretrain_network_g": "pretrained_models/static.pdparams"}
    options = files.changed(files.dasr_train(cddnet=False), {**DEGRADED, **BLIND, **_vgg11(), **load})
    assert _run(_convert(options), *QUICK) == 0


@pytest.mark.parametrize(
    ("name", "values", "loss"),
    [
        ("rcan_dsr", {"model.name": "BaseSRModel", "model.generator": RRDB, **files.STD_255}, "l_pix"),
        ("drn_dsr", {"model.generator.n_blocks": 1, "model.generator.n_feats": 4}, "l_dual"),
    ],
)
def test_networks_of_paddlegan_train_a_step(capsys, name, values, loss):
    train = {"num_workers": 0, "batch_size": 2, "preprocess.2.pipeline.0.gt_patch_size": 16}
    values |= {f"dataset.train.{key}": value for key, value in train.items()}
    values |= {f"dataset.{k}.{f}": v for k in ("train", "test") for f, v in FOLDERS.items()}
    assert _run(_convert(files.read(name, values))) == 0
    assert loss in capsys.readouterr().out


def test_a_test_file_of_a_transformer_is_evaluated(tmp_path):
    _save("DRCT", "drct.pdparams", upscale=SCALE, upsampler="pixelshuffle", mlp_ratio=2, **VIT)
    values = {"scale": SCALE, "path.pretrain_network_g": "drct.pdparams"}
    values |= {
        f"network_g.{key}": value for key, value in {**VIT, "upscale": SCALE, "squeeze_factor": 6}.items()
    }
    values |= {"datasets.test_1.dataroot_gt": "hr", "datasets.test_1.dataroot_lq": "x2"}
    _convert(files.read("transformer_test", values))
    assert _run("converted.yaml", mode="--evaluate-only") == 0
    (written,) = tmp_path.glob("**/metrics.json")
    found = json.loads(written.read_text())
    assert found["count"] == 4
    assert set(found["mean"]) == {"psnr", "ssim"}
    assert all(np.isfinite(value) for value in found["mean"].values())


def test_a_test_file_of_cddnet_upscales_its_images(tmp_path):
    _save("CDDNet", "g.pdparams", **DYNAMIC, upscale=SCALE)
    _save("DegradationPredictor", "p.pdparams", **PREDICTOR, num_params=33)
    options = files.dasr_train(cddnet=True)
    del options["train"], options["network_d"], options["datasets"]
    test = {"name": "RealWorld38", "type": "SingleImageDataset", "dataroot_lq": "x2"}
    weights = {"path.pretrain_network_g": "g.pdparams", "path.pretrain_network_p": "p.pdparams"}
    own = {"model_type": "SRGANDynamicModel", "datasets.test_1": test, "val.save_img": True, **weights}
    _convert(files.changed(options, {**DEGRADED, **BLIND, **own} | {f"{TRAIN}.dataroot_gt": None}))
    assert _run("converted.yaml", mode="--evaluate-only") == 0
    assert len(list(tmp_path.glob("output/*/visual_test/*.png"))) >= 4
