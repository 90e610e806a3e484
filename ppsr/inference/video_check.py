"""Recognising videos by their first bytes, and looking through one before it is computed: is all of it there?

FFmpeg's decoders fill damaged frames and its demuxers leave out what they do not understand; both go on
silently, and computing takes far longer than decoding. What shows the loss: marks on frames and packets, the
numbers that the container states, and a hole in otherwise even time stamps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ppsr.errors import DataError
from ppsr.inference.video_streams import open_video

if TYPE_CHECKING:
    import av

__all__ = ["HEAD", "VideoCheck", "check_video", "decoded", "is_video_head", "time_stamp"]

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
_STATE_LENGTH = ("matroska", "mov", "avi", "asf")  # others estimate it from what is there
_SECONDS = 0.5  # by which streams of a whole file end apart from what the container states
_FRAMES = 3
_HOLE = 1.75  # of the usual distance
_EVEN = 0.25
_STEPS_PER_HOLE = 50  # with more holes than one in so many steps the time stamps are not even


def is_video_head(head: bytes) -> bool:
    """Whether the first `HEAD` bytes of a file announce a container for videos, and no image.

    Images in such containers (AVIF, HEIC) are to be recognised before.
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


def _stated_size(path: Path) -> int:
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


@dataclass(frozen=True)
class VideoCheck:
    """What a video holds.

    Attributes:
        first: its first frame.
        frames: how many can be decoded.
        faults: what is missing or damaged.
        warnings: what may be missing.
    """

    first: av.VideoFrame
    frames: int
    faults: tuple[str, ...]
    warnings: tuple[str, ...]


def decoded(packet: av.Packet) -> list[av.VideoFrame] | None:
    """The frames of a packet of images; None: it cannot be decoded."""
    from av.error import FFmpegError

    try:
        return packet.decode()
    except FFmpegError:
        return None


def time_stamp(frame: av.VideoFrame, reader: av.container.InputContainer) -> int | None:
    """When a frame is shown, in the stream's unit of time; None: the file does not tell.

    AVI states the order of decoding alone, from which FFmpeg guesses times that do not rise.
    """
    return frame.dts if reader.format.name == "avi" else frame.pts


def check_video(source: Path) -> VideoCheck:
    """Decode all frames of a video once.

    Raises:
        DataError: no frame can be decoded.
    """
    first, stamps = None, []
    count = undecodable = damaged = 0
    end = 0.0
    with open_video(source) as reader:
        stream = reader.streams.video[0]
        stream.thread_type = "AUTO"
        for packet in reader.demux():
            if packet.pts is not None and packet.time_base is not None:
                end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            damaged += bool(packet.is_corrupt)
            if packet.stream.index != stream.index:
                continue
            frames = decoded(packet)
            undecodable += frames is None
            for frame in frames or ():
                first = first or frame
                count += 1
                damaged += bool(frame.is_corrupt)
                stamp = time_stamp(frame, reader)
                if stamp is not None:
                    stamps.append(float(stamp * stream.time_base))
        kind = reader.format.name.split(",")[0]
        expected = stream.frames if kind == "avi" else 0  # in MP4 also those that an edit list leaves out
        length, rate = (reader.duration or 0) / 1e6, float(stream.average_rate or 25)
    if first is None:
        raise DataError(f"{source} has no frame that can be decoded")
    slack = max(_SECONDS, _FRAMES / rate)
    size, stated = source.stat().st_size, _stated_size(source)
    inside = kind == "mpegts" and all(size % packet for packet in _PACKETS)
    faults = {
        f"{size:,} of {stated:,} bytes are there": size < stated,
        f"it ends at {end:.2f} of {length:.2f} s": kind in _STATE_LENGTH and length - end > slack,
        "it ends inside a packet": inside,
        f"damaged frames or packets: {damaged}": damaged > 0,
        f"frames that cannot be decoded: {undecodable}": undecodable > 0,
    }
    found = tuple(text for text, holds in faults.items() if holds)
    warnings = [] if found else _holes(stamps)
    if not found and count + 1 < expected:  # those left out on purpose are counted as well
        warnings.append(f"{count} of {expected} frames are there")
    return VideoCheck(first, count, found, tuple(warnings))


def _holes(stamps: Sequence[float]) -> list[str]:
    """A warning for each hole between frames, in seconds, that come evenly elsewhere."""
    times = np.array(stamps)
    if len(times) < 2 * _FRAMES:
        return []
    steps = np.diff(times)
    usual = float(np.median(steps))
    wide = steps > _HOLE * usual
    wide[0] = False  # AVI files begin with empty frames where the encoder held some back
    even = np.abs(steps[1:][~wide[1:]] - usual) <= _EVEN * usual
    if not even.all() or wide.sum() > max(1, len(steps) // _STEPS_PER_HOLE):
        return []
    return [f"no frames between {times[at]:.2f} and {times[at + 1]:.2f} s" for at in np.flatnonzero(wide)]
