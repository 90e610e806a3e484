"""JPEG by OpenCV, CMYK by Pillow.

Decoders get the file without metadata, whose cost nothing bounds. The end of the data is checked here, and
the number of scans, each of which costs as much as a whole image.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, BinaryIO

import cv2
import numpy as np
from PIL import Image, JpegImagePlugin

from ppsr.errors import DataError
from ppsr.imaging.formats.common import (
    Decoded,
    Target,
    by_opencv,
    check_size,
    count_frames,
    in_strips,
    kept_texts,
    sound_exif,
)
from ppsr.imaging.formats.others import eight_bit
from ppsr.imaging.metadata import COMMENT, EXIF_HEADER, IPTC, Directories, Metadata

_MOST_SCANS = 256  # of a progressive file; encoders write about ten
_MOST_DPI = 65_535
_SEVERAL, _NUMBER_OF_IMAGES = b"MPF\0", 0xB001
_NEXT = b"\xff\xd9\xff\xd8\xff"  # between the images of a stream (MJPEG)
_XMP = b"http://ns.adobe.com/xap/1.0/\0"


def decode_jpeg(content: bytes, max_pixels: int, allow_truncated: bool, warnings: list[str]) -> Decoded:
    """Decode a JPEG; what the user should know is added to `warnings`."""
    clean, metadata = _parts(content, warnings)
    with JpegImagePlugin.JpegImageFile(io.BytesIO(clean)) as image:
        check_size(image.size, max_pixels)
        components = len(image.getbands())
    scans = clean.count(b"\xff\xda")
    if scans > _MOST_SCANS:
        raise DataError(f"a progressive JPEG of {scans:,} scans is refused; at most {_MOST_SCANS} are read")

    def pixels_of(data: bytes) -> np.ndarray:
        if components == 4:
            return np.asarray(_pillow_jpeg(data))
        return by_opencv(data, gray=components == 1)

    if clean.rstrip(b"\0").endswith(b"\xff\xd9") or b"\xff\xd9" in clean[-(2**16) :]:
        data = clean
    else:  # different bytes behind the end show in the result only where data is missing
        cut = clean[:-1] if clean.endswith(b"\xff") else clean
        data = cut + b"\xff\xd9"
        if _has_all_scans(cut) and _is_complete(pixels_of, cut):
            warnings.append("the JPEG's end marker is missing, its data is complete")
        elif allow_truncated:
            warnings.append("the JPEG is truncated: part of the image is missing")
        else:
            raise DataError(
                "the JPEG is truncated; ppsr upscale --allow-truncated takes it with a part missing"
            )
    if components == 4:
        pixels, icc = eight_bit(_pillow_jpeg(data), metadata.icc, warnings)
        return pixels, replace(metadata, icc=icc), False
    return pixels_of(data), metadata, False


def _is_complete(pixels_of: Callable[[bytes], np.ndarray], cut: bytes) -> bool:
    try:
        first, second = (pixels_of(cut + tail + b"\xff\xd9") for tail in (b"", b"\x55" * 64))
    except DataError:  # not even one row is there
        return False
    return np.array_equal(first, second)


def _has_all_scans(content: bytes) -> bool:
    """Whether the scans of a progressive file hold every bit of all coefficients (ITU-T T.81, G.1.1.1).

    A file that was cut between two scans decodes without a fault, only less sharp.
    """
    lowest_bits: dict[int, list[int]] = {}  # 64 coefficients of each component
    for marker, begin, end in _segments(content):
        body = content[begin + 4 : end]
        if marker == 0xC2 and len(body) > 5:
            lowest_bits = {component: [1] * 64 for component in body[6 : 6 + 3 * body[5] : 3]}
        elif marker == 0xDA and body:
            start = 1 + 2 * body[0]
            first, last, bits = body[start : start + 3].ljust(3, b"\xff")
            for component in body[1:start:2]:
                if component in lowest_bits:
                    lowest_bits[component][first : last + 1] = [bits & 15] * (last + 1 - first)
    return not any(map(any, lowest_bits.values()))


def _pillow_jpeg(data: bytes) -> Image.Image:
    image = JpegImagePlugin.JpegImageFile(io.BytesIO(data))
    image.load()
    return image


def _parts(content: bytes, warnings: list[str]) -> tuple[bytes, Metadata]:
    """The file without metadata, and the metadata."""
    kept, start = [content[:2]], len(content)
    exif, xmp, dpi, icc, texts = b"", None, None, dict[int, bytes](), list[tuple[bytes, bytes]]()
    images, chunks = 0, dict[bytes, bytes]()
    for marker, begin, end in _segments(content):
        if marker == 0xDA:  # the pixels, and segments between scans, stay as they are
            start = begin
            break
        body = content[begin + 4 : end]
        if marker == 0xE0 and body[:5] == b"JFIF\0" and len(body) >= 12:
            across, down = struct.unpack(">HH", body[8:12])
            unit = {1: 1.0, 2: 2.54}.get(body[7])
            if unit and across > 1 and down > 1:
                dpi = (across * unit, down * unit)
            elif not unit and across != down:
                chunks[b"pHYs"] = struct.pack(">IIB", across, down, 0)
        elif marker == 0xE1 and body[:6] == EXIF_HEADER:
            exif += body[6:] if len(exif) < 2**20 else b""
        elif marker == 0xE1 and body.startswith(_XMP):
            xmp = body[29:] if xmp is None else xmp
        elif marker == 0xE2 and body[:12] == b"ICC_PROFILE\0" and len(body) > 14:
            icc.setdefault(body[12], body[14:])
        elif marker == 0xE2 and body[:4] == _SEVERAL:
            images = _images(body[4:])
        elif bytes([marker]) == COMMENT or (bytes([marker]) == IPTC and body.startswith(b"Photoshop ")):
            texts.append((bytes([marker]), body))
        if marker in (0xE0, 0xEE) or not (0xE0 <= marker <= 0xEF or marker == 0xFE):
            kept.append(content[begin:end])
    count_frames(images or 1 + content.count(_NEXT, start), warnings)
    clean = b"".join([*kept, content[start:]])
    profile = b"".join(icc[number] for number in sorted(icc)) or None
    comments = kept_texts(texts, warnings, "comments")
    return clean, Metadata(profile, sound_exif(exif or None, warnings), xmp, dpi, chunks, comments)


def _images(index: bytes) -> int:
    """Number of images in the file by its index (CIPA DC-007), which stereo and HDR cameras write."""
    try:
        found = Directories(index, parts=False)
        return next(found.number("I", e.place) for e in found.main if e.tag == _NUMBER_OF_IMAGES)
    except (ValueError, struct.error, StopIteration):
        return 1


def _segments(content: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, begin and end of the segments of a JPEG; the pixels of a scan are skipped."""
    at = 2
    while (at := content.find(b"\xff", at)) >= 0 and at + 4 <= len(content):
        marker = content[at + 1]
        if marker == 0xFF or marker in (0, 1) or 0xD0 <= marker <= 0xD9:  # padding, or without a body
            at += 1 if marker == 0xFF else 2
            continue
        end = at + 2 + int.from_bytes(content[at + 2 : at + 4], "big")
        yield marker, at, end
        at = max(end, at + 2)


