"""`ppsr analyze`: files, printed lines and errors."""

import hashlib
import json
from contextlib import contextmanager

import numpy as np
import pytest

from ppsr.errors import ConfigError
from ppsr.imaging.io import write_image
from tests.analysis.networks import write_network
from tests.command import run_ppsr


@pytest.fixture
def work(tmp_path, rng):
    for seed, name in enumerate(("plain", "dropout")):
        write_network(tmp_path / name, seed=seed)
    for k in range(2):
        write_image(tmp_path / "hr" / f"{k}.png", rng.integers(0, 256, (40, 44, 3), dtype=np.uint8))
    write_image(tmp_path / "lq.png", rng.integers(0, 256, (20, 22, 3), dtype=np.uint8))
    return tmp_path


@pytest.fixture
def shown(monkeypatch):
    """The steps that a progress bar would show: (title, item, done, total)."""
    steps = []

    @contextmanager
    def bar():
        yield lambda *step: steps.append(step)

    monkeypatch.setattr("ppsr.inference.progress.progress_bar", bar)
    return steps


def _run(work, tool, *arguments, networks=("plain",)):
    loads = [option for name in networks for option in ("--load", work / name / "weights.pdparams")]
    config = work / "plain" / "config.yaml"
    return run_ppsr("analyze", tool, *arguments, "-o", work / "out", "-c", config, *loads)


def _report(work, name):
    return json.loads((work / "out" / f"{name}.json").read_text())


def _files(work):
    return {path.name for path in (work / "out").iterdir()}


@pytest.mark.slow
def test_lam_compares_networks_and_can_be_redone(work, shown):
    arguments = (str(work / "lq.png"), "--window", "8", "--fold", "3", "--top", "5")
    done = _run(work, "lam", *arguments, "--label", "a", "--label", "b", networks=("plain", "dropout"))
    assert done.exit_code == 0, done.output
    assert _files(work) == {"lam.png", "lam.svg", "lam.json", "lam.npz"}
    assert shown == [("LAM", name, done, 3) for name in "ab" for done in (0, 3)]
    report = _report(work, "lam")
    assert list(report["settings"].values()) == [8, 5, 18, 1.2, 3, 9]
    assert [network["label"] for network in report["networks"]] == ["a", "b"]
    assert f"a: diffusion index {report['results']['a']['diffusion_index']:.3f}\n" in done.output
    arrays = np.load(work / "out" / "lam.npz")
    assert arrays["b/gradient"].shape == (3, 20, 22)
    again = _run(work, "lam", *arguments, "--left", "18", "--label", "a", "--memory", "1")
    assert again.exit_code == 0
    repeated = _report(work, "lam")["results"]["a"]["diffusion_index"]
    assert repeated == pytest.approx(report["results"]["a"]["diffusion_index"], rel=1e-4)


@pytest.mark.slow
def test_csm_measures_against_the_truth(work):
    done = _run(work, "csm", work / "hr" / "0.png", "--from-hr", "--layers", "feat_last,body.0")
    assert done.exit_code == 0, done.output
    for layer in ("feat_last", "body.0"):
        for kind in ("maps", "ablation"):
            assert {f"csm_{layer}_{kind}{suffix}" for suffix in (".png", ".svg", ".json")} <= _files(work)
    report = _report(work, "csm_feat_last_ablation")
    assert report["results"]["truth"] == "HR"
    assert len(report["results"]["psnr_without"]) == 6
    assert {len(curve) for curve in report["results"]["psnr_cumulative"].values()} == {5}
    assert report["settings"] == {"layer": "feat_last", "ablation": True}


def test_csm_without_truth_compares_with_the_whole_network(work, shown):
    done = _run(work, "csm", work / "lq.png", "--crop", "12")
    assert done.exit_code == 0, done.output
    report = _report(work, "csm_feat_last_ablation")
    assert report["results"]["truth"] == "SR of the whole network"
    assert report["results"]["psnr_intact"] is None
    assert "PSNR against the SR image of all channels, without channel" in done.output
    titles = ["without one channel", "weakest first", "strongest first"]
    counts = zip(titles, (6, 5, 5), strict=True)
    ablations = [("weights feat_last", title, done, n) for title, n in counts for done in (0, n)]
    assert shown == [("saliency", "weights", 0, 1), *ablations]
    done = _run(work, "csm", work / "lq.png", "--layers", "conv_first", "--no-ablation")
    assert done.exit_code == 0
    assert "csm_conv_first_ablation.png" not in _files(work)


