"""Jobs per image: counted, named, in order, resumed, never two makes in one folder."""

import json
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import pytest

from ppsr.errors import ConfigError, DataError
from ppsr.imaging.io import decode_image, write_image
from ppsr.prepare.dasr_valid import DASRValidation
from ppsr.prepare.jobs import Recipe, SkipImageError, Summary, gather_flat, note_options, parallel_map

BLACK = np.zeros((4, 4, 3), np.uint8)


@dataclass(frozen=True)
class ByLetter(Recipe):
    """What is made of an image depends on the first letter of its name."""

    level: int = 7
    name: ClassVar[str] = "by-letter"

    def files(self, path):
        return [self.target / f"{path.stem}_{number}.png" for number in (1, 2)]

    def images(self, path):
        match path.stem[0]:
            case "s":
                raise SkipImageError("too small")
            case "d":
                raise DataError("broken image")
            case "c":
                cv2.resize(BLACK, (0, 0))
            case "o":
                raise OSError("disk full")
        for file in self.files(path):
            yield file, BLACK + self.level


class Deep(ByLetter):
    recursive = True


@pytest.fixture
def source(tmp_path):
    for name in ("w1", "s1", "d1", "c1", "o1"):
        write_image(tmp_path / "in" / f"{name}.png", BLACK)
    return tmp_path / "in"


def _die(path):
    os._exit(1)


def _number(path, *, offset):
    return int(path.stem) + offset


def test_every_result_is_counted_and_named_with_its_reason(source, tmp_path):
    summary = ByLetter(tmp_path / "out").make(source)
    assert (summary.written, summary.present) == (2, 0)
    assert summary.skipped == {"s1.png": "too small"}
    assert sorted(summary.failed) == ["c1.png", "d1.png", "o1.png"]
    assert summary.failed["d1.png"] == "broken image"
    lines = list(summary.lines("out"))
    assert lines[0] == "out: 2 written, 0 already there, 1 skipped, 3 failed"
    assert "failed: o1.png: disk full" in lines


def test_what_is_there_stays_unless_forced(source, tmp_path):
    out = tmp_path / "out"
    ByLetter(out).make(source)
    write_image(out / "w1_1.png", BLACK)
    before = (out / "w1_1.png").read_bytes()
    (out / "w1_2.png").unlink()
    again = ByLetter(out).make(source)
    assert (again.written, again.present) == (1, 1)
    assert (out / "w1_1.png").read_bytes() == before
    assert ByLetter(out).make(source).present == 2
    assert ByLetter(out).make(source, force=True).written == 2
    assert (out / "w1_1.png").read_bytes() != before


def test_results_of_an_image_that_has_changed_are_made_again(source, tmp_path):
    out = tmp_path / "out"
    ByLetter(out).make(source)
    later = (out / "w1_1.png").stat().st_mtime_ns + 10**9
    os.utime(source / "w1.png", ns=(later, later))
    again = ByLetter(out).make(source)
    assert (again.written, again.present) == (2, 0)


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


def test_require_all_raises_if_anything_failed():
    Summary(written=1, skipped={"a": "small"}).require_all()
    with pytest.raises(DataError, match="a: broken; b: missing"):
        Summary(written=1, failed={"a": "broken", "b": "missing"}).require_all()


@pytest.mark.slow
def test_processes_give_results_in_the_order_of_the_items():
    items = [Path(str(number)) for number in range(40)]
    results = list(parallel_map(partial(_number, offset=5), items, 2, title="t"))
    assert results == [(item, number + 5) for number, item in enumerate(items)]


@pytest.mark.slow
def test_a_worker_that_dies_ends_the_run_with_a_message(tmp_path):
    with pytest.raises(DataError, match="worker process died"):
        list(parallel_map(_die, [tmp_path], 2, title="t"))


def test_a_number_of_workers_below_one_is_refused(source, tmp_path):
    with pytest.raises(ConfigError, match="at least 1, got 0"):
        ByLetter(tmp_path / "out").make(source, workers=0)


