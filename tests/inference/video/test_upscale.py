"""Videos: frames, time stamps, sound, colours, turns, errors."""

import re
import sys
from fractions import Fraction

import numpy as np
import pytest

from ppsr.inference.upscale_files import FileOptions
from ppsr.inference.upscaler import Upscaler
from tests.inference.helpers import Repeat, upscale_files
from tests.inference.videos import (
    STAMPS,
    add_video,
    encode,
    encode_sound,
    frame_rgb,
    make_video,
    read_video,
    video_images,
)

av = pytest.importorskip("av")


@pytest.mark.parametrize("late", [0, 9])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
def test_frames_stamps_and_sound_arrive(suffix, late, tmp_path):
    source = make_video(tmp_path / f"a{suffix}", late=late)
    [report] = upscale_files(Upscaler(Repeat()), source, tmp_path / "out")
    assert report["status"] == "ok", report
    assert report["frames"] == len(STAMPS)
    assert report["output_size"] == [128, 96]
    before, sound_before = read_video(source)
    after, sound_after = read_video(tmp_path / "out" / f"a{suffix}")
    assert before[0][0] == pytest.approx(late / 12, abs=2e-3)
    assert [time for time, _ in after] == pytest.approx([time for time, _ in before], abs=1e-3)
    assert [content for _, content in sound_after] == [content for _, content in sound_before]
    assert [time for time, _ in sound_after] == pytest.approx([time for time, _ in sound_before], abs=2e-3)
    assert len(sound_before) > 10
    for (_, small), (_, large) in zip(before, after, strict=True):
        assert np.abs(large - small.repeat(2, 0).repeat(2, 1)).mean() < 3


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("matrix", [1, 5])
def test_colours_stay(matrix, wide, tmp_path):
    source = make_video(tmp_path / "a.mp4", matrix=matrix, sound=False, wide=wide)
    upscale_files(Upscaler(Repeat()), source, tmp_path / "b.mp4")
    with av.open(str(tmp_path / "b.mp4")) as reader:
        assert int(next(reader.decode(video=0)).colorspace) == matrix
    truth = list(video_images(48, 64))
    for path in (source, tmp_path / "b.mp4"):
        for (_, frame), expected in zip(read_video(path)[0], truth, strict=True):
            shift = frame.mean((0, 1)) - expected.mean((0, 1))
            # FFmpeg's scaler loses a level between the ranges; one taken for the other would cost ten
            assert np.abs(shift).max() < (3 if wide else 1), (path, shift)


def test_pixels_that_are_not_square_stay_so(tmp_path):
    source = make_video(tmp_path / "a.mp4", sound=False, aspect=Fraction(16, 15))
    upscale_files(Upscaler(Repeat()), source, tmp_path / "b.mp4")
    with av.open(str(tmp_path / "b.mp4")) as reader:
        assert reader.streams.video[0].sample_aspect_ratio == Fraction(16, 15)


def test_ten_bits_stay_ten_bits(tmp_path):
    source = make_video(tmp_path / "a.mp4", layout="yuv420p10le", sound=False)
    [report] = upscale_files(Upscaler(Repeat()), source, tmp_path / "b.mp4")
    assert report["status"] == "ok", report
    with av.open(str(tmp_path / "b.mp4")) as reader:
        frame = next(reader.decode(video=0))
        assert frame.format.name == "yuv420p10le"


