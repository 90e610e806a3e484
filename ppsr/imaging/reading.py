"""Reading image files of every usual kind, for data sets, evaluation and upscaling alike.

OpenCV decodes plain PNG and JPEG, Pillow what it knows better (palettes, CMYK, WebP, BMP, GIF, AVIF,
with pillow-heif HEIC), tifffile every TIFF. The range of samples follows their type, never their values.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import UnidentifiedImageError

from ppsr.errors import ConfigError, DataError
from ppsr.files import check_regular
from ppsr.imaging.formats.jpeg import decode_jpeg, jpeg_size
from ppsr.imaging.formats.others import decode_other, has_alpha, open_image
from ppsr.imaging.formats.png import decode_png
from ppsr.imaging.formats.tiff import decode_tiff, tiff_header
from ppsr.imaging.metadata import Metadata, exif_orientation

__all__ = [
    "MAX_PIXELS",
    "DecodedImage",
    "Header",
    "check_value_range",
    "image_header",
    "image_kind",
    "read_content",
    "read_image_file",
]

_LARGEST_FLOAT = float(np.finfo(np.float32).max)
MAX_PIXELS = 2**27  # 134 million
_KINDS = ("png", "jpeg", "webp", "bmp", "tiff", "gif", "avif", "heic")
_UNSUPPORTED = {  # beginnings
    b"\0\0\0\x0cjP  ": "jp2",
    b"\xff\x4f\xff\x51": "jp2",
    b"\0\0\0\x0cJXL ": "jxl",
    b"\xff\x0a": "jxl",
    b"#?RADIANCE": "hdr",
    b"#?RGBE": "hdr",
    b"\x76\x2f\x31\x01": "exr",
    b"8BPS": "psd",
    b"II*\0\x10\0\0\0CR": "cr2",
    b"\0\0\0\x18ftypcrx ": "cr3",
}
_HEIF_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_BMP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)  # lengths
_HEAD = 2**16
_TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {  # EXIF orientation -> what makes it upright
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: a.transpose(1, 0, 2)[:, ::-1],
    7: lambda a: a.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda a: a.transpose(1, 0, 2)[::-1],
}


@dataclass(frozen=True)
class DecodedImage:
    """An image as it was read.

    Attributes:
        pixels: H x W x C, uint8 or uint16 (float32 of a stated range), upright. C is 1 (gray), 2 (gray,
            alpha), 3 (RGB), 4 (RGB, alpha), or the number of bands.
        alpha: whether the last channel is alpha.
    """

    pixels: np.ndarray
    metadata: Metadata
    warnings: tuple[str, ...] = ()
    alpha: bool = False


def image_kind(head: bytes) -> str | None:
    """The kind of image, supported or not, that the first 32 bytes of a file announce; None if it is none."""
    for beginning, kind in _UNSUPPORTED.items():
        if head.startswith(beginning):
            return kind
    if head[:8] == b"\x89PNG\r\n\x1a\n":
        return "png"
    if head[:3] == b"\xff\xd8\xff":
        return "jpeg"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "tiff"
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return "gif"
    if head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS:
        return "avif" if head[8:11] == b"avi" or b"avif" in head else "heic"
    if head[:1] == b"P" and head[1:2] in b"1234567" and head[2:3].isspace() and head[3:4] in b"0123456789#":
        return "ppm"
    return "bmp" if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS else None


def check_value_range(value_range: Sequence[float] | None) -> None:
    """Raise ConfigError unless a range of values is None or two numbers, the lower one first."""
    if value_range is not None:
        numbers = isinstance(value_range, (list, tuple)) and len(value_range) == 2
        numbers = numbers and all(isinstance(v, (int, float)) for v in value_range)
        if not numbers or not (
            -_LARGEST_FLOAT <= value_range[0] < value_range[1] <= _LARGEST_FLOAT
            and value_range[1] - value_range[0] <= _LARGEST_FLOAT
        ):
            raise ConfigError(
                f"value_range must be two 32-bit floats, the lower one first, got {value_range!r}"
            )


def read_image_file(
    path: str | Path,
    *,
    max_pixels: int = MAX_PIXELS,
    allow_truncated: bool = False,
    value_range: Sequence[float] | None = None,
) -> DecodedImage:
    """Read an image of any usual kind.

    Args:
        path: a file; its contents decide, not its name.
        max_pixels: larger images are refused by their header, before they are decoded.
        allow_truncated: accept a JPEG whose end is missing; what is lost is gray.
        value_range: the lowest and highest value of TIFF files of floats, which are refused without; they
            become float32 in [0, 1].

    Raises:
        DataError: missing, not an image, damaged, too large, or of a sample type other than 8 or 16 bit.

    Example:
        >>> read_image_file("photo.png").pixels.shape  # doctest: +SKIP
        (480, 640, 3)
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from None
    return read_content(
        content, path, max_pixels=max_pixels, allow_truncated=allow_truncated, value_range=value_range
    )


