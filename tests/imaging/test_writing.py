"""Files written row by row, read by other decoders: pixels, profile, EXIF, limits, nothing half-written."""

import tracemalloc
import zlib
from itertools import pairwise

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, IptcImagePlugin, PngImagePlugin

from ppsr.errors import DataError
from ppsr.imaging.formats import tiff
from ppsr.imaging.formats.common import Target
from ppsr.imaging.io import decode_image, write_image
from ppsr.imaging.metadata import COMMENT, IPTC, IPTC_RECORDS, Metadata
from ppsr.imaging.reading import read_image_file
from ppsr.imaging.writing import supported_dtype, write_rows
from tests.imaging.kinds import colours, exif, profile


def _write(path, image, cuts=(1, 7, 20), quality=95, **metadata):
    pixels = image[..., None] if image.ndim == 2 else image
    alpha = pixels.shape[2] in (2, 4)
    target = Target(*pixels.shape, pixels.dtype, Metadata(**metadata), quality, alpha)
    edges = [0, *[cut for cut in cuts if cut < len(pixels)], len(pixels)]
    write_rows(path, target, (pixels[first:last] for first, last in pairwise(edges)))


def _exif(image):
    """The block of `exif()` for an upright image."""
    block = exif().tobytes().removeprefix(b"Exif\0\0")
    return Metadata(exif=block).of_result(image.shape[:2], 3, "png")[0].exif


def _decoded(path):
    """As OpenCV reads it, RGB order."""
    pixels = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    assert pixels is not None
    return pixels if pixels.ndim == 2 else pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]


def _image(channels, dtype, rng, height=50, width=37):
    high = np.iinfo(dtype).max + 1
    image = rng.integers(0, high, (height, width, channels)).astype(dtype)
    image[10:30] = np.arange(width, dtype=dtype)[None, :, None]
    return image[..., 0] if channels == 1 else image


@pytest.mark.smoke
@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_png_and_tiff_are_exact(suffix, dtype, channels, tmp_path, rng):
    image, path = _image(channels, dtype, rng), tmp_path / f"a{suffix}"
    _write(path, image, exif=_exif(image))
    ours = read_image_file(path)
    np.testing.assert_array_equal(ours.pixels[..., 0] if channels == 1 else ours.pixels, image)
    assert b"2024:01:02" in ours.metadata.exif
    if dtype == np.uint8 and channels in (2, 4):  # OpenCV multiplies the alpha in
        with Image.open(path) as opened:
            np.testing.assert_array_equal(np.asarray(opened), image)
    elif channels == 2 and suffix == ".tif":
        np.testing.assert_array_equal(tifffile.imread(path), image)
    elif channels != 2:
        np.testing.assert_array_equal(_decoded(path), image)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("width", [1, 2, 3, 36, 37])
def test_bmp_is_exact_at_every_width(channels, width, tmp_path, rng):
    image = _image(channels, np.uint8, rng, width=width)
    _write(tmp_path / "a.bmp", image)
    with Image.open(tmp_path / "a.bmp") as opened:
        np.testing.assert_array_equal(np.asarray(opened), image)
    decoded = _decoded(tmp_path / "a.bmp")
    decoded = decoded[..., 0] if channels == 1 and decoded.ndim == 3 else decoded
    np.testing.assert_array_equal(decoded, image)


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
@pytest.mark.parametrize("gray", [False, True])
def test_jpeg_and_webp_are_near(suffix, gray, tmp_path):
    image = colours()[..., 0] if gray else colours()
    _write(tmp_path / f"a{suffix}", image, quality=98)
    decoded = _decoded(tmp_path / f"a{suffix}")
    decoded = decoded[..., 0] if gray and decoded.ndim == 3 else decoded
    assert np.abs(decoded.astype(int) - image).mean() < 2
    assert [path.name for path in tmp_path.iterdir()] == [f"a{suffix}"]


