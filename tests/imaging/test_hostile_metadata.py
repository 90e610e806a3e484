"""What a file may hold beside its pixels costs neither time nor memory, and hides no image."""

import struct
import time
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from ppsr.errors import DataError
from ppsr.imaging.metadata import is_sound_exif
from ppsr.imaging.reading import image_header, read_image_file
from tests.imaging.kinds import chunk as _chunk
from tests.imaging.kinds import packed

PIXELS = np.arange(12 * 16, dtype=np.uint8).reshape(12, 16)
DEEP = PIXELS.astype(np.uint16) * 257
SOFTWARE, EXIF_PART, ORIENTATION = 305, 0x8769, 274


def _directory(*entries: tuple[int, int, int, int]) -> bytes:
    """Tags as (tag, type, count, value or place)."""
    return struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *e) for e in entries) + bytes(4)


def _block(*entries: tuple[int, int, int, int], rest: bytes = b"") -> bytes:
    return b"II*\0" + struct.pack("<I", 8) + _directory(*entries) + rest


def _shared(size: int, number: int = 400, kind: int = 7) -> bytes:
    """Tags that all claim the same bytes."""
    width = {7: 1, 3: 2, 5: 8}[kind]
    tags = [(1000 + i, kind, size // width, 26) for i in range(number)]
    return _block(*tags, rest=bytes(size))


HOSTILE = {
    "shared values": _shared(2**20),
    "a count beyond the end": _block((SOFTWARE, 2, 2**32 - 1, 8)),
    "more numbers than a camera writes": _shared(2**20, 1, 3),
    "more fractions than a camera writes": _shared(2**20, 1, 5),
    "more tags than a camera writes": _block(*[(i, 3, 1, 1) for i in range(40000, 50000)]),
    "shared values in a part": _block((EXIF_PART, 4, 1, 26), rest=_shared(2**20)[8:]),
    "a directory beyond the end": b"II*\0" + struct.pack("<IH", 8, 9),
    "nothing": b"",
}
FINE = {
    "a usual one": _block((SOFTWARE, 2, 4, 0x00636261)),
    "a part beyond the end": _block((EXIF_PART, 4, 1, 2**31), (SOFTWARE, 2, 4, 0x00636261)),
    "a large note of the maker": _block(
        (EXIF_PART, 4, 1, 26), rest=_block((0x927C, 7, 2**20, 26))[8:] + bytes(2**20)
    ),
    "a part that is the whole": _block((EXIF_PART, 4, 1, 8)),
}


def _png(*chunks: bytes, deep: bool = False) -> bytes:
    """A PNG with chunks behind its header."""
    plain = packed(DEEP if deep else PIXELS)
    return plain[:33] + b"".join(chunks) + plain[33:]


def _jpeg(*segments: tuple[int, bytes]) -> bytes:
    plain = packed(PIXELS, "JPEG", quality=95)
    made = [bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body for marker, body in segments]
    return plain[:2] + b"".join(made) + plain[2:]


def _exif_segments(block: bytes) -> list[tuple[int, bytes]]:
    return [(0xE1, b"Exif\0\0" + block[i : i + 65000]) for i in range(0, len(block), 65000)]


def _webp(block: bytes) -> bytes:
    return packed(Image.fromarray(PIXELS).convert("RGB"), "WEBP", lossless=True, exif=block)


@pytest.fixture
def read(tmp_path):
    """Reads a file of some bytes in bounded time."""

    def run(content: bytes):
        path = tmp_path / "image"
        path.write_bytes(content)
        started = time.perf_counter()
        image = read_image_file(path)
        assert time.perf_counter() - started < 5
        return image

    return run


@pytest.mark.parametrize("name", [*HOSTILE, *FINE])
def test_exif_is_sound_if_decoding_it_is_cheap(name):
    assert is_sound_exif((HOSTILE | FINE)[name]) == (name in FINE)


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_exif_of_a_png_is_left_out(name, deep, read):
    image = read(_png(_chunk(b"eXIf", HOSTILE[name]), deep=deep))
    assert (image.pixels[..., 0] == (DEEP if deep else PIXELS)).all()
    assert image.warnings == ("the EXIF is damaged and is left out",)
    assert image.metadata.exif is None


def test_memory_is_that_of_the_file(tmp_path):
    content = _png(_chunk(b"eXIf", HOSTILE["shared values"]))
    (tmp_path / "image").write_bytes(content)
    tracemalloc.start()
    try:
        read_image_file(tmp_path / "image")
        assert tracemalloc.get_traced_memory()[1] < 8 * len(content)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["shared values", "shared values in a part"])
def test_hostile_exif_of_other_formats_is_left_out(name, read):
    whole = _shared(60_000) if name == "shared values" else HOSTILE[name]
    for content in (_jpeg(*_exif_segments(whole)), _webp(HOSTILE[name])):
        image = read(content)
        assert image.warnings == ("the EXIF is damaged and is left out",)
        assert image.pixels.shape[:2] == PIXELS.shape


def test_hostile_parts_of_a_tiff_are_left_out(tmp_path, read):
    Image.fromarray(PIXELS).save(tmp_path / "a.tif")
    plain = (tmp_path / "a.tif").read_bytes()
    start = int.from_bytes(plain[4:8], "little")
    count = int.from_bytes(plain[start : start + 2], "little")
    old = plain[start + 2 : start + 2 + 12 * count]
    place = len(plain) + 2 + 12 * (count + 1) + 4
    added = struct.pack("<H", count + 1) + old + struct.pack("<HHII", EXIF_PART, 4, 1, place) + bytes(4)
    entries = [(1000 + i, 7, 2**20, place + 2 + 12 * 400 + 4) for i in range(400)]
    part = _directory(*entries) + bytes(2**20)
    image = read(plain[:4] + struct.pack("<I", len(plain)) + plain[8:] + added + part)
    assert (image.pixels[..., 0] == PIXELS).all()
    assert image.warnings == ("the EXIF is damaged and is left out",)


@pytest.mark.parametrize("name", ["a usual one", "a part beyond the end"])
def test_usual_exif_is_kept(name, read):
    for content in (
        _png(_chunk(b"eXIf", FINE[name])),
        _png(_chunk(b"eXIf", FINE[name]), deep=True),
        _jpeg(*_exif_segments(FINE[name])),
        _webp(FINE[name]),
    ):
        image = read(content)
        exif = Image.Exif()
        exif.load(image.metadata.exif)
        assert exif[SOFTWARE] == "abc"
        assert not image.warnings


def test_exif_that_imagemagick_wrote_as_text_turns_the_image(read):
    block = _block((ORIENTATION, 3, 1, 6))
    text = b"\nexif\n%8d\n" % len(block) + block.hex().encode()
    packed = _chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text))
    assert read(_png(packed)).pixels.shape == (16, 12, 1)


