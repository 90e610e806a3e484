"""Which files are inputs, by contents and name, and where results go."""

import os
from pathlib import Path

import pytest

from ppsr.errors import ConfigError
from ppsr.inference.inputs import find_jobs
from ppsr.inference.outputs import plan_jobs
from ppsr.inference.results import exit_code
from ppsr.inference.upscaler import Upscaler
from ppsr.inference.video.check import is_video_head
from tests.imaging.kinds import colours, packed
from tests.inference.helpers import Repeat, upscale_files

IMAGE = packed(colours(), "PNG")
TRANSPORT = (b"\x47" + bytes(187)) * 6
VIDEOS = {
    "mp4": b"\0\0\0\x20ftypisom" + bytes(100),
    "old QuickTime": b"\0\0\0\x20moov" + bytes(100),
    "Matroska": b"\x1a\x45\xdf\xa3" + bytes(100),
    "AVI": b"RIFF\0\0\0\0AVI " + bytes(100),
    "transport stream": TRANSPORT,
    "one that begins inside a packet": TRANSPORT[50:],
    "one with time stamps": (b"\0\0\0\0\x47" + bytes(187)) * 6,
    "MPEG": b"\0\0\x01\xba" + bytes(100),
    "WMV": bytes.fromhex("3026b2758e66cf11") + bytes(100),
    "Flash": b"FLV\x01" + bytes(100),
    "raw frames": b"YUV4MPEG2 W2 H2" + bytes(100),
    "IVF": b"DKIF" + bytes(100),
}
OTHERS = {
    "text": b"const answer: number = 42;\n" * 60,
    "WAV": b"RIFF\0\0\0\0WAVE" + bytes(100),
    "M4A": b"\0\0\0\x20ftypM4A " + bytes(100),
    "cut packets": TRANSPORT[:600],
    "empty": b"",
}


@pytest.mark.parametrize("name", [*VIDEOS, *OTHERS])
def test_videos_are_known_by_their_first_bytes(name):
    assert is_video_head((VIDEOS | OTHERS)[name]) == (name in VIDEOS)


def _jobs(folder, **files):
    for name, content in files.items():
        (folder / name.replace("_", ".")).write_bytes(content)
    return {job.source.name: job for job in find_jobs([folder], folder / "out")}


def test_contents_decide_and_not_names(tmp_path):
    jobs = _jobs(tmp_path, a_mp4=IMAGE, b_png=VIDEOS["Matroska"], c=VIDEOS["AVI"])
    assert [job.is_video for job in jobs.values()] == [False, True, True]
    placed = plan_jobs(tmp_path, "out")
    assert [job.target.name for job in placed] == ["a.png", "b.mp4", "c.mp4"]
    assert [find_jobs([tmp_path / name], tmp_path)[0].is_video for name in jobs] == [False, True, True]


def test_only_names_that_promise_a_video_are_missed(tmp_path):
    songs = {"song_wma": VIDEOS["WMV"], "song_m4a": VIDEOS["mp4"]}
    jobs = _jobs(tmp_path, app_ts=OTHERS["text"], clip_ts=TRANSPORT, broken_mp4=b"no video", **songs)
    skipped = {name: job.skip for name, job in jobs.items()}
    reason = "not an image or video"
    assert [name for name, why in skipped.items() if why is None] == ["broken.mp4", "clip.ts"]
    assert {why for why in skipped.values() if why is not None} == {reason}
    assert jobs["broken.mp4"].is_video


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_nobody_waits_for_pipes(tmp_path):
    (tmp_path / "a.png").write_bytes(IMAGE)
    for name in ("pipe", "pipe.png", "pipe.mp4"):
        os.mkfifo(tmp_path / name)
    reports = upscale_files(Upscaler(Repeat()), tmp_path, tmp_path / "out")
    assert [(r["status"], r.get("reason")) for r in reports] == [
        ("ok", None),
        *[("skipped", "not a regular file")] * 3,
    ]
    for name in ("pipe.png", "pipe.mp4"):
        [named] = upscale_files(Upscaler(Repeat()), tmp_path / name, tmp_path / "out", skip_existing=True)
        assert "is not a regular file" in named["reason"]
        assert exit_code([named]) == 3


@pytest.mark.parametrize("name", ["x.gif", "x.HEIC", "x.avi", "x.xyz"])
def test_one_result_of_a_format_that_is_not_written_is_refused(name, tmp_path):
    (tmp_path / "a.png").write_bytes(IMAGE)
    with pytest.raises(ConfigError, match=r"cannot be written; images: avif, bmp, .*videos: m4v, mkv"):
        upscale_files(Upscaler(Repeat()), tmp_path / "a.png", tmp_path / name)
    assert not (tmp_path / name).exists()
    for place in (f"{tmp_path / name}/", tmp_path / name):  # which is there the second time
        [report] = upscale_files(Upscaler(Repeat()), tmp_path / "a.png", place)
        assert report["output"] == str(tmp_path / name / "a.png")


def test_an_image_does_not_become_a_video_nor_a_video_an_image(tmp_path):
    (tmp_path / "a.png").write_bytes(IMAGE)
    (tmp_path / "b.mkv").write_bytes(VIDEOS["Matroska"])
    with pytest.raises(ConfigError, match=r"b\.mkv is a video and cannot become an image.*; name m4v, mkv, "):
        plan_jobs(tmp_path / "b.mkv", tmp_path / "x.png")
    with pytest.raises(ConfigError, match=r"a\.png is an image and cannot become a video"):
        plan_jobs(tmp_path / "a.png", tmp_path / "x.mp4")


