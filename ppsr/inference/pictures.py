"""Reading the pictures that people have: every usual kind, upright, with profile and EXIF, damage detected.

What is not stated by a decoder is checked here: the end of a PNG and its checksums, the end of a JPEG, the
size that a header claims before anything is decoded. The range of samples follows their type, never their
values.
"""

from __future__ import annotations

import io
import mmap
import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError

from ppsr.errors import DataError
from ppsr.inference.essentials import DAMAGED_EXIF, essentials, is_sound_exif, pixels_of_png
from ppsr.inference.metadata import exif_tags
from ppsr.inference.tiff import MAX_PAGES, Tiff

_ALPHA_MODES = ("LA", "La", "PA", "RGBA", "RGBa")
__all__ = ["MAX_PIXELS", "UNREADABLE", "Header", "Picture", "picture_header", "picture_kind", "read_picture"]

MAX_PIXELS = 2**27  # 134 million
_KINDS = ("png", "jpeg", "webp", "bmp", "tiff", "gif")
UNREADABLE = (  # what Pillow raises on damaged files
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    KeyError,
    IndexError,
    TypeError,
    OverflowError,
    ZeroDivisionError,
    NotImplementedError,
    struct.error,
    zlib.error,
)
_TURNS = {  # EXIF orientation -> what makes it upright
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: a.transpose(1, 0, 2)[:, ::-1],
    7: lambda a: a.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda a: a.transpose(1, 0, 2)[::-1],
}
_ORIENTATION = 0x0112
_TRAILER = 2**16  # cameras write their own data behind the end of a JPEG
_pillow = threading.Lock()


class Header(NamedTuple):
    """Width and height as they are stored, and whether there is alpha."""

    width: int
    height: int
    alpha: bool


@dataclass(frozen=True)
class Picture:
    """A picture as it was read.

    Attributes:
        pixels: H x W x 1 (gray), 2 (gray, alpha), 3 (RGB) or 4 (RGB, alpha), uint8 or uint16, upright.
        kind: png, jpeg, webp, bmp, tiff or gif.
        icc: colour profile of the pixels.
        exif: tags, which may still name an orientation.
        warnings: what the reader should know.
    """

    pixels: np.ndarray
    kind: str
    icc: bytes | None = None
    exif: Image.Exif = field(default_factory=Image.Exif)
    warnings: tuple[str, ...] = ()


def picture_kind(head: bytes) -> str | None:
    """The kind of picture that the first 32 bytes of a file announce; None: no picture."""
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
    if head[4:8] == b"ftyp" and head[8:12] in (b"avif", b"avis", b"heic", b"heix", b"mif1"):
        return "avif" if head[8:11] == b"avi" or b"avif" in head else "heic"
    return "bmp" if head[:2] == b"BM" and head[6:10] == b"\0\0\0\0" else None


