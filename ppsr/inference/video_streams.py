"""The streams of a result: its encoder, what is copied from the source, what the source says of itself.

Titles, languages, chapters, subtitles and attachments are copied where the container takes them, the colour
volume of HDR10 is handed to the encoder. What did not arrive is found by reading the result.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from ppsr.errors import ConfigError, DataError, did_you_mean

__all__ = ["add_encoder", "copy_metadata", "copy_streams", "lost_metadata", "open_video"]

_COLOUR_TAGS = ("color_primaries", "color_trc", "colorspace")
_NARROW = 1  # luma from 16 to 235
_WITH_CRF = ("libx264", "libx264rgb", "libx265", "libvpx", "libvpx-vp9", "libaom-av1", "libsvtav1")
_WITH_PRESET = ("libx264", "libx264rgb", "libx265")
# what is no tag of the film but of the file
_FILE_TAGS = {
    "encoder",
    "software",
    "major_brand",
    "minor_version",
    "compatible_brands",
    "handler_name",
    "vendor_id",
}
_SUBTITLES = {
    "matroska": {
        "subrip",
        "srt",
        "ass",
        "ssa",
        "webvtt",
        "dvd_subtitle",
        "hdmv_pgs_subtitle",
        "dvb_subtitle",
    },
    "webm": {"webvtt"},
    "mp4": {"mov_text"},
    "mov": {"mov_text"},
}
_HDR10 = {
    "MASTERING_DISPLAY_METADATA": "the mastering display of HDR10",
    "CONTENT_LIGHT_LEVEL": "the light level of HDR10",
}


def open_video(path: Path) -> Any:
    """A video to be read; tags that are no UTF-8, as in old AVI files, become replacement signs."""
    import av

    return av.open(str(path), metadata_errors="replace")


def add_encoder(
    writer: Any,
    stream: Any,
    first: Any,
    size: tuple[int, int],
    *,
    codec: str | None = None,
    crf: int = 18,
    options: Mapping[str, str] | None = None,
) -> Any:
    """The video stream of the result.

    Args:
        writer: container of the result.
        stream: the source's.
        first: its first frame.
        size: height and width.
        codec: FFmpeg's name of an encoder; None: VP9 for WebM, else H.264.
        crf: constant rate factor, for encoders that have one.
        options: of the encoder; they win over those chosen here.

    Raises:
        ConfigError: there is no such encoder.
    """
    codec = codec or ("libvpx-vp9" if writer.format.name == "webm" else "libx264")
    formats = _formats(codec)
    chosen: dict[str, str] = {}
    if codec in _WITH_CRF:
        chosen["crf"] = str(crf)
    if codec in _WITH_PRESET:
        chosen["preset"] = "medium"
    if codec.startswith("libvpx"):
        chosen["b"] = "0"
    chosen |= _hdr10_options(codec, first)
    rate = stream.average_rate or stream.guessed_rate or Fraction(25)
    encoder = writer.add_stream(codec, rate=rate, options={**chosen, **(options or {})})
    encoder.height, encoder.width = size
    is_16bit = first.format.components[0].bits > 8
    # half resolution of the colours needs even sides
    colours = "444" if size[0] % 2 or size[1] % 2 else "420"
    wanted = [f"yuv{colours}p10le"] * is_16bit + [f"yuv{colours}p", "nv12", "yuv444p"]
    encoder.pix_fmt = next((name for name in wanted if name in formats), (formats or wanted)[0])
    context = encoder.codec_context
    context.time_base = stream.time_base
    for name in _COLOUR_TAGS:
        value = int(getattr(stream.codec_context, name, 0) or 0)
        if value and hasattr(context, name):
            setattr(context, name, value)
    context.color_range = _NARROW
    aspect = stream.codec_context.sample_aspect_ratio
    if aspect:  # pixels that are not square stay so, as on DVDs
        turned = round(first.rotation / 90) % 2 == 1
        context.sample_aspect_ratio = 1 / aspect if turned else aspect
    return encoder


def _formats(codec: str) -> list[str]:
    """Layouts of pixels that an encoder takes.

    Raises:
        ConfigError: there is no such video encoder.
    """
    import av

    try:
        found = av.codec.Codec(codec, "w")
        if found.type == "video":
            return [layout.name for layout in found.video_formats or ()]
    except ValueError:
        pass
    names = []
    for name in sorted(av.codecs_available):
        try:
            if av.codec.Codec(name, "w").type == "video":
                names.append(name)
        except ValueError:  # a decoder alone
            continue
    raise ConfigError(f"FFmpeg has no video encoder '{codec}' here; {did_you_mean(codec, names)}") from None


def _hdr10_options(codec: str, first: Any) -> dict[str, str]:
    """HDR10's description of colours and light, as x264 and x265 take it."""
    if codec not in ("libx264", "libx265"):
        return {}
    short = codec == "libx264"
    parts = [] if short else ["hdr10=1"]
    for side in first.side_data:
        kind, content = side.type.name, bytes(side)
        if kind == "MASTERING_DISPLAY_METADATA":
            numbers = struct.unpack("=20i2i", content[:88])
            values = [Fraction(a, b or 1) for a, b in zip(numbers[:20:2], numbers[1:20:2], strict=True)]
            red, green, blue, white = ([round(v * 50000) for v in values[at : at + 2]] for at in (0, 2, 4, 6))
            low, high = (round(v * 10000) for v in values[8:10])
            name = "mastering-display" if short else "master-display"
            places = [
                f"{k}({x},{y})"
                for k, (x, y) in zip(("G", "B", "R", "WP"), (green, blue, red, white), strict=True)
            ]
            parts.append(f"{name}={''.join(places)}L({high},{low})")
        elif kind == "CONTENT_LIGHT_LEVEL":
            most, mean = struct.unpack("=2I", content[:8])
            parts.append(f"{'cll' if short else 'max-cll'}={most},{mean}")
    return {"x264-params" if short else "x265-params": ":".join(parts)} if len(parts) > (not short) else {}


