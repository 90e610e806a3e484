"""`ppsr compare`: files of one image by several networks."""

import json
import re

import numpy as np
import paddle
import pytest

from ppsr.errors import ConfigError
from ppsr.evaluation.compare import choose_crops, write_comparison
from ppsr.imaging.io import read_image, to_uint8, write_image
from ppsr.inference.upscaler import Upscaler
from tests.command import run_ppsr
from tests.networks import network


@pytest.fixture
def work(tmp_path, rng):
    for name, scale in (("a", 2), ("b", 2), ("c", 4)):
        net = network("SRVGGNetCompact", ord(name), upscale=scale)
        paddle.save(net.state_dict(), str(tmp_path / f"{name}.pdparams"))
    write_image(tmp_path / "lq.png", rng.integers(0, 256, (24, 30, 3), dtype=np.uint8))
    write_image(tmp_path / "hr.png", rng.integers(0, 256, (48, 60, 3), dtype=np.uint8))
    return tmp_path


def _run(work, *names, more=()):
    loads = [option for name in names for option in ("--load", work / f"{name}.pdparams")]
    return run_ppsr("compare", work / "lq.png", *loads, "-o", work / "out", *more)


def test_networks_are_compared_on_a_sheet_and_a_page(work):
    done = _run(work, "a", "b", more=("--gt", work / "hr.png", "--crop-size", 16, "--crops", 2))
    assert done.exit_code == 0, done.output
    out = work / "out"
    assert read_image(out / "sheet.png").shape == (2 * (32 + 24), 4 * 32, 3)
    page = (out / "index.html").read_text()
    files = json.loads(re.search(r"const images = (.*);", page)[1])
    assert list(files) == ["bicubic", "a", "b", "HR"]
    sr = Upscaler(work / "a.pdparams")(to_uint8(read_image(work / "lq.png")))
    np.testing.assert_array_equal(to_uint8(read_image(out / files["a"])), sr)
    np.testing.assert_array_equal(read_image(out / files["HR"]), read_image(work / "hr.png"))


def test_a_folder_that_was_not_named_is_a_new_one(work, monkeypatch):
    monkeypatch.chdir(work)
    given = ["compare", "lq.png", "--load", "a.pdparams", "--crop-size", "16"]
    for folder in ("compare-lq", "compare-lq-2"):
        assert run_ppsr(*given).exit_code == 0
        assert (work / "output" / folder / "index.html").is_file()


def test_crops_lie_where_the_images_differ_and_do_not_overlap():
    a = np.zeros((64, 64, 3), np.uint8)
    b = a.copy()
    b[40:56, 8:24] = 200
    b[0:16, 48:64] = 100
    first, second = choose_crops({"a": a, "b": b}, 2, 16)
    assert first in {(40, 8)}
    assert second == (0, 48)
    assert choose_crops({"a": a[:8, :8], "b": b[:8, :8]}, 3, 16) == [(0, 0)]


def test_labels_cannot_break_out_of_the_page(tmp_path):
    image = np.zeros((20, 20, 3), np.uint8)
    write_comparison({"</script>": image, "b": image}, tmp_path, title="<b>")
    page = (tmp_path / "index.html").read_text()
    assert page.count("</script>") == 1
    assert "<b>" not in page
    with pytest.raises(ConfigError, match="one size"):
        write_comparison({"a": image, "b": image[:10]}, tmp_path, title="x")


@pytest.mark.parametrize(
    ("names", "gt", "message"), [("ac", "hr.png", "a: x2, c: x4"), ("ab", "missing.png", "missing.png")]
)
def test_mistakes_are_reported_before_any_network_runs(work, names, gt, message, monkeypatch):
    monkeypatch.setattr(Upscaler, "__call__", lambda self, image: pytest.fail("a network runs"))
    done = _run(work, *names, more=("--gt", work / gt))
    assert done.exit_code != 0
    assert message in str(done.exception)
