"""Upscaling videos frame by frame: only a few frames are held, sound is copied, time stamps are kept.

PyAV (the extra `video`) brings FFmpeg's libraries along. Frames of more than 8 bits are written with 10 where
the encoder has them; rotated recordings of phones are turned upright. While a frame is computed, the next
ones are decoded and the last ones encoded.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ppsr.errors import ConfigError, DataError
from ppsr.files import atomic_path
from ppsr.inference import video_streams as streams
from ppsr.inference.pipeline import WriteBehind, read_ahead
from ppsr.inference.upscaler import Upscaler

if TYPE_CHECKING:
    from ppsr.inference.results import FileOptions

__all__ = ["fitting_container", "upscale_video", "video_size"]

# matrix coefficients as videos state them (ITU-T H.273) -> as FFmpeg's scaler names them
_MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
_BT601 = 5  # also stands for RGB, which has no matrix: otherwise versions of PyAV take the frame's
# FFmpeg's scaler is 1 to 3 levels too dark between RGB and subsampled colours of 8 bits, but not on this way
_EXACT = "yuv444p10le"
_NARROW, _WIDE = 1, 2  # luma from 16 to 235 (also what results have), or from 0 to 255
_CONTAINERS = {".mkv": "matroska", ".webm": "webm", ".mov": "mov"}  # FFmpeg's names; others: mp4
# FFmpeg writes PCM into MP4 too, but few programs play it and not all that AVI files hold is accepted
_SOUND_OF_MP4 = ("aac", "mp3", "mp2", "ac3", "eac3", "opus", "libopus", "alac", "flac")
_AHEAD = 2  # frames that wait on either side of the network


def _require_pyav() -> None:
    try:
        import av  # noqa: F401 - whether it is there
    except ImportError:
        raise ConfigError("videos need PyAV: pip install 'ppsr[video]'") from None


def video_size(path: Path) -> tuple[int, int] | None:
    """Height and width of a video as it is stored; None: it cannot be read.

    Raises:
        ConfigError: PyAV is missing.
    """
    _require_pyav()
    import av

    try:
        with streams.open_video(path) as reader:
            stream = next(iter(reader.streams.video), None)
            return None if stream is None or not stream.height else (stream.height, stream.width)
    except (av.error.FFmpegError, ValueError, AttributeError):  # codecs that FFmpeg lacks have no size
        return None


def fitting_container(path: Path) -> str:
    """The suffix of a container that holds a video's sound: .mp4 if it can, also for what cannot be read."""
    try:
        _require_pyav()
        with streams.open_video(path) as reader:
            contexts = [sound.codec_context for sound in reader.streams.audio]
    except (ConfigError, OSError, ValueError):  # FFmpeg's errors among them; reported when its turn comes
        return ".mp4"
    return ".mp4" if all(c is not None and c.name.startswith(_SOUND_OF_MP4) for c in contexts) else ".mkv"


