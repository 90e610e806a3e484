"""Reports: what is printed and written."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ppsr.evaluation.evaluate import evaluate, network_labels, network_name
from ppsr.evaluation.protocols import PROTOCOLS
from ppsr.evaluation.published import PUBLISHED, differences, method_names, references
from ppsr.evaluation.report import _number, table_lines, to_json, to_markdown, write_report
from ppsr.imaging.io import read_image, write_image
from ppsr.metrics.scoring import FailedImage
from tests.evaluation.tables import protocol_table, published_table


@pytest.fixture
def result(tmp_path, rng):
    """All five images of Set5 have a score, and a sixth file has none."""
    for name in ("a", "b", "d", "e", "f"):
        image = rng.integers(0, 256, (32, 40, 3), dtype=np.uint8)
        write_image(tmp_path / "Set5" / "HR" / f"{name}.png", image)
    (tmp_path / "Set5" / "HR" / "c.png").write_bytes(b"")
    return evaluate(data=tmp_path, method="bicubic")


def test_one_table_shows_all_methods_and_published_scores_of_the_same_method(result):
    other = evaluate(data=result.sources[0].task.gt.parents[1], method=lambda x: x.repeat(4, 0).repeat(4, 1))
    other.method = "repetition"
    lines = list(table_lines([result, other]))
    assert lines[0] == "classic, x4"
    assert lines[1].split() == ["set", "images", "method", "psnr", "↑", "ssim", "↑"]
    for line, e in zip(lines[2:4], (result, other), strict=True):
        assert line.split()[-3:] == [e.method, f"{e.means['psnr']:.2f}", f"{e.means['ssim']:.4f}"]
    assert lines[2].split()[:2] == ["Set5", "5"]
    assert lines[4].split() == ["published:", "bicubic", "28.42"]
    assert lines[5].split() == ["bicubic", "-", "published", f"{result.means['psnr'] - 28.42:+.2f}"]
    assert [line for line in lines if "published: " in line] == [lines[4]], "no other method's score"
    (problem,) = (line for line in lines if line.startswith("no score: "))
    assert problem.startswith(f"no score: {result.method}, repetition, Set5: ")
    assert len({len(line) for line in lines[1:4]}) == 1


def test_a_row_for_every_image_stands_above_the_mean(result):
    lines = list(table_lines([result], images=True))
    assert [line.split()[-4] for line in lines[2:8]] == ["a", "b", "d", "e", "f", "5"]
    psnr = result.sets[0].rows["e"]["psnr"]
    assert lines[5].split() == ["e", "bicubic", f"{psnr:.2f}", f"{result.sets[0].rows['e']['ssim']:.4f}"]


def test_scores_are_compared_with_published_ones_of_the_same_method_on_the_whole_set():
    def compared(protocol, dataset, methods, count):
        evaluation = SimpleNamespace(protocol=PROTOCOLS[protocol], scale=4, published_as=methods)
        score = SimpleNamespace(name=dataset, variant="", means={"psnr": 30.0}, rows=range(count))
        found = differences(evaluation, score)
        return {d.method for d in found if d.difference is not None}

    assert compared("classic", "Set5", {"HAT-L"}, 5) == {"HAT-L (ImageNet)"}
    assert compared("classic", "Set5", {"DRN-S"}, 5) == {"DRN-S", "DRN-S (PaddleGAN)"}
    assert compared("classic", "Set5", {"DRN-S"}, 4) == set(), "not all images"
    assert compared("classic", "Set5", set(), 5) == set(), "another method"
    assert compared("dsr", "DSR-TestData", {"PMBANet", "RCAN"}, 4) == {"RCAN"}, "PSNR on other channels"


def test_published_names_of_a_network_are_found_by_its_parameters():
    assert method_names("SwinIR", 4, 11_900_199) == {"SwinIR"}
    assert method_names("SwinIR", 4, 1) == set()
    assert network_name(["runs/a", "x/predictor.pth"]) == "a+predictor"


@pytest.mark.parametrize(
    ("files", "labels"),
    [
        (["r/a.pth", "r/b.pth"], ["a", "b"]),
        (["r/best.pth", "s/best.pth"], ["r/best", "s/best"]),
        (["a/x/n.pth", "b/x/n.pth"], ["/a/x/n.pth", "/b/x/n.pth"]),
        (["r/bicubic.pth", "r/HR.pth"], ["r/bicubic", "r/HR"]),  # shown in addition to networks
    ],
)
def test_networks_of_one_name_are_told_apart_by_their_folders(files, labels):
    assert network_labels([[Path("/", file)] for file in files]) == labels


def test_json_holds_every_image_and_the_mean(result, tmp_path):
    write_report(result, tmp_path / "out", grid=False)
    written = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert written["count"] == 5
    assert written["mean"] == pytest.approx(result.means)
    assert set(written["images"]) == {"a", "b", "d", "e", "f"}
    assert written["problems"][0]["name"] == "c"
    (bicubic,) = [d for d in written["published"] if d["method"] == "bicubic"]
    assert bicubic["difference"] == pytest.approx(result.means["psnr"] - 28.42)
    assert {d["difference"] for d in written["published"] if d["method"] != "bicubic"} == {None}


def test_csv_has_the_mean_and_the_difference_to_published_numbers(result, tmp_path):
    write_report(result, tmp_path / "out", grid=False)
    with (tmp_path / "out" / "metrics.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert [row["picture"] for row in rows[:6]] == ["a", "b", "d", "e", "f", "mean of 5"]
    assert float(rows[5]["psnr"]) == pytest.approx(result.means["psnr"])
    named = {row["picture"]: row for row in rows[6:]}
    assert float(named["published: bicubic"]["psnr"]) == 28.42
    difference = named["mean minus published: bicubic"]
    assert float(difference["psnr"]) == pytest.approx(result.means["psnr"] - 28.42)
    assert difference["ssim"] == ""
    assert named["published: DRN-S (PaddleGAN)"]["ssim"] == "0.8999"
    assert "mean minus published: DRN-S (PaddleGAN)" not in named


def test_a_set_without_published_numbers_shows_none(tmp_path, rng):
    write_image(tmp_path / "own" / "a.png", rng.integers(0, 256, (32, 40, 3), dtype=np.uint8))
    result = evaluate(gt=tmp_path / "own", method="bicubic")
    assert to_json(result)["published"] == []
    assert not any("published" in line for line in table_lines([result]))


def test_an_infinite_score_is_valid_json(tmp_path, rng):
    for folder in ("gt", "sr"):
        write_image(tmp_path / folder / "a.png", np.full((32, 32, 3), 7, np.uint8))
    write_report(evaluate(gt=tmp_path / "gt", sr=tmp_path / "sr", name="Set5"), tmp_path / "out")
    written = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert written["mean"]["psnr"] == "inf"
    assert written["images"]["a"]["psnr"] == "inf"


def test_markdown_shows_the_table(result):
    assert "\n".join(table_lines([result], images=True)) in to_markdown(result)


def test_grids_of_best_and_worst_show_five_images(result, tmp_path):
    write_report(result, tmp_path / "out")
    grids = sorted((tmp_path / "out").glob("*.png"))
    assert [g.name.split("_")[1] for g in grids] == ["best", "worst"]
    assert {read_image(g).shape for g in grids} == {(32 + 24, 5 * 40, 3)}


def test_the_table_of_the_reflash_paper_has_a_column_per_degradation(tmp_path, rng):
    write_image(tmp_path / "gt" / "a.png", rng.integers(0, 256, (32, 40, 3), dtype=np.uint8))
    text = to_markdown(evaluate(protocol="reflash", gt=tmp_path / "gt", method="bicubic"))
    assert "| psnr | clean | blur | noise | jpeg | blur+noise |" in text


def test_a_degradation_without_images_is_an_empty_cell(tmp_path, rng):
    for place in ("gt", "lr/blur2_bicubic"):
        side = 32 if place == "gt" else 8
        write_image(tmp_path / place / "a.png", rng.integers(0, 256, (side, side, 3), dtype=np.uint8))
    result = evaluate(protocol="reflash", gt=tmp_path / "gt", lq=tmp_path / "lr", method="bicubic")
    text = to_markdown(result)
    assert f"|  | {result.sets[1].means['psnr']:.2f} |  |" in text
    assert "nan" not in text
    assert "bicubic: missing: there is no folder" in text
    write_report(result, tmp_path / "out")


def test_sets_that_are_not_there_are_named(result):
    expected = "Set14, B100, Urban100, Manga109"
    assert f"not found: {expected}" in list(table_lines([result]))
    assert to_json(result)["absent"] == expected.split(", ")


@pytest.mark.parametrize(
    ("metric", "value", "signed", "expected"),
    [
        ("psnr", 32.2149, False, "32.21"),
        ("psnr", -0.0004, True, "+0.00"),
        ("psnr", -0.006, True, "-0.01"),
        ("ssim", 0.00004, True, "+0.0000"),
        ("ssim", None, True, ""),
    ],
)
def test_numbers_are_rounded_without_a_negative_zero(metric, value, signed, expected):
    assert _number(metric, value, signed=signed) == expected


ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("table", [protocol_table, published_table])
def test_the_page_has_the_table_that_the_code_makes(table):
    assert f"\n\n{table()}\n" in PAGE, f"paste tests.evaluation.tables.{table.__name__}()"


def test_no_score_is_listed_twice():
    keys = [(r.protocol, r.dataset, r.scale, r.variant, r.method) for r in PUBLISHED]
    assert len(keys) == len(set(keys))
    assert all(r.source for r in PUBLISHED)


def test_the_literature_s_bicubic_scores_are_those_of_the_code():
    printed = [
        r.scores["psnr"] for s in (2, 3, 4) for r in references("classic", "Set5", s) if r.method == "bicubic"
    ]
    assert "| Set5 | the literature prints | " + " | ".join(map(str, printed)) in PAGE


def test_many_images_without_a_score_are_ten_lines_and_a_number(result):
    failed = [FailedImage(f"i{k}", "wrong size", "LR is 4 x 4") for k in range(30)]
    (score,) = result.sets
    lines = list(table_lines([replace(result, sets=[replace(score, problems=failed)])]))
    printed = [line for line in lines if line.startswith("no score: ")]
    assert len(printed) == 11 and printed[-1] == "no score: Set5: 20 more, listed in the report"
