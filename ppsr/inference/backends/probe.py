"""Trying a backend in a process of its own, so that a crash of a runtime is a result and not the end.

Run as a program it is that process: `python -m ppsr.inference.backends.probe REQUEST RESULT`, in JSON.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ppsr import accelerate
from ppsr.inference.backends.exported import BackendOptions, Export
from ppsr.inference.proof import PROOF_SUFFIX, Proof, example_pictures

__all__ = ["TIMED_SIDE", "Probe", "probe"]

logger = logging.getLogger(__name__)

TIMED_SIDE = 48  # of the picture that is timed, unless told
_RUNS = 3
_TIMED_SECONDS, _MOST_RUNS = 0.5, 20  # short runs are repeated: on a busy machine single ones tell little


@dataclass(frozen=True)
class Probe:
    """What trying a backend has shown.

    Attributes:
        backend: its name.
        error: largest relative error against the network; None where it did not come that far.
        tolerance: what the error may be here.
        psnr: of its pictures against the network's, in dB.
        seconds: shortest time for the timed picture.
        load_seconds: to open it.
        memory_mb: largest memory of its process.
        reason: why it failed, else empty.
    """

    backend: str
    error: float | None = None
    tolerance: float | None = None
    psnr: float | None = None
    seconds: float | None = None
    load_seconds: float | None = None
    memory_mb: float | None = None
    reason: str = ""

    @property
    def passed(self) -> bool:
        """Whether it ran and was right."""
        return not self.reason


def probe(
    name: str,
    export: Export,
    options: BackendOptions,
    *,
    tolerance: float | None = None,
    shape: Sequence[int] | None = None,
    runs: int = _RUNS,
    timeout: float = 300,
) -> Probe:
    """Open a backend in another process, compare it with the network's answers, and time it.

    Args:
        name: of the backend.
        export: the files, the proof among them.
        options: how to compute.
        tolerance: largest relative error that passes; None: that of backend, device and precision.
        shape: (N, C, H, W) of the picture that is timed; None: one of 48 x 48.
        runs: timed runs at least; up to 20 while they take less than half a second together.
        timeout: seconds after which it counts as failed.
    """
    request = {
        "name": name,
        "prefix": str(export.prefix.resolve()),
        "options": asdict(options),
        "shape": shape,
        "runs": runs,
    }
    with tempfile.TemporaryDirectory(prefix="ppsr-probe-") as folder:
        asked, answered = Path(folder, "request.json"), Path(folder, "result.json")
        asked.write_text(json.dumps(request), encoding="utf-8")
        command = [sys.executable, "-m", __name__, str(asked), str(answered)]
        try:
            done = subprocess.run(
                command,
                check=False,
                capture_output=True,
                timeout=timeout,
                env=_environment(options),
                stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired:
            return Probe(name, reason=f"no answer within {timeout:g} s")
        if done.returncode or not answered.is_file():
            tail = done.stderr.decode(errors="replace").strip().splitlines()
            ended = f"signal {-done.returncode}" if done.returncode < 0 else f"exit code {done.returncode}"
            return Probe(name, reason=f"{ended}: {tail[-1] if tail else 'no message'}")
        found = Probe(name, **json.loads(answered.read_text(encoding="utf-8")))
    allowed = found.tolerance if tolerance is None else tolerance
    if allowed is None or not (found.error or 0.0) <= allowed:
        reason = f"its results differ by {found.error:.1e} of the largest value; {allowed:.0e} is allowed"
        return Probe(**{**asdict(found), "reason": reason})
    return found


def _environment(options: BackendOptions) -> dict[str, str]:
    """This checkout for the child, and its number of threads before any library is loaded."""
    root = str(Path(__file__).resolve().parents[3])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "OMP_NUM_THREADS": str(options.cpu_threads),
    }


def _answer(request: dict) -> dict:
    """The child's work."""
    import paddle

    from ppsr.inference.backends.survey import backend_class

    options = BackendOptions(**request["options"])
    accelerate.enable()
    paddle.disable_signal_handler()  # it tries to print a stack after a crash, and can hang in that for ever
    export = Export(request["prefix"])
    started = time.perf_counter()
    backend = backend_class(request["name"])(export, options)
    loading = time.perf_counter() - started
    proof = Proof.load(export.path(PROOF_SUFFIX))
    error, psnr = proof.compare(backend.run)
    unit = export.facts.size_multiple
    side = -(-TIMED_SIDE // unit) * unit
    shape = request["shape"] or [
        fixed or size
        for fixed, size in zip(export.shape, (1, export.facts.channels, side, side), strict=True)
    ]
    x = example_pictures(export.facts, shape)[0]
    backend.run(x)
    times: list[float] = []
    while len(times) < request["runs"] or (sum(times) < _TIMED_SECONDS and len(times) < _MOST_RUNS):
        started = time.perf_counter()
        backend.run(x)
        times.append(time.perf_counter() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return {
        "error": error if np.isfinite(error) else 1e30,
        "tolerance": backend.tolerance.value,
        "psnr": min(psnr, 200.0),  # JSON has no infinity
        "seconds": min(times),
        "load_seconds": loading,
        "memory_mb": peak,
    }


def _main(asked: str, answered: str) -> None:
    result = _answer(json.loads(Path(asked).read_text(encoding="utf-8")))
    Path(answered).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    _main(*sys.argv[1:])
