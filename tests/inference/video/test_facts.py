"""Videos: what a film says of itself, encoders."""

import io
from fractions import Fraction
from itertools import islice

import numpy as np
import pytest

from ppsr.errors import ConfigError
from ppsr.inference.results import exit_code
from ppsr.inference.upscale_files import FileOptions
from ppsr.inference.upscaler import Upscaler
from tests.inference.helpers import Repeat, upscale_files
from tests.inference.videos import STAMPS, add_video, encode, encode_sound, make_video, video_images

av = pytest.importorskip("av")


def _one(tmp_path, name, target="out", **options):
    [report] = upscale_files(
        Upscaler(Repeat()), tmp_path / name, tmp_path / target, options=FileOptions(**options)
    )
    return report


HDR10 = (
    "hdr10=1:repeat-headers=1:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc:max-cll=1000,400:"
    "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1):log-level=none"
)


def _film(path, codec="libx264", parameters=""):
    """Two sound tracks with language and title, chapters, subtitles, a title."""
    with av.open(str(path), "w") as writer:
        writer.metadata["title"] = "a film"
        spans = ({"id": k, "start": 3 * k, "end": 3 * k + 3, "time_base": Fraction(1, 10)} for k in range(2))
        writer.set_chapters([{**span, "metadata": {"title": f"part {span['id']}"}} for span in spans])
        name = {"libx265": "x265-params", "libx264": "x264-params"}[codec]
        layout, options = ("yuv420p10le", {name: parameters}) if parameters else ("yuv420p", {})
        video = add_video(writer, codec, rate=10, layout=layout, **options)
        sounds = []
        for language, title in (("deu", "Kommentar"), ("eng", "main")):
            sound = writer.add_stream("aac", rate=44100)
            sound.layout = "mono"
            sound.metadata.update(language=language, title=title)
            sounds.append(sound)
        encode(writer, video, video_images(48, 64), rate=10)
        for sound in sounds:
            encode_sound(writer, sound, np.zeros((1, 30 * 1024), np.float32), 1024, rate=44100)


def _info(path):
    with av.open(str(path)) as reader:
        kinds = {side.type.name for side in next(reader.decode(video=0)).side_data}
        return {
            "title": reader.metadata.get("title"),
            "languages": [s.metadata.get("language") for s in reader.streams.audio],
            "titles": [s.metadata.get("title") for s in reader.streams.audio],
            "chapters": [chapter["metadata"].get("title") for chapter in reader.chapters()],
            "HDR10": kinds & {"MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL"},
        }


_needs_x265 = pytest.mark.skipif("libx265" not in av.codecs_available, reason="this FFmpeg has no libx265")
_has_chapters = pytest.mark.skipif(
    not hasattr(av.container.OutputContainer, "set_chapters"), reason="this PyAV knows no chapters"
)


@_has_chapters
def test_titles_languages_and_chapters_are_carried_over(tmp_path):
    _film(tmp_path / "film.mkv")
    report = _one(tmp_path, "film.mkv")
    assert report["status"] == "ok", report
    assert _info(tmp_path / "out" / "film.mkv") == _info(tmp_path / "film.mkv")


def test_sound_without_packets_is_named_where_a_container_leaves_it_out(tmp_path):
    with av.open(str(tmp_path / "silent.mkv"), "w") as writer:
        video = add_video(writer, rate=10)
        writer.add_stream("aac", rate=44100)
        encode(writer, video, video_images(48, 64), rate=10)
    report = _one(tmp_path, "silent.mkv", "film.mp4")
    assert (report["status"], report["reason"]) == ("warn", "the result does not have: audio 1")


@_has_chapters
def test_what_a_container_does_not_keep_is_named(tmp_path):
    _film(tmp_path / "film.mkv")
    report = _one(tmp_path, "film.mkv", "film.mp4")
    before, after = _info(tmp_path / "film.mkv"), _info(tmp_path / "film.mp4")
    assert after["languages"] == before["languages"]
    assert after["titles"] != before["titles"]
    assert "title 'Kommentar' of audio 1" in report["reason"]


@_has_chapters
@_needs_x265
def test_hdr10_that_is_lost_is_named(tmp_path):
    _film(tmp_path / "film.mkv", "libx265", HDR10)
    if len(_info(tmp_path / "film.mkv")["HDR10"]) < 2:
        pytest.skip("this FFmpeg does not read what libx265 has written")
    report = _one(tmp_path, "film.mkv")
    assert "the mastering display of HDR10, the light level of HDR10" in report["reason"]


def test_3d_views_whose_arrangement_is_lost_are_named(tmp_path):
    with av.open(str(tmp_path / "a.mkv"), "w") as writer:
        stream = add_video(writer, rate=10, **{"x264-params": "frame-packing=3"})
        encode(writer, stream, video_images(48, 64), rate=10)
    assert "the arrangement of its 3D views" in _one(tmp_path, "a.mkv")["reason"]


