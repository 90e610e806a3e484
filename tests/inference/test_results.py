"""Runs that share a folder, own results that are never inputs, results that were cut short."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from ppsr.errors import ConfigError
from ppsr.inference.outputs import plan_jobs
from ppsr.inference.results import exit_code, input_pixels
from ppsr.inference.upscale_files import upscale_jobs
from ppsr.inference.upscaler import Upscaler
from tests.imaging.kinds import HEIGHT, WIDTH, colours, packed
from tests.inference.helpers import Repeat, list_files, upscale_files


def _names(reports, status="ok"):
    return sorted(Path(r["path"]).name for r in reports if r["status"] == status)


class WhileRunning(Repeat):
    """Calls a function while an image is computed, by default the first."""

    def __init__(self, action, number=0):
        super().__init__()
        self.action, self.number = action, number

    def run(self, x):
        if len(self.seen) == self.number:
            self.action()
        return super().run(x)


def test_runs_into_one_folder_keep_all_lines_of_their_report(folder, tmp_path):
    """The second one begins and ends while the third image of the first is computed."""
    second = WhileRunning(lambda: upscale_files(Upscaler(Repeat()), folder, tmp_path / "out"), 2)
    assert exit_code(upscale_files(Upscaler(second), folder, tmp_path / "out")) == 0
    lines = (tmp_path / "out" / "report.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["status"] for line in lines] == ["ok"] * 8


def test_what_killed_runs_left_is_removed_unless_another_run_works_there(folder, tmp_path, caplog):
    out = tmp_path / "out"
    left, others = out / "sub" / ".tmp-1-0123456789ab.png", [out / ".tmp-notes.png", out / ".a.png"]
    left.parent.mkdir(parents=True)
    for path in (left, *others):
        path.write_bytes(b"")

    def second_run():
        left.write_bytes(b"")
        upscale_files(Upscaler(Repeat()), folder / "b.jpg", out)
        upscale_files(Upscaler(Repeat()), folder / "sub", out / "sub", report=tmp_path / "elsewhere.jsonl")
        assert left.exists()

    with caplog.at_level("INFO", "ppsr"):
        upscale_files(Upscaler(WhileRunning(second_run)), folder / "a.png", out)
    assert f"another run writes to {out} too" in caplog.text
    upscale_files(Upscaler(Repeat()), folder, out)
    assert not left.exists()
    assert all(path.exists() for path in others)


@pytest.mark.parametrize("options", [{}, {"skip_existing": True}, {"extension": "webp"}])
def test_own_results_beside_the_inputs_are_no_inputs(upscaler, tmp_path, options):
    for name in ("a.png", "b.jpg", "c_x2.png"):
        kind = "PNG" if name.endswith("png") else "JPEG"
        (tmp_path / name).write_bytes(packed(colours(), kind))
    first = upscale_files(upscaler, tmp_path, tmp_path, suffix="_x2")
    assert _names(first) == ["a.png", "b.jpg", "c_x2.png"]
    before = list_files(tmp_path)
    again = upscale_files(upscaler, tmp_path, tmp_path, suffix="_x2", **options)
    if "extension" in options:
        assert _names(again) == ["a.png", "b.jpg", "c_x2.png"]
    else:
        assert list_files(tmp_path) == before
    third = upscale_files(upscaler, tmp_path, tmp_path, suffix="_x2", **options)
    assert {Path(r["path"]).stem for r in third if r["status"] == "ok"} <= {"a", "b", "c_x2"}


def test_results_are_the_inputs_of_a_next_run(folder, upscaler, tmp_path):
    upscale_files(upscaler, folder, tmp_path / "x2")
    reports = upscale_files(upscaler, tmp_path / "x2", tmp_path / "x4")
    assert [r["status"] for r in reports] == ["ok"] * 4


@pytest.mark.parametrize("expanded", [False, True], ids=["pattern", "names"])
def test_own_results_that_a_pattern_finds_are_no_inputs(upscaler, tmp_path, expanded):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(packed(colours(), "PNG"))
    for _ in range(2):
        found = sorted(tmp_path.glob("*.png")) if expanded else tmp_path / "*.png"
        reports = upscale_files(upscaler, found, tmp_path, suffix="_x2")
    assert _names(reports) == ["a.png", "b.png"]
    assert list_files(tmp_path) == ["a.png", "a_x2.png", "b.png", "b_x2.png"]


def test_own_results_are_known_by_a_report_elsewhere(upscaler, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(packed(colours(), "PNG"))
    report = tmp_path / "r.jsonl"
    report.write_text('{"path": "/cut/sh')
    for _ in range(2):
        jobs = plan_jobs(tmp_path / "in", tmp_path / "in", suffix="_x2", report=report)
        upscale_jobs(upscaler, jobs, tmp_path / "in", report=report)
        report.write_text("cut short\n" + report.read_text().replace('{"path": "/cut/sh', ""))
    assert list_files(tmp_path / "in") == ["a.png", "a_x2.png"]


def test_names_that_are_empty_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="an input has no name; for this folder write"):
        plan_jobs("", tmp_path)
    with pytest.raises(ConfigError, match="the output has no name"):
        plan_jobs(tmp_path, "")
    with pytest.raises(ConfigError, match="~/out: the shell has not replaced ~"):
        plan_jobs(tmp_path, "~/out")


def test_own_results_are_known_whatever_their_names_and_after_a_line_cut_short(upscaler, tmp_path):
    (tmp_path / "report.jsonl").write_text('{"path": "/cut/sh')
    (tmp_path / "a\u2028b.png").write_bytes(packed(colours(), "PNG"))
    for _ in range(2):
        upscale_files(upscaler, tmp_path, tmp_path, suffix="_x2")
    assert list_files(tmp_path) == ["a\u2028b.png", "a\u2028b_x2.png"]


@pytest.mark.parametrize("name", ["a.png", "out/a.png"], ids=["input", "result"])
def test_a_report_does_not_replace_an_image(upscaler, tmp_path, name):
    (tmp_path / "a.png").write_bytes(packed(colours(), "PNG"))
    jobs = plan_jobs(tmp_path / "a.png", tmp_path / "out")
    with pytest.raises(ConfigError, match=r"a\.png has the name of an input or result"):
        upscale_jobs(upscaler, jobs, tmp_path / "out", report=tmp_path / name)


def test_results_of_another_run_in_a_folder_below_are_no_inputs(folder, upscaler, tmp_path):
    upscale_files(upscaler, folder, folder / "first")
    reports = upscale_files(Upscaler(Repeat(), outscale=3), folder, tmp_path / "second")
    assert len([r for r in reports if r["status"] == "ok"]) == 4
    assert {r["reason"] for r in reports if r["status"] == "skipped"} == {"a result of an earlier run"}


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"], ids=["frames are stated", "by time and rate"])
def test_the_pixels_of_a_run_are_those_of_all_images_and_frames(folder, name):
    av = pytest.importorskip("av")
    from tests.inference.videos import add_video, encode

    with av.open(str(folder / name), "w") as writer:
        encode(writer, add_video(writer, rate=10), [np.zeros((48, 64, 3), np.uint8)] * 8, rate=10)
    (folder / "broken.mp4").write_bytes(b"no video")
    jobs = plan_jobs(folder, folder.parent / "out")
    assert sum(input_pixels(jobs, HEIGHT * WIDTH)) == 4 * HEIGHT * WIDTH + 8 * 48 * 64
    assert sum(input_pixels(jobs, HEIGHT * WIDTH - 1)) == 8 * 48 * 64


def test_an_input_that_is_named_as_a_result_is_not_replaced(upscaler, tmp_path):
    (tmp_path / "a.png").write_bytes(packed(colours(), "PNG"))
    own = packed(colours()[:11], "PNG")
    (tmp_path / "a_x2.png").write_bytes(own)
    reports = upscale_files(upscaler, tmp_path, tmp_path, suffix="_x2")
    assert [r["status"] for r in reports] == ["error", "ok"]
    assert "would replace the input" in reports[0]["reason"]
    assert (tmp_path / "a_x2.png").read_bytes() == own


@pytest.mark.parametrize(
    ("extension", "decoded"),
    [*((e, 2**26) for e in ("png", "jpg", "webp", "tif", "bmp")), ("png", 0), ("jpg", 0)],
)
def test_results_that_were_cut_short_are_made_again(upscaler, tmp_path, extension, decoded, monkeypatch):
    monkeypatch.setattr("ppsr.inference.results._DECODED_PIXELS", decoded)
    (tmp_path / "a.png").write_bytes(packed(colours(), "PNG"))
    options = {"extension": extension, "skip_existing": True}
    [first] = upscale_files(upscaler, tmp_path / "a.png", tmp_path / "out", **options)
    whole = Path(first["output"]).read_bytes()
    half = whole[: len(whole) // 2]
    for damaged in (half, whole[:-1], half.ljust(len(whole), b"\0")):
        if extension in ("webp", "bmp") and len(damaged) == len(whole):
            continue  # nothing in these files says what their pixels were
        Path(first["output"]).write_bytes(damaged)
        [again] = upscale_files(upscaler, tmp_path / "a.png", tmp_path / "out", **options)
        assert again["status"] == "ok"
        assert Path(first["output"]).read_bytes() == whole
    [kept] = upscale_files(upscaler, tmp_path / "a.png", tmp_path / "out", **options)
    assert kept["status"] == "skipped"


def test_the_result_of_an_input_that_has_changed_is_made_again(upscaler, tmp_path):
    source, target = tmp_path / "a.png", tmp_path / "out" / "a.png"
    source.write_bytes(packed(colours(), "PNG"))
    upscale_files(upscaler, source, tmp_path / "out")
    later = target.stat().st_mtime + 1
    os.utime(source, (later, later))
    assert _names(upscale_files(upscaler, source, tmp_path / "out", skip_existing=True)) == ["a.png"]


def test_a_link_to_itself_is_an_error_of_its_own(upscaler, tmp_path):
    (tmp_path / "a.png").write_bytes(packed(colours(), "PNG"))
    (tmp_path / "loop.png").symlink_to("loop.png")
    reports = upscale_files(upscaler, tmp_path, tmp_path / "out")
    assert [r["status"] for r in reports] == ["ok", "error"]
    assert reports[1]["reason"].endswith("loop.png: Too many levels of symbolic links")


@pytest.mark.parametrize(
    ("suffix", "reason"), [("", "would replace the folder"), ("x" * 260, ": File name too long")]
)
def test_a_result_that_cannot_have_its_name_is_found_before_it_is_computed(tmp_path, suffix, reason):
    (tmp_path / "a.png").write_bytes(packed(colours(), "PNG"))
    (tmp_path / "out" / "a.png").mkdir(parents=True)
    network = Repeat()
    [report] = upscale_files(Upscaler(network), tmp_path / "a.png", tmp_path / "out/", suffix=suffix)
    assert reason in report["reason"]
    assert ".tmp-" not in report["reason"]
    assert not network.seen