@pytest.mark.skipif(
    not hasattr(av.video.stream.VideoStream, "set_display_rotation"),
    reason="this PyAV cannot make such a file",
)
@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_turned_recordings_become_upright(rotation, tmp_path):
    source = make_video(tmp_path / "a.mp4", rotation=rotation, sound=False)
    with av.open(str(source)) as reader:
        turned = next(reader.decode(video=0)).rotation
    upscale_files(Upscaler(Repeat()), source, tmp_path / "b.mp4")
    with av.open(str(tmp_path / "b.mp4")) as reader:
        frame = next(reader.decode(video=0))
        assert frame.rotation == 0
        got = frame_rgb(frame)
    expected = np.rot90(next(video_images(48, 64)), turned // 90).repeat(2, 0).repeat(2, 1)
    assert got.shape == expected.shape
    assert np.abs(got - expected).mean() < 4


def _noise(path, codec):
    """30 frames of moving noise, which fill a few packets each."""
    image = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    options = {"crf": "18"} if codec == "libx264" else {"b": "2000000"}
    with av.open(str(path), "w") as writer:
        stream = add_video(writer, codec, rate=20, size=(128, 96), **options)
        encode(writer, stream, (np.roll(image, 3 * stamp, 1) for stamp in range(30)), rate=20)
    return path


def _damaged(path):
    """Half of a video, and one with other bytes in its middle."""
    content = path.read_bytes()
    middle = len(content) // 2
    cut, spoilt = path.with_stem("cut"), path.with_stem("spoilt")
    cut.write_bytes(content[: middle + 99])
    spoilt.write_bytes(content[:middle] + b"\x55" * 3000 + content[middle + 3000 :])
    return cut, spoilt


def test_a_video_without_frames_does_not_end_the_batch(tmp_path):
    """FFmpeg's error for it is Python's EOFError, by which commands end."""
    for name in ("a.mpg", "b.mpg"):
        (tmp_path / name).write_bytes(bytes.fromhex("000001ba2100010001a1a1ad000001bb000ca1a1ad0421ffe0"))
    reports = upscale_files(Upscaler(Repeat()), [tmp_path / "a.mpg", tmp_path / "b.mpg"], tmp_path / "out")
    assert [report["status"] for report in reports] == ["error", "error"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suffix", "codec", "reasons"),
    [
        (".mkv", "libx264", ["it ends at", "it ends at|damaged|cannot be decoded"]),
        (".avi", "mpeg4", ["damaged", "damaged"]),
        (".ts", "libx264", ["ends inside a packet", "damaged"]),
        (".mpg", "mpeg2video", ["damaged", "damaged"]),
    ],
)
def test_damaged_and_truncated_videos_are_refused_before_they_are_computed(suffix, codec, reasons, tmp_path):
    source = _noise(tmp_path / f"a{suffix}", codec)
    for path, reason in zip(_damaged(source), reasons, strict=True):
        backend = Repeat()
        [refused] = upscale_files(Upscaler(backend), path, tmp_path / "out")
        assert refused["status"] == "error"
        assert re.search(f"damaged or truncated: .*({reason})", refused["reason"])
        assert "--allow-truncated" in refused["reason"]
        assert backend.seen == []
        options = FileOptions(allow_truncated=True)
        [taken] = upscale_files(Upscaler(backend), path, tmp_path / "out", options=options)
        assert taken["status"] == "warn", taken
        assert re.search(reason, taken["reason"])
    [whole] = upscale_files(Upscaler(Repeat()), source, tmp_path / "out")
    assert whole["status"] == "ok", whole


def test_avi_files_whose_frames_are_stored_in_another_order_keep_theirs(tmp_path):
    source = _noise(tmp_path / "a.avi", "libx264")
    [report] = upscale_files(Upscaler(Repeat(scale=1)), source, tmp_path / "out")
    assert report["status"] == "ok", report
    before, after = read_video(source)[0], read_video(tmp_path / "out" / "a.mp4")[0]
    assert [np.abs(b - a).mean() < 12 for (_, b), (_, a) in zip(before, after, strict=True)] == [True] * 30
    steps = np.diff([time for time, _ in after])
    np.testing.assert_allclose(steps, 1 / 20, atol=1e-3)
    content = bytearray(source.read_bytes())
    number = content.index(b"strh") + 40
    assert content[number] == 30
    content[number] = 34
    source.write_bytes(content)
    [report] = upscale_files(Upscaler(Repeat()), source, tmp_path / "out")
    assert report["reason"] == "30 of 34 frames are there"
    [damaged] = upscale_files(Upscaler(Repeat()), _damaged(source)[1], tmp_path / "out")
    assert damaged["status"] != "ok"


def test_a_cut_mp4_whose_index_stands_first_is_refused(tmp_path):
    source = make_video(tmp_path / "b.mp4", sound=False, movflags="faststart")
    content = source.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(content[:-100])
    [report] = upscale_files(Upscaler(Repeat()), source, tmp_path / "out")
    assert report["status"] == "ok", report
    [report] = upscale_files(Upscaler(Repeat()), tmp_path / "cut.mp4", tmp_path / "out")
    assert "damaged frames or packets: 1" in report["reason"]


def test_sound_that_mp4_does_not_hold_goes_to_matroska(tmp_path):
    for codec, suffix in (("pcm_s16le", ".mkv"), ("libmp3lame", ".mp4")):
        with av.open(str(tmp_path / "a.avi"), "w") as writer:
            stream = add_video(writer, "mpeg4", rate=12)
            sound = writer.add_stream(codec, rate=48000)
            sound.codec_context.layout = "stereo"
            encode(writer, stream, video_images(48, 64), rate=12)
            planar = codec == "libmp3lame"
            shape, part, kind = ((2, 9 * 1152), 1152, "s16p") if planar else ((1, 9 * 2304), 2304, "s16")
            samples = np.zeros(shape, np.int16)
            encode_sound(writer, sound, samples, part, rate=48000, kind=kind, layout="stereo")
        [report] = upscale_files(Upscaler(Repeat()), tmp_path / "a.avi", tmp_path / "out")
        assert report["status"] == "ok", report
        assert report["output"] == str(tmp_path / "out" / f"a{suffix}")
        assert len(read_video(tmp_path / "out" / f"a{suffix}")[1]) >= 8
        [report] = upscale_files(Upscaler(Repeat()), tmp_path / "a.avi", tmp_path / "b.webm")
        assert "the container cannot hold these streams" in report["reason"]
        assert "use .mkv" in report["reason"]
        if suffix == ".mkv":
            [report] = upscale_files(Upscaler(Repeat()), tmp_path / "a.avi", tmp_path / "b.mp4")
            assert "use .mkv" in report["reason"]


def test_videos_are_done_once_in_each_size(tmp_path):
    source = make_video(tmp_path / "a.mp4", sound=False)
    for scale, status in ((2, "ok"), (2, "skipped"), (3, "ok")):
        upscaler = Upscaler(Repeat(), outscale=scale)
        [report] = upscale_files(upscaler, source, tmp_path / "out", skip_existing=True)
        assert report["status"] == status, report
    for options, limit in (
        (FileOptions(max_pixels=100), "100"),
        (FileOptions(max_output_pixels=1600), "1,600"),
    ):
        [report] = upscale_files(Upscaler(Repeat()), source, tmp_path / "out", options=options)
        assert f"pixels, allowed are {limit};" in report["reason"]


@pytest.mark.parametrize("suffix", [".mkv", ".webm"])
def test_videos_that_were_cut_short_are_made_again(tmp_path, suffix):
    source = make_video(tmp_path / f"a{suffix}", sound=False)
    result = tmp_path / "out" / f"a{suffix}"
    upscale_files(Upscaler(Repeat()), source, tmp_path / "out")
    result.write_bytes(result.read_bytes()[: result.stat().st_size // 2])
    for status in ("ok", "skipped"):
        [report] = upscale_files(Upscaler(Repeat()), source, tmp_path / "out", skip_existing=True)
        assert report["status"] == status, report


def test_a_result_of_fewer_frames_is_made_again(tmp_path):
    """Such as one that was cut where it still states no other length."""
    source = make_video(tmp_path / "a.webm", sound=False)
    result = tmp_path / "out" / "a.webm"
    upscale_files(Upscaler(Repeat()), source, tmp_path / "out")
    short = tmp_path / "short.webm"
    with av.open(str(result)) as reader, av.open(str(short), "w") as writer:
        stream = writer.add_stream_from_template(reader.streams.video[0])
        for packet in [packet for packet in reader.demux(video=0) if packet.size][:-2]:
            packet.stream = stream
            writer.mux(packet)
    short.replace(result)
    [report] = upscale_files(Upscaler(Repeat()), source, tmp_path / "out", skip_existing=True)
    assert report["status"] == "ok", report
    assert len(read_video(result)[0]) == len(STAMPS)


def test_without_pyav_the_message_says_what_to_install(tmp_path, monkeypatch):
    source = make_video(tmp_path / "a.mp4", sound=False)
    monkeypatch.setitem(sys.modules, "av", None)
    [report] = upscale_files(Upscaler(Repeat()), source, tmp_path / "b.mp4")
    assert "pip install 'ppsr[video]'" in report["reason"]


def test_frames_are_decoded_and_encoded_while_the_network_computes(tmp_path):
    """Four frames are decoded before the first one has been computed."""
    import threading

    from ppsr.inference.video import upscale

    make_video(tmp_path / "a.mkv", sound=False)
    decoded = threading.Event()
    pixels, count = upscale.upright_pixels, []

    def counted(frame, **options):
        count.append(1)
        if len(count) >= 4:  # the look at the first frame, and three ahead
            decoded.set()
        return pixels(frame, **options)

    class Waits(Repeat):
        def run(self, x):
            assert x.shape[-1] != 64 or decoded.wait(10)  # noise, which identifies the network, is smaller
            return super().run(x)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(upscale, "upright_pixels", counted)
        [report] = upscale_files(Upscaler(Waits()), tmp_path / "a.mkv", tmp_path / "out")
    assert report["status"] == "ok", report
