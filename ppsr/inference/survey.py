"""Looking through a video before it is computed, which takes far longer: is all of it there?

FFmpeg's decoders fill damaged frames and its demuxers leave out what they do not understand; both go on
silently. What shows the loss: marks on frames and packets, the numbers that the container states, and a hole
in otherwise even time stamps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ppsr.errors import DataError
from ppsr.inference.containers import stated_size
from ppsr.inference.video_streams import open_video

if TYPE_CHECKING:
    import av

__all__ = ["Survey", "decoded", "survey", "time_stamp"]

_STATE_LENGTH = ("matroska", "mov", "avi", "asf")  # others estimate it from what is there
_TRANSPORT_PACKETS = (188, 192, 204)
_SECONDS = 0.5  # by which streams of a whole file end apart from what the container states
_FRAMES = 3
_HOLE = 1.75  # of the usual distance
_EVEN = 0.25
_STEPS_PER_HOLE = 50  # with more holes than one in so many steps the time stamps are not even


@dataclass(frozen=True)
class Survey:
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
    """The frames of a packet of pictures; None: it cannot be decoded."""
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


def survey(source: Path) -> Survey:
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
    size, stated = source.stat().st_size, stated_size(source)
    inside = kind == "mpegts" and all(size % packet for packet in _TRANSPORT_PACKETS)
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
    return Survey(first, count, found, tuple(warnings))


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
