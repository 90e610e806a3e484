"""Trainings and evaluations over the bridge to PaddleGAN, with the trainers and commands of both."""

import importlib
import json
import logging
import re
import subprocess
import sys

import numpy as np
import paddle
import pytest
import yaml

from ppsr.cli.train import main
from ppsr.weights import read_weight_file
from tests.compat.images import make_pairs
from tests.optional import needed

needed("ppgan", "PaddleGAN is not installed: pip install --no-deps ppgan==2.1.0")
needed("munch", "PaddleGAN needs munch: pip install munch")
bridge = importlib.import_module("ppsr.compat.ppgan")

NETWORK = {"num_feat": 4, "num_block": 1, "upscale": 2}


def _data(folder, **changes):
    gt, lq = make_pairs(folder, scale=2)
    return {"gt_folder": str(gt), "lq_folder": str(lq), "scale": 2, **changes}


def _ppgan_config(folder, model, train, test):
    """A configuration as PaddleGAN's users write it."""
    return {
        "total_iters": 10,
        "output_dir": str(folder / "ppgan"),
        "min_max": "(0., 1.)",
        "model": model,
        "dataset": {"train": {"batch_size": 2, **train}, "test": test},
        "lr_scheduler": {"name": "MultiStepDecay", "learning_rate": 0.001, "milestones": [8]},
        "optimizer": {"name": "Adam", "net_names": ["generator"], "beta1": 0.9, "beta2": 0.99},
        "validate": {
            "interval": 10,
            "save_img": False,
            "metrics": {
                "psnr": {"name": "PPSR_PSNR", "crop_border": 2, "test_y_channel": True},
                "theirs": {"name": "PSNR", "crop_border": 2, "test_y_channel": True},
            },
        },
        "log_config": {"interval": 5, "visiual_interval": 5},
        "snapshot_config": {"interval": 10},
    }


def _trainer(folder, config, *, is_train=True):
    from ppgan.engine.trainer import Trainer
    from ppgan.utils.config import get_config

    path = folder / "theirs.yaml"
    path.write_text(yaml.safe_dump(config))
    cfg = get_config(str(path))
    cfg.update(is_train=is_train, profiler_options=None, amp=False, amp_level="O1")  # what their set-up adds
    paddle.seed(1)
    return Trainer(cfg)


def _scores(text):
    """Values of the lines `Metric name: value` of a log."""
    return {name: float(value) for name, value in re.findall(r"Metric (\w+): ([-\d.]+)", text)}


@pytest.fixture
def log(caplog):
    """PaddleGAN's messages, which its own set-up may have cut off from the root logger."""
    theirs = logging.getLogger("ppgan")
    before = theirs.propagate
    theirs.propagate = True
    with caplog.at_level("INFO", logger="ppgan"):
        yield caplog
    theirs.propagate = before


def test_their_trainer_trains_our_network_and_our_evaluation_agrees(tmp_path, log):
    """A network, a loss, data sets and a metric of ours, ten iterations; then the weights come back to us."""
    config = _ppgan_config(
        tmp_path,
        {
            "name": "BaseSRModel",
            "generator": {"name": "PPSR_MSRResNet", **NETWORK},
            "pixel_criterion": {"name": "PPSR_L1Loss"},
        },
        {"name": "PPSR_SRDataset", "use_hflip": True, **_data(tmp_path, gt_size=16)},
        {"name": "PPSR_SRDataset", **_data(tmp_path)},
    )
    trainer = _trainer(tmp_path, config)
    before = {key: value.numpy() for key, value in trainer.model.nets["generator"].state_dict().items()}
    trainer.train()
    theirs = _scores(log.text)
    assert "Iter: 10/10" in log.text
    assert theirs["psnr"] == pytest.approx(theirs["theirs"], abs=2e-4)  # theirs computes in float32
    weights = tmp_path / "ppgan" / "iter_10_weight.pdparams"
    after = read_weight_file(weights).state("generator")
    assert set(after) == set(before)
    assert all(np.abs(after[key] - before[key]).max() > 0 for key in before)

    path = tmp_path / "ours.yaml"
    ours = {
        "total_iters": 1,
        "output_dir": str(tmp_path / "ours"),
        "model": {
            "name": "SRModel",
            "generator": {"name": "MSRResNet", **NETWORK},
            "pixel_criterion": {"name": "L1Loss"},
        },
        "dataset": {"test": {"name": "SRDataset", **_data(tmp_path)}},
        "validate": {"metrics": {"psnr": {"name": "PSNR", "crop_border": 2, "test_y_channel": True}}},
    }
    path.write_text(yaml.safe_dump(ours))
    for file in (weights, tmp_path / "ppgan" / "iter_10_checkpoint.pdparams"):
        assert main(["--device", "cpu", "-c", str(path), "--evaluate-only", "--load", str(file)]) == 0
    for result in (tmp_path / "ours").glob("*/metrics.json"):
        assert json.loads(result.read_text())["mean"]["psnr"] == pytest.approx(theirs["psnr"], abs=1e-4)


