"""What holds for every registered loss of two images."""

import numpy as np
import paddle
import pytest

from benchmarks.host_waits import HostWaits
from ppsr.criterions import dists, lpips, perceptual
from ppsr.criterions.vgg import VGGFeatureExtractor
from ppsr.registry import CRITERIONS

OF_IMAGES = [name for name in CRITERIONS.names() if not hasattr(CRITERIONS.get(name), "of")]


@pytest.fixture(params=[name for name in OF_IMAGES if name != "GANLoss"])  # which is of logits
def loss(request, monkeypatch):
    """The loss with its `test_args`, and with random weights in place of published ones."""
    monkeypatch.setattr(dists, "build_dists", lambda **_: dists.DISTS())
    monkeypatch.setattr(lpips, "build_lpips", lambda **_: lpips.LPIPS(net="alex"))
    monkeypatch.setattr(perceptual, "read_backbone", lambda *_, **__: {})
    monkeypatch.setattr(VGGFeatureExtractor, "load_torchvision", lambda self, state: None)
    paddle.seed(0)
    component = CRITERIONS.get(request.param)
    return component(**getattr(component, "test_args", {}))


def _pair(rng, distance):
    gt = rng.random((2, 3, 48, 48), dtype=np.float32)
    gt[:, :, :8] = 0
    sr = np.clip(gt + distance * rng.standard_normal(gt.shape, dtype=np.float32), 0, 1)
    return paddle.to_tensor(sr, stop_gradient=False), paddle.to_tensor(gt)


def test_an_equal_image_costs_nothing_and_has_a_finite_gradient(loss, rng):
    sr, gt = _pair(rng, 0)
    value = loss(sr, gt)
    value.backward()
    assert value.shape == [] and value.dtype == paddle.float32
    assert abs(float(value)) < 1e-5  # sums of float32
    assert np.isfinite(sr.grad.numpy()).all()


def test_a_step_down_the_gradient_lowers_it(loss, rng):
    sr, gt = _pair(rng, 0.2)
    value = loss(sr, gt)
    value.backward()
    gradient = sr.grad
    step = 1e-3 * float(value) / float((gradient * gradient).sum())
    after = loss(sr.detach() - step * gradient, gt)
    # by a thousandth, up to the curvature and what a loss holds constant
    assert 0.998 < float(after) / float(value) < 0.9999


def test_images_in_half_precision_have_a_loss_in_float32(loss, rng):
    sr, gt = (image.detach().astype("bfloat16") for image in _pair(rng, 0.2))
    value = loss(sr, gt)
    assert value.dtype == paddle.float32
    assert float(value) == pytest.approx(float(loss(sr.astype("float32"), gt.astype("float32"))), rel=1e-5)


def test_it_neither_waits_for_the_device_nor_copies_to_it(loss, rng, monkeypatch, like_a_gpu):
    sr, gt = _pair(rng, 0.2)
    loss(sr, gt)  # makes constants
    monkeypatch.setattr(paddle, "to_tensor", None)
    with HostWaits() as waits:
        loss(sr, gt).backward()
    assert waits.count == 0, "\n".join(waits.places)
