"""Writing images row by row, so that memory does not grow with them, with what their source carried.

PNG and JPEG are encoded here, since no library encodes them by rows and keeps PNG's colour chunks; TIFF is
written by tifffile as rows come. WebP, BMP and AVIF want the whole image: Pillow writes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from PIL import features

from ppsr.errors import DataError
from ppsr.files import atomic_path
from ppsr.imaging.formats.common import Target
from ppsr.imaging.formats.jpeg import write_jpeg
from ppsr.imaging.formats.others import write_other
from ppsr.imaging.formats.png import write_png
from ppsr.imaging.formats.tiff import write_tiff
from ppsr.imaging.reading import image_header

__all__ = ["FORMATS", "Target", "supported_dtype", "with_alpha", "write_rows"]

FORMATS = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp", ".bmp": "bmp"}
FORMATS |= {".tif": "tiff", ".tiff": "tiff", ".avif": "avif"}
_SIDES = {"jpeg": 65_500, "webp": 16_383, "avif": 65_536}
_FOUR_GIGABYTES = 2**32 - 2**20
_NO_ALPHA = ("jpeg", "bmp")


def with_alpha(suffix: str) -> tuple[str, list[str]]:
    """The suffix under which an image with alpha is written where this one was asked for, and a warning."""
    if FORMATS[suffix.lower()] in _NO_ALPHA:
        return ".png", [f"{suffix} has no alpha, png is written instead"]
    return suffix, []


def supported_dtype(suffix: str, target: Target) -> tuple[np.dtype, list[str]]:
    """The sample type in which a format can hold an image, and what is lost.

    Raises:
        DataError: unknown format, too large for it, or it has no alpha or not as many channels.
    """
    kind = FORMATS.get(suffix.lower())
    if kind is None:
        raise DataError(f"the format '{suffix}' is unknown; valid: {', '.join(sorted(FORMATS))}")
    if kind == "avif" and not features.check("avif"):
        raise DataError("AVIF needs a Pillow with libavif: pip install 'Pillow>=11.3'")
    size = f"{target.width} x {target.height}"
    if max(target.height, target.width) > _SIDES.get(kind, 2**31 - 1):
        raise DataError(
            f"{suffix} holds at most {_SIDES[kind]:,} pixels a side, the result has {size}; use png"
        )
    if target.alpha and kind in _NO_ALPHA:
        raise DataError(f"{suffix} has no alpha; use png, webp or tif")
    if target.channels - target.alpha not in (1, 3) and kind != "tiff":
        raise DataError(f"{suffix} holds gray or RGB, the result has {target.channels} bands; use tif")
    if kind == "bmp" and target.height * target.width * target.channels > _FOUR_GIGABYTES:
        raise DataError(f"{suffix} holds 4 GB, the result of {size} has more; use png")
    if target.dtype.kind == "f" and kind != "tiff":
        raise DataError(f"{suffix} does not hold floats; use tif (--ext tif)")
    if target.dtype == np.uint16 and kind not in ("png", "tiff"):
        return np.dtype(np.uint8), [f"{suffix} has 8 bits a sample, 16 were reduced"]
    return target.dtype, []


def write_rows(path: Path, target: Target, rows: Iterator[np.ndarray]) -> None:
    """Write an image whose rows come from top to bottom; the file appears whole or not at all.

    Args:
        path: the suffix chooses the format; see `supported_dtype`.
        rows: arrays (some rows, width, channels) of the target's type.

    Raises:
        DataError: the format cannot hold the image, or rows are missing.
        OSError: the disk is full.
    """
    kind = FORMATS[path.suffix.lower()]
    makers: dict[str, Callable[[BinaryIO, Target, Iterator[np.ndarray]], None]]
    makers = {"png": write_png, "jpeg": write_jpeg, "tiff": write_tiff}
    written = 0

    def counted() -> Iterator[np.ndarray]:
        nonlocal written
        for part in rows:
            written += len(part)
            yield part

    with atomic_path(path) as temporary:
        with temporary.open("w+b") as handle:
            try:
                if kind in makers:
                    makers[kind](handle, target, counted())
                else:
                    write_other(handle, target, counted(), kind)
            except cv2.error as error:
                raise DataError(f"cannot encode {kind}: {error.err}") from None
        if written != target.height:
            raise DataError(f"{path.name} needs {target.height} rows, {written} came")
        header = image_header(temporary)
        if (header.width, header.height) != (target.width, target.height):
            raise DataError(f"{path.name} was written as {header[:2]}, not {(target.width, target.height)}")
