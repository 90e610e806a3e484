"""`ppsr quickstart` in a handful of steps: all of it but the quality of real training."""

import re

import pytest

from ppsr import quickstart
from ppsr.cli.train import main
from ppsr.config.loader import find_config
from ppsr.errors import WeightError
from ppsr.imaging import read_image
from ppsr.registry import build_generator
from ppsr.weights import write_state


@pytest.fixture
def short(tmp_path, monkeypatch):
    """A folder in which the config has four steps, and tiny weights stand for the published ones."""
    config = tmp_path / "quickstart_short.yaml"
    config.write_text(
        f"base: {find_config(quickstart.CONFIG)}\n"
        "total_iters: 4\n"
        "validate: {interval: 4}\n"
        "snapshot_config: {interval: 4}\n",
        encoding="utf-8",
    )
    net = build_generator("SRVGGNetCompact", num_feat=4, num_conv=1, upscale=4)
    write_state(tmp_path / "tiny.pdparams", {key: value.numpy() for key, value in net.state_dict().items()})
    monkeypatch.setattr(quickstart, "CONFIG", str(config))
    monkeypatch.setattr(quickstart, "PUBLISHED", str(tmp_path / "tiny.pdparams"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_everything_is_made_and_a_network_below_bicubic_fails(short, capsys):
    assert quickstart.main(main) == 1  # four steps do not suffice
    out = capsys.readouterr().out
    assert re.search(r"held-out +\d +bicubic +30\.76 +0\.8490", out)  # the samples are the same everywhere
    assert read_image(short / "output/quickstart/photo/1_tiny.pdparams.png").shape == (480, 640, 3)
    assert (short / "output/quickstart/photo/index.html").is_file()
    assert len(list((short / "output/quickstart/report").glob("*best*.png"))) == 1


@pytest.mark.slow
def test_weights_that_cannot_be_had_are_left_out_with_the_reason(short, monkeypatch, capsys):
    def refuse(network):
        if network == quickstart.PUBLISHED:
            raise WeightError("no address can be reached")
        return real(network)

    real = quickstart.Upscaler
    monkeypatch.setattr(quickstart, "Upscaler", refuse)
    assert quickstart.main(main) == 1
    out = capsys.readouterr().out
    assert "left out: no address can be reached" in out
    assert "not made, see above" in out
