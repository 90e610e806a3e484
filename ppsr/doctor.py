"""Environment report for bug reports, and a short self-test."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import tempfile
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import ppsr
from ppsr.processor import processor_name

__all__ = ["CHECKS", "Line", "diagnose"]

_PADDLES = ("paddlepaddle", "paddlepaddle-gpu")
_ALTERNATIVES = {  # other distributions of the same module
    "opencv-python-headless": ("opencv-python", "opencv-contrib-python", "opencv-contrib-python-headless"),
    "onnxruntime": ("onnxruntime-gpu",),
}
_VARIABLES = ("PPSR_", "FLAGS_", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")


class Line(NamedTuple):
    """One line of the report; `state` is ok, info, missing (an optional part) or failed."""

    part: str
    name: str
    state: str
    text: str


def diagnose(*, checks: bool = True) -> Iterator[Line]:
    """The lines of the report, each as soon as it is known; with `checks` also those of the self-test."""
    variables = sorted(f"{key}={value}" for key, value in os.environ.items() if key.startswith(_VARIABLES))
    yield Line("system", "ppsr", "info", f"{ppsr.__version__} in {Path(ppsr.__file__).parent}")
    yield Line("system", "python", "info", platform.python_version())
    yield Line("system", "system", "info", platform.platform())
    yield Line("system", "processor", "info", f"{processor_name()}, {os.cpu_count()} cores")
    yield Line("system", "variables", "info", ", ".join(variables) or "none that ppsr or Paddle reads")
    yield from _packages()
    for name, check in CHECKS.items() if checks else ():
        try:
            yield from check()
        except Exception as error:  # whatever a broken library raises
            reason = str(error).strip().splitlines()[-1:] or [""]
            yield Line("check", name, "failed", f"{type(error).__name__}: {reason[0]}")


def _version(name: str) -> str | None:
    """Version of a distribution, or of others of the same module."""
    found = []
    for candidate in (name, *_ALTERNATIVES.get(name, ())):
        try:
            version = metadata.version(candidate)
        except metadata.PackageNotFoundError:
            continue
        found.append(version if candidate == name else f"{version} ({candidate})")
    shared = " share a folder; if one fails, uninstall all of them and install one" if len(found) > 1 else ""
    return " and ".join(found) + shared or None


def _requirements() -> Iterator[tuple[str, str]]:
    """(distribution, extra of ppsr that needs it, or ""), as they were when ppsr was installed."""
    for line in metadata.requires("ppsr") or ():
        extra = re.search(r"extra == .([\w-]+)", line)
        yield re.split(r"[^\w.-]", line, maxsplit=1)[0], extra[1] if extra else ""


def _packages() -> Iterator[Line]:
    """Paddle, the requirements of ppsr, and those of its extras."""
    paddles = [f"{name} {version}" for name in _PADDLES if (version := _version(name))]
    old = any(paddle.split()[1].startswith("2.") for paddle in paddles)
    if not paddles and importlib.util.find_spec("paddle") is not None:
        yield Line("package", "paddle", "ok", "built from source, or installed in another way")
    elif not paddles:
        yield Line("package", "paddle", "failed", "missing: pip install paddlepaddle==3.3.1")
    elif len(paddles) == 1:
        yield Line("package", "paddle", "ok", paddles[0])
    else:
        text = f"{' and '.join(paddles)} share a folder: uninstall both, then install the one you want"
        yield Line("package", "paddle", "failed", text)
    extras: dict[str, list[str]] = {}
    constraints = " -c constraints/paddle26.txt" if old else ""
    for name, extra in _requirements():
        version = _version(name)
        if extra:
            extras.setdefault(extra, []).append(f"{name} {version}" if version else f"{name} missing")
        elif version is None:
            yield Line("package", name, "failed", f"missing: pip install {name}{constraints}")
        elif name == "numpy" and old and not version.startswith("1."):
            text = f"{version} does not work with Paddle 2: pip install -r requirements.txt{constraints}"
            yield Line("package", name, "failed", text)
        else:
            yield Line("package", name, "ok", version)
    for extra, entries in extras.items():
        complete = not any(entry.endswith(" missing") for entry in entries)
        hint = "" if complete else f"; pip install 'ppsr[{extra}]'{constraints}"
        yield Line("optional", extra, "ok" if complete else "missing", ", ".join(entries) + hint)


def _check_device() -> Iterator[Line]:
    import paddle

    from ppsr import accelerate

    cuda = paddle.version.cuda() if paddle.device.is_compiled_with_cuda() else None
    build = f"CUDA {cuda}, cuDNN {paddle.version.cudnn()}" if cuda else "CPU build"
    text = f"Paddle {paddle.__version__}, {build}, default device {paddle.device.get_device()}"
    yield Line("check", "device", "ok", text)
    accelerate.enable()
    fast = "on" if accelerate.is_enabled() else "off (PPSR_ACCELERATE, or Paddle's wheel has no oneDNN)"
    yield Line("check", "acceleration", "info", f"convolutions through oneDNN: {fast}")


def _check_export() -> Iterator[Line]:
    """A small network is exported, and every installed backend compared with it."""
    from ppsr.inference.export import onnx_graph
    from ppsr.inference.export.writer import export_network
    from ppsr.registry import GENERATORS

    cls = GENERATORS.get("SRVGGNetCompact")
    formats = ["paddle", "ncnn", *([] if onnx_graph.missing_packages() else ["onnx"])]
    with tempfile.TemporaryDirectory(prefix="ppsr-doctor-") as folder:
        export = export_network(cls(**cls.test_args), Path(folder, "tiny"), formats=formats)
        yield Line("check", "export", "ok", ", ".join(export.entries["files"]))
        for entry in export.entries["verified"]:
            text = f"largest error {entry['error']:.1e}, {entry['seconds']:.4f} s"
            yield Line("check", f"backend {entry['backend']}", "ok", text)


CHECKS: dict[str, Callable[[], Iterator[Line]]] = {"device": _check_device, "export": _check_export}