@pytest.mark.slow
def test_our_trainer_trains_their_network_and_their_evaluation_agrees(tmp_path, log, capsys):
    """Both the network and the loss are theirs; then the weights go back to their Trainer."""
    config = {
        "total_iters": 3,
        "output_dir": str(tmp_path / "ours"),
        "model": {
            "name": "SRModel",
            "generator": {"name": "ppgan.LESRCNNGenerator", "scale": 2},
            "pixel_criterion": {"name": "ppgan.CharbonnierLoss", "reduction": "mean"},
        },
        "dataset": {
            "train": {"name": "SRDataset", "batch_size": 2, **_data(tmp_path, gt_size=16)},
            "test": {"name": "SRDataset", **_data(tmp_path)},
        },
        "lr_scheduler": {"name": "ConstantLR", "learning_rate": 0.001},
        "optimizer": {"name": "Adam", "net_names": ["generator"]},
        "validate": {
            "interval": 3,
            "metrics": {"ours": {"name": "PSNR", "crop_border": 2, "test_y_channel": True}},
        },
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    assert main(["--device", "cpu", "-c", str(path)]) == 0
    ours = _scores(capsys.readouterr().out)["ours"]
    (weights,) = (tmp_path / "ours").glob("*/iter_3_weight.pdparams")

    theirs = _ppgan_config(
        tmp_path,
        {"name": "BaseSRModel", "generator": {"name": "LESRCNNGenerator", "scale": 2}},
        {"name": "PPSR_SRDataset", **_data(tmp_path, gt_size=16)},
        {
            "name": "SRDataset",
            **_data(tmp_path),
            "preprocess": [
                {"name": "LoadImageFromFile", "key": "lq"},
                {"name": "LoadImageFromFile", "key": "gt"},
                {
                    "name": "Transforms",
                    "input_keys": ["lq", "gt"],
                    "pipeline": [
                        {"name": "Transpose", "keys": ["image", "image"]},
                        {"name": "Normalize", "mean": [0.0], "std": [255.0], "keys": ["image", "image"]},
                    ],
                },
            ],
        },
    )
    trainer = _trainer(tmp_path, theirs, is_train=False)
    trainer.load(str(weights))
    trainer.test()
    scores = _scores(log.text)
    assert scores["theirs"] == pytest.approx(ours, abs=2e-4)
    assert scores["psnr"] == pytest.approx(ours, abs=2e-4)


def test_their_trainer_runs_our_algorithm(tmp_path, log):
    """CDDNet and its predictor under PaddleGAN's Trainer: two networks, degradation, a regression loss."""
    gt = _data(tmp_path)["gt_folder"]
    model = {
        "name": "PPSR_CDDNet",
        "generator": {"name": "CDDNet", "num_feat": 4, "num_block": 1, "num_models": 2, "upscale": 2},
        "predictor": {"name": "DegradationPredictor", "nf": 4, "num_params": 33, "num_networks": 2},
        "pixel_criterion": {"name": "L1Loss"},
        "regression_criterion": {"name": "L1Loss"},
    }
    train = {"name": "PPSR_DASRDataset", "gt_folder": gt, "scale": 2, "gt_size": 16, "crop_pad_size": 80}
    config = _ppgan_config(tmp_path, model, train, {"name": "PPSR_SRDataset", **_data(tmp_path)})
    config["total_iters"] = 2
    config["optimizer"]["net_names"] = ["generator", "predictor"]
    config["validate"]["interval"] = 2
    config["log_config"] = {"interval": 1, "visiual_interval": 2}
    trainer = _trainer(tmp_path, config)
    before = trainer.model.nets["predictor"].state_dict()
    before = {key: value.numpy() for key, value in before.items()}
    trainer.train()
    assert "l_regression" in log.text
    assert np.isfinite(_scores(log.text)["psnr"])
    after = trainer.model.nets["predictor"].state_dict()
    assert any(np.abs(after[key].numpy() - before[key]).max() > 0 for key in before)
    assert (tmp_path / "ppgan" / "visual_train" / "iter002_output.png").is_file()


@pytest.mark.slow
def test_the_command_runs_their_main_program(tmp_path):
    """Their command line, their evaluation, our network: in a process of its own, as a user calls it."""
    config = _ppgan_config(
        tmp_path,
        {"name": "BaseSRModel", "generator": {"name": "PPSR_MSRResNet", **NETWORK}},
        {"name": "PPSR_SRDataset", **_data(tmp_path, gt_size=16)},
        {"name": "PPSR_SRDataset", **_data(tmp_path)},
    )
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "ppsr.compat.ppgan", "-c", str(path), "--evaluate-only"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Metric psnr:" in done.stdout
