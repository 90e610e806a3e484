"""Upscaling videos frame by frame: only a few frames are held, sound is copied, time stamps are kept.

PyAV (the extra `video`) brings FFmpeg's libraries along. Frames of more than 8 bits are written with 10 where
the encoder has them; rotated recordings of phones are turned upright. While a frame is computed, the next
ones are decoded and the last ones encoded. An interrupted run resumes where its last part ends.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from heapq import merge
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ppsr.errors import ConfigError, DataError
from ppsr.files import atomic_path
from ppsr.imaging.frames import make_frame, upright_pixels
from ppsr.inference.pipeline import WriteBehind, read_ahead
from ppsr.inference.upscaler import Upscaler
from ppsr.inference.video import streams
from ppsr.inference.video.check import Clock, VideoCheck, check_video, decoded, open_video
from ppsr.inference.video.parts import Frame, Parts
from ppsr.tiling import TilePlan

if TYPE_CHECKING:
    from ppsr.inference.results import FileOptions

__all__ = ["check_video_codec", "upscale_video"]

logger = logging.getLogger(__name__)

_CONTAINERS = {".mkv": "matroska", ".webm": "webm", ".mov": "mov"}  # FFmpeg's names; others: mp4
_AHEAD = 2  # frames that wait on either side of the network
_MANY_FRAMES = 1000  # which take some seconds or more to decode
_TRIED_PACKETS = 64  # of sound and subtitles
_PROBE, _PROBE_STEP = 32, 8  # side of an image of noise; one of so many pixels of its result is kept


def check_video_codec(codec: str | None) -> None:
    """Raises ConfigError for the name of an encoder that FFmpeg lacks; without PyAV each video says so."""
    with suppress(ImportError):
        if codec is not None:
            streams.pixel_formats(codec)


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
        target: .webm is written in VP9, others in H.264, unless the options say otherwise.
        start: called with the number of frames before the first.
        step: called after each frame.

    Returns:
        Entries of its report: output, size and output_size (width, height), frames, tiles, warnings.

    Raises:
        ConfigError: PyAV is missing, or there is no such encoder.
        DataError: damaged, without frames, the container cannot hold the streams, or another run writes the
            same result.
    """
    try:
        import av
    except ImportError:
        raise ConfigError("videos need PyAV: pip install 'ppsr[video]'") from None

    try:
        with open_video(source) as reader:
            if not reader.streams.video or reader.streams.video[0].codec_context is None:
                raise DataError(f"{source} has no frames that can be decoded")
            frames = reader.streams.video[0].frames
            if frames > _MANY_FRAMES:
                logger.info("%s: decoding its %d frames once, to check them", source, frames)
            found = check_video(source)
            if found.faults and not options.allow_truncated:
                raise DataError(
                    f"{source} is damaged or truncated: {'; '.join(found.faults)}; --allow-truncated takes "
                    "what is there"
                )
            job = _Job(upscaler, reader, source, target, found, options)
            job.check_container()
            with Parts(target, job.settings()) as parts:
                start(max(0, found.frames - parts.frames))
                job.compute(parts, step)
                with atomic_path(target) as temporary:
                    copied = job.assemble(parts, temporary)
                    warnings = job.warnings()
                    if lost := streams.lost_metadata(source, temporary, copied):
                        warnings.append(f"the result does not have: {', '.join(lost)}")
    except av.error.FFmpegError as error:
        raise DataError(f"cannot convert {source}: {error.strerror}") from None
    height, width = job.size
    sr_height, sr_width = upscaler.size(*job.size)
    return {
        "output": str(target),
        "size": [width, height],
        "output_size": [sr_width, sr_height],
        "frames": found.frames,
        "tiles": str(job.plan),
        "warnings": warnings,
    }


