"""TIFF files of 16 bits in every arrangement of their samples, and those that lie about themselves."""

import struct
import time

import numpy as np
import pytest
import tifffile
from PIL import Image

from ppsr.errors import DataError
from ppsr.imaging.formats.common import Target
from ppsr.imaging.io import read_image, to_uint8
from ppsr.imaging.metadata import Metadata
from ppsr.imaging.reading import read_image_file
from ppsr.imaging.writing import write_rows
from tests.imaging.kinds import colours, packed, tiff


def _read(path, content):
    path.write_bytes(content)
    return read_image_file(path)


def _samples(rng, channels, height=45, width=37):
    return rng.integers(0, 2**16, (height, width, channels)).astype(np.uint16)


@pytest.mark.smoke
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize(
    "how",
    [
        *({}, {"order": ">"}, {"deflate": True}, {"deflate": True, "order": ">"}, {"tile": 16}),
        *({"tile": 32, "deflate": True}, {"rows": 100}),
        *({"big": True}, {"big": True, "order": ">", "deflate": True}),
    ],
    ids=str,
)
def test_16_bits_are_exact_in_every_arrangement(channels, planar, how, tmp_path, rng):
    image = _samples(rng, channels)
    content = tiff(image, planar=planar, **how)
    np.testing.assert_array_equal(_read(tmp_path / "a.tif", content).pixels, image)


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_16_bits_are_turned_as_8_bits_are(orientation, planar, tmp_path, rng):
    image = _samples(rng, 3, 9, 16) // 257 * 257
    tags = {274: [orientation]}
    deep = _read(tmp_path / "a.tif", tiff(image, planar=planar, tags=tags)).pixels
    flat = _read(tmp_path / "b.tif", tiff((image // 257).astype(np.uint8), tags=tags)).pixels
    np.testing.assert_array_equal(deep, flat.astype(np.uint16) * 257)


def test_a_very_wide_image_of_16_bits_is_exact(tmp_path, rng):
    image = _samples(rng, 3, 2, 500_000)
    np.testing.assert_array_equal(_read(tmp_path / "a.tif", tiff(image, deflate=True)).pixels, image)


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({279: [100] * 7}, "damaged"),
        ({273: [8], 279: [1554]}, "where its parts are"),
        ({273: [2**31] * 7}, "beyond its end"),
        ({279: [2**31] * 7}, "beyond its end"),
        ({278: [0]}, "damaged or not supported"),
        ({258: [16, 8, 16]}, "gray or RGB of one type"),
        ({262: [5]}, "CMYK is supported with 8 bits"),
    ],
)
def test_damaged_and_foreign_files_are_refused(tags, message, tmp_path, rng):
    with pytest.raises(DataError, match=message):
        _read(tmp_path / "a.tif", tiff(_samples(rng, 3), tags=tags))


@pytest.mark.parametrize("deflate", [False, True])
def test_every_truncated_file_is_refused(deflate, tmp_path, rng):
    content = tiff(_samples(rng, 3, 9, 7), deflate=deflate, rows=3)
    for length in range(4, len(content) - 8, 11):
        with pytest.raises(DataError):
            _read(tmp_path / "a.tif", content[:length])


def test_damaged_data_never_shows_memory(tmp_path, rng):
    """Strips that hold fewer rows than stated are an error."""
    image = _samples(rng, 3)
    content = bytearray(tiff(image, deflate=True))
    for place in range(40, 2000, 97):
        broken = bytes(content[:place]) + bytes([content[place] ^ 0x55]) + bytes(content[place + 1 :])
        seen = []
        for _ in range(2):
            try:
                seen.append(_read(tmp_path / "a.tif", broken).pixels)
            except DataError:
                seen.append(None)
        assert (seen[0] is None) == (seen[1] is None)
        if seen[0] is not None:
            np.testing.assert_array_equal(seen[0], seen[1])


def with_pages(count):
    """A TIFF of 8 bits whose directory is followed by empty ones."""
    content = tiff(np.full((4, 5), 7, np.uint8))
    size = len(content)
    at = int.from_bytes(content[4:8], "little")
    follow = at + 2 + 12 * int.from_bytes(content[at : at + 2], "little")
    chain = b"".join(b"\0\0" + (size + 6 * number).to_bytes(4, "little") for number in range(1, count - 1))
    return content[:follow] + size.to_bytes(4, "little") + content[follow + 4 :] + chain + bytes(6)


@pytest.mark.parametrize(
    ("count", "text"), [(3, "3 frames or pages"), (20_000, "more than 10,000 frames or pages")]
)
def test_pages_are_counted_in_no_time(count, text, tmp_path):
    """Decoders that go through all of them from the start for each of them take 10 s."""
    started = time.perf_counter()
    image = _read(tmp_path / "a.tif", with_pages(count))
    assert time.perf_counter() - started < 2
    assert image.warnings == (f"{text}, the first is used",)
    np.testing.assert_array_equal(image.pixels, np.full((4, 5, 1), 7))


def test_a_chain_of_pages_may_lead_back(tmp_path):
    content = bytearray(with_pages(3))
    content[-4:] = content[4:8]
    assert _read(tmp_path / "a.tif", bytes(content)).warnings == ("3 frames or pages, the first is used",)


def test_tags_that_claim_more_than_the_file_are_not_read(tmp_path):
    """Each of 300 tags takes the same 64 kB; with more of both, memory would be gone."""
    filling = bytes(2**16)
    tags = b"".join(struct.pack("<HHII", 1000 + number, 7, len(filling), 8) for number in range(300))
    content = struct.pack("<2sHI", b"II", 42, 8 + len(filling)) + filling + struct.pack("<H", 300) + tags
    with pytest.raises(DataError, match="its tags claim 196,608 of"):
        _read(tmp_path / "a.tif", content + bytes(4))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_samples_behind_rgb_are_bands(dtype, tmp_path, rng):
    image = rng.integers(0, 256, (9, 8, 7)).astype(dtype)
    read = _read(tmp_path / "a.tif", tiff(image, tags={338: [0] * 4}))
    np.testing.assert_array_equal(read.pixels, image)
    assert not read.alpha


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("channels", [2, 4])
def test_alpha_that_is_multiplied_in_is_divided_out(channels, planar, tmp_path, rng):
    image = _samples(rng, channels)
    image[0, 0, -1], image[0, 1, -1] = 0, 1
    straight, alpha = image[..., :-1], image[..., -1:].astype(float)
    stored = np.concatenate([np.rint(straight * alpha / 65_535).astype(np.uint16), image[..., -1:]], axis=2)
    pixels = _read(tmp_path / "a.tif", tiff(stored, planar=planar, tags={338: [1]})).pixels
    np.testing.assert_array_equal(pixels[..., -1:], alpha)
    error = np.abs(pixels[..., :-1].astype(float) - straight) * (alpha > 0)
    assert (error <= 1 + 0.5 * 65_535 / np.maximum(alpha, 1)).all()
    assert error[alpha[..., 0] > 60_000].max() <= 1


@pytest.mark.parametrize("channels", [2, 4])
def test_a_sample_that_is_no_alpha_is_left_out_with_a_warning(channels, tmp_path, rng):
    image = _samples(rng, channels)
    decoded = _read(tmp_path / "a.tif", tiff(image, tags={338: [0]}))
    np.testing.assert_array_equal(decoded.pixels, image[..., :-1])
    assert "not alpha" in decoded.warnings[0]


@pytest.mark.parametrize("dtype", [np.int8, np.int16])
def test_signed_samples_are_refused(dtype, tmp_path, rng):
    image = rng.integers(0, 100, (9, 8, 3)).astype(dtype)
    bits = 8 * image.dtype.itemsize
    with pytest.raises(DataError, match=f"{bits}-bit signed samples are not supported"):
        _read(tmp_path / "a.tif", tiff(image))


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate"])
def test_ycbcr_without_jpeg_is_converted(compression, tmp_path):
    ycbcr = Image.fromarray(colours()).convert("YCbCr")
    pixels = _read(tmp_path / "a.tif", packed(ycbcr, "TIFF", compression=compression)).pixels
    np.testing.assert_array_equal(pixels, np.asarray(ycbcr.convert("RGB")))


@pytest.mark.parametrize(
    "tag",
    [
        (529, 5, 3, (2126, 10000, 7152, 10000, 722, 10000)),
        (532, 5, 6, (16, 1, 235, 1, *(128, 1, 240, 1) * 2)),
    ],
)
def test_ycbcr_of_other_standards_is_refused(tag, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", colours(), photometric="ycbcr", extratags=[(*tag, True)])
    with pytest.raises(DataError, match=r"BT\.601; convert the image to RGB"):
        read_image_file(tmp_path / "a.tif")


def test_the_preview_of_a_raw_file_is_not_the_image(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.nef") as file:
        file.write(colours(), photometric="rgb", subifds=1, subfiletype=1)
        file.write(np.zeros((96, 144), np.uint16), photometric=32803)
    with pytest.raises(DataError, match="its first image is a preview"):
        read_image_file(tmp_path / "a.nef")


def test_the_luma_of_bands_is_refused(tmp_path):
    bands = np.random.default_rng(0).integers(0, 256, (8, 9, 5), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", bands, photometric="minisblack", planarconfig="contig")
    np.testing.assert_array_equal(to_uint8(read_image(tmp_path / "a.tif")), bands)
    with pytest.raises(DataError, match="has 5 bands, which have no luma"):
        read_image(tmp_path / "a.tif", gray=True)


@pytest.mark.parametrize(("raster", "first"), [(1, 0), (2, 1.5)])  # pixels are areas, or points
def test_a_georeference_fits_the_larger_image(raster, first, tmp_path):
    keys = (1, 1, 0, 1, 1025, 0, 1, raster)
    tags = [(33550, "d", 3, (10.0, 8.0, 0.0)), (33922, "d", 6, (0, 0, 0, 5e5, 4e6, 0)), (34735, "H", 8, keys)]
    tifffile.imwrite(tmp_path / "a.tif", colours(), photometric="rgb", extratags=[(*t, True) for t in tags])
    read = read_image_file(tmp_path / "a.tif")
    height, width, _ = read.pixels.shape
    large = np.repeat(np.repeat(read.pixels, 4, 0), 4, 1)
    metadata, lost = read.metadata.of_result(large.shape[:2], 3, "tiff", (4, 4))
    target = Target(4 * height, 4 * width, 3, large.dtype, metadata)
    write_rows(tmp_path / "b.tif", target, iter([large]))
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        found = file.pages[0].tags
        assert found.valueof(33550) == (2.5, 2.0, 0.0)
        assert found.valueof(33922) == (first, first, 0, 5e5, 4e6, 0)
        assert found.valueof(34735) == keys
    assert not lost


@pytest.mark.parametrize("raster", [1, 2])  # pixels are areas, or points
def test_a_georeferencing_matrix_fits_the_larger_image(raster):
    matrix = np.array([[10, 1, 0, 5e5], [2, -8, 0, 4e6], [0, 0, 0, 0], [0, 0, 0, 1]])
    block = b"II*\0" + struct.pack("<IH", 8, 2)
    block += struct.pack("<HHII", 34264, 12, 16, 38) + struct.pack("<HHII", 34735, 3, 8, 166) + bytes(4)
    block += matrix.tobytes() + struct.pack("<8H", 1, 1, 0, 1, 1025, 0, 1, raster)
    result, _ = Metadata(exif=block).of_result((64, 64), 3, "tiff", (4, 2))
    adapted = np.frombuffer(result.exif, "<f8", 16, 38).reshape(4, 4)
    origin = 0.0 if raster == 1 else -0.5  # of the image's corner, in pixels of either image
    corner = [origin, origin, 0, 1]
    far = [12 + origin, 12 + origin, 0, 1], [48 + origin, 24 + origin, 0, 1]  # the same place in both
    np.testing.assert_allclose(adapted @ corner, matrix @ corner, rtol=1e-12)
    np.testing.assert_allclose(adapted @ far[1], matrix @ far[0], rtol=1e-12)


@pytest.mark.parametrize("bits", [3, 10, 12, 14])
@pytest.mark.parametrize("white", [0, 1], ids=["0 is white", "0 is black"])
def test_the_largest_of_any_number_of_bits_is_white(bits, white, tmp_path):
    values = np.linspace(0, 2**bits - 1, 8).astype(int)
    row = "".join(f"{value:0{bits}b}" for value in values)
    content = np.array([[int(row[at : at + 8], 2) for at in range(0, 8 * bits, 8)]], np.uint8)
    file = tiff(content, tags={256: (8,), 258: (bits,), 262: (white,)})
    pixels = _read(tmp_path / "a.tif", file).pixels[0, :, 0]
    seen = pixels / np.iinfo(pixels.dtype).max
    np.testing.assert_allclose(seen if white else 1 - seen, values / values.max(), atol=1 / 255)


def test_layers_are_left_out_with_a_warning(tmp_path):
    """Programs that read them would show the image before it was upscaled."""
    tifffile.imwrite(
        tmp_path / "a.tif", np.zeros((4, 5), np.uint8), extratags=[(37724, 7, 9, b"8BIMLayr\0", True)]
    )
    read = read_image_file(tmp_path / "a.tif")
    assert read.warnings == ("its layers of Photoshop are left out",)
    assert b"8BIMLayr" not in (read.metadata.exif or b"")
