"""What a TIFF file says about itself, and its samples of 16 bits.

Tags are read here, in time that grows with the file alone: nothing is believed about lengths, and a directory
is never looked at twice. Samples of 16 bits are unpacked by OpenCV, which knows the compressions, but not
what the samples mean: it is given pictures of one gray channel only, made of the strips or tiles of the file.
Colours, planes, alpha and orientation are dealt with here. After TIFF 6.0 (Adobe, 1992).
"""

from __future__ import annotations

import struct
from typing import BinaryIO

import cv2
import numpy as np
from PIL import Image

from ppsr.errors import DataError
from ppsr.inference.metadata import LAYOUT, PARTS

__all__ = ["MAX_PAGES", "Tiff"]

MAX_PAGES = 10_000
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER = 256, 257, 258, 259, 262, 266
_OFFSETS, _ORIENTATION, _SAMPLES, _ROWS, _COUNTS, _PLANAR, _PREDICTOR = 273, 274, 277, 278, 279, 284, 317
_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_COUNTS, _EXTRA, _FORMAT = 322, 323, 324, 325, 338, 339
_PROFILE = 34675
_SIZES = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
_INTEGERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q"}
_WITH_PREDICTOR = (5, 8, 32946, 34925, 50000)  # LZW, deflate under two numbers, LZMA, Zstandard
_NAMES = {1: "unsigned", 2: "signed", 3: "float"}
_LARGEST_SIDE = 2**20  # of OpenCV
_SHARED = 2**16  # bytes that several tags may point to
_MOST_TAGS, _MOST_VALUES = 2**10, 2**16  # of EXIF: Pillow takes microseconds for each
_BYTES = (1, 2, 6, 7)  # types that are not taken apart
_BLOCK = 64  # rows


