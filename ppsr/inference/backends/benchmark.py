"""Verifying backends against a network's reference outputs, and timing them.

Exports that were not made here are tried in a process of their own, as malformed graphs of operations that
only compute still end the process of any runtime. So is Paddle Inference on a CPU: with oneDNN, Paddle 3.3
ends the process on some graphs, such as a convolution followed by LeakyReLU. Run as a program this module is
that process.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ppsr.errors import ConfigError, DataError, did_you_mean, first_line
from ppsr.inference.backends.exported import BackendOptions, ExportedBackend
from ppsr.inference.backends.ncnn_cpu import NcnnBackend
from ppsr.inference.backends.onnx_runtime import OnnxRuntimeBackend, TensorRtBackend
from ppsr.inference.backends.open_vino import OpenVinoBackend
from ppsr.inference.backends.paddle_inference import PaddleInferenceBackend
from ppsr.inference.export.artifact import Export, example_images

logger = logging.getLogger(__name__)

_EXPORTED = (PaddleInferenceBackend, OnnxRuntimeBackend, OpenVinoBackend, TensorRtBackend, NcnnBackend)
_CLASSES: dict[str, type[ExportedBackend]] = {cls.name: cls for cls in _EXPORTED}
BACKENDS = ("auto", "paddle", *_CLASSES)
_SIDE = 48
_TIMED_SECONDS, _MOST_RUNS = 0.3, 10  # short runs are repeated, because single ones vary on a busy machine
_RESULT = "ppsr-backend:"  # begins the line that the process prints
_TIMEOUT = 300  # seconds


@dataclass(frozen=True)
class BackendResult:
    """How a backend did.

    Attributes:
        error: largest error relative to the largest reference value; None if it failed.
        psnr: PSNR of its images against the reference, in dB.
        seconds: shortest time for the timed image.
        reason: why it failed, else empty.
    """

    backend: str
    error: float | None = None
    psnr: float | None = None
    seconds: float | None = None
    reason: str = ""

    @property
    def passed(self) -> bool:
        """Whether the backend ran within its tolerance."""
        return not self.reason


def backend_class(name: str) -> type[ExportedBackend]:
    """The class of a backend for exported networks.

    Raises:
        ConfigError: there is none of this name.
    """
    if name not in _CLASSES:
        known = did_you_mean(name, ["auto", *_CLASSES])
        raise ConfigError(f"no backend '{name}' runs exported networks; {known}")
    return _CLASSES[name]


def installed(export: Export, options: BackendOptions) -> list[str]:
    """Backends that this machine and this export have, on the device and in the precision asked for; without
    a device, each on its default."""
    files = export.entries.get("files", {})
    return [
        name
        for name, cls in _CLASSES.items()
        if any(suffix in files for suffix in cls.graphs)
        and options.precision in cls.precisions
        and cls.is_available(options)
    ]


def benchmark_backends(
    export: Export,
    options: BackendOptions,
    *,
    names: Sequence[str] | None = None,
    side: int = _SIDE,
    timeout: float = _TIMEOUT,
    on_step: Callable[[str, int, int], None] = lambda name, done, count: None,
) -> list[BackendResult]:
    """Verify and time backends.

    Args:
        names: None: those of `installed`.
        side: side of the square image that is timed, in LR pixels, for exports of dynamic size.
        timeout: seconds after which a backend in a process of its own counts as failed.
        on_step: called before each backend with its name, the number of finished ones and of all.
    """
    results: list[BackendResult] = []
    names = installed(export, options) if names is None else names
    for name in names:
        on_step(name, len(results), len(names))
        crashes = name == "inference" and not options.on_gpu
        if crashes or not (options.trust or export.made_here):
            result = _in_a_process(name, export, options, side, timeout)
        else:
            result = _benchmark(name, export, options, side)
        if result.passed:
            logger.info("%s: %.4f s, error %.1e, %.1f dB", name, result.seconds, result.error, result.psnr)
        else:
            logger.warning("%s: not usable: %s", name, result.reason)
        results.append(result)
    return results


def try_backend(name: str, export: Export, options: BackendOptions) -> None:
    """Open and verify a backend in a process of its own.

    Raises:
        ConfigError: a missing package, or an option that the backend lacks.
        DataError: an incomplete export, one that is computed wrongly, or one that ends the process.
    """
    export.graph(*backend_class(name).graphs, trust=False)  # without starting a process
    reason = _in_a_process(name, export, options, _SIDE, _TIMEOUT).reason
    if not reason:
        return
    kind, _, text = reason.partition(": ")
    for known in (ConfigError, DataError):
        if kind == known.__name__:
            raise known(text)
    raise DataError(f"backend {name} cannot run {export.prefix}: {reason}; export again")


def seconds_of(run: Callable[[np.ndarray], object], x: np.ndarray) -> float:
    """Shortest time of a function after a first call."""
    run(x)
    times: list[float] = []
    while len(times) < 2 or (sum(times) < _TIMED_SECONDS and len(times) < _MOST_RUNS):
        started = time.perf_counter()
        run(x)
        times.append(time.perf_counter() - started)
    return min(times)


def timed_image(export: Export, side: int) -> np.ndarray:
    """The image that backends are timed on: square, of about a side, where the export leaves sizes open."""
    unit = export.info.size_multiple
    side = -(-side // unit) * unit
    usual = (1, export.info.channels, side, side)
    shape = [fixed or size for fixed, size in zip(export.shape, usual, strict=True)]
    return example_images(export.info, shape)[0]


def _benchmark(name: str, export: Export, options: BackendOptions, side: int) -> BackendResult:
    try:
        backend = backend_class(name)(export, options)
        error, psnr = backend.verify()
        seconds = seconds_of(backend.run, timed_image(export, side))
        return BackendResult(name, error, min(psnr, 200.0), seconds)  # JSON has no infinity
    except Exception as error:  # runtimes raise what they like, and it is a result
        logger.debug("backend %s failed", name, exc_info=True)
        return BackendResult(name, reason=f"{type(error).__name__}: {first_line(error)}")


def _in_a_process(
    name: str, export: Export, options: BackendOptions, side: int, timeout: float
) -> BackendResult:
    """`_benchmark` in a process; one that ends early is a result."""
    request = json.dumps([name, str(export.prefix.resolve()), asdict(options), side])
    path = os.pathsep.join([str(Path(__file__).resolve().parents[3]), os.environ.get("PYTHONPATH", "")])
    try:
        done = subprocess.run(
            [sys.executable, "-m", __name__, request],
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": str(options.cpu_threads)},
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return BackendResult(name, reason=f"no answer within {timeout:g} s")
    for line in done.stdout.splitlines():
        if line.startswith(_RESULT):
            return BackendResult(**json.loads(line.removeprefix(_RESULT)))
    ended = f"signal {-done.returncode}" if done.returncode < 0 else f"exit code {done.returncode}"
    return BackendResult(name, reason=": ".join([ended, *done.stderr.strip().splitlines()[-1:]]))


def _main(request: str) -> None:
    import paddle

    from ppsr import accelerate

    name, prefix, options, side = json.loads(request)
    accelerate.enable()
    paddle.disable_signal_handler()  # it tries to print a stack after a crash, and can hang in that for ever
    result = _benchmark(name, Export(prefix), BackendOptions(**options), side)
    print(_RESULT + json.dumps(asdict(result)), flush=True)


if __name__ == "__main__":
    _main(sys.argv[1])
