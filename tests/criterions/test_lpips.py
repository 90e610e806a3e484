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


def test_images_in_the_unit_range_are_mapped_by_normalize(rng):
    net = _alex()
    x, gt = _image(rng), _image(rng)
    assert net(x, gt, normalize=True).item() == pytest.approx(net(2 * x - 1, 2 * gt - 1).item(), rel=1e-5)


def test_the_spatial_map_has_the_images_size(rng):
    x, gt = _image(rng, (1, 3, 37, 41)), _image(rng, (1, 3, 37, 41))
    result = _alex(spatial=True)(x, gt)
    assert list(result.shape) == [1, 1, 37, 41]
    assert float(result.min()) >= 0


def test_the_shipped_calibration_is_not_negative_and_complete():
    for net, (_, channels, _) in lpips._NETS.items():
        weights = lpips.calibration(net)
        assert [weights[f"lin{i}.model.1.weight"].shape for i in range(5)] == [(1, c, 1, 1) for c in channels]
        assert all((w >= 0).all() for w in weights.values())


def test_keys_are_the_released_ones():
    keys = set(lpips.LPIPS(net="vgg").state_dict())
    assert {"scaling_layer.shift", "net.slice1.2.weight", "net.slice5.28.bias", "lin4.model.1.weight"} <= keys


def test_an_unknown_network_and_an_absent_file_are_explained(tmp_path):
    with pytest.raises(ConfigError, match="did you mean 'alex'"):
        lpips.LPIPS(net="alexnet")
    with pytest.raises(ConfigError, match=r"alexnet-owt-7be5be79\.pth"):
        lpips.build_lpips(weights=tmp_path / "none.pth")
