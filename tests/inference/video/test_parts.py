"""Videos: parts, and runs that go on after an interruption."""

import numpy as np
import pytest

from ppsr.inference.upscale_files import FileOptions
from ppsr.inference.upscaler import Upscaler
from ppsr.inference.video import parts
from tests.inference.helpers import Repeat, upscale_files
from tests.inference.videos import STAMPS, add_video, encode, make_video, read_video

av = pytest.importorskip("av")


class _Counts(Repeat):
    """Counts frames; ends the run at one of them."""

    def __init__(self, end_at=None, level=0.0):
        super().__init__()
        self.frames, self.end_at, self.level = 0, end_at, level

    def run(self, x):
        if x.shape[3] == 64:
            self.frames += 1
            if self.frames == self.end_at:
                raise KeyboardInterrupt
        return super().run(x) * (1 - self.level)


def _upscale(network, source, target, **options):
    [report] = upscale_files(Upscaler(network), source, target, options=FileOptions(**options))
    return report


def _end(source, target, **options):
    with pytest.raises(KeyboardInterrupt):
        _upscale(_Counts(6), source, target, **options)


@pytest.fixture(autouse=True)
def _short_parts(monkeypatch):
    monkeypatch.setattr(parts, "PART_FRAMES", 3)


def _is_equal(one, other):
    frames, sound = read_video(one)
    expected, expected_sound = read_video(other)
    assert [time for time, _ in frames] == pytest.approx([time for time, _ in expected], abs=2e-3)
    assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(frames, expected, strict=True))
    assert sound == expected_sound
    with av.open(str(one)) as a, av.open(str(other)) as b:
        assert a.duration == pytest.approx(b.duration, abs=2000)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
def test_an_interrupted_video_goes_on_and_is_equal(suffix, tmp_path):
    source = make_video(tmp_path / f"a{suffix}", late=2)
    _upscale(_Counts(), source, tmp_path / f"whole{suffix}")
    target = tmp_path / f"b{suffix}"
    _end(source, target)
    assert not target.exists()
    assert len(list((tmp_path / f".b{suffix}.parts").glob("0*.json"))) == 1
    again = _Counts()
    report = _upscale(again, source, target)
    assert report["status"] == "ok", report
    assert (report["frames"], again.frames) == (len(STAMPS), len(STAMPS) - 3)
    _is_equal(target, tmp_path / f"whole{suffix}")
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_parts_have_the_time_stamps_of_a_video_that_was_encoded_at_once(tmp_path, monkeypatch):
    source = make_video(tmp_path / "a.mp4")
    _upscale(_Counts(), source, tmp_path / "parts.mp4", crf=0)
    monkeypatch.setattr(parts, "PART_FRAMES", 100)
    _upscale(_Counts(), source, tmp_path / "one.mp4", crf=0)
    _is_equal(tmp_path / "parts.mp4", tmp_path / "one.mp4")  # crf 0 is lossless


@pytest.mark.parametrize("change", ["network", "crf", "source", "tiles", "damaged"])
def test_parts_of_other_settings_are_not_used(change, tmp_path):
    source, target = make_video(tmp_path / "a.mkv", sound=False), tmp_path / "b.mkv"
    _end(source, target)
    network, crf, tiles = _Counts(), 18, {}
    if change == "network":
        network = _Counts(level=0.02)
    elif change == "crf":
        crf = 20
    elif change == "tiles":
        tiles = {"tile": 64}
    elif change == "source":
        make_video(source, sound=False, matrix=1)
    else:
        (tmp_path / ".b.mkv.parts" / "settings.json").write_text("{")
    [report] = upscale_files(Upscaler(network, **tiles), source, target, options=FileOptions(crf=crf))
    assert report["status"] == "ok", report
    assert network.frames == len(STAMPS)


