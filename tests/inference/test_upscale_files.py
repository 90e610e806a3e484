"""Folders, patterns, names, results that exist, going on after an interruption, what formats change."""

import json
import os
import shutil
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from ppsr.errors import ConfigError, DataError
from ppsr.imaging.reading import read_image_file
from ppsr.inference import upscale_files as files_module
from ppsr.inference.results import exit_code
from ppsr.inference.upscale_files import FileOptions
from ppsr.inference.upscaler import Upscaler
from tests.imaging.kinds import colours, exif, packed
from tests.inference.helpers import Repeat, list_files, upscale_files


def test_folders_keep_their_structure(folder, upscaler, tmp_path):
    reports = upscale_files(upscaler, folder, tmp_path / "out")
    assert list_files(tmp_path / "out") == ["a.png", "b.png", "sub/a.png", "sub/deep/c.png"]
    assert [r["status"] for r in reports] == ["ok"] * 4
    assert exit_code(reports) == 0


def test_patterns_keep_the_folders_that_they_leave_open(folder, upscaler, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    for pattern, names in (
        ("*/a.png", ["sub/a.png"]),
        ("su?/*.png", ["sub/a.png"]),
        ("sub/*.png", ["a.png"]),
        ("*.jpg", ["b.png"]),
        ("**/*.png", ["a.png", "sub/a.png"]),
    ):
        target = tmp_path / f"out{len(list(tmp_path.iterdir()))}"
        assert exit_code(upscale_files(upscaler, pattern, target)) == 0
        assert list_files(target) == names, pattern
    [none] = upscale_files(upscaler, str(folder / "*.tif"), tmp_path / "none")
    assert none["reason"].endswith("*.tif matches no images or videos")
    assert exit_code([none]) == 3


def test_several_inputs_and_one_that_is_missing(folder, upscaler, tmp_path):
    reports = upscale_files(upscaler, [folder / "a.png", folder / "none.png"], tmp_path / "out")
    assert [r["status"] for r in reports] == ["ok", "error"]
    assert exit_code(reports) == 1
    with pytest.raises(DataError, match="there is no file or folder"):
        upscale_files(upscaler, folder / "none.png", tmp_path / "out")


def test_names_that_would_collide_keep_their_format(upscaler, tmp_path):
    for name, kind in (("a.png", "PNG"), ("a.jpg", "JPEG"), ("A.bmp", "BMP"), ("b.png", "PNG")):
        (tmp_path / name).write_bytes(packed(colours(), kind))
    reports = upscale_files(upscaler, tmp_path, tmp_path / "out", suffix="_x2")
    assert exit_code(reports) == 0
    assert list_files(tmp_path / "out") == ["A.bmp_x2.png", "a.jpg_x2.png", "a.png_x2.png", "b_x2.png"]


def test_a_file_name_is_taken_for_one_input_only(folder, upscaler, tmp_path):
    [report] = upscale_files(upscaler, folder / "a.png", tmp_path / "result.tif")
    assert report["output"] == str(tmp_path / "result.tif")
    assert (tmp_path / "report.jsonl").is_file()
    with pytest.raises(ConfigError, match="name of one file"):
        upscale_files(upscaler, folder, tmp_path / "result.png")


def test_an_input_is_never_replaced(folder, upscaler):
    before = (folder / "a.png").read_bytes()
    [report] = upscale_files(upscaler, folder / "a.png", folder)
    assert report["status"] == "error"
    assert "would replace the input" in report["reason"]
    assert (folder / "a.png").read_bytes() == before


def test_two_inputs_never_share_a_result(folder, upscaler, tmp_path):
    given = [tmp_path / name for name in ("p/a.png", "q/a.png", "r/q/a.png")]
    for path in given:
        path.parent.mkdir(parents=True)
        shutil.copy(folder / "a.png", path)
    reports = upscale_files(upscaler, [*given[:2], tmp_path / "r"], tmp_path / "out")
    assert len({r["output"] for r in reports}) == 3
    (tmp_path / "links" / "p").mkdir(parents=True)
    (tmp_path / "links" / "q").symlink_to("p")
    reports = upscale_files(upscaler, given[:2], tmp_path / "links")
    assert [r["status"] for r in reports] == ["ok", "error"]
    assert "another input" in reports[1]["reason"]


def test_an_input_that_is_given_twice_is_taken_once(folder, upscaler, tmp_path, caplog):
    (folder / "link.png").symlink_to(folder / "a.png")
    given = [folder, folder / "a.png", folder / "sub", folder / "sub" / ".." / "a.png"]
    with caplog.at_level("INFO", "ppsr"):
        reports = upscale_files(upscaler, given, tmp_path / "out")
    assert {r["status"] for r in reports} == {"ok"}
    found = {str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.png")}
    assert found == {"a.png", "b.png", "link.png", "sub/a.png", "sub/deep/c.png"}
    assert len(reports) == len(found)
    assert "4 inputs were given more than once and are taken once" in caplog.text
    assert len(upscale_files(upscaler, [folder / "a.png"] * 2, tmp_path / "one.png")) == 1


def test_a_run_goes_on_where_it_was_interrupted(folder, upscaler, tmp_path):
    upscale_files(upscaler, folder, tmp_path / "out")
    (tmp_path / "out" / "b.png").unlink()
    stamp = (tmp_path / "out" / "a.png").stat().st_mtime_ns
    reports = upscale_files(upscaler, folder, tmp_path / "out", skip_existing=True)
    assert [r["status"] for r in reports] == ["skipped", "ok", "skipped", "skipped"]
    assert (tmp_path / "out" / "a.png").stat().st_mtime_ns == stamp
    assert exit_code(reports) == 0


def test_a_result_of_another_format_or_size_is_not_the_one_that_is_wanted(folder, upscaler, tmp_path):
    upscale_files(upscaler, folder / "a.png", tmp_path / "out")
    other = {"extension": "webp", "skip_existing": True}
    [report] = upscale_files(upscaler, folder / "a.png", tmp_path / "out", **other)
    assert report["status"] == "ok"
    [report] = upscale_files(
        Upscaler(Repeat(), outscale=3), folder / "a.png", tmp_path / "out", skip_existing=True
    )
    assert report["output_size"] == [108, 72]
    (tmp_path / "out" / "a.png").write_bytes(b"")
    [report] = upscale_files(upscaler, folder / "a.png", tmp_path / "out", skip_existing=True)
    assert report["status"] == "ok"


def test_turned_images_are_done_once(upscaler, tmp_path):
    (tmp_path / "a.jpg").write_bytes(packed(colours(), "JPEG", exif=exif(6)))
    for status in ("ok", "skipped"):
        [report] = upscale_files(upscaler, tmp_path / "a.jpg", tmp_path / "out", skip_existing=True)
        assert report["status"] == status


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_names_that_are_no_text_are_done_and_reported(folder, upscaler, tmp_path):
    (folder / "a.png").rename(folder / os.fsdecode(b"a\xff.png"))
    reports = upscale_files(upscaler, folder, tmp_path / "out", recursive=False)
    assert [r["status"] for r in reports] == ["ok", "ok"]
    lines = (tmp_path / "out" / "report.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == reports
    assert (tmp_path / "out" / os.fsdecode(b"a\xff.png")).is_file()


def test_results_that_are_too_large_are_refused_before_they_are_computed(tmp_path):
    (tmp_path / "a.png").write_bytes(packed(colours(), "PNG"))
    backend = Repeat()
    for scale, options, limit in (
        (5, FileOptions(max_pixels=1000), "16,000"),
        (2, FileOptions(max_output_pixels=3000), "3,000"),
    ):
        [report] = upscale_files(
            Upscaler(backend, outscale=scale), tmp_path / "a.png", tmp_path / "out", options=options
        )
        assert f"pixels, allowed are {limit}" in report["reason"]
    assert backend.seen == []


@pytest.mark.parametrize("ext", ["png", "jpg", "webp", "bmp", "tif", "same", ".PNG"])
def test_results_have_the_wanted_format(ext, folder, upscaler, tmp_path):
    reports = upscale_files(upscaler, folder, tmp_path / "out", extension=ext)
    assert exit_code(reports) == 0
    expected = ["png", "jpg", "png", "webp"] if ext == "same" else [ext.lower().lstrip(".")] * 4
    assert [r["output"].rpartition(".")[2] for r in reports] == expected


def test_alpha_becomes_png_in_a_folder_and_an_error_by_name(upscaler, tmp_path):
    source = tmp_path / "a.png"
    source.write_bytes(packed(np.dstack([colours(), colours()[..., 0]]), "PNG"))
    [report] = upscale_files(upscaler, source, tmp_path / "out", extension="jpg")
    assert report["status"] == "warn"
    assert report["output"] == str(tmp_path / "out" / "a.png")
    [again] = upscale_files(upscaler, source, tmp_path / "out", extension="jpg", skip_existing=True)
    assert again["status"] == "skipped"
    [named] = upscale_files(upscaler, source, tmp_path / "b.jpg")
    assert "no alpha" in named["reason"]
    assert exit_code([named]) == 3


def test_the_png_of_an_image_with_alpha_replaces_no_other_image(upscaler, tmp_path):
    clear = packed(np.dstack([colours(), colours()[..., 0]]), "PNG")
    for name in ("a.png", "b.png", "c.jpg", "c.png"):  # by contents also the JPEG has alpha
        (tmp_path / name).write_bytes(clear)
    reports = upscale_files(upscaler, tmp_path, tmp_path, extension="jpg")
    names = {Path(r["path"]).name: Path(r.get("output", "")).name for r in reports}
    assert names == {"a.png": "", "b.png": "", "c.jpg": "c.jpg.png", "c.png": "c.png.png"}
    assert [r["error"] for r in reports[:2]] == ["DataError"] * 2
    assert all((tmp_path / name).read_bytes() == clear for name in names)


def test_a_folder_or_report_that_cannot_be_written_is_named_at_once(upscaler, tmp_path):
    (tmp_path / "a.png").write_bytes(packed(colours(), "PNG"))
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(DataError, match=r"cannot make the folder .*file: File exists"):
        upscale_files(upscaler, tmp_path / "a.png", tmp_path / "file")
    with pytest.raises(DataError, match=r"cannot write the report .*Is a directory"):
        upscale_files(upscaler, tmp_path / "a.png", tmp_path / "out", report=tmp_path)


def test_any_error_of_one_input_is_its_line(upscaler, tmp_path, monkeypatch):
    """Whatever a library raises, such as an UnicodeDecodeError for a title in Latin-1."""

    def fails(source, **options):
        if Path(source).name == "b.png":
            raise UnicodeDecodeError("utf-8", b"\xe9", 0, 1, "invalid continuation byte")
        return read_image_file(source, **options)

    for name in "abc":
        (tmp_path / f"{name}.png").write_bytes(packed(colours(), "PNG"))
    monkeypatch.setattr("ppsr.inference.upscale_files.read_image_file", fails)
    reports = upscale_files(upscaler, tmp_path, tmp_path / "out")
    assert [r["status"] for r in reports] == ["ok", "error", "ok"]
    assert "invalid continuation byte" in reports[1]["reason"]


def test_an_error_of_the_writer_belongs_to_its_input(upscaler, tmp_path, monkeypatch):
    """It shows while the next image is being computed."""
    for name in "abc":
        (tmp_path / f"{name}.png").write_bytes(packed(colours(), "PNG"))
    write = files_module.quantise

    def full(rows, dtype):
        if "b.png" in str(writing[-1]):
            raise OSError(28, "No space left on device")
        return write(rows, dtype)

    writing = []
    write_rows = files_module.write_rows

    def opened(target, wanted, rows):
        writing.append(target)
        return write_rows(target, wanted, rows)

    monkeypatch.setattr(files_module, "quantise", full)
    monkeypatch.setattr(files_module, "write_rows", opened)
    reports = upscale_files(upscaler, tmp_path, tmp_path / "out")
    assert [r["status"] for r in reports] == ["ok", "error", "ok"]
    assert "No space left" in reports[1]["reason"]
    assert list_files(tmp_path / "out") == ["a.png", "c.png"]


def test_reading_and_writing_go_on_while_the_network_computes(tmp_path):
    """Each waits for something that only another thread does."""
    later = threading.Event()

    class Waits(Repeat):
        def run(self, x):
            if not self.seen:  # the first image: the second one is read meanwhile
                assert later.wait(10)
            return super().run(x)

    def reads(source, **options):
        if Path(source).name == "b.png":
            later.set()
        return read_image_file(source, **options)

    for name in "ab":
        (tmp_path / f"{name}.png").write_bytes(packed(colours(), "PNG"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files_module, "read_image_file", reads)
        reports = upscale_files(Upscaler(Waits()), tmp_path, tmp_path / "out")
    assert [r["status"] for r in reports] == ["ok", "ok"]


def test_one_line_per_input_tells_which_and_how_far(folder, upscaler, tmp_path, caplog):
    (folder / "bad.png").write_text("no image")
    with caplog.at_level("INFO", "ppsr"):
        upscale_files(upscaler, folder, tmp_path / "out")
    lines = [record.getMessage() for record in caplog.records]
    assert [line.split(":")[0] for line in lines] == [f"{n} of 5" for n in range(1, 6)]
    for line, name in zip(lines, ("a.png", "b.jpg", "bad.png", "sub/a.png", "sub/deep/c.webp"), strict=True):
        assert line.count(str(folder / name)) == 1


def test_paths_in_the_report_hold_in_every_folder(folder, upscaler, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    [report] = upscale_files(upscaler, folder.relative_to(tmp_path) / "a.png", Path("out"))
    assert json.loads((tmp_path / "out/report.jsonl").read_text()) == report
    monkeypatch.chdir("/")
    assert Path(report["path"]) == folder / "a.png"
    assert Path(report["output"]) == tmp_path / "out" / "a.png"


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
