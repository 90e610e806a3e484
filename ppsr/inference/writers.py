"""Writing pictures row by row, so that memory does not grow with them.

PNG, JPEG, TIFF and BMP are written as the rows come. WebP's encoder wants the whole picture: its rows go to a
file on disk that is mapped into memory, which the system can take out again.
"""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from PIL import TiffImagePlugin

from ppsr.errors import DataError
from ppsr.files import atomic_path
from ppsr.inference.metadata import jpeg_with_metadata, parsed, webp_with_metadata
from ppsr.inference.pictures import picture_header

__all__ = ["FORMATS", "Target", "fitting", "open_writer"]

FORMATS = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}
FORMATS |= {".bmp": "bmp", ".tif": "tiff", ".tiff": "tiff"}
_SIDES = {"png": 2**31 - 1, "jpeg": 65_500, "webp": 16_383, "bmp": 2**31 - 1, "tiff": 2**31 - 1}
_FOUR_GIGABYTES = 2**32 - 2**20
_IN_MEMORY = 2**26  # bytes of a WebP picture that need no file
_LEVEL = 4  # of zlib: beyond it time doubles for a few per cent
_IDAT = 2**20
_STRIP = 16  # rows
_PLACES = 275  # stands for the tag 273, whose values Pillow would move behind the directory


@dataclass(frozen=True)
class Target:
    """The picture to be written.

    Attributes:
        height: rows.
        width: columns.
        channels: 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha.
        dtype: uint8 or uint16.
        icc: colour profile.
        exif: block without "Exif\\0\\0".
        quality: of JPEG and WebP, 1 to 100.
    """

    height: int
    width: int
    channels: int
    dtype: np.dtype
    icc: bytes | None = None
    exif: bytes | None = None
    quality: int = 95


def fitting(suffix: str, target: Target) -> tuple[np.dtype, list[str]]:
    """The sample type in which a format can hold a picture, and what is lost.

    Args:
        suffix: of the file, with its dot.
        target: what is wanted.

    Raises:
        DataError: unknown format, too large for it, or it has no alpha.
    """
    kind = FORMATS.get(suffix.lower())
    if kind is None:
        raise DataError(f"the format '{suffix}' is unknown; valid: {', '.join(sorted(FORMATS))}")
    size = f"{target.width} x {target.height}"
    if max(target.height, target.width) > _SIDES[kind]:
        raise DataError(
            f"{suffix} holds at most {_SIDES[kind]:,} pixels a side, the result has {size}; use png"
        )
    if target.channels in (2, 4) and kind in ("jpeg", "bmp"):
        raise DataError(f"{suffix} has no alpha; use png, webp or tif")
    bits = 8 * target.dtype.itemsize if kind in ("png", "tiff") else 8
    if kind == "bmp" and target.height * target.width * target.channels > _FOUR_GIGABYTES:
        raise DataError(f"{suffix} holds 4 GB, the result of {size} has more; use png")
    if bits == 8 and target.dtype == np.uint16:
        return np.dtype(np.uint8), [f"{suffix} has 8 bits a sample, 16 were reduced"]
    return target.dtype, []


class _Writer(ABC):
    """Takes rows from top to bottom."""

    @abstractmethod
    def write(self, rows: np.ndarray) -> None:
        """(rows, W, C) of the target's type."""

    @abstractmethod
    def finish(self) -> None:
        """All rows are there."""


class _Png(_Writer):
    """W3C PNG, third edition: each row with the filter of the smallest sum of differences."""

    def __init__(self, handle: BinaryIO, target: Target) -> None:
        self.handle = handle
        self.packer = zlib.compressobj(_LEVEL)
        self.pending = bytearray()
        self.pixel = target.channels * target.dtype.itemsize
        self.above = np.zeros(target.width * self.pixel, np.uint8)
        colour = {1: 0, 2: 4, 3: 2, 4: 6}[target.channels]
        handle.write(b"\x89PNG\r\n\x1a\n")
        size = target.width.to_bytes(4, "big") + target.height.to_bytes(4, "big")
        self._chunk(b"IHDR", size + bytes([8 * target.dtype.itemsize, colour, 0, 0, 0]))
        if target.icc is not None:
            self._chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(target.icc))
        if target.exif is not None:
            self._chunk(b"eXIf", target.exif)

    def _chunk(self, kind: bytes, content: bytes) -> None:
        check = zlib.crc32(content, zlib.crc32(kind))
        self.handle.write(len(content).to_bytes(4, "big") + kind + content + check.to_bytes(4, "big"))

    def write(self, rows: np.ndarray) -> None:
        plain = rows.astype(rows.dtype.newbyteorder(">"), copy=False)
        plain = np.ascontiguousarray(plain).view(np.uint8).reshape(len(rows), -1)
        lines = np.empty((2, len(rows), plain.shape[1] + 1), np.uint8)
        lines[0, :, 0], lines[1, :, 0] = 1, 2
        left, up = lines[0, :, 1:], lines[1, :, 1:]
        left[:] = plain
        left[:, self.pixel :] -= plain[:, : -self.pixel]
        up[0] = plain[0] - self.above
        np.subtract(plain[1:], plain[:-1], out=up[1:])
        self.above = plain[-1].copy()
        costs = [
            np.abs(part.view(np.int8).astype(np.int16)).sum(axis=1, dtype=np.int64) for part in (left, up)
        ]
        best = (costs[1] < costs[0]).astype(int)
        self.pending += self.packer.compress(lines[best, np.arange(len(rows))].tobytes())
        self._flush(_IDAT)

    def _flush(self, least: int) -> None:
        while len(self.pending) >= max(1, least):
            self._chunk(b"IDAT", bytes(self.pending[:_IDAT]))
            del self.pending[:_IDAT]

    def finish(self) -> None:
        self.pending += self.packer.flush()
        self._flush(1)
        self._chunk(b"IEND", b"")


