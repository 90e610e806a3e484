"""Windows of large images."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ppsr.errors import ConfigError, DataError
from ppsr.imaging.io import decode_image, list_images, write_image
from ppsr.prepare.subimages import SubImages, window_starts


def test_a_last_window_is_flush_with_the_end():
    assert window_starts(1000, 480, 240) == [0, 240, 480, 520]
    assert window_starts(960, 480, 240) == [0, 240, 480]
    assert window_starts(479, 480, 240) == []


def test_a_remainder_up_to_the_threshold_is_given_up():
    assert window_starts(1000, 480, 240, 40) == [0, 240, 480]
    assert window_starts(1000, 480, 240, 39) == [0, 240, 480, 520]


@given(st.integers(1, 200), st.integers(1, 60), st.integers(1, 60))
def test_windows_lie_inside_and_reach_both_ends(side, size, step):
    starts = window_starts(side, size, step)
    assert bool(starts) == (side >= size)
    assert starts == sorted(set(starts))
    if starts:
        assert (starts[0], starts[-1] + size) == (0, side)


def test_windows_are_numbered_row_by_row(tmp_path, rng):
    image = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    write_image(tmp_path / "in" / "0001.png", image)
    assert SubImages(tmp_path / "out", size=16, step=8).make(tmp_path / "in").written == 6
    names = [path.name for path in list_images(tmp_path / "out")]
    assert names == [f"0001_s{number:03d}.png" for number in range(1, 7)]
    # lefts 0, 8, 14; tops 0, 4
    assert (decode_image(tmp_path / "out" / "0001_s006.png") == image[4:20, 14:30]).all()


@given(
    st.integers(2, 4),
    st.integers(1, 3),
    st.integers(1, 300),
    st.integers(1, 20),
    st.integers(1, 20),
    st.integers(0, 5),
)
def test_windows_of_cut_images_lie_at_the_same_places_at_every_scale(scale, multiple, side, size, step, rest):
    high = side // (multiple * scale) * (multiple * scale)
    low = side // scale // multiple * multiple
    starts = window_starts(low, size, step, rest)
    assert window_starts(high, size * scale, step * scale, rest * scale) == [scale * s for s in starts]


@pytest.mark.parametrize("scales", [(4,), (2, 3, 4)])
def test_windows_fit_where_hr_sides_are_no_multiples_of_the_scale(tmp_path, rng, scales):
    hr = rng.integers(0, 256, (101, 130, 3), dtype=np.uint8)
    write_image(tmp_path / "hr" / "p0.png", hr)
    write_image(tmp_path / "lr" / "p0x4.png", np.ascontiguousarray(hr[:100:4, :128:4]))
    multiple = np.lcm.reduce(scales)
    SubImages(tmp_path / "hr_sub", size=48, step=24, multiple=int(multiple)).make(tmp_path / "hr")
    SubImages(tmp_path / "lr_sub", size=12, step=6, multiple=int(multiple) // 4).make(tmp_path / "lr")
    high, low = list_images(tmp_path / "hr_sub"), list_images(tmp_path / "lr_sub")
    assert [p.name for p in high] == [p.name for p in low]
    assert len(high) == (20 if scales == (4,) else 12)
    for a, b in zip(high, low, strict=True):
        assert (decode_image(a)[::4, ::4] == decode_image(b)).all()


def test_small_images_are_skipped_by_name(tmp_path):
    write_image(tmp_path / "in" / "sub" / "a.png", np.zeros((8, 20), np.uint8))
    write_image(tmp_path / "in" / "b.png", np.zeros((20, 20), np.uint8))
    done = SubImages(tmp_path / "out", size=16, step=16).make(tmp_path / "in")
    assert done.skipped == {"sub/a.png": "20 x 8 is smaller than a window of 16"}


def test_names_that_differ_only_by_scale_are_refused(tmp_path):
    for name in ("ax2", "ax4"):
        write_image(tmp_path / "in" / f"{name}.png", np.zeros((40, 40), np.uint8))
    with pytest.raises(DataError, match="results of the same name"):
        SubImages(tmp_path / "out", size=16, step=16).make(tmp_path / "in")


@pytest.mark.parametrize("options", [{"size": 0}, {"step": 0}, {"threshold": -1}, {"multiple": 0}])
def test_impossible_sizes_are_refused(tmp_path, options):
    with pytest.raises(ConfigError, match="at least"):
        SubImages(tmp_path / "out", **options).make(tmp_path)