def copy_streams(reader: Any, writer: Any) -> tuple[dict[int, Any], list[str]]:
    """Add streams for sound, subtitles and attachments.

    Returns:
        The streams of the result by their number in the source, and what is left out.
    """
    copied: dict[int, Any] = {}
    left_out = []
    taken = _SUBTITLES.get(writer.format.name.split(",")[0], set())
    for stream in reader.streams:
        if stream.index == reader.streams.video[0].index:
            continue
        codec = stream.codec_context.name if stream.codec_context is not None else "unknown codec"
        if stream.type == "audio" or (stream.type == "subtitle" and codec in taken):
            copied[stream.index] = _add_copy(writer, stream)
        elif stream.type == "attachment" and writer.format.name == "matroska":
            writer.add_attachment(
                stream.name or "attachment", stream.mimetype or "application/octet-stream", stream.data
            )
        else:
            language = stream.metadata.get("language")
            left_out.append(f"{stream.type} ({codec}{f', {language}' if language else ''})")
    return copied, left_out


def _add_copy(writer: Any, stream: Any) -> Any:
    if hasattr(writer, "add_stream_from_template"):
        copy = writer.add_stream_from_template(stream)
    else:
        copy = writer.add_stream(template=stream)
    copy.metadata.update(_tags(stream))
    return copy


def copy_metadata(reader: Any, writer: Any, encoder: Any) -> None:
    """Titles, other tags, and chapters."""
    writer.metadata.update(_tags(reader))
    encoder.metadata.update(_tags(reader.streams.video[0]))
    if hasattr(writer, "set_chapters") and (chapters := reader.chapters()):
        writer.set_chapters(chapters)


def _tags(place: Any) -> dict[str, str]:
    """Tags of a container or stream that hold for the result as well; statistics of the file do not."""
    return {
        key: value
        for key, value in place.metadata.items()
        if key.lower() not in _FILE_TAGS
        and not key.upper().startswith(("DURATION", "BPS", "NUMBER_OF_", "_STATISTICS"))
    }


def lost_metadata(source: Path, target: Path, first: Any, copied: Mapping[int, int]) -> list[str]:
    """What the source says and the result does not.

    Args:
        source: the video.
        target: the result.
        first: the source's first frame.
        copied: number of a stream in the source -> in the result.
    """
    lost = []
    with open_video(source) as old, open_video(target) as new:
        lost += [f"tag '{key}'" for key, value in _tags(old).items() if new.metadata.get(key) != value]
        for number, copy in copied.items():
            before, after = old.streams[number], new.streams[copy]
            for key in ("language", "title"):
                value = before.metadata.get(key)
                if value not in (None, "und", after.metadata.get(key)):
                    lost.append(f"{key} '{value}' of {before.type} {number}")
        chapters = [len(place.chapters()) if hasattr(place, "chapters") else 0 for place in (old, new)]
        if chapters[0] != chapters[1]:
            lost.append(f"{chapters[0] - chapters[1]} chapters")
        kinds = {side.type.name for side in next(new.decode(video=0)).side_data}
        lost += [text for kind, text in _HDR10.items() if kind in _kinds(first.side_data) - kinds]
    return lost


def _kinds(side_data: Sequence[Any]) -> set[str]:
    return {side.type.name for side in side_data}


def unholdable(reader: Any, error: Exception) -> DataError:
    """For streams that the container does not take."""
    streams = [s for s in reader.streams if s.type in ("audio", "subtitle") and s.codec_context is not None]
    names = ", ".join(stream.codec_context.name for stream in streams) or "no sound"
    return DataError(f"the container cannot hold these streams ({names}): {error}; use .mkv")
