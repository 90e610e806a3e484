"""Depth noise and the LR maps made with it."""

from __future__ import annotations

import numpy as np
import pytest

from ppsr.degradations.depth import add_depth_noise, benchmark_lr, benchmark_lr_from_upsampled, lr_of_training


@pytest.mark.parametrize("depth", [60, 120, 200])
def test_variance_of_the_noise_is_651_by_depth(depth, rng):
    plane = np.full((300, 300), depth, np.uint8)
    noisy = add_depth_noise(plane, rng.standard_normal(plane.shape))
    assert noisy.mean() == pytest.approx(depth, abs=0.1)
    # rounding to whole numbers adds a twelfth
    assert noisy.var() == pytest.approx(651 / depth + 1 / 12, rel=0.03)


def test_unknown_depth_stays_without_noise(rng):
    plane = np.zeros((20, 20), np.uint8)
    assert not add_depth_noise(plane, rng.standard_normal(plane.shape)).any()


def test_the_published_shrinking_is_the_mean_of_the_central_four(rng):
    upsampled = rng.random((16, 24))
    blocks = upsampled.reshape(4, 4, 6, 4)[:, 1:3, :, 1:3].mean(axis=(1, 3))
    assert np.abs(benchmark_lr_from_upsampled(upsampled) - 255 * blocks).max() <= 0.5 + 1e-6


def test_lr_maps_have_the_size_and_depend_on_the_seed():
    depth = np.full((32, 48), 90, np.uint8)
    for make in (lr_of_training, benchmark_lr):
        one, same, other = (make(depth, scale=4, rng=np.random.default_rng(s)) for s in (1, 1, 2))
        assert one.shape == (8, 12)
        assert (one == same).all()
        assert (one != other).any()
