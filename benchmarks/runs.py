"""What the scripts that train networks share."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def start(threads: int) -> None:
    """Go to the project's folder, and let this process and its runs compute with so many threads."""
    # read by the libraries when they are imported
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = str(threads)
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))


def command(config: str, seed: int, options: Sequence[str]) -> list[str]:
    """What trains a config on the CPU, or resumes that."""
    words = ["tools/main.py", "--config-file", config, "--seed", str(seed), "--device", "cpu"]
    return [*words, "--resume", "auto", "-o", *options]


def train(name: str, words: Sequence[str]) -> None:
    """Run a command in a process of its own: loaders leave their workers behind until it ends.

    Raises:
        SystemExit: it ended with an error.
    """
    code = subprocess.run([sys.executable, "-u", *words], check=False).returncode
    if code:
        sys.exit(f"{name} ended with {code}; run this again to resume")


def step_times(configs: Sequence[str], repeats: int = 3, short: int = 10, long: int = 40) -> dict[str, float]:
    """Processor seconds of a step, by configs: medians of what a longer run costs more; they take turns."""
    found: dict[str, list[float]] = {name: [] for name in configs}
    for _ in range(repeats):
        for name in configs:
            costs = []
            for steps in (short, long):
                before = sum(os.times()[2:4])
                with tempfile.TemporaryDirectory() as folder:
                    options = (f"output_dir={folder}", f"total_iters={steps}", "validate.interval=1000000")
                    train(name, command(f"configs/{name}.yaml", 0, options))
                costs.append(sum(os.times()[2:4]) - before)
            found[name].append((costs[1] - costs[0]) / (long - short))
    return {name: statistics.median(values) for name, values in found.items()}


def step_of(weights: Path) -> int:
    """After how many steps a weight file was written."""
    return int(weights.name.split("_")[1])


def newest_weights(folder: Path) -> Path:
    """The last weight file of the run below a folder; it holds the averaged weights where there are any.

    Raises:
        SystemExit: there is none.
    """
    found = list(folder.glob("*/iter_*_weight.pdparams"))
    if not found:
        sys.exit(f"{folder} holds no weights yet; train that run first")
    return max(found, key=step_of)
