"""Trainings in children of one process that has imported Paddle and computed nothing, ended at any moment.

python -m tests.reliability.kills CONFIG {kill|terminate} COUNT SEED prints what was seen as one line of JSON.
"""

import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import numpy as np

import ppsr.engine.trainer  # noqa: F401  so that children need not import it
from ppsr.cli.train import main
from ppsr.engine.run import CHECKPOINTS, newest_run
from tests.engine.helpers import fingerprint


def start(config: Path, *options: str) -> int:
    """The process of `tools/main.py -c CONFIG --resume auto`."""
    child = os.fork()
    if child == 0:
        code = 70
        try:
            log = os.open(config.parent / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1)
            os.dup2(log, 2)
            code = main(["-c", str(config), "--device", "cpu", "--resume", "auto", *options])
        finally:
            os._exit(code)
    return child


def exit_code(child: int) -> int:
    """Wait for a child."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _has_ended(child: int) -> bool:
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def finished(config: Path) -> str:
    """Fingerprint of the run that ended; its folder is removed."""
    run = newest_run(config.stem, config.parent / "output")
    digest = fingerprint(run)
    shutil.rmtree(config.parent / "output")
    return digest


def killed(config: Path, count: int, rng: np.random.Generator) -> dict[str, float]:
    """Kill -9 at `count` random moments; every run goes on until it ends and equals one without a kill."""
    began = time.monotonic()
    assert exit_code(start(config)) == 0
    whole, expected = time.monotonic() - began, finished(config)
    kills = runs = equal = 0
    while kills < count or not runs or any((config.parent / "output").glob("*")):
        child, until = start(config), time.monotonic() + rng.uniform(0, whole) * (kills < count)
        while time.monotonic() < until and not _has_ended(child):
            time.sleep(0.005)
        if kills < count and not _has_ended(child):
            os.kill(child, signal.SIGKILL)
            kills += exit_code(child) == -signal.SIGKILL
            continue
        assert exit_code(child) == 0, "a run was not resumed"
        runs += 1
        equal += finished(config) == expected
    return {"kills": kills, "runs": runs, "equal": equal}


def terminated(config: Path, count: int, rng: np.random.Generator) -> dict[str, float]:
    """SIGTERM at `count` random moments of a run without end, the start included."""
    found = {"signals": count, "right": 0, "checkpoints": 0, "slowest": 0.0}
    for _ in range(count):
        shutil.rmtree(config.parent / "output", ignore_errors=True)
        child = start(config, "-o", "total_iters=100000", "snapshot_config.interval=50000")
        time.sleep(rng.uniform(0, 4))
        began = time.monotonic()
        os.kill(child, signal.SIGTERM)
        code = exit_code(child)
        found["slowest"] = max(found["slowest"], time.monotonic() - began)
        checkpoints = list((config.parent / "output").glob(f"*/{CHECKPOINTS}/step_*"))
        scalars = any(path.stat().st_size for path in (config.parent / "output").glob("*/scalars.jsonl"))
        # a shell reports both as 143; before there are handlers, the system's own ends the process
        ended = code in (128 + signal.SIGTERM, -signal.SIGTERM)
        found["right"] += ended and (bool(checkpoints) or not scalars)
        found["checkpoints"] += bool(checkpoints)
    return found


if __name__ == "__main__":
    _config, _how, _count, _seed = sys.argv[1:]
    _measure = {"kill": killed, "terminate": terminated}[_how]
    print(json.dumps(_measure(Path(_config), int(_count), np.random.default_rng(int(_seed)))))
