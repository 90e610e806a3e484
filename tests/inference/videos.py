"""Small videos, written and read by PyAV."""

from fractions import Fraction

import numpy as np
import pytest

av = pytest.importorskip("av")

STAMPS = [0, 1, 2, 5, 6, 10, 11, 12]  # uneven, as telephones record
FLAT = [(200, 60, 40), (40, 180, 70), (30, 60, 210), (120, 120, 120)]


def video_images(height, width):
    y, x = np.mgrid[:height, :width]
    for index in range(len(STAMPS)):
        colour = np.array(FLAT[index % len(FLAT)])
        yield np.clip(colour + (x[..., None] + y[..., None]) * 0.3, 0, 255).astype(np.uint8)


def add_video(writer, codec="libx264", *, rate, size=(64, 48), layout="yuv420p", **options):
    """A stream for `encode`."""
    stream = writer.add_stream(codec, rate=rate, options=options)
    stream.width, stream.height = size
    stream.pix_fmt = layout
    return stream


def encode(writer, stream, images, *, rate, layout="rgb24"):
    """Images as frames at equal distances."""
    for stamp, image in enumerate(images):
        frame = av.VideoFrame.from_ndarray(image, format=layout).reformat(format=stream.pix_fmt)
        frame.pts, frame.time_base = stamp, Fraction(1, rate)
        writer.mux(stream.encode(frame))
    writer.mux(stream.encode(None))


def encode_sound(writer, stream, samples, part, *, rate, kind="fltp", layout="mono"):
    """Samples, a part of them at a time."""
    for start in range(0, samples.shape[1], part):
        frame = av.AudioFrame.from_ndarray(samples[:, start : start + part], format=kind, layout=layout)
        channels = 1 if kind.endswith("p") else len(frame.layout.channels)
        frame.sample_rate, frame.pts = rate, start // channels
        frame.time_base = Fraction(1, rate)
        writer.mux(stream.encode(frame))
    writer.mux(stream.encode(None))


def make_video(
    path, *, sound=True, layout="yuv420p", aspect=None, late=0, rotation=0, matrix=5, wide=False, **options
):
    with av.open(str(path), "w", options=options) as writer:
        codec = "libvpx-vp9" if path.suffix == ".webm" else "libx264"
        stream = add_video(writer, codec, rate=12, layout=layout, crf="4")
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        stream.codec_context.time_base = Fraction(1, 12)
        stream.codec_context.colorspace = matrix
        stream.codec_context.color_range = 2 if wide else 1
        if rotation:
            stream.set_display_rotation(rotation)
        audio = (
            writer.add_stream("aac" if path.suffix == ".mp4" else "libopus", rate=48000) if sound else None
        )
        for stamp, image in zip(STAMPS, video_images(48, 64), strict=True):
            frame = av.VideoFrame.from_ndarray(image.astype(np.uint16) * 257, format="rgb48le")
            frame = frame.reformat(format="yuv444p10le", dst_colorspace=matrix)
            frame = frame.reformat(format=layout, src_color_range=1, dst_color_range=2 if wide else 1)
            frame.pts, frame.time_base = stamp + late, Fraction(1, 12)
            writer.mux(stream.encode(frame))
        writer.mux(stream.encode(None))
        if audio is not None:
            tone = np.sin(np.arange(48000) / 20).astype(np.float32)[None] * 0.3
            encode_sound(writer, audio, tone, 960, rate=48000)
    return path


def frame_rgb(frame):
    """FFmpeg's scaler rounds down when it leaves 8 bits of subsampled colours directly."""
    wide = int(frame.color_range) == 2
    exact = frame.reformat(format="yuv444p10le", src_color_range=2 if wide else 1, dst_color_range=1)
    matrix = 1 if int(frame.colorspace) == 1 else 5
    return exact.reformat(format="rgb48le", src_colorspace=matrix, dst_colorspace=5).to_ndarray() / 257.0


def read_video(path):
    """Frames as (seconds, RGB), packets of sound as (seconds, bytes)."""
    with av.open(str(path)) as reader:
        frames = [(frame.time, frame_rgb(frame)) for frame in reader.decode(video=0)]
    with av.open(str(path)) as reader:
        packets = reader.demux(audio=0) if reader.streams.audio else []
        return frames, [(float(p.pts * p.time_base), bytes(p)) for p in packets if p.size]