@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (7, 9), (64, 40), (65, 33), (200, 72), (640, 24)])
def test_jpeg_by_strips_equals_jpeg_at_once(size, gray, tmp_path, rng):
    """The same pixels from two other decoders, whatever rows come at a time."""
    image = rng.integers(0, 256, size if gray else (*size, 3), dtype=np.uint8)
    _write(tmp_path / "a.jpg", image, cuts=(3, 70, 71, 150), quality=90)
    factor = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    _, whole = cv2.imencode(".jpg", image[..., ::-1] if not gray else image, [1, 90, *factor])
    expected = cv2.imdecode(whole, cv2.IMREAD_UNCHANGED)
    expected = expected if gray else expected[..., ::-1]
    np.testing.assert_array_equal(_decoded(tmp_path / "a.jpg"), expected)
    with Image.open(tmp_path / "a.jpg") as opened:
        assert np.abs(np.asarray(opened).astype(int) - expected).max() <= 1


@pytest.mark.parametrize("channels", [2, 4])
def test_webp_keeps_alpha(channels, tmp_path, rng):
    image = np.dstack([colours(), colours()[..., 0]])[..., 4 - channels :]
    _write(tmp_path / "a.webp", np.ascontiguousarray(image), quality=98)
    decoded = _decoded(tmp_path / "a.webp")
    np.testing.assert_array_equal(decoded[..., 3], image[..., -1])


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
@pytest.mark.parametrize("channels", [3, 4])
def test_profile_and_exif_arrive(suffix, channels, tmp_path):
    if suffix == ".jpg" and channels == 4:
        pytest.skip("JPEG has no alpha")
    image = np.dstack([colours(), colours()[..., 0]])[..., :channels]
    block = _exif(image)
    _write(tmp_path / f"a{suffix}", np.ascontiguousarray(image), icc=profile(), exif=block)
    with Image.open(tmp_path / f"a{suffix}") as opened:
        assert opened.info["icc_profile"] == profile()
        tags = opened.getexif()
        assert tags[0x010F] == "Maker"
        assert tags.get(0x0112, 1) == 1
        assert tags.get_ifd(0x8769)[0x9003] == "2024:01:02 03:04:05"
        assert tags.get_ifd(0x8769)[0xA002] == image.shape[1]
        assert tags.get_ifd(0x8825)[1] == "N"
    assert _decoded(tmp_path / f"a{suffix}").shape == image.shape


def test_long_profiles_take_several_jpeg_segments(tmp_path):
    long = profile() + bytes(150_000)
    _write(tmp_path / "a.jpg", colours(), icc=long)
    with Image.open(tmp_path / "a.jpg") as opened:
        assert opened.info["icc_profile"] == long


def test_formats_say_what_they_cannot_hold():
    deep = np.dtype(np.uint16)
    assert supported_dtype(".png", Target(5, 5, 4, deep, alpha=True)) == (deep, [])
    dtype, lost = supported_dtype(".jpg", Target(5, 5, 3, deep))
    assert dtype == np.uint8
    assert "16 were reduced" in lost[0]
    for suffix, target, message in (
        (".jpg", Target(5, 65_501, 3, np.dtype(np.uint8)), "65,500 pixels a side"),
        (".webp", Target(16_384, 5, 3, np.dtype(np.uint8)), "16,383 pixels a side"),
        (".bmp", Target(40_000, 40_000, 3, np.dtype(np.uint8)), "4 GB"),
        (".jpg", Target(5, 5, 4, np.dtype(np.uint8), alpha=True), "no alpha"),
        (".png", Target(5, 5, 4, np.dtype(np.uint8)), "4 bands; use tif"),
        (".psd", Target(5, 5, 3, np.dtype(np.uint8)), "format '.psd' is unknown"),
    ):
        with pytest.raises(DataError, match=message):
            supported_dtype(suffix, target)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp"])
def test_an_interrupted_image_leaves_nothing(suffix, tmp_path):
    def rows():
        yield colours()[:10]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_rows(tmp_path / f"a{suffix}", Target(24, 36, 3, np.dtype(np.uint8)), rows())
    assert not list(tmp_path.iterdir())


def test_missing_rows_are_noticed(tmp_path):
    with pytest.raises(DataError):
        write_rows(tmp_path / "a.tif", Target(24, 36, 3, np.dtype(np.uint8)), iter([colours()[:10]]))
    assert not list(tmp_path.iterdir())


