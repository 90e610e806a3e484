"""Reflash Dropout's benchmark as files."""

from __future__ import annotations

import numpy as np
import pytest

from ppsr.degradations.reflash_benchmark import VARIANTS
from ppsr.evaluation.evaluate import evaluate
from ppsr.imaging.io import decode_image, write_image
from ppsr.prepare.bicubic import Bicubic
from ppsr.prepare.reflash import ReflashBenchmark
from tests.golden.files import Golden, assert_close, golden


@pytest.fixture
def source(tmp_path, rng):
    for name in ("a", "b"):
        write_image(tmp_path / "in" / f"{name}.png", rng.integers(0, 256, (34, 41, 3), dtype=np.uint8))
    return tmp_path / "in"


def test_eight_folders_and_cut_hr_are_written(source, tmp_path):
    done = ReflashBenchmark(tmp_path / "Set5").make(source)
    assert (done.written, done.exit_code) == (2 * 9, 0)
    assert decode_image(tmp_path / "Set5" / "HR" / "x4" / "a.png").shape == (32, 40, 3)
    folders = {path.name for path in (tmp_path / "Set5" / "LR_degra").iterdir()}
    assert folders == set(VARIANTS)
    again = ReflashBenchmark(tmp_path / "Set5").make(source)
    assert (again.written, again.present) == (0, 18)


@pytest.mark.parametrize("channels", [(), (3,)])
def test_the_files_equal_what_evaluation_makes(source, tmp_path, rng, channels):
    write_image(source / "c.png", rng.integers(0, 256, (36, 40, *channels), dtype=np.uint8))
    ReflashBenchmark(tmp_path / "data" / "Set5", seed=3).make(source)
    read = evaluate(protocol="reflash", data=tmp_path / "data", method="bicubic", seed=3)
    made = evaluate(protocol="reflash", gt=source, name="Set5", method="bicubic", seed=3)
    assert [score.rows for score in read.sets] == [score.rows for score in made.sets]
    assert read.count == 24


def test_a_source_that_is_the_hr_folder_stays_as_it_is(source, tmp_path):
    (tmp_path / "Set5" / "HR").mkdir(parents=True)
    hr = source.rename(tmp_path / "Set5" / "HR" / "x4")
    before = (hr / "a.png").read_bytes()
    assert ReflashBenchmark(tmp_path / "Set5").make(hr, force=True).written == 16
    assert (hr / "a.png").read_bytes() == before


def test_the_hr_of_other_scales_may_be_the_source(source, tmp_path):
    (tmp_path / "Set5").mkdir()
    hr = source.rename(tmp_path / "Set5" / "HR")
    files = sorted(hr.rglob("*"))
    assert ReflashBenchmark(tmp_path / "Set5").make(hr).written == 16
    assert Bicubic(tmp_path / "Set5", scales=(2,)).make(hr).written == 2
    assert ReflashBenchmark(tmp_path / "Set5").make(hr).present == 16
    assert sorted(hr.rglob("*")) == files  # or data sets that read it would have every image twice
    read = evaluate(protocol="reflash", data=tmp_path, method="bicubic")
    made = evaluate(protocol="reflash", gt=hr, name="Set5", method="bicubic")
    assert [score.rows for score in read.sets] == [score.rows for score in made.sets]


def test_what_cannot_be_degraded_is_named(source, tmp_path, rng):
    write_image(source / "deep.png", rng.integers(0, 65536, (20, 20), dtype=np.uint16))
    write_image(source / "tiny.png", np.zeros((3, 20, 3), np.uint8))
    done = ReflashBenchmark(tmp_path / "out").make(source)
    assert (list(done.failed), list(done.skipped)) == (["deep.png"], ["tiny.png"])


@golden("functions_reflash_benchmark*")
def test_degradations_without_noise_equal_the_published_script(path, tmp_path):
    g = Golden(path)
    image = g["input/gt"]
    scale = image.shape[0] // g["output/bicubic"].shape[0]
    if any(side % scale for side in image.shape[:2]):
        pytest.skip("the script shrinks what is left over beside the last whole pixel, a data set has none")
    write_image(tmp_path / "in" / "a.png", image)
    ReflashBenchmark(tmp_path / "out", scale=scale).make(tmp_path / "in")
    clean = [variant for variant in g.meta["order"] if "noise" not in variant]
    assert clean
    for variant in clean:
        made = decode_image(tmp_path / "out" / "LR_degra" / variant / "a.png")
        # OpenCV's blur and libjpeg differ by a level or two between versions; the rest is exact
        allowed = 2 * ("jepg" in variant) + ("blur" in variant)
        assert_close(made, g[f"output/{variant}"], atol=allowed, what=variant)
