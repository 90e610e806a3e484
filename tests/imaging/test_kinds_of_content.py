"""Kinds of images beside those that every installation reads."""

import numpy as np
import pytest
from PIL import Image, features

from ppsr.errors import DataError
from ppsr.imaging.metadata import exif_orientation
from ppsr.imaging.reading import image_header, read_image_file
from tests.imaging.kinds import packed
from tests.optional import needed


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.tga", b"\0\0\2" + bytes(60), "TGA"),
        ("a.ppm", b"P6\n2 2\n255\n" + bytes(12), "PPM"),
        ("a.pgm", b"P5 2 2 255\n" + bytes(4), "PPM"),
        ("a.jp2", b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(40), "JP2"),
        ("a.hdr", b"#?RADIANCE\n" + bytes(40), "HDR"),
        ("renamed.png", b"8BPS\0\1" + bytes(40), "PSD"),
        ("a.cr2", b"II*\0\x10\0\0\0CR\2\0" + bytes(40), "CR2"),
    ],
)
def test_what_is_not_supported_is_called_by_its_name(tmp_path, name, content, kind):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=f"is {kind}, which is not supported; supported are png"):
        read_image_file(tmp_path / name)


def test_text_that_begins_as_a_format_is_no_image(tmp_path):
    (tmp_path / "a.png").write_bytes(b"P5 is a name, not a header")
    with pytest.raises(DataError, match="not an image"):
        read_image_file(tmp_path / "a.png")


def test_other_images_of_a_file_are_counted(tmp_path):
    first, second = (Image.new("RGB", (8, 8), value) for value in ("red", "blue"))
    first.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[second])
    assert read_image_file(tmp_path / "a.jpg").warnings == ("2 frames or pages, the first is used",)


def test_avif_of_10_bits_is_reduced_with_a_warning(tmp_path, monkeypatch):
    av = pytest.importorskip("av")
    if "libsvtav1" not in av.codecs_available or not features.check("avif"):
        pytest.skip("this PyAV or Pillow has no AVIF")
    monkeypatch.setenv("SVT_LOG", "1")
    for layout, warnings in (("yuv420p10le", ("its 10 bits a sample were reduced to 8",)), ("yuv420p", ())):
        with av.open(str(tmp_path / "a.avif"), "w", format="avif") as writer:
            stream = writer.add_stream("libsvtav1", rate=1)
            stream.width, stream.height, stream.pix_fmt = 64, 64, layout
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 90, np.uint8), format="rgb24")
            writer.mux(stream.encode(frame.reformat(format=layout)))
            writer.mux(stream.encode(None))
        assert read_image_file(tmp_path / "a.avif").warnings == warnings


def test_bmp_is_recognised_by_its_second_header(tmp_path):
    content = packed(Image.new("RGB", (8, 8), "red"), "BMP")
    (tmp_path / "a").write_bytes(content[:6] + b"\1\2\3\4" + content[10:])  # programs' own bytes
    assert (read_image_file(tmp_path / "a").pixels == (255, 0, 0)).all()


def test_heic_is_read_with_what_it_carries(tmp_path):
    heif = needed("pillow_heif", reason="needs the extra 'heic'")
    heif.register_heif_opener()
    smooth = np.linspace(0, 255, 40 * 56 * 3).reshape(40, 56, 3).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker"
    Image.fromarray(smooth).save(tmp_path / "a.heic", quality=100, exif=exif, icc_profile=b"x" * 200)
    image = read_image_file(tmp_path / "a.heic")
    assert image.pixels.shape == (40, 56, 3)  # a viewer turns HEIC by its own boxes, not by EXIF
    assert np.abs(image.pixels.astype(int) - smooth).mean() < 4
    assert image.metadata.exif is not None and b"Maker" in image.metadata.exif
    assert exif_orientation(image.metadata.exif) == 1
    assert image.metadata.icc == b"x" * 200
    assert image_header(tmp_path / "a.heic")[:2] == (56, 40)


def test_heic_without_its_library_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64))
    with pytest.raises(DataError, match="pip install pillow-heif"):
        read_image_file(tmp_path / "a.heic")
