"""Weights that come with ppsr: whole, small, listed, and what they say they are."""

import json
from pathlib import Path

import numpy as np
import pytest

from ppsr.evaluation.evaluate import evaluate
from ppsr.inference.network import load_network
from ppsr.inference.upscaler import Upscaler
from ppsr.weights.catalogue import entries
from ppsr.weights.fetch import local_path
from ppsr.weights.weight_file import read_weight_file
from tests.command import run_ppsr

SHIPPED = [entry for entry in entries() if entry.shipped]
ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "ppsr" / "weights" / "shipped"
SET14 = ROOT / "data" / "Set14"
RESULTS = {
    result["config"]: result
    for result in json.loads((ROOT / "docs" / "images" / "training_runs.json").read_text("utf-8")).values()
}
SET5 = [folder for name in ("data", "../shared/images") if (folder := ROOT / name / "Set5/HR").is_dir()]


def result_of(entry):
    return RESULTS[f"configs/{entry.name.replace('-', '_')}.yaml"]


def is_blind(entry):
    return result_of(entry).get("protocol", "classic") != "classic"


def test_every_file_is_listed_and_together_they_are_small():
    files = {path.name for path in FOLDER.glob("*.safetensors")}
    assert files == {Path(str(local_path(entry))).name for entry in SHIPPED}
    assert sum((FOLDER / name).stat().st_size for name in files) < 8_000_000


@pytest.mark.parametrize("entry", SHIPPED, ids=lambda entry: entry.name)
def test_a_name_gives_the_network_of_its_row(entry, rng):
    path = local_path(entry)
    assert path is not None
    file = read_weight_file(path)
    name, arguments = file.network("")
    assert {"name": name, **arguments} == entry.network
    assert all(value.dtype == np.float16 for value in file.state().values())
    assert "T91" in entry.licence
    upscaler = Upscaler(load_network(None, entry.name))
    assert upscaler.scale == entry.scale
    smooth = np.full((12, 12, 3), 0.5, np.float32)
    np.testing.assert_allclose(upscaler(smooth)[6:-6, 6:-6], 0.5, atol=0.05)


@pytest.mark.slow
@pytest.mark.skipif(not SET5, reason="data/Set5 is not there; data/README.md tells how to get it")
@pytest.mark.parametrize(
    "entry",
    # MambaDRCT's scans take a minute
    [entry for entry in SHIPPED if entry.network["name"] != "MambaDRCT" and not is_blind(entry)],
    ids=lambda entry: entry.name,
)
def test_a_file_scores_as_its_row_of_the_results(entry):
    """Halves instead of the float32 that the row was scored with; the page allows 0.02 dB for that."""
    expected = result_of(entry)["scores"]["Set5"]
    scores = evaluate(scale=entry.scale, gt=SET5[0], method=entry.name).means
    assert scores["psnr"] == pytest.approx(expected["psnr"], abs=0.02)
    assert scores["ssim"] == pytest.approx(expected["ssim"], abs=0.001)


@pytest.mark.slow
@pytest.mark.skipif(not (SET14 / "LR_type2").is_dir(), reason="data/Set14 is not prepared")
@pytest.mark.parametrize("entry", filter(is_blind, SHIPPED), ids=lambda entry: entry.name)
def test_a_blind_file_scores_as_its_rows_of_the_results(entry, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    from training_runs_scores import degradation_scores

    expected, upscaler = result_of(entry), Upscaler(load_network(None, entry.name), tile=0)
    scores = degradation_scores(expected["protocol"], upscaler, str(SET14))
    for degradation, row in expected["scores"].items():
        assert scores[degradation]["psnr"] == pytest.approx(row["psnr"], abs=0.02)
        assert scores[degradation]["sharpness"] == pytest.approx(row["sharpness"], abs=0.005)


def test_shipped_weights_are_listed_apart():
    lines = run_ppsr("models", "list", "--shipped").stdout.splitlines()
    names = [line.split()[0] for line in lines[1 : lines.index("")]]
    assert [name for name in names if not set(name) <= {"-"}] == [entry.name for entry in SHIPPED]
    assert all("comes with ppsr" in line for line in lines if line.split(" ")[0] in names and "x" in line)
