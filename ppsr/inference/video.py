"""Upscaling videos frame by frame: nothing but a frame is held, sound is copied, time stamps are kept.

PyAV (the extra `video`) brings FFmpeg's libraries along. Frames of more than 8 bits are written
with 10; turned recordings of telephones are made upright.
"""

from __future__ import annotations

import errno
import logging
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from tqdm import tqdm

from ppsr.errors import ConfigError, DataError
from ppsr.files import atomic_path
from ppsr.inference.survey import Survey, decoded, survey, time_stamp
from ppsr.inference.upscaler import Upscaler

__all__ = ["fitting_container", "upscale_video", "video_size"]

logger = logging.getLogger(__name__)

# matrix coefficients as videos state them (ITU-T H.273) -> as FFmpeg's scaler names them
_MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
_BT601 = 5  # also stands for RGB, which has no matrix: otherwise versions of PyAV take the frame's
# FFmpeg's scaler is 1 to 3 levels too dark between RGB and subsampled colours of 8 bits, but not on this way
_EXACT = "yuv444p10le"
_NARROW, _WIDE = 1, 2  # luma from 16 to 235 (also what results have), or from 0 to 255
# FFmpeg writes PCM into MP4 too, but few programs play it and not all that AVI files hold is accepted
_SOUND_OF_MP4 = ("aac", "mp3", "mp2", "ac3", "eac3", "opus", "libopus", "alac", "flac")
_CODEC_FACTS = ("color_primaries", "color_trc", "colorspace")


def _pyav() -> ModuleType:
    """PyAV.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import av
    except ImportError:
        raise ConfigError("videos need PyAV: pip install 'ppsr[video]'") from None
    return av


def video_size(path: Path) -> tuple[int, int] | None:
    """Height and width of a video as it is stored; None: it cannot be read.

    Raises:
        ConfigError: PyAV is missing.
    """
    av = _pyav()
    try:
        with av.open(str(path)) as reader:
            return (
                (reader.streams.video[0].height, reader.streams.video[0].width)
                if reader.streams.video
                else None
            )
    except av.error.FFmpegError:
        return None


def fitting_container(path: Path) -> str:
    """The suffix of a container that holds a video's sound: .mp4 if it can, also for what cannot be read."""
    try:
        av = _pyav()
    except ConfigError:
        return ".mp4"  # it will be reported when the video's turn comes
    try:
        with av.open(str(path)) as reader:
            names = [sound.codec_context.name for sound in reader.streams.audio]
    except av.error.FFmpegError:
        return ".mp4"
    return ".mp4" if all(name.startswith(_SOUND_OF_MP4) for name in names) else ".mkv"


def upscale_video(
    upscaler: Upscaler, source: Path, target: Path, *, crf: int = 18, allow_truncated: bool = False
) -> dict[str, Any]:
    """Upscale a video file.

    Args:
        upscaler: what to apply to each frame.
        source: any video that FFmpeg reads.
        target: .webm is written in VP9, others in H.264.
        crf: constant rate factor, 0 (best) to 51.
        allow_truncated: take what there is of a damaged video.

    Returns:
        Entries of its report: output, size and output_size (width, height), frames, tiles, warnings.

    Raises:
        ConfigError: PyAV is missing.
        DataError: damaged, without pictures, or the container cannot hold the sound.
    """
    av = _pyav()
    try:
        with av.open(str(source)) as reader:
            if not reader.streams.video:
                raise DataError(f"{source} has no pictures")
            found = survey(source)
            if found.faults and not allow_truncated:
                raise DataError(
                    f"{source} is damaged or truncated: {'; '.join(found.faults)}; --allow-truncated takes "
                    "what is there"
                )
            with atomic_path(target) as temporary:
                try:
                    with av.open(str(temporary), "w", format=_container(target)) as writer:
                        report = _copied(av, upscaler, reader, writer, source, found, crf)
                except av.error.FFmpegError as error:
                    if error.filename == str(temporary) and error.errno == errno.EINVAL:
                        raise _unholdable(reader, error) from None
                    raise
    except av.error.FFmpegError as error:
        raise DataError(f"cannot convert {source}: {error}") from None
    return {"output": str(target), **report}


def _unholdable(reader: Any, error: Exception) -> DataError:
    """For streams that the container does not take."""
    names = ", ".join(sound.codec_context.name for sound in reader.streams.audio) or "no sound"
    return DataError(f"the container cannot hold these streams ({names}): {error}; use .mkv")


def _container(target: Path) -> str:
    """FFmpeg's name of a container."""
    return {".mkv": "matroska", ".webm": "webm", ".mov": "mov"}.get(target.suffix.lower(), "mp4")


