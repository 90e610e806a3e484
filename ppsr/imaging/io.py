"""Reading and writing images: RGB, float32 in [0, 1], height x width x channels.

The range follows the file's sample type (8 or 16 bit), never its values. Names of any alphabet work on every
system, because files are read and written as bytes.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import numpy as np

from ppsr.errors import DataError
from ppsr.files import walk_folders
from ppsr.imaging.arrays import check_samples
from ppsr.imaging.luma import GRAY_WEIGHTS
from ppsr.imaging.reading import DecodedImage, read_content, read_image_file
from ppsr.imaging.writing import Target, supported_dtype, write_rows

__all__ = [
    "IMAGE_SUFFIXES",
    "decode_content",
    "decode_image",
    "list_images",
    "read_image",
    "read_own",
    "to_rgb",
    "to_uint8",
    "to_unit",
    "write_image",
]

logger = logging.getLogger(__name__)

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".avif"})
if find_spec("pillow_heif"):
    IMAGE_SUFFIXES |= {".heic", ".heif"}
_MAX = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0}


def list_images(folder: str | Path, *, recursive: bool = False) -> list[Path]:
    """Images of a folder by suffix, sorted by name; with `recursive` of its folders and linked ones too.

    Links that lead nowhere are among them, so that reading names them. Hidden ones, whose name or sub-folder
    begins with a dot, are left out: remains of killed runs, and what macOS and trash bins keep near images.

    Raises:
        DataError: no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}")
    places = walk_folders(folder)
    return sorted(
        path
        for place, _, names in (places if recursive else islice(places, 1))
        for name in names
        if Path(name).suffix.lower() in IMAGE_SUFFIXES
        and ((path := place / name).is_file() or not path.exists())
    )


def decode_image(path: str | Path, *, value_range: Sequence[float] | None = None) -> np.ndarray:
    """Read a file in its own sample type: H x W (gray) or H x W x C (RGB or bands), upright, without alpha;
    floats of a TIFF as float32 in [0, 1] of `value_range`.

    Raises:
        DataError: missing, not an image, damaged, or of a sample type other than 8 or 16 bit.
    """
    return _plain(read_image_file(path, value_range=value_range), str(path))


def decode_content(content: bytes, where: str | Path) -> np.ndarray:
    """Like `decode_image`, for the bytes of a file."""
    return _plain(read_content(content, where), str(where))


def _plain(image: DecodedImage, where: str) -> np.ndarray:
    for warning in image.warnings:
        _warn_once(where, warning)
    pixels = image.pixels[..., :-1] if image.alpha else image.pixels
    return pixels[..., 0] if pixels.shape[2] == 1 else np.ascontiguousarray(pixels)


@lru_cache(4096)
def _warn_once(where: str, warning: str) -> None:
    logger.warning("%s: %s", where, warning)


def read_own(path: str | Path, *, value_range: Sequence[float] | None = None) -> np.ndarray:
    """Read an image with the channels that its file has: H x W or H x W x C, float32 in [0, 1].

    Args:
        value_range: see `decode_image`.

    Raises:
        DataError: as `decode_image`.
    """
    return to_unit(decode_image(path, value_range=value_range))


def to_unit(image: np.ndarray) -> np.ndarray:
    """uint8 or uint16 -> float32 in [0, 1]; the range follows the sample type, so 16 bits lose nothing.

    Floats keep their values."""
    values = image.astype(np.float32, copy=False)
    return values if image.dtype.kind == "f" else values / np.float32(_MAX[image.dtype])


def to_rgb(image: np.ndarray) -> np.ndarray:
    """Repeat an H x W gray image to three channels; others stay as they are."""
    return np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image


def read_image(path: str | Path, *, gray: bool = False) -> np.ndarray:
    """Read an image as H x W x 3 RGB float32 in [0, 1]; gray ones are repeated to three channels. A TIFF file
    of other bands keeps them.

    Args:
        gray: return H x W x 1 (luma of colour images by BT.601) instead.

    Raises:
        DataError: as `decode_image`, or the luma of other bands is asked for.
    """
    values = read_own(path)
    if gray:
        if values.ndim == 3 and values.shape[2] != 3:
            raise DataError(
                f"{path} has {values.shape[2]} bands, which have no luma; give a gray or RGB image"
            )
        plane = values if values.ndim == 2 else values @ GRAY_WEIGHTS
        return plane[..., None].astype(np.float32)
    return to_rgb(values)


def to_uint8(image: np.ndarray) -> np.ndarray:
    """[0, 1] -> 8 bit: clip, scale, round half to even; NaN is refused.

    Raises:
        DataError: a value is NaN.
    """
    if np.isnan(image).any():
        raise DataError("the image has NaN values; the network overflowed or its weights are broken")
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)


def write_image(path: str | Path, image: np.ndarray, *, quality: int = 95) -> None:
    """Write an image, whole or not at all.

    Args:
        path: the suffix chooses the format.
        image: H x W or H x W x 1, 2, 3, 4; uint8 or uint16 as it is, float as [0, 1] to 8 bit.
        quality: JPEG, WebP and AVIF quality.

    Raises:
        DataError: the format cannot hold the image, or is unknown; or this is no image.
    """
    path = Path(path)
    try:
        if not isinstance(image, np.ndarray) or image.ndim not in (2, 3):
            got = (
                f"an array of shape {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
            )
            raise DataError(f"an image must be a numpy array of H x W or H x W x C, got {got}")
        check_samples(image)
        image = to_uint8(image) if image.dtype.kind == "f" else image
        pixels = image[..., None] if image.ndim == 2 else image
        height, width, channels = pixels.shape
        target = Target(height, width, channels, pixels.dtype, quality=quality, alpha=channels in (2, 4))
        dtype, _ = supported_dtype(path.suffix, target)
        if dtype != pixels.dtype:
            raise DataError(f"{path.suffix} holds {dtype}, the image is {pixels.dtype}; use png or tif")
        write_rows(path, target, iter([pixels]))
    except DataError as error:
        raise DataError(f"cannot write {path}: {error}") from None
