"""`tools/main.py --evaluate-only` scores as `ppsr evaluate` does."""

import json

import numpy as np
import paddle
import pytest
import yaml

from ppsr.cli.train import main
from ppsr.engine.distributed import Group
from ppsr.engine.evaluator import DatasetImages, score_dataset, validate
from ppsr.errors import DataError
from ppsr.evaluation.evaluate import evaluate
from ppsr.generators.msrresnet import MSRResNet
from ppsr.imaging.io import read_image, write_image
from tests.inference.helpers import small_network

OPTIONS = {"num_feat": 4, "num_block": 1, "upscale": 2}
SCORED = {
    "psnr": {"name": "PSNR", "crop_border": 2, "test_y_channel": True},
    "ssim": {"name": "SSIM", "crop_border": 2, "test_y_channel": True},
}


@pytest.fixture
def workshop(tmp_path, rng):
    """A network with weights, a config that names it, four pairs of images of several sizes."""
    paddle.save(MSRResNet(**OPTIONS).state_dict(), str(tmp_path / "net.pdparams"))
    for index, name in enumerate("abcd"):
        gt = rng.integers(0, 256, (24 + 2 * index, 30, 3), dtype=np.uint8)
        write_image(tmp_path / "gt" / f"{name}.png", gt)
        write_image(tmp_path / "lq" / f"{name}.png", gt[::2, ::2])
    folders = {f"{name}_folder": str(tmp_path / name) for name in ("gt", "lq")}
    generator = {"name": "MSRResNet", **OPTIONS}
    config = {
        "total_iters": 1,
        "output_dir": str(tmp_path / "output"),
        "model": {"name": "SRModel", "generator": generator, "pixel_criterion": {"name": "L1Loss"}},
        "dataset": {"test": {"name": "SRDataset", "scale": 2, **folders}},
        "validate": {"save_img": True, "metrics": SCORED},
    }
    (tmp_path / "net.yaml").write_text(yaml.safe_dump(config))
    return tmp_path


def _evaluate_only(folder):
    weights = str(folder / "net.pdparams")
    code = main(["-c", str(folder / "net.yaml"), "--evaluate-only", "--load", weights, "--no-cuda"])
    (written,) = (folder / "output").glob("*/metrics.json")
    return code, json.loads(written.read_text())


def test_both_commands_give_the_same_scores(workshop):
    code, ours = _evaluate_only(workshop)
    folders = {"gt": workshop / "gt", "lq": workshop / "lq"}
    theirs = evaluate(scale=2, method=workshop / "net.pdparams", metrics=["psnr", "ssim"], **folders)
    assert code == theirs.exit_code == 0
    assert ours["count"] == theirs.count == 4
    assert list(ours["images"].items()) == list(theirs.sets[0].rows.items())
    assert ours["mean"] == theirs.means


def test_an_unreadable_image_is_named_and_the_others_are_scored(workshop, capsys):
    (workshop / "lq" / "b.png").write_bytes(b"no image")
    code, report = _evaluate_only(workshop)
    assert code == 1
    assert report["count"] == 3
    assert [problem["name"] for problem in report["problems"]] == ["00001"]
    assert "b.png" in report["problems"][0]["reason"]
    assert "sample 00001 is not scored" in capsys.readouterr().out
    assert sorted(p.stem for p in (workshop / "output").glob("*/visual_test/*.png")) == ["a", "c", "d"]


def test_an_image_of_another_scale_is_named_instead_of_scored_on_a_part(workshop):
    gt = read_image(workshop / "gt" / "c.png")
    write_image(workshop / "gt" / "c.png", np.tile(gt, (2, 2, 1)))
    code, report = _evaluate_only(workshop)
    assert code == 1
    assert set(report["images"]) == {"a", "b", "d"}
    (problem,) = report["problems"]
    assert problem["kind"] == "wrong size"
    assert "c: SR is 30 x 28, HR is 60 x 56" in problem["reason"]


def test_random_weights_are_said_to_be_random(workshop, capsys):
    assert main(["-c", str(workshop / "net.yaml"), "--evaluate-only", "--no-cuda"]) == 0
    assert "random weights" in capsys.readouterr().out


def test_a_scoring_without_a_metric_or_without_a_score_does_not_end_well(workshop, capsys):
    text = (workshop / "net.yaml").read_text()
    config = yaml.safe_load(text)
    config["validate"] = {"metrics": {}}
    (workshop / "net.yaml").write_text(yaml.safe_dump(config))
    assert main(["-c", str(workshop / "net.yaml"), "--evaluate-only", "--no-cuda"]) == 2
    assert "validate.metrics names no metric to score with" in capsys.readouterr().err
    config["validate"] = {"metrics": SCORED}
    config["dataset"]["test"] = {"name": "SingleImageDataset", "lq_folder": str(workshop / "lq")}
    (workshop / "net.yaml").write_text(yaml.safe_dump(config))
    assert main(["-c", str(workshop / "net.yaml"), "--evaluate-only", "--no-cuda"]) == 3
    assert "no score: the images have no ground truth" in capsys.readouterr().out


class _Blind:
    """Three samples without truth, of which the second is broken."""

    def __len__(self):
        return 3

    def __getitem__(self, index):
        if index == 1:
            raise DataError("two.png is truncated")
        return {"lq": np.full((3, 8, 8), index / 4, np.float32), "lq_path": f"{index}.png"}


class _Brightness:
    """A metric that needs no truth."""

    no_reference = True

    def __call__(self, sr, gt=None):
        assert gt is None
        return float(sr.mean())


def test_without_truth_only_metrics_that_need_none_count(tmp_path):
    def needs_truth(sr, gt):
        raise AssertionError

    net = small_network("MSRResNet")
    net.train()
    metrics = {"psnr": needs_truth, "brightness": _Brightness()}
    score = validate(net, _Blind(), metrics, Group(), save_folder=tmp_path)
    images = [255 * read_image(tmp_path / f"{index}.png") for index in (0, 2)]
    assert net.training
    assert set(score.means) == {"brightness"}
    assert score.means["brightness"] == pytest.approx(np.mean([p.mean() for p in images]), rel=1e-5)
    assert [(p.name, p.reason) for p in score.problems] == [("00001", "two.png is truncated")]
    assert score.exit_code == 1


def test_an_error_of_a_network_that_is_not_about_memory_ends_the_scoring():
    def enlarge(lq):
        raise RuntimeError("else")

    samples = [{"lq": np.zeros((3, 8, 8), np.float32), "lq_path": ""}]
    with pytest.raises(RuntimeError, match="else"):
        score_dataset(DatasetImages(enlarge, samples, 2), {})
