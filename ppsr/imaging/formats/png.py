"""PNG: OpenCV decodes plain samples, Pillow palettes; rows are encoded here, since no library does so.

Decoders get the file without texts, whose cost nothing bounds. Checksums and the end are checked here.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

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
from ppsr.imaging.formats.others import eight_bit, open_image
from ppsr.imaging.metadata import EXIF_HEADER, LARGEST_TEXT, Metadata

try:
    from isal import isal_zlib as packing  # the same format, in a quarter of the time
except ImportError:
    import zlib as packing  # type: ignore[no-redef]

_EXIF, _XMP = b"Raw profile type exif", b"XML:com.adobe.xmp"  # keywords of texts
_LEVEL = 1  # of the packing: higher ones take longer for files hardly smaller
_UP = 2  # the filter of every row: choosing between filters takes longer than packing, for files 3 % smaller
_LARGEST_SIDE = 2**20  # of OpenCV
_CHUNKS = (b"cHRM", b"gAMA", b"sRGB", b"cICP", b"mDCV", b"cLLI")  # kept


def decode_png(content: bytes, max_pixels: int, warnings: list[str]) -> Decoded:
    """Decode a PNG; what the user should know is added to `warnings`."""
    if content[12:16] != b"IHDR":
        raise DataError("the PNG does not begin with its header, as those of iOS apps (CgBI); convert it")
    size = struct.unpack(">II", content[16:24])
    check_size(size, max_pixels)
    essential, texts, found = [content[:8]], list[bytes](), dict[bytes, bytes]()
    for kind, body, chunk in _png_chunks(content):
        if kind[:1].isupper() or kind == b"tRNS":
            essential.append(chunk)
        elif kind in (b"zTXt", b"iTXt", b"tEXt"):
            texts.append(chunk[4:8] + body)
        else:
            found.setdefault(kind, body)
    frames = struct.unpack(">I", found[b"acTL"][:4])[0] if len(found.get(b"acTL", b"")) == 8 else 1
    count_frames(frames, warnings)
    depth, colour = content[24], content[25]
    clean = b"".join(essential)
    transparent = next((chunk for chunk in essential[1:] if chunk[4:8] == b"tRNS"), None)
    if (
        max(size) <= _LARGEST_SIDE
        and depth in (8, 16)
        and colour in (0, 2, 4, 6)
        and (transparent is None or depth == 16)
    ):
        pixels = by_opencv(clean, gray=colour in (0, 4))
        if depth == 16 and pixels.dtype != np.uint16:
            raise DataError(f"16-bit samples were announced, {pixels.dtype} were found")
        if colour == 0 and transparent is not None:  # OpenCV ignores it for gray
            alpha = np.where(pixels == int.from_bytes(transparent[8:10], "big"), 0, 65_535).astype(np.uint16)
            pixels = np.concatenate([pixels, alpha], axis=2)
    else:
        pixels, _ = eight_bit(open_image(clean, "png"), None, warnings)
    return pixels, _png_metadata(found, texts, warnings), pixels.shape[2] in (2, 4)


def _png_chunks(content: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Kind, body and whole of the chunks of a PNG."""
    at, kind = 8, b""
    while kind != b"IEND":
        end = at + 12 + int.from_bytes(content[at : at + 4], "big")
        if end > len(content) or at + 12 > len(content):
            raise DataError("the PNG is truncated: its end is missing")
        kind, chunk = content[at + 4 : at + 8], content[at:end]
        if zlib.crc32(chunk[4:-4]) != int.from_bytes(chunk[-4:], "big"):
            raise DataError(f"the checksum of the PNG's {ascii(kind.decode('latin1'))[1:-1]} chunk is wrong")
        yield kind, chunk[8:-4], chunk
        at = end


