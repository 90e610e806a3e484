"""`ppsr evaluate`: printed lines, files and exit codes."""

import json
import shutil

import numpy as np
import paddle
import pytest

from ppsr.errors import ConfigError
from ppsr.evaluation import evaluate as evaluation
from ppsr.imaging.io import write_image
from ppsr.inference.network import split_networks
from tests.command import run_ppsr
from tests.networks import network


@pytest.fixture
def folders(tmp_path, rng):
    for name in ("a", "b"):
        gt = rng.integers(0, 256, (32, 40, 3), dtype=np.uint8)
        write_image(tmp_path / "gt" / f"{name}.png", gt)
        write_image(tmp_path / "sr" / f"{name}.png", gt // 2)
    return tmp_path


def _run(folders, *arguments):
    return run_ppsr("evaluate", "-o", folders / "out", "--gt", folders / "gt", *arguments)


def test_images_on_disk_are_scored(folders):
    done = _run(folders, "--sr", folders / "sr", "--protocol", "classic", "--scale", "4")
    assert done.exit_code == 0, done.output
    mean = json.loads((folders / "out" / "metrics.json").read_text())["mean"]
    assert f"{mean['psnr']:.2f}  {mean['ssim']:.4f}\n" in done.output
    (folders / "sr" / "b.png").write_bytes(b"no image")
    assert _run(folders, "--sr", folders / "sr", "--no-grid").exit_code == 1


def test_images_of_several_methods_are_compared(folders):
    shutil.copytree(folders / "gt", folders / "other")
    done = _run(folders, "--sr", folders / "sr", "--sr", folders / "other", "--bicubic")
    assert done.exit_code == 0, done.output
    rows = [line for line in done.output.splitlines() if "  2  " in line]
    assert [any(name in row for row in rows) for name in ("sr ", "other ", "bicubic ")] == [True] * 3
    assert len(list((folders / "out").glob("*/metrics.json"))) == 2


def test_a_missing_folder_is_found_before_another_is_scored(folders):
    done = _run(folders, "--sr", folders / "sr", "--sr", folders / "absent")
    assert "absent" in str(done.exception)
    assert not (folders / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--definition", "published"), "applies to rmse, mad, pe, but the metrics are psnr, ssim"),
        (("--protocol", "dsr", "--metrics", "psnr", "--definition", "safe"), "the metrics are psnr"),
        (("--lpips-weights", "x.pth"), "--lpips-weights applies to lpips"),
        (("--lpips-net", "vgg"), "--lpips-net applies to lpips"),
        (("--niqe-parameters", "x.npz"), "--niqe-parameters applies to niqe"),
        (("--metrics", "psnr,,ssim"), "--metrics takes comma-separated names"),
        (("--sets", "Set5"), "'sets' requires 'data'"),
    ],
)
def test_an_option_without_effect_is_refused(folders, arguments, message):
    done = _run(folders, "--bicubic", *arguments)
    assert isinstance(done.exception, ConfigError)
    assert message in str(done.exception)


@pytest.mark.parametrize("place", ["t.jpg", "t.jpg/below/it"])
def test_an_output_that_is_a_file_is_refused_before_scoring(folders, place, monkeypatch):
    (folders / "t.jpg").write_bytes(b"kept")
    monkeypatch.setattr("ppsr.evaluation.evaluate.evaluate", lambda *_, **__: pytest.fail("it was scored"))
    done = _run(folders, "--bicubic", "-o", folders / place)
    assert isinstance(done.exception, ConfigError)
    assert f"{folders / 't.jpg'} is a file" in str(done.exception)
    assert (folders / "t.jpg").read_bytes() == b"kept"


def _run_dasr(folders, *arguments):
    for path in (folders / "gt").iterdir():
        write_image(folders / "type1" / path.name, np.zeros((8, 10, 3), np.uint8))
    return _run(folders, "--protocol", "dasr", "--lq", folders / "type1", "--bicubic", *arguments)


@pytest.mark.parametrize(("net", "file"), [("alex", "alexnet-owt"), ("vgg", "vgg16")])
def test_the_network_of_lpips_is_chosen(folders, net, file):
    done = _run_dasr(folders, "--lpips-net", net, "--lpips-weights", str(folders / "none.pth"))
    assert isinstance(done.exception, ConfigError)
    assert f"LPIPS ({net})" in str(done.exception)
    assert file in str(done.exception)


def test_chosen_options_of_metrics_stand_in_every_output(folders):
    options = ("--protocol", "dsr", "--metrics", "psnr,rmse", "--definition", "published")
    done = _run(folders, "--bicubic", *options)
    assert done.exit_code == 0, done.output
    assert "options: rmse definition=published\n" in done.output
    written = json.loads((folders / "out" / "metrics.json").read_text())
    assert written["options"] == {"rmse": {"definition": "published"}}
    assert "options: rmse definition=published\n" in (folders / "out" / "report.md").read_text()


@pytest.fixture
def weights(folders):
    """Two networks of one scale, and CDDNet in two files."""
    for name, seed in (("amsel", 0), ("drossel", 1)):
        net = network("SRVGGNetCompact", seed, upscale=4)
        paddle.save(net.state_dict(), str(folders / f"{name}.pdparams"))
    return folders


def _table(done, method):
    """The scores of a method as they are printed."""
    (line,) = (line for line in done.output.splitlines() if f" {method} " in line)
    return line.split()[-2:]


