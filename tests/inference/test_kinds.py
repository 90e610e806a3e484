"""What becomes of each kind of file, in one run over a folder that holds them all."""

import json
import re
import tempfile
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from ppsr.errors import ConfigError
from ppsr.evaluation.evaluate import evaluate
from ppsr.imaging.reading import read_image_file
from ppsr.inference.results import exit_code
from ppsr.inference.upscale_files import FileOptions
from ppsr.inference.upscaler import Upscaler
from tests.imaging.kinds import HEIGHT, WIDTH, colours, half, packed, write_kinds
from tests.inference.helpers import Repeat, small_network, upscale_files

WARN = {
    "no_end_marker.jpg": "end marker is missing",
    "cmyk.jpg": "CMYK",
    "ycck.jpg": "CMYK",
    "animated.gif": "3 frames",
    "animated.webp": "3 frames",
    "animated.png": "3 frames",
    "pages.tif": "3 frames or pages",
}
FAIL = {
    "truncated.jpg": "truncated",
    "truncated.png": "truncated",
    "no_iend.png": "truncated",
    "bad_data.png": "checksum",
    "bad_stream.png": "cannot decode|truncated",
    "photo.avif": "cannot decode",
    "float32.tif": "32-bit float samples",
    "float32_gray.tif": "32-bit float samples",
    "empty.png": "is empty",
    "text.png": "not an image",
    "page.jpg": "not an image",
    "dangling.png": "No such file",
    "claims_2_to_31.png": "pixels, allowed are",
    "zero_width.png": "header is damaged|empty",
    "claims_40000.png": "1,600,000,000 pixels",
    "bomb_32000.png": "1,024,000,000 pixels",
}
SKIP = {"notes.txt": "not an image or video", "folder.png": "a folder"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kinds")
    source = folder / "in"
    source.mkdir()
    kinds = write_kinds(source)
    reports = upscale_files(Upscaler(Repeat()), source, folder / "out")
    return kinds, {report["path"]: report for report in reports}, source, folder / "out"


def _names():
    with tempfile.TemporaryDirectory() as folder:
        return sorted(write_kinds(Path(folder)))


@pytest.mark.parametrize("name", _names())
def test_each_kind_gives_what_is_stated(run, name):
    kinds, reports, source, _ = run
    report = reports[str(source / name)]
    if name in FAIL or name in SKIP:
        assert report["status"] == ("error" if name in FAIL else "skipped")
        assert re.search((FAIL | SKIP)[name], report["reason"]), report["reason"]
        assert "output" not in report
        return
    assert report["status"] == ("warn" if name in WARN else "ok"), report
    assert WARN.get(name, "") in report.get("reason", "")
    expected = kinds[name]
    written = read_image_file(report["output"], max_pixels=2**28)
    pixels = written.pixels[..., 0] if expected.ndim == 2 else written.pixels
    assert pixels.dtype == expected.dtype
    large = expected.repeat(2, 0).repeat(2, 1)
    assert pixels.shape == large.shape
    if large.ndim == 3 and large.shape[2] in (2, 4):  # colours under full transparency may change
        visible = large[..., -1] > 0
        np.testing.assert_array_equal(pixels[..., -1], large[..., -1])
        np.testing.assert_array_equal(pixels[visible], large[visible])
    else:
        np.testing.assert_array_equal(pixels, large)
    assert report["size"] == [expected.shape[1], expected.shape[0]]
    assert report["output_size"] == [2 * expected.shape[1], 2 * expected.shape[0]]
    assert report["seconds"] >= 0


def test_the_run_is_reported_line_by_line_and_its_exit_code_is_1(run):
    _, reports, _, out = run
    lines = [json.loads(line) for line in (out / "report.jsonl").read_text(encoding="utf-8").splitlines()]
    assert lines == list(reports.values())
    assert exit_code(lines) == 1
    assert {line["status"] for line in lines} == {"ok", "warn", "error", "skipped"}


def test_nothing_but_results_is_left_behind(run):
    _, reports, _, out = run
    outputs = {report["output"] for report in reports.values() if "output" in report}
    assert {str(path) for path in out.rglob("*")} == outputs | {str(out / "report.jsonl")}


def test_images_that_were_turned_are_turned_once_and_say_so(run):
    _, reports, source, _ = run
    for name in ("turned.jpg", "turned.png"):
        with Image.open(reports[str(source / name)]["output"]) as image:
            assert image.size == (2 * HEIGHT, 2 * WIDTH)
            assert image.getexif().get(0x0112, 1) == 1
            assert image.getexif()[0x010F] == "Maker"


def test_truncated_jpegs_can_be_forced(tmp_path):
    (tmp_path / "half.jpg").write_bytes(half(packed(colours(), "JPEG", quality=92)))
    [report] = upscale_files(
        Upscaler(Repeat()), tmp_path / "half.jpg", tmp_path / "out", options=FileOptions(allow_truncated=True)
    )
    assert report["status"] == "warn"
    assert "truncated" in report["reason"]


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (10, 2), (3, 40)])
@pytest.mark.parametrize("name", ["SwinIR", "SRVGGNetCompact", "RRDBNet"])
def test_sides_smaller_than_a_window_work(name, size, rng):
    net = small_network(name)
    image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    assert Upscaler(net)(image).shape == (net.scale * size[0], net.scale * size[1], 3)


