"""Jobs per image: counted, named, in order, resumed."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from ppsr.errors import ConfigError, DataError
from ppsr.imaging.io import write_image
from ppsr.prepare.jobs import Outcome, Summary, gather_unique, ordered_map, run_jobs, write_missing

BLACK = np.zeros((4, 4, 3), np.uint8)


def _job(path):
    """By the first letter of the name."""
    match path.stem[0]:
        case "w":
            return Outcome(written=2)
        case "s":
            return Outcome(skipped="too small")
        case "d":
            raise DataError("broken image")
        case "c":
            cv2.resize(BLACK, (0, 0))
        case _:
            raise OSError("disk full")
    return Outcome()


def _die(path):
    os._exit(1)


def _number(path, *, offset):
    return int(path.stem) + offset


def test_every_outcome_is_counted_and_named_with_its_reason(tmp_path):
    summary = run_jobs(_job, [tmp_path / "b" / n for n in ("w1", "s1", "d1", "o1")], title="t", root=tmp_path)
    assert (summary.written, summary.present) == (2, 0)
    assert summary.skipped == {"b/s1": "too small"}
    assert summary.failed == {"b/d1": "broken image", "b/o1": "disk full"}
    lines = list(summary.lines("out"))
    assert lines[0] == "out: 2 written, 0 already there, 1 skipped, 2 failed"
    assert "failed: b/d1: broken image" in lines


def test_an_error_of_opencv_fails_the_image_not_the_run(tmp_path):
    summary = run_jobs(_job, [tmp_path / "c1", tmp_path / "w1"], title="t", root=tmp_path)
    assert list(summary.failed) == ["c1"]
    assert summary.written == 2


@pytest.mark.parametrize(
    ("summary", "code"),
    [
        (Summary(written=1), 0),
        (Summary(present=1, skipped={"a": "small"}), 0),
        (Summary(written=1, failed={"a": "broken"}), 1),
        (Summary(failed={"a": "broken"}), 3),
        (Summary(skipped={"a": "small"}), 3),
        (Summary(), 3),
    ],
)
def test_exit_codes(summary, code):
    assert summary.exit_code == code


def test_one_may_go_on_only_if_nothing_failed():
    Summary(written=1, skipped={"a": "small"}).require_all()
    with pytest.raises(DataError, match="a: broken; b: missing"):
        Summary(written=1, failed={"a": "broken", "b": "missing"}).require_all()


def test_a_merged_summary_keeps_names_apart():
    whole = Summary(written=1)
    whole.merge(Summary(written=2, failed={"a": "x"}), "hr")
    whole.merge(Summary(present=3, failed={"a": "y"}), "lr")
    assert (whole.written, whole.present) == (3, 3)
    assert whole.failed == {"hr/a": "x", "lr/a": "y"}


@pytest.mark.slow
def test_processes_give_results_in_the_order_of_the_items():
    items = [Path(str(number)) for number in range(40)]
    with ordered_map(partial(_number, offset=5), items, workers=2) as results:
        assert list(results) == list(range(5, 45))


@pytest.mark.slow
def test_a_worker_that_dies_ends_the_run_with_a_message(tmp_path):
    with (
        pytest.raises(DataError, match="worker process died"),
        ordered_map(_die, [tmp_path], workers=2) as results,
    ):
        list(results)


def test_a_number_of_workers_below_one_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="at least 1, got 0"), ordered_map(_die, [tmp_path], workers=0):
        pass


def test_images_with_equal_result_names_are_refused(tmp_path):
    write_image(tmp_path / "a" / "x.png", BLACK)
    write_image(tmp_path / "b" / "x.jpg", BLACK)
    with pytest.raises(DataError, match=r"x\.png and .*x\.jpg would have results of the same name"):
        gather_unique(tmp_path, recursive=True)
    assert len(gather_unique(tmp_path, str, recursive=True)) == 2
    assert gather_unique(tmp_path / "a") == [tmp_path / "a" / "x.png"]
    with pytest.raises(DataError, match="itself holds no images"):
        gather_unique(tmp_path)


def test_what_is_there_stays_unless_forced(tmp_path):
    write_image(tmp_path / "a.png", BLACK + 7)
    pair = [(tmp_path / "a.png", BLACK), (tmp_path / "b.png", BLACK)]
    before = (tmp_path / "a.png").read_bytes()
    assert write_missing(pair, force=False) == Outcome(written=1, present=1)
    assert (tmp_path / "a.png").read_bytes() == before
    assert write_missing(pair, force=True) == Outcome(written=2)
    assert (tmp_path / "a.png").read_bytes() != before