def test_hostile_indices_and_comments_of_a_jpeg_are_left_out(read):
    index = (0xE2, b"MPF\0" + _shared(60_000))
    comments = [(0xFE, b"x")] * 50_000
    assert read(_jpeg(index, *comments)).pixels.shape == (12, 16, 1)


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize(
    "chunk",
    [
        _chunk(b"tEXt", b"workflow\0" + b"x" * (9 * 2**20)),
        _chunk(b"zTXt", b"workflow\0\0" + zlib.compress(bytes(9 * 2**20))),
        _chunk(b"iTXt", b"parameters\0\1\0\0\0" + zlib.compress(bytes(9 * 2**20))),
        _chunk(b"tEXt", b"a\0b") * 20_000,
    ],
    ids=["plain", "packed", "international", "many"],
)
def test_texts_of_any_length_hide_no_png(chunk, deep, read):
    image = read(_png(chunk, deep=deep))
    assert (image.pixels[..., 0] == (DEEP if deep else PIXELS)).all()
    assert set(image.warnings) <= {"the texts are too large and are left out"}


@pytest.mark.parametrize(
    ("chunk", "what"),
    [
        (_chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(2**21))), "colour profile"),
        (_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + b"x" * 2**21), "XMP"),
    ],
    ids=["profile", "XMP"],
)
def test_metadata_that_no_decoder_takes_is_left_out_with_a_warning(chunk, what, read):
    assert read(_png(chunk)).warnings == (f"the {what} is too large and is left out",)


def _gif(frames: int, before: bytes = b"") -> bytes:
    one = packed(PIXELS, "GIF")
    start = one.index(b",", 13 + 3 * 256)
    return one[:start] + before + one[start:-1] * frames + b";"


@pytest.mark.parametrize(("frames", "number"), [(1, None), (3, "3"), (200_000, "more than 100")])
def test_frames_of_a_gif_are_counted_up_to_a_limit(frames, number, read):
    image = read(_gif(frames))
    assert image.warnings == (() if number is None else (f"{number} frames or pages, the first is used",))
    assert (image.pixels[..., 0] == PIXELS).all()


def test_comments_of_a_gif_do_not_count(read):
    assert (read(_gif(1, b"!\xfe\1a\0" * 900)).pixels[..., 0] == PIXELS).all()
    with pytest.raises(DataError, match="more than 1,000 comments"):
        read(_gif(1, b"!\xfe\1a\0" * 300_000))
    with pytest.raises(DataError, match="cannot decode"):
        read(_gif(0))


def test_frames_of_a_png_are_those_it_announces(read):
    assert read(_png(_chunk(b"acTL", struct.pack(">II", 2**31, 0)))).warnings == (
        "more than 10,000 frames or pages, the first is used",
    )


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (_png(_chunk(b"eXIf", HOSTILE["shared values"]), _chunk(b"tEXt", b"a\0" + bytes(2**21))), "png"),
        (_jpeg(*_exif_segments(HOSTILE["shared values"])), "jpeg"),
        (_gif(1, b"!\xfe\1a\0" * 30_000), "gif"),
    ],
    ids=["png", "jpeg", "gif"],
)
def test_headers_are_read_without_what_comes_before_the_pixels(content, kind, tmp_path):
    (tmp_path / "image").write_bytes(content)
    assert image_header(tmp_path / "image") == (16, 12, False)
