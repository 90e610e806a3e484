"""Bicubic LR folders."""

from __future__ import annotations

import numpy as np
import pytest

from ppsr.errors import ConfigError
from ppsr.imaging.io import decode_image, write_image
from ppsr.imaging.resize import matlab_resize_integers
from ppsr.prepare.bicubic import Bicubic, MultiScale
from tests.golden.files import Golden, assert_close, golden


@pytest.fixture
def source(tmp_path, rng):
    write_image(tmp_path / "hr" / "a.png", rng.integers(0, 256, (27, 38, 3), dtype=np.uint8))
    write_image(tmp_path / "hr" / "b.png", rng.integers(0, 65536, (24, 24), dtype=np.uint16))
    return tmp_path / "hr"


def test_lr_is_cut_to_each_scale_and_keeps_type_and_channels(source, tmp_path):
    done = Bicubic(tmp_path / "out", scales=(2, 4)).make(source)
    assert (done.written, done.exit_code) == (4, 0)
    lr = tmp_path / "out" / "LR_bicubic"
    assert decode_image(lr / "X2" / "ax2.png").shape == (13, 19, 3)
    assert decode_image(lr / "X4" / "ax4.png").shape == (6, 9, 3)
    deep = decode_image(lr / "X4" / "bx4.png")
    assert (deep.shape, deep.dtype) == ((6, 6), np.uint16)
    assert deep.max() > 255
    assert not (tmp_path / "out" / "HR").exists()


def test_hr_is_written_cut_to_the_common_multiple(source, tmp_path):
    Bicubic(tmp_path / "out", scales=(2, 3, 4), multiple=12).make(source)
    assert decode_image(tmp_path / "out" / "HR" / "a.png").shape == (24, 36, 3)
    assert decode_image(tmp_path / "out" / "LR_bicubic" / "X3" / "ax3.png").shape == (8, 12, 3)
    assert (decode_image(tmp_path / "out" / "HR" / "a.png") == decode_image(source / "a.png")[:24, :36]).all()


def test_too_small_images_are_skipped_and_broken_ones_fail(source, tmp_path):
    write_image(source / "tiny.png", np.zeros((3, 9, 3), np.uint8))
    (source / "broken.png").write_bytes(b"no image")
    done = Bicubic(tmp_path / "out", scales=(4,)).make(source)
    assert done.skipped == {"tiny.png": "9 x 3 is too small"}
    assert list(done.failed) == ["broken.png"]
    assert (done.written, done.exit_code) == (2, 1)


@pytest.mark.parametrize("options", [{"scales": ()}, {"scales": (1, 2)}, {"scales": (3, 4), "multiple": 4}])
def test_impossible_scales_are_refused(source, tmp_path, options):
    with pytest.raises(ConfigError):
        Bicubic(tmp_path / "out", **options).make(source)


@golden("functions_matlab*")
@pytest.mark.smoke
def test_lr_equals_the_published_resize(path, tmp_path):
    g = Golden(path)
    image = np.round(np.clip(g["input/img"], 0, 1) * 255).astype(np.uint8)
    write_image(tmp_path / "hr" / "a.png", image)
    scales = [int(text[2:]) for text in g.meta["scales"] if text.startswith("1/")]
    scales = [s for s in scales if image.shape[0] % s == 0 and image.shape[1] % s == 0]
    if not scales:
        pytest.skip("this file has no scale that divides its image")
    Bicubic(tmp_path / "out", scales=scales).make(tmp_path / "hr")
    for scale in scales:
        index = g.meta["scales"].index(f"1/{scale}")
        made = decode_image(tmp_path / "out" / "LR_bicubic" / f"X{scale}" / f"ax{scale}.png") / 255
        # the input was rounded to 8 bit (each weight row sums to 1, with negative parts: below 2 steps), so
        # was the result
        assert_close(made, np.clip(g[f"output/hwc_scale{index}"], 0, 1), atol=2.5 / 255, what=f"x{scale}")


def test_each_size_is_matlabs_and_too_small_ones_are_left_out(source, tmp_path):
    done = MultiScale(tmp_path / "out", factors=(1, 0.9, 0.5), smallest=18).make(source)
    assert (done.written, done.exit_code) == (4, 0)
    assert not (tmp_path / "out" / "a_50.png").exists()
    image = decode_image(source / "a.png")
    np.testing.assert_array_equal(decode_image(tmp_path / "out" / "a_100.png"), image)
    expected = matlab_resize_integers(image, 0.9)
    np.testing.assert_array_equal(decode_image(tmp_path / "out" / "a_90.png"), expected)


@pytest.mark.parametrize("factors", [(), (1.5,), (0.0,), (0.333,)])
def test_other_factors_are_refused(tmp_path, factors):
    with pytest.raises(ConfigError, match="whole percents above 0 to 1"):
        MultiScale(tmp_path / "out", factors=factors)
