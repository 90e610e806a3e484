"""Training: exact resume, skipped steps, averages, and what a run writes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import paddle
import pytest

from ppsr.cli.train import main
from ppsr.weights import read_weight_file
from tests.engine.helpers import fingerprint, make_trainer, write_config

MAIN = Path(__file__).parents[2] / "tools" / "main.py"


@pytest.mark.smoke
def test_a_run_writes_logs_scalars_weights_and_images(tmp_path):
    options = ["log_config.visual_interval=10", "snapshot_config.interval=4"]
    trainer = make_trainer(write_config(tmp_path), tmp_path / "run", options)
    assert trainer.train() == 0
    names = sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert names == ["step_000000016", "step_000000020"]  # the newest
    lines = [json.loads(line) for line in (tmp_path / "run" / "scalars.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [5, 10, 15, 20]
    assert {"l_pix", "l_regression", "lr"} <= set(lines[0])
    assert (tmp_path / "run" / "visual_train" / "iter10.png").exists()
    weights = read_weight_file(tmp_path / "run" / "iter_20_weight.pdparams")
    assert set(weights.nets) == {"generator", "predictor", "generator_ema"}


def test_a_run_that_is_complete_is_named(tmp_path, caplog):
    options = ["total_iters=2"]
    config = write_config(tmp_path)
    assert make_trainer(config, tmp_path / "run", options).train() == 0
    again = make_trainer(config, tmp_path / "run", options)
    assert again.resume()
    assert again.train() == 0
    assert "nothing to train: 2 of 2 steps are done" in caplog.text


def test_accumulating_two_batches_equals_one_of_twice_the_size(tmp_path):
    config = write_config(tmp_path)
    off = ["dataset.train.queue_size=0", "total_iters=1", "model.generator.column_dropout=0.0"]
    off += ["model.generator.row_dropout=0.0", "ema=null", "log_config.interval=1"]
    one = make_trainer(config, tmp_path / "one", [*off, "dataset.train.batch_size=4"])
    two = make_trainer(config, tmp_path / "two", [*off, "step.accumulate=2"])
    one.train()
    two.train()
    a, b = (t.state.model.nets["generator"].state_dict() for t in (one, two))
    for key in a:
        # one Adam step moves by the learning rate (1e-3) times a sign-like ratio; rounding of the mean
        # remains
        np.testing.assert_allclose(a[key].numpy(), b[key].numpy(), atol=2e-5, err_msg=key)


@pytest.mark.slow
def test_sigusr1_saves_and_the_run_goes_on(tmp_path):
    trainer = make_trainer(write_config(tmp_path), tmp_path / "run", ["snapshot_config.interval=100"])
    trainer.profiler.step = lambda: trainer.state.step == 3 and signal.raise_signal(signal.SIGUSR1)
    assert trainer.train() == 0
    assert [path.name for path in trainer.saver.store.all()] == ["step_000000003", "step_000000020"]


@pytest.mark.slow
def test_a_run_under_nohup_outlives_its_terminal(tmp_path):
    trainer = make_trainer(write_config(tmp_path), tmp_path / "run")
    trainer.profiler.step = lambda: signal.raise_signal(signal.SIGHUP)
    previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert trainer.train() == 0
    finally:
        signal.signal(signal.SIGHUP, previous)


@pytest.mark.slow
def test_signals_do_not_interrupt_system_calls(tmp_path):
    """A read goes on after the handler; Paddle's store for several ranks fails where it does not."""
    program = (
        "import ctypes, os, signal, threading\n"
        "from ppsr.engine.signals import StopRequest\n"
        "read, write = os.pipe()\n"
        "with StopRequest() as stop:\n"
        "    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGUSR1)).start()\n"
        "    threading.Timer(0.6, os.write, (write, b'x')).start()\n"
        "    got = ctypes.CDLL(None).read(read, ctypes.create_string_buffer(1), 1)\n"
        "print(got, stop.save)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout == "1 True\n", done.stderr[-2000:]


def test_a_stopped_run_closes_its_scalars(tmp_path, monkeypatch):
    closed = []

    def close(self):
        closed.append(self)

    monkeypatch.setattr("ppsr.engine.trainer.ScalarLog.close", close)
    trainer = make_trainer(write_config(tmp_path), tmp_path / "run")
    trainer.profiler.step = lambda: signal.raise_signal(signal.SIGTERM)
    assert trainer.train() == 143
    assert len(closed) == 1


def _run(*arguments, **options):
    command = [sys.executable, "-u", str(MAIN), *map(str, arguments)]
    options |= {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, **options)


def _wait_for_step(process, step):
    for line in process.stdout:
        if f"Iter: {step}/" in line:
            return
    raise AssertionError(f"the run ended before step {step}")


@pytest.mark.slow
def test_a_signal_to_the_whole_process_group_saves_the_present_step(tmp_path):
    config = write_config(
        tmp_path, total_iters=100_000, snapshot_config={"interval": 50_000}, log_config={"interval": 1}
    )
    process = _run("-c", config, "-o", "dataset.train.num_workers=1", start_new_session=True)
    _wait_for_step(process, 3)
    started = time.monotonic()
    os.killpg(process.pid, signal.SIGTERM)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 143, output
    assert time.monotonic() - started < 10
    (run,) = (tmp_path / "output").glob("tiny-*")
    (checkpoint,) = (run / "checkpoints").iterdir()
    assert int(checkpoint.name.split("_")[1]) >= 3


def test_too_many_skipped_steps_end_the_command_with_a_message(tmp_path, capsys):
    overrides = ["step.max_skips=2", "lr_scheduler.learning_rate=1e30", "ema=null"]
    assert main(["-c", str(write_config(tmp_path)), "--device", "cpu", "-o", *overrides]) == 1
    assert "2 steps in a row were not finite" in capsys.readouterr().err


def test_paddle_global_state_does_not_matter_for_the_stream(tmp_path):
    config = write_config(tmp_path)
    first = make_trainer(config, tmp_path / "a", ["total_iters=4"])
    first.train()
    second = make_trainer(config, tmp_path / "b", ["total_iters=4"])
    paddle.seed(99)
    np.random.seed(99)  # noqa: NPY002 - what user code may do
    second.train()
    assert fingerprint(tmp_path / "a") == fingerprint(tmp_path / "b")
