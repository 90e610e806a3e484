"""Colour profiles and EXIF: taken from one file, put into another of any format.

EXIF is carried as the block that starts with the byte order (without "Exif\\0\\0"). Its orientation is always
1, because pixels are turned when they are read, and the thumbnail is dropped, because it shows the input.
"""

from __future__ import annotations

import struct
from typing import Any

from PIL import Image

from ppsr.errors import DataError

__all__ = [
    "LAYOUT",
    "PARTS",
    "exif_block",
    "exif_tags",
    "fitting_profile",
    "jpeg_with_metadata",
    "parsed",
    "webp_with_metadata",
]

_ORIENTATION, _EXIF, _GPS = 0x0112, 0x8769, 0x8825
_WIDTH, _HEIGHT = 0xA002, 0xA003  # inside the EXIF part
PARTS = (_EXIF, _GPS)
_HEADER = b"Exif\0\0"
_SEGMENT = 65_533  # bytes that a JPEG segment holds
# what a TIFF says about its samples, which the result says itself
LAYOUT = {254, 255, *range(256, 270), 273, *range(275, 284), 284, 296, 297, 301, 317, 318, 319, 320}
LAYOUT |= {*range(322, 327), 330, 338, 339, 347, *range(529, 533), 700, 34675}


def fitting_profile(icc: bytes | None, channels: int, kind: str) -> bytes | None:
    """A colour profile, None if it describes other colours than the result has.

    Args:
        icc: profile.
        channels: of the result.
        kind: its format; WebP stores gray as RGB.
    """
    gray = channels < 3 and kind != "webp"
    return icc if icc is None or icc[16:20] == (b"GRAY" if gray else b"RGB ") else None


def exif_tags(exif: Image.Exif) -> Image.Exif:
    """The EXIF of an opened picture; that of a TIFF without what describes its samples."""
    for tag in list(exif):
        if tag in LAYOUT:
            del exif[tag]
    return exif


def exif_block(exif: Image.Exif, size: tuple[int, int]) -> bytes | None:
    """EXIF for the result, None if there is none.

    Args:
        exif: of the picture.
        size: height and width of the result.

    Raises:
        DataError: it is damaged and cannot be written.
    """
    if not any(tag != _ORIENTATION for tag in exif):
        return None
    copy = Image.Exif()
    try:
        copy.load(exif.tobytes())
        if _ORIENTATION in copy:
            copy[_ORIENTATION] = 1
        details = copy.get_ifd(_EXIF)
        for tag, value in ((_WIDTH, size[1]), (_HEIGHT, size[0])):
            if tag in details:
                details[tag] = value
        return copy.tobytes().removeprefix(_HEADER)
    except (OSError, ValueError, TypeError, KeyError, SyntaxError, OverflowError, struct.error) as error:
        raise DataError(f"the EXIF is damaged: {error}") from None


def parsed(block: bytes) -> dict[int, Any]:
    """The tags of a block, those of its parts as dictionaries."""
    exif = Image.Exif()
    exif.load(_HEADER + block)
    tags: dict[int, Any] = {tag: value for tag, value in exif.items() if tag not in PARTS}
    for pointer in PARTS:
        part = exif.get_ifd(pointer)
        if part:
            tags[pointer] = dict(part)
    return tags


def jpeg_with_metadata(jpeg: bytes, icc: bytes | None, exif: bytes | None) -> bytes:
    """Insert EXIF and an ICC profile behind a JPEG's first segment.

    Raises:
        DataError: the EXIF is larger than a segment.
    """
    segments = b""
    if exif is not None:
        if len(exif) > _SEGMENT - len(_HEADER):
            raise DataError(f"JPEG holds {_SEGMENT} bytes of EXIF, this one has {len(exif)}")
        segments += _jpeg_segment(0xE1, _HEADER + exif)
    if icc is not None:
        room = _SEGMENT - 14
        parts = [icc[start : start + room] for start in range(0, len(icc), room)]
        for number, part in enumerate(parts, 1):
            segments += _jpeg_segment(0xE2, b"ICC_PROFILE\0" + bytes([number, len(parts)]) + part)
    at = 4 + int.from_bytes(jpeg[4:6], "big") if jpeg[2:4] == b"\xff\xe0" else 2
    return jpeg[:at] + segments + jpeg[at:]


def _jpeg_segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(content) + 2).to_bytes(2, "big") + content


def webp_with_metadata(webp: bytes, size: tuple[int, int], icc: bytes | None, exif: bytes | None) -> bytes:
    """Rewrite a WebP file as its extended form with EXIF and an ICC profile.

    Args:
        webp: a file of one picture.
        size: its height and width.
        icc: profile.
        exif: block.
    """
    if icc is None and exif is None:
        return webp
    chunks, at = [], 12
    while at + 8 <= len(webp):
        kind, length = webp[at : at + 4], int.from_bytes(webp[at + 4 : at + 8], "little")
        chunks.append((kind, webp[at + 8 : at + 8 + length]))
        at += 8 + length + length % 2
    flags = next((content[0] for kind, content in chunks if kind == b"VP8X"), 0)
    lossless = next((content for kind, content in chunks if kind == b"VP8L"), None)
    if lossless is not None and lossless[4] & 0x10:  # the bit behind two times 14 bits of size
        flags |= 0x10
    flags |= (0x20 if icc is not None else 0) | (0x08 if exif is not None else 0)
    header = (
        bytes([flags, 0, 0, 0]) + (size[1] - 1).to_bytes(3, "little") + (size[0] - 1).to_bytes(3, "little")
    )
    ordered = [(b"VP8X", header)]
    ordered += [(b"ICCP", icc)] if icc is not None else []
    ordered += [chunk for chunk in chunks if chunk[0] not in (b"VP8X", b"ICCP", b"EXIF")]
    ordered += [(b"EXIF", exif)] if exif is not None else []
    body = b"WEBP" + b"".join(
        kind + len(content).to_bytes(4, "little") + content + b"\0" * (len(content) % 2)
        for kind, content in ordered
    )
    return b"RIFF" + len(body).to_bytes(4, "little") + body
