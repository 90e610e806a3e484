"""What `tools/main.py` does with weights that fit in part."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import ppsr
from ppsr.cli.train import main
from ppsr.errors import ConfigError
from ppsr.registry import build_generator
from ppsr.weights.weight_file import write_state
from tests.cli.signals import unhandled

CONFIG = """
total_iters: 1
model:
  name: SRModel
  generator: {name: MSRResNet, num_feat: 8, num_block: 2, upscale: 4}
  pixel_criterion: {name: L1Loss}
dataset:
  train: {name: SRDataset, gt_folder: gt, lq_folder: lq, scale: 4, gt_size: 32}
lr_scheduler: {name: MultiStepDecay, learning_rate: 1.0e-4, milestones: [1]}
optimizer: {name: Adam, net_names: [generator]}
"""


@pytest.fixture
def start(tmp_path):
    """Runs the command with weights of another scale, up to the place where it misses dataset.test."""
    (tmp_path / "net.yaml").write_text(CONFIG)
    net = build_generator("MSRResNet", num_feat=8, num_block=2, upscale=3)
    write_state(tmp_path / "x3.pdparams", {k: v.numpy() for k, v in net.state_dict().items()})

    def run(*arguments: str) -> int:
        return main(["-c", str(tmp_path / "net.yaml"), "--evaluate-only", "--no-cuda", *arguments])

    return lambda *given: run("--load", str(tmp_path / "x3.pdparams"), *given), run


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "the weights do not fit MSRResNet"),
        (("--load-partial",), "--evaluate-only needs"),
        (("--load-partial", r"upconv\d\..*"), "--evaluate-only needs"),
        (("--load-partial", r"upconv1\..*"), "missing upconv2.weight"),
        (("--load-partial", r"upconv1\..*", r"upconv2\..*"), "--evaluate-only needs"),
        (("--load-partial", "("), "'(' is not a regular expression"),
    ],
)
def test_weights_fit_in_part_as_the_flag_says(start, flags, message, capsys):
    assert start[0](*flags) == 2
    assert message in capsys.readouterr().err


def test_the_flag_without_weights_is_refused(start, capsys):
    assert start[1]("--load-partial") == 2
    assert "--load-partial needs --load" in capsys.readouterr().err


@pytest.mark.parametrize("flag", [("--resume", "auto"), ("--dry-run",), ("-p", "batch_range=[1,2]")])
def test_an_evaluation_takes_no_flag_of_training(start, capsys, flag):
    assert start[1](*flag) == 2
    assert "--evaluate-only scores weights, those of a run by --load RUN" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flag", "message"),
    [("--load", "is a folder without weights"), ("--resume", "--resume : no run with a folder")],
)
def test_an_empty_value_does_not_start_from_scratch(start, tmp_path, monkeypatch, capsys, flag, message):
    monkeypatch.chdir(tmp_path)
    assert main(["-c", "net.yaml", "--no-cuda", flag, ""]) == 2
    assert message in capsys.readouterr().err


def test_a_signal_to_save_does_not_end_a_run_that_starts(start, monkeypatch):
    def load(*_, **__):
        signal.raise_signal(signal.SIGUSR1)
        raise ConfigError("read to the end")

    monkeypatch.setattr("ppsr.config.load_config", load)
    with unhandled(signal.SIGUSR1):
        assert start[1]() == 2


ENDING = """
import os, signal
from paddle import nn
from ppsr.registry import GENERATORS

@GENERATORS.register()
class Ending(nn.Layer):
    def __init__(self):
        super().__init__()
        os.kill(os.getpid(), signal.SIGTERM)
"""


@pytest.mark.slow
def test_a_signal_before_the_first_step_is_an_exit_and_no_crash_of_paddle(tmp_path):
    (tmp_path / "ending.py").write_text(ENDING)
    generator = "generator: {name: MSRResNet, num_feat: 8, num_block: 2, upscale: 4}"
    assert generator in CONFIG
    (tmp_path / "net.yaml").write_text(CONFIG.replace(generator, "generator: {name: Ending}"))
    command = [sys.executable, "-m", "ppsr", "train", "-c", "net.yaml", "--import", "ending", "--no-cuda"]
    paths = os.pathsep.join([str(tmp_path), str(Path(ppsr.__file__).parents[1])])
    options = {"cwd": tmp_path, "env": {**os.environ, "PYTHONPATH": paths}, "timeout": 120}
    ended = subprocess.run(command, check=False, capture_output=True, text=True, **options)
    assert ended.returncode == 143, ended.stderr
    assert "FatalError" not in ended.stderr


def test_a_rank_ends_without_what_aborts_in_the_interpreters_end():
    program = """
import atexit, os, sys
from ppsr.cli.train import _leave
class Thread:
    def __del__(self):
        os.abort()
sys.thread = Thread()
atexit.register(print, "closed")
_leave(3)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (3, "closed\n")