@dataclass
class _Job:
    """A video that is upscaled."""

    upscaler: Upscaler
    reader: Any
    source: Path
    target: Path
    found: VideoCheck
    options: FileOptions
    left_out: list[str] = field(default_factory=list)
    late: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.stream, self.first = self.reader.streams.video[0], self.found.first
        self.stream.thread_type = "AUTO"
        self.alpha = False
        height, width, _ = upright_pixels(self.first).shape
        self.size = (height, width)
        self.format = _CONTAINERS.get(self.target.suffix.lower(), "mp4")

    def _encoder(self, writer: Any) -> Any:
        size = self.upscaler.size(*self.size)
        return streams.add_encoder(writer, self.stream, self.first, size, self.options)

    def check_container(self) -> None:
        """Before anything is computed, write a file of the kind of the result, to memory.

        Raises:
            ConfigError: there is no such encoder.
            DataError: the container cannot hold the streams.
        """
        import av

        with open_video(self.source) as reader:
            writer = av.open(io.BytesIO(), "w", format=self.format)
            encoder = self._encoder(writer)
            try:
                copies, self.left_out = streams.copy_streams(reader, writer)
                writer.start_encoding()
                for packet in islice(streams.copied_packets(reader, copies, []), _TRIED_PACKETS):
                    writer.mux(packet)
                writer.close()
            except (ValueError, av.error.FFmpegError) as error:
                codecs = [s.codec_context for s in reader.streams if s.type in ("audio", "subtitle")]
                names = ", ".join(codec.name for codec in codecs if codec is not None) or "no sound"
                raise DataError(
                    f"the container cannot hold these streams ({names}): {error}; use .mkv"
                ) from None
            self.alpha = streams.has_alpha(av.VideoFormat(encoder.pix_fmt))

    @cached_property
    def plan(self) -> TilePlan:
        """Tile plan of every frame."""
        return self.upscaler.plan(*self.size, 4 if self.alpha else 3)

    def settings(self) -> dict[str, Any]:
        """Settings that determine the output frames; `network` holds samples of its output for noise."""
        noise = np.random.default_rng(0).integers(0, 2**16, (_PROBE, _PROBE, 3), np.uint16)
        status = self.source.stat()
        return {
            "source": [str(self.source.resolve()), status.st_size, status.st_mtime_ns],
            "output_size": list(self.upscaler.size(*self.size)),
            "tiles": [self.upscaler.tile_mode, self.upscaler.tile, self.upscaler.overlap],
            "encoder": [self.options.video_codec, self.options.crf, dict(self.options.video_options)],
            "network": self.upscaler(noise)[::_PROBE_STEP, ::_PROBE_STEP].ravel().tolist(),
        }

    def compute(self, parts: Parts, step: Callable[[], None]) -> None:
        """Upscale and encode the frames that are not in parts."""
        import av

        def encode(frames: Iterable[Frame]) -> Iterator[Any]:
            with av.open(io.BytesIO(), "w", format=self.format) as writer:  # on which codecs' heads depend
                encoder = self._encoder(writer)
                for sr, frame, pts in frames:
                    result = make_frame(sr, frame, encoder.pix_fmt)
                    result.pts, result.time_base = pts, self.stream.time_base
                    yield from encoder.encode(result)
                yield from encoder.encode(None)

        if parts.frames:
            logger.info("%s: resuming after frame %d of %d", self.source, parts.frames, self.found.frames)
        ahead = 0 if self.upscaler.max_memory is not None else _AHEAD
        with ThreadPoolExecutor(1, "ppsr-encoder") as pool:
            writing: WriteBehind[Frame] = WriteBehind(pool, lambda frames: parts.write(frames, encode), ahead)
            try:
                writing.start()
                for lq, frame, pts in read_ahead(self._frames(parts.frames), ahead):
                    writing.put((self.upscaler(lq, plan=self.plan), frame, pts))
                    step()
                writing.close().result()
            except BaseException:
                writing.abort()
                raise

    def _frames(self, skip: int) -> Iterator[Frame]:
        """Frames after the first `skip` as (pixels, frame, time stamp)."""
        number, clock = 0, Clock(self.source)
        for packet in self.reader.demux(self.stream):
            for frame in decoded(packet) or ():  # those that cannot be are among the faults
                pts = clock(frame, self.reader)
                number += 1
                if number > skip:
                    yield upright_pixels(frame, alpha=self.alpha), frame, pts

    def assemble(self, parts: Parts, path: Path) -> dict[int, int]:
        """Write the result from its parts and the other streams of the source.

        Returns:
            Number of a copied stream in the source -> in the result.
        """
        import av

        with av.open(str(path), "w", format=self.format) as writer, open_video(self.source) as reader:
            video = self._encoder(writer)  # which writes the head, as that of each part would
            copies, _ = streams.copy_streams(reader, writer)
            streams.copy_metadata(reader, writer, video)
            writer.start_encoding()
            own = parts.packets(video, self.stream.time_base)
            copied = streams.copied_packets(reader, copies, self.late)
            for packet in merge(own, copied, key=lambda packet: packet.dts * packet.time_base):
                writer.mux(packet)
            return {number: copy.index for number, copy in copies.items()}

    def warnings(self) -> list[str]:
        """Properties of the source that the result lacks."""
        warnings = [*self.found.faults, *self.found.warnings]
        if self.left_out:
            warnings.append(f"{len(self.left_out)} streams are left out: {', '.join(self.left_out)}")
        if self.late:
            warnings.append(
                f"{len(self.late)} packets of sound or subtitles are left out: their time goes back"
            )
        tags = {key.lower(): value for key, value in self.stream.metadata.items()}
        beside = tags.get("alpha_mode") == "1"  # as WebM has it, not decoded
        if (streams.has_alpha(self.first.format) or beside) and not self.alpha:
            warnings.append(
                f"its transparency is left out: frames of {self.first.format.name} became opaque; "
                "--video-codec prores_ks (.mov) or ffv1 (.mkv) keeps it"
            )
        if self.first.interlaced_frame:
            warnings.append("its frames are interlaced and were upscaled as they are; deinterlace it first")
        return warnings
