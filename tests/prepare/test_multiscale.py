"""HR images in several sizes."""

from __future__ import annotations

import numpy as np
import pytest

from ppsr.errors import ConfigError
from ppsr.imaging.io import decode_image, write_image
from ppsr.imaging.resize import matlab_resize_integers
from ppsr.prepare.multiscale import make_multiscale


def test_each_size_is_matlabs_and_too_small_ones_are_left_out(tmp_path, rng):
    image = rng.integers(0, 256, (20, 31, 3), dtype=np.uint8)
    write_image(tmp_path / "hr" / "a.png", image)
    done = make_multiscale(tmp_path / "hr", tmp_path / "out", factors=(1, 0.9, 0.5), smallest=18)
    assert (done.written, done.exit_code) == (2, 0)
    assert not (tmp_path / "out" / "a_50.png").exists()
    np.testing.assert_array_equal(decode_image(tmp_path / "out" / "a_100.png"), image)
    expected = matlab_resize_integers(image, 0.9)
    np.testing.assert_array_equal(decode_image(tmp_path / "out" / "a_90.png"), expected)


@pytest.mark.parametrize("factors", [(), (1.5,), (0.0,), (0.333,)])
def test_other_factors_are_refused(tmp_path, factors):
    with pytest.raises(ConfigError, match="whole percents above 0 to 1"):
        make_multiscale(tmp_path, tmp_path / "out", factors=factors)
