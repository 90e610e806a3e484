"""Scalars for TensorBoard and Weights & Biases, by their libraries."""

import json
import re
import signal
import sys

import pytest

from ppsr.cli.train import main
from ppsr.config.schema import Experiment
from ppsr.engine.loggers import ScalarLog
from ppsr.engine.profiling import StepProfiler
from ppsr.errors import ConfigError
from tests.engine.helpers import write_config
from tests.optional import needed

REASON = "a writer of scalars"


def experiment(**options):
    return Experiment(total_iters=1, model={}, **options)


def test_tensorboard_reads_what_a_run_wrote(tmp_path):
    needed("tensorboard", REASON)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    options = ["total_iters=2", "log_config.interval=1", "enable_tensorboard=true"]
    assert main(["-c", str(write_config(tmp_path)), "--device", "cpu", "-o", *options]) == 0
    (run,) = (tmp_path / "output").glob("tiny-*")
    lines = [json.loads(line) for line in (run / "scalars.jsonl").read_text().splitlines()]
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    read = [(event.step, event.tensor_proto.float_val[0]) for event in events.Tensors("train/l_pix")]
    assert read == [(line["step"], pytest.approx(line["l_pix"])) for line in lines]
    assert len(read) == 2


@pytest.mark.slow
def test_weights_and_biases_keeps_steps_that_a_resumed_run_repeats(tmp_path, monkeypatch):
    wandb = needed("wandb", REASON)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    log = ScalarLog(tmp_path / "a-run", experiment(wandb_project="sr"))
    for step in (20, 30, 21):  # as after a return to the checkpoint of step 20
        log.write(step, {"l_pix": 0.5})
    (writer,) = log._writers
    assert writer.run.id == "a-run"
    log.close()
    wandb.teardown()  # ends the process that writes the file
    (file,) = (tmp_path / "a-run").glob("wandb/offline-run-*/run-a-run.wandb")
    content = file.read_bytes()
    assert b"train/l_pix" in content
    found = re.finditer(rb"\x04step\x82\x01(.)(\d+)", content, re.DOTALL)  # a length and the text
    assert {match[2][: match[1][0]] for match in found} == {b"20", b"30", b"21"}


@pytest.mark.parametrize(
    ("module", "option"),
    [("tensorboard.summary", {"enable_tensorboard": True}), ("wandb", {"wandb_project": "sr"})],
)
def test_a_missing_package_is_named_with_its_key(tmp_path, monkeypatch, module, option):
    monkeypatch.setitem(sys.modules, module, None)
    name, key = module.partition(".")[0], next(iter(option))
    with pytest.raises(ConfigError, match=rf"^{key} needs the package {name} \(pip install {name}\)"):
        ScalarLog(tmp_path, experiment(**option))


def test_a_run_that_is_refused_is_one_line(tmp_path, monkeypatch):
    wandb = needed("wandb", REASON)

    def refuse(**_):
        raise wandb.Error("api_key not configured (no-tty)\nmore")

    monkeypatch.setattr(wandb, "init", refuse)
    with pytest.raises(ConfigError, match=r"api_key not configured \(no-tty\); log in with `wandb login`"):
        ScalarLog(tmp_path, experiment(wandb_project="sr"))


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
