"""Recognising videos by the first bytes of a file."""

from __future__ import annotations

__all__ = ["HEAD", "is_video_head"]

HEAD = 2048  # bytes of a file that tell
_BEGINNINGS = (
    b"\x1a\x45\xdf\xa3",  # EBML: Matroska, WebM
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # ASF: WMV
    b"\0\0\x01\xba",  # MPEG program stream
    b"\0\0\x01\xb3",  # MPEG video without a container
    b"FLV\x01",
)
_SOUND_BRANDS = (b"M4A ", b"M4B ", b"M4P ")
_OLD_QUICKTIME = (b"moov", b"mdat", b"wide")  # before files began with their brand
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