def test_images_with_equal_result_names_are_refused(tmp_path):
    write_image(tmp_path / "in" / "a" / "w.png", BLACK)
    write_image(tmp_path / "in" / "b" / "w.jpg", BLACK)
    with pytest.raises(DataError, match=r"w\.png and .*w\.jpg would have results of the same name"):
        Deep(tmp_path / "out").make(tmp_path / "in")
    assert gather_flat(tmp_path / "in" / "a") == [tmp_path / "in" / "a" / "w.png"]
    with pytest.raises(DataError, match="itself holds no images"):
        ByLetter(tmp_path / "out").make(tmp_path / "in")


def test_results_among_the_sources_are_refused(source):
    with pytest.raises(ConfigError, match="mixed with the source"):
        ByLetter(source).make(source)
    with pytest.raises(ConfigError, match="mixed with the source"):
        Deep(source / "sub").make(source)
    assert ByLetter(source / "sub").make(source).written == 2


def test_a_folder_made_with_other_options_or_of_another_source_is_refused(source, tmp_path):
    out = tmp_path / "out"
    ByLetter(out).make(source)
    with pytest.raises(ConfigError, match=r"made with \{'level': 7\}, now \{'level': 9\} is asked for"):
        ByLetter(out, level=9).make(source, force=True)
    source.rename(tmp_path / "other")
    with pytest.raises(ConfigError, match=r"'\.\./in'.*now.*'\.\./other'.*only moved"):
        ByLetter(out).make(tmp_path / "other")


def test_one_folder_may_hold_results_of_several_commands(tmp_path):
    note_options(tmp_path, "a", {"seed": 1}, tmp_path / "in")
    note_options(tmp_path, "b", {"seed": 2, "sizes": (2, 3)}, tmp_path / "in")
    note_options(tmp_path, "b", {"seed": 2, "sizes": (2, 3)}, tmp_path / "in")
    with pytest.raises(ConfigError, match="'seed': 1"):
        note_options(tmp_path, "a", {"seed": 3}, tmp_path / "in")


@pytest.mark.parametrize("content", ["{", "[]", '{"by-letter": 3}'])
def test_a_broken_note_is_named(source, tmp_path, content):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "prepare.json").write_text(content)
    with pytest.raises(ConfigError, match=r"prepare\.json"):
        ByLetter(tmp_path / "out").make(source)


def test_source_and_results_may_be_moved_together_or_linked(source, tmp_path):
    (tmp_path / "old").mkdir()
    moved = source.rename(tmp_path / "old" / "in")
    ByLetter(tmp_path / "old" / "out").make(moved)
    (tmp_path / "old").rename(tmp_path / "new")
    assert ByLetter(tmp_path / "new" / "out").make(tmp_path / "new" / "in").present == 2
    (tmp_path / "link").symlink_to(tmp_path / "new" / "in")
    assert ByLetter(tmp_path / "new" / "out").make(tmp_path / "link").present == 2


@pytest.fixture
def photos(tmp_path, rng):
    for name in ("a", "b"):
        write_image(tmp_path / "in" / f"{name}.png", rng.integers(0, 256, (130, 141, 3), dtype=np.uint8))
    return tmp_path / "in"


def test_lr_and_its_parameters_depend_on_seed_and_name_alone(photos, tmp_path):
    done = DASRValidation(tmp_path / "all", kind=1).make(photos)
    assert (done.written, done.exit_code) == (2, 0)
    assert decode_image(tmp_path / "all" / "a.png").shape == (32, 35, 3)
    side = json.loads((tmp_path / "all" / "params.json").read_text())
    assert {name: len(row) for name, row in side["params"].items()} == {"a": 33, "b": 33}
    (photos / "a.png").unlink()
    DASRValidation(tmp_path / "one", kind=1).make(photos)
    assert (tmp_path / "one" / "b.png").read_bytes() == (tmp_path / "all" / "b.png").read_bytes()
    alone = json.loads((tmp_path / "one" / "params.json").read_text())
    assert alone["params"] == {"b": side["params"]["b"]}


def test_types_have_folders_of_their_own(photos, tmp_path):
    DASRValidation(tmp_path / "out", kind=1).make(photos)
    with pytest.raises(ConfigError, match="'kind': 1"):
        DASRValidation(tmp_path / "out", kind=3).make(photos)
    with pytest.raises(ConfigError, match="got 4"):
        DASRValidation(tmp_path / "new", kind=4).make(photos)
