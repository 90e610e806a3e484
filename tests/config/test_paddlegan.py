"""PaddleGAN's configurations are read as ours, or refused with the place of what has no counterpart."""

import json
import re
from pathlib import Path

import pytest

from ppsr.cli.train import main
from ppsr.config import check_config, load_config
from ppsr.config.paddlegan import is_paddlegan_form
from ppsr.errors import ConfigError
from tests.compat.images import make_pairs

DRN = Path(__file__).parent / "data" / "drn_psnr_x4_div2k.yaml"  # its form and its values


def _paths(folder: Path) -> list[str]:
    """Overrides of the data paths."""
    gt, lq = make_pairs(folder, scale=4)
    splits = ("train", "test")
    return [f"dataset.{split}.{k}={v}" for split in splits for k, v in (("gt_folder", gt), ("lq_folder", lq))]


def test_the_drn_configuration_says_what_its_preprocessing_does():
    config = load_config(DRN)
    check_config(config)
    train, test = config["dataset"]["train"], config["dataset"]["test"]
    assert (train["name"], test["name"]) == ("PyramidDataset", "SRDataset")
    assert (train["gt_size"], train["level_source"]) == (384, "opencv")
    assert train["use_hflip"]
    assert train["use_rot"]
    assert "gt_size" not in test
    assert config["model"]["style"] == "paddledepth"
    assert config["model"]["generator"]["train_mean_shift"] is False
    line = DRN.read_text().split("gt_patch_size")[0].count("\n") + 1
    assert config.where("dataset", "train", "gt_size") == f"{DRN}:{line}"


def test_the_drn_configuration_trains_and_evaluates_with_other_data_paths(tmp_path, capsys):
    """Smaller windows and fewer blocks only, so that a CPU is done in seconds."""
    small = [
        "total_iters=2",
        f"output_dir={tmp_path / 'out'}",
        "model.generator.n_blocks=1",
        "dataset.train.batch_size=2",
        "dataset.train.num_workers=0",
        "dataset.train.preprocess.2.pipeline.0.gt_patch_size=32",
        "log_config.interval=1",
    ]
    options = ["--device", "cpu", "-c", str(DRN), "-o", *_paths(tmp_path), *small]
    assert main(options) == 0
    assert re.search(r"Iter: 2/2 .*l_primary: .*l_dual: ", capsys.readouterr().out)
    (weights,) = (tmp_path / "out").glob("*/iter_2_weight.pdparams")
    assert main([*options, "--evaluate-only", "--load", str(weights)]) == 0
    (scores,) = (tmp_path / "out").glob("*/metrics.json")
    assert json.loads(scores.read_text())["count"] == 4


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("name: PairedRandomTransposeHW", "name: SRNoise", "transform 'SRNoise' has no counterpart"),
        ("name: DRN\n", "name: ESRGAN\n", "model 'ESRGAN' has no counterpart"),
        ("name: L1Loss", "name: MSELoss", "plain L1 means"),
        ("std: [1., 1., 1.]", "std: [255., 255., 255.]", "0..255, so Normalize needs mean 0 and std 1"),
        ("scale_list: True", "scale_list: False", "would leave|scale_list: true|must be"),
        ("output_keys: [lq, lqx2, gt]", "output_keys: [lq, gt, lqx2]", r"must be \['lq', 'lqx2', 'gt'\]"),
        ("384, scale: 4", "384, scale: 2", "the data set has scale 4"),
        ("      - {name: PairedRandomVerticalFlip, keys: [image, image, image]}\n", "", "use_rot"),
        ("key: lq}", "key: depth}", "keys lq and gt"),
        ("name: SRDataset", "name: VSRFolderDataset", "'VSRFolderDataset' has no counterpart"),
        ("keys: [image, image, image]", "keys: [image, image]", "some of the 3 images unchanged"),
        ("      pipeline:\n", "      pipeline: 1.5\n      keys:\n", "a list is needed, got 1.5"),
        ("n_blocks: 30", "n_block: 30", "did you mean 'n_blocks'"),
        ("name: Transforms", "name: SplitPairedImage", "step 'SplitPairedImage' has no counterpart"),
    ],
)
def test_what_has_no_counterpart_is_named_with_its_place(tmp_path, old, new, message):
    text = DRN.read_text()
    assert old in text
    path = tmp_path / "changed.yaml"
    path.write_text(text.replace(old, new))
    with pytest.raises(ConfigError, match=message) as error:
        check_config(load_config(path))
    assert f"{path}:" in str(error.value)


PLAIN = """
total_iters: 10
model:
  name: BaseSRModel
  generator: {name: LESRCNNGenerator, scale: 2}
  pixel_criterion: {name: CharbonnierLoss}
  to_static: true
dataset:
  train:
    name: SRDataset
    gt_folder: hr
    lq_folder: lr
    scale: 2
    preprocess:
      - {name: LoadImageFromFile, key: lq}
      - {name: LoadImageFromFile, key: gt}
      - name: Transforms
        input_keys: [lq, gt]
        pipeline:
          - {name: SRPairedRandomCrop, gt_patch_size: 16, scale: 2, keys: [image, image]}
          - {name: PairedRandomHorizontalFlip, keys: [image, image]}
          - {name: Transpose, keys: [image, image]}
          - {name: Normalize, mean: 0., std: 255., keys: [image, image]}
"""


def test_the_plain_model_names_networks_of_paddlegan_and_keeps_its_defaults(tmp_path, caplog):
    path = tmp_path / "plain.yaml"
    path.write_text(PLAIN)
    config = load_config(path, ["dataset.train.gt_size=8", "epochs=3"])
    assert "snapshot_config.interval is in steps" in caplog.text
    assert config["model"] == {
        "name": "SRModel",
        "generator": {"name": "ppgan.LESRCNNGenerator", "scale": 2},
        "pixel_criterion": {"name": "CharbonnierLoss", "reduction": "sum"},
    }
    expected = {"name": "SRDataset", "gt_size": 8, "use_hflip": True, "use_rot": False}
    assert {key: config["dataset"]["train"][key] for key in expected} == expected
    assert "'model.to_static' has no effect" in caplog.text


def test_rcan_has_the_loss_of_images_up_to_255(tmp_path):
    text = PLAIN.replace("BaseSRModel", "RCANModel").replace("LESRCNNGenerator", "RCAN")
    path = tmp_path / "rcan.yaml"
    path.write_text(text.replace("CharbonnierLoss", "L1Loss").replace("std: 255.", "std: 1."))
    config = load_config(path, ["optimizer.name=Adam", "optimizer.net_names=[generator]"])
    check_config(config)
    assert config["model"] == {
        "name": "SRModel",
        "generator": {"name": "RCAN", "scale": 2},
        "pixel_criterion": {"name": "L1Loss", "loss_weight": 255.0},
    }
    path.write_text(text)
    with pytest.raises(ConfigError, match="with RCAN, L1Loss alone"):
        load_config(path)


def test_a_file_of_ours_is_left_alone(tmp_path):
    ours = Path(__file__).parents[2] / "configs" / "drn_x4.yaml"
    assert not is_paddlegan_form(load_config(ours))
    path = tmp_path / "base.yaml"
    path.write_text(f"base: {DRN}\ntotal_iters: 5\n")  # and one of theirs can be a base
    config = load_config(path)
    assert (config["total_iters"], config["dataset"]["train"]["name"]) == (5, "PyramidDataset")
    check_config(config)
