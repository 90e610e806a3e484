"""The streams of a result: its encoder, and what is copied from the source.

Titles, languages, chapters, subtitles and attachments are copied where the container takes them. What did not
arrive is found by reading the result.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ppsr.errors import ConfigError
from ppsr.inference.video.check import open_video

if TYPE_CHECKING:
    from ppsr.inference.results import FileOptions

_COLOUR_TAGS = ("color_primaries", "color_trc", "colorspace")
_NARROW = 1  # luma from 16 to 235
_CRF = 18
_WITH_CRF = ("libx264", "libx264rgb", "libx265", "libvpx", "libvpx-vp9", "libaom-av1", "libsvtav1")
# x265 refuses transparency, and VP9 has it beside its packets, where FFmpeg's own decoder does not look
_WITH_ALPHA = ("ffv1", "png", "prores_ks", "qtrle")
# beginnings of tags of the file, not of the film
_WRITER_TAGS = ("encoder", "software", "handler_name", "vendor_id", "alpha_mode")
_FILE_TAGS = ("major_", "minor_", "compatible_", "duration", "bps", "number_of_", "_statistics")
_BITMAP_SUBTITLES = {"dvd_subtitle", "hdmv_pgs_subtitle", "dvb_subtitle"}
_SUBTITLES = {
    "matroska": {"subrip", "srt", "ass", "ssa", "webvtt", *_BITMAP_SUBTITLES},
    "webm": {"webvtt"},
    "mp4": {"mov_text"},
    "mov": {"mov_text"},
}
_SIDE_DATA = {
    "MASTERING_DISPLAY_METADATA": "the mastering display of HDR10",
    "CONTENT_LIGHT_LEVEL": "the light level of HDR10",
    "DYNAMIC_HDR_PLUS": "the metadata of HDR10+",
    "DOVI_METADATA": "the metadata of Dolby Vision",
    "A53_CC": "the closed captions",
    "STEREO3D": "the arrangement of its 3D views",
    "SPHERICAL": "the projection of its 360-degree view",
}
_QUIET_X265 = "log-level=error"
_USUAL = ("libx264", "libx265", "libsvtav1", "libaom-av1", "libvpx-vp9", "ffv1", "prores_ks")


def add_encoder(writer: Any, stream: Any, first: Any, size: tuple[int, int], options: FileOptions) -> Any:
    """The video stream of the result: by default VP9 for WebM, else H.264.

    Args:
        stream: the source's.
        first: its first frame.
        size: height and width of the result.

    Raises:
        ConfigError: there is no such encoder, it does not take the options, or the container not its stream.
    """
    codec = options.video_codec or ("libvpx-vp9" if writer.format.name == "webm" else "libx264")
    layouts = pixel_formats(codec)
    if options.crf is not None and codec not in _WITH_CRF:
        raise ConfigError(
            f"the encoder {codec} has no constant rate factor (--crf {options.crf}); set its quality by "
            "--video-options"
        )
    chosen = {"crf": str(_CRF if options.crf is None else options.crf)} if codec in _WITH_CRF else {}
    if codec.startswith("libvpx"):
        chosen["b"] = "0"
    if codec == "libx264":  # its three take up to 1.5 times as long for the same size and PSNR
        chosen["refs"] = "1"
    given = dict(options.video_options)
    if codec == "libx265":  # which prints its settings for every part of a video
        given["x265-params"] = ":".join(filter(None, [_QUIET_X265, given.get("x265-params")]))
    rate = stream.average_rate or stream.guessed_rate or Fraction(25)
    try:
        encoder = writer.add_stream(codec, rate=rate, options={**chosen, **given})
    except ValueError as error:
        raise ConfigError(f"{error}; give the result another suffix, such as .mkv or .mov") from None
    encoder.height, encoder.width = size
    # half resolution of the colours needs even sides
    colours = "444" if size[0] % 2 or size[1] % 2 else "420"
    wanted, deep = [f"yuv{colours}p", "nv12", "yuv444p"], [f"yuv{colours}p10le"]
    if has_alpha(first.format) and codec in _WITH_ALPHA:
        wanted, deep = ["rgba", "argb", "bgra", "yuva444p10le", *wanted], ["yuva444p10le", *deep]
    if first.format.components[0].bits > 8:
        wanted = deep + wanted
    encoder.pix_fmt = next((name for name in wanted if name in layouts), (layouts or wanted)[0])
    context = encoder.codec_context
    context.time_base = stream.time_base
    for name in _COLOUR_TAGS:
        value = int(getattr(stream.codec_context, name, 0) or 0)
        if value and hasattr(context, name):
            setattr(context, name, value)
    context.color_range = _NARROW
    if context.name in ("libx265", "hevc_nvenc", "hevc_videotoolbox") and writer.format.name in (
        "mp4",
        "mov",
    ):
        context.codec_tag = "hvc1"  # without which Apple's programs show nothing
    aspect = stream.codec_context.sample_aspect_ratio
    if aspect:  # pixels that are not square stay so, as on DVDs
        turned = round(first.rotation / 90) % 2 == 1
        context.sample_aspect_ratio = 1 / aspect if turned else aspect
    _open_encoder(context, codec, options.video_options)
    return encoder


def _open_encoder(context: Any, codec: str, options: Mapping[str, str]) -> None:
    """Raises ConfigError for options that the encoder does not have, or values that it refuses."""
    from av.error import FFmpegError

    known = f"`ffmpeg -h encoder={codec}` lists its options"
    try:
        context.open()
    except FFmpegError as error:
        given = ", ".join(f"{key}={value}" for key, value in options.items())
        cause = f"with {given}" if given else f"for {context.width} x {context.height} {context.pix_fmt}"
        raise ConfigError(
            f"the encoder {codec} cannot be opened {cause}: {error.strerror}; {known}; these work without "
            f"options: {', '.join(_usual_encoders())}"
        ) from None
    if unused := [key for key in options if key in context.options]:  # FFmpeg leaves those there
        raise ConfigError(f"--video-options: the encoder {codec} has no option {', '.join(unused)}; {known}")


def pixel_formats(codec: str) -> list[str]:
    """Layouts of pixels that an encoder takes.

    Raises:
        ConfigError: there is no such video encoder.
    """
    import av

    if _is_video_encoder(codec):
        return [layout.name for layout in av.codec.Codec(codec, "w").video_formats or ()]
    near = [name for name in get_close_matches(codec, av.codecs_available, n=3) if _is_video_encoder(name)]
    cure = f"did you mean '{near[0]}'? Usual" if near else "usual"
    raise ConfigError(
        f"FFmpeg has no video encoder '{codec}' here; {cure} ones: {', '.join(_usual_encoders())}"
    ) from None


def _is_video_encoder(name: str) -> bool:
    import av

    try:
        return av.codec.Codec(name, "w").type == "video"
    except ValueError:
        return False


def _usual_encoders() -> list[str]:
    return [name for name in _USUAL if _is_video_encoder(name)]


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
            copy = writer.add_stream_from_template(stream)
            copy.metadata.update(_tags(stream))
            copy.disposition = stream.disposition  # default, forced, commentary
            copied[stream.index] = copy
        elif stream.type == "attachment" and writer.format.name == "matroska":
            kind = stream.mimetype or "application/octet-stream"
            writer.add_attachment(stream.name or "attachment", kind, stream.data)
        else:
            language = stream.metadata.get("language")
            left_out.append(f"{stream.type} ({codec}{f', {language}' if language else ''})")
    return copied, left_out


def copied_packets(reader: Any, copies: Mapping[int, Any], late: list[int]) -> Iterator[Any]:
    """Packets for the streams that `copy_streams` has added.

    Args:
        late: gets the streams of packets whose time goes back, which containers refuse.
    """
    chosen = [reader.streams[number] for number in copies]
    rounded = reader.format.name.startswith("matroska")  # to milliseconds: equal times are of two packets
    last: dict[int, int] = {}
    for packet in reader.demux(chosen) if chosen else ():
        if packet.dts is None or packet.is_corrupt:
            continue
        number, strict = packet.stream.index, packet.stream.type == "audio" and not rounded
        if number in last and packet.dts < last[number] + strict:
            late.append(number)
            continue
        last[number] = packet.dts
        packet.stream = copies[number]
        yield packet


def has_alpha(layout: Any) -> bool:
    """Whether pixels of a layout (PyAV's `VideoFormat`) have transparency."""
    return any(component.is_alpha for component in layout.components)


def copy_metadata(reader: Any, writer: Any, encoder: Any) -> None:
    """Titles, other tags, and chapters."""
    writer.metadata.update(_tags(reader))
    encoder.metadata.update(_tags(reader.streams.video[0]))
    if hasattr(writer, "set_chapters") and (chapters := reader.chapters()):
        writer.set_chapters(chapters)


def _tags(place: Any) -> dict[str, str]:
    """Tags of a container or stream that hold for the result as well; statistics of the file do not."""
    skipped = _WRITER_TAGS + _FILE_TAGS
    return {key: value for key, value in place.metadata.items() if not key.lower().startswith(skipped)}


def lost_metadata(source: Path, target: Path, copied: Mapping[int, int]) -> list[str]:
    """List the metadata of the source that the result lacks.

    Args:
        copied: number of a stream in the source -> in the result.
    """
    lost = []
    with open_video(source) as old, open_video(target) as new:
        lost += [f"tag '{key}'" for key, value in _tags(old).items() if new.metadata.get(key) != value]
        for number, copy in copied.items():
            before = old.streams[number]
            if copy >= len(new.streams):  # writers leave out a stream without packets
                lost.append(f"{before.type} {number}")
                continue
            after = new.streams[copy]
            for key in ("language", "title"):
                value = before.metadata.get(key)
                if value not in (None, "und", after.metadata.get(key)):
                    lost.append(f"{key} '{value}' of {before.type} {number}")
        chapters = [len(place.chapters()) if hasattr(place, "chapters") else 0 for place in (old, new)]
        if chapters[0] != chapters[1]:
            lost.append(f"{chapters[0] - chapters[1]} chapters")
        kinds = [{side.type.name for side in next(place.decode(video=0)).side_data} for place in (old, new)]
        lost += [text for kind, text in _SIDE_DATA.items() if kind in kinds[0] - kinds[1]]
    return lost
