from __future__ import annotations

import numpy as np
import paddle
import pytest

from ppsr.criterions import lpips
from ppsr.errors import ConfigError


def _image(rng, shape=(1, 3, 36, 40)):
    return paddle.to_tensor(rng.random(shape, dtype=np.float32))


def _alex(**options):
    paddle.seed(0)
    net = lpips.LPIPS(net="alex", **options)
    features = {}
    for part in net.net.children():
        for index, layer in part.named_children():
            for kind, value in layer.named_parameters():
                features[f"features.{index}.{kind}"] = value.numpy()
    net.load_published(features, lpips.calibration("alex"))
    return net


def test_equal_images_have_no_distance_and_no_gradient(rng):
    net, x = _alex(), _image(rng)
    y = x.clone().detach()
    y.stop_gradient = False
    distance = net(y, x)
    assert list(distance.shape) == [1, 1, 1, 1]
    # not exactly 0: with and without a gradient, convolutions may sum in another order
    assert distance.item() <= 1e-10
    distance.sum().backward()
    assert np.abs(y.grad.numpy()).max() <= 1e-6


def test_an_unknown_network_and_an_absent_file_are_explained(tmp_path):
    with pytest.raises(ConfigError, match="did you mean 'alex'"):
        lpips.LPIPS(net="alexnet")
    with pytest.raises(ConfigError, match=r"alexnet-owt-7be5be79\.pth"):
        lpips.build_lpips(weights=tmp_path / "none.pth")
