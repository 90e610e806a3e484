"""Results that are there, folders that are linked, patterns, kinds that a folder may hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ppsr.inference.files import exit_code, upscale_files
from ppsr.inference.upscaler import Upscaler
from tests.imaging.kinds import colours, packed
from tests.inference.helpers import Repeat, list_files


def _names(reports, status="ok"):
    return sorted(Path(r["path"]).name for r in reports if r["status"] == status)


@pytest.mark.parametrize("options", [{}, {"skip_existing": True}, {"extension": "webp"}])
def test_own_results_beside_the_inputs_are_no_inputs(upscaler, tmp_path, options):
    for name in ("a.png", "b.jpg", "c_x2.png"):
        kind = "PNG" if name.endswith("png") else "JPEG"
        (tmp_path / name).write_bytes(packed(colours(), kind))
    first = upscale_files(upscaler, tmp_path, tmp_path, suffix="_x2")
    assert _names(first) == ["a.png", "b.jpg", "c_x2.png"]
    before = list_files(tmp_path)
    again = upscale_files(upscaler, tmp_path, tmp_path, suffix="_x2", **options)
    if "extension" in options:
        assert _names(again) == ["a.png", "b.jpg", "c_x2.png"]
    else:
        assert list_files(tmp_path) == before
    third = upscale_files(upscaler, tmp_path, tmp_path, suffix="_x2", **options)
    assert {Path(r["path"]).stem for r in third if r["status"] == "ok"} <= {"a", "b", "c_x2"}


def test_results_of_another_run_in_a_folder_below_are_no_inputs(folder, upscaler, tmp_path):
    upscale_files(upscaler, folder, folder / "first")
    reports = upscale_files(Upscaler(Repeat(), outscale=3), folder, tmp_path / "second")
    assert len([r for r in reports if r["status"] == "ok"]) == 4
    assert {r["reason"] for r in reports if r["status"] == "skipped"} == {"a result of an earlier run"}


def test_an_input_that_is_named_as_a_result_is_not_replaced(upscaler, tmp_path):
    (tmp_path / "a.png").write_bytes(packed(colours(), "PNG"))
    own = packed(colours()[:11], "PNG")
    (tmp_path / "a_x2.png").write_bytes(own)
    reports = upscale_files(upscaler, tmp_path, tmp_path, suffix="_x2")
    assert [r["status"] for r in reports] == ["error", "ok"]
    assert "would replace the input" in reports[0]["reason"]
    assert (tmp_path / "a_x2.png").read_bytes() == own


def test_a_folder_without_images_is_an_error_that_names_it(upscaler, tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("text")
    reports = upscale_files(upscaler, tmp_path / "notes", tmp_path / "out")
    assert reports[-1]["reason"] == f"{tmp_path / 'notes'} contains no images or videos"
    assert exit_code(reports) == 3


def test_images_of_kinds_that_cannot_be_read_are_named(upscaler, tmp_path):
    (tmp_path / "a.png").write_bytes(packed(colours(), "PNG"))
    (tmp_path / "b.exr").write_bytes(b"v/1\x01")
    reports = upscale_files(upscaler, tmp_path, tmp_path / "out")
    assert [r["status"] for r in reports] == ["ok", "error"]
    assert "EXR images are not supported" in reports[1]["reason"]


@pytest.mark.parametrize("extension", ["png", "jpg", "webp", "tif", "bmp"])
def test_results_that_were_cut_short_are_made_again(upscaler, tmp_path, extension):
    (tmp_path / "a.png").write_bytes(packed(colours(), "PNG"))
    options = {"extension": extension, "skip_existing": True}
    [first] = upscale_files(upscaler, tmp_path / "a.png", tmp_path / "out", **options)
    whole = Path(first["output"]).read_bytes()
    Path(first["output"]).write_bytes(whole[: len(whole) // 2])
    [again] = upscale_files(upscaler, tmp_path / "a.png", tmp_path / "out", **options)
    assert again["status"] == "ok"
    assert Path(first["output"]).read_bytes() == whole
    [kept] = upscale_files(upscaler, tmp_path / "a.png", tmp_path / "out", **options)
    assert kept["status"] == "skipped"


@pytest.mark.parametrize("bands", [4, 6, 13])
def test_files_of_many_bands_are_upscaled_by_networks_for_as_many(tmp_path, rng, bands):
    tifffile = pytest.importorskip("tifffile")
    image = rng.integers(0, 65536, (20, 24, bands), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", image, photometric="minisblack", planarconfig="contig")
    [report] = upscale_files(Upscaler(Repeat(channels=bands)), tmp_path / "a.tif", tmp_path / "b.tif")
    assert report["status"] == "ok", report
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "b.tif"), image.repeat(2, 0).repeat(2, 1))
    [refused] = upscale_files(Upscaler(Repeat()), tmp_path / "a.tif", tmp_path / "c.tif")
    assert f"the image has {bands} bands; the network takes gray or RGB" in refused["reason"]