def _copied(
    av: ModuleType, upscaler: Upscaler, reader: Any, writer: Any, source: Path, found: Survey, crf: int
) -> dict[str, Any]:
    """Write all frames and the sound.

    Raises:
        DataError: frames that do not follow each other, or the container cannot hold the sound.
    """
    stream = reader.streams.video[0]
    stream.thread_type = "AUTO"
    first = found.first
    deep = first.format.components[0].bits > 8
    height, width = _upright(_pixels(first), first).shape[:2]
    plan = upscaler.plan(height, width)
    size = upscaler.size(height, width)
    encoder = _encoder(writer, stream, size, deep, crf)
    _set_aspect(encoder, stream, turned=round(first.rotation / 90) % 2 == 1)
    try:
        sounds = {sound.index: _copy_stream(writer, sound) for sound in reader.streams.audio}
        writer.start_encoding()
    except (ValueError, av.error.FFmpegError) as error:
        raise _unholdable(reader, error) from None
    count, last = 0, None
    with tqdm(total=found.frames, unit="frame", leave=False, disable=None) as bar:
        for packet in reader.demux([stream, *reader.streams.audio]):
            if packet.stream.index != stream.index:
                if packet.dts is not None and not packet.is_corrupt:
                    packet.stream = sounds[packet.stream.index]
                    writer.mux(packet)
                continue
            for frame in decoded(packet) or ():  # the survey has told of those that cannot be
                stamp = time_stamp(frame, reader)
                pts = stamp if stamp is not None else _next(last, stream)
                if last is not None and pts <= last:
                    raise DataError(f"{source}: the time stamps of its frames do not rise at {frame.time} s")
                lq = _upright(_pixels(frame), frame)
                if lq.shape[:2] != (height, width):
                    raise DataError(f"{source}: its pictures change their size at {frame.time} s")
                result = _frame(av, upscaler(lq, plan=plan), frame, encoder)
                result.pts, result.time_base = pts, stream.time_base
                writer.mux(encoder.encode(result))
                count, last = count + 1, pts
                bar.update()
    writer.mux(encoder.encode(None))
    other = len(reader.streams) - 1 - len(sounds)
    warnings = [*found.faults, *found.warnings]
    if other:
        warnings.append(f"{other} streams that are neither the picture nor sound are left out")
    if first.interlaced_frame:
        warnings.append("its frames are interlaced and were upscaled as they are; deinterlace it first")
    return {
        "size": [width, height],
        "output_size": [size[1], size[0]],
        "frames": count,
        "tiles": str(plan),
        "warnings": warnings,
    }


def _next(last: int | None, stream: Any) -> int:
    """The time stamp of a frame that has none: one frame after the last."""
    rate = stream.average_rate or Fraction(25)
    return 0 if last is None else last + max(1, round(1 / (rate * stream.time_base)))


def _encoder(writer: Any, stream: Any, size: tuple[int, int], deep: bool, crf: int) -> Any:
    """The video stream of the result."""
    vp9 = writer.format.name == "webm"
    options = {"crf": str(crf), **({"b": "0"} if vp9 else {"preset": "medium"})}
    rate = stream.average_rate or stream.guessed_rate or Fraction(25)
    encoder = writer.add_stream("libvpx-vp9" if vp9 else "libx264", rate=rate, options=options)
    encoder.height, encoder.width = size
    # half resolution of the colours needs even sides
    encoder.pix_fmt = ("yuv444p" if size[0] % 2 or size[1] % 2 else "yuv420p") + (
        "10le" if deep and not vp9 else ""
    )
    context = encoder.codec_context
    context.time_base = stream.time_base
    for name in _CODEC_FACTS:
        value = int(getattr(stream.codec_context, name, 0) or 0)
        if value and hasattr(context, name):
            setattr(context, name, value)
    context.color_range = _NARROW
    return encoder


def _set_aspect(encoder: Any, stream: Any, *, turned: bool) -> None:
    """Pixels that are not square stay so, as on DVDs."""
    aspect = stream.codec_context.sample_aspect_ratio
    if aspect:
        encoder.codec_context.sample_aspect_ratio = 1 / aspect if turned else aspect


def _copy_stream(writer: Any, stream: Any) -> Any:
    """A stream of the result whose packets are copied."""
    if hasattr(writer, "add_stream_from_template"):
        return writer.add_stream_from_template(stream)
    return writer.add_stream(template=stream)


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


def _frame(av: ModuleType, sr: np.ndarray, source: Any, encoder: Any) -> Any:
    """A frame of the result in the encoder's layout and the source's matrix."""
    frame = av.VideoFrame.from_ndarray(sr, format="rgb48le")
    matrix = _matrix(source)
    exact = frame.reformat(format=_EXACT, src_colorspace=_BT601, dst_colorspace=matrix)
    return exact.reformat(format=encoder.pix_fmt, src_colorspace=matrix, dst_colorspace=matrix)
