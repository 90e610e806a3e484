"""`ppsr evaluate`: printed lines, files and exit codes."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

from ppsr.cli import build_app
from ppsr.errors import ConfigError
from ppsr.imaging.io import write_image


@pytest.fixture
def folders(tmp_path, rng):
    for name in ("a", "b"):
        gt = rng.integers(0, 256, (32, 40, 3), dtype=np.uint8)
        write_image(tmp_path / "gt" / f"{name}.png", gt)
        write_image(tmp_path / "sr" / f"{name}.png", gt // 2)
    return tmp_path


def _run(folders, *arguments):
    given = ["evaluate", "-o", str(folders / "out"), "--gt", str(folders / "gt"), *arguments]
    return CliRunner().invoke(build_app(), given)


def test_pictures_on_disk_are_scored(folders):
    done = _run(folders, "--sr", str(folders / "sr"), "--protocol", "classic", "--scale", "4")
    assert done.exit_code == 0, done.output
    mean = json.loads((folders / "out" / "metrics.json").read_text())["mean"]
    assert f"Metric psnr: {mean['psnr']:.4f}\nMetric ssim: {mean['ssim']:.4f}\n" in done.output


def test_a_broken_picture_is_exit_code_1_and_named(folders):
    (folders / "sr" / "a.png").write_bytes(b"broken")
    done = _run(folders, "--sr", str(folders / "sr"))
    assert done.exit_code == 1
    assert "unreadable: a: " in done.output


def test_nothing_scored_is_exit_code_3(folders):
    for path in (folders / "sr").iterdir():
        path.write_bytes(b"broken")
    assert _run(folders, "--sr", str(folders / "sr")).exit_code == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--definition", "published"), "--definition is for rmse, mad, pe; measured here: psnr, ssim"),
        (("--protocol", "dsr", "--metrics", "psnr", "--definition", "safe"), "measured here: psnr"),
        (("--lpips-weights", "x.pth"), "--lpips-weights is for lpips"),
        (("--lpips-net", "vgg"), "--lpips-net is for lpips"),
        (("--niqe-parameters", "x.npz"), "--niqe-parameters is for niqe"),
        (("--metrics", "psnr,,ssim"), "--metrics is names with commas between them"),
        (("--sets", "Set5"), "sets chooses among those of data"),
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
    done = _run(folders, "--bicubic", "-o", str(folders / place))
    assert isinstance(done.exception, ConfigError)
    assert f"{folders / 't.jpg'} is a file" in str(done.exception)
    assert (folders / "t.jpg").read_bytes() == b"kept"


def _run_dasr(folders, *arguments):
    for path in (folders / "gt").iterdir():
        write_image(folders / "type1" / path.name, np.zeros((8, 10, 3), np.uint8))
    return _run(folders, "--protocol", "dasr", "--lq", str(folders / "type1"), "--bicubic", *arguments)


@pytest.mark.parametrize(("net", "file"), [("alex", "alexnet-owt"), ("vgg", "vgg16")])
def test_the_network_of_lpips_is_chosen(folders, net, file):
    done = _run_dasr(folders, "--lpips-net", net, "--lpips-weights", str(folders / "none.pth"))
    assert isinstance(done.exception, ConfigError)
    assert f"LPIPS ({net})" in str(done.exception)
    assert file in str(done.exception)


def test_an_unknown_network_of_lpips_is_refused(folders):
    done = _run_dasr(folders, "--lpips-net", "vg")
    assert isinstance(done.exception, ConfigError)
    assert "vgg" in str(done.exception)


def test_chosen_options_of_metrics_stand_in_every_output(folders):
    done = _run(
        folders, "--bicubic", "--protocol", "dsr", "--metrics", "psnr,rmse", "--definition", "published"
    )
    assert done.exit_code == 0, done.output
    assert done.output.startswith("options: rmse definition=published\n")
    written = json.loads((folders / "out" / "metrics.json").read_text())
    assert written["options"] == {"rmse": {"definition": "published"}}
    assert "Options of metrics: rmse definition=published." in (folders / "out" / "report.md").read_text()


def test_a_negative_seed_is_a_usage_error(folders):
    done = _run(folders, "--bicubic", "--seed", "-1")
    assert done.exit_code == 2
    assert "Traceback" not in done.output


def test_blanks_between_names_do_not_count(folders):
    done = _run(folders, "--bicubic", "--metrics", "psnr, ssim")
    assert done.exit_code == 0, done.output
    for name in ("Set5", "Set14"):
        shutil.copytree(folders / "gt", folders / "data" / name / "HR")
    given = ["evaluate", "-o", str(folders / "out"), "--data", str(folders / "data"), "--sets", "Set5, Set14"]
    done = CliRunner().invoke(build_app(), [*given, "--bicubic"])
    assert done.exit_code == 0, done.output
    assert "Set14: mean over 2 pictures" in done.output


def test_the_definition_reaches_the_metrics_that_take_it(folders):
    done = _run(folders, "--bicubic", "--protocol", "dsr", "--metrics", "rmse", "--definition", "wrong")
    assert "definition is one of safe, published" in str(done.exception)


def test_bicubic_needs_no_pictures_but_hr(folders):
    done = _run(folders, "--bicubic", "--metrics", "ssim", "--no-grid")
    assert done.exit_code == 0
    assert "psnr" not in done.output
    assert not list((folders / "out").glob("*.png"))
