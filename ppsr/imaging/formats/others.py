"""WebP, BMP, GIF, AVIF and HEIC, and whatever else Pillow knows best: palettes and CMYK."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageCms, features

from ppsr.errors import DataError
from ppsr.imaging.formats.common import Decoded, Target, check_size, count_frames, sound_exif
from ppsr.imaging.metadata import EXIF_HEADER, Metadata

_MOST_FRAMES = 100  # counted: Pillow goes through them one by one
_MOST_COMMENTS = 1000  # Pillow's time grows with their square
_DEPTHS, _BOXES = b"pixi", 2**16  # a box of AVIF and HEIC: version, number of channels, bits of each
_ALPHA_MODES = ("LA", "La", "PA", "RGBA", "RGBa")
_lock = threading.Lock()


def open_image(content: bytes, kind: str) -> Image.Image:
    """Pillow's view of a file, without its own limit of the size: ours is checked by the header."""
    if kind == "avif" and not features.check("avif"):
        raise DataError("AVIF needs a Pillow with libavif: pip install 'Pillow>=11.3'")
    if kind == "heic":
        try:
            import pillow_heif
        except ImportError:
            raise DataError("HEIC needs the library pillow-heif: pip install pillow-heif") from None
        pillow_heif.register_heif_opener(thumbnails=False)
        kind = "heif"
    with _lock:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(io.BytesIO(content), formats=[kind.upper()])
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def decode_other(content: bytes, kind: str, max_pixels: int, warnings: list[str]) -> Decoded:
    """Decode the first frame; what the user should know is added to `warnings`."""
    if kind == "gif" and content.count(b"!\xfe") > _MOST_COMMENTS + len(content) // 2**12:
        raise DataError(f"a GIF of more than {_MOST_COMMENTS:,} comments is refused")
    with open_image(content, kind) as image:
        check_size(image.size, max_pixels)
        image.load()
        info = dict(image.info)
        pixels, icc = eight_bit(image, info.get("icc_profile"), warnings)
        frames = 1
        while frames <= _MOST_FRAMES and getattr(image, "is_animated", False):
            try:
                image.seek(frames)
            except EOFError:
                break
            frames += 1
    count_frames(frames, warnings, _MOST_FRAMES)
    box = content.find(_DEPTHS, 0, _BOXES) if kind in ("avif", "heic") else -1
    if box >= 0 and (bits := max(content[box + 9 : box + 12], default=8)) > 8:
        warnings.append(f"its {bits} bits a sample were reduced to 8")
    exif = info.get("exif")
    metadata = Metadata(
        icc=icc,
        exif=sound_exif(None if exif is None else exif.removeprefix(EXIF_HEADER), warnings),
        xmp=info.get("xmp"),
        dpi=info.get("dpi"),
    )
    return pixels, metadata, pixels.shape[2] in (2, 4)


def eight_bit(image: Image.Image, icc: bytes | None, warnings: list[str]) -> tuple[np.ndarray, bytes | None]:
    """H x W x C of 8 bits, and the profile if it still describes them."""
    mode = image.mode
    if mode in ("I", "F") or mode.startswith("I;"):
        raise DataError(f"samples of type {mode} are not supported; convert the image to 8 or 16 bit")
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
    """RGB of a CMYK image: by its profile, without one by the plain formula."""
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


def has_alpha(image: Image.Image) -> bool:
    """Whether an opened file announces alpha."""
    return image.mode in _ALPHA_MODES or "transparency" in image.info


def write_other(handle: BinaryIO, target: Target, rows: Iterator[np.ndarray], kind: str) -> None:
    """Write a whole image, which these formats want at once."""
    pixels = np.concatenate(list(rows))
    metadata = target.metadata
    image = Image.fromarray(pixels[..., 0] if target.channels == 1 else pixels)
    options: dict[str, Any] = {"quality": min(100, max(1, target.quality))}
    options |= {"exif": metadata.exif} if metadata.exif is not None else {}
    options |= {"icc_profile": metadata.icc} if metadata.icc is not None else {}
    options |= {"xmp": metadata.xmp} if metadata.xmp is not None else {}
    options |= {"dpi": metadata.dpi} if metadata.dpi is not None and kind == "bmp" else {}
    buffer = io.BytesIO()  # so that what is refused by a full disk is the system's own error
    try:
        image.save(buffer, kind.upper(), **options)
    except (ValueError, OSError) as error:
        raise DataError(f"cannot encode {kind}: {error}") from None
    handle.write(buffer.getvalue())