@pytest.mark.parametrize(
    ("name", "result"),
    [
        ("scan.0001", "scan.0001.png"),
        ("Mr. Smith", "Mr. Smith.png"),
        ("a.1.JFIF", "a.1.png"),
        ("a.264", "a.png"),
    ],
)
def test_only_suffixes_of_images_and_videos_are_replaced(name, result, tmp_path):
    (tmp_path / name).write_bytes(IMAGE)
    assert [job.target.name for job in plan_jobs(tmp_path, tmp_path / "out")] == [result]


@pytest.mark.parametrize("name", ["run_1.5", "out", "x.png/"])
def test_other_names_are_folders(name, tmp_path):
    (tmp_path / "a.png").write_bytes(IMAGE)
    [report] = upscale_files(Upscaler(Repeat()), tmp_path / "a.png", f"{tmp_path}/{name}")
    assert report["output"] == str(tmp_path / name / "a.png")


@pytest.mark.parametrize("suffix", ["../../evil", "/evil", "..\\evil", "a\0b"])
def test_suffixes_do_not_lead_to_other_folders(suffix, tmp_path):
    (tmp_path / "a.png").write_bytes(IMAGE)
    with pytest.raises(ConfigError, match="another folder"):
        upscale_files(Upscaler(Repeat()), tmp_path / "a.png", tmp_path / "out", suffix=suffix)


def test_brackets_in_the_names_of_folders_are_no_pattern(tmp_path):
    folder = tmp_path / "Set5 [HR]" / "x?"
    folder.mkdir(parents=True)
    (folder / "0.png").write_bytes(IMAGE)
    (tmp_path / "Set5 H").mkdir()
    for pattern, place in (
        (folder / "*.png", Path()),
        (folder, Path()),
        (tmp_path / "Set5 [HR]" / "**" / "*.png", Path("x?")),
        (tmp_path / "Set5*" / "*" / "*.png", Path("Set5 [HR]", "x?")),
    ):
        [job] = find_jobs([pattern], tmp_path / "out")
        assert (job.source, job.folder) == (folder / "0.png", place)


def test_linked_folders_are_entered_once(tmp_path):
    for folder in ("in/a", "disk"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "0.png").write_bytes(IMAGE)
    for link in ("in/b", "in/c"):
        (tmp_path / link).symlink_to("../disk")
    (tmp_path / "in" / "a" / "loop").symlink_to("..")
    found = [job.source.relative_to(tmp_path).as_posix() for job in find_jobs([tmp_path / "in"], tmp_path)]
    assert found == ["in/a/0.png", "in/b/0.png"]


@pytest.mark.parametrize("options", [{"suffix": "_x2"}, {"extension": "jpg"}])
def test_what_would_change_the_name_of_a_result_is_refused(tmp_path, options):
    (tmp_path / "a.png").write_bytes(IMAGE)
    with pytest.raises(ConfigError, match="--suffix and --ext would change; leave them out"):
        plan_jobs(tmp_path / "a.png", "out.png", **options)
    [job] = plan_jobs(tmp_path / "a.png", "out.jpeg", extension="jpg")
    assert job.target == Path("out.jpeg")


def test_images_of_one_name_from_several_folders_all_have_results(tmp_path, upscaler):
    names = ["a/x/1.png", "b/x/1.png", "b/x/1.jpg", "b/2.png"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(IMAGE)
    reports = upscale_files(
        upscaler, [tmp_path / "a/x", tmp_path / "b/x", tmp_path / "b/2.png"], tmp_path / "o"
    )
    found = {str(Path(r["output"]).relative_to(tmp_path / "o")) for r in reports if r["status"] == "ok"}
    assert found == {"a/x/1.png", "b/x/1.png.png", "b/x/1.jpg.png", "2.png"}


@pytest.mark.parametrize(
    ("names", "results"),
    [
        ("A.png a.PNG", "A.png a_2.png"),
        ("a.jpg a.png a.png.png", "a.jpg.png a.png.png a.png_2.png"),
        ("S/a.png s/a.png", "S/a.png s/a_2.png"),
        ("A.png a.png a_2.png", "A.png a_2.png a_2_2.png"),
        ("e\u0301.png \u00e9.png", "e\u0301.png \u00e9_2.png"),
    ],
)
def test_no_two_results_are_one_file_where_case_or_unicode_form_do_not_count(names, results, tmp_path):
    for name in names.split():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(IMAGE)
    placed = plan_jobs(tmp_path, "out")
    assert [job.target.relative_to("out").as_posix() for job in placed] == results.split()


@pytest.mark.parametrize(("kind", "suffix"), [("JPEG", ".jpg"), ("PNG", ".png"), ("GIF", ".png")])
def test_same_is_the_format_of_the_contents_where_the_name_has_none(tmp_path, kind, suffix):
    for name in ("a.jfif", "b"):
        (tmp_path / name).write_bytes(packed(colours(), kind))
    placed = plan_jobs(tmp_path, "out", extension="same")
    assert [job.target.name for job in placed] == [f"a{suffix}", f"b{suffix}"]
