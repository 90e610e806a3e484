"""Images whose names are not text, or no single line of it, are worked on like others, or named."""

import json
import os
import sys

import numpy as np
import pytest

from ppsr.evaluation.evaluate import evaluate
from ppsr.evaluation.report import write_report
from ppsr.imaging.io import write_image
from ppsr.prepare.dasr_valid import DASRValidation
from ppsr.prepare.lists import make_list
from ppsr.prepare.lmdb_store import make_lmdb, verify_lmdb
from ppsr.prepare.reflash import ReflashBenchmark

BAD, BROKEN = os.fsdecode(b"bad\xff"), "two\nlines"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")


@pytest.fixture
def folder(tmp_path, rng):
    for name in (BAD, BROKEN, "a b"):
        image = rng.integers(0, 256, (48, 48, 3), dtype=np.uint8)
        write_image(tmp_path / "in" / f"{name}.png", image)
    return tmp_path


@pytest.mark.parametrize("form", ["shape", "name"])
def test_a_list_names_what_cannot_stand_in_it(folder, form):
    for expected in (1, 0):
        summary = make_list(folder / "in", folder / "list.txt", form=form, workers=1)
        assert summary.written == expected
        assert summary.failed == {
            f"{BAD}.png": "its name is not UTF-8 and cannot be in a list; rename it",
            f"{BROKEN}.png": "its name has line breaks and cannot be in a list; rename it",
        }
    assert (folder / "list.txt").read_text() == ("a b.png (48,48,3)\n" if form == "shape" else "a b.png\n")


def test_a_store_names_what_cannot_stand_in_its_list(folder):
    pytest.importorskip("lmdb")
    summary = make_lmdb(folder / "in", folder / "in.lmdb", workers=1)
    assert set(summary.failed) == {f"{BAD}.png", f"{BROKEN}.png"}
    assert verify_lmdb(folder / "in.lmdb").present == 1


def test_degradations_are_drawn_for_any_name(folder):
    assert DASRValidation(folder / "type1", kind=1).make(folder / "in", workers=1).written == 3
    assert set(json.loads((folder / "type1" / "params.json").read_text())["params"]) == {BAD, BROKEN, "a b"}
    assert ReflashBenchmark(folder / "reflash").make(folder / "in", workers=1).written > 3
    assert (folder / "reflash" / "LR_degra" / "bicubic_noise20" / f"{BAD}.png").exists()


def test_reports_of_any_name_are_written(folder):
    write_report(evaluate(gt=folder / "in", method="bicubic"), folder / "out")
    written = json.loads((folder / "out" / "metrics.json").read_text(encoding="utf-8"))
    assert set(written["images"]) == {BAD, BROKEN, "a b"}
    assert "bad\\udcff" in (folder / "out" / "report.md").read_text(encoding="utf-8")
