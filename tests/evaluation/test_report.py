"""Reports: what is printed and written."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from ppsr.evaluation.evaluate import evaluate
from ppsr.evaluation.published import PUBLISHED, references
from ppsr.evaluation.report import metric_lines, to_json, to_markdown, write_report
from ppsr.imaging.io import read_image, write_image


@pytest.fixture
def result(tmp_path, rng):
    for name in ("a", "b"):
        write_image(
            tmp_path / "Set5" / "HR" / f"{name}.png", rng.integers(0, 256, (32, 40, 3), dtype=np.uint8)
        )
    (tmp_path / "Set5" / "HR" / "c.png").write_bytes(b"")
    return evaluate(data=tmp_path, use_bicubic=True)


def test_lines_name_each_metric_and_the_number_of_pictures(result):
    lines = list(metric_lines(result))
    assert lines[0] == "Set5: mean over 2 pictures"
    assert lines[1] == f"Metric psnr: {result.means['psnr']:.4f}"
    assert lines[3].startswith("unreadable: c: ")


def test_json_holds_every_picture_and_the_mean(result, tmp_path):
    write_report(result, tmp_path / "out", grid=False)
    written = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert written["count"] == 2
    assert written["mean"] == pytest.approx(result.means)
    assert set(written["images"]) == {"a", "b"}
    assert written["problems"][0]["name"] == "c"


def test_csv_has_the_mean_and_the_difference_to_published_numbers(result, tmp_path):
    write_report(result, tmp_path / "out", grid=False)
    with (tmp_path / "out" / "metrics.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert [row["picture"] for row in rows[:3]] == ["a", "b", "mean of 2"]
    assert float(rows[2]["psnr"]) == pytest.approx(result.means["psnr"])
    named = {row["picture"]: row for row in rows[3:]}
    assert float(named["published: bicubic"]["psnr"]) == 28.42
    assert float(named["mean minus published: bicubic"]["psnr"]) == pytest.approx(
        result.means["psnr"] - 28.42
    )
    assert named["mean minus published: bicubic"]["ssim"] == ""
    assert float(named["mean minus published: DRN-S (PaddleGAN)"]["ssim"]) == pytest.approx(
        result.means["ssim"] - 0.8999
    )


def test_json_and_lines_show_the_difference_to_published_numbers(result):
    written = to_json(result)
    assert written["published"] == written["sets"][0]["published"]
    (bicubic,) = [d for d in written["published"] if d["method"] == "bicubic"]
    assert (bicubic["metric"], bicubic["published"]) == ("psnr", 28.42)
    assert bicubic["difference"] == pytest.approx(result.means["psnr"] - 28.42)
    assert bicubic["source"]
    line = next(x for x in metric_lines(result) if "of bicubic" in x)
    assert line.startswith(f"psnr minus 28.42 published of bicubic: {result.means['psnr'] - 28.42:+.4f} (")


def test_a_set_without_published_numbers_shows_none(tmp_path, rng):
    write_image(tmp_path / "own" / "a.png", rng.integers(0, 256, (32, 40, 3), dtype=np.uint8))
    result = evaluate(gt=tmp_path / "own", use_bicubic=True)
    assert to_json(result)["published"] == []
    assert not any("published" in line for line in metric_lines(result))


def test_an_infinite_score_is_valid_json(tmp_path, rng):
    for folder in ("gt", "sr"):
        write_image(tmp_path / folder / "a.png", np.full((32, 32, 3), 7, np.uint8))
    write_report(evaluate(gt=tmp_path / "gt", sr=tmp_path / "sr", name="Set5"), tmp_path / "out")
    written = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert written["mean"]["psnr"] == "inf"
    assert written["published"][0]["difference"] == "inf"


def test_a_name_with_a_bar_or_a_line_break_stays_in_its_cell(tmp_path, rng):
    for folder in ("gt", "sr"):
        write_image(tmp_path / folder / "a|b\nc.png", rng.integers(0, 256, (24, 24, 3), dtype=np.uint8))
    text = to_markdown(evaluate(gt=tmp_path / "gt", sr=tmp_path / "sr", name="Set5"))
    (row,) = (line for line in text.splitlines() if line.startswith(r"| a\|b c "))
    assert row.endswith(" |")


def test_markdown_shows_the_difference_to_published_numbers(result):
    line = next(x for x in to_markdown(result).splitlines() if x.startswith("| bicubic | psnr"))
    published, difference = (float(cell) for cell in line.split("|")[3:5])
    assert published == 28.42
    assert difference == pytest.approx(result.means["psnr"] - 28.42, abs=1e-4)


def test_grids_of_best_and_worst_show_five_pictures(result, tmp_path):
    write_report(result, tmp_path / "out")
    grids = sorted((tmp_path / "out").glob("*.png"))
    assert [g.name.split("_")[1] for g in grids] == ["best", "worst"]
    assert {read_image(g).shape for g in grids} == {(32 + 22, 5 * 40, 3)}


def test_the_table_of_the_reflash_paper_has_a_column_per_degradation(tmp_path, rng):
    write_image(tmp_path / "gt" / "a.png", rng.integers(0, 256, (32, 40, 3), dtype=np.uint8))
    text = to_markdown(evaluate("reflash", gt=tmp_path / "gt", use_bicubic=True))
    assert "| psnr | clean | blur | noise | jpeg | blur+noise |" in text


def test_a_degradation_without_pictures_is_an_empty_cell(tmp_path, rng):
    for place in ("gt", "lr/blur2_bicubic"):
        side = 32 if place == "gt" else 8
        write_image(tmp_path / place / "a.png", rng.integers(0, 256, (side, side, 3), dtype=np.uint8))
    result = evaluate("reflash", gt=tmp_path / "gt", lq=tmp_path / "lr", use_bicubic=True)
    text = to_markdown(result)
    assert f"|  | {result.sets[1].means['psnr']:.2f} |  |" in text
    assert "nan" not in text
    assert "missing: bicubic: there is no folder" in text
    write_report(result, tmp_path / "out")


def test_sets_that_are_not_there_are_named(result):
    expected = "Set14, B100, Urban100, Manga109"
    assert f"not there: {expected}" in list(metric_lines(result))
    assert f"Not there: {expected}." in to_markdown(result)
    assert to_json(result)["absent"] == expected.split(", ")


def test_every_published_number_has_a_source_and_is_found():
    assert all(r.source for r in PUBLISHED)
    assert all(r in references(r.protocol, r.dataset, r.scale, r.variant) for r in PUBLISHED)
