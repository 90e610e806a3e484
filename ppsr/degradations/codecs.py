"""Compression by WebP and by video codecs: the encoders themselves, so on the host alone.

A video's frame is coded without its neighbours: as a key frame. Odd sides are extended by a row or a column.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import cv2
import numpy as np

from ppsr.degradations.base import ImageSizes, Operation, Rng, Step
from ppsr.degradations.steps import check_names, check_range
from ppsr.errors import ConfigError
from ppsr.imaging.frames import reformatted
from ppsr.imaging.io import to_uint8, to_unit

__all__ = ["VIDEO_CODECS", "Video", "VideoStep", "WebP", "WebPStep"]

# encoder: decoder, least and largest number of its quality: constant rate factor, or quantiser
VIDEO_CODECS = {
    "libx264": ("h264", 0, 51),
    "libx265": ("hevc", 0, 51),
    "libvpx-vp9": ("vp9", 0, 63),
    "mpeg4": ("mpeg4", 1, 31),
    "mpeg2video": ("mpeg2video", 1, 31),
}


@dataclass(frozen=True)
class WebP(Operation):
    """WebP compression of an image clipped to [0, 1]."""

    quality: int

    def apply(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return _coded(image, self._code)

    def _code(self, rgb: np.ndarray) -> np.ndarray:
        _, content = cv2.imencode(".webp", rgb[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, self.quality])
        return np.asarray(cv2.imdecode(content, cv2.IMREAD_COLOR))[..., ::-1]


@dataclass(frozen=True)
class Video(Operation):
    """Compression of an image clipped to [0, 1] as a video's frame, 4:2:0."""

    codec: str
    quality: int

    def apply(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return _coded(image, self._code)

    def _code(self, rgb: np.ndarray) -> np.ndarray:
        import av

        height, width = rgb.shape[:2]
        even = np.pad(rgb, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        encoder: Any = av.CodecContext.create(self.codec, "w")
        encoder.height, encoder.width = even.shape[:2]
        encoder.pix_fmt, encoder.time_base, encoder.thread_count = "yuv420p", Fraction(1, 25), 1
        quality = str(self.quality)
        encoder.options = (
            {"qmin": quality, "qmax": quality}
            if self.codec.startswith("mpeg")
            else {"crf": quality, "b": "0", "preset": "veryfast", "x265-params": "log-level=none"}
        )
        frame = reformatted(av.VideoFrame.from_ndarray(even, format="rgb24"), format="yuv420p")
        packets = [*encoder.encode(frame), *encoder.encode(None)]
        decoder: Any = av.CodecContext.create(VIDEO_CODECS[self.codec][0], "r")
        frames = [frame for packet in [*packets, None] for frame in decoder.decode(packet)]
        return reformatted(frames[0], format="rgb24").to_ndarray()[:height, :width]


def _coded(image: np.ndarray, code: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """RGB through a codec of 8 bit; other channels one by one, as gray."""
    values = to_uint8(image)
    if values.shape[2] == 3:
        return to_unit(np.ascontiguousarray(code(values)))
    planes = [code(values[..., [c] * 3])[..., 1] for c in range(values.shape[2])]
    return to_unit(np.stack(planes, axis=-1))


@dataclass(frozen=True)
class WebPStep(Step):
    """WebP compression of a random quality."""

    webp_range: Sequence[float]

    def __post_init__(self) -> None:
        check_range("webp", "webp_range", self.webp_range, 1, 100)

    def draw(self, rng: Rng, shared_rng: Rng, sizes: ImageSizes) -> list[Operation]:
        return [WebP(_whole(self.webp_range, rng))]


@dataclass(frozen=True)
class VideoStep(Step):
    """Compression by a video codec, of a random quality.

    Attributes:
        quality_range: the constant rate factors of libx264, libx265 (0 to 51) and libvpx-vp9 (0 to 63), the
            quantisers of mpeg4 and mpeg2video (1 to 31).
        codec: one of these.
    """

    quality_range: Sequence[float]
    codec: str = "libx264"

    def __post_init__(self) -> None:
        check_names("video", "codec", [self.codec], VIDEO_CODECS)
        check_range("video", "quality_range", self.quality_range, *VIDEO_CODECS[self.codec][1:])
        try:
            import av

            av.Codec(self.codec, "w")
        except ImportError:
            raise ConfigError("video: video codecs need the library av: pip install av") from None
        except ValueError:
            raise ConfigError(f"video: the installed library av has no encoder {self.codec}") from None

    def draw(self, rng: Rng, shared_rng: Rng, sizes: ImageSizes) -> list[Operation]:
        return [Video(self.codec, _whole(self.quality_range, rng))]


def _whole(limits: Sequence[float], rng: Rng) -> int:
    return int(rng.integers(int(limits[0]), int(limits[1]) + 1))