def read_content(
    content: bytes,
    path: str | Path,
    *,
    max_pixels: int = MAX_PIXELS,
    allow_truncated: bool = False,
    value_range: Sequence[float] | None = None,
) -> DecodedImage:
    """Like `read_image_file`, for bytes that were read from `path`, which errors name."""
    kind = image_kind(content[:32])
    if kind is None and Path(path).suffix.lower() == ".tga":  # which begins as anything may
        kind = "tga"
    if kind not in _KINDS:
        what = f"{kind.upper()}, which is not supported" if kind else "not an image"
        raise DataError(f"{path} is {what if content else 'empty'}; supported are {', '.join(_KINDS)}")
    try:
        return _decode(content, kind, max_pixels, allow_truncated, value_range)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except MemoryError:
        raise
    except UnidentifiedImageError:  # its text shows an object in memory
        raise DataError(f"cannot decode {path}: its header is damaged") from None
    except cv2.error as error:
        raise DataError(f"cannot decode {path}: {error.err}") from None
    except Exception as error:  # decoders raise almost anything on damaged files
        raise DataError(f"cannot decode {path}: it is damaged or not supported ({error})") from None


def _decode(
    content: bytes, kind: str, max_pixels: int, allow_truncated: bool, value_range: Sequence[float] | None
) -> DecodedImage:
    warnings: list[str] = []
    stored = 1
    if kind == "tiff":
        (pixels, metadata, alpha), stored = decode_tiff(content, max_pixels, warnings, value_range)
    elif kind == "png":
        pixels, metadata, alpha = decode_png(content, max_pixels, warnings)
    elif kind == "jpeg":
        pixels, metadata, alpha = decode_jpeg(content, max_pixels, allow_truncated, warnings)
    else:
        pixels, metadata, alpha = decode_other(content, kind, max_pixels, warnings)
    if kind not in ("tiff", "heic"):  # TIFF has a tag of its own, the decoder of HEIC turns it
        stored = exif_orientation(metadata.exif)
    turn = _TURNS.get(stored)
    upright = pixels if turn is None else np.ascontiguousarray(turn(pixels))
    return DecodedImage(upright, metadata.turned() if stored > 4 else metadata, tuple(warnings), alpha)


class Header(NamedTuple):
    """Width and height as they are stored, and whether there is alpha."""

    width: int
    height: int
    alpha: bool


def image_header(path: Path) -> Header:
    """Header of an image file; nothing is decoded.

    Raises:
        DataError: it is not an image or no regular file, or its header is damaged.
    """
    check_regular(path)
    try:
        with path.open("rb") as handle:
            head = handle.read(_HEAD)
            kind = image_kind(head[:32])
            if kind == "tiff":
                handle.seek(0)
                return Header(*tiff_header(handle))
            if kind == "png":
                before = (head if b"IDAT" in head else head + handle.read()).partition(b"IDAT")[0]
                width, height = struct.unpack(">II", head[16:24])
                return Header(width, height, head[25] in (4, 6) or b"tRNS" in before)
            content = head + handle.read()
        if kind == "jpeg":
            return Header(*jpeg_size(content), False)
        if kind in _KINDS:
            with open_image(content, kind) as image:
                width, height = image.size
                return Header(width, height, has_alpha(image))
    except DataError:
        raise
    except Exception as error:  # see read_image_file
        raise DataError(f"the header of {path} is damaged ({error})") from None
    raise DataError(f"{path} is not an image")
