"""The profiler flag of the training command."""

from __future__ import annotations

import signal

import pytest

from ppsr.cli.train import main
from ppsr.engine.profiling import StepProfiler
from ppsr.errors import ConfigError
from tests.engine.helpers import write_config


@pytest.mark.slow
def test_a_range_of_steps_is_recorded_and_ends_the_run(tmp_path, capsys):
    config = write_config(tmp_path)
    options = f"batch_range=[1,3];profile_path={tmp_path / 'trace'};exit_on_finished=true"
    assert main(["-c", str(config), "--device", "cpu", "-p", options]) == 0
    assert list((tmp_path / "trace").glob("*.json"))
    assert "finished 3 steps" in capsys.readouterr().out


def test_a_stopped_run_keeps_what_was_recorded(tmp_path, monkeypatch):
    step = StepProfiler.step

    def stop_after_two(self):
        if self._steps == 1:
            signal.raise_signal(signal.SIGTERM)
        return step(self)

    monkeypatch.setattr(StepProfiler, "step", stop_after_two)
    options = f"batch_range=[1,50];profile_path={tmp_path / 'trace'}"
    assert main(["-c", str(write_config(tmp_path)), "--device", "cpu", "-p", options]) == 128 + signal.SIGTERM
    assert list((tmp_path / "trace").glob("*.json"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("batch_rang=[1,2]", "did you mean 'batch_range'"),
        ("batch_range=[5,2]", r"such as \[10,20\], got '\[5,2\]'"),
    ],
)
def test_wrong_options_are_refused(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        StepProfiler(text, tmp_path)
