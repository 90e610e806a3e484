"""Reading videos: their header, whether they are whole, and the time of each frame."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from ppsr.errors import DataError

# FFmpeg writes PCM into MP4 too, but few programs play it and not all that AVI files hold is accepted
_SOUND_OF_MP4 = ("aac", "mp3", "mp2", "ac3", "eac3", "opus", "libopus", "alac", "flac")
_STATE_LENGTH = ("matroska", "mov", "avi", "asf")  # others estimate it from what is there
_SECONDS, _FRAMES = 0.5, 3  # by which streams of a whole file end apart from what the container states
_TRANSPORT_PACKETS = (188, 192, 204)  # bytes: plain, with time stamps, with checksums
_VIDEO_HEADS = (
    b"\x1a\x45\xdf\xa3",  # Matroska, WebM
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # ASF: WMV
    b"\0\0\x01\xba",  # MPEG program stream
    b"\0\0\x01\xb3",  # MPEG video without a container
    b"FLV\x01",
    b"YUV4MPEG2 ",
    b"DKIF",  # IVF
)
_SOUND_BRANDS = (b"M4A ", b"M4B ", b"M4P ")
_OLD_QUICKTIME = (b"moov", b"mdat", b"wide")  # before files began with their brand
_SYNC, _REPEATED = b"\x47", 5


def is_video_head(head: bytes) -> bool:
    """Whether the first 2 KB of a file announce a container for videos.

    Images in such containers (AVIF, HEIC) are to be recognised before.
    """
    if head.startswith(_VIDEO_HEADS) or (head[:4] == b"RIFF" and head[8:12] == b"AVI "):
        return True
    if head[4:8] == b"ftyp":
        return head[8:12] not in _SOUND_BRANDS
    # recordings of transport streams may begin inside a packet
    return head[4:8] in _OLD_QUICKTIME or any(
        head[start::packet][:_REPEATED] == _SYNC * _REPEATED
        for packet in _TRANSPORT_PACKETS
        for start in range(packet)
    )


def open_video(path: Path) -> Any:
    """A video to be read; tags that are not UTF-8, as in old AVI files, get replacement characters."""
    import av

    return av.open(str(path), metadata_errors="replace")


class VideoHeader(NamedTuple):
    """Size as it is stored, number of frames by length and rate, and whether MP4 can hold the sound."""

    height: int
    width: int
    frames: int
    fits_mp4: bool


def video_header(path: Path) -> VideoHeader | None:
    """Header of a video; None: it cannot be read, which is reported when its turn comes."""
    if not path.is_file():  # opening a pipe waits for somebody who writes
        return None
    try:
        with open_video(path) as reader:
            stream, seconds = reader.streams.video[0], (reader.duration or 0) / 1e6
            frames = stream.frames or round(seconds * float(stream.average_rate or 0))
            sounds = [sound.codec_context for sound in reader.streams.audio]
            fits = all(codec is not None and codec.name.startswith(_SOUND_OF_MP4) for codec in sounds)
            return VideoHeader(stream.height, stream.width, max(1, frames), fits) if stream.height else None
    except Exception:  # FFmpeg's errors are of many classes, EOFError among them
        return None


@dataclass(frozen=True)
class VideoCheck:
    """Contents of a video."""

    first: Any
    frames: int
    faults: tuple[str, ...]
    warnings: tuple[str, ...]


def decoded(packet: Any) -> list[Any] | None:
    """The frames of a packet; None: it cannot be decoded."""
    from av.error import FFmpegError

    try:
        return packet.decode()
    except FFmpegError:
        return None


class Clock:
    """Time stamps of the frames of a video, called with each of them in turn.

    Raises:
        DataError: the time does not rise, or the size changes.
    """

    def __init__(self, source: Path) -> None:
        self._source = source
        self._last: int | None = None
        self._size = ""

    def __call__(self, frame: Any, reader: Any) -> int:
        # AVI states the order of decoding alone, from which FFmpeg guesses times that do not rise
        pts = frame.dts if reader.format.name == "avi" else frame.pts
        if pts is None:
            stream = reader.streams.video[0]
            step = max(1, round(1 / ((stream.average_rate or Fraction(25)) * stream.time_base)))
            pts = 0 if self._last is None else self._last + step
        if self._last is not None and pts <= self._last:
            raise DataError(f"{self._source}: the time stamps of its frames do not rise at {frame.time} s")
        size = f"{frame.width} x {frame.height}"
        if size != (self._size or size):
            raise DataError(
                f"{self._source}: its frames change their size at {frame.time} s, from {self._size} to "
                f"{size}; convert it to one size"
            )
        self._last, self._size = pts, size
        return int(pts)


def check_video(source: Path) -> VideoCheck:
    """Decode all frames of a video once, which takes far less time than computing them.

    FFmpeg's decoders fill damaged frames and its demuxers leave out what they do not understand, silently.

    Raises:
        DataError: no frame can be decoded, or they do not follow each other with one size.
    """
    first, clock = None, Clock(source)
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
                clock(frame, reader)
                count += 1
                damaged += bool(frame.is_corrupt)
        kind = reader.format.name.split(",")[0]
        expected = stream.frames if kind == "avi" else 0  # in MP4 also those that an edit list leaves out
        length, rate = (reader.duration or 0) / 1e6, float(stream.average_rate or 25)
    if first is None:
        raise DataError(f"{source} has no frame that can be decoded")
    size, slack = source.stat().st_size, max(_SECONDS, _FRAMES / rate)
    faults = {
        f"it ends at {end:.2f} of {length:.2f} s": kind in _STATE_LENGTH and length - end > slack,
        "it ends inside a packet": kind == "mpegts" and all(size % packet for packet in _TRANSPORT_PACKETS),
        f"damaged frames or packets: {damaged}": damaged > 0,
        f"frames that cannot be decoded: {undecodable}": undecodable > 0,
    }
    found = tuple(text for text, holds in faults.items() if holds)
    missing = not found and count + 1 < expected  # those left out on purpose are counted as well
    return VideoCheck(first, count, found, (f"{count} of {expected} frames are there",) * missing)
