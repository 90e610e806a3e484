"""`ppsr prepare`: every command end to end on small images."""

import numpy as np
import pytest

from ppsr.errors import ConfigError
from ppsr.imaging.io import list_images, write_image
from ppsr.prepare import samples as prepared_samples
from tests.command import run_ppsr


@pytest.fixture
def source(tmp_path, rng):
    for name in ("a", "b"):
        write_image(tmp_path / "in" / f"{name}.png", rng.integers(1, 256, (136, 144), dtype=np.uint8))
    return tmp_path / "in"


def _run(*arguments):
    return run_ppsr("prepare", *arguments)


def test_a_name_with_a_line_end_is_reported_in_one_line(source, tmp_path):
    (source / "c\n.png").write_text("no image")
    done = _run("bicubic", source, tmp_path / "out", "--scales", "2")
    output = done.stdout
    assert done.exit_code == 1
    assert len(output.splitlines()) == 2
    assert r"failed: c\n.png: " in output


@pytest.mark.parametrize(
    ("command", "options", "count"),
    [
        ("subimages", ["--size", "64", "--step", "40"], 18),
        ("bicubic", ["--scales", "2,8", "--mod-crop", "8"], 6),
        ("reflash-benchmark", [], 18),
        ("dasr-valid", ["--type", "2"], 2),
        ("dsr-train", [], 4),
        ("dsr-test", ["--lq-script", "fixed"], 4),
    ],
)
def test_a_folder_of_images_becomes_a_folder_of_results(source, tmp_path, command, options, count):
    out = tmp_path / "out"
    first = _run(command, source, out, *options)
    assert first.exit_code == 0, first.output
    assert f"{out}: {count} written, 0 already there, 0 skipped, 0 failed" in first.output
    assert len(list_images(out, recursive=True)) == count
    again = _run(command, source, out, *options)
    assert f"0 written, {count} already there" in again.output
    forced = _run(command, source, out, *options, "--force")
    assert f"{count} written, 0 already there" in forced.output


def test_crops_are_made_of_training_pairs(source, tmp_path):
    _run("dsr-train", source, tmp_path / "out")
    done = _run("dsr-crops", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert len(list_images(tmp_path / "out" / "data_all_HR_x4_sub")) == 8


@pytest.mark.parametrize("command", ["meta-info", "imagenet-list"])
def test_lists_are_written(source, tmp_path, command):
    done = _run(command, source, tmp_path / "list.txt", "--verify")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "list.txt").read_text() == "a.png (136,144,1)\nb.png (136,144,1)\n"


def test_a_store_is_made_and_verified(source, tmp_path):
    pytest.importorskip("lmdb")
    store = tmp_path / "s.lmdb"
    assert "2 written" in _run("lmdb", source, store).output
    done = _run("lmdb", "--verify", store)
    assert done.exit_code == 0
    assert f"{store}: 0 written, 2 already there" in done.output
    assert isinstance(_run("lmdb", source).exception, ConfigError)


def test_nothing_usable_is_exit_code_3(source, tmp_path):
    done = _run("subimages", source, tmp_path / "out")
    assert done.exit_code == 3
    assert "skipped: a.png: 144 x 136 is smaller than a window of 480" in done.output


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["bicubic", "--scales", "2,x"], "comma-separated numbers"),
        (["dsr-test", "--lq-script", "right"], "published or fixed"),
    ],
)
def test_wrong_options_are_refused(source, tmp_path, arguments, reason):
    command, *options = arguments
    error = _run(command, source, tmp_path / "out", *options).exception
    assert isinstance(error, ConfigError)
    assert reason in str(error)


def test_samples_come_with_lr(tmp_path):
    out = tmp_path / "samples"
    done = _run("samples", "-o", out, "-j", "1")
    assert f"{out}: 15 written, 0 already there, 0 skipped, 0 failed" in done.output
    counts = [len(list_images(out / folder)) for folder in ("train", "val", "val_LRx4")]
    assert counts == [9, 3, 3]
    again = _run("samples", "-o", out)
    assert "0 written, 15 already there" in again.output
    assert again.exit_code == 0


def test_failed_samples_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(prepared_samples, "TRAIN", ("astronaut.png", "not_shipped.png"))
    done = _run("samples", "-o", tmp_path / "samples", "-j", "1")
    assert done.exit_code == 1
    assert "failed: not_shipped.png: cannot read" in done.output