def test_an_encoder_and_its_options_can_be_chosen(tmp_path):
    make_video(tmp_path / "a.mkv", sound=False)
    report = _one(tmp_path, "a.mkv", video_codec="libvpx-vp9", video_options={"crf": "40"})
    assert report["status"] == "ok", report
    with av.open(str(tmp_path / "out" / "a.mkv")) as reader:
        assert reader.streams.video[0].codec_context.name in ("vp9", "libvpx-vp9")


def test_a_quality_that_the_encoder_does_not_have_is_refused(tmp_path):
    make_video(tmp_path / "a.mkv", sound=False)
    assert _one(tmp_path, "a.mkv", video_codec="ffv1")["status"] == "ok"
    report = _one(tmp_path, "a.mkv", video_codec="ffv1", crf=5)
    assert "the encoder ffv1 has no constant rate factor (--crf 5)" in report["reason"]


@_needs_x265
def test_hevc_in_mp4_is_marked_as_apple_expects_it(tmp_path):
    make_video(tmp_path / "a.mp4")
    assert _one(tmp_path, "a.mp4", video_codec="libx265")["status"] == "ok"
    with av.open(str(tmp_path / "out" / "a.mp4")) as reader:
        assert reader.streams.video[0].codec_context.codec_tag == "hvc1"


def test_default_and_commentary_tracks_stay_what_they_are(tmp_path):
    roles = [av.stream.Disposition.comment, av.stream.Disposition.default]
    with av.open(str(tmp_path / "a.mkv"), "w") as writer:
        video = add_video(writer, rate=10)
        sounds = [writer.add_stream("aac", rate=44100) for _ in roles]
        for sound, role in zip(sounds, roles, strict=True):
            sound.layout, sound.disposition = "mono", role
        encode(writer, video, video_images(48, 64), rate=10)
        for sound in sounds:
            encode_sound(writer, sound, np.zeros((1, 30 * 1024), np.float32), 1024, rate=44100)
    assert _one(tmp_path, "a.mkv")["status"] == "ok"
    with av.open(str(tmp_path / "out" / "a.mkv")) as reader:
        assert [sound.disposition for sound in reader.streams.audio] == roles


def test_sound_whose_time_goes_back_is_left_out_with_a_warning(tmp_path):
    recording = b""
    for first in (0, 60):  # frames of the second part, whose sound begins anew
        with av.open(buffer := io.BytesIO(), "w", format="mpegts") as writer:
            video, sound = add_video(writer, rate=10), writer.add_stream("aac", rate=44100)
            sound.layout = "mono"
            for stamp, image in enumerate(video_images(48, 64), first):
                frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p")
                frame.pts, frame.time_base = stamp, Fraction(1, 10)
                writer.mux(video.encode(frame))
            writer.mux(video.encode(None))
            encode_sound(writer, sound, np.zeros((1, 30 * 1024), np.float32), 1024, rate=44100)
        recording += buffer.getvalue()
    (tmp_path / "a.ts").write_bytes(recording)
    report = _one(tmp_path, "a.ts", allow_truncated=True)
    assert report["frames"] == 2 * len(STAMPS)
    assert "packets of sound or subtitles are left out: their time goes back" in report["reason"]


@pytest.mark.parametrize(
    ("second", "stamps", "reason"),
    [
        ((32, 64), range(6), "change their size at 0.3 s, from 64 x 48 to 64 x 32; convert it to one size"),
        ((48, 64), (0, 1, 2, 2, 3, 4), "the time stamps of its frames do not rise at 0.2 s"),
    ],
)
def test_what_cannot_be_computed_is_refused_before_the_first_frame(tmp_path, second, stamps, reason):
    packets = []
    for size in ((48, 64), second):
        with av.open(io.BytesIO(), "w", format="webm") as writer:
            stream = add_video(writer, "libvpx-vp9", rate=10, size=size[::-1], **{"lag-in-frames": "0"})
            for image in islice(video_images(*size), 3):
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                packets += map(bytes, stream.encode(frame))
    with av.open(str(tmp_path / "a.mkv"), "w") as writer:
        stream = add_video(writer, "libvpx-vp9", rate=10)
        writer.start_encoding()
        for content, stamp in zip(packets, stamps, strict=True):
            packet = av.Packet(content)
            packet.pts = packet.dts = 100 * stamp
            packet.time_base, packet.stream = Fraction(1, 1000), stream
            writer.mux(packet)
    network = Repeat()
    [report] = upscale_files(Upscaler(network), tmp_path / "a.mkv", tmp_path / "out")
    assert reason in report["reason"]
    assert not network.seen


