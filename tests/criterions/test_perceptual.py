from __future__ import annotations

import numpy as np
import paddle
import pytest

from ppsr.criterions import lpips
from ppsr.criterions.perceptual import PerceptualLoss
from ppsr.criterions.vgg import VGGFeatureExtractor
from ppsr.errors import ConfigError

_LAYERS = {"conv1_1": 0.5, "relu1_2": 2.0}


def _loss(**options):
    return PerceptualLoss(
        layer_weights=_LAYERS, extractor=VGGFeatureExtractor(layer_name_list=list(_LAYERS)), **options
    )


def _images(rng):
    return (paddle.to_tensor(rng.random((2, 3, 6, 6), dtype=np.float32)) for _ in range(2))


@pytest.mark.parametrize(
    ("criterion", "distance"),
    [
        ("l1", lambda d: np.abs(d).mean()),
        ("l2", lambda d: (d**2).mean()),
        ("fro", lambda d: np.sqrt((d**2).sum())),
    ],
)
def test_the_loss_is_the_weighted_sum_over_layers(rng, criterion, distance):
    loss = _loss(criterion=criterion, perceptual_weight=3.0)
    sr, gt = _images(rng)
    ours, theirs = loss.vgg(sr), loss.vgg(gt)
    expected = 3 * sum(w * distance(ours[k].numpy() - theirs[k].numpy()) for k, w in _LAYERS.items())
    assert float(loss(sr, gt)) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("criterion", ["l1", "l2", "fro"])
def test_equal_images_have_a_finite_gradient(rng, criterion):
    gt, _ = _images(rng)
    sr = gt.clone().detach()
    sr.stop_gradient = False
    _loss(criterion=criterion, style_weight=1.0)(sr, gt).backward()
    assert np.isfinite(sr.grad.numpy()).all()


def test_nothing_to_compute_is_refused():
    with pytest.raises(ConfigError, match="both 0"):
        _loss(perceptual_weight=0.0)


def test_gray_images_are_refused():
    with pytest.raises(ConfigError, match="1 channel"):
        _loss()(paddle.zeros([1, 1, 4, 4]), paddle.zeros([1, 1, 4, 4]))


def test_an_unknown_network_and_an_absent_file_of_lpips_are_explained(tmp_path):
    with pytest.raises(ConfigError, match="did you mean 'alex'"):
        lpips.LPIPS(net="alexnet")
    with pytest.raises(ConfigError, match=r"alexnet-owt-7be5be79\.pth"):
        lpips.build_lpips(weights=tmp_path / "none.pth")
