"""The runs of benchmarks/recipes.py, and the report that they end in."""

import importlib
import json
from argparse import Namespace

import numpy as np
import pytest

from ppsr.config import check_config, load_config
from ppsr.degradations.reflash_benchmark import VARIANTS
from ppsr.imaging import write_image


@pytest.fixture
def recipes():
    return importlib.import_module("recipes")


def test_every_run_has_a_config_that_accepts_its_options(recipes):
    assert len({run.name for run in recipes.RUNS}) == len(recipes.RUNS)
    for run in recipes.RUNS:
        check_config(load_config(f"configs/{run.config}.yaml", run.options))


def test_two_views_differ_from_align_by_the_alignment_alone(recipes):
    align, control = (
        next(run for run in recipes.RUNS if run.variant == variant) for variant in ("align", "two views")
    )
    with_terms = load_config(f"configs/{align.config}.yaml", align.options)
    without = load_config(f"configs/{control.config}.yaml", control.options)
    criterion = without["model"]["align_criterion"]
    assert (criterion.pop("linear_weight"), criterion.pop("nonlinear_weight")) == (0, 0)
    for weight in ("linear_weight", "nonlinear_weight"):
        assert with_terms["model"]["align_criterion"].pop(weight) > 0
    assert with_terms == without


@pytest.mark.slow
def test_a_run_is_trained_and_scored_once(recipes, tmp_path):
    rng = np.random.default_rng(0)
    for index in range(2):
        write_image(tmp_path / "hr" / f"{index}.png", rng.random((96, 96, 3), np.float32))
    sizes = ("model.generator.num_feat=4", "model.generator.num_block=1", "dataset.train.num_workers=0")
    steps = ("total_iters=2", "validate.interval=1", "dataset.train.batch_size=2", "dataset.test.gt_size=32")
    run = recipes.Run(
        "tiny", "Tiny", "quickstart_reflash", 3, (*sizes, *steps, "dataset.test.crop_pad_size=96"), "plain"
    )
    arguments = Namespace(output=tmp_path / "out", train=str(tmp_path / "hr"), test=str(tmp_path / "hr"))
    recipes.perform(run, arguments)
    result = json.loads((tmp_path / "out" / "tiny.json").read_text())
    assert [step for step, _ in result["curve"]] == [1, 2]
    assert set(result["unseen"]) == set(VARIANTS)
    assert result["losses"]["l_pix"] > 0
    made = sorted(tmp_path.rglob("*"))
    recipes.perform(run, arguments)
    assert sorted(tmp_path.rglob("*")) == made


@pytest.mark.parametrize("name", ["learning", "unseen"])
def test_the_chinese_page_has_the_tables_of_the_english_one(name):
    report = importlib.import_module("recipes_report")
    english, chinese = (
        path.read_text("utf-8").partition(f"<!-- {name} -->\n")[2].partition(f"<!-- /{name} -->")[0]
        for path in (report.PAGE, report.PAGE.with_suffix(".zh.md"))
    )
    assert english and chinese == report.in_chinese(english)