class Tiff:
    """The first picture of a TIFF file by its tags.

    Args:
        stream: of the file; must be open as long as this object is used.

    Attributes:
        width: columns as they are stored, before they are turned.
        height: rows.
        samples: values per pixel.
        bits: of the first of them.
        orientation: 1 to 8, as in EXIF.
        icc: colour profile.

    Raises:
        DataError: it is damaged.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._length = stream.seek(0, 2)
        head = self._read(0, 8)
        self._order = "<" if head[:1] == b"I" else ">"
        self._big = b"+" in head[2:4]
        self._start = self._number("Q", 8) if self._big else self._number("I", 4)
        self._tags = self._directory(self._start)
        self.width, self.height = self._first(_WIDTH, 0), self._first(_HEIGHT, 0)
        self.samples, self.bits = self._first(_SAMPLES, 1), self._first(_BITS, 1)
        self.orientation = self._first(_ORIENTATION, 1)
        kind, count, place = self._tags.get(_PROFILE, (7, 0, 0))
        self.icc = self._read(place, count) if count and kind in (1, 7) else None

    def __str__(self) -> str:
        meaning = self._first(_PHOTOMETRIC, self._plain)
        return f"a TIFF of {self.samples} samples of {self.bits} bits a pixel of photometric kind {meaning}"

    def _read(self, place: int, count: int) -> bytes:
        """Bytes of the file.

        Raises:
            DataError: there are not as many.
        """
        if place + count > self._length:
            raise DataError("the TIFF is truncated: it points beyond its end")
        self._stream.seek(place)
        return self._stream.read(count)

    def _number(self, kind: str, place: int) -> int:
        return int(struct.unpack(self._order + kind, self._read(place, struct.calcsize(kind)))[0])

    def _directory(self, place: int) -> dict[int, tuple[int, int, int]]:
        """Tags with their type, number of values and place of the values.

        Raises:
            DataError: it is damaged, or its tags claim more than the file holds.
        """
        count, at, size, word = self._entries(place)
        content = self._read(at, count * size)
        tags, claimed = {}, 0
        for entry in range(0, len(content), size):
            tag, kind, number = struct.unpack_from(
                self._order + ("HHQ" if self._big else "HHI"), content, entry
            )
            length = number * _SIZES.get(kind, 0)
            inner = at + entry + size - word
            if length > word:
                (inner,) = struct.unpack_from(
                    self._order + ("Q" if self._big else "I"), content, entry + size - word
                )
                claimed += length
            if kind in _SIZES:
                tags[tag] = kind, number, inner
        if claimed > self._length + _SHARED:
            raise DataError(f"the TIFF is damaged: its tags claim {claimed:,} of {self._length:,} bytes")
        return tags

    def _entries(self, place: int) -> tuple[int, int, int, int]:
        """Number of a directory's entries, place of the first, size of each and of its value."""
        if self._big:
            return self._number("Q", place), place + 8, 20, 8
        return self._number("H", place), place + 2, 12, 4

    def _values(self, tag: int) -> tuple[int, ...]:
        """Integers of a tag; none if it is missing or of another type."""
        kind, count, place = self._tags.get(tag, (0, 0, 0))
        if kind not in _INTEGERS:
            return ()
        return struct.unpack(
            f"{self._order}{count}{_INTEGERS[kind]}", self._read(place, count * _SIZES[kind])
        )

    def _first(self, tag: int, default: int) -> int:
        values = self._values(tag)
        return values[0] if values else default

    def pages(self) -> int:
        """Number of pictures in the file, counted up to `MAX_PAGES` + 1."""
        place, seen = self._start, set[int]()
        while place and place not in seen and len(seen) <= MAX_PAGES:
            seen.add(place)
            try:
                count, first, size, _ = self._entries(place)
                place = self._number("Q" if self._big else "I", first + count * size)
            except DataError:  # this picture may be whole, what follows is not
                break
        return len(seen)

    def exif(self) -> Image.Exif:
        """All tags that Pillow reads, from their places in the file when they are asked for."""
        exif = Image.Exif()
        if not (self._big and self._order == ">"):  # which it takes for a small file
            exif.bigtiff, exif.endian = self._big, self._order
            exif.load_from_fp(self._stream, self._start)  # type: ignore[arg-type]
        return exif

    def is_modest(self) -> bool:
        """Whether the tags beside the layout, and those of the parts that they point to, are no more than
        cameras write.

        Raises:
            DataError: a part claims more than the file holds.
        """
        values = 0
        parts = [self._tags]
        for pointer in PARTS:
            place = self._first(pointer, 0)
            if 0 < place < self._length - 1:
                parts.append(self._directory(place))
        for tags in parts:
            own = [(kind, count) for tag, (kind, count, _) in tags.items() if tag not in LAYOUT]
            values += sum(min(count, self._length) for kind, count in own if kind not in _BYTES)
            if len(own) > _MOST_TAGS:
                return False
        return values <= _MOST_VALUES

    def check(self) -> None:
        """Raise for samples that no decoder here takes as they are meant.

        Raises:
            DataError: neither unsigned integers of up to 16 bits, nor gray or RGB with at most an alpha.
        """
        kinds, depths = self._values(_FORMAT), self._values(_BITS)
        kind = max(kinds, default=1)
        if kind in (2, 3) or self.bits > 16:
            name = _NAMES.get(kind, "unknown")
            raise DataError(f"{self.bits}-bit {name} samples are not supported; convert it to 8 or 16 bit")
        if self.bits == 16 and (
            any(kind != 1 for kind in kinds)
            or any(depth != 16 for depth in depths)
            or self._first(_PHOTOMETRIC, self._plain) != self._plain
        ):
            raise DataError("a 16-bit TIFF must hold unsigned gray or RGB samples")
        if self.bits == 16 and self.samples not in (1, 2, 3, 4):
            raise DataError(
                f"the TIFF has {self.samples} samples a pixel; supported are 1 (gray) and 3 (RGB), and one "
                "more for alpha"
            )

    @property
    def _plain(self) -> int:
        """The photometric interpretation of gray or RGB, by the number of samples."""
        return 1 if self.samples < 3 else 2

    def deep(self) -> np.ndarray:
        """The picture of a file with 16 bits.

        Returns:
            H x W x 1 (gray), 2 (gray, alpha), 3 (RGB) or 4 (RGB, alpha), uint16, not turned.

        Raises:
            DataError: its data is damaged.
        """
        planar = self._first(_PLANAR, 1) == 2 and self.samples > 1
        tiled = _TILE_OFFSETS in self._tags
        offsets = self._values(_TILE_OFFSETS if tiled else _OFFSETS)
        counts = self._values(_TILE_COUNTS if tiled else _COUNTS)
        step = self._first(_TILE_WIDTH, 0) if tiled else self.width
        rows = self._first(_TILE_HEIGHT, 0) if tiled else min(self._first(_ROWS, self.height), self.height)
        parts = self.samples if planar else 1
        if step < 1 or rows < 1:
            raise DataError("the TIFF is damaged: it does not say how large its parts are")
        each = -(-self.width // step) * -(-self.height // rows)
        if len(offsets) != parts * each or len(counts) != len(offsets) or sum(counts) > self._length:
            raise DataError("the TIFF is damaged: it does not say where its parts are")
        inner = self.samples // parts
        planes = [
            self._gray(offsets[first : first + each], counts[first : first + each], step, rows, inner, tiled)
            for first in range(0, parts * each, each)
        ]
        pixels = np.stack([plane[..., 0] for plane in planes], axis=2) if planar else planes[0]
        if self._first(_PREDICTOR, 1) == 2 and self._first(_COMPRESSION, 1) in _WITH_PREDICTOR:
            for left in range(0, self.width, step):
                for top in range(0, self.height, _BLOCK):
                    part = pixels[top : top + _BLOCK, left : left + step]
                    np.add.accumulate(part, axis=1, out=part)
        if not self.spare:
            return _straight(pixels) if self._extra() == 1 else pixels
        return np.ascontiguousarray(pixels[..., :-1])

    @property
    def spare(self) -> bool:
        """Whether the samples behind the colours mean something else than alpha."""
        return self.samples in (2, 4) and self._extra() == 0

    def _extra(self) -> int:
        """What is behind the colours: 0 anything, 1 alpha that is multiplied into them, 2 plain alpha."""
        return self._first(_EXTRA, 2)

    def _gray(
        self,
        offsets: tuple[int, ...],
        counts: tuple[int, ...],
        step: int,
        rows: int,
        samples: int,
        tiled: bool,
    ) -> np.ndarray:
        """Unpacked samples (H, W, samples) of some strips or tiles, without their predictor.

        Raises:
            DataError: their data is damaged.
        """
        # a pixel's samples are as many pixels of gray, beside each other or, in strips, just as well below
        across, down = (samples, 1) if tiled or self.width * samples <= _LARGEST_SIDE else (1, samples)
        places, content, at = [], [], 8
        for offset, count in zip(offsets, counts, strict=True):
            places.append(at)
            content.append(self._read(offset, count))
            at += count
        tags: dict[int, tuple[int, ...]] = {
            _WIDTH: (self.width * across,),
            _HEIGHT: (self.height * down,),
            _BITS: (16,),
            _COMPRESSION: (self._first(_COMPRESSION, 1),),
            _PHOTOMETRIC: (1,),
            _FILL_ORDER: (self._first(_FILL_ORDER, 1),),
            _TILE_OFFSETS if tiled else _OFFSETS: tuple(places),
            _SAMPLES: (1,),
            _TILE_COUNTS if tiled else _COUNTS: counts,
        }
        tags |= {_TILE_WIDTH: (step * across,), _TILE_HEIGHT: (rows,)} if tiled else {_ROWS: (rows * down,)}
        directory, lists = struct.pack(self._order + "H", len(tags)), b""
        behind = at + 2 + 12 * len(tags) + 4
        for tag, values in sorted(tags.items()):
            packed = struct.pack(f"{self._order}{len(values)}I", *values)
            if len(values) > 1:
                packed, lists = struct.pack(self._order + "I", behind + len(lists)), lists + packed
            directory += struct.pack(self._order + "HHI", tag, 4, len(values)) + packed
        head = (b"II*\0" if self._order == "<" else b"MM\0*") + struct.pack(self._order + "I", at)
        file = b"".join([head, *content, directory, bytes(4), lists])
        pixels = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_UNCHANGED)
        if pixels is None or pixels.dtype != np.uint16 or pixels.size != self.height * self.width * samples:
            raise DataError("the TIFF's data is damaged, or packed in a way that is not supported")
        return pixels.reshape(self.height, self.width, samples)


def _straight(pixels: np.ndarray) -> np.ndarray:
    """Divide the alpha out of the colours; in place."""
    for top in range(0, len(pixels), _BLOCK):
        part = pixels[top : top + _BLOCK]
        alpha = part[..., -1:].astype(np.float64)
        colours = part[..., :-1] * (65_535 / np.maximum(alpha, 1))
        part[..., :-1] = np.minimum(np.rint(colours), 65_535)
    return pixels
