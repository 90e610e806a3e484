"""Commands that run a network set the process up for it first."""

import numpy as np
import pytest

from ppsr import accelerate
from ppsr.cli.export import main as export_model
from ppsr.errors import ConfigError
from ppsr.imaging.io import write_image
from ppsr.inference import network
from tests.command import run_ppsr

COMMANDS = (
    "evaluate --scale 2 --gt {folder}",
    "upscale {folder} -o {folder}/out",
    "export -o {folder}/out",
    "analyze lam {folder}/a.png",
    "analyze csm {folder}/a.png",
    "analyze ddr {folder}",
    "analyze features {folder}/a.png",
)


@pytest.fixture
def events(monkeypatch):
    """What happens, in order, until a network would be built."""
    found = []

    def stop(*_arguments):
        found.append("network")
        raise ConfigError("far enough")

    monkeypatch.setattr(accelerate, "enable", lambda threads=None: found.append("settings"))
    monkeypatch.setattr(network, "load_config", stop)
    return found


@pytest.fixture
def given(tmp_path):
    write_image(tmp_path / "a.png", np.zeros((32, 32, 3), np.uint8))
    (tmp_path / "weights.pdparams").write_bytes(b"")
    return ["-c", str(tmp_path / "config.yaml"), "--load", str(tmp_path / "weights.pdparams")]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.split(" {")[0].split(" -")[0])
def test_settings_come_before_the_network(command, tmp_path, given, events):
    done = run_ppsr(*command.format(folder=tmp_path).split(), *given)
    assert "far enough" in str(done.exception)
    assert events == ["settings", "network"]


def test_settings_come_before_the_network_in_the_export_tool(tmp_path, given, events, monkeypatch):
    (tmp_path / "config.yaml").write_text("model: {name: SRModel}\n", encoding="utf-8")
    assert export_model([*given, "--output_dir", str(tmp_path / "out")]) != 0
    assert events == ["settings", "network"]