LOW, HIGH = -40.0, 160.0


def _save(path, image):
    planes = "contig" if image.ndim == 3 else None
    tifffile.imwrite(path, image, photometric="minisblack", planarconfig=planes, metadata=None)


def _write(path, shape=(12, 17)):
    path.parent.mkdir(exist_ok=True)
    image = np.random.default_rng(0).uniform(LOW, HIGH, shape).astype(np.float32)
    _save(path, image)
    return image


def _upscale(network, source, target, **options):
    [report] = upscale_files(Upscaler(network), source, target, options=FileOptions(**options))
    return report


@pytest.mark.parametrize("bands", [1, 6])
def test_results_are_floats_of_the_same_range(bands, tmp_path):
    shape = (12, 17, bands) if bands > 1 else (12, 17)
    image = _write(tmp_path / "in" / "a.tif", shape)
    network = Repeat(channels=bands)
    report = _upscale(network, tmp_path / "in" / "a.tif", tmp_path / "b.tif", value_range=(LOW, HIGH))
    assert report["status"] == "ok", report
    result = tifffile.imread(tmp_path / "b.tif")
    assert result.dtype == np.float32
    # float32 of [0, 1] and back: two roundings of the range
    np.testing.assert_allclose(result, image.repeat(2, 0).repeat(2, 1), atol=2**-23 * (HIGH - LOW))


def test_a_folder_of_floats_can_be_done_again(tmp_path):
    _write(tmp_path / "in" / "a.tif")
    for status in ("ok", "skipped"):
        options = {"extension": "tif", "options": FileOptions(value_range=(LOW, HIGH))}
        [report] = upscale_files(
            Upscaler(Repeat()), tmp_path / "in", tmp_path / "o", skip_existing=True, **options
        )
        assert report["status"] == status, report


def test_formats_without_floats_are_refused(tmp_path):
    _write(tmp_path / "in" / "a.tif")
    report = _upscale(Repeat(), tmp_path / "in" / "a.tif", tmp_path / "b.png", value_range=(LOW, HIGH))
    assert "png does not hold floats; use tif" in report["reason"]


def test_without_a_range_the_option_is_named(tmp_path):
    _write(tmp_path / "in" / "a.tif")
    report = _upscale(Repeat(), tmp_path / "in" / "a.tif", tmp_path / "b.tif")
    assert "--value-range" in report["reason"]
    for wrong in ((1.0, 0.0), (0.0, np.inf), (np.nan, 1.0), (0.0, 1e39)):
        with pytest.raises(ConfigError, match="value_range must be two 32-bit floats"):
            FileOptions(value_range=wrong)


@pytest.mark.parametrize("bands", [1, 6])
def test_floats_of_many_bands_are_scored_and_drawn(bands, tmp_path):
    """PSNR of images that differ by 10 of 255 levels everywhere."""
    from ppsr.evaluation.report import write_report

    shape = (32, 32, bands) if bands > 1 else (32, 32)
    level = (HIGH - LOW) / 255
    for folder, value in (("hr", 100), ("sr", 110)):
        (tmp_path / folder).mkdir()
        image = np.full(shape, LOW + value * level, np.float32)
        _save(tmp_path / folder / "a.tif", image)
    folders = {"gt": tmp_path / "hr", "sr": tmp_path / "sr"}
    result = evaluate(protocol="reflash", scale=4, metrics=["psnr"], value_range=(LOW, HIGH), **folders)
    assert result.sets[0].means["psnr"] == pytest.approx(20 * np.log10(255 / 10), abs=1e-6)
    write_report(result, tmp_path / "report")
    assert len(list((tmp_path / "report").glob("*.png"))) == 1


@pytest.mark.parametrize(("low", "high"), [(0, 255), (-1, 1), (0, 1.6)])
def test_floats_of_another_range_are_refused(low, high):
    image = np.linspace(low, high, 48, dtype=np.float32).reshape(4, 4, 3)
    with pytest.raises(ValueError, match=rf"type float must be in \[0, 1\], got {low} to {high}; divide"):
        Upscaler(Repeat())(image)


def test_floats_that_overshoot_a_little_are_taken():
    image = np.linspace(-0.4, 1.4, 48, dtype=np.float32).reshape(4, 4, 3)
    assert Upscaler(Repeat())(image).max() == 1
