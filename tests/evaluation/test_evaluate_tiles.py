"""Scores of networks depend on the images and the tiles asked for, never on free memory."""

from __future__ import annotations

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