@pytest.mark.slow
def test_ddr_compares_two_checkpoints(work, shown):
    arguments = ("--count=6", "--side=8", "--degradations=bicubic,bicubic_noise20", "--perplexity=4")
    done = _run(work, "ddr", work / "hr", *arguments, networks=("plain", "dropout"))
    assert done.exit_code == 0, done.output
    assert _files(work) == {"ddr.png", "ddr.svg", "ddr.json", "ddr.npz"}
    assert shown[:6] == [("patches", "2 images", k, 6) for k in range(6)]
    assert shown[8:10] == [("t-SNE", "plain-weights", 0, 2), ("features", "dropout-weights", 0, 12)]
    images = _report(work, "ddr")["settings"]["images"]
    assert [image["path"] for image in images] == [str(work / "hr" / f"{k}.png") for k in range(2)]
    assert images[1]["sha256"] == hashlib.sha256((work / "hr" / "1.png").read_bytes()).hexdigest()
    results = _report(work, "ddr")["results"]
    assert list(results) == ["plain-weights", "dropout-weights"]
    for label, values in results.items():
        assert values["layer"] == "feat_last"
        assert values["features"] == 6 * 16 * 16
        assert f"{label}: CHI {values['chi_tsne']:.1f} (t-SNE)" in done.output
    assert np.load(work / "out" / "ddr.npz")["plain-weights/points"].shape == (12, 2)


@pytest.mark.slow
def test_features_draw_the_main_stages_and_the_depth(work):
    done = _run(work, "features", work / "lq.png")
    assert done.exit_code == 0, done.output
    assert {"features_depth.png", "features_weights_body.1.svg"} <= _files(work)
    curve = _report(work, "features_depth")["results"]["weights"]
    order = [entry["layer"] for entry in curve]
    stages = ["conv_first", "body.0", "body.1", "feat_last"]
    assert [name for name in order if name in stages] == stages
    assert all(0 < entry["rank_share"] <= 1 for entry in curve)
    lowest = min(curve, key=lambda entry: entry["rank_share"])
    told = f"effective rank / channels is lowest in {lowest['layer']}: {lowest['rank_share']:.0%}, rank "
    assert told in done.output


@pytest.mark.slow
def test_features_of_two_networks_share_a_curve(work, shown):
    arguments = ("--layers", "body.1", "--channels", "2")
    done = _run(work, "features", work / "lq.png", *arguments, networks=("plain", "dropout"))
    assert done.exit_code == 0, done.output
    assert set(_report(work, "features_depth")["results"]) == {"plain-weights", "dropout-weights"}
    assert {f"features_{name}-weights_body.1.png" for name in ("plain", "dropout")} <= _files(work)
    assert shown[:2] == [("features", "plain-weights", 0, 1), ("sheets plain-weights", "body.1", 0, 1)]


@pytest.mark.parametrize("tool", ["csm", "ddr", "features"])
def test_layers_are_listed_without_an_image(work, tool):
    done = _run(work, tool, "--list-layers")
    assert done.exit_code == 0, done.output
    rows = {line.split()[0]: line.split() for line in done.output.splitlines()[1:]}
    assert rows["feat_last"] == ["feat_last", "6", "maps", "x2", "LeakyReLU", "deepest"]
    assert rows["body.0"][-1] == "stage"
    assert not (work / "out").exists()


@pytest.mark.slow
def test_mistakes_are_told(work):
    failed = _run(work, "csm", work / "lq.png", "--layers", "feat_lasd")
    assert isinstance(failed.exception, ConfigError)
    assert "did you mean 'feat_last'" in str(failed.exception)
    assert "give an image" in str(_run(work, "lam").exception)
    assert "give a folder" in str(_run(work, "ddr").exception)
    few = _run(work, "ddr", work / "hr", "--degradations", "bicubic")
    assert "at least two degradations" in str(few.exception)
    for tool, source, option, value in (
        ("ddr", "hr", "--perplexity", "-3"),
        ("features", "lq.png", "--channels", "0"),
        ("lam", "lq.png", "--sigma", "nan"),
    ):
        failed = _run(work, tool, work / source, option, value)
        assert isinstance(failed.exception, ConfigError), (tool, option)
        assert f"got {value}" in str(failed.exception)
    assert not (work / "out").exists()


@pytest.mark.parametrize("tool", ["lam", "csm", "ddr", "features"])
def test_a_file_in_the_way_is_told_before_anything_is_read(work, tool):
    (work / "out").write_text("kept")
    failed = _run(work, tool, "absent.png", networks=("absent",))
    assert isinstance(failed.exception, ConfigError)
    assert f"{work / 'out'} is a file" in str(failed.exception)
    assert (work / "out").read_text() == "kept"


def test_csm_of_two_networks_has_a_folder_for_each(work):
    (work / "out").mkdir()
    (work / "out" / "dropout-weights").write_text("in the way")
    arguments = ("csm", str(work / "lq.png"), "--layers", "conv_first", "--no-ablation")
    failed = _run(work, *arguments, networks=("plain", "dropout"))
    assert "is a file" in str(failed.exception)
    assert _files(work) == {"dropout-weights"}
    (work / "out" / "dropout-weights").unlink()
    assert _run(work, *arguments, networks=("plain", "dropout")).exit_code == 0
    assert _files(work) == {"plain-weights", "dropout-weights"}


def test_lam_without_attribution_has_no_index(work):
    write_image(work / "flat.png", np.full((20, 22, 3), 100, np.uint8))
    done = _run(work, "lam", work / "flat.png", "--window", "8", "--fold", "2")
    assert done.exit_code == 0, done.output
    assert "weights: no attribution" in done.output
    results = _report(work, "lam")["results"]["weights"]
    assert results["diffusion_index"] is None
    assert results["contributing_pixels_95"] is None
