"""The parts of a picture file that a decoder needs.

What else a file may hold - texts, comments, further frames, tags that share their values - costs decoders
time and memory that nothing bounds, or makes them refuse the picture. So they are handed the rest, which is
found in time that grows with the file alone.
"""

from __future__ import annotations

import io
import mmap
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from ppsr.errors import DataError
from ppsr.inference.tiff import MAX_PAGES, Tiff

__all__ = ["DAMAGED_EXIF", "Essentials", "essentials", "is_sound_exif", "pixels_of_png"]

DAMAGED_EXIF = "the EXIF is damaged and is left out"
Content = bytes | mmap.mmap
_EXIF = b"Exif\0\0"
_LARGEST_TEXT = 2**20  # what Pillow unpacks of a profile or a text of a PNG
_EXIF_TEXT, _XMP_TEXT = b"Raw profile type exif", b"XML:com.adobe.xmp"
_APP1, _APP2, _APP13, _COMMENT, _START = 0xE1, 0xE2, 0xED, 0xFE, 0xDA  # markers of a JPEG
_MOST_EXIF_SEGMENTS = 16
_EXTENSION, _FRAME, _END = b"!,;"  # what begins the parts of a GIF
_MOST_PARTS = 2**20


class Essentials(NamedTuple):
    """A file without what its decoder does not need, its frames if they were counted, and what was lost."""

    content: bytes
    frames: int | None = None
    warnings: tuple[str, ...] = ()


def essentials(content: Content, kind: str, *, header: bool = False) -> Essentials:
    """The essential parts of a PNG, JPEG or GIF; other files as they are.

    Args:
        content: of the file.
        kind: of picture.
        header: only what comes before the pixels.

    Raises:
        DataError: a PNG is damaged or cut off.
    """
    if kind == "png":
        return _png(content, header)
    if kind == "jpeg":
        return _jpeg(content, header)
    return _gif(content, header) if kind == "gif" else Essentials(content[:])


def is_sound_exif(block: bytes) -> bool:
    """Whether EXIF is decoded in about the time and memory that its length suggests."""
    try:
        return Tiff(io.BytesIO(block.removeprefix(_EXIF))).is_modest()
    except (DataError, struct.error):
        return False


def _png(content: Content, header: bool) -> Essentials:
    """With pixels, what decides their colours, and metadata that is carried over.

    Raises:
        DataError: a chunk is cut off or has another checksum, or the end is missing.
    """
    kept, warnings, frames = [content[:8]], list[str](), 1
    once = {b"tRNS", b"iCCP", b"eXIf", _EXIF_TEXT, _XMP_TEXT}  # of each the first is used
    for kind, begin, end in _chunks(content):
        if header and kind == b"IDAT":
            return Essentials(b"".join([*kept, content[begin : begin + 8]]), frames)
        if end > len(content):
            break
        chunk = content[begin:end]
        view = memoryview(chunk)
        if zlib.crc32(view[4:-4]) != int.from_bytes(view[-4:], "big"):
            raise DataError(f"the checksum of the PNG's {kind.decode('latin1')} chunk is wrong")
        body = view[8:-4]
        name = bytes(body[:80]).partition(b"\0")[0] if kind in (b"tEXt", b"zTXt", b"iTXt") else kind
        if kind[:1].isupper():
            kept.append(chunk)
        elif name in once:
            once.remove(name)
            lost = _unusable(kind, name, bytes(body))
            warnings += [lost] if lost else []
            kept += [] if lost else [chunk]
        elif kind == b"acTL":
            frames = int.from_bytes(body[:4], "big")
        if kind == b"IEND":
            return Essentials(b"".join(kept), frames, tuple(warnings))
    raise DataError("the PNG is truncated: its end is missing")


def pixels_of_png(content: Content) -> bytes:
    """A whole PNG without metadata, of which OpenCV refuses 8 MB and more."""
    wanted = (chunk for chunk in _chunks(content) if chunk[0][:1].isupper() or chunk[0] == b"tRNS")
    return b"".join([content[:8], *(content[begin:end] for _, begin, end in wanted)])


def _chunks(content: Content) -> Iterator[tuple[bytes, int, int]]:
    """Kind, begin and end of the chunks of a PNG; the last one may end behind the file."""
    at = 8
    while at < len(content):
        end = at + 12 + int.from_bytes(content[at : at + 4], "big")
        yield content[at + 4 : at + 8], at, end
        at = end