def jpeg_size(content: bytes) -> tuple[int, int]:
    """Width and height as stored."""
    with JpegImagePlugin.JpegImageFile(io.BytesIO(_parts(content, [])[0])) as image:
        return image.size


def write_jpeg(handle: BinaryIO, target: Target, rows: Iterator[np.ndarray]) -> None:
    """Baseline JPEG without subsampled colours, made of strips that are encoded one by one.

    ITU-T T.81: blocks of 8 x 8 pixels depend on each other only through the running mean, which restart
    markers reset. With one marker per row of blocks and eight rows of blocks a strip, the data of the strips
    follow each other as if encoded at once, joined by the eighth marker; only the height differs.
    """
    options = [
        cv2.IMWRITE_JPEG_QUALITY,
        min(100, max(1, target.quality)),
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
        cv2.IMWRITE_JPEG_RST_INTERVAL,
        -(-target.width // 8),
    ]
    for number, strip in enumerate(in_strips(rows, target)):
        done, buffer = cv2.imencode(".jpg", np.ascontiguousarray(strip[..., ::-1]), options)
        if not done:
            raise DataError(f"rows of {strip.shape} cannot be encoded as jpeg")
        jpeg = buffer.tobytes()
        frame, data = _marks(jpeg)
        if number:
            handle.write(b"\xff\xd7")  # the restart marker with the number 7
        else:
            height = target.height.to_bytes(2, "big")
            header = jpeg[: frame + 5] + height + jpeg[frame + 7 : data]
            handle.write(_with_metadata(header, target.metadata))
        handle.write(jpeg[data:-2])
    handle.write(b"\xff\xd9")


def _marks(jpeg: bytes) -> tuple[int, int]:
    """Offsets of a JPEG's frame header and of its scan data."""
    at, frame, marker = 2, 0, 0
    while marker != 0xDA:
        marker, length = jpeg[at + 1], int.from_bytes(jpeg[at + 2 : at + 4], "big")
        frame = at if marker == 0xC0 else frame
        at += 2 + length
    return frame, at


def _with_metadata(jpeg: bytes, metadata: Metadata) -> bytes:
    """A JPEG with the metadata segments that Pillow writes, in place of its own first one."""
    options: dict[str, Any] = {"icc_profile": metadata.icc, "xmp": metadata.xmp}
    options["exif"] = None if metadata.exif is None else EXIF_HEADER + metadata.exif
    options["dpi"] = metadata.dpi and tuple(min(_MOST_DPI, side) for side in metadata.dpi)
    buffer = io.BytesIO()
    given = {key: value for key, value in options.items() if value is not None}
    Image.new("L", (1, 1)).save(buffer, "JPEG", **given)
    other = buffer.getvalue()
    segments = b"".join(other[a:b] for marker, a, b in _segments(other) if 0xE0 <= marker <= 0xEF)
    for mark, body in metadata.texts:
        segments += b"\xff" + mark + (len(body) + 2).to_bytes(2, "big") + body
    at = 4 + int.from_bytes(jpeg[4:6], "big") if jpeg[2:4] == b"\xff\xe0" else 2
    return jpeg[:2] + segments + jpeg[at:]
