"""What becomes of each kind of file, in one run over a folder that holds them all."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from PIL import Image

from ppsr.errors import DataError
from ppsr.imaging.reading import read_file
from ppsr.inference.files import FileOptions, exit_code, upscale_files
from ppsr.inference.upscaler import Upscaler
from tests.inference.helpers import Repeat, small_network
from tests.inference.kinds import HEIGHT, WIDTH, colours, half, packed, write_kinds

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
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        return sorted(write_kinds(Path(folder)))


@pytest.mark.parametrize("name", _names())
def test_each_kind_gives_what_is_stated(run, name):
    import re

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
    written = read_file(report["output"], max_pixels=2**28)
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


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_16_bit_tiff_files_are_turned_once(orientation, tmp_path):
    """OpenCV decodes these; it must not leave the turn to us, nor we to it."""
    deep = colours()[..., 0].astype(np.uint16) * 257
    (tmp_path / "a.tif").write_bytes(packed(deep, "TIFF", tiffinfo={274: orientation}))
    pixels = read_file(tmp_path / "a.tif").pixels
    assert pixels.dtype == np.uint16
    np.testing.assert_array_equal(pixels[..., 0], np.rot90(deep, {3: 2, 6: -1, 8: 1}[orientation]))


def test_truncated_jpegs_can_be_forced(tmp_path):
    (tmp_path / "half.jpg").write_bytes(half(packed(colours(), "JPEG", quality=92)))
    [report] = upscale_files(
        Upscaler(Repeat()), tmp_path / "half.jpg", tmp_path / "out", options=FileOptions(allow_truncated=True)
    )
    assert report["status"] == "warn"
    assert "truncated" in report["reason"]


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("cut", [1, 2, 3, 10, 40])
def test_a_jpeg_is_complete_exactly_if_its_image_is(progressive, cut, tmp_path):
    """Cutting the marker loses nothing; cutting deeper is noticed unless the pixels are all there."""
    content = packed(colours(), "JPEG", quality=92, progressive=progressive)
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    whole = read_file(path).pixels
    path.write_bytes(content[:-cut])
    try:
        image = read_file(path)
    except DataError as error:
        assert cut > 2
        assert "truncated" in str(error)
    else:
        assert image.warnings
        np.testing.assert_array_equal(image.pixels, whole)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (10, 2), (3, 40)])
@pytest.mark.parametrize("name", ["SwinIR", "SRVGGNetCompact", "RRDBNet"])
def test_sides_smaller_than_a_window_work(name, size, rng):
    net = small_network(name)
    image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    assert Upscaler(net)(image).shape == (net.scale * size[0], net.scale * size[1], 3)


def test_cmyk_is_converted_by_its_profile_or_without_it(tmp_path):
    cmyk = Image.fromarray(colours()).convert("CMYK")
    (tmp_path / "a.jpg").write_bytes(packed(cmyk, "JPEG", icc_profile=b"not a profile"))
    image = read_file(tmp_path / "a.jpg")
    assert image.metadata.icc is None
    assert "ignored" in image.warnings[0]
    assert image.pixels.shape == (HEIGHT, WIDTH, 3)


def test_the_limit_of_pixels_can_be_raised_and_lowered(tmp_path):
    (tmp_path / "a.png").write_bytes(packed(colours(), "PNG"))
    with pytest.raises(DataError, match="864 pixels, allowed are 863"):
        read_file(tmp_path / "a.png", max_pixels=863)
    assert read_file(tmp_path / "a.png", max_pixels=864).pixels.shape == (24, 36, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_the_one_of_another_decoder(orientation, tmp_path):
    tags = Image.Exif()
    tags[0x0112] = orientation
    content = packed(colours(), "JPEG", quality=95, exif=tags)
    (tmp_path / "a.jpg").write_bytes(content)
    upright = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    pixels = read_file(tmp_path / "a.jpg").pixels
    assert pixels.shape == upright.shape
    assert np.abs(pixels.astype(int) - upright).max() <= 3


def test_damaged_files_never_raise_anything_but_data_errors(tmp_path, rng):
    """Bytes changed, cut and repeated at random in every kind of file."""
    source = tmp_path / "in"
    source.mkdir()
    write_kinds(source)
    decoded = refused = 0
    for path in sorted(source.iterdir()):
        if not path.is_file() or path.stat().st_size > 100_000:
            continue
        content = path.read_bytes()
        for _ in range(12):
            damaged = bytearray(content)
            for at in rng.integers(0, max(1, len(content)), int(rng.integers(1, 6))) if content else ():
                damaged[at] = int(rng.integers(0, 256))
            if rng.random() < 0.3:
                damaged = damaged[: int(rng.integers(0, len(damaged) + 1))]
            target = tmp_path / "damaged"
            target.write_bytes(bytes(damaged))
            try:
                read_file(target, max_pixels=10**6)
                decoded += 1
            except DataError as error:
                assert str(target) in str(error)
                refused += 1
    assert refused > 100
    assert decoded > 20