def test_tiff_files_over_four_gigabytes_are_bigtiff(tmp_path, monkeypatch, rng):
    monkeypatch.setattr(tiff, "_FOUR_GIGABYTES", 3000)
    image = rng.integers(0, 256, (50, 37, 3), dtype=np.uint8)
    _write(tmp_path / "a.tif", image)
    assert (tmp_path / "a.tif").read_bytes()[:4] == b"II+\0"
    np.testing.assert_array_equal(read_image_file(tmp_path / "a.tif").pixels, image)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp"])
def test_the_resolution_arrives(suffix, tmp_path):
    _write(tmp_path / f"a{suffix}", colours(), dpi=(300.0, 150.0))
    with Image.open(tmp_path / f"a{suffix}") as opened:
        assert opened.info["dpi"] == pytest.approx((300, 150), abs=0.5)
    assert read_image_file(tmp_path / f"a{suffix}").metadata.dpi == pytest.approx((300, 150), abs=0.5)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp"])
def test_xmp_arrives_upright(suffix, tmp_path):
    packet = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><d tiff:Orientation="6">Z\xc3\xbcrich</d></x:xmpmeta>'
    kept = Metadata(xmp=packet).of_result((24, 36), 3, "png")[0].xmp
    _write(tmp_path / f"a{suffix}", colours(), xmp=kept)
    with Image.open(tmp_path / f"a{suffix}") as opened:
        assert opened.info["xmp"] == packet.replace(b'"6"', b'"1"')
    assert read_image_file(tmp_path / f"a{suffix}").metadata.xmp == packet.replace(b'"6"', b'"1"')


def test_colour_chunks_of_png_arrive(tmp_path):
    chunks = {b"gAMA": (45455).to_bytes(4, "big"), b"cICP": bytes([9, 16, 0, 1])}
    chunks |= {b"mDCV": bytes(range(24)), b"cLLI": bytes(range(8)), b"pHYs": b"\0\0\0\2\0\0\0\1\0"}
    _write(tmp_path / "a.png", colours(), chunks=chunks)
    assert read_image_file(tmp_path / "a.png").metadata.chunks == chunks
    with Image.open(tmp_path / "a.png") as opened:
        assert opened.info["gamma"] == 0.45455


def test_texts_of_png_arrive(tmp_path):
    texts = PngImagePlugin.PngInfo()
    texts.add_text("parameters", "a cat, Steps: 20", zip=True)
    texts.add_itxt("Title", "cat", "en")
    texts.add_itxt("Title", "Katze \u4e2d", "de")
    Image.fromarray(colours()).save(tmp_path / "in.png", pnginfo=texts)
    read = read_image_file(tmp_path / "in.png").metadata
    _write(tmp_path / "a.png", colours(), texts=read.of_result((24, 36), 3, "png")[0].texts)
    with Image.open(tmp_path / "a.png") as opened:
        assert opened.text == {"parameters": "a cat, Steps: 20", "Title": "Katze \u4e2d"}
    assert sum(b"Title" in body for _, body in read_image_file(tmp_path / "a.png").metadata.texts) == 2
    assert "texts" in read.of_result((24, 36), 3, "tiff")[1][0]


def test_comments_and_iptc_of_jpeg_arrive(tmp_path):
    record = b"\x1c\x02\x05\x00\x05Title"
    block = b"Photoshop 3.0\0" + IPTC_RECORDS + bytes(2) + len(record).to_bytes(4, "big") + record
    texts = ((COMMENT, "S\u00fcd".encode()), (IPTC, block))
    _write(tmp_path / "a.jpg", colours(), texts=texts)
    with Image.open(tmp_path / "a.jpg") as opened:
        assert opened.info["comment"] == "S\u00fcd".encode()
        assert IptcImagePlugin.getiptcinfo(opened) == {(2, 5): b"Title"}
    read = read_image_file(tmp_path / "a.jpg").metadata
    assert read.texts == texts
    as_png, lost = read.of_result((24, 36), 3, "png")
    assert "IPTC" in lost[0]
    _write(tmp_path / "a.png", colours(), texts=as_png.texts)
    with Image.open(tmp_path / "a.png") as opened:
        assert opened.text == {"Comment": "S\u00fcd"}