def upscale_video(
    upscaler: Upscaler,
    source: Path,
    target: Path,
    options: FileOptions,
    *,
    start: Callable[[int], None] = lambda count: None,
    step: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Upscale a video file.

    Args:
        upscaler: what to apply to each frame.
        source: any video that FFmpeg reads.
        target: .webm is written in VP9, others in H.264, unless the options say otherwise.
        options: for reading and writing.
        start: called with the number of frames before the first.
        step: called after each frame.

    Returns:
        Entries of its report: output, size and output_size (width, height), frames, tiles, warnings.

    Raises:
        ConfigError: PyAV is missing, or there is no such encoder.
        DataError: damaged, without frames, or the container cannot hold the streams.
    """
    _require_pyav()
    import av

    try:
        with streams.open_video(source) as reader:
            if not reader.streams.video or reader.streams.video[0].codec_context is None:
                raise DataError(f"{source} has no frames that can be decoded")
            found = streams.check_video(source)
            if found.faults and not options.allow_truncated:
                raise DataError(
                    f"{source} is damaged or truncated: {'; '.join(found.faults)}; --allow-truncated takes "
                    "what is there"
                )
            start(found.frames)
            with atomic_path(target) as temporary:
                container = _CONTAINERS.get(target.suffix.lower(), "mp4")
                try:
                    with av.open(str(temporary), "w", format=container) as writer:
                        report, copied = _convert(upscaler, reader, writer, source, found, options, step)
                except av.error.FFmpegError as error:
                    if error.filename == str(temporary) and error.errno == errno.EINVAL:
                        raise _unsupported_streams(reader, error) from None
                    raise
                if lost := streams.lost_metadata(source, temporary, copied):
                    report["warnings"].append(f"the result does not have: {', '.join(lost)}")
    except av.error.FFmpegError as error:
        raise DataError(f"cannot convert {source}: {error}") from None
    return {"output": str(target), **report}


def _convert(
    upscaler: Upscaler,
    reader: Any,
    writer: Any,
    source: Path,
    found: streams.VideoCheck,
    options: FileOptions,
    step: Callable[[], None],
) -> tuple[dict[str, Any], dict[int, int]]:
    """Write all frames and copy the other streams; returns the report and the numbers of the copied streams.

    Raises:
        DataError: frames that do not follow each other, or the container cannot hold the streams.
    """
    import av

    stream, first = reader.streams.video[0], found.first
    stream.thread_type = "AUTO"
    height, width = _upright(_pixels(first), first).shape[:2]
    plan = upscaler.plan(height, width)
    size = upscaler.size(height, width)
    codec, extra = options.video_codec, options.video_options
    encoder = streams.add_encoder(writer, stream, first, size, codec=codec, crf=options.crf, options=extra)
    try:
        copies, left_out = streams.copy_streams(reader, writer)
        streams.copy_metadata(reader, writer, encoder)
        writer.start_encoding()
    except (ValueError, av.error.FFmpegError) as error:
        raise _unsupported_streams(reader, error) from None

    def encode(items: Iterator[Any]) -> None:
        for item in items:
            if isinstance(item, av.Packet):
                writer.mux(item)
            else:
                sr, frame, pts = item
                result = _frame(sr, frame, encoder)
                result.pts, result.time_base = pts, stream.time_base
                writer.mux(encoder.encode(result))
        writer.mux(encoder.encode(None))

    ahead = 0 if upscaler.max_memory is not None else _AHEAD
    count = 0
    with ThreadPoolExecutor(1, "ppsr-encoder") as pool:
        writing = WriteBehind(pool, encode, ahead)
        try:
            for item in read_ahead(_items(reader, copies, source, (height, width)), ahead):
                if isinstance(item, av.Packet):
                    writing.put(item)
                else:
                    lq, frame, pts = item
                    writing.put((upscaler(lq, plan=plan), frame, pts))
                    count += 1
                    step()
            writing.close().result()
        except BaseException:
            writing.abort()
            raise
    warnings = [*found.faults, *found.warnings]
    if left_out:
        warnings.append(f"{len(left_out)} streams are left out: {', '.join(left_out)}")
    if any(component.is_alpha for component in first.format.components):
        warnings.append(f"its transparency is left out: frames of {first.format.name} became opaque")
    if first.interlaced_frame:
        warnings.append("its frames are interlaced and were upscaled as they are; deinterlace it first")
    report = {
        "size": [width, height],
        "output_size": [size[1], size[0]],
        "frames": count,
        "tiles": str(plan),
        "warnings": warnings,
    }
    return report, {number: copy.index for number, copy in copies.items()}


def _items(reader: Any, copies: dict[int, Any], source: Path, size: tuple[int, int]) -> Iterator[Any]:
    """Packets to be copied, and frames as (upright pixels, frame, time stamp), in the order of the file.

    Raises:
        DataError: frames that do not follow each other.
    """
    stream = reader.streams.video[0]
    frame_time = max(1, round(1 / ((stream.average_rate or Fraction(25)) * stream.time_base)))
    last = None
    for packet in reader.demux([stream, *(reader.streams[number] for number in copies)]):
        if packet.stream.index != stream.index:
            if packet.dts is not None and not packet.is_corrupt:
                packet.stream = copies[packet.stream.index]
                yield packet
            continue
        for frame in streams.decoded(packet) or ():  # those that cannot be are among the faults
            pts = streams.time_stamp(frame, reader)
            if pts is None:
                pts = 0 if last is None else last + frame_time
            if last is not None and pts <= last:
                raise DataError(f"{source}: the time stamps of its frames do not rise at {frame.time} s")
            last = pts
            lq = _upright(_pixels(frame), frame)
            if lq.shape[:2] != size:
                raise DataError(f"{source}: its frames change their size at {frame.time} s")
            yield lq, frame, pts


def _matrix(frame: Any) -> int:
    return _MATRICES.get(int(frame.colorspace), _BT601)


def _pixels(frame: Any) -> np.ndarray:
    """H x W x 3 RGB uint16."""
    spread = _WIDE if int(frame.color_range) == _WIDE else _NARROW
    matrix = _matrix(frame)
    exact = frame.reformat(
        format=_EXACT,
        src_colorspace=matrix,
        dst_colorspace=matrix,
        src_color_range=spread,
        dst_color_range=_NARROW,
    )
    return exact.reformat(format="rgb48le", src_colorspace=matrix, dst_colorspace=_BT601).to_ndarray()


def _upright(pixels: np.ndarray, frame: Any) -> np.ndarray:
    """Turned as the recording asks for; FFmpeg counts degrees against the clock."""
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90) % 4))


def _frame(sr: np.ndarray, source: Any, encoder: Any) -> Any:
    """A frame of the result in the encoder's layout and the source's matrix."""
    import av

    frame = av.VideoFrame.from_ndarray(sr, format="rgb48le")
    matrix = _matrix(source)
    exact = frame.reformat(format=_EXACT, src_colorspace=_BT601, dst_colorspace=matrix)
    return exact.reformat(format=encoder.pix_fmt, src_colorspace=matrix, dst_colorspace=matrix)


def _unsupported_streams(reader: Any, error: Exception) -> DataError:
    found = [s for s in reader.streams if s.type in ("audio", "subtitle") and s.codec_context is not None]
    names = ", ".join(stream.codec_context.name for stream in found) or "no sound"
    return DataError(f"the container cannot hold these streams ({names}): {error}; use .mkv")
