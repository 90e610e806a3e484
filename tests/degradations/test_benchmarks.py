"""The degradations of Reflash's benchmark on other images than the golden one, and depth noise."""

import numpy as np
import pytest

from ppsr.degradations.depth import add_depth_noise, benchmark_lr, lr_of_training
from ppsr.degradations.reflash_benchmark import VARIANTS, degrade
from ppsr.errors import ConfigError, DataError


@pytest.mark.parametrize("variant", VARIANTS)
def test_sizes_are_cut_and_the_seed_decides(variant, rng):
    image = rng.integers(0, 256, (42, 55, 3), dtype=np.uint8)
    one, same = (degrade(image, variant, rng=np.random.default_rng(3)) for _ in range(2))
    assert one.shape == (10, 13, 3)
    assert (one == same).all()


def test_gray_images_stay_gray_until_jpeg(rng):
    image = rng.integers(0, 256, (40, 40), dtype=np.uint8)
    assert degrade(image, "bicubic_noise20", rng=rng).shape == (10, 10)
    assert degrade(image, "bicubic_jepg50").shape == (10, 10, 3)


@pytest.mark.parametrize(
    ("dtype", "variant", "error", "message"),
    [
        (np.uint8, "bicubic_noise20", ConfigError, "random generator"),
        (np.uint8, "bicubic_jpeg50", ConfigError, "bicubic_jepg50"),
        (np.float32, "bicubic", DataError, "8-bit"),
    ],
)
def test_what_cannot_be_degraded_is_refused(dtype, variant, error, message):
    with pytest.raises(error, match=message):
        degrade(np.zeros((8, 8, 3), dtype), variant)


def test_unknown_depth_stays_without_noise(rng):
    plane = np.zeros((20, 20), np.uint8)
    assert not add_depth_noise(plane, rng.standard_normal(plane.shape)).any()


def test_lr_maps_have_the_size_and_depend_on_the_seed():
    depth = np.full((32, 48), 90, np.uint8)
    for make in (lr_of_training, benchmark_lr):
        one, same, other = (make(depth, scale=4, rng=np.random.default_rng(s)) for s in (1, 1, 2))
        assert one.shape == (8, 12)
        assert (one == same).all()
        assert (one != other).any()