def _png_metadata(found: dict[bytes, bytes], stored: list[bytes], warnings: list[str]) -> Metadata:
    def keyword(text: bytes) -> bytes:
        return text[4:84].partition(b"\0")[0]

    def unpacked(packed: bytes, what: str) -> bytes | None:
        try:
            data = zlib.decompressobj().decompress(packed, LARGEST_TEXT + 1)
        except zlib.error:
            data = b""
        if 0 < len(data) <= LARGEST_TEXT:
            return data
        warnings.append(f"the {what} is {'too large' if data else 'damaged'} and is left out")
        return None

    texts = {keyword(text): text for text in reversed(stored)}
    exif, xmp, dpi = found.get(b"eXIf"), None, None
    if exif is None and _EXIF in texts:  # by ImageMagick: hexadecimal lines
        text = texts[_EXIF]
        body = text[4:].partition(b"\0")[2]
        plain = body if text[:4] == b"tEXt" else unpacked(body[1:], "EXIF") or b""
        try:
            exif = bytes.fromhex("".join(plain.decode("latin1").split("\n")[3:]))
        except ValueError:
            exif = b""
    if _XMP in texts:  # flag, method, language, translated name, text
        body = texts[_XMP][4:].partition(b"\0")[2]
        text = body[2:].split(b"\0", 2)[-1]
        xmp = unpacked(text, "XMP") if body[:1] == b"\1" else text
        if xmp is not None and len(xmp) > LARGEST_TEXT:
            warnings.append("the XMP is too large and is left out")
            xmp = None
    chunks = {kind: found[kind] for kind in _CHUNKS if kind in found}
    if len(found.get(b"pHYs", b"")) == 9:
        across, down, unit = struct.unpack(">IIB", found[b"pHYs"])
        if unit == 1 and across and down:  # per metre
            dpi = (across * 0.0254, down * 0.0254)
        elif unit == 0 and across != down:
            chunks[b"pHYs"] = found[b"pHYs"]
    others = [(text[:4], text[4:]) for text in stored if keyword(text) not in (_EXIF, _XMP)]
    icc = found[b"iCCP"].partition(b"\0")[2][1:] if b"iCCP" in found else None
    return Metadata(
        icc=None if icc is None else unpacked(icc, "colour profile"),
        exif=sound_exif(None if exif is None else exif.removeprefix(EXIF_HEADER), warnings),
        xmp=xmp,
        dpi=dpi,
        chunks=chunks,
        texts=kept_texts(others, warnings),
    )


def write_png(handle: BinaryIO, target: Target, rows: Iterator[np.ndarray]) -> None:
    """W3C PNG, third edition."""

    def chunk(kind: bytes, content: bytes) -> None:
        check = zlib.crc32(content, zlib.crc32(kind))
        handle.write(len(content).to_bytes(4, "big") + kind + content + check.to_bytes(4, "big"))

    handle.write(b"\x89PNG\r\n\x1a\n")
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[target.channels]
    size = target.width.to_bytes(4, "big") + target.height.to_bytes(4, "big")
    chunk(b"IHDR", size + bytes([8 * target.dtype.itemsize, colour, 0, 0, 0]))
    for kind, content in _chunks_of(target.metadata):
        chunk(kind, content)
    packer = packing.compressobj(_LEVEL)
    above = np.zeros((1, target.width * target.channels * target.dtype.itemsize), np.uint8)
    for part in in_strips(rows, target):
        plain = np.ascontiguousarray(part.astype(part.dtype.newbyteorder(">"), copy=False))
        plain = plain.view(np.uint8).reshape(len(part), -1)
        lines = np.empty((len(part), plain.shape[1] + 1), np.uint8)
        lines[:, 0] = _UP
        np.subtract(plain[:1], above, out=lines[:1, 1:])
        np.subtract(plain[1:], plain[:-1], out=lines[1:, 1:])
        above = plain[-1:].copy()
        if packed := packer.compress(lines):
            chunk(b"IDAT", packed)
    chunk(b"IDAT", packer.flush())
    chunk(b"IEND", b"")


def _chunks_of(metadata: Metadata) -> Iterator[tuple[bytes, bytes]]:
    yield from metadata.chunks.items()
    yield from metadata.texts
    if metadata.icc is not None:
        yield b"iCCP", b"ICC profile\0\0" + zlib.compress(metadata.icc)
    if metadata.dpi is not None:
        yield b"pHYs", b"".join(round(side / 0.0254).to_bytes(4, "big") for side in metadata.dpi) + b"\1"
    if metadata.exif is not None:
        yield b"eXIf", metadata.exif
    if metadata.xmp is not None:
        yield b"iTXt", _XMP + bytes(5) + metadata.xmp