@pytest.mark.parametrize(
    ("codec", "message"),
    [
        ("libvpx_vp9", r"no video encoder 'libvpx_vp9' here; did you mean 'libvpx-vp9'\?"),
        ("aac", "no video encoder 'aac' here; .*usual ones: libx264"),
    ],
)
def test_an_unknown_encoder_is_wrong_usage(codec, message, tmp_path):
    make_video(tmp_path / "a.mkv", sound=False)
    with pytest.raises(ConfigError, match=message):
        _one(tmp_path, "a.mkv", video_codec=codec)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("codec", "option", "message"),
    [
        ("libx264", {"foo": "bar"}, "the encoder libx264 has no option foo; `ffmpeg -h encoder=libx264`"),
        ("libx264", {"preset": "nonsense"}, "cannot be opened with preset=nonsense: Invalid argument"),
        ("mjpeg", {}, "the encoder mjpeg cannot be opened for 128 x 96 yuv420p: Invalid argument"),
        ("dvvideo", {}, "format does not support 'dvvideo' codec; give the result another suffix"),
    ],
)
def test_options_that_the_encoder_does_not_take_are_named(tmp_path, codec, option, message):
    make_video(tmp_path / "a.mp4", sound=False)
    report = _one(tmp_path, "a.mp4", video_codec=codec, video_options=option)
    assert (report["status"], report["error"], exit_code([report])) == ("error", "ConfigError", 2)
    assert message in report["reason"]
    assert not list((tmp_path / "out").glob("*.mp4"))


@pytest.mark.parametrize(
    ("source", "codec", "target", "options"),
    [
        ("a.mov", "png", "out", {}),
        ("a.mov", "png", "b.webm", {}),
        ("a.webm", "libvpx-vp9", "out", {}),
        pytest.param("a.mov", "png", "b.mp4", {"video_codec": "libx265"}, marks=_needs_x265),
    ],
)
def test_transparency_that_is_lost_is_named(source, codec, target, options, tmp_path):
    with av.open(str(tmp_path / source), "w") as writer:
        stream = add_video(writer, codec, rate=10, layout="rgba" if codec == "png" else "yuva420p")
        if codec != "png":
            stream.metadata["alpha_mode"] = "1"
        encode(writer, stream, [np.full((48, 64, 4), 90, np.uint8)] * 3, rate=10, layout="rgba")
    report = _one(tmp_path, source, target, **options)
    assert report["status"] == "warn"
    assert "transparency is left out" in report["reason"]


def test_a_title_that_is_no_text_ends_nothing(tmp_path):
    with av.open(str(tmp_path / "a.avi"), "w") as writer:
        writer.metadata["title"] = "ABCDEFG"
        encode(writer, add_video(writer, "mpeg4", rate=10), video_images(48, 64), rate=10)
    content = (tmp_path / "a.avi").read_bytes()
    assert b"ABCDEFG" in content
    (tmp_path / "a.avi").write_bytes(content.replace(b"ABCDEFG", "Caf\xe9 \xfc!".encode("latin-1")))
    report = _one(tmp_path, "a.avi")
    assert report["status"] in ("ok", "warn"), report
    assert report["frames"] == len(STAMPS)


def _subtitles(reader):
    return [bytes(packet) for packet in reader.demux(reader.streams.subtitles[0]) if packet.size]


def test_subtitles_are_copied_where_the_container_takes_them(tmp_path):
    make_video(tmp_path / "plain.mp4")
    (tmp_path / "a.srt").write_text("1\n00:00:00,100 --> 00:00:00,500\nGuten Tag\n\n")
    with (
        av.open(str(tmp_path / "plain.mp4")) as film,
        av.open(str(tmp_path / "a.srt")) as texts,
        av.open(str(tmp_path / "film.mkv"), "w") as writer,
    ):
        pairs = []
        for reader in (film, texts):
            streams = {s.index: writer.add_stream_from_template(s) for s in reader.streams}
            pairs.append((reader, streams))
        pairs[1][1][0].metadata["language"] = "deu"
        for reader, streams in pairs:
            for packet in reader.demux():
                if packet.dts is not None:
                    packet.stream = streams[packet.stream.index]
                    writer.mux(packet)
    report = _one(tmp_path, "film.mkv")
    assert report["status"] == "ok", report
    with av.open(str(tmp_path / "out" / "film.mkv")) as reader:
        assert reader.streams.subtitles[0].metadata["language"] == "deu"
        assert _subtitles(reader) == [b"Guten Tag"]
    other = _one(tmp_path, "film.mkv", "film.mp4")
    assert other["reason"] == "1 streams are left out: subtitle (srt, deu)"