@pytest.mark.parametrize(
    ("kind", "metadata", "word"),
    [
        ("bmp", {"xmp": b"x", "dpi": (1.0, 1.0)}, "XMP"),
        ("webp", {"dpi": (300.0, 300.0)}, "resolution"),
        ("jpeg", {"chunks": {b"gAMA": bytes(4)}}, "colour chunks"),
        ("jpeg", {"chunks": {b"pHYs": bytes(9)}}, "shape of the pixels"),
        ("jpeg", {"xmp": bytes(70_000)}, "XMP"),
        ("jpeg", {"exif": b"II*\0\x08" + bytes(70_000)}, "EXIF"),
        ("jpeg", {"icc": b"x" * 16 + b"GRAY"}, "profile"),
    ],
)
def test_what_a_format_cannot_hold_is_named(kind, metadata, word):
    assert word in Metadata(**metadata).of_result((4, 4), 3, kind)[1][0]


@pytest.mark.parametrize("bands", [5, 13])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_bands_are_exact_in_tiff(bands, dtype, tmp_path, rng):
    image = rng.integers(0, np.iinfo(dtype).max, (70, 9, bands), dtype=dtype)
    _write(tmp_path / "a.tif", image)
    read = read_image_file(tmp_path / "a.tif")
    np.testing.assert_array_equal(read.pixels, image)
    assert not read.alpha


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp", ".jpg", ".webp"])
def test_arrays_are_written_by_suffix(suffix, tmp_path, rng):
    for shape in ((24, 36), (24, 36, 3)):
        image = np.full(shape, 0.25, np.float32)
        write_image(tmp_path / f"a{suffix}", image)
        assert np.abs(decode_image(tmp_path / f"a{suffix}").astype(int) - 64).max() <= 1


@pytest.mark.parametrize("size", [(20, 30), (64, 30), (200, 211)])
def test_a_png_holds_the_differences_of_its_rows(size, tmp_path, rng):
    image = _image(3, np.uint8, rng, *size)
    lines = np.diff(image.reshape(len(image), -1), axis=0, prepend=np.uint8(0))
    expected = np.pad(lines, ((0, 0), (1, 0)), constant_values=2).tobytes()
    for write in (write_image, _write):
        write(tmp_path / "a.png", image)
        content, at, found = (tmp_path / "a.png").read_bytes(), 8, b""
        while at < len(content):
            length = int.from_bytes(content[at : at + 4], "big")
            found += content[at + 8 : at + 8 + length] if content[at + 4 : at + 8] == b"IDAT" else b""
            at += 12 + length
        assert zlib.decompress(found) == expected


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_writing_an_array_takes_less_memory_than_the_array(suffix, tmp_path):
    image = np.full((12_000, 100, 3), 7, np.uint8)
    tracemalloc.start()
    try:
        write_image(tmp_path / f"a{suffix}", image)
        assert tracemalloc.get_traced_memory()[1] < image.nbytes / 2
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("name", "image", "reason"),
    [
        ("a.jpg", np.zeros((4, 4), np.uint16), r"a\.jpg: .jpg holds uint8"),
        ("a.psd", np.zeros((4, 4), np.uint8), r"a\.psd: the format '\.psd' is unknown"),
        ("a.png", np.zeros((4, 4), np.int64), r"a\.png: samples must be .* got int64"),
        ("a.png", np.full((4, 4), 255.0), r"must be in \[0, 1\], got 255 to 255; divide"),
        ("a.png", np.zeros((0, 4, 3), np.uint8), "the image is empty"),
        ("a.png", np.zeros((1, 4, 4, 3), np.uint8), r"H x W x C, got an array of shape \(1, 4, 4, 3\)"),
        ("a.png", Image.new("RGB", (4, 4)), "must be a numpy array of H x W or H x W x C, got Image"),
    ],
)
def test_arrays_that_a_format_cannot_hold_are_refused(tmp_path, name, image, reason):
    with pytest.raises(DataError, match=reason):
        write_image(tmp_path / name, image)
    assert not list(tmp_path.iterdir())
