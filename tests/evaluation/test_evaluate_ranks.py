"""`ppsr evaluate` by several real processes equals one."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from ppsr.evaluation.evaluate import evaluate
from ppsr.evaluation.report import to_json
from ppsr.imaging.io import write_image


@pytest.mark.slow
def test_two_processes_write_the_scores_of_one(tmp_path, rng):
    for name in ("a", "b", "c"):
        write_image(tmp_path / "gt" / f"{name}.png", rng.integers(0, 256, (32, 40, 3), dtype=np.uint8))
    (tmp_path / "gt" / "broken.png").write_bytes(b"no image")
    (tmp_path / "ppsr_command.py").write_text("from ppsr.cli import main\n\nmain()\n")
    command = [sys.executable, "-m", "paddle.distributed.launch", "--nproc_per_node", "2"]
    command += ["--log_dir", str(tmp_path / "log"), str(tmp_path / "ppsr_command.py"), "evaluate"]
    command += ["--gt", str(tmp_path / "gt"), "--bicubic", "-o", str(tmp_path / "out"), "--no-grid"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, cwd=tmp_path, timeout=180, check=False
    )
    logs = "".join(path.read_text() for path in (tmp_path / "log").glob("workerlog.*"))
    assert (tmp_path / "out" / "metrics.json").exists(), done.stderr[-2000:] + logs[-3000:]
    together = json.loads((tmp_path / "out" / "metrics.json").read_text())
    alone = to_json(evaluate(gt=tmp_path / "gt", method="bicubic"))
    assert together == json.loads(json.dumps(alone))
    assert (together["count"], len(together["problems"])) == (3, 1)
    assert logs.count("psnr ↑") == 1
    assert done.returncode != 0  # an image without a score
