"""Trainings that are killed, terminated, or lose a rank go on as if nothing had happened."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from itertools import product
from pathlib import Path

import numpy as np
import psutil
import pytest

from ppsr.engine.run import newest_run
from tests.bars import Bar
from tests.engine.helpers import fingerprint, make_trainer, write_config
from tests.engine.test_distributed import OPTIONS, _config, _launch
from tests.engine.test_host_waits import _batch, _parameters, _step

pytestmark = [pytest.mark.reliability, pytest.mark.slow, pytest.mark.timeout(1200)]
ROOT = Path(__file__).parents[2]
STEPS = {"snapshot_config": {"interval": 3}, "log_config": {"interval": 1}}


def _ended(config: Path, how: str, count: int, seed: int) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.reliability.kills", str(config), how, str(count), str(seed)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_kill_9_at_any_moment_loses_nothing(tmp_path: Path, bar: Bar) -> None:
    count = bar.count(100)
    found = _ended(write_config(tmp_path, total_iters=60, **STEPS), "kill", count, bar.seed)
    bar.report(
        "R1 kill -9",
        f"{count} kills: every finished run equal bit by bit",
        f"{found['kills']} kills, {found['equal']} of {found['runs']} runs equal",
    )
    assert found["kills"] == count
    assert found["equal"] == found["runs"] > 0


def test_sigterm_at_any_moment_saves_the_step(tmp_path: Path, bar: Bar) -> None:
    count = max(3, bar.count(20))
    found = _ended(write_config(tmp_path, log_config={"interval": 1}), "terminate", count, bar.seed)
    bar.report(
        "R4 SIGTERM",
        f"{count} moments: code 143, the step saved, within 10 s",
        f"{found['right']} right, {found['checkpoints']} after a step, slowest {found['slowest']:.1f} s",
    )
    assert found["right"] == count
    assert found["slowest"] < 10


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("gan", [False, True], ids=["psnr", "gan"])
def test_resuming_at_any_step_of_an_epoch_changes_nothing(
    tmp_path: Path, bar: Bar, gan: bool, workers: int
) -> None:
    """Five images and batches of two: an epoch ends inside a step."""
    config, steps = write_config(tmp_path, gan=gan), range(1, 6) if bar.full else range(3, 4)
    options = ["total_iters=6", f"dataset.train.num_workers={workers}", "ema.switch_every=2"]
    assert make_trainer(config, tmp_path / "straight", options).train() == 0
    equal = 0
    for step in steps:
        run = tmp_path / f"split{step}"
        assert make_trainer(config, run, [*options, f"total_iters={step}"]).train() == 0
        rest = make_trainer(config, run, options)
        assert rest.resume() and rest.state.step == step
        assert rest.train() == 0
        equal += fingerprint(run) == fingerprint(tmp_path / "straight")
    bar.report(
        f"R3 exact resume, {'GAN' if gan else 'PSNR'}, {workers} workers",
        f"{len(steps)} steps: equal bit by bit",
        f"{equal} equal",
    )
    assert equal == len(steps)


def _steps(name: str, broken: int, fault: str) -> tuple[dict[str, np.ndarray], int]:
    """Everything that five steps learn, one of them broken or left out, and how many were skipped."""
    step = _step(name)
    for number in range(5):
        batch = _batch(number)
        if number != broken:
            step.run([batch], number, 0)
        elif fault == "loss":
            batch["gt"] = batch["gt"] * float("inf")
            step.run([batch], number, 0)
        elif fault == "gradient":
            hook = step.model.nets["generator"].parameters()[0].register_hook(lambda grad: grad * np.nan)
            step.run([batch], number, 0)
            hook.remove()
    learnt = _parameters(step.model)
    learnt |= {f"ema.{k}": v.numpy() for k, v in step.ema.nets["generator"].state_dict().items()}
    for optimizer, _ in step.optimizers.values():
        learnt |= {k: v.numpy() for k, v in optimizer.state_dict().items() if hasattr(v, "numpy")}
    return learnt, step.skipped


def test_steps_that_are_not_finite_leave_no_trace(tmp_path: Path, bar: Bar) -> None:
    """An infinite loss or a gradient of NaN; and a score of NaN is never the best."""
    cases, equal = list(product(("luma", "drn", "align"), range(1, 5), ("loss", "gradient"))), 0
    for name, broken, fault in cases:
        (learnt, skipped), (expected, _) = _steps(name, broken, fault), _steps(name, broken, "left out")
        same = len(learnt) == len(expected) and all(map(np.array_equal, learnt.values(), expected.values()))
        equal += same and skipped == 1
    trainer = make_trainer(_config(tmp_path), tmp_path / "run", OPTIONS)
    assert trainer.validator.quality({"psnr": 30.0}) == 30
    assert trainer.validator.quality({"psnr": float("nan")}) is None
    bar.report(
        "R5 steps that are not finite",
        f"{len(cases)} infinite losses and NaN gradients: skipped, counted, equal to a run without the step",
        f"{equal} equal bit by bit",
    )
    assert equal == len(cases)


def _of_the_run(folder: Path) -> list[psutil.Process]:
    """Processes that name the run's folder, workers of the loader included."""
    found = []
    for process in psutil.process_iter():
        try:
            if any(str(folder) in text for text in process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_a_dead_rank_ends_the_job_and_leaves_no_process(tmp_path: Path, bar: Bar) -> None:
    """The launcher ends, no process is left, the log names the rank, and the run goes on afterwards."""
    config, count, rng = write_config(tmp_path, **STEPS), bar.count(18), bar.rng()
    endless, slowest = ("total_iters=100000", "dataset.train.num_workers=2"), 0.0
    for number in range(count):
        log = tmp_path / f"log{number}"
        # so that its checkpoints are those of this job
        shutil.rmtree(tmp_path / "output", ignore_errors=True)
        job = _launch(config, log, "--nproc_per_node", "2", options=endless)
        run = _wait_for_checkpoint(config, job)
        time.sleep(rng.uniform(0, 2))
        ranks = [p for p in _of_the_run(tmp_path) if p.ppid() == job.pid]
        assert len(ranks) == 2
        victim = ranks[int(rng.integers(2))]
        victim.send_signal(signal.SIGKILL)
        began = time.monotonic()
        output = job.communicate(timeout=60)[0]
        slowest = max(slowest, time.monotonic() - began)
        assert job.returncode != 0
        assert "rank" in output.lower()
        deadline = time.monotonic() + 10
        while (left := _of_the_run(tmp_path)) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not left, [process.cmdline() for process in left]
    resumed = make_trainer(config, run, [*OPTIONS, "total_iters=100000", "dataset.train.num_workers=0"])
    assert resumed.resume()
    bar.report(
        "D3 dead rank",
        f"{count} kills with 2 workers: ended within 15 s, no process left, resumable",
        f"slowest end {slowest:.1f} s, 0 left",
    )
    assert slowest < 15


def _wait_for_checkpoint(config: Path, job: subprocess.Popen) -> Path:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and job.poll() is None:
        for path in (config.parent / "output").glob("*/checkpoints/step_*"):
            if path.is_dir() and ".tmp" not in path.name:
                return newest_run(config.stem, config.parent / "output")
        time.sleep(0.1)
    raise AssertionError("the job ended or saved nothing within 120 s")
