"""The runs of benchmarks/training_runs.py, and the report that they end in."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from ppsr.config import check_config, load_config
from ppsr.imaging import write_image
from ppsr.solver.optimizers import build_schedules

ROOT = Path(__file__).parents[2]


@pytest.fixture
def runs(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.chdir(ROOT)
    yield importlib.import_module("training_runs")
    for name in ("training_runs", "training_runs_report", "recipes_report"):
        sys.modules.pop(name, None)


def test_every_run_has_a_config_of_its_scale(runs):
    names = [run.name for run in runs.RUNS]
    assert len(set(names)) == len(names)
    for place, run in enumerate(runs.RUNS):
        experiment = check_config(load_config(f"configs/{run.name}.yaml"))
        generator = experiment.model["generator"]
        scales = {np.max(generator.get("scale", generator.get("upscale"))), experiment.dataset.test["scale"]}
        assert scales == {run.scale}
        schedule = build_schedules({"name": "SOAP"}, experiment.lr_scheduler)["optim"]
        assert schedule(experiment.total_iters) < 0.02 * experiment.lr_scheduler["learning_rate"]
        assert bool(experiment.load) == bool(run.start)
        assert not run.start or run.start in names[:place]


def test_an_unknown_run_is_refused_with_the_known_names(runs):
    with pytest.raises(SystemExit, match="no run is called 'x'; there are fsrcnn_x3, "):
        runs.find("x")


def test_hours_are_the_sum_over_all_logs_without_repeated_steps(runs, tmp_path):
    line = "[x] INFO: Iter: {}/400 lr: 1.0 batch_cost: {} sec reader_cost: 0.1 sec\n"
    for folder, steps in (("a", (100, 200)), ("b", (200, 300))):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "log.txt").write_text("".join(line.format(step, 3.6) for step in steps))
    assert runs.hours(tmp_path) == pytest.approx(0.3)


@pytest.mark.slow
def test_a_run_is_scored_reported_and_shipped(runs, tmp_path, monkeypatch):
    """A network of two steps, whose shipped file gives its scores again."""
    rng = np.random.default_rng(0)
    for folder in ("T91", "Set5/HR", "BSDS500/train", "BSDS500/test", "BSDS500/val"):
        write_image(
            tmp_path / "data" / folder / f"{folder[-3:].replace('/', '')}.png", rng.random((128, 128, 3))
        )
    for name in ("configs", "tools", "ppsr"):
        (tmp_path / name).symlink_to(ROOT / name)
    for name in ("results.md", "results.zh.md"):
        (tmp_path / "docs").mkdir(exist_ok=True)
        (tmp_path / "docs" / name).write_text(
            "<!-- scores -->\n<!-- /scores -->\n<!-- runs -->\n<!-- /runs -->"
        )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(runs, "SHIPPED", tmp_path / "shipped")
    monkeypatch.setattr(runs, "CATALOGUE", tmp_path / "catalogue.json")
    before = (ROOT / "ppsr" / "weights" / "catalogue.json").read_text("utf-8")
    runs.CATALOGUE.write_text(before, "utf-8")
    runs.prepare()
    run, output = runs.find("espcn_x3"), tmp_path / "out"
    plain = runs.command
    short = [
        "total_iters=2",
        "dataset.train.batch_size=4",
        "dataset.train.gt_size=12",
        "snapshot_config.interval=2",
    ]
    monkeypatch.setattr(runs, "command", lambda *given: [*plain(*given), *short, "validate.interval=2"])
    runs.perform(run, output)
    result = runs.result_of(run, output)
    assert result["steps"] == 2 and [step for step, _ in result["curve"]] == [2]
    assert result["scores"]["Set5"]["psnr"] == pytest.approx(result["curve"][-1][1], abs=0.01)
    runs.report(output)
    page = (tmp_path / "docs" / "results.md").read_text()
    assert f"| ESPCN x3 | 2 of 3000 | {result['scores']['Set5']['psnr']:.2f} / " in page
    assert (tmp_path / "docs" / "images" / "training_runs.png").exists()

    from ppsr.evaluation.evaluate import evaluate

    scores = evaluate(scale=3, gt="data/Set5/HR", load=runs.ship(run, output)).means
    runs.ship(run, output)  # once more: the row is replaced
    rows = json.loads(runs.CATALOGUE.read_text("utf-8"))
    old = [row["name"] for row in json.loads(before)["models"] if row["name"] != "espcn-x3"]
    assert [row["name"] for row in rows["models"]] == [*old, "espcn-x3"]
    assert rows["models"][-1]["network"] == {"name": "ESPCN", "scale": 3}
    assert scores["psnr"] == pytest.approx(result["scores"]["Set5"]["psnr"], abs=0.05)


def test_tables_tell_how_far_a_run_is_and_what_is_published(runs):
    report = importlib.import_module("training_runs_report")
    scores = {name: {"psnr": 33.0, "ssim": 0.9} for name in ("Set5", "B100")}
    result = {"title": "N x3", "config": "configs/n.yaml", "seed": 0, "steps": 10, "total": 20, "hours": 0.5}
    result |= {"machine": "CPU, 1 thread", "scores": scores, "bicubic": 30.4, "bicubic_scores": scores}
    rows = report.scores_table({"n": {**result, "published": 33.06, "source": "a paper"}}).splitlines()
    assert rows[-1].startswith("| N x3 | 10 of 20 | 33.00 / 0.9000 | 33.06 (a paper) | -0.06 | 30.40 |")
    rows = report.scores_table({"n": {**result, "steps": 20, "published": None, "source": ""}}).splitlines()
    assert rows[-1].startswith("| N x3 | 20 | 33.00 / 0.9000 | – | – | 30.40 |")
    assert "`python benchmarks/training_runs.py --only n` | 0 | 0.50 | CPU, 1 thread |" in report.runs_table(
        {"n": result}
    )
    json.dumps(result)
