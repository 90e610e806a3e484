"""Decoding: orientations, profiles, truncated and damaged files."""

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps, features

from ppsr.errors import DataError
from ppsr.imaging.reading import image_kind, read_image_file
from tests.imaging.kinds import HEIGHT, WIDTH, chunk, colours, packed


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("cut", [1, 2, 3, 10, 40])
def test_a_jpeg_is_complete_exactly_if_its_image_is(progressive, cut, tmp_path):
    """Cutting the marker loses nothing; cutting deeper is noticed unless the pixels are all there."""
    content = packed(colours(), "JPEG", quality=92, progressive=progressive)
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    whole = read_image_file(path).pixels
    path.write_bytes(content[:-cut])
    try:
        image = read_image_file(path)
    except DataError as error:
        assert cut > 2
        assert "truncated" in str(error)
    else:
        assert image.warnings
        np.testing.assert_array_equal(image.pixels, whole)


def test_fill_bytes_before_the_scans_of_a_progressive_jpeg_are_passed_over(tmp_path):
    content = packed(colours(), "JPEG", quality=92, progressive=True)
    filled = content.replace(b"\xff\xda", b"\xff\xff\xff\xda")
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    whole = read_image_file(path).pixels
    path.write_bytes(filled[:-2])
    image = read_image_file(path)
    np.testing.assert_array_equal(image.pixels, whole)
    assert image.warnings == ("the JPEG's end marker is missing, its data is complete",)
    path.write_bytes(filled[: filled.rindex(b"\xff\xff\xff\xda")])
    with pytest.raises(DataError, match="truncated"):
        read_image_file(path)


def test_cmyk_is_converted_by_its_profile_or_without_it(tmp_path):
    cmyk = Image.fromarray(colours()).convert("CMYK")
    (tmp_path / "a.jpg").write_bytes(packed(cmyk, "JPEG", icc_profile=b"not a profile"))
    image = read_image_file(tmp_path / "a.jpg")
    assert image.metadata.icc is None
    assert "ignored" in image.warnings[0]
    assert image.pixels.shape == (HEIGHT, WIDTH, 3)


def test_the_limit_of_pixels_can_be_raised_and_lowered(tmp_path):
    (tmp_path / "a.png").write_bytes(packed(colours(), "PNG"))
    with pytest.raises(DataError, match="864 pixels, allowed are 863"):
        read_image_file(tmp_path / "a.png", max_pixels=863)
    assert read_image_file(tmp_path / "a.png", max_pixels=864).pixels.shape == (24, 36, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_the_one_of_another_decoder(orientation, tmp_path):
    tags = Image.Exif()
    tags[0x0112] = orientation
    content = packed(colours(), "JPEG", quality=95, exif=tags)
    (tmp_path / "a.jpg").write_bytes(content)
    upright = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    pixels = read_image_file(tmp_path / "a.jpg").pixels
    assert pixels.shape == upright.shape
    assert np.abs(pixels.astype(int) - upright).max() <= 3


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
@pytest.mark.parametrize("orientation", range(1, 9))
def test_avif_is_turned_as_its_boxes_say(orientation, tmp_path):
    """Pillow stores the orientation as boxes and gives it back without turning the pixels."""
    tags = Image.Exif()
    tags[0x0112] = orientation
    image = Image.fromarray(colours())
    (tmp_path / "a.avif").write_bytes(packed(image, "AVIF", quality=95, exif=tags))
    image.getexif()[0x0112] = orientation
    upright = np.asarray(ImageOps.exif_transpose(image))
    pixels = read_image_file(tmp_path / "a.avif").pixels
    assert pixels.shape == upright.shape
    assert np.abs(pixels.astype(int) - upright).mean() <= 3  # AVIF halves the chroma; another turn: over 30


def test_a_damaged_chunk_of_a_png_is_named_in_printable_characters(tmp_path):
    content = packed(colours(), "PNG").replace(b"IDAT", b"I\nA\x1b")
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DataError, match=r"checksum of the PNG's I\\nA\\x1b chunk is wrong$"):
        read_image_file(tmp_path / "a.png")


@pytest.mark.parametrize("brand", [b"heic", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"])
def test_heic_of_every_brand_is_known(brand):
    assert image_kind(b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0mif1heic") == "heic"


def test_a_png_of_an_ios_app_is_refused_as_such(tmp_path):
    plain = packed(colours(), "PNG")
    (tmp_path / "a.png").write_bytes(plain[:8] + chunk(b"CgBI", bytes(4)) + plain[8:])
    with pytest.raises(DataError, match=r"a\.png: the PNG does not begin with its header.*CgBI"):
        read_image_file(tmp_path / "a.png")


def test_a_stream_of_jpeg_images_is_read_as_its_first_with_a_warning(tmp_path):
    (tmp_path / "a.mjpeg").write_bytes(packed(colours(), "JPEG") * 3)
    assert read_image_file(tmp_path / "a.mjpeg").warnings == ("3 frames or pages, the first is used",)


def test_the_shape_of_the_pixels_of_a_jpeg_is_read(tmp_path):
    content = bytearray(packed(colours(), "JPEG"))
    content[13:18] = b"\0\0\2\0\1"  # no unit, 2 : 1
    (tmp_path / "a.jpg").write_bytes(content)
    assert read_image_file(tmp_path / "a.jpg").metadata.chunks == {b"pHYs": b"\0\0\0\2\0\0\0\1\0"}


@pytest.mark.parametrize(("kind", "orientation"), [("JPEG", 3), ("JPEG", 6), ("TIFF", 6), ("TIFF", 4)])
def test_the_resolution_is_turned_with_the_image(kind, orientation, tmp_path):
    tags = Image.Exif()
    tags.update({0x0112: orientation, 0x011A: 300.0, 0x011B: 200.0})
    (tmp_path / "a").write_bytes(packed(colours(), kind, exif=tags, dpi=(300, 200)))
    metadata = read_image_file(tmp_path / "a").metadata
    assert metadata.dpi == ((200, 300) if orientation > 4 else (300, 200))
    if kind == "JPEG":  # the tags of a TIFF are those of its result
        found = Image.Exif()
        found.load(b"Exif\0\0" + metadata.exif)
        assert (found[0x011A], found[0x011B]) == metadata.dpi


def test_the_shape_of_the_pixels_is_turned_with_the_image(tmp_path):
    tags = Image.Exif()
    tags[0x0112] = 6
    turned = packed(colours(), "PNG", exif=tags)
    shape = chunk(b"pHYs", b"\0\0\0\2\0\0\0\1\0")
    (tmp_path / "a.png").write_bytes(turned[:33] + shape + turned[33:])
    assert read_image_file(tmp_path / "a.png").metadata.chunks == {b"pHYs": b"\0\0\0\1\0\0\0\2\0"}