def _unusable(kind: bytes, name: bytes, body: bytes) -> str:
    """Why a chunk of metadata is left out; "": it is not."""
    if kind == b"eXIf":
        return "" if is_sound_exif(body) else DAMAGED_EXIF
    if kind == b"tRNS":
        return ""
    text = body.partition(b"\0")[2]
    if kind in (b"zTXt", b"iCCP"):
        text = _unpacked(text[1:])
    elif kind == b"iTXt":  # flag, method, language, translated name, text
        packed, text = text[:1] == b"\1", text[2:].split(b"\0", 2)[-1]
        text = _unpacked(text) if packed else text
    if name == _EXIF_TEXT:
        try:
            block = bytes.fromhex("".join(text.decode("latin1").split("\n")[3:]))
        except ValueError:
            return DAMAGED_EXIF
        return "" if is_sound_exif(block) else DAMAGED_EXIF
    if len(text) > _LARGEST_TEXT:
        return f"the {'colour profile' if kind == b'iCCP' else 'XMP'} is too large and is left out"
    return ""


def _unpacked(packed: bytes) -> bytes:
    """At most one byte more than is allowed; nothing where it is damaged."""
    try:
        return zlib.decompressobj().decompress(packed, _LARGEST_TEXT + 1)
    except zlib.error:
        return b""


def _jpeg(content: Content, header: bool) -> Essentials:
    """Without comments, Photoshop's resources, and EXIF or indices of further pictures that are damaged."""
    segments = list(_segments(content))
    start = segments[-1][1] if segments and segments[-1][0] == _START else len(content)
    exif = [s for s in segments if s[0] == _APP1 and content[s[1] + 4 : s[1] + 10] == _EXIF]
    block = b"".join(content[begin + 10 : end] for _, begin, end in exif[:_MOST_EXIF_SEGMENTS])
    sound = not exif or is_sound_exif(block)
    unwanted = set(exif[_MOST_EXIF_SEGMENTS:] if sound else exif)
    for segment in segments:
        kind, begin, end = segment
        index = kind == _APP2 and content[begin + 4 : begin + 8] == b"MPF\0"
        if kind in (_COMMENT, _APP13) or (index and not is_sound_exif(content[begin + 8 : end])):
            unwanted.add(segment)
    pieces, at = [], 0
    for _, begin, end in sorted(unwanted, key=lambda segment: segment[1]):
        pieces.append(content[at:begin])
        at = end
    if unwanted or header:
        content = b"".join([*pieces, content[at : start + 2**16 if header else None]])
    return Essentials(content[:], None, () if sound else (DAMAGED_EXIF,))


def _segments(content: Content) -> Iterator[tuple[int, int, int]]:
    """Marker, begin and end of the segments of a JPEG up to the pixels, which are the last one."""
    at = 2
    while (at := content.find(b"\xff", at)) >= 0 and at + 4 <= len(content):
        marker = content[at + 1]
        if marker == 0xFF:  # padding
            at += 1
        elif marker in (0, 1) or 0xD0 <= marker <= 0xD9:  # alone
            at += 2
        else:
            end = at + 2 + int.from_bytes(content[at + 2 : at + 4], "big")
            yield marker, at, end
            if marker == _START:
                return
            at = max(end, at + 2)


def _gif(content: Content, header: bool) -> Essentials:
    """The first picture, and how many there are."""
    at = 13 + _table(content[10:11])
    kept, frames, control = [content[:at]], 0, b""
    for _ in range(_MOST_PARTS):
        kind = content[at] if at < len(content) else _END
        begin = at
        if kind == _END or frames > MAX_PAGES:
            break
        if kind == _EXTENSION:
            at = _behind_blocks(content, begin + 2)
            control = content[begin:at] if content[begin + 1 : begin + 2] == b"\xf9" else control
        elif kind == _FRAME:
            at = begin + 10 + _table(content[begin + 9 : begin + 10]) + 1
            if frames == 0 and header:
                return Essentials(b"".join([*kept, control, content[begin:at]]))
            at = _behind_blocks(content, at)
            kept += [] if frames else [control, content[begin:at]]
            frames += 1
        else:
            at += 1
    else:
        frames = MAX_PAGES + 1
    return Essentials(b"".join([*kept, b";"]), frames)


def _table(flags: bytes) -> int:
    """Bytes of a GIF's colour table."""
    return 3 * 2 ** ((flags[0] & 7) + 1) if flags and flags[0] & 0x80 else 0


def _behind_blocks(content: Content, at: int) -> int:
    """Where the blocks of a part of a GIF have ended."""
    while at < len(content) and content[at]:
        at += content[at] + 1
    return min(at + 1, len(content))