@pytest.mark.parametrize(("suffix", "size"), [("json", 0), ("json", 9), ("bin", 10)])
def test_damaged_parts_are_made_again(suffix, size, tmp_path):
    source, target = make_video(tmp_path / "a.mkv", sound=False), tmp_path / "b.mkv"
    _end(source, target)
    part = tmp_path / ".b.mkv.parts" / f"000000.{suffix}"
    part.write_bytes(part.read_bytes()[:size])
    network = _Counts()
    report = _upscale(network, source, target)
    assert report["status"] == "ok", report
    assert network.frames == len(STAMPS)
    _upscale(_Counts(), source, tmp_path / "whole.mkv")
    _is_equal(target, tmp_path / "whole.mkv")


def test_a_name_may_be_as_long_as_the_disk_takes(tmp_path):
    source = make_video(tmp_path / "a.mkv", sound=False)
    report = _upscale(_Counts(), source, tmp_path / f"{'电' * 83}.mkv")
    assert report["status"] == "ok", report


def test_a_run_that_ends_before_its_first_part_leaves_nothing(tmp_path):
    source = make_video(tmp_path / "a.mkv", sound=False)
    with pytest.raises(KeyboardInterrupt):
        _upscale(_Counts(2), source, tmp_path / "b.mkv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mkv", "report.jsonl"]


@pytest.mark.parametrize(("codec", "suffix"), [("ffv1", ".mkv"), ("prores_ks", ".mov"), ("qtrle", ".mov")])
def test_transparency_stays_where_the_codec_has_it(codec, suffix, tmp_path):
    y, x = np.mgrid[:48, :64]
    image = np.stack([x * 4, y * 5, 255 - x * 2, np.minimum(x * 6, 255)], axis=-1).astype(np.uint8)
    with av.open(str(tmp_path / "a.mov"), "w") as writer:
        encode(writer, add_video(writer, "png", rate=10, layout="rgba"), [image] * 4, rate=10, layout="rgba")
    report = _upscale(Repeat(), tmp_path / "a.mov", tmp_path / f"b{suffix}", video_codec=codec)
    assert report["status"] == "ok", report
    with av.open(str(tmp_path / f"b{suffix}")) as reader:
        result = next(reader.decode(video=0)).reformat(format="rgba").to_ndarray().astype(int)
    expected = image.repeat(2, 0).repeat(2, 1).astype(int)
    assert np.abs(result[..., 3] - expected[..., 3]).max() <= 2  # ProRes is not lossless
    visible = expected[..., 3] > 0
    assert np.abs(result - expected)[visible].mean() < 4


class _Meanwhile(Repeat):
    """Does something else once, in the middle of a video."""

    def __init__(self, other):
        super().__init__()
        self.other = other

    def run(self, x):
        other, self.other = self.other, lambda: None
        if x.shape[3] == 64:
            other()
        else:
            self.other = other
        return super().run(x)


def test_a_second_run_of_a_video_into_the_same_place_is_refused(tmp_path):
    source, target, refused = make_video(tmp_path / "a.mkv", sound=False), tmp_path / "b.mkv", []
    network = _Meanwhile(lambda: refused.append(_upscale(_Counts(), source, target)))
    assert _upscale(network, source, target)["status"] == "ok"
    [report] = refused
    assert report["status"] == "error"
    assert "another run is computing this video, its frames are in" in report["reason"]
    _upscale(_Counts(), source, tmp_path / "whole.mkv")
    _is_equal(target, tmp_path / "whole.mkv")


def test_what_a_run_left_that_was_killed_after_its_last_frame_is_removed(tmp_path):
    source, target = make_video(tmp_path / "a.mkv", sound=False), tmp_path / "b.mkv"
    _end(source, target)
    _upscale(_Counts(), source, tmp_path / "whole.mkv")
    (tmp_path / "whole.mkv").rename(target)
    assert (tmp_path / ".b.mkv.parts").is_dir()
    [report] = upscale_files(Upscaler(_Counts()), source, target, skip_existing=True)
    assert report["status"] == "skipped"
    assert not (tmp_path / ".b.mkv.parts").exists()
