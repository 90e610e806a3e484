"""Scores of networks depend on the images and the tiles asked for, never on free memory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import paddle
import pytest
from paddle import nn
from paddle.nn import functional as F

from ppsr.evaluation.evaluate import evaluate
from ppsr.evaluation.report import to_json, to_markdown
from ppsr.imaging.io import write_image
from ppsr.inference import network as network_module
from ppsr.inference.upscaler import Upscaler


class CentredMean(nn.Layer):
    """Enlarges by repetition and centres by the mean of its input: every cut changes the result."""

    scale = 2
    receptive_radius = None

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return F.interpolate(x - x.mean() + 0.5, scale_factor=2, mode="nearest")


@pytest.fixture
def wide_network(monkeypatch):
    """A network that sees without bound, as HAT and CDDNet do."""
    net = CentredMean()
    monkeypatch.setattr(network_module, "load_network", lambda *_: net)
    return net


@pytest.fixture
def images(tmp_path, rng):
    for name in "ab":
        write_image(tmp_path / "gt" / f"{name}.png", rng.integers(0, 256, (200, 150, 3), dtype=np.uint8))
    return tmp_path / "gt"


@pytest.mark.parametrize("free", [None, 100_000, 10**12])
def test_scores_are_equal_for_any_free_memory(free, images, wide_network, monkeypatch):
    whole = evaluate(gt=images, method="weights", scale=wide_network.scale)
    assert whole.tiling == "whole images"
    monkeypatch.setattr("ppsr.inference.upscaler._SMALL", 0)  # else these are too small to be measured
    monkeypatch.setattr("ppsr.memory.available_memory", lambda: free)
    assert evaluate(gt=images, method="weights", scale=wide_network.scale).sets[0].rows == whole.sets[0].rows


def test_tiles_are_those_asked_for_and_the_report_names_them(images, wide_network):
    scale = wide_network.scale
    whole, cut = (evaluate(Upscaler("weights", tile=tile), gt=images, scale=scale) for tile in (None, 16))
    assert cut.tiling == "tiles of 32 with overlap 32"  # not smaller than where neighbours are mixed
    assert cut.sets[0].rows != whole.sets[0].rows
    assert to_json(cut)["tiling"] == cut.tiling
    assert "network on tiles of 32" in to_markdown(cut)


def test_image_that_does_not_fit_into_memory_is_named_and_left_out(images, wide_network, monkeypatch):
    forward = type(wide_network).forward

    def short(self, x):
        if x.shape[3] > 32:
            raise MemoryError
        return forward(self, x)

    monkeypatch.setattr(type(wide_network), "forward", short)
    small = np.random.default_rng(1).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    write_image(images / "small.png", small)
    for name in "ab":
        write_image(images / f"{name}.png", np.zeros((40, 160, 3), np.uint8))
    result = evaluate(gt=images, method="weights", scale=wide_network.scale)
    assert set(result.sets[0].rows) == {"small"}
    assert {problem.name for problem in result.sets[0].problems} == {"a", "b"}
    assert all("--tile" in problem.reason for problem in result.sets[0].problems)
    assert result.exit_code == 1


SET5 = Path(__file__).parents[2] / "data" / "Set5"


@pytest.mark.skipif(
    not (SET5 / "HR").is_dir(), reason="data/Set5 is not there; data/README.md tells how to get it"
)
@pytest.mark.parametrize(("scale", "expected"), [(2, 33.678), (3, 30.404), (4, 28.431)])
def test_bicubic_enlargement_of_the_shipped_lr(scale, expected):
    lq = SET5 / "LR_bicubic" / f"X{scale}"
    result = evaluate(gt=SET5 / "HR", lq=lq, scale=scale, method="bicubic", metrics=["psnr"])
    assert result.count == 5
    assert result.means["psnr"] == pytest.approx(expected, abs=0.0006)
    made = evaluate(gt=SET5 / "HR", scale=scale, method="bicubic", metrics=["psnr"])
    assert made.sets[0].rows == result.sets[0].rows, "LR made here differs from MATLAB's files"


@pytest.mark.slow
def test_two_processes_write_the_scores_of_one(tmp_path, rng):
    for name in ("a", "b", "c"):
        write_image(tmp_path / "gt" / f"{name}.png", rng.integers(0, 256, (32, 40, 3), dtype=np.uint8))
    (tmp_path / "gt" / "broken.png").write_bytes(b"no image")
    (tmp_path / "ppsr_command.py").write_text("from ppsr.cli import main\n\nmain()\n")
    command = [sys.executable, "-m", "paddle.distributed.launch", "--nproc_per_node", "2"]
    command += ["--log_dir", str(tmp_path / "log"), str(tmp_path / "ppsr_command.py"), "evaluate"]
    command += ["--gt", str(tmp_path / "gt"), "--bicubic", "-o", str(tmp_path / "out"), "--no-grid"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, cwd=tmp_path, timeout=180, check=False
    )
    logs = "".join(path.read_text() for path in (tmp_path / "log").glob("workerlog.*"))
    assert (tmp_path / "out" / "metrics.json").exists(), done.stderr[-2000:] + logs[-3000:]
    together = json.loads((tmp_path / "out" / "metrics.json").read_text())
    alone = to_json(evaluate(gt=tmp_path / "gt", method="bicubic"))
    assert together == json.loads(json.dumps(alone))
    assert (together["count"], len(together["problems"])) == (3, 1)
    assert logs.count("psnr ↑") == 1
    assert done.returncode != 0  # an image without a score