def read_picture(path: str | Path, *, max_pixels: int = MAX_PIXELS, allow_truncated: bool = False) -> Picture:
    """Read a picture of any usual kind.

    Args:
        path: a file; its contents decide, not its name.
        max_pixels: larger pictures are refused by their header, before they are decoded.
        allow_truncated: accept a JPEG whose end is missing; what is lost is gray.

    Raises:
        DataError: missing, not a picture, damaged, too large, or of a sample type other than 8 or 16 bit.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from None
    kind = picture_kind(content[:32])
    if kind not in _KINDS:
        what = f"{kind.upper()}, which is not supported" if kind else "not a picture"
        raise DataError(f"{path} is {what if content else 'empty'}; supported are {', '.join(_KINDS)}")
    try:
        return _decode(content, kind, max_pixels, allow_truncated)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except cv2.error as error:
        raise DataError(f"cannot decode {path}: {error.err}") from None
    except UnidentifiedImageError:  # its text shows an object in memory
        why = f"it is {Tiff(io.BytesIO(content))}, " if kind == "tiff" else "its header is "
        why += "which is damaged or not supported" if kind == "tiff" else "damaged"
        raise DataError(f"cannot decode {path}: {why}") from None
    except (Image.DecompressionBombError, *UNREADABLE) as error:
        raise DataError(f"cannot decode {path}: {error}") from None


def _decode(whole: bytes, kind: str, max_pixels: int, allow_truncated: bool) -> Picture:
    """A picture from the bytes of a file.

    Raises:
        DataError: as `read_picture`.
    """
    warnings: list[str] = []
    depth = whole[24] if kind == "png" and len(whole) > 25 else 8
    if kind == "tiff":
        tiff = Tiff(io.BytesIO(whole))
        _check_size((tiff.width, tiff.height), max_pixels)
        tiff.check()
        if tiff.bits == 16:
            return _deep_tiff(tiff, warnings)
    if kind == "png":  # before all of it is looked at
        _check_size((int.from_bytes(whole[16:20], "big"), int.from_bytes(whole[20:24], "big")), max_pixels)
    content, frames, lost = essentials(whole, kind)
    warnings += lost
    with _opened(io.BytesIO(content), kind) as image:
        _check_size(image.size, max_pixels)
        # Pillow's count of a TIFF's pages takes time that grows with their square
        frames = tiff.pages() if kind == "tiff" else frames
        _count(int(getattr(image, "n_frames", 1)) if frames is None else frames, warnings)
        if kind == "webp" and "exif" in image.info and not is_sound_exif(image.info["exif"]):
            del image.info["exif"]
            warnings.append(DAMAGED_EXIF)
        icc = image.info.get("icc_profile")
        if depth == 16:
            # Pillow decodes a whole PNG in search of EXIF
            exif = exif_tags(image.getexif()) if b"eXIf" in content else Image.Exif()
            pixels = _deep_png(content, gray=content[25] in (0, 4))
            clear = image.info.get("transparency")
            if content[25] == 0 and clear is not None:  # OpenCV leaves it out of gray, not out of colours
                alpha = np.where(pixels == clear, 0, 65_535).astype(np.uint16)
                pixels = np.concatenate([pixels, alpha], axis=2)
        else:
            if kind == "jpeg":
                image = _whole_jpeg(content, image, allow_truncated, warnings)  # noqa: PLW2901
            image.load()
            exif = _tiff_exif(tiff, warnings) if kind == "tiff" else exif_tags(image.getexif())
            pixels, icc = _eight_bit(image, icc, warnings)
    orientation = 1 if kind == "tiff" else exif.get(_ORIENTATION, 1)  # Pillow turns TIFF files itself
    return Picture(_upright(pixels, orientation), kind, icc, exif, tuple(warnings))


def _deep_tiff(tiff: Tiff, warnings: list[str]) -> Picture:
    """A TIFF of 16 bits, of which Pillow knows few."""
    _count(tiff.pages(), warnings)
    if tiff.spare:
        warnings.append("the sample behind the colours is no alpha and is left out")
    exif = _tiff_exif(tiff, warnings)
    return Picture(_upright(tiff.deep(), tiff.orientation), "tiff", tiff.icc, exif, tuple(warnings))


def _tiff_exif(tiff: Tiff, warnings: list[str]) -> Image.Exif:
    """What a TIFF says beside its layout."""
    try:
        if tiff.is_modest():
            return exif_tags(tiff.exif())
    except DataError:
        pass
    warnings.append(DAMAGED_EXIF)
    return Image.Exif()


def _count(frames: int, warnings: list[str]) -> None:
    """Warn of more frames than the one that is used."""
    if frames > 1:
        number = f"{frames}" if frames <= MAX_PAGES else f"more than {MAX_PAGES:,}"
        warnings.append(f"{number} frames or pages, the first is used")


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    turn = _TURNS.get(orientation)
    return pixels if turn is None else np.ascontiguousarray(turn(pixels))


@contextmanager
def _opened(source: Path | BinaryIO, kind: str) -> Iterator[Image.Image]:
    """Pillow's view of a file by its header, without Pillow's own limit of the size: ours is checked then."""
    with _pillow:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            image = Image.open(source, formats=[kind.upper()])
        finally:
            Image.MAX_IMAGE_PIXELS = limit
    with image:
        yield image


def picture_header(path: Path, kind: str) -> Header:
    """What a file states, before it is turned upright; nothing is decoded.

    Args:
        path: a file.
        kind: from `picture_kind`, one that is supported.

    Raises:
        DataError: a TIFF is damaged.
        OSError: as the rest of `UNREADABLE`, Pillow finds the file damaged.
    """
    if kind == "tiff":
        with path.open("rb") as handle:
            tiff = Tiff(handle)
            return Header(tiff.width, tiff.height, tiff.samples in (2, 4) and not tiff.spare)
    with path.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as content:
        leading = essentials(content, kind, header=True).content
        with _opened(io.BytesIO(leading), kind) as image:
            return Header(*image.size, image.mode in _ALPHA_MODES or "transparency" in image.info)


def _check_size(size: tuple[int, int], max_pixels: int) -> None:
    """Raise for a size that is not to be decoded.

    Raises:
        DataError: empty, or more than `max_pixels`.
    """
    if min(size) < 1:
        raise DataError(f"the picture is empty: {size[0]} x {size[1]}")
    if size[0] * size[1] > max_pixels:
        raise DataError(
            f"{size[0]} x {size[1]} are {size[0] * size[1]:,} pixels, allowed are {max_pixels:,}; raise the "
            "limit (--max-pixels) if the file can be trusted"
        )


def _whole_jpeg(
    content: bytes, image: Image.Image, allow_truncated: bool, warnings: list[str]
) -> Image.Image:
    """The picture, checked to have all its data even if the end marker is missing.

    Without the marker, the picture is decoded twice with different bytes behind its end: they show in the
    result only where data is missing.

    Raises:
        DataError: data is missing.
    """
    try:
        image.load()
        if b"\xff\xd9" in content[-_TRAILER:]:
            return image
    except OSError as error:
        if "truncated" not in str(error):
            raise
    data = content[:-1] if content.endswith(b"\xff") else content  # half of a marker
    tails = (b"\xff\xd9", b"\x55" * 64 + b"\xff\xd9")
    ends = [Image.open(io.BytesIO(data + tail), formats=["JPEG"]) for tail in tails]
    if np.array_equal(np.asarray(ends[0]), np.asarray(ends[1])):
        warnings.append("the JPEG's end marker is missing, its data is complete")
    elif allow_truncated:
        warnings.append("the JPEG is truncated: part of the picture is missing")
    else:
        raise DataError("the JPEG is truncated; --allow-truncated takes it with a part missing")
    return ends[0]


def _deep_png(content: bytes, *, gray: bool) -> np.ndarray:
    """H x W x C of a PNG of 16 bits, RGB order.

    Raises:
        DataError: the data is damaged.
    """
    pixels = cv2.imdecode(np.frombuffer(pixels_of_png(content), np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise DataError("the picture's data is damaged")
    if pixels.dtype != np.uint16:
        raise DataError(f"16-bit samples were announced, {pixels.dtype} were found")
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    if gray and pixels.shape[2] > 1:
        return np.ascontiguousarray(pixels[..., [0, 3]] if pixels.shape[2] == 4 else pixels[..., :1])
    order = {1: [0], 2: [0, 1], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[pixels.shape[2]]
    return np.ascontiguousarray(pixels[..., order])


def _eight_bit(image: Image.Image, icc: bytes | None, warnings: list[str]) -> tuple[np.ndarray, bytes | None]:
    """H x W x C of 8 bits, and the profile if it still holds.

    Raises:
        DataError: samples of another type.
    """
    mode = image.mode
    if mode in ("I", "F") or mode.startswith("I;"):
        raise DataError(f"samples of type {mode} are not supported; convert it to 8 or 16 bit")
    if mode == "CMYK":
        image, warning = _from_cmyk(image, icc)
        warnings.append(warning)
        icc = None
    elif mode in ("P", "PA", "RGBa", "La") or "transparency" in image.info:
        gray = mode in ("1", "L", "La")
        clear = mode != "P" or "transparency" in image.info
        target = ("LA" if clear else "L") if gray else ("RGBA" if clear else "RGB")
        image = image.convert("RGBA").convert("LA") if gray and mode != "La" else image.convert(target)
    elif mode == "1":
        image = image.convert("L")
    elif mode not in ("L", "LA", "RGB", "RGBA"):
        image = image.convert("RGB")
    pixels = np.asarray(image)
    return pixels[..., None] if pixels.ndim == 2 else pixels, icc


def _from_cmyk(image: Image.Image, icc: bytes | None) -> tuple[Image.Image, str]:
    """RGB of a CMYK picture: by its profile, without one by the plain formula."""
    if icc:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
            converted = ImageCms.profileToProfile(
                image, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
            if converted is not None:
                return converted, "CMYK was converted to sRGB by its profile"
        except (ImageCms.PyCMSError, OSError, ValueError):
            return image.convert("RGB"), "CMYK was converted to RGB, its profile is unusable and was ignored"
    return image.convert("RGB"), "CMYK was converted to RGB without a profile"
