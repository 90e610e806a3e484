"""Metadata of an image file: colour profile, EXIF, XMP, resolution, texts, PNG's colour chunks.

Blocks are copied as bytes and never interpreted beyond what has to change: pixels are turned upright when
they are read, so the orientation becomes 1; the stored size becomes that of the result; the thumbnail, which
shows the input, is unlinked. Nothing here takes more time or memory than the length of a block suggests.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

DAMAGED_EXIF = "the EXIF is damaged and is left out"
EXIF_HEADER = b"Exif\0\0"
COMMENT, IPTC = b"\xfe", b"\xed"  # second bytes of JPEG's markers
IPTC_RECORDS = b"8BIM\4\4"  # among other settings of Photoshop
_ORIENTATION, _EXIF, _GPS, _WIDTH, _HEIGHT = 0x0112, 0x8769, 0x8825, 0xA002, 0xA003
_RESOLUTION = (0x011A, 0x011B)  # across and down, as fractions of type 5
# bytes of a value, by type
_SIZES = dict(enumerate((1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4), 1)) | {16: 8, 17: 8, 18: 8}
LAYERS = 37724  # of Photoshop, which prefers them to the image
# what a TIFF states about its samples, which the result states itself
LAYOUT = {254, 255, *range(256, 270), 273, *range(274, 285), 296, 297, 301, *range(317, 321)}
LAYOUT |= {*range(322, 327), 330, 338, 339, 347, *range(529, 533), 700, 34675, LAYERS}
_GEO_KEYS, _RASTER_TYPE, _TIEPOINT, _MATRIX = 34735, 1025, 33922, 34264
# of the tags of GeoTIFF, numbers after which axes repeat: scale, points, and rows of a matrix
_GEO = {33550: 3, _TIEPOINT: 6, _MATRIX: 4, _GEO_KEYS: 4}
_BYTES = (1, 2, 6, 7)  # types that decoders do not take apart
_MOST_VALUES = 2**16  # of other types: decoders take microseconds for each
_MOST_ENTRIES = 1024  # of all directories together; cameras write some hundred
_SHARED = 2**16  # bytes that several entries may point to
LARGEST_TEXT = 2**20  # bytes of a profile, a packet, or all texts
_LARGEST_SEGMENT = 65_504  # bytes of EXIF or XMP in a JPEG
_XMP_ORIENTATION = re.compile(rb"(tiff:Orientation(?:=[\"']|>))[2-8]")


class Entry(NamedTuple):
    """One tag of a directory."""

    tag: int
    type: int
    values: int
    place: int  # of the value


class Directories:
    """Entries of an EXIF block, or of a TIFF file, and of the directories that it links.

    Args:
        block: from its byte order on.
        parts: also check the directories of EXIF and GPS.

    Raises:
        ValueError: it is damaged, or its entries claim more than it holds.
    """

    def __init__(self, block: bytes, *, parts: bool = True) -> None:
        self.block = block
        self.order = {b"II": "<", b"MM": ">"}.get(block[:2], "")
        self.big = block[2:4] in (b"+\0", b"\0+")
        if not self.order or (not self.big and block[2:4] not in (b"*\0", b"\0*")):
            raise ValueError("no byte order")
        self.claimed = self.seen = 0
        word = "Q" if self.big else "I"
        self.main = list(self.entries(self.number(word, 8 if self.big else 4)))
        self.link = self._end  # of the next directory, which is the thumbnail's
        pointers = {e.tag: self.number("I", e.place) for e in self.main if e.type in (4, 13) and parts}
        found = {tag: place for tag, place in pointers.items() if place < len(block) - 1}
        self.details = list(self.entries(found[_EXIF])) if _EXIF in found else []
        self.position = list(self.entries(found[_GPS])) if _GPS in found else []

    def number(self, kind: str, place: int) -> int:
        """An integer of a struct type."""
        if place + struct.calcsize(kind) > len(self.block):
            raise ValueError("a place beyond the end")
        return int(struct.unpack_from(self.order + kind, self.block, place)[0])

    def entries(self, place: int) -> Iterator[Entry]:
        """Entries of the directory at a place."""
        word, size, first = ("Q", 20, place + 8) if self.big else ("I", 12, place + 2)
        count = self.number("Q" if self.big else "H", place)
        self.seen += count
        if self.seen > _MOST_ENTRIES:
            raise ValueError("too many entries")
        room = 8 if self.big else 4
        for at in range(first, first + size * count, size):
            tag, kind, number = self.number("H", at), self.number("H", at + 2), self.number(word, at + 4)
            length = _SIZES.get(kind, 0) * number
            inner = at + 4 + room if length <= room else self.number(word, at + 4 + room)
            self.claimed += length if length > room else 0
            if inner + length > len(self.block) or self.claimed > len(self.block) + _SHARED:
                raise ValueError(f"its tags claim {self.claimed:,} of {len(self.block):,} bytes")
            yield Entry(tag, kind, number, inner)
        self._end = first + size * count


def is_sound_exif(block: bytes) -> bool:
    """Whether EXIF, without its header "Exif\\0\\0", can be read and claims no more than it holds."""
    try:
        found = Directories(block)
    except (ValueError, struct.error):
        return False
    entries = [*found.main, *found.details, *found.position]
    return sum(e.values for e in entries if e.type not in _BYTES and e.tag not in LAYOUT) <= _MOST_VALUES


def exif_orientation(block: bytes | None) -> int:
    """The orientation of a sound block, 1 to 8; 1 if there is none."""
    if block is None:
        return 1
    found = Directories(block)
    values = [found.number("H", e.place) for e in found.main if e.tag == _ORIENTATION and e.type == 3]
    return values[0] if values and 1 <= values[0] <= 8 else 1


@dataclass(frozen=True)
class Metadata:
    """Metadata of a file.

    Attributes:
        exif: sound block without "Exif\\0\\0".
        dpi: pixels per inch, horizontally and vertically.
        chunks: PNG's cHRM, gAMA, sRGB, cICP, mDCV and cLLI, and pHYs where it states the shape of pixels.
        texts: chunks of texts of a PNG; comments and IPTC of a JPEG by their markers.
    """

    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    chunks: dict[bytes, bytes] = field(default_factory=dict)
    texts: tuple[tuple[bytes, bytes], ...] = ()

    def turned(self) -> Metadata:
        """The metadata after width and height have changed places."""
        exif, chunks = self.exif, dict(self.chunks)
        if exif is not None:
            places = [e.place for e in Directories(exif).main if e.tag in _RESOLUTION and e.type == 5]
            block = bytearray(exif)
            for place, other in zip(places, places[::-1], strict=True):
                block[place : place + 8] = exif[other : other + 8]
            exif = bytes(block)
        if b"pHYs" in chunks:
            chunks[b"pHYs"] = chunks[b"pHYs"][4:8] + chunks[b"pHYs"][:4] + chunks[b"pHYs"][8:]
        dpi = None if self.dpi is None else self.dpi[::-1]
        return replace(self, exif=exif, dpi=dpi, chunks=chunks)

    def of_result(
        self, size: tuple[int, int], channels: int, kind: str, growth: tuple[float, float] = (1, 1)
    ) -> tuple[Metadata, list[str]]:
        """The metadata of an upright result of another size, and warnings about what its format cannot hold.

        Args:
            size: height and width of the result.
            channels: number of its channels.
            kind: its format, such as "png".
            growth: its width and height over those of the source, for the georeference of GeoTIFF.
        """
        warnings = []
        icc = self.icc
        gray = channels < 3 and kind not in ("webp", "avif")  # which store gray as RGB
        if icc is not None and icc[16:20] != (b"GRAY" if gray else b"RGB "):
            icc = None
            warnings.append("the colour profile does not describe the result's colours and is left out")
        result = replace(self, icc=icc, exif=self._exif(size, growth))
        if self.xmp is not None:
            result = replace(result, xmp=_XMP_ORIENTATION.sub(rb"\g<1>1", self.xmp))
        names = {"icc": "colour profile", "exif": "EXIF", "xmp": "XMP", "dpi": "resolution"}
        unsupported = {"bmp": ("icc", "exif", "xmp"), "webp": ("dpi",), "avif": ("dpi",)}.get(kind, ())
        if kind == "jpeg":
            unsupported = tuple(k for k in ("exif", "xmp") if len(getattr(self, k) or b"") > _LARGEST_SEGMENT)
        if "dpi" in unsupported and self.exif is not None:
            unsupported = ()  # EXIF states it
        dropped = [names[key] for key in unsupported if getattr(result, key) is not None]
        chunks = set(result.chunks) if kind != "png" else set()
        dropped += ["colour chunks"] if chunks - {b"pHYs"} and icc is None else []
        dropped += ["shape of the pixels"] if b"pHYs" in chunks else []
        texts, dropped_texts = self._texts(kind)
        dropped += dropped_texts
        if dropped:
            warnings.append(f"{kind} has no place for the {' and '.join(dropped)}, which is left out")
        removed: dict[str, Any] = dict.fromkeys(unsupported)
        return replace(result, texts=texts, **removed), warnings

    def _texts(self, kind: str) -> tuple[tuple[tuple[bytes, bytes], ...], list[str]]:
        """The texts as a format stores them, and what it cannot store."""
        kept, dropped = list[tuple[bytes, bytes]](), set[str]()
        for mark, body in self.texts:
            if kind == ("png" if len(mark) == 4 else "jpeg"):
                kept.append((mark, body))
            elif kind == "png" and mark == COMMENT:
                kept.append((b"iTXt", b"Comment" + bytes(5) + body.decode(errors="replace").encode()))
            elif mark != IPTC:
                dropped.add("comment" if mark == COMMENT else "texts")
            elif IPTC_RECORDS in body:
                dropped.add("IPTC")
        return tuple(kept), sorted(dropped)

    def _exif(self, size: tuple[int, int], growth: tuple[float, float]) -> bytes | None:
        if self.exif is None:
            return None
        found, block = Directories(self.exif), bytearray(self.exif)
        new = {_ORIENTATION: 1, _WIDTH: size[1], _HEIGHT: size[0]}
        for entry in (*found.main, *found.details):
            if entry.tag in new and entry.values == 1 and entry.type in (3, 4):
                value = min(new[entry.tag], 2 ** (16 if entry.type == 3 else 32) - 1)
                struct.pack_into(found.order + ("H" if entry.type == 3 else "I"), block, entry.place, value)
        for place, value in _georeference(found, growth):
            struct.pack_into(found.order + "d", block, place, value)
        if found.link + 4 <= len(block):
            struct.pack_into("I", block, found.link, 0)
        return bytes(block)


def _georeference(found: Directories, growth: tuple[float, float]) -> Iterator[tuple[int, float]]:
    """Places and values of the numbers of GeoTIFF (OGC 19-008r4) that depend on the size of pixels."""
    entries = {e.tag: e for e in found.main if e.tag in _GEO}
    keys = entries.get(_GEO_KEYS)
    words = [found.number("H", keys.place + 2 * n) for n in range(keys.values)] if keys else []
    centred = (_RASTER_TYPE, 0, 1, 2) in zip(*(words[n::4] for n in range(4)), strict=False)
    shift = 0.5 if centred else 0.0  # of the first pixel, whose corner or whose centre is at 0
    for tag, period in _GEO.items():
        entry = entries.get(tag)
        if entry is None or entry.type != 12:
            continue
        old = struct.unpack_from(f"{found.order}{entry.values}d", found.block, entry.place)
        for n, value in enumerate(old):
            axis = n % period
            factor = growth[axis] if axis < 2 else 1
            new = (value + shift) * factor - shift if tag == _TIEPOINT else value / factor
            if tag == _MATRIX and axis == 3:  # the place of the first pixel
                new += sum(old[n - 3 + k] * shift * (1 / growth[k] - 1) for k in range(2))
            yield entry.place + 8 * n, new