class _Tiff(_Writer):
    """TIFF 6.0 in deflated strips with horizontal differences; the directory stands at the end."""

    def __init__(self, handle: BinaryIO, target: Target) -> None:
        self.handle = handle
        self.target = target
        self.pending = np.empty((0, target.width, target.channels), target.dtype)
        self.offsets: list[int] = []
        self.counts: list[int] = []
        handle.write(b"II*\0\0\0\0\0")

    def write(self, rows: np.ndarray) -> None:
        self.pending = np.concatenate([self.pending, rows])
        while len(self.pending) >= _STRIP:
            self._strip(self.pending[:_STRIP])
            self.pending = self.pending[_STRIP:]

    def _strip(self, rows: np.ndarray) -> None:
        different = rows.astype(rows.dtype.newbyteorder("<"))
        different[:, 1:] -= rows[:, :-1]
        packed = zlib.compress(different.tobytes(), _LEVEL)
        if self.handle.tell() + len(packed) > _FOUR_GIGABYTES:
            raise DataError("a TIFF file holds 4 GB and the result is larger; use png")
        self.offsets.append(self.handle.tell())
        self.counts.append(len(packed))
        self.handle.write(packed + b"\0" * (len(packed) % 2))

    def finish(self) -> None:
        if len(self.pending):
            self._strip(self.pending)
        target = self.target
        tags = TiffImagePlugin.ImageFileDirectory_v2()
        for tag, value in parsed(target.exif).items() if target.exif is not None else ():
            tags[tag] = value
        tags[256], tags[257] = target.width, target.height
        tags[258] = (8 * target.dtype.itemsize,) * target.channels
        tags[259], tags[317] = 8, 2
        tags[262] = 1 if target.channels < 3 else 2
        tags[_PLACES], tags[279] = tuple(self.offsets), tuple(self.counts)
        tags[277], tags[278], tags[284] = target.channels, _STRIP, 1
        tags[339] = (1,) * target.channels
        if target.channels in (2, 4):
            tags[338] = 2  # alpha that is not multiplied into the colours
        if target.icc is not None:
            tags[34675] = target.icc
        for tag in (258, 277, 338, 339):
            tags.tagtype[tag] = 3
        for tag in (256, 257, _PLACES, 278, 279):
            tags.tagtype[tag] = 4
        tags.pop(274, None)  # upright, which is also what a TIFF without this tag is
        at = self.handle.tell()
        directory = bytearray(tags.tobytes(at))
        for entry in range(2, 2 + 12 * int.from_bytes(directory[:2], "little"), 12):
            if directory[entry : entry + 2] == _PLACES.to_bytes(2, "little"):
                directory[entry : entry + 2] = (273).to_bytes(2, "little")
        self.handle.write(directory)
        self.handle.seek(4)
        self.handle.write(at.to_bytes(4, "little"))


