"""Recognising videos by the first bytes of a file, and cut ones by the sizes that they state."""

from __future__ import annotations

from pathlib import Path

__all__ = ["HEAD", "is_video_head", "stated_size"]

HEAD = 2048  # bytes of a file that tell
_EBML = b"\x1a\x45\xdf\xa3"  # Matroska, WebM
_SEGMENT = b"\x18\x53\x80\x67"  # what follows its header
_BEGINNINGS = (
    _EBML,
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # ASF: WMV
    b"\0\0\x01\xba",  # MPEG program stream
    b"\0\0\x01\xb3",  # MPEG video without a container
    b"FLV\x01",
)
_SOUND_BRANDS = (b"M4A ", b"M4B ", b"M4P ")
_OLD_QUICKTIME = (b"moov", b"mdat", b"wide")  # before files began with their brand
_ATOMS = (*_OLD_QUICKTIME, b"ftyp", b"free", b"skip", b"uuid", b"meta", b"moof", b"mfra", b"sidx", b"styp")
_PACKETS = (188, 192, 204)  # bytes of a transport stream's packets: plain, with time stamps, with checksums
_SYNC = 0x47
_REPEATED = 5


def is_video_head(head: bytes) -> bool:
    """Whether the first `HEAD` bytes of a file announce a container for videos, and no picture.

    Pictures in such containers (AVIF, HEIC) are to be recognised before.
    """
    if head.startswith(_BEGINNINGS) or (head[:4] == b"RIFF" and head[8:12] == b"AVI "):
        return True
    if head[4:8] == b"ftyp":
        return head[8:12] not in _SOUND_BRANDS
    return head[4:8] in _OLD_QUICKTIME or _is_transport_stream(head)


def _is_transport_stream(head: bytes) -> bool:
    """Recordings may begin inside a packet."""
    return any(
        head[start::packet][:_REPEATED] == bytes([_SYNC]) * _REPEATED
        for packet in _PACKETS
        for start in range(packet)
    )


def stated_size(path: Path) -> int:
    """Bytes that an MP4, QuickTime, AVI or Matroska file states to have at least; 0: it states nothing."""
    with path.open("rb") as handle:
        head = handle.read(64)
        if head.startswith(_EBML):
            return _matroska_size(head)
        riff = head.startswith(b"RIFF")
        end = 0
        while len(head) >= 8 and (head.startswith(b"RIFF") if riff else head[4:8] in _ATOMS):
            size = int.from_bytes(head[4:8], "little") + 8 if riff else int.from_bytes(head[:4], "big")
            if size == 1 and not riff:
                size = int.from_bytes(head[8:16], "big")
            if size < 8:  # an atom that goes on to the end
                break
            end += size
            handle.seek(end)
            head = handle.read(16)
    return end


def _matroska_size(head: bytes) -> int:
    """Of the header and the segment; an unknown size, of a live recording, counts as nothing."""
    at = 4
    length, width = _ebml_number(head[at:])
    at += width + length
    if not head[at:].startswith(_SEGMENT):
        return 0
    length, width = _ebml_number(head[at + 4 :])
    unknown = length == (1 << 7 * width) - 1
    return 0 if unknown else at + 4 + width + length


def _ebml_number(data: bytes) -> tuple[int, int]:
    """A number and how many bytes it takes: as many as its first byte has leading zeros, and one."""
    width = 9 - data[0].bit_length() if data and data[0] else 1
    return int.from_bytes(data[:width], "big") & ((1 << 7 * width) - 1), width
