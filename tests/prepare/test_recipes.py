"""Bicubic LR folders, windows of large images, and the benchmark of Reflash Dropout as files."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ppsr.degradations.reflash_benchmark import VARIANTS
from ppsr.errors import ConfigError, DataError
from ppsr.evaluation.evaluate import evaluate
from ppsr.imaging.io import decode_image, list_images, write_image
from ppsr.imaging.resize import matlab_resize_integers
from ppsr.prepare.bicubic import Bicubic, MultiScale
from ppsr.prepare.reflash import ReflashBenchmark
from ppsr.prepare.subimages import SubImages, window_starts


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
    expected = matlab_resize_integers(decode_image(source / "a.png")[:24, :36], 0.25)
    np.testing.assert_array_equal(decode_image(lr / "X4" / "ax4.png"), expected)
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


def test_a_last_window_is_flush_with_the_end():
    assert window_starts(1000, 480, 240) == [0, 240, 480, 520]
    assert window_starts(960, 480, 240) == [0, 240, 480]
    assert window_starts(479, 480, 240) == []
    # but for a remainder up to the threshold
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


@given(*(st.integers(*ends) for ends in ((2, 4), (1, 3), (1, 300), (1, 20), (1, 20), (0, 5))))
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


def test_names_that_differ_only_by_scale_are_refused(tmp_path):
    for name in ("ax2", "ax4"):
        write_image(tmp_path / "in" / f"{name}.png", np.zeros((40, 40), np.uint8))
    with pytest.raises(DataError, match="results of the same name"):
        SubImages(tmp_path / "out", size=16, step=16).make(tmp_path / "in")


@pytest.mark.parametrize("options", [{"size": 0}, {"step": 0}, {"threshold": -1}, {"multiple": 0}])
def test_impossible_sizes_are_refused(tmp_path, options):
    with pytest.raises(ConfigError, match="at least"):
        SubImages(tmp_path / "out", **options).make(tmp_path)


@pytest.fixture
def hr_folder(tmp_path, rng):
    for name in ("a", "b"):
        write_image(tmp_path / "in" / f"{name}.png", rng.integers(0, 256, (34, 41, 3), dtype=np.uint8))
    return tmp_path / "in"


def test_eight_folders_and_cut_hr_are_written(hr_folder, tmp_path):
    done = ReflashBenchmark(tmp_path / "Set5").make(hr_folder)
    assert (done.written, done.exit_code) == (2 * 9, 0)
    assert decode_image(tmp_path / "Set5" / "HR" / "x4" / "a.png").shape == (32, 40, 3)
    folders = {path.name for path in (tmp_path / "Set5" / "LR_degra").iterdir()}
    assert folders == set(VARIANTS)
    again = ReflashBenchmark(tmp_path / "Set5").make(hr_folder)
    assert (again.written, again.present) == (0, 18)


@pytest.mark.parametrize("channels", [(), (3,)])
def test_the_files_equal_what_evaluation_makes(hr_folder, tmp_path, rng, channels):
    write_image(hr_folder / "c.png", rng.integers(0, 256, (36, 40, *channels), dtype=np.uint8))
    ReflashBenchmark(tmp_path / "data" / "Set5", seed=3).make(hr_folder)
    read = evaluate(protocol="reflash", data=tmp_path / "data", method="bicubic", seed=3)
    made = evaluate(protocol="reflash", gt=hr_folder, name="Set5", method="bicubic", seed=3)
    assert [score.rows for score in read.sets] == [score.rows for score in made.sets]
    assert read.count == 24


def test_a_source_that_is_the_hr_folder_stays_as_it_is(hr_folder, tmp_path):
    (tmp_path / "Set5" / "HR").mkdir(parents=True)
    hr = hr_folder.rename(tmp_path / "Set5" / "HR" / "x4")
    before = (hr / "a.png").read_bytes()
    assert ReflashBenchmark(tmp_path / "Set5").make(hr, force=True).written == 16
    assert (hr / "a.png").read_bytes() == before


def test_the_hr_of_other_scales_may_be_the_source(hr_folder, tmp_path):
    (tmp_path / "Set5").mkdir()
    hr = hr_folder.rename(tmp_path / "Set5" / "HR")
    files = sorted(hr.rglob("*"))
    assert ReflashBenchmark(tmp_path / "Set5").make(hr).written == 16
    assert Bicubic(tmp_path / "Set5", scales=(2,)).make(hr).written == 2
    assert ReflashBenchmark(tmp_path / "Set5").make(hr).present == 16
    assert sorted(hr.rglob("*")) == files  # or data sets that read it would have every image twice
    read = evaluate(protocol="reflash", data=tmp_path, method="bicubic")
    made = evaluate(protocol="reflash", gt=hr, name="Set5", method="bicubic")
    assert [score.rows for score in read.sets] == [score.rows for score in made.sets]


def test_what_cannot_be_degraded_is_named(hr_folder, tmp_path, rng):
    write_image(hr_folder / "deep.png", rng.integers(0, 65536, (20, 20), dtype=np.uint16))
    write_image(hr_folder / "tiny.png", np.zeros((3, 20, 3), np.uint8))
    done = ReflashBenchmark(tmp_path / "out").make(hr_folder)
    assert (list(done.failed), list(done.skipped)) == (["deep.png"], ["tiny.png"])