class _Bmp(_Writer):
    """Rows from top to bottom, which a negative height states."""

    def __init__(self, handle: BinaryIO, target: Target) -> None:
        self.handle = handle
        gray = target.channels == 1
        line = -(-target.width * target.channels // 4) * 4
        self.fill = line - target.width * target.channels
        start = 54 + (1024 if gray else 0)
        handle.write(b"BM" + (start + line * target.height).to_bytes(4, "little") + b"\0\0\0\0")
        handle.write(start.to_bytes(4, "little") + (40).to_bytes(4, "little"))
        handle.write(target.width.to_bytes(4, "little") + (-target.height).to_bytes(4, "little", signed=True))
        handle.write(b"\1\0" + (8 * target.channels).to_bytes(2, "little") + b"\0" * 24)
        if gray:
            handle.write(b"".join(bytes([level, level, level, 0]) for level in range(256)))

    def write(self, rows: np.ndarray) -> None:
        lines = rows[..., ::-1].reshape(len(rows), -1)
        self.handle.write(np.pad(lines, ((0, 0), (0, self.fill))).tobytes())

    def finish(self) -> None:
        self.handle.flush()


class _Jpeg(_Writer):
    """Baseline JPEG without subsampled colours, made of strips that are encoded one by one.

    ITU-T T.81: blocks of 8 x 8 pixels depend on each other only through the running mean, which restart
    markers reset. With one marker per row of blocks and eight rows a strip, the data of the strips follow
    each other as if encoded at once, joined by the eighth marker; only the height in the header differs.
    """

    _ROWS = 64

    def __init__(self, handle: BinaryIO, target: Target) -> None:
        self.handle = handle
        self.target = target
        self.pending = np.empty((0, target.width, target.channels), np.uint8)
        self.begun = False
        self.options = [
            cv2.IMWRITE_JPEG_QUALITY,
            min(100, max(1, target.quality)),
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
            cv2.IMWRITE_JPEG_RST_INTERVAL,
            -(-target.width // 8),
        ]

    def write(self, rows: np.ndarray) -> None:
        self.pending = np.concatenate([self.pending, rows])
        while len(self.pending) >= self._ROWS:
            self._strip(self.pending[: self._ROWS])
            self.pending = self.pending[self._ROWS :]

    def _strip(self, rows: np.ndarray) -> None:
        pixels = np.ascontiguousarray(rows[..., ::-1])
        try:
            done, buffer = cv2.imencode(".jpg", pixels, self.options)
        except cv2.error as error:
            raise DataError(f"cannot encode jpeg: {error.err}") from None
        if not done:
            raise DataError(f"rows of {pixels.shape} cannot be encoded as jpeg")
        jpeg = buffer.tobytes()
        frame, data = _jpeg_marks(jpeg)
        if self.begun:
            self.handle.write(b"\xff\xd7")  # the restart marker with the number 7
        else:
            height = self.target.height.to_bytes(2, "big")
            header = jpeg[: frame + 5] + height + jpeg[frame + 7 : data]
            self.handle.write(jpeg_with_metadata(header, self.target.icc, self.target.exif))
            self.begun = True
        self.handle.write(jpeg[data:-2])

    def finish(self) -> None:
        if len(self.pending):
            self._strip(self.pending)
        self.handle.write(b"\xff\xd9")


def _jpeg_marks(jpeg: bytes) -> tuple[int, int]:
    """Where a JPEG's frame header and its data begin."""
    at, frame = 2, 0
    while True:
        marker, length = jpeg[at + 1], int.from_bytes(jpeg[at + 2 : at + 4], "big")
        if marker == 0xC0:
            frame = at
        at += 2 + length
        if marker == 0xDA:
            return frame, at


class _WebP(_Writer):
    """WebP from a picture that lies on disk if it is large."""

    def __init__(self, handle: BinaryIO, target: Target, place: Path) -> None:
        self.handle = handle
        self.target = target
        self.colours = 4 if target.channels in (2, 4) else 3  # there is no gray
        shape = (target.height, target.width, self.colours)
        self.place: Path | None = None
        if np.prod(shape) > _IN_MEMORY:
            self.place = place
            self.canvas: np.ndarray = np.memmap(place, np.uint8, "w+", shape=shape)
        else:
            self.canvas = np.empty(shape, np.uint8)
        self.row = 0

    def write(self, rows: np.ndarray) -> None:
        order = {1: [0, 0, 0], 2: [0, 0, 0, 1], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[rows.shape[2]]
        self.canvas[self.row : self.row + len(rows)] = rows[..., order]
        self.row += len(rows)

    def finish(self) -> None:
        target = self.target
        options = [cv2.IMWRITE_WEBP_QUALITY, min(100, max(1, target.quality))]
        try:
            done, buffer = cv2.imencode(".webp", self.canvas, options)
        except cv2.error as error:
            raise DataError(f"cannot encode webp: {error.err}") from None
        if not done:
            raise DataError(f"a picture of {self.canvas.shape} cannot be encoded as webp")
        size = target.height, target.width
        self.handle.write(webp_with_metadata(buffer.tobytes(), size, target.icc, target.exif))

    def close(self) -> None:
        """Remove the file of a large picture."""
        if self.place is not None:
            del self.canvas
            self.place.unlink(missing_ok=True)


@contextmanager
def open_writer(path: Path, target: Target) -> Iterator[_Writer]:
    """A writer for the rows of a picture; the file appears, whole, when the block ends without an error.

    Args:
        path: the suffix chooses the format; `fitting` tells before whether it can hold the picture.
        target: what will be written.

    Raises:
        DataError: the format cannot hold the picture, rows are missing, or the disk is full.
    """
    kind = FORMATS[path.suffix.lower()]
    with atomic_path(path) as temporary:
        with temporary.open("wb") as handle:
            if kind == "webp":
                canvas = _WebP(handle, target, temporary.with_suffix(".rows"))
                try:
                    yield canvas
                    canvas.finish()
                finally:
                    canvas.close()
            else:
                makers: dict[str, Callable[[BinaryIO, Target], _Writer]]
                makers = {"png": _Png, "jpeg": _Jpeg, "tiff": _Tiff, "bmp": _Bmp}
                writer = makers[kind](handle, target)
                yield writer
                writer.finish()
        _check(temporary, target)


def _check(path: Path, target: Target) -> None:
    """Raise if the file's header does not tell the size that was to be written.

    Raises:
        DataError: it does not.
    """
    size = picture_header(path, FORMATS[path.suffix.lower()])[:2]
    if size != (target.width, target.height):
        raise DataError(f"{path.name} was written as {size}, not {(target.width, target.height)}")
