"""Converted option files of tiny networks run: a step of training, or an evaluation."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest

from ppsr.cli.train import main
from ppsr.compat.options import convert_options, to_text
from ppsr.config.yaml_tree import parse_yaml
from ppsr.imaging import matlab_resize, write_image
from ppsr.registry import GENERATORS
from ppsr.weights import write_state
from tests.compat.options import files, paddle_files
from tests.engine.helpers import make_images

SCALE = 2
VIT = {"groups": 1, "img_size": 8, "window_size": 4, "embed_dim": 12, "num_heads": "[2]", "squeeze_factor": 6}
SWIN = {k: v for k, v in VIT.items() if k != "squeeze_factor"}
SMALL = {"num_feat": 4, "num_block": 1}
DYNAMIC = {**SMALL, "num_models": 2}
PREDICTOR = {"nf": 4, "num_networks": 2}
# The degraded window is 400 pixels wide in the released code, and no key of the files changes it.
QUICK = ("dataset.train.crop_pad_size=128",)


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    level = logging.getLogger("ppsr").level
    yield
    logging.getLogger("ppsr").setLevel(level)


@pytest.fixture
def images(tmp_path):
    """HR and LR folders of equal names, at x2 and x4; `named` has names as DRN's LR files have."""
    hr = make_images(tmp_path / "hr", count=4)
    rng = np.random.default_rng(2)
    for path in sorted(hr.iterdir()):
        for scale in (2, 4):
            small = rng.random((84 // scale, 84 // scale, 3), np.float32)
            write_image(tmp_path / f"x{scale}" / path.name, matlab_resize(small, 1))
            write_image(tmp_path / f"DF2K_LR_bicubic/X{scale}/{path.stem}x{scale}.png", small)
    return tmp_path


def _pairs(scale=SCALE):
    return ("hr", f"x{scale}", "hr", f"x{scale}")


def _vgg11(tmp_path):
    """The first layer of VGG-11 under torchvision's name, with random weights."""
    rng = np.random.default_rng(3)
    layer = {"weight": rng.normal(size=(64, 3, 3, 3)), "bias": np.zeros(64)}
    state = {f"features.0.{key}": value.astype(np.float32) for key, value in layer.items()}
    (tmp_path / "data/pretrained").mkdir(parents=True)
    write_state(tmp_path / "data/pretrained/vgg11-8a719046.pth", state)
    return {"feat": 2, "layers": "'conv1_1': 1", "vgg": "vgg11"}


def _convert(text, name="options.yml"):
    """Convert as the command does; returns the file written."""
    from pathlib import Path

    source, target = Path(name), Path("converted.yaml")
    source.write_text(text)
    conversion = convert_options(source)
    target.write_text(to_text(conversion, target))
    assert parse_yaml(target.read_text(), "converted")[0] == conversion.config
    return target


def _run(target, *overrides, mode="--dry-run"):
    options = ["log_config.interval=1", *overrides]
    return main(["-c", str(target), "--device", "cpu", mode, "-o", *options])


TRANSFORMERS = [("DRCT", VIT), ("HAT", VIT), ("SwinIR", SWIN)]


@pytest.mark.parametrize(("net", "sizes"), TRANSFORMERS, ids=[net for net, _ in TRANSFORMERS])
def test_a_transformer_trains_a_step(net, sizes, images, capsys):
    text = files.transformer_train(
        net, SCALE, "scratch", folders=_pairs(), patch=8, batch=2, workers=0, **sizes
    )
    assert _run(_convert(text)) == 0
    assert "l_pix" in capsys.readouterr().out


def test_a_transformer_trains_a_step_on_bicubic_images_made_on_the_fly(images, capsys):
    text = files.transformer_train(
        "DRCT", SCALE, "imagenet", folders=_pairs(), patch=8, batch=2, workers=0, **VIT
    )
    assert _run(_convert(text)) == 0
    assert "l_pix" in capsys.readouterr().out


@pytest.mark.parametrize("gan", [False, True], ids=["mse", "gan"])
def test_a_transformer_trains_a_step_on_real_degradations(gan, images, tmp_path, capsys):
    extra = _vgg11(tmp_path) if gan else {}
    text = files.real_train(
        "DRCT", gan=gan, gt="hr", scale=SCALE, gt_size=16, batch=2, queue=4, workers=0, **extra, **VIT
    )
    assert _run(_convert(text), *QUICK) == 0
    printed = capsys.readouterr().out
    assert ("l_g_gan" in printed and "l_percep" in printed and "l_d_real" in printed) == gan


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("kind", "name", "weight", "loss"),
    [
        ("MSRResNet_details_dropoutlast_element07", "train_RealSRResNetx4", "", "l_pix"),
        ("RRDBNet_dropoutlast_channel05", "train_RealRRDBx2", "", "l_pix"),
        ("MSRResNet_detailss", "train_RealSRResNetx4-reg", "1e0", "l_reg"),
    ],
    ids=["reflash", "reflash-rrdb", "simple-align"],
)
def test_reflash_dropout_and_simple_align_train_a_step(kind, name, weight, loss, images, capsys):
    sizes = {**SMALL, "num_grow_ch": 4} if kind.startswith("RRDB") else SMALL
    text = files.reflash_train(
        kind,
        name=name,
        weight=weight,
        scale=SCALE,
        gt="hr",
        val=("hr", "x2"),
        gt_size=16,
        batch=2,
        queue=4,
        workers=0,
        **sizes,
    )
    assert _run(_convert(text), *QUICK) == 0
    assert loss in capsys.readouterr().out


@pytest.mark.parametrize("cddnet", [True, False], ids=["cddnet", "dasr"])
def test_cddnet_and_dasr_train_a_step(cddnet, images, tmp_path, capsys):
    text = files.dasr_train(
        cddnet=cddnet,
        scale=SCALE,
        gt="hr",
        gt_size=16,
        batch=2,
        queue=4,
        workers=0,
        generator=DYNAMIC,
        predictor=PREDICTOR,
        **_vgg11(tmp_path),
    )
    assert _run(_convert(text), *QUICK, "dataset.test=null") == 0
    printed = capsys.readouterr().out
    assert ("l_g_artifacts" in printed) == cddnet
    assert "l_regression" in printed


def test_dasr_starts_from_a_static_network(images, tmp_path):
    static = GENERATORS.build({"name": "MSRResNet", **SMALL, "upscale": SCALE})
    (tmp_path / "pretrained_models").mkdir()
    write_state("pretrained_models/static.pdparams", {k: v.numpy() for k, v in static.state_dict().items()})
    text = files.dasr_train(
        cddnet=False,
        scale=SCALE,
        gt="hr",
        gt_size=16,
        batch=2,
        queue=4,
        workers=0,
        load="pretrained_models/static.pdparams",
        generator=DYNAMIC,
        predictor=PREDICTOR,
        **_vgg11(tmp_path),
    )
    assert _run(_convert(text), *QUICK, "dataset.test=null") == 0


@pytest.mark.parametrize("scale", [2, 4])
def test_drn_trains_a_step_by_its_command_line(scale, images, tmp_path, capsys):
    data = tmp_path / "DF2K"
    data.mkdir()
    (tmp_path / "hr").rename(data / "DF2K_HR")
    (tmp_path / "DF2K_LR_bicubic").rename(data / "DF2K_LR_bicubic")
    command = f"""#!/bin/sh
    # tiny, so neither DRN-S nor DRN-L
    python main.py --data_dir {tmp_path} --data_test DF2K --scale {scale} --model DRN \\
      --n_blocks 1 --n_feats 8 --patch_size {8 * scale} --batch_size 2 --n_threads 0
    """
    assert _run(_convert(command, "train.sh")) == 0
    printed = capsys.readouterr().out
    assert "l_dual" in printed
    assert f"dual_model_{scale // 2 - 1}" in printed


@pytest.mark.smoke
def test_drn_trains_a_step_by_paddledepths_configuration(images, capsys):
    generator = paddle_files.drn_generator(n_blocks=1, n_feats=4)
    text = paddle_files.config(
        "DRN", generator, total=20, size=16, batch=2, folders=_pairs(4), depth=True, workers=0
    )
    assert _run(_convert(text)) == 0
    assert "l_dual" in capsys.readouterr().out


@pytest.mark.parametrize("net", ["RCAN", "RRDBNet"])
def test_other_networks_of_paddlegan_train_a_step(net, images, capsys):
    rcan = {"name": "RCAN", "scale": 4, "n_resgroups": 1, "n_resblocks": 1, "n_feats": 16}
    rrdb = {"name": "RRDBNet", "in_nc": 3, "out_nc": 3, "nf": 4, "nb": 1, "gc": 4}
    model, generator, std = ("RCANModel", rcan, 1.0) if net == "RCAN" else ("BaseSRModel", rrdb, 255.0)
    text = paddle_files.config(
        model, generator, total=20, size=16, batch=2, folders=_pairs(4), std=std, workers=0
    )
    assert _run(_convert(text)) == 0
    assert "l_pix" in capsys.readouterr().out


def _save(name, path, **options):
    net = GENERATORS.build({"name": name, **options})
    write_state(path, {key: value.numpy() for key, value in net.state_dict().items()})


def _scores(tmp_path):
    """Evaluate the converted file; its finite mean scores."""
    assert _run("converted.yaml", mode="--evaluate-only") == 0
    (written,) = tmp_path.glob("**/metrics.json")
    found = json.loads(written.read_text())
    assert found["count"] == 4
    assert all(np.isfinite(value) for value in found["mean"].values())
    return found["mean"]


def test_a_test_file_of_a_transformer_evaluates(images, tmp_path):
    options = {
        "img_size": 8,
        "window_size": 4,
        "embed_dim": 12,
        "num_heads": [2],
        "depths": [6],
        "mlp_ratio": 2,
    }
    _save("DRCT", "drct.pdparams", upscale=SCALE, upsampler="pixelshuffle", **options)
    _convert(files.transformer_test("DRCT", SCALE, "drct.pdparams", gt="hr", lq="x2", **VIT))
    assert set(_scores(tmp_path)) == {"psnr", "ssim"}


def test_a_test_file_of_reflash_dropout_evaluates_the_first_of_its_sets(images, tmp_path):
    _save("MSRResNet", "srresnet.pdparams", **SMALL, upscale=SCALE)
    sets = {"Set5_bicubic": ("hr", "x2"), "Set14_bicubic": ("there", "is none")}
    _convert(files.reflash_test("MSRResNet_details", "srresnet.pdparams", sets, SCALE, **SMALL))
    assert set(_scores(tmp_path)) == {"psnr"}


def test_a_test_file_of_cddnet_upscales_its_images(images, tmp_path):
    _save("CDDNet", "g.pdparams", **DYNAMIC, upscale=SCALE)
    _save("DegradationPredictor", "p.pdparams", **PREDICTOR, num_params=33)
    _convert(files.dasr_test(SCALE, "g.pdparams", "p.pdparams", "x2", DYNAMIC, PREDICTOR))
    assert _run("converted.yaml", mode="--evaluate-only") == 0
    assert len(list(tmp_path.glob("output/*/visual_test/*.png"))) >= 4


def test_a_test_command_of_drn_evaluates(images, tmp_path):
    bench = tmp_path / "benchmark/Set5"
    bench.mkdir(parents=True)
    (tmp_path / "hr").rename(bench / "HR")
    (tmp_path / "DF2K_LR_bicubic").rename(bench / "LR_bicubic")
    _save("DRNGenerator", "drn.pdparams", scale=[2], n_blocks=1, n_feats=8)
    _convert(
        f"python main.py --data_dir {tmp_path} --scale 2 --model DRN --n_blocks 1 --n_feats 8 "
        "--pre_train drn.pdparams --test_only --save_results",
        "test.sh",
    )
    assert set(_scores(tmp_path)) == {"psnr"}
