"""The runs of benchmarks/training_runs.py, and the report that they end in."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

from ppsr.config import check_config, load_config
from ppsr.evaluation.sources import bicubic as enlarge
from ppsr.imaging import write_image
from ppsr.solver.optimizers import build_schedules

ROOT = Path(__file__).parents[2]


@pytest.fixture
def runs():
    return importlib.import_module("training_runs")


def test_every_run_has_a_config_of_its_scale(runs):
    names = [run.name for run in runs.RUNS]
    assert len(set(names)) == len(names)
    for place, run in enumerate(runs.RUNS):
        experiment = check_config(load_config(f"configs/{run.name}.yaml"))
        generator = experiment.model["generator"]
        scales = {np.max(generator.get("scale", generator.get("upscale"))), experiment.dataset.test["scale"]}
        assert scales == {run.scale}
        schedule = build_schedules({"name": "SOAP"}, experiment.lr_scheduler)["optim"]
        if not run.name.endswith("_first"):  # the rate of a first stage need not fall
            assert schedule(experiment.total_iters) < 0.02 * experiment.lr_scheduler["learning_rate"]
        assert run.start or not experiment.load
        assert not run.start or run.start in names[:place]


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
    for folder in ("T91", "Set5/HR", "BSDS500/train", "BSDS500/test", "BSDS500/val", "Set14/HR"):
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
    importlib.import_module("training_runs_data").prepare()
    run, output = runs.find("espcn_x3"), tmp_path / "out"
    plain = runs.command
    short = ["total_iters=2", "snapshot_config.interval=2", "validate.interval=2"]
    short += ["dataset.train.batch_size=4", "dataset.train.gt_size=12"]
    monkeypatch.setattr(runs, "command", lambda *given: [*plain(*given), *short])
    runs.perform(run, output)
    result = runs.result_of(run, output)
    assert result["steps"] == 2 and [step for step, _ in result["curve"]] == [2]
    assert result["scores"]["Set5"]["psnr"] == pytest.approx(result["curve"][-1][1], abs=0.01)
    runs.report(output)
    page = (tmp_path / "docs" / "results.md").read_text()
    assert f"| ESPCN x3 | 2 of 3000 | {result['scores']['Set5']['psnr']:.2f} / " in page
    assert (tmp_path / "docs" / "images" / "training_runs.png").exists()

    from ppsr.evaluation.evaluate import evaluate

    scores = evaluate(scale=3, gt="data/Set5/HR", method=runs.ship(run, output)).means
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


def test_sharpness_counts_edges_that_follow_the_truth(runs, rng):
    shared = importlib.import_module("training_runs_scores").shared_gradient
    hr = np.cumsum(rng.integers(-9, 10, (64, 64, 3)), axis=1).astype(np.float64)
    assert shared(hr, hr) == pytest.approx(1)
    assert shared(0.25 * hr + 7, hr) == pytest.approx(0.25)
    noise = 20 * rng.standard_normal(hr.shape)  # steep, yet nothing of it is in the truth
    assert shared(noise, hr) == pytest.approx(0, abs=0.1)


def test_blind_networks_are_scored_by_degradation_with_their_mean(runs, rng, tmp_path):
    scores = importlib.import_module("training_runs_scores")
    report = importlib.import_module("training_runs_report")
    write_image(tmp_path / "HR" / "a.png", rng.random((64, 64, 3)))
    bicubic = scores.degradation_scores("reflash", enlarge(4), str(tmp_path))
    assert len(bicubic) == 8 and bicubic["clean"]["psnr"] > bicubic["blur"]["psnr"]
    assert bicubic["clean"]["sharpness"] > bicubic["blur"]["sharpness"]
    better = {name: {key: value + 1 for key, value in row.items()} for name, row in bicubic.items()}
    rows = report.degradations_table({"n": {"title": "N", "bicubic_scores": bicubic, "scores": better}})
    head, _, *lines, last = rows.splitlines()
    assert head == "| degradation | bicubic | N |" and len(lines) == 8
    mean = np.mean([row["psnr"] for row in bicubic.values()])
    assert last.startswith(f"| mean | {mean:.2f} / ") and f"| {mean + 1:.2f} / " in last


def test_a_predictor_is_kept_with_its_generator(runs, tmp_path):
    from ppsr.inference.network import load_network
    from ppsr.registry import build_model
    from ppsr.weights.weight_file import write_state

    run = runs.find("cddnet_small_x4")
    model = build_model(load_config(f"configs/{run.name}.yaml")["model"])
    parts = {name: model.nets[name].state_dict() for name in ("generator", "predictor")}
    weights = tmp_path / "iter_1_weight.pdparams"
    write_state(weights, {name: {k: v.numpy() for k, v in part.items()} for name, part in parts.items()})
    image = importlib.import_module("paddle").rand([1, 3, 8, 8])
    expected = model.inference_net()
    expected.eval()
    (tmp_path / run.name / "a").mkdir(parents=True)
    weights.rename(tmp_path / run.name / "a" / weights.name)
    runs.SHIPPED, runs.CATALOGUE = tmp_path, tmp_path / "catalogue.json"
    runs.CATALOGUE.write_text((ROOT / "ppsr" / "weights" / "catalogue.json").read_text("utf-8"), "utf-8")
    shipped = load_network(None, runs.ship(run, tmp_path))
    np.testing.assert_allclose(shipped(image).numpy(), expected(image).numpy(), atol=5e-3)