def test_several_networks_are_one_table_with_a_report_each(weights):
    both = [word for name in ("amsel", "drossel") for word in ("--load", str(weights / f"{name}.pdparams"))]
    done = _run(weights, *both, "--no-grid")
    assert done.exit_code == 0, done.output
    assert "classic, x4, network on whole images" in done.output
    means = {}
    for name in ("amsel", "drossel"):
        written = json.loads((weights / "out" / name / "metrics.json").read_text())
        assert written["method"] == name
        means[name] = written["mean"]
        assert _table(done, name) == [f"{means[name]['psnr']:.2f}", f"{means[name]['ssim']:.4f}"]
    assert means["amsel"] != means["drossel"]
    assert len(_table(done, "bicubic")) == 2
    alone = _run(weights, *both[:2], "--no-bicubic", "--no-grid")
    assert "bicubic" not in alone.output
    assert _table(alone, "amsel") == _table(done, "amsel")


def test_a_report_replaces_no_earlier_one_without_a_word(weights, monkeypatch):
    monkeypatch.chdir(weights)
    given = ["evaluate", "--gt", "gt", "--load", "amsel.pdparams", "--no-grid", "--no-bicubic"]
    for _ in range(2):
        done = run_ppsr(*given)
        assert done.exit_code == 0, done.output
        assert "overwriting" not in done.output and "report in output" in done.output
    names = sorted(path.name for path in (weights / "output").iterdir())
    assert names == ["evaluate-classic-x4-amsel", "evaluate-classic-x4-amsel-2"]
    for earlier in (False, True):
        done = run_ppsr(*given, "-o", "mine")
        assert ("report in mine, overwriting an earlier one" in done.output) == earlier


def test_a_later_network_that_fails_costs_no_earlier_report(weights, monkeypatch):
    paddle.save(network("SRVGGNetCompact", 2, upscale=2).state_dict(), str(weights / "x2.pdparams"))
    loads = [option for name in ("amsel", "x2") for option in ("--load", str(weights / f"{name}.pdparams"))]
    done = _run(weights, *loads, "--no-grid")
    assert "x2 has scale 2, but the evaluation has scale 4; give the scale 2" in str(done.exception)
    assert not (weights / "out").exists(), "known before the first one is scored"
    score, calls = evaluation.evaluate, []

    def failing(method, **given):
        calls.append(method)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return score(method, **given)

    monkeypatch.setattr(evaluation, "evaluate", failing)
    loads[-1] = str(weights / "drossel.pdparams")
    _run(weights, *loads, "--no-grid", "--no-bicubic")
    assert json.loads((weights / "out" / "amsel" / "metrics.json").read_text())["count"] == 2


@pytest.mark.slow
def test_backend_and_self_ensemble_are_those_of_the_network(weights):
    load = ["--load", str(weights / "amsel.pdparams"), "--no-bicubic", "--no-grid"]
    plain = _table(_run(weights, *load), "amsel")
    assert _table(_run(weights, *load, "--backend", "inference"), "amsel") == plain
    assert _table(_run(weights, *load, "--self-ensemble"), "amsel") != plain
    refused = _run(weights, "--bicubic", "--self-ensemble")
    assert "no effect without a network" in str(refused.exception)


def test_images_in_sub_folders_are_scored_by_their_paths(folders, rng):
    for place in ("gt", "sr"):
        for path in list((folders / place).iterdir()):
            (folders / place / path.stem).mkdir()
            path.rename(folders / place / path.stem / "image.png")
    done = _run(folders, "--sr", folders / "sr", "--images", "--no-grid")
    assert done.exit_code == 0, done.output
    written = json.loads((folders / "out" / "metrics.json").read_text())
    assert set(written["images"]) == {"a/image", "b/image"}
    assert "a/image" in done.output


def test_a_network_of_two_files_is_one_method(folders):
    net = network("BlindSR", 0)
    for role in ("generator", "predictor"):
        paddle.save(getattr(net, role).state_dict(), str(folders / f"{role}.pdparams"))
    paths = [folders / f"{role}.pdparams" for role in ("predictor", "generator")]
    assert split_networks(paths) == [[paths[1], paths[0]]]
    assert split_networks([paths[1], paths[1], paths[0]]) == [[paths[1]], [paths[1], paths[0]]]
    loads = [option for path in paths for option in ("--load", str(path))]
    done = _run(folders, *loads, "--scale", net.scale, "--no-bicubic", "--no-grid")
    assert done.exit_code == 0, done.output
    assert len(_table(done, "generator+predictor")) == 2


def test_networks_of_one_name_and_folder_get_a_report_each(weights):
    paths = [weights / place / "x" / "n.pdparams" for place in "ab"]
    for path, name in zip(paths, ("amsel", "drossel"), strict=True):
        path.parent.mkdir(parents=True)
        shutil.move(weights / f"{name}.pdparams", path)
    done = _run(weights, "--load", paths[0], "--load", paths[1], "--no-grid", "--no-bicubic")
    assert done.exit_code == 0, done.output
    reports = [json.loads(path.read_text()) for path in (weights / "out").glob("*/metrics.json")]
    assert sorted(report["method"] for report in reports) == sorted(map(str, paths))
    assert reports[0]["mean"] != reports[1]["mean"]
