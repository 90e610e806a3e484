"""The benchmark's degradations on other images than the golden one."""

from __future__ import annotations

import numpy as np
import pytest

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


def test_noise_has_its_deviation_and_the_cut_takes_half_a_level(rng):
    noisy = degrade(np.full((800, 800, 3), 128, np.uint8), "bicubic_noise20", rng=rng)
    assert noisy.std() == pytest.approx(20, rel=0.01)
    assert noisy.mean() == pytest.approx(127.5, abs=0.2)


def test_noise_without_a_generator_is_refused():
    with pytest.raises(ConfigError, match="random generator"):
        degrade(np.zeros((8, 8, 3), np.uint8), "bicubic_noise20")


def test_an_unknown_variant_names_the_nearest():
    with pytest.raises(ConfigError, match="bicubic_jepg50"):
        degrade(np.zeros((8, 8, 3), np.uint8), "bicubic_jpeg50")


def test_an_image_that_is_not_8_bit_is_refused():
    with pytest.raises(DataError, match="8-bit"):
        degrade(np.zeros((8, 8, 3), np.float32), "bicubic")
