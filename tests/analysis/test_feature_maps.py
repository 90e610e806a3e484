"""Feature maps and what they hold."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from ppsr.analysis.feature_maps import effective_rank, feature_maps, statistics
from ppsr.registry import GENERATORS, build_generator


def test_maps_are_what_the_layers_give_channels_first(rng):
    net = build_generator("SwinIR", **GENERATORS.get("SwinIR").test_args)
    net.eval()
    lq = rng.random((3, 8, 8), dtype=np.float32)
    found = feature_maps(net, lq, ["norm", "conv_first"])
    assert list(found) == ["norm", "conv_first"]
    with paddle.no_grad():
        mean = net.mean
        shallow = net.conv_first((paddle.to_tensor(lq[None]) - mean) * net.img_range)
        deep = net.features(shallow)
    np.testing.assert_allclose(found["conv_first"][1], shallow.numpy()[0], atol=1e-6)
    np.testing.assert_allclose(found["norm"][1], deep.numpy()[0], atol=1e-5)


def test_effective_rank_of_known_maps(rng):
    orthogonal = np.linalg.qr(rng.normal(size=(64, 5)))[0].T.reshape(5, 8, 8)
    assert effective_rank(orthogonal) == pytest.approx(5, rel=1e-6)
    copies = np.repeat(rng.normal(size=(1, 8, 8)), 5, axis=0)
    assert effective_rank(copies) == pytest.approx(1, rel=1e-4)
    assert effective_rank(np.zeros((5, 8, 8))) == 0
    # two directions of strengths 3 and 1: entropy of (3/4, 1/4)
    two = orthogonal[:2] * np.array([3, 1])[:, None, None]
    assert effective_rank(two) == pytest.approx(np.exp(-0.75 * np.log(0.75) - 0.25 * np.log(0.25)))


def test_statistics_of_known_maps():
    maps = np.stack([np.full((4, 4), 2.0), np.tile([1.0, -1.0], (4, 2))])
    found = statistics(maps)
    assert found.energy == pytest.approx((4 + 1) / 2)
    assert found.contrast == pytest.approx(0.5)
    assert (found.largest, found.median, found.smallest) == (2, 1.5, -1)
    assert found.rank_share == pytest.approx(found.rank / 2)
